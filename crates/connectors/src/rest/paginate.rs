//! From one page of an answer to the address of the next.

use std::{collections::HashSet, io::BufReader};

use lagar_flow::{Body, Error, Result, codes};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use serde_json_path::JsonPath;
use url::Url;

use crate::{
    config::ConfigError,
    http::{is_http, next_link},
    spool::hash_bytes,
};

/// So many pages without a row in a row are too many for a server that goes somewhere.
const EMPTY_PAGES_MAX: u32 = 20;
/// How servers that count pages answer a number behind the last one, if not with an empty page.
const NO_SUCH_PAGE: &[u16] = &[400, 404];

/// `pages:` of a source. `max_pages` guards against a server that never says that it is done.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Pages {
    /// Rows are counted: `?limit=100&offset=200`. Ends at an empty page, or at one that is shorter than
    /// `size` and than a page before it.
    Offset {
        /// Rows to ask for; the server may give less.
        size: u64,
        #[serde(default = "limit")]
        size_param: String,
        #[serde(default = "offset")]
        offset_param: String,
        #[serde(default = "max_pages")]
        max_pages: u64,
    },
    /// Pages are counted: `?page=3`. Ends at an empty page, or at one that is shorter than `size` and
    /// than a page before it.
    Page {
        /// Rows to ask for; the server may give less.
        size: u64,
        #[serde(default = "page")]
        page_param: String,
        /// Left out of the request when it is not given.
        size_param: Option<String>,
        #[serde(default = "first")]
        first: u64,
        #[serde(default = "max_pages")]
        max_pages: u64,
    },
    /// The answer holds a mark for the next page. Ends when it holds none.
    Cursor {
        /// JSONPath of the mark.
        next: String,
        /// The query parameter that takes it.
        param: String,
        #[serde(default = "max_pages")]
        max_pages: u64,
    },
    /// The answer holds the next page's address. Ends when it holds none.
    NextUrl {
        /// JSONPath of the address.
        next: String,
        #[serde(default = "max_pages")]
        max_pages: u64,
    },
    /// The next page's address is in the `Link` header (RFC 8288). Ends when there is none.
    Link {
        #[serde(default = "max_pages")]
        max_pages: u64,
    },
}

fn limit() -> String {
    "limit".to_owned()
}
fn offset() -> String {
    "offset".to_owned()
}
fn page() -> String {
    "page".to_owned()
}
fn first() -> u64 {
    1
}
fn max_pages() -> u64 {
    100_000
}

impl Pages {
    /// What serde cannot check.
    pub fn validate(&self) -> Result<(), ConfigError> {
        match self {
            Pages::Offset { size: 0, .. } | Pages::Page { size: 0, .. } => {
                Err(ConfigError::new(&["pages", "size"], "a page of 0 rows is not possible"))
            }
            Pages::Cursor { next, .. } | Pages::NextUrl { next, .. } => {
                JsonPath::parse(next).map(|_| ()).map_err(|error| {
                    ConfigError::new(&["pages", "next"], super::json_path_message(next, &error))
                })
            }
            _ => Ok(()),
        }
    }

    /// Whether rows or pages are counted, and a page may have more rows than `rows`.
    pub fn counts_more_than(&self, rows: u64) -> bool {
        self.size().is_some_and(|size| size > rows)
    }

    /// Rows of a page, where rows or pages are counted.
    fn size(&self) -> Option<u64> {
        match self {
            Pages::Offset { size, .. } | Pages::Page { size, .. } => Some(*size),
            _ => None,
        }
    }

    fn max_pages(&self) -> u64 {
        match self {
            Pages::Offset { max_pages, .. }
            | Pages::Page { max_pages, .. }
            | Pages::Cursor { max_pages, .. }
            | Pages::NextUrl { max_pages, .. }
            | Pages::Link { max_pages } => *max_pages,
        }
    }
}

/// What the next address depends on.
pub(crate) struct PageRead<'a> {
    /// Rows in it, rejected ones included.
    pub rows: u64,
    /// Hash of the answer as it came.
    pub sha256: String,
    pub body: &'a Body,
    /// Its own address, after redirects.
    pub url: &'a Url,
    /// Values of its `Link` headers.
    pub links: &'a [String],
}

/// A walk from the first page to the last.
pub(crate) struct Walk<'a> {
    pages: &'a Pages,
    /// The address without paging parameters.
    base: &'a Url,
    pages_read: u64,
    rows_read: u64,
    /// Rows of the longest page,
    longest: u64,
    /// and of the last one.
    last: u64,
    last_sha256: String,
    empty_pages: u32,
    /// Hashes of the marks and addresses already used.
    used: HashSet<String>,
}

