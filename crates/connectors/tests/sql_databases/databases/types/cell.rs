//! One value, and how a database's own text of it is to be understood. Nothing here is the product's.

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType},
};

/// A value, so that equal ones are equal.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    /// The bits of a double; all NaNs are one.
    Double(u64),
    /// Also a decimal, with all its digits, and the hex digits of a binary value.
    Text(String),
    Days(i64),
    Micros(i128),
}

/// Or the reason for which the row is rejected.
pub type Expected = Result<Cell, &'static str>;

pub fn cells(array: &ArrayRef) -> Vec<Cell> {
    (0..array.len()).map(|row| if array.is_null(row) { Cell::Null } else { cell(array, row) }).collect()
}

fn cell(array: &ArrayRef, row: usize) -> Cell {
    match array.data_type() {
        DataType::Boolean => Cell::Bool(array.as_boolean().value(row)),
        DataType::Int64 => Cell::Int(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => double_cell(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(..) => Cell::Text(array.as_primitive::<Decimal128Type>().value_as_string(row)),
        DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::Binary => {
            Cell::Text(array.as_binary::<i32>().value(row).iter().map(|b| format!("{b:02x}")).collect())
        }
        DataType::Date32 => Cell::Days(array.as_primitive::<Date32Type>().value(row).into()),
        DataType::Timestamp(..) => {
            Cell::Micros(array.as_primitive::<TimestampMicrosecondType>().value(row).into())
        }
        other => panic!("a column of type {other}"),
    }
}

fn double_cell(value: f64) -> Cell {
    Cell::Double(if value.is_nan() { f64::NAN } else { value }.to_bits())
}

pub fn text(text: &str) -> Expected {
    Ok(Cell::Text(text.to_owned()))
}

/// `\x00ff` of Postgres, `00FF` of the others.
pub fn hex(text: &str) -> Expected {
    Ok(Cell::Text(text.strip_prefix("\\x").unwrap_or(text).to_ascii_lowercase()))
}

pub fn int(text: &str) -> Expected {
    Ok(Cell::Int(text.parse().unwrap()))
}

/// A number of up to 64 bits, of which half have no place in 64 bits with a sign.
pub fn bits(text: &str) -> Expected {
    i64::try_from(text.parse::<u64>().unwrap()).map(Cell::Int).map_err(|_| "not an integer of 64 bits")
}

pub fn boolean(text: &str) -> Expected {
    match text {
        "t" | "1" => Ok(Cell::Bool(true)),
        "f" | "0" => Ok(Cell::Bool(false)),
        _ => Err("not a boolean"),
    }
}

pub fn double(text: &str) -> Expected {
    Ok(double_cell(text.parse().unwrap()))
}

/// A float of 32 bits, in its shortest decimal digits.
pub fn single(text: &str) -> Expected {
    Ok(double_cell(f64::from(text.parse::<f32>().unwrap())))
}

/// Written with all digits of its scale.
pub fn decimal(text: &str) -> Expected {
    if text == "NaN" { Err("not a decimal(") } else { Ok(Cell::Text(text.to_owned())) }
}

/// SQLite leaves zeros out; the scale is 2.
pub fn decimal_of_sqlite(text: &str) -> Expected {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 2 || whole.trim_start_matches('-').len() > 8 {
        return Err("not a decimal(10,2)");
    }
    let sign_of_nothing = fraction.is_empty() && whole == "-0";
    Ok(Cell::Text(format!("{}.{fraction:0<2}", if sign_of_nothing { "0" } else { whole })))
}

pub fn date(text: &str) -> Expected {
    match text {
        "infinity" | "-infinity" => Err("infinite"),
        "0000-00-00" => Ok(Cell::Null),
        _ => days(text).map(Cell::Days).ok_or("not a day of the calendar"),
    }
}

/// With or without an offset from UTC.
pub fn timestamp(text: &str) -> Expected {
    if matches!(text, "infinity" | "-infinity") {
        return Err("infinite");
    }
    let (text, era) = text.strip_suffix(" BC").map_or((text, ""), |text| (text, " BC"));
    let (day, time) = text.split_once([' ', 'T']).unwrap_or((text, "00:00:00"));
    if day == "0000-00-00" && time.bytes().all(|b| matches!(b, b'0' | b':' | b'.')) {
        return Ok(Cell::Null);
    }
    let days = days(&format!("{day}{era}")).ok_or("not a day of the calendar")?;
    let (time, offset) = match time.find(['+', '-', 'Z']) {
        Some(at) => (
            &time[..at],
            seconds(time[at..].trim_start_matches(['+', '-', 'Z']))
                * if time[at..].starts_with('-') { -1 } else { 1 },
        ),
        None => (time, 0),
    };
    let (whole, fraction) = time.split_once('.').unwrap_or((time, ""));
    let micros: i128 = format!("{fraction:0<6}").parse().unwrap();
    let micros = (i128::from(days) * 86_400 + i128::from(seconds(whole) - offset)) * 1_000_000 + micros;
    if i64::try_from(micros).is_ok() { Ok(Cell::Micros(micros)) } else { Err("too late") }
}

/// `HH`, `HH:MM` or `HH:MM:SS`.
fn seconds(text: &str) -> i64 {
    let parts = text.split(':').filter(|part| !part.is_empty()).map(|part| part.parse::<i64>().unwrap());
    parts.zip([3600, 60, 1]).map(|(part, unit)| part * unit).sum()
}

/// Days since 1970-01-01 of `YYYY-MM-DD`, perhaps with ` BC`; `None` if there is no such day.
fn days(text: &str) -> Option<i64> {
    let (text, bc) = text.strip_suffix(" BC").map_or((text, false), |text| (text, true));
    let mut parts = text.split('-').map(|part| part.parse::<i64>().unwrap());
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let year = if bc { 1 - year } else { year };
    let leap =
        |year: i64| year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *lengths.get(usize::try_from(month - 1).ok()?)?;
    if !(1..=length).contains(&day) {
        return None;
    }
    let before = year - 1;
    let leap_days = before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    let months: i64 = lengths[..usize::try_from(month - 1).ok()?].iter().sum();
    Some(before * 365 + leap_days + months + day - 1 - 719_162)
}

#[test]
fn the_calendar_of_these_tests_is_right() {
    for (text, expected) in [
        ("1970-01-01", Some(0)),
        ("2024-02-29", Some(19_782)),
        ("1900-03-01", Some(-25_508)),
        ("0001-12-31 BC", Some(-719_163)),
        ("4714-11-24 BC", Some(-2_440_588)),
        ("5874897-12-31", Some(2_145_042_905)),
        ("2023-02-29", None),
        ("2024-00-10", None),
    ] {
        assert_eq!(days(text), expected, "{text}");
    }
    assert_eq!(timestamp("2024-10-27 02:30:00.5+01"), Ok(Cell::Micros(1_729_992_600_500_000)));
    assert_eq!(timestamp("0001-12-31 23:45:16-00:14:44 BC"), Ok(Cell::Micros(-719_162 * 86_400_000_000)));
}
