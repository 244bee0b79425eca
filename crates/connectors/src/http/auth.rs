//! The ways to log in at an HTTP server.

use std::{sync::OnceLock, time::Duration};

use chrono::{DateTime, Utc};
use lagar_flow::{Redactor, Secret};
use reqwest::{
    Client,
    header::{AUTHORIZATION, HeaderName, HeaderValue},
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};
use tokio::{sync::Mutex, time::Instant};
use url::Origin;

use super::{
    config::{map_only, secret_text},
    inside::Neighbours,
};

/// A token is not used in its last seconds: it could expire on the way.
const TOKEN_MARGIN: Duration = Duration::from_secs(30);

/// `auth:` as written.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(with = "Method")]
pub(crate) struct Auth(Method);

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Method {
    /// A token in the `Authorization` header.
    Bearer(
        #[serde(deserialize_with = "secret_text")]
        #[schemars(with = "String")]
        Secret,
    ),
    /// User and password.
    Basic(#[serde(deserialize_with = "map_only")] Basic),
    /// A key in a header or in the query.
    ApiKey(#[serde(deserialize_with = "map_only")] ApiKey),
    /// OAuth 2.0 client credentials.
    Oauth2(#[serde(deserialize_with = "map_only")] ClientCredentials),
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Basic {
    #[serde(deserialize_with = "secret_text")]
    #[schemars(with = "String")]
    user: Secret,
    #[serde(deserialize_with = "secret_text")]
    #[schemars(with = "String")]
    password: Secret,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ApiKey {
    /// Name of the header; this or `query`.
    header: Option<String>,
    /// Name of the query parameter; this or `header`.
    query: Option<String>,
    #[serde(deserialize_with = "secret_text")]
    #[schemars(with = "String")]
    value: Secret,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientCredentials {
    /// Where tokens are given out.
    pub token_url: String,
    #[serde(deserialize_with = "secret_text")]
    #[schemars(with = "String")]
    pub client_id: Secret,
    #[serde(deserialize_with = "secret_text")]
    #[schemars(with = "String")]
    pub client_secret: Secret,
    pub scope: Option<String>,
}

impl<'de> Deserialize<'de> for Auth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let method: Method = map_only(deserializer)?;
        method.validate().map_err(de::Error::custom)?;
        Ok(Self(method))
    }
}

impl Method {
    fn validate(&self) -> Result<(), &'static str> {
        match self {
            Method::ApiKey(key) => match (&key.header, &key.query) {
                (Some(name), None) if HeaderName::try_from(name.as_str()).is_err() => {
                    Err("`header` of `api_key` is not the name of a header")
                }
                (Some(_), None) | (None, Some(_)) => Ok(()),
                _ => Err("`api_key` needs `header` or `query`, one of them"),
            },
            Method::Oauth2(client) if super::http_url(&client.token_url).is_none() => {
                Err("`token_url` is not an http:// or https:// URL")
            }
            _ => Ok(()),
        }
    }
}

impl Auth {
    pub fn basic(user: &str, password: &str) -> Self {
        Self(Method::Basic(Basic { user: Secret::new(user), password: Secret::new(password) }))
    }

    /// Tells `redactor` every secret in it.
    pub fn add_secrets(&self, redactor: &Redactor) {
        match &self.0 {
            Method::Bearer(token) => redactor.add(token.expose()),
            Method::Basic(basic) => redactor.add(basic.password.expose()),
            Method::ApiKey(key) => redactor.add(key.value.expose()),
            Method::Oauth2(client) => redactor.add(client.client_secret.expose()),
        }
    }

    pub(super) fn client_credentials(&self) -> Option<&ClientCredentials> {
        match &self.0 {
            Method::Oauth2(client) => Some(client),
            _ => None,
        }
    }

    /// What every request carries; `None` for OAuth, whose token comes from [`Shared`].
    pub(super) fn fixed(&self, client: &Client, redactor: &Redactor) -> Result<Option<Login>, &'static str> {
        const UNSENDABLE: &str = "a value of `auth` has characters that a header cannot carry";
        Ok(match &self.0 {
            Method::Bearer(token) => Some(Login::bearer(token).ok_or(UNSENDABLE)?),
            Method::Basic(basic) => {
                let value = basic_header(client, basic.user.expose(), basic.password.expose());
                let value = value.ok_or(UNSENDABLE)?;
                if let Some(encoded) = value.to_str().ok().and_then(|v| v.strip_prefix("Basic ")) {
                    redactor.add(encoded);
                }
                Some(Login::Header(AUTHORIZATION, value))
            }
            Method::ApiKey(ApiKey { header: Some(name), value, .. }) => {
                let name = HeaderName::try_from(name.as_str()).map_err(|_| UNSENDABLE)?;
                let mut value = HeaderValue::try_from(value.expose()).map_err(|_| UNSENDABLE)?;
                value.set_sensitive(true);
                Some(Login::Header(name, value))
            }
            Method::ApiKey(key) => {
                Some(Login::Query(key.query.clone().unwrap_or_default(), key.value.clone()))
            }
            Method::Oauth2(_) => None,
        })
    }
}

/// What is added to a request to be let in.
#[derive(Debug, Clone)]
pub(super) enum Login {
    Header(HeaderName, HeaderValue),
    Query(String, Secret),
}

impl Login {
    pub fn bearer(token: &Secret) -> Option<Self> {
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose())).ok()?;
        value.set_sensitive(true);
        Some(Login::Header(AUTHORIZATION, value))
    }
}

