//! The column with the right answers, as numbers or as codes of classes.

use std::collections::BTreeSet;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, StringArray},
    compute::cast,
    datatypes::{DataType, Float64Type},
};
use lagar_flow::{Error, Result, codes};

use crate::{algorithm::Task, predictor::LabelKind};

/// The most classes that a target may have.
const CLASSES_MAX: usize = 1000;

/// The right answers of all rows that have one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Labels {
    Values(Vec<f64>),
    /// The names of the classes in their order, and for each row its place among them.
    Classes {
        names: Vec<String>,
        codes: Vec<u32>,
    },
    /// Nothing is asked for.
    None,
}

/// The rows in which the target is not null.
pub(crate) fn rows_with_target(rows: &RecordBatch, target: Option<&str>) -> Result<Vec<usize>> {
    let Some(name) = target else { return Ok((0..rows.num_rows()).collect()) };
    let column = column(rows, name)?;
    Ok((0..rows.num_rows()).filter(|row| column.is_valid(*row)).collect())
}

impl Labels {
    /// Those of `rows`, in all of which the target is there.
    ///
    /// # Errors
    /// [`codes::CONFIG`]: the column cannot be a target of this task; [`codes::PREDICTOR_DATA`]: it has values that are
    /// not finite.
    pub fn of(rows: &RecordBatch, target: Option<&str>, task: Task) -> Result<(Self, Option<LabelKind>)> {
        let Some(name) = target else { return Ok((Labels::None, None)) };
        let column = column(rows, name)?;
        let kind = LabelKind::of(name, column.data_type(), task)?;
        let labels = match task {
            Task::Classification => Self::classes(name, column, kind)?,
            _ => Self::values(name, column)?,
        };
        Ok((labels, Some(kind)))
    }

    fn values(name: &str, column: &ArrayRef) -> Result<Self> {
        let wrong = |what: String| Error::new(codes::PREDICTOR_DATA, format!("`target: {name}` {what}"));
        let numbers = cast(column, &DataType::Float64)
            .map_err(|error| wrong("has values that are no numbers".into()).caused_by(&error))?;
        let values = numbers.as_primitive::<Float64Type>().values().to_vec();
        let odd = values.iter().filter(|value| !value.is_finite()).count();
        match odd {
            0 => Ok(Labels::Values(values)),
            _ => Err(wrong(format!("is NaN or infinite in {odd} of {} rows", values.len())).hint(
                "say in the SQL that makes the table what stands there instead, or leave the rows out",
            )),
        }
    }

    fn classes(name: &str, column: &ArrayRef, kind: LabelKind) -> Result<Self> {
        let texts = cast(column, &DataType::Utf8).map_err(|error| {
            Error::new(codes::PREDICTOR_DATA, format!("`target: {name}` has no text form")).caused_by(&error)
        })?;
        let texts: &StringArray = texts.as_string();
        let distinct: BTreeSet<&str> = texts.iter().flatten().collect();
        if distinct.len() > CLASSES_MAX {
            let what =
                format!("`target: {name}` has {} different values: more than {CLASSES_MAX}", distinct.len());
            return Err(Error::new(codes::PREDICTOR_DATA, what).hint("for numbers take a regression"));
        }
        let mut names: Vec<String> = distinct.into_iter().map(str::to_owned).collect();
        if kind == LabelKind::Integer {
            // As numbers are ordered: 2 before 10.
            names.sort_by_key(|name| name.parse::<i128>().unwrap_or_default());
        }
        let place: std::collections::BTreeMap<&str, u32> =
            names.iter().enumerate().map(|(place, name)| (name.as_str(), place as u32)).collect();
        let codes = texts.iter().flatten().map(|text| place[text]).collect();
        Ok(Labels::Classes { names, codes })
    }

    /// Those of the rows with these numbers.
    pub fn take(&self, rows: &[usize]) -> Self {
        match self {
            Labels::Values(values) => Labels::Values(rows.iter().map(|row| values[*row]).collect()),
            Labels::Classes { names, codes } => {
                Labels::Classes { names: names.clone(), codes: rows.iter().map(|row| codes[*row]).collect() }
            }
            Labels::None => Labels::None,
        }
    }

    /// As numbers, where a mean of them says something: values, or of two classes 0 and 1.
    pub fn numbers(&self) -> Option<Vec<f64>> {
        match self {
            Labels::Values(values) => Some(values.clone()),
            Labels::Classes { names, codes } if names.len() <= 2 => {
                Some(codes.iter().map(|code| f64::from(*code)).collect())
            }
            _ => None,
        }
    }
}

pub(crate) fn column<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    rows.column_by_name(name)
        .ok_or_else(|| Error::new(codes::PREDICTOR_DATA, format!("the column `{name}` is missing")))
}

pub(crate) fn counted(count: u64, what: &str) -> String {
    if count == 1 || what.ends_with("es") { format!("{count} {what}") } else { format!("{count} {what}s") }
}
