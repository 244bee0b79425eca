//! One set of cases for all databases, as far as they can do the same.

mod cursors;
mod errors;
mod faults;
mod names;
mod snapshots;
mod types;
mod windows;

use lagar_connectors::Source;
use lagar_testing::env_number;
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};
use sqlx::{
    AssertSqlSafe, Connection as _, Decode, Executor, MySql, MySqlConnection, PgConnection, Row,
    SqliteConnection, ValueRef, mysql::MySqlRow, postgres::PgRow, sqlite::SqliteConnectOptions,
};

use crate::support::{Place, source};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Postgres,
    Mariadb,
    Sqlite,
}

impl Dialect {
    const ALL: [Self; 3] = [Self::Postgres, Self::Mariadb, Self::Sqlite];
    const SERVERS: [Self; 2] = [Self::Postgres, Self::Mariadb];

    /// The variable that says where the server is.
    fn variable(self) -> Option<&'static str> {
        match self {
            Dialect::Postgres => Some("POSTGRES_URL"),
            Dialect::Mariadb => Some("MARIADB_URL"),
            Dialect::Sqlite => None,
        }
    }

    /// Where the server is; `None`, which is said, where there is none.
    pub fn server(self) -> Option<url::Url> {
        let variable = self.variable()?;
        match std::env::var(variable) {
            Ok(url) => Some(url::Url::parse(&url).unwrap()),
            Err(_) => {
                println!("skipped: {variable} is not set");
                None
            }
        }
    }

    /// One of three, in the order of [`Dialect::ALL`].
    pub fn of<T: Copy>(self, all: [T; 3]) -> T {
        all[self as usize]
    }

    /// `name` as an identifier: not the product's way.
    pub fn quoted(self, name: &str) -> String {
        let mark = self.of(["\"", "`", "\""]);
        format!("{mark}{}{mark}", name.replace(mark, &mark.repeat(2)))
    }
}

/// What everything random here follows from.
fn seed() -> u64 {
    env_number("LAGAR_SEED").unwrap_or(1)
}

/// The line that repeats `test` of these.
fn replay(test: &str) -> String {
    lagar_testing::replay("lagar-connectors", "sql_databases", test, &[("LAGAR_SEED", seed())])
}

/// `count` values of `strategy`: the same ones for the same seed and `name`.
fn random(strategy: &impl Strategy<Value = String>, name: &str, count: usize) -> Vec<String> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed().to_le_bytes());
    for (place, byte) in bytes[8..].iter_mut().zip(name.bytes()) {
        *place = byte;
    }
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

pub enum Connection {
    Postgres(PgConnection),
    Mariadb(MySqlConnection),
    Sqlite(SqliteConnection),
}

/// A schema (Postgres), database (MariaDB) or file (SQLite) of its own for one test, and a place to work in.
pub struct Database {
    pub dialect: Dialect,
    pub place: Place,
    pub url: String,
    pub schema: String,
    pub connection: Connection,
}

impl Database {
    /// In every database that there is.
    pub async fn each(name: &str) -> Vec<Self> {
        let mut all = Vec::new();
        for dialect in Dialect::ALL {
            all.extend(Self::open(dialect, name).await);
        }
        all
    }

    /// `None` where no server was named.
    pub async fn open(dialect: Dialect, name: &str) -> Option<Self> {
        let place = Place::new();
        if dialect == Dialect::Sqlite {
            let file = place.dir.path().join("shop.db");
            let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
            let connection = Connection::Sqlite(SqliteConnection::connect_with(&options).await.unwrap());
            let (url, schema) = ("sqlite:shop.db".to_owned(), "main".to_owned());
            return Some(Self { dialect, place, url, schema, connection });
        }
        let mut url = dialect.server()?;
        let schema = format!("lagar_{name}");
        let connection = match dialect {
            Dialect::Postgres => Connection::Postgres(PgConnection::connect(url.as_str()).await.unwrap()),
            _ => Connection::Mariadb(MySqlConnection::connect(url.as_str()).await.unwrap()),
        };
        if dialect == Dialect::Mariadb {
            url.set_path(&schema);
        }
        let mut database = Self { dialect, place, url: url.into(), schema, connection };
        let schema = &database.schema;
        let fresh = dialect.of([
            format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}; SET search_path = {schema}, public").as_str(),
            // Bad values are stored as they come, and a backslash is a backslash.
            format!("DROP DATABASE IF EXISTS {schema}; CREATE DATABASE {schema} CHARACTER SET utf8mb4; USE {schema}; SET sql_mode = 'ALLOW_INVALID_DATES,NO_BACKSLASH_ESCAPES'").as_str(),
            "",
        ])
        .to_owned();
        database.execute(&fresh).await;
        Some(database)
    }

    pub async fn execute(&mut self, sql: &str) {
        let text = AssertSqlSafe(sql.to_owned());
        let done = match &mut self.connection {
            Connection::Postgres(c) => c.execute(sqlx::raw_sql(text)).await.map(|_| ()),
            Connection::Mariadb(c) => c.execute(sqlx::raw_sql(text)).await.map(|_| ()),
            Connection::Sqlite(c) => c.execute(sqlx::raw_sql(text)).await.map(|_| ()),
        };
        done.unwrap_or_else(|error| panic!("{:?}: {error}\n{:.500}", self.dialect, sql));
    }

    /// The rows as the server writes them itself: the text protocol of Postgres and MariaDB, SQLite's casts.
    pub async fn texts(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match &mut self.connection {
            Connection::Postgres(c) => c.fetch_all(query).await.unwrap().iter().map(postgres_texts).collect(),
            Connection::Mariadb(c) => c.fetch_all(query).await.unwrap().iter().map(mariadb_texts).collect(),
            Connection::Sqlite(c) => {
                let rows = c.fetch_all(query).await.unwrap();
                rows.iter().map(|row| (0..row.len()).map(|index| row.get(index)).collect()).collect()
            }
        }
    }

    pub fn table(&self, name: &str, more: Value) -> Box<dyn Source> {
        let name = match self.dialect {
            Dialect::Postgres => format!("{}.{name}", self.schema),
            _ => name.to_owned(),
        };
        self.source(json!({"table": name}), more)
    }

    pub fn query(&self, sql: &str) -> Box<dyn Source> {
        self.source(json!({"query": sql}), json!({}))
    }

    pub fn source(&self, what: Value, more: Value) -> Box<dyn Source> {
        let mut config = json!({"url": self.url});
        for part in [what, more] {
            config.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        }
        source(config)
    }

    /// The address with another login, port or parameters.
    pub fn address(&self, change: impl FnOnce(&mut url::Url)) -> String {
        let mut url = url::Url::parse(&self.url).unwrap();
        change(&mut url);
        url.into()
    }
}

fn postgres_texts(row: &PgRow) -> Vec<Option<String>> {
    let values = (0..row.len()).map(|index| row.try_get_raw(index).unwrap());
    values.map(|value| (!value.is_null()).then(|| value.as_str().unwrap().to_owned())).collect()
}

fn mariadb_texts(row: &MySqlRow) -> Vec<Option<String>> {
    // `is_null` takes zero dates for null; only null cannot be decoded as bytes.
    let values =
        (0..row.len()).map(|index| <&[u8] as Decode<MySql>>::decode(row.try_get_raw(index).unwrap()));
    values.map(|bytes| bytes.ok().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())).collect()
}
