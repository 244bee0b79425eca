//! S5: what is read of every column type is what the database itself shows of it, or the row is rejected
//! for a reason that is known.

mod cases;
mod cell;

use std::collections::BTreeMap;

use lagar_flow::codes;
use lagar_testing::{Battery, long};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, Executor, MySql, PgConnection, Sqlite, query::Query};

use self::{
    cases::{Column, Type, types},
    cell::{Cell, cells},
};
use super::{Connection, Database, Dialect, random, replay};
use crate::support::{Done, fail, read};

#[tokio::test]
async fn every_type_is_read_as_the_database_shows_it() {
    let count = if long() { 5_000 } else { 250 };
    let mut battery = Battery::new("S5");
    for mut database in Database::each("types").await {
        if database.dialect == Dialect::Postgres {
            database.execute(cases::POSTGRES_TYPES).await;
        }
        for (number, case) in types().iter().enumerate() {
            let Some(column) = case.columns[database.dialect as usize].clone() else { continue };
            let name = format!("{:?} {}", database.dialect, column.sql);
            let line = format!("{name}: {}", replay("every_type_is_read_as_the_database_shows_it"));
            let mut values: Vec<Option<String>> = vec![None];
            values.extend(case.edges.iter().map(|edge| Some((*edge).to_owned())));
            values.extend(case.more.iter().cloned().map(Some));
            values.extend(random(&case.random, &name, count).into_iter().map(Some));
            battery.case_async(&line, compare(&mut database, number, &column, case, &values)).await;
        }
    }
}

async fn compare(
    database: &mut Database,
    number: usize,
    column: &Column,
    case: &Type,
    values: &[Option<String>],
) {
    let (dialect, table) = (database.dialect, format!("t{number}"));
    database.execute(&format!("CREATE TABLE {table} (id integer PRIMARY KEY, v {})", column.sql)).await;
    insert(database, &table, column, values).await;

    let shown =
        format!("SELECT CAST(id AS {}), {} FROM {table}", dialect.of(["text", "char", "text"]), column.form);
    let theirs = database.texts(&shown).await;
    assert_eq!(theirs.len(), values.len());
    let done = read(database.table(&table, json!({})).as_ref(), &database.place.cx, None).await;
    assert_eq!(done.type_of("v"), column.arrow, "{}", column.sql);
    let query = database.query(&format!("SELECT * FROM {}.{table} -- all of it", database.schema));
    let query = read(query.as_ref(), &database.place.cx, None).await;
    assert_eq!(query.type_of("v"), column.arrow, "{} in a query", column.sql);
    assert_eq!(by_id(&query), by_id(&done), "{} in a query", column.sql);
    let (ours, rejects) = by_id(&done);
    let mut zero_dates = 0;
    for row in &theirs {
        let id: i64 = row[0].as_ref().unwrap().parse().unwrap();
        let expected = row[1].as_deref().map_or(Ok(Cell::Null), case.read);
        zero_dates += usize::from(row[1].is_some() && expected == Ok(Cell::Null));
        let found = match (ours.get(&id), rejects.get(&id)) {
            (Some(cell), None) => Ok(cell.clone()),
            (None, Some(reason)) => Err(reason.as_str()),
            both => panic!("{}: the row of {:?} is there as {both:?}", column.sql, row[1]),
        };
        assert!(
            match (&found, &expected) {
                (Err(found), Err(expected)) => found.starts_with(expected),
                (found, expected) => found == expected,
            },
            "{} shows {:.200?}, which must be {expected:.200?} and is {found:.200?}",
            column.sql,
            row[1],
        );
    }
    assert_eq!(ours.len() + rejects.len(), theirs.len());
    let said = done.notes().iter().any(|note| note.starts_with(&format!("`v`: {zero_dates} zero dates")));
    assert_eq!(said, zero_dates > 0, "{:?}", done.notes());
}