/// The value of an `Authorization: Basic` header.
pub(super) fn basic_header(client: &Client, user: &str, password: &str) -> Option<HeaderValue> {
    let request = client.get("http://localhost/").basic_auth(user, Some(password)).build().ok()?;
    request.headers().get(AUTHORIZATION).cloned()
}

/// What the reads of one source share. It lives as long as the source.
#[derive(Default)]
pub(crate) struct Shared {
    /// The token given out last, so that a later read can use it.
    pub(super) token: Mutex<Option<Token>>,
    /// When the next request may start, whichever read asks: the rate is that of the source.
    pub(super) next_slot: Mutex<Option<Instant>>,
    /// The client for one home, and where it may go. To make one takes longer than many an answer, because it
    /// reads all the certificates of the system; and its connections stay for the next read.
    pub(super) client: OnceLock<(Origin, Client, Neighbours)>,
}

pub(super) struct Token {
    pub value: Secret,
    /// `None`: the server did not say.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Token {
    pub fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_none_or(|expiry| now + TOKEN_MARGIN < expiry)
    }
}

/// What a token endpoint answers.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    pub access_token: Secret,
    /// Seconds; a number, or as some servers write it, a number as text.
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
}

impl TokenAnswer {
    pub fn into_token(self, now: DateTime<Utc>) -> Token {
        let seconds = self.expires_in.as_ref().and_then(|value| {
            value
                .as_i64()
                .or_else(|| value.as_f64().map(|s| s as i64))
                .or_else(|| value.as_str()?.parse().ok())
        });
        let expires_at = seconds
            .and_then(chrono::Duration::try_seconds)
            .and_then(|lifetime| now.checked_add_signed(lifetime));
        Token { value: self.access_token, expires_at }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn mistakes_name_what_is_allowed_and_never_the_value() {
        for (value, says) in [
            (json!("hunter2"), "keys with values"),
            (json!(["hunter2"]), "keys with values"),
            (json!({}), "enum"),
            (json!({"token": "hunter2"}), "`oauth2`"),
            (json!({"bearer": ["hunter2"]}), "a text"),
            (json!({"basic": "hunter2"}), "keys with values"),
            (json!({"basic": {"user": "u", "pass": "hunter2"}}), "`password`"),
            (json!({"api_key": {"value": "hunter2"}}), "`header` or `query`"),
            (json!({"api_key": {"value": "hunter2", "header": "a", "query": "b"}}), "one of them"),
            (json!({"api_key": {"value": "hunter2", "header": "a b"}}), "not the name"),
            (
                json!({"oauth2": {"token_url": "file:/x", "client_id": "a", "client_secret": "hunter2"}}),
                "http://",
            ),
        ] {
            let error = serde_json::from_value::<Auth>(value.clone()).unwrap_err().to_string();
            assert!(error.contains(says), "{value}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let auth: Auth =
            serde_json::from_value(json!({"basic": {"user": "u", "password": 12345678}})).unwrap();
        assert!(!format!("{auth:?}").contains("12345678"));
        let login = auth.fixed(&Client::new(), &Redactor::default()).unwrap();
        assert!(!format!("{login:?}").contains("dTox"), "{login:?}");
    }

    #[test]
    fn a_token_is_fresh_until_shortly_before_its_end() {
        let now = DateTime::UNIX_EPOCH;
        for (answer, seconds) in [
            (json!({"access_token": "t", "expires_in": 60}), Some(60)),
            (json!({"access_token": "t", "expires_in": "60"}), Some(60)),
            (json!({"access_token": "t"}), None),
        ] {
            let token = serde_json::from_value::<TokenAnswer>(answer).unwrap().into_token(now);
            assert_eq!(token.expires_at.map(|e| e.timestamp()), seconds);
            assert!(token.is_fresh(now + Duration::from_secs(29)));
            assert_eq!(token.is_fresh(now + Duration::from_secs(30)), seconds.is_none());
        }
    }
}
