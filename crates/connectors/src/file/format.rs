//! What the keys and the name of a file say about its format.

use chrono::format::{Item, StrftimeItems};
use lagar_flow::{Compression, CsvOptions, Error, Format, FormatKind, Result, codes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{config::ConfigError, decode};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Csv,
    Json,
    #[serde(alias = "jsonl")]
    Ndjson,
    Parquet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Packing {
    None,
    #[serde(alias = "gz")]
    Gzip,
    #[serde(alias = "zst")]
    Zstd,
    Zip,
}

/// `csv:` as written; what is not given has its usual value.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Csv {
    /// One ASCII character, or `\t`; default a comma, for `.tsv` a tab.
    delimiter: Option<String>,
    /// One ASCII character; default `"`.
    quote: Option<String>,
    /// `.` or `,` before the fraction of a number.
    decimal: Option<String>,
    /// `utf-8`, `latin1`, `windows-1252`, `utf-16le` and the others that browsers know.
    encoding: Option<String>,
    /// Whether the first row holds the names; default true.
    header: Option<bool>,
    /// strftime pattern of dates: `%d/%m/%Y`.
    date: Option<String>,
    /// strftime pattern of timestamps.
    timestamp: Option<String>,
}

/// The keys of a `file` source that say how its bytes become rows.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Reading {
    pub format: Option<Kind>,
    pub csv: Option<Csv>,
    pub rows: Option<String>,
    pub compression: Option<Packing>,
    pub members: Option<String>,
}

impl Reading {
    /// Finds what cannot work before anything is read.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if let Some(csv) = &self.csv {
            csv.options(false)?;
        }
        if let Some(rows) = &self.rows {
            decode::parse_json_path(rows).map_err(|message| ConfigError::new(&["rows"], message))?;
        }
        if let Some(members) = &self.members {
            glob::Pattern::new(members).map_err(|error| {
                ConfigError::new(&["members"], format!("`{members}` is not a pattern: {error}"))
            })?;
        }
        let only = |key: &str, is_set: bool, kind: Kind, name: &str| match self.format {
            Some(format) if is_set && format != kind => {
                Err(ConfigError::new(&[key], format!("`{key}` is only for `format: {name}`")))
            }
            _ => Ok(()),
        };
        only("csv", self.csv.is_some(), Kind::Csv, "csv")?;
        only("rows", self.rows.is_some(), Kind::Json, "json")?;
        match self.compression {
            Some(packing) if packing != Packing::Zip && self.members.is_some() => {
                Err(ConfigError::new(&["members"], "`members` is only for zip archives"))
            }
            _ => Ok(()),
        }
    }

    /// The format of the file called `name` (a path or URL; its query does not count).
    pub fn of(&self, name: &str) -> Result<Format> {
        let name = name.to_ascii_lowercase();
        let (inner, packing) = match (packing_of(&name), self.compression) {
            (Some((inner, _)), Some(asked)) => (inner, asked),
            (Some((inner, found)), None) => (inner, found),
            (None, asked) => (name.as_str(), asked.unwrap_or(Packing::None)),
        };
        // A member's name says more than the archive's.
        let named = self.members.as_deref().filter(|_| packing == Packing::Zip);
        let extension = named.and_then(extension_of).or_else(|| extension_of(inner));
        let kind = match self.format.or_else(|| extension.and_then(kind_of)) {
            Some(kind) => kind,
            None => return Err(unknown(&name)),
        };
        let kind = match kind {
            Kind::Csv => {
                let csv = self.csv.clone().unwrap_or_default();
                let is_tsv = extension.is_some_and(|e| e.eq_ignore_ascii_case("tsv"));
                let options = csv.options(is_tsv).map_err(|e| Error::new(codes::CONFIG, e.message))?;
                FormatKind::Csv(options)
            }
            Kind::Json => FormatKind::Json { rows: self.rows.clone() },
            Kind::Ndjson => FormatKind::Ndjson,
            Kind::Parquet => FormatKind::Parquet,
        };
        let compression = match packing {
            Packing::None => Compression::None,
            Packing::Gzip => Compression::Gzip,
            Packing::Zstd => Compression::Zstd,
            Packing::Zip => Compression::Zip { members: self.members.clone() },
        };
        Ok(Format { kind, compression, columns: Default::default(), misfits: Default::default() })
    }
}

impl Csv {
    fn options(&self, is_tsv: bool) -> Result<CsvOptions, ConfigError> {
        let wrong = |key: &str, message: String| Err(ConfigError::new(&["csv", key], message));
        let default = CsvOptions::default();
        let delimiter = match self.delimiter.as_deref() {
            None if is_tsv => '\t',
            None => default.delimiter,
            Some("\\t") => '\t',
            Some(text) => match one_ascii(text) {
                Some(c) => c,
                None => return wrong("delimiter", format!("`{text}` is not one ASCII character")),
            },
        };
        let quote = match self.quote.as_deref().map(|text| (text, one_ascii(text))) {
            None => default.quote,
            Some((_, Some(c))) if c != delimiter => c,
            Some((text, _)) => {
                return wrong(
                    "quote",
                    format!("`{text}` is not one ASCII character other than the delimiter"),
                );
            }
        };
        let decimal = match self.decimal.as_deref() {
            None | Some(".") => '.',
            Some(",") if delimiter == ',' => {
                return wrong("decimal", "the decimal sign and the delimiter are both a comma".to_owned());
            }
            Some(",") => ',',
            Some(text) => return wrong("decimal", format!("`{text}` is not `.` or `,`")),
        };
        let encoding = self.encoding.clone().unwrap_or(default.encoding);
        if encoding_rs::Encoding::for_label(encoding.as_bytes()).is_none() {
            let hint = "write for example utf-8, latin1, windows-1252 or utf-16le";
            return wrong("encoding", format!("`{encoding}` is not an encoding; {hint}"));
        }
        for (key, pattern) in [("date", &self.date), ("timestamp", &self.timestamp)] {
            if let Some(pattern) =
                pattern.as_deref().filter(|p| StrftimeItems::new(p).any(|i| i == Item::Error))
            {
                return wrong(key, format!("`{pattern}` is not a strftime pattern like %d/%m/%Y"));
            }
        }
        Ok(CsvOptions {
            delimiter,
            quote,
            decimal,
            encoding,
            header: self.header.unwrap_or(default.header),
            date: self.date.clone(),
            timestamp: self.timestamp.clone(),
        })
    }
}

