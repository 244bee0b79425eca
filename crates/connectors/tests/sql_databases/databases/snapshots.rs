//! The whole of a table or query, from one state of the database.

use lagar_connectors::Chunks;
use lagar_testing::Battery;
use serde_json::json;

use super::{Database, Dialect};
use crate::support::{Done, read};

/// The reader is in the middle of the table, because nobody takes its files, when the writer commits.
#[tokio::test]
async fn files_are_ranges_of_one_state_whatever_a_writer_does() {
    let mut battery = Battery::new("S6");
    for mut database in Database::each("writer").await {
        let series = database.dialect.of([
            "SELECT i, 'old' FROM generate_series(1, 30000) i",
            "SELECT seq, 'old' FROM seq_1_to_30000",
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000) SELECT i, 'old' FROM n",
        ]);
        let wal = database.dialect.of(["", "", "PRAGMA journal_mode = WAL;"]);
        database
            .execute(&format!(
                "{wal} CREATE TABLE t (id integer PRIMARY KEY, x varchar(9)); INSERT INTO t {series}"
            ))
            .await;
        let source = database.table("t", json!({"split": {"by": "id", "rows": 1000}}));
        let (out, mut chunks) = Chunks::channel(1);
        let cx = database.place.cx.clone();
        let dialect = database.dialect;
        battery
            .case_async(&format!("{dialect:?}"), async {
                let reading = tokio::spawn(async move { source.read(&cx, None, &out).await });
                let mut all = vec![chunks.recv().await.unwrap()];
                database.execute("UPDATE t SET x = 'new'; DELETE FROM t WHERE id % 2 = 0; INSERT INTO t VALUES (99999, 'new')").await;
                while let Some(chunk) = chunks.recv().await {
                    all.push(chunk);
                }
                let done = Done { outcome: reading.await.unwrap().unwrap(), chunks: all };
                assert!(done.chunks.iter().all(|chunk| chunk.file.rows == Some(1000)));
                let ids: Vec<u64> = done.texts("id").iter().map(|id| id.parse().unwrap()).collect();
                assert!(ids.into_iter().eq(1..=30_000), "every row once, and file after file in order");
                assert!(done.texts("x").iter().all(|x| x == "old"));
            })
            .await;
    }
}

#[tokio::test]
async fn a_snapshot_is_a_new_load_only_when_the_content_changed() {
    for mut database in Database::each("changes").await {
        database.execute("CREATE TABLE t (id integer PRIMARY KEY, x varchar(9)); INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
        let source = database.table("t", json!({}));
        let mut position = read(source.as_ref(), &database.place.cx, None).await.position();
        assert!(read(source.as_ref(), &database.place.cx, Some(&position)).await.is_nothing());
        for change in [
            "UPDATE t SET x = 'c' WHERE id = 1",
            "INSERT INTO t VALUES (3, '')",
            "UPDATE t SET x = NULL WHERE id = 3",
            "DELETE FROM t",
        ] {
            database.execute(change).await;
            position = read(source.as_ref(), &database.place.cx, Some(&position)).await.position();
            assert!(
                read(source.as_ref(), &database.place.cx, Some(&position)).await.is_nothing(),
                "{change}"
            );
        }
    }
}

/// PostgreSQL shows the tables of the transaction's beginning, and answers about the present.
#[tokio::test]
async fn tables_that_others_drop_meanwhile_disturb_no_read_in_postgres() {
    let Some(mut database) = Database::open(Dialect::Postgres, "dropped").await else { return };
    let every = |statement: &str| {
        format!("DO $$ BEGIN FOR i IN 1..500 LOOP EXECUTE format('{statement}', i); COMMIT; END LOOP; END $$")
    };
    database.execute("CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let source = database.table("t", json!({}));
    let cx = database.place.cx.clone();
    for _ in 0..3 {
        database.execute(&every("CREATE TABLE d%s (x int)")).await;
        let dropped = every("DROP TABLE d%s");
        let mut dropping = std::pin::pin!(database.execute(&dropped));
        loop {
            let read = read(source.as_ref(), &cx, None);
            tokio::select! {
                () = &mut dropping => break,
                done = read => assert_eq!(done.texts("id"), ["1"]),
            }
        }
    }
}

/// What no column of its type can hold is rejected; as text it can be had.
#[tokio::test]
async fn what_is_rejected_can_be_had_as_text() {
    for (dialect, columns, row) in [
        (
            Dialect::Postgres,
            "d date, ts timestamp, tz timestamptz, n numeric(5,2), far date",
            [
                ("d", "infinity"),
                ("ts", "-infinity"),
                ("tz", "infinity"),
                ("n", "NaN"),
                ("far", "+5874897-12-31"),
            ],
        ),
        (
            Dialect::Mariadb,
            "d date, ts datetime(3), tz datetime, n tinyint(1) unsigned, far date",
            [
                ("d", "2024-00-10"),
                ("ts", "2024-02-31 01:02:03.450000"),
                ("tz", "0000-00-00 01:02:03"),
                ("n", "200"),
                ("far", "0000-00-00"),
            ],
        ),
    ] {
        let Some(mut database) = Database::open(dialect, "as_text").await else { continue };
        let values: Vec<String> =
            row.iter().map(|(_, value)| format!("'{}'", value.trim_start_matches('+'))).collect();
        database
            .execute(&format!("CREATE TABLE t ({columns}); INSERT INTO t VALUES ({})", values.join(", ")))
            .await;
        let stored = database.texts("SELECT * FROM t").await;
        for (column, _) in row {
            database.place.ask(column, "text");
        }
        let done = read(database.table("t", json!({})).as_ref(), &database.place.cx, None).await;
        for ((column, value), stored) in row.iter().zip(&stored[0]) {
            assert_eq!(done.texts(column), [*value], "{dialect:?}, stored as {stored:?}");
        }
        assert!(done.notes().is_empty(), "{:?}", done.notes());
    }
}

#[tokio::test]
async fn mariadb_means_by_a_query_what_it_always_means() {
    let Some(mut database) = Database::open(Dialect::Mariadb, "meaning").await else { return };
    database.execute("CREATE TABLE t (n decimal(12,3)); INSERT INTO t VALUES (1.5), (NULL)").await;
    let sum = database.query("SELECT SUM(n) AS total, COUNT(*) AS c, 'a' || 'b' AS `or` FROM t");
    let sum = read(sum.as_ref(), &database.place.cx, None).await;
    assert_eq!((sum.type_of("total"), sum.type_of("c")), ("Utf8".into(), "Int64".into()));
    assert_eq!(sum.texts("or"), ["0"], "the server's own meaning of || is kept");
    assert!(sum.notes()[0].contains("`total`"), "{:?}", sum.notes());
    database.execute("SET time_zone = '+02:00'; CREATE TABLE z (at timestamp); INSERT INTO z VALUES ('2024-01-02 03:04:05')").await;
    let done = read(database.table("z", json!({})).as_ref(), &database.place.cx, None).await;
    assert_eq!(done.texts("at"), ["2024-01-02T01:04:05Z"]);
}
