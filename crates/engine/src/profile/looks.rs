//! What a text could be if its column had a better type.

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde::Serialize;

use super::value::TEXT_CHARS_MAX;
use crate::NullTokens;

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
    /// They stand for a missing value.
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
    pub(super) fn add(&mut self, text: &str, count: u64, tokens: &NullTokens) {
        let place = match look(text, tokens) {
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

/// Whether the functions that clean take it for null. Of a longer text only the beginning may be left, which is
/// another one.
pub(super) fn is_null_token(text: &str, tokens: &NullTokens) -> bool {
    text.len() < TEXT_CHARS_MAX && tokens.has(text)
}

/// A number with a leading zero is a code (a zip code, an account) and stays a text.
pub(super) fn look(text: &str, tokens: &NullTokens) -> Look {
    if is_null_token(text, tokens) {
        return Look::NullToken;
    }
    if text.len() > CHARS_MAX {
        return Look::Text;
    }
    let text = text.trim();
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
            assert_eq!(look(text, &NullTokens::default()), expected, "{text:?}");
        }
        assert_eq!(look(&" ".repeat(1 << 20), &NullTokens::default()), Look::Text);
    }

    #[test]
    fn what_stands_for_null_is_said_by_the_project() {
        let long = "not known to the clerk who filled in this form";
        let own = NullTokens::new(["null".to_owned(), "0".to_owned(), long.to_owned()]);
        for (text, expected) in [
            ("null", Look::NullToken),
            (" 0 ", Look::NullToken),
            (long, Look::NullToken),
            ("nan", Look::Text),
            ("", Look::Text),
            ("1", Look::Int),
        ] {
            assert_eq!(look(text, &own), expected, "{text:?}");
        }
    }
}