fn one_ascii(text: &str) -> Option<char> {
    let mut chars = text.chars();
    chars.next().filter(|c| c.is_ascii() && !matches!(c, '\n' | '\r') && chars.next().is_none())
}

/// The name without the ending of a compression, and the compression.
fn packing_of(name: &str) -> Option<(&str, Packing)> {
    [(".gz", Packing::Gzip), (".gzip", Packing::Gzip), (".zst", Packing::Zstd), (".zip", Packing::Zip)]
        .into_iter()
        .find_map(|(ending, packing)| Some((name.strip_suffix(ending)?, packing)))
}

fn extension_of(name: &str) -> Option<&str> {
    let name = name.rsplit('/').next().unwrap_or(name);
    name.rsplit_once('.').map(|(_, extension)| extension)
}

fn kind_of(extension: &str) -> Option<Kind> {
    Some(match extension.to_ascii_lowercase().as_str() {
        "csv" | "tsv" => Kind::Csv,
        "json" => Kind::Json,
        "ndjson" | "jsonl" => Kind::Ndjson,
        "parquet" => Kind::Parquet,
        _ => return None,
    })
}

fn unknown(name: &str) -> Error {
    let name = name.rsplit('/').next().unwrap_or(name);
    Error::new(codes::CONFIG, format!("the name `{name}` does not say what format it is in"))
        .hint("add `format:` with csv, json, ndjson or parquet")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn reading() -> Reading {
        Reading { format: None, csv: None, rows: None, compression: None, members: None }
    }

    #[test]
    fn a_name_says_its_format() {
        for (name, extension, compression) in [
            ("a/b.csv", "csv", None),
            ("B.CSV.GZ", "csv", Some("gz")),
            ("x.jsonl.zst", "ndjson", Some("zst")),
            ("x.ndjson", "ndjson", None),
            ("x.json", "json", None),
            ("x.parquet", "parquet", None),
            ("x.csv.zip", "csv", Some("zip")),
        ] {
            let format = reading().of(name).unwrap();
            assert_eq!(
                (format.kind.extension(), format.compression.extension()),
                (extension, compression),
                "{name}"
            );
        }
        for name in ["data", "a.csv/data", "x.zip", "x.xlsx"] {
            assert!(reading().of(name).unwrap_err().hint_text().unwrap().contains("format:"), "{name}");
        }
        let zip = Reading { members: Some("*.ndjson".into()), ..reading() };
        assert_eq!(zip.of("x.zip").unwrap().kind, FormatKind::Ndjson);
        let told = Reading { format: Some(Kind::Csv), compression: Some(Packing::None), ..reading() };
        assert_eq!(told.of("x.gz").unwrap().compression, Compression::None);
    }

    #[test]
    fn a_tsv_has_tabs_unless_told_otherwise() {
        let delimiter = |reading: Reading, name: &str| match reading.of(name).unwrap().kind {
            FormatKind::Csv(options) => options.delimiter,
            other => panic!("{other:?}"),
        };
        let csv = |text: &str| Some(Csv { delimiter: Some(text.into()), ..Csv::default() });
        assert_eq!(delimiter(reading(), "x.tsv.gz"), '\t');
        assert_eq!(delimiter(Reading { csv: csv(";"), ..reading() }, "x.tsv"), ';');
        assert_eq!(delimiter(Reading { csv: csv("\\t"), ..reading() }, "x.csv"), '\t');
    }

    #[test]
    fn impossible_options_are_refused_by_name() {
        for (json, key) in [
            (r#"{"delimiter": ";;"}"#, "delimiter"),
            (r#"{"delimiter": "ñ"}"#, "delimiter"),
            (r#"{"quote": ","}"#, "quote"),
            (r#"{"decimal": ","}"#, "decimal"),
            (r#"{"decimal": "x"}"#, "decimal"),
            (r#"{"encoding": "latin-99"}"#, "encoding"),
            (r#"{"date": "%Q"}"#, "date"),
        ] {
            let csv: Csv = serde_json::from_str(json).unwrap();
            let error = Reading { csv: Some(csv), ..reading() }.validate().unwrap_err();
            assert_eq!(error.path, ["csv", key]);
        }
        let both = Reading { format: Some(Kind::Json), csv: Some(Csv::default()), ..reading() };
        assert_eq!(both.validate().unwrap_err().path, ["csv"]);
        let both = Reading { format: Some(Kind::Csv), rows: Some("$".into()), ..reading() };
        assert_eq!(both.validate().unwrap_err().path, ["rows"]);
        let both = Reading { compression: Some(Packing::Gzip), members: Some("*".into()), ..reading() };
        assert_eq!(both.validate().unwrap_err().path, ["members"]);
    }
}
