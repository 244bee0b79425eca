//! `tests/*.yaml`: unit tests of models, as data.
//!
//! ```yaml
//! model: refined.an_products
//! tests:
//!   averages_by_category:
//!     given: {trusted.products: [{id: 1, price: 2.0, category: a}]}
//!     expect: [{category: a, avg_price: 2.0, products_quant: 1}]
//! ```

use std::collections::BTreeMap;

use lagar_engine::{
    model::Model,
    suggest,
    yaml::{self, Spans},
};
use lagar_flow::{Error, Place, Result, TableName, codes};
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestFile {
    model: TableName,
    tests: Map<String, Value>,
}

type Row = Map<String, Value>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    given: BTreeMap<TableName, Vec<Row>>,
    expect: Vec<Row>,
    #[serde(default)]
    ordered: bool,
}

/// Reads one file of tests; what is wrong goes to `problems`.
pub(crate) fn parse(
    file: &TextFile,
    models: &BTreeMap<TableName, Model>,
    problems: &mut Vec<Error>,
) -> Option<ModelTest> {
    match read(file, models, problems) {
        Ok(test) => Some(test),
        Err(error) => {
            problems.push(error);
            None
        }
    }
}

fn read(
    file: &TextFile,
    models: &BTreeMap<TableName, Model>,
    problems: &mut Vec<Error>,
) -> Result<ModelTest> {
    let document = yaml::parse(&file.text, &file.shown, 0)?;
    let spans = &document.spans;
    let tests: TestFile = yaml::deserialize(&document.value, spans, &[])?;
    let Some(model) = models.get(&tests.model) else {
        let error = Error::new(codes::CONFIG, format!("there is no model `{}`", tests.model))
            .at_place(spans.value_place(&["model"]));
        let names: Vec<String> = models.keys().map(ToString::to_string).collect();
        return Err(match suggest::hint(&tests.model.to_string(), names.iter().map(String::as_str)) {
            Some(hint) => error.hint(hint),
            None => error,
        });
    };
    if tests.tests.is_empty() {
        return Err(Error::new(codes::CONFIG, "the file has no test").at_place(spans.key_place(&["tests"])));
    }
    let mut cases = Vec::new();
    for (name, value) in &tests.tests {
        match case(name, value, model, spans) {
            Ok(case) => cases.push(case),
            Err(errors) => problems.extend(errors),
        }
    }
    Ok(ModelTest { model: tests.model, cases })
}

fn case(name: &str, value: &Value, model: &Model, spans: &Spans) -> Result<TestCase, Vec<Error>> {
    let case: Case = yaml::deserialize(value, spans, &["tests", name]).map_err(|error| vec![error])?;
    let mut problems = Vec::new();
    let reads: Vec<&TableName> = model.reads.iter().map(|read| &read.table).collect();
    for table in case.given.keys().filter(|table| !reads.contains(table)) {
        let given = table.to_string();
        let error = Error::new(codes::CONFIG, format!("`{}` does not read `{given}`", model.name))
            .at_place(spans.key_place(&["tests", name, "given", &given]));
        let names: Vec<String> = reads.iter().map(ToString::to_string).collect();
        problems.push(match suggest::hint(&given, names.iter().map(String::as_str)) {
            Some(hint) => error.hint(hint),
            None => error,
        });
    }
    let mut missing: Vec<&TableName> =
        reads.into_iter().filter(|table| !case.given.contains_key(*table)).collect();
    missing.sort();
    missing.dedup();
    for table in missing {
        problems.push(
            Error::new(
                codes::CONFIG,
                format!("the test `{name}` gives no rows for `{table}`, which `{}` reads", model.name),
            )
            .hint(format!("add `{table}: []` for a table without rows"))
            .at_place(spans.key_place(&["tests", name, "given"])),
        );
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let values = |rows: Vec<Row>| rows.into_iter().map(Value::Object).collect::<Vec<_>>();
    Ok(TestCase {
        name: name.to_owned(),
        given: case.given.into_iter().map(|(table, rows)| (table, values(rows))).collect(),
        expect: values(case.expect),
        ordered: case.ordered,
        place: spans.key_place(&["tests", name]),
    })
}
