//! From one page of an answer to the address of the next.

use std::{collections::HashSet, io::Read};

use lagar_flow::{Body, Error, Result, codes};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use crate::{
    config::ConfigError,
    decode,
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
    /// Rows are counted: `?limit=100&offset=200`. Ends at a page without rows.
    Offset {
        /// Rows to ask for; the server may give less.
        size: u64,
        #[serde(default = "limit")]
        size_param: String,
        #[serde(default = "offset")]
        offset_param: String,
        #[serde(default = "max_pages")]
        max_pages: u64,
        #[serde(default)]
        empty: EmptyPage,
    },
    /// Pages are counted: `?page=3`. Ends at a page without rows, or at one that the server refuses with
    /// 400 or 404 behind one that was not full.
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
        #[serde(default)]
        empty: EmptyPage,
    },
    /// The answer holds a mark for the next page. Ends when it holds none.
    Cursor {
        /// JSONPath of the mark.
        next: String,
        /// The query parameter that takes it.
        param: String,
        #[serde(default = "max_pages")]
        max_pages: u64,
        #[serde(default)]
        empty: EmptyPage,
    },
    /// The answer holds the next page's address. Ends when it holds none.
    NextUrl {
        /// JSONPath of the address.
        next: String,
        #[serde(default = "max_pages")]
        max_pages: u64,
        #[serde(default)]
        empty: EmptyPage,
    },
    /// The next page's address is in the `Link` header (RFC 8288). Ends when there is none.
    Link {
        #[serde(default = "max_pages")]
        max_pages: u64,
        #[serde(default)]
        empty: EmptyPage,
    },
}

/// What a page without rows looks like that comes after others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EmptyPage {
    /// The list is there with nothing in it, or the status is 204. Anything else is an error.
    #[default]
    List,
    /// Also `null`, an empty answer, or one without the list.
    Any,
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
                let parsed = decode::parse_json_path(next).map(|_| ());
                parsed.map_err(|message| ConfigError::new(&["pages", "next"], message))
            }
            _ => Ok(()),
        }
    }

    pub fn is_counted(&self) -> bool {
        self.size().is_some()
    }

    pub fn empty(&self) -> EmptyPage {
        match self {
            Pages::Offset { empty, .. }
            | Pages::Page { empty, .. }
            | Pages::Cursor { empty, .. }
            | Pages::NextUrl { empty, .. }
            | Pages::Link { empty, .. } => *empty,
        }
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
            | Pages::Link { max_pages, .. } => *max_pages,
        }
    }
}

/// What the next address depends on.
pub(crate) struct PageRead<'a> {
    /// Rows in it, rejected ones included.
    pub rows: u64,
    /// Hash over the rows, whatever is around them.
    pub rows_sha256: String,
    pub body: &'a Body,
    /// Its own address, after redirects.
    pub url: &'a Url,
    /// Values of its `Link` headers.
    pub links: &'a [String],
}

/// What a page means for the walk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The next page is there.
    Next(Url),
    /// There is none.
    End,
    /// It was the last page again, and is not kept.
    EndBefore,
    /// Whether it is the end must be asked once more.
    Again,
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
    last_rows_sha256: String,
    asked_again: bool,
    empty_pages: u32,
    /// Hashes of the marks and addresses already used,
    used: HashSet<String>,
    /// and of the rows of the pages.
    rows_seen: HashSet<String>,
}

impl<'a> Walk<'a> {
    pub fn new(pages: &'a Pages, base: &'a Url) -> Self {
        Self {
            pages,
            base,
            pages_read: 0,
            rows_read: 0,
            longest: 0,
            last: 0,
            last_rows_sha256: String::new(),
            asked_again: false,
            empty_pages: 0,
            used: HashSet::from([hash_of(base)]),
            rows_seen: HashSet::new(),
        }
    }

    pub fn first(&self) -> Url {
        self.counted()
    }

    pub fn has_begun(&self) -> bool {
        self.pages_read > 0
    }

