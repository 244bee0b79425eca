//! Where the rows of a read go: checked, hashed, and put into files.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use arrow::datatypes::SchemaRef;
use futures::{Stream, TryStreamExt};
use lagar_flow::{
    Body, Chunk, Discarded, Drift, Error, Format, FormatKind, Misfits, Note, Origin, RawFile, Reject, Result,
    codes,
};

use super::{
    cursor::Boundary,
    error::Failure,
    files::{Batch, OpenFile},
    fit::fit,
    plan::Plan,
    value::{ContentHash, Value, hex, row_hash, row_json},
};
use crate::{Chunks, Cx, decode::NewColumns, spool::blocking};

const BATCH_ROWS_MAX: usize = 8192;
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Rejected rows are kept in memory until their file is handed over.
const REJECTS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What tells the rows of this read from those of earlier ones.
pub(super) enum Memory {
    /// The whole table each time.
    Content(ContentHash),
    /// Only what is new.
    Cursor(Box<Boundary>),
}

/// How a sink writes.
pub(super) struct SinkOptions {
    pub(super) origin: Origin,
    /// Rows of a file.
    pub(super) rows_max: u64,
    /// Keep the files until [`Sink::hand_over`], because it may turn out that nothing is new.
    pub(super) hold: bool,
    pub(super) timeout: Duration,
}

pub(super) struct Sink<'a> {
    cx: &'a Cx,
    out: &'a Chunks,
    plan: &'a Plan,
    options: SinkOptions,
    pub(super) memory: Memory,
    batch: Batch,
    file: Option<OpenFile>,
    /// Rows of the current file, those in `batch` and the rejected ones included.
    file_rows: u64,
    rejects: Vec<Reject>,
    rejects_bytes: usize,
    zero_dates: Vec<u64>,
    /// Values that the rows of the current file leave out, by column.
    discarded: Vec<u64>,
    held: Vec<Chunk>,
    files: u64,
    /// Rows that were written, the rejected ones included.
    pub(super) rows: u64,
}

impl<'a> Sink<'a> {
    pub(super) fn new(
        cx: &'a Cx,
        out: &'a Chunks,
        plan: &'a Plan,
        memory: Memory,
        options: SinkOptions,
    ) -> Result<Self> {
        Ok(Self {
            cx,
            out,
            plan,
            options,
            memory,
            batch: Batch::new(plan.schema.clone())?,
            file: None,
            file_rows: 0,
            rejects: Vec::new(),
            rejects_bytes: 0,
            zero_dates: vec![0; plan.columns.len()],
            discarded: vec![0; plan.columns.len()],
            held: Vec::new(),
            files: 0,
            rows: 0,
        })
    }

    /// Takes all rows of `rows`.
    pub(super) async fn drain<R: Send>(
        &mut self,
        mut rows: Pin<Box<dyn Stream<Item = Result<R, sqlx::Error>> + Send + '_>>,
        decoder: &impl RowDecoder<R>,
    ) -> Result<(), Failure> {
        let timeout = self.options.timeout;
        while let Some(row) = wait(self.cx, timeout, rows.try_next()).await? {
            self.push(&decoder.decode(&row)?)?;
            drop(row);
            if self.is_full() {
                self.flush().await?;
            }
        }
        Ok(())
    }

