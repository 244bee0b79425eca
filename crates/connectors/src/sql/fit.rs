//! From a value of the database to a value of a column's type, without losing anything but what a
//! double loses; what does not fit is a reason to reject the row.

use arrow::datatypes::DataType;
use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

use super::value::{MICROS_PER_DAY, Value, days_of_date};

/// Whole numbers up to here are exact in a double.
const DOUBLE_EXACT_MAX: u64 = 1 << 53;

/// `value` as `target` holds it, or why it does not fit.
pub(super) fn fit<'v>(value: &'v Value<'_>, target: &DataType) -> Result<Value<'v>, String> {
    if let Value::Unfit { reason, text } = value {
        return if *target == DataType::Utf8 && *reason != NOT_UTF8 {
            Ok(Value::Text(text.as_ref().into()))
        } else {
            Err((*reason).to_owned())
        };
    }
    match value {
        Value::ZeroDate if *target == DataType::Utf8 => return Ok(Value::Text(value.text())),
        Value::Null | Value::ZeroDate => return Ok(Value::Null),
        _ => {}
    }
    match target {
        DataType::Boolean => bool_of(value).map(Value::Bool).ok_or_else(|| "not a boolean".to_owned()),
        DataType::Int64 => {
            int_of(value).map(Value::Int).ok_or_else(|| "not an integer of 64 bits".to_owned())
        }
        DataType::Float64 => float_of(value).map(Value::Float).ok_or_else(|| "not a double".to_owned()),
        DataType::Decimal128(precision, scale) => decimal_of(value, *precision, *scale)
            .map(|unscaled| Value::Decimal { unscaled, scale: *scale })
            .ok_or_else(|| format!("not a decimal({precision},{scale})")),
        DataType::Utf8 => text_of(value).ok_or_else(|| "not text".to_owned()),
        DataType::Binary => match value {
            Value::Bytes(bytes) => Ok(Value::Bytes(bytes)),
            Value::Text(text) => Ok(Value::Bytes(text.as_bytes())),
            _ => Err("not binary".to_owned()),
        },
        DataType::Date32 => date_of(value).map(Value::Date).ok_or_else(|| "not a date".to_owned()),
        DataType::Timestamp(_, None) => {
            wall_of(value).map(Value::Timestamp).ok_or_else(|| "not a timestamp without a zone".to_owned())
        }
        DataType::Timestamp(_, Some(_)) => {
            instant_of(value).map(Value::TimestampTz).ok_or_else(|| "not a timestamp".to_owned())
        }
        other => Err(format!("no value of a database fits {other}")),
    }
}

/// The reason of text that is not UTF-8; there is no text to fall back to.
pub(super) const NOT_UTF8: &str = "not UTF-8";

