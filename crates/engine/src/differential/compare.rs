//! Rows of different engines as texts and numbers, and whether they are the same in some order.

use arrow::{
    array::RecordBatch,
    datatypes::DataType,
    util::display::{ArrayFormatter, FormatOptions},
};
use serde_json::Value;

/// Numbers that were added up in another order may differ by so much of themselves.
const TOLERANCE: f64 = 1e-9;

type Row = Vec<Option<String>>;

#[derive(Debug)]
pub(super) enum Answer {
    Rows(Vec<Row>),
    Failed(String),
}

impl Answer {
    /// The answer of `duckdb.py` to one query.
    pub fn from_json(answer: &Value) -> Self {
        let Some(rows) = answer["rows"].as_array() else {
            return Answer::Failed(answer["error"].to_string());
        };
        let row = |row: &Value| {
            let cells = row.as_array().unwrap().iter();
            cells.map(|cell| cell.as_str().map(plain)).collect()
        };
        Answer::Rows(rows.iter().map(row).collect())
    }

    /// The rows of all.
    pub fn together(answers: Vec<Answer>) -> Self {
        let mut all = Vec::new();
        for answer in answers {
            match answer {
                Answer::Rows(rows) => all.extend(rows),
                failed @ Answer::Failed(_) => return failed,
            }
        }
        Answer::Rows(all)
    }
}

/// The rows of `batches`.
pub(super) fn cells(batches: &[RecordBatch]) -> Vec<Row> {
    let options = FormatOptions::default();
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<ArrayFormatter<'_>> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let cells = columns.iter().zip(batch.columns()).map(|(shown, column)| {
                let text =
                    arrow::array::Array::is_valid(column, row).then(|| shown.value(row).to_string())?;
                Some(if *column.data_type() == DataType::Utf8 { text } else { plain(&text) })
            });
            rows.push(cells.collect());
        }
    }
    rows
}

/// Numbers without the zeros that only their type asks for; times without those of their seconds.
fn plain(text: &str) -> String {
    let is_number = text.contains('.') && text.parse::<f64>().is_ok();
    if !(is_number || text.contains('T') && text.contains('.')) {
        return text.to_owned();
    }
    if text.contains(['e', 'E']) {
        return text.to_owned();
    }
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0".to_owned() } else { short.to_owned() }
}

/// Whether both gave the same rows, each as often. Two failures are the same.
pub(super) fn same(one: &Answer, other: &Answer) -> Result<(), String> {
    let (one, other) = match (one, other) {
        (Answer::Failed(_), Answer::Failed(_)) => return Ok(()),
        (Answer::Rows(one), Answer::Rows(other)) => (one, other),
        (Answer::Failed(error), Answer::Rows(rows)) => {
            return Err(format!("failed ({error}), not {} rows", rows.len()));
        }
        (Answer::Rows(rows), Answer::Failed(error)) => {
            return Err(format!("{} rows, not failed ({error})", rows.len()));
        }
    };
    let (mut left, mut right): (Vec<&Row>, Vec<&Row>) = (one.iter().collect(), other.iter().collect());
    left.sort_unstable();
    right.sort_unstable();
    if left.len() == right.len() && left.iter().zip(&right).all(|(one, other)| equal(one, other)) {
        return Ok(());
    }
    // Numbers that differ a little may sort otherwise.
    left.retain(|row| match right.iter().position(|other| equal(row, other)) {
        Some(at) => {
            right.swap_remove(at);
            false
        }
        None => true,
    });
    if left.is_empty() && right.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} and {} rows; only in the first: {:?}; only in the second: {:?}",
        one.len(),
        other.len(),
        left.iter().take(3).collect::<Vec<_>>(),
        right.iter().take(3).collect::<Vec<_>>()
    ))
}

fn equal(one: &Row, other: &Row) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|cells| match cells {
            (Some(one), Some(other)) => one == other || near(one, other),
            (one, other) => one == other,
        })
}

fn near(one: &str, other: &str) -> bool {
    let (Ok(one), Ok(other)) = (one.parse::<f64>(), other.parse::<f64>()) else { return false };
    (one - other).abs() <= TOLERANCE * one.abs().max(other.abs()).max(1.0)
}

#[test]
fn rows_are_the_same_in_any_order_and_as_often() {
    let answer = |rows: &[&[&str]]| {
        let row = |row: &&[&str]| row.iter().map(|cell| (*cell != "null").then(|| plain(cell))).collect();
        Answer::Rows(rows.iter().map(row).collect())
    };
    let one = answer(&[&["1.50", "a"], &["null", "b"], &["null", "b"]]);
    same(&one, &answer(&[&["null", "b"], &["1.5", "a"], &["null", "b"]])).unwrap();
    same(&answer(&[&["0.1"], &["2"]]), &answer(&[&["2.00"], &["0.10000000000001"]])).unwrap();
    for other in [
        answer(&[&["null", "b"], &["1.5", "a"]]),
        answer(&[&["null", "b"], &["1.5", "a"], &["1.5", "a"]]),
        answer(&[&["1.5001", "a"], &["null", "b"], &["null", "b"]]),
        answer(&[&["1.50", "a"], &["0", "b"], &["null", "b"]]),
        Answer::Failed("no".into()),
    ] {
        assert!(same(&one, &other).is_err(), "{other:?}");
        assert!(same(&other, &one).is_err(), "{other:?}");
    }
}
