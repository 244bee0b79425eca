//! The database of the contract tests: a small SQLite file.

use lagar_connectors::kind;
use lagar_flow::Scope;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, SqliteConnection};

use crate::contract::Fixture;

/// A whole table.
pub fn table() -> Fixture {
    fixture(json!({"url": "sqlite:shop.db", "table": "orders"}))
}

/// The rows that are new by a column.
pub fn table_by_cursor() -> Fixture {
    fixture(json!({"url": "sqlite:shop.db", "table": "orders", "cursor": "id"}))
}

fn fixture(config: Value) -> Fixture {
    assert!(kind("sql").is_some());
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}?mode=rwc", dir.path().join("shop.db").display());
    // The fixtures are made inside and outside of async tests.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut database = SqliteConnection::connect(&url).await.unwrap();
            let rows = "CREATE TABLE orders (id INTEGER PRIMARY KEY, total REAL);
                        INSERT INTO orders VALUES (1, 2.5), (2, NULL);";
            database.execute(sqlx::AssertSqlSafe(rows)).await.unwrap();
            database.close().await.unwrap();
        });
    })
    .join()
    .unwrap();
    Fixture { kind: "sql", config, scope: Scope::Snapshot, secrets: Vec::new(), dir }
}
