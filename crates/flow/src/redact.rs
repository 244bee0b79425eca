//! Secrets never reach a log, an error, a manifest or a report.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use base64::{Engine, prelude::BASE64_STANDARD};

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

/// Takes known secrets out of texts. Clones share what they know.
#[derive(Clone, Default)]
pub struct Redactor {
    /// What is taken out: every spelling of every secret, the longest first.
    all: Arc<RwLock<Vec<String>>>,
    /// The secrets that were told to this one, as they are.
    own: Arc<RwLock<Vec<String>>>,
}

impl Redactor {
    /// Shorter secrets would black out ordinary text,
    const CHARS_MIN: usize = 4;
    /// and still shorter ones than this, when they are encoded.
    const ENCODED_CHARS_MIN: usize = 8;

    /// One that takes out, and tells this one, the same secrets, and remembers which were told to itself.
    pub fn layer(&self) -> Self {
        Self { all: self.all.clone(), own: Arc::default() }
    }

    /// From now on `secret` is taken out, also where it stands encoded: in a URL, in a form, in base64.
    pub fn add(&self, secret: &str) {
        if secret.chars().count() < Self::CHARS_MIN {
            return;
        }
        let mut own = self.own.write().unwrap_or_else(PoisonError::into_inner);
        if own.iter().any(|known| known == secret) {
            return;
        }
        own.push(secret.to_owned());
        drop(own);
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        for spelling in spellings(secret) {
            if !all.contains(&spelling) {
                all.push(spelling);
            }
        }
        // A secret that contains another one goes first.
        all.sort_by_key(|spelling| std::cmp::Reverse(spelling.len()));
    }

    /// Adds what must not be shown of a URL: its user info, and the values of secret-looking parameters.
    pub fn add_url(&self, url: &str) {
        let Some((_, rest)) = url.split_once("://") else { return };
        let (user_info, tail) = rest.split_at(user_info_end(rest));
        if let Some((_, password)) = user_info.trim_end_matches('@').split_once(':') {
            // Where it ends is not sure when there is more than one `@`.
            for password in [password, password.split('@').next().unwrap_or_default()] {
                self.add(password);
                self.add(&percent_decoded(password));
            }
        }
        let query = tail.split_once('?').map_or("", |(_, query)| query);
        for pair in query.split(['&', '#']) {
            if let Some((name, value)) = pair.split_once('=')
                && is_secret_name(name)
            {
                self.add(value);
                self.add(&percent_decoded(value));
            }
        }
    }

    /// `text` with `***` where a secret stood.
    pub fn text(&self, text: &str) -> String {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let mut text = text.to_owned();
        for spelling in all.iter() {
            if text.contains(spelling.as_str()) {
                text = text.replace(spelling.as_str(), "***");
            }
        }
        text
    }

    /// A URL as it may be shown.
    pub fn url(&self, url: &str) -> String {
        self.text(&redact_url(url))
    }

    /// The secrets that were told to this one, to tell a set of them from another.
    pub fn own(&self) -> Vec<String> {
        self.own.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

/// The ways to write `secret`: as it is, in a URL, in a form, and in base64 wherever it begins there.
fn spellings(secret: &str) -> Vec<String> {
    let percent: String = secret.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~*".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
        text
    });
    let mut spellings = vec![secret.to_owned(), percent.replace("%20", "+"), percent.to_lowercase(), percent];
    if secret.chars().count() >= Redactor::ENCODED_CHARS_MIN {
        for before in 0..3 {
            // The digits that hang on the secret alone, whatever stands in front of it and behind it.
            let bytes = [vec![0; before], secret.as_bytes().to_vec()].concat();
            let digits = BASE64_STANDARD.encode(&bytes);
            let core = &digits[(before * 8).div_ceil(6)..bytes.len() * 8 / 6];
            spellings.extend([core.to_owned(), core.replace('+', "-").replace('/', "_")]);
        }
    }
    spellings
}

/// `%41` → `A`; what is not UTF-8 afterwards keeps a replacement character.
pub fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let hex = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16)).map(|digit| digit as u8);
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(high << 4 | low);
                at += 3;
            }
            (byte, ..) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Where, in what follows `://`, the user info with its `@` ends; 0 without one.
