//! Files: local ones, on web servers and in object stores; one, a pattern or a folder.
//!
//! A read hands over every file that is new or has changed since the last load, and none that has
//! not: a load of a pattern or a folder holds only what came since. A file that has gone is remembered,
//! so that it is not loaded twice when it comes back. `origin.url` is what a file is remembered by, so
//! that a later load knows whose place its files take ([`Scope::Files`]).

mod format;
pub(crate) mod local;
mod store;

use std::collections::BTreeMap;

use arrow::datatypes::Schema;
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use lagar_flow::{
    Body, Chunk, Compression, Error, Format, FormatKind, InPlace, Note, Origin, Position, Result, Scope,
    codes, evolve, redact_url,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::{
    Chunks, Cx, Kind, Outcome, Source,
    config::{self, ConfigError},
    http::{Answer, Fetched, Get, Http, Shared, first_bytes, http_url, unless_stopped, with_http_keys},
    probe,
    spool::{Landing, blocking, hash_bytes, hash_file, land, position, to_position},
};
use format::{Csv, Packing, Reading};
use local::{Found, Identity, Stamp};
use store::{FoundObject, Objects};

pub const KIND: Kind = Kind {
    name: "file",
    summary: "files by path, pattern, https:// or s3://: csv, json, ndjson, parquet; gzip, zstd, zip",
    parse,
    schema: || schemars::schema_for!(Config),
};

/// How much of a file that stays where it is (`in_place`) is read to know its columns.
const SAMPLE_BYTES: u64 = 8 << 20;
/// More than the sample, so that the decoder sees that the file goes on behind it.
const SAMPLE_FETCH_BYTES: u64 = SAMPLE_BYTES + (1 << 20);
/// A packed file may be so many times larger when it is unpacked,
const UNPACKED_RATIO_MAX: u64 = 100;
/// and so large in any case.
const UNPACKED_BYTES_FREE: u64 = 1 << 30;
/// A file changed so shortly before it was read may change again within the clock's resolution.
const SETTLED_AFTER: TimeDelta = TimeDelta::seconds(2);

with_http_keys! {
    struct Config {
        /// Path (relative to the project), pattern (`*.csv`), folder, `https://…`, `s3://bucket/…`.
        url: String,
        /// Default from the name.
        format: Option<format::Kind>,
        /// How the rows of a CSV file are written.
        csv: Option<Csv>,
        /// JSONPath (RFC 9535) of the rows in a JSON document.
        rows: Option<String>,
        /// Default from the name.
        compression: Option<Packing>,
        /// Pattern of the names in a zip archive; default all.
        members: Option<String>,
        /// The file stays where it lies and is not copied.
        #[serde(default)]
        in_place: bool,
    }
}

struct FileSource {
    config: Config,
    reading: Reading,
    place: Place,
    shared: Shared,
}

enum Place {
    Local(String),
    Server(Url),
    Store(String),
}

/// What a load remembers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    /// Hash of what the bytes mean: a change of it makes the same bytes a new load.
    read_as: String,
    files: BTreeMap<String, SeenFile>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SeenFile {
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified_ns: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<Identity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_at: Option<DateTime<Utc>>,
    /// The requests that `etag` and `last_modified` hold for.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified: Option<String>,
}

fn parse(value: &Value) -> Result<Box<dyn Source>, ConfigError> {
    let config: Config = config::parse(value)?;
    let reading = Reading {
        format: config.format,
        csv: config.csv.clone(),
        rows: config.rows.clone(),
        compression: config.compression,
        members: config.members.clone(),
    };
    reading.validate()?;
    let place = place(&config)?;
    if let Place::Server(url) = &place {
        reading.of(url.path()).map_err(|error| {
            let hint = error.hint_text().map(|hint| format!("; {hint}")).unwrap_or_default();
            ConfigError::new(&["format"], format!("{}{hint}", error.message()))
        })?;
    }
    Ok(Box::new(FileSource { config, reading, place, shared: Shared::default() }))
}

fn place(config: &Config) -> Result<Place, ConfigError> {
    let wrong = |what: String| Err(ConfigError::new(&["url"], what));
    let url = config.url.as_str();
    if url.is_empty() {
        return wrong("`url` is empty".to_owned());
    }
    if store::is_store_url(url) {
        return Ok(Place::Store(url.to_owned()));
    }
    if let Some(path) = local::file_url_path(url) {
        return Ok(Place::Local(path.to_string_lossy().into_owned()));
    }
    match url.split_once("://") {
        None => Ok(Place::Local(url.to_owned())),
        Some(("http" | "https", _)) => match http_url(url) {
            Some(_) if config.in_place => Err(ConfigError::new(
                &["in_place"],
                "`in_place` is for local files and s3://; a web server's file is copied",
            )),
            Some(mut url) => {
                url.set_fragment(None);
                Ok(Place::Server(url))
            }
            None => wrong(format!("`{}` is not a URL", redact_url(url))),
        },
        Some(("hdfs", _)) => wrong("hdfs:// is not supported yet".to_owned()),
        Some((scheme, _)) => wrong(format!(
            "`{}://` is not supported; a file is a path, or begins with file:, http://, https:// or s3://",
            scheme.escape_debug()
        )),
    }
}

#[async_trait]
impl Source for FileSource {
    async fn read(&self, cx: &Cx, from: Option<&Position>, out: &Chunks) -> Result<Outcome> {
        cx.check_cancelled()?;
        let mut read = Read::new(self, cx, out, from)?;
        match &self.place {
            Place::Local(written) => {
                let (dir, written) = (cx.project_dir.clone(), written.clone());
                for found in blocking(move || local::find(&dir, &written)).await? {
                    cx.check_cancelled()?;
                    read.local(found).await?;
                }
            }
            Place::Server(url) => read.server(url).await?,
            Place::Store(url) => {
                let (objects, found) =
                    unless_stopped(cx, store::find(cx, url, self.config.timeout.read)).await??;
                for object in found {
                    cx.check_cancelled()?;
                    read.object(&objects, object).await?;
                }
            }
        }
        read.finish()
    }

    async fn probe(&self, cx: &Cx) -> Result<String> {
        let found = |files: usize, bytes: u64| match files {
            1 => format!("{}: 1 file, {bytes} bytes", self.address()),
            _ => format!("{}: {files} files, {bytes} bytes", self.address()),
        };
        match &self.place {
            Place::Local(written) => {
                let (dir, written) = (cx.project_dir.clone(), written.clone());
                let files = blocking(move || local::find(&dir, &written)).await?;
                let stamps: Result<Vec<Stamp>> = files.iter().map(Stamp::of).collect();
                Ok(found(files.len(), stamps?.iter().map(|stamp| stamp.bytes).sum()))
            }
            Place::Server(url) => probe::server(cx, url, &self.config.timeout).await,
            Place::Store(url) => {
                let (_, objects) =
                    unless_stopped(cx, store::find(cx, url, self.config.timeout.read)).await??;
                Ok(found(objects.len(), objects.iter().map(|object| object.meta.size).sum()))
            }
        }
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

impl FileSource {
    fn read_as(&self, cx: &Cx) -> String {
        // Without the login and the query, whose secrets may change from day to day.
        let address = self.address();
        let url = address.split('?').next();
        let meaning = serde_json::json!([self.reading, self.config.in_place, cx.columns, url]);
        hash_bytes(meaning.to_string().as_bytes())
    }

    /// Limit of a local file or object, unpacked. A plain file is as large as it is.
    fn unpacked_max(&self, compression: &Compression, bytes: u64) -> u64 {
        match (self.config.max_bytes, compression) {
            (Some(asked), _) => asked,
            (None, Compression::None) => u64::MAX,
            (None, _) => bytes.saturating_mul(UNPACKED_RATIO_MAX).max(UNPACKED_BYTES_FREE),
        }
    }
}

/// One read: what was known before, and what has been found so far.
struct Read<'a> {
    source: &'a FileSource,
    cx: &'a Cx,
    out: &'a Chunks,
    before: BTreeMap<String, SeenFile>,
    now: Seen,
    known: Option<Schema>,
    sent: u64,
    /// Why files were not handed over.
    unchanged: Vec<String>,
    notes: Vec<Note>,
    /// Nothing was known before: all files are read.
    whole: bool,
}

impl<'a> Read<'a> {
    fn new(source: &'a FileSource, cx: &'a Cx, out: &'a Chunks, from: Option<&Position>) -> Result<Self> {
        let read_as = source.read_as(cx);
        let mut seen: Seen = from.map(position).transpose()?.unwrap_or_default();
        let mut notes = Vec::new();
        let mut whole = from.is_none();
        if from.is_some() && seen.read_as != read_as {
            whole = true;
            seen.files.clear();
            notes.push(Note(
                "every file is loaded again, because the source is now read differently".to_owned(),
            ));
        }
        Ok(Self {
            source,
            cx,
            out,
            before: seen.files.clone(),
            now: Seen { read_as, files: seen.files },
            known: cx.known.as_deref().cloned(),
            sent: 0,
            unchanged: Vec::new(),
            notes,
            whole,
        })
    }

    fn finish(self) -> Result<Outcome> {
        if self.sent > 0 {
            return Ok(Outcome::Read {
                position: to_position(&self.now)?,
                scope: if self.whole { Scope::Snapshot } else { Scope::Files },
                notes: self.notes,
            });
        }
        let why = match self.unchanged.as_slice() {
            [one] => one.clone(),
            many => format!("{} files unchanged", many.len()),
        };
        Ok(Outcome::Nothing { why })
    }

    async fn local(&mut self, found: Found) -> Result<()> {
        let stamp = Stamp::of(&found)?;
        let before = self.before.get(&found.shown);
        let same_stamp = before.is_some_and(|before| before.has(stamp));
        let seen = SeenFile {
            bytes: stamp.bytes,
            modified_ns: Some(stamp.modified_ns),
            identity: stamp.identity,
            read_at: Some(self.cx.clock.now()),
            ..SeenFile::default()
        };
        if self.source.config.in_place {
            if same_stamp {
                self.unchanged.push(format!("size and time of {} unchanged", found.shown));
                return Ok(());
            }
            return self.local_in_place(found, stamp, seen).await;
        }
        if same_stamp && before.is_some_and(is_settled) {
            self.unchanged.push(format!("size and time of {} unchanged", found.shown));
            return Ok(());
        }
        let path = found.path.clone();
        let shown = found.shown.clone();
        let hashed = blocking(move || hash_file(&path).map_err(|error| local::unreadable(&shown, &error)));
        let (sha256, bytes) = unless_stopped(self.cx, hashed).await??;
        if before.is_some_and(|before| before.sha256.as_ref() == Some(&sha256)) {
            self.unchanged.push(format!("content of {} unchanged (sha256)", found.shown));
            return Ok(());
        }
        let format = self.source.reading.of(&found.shown)?;
        let landing = Landing {
            body: Body::Local(found.path.clone()),
            in_place: None,
            bytes_max: self.source.unpacked_max(&format.compression, bytes),
            format,
            bytes,
            sha256: Some(sha256.clone()),
            origin: self.origin(&found.shown),
            sample_bytes: None,
        };
        let is_same_now = || Ok::<_, Error>(Stamp::of(&found)? == stamp);
        let chunk = self.land(landing).await?;
        self.hand_over(&found.shown, chunk, SeenFile { sha256: Some(sha256), ..seen }, is_same_now).await
    }

    async fn local_in_place(&mut self, found: Found, stamp: Stamp, seen: SeenFile) -> Result<()> {
        let path =
            std::fs::canonicalize(&found.path).map_err(|error| local::unreadable(&found.shown, &error))?;
        let format = self.source.reading.of(&found.shown)?;
        let landing = Landing {
            in_place: Some(InPlace {
                url: path.to_string_lossy().into_owned(),
                fingerprint: format!("{}-{}", stamp.bytes, stamp.modified_ns),
            }),
            body: Body::Local(path),
            bytes_max: self.source.unpacked_max(&format.compression, stamp.bytes),
            format,
            bytes: stamp.bytes,
            sha256: None,
            origin: self.origin(&found.shown),
            sample_bytes: Some(SAMPLE_BYTES),
        };
        let is_same_now = || Ok::<_, Error>(Stamp::of(&found)? == stamp);
        let chunk = self.land(landing).await?;
        self.hand_over(&found.shown, chunk, seen, is_same_now).await
    }

    async fn server(&mut self, url: &Url) -> Result<()> {
        let source = self.source;
        let mut url = url.clone();
        let http = Http::new(self.cx, source.config.http(), &mut url, &source.shared)?;
        let shown = http.shown(&url);
        let asked = http.identity(&url);
        // A signed address changes its query with every signature, a redirect its target.
        let key = shown.split('?').next().unwrap_or_default().to_owned();
        let before = self.before.get(&key).cloned().unwrap_or_default();
        let mut get = Get::new(url.clone());
        if before.url.as_ref() == Some(&asked) {
            get.etag = before.etag.as_deref();
            get.last_modified = before.last_modified.as_deref();
        }
        let fetched = match http.get(&get).await? {
            Answer::Fetched(fetched) => fetched,
            Answer::NotModified => {
                let what = if get.etag.is_some() { "ETag" } else { "Last-Modified" };
                self.unchanged.push(format!("{what} of {key} unchanged (304)"));
                return Ok(());
            }
        };
        if is_web_page(&fetched) {
            return Err(Error::new(
                codes::HTTP_ANSWER,
                format!("{shown} answered a web page and not a file"),
            )
            .hint("open the URL in a browser: often it is a login page or a page with a download button"));
        }
        if before.sha256.as_ref() == Some(&fetched.spooled.sha256) {
            self.unchanged.push(format!("content of {key} unchanged (sha256)"));
            return Ok(());
        }
        let seen = SeenFile {
            bytes: fetched.spooled.bytes,
            sha256: Some(fetched.spooled.sha256.clone()),
            read_at: Some(self.cx.clock.now()),
            url: Some(asked),
            etag: fetched.etag.clone(),
            last_modified: fetched.last_modified.clone(),
            ..SeenFile::default()
        };
        let landing = Landing {
            format: as_received(source.reading.of(url.path())?, &fetched.spooled.body),
            in_place: None,
            bytes: fetched.spooled.bytes,
            sha256: Some(fetched.spooled.sha256),
            body: fetched.spooled.body,
            origin: Origin {
                status: Some(fetched.status),
                etag: fetched.etag.as_deref().map(|etag| http.shown_text(etag)),
                last_modified: fetched.last_modified,
                ..self.origin(&key)
            },
            bytes_max: source.config.http().bytes_max,
            sample_bytes: None,
        };
        let chunk = self.land(landing).await?;
        self.hand_over(&key, chunk, seen, || Ok(true)).await
    }

    async fn object(&mut self, objects: &Objects, object: FoundObject) -> Result<()> {
        let before = self.before.get(&object.shown);
        let is_same = |before: &SeenFile| match (&before.etag, &object.meta.e_tag) {
            (Some(before), Some(now)) => before == now,
            _ => false,
        };
        if before.is_some_and(is_same) {
            self.unchanged.push(format!("ETag of {} unchanged", object.shown));
            return Ok(());
        }
        let format = self.source.reading.of(&object.shown)?;
        let bytes_max = self.source.unpacked_max(&format.compression, object.meta.size);
        let chunk = if self.source.config.in_place {
            self.object_in_place(objects, &object, format, bytes_max).await?
        } else {
            let fetch = objects.fetch(self.cx, &object, self.source.config.max_bytes.unwrap_or(u64::MAX));
            let (spooled, meta) = unless_stopped(self.cx, fetch).await??;
            if before.is_some_and(|before| before.sha256.as_ref() == Some(&spooled.sha256)) {
                self.unchanged.push(format!("content of {} unchanged (sha256)", object.shown));
                return Ok(());
            }
            let landing = Landing {
                body: spooled.body,
                in_place: None,
                format,
                bytes: spooled.bytes,
                sha256: Some(spooled.sha256),
                origin: self.object_origin(&object.shown, &meta),
                bytes_max,
                sample_bytes: None,
            };
            self.land(landing).await?
        };
        let seen = SeenFile {
            bytes: chunk.file.bytes,
            sha256: chunk.file.sha256.clone(),
            read_at: Some(self.cx.clock.now()),
            etag: chunk.file.origin.etag.clone(),
            ..SeenFile::default()
        };
        self.hand_over(&object.shown, chunk, seen, || Ok(true)).await
    }

    /// Rows follow each other in text, so its beginning shows the columns; a Parquet file describes
    /// them at its end; a JSON document and an archive show them only as a whole.
    async fn object_in_place(
        &self,
        objects: &Objects,
        object: &FoundObject,
        format: Format,
        bytes_max: u64,
    ) -> Result<Chunk> {
        let is_archive = matches!(format.compression, Compression::Zip { .. });
        let part = match (&format.kind, &format.compression) {
            (FormatKind::Csv(_) | FormatKind::Ndjson, _) if !is_archive => {
                Some(unless_stopped(self.cx, objects.head_bytes(object, SAMPLE_FETCH_BYTES)).await??)
            }
            (FormatKind::Parquet, Compression::None) => {
                unless_stopped(self.cx, objects.parquet_end(self.cx, object)).await??
            }
            _ => None,
        };
        let landing = |body| Landing {
            body,
            in_place: Some(InPlace { url: object.shown.clone(), fingerprint: fingerprint(&object.meta) }),
            format: format.clone(),
            bytes: object.meta.size,
            sha256: None,
            origin: self.object_origin(&object.shown, &object.meta),
            bytes_max,
            sample_bytes: Some(SAMPLE_BYTES),
        };
        if let Some(part) = part {
            match self.land(landing(part)).await {
                // An asked type can make it necessary to look at the values of a Parquet file.
                Err(error) if error.code() == codes::DECODE && format.kind == FormatKind::Parquet => {}
                landed => return landed,
            }
        }
        let whole = unless_stopped(self.cx, objects.fetch(self.cx, object, bytes_max)).await??.0.body;
        self.land(landing(whole)).await
    }

    async fn land(&self, landing: Landing) -> Result<Chunk> {
        land(self.cx, landing, self.known.as_ref()).await
    }

    fn origin(&self, shown: &str) -> Origin {
        Origin { url: shown.to_owned(), fetched_at: Some(self.cx.clock.now()), ..Origin::default() }
    }

    fn object_origin(&self, shown: &str, meta: &object_store::ObjectMeta) -> Origin {
        Origin {
            etag: meta.e_tag.clone(),
            last_modified: Some(meta.last_modified.to_rfc3339()),
            ..self.origin(shown)
        }
    }

    /// Sends one file, and remembers it under `key`.
    async fn hand_over(
        &mut self,
        key: &str,
        chunk: Chunk,
        seen: SeenFile,
        is_same_now: impl Fn() -> Result<bool>,
    ) -> Result<()> {
        if !is_same_now()? {
            return Err(Error::new(codes::SOURCE_CHANGED, format!("{key} changed while it was read"))
                .hint("write files under another name and rename them when they are complete"));
        }
        self.known = Some(match &self.known {
            Some(known) => evolve(known, &chunk.file.schema),
            None => chunk.file.schema.as_ref().clone(),
        });
        unless_stopped(self.cx, self.out.send(chunk)).await??;
        self.now.files.insert(key.to_owned(), seen);
        self.sent += 1;
        Ok(())
    }
}

impl SeenFile {
    fn has(&self, stamp: Stamp) -> bool {
        self.bytes == stamp.bytes
            && self.modified_ns == Some(stamp.modified_ns)
            && self.identity == stamp.identity
    }
}

/// Whether a later change would show in the times of the file.
fn is_settled(seen: &SeenFile) -> bool {
    let changed_ns = seen.modified_ns.max(seen.identity.map(|identity| identity.changed_ns));
    changed_ns.zip(seen.read_at).is_some_and(|(changed_ns, read_at)| {
        DateTime::from_timestamp_nanos(changed_ns) + SETTLED_AFTER < read_at
    })
}

/// What tells this content of an object from another.
fn fingerprint(meta: &object_store::ObjectMeta) -> String {
    match &meta.e_tag {
        Some(etag) => etag.clone(),
        None => format!("{}-{}", meta.size, meta.last_modified.timestamp_micros()),
    }
}

/// A server may have unpacked `x.csv.gz` on the way: it calls the compression of the file its own.
fn as_received(format: Format, body: &Body) -> Format {
    match format.compression {
        Compression::Gzip if !first_bytes(body).starts_with(&[0x1f, 0x8b]) => {
            Format { compression: Compression::None, ..format }
        }
        _ => format,
    }
}

fn is_web_page(fetched: &Fetched) -> bool {
    let first = first_bytes(&fetched.spooled.body).to_ascii_lowercase();
    let begins = |text: &str| first.starts_with(text.as_bytes());
    begins("<!doctype") || begins("<html") || begins("<?xml") || (begins("<") && fetched.is_called_html())
}
