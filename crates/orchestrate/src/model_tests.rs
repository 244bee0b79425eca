//! `tests/*.yaml`: unit tests of models, as data.
//!
//! ```yaml
//! model: refined.an_products
//! tests:
//!   averages_by_category:
//!     given: {trusted.products: [{id: 1, price: 2.0, category: a}]}
//!     expect: [{category: a, avg_price: 2.0, products_quant: 1}]
//! ```

use std::collections::{BTreeMap, BTreeSet};

use lagar_engine::{
    model::Model,
    suggest,
    yaml::{self, ErrorCodes, Spans},
};
use lagar_flow::{Error, Place, TableName, codes};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::files::TextFile;

/// The unit tests of one model in one file.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelTest {
    pub model: TableName,
    pub cases: Vec<TestCase>,
}

/// One unit test.
#[derive(Debug, Clone, PartialEq)]
pub struct TestCase {
    pub name: String,
    /// The rows, each a map, of every table that the model reads.
    pub given: BTreeMap<TableName, Vec<Value>>,
    /// The rows, each a map, that must come out. Only the columns named in them count.
    pub expect: Vec<Value>,
    /// The order of the rows counts too.
    pub ordered: bool,
    /// Where the test is written.
    pub place: Place,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TestFile {
    model: TableName,
    tests: Map<String, Value>,
}

type Row = Map<String, Value>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    given: BTreeMap<TableName, Vec<Row>>,
    expect: Vec<Row>,
    #[serde(default)]
    ordered: bool,
}

/// Reads one file of tests; what is wrong goes to `problems`. `broken`: models that are there, but cannot
/// be read.
pub(crate) fn parse(
    file: &TextFile,
    models: &BTreeMap<TableName, Model>,
    broken: &BTreeSet<TableName>,
    problems: &mut Vec<Error>,
) -> Option<ModelTest> {
    let document = yaml::parse_all(&file.text, &file.shown, 0, problems)?;
    let spans = &document.spans;
    let (tests, faults) = yaml::deserialize_all::<TestFile>(&document.value, spans, &[], ErrorCodes::CONFIG);
    let is_whole = faults.is_empty();
    let is_named = is_sound("model", &faults);
    problems.extend(faults.into_iter().map(|(_, error)| error));
    let tests = tests.filter(|_| is_named)?;
    let model = models.get(&tests.model);
    if model.is_none() && !broken.contains(&tests.model) {
        let error = Error::new(codes::CONFIG, format!("there is no model `{}`", tests.model))
            .at_place(spans.value_place(&["model"]));
        let names: Vec<String> = models.keys().map(ToString::to_string).collect();
        problems.push(match suggest::hint(&tests.model.to_string(), names.iter().map(String::as_str)) {
            Some(hint) => error.hint(hint),
            None => error,
        });
    }
    if is_whole && tests.tests.is_empty() {
        let error = Error::new(codes::CONFIG, "the file has no test");
        problems.push(error.at_place(spans.key_place(&["tests"])));
    }
    let cases: Vec<TestCase> =
        tests.tests.iter().filter_map(|(name, value)| case(name, value, model, spans, problems)).collect();
    Some(ModelTest { model: model?.name.clone(), cases })
}

fn case(
    name: &str,
    value: &Value,
    model: Option<&Model>,
    spans: &Spans,
    problems: &mut Vec<Error>,
) -> Option<TestCase> {
    let (case, faults) = yaml::deserialize_all::<Case>(value, spans, &["tests", name], ErrorCodes::CONFIG);
    let is_given = is_sound("given", &faults);
    let is_whole = faults.is_empty();
    problems.extend(faults.into_iter().map(|(_, error)| error));
    let case = case?;
    if let Some(model) = model.filter(|_| is_given) {
        problems.extend(wrong_tables(name, &case, model, spans));
    }
    let values = |rows: Vec<Row>| rows.into_iter().map(Value::Object).collect::<Vec<_>>();
    is_whole.then(|| TestCase {
        name: name.to_owned(),
        given: case.given.into_iter().map(|(table, rows)| (table, values(rows))).collect(),
        expect: values(case.expect),
        ordered: case.ordered,
        place: spans.key_place(&["tests", name]),
    })
}

/// Whether no fault is about `key`, or about one that was probably meant to be it.
fn is_sound(key: &str, faults: &[(yaml::Path, Error)]) -> bool {
    let is_about = |first: &String| first == key || suggest::nearest(first, [key]).is_some();
    !faults.iter().any(|(path, _)| path.first().is_none_or(is_about))
}

/// The tables whose rows are given must be those that the model reads.
fn wrong_tables(name: &str, case: &Case, model: &Model, spans: &Spans) -> Vec<Error> {
    let mut problems = Vec::new();
    let reads: BTreeSet<&TableName> = model.reads.iter().map(|read| &read.table).collect();
    let names: Vec<String> = reads.iter().map(ToString::to_string).collect();
    let mut meant = BTreeSet::new();
    for table in case.given.keys().filter(|table| !reads.contains(table)) {
        let given = table.to_string();
        let error = Error::new(codes::CONFIG, format!("`{}` does not read `{given}`", model.name))
            .at_place(spans.key_place(&["tests", name, "given", &given]));
        meant.extend(suggest::nearest(&given, names.iter().map(String::as_str)));
        problems.push(match suggest::hint(&given, names.iter().map(String::as_str)) {
            Some(hint) => error.hint(hint),
            None => error,
        });
    }
    for table in reads {
        if case.given.contains_key(table) || meant.contains(table.to_string().as_str()) {
            continue;
        }
        problems.push(
            Error::new(
                codes::CONFIG,
                format!("the test `{name}` gives no rows for `{table}`, which `{}` reads", model.name),
            )
            .hint(format!("add `{table}: []` for a table without rows"))
            .at_place(spans.key_place(&["tests", name, "given"])),
        );
    }
    problems
}
