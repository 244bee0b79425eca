//! Headers of answers that ask for something: `Retry-After` and `Link`.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};

/// How long a `Retry-After` value asks to wait: seconds, or an HTTP date in one of its three forms.
pub(crate) fn retry_after(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let until = http_date(value)?;
    Some((until - now).to_std().unwrap_or(Duration::ZERO))
}

fn http_date(value: &str) -> Option<DateTime<Utc>> {
    if let Ok(date) = DateTime::parse_from_rfc2822(value) {
        return Some(date.to_utc());
    }
    ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(value, form).ok())
        .map(|date| date.and_utc())
}

/// The target of the first link with `rel=next` in the values of `Link` headers (RFC 8288).
pub(crate) fn next_link<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<String> {
    values.into_iter().find_map(next_of)
}

fn next_of(value: &str) -> Option<String> {
    let mut rest = value;
    loop {
        let start = rest.find('<')?;
        let end = start + rest[start..].find('>')?;
        let target = &rest[start + 1..end];
        let (is_next, after) = parameters(&rest[end + 1..]);
        if is_next {
            return Some(target.trim().to_owned());
        }
        rest = after;
    }
}

/// Reads `; name=value` pairs up to the comma that ends the link. Whether one is `rel` with `next`
/// among its words (only the first `rel` counts), and what follows the comma.
fn parameters(mut rest: &str) -> (bool, &str) {
    let mut rel: Option<String> = None;
    loop {
        rest = rest.trim_start();
        let Some(parameter) = rest.strip_prefix(';') else {
            let is_next = rel.is_some_and(|rel| {
                rel.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case("next"))
            });
            return (is_next, rest.strip_prefix(',').unwrap_or(rest));
        };
        let name_end = parameter.find(['=', ';', ',']).unwrap_or(parameter.len());
        let name = parameter[..name_end].trim();
        rest = &parameter[name_end..];
        let Some(value) = rest.strip_prefix('=') else { continue };
        let (value, after) = parameter_value(value.trim_start());
        if name.eq_ignore_ascii_case("rel") && rel.is_none() {
            rel = Some(value);
        }
        rest = after;
    }
}

/// A token or a quoted string, and what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',']).unwrap_or(text.len());
        return (text[..end].trim().to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = DateTime::parse_from_rfc3339("1994-11-06T08:49:07Z").unwrap().to_utc();
        for (value, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(30)),
            ("Sun Nov  6 08:49:37 1994", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-5", None),
            ("", None),
        ] {
            assert_eq!(retry_after(value, now).map(|d| d.as_secs()), seconds, "{value}");
        }
    }

    #[test]
    fn the_next_link_is_found_among_others() {
        for (value, next) in [
            ("<https://a/2>; rel=\"next\"", Some("https://a/2")),
            ("<https://a/1>; rel=prev, <https://a/3>; rel=next", Some("https://a/3")),
            ("<https://a/1>; title=\"a, <b>; rel=next\"; rel=prev , </3> ;REL=\"last Next\"", Some("/3")),
            ("<https://a/2>;rel=last;rel=next", None),
            ("<https://a/2>; next; rel=nextpage", None),
            ("<https://a/a,b;c>; rel = next", Some("https://a/a,b;c")),
            ("<https://a/2>; title=\"it \\\" is\"; rel=next", Some("https://a/2")),
            ("<https://a/2; rel=next", None),
            ("garbage", None),
            ("<a>; x=\"unclosed", None),
            ("", None),
        ] {
            assert_eq!(next_of(value).as_deref(), next, "{value}");
        }
        assert_eq!(next_link(["<a>; rel=prev", "<b>; rel=next"]).as_deref(), Some("b"));
    }
}
