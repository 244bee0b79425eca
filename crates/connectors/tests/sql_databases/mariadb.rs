use lagar_connectors::{Chunks, Source};
use lagar_flow::codes;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};

use crate::support::{Done, Place, everything, fail, only_row, read, source};

/// A database of its own for each test; `None` where no server was named.
struct Server {
    url: url::Url,
    connection: MySqlConnection,
}

impl Server {
    async fn new(database: &str) -> Option<Self> {
        let Ok(url) = std::env::var("MARIADB_URL") else {
            println!("skipped: MARIADB_URL is not set");
            return None;
        };
        let mut connection = MySqlConnection::connect(&url).await.unwrap();
        let sql = format!(
            "DROP DATABASE IF EXISTS {database}; CREATE DATABASE {database} CHARACTER SET utf8mb4; USE {database}; SET sql_mode = 'ALLOW_INVALID_DATES'"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        let mut url = url::Url::parse(&url).unwrap();
        url.set_path(database);
        Some(Self { url, connection })
    }

    async fn execute(&mut self, sql: &str) {
        self.connection.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await.unwrap();
    }

    fn table(&self, name: &str, more: Value) -> Box<dyn Source> {
        let mut config = json!({"url": self.url.as_str().replace("mysql:", "mariadb:"), "table": name});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        source(config)
    }

    fn query(&self, sql: &str) -> Box<dyn Source> {
        source(json!({"url": self.url.as_str(), "query": sql}))
    }

    fn other(&self, user: &str, password: &str, port: Option<u16>) -> String {
        let mut url = self.url.clone();
        url.set_username(user).unwrap();
        url.set_password(Some(password)).unwrap();
        if port.is_some() {
            url.set_port(port).unwrap();
        }
        url.to_string()
    }
}

#[tokio::test]
async fn every_type_has_its_arrow_type() {
    let Some(mut server) = Server::new("lagar_types").await else { return };
    let columns = [
        ("b", "tinyint(1)", "1", "Boolean", "true"),
        ("i1", "tinyint", "-128", "Int64", "-128"),
        ("u1", "tinyint unsigned", "255", "Int64", "255"),
        ("i2", "smallint", "-32768", "Int64", "-32768"),
        ("u2", "smallint unsigned", "65535", "Int64", "65535"),
        ("i3", "mediumint", "-8388608", "Int64", "-8388608"),
        ("u3", "mediumint unsigned", "16777215", "Int64", "16777215"),
        ("i4", "int", "-2147483648", "Int64", "-2147483648"),
        ("u4", "int unsigned", "4294967295", "Int64", "4294967295"),
        ("i8", "bigint", "-9223372036854775808", "Int64", "-9223372036854775808"),
        ("u8", "bigint unsigned", "18446744073709551615", "Decimal128(20, 0)", "18446744073709551615"),
        ("f4", "float", "1.5", "Float64", "1.5"),
        ("f8", "double", "0.1", "Float64", "0.1"),
        ("n", "decimal(12,3)", "-12345.678", "Decimal128(12, 3)", "-12345.678"),
        ("y", "year", "2024", "Int64", "2024"),
        ("bi", "bit(10)", "b'1000000001'", "Int64", "513"),
        ("c", "char(4)", "'ab'", "Utf8", "ab"),
        ("v", "varchar(9)", "'ñ\u{1F600}'", "Utf8", "ñ\u{1F600}"),
        ("vl", "varchar(9) CHARACTER SET latin1", "'ñ'", "Utf8", "ñ"),
        ("vb", "varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "'x'", "Utf8", "x"),
        ("t", "text", "'long'", "Utf8", "long"),
        ("lt", "longtext COLLATE utf8mb4_bin", "'long'", "Utf8", "long"),
        ("bn", "binary(2)", "x'00ff'", "Binary", "00ff"),
        ("vn", "varbinary(4)", "x'ff'", "Binary", "ff"),
        ("bl", "blob", "x'fe'", "Binary", "fe"),
        ("d", "date", "'2024-02-29'", "Date32", "2024-02-29"),
        ("dt", "datetime(6)", "'2024-01-02 03:04:05.123456'", "Timestamp(µs)", "2024-01-02T03:04:05.123456"),
        ("dt0", "datetime", "'2024-01-02'", "Timestamp(µs)", "2024-01-02T00:00:00"),
        ("ts", "timestamp NULL", "'2024-01-02 03:04:05'", "Timestamp(µs, \"UTC\")", "2024-01-02T01:04:05Z"),
        ("ti", "time(1)", "'-30:04:05.5'", "Utf8", "-30:04:05.5"),
        ("js", "json", "'{\"a\": 1}'", "Utf8", "{\"a\": 1}"),
        ("en", "enum('happy','sad')", "'sad'", "Utf8", "sad"),
        ("se", "set('a','b','c')", "'a,c'", "Utf8", "a,c"),
        (
            "ge",
            "point",
            "ST_GeomFromText('POINT(1 2)')",
            "Binary",
            "000000000101000000000000000000f03f0000000000000040",
        ),
        (
            "u",
            "uuid",
            "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'",
            "Utf8",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ),
        ("ip", "inet6", "'::1'", "Utf8", "::1"),
    ];
    let definitions: Vec<String> =
        columns.iter().map(|(name, kind, ..)| format!("`{name}` {kind}")).collect();
    let values: Vec<&str> = columns.iter().map(|(_, _, value, ..)| *value).collect();
    server.execute(&format!("CREATE TABLE t ({})", definitions.join(", "))).await;
    server.execute("SET time_zone = '+02:00'").await;
    server.execute(&format!("INSERT INTO t VALUES ({})", values.join(", "))).await;
    let place = Place::new();
    let table = read(server.table("t", json!({})).as_ref(), &place.cx, None).await;
    let query = read(server.query("SELECT * FROM t -- all").as_ref(), &place.cx, None).await;
    for done in [&table, &query] {
        let row = only_row(done);
        for (name, kind, _, data_type, text) in &columns {
            assert_eq!(done.type_of(name), *data_type, "{kind}");
            assert_eq!(row[*name].as_deref(), Some(*text), "{kind}");
        }
        assert!(done.notes().is_empty(), "{:?}", done.notes());
    }
    server.execute("DELETE FROM t; INSERT INTO t (b) VALUES (NULL)").await;
    let nulls = read(server.table("t", json!({})).as_ref(), &place.cx, Some(&table.position())).await;
    assert!(nulls.rows()[0].iter().all(Option::is_none));
    let sum = read(
        server.query("SELECT SUM(n) AS total, COUNT(*) AS c, 'a' || 'b' AS `or` FROM t").as_ref(),
        &place.cx,
        None,
    )
    .await;
    assert_eq!((sum.type_of("total"), sum.type_of("c")), ("Utf8".into(), "Int64".into()));
    assert_eq!(sum.texts("or"), ["0"], "the server's own meaning of || is kept");
    assert!(sum.notes()[0].contains("`total`"), "{:?}", sum.notes());
}

#[tokio::test]
async fn zero_dates_become_null_with_one_note() {
    let Some(mut server) = Server::new("lagar_zero").await else { return };
    server
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, d date, dt datetime, at datetime NOT NULL, small tinyint(1));
             INSERT INTO t VALUES (1, '0000-00-00', '0000-00-00 00:00:00', '0000-00-00', 1), (2, '0000-00-00', NULL, '0000-00-00', 0),
               (3, '2024-00-00', NULL, '0000-00-00', 0), (4, '2024-02-31', NULL, '0000-00-00', 0), (5, NULL, NULL, '0000-00-00', 7)",
        )
        .await;
    let place = Place::new();
    let done = read(server.table("t", json!({})).as_ref(), &place.cx, None).await;
    assert_eq!(done.texts("id"), ["1", "2"]);
    assert_eq!(done.column("d"), [None, None]);
    let reasons: Vec<&str> = done.chunks[0].rejects.iter().map(|reject| reject.reason.as_str()).collect();
    assert_eq!(reasons, ["not a day of the calendar", "not a day of the calendar", "not a boolean"]);
    let notes = done.notes();
    assert!(notes.contains(&"`d`: 2 zero dates (0000-00-00) became null".to_owned()), "{notes:?}");
    assert_eq!(notes.len(), 3);
    // A cursor that has no date yet does not bring the same rows again and again.
    let source = server.table("t", json!({"cursor": "at"}));
    let first = read(source.as_ref(), &place.cx, None).await;
    assert!(read(source.as_ref(), &place.cx, Some(&first.position())).await.is_nothing());
    server.execute("UPDATE t SET at = '2024-01-01' WHERE id = 2").await;
    let second = read(source.as_ref(), &place.cx, Some(&first.position())).await;
    assert_eq!(second.texts("id"), ["2"]);
}

