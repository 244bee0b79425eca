//! Tables: Parquet files and a Delta log in `trusted/<name>/` and `refined/<name>/`.
//!
//! Versions are read through the `deltalake` crate. They are written by [`commit`], which explains why.

mod commit;
mod compact;
mod encode;
mod lineage;
mod overlap;
mod partition;
mod read;
mod schema;
mod stats;
pub(crate) mod write;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arrow::datatypes::{Field, Schema, SchemaRef};
use chrono::{DateTime, Utc};
use deltalake::{
    DeltaTable, DeltaTableError,
    kernel::{Action, engine::arrow_conversion::TryIntoArrow},
    logstore::{StorageConfig, logstore_with},
    table::state::DeltaTableState,
};
use futures::TryStreamExt;
use lagar_flow::{Error, Result, TableName, Zone, codes};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use serde::{Deserialize, Serialize};

use crate::{
    Checksums, Lake, LeftOut,
    store::{DAMAGED, number_in},
};

pub(crate) use partition::folder_of as partition_folder;

pub use commit::{Committed, TableCommit};
pub use compact::Compaction;
pub use lineage::Changed;
pub use overlap::may_share;
pub use partition::partition_values;
pub use read::FileReader;
pub use schema::{column_name, delta_schema};
pub use write::{TableWriter, WriteOptions};

/// The key of an Arrow field's metadata that Delta reads as the column's comment.
const COMMENT: &str = "comment";
/// The key of a file's tags that holds its [`Checksums`].
const CRC32: &str = "lagar.crc32";

/// One data file of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Relative to the table's folder, as the object is named (not as it is encoded in the log).
    pub path: String,
    pub bytes: u64,
    pub rows: u64,
    /// Name and value of each partition column, in the table's order; a value as Delta's log has it.
    pub partition: Vec<(String, Option<String>)>,
    /// Delta's statistics, as JSON.
    pub stats: Option<String>,
    /// `None` for a file of another program or of an older Lagar: it is read as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksums: Option<Checksums>,
}

/// One version of a table.
#[derive(Debug, Clone)]
pub struct Table {
    pub name: TableName,
    pub version: u64,
    /// All columns, also those that `partition_by` takes out of the files.
    pub schema: SchemaRef,
    pub partition_by: Vec<String>,
    /// What each column means, where its model says so.
    pub column_docs: BTreeMap<String, String>,
    pub files: Vec<DataFile>,
    /// `None` if the version was written by another program.
    pub meta: Option<TableMeta>,
    pub committed_at: DateTime<Utc>,
}

/// What a commit says about itself, in the log's `commitInfo`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableMeta {
    /// Nobody else's, so that a lost answer can be told from a lost race.
    pub commit_id: String,
    pub run_id: String,
    /// Of the model that made it.
    pub fingerprint: String,
    /// The part of the fingerprint that is the model's own: its SQL and front matter.
    #[serde(default)]
    pub definition: String,
    /// `raw.orders` → load number, `trusted.x` → version.
    pub inputs: BTreeMap<String, u64>,
    /// What tells each of those loads or versions from another of the same number.
    #[serde(default)]
    pub input_ids: BTreeMap<String, String>,
    /// The inputs of which only what is new was read.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_more")]
    pub incremental: Vec<String>,
    /// For a table of the newest row of each key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_by: Option<MergedBy>,
    pub rows_in: u64,
    pub rows_out: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Set for a version that holds the rows of the one before, perhaps laid out anew: the
    /// [`TableMeta::data_id`] of that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compacted: Option<String>,
    /// The git commit of the project that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_version: Option<String>,
    /// The rows that a check left out of this version and of those that its rows are from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOut>,
}

/// By what rows were chosen: a version chosen in another way is no base for the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergedBy {
    pub key: Vec<String>,
    pub latest_by: Vec<String>,
}

/// Older versions have one name where there may be several now.
fn one_or_more<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Names {
        One(String),
        More(Vec<String>),
    }
    Ok(match Names::deserialize(deserializer)? {
        Names::One(name) => vec![name],
        Names::More(names) => names,
    })
}

