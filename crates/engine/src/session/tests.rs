#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Instant;

use arrow::datatypes::DataType;
use lagar_flow::Blame;

use super::*;
use crate::testing::{Place, fields, rows, shown};

fn orders() -> SchemaRef {
    fields(&[
        ("id", DataType::Int64),
        ("userId", DataType::Int64),
        ("total", DataType::Float64),
        ("title", DataType::Utf8),
    ])
}

async fn planning() -> (Place, Session) {
    let place = Place::new().await;
    let session = place.engine.session();
    for name in ["trusted.orders", "trusted.users", "refined.revenue"] {
        session.add_empty(&name.parse().unwrap(), orders()).unwrap();
    }
    session.add_empty(&"raw.orders_csv".parse().unwrap(), orders()).unwrap();
    (place, session)
}

#[tokio::test]
async fn all_columns_that_do_not_exist_are_named_at_once() {
    let (_place, session) = planning().await;
    let sql = "SELECT o.idd, titel, sum(totl) AS x,\n u.userld\nFROM trusted.orders o JOIN trusted.users u ON o.id = u.ident\n\
               WHERE titel <> '' AND id2 > 0\nGROUP BY o.idd, titel, u.userld";
    let error = session.describe(sql).await.unwrap_err();
    let mut found: Vec<(usize, usize)> =
        error.each().map(|e| e.place().map(|p| (p.line, p.column)).unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found, [(1, 8), (1, 26), (2, 2), (3, 54), (4, 7), (4, 23)], "{error:#?}");
    assert!(error.each().all(|error| error.code() == codes::SQL_UNKNOWN_COLUMN));
}

#[tokio::test]
async fn every_mistake_is_pointed_at_with_what_was_probably_meant() {
    let (_place, session) = planning().await;
    for (sql, code, line, column, message, hint) in [
        ("SELECT x.y FROM trusted.orders", "E4003", 1, 8, "`x` is not a table or alias", "there is `id`"),
        ("SELECT \"Id\" FROM trusted.orders", "E4003", 1, 8, "there is no column `Id`", "did you mean `id`?"),
        (
            "SELECT id AS a,\n total AS a FROM trusted.orders",
            "E4004",
            1,
            14,
            "the column `a` comes out twice",
            "a_2",
        ),
        (
            "SELECT o.id, u.total AS id\nFROM trusted.orders o, trusted.users u",
            "E4004",
            1,
            10,
            "the column `id` comes out twice",
            "id_2",
        ),
        ("SELECT\n sum(title) AS x FROM trusted.orders", "E4004", 2, 2, "`sum` does not take Utf8", "CAST"),
        (
            "SELECT lower(title, 1) AS x FROM trusted.orders",
            "E4004",
            1,
            8,
            "expects 1 arguments",
            "lower(String)",
        ),
        (
            "SELECT *\nFROM trusted.ordrs",
            "E4002",
            2,
            6,
            "there is no table `trusted.ordrs`",
            "did you mean `trusted.orders`?",
        ),
        (
            "SELECT * FROM orders",
            "E4002",
            1,
            15,
            "there is no table `orders`",
            "a table is named with its zone: `trusted.orders`",
        ),
        (
            "SELECT * FROM refined.users",
            "E4002",
            1,
            15,
            "there is no table `refined.users`",
            "did you mean `trusted.users`?",
        ),
        (
            "SELECT id,\n       totl\nFROM trusted.orders",
            "E4003",
            2,
            8,
            "there is no column `totl`",
            "did you mean `total`?",
        ),
        (
            "SELECT o.totl FROM trusted.orders o",
            "E4003",
            1,
            8,
            "`o` has no column `totl`",
            "did you mean `total`?",
        ),
        (
            "SELECT userId FROM trusted.orders",
            "E4003",
            1,
            8,
            "there is no column `userid`",
            "names are read in lower case; write it in quotation marks: \"userId\"",
        ),
        (
            "SELECT id FROM trusted.orders WHERE\n  totl > 1",
            "E4003",
            2,
            3,
            "there is no column `totl`",
            "did you mean `total`?",
        ),
        (
            "SELECT id FROM trusted.orders\nORDER BY totl",
            "E4003",
            2,
            10,
            "there is no column `totl`",
            "did you mean `total`?",
        ),
        (
            "SELECT id FROM trusted.orders GROUP BY\nidd",
            "E4003",
            2,
            1,
            "there is no column `idd`",
            "did you mean `id`?",
        ),
        (
            "SELECT o.id FROM trusted.orders o\nJOIN trusted.users u ON o.id = u.idx",
            "E4003",
            2,
            32,
            "`u` has no column `idx`",
            "did you mean `id`?",
        ),
        (
            "SELECT id FROM trusted.orders o, trusted.users u",
            "E4004",
            1,
            8,
            "`id` could be a column of more than one table",
            "write the table in front: `table.id`",
        ),
        (
            "SELECT\n  summ(total) FROM trusted.orders",
            "E4004",
            2,
            3,
            "there is no function `summ`",
            "did you mean `sum`?",
        ),
        (
            "SELECT id, total FROM trusted.orders GROUP BY id",
            "E4004",
            1,
            12,
            "neither in GROUP BY",
            "GROUP BY",
        ),
    ] {
        let error = session.describe(sql).await.expect_err(sql);
        let place = error.place().map(|place| (place.line, place.column));
        assert_eq!((error.code().id, place), (code, Some((line, column))), "{sql}: {error}");
        assert!(error.message().contains(message), "{sql}: {error}");
        assert!(error.hint_text().unwrap_or_default().contains(hint), "{sql}: {:?}", error.hint_text());
        assert_eq!(error.blame(), Blame::Usage);
    }
}

