//! The same random queries asked of others: of DuckDB (Q2), and of ourselves, run in other ways (Q3).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod compare;
mod generate;

use arrow::array::RecordBatch;
use generate::{Generator, Query, Random, TABLES, Table};
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

fn queries(random: &mut Random, count: usize) -> Vec<Query> {
    (0..count).map(|_| Generator::new(random).query()).collect()
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

async fn run(
    session: &Session,
    sql: &str,
    strategy: Strategy,
) -> Result<Vec<RecordBatch>, lagar_flow::Error> {
    session.query_with(sql, strategy).await?.collect().await
}

async fn answer(session: &Session, sql: &str) -> Answer {
    match run(session, sql, Strategy::Default).await {
        Ok(batches) => Answer::Rows(compare::cells(&batches)),
        Err(error) => Answer::Failed(error.to_string()),
    }
}

/// Q2. `LAGAR_LONG=1` asks 50,000.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duckdb_gives_the_same_rows() {
    if Peer::start("").is_none() {
        println!("skipped: LAGAR_TEST_PYTHON is not set, so nobody else is asked");
        return;
    }
    let mut battery = Battery::new("Q2");
    for seed in seeds(if long() { 1250 } else { 50 }) {
        let peer = Peer::start(include_str!("duckdb.py")).unwrap();
        let mut random = Random::new(seed);
        let tables = tables(&mut random, &[0, 1, 7, 12, 25]);
        let queries = queries(&mut random, QUERIES);
        let place = Place::new().await;
        let session = session_with(place.engine.session(), &tables).await;
        let setup = std::iter::once("CREATE SCHEMA trusted".to_owned())
            .chain(tables.iter().flat_map(Table::statements));
        let sqls: Vec<&str> = queries.iter().map(|query| query.sql.as_str()).collect();
        let theirs = peer.ask(&json!({"setup": setup.collect::<Vec<_>>(), "queries": sqls}));
        for (sql, theirs) in sqls.iter().zip(theirs.as_array().unwrap()) {
            let ours = answer(&session, sql).await;
            battery.case(&replay(seed, "duckdb_gives_the_same_rows"), || {
                let theirs = Answer::from_json(theirs);
                if let Err(difference) = same(&ours, &theirs) {
                    let tables: Vec<String> = tables.iter().flat_map(Table::statements).collect();
                    panic!("{difference}\n{sql}\n-- seed {seed}, over\n{};", tables.join(";\n"));
                }
            });
        }
    }
}

/// Q3: the answer does not depend on the number of partitions, the memory, or how the query is planned; and
/// a condition parts the rows into those for which it holds, does not hold, and is not known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_rows_in_every_way() {
    let mut battery = Battery::new("Q3");
    let mut spilled = 0;
    let dir = tempfile::tempdir().unwrap();
    let engine = |threads: usize, memory_bytes: u64| {
        let spill_dir = dir.path().join(format!("{threads}-{memory_bytes}"));
        Engine::new(Limits { memory_bytes, spill_bytes: 1 << 30, spill_dir, threads }).unwrap()
    };
    let (one, four, little) = (engine(1, 1 << 30), engine(4, 1 << 30), engine(2, 400 << 10));
    for seed in seeds(if long() { 250 } else { 8 }) {
        let mut random = Random::new(seed ^ 0x51);
        let tables = tables(&mut random, &[0, 30, 300]);
        let mut plain = four.session();
        plain.without_rule("keep_latest");
        let first = session_with(one.session(), &tables).await;
        let mut others = Vec::new();
        for (how, session) in [("four partitions", four.session()), ("without our rule", plain)] {
            others.push((how, session_with(session, &tables).await, Strategy::Default));
        }
        // Made where there is memory: what is to be tried is the query.
        let small = session_with(four.session(), &tables).await.on(&little);
        others.push(("little memory", small, Strategy::LowMemory));
        for query in queries(&mut random, QUERIES / 2) {
            let expected = answer(&first, &query.sql).await;
            for (how, session, strategy) in &others {
                let started = session.query_with(&query.sql, *strategy).await;
                let found = match started {
                    Err(error) => Answer::Failed(error.to_string()),
                    Ok(query) => {
                        let stats = query.stats.clone();
                        let batches = query.collect().await;
                        spilled += u64::from(stats.now().spilled_bytes > 0);
                        match batches {
                            // What cannot spill says so by name: see M1.
                            Err(error) if error.code() == codes::MEMORY && *how == "little memory" => {
                                continue;
                            }
                            Err(error) => Answer::Failed(error.to_string()),
                            Ok(batches) => Answer::Rows(compare::cells(&batches)),
                        }
                    }
                };
                battery.case(&replay(seed, "the_same_rows_in_every_way"), || {
                    if let Err(difference) = same(&expected, &found) {
                        panic!("one partition, then {how}: {difference}\n{}\n-- seed {seed}", query.sql);
                    }
                });
            }
            if let Some([all, parts @ ..]) = &query.partitioned {
                let whole = answer(&first, all).await;
                let mut together = Vec::new();
                for part in parts {
                    together.push(answer(&first, part).await);
                }
                battery.case(&replay(seed, "the_same_rows_in_every_way"), || {
                    if let Err(difference) = same(&whole, &Answer::together(together)) {
                        panic!("all rows, then in three parts: {difference}\n{}\n-- seed {seed}", parts[0]);
                    }
                });
            }
        }
    }
    assert!(env_number("LAGAR_SEED").is_some() || spilled > 10, "only {spilled} queries spilled");
}
