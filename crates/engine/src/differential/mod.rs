//! The same random queries asked of others: of DuckDB (Q2), and of ourselves, run in other ways (Q3).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod compare;
mod generate;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use futures::StreamExt;
use generate::{Generator, Random, TABLES, Table};
use lagar_flow::codes;
use lagar_testing::{Battery, Peer, env_number, long, seeds};
use serde_json::json;

use crate::{Engine, Limits, Session, Strategy, testing::Place};
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

/// The rows of a table in some batches, so that they are spread over partitions.
async fn add(session: &Session, table: &Table) {
    let batches = session.query(&table.select()).await.unwrap().collect().await.unwrap();
    let schema = session.query(&table.select()).await.unwrap().schema().clone();
    let whole = arrow::compute::concat_batches(&schema, &batches).unwrap();
    let part = whole.num_rows().div_ceil(3).max(1);
    let parts =
        (0..whole.num_rows()).step_by(part).map(|at| whole.slice(at, part.min(whole.num_rows() - at)));
    let (zone, name) = table.name.split_once('.').unwrap();
    session.add_rows(zone, name, parts.collect(), schema).unwrap();
}

async fn session_with(session: Session, tables: &[Table]) -> Session {
    for table in tables {
        add(&session, table).await;
    }
    session
}

async fn answer(session: &Session, sql: &str, strategy: Strategy) -> Answer {
    let started = session.query_with(sql, strategy).await;
    let rows = match started {
        Ok(query) => query.collect().await,
        Err(error) => Err(error),
    };
    match rows {
        Ok(batches) => Answer::Rows(compare::cells(&batches)),
        Err(error) => Answer::Failed(error.to_string()),
    }
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
