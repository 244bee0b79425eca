//! The same random queries asked of others: of DuckDB (Q2), and of ourselves, run in other ways (Q3).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod compare;
mod files;
mod generate;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use arrow::array::RecordBatch;
use files::Layout;
use futures::StreamExt;
use generate::{Generator, NARROWED_BY, Random, TABLES, Table};
use lagar_flow::codes;
use lagar_testing::{Battery, Peer, env_number, long, seeds};
use serde_json::json;

use crate::{
    Engine, Limits, Session, Strategy,
    testing::{Place, shown},
};
use compare::{Answer, same};

/// Queries over one set of tables.
const QUERIES: usize = 40;

/// The line that asks one seed again.
fn replay(seed: u64, test: &str) -> String {
    format!("LAGAR_SEED={seed} cargo test --workspace --lib differential::{test}")
}

fn tables(random: &mut Random, rows: &[u64]) -> Vec<Table> {
    TABLES
        .iter()
        .map(|name| {
            let rows = rows[random.below(rows.len() as u64) as usize];
            Table::new(random, name, rows, rows / 3)
        })
        .collect()
}

async fn rows_of(session: &Session, sql: &str) -> RecordBatch {
    let query = session.query(sql).await.unwrap();
    let schema = query.schema().clone();
    arrow::compute::concat_batches(&schema, &query.collect().await.unwrap()).unwrap()
}

/// `rows` in up to `count` batches.
fn parts(rows: &RecordBatch, count: usize) -> Vec<RecordBatch> {
    let part = rows.num_rows().div_ceil(count).max(1);
    let starts = (0..rows.num_rows()).step_by(part);
    starts.map(|at| rows.slice(at, part.min(rows.num_rows() - at))).collect()
}

/// The rows of a table in some batches, so that they are spread over partitions.
fn add_rows(session: &Session, table: &Table, rows: &RecordBatch) {
    let (zone, name) = table.name.split_once('.').unwrap();
    session.add_rows(zone, name, parts(rows, 3), rows.schema()).unwrap();
}

async fn add(session: &Session, table: &Table) {
    add_rows(session, table, &rows_of(session, &table.select()).await);
}

async fn session_with(session: Session, tables: &[Table]) -> Session {
    for table in tables {
        add(&session, table).await;
    }
    session
}

async fn answer(session: &Session, sql: &str, strategy: Strategy) -> Answer {
    scanned(session, sql, strategy).await.0
}

/// The answer, and how many rows came out of tables for it.
async fn scanned(session: &Session, sql: &str, strategy: Strategy) -> (Answer, u64) {
    let query = match session.query_with(sql, strategy).await {
        Ok(query) => query,
        Err(error) => return (Answer::Failed(error.to_string()), 0),
    };
    let stats = query.stats.clone();
    let answer = match query.collect().await {
        Ok(batches) => Answer::Rows(compare::cells(&batches)),
        Err(error) => Answer::Failed(error.to_string()),
    };
    (answer, stats.now().rows_scanned)
}

/// The cases of a test, of which all are tried, and those that failed.
struct Cases {
    battery: Battery,
    test: &'static str,
    failed: Vec<String>,
}

impl Cases {
    fn new(id: &'static str, test: &'static str) -> Self {
        Self { battery: Battery::new(id), test, failed: Vec::new() }
    }

    /// One case of `seed`, which is right if `one` and `other` gave the same rows.
    fn same(&mut self, seed: u64, what: &str, sql: &str, one: &Answer, other: &Answer) {
        let replay = replay(seed, self.test);
        let case = || {
            if let Err(difference) = same(one, other) {
                panic!("{what}: {difference}\n{sql}\n-- {replay}");
            }
        };
        let caught = catch_unwind(AssertUnwindSafe(|| self.battery.case(&replay, case)));
        if let Err(panic) = caught {
            self.failed.push(panic.downcast_ref::<String>().cloned().unwrap_or_default());
        }
    }

    fn end(self) {
        let first: Vec<&str> = self.failed.iter().take(40).map(String::as_str).collect();
        assert!(first.is_empty(), "{} cases failed:\n\n{}", self.failed.len(), first.join("\n\n"));
    }
}

/// What one seed asks both: each query with our answer and theirs.
async fn asked(seed: u64, peer: Arc<Peer>) -> Vec<(String, Answer, Answer)> {
    let mut random = Random::new(seed);
    let tables = tables(&mut random, &[0, 1, 7, 12, 25]);
    let sqls: Vec<String> = (0..QUERIES).map(|_| Generator::new(&mut random).query().sql).collect();
    let place = Place::new().await;
    let session = session_with(place.engine.session(), &tables).await;
    let statements = tables.iter().flat_map(Table::statements);
    let setup: Vec<String> = std::iter::once("CREATE SCHEMA trusted".to_owned()).chain(statements).collect();
    if env_number("LAGAR_SEED").is_some() {
        println!("{};", setup.join(";\n"));
    }
    let theirs = peer.ask(&json!({"setup": setup, "queries": sqls}));
    let mut answers = Vec::new();
    for (sql, theirs) in sqls.into_iter().zip(theirs.as_array().unwrap()) {
        let ours = answer(&session, &sql, Strategy::Default).await;
        answers.push((sql, ours, Answer::from_json(theirs)));
    }
    answers
}

