//! Where Arrow meets ndarray: from the columns of a table to the matrix that algorithms learn from, and what of
//! that is remembered, so that the rows that are asked later go the same way.
//!
//! Columns are taken whole, never row by row. A null, NaN or infinity without a declared replacement is an error
//! that names the column and says how many there are.

use std::collections::{BTreeMap, BTreeSet};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray},
    compute::{DatePart as Part, cast, date_part},
    datatypes::{DataType, Float64Type, Int32Type, TimeUnit, TimestampMicrosecondType},
};
use lagar_flow::{Code, Error, Result, codes, type_word};
use ndarray::{Array2, ShapeBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::judge::guards::{Distribution, Drift};
use crate::spec::{DatePart, Encode, Encoder, Impute, Imputer, Precision, Scale, asked_kind};

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
    pub(crate) fn known(data_type: &DataType) -> Option<Self> {
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
    /// The place of the value; -1 for one that is not here.
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
    /// NaN where there is none; of dates days since 1970.
    Numbers(Vec<f64>),
    Texts(StringArray),
}

impl Raw {
    /// # Errors
    /// [`codes::PREDICTOR_DATA`]: nothing can be learned from such a column.
    pub fn of(name: &str, column: &ArrayRef) -> Result<Self> {
        let numbers = match Kind::of(name, column.data_type())? {
            Kind::Text => return Ok(Raw::Texts(texts_of(name, column)?)),
            Kind::Number | Kind::Boolean => numbers_of(name, column)?,
            Kind::Time => {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
                let micros = cast(column, &micros).and_then(|micros| cast(&micros, &DataType::Int64));
                let micros = micros.map_err(|error| {
                    Error::new(codes::PREDICTOR_DATA, format!("the feature `{name}` has dates too far away"))
                        .caused_by(&error)
                })?;
                numbers_of(name, &micros)?
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
            learn_encoding(*encoder, name, &texts, target, notes)?
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
        Impute::Number(constant) if by_value => Ok(Missing::Text(constant.to_string())),
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

fn learn_encoding(
    encoder: Encoder,
    name: &str,
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
        Encoder::Ordinal => Ok(Encoding::Ordinal { categories: owned(&mut counts.into_keys()) }),
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
    let (minus, over) = match scale {
        Scale::None => (0.0, 1.0),
        Scale::Standard => {
            let mean = values.clone().map(|v| v / count).sum::<f64>();
            let variance = values.map(|v| (v - mean) * ((v - mean) / count)).sum::<f64>();
            (mean, variance.sqrt())
        }
        Scale::MinMax => {
            let min = values.clone().fold(f64::INFINITY, f64::min);
            let max = values.fold(f64::NEG_INFINITY, f64::max);
            (min, max - min)
        }
    };
    // A column in which nothing changes stays as it is, but for its place.
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
            Encoding::OneHot { categories } | Encoding::Ordinal { categories } => {
                categories.is_sorted_by(|a, b| a < b)
            }
            Encoding::Target { values, .. } => values.is_sorted_by(|a, b| a.0 < b.0),
            Encoding::Number | Encoding::Parts { .. } => true,
        };
        if in_order { Ok(()) } else { Err("has values that are not in order, each once".to_owned()) }
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
                for (row, place) in places(&texts, categories).enumerate() {
                    data[start + place.unwrap_or(others) * rows + row] = 1.0;
                }
            }
            Encoding::Ordinal { categories } => {
                let texts = self.texts(column)?;
                let places = places(&texts, categories);
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
        let wrong = |error: arrow::error::ArrowError| {
            Error::new(codes::PREDICTOR_DATA, format!("no {} of `{}`", part.name(), self.name))
                .caused_by(&error)
        };
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
                let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
                let micros = cast(column, &micros).map_err(wrong)?;
                let micros = micros.as_primitive::<TimestampMicrosecondType>();
                return Ok(micros.values().iter().map(|micros| *micros as f64 / 86_400e6).collect());
            }
        };
        let numbers = date_part(column, arrow_part).map_err(wrong)?;
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

fn places<'a>(texts: &'a StringArray, categories: &'a [String]) -> impl Iterator<Item = Option<usize>> + 'a {
    texts.iter().map(|value| {
        value.and_then(|value| categories.binary_search_by(|category| category.as_str().cmp(value)).ok())
    })
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
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Date32Array, TimestampMicrosecondArray};
    use serde_json::{Value, json};

    use super::*;

    fn numbers(values: &[Option<f64>]) -> ArrayRef {
        Arc::new(Float64Array::from(values.to_vec()))
    }

    fn texts(values: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    fn rows(column: &ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable([("x", column.clone(), true)]).unwrap()
    }

    /// What is learned of one feature `x`, and the notes.
    fn learned_with_notes(
        encode: &Value,
        impute: &Value,
        column: &ArrayRef,
        target: TargetNumbers<'_>,
    ) -> Result<(Frame, Vec<String>)> {
        let of = |value: &Value| if value.is_null() { json!({}) } else { json!({ "x": value }) };
        let asked = Asked {
            features: &["x".to_owned()],
            encode: &serde_json::from_value(of(encode)).unwrap(),
            impute: &serde_json::from_value(of(impute)).unwrap(),
            precision: Precision::Double,
        };
        Frame::learn(&asked, &rows(column), target)
    }

    fn learned(encode: &Value, impute: &Value, column: &ArrayRef) -> Frame {
        learned_with_notes(encode, impute, column, None).unwrap().0
    }

    /// The columns of the matrix.
    fn columns(frame: &Frame, column: &ArrayRef) -> Vec<Vec<f64>> {
        frame.matrix(&rows(column)).unwrap().columns().into_iter().map(|column| column.to_vec()).collect()
    }

    fn only(frame: &Frame, column: &ArrayRef) -> Vec<f64> {
        let columns = columns(frame, column);
        assert_eq!(columns.len(), 1);
        columns.concat()
    }

    #[test]
    fn numbers_that_are_missing_are_replaced_by_what_was_learned() {
        let nothing = Some(f64::NAN);
        for (impute, known, fill) in [
            (json!("mean"), [Some(1.0), Some(2.0), Some(2.0), Some(10.0)], 3.75),
            (json!("median"), [Some(1.0), Some(2.0), Some(4.0), Some(10.0)], 3.0),
            (json!("median"), [Some(1.0), Some(2.0), Some(10.0), nothing], 2.0),
            (json!("most_frequent"), [Some(9.0), Some(2.0), Some(9.0), Some(1.0)], 9.0),
            // Of equally frequent ones the smallest.
            (json!("most_frequent"), [Some(9.0), Some(2.0), Some(9.0), Some(2.0)], 2.0),
            (json!(7.5), [Some(1.0), Some(2.0), Some(4.0), Some(10.0)], 7.5),
        ] {
            let learned_from = numbers(&[known[0], None, known[1], known[2], nothing, known[3]]);
            let frame = learned(&Value::Null, &impute, &learned_from);
            assert_eq!(frame.features[0].missing, Some(Missing::Number(fill)), "{impute}");
            let expected: Vec<f64> = [known[0], None, known[1], known[2], nothing, known[3]]
                .map(|value| value.filter(|value| !value.is_nan()).unwrap_or(fill))
                .to_vec();
            assert_eq!(only(&frame, &learned_from), expected, "{impute}");
            // What is asked later does not change it.
            assert_eq!(
                only(&frame, &numbers(&[None, Some(500.0), nothing])),
                [fill, 500.0, fill],
                "{impute}"
            );
        }
    }

    #[test]
    fn booleans_and_texts_that_are_missing_are_replaced_by_what_was_learned() {
        let booleans =
            |values: &[Option<bool>]| -> ArrayRef { Arc::new(BooleanArray::from(values.to_vec())) };
        let known = booleans(&[Some(true), None, Some(true), Some(false), Some(true)]);
        for (impute, fill) in [
            (json!(false), 0.0),
            (json!("most_frequent"), 1.0),
            (json!("mean"), 0.75),
            (json!("median"), 1.0),
        ] {
            let frame = learned(&Value::Null, &impute, &known);
            assert_eq!(only(&frame, &known), [1.0, fill, 1.0, 0.0, 1.0], "{impute}");
            assert_eq!(only(&frame, &booleans(&[None, Some(false)])), [fill, 0.0], "{impute}");
        }
        let some = |values: &[Option<&str>]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
        for (impute, fill) in [(json!("most_frequent"), "b"), (json!("unknown"), "unknown")] {
            let known = some(&[Some("c"), Some("b"), None, Some("b"), Some("a")]);
            let frame = learned(&json!("ordinal"), &impute, &known);
            assert_eq!(frame.features[0].missing, Some(Missing::Text(fill.to_owned())));
            let filled = known.as_string::<i32>().iter().map(|value| Some(value.unwrap_or(fill)));
            assert_eq!(only(&frame, &known), only(&frame, &some(&filled.collect::<Vec<_>>())));
            assert_eq!(only(&frame, &some(&[None])), only(&frame, &some(&[Some(fill)])));
        }
        let tie = learned(&json!("ordinal"), &json!("most_frequent"), &texts(&["b", "a", "b", "a", "c"]));
        assert_eq!(tie.features[0].missing, Some(Missing::Text("a".to_owned())));
    }

    #[test]
    fn each_value_has_a_column_and_what_is_new_goes_to_other() {
        let known = texts(&["queens", "bronx", "queens"]);
        let frame = learned(&json!("one_hot"), &Value::Null, &known);
        assert_eq!(frame.columns(), ["x=bronx", "x=queens", "x=(other)"]);
        assert_eq!(columns(&frame, &known), [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0; 3]]);
        let asked = texts(&["atlantis", "bronx", ""]);
        assert_eq!(columns(&frame, &asked), [[0.0, 1.0, 0.0], [0.0; 3], [1.0, 0.0, 1.0]]);
        // Numbers and booleans by their values.
        let frame = learned(&json!("one_hot"), &Value::Null, &numbers(&[Some(5.0), Some(0.5)]));
        assert_eq!(frame.columns(), ["x=0.5", "x=5.0", "x=(other)"]);
    }

    #[test]
    fn ordinal_is_the_place_in_the_order_of_the_values() {
        let known = texts(&["low", "high", "middle", "high"]);
        let frame = learned(&json!("ordinal"), &Value::Null, &known);
        assert_eq!(only(&frame, &known), [1.0, 0.0, 2.0, 0.0]);
        assert_eq!(only(&frame, &texts(&["middle", "none", "zoo"])), [2.0, -1.0, -1.0]);
    }

    /// By hand: the mean of all six rows is 3; `a` stands in three rows with a sum of 6, which ten rows of 3 draw to
    /// `(6 + 30) / 13`.
    #[test]
    fn a_target_encoding_is_the_mean_drawn_to_that_of_all_and_of_known_rows_that_of_the_others() {
        let known = texts(&["a", "b", "a", "b", "a", "c"]);
        let target = [1.0, 5.0, 2.0, 4.0, 3.0, 3.0];
        let frame = learned_with_notes(&json!("target"), &Value::Null, &known, Some(&target)).unwrap().0;
        let asked = only(&frame, &texts(&["a", "b", "c", "d"]));
        for (asked, expected) in asked.iter().zip([36.0 / 13.0, 39.0 / 12.0, 33.0 / 11.0, 3.0]) {
            assert!((asked - expected).abs() < 1e-12, "{asked} is not {expected}");
        }
        // A row that is learned from: whatever its own target is, its number stays, and that of another row does not.
        let names: Vec<&str> = (0..60).map(|row| ["a", "b", "c"][row % 3]).collect();
        let (known, target): (_, Vec<f64>) =
            (texts(&names), (0..60).map(|row| f64::from(row * 7 % 11)).collect());
        let trained = |target: &[f64]| {
            let frame = learned_with_notes(&json!("target"), &Value::Null, &known, Some(target)).unwrap().0;
            frame.training_matrix(&rows(&known), Some(target)).unwrap().column(0).to_vec()
        };
        let before = trained(&target);
        for row in 0..60 {
            let mut other = target.clone();
            other[row] += 1000.0;
            let after = trained(&other);
            assert_eq!(after[row], before[row], "{row}");
            let same = |at: &usize| names[*at] == names[row] && after[*at] != before[*at];
            assert!((0..60).filter(same).count() > 10, "{row}");
        }
    }

    #[test]
    fn columns_are_brought_to_the_size_that_was_learned() {
        let known = numbers(&[1.0, 2.0, 3.0, 6.0].map(Some));
        let scaled = |scale: Scale, known: &ArrayRef| {
            let mut frame = learned(&Value::Null, &Value::Null, known);
            frame.learn_scaling(scale, &rows(known)).unwrap();
            frame
        };
        let asked = numbers(&[3.0, 13.0].map(Some));
        // The mean is 3, and the variance (4 + 1 + 0 + 9) / 4.
        let deviation = 3.5f64.sqrt();
        let frame = scaled(Scale::Standard, &known);
        assert_eq!(only(&frame, &known), [-2.0, -1.0, 0.0, 3.0].map(|value| value / deviation));
        assert_eq!(only(&frame, &asked), [0.0, 10.0 / deviation]);
        let frame = scaled(Scale::MinMax, &known);
        assert_eq!(only(&frame, &known), [0.0, 0.2, 0.4, 1.0]);
        assert_eq!(only(&frame, &asked), [0.4, 2.4]);
        let frame = scaled(Scale::None, &known);
        assert_eq!((frame.scaling.as_ref(), only(&frame, &asked)), (None, vec![3.0, 13.0]));
        // A column in which nothing changes stays as it is, but for its place.
        for scale in [Scale::Standard, Scale::MinMax] {
            let frame = scaled(scale, &numbers(&[5.0; 3].map(Some)));
            assert_eq!(only(&frame, &numbers(&[5.0, 7.0].map(Some))), [0.0, 2.0], "{scale:?}");
        }
        // Each column of a feature apart.
        let known = texts(&["a", "b", "b", "b"]);
        let mut frame = learned(&json!("one_hot"), &Value::Null, &known);
        frame.learn_scaling(Scale::Standard, &rows(&known)).unwrap();
        let [a, b, other] = columns(&frame, &known).try_into().unwrap();
        assert_eq!((a[0], b[0], other), (0.75 / 0.1875f64.sqrt(), -0.75 / 0.1875f64.sqrt(), vec![0.0; 4]));
    }

    #[test]
    fn dates_become_their_parts() {
        let parts = json!(["year", "month", "day", "day_of_week", "day_of_year", "week", "hour", "days"]);
        // As Python has them: `date.isocalendar()`, `timetuple().tm_yday`, `weekday()`.
        let cases = [
            // A Sunday of the last week of the year before; the day before 1970; a leap day; the week 53.
            ("2023-01-01", 19_358, [2023, 1, 1, 6, 1, 52]),
            ("1969-12-31", -1, [1969, 12, 31, 2, 365, 1]),
            ("2024-02-29", 19_782, [2024, 2, 29, 3, 60, 9]),
            ("2021-01-03", 18_630, [2021, 1, 3, 6, 3, 53]),
            ("2020-12-31", 18_627, [2020, 12, 31, 3, 366, 53]),
        ];
        let days: ArrayRef = Arc::new(Date32Array::from(cases.map(|case| case.1).to_vec()));
        let hour = 18;
        let micros = |case: &(&str, i32, [i32; 6])| (i64::from(case.1) * 24 + hour) * 3_600_000_000;
        let moments = TimestampMicrosecondArray::from(cases.iter().map(micros).collect::<Vec<_>>());
        for (column, hour) in [
            (days, 0.0),
            (Arc::new(moments.clone()) as ArrayRef, 18.0),
            (Arc::new(moments.with_timezone("UTC")) as ArrayRef, 18.0),
        ] {
            let frame = learned(&parts, &Value::Null, &column);
            let names = ["year", "month", "day", "day_of_week", "day_of_year", "week", "hour", "days"];
            assert_eq!(frame.columns(), names.map(|part| format!("x.{part}")));
            for (row, (date, day, expected)) in cases.iter().enumerate() {
                let asked = columns(&frame, &column.slice(row, 1)).concat();
                let expected = expected.map(f64::from);
                assert_eq!(asked[..6], expected, "{date}");
                assert_eq!(asked[6..], [hour, f64::from(*day) + hour / 24.0], "{date}");
                // Alike when they are learned from, and in another column of the table.
                let all = columns(&frame, &column);
                assert_eq!(all.iter().map(|part| part[row]).collect::<Vec<_>>(), asked, "{date}");
            }
        }
    }

    #[test]
    fn of_a_time_zone_it_is_the_parts_of_its_clock() {
        // 2024-03-01 00:30 in a zone that is two hours ahead is 22:30 of 29 February elsewhere.
        let moment = TimestampMicrosecondArray::from(vec![(19_782 * 48 + 45) * 1_800_000_000]);
        let parts = json!(["month", "day", "day_of_week", "hour"]);
        let of = |column: ArrayRef| columns(&learned(&parts, &Value::Null, &column), &column).concat();
        assert_eq!(of(Arc::new(moment.clone())), [2.0, 29.0, 3.0, 22.0]);
        assert_eq!(of(Arc::new(moment.with_timezone("+02:00"))), [3.0, 1.0, 4.0, 0.0]);
    }

    #[test]
    fn the_most_frequent_of_many_values_have_a_column() {
        // 150 values: those from 75 on stand twice.
        let names: Vec<String> = (0..150).map(|value| format!("v{value:03}")).collect();
        let twice = names[75..].iter().chain(&names).map(String::as_str).collect::<Vec<_>>();
        let (frame, notes) =
            learned_with_notes(&json!("one_hot"), &Value::Null, &texts(&twice), None).unwrap();
        assert_eq!(
            notes,
            ["`x` has 150 different values: the 100 most frequent have a column, the rest is `other`"]
        );
        // Of equally frequent ones the first by name.
        let kept = (0..25).chain(75..150).map(|value| format!("x=v{value:03}"));
        assert_eq!(frame.columns(), kept.chain(["x=(other)".to_owned()]).collect::<Vec<_>>());
        assert_eq!(frame.width(), 101);
        let asked = columns(&frame, &texts(&["v024", "v025", "v149", "v150"]));
        let place = |row: usize| asked.iter().position(|column| column[row] == 1.0);
        assert_eq!([place(0), place(1), place(2), place(3)], [Some(24), Some(100), Some(99), Some(100)]);
        let (_, notes) =
            learned_with_notes(&json!("one_hot"), &Value::Null, &texts(&twice[..100]), None).unwrap();
        assert_eq!(notes.len(), 0);
    }

    #[test]
    fn more_values_than_can_be_kept_are_refused_by_name() {
        let many: ArrayRef =
            Arc::new(StringArray::from_iter_values((0..=LEVELS_MAX).map(|value| value.to_string())));
        for encode in ["ordinal", "target", "one_hot"] {
            let target = vec![1.0; many.len()];
            let error = learned_with_notes(&json!(encode), &Value::Null, &many, Some(&target)).unwrap_err();
            assert_eq!(error.code(), codes::PREDICTOR_DATA);
            assert_eq!(error.message(), "the feature `x` has more than 1000000 different values");
            assert!(error.hint_text().unwrap().contains("make groups"), "{error}");
        }
        let most = many.slice(0, LEVELS_MAX);
        assert_eq!(learned(&json!("ordinal"), &Value::Null, &most).width(), 1);
    }

    #[test]
    fn the_bytes_of_a_matrix_are_known_before_it_is_made() {
        let known = texts(&["a", "b", "c"]);
        let frame = learned(&json!("one_hot"), &Value::Null, &known);
        let matrix = frame.matrix(&rows(&known)).unwrap();
        assert_eq!(frame.bytes(3), (matrix.len() * size_of::<f64>()) as u64);
        assert_eq!(frame.bytes(usize::MAX), u64::MAX);
    }
}
