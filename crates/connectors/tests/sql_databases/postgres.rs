use std::sync::Arc;

use lagar_connectors::{Chunks, Source};
use lagar_flow::codes;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::support::{Done, Place, everything, fail, only_row, read, source};

/// A schema of its own for each test; `None` where no server was named.
struct Server {
    url: String,
    schema: &'static str,
    connection: PgConnection,
}

impl Server {
    async fn new(schema: &'static str) -> Option<Self> {
        let Ok(url) = std::env::var("POSTGRES_URL") else {
            println!("skipped: POSTGRES_URL is not set");
            return None;
        };
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let sql = format!(
            "DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}; SET search_path = {schema}"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        Some(Self { url, schema, connection })
    }

    async fn execute(&mut self, sql: &str) {
        self.connection.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await.unwrap();
    }

    fn table(&self, name: &str, more: Value) -> Box<dyn Source> {
        let mut config = json!({"url": self.url, "table": format!("{}.{name}", self.schema)});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        source(config)
    }

    fn query(&self, sql: &str) -> Box<dyn Source> {
        source(json!({"url": self.url, "query": sql}))
    }

    /// The server's address with another user info and port.
    fn other(&self, login: &str, port: Option<u16>) -> String {
        let mut url = url::Url::parse(&self.url).unwrap();
        let (user, password) = login.split_once(':').unwrap();
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
        ("b", "bool", "true", "Boolean", "true"),
        ("i2", "int2", "-32768", "Int64", "-32768"),
        ("i4", "int4", "2147483647", "Int64", "2147483647"),
        ("i8", "int8", "9223372036854775807", "Int64", "9223372036854775807"),
        ("f4", "float4", "1.5", "Float64", "1.5"),
        ("f8", "float8", "0.1", "Float64", "0.1"),
        ("nan", "float8", "'NaN'", "Float64", "NaN"),
        ("n", "numeric(12,3)", "-12345.678", "Decimal128(12, 3)", "-12345.678"),
        (
            "n38",
            "numeric(38,0)",
            "99999999999999999999999999999999999999",
            "Decimal128(38, 0)",
            "99999999999999999999999999999999999999",
        ),
        ("n50", "numeric(50,2)", "1.25", "Utf8", "1.25"),
        ("nn", "numeric", "3.14159265358979323846", "Utf8", "3.14159265358979323846"),
        ("nninf", "numeric", "'Infinity'", "Utf8", "Infinity"),
        ("price", "lagar_types.price", "9.99", "Decimal128(8, 2)", "9.99"),
        ("t", "text", "'ñ\u{1F600}'", "Utf8", "ñ\u{1F600}"),
        ("v", "varchar(5)", "'abc'", "Utf8", "abc"),
        ("c", "char(4)", "'ab'", "Utf8", "ab  "),
        ("nm", "name", "'x'", "Utf8", "x"),
        ("ch", "\"char\"", "'y'", "Utf8", "y"),
        ("by", "bytea", "'\\x00ff'", "Binary", "00ff"),
        ("d", "date", "'0044-03-15 BC'", "Date32", "-0043-03-15"),
        ("ts", "timestamp", "'2024-01-02 03:04:05.123456'", "Timestamp(µs)", "2024-01-02T03:04:05.123456"),
        ("tz", "timestamptz", "'2024-01-02 03:04:05+05'", "Timestamp(µs, \"UTC\")", "2024-01-01T22:04:05Z"),
        ("ti", "time", "'03:04:05.5'", "Utf8", "03:04:05.5"),
        ("iv", "interval", "'1 year 2 days'", "Utf8", "1 year 2 days"),
        ("ip", "inet", "'10.0.0.1/8'", "Utf8", "10.0.0.1/8"),
        ("ci", "cidr", "'10.0.0.0/8'", "Utf8", "10.0.0.0/8"),
        ("mac", "macaddr", "'08:00:2b:01:02:03'", "Utf8", "08:00:2b:01:02:03"),
        ("mo", "money", "12.5", "Utf8", "$12.50"),
        ("x", "xml", "'<a/>'", "Utf8", "<a/>"),
        ("tv", "tsvector", "'a b'", "Utf8", "'a' 'b'"),
        ("bi", "bit(3)", "B'101'", "Utf8", "101"),
        ("en", "lagar_types.mood", "'happy'", "Utf8", "happy"),
        ("ra", "int4range", "'[1,5)'", "Utf8", "[1,5)"),
        ("js", "json", "'{\"a\": [1, null]}'", "Utf8", "{\"a\": [1, null]}"),
        ("jb", "jsonb", "'{\"a\":1}'", "Utf8", "{\"a\": 1}"),
        (
            "u",
            "uuid",
            "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'",
            "Utf8",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ),
        ("ai", "int4[]", "'{{1,2},{3,NULL}}'", "Utf8", "[[1,2],[3,null]]"),
        ("at", "text[]", "ARRAY['a,\"b', NULL, 'NULL']", "Utf8", "[\"a,\\\"b\",null,\"NULL\"]"),
        (
            "ae",
            "lagar_types.mood[]",
            "ARRAY['happy','sad']::lagar_types.mood[]",
            "Utf8",
            "[\"happy\",\"sad\"]",
        ),
        ("co", "lagar_types.pair", "ROW(1,'x')", "Utf8", "(1,x)"),
        ("o", "oid", "4294967295", "Int64", "4294967295"),
    ];
    server
        .execute("CREATE TYPE mood AS ENUM ('happy', 'sad'); CREATE TYPE pair AS (a int, b text); CREATE DOMAIN price AS numeric(8,2) CHECK (VALUE >= 0)")
        .await;
    let definitions: Vec<String> =
        columns.iter().map(|(name, kind, ..)| format!("\"{name}\" {kind}")).collect();
    let values: Vec<&str> = columns.iter().map(|(_, _, value, ..)| *value).collect();
    server.execute(&format!("CREATE TABLE t ({})", definitions.join(", "))).await;
    server.execute(&format!("INSERT INTO t VALUES ({})", values.join(", "))).await;
    let place = Place::new();
    let table = read(server.table("t", json!({})).as_ref(), &place.cx, None).await;
    let query = read(server.query("SELECT * FROM lagar_types.t -- all").as_ref(), &place.cx, None).await;
    for done in [&table, &query] {
        let row = only_row(done);
        for (name, kind, _, data_type, text) in &columns {
            assert_eq!(done.type_of(name), *data_type, "{kind}");
            assert_eq!(row[*name].as_deref(), Some(*text), "{kind}");
        }
        let notes = done.notes();
        assert_eq!(notes.len(), 3, "{notes:?}");
        assert!(notes.iter().all(|note| note.contains("without a known precision")), "{notes:?}");
    }
    // All null, once more.
    server.execute("DELETE FROM t; INSERT INTO t (b) VALUES (NULL)").await;
    let nulls = read(server.table("t", json!({})).as_ref(), &place.cx, Some(&table.position())).await;
    assert!(nulls.rows()[0].iter().all(Option::is_none));
}

#[tokio::test]
async fn what_no_column_can_hold_is_rejected() {
    let Some(mut server) = Server::new("lagar_rejects").await else { return };
    server
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, d date, ts timestamp, tz timestamptz, n numeric(5,2));
             INSERT INTO t VALUES (1, '2024-01-01', now(), now(), 1), (2, 'infinity', NULL, NULL, NULL),
               (3, NULL, '-infinity', NULL, NULL), (4, NULL, NULL, 'infinity', NULL), (5, NULL, NULL, NULL, 'NaN')",
        )
        .await;
    let mut place = Place::new();
    let done = read(server.table("t", json!({})).as_ref(), &place.cx, None).await;
    assert_eq!(done.texts("id"), ["1"]);
    let rejects: Vec<(u64, String, String)> = done.chunks[0]
        .rejects
        .iter()
        .map(|reject| (reject.row, reject.column.clone().unwrap(), reject.reason.clone()))
        .collect();
    let expected =
        [(2, "d", "infinite"), (3, "ts", "infinite"), (4, "tz", "infinite"), (5, "n", "not a decimal(5,2)")];
    assert_eq!(rejects, expected.map(|(row, column, reason)| (row, column.to_owned(), reason.to_owned())));
    // As text they can be had.
    for column in ["d", "ts", "tz", "n"] {
        place.ask(column, "text");
    }
    let done = read(server.table("t", json!({})).as_ref(), &place.cx, None).await;
    assert_eq!(done.column("d")[1].as_deref(), Some("infinity"));
    assert_eq!(done.column("n")[4].as_deref(), Some("NaN"));
}

