//! Takes the secrets of one source out of everything that is shown or stored about it.

use std::sync::{Arc, PoisonError, RwLock};

use lagar_flow::redact_url;

/// Shorter values would black out ordinary text.
const SECRET_CHARS_MIN: usize = 4;

/// Knows the values of the secrets that were sent; clones share them.
#[derive(Clone, Default)]
pub(crate) struct Redactor(Arc<RwLock<Vec<String>>>);

impl Redactor {
    pub fn add(&self, secret: &str) {
        if secret.chars().count() < SECRET_CHARS_MIN {
            return;
        }
        let mut secrets = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let encoded = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>();
        let percent = encoded.replace('+', "%20");
        for form in [secret.to_owned(), encoded, percent] {
            if !secrets.contains(&form) {
                secrets.push(form);
            }
        }
        // A secret that contains another one goes first.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    /// `text` with `***` where a secret stood.
    pub fn text(&self, text: &str) -> String {
        let secrets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    }

    /// All secrets, to tell a set of them from another.
    pub fn secrets(&self) -> Vec<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A URL as it may be shown.
    pub fn url(&self, url: &str) -> String {
        self.text(&redact_url(url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_spelling() {
        let redactor = Redactor::default();
        for secret in ["abc", "hunter two", "hunter two more"] {
            redactor.add(secret);
        }
        assert_eq!(redactor.text("abc hunter two hunter+two hunter%20two"), "abc *** *** ***");
        assert_eq!(redactor.text("[hunter two more]"), "[***]");
        assert_eq!(redactor.url("https://a.example/?appid=hunter+two"), "https://a.example/?appid=***");
    }
}