/// Q2. `LAGAR_LONG=1` asks 50,000.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duckdb_gives_the_same_rows() {
    let Some(peer) = Peer::start(include_str!("duckdb.py")) else {
        println!("skipped: LAGAR_TEST_PYTHON is not set, so nobody else is asked");
        return;
    };
    let peer = Arc::new(peer);
    let mut cases = Cases::new("Q2", "duckdb_gives_the_same_rows");
    // What only few of 50,000 found is asked in the short lane too.
    let known = [146, 564].into_iter().filter(|_| env_number("LAGAR_SEED").is_none() && !long());
    let seeds = seeds(if long() { 1250 } else { 50 }).into_iter().chain(known);
    let both = |seed| {
        let asked = tokio::spawn(asked(seed, peer.clone()));
        async move { (seed, asked.await.unwrap()) }
    };
    let mut answers = futures::stream::iter(seeds).map(both).buffered(2);
    while let Some((seed, answers)) = answers.next().await {
        for (sql, ours, theirs) in answers {
            cases.same(seed, "ours, then DuckDB's", &sql, &ours, &theirs);
        }
    }
    drop(answers);
    cases.end();
}

fn engine(dir: &Path, threads: usize, memory_bytes: u64) -> Engine {
    let spill_dir = dir.join(format!("{threads}-{memory_bytes}"));
    Engine::new(Limits { memory_bytes, spill_bytes: 1 << 30, spill_dir, threads }).unwrap()
}

/// Q3: the answer does not depend on the number of partitions or on our rule; and a condition parts the rows
/// into those for which it holds, does not hold, and is not known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_rows_in_every_way() {
    let dir = tempfile::tempdir().unwrap();
    let (one, four) = (engine(dir.path(), 1, 1 << 30), engine(dir.path(), 4, 1 << 30));
    let mut cases = Cases::new("Q3", "the_same_rows_in_every_way");
    for seed in seeds(if long() { 400 } else { 8 }) {
        let mut random = Random::new(seed ^ 0x51);
        let tables = tables(&mut random, &[0, 12, 40]);
        let first = session_with(one.session(), &tables).await;
        let mut others = [("four partitions", four.session()), ("without our rule", four.session())];
        others[1].1.without_rule("keep_latest");
        for (_, session) in &others {
            for table in &tables {
                add(session, table).await;
            }
        }
        for _ in 0..QUERIES / 2 {
            let query = Generator::new(&mut random).query();
            let expected = answer(&first, &query.sql, Strategy::Default).await;
            for (how, session) in &others {
                let found = answer(session, &query.sql, Strategy::Default).await;
                cases.same(seed, how, &query.sql, &expected, &found);
            }
            let found = answer(&others[0].1, &query.sql, Strategy::LowMemory).await;
            cases.same(seed, "planned for little memory", &query.sql, &expected, &found);
            if let Some([all, parts @ ..]) = &query.partitioned {
                let whole = answer(&first, all, Strategy::Default).await;
                let mut together = Vec::new();
                for part in parts {
                    together.push(answer(&first, part, Strategy::Default).await);
                }
                cases.same(seed, "in three parts", &parts[0], &whole, &Answer::together(together));
            }
        }
    }
    cases.end();
}

/// Q3: nor on the memory. What cannot spill says so by name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_rows_in_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (much, little) = (engine(dir.path(), 2, 1 << 30), engine(dir.path(), 2, 768 << 10));
    let mut cases = Cases::new("Q3", "the_same_rows_in_little_memory");
    let (mut spilled, mut refused) = (0, 0);
    // In the last two a nested-loop join spills.
    let known = [60, 125].into_iter().filter(|_| env_number("LAGAR_SEED").is_none() && !long());
    for seed in seeds(if long() { 400 } else { 4 }).into_iter().chain(known) {
        let mut random = Random::new(seed ^ 0x52);
        let mut tables = tables(&mut random, &[60]);
        for table in &mut tables {
            table.times = 200;
        }
        let roomy = session_with(much.session(), &tables).await;
        // The tables are made where there is memory: what is to be tried is the query.
        let tight = session_with(much.session(), &tables).await.on(&little);
        for _ in 0..QUERIES / 2 {
            let sql = Generator::single(&mut random).query().sql;
            let expected = answer(&roomy, &sql, Strategy::Default).await;
            let query = match tight.query_with(&sql, Strategy::LowMemory).await {
                Ok(query) => query,
                Err(error) => {
                    cases.same(seed, "in little memory", &sql, &expected, &Answer::Failed(error.to_string()));
                    continue;
                }
            };
            let stats = query.stats.clone();
            let found = match query.collect().await {
                Err(error) if error.code() == codes::MEMORY => {
                    refused += 1;
                    continue;
                }
                Err(error) => Answer::Failed(error.to_string()),
                Ok(batches) => Answer::Rows(compare::cells(&batches)),
            };
            spilled += u64::from(stats.now().spilled_bytes > 0);
            cases.same(seed, "in little memory", &sql, &expected, &found);
        }
    }
    cases.end();
    println!("{spilled} queries spilled, {refused} did not fit");
    assert!(env_number("LAGAR_SEED").is_some() || spilled > 3, "{spilled} spilled, {refused} did not fit");
}

