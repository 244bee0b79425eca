//! Small files put together: the tables stay the same for everybody who reads them, and nothing is
//! built again because of it.

use std::collections::BTreeMap;

use lagar_flow::{Error, Result, TableName, codes};
use lagar_lake::{Compaction, Release, Table, WriteOptions};
use serde::Serialize;

use crate::{build::TARGET_FILE_BYTES, lock::RunLock, workplace::Workplace};

/// What became of one table.
#[derive(Debug, Clone, Serialize)]
pub struct CompactedTable {
    pub name: TableName,
    /// The released version before.
    pub version: u64,
    /// The one that holds the same rows in fewer files; `None` if there is none (yet).
    pub new_version: Option<u64>,
    pub files_before: u64,
    pub files_after: u64,
    /// Bytes of the small files.
    pub bytes_before: u64,
    /// Bytes of what they became.
    pub bytes_after: u64,
    /// Why nothing was done, or something else than usual.
    pub note: Option<String>,
}

/// What a compaction did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CompactReport {
    pub tables: Vec<CompactedTable>,
    /// The release with the new versions, if there are any.
    pub release: Option<u64>,
}

/// Puts the small files of the released tables together (of `only`, unless it is empty) and releases the
/// result. With `dry_run` nothing is written.
///
/// # Errors
/// [`codes::TABLE_MISSING`] for a name that is not released, [`codes::LOCKED`] while a run goes on, and what
/// reading, writing and publishing fail with. What was committed before is found by the next run.
pub async fn compact(workplace: &Workplace, only: &[TableName], dry_run: bool) -> Result<CompactReport> {
    let lake = &workplace.lake;
    // A run would find its inputs moved, and the other way round.
    let _lock = match workplace.project.state_dir() {
        Ok(dir) if !dry_run => RunLock::take(&dir, workplace.clock.now())?,
        _ => None,
    };
    let Some(release) = lake.current_release().await? else {
        return match only.first() {
            Some(name) => Err(not_released(name)),
            None => Ok(CompactReport::default()),
        };
    };
    if let Some(missing) = only.iter().find(|name| !release.tables.contains_key(*name)) {
        return Err(not_released(missing));
    }
    let run_id = uuid::Uuid::now_v7().to_string();
    let mut report = CompactReport::default();
    let mut moved = BTreeMap::new();
    for (name, version) in release.tables.iter().filter(|(name, _)| only.is_empty() || only.contains(name)) {
        let newest = lake.table(name, None).await?;
        let Some(table) = newest.filter(|newest| newest.version == *version) else {
            let why =
                "its newest version is not the released one: a rollback holds, or a run released nothing"
                    .to_owned();
            report.tables.push(untouched(name, *version, Some(why)));
            continue;
        };
        let small = Compaction::of(&table, TARGET_FILE_BYTES);
        if table.meta.is_none() || small.groups.is_empty() {
            let why = table.meta.is_none().then(|| "it was not written by Lagar".to_owned());
            report.tables.push(CompactedTable {
                files_before: files(&table),
                files_after: files(&table),
                ..untouched(name, *version, why)
            });
            continue;
        }
        let mut done = planned(&table, &small);
        if !dry_run {
            let options = WriteOptions {
                target_file_bytes: u64::MAX, // a group is one file, whatever it comes to
                run_id: run_id.clone(),
                threads: workplace.project.limits.threads,
            };
            let after = lake.compact(&table, &small, options).await?.table;
            done.files_after = files(&after);
            // Another run may have taken files away meanwhile.
            done.bytes_after = (bytes_of(&after) + done.bytes_before).saturating_sub(bytes_of(&table));
            done.new_version = Some(after.version);
            if after.version == table.version + 1 {
                moved.insert(name.clone(), after.version);
            } else {
                done.note = Some("another run made a version meanwhile; the next run releases both".into());
            }
        }
        report.tables.push(done);
    }
    if !moved.is_empty() {
        report.release = Some(publish(workplace, &release, moved, &run_id).await?.number);
    }
    Ok(report)
}

async fn publish(
    workplace: &Workplace,
    before: &Release,
    moved: BTreeMap<TableName, u64>,
    run_id: &str,
) -> Result<Release> {
    let mut contents = before.contents();
    contents.tables.extend(moved);
    workplace.lake.publish(Some(before.number), contents, run_id, None).await
}

fn not_released(name: &TableName) -> Error {
    Error::new(codes::TABLE_MISSING, format!("`{name}` is in no release"))
        .hint("only trusted and refined tables are compacted; `lagar ls` lists them")
}

fn files(table: &Table) -> u64 {
    table.files.len() as u64
}

fn bytes_of(table: &Table) -> u64 {
    table.files.iter().map(|file| file.bytes).sum()
}

fn untouched(name: &TableName, version: u64, note: Option<String>) -> CompactedTable {
    CompactedTable {
        name: name.clone(),
        version,
        new_version: None,
        files_before: 0,
        files_after: 0,
        bytes_before: 0,
        bytes_after: 0,
        note,
    }
}

/// What is known before anything was written.
fn planned(table: &Table, small: &Compaction) -> CompactedTable {
    let replaced = small.files().count() as u64;
    CompactedTable {
        files_before: files(table),
        files_after: files(table) - replaced + small.groups.len() as u64,
        bytes_before: small.files().map(|file| file.bytes).sum(),
        ..untouched(&table.name, table.version, None)
    }
}
