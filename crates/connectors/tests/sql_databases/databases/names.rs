//! X3: whatever is in a name or a value, it stays one, and the server is told nothing else.

use std::fmt::Write as _;

use lagar_flow::{Position, codes};
use lagar_testing::{Battery, long};
use proptest::{
    prelude::any,
    sample::select,
    strategy::{Strategy, Union},
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor};

use super::{Connection, Database, Dialect, random};
use crate::support::{fail, read};

/// The log of MariaDB is one for all: one test after the other.
static LOG: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Strings that would like to be statements.
fn hostile(count: usize, name: &str) -> Vec<String> {
    let words = select(&[
        "\"",
        "`",
        "'",
        ";",
        "--",
        "/*",
        "*/",
        "\\",
        "\n",
        "\r",
        "\t",
        " ",
        "#",
        "$1",
        "$$",
        "?",
        ":x",
        "%s",
        "{}",
        ".",
        "q.",
        "; DROP TABLE canary; --",
        "\"; DROP TABLE canary; --",
        "`; DROP TABLE canary; -- ",
        "' OR '1'='1",
        "\u{FEFF}",
        "\u{202E}",
        "ñ",
        "\u{301}",
        "SELECT",
        "x",
    ] as &[&str]);
    let part = Union::new_weighted(vec![
        (4, words.prop_map(str::to_owned).boxed()),
        (1, any::<char>().prop_filter("no NUL", |c| *c != '\0').prop_map(String::from).boxed()),
    ]);
    let strings = proptest::collection::vec(part, 1..8).prop_map(|parts| parts.concat());
    random(&strings, name, count)
}

/// `text` as far as the database takes it for a name, with a number so that no two are equal.
fn name(dialect: Dialect, text: &str, number: usize) -> String {
    let mut name = String::new();
    // MariaDB has names in the first plane of Unicode only, and a table is a file with an escaped name.
    for c in text.chars().filter(|c| dialect != Dialect::Mariadb || *c <= '\u{FFFF}') {
        if name.len() + c.len_utf8() > 50 || name.chars().count() >= 25 {
            break;
        }
        name.push(c);
    }
    let _ = write!(name, "_{number}");
    name
}

impl Database {
    fn login(&self) -> String {
        format!("{}_login", self.schema)
    }
}

/// The login of the read, of whose statements the server keeps a log.
async fn watched(database: &mut Database) -> String {
    let (schema, login) = (database.schema.clone(), database.login());
    let sql = database.dialect.of([
        format!(
            "CREATE TABLE canary (id int); DROP ROLE IF EXISTS {login}; CREATE ROLE {login} LOGIN PASSWORD 'x'; ALTER ROLE {login} SET log_statement = 'all';
             GRANT USAGE ON SCHEMA {schema} TO {login}; ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT ALL ON TABLES TO {login}"
        )
        .as_str(),
        format!(
            "CREATE TABLE canary (id int); DROP USER IF EXISTS {login}; CREATE USER {login} IDENTIFIED BY 'x'; GRANT ALL ON {schema}.* TO {login};
             SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = ON"
        )
        .as_str(),
        "CREATE TABLE canary (id int)",
    ])
    .to_owned();
    database.execute(&sql).await;
    if database.dialect == Dialect::Sqlite {
        return database.url.clone();
    }
    database.address(|url| {
        url.set_username(&login).unwrap();
        url.set_password(Some("x")).unwrap();
    })
}

/// All statements of that login, as the server took them.
async fn log(database: &mut Database) -> Vec<String> {
    let login = database.login();
    match database.dialect {
        Dialect::Sqlite => Vec::new(),
        Dialect::Mariadb => {
            database.execute("SET GLOBAL general_log = OFF").await;
            let sql = format!(
                "SELECT CONVERT(argument USING utf8mb4) FROM mysql.general_log WHERE user_host LIKE '{login}%' AND command_type IN ('Query', 'Prepare', 'Execute')"
            );
            let rows = database.texts(&sql).await;
            database.execute("TRUNCATE mysql.general_log").await;
            rows.into_iter().map(|row| row[0].clone().unwrap()).collect()
        }
        Dialect::Postgres => {
            let rows = database.texts("SELECT pg_read_file(pg_current_logfile('csvlog'))").await;
            let text = rows[0][0].clone().unwrap();
            let mut lines =
                csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
            let mut statements = Vec::new();
            for line in lines.records() {
                let line = line.unwrap();
                // Columns: time, user, …, 11: severity, 12: SQL state, 13: message.
                let Some(message) = line
                    .get(13)
                    .filter(|_| line.get(1) == Some(login.as_str()) && line.get(11) == Some("LOG"))
                else {
                    continue;
                };
                for kind in ["statement: ", "execute "] {
                    if let Some(rest) = message.strip_prefix(kind) {
                        let at = if kind == "execute " { rest.find(": ").unwrap() + 2 } else { 0 };
                        statements.push(rest[at..].to_owned());
                    }
                }
            }
            statements
        }
    }
}