#[tokio::test]
async fn snapshots_and_cursors_of_every_type() {
    let Some(mut server) = Server::new("lagar_cursors").await else { return };
    server
        .execute(
            "CREATE TABLE t (id int8, i2 int2, n numeric(10,2), d date, ts timestamp, tz timestamptz, x text COLLATE \"en-x-icu\", u uuid, f float8, loose numeric);
             INSERT INTO t SELECT i, i, i / 4.0, '2024-01-01'::date + i, '2024-01-01'::timestamp + i * interval '1 microsecond',
               '2024-01-01 00:00Z'::timestamptz + i * interval '1 microsecond', chr(64 + i),
               lpad(i::text, 32, '0')::uuid, i / 8.0, i FROM generate_series(1, 9) i",
        )
        .await;
    let mut place = Place::new();
    let whole = server.table("t", json!({}));
    let snapshot = read(whole.as_ref(), &place.cx, None).await;
    assert!(read(whole.as_ref(), &place.cx, Some(&snapshot.position())).await.is_nothing());
    place.cx.known = Some(Arc::new(snapshot.schema()));
    for cursor in ["id", "i2", "n", "d", "ts", "tz", "x", "u", "f"] {
        let source = server.table("t", json!({"cursor": cursor}));
        let first = read(source.as_ref(), &place.cx, None).await;
        assert_eq!(first.rows().len(), 9, "{cursor}");
        assert!(read(source.as_ref(), &place.cx, Some(&first.position())).await.is_nothing(), "{cursor}");
        server
            .execute("INSERT INTO t SELECT id + 100, i2, n, d, ts, tz, x, u, f, loose FROM t WHERE id = 9")
            .await;
        server.execute("INSERT INTO t SELECT 110, i2 + 1, n + 1, d + 1, ts + interval '1 us', tz + interval '1 us', 'a', lpad('10', 32, '0')::uuid, f + 1, 1 FROM t WHERE id = 9").await;
        server.execute("INSERT INTO t VALUES (0, 0, 0, '2000-01-01', '2000-01-01', '2000-01-01', 'A', lpad('1', 32, '0')::uuid, 0, 0)").await;
        let second = read(source.as_ref(), &place.cx, Some(&first.position())).await;
        let mut ids = second.texts("id");
        ids.sort();
        assert_eq!(ids, ["109", "110"], "{cursor}: {:?}", first.position());
        assert!(read(source.as_ref(), &place.cx, Some(&second.position())).await.is_nothing(), "{cursor}");
        server.execute("DELETE FROM t WHERE id = 0 OR id > 100").await;
    }
    let error = fail(server.table("t", json!({"cursor": "loose"})).as_ref(), &place.cx).await;
    assert_eq!(error.code(), codes::DATABASE_TYPE, "{error}");
}

