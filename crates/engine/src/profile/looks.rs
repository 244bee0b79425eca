//! What a text could be if its column had a better type.

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde::Serialize;

/// Texts that stand for a missing value, spaces around them aside.
pub const NULL_TOKENS: &[&str] = &["", ".", "N/A", "n/a", "Na", "nan", "NaN", "null", "NULL"];

/// Longer texts are texts.
const CHARS_MAX: usize = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    NullToken,
    Int,
    Double,
    Date,
    Timestamp,
    Text,
}

/// How many texts of a column look like what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Looks {
    /// They stand for a missing value: see [`NULL_TOKENS`].
    pub null_tokens: u64,
    pub int: u64,
    /// Numbers that are no `int`.
    pub double: u64,
    /// `2011-08-27`
    pub date: u64,
    /// `2011-08-27T10:58:43`, with a space in the place of the T, fractions of a second and a zone.
    pub timestamp: u64,
    pub text: u64,
}

impl Looks {
    pub(super) fn add(&mut self, text: &str, count: u64) {
        let place = match look(text) {
            Look::NullToken => &mut self.null_tokens,
            Look::Int => &mut self.int,
            Look::Double => &mut self.double,
            Look::Date => &mut self.date,
            Look::Timestamp => &mut self.timestamp,
            Look::Text => &mut self.text,
        };
        *place += count;
    }

    /// Those that do not stand for a missing value.
    pub fn values(&self) -> u64 {
        self.int + self.double + self.date + self.timestamp + self.text
    }
}

pub(super) fn is_null_token(text: &str) -> bool {
    text.len() <= CHARS_MAX && NULL_TOKENS.contains(&text.trim())
}

/// A number with a leading zero is a code (a zip code, an account) and stays a text.
pub(super) fn look(text: &str) -> Look {
    if text.len() > CHARS_MAX {
        return Look::Text;
    }
    let text = text.trim();
    if NULL_TOKENS.contains(&text) {
        return Look::NullToken;
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text).as_bytes();
    match digits {
        [b'0', b'0'..=b'9', ..] => return Look::Text,
        [b'0'..=b'9' | b'.', ..] => {}
        _ => return Look::Text,
    }
    if text.parse::<i64>().is_ok() {
        Look::Int
    } else if text.parse::<f64>().is_ok() {
        Look::Double
    } else if text.len() == 10 && NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok() {
        Look::Date
    } else if is_timestamp(text) {
        Look::Timestamp
    } else {
        Look::Text
    }
}

fn is_timestamp(text: &str) -> bool {
    let local = |format: &str| NaiveDateTime::parse_from_str(text, format).is_ok();
    text.len() >= 19
        && (local("%Y-%m-%dT%H:%M:%S%.f")
            || local("%Y-%m-%d %H:%M:%S%.f")
            || DateTime::parse_from_rfc3339(text).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_taken_for_what_they_look_like() {
        for (text, expected) in [
            ("", Look::NullToken),
            ("  nan ", Look::NullToken),
            (".", Look::NullToken),
            ("null", Look::NullToken),
            ("NAN", Look::Text),
            ("21117067", Look::Int),
            ("-3", Look::Int),
            ("0", Look::Int),
            ("00501", Look::Text),
            ("-007", Look::Text),
            ("0.5", Look::Double),
            (".5", Look::Double),
            ("10016.0", Look::Double),
            ("1.009620097E9", Look::Double),
            ("123456789012345678901", Look::Double),
            ("inf", Look::Text),
            ("-", Look::Text),
            ("-nan", Look::Text),
            ("2011-08-27", Look::Date),
            ("2011-02-30", Look::Text),
            ("2011-08-27T00:00:00.000", Look::Timestamp),
            ("2011-08-27 00:00:00", Look::Timestamp),
            ("2011-08-27T00:00:00+02:00", Look::Timestamp),
            ("1 AVENUE", Look::Text),
            ("1,234", Look::Text),
        ] {
            assert_eq!(look(text), expected, "{text:?}");
        }
        assert_eq!(look(&" ".repeat(1 << 20)), Look::Text);
    }
}
