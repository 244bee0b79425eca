//! JSON interfaces over HTTP: one request, or one a page.
//!
//! A read hands over one file a page with the exact bytes of the answer (without the keys of `redact`).
//! The pages wait in the spool until the last one is there, because only then it is known whether
//! anything changed since the last load: if not, nothing is handed over.

mod order;
mod paginate;
mod saved;

use std::{
    collections::BTreeMap,
    io::{Read, Write},
};

use async_trait::async_trait;
use lagar_flow::{
    Body, Chunk, Compression, Error, Format, FormatKind, Note, Origin, Position, Result, Scope, Secret,
    codes, evolve, redact_url,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

use crate::{
    Chunks, Cx, Kind, Outcome, Source,
    config::{self, ConfigError},
    decode,
    http::{self, Answer, Fetched, Get, Http, Shared, http_url, remove_keys, unless_stopped, with_http_keys},
    probe,
    spool::{
        Landing, MEMORY_BYTES_MAX, Spool, Spooled, blocking, hash_bytes, hex, land, position, to_position,
        too_large, write_error,
    },
    window::{Asked, RestWindow, WindowParams, Windows},
};
use paginate::{EmptyPage, PageRead, Pages, Step, Walk, set_param, text_of};
use saved::SavedAnswer;

pub const KIND: Kind = Kind {
    name: "rest",
    summary: "JSON APIs over HTTP, page by page, with logins, retries and a rate limit",
    parse,
    schema: || schemars::schema_for!(Config),
};

const NO_CONTENT: u16 = 204;
/// So much is shown of an answer that should have had rows.
const ANSWER_CHARS_SHOWN: usize = 200;

/// Keys of the contract that later versions bring.
const LATER: &[&str] = &["for_each", "children"];

with_http_keys! {
    struct Config {
        /// `https://…`, or `file:FOLDER/NAME` to read a saved answer from `FOLDER/NAME.json`.
        url: String,
        /// How to ask; only GET.
        #[serde(default)]
        #[expect(dead_code, reason = "GET is all there is; the key may be written all the same")]
        method: Method,
        /// Query parameters of every request that Lagar makes up itself.
        #[serde(default, deserialize_with = "crate::http::secret_texts")]
        #[schemars(with = "BTreeMap<String, String>")]
        params: BTreeMap<String, Secret>,
        /// JSONPath (RFC 9535) of the rows in an answer; default: the answer, an array or one object.
        rows: Option<String>,
        /// How to get from one page to the next.
        pages: Option<Pages>,
        /// Read by windows of time, one load each. A saved answer of a window is `FOLDER/NAME/2024-01-31.json`.
        window: Option<RestWindow>,
        /// Object keys that are removed, at any depth, before anything is stored.
        #[serde(default)]
        redact: Vec<String>,
    }
}

#[derive(Default, Deserialize, schemars::JsonSchema)]
enum Method {
    #[default]
    #[serde(alias = "get")]
    #[serde(rename = "GET")]
    Get,
}

struct Rest {
    config: Config,
    place: Place,
    window: Option<WindowParams>,
    /// Whether `$order` was put in.
    is_ordered: bool,
    shared: Shared,
}

enum Place {
    /// With `params`.
    Server(Url),
    Saved(SavedAnswer),
}

/// What a load remembers.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    /// Hash over the hashes of the pages.
    sha256: String,
    /// Hash of what the bytes mean: a change of it makes the same bytes a new load.
    read_as: String,
    /// Of one answer that is not paged: what to ask the server with, and for which requests it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_modified: Option<String>,
}

