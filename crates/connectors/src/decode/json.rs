//! Rows of NDJSON, of one JSON document, and of the parts of a document that a JSONPath selects.

use std::{io::Read, ops::Range};

use lagar_flow::{Error, Note, Result, codes};
use memchr::memchr;

use super::{
    input::{Reader, read_error},
    path::{Selection, select},
    rows::{Row, Rows},
    scan::{Extent, Scanner, Syntax, Token, extent},
    window::{Window, preview},
};

/// One JSON value a line.
pub(super) struct Lines {
    window: Window,
    /// The line, without white space around it, in the window.
    line: Range<usize>,
    /// What the line takes up in the window, its end included.
    taken: usize,
}

impl Lines {
    /// `inside`: the window begins in the middle of a line; start after the next line end.
    pub fn open(mut window: Window, inside: bool) -> Result<Self> {
        if inside {
            let skip = line_end(&mut window)?;
            window.consume(skip);
        } else {
            window.skip_bom()?;
            window.peek_text()?;
            window.refuse_html("JSON")?;
        }
        Ok(Self { window, line: 0..0, taken: 0 })
    }
}

impl Rows for Lines {
    fn advance(&mut self) -> Result<bool> {
        loop {
            self.window.consume(self.taken);
            self.taken = line_end(&mut self.window)?;
            if self.taken == 0 {
                self.line = 0..0;
                return Ok(false);
            }
            let line = &self.window.bytes()[..self.taken];
            let start = line.len() - line.trim_ascii_start().len();
            let end = line.trim_ascii_end().len();
            if start < end {
                self.line = start..end;
                return Ok(true);
            }
        }
    }

    fn row(&self) -> Row<'_> {
        Row::Json(&self.window.bytes()[self.line.clone()])
    }

    fn offset(&self) -> u64 {
        self.window.offset()
    }
}

/// Length of the line at the start of the window, its end included; 0 at the end of the file.
fn line_end(window: &mut Window) -> Result<usize> {
    let mut searched = 0;
    loop {
        let bytes = window.bytes();
        if let Some(at) = memchr(b'\n', &bytes[searched..]) {
            return Ok(searched + at + 1);
        }
        searched = bytes.len();
        if !window.fill()? {
            return Ok(searched);
        }
    }
}

/// One document: an array of rows, or one row.
pub(super) struct Document {
    window: Window,
    state: State,
    row: usize,
    rows: u64,
    notes: Vec<Note>,
}

#[derive(PartialEq, Eq)]
enum State {
    Start,
    InArray,
    /// The row is the whole document.
    Single,
    Done,
}

impl Document {
    pub fn open(mut window: Window) -> Result<Self> {
        window.skip_bom()?;
        Ok(Self { window, state: State::Start, row: 0, rows: 0, notes: Vec::new() })
    }

    fn begin(&mut self) -> Result<bool> {
        match self.window.peek()? {
            None => {
                self.notes.push(empty_note());
                self.finish()
            }
            Some(b'[') => {
                self.window.consume(1);
                self.state = State::InArray;
                self.item()
            }
            Some(b'{') => {
                self.state = State::Single;
                self.take_value()
            }
            Some(_) => {
                self.window.peek_text()?;
                self.window.refuse_html("JSON")?;
                if self.window.bytes().trim_ascii() == b"null" {
                    return self.finish();
                }
                Err(not_rows(self.window.bytes()))
            }
        }
    }

    fn item(&mut self) -> Result<bool> {
        let mut next = self.window.peek()?;
        if self.rows > 0 {
            match next {
                Some(b',') => {
                    self.window.consume(1);
                    next = self.window.peek()?;
                    if next == Some(b']') {
                        return Err(self.broken("has a comma with nothing behind it"));
                    }
                }
                Some(b']') | None => {}
                Some(_) => return Err(self.broken("has no comma")),
            }
        }
        match next {
            None => Err(truncated(&format!("after row {}; its closing bracket is missing", self.rows))),
            Some(b']') => {
                self.window.consume(1);
                self.check_end()?;
                self.finish()
            }
            Some(b',' | b'}') => Err(self.broken("has a comma or brace where a row was expected")),
            Some(_) => self.take_value(),
        }
    }

    fn take_value(&mut self) -> Result<bool> {
        loop {
            if let Extent::Ends(end) = extent(self.window.bytes()) {
                self.row = end;
                self.rows += 1;
                return Ok(true);
            }
            // The window doubles, so that looking again from the start costs little.
            if !self.window.fill_double()? {
                return Err(truncated(&format!("in the middle of row {}", self.rows + 1)));
            }
        }
    }

    fn check_end(&mut self) -> Result<()> {
        if self.window.peek()?.is_none() {
            return Ok(());
        }
        let message = format!("there is more after the JSON document: {}", preview(self.window.bytes()));
        Err(Error::new(codes::DECODE, message).hint("if it has one JSON value a line, say `format: ndjson`"))
    }

    fn finish(&mut self) -> Result<bool> {
        self.state = State::Done;
        Ok(false)
    }

    fn broken(&self, what: &str) -> Error {
        Error::new(codes::DECODE, format!("the JSON document {what} after row {}", self.rows))
    }
}

impl Rows for Document {
    fn advance(&mut self) -> Result<bool> {
        let taken = std::mem::take(&mut self.row);
        self.window.consume(taken);
        match self.state {
            State::Start => self.begin(),
            State::InArray => self.item(),
            State::Single => {
                self.check_end()?;
                self.finish()
            }
            State::Done => Ok(false),
        }
    }