    /// Statuses that say no more than that the page before was the last one: such as are expected after
    /// a page that was not full, which is asked beyond only because the server may give less than `size`.
    pub fn refusals_of_the_end(&self) -> &'static [u16] {
        match self.pages {
            Pages::Offset { .. } if self.last_was_short() => NO_SUCH_PAGE,
            // Behind the first page, or behind one that was shorter than another. A server that gives less
            // than `size` each time may also refuse for another reason, so there only 404 is believed.
            Pages::Page { size, .. } if self.pages_read > 0 && self.last < *size => {
                if self.pages_read == 1 || self.last_was_short() { NO_SUCH_PAGE } else { &NO_SUCH_PAGE[1..] }
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

    /// Whether the last page was shorter than another one, and than it might have been: most likely the end.
    fn last_was_short(&self) -> bool {
        self.last < self.longest && self.pages.size().is_some_and(|size| self.last < size)
    }

    /// Where to go after `page`. Nothing that could mean missing rows passes for the end:
    ///
    /// - Where rows or pages are counted only a page without rows is the end. A shorter one is not: the
    ///   server may give less than `size`, or leave rows out after it has counted them.
    /// - A page without rows that comes as a surprise is asked for once more.
    /// - A page with the rows of an earlier one is an error, and so is a mark or address that was used
    ///   before, when rows came with it: the server goes in a circle, or is not asked as it wants to be.
    pub fn next(&mut self, page: PageRead<'_>) -> Result<Step> {
        let named = self.named(&page)?;
        let was_used = named.as_ref().is_some_and(|url| self.used.contains(&hash_of(url)));
        let has_rows = page.rows > 0;
        // Some servers repeat their last mark, without rows, for ever.
        let is_end =
            if self.pages.is_counted() { !has_rows } else { named.is_none() || (was_used && !has_rows) };
        if is_end && !has_rows && self.has_begun() && !self.last_was_short() && !self.asked_again {
            self.asked_again = true;
            return Ok(Step::Again);
        }
        self.asked_again = false;
        if has_rows {
            if was_used {
                let message = format!("page {} names a next page that was already read", self.pages_read + 1);
                return Err(Error::new(codes::HTTP_ANSWER, message)
                    .hint("the server goes in a circle: check `pages`"));
            }
            if !self.rows_seen.insert(page.rows_sha256.clone()) {
                return self.repeated(&page);
            }
        }
        self.pages_read += 1;
        self.rows_read += page.rows;
        self.longest = self.longest.max(page.rows);
        self.last = page.rows;
        self.last_rows_sha256 = page.rows_sha256;
        if is_end {
            return Ok(Step::End);
        }
        self.empty_pages = if has_rows { 0 } else { self.empty_pages + 1 };
        if self.empty_pages >= EMPTY_PAGES_MAX {
            return Err(Error::new(
                codes::HTTP_ANSWER,
                format!(
                    "{EMPTY_PAGES_MAX} pages without rows came one after the other, and the server still names a next one"
                ),
            )
            .hint("check `rows` and `pages`: nobody knows whether rows would follow"));
        }
        if self.pages_read >= self.pages.max_pages() {
            return Err(Error::new(
                codes::TOO_LARGE,
                format!("there are more than {} pages", self.pages_read),
            )
            .hint("raise `max_pages` of `pages` if that many are expected"));
        }
        let next = named.unwrap_or_else(|| self.counted());
        self.used.insert(hash_of(&next));
        Ok(Step::Next(next))
    }

    /// A page whose rows came before. Some servers give their last page for every number behind it.
    fn repeated(&self, page: &PageRead<'_>) -> Result<Step> {
        if self.last_was_short() && page.rows_sha256 == self.last_rows_sha256 {
            return Ok(Step::EndBefore);
        }
        let message = format!("page {} has the same rows as one before it", self.pages_read + 1);
        Err(Error::new(codes::HTTP_ANSWER, message).hint(if self.pages.is_counted() {
            "the server does not heed the parameters of `pages`: check them; if it gives everything at once, leave `pages` out"
        } else {
            "the server goes in a circle: check `pages`"
        }))
    }

    /// The address of the next page, where the answer names it.
    fn named(&self, page: &PageRead<'_>) -> Result<Option<Url>> {
        match self.pages {
            Pages::Offset { .. } | Pages::Page { .. } => Ok(None),
            Pages::Cursor { next, param, .. } => Ok(mark(page.body, next)?.map(|mark| {
                let mut url = self.base.clone();
                set_param(&mut url, param, &mark);
                url
            })),
            Pages::NextUrl { next, .. } => {
                mark(page.body, next)?.map(|target| join(page.url, &target)).transpose()
            }
            Pages::Link { .. } => next_link(page.links.iter().map(String::as_str))
                .map(|target| join(page.url, &target))
                .transpose(),
        }
    }
}

fn hash_of(url: &Url) -> String {
    hash_bytes(url.as_str().as_bytes())
}

/// The text at `path` in a JSON answer; `None` when it is missing, `null`, `false` or empty.
fn mark(body: &Body, path: &str) -> Result<Option<String>> {
    let wrong = |what: &str| Error::new(codes::HTTP_ANSWER, format!("the next page at `{path}`: {what}"));
    let text = text_of(body).map_err(|error| wrong("the answer cannot be read").caused_by(&error))?;
    let found =
        decode::selected(&text, path).map_err(|error| wrong("it cannot be found").caused_by(&error))?;
    match found.first().copied() {
        None | Some("null" | "false" | "\"\"") => Ok(None),
        Some(value) => match value.as_bytes().first() {
            Some(b'"') => serde_json::from_str(value).map(Some).map_err(|_| wrong("it is not a text")),
            Some(b'-' | b'0'..=b'9') => Ok(Some(value.to_owned())),
            _ => Err(wrong("found something that is neither text nor a number")),
        },
    }
}

/// The answer without a byte order mark.
pub(crate) fn text_of(body: &Body) -> std::io::Result<String> {
    let mut text = String::new();
    body.open()?.read_to_string(&mut text)?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
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
    use serde_json::{Value, json};

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
            let rows_sha256 = match answer.as_str() {
                Some(same) => same.to_owned(),
                None => n.to_string(),
            };
            match walk.next(PageRead { rows: *rows, rows_sha256, body: &body, url: &url, links: &[] }) {
                Ok(Step::Next(next)) => url = next,
                Ok(Step::Again) => seen.push("again".to_owned()),
                Ok(step) => {
                    seen.push(format!("{step:?}"));
                    break;
                }
                Err(error) => seen.push(error.message().to_owned()),
            }
        }
        seen
    }

