//! Where Arrow meets ndarray: from the columns of a table to the matrix that algorithms learn from, and what of
//! that is remembered, so that the rows that are asked later go the same way.
//!
//! Columns are taken whole, never row by row. A null, NaN or infinity without a declared replacement is an error
//! that names the column and says how many there are.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray},
    compute::{DatePart as Part, cast, date_part},
    datatypes::{DataType, Float64Type, Int32Type},
};
use lagar_flow::{Code, Error, Result, codes, type_word};
use ndarray::{Array2, ShapeBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::judge::guards::{Distribution, Drift};
use crate::spec::{DatePart, Encode, Encoder, Impute, Imputer, Precision, Scale, asked_kind};
use crate::split::{micros_of, too_far_away};

/// Columns that one table column may become; the rarest values go to `other`.
const CATEGORIES_MAX: usize = 100;
/// Distinct values that an ordinal or target encoding may have.
const LEVELS_MAX: usize = 1_000_000;
/// Rows that the mean of a target encoding is drawn towards the mean of all by (Micci-Barreca 2001).
const TARGET_PRIOR_ROWS: f64 = 10.0;
/// Parts in which rows that are learned from are encoded by the target of the other parts.
const TARGET_FOLDS: u64 = 5;

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

fn learn_feature(
    asked: &Asked<'_>,
    name: &str,
    column: &ArrayRef,
    target: TargetNumbers<'_>,
    notes: &mut Vec<String>,
) -> Result<Feature> {
    let plain = without_dictionary(name, column)?;
    let column = &plain;
    let kind = asked_kind(name, column.data_type(), asked.encode.get(name), asked.impute.get(name))?;
    let rounded = match (kind, asked.encode.get(name)) {
        (Kind::Number, None) => rounded(name, column, asked.precision)?,
        _ => column.clone(),
    };
    let column = &rounded;
    let mut feature = Feature {
        name: name.to_owned(),
        kind,
        data_type: column.data_type().to_string(),
        missing: None,
        encoding: Encoding::Number,
    };
    let by_value = matches!(asked.encode.get(name), Some(Encode::By(_)));
    if let Some(impute) = asked.impute.get(name) {
        feature.missing = Some(learn_missing(name, kind, by_value, impute, column)?);
    }
    feature.encoding = match asked.encode.get(name) {
        Some(Encode::Parts(parts)) => Encoding::Parts { parts: parts.clone() },
        Some(Encode::By(encoder)) => {
            let texts = feature.texts(column)?;
            learn_encoding(*encoder, name, kind, &texts, target, notes)?
        }
        None => Encoding::Number,
    };
    if kind == Kind::Number
        && column.null_count() == column.len()
        && feature.missing.is_none()
        && !column.is_empty()
    {
        return Err(Error::new(codes::PREDICTOR_DATA, format!("the feature `{name}` is null in every row"))
            .hint("leave it out of `features`"));
    }
    Ok(feature)
}

/// What stands in place of null: what was asked for and fits, learned from `column`.
fn learn_missing(
    name: &str,
    kind: Kind,
    by_value: bool,
    impute: &Impute,
    column: &ArrayRef,
) -> Result<Missing> {
    let nothing = || {
        Error::new(
            codes::PREDICTOR_DATA,
            format!("the feature `{name}` is null in every row that is learned from"),
        )
        .hint(format!("leave it out, or give a constant: `impute: {{{name}: 0}}`"))
    };
    let text = by_value || kind == Kind::Text;
    match impute {
        Impute::Text(constant) => Ok(Missing::Text(constant.clone())),
        Impute::Number(constant) if by_value => Ok(Missing::Text(text_of(*constant, kind, column)?)),
        Impute::Bool(constant) if by_value => Ok(Missing::Text(constant.to_string())),
        Impute::Number(constant) => Ok(Missing::Number(*constant)),
        Impute::Bool(constant) => Ok(Missing::Number(f64::from(*constant))),
        Impute::By(Imputer::MostFrequent) if text => {
            let texts = texts_of(name, column)?;
            let mut counts = BTreeMap::<&str, u64>::new();
            for value in texts.iter().flatten() {
                *counts.entry(value).or_default() += 1;
            }
            let most = counts.iter().rev().max_by_key(|(_, count)| **count);
            most.map(|(value, _)| Missing::Text((*value).to_owned())).ok_or_else(nothing)
        }
        Impute::By(imputer) => {
            let numbers = numbers_of(name, column)?;
            let mut known: Vec<f64> = numbers.iter().flatten().filter(|value| !value.is_nan()).collect();
            if known.is_empty() {
                return Err(nothing());
            }
            let value = match imputer {
                Imputer::Mean => known.iter().sum::<f64>() / known.len() as f64,
                Imputer::Median => {
                    known.sort_unstable_by(f64::total_cmp);
                    let middle = known.len() / 2;
                    match known.len() % 2 {
                        1 => known[middle],
                        _ => known[middle - 1] / 2.0 + known[middle] / 2.0,
                    }
                }
                Imputer::MostFrequent => {
                    known.sort_unstable_by(f64::total_cmp);
                    let runs = known.chunk_by(|a, b| a == b);
                    runs.rev().max_by_key(|run| run.len()).map_or(0.0, |run| run[0])
                }
            };
            Ok(Missing::Number(value))
        }
    }
}

/// A constant as the text by which the values of the column are told apart: of a DOUBLE 5 is `5.0`, as Arrow writes it.
/// What the column cannot hold, such as 2.5 where numbers are whole, is a value of its own.
fn text_of(constant: f64, kind: Kind, column: &ArrayRef) -> Result<String> {
    let as_given = Ok(constant.to_string());
    if kind != Kind::Number || !constant.is_finite() {
        return as_given;
    }
    let one: ArrayRef = Arc::new(Float64Array::from(vec![constant]));
    let Ok(typed) = cast(&one, column.data_type()) else { return as_given };
    let back = numbers_of("", &typed)?;
    let fits = match column.data_type().is_floating() {
        true => back.value(0).is_finite(),
        false => back.value(0) == constant,
    };
    match back.is_valid(0) && fits {
        true => Ok(texts_of("", &typed)?.value(0).to_owned()),
        false => as_given,
    }
}

fn learn_encoding(
    encoder: Encoder,
    name: &str,
    kind: Kind,
    texts: &StringArray,
    target: TargetNumbers<'_>,
    notes: &mut Vec<String>,
) -> Result<Encoding> {
    let mut counts = BTreeMap::<&str, u64>::new();
    for value in texts.iter().flatten() {
        *counts.entry(value).or_default() += 1;
    }
    if counts.len() > LEVELS_MAX {
        let what = format!("the feature `{name}` has more than {LEVELS_MAX} different values");
        return Err(
            Error::new(codes::PREDICTOR_DATA, what).hint("leave it out, or make groups of its values in SQL")
        );
    }
    let owned = |values: &mut dyn Iterator<Item = &str>| values.map(str::to_owned).collect::<Vec<_>>();
    match encoder {
        Encoder::OneHot => {
            let mut by_count: Vec<(&str, u64)> =
                counts.iter().map(|(value, count)| (*value, *count)).collect();
            by_count.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
            if by_count.len() > CATEGORIES_MAX {
                notes.push(format!(
                    "`{name}` has {} different values: the {CATEGORIES_MAX} most frequent have a column, the rest is `other`",
                    by_count.len()
                ));
            }
            let kept: BTreeSet<&str> =
                by_count.iter().take(CATEGORIES_MAX).map(|(value, _)| *value).collect();
            Ok(Encoding::OneHot { categories: owned(&mut kept.into_iter()) })
        }
        Encoder::Ordinal => {
            let mut categories = owned(&mut counts.into_keys());
            if kind == Kind::Number {
                categories.sort_by(|a, b| by_number(a, b));
            }
            Ok(Encoding::Ordinal { categories })
        }
        Encoder::Target => {
            // How many classes there are is known from the rows only.
            let target = target.ok_or_else(|| no_target_mean(codes::PREDICTOR_DATA, name))?;
            let (values, other) = target_means(texts, target, |_| true);
            let values = values.into_iter().map(|(value, mean)| (value.to_owned(), mean)).collect();
            Ok(Encoding::Target { values, other })
        }
    }
}

/// There is no mean of the target by which a column could be encoded.
pub(crate) fn no_target_mean(code: Code, name: &str) -> Error {
    Error::new(code, format!("`encode: {name}` asks for the target's mean"))
        .hint("that needs a target of numbers, or of two classes")
}

/// The mean of the target for each value, drawn towards the mean of all rows where few rows say it, and that mean.
fn target_means<'a>(
    texts: &'a StringArray,
    target: &[f64],
    takes: impl Fn(usize) -> bool,
) -> (BTreeMap<&'a str, f64>, f64) {
    let mut sums = BTreeMap::<&str, (f64, f64)>::new();
    let (mut sum, mut count) = (0.0, 0.0);
    for (row, (value, target)) in texts.iter().zip(target).enumerate() {
        if let (Some(value), true) = (value, takes(row)) {
            let of_value = sums.entry(value).or_default();
            of_value.0 += target;
            of_value.1 += 1.0;
            sum += target;
            count += 1.0;
        }
    }
    let all = if count > 0.0 { sum / count } else { 0.0 };
    let means = sums
        .into_iter()
        .map(|(value, (sum, count))| (value, (sum + TARGET_PRIOR_ROWS * all) / (count + TARGET_PRIOR_ROWS)));
    (means.collect(), all)
}

