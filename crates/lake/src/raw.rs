//! The raw zone: files as they came, made visible load by load.
//!
//! `raw/<source>/load_date=YYYY-MM-DD/<load>-<n>.<ext>` are the bytes, never rewritten;
//! `raw/<source>/_quarantine/<load>.ndjson` the rows that were not taken;
//! `raw/<source>/_loads/<20-digit number>.json` the manifest that makes them visible, put last.

use std::{collections::HashSet, io::Read, sync::Arc};

use arrow::datatypes::Schema;
use chrono::{DateTime, Utc};
use lagar_flow::{
    Body, Chunk, Column, Covered, Error, Event, Format, InPlace, KillPoint, Name, Note, Origin, Position,
    Reject, Result, Scope, Window, codes, columns_of, evolve, kill, redact_url, schema_of,
};
use object_store::{ObjectStoreExt, path::Path};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    Checksums, Lake,
    checksums::Summing,
    id_at, lagar_version,
    store::{FORMAT_VERSION, FORMAT_VERSION_MAX, Record, Records, Upload, damaged},
};

/// Bytes read from a body at once.
const COPY_BYTES: usize = 1 << 20;

/// One load: what became visible together, and how far the source was read then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format_version: u32,
    /// From 1, without a gap.
    pub number: u64,
    pub id: Uuid,
    pub source: Name,
    pub run_id: String,
    pub created_at: DateTime<Utc>,
    pub lagar_version: String,
    /// How its rows stand to those of earlier loads.
    pub scope: Scope,
    /// Of a load by window: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<LoadWindow>,
    pub files: Vec<ManifestFile>,
    /// The source's columns after this load.
    pub columns: Vec<Column>,
    /// Rows that can be used; `None` if a file was only sampled.
    pub rows: Option<u64>,
    /// Rows in quarantine.
    pub rejected: u64,
    pub bytes: u64,
    /// How far the source was read; `None` if it has no position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// What changed in the columns since the load before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// Columns of the source that are in no row of this load.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// The file of the rejected rows, relative to `raw/<source>/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<String>,
    /// Its checksums; `None` in a manifest of an older Lagar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine_crc32: Option<Checksums>,
}

/// The window of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadWindow {
    #[serde(flatten)]
    pub window: Window,
    /// Earlier windows that were due were all read at this time or later. `None` when only this window and
    /// its like were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier_read_at: Option<DateTime<Utc>>,
}

/// One raw file of a load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Relative to `raw/<source>/`; the address of an `in_place` file.
    pub path: String,
    /// Set for a file that stays where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_place: Option<InPlace>,
    pub bytes: u64,
    /// Rows that can be used; `None` if the file was only sampled.
    pub rows: Option<u64>,
    /// `_row` numbers of the rejected rows, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected_rows: Vec<u64>,
    /// Set where rows of an earlier load's file are taken that were rejected then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redriven: Option<Redriven>,
    /// Hex; `None` for an `in_place` file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// `None` for an `in_place` file, and for one of an older Lagar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc32: Option<Checksums>,
    pub format: Format,
    /// Columns of this file's rows.
    pub columns: Vec<Column>,
    pub origin: Origin,
}

/// Rows that left the quarantine: of the file, which an earlier load brought, only these are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redriven {
    /// The number of the load that they came with, and its [`Manifest::created_at`].
    pub load: u64,
    pub loaded_at: DateTime<Utc>,
    /// Their `_row` numbers, in order.
    pub rows: Vec<u64>,
}

impl Manifest {
    /// Whether its rows were in quarantine before: it read nothing from the source.
    pub fn is_redriven(&self) -> bool {
        self.files.iter().any(|file| file.redriven.is_some())
    }
}

/// The rows that left the quarantine: number of the load that they came with, path of their file, place in
/// it. With the load, because a file that is used in place has the same path in each.
pub fn redriven(loads: &[Arc<Manifest>]) -> HashSet<(u64, &str, u64)> {
    let files = loads.iter().flat_map(|load| &load.files);
    let of = files.filter_map(|file| Some((file.path.as_str(), file.redriven.as_ref()?)));
    of.flat_map(|(path, of)| of.rows.iter().map(move |row| (of.load, path, *row))).collect()
}