/// Row `n` has the `n`-th value.
async fn insert(database: &mut Database, table: &str, column: &Column, values: &[Option<String>]) {
    const AT_ONCE: usize = 500;
    for (part, first) in values.chunks(AT_ONCE).zip((0..).step_by(AT_ONCE)) {
        let ids: Vec<i32> = (first..).take(part.len()).collect();
        if let Connection::Postgres(connection) = &mut database.connection {
            let put = column.put.replace("{}", "x.v");
            let sql = format!(
                "INSERT INTO {table} SELECT x.id, {put} FROM unnest($1::int4[], $2::text[]) AS x (id, v)"
            );
            sqlx::query(AssertSqlSafe(sql)).bind(ids).bind(part).execute(connection).await.unwrap();
            continue;
        }
        let row = format!("(?, {})", column.put.replace("{}", "?"));
        let sql = format!("INSERT INTO {table} VALUES {}", vec![row; part.len()].join(", "));
        match &mut database.connection {
            Connection::Mariadb(connection) => {
                let mut query: Query<'_, MySql, _> = sqlx::query(AssertSqlSafe(sql));
                for (id, value) in ids.iter().zip(part) {
                    query = query.bind(id).bind(value);
                }
                query.execute(connection).await.unwrap();
            }
            Connection::Sqlite(connection) => {
                let mut query: Query<'_, Sqlite, _> = sqlx::query(AssertSqlSafe(sql));
                for (id, value) in ids.iter().zip(part) {
                    query = query.bind(id).bind(value);
                }
                query.execute(connection).await.unwrap();
            }
            Connection::Postgres(_) => unreachable!("done above"),
        }
    }
}

/// The values that were read, and the reasons of the rows that were not.
fn by_id(done: &Done) -> (BTreeMap<i64, Cell>, BTreeMap<i64, String>) {
    let mut ours = BTreeMap::new();
    for batch in done.batches() {
        for (id, cell) in cells(batch.column(0)).into_iter().zip(cells(batch.column(1))) {
            let Cell::Int(id) = id else { panic!("the id is {id:?}") };
            assert_eq!(ours.insert(id, cell), None, "row {id} is there twice");
        }
    }
    let rejects = done.chunks.iter().flat_map(|chunk| &chunk.rejects).map(|reject| {
        let row: serde_json::Value = serde_json::from_str(&reject.value).unwrap();
        (row["id"].as_i64().unwrap(), reject.reason.clone())
    });
    (ours, rejects.collect())
}

/// The server itself takes our JSON apart again.
#[tokio::test]
async fn arrays_of_postgres_become_json_with_the_same_elements() {
    let Some(mut database) = Database::open(Dialect::Postgres, "arrays").await else { return };
    database.execute("CREATE TYPE mood AS ENUM ('happy', 'sad', 'so, {so}', '')").await;
    let mut battery = Battery::new("S5");
    let count = if long() { 3_000 } else { 200 };
    for (number, (element, values)) in cases::elements().into_iter().enumerate() {
        let line =
            format!("{element}[]: {}", replay("arrays_of_postgres_become_json_with_the_same_elements"));
        let table = format!("t{number}");
        let values = random(&values, element, count);
        battery
            .case_async(&line, async {
                database.execute(&format!("CREATE TABLE {table} (id int PRIMARY KEY, v {element}[])")).await;
                let Connection::Postgres(connection) = &mut database.connection else { panic!() };
                // Arrays of none, one, two … elements, every seventh of them null.
                let sql = format!(
                    "INSERT INTO {table} SELECT n, ARRAY(SELECT CASE WHEN i % 7 = 6 THEN NULL ELSE ($1::text[])[i] END::{element}
                       FROM generate_series(n * 10, n * 10 + n % 10 - 1) i) FROM generate_series(0, cardinality($1) / 10 - 1) n"
                );
                sqlx::query(AssertSqlSafe(sql)).bind(&values).execute(&mut *connection).await.unwrap();
                let done = read(database.table(&table, json!({})).as_ref(), &database.place.cx, None).await;
                let (ids, ours): (Vec<i32>, Vec<Option<String>>) =
                    done.rows().into_iter().map(|row| (row[0].as_ref().unwrap().parse::<i32>().unwrap(), row[1].clone())).unzip();
                assert_eq!(ids.len(), values.len() / 10);
                let Connection::Postgres(connection) = &mut database.connection else { panic!() };
                let differ = format!(
                    "SELECT t.v::text, o.v FROM {table} t LEFT JOIN unnest($1::int4[], $2::text[]) AS o (id, v) USING (id)
                     WHERE cardinality(t.v) IS DISTINCT FROM json_array_length(o.v::json)
                        OR ARRAY(SELECT e::text FROM unnest(t.v) WITH ORDINALITY u (e, n) ORDER BY n)
                           IS DISTINCT FROM ARRAY(SELECT e FROM json_array_elements_text(o.v::json) WITH ORDINALITY u (e, n) ORDER BY n)"
                );
                let wrong: Vec<(String, Option<String>)> =
                    sqlx::query_as(AssertSqlSafe(differ)).bind(ids).bind(ours).fetch_all(connection).await.unwrap();
                assert_eq!(wrong, []);
            })
            .await;
    }
}