fn parse(value: &Value) -> Result<Box<dyn Source>, ConfigError> {
    for key in LATER {
        if value.get(key).is_some() {
            return Err(ConfigError::new(&[key], format!("`{key}` is not supported yet")));
        }
    }
    let config: Config = config::parse(value)?;
    if let Some(rows) = &config.rows {
        decode::parse_json_path(rows).map_err(|message| ConfigError::new(&["rows"], message))?;
    }
    if let Some(pages) = &config.pages {
        pages.validate()?;
        if pages.is_counted() && config.rows.as_deref().is_some_and(|rows| rows.contains("[?")) {
            let message =
                "where rows or pages are counted, `rows` must not leave any out: filter them in a model";
            return Err(ConfigError::new(&["rows"], message));
        }
    }
    let place = match SavedAnswer::parse(&config.url) {
        Some(saved) => Place::Saved(saved),
        None => {
            let mut url = http_url(&config.url).ok_or_else(|| {
                let shown = redact_url(&config.url);
                ConfigError::new(&["url"], format!("`{shown}` is not an http://, https:// or file: URL"))
            })?;
            url.set_fragment(None);
            for (name, value) in &config.params {
                set_param(&mut url, name, value.expose());
            }
            Place::Server(url)
        }
    };
    let window = window_params(&config, &place)?;
    let mut rest = Rest { config, place, window, is_ordered: false, shared: Shared::default() };
    rest.heed_soda()?;
    Ok(Box::new(rest))
}

/// `window:`, checked.
fn window_params(config: &Config, place: &Place) -> Result<Option<WindowParams>, ConfigError> {
    let Some(window) = config.window.clone().map(WindowParams::new).transpose()? else { return Ok(None) };
    if let Place::Server(url) = place
        && let Some(twice) = window.names().find(|name| url.query_pairs().any(|(known, _)| known == *name))
    {
        let message = format!("`{twice}` is also set outside of `window`: put both into one text here");
        return Err(ConfigError::new(&["window", "params"], message));
    }
    Ok(Some(window))
}

#[async_trait]
impl Source for Rest {
    async fn read(&self, cx: &Cx, from: Option<&Position>, out: &Chunks) -> Result<Outcome> {
        cx.check_cancelled()?;
        let seen: Option<Seen> = from.map(position).transpose()?;
        match &self.place {
            Place::Saved(saved) => self.read_saved(cx, saved, seen.as_ref(), out).await,
            Place::Server(url) => self.read_server(cx, url, seen.as_ref(), out).await,
        }
    }

    fn windows(&self) -> Option<&Windows> {
        self.window.as_ref().map(|window| &window.windows)
    }

    async fn read_window(
        &self,
        cx: &Cx,
        asked: &Asked,
        from: Option<&Position>,
        out: &Chunks,
    ) -> Result<Outcome> {
        cx.check_cancelled()?;
        let Some(window) = &self.window else { return Err(Error::bug("there are no windows to read")) };
        let seen: Option<Seen> = from.map(position).transpose()?;
        let outcome = match &self.place {
            Place::Saved(saved) => {
                let saved = saved.within(&window.file_name(&asked.window));
                self.read_saved(cx, &saved, seen.as_ref(), out).await?
            }
            Place::Server(url) => {
                let mut url = url.clone();
                for (name, value) in window.of(&asked.window)? {
                    set_param(&mut url, name, &value);
                }
                self.read_server(cx, &url, seen.as_ref(), out).await?
            }
        };
        Ok(outcome.of_window())
    }

    fn warnings(&self) -> Vec<String> {
        self.order_warning().into_iter().collect()
    }

    async fn probe(&self, cx: &Cx) -> Result<String> {
        match &self.place {
            Place::Saved(saved) => Ok(format!("{}: a saved answer", saved.find(cx)?.0)),
            Place::Server(url) => probe::server(cx, url, &self.config.timeout).await,
        }
    }

    fn gives_states(&self) -> bool {
        self.windows().is_none()
    }

    fn with_types(&self, then: &Cx, now: &Cx, at: Position) -> Result<Position> {
        let mut seen: Seen = position(&at)?;
        if seen.read_as == self.read_as(then) {
            seen.read_as = self.read_as(now);
        }
        to_position(&seen)
    }

    fn address(&self) -> String {
        redact_url(&self.config.url)
    }
}

impl Rest {
    async fn read_server(&self, cx: &Cx, url: &Url, seen: Option<&Seen>, out: &Chunks) -> Result<Outcome> {
        match &self.config.pages {
            Some(pages) => self.read_pages(cx, url, pages, seen, out).await,
            None => self.read_one(cx, url, seen, out).await,
        }
    }