#[tokio::test]
async fn snapshots_and_cursors_of_every_type() {
    let Some(mut server) = Server::new("lagar_cursors").await else { return };
    server
        .execute(
            "CREATE TABLE t (id bigint, u bigint unsigned, n decimal(10,2), d date, dt datetime(6), ts timestamp(6) NULL, x varchar(9) CHARACTER SET latin1, f double);
             INSERT INTO t SELECT seq, 18446744073709551600 + seq, seq / 4, '2024-01-01' + INTERVAL seq DAY,
               '2024-01-01' + INTERVAL seq MICROSECOND, '2024-01-01' + INTERVAL seq MICROSECOND, CHAR(96 + seq), seq / 8 FROM seq_1_to_9",
        )
        .await;
    let place = Place::new();
    let whole = server.table("t", json!({}));
    let snapshot = read(whole.as_ref(), &place.cx, None).await;
    assert!(read(whole.as_ref(), &place.cx, Some(&snapshot.position())).await.is_nothing());
    for cursor in ["id", "u", "n", "d", "dt", "ts", "x", "f"] {
        let source = server.table("t", json!({"cursor": cursor}));
        let first = read(source.as_ref(), &place.cx, None).await;
        assert_eq!(first.rows().len(), 9, "{cursor}");
        assert!(read(source.as_ref(), &place.cx, Some(&first.position())).await.is_nothing(), "{cursor}");
        server
            .execute("INSERT INTO t SELECT IF(@id, id, id), u, n, d, dt, ts, x, f FROM t WHERE id = 9")
            .await;
        server.execute("INSERT INTO t SELECT 10, u + 1, n + 1, d + INTERVAL 1 DAY, dt + INTERVAL 1 MICROSECOND, ts + INTERVAL 1 MICROSECOND, 'ñ', f + 1 FROM t WHERE id = 9 LIMIT 1").await;
        server
            .execute("INSERT INTO t VALUES (0, 0, 0, '2000-01-01', '2000-01-01', '2000-01-01', 'I', 0)")
            .await;
        let second = read(source.as_ref(), &place.cx, Some(&first.position())).await;
        let mut ids = second.texts("id");
        ids.sort();
        assert_eq!(ids, ["10", "9"], "{cursor}: {:?}", first.position());
        assert!(read(source.as_ref(), &place.cx, Some(&second.position())).await.is_nothing(), "{cursor}");
        server.execute("DELETE FROM t WHERE id IN (0, 10); DELETE FROM t WHERE id = 9 LIMIT 1").await;
    }
    let lag = server.table("t", json!({"cursor": "x", "lag": 1}));
    assert_eq!(fail(lag.as_ref(), &place.cx).await.code(), codes::CONFIG);
}

