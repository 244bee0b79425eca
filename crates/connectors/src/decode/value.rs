//! From the text of one value to the value, exactly or not at all; the same rules for CSV and JSON.

use std::borrow::Cow;

use chrono::{
    Datelike, NaiveDate, NaiveTime, Timelike,
    format::{Item, Parsed, StrftimeItems},
};
use lagar_flow::{CsvOptions, Error, Result, codes};

/// Why a text is not a value: ends the sentence "`abc` …".
pub(super) type Misfit = Cow<'static, str>;

type Fit<T> = std::result::Result<T, Misfit>;

const EPOCH_DAYS_FROM_CE: i32 = 719_163;
const DAY_MICROS: i64 = 86_400_000_000;
/// 2^53: up to here a double holds every integer.
const DOUBLE_EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// How numbers and dates are written. The default is JSON's and ISO 8601.
#[derive(Debug, Default)]
pub(super) struct Parse {
    decimal_comma: bool,
    date: Option<Pattern>,
    timestamp: Option<Pattern>,
    /// Whether texts such as `NaN` and `inf` are doubles: in loads that an older Lagar checked they are.
    pub knows_nan: bool,
}

/// What a CSV field looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Bool,
    Int,
    /// An integer beyond 2^53, which a double cannot hold exactly.
    LongInt,
    /// An integer beyond 64 bits, or a number beyond the range of a double.
    Huge,
    Double,
    /// `1.234` where the comma is the decimal sign: a number only if others have decimals.
    Grouped,
    Date,
    Timestamp,
    /// With a zone.
    Instant,
    Text,
}

/// A strftime pattern, taken apart once.
#[derive(Debug)]
struct Pattern {
    items: Vec<Item<'static>>,
    zoned: bool,
}

impl Pattern {
    fn new(pattern: &str) -> Result<Self> {
        let items = StrftimeItems::new(pattern).parse_to_owned().map_err(|e| {
            Error::new(codes::CONFIG, format!("`{pattern}` is not a date pattern"))
                .hint("write it as strftime does, for example %d/%m/%Y or %Y-%m-%d %H:%M:%S")
                .caused_by(&e)
        })?;
        let zoned = ["%z", "%:z", "%::z", "%#z", "%+"].iter().any(|zone| pattern.contains(zone));
        Ok(Self { items, zoned })
    }

    fn parse(&self, text: &str) -> Option<Parsed> {
        let mut parsed = Parsed::new();
        chrono::format::parse(&mut parsed, text, self.items.iter()).ok()?;
        Some(parsed)
    }

    fn date(&self, text: &str) -> Option<NaiveDate> {
        let date = self.parse(text)?.to_naive_date().ok()?;
        // `%Y` also takes two digits: "20" is not the year 20.
        (date.year() >= 1000).then_some(date)
    }

    fn moment(&self, text: &str) -> Option<Moment> {
        let parsed = self.parse(text)?;
        let date = parsed.to_naive_date().ok().filter(|date| date.year() >= 1000)?;
        let time = parsed.to_naive_time().unwrap_or(NaiveTime::MIN);
        let offset_seconds =
            if self.zoned { Some(parsed.to_fixed_offset().ok()?.local_minus_utc()) } else { None };
        Some(Moment { micros: micros_of(date, time), offset_seconds })
    }
}

/// A local time, and how far it is from UTC if that is known.
struct Moment {
    micros: i64,
    offset_seconds: Option<i32>,
}

fn days_of(date: NaiveDate) -> i32 {
    date.num_days_from_ce() - EPOCH_DAYS_FROM_CE
}

fn micros_of(date: NaiveDate, time: NaiveTime) -> i64 {
    let seconds = i64::from(time.num_seconds_from_midnight());
    let micros = i64::from(time.nanosecond().min(999_999_999) / 1000);
    i64::from(days_of(date)) * DAY_MICROS + seconds * 1_000_000 + micros
}

