//! A new version of a table: one entry of its Delta log, put only if its number is free.
//!
//! The actions are those of the `deltalake` crate, but the entry is put by [`put_if_absent`] and not by
//! the crate's `CommitBuilder`: that one moves a commit to a later version when another writer was
//! first, and takes a lost answer for a lost race. Here a commit is for exactly one version, the one
//! after what its files were made from, and an unclear answer is cleared up by reading back. The entry
//! holds the commit's own id, so two writers never write the same bytes.
//!
//! Protocol: reader version 1, writer version 2, no table features: what every reader knows.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::datatypes::{Schema, SchemaRef};
use deltalake::{
    DeltaTable,
    checkpoints::create_checkpoint,
    kernel::{
        Action, Add, CommitInfo, Metadata, Protocol, Remove, StructType, Transaction,
        engine::arrow_conversion::TryIntoKernel,
    },
    table::state::DeltaTableState,
};
use lagar_flow::{Error, Result, TableName, Zone, codes};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{COMMENT, DataFile, Table, TableMeta, delta_schema, entry_path, foreign};
use crate::{Lake, lagar_version, store::put_if_absent};

/// The key of our own part of `commitInfo`.
pub(super) const META: &str = "lagar";
/// A checkpoint after so many versions, so that opening a table stays fast.
const CHECKPOINT_EVERY: u64 = 100;

/// A version of a table to be.
#[derive(Debug, Clone)]
pub struct TableCommit {
    pub name: TableName,
    /// The query's columns; the table gets [`delta_schema`] of them.
    pub schema: SchemaRef,
    pub partition_by: Vec<String>,
    /// All files of the new version, also those that it takes over from the one before.
    pub files: Vec<DataFile>,
    pub meta: TableMeta,
    /// The version that was there when this one was planned; `None`: no table yet.
    pub base: Option<u64>,
    /// What each column is, for the table's documentation.
    pub column_docs: BTreeMap<String, String>,
}

impl Lake {
    /// Makes the files of `commit` the newest version of its table. Doing it again with the same
    /// `meta.commit_id` changes nothing and returns the version that it made.
    ///
    /// Fails with [`codes::LAKE_CONFLICT`] if the newest version is not `commit.base` and not ours;
    /// nothing is visible then.
    pub async fn commit_table(&self, commit: TableCommit) -> Result<Table> {
        if commit.name.zone == Zone::Raw {
            return Err(Error::bug(format!("{} is not a table", commit.name)));
        }
        let schema = delta_schema(&commit.schema)?;
        let newest = self.snapshot(&commit.name, None).await?;
        let version = newest.as_ref().map(DeltaTableState::version);
        if version != commit.base {
            return match self.earlier(&commit, version).await? {
                Some(table) => Ok(table),
                None => Err(conflict(&commit, version)),
            };
        }
        let next = version.map_or(0, |v| v + 1);
        let now = self.clock().now();
        let actions = actions(&commit, &schema, newest.as_ref(), now.timestamp_millis())?;
        let mut entry = Vec::new();
        for action in &actions {
            serde_json::to_writer(&mut entry, action)
                .map_err(|e| Error::bug("an action of the log cannot be written as JSON").caused_by(&e))?;
            entry.push(b'\n');
        }
        let path = entry_path(&self.table_folder(&commit.name), next);
        put_if_absent(self.store().as_ref(), self.root(), &path, entry.into()).await?;
        if next > 0 && next % CHECKPOINT_EVERY == 0 {
            self.checkpoint(&commit.name, next).await;
        }
        let mut files = commit.files;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Table {
            name: commit.name,
            version: next,
            schema,
            partition_by: commit.partition_by,
            column_docs: commit.column_docs,
            files,
            meta: Some(commit.meta),
            committed_at: now,
        })
    }

    /// The version that this very commit made before, when its answer was lost.
    async fn earlier(&self, commit: &TableCommit, newest: Option<u64>) -> Result<Option<Table>> {
        let first = commit.base.map_or(0, |v| v + 1);
        let Some(newest) = newest else { return Ok(None) };
        for version in first..=newest {
            let (_, meta) = self.commit_info(&commit.name, version).await?;
            if meta.is_some_and(|meta| meta.commit_id == commit.meta.commit_id) {
                return self.table(&commit.name, Some(version)).await;
            }
        }
        Ok(None)
    }

    /// Only for speed: a version without a checkpoint is as good, so nothing fails here.
    async fn checkpoint(&self, name: &TableName, version: u64) {
        let made = async {
            let mut table: DeltaTable = self.delta_table(name)?;
            table.load_version(version).await.map_err(|e| foreign(name, "").caused_by(&e))?;
            // Its own task, so that a panic of the library stays there.
            let made = tokio::spawn(async move { create_checkpoint(&table, None).await });
            match made.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(e)) => Err(Error::bug("no checkpoint").caused_by(&e)),
                Err(e) => Err(Error::bug("no checkpoint").caused_by(&e)),
            }
        };
        if let Err(e) = made.await {
            tracing::warn!("version {version} of {name} has no checkpoint: {e}");
        }
    }
}