/// A row in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectRecord {
    #[serde(rename = "_load")]
    pub load: Uuid,
    /// [`ManifestFile::path`] of its file.
    #[serde(rename = "_source_file")]
    pub source_file: String,
    /// Place in its file, from 1.
    #[serde(rename = "_row")]
    pub row: u64,
    #[serde(rename = "_column", default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    #[serde(rename = "_reason")]
    pub reason: String,
    #[serde(rename = "_value")]
    pub value: String,
}

impl Record for Manifest {
    fn format_version(&self) -> u32 {
        self.format_version
    }

    fn number(&self) -> u64 {
        self.number
    }
}

impl Lake {
    /// All loads of `source`, the oldest first.
    ///
    /// Fails with [`codes::LAKE_CORRUPT`] naming a manifest that is missing or damaged, and with
    /// [`codes::LAKE_VERSION`] for one of a newer Lagar.
    pub async fn loads(&self, source: &Name) -> Result<Vec<Arc<Manifest>>> {
        let folder = loads_folder(source);
        let loads: Vec<Manifest> = self.load_records(&folder).all().await?;
        Ok(loads.into_iter().map(Arc::new).collect())
    }

    /// The newest load of `source`, without a look at the older ones; `None` before the first.
    ///
    /// Fails as [`Lake::loads`] does.
    pub async fn newest_load(&self, source: &Name) -> Result<Option<Manifest>> {
        self.load_records(&loads_folder(source)).last().await
    }

    /// Starts a load; nothing of it is visible before [`LoadWriter::commit`].
    pub fn begin_load(&self, source: &Name, run_id: &str) -> LoadWriter {
        let created_at = self.clock().now();
        LoadWriter {
            lake: self.clone(),
            source: source.clone(),
            run_id: run_id.to_owned(),
            id: id_at(created_at),
            created_at,
            files: Vec::new(),
            schemas: Vec::new(),
            rejected: 0,
            notes: Vec::new(),
            window: None,
            events: Vec::new(),
            missing: Vec::new(),
            quarantine: None,
            written: Vec::new(),
        }
    }

    /// The rows of a load that were not taken.
    pub async fn rejects(&self, source: &Name, manifest: &Manifest) -> Result<Vec<RejectRecord>> {
        let Some(quarantine) = &manifest.quarantine else { return Ok(Vec::new()) };
        let path = raw_path(source, quarantine)?;
        let read = async { self.store().get(&path).await?.bytes().await };
        let bytes = read.await.and_then(|bytes| match &manifest.quarantine_crc32 {
            Some(sums) if !sums.fit_all(&bytes) => Err(damaged(&path)),
            _ => Ok(bytes),
        });
        let bytes = bytes.map_err(|e| self.root().error("read", &path, &e))?;
        serde_json::Deserializer::from_slice(&bytes).into_iter().collect::<Result<_, _>>().map_err(|e| {
            Error::new(codes::LAKE_CORRUPT, format!("{} is damaged", self.root().name_of(&path)))
                .caused_by(&e)
        })
    }

    /// The newest load of `source` that was refused for its rejected rows, if no load came after it.
    /// Only its quarantine can be read.
    pub async fn refused_load(&self, source: &Name) -> Result<Option<Manifest>> {
        let refused: Option<Manifest> = self.note(&raw_path(source, REFUSED)?).await?;
        let Some(refused) = refused else { return Ok(None) };
        let newest = self.loads(source).await?.last().map(|load| load.number);
        Ok(newest.is_none_or(|newest| newest < refused.number).then_some(refused))
    }

    fn load_records<'a>(&'a self, folder: &'a Path) -> Records<'a> {
        Records { store: self.store(), root: self.root(), folder }
    }
}

fn source_folder(source: &Name) -> Path {
    Path::from("raw").join(source.as_str())
}

fn loads_folder(source: &Name) -> Path {
    source_folder(source).join("_loads")
}

/// A path in a manifest is one that we wrote; a damaged one must not lead out of the source's folder.
pub(crate) fn raw_path(source: &Name, relative: &str) -> Result<Path> {
    Path::parse(format!("{}/{relative}", source_folder(source))).map_err(|e| {
        Error::new(
            codes::LAKE_CORRUPT,
            format!("a manifest of `{source}` names the impossible file `{relative}`"),
        )
        .caused_by(&e)
    })
}

