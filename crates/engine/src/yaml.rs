//! YAML with places: text → a JSON value and, for every key in it, the line and column it was
//! written at, so that an error found much later can still point at the file.
//!
//! A project file may come from anybody, so the size, the depth and what aliases expand to are limited.

mod faults;
mod load;
mod typed;

use std::collections::BTreeMap;

use lagar_flow::{Error, Place, Result, codes};

pub use faults::{Fault, Remains, read_all};
pub use typed::{ErrorCodes, deserialize_all, explain};

/// The longest YAML text.
pub const BYTES_MAX: usize = 16 << 20;
/// How deep lists and maps may nest.
pub const DEPTH_MAX: usize = 64;
/// How many values a document may hold after its aliases are put in.
pub const VALUES_MAX: usize = 200_000;

/// One parsed YAML document.
#[derive(Debug, Clone)]
pub struct Document {
    /// The values; an empty text is `null`. Keys keep their order.
    pub value: serde_json::Value,
    /// Where each of them was written.
    pub spans: Spans,
}

/// The way to a value: keys, and positions in lists as decimal numbers.
pub type Path = Vec<String>;

/// Where the keys and values of a document were written. Lines and columns count from 1.
#[derive(Debug, Clone, Default)]
pub struct Spans {
    file: String,
    spots: BTreeMap<Path, Spot>,
}

/// The place of a value and of the key in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// Line and column of the key; of the value itself in a list.
    pub key: (usize, usize),
    /// Line and column of the value.
    pub value: (usize, usize),
}

impl Spans {
    /// No places in `file` yet.
    pub fn new(file: impl Into<String>) -> Self {
        Self { file: file.into(), spots: BTreeMap::new() }
    }

    pub(crate) fn set_file(&mut self, file: &str) {
        self.file = file.to_owned();
    }

    /// The file that the places are in.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Exactly this path's place, if something was written there.
    pub fn get<S: AsRef<str>>(&self, path: &[S]) -> Option<Spot> {
        self.spots.get(&owned(path)).copied()
    }

    /// Remembers a place.
    pub fn insert(&mut self, path: Path, spot: Spot) {
        self.spots.insert(path, spot);
    }

    /// All places below and at `prefix` of `other`, moved to `target`: for a part of a document that
    /// is laid over another (a profile over the project).
    pub fn graft<S: AsRef<str>, T: AsRef<str>>(&mut self, other: &Spans, prefix: &[S], target: &[T]) {
        let prefix = owned(prefix);
        for (path, spot) in
            other.spots.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix))
        {
            let moved = owned(target).into_iter().chain(path[prefix.len()..].iter().cloned()).collect();
            self.spots.insert(moved, *spot);
        }
    }

    /// The place of the key at `path`, or of the nearest thing around it that was written.
    pub fn key_place<S: AsRef<str>>(&self, path: &[S]) -> Place {
        self.place(path, |spot| spot.key)
    }

    /// The place of the value at `path`, or of the nearest thing around it that was written.
    pub fn value_place<S: AsRef<str>>(&self, path: &[S]) -> Place {
        self.place(path, |spot| spot.value)
    }

    fn place<S: AsRef<str>>(&self, path: &[S], of: fn(&Spot) -> (usize, usize)) -> Place {
        let mut path = owned(path);
        let exact = path.len();
        loop {
            if let Some(spot) = self.spots.get(&path) {
                // Something missing inside a map is best shown at the map's own key.
                let (line, column) = if path.len() == exact { of(spot) } else { spot.key };
                return Place { file: self.file.clone(), line, column };
            }
            if path.pop().is_none() {
                return Place { file: self.file.clone(), line: 0, column: 0 };
            }
        }
    }
}

/// Parses one YAML document. `file` is only for the places; `line_offset` is the number of lines in
/// front of `text` in that file (0 for a whole file).
///
/// Fails with [`codes::YAML`] and places, all faults at once: wrong syntax, a key twice, a key that is not
/// text, a second document, tags other than YAML's own, and anything over this module's limits. Anchors,
/// aliases and merge keys (`<<`) are resolved.
pub fn parse(text: &str, file: &str, line_offset: usize) -> Result<Document> {
    let mut problems = Vec::new();
    let document = parse_all(text, file, line_offset, &mut problems);
    match (Error::all(problems), document) {
        (Some(error), _) => Err(error),
        (None, Some(document)) => Ok(document),
        (None, None) => Err(Error::bug("a YAML text failed without an error")),
    }
}

/// [`parse`] that reads past what it can: of a key that stands twice the first counts, what is no key is
/// left out. What is wrong goes to `problems`; `None` if the text cannot be read to its end.
pub fn parse_all(text: &str, file: &str, line_offset: usize, problems: &mut Vec<Error>) -> Option<Document> {
    if text.len() > BYTES_MAX {
        let message = format!("the file has {} bytes; a YAML file may have {BYTES_MAX}", text.len());
        problems.push(Error::new(codes::YAML, message).at(file, 0, 0));
        return None;
    }
    let (document, faults) = load::Loader::new(text, file, line_offset).document();
    problems.extend(faults);
    document
}

fn owned<S: AsRef<str>>(path: &[S]) -> Path {
    path.iter().map(|part| part.as_ref().to_owned()).collect()
}

/// `sources.orders.url`, `checks[0].sql`: a path as people write it.
pub fn path_text<S: AsRef<str>>(path: &[S]) -> String {
    let mut text = String::new();
    for part in path {
        let part = part.as_ref();
        if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) {
            text.push_str(&format!("[{part}]"));
        } else {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(part);
        }
    }
    text
}

#[cfg(test)]
mod tests;