impl Parse {
    pub fn of(options: &CsvOptions) -> Result<Self> {
        let decimal_comma = match options.decimal {
            '.' => false,
            ',' => true,
            other => {
                return Err(Error::new(codes::CONFIG, format!("`{other}` cannot be the decimal sign"))
                    .hint("it is `.` or `,`"));
            }
        };
        let pattern = |text: &Option<String>| text.as_deref().map(Pattern::new).transpose();
        let (date, timestamp) = (pattern(&options.date)?, pattern(&options.timestamp)?);
        Ok(Self { decimal_comma, date, timestamp, knows_nan: false })
    }

    /// What a field looks like to someone who was told nothing about it. A number is one only if it is
    /// written as numbers are: `007`, `+1` and `1.` are texts.
    pub fn look(&self, text: &str) -> Look {
        match text.as_bytes().first() {
            Some(b'0'..=b'9' | b'-' | b'.' | b',') => {
                if let Some(number) = self.look_number(text) {
                    return number;
                }
            }
            Some(b't' | b'f' | b'T' | b'F') if parse_bool_word(text).is_some() => return Look::Bool,
            _ => {}
        }
        if self.plain_date(text).is_some() {
            return Look::Date;
        }
        match self.moment(text) {
            Some(Moment { offset_seconds: Some(_), .. }) => Look::Instant,
            Some(_) => Look::Timestamp,
            None => Look::Text,
        }
    }

    fn look_number(&self, text: &str) -> Option<Look> {
        if !self.decimal_comma {
            return number_look(text);
        }
        let grouped = text.contains('.');
        match number_look(&self.number(text)?)? {
            Look::Int | Look::LongInt if grouped => Some(Look::Grouped),
            look => Some(look),
        }
    }

