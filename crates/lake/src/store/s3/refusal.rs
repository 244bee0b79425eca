//! What S3 says when it refuses: an XML document in the middle of the library's error, as words.
//!
//! Only its code and message are taken. The rest repeats the request, with the access key's id and, when a
//! session has expired, the whole session token.

use std::{error::Error as StdError, fmt};

use lagar_flow::{Code, codes};
use object_store::Error;

use super::credentials::CredentialsError;

/// A longer message is not for people.
const MESSAGE_CHARS_MAX: usize = 300;
const REDIRECT: &str = "PermanentRedirect";

/// An answer of S3 that is not success.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Refusal {
    pub status: Option<u16>,
    /// `AccessDenied`; empty when the answer has no body, as to HEAD.
    pub code: String,
    message: String,
    /// How often it was asked again before.
    retries: Option<u32>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("S3 answered")?;
        if let Some(status) = self.status {
            write!(f, " {status}")?;
        }
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        match self.retries {
            Some(retries) => write!(f, " (asked {} times)", retries + 1),
            None => Ok(()),
        }
    }
}

impl StdError for Refusal {}

impl Refusal {
    /// The refusal that `e` tells about, if it does.
    fn of(e: &(dyn StdError + 'static)) -> Option<Self> {
        // The library keeps its type to itself; its outermost text has everything.
        let text = e.to_string();
        if text.contains("redirect without LOCATION") {
            let message = "the bucket is in another region".to_owned();
            return Some(Self { code: REDIRECT.into(), message, ..Self::default() });
        }
        if let Some((_, rest)) = text.split_once("DeleteObjects request failed for key ") {
            let (message, code) = rest.rsplit_once(" (code: ")?;
            let (code, _) = code.split_once(')')?;
            return Some(Self { code: plain(code), message: plain(message), ..Self::default() });
        }
        let (before, answer) = text
            .split_once("status code: ")
            .or_else(|| text.split_once("Server returned error response: "))?;
        let retries = before.rsplit_once(", after ").and_then(|(_, rest)| rest.split_once(" retries"));
        Some(Self {
            status: answer.split(' ').next().and_then(|status| status.parse().ok()),
            code: element(answer, "Code").unwrap_or_default(),
            message: element(answer, "Message").unwrap_or_default(),
            retries: retries.and_then(|(number, _)| number.parse().ok()),
        })
    }

    /// What it means for us: the code, the reason, what to do. `None` leaves it to the kind of error.
    pub(crate) fn meaning(&self) -> Option<(Code, &'static str, Option<&'static str>)> {
        const DOCTOR: Option<&str> =
            Some("`lagar doctor` says which credentials are used and what they may do");
        Some(match self.code.as_str() {
            "NoSuchBucket" => (
                codes::LAKE_CONFIG,
                "there is no such bucket",
                Some("check the bucket's name and the endpoint; Lagar makes no buckets"),
            ),
            "InvalidBucketName" => (codes::LAKE_CONFIG, "a bucket cannot have that name", None),
            REDIRECT
            | "TemporaryRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException" => (
                codes::LAKE_CONFIG,
                "the bucket is in another region",
                Some("set AWS_REGION to the bucket's region"),
            ),
            "NotImplemented" => (
                codes::LAKE_CONFIG,
                "the store cannot do it",
                Some("`lagar doctor` tries each thing that a lake needs"),
            ),
            "InvalidAccessKeyId" => (codes::LAKE_DENIED, "the store does not know the access key", DOCTOR),
            "SignatureDoesNotMatch" => {
                (codes::LAKE_DENIED, "the secret key does not belong to the access key", DOCTOR)
            }
            "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => (
                codes::LAKE_DENIED,
                "the session of the credentials has expired",
                Some("log in again, or give credentials that are renewed by themselves (a profile, a role)"),
            ),
            "InvalidToken" | "InvalidTokenId" => {
                (codes::LAKE_DENIED, "the session token of the credentials is not valid", DOCTOR)
            }
            "RequestTimeTooSkewed" | "RequestExpired" => (
                codes::LAKE_DENIED,
                "this machine's clock and the store's are too far apart",
                Some("set the clock of this machine, best by NTP"),
            ),
            "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => {
                (codes::LAKE_DENIED, "access was refused", DOCTOR)
            }
            "XMinioStorageFull" | "QuotaExceeded" | "InsufficientStorage" => (
                codes::LAKE_SPACE,
                "no space left",
                Some("make room, then run again: what was committed is safe"),
            ),
            _ => return None,
        })
    }
}

/// `e` with what S3 or the credentials said in place of what the library made of it.
///
/// Whoever asks for an object takes [`Error::NotFound`] for "not there": a missing bucket is not that.
pub(super) fn told(e: Error) -> Error {
    let path = match &e {
        Error::NotFound { path, .. }
        | Error::AlreadyExists { path, .. }
        | Error::Precondition { path, .. }
        | Error::NotModified { path, .. }
        | Error::PermissionDenied { path, .. }
        | Error::Unauthenticated { path, .. } => path.clone(),
        _ => String::new(),
    };
    if let Some(credentials) = super::super::find::<CredentialsError>(&e) {
        let source = Box::new(credentials.clone());
        return match credentials {
            CredentialsError::Failed { is_temporary: true, .. } => Error::Generic { store: "S3", source },
            _ => Error::Unauthenticated { path, source },
        };
    }
    let Some(refusal) = Refusal::of(&e) else { return e };
    let meaning = refusal.meaning();
    let source = Box::new(refusal);
    match (meaning, e) {
        (Some((codes::LAKE_DENIED, ..)), _) => Error::PermissionDenied { path, source },
        (Some(_), _) => Error::Generic { store: "S3", source },
        (None, Error::NotFound { .. }) => Error::NotFound { path, source },
        (None, Error::AlreadyExists { .. }) => Error::AlreadyExists { path, source },
        (None, Error::Precondition { .. }) => Error::Precondition { path, source },
        (None, Error::NotModified { .. }) => Error::NotModified { path, source },
        (None, Error::PermissionDenied { .. }) => Error::PermissionDenied { path, source },
        (None, Error::Unauthenticated { .. }) => Error::Unauthenticated { path, source },
        (None, _) => Error::Generic { store: "S3", source },
    }
}

