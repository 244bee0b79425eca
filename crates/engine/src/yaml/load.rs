//! From parser events to a value and its places.

use std::{collections::HashMap, rc::Rc};

use lagar_flow::{Error, Place, Result, codes};
use saphyr::Scalar;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput};
use serde_json::{Map, Number, Value};

use super::{DEPTH_MAX, Document, Path, Spans, Spot, VALUES_MAX};

/// Line and column in the file, from 1.
type At = (usize, usize);

/// A value before its aliases are put in. What an alias names is shared, not copied, so that nothing
/// grows before it is counted.
struct Node {
    at: At,
    kind: Kind,
}

enum Kind {
    Scalar(Value),
    List(Vec<Rc<Node>>),
    Map(Vec<Entry>),
}

struct Entry {
    key: String,
    at: At,
    value: Rc<Node>,
    /// `<<`, not quoted.
    merge: bool,
}

pub(super) struct Loader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    file: &'a str,
    line_offset: usize,
    text: &'a str,
    anchors: HashMap<usize, Rc<Node>>,
    values: usize,
    /// What is wrong and could be read past.
    faults: Vec<Error>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(text: &'a str, file: &'a str, line_offset: usize) -> Self {
        let parser = Parser::new_from_str(text);
        Self { parser, file, line_offset, text, anchors: HashMap::new(), values: 0, faults: Vec::new() }
    }

    /// The document, if it could be read to its end, and all that is wrong.
    pub(super) fn document(mut self) -> (Option<Document>, Vec<Error>) {
        match self.read() {
            Ok(document) => (Some(document), self.faults),
            Err(error) => {
                self.faults.push(error);
                (None, self.faults)
            }
        }
    }

    fn read(&mut self) -> Result<Document> {
        let mut root = None;
        loop {
            let (event, at) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
                Event::DocumentStart(_) if root.is_some() => {
                    let error = self.error(at, "a second document begins here");
                    self.faults.push(error.hint("a file holds one YAML document"));
                    break;
                }
                Event::DocumentStart(_) => {}
                event => root = Some(self.node(event, at, 0)?),
            }
        }
        let mut spans = Spans::new(self.file);
        let Some(root) = root else { return Ok(Document { value: Value::Null, spans }) };
        let mut path = Path::new();
        spans.insert(Path::new(), Spot { key: root.at, value: root.at });
        let value = self.expand(&root, &mut path, &mut spans)?;
        Ok(Document { value, spans })
    }

    fn next(&mut self) -> Result<(Event<'a>, At)> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, self.at(&span.start))),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Err(Error::bug("the YAML parser gave no end of the text")),
        }
    }

    fn at(&self, mark: &Marker) -> At {
        (mark.line() + self.line_offset, mark.col() + 1)
    }

    fn error(&self, (line, column): At, message: impl Into<String>) -> Error {
        Error::new(codes::YAML, message).at_place(Place { file: self.file.to_owned(), line, column })
    }

    fn node(&mut self, event: Event<'a>, at: At, depth: usize) -> Result<Rc<Node>> {
        if depth > DEPTH_MAX {
            return Err(self.error(at, format!("lists and maps are nested more than {DEPTH_MAX} deep")));
        }
        let (kind, anchor) = match event {
            Event::Alias(id) => {
                return self.anchors.get(&id).cloned().ok_or_else(|| {
                    self.error(at, "an alias stands inside the value that its own anchor names")
                });
            }
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = Scalar::parse_from_cow_and_metadata(text, style, tag.as_ref())
                    .filter(|_| {
                        tag.as_ref().is_none_or(|tag| tag.is_yaml_core_schema() || tag.handle.is_empty())
                    })
                    .ok_or_else(|| {
                        // The value is not repeated: it may be a secret.
                        self.error(at, "this value does not fit its tag").hint("leave the tag out")
                    })?;
                (Kind::Scalar(self.scalar(scalar, at)?), anchor)
            }
            Event::SequenceStart(anchor, _) => (Kind::List(self.list(depth)?), anchor),
            Event::MappingStart(anchor, _) => (Kind::Map(self.map(depth)?), anchor),
            other => return Err(Error::bug(format!("unexpected YAML event {other:?}"))),
        };
        let node = Rc::new(Node { at, kind });
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn scalar(&self, scalar: Scalar<'_>, at: At) -> Result<Value> {
        Ok(match scalar {
            Scalar::Null => Value::Null,
            Scalar::Boolean(b) => Value::Bool(b),
            Scalar::Integer(n) => Value::Number(n.into()),
            Scalar::FloatingPoint(f) => Value::Number(
                Number::from_f64(*f)
                    .ok_or_else(|| self.error(at, "infinity and NaN are not numbers here"))?,
            ),
            Scalar::String(text) => Value::String(text.into_owned()),
        })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Rc<Node>>> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, at) => items.push(self.node(event, at, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen: HashMap<String, At> = HashMap::new();
        loop {
            let (event, at) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let key = self.key(event, at, depth)?;
            let (event, value_at) = self.next()?;
            let value = self.node(event, value_at, depth + 1)?;
            let Some((key, merge)) = key else { continue };
            if let Some((line, _)) = seen.get(&key) {
                let error = self.error(at, format!("the key `{key}` stands here a second time"));
                self.faults.push(error.hint(format!("the first one is in line {line}; keep one of them")));
                continue;
            }
            seen.insert(key.clone(), at);
            entries.push(Entry { key, at, value, merge });
        }
    }

    /// The text of a key, and whether it merges another map; `None` if it is no key.
    fn key(&mut self, event: Event<'a>, at: At, depth: usize) -> Result<Option<(String, bool)>> {
        let Event::Scalar(text, style, _, tag) = event else {
            self.faults.push(self.error(at, "a key must be plain text"));
            self.node(event, at, depth + 1)?;
            return Ok(None);
        };
        let merge = text == "<<" && style == ScalarStyle::Plain;
        let shown = text.to_string();
        let error = match Scalar::parse_from_cow_and_metadata(text, style, tag.as_ref()) {
            Some(Scalar::String(key)) => return Ok(Some((key.into_owned(), merge))),
            _ if shown.is_empty() => self.error(at, "a key is missing in front of `:`"),
            _ => self
                .error(at, format!("the key `{shown}` is not text"))
                .hint(format!("quote it: \"{shown}\"")),
        };
        self.faults.push(error);
        Ok(None)
    }

    /// Copies the tree into a value, aliases put in, and notes where each part was written.
    fn expand(&mut self, node: &Rc<Node>, path: &mut Path, spans: &mut Spans) -> Result<Value> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(self
                .error(node.at, format!("the document has more than {VALUES_MAX} values, aliases put in")));
        }
        if path.len() > DEPTH_MAX {
            return Err(self.error(node.at, format!("lists and maps are nested more than {DEPTH_MAX} deep")));
        }
        match &node.kind {
            Kind::Scalar(value) => Ok(value.clone()),
            Kind::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    path.push(index.to_string());
                    spans.insert(path.clone(), Spot { key: item.at, value: item.at });
                    list.push(self.expand(item, path, spans)?);
                    path.pop();
                }
                Ok(Value::Array(list))
            }
            Kind::Map(_) => {
                let mut map = Map::new();
                self.fill(node, &mut map, path, spans)?;
                Ok(Value::Object(map))
            }
        }
    }

    /// Puts the entries of a map node into `map`. What stands in `map` already stays: own keys come
    /// before merged ones, and earlier merges before later ones.
    fn fill(
        &mut self,
        node: &Rc<Node>,
        map: &mut Map<String, Value>,
        path: &mut Path,
        spans: &mut Spans,
    ) -> Result<()> {
        let Kind::Map(entries) = &node.kind else {
            return Err(self
                .error(node.at, "`<<` needs a map, or a list of maps")
                .hint("write for example `<<: *anchor`"));
        };
        // Every visit counts: a chain of merges can be as explosive as one of aliases.
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(self
                .error(node.at, format!("the document has more than {VALUES_MAX} values, aliases put in")));
        }
        for entry in
            entries.iter().filter(|entry| !entry.merge && !map.contains_key(&entry.key)).collect::<Vec<_>>()
        {
            path.push(entry.key.clone());
            spans.insert(path.clone(), Spot { key: entry.at, value: entry.value.at });
            let value = self.expand(&entry.value, path, spans)?;
            path.pop();
            map.insert(entry.key.clone(), value);
        }
        for entry in entries.iter().filter(|entry| entry.merge) {
            match &entry.value.kind {
                Kind::List(parts) => {
                    for part in parts {
                        self.fill(part, map, path, spans)?;
                    }
                }
                _ => self.fill(&entry.value, map, path, spans)?,
            }
        }
        Ok(())
    }

    /// The parser's own words, with what usually causes them.
    fn syntax(&self, error: &ScanError) -> Error {
        let info = error.info();
        let mark = error.marker();
        let line = self.text.lines().nth(mark.line().saturating_sub(1)).unwrap_or_default();
        let indent = &line[..line.len() - line.trim_start().len()];
        if info.contains("recursion limit") {
            return self
                .error(self.at(mark), format!("lists and maps are nested more than {DEPTH_MAX} deep"));
        }
        let hint = if indent.contains('\t') || info.contains("tab") {
            "indent with spaces; YAML does not allow tabs"
        } else if info.contains("anchor") {
            "an alias `*name` needs an anchor `&name` above it"
        } else if info.contains("mapping values are not allowed") {
            "check the indentation; a key needs a space after its colon, a value with `: ` in it needs quotes"
        } else if info.contains("simple key") {
            "write `key: value`, with a space after the colon"
        } else if info.contains("quote") {
            "a quotation mark is not closed"
        } else if info.contains("unexpected character") {
            "quote a value that begins with @ or `"
        } else {
            "check the indentation and the brackets here and in the lines above"
        };
        self.error(self.at(mark), format!("this is not YAML: {info}")).hint(hint)
    }
}