    /// The number with a decimal point and without thousands separators; `None` if the separators do
    /// not stand where they must.
    fn number<'a>(&self, text: &'a str) -> Option<Cow<'a, str>> {
        let text = text.trim();
        if !self.decimal_comma || !text.contains(['.', ',']) {
            return Some(Cow::Borrowed(text));
        }
        let (whole, decimals) = match text.split_once(',') {
            Some((whole, decimals)) => (whole, Some(decimals)),
            None => (text, None),
        };
        if decimals.is_some_and(|d| d.contains(['.', ','])) {
            return None;
        }
        let groups: Vec<&str> = whole.trim_start_matches(['-', '+']).split('.').collect();
        let digits = |group: &&str| group.bytes().all(|b| b.is_ascii_digit());
        let grouped = groups.len() > 1;
        if grouped
            && !(matches!(groups[0].len(), 1..=3)
                && groups[1..].iter().all(|g| g.len() == 3)
                && groups.iter().all(digits))
        {
            return None;
        }
        let mut plain = whole.replace('.', "");
        if let Some(decimals) = decimals {
            plain.push('.');
            plain.push_str(decimals);
        }
        Some(Cow::Owned(plain))
    }

    pub fn int(&self, text: &str) -> Fit<i64> {
        let no = || Misfit::from("is not a whole number");
        let number = self.number(text).ok_or_else(no)?;
        if let Ok(int) = number.parse::<i64>() {
            return Ok(int);
        }
        match decimal(&number, 38, 0) {
            Ok(value) => i64::try_from(value).map_err(|_| "does not fit into 64 bits".into()),
            Err(DecimalMisfit::TooLong) => Err("does not fit into 64 bits".into()),
            Err(_) => Err(no()),
        }
    }

    /// A finite number. `NaN` is what people write where there is none: one of them makes every sum and mean over it
    /// NaN.
    pub fn double(&self, text: &str) -> Fit<f64> {
        let number = self.number(text).ok_or("is not a number")?;
        match number.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            Ok(_) if number.bytes().any(|b| b.is_ascii_digit()) => {
                Err("is beyond the range of a double".into())
            }
            Ok(value) if self.knows_nan => Ok(value),
            Ok(_) | Err(_) => Err("is not a number".into()),
        }
    }

    /// As [`Parse::double`], but an integer must be one that a double holds exactly.
    pub fn exact_double(&self, text: &str) -> Fit<f64> {
        let value = self.double(text)?;
        if value.abs() < DOUBLE_EXACT_MAX {
            return Ok(value);
        }
        let number = self.number(text).ok_or("is not a number")?;
        let is_integer = number.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        if is_integer && number.parse::<i128>().ok() != Some(value as i128) {
            return Err("is an integer that a double cannot hold exactly; ask for text or decimal".into());
        }
        Ok(value)
    }

    pub fn decimal(&self, text: &str, precision: u8, scale: i8) -> Fit<i128> {
        let number = self.number(text).ok_or("is not a number")?;
        decimal(&number, precision, scale).map_err(|misfit| match misfit {
            DecimalMisfit::NotANumber => "is not a number".into(),
            DecimalMisfit::TooExact => format!("has more than {scale} decimals").into(),
            DecimalMisfit::TooLong => format!("does not fit into decimal({precision},{scale})").into(),
        })
    }

    pub fn bool(&self, text: &str) -> Fit<bool> {
        match text.trim() {
            "1" => Ok(true),
            "0" => Ok(false),
            word => parse_bool_word(word).ok_or_else(|| "is neither true nor false".into()),
        }
    }

    /// Days since 1970-01-01.
    pub fn date(&self, text: &str) -> Fit<i32> {
        let text = text.trim();
        if let Some(days) = self.plain_date(text) {
            return Ok(days);
        }
        match self.moment(text) {
            // A day written with the time of its beginning, as spreadsheets do.
            Some(moment) if moment.micros.rem_euclid(DAY_MICROS) == 0 => {
                i32::try_from(moment.micros.div_euclid(DAY_MICROS)).map_err(|_| "is not a date".into())
            }
            Some(_) => Err("is a date with a time; ask for `timestamp`".into()),
            None => Err("is not a date".into()),
        }
    }

    /// Microseconds since 1970-01-01, as a clock on the wall shows them.
    pub fn timestamp(&self, text: &str) -> Fit<i64> {
        let text = text.trim();
        if let Some(days) = self.plain_date(text) {
            return Ok(i64::from(days) * DAY_MICROS);
        }
        match self.moment(text) {
            Some(Moment { micros, offset_seconds: None | Some(0) }) => Ok(micros),
            Some(_) => Err("has an offset from UTC; ask for `timestamptz`".into()),
            None => Err("is not a timestamp".into()),
        }
    }

    /// Microseconds since 1970-01-01 in UTC.
    pub fn instant(&self, text: &str) -> Fit<i64> {
        match self.moment(text.trim()) {
            Some(Moment { micros, offset_seconds: Some(offset) }) => {
                Ok(micros - i64::from(offset) * 1_000_000)
            }
            Some(_) => Err("has no time zone; ask for `timestamp`".into()),
            None if self.plain_date(text.trim()).is_some() => Err("has no time zone; ask for `date`".into()),
            None => Err("is not a timestamp".into()),
        }
    }

    fn plain_date(&self, text: &str) -> Option<i32> {
        match &self.date {
            Some(pattern) => pattern.date(text).map(days_of),
            None => iso_date(text.as_bytes()).map(days_of),
        }
    }

    fn moment(&self, text: &str) -> Option<Moment> {
        match &self.timestamp {
            Some(pattern) => pattern.moment(text),
            None => iso_moment(text.as_bytes()),
        }
    }
}

