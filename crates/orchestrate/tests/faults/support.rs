//! A project whose every row is known beforehand, and the lakes it is run into.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use lagar_flow::{Clock, Error, FixedClock, Result, TableName};
use lagar_lake::{DurableLocal, Lake, Release, Root, Table};
use lagar_orchestrate::{LoadOptions, Project, Report, RunOptions, Unwatched, Workplace, run};
use lagar_testing::{FaultStore, Ledger, Plan, dump, mix};
use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory};
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const PROJECT: &str = "\
name: ledger
limits: {threads: 2, memory: 256MiB, concurrency: CONCURRENCY}
sources:
  orders: {type: file, url: orders.csv, require_rows: true}
  events: {type: sql, url: 'sqlite:events.db', table: events, cursor: id}
";
/// Orders are sent whole, and change; events only come. Both are merged, and parted by their owners.
const MODELS: [(&str, &str); 5] = [
    (
        "trusted/orders.sql",
        "/*---\nkey: [id]\nchecks: [{unique: [id]}, rows > 0]\n---*/
SELECT id, owner, seq, checksum FROM raw.orders WHERE _newest",
    ),
    (
        "trusted/events.sql",
        "/*---\nmaterialize: append\nincremental: raw.events\nkey: [id]\nchecks: [{unique: [id]}]\n---*/
SELECT id, owner, seq, checksum FROM raw.events",
    ),
    (
        "trusted/latest.sql",
        "/*---\nmaterialize: merge\nincremental: [raw.orders, raw.events]\nkey: [id]\nlatest_by: [seq]\n---*/
SELECT id, owner, seq, checksum FROM raw.orders UNION ALL SELECT id, owner, seq, checksum FROM raw.events",
    ),
    (
        "refined/owned.sql",
        "/*---\nmaterialize: partition\nincremental: trusted.latest\npartition_by: [owner]\nkey: [id]\n---*/
SELECT id, owner, seq, checksum FROM trusted.latest",
    ),
    (
        "refined/totals.sql",
        "/*---\nkey: [owner]\nchecks: [rows > 0]\n---*/
WITH o AS (SELECT owner, COUNT(*) AS orders, SUM(checksum) AS orders_sum FROM trusted.orders GROUP BY owner),
     e AS (SELECT owner, COUNT(*) AS events, SUM(checksum) AS events_sum FROM trusted.events GROUP BY owner)
SELECT o.owner, orders, orders_sum, events, events_sum,
       SUM(orders) OVER () AS all_orders, SUM(events) OVER () AS all_events
FROM o JOIN e ON o.owner = e.owner",
    ),
];
const OWNERS: u64 = 3;
const ORDERS_PER_GENERATION: u64 = 12;
const EVENTS_PER_GENERATION: u64 = 9;

/// One source row: its id, a number that counts its changes, and a sum over both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    id: u64,
    owner: String,
    seq: u64,
    checksum: u64,
}

impl Row {
    fn new(id: u64, seq: u64) -> Self {
        Self { id, owner: format!("owner {}", id % OWNERS), seq, checksum: mix(id ^ (seq << 32)) % 1_000_003 }
    }

    fn json(&self) -> Value {
        json!([self.id, self.owner, self.seq, self.checksum])
    }
}

/// The orders of a generation: each one brings new ones and changes every fourth of the older ones.
fn orders(generation: u64) -> Vec<Row> {
    let changes =
        |id: u64| (id / ORDERS_PER_GENERATION + 1..generation).filter(|g| (id + g).is_multiple_of(4)).count();
    (0..generation * ORDERS_PER_GENERATION).map(|id| Row::new(id, changes(id) as u64)).collect()
}

fn events(generation: u64) -> Vec<Row> {
    (1..=generation * EVENTS_PER_GENERATION).map(|id| Row::new(1_000_000 + id, 0)).collect()
}

/// What must be in the lake after `generation`; the words of the other readers.
fn tables_of(generation: u64) -> Value {
    let (orders, events) = (orders(generation), events(generation));
    let columns = ["id", "owner", "seq", "checksum"];
    let of = |rows: &[Row], owner: &str| {
        let own: Vec<u64> = rows.iter().filter(|row| row.owner == owner).map(|row| row.checksum).collect();
        (own.len(), own.iter().sum::<u64>())
    };
    let totals: Vec<Value> = (0..OWNERS)
        .map(|owner| {
            let owner = format!("owner {owner}");
            let ((n, n_sum), (m, m_sum)) = (of(&orders, &owner), of(&events, &owner));
            json!([owner, n, n_sum, m, m_sum, orders.len(), events.len()])
        })
        .collect();
    let totals_columns =
        ["owner", "orders", "orders_sum", "events", "events_sum", "all_orders", "all_events"];
    let rows = |rows: &[Row]| rows.iter().map(Row::json).collect::<Vec<_>>();
    let both = [orders.as_slice(), events.as_slice()].concat();
    json!({
        "trusted.orders": {"columns": columns, "rows": rows(&orders)},
        "trusted.events": {"columns": columns, "rows": rows(&events)},
        "trusted.latest": {"columns": columns, "rows": rows(&both)},
        "refined.owned": {"columns": columns, "rows": rows(&both)},
        "refined.totals": {"columns": totals_columns, "rows": totals},
    })
}