    async fn read_saved(
        &self,
        cx: &Cx,
        saved: &SavedAnswer,
        seen: Option<&Seen>,
        out: &Chunks,
    ) -> Result<Outcome> {
        let (shown, path) = saved.find(cx)?;
        let read = path.clone();
        let mut spooled = blocking(move || saved::hashed(&read)).await?;
        if !self.config.redact.is_empty() {
            spooled = self.redacted(cx, spooled, &shown).await?;
        }
        let now = self.seen(cx, &[&spooled.sha256]);
        if let Some(why) = unchanged(seen, &now) {
            return Ok(Outcome::Nothing { why });
        }
        let origin = Origin { url: shown, ..self.origin(cx) };
        let chunk = self.land(cx, spooled, origin, None).await?;
        self.hand_over(cx, out, vec![chunk], seen, now).await
    }

    async fn read_one(&self, cx: &Cx, url: &Url, seen: Option<&Seen>, out: &Chunks) -> Result<Outcome> {
        let mut url = url.clone();
        let http = Http::new(cx, self.config.http(), &mut url, &self.shared)?;
        let asked = http.identity(&url);
        let read_as = self.read_as(cx);
        let mut get = self.get(url, MEMORY_BYTES_MAX);
        if let Some(seen) = seen.filter(|s| s.read_as == read_as && s.url.as_ref() == Some(&asked)) {
            get.etag = seen.etag.as_deref();
            get.last_modified = seen.last_modified.as_deref();
        }
        let fetched = match http.get(&get).await? {
            Answer::Fetched(fetched) => fetched,
            Answer::NotModified => {
                let what = if get.etag.is_some() { "ETag" } else { "Last-Modified" };
                return Ok(Outcome::Nothing { why: format!("{what} unchanged (304)") });
            }
        };
        let (origin, page) = self.page(cx, &http, *fetched).await?;
        let mut now = self.seen(cx, &[&page.spooled.sha256]);
        if let Some(why) = unchanged(seen, &now) {
            return Ok(Outcome::Nothing { why });
        }
        now.url = Some(asked);
        now.etag = page.etag;
        now.last_modified = page.last_modified;
        let chunk = self.land(cx, page.spooled, origin, None).await?;
        self.hand_over(cx, out, vec![chunk], seen, now).await
    }

    async fn read_pages(
        &self,
        cx: &Cx,
        url: &Url,
        pages: &Pages,
        seen: Option<&Seen>,
        out: &Chunks,
    ) -> Result<Outcome> {
        let mut base = url.clone();
        let http = Http::new(cx, self.config.http(), &mut base, &self.shared)?;
        let mut walk = Walk::new(pages, &base);
        let mut next = walk.first();
        let mut chunks: Vec<Chunk> = Vec::new();
        let mut known = cx.known.as_deref().cloned();
        // All pages together stay below the limit of what one may keep in memory.
        let mut memory_left = MEMORY_BYTES_MAX;
        loop {
            let get = Get { accept: walk.refusals_of_the_end(), ..self.get(next.clone(), memory_left) };
            let Answer::Fetched(fetched) = http.get(&get).await? else {
                return Err(Error::new(
                    codes::HTTP_ANSWER,
                    "a server answered 304 without having been asked",
                ));
            };
            if get.accept.contains(&fetched.status) {
                break;
            }
            // Pages may be alike without the keys of `redact`.
            let answer = fetched.spooled.body.clone();
            let (origin, page) = self.page(cx, &http, *fetched).await?;
            let (body, bytes) = (page.spooled.body.clone(), page.spooled.bytes as usize);
            if self.config.rows.is_none() && is_object(&body) {
                return Err(Error::new(
                    codes::HTTP_ANSWER,
                    format!("{} answered one object and not a page of rows", http.shown(&next)),
                )
                .hint("say with `rows` where in it the rows are: `rows: $.data[*]`, or `rows: $` if the object is the row"));
            }
            let chunk = self.land(cx, page.spooled, origin, known.as_ref()).await?;
            let rows = chunk.file.rows.unwrap_or(0) + chunk.rejects.len() as u64;
            if rows == 0 && walk.has_begun() && pages.empty() == EmptyPage::List && page.status != NO_CONTENT
            {
                self.check_empty_page(&http, &next, &body).await?;
            }
            let read = PageRead {
                rows,
                rows_sha256: hash_of_rows(answer, &chunk.file.format).await?,
                body: &body,
                url: &page.url,
                links: &page.links,
            };
            let step = walk.next(read).map_err(|error| error.context(http.shown(&next)))?;
            if step == Step::Again {
                continue;
            }
            // An empty page after others only says that they were all.
            if step != Step::EndBefore && (rows > 0 || chunks.is_empty()) {
                known = Some(match &known {
                    Some(known) => evolve(known, &chunk.file.schema),
                    None => chunk.file.schema.as_ref().clone(),
                });
                if matches!(body, Body::Memory(_)) {
                    memory_left = memory_left.saturating_sub(bytes);
                }
                chunks.push(chunk);
            }
            match step {
                Step::Next(url) => next = url,
                _ => break,
            }
        }
        let hashes: Vec<&str> = chunks.iter().filter_map(|chunk| chunk.file.sha256.as_deref()).collect();
        let now = self.seen(cx, &hashes);
        if let Some(why) = unchanged(seen, &now) {
            return Ok(Outcome::Nothing { why });
        }
        self.hand_over(cx, out, chunks, seen, now).await
    }

