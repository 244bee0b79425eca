//! The parts of a JSON document that a JSONPath selects, as places in its text.
//!
//! Paths of names and indexes, with `[*]` at most at the end, are followed in the text itself, so that a
//! document takes no more memory than it is long. Any other path needs the document as a tree, which is
//! many times longer: there the document has a limit of its own.

use std::{collections::HashMap, ops::Range};

use lagar_flow::{Error, Result, codes};
use serde_json_path::{JsonPath, NormalizedPath, PathElement};

use super::{
    scan::{DEPTH_MAX, Scanner, Syntax, Token},
    window::preview,
};

/// The longest document that is read as a tree.
const TREE_BYTES_MAX: usize = 64 << 20;

/// What a path selects.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// These values, in the query's order.
    Values(Vec<Range<usize>>),
    /// Every item of the list that stands here.
    Items(Range<usize>),
}

/// A path that is followed in the text.
#[derive(Debug, PartialEq, Eq)]
struct Plain {
    steps: Vec<Step>,
    /// It ends with `[*]`.
    all: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
}

/// Filters in filters in filters: each level doubles the time that the parser takes.
const BRACKETS_DEEP_MAX: usize = 8;

/// The path that `text` writes, or a message that says what is wrong with it.
pub(crate) fn parse(text: &str) -> std::result::Result<JsonPath, String> {
    let wrong = |why: String| format!("`{text}` is not a JSONPath: {why}");
    if unquoted(text).any(|(_, _, depth)| depth > BRACKETS_DEEP_MAX) {
        return Err(wrong(format!("brackets are nested more than {BRACKETS_DEEP_MAX} deep")));
    }
    JsonPath::parse(text).map_err(|error| wrong(error.to_string()))
}

/// What stands in `path` outside of quotes, with its place and how many brackets are open behind it.
fn unquoted(path: &str) -> impl Iterator<Item = (usize, char, usize)> {
    let (mut quote, mut escaped, mut depth) = (None, false, 0usize);
    path.char_indices().filter_map(move |(at, c)| {
        let is_inside = quote.is_some();
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        (!is_inside).then_some((at, c, depth))
    })
}

/// What `path` selects in `text`, all of which must be JSON.
pub(super) fn select(text: &str, path: &str) -> Result<Selection> {
    let query = parse(path).map_err(|message| {
        Error::new(codes::CONFIG, message).hint("for example $.data or $.items[*].row (RFC 9535)")
    })?;
    let Some(plain) = plain(path) else {
        return in_tree(text, &query).map(Selection::Values);
    };
    let mut scanner = Scanner::new(text);
    let found = follow(&mut scanner, &plain.steps, 0).and_then(|found| scanner.end().map(|()| found));
    let Some(found) = found.map_err(|syntax| not_json(text, syntax))? else {
        return Ok(Selection::Values(Vec::new()));
    };
    if !plain.all {
        return Ok(Selection::Values(vec![found]));
    }
    match text.as_bytes().get(found.start) {
        Some(b'[') => Ok(Selection::Items(found)),
        // The members of an object: each name counts once.
        Some(b'{') => in_tree(text, &query).map(Selection::Values),
        _ => Ok(Selection::Values(Vec::new())),
    }
}

/// The texts of what `path` selects in `text`; nothing in an empty one.
pub(crate) fn selected<'a>(text: &'a str, path: &str) -> Result<Vec<&'a str>> {
    if text.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let of = |range: Range<usize>| &text[range];
    match select(text, path)? {
        Selection::Values(places) => Ok(places.into_iter().map(of).collect()),
        Selection::Items(list) => items(of(list)).map_err(|syntax| not_json(text, syntax)),
    }
}

fn items(list: &str) -> Result<Vec<&str>, Syntax> {
    let (mut scanner, mut items) = (Scanner::new(list), Vec::new());
    scanner.token()?;
    while scanner.item(items.is_empty())? {
        items.push(scanner.value(1)?);
    }
    Ok(items)
}

/// Whether a page that has no row says so: what `path` selects, or the nearest part of the document
/// around it that is there, is a list with nothing in it (or one from which a filter left nothing over).
/// An error in place of the list, `null` and an empty answer do not.
pub(crate) fn has_empty_list(text: &str, path: Option<&str>) -> Result<bool> {
    for part in path.map_or_else(|| vec!["$"], parts) {
        let found = selected(text, part)?;
        if !found.is_empty() {
            let left_out = path.and_then(|path| path.trim().strip_prefix(part)).unwrap_or_default();
            let filtered = left_out.contains('?');
            return Ok(found
                .iter()
                .all(|value| is_empty_list(value) || (filtered && value.starts_with('['))));
        }
    }
    Ok(false)
}

