//! The rows of a file, whatever its format, one after the other with their numbers.

use std::{ops::Range, sync::Arc};

use lagar_flow::{Body, Compression, Error, Format, FormatKind, Note, Result};

use super::{
    csv::{self, Record},
    input::Members,
    json,
    window::Window,
};

/// One row as it stands in the file.
pub(super) enum Row<'a> {
    Json(&'a [u8]),
    Csv(Record<'a>),
}

impl Row<'_> {
    /// Its length in the file, in bytes.
    pub fn len(&self) -> usize {
        match self {
            Row::Json(bytes) => bytes.len(),
            Row::Csv(record) => record.raw().len(),
        }
    }

    /// The row for people; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        let bytes = match self {
            Row::Json(bytes) => bytes,
            Row::Csv(record) => record.raw(),
        };
        String::from_utf8_lossy(bytes).into_owned()
    }
}

/// The rows of one file or member.
pub(super) trait Rows: Send {
    /// Goes to the next row; `false` after the last.
    fn advance(&mut self) -> Result<bool>;
    /// The row that [`Rows::advance`] went to.
    fn row(&self) -> Row<'_>;
    /// Where it starts, in decompressed bytes.
    fn offset(&self) -> u64;
    /// The names of the columns, where the file lists them.
    fn header(&self) -> Option<&Arc<[String]>> {
        None
    }
    /// What a person should know about what was read so far.
    fn notes(&mut self) -> Vec<Note> {
        Vec::new()
    }
}

/// Goes through the rows of all members; rows are numbered on from one member to the next.
pub(super) struct Cursor {
    format: Format,
    members: Members,
    member: Option<(Option<String>, Box<dyn Rows>)>,
    /// Rows that start at or after this byte are not read.
    until: u64,
    /// Bytes in the members before this one.
    before: u64,
    start: u64,
    number: u64,
    cut: bool,
    /// Of all members so far.
    pub headers: Vec<Arc<[String]>>,
    pub notes: Vec<Note>,
}

impl Cursor {
    /// `range`: only the rows that start in it (for sampling and for NDJSON).
    pub fn open(body: &Body, format: &Format, max_bytes: u64, range: Range<u64>) -> Result<Self> {
        if range.start > 0 && !(format.kind == FormatKind::Ndjson && format.compression == Compression::None)
        {
            return Err(Error::bug("only NDJSON without compression can be read from the middle"));
        }
        Ok(Self {
            format: format.clone(),
            members: Members::open(body, &format.compression, max_bytes, range.start.saturating_sub(1))?,
            member: None,
            until: range.end,
            before: 0,
            start: range.start,
            number: 0,
            cut: false,
            headers: Vec::new(),
            notes: Vec::new(),
        })
    }

    pub fn advance(&mut self) -> Result<bool> {
        loop {
            if self.member.is_none() {
                let Some(next) = self.members.advance()? else { return Ok(false) };
                let rows =
                    open_rows(&self.format, next.reader, self.start).map_err(|e| named(e, &next.name))?;
                self.headers.extend(rows.header().cloned());
                self.member = Some((next.name, rows));
            }
            let Some((name, rows)) = &mut self.member else { continue };
            if rows.advance().map_err(|e| named(e, name))? {
                if self.before + rows.offset() >= self.until {
                    self.cut = true;
                    self.notes.extend(rows.notes());
                    return Ok(false);
                }
                self.number += 1;
                return Ok(true);
            }
            self.before += rows.offset();
            self.notes.extend(rows.notes());
            self.member = None;
        }
    }

    pub fn row(&self) -> Row<'_> {
        match &self.member {
            Some((_, rows)) => rows.row(),
            None => Row::Json(b""),
        }
    }

    /// Of the row, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether there were rows behind the range.
    pub fn was_cut(&self) -> bool {
        self.cut
    }
}

fn named(error: Error, member: &Option<String>) -> Error {
    match member {
        Some(name) => error.context(format!("member `{name}`")),
        None => error,
    }
}

fn open_rows(format: &Format, reader: super::input::Reader, start: u64) -> Result<Box<dyn Rows>> {
    Ok(match &format.kind {
        FormatKind::Csv(options) => Box::new(csv::Records::open(reader, options)?),
        FormatKind::Ndjson => {
            Box::new(json::Lines::open(Window::new(reader, start.saturating_sub(1)), start > 0)?)
        }
        FormatKind::Json { rows: None } => Box::new(json::Document::open(Window::new(reader, 0))?),
        FormatKind::Json { rows: Some(path) } if path.trim() == "$" => {
            Box::new(json::Document::open(Window::new(reader, 0))?)
        }
        FormatKind::Json { rows: Some(path) } => Box::new(json::Selected::open(reader, path)?),
        FormatKind::Parquet => return Err(Error::bug("Parquet is not read row by row")),
    })
}
