//! Where Arrow meets ndarray: from the columns of a table to the matrix that algorithms learn from, and what of
//! that is remembered, so that the rows that are asked later go the same way.
//!
//! Columns are taken whole, never row by row. A null, NaN or infinity without a declared replacement is an error
//! that names the column and says how many there are.

use std::{cmp::Ordering, collections::BTreeMap};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray},
    compute::cast,
    datatypes::{DataType, Float64Type},
};
use lagar_flow::{Code, Error, Result, codes, type_word};
use ndarray::{Array2, ShapeBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::judge::guards::{Distribution, Drift};
use crate::spec::{DatePart, Encode, Impute, Precision, Scale};
use crate::split::micros_of;

mod feature;
mod learn;

pub(crate) use feature::parts_of;
pub(crate) use learn::no_target_mean;
use learn::{learn_feature, scaling};

/// What kind of values a column of the table has. A column of another kind is refused when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Number,
    Boolean,
    Text,
    Time,
}

impl Kind {
    /// # Errors
    /// [`codes::PREDICTOR_DATA`]: nothing can be learned from such a column.
    pub(crate) fn of(name: &str, data_type: &DataType) -> Result<Self> {
        Kind::known(data_type).ok_or_else(|| no_kind(codes::PREDICTOR_DATA, name, data_type))
    }

    /// How its values are called in a sentence.
    pub fn said(self) -> &'static str {
        match self {
            Kind::Number => "a number",
            Kind::Boolean => "true or false",
            Kind::Text => "text",
            Kind::Time => "a date or timestamp",
        }
    }

    /// `None`: nothing can be learned from such a column.
    pub fn known(data_type: &DataType) -> Option<Self> {
        match data_type {
            t if t.is_numeric() => Some(Kind::Number),
            DataType::Boolean => Some(Kind::Boolean),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Kind::Text),
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => Some(Kind::Time),
            DataType::Dictionary(_, values) => Kind::known(values),
            // A column in which nothing stands has no type that matters.
            DataType::Null => Some(Kind::Number),
            _ => None,
        }
    }
}

/// How a type is called in a sentence: `an int`, `text`.
pub(crate) fn said(data_type: &DataType) -> String {
    let word = type_word(data_type);
    match word.chars().next() {
        _ if word == "text" => word.into_owned(),
        Some('i' | 'o' | 'I' | 'U') => format!("an {word}"),
        _ => format!("a {word}"),
    }
}

/// A column from which nothing can be learned.
pub(crate) fn no_kind(code: Code, name: &str, data_type: &DataType) -> Error {
    Error::new(code, format!("the feature `{name}` is {}: nothing can be learned from that", said(data_type)))
        .hint("leave it out of `features`, or take it apart in the SQL that makes the table")
}

/// How a column of the table becomes columns of the matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As it is; of booleans 0 and 1.
    Number,
    /// 1 where the value is that one, else 0; one more column for all values that are not here.
    OneHot {
        categories: Vec<String>,
    },
    /// The place of the value, those of a column of numbers in the order of numbers; -1 for one that is not here.
    Ordinal {
        categories: Vec<String>,
    },
    /// The number that stands for the value; `other` for one that is not here.
    Target {
        values: Vec<(String, f64)>,
        other: f64,
    },
    Parts {
        parts: Vec<DatePart>,
    },
}

/// A feature as it was learned from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Feature {
    pub name: String,
    pub kind: Kind,
    /// The Arrow type that it had.
    pub data_type: String,
    /// What stands in place of null; without it a null is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
    pub encoding: Encoding,
}

/// What stands in place of null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    Number(f64),
    Text(String),
}

/// What was learned about the columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Frame {
    pub features: Vec<Feature>,
    /// For each column of the matrix what is subtracted, and then divided by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Vec<Scaling>>,
    /// To what features that are numbers are rounded.
    #[serde(default, skip_serializing_if = "Precision::is_double")]
    pub precision: Precision,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scaling {
    pub minus: f64,
    pub over: f64,
}

/// What is asked for of the columns.
pub(crate) struct Asked<'a> {
    pub features: &'a [String],
    pub encode: &'a BTreeMap<String, Encode>,
    pub impute: &'a BTreeMap<String, Impute>,
    pub precision: Precision,
}