fn is_empty_list(value: &str) -> bool {
    let inner = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|inner| inner.trim_ascii().is_empty())
}

/// `path` and its beginnings, the longest first: `$.a[*]`, `$.a`, `$`.
fn parts(path: &str) -> Vec<&str> {
    let path = path.trim();
    let starts = unquoted(path).filter(|(at, c, depth)| match (c, depth) {
        ('[', 1) => !path[..*at].ends_with(".."),
        ('.', 0) => !path[..*at].ends_with('.'),
        _ => false,
    });
    let mut parts: Vec<&str> = starts.map(|(at, ..)| path[..at].trim_end()).collect();
    parts.push(path);
    parts.reverse();
    parts
}

fn plain(path: &str) -> Option<Plain> {
    let mut rest = path.trim().strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if matches!(rest, "[*]" | ".*") {
            return Some(Plain { steps, all: true });
        }
        let step;
        (step, rest) = match rest.strip_prefix('.') {
            Some(name) => {
                let end = name.find(['.', '[']).unwrap_or(name.len());
                let (name, rest) = name.split_at(end);
                // What else a name may be made of is for the other way.
                let simple = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.is_empty();
                (Step::Name(simple.then(|| name.to_owned())?), rest)
            }
            None => {
                let (inside, rest) = rest.strip_prefix('[')?.split_once(']')?;
                let quoted = ['\'', '"'].iter().find_map(|q| inside.strip_prefix(*q)?.strip_suffix(*q));
                match quoted {
                    Some(name) if !name.contains(['\\', '\'', '"', '[']) => {
                        (Step::Name(name.to_owned()), rest)
                    }
                    Some(_) => return None,
                    None => (Step::Index(inside.parse().ok()?), rest),
                }
            }
        };
        steps.push(step);
    }
    Some(Plain { steps, all: false })
}

/// Where `steps` lead from the next value of `scanner`, all of which is read. Of keys that stand twice
/// the last one wins, as it does in rows.
fn follow(scanner: &mut Scanner<'_>, steps: &[Step], depth: usize) -> Result<Option<Range<usize>>, Syntax> {
    let start = scanner.start();
    let token = scanner.token()?;
    let (mut found, mut first) = (None, true);
    match (steps.split_first(), token) {
        (None, token) => {
            scanner.skip(token, depth)?;
            found = Some(start..start + scanner.since(start).len());
        }
        (Some((Step::Name(name), rest)), Token::Object) => {
            let mut scratch = String::new();
            while let Some(key) = scanner.key(first)? {
                first = false;
                if key.decode(&mut scratch) == name {
                    found = follow(scanner, rest, depth + 1)?;
                } else {
                    scanner.value(depth + 1)?;
                }
            }
        }
        (Some((Step::Index(index), rest)), Token::List) => {
            let mut at = 0;
            while scanner.item(first)? {
                first = false;
                if at == *index {
                    found = follow(scanner, rest, depth + 1)?;
                } else {
                    scanner.value(depth + 1)?;
                }
                at += 1;
            }
        }
        (Some(_), token) => scanner.skip(token, depth)?,
    }
    Ok(found)
}

fn in_tree(text: &str, query: &JsonPath) -> Result<Vec<Range<usize>>> {
    if text.len() > TREE_BYTES_MAX {
        return Err(Error::new(
            codes::TOO_LARGE,
            format!("a document of more than {} MiB cannot be searched with this path", TREE_BYTES_MAX >> 20),
        )
        .hint("paths of names, with `[*]` at most at the end, have no such limit: $.data.items[*]"));
    }
    let value: serde_json::Value = serde_json::from_str(text).map_err(|e| {
        if e.is_eof() {
            return truncated(text).caused_by(&e);
        }
        web_page(text)
            .unwrap_or_else(|| Error::new(codes::DECODE, "this is not a JSON document").caused_by(&e))
    })?;
    let mut paths = Paths::default();
    for node in query.query_located(&value) {
        paths.add(node.location());
    }
    paths.ranges(text)
}

fn truncated(text: &str) -> Error {
    let line = text.trim_end().lines().count().max(1);
    Error::new(codes::DECODE, format!("the JSON document is truncated: it ends at line {line}"))
        .hint("was the answer or file cut off?")
}

fn web_page(text: &str) -> Option<Error> {
    text.trim_ascii_start().starts_with('<').then(|| {
        Error::new(
            codes::DECODE,
            format!("this is not JSON but looks like a web page: {}", preview(text.as_bytes())),
        )
        .hint("open the address in a browser: it may be a login page or an error message")
    })
}

/// What is wrong with a document that is not JSON.
fn not_json(text: &str, syntax: Syntax) -> Error {
    if syntax.at >= text.trim_ascii_end().len() {
        return truncated(text);
    }
    web_page(text).unwrap_or_else(|| syntax_error(syntax))
}