    fn counted(pages: &Value, rows: &[u64]) -> Vec<String> {
        let answers: Vec<_> = rows.iter().map(|rows| (*rows, json!([]))).collect();
        walk(pages.clone(), &answers)
    }

    #[test]
    fn counted_pages_end_at_one_without_rows() {
        let offset = json!({"type": "offset", "size": 2, "size_param": "$limit", "offset_param": "$offset"});
        let at = |offset: u32| format!("q=1&%24limit=2&%24offset={offset}");
        assert_eq!(counted(&offset, &[2, 2, 1, 0]), [at(0), at(2), at(4), at(5), "End".into()]);
        // Rows are left out by some servers after they were counted: a short page is not the last.
        assert_eq!(
            counted(&offset, &[2, 1, 2, 0, 0]),
            [at(0), at(2), at(3), at(5), "again".into(), at(5), "End".into()]
        );
        assert_eq!(counted(&offset, &[0]), [at(0), "End".into()]);
        let page = json!({"type": "page", "size": 2, "size_param": "per_page", "first": 0});
        let at = |page: u32| format!("q=1&per_page=2&page={page}");
        assert_eq!(counted(&page, &[2, 0, 0]), [at(0), at(1), "again".into(), at(1), "End".into()]);
        // Longer than asked for, and then as long as asked for.
        assert_eq!(counted(&page, &[5, 2, 1, 0]).len(), 5);
    }