/// `sql` with `@` for every identifier in quotes and `'…'` for every text, in single blanks. What a
/// server's tokenizer would take for the end of a name ends it here, too.
fn skeleton(dialect: Dialect, sql: &str) -> String {
    let mark = dialect.of(['"', '`', '"']);
    let mut out = String::new();
    let mut chars = sql.chars().peekable();
    while let Some(c) = chars.next() {
        if c != mark && c != '\'' {
            if !c.is_whitespace() {
                out.push(c);
            } else if !out.ends_with(' ') {
                out.push(' ');
            }
            continue;
        }
        loop {
            match chars.next().unwrap_or_else(|| panic!("an open quote in {sql}")) {
                '\\' if c == '\'' && dialect == Dialect::Mariadb => drop(chars.next()),
                next if next != c => {}
                _ if chars.peek() == Some(&c) => drop(chars.next()),
                _ => break,
            }
        }
        out.push_str(if c == mark { "@" } else { "'…'" });
    }
    out.trim().to_owned()
}

/// The statements that a read consists of: those with names in them by their skeletons.
fn is_ours(dialect: Dialect, sql: &str) -> bool {
    let skeleton = skeleton(dialect, sql);
    let fixed: &[&str] = match dialect {
        Dialect::Postgres => &[
            "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL intervalstyle = '…'; SET LOCAL bytea_output = '…'",
            "SELECT n.nspname::text, c.relname::text, pg_catalog.pg_table_is_visible(c.oid) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('…', '…', '…', '…', '…') AND n.nspname NOT IN ('…', '…', '…') ORDER BY 1, 2",
            "SELECT a.attrelid, a.attnum, CASE t.typtype WHEN '…' THEN t.typtypmod ELSE a.atttypmod END FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid WHERE a.attrelid = ANY($1) AND a.attnum > 0",
            "SELECT oid, typname::text, typcategory = '…' FROM pg_catalog.pg_type WHERE oid = ANY($1)",
        ],
        _ => &[
            "SET SESSION net_write_timeout = 3600",
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
            "SELECT CAST(table_schema AS CHAR), CAST(table_name AS CHAR), CAST(table_schema = DATABASE() AS SIGNED) FROM information_schema.tables WHERE table_schema NOT IN ('…', '…', '…', '…') ORDER BY 1, 2",
            // The driver's own, at login.
            "SET time_zone='…',NAMES utf8mb4",
        ],
    };
    // The Postgres driver asks where columns come from, by numbers alone.
    let origins = skeleton.starts_with("SELECT attrelid table_oid, attrelid::regclass::text table_name, array_agg(ROW(attnum, attname)) AS columns FROM (VALUES (");
    if origins && dialect == Dialect::Postgres {
        return !skeleton.contains(['@', '\'', ';']);
    }
    if fixed.contains(&skeleton.as_str()) || skeleton == "SELECT * FROM @.@" {
        return true;
    }
    let Some((list, rest)) =
        skeleton.strip_prefix("SELECT ").and_then(|rest| rest.split_once(" FROM @.@ AS q"))
    else {
        return false;
    };
    let by = dialect.of(["q.@::text COLLATE @", "CAST(CONVERT(q.@ USING utf8mb4) AS BINARY)", ""]);
    let bound = dialect.of([["$1::text"; 2], ["CAST(? AS BINARY)", "CAST('…' AS BINARY)"], [""; 2]]);
    let rests = bound.map(|bound| format!(" WHERE {by} >= {bound} ORDER BY {by}"));
    let all = format!(" ORDER BY {by}");
    let listed = list.split(", ").all(|item| item == "q.@") || list == "COUNT(*)";
    let one =
        |rest: &str| rest == all || rests.iter().any(|known| known == rest) || rest == " WHERE q.@ IS NULL";
    // With `split.by` one column more orders the rows.
    listed && (one(rest) || rest.strip_suffix(", q.@").is_some_and(one))
}

async fn only_our_statements(database: &mut Database, reads: usize) {
    let statements = log(database).await;
    if database.dialect != Dialect::Sqlite {
        assert!(statements.len() >= reads * 4, "only {} statements in the log", statements.len());
    }
    for sql in statements {
        let skeleton = skeleton(database.dialect, &sql);
        assert!(is_ours(database.dialect, &sql), "not ours: {skeleton}\n{sql}");
    }
    // It is still there, and empty.
    assert!(database.texts("SELECT 'row' FROM canary").await.is_empty());
}

