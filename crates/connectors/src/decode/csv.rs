//! Rows of CSV: records cut out strictly, so that a stray quote cannot swallow its neighbours unseen.

use std::{
    collections::HashSet,
    io::{self, Read},
    ops::Range,
    sync::Arc,
};

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8};
use lagar_flow::{CsvOptions, Error, Note, Result, codes};
use memchr::{memchr, memchr3};

use super::{
    columns::Problem,
    input::{Reader, chain, read_error},
    rows::{Row, Rows},
    window::Window,
};

/// The bytes that give a CSV its shape.
#[derive(Debug, Clone, Copy)]
struct Shape {
    delimiter: u8,
    quote: u8,
}

pub(super) struct Records {
    window: Window,
    shape: Shape,
    encoding: &'static Encoding,
    fields: Vec<Field>,
    /// Fields whose text does not stand in the file as it is (doubled quotes).
    scratch: Vec<u8>,
    /// The record without its line end.
    len: usize,
    /// The record with its line end.
    taken: usize,
    fault: Option<&'static str>,
    header: Option<Arc<[String]>>,
    /// The first record is a row, its fields are read already.
    held: bool,
    notes: Vec<Note>,
}

#[derive(Debug, Clone)]
struct Field {
    text: Range<usize>,
    in_scratch: bool,
}

/// A record and the names of its columns.
#[derive(Clone, Copy)]
pub(super) struct Record<'a>(&'a Records);

impl<'a> Record<'a> {
    pub fn raw(&self) -> &'a [u8] {
        &self.0.window.bytes()[..self.0.len]
    }

    pub fn header(&self) -> &'a Arc<[String]> {
        static NONE: std::sync::LazyLock<Arc<[String]>> = std::sync::LazyLock::new(|| Arc::new([]));
        self.0.header.as_ref().unwrap_or(&NONE)
    }

    /// The fields, one for each name of the header; an empty one is `None`.
    pub fn fields(&self) -> std::result::Result<impl Iterator<Item = Option<&'a str>>, Problem> {
        let records = self.0;
        if let Some(fault) = records.fault {
            return Err(Problem::row(fault));
        }
        let (raw, scratch) = (records.utf8(self.raw())?, records.utf8(&records.scratch)?);
        let (fields, wanted) = (&records.fields, self.header().len());
        if fields.len() != wanted {
            return Err(Problem::row(format!(
                "has {}, the header has {wanted}",
                if fields.len() == 1 { "1 field".to_owned() } else { format!("{} fields", fields.len()) },
            )));
        }
        Ok(fields.iter().map(move |field| {
            let text = if field.in_scratch { scratch } else { raw };
            text.get(field.text.clone()).filter(|text| !text.is_empty())
        }))
    }
}

impl Records {
    pub fn open(reader: Reader, options: &CsvOptions) -> Result<Self> {
        let shape = Shape {
            delimiter: ascii(options.delimiter, "delimiter")?,
            quote: ascii(options.quote, "quote")?,
        };
        let asked = Encoding::for_label(options.encoding.as_bytes()).ok_or_else(|| {
            Error::new(codes::CONFIG, format!("`{}` is not a text encoding", options.encoding))
                .hint("for example utf-8, latin1, windows-1252, utf-16le, shift_jis")
        })?;
        let (reader, encoding) = decoded(reader, asked)?;
        let mut records = Self {
            window: Window::new(reader, 0),
            shape,
            encoding,
            fields: Vec::new(),
            scratch: Vec::new(),
            len: 0,
            taken: 0,
            fault: None,
            header: None,
            held: false,
            notes: Vec::new(),
        };
        if encoding != asked {
            let note = format!(
                "the file says by its first bytes that it is {}, not {}",
                encoding.name(),
                asked.name()
            );
            records.notes.push(Note(note));
        }
        records.window.peek_text()?;
        records.window.refuse_html("CSV")?;
        if records.next_record()? {
            records.read_header(options.header)?;
        }
        Ok(records)
    }

