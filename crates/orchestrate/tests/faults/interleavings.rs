//! Loads of two feeds in any order, merged in any grouping, with late versions and days that come again: the
//! table is what a few lines of Rust say.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
};

use chrono::{DateTime, Duration, Utc};
use lagar_flow::{Clock, FixedClock};
use lagar_lake::{Lake, Root};
use lagar_orchestrate::{LoadOptions, Project, Reader, RunOptions, Unwatched, Workplace, run};
use lagar_testing::{Battery, long, replay};
use object_store::memory::InMemory;
use proptest::{collection::vec, option, prelude::*, test_runner::TestRunner};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::succeeded;

const YAML: &str = "name: feeds\nlimits: {threads: 2, memory: 256MiB, concurrency: 1}\nsources:
  created: {type: file, url: created/*.csv, columns: {id: int, at: int, v: text}}
  closed: {type: file, url: closed/*.csv, columns: {id: int, at: int, v: text}}\n";
const MERGED: &str =
    "/*---\nmaterialize: merge\nkey: [id]\nlatest_by: [at]\nincremental: [raw.created, raw.closed]\n---*/
SELECT id, at, v FROM raw.created UNION ALL SELECT id, at, v FROM raw.closed\n";
const COUNTED: &str = "/*---\nmaterialize: partition\npartition_by: [v]\nincremental: trusted.merged\n---*/
SELECT v, count(*) AS n, sum(id) AS ids FROM trusted.merged GROUP BY v\n";
const FEEDS: [&str; 2] = ["created", "closed"];

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    id: u8,
    at: Option<u8>,
    v: String,
}

/// What happens to one of the feeds.
#[derive(Debug, Clone)]
struct Step {
    feed: usize,
    rows: Vec<Row>,
    /// The table is made now, and not only later.
    merge: bool,
}

struct Lab {
    dir: TempDir,
    memory: Arc<InMemory>,
    clock: DateTime<Utc>,
    files: usize,
}

impl Lab {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("lagar.yaml", YAML);
        write("trusted/merged.sql", MERGED);
        write("refined/counted.sql", COUNTED);
        for feed in FEEDS {
            write(&format!("{feed}/0.csv"), "id,at,v\n");
        }
        let clock = "2026-11-21T10:00:00Z".parse().unwrap();
        Self { dir, memory: Arc::new(InMemory::new()), clock, files: 0 }
    }

    async fn workplace(&self) -> Workplace {
        let location = self.dir.path().display().to_string();
        let project = Project::load(&location, LoadOptions::with_env(BTreeMap::new())).await.unwrap();
        let clock: Arc<dyn Clock> = Arc::new(FixedClock::new(self.clock));
        let root = Root { url: "memory".to_owned(), local: None };
        let lake = Lake::with_store(self.memory.clone(), root, clock.clone());
        Workplace::with_lake(Arc::new(project), lake, clock)
    }

    async fn run(&mut self, select: &[&str]) {
        self.clock += Duration::seconds(1);
        let workplace = self.workplace().await;
        let options = RunOptions {
            select: select.iter().map(ToString::to_string).collect(),
            full_refresh: false,
            partitions: Vec::new(),
            retry: Default::default(),
            seed: 1,
            cancel: Default::default(),
            watcher: Arc::new(Unwatched),
        };
        let report = run(&workplace, options).await.unwrap();
        assert!(succeeded(&report), "{report:#?}");
    }

    /// One load of one file.
    async fn land(&mut self, step: &Step, backwards: bool) {
        let mut lines: Vec<String> = step
            .rows
            .iter()
            .map(|row| {
                format!("{},{},{}\n", row.id, row.at.map_or(String::new(), |at| at.to_string()), row.v)
            })
            .collect();
        if backwards {
            lines.reverse();
        }
        self.files += 1;
        let feed = FEEDS[step.feed];
        let path = self.dir.path().join(format!("{feed}/{}.csv", self.files));
        fs::write(path, format!("id,at,v\n{}", lines.concat())).unwrap();
        self.run(&[&format!("raw.{feed}")]).await;
    }

    /// The rows of a query as JSON, sorted.
    async fn rows(&self, sql: &str) -> Vec<Value> {
        let workplace = self.workplace().await;
        let reader = Reader::open(&workplace).await.unwrap();
        let mut writer = arrow_rows(reader.query(sql).await.unwrap().collect().await.unwrap());
        writer.sort_by_key(Value::to_string);
        writer
    }

    async fn merged(&self) -> BTreeSet<Row> {
        let rows = self.rows("SELECT id, at, v FROM trusted.merged").await;
        let count = rows.len();
        let set: BTreeSet<Row> = rows
            .iter()
            .map(|row| Row {
                id: row["id"].as_u64().unwrap() as u8,
                at: row.get("at").and_then(Value::as_u64).map(|at| at as u8),
                v: row["v"].as_str().unwrap().to_owned(),
            })
            .collect();
        assert_eq!(set.len(), count);
        set
    }

    /// All steps, the table made in between where they say so, or at the end alone.
    async fn play(steps: &[Step], at_once: bool, backwards: bool) -> Self {
        let mut lab = Self::new();
        lab.run(&[]).await;
        for step in steps {
            lab.land(step, backwards).await;
            if step.merge && !at_once {
                lab.run(&["trusted.merged", "refined.counted"]).await;
            }
        }
        lab.run(&["trusted.merged", "refined.counted"]).await;
        // What is parted is the same as if it were made anew.
        let wanted = "SELECT v, count(*) AS n, sum(id) AS ids FROM trusted.merged GROUP BY v";
        assert_eq!(lab.rows("SELECT v, n, ids FROM refined.counted").await, lab.rows(wanted).await);
        lab
    }
}