#[tokio::test]
async fn an_infinite_time_is_not_the_newest_one() {
    let Some(mut server) = Server::new("lagar_infinite").await else { return };
    server.execute("CREATE TABLE t (id int, at timestamptz); INSERT INTO t VALUES (1, '2024-01-01Z'), (2, 'infinity'), (3, NULL)").await;
    let place = Place::new();
    let source = server.table("t", json!({"cursor": "at", "lag": "1h"}));
    let first = read(source.as_ref(), &place.cx, None).await;
    assert_eq!((first.texts("id").len(), first.reject_count()), (2, 1));
    assert_eq!(first.position().0["cursor"], "2024-01-01T00:00:00Z");
    server.execute("INSERT INTO t VALUES (4, '2023-12-31 23:30Z'), (5, '2024-01-02Z')").await;
    let second = read(source.as_ref(), &place.cx, Some(&first.position())).await;
    assert_eq!(second.texts("id"), ["4", "5"]);
    assert_eq!(second.reject_count(), 0);
    assert!(read(source.as_ref(), &place.cx, Some(&second.position())).await.is_nothing());
}

#[tokio::test]
async fn a_writer_does_not_change_what_a_read_sees() {
    let Some(mut server) = Server::new("lagar_writer").await else { return };
    server.execute("CREATE TABLE t (id int PRIMARY KEY, x text); INSERT INTO t SELECT i, repeat('old', 100) FROM generate_series(1, 50000) i").await;
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
    assert_eq!(done.chunks.len(), 50);
    let rows = done.rows();
    assert_eq!(rows.len(), 50_000);
    assert!(rows.iter().all(|row| row[1].as_deref().unwrap().starts_with("old")));
}

