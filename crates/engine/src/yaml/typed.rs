//! From a value to a Rust type, with errors that point into the file.

use lagar_flow::{Code, Error, Place, codes};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::{
    Path, Spans,
    faults::{self, Fault},
    path_text,
};
use crate::suggest;

/// The codes of the errors of [`deserialize_all`].
#[derive(Debug, Clone, Copy)]
pub struct ErrorCodes {
    /// A key that does not exist.
    pub unknown: Code,
    /// Any other fault.
    pub wrong: Code,
}

impl ErrorCodes {
    /// Those of the project file.
    pub const CONFIG: Self = Self { unknown: codes::CONFIG_UNKNOWN, wrong: codes::CONFIG };
}

/// Deserializes `value`, which stands at `prefix` (empty: the whole document) of the file of `spans`.
/// Use `deny_unknown_fields` on `T`. Every error has the place of the key or value that is wrong, names the
/// key, and says which one was probably meant; with it comes the path below `value`. With errors the result
/// is what is left when what is wrong is left out: use it only if `T` needs nothing.
pub fn deserialize_all<T: DeserializeOwned>(
    value: &Value,
    spans: &Spans,
    prefix: &[&str],
    codes: ErrorCodes,
) -> (Option<T>, Vec<(Path, Error)>) {
    let (read, faults) = faults::read_all(
        value,
        |_| false,
        |remains| {
            serde_path_to_error::deserialize(remains.value()).map_err(|error| Fault {
                path: error.path().iter().filter_map(key_of).collect(),
                message: error.inner().to_string(),
            })
        },
    );
    let explained = faults.into_iter().map(|fault| {
        let path = prefix.iter().map(|part| (*part).to_owned()).chain(fault.path.clone()).collect();
        (fault.path, explain(path, &fault.message, spans, codes))
    });
    (read, explained.collect())
}

fn key_of(segment: &Segment) -> Option<String> {
    match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

/// Turns serde's words about the value at `path` into ours, with a place and a suggestion.
pub fn explain(mut path: Path, message: &str, spans: &Spans, codes: ErrorCodes) -> Error {
    if let Some((key, known)) = choice(message, "unknown field ") {
        if path.last() != Some(&key) {
            path.push(key.clone());
        }
        let outer = path_text(&path[..path.len() - 1]);
        let message = if outer.is_empty() {
            format!("`{key}` is not a key")
        } else {
            format!("`{key}` is not a key of `{outer}`")
        };
        return with_hint(Error::new(codes.unknown, message), spans.key_place(&path), hint(&key, &known));
    }
    let shown = if path.is_empty() { "the file".to_owned() } else { format!("`{}`", path_text(&path)) };
    if let Some((variant, known)) = choice(message, "unknown variant ") {
        let message = format!("{shown} cannot be `{variant}`");
        return with_hint(Error::new(codes.wrong, message), spans.value_place(&path), hint(&variant, &known));
    }
    if let Some(key) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        let message = if path.is_empty() {
            format!("the key `{key}` is missing")
        } else {
            format!("{shown} needs the key `{key}`")
        };
        return with_hint(Error::new(codes.wrong, message), spans.key_place(&path), None);
    }
    let wrong = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    if let Some((found, expected)) = wrong.and_then(|rest| rest.rsplit_once(", expected ")) {
        let expected = expected_text(expected);
        let hint = match (found, expected) {
            (r#"string "yes""# | r#"string "on""#, "true or false") => Some("write true".to_owned()),
            (r#"string "no""# | r#"string "off""#, "true or false") => Some("write false".to_owned()),
            _ => None,
        };
        let message = format!("{shown} must be {expected}, not {}", found_text(found));
        return with_hint(Error::new(codes.wrong, message), spans.value_place(&path), hint);
    }
    with_hint(Error::new(codes.wrong, format!("{shown}: {message}")), spans.value_place(&path), None)
}

fn with_hint(error: Error, place: Place, hint: Option<String>) -> Error {
    let error = error.at_place(place);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// The name and the known names of "unknown field `x`, expected one of `a`, `b`".
fn choice(message: &str, start: &str) -> Option<(String, Vec<String>)> {
    let rest = message.strip_prefix(start)?.strip_prefix('`')?;
    let (name, rest) = rest.split_once("`, ").or_else(|| rest.strip_suffix('`').map(|name| (name, "")))?;
    let known = rest.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Some((name.to_owned(), known))
}

fn hint(written: &str, known: &[String]) -> Option<String> {
    match suggest::nearest(written, known.iter().map(String::as_str)) {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None if known.is_empty() => None,
        None => Some(format!("possible here: {}", suggest::quoted(known))),
    }
}

fn expected_text(expected: &str) -> &str {
    match expected {
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a map of keys and values",
        "f32" | "f64" => "a number",
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number",
        "a string" | "a borrowed string" => "text",
        other if other.starts_with("struct ") || other.starts_with("internally tagged enum") => {
            "a map of keys and values"
        }
        other => other,
    }
}

fn found_text(found: &str) -> String {
    match found {
        "map" => "a map".to_owned(),
        "sequence" => "a list".to_owned(),
        "null" | "unit value" => "empty".to_owned(),
        other => other
            .strip_prefix("string ")
            .map(|text| format!("the text {text}"))
            .or_else(|| {
                other
                    .strip_prefix("integer ")
                    .map(|number| format!("the number {}", number.trim_matches('`')))
            })
            .or_else(|| {
                other
                    .strip_prefix("floating point ")
                    .map(|number| format!("the number {}", number.trim_matches('`')))
            })
            .or_else(|| other.strip_prefix("boolean ").map(|truth| truth.trim_matches('`').to_owned()))
            .unwrap_or_else(|| other.to_owned()),
    }
}