/// The text of the first element `name`.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let text =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#39;", "'"), ("&#34;", "\"")]
            .iter()
            .fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character));
    Some(plain(&text.replace("&amp;", "&")))
}

/// A foreign text on one line, not endless.
fn plain(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use lagar_flow::Code;

    use super::*;
    use crate::Root;

    /// As the library writes it around the body of an answer.
    fn answered(status: &str, body: &str) -> Error {
        let text = format!(
            "Error performing PUT http://127.0.0.1:9000/b/k in 1.5s, after 2 retries, max_retries: 10, \
             retry_timeout: 30s  - Server returned non-2xx status code: {status}: {body}"
        );
        Error::Generic { store: "S3", source: text.into() }
    }

    fn document(code: &str, message: &str, more: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}\
             <RequestId>1</RequestId></Error>"
        )
    }

    fn shown(e: Error) -> (Code, String) {
        let root = Root { url: "s3://b".into(), local: None };
        let error = root.error("write", &object_store::path::Path::from("k"), &told(e));
        (error.code(), format!("{error} {}", error.hint_text().unwrap_or_default()))
    }

    #[test]
    fn each_refusal_is_told_in_words() {
        for (status, code, expected, words) in [
            ("404 Not Found", "NoSuchBucket", codes::LAKE_CONFIG, "no such bucket"),
            ("403 Forbidden", "InvalidAccessKeyId", codes::LAKE_DENIED, "does not know the access key"),
            ("403 Forbidden", "SignatureDoesNotMatch", codes::LAKE_DENIED, "secret key"),
            ("400 Bad Request", "ExpiredToken", codes::LAKE_DENIED, "expired"),
            ("403 Forbidden", "RequestTimeTooSkewed", codes::LAKE_DENIED, "clock"),
            ("403 Forbidden", "AccessDenied", codes::LAKE_DENIED, "lagar doctor"),
            ("400 Bad Request", "AuthorizationHeaderMalformed", codes::LAKE_CONFIG, "AWS_REGION"),
            ("507 Insufficient Storage", "XMinioStorageFull", codes::LAKE_SPACE, "no space left"),
            ("503 Service Unavailable", "SlowDown", codes::LAKE_STORE, "asked 3 times"),
        ] {
            let body = document(code, "It &quot;is&quot; so,\n  &amp;lt; that is.", "");
            let (found, text) = shown(answered(status, &body));
            assert_eq!(found, expected, "{code}: {text}");
            let answer = format!("S3 answered {} {code}: It \"is\" so, &lt; that is.", &status[..3]);
            assert!(text.contains(&answer) && text.contains(words), "{code}: {text}");
            assert!(!text.contains('<') || !text.contains("</"), "XML in {text}");
        }
    }

    #[test]
    fn the_request_is_not_repeated() {
        let more = "<Token-0>FwoGZcanarytoken</Token-0><AWSAccessKeyId>ASIAcanary</AWSAccessKeyId>";
        let (_, text) = shown(answered("400 Bad Request", &document("ExpiredToken", "It expired.", more)));
        assert!(!text.contains("canary"), "{text}");
        let (_, text) = shown(answered("403 Forbidden", &document("SomethingNew", "No.", more)));
        assert!(text.contains("SomethingNew: No.") && !text.contains("canary"), "{text}");
    }

    #[test]
    fn answers_without_a_document_stay_what_they_are() {
        let absent = Error::NotFound { path: "k".into(), source: Box::new(answered("404 Not Found", "")) };
        assert!(matches!(told(absent), Error::NotFound { .. }));
        let missing_bucket = answered("404 Not Found", &document("NoSuchBucket", "No.", ""));
        let missing_bucket = Error::NotFound { path: "k".into(), source: Box::new(missing_bucket) };
        assert!(
            matches!(told(missing_bucket), Error::Generic { .. }),
            "a missing bucket is no missing object"
        );
        let there = Error::Precondition {
            path: "k".into(),
            source: Box::new(answered("412 Precondition Failed", "")),
        };
        assert!(matches!(told(there), Error::Precondition { .. }));
        let (code, text) = shown(answered("403 Forbidden", ""));
        assert_eq!(code, codes::LAKE_STORE, "only the library's own kind says what 403 is");
        assert!(text.contains("S3 answered 403"), "{text}");
        let redirect =
            "Error performing GET http://x in 1s - Received redirect without LOCATION, this normally …";
        let (code, text) = shown(Error::Generic { store: "S3", source: redirect.into() });
        assert_eq!(code, codes::LAKE_CONFIG, "{text}");
        let deleting = "DeleteObjects request failed for key a/b: Access Denied. (code: AccessDenied)";
        let (code, text) = shown(Error::Generic { store: "S3", source: deleting.into() });
        assert_eq!(code, codes::LAKE_DENIED, "{text}");
        let down = Error::Generic { store: "S3", source: "connection refused".into() };
        assert_eq!(shown(down).0, codes::LAKE_STORE);
    }
}