impl TableMeta {
    /// The same for all versions that hold the same rows because one is a compaction of the other.
    pub fn data_id(&self) -> &str {
        self.compacted.as_deref().unwrap_or(&self.commit_id)
    }
}

impl Lake {
    /// The folder of a table, from the lake's root.
    pub fn table_folder(&self, name: &TableName) -> Path {
        Path::from(name.zone.as_str()).join(name.name.as_str())
    }

    /// Reads the data file at `object`: what it holds is checked where its checksums are known.
    pub fn open_file(&self, object: &Path, file: &DataFile) -> FileReader {
        FileReader::new(self.store().clone(), object.clone(), file)
    }

    /// The object of a data file, from the lake's root.
    pub fn file_path(&self, table: &TableName, file: &DataFile) -> Result<Path> {
        write::object_path(&self.table_folder(table), &file.path)
    }

    /// A version of a table, the newest if `version` is `None`; `None` if there is no such table or version.
    ///
    /// Fails with [`codes::LAKE_CORRUPT`] if the log is damaged, and with [`codes::LAKE_VERSION`] if the
    /// table uses features of Delta that Lagar does not read.
    pub async fn table(&self, name: &TableName, version: Option<u64>) -> Result<Option<Table>> {
        if name.zone == Zone::Raw {
            return Ok(None);
        }
        match self.snapshot(name, version).await? {
            Some(state) => Ok(Some(self.table_of(name, &state).await?)),
            None => Ok(None),
        }
    }

    async fn snapshot(&self, name: &TableName, version: Option<u64>) -> Result<Option<DeltaTableState>> {
        let mut table = self.delta_table(name)?;
        let loaded = match version {
            None => table.load().await,
            Some(version) => table.load_version(version).await,
        };
        match loaded {
            Ok(()) => Ok(table.state),
            Err(DeltaTableError::NotATable(_)) => Ok(None),
            Err(e) => {
                let newest = match version {
                    Some(_) => Box::pin(self.snapshot(name, None)).await?.map(|s| s.version()),
                    None => None,
                };
                match (version, newest) {
                    (Some(version), Some(newest)) if version > newest => Ok(None),
                    // The list lagged behind the entry, and does not any more.
                    (Some(version), Some(_)) => {
                        let mut table = self.delta_table(name)?;
                        match table.load_version(version).await {
                            Ok(()) => Ok(table.state),
                            Err(e) => Err(self.unreadable(name, &e).await),
                        }
                    }
                    _ => Err(self.unreadable(name, &e).await),
                }
            }
        }
    }

