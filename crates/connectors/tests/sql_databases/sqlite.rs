use std::{collections::BTreeSet, sync::Arc};

use lagar_connectors::Source;
use lagar_flow::{Error, Position, Scope, codes};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::support::{Place, fail, only_row, read, source, try_read};

async fn open(place: &Place) -> SqliteConnection {
    let options =
        SqliteConnectOptions::new().filename(place.dir.path().join("shop.db")).create_if_missing(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

async fn execute(place: &Place, sql: &str) {
    let mut connection = open(place).await;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn place_with(sql: &str) -> Place {
    let place = Place::new();
    execute(&place, sql).await;
    place
}

fn table(name: &str) -> Box<dyn Source> {
    with(name, json!({}))
}

fn with(name: &str, more: Value) -> Box<dyn Source> {
    let mut config = json!({"url": "sqlite:shop.db", "table": name});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    source(config)
}

fn query(sql: &str) -> Box<dyn Source> {
    source(json!({"url": "sqlite:shop.db", "query": sql}))
}

#[tokio::test]
async fn every_declared_type_has_its_arrow_type() {
    let place = place_with(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, price REAL, title VARCHAR(20), photo BLOB, active BOOLEAN,
           amount DECIMAL(10,2), born DATE, sold DATETIME, seen TIMESTAMP, zoned DATETIME, epoch DATETIME,
           money NUMERIC, free, doc JSON, none NUMERIC);
         INSERT INTO t VALUES (1, 1.5, 'ñandú', x'00ff', 1, 19.99, '2024-02-29', '2024-01-02 03:04:05.678',
           '2024-01-02T03:04', '2024-01-02T03:04:05Z', 1704164645, 12, 'x', '{\"a\":1}', NULL);",
    )
    .await;
    let done = read(table("t").as_ref(), &place.cx, None).await;
    let row = only_row(&done);
    for (column, data_type, text) in [
        ("id", "Int64", Some("1")),
        ("price", "Float64", Some("1.5")),
        ("title", "Utf8", Some("ñandú")),
        ("photo", "Binary", Some("00ff")),
        ("active", "Boolean", Some("true")),
        ("amount", "Decimal128(10, 2)", Some("19.99")),
        ("born", "Date32", Some("2024-02-29")),
        ("sold", "Timestamp(µs)", Some("2024-01-02T03:04:05.678")),
        ("seen", "Timestamp(µs)", Some("2024-01-02T03:04:00")),
        ("zoned", "Timestamp(µs, \"UTC\")", Some("2024-01-02T03:04:05Z")),
        ("epoch", "Int64", Some("1704164645")),
        ("money", "Int64", Some("12")),
        ("free", "Utf8", Some("x")),
        ("doc", "Utf8", Some("{\"a\":1}")),
        ("none", "Float64", None),
    ] {
        assert_eq!(done.type_of(column), data_type, "{column}");
        assert_eq!(row[column].as_deref(), text, "{column}");
    }
    assert_eq!(done.notes().len(), 1, "{:?}", done.notes());
    let chunk = &done.chunks[0];
    assert_eq!(chunk.file.extension, "parquet");
    assert_eq!(chunk.file.origin.url, "sqlite:shop.db#t");
    assert_eq!(chunk.file.sha256.as_ref().unwrap().len(), 64);
}

#[tokio::test]
async fn what_does_not_fit_is_rejected_row_by_row_and_the_rest_is_read() {
    let place = place_with(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INT, d DATE, a DECIMAL(5,2), b BOOLEAN, x TEXT);
         INSERT INTO t VALUES (1, 1, '2024-01-01', 1.25, 0, 'a'), (2, 'many', '2024-01-01', 1, 0, 'a'),
           (3, 3, 'soon', 'much', 0, 'a'), (4, 4, NULL, 12345.67, 0, 'a'), (5, 5, NULL, NULL, 7, 'a'),
           (6, 6, NULL, NULL, NULL, x'ff'), (7, 7, '2024-01-07', 7, 1, 'a');",
    )
    .await;
    let done = read(table("t").as_ref(), &place.cx, None).await;
    assert_eq!(done.texts("id"), ["1", "7"]);
    let rejects = &done.chunks[0].rejects;
    let found: Vec<(u64, &str)> = rejects.iter().map(|r| (r.row, r.column.as_deref().unwrap())).collect();
    assert_eq!(found, [(2, "n"), (3, "d"), (4, "a"), (5, "b"), (6, "x")]);
    assert_eq!(rejects[0].value, r#"{"id":2,"n":"many","d":"2024-01-01","a":1,"b":0,"x":"a"}"#);
    assert_eq!(rejects[2].reason, "not a decimal(5,2)");
}

#[tokio::test]
async fn asked_types_win_and_known_types_stay() {
    let mut place = place_with(
        "CREATE TABLE t (id INTEGER, price TEXT, day TEXT, free);
         INSERT INTO t VALUES (1, '9.90', '2024-01-02', 5), (2, 'free', '2024-01-03', 6);",
    )
    .await;
    place.ask("price", "decimal(10,2)");
    place.ask("day", "date");
    place.ask("gone", "int");
    let done = read(table("t").as_ref(), &place.cx, None).await;
    assert_eq!(done.type_of("price"), "Decimal128(10, 2)");
    assert_eq!(done.texts("price"), ["9.90"]);
    assert_eq!(done.texts("day"), ["2024-01-02"]);
    assert_eq!(done.chunks[0].rejects[0].reason, "not a decimal(10,2)");
    assert!(done.notes()[0].contains("`gone`"), "{:?}", done.notes());

    // `free` was integers; text that comes later does not turn the column into text.
    place.cx.known = Some(Arc::new(done.schema()));
    execute(&place, "INSERT INTO t VALUES (3, '1', '2024-01-04', 'x')").await;
    let again = read(table("t").as_ref(), &place.cx, Some(&done.position())).await;
    assert_eq!(again.type_of("free"), "Int64");
    assert_eq!(again.texts("id"), ["1"]);
    assert_eq!(again.reject_count(), 2);
}

#[tokio::test]
async fn a_snapshot_is_a_new_load_only_when_the_content_changed() {
    let place = place_with("CREATE TABLE t (a INT, b TEXT); INSERT INTO t VALUES (1, 'x'), (2, 'y');").await;
    let source = table("t");
    let first = read(source.as_ref(), &place.cx, None).await;
    let position = first.position();
    assert!(read(source.as_ref(), &place.cx, Some(&position)).await.is_nothing());
    // The same rows in another order are the same content.
    execute(&place, "DELETE FROM t; INSERT INTO t VALUES (2, 'y'), (1, 'x');").await;
    let again = read(source.as_ref(), &place.cx, Some(&position)).await;
    assert!(again.is_nothing());
    assert_eq!(again.notes(), ["the 2 rows of `t` are what they were"]);

    for (change, rows) in [
        ("UPDATE t SET b = 'z' WHERE a = 2", 2),
        ("INSERT INTO t VALUES (2, 'z')", 3),
        ("DELETE FROM t WHERE a = 1", 2),
        ("ALTER TABLE t ADD COLUMN c REAL", 2),
        ("DELETE FROM t", 0),
    ] {
        let before = read(source.as_ref(), &place.cx, None).await.position();
        execute(&place, change).await;
        let after = read(source.as_ref(), &place.cx, Some(&before)).await;
        assert_eq!(after.rows().len(), rows, "{change}");
        assert_eq!(after.position(), read(source.as_ref(), &place.cx, None).await.position());
    }
    drop(first);
    assert!(place.spooled().is_empty(), "{:?}", place.spooled());
}

#[tokio::test]
async fn an_empty_table_has_its_columns() {
    let place = place_with("CREATE TABLE t (a INT, b DATE); CREATE TABLE u (c INT)").await;
    let done = read(table("t").as_ref(), &place.cx, None).await;
    assert_eq!((done.chunks.len(), done.rows().len()), (1, 0));
    assert_eq!(done.type_of("b"), "Date32");
    let by_cursor = with("u", json!({"cursor": "c"}));
    let empty = read(by_cursor.as_ref(), &place.cx, None).await;
    assert_eq!((empty.chunks.len(), empty.rows().len()), (1, 0));
    assert!(read(by_cursor.as_ref(), &place.cx, Some(&empty.position())).await.is_nothing());
    execute(&place, "INSERT INTO u VALUES (1)").await;
    assert_eq!(read(by_cursor.as_ref(), &place.cx, Some(&empty.position())).await.texts("c"), ["1"]);
}

#[tokio::test]
async fn a_cursor_neither_loses_nor_doubles_rows_with_equal_values() {
    let place = place_with(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME, note TEXT);
         INSERT INTO t VALUES (1, '2024-01-01 00:00:01', 'a'), (2, '2024-01-01 00:00:02', 'b'),
           (3, '2024-01-01 00:00:02', 'c'), (4, NULL, 'without'), (5, NULL, 'without');",
    )
    .await;
    let source = with("t", json!({"cursor": "at"}));
    let first = read(source.as_ref(), &place.cx, None).await;
    assert_eq!((first.rows().len(), first.scope()), (5, Scope::Snapshot));
    assert!(first.notes()[0].starts_with("2 rows have no `at`"), "{:?}", first.notes());
    let position = first.position();
    assert_eq!(position.read::<Value>().unwrap()["cursor"], "2024-01-01 00:00:02");
    assert!(read(source.as_ref(), &place.cx, Some(&position)).await.is_nothing());

    execute(
        &place,
        "INSERT INTO t VALUES (6, '2024-01-01 00:00:02', 'late, equal'), (7, '2024-01-01 00:00:03', 'new'),
           (8, '2024-01-01 00:00:01', 'too late'), (9, NULL, 'without');
         UPDATE t SET note = 'changed' WHERE id = 2;",
    )
    .await;
    let second = read(source.as_ref(), &place.cx, Some(&position)).await;
    assert_eq!(
        second.texts("id").into_iter().collect::<BTreeSet<_>>(),
        ["2", "6", "7"].map(String::from).into()
    );
    assert_eq!(second.scope(), Scope::Increment);
    assert!(second.notes()[0].starts_with("3 rows have no `at`, 2 had none"), "{:?}", second.notes());
    // A read that was broken off is done again: the same rows, the same position.
    let repeated = read(source.as_ref(), &place.cx, Some(&position)).await;
    assert_eq!((repeated.rows(), repeated.position()), (second.rows(), second.position()));
    assert!(read(source.as_ref(), &place.cx, Some(&second.position())).await.is_nothing());
}

#[tokio::test]
async fn a_position_is_of_no_use_for_anything_else() {
    let rows = "(id INTEGER PRIMARY KEY, at INTEGER); INSERT INTO";
    let place = place_with(&format!(
        "CREATE TABLE t {rows} t VALUES (1, 10), (2, 20), (3, 30); CREATE TABLE u {rows} u VALUES (1, 5), (2, 6);"
    ))
    .await;
    std::fs::copy(place.dir.path().join("shop.db"), place.dir.path().join("copy.db")).unwrap();
    let source_of = |more: Value| {
        let mut config = json!({"url": "sqlite:shop.db", "cursor": "at"});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        source(config)
    };
    let position = read(source_of(json!({"table": "t"})).as_ref(), &place.cx, None).await.position();
    for (more, rows) in [
        (json!({"table": "u"}), 2),
        (json!({"query": "SELECT * FROM t WHERE at < 25"}), 2),
        (json!({"table": "t", "url": "sqlite:copy.db"}), 3),
        (json!({"table": "t", "cursor": "id"}), 3),
        (json!({"table": "t", "lag": 100}), 3),
    ] {
        let changed = source_of(more.clone());
        let done = read(changed.as_ref(), &place.cx, Some(&position)).await;
        assert_eq!((done.rows().len(), done.scope()), (rows, Scope::Snapshot), "{more}");
        assert!(done.notes()[0].contains("is read from the beginning: `url`"), "{:?}", done.notes());
        assert!(read(changed.as_ref(), &place.cx, Some(&done.position())).await.is_nothing(), "{more}");
    }
    let source = source_of(json!({"table": "t"}));
    let mut of_another_type: Value = position.read().unwrap();
    of_another_type["type"] = json!("decimal");
    let whole = read(table("t").as_ref(), &place.cx, None).await;
    assert_eq!(whole.scope(), Scope::Snapshot);
    let written = |value: Value| Position::of(&value).unwrap();
    let of_nothing = [Value::Null, json!({"column": 1})].map(written);
    for unusable in [written(of_another_type), whole.position()].into_iter().chain(of_nothing) {
        let done = read(source.as_ref(), &place.cx, Some(&unusable)).await;
        assert_eq!((done.rows().len(), done.scope()), (3, Scope::Snapshot), "{unusable:?}");
        assert!(done.notes()[0].contains("is read from the beginning"), "{:?}", done.notes());
        assert_eq!(done.position(), position);
    }
    // And the whole table after a read by cursor.
    let done = read(table("t").as_ref(), &place.cx, Some(&position)).await;
    assert_eq!((done.rows().len(), done.scope()), (3, Scope::Snapshot));
}

#[tokio::test]
async fn a_lag_finds_late_rows() {
    let place = place_with(
        "CREATE TABLE t (id INTEGER, at TEXT); INSERT INTO t VALUES (1, '2024-01-01T00:00:00Z'),
           (2, '2024-01-01T01:00:00Z'), (3, '2024-01-01T02:00:00Z');",
    )
    .await;
    for (cursor, lag) in [("at", json!("90m")), ("id", json!(1))] {
        let source = with("t", json!({"cursor": cursor, "lag": lag}));
        let position = read(source.as_ref(), &place.cx, None).await.position();
        execute(&place, "INSERT INTO t VALUES (2, '2024-01-01T00:30:00Z')").await;
        let second = read(source.as_ref(), &place.cx, Some(&position)).await;
        assert_eq!(second.texts("at"), ["2024-01-01T00:30:00Z"], "{cursor}");
        assert!(read(source.as_ref(), &place.cx, Some(&second.position())).await.is_nothing());
        execute(&place, "DELETE FROM t WHERE at = '2024-01-01T00:30:00Z'").await;
    }
    let wrong = with("t", json!({"cursor": "id", "lag": "1h"}));
    assert_eq!(fail(wrong.as_ref(), &place.cx).await.code(), codes::CONFIG);
}

#[tokio::test]
async fn a_new_column_does_not_bring_the_newest_rows_again() {
    let place = place_with("CREATE TABLE t (id INT, at INT); INSERT INTO t VALUES (1, 10), (2, 10);").await;
    let source = with("t", json!({"cursor": "at"}));
    let position = read(source.as_ref(), &place.cx, None).await.position();
    execute(&place, "ALTER TABLE t ADD COLUMN city TEXT DEFAULT 'Lima'").await;
    assert!(read(source.as_ref(), &place.cx, Some(&position)).await.is_nothing());
    execute(&place, "INSERT INTO t VALUES (3, 10, 'Quito')").await;
    let done = read(source.as_ref(), &place.cx, Some(&position)).await;
    assert_eq!(done.texts("city"), ["Quito"]);
    execute(&place, "ALTER TABLE t DROP COLUMN id").await;
    let done = read(source.as_ref(), &place.cx, Some(&done.position())).await;
    assert!(done.notes().iter().any(|note| note.contains("may be read again")), "{:?}", done.notes());
}

#[tokio::test]
async fn mixed_cursor_values_are_ordered_by_type_and_bytes() {
    let place = place_with(
        "CREATE TABLE t (c COLLATE NOCASE); INSERT INTO t VALUES (1), (2.5), ('b'), ('B'), (x'00');",
    )
    .await;
    let source = with("t", json!({"cursor": "c"}));
    let first = read(source.as_ref(), &place.cx, None).await;
    assert_eq!(first.position().read::<Value>().unwrap()["cursor"], "b");
    execute(&place, "INSERT INTO t VALUES (99), ('a'), ('Bz'), ('b'), ('c')").await;
    let second = read(source.as_ref(), &place.cx, Some(&first.position())).await;
    assert_eq!(second.texts("c"), ["b", "c"]);
}

#[tokio::test]
async fn names_are_only_names() {
    let place = Place::new();
    let mut connection = open(&place).await;
    for name in ["or\"ders; DROP TABLE x; --", "a.b", "Straße 😀", "select", "it's", "100%"] {
        let quoted = name.replace('"', "\"\"");
        let sql = format!(
            "CREATE TABLE \"{quoted}\" (\"{quoted}\" INTEGER PRIMARY KEY, \"b\"\"; --\" TEXT); INSERT INTO \"{quoted}\" VALUES (1, 'x');"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        let source = with(name, json!({"cursor": name, "split": {"by": "b\"; --"}}));
        let done = read(source.as_ref(), &place.cx, None).await;
        assert_eq!(done.texts(name), ["1"], "{name}");
        assert!(read(source.as_ref(), &place.cx, Some(&done.position())).await.is_nothing());
    }
}

#[tokio::test]
async fn what_is_missing_is_named_with_a_suggestion() {
    let place =
        place_with("CREATE TABLE orders (id INT, updated_at TEXT); CREATE VIEW sales AS SELECT 1 AS x;")
            .await;
    let show = |error: &Error| format!("{} / {}", error.message(), error.hint_text().unwrap_or_default());
    for (source, code, part) in [
        (table("ordrs"), codes::DATABASE, "did you mean `orders`?"),
        (table("zzzzzzzz"), codes::DATABASE, "its tables are orders, sales"),
        (with("orders", json!({"cursor": "update_at"})), codes::DATABASE, "did you mean `updated_at`?"),
        (
            with("orders", json!({"split": {"by": "nothing"}})),
            codes::DATABASE,
            "the columns are id, updated_at",
        ),
        (query("SELECT * FROM nowhere"), codes::DATABASE, "no such table: nowhere"),
        (query("SELECT 1 AS a, 2 AS a"), codes::DATABASE, "two columns are called `a`"),
        (query("SELECT 1; SELECT 2"), codes::DATABASE, "syntax error"),
        (source(json!({"url": "sqlite:gone.db", "table": "t"})), codes::SOURCE_MISSING, "gone.db"),
        (source(json!({"url": "sqlite:spool", "table": "t"})), codes::SOURCE_IO, "not a file"),
    ] {
        let error = fail(source.as_ref(), &place.cx).await;
        assert_eq!(error.code(), code, "{error}");
        assert!(show(&error).contains(part), "{}", show(&error));
    }
    std::fs::write(
        place.dir.path().join("text.db"),
        "this is no database, but it is long enough to have a header ".repeat(20),
    )
    .unwrap();
    let error = fail(source(json!({"url": "sqlite:text.db", "table": "t"})).as_ref(), &place.cx).await;
    assert!(error.hint_text().is_some_and(|hint| hint.contains("SQLite")), "{}", show(&error));
    assert!(place.spooled().is_empty());
}

#[tokio::test]
async fn a_query_and_a_view_are_tables_too() {
    let place = place_with(
        "CREATE TABLE t (id INTEGER, price DECIMAL(8,2)); INSERT INTO t VALUES (1, 2.5), (2, 3);
         CREATE VIEW v AS SELECT id, price, id * 2 AS twice, 'x' || id AS label FROM t;",
    )
    .await;
    for source in
        [table("v"), query("SELECT id, price, id * 2 AS twice, 'x' || id AS label FROM t -- all of it;")]
    {
        let done = read(source.as_ref(), &place.cx, None).await;
        let types: Vec<String> = done.schema().fields().iter().map(|f| f.data_type().to_string()).collect();
        assert_eq!(types, ["Int64", "Decimal128(8, 2)", "Int64", "Utf8"]);
        assert_eq!(done.texts("label"), ["x1", "x2"]);
    }
    let only_new = source(json!({"url": "sqlite:shop.db", "query": "SELECT * FROM t", "cursor": "id"}));
    let position = read(only_new.as_ref(), &place.cx, None).await.position();
    execute(&place, "INSERT INTO t VALUES (3, 1)").await;
    assert_eq!(read(only_new.as_ref(), &place.cx, Some(&position)).await.texts("id"), ["3"]);
}

#[tokio::test]
async fn a_big_table_passes_in_files_of_the_asked_size() {
    let place = place_with(
        "CREATE TABLE big (id INTEGER PRIMARY KEY, name TEXT, x REAL);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)
         INSERT INTO big SELECT i, 'row ' || i, i / 2.0 FROM n;",
    )
    .await;
    let source = with("big", json!({"split": {"by": "id", "rows": 60000}}));
    let done = read(source.as_ref(), &place.cx, None).await;
    let rows: Vec<u64> = done.chunks.iter().map(|chunk| chunk.file.rows.unwrap()).collect();
    assert_eq!(rows, [60_000, 60_000, 60_000, 20_000]);
    let ids: Vec<u64> = done.texts("id").iter().map(|id| id.parse().unwrap()).collect();
    assert!(ids.iter().copied().eq(1..=200_000));
    assert!(read(source.as_ref(), &place.cx, Some(&done.position())).await.is_nothing());
}

#[tokio::test]
async fn a_read_sees_one_state_and_does_not_write() {
    let place =
        place_with("PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT);").await;
    let mut writer = open(&place).await;
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000) INSERT INTO t SELECT i, 'old' FROM n";
    sqlx::raw_sql(sql).execute(&mut writer).await.unwrap();
    let source = with("t", json!({"split": {"rows": 1000}}));
    let (out, mut chunks) = lagar_connectors::Chunks::channel(1);
    let cx = place.cx.clone();
    let reading = tokio::spawn(async move { source.read(&cx, None, &out).await });
    // The reader is in the middle of the table, because nobody takes its files, when the writer commits.
    let mut all = vec![chunks.recv().await.unwrap()];
    sqlx::raw_sql("UPDATE t SET x = 'new'; INSERT INTO t VALUES (99999, 'new')")
        .execute(&mut writer)
        .await
        .unwrap();
    while let Some(chunk) = chunks.recv().await {
        all.push(chunk);
    }
    let outcome = reading.await.unwrap().unwrap();
    let done = crate::support::Done { outcome, chunks: all };
    assert_eq!(done.rows().len(), 30_000);
    assert!(done.texts("x").iter().all(|x| x == "old"));
    let error = fail(query("WITH x AS (SELECT 1) DELETE FROM t").as_ref(), &place.cx).await;
    assert_eq!(error.code(), codes::DATABASE, "{error}");
    let (left,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM t").fetch_one(&mut writer).await.unwrap();
    assert_eq!(left, 30_001);
}

#[tokio::test]
async fn a_stopped_run_stops_the_read() {
    let place = place_with("CREATE TABLE t (id INT); INSERT INTO t VALUES (1)").await;
    place.cx.cancel.cancel();
    let error = try_read(table("t").as_ref(), &place.cx, None).await.err().unwrap();
    assert_eq!(error.code(), codes::STOPPED);
}

#[tokio::test]
async fn text_that_is_not_utf8_is_rejected() {
    let place = place_with(
        "CREATE TABLE t (id INT, x TEXT); INSERT INTO t VALUES (1, CAST(x'61ff' AS TEXT)), (2, 'b')",
    )
    .await;
    let done = read(table("t").as_ref(), &place.cx, None).await;
    assert_eq!(done.texts("id"), ["2"]);
    assert_eq!(done.chunks[0].rejects[0].reason, "not UTF-8");
}