    fn read_header(&mut self, named: bool) -> Result<()> {
        if !named {
            self.header = Some((1..=self.fields.len()).map(column_name).collect());
            self.held = true;
            return Ok(());
        }
        let bad = |reason: &str| Error::new(codes::DECODE, format!("the header of the CSV {reason}"));
        if let Some(fault) = self.fault {
            return Err(bad(fault));
        }
        let (raw, scratch) = (self.utf8(&self.window.bytes()[..self.len]), self.utf8(&self.scratch));
        let (raw, scratch) = (raw.map_err(|p| bad(&p.reason))?, scratch.map_err(|p| bad(&p.reason))?);
        let names = self.fields.iter().map(|field| {
            let text = if field.in_scratch { scratch } else { raw };
            text.get(field.text.clone()).unwrap_or_default().trim().to_owned()
        });
        let (names, notes) = unique(names.collect());
        self.header = Some(names.into());
        self.notes.extend(notes);
        Ok(())
    }

    /// Reads the next record that is not an empty line; `false` at the end.
    fn next_record(&mut self) -> Result<bool> {
        let mut at_end = false;
        loop {
            self.window.consume(std::mem::take(&mut self.taken));
            self.fault = None;
            let bytes = self.window.bytes();
            if at_end && bytes.is_empty() {
                self.len = 0;
                self.fields.clear();
                return Ok(false);
            }
            match cut(bytes, at_end, self.shape, &mut self.fields, &mut self.scratch) {
                Cut::Record { len, taken } => (self.len, self.taken) = (len, taken),
                Cut::Open if !at_end => {
                    at_end = !self.window.fill_double()?;
                    continue;
                }
                // Only the line is given up, not all that a wrong quote seems to hold together.
                Cut::Open => self.give_up_line("has a quote that is never closed"),
                Cut::Junk => self.give_up_line("has text behind a closing quote"),
            }
            let blank = self.len == 0;
            if !blank {
                return Ok(true);
            }
        }
    }

    fn give_up_line(&mut self, fault: &'static str) {
        let bytes = self.window.bytes();
        self.taken = memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
        self.len = bytes[..self.taken].trim_ascii_end().len();
        self.fault = Some(fault);
    }

    fn utf8<'a>(&self, bytes: &'a [u8]) -> std::result::Result<&'a str, Problem> {
        std::str::from_utf8(bytes).map_err(|e| {
            let at = e.valid_up_to();
            if self.encoding != UTF_8 {
                return Problem::row(format!("byte {} of the row is not {}", at + 1, self.encoding.name()));
            }
            let byte = bytes.get(at).copied().unwrap_or_default();
            Problem::row(format!(
                "byte 0x{byte:02X} at {} is not UTF-8; if the file is in another encoding, say so: `encoding: latin1`",
                at + 1
            ))
        })
    }
}

impl Rows for Records {
    fn advance(&mut self) -> Result<bool> {
        if std::mem::take(&mut self.held) {
            return Ok(true);
        }
        self.next_record()
    }

    fn row(&self) -> Row<'_> {
        Row::Csv(Record(self))
    }

    fn offset(&self) -> u64 {
        self.window.offset()
    }

    fn header(&self) -> Option<&Arc<[String]>> {
        self.header.as_ref()
    }

    fn notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }
}

fn ascii(sign: char, what: &str) -> Result<u8> {
    match u8::try_from(sign) {
        Ok(byte) if byte.is_ascii() && !matches!(byte, b'\r' | b'\n') => Ok(byte),
        _ => Err(Error::new(codes::CONFIG, format!("`{sign}` cannot be the {what} of a CSV"))
            .hint("it is one ASCII character, for example `;` or a tab (\"\\t\")")),
    }
}

fn column_name(number: usize) -> String {
    format!("column_{number}")
}

/// Names for all columns: empty ones get `column_N`, repeated ones `name_2`.
fn unique(names: Vec<String>) -> (Vec<String>, Vec<Note>) {
    let mut taken: HashSet<String> = names.iter().filter(|name| !name.is_empty()).cloned().collect();
    let (mut seen, mut notes, mut result) = (HashSet::new(), Vec::new(), Vec::with_capacity(names.len()));
    for (index, name) in names.into_iter().enumerate() {
        if !name.is_empty() && seen.insert(name.clone()) {
            result.push(name);
            continue;
        }
        let start = if name.is_empty() { column_name(index + 1) } else { format!("{name}_2") };
        let mut free = start;
        let mut number = 2;
        while !taken.insert(free.clone()) {
            number += 1;
            free = if name.is_empty() {
                format!("column_{}_{number}", index + 1)
            } else {
                format!("{name}_{number}")
            };
        }
        notes.push(Note(if name.is_empty() {
            format!("column {} has no name in the header; it is called `{free}`", index + 1)
        } else {
            format!("`{name}` stands more than once in the header; column {} is called `{free}`", index + 1)
        }));
        result.push(free);
    }
    (result, notes)
}