    /// The library's handle of a table: its log lies in our store, so every call has a deadline.
    fn delta_table(&self, name: &TableName) -> Result<DeltaTable> {
        let bug =
            |e: &(dyn std::error::Error + 'static)| Error::bug(format!("{name} has no address")).caused_by(e);
        // The library opens nothing by this address, and for this scheme it asks nothing of the disk;
        // it takes lists to be in the order of the names, as S3, memory and `DurableLocal` give them.
        let url = format!("memory:///{}", self.table_folder(name));
        let url = url::Url::parse(&url).map_err(|e| bug(&e))?;
        let log = logstore_with(self.store().clone(), &url, StorageConfig::default());
        Ok(DeltaTable::new(log.map_err(|e| bug(&e))?))
    }

    /// The library hides the store's error: if the store still has it, that one is told.
    async fn unreadable(&self, name: &TableName, e: &DeltaTableError) -> Error {
        let log = log_folder(&self.table_folder(name));
        let listed: object_store::Result<Vec<_>> = self.store().list(Some(&log)).try_collect().await;
        match listed {
            Err(refused) => self.root().error("read", &log, &refused),
            Ok(_) if e.to_string().contains("object store") && !e.to_string().contains(DAMAGED) => {
                Error::new(codes::LAKE_STORE, format!("cannot read {}", self.root().name_of(&log)))
                    .caused_by(e)
                    .hint("the store may be down or slow; try again")
            }
            Ok(_) => Error::new(
                codes::LAKE_CORRUPT,
                format!("the log of {name} in {} is damaged", self.root().name_of(&log)),
            )
            .caused_by(e)
            .hint("bring it back from a backup or from the bucket's old versions"),
        }
    }

    async fn table_of(&self, name: &TableName, state: &DeltaTableState) -> Result<Table> {
        if state.protocol().min_reader_version() > 1 {
            return Err(foreign(name, "it needs a newer reader of Delta tables"));
        }
        let arrow: Schema = state
            .schema()
            .as_ref()
            .try_into_arrow()
            .map_err(|e| foreign(name, "it has columns of unknown types").caused_by(&e))?;
        let partition_by = state.metadata().partition_columns().to_vec();
        let log = state.log_data();
        let files = log.iter().map(|file| {
            let stats = file.stats();
            let values = file.partition_values_map();
            #[expect(deprecated, reason = "the tags are handed out in no other way")]
            let tags = file.add_action().tags;
            let path = file.path().into_owned();
            if path.contains("://") || file.deletion_vector_descriptor().is_some() {
                return Err(foreign(name, "it has deleted rows, or files outside its folder"));
            }
            Ok(DataFile {
                rows: file.num_records().ok_or_else(|| foreign(name, "its files have no row counts"))? as u64,
                path,
                bytes: u64::try_from(file.size()).unwrap_or(0),
                partition: partition_of(&partition_by, values),
                stats,
                checksums: checksums_of(tags),
            })
        });
        let mut files: Vec<DataFile> = files.collect::<Result<_>>()?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let version = state.version();
        let (committed_at, meta) = self.commit_info(name, version).await?;
        Ok(Table {
            name: name.clone(),
            version,
            column_docs: comments(&arrow),
            schema: without_comments(&arrow),
            partition_by,
            files,
            meta,
            committed_at: committed_at
                .or_else(|| state.version_timestamp(version).and_then(DateTime::from_timestamp_millis))
                .unwrap_or_default(),
        })
    }

    /// What a version says about itself, without a look at its files; `None` if it was written by another
    /// program, or its log entry is not there any more.
    pub async fn table_meta(&self, name: &TableName, version: u64) -> Result<Option<TableMeta>> {
        Ok(self.commit_info(name, version).await?.1)
    }

    /// When a version was committed and what it says about itself, as far as its log entry is still
    /// there and tells.
    async fn commit_info(
        &self,
        name: &TableName,
        version: u64,
    ) -> Result<(Option<DateTime<Utc>>, Option<TableMeta>)> {
        let path = entry_path(&self.table_folder(name), version);
        let bytes = match self.store().get(&path).await {
            Ok(found) => found.bytes().await,
            Err(object_store::Error::NotFound { .. }) => return Ok((None, None)),
            Err(e) => Err(e),
        };
        let bytes = bytes.map_err(|e| self.root().error("read", &path, &e))?;
        self.info_in(&path, &bytes)
    }

    /// What the entry at `path` says about its version.
    fn info_in(&self, path: &Path, entry: &[u8]) -> Result<(Option<DateTime<Utc>>, Option<TableMeta>)> {
        let damaged = |e: serde_json::Error| {
            Error::new(codes::LAKE_CORRUPT, format!("{} is damaged", self.root().name_of(path))).caused_by(&e)
        };
        let mut info = None;
        for line in entry.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            let mut action: serde_json::Value = serde_json::from_slice(line).map_err(damaged)?;
            info = info.or(action.get_mut("commitInfo").map(serde_json::Value::take));
        }
        let Some(mut info) = info else { return Ok((None, None)) };
        let at = info.get("timestamp").and_then(serde_json::Value::as_i64);
        let meta = info.get_mut(commit::META).map(serde_json::Value::take);
        let meta = meta.map(serde_json::from_value).transpose().map_err(damaged)?;
        Ok((at.and_then(DateTime::from_timestamp_millis), meta))
    }
}

impl Lake {
    /// The newest version of a table, if it has one.
    pub(crate) async fn newest_version(&self, name: &TableName) -> Result<Option<u64>> {
        Ok(self.snapshot(name, None).await?.map(|state| state.version()))
    }