fn syntax_error(syntax: Syntax) -> Error {
    Error::new(codes::DECODE, format!("this is not JSON at byte {}: {}", syntax.at + 1, syntax.what))
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
            None => scanner.value(depth).map(|_| ()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_paths_are_told_from_others() {
        let name = |name: &str| Step::Name(name.to_owned());
        for (path, steps, all) in [
            ("$", vec![], false),
            ("$[*]", vec![], true),
            ("$.data.items[*]", vec![name("data"), name("items")], true),
            (" $['a b'][0].c_1.* ", vec![name("a b"), Step::Index(0), name("c_1")], true),
            ("$[\"x\"]", vec![name("x")], false),
        ] {
            assert_eq!(plain(path), Some(Plain { steps, all }), "{path}");
        }
        for path in [
            "$..a",
            "$.a[*].b",
            "$.a[-1]",
            "$.a[0,1]",
            "$.a[1:2]",
            "$.a[?@.b]",
            "$['a]']",
            "$['a\\'']",
            "$.é",
            "a",
        ] {
            assert_eq!(plain(path), None, "{path}");
        }
    }

    #[test]
    fn a_path_has_beginnings() {
        for (path, all) in [
            ("$.a[*]", vec!["$.a[*]", "$.a", "$"]),
            (
                "$..items[?@.x == '].a'][0]",
                vec!["$..items[?@.x == '].a'][0]", "$..items[?@.x == '].a']", "$..items", "$"],
            ),
            ("$..[*]", vec!["$..[*]", "$"]),
            ("$", vec!["$"]),
        ] {
            assert_eq!(parts(path), all, "{path}");
        }
    }

    #[test]
    fn only_an_empty_list_says_that_there_are_no_rows() {
        for (text, path, is_empty) in [
            ("[]", None, true),
            (" [ ] ", None, true),
            ("null", None, false),
            ("", None, false),
            ("{\"error\": []}", None, false),
            ("{\"data\": []}", Some("$.data[*]"), true),
            ("{\"data\": []}", Some("$.data"), true),
            ("{\"data\": null}", Some("$.data[*]"), false),
            ("{\"data\": null}", Some("$.data"), false),
            ("{\"error\": \"busy\"}", Some("$.data[*]"), false),
            ("{\"data\": {\"error\": 1}}", Some("$.data[*].x"), false),
            ("{\"results\": []}", Some("$.results[*].item"), true),
            ("{\"results\": [{\"other\": 1}]}", Some("$.results[*].item"), false),
            ("{\"items\": [{\"on\": false}]}", Some("$.items[?@.on == true]"), true),
            ("{\"message\": \"no\"}", Some("$.items[?@.on == true]"), false),
        ] {
            assert_eq!(has_empty_list(text, path).unwrap(), is_empty, "{text} {path:?}");
        }
    }

    #[test]
    fn a_tree_has_a_limit_and_a_plain_path_has_none() {
        let text = format!("{{\"a\": [1], \"b\": \"{}\"}}", "x".repeat(TREE_BYTES_MAX));
        assert_eq!(select(&text, "$.a[*]").unwrap(), Selection::Items(6..9));
        let error = select(&text, "$..a").unwrap_err();
        assert_eq!(error.code(), codes::TOO_LARGE);
    }

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![Just("null".to_owned()), Just("1.5".to_owned()), Just("\"a\\n\"".to_owned())];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let list =
                prop::collection::vec(inner.clone(), 0..4).prop_map(|all| format!("[{}]", all.join(" , ")));
            let pair = (prop::sample::select(vec!["a", "b", "\\u0061", "c d"]), inner);
            let object = prop::collection::vec(pair, 0..4).prop_map(|all| {
                let all: Vec<String> = all.into_iter().map(|(k, v)| format!("\"{k}\": {v}")).collect();
                format!("{{{}}}", all.join(","))
            });
            prop_oneof![list, object]
        })
    }

    proptest! {
        /// The two ways select the same.
        #[test]
        fn following_the_text_and_searching_the_tree_agree(
            text in json(),
            steps in prop::collection::vec(prop::sample::select(vec![".a", "['b']", "[0]", "[\"c d\"]", "[1]"]), 0..4),
            all in any::<bool>(),
        ) {
            let path = format!("${}{}", steps.concat(), if all { "[*]" } else { "" });
            let query = JsonPath::parse(&path).unwrap();
            let expected: Vec<&str> =
                in_tree(&text, &query).unwrap().into_iter().map(|range| &text[range]).collect();
            prop_assert_eq!(selected(&text, &path).unwrap(), expected, "{}", path);
        }
    }
}
