//! From the bytes of a raw file to rows. Pure: no network, no clock, not async.
//!
//! A file is read twice: [`inspect`] when it lands, to find its columns, count its rows and find those
//! that cannot be used; [`read`] whenever SQL asks. Both run the same code over the same bytes, so
//! what the first pass promised the second keeps.
//!
//! ```text
//! input (decompression, archives, limit) → window → csv | json (rows) → infer | columns
//!                                        → parquet
//! ```

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::{Schema, SchemaRef},
};
use lagar_flow::{
    Body, Compression, Discarded, Drift, Error, Format, FormatKind, Note, Reject, Result, codes,
};

mod checked;
mod columns;
mod csv;
mod infer;
mod input;
mod json;
mod keys;
mod parquet;
mod path;
mod rows;
mod scan;
#[cfg(test)]
mod tests;
mod value;
mod window;

pub(crate) use path::{has_empty_list, parse as parse_json_path, selected};

pub use checked::read_checked;
use columns::{Group, Problem, Rules, Strangers};
use infer::Inference;
use rows::{Cursor, Row};
use value::Parse;

/// A batch ends when the rows in it were this long in the file: several are in flight at once, in each of
/// some copies, so this decides most of a scan's memory. (It also keeps a column of text far from the
/// 2 GiB that 32-bit offsets can reach.)
const BATCH_BYTES_MAX: u64 = 4 << 20;

/// The texts of all rejected rows of a file together; what is over is left out.
const REJECTED_BYTES_MAX: usize = 64 << 20;

/// More rejected rows than this end the file: it has another shape than it should, and each takes memory.
const REJECTED_ROWS_MAX: usize = 200_000;

/// What a first pass may use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Of the whole file, after decompression.
    pub max_bytes: u64,
    pub batch_rows: usize,
    /// Infer from the rows that start in the first so many bytes only.
    pub sample_bytes: Option<u64>,
    pub new_columns: NewColumns,
}

/// What becomes of columns and nested fields that are neither known nor asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NewColumns {
    /// They are columns from now on, and integers widen to doubles.
    #[default]
    Take,
    /// Rows with a value in them are rejected.
    RejectRow,
    /// They are left out, and their values counted.
    LeaveOut,
}

impl NewColumns {
    fn strangers(self) -> Strangers {
        match self {
            NewColumns::Take => Strangers::Skip,
            NewColumns::RejectRow => Strangers::Reject,
            NewColumns::LeaveOut => Strangers::Count,
        }
    }
}

/// What the first pass found.
#[derive(Debug)]
pub struct Inspected {
    /// The columns of the rows in this file; everything is nullable.
    pub schema: SchemaRef,
    /// Rows that can be used; `None` if only a part of the file was looked at.
    pub rows: Option<u64>,
    pub rejects: Vec<Reject>,
    pub notes: Vec<Note>,
    /// There is not one row, good or bad.
    pub empty: bool,
    pub drift: Drift,
}

/// How a file is read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    pub batch_rows: usize,
    /// Numbers of rows known to be rejected, ascending. They are not looked at.
    pub skip: Arc<[u64]>,
    /// Numbers of the only rows to look at, ascending; `None`: all.
    pub only: Option<Arc<[u64]>>,
    /// Only the rows that start in these bytes. Only for NDJSON without compression, and without `skip`,
    /// `only` and `row_numbers` unless it begins at 0: nobody knows how many rows are before it.
    pub range: Option<Range<u64>>,
    pub row_numbers: bool,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { batch_rows: 8192, skip: Arc::new([]), only: None, range: None, row_numbers: false }
    }
}

/// Rows of a file.
#[derive(Debug)]
pub struct Decoded {
    /// Exactly the columns asked for, in their order; those that the file does not have are null.
    pub batch: RecordBatch,
    /// The place of each row in the file, from 1, if asked for. Rejected rows are counted too.
    pub rows: Option<Vec<u64>>,
    /// Rows that do not fit and were not in `skip`.
    pub rejects: Vec<Reject>,
}

/// The rows of a file, batch by batch. After an error nothing more comes.
pub type DecodedBatches = Box<dyn Iterator<Item = Result<Decoded>> + Send>;

