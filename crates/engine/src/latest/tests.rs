//! Where the rule acts and where it does not, and that its results are those of the plan without it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, StructArray,
        TimestampMicrosecondArray,
    },
    datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit},
};
use lagar_testing::{mix, seeds};

use crate::{
    Session, Strategy,
    testing::{Place, rows, shown},
};

fn schema() -> SchemaRef {
    let inner =
        Fields::from(vec![Field::new("x", DataType::Float64, true), Field::new("s", DataType::Utf8, true)]);
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, true),
        Field::new("f", DataType::Float64, true),
        Field::new("s", DataType::Utf8, true),
        Field::new("o", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("id", DataType::Int64, false),
        Field::new("nested", DataType::Struct(inner), true),
    ]))
}

/// `count` rows whose keys and orders meet often: nulls, NaN, both zeros, equal texts.
fn random_rows(seed: u64, first_id: i64, count: usize, keys: u64) -> RecordBatch {
    let at = |row: usize, column: u64, below: u64| {
        mix(seed ^ mix((first_id as u64 + row as u64) * 16 + column)) % below
    };
    let floats = [0.0, -0.0, f64::NAN, f64::INFINITY, -1.5, 2.5];
    let k: Int64Array =
        (0..count).map(|row| Some(at(row, 1, keys) as i64).filter(|key| *key != 0 || keys == 1)).collect();
    let f: Float64Array = (0..count).map(|row| floats.get(at(row, 2, 7) as usize).copied()).collect();
    let texts = ["", "a", "aa", "a longer text than fits into a view", "ß"];
    let s: StringArray = (0..count).map(|row| texts.get(at(row, 3, 6) as usize).copied()).collect();
    let o: TimestampMicrosecondArray =
        (0..count).map(|row| Some(at(row, 4, 9) as i64).filter(|order| *order != 0)).collect();
    let id: Int64Array = (0..count).map(|row| Some(first_id + row as i64)).collect();
    let DataType::Struct(inner) = schema().field(5).data_type().clone() else { unreachable!() };
    let nested = StructArray::new(inner, vec![Arc::new(f.clone()), Arc::new(s.clone())], k.nulls().cloned());
    let columns: Vec<ArrayRef> =
        vec![Arc::new(k), Arc::new(f), Arc::new(s), Arc::new(o), Arc::new(id), Arc::new(nested)];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// The same tables in two sessions, of which the second plans as DataFusion does.
async fn sessions(place: &Place, seed: u64) -> [Session; 2] {
    let mut plain = place.engine.session();
    plain.without_rule("keep_latest");
    let both = [place.engine.session(), plain];
    for session in &both {
        let batches = (0..6).map(|n| random_rows(seed, n * 100, 100, 40)).collect::<Vec<_>>();
        session.add_rows("trusted", "t", batches.clone(), schema()).unwrap();
        session.add_rows("trusted", "a", batches[..2].to_vec(), schema()).unwrap();
        session.add_rows("trusted", "b", batches[1..].to_vec(), schema()).unwrap();
        session.add_rows("trusted", "none", vec![], schema()).unwrap();
        session.add_rows("trusted", "one", vec![random_rows(seed, 0, 1, 1)], schema()).unwrap();
    }
    both
}

async fn explained(session: &Session, sql: &str) -> String {
    let query = session
        .inspect(&format!("EXPLAIN {sql}"), Strategy::Default)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    shown(&query.collect().await.unwrap()).join("\n")
}

/// The newest by `o`, ties by `id`, which no two rows share.
const NEWEST: &str = "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY o DESC NULLS LAST, id DESC) AS rn FROM trusted.t) WHERE rn = 1";

/// Queries of which the rule makes one that keeps rows; all have one right answer.
fn rewritten() -> Vec<String> {
    let mut queries: Vec<String> = [
        NEWEST,
        "SELECT k, f, s, id FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY o, id) AS rn FROM trusted.t) WHERE rn <= 1",
        "SELECT * FROM (SELECT k, s, id, row_number() OVER (PARTITION BY k ORDER BY o DESC, id) rn FROM trusted.t) x WHERE x.rn < 2",
        "SELECT s, nested FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY id) AS rn FROM trusted.t) WHERE 1 = rn",
        "SELECT id FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY id) AS rn FROM trusted.t) WHERE 2 > rn",
        "SELECT id FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY id) AS rn FROM trusted.t) WHERE rn BETWEEN 1 AND 1",
        "SELECT * FROM trusted.t QUALIFY row_number() OVER (PARTITION BY k ORDER BY id DESC) = 1",
        // More than one key, of every type; expressions as key and order.
        "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY k, f, s ORDER BY o NULLS FIRST, id) AS rn FROM trusted.t) WHERE rn = 1",
        "SELECT id FROM (SELECT *, row_number() OVER (PARTITION BY f ORDER BY s DESC, id) AS rn FROM trusted.t) WHERE rn = 1",
        "SELECT id FROM (SELECT *, row_number() OVER (PARTITION BY upper(s), k % 3 ORDER BY f + 1 DESC NULLS LAST, id) AS rn FROM trusted.t) WHERE rn = 1",
        "SELECT id FROM (SELECT *, row_number() OVER (PARTITION BY nested ORDER BY id) AS rn FROM trusted.t) WHERE rn = 1",
"SELECT id FROM (SELECT *, row_number() OVER (PARTITION BY k, 1 ORDER BY f DESC NULLS FIRST, id) AS rn FROM trusted.t) WHERE rn = 1",
        // The number is used behind the filter: it is 1.
        "SELECT id, rn, rn + 1 AS next FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY id) AS rn FROM trusted.t) WHERE rn = 1",
        "SELECT sum(rn) AS n, count(*) AS rows FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY id) AS rn FROM trusted.t) WHERE rn = 1",
        "SELECT id, twice FROM (SELECT id, rn * 2 AS twice, rn FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY id) AS rn FROM trusted.t)) WHERE rn = 1",
        // Other conditions are asked of the row that is kept, or, about the key, of all.
        "SELECT id FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY id) AS rn FROM trusted.t) WHERE rn = 1 AND f > 0 AND k <> 7",
        "SELECT id FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY id) AS rn FROM trusted.t) WHERE rn = 1 AND rn = 2",
        "SELECT id FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY id) AS rn FROM trusted.t WHERE f IS NOT NULL) WHERE rn = 1 AND s IN ('a', 'aa')",
        // Below and behind it something else.
        "SELECT k, total FROM (SELECT k, s, total, row_number() OVER (PARTITION BY k ORDER BY total DESC, s) AS rn FROM (SELECT k, s, sum(id) AS total FROM trusted.t GROUP BY k, s)) WHERE rn = 1",
        "SELECT id, n FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY id) AS rn FROM (SELECT *, count(*) OVER (PARTITION BY s) AS n FROM trusted.t)) WHERE rn = 1",
        "SELECT x.id, y.id AS other FROM (SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY id) AS rn FROM trusted.a) WHERE rn = 1) x JOIN trusted.b y ON x.k = y.k",
        "SELECT DISTINCT k, rn FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY id) AS rn FROM trusted.t) WHERE rn = 1",
        "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY src DESC, o DESC NULLS LAST, id DESC) AS rn FROM (SELECT *, 1 AS src FROM trusted.a UNION ALL SELECT *, 2 AS src FROM trusted.b)) WHERE rn = 1",
        "SELECT id FROM trusted.t WHERE id IN (SELECT id FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY id) AS rn FROM trusted.t) WHERE rn = 1)",
        "SELECT id FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY id) AS rn FROM trusted.t) WHERE rn = 1 ORDER BY id DESC LIMIT 5",
        // Of some keys all rows.
        "SELECT id FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY id) AS rn FROM trusted.t) WHERE rn = 1 OR k = 3",
        "SELECT id, k AS other FROM (SELECT *, row_number() OVER (PARTITION BY k, s ORDER BY o DESC NULLS LAST, id DESC) AS rn FROM trusted.t) WHERE s IS NOT NULL OR rn = 1",
        "SELECT s, nested FROM (SELECT *, row_number() OVER (PARTITION BY s, k ORDER BY id) AS rn FROM trusted.t) WHERE k > 5 OR rn < 2 OR s = 'a'",
        "SELECT id FROM (SELECT *, row_number() OVER (PARTITION BY f ORDER BY id) AS rn FROM trusted.t) WHERE rn = 1 OR f > 0 AND f < 2",
    ]
    .map(str::to_owned)
    .into();
    for table in ["trusted.none", "trusted.one"] {
        queries.push(NEWEST.replace("trusted.t", table));
    }
    queries
}

#[tokio::test]
async fn the_newest_rows_are_those_of_the_window() {
    for seed in seeds(4) {
        let place = Place::new().await;
        let [ours, plain] = sessions(&place, seed).await;
        for sql in rewritten() {
            let plan = explained(&ours, &sql).await;
            // No row has two numbers: nothing is read at all.
            if sql.contains("rn = 2") {
                assert!(plan.contains("EmptyExec"), "{sql}\n{plan}");
            } else if !sql.contains("trusted.none") {
                assert!(plan.contains("KeepLatest") && !plan.contains("[[row_number"), "{sql}\n{plan}");
            }
            assert!(!explained(&plain, &sql).await.contains("KeepLatest"), "{sql}");
            let mut expected = rows(&plain, &sql).await;
            expected.sort_unstable();
            for strategy in [Strategy::Default, Strategy::LowMemory] {
                let batches = ours.query_with(&sql, strategy).await.unwrap().collect().await;
                let mut found = shown(&batches.unwrap_or_else(|error| panic!("{sql}: {error}")));
                found.sort_unstable();
                assert_eq!(found, expected, "seed {seed}, {strategy:?}: {sql}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_the_first_row_of_each_key_is_left_alone() {
    let place = Place::new().await;
    let [session, _] = sessions(&place, 1).await;
    let number = "row_number() OVER (PARTITION BY k ORDER BY id)";
    let windows = [
        "rank() OVER (PARTITION BY k ORDER BY id)",
        "dense_rank() OVER (PARTITION BY k ORDER BY id)",
        "count(*) OVER (PARTITION BY k ORDER BY id)",
        "ntile(1) OVER (PARTITION BY k ORDER BY id)",
        // Of all rows together.
        "row_number() OVER (ORDER BY id)",
        "row_number() OVER (PARTITION BY 1 ORDER BY id)",
        "row_number() OVER ()",
        // Frames, which row_number does not look at; who writes one means something else.
        "row_number() OVER (PARTITION BY k ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)",
        "row_number() OVER (PARTITION BY k ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)",
        "row_number() OVER (PARTITION BY k ORDER BY random())",
        "row_number() OVER (PARTITION BY k + CAST(10 * random() AS INT) ORDER BY id)",
        // Another window that needs all rows.
        "row_number() OVER (PARTITION BY k ORDER BY id) AS rn, lag(id) OVER (PARTITION BY k ORDER BY id)",
        "row_number() OVER (PARTITION BY k ORDER BY id) AS rn, sum(id) OVER (PARTITION BY s)",
        "row_number() OVER (PARTITION BY k ORDER BY id) + 0",
    ];
    let mut queries: Vec<String> = windows
        .map(|window| {
            let named = if window.contains(" AS rn, ") {
                format!("{window} AS x")
            } else {
                format!("{window} AS rn")
            };
            format!("SELECT * FROM (SELECT *, {named} FROM trusted.t) WHERE rn = 1")
        })
        .into();
    for condition in [
        "rn = 2",
        "rn <= 2",
        "rn < 3",
        "rn > 1",
        "rn >= 1",
        "rn <> 1",
        "rn = 0",
        "rn < 1",
        "rn = 1 OR k = 3",
        "NOT rn = 2",
        "rn = k",
        "rn % 2 = 1",
        "rn IN (1, 2)",
        "rn IS NOT NULL",
        "id = 1",
        "rn * 2 = 2",
    ] {
        queries.push(format!("SELECT * FROM (SELECT *, {number} AS rn FROM trusted.t) WHERE {condition}"));
    }
    for condition in [
        // Not of the key alone, not the same each time, or about the number too.
        "rn = 1 OR id = 3",
        "rn = 1 OR k = id",
        "rn = 1 OR random() < 0.5",
        "rn = 1 OR k = 3 AND random() < 0.5",
        "rn = 1 OR rn = 2",
        "rn = 1 OR k = rn",
        "rn = 2 OR k = 3",
        "(rn = 1 OR k = 3) AND id > 5",
    ] {
        queries.push(format!("SELECT id FROM (SELECT *, {number} AS rn FROM trusted.t) WHERE {condition}"));
    }
    queries.extend([
        // The number of rows that stay anyhow is read.
        format!("SELECT id, rn FROM (SELECT *, {number} AS rn FROM trusted.t) WHERE rn = 1 OR k = 3"),
        format!("SELECT id, rn + 1 AS next FROM (SELECT *, {number} AS rn FROM trusted.t) WHERE rn = 1 OR k = 3"),
        format!("SELECT id FROM (SELECT id, k, rn, rn * 2 AS twice FROM (SELECT *, {number} AS rn FROM trusted.t)) WHERE (rn = 1 OR k = 3) AND twice < 5"),
        // Used where the filter does not reach.
        format!("SELECT * FROM (SELECT *, {number} AS rn FROM trusted.t)"),
        format!("SELECT rn, count(*) AS n FROM (SELECT *, {number} AS rn FROM trusted.t) GROUP BY rn HAVING count(*) = 1"),
        format!("SELECT * FROM (SELECT *, {number} AS rn FROM trusted.t LIMIT 100) WHERE rn = 1"),
        format!("SELECT * FROM (SELECT max(rn) AS rn, k FROM (SELECT *, {number} AS rn FROM trusted.t) GROUP BY k) WHERE rn = 1"),
        format!("SELECT * FROM (SELECT *, lead(rn) OVER (ORDER BY id) AS next FROM (SELECT *, {number} AS rn FROM trusted.t)) WHERE rn = 1"),
        format!("SELECT * FROM (SELECT *, {number} AS rn FROM trusted.t) x LEFT JOIN trusted.b y ON x.id = y.id AND x.rn = 1"),
    ]);
    for sql in queries {
        let plan = explained(&session, &sql).await;
        assert!(!plan.contains("KeepLatest"), "{sql}\n{plan}");
    }
}

/// The row that comes last of all that are equal in ORDER BY; the same however often it is asked.
#[tokio::test]
async fn of_equal_rows_the_last_is_kept() {
    let place = Place::new().await;
    let session = place.engine.session();
    let one = RecordBatch::try_new(
        Arc::new(Schema::new(vec![
            Field::new("k", DataType::Int64, true),
            Field::new("id", DataType::Int64, true),
        ])),
        vec![
            Arc::new((0..20_000).map(|row| Some(row % 7)).collect::<Int64Array>()),
            Arc::new((0..20_000).map(Some).collect::<Int64Array>()),
        ],
    )
    .unwrap();
    session
        .add_rows("trusted", "t", (0..20).map(|n| one.slice(n * 1000, 1000)).collect(), one.schema())
        .unwrap();
    for order in ["", "ORDER BY k", "ORDER BY id * 0 DESC"] {
        let sql = format!(
            "SELECT id FROM (SELECT *, row_number() OVER (PARTITION BY k {order}) AS rn FROM trusted.t) WHERE rn = 1"
        );
        for _ in 0..5 {
            let mut kept = rows(&session, &sql).await;
            kept.sort_unstable();
            assert_eq!(kept, ["19993", "19994", "19995", "19996", "19997", "19998", "19999"], "{sql}");
        }
    }
    // The later part of a UNION ALL wins.
    let sql = "SELECT src FROM (SELECT *, row_number() OVER (PARTITION BY k) AS rn FROM \
               (SELECT k, 'old' AS src FROM trusted.t UNION ALL SELECT k, 'new' AS src FROM trusted.t)) WHERE rn = 1";
    for _ in 0..5 {
        assert_eq!(rows(&session, sql).await, ["new"; 7]);
    }
}

#[tokio::test]
async fn columns_that_nobody_reads_are_not_kept() {
    let place = Place::new().await;
    let [session, _] = sessions(&place, 1).await;
    let sql = NEWEST.replacen('*', "s", 1);
    let plan = explained(&session, &sql).await;
    let scan = plan.lines().find(|line| line.contains("TableScan: trusted.t")).unwrap();
    assert!(scan.contains("projection=[k, s, o, id]"), "{plan}");
}

/// Three keys in four are there once; of the fourth quarter ten versions come.
const WIDE: &str = "SELECT CASE WHEN value % 4 = 0 THEN value % 25000 ELSE value END AS k, value AS v, \
     repeat(md5(CAST(value AS TEXT)), 12) AS payload FROM generate_series(1, 250000)";

async fn wide_result(place: &Place, columns: &str) -> (Vec<String>, crate::QueryStats) {
    let sql = format!(
        "SELECT count(*) AS n, sum(k) AS k, sum(v) AS v, {columns} FROM (SELECT *, row_number() OVER \
         (PARTITION BY k ORDER BY v DESC) AS rn FROM ({WIDE})) WHERE rn = 1"
    );
    let query = place.engine.session().query(&sql).await.unwrap();
    let stats = query.stats.clone();
    let found = shown(&query.collect().await.unwrap_or_else(|error| panic!("{error}")));
    (found, stats.now())
}

const CHECKED: &str = "sum(length(payload)) AS l, max(payload) AS m";
/// By counting: see the test, which makes the figures another way.
async fn wide_expected() -> Vec<String> {
    let place = Place::with(1 << 30, 1 << 30, 2).await;
    let sql = format!(
        "SELECT count(*), sum(k), sum(v), sum(length(p)), max(p) FROM \
         (SELECT k, max(v) AS v, repeat(md5(CAST(max(v) AS TEXT)), 12) AS p FROM ({WIDE}) GROUP BY k)"
    );
    rows(&place.engine.session(), &sql).await
}

#[tokio::test]
async fn little_memory_is_enough_and_what_was_spilled_is_counted() {
    let expected = wide_expected().await;
    // 100 MB: all in memory as far as it is kept there; then with a pool of a third; then with hardly any.
    for (memory, spills_keys) in [(1 << 29, false), (32 << 20, true), (6 << 20, true)] {
        let place = Place::with(memory, 1 << 30, 2).await;
        let (found, stats) = wide_result(&place, CHECKED).await;
        assert_eq!(found, expected, "{memory}");
        assert!(stats.spilled_bytes > 20 << 20 && stats.spilled_rows > 50_000, "{memory}: {stats:?}");
        assert_eq!(stats.spilled_rows > 260_000, spills_keys, "{memory}: {stats:?}");
        // A small part is never refused: see TABLE_BYTES_MIN.
        assert!(stats.peak_memory_bytes <= memory + (4 << 20), "{memory}: {stats:?}");
        let left = std::fs::read_dir(place.dir.path().join("spill")).unwrap();
        let files =
            left.flatten().map(|dir| std::fs::read_dir(dir.path()).map_or(0, Iterator::count)).sum::<usize>();
        assert_eq!(files, 0, "spill files are gone with the query");
    }
}

/// Whatever is beaten goes, so that a few keys need little memory and no file.
#[tokio::test]
async fn few_keys_are_never_spilled() {
    let place = Place::with(1 << 29, 1 << 30, 2).await;
    let sql = "SELECT count(*) AS n, sum(v) AS v, min(length(p)) AS l FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY v DESC) AS rn \
        FROM (SELECT value % 50 AS k, value AS v, repeat('x', 1000) AS p FROM generate_series(1, 200000))) WHERE rn = 1";
    let query = place.engine.session().query(sql).await.unwrap();
    let stats = query.stats.clone();
    assert_eq!(shown(&query.collect().await.unwrap()), ["50|9998775|1000"]);
    let stats = stats.now();
    assert_eq!(stats.spilled_bytes, 0, "{stats:?}");
    assert!(stats.peak_memory_bytes < 80 << 20, "{stats:?}");
}

#[tokio::test]
async fn a_full_spill_folder_is_an_error_with_its_name() {
    let place = Place::with(16 << 20, 4 << 20, 2).await;
    let sql = format!(
        "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY v DESC) AS rn FROM ({WIDE})) WHERE rn = 1"
    );
    let error = place.engine.session().query(&sql).await.unwrap().collect().await.unwrap_err();
    assert_eq!(error.code(), lagar_flow::codes::SPILL, "{error}");
}

#[tokio::test]
async fn an_error_of_the_input_comes_through_and_a_dropped_query_ends() {
    let place = Place::with(64 << 20, 1 << 30, 2).await;
    let session = place.engine.session();
    let sql = "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY v) AS rn FROM \
        (SELECT value % 10 AS k, 10 / (value - 5000) AS v FROM generate_series(1, 10000))) WHERE rn = 1";
    let error = session.query(sql).await.unwrap().collect().await.unwrap_err();
    assert_eq!(error.code(), lagar_flow::codes::SQL_EXECUTION, "{error}");
    assert!(error.message().contains("divided by zero"), "{error}");

    // Endless as far as this test goes. Once it is dropped, its memory and files are free again.
    let place = Place::with(64 << 20, 1 << 40, 2).await;
    let session = place.engine.session();
    let sql = "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY v) AS rn FROM \
        (SELECT value AS k, value AS v, repeat('x', 500) AS p FROM generate_series(1, 100000000000))) WHERE rn = 1";
    let mut query = session.query(sql).await.unwrap();
    let stats = query.stats.clone();
    // At least so long, and until it spills.
    let meanwhile = async {
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        while stats.now().spilled_bytes == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        row = futures::StreamExt::next(&mut query.batches.stream) => panic!("before the last one is read: {row:?}"),
        () = meanwhile => {}
    }
    drop(query);
    let pool = place.engine.runtime().memory_pool.clone();
    for _ in 0..200 {
        if pool.reserved() == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(pool.reserved(), 0, "what the query held is free again");
    let after = stats.now().spilled_bytes;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(stats.now().spilled_bytes, after, "nobody works for it any more");
}
