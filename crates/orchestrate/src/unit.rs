//! Unit tests of models: given rows in, expected rows out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{array::RecordBatch, datatypes::Schema};
use futures::StreamExt;
use lagar_connectors::decode::{self, ReadOptions};
use lagar_engine::{Session, Strategy};
use lagar_flow::{Body, Compression, Error, Format, FormatKind, Result, TableName, Zone, codes};
use serde_json::Value;

use crate::{
    predictor,
    project::{ModelTest, TestCase},
    workplace::Workplace,
};

/// Two doubles are equal when they differ by no more than this share of the larger one.
const RELATIVE_TOLERANCE: f64 = 1e-9;

/// Rows of a test table in one batch.
const ROWS_MAX: usize = 1 << 20;

/// How one test case ended.
#[derive(Debug)]
pub struct TestResult {
    pub model: TableName,
    pub case: String,
    pub seconds: f64,
    /// `None`: passed.
    pub failure: Option<Error>,
}

/// Runs every test case whose model's name contains `filter`.
pub async fn test(workplace: &Workplace, filter: Option<&str>) -> Result<Vec<TestResult>> {
    let scratch = workplace.scratch()?;
    let engine = workplace.engine(&scratch)?;
    let mut results = Vec::new();
    for test in &workplace.project.tests {
        if filter.is_some_and(|filter| !test.model.to_string().contains(filter)) {
            continue;
        }
        for case in &test.cases {
            let started = std::time::Instant::now();
            let failure = run_case(workplace, &engine.session(), test, case).await.err();
            results.push(TestResult {
                model: test.model.clone(),
                case: case.name.clone(),
                seconds: started.elapsed().as_secs_f64(),
                failure: failure.map(|error| match error.place() {
                    Some(_) => error,
                    None => error.at_place(case.place.clone()),
                }),
            });
        }
    }
    Ok(results)
}

async fn run_case(workplace: &Workplace, session: &Session, test: &ModelTest, case: &TestCase) -> Result<()> {
    let Some(model) = workplace.project.models.get(&test.model) else {
        return Err(Error::bug(format!("a test of the unknown model `{}` was not refused", test.model)));
    };
    for need in model.reads.iter().map(|read| &read.table).collect::<BTreeSet<_>>() {
        let Some(rows) = case.given.get(need) else {
            return Err(Error::new(
                codes::TEST_FAILED,
                format!("`{}` reads `{need}`, for which the test gives no rows", test.model),
            )
            .hint(format!("add `{need}: []` below `given` if none are meant")));
        };
        let rows = if need.zone == Zone::Raw { with_load_columns(rows) } else { rows.clone() };
        add_json_rows(session, need, &rows)?;
    }
    for name in model.asks() {
        let release = workplace.lake.current_release().await?;
        match predictor::released(workplace, release.as_ref(), name).await {
            Ok(asked) => session.add_predictor(name, asked),
            Err(error) if error.code() == codes::TABLE_MISSING => {
                let what =
                    format!("`{}` asks the predictor `{name}`, of which no version is current", test.model);
                return Err(Error::new(codes::TEST_FAILED, what).hint("`lagar run` trains it"));
            }
            Err(error) => return Err(error),
        }
    }
    let mut query = session.query_with(&model.sql, Strategy::Default).await.map_err(|e| model.locate(&e))?;
    let mut got = Vec::new();
    while let Some(batch) = query.batches.stream.next().await {
        got.extend(rows_of(&batch.map_err(|e| model.locate(&e))?)?);
    }
    compare(&query.batches.schema, got, &case.expect, case.ordered)
}

/// The rows as a table; its columns and types are found as those of a JSON file are.
fn add_json_rows(session: &Session, name: &TableName, rows: &[Value]) -> Result<()> {
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let body = Body::Memory(text.into());
    let format = Format {
        kind: FormatKind::Ndjson,
        compression: Compression::None,
        columns: BTreeMap::new(),
        misfits: Default::default(),
    };
    let limits = decode::Limits {
        max_bytes: u64::MAX,
        batch_rows: ROWS_MAX,
        sample_bytes: None,
        new_columns: Default::default(),
    };
    let schema = decode::inspect(&body, &format, None, &limits)?.schema;
    let options = ReadOptions { batch_rows: ROWS_MAX, ..ReadOptions::default() };
    let batches = decode::read(&body, &format, schema.clone(), options)?
        .map(|d| d.map(|d| d.batch))
        .collect::<Result<_>>()?;
    session.add_rows(name.zone.as_str(), name.name.as_str(), batches, schema)
}