///
/// A password may hold any of `/?#` when its owner did not encode it, so everything up to the last `@` is
/// taken for user info, unless that `@` belongs to a query: there is a `?` before it and no `:` before the
/// `?` that could begin a password.
fn user_info_end(rest: &str) -> usize {
    let Some(at) = rest.rfind('@') else { return 0 };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let query = rest.find(['?', '#']).unwrap_or(rest.len());
    let looks_like_port = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let begins_password = match rest[..authority_end].rsplit_once(':') {
        _ if rest[..authority_end].contains('@') => false,
        Some((_, port)) => !looks_like_port(port) && !port.ends_with(']'),
        None => false,
    };
    if at < query || begins_password {
        return at + 1;
    }
    // An `@` in the query; there may be a user in front of the host all the same.
    rest[..query].rfind('@').map_or(0, |at| at + 1)
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
    let user_info = user_info_end(rest);
    let authority_end = rest[user_info..].find(['/', '?', '#']).map_or(rest.len(), |end| user_info + end);
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
            ("postgres://u:p?q@host/db?sslmode=require", "postgres://***@host/db?sslmode=require"),
            ("https://a.example:8080/x?mail=a@b", "https://a.example:8080/x?mail=a@b"),
            ("https://[::1]/x?mail=a@b", "https://[::1]/x?mail=a@b"),
            ("https://u:p@a.example/x?mail=a@b", "https://***@a.example/x?mail=a@b"),
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

    #[test]
    fn percent_decoding_leaves_what_is_not_encoded() {
        assert_eq!(percent_decoded("a%20b%C3%B1%zz%+a%4"), "a bñ%zz%+a%4");
    }

    #[test]
    fn a_secret_is_taken_out_in_every_spelling() {
        let redactor = Redactor::default();
        for secret in ["abc", "hunter two", "hunter two more", "p+q/r=st"] {
            redactor.add(secret);
        }
        for (text, clean) in [
            ("abc hunter two hunter+two hunter%20two", "abc *** *** ***"),
            ("[hunter two more]", "[***]"),
            ("p%2Bq%2Fr%3Dst p%2bq%2fr%3dst", "*** ***"),
            // What is left of the first and the last digit is shared with what stands around.
            ("bWU6cCtxL3I9c3Q=", "bWU6***Q="),
            ("bWVlOnArcS9yPXN0", "bWVlOn***"),
            ("bWVlZTpwK3Evcj1zdA==", "bWVlZTp***A=="),
        ] {
            assert_eq!(redactor.text(text), clean, "{text}");
        }
        assert_eq!(redactor.url("https://a.example/?appid=hunter+two"), "https://a.example/?appid=***");
        assert_eq!(format!("{redactor:?}"), "Redactor");
    }

    #[test]
    fn a_layer_tells_the_others_and_remembers_its_own() {
        let all = Redactor::default();
        all.add("first secret");
        let layer = all.layer();
        layer.add_url("https://u:p%40ss%2Fw@a.example/x?n=visible&sig=signed%2Bwith");
        layer.add("first secret");
        for redactor in [&all, &layer] {
            assert_eq!(
                redactor.text("first secret p@ss/w p%40ss%2Fw signed+with visible"),
                "*** *** *** *** visible"
            );
        }
        assert_eq!(all.own(), ["first secret"]);
        assert_eq!(layer.own(), ["p%40ss%2Fw", "p@ss/w", "signed%2Bwith", "signed+with", "first secret"]);
    }

    #[test]
    fn an_error_is_told_without_secrets() {
        let redactor = Redactor::default();
        redactor.add("hunter2");
        let error =
            |text: &str| crate::Error::new(crate::codes::AUTH, text).hint(text).caused_by(&std::fmt::Error);
        let clean = crate::Error::all([error("no hunter2"), error("hunter2")]).unwrap().without(&redactor);
        assert_eq!(clean.each().map(|e| e.message().to_owned()).collect::<Vec<_>>(), ["no ***", "***"]);
        assert!(!format!("{clean:?}").contains("hunter2"));
    }
}