impl<'a> Walk<'a> {
    pub fn new(pages: &'a Pages, base: &'a Url) -> Self {
        let used = HashSet::from([hash_bytes(base.as_str().as_bytes())]);
        Self {
            pages,
            base,
            pages_read: 0,
            rows_read: 0,
            longest: 0,
            last: 0,
            last_sha256: String::new(),
            empty_pages: 0,
            used,
        }
    }

    pub fn first(&self) -> Url {
        self.counted()
    }

    /// Statuses that say no more than that the page before was the last one: such as are expected after
    /// a page that was not full, which is asked beyond only because the server may give less than `size`.
    pub fn refusals_of_the_end(&self) -> &'static [u16] {
        match self.pages {
            // Behind the first page, or behind one that was shorter than another. A server that gives less
            // than `size` each time may also refuse for another reason, so there only 404 is believed.
            Pages::Page { size, .. } if self.pages_read > 0 && self.last < *size => {
                if self.pages_read == 1 || self.last < self.longest {
                    NO_SUCH_PAGE
                } else {
                    &NO_SUCH_PAGE[1..]
                }
            }
            _ => &[],
        }
    }

    /// The address of the page that `offset` and `page` have come to; the base itself for the others.
    fn counted(&self) -> Url {
        let mut url = self.base.clone();
        match self.pages {
            Pages::Offset { size, size_param, offset_param, .. } => {
                set_param(&mut url, size_param, &size.to_string());
                set_param(&mut url, offset_param, &self.rows_read.to_string());
            }
            Pages::Page { size, page_param, size_param, first, .. } => {
                if let Some(size_param) = size_param {
                    set_param(&mut url, size_param, &size.to_string());
                }
                set_param(&mut url, page_param, &first.saturating_add(self.pages_read).to_string());
            }
            _ => {}
        }
        url
    }

    /// Where to go after `page`; `None` when it was the last one. A mark or address that was used before
    /// is an error when rows came with it (the server goes in a circle), and the end when none did.
    pub fn next(&mut self, page: PageRead<'_>) -> Result<Option<Url>> {
        self.pages_read += 1;
        self.rows_read += page.rows;
        let next = match self.pages {
            Pages::Offset { size, .. } | Pages::Page { size, .. } => self.next_counted(&page, *size)?,
            Pages::Cursor { next, param, .. } => mark(page.body, next)?.map(|mark| {
                let mut url = self.base.clone();
                set_param(&mut url, param, &mark);
                url
            }),
            Pages::NextUrl { next, .. } => {
                mark(page.body, next)?.map(|target| join(page.url, &target)).transpose()?
            }
            Pages::Link { .. } => next_link(page.links.iter().map(String::as_str))
                .map(|target| join(page.url, &target))
                .transpose()?,
        };
        let Some(next) = next else { return Ok(None) };
        let is_new = self.used.insert(hash_bytes(next.as_str().as_bytes()));
        if page.rows == 0 {
            self.empty_pages += 1;
            if !is_new {
                return Ok(None);
            }
            if self.empty_pages >= EMPTY_PAGES_MAX {
                return Err(Error::new(
                    codes::HTTP_ANSWER,
                    format!(
                        "{EMPTY_PAGES_MAX} pages without rows came one after the other, and the server still names a next one"
                    ),
                )
                .hint("check `rows` and `pages`: nobody knows whether rows would follow"));
            }
        } else {
            self.empty_pages = 0;
        }
        if !is_new {
            return Err(Error::new(
                codes::HTTP_ANSWER,
                format!("page {} names a next page that was already read", self.pages_read),
            )
            .hint("the server goes in a circle: check `pages`"));
        }
        if self.pages_read >= self.pages.max_pages() {
            return Err(Error::new(
                codes::TOO_LARGE,
                format!("there are more than {} pages", self.pages_read),
            )
            .hint("raise `max_pages` of `pages` if that many are expected"));
        }
        Ok(Some(next))
    }

    /// A server may give less than `size` rows at once: a page is short only beside a longer one.
    fn next_counted(&mut self, page: &PageRead<'_>, size: u64) -> Result<Option<Url>> {
        if page.rows == 0 || (page.rows < self.longest && page.rows < size) {
            return Ok(None);
        }
        if page.sha256 == self.last_sha256 {
            return Err(Error::new(
                codes::HTTP_ANSWER,
                format!("page {} is the same as the one before it", self.pages_read),
            )
            .hint("the server does not heed the parameters of `pages`: check them; if it gives everything at once, leave `pages` out"));
        }
        self.longest = self.longest.max(page.rows);
        self.last = page.rows;
        self.last_sha256.clone_from(&page.sha256);
        Ok(Some(self.counted()))
    }
}

