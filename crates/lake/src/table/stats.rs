//! The statistics of a data file as Delta's log has them, taken from the file's own footer.

use arrow::datatypes::{DataType, Field, Fields, Schema};
use chrono::{DateTime, Days, NaiveDate};
use parquet::file::{metadata::ParquetMetaData, statistics::Statistics};

/// Delta's default: statistics of the first columns only.
const COLUMNS_MAX: usize = 32;
/// Delta's default: bounds of texts are cut.
const TEXT_CHARS_MAX: usize = 32;

/// The JSON of `stats` for a file with `schema`. `nan` tells by column whether a NaN is in it: then
/// there are no bounds, for readers do not agree where NaN sorts.
///
/// Columns inside lists and maps have no statistics, texts and binaries as everywhere in Delta:
/// texts are cut at 32 characters with the upper bound above all that begin so, binaries and
/// booleans have only null counts, instants are in milliseconds, rounded outwards.
pub(crate) fn stats_json(metadata: &ParquetMetaData, schema: &Schema, nan: &[bool]) -> String {
    let mut found = Objects::default();
    let mut leaf = 0;
    for (index, field) in schema.fields().iter().enumerate() {
        let wanted = index < COLUMNS_MAX;
        let bounds = !nan.get(index).is_some_and(|nan| *nan);
        found.column(metadata, field, &mut leaf, wanted, bounds);
    }
    format!(
        r#"{{"numRecords":{},"minValues":{{{}}},"maxValues":{{{}}},"nullCount":{{{}}}}}"#,
        metadata.file_metadata().num_rows(),
        found.min.join(","),
        found.max.join(","),
        found.nulls.join(",")
    )
}

/// Members of three JSON objects.
#[derive(Default)]
struct Objects {
    min: Vec<String>,
    max: Vec<String>,
    nulls: Vec<String>,
}

impl Objects {
    /// Adds `field`, whose first leaf is number `leaf` of the file, and moves `leaf` behind it.
    fn column(
        &mut self,
        metadata: &ParquetMetaData,
        field: &Field,
        leaf: &mut usize,
        wanted: bool,
        bounds: bool,
    ) {
        match field.data_type() {
            DataType::Struct(fields) => {
                let mut inner = Objects::default();
                for field in fields {
                    // Whether a NaN is inside is not known.
                    inner.column(metadata, field, leaf, wanted, bounds && !field.data_type().is_floating());
                }
                let name = json_text(field.name());
                for (outer, members) in
                    [(&mut self.min, inner.min), (&mut self.max, inner.max), (&mut self.nulls, inner.nulls)]
                {
                    if !members.is_empty() {
                        outer.push(format!("{name}:{{{}}}", members.join(",")));
                    }
                }
            }
            DataType::List(_) | DataType::Map(..) => *leaf += leaves(field.data_type()),
            _ => {
                if wanted {
                    self.leaf(metadata, field, *leaf, bounds);
                }
                *leaf += 1;
            }
        }
    }

    fn leaf(&mut self, metadata: &ParquetMetaData, field: &Field, leaf: usize, bounds: bool) {
        let name = json_text(field.name());
        let mut nulls = Some(0);
        let mut range: Option<Option<(Bound, Bound)>> = Some(None);
        for group in metadata.row_groups() {
            let statistics = group.columns().get(leaf).and_then(|c| c.statistics());
            let group_nulls = statistics.and_then(Statistics::null_count_opt);
            nulls = nulls.zip(group_nulls).map(|(a, b)| a + b);
            if group_nulls == u64::try_from(group.num_rows()).ok() {
                continue;
            }
            range = match (range, statistics.and_then(|s| bounds_of(s, field.data_type()))) {
                (Some(None), Some(bounds)) => Some(Some(bounds)),
                (Some(Some((a, b))), Some((c, d))) => {
                    Some(Some((if c < a { c } else { a }, if d > b { d } else { b })))
                }
                _ => None,
            };
        }
        if let Some(nulls) = nulls {
            self.nulls.push(format!("{name}:{nulls}"));
        }
        if let (true, Some(Some((min, max)))) = (bounds, range) {
            self.min.extend(shown(&min, field.data_type(), false).map(|v| format!("{name}:{v}")));
            self.max.extend(shown(&max, field.data_type(), true).map(|v| format!("{name}:{v}")));
        }
    }
}

pub(crate) fn leaves(data_type: &DataType) -> usize {
    let of = |fields: &Fields| fields.iter().map(|f| leaves(f.data_type())).sum();
    match data_type {
        DataType::Struct(fields) => of(fields),
        DataType::List(item) | DataType::Map(item, _) => leaves(item.data_type()),
        _ => 1,
    }
}

#[derive(Debug, Clone, PartialEq, PartialOrd)]
enum Bound {
    Whole(i128),
    Float(f64),
    Text(String),
}