/// Rows of a raw table have their place beside the columns of the source.
fn with_load_columns(rows: &[Value]) -> Vec<Value> {
    let last_load = rows.iter().filter_map(|row| row.get("_load")?.as_i64()).max();
    rows.iter()
        .enumerate()
        .map(|(index, row)| {
            let mut row = row.clone();
            if let Some(fields) = row.as_object_mut() {
                let mut default = |name: &str, value: Value| {
                    fields.entry(name).or_insert(value);
                };
                default("_source_file", Value::from("test"));
                default("_load", Value::from(1));
                default("_loaded_at", Value::from("2000-01-01T00:00:00Z"));
                default("_row", Value::from(index + 1));
                let newest = fields.get("_load").and_then(Value::as_i64) >= last_load;
                fields.entry("_newest").or_insert(Value::from(newest));
            }
            row
        })
        .collect()
}

fn rows_of(batch: &RecordBatch) -> Result<Vec<Value>> {
    let failed =
        |error: arrow::error::ArrowError| Error::bug("a row cannot be shown as JSON").caused_by(&error);
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::JsonArray>(Vec::new());
    writer.write(batch).map_err(failed)?;
    writer.finish().map_err(failed)?;
    let text = writer.into_inner();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_slice(&text).map_err(|error| Error::bug("a row is not JSON").caused_by(&error))
}

/// Only the columns that the test names are compared; without `ordered` the rows are a multiset.
fn compare(schema: &Arc<Schema>, mut got: Vec<Value>, expect: &[Value], ordered: bool) -> Result<()> {
    for column in expect.iter().filter_map(Value::as_object).flat_map(|row| row.keys()) {
        if schema.column_with_name(column).is_none() {
            let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
            return Err(Error::new(codes::TEST_FAILED, format!("the model has no column `{column}`"))
                .hint(format!("it has {}", names.join(", "))));
        }
    }
    let mut missing = Vec::new();
    for (place, wanted) in expect.iter().enumerate() {
        let found = match ordered {
            true => got.first().is_some_and(|row| matches(row, wanted)).then_some(0),
            false => got.iter().position(|row| matches(row, wanted)),
        };
        match found {
            Some(index) => {
                got.remove(index);
            }
            None if ordered => {
                let instead = got.first().map_or("nothing".to_owned(), Value::to_string);
                return Err(Error::new(
                    codes::TEST_FAILED,
                    format!("row {} is {instead}, not {wanted}", place + 1),
                ));
            }
            None => missing.push(wanted.to_string()),
        }
    }
    if missing.is_empty() && got.is_empty() {
        return Ok(());
    }
    let list = |rows: &[String]| if rows.is_empty() { "none".to_owned() } else { rows.join("\n    ") };
    let extra: Vec<String> = got.iter().map(Value::to_string).collect();
    Err(Error::new(
        codes::TEST_FAILED,
        format!(
            "expected rows that are missing:\n    {}\n  rows that were not expected:\n    {}",
            list(&missing),
            list(&extra)
        ),
    ))
}

fn matches(row: &Value, wanted: &Value) -> bool {
    match wanted.as_object() {
        Some(fields) => {
            fields.iter().all(|(name, value)| equal(row.get(name).unwrap_or(&Value::Null), value))
        }
        None => false,
    }
}

fn equal(got: &Value, wanted: &Value) -> bool {
    match (got, wanted) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64(), a.as_f64(), b.as_f64()) {
            (Some(a), Some(b), _, _) => a == b,
            (_, _, Some(a), Some(b)) => (a - b).abs() <= RELATIVE_TOLERANCE * a.abs().max(b.abs()),
            _ => false,
        },
        // Decimals are written as text, so that no digit is lost.
        (Value::String(a), Value::Number(b)) => a.parse::<f64>().is_ok_and(|a| Some(a) == b.as_f64()),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(_), Value::Object(_)) => matches(got, wanted),
        (got, wanted) => got == wanted,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field};
    use serde_json::json;

    fn schema() -> Arc<Schema> {
        Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("b", DataType::Float64, true),
        ]))
    }

    fn check(got: Value, expect: Value, ordered: bool) -> Result<()> {
        compare(&schema(), got.as_array().unwrap().clone(), expect.as_array().unwrap(), ordered)
    }

    #[test]
    fn rows_are_a_multiset_of_the_named_columns() {
        assert!(
            check(json!([{"a": 1, "b": 0.1}, {"a": 2, "b": 2.0}]), json!([{"a": 2}, {"b": 0.1}]), false)
                .is_ok()
        );
        assert!(check(json!([{"a": 1}, {"a": 1}]), json!([{"a": 1}]), false).is_err(), "one too many");
        assert!(check(json!([{"a": 1}]), json!([{"a": 1}, {"a": 1}]), false).is_err(), "one too few");
        assert!(check(json!([{"b": 0.30000000000000004}]), json!([{"b": 0.3}]), false).is_ok());
        assert!(check(json!([{"b": 0.3001}]), json!([{"b": 0.3}]), false).is_err());
        assert!(check(json!([{"a": 1}]), json!([{"c": 1}]), false).is_err(), "no such column");
        assert!(check(json!([{"a": null}]), json!([{"a": null}]), false).is_ok());
        assert!(check(json!([{"a": 1}, {"a": 2}]), json!([{"a": 2}, {"a": 1}]), true).is_err());
    }
}
