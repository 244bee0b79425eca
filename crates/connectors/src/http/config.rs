//! The keys that every source over HTTP shares.

use std::{collections::BTreeMap, fmt, marker::PhantomData, time::Duration};

use lagar_flow::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

use super::auth::Auth;
use crate::config;

/// Bytes of one answer when the project says nothing.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// Deadlines of one attempt.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Timeouts {
    /// Until the connection stands, TLS included.
    #[serde(deserialize_with = "config::duration", serialize_with = "config::write_duration")]
    #[schemars(with = "String")]
    pub connect: Duration,
    /// Between two pieces of the answer, and until its first one.
    #[serde(deserialize_with = "config::duration", serialize_with = "config::write_duration")]
    #[schemars(with = "String")]
    pub read: Duration,
    /// From the request to the last byte of the answer, redirects included.
    #[serde(deserialize_with = "config::duration", serialize_with = "config::write_duration")]
    #[schemars(with = "String")]
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            read: Duration::from_secs(30),
            total: Duration::from_secs(600),
        }
    }
}

/// How often and how patiently a request is tried.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Retry {
    /// Requests in all, the first included.
    #[serde(deserialize_with = "attempts")]
    pub attempts: u32,
    /// The longest first wait; it doubles with every attempt, and a random share of it is waited.
    #[serde(deserialize_with = "config::duration", serialize_with = "config::write_duration")]
    #[schemars(with = "String")]
    pub wait: Duration,
    /// No wait is longer, not even one that the server asks for.
    #[serde(deserialize_with = "config::duration", serialize_with = "config::write_duration")]
    #[schemars(with = "String")]
    pub max_wait: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 5, wait: Duration::from_secs(1), max_wait: Duration::from_secs(60) }
    }
}

fn attempts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        n @ 1..=1000 => Ok(n),
        n => Err(de::Error::custom(format!("{n} attempts are not possible; write 1 to 1000"))),
    }
}

/// `5/s`, `100/m`, `1000/h`: at most so many requests, evenly spaced.
#[derive(Debug, Clone, Copy, PartialEq, JsonSchema)]
#[schemars(with = "String")]
pub(crate) struct Rate {
    /// From the start of one request to the start of the next.
    pub spacing: Duration,
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong =
            || de::Error::custom(format!("`{text}` is not a rate; write for example 5/s, 100/m or 1000/h"));
        let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
        let unit_seconds = match unit.trim() {
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        let count: f64 = count.trim().parse().map_err(|_| wrong())?;
        if !(0.001..=1e6).contains(&count) {
            return Err(wrong());
        }
        Ok(Self { spacing: Duration::from_secs_f64(unit_seconds / count) })
    }
}

/// What the keys say, with the defaults filled in.
#[derive(Debug, Clone)]
pub(crate) struct HttpConfig {
    pub headers: BTreeMap<String, Secret>,
    pub auth: Option<Auth>,
    pub retry: Retry,
    pub rate: Option<Rate>,
    pub timeout: Timeouts,
    /// Limit of one answer, after decompression, in bytes.
    pub bytes_max: u64,
}

impl HttpConfig {
    pub fn bytes_max(asked: Option<u64>) -> u64 {
        asked.unwrap_or(ANSWER_BYTES_MAX)
    }
}