/// `None` if a bound is not known or has no order that all readers share.
fn bounds_of(statistics: &Statistics, data_type: &DataType) -> Option<(Bound, Bound)> {
    if matches!(data_type, DataType::Boolean | DataType::Binary) {
        return None;
    }
    match statistics {
        Statistics::Int32(s) => {
            Some((Bound::Whole(i128::from(*s.min_opt()?)), Bound::Whole(i128::from(*s.max_opt()?))))
        }
        Statistics::Int64(s) => {
            Some((Bound::Whole(i128::from(*s.min_opt()?)), Bound::Whole(i128::from(*s.max_opt()?))))
        }
        Statistics::Float(s) => {
            Some((Bound::Float(f64::from(*s.min_opt()?)), Bound::Float(f64::from(*s.max_opt()?))))
        }
        Statistics::Double(s) => Some((Bound::Float(*s.min_opt()?), Bound::Float(*s.max_opt()?))),
        Statistics::ByteArray(s) => {
            let text = |bytes: &[u8]| Some(Bound::Text(std::str::from_utf8(bytes).ok()?.to_owned()));
            Some((text(s.min_bytes_opt()?)?, text(s.max_bytes_opt()?)?))
        }
        Statistics::FixedLenByteArray(s) => {
            let whole = |bytes: &[u8]| Some(Bound::Whole(big_endian(bytes)?));
            Some((whole(s.min_bytes_opt()?)?, whole(s.max_bytes_opt()?)?))
        }
        _ => None,
    }
}

/// The unscaled value of a decimal.
fn big_endian(bytes: &[u8]) -> Option<i128> {
    if bytes.len() > 16 {
        return None;
    }
    let negative = bytes.first().is_some_and(|b| *b >= 0x80);
    let mut whole = [if negative { 0xff } else { 0 }; 16];
    whole.get_mut(16 - bytes.len()..)?.copy_from_slice(bytes);
    Some(i128::from_be_bytes(whole))
}

/// A bound as JSON; `up` for an upper one.
fn shown(bound: &Bound, data_type: &DataType, up: bool) -> Option<String> {
    match (bound, data_type) {
        (Bound::Whole(days), DataType::Date32) => {
            let epoch = NaiveDate::default();
            let days_away = Days::new(u64::try_from(days.abs()).ok()?);
            let date = if *days < 0 {
                epoch.checked_sub_days(days_away)?
            } else {
                epoch.checked_add_days(days_away)?
            };
            Some(json_text(&date.format("%Y-%m-%d").to_string()))
        }
        (Bound::Whole(micros), DataType::Timestamp(..)) => {
            let millis = if up { -(-micros).div_euclid(1000) } else { micros.div_euclid(1000) };
            let at = DateTime::from_timestamp_millis(i64::try_from(millis).ok()?)?;
            Some(json_text(&at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()))
        }
        (Bound::Whole(unscaled), DataType::Decimal128(_, scale)) => {
            Some(decimal(*unscaled, usize::try_from(*scale).ok()?))
        }
        (Bound::Whole(whole), _) => Some(whole.to_string()),
        (Bound::Float(float), DataType::Float32) => float.is_finite().then(|| format!("{:?}", *float as f32)),
        (Bound::Float(float), _) => float.is_finite().then(|| format!("{float:?}")),
        (Bound::Text(text), _) => Some(json_text(&cut(text, up)?)),
    }
}

fn decimal(unscaled: i128, scale: usize) -> String {
    let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// At most [`TEXT_CHARS_MAX`] characters, and for an upper bound not below anything that begins so.
fn cut(text: &str, up: bool) -> Option<String> {
    let Some((end, _)) = text.char_indices().nth(TEXT_CHARS_MAX) else { return Some(text.to_owned()) };
    let mut chars: Vec<char> = text[..end].chars().collect();
    if !up {
        return Some(chars.into_iter().collect());
    }
    while let Some(last) = chars.pop() {
        // Skips the gap of the surrogates; the last character of all has no successor.
        let next = (u32::from(last) + 1..=u32::from(last).saturating_add(0x801)).find_map(char::from_u32);
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn bounds_never_exclude_a_value() {
        let long = "ä".repeat(40);
        assert_eq!(cut(&long, false).unwrap(), "ä".repeat(32));
        let upper = cut(&long, true).unwrap();
        assert_eq!(upper.chars().count(), 32);
        assert!(upper > long);
        assert_eq!(cut("short", true).unwrap(), "short");
        assert_eq!(cut(&"\u{10ffff}".repeat(40), true), None);
        assert!(cut(&"\u{d7ff}".repeat(40), true).unwrap() > "\u{d7ff}".repeat(40));

        let utc = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()));
        let at = |micros, up| shown(&Bound::Whole(micros), &utc, up).unwrap();
        assert_eq!((at(1_001, false), at(1_001, true)), (at(1_000, false), at(2_000, true)));
        assert_eq!((at(-1, false), at(-1, true)), (at(-1_000, false), at(0, true)));
        assert_eq!(at(0, true), "\"1970-01-01T00:00:00.000Z\"");
    }

    #[test]
    fn decimals_are_exact() {
        let shown = |unscaled, scale| shown(&Bound::Whole(unscaled), &DataType::Decimal128(38, scale), true);
        assert_eq!(shown(-5, 2).unwrap(), "-0.05");
        assert_eq!(shown(12_345_678_901_234_567_890_123, 10).unwrap(), "1234567890123.4567890123");
        assert_eq!(shown(7, 0).unwrap(), "7");
        assert_eq!(big_endian(&[0xff, 0xfb]), Some(-5));
        assert_eq!(big_endian(&[0x01, 0x00]), Some(256));
    }
}
