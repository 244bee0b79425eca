//! S6: a database that stops answering, hangs up, or ends a statement, in the middle of a read.

use std::time::Duration;

use lagar_connectors::Chunks;
use lagar_flow::{Code, Error, codes};
use lagar_testing::{Battery, Break, Proxy};
use serde_json::{Value, json};

use super::{Database, Dialect};
use crate::support::{Place, fail, read, source};

/// Rows of [`filled`] that do not fit into the buffers between a server and a reader that has stopped.
const MORE_THAN_BUFFERS: usize = 2000;

/// So many rows of 10 kB.
async fn filled(dialect: Dialect, name: &str, rows: usize) -> Option<Database> {
    let mut database = Database::open(dialect, name).await?;
    let series = dialect
        .of([
            format!("SELECT i, repeat(md5(i::text), 320) FROM generate_series(1, {rows}) i").as_str(),
            format!("SELECT seq, REPEAT(MD5(seq), 320) FROM seq_1_to_{rows}").as_str(),
            "",
        ])
        .to_owned();
    database
        .execute(&format!("CREATE TABLE t (id integer PRIMARY KEY, x text); INSERT INTO t {series}"))
        .await;
    Some(database)
}

impl Database {
    /// The table `t` through a wire that breaks after so many bytes.
    fn behind(&self, proxy: &Proxy, more: Value) -> Box<dyn lagar_connectors::Source> {
        let url = self.address(|url| url.set_port(Some(proxy.port())).unwrap());
        let mut config = json!({"url": url, "retry": {"attempts": 2, "wait": "10ms"}});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.table("t", config)
    }

    fn server(&self) -> String {
        let url = url::Url::parse(&self.url).unwrap();
        format!("{}:{}", url.host_str().unwrap(), url.port().unwrap())
    }
}

/// Nothing of a read that failed is left, and the next one has all rows.
async fn failed_whole(
    place: &Place,
    error: Error,
    code: Code,
    rows: u32,
    source: &dyn lagar_connectors::Source,
) {
    assert_eq!(error.code(), code, "{error}");
    assert!(error.hint_text().is_some(), "{error}");
    assert_eq!(place.spooled(), Vec::<std::path::PathBuf>::new());
    let mut ids: Vec<u32> =
        read(source, &place.cx, None).await.texts("id").iter().map(|id| id.parse().unwrap()).collect();
    ids.sort_unstable();
    assert!(ids.into_iter().eq(1..=rows));
}

#[tokio::test]
async fn a_connection_that_stalls_or_breaks_anywhere() {
    let mut battery = Battery::new("S6");
    for dialect in Dialect::SERVERS {
        let Some(database) = filled(dialect, "wire", 400).await else { continue };
        for (after, how, code) in [
            // Nothing at all, in the middle of the login, in the middle of the rows.
            (1, Break::Stall, codes::DATABASE_DOWN),
            (120, Break::Stall, codes::DATABASE_DOWN),
            (1_000_000, Break::Stall, codes::DEADLINE),
            (1, Break::Cut, codes::DATABASE_DOWN),
            (120, Break::Cut, codes::DATABASE_DOWN),
            (1_000_000, Break::Cut, codes::DATABASE_DOWN),
        ] {
            battery
                .case_async(&format!("{dialect:?}, {how:?} after {after} bytes"), async {
                    let proxy = Proxy::start(&database.server(), after, how);
                    let timeout =
                        json!({"timeout": {"connect": "700ms", "statement": "700ms"}, "split": {"rows": 50}});
                    let source = database.behind(&proxy, timeout);
                    let error = fail(source.as_ref(), &database.place.cx).await;
                    proxy.wait_until_reached();
                    if after > 1000 && how == Break::Cut {
                        assert!(error.message().contains("was lost"), "{error}");
                    }
                    proxy.heal();
                    let patient = database.behind(&proxy, json!({}));
                    failed_whole(&database.place, error, code, 400, patient.as_ref()).await;
                })
                .await;
        }
    }
}

