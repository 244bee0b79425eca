//! Values of a column, as far as they are kept.

use std::{
    hash::{BuildHasher, BuildHasherDefault, Hash},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, Int32Array, Int64Array},
    compute::cast,
    datatypes::DataType,
    util::display::{ArrayFormatter, FormatOptions},
};
use serde_json::Value as Json;

/// Of a longer text only its beginning is kept: it is for the eye.
pub(super) const TEXT_CHARS_MAX: usize = 200;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Whole numbers, truth values, and days, instants, times and decimals by what they count.
    Whole(i128),
    Float(f64),
    Text(Box<str>),
}

impl Value {
    /// A text, cut if it is long.
    pub(super) fn text(text: &str) -> Self {
        Self::Text(head(text).into())
    }

    /// What it takes beside its own size.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Value::Text(text) => text.len(),
            _ => 0,
        }
    }

    /// As a value of JSON, where a column has the type `data_type`. Numbers stay numbers if JSON has them;
    /// all else is text as SQL shows it.
    pub(super) fn to_json(&self, data_type: &DataType) -> Json {
        match (self, data_type) {
            (Value::Text(text), _) => Json::from(text.as_ref()),
            (Value::Float(number), _) => float(*number),
            (Value::Whole(whole), DataType::Boolean) => Json::from(*whole != 0),
            (
                Value::Whole(whole),
                DataType::Decimal128(_, scale)
                | DataType::Decimal64(_, scale)
                | DataType::Decimal32(_, scale),
            ) => Json::from(decimal(*whole, *scale)),
            (Value::Whole(whole), data_type) if data_type.is_integer() => {
                let number =
                    i64::try_from(*whole).map(Json::from).or_else(|_| u64::try_from(*whole).map(Json::from));
                number.unwrap_or_else(|_| Json::from(whole.to_string()))
            }
            (Value::Whole(whole), data_type) => {
                Json::from(temporal(*whole, data_type).unwrap_or_else(|| whole.to_string()))
            }
        }
    }
}

/// The beginning of a text, as much as is kept.
pub(super) fn head(text: &str) -> &str {
    if text.len() <= TEXT_CHARS_MAX {
        return text;
    }
    text.char_indices().nth(TEXT_CHARS_MAX).map_or(text, |(end, _)| &text[..end])
}

fn float(number: f64) -> Json {
    serde_json::Number::from_f64(number).map_or_else(
        || {
            Json::from(if number.is_nan() {
                "NaN"
            } else if number > 0.0 {
                "inf"
            } else {
                "-inf"
            })
        },
        Json::Number,
    )
}

fn decimal(unscaled: i128, scale: i8) -> String {
    let Ok(scale) = usize::try_from(scale) else { return format!("{unscaled}e{}", -i32::from(scale)) };
    let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// A day, an instant or a time as SQL shows it; `None` for one beyond the calendar.
fn temporal(count: i128, data_type: &DataType) -> Option<String> {
    let one: ArrayRef = match data_type {
        DataType::Date32 | DataType::Time32(_) => {
            Arc::new(Int32Array::from(vec![i32::try_from(count).ok()?]))
        }
        _ => Arc::new(Int64Array::from(vec![i64::try_from(count).ok()?])),
    };
    let one = cast(&one, data_type).ok()?;
    let options = FormatOptions::default();
    let shown = ArrayFormatter::try_new(one.as_ref(), &options).ok()?.value(0).try_to_string().ok()?;
    (!one.is_null(0)).then_some(shown)
}

/// The same for the same value in every process.
pub(super) fn hash_of<T: Hash + ?Sized>(value: &T) -> u64 {
    BuildHasherDefault::<std::hash::DefaultHasher>::default().hash_one(value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::*;

    #[test]
    fn values_are_shown_as_sql_shows_them() {
        let shown = |whole: i128, data_type: DataType| Value::Whole(whole).to_json(&data_type).to_string();
        assert_eq!(shown(-5, DataType::Int64), "-5");
        assert_eq!(shown(i128::from(u64::MAX), DataType::UInt64), u64::MAX.to_string());
        assert_eq!(shown(1, DataType::Boolean), "true");
        assert_eq!(shown(-5, DataType::Decimal128(10, 2)), "\"-0.05\"");
        assert_eq!(shown(15212, DataType::Date32), "\"2011-08-26\"");
        assert_eq!(shown(0, DataType::Timestamp(TimeUnit::Microsecond, None)), "\"1970-01-01T00:00:00\"");
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        assert_eq!(shown(1_500_000, utc.clone()), "\"1970-01-01T00:00:01.500Z\"");
        assert_eq!(shown(3_661, DataType::Time32(TimeUnit::Second)), "\"01:01:01\"");
        // Beyond the calendar of the library: the number itself.
        assert_eq!(shown(i128::from(i64::MAX), utc), format!("\"{}\"", i64::MAX));
        assert_eq!(Value::Float(f64::NEG_INFINITY).to_json(&DataType::Float64), "-inf");
        assert_eq!(Value::Float(0.5).to_json(&DataType::Float64), 0.5);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = "ä".repeat(1000);
        assert_eq!(head(&text).chars().count(), TEXT_CHARS_MAX);
        assert_eq!(head("short"), "short");
    }
}
