//! Many writers on one table, while it is compacted and vacuumed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use lagar_flow::{TableName, codes};
use lagar_lake::{Compaction, Lake, Table, VacuumOptions, WriteOptions};
use lagar_testing::{Battery, long};
use object_store::{ObjectStoreExt, path::Path};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::dated::Dated;
use crate::support::*;

const WRITERS: usize = 8;
/// Rows of one append.
const ROWS: i64 = 3;
/// What a vacuum takes for long ago. The clock goes on by a day only when nobody writes any more who
/// began the day before: no write takes longer than that.
const RETENTION_DAYS: u64 = 2;

fn ledger() -> TableName {
    table_name("trusted.ledger")
}

/// Since which day each writer writes; 0: it does not.
#[derive(Default)]
struct Days {
    today: i64,
    since: [i64; WRITERS + 1],
}

struct Place {
    store: Dated,
    lake: Lake,
    days: Mutex<Days>,
    done: AtomicBool,
}

impl Place {
    fn begin(&self, writer: usize) {
        let mut days = self.days.lock().unwrap();
        days.since[writer] = days.today;
    }

    /// Ends a write, and the day if nobody writes who began before today.
    fn end(&self, writer: usize) {
        let mut days = self.days.lock().unwrap();
        days.since[writer] = 0;
        let today = days.today;
        if days.since.iter().all(|since| *since == 0 || *since == today) {
            days.today += 1;
            self.store.hours_later(24);
        }
    }

    async fn append(&self, number: i64, commit_id: &str) -> lagar_flow::Result<u32> {
        let batch = rows(number * ROWS..(number + 1) * ROWS, |_| None);
        let known = self.lake.table(&ledger(), None).await?.map(|table| table.version);
        let files = write_files(&self.lake, &ledger(), std::slice::from_ref(&batch), &[]).await?;
        let plan = |newest: Option<&Table>| {
            let mut all = newest.map(|table| table.files.clone()).unwrap_or_default();
            all.extend(files.iter().cloned());
            Ok(commit_of(&ledger(), batch.schema(), &[], all, None, &[]))
        };
        Ok(self.lake.commit_onto_newest(&ledger(), commit_id, known, plan).await?.attempts)
    }
}

async fn write(place: Arc<Place>, writer: usize, appends: usize) -> Vec<u32> {
    let mut attempts = Vec::new();
    for n in 0..appends {
        place.begin(writer);
        let number = (writer * appends + n) as i64;
        attempts.push(place.append(number, &format!("append-{number}")).await.unwrap());
        place.end(writer);
    }
    attempts
}

/// Compacts until the writers are done; how often that was done, and how often others were faster.
async fn compact(place: Arc<Place>) -> (u32, u32) {
    let (mut compacted, mut overtaken) = (0, 0);
    while !place.done.load(Ordering::SeqCst) {
        place.begin(WRITERS);
        if let Some(table) = place.lake.table(&ledger(), None).await.unwrap() {
            let plan = Compaction::of(&table, 64 << 20);
            if plan.files().count() > 4 {
                let options =
                    WriteOptions { run_id: "compaction".into(), threads: 1, ..WriteOptions::default() };
                match place.lake.compact(&table, &plan, options).await {
                    Ok(_) => compacted += 1,
                    Err(error) => {
                        assert_eq!(error.code(), codes::LAKE_CONFLICT, "{error}");
                        overtaken += 1;
                    }
                }
            }
        }
        place.end(WRITERS);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (compacted, overtaken)
}

/// How many files went.
async fn vacuum_once(lake: &Lake) -> u64 {
    let options = VacuumOptions {
        older_than: Duration::from_secs(RETENTION_DAYS * 86_400),
        keep_releases: Some(1),
        only: vec![],
        dry_run: false,
    };
    let report = lake.vacuum(&options).await.unwrap();
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    report.removed_sum().files
}

/// Vacuums until the writers are done; how many files went.
async fn vacuum(place: Arc<Place>) -> u64 {
    let mut gone = 0;
    while !place.done.load(Ordering::SeqCst) {
        gone += vacuum_once(&place.lake).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    gone
}

async fn ids(lake: &Lake, table: &Table) -> Vec<i64> {
    let mut ids = Vec::new();
    for file in &table.files {
        let object = lake.file_path(&table.name, file).unwrap();
        let bytes = lake.store().get(&object).await.unwrap().bytes().await.unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
            ids.extend(batch.unwrap().column(0).as_primitive::<Int64Type>().values());
        }
    }
    ids.sort_unstable();
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_writers_a_compaction_and_a_vacuum_lose_and_double_nothing() {
    let mut battery = Battery::new("O3");
    let appends = if long() { 200 } else { 6 };
    let text = "cargo test -p lagar-lake --test lake eight_writers";
    battery.case_async(text, beside_each_other(appends)).await;
}

async fn beside_each_other(appends: usize) {
    let store = Dated::default();
    let lake = store.lake(Arc::new(store.clone()));
    let days = Mutex::new(Days { today: 1, ..Days::default() });
    let place =
        Arc::new(Place { store: store.clone(), lake: lake.clone(), days, done: AtomicBool::new(false) });
    let compacting = tokio::spawn(compact(place.clone()));
    let vacuuming = tokio::spawn(vacuum(place.clone()));
    let writing: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(write(place.clone(), writer, appends))).collect();
    let mut attempts = Vec::new();
    for writer in writing {
        attempts.extend(writer.await.unwrap());
    }
    place.done.store(true, Ordering::SeqCst);
    let (compacted, overtaken) = compacting.await.unwrap();
    let beside = vacuuming.await.unwrap();
    store.hours_later(24 * (RETENTION_DAYS as i64 + 1));
    let after = vacuum_once(&lake).await;

    let table = lake.table(&ledger(), None).await.unwrap().unwrap();
    let expected: Vec<i64> = (0..(WRITERS * appends) as i64 * ROWS).collect();
    assert_eq!(ids(&lake, &table).await, expected, "every row once");
    // Each commit has a version of its own, and no version was written twice.
    let mut commits: BTreeMap<String, u64> = BTreeMap::new();
    for version in 0..=table.version {
        let path = format!("trusted/ledger/_delta_log/{version:020}.json");
        let bytes = store.get(&Path::from(path)).await.unwrap().bytes().await.unwrap();
        let info: serde_json::Value =
            serde_json::from_slice(bytes.split(|b| *b == b'\n').next().unwrap()).unwrap();
        let id = info["commitInfo"]["lagar"]["commit_id"].as_str().unwrap().to_owned();
        assert_eq!(commits.insert(id, version), None);
    }
    let ours: BTreeSet<String> = (0..WRITERS * appends).map(|n| format!("append-{n}")).collect();
    assert!(ours.iter().all(|id| commits.contains_key(id)));
    assert_eq!(commits.len(), ours.len() + compacted as usize, "appends and compactions, and nothing else");
    attempts.sort_unstable();
    let p99 = attempts[(attempts.len() * 99).div_ceil(100) - 1];
    println!(
        "{} appends, {compacted} compactions, {overtaken} overtaken, {beside} files vacuumed beside them and {after} after, day {}; attempts: median {}, p99 {p99}, most {}",
        attempts.len(),
        place.days.lock().unwrap().today,
        attempts[attempts.len() / 2],
        attempts[attempts.len() - 1]
    );
    assert!(p99 <= 20, "p99 of the attempts is {p99}");
    assert!(compacted > 0 && beside + after > 0, "{compacted} compactions");
}