/// The text at `path` in a JSON answer; `None` when it is missing, `null`, `false` or empty.
fn mark(body: &Body, path: &str) -> Result<Option<String>> {
    let wrong = |what: String| Error::new(codes::HTTP_ANSWER, format!("the next page at `{path}`: {what}"));
    let path = JsonPath::parse(path).map_err(|error| wrong(error.to_string()))?;
    let reader = body.open().map_err(|error| wrong(error.to_string()))?;
    let answer: Value = match serde_json::from_reader(BufReader::new(reader)) {
        Ok(answer) => answer,
        Err(error) if error.is_eof() && body.is_empty().unwrap_or(false) => return Ok(None),
        Err(_) => return Err(wrong("the answer is not JSON".to_owned())),
    };
    match path.query(&answer).first() {
        None | Some(Value::Null | Value::Bool(false)) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(wrong("found something that is neither text nor a number".to_owned())),
    }
}

fn join(page: &Url, target: &str) -> Result<Url> {
    let wrong =
        || Error::new(codes::HTTP_ANSWER, "the address of the next page is not an http:// or https:// URL");
    let mut url = page.join(target).map_err(|_| wrong())?;
    if !is_http(&url) {
        return Err(wrong());
    }
    url.set_fragment(None);
    crate::http::take_user_info(&mut url);
    Ok(url)
}

