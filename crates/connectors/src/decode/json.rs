//! Rows of NDJSON, of one JSON document, and of the parts of a document that a JSONPath selects.

use std::{collections::HashMap, io::Read, ops::Range};

use lagar_flow::{Error, Note, Result, codes};
use memchr::memchr;
use serde_json_path::{JsonPath, NormalizedPath, PathElement};

use super::{
    input::{Reader, read_error},
    rows::{Row, Rows},
    scan::{DEPTH_MAX, Extent, Scanner, Syntax, Token, extent},
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

/// The parts of a document that a JSONPath selects; a list among them stands for its items.
pub(super) struct Selected {
    text: String,
    rows: Vec<Range<usize>>,
    next: usize,
    notes: Vec<Note>,
}

impl Selected {
    pub fn open(mut reader: Reader, path: &str) -> Result<Self> {
        let query = JsonPath::parse(path).map_err(|e| {
            Error::new(codes::CONFIG, format!("`{path}` is not a JSONPath"))
                .hint("for example $.data or $.items[*].row (RFC 9535)")
                .caused_by(&e)
        })?;
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(read_error)?;
        let text = String::from_utf8(bytes)
            .map_err(|e| Error::new(codes::DECODE, "the JSON document is not UTF-8").caused_by(&e))?;
        let text = match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        };
        if text.trim_ascii().is_empty() {
            return Ok(Self { text, rows: Vec::new(), next: 0, notes: vec![empty_note()] });
        }
        let (paths, keys) = locate(&text, &query)?;
        let mut notes = Vec::new();
        if paths.found.is_empty() && keys != "null" {
            notes.push(Note(format!("`{path}` matches nothing in the document, which is {keys}")));
        }
        let mut rows = Vec::new();
        for range in paths.ranges(&text)? {
            push_rows(&text, range, &mut rows)?;
        }
        Ok(Self { text, rows, next: 0, notes })
    }
}

impl Rows for Selected {
    fn advance(&mut self) -> Result<bool> {
        self.next = (self.next + 1).min(self.rows.len() + 1);
        Ok(self.next <= self.rows.len())
    }

    fn row(&self) -> Row<'_> {
        let range = self.next.checked_sub(1).and_then(|at| self.rows.get(at)).cloned().unwrap_or(0..0);
        Row::Json(&self.text.as_bytes()[range])
    }

    fn offset(&self) -> u64 {
        let at = self.next.saturating_sub(1);
        self.rows.get(at).map_or(self.text.len(), |range| range.start) as u64
    }

    fn notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }
}

/// Runs the query, and says in words what the document is.
fn locate(text: &str, query: &JsonPath) -> Result<(Paths, String)> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|e| {
        if text.trim_ascii_start().starts_with('<') {
            return Error::new(
                codes::DECODE,
                format!("this is not JSON but looks like a web page: {}", preview(text.as_bytes())),
            )
            .hint("open the address in a browser: it may be a login page or an error message");
        }
        if e.is_eof() {
            return truncated(&format!("at line {}", e.line())).caused_by(&e);
        }
        Error::new(codes::DECODE, "this is not a JSON document").caused_by(&e)
    })?;
    let mut paths = Paths::default();
    for node in query.query_located(&value) {
        paths.add(node.location());
    }
    let what = match &value {
        serde_json::Value::Object(map) => {
            format!("an object with the keys {}", map.keys().take(10).cloned().collect::<Vec<_>>().join(", "))
        }
        serde_json::Value::Array(_) => "a list".into(),
        other => preview(other.to_string().as_bytes()),
    };
    Ok((paths, what))
}

/// Places in a document as a tree, so that one walk over the text finds them all as they are written.
#[derive(Default)]
struct Paths {
    nodes: Vec<PathNode>,
    /// The place of each selected node in the text, in the query's order.
    found: Vec<Option<Range<usize>>>,
}

#[derive(Default)]
struct PathNode {
    names: HashMap<String, usize>,
    items: HashMap<usize, usize>,
    selected: Option<usize>,
}

impl Paths {
    fn add(&mut self, path: &NormalizedPath<'_>) {
        if self.nodes.is_empty() {
            self.nodes.push(PathNode::default());
        }
        let mut at = 0;
        for element in path.iter() {
            let next = self.nodes.len();
            let node = &mut self.nodes[at];
            at = match element {
                PathElement::Name(name) => *node.names.entry((*name).to_owned()).or_insert(next),
                PathElement::Index(index) => *node.items.entry(*index).or_insert(next),
            };
            if at == next {
                self.nodes.push(PathNode::default());
            }
        }
        if self.nodes[at].selected.is_none() {
            self.nodes[at].selected = Some(self.found.len());
            self.found.push(None);
        }
    }

    fn ranges(mut self, text: &str) -> Result<Vec<Range<usize>>> {
        if !self.nodes.is_empty() {
            self.walk(&mut Scanner::new(text), 0, 0).map_err(syntax_error)?;
        }
        Ok(self.found.into_iter().flatten().collect())
    }

    fn walk(&mut self, scanner: &mut Scanner<'_>, node: usize, depth: usize) -> Result<(), Syntax> {
        let start = scanner.start();
        let token = scanner.token()?;
        let mut scratch = String::new();
        match token {
            _ if depth > DEPTH_MAX => scanner.skip(token, depth)?,
            Token::Object if !self.nodes[node].names.is_empty() => {
                let mut first = true;
                while let Some(key) = scanner.key(first)? {
                    first = false;
                    let child = self.nodes[node].names.get(key.decode(&mut scratch)).copied();
                    self.step(scanner, child, depth + 1)?;
                }
            }
            Token::List if !self.nodes[node].items.is_empty() => {
                let mut index = 0;
                while scanner.item(index == 0)? {
                    let child = self.nodes[node].items.get(&index).copied();
                    self.step(scanner, child, depth + 1)?;
                    index += 1;
                }
            }
            token => scanner.skip(token, depth)?,
        }
        if let Some(rank) = self.nodes[node].selected {
            self.found[rank] = Some(start..start + scanner.since(start).len());
        }
        Ok(())
    }

    fn step(&mut self, scanner: &mut Scanner<'_>, child: Option<usize>, depth: usize) -> Result<(), Syntax> {
        match child {
            Some(child) => self.walk(scanner, child, depth),
            None => {
                let token = scanner.token()?;
                scanner.skip(token, depth)
            }
        }
    }
}

fn syntax_error(syntax: Syntax) -> Error {
    Error::new(codes::DECODE, format!("this is not JSON at byte {}: {}", syntax.at + 1, syntax.what))
}

/// The items of a list, nothing for null, else the value itself.
fn push_rows(text: &str, range: Range<usize>, rows: &mut Vec<Range<usize>>) -> Result<()> {
    let mut scanner = Scanner::new(&text[range.clone()]);
    match scanner.token().map_err(syntax_error)? {
        Token::Null => {}
        Token::List => {
            let mut first = true;
            while scanner.item(first).map_err(syntax_error)? {
                first = false;
                let start = scanner.start();
                let token = scanner.token().map_err(syntax_error)?;
                scanner.skip(token, 1).map_err(syntax_error)?;
                let end = start + scanner.since(start).len();
                rows.push(range.start + start..range.start + end);
            }
        }
        _ => rows.push(range),
    }
    Ok(())
}
