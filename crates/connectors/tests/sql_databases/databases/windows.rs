//! S3: windows hold each row once, whatever type the column has, and the rows at their edges too.

use chrono_tz::Tz;
use lagar_connectors::{Source, window::Asked};
use lagar_flow::{Position, Result, Scope, Window, codes};
use lagar_testing::Battery;
use serde_json::{Value, json};

use super::{Database, Dialect};
use crate::support::{Done, try_read_window};

/// Clocks are put forward on the 10th of March: it has 23 hours.
const ZONE: Tz = chrono_tz::America::New_York;

struct Column {
    types: [Option<&'static str>; 3],
    /// Rows of the 9th, 10th and 11th: the last moment of a day, and its first.
    values: [&'static [&'static str]; 3],
}

const COLUMNS: [Column; 4] = [
    Column {
        types: [Some("date"), Some("date"), Some("DATE")],
        values: [&["2024-03-09"], &["2024-03-10", "2024-03-10"], &["2024-03-11"]],
    },
    Column {
        types: [Some("timestamp"), Some("datetime(6)"), Some("DATETIME")],
        values: [
            &["2024-03-09 23:59:59.999999"],
            &["2024-03-10 00:00:00", "2024-03-10 00:00:00", "2024-03-10 23:59:59.999999"],
            &["2024-03-11 00:00:00"],
        ],
    },
    Column {
        types: [Some("timestamptz"), Some("timestamp(6) NULL"), None],
        values: [
            &["2024-03-10 04:59:59.999999"],
            &["2024-03-10 05:00:00", "2024-03-11 03:59:59.999999"],
            &["2024-03-11 04:00:00"],
        ],
    },
    Column {
        types: [None, None, Some("TEXT")],
        values: [
            &["2024-03-09T23:59:59.999Z", "2024-03-09 23:59"],
            &["2024-03-10", "2024-03-10T00:00:00", "2024-03-10 00:00:00", "2024-03-10T23:59:59.999999"],
            &["2024-03-11", "2024-03-11T00:00"],
        ],
    },
];

fn window(from: &str, to: &str) -> Window {
    Window { from: from.parse().unwrap(), to: to.parse().unwrap() }
}

fn day(day: usize) -> Window {
    window(&format!("2024-03-{day:02}T00:00:00"), &format!("2024-03-{:02}T00:00:00", day + 1))
}

fn by_window(size: &str) -> Value {
    json!({"window": {"column": "at", "size": size, "from": "2024-03-01"}})
}

impl Database {
    async fn within(&self, source: &dyn Source, window: Window, from: Option<&Position>) -> Result<Done> {
        try_read_window(source, &self.place.cx, &Asked::new(window, ZONE), from).await
    }
}

#[tokio::test]
async fn a_row_is_in_one_window_whatever_its_type() {
    let mut battery = Battery::new("S3");
    for column in COLUMNS {
        for mut database in Database::each("windows").await {
            let Some(kind) = column.types[database.dialect as usize] else { continue };
            let line = format!("{:?}, {kind}", database.dialect);
            battery.case_async(&line, edges(&mut database, &column, kind)).await;
        }
    }
}

