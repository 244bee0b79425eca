//! One value of a row between a driver and Arrow, and what identifies a row.

use std::borrow::Cow;

use chrono::{DateTime, Datelike, NaiveDate};
use sha2::{Digest, Sha256};

/// Days from the first day of year 1 to 1970-01-01.
const EPOCH_DAYS_FROM_CE: i32 = 719_163;
pub(super) const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Of a text or binary value, this much is shown in a rejected row.
const SHOWN_BYTES_MAX: usize = 16 * 1024;

/// A value as the database has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Decimal {
        unscaled: i128,
        scale: i8,
    },
    Text(Cow<'a, str>),
    Bytes(&'a [u8]),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01 of what a clock on the wall shows.
    Timestamp(i64),
    /// Microseconds since 1970-01-01 UTC.
    TimestampTz(i64),
    /// MySQL's `0000-00-00`.
    ZeroDate,
    /// No Arrow type has a place for it: `infinity`, text that is not UTF-8.
    Unfit {
        reason: &'static str,
        text: Cow<'a, str>,
    },
}

impl Value<'_> {
    /// The value as text; of a binary value its hex digits.
    pub(super) fn text(&self) -> Cow<'_, str> {
        match self {
            Value::Null => "".into(),
            Value::Bool(b) => if *b { "true" } else { "false" }.into(),
            Value::Int(i) => i.to_string().into(),
            Value::Float(f) => format!("{f:?}").into(),
            Value::Decimal { unscaled, scale } => decimal_text(*unscaled, *scale).into(),
            Value::Text(text) => text.as_ref().into(),
            Value::Bytes(bytes) => hex(&bytes[..bytes.len().min(SHOWN_BYTES_MAX)]).into(),
            Value::Date(days) => date_text(*days).into(),
            Value::Timestamp(micros) => timestamp_text(*micros).into(),
            Value::TimestampTz(micros) => format!("{}Z", timestamp_text(*micros)).into(),
            Value::ZeroDate => "0000-00-00".into(),
            Value::Unfit { text, .. } => text.as_ref().into(),
        }
    }

    fn json(&self) -> serde_json::Value {
        match self {
            Value::Null => serde_json::Value::Null,
            Value::Bool(b) => (*b).into(),
            Value::Int(i) => (*i).into(),
            Value::Float(f) if f.is_finite() => (*f).into(),
            other => {
                let text = other.text();
                let mut end = text.len().min(SHOWN_BYTES_MAX);
                while !text.is_char_boundary(end) {
                    end -= 1;
                }
                text[..end].into()
            }
        }
    }

    /// What the value takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Value::Text(text) => text.len() + 8,
            Value::Bytes(bytes) => bytes.len() + 8,
            _ => 16,
        }
    }

    fn feed(&self, hash: &mut Sha256) {
        let mut add = |tag: u8, bytes: &[u8]| {
            hash.update([tag]);
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        match self {
            Value::Null => add(0, &[]),
            Value::Bool(b) => add(1, &[u8::from(*b)]),
            Value::Int(i) => add(2, &i.to_le_bytes()),
            Value::Float(f) => add(3, &f.to_bits().to_le_bytes()),
            Value::Decimal { .. } => add(4, self.text().as_bytes()),
            Value::Text(text) => add(5, text.as_bytes()),
            Value::Bytes(bytes) => add(6, bytes),
            Value::Date(days) => add(7, &days.to_le_bytes()),
            Value::Timestamp(micros) => add(8, &micros.to_le_bytes()),
            Value::TimestampTz(micros) => add(9, &micros.to_le_bytes()),
            Value::ZeroDate => add(10, &[]),
            Value::Unfit { text, .. } => add(11, text.as_bytes()),
        }
    }
}

/// A row's identity: equal rows have equal hashes, in any file and any run.
pub(super) fn row_hash<'v>(values: impl Iterator<Item = &'v Value<'v>>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for value in values {
        value.feed(&mut hash);
    }
    hash.finalize().into()
}

/// A row as a JSON object, to be shown.
pub(super) fn row_json<'v>(names: impl Iterator<Item = &'v str>, values: &[Value<'_>]) -> String {
    let object: serde_json::Map<String, serde_json::Value> =
        names.zip(values).map(|(name, value)| (name.to_owned(), value.json())).collect();
    serde_json::Value::Object(object).to_string()
}

/// The content of a table, whatever the order of its rows: the sum of the rows' hashes, and their number.
#[derive(Default)]
pub(super) struct ContentHash {
    sum: [u64; 4],
    pub(super) rows: u64,
}