#[tokio::test]
async fn type_errors_read_like_sentences() {
    let (_place, session) = planning().await;
    for (sql, words) in [
        ("SELECT title + true AS x FROM trusted.orders", "Cannot coerce"),
        ("SELECT sum(title) AS x FROM trusted.orders", "`sum` does not take Utf8"),
        ("SELECT round(title, 1, 2) AS x FROM trusted.orders", "round"),
        ("SELECT date_trunc('day', total) AS x FROM trusted.orders", "date_trunc"),
        ("SELECT id FROM trusted.orders UNION ALL SELECT id, total FROM trusted.orders", "UNION"),
        ("SELECT CAST('x' AS INT) AS x", "x"),
        ("SELECT id FROM trusted.orders WHERE sum(total) > 1", "ggregat"),
    ] {
        let error = session.describe(sql).await.expect_err(sql);
        assert_eq!(error.code(), codes::SQL_PLAN, "{sql}: {error}");
        assert!(error.message().contains(words), "{sql}: {}", error.message());
        for noise in [
            "Error during planning",
            "caused by",
            "Execution error",
            "Optimizer rule",
            "Arrow error",
            "type_coercion",
        ] {
            assert!(!error.message().contains(noise), "{sql}: {}", error.message());
        }
    }
}

#[tokio::test]
async fn several_mistakes_are_reported_together() {
    let (_place, session) = planning().await;
    let error = session.describe("SELECT idd, totl FROM trusted.orders").await.unwrap_err();
    let messages: Vec<&str> = error.each().map(|e| e.message()).collect();
    assert_eq!(messages, ["there is no column `idd`", "there is no column `totl`"]);
    let error = session.describe("SELECT * FROM raw.a JOIN raw.b ON true").await.unwrap_err();
    assert_eq!(error.each().count(), 2);
}

