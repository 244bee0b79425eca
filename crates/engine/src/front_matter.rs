//! The block of YAML between a model's description and its SELECT.

use std::{collections::BTreeMap, fmt};

use lagar_flow::{Error, Place, Result, TableName, codes};
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{
    checks::{Check, Rule},
    suggest,
    yaml::{self, ErrorCodes, Spans},
};

/// How the result of a model becomes a version of its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Materialize {
    /// The result is the table.
    #[default]
    Replace,
    /// The result of what is new in the `incremental` input is added.
    Append,
    /// The newest row of each key, old and new.
    Merge,
    /// The partitions that new rows touch are made again.
    Partition,
}

/// Whose functions and semantics the SQL has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// Apache DataFusion's: close to PostgreSQL.
    #[default]
    Datafusion,
    /// Spark SQL's. Not supported yet.
    Spark,
}

/// What a failed check means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The new version is not published.
    #[default]
    Error,
    /// The report says so.
    Warn,
    /// The failing rows go to quarantine, the others are published.
    Drop,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warn => "warn",
            Severity::Drop => "drop",
        })
    }
}

/// The front matter of a model.
#[derive(Debug, Clone, Default)]
pub struct FrontMatter {
    pub materialize: Materialize,
    /// The columns that tell one row from every other.
    pub key: Vec<String>,
    /// `merge`: which row of a key is the newest, the first column before the others.
    pub latest_by: Vec<String>,
    /// The inputs of which only what is new is read; of none: all is.
    pub incremental: Vec<TableName>,
    /// The columns whose values become folders.
    pub partition_by: Vec<String>,
    pub dialect: Dialect,
    pub tags: Vec<String>,
    /// Those of `key` (unique, not null) come first.
    pub checks: Vec<Check>,
    spans: Spans,
}

impl FrontMatter {
    pub(crate) fn show_as(&mut self, shown: &str) {
        self.spans.set_file(shown);
        for check in &mut self.checks {
            check.place.file = shown.to_owned();
        }
    }

    /// Where one of the names of a list of names stands.
    pub fn place_in(&self, key: &str, index: usize) -> Place {
        place_in(&self.spans, key, index)
    }

    /// Where the value of a key stands (`["key"]`, `["partition_by", "0"]`); the front matter's place
    /// if it is not there.
    pub fn place(&self, path: &[&str]) -> Place {
        self.spans.value_place(path)
    }
}

/// The place of one of the names below `key`, which may stand there alone, without brackets.
fn place_in(spans: &Spans, key: &str, index: usize) -> Place {
    let number = index.to_string();
    let listed = spans.get(&[key, &number]).is_some();
    if listed { spans.value_place(&[key, &number]) } else { spans.value_place(&[key]) }
}

/// The keys of the front matter, as written.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FrontMatterFile {
    /// How the result becomes a version of the table.
    materialize: Materialize,
    /// The columns that tell one row from every other; implies the checks `unique` and `not_null`.
    #[serde(deserialize_with = "names")]
    key: Vec<String>,
    /// `merge`: the row of a key with the highest values wins, the first column before the others, nulls
    /// last; where they are alike, that of the later load.
    #[serde(deserialize_with = "names")]
    latest_by: Vec<String>,
    /// Read only loads (or table versions) of this input, or of each of these, that were not used yet.
    #[serde(deserialize_with = "names")]
    #[schemars(with = "OneOrMore")]
    incremental: Vec<String>,
    /// The columns whose values become folders.
    #[serde(deserialize_with = "names")]
    partition_by: Vec<String>,
    /// Whose functions and semantics the SQL has.
    dialect: Dialect,
    /// For selections: `tag:daily`.
    #[serde(deserialize_with = "names")]
    tags: Vec<String>,
    /// Rules about the rows, tested before they are published.
    checks: Vec<CheckForm>,
}

/// For the JSON schema: a name, or a list of them.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// One entry of `checks`: an SQL condition, or a map.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
enum CheckForm {
    /// A condition on every row, or on the table if it has an aggregate or the word `rows`.
    Sql(String),
    Map(Box<CheckMap>),
}