/// The values of a column before anything was filled in.
pub(crate) enum Raw {
    /// NaN where there is none; of dates microseconds since 1970.
    Numbers(Vec<f64>),
    Texts(StringArray),
}

impl Raw {
    /// # Errors
    /// [`codes::PREDICTOR_DATA`]: nothing can be learned from such a column, or a date is too far away.
    pub fn of(name: &str, column: &ArrayRef) -> Result<Self> {
        let numbers = match Kind::of(name, column.data_type())? {
            Kind::Text => return Ok(Raw::Texts(texts_of(name, column)?)),
            Kind::Number | Kind::Boolean => numbers_of(name, column)?,
            Kind::Time => {
                let micros = micros_of(&format!("the feature `{name}`"), column)?;
                micros.unary(|micros| micros as f64)
            }
        };
        Ok(Raw::Numbers(numbers.iter().map(|number| number.unwrap_or(f64::NAN)).collect()))
    }

    /// How the values are distributed; `None` without rows.
    pub fn distribution(&self) -> Option<Distribution> {
        match self {
            Raw::Numbers(values) => Distribution::of_numbers(values),
            Raw::Texts(texts) => Distribution::of_categories(texts.iter()),
        }
    }

    /// How they differ from what was learned from; `None` without rows.
    pub fn drift(&self, from: &Distribution) -> Result<Option<Drift>> {
        match self {
            Raw::Numbers(values) => from.drift_of_numbers(values),
            Raw::Texts(texts) => from.drift_of_categories(texts.iter()),
        }
    }
}

/// The target as numbers: the values, or of two classes 0 and 1.
pub(crate) type TargetNumbers<'a> = Option<&'a [f64]>;

impl Frame {
    /// Learns from `rows`, those that are learned from and no others, all but the scaling. `target` is needed for
    /// target encodings. Also returned: what people should know.
    ///
    /// # Errors
    /// [`codes::PREDICTOR_DATA`]: nulls and the like; [`codes::CONFIG`]: what was asked does not fit the columns, such
    /// as text without an encoding.
    pub(crate) fn learn(
        asked: &Asked<'_>,
        rows: &RecordBatch,
        target: TargetNumbers<'_>,
    ) -> Result<(Self, Vec<String>)> {
        let mut notes = Vec::new();
        let mut features = Vec::new();
        for name in asked.features {
            let column = column(rows, name)?;
            features.push(learn_feature(asked, name, column, target, &mut notes)?);
        }
        Ok((Frame { features, scaling: None, precision: asked.precision }, notes))
    }

    /// Learns the scaling, from the same rows: apart, since that needs their matrix, which may be too large.
    ///
    /// # Errors
    /// As [`Frame::matrix`].
    pub(crate) fn learn_scaling(&mut self, scale: Scale, rows: &RecordBatch) -> Result<()> {
        if scale != Scale::None {
            let matrix = self.matrix(rows)?;
            let columns = matrix.columns().into_iter();
            self.scaling = Some(columns.map(|column| scaling(scale, column.iter().copied())).collect());
        }
        Ok(())
    }

    /// Whether its parts fit together: it may have been written by hand, or be damaged.
    ///
    /// # Errors
    /// What does not fit, for people.
    pub(crate) fn check(&self) -> Result<(), String> {
        for feature in &self.features {
            feature.check().map_err(|what| format!("the feature `{}` {what}", feature.name))?;
        }
        let width = self.width();
        if width == 0 {
            return Err("the frame makes no column".to_owned());
        }
        let Some(scaling) = &self.scaling else { return Ok(()) };
        if scaling.len() != width {
            return Err(format!("{} columns are scaled of {width}", scaling.len()));
        }
        match scaling.iter().find(|scaling| scaling.over <= 0.0) {
            Some(scaling) => Err(format!("a column is divided by {}", scaling.over)),
            None => Ok(()),
        }
    }

    /// The names of the matrix' columns, such as `borough=bronx` or `day.month`.
    pub fn columns(&self) -> Vec<String> {
        self.features.iter().flat_map(Feature::columns).collect()
    }

    /// For each feature the columns of the matrix that come from it.
    pub fn ranges(&self) -> Vec<(String, std::ops::Range<usize>)> {
        let mut start = 0;
        let ranges = self.features.iter().map(|feature| {
            let range = start..start + feature.width();
            start = range.end;
            (feature.name.clone(), range)
        });
        ranges.collect()
    }

