//! A new version of a table: one entry of its Delta log, put only if its number is free.
//!
//! The actions are those of the `deltalake` crate, but the entry is put by [`put_if_absent`] and not by
//! the crate's `CommitBuilder`: that one moves a commit to a later version when another writer was
//! first, and takes a lost answer for a lost race. Here a commit is for exactly one version, the one
//! after what its files were made from, and an unclear answer is cleared up by reading back. The entry
//! holds the commit's own id, so two writers never write the same bytes.
//!
//! Protocol: reader version 1, writer version 2, no table features: what every reader knows.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use arrow::datatypes::{Schema, SchemaRef};
use chrono::{DateTime, Utc};
use deltalake::{
    DeltaTable,
    checkpoints::create_checkpoint,
    kernel::{
        Action, Add, CommitInfo, Metadata, Protocol, Remove, StructType, Transaction,
        engine::arrow_conversion::TryIntoKernel,
    },
    table::state::DeltaTableState,
};
use lagar_flow::{Error, KillPoint, Result, TableName, Zone, codes, kill};
use object_store::path::Path;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{COMMENT, CRC32, DataFile, Table, TableMeta, delta_schema, entry_path, foreign, write::id_of};
use crate::{
    Lake, lagar_version, made_at,
    store::{SEAL, UNSEALED, put_if_absent, seal},
};

/// The key of our own part of `commitInfo`.
pub(super) const META: &str = "lagar";
/// A checkpoint after so many versions, so that opening a table stays fast.
const CHECKPOINT_EVERY: u64 = 100;

/// After a lost race a writer waits a random part of what the attempt took, doubled each time but no more
/// than so often: of many writers each is in after a few attempts, on a slow store as on a fast one.
const RACE_DOUBLINGS: u32 = 5;
const RACE_WAIT_MAX: Duration = Duration::from_secs(20);
const RACES_MAX: u32 = 100;

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

/// What [`Lake::commit_onto_newest`] made.
#[derive(Debug, Clone)]
pub struct Committed {
    pub table: Table,
    /// 1: nobody else was first.
    pub attempts: u32,
}

impl Lake {
    /// Makes the files of `commit` the newest version of its table. Doing it again with the same
    /// `meta.commit_id` changes nothing and returns the version that it made.
    ///
    /// Fails with [`codes::LAKE_CONFLICT`] if the newest version is not `commit.base` and not ours;
    /// nothing is visible then.
    pub async fn commit_table(&self, commit: TableCommit) -> Result<Table> {
        let newest = self.snapshot(&commit.name, None).await?;
        self.commit_onto(commit, newest).await
    }