/// The limits that an administrator sets, for a statement as a whole.
#[tokio::test]
async fn a_statement_that_takes_too_long_for_the_server() {
    let mut battery = Battery::new("S6");
    for dialect in Dialect::SERVERS {
        let Some(mut database) = Database::open(dialect, "limits").await else { continue };
        let setup = dialect.of([
            "DROP ROLE IF EXISTS lagar_hurried; CREATE ROLE lagar_hurried LOGIN PASSWORD 'hurry up'; ALTER ROLE lagar_hurried SET statement_timeout = '300ms'",
            "DROP USER IF EXISTS lagar_hurried; CREATE USER lagar_hurried IDENTIFIED BY 'hurry up' WITH MAX_STATEMENT_TIME 0.3; GRANT SELECT ON *.* TO lagar_hurried",
            "",
        ]);
        database.execute(setup).await;
        let url = database.address(|url| {
            url.set_username("lagar_hurried").unwrap();
            url.set_password(Some("hurry up")).unwrap();
        });
        // Before the first row, and between rows.
        let slow = dialect.of([
            [
                "SELECT pg_sleep(30)::text AS x",
                "SELECT i, repeat('x', 9999) || pg_sleep(0.002)::text AS x FROM generate_series(1, 9999) i",
            ],
            [
                "SELECT COUNT(*) AS n FROM seq_1_to_1000000 AS a, seq_1_to_1000000 AS b",
                "SELECT seq, REPEAT(IF(SLEEP(0.002), 'x', 'y'), 9999) AS x FROM seq_1_to_9999",
            ],
            ["", ""],
        ]);
        for sql in slow {
            battery
                .case_async(&format!("{dialect:?}, {sql}"), async {
                    let error =
                        fail(source(json!({"url": url, "query": sql})).as_ref(), &database.place.cx).await;
                    assert_eq!(error.code(), codes::DEADLINE, "{error}");
                    assert!(
                        error.message().contains(dialect.of(["statement timeout", "max_statement_time", ""])),
                        "{error}"
                    );
                    assert!(error.hint_text().unwrap().contains("by a limit of its own"));
                    assert!(database.place.spooled().is_empty());
                })
                .await;
        }
        // And our own limit for an answer.
        let mine = source(json!({"url": database.url, "query": slow[0], "timeout": {"statement": "200ms"}}));
        let error = fail(mine.as_ref(), &database.place.cx).await;
        assert_eq!(error.code(), codes::DEADLINE, "{error}");
        assert!(error.hint_text().unwrap().contains("timeout: {statement"));
    }
}

#[tokio::test]
async fn an_administrator_ends_the_session_in_the_middle() {
    let mut battery = Battery::new("S6");
    for dialect in Dialect::SERVERS {
        let Some(mut database) = filled(dialect, "ended", MORE_THAN_BUFFERS).await else { continue };
        let source = database.table("t", json!({"split": {"rows": 50}}));
        let (out, mut chunks) = Chunks::channel(1);
        let cx = database.place.cx.clone();
        let victim = match dialect {
            Dialect::Postgres => {
                "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE application_name = 'lagar' AND query LIKE '%lagar_ended%'"
            }
            _ => {
                "SELECT CONCAT('KILL CONNECTION ', id) FROM information_schema.processlist WHERE db = 'lagar_ended' AND id <> CONNECTION_ID()"
            }
        };
        battery
            .case_async(&format!("{dialect:?}"), async {
                let reading = tokio::spawn(async move { source.read(&cx, None, &out).await });
                // Nobody takes the second file, so that the read waits in the middle of the table.
                drop(chunks.recv().await.unwrap());
                let found = database.texts(victim).await;
                assert_eq!(found.len(), 1, "{found:?}");
                if dialect == Dialect::Mariadb {
                    database.execute(found[0][0].as_ref().unwrap()).await;
                }
                while chunks.recv().await.is_some() {}
                let error = reading.await.unwrap().unwrap_err();
                let again = database.table("t", json!({}));
                failed_whole(&database.place, error, codes::DATABASE_DOWN, 2000, again.as_ref()).await;
            })
            .await;
    }
}

/// MariaDB gives up a client that takes nothing for `net_write_timeout`; a lake may be slow for longer.
#[tokio::test]
async fn a_slow_lake_is_waited_for_by_mariadb() {
    let Some(mut database) = filled(Dialect::Mariadb, "patience", MORE_THAN_BUFFERS).await else { return };
    database.execute("SET GLOBAL net_write_timeout = 1").await;
    let source = database.table("t", json!({"split": {"rows": 50}}));
    let (out, mut chunks) = Chunks::channel(1);
    let cx = database.place.cx.clone();
    let reading = tokio::spawn(async move { source.read(&cx, None, &out).await });
    let mut rows = chunks.recv().await.unwrap().file.rows.unwrap();
    // Longer than the server's patience.
    tokio::time::sleep(Duration::from_secs(3)).await;
    while let Some(chunk) = chunks.recv().await {
        rows += chunk.file.rows.unwrap();
    }
    database.execute("SET GLOBAL net_write_timeout = 60").await;
    reading.await.unwrap().unwrap();
    assert_eq!(rows, 2000);
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