/// A check with its kind as key. Exactly one of `unique`, `not_null`, `accepted`, `relation`, `sql`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CheckMap {
    /// What the report calls it.
    name: Option<String>,
    /// What a failure means.
    #[serde(default)]
    severity: Severity,
    /// No two rows are alike in these columns.
    #[serde(default, deserialize_with = "some_names")]
    unique: Option<Vec<String>>,
    /// No null in any of these columns.
    #[serde(default, deserialize_with = "some_names")]
    not_null: Option<Vec<String>>,
    /// The values that a column may have, beside null.
    accepted: Option<BTreeMap<String, Vec<Scalar>>>,
    /// Every value of a column, beside null, is in that column: `zone.table.column`.
    relation: Option<BTreeMap<String, String>>,
    /// A condition on every row, or on the table if it has an aggregate or the word `rows`.
    sql: Option<String>,
}

/// A value that `accepted` lists.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    Bool(bool),
    Int(i64),
    Number(f64),
    Text(String),
}

impl<'de> Deserialize<'de> for CheckForm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = CheckForm;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an SQL condition or a map such as `unique: [id]`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<CheckForm, E> {
                Ok(CheckForm::Sql(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<CheckForm, A::Error> {
                CheckMap::deserialize(MapAccessDeserializer::new(map))
                    .map(|map| CheckForm::Map(Box::new(map)))
            }
        }
        deserializer.deserialize_any(Form)
    }
}

/// A list of names; one name may stand without the brackets.
fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Names;
    impl<'de> Visitor<'de> for Names {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of names")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<String>, E> {
            Ok(vec![text.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
            let mut names = Vec::new();
            while let Some(name) = seq.next_element()? {
                names.push(name);
            }
            Ok(names)
        }
    }
    deserializer.deserialize_any(Names)
}

fn some_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    names(deserializer).map(Some)
}

/// Reads the YAML of a front matter whose first line is line `line_offset + 1` of `file`, as far as it is
/// right.
///
/// What is wrong goes to `problems`, each with its place: [`codes::YAML`], [`codes::FRONT_MATTER`],
/// [`codes::CONFIG_LATER`] for what is not supported yet.
pub(crate) fn read(text: &str, file: &str, line_offset: usize, problems: &mut Vec<Error>) -> FrontMatter {
    const CODES: ErrorCodes = ErrorCodes { unknown: codes::FRONT_MATTER, wrong: codes::FRONT_MATTER };
    let Some(document) = yaml::parse_all(text, file, line_offset, problems) else {
        return FrontMatter::default();
    };
    let mut spans = document.spans;
    if spans.get::<&str>(&[]).is_none() {
        let start = (line_offset, 1);
        spans.insert(yaml::Path::new(), yaml::Spot { key: start, value: start });
    }
    let value = match document.value {
        serde_json::Value::Null => serde_json::Value::Object(serde_json::Map::new()),
        value => value,
    };
    let (written, faults) = yaml::deserialize_all::<FrontMatterFile>(&value, &spans, &[], CODES);
    let wrong: Vec<yaml::Path> = faults.iter().map(|(path, _)| path.clone()).collect();
    problems.extend(faults.into_iter().map(|(_, error)| error));
    let mut builder = Builder { spans: &spans, wrong, errors: Vec::new() };
    let front = builder.build(written.unwrap_or_default());
    problems.append(&mut builder.errors);
    FrontMatter { spans, ..front }
}

/// From what is written to what it means.
struct Builder<'a> {
    spans: &'a Spans,
    /// What was left out, because it is wrong.
    wrong: Vec<yaml::Path>,
    errors: Vec<Error>,
}