pub fn clock() -> Arc<dyn Clock> {
    Arc::new(FixedClock::new("2026-11-21T23:30:00Z".parse::<DateTime<Utc>>().unwrap()))
}

/// Where a lake lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Memory,
    Folder,
}

/// A project, its sources and its lake. Copies are made from it, so that the first runs are run once.
pub struct Place {
    pub dir: TempDir,
    memory: Option<InMemory>,
    generation: u64,
}

impl Place {
    pub fn new(kind: Kind, concurrency: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("lagar.yaml"), PROJECT.replace("CONCURRENCY", &concurrency.to_string()))
            .unwrap();
        for (path, text) in MODELS {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self { dir, memory: (kind == Kind::Memory).then(InMemory::new), generation: 0 }
    }

    /// After `generation` runs without a fault, each over more rows than the one before.
    pub async fn at(kind: Kind, concurrency: usize, generation: u64) -> Self {
        let mut place = Self::new(kind, concurrency);
        for generation in 1..=generation {
            place.grow(generation).await;
            let report = place.run(place.store()).await.unwrap();
            assert!(succeeded(&report), "{report:#?}");
        }
        place
    }

    /// Gives the sources the rows of `generation`.
    pub async fn grow(&mut self, generation: u64) {
        let lines: Vec<String> = orders(generation)
            .iter()
            .map(|row| format!("{},{},{},{}\n", row.id, row.owner, row.seq, row.checksum))
            .collect();
        let path = self.dir.path().join("orders.csv");
        fs::write(path, format!("id,owner,seq,checksum\n{}", lines.concat())).unwrap();
        let options =
            SqliteConnectOptions::new().filename(self.dir.path().join("events.db")).create_if_missing(true);
        let mut database = options.connect().await.unwrap();
        let table = "CREATE TABLE IF NOT EXISTS events
            (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, seq INTEGER NOT NULL, checksum INTEGER NOT NULL)";
        sqlx::query(table).execute(&mut database).await.unwrap();
        for row in events(generation) {
            let insert = sqlx::query("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?)");
            let number = |value: u64| i64::try_from(value).unwrap();
            let insert = insert.bind(number(row.id)).bind(row.owner).bind(number(row.seq));
            insert.bind(number(row.checksum)).execute(&mut database).await.unwrap();
        }
        database.close().await.unwrap();
        self.generation = generation;
    }

    /// The same, to be changed on its own.
    pub fn copy(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        copy(self.dir.path(), dir.path());
        Self { dir, memory: self.memory.as_ref().map(InMemory::fork), generation: self.generation }
    }

    /// A copy whose sources have the rows of `generation`, its lake without faults, and the store that fails as
    /// `plan` says.
    pub async fn before(&self, generation: u64, plan: Plan) -> (Self, Lake, Arc<FaultStore>) {
        let mut place = self.copy();
        place.grow(generation).await;
        let (lake, store) = (place.lake(place.store()), place.faulty(plan));
        (place, lake, store)
    }

    /// Asserts that a run without faults completes what the one over `store` began.
    pub async fn is_completed(&self, store: &FaultStore, ledger: Option<&Ledger>) {
        let report = self.run(self.store()).await.unwrap();
        assert!(succeeded(&report), "{report:#?}\n{:#?}", store.log());
        assert_eq!(look(&self.lake(self.store())).await, self.generation, "{:#?}", store.log());
        self.is_exact(ledger, Some(self.generation)).await;
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("lake")
    }