fn scaling(scale: Scale, values: impl Iterator<Item = f64> + Clone) -> Scaling {
    let count = values.clone().count().max(1) as f64;
    let min = values.clone().fold(f64::INFINITY, f64::min);
    let max = values.clone().fold(f64::NEG_INFINITY, f64::max);
    // Asked of the values: the mean of equal ones may be off by a bit, and to divide by that makes the next other value
    // a huge one.
    if min == max {
        return Scaling { minus: min, over: 1.0 };
    }
    let (minus, over) = match scale {
        Scale::None => (0.0, 1.0),
        Scale::Standard => {
            let mean = values.clone().map(|v| v / count).sum::<f64>();
            let variance = values.map(|v| (v - mean) * ((v - mean) / count)).sum::<f64>();
            (mean, variance.sqrt())
        }
        Scale::MinMax => (min, max - min),
    };
    // A column that changes by less or more than a number can say stays as it is, but for its place.
    let over = if over.is_finite() && over > 0.0 { over } else { 1.0 };
    Scaling { minus: if minus.is_finite() { minus } else { 0.0 }, over }
}

impl Feature {
    /// Whether its parts fit together. Values are looked for in lists that are in order.
    fn check(&self) -> Result<(), String> {
        let fits = match &self.encoding {
            Encoding::Number => matches!(self.kind, Kind::Number | Kind::Boolean),
            Encoding::Parts { .. } => self.kind == Kind::Time,
            Encoding::OneHot { .. } | Encoding::Ordinal { .. } | Encoding::Target { .. } => true,
        };
        if !fits {
            return Err("has an encoding that is not for its kind".to_owned());
        }
        let in_order = match &self.encoding {
            Encoding::OneHot { categories } => categories.is_sorted_by(|a, b| a < b),
            Encoding::Ordinal { categories } => {
                let order = self.order_of(categories);
                categories.is_sorted_by(|a, b| order(a, b).is_lt())
            }
            Encoding::Target { values, .. } => values.is_sorted_by(|a, b| a.0 < b.0),
            Encoding::Number | Encoding::Parts { .. } => true,
        };
        if in_order { Ok(()) } else { Err("has values that are not in order, each once".to_owned()) }
    }