    #[test]
    fn a_page_without_rows_that_comes_as_a_surprise_is_asked_for_again() {
        let page = json!({"type": "page", "size": 2});
        let at = |page: u32| format!("q=1&page={page}");
        let found = counted(&page, &[2, 0, 2, 0, 2, 0, 0]);
        let again = || "again".to_owned();
        assert_eq!(
            found,
            [at(1), at(2), again(), at(2), at(3), again(), at(3), at(4), again(), at(4), "End".into()]
        );
        let cursor = json!({"type": "cursor", "next": "$.next", "param": "after"});
        let pages = [(1, json!({"next": "a"})), (0, json!({})), (1, json!({"next": "b"})), (1, json!({}))];
        assert_eq!(
            walk(cursor, &pages),
            ["q=1", "q=1&after=a", "again", "q=1&after=a", "q=1&after=b", "End"]
        );
    }

    #[test]
    fn a_server_that_gives_less_than_asked_for_is_read_to_its_end() {
        let offsets = [0, 50, 100, 150, 200, 230].map(|n| format!("q=1&limit=100&offset={n}"));
        let mut found = counted(&json!({"type": "offset", "size": 100}), &[50, 50, 50, 50, 30, 0]);
        assert_eq!(found.pop().unwrap(), "End");
        assert_eq!(found, offsets);
    }

    #[test]
    fn only_behind_a_page_that_is_not_full_a_refusal_is_the_end() {
        let base = Url::parse("http://a.example/x").unwrap();
        for (pages, rows, refusals) in [
            (json!({"type": "page", "size": 2}), 1, NO_SUCH_PAGE),
            (json!({"type": "page", "size": 2}), 2, &[]),
            (json!({"type": "offset", "size": 2}), 1, &[]),
        ] as [(_, _, &[u16]); 3]
        {
            let pages: Pages = serde_json::from_value(pages).unwrap();
            let mut walk = Walk::new(&pages, &base);
            assert!(walk.refusals_of_the_end().is_empty());
            let body = Body::Memory("[]".into());
            let read = |rows, hash: &str| PageRead {
                rows,
                rows_sha256: hash.to_owned(),
                body: &body,
                url: &base,
                links: &[],
            };
            walk.next(read(rows, "x")).unwrap();
            assert_eq!(walk.refusals_of_the_end(), refusals, "{pages:?}");
            walk.next(read(2, "y")).unwrap();
            walk.next(read(1, "z")).unwrap();
            assert_eq!(walk.refusals_of_the_end(), NO_SUCH_PAGE, "{pages:?}");
        }
    }

    #[test]
    fn a_server_that_gives_the_same_page_again_is_not_believed() {
        let pages = json!({"type": "page", "size": 2});
        let says = |rows: &[(u64, &str)]| {
            let answers: Vec<_> = rows.iter().map(|(rows, same)| (*rows, json!(same))).collect();
            walk(pages.clone(), &answers).pop().unwrap()
        };
        for rows in [1, 2] {
            assert_eq!(says(&[(rows, "a"), (rows, "a")]), "page 2 has the same rows as one before it");
        }
        assert_eq!(says(&[(2, "a"), (2, "b"), (2, "a")]), "page 3 has the same rows as one before it");
        // The last page for every number behind it.
        assert_eq!(says(&[(2, "a"), (1, "b"), (1, "b")]), "EndBefore");
        assert_eq!(says(&[(2, "a"), (1, "b"), (2, "a")]), "page 3 has the same rows as one before it");
    }

    #[test]
    fn marks_are_followed_until_there_is_none() {
        let cursor = json!({"type": "cursor", "next": "$.next", "param": "after"});
        for end in [json!({}), json!({"next": null}), json!({"next": ""}), json!({"next": false})] {
            assert_eq!(
                walk(cursor.clone(), &[(1, json!({"next": "a b"})), (1, json!({"next": 7})), (1, end)]),
                ["q=1", "q=1&after=a+b", "q=1&after=7", "End"]
            );
        }
        // A page without rows need not be the last: Google's and Microsoft's interfaces say so.
        let with_hole = [(1, json!({"next": "a"})), (0, json!({"next": "b"})), (1, json!({}))];
        assert_eq!(walk(cursor.clone(), &with_hole).last().unwrap(), "End");
        // Elasticsearch repeats its mark for ever, without rows.
        assert_eq!(
            walk(
                cursor.clone(),
                &[(1, json!({"next": "a"})), (0, json!({"next": "a"})), (0, json!({"next": "a"}))]
            )
            .last()
            .unwrap(),
            "End"
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
