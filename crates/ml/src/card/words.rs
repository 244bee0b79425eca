//! Numbers for the eye, and text that is what it looks like.

use lagar_flow::words::{char_width, grouped, line};
pub(super) use lagar_flow::words::{counted, cut, padded, text_width, thousands};
use serde_json::Value;

use crate::math::log10;

/// What stands where nothing is known.
pub(super) const NOTHING: &str = "–";
/// The longest name that is shown whole.
pub(super) const NAME_MAX: usize = 80;
/// The most text that a note or a description may have.
const PROSE_MAX: usize = 2_000;

/// A number with three digits that count below 1, with four above, and with all of its whole part. What is nearly
/// 1 is not shown as 1.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return NOTHING.to_owned();
    }
    if size == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e9).contains(&size) {
        return format!("{value:.2e}");
    }
    let magnitude = log10(size).floor();
    let mut decimals = (if size < 1.0 { 2.0 - magnitude } else { 3.0 - magnitude }).max(0.0) as usize;
    while size < 1.0 && decimals < 6 && format!("{size:.decimals$}").starts_with('1') {
        decimals += 1;
    }
    fixed(value, decimals)
}

/// As [`number`], without zeros at its end.
pub(super) fn short(value: f64) -> String {
    let text = number(value);
    match text.contains('.') && !text.contains('e') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A number that may be a count.
pub(super) fn figure(value: f64) -> String {
    match value.fract() == 0.0 && value.abs() < 1e15 {
        true => fixed(value, 0),
        false => short(value),
    }
}

/// `1,234.50`
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let is_zero = text.chars().all(|c| matches!(c, '0' | '.'));
    let sign = if value < 0.0 && !is_zero { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{fraction}", grouped(whole))
}

/// A share in hundredths: `97.5 %`. What is there at all is not shown as 0, and what is not all not as 100.
pub(super) fn percent(share: f64) -> String {
    let hundredths = share * 100.0;
    if !hundredths.is_finite() {
        return NOTHING.to_owned();
    }
    if hundredths > 0.0 && hundredths < 0.1 {
        return "<0.1 %".to_owned();
    }
    if hundredths > 99.9 && hundredths < 100.0 {
        return ">99.9 %".to_owned();
    }
    let text = fixed(hundredths, 1);
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}

/// As [`percent`], always with one decimal, to stand below others.
pub(super) fn hundredths(share: f64) -> String {
    let text = percent(share);
    match text.strip_suffix(" %") {
        Some(whole) if !whole.contains('.') => format!("{whole}.0 %"),
        _ => text,
    }
}

/// `a, b and c`
pub(super) fn listed(words: &[String], last: &str) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., end] => format!("{} {last} {end}", first.join(", ")),
    }
}

/// A value of a parameter.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::Null => NOTHING.to_owned(),
        Value::String(text) => name(text),
        Value::Number(number) if number.is_f64() => {
            let whole = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 1e15);
            whole.map_or_else(|| number.to_string(), figure)
        }
        other => name(&other.to_string()),
    }
}

/// A name from the data: in one line, not too long, never empty.
pub(super) fn name(text: &str) -> String {
    match text.trim().is_empty() {
        true => format!("'{}'", cut(&line(text), 8)),
        false => cut(&line(text), NAME_MAX),
    }
}

/// A name in a sentence.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", name(text))
}

/// Sentences that come from elsewhere.
pub(super) fn prose(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    cut(&line(&words.join(" ")), PROSE_MAX)
}

/// The beginning and the end of a name that is wider than `width`: many differ only at the end.
pub(super) fn shortened(text: &str, width: usize) -> String {
    if text_width(text) <= width {
        return text.to_owned();
    }
    let mut used = 0;
    let end_width = width / 3;
    let fits = |c: &char| {
        used += char_width(*c);
        used <= end_width
    };
    let end: Vec<char> = text.chars().rev().take_while(fits).collect();
    let end: String = end.into_iter().rev().collect();
    let end = end.trim_start();
    format!("{}{end}", cut(text, width - text_width(end)))
}

/// Lines that are not wider than `width`, broken between words where that is possible.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let wide = text_width(word);
        if used > 0 && used + 1 + wide > width {
            lines.push(String::new());
            used = 0;
        }
        let Some(line) = lines.last_mut() else { break };
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        if wide <= width {
            line.push_str(word);
            used += wide;
            continue;
        }
        for c in word.chars() {
            if used + char_width(c) > width {
                lines.push(String::new());
                used = 0;
            }
            if let Some(line) = lines.last_mut() {
                line.push(c);
            }
            used += char_width(c);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_have_the_digits_that_count() {
        for (given, shown) in [
            (0.0, "0"),
            (-0.0, "0"),
            (0.913_27, "0.913"),
            (0.5, "0.500"),
            (1.0, "1.000"),
            (0.999_6, "0.9996"),
            (0.091_327, "0.0913"),
            (-0.000_123_4, "-0.000123"),
            (0.000_012, "1.20e-5"),
            (12.345_6, "12.35"),
            (1_234.5, "1,234"),
            (-1_234_567.8, "-1,234,568"),
            (f64::MAX, "1.80e308"),
            (f64::NAN, NOTHING),
            (f64::INFINITY, NOTHING),
        ] {
            assert_eq!(number(given), shown);
        }
        let short: Vec<String> = [0.97, 0.5, 120.0, 1.0, 2e-7].map(short).to_vec();
        assert_eq!(short, ["0.97", "0.5", "120", "1", "2.00e-7"]);
        assert_eq!([figure(1_500.0), figure(0.25), figure(f64::NAN)], ["1,500", "0.25", NOTHING]);
        assert_eq!(fixed(-0.001, 1), "0.0");
    }

    #[test]
    fn shares_are_not_rounded_to_none_or_all() {
        let shown: Vec<String> = [0.0, 0.000_1, 0.062_5, 0.25, 0.999_9, 1.0, f64::NAN].map(percent).to_vec();
        assert_eq!(shown, ["0 %", "<0.1 %", "6.2 %", "25 %", ">99.9 %", "100 %", NOTHING]);
        assert_eq!([hundredths(0.25), hundredths(0.062_5), hundredths(1.0)], ["25.0 %", "6.2 %", "100.0 %"]);
    }

    #[test]
    fn text_is_cleaned_cut_and_broken() {
        assert_eq!(name("a\nb\u{1b}[31m\u{202e}c\u{200b}"), "a␤b\u{fffd}[31m\u{fffd}c\u{fffd}");
        assert_eq!(name(""), "''");
        assert_eq!(text_width(&name(&"東".repeat(500))), NAME_MAX - 1);
        assert_eq!(value(&json!({"a": [1, null]})), r#"{"a":[1,null]}"#);
        assert_eq!(shortened("column number 12", 12), "column…r 12");
        assert_eq!(shortened("column", 6), "column");
        assert_eq!(wrapped("one two three abcdefghij", 7), ["one two", "three", "abcdefg", "hij"]);
        assert_eq!(wrapped("東京都庁", 5), ["東京", "都庁"]);
        assert_eq!(wrapped("", 5), [""]);
        assert_eq!(listed(&["a".into(), "b".into(), "c".into()], "and"), "a, b and c");
    }
}