    /// By what the categories of an ordinal encoding are in order: those of numbers by number. Records that were written
    /// before that have them by text, and keep their places.
    fn order_of(&self, categories: &[String]) -> fn(&str, &str) -> Ordering {
        match self.kind {
            Kind::Number if !categories.is_sorted() => by_number,
            _ => |a, b| a.cmp(b),
        }
    }

    fn width(&self) -> usize {
        match &self.encoding {
            Encoding::Number | Encoding::Ordinal { .. } | Encoding::Target { .. } => 1,
            Encoding::OneHot { categories } => categories.len() + 1,
            Encoding::Parts { parts } => parts.len(),
        }
    }

    fn columns(&self) -> Vec<String> {
        let name = &self.name;
        match &self.encoding {
            Encoding::Number | Encoding::Ordinal { .. } | Encoding::Target { .. } => vec![name.clone()],
            Encoding::OneHot { categories } => {
                let values = categories.iter().map(String::as_str).chain(["(other)"]);
                values.map(|value| format!("{name}={value}")).collect()
            }
            Encoding::Parts { parts } => parts.iter().map(|part| format!("{name}.{}", part.name())).collect(),
        }
    }

    /// Adds the columns of the matrix to `data`, one after the other.
    fn numbers(&self, column: &ArrayRef, precision: Precision, data: &mut Vec<f64>) -> Result<()> {
        let kind = Kind::of(&self.name, column.data_type())?;
        if kind != self.kind && *column.data_type() != DataType::Null {
            return Err(Error::new(
                codes::PREDICTOR_DATA,
                format!(
                    "the feature `{}` was {}, and is {} now",
                    self.name,
                    self.kind.said(),
                    said(column.data_type())
                ),
            )
            .hint("give it the type that was learned from, or train again"));
        }
        let plain = without_dictionary(&self.name, column)?;
        let column = &plain;
        let by_value = !matches!(self.encoding, Encoding::Number | Encoding::Parts { .. });
        if by_value && !self.has_texts_of(column.data_type()) {
            return Err(Error::new(
                codes::PREDICTOR_DATA,
                format!(
                    "the feature `{}` is encoded by its values, which were {}, and are {} now",
                    self.name,
                    self.data_type,
                    column.data_type()
                ),
            )
            .hint("cast it to the type that was learned from: 5 and 5.0 are different texts"));
        }
        match &self.encoding {
            Encoding::Number if self.kind == Kind::Number => {
                data.extend(self.finite(&rounded(&self.name, column, precision)?)?);
            }
            Encoding::Number => data.extend(self.finite(column)?),
            Encoding::OneHot { categories } => {
                let texts = self.texts(column)?;
                let (start, rows, others) = (data.len(), texts.len(), categories.len());
                data.resize(start + rows * (others + 1), 0.0);
                for (row, place) in places(&texts, categories, |a, b| a.cmp(b)).enumerate() {
                    data[start + place.unwrap_or(others) * rows + row] = 1.0;
                }
            }
            Encoding::Ordinal { categories } => {
                let texts = self.texts(column)?;
                let places = places(&texts, categories, self.order_of(categories));
                data.extend(places.map(|place| place.map_or(-1.0, |place| place as f64)));
            }
            Encoding::Target { values, other } => {
                let texts = self.texts(column)?;
                let number = |value: Option<&str>| {
                    let place =
                        value.and_then(|value| values.binary_search_by(|(v, _)| v.as_str().cmp(value)).ok());
                    place.map_or(*other, |place| values[place].1)
                };
                data.extend(texts.iter().map(number));
            }
            Encoding::Parts { parts } => {
                for part in parts {
                    data.extend(self.part(*part, column)?);
                }
            }
        }
        Ok(())
    }

