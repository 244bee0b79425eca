//! What a source hands over: raw files, the rows in them that cannot be used, and how far it has read.

use std::{pin::Pin, sync::Arc};

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
};
use chrono::{DateTime, Utc};
use futures::Stream;
use serde::{Deserialize, Serialize};

use crate::{Body, Format, JsonText, Result};

/// A stream of record batches with its schema known beforehand.
pub struct Batches {
    pub schema: SchemaRef,
    pub stream: Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>,
}

/// How far a source has been read. Only the connector that made it looks inside.
pub type Position = JsonText;

/// How the rows of a load stand to those of the loads before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// All that the source has now: the earlier loads are history.
    Snapshot,
    /// New or changed files: each takes the place of the earlier file with the same `origin.url`.
    Files,
    /// Rows that no earlier load has.
    Increment,
    /// All that the source has within a window of time: it takes the place of what was loaded of it before.
    Window,
}

/// One raw file, checked, and what was found in it.
#[derive(Debug)]
pub struct Chunk {
    pub file: RawFile,
    /// Rows that cannot be decoded or do not fit an asked type. `rows + rejects.len()` is what came in.
    pub rejects: Vec<Reject>,
    pub notes: Vec<Note>,
    pub drift: Drift,
}

/// What a file holds whatever its columns are read as, to be compared with what was known.
#[derive(Debug, Clone)]
pub struct Drift {
    /// The columns as the file itself has them, without asked types and those of earlier loads;
    /// [`arrow::datatypes::DataType::Null`] where every value is null.
    pub found: SchemaRef,
    /// The file says of which types its columns are; else `found` is what their values look like.
    pub declared: bool,
    /// What was left out.
    pub discarded: Vec<Discarded>,
}

impl Default for Drift {
    fn default() -> Self {
        Self { found: Arc::new(Schema::empty()), declared: false, discarded: Vec::new() }
    }
}

/// Values that were left out of the rows of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discarded {
    /// With the objects it is in: `location.lat`.
    pub column: String,
    pub values: u64,
}

#[derive(Debug)]
pub struct RawFile {
    pub body: Body,
    /// Set for a file that stays where it is; `body` is then not copied.
    pub in_place: Option<InPlace>,
    /// With compression: `json`, `csv.gz`, `parquet`.
    pub extension: String,
    pub format: Format,
    /// Columns of the rows in this file.
    pub schema: SchemaRef,
    /// Rows that can be used; `None` when an `in_place` file was only sampled.
    pub rows: Option<u64>,
    pub bytes: u64,
    /// Hex; `None` for `in_place`.
    pub sha256: Option<String>,
    pub origin: Origin,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InPlace {
    /// Absolute path or URL.
    pub url: String,
    /// What tells this content from another: ETag, or size and modification time.
    pub fingerprint: String,
}

/// Where a file came from, fit to be shown and stored: no secret is in it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Origin {
    pub url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched_at: Option<DateTime<Utc>>,
    /// Fields removed before the bytes were stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redacted: Vec<String>,
}

/// A row that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// Place in its file, from 1.
    pub row: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    pub reason: String,
    /// The row as text (the value, where only a value is known), cut at [`Reject::VALUE_BYTES_MAX`].
    pub value: String,
}

impl Reject {
    pub const VALUE_BYTES_MAX: usize = 64 * 1024;

    pub fn new(row: u64, column: Option<String>, reason: impl Into<String>, value: &str) -> Self {
        let mut end = value.len().min(Self::VALUE_BYTES_MAX);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        Self { row, column, reason: reason.into(), value: value[..end].to_owned() }
    }
}

/// Something a person should know about a load that is not an error: zero dates made null, no rows, drift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note(pub String);