#[derive(Debug, PartialEq, Eq)]
enum Cut {
    Record {
        len: usize,
        taken: usize,
    },
    /// The bytes end before the record does.
    Open,
    /// Something other than a delimiter follows a closing quote.
    Junk,
}

/// Cuts the record at the start of `bytes` into fields. `at_end`: nothing follows `bytes`.
fn cut(bytes: &[u8], at_end: bool, shape: Shape, fields: &mut Vec<Field>, scratch: &mut Vec<u8>) -> Cut {
    fields.clear();
    scratch.clear();
    let Shape { delimiter, quote } = shape;
    let mut at = 0;
    loop {
        let field;
        if bytes.get(at) == Some(&quote) {
            let Some((text, end)) = quoted(bytes, at + 1, at_end, quote, scratch) else { return Cut::Open };
            field = text;
            match bytes.get(end) {
                None if !at_end => return Cut::Open,
                None | Some(b'\n' | b'\r') => {}
                Some(byte) if *byte == delimiter => {}
                Some(_) => return Cut::Junk,
            }
            at = end;
        } else {
            let end = match memchr3(delimiter, b'\n', b'\r', &bytes[at..]) {
                Some(length) => at + length,
                None if at_end => bytes.len(),
                None => return Cut::Open,
            };
            field = Field { text: at..end, in_scratch: false };
            at = end;
        }
        fields.push(field);
        match bytes.get(at) {
            None => return Cut::Record { len: at, taken: at },
            Some(b'\n') => return Cut::Record { len: at, taken: at + 1 },
            Some(b'\r') => match bytes.get(at + 1) {
                Some(b'\n') => return Cut::Record { len: at, taken: at + 2 },
                None if !at_end => return Cut::Open,
                _ => return Cut::Record { len: at, taken: at + 1 },
            },
            Some(_) => at += 1,
        }
    }
}

/// The text of the quoted field that starts at `start`, and the place behind its closing quote.
fn quoted(
    bytes: &[u8],
    start: usize,
    at_end: bool,
    quote: u8,
    scratch: &mut Vec<u8>,
) -> Option<(Field, usize)> {
    let spilled = scratch.len();
    let mut from = start;
    loop {
        let at = from + memchr(quote, &bytes[from..])?;
        match bytes.get(at + 1) {
            Some(byte) if *byte == quote => {
                scratch.extend_from_slice(&bytes[from..=at]);
                from = at + 2;
            }
            None if !at_end => return None,
            _ if from == start => return Some((Field { text: start..at, in_scratch: false }, at + 1)),
            _ => {
                scratch.extend_from_slice(&bytes[from..at]);
                return Some((Field { text: spilled..scratch.len(), in_scratch: true }, at + 1));
            }
        }
    }
}

/// The text as UTF-8 without its byte order mark. A byte order mark wins over `encoding`.
fn decoded(mut reader: Reader, encoding: &'static Encoding) -> Result<(Reader, &'static Encoding)> {
    let mut start = Vec::new();
    (&mut reader).take(3).read_to_end(&mut start).map_err(read_error)?;
    let encoding = match Encoding::for_bom(&start) {
        Some((marked, length)) => {
            start.drain(..length);
            marked
        }
        None => encoding,
    };
    let reader = chain(start, reader);
    if encoding == UTF_8 {
        return Ok((reader, encoding));
    }
    let decoder = encoding.new_decoder_without_bom_handling();
    Ok((
        Box::new(Transcode {
            reader,
            decoder,
            input: vec![0; 64 * 1024],
            unread: 0..0,
            state: Feed::Reading,
        }),
        encoding,
    ))
}

/// Turns text of any encoding into UTF-8. What is wrong in it becomes a byte that UTF-8 does not have,
/// so that the row is rejected and not silently changed.
struct Transcode {
    reader: Reader,
    decoder: Decoder,
    input: Vec<u8>,
    unread: Range<usize>,
    state: Feed,
}