    /// Whether a value of that type has the text by which it was learned.
    fn has_texts_of(&self, data_type: &DataType) -> bool {
        let was_whole = ["Int", "UInt"].iter().any(|whole| self.data_type.starts_with(whole));
        matches!(self.kind, Kind::Text | Kind::Boolean)
            || *data_type == DataType::Null
            || self.data_type == data_type.to_string()
            || was_whole && data_type.is_integer()
    }

    /// A target encoding of rows that are learned from: each row gets the mean of the rows in other folds.
    fn out_of_fold(&self, column: &ArrayRef, target: &[f64], data: &mut Vec<f64>) -> Result<()> {
        let texts = self.texts(column)?;
        let fold = |row: usize| (row as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let start = data.len();
        data.resize(start + texts.len(), 0.0);
        for asked in 0..TARGET_FOLDS {
            let (means, other) = target_means(&texts, target, |row| fold(row) % TARGET_FOLDS != asked);
            for (row, value) in texts.iter().enumerate().filter(|(row, _)| fold(*row) % TARGET_FOLDS == asked)
            {
                data[start + row] = value.and_then(|value| means.get(value)).copied().unwrap_or(other);
            }
        }
        Ok(())
    }

    /// The values as finite numbers, what is missing filled in.
    fn finite(&self, column: &ArrayRef) -> Result<Vec<f64>> {
        let numbers = numbers_of(&self.name, column)?;
        let fill = match &self.missing {
            Some(Missing::Number(value)) => Some(*value),
            _ => None,
        };
        let mut values = numbers.values().to_vec();
        if numbers.null_count() > 0 {
            let Some(fill) = fill else {
                return Err(self.nulls("null", numbers.null_count(), numbers.len()));
            };
            for row in (0..numbers.len()).filter(|row| numbers.is_null(*row)) {
                values[row] = fill;
            }
        }
        // NaN is what some writers put where there is nothing.
        let nans = values.iter().filter(|value| value.is_nan()).count();
        if nans > 0 {
            let Some(fill) = fill else { return Err(self.nulls("NaN", nans, values.len())) };
            values.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = fill);
        }
        let infinite = values.iter().filter(|value| value.is_infinite()).count();
        if infinite > 0 {
            let what =
                format!("the feature `{}` is infinite in {infinite} of {} rows", self.name, values.len());
            return Err(Error::new(codes::PREDICTOR_DATA, what)
                .hint("say in the SQL that makes the table what stands there instead"));
        }
        Ok(values)
    }

