//! Secrets never reach a log, an error, a manifest or a report.

use std::fmt;

/// A value that prints as `***`.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }
    /// The value itself; only for handing it to the library that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

/// Query parameters whose values never appear in a manifest or an error.
const SECRET_PARAMETERS: &[&str] = &[
    "token",
    "key",
    "secret",
    "password",
    "passwd",
    "pwd",
    "signature",
    "sig",
    "auth",
    "credential",
    "session",
];

/// A URL as it may be shown: without user info, with the values of secret-looking parameters as `***`.
/// What is not a URL is returned as it is.
pub fn redact_url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (authority_end, _) =
        rest.char_indices().find(|(_, c)| matches!(c, '/' | '?' | '#')).unwrap_or((rest.len(), ' '));
    // A password may hold any of `/?#` when its owner did not encode it: everything up to the last
    // `@` before the query is treated as user info.
    let query_start = rest.find('?').unwrap_or(rest.len());
    let authority_end = authority_end.max(rest[..query_start].rfind('@').map_or(0, |at| at + 1));
    let (authority, tail) = rest.split_at(authority_end);
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) => format!("***@{host}"),
        None => authority.to_owned(),
    };
    let (tail, fragment) = tail.split_once('#').map_or((tail, ""), |(t, f)| (t, f));
    let _ = fragment; // a fragment is never sent, and OAuth answers carry tokens there
    let tail = match tail.split_once('?') {
        None => tail.to_owned(),
        Some((path, query)) => {
            let pairs: Vec<String> = query
                .split('&')
                .map(|pair| match pair.split_once('=') {
                    Some((name, _)) if is_secret_name(name) => format!("{name}=***"),
                    _ => pair.to_owned(),
                })
                .collect();
            format!("{path}?{}", pairs.join("&"))
        }
    };
    format!("{scheme}://{authority}{tail}")
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_PARAMETERS.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_holds_no_secret() {
        for (url, shown) in [
            ("https://a.example/x?page=2", "https://a.example/x?page=2"),
            ("https://u:p@a.example/x", "https://***@a.example/x"),
            ("postgres://u:p/q#r@host:5432/db", "postgres://***@host:5432/db"),
            (
                "https://a.example/x?api_key=s&n=1&X-Amz-Signature=t",
                "https://a.example/x?api_key=***&n=1&X-Amz-Signature=***",
            ),
            ("https://a.example/cb#access_token=s", "https://a.example/cb"),
            ("not a url", "not a url"),
        ] {
            assert_eq!(redact_url(url), shown);
        }
    }
}