fn parse_bool_word(word: &str) -> Option<bool> {
    if word.eq_ignore_ascii_case("true") {
        Some(true)
    } else if word.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// What a number is; `None` if `text` is not one, or not written as numbers are.
pub(super) fn number_look(text: &str) -> Option<Look> {
    let bytes = text.as_bytes();
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let whole = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    if whole > 1 && digits[0] == b'0' {
        return None;
    }
    if whole == digits.len() && whole > 0 {
        return Some(match whole {
            // Only a double knows a negative zero.
            1 if text == "-0" => Look::Double,
            ..16 => Look::Int,
            _ => match text.parse::<i64>() {
                Ok(int) if int.unsigned_abs() > 1 << 53 => Look::LongInt,
                Ok(_) => Look::Int,
                Err(_) => Look::Huge,
            },
        });
    }
    let mut rest = &digits[whole..];
    if let Some(decimals) = rest.strip_prefix(b".") {
        let count = decimals.iter().take_while(|b| b.is_ascii_digit()).count();
        if count == 0 {
            return None;
        }
        rest = &decimals[count..];
    } else if whole == 0 {
        return None;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = exponent.strip_prefix(b"-").or(exponent.strip_prefix(b"+")).unwrap_or(exponent);
        if exponent.is_empty() || !exponent.iter().all(u8::is_ascii_digit) {
            return None;
        }
    } else if !rest.is_empty() {
        return None;
    }
    let long = !rest.is_empty() || whole > 300;
    Some(if long && text.parse::<f64>().is_ok_and(f64::is_infinite) { Look::Huge } else { Look::Double })
}

#[derive(Debug, PartialEq, Eq)]
enum DecimalMisfit {
    NotANumber,
    TooExact,
    TooLong,
}

/// The number times 10^scale, exactly.
fn decimal(text: &str, precision: u8, scale: i8) -> std::result::Result<i128, DecimalMisfit> {
    use DecimalMisfit::*;
    let (negative, unsigned) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let exponent_at = unsigned.iter().position(|b| matches!(b, b'e' | b'E'));
    let (mantissa, exponent) = match exponent_at {
        Some(at) => {
            let exponent = std::str::from_utf8(&unsigned[at + 1..]).ok().and_then(|e| e.parse::<i32>().ok());
            (&unsigned[..at], i64::from(exponent.ok_or(NotANumber)?))
        }
        None => (unsigned, 0),
    };
    let point = mantissa.iter().position(|b| *b == b'.');
    let (whole, decimals) = match point {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &[][..]),
    };
    if whole.is_empty() && decimals.is_empty() || !whole.iter().chain(decimals).all(u8::is_ascii_digit) {
        return Err(NotANumber);
    }
    // Digits behind this many of the mantissa's would be decimals beyond the scale.
    let keep = whole.len() as i64 + exponent + i64::from(scale);
    let digits: Vec<u8> = whole.iter().chain(decimals).map(|b| b - b'0').collect();
    let mut value: i128 = 0;
    for (place, digit) in digits.iter().enumerate() {
        if place as i64 >= keep {
            if *digit != 0 {
                return Err(TooExact);
            }
            continue;
        }
        value = value.checked_mul(10).and_then(|v| v.checked_add(i128::from(*digit))).ok_or(TooLong)?;
    }
    for _ in digits.len() as i64..keep {
        if value == 0 {
            break;
        }
        value = value.checked_mul(10).ok_or(TooLong)?;
    }
    if value >= 10_i128.pow(u32::from(precision.min(38))) {
        return Err(TooLong);
    }
    Ok(if negative { -value } else { value })
}

fn number_of(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |n, d| d.is_ascii_digit().then(|| n * 10 + u32::from(d - b'0')))
}

