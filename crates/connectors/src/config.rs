//! From the values of a project file to a connector's own configuration, with errors that name the key.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};

/// What is wrong, and at which key (outermost first).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub path: Vec<String>,
    pub message: String,
}

impl ConfigError {
    pub fn new(path: &[&str], message: impl Into<String>) -> Self {
        Self { path: path.iter().map(|p| (*p).to_owned()).collect(), message: message.into() }
    }
}

/// Deserializes `value`; an error names the key. Use `deny_unknown_fields` on `T`.
pub fn parse<T: DeserializeOwned>(value: &serde_json::Value) -> Result<T, ConfigError> {
    serde_path_to_error::deserialize(value).map_err(|error| ConfigError {
        path: error
            .path()
            .iter()
            .filter_map(|segment| match segment {
                serde_path_to_error::Segment::Seq { index } => Some(index.to_string()),
                serde_path_to_error::Segment::Map { key } => Some(key.clone()),
                serde_path_to_error::Segment::Enum { variant } => Some(variant.clone()),
                serde_path_to_error::Segment::Unknown => None,
            })
            .collect(),
        message: error.inner().to_string(),
    })
}

/// `10s`, `250ms`, `5m`, `2h`, `1d` → a duration.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<std::time::Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// A duration as it is written in a project file, so that defaults in the JSON schema read like it.
pub fn write_duration<S: serde::Serializer>(
    duration: &std::time::Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    match (seconds, millis) {
        (0, millis) => serializer.collect_str(&format_args!("{millis}ms")),
        (seconds, 0) if seconds % 60 == 0 => serializer.collect_str(&format_args!("{}m", seconds / 60)),
        (seconds, 0) => serializer.collect_str(&format_args!("{seconds}s")),
        _ => serializer.collect_str(&format_args!("{}ms", duration.as_millis())),
    }
}

pub fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || format!("`{text}` is not a duration; write for example 250ms, 10s, 5m, 2h or 1d");
    let (number, unit) = split_unit(text).ok_or_else(wrong)?;
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return Err(wrong()),
    };
    std::time::Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())
}

/// `512KiB`, `64MiB`, `1GiB`, `1GB`, a plain number of bytes → bytes.
pub fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Number(u64),
        Text(String),
    }
    match Size::deserialize(deserializer) {
        Ok(Size::Number(n)) => Ok(n),
        Ok(Size::Text(text)) => parse_bytes(&text).map_err(serde::de::Error::custom),
        Err(_) => Err(serde::de::Error::custom("expected a size, for example 64MiB")),
    }
}

pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size; write for example 512KiB, 64MiB or 1GiB");
    if let Ok(n) = text.trim().parse::<u64>() {
        return Ok(n);
    }
    let (number, unit) = split_unit(text).ok_or_else(wrong)?;
    let factor: f64 = match unit {
        "B" => 1.0,
        "KB" | "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        "TiB" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return Err(wrong()),
    };
    let bytes = number * factor;
    if bytes >= 0.0 && bytes < u64::MAX as f64 { Ok(bytes as u64) } else { Err(wrong()) }
}

/// The number in front and the unit behind it.
fn split_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let number: f64 = text[..end].parse().ok()?;
    Some((number, text[end..].trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_reads_as_it_is_written() {
        for text in ["250ms", "10s", "90s", "5m", "1500ms", "0ms"] {
            let duration = parse_duration(text).unwrap();
            let written = write_duration(&duration, serde_json::value::Serializer).unwrap();
            assert_eq!(written, *text);
        }
    }

    #[test]
    fn sizes_and_durations_have_units() {
        assert_eq!(parse_bytes("64MiB"), Ok(64 << 20));
        assert_eq!(parse_bytes("1.5 KiB"), Ok(1536));
        assert_eq!(parse_bytes("12"), Ok(12));
        assert_eq!(parse_duration("250ms"), Ok(std::time::Duration::from_millis(250)));
        assert_eq!(parse_duration("10 m"), Ok(std::time::Duration::from_secs(600)));
        for bad in ["", "ten", "1x", "-1s", "1"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        for bad in ["", "many", "1XB", "-5"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }
}