#[tokio::test]
async fn a_writer_does_not_change_what_a_read_sees() {
    let Some(mut server) = Server::new("lagar_writer").await else { return };
    server.execute("CREATE TABLE t (id int PRIMARY KEY, x text) ENGINE=InnoDB; INSERT INTO t SELECT seq, REPEAT('old', 100) FROM seq_1_to_50000").await;
    let place = Place::new();
    let source = server.table("t", json!({"split": {"rows": 1000}}));
    let (out, mut chunks) = Chunks::channel(1);
    let cx = place.cx.clone();
    let reading = tokio::spawn(async move { source.read(&cx, None, &out).await });
    let mut all = vec![chunks.recv().await.unwrap()];
    server
        .execute(
            "UPDATE t SET x = 'new'; DELETE FROM t WHERE id % 2 = 0; INSERT INTO t VALUES (99999, 'new')",
        )
        .await;
    while let Some(chunk) = chunks.recv().await {
        all.push(chunk);
    }
    let done = Done { outcome: reading.await.unwrap().unwrap(), chunks: all };
    let rows = done.rows();
    assert_eq!(rows.len(), 50_000);
    assert!(rows.iter().all(|row| row[1].as_deref().unwrap().starts_with("old")));
}

#[tokio::test]
async fn errors_name_the_fault_and_no_login() {
    let Some(mut server) = Server::new("lagar_errors").await else { return };
    server.execute("CREATE TABLE orders (id int); CREATE TABLE `We``ird; DROP` (`a``b` int); INSERT INTO `We``ird; DROP` VALUES (5)").await;
    let place = Place::new();
    let weird = server.table("We`ird; DROP", json!({"cursor": "a`b"}));
    assert_eq!(read(weird.as_ref(), &place.cx, None).await.texts("a`b"), ["5"]);
    let full = server.table("lagar_errors.orders", json!({}));
    assert_eq!(read(full.as_ref(), &place.cx, None).await.rows().len(), 0);

    let error = fail(server.table("ordrs", json!({})).as_ref(), &place.cx).await;
    assert_eq!((error.code(), error.hint_text()), (codes::DATABASE, Some("did you mean `orders`?")));
    let error = fail(server.query("SELECT nothing FROM orders").as_ref(), &place.cx).await;
    assert!(error.message().contains("Unknown column 'nothing'"), "{error}");
    assert_eq!(fail(server.query("SELECT 1; SELECT 2").as_ref(), &place.cx).await.code(), codes::DATABASE);
    for (url, code) in [
        (server.other("lagar", "hunter2", None), codes::AUTH),
        (server.other("nobody_here", "hunter2", None), codes::AUTH),
        (server.other("lagar", "hunter2", Some(1)), codes::DATABASE_DOWN),
    ] {
        let source = source(json!({"url": url, "table": "t", "retry": {"attempts": 2, "wait": "10ms"}}));
        let error = fail(source.as_ref(), &place.cx).await;
        assert_eq!(error.code(), code, "{error}");
        let shown = format!("{} {}", everything(&error), source.address());
        for part in ["hunter2", "nobody_here", "lagar:"] {
            assert!(!shown.contains(part), "{shown}");
        }
    }
}