    /// The lake's store, without faults.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        match &self.memory {
            Some(memory) => Arc::new(memory.clone()),
            None => Arc::new(DurableLocal::new(self.folder())),
        }
    }

    /// The lake over `store`.
    pub fn lake(&self, store: Arc<dyn ObjectStore>) -> Lake {
        let folder = self.memory.is_none().then(|| self.folder());
        let url = folder.as_ref().map_or("memory".to_owned(), |folder| folder.display().to_string());
        Lake::with_store(store, Root { url, local: folder }, clock())
    }

    /// `FaultStore` around this lake's store.
    pub fn faulty(&self, plan: Plan) -> Arc<FaultStore> {
        let store = FaultStore::new(self.store(), plan);
        Arc::new(if self.memory.is_some() { store } else { store.in_folder(self.folder()) })
    }

    pub async fn workplace(&self, store: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>) -> Workplace {
        let location = self.dir.path().display().to_string();
        let project = Project::load(&location, LoadOptions::with_env(BTreeMap::new())).await.unwrap();
        let lake = self.lake(store);
        Workplace::with_lake(Arc::new(project), lake, clock)
    }

    /// One run over `store`.
    pub async fn run(&self, store: Arc<dyn ObjectStore>) -> Result<Report> {
        self.run_until(store, CancellationToken::new()).await
    }

    pub async fn run_until(&self, store: Arc<dyn ObjectStore>, cancel: CancellationToken) -> Result<Report> {
        self.run_at(store, cancel, clock()).await
    }

    pub async fn run_at(
        &self,
        store: Arc<dyn ObjectStore>,
        cancel: CancellationToken,
        clock: Arc<dyn Clock>,
    ) -> Result<Report> {
        let workplace = self.workplace(store, clock).await;
        let options = RunOptions {
            select: vec![],
            full_refresh: false,
            partitions: vec![],
            retry: Default::default(),
            seed: 7,
            cancel,
            watcher: Arc::new(Unwatched),
        };
        // On a thread of its own: the compiler cannot see that a run may move between threads.
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(run(&workplace, options)))
    }

    /// A run over `store`, which dies when the store says so: nobody waits for retries then.
    pub async fn run_until_crash(&self, store: &Arc<FaultStore>) -> Result<Report> {
        let cancel = CancellationToken::new();
        let (crashed, stop) = (store.clone(), cancel.clone());
        let watch = tokio::spawn(async move {
            crashed.crashed().await;
            stop.cancel();
        });
        let result = self.run_until(store.clone(), cancel).await;
        watch.abort();
        result
    }

    /// Asserts that other programs find exactly the rows of this place's generation, each load once.
    pub async fn is_exact(&self, ledger: Option<&Ledger>, releases: Option<u64>) {
        let Some(ledger) = ledger else { return };
        let copied = tempfile::tempdir().unwrap();
        let folder = match self.memory {
            Some(_) => {
                dump(self.store().as_ref(), copied.path()).await;
                copied.path().to_path_buf()
            }
            None => self.folder(),
        };
        let question = json!({
            "lake": folder,
            "loads": {"orders": self.generation, "events": self.generation},
            "releases": releases,
            "tables": tables_of(self.generation),
        });
        let wrong = tokio::task::block_in_place(|| ledger.wrong(&question));
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// The readers, or a word that they are not there.
pub fn ledger() -> Option<Ledger> {
    let ledger = Ledger::start();
    if ledger.is_none() {
        println!("skipped: LAGAR_TEST_PYTHON is not set");
    }
    ledger
}

pub fn succeeded(report: &Report) -> bool {
    report.steps.iter().all(|step| step.error.is_none())
}

/// What is wrong with a run that did not succeed.
pub fn errors(result: &Result<Report>) -> Vec<Error> {
    match result {
        Err(error) => vec![error.clone()],
        Ok(report) => {
            let told =
                report.steps.iter().filter(|step| step.status != lagar_orchestrate::Status::UpstreamFailed);
            told.filter_map(|step| step.error.clone()).collect()
        }
    }
}

fn table(name: &str) -> TableName {
    name.parse().unwrap()
}

/// What a reader sees now: the generation of the release, each of its tables whole and of the same one.
pub async fn look(lake: &Lake) -> u64 {
    let Some(release) = lake.current_release().await.unwrap() else { return 0 };
    let orders = version(lake, &release, "trusted.orders").await;
    let events = version(lake, &release, "trusted.events").await;
    let totals = version(lake, &release, "refined.totals").await;
    let rows = |table: &Table| table.files.iter().map(|file| file.rows).sum::<u64>();
    let seen = [rows(&orders) / ORDERS_PER_GENERATION, rows(&events) / EVENTS_PER_GENERATION];
    assert_eq!(rows(&orders), seen[0] * ORDERS_PER_GENERATION, "a part of the orders");
    assert_eq!(rows(&events), seen[1] * EVENTS_PER_GENERATION, "a part of the events");
    let stats: Value = serde_json::from_str(totals.files[0].stats.as_ref().unwrap()).unwrap();
    let of = |column: &str| stats["maxValues"][column].as_u64().unwrap();
    assert_eq!((of("all_orders"), of("all_events")), (rows(&orders), rows(&events)), "a torn release");
    assert_eq!(seen[0], seen[1], "a torn release");
    for both in ["trusted.latest", "refined.owned"] {
        let both = version(lake, &release, both).await;
        assert_eq!(rows(&both), rows(&orders) + rows(&events), "a part of {}", both.name);
    }
    seen[0]
}

async fn version(lake: &Lake, release: &Release, name: &str) -> Table {
    let name = table(name);
    let found = lake.table(&name, Some(release.tables[&name])).await.unwrap();
    let found = found
        .unwrap_or_else(|| panic!("release {} names a version of {name} that is not there", release.number));
    for file in &found.files {
        let path = lake.file_path(&name, file).unwrap();
        assert_eq!(lake.store().head(&path).await.unwrap().size, file.bytes, "{path}");
    }
    found
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            // What is in use by nobody else.
            if entry.file_name() != "tmp" {
                fs::create_dir_all(&target).unwrap();
                copy(&entry.path(), &target);
            }
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