fn arrow_rows(batches: Vec<arrow::array::RecordBatch>) -> Vec<Value> {
    let mut writer = arrow::json::ArrayWriter::new(Vec::new());
    for batch in &batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
    let text = writer.into_inner();
    if text.is_empty() { Vec::new() } else { serde_json::from_slice(&text).unwrap() }
}

/// By id, the rows that may win: the highest `at`, of these those of the last step.
fn winners(steps: &[Step]) -> BTreeMap<u8, BTreeSet<Row>> {
    type Newest = (Option<u8>, usize);
    let mut best: BTreeMap<u8, (Newest, BTreeSet<Row>)> = BTreeMap::new();
    for (place, step) in steps.iter().enumerate() {
        for row in &step.rows {
            let rank = (row.at, place);
            let entry = best.entry(row.id).or_insert_with(|| (rank, BTreeSet::new()));
            if rank > entry.0 {
                *entry = (rank, BTreeSet::new());
            }
            if rank == entry.0 {
                entry.1.insert(row.clone());
            }
        }
    }
    best.into_iter().map(|(id, (_, rows))| (id, rows)).collect()
}

fn steps(v: impl Strategy<Value = Option<u8>> + Clone + 'static) -> impl Strategy<Value = Vec<Step>> {
    // Without a value of its own a row's content hangs on its version alone, as in a feed that tells the truth.
    let row = (0_u8..6, option::weighted(0.8, 0_u8..4), v).prop_map(|(id, at, v)| {
        let v = v.unwrap_or_else(|| at.unwrap_or(9));
        Row { id, at, v: format!("v{v}") }
    });
    let step = (0..2_usize, vec(row, 0..6), any::<bool>()).prop_map(|(feed, rows, merge)| Step {
        feed,
        rows,
        merge,
    });
    (vec(step, 1..4), vec(any::<prop::sample::Index>(), 0..2)).prop_map(|(mut steps, again)| {
        for index in again {
            steps.push(index.get(&steps).clone());
        }
        steps
    })
}

fn check<T: std::fmt::Debug>(test: &str, strategy: impl Strategy<Value = T>, case: impl AsyncFn(T)) {
    let cases = if long() { 100 } else { 4 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = ProptestConfig {
        cases,
        max_shrink_iters: 30,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let run = || {
        let result = TestRunner::new(config).run(&strategy, |input| {
            runtime.block_on(case(input));
            Ok(())
        });
        result.unwrap();
    };
    Battery::new("G1")
        .case(&format!("{cases} random cases: {}", replay("lagar-orchestrate", "faults", test, &[])), run);
}

#[test]
fn any_grouping_of_loads_makes_the_same_table() {
    let test = "any_grouping_of_loads_makes_the_same_table";
    check(test, steps(option::weighted(0.9, 0_u8..3)), async |steps: Vec<Step>| {
        let one_by_one = Lab::play(&steps, false, false).await.merged().await;
        let at_once = Lab::play(&steps, true, true).await.merged().await;
        assert_eq!(one_by_one, at_once, "{steps:#?}");
        let winners = winners(&steps);
        assert_eq!(one_by_one.len(), winners.len(), "{steps:#?}");
        for row in &one_by_one {
            assert!(winners[&row.id].contains(row), "{row:?} of {steps:#?}");
        }
    });
}

#[test]
fn any_order_of_arrival_makes_the_same_table() {
    let shuffled = steps(Just(None)).prop_flat_map(|steps| (Just(steps.clone()), Just(steps).prop_shuffle()));
    check(
        "any_order_of_arrival_makes_the_same_table",
        shuffled,
        async |(steps, shuffled): (Vec<Step>, Vec<Step>)| {
            let wanted: BTreeSet<Row> = winners(&steps).into_values().flatten().collect();
            assert_eq!(Lab::play(&shuffled, false, true).await.merged().await, wanted, "{shuffled:#?}");
        },
    );
}