    /// A page without rows must say that it has none: an error with status 200 is not the end of the rows.
    async fn check_empty_page(&self, http: &Http<'_>, url: &Url, body: &Body) -> Result<()> {
        let shown = http.shown(url);
        let (body, path) = (body.clone(), self.config.rows.clone());
        let judged = blocking(move || {
            let text = text_of(&body)
                .map_err(|error| Error::new(codes::DECODE, "the answer is not UTF-8").caused_by(&error))?;
            let is_list = decode::has_empty_list(&text, path.as_deref())?;
            Ok((is_list, text.chars().take(ANSWER_CHARS_SHOWN).collect::<String>()))
        });
        let (is_list, answer) = judged.await.map_err(|error| error.context(&shown))?;
        if is_list {
            return Ok(());
        }
        let answer = http.shown_text(answer.trim()).escape_debug().to_string();
        let what = if answer.is_empty() { String::new() } else { format!(": {answer}") };
        Err(Error::new(codes::HTTP_ANSWER, format!("{shown} answered neither rows nor an empty list{what}")).hint(
            "pages before it had rows, so some may be missing; if the server ends its pages like this, say `empty: any` in `pages`",
        ))
    }

    fn get(&self, url: Url, memory_max: usize) -> Get<'_> {
        // What must not be stored does not touch the disk on its way either.
        let memory_max = if self.config.redact.is_empty() { memory_max } else { usize::MAX };
        Get { memory_max, redact: &self.config.redact, ..Get::new(url) }
    }

    /// Checks that an answer may be JSON, and removes what must not be stored.
    async fn page(&self, cx: &Cx, http: &Http<'_>, fetched: Fetched) -> Result<(Origin, Fetched)> {
        let shown = http.shown(&fetched.url);
        let mut fetched = fetched;
        if looks_like_html(&fetched) {
            return Err(Error::new(codes::HTTP_ANSWER, format!("{shown} answered a web page and not JSON"))
                .hint("open the URL in a browser: often it is a login page or a page for people"));
        }
        if !self.config.redact.is_empty() {
            fetched.spooled = self.redacted(cx, fetched.spooled, &shown).await?;
        }
        let origin = Origin {
            url: shown,
            status: Some(fetched.status),
            etag: fetched.etag.as_deref().map(|etag| http.shown_text(etag)),
            last_modified: fetched.last_modified.clone(),
            ..self.origin(cx)
        };
        Ok((origin, fetched))
    }

    fn origin(&self, cx: &Cx) -> Origin {
        Origin { fetched_at: Some(cx.clock.now()), redacted: self.config.redact.clone(), ..Origin::default() }
    }

    async fn redacted(&self, cx: &Cx, spooled: Spooled, shown: &str) -> Result<Spooled> {
        let keys = self.config.redact.clone();
        let bytes_max = self.config.http().bytes_max;
        let spool_dir = cx.spool_dir.clone();
        let shown = shown.to_owned();
        blocking(move || {
            if spooled.bytes > bytes_max {
                return Err(too_large(&shown, bytes_max));
            }
            let io_error = |error| write_error(&shown, &error);
            let mut json = Vec::with_capacity(spooled.bytes as usize);
            spooled.body.open().map_err(io_error)?.read_to_end(&mut json).map_err(io_error)?;
            let kept = remove_keys(&json, &keys).map_err(|why| {
                Error::new(codes::DECODE, format!("{shown} cannot be redacted: {why}"))
                    .hint("`redact` needs answers in JSON; nothing was stored")
            })?;
            let mut spool = Spool::new(&spool_dir, MEMORY_BYTES_MAX, u64::MAX);
            spool.write_all(&kept).map_err(io_error)?;
            Ok(spool.finish())
        })
        .await
    }

    async fn land(
        &self,
        cx: &Cx,
        spooled: Spooled,
        origin: Origin,
        known: Option<&arrow::datatypes::Schema>,
    ) -> Result<Chunk> {
        let landing = Landing {
            body: spooled.body,
            in_place: None,
            format: Format {
                kind: FormatKind::Json { rows: self.config.rows.clone() },
                compression: Compression::None,
                columns: BTreeMap::new(),
                misfits: Default::default(),
            },
            bytes: spooled.bytes,
            sha256: Some(spooled.sha256),
            origin,
            bytes_max: self.config.http().bytes_max,
            sample_bytes: None,
        };
        land(cx, landing, known.or(cx.known.as_deref())).await
    }

    async fn hand_over(
        &self,
        cx: &Cx,
        out: &Chunks,
        chunks: Vec<Chunk>,
        seen: Option<&Seen>,
        now: Seen,
    ) -> Result<Outcome> {
        let mut notes = Vec::new();
        if seen.is_some_and(|seen| seen.sha256 == now.sha256) {
            notes.push(Note(
                "the same answer is loaded again, because the source is now read differently".into(),
            ));
        }
        for chunk in chunks {
            unless_stopped(cx, out.send(chunk)).await??;
        }
        Ok(Outcome::Read { position: to_position(&now)?, scope: Scope::Snapshot, notes })
    }

    fn seen(&self, cx: &Cx, hashes: &[&str]) -> Seen {
        Seen {
            sha256: hash_bytes(hashes.join("\n").as_bytes()),
            read_as: self.read_as(cx),
            url: None,
            etag: None,
            last_modified: None,
        }
    }

    fn read_as(&self, cx: &Cx) -> String {
        let meaning = serde_json::json!([self.config.rows, self.config.redact, cx.columns]);
        hash_bytes(meaning.to_string().as_bytes())
    }
}

/// Hash over the rows of a page as they are written; nothing around them counts.
async fn hash_of_rows(answer: Body, format: &Format) -> Result<String> {
    let format = format.clone();
    blocking(move || {
        let mut hash = Sha256::new();
        decode::rows(&answer, &format, |row| {
            hash.update((row.len() as u64).to_le_bytes());
            hash.update(row);
        })?;
        Ok(hex(&hash.finalize()))
    })
    .await
}

fn unchanged(seen: Option<&Seen>, now: &Seen) -> Option<String> {
    let seen = seen.filter(|seen| seen.sha256 == now.sha256 && seen.read_as == now.read_as);
    seen.map(|_| "content unchanged (sha256)".to_owned())
}

fn is_object(body: &Body) -> bool {
    http::first_bytes(body).first() == Some(&b'{')
}

/// By its first byte; by its content type only when the body does not begin like JSON, because some
/// servers call everything HTML.
fn looks_like_html(fetched: &Fetched) -> bool {
    let first = http::first_bytes(&fetched.spooled.body).first().copied();
    match first {
        Some(b'<') => true,
        Some(b'{' | b'[') => false,
        _ => fetched.is_called_html(),
    }
}