fn conflict(commit: &TableCommit, newest: Option<u64>) -> Error {
    let say = |v: Option<u64>| v.map_or("no version".to_owned(), |v| format!("version {v}"));
    Error::new(
        codes::LAKE_CONFLICT,
        format!(
            "another writer was first: {} has {}, and this run started from {}",
            commit.name,
            say(newest),
            say(commit.base)
        ),
    )
    .hint("run again: it starts from what the other one committed")
}

/// The actions of the entry, `commitInfo` first.
fn actions(
    commit: &TableCommit,
    schema: &SchemaRef,
    newest: Option<&DeltaTableState>,
    now: i64,
) -> Result<Vec<Action>> {
    let mut actions = vec![Action::CommitInfo(commit_info(commit, now)?)];
    if let Some(state) = newest {
        let protocol = state.protocol();
        if protocol.min_reader_version() > 1 || protocol.min_writer_version() > 2 {
            return Err(foreign(&commit.name, "it has features of Delta that Lagar does not write"));
        }
    } else {
        let protocol = json!({"minReaderVersion": 1, "minWriterVersion": 2});
        actions.push(Action::Protocol(from_json::<Protocol>(protocol)?));
    }
    let metadata = metadata(commit, schema, newest.map(|s| s.metadata()), now)?;
    if newest.is_none_or(|state| *state.metadata() != metadata) {
        actions.push(Action::Metadata(metadata));
    }
    for (input, number) in &commit.meta.inputs {
        let number = i64::try_from(*number).map_err(|_| Error::bug("an input's number is too big"))?;
        actions.push(Action::Txn(Transaction::new_with_last_update(
            format!("lagar/{input}"),
            number,
            Some(now),
        )));
    }
    let wanted: HashSet<&str> = commit.files.iter().map(|f| f.path.as_str()).collect();
    let mut present = HashSet::new();
    for file in newest.iter().flat_map(|state| state.log_data()) {
        let path = file.path().into_owned();
        if !wanted.contains(path.as_str()) {
            actions.push(Action::Remove(Remove {
                path: path.clone(),
                data_change: true,
                deletion_timestamp: Some(now),
                extended_file_metadata: Some(true),
                partition_values: Some(file.partition_values_map()),
                size: Some(file.size()),
                ..Remove::default()
            }));
        }
        present.insert(path);
    }
    for file in commit.files.iter().filter(|file| !present.contains(&file.path)) {
        actions.push(Action::Add(add(file, now)?));
    }
    Ok(actions)
}

fn add(file: &DataFile, now: i64) -> Result<Add> {
    Ok(Add {
        path: file.path.clone(),
        partition_values: file.partition.iter().cloned().collect(),
        size: i64::try_from(file.bytes).map_err(|_| Error::bug("a file is too big"))?,
        modification_time: now,
        data_change: true,
        stats: file.stats.clone(),
        ..Add::default()
    })
}

fn commit_info(commit: &TableCommit, now: i64) -> Result<CommitInfo> {
    let meta = serde_json::to_value(&commit.meta)
        .map_err(|e| Error::bug("a commit cannot be described as JSON").caused_by(&e))?;
    let mode = if commit.base.is_none() { "CREATE TABLE AS SELECT" } else { "WRITE" };
    Ok(CommitInfo {
        timestamp: Some(now),
        operation: Some(mode.to_owned()),
        operation_parameters: Some(HashMap::new()),
        read_version: commit.base,
        engine_info: Some(format!("lagar/{}", lagar_version())),
        info: HashMap::from([(META.to_owned(), meta)]),
        ..CommitInfo::default()
    })
}

/// What stands in the log about the table itself; an existing table keeps its identity.
fn metadata(commit: &TableCommit, schema: &Schema, before: Option<&Metadata>, now: i64) -> Result<Metadata> {
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| match commit.column_docs.get(field.name()) {
            Some(doc) => {
                let comment = HashMap::from([(COMMENT.to_owned(), doc.clone())]);
                field.as_ref().clone().with_metadata(comment)
            }
            None => field.as_ref().clone(),
        })
        .collect();
    let kernel: StructType = (&Schema::new(fields))
        .try_into_kernel()
        .map_err(|e| Error::bug("a column has no type in Delta").caused_by(&e))?;
    let schema = serde_json::to_string(&kernel)
        .map_err(|e| Error::bug("a schema cannot be written as JSON").caused_by(&e))?;
    from_json(json!({
        "id": before.map_or_else(|| Uuid::now_v7().to_string(), |m| m.id().to_owned()),
        "name": commit.name.to_string(),
        "description": commit.meta.description,
        "format": {"provider": "parquet", "options": {}},
        "schemaString": schema,
        "partitionColumns": commit.partition_by,
        "configuration": before.map(|m| m.configuration().clone()).unwrap_or_default(),
        "createdTime": before.map_or(Some(now), Metadata::created_time),
    }))
}

fn from_json<T: serde::de::DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|e| Error::bug("an action of the log cannot be made").caused_by(&e))
}
