//! S6: what goes wrong at the door is named, with what to do, and without a login.

use lagar_flow::{Code, codes};
use lagar_testing::{Battery, Service};
use serde_json::json;

use super::{Database, Dialect};
use crate::support::{Place, everything, fail, read, source, try_read};

#[tokio::test]
async fn what_is_missing_or_forbidden_is_named() {
    for dialect in Dialect::SERVERS {
        let Some(mut database) = Database::open(dialect, "errors").await else { continue };
        let schema = database.schema.clone();
        database.execute("CREATE TABLE orders (id integer)").await;
        let place = Place::new();
        let error = fail(database.table("ordrs", json!({})).as_ref(), &place.cx).await;
        let near = dialect
            .of([format!("did you mean `{schema}.orders`?").as_str(), "did you mean `orders`?", ""])
            .to_owned();
        assert_eq!((error.code(), error.hint_text()), (codes::DATABASE, Some(near.as_str())));
        let full = database.source(json!({"table": format!("{schema}.orders")}), json!({}));
        assert_eq!(read(full.as_ref(), &place.cx, None).await.rows().len(), 0);
        let error =
            fail(database.query(&format!("SELECT nothing FROM {schema}.orders")).as_ref(), &place.cx).await;
        assert!(error.message().contains("nothing"), "{error}");
        let forbidden = dialect.of([
            "WITH x AS (DELETE FROM lagar_errors.orders RETURNING *) SELECT * FROM x",
            "WITH x AS (SELECT 1) DELETE FROM lagar_errors.orders",
            "",
        ]);
        for sql in [forbidden, "SELECT 1; SELECT 2"] {
            assert_eq!(fail(database.query(sql).as_ref(), &place.cx).await.code(), codes::DATABASE, "{sql}");
        }
        let gone = database.address(|url| url.set_path("no_such_database"));
        let error = fail(source(json!({"url": gone, "table": "t"})).as_ref(), &place.cx).await;
        assert!(error.message().contains("no_such_database"), "{error}");
    }
}

#[tokio::test]
async fn a_refused_login_is_told_without_the_login() {
    const SECRET: &str = "hunter2/@x";
    let mut battery = Battery::new("S6");
    for dialect in Dialect::SERVERS {
        let Some(database) = Database::open(dialect, "logins").await else { continue };
        let place = Place::new();
        for (user, port, code) in [
            ("lagar", None, codes::AUTH),
            ("nobody_here", None, codes::AUTH),
            ("lagar", Some(1), codes::DATABASE_DOWN),
        ] {
            let url = database.address(|url| {
                url.set_username(user).unwrap();
                url.set_password(Some(SECRET)).unwrap();
                if port.is_some() {
                    url.set_port(port).unwrap();
                }
            });
            battery
                .case_async(&format!("{dialect:?}, {user}, {port:?}"), async {
                    let config = json!({"url": url, "table": "t", "retry": {"attempts": 2, "wait": "10ms"}});
                    let source = source(config);
                    let error = fail(source.as_ref(), &place.cx).await;
                    assert_eq!(error.code(), code, "{error}");
                    let shown = format!("{} {}", everything(&error), source.address());
                    for part in ["hunter2", "nobody_here", "lagar:"] {
                        assert!(!shown.contains(part), "{shown}");
                    }
                    assert!(error.hint_text().is_some());
                })
                .await;
        }
    }
}

#[tokio::test]
async fn encryption_that_a_server_demands() {
    let mut battery = Battery::new("S6");
    for (dialect, name) in [(Dialect::Postgres, "postgres"), (Dialect::Mariadb, "mariadb")] {
        if dialect.server().is_none() {
            continue;
        }
        let server = Service::start(name, &[("LAGAR_SERVICE_TLS", "1")]);
        let place = Place::new();
        let authority = server.variable(&format!("{}_CA", name.to_uppercase()));
        std::fs::copy(authority, place.dir.path().join("ca.pem")).unwrap();
        // The database itself says whether this connection is encrypted.
        let encrypted = dialect.of([
            "SELECT ssl::text AS x FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
            "SELECT CASE variable_value WHEN '' THEN 'false' ELSE 'true' END AS x FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher'",
            "",
        ]);
        type Wrong = Option<(Code, &'static str)>;
        let tries: [(&str, &str, Wrong); 9] = [
            ("localhost", "", None),
            ("localhost", "sslmode=require", None),
            ("localhost", "sslmode=verify-full&sslrootcert=ca.pem", None),
            ("127.0.0.1", "sslmode=verify-ca&sslrootcert=ca.pem", None),
            (
                "127.0.0.1",
                "sslmode=verify-full&sslrootcert=ca.pem",
                Some((codes::DATABASE_TLS, "by a name that the certificate has")),
            ),
            ("localhost", "sslmode=verify-full", Some((codes::DATABASE_TLS, "`sslrootcert=FILE`"))),
            ("localhost", "sslmode=verify-ca", Some((codes::DATABASE_TLS, "`sslrootcert=FILE`"))),
            ("localhost", "sslmode=disable", Some((codes::AUTH, "write `sslmode=require`"))),
            (
                "localhost",
                "sslmode=verify-full&sslrootcert=gone.pem",
                Some((codes::CONFIG, "a relative path starts at")),
            ),
        ];
        for (host, parameters, wrong) in tries {
            let mut url = url::Url::parse(server.variable(&format!("{}_URL", name.to_uppercase()))).unwrap();
            url.set_host(Some(host)).unwrap();
            url.set_query(Some(parameters));
            let source = source(json!({"url": url.as_str(), "query": encrypted}));
            battery
                .case_async(&format!("{dialect:?}, {host}, {parameters}"), async {
                    match (try_read(source.as_ref(), &place.cx, None).await, wrong) {
                        (Ok(done), None) => assert_eq!(done.texts("x"), ["true"]),
                        (Err(error), Some((code, hint))) => {
                            assert_eq!(error.code(), code, "{error}");
                            let hinted = error.hint_text().unwrap_or_default();
                            assert!(hinted.contains(hint), "{error}: {hinted}");
                            assert!(!everything(&error).contains("lagar:lagar"));
                        }
                        (Ok(_), Some(_)) => panic!("that was no error"),
                        (Err(error), None) => panic!("{error}"),
                    }
                })
                .await;
        }
    }
}

#[tokio::test]
async fn encryption_that_a_server_does_not_have() {
    for dialect in Dialect::SERVERS {
        let Some(database) = Database::open(dialect, "no_tls").await else { continue };
        let url = database.address(|url| url.set_query(Some("sslmode=require")));
        let error = fail(source(json!({"url": url, "query": "SELECT 1"})).as_ref(), &Place::new().cx).await;
        assert_eq!(error.code(), codes::DATABASE_TLS, "{error}");
        assert!(error.hint_text().unwrap().contains("sslmode=disable"), "{error}");
    }
}