/// A load in the making. Dropping it gives it up: its files stay behind, named by no manifest.
pub struct LoadWriter {
    lake: Lake,
    source: Name,
    run_id: String,
    id: Uuid,
    created_at: DateTime<Utc>,
    files: Vec<ManifestFile>,
    /// Of the files, in their order; one for neighbours that have the same.
    schemas: Vec<Arc<Schema>>,
    rejected: u64,
    notes: Vec<Note>,
    window: Option<LoadWindow>,
    events: Vec<Event>,
    missing: Vec<String>,
    quarantine: Option<(Upload, Summing)>,
    /// The objects that were put so far.
    written: Vec<Path>,
}

impl LoadWriter {
    /// The id of the load, as it stands in `_load`.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Says which window it holds; its scope is [`Scope::Window`].
    pub fn of_window(mut self, window: LoadWindow) -> Self {
        self.window = Some(window);
        self
    }

    /// When it was begun: before its rows were read, if it is begun before that.
    pub fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    /// Copies the bytes of `chunk` into the lake (not of an `in_place` file) and keeps its rejects.
    ///
    /// Fails with [`codes::SOURCE_CHANGED`] if the bytes are not those that the chunk was made from.
    pub async fn add(&mut self, chunk: &Chunk) -> Result<()> {
        let file = &chunk.file;
        let (path, sums) = match &file.in_place {
            Some(in_place) => (redact_url(&in_place.url), None),
            None => {
                let number = self.files.len() + 1;
                let date = self.created_at.format("load_date=%Y-%m-%d");
                let path = format!("{date}/{}-{number}.{}", self.id, file.extension);
                let object = raw_path(&self.source, &path)?;
                let sums = copy(&self.lake, chunk, &object).await?;
                self.written.push(object);
                (path, Some(sums))
            }
        };
        let (sha256, crc32) = sums.unzip();
        let mut rejected_rows: Vec<u64> = chunk.rejects.iter().map(|r| r.row).collect();
        rejected_rows.sort_unstable();
        rejected_rows.dedup();
        for reject in &chunk.rejects {
            self.reject(&path, reject).await?;
        }
        self.rejected += rejected_rows.len() as u64;
        self.notes.extend(chunk.notes.iter().cloned());
        self.is_of(&file.schema);
        self.files.push(ManifestFile {
            path,
            in_place: file.in_place.clone(),
            bytes: file.bytes,
            rows: file.rows,
            rejected_rows,
            redriven: None,
            sha256,
            crc32,
            format: file.format.clone(),
            columns: columns_of(&file.schema),
            origin: file.origin.clone(),
        });
        Ok(())
    }

    /// Takes rows of a file that an earlier load brought and rejected. `chunk` is that file, `landed`, as it
    /// is read now. Nothing is copied.
    pub fn redrive(&mut self, chunk: &Chunk, landed: &ManifestFile, redriven: Redriven) {
        self.is_of(&chunk.file.schema);
        self.files.push(ManifestFile {
            rows: Some(redriven.rows.len() as u64),
            rejected_rows: Vec::new(),
            redriven: Some(redriven),
            format: chunk.file.format.clone(),
            columns: columns_of(&chunk.file.schema),
            ..landed.clone()
        });
    }

    fn is_of(&mut self, schema: &Arc<Schema>) {
        if self.schemas.last() != Some(schema) {
            self.schemas.push(schema.clone());
        }
    }

    /// What the manifest says of changed columns; see [`Manifest::events`] and [`Manifest::missing`].
    pub fn drifted(&mut self, events: Vec<Event>, missing: Vec<String>) {
        self.events = events;
        self.missing = missing;
    }

    async fn reject(&mut self, source_file: &str, reject: &Reject) -> Result<()> {
        let record = RejectRecord {
            load: self.id,
            source_file: source_file.to_owned(),
            row: reject.row,
            column: reject.column.clone(),
            reason: reject.reason.clone(),
            value: reject.value.clone(),
        };
        let mut line = serde_json::to_vec(&record)
            .map_err(|e| Error::bug("a rejected row cannot be written as JSON").caused_by(&e))?;
        line.push(b'\n');
        let (upload, sums) = match &mut self.quarantine {
            Some(quarantine) => quarantine,
            none => {
                let path = raw_path(&self.source, &quarantine_path(self.id))?;
                none.insert((Upload::new(self.lake.store().clone(), path), Summing::default()))
            }
        };
        sums.update(&line);
        let written = upload.write(&line).await;
        written.map_err(|e| self.lake.root().error("write", upload.path(), &e))
    }