    fn nulls(&self, what: &str, count: usize, rows: usize) -> Error {
        let name = &self.name;
        let fill = if self.kind == Kind::Text { "unknown" } else { "0" };
        Error::new(codes::PREDICTOR_DATA, format!("the feature `{name}` is {what} in {count} of {rows} rows")).hint(
            format!(
                "say what stands there instead, `impute: {{{name}: {fill}}}` (a constant, mean, median, most_frequent), \
                 or leave the rows or the column out"
            ),
        )
    }

    /// The values as text, what is missing filled in.
    fn texts(&self, column: &ArrayRef) -> Result<StringArray> {
        let texts = texts_of(&self.name, column)?;
        if texts.null_count() == 0 {
            return Ok(texts);
        }
        match &self.missing {
            Some(Missing::Text(fill)) => Ok(texts.iter().map(|value| Some(value.unwrap_or(fill))).collect()),
            _ => Err(self.nulls("null", texts.null_count(), texts.len())),
        }
    }

    fn part(&self, part: DatePart, column: &ArrayRef) -> Result<Vec<f64>> {
        let nulls = column.logical_null_count();
        if nulls > 0 {
            return Err(self.nulls("null", nulls, column.len()));
        }
        let of = format!("the feature `{}`", self.name);
        // Of a timestamp with a zone it is the parts of its local time that were learned from.
        let (learned, asked) = (zone_of(&self.data_type), column.data_type().to_string());
        if learned != zone_of(&asked) {
            let what = format!(
                "the feature `{}` was learned from as {}, and is {asked} here",
                self.name, self.data_type
            );
            return Err(Error::new(codes::PREDICTOR_DATA, what).hint(
                "its parts would be those of another time zone; cast it to the type that was learned from",
            ));
        }
        let arrow_part = match part {
            DatePart::Year => Part::Year,
            DatePart::Month => Part::Month,
            DatePart::Day => Part::Day,
            DatePart::DayOfWeek => Part::DayOfWeekMonday0,
            DatePart::DayOfYear => Part::DayOfYear,
            DatePart::Week => Part::Week,
            DatePart::Hour => Part::Hour,
            DatePart::Days => {
                let micros = micros_of(&of, column)?;
                return Ok(micros.values().iter().map(|micros| *micros as f64 / 86_400e6).collect());
            }
        };
        let numbers = date_part(column, arrow_part).map_err(|error| {
            Error::new(codes::PREDICTOR_DATA, format!("no {} of `{}`", part.name(), self.name))
                .caused_by(&error)
        })?;
        // Null where there is none, behind which 0 stands.
        if numbers.null_count() > 0 {
            return Err(too_far_away(&of, numbers.null_count(), numbers.len()));
        }
        Ok(numbers.as_primitive::<Int32Type>().values().iter().map(|number| f64::from(*number)).collect())
    }
}

/// The parts of the dates or timestamps of `column`, a column for each.
pub(crate) fn parts_of(name: &str, parts: &[DatePart], column: &ArrayRef) -> Result<Vec<Vec<f64>>> {
    let feature = Feature {
        name: name.to_owned(),
        kind: Kind::Time,
        data_type: column.data_type().to_string(),
        missing: None,
        encoding: Encoding::Parts { parts: parts.to_vec() },
    };
    parts.iter().map(|part| feature.part(*part, column)).collect()
}

/// The time zone in the name of an Arrow type.
fn zone_of(data_type: &str) -> Option<&str> {
    let zone = data_type.split('"').nth(1)?;
    Some(if ["+00:00", "Z", "Etc/UTC"].contains(&zone) { "UTC" } else { zone })
}

impl DatePart {
    fn name(self) -> &'static str {
        match self {
            DatePart::Year => "year",
            DatePart::Month => "month",
            DatePart::Day => "day",
            DatePart::DayOfWeek => "day_of_week",
            DatePart::DayOfYear => "day_of_year",
            DatePart::Week => "week",
            DatePart::Hour => "hour",
            DatePart::Days => "days",
        }
    }
}

/// The values themselves of a column that is stored as places in a dictionary.
fn without_dictionary(name: &str, column: &ArrayRef) -> Result<ArrayRef> {
    let DataType::Dictionary(_, values) = column.data_type() else { return Ok(column.clone()) };
    cast(column, values).map_err(|error| {
        Error::new(codes::PREDICTOR_DATA, format!("the feature `{name}` cannot be read")).caused_by(&error)
    })
}

/// The place of each value in `categories`, which are in that order.
fn places<'a>(
    texts: &'a StringArray,
    categories: &'a [String],
    order: fn(&str, &str) -> Ordering,
) -> impl Iterator<Item = Option<usize>> + 'a {
    texts.iter().map(move |value| {
        value.and_then(|value| categories.binary_search_by(|category| order(category, value)).ok())
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