/// First pass over a file: finds the columns (the types in `format.columns` win, then those of
/// `known`, then what the values look like), counts the rows and finds those that cannot be used.
///
/// Errors: `DECODE` for a file that is not in its format or damaged, `TOO_LARGE` beyond
/// `limits.max_bytes`, `CONFIG` for options that cannot be, `SOURCE_IO` if it cannot be read.
pub fn inspect(body: &Body, format: &Format, known: Option<&Schema>, limits: &Limits) -> Result<Inspected> {
    if format.kind == FormatKind::Parquet {
        return parquet::inspect(body, format, known, limits);
    }
    let range = 0..limits.sample_bytes.unwrap_or(u64::MAX);
    let mut cursor = Cursor::open(body, format, limits.max_bytes, range.clone())?;
    let mut inference = Inference::new(parse_of(format)?, known);
    let mut rejects = Rejects::default();
    while cursor.advance()? {
        let row = cursor.row();
        if let Err(problem) = inference.observe(&row)? {
            rejects.add(cursor.number(), problem, || row.text());
            refuse_too_many(&rejects.list)?;
        }
    }
    for header in &cursor.headers {
        inference.learn_header(header);
    }
    let counted = cursor.number();
    // What is not in a sample may come later in the file.
    let found = inference.found(&format.columns, limits.new_columns, !cursor.was_cut() && counted > 0);
    let mut discarded = Vec::new();
    if found.strangers || !found.doubtful.fields().is_empty() {
        // The same pass as a later read makes, over the columns whose values must be tried. Only beside
        // all columns it shows what is none.
        let (schema, strangers) = match found.strangers {
            true => (found.schema.clone(), limits.new_columns.strangers()),
            false => (found.doubtful, Strangers::Skip),
        };
        let cursor = Cursor::open(body, format, limits.max_bytes, range)?;
        let options = ReadOptions { batch_rows: limits.batch_rows, ..ReadOptions::default() };
        rejects = Rejects::default();
        let mut rows = RowReader::new(cursor, format, Arc::new(schema), options, strangers)?;
        for decoded in &mut rows {
            rejects.list.extend(decoded?.rejects);
            refuse_too_many(&rejects.list)?;
        }
        discarded = rows.discarded();
    }
    let mut notes = std::mem::take(&mut cursor.notes);
    notes.extend(found.notes);
    Ok(Inspected {
        schema: Arc::new(found.schema),
        rows: (!cursor.was_cut()).then(|| counted.saturating_sub(rejects.list.len() as u64)),
        empty: counted == 0,
        rejects: rejects.list,
        notes,
        drift: Drift { found: Arc::new(found.present), declared: false, discarded },
    })
}

/// Second pass: the rows again, only the columns of `schema` (some of those that [`inspect`] found, or
/// more). Fails at once for what is wrong with the request or the start of the file, later as
/// [`inspect`] does.
pub fn read(body: &Body, format: &Format, schema: SchemaRef, options: ReadOptions) -> Result<DecodedBatches> {
    if let Some(range) = &options.range {
        let plain = format.kind == FormatKind::Ndjson && format.compression == Compression::None;
        let numbered = options.row_numbers || options.only.is_some() || !options.skip.is_empty();
        if !plain || (range.start > 0 && numbered) {
            return Err(Error::bug("a byte range was asked of a file that cannot be read by ranges"));
        }
    }
    if format.kind == FormatKind::Parquet {
        return parquet::read(body, format, schema, options);
    }
    let range = options.range.clone().unwrap_or(0..u64::MAX);
    let cursor = Cursor::open(body, format, u64::MAX, range)?;
    let mut rows = RowReader::new(cursor, format, schema, options, Strangers::Skip)?;
    rows.parse.knows_nan = true;
    Ok(Box::new(rows))
}

/// Shows `see` each row of a text file as it is written there.
pub(crate) fn rows(body: &Body, format: &Format, mut see: impl FnMut(&[u8])) -> Result<()> {
    let mut cursor = Cursor::open(body, format, u64::MAX, 0..u64::MAX)?;
    while cursor.advance()? {
        match cursor.row() {
            Row::Json(bytes) => see(bytes),
            Row::Csv(record) => see(record.raw()),
        }
    }
    Ok(())
}

fn parse_of(format: &Format) -> Result<Parse> {
    match &format.kind {
        FormatKind::Csv(options) => Parse::of(options),
        _ => Ok(Parse::default()),
    }
}

fn refuse_too_many(rejects: &[Reject]) -> Result<()> {
    match rejects.first() {
        Some(first) if rejects.len() > REJECTED_ROWS_MAX => Err(Error::new(
            codes::DECODE,
            format!("more than {REJECTED_ROWS_MAX} rows cannot be used; row {}: {}", first.row, first.reason),
        )
        .hint("the file has another shape than the source says: check `format`, `rows` and `columns`")),
        _ => Ok(()),
    }
}

/// Rejected rows, with a limit on their texts.
#[derive(Default)]
struct Rejects {
    list: Vec<Reject>,
    bytes: usize,
}

