//! How the bytes of a raw file become rows. It is stored in the manifest, so that a load is always
//! read back as it was checked when it landed, whatever the project says later.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, codes};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    pub kind: FormatKind,
    #[serde(default)]
    pub compression: Compression,
    /// Asked types by column; they win over inferred ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, ColumnType>,
    /// What becomes of a value that does not fit its column.
    #[serde(default, skip_serializing_if = "Misfits::is_default")]
    pub misfits: Misfits,
}

/// What becomes of a value that does not fit its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Misfits {
    /// Its row is rejected.
    #[default]
    Reject,
    /// It is null. Columns that the file's own list does not have are null too, whatever the file holds.
    Null,
}

impl Misfits {
    fn is_default(&self) -> bool {
        *self == Misfits::default()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FormatKind {
    Csv(CsvOptions),
    /// One JSON document. `rows`: JSONPath (RFC 9535) of the rows; `None`: the document itself, an
    /// array of rows or one row.
    Json {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rows: Option<String>,
    },
    /// One JSON value a line.
    Ndjson,
    Parquet,
}

impl FormatKind {
    /// The usual file extension.
    pub fn extension(&self) -> &'static str {
        match self {
            FormatKind::Csv(_) => "csv",
            FormatKind::Json { .. } => "json",
            FormatKind::Ndjson => "ndjson",
            FormatKind::Parquet => "parquet",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CsvOptions {
    /// One ASCII character.
    pub delimiter: char,
    pub quote: char,
    /// `.` or `,`
    pub decimal: char,
    /// A WHATWG encoding label: `utf-8`, `latin1`, `windows-1252`, …
    pub encoding: String,
    pub header: bool,
    /// strftime pattern of dates, e.g. `%d/%m/%Y`; default ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// strftime pattern of timestamps; default ISO 8601 with `T` or a space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            delimiter: ',',
            quote: '"',
            decimal: '.',
            encoding: "utf-8".into(),
            header: true,
            date: None,
            timestamp: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Zstd,
    /// The members of a zip archive, in the archive's order. `members`: glob over their names.
    Zip {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        members: Option<String>,
    },
}

impl Compression {
    pub fn extension(&self) -> Option<&'static str> {
        match self {
            Compression::None => None,
            Compression::Gzip => Some("gz"),
            Compression::Zstd => Some("zst"),
            Compression::Zip { .. } => Some("zip"),
        }
    }
}

/// A type that a user can ask for in `columns:`. Timestamps are in microseconds, as Delta has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum ColumnType {
    Bool,
    Int,
    Double,
    Decimal {
        precision: u8,
        scale: i8,
    },
    Text,
    Date,
    /// Without a zone: what a clock on the wall shows.
    Timestamp,
    /// An instant, in UTC.
    TimestampTz,
    Binary,
    /// Any JSON value kept as its text.
    Json,
}

impl ColumnType {
    pub const NAMES: &'static [&'static str] = &[
        "bool",
        "int",
        "double",
        "decimal(P,S)",
        "text",
        "date",
        "timestamp",
        "timestamptz",
        "binary",
        "json",
    ];

    pub fn data_type(self) -> DataType {
        match self {
            ColumnType::Bool => DataType::Boolean,
            ColumnType::Int => DataType::Int64,
            ColumnType::Double => DataType::Float64,
            ColumnType::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
            ColumnType::Text | ColumnType::Json => DataType::Utf8,
            ColumnType::Date => DataType::Date32,
            ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            ColumnType::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ColumnType::Binary => DataType::Binary,
        }
    }
}

impl From<ColumnType> for String {
    fn from(t: ColumnType) -> String {
        match t {
            ColumnType::Bool => "bool".into(),
            ColumnType::Int => "int".into(),
            ColumnType::Double => "double".into(),
            ColumnType::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
            ColumnType::Text => "text".into(),
            ColumnType::Date => "date".into(),
            ColumnType::Timestamp => "timestamp".into(),
            ColumnType::TimestampTz => "timestamptz".into(),
            ColumnType::Binary => "binary".into(),
            ColumnType::Json => "json".into(),
        }
    }
}

impl TryFrom<String> for ColumnType {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        let lower = text.trim().to_ascii_lowercase();
        Ok(match lower.as_str() {
            "bool" | "boolean" => ColumnType::Bool,
            "int" | "bigint" | "integer" => ColumnType::Int,
            "double" | "float" => ColumnType::Double,
            "text" | "string" | "varchar" => ColumnType::Text,
            "date" => ColumnType::Date,
            "timestamp" => ColumnType::Timestamp,
            "timestamptz" => ColumnType::TimestampTz,
            "binary" => ColumnType::Binary,
            "json" => ColumnType::Json,
            other => {
                let decimal = other
                    .strip_prefix("decimal(")
                    .and_then(|rest| rest.strip_suffix(')'))
                    .and_then(|args| args.split_once(','))
                    .and_then(|(p, s)| Some((p.trim().parse::<u8>().ok()?, s.trim().parse::<i8>().ok()?)))
                    .filter(|(p, s)| (1..=38).contains(p) && *s >= 0 && *s <= *p as i8);
                match decimal {
                    Some((precision, scale)) => ColumnType::Decimal { precision, scale },
                    None => {
                        return Err(Error::new(codes::CONFIG, format!("`{text}` is not a column type"))
                            .hint(format!("the types are {}", Self::NAMES.join(", "))));
                    }
                }
            }
        })
    }
}