#[tokio::test]
async fn a_session_tells_types_and_columns_without_data() {
    let (_place, session) = planning().await;
    let schema =
        session.describe("SELECT id, upper(title) AS t, _row, _loaded_at FROM raw.orders_csv").await.unwrap();
    let types: Vec<String> = schema.fields().iter().map(|f| f.data_type().to_string()).collect();
    assert_eq!(types, ["Int64", "Utf8", "Int64", "Timestamp(µs, \"UTC\")"]);
    let error = session.describe_stored("SELECT count(*) FROM trusted.orders").await.unwrap_err();
    assert_eq!(error.code(), codes::SQL_PLAN);
    let stored = session
        .describe_stored("SELECT row_number() OVER () AS n, now() AS t FROM trusted.orders")
        .await
        .unwrap();
    assert_eq!(stored.field(0).data_type(), &DataType::Int64);
    assert!(session.tables().contains_key("trusted.orders"));
}

#[tokio::test]
async fn nothing_but_reading_is_possible() {
    let (place, session) = planning().await;
    let secret = place.dir.path().join("secret.csv");
    std::fs::write(&secret, "a\n1\n").unwrap();
    for sql in [
        format!("SELECT * FROM '{}'", secret.display()),
        format!("CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '{}'", secret.display()),
        format!("COPY (SELECT 1) TO '{}'", place.dir.path().join("out.csv").display()),
        "INSERT INTO trusted.orders SELECT * FROM trusted.orders".to_owned(),
        "SET datafusion.execution.parquet.pushdown_filters = true".to_owned(),
        "SELECT * INTO trusted.x FROM trusted.orders".to_owned(),
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/x'".to_owned(),
    ] {
        let error = session.inspect(&sql, Strategy::Default).await.err().unwrap_or_else(|| panic!("{sql}"));
        assert!([codes::SQL_NOT_ALLOWED, codes::SQL_UNKNOWN_TABLE].contains(&error.code()), "{sql}: {error}");
    }
    assert!(!place.dir.path().join("out.csv").exists());
    for sql in [
        "EXPLAIN SELECT * FROM trusted.orders",
        "DESCRIBE trusted.orders",
        "SHOW TABLES",
        "SHOW COLUMNS FROM trusted.orders",
    ] {
        let batches = session
            .inspect(sql, Strategy::Default)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"))
            .collect()
            .await
            .unwrap();
        assert!(batches.iter().any(|batch| batch.num_rows() > 0), "{sql}");
        assert_eq!(session.query(sql).await.err().map(|e| e.code()), Some(codes::SQL_NOT_ALLOWED), "{sql}");
    }
}