impl Rejects {
    fn add(&mut self, row: u64, problem: Problem, text: impl FnOnce() -> String) {
        let text = if self.bytes < REJECTED_BYTES_MAX { text() } else { String::new() };
        let reject = Reject::new(row, problem.column, problem.reason, &text);
        self.bytes += reject.value.len();
        self.list.push(reject);
    }
}

/// Rows of text into batches.
struct RowReader {
    cursor: Cursor,
    group: Group,
    parse: Parse,
    schema: SchemaRef,
    options: ReadOptions,
    /// How many of `options.skip` are behind.
    skipped: usize,
    /// How many of `options.only` are behind.
    taken: usize,
    /// The columns of the CSV fields, for the header they were made for.
    header: Arc<[String]>,
    fields: Vec<Option<usize>>,
    scratch: String,
    rejected_bytes: usize,
    done: bool,
}

impl RowReader {
    fn new(
        cursor: Cursor,
        format: &Format,
        schema: SchemaRef,
        options: ReadOptions,
        strangers: Strangers,
    ) -> Result<Self> {
        let rules = Rules { misfits: format.misfits, strangers };
        Ok(Self {
            cursor,
            group: Group::new(schema.fields(), &format.columns, rules)?,
            parse: parse_of(format)?,
            schema,
            options,
            skipped: 0,
            taken: 0,
            header: Arc::new([]),
            fields: Vec::new(),
            scratch: String::new(),
            rejected_bytes: 0,
            done: false,
        })
    }

    /// What was left out of the rows so far.
    fn discarded(&self) -> Vec<Discarded> {
        self.group.discarded()
    }

    fn next_batch(&mut self) -> Result<Option<Decoded>> {
        let mut rejects = Rejects { list: Vec::new(), bytes: self.rejected_bytes };
        let mut numbers = self.options.row_numbers.then(Vec::new);
        let (mut count, mut bytes) = (0, 0);
        while count < self.options.batch_rows.max(1) && bytes < BATCH_BYTES_MAX {
            if !self.cursor.advance()? {
                self.done = true;
                break;
            }
            let number = self.cursor.number();
            if self.options.skip.get(self.skipped) == Some(&number) {
                self.skipped += 1;
                continue;
            }
            if let Some(only) = &self.options.only {
                match only.get(self.taken) {
                    Some(next) if *next == number => self.taken += 1,
                    Some(_) => continue,
                    None => {
                        self.done = true;
                        break;
                    }
                }
            }
            let row = self.cursor.row();
            bytes += row.len() as u64;
            let pushed = match &row {
                Row::Json(text) => {
                    infer::utf8(text).and_then(|text| self.group.push_row(text, count, &mut self.scratch))
                }
                Row::Csv(record) => {
                    if !Arc::ptr_eq(&self.header, record.header()) {
                        self.header = record.header().clone();
                        self.fields = self.header.iter().map(|name| self.group.position(name)).collect();
                    }
                    record.fields().and_then(|fields| {
                        let names = self.header.iter().zip(&self.fields);
                        push_fields(&mut self.group, fields.zip(names), count, &self.parse)
                    })
                }
            };
            match pushed {
                Ok(()) => {
                    count += 1;
                    numbers.as_mut().into_iter().for_each(|numbers| numbers.push(number));
                }
                Err(problem) => {
                    self.group.truncate(count);
                    rejects.add(number, problem, || row.text());
                    refuse_too_many(&rejects.list)?;
                }
            }
        }
        self.rejected_bytes = rejects.bytes;
        if count == 0 && rejects.list.is_empty() {
            return Ok(None);
        }
        let batch = batch_of(&self.schema, self.group.finish()?, count)?;
        Ok(Some(Decoded { batch, rows: numbers, rejects: rejects.list }))
    }
}

impl Iterator for RowReader {
    type Item = Result<Decoded>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let batch = self.next_batch();
        self.done |= batch.is_err();
        batch.transpose()
    }
}

fn push_fields<'a>(
    group: &mut Group,
    fields: impl Iterator<Item = (Option<&'a str>, (&'a String, &'a Option<usize>))>,
    row: usize,
    parse: &Parse,
) -> std::result::Result<(), Problem> {
    for (field, (name, column)) in fields {
        match (field, column) {
            (Some(text), Some(column)) => group.columns[*column].push_field(text, parse)?,
            (Some(_), None) => group.stranger(name, row)?,
            (None, _) => {}
        }
    }
    group.fill(row);
    Ok(())
}

fn batch_of(schema: &SchemaRef, arrays: Vec<arrow::array::ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), arrays, &options).map_err(|e| {
        Error::new(codes::DECODE, "the rows do not fit the columns that were asked for").caused_by(&e)
    })
}