impl ContentHash {
    pub(super) fn add(&mut self, row: &[u8; 32]) {
        for (lane, bytes) in self.sum.iter_mut().zip(row.chunks_exact(8)) {
            let mut word = [0; 8];
            word.copy_from_slice(bytes);
            *lane = lane.wrapping_add(u64::from_le_bytes(word));
        }
        self.rows += 1;
    }

    /// Hex; `columns` (names and types) are part of the content.
    pub(super) fn finish(&self, columns: &str) -> String {
        let mut hash = Sha256::new();
        hash.update((columns.len() as u64).to_le_bytes());
        hash.update(columns);
        hash.update(self.rows.to_le_bytes());
        for lane in self.sum {
            hash.update(lane.to_le_bytes());
        }
        hex(&hash.finalize())
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn decimal_text(unscaled: i128, scale: i8) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = unscaled.unsigned_abs().to_string();
    match usize::try_from(scale) {
        Ok(scale) if scale > 0 => {
            let digits = format!("{digits:0>width$}", width = scale + 1);
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            format!("{sign}{whole}.{fraction}")
        }
        _ => format!("{sign}{digits}"),
    }
}

/// ISO 8601.
pub(super) fn date_text(days: i32) -> String {
    date_of_days(i64::from(days)).map_or_else(|| far_date(i64::from(days)), |date| date.to_string())
}

/// ISO 8601 with `T`, without a zone.
pub(super) fn timestamp_text(micros: i64) -> String {
    if let Some(time) = DateTime::from_timestamp_micros(micros) {
        return time.naive_utc().format("%Y-%m-%dT%H:%M:%S%.f").to_string();
    }
    let of_day = DateTime::from_timestamp_micros(micros.rem_euclid(MICROS_PER_DAY)).unwrap_or_default();
    format!("{}{}", far_date(micros.div_euclid(MICROS_PER_DAY)), of_day.format("T%H:%M:%S%.f"))
}

/// A date that chrono's calendar does not reach. Every 400 years the calendar repeats itself.
fn far_date(days: i64) -> String {
    const ERA_DAYS: i64 = 146_097;
    let near = date_of_days(days.rem_euclid(ERA_DAYS)).unwrap_or_default();
    let year = i64::from(near.year()) + days.div_euclid(ERA_DAYS) * 400;
    format!("{year:+}-{}", near.format("%m-%d"))
}

pub(super) fn date_of_days(days: i64) -> Option<NaiveDate> {
    NaiveDate::from_num_days_from_ce_opt(i32::try_from(days).ok()?.checked_add(EPOCH_DAYS_FROM_CE)?)
}

pub(super) fn days_of_date(date: NaiveDate) -> i32 {
    date.num_days_from_ce() - EPOCH_DAYS_FROM_CE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_prints_all_its_digits() {
        for (unscaled, scale, text) in [
            (0, 2, "0.00"),
            (5, 2, "0.05"),
            (-5, 2, "-0.05"),
            (12345, 2, "123.45"),
            (7, 0, "7"),
            (-120, 1, "-12.0"),
        ] {
            assert_eq!(decimal_text(unscaled, scale), text);
        }
    }

    #[test]
    fn content_does_not_depend_on_the_order_but_on_every_row() {
        let row = |i: i64| row_hash([Value::Int(i), Value::Null].iter());
        let content = |rows: &[i64]| {
            let mut content = ContentHash::default();
            rows.iter().for_each(|i| content.add(&row(*i)));
            content.finish("a,b")
        };
        assert_eq!(content(&[1, 2, 3]), content(&[3, 1, 2]));
        assert_ne!(content(&[1, 2, 3]), content(&[1, 2]));
        assert_ne!(content(&[1, 1]), content(&[2, 2]));
        assert_ne!(content(&[]), ContentHash::default().finish("a"));
    }

    #[test]
    fn neighbouring_values_do_not_run_into_each_other() {
        let hash = |values: &[Value<'_>]| row_hash(values.iter());
        let text = |t: &'static str| Value::Text(t.into());
        assert_ne!(hash(&[text("ab"), text("c")]), hash(&[text("a"), text("bc")]));
        assert_ne!(hash(&[text("")]), hash(&[Value::Null]));
        assert_ne!(hash(&[Value::Int(0)]), hash(&[Value::Timestamp(0)]));
    }

    #[test]
    fn times_are_shown_as_iso_8601() {
        assert_eq!(timestamp_text(1_704_164_645_123_456), "2024-01-02T03:04:05.123456");
        assert_eq!(timestamp_text(-1_000_000), "1969-12-31T23:59:59");
        assert_eq!(date_text(19_724), "2024-01-02");
        assert_eq!(date_text(2_145_042_905), "+5874897-12-31");
        assert_eq!(far_date(19_724), "+2024-01-02");
        assert_eq!(timestamp_text(9_089_380_483_199_000_001), "+290000-12-31T23:59:59.000001");
    }
}
