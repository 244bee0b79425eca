//! What is learned of each column beside the algorithm: what stands for null, how values become numbers, their size.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, Float64Array, StringArray},
    compute::cast,
};
use lagar_flow::{Code, Error, Result, codes};

use super::{
    Asked, Encoding, Feature, Kind, Missing, Scaling, TargetNumbers, by_number, numbers_of, rounded,
    texts_of, without_dictionary,
};
use crate::spec::{Encode, Encoder, Impute, Imputer, Scale, asked_kind};

/// Columns that one table column may become; the rarest values go to `other`.
const CATEGORIES_MAX: usize = 100;
/// Distinct values that an ordinal or target encoding may have.
pub(super) const LEVELS_MAX: usize = 1_000_000;
/// Rows that the mean of a target encoding is drawn towards the mean of all by (Micci-Barreca 2001).
const TARGET_PRIOR_ROWS: f64 = 10.0;

pub(super) fn learn_feature(
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
pub(super) fn target_means<'a>(
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

/// What brings `values` to the size that is asked.
pub(super) fn scaling(scale: Scale, values: impl Iterator<Item = f64> + Clone) -> Scaling {
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