/// `YYYY-MM-DD`
fn iso_date(text: &[u8]) -> Option<NaiveDate> {
    let [a, b, c, d, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let year = number_of(&[*a, *b, *c, *d])? as i32;
    NaiveDate::from_ymd_opt(year, number_of(&[*m1, *m2])?, number_of(&[*d1, *d2])?)
}

/// `YYYY-MM-DD`, `T` or a space, `HH:MM[:SS[.fraction]]`, and perhaps `Z`, ` UTC` or an offset.
fn iso_moment(text: &[u8]) -> Option<Moment> {
    let (date, rest) = text.split_at_checked(10)?;
    let date = iso_date(date)?;
    let [b'T' | b't' | b' ', h1, h2, b':', m1, m2, rest @ ..] = rest else { return None };
    let (hour, minute) = (number_of(&[*h1, *h2])?, number_of(&[*m1, *m2])?);
    let (second, rest) = match rest {
        [b':', s1, s2, rest @ ..] => (number_of(&[*s1, *s2])?, rest),
        rest => (0, rest),
    };
    let (micro, rest) = match rest {
        [b'.', rest @ ..] => {
            let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
            if !(1..=9).contains(&digits) {
                return None;
            }
            let kept = digits.min(6);
            (number_of(&rest[..kept])? * 10u32.pow(6 - kept as u32), &rest[digits..])
        }
        rest => (0, rest),
    };
    let time = NaiveTime::from_hms_micro_opt(hour, minute, second, micro)?;
    Some(Moment { micros: micros_of(date, time), offset_seconds: iso_offset(rest)? })
}

/// The outer `None` if `text` is not a zone.
fn iso_offset(text: &[u8]) -> Option<Option<i32>> {
    let (sign, digits) = match text.strip_prefix(b" ").unwrap_or(text) {
        [] if text.is_empty() => return Some(None),
        b"Z" | b"z" | b"UTC" => return Some(Some(0)),
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits {
        [h1, h2] => (number_of(&[*h1, *h2])?, 0),
        [h1, h2, b':', m1, m2] | [h1, h2, m1, m2] => (number_of(&[*h1, *h2])?, number_of(&[*m1, *m2])?),
        _ => return None,
    };
    (hours <= 18 && minutes < 60).then(|| Some(sign * (hours * 3600 + minutes * 60) as i32))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn comma() -> Parse {
        Parse::of(&CsvOptions { decimal: ',', ..CsvOptions::default() }).unwrap()
    }

    #[test]
    fn a_field_looks_like_what_it_is() {
        let plain = Parse::default();
        for (text, look) in [
            ("0", Look::Int),
            ("-12", Look::Int),
            ("-0", Look::Double),
            ("+1", Look::Text),
            ("00123", Look::Text),
            ("01234", Look::Text),
            ("-01", Look::Text),
            ("9007199254740992", Look::Int),
            ("9007199254740993", Look::LongInt),
            ("9223372036854775807", Look::LongInt),
            ("9223372036854775808", Look::Huge),
            ("1.5", Look::Double),
            (".5", Look::Double),
            ("1.", Look::Text),
            ("1e5", Look::Double),
            ("1e999", Look::Huge),
            ("00.5", Look::Text),
            ("1.2.3", Look::Text),
            ("-", Look::Text),
            (".", Look::Text),
            ("1e", Look::Text),
            ("nan", Look::Text),
            ("inf", Look::Text),
            ("true", Look::Bool),
            ("False", Look::Bool),
            ("t", Look::Text),
            ("2024-02-29", Look::Date),
            ("2023-02-29", Look::Text),
            ("2024-01-01 10:00", Look::Timestamp),
            ("2024-01-01T10:00:00.123456", Look::Timestamp),
            ("2024-01-01T10:00:00Z", Look::Instant),
            ("2024-01-01T10:00:00+05:30", Look::Instant),
            ("2024-01-01T25:00", Look::Text),
            ("1,5", Look::Text),
            ("12-34", Look::Text),
            ("ñ", Look::Text),
        ] {
            assert_eq!(plain.look(text), look, "{text}");
        }
        for (text, look) in [
            ("1,5", Look::Double),
            ("1.234,56", Look::Double),
            ("1.234", Look::Grouped),
            ("12.34", Look::Text),
            ("1.5", Look::Text),
            ("192.168.1.10", Look::Text),
            ("1.234,5.6", Look::Text),
            ("12", Look::Int),
        ] {
            assert_eq!(comma().look(text), look, "{text}");
        }
    }

    #[test]
    fn asked_numbers_are_exact() {
        let plain = Parse::default();
        for (text, int) in [
            ("3", 3),
            (" +3 ", 3),
            ("3.0", 3),
            ("1e2", 100),
            ("120e-1", 12),
            ("007", 7),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(plain.int(text), Ok(int), "{text}");
        }
        for text in ["3.5", "abc", "", "1e400", "9223372036854775808", "NaN", "1e", "--1"] {
            assert!(plain.int(text).is_err(), "{text}");
        }
        assert_eq!(plain.double("12.5"), Ok(12.5));
        let old = Parse { knows_nan: true, ..Parse::default() };
        for text in ["abc", "NaN", " nan", "inf", "-Infinity"] {
            assert_eq!(plain.double(text), Err("is not a number".into()), "{text}");
            assert_eq!(old.double(text).is_ok(), text != "abc", "{text}");
        }
        assert_eq!(plain.double("1e999"), Err("is beyond the range of a double".into()));
        assert_eq!(comma().double("1.234,5"), Ok(1234.5));
        for text in ["9007199254740993", "-9007199254740993", "9223372036854775807", "123456789012345678901"]
        {
            assert!(plain.exact_double(text).is_err() && plain.double(text).is_ok(), "{text}");
        }
        for text in
            ["9007199254740992", "9007199254740994", "-9223372036854775808", "0.12345678901234567", "1e20"]
        {
            assert_eq!(plain.exact_double(text), plain.double(text), "{text}");
        }
        assert!(comma().exact_double("9.007.199.254.740.993").is_err());
        assert_eq!(comma().int("1.234.567"), Ok(1_234_567));
        assert!(comma().double("1.5").is_err());
        for (text, value) in
            [("12.3", 1230), ("-0.01", -1), ("1e3", 100_000), ("0.120", 12), ("+5", 500), ("0e99999", 0)]
        {
            assert_eq!(plain.decimal(text, 10, 2), Ok(value), "{text}");
        }
        assert_eq!(plain.decimal("1.234", 10, 2), Err("has more than 2 decimals".into()));
        assert_eq!(plain.decimal("123456789", 10, 2), Err("does not fit into decimal(10,2)".into()));
        let long = "12345678901234567890123456789012345678";
        assert_eq!(plain.decimal(long, 38, 0), Ok(long.parse().unwrap()));
        assert!(plain.decimal(&format!("{long}9"), 38, 0).is_err() && plain.decimal("x", 10, 2).is_err());
        assert_eq!(plain.bool("TRUE"), Ok(true));
        assert!(plain.bool("yes").is_err());
    }

    #[test]
    fn asked_times_know_their_zone() {
        let plain = Parse::default();
        assert_eq!(plain.date("1970-01-02"), Ok(1));
        assert_eq!(plain.date("1969-12-31T00:00:00"), Ok(-1));
        assert!(plain.date("1970-01-02 10:00").is_err());
        assert_eq!(plain.timestamp("1970-01-01T00:00:01.5"), Ok(1_500_000));
        assert_eq!(plain.timestamp("1970-01-01T00:00:01Z"), Ok(1_000_000));
        assert_eq!(plain.timestamp("1970-01-02"), Ok(DAY_MICROS));
        assert!(plain.timestamp("1970-01-01T00:00:01+02:00").unwrap_err().contains("timestamptz"));
        assert_eq!(plain.instant("1970-01-01T02:00:00+02:00"), Ok(0));
        assert_eq!(plain.instant("1970-01-01 00:00:00.123456789 UTC"), Ok(123_456));
        assert!(plain.instant("1970-01-01T00:00:00").unwrap_err().contains("no time zone"));
        for bad in [
            "",
            "12",
            "1970-01-01T",
            "1970-01-01T00:00:00.",
            "1970-01-01T00:00:00+99:00",
            "1970-01-01T00:00:00 ",
        ] {
            assert!(plain.instant(bad).is_err(), "{bad}");
        }
        let spanish = Parse::of(&CsvOptions {
            date: Some("%d/%m/%Y".into()),
            timestamp: Some("%d/%m/%Y %H:%M".into()),
            ..CsvOptions::default()
        })
        .unwrap();
        assert_eq!(spanish.date("02/01/1970"), Ok(1));
        assert_eq!(spanish.timestamp("02/01/1970 00:01"), Ok(DAY_MICROS + 60_000_000));
        assert!(spanish.date("1970-01-02").is_err() && spanish.date("02/01/70").is_err());
        assert_eq!(spanish.look("31/12/2024"), Look::Date);
        assert_eq!(spanish.look("31/12/2024 10:15"), Look::Timestamp);
        assert!(Parse::of(&CsvOptions { date: Some("%Q".into()), ..CsvOptions::default() }).is_err());
    }
}