/// The second line of defence: what DataFusion would plan, had the parser's list let it through.
#[tokio::test]
async fn plans_that_write_or_change_are_refused_by_their_nodes() {
    let (_place, session) = planning().await;
    for sql in [
        "CREATE TABLE trusted.x AS SELECT 1 AS a",
        "CREATE TABLE trusted.x (a INT)",
        "CREATE VIEW trusted.x AS SELECT 1 AS a",
        "CREATE EXTERNAL TABLE x (a INT) STORED AS CSV LOCATION '/tmp/x.csv'",
        "CREATE SCHEMA x",
        "CREATE DATABASE x",
        "CREATE INDEX i ON trusted.orders (id)",
        "DROP TABLE trusted.orders",
        "DROP VIEW trusted.orders",
        "DROP SCHEMA trusted",
        "DROP FUNCTION f",
        "INSERT INTO trusted.orders (id) VALUES (1)",
        "UPDATE trusted.orders SET id = 1",
        "DELETE FROM trusted.orders",
        "COPY trusted.orders TO '/tmp/x.csv'",
        "SELECT * INTO trusted.x FROM trusted.orders",
        "SET datafusion.execution.batch_size = 1",
        "RESET datafusion.execution.batch_size",
        "START TRANSACTION",
        "COMMIT",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "DEALLOCATE p",
        "EXPLAIN COPY trusted.orders TO '/tmp/x.csv'",
        "EXPLAIN ANALYZE INSERT INTO trusted.orders (id) VALUES (1)",
    ] {
        let plan = session.state.create_logical_plan(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        for allowed in [Allowed::Query, Allowed::Inspect] {
            assert!(!sql::is_read_only(&plan, allowed), "{sql}");
        }
    }
    for (sql, query) in [
        (
            "SELECT DISTINCT id, sum(total) OVER () FROM trusted.orders WHERE id IN (SELECT id FROM trusted.users) LIMIT 1",
            true,
        ),
        ("VALUES (1) UNION ALL SELECT 2", true),
        ("SELECT unnest([1, 2])", true),
        (
            "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT * FROM n",
            true,
        ),
        ("EXPLAIN SELECT 1", false),
        ("EXPLAIN ANALYZE SELECT 1", false),
        ("DESCRIBE trusted.orders", false),
    ] {
        let plan = session.state.create_logical_plan(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert_eq!(sql::is_read_only(&plan, Allowed::Query), query, "{sql}");
        assert!(sql::is_read_only(&plan, Allowed::Inspect), "{sql}");
    }
}

#[tokio::test]
async fn tables_of_the_lake_are_read_by_their_files_alone() {
    let place = Place::new().await;
    let made = place.table("trusted.t", "SELECT * FROM (VALUES (1, 'a', DATE '2024-01-01'), (2, 'b', DATE '2024-01-02'), (3, 'a', NULL)) AS v(id, kind, day)", &["kind"]).await;
    let table = place
        .table(
            "trusted.t",
            "SELECT * FROM (VALUES (10, 'c', DATE '2024-02-01'), (11, NULL, NULL)) AS v(id, kind, day)",
            &["kind"],
        )
        .await;
    assert!(table.version > made.version);
    // A stranger in the folder is not part of the table.
    let folder = place.lake.local_path().unwrap().join("trusted/t");
    std::fs::write(folder.join("stranger.parquet"), "no parquet").unwrap();

    let session = place.engine.session();
    session.add_table(&table, &place.lake).unwrap();
    let all = rows(&session, "SELECT id, kind, day FROM trusted.t ORDER BY id").await;
    assert_eq!(all, ["1|a|2024-01-01", "2|b|2024-01-02", "3|a|NULL", "10|c|2024-02-01", "11|NULL|NULL"]);
    assert_eq!(
        rows(&session, "SELECT kind, count(*) FROM trusted.t GROUP BY 1 ORDER BY 1 NULLS FIRST").await,
        ["NULL|1", "a|2", "b|1", "c|1"]
    );
    assert_eq!(rows(&session, "SELECT id FROM trusted.t WHERE kind IS NULL").await, ["11"]);
    assert_eq!(
        rows(&session, "SELECT id FROM trusted.t WHERE kind IS NOT NULL AND id > 2 ORDER BY id").await,
        ["3", "10"]
    );
    assert_eq!(rows(&session, "SELECT id FROM trusted.t WHERE day IS NULL ORDER BY 1").await, ["3", "11"]);
    assert_eq!(
        rows(&session, "SELECT min(id), max(id), min(day), count(day) FROM trusted.t").await,
        ["1|11|2024-01-01|3"]
    );
    assert_eq!(rows(&session, "SELECT kind, id FROM trusted.t WHERE id = 10").await, ["c|10"]);
    assert_eq!(rows(&session, "SELECT id FROM trusted.t ORDER BY id DESC LIMIT 2").await, ["11", "10"]);

    // Counting reads no file: the log knows.
    let query = session.query("SELECT count(*) AS n FROM trusted.t").await.unwrap();
    let stats = query.stats.clone();
    assert_eq!(shown(&query.collect().await.unwrap()), ["5"]);
    for file in std::fs::read_dir(&folder)
        .unwrap()
        .flatten()
        .filter(|f| f.file_name().to_string_lossy().starts_with("kind=c"))
    {
        std::fs::remove_dir_all(file.path()).unwrap();
    }
    assert_eq!(rows(&session, "SELECT count(*) FROM trusted.t").await, ["5"]);
    assert_eq!(stats.now().spilled_bytes, 0);
    // An older version has its own files.
    session.add_table(&made, &place.lake).unwrap();
    assert_eq!(rows(&session, "SELECT sum(id) FROM trusted.t").await, ["6"]);
    // A file that is gone is an error with a name, not fewer rows.
    session.add_table(&table, &place.lake).unwrap();
    let error =
        session.query("SELECT sum(id) AS s FROM trusted.t").await.unwrap().collect().await.unwrap_err();
    assert!(error.message().contains("trusted/t/"), "{error}");
    assert_eq!(error.code(), codes::LAKE_CORRUPT, "{error}");
}

#[tokio::test]
async fn a_column_that_old_files_lack_is_null_there() {
    let place = Place::new().await;
    let old = place.table("trusted.t", "SELECT 1 AS id", &[]).await;
    let session = place.engine.session();
    let schema = fields(&[("new", DataType::Utf8), ("id", DataType::Int64)]);
    session.add_files(TableFiles { schema, ..TableFiles::of(&old) }, &place.lake).unwrap();
    assert_eq!(rows(&session, "SELECT * FROM trusted.t").await, ["NULL|1"]);
    assert_eq!(rows(&session, "SELECT count(*) FROM trusted.t WHERE new IS NULL").await, ["1"]);
    session.add_files(TableFiles { files: &[], ..TableFiles::of(&old) }, &place.lake).unwrap();
    assert_eq!(rows(&session, "SELECT count(*), sum(id) FROM trusted.t").await, ["0|NULL"]);
}

#[tokio::test]
async fn a_query_over_its_memory_spills_and_says_so() {
    let place = Place::with(24 << 20, 1 << 30, 1).await;
    let session = place.engine.session();
    let query = session
        .query("SELECT value, repeat('x', 60) || value AS t FROM generate_series(1, 400000) ORDER BY t DESC")
        .await
        .unwrap();
    let stats = query.stats.clone();
    let rows: usize = query.collect().await.unwrap().iter().map(|batch| batch.num_rows()).sum();
    assert_eq!(rows, 400_000);
    let stats = stats.now();
    assert!(stats.spilled_bytes > 1 << 20 && stats.spilled_rows > 0, "{stats:?}");
    assert!(stats.peak_memory_bytes > 1 << 20 && stats.peak_memory_bytes <= 24 << 20, "{stats:?}");
}

#[tokio::test]
async fn the_spill_folder_has_a_cap() {
    let place = Place::with(16 << 20, 1 << 20, 2).await;
    let session = place.engine.session();
    let sql = "SELECT md5(CAST(value AS TEXT)) || md5(CAST(value + 1 AS TEXT)) AS t FROM generate_series(1, 400000) ORDER BY t";
    let error = session.query(sql).await.unwrap().collect().await.unwrap_err();
    assert_eq!(error.code(), codes::SPILL, "{error}");
    assert!(error.hint_text().unwrap().contains("spill"), "{error}");
}

/// The build side of a hash join cannot spill; a merge join can.
#[tokio::test]
async fn a_join_that_does_not_fit_is_planned_again_for_less_memory() {
    let place = Place::with(32 << 20, 1 << 30, 2).await;
    let session = place.engine.session();
    let sql = "SELECT count(*) AS n, max(a.t) AS t \
        FROM (SELECT value AS id, repeat('x', 100) || value AS t FROM generate_series(1, 300000)) a \
        JOIN (SELECT value AS id, repeat('y', 100) || value AS t FROM generate_series(1, 300000)) b ON a.id = b.id AND a.t <> b.t";
    let error = session.query(sql).await.unwrap().collect().await.unwrap_err();
    assert_eq!(error.code(), codes::MEMORY, "{error}");
    assert!(error.message().contains("HashJoin"), "the consumer is named: {error}");
    let session = &session;
    let mut tries = Vec::new();
    let (rows, strategy) = session
        .with_less_memory_if_needed(|strategy| {
            tries.push(strategy);
            async move { session.query_with(sql, strategy).await?.collect().await }
        })
        .await
        .unwrap();
    assert_eq!(
        (tries.as_slice(), strategy),
        ([Strategy::Default, Strategy::LowMemory].as_slice(), Strategy::LowMemory)
    );
    assert!(shown(&rows)[0].starts_with("300000|"));
}

#[tokio::test]
async fn other_errors_are_not_tried_again() {
    let (_place, session) = planning().await;
    let mut tries = 0;
    let result = session
        .with_less_memory_if_needed(|_| {
            tries += 1;
            async { Err::<(), _>(Error::new(codes::SQL_EXECUTION, "x")) }
        })
        .await;
    assert_eq!((tries, result.unwrap_err().code()), (1, codes::SQL_EXECUTION));
}

#[tokio::test]
async fn a_query_that_fails_on_its_data_says_what_to_write() {
    let (_place, session) = planning().await;
    for (sql, words) in [
        ("SELECT 1 / (value - 1) AS x FROM generate_series(1, 2)", "NULLIF"),
        (
            "SELECT CAST(CASE WHEN value = 2 THEN 'abc' ELSE '1' END AS INT) AS x FROM generate_series(1, 2)",
            "TRY_CAST",
        ),
    ] {
        let error = session.query(sql).await.unwrap().collect().await.unwrap_err();
        assert_eq!(error.code(), codes::SQL_EXECUTION, "{sql}: {error}");
        assert!(error.hint_text().unwrap_or_default().contains(words), "{sql}: {error}");
    }
}

#[tokio::test]
async fn rows_in_memory_and_times_in_utc() {
    let (_place, session) = planning().await;
    let batch = session.query("SELECT 7 AS run").await.unwrap().collect().await.unwrap();
    session.add_rows("system", "runs", batch.clone(), batch[0].schema()).unwrap();
    assert_eq!(rows(&session, "SELECT run + 1 FROM system.runs").await, ["8"]);
    assert_eq!(rows(&session, "SELECT arrow_typeof(now())").await, ["Timestamp(ns, \"UTC\")"]);
    assert_eq!(
        rows(&session, "SELECT arrow_typeof('a'), arrow_typeof(CAST(1 AS VARCHAR))").await,
        ["Utf8|Utf8"]
    );
}

#[tokio::test]
async fn planning_is_quick() {
    let (place, _) = planning().await;
    let start = Instant::now();
    for _ in 0..10 {
        let session = place.engine.session();
        session.add_empty(&"trusted.orders".parse().unwrap(), orders()).unwrap();
        session
            .describe("SELECT title, sum(total) AS t FROM trusted.orders WHERE id > 3 GROUP BY 1 ORDER BY 2")
            .await
            .unwrap();
    }
    let each = start.elapsed() / 10;
    // Some milliseconds even without optimisation; a session made from nothing takes far longer.
    assert!(each.as_millis() < 250, "{each:?} for a session and a plan");
    println!("{each:?} for a session and a plan");
}

/// What waits for the first rows changes nothing about them, also when there are none.
#[tokio::test]
async fn a_query_that_has_begun_is_the_same() {
    let place = Place::new().await;
    let session = place.engine.session();
    for (last, expected) in [(0, 0), (1, 1), (20_000, 20_000)] {
        let sql = format!("SELECT value FROM generate_series(1, {last})");
        let rows = session.query(&sql).await.unwrap().begun().await.unwrap().collect().await.unwrap();
        assert_eq!(shown(&rows).len(), expected);
    }
    let failing = session.query("SELECT 1 / (value - 1) AS x FROM generate_series(1, 2)").await.unwrap();
    assert!(failing.begun().await.is_err());
}