    fn row(&self) -> Row<'_> {
        Row::Json(self.window.bytes()[..self.row].trim_ascii_end())
    }

    fn offset(&self) -> u64 {
        self.window.offset()
    }

    fn notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }
}

fn empty_note() -> Note {
    Note("the JSON document is empty (no bytes)".into())
}

fn truncated(place: &str) -> Error {
    Error::new(codes::DECODE, format!("the JSON document is truncated: it ends {place}"))
        .hint("was the answer or file cut off?")
}

fn not_rows(bytes: &[u8]) -> Error {
    Error::new(
        codes::DECODE,
        format!("this is not a JSON array or object but begins with: {}", preview(bytes)),
    )
    .hint("rows are read from an array or one object; `rows:` takes a JSONPath to them")
}

/// The parts of a document that a JSONPath selects; a list among them stands for its items, `null` for
/// nothing.
pub(super) struct Selected {
    text: String,
    places: std::vec::IntoIter<Range<usize>>,
    /// The lists around the row, the innermost last.
    lists: Vec<List>,
    row: Range<usize>,
    notes: Vec<Note>,
}

/// A list that is read item by item.
struct List {
    at: usize,
    end: usize,
    first: bool,
    /// Its items were selected, so that a list among them stands for its items in turn.
    spread: bool,
}

impl Selected {
    pub fn open(mut reader: Reader, path: &str) -> Result<Self> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(read_error)?;
        if bytes.starts_with(b"\xEF\xBB\xBF") {
            bytes.drain(..3);
        }
        let text = String::from_utf8(bytes)
            .map_err(|e| Error::new(codes::DECODE, "the JSON document is not UTF-8").caused_by(&e))?;
        let mut selected =
            Self { text, places: Vec::new().into_iter(), lists: Vec::new(), row: 0..0, notes: Vec::new() };
        if selected.text.trim_ascii().is_empty() {
            selected.notes.push(empty_note());
            return Ok(selected);
        }
        match select(&selected.text, path)? {
            Selection::Values(places) => selected.places = places.into_iter(),
            Selection::Items(list) => selected.lists.push(List::inside(list, true)),
        }
        let nothing = match selected.lists.last() {
            Some(list) => Scanner::new(&selected.text[list.at..list.end]).item(true) == Ok(false),
            None => selected.places.len() == 0,
        };
        if nothing && selected.text.trim_ascii() != "null" {
            let what = describe(&selected.text);
            selected.notes.push(Note(format!("`{path}` matches nothing in the document, which is {what}")));
        }
        Ok(selected)
    }

    /// Goes into a selected value; whether it is a row.
    fn enter(&mut self, place: Range<usize>) -> bool {
        match self.text.as_bytes().get(place.start) {
            Some(b'[') => self.lists.push(List::inside(place, false)),
            Some(b'n') => {}
            _ => {
                self.row = place;
                return true;
            }
        }
        false
    }

    /// The next item of the innermost list.
    fn item(&mut self) -> Result<Option<(Range<usize>, bool)>, Syntax> {
        let Some(list) = self.lists.last_mut() else { return Ok(None) };
        let mut scanner = Scanner::new(&self.text[list.at..list.end]);
        if !scanner.item(list.first)? {
            return Ok(None);
        }
        let start = list.at + scanner.start();
        let place = start..start + scanner.value(1)?.len();
        (list.first, list.at) = (false, place.end);
        Ok(Some((place, list.spread)))
    }
}

impl List {
    /// At its first item; `place` begins with the bracket.
    fn inside(place: Range<usize>, spread: bool) -> Self {
        Self { at: place.start + 1, end: place.end, first: true, spread }
    }
}

impl Rows for Selected {
    fn advance(&mut self) -> Result<bool> {
        loop {
            if self.lists.is_empty() {
                match self.places.next() {
                    Some(place) if self.enter(place.clone()) => return Ok(true),
                    Some(_) => continue,
                    None => {
                        self.row = self.text.len()..self.text.len();
                        return Ok(false);
                    }
                }
            }
            // The whole document was checked before.
            match self.item().map_err(|_| Error::bug("a list of a checked document cannot be read"))? {
                Some((place, true)) if self.enter(place.clone()) => return Ok(true),
                Some((_, true)) => {}
                Some((place, false)) => {
                    self.row = place;
                    return Ok(true);
                }
                None => drop(self.lists.pop()),
            }
        }
    }

    fn row(&self) -> Row<'_> {
        Row::Json(&self.text.as_bytes()[self.row.clone()])
    }

    fn offset(&self) -> u64 {
        self.row.start as u64
    }

    fn notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }
}

/// What a document is, in words.
fn describe(text: &str) -> String {
    let mut scanner = Scanner::new(text);
    match scanner.token() {
        Ok(Token::Object) => {
            let (mut names, mut scratch) = (Vec::new(), String::new());
            while names.len() < 10
                && let Ok(Some(key)) = scanner.key(names.is_empty())
                && let name = key.decode(&mut scratch).to_owned()
                && scanner.value(1).is_ok()
            {
                names.push(name);
            }
            format!("an object with the keys {}", names.join(", "))
        }
        Ok(Token::List) => "a list".into(),
        _ => preview(text.as_bytes()),
    }
}