/// What DataFusion counts when it leaves something out of files: a file by the log and its folder, or by what is known
/// only while the query runs; groups of rows by their bounds, by bloom filters, and while the query runs; pages.
const LEFT_OUT: [&str; 5] = [
    "files_ranges_pruned_statistics",
    "row_groups_pruned_statistics",
    "row_groups_pruned_bloom_filter",
    "row_groups_pruned_dynamic_filter",
    "page_index_pages_pruned",
];

/// So many queries of a run are asked once more what they left out.
const EXPLAINED_MAX: u64 = 500;

/// What a query leaves out, by [`LEFT_OUT`].
async fn left_out(session: &Session, sql: &str) -> [u64; LEFT_OUT.len()] {
    let sql = format!("EXPLAIN ANALYZE {sql}");
    let explained = session.inspect(&sql, Strategy::Default).await.unwrap().collect().await.unwrap();
    let told = shown(&explained).join("\n");
    LEFT_OUT.map(|name| told.split(&format!("{name}=")).skip(1).map(count_left_out).sum())
}

/// `told` begins with a number, or with `5 total → 2 matched` for three.
fn count_left_out(told: &str) -> u64 {
    let told = told.split([',', ']']).next().unwrap_or_default();
    let mut numbers = told.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok());
    let first: u64 = numbers.next().unwrap();
    numbers.next().map_or(first, |matched| first.saturating_sub(matched))
}

/// Q3: nor on what of a table's files is not read, because by their folders, bounds and bloom filters it has no rows for
/// the query. The same rows are asked for in memory, in files as a run reads them, and in files of which nothing is left
/// out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_rows_with_and_without_pruning() {
    let mut cases = Cases::new("Q3", "the_same_rows_with_and_without_pruning");
    let (mut asked, mut refused, mut explained) = (0, 0, 0);
    let (mut narrowed, mut counted) = (BTreeMap::<&str, u64>::new(), [0; LEFT_OUT.len()]);
    for seed in seeds(if long() { 600 } else { 14 }) {
        let mut random = Random::new(seed ^ 0x53);
        let place = Place::with(1 << 30, 1 << 30, 2).await;
        let (memory, pruned) = (place.engine.session(), place.engine.session());
        let mut unpruned = place.engine.session();
        unpruned.without_pruning();
        let mut by = Vec::new();
        for table in tables(&mut random, &[0, 12, 48, 48, 48]) {
            let layout = Layout::new(&mut random);
            let rows = layout.rows(&memory, &table).await;
            add_rows(&memory, &table, &rows);
            let stored = layout.write(&place.lake, table.name, &rows).await;
            for session in [&pruned, &unpruned] {
                session.add_table(&stored, &place.lake).unwrap();
            }
            by.push(layout.by);
        }
        for n in 0..QUERIES {
            let mut generator = Generator::new(&mut random);
            let (narrowed_by, sql) = match n % 2 {
                0 => generator.narrow(&by),
                _ => ("any query", generator.query().sql),
            };
            let expected = answer(&memory, &sql, Strategy::Default).await;
            let (found, some) = scanned(&pruned, &sql, Strategy::Default).await;
            cases.same(seed, "in memory, then pruned", &sql, &expected, &found);
            let (found, all) = scanned(&unpruned, &sql, Strategy::Default).await;
            cases.same(seed, "in memory, then not pruned", &sql, &expected, &found);
            asked += 1;
            refused += u64::from(matches!(expected, Answer::Failed(_)));
            // Of the same files fewer rows: something was left out.
            if some < all {
                *narrowed.entry(narrowed_by).or_default() += 1;
            }
            // Not of any query: with EXPLAIN it may be refused for two expressions of one name.
            if some < all && n % 2 == 0 && explained < EXPLAINED_MAX {
                explained += 1;
                for (sum, count) in counted.iter_mut().zip(left_out(&pruned, &sql).await) {
                    *sum += count;
                }
            }
        }
    }
    cases.end();
    let told = format!(
        "{asked} queries, {refused} refused; by what fewer rows were read: {narrowed:?}; \
         what {explained} of them left out: {LEFT_OUT:?} {counted:?}"
    );
    println!("{told}");
    if env_number("LAGAR_SEED").is_none() {
        // The test would hold of readers that leave nothing out, or of queries that all fail.
        assert!(NARROWED_BY.iter().all(|by| narrowed.contains_key(by)), "{told}");
        assert!(counted.iter().all(|count| *count > 0), "{told}");
        assert!(refused * 4 < asked, "{told}");
    }
}