/// The driver fails at such a table as a whole; the way out is named.
#[tokio::test]
async fn a_type_that_the_driver_does_not_know_is_had_as_text_in_postgres() {
    let Some(mut database) = Database::open(Dialect::Postgres, "unknown_type").await else { return };
    database
        .execute("CREATE TABLE t (id int, x int4multirange); INSERT INTO t VALUES (1, '{[1,3),[5,7)}')")
        .await;
    let error = fail(database.table("t", json!({})).as_ref(), &database.place.cx).await;
    assert_eq!(error.code(), codes::DATABASE_TYPE);
    assert!(error.hint_text().unwrap().contains("select it as text"), "{error}");
    let query = database.query("SELECT id, x::text AS x FROM lagar_unknown_type.t");
    assert_eq!(read(query.as_ref(), &database.place.cx, None).await.texts("x"), ["{[1,3),[5,7)}"]);
}

#[tokio::test]
async fn how_a_login_is_set_up_changes_no_value_in_postgres() {
    let Some(mut database) = Database::open(Dialect::Postgres, "styles").await else { return };
    database
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, i interval, f float8, b bytea, bs bytea[], d date, tz timestamptz, tzs timestamptz[], x float4[]);
             INSERT INTO t VALUES (1, '-1 year 2 days 03:04:05.5', 0.1, '\\x00ff', ARRAY['\\x00ff'::bytea], '2024-01-02', '2024-06-01 12:00Z', ARRAY['2024-06-01 12:00Z'::timestamptz], '{0.1}');
             DROP ROLE IF EXISTS lagar_styles; CREATE ROLE lagar_styles LOGIN PASSWORD 'styles';
             GRANT USAGE ON SCHEMA lagar_styles TO lagar_styles; GRANT SELECT ON t TO lagar_styles;
             ALTER ROLE lagar_styles SET intervalstyle = 'iso_8601'; ALTER ROLE lagar_styles SET bytea_output = 'escape';
             ALTER ROLE lagar_styles SET datestyle = 'SQL, DMY'; ALTER ROLE lagar_styles SET timezone = 'Asia/Tokyo';
             ALTER ROLE lagar_styles SET extra_float_digits = -10;",
        )
        .await;
    let first = read(database.table("t", json!({})).as_ref(), &database.place.cx, None).await;
    let url = database.address(|url| {
        url.set_username("lagar_styles").unwrap();
        url.set_password(Some("styles")).unwrap();
    });
    let again = database.table("t", json!({"url": url}));
    let again = read(again.as_ref(), &database.place.cx, None).await;
    assert_eq!((again.rows(), again.position()), (first.rows(), first.position()));
    // Without the settings of ours this login does see something else.
    let mut other = PgConnection::connect(&url).await.unwrap();
    let row = other.fetch_one("SELECT i::text FROM lagar_styles.t").await.unwrap();
    let shown: String = sqlx::Row::get(&row, 0);
    assert_eq!(shown, "P-1Y2DT3H4M5.5S");
}