async fn edges(database: &mut Database, column: &Column, kind: &str) {
    database.execute(&format!("CREATE TABLE t (id varchar(9), at {kind})")).await;
    let zone = if kind == "timestamptz" { "Z" } else { "" };
    for (place, values) in column.values.iter().enumerate() {
        for (n, value) in values.iter().enumerate() {
            let id = format!("{}-{n}", 9 + place);
            database.execute(&format!("INSERT INTO t VALUES ('{id}', '{value}{zone}')")).await;
        }
    }
    let source = database.table("t", by_window("1d"));
    for (place, values) in column.values.iter().enumerate() {
        let done = database.within(source.as_ref(), day(9 + place), None).await.unwrap();
        let mut ids = done.texts("id");
        ids.sort();
        let expected: Vec<String> = (0..values.len()).map(|n| format!("{}-{n}", 9 + place)).collect();
        assert_eq!((ids, done.scope()), (expected, Scope::Window), "{kind}");
        assert!(done.notes().is_empty(), "{:?}", done.notes());
        let again = database.within(source.as_ref(), day(9 + place), Some(&done.position())).await.unwrap();
        assert!(again.is_nothing());
    }
    // What changes in one window is nothing to the others.
    let before = database.within(source.as_ref(), day(10), None).await.unwrap().position();
    let other = database.within(source.as_ref(), day(9), None).await.unwrap().position();
    database.execute("UPDATE t SET id = 'changed' WHERE id = '10-0'").await;
    database.execute("INSERT INTO t VALUES ('null', NULL)").await;
    let changed = database.within(source.as_ref(), day(10), Some(&before)).await.unwrap();
    assert!(changed.texts("id").contains(&"changed".to_owned()));
    assert_eq!(changed.notes(), ["1 row has no time in `at`: it is in no window"]);
    assert!(database.within(source.as_ref(), day(9), Some(&other)).await.unwrap().is_nothing());
    // A window bigger than what there is, and one without a row.
    let all = window("2000-01-01T00:00:00", "2030-01-01T00:00:00");
    let rows = column.values.iter().map(|values| values.len()).sum::<usize>();
    assert_eq!(database.within(source.as_ref(), all, None).await.unwrap().rows().len(), rows);
    let empty = database.within(source.as_ref(), day(20), None).await.unwrap();
    assert_eq!((empty.rows().len(), empty.chunks.len()), (0, 1), "it is a load all the same");
    let again = database.within(source.as_ref(), day(20), Some(&empty.position())).await.unwrap();
    assert!(again.is_nothing());
}

#[tokio::test]
async fn hours_hold_their_rows_also_where_they_are_text() {
    for mut database in Database::each("window_hours").await {
        let kind = database.dialect.of(["timestamp", "datetime(3)", "TEXT"]);
        database.execute(&format!("CREATE TABLE t (id integer, at {kind})")).await;
        let values = ["05:59:59.999", "06:00:00", "06:30:00.5", "06:59:59.999", "07:00:00"];
        for (id, value) in values.iter().enumerate() {
            // SQLite has them as anybody wrote them.
            let separator = if id % 2 == 0 { "T" } else { " " };
            database.execute(&format!("INSERT INTO t VALUES ({id}, '2024-03-09{separator}{value}')")).await;
        }
        let source = database.table("t", by_window("1h"));
        let hour = window("2024-03-09T06:00:00", "2024-03-09T07:00:00");
        let mut ids = database.within(source.as_ref(), hour, None).await.unwrap().texts("id");
        ids.sort();
        assert_eq!(ids, ["1", "2", "3"], "{:?}", database.dialect);
    }
}

#[tokio::test]
async fn a_column_without_a_time_is_refused() {
    for mut database in Database::each("window_types").await {
        database.execute("CREATE TABLE t (id integer, at date, n integer, price numeric(9,2))").await;
        let hour = window("2024-03-09T06:00:00", "2024-03-09T07:00:00");
        let fail = async |source: Box<dyn Source>, window| {
            database.within(source.as_ref(), window, None).await.err().unwrap()
        };
        if database.dialect != Dialect::Sqlite {
            let error = fail(database.table("t", by_window("1h")), hour).await;
            assert_eq!(error.code(), codes::CONFIG, "{error}");
            for name in ["n", "price"] {
                let more = json!({"window": {"column": name, "size": "1d", "from": "2024-03-01"}});
                let error = fail(database.table("t", more), day(9)).await;
                assert_eq!(error.code(), codes::DATABASE_TYPE, "{error}");
            }
        }
        let more = json!({"window": {"column": "att", "size": "1d", "from": "2024-03-01"}});
        let error = fail(database.table("t", more), day(9)).await;
        assert_eq!(error.hint_text(), Some("did you mean `at`?"));
    }
    // Numbers would compare as texts in SQLite: they are said to be in no window.
    let mut database = Database::open(Dialect::Sqlite, "window_numbers").await.unwrap();
    database
        .execute("CREATE TABLE t (id integer, at); INSERT INTO t VALUES (1, 20240309), (2, '2024-03-09')")
        .await;
    let done = database.within(database.table("t", by_window("1d")).as_ref(), day(9), None).await.unwrap();
    assert_eq!(done.texts("id"), ["2"]);
    assert!(
        done.notes().iter().any(|note| note.starts_with("1 row has no time in `at`")),
        "{:?}",
        done.notes()
    );
}
