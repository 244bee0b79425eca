//! From the bytes of one file to a checked [`Chunk`].

use arrow::datatypes::Schema;
use lagar_flow::{Body, Chunk, Error, Format, InPlace, Note, Origin, RawFile, Result};

use super::size_text;
use crate::{Cx, decode};

const BATCH_ROWS: usize = 8192;

/// One file that was read and not yet looked into, or one of the lake to be looked into once more.
pub struct Landing {
    pub body: Body,
    pub in_place: Option<InPlace>,
    pub format: Format,
    pub bytes: u64,
    pub sha256: Option<String>,
    pub origin: Origin,
    /// Limit after decompression.
    pub bytes_max: u64,
    /// Look only at so many first bytes.
    pub sample_bytes: Option<u64>,
}

/// Decodes the file once, outside the async threads, by the types and the policy of `cx`. `known` are the
/// columns so far.
///
/// # Errors
/// As [`decode::inspect`].
pub async fn land(cx: &Cx, landing: Landing, known: Option<&Schema>) -> Result<Chunk> {
    cx.check_cancelled()?;
    let Landing { body, in_place, mut format, bytes, sha256, origin, bytes_max, sample_bytes } = landing;
    format.columns = cx.columns.clone();
    format.misfits = cx.misfits();
    let new_columns = cx.new_columns();
    let limits = decode::Limits { max_bytes: bytes_max, batch_rows: BATCH_ROWS, sample_bytes, new_columns };
    let known = known.cloned();
    let (body, format, inspected) = blocking(move || {
        let inspected = decode::inspect(&body, &format, known.as_ref(), &limits)?;
        Ok((body, format, inspected))
    })
    .await
    .map_err(|error| error.context(&origin.url))?;

    let mut notes = inspected.notes;
    if let (None, Some(sample_bytes)) = (inspected.rows, sample_bytes) {
        notes.push(Note(format!(
            "columns were found in the first {} of {}; a column that begins later is not seen: name it in `columns`",
            size_text(sample_bytes),
            origin.url
        )));
    }
    if inspected.rows == Some(0) && inspected.rejects.is_empty() {
        notes.push(Note(format!("{} has no rows", origin.url)));
    }
    let extension = match format.compression.extension() {
        Some(compression) => format!("{}.{compression}", format.kind.extension()),
        None => format.kind.extension().to_owned(),
    };
    let file = RawFile {
        body,
        in_place,
        extension,
        format,
        schema: inspected.schema,
        rows: inspected.rows,
        bytes,
        sha256,
        origin,
    };
    Ok(Chunk { file, rejects: inspected.rejects, notes, drift: inspected.drift })
}

/// Runs work that reads files or computes for long where it holds up nobody.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::bug("the thread that reads a source ended early").caused_by(&error))?
}