fn bool_of(value: &Value<'_>) -> Option<bool> {
    match value {
        Value::Bool(b) => Some(*b),
        Value::Int(0) => Some(false),
        Value::Int(1) => Some(true),
        Value::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "t" | "1" => Some(true),
            "false" | "f" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn int_of(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Int(i) => Some(*i),
        Value::Bool(b) => Some(i64::from(*b)),
        Value::Float(f) if f.fract() == 0.0 && f.abs() <= DOUBLE_EXACT_MAX as f64 => Some(*f as i64),
        Value::Decimal { unscaled, scale } => i64::try_from(rescale(*unscaled, *scale, 0)?).ok(),
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn float_of(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Float(f) => Some(*f),
        Value::Int(i) if i.unsigned_abs() <= DOUBLE_EXACT_MAX => Some(*i as f64),
        Value::Decimal { .. } => value.text().parse().ok(),
        Value::Text(text) => {
            let number: f64 = text.trim().parse().ok()?;
            // Otherwise `1e999` and a person called `Inf` would be numbers.
            (number.is_finite() || matches!(text.as_ref(), "NaN" | "Infinity" | "-Infinity"))
                .then_some(number)
        }
        _ => None,
    }
}

fn decimal_of(value: &Value<'_>, precision: u8, scale: i8) -> Option<i128> {
    let unscaled = match value {
        Value::Int(i) => rescale(i128::from(*i), 0, scale)?,
        Value::Decimal { unscaled, scale: from } => rescale(*unscaled, *from, scale)?,
        // A double stands for the decimal of its first 15 digits, which are all that it keeps of any decimal.
        Value::Float(f) => parse_decimal(&format!("{f:.14e}"), scale)?,
        Value::Text(text) => parse_decimal(text.trim(), scale)?,
        _ => return None,
    };
    (unscaled.unsigned_abs() < 10_u128.checked_pow(u32::from(precision))?).then_some(unscaled)
}

fn rescale(unscaled: i128, from: i8, to: i8) -> Option<i128> {
    if to >= from {
        unscaled.checked_mul(10_i128.checked_pow(u32::try_from(to - from).ok()?)?)
    } else {
        let divisor = 10_i128.checked_pow(u32::try_from(from - to).ok()?)?;
        (unscaled % divisor == 0).then_some(unscaled / divisor)
    }
}

/// `-12.50`, `1e3` → the number times ten to the `scale`; `None` if a digit would be lost.
pub(super) fn parse_decimal(text: &str, scale: i8) -> Option<i128> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.as_bytes().first()? {
        b'-' => (true, &mantissa[1..]),
        b'+' => (false, &mantissa[1..]),
        _ => (false, mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut unscaled: i128 = 0;
    for byte in whole.bytes().chain(fraction.bytes()) {
        let digit = byte.is_ascii_digit().then(|| i128::from(byte - b'0'))?;
        unscaled = unscaled.checked_mul(10)?.checked_add(digit)?;
    }
    if unscaled == 0 {
        return Some(0);
    }
    let shift = i32::from(scale).checked_add(exponent)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let factor = 10_i128.checked_pow(shift.unsigned_abs())?;
    let scaled = if shift >= 0 {
        unscaled.checked_mul(factor)?
    } else {
        (unscaled % factor == 0).then_some(unscaled / factor)?
    };
    Some(if negative { -scaled } else { scaled })
}

fn text_of<'v>(value: &'v Value<'_>) -> Option<Value<'v>> {
    match value {
        Value::Text(text) => Some(Value::Text(text.as_ref().into())),
        Value::Bytes(bytes) => std::str::from_utf8(bytes).ok().map(|text| Value::Text(text.into())),
        other => Some(Value::Text(other.text())),
    }
}

fn date_of(value: &Value<'_>) -> Option<i32> {
    match value {
        Value::Date(days) => Some(*days),
        Value::Timestamp(micros) | Value::TimestampTz(micros) if micros % MICROS_PER_DAY == 0 => {
            i32::try_from(micros / MICROS_PER_DAY).ok()
        }
        Value::Text(text) => {
            let moment = parse_moment(text.trim())?;
            (moment.time == NaiveTime::MIN && moment.offset_minutes.is_none())
                .then(|| days_of_date(moment.date))
        }
        _ => None,
    }
}

fn wall_of(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Timestamp(micros) | Value::TimestampTz(micros) => Some(*micros),
        Value::Date(days) => Some(i64::from(*days) * MICROS_PER_DAY),
        Value::Text(text) => {
            let moment = parse_moment(text.trim())?;
            moment.offset_minutes.is_none().then(|| moment.micros())?
        }
        _ => None,
    }
}

fn instant_of(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Timestamp(micros) | Value::TimestampTz(micros) => Some(*micros),
        Value::Date(days) => Some(i64::from(*days) * MICROS_PER_DAY),
        Value::Text(text) => {
            let moment = parse_moment(text.trim())?;
            moment.micros()?.checked_sub(i64::from(moment.offset_minutes.unwrap_or(0)) * 60_000_000)
        }
        _ => None,
    }
}

/// A point in time as it was written.
#[derive(Debug, PartialEq)]
pub(super) struct Moment {
    pub(super) date: NaiveDate,
    pub(super) time: NaiveTime,
    /// East of UTC; `None` where none was written.
    pub(super) offset_minutes: Option<i32>,
}

impl Moment {
    /// Microseconds since 1970 of the date and time as written; `None` if they are finer than that.
    pub(super) fn micros(&self) -> Option<i64> {
        let moment = NaiveDateTime::new(self.date, self.time).and_utc();
        moment.timestamp_subsec_nanos().is_multiple_of(1000).then(|| moment.timestamp_micros())
    }
}

/// ISO 8601: `2024-01-02`, `2024-01-02 03:04`, `2024-01-02T03:04:05.678Z`, `… +02:00`.
pub(super) fn parse_moment(text: &str) -> Option<Moment> {
    let (date, rest) = match text.find(['T', ' ']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    // chrono alone would take `24-1-2` for a day of the year 24.
    if date.len() < 10 || !date.is_ascii() {
        return None;
    }
    let date: NaiveDate = date.parse().ok()?;
    let Some(rest) = rest else { return Some(Moment { date, time: NaiveTime::MIN, offset_minutes: None }) };
    let (time, offset_minutes) = match rest.find(['Z', 'z', '+', '-']) {
        Some(at) => (rest[..at].trim_end(), Some(parse_offset(&rest[at..])?)),
        None => (rest, None),
    };
    let time = NaiveTime::parse_from_str(time, "%H:%M:%S%.f")
        .or_else(|_| NaiveTime::parse_from_str(time, "%H:%M"))
        .ok()?;
    Some(Moment { date, time, offset_minutes })
}

fn parse_offset(text: &str) -> Option<i32> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("Z" | "z", "") => return Some(0),
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let digits: String = digits.chars().filter(|c| *c != ':').collect();
    if !digits.bytes().all(|b| b.is_ascii_digit()) || !matches!(digits.len(), 2 | 4) {
        return None;
    }
    let hours: i32 = digits[..2].parse().ok()?;
    let minutes: i32 = if digits.len() == 4 { digits[2..].parse().ok()? } else { 0 };
    (hours <= 18 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::*;

    fn text(text: &str) -> Value<'_> {
        Value::Text(text.into())
    }

    #[test]
    fn a_decimal_is_taken_only_when_no_digit_is_lost() {
        for (written, scale, unscaled) in [
            ("0", 2, Some(0)),
            ("12.5", 2, Some(1250)),
            ("-12.50", 1, Some(-125)),
            ("12.55", 1, None),
            ("1e3", 0, Some(1000)),
            ("15e-1", 1, Some(15)),
            (".5", 1, Some(5)),
            ("99999999999999999999999999999999999999", 0, Some(99999999999999999999999999999999999999)),
            ("999999999999999999999999999999999999999999", 0, None),
            ("NaN", 2, None),
            ("Infinity", 2, None),
            ("", 2, None),
            ("-", 2, None),
            ("1.2.3", 2, None),
            ("0e999999999", 2, Some(0)),
        ] {
            assert_eq!(parse_decimal(written, scale), unscaled, "{written}");
        }
    }

    #[test]
    fn a_stored_double_stands_for_the_decimal_next_to_it() {
        let decimal = DataType::Decimal128(10, 2);
        let of = |f: f64| match fit(&Value::Float(f), &decimal) {
            Ok(Value::Decimal { unscaled, scale: 2 }) => Some(unscaled),
            _ => None,
        };
        assert_eq!(of(19.99), Some(1999));
        assert_eq!(of(0.1 + 0.2), Some(30));
        assert_eq!(of(0.125), None);
        assert_eq!(of(1_234_567.891), None);
        assert_eq!(of(-0.0), Some(0));
        assert_eq!(of(1e-300), None);
        assert_eq!(of(f64::INFINITY), None);
        assert_eq!(of(f64::NAN), None);
        assert_eq!(of(1e10), None);
    }

    #[test]
    fn moments_are_read_with_and_without_a_zone() {
        let day = 1_704_153_600_000_000;
        let timestamp = DataType::Timestamp(TimeUnit::Microsecond, None);
        let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        for (written, wall, utc) in [
            ("2024-01-02", Some(day), Some(day)),
            ("2024-01-02 00:00", Some(day), Some(day)),
            ("2024-01-02T00:00:01.5", Some(day + 1_500_000), Some(day + 1_500_000)),
            ("2024-01-02T02:00:00+02:00", None, Some(day)),
            ("2024-01-02 00:00:00Z", None, Some(day)),
            ("2024-01-01 22:00:00.000001 -0200", None, Some(day + 1)),
            ("2024-01-02T00:00:00.0000001", None, None),
            ("24-01-02", None, None),
            ("2024-13-02", None, None),
            ("yesterday", None, None),
            ("", None, None),
        ] {
            let read = |target: &DataType| match fit(&text(written), target) {
                Ok(Value::Timestamp(micros) | Value::TimestampTz(micros)) => Some(micros),
                _ => None,
            };
            assert_eq!(read(&timestamp), wall, "{written}");
            assert_eq!(read(&instant), utc, "{written}");
        }
        assert_eq!(fit(&text("2024-01-02"), &DataType::Date32), Ok(Value::Date(19_724)));
        assert!(fit(&text("2024-01-02 10:00"), &DataType::Date32).is_err());
    }

    #[test]
    fn what_would_be_changed_does_not_fit() {
        let big = (1 << 53) + 1;
        assert!(fit(&Value::Int(big), &DataType::Float64).is_err());
        assert!(fit(&Value::Float(1.5), &DataType::Int64).is_err());
        assert!(fit(&Value::Int(2), &DataType::Boolean).is_err());
        assert!(fit(&Value::Bytes(&[0xff]), &DataType::Utf8).is_err());
        assert!(fit(&text("12x"), &DataType::Int64).is_err());
        for no_number in ["1e999", "inf", "nan", ""] {
            assert!(fit(&text(no_number), &DataType::Float64).is_err(), "{no_number}");
        }
        assert_eq!(fit(&text("-Infinity"), &DataType::Float64), Ok(Value::Float(f64::NEG_INFINITY)));
        let infinite = Value::Unfit { reason: "infinite", text: "infinity".into() };
        assert!(fit(&infinite, &DataType::Date32).is_err());
        assert_eq!(fit(&infinite, &DataType::Utf8), Ok(text("infinity")));
        assert_eq!(fit(&Value::ZeroDate, &DataType::Date32), Ok(Value::Null));
        assert_eq!(fit(&Value::ZeroDate, &DataType::Utf8), Ok(text("0000-00-00")));
    }
}