    fn push(&mut self, values: &[Value<'_>]) -> Result<()> {
        let hash = row_hash(values.iter());
        match &mut self.memory {
            Memory::Content(content) => content.add(&hash),
            Memory::Cursor(boundary) => {
                let hash = short(&hash);
                let seen = match boundary.seen_columns() {
                    None => hash.clone(),
                    Some(columns) => short(&row_hash(columns.iter().map(|index| &values[*index]))),
                };
                if !boundary.is_new(&values[boundary.index], hash, &seen)? {
                    return Ok(());
                }
            }
        }
        self.rows += 1;
        self.file_rows += 1;
        let mut misfit: Option<(usize, String)> = None;
        for (index, (value, column)) in values.iter().zip(&self.plan.columns).enumerate() {
            match fit(value, &column.target) {
                Ok(fitting) => {
                    if *value == Value::ZeroDate && fitting == Value::Null {
                        self.zero_dates[index] += 1;
                    }
                    if column.is_left_out && fitting != Value::Null {
                        match self.cx.new_columns() {
                            NewColumns::RejectRow => {
                                misfit.get_or_insert((index, "a new column".to_owned()));
                            }
                            _ => self.discarded[index] += 1,
                        }
                    }
                    self.batch.push(index, &fitting);
                }
                Err(reason) => {
                    self.batch.push(index, &Value::Null);
                    match self.cx.misfits() {
                        Misfits::Reject => {
                            misfit.get_or_insert((index, reason));
                        }
                        Misfits::Null => self.discarded[index] += 1,
                    }
                }
            }
        }
        self.batch.rows += 1;
        match misfit {
            Some((index, reason)) => self.reject(values, index, reason),
            None => Ok(()),
        }
    }

    /// The row stays in the file, with null in place of what does not fit: a rejected row has a place there.
    fn reject(&mut self, values: &[Value<'_>], index: usize, reason: String) -> Result<()> {
        let names = self.plan.columns.iter().map(|column| column.described.name.as_str());
        let row = row_json(names, values);
        let column = self.plan.columns[index].described.name.clone();
        let reject = Reject::new(self.file_rows, Some(column), reason, &row);
        self.rejects_bytes += reject.value.len() + reject.reason.len();
        self.rejects.push(reject);
        if self.rejects_bytes > REJECTS_BYTES_MAX {
            let first = &self.rejects[0];
            return Err(Error::new(
                codes::REJECTED,
                format!(
                    "more than {} MiB of rows do not fit; the first: column `{}` is {}",
                    REJECTS_BYTES_MAX >> 20,
                    first.column.as_deref().unwrap_or_default(),
                    first.reason
                ),
            )
            .hint("ask for another type of the column in `columns:`"));
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.batch.rows >= BATCH_ROWS_MAX
            || self.batch.bytes >= BATCH_BYTES_MAX
            || self.file_rows >= self.options.rows_max
    }

    async fn flush(&mut self) -> Result<()> {
        self.cx.check_cancelled()?;
        if self.batch.rows > 0 {
            let batch = self.batch.take()?;
            let (file, folder) = (self.file.take(), self.cx.spool_dir.clone());
            let schema = self.plan.schema.clone();
            let file = blocking(move || {
                let mut file = match file {
                    Some(file) => file,
                    None => OpenFile::create(&folder, schema)?,
                };
                file.write(&batch)?;
                Ok(file)
            })
            .await?;
            self.file = Some(file);
        }
        let size = self.file.as_ref().map_or(0, OpenFile::size);
        if self.file_rows >= self.options.rows_max || size >= FILE_BYTES_MAX {
            self.finish_file().await?;
        }
        Ok(())
    }

    async fn finish_file(&mut self) -> Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let file = blocking(move || file.finish()).await?;
        let rejects = std::mem::take(&mut self.rejects);
        let rows = std::mem::take(&mut self.file_rows);
        let discarded = self.take_discarded();
        let chunk = Chunk {
            file: RawFile {
                body: Body::Temp(Arc::new(file.path)),
                in_place: None,
                extension: FormatKind::Parquet.extension().to_owned(),
                format: Format {
                    kind: FormatKind::Parquet,
                    compression: Default::default(),
                    columns: Default::default(),
                    misfits: self.cx.misfits(),
                },
                schema: SchemaRef::clone(&self.plan.read),
                rows: Some(rows - rejects.len() as u64),
                bytes: file.bytes,
                sha256: Some(file.sha256),
                origin: Origin { fetched_at: Some(self.cx.clock.now()), ..self.options.origin.clone() },
            },
            rejects,
            notes: Vec::new(),
            drift: Drift { found: SchemaRef::clone(&self.plan.found), declared: true, discarded },
        };
        self.files += 1;
        if self.options.hold {
            self.held.push(chunk);
            return Ok(());
        }
        self.rejects_bytes = 0;
        self.out.send(chunk).await
    }

    fn take_discarded(&mut self) -> Vec<Discarded> {
        let counts = self.discarded.iter_mut().map(std::mem::take).zip(&self.plan.columns);
        let some = counts.filter(|(values, _)| *values > 0);
        some.map(|(values, column)| Discarded { column: column.described.name.clone(), values }).collect()
    }

    /// Completes the last file. With `even_empty` there is at least one, so that the columns are known.
    pub(super) async fn finish(&mut self, even_empty: bool) -> Result<()> {
        self.flush().await?;
        if even_empty && self.files == 0 && self.file.is_none() {
            let (folder, schema) = (self.cx.spool_dir.clone(), self.plan.schema.clone());
            self.file = Some(blocking(move || OpenFile::create(&folder, schema)).await?);
        }
        self.finish_file().await
    }

    /// Hands over what was held.
    pub(super) async fn hand_over(&mut self) -> Result<()> {
        for chunk in std::mem::take(&mut self.held) {
            self.out.send(chunk).await?;
        }
        Ok(())
    }

    /// What a person should know about the rows.
    pub(super) fn notes(&self) -> Vec<Note> {
        self.zero_dates
            .iter()
            .zip(&self.plan.columns)
            .filter(|(count, _)| **count > 0)
            .map(|(count, column)| {
                Note(format!("`{}`: {count} zero dates (0000-00-00) became null", column.described.name))
            })
            .collect()
    }
}

/// Reads the values out of a driver's row.
pub(super) trait RowDecoder<R>: Sync {
    fn decode<'r>(&self, row: &'r R) -> Result<Vec<Value<'r>>, sqlx::Error>;
}

/// Waits for the database, but not for ever and not after the run was asked to stop.
pub(super) async fn wait<T, E: Into<Failure>>(
    cx: &Cx,
    timeout: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        () = cx.cancel.cancelled() => Err(Error::new(codes::STOPPED, "stopped").into()),
        answer = tokio::time::timeout(timeout, answer) => match answer {
            Ok(answer) => answer.map_err(Into::into),
            Err(_) => Err(Error::new(
                codes::DEADLINE,
                format!("the database did not answer for {} seconds", timeout.as_secs_f64()),
            )
            .hint("a longer `timeout: {statement: …}` waits longer")
            .into()),
        },
    }
}

/// Half of the hash is enough to tell the rows at a boundary apart.
fn short(hash: &[u8; 32]) -> String {
    hex(&hash[..16])
}
