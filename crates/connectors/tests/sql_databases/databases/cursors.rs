//! S5, S3: a read by cursor loses and doubles nothing, whatever type the cursor has.

use std::{collections::BTreeSet, sync::Arc};

use chrono::{Duration, NaiveDate};
use lagar_flow::{Scope, codes};
use lagar_testing::{Battery, long, mix};
use serde_json::{Value, json};

use super::{Database, Dialect, replay, seed};
use crate::support::{fail, read};

struct Cursor {
    types: [Option<&'static str>; 3],
    /// The `n`-th of its values, which grow with `n`.
    value: fn(Dialect, usize) -> String,
    /// From one value to the one after the next; `None` where values have no distances.
    lag: Option<Value>,
}

const WORDS: [&str; 8] = ["A", "Z", "a", "aZ", "b", "ñ", "￦", "😀"];

fn moment(n: usize) -> String {
    // The hours in which Madrid's clocks go back, with digits down to the last one.
    let start =
        NaiveDate::from_ymd_opt(2024, 10, 26).unwrap().and_hms_micro_opt(22, 59, 59, 999_999).unwrap();
    (start + Duration::hours(n as i64)).format("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

fn cursors() -> Vec<Cursor> {
    let hours = || Some(json!("2h"));
    vec![
        Cursor {
            types: [Some("int8"), Some("bigint"), Some("INTEGER")],
            value: |_, n| (i64::MAX - 80 + 10 * n as i64).to_string(),
            lag: Some(json!(20)),
        },
        Cursor {
            types: [Some("int2"), Some("smallint unsigned"), None],
            value: |_, n| (32_000 + n).to_string(),
            lag: Some(json!(2)),
        },
        Cursor {
            types: [None, Some("bigint unsigned"), None],
            value: |_, n| (u64::MAX - 8 + n as u64).to_string(),
            lag: Some(json!(2)),
        },
        Cursor {
            types: [Some("numeric(38,10)"), Some("decimal(38,10)"), None],
            value: |_, n| format!("9999999999999999999999999999.{:010}", 9_999_999_900 + n as u64),
            lag: Some(json!(0.0000000002)),
        },
        Cursor {
            types: [Some("numeric(12,3)"), Some("decimal(12,3)"), Some("DECIMAL(12,3)")],
            value: |_, n| format!("{n}.125"),
            lag: Some(json!(2)),
        },
        Cursor {
            types: [Some("float8"), Some("double"), Some("REAL")],
            value: |_, n| format!("{}", 0.125 * n as f64),
            lag: Some(json!(0.25)),
        },
        Cursor {
            types: [Some("float4"), Some("float"), None],
            value: |_, n| format!("{}", 0.125 * n as f64),
            lag: Some(json!(0.25)),
        },
        Cursor {
            types: [Some("date"), Some("date"), Some("DATE")],
            value: |_, n| {
                (NaiveDate::from_ymd_opt(2024, 2, 26).unwrap() + Duration::days(n as i64)).to_string()
            },
            lag: Some(json!("2d")),
        },
        Cursor {
            types: [Some("timestamp"), Some("datetime(6)"), Some("DATETIME")],
            value: |_, n| moment(n),
            lag: hours(),
        },
        Cursor {
            types: [Some("timestamptz"), Some("timestamp(6) NULL"), Some("TIMESTAMP")],
            value: |dialect, n| format!("{}{}", moment(n), dialect.of(["Z", "", "Z"])),
            lag: hours(),
        },
        Cursor {
            types: [Some("text"), Some("text"), Some("TEXT")],
            value: |_, n| WORDS[n].to_owned(),
            lag: None,
        },
        // Collations with an order of their own.
        Cursor {
            types: [
                Some("text COLLATE \"en-x-icu\""),
                Some("varchar(9) COLLATE utf8mb4_unicode_ci"),
                Some("TEXT COLLATE NOCASE"),
            ],
            value: |_, n| WORDS[n].to_owned(),
            lag: None,
        },
        Cursor {
            types: [None, Some("varchar(9) CHARACTER SET latin1"), None],
            value: |_, n| ["A", "Z", "a", "aZ", "b", "ä", "ñ", "ÿ"][n].to_owned(),
            lag: None,
        },
        // Version 7: the time, then chance.
        Cursor {
            types: [Some("uuid"), Some("uuid"), Some("UUID")],
            value: |_, n| format!("01890a5d-ac{n:02x}-7{:03x}-8fff-{:012x}", 0xfff - n, mix(n as u64) >> 16),
            lag: None,
        },
    ]
}

impl Database {
    /// Rows (identity, place of the cursor's value).
    async fn add(&mut self, cursor: &Cursor, rows: &[(i64, Option<usize>)]) {
        let rows: Vec<String> = rows
            .iter()
            .map(|(id, n)| match n {
                Some(n) => format!("({id}, '{}')", (cursor.value)(self.dialect, *n)),
                None => format!("({id}, NULL)"),
            })
            .collect();
        self.execute(&format!("INSERT INTO t VALUES {}", rows.join(", "))).await;
    }
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

#[tokio::test]
async fn equal_late_and_missing_values_of_every_type() {
    let mut battery = Battery::new("S5");
    for cursor in cursors() {
        for mut database in Database::each("cursors").await {
            let Some(kind) = cursor.types[database.dialect as usize] else { continue };
            let line = format!("{:?}, {kind}", database.dialect);
            battery.case_async(&line, ties(&mut database, &cursor, kind)).await;
            if let Some(lag) = &cursor.lag {
                battery.case_async(&format!("{line}, lag {lag}"), late(&mut database, &cursor, lag)).await;
            }
        }
    }
}

async fn ties(database: &mut Database, cursor: &Cursor, kind: &str) {
    database.execute(&format!("CREATE TABLE t (id integer, at {kind})")).await;
    let source = database.table("t", json!({"cursor": "at"}));
    database.add(cursor, &[(1, Some(1)), (2, Some(2)), (3, Some(2)), (4, None)]).await;
    let first = read(source.as_ref(), &database.place.cx, None).await;
    assert_eq!(
        (sorted(first.texts("id")), first.scope()),
        (vec!["1".into(), "2".into(), "3".into(), "4".into()], Scope::Snapshot)
    );
    assert!(first.notes()[0].starts_with("1 rows have no `at`"), "{:?}", first.notes());
    assert!(read(source.as_ref(), &database.place.cx, Some(&first.position())).await.is_nothing());

    database.add(cursor, &[(5, Some(2)), (6, Some(3)), (7, Some(0)), (8, None)]).await;
    let second = read(source.as_ref(), &database.place.cx, Some(&first.position())).await;
    assert_eq!(
        (sorted(second.texts("id")), second.scope()),
        (vec!["5".into(), "6".into()], Scope::Increment)
    );
    assert!(second.notes()[0].starts_with("2 rows have no `at`, 1 had none"), "{:?}", second.notes());
    // A read that was broken off is done again: the same rows, the same position.
    let repeated = read(source.as_ref(), &database.place.cx, Some(&first.position())).await;
    assert_eq!((repeated.rows(), repeated.position()), (second.rows(), second.position()));
    assert!(read(source.as_ref(), &database.place.cx, Some(&second.position())).await.is_nothing());

    // A row that equals one that was read is a row.
    database.add(cursor, &[(6, Some(3)), (9, Some(4))]).await;
    let third = read(source.as_ref(), &database.place.cx, Some(&second.position())).await;
    assert_eq!(sorted(third.texts("id")), ["6", "9"]);
    assert!(read(source.as_ref(), &database.place.cx, Some(&third.position())).await.is_nothing());
}

async fn late(database: &mut Database, cursor: &Cursor, lag: &Value) {
    database.execute("DELETE FROM t").await;
    let source = database.table("t", json!({"cursor": "at", "lag": lag}));
    database.add(cursor, &[(1, Some(1)), (2, Some(5))]).await;
    let first = read(source.as_ref(), &database.place.cx, None).await;
    assert_eq!(sorted(first.texts("id")), ["1", "2"]);
    database.add(cursor, &[(3, Some(2)), (4, Some(3)), (5, Some(4)), (6, Some(5)), (7, Some(6))]).await;
    let second = read(source.as_ref(), &database.place.cx, Some(&first.position())).await;
    assert_eq!(sorted(second.texts("id")), ["4", "5", "6", "7"], "{:?}", first.position());
    assert!(read(source.as_ref(), &database.place.cx, Some(&second.position())).await.is_nothing());
}

/// Each round the source's clock is anywhere within ten minutes behind the newest row: all rows come, once.
#[tokio::test]
async fn a_clock_that_jumps_back_loses_nothing_within_the_lag() {
    const LAG: u64 = 600;
    let seed = seed();
    let rounds = if long() { 300 } else { 25 };
    let mut battery = Battery::new("S5");
    for mut database in Database::each("clock").await {
        let line = format!("{:?}: {}", database.dialect, replay("a_clock_that_jumps_back"));
        battery
            .case_async(&line, async {
                let kind = database.dialect.of(["timestamptz", "timestamp NULL", "TIMESTAMP"]);
                database.execute(&format!("CREATE TABLE t (id integer, at {kind})")).await;
                let source = database.table("t", json!({"cursor": "at", "lag": "10m"}));
                let start = NaiveDate::from_ymd_opt(2024, 3, 31).unwrap().and_hms_opt(0, 0, 0).unwrap();
                let (mut newest, mut id, mut position) = (0, 0, None);
                let mut read_ids = Vec::new();
                for round in 0..rounds {
                    let chance = |n: u64| mix(mix(seed + round) + n);
                    let back = if chance(0) % 3 == 0 { LAG } else { chance(1) % (LAG + 1) };
                    let mut rows = Vec::new();
                    for n in 0..chance(2) % 9 {
                        // Whole seconds, and few of them: many rows are equal in time.
                        let at = (newest + chance(3 + n) % 20).saturating_sub(back);
                        newest = newest.max(at);
                        id += 1;
                        let at = (start + Duration::seconds(i64::try_from(at).unwrap()))
                            .format("%Y-%m-%d %H:%M:%S");
                        rows.push(format!("({id}, '{at}{}')", database.dialect.of(["Z", "", "Z"])));
                    }
                    if !rows.is_empty() {
                        database.execute(&format!("INSERT INTO t VALUES {}", rows.join(", "))).await;
                    }
                    let done = read(source.as_ref(), &database.place.cx, position.as_ref()).await;
                    if !done.chunks.is_empty() {
                        read_ids.extend(done.texts("id"));
                        position = Some(done.position());
                    }
                }
                let distinct: BTreeSet<&String> = read_ids.iter().collect();
                assert_eq!((read_ids.len(), distinct.len()), (id, id), "read, distinct; written: {id}");
            })
            .await;
    }
}

/// Behind a time that is yet to come no row is found: that is at least said.
#[tokio::test]
async fn a_newest_value_that_is_yet_to_come_is_said() {
    for dialect in Dialect::SERVERS {
        let Some(mut database) = Database::open(dialect, "future").await else { continue };
        for (kind, far, shown) in [
            (
                dialect.of(["timestamptz", "timestamp NULL", ""]),
                "2026-01-04 00:00:00",
                "2026-01-04T00:00:00Z",
            ),
            (dialect.of(["timestamp", "datetime", ""]), "2999-12-31 00:00:00", "2999-12-31T00:00:00"),
            ("date", "2999-12-31", "2999-12-31"),
        ] {
            // The clock of these tests shows 2026-01-02 03:04:05.
            database.execute(&format!("DROP TABLE IF EXISTS t; CREATE TABLE t (id integer, at {kind}); INSERT INTO t VALUES (1, '2026-01-02 12:00:00')")).await;
            let source = database.table("t", json!({"cursor": "at"}));
            let first = read(source.as_ref(), &database.place.cx, None).await;
            assert!(first.notes().is_empty(), "{:?}", first.notes());
            database.execute(&format!("INSERT INTO t VALUES (2, '{far}')")).await;
            let second = read(source.as_ref(), &database.place.cx, Some(&first.position())).await;
            assert!(
                second.notes()[0].contains(&format!("`at` is {shown}, which is yet to come")),
                "{:?}",
                second.notes()
            );
        }
    }
}

#[tokio::test]
async fn an_infinite_time_is_not_the_newest_one_in_postgres() {
    let Some(mut database) = Database::open(Dialect::Postgres, "infinite").await else { return };
    database.execute("CREATE TABLE t (id int, at timestamptz); INSERT INTO t VALUES (1, '2024-01-01Z'), (2, 'infinity'), (3, NULL)").await;
    let source = database.table("t", json!({"cursor": "at", "lag": "1h"}));
    let first = read(source.as_ref(), &database.place.cx, None).await;
    assert_eq!((first.texts("id").len(), first.reject_count()), (2, 1));
    assert_eq!(first.position().read::<Value>().unwrap()["cursor"], "2024-01-01T00:00:00Z");
    database.execute("INSERT INTO t VALUES (4, '2023-12-31 23:30Z'), (5, '2024-01-02Z')").await;
    let second = read(source.as_ref(), &database.place.cx, Some(&first.position())).await;
    assert_eq!(second.texts("id"), ["4", "5"]);
    assert_eq!(second.reject_count(), 0);
    assert!(read(source.as_ref(), &database.place.cx, Some(&second.position())).await.is_nothing());
}

#[tokio::test]
async fn a_zero_date_of_mariadb_is_no_value_of_a_cursor() {
    let Some(mut database) = Database::open(Dialect::Mariadb, "zero").await else { return };
    database.execute("CREATE TABLE t (id int PRIMARY KEY, at datetime NOT NULL); INSERT INTO t VALUES (1, '0000-00-00'), (2, '0000-00-00')").await;
    let source = database.table("t", json!({"cursor": "at"}));
    let first = read(source.as_ref(), &database.place.cx, None).await;
    assert!(read(source.as_ref(), &database.place.cx, Some(&first.position())).await.is_nothing());
    database.execute("UPDATE t SET at = '2024-01-01' WHERE id = 2").await;
    let second = read(source.as_ref(), &database.place.cx, Some(&first.position())).await;
    assert_eq!(second.texts("id"), ["2"]);
}

#[tokio::test]
async fn what_cannot_be_a_cursor_is_refused() {
    for mut database in Database::each("no_cursor").await {
        if database.dialect == Dialect::Sqlite {
            continue;
        }
        let loose = database.dialect.of(["numeric", "decimal(65,30)", ""]);
        let flag = database.dialect.of(["bool", "tinyint(1)", ""]);
        database.execute(&format!("CREATE TABLE t (id integer, loose {loose}, flag {flag}, x text); INSERT INTO t VALUES (1, 1, '1', 'a')")).await;
        for cursor in ["loose", "flag"] {
            let error =
                fail(database.table("t", json!({"cursor": cursor})).as_ref(), &database.place.cx).await;
            assert_eq!(error.code(), codes::DATABASE_TYPE, "{error}");
        }
        for (cursor, lag) in [("x", json!(1)), ("id", json!("1h"))] {
            let source = database.table("t", json!({"cursor": cursor, "lag": lag}));
            assert_eq!(fail(source.as_ref(), &database.place.cx).await.code(), codes::CONFIG, "{cursor}");
        }
        // What its earlier loads were stays.
        let first = read(database.table("t", json!({})).as_ref(), &database.place.cx, None).await;
        database.place.cx.known = Some(Arc::new(first.schema()));
        assert!(
            read(database.table("t", json!({})).as_ref(), &database.place.cx, Some(&first.position()))
                .await
                .is_nothing()
        );
    }
}