    /// Makes the load visible. `expected_previous` is the newest load when the read began (`None`: no
    /// load yet); `position` is where the next read begins.
    ///
    /// Fails with [`codes::LAKE_CONFLICT`] if another load came in between; nothing is visible then.
    pub async fn commit(
        self,
        expected_previous: Option<u64>,
        position: Option<Position>,
        scope: Scope,
        notes: Vec<Note>,
    ) -> Result<Manifest> {
        let lake = self.lake.clone();
        let folder = loads_folder(&self.source);
        let mut named = self.written.clone();
        let manifest = self.finish(expected_previous, position, scope, notes).await?;
        if let Some(quarantine) = &manifest.quarantine {
            named.push(raw_path(&manifest.source, quarantine)?);
        }
        let put_at = Some(manifest.created_at);
        lake.still_there(named.into_iter().map(|object| (put_at, object)).collect()).await?;
        lake.load_records(&folder).put(manifest.number, &manifest).await?;
        Ok(manifest)
    }

    /// Gives the load up, but keeps its rejected rows to be looked at: see [`Lake::refused_load`].
    pub async fn refuse(mut self, expected_previous: Option<u64>) -> Result<()> {
        let lake = self.lake.clone();
        let written = std::mem::take(&mut self.written);
        let manifest = self.finish(expected_previous, None, Scope::Increment, Vec::new()).await?;
        lake.put_note(&raw_path(&manifest.source, REFUSED)?, &manifest).await?;
        remove(&lake, &written).await;
        Ok(())
    }

    /// Gives the load up and takes its files away again. Whoever reads the folder of a source without
    /// its manifests would see them.
    pub async fn abandon(self) {
        remove(&self.lake, &self.written).await;
    }

    /// The manifest of all that was added, not yet put.
    async fn finish(
        mut self,
        expected_previous: Option<u64>,
        position: Option<Position>,
        scope: Scope,
        notes: Vec<Note>,
    ) -> Result<Manifest> {
        let folder = loads_folder(&self.source);
        let records = self.lake.load_records(&folder);
        let known = match expected_previous {
            Some(number) => schema_of(&records.read::<Manifest>(number).await?.columns)?,
            None => Arc::new(Schema::empty()),
        };
        let grown = self.schemas.iter().fold(known.as_ref().clone(), |known, next| evolve(&known, next));
        let schema = asked(&grown, &self.files);
        let (quarantine, quarantine_crc32) = match self.quarantine.take() {
            None => (None, None),
            Some((upload, sums)) => {
                let path = upload.path().clone();
                upload.finish().await.map_err(|e| self.lake.root().error("write", &path, &e))?;
                kill::at(KillPoint::QuarantinePut);
                (Some(quarantine_path(self.id)), Some(sums.finish()))
            }
        };
        self.notes.extend(notes);
        let mut manifest = Manifest {
            format_version: FORMAT_VERSION,
            number: expected_previous.map_or(1, |n| n + 1),
            id: self.id,
            source: self.source.clone(),
            run_id: self.run_id.clone(),
            created_at: self.created_at,
            lagar_version: lagar_version(),
            scope,
            window: self.window,
            columns: columns_of(&schema),
            rows: self.files.iter().map(|f| f.rows).sum(),
            rejected: self.rejected,
            bytes: self.files.iter().filter(|f| f.redriven.is_none()).map(|f| f.bytes).sum(),
            files: self.files,
            position,
            notes: self.notes,
            events: self.events,
            missing: self.missing,
            quarantine,
            quarantine_crc32,
        };
        if manifest.is_redriven() {
            // An older Lagar would take all rows of the files once more.
            manifest.format_version = FORMAT_VERSION_MAX;
        }
        Ok(manifest)
    }
}

/// The manifest of the newest load that was refused, relative to the source's folder.
pub(crate) const REFUSED: &str = "_quarantine/refused.json";