    /// Columns of the matrix.
    pub(crate) fn width(&self) -> usize {
        self.features.iter().map(Feature::width).sum()
    }

    /// Bytes of the matrix of `rows` rows.
    pub(crate) fn bytes(&self, rows: usize) -> u64 {
        (rows as u64).saturating_mul((self.width() * size_of::<f64>()) as u64)
    }

    /// The matrix of `rows`, a column after the other in memory; all values are finite.
    ///
    /// # Errors
    /// [`codes::PREDICTOR_DATA`]: a feature is missing, is of another kind than it was, or has nulls or values that
    /// are not finite.
    pub fn matrix(&self, rows: &RecordBatch) -> Result<Array2<f64>> {
        self.matrix_of(rows, |feature, column, data| feature.numbers(column, self.precision, data))
    }

    /// The matrix of the rows that are learned from: a target encoding gives each of them what the others say.
    pub(crate) fn training_matrix(
        &self,
        rows: &RecordBatch,
        target: TargetNumbers<'_>,
    ) -> Result<Array2<f64>> {
        self.matrix_of(rows, |feature, column, data| match (&feature.encoding, target) {
            (Encoding::Target { .. }, Some(target)) => feature.out_of_fold(column, target, data),
            _ => feature.numbers(column, self.precision, data),
        })
    }

    fn matrix_of(
        &self,
        rows: &RecordBatch,
        numbers: impl Fn(&Feature, &ArrayRef, &mut Vec<f64>) -> Result<()>,
    ) -> Result<Array2<f64>> {
        let mut data = Vec::with_capacity(rows.num_rows() * self.width());
        for feature in &self.features {
            numbers(feature, column(rows, &feature.name)?, &mut data)?;
        }
        let mut matrix = Array2::from_shape_vec((rows.num_rows(), self.width()).f(), data)
            .map_err(|error| Error::bug("columns of different lengths").caused_by(&error))?;
        for (mut column, scaling) in matrix.columns_mut().into_iter().zip(self.scaling.iter().flatten()) {
            column.mapv_inplace(|value| (value - scaling.minus) / scaling.over);
        }
        Ok(matrix)
    }
}

fn column<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    rows.column_by_name(name)
        .ok_or_else(|| Error::new(codes::PREDICTOR_DATA, format!("the feature `{name}` is missing")))
}

/// The numbers as exactly as they are to be.
fn rounded(name: &str, column: &ArrayRef, precision: Precision) -> Result<ArrayRef> {
    match precision {
        Precision::Double => Ok(column.clone()),
        Precision::Single => cast(column, &DataType::Float32).map_err(|error| {
            let what = format!("the feature `{name}` is {}, which is no number", said(column.data_type()));
            Error::new(codes::PREDICTOR_DATA, what).caused_by(&error)
        }),
    }
}

/// The values themselves of a column that is stored as places in a dictionary.
fn without_dictionary(name: &str, column: &ArrayRef) -> Result<ArrayRef> {
    let DataType::Dictionary(_, values) = column.data_type() else { return Ok(column.clone()) };
    cast(column, values).map_err(|error| {
        Error::new(codes::PREDICTOR_DATA, format!("the feature `{name}` cannot be read")).caused_by(&error)
    })
}

/// The order of numbers that are given as text; what is none comes last, and equal ones by their text.
fn by_number(a: &str, b: &str) -> Ordering {
    let number = |text: &str| text.parse().unwrap_or(f64::NAN);
    number(a).total_cmp(&number(b)).then_with(|| a.cmp(b))
}

fn numbers_of(name: &str, column: &ArrayRef) -> Result<Float64Array> {
    cast(column, &DataType::Float64).map(|column| column.as_primitive::<Float64Type>().clone()).map_err(
        |error| {
            Error::new(codes::PREDICTOR_DATA, format!("the feature `{name}` has values that are no numbers"))
                .caused_by(&error)
        },
    )
}

fn texts_of(name: &str, column: &ArrayRef) -> Result<StringArray> {
    cast(column, &DataType::Utf8).map(|column| column.as_string::<i32>().clone()).map_err(|error| {
        Error::new(codes::PREDICTOR_DATA, format!("the feature `{name}` has values that are no text"))
            .caused_by(&error)
    })
}

#[cfg(test)]
mod tests;