#[derive(PartialEq, Eq)]
enum Feed {
    Reading,
    Last,
    Done,
}

impl Read for Transcode {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.len() < 16 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the buffer is too small to decode a character",
            ));
        }
        loop {
            if self.unread.is_empty() && self.state == Feed::Reading {
                let read = self.reader.read(&mut self.input)?;
                self.unread = 0..read;
                if read == 0 {
                    self.state = Feed::Last;
                }
            }
            if self.state == Feed::Done {
                return Ok(0);
            }
            let last = self.state == Feed::Last;
            let room = buffer.len() - 1;
            let source = &self.input[self.unread.clone()];
            let (result, read, mut written) =
                self.decoder.decode_to_utf8_without_replacement(source, &mut buffer[..room], last);
            self.unread.start += read;
            match result {
                DecoderResult::Malformed(..) => {
                    buffer[written] = 0xFF;
                    written += 1;
                }
                DecoderResult::InputEmpty if last => self.state = Feed::Done,
                DecoderResult::InputEmpty | DecoderResult::OutputFull => {}
            }
            if written > 0 {
                return Ok(written);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHAPE: Shape = Shape { delimiter: b',', quote: b'"' };

    fn fields_of(text: &str) -> (Cut, Vec<String>) {
        let (mut fields, mut scratch) = (Vec::new(), Vec::new());
        let cut = cut(text.as_bytes(), true, SHAPE, &mut fields, &mut scratch);
        let texts = fields.iter().map(|field| {
            let from = if field.in_scratch { &scratch[..] } else { text.as_bytes() };
            String::from_utf8(from[field.text.clone()].to_vec()).unwrap()
        });
        (cut, texts.collect())
    }

    #[test]
    fn records_are_cut_strictly() {
        for (text, len, taken, fields) in [
            ("a,b\r\nc", 3, 5, vec!["a", "b"]),
            ("\"a,\"\"x\"\"\n\",b", 12, 12, vec!["a,\"x\"\n", "b"]),
            ("a,,\n", 3, 4, vec!["a", "", ""]),
            ("5\" pipe,2\n", 9, 10, vec!["5\" pipe", "2"]),
            ("a\rb", 1, 2, vec!["a"]),
            ("\"\"\n", 2, 3, vec![""]),
        ] {
            assert_eq!(
                fields_of(text),
                (Cut::Record { len, taken }, fields.iter().map(|f| f.to_string()).collect()),
                "{text}"
            );
        }
        assert_eq!(fields_of("\"a\"b,c\n").0, Cut::Junk);
        assert_eq!(fields_of("\"a,b\n").0, Cut::Open);
    }

    #[test]
    fn every_column_gets_its_own_name() {
        let names = |list: &[&str]| unique(list.iter().map(|s| (*s).to_owned()).collect());
        let (got, notes) = names(&["a", "", "a", "a_2", "column_2", "a"]);
        assert_eq!(got, ["a", "column_2_3", "a_3", "a_2", "column_2", "a_4"]);
        assert_eq!(notes.len(), 3);
        assert!(names(&["a", "b"]).1.is_empty());
    }

    proptest! {
        /// However the bytes arrive, a record is the same.
        #[test]
        fn a_record_is_cut_the_same_from_any_prefix(text in "[a,\"\n\r]{0,20}") {
            let (mut fields, mut scratch) = (Vec::new(), Vec::new());
            let whole = cut(text.as_bytes(), true, SHAPE, &mut fields, &mut scratch);
            for end in 0..text.len() {
                match cut(&text.as_bytes()[..end], false, SHAPE, &mut fields, &mut scratch) {
                    Cut::Open => {}
                    early => prop_assert_eq!(&early, &whole, "{:?} cut at {}", text, end),
                }
            }
        }

        /// What a well-tried writer writes, we read.
        #[test]
        fn reads_what_the_csv_crate_writes(fields in prop::collection::vec(any::<String>(), 1..6)) {
            let mut writer = ::csv::WriterBuilder::new().from_writer(Vec::new());
            writer.write_record(&fields).unwrap();
            let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            prop_assert_eq!(fields_of(&text).1, fields);
        }
    }
}