    /// The same, with the newest version as it was read.
    async fn commit_onto(&self, commit: TableCommit, newest: Option<DeltaTableState>) -> Result<Table> {
        if commit.name.zone == Zone::Raw {
            return Err(Error::bug(format!("{} is not a table", commit.name)));
        }
        let schema = delta_schema(&commit.schema)?;
        let version = newest.as_ref().map(DeltaTableState::version);
        if version != commit.base {
            let id = &commit.meta.commit_id;
            return match self.earlier(&commit.name, id, commit.base, version).await? {
                Some(table) => Ok(table),
                None => Err(conflict(&commit, version)),
            };
        }
        let next = version.map_or(0, |v| v + 1);
        self.still_there(self.unnamed(&commit, newest.as_ref())?).await?;
        let now = self.clock().now();
        let actions = actions(&commit, &schema, newest.as_ref(), now.timestamp_millis())?;
        let mut entry = Vec::new();
        for action in &actions {
            serde_json::to_writer(&mut entry, action)
                .map_err(|e| Error::bug("an action of the log cannot be written as JSON").caused_by(&e))?;
            entry.push(b'\n');
        }
        seal(&mut entry);
        let path = entry_path(&self.table_folder(&commit.name), next);
        put_if_absent(self.store().as_ref(), self.root(), &path, entry.into()).await?;
        if next > 0 && next.is_multiple_of(CHECKPOINT_EVERY) {
            kill::at(KillPoint::CheckpointDue);
            self.checkpoint(&commit.name, next).await;
            kill::at(KillPoint::CheckpointMade);
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

    /// The files that only this commit names, with the time since when they wait for it.
    fn unnamed(
        &self,
        commit: &TableCommit,
        newest: Option<&DeltaTableState>,
    ) -> Result<Vec<(Option<DateTime<Utc>>, Path)>> {
        let named: HashSet<String> =
            newest.iter().flat_map(|state| state.log_data()).map(|file| file.path().into_owned()).collect();
        // Those beside the rows that the version before names as well are old, and looked after once more.
        let beside = commit.meta.left_out.iter().flat_map(|left_out| &left_out.files);
        let unnamed = commit.files.iter().chain(beside).filter(|file| !named.contains(&file.path));
        unnamed
            .map(|file| Ok((id_of(&file.path).and_then(made_at), self.file_path(&commit.name, file)?)))
            .collect()
    }

    /// Commits what `plan` makes of the newest version (`None`: there is none yet), with `commit_id` as
    /// its own id. When another writer is first it is planned again, on what that one committed, until it
    /// is in. `since` is the newest version that was there when the caller first thought of this commit:
    /// one that landed although its answer was lost is found behind it and not made twice.
    ///
    /// Fails with [`codes::LAKE_CONFLICT`] after so many lost races that something else must be wrong,
    /// and with what `plan` fails with.
    pub async fn commit_onto_newest(
        &self,
        name: &TableName,
        commit_id: &str,
        since: Option<u64>,
        plan: impl Fn(Option<&Table>) -> Result<TableCommit>,
    ) -> Result<Committed> {
        let mut seen = since;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let began = Instant::now();
            let state = self.snapshot(name, None).await?;
            let newest = match &state {
                Some(state) => Some(self.table_of(name, state).await?),
                None => None,
            };
            let version = newest.as_ref().map(|table| table.version);
            if let Some(table) = self.earlier(name, commit_id, seen, version).await? {
                return Ok(Committed { table, attempts });
            }
            seen = version;
            let mut commit = plan(newest.as_ref())?;
            commit.base = version;
            commit.meta.commit_id = commit_id.to_owned();
            match self.commit_onto(commit, state).await {
                Err(error) if error.code() == codes::LAKE_CONFLICT && attempts < RACES_MAX => {}
                committed => return committed.map(|table| Committed { table, attempts }),
            }
            // The more often it was lost, the more writers there are, and the rarer each must try.
            let wait = began.elapsed() * 2_u32.pow(attempts.min(RACE_DOUBLINGS));
            tokio::time::sleep(some_of(wait.min(RACE_WAIT_MAX))).await;
        }
    }

    /// The version behind `since` that the commit `commit_id` made before, when its answer was lost.
    async fn earlier(
        &self,
        name: &TableName,
        commit_id: &str,
        since: Option<u64>,
        newest: Option<u64>,
    ) -> Result<Option<Table>> {
        let first = since.map_or(0, |v| v + 1);
        let Some(newest) = newest else { return Ok(None) };
        for version in first..=newest {
            let (_, meta) = self.commit_info(name, version).await?;
            if meta.is_some_and(|meta| meta.commit_id == commit_id) {
                return self.table(name, Some(version)).await;
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

/// A random part of `wait`.
fn some_of(wait: Duration) -> Duration {
    wait.mul_f64(f64::from(Uuid::now_v7().as_u128() as u32) / f64::from(u32::MAX))
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
    // Readers that follow a table's changes skip a version that only lays its rows out anew.
    let data_change = commit.meta.compacted.is_none();
    let wanted: HashSet<&str> = commit.files.iter().map(|f| f.path.as_str()).collect();
    let mut present = HashSet::new();
    for file in newest.iter().flat_map(|state| state.log_data()) {
        let path = file.path().into_owned();
        if !wanted.contains(path.as_str()) {
            actions.push(Action::Remove(Remove {
                path: path.clone(),
                data_change,
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
        actions.push(Action::Add(add(file, now, data_change)?));
    }
    Ok(actions)
}

fn add(file: &DataFile, now: i64, data_change: bool) -> Result<Add> {
    Ok(Add {
        path: file.path.clone(),
        partition_values: file.partition.iter().cloned().collect(),
        size: i64::try_from(file.bytes).map_err(|_| Error::bug("a file is too big"))?,
        modification_time: now,
        data_change,
        stats: file.stats.clone(),
        tags: file
            .checksums
            .as_ref()
            .map(|sums| HashMap::from([(CRC32.to_owned(), Some(sums.as_str().to_owned()))])),
        ..Add::default()
    })
}

fn commit_info(commit: &TableCommit, now: i64) -> Result<CommitInfo> {
    let mut meta = serde_json::to_value(&commit.meta)
        .map_err(|e| Error::bug("a commit cannot be described as JSON").caused_by(&e))?;
    if let Some(members) = meta.as_object_mut() {
        members.insert(SEAL.to_owned(), UNSEALED.into());
    }
    let mode = match commit.base {
        None => "CREATE TABLE AS SELECT",
        Some(_) if commit.meta.compacted.is_some() => "OPTIMIZE",
        Some(_) => "WRITE",
    };
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