/// Declares the configuration of a source together with the shared keys. (`serde(flatten)` would do
/// it too, but then unknown keys are no longer refused.)
macro_rules! with_http_keys {
    ($(#[$meta:meta])* struct $name:ident { $($fields:tt)* }) => {
        $(#[$meta])*
        #[derive(serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        struct $name {
            $($fields)*
            /// Headers of every request; one with an empty value is left out.
            #[serde(default, deserialize_with = "crate::http::secret_texts")]
            #[schemars(with = "std::collections::BTreeMap<String, String>")]
            headers: std::collections::BTreeMap<String, lagar_flow::Secret>,
            /// How to log in.
            auth: Option<crate::http::Auth>,
            /// Tries after connect errors, timeouts and the statuses 202 408 425 429 500 502 503 504.
            #[serde(default)]
            retry: crate::http::Retry,
            /// The most requests in a time: `5/s`, `100/m`.
            rate: Option<crate::http::Rate>,
            /// Deadlines of one attempt.
            #[serde(default)]
            timeout: crate::http::Timeouts,
            /// The most bytes of one answer or file, after decompression: `1GiB`.
            #[serde(default, deserialize_with = "crate::http::bytes_or_none")]
            #[schemars(with = "Option<String>")]
            max_bytes: Option<u64>,
        }

        impl $name {
            fn http(&self) -> crate::http::HttpConfig {
                crate::http::HttpConfig {
                    headers: self.headers.clone(),
                    auth: self.auth.clone(),
                    retry: self.retry.clone(),
                    rate: self.rate,
                    timeout: self.timeout.clone(),
                    bytes_max: crate::http::HttpConfig::bytes_max(self.max_bytes),
                }
            }
        }
    };
}
pub(crate) use with_http_keys;

pub(crate) fn bytes_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    config::bytes(deserializer).map(Some)
}

/// Text, number or true/false, as text. Its errors never repeat the value.
pub(crate) struct Scalar(pub Secret);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Scalar;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(Secret::new(text)))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar(Secret::new(value.to_string())))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar(Secret::new(value.to_string())))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
                Ok(Scalar(Secret::new(value.to_string())))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
                Ok(Scalar(Secret::new(value.to_string())))
            }
            fn visit_unit<E>(self) -> Result<Scalar, E> {
                Ok(Scalar(Secret::new("")))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A `T` written as a map. Whatever else stands there is refused without being repeated: it may be a
/// secret in the wrong place.
pub(crate) fn map_only<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    struct Visitor<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visitor<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("keys with values")
        }
        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(de::value::MapAccessDeserializer::new(map))
        }
        fn visit_str<E: de::Error>(self, _: &str) -> Result<T, E> {
            Err(E::custom("expected keys with values, not a text"))
        }
        fn visit_i64<E: de::Error>(self, _: i64) -> Result<T, E> {
            Err(E::custom("expected keys with values, not a number"))
        }
        fn visit_u64<E: de::Error>(self, _: u64) -> Result<T, E> {
            Err(E::custom("expected keys with values, not a number"))
        }
        fn visit_f64<E: de::Error>(self, _: f64) -> Result<T, E> {
            Err(E::custom("expected keys with values, not a number"))
        }
    }
    deserializer.deserialize_any(Visitor(PhantomData))
}

/// A secret written as text or number.
pub(crate) fn secret_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    Scalar::deserialize(deserializer).map(|scalar| scalar.0)
}

/// Names with values that may be secret.
pub(crate) fn secret_texts<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Secret>, D::Error> {
    let map: BTreeMap<String, Scalar> = map_only(deserializer)?;
    Ok(map.into_iter().map(|(name, value)| (name, value.0)).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_spacings() {
        let rate = |text: &str| serde_json::from_value::<Rate>(text.into()).map(|r| r.spacing);
        assert_eq!(rate("5/s").unwrap(), Duration::from_millis(200));
        assert_eq!(rate("120/m").unwrap(), Duration::from_millis(500));
        for bad in ["5", "5/y", "0/s", "-1/s", "x/s", "inf/s", "NaN/s"] {
            assert!(rate(bad).unwrap_err().to_string().contains("5/s, 100/m"), "{bad}");
        }
    }

    #[test]
    fn zero_attempts_are_refused() {
        assert!(serde_json::from_str::<Retry>(r#"{"attempts": 0}"#).is_err());
        assert_eq!(serde_json::from_str::<Retry>(r#"{"attempts": 2}"#).unwrap().attempts, 2);
    }
}