#[tokio::test]
async fn errors_name_the_fault_and_no_login() {
    let Some(mut server) = Server::new("lagar_errors").await else { return };
    server.execute("CREATE TABLE orders (id int); CREATE TABLE \"Weird \"\"; DROP\" (\"a\"\"b\" int); INSERT INTO \"Weird \"\"; DROP\" VALUES (5)").await;
    let place = Place::new();
    let weird = server.table("Weird \"; DROP", json!({"cursor": "a\"b"}));
    assert_eq!(read(weird.as_ref(), &place.cx, None).await.texts("a\"b"), ["5"]);

    let error = fail(server.table("ordrs", json!({})).as_ref(), &place.cx).await;
    assert_eq!(error.code(), codes::DATABASE);
    assert_eq!(error.hint_text(), Some("did you mean `lagar_errors.orders`?"));
    let error = fail(server.query("SELECT nothing FROM lagar_errors.orders").as_ref(), &place.cx).await;
    assert!(error.message().contains("column \"nothing\" does not exist"), "{error}");
    for forbidden in
        ["WITH x AS (DELETE FROM lagar_errors.orders RETURNING *) SELECT * FROM x", "SELECT 1; SELECT 2"]
    {
        assert_eq!(fail(server.query(forbidden).as_ref(), &place.cx).await.code(), codes::DATABASE);
    }

    let secret = "hunter2%2F%40x";
    for (url, code) in [
        (server.other(&format!("lagar:{secret}"), None), codes::AUTH),
        (server.other(&format!("nobody_here:{secret}"), None), codes::AUTH),
        (server.other(&format!("lagar:{secret}"), Some(1)), codes::DATABASE_DOWN),
    ] {
        let config = json!({"url": url, "table": "t", "retry": {"attempts": 2, "wait": "10ms"}});
        let source = source(config);
        let error = fail(source.as_ref(), &place.cx).await;
        assert_eq!(error.code(), code, "{error}");
        let shown = format!("{} {}", everything(&error), source.address());
        for part in ["hunter2", "nobody_here", "lagar:"] {
            assert!(!shown.contains(part), "{shown}");
        }
        assert!(error.hint_text().is_some());
    }
    let mut gone = url::Url::parse(&server.url).unwrap();
    gone.set_path("no_such_database");
    let error = fail(source(json!({"url": gone.as_str(), "table": "t"})).as_ref(), &place.cx).await;
    assert_eq!(
        (error.code(), error.hint_text()),
        (codes::DATABASE, Some("the last part of `url` names the database"))
    );
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let place = Place::new();
    for scheme in ["postgres", "mysql"] {
        let config = json!({"url": format!("{scheme}://u:p@127.0.0.1:{port}/d"), "table": "t",
            "timeout": {"connect": "100ms"}, "retry": {"attempts": 2, "wait": "1ms"}});
        let error = fail(source(config).as_ref(), &place.cx).await;
        assert_eq!(error.code(), codes::DATABASE_DOWN, "{error}");
    }
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_given_up() {
    let Some(server) = Server::new("lagar_slow").await else { return };
    let place = Place::new();
    let config =
        json!({"url": server.url, "query": "SELECT pg_sleep(30)", "timeout": {"statement": "200ms"}});
    let error = fail(source(config).as_ref(), &place.cx).await;
    assert_eq!(error.code(), codes::DEADLINE, "{error}");
}
