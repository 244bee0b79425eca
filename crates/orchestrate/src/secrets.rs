//! What must not be shown of a project's configuration.

use std::collections::BTreeSet;

use lagar_flow::redact_url;
use serde_json::Value;

/// What is shown in the place of a secret.
const HIDDEN: &str = "***";
/// A shorter value would be found in harmless texts too.
const FINDABLE_CHARS_MIN: usize = 4;

/// A key or variable with this name holds something to keep to oneself.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    const ANYWHERE: &[&str] = &[
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "credential",
        "authorization",
        "cookie",
        "apikey",
    ];
    // `key` alone is also a column, a partition and an order.
    const WORDS: &[&str] = &["key", "pwd", "auth", "signature"];
    ANYWHERE.iter().any(|part| name.contains(part))
        || name.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| WORDS.contains(&word))
}

/// A value at this place holds a secret, whatever it is.
pub(crate) fn is_secret_path<S: AsRef<str>>(path: &[S]) -> bool {
    path.iter().enumerate().any(|(at, part)| is_secret_name(part.as_ref()) && !names_columns(&path[..=at]))
}

/// `predictors: {NAME: {key: […]}}` names columns. Only there: a source may be called `predictors`, too.
fn names_columns<S: AsRef<str>>(path: &[S]) -> bool {
    matches!(path, [predictors, _, key] if predictors.as_ref() == "predictors" && key.as_ref() == "key")
}

/// The secrets that a project was given, to take them out of what is shown.
#[derive(Debug, Clone, Default)]
pub struct Secrets(BTreeSet<String>);

impl Secrets {
    /// Remembers a secret; `false` if it is too short to be told from other text.
    pub(crate) fn add(&mut self, secret: &str) -> bool {
        let findable = secret.chars().count() >= FINDABLE_CHARS_MIN;
        if findable {
            self.0.insert(secret.to_owned());
        }
        findable
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub(crate) fn extend(&mut self, other: Secrets) {
        self.0.extend(other.0);
    }

    /// `text` without any of the secrets.
    pub fn redact(&self, text: &str) -> String {
        // The longest first: a secret may be a part of another.
        let mut secrets: Vec<&String> = self.0.iter().filter(|secret| text.contains(*secret)).collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), HIDDEN))
    }

    /// `value` as it may be shown: `hidden` says which places are not.
    pub(crate) fn shown(
        &self,
        value: &Value,
        path: &mut Vec<String>,
        hidden: &dyn Fn(&[String]) -> bool,
    ) -> Value {
        match value {
            Value::Object(map) => map
                .iter()
                .map(|(key, value)| {
                    path.push(key.clone());
                    let shown = self.shown(value, path, hidden);
                    path.pop();
                    (key.clone(), shown)
                })
                .collect(),
            Value::Array(list) => list
                .iter()
                .enumerate()
                .map(|(index, value)| {
                    path.push(index.to_string());
                    let shown = self.shown(value, path, hidden);
                    path.pop();
                    shown
                })
                .collect(),
            Value::String(text) if text.is_empty() => Value::String(String::new()),
            Value::Null | Value::Bool(_) => value.clone(),
            _ if hidden(path) => HIDDEN.into(),
            Value::String(text) => self.redact(&redact_url(text)).into(),
            Value::Number(_) => value.clone(),
        }
    }
}

/// Finds the texts under secret-looking keys of `value`.
pub(crate) fn collect(value: &Value, path: &mut Vec<String>, into: &mut Secrets) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                path.push(key.clone());
                collect(value, path, into);
                path.pop();
            }
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, path, into)),
        // What stands below `auth` is hidden where it stands; only what carries the secret is searched for
        // elsewhere, or the name of a header would be.
        Value::String(text)
            if path.last().is_some_and(|key| is_secret_name(key) || is_auth_value(path))
                && !names_columns(path) =>
        {
            into.add(text);
        }
        _ => {}
    }
}

fn is_auth_value(path: &[String]) -> bool {
    path.iter().any(|part| part == "auth")
        && path.last().is_some_and(|key| matches!(key.as_str(), "bearer" | "value"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secret_names_are_known_and_columns_called_key_are_not_hidden() {
        for name in
            ["password", "SHOP_DB_PASSWORD", "X-App-Token", "api_key", "API-KEY", "auth", "client_secret"]
        {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["keyword", "monkey", "author", "url", "partition_by", "passenger"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn nothing_shown_holds_a_secret() {
        let value = json!({
            "sources": {"a": {
                "url": "postgres://me:hunter2@db/shop?sslmode=require",
                "headers": {"X-App-Token": "tok-123", "Accept": "json"},
                "auth": {"basic": {"user": "me", "password": 1234}},
                "params": {"q": "prefix tok-123 suffix", "empty": ""},
            }},
        });
        let mut secrets = Secrets::default();
        collect(&value, &mut Vec::new(), &mut secrets);
        let shown = secrets.shown(&value, &mut Vec::new(), &|path| is_secret_path(path));
        let a = &shown["sources"]["a"];
        assert_eq!(a["url"], "postgres://***@db/shop?sslmode=require");
        assert_eq!(a["headers"], json!({"X-App-Token": "***", "Accept": "json"}));
        assert_eq!(a["auth"]["basic"], json!({"user": "***", "password": "***"}));
        assert_eq!(a["params"], json!({"q": "prefix *** suffix", "empty": ""}));
    }

    #[test]
    fn the_key_of_a_predictor_names_columns_and_any_other_key_is_a_secret() {
        let value = json!({
            "predictors": {"p": {"key": ["customer"], "params": {"key": "hidden-1"}}},
            "sources": {"predictors": {"params": {"key": "hidden-2"}}},
        });
        let mut secrets = Secrets::default();
        collect(&value, &mut Vec::new(), &mut secrets);
        let shown = secrets.shown(&value, &mut Vec::new(), &|path| is_secret_path(path));
        let expected = json!({
            "predictors": {"p": {"key": ["customer"], "params": {"key": "***"}}},
            "sources": {"predictors": {"params": {"key": "***"}}},
        });
        assert_eq!(shown, expected);
        assert_eq!(secrets.redact("customer hidden-1 hidden-2"), "customer *** ***");
    }
}