    /// The objects of one version.
    pub(crate) async fn files_of(&self, name: &TableName, version: u64) -> Result<Vec<Path>> {
        let state = self.snapshot(name, Some(version)).await?;
        let state = state.ok_or_else(|| {
            Error::new(codes::LAKE_CORRUPT, format!("version {version} of {name} is not there"))
        })?;
        let folder = self.table_folder(name);
        let (_, meta) = self.commit_info(name, version).await?;
        let beside = left_out(&meta).map(|file| write::object_path(&folder, &file.path));
        state.log_data().iter().map(|file| write::object_path(&folder, &file.path())).chain(beside).collect()
    }

    /// The objects that one version added to the one before, or names beside its rows.
    pub(crate) async fn files_added(&self, name: &TableName, version: u64) -> Result<Vec<Path>> {
        let folder = self.table_folder(name);
        let path = entry_path(&folder, version);
        let read = async { self.store().get(&path).await?.bytes().await };
        let bytes = read.await.map_err(|e| self.root().error("read", &path, &e))?;
        let mut added = Vec::new();
        for line in bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let action: Action = serde_json::from_slice(line).map_err(|e| {
                Error::new(codes::LAKE_CORRUPT, format!("{} is damaged", self.root().name_of(&path)))
                    .caused_by(&e)
            })?;
            if let Action::Add(add) = action {
                added.push(write::object_path(&folder, &add.path)?);
            }
        }
        let (_, meta) = self.info_in(&path, &bytes)?;
        for file in left_out(&meta) {
            added.push(write::object_path(&folder, &file.path)?);
        }
        Ok(added)
    }
}

/// The files of the rows that lie beside a version.
fn left_out(meta: &Option<TableMeta>) -> impl Iterator<Item = &DataFile> {
    meta.iter().flat_map(|meta| &meta.left_out).flat_map(|left_out| &left_out.files)
}

fn foreign(name: &TableName, why: &str) -> Error {
    Error::new(codes::LAKE_VERSION, format!("{name} was written by another program: {why}"))
        .hint("let only Lagar write to its tables")
}

fn checksums_of(tags: Option<HashMap<String, Option<String>>>) -> Option<Checksums> {
    Checksums::parse(&tags?.remove(CRC32)??)
}

fn partition_of(by: &[String], mut values: HashMap<String, Option<String>>) -> partition::Partition {
    by.iter().map(|name| (name.clone(), values.remove(name).flatten().filter(|v| !v.is_empty()))).collect()
}

fn comments(schema: &Schema) -> BTreeMap<String, String> {
    let comment = |field: &Arc<Field>| Some((field.name().clone(), field.metadata().get(COMMENT)?.clone()));
    schema.fields().iter().filter_map(comment).collect()
}

fn without_comments(schema: &Schema) -> SchemaRef {
    let plain = |field: &Field| Field::new(field.name(), field.data_type().clone(), field.is_nullable());
    Arc::new(Schema::new(schema.fields().iter().map(|f| plain(f)).collect::<Vec<_>>()))
}

fn log_folder(table: &Path) -> Path {
    table.clone().join("_delta_log")
}

fn entry_path(table: &Path, version: u64) -> Path {
    log_folder(table).join(format!("{version:020}.json"))
}

/// The version that the log entry `object` makes.
pub(crate) fn entry_number(table: &Path, object: &Path) -> Option<u64> {
    number_in(&log_folder(table), object)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_version_of_an_older_lagar_names_one_input() {
        let written = |incremental: &str| {
            let text = format!(
                r#"{{"commit_id":"c","run_id":"r","fingerprint":"f","inputs":{{}},"rows_in":1,"rows_out":1{incremental}}}"#
            );
            serde_json::from_str::<TableMeta>(&text).unwrap()
        };
        assert_eq!(written("").incremental, Vec::<String>::new());
        assert_eq!(written(r#","incremental":"raw.x""#).incremental, ["raw.x"]);
        let both = written(r#","incremental":["raw.x","raw.y"]"#);
        assert_eq!(both.incremental, ["raw.x", "raw.y"]);
        assert_eq!(serde_json::from_str::<TableMeta>(&serde_json::to_string(&both).unwrap()).unwrap(), both);
    }
}