/// Sets one query parameter and leaves the others.
pub(crate) fn set_param(url: &mut Url, name: &str, value: &str) {
    if url.query_pairs().any(|(n, _)| n == name) {
        let others: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(n, _)| n != name)
            .map(|(n, v)| (n.into_owned(), v.into_owned()))
            .collect();
        url.query_pairs_mut().clear().extend_pairs(others);
    }
    url.query_pairs_mut().append_pair(name, value);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn walk(pages: Value, answers: &[(u64, Value)]) -> Vec<String> {
        let pages: Pages = serde_json::from_value(pages).unwrap();
        pages.validate().unwrap();
        let base = Url::parse("http://a.example/x?q=1").unwrap();
        let mut walk = Walk::new(&pages, &base);
        let mut url = walk.first();
        let mut seen = Vec::new();
        for (n, (rows, answer)) in answers.iter().enumerate() {
            seen.push(url.query().unwrap_or_default().to_owned());
            let body = Body::Memory(answer.to_string().into());
            let sha256 = if *answer == json!("same") { "same".to_owned() } else { n.to_string() };
            match walk.next(PageRead { rows: *rows, sha256, body: &body, url: &url, links: &[] }) {
                Ok(Some(next)) => url = next,
                Ok(None) => {
                    seen.push("end".to_owned());
                    break;
                }
                Err(error) => seen.push(error.message().to_owned()),
            }
        }
        seen
    }

    #[test]
    fn counted_pages_end_at_one_that_is_shorter_than_another_or_empty() {
        let offset = json!({"type": "offset", "size": 2, "size_param": "$limit", "offset_param": "$offset"});
        let any = json!([]);
        assert_eq!(
            walk(offset.clone(), &[(2, any.clone()), (2, any.clone()), (1, any.clone())]),
            ["q=1&%24limit=2&%24offset=0", "q=1&%24limit=2&%24offset=2", "q=1&%24limit=2&%24offset=4", "end"]
        );
        assert_eq!(walk(offset, &[(0, any.clone())]).last().unwrap(), "end");
        let page = json!({"type": "page", "size": 2, "size_param": "per_page", "first": 0});
        assert_eq!(
            walk(page.clone(), &[(2, any.clone()), (0, any.clone())]),
            ["q=1&per_page=2&page=0", "q=1&per_page=2&page=1", "end"]
        );
        // Longer than asked for, and then as long as asked for.
        let answers = [5, 2, 1].map(|rows| (rows, any.clone()));
        assert_eq!(walk(page, &answers).len(), 4);
    }

    #[test]
    fn a_server_that_gives_less_than_asked_for_is_read_to_its_end() {
        let queries = |pages: Value, rows: &[u64]| {
            let answers: Vec<_> = rows.iter().map(|rows| (*rows, json!([]))).collect();
            walk(pages, &answers)
        };
        let offset = json!({"type": "offset", "size": 100});
        let offsets = [0, 50, 100, 150, 200].map(|n| format!("q=1&limit=100&offset={n}"));
        let mut found = queries(offset, &[50, 50, 50, 50, 30]);
        assert_eq!(found.pop().unwrap(), "end");
        assert_eq!(found, offsets);
        let page = json!({"type": "page", "size": 100});
        assert_eq!(queries(page.clone(), &[50, 50, 0]), ["q=1&page=1", "q=1&page=2", "q=1&page=3", "end"]);
        assert_eq!(queries(page, &[30, 0]), ["q=1&page=1", "q=1&page=2", "end"]);
    }

    #[test]
    fn only_behind_a_page_that_is_not_full_a_refusal_is_the_end() {
        let base = Url::parse("http://a.example/x").unwrap();
        for (pages, rows, refusals) in [
            (json!({"type": "page", "size": 2}), 1, NO_SUCH_PAGE),
            (json!({"type": "page", "size": 2}), 2, &[]),
            (json!({"type": "offset", "size": 2}), 1, &[]),
        ] {
            let pages: Pages = serde_json::from_value(pages).unwrap();
            let mut walk = Walk::new(&pages, &base);
            assert!(walk.refusals_of_the_end().is_empty());
            let body = Body::Memory("[]".into());
            let page = PageRead { rows, sha256: "x".to_owned(), body: &body, url: &base, links: &[] };
            walk.next(page).unwrap();
            assert_eq!(walk.refusals_of_the_end(), refusals, "{pages:?}");
        }
    }

    #[test]
    fn a_server_that_gives_the_same_page_again_is_not_believed() {
        let pages = json!({"type": "page", "size": 2});
        let same = json!("same");
        for rows in [1, 2] {
            let found = walk(pages.clone(), &[(rows, same.clone()), (rows, same.clone())]);
            assert_eq!(found.last().unwrap(), "page 2 is the same as the one before it");
        }
    }

    #[test]
    fn marks_are_followed_until_there_is_none() {
        let cursor = json!({"type": "cursor", "next": "$.next", "param": "after"});
        for end in [json!({}), json!({"next": null}), json!({"next": ""}), json!({"next": false})] {
            assert_eq!(
                walk(cursor.clone(), &[(1, json!({"next": "a b"})), (1, json!({"next": 7})), (1, end)]),
                ["q=1", "q=1&after=a+b", "q=1&after=7", "end"]
            );
        }
        // A page without rows need not be the last: Google's and Microsoft's interfaces say so.
        let with_hole = [(1, json!({"next": "a"})), (0, json!({"next": "b"})), (1, json!({}))];
        assert_eq!(walk(cursor.clone(), &with_hole).last().unwrap(), "end");
        // Elasticsearch repeats its mark for ever, without rows.
        assert_eq!(
            walk(cursor.clone(), &[(1, json!({"next": "a"})), (0, json!({"next": "a"}))]).last().unwrap(),
            "end"
        );
        let circle = walk(cursor.clone(), &[(1, json!({"next": "a"})), (1, json!({"next": "a"}))]);
        assert_eq!(circle.last().unwrap(), "page 2 names a next page that was already read");
        assert!(
            walk(cursor.clone(), &[(1, json!({"next": {"a": 1}}))])[1].contains("neither text nor a number")
        );
        let endless: Vec<_> = (0..20).map(|n| (0, json!({"next": n}))).collect();
        assert!(walk(cursor, &endless).last().unwrap().starts_with("20 pages without rows came"));
    }

    #[test]
    fn addresses_are_joined_and_only_http() {
        let next_url = json!({"type": "next_url", "next": "$.next"});
        assert_eq!(
            walk(
                next_url.clone(),
                &[(1, json!({"next": "?page=2"})), (1, json!({"next": "http://b.example/?z"}))]
            ),
            ["q=1", "page=2"]
        );
        assert!(
            walk(next_url.clone(), &[(1, json!({"next": "file:///etc/passwd"}))])[1]
                .contains("not an http://")
        );
        assert!(
            walk(next_url, &[(1, json!({"next": "http://a.example/x?q=1"}))])[1].contains("already read")
        );
    }

    #[test]
    fn more_pages_than_allowed_are_an_error() {
        let pages = json!({"type": "page", "size": 1, "max_pages": 2});
        assert_eq!(
            walk(pages, &[(1, json!([1])), (1, json!([2]))]),
            ["q=1&page=1", "q=1&page=2", "there are more than 2 pages"]
        );
    }

    #[test]
    fn a_parameter_is_replaced_and_not_doubled() {
        let mut url = Url::parse("http://a.example/?page=1&x=a%20b").unwrap();
        set_param(&mut url, "page", "2");
        assert_eq!(url.query(), Some("x=a+b&page=2"));
    }

    #[test]
    fn mistakes_name_what_is_allowed() {
        let error = serde_json::from_value::<Pages>(json!({"type": "offsett"})).unwrap_err().to_string();
        assert!(error.contains("`offset`, `page`, `cursor`, `next_url`, `link`"), "{error}");
        assert!(serde_json::from_value::<Pages>(json!({"type": "link", "size": 1})).is_err());
        let bad: Pages = serde_json::from_value(json!({"type": "next_url", "next": "$["})).unwrap();
        assert_eq!(bad.validate().unwrap_err().path, ["pages", "next"]);
    }
}
