//! Casts that give null for what does not fit, and count it.

use std::sync::Arc;

use arrow::{
    array::{BooleanArray, Date32Array, Float64Array, Int64Array, TimestampMicrosecondArray},
    compute::kernels::cast_utils::string_to_datetime,
    datatypes::{DataType, Date32Type},
};
use chrono::{
    DateTime, NaiveDate, NaiveDateTime, Utc,
    format::{Item, Parsed, StrftimeItems},
};
use datafusion::common::{Result as DfResult, plan_err};

use super::{Call, Function, Takes, timestamp};

pub(super) const TRY_INT: Function = Function {
    name: "try_int",
    syntax: "try_int(text)",
    description: "a BIGINT; `12.0` and `1.009620097E9` are whole numbers too; else null, and counted",
    example: ("try_int('1.009620097E9')", Some("1009620097")),
    takes: &[Takes::Text],
    required: 1,
    returns: || DataType::Int64,
    counts: true,
    apply: |call| Ok(Arc::new(Int64Array::from(call.each(int)))),
};

pub(super) const TRY_DOUBLE: Function = Function {
    name: "try_double",
    syntax: "try_double(text)",
    description: "a DOUBLE; what is no finite number is null, and counted",
    example: ("try_double(' -73.87 ')", Some("-73.87")),
    takes: &[Takes::Text],
    required: 1,
    returns: || DataType::Float64,
    counts: true,
    apply: |call| Ok(Arc::new(Float64Array::from(call.each(double)))),
};

pub(super) const TRY_BOOL: Function = Function {
    name: "try_bool",
    syntax: "try_bool(text)",
    description: "a BOOLEAN of true, t, yes, y, 1, and false, f, no, n, 0, in upper or lower case; else null, and counted",
    example: ("try_bool('Yes')", Some("true")),
    takes: &[Takes::Text],
    required: 1,
    returns: || DataType::Boolean,
    counts: true,
    apply: |call| Ok(Arc::new(BooleanArray::from(call.each(bool)))),
};

pub(super) const TRY_DATE: Function = Function {
    name: "try_date",
    syntax: "try_date(text [, format])",
    description: "a DATE of `2020-06-15`, with or without a time behind it, or as the format (`'%m/%d/%Y'`) says; \
                  a day that does not exist is null, and counted",
    example: ("try_date('06/15/2020', '%m/%d/%Y')", Some("2020-06-15")),
    takes: &[Takes::Text, Takes::Constant],
    required: 1,
    returns: || DataType::Date32,
    counts: true,
    apply: |call| {
        let days = match format(call)? {
            Some(format) => call.each(|text| parsed(text, &format)?.to_naive_date().ok()),
            None => call.each(|text| local(text).map(|time| time.date())),
        };
        Ok(Arc::new(Date32Array::from_iter(days.into_iter().map(|day| day.map(Date32Type::from_naive_date)))))
    },
};

pub(super) const TRY_TIMESTAMP: Function = Function {
    name: "try_timestamp",
    syntax: "try_timestamp(text [, format])",
    description: "a TIMESTAMP of `2020-06-15T00:48:55.000`, with a space for the T, or as the format says; a date \
                  alone is its midnight; with an offset (`Z`, `+02:00`) it is brought to UTC; else null, and counted",
    example: ("try_timestamp('2020-06-15T02:48:55+02:00')", Some("2020-06-15T00:48:55")),
    takes: &[Takes::Text, Takes::Constant],
    required: 1,
    returns: || timestamp(None),
    counts: true,
    apply: |call| {
        let times = match format(call)? {
            Some(format) => call.each(|text| instant(&parsed(text, &format)?)),
            None => call.each(|text| string_to_datetime(&Utc, text).ok().map(|time| time.naive_utc())),
        };
        let micros = times.into_iter().map(|time| time.map(|time| time.and_utc().timestamp_micros()));
        Ok(Arc::new(TimestampMicrosecondArray::from_iter(micros)))
    },
};

/// A date and time as it stands there: an offset behind it does not move the day.
pub(super) fn local(text: &str) -> Option<NaiveDateTime> {
    // A day that stands alone is the commonest by far.
    if text.len() == 10 {
        return NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.naive_local());
    }
    string_to_datetime(&Utc, text).ok().map(|time| time.naive_utc())
}

fn int(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    whole(text)
}

/// A whole number that is written with decimals or an exponent, exactly.
fn whole(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (digits, 0),
    };
    let (before, behind) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{before}{behind}");
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Where the point would stand in all the digits.
    let point = i64::try_from(before.len()).ok()? + i64::from(exponent);
    let significant = all.trim_start_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    let whole = usize::try_from(point).ok().filter(|point| *point <= all.len() + 19)?;
    let padded = format!("{all:0<whole$}");
    let (number, rest) = padded.split_at(whole);
    if rest.bytes().any(|byte| byte != b'0') {
        return None;
    }
    format!("{sign}{number}").parse().ok()
}

fn double(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

fn bool(text: &str) -> Option<bool> {
    let is_one_of = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_one_of(&["true", "t", "yes", "y", "1"]) {
        Some(true)
    } else {
        is_one_of(&["false", "f", "no", "n", "0"]).then_some(false)
    }
}

/// The format of a call, if it has one.
fn format<'a>(call: &'a Call<'_>) -> DfResult<Option<Vec<Item<'a>>>> {
    match call.constants.first() {
        None => Ok(None),
        Some(Some(format)) => items(format).map(Some),
        Some(None) => plan_err!("the format must not be null"),
    }
}

fn items(format: &str) -> DfResult<Vec<Item<'_>>> {
    match StrftimeItems::new(format).parse() {
        Ok(items) => Ok(items),
        Err(_) => plan_err!("`{format}` is no format of dates: write it as in '%Y-%m-%dT%H:%M:%S%.3f'"),
    }
}

/// Fails unless `format` is one.
pub(super) fn check_format(format: &str) -> DfResult<()> {
    items(format).map(|_| ())
}

fn parsed(text: &str, format: &[Item<'_>]) -> Option<Parsed> {
    let mut parsed = Parsed::new();
    chrono::format::parse(&mut parsed, text, format.iter()).ok()?;
    Some(parsed)
}

/// In UTC if there is an offset; without a time it is midnight.
fn instant(parsed: &Parsed) -> Option<NaiveDateTime> {
    if parsed.offset().is_some() {
        return parsed.to_datetime().ok().map(|time| time.naive_utc());
    }
    match parsed.to_naive_datetime_with_offset(0) {
        Ok(time) => Some(time),
        Err(_) if parsed.hour_mod_12().is_none() => parsed.to_naive_date().ok()?.and_hms_opt(0, 0, 0),
        Err(_) => None,
    }
}