#[tokio::test]
async fn names_are_only_names() {
    let (tables, columns) = if long() { (100, 100) } else { (4, 60) };
    let mut battery = Battery::new("X3");
    let _alone = LOG.lock().await;
    for mut database in Database::each("names").await {
        let dialect = database.dialect;
        let url = watched(&mut database).await;
        for number in 0..tables {
            let strings = hostile(columns + 1, &format!("{dialect:?} {number}"));
            // Numbered through, so that no two tables are called alike.
            let first = number * (columns + 1);
            let names: Vec<String> =
                strings.iter().enumerate().map(|(n, text)| name(dialect, text, first + n)).collect();
            let (table, columns) = names.split_first().unwrap();
            battery
                .case_async(&format!("{dialect:?}, table {table:?}"), async {
                    // The first one is the cursor.
                    let definitions: Vec<String> = columns.iter().enumerate().map(|(n, name)| format!("{} {}", dialect.quoted(name), if n == 0 { "varchar(9)" } else { "integer" })).collect();
                    let values: Vec<String> = (0..columns.len()).map(|n| format!("'{n}'")).collect();
                    let quoted = dialect.quoted(table);
                    database.execute(&format!("CREATE TABLE {quoted} ({})", definitions.join(", "))).await;
                    database.execute(&format!("INSERT INTO {quoted} VALUES ({})", values.join(", "))).await;
                    let keys = json!({"url": url, "cursor": columns[0], "split": {"by": columns[columns.len() - 1]}});
                    let source = database.table(table, keys);
                    let done = read(source.as_ref(), &database.place.cx, None).await;
                    let schema = done.schema();
                    let found: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                    assert_eq!(found, columns.iter().map(String::as_str).collect::<Vec<_>>());
                    let expected: Vec<Option<String>> = (0..columns.len()).map(|n| Some(n.to_string())).collect();
                    assert_eq!(done.rows(), [expected]);
                    assert!(read(source.as_ref(), &database.place.cx, Some(&done.position())).await.is_nothing());
                })
                .await;
        }
        only_our_statements(&mut database, 2 * tables).await;
    }
}

#[tokio::test]
async fn values_of_a_cursor_are_only_values() {
    let count = if long() { 10_000 } else { 300 };
    let bounds = if long() { 1_000 } else { 30 };
    let mut battery = Battery::new("X3");
    let _alone = LOG.lock().await;
    for mut database in Database::each("values").await {
        let dialect = database.dialect;
        let url = watched(&mut database).await;
        let mut values = hostile(count, &format!("{dialect:?} values"));
        values.push("'); DROP TABLE canary; --".repeat(40_000));
        database
            .execute(&format!("CREATE TABLE t (id integer, x {})", dialect.of(["text", "longtext", "TEXT"])))
            .await;
        for (n, value) in values.iter().enumerate() {
            let sql = AssertSqlSafe(format!("INSERT INTO t VALUES ({n}, {})", dialect.of(["$1", "?", "?"])));
            match &mut database.connection {
                Connection::Postgres(c) => drop(c.execute(sqlx::query(sql).bind(value)).await.unwrap()),
                Connection::Mariadb(c) => drop(c.execute(sqlx::query(sql).bind(value)).await.unwrap()),
                Connection::Sqlite(c) => drop(c.execute(sqlx::query(sql).bind(value)).await.unwrap()),
            }
        }
        let source = database.table("t", json!({"url": url, "cursor": "x"}));
        let first = read(source.as_ref(), &database.place.cx, None).await;
        let stored: std::collections::BTreeMap<usize, String> =
            first.texts("id").iter().map(|id| id.parse().unwrap()).zip(first.texts("x")).collect();
        assert!(stored.values().eq(values.iter()), "{dialect:?}");
        // As if each value in turn had been the newest one.
        for (n, value) in values.iter().enumerate().rev().take(bounds) {
            battery
                .case_async(&format!("{dialect:?}, from {value:.100?}"), async {
                    let mut position: Value = first.position().read().unwrap();
                    position["cursor"] = json!(value);
                    position["from"] = json!(value);
                    position["boundary"] = json!([]);
                    let done =
                        read(source.as_ref(), &database.place.cx, Some(&Position::of(&position).unwrap()))
                            .await;
                    let mut ids: Vec<usize> = done.texts("id").iter().map(|id| id.parse().unwrap()).collect();
                    ids.sort_unstable();
                    let expected: Vec<usize> =
                        (0..values.len()).filter(|other| values[*other] >= *value).collect();
                    assert_eq!(ids, expected, "from value {n}");
                })
                .await;
        }
        only_our_statements(&mut database, bounds).await;
    }
}

/// Names that no database can have are not even asked for, and not repeated at length.
#[tokio::test]
async fn names_that_cannot_be_are_refused() {
    let mut battery = Battery::new("X3");
    for mut database in Database::each("no_names").await {
        database.execute("CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t VALUES (1)").await;
        for bad in ["a\0b".to_owned(), "\0".to_owned(), "\";--".repeat(250_000), "ñ".repeat(500_000)] {
            for key in ["cursor", "split", "table"] {
                battery
                    .case_async(&format!("{:?}, {key}, {bad:.20?}", database.dialect), async {
                        let source = match key {
                            "cursor" => database.table("t", json!({"cursor": bad})),
                            "split" => database.table("t", json!({"split": {"by": bad}})),
                            _ if bad.contains('\0') => return,
                            _ => database.table(&bad, json!({})),
                        };
                        let error = fail(source.as_ref(), &database.place.cx).await;
                        assert_eq!(error.code(), codes::DATABASE, "{:.300}", error.message());
                        assert!(error.message().len() < 1000, "{} bytes", error.message().len());
                    })
                    .await;
            }
        }
    }
}