/// Copies the bytes of a chunk to `path`; returns their sha256 in hex, and the sums of their parts.
async fn copy(lake: &Lake, chunk: &Chunk, path: &Path) -> Result<(String, Checksums)> {
    let failed = |e: object_store::Error| lake.root().error("write", path, &e);
    let mut upload = Upload::new(lake.store().clone(), path.clone());
    let mut pieces = Pieces::of(&chunk.file.body).await?;
    let mut sums = Summing::default();
    while let Some(piece) = pieces.next().await? {
        sums.update(&piece);
        upload.write(&piece).await.map_err(failed)?;
    }
    let sha256 = pieces.sha256();
    let expected = chunk.file.sha256.as_ref();
    if upload.bytes() != chunk.file.bytes || expected.is_some_and(|expected| *expected != sha256) {
        return Err(Error::new(
            codes::SOURCE_CHANGED,
            format!("{} changed while it was loaded", chunk.file.origin.url),
        )
        .hint("load it when nobody writes to it"));
    }
    upload.finish().await.map_err(failed)?;
    Ok((sha256, sums.finish()))
}

/// `schema` with the types that were asked for: they win over those of earlier loads too, whose bytes
/// are then read as the asked type.
fn asked(schema: &Schema, files: &[ManifestFile]) -> Schema {
    let type_of = |name: &str| files.iter().rev().find_map(|file| file.format.columns.get(name));
    let fields = schema.fields().iter().map(|field| match type_of(field.name()) {
        Some(asked) => Arc::new(field.as_ref().clone().with_data_type(asked.data_type())),
        None => field.clone(),
    });
    Schema::new(fields.collect::<Vec<_>>())
}

/// Which files of `loads` (all of a source's, or its newest, the oldest first) hold what the source has
/// now, as far as it is known: by load, by file.
pub fn newest_state(loads: &[Arc<Manifest>]) -> Vec<Vec<bool>> {
    let mut replaced = HashSet::new();
    let mut history = false;
    let mut covered = Covered::default();
    let mut by_window = false;
    let mut state: Vec<Vec<bool>> = loads
        .iter()
        .rev()
        .map(|load| {
            let window = load.window.map(|of| of.window);
            // Once a source is read by windows, what it gave before that is history.
            let is_replaced = window.map_or(by_window, |window| covered.holds(&window));
            let is_newest =
                |file: &ManifestFile| !(history || is_replaced || replaced.contains(&file.origin.url));
            let files = load.files.iter().map(is_newest).collect();
            match load.scope {
                Scope::Snapshot => history = true,
                Scope::Files => replaced.extend(load.files.iter().map(|file| file.origin.url.clone())),
                Scope::Increment => {}
                Scope::Window => {
                    by_window = true;
                    window.into_iter().for_each(|window| covered.add(window));
                }
            }
            files
        })
        .collect();
    state.reverse();
    state
}

/// What cannot be removed stays behind as what a killed run leaves does: named by no manifest.
async fn remove(lake: &Lake, objects: &[Path]) {
    for object in objects {
        if let Err(error) = lake.store().delete(object).await {
            tracing::warn!(%error, %object, "a file of a load that was given up is left behind");
        }
    }
}

fn quarantine_path(load: Uuid) -> String {
    format!("_quarantine/{load}.ndjson")
}

/// The bytes of a body piece by piece, read and hashed off the async threads.
struct Pieces {
    state: Option<(Box<dyn lagar_flow::ReadSeek>, Sha256)>,
}

impl Pieces {
    async fn of(body: &Body) -> Result<Self> {
        let body = body.clone();
        let reader = blocking(move || body.open()).await?;
        Ok(Self { state: Some((reader, Sha256::new())) })
    }

    async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let Some((mut reader, mut hash)) = self.state.take() else { return Ok(None) };
        let (piece, state) = blocking(move || {
            let mut piece = Vec::new();
            reader.by_ref().take(COPY_BYTES as u64).read_to_end(&mut piece)?;
            hash.update(&piece);
            Ok((piece, (reader, hash)))
        })
        .await?;
        self.state = Some(state);
        Ok((!piece.is_empty()).then_some(piece))
    }

    fn sha256(self) -> String {
        self.state.map(|(_, hash)| hex(hash)).unwrap_or_default()
    }
}

pub(crate) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T> {
    let unreadable = |e: &(dyn std::error::Error + 'static)| {
        Error::new(codes::SOURCE_IO, "a spooled file cannot be read").caused_by(e)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|e| unreadable(&e)),
        Err(e) => Err(unreadable(&e)),
    }
}