impl Builder<'_> {
    fn error(&self, path: &[&str], message: impl Into<String>) -> Error {
        Error::new(codes::FRONT_MATTER, message).at_place(self.spans.value_place(path))
    }

    /// Whether `key` was left out, or one that was probably meant to be it.
    fn is_wrong(&self, key: &str) -> bool {
        let first = |path: &yaml::Path| path.first().cloned().unwrap_or_default();
        self.wrong.iter().map(first).any(|wrong| wrong == key || suggest::nearest(&wrong, [key]).is_some())
    }

    fn build(&mut self, written: FrontMatterFile) -> FrontMatter {
        self.refuse_later(&written);
        let incremental = self.incremental(&written.incremental);
        self.needs(&written);
        for (key, names) in [
            ("key", &written.key),
            ("partition_by", &written.partition_by),
            ("latest_by", &written.latest_by),
            ("incremental", &written.incremental),
        ] {
            if let Some(twice) = duplicate(names) {
                self.errors.push(self.error(&[key], format!("`{key}` has `{twice}` twice")));
            }
        }
        FrontMatter {
            checks: self.checks(&written.key, written.checks),
            materialize: written.materialize,
            key: written.key,
            latest_by: written.latest_by,
            incremental,
            partition_by: written.partition_by,
            dialect: written.dialect,
            tags: written.tags,
            spans: Spans::default(),
        }
    }

    fn incremental(&mut self, written: &[String]) -> Vec<TableName> {
        let mut tables = Vec::new();
        for (index, name) in written.iter().enumerate() {
            match name.parse::<TableName>() {
                Ok(table) => tables.push(table),
                Err(error) => {
                    let place = place_in(self.spans, "incremental", index);
                    self.errors.push(
                        Error::new(codes::FRONT_MATTER, error.message())
                            .hint("it is one of the tables that the SELECT reads: raw.NAME, trusted.NAME")
                            .at_place(place),
                    );
                }
            }
        }
        tables
    }

    /// What a materialisation cannot do without, and what another one has no use for.
    fn needs(&mut self, written: &FrontMatterFile) {
        use Materialize::{Append, Merge, Partition, Replace};
        let how = written.materialize;
        let is_left_out = |names: &[String]| names.is_empty();
        let append_or = "`materialize: append`, `merge` or `partition`";
        let rules = [
            (
                how == Append && is_left_out(&written.incremental),
                ["materialize", "incremental"],
                "`materialize: append` needs `incremental`".to_owned(),
                "name the input of which only what is new is read: `incremental: raw.orders`",
            ),
            (
                how == Merge && is_left_out(&written.key),
                ["materialize", "key"],
                "`materialize: merge` needs `key`".to_owned(),
                "name the columns of which the table has one row: `key: [id]`",
            ),
            (
                how == Partition && is_left_out(&written.partition_by),
                ["materialize", "partition_by"],
                "`materialize: partition` needs `partition_by`".to_owned(),
                "name the columns whose values are made again as a whole: `partition_by: [day]`",
            ),
            (
                how == Replace && !is_left_out(&written.incremental),
                ["incremental", "materialize"],
                format!("`incremental` needs {append_or}"),
                "a table that is replaced is made of all rows of its inputs",
            ),
            (
                how != Merge && !is_left_out(&written.latest_by),
                ["latest_by", "materialize"],
                "`latest_by` needs `materialize: merge`".to_owned(),
                "without a merge choose the newest row of a key with ROW_NUMBER() in the SELECT",
            ),
        ];
        for (is_wrong, [at, other], message, hint) in rules {
            // The two go together: with a fault in one of them the other would seem wrong too.
            if is_wrong && !self.is_wrong(at) && !self.is_wrong(other) {
                self.errors.push(self.error(&[at], message).hint(hint));
            }
        }
    }

    /// Those of `key`, then those of `checks`.
    fn checks(&mut self, key: &[String], forms: Vec<CheckForm>) -> Vec<Check> {
        let mut checks = Vec::new();
        if !key.is_empty() {
            let place = self.spans.value_place(&["key"]);
            checks.push(Check::new(None, Rule::Unique(key.to_vec()), Severity::Error, place.clone()));
            let not_null = key.iter().map(|column| Rule::NotNull(column.clone()));
            checks.extend(not_null.map(|rule| Check::new(None, rule, Severity::Error, place.clone())));
        }
        // What was left out has no form, and the forms behind it have moved.
        let is_left_out = |index: &String| self.wrong.iter().any(|path| *path == ["checks", index]);
        let written = (0..).map(|index: usize| index.to_string()).filter(|index| !is_left_out(index));
        let indices: Vec<String> = written.take(forms.len()).collect();
        for (index, form) in indices.into_iter().zip(forms) {
            // What is left of a check with a fault says nothing.
            if self.wrong.iter().any(|path| path.starts_with(&["checks".to_owned(), index.clone()])) {
                continue;
            }
            for check in self.check(&index, form) {
                match checks.iter().find(|known| known.name == check.name) {
                    // `key` has brought it already.
                    Some(known) if known.rule == check.rule && known.severity == check.severity => {}
                    Some(_) => {
                        let error =
                            self.error(&["checks", &index], format!("there are two checks `{}`", check.name));
                        self.errors.push(error.hint("give one of them a `name`"));
                    }
                    None => checks.push(check),
                }
            }
        }
        checks
    }

    fn refuse_later(&mut self, written: &FrontMatterFile) {
        let mut later = |path: &[&str], what: &str, hint: &str| {
            let error = Error::new(codes::CONFIG_LATER, format!("{what} is not supported yet"));
            self.errors.push(error.hint(hint).at_place(self.spans.value_place(path)));
        };
        if written.dialect == Dialect::Spark {
            later(&["dialect"], "`dialect: spark`", "leave it out and write DataFusion's SQL");
        }
    }

    /// The checks that one entry stands for.
    fn check(&mut self, number: &str, form: CheckForm) -> Vec<Check> {
        let place = self.spans.value_place(&["checks", number]);
        let map = match form {
            CheckForm::Sql(sql) => CheckMap {
                name: None,
                severity: Severity::Error,
                unique: None,
                not_null: None,
                accepted: None,
                relation: None,
                sql: Some(sql),
            },
            CheckForm::Map(map) => *map,
        };
        let CheckMap { name, severity, unique, not_null, accepted, relation, sql } = map;
        let kinds =
            [unique.is_some(), not_null.is_some(), accepted.is_some(), relation.is_some(), sql.is_some()];
        if kinds.iter().filter(|is| **is).count() != 1 {
            let error = self.error(
                &["checks", number],
                "a check is one of `unique`, `not_null`, `accepted`, `relation`, `sql`",
            );
            self.errors.push(error.hint(
                "write for example `- unique: [id]` or `- {name: n, sql: \"total >= 0\", severity: warn}`",
            ));
            return Vec::new();
        }
        let mut rules: Vec<Rule> = Vec::new();
        rules.extend(unique.map(Rule::Unique));
        rules.extend(not_null.into_iter().flatten().map(Rule::NotNull));
        rules
            .extend(accepted.into_iter().flatten().map(|(column, values)| Rule::Accepted { column, values }));
        for (column, target) in relation.into_iter().flatten() {
            match self.target(number, &column, &target) {
                Ok((table, target)) => rules.push(Rule::Relation { column, table, target }),
                Err(error) => self.errors.push(error),
            }
        }
        if let Some(sql) = sql {
            match Rule::from_sql(&sql) {
                Ok(rule) => rules.push(rule),
                Err(error) => self
                    .errors
                    .push(error.context(format!("the check `{}`", sql.trim())).at_place(place.clone())),
            }
        }
        if severity == Severity::Drop
            && let Some(rule) = rules.iter().find(|rule| !rule.is_about_rows())
        {
            let error = self.error(
                &["checks", number],
                format!("`severity: drop` does not fit `{rule}`: it does not say which row is wrong"),
            );
            self.errors.push(error.hint("use `error` or `warn`, or choose the row to keep in the SELECT"));
            return Vec::new();
        }
        let several = rules.len() > 1;
        rules
            .into_iter()
            .map(|rule| {
                let name =
                    name.as_ref().map(|name| if several { format!("{name}: {rule}") } else { name.clone() });
                Check::new(name, rule, severity, place.clone())
            })
            .collect()
    }

    /// `trusted.products.id` → the table and its column.
    fn target(&self, number: &str, column: &str, target: &str) -> Result<(TableName, String)> {
        let parsed = target
            .rsplit_once('.')
            .and_then(|(table, column)| Some((table.parse().ok()?, column.to_owned())));
        parsed.filter(|(_, column)| !column.is_empty()).ok_or_else(|| {
            let path = ["checks", number, "relation", column];
            self.error(&path, format!("`{target}` is not a column of a table"))
                .hint("write `zone.table.column`, for example trusted.products.id")
        })
    }
}

fn duplicate(names: &[String]) -> Option<&String> {
    names.iter().enumerate().find(|(index, name)| names[..*index].contains(name)).map(|(_, name)| name)
}

/// The JSON schema of the front matter, for editors.
pub fn json_schema() -> schemars::Schema {
    schemars::schema_for!(FrontMatterFile)
}
