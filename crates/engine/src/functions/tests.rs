//! The functions, value by value and through SQL.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, DictionaryArray, LargeStringArray, RecordBatch, StringArray, StringViewArray},
    compute::cast,
    datatypes::{DataType, Field, Int32Type, Schema},
};
use lagar_flow::codes;

use super::{FUNCTIONS, NullTokens};
use crate::{
    Engine, Limits, Session, Strategy,
    testing::{Place, rows, shown},
};

async fn one(session: &Session, expression: &str) -> String {
    let all = rows(session, &format!("SELECT {expression} AS x")).await;
    assert_eq!(all.len(), 1, "{expression}");
    all[0].clone()
}

async fn all_are(session: &Session, cases: &[(&str, &str)]) {
    for (expression, expected) in cases {
        assert_eq!(one(session, expression).await, *expected, "{expression}");
    }
}

#[tokio::test]
async fn the_list_is_what_is_there_and_in_the_manual() {
    let place = Place::new().await;
    let session = place.engine.session();
    let page = include_str!("../../../../docs/sql.md");
    let mut listed: Vec<&str> = Vec::new();
    for function in FUNCTIONS {
        assert_eq!(
            one(&session, function.example.0).await,
            function.example.1.unwrap_or("NULL"),
            "{}",
            function.name
        );
        assert!(function.syntax.starts_with(&format!("{}(", function.name)), "{}", function.syntax);
        // The manual says it in the same words, with the same example.
        let value = function.example.1.map_or("null".to_owned(), |value| format!("`{value}`"));
        let row = format!(
            "| `{}` | {} | `{}` → {value} |",
            function.syntax, function.description, function.example.0
        );
        assert!(page.contains(&row), "docs/sql.md lacks the line\n{row}");
        listed.push(function.name);
    }
    assert!(listed.is_sorted(), "{listed:?}");
    assert_eq!(
        page.lines().filter(|line| line.starts_with("| `") && line.contains("` → ")).count(),
        FUNCTIONS.len()
    );
    for token in NullTokens::default().as_slice().iter().filter(|token| !token.is_empty()) {
        assert!(page.contains(&format!("`{token}`")), "docs/sql.md lacks the null token {token}");
    }
    for function in FUNCTIONS {
        let query = session
            .inspect(&format!("SHOW FUNCTIONS LIKE '{}'", function.name), Strategy::Default)
            .await
            .unwrap();
        let shown = shown(&query.collect().await.unwrap());
        assert!(shown.len() == 1 && shown[0].contains(function.syntax), "{shown:?}");
    }
}

#[tokio::test]
async fn what_stands_for_null_is_null() {
    let place = Place::new().await;
    let session = place.engine.session();
    all_are(
        &session,
        &[
            ("null_tokens('N/A')", "NULL"),
            ("null_tokens(' nan  ')", "NULL"),
            ("null_tokens('.')", "NULL"),
            ("null_tokens('')", "NULL"),
            ("null_tokens('  ')", "NULL"),
            ("null_tokens('NAN')", "NAN"),
            ("null_tokens('N/A?')", "N/A?"),
            ("null_tokens(' x ')", " x "),
            ("null_tokens(NULL)", "NULL"),
            ("clean('  n/a ')", "NULL"),
            ("clean(' \t ')", "NULL"),
            ("clean(' a  b ')", "a b"),
            ("squeeze(' N/A ')", "N/A"),
            ("squeeze('a\u{a0}\u{2003} b\u{3000}')", "a b"),
            ("squeeze('400 EAST   30 STREET')", "400 EAST 30 STREET"),
            ("squeeze(E'a\\n\\tb')", "a b"),
            ("squeeze('')", ""),
            ("squeeze('   ')", ""),
            ("squeeze('a b')", "a b"),
            ("squeeze(12)", "12"),
        ],
    )
    .await;
    // A project's own list takes the place of ours.
    let spill_dir = place.dir.path().join("own");
    let limits = Limits { memory_bytes: 1 << 24, spill_bytes: 1 << 24, spill_dir, threads: 1 };
    let own = NullTokens::new(["  -- ".to_owned(), "UNKNOWN".to_owned()]);
    let session = Engine::with_null_tokens(limits, &own).unwrap().session();
    all_are(
        &session,
        &[
            ("null_tokens('--')", "NULL"),
            ("clean(' UNKNOWN')", "NULL"),
            ("clean('N/A')", "N/A"),
            ("null_tokens('')", ""),
        ],
    )
    .await;
}

#[tokio::test]
async fn casts_take_what_is_a_value_and_nothing_else() {
    let place = Place::new().await;
    let session = place.engine.session();
    all_are(
        &session,
        &[
            ("try_int(' 46477011 ')", "46477011"),
            ("try_int('+7')", "7"),
            ("try_int('-12.000')", "-12"),
            ("try_int('1.009620097E9')", "1009620097"),
            ("try_int('120e-1')", "12"),
            ("try_int('12.5')", "NULL"),
            ("try_int('1e400')", "NULL"),
            ("try_int('0e400')", "0"),
            ("try_int('.')", "NULL"),
            ("try_int('e5')", "NULL"),
            ("try_int('9223372036854775807')", "9223372036854775807"),
            ("try_int('9223372036854775807.0')", "9223372036854775807"),
            ("try_int('9223372036854775808')", "NULL"),
            ("try_int('-9223372036854775808')", "-9223372036854775808"),
            ("try_int('0x10')", "NULL"),
            ("try_int('1_000')", "NULL"),
            ("try_int('1,000')", "NULL"),
            ("try_int('nan')", "NULL"),
            ("try_int(CAST(3.0 AS DOUBLE))", "3"),
            ("try_int(3.5)", "NULL"),
            ("try_double(' -73.87 ')", "-73.87"),
            ("try_double('1e3')", "1000.0"),
            ("try_double('inf')", "NULL"),
            ("try_double('NaN')", "NULL"),
            ("try_double('1e999')", "NULL"),
            ("try_double('12 3')", "NULL"),
            ("try_bool('YES')", "true"),
            ("try_bool('0')", "false"),
            ("try_bool('2')", "NULL"),
            ("try_bool(false)", "false"),
            ("try_date('2020-06-15')", "2020-06-15"),
            ("try_date('2020-06-15T23:48:55.000')", "2020-06-15"),
            ("try_date('2020-06-15 23:48:55')", "2020-06-15"),
            ("try_date('2020-06-15T23:48:55-05:00')", "2020-06-15"),
            ("try_date('2021-02-29')", "NULL"),
            ("try_date('15/06/2020')", "NULL"),
            ("try_date('15/06/2020', '%d/%m/%Y')", "2020-06-15"),
            ("try_date('31/06/2020', '%d/%m/%Y')", "NULL"),
            ("try_date('15/06/2020 x', '%d/%m/%Y')", "NULL"),
            ("try_timestamp('2020-06-15T00:48:55.000')", "2020-06-15T00:48:55"),
            ("try_timestamp('2020-06-15 00:48:55.123456')", "2020-06-15T00:48:55.123456"),
            ("try_timestamp('2020-06-15')", "2020-06-15T00:00:00"),
            ("try_timestamp('2020-06-15T00:48:55Z')", "2020-06-15T00:48:55"),
            ("try_timestamp('2020-06-15T25:00:00')", "NULL"),
            ("try_timestamp('06/15/2020 01:30:00 PM', '%m/%d/%Y %I:%M:%S %p')", "2020-06-15T13:30:00"),
            ("try_timestamp('15.06.2020', '%d.%m.%Y')", "2020-06-15T00:00:00"),
            ("try_timestamp('15.06.2020 02:00 +0200', '%d.%m.%Y %H:%M %z')", "2020-06-15T00:00:00"),
            ("try_timestamp('15.06.2020 07', '%d.%m.%Y %H')", "NULL"),
            ("arrow_typeof(try_timestamp('x'))", "Timestamp(µs)"),
            ("arrow_typeof(try_int('x'))", "Int64"),
        ],
    )
    .await;
}

#[tokio::test]
async fn zip_codes_stay_text_of_five_digits() {
    let place = Place::new().await;
    let session = place.engine.session();
    let cases = [
        ("11235.0", "11235"),
        ("11235", "11235"),
        (" 11235 ", "11235"),
        ("10016-1234", "10016"),
        ("10016 1234", "10016"),
        ("100161234", "10016"),
        ("1001", "01001"),
        ("501", "00501"),
        ("00501", "00501"),
        ("99950", "99950"),
        ("99951", "NULL"),
        ("00500", "NULL"),
        ("00000", "NULL"),
        ("12", "NULL"),
        ("", "NULL"),
        ("*", "NULL"),
        ("XXXXX", "NULL"),
        ("N/A", "NULL"),
        ("10016.5", "NULL"),
        ("10016-12", "NULL"),
        ("1001-1234", "NULL"),
        ("M5V 3L9", "NULL"),
        ("123456", "NULL"),
        ("-10016", "NULL"),
        ("１００１６", "NULL"),
    ];
    for (text, expected) in cases {
        assert_eq!(one(&session, &format!("zip_code('{text}')")).await, expected, "{text}");
    }
    all_are(&session, &[("zip_code(11235)", "11235"), ("zip_code(CAST(1001.0 AS DOUBLE))", "01001")]).await;
}

#[tokio::test]
async fn local_times_become_instants_also_where_clocks_are_changed() {
    let place = Place::new().await;
    let session = place.engine.session();
    let cases = [
        ("2020-01-15T12:00:00", "2020-01-15T17:00:00Z"),
        ("2020-06-15 00:48:55.000", "2020-06-15T04:48:55Z"),
        // 2020-03-08 02:00 to 03:00 was left out.
        ("2020-03-08T01:59:59", "2020-03-08T06:59:59Z"),
        ("2020-03-08T02:00:00", "2020-03-08T07:00:00Z"),
        ("2020-03-08T02:30:00", "2020-03-08T07:30:00Z"),
        ("2020-03-08T03:00:00", "2020-03-08T07:00:00Z"),
        // 2020-11-01 01:00 to 02:00 came twice.
        ("2020-11-01T00:59:59", "2020-11-01T04:59:59Z"),
        ("2020-11-01T01:30:00", "2020-11-01T05:30:00Z"),
        ("2020-11-01T02:00:00", "2020-11-01T07:00:00Z"),
        ("1899-12-31T19:00:00", "1900-01-01T00:00:00Z"),
        ("soon", "NULL"),
        ("", "NULL"),
    ];
    for (local, expected) in cases {
        let sql = format!("local_timestamp('{local}', 'America/New_York')");
        assert_eq!(one(&session, &sql).await, expected, "{sql}");
        if !expected.contains("NULL") {
            let sql = format!("local_timestamp(CAST('{local}' AS TIMESTAMP), 'America/New_York')");
            assert_eq!(one(&session, &sql).await, expected, "{sql}");
        }
    }
    all_are(
        &session,
        &[
            // A whole day was left out: 2011-12-30.
            ("local_timestamp('2011-12-30T12:00:00', 'Pacific/Apia')", "2011-12-30T22:00:00Z"),
            ("local_timestamp(DATE '2020-06-15', 'Europe/Madrid')", "2020-06-14T22:00:00Z"),
            ("arrow_typeof(local_timestamp('x', 'UTC'))", "Timestamp(µs, \"UTC\")"),
        ],
    )
    .await;
}

#[tokio::test]
async fn federal_holidays_follow_the_law_of_their_year() {
    let place = Place::new().await;
    let session = place.engine.session();
    let cases = [
        ("2020-01-01", "New Year's Day"),
        ("2020-01-20", "Birthday of Martin Luther King, Jr."),
        ("2020-02-17", "Washington's Birthday"),
        ("2020-05-25", "Memorial Day"),
        ("2020-06-19", "NULL"),
        ("2021-06-18", "Juneteenth National Independence Day (observed)"),
        ("2022-06-19", "Juneteenth National Independence Day"),
        ("2022-06-20", "Juneteenth National Independence Day (observed)"),
        ("2020-07-03", "Independence Day (observed)"),
        ("2020-07-04", "Independence Day"),
        ("2020-09-07", "Labor Day"),
        ("2020-10-12", "Columbus Day"),
        ("2020-11-11", "Veterans Day"),
        ("2020-11-26", "Thanksgiving Day"),
        ("2020-12-25", "Christmas Day"),
        ("2020-12-26", "NULL"),
        // A Saturday: the Friday before is in the old year.
        ("2021-12-31", "New Year's Day (observed)"),
        ("2010-12-31", "New Year's Day (observed)"),
        ("2016-12-26", "Christmas Day (observed)"),
        ("2012-11-12", "Veterans Day (observed)"),
        // 1971 to 1977 Veterans Day was the fourth Monday of October.
        ("1975-10-27", "Veterans Day"),
        ("1975-11-11", "NULL"),
        ("1978-11-10", "Veterans Day (observed)"),
        ("1985-01-21", "NULL"),
        ("1986-01-20", "Birthday of Martin Luther King, Jr."),
        ("1970-12-25", "NULL"),
    ];
    for (day, expected) in cases {
        assert_eq!(one(&session, &format!("us_federal_holiday(DATE '{day}')")).await, expected, "{day}");
    }
    // Ten a year, eleven since 2021; each weekend gives one more day. 2010 to 2020: 110 and those observed.
    let counted = "SELECT count(*), count(*) FILTER (WHERE h NOT LIKE '%observed%') FROM (SELECT us_federal_holiday(CAST(d AS TIMESTAMP)) AS h \
         FROM (SELECT arrow_cast(value + 14610, 'Date32') AS d FROM (SELECT CAST(value AS INT) AS value FROM generate_series(0, 4017)))) WHERE h IS NOT NULL";
    assert_eq!(rows(&session, counted).await, ["122|110"]);
}

/// The same values in every type that texts come in.
#[tokio::test]
async fn every_kind_of_text_is_taken() {
    let place = Place::new().await;
    let session = place.engine.session();
    let values: Vec<Option<&str>> = vec![Some(" 12 "), None, Some("N/A"), Some("x"), Some(" 12 ")];
    let plain = StringArray::from(values.clone());
    let arrays: Vec<(&str, ArrayRef)> = vec![
        ("large", Arc::new(LargeStringArray::from(values.clone()))),
        ("view", Arc::new(StringViewArray::from(values.clone()))),
        ("dictionary", Arc::new(values.into_iter().collect::<DictionaryArray<Int32Type>>())),
        ("nothing", cast(&plain, &DataType::Utf8).unwrap()),
    ];
    for (name, array) in arrays {
        let schema = Arc::new(Schema::new(vec![Field::new("v", array.data_type().clone(), true)]));
        let batch = RecordBatch::try_new(schema.clone(), vec![array]).unwrap();
        session.add_rows("trusted", name, vec![batch], schema).unwrap();
        let sql = format!("SELECT try_int(v), clean(v), zip_code(v), try_date(v, '%Y') FROM trusted.{name}");
        let found = rows(&session, &sql).await;
        assert_eq!(
            found,
            [
                "12|12|NULL|NULL",
                "NULL|NULL|NULL|NULL",
                "NULL|NULL|NULL|NULL",
                "NULL|x|NULL|NULL",
                "12|12|NULL|NULL"
            ],
            "{name}"
        );
        // No rows at all.
        assert_eq!(rows(&session, &format!("{sql} WHERE false")).await, [""; 0]);
    }
}

#[tokio::test]
async fn wrong_calls_say_how_it_is_written() {
    let place = Place::new().await;
    let session = place.engine.session();
    for (call, words) in [
        ("try_int()", "try_int(text)"),
        ("try_int('1', '2')", "try_int(text)"),
        ("try_int([1, 2])", "does not take"),
        ("us_federal_holiday('2020-01-01')", "only a date or timestamp"),
        ("local_timestamp('2020-01-01')", "America/New_York"),
        ("local_timestamp('2020-01-01', 'New York')", "`New York` is no time zone"),
        ("local_timestamp(now(), 'UTC')", "without time zone"),
        ("local_timestamp('2020-01-01', CAST(NULL AS VARCHAR))", "must not be null"),
        ("try_date('2020', '%Q')", "`%Q` is no format"),
        ("try_date(v, v) AS y, 1", "only the first argument"),
    ] {
        let sql = format!("SELECT {call} AS x FROM (VALUES ('2020'), ('2021')) AS t(v)");
        let error = match session.query(&sql).await {
            Err(error) => error,
            Ok(query) => query.collect().await.expect_err(call),
        };
        assert!(error.message().contains(words), "{call}: {error}");
        assert!([codes::SQL_PLAN, codes::SQL_EXECUTION].contains(&error.code()), "{call}: {error}");
    }
}

#[tokio::test]
async fn what_does_not_fit_is_counted_for_each_call() {
    let place = Place::new().await;
    let session = place.engine.session();
    let data = "(SELECT CASE WHEN value % 10 = 0 THEN 'x' WHEN value % 10 = 1 THEN 'N/A' WHEN value % 10 = 2 THEN NULL \
                ELSE CAST(value AS VARCHAR) END AS bbl, value AS n FROM generate_series(1, 1000)) AS d";
    let misfits = async |sql: &str| {
        let query = session.query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let stats = query.stats.clone();
        query.collect().await.unwrap();
        stats.now().misfits.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let told = "try_int(bbl): 100 of 800 values did not fit and are null";
    assert_eq!(misfits(&format!("SELECT try_int(bbl) AS a FROM {data}")).await, [told]);
    // Each query begins at nothing; a call that is written twice, or copied below, is counted once.
    for sql in [
        format!("SELECT try_int(d.bbl) AS a, try_int(bbl) + 1 AS b FROM {data}"),
        format!("SELECT a FROM (SELECT try_int(bbl) AS a FROM {data}) WHERE a > 500"),
        format!("SELECT a FROM (SELECT try_int(bbl) AS a FROM {data}) WHERE a > 500 ORDER BY a"),
        format!("SELECT sum(try_int(bbl)) AS a FROM {data}"),
    ] {
        assert_eq!(misfits(&sql).await, [told], "{sql}");
    }
    let all = misfits(&format!(
        "SELECT try_int(bbl) AS a, try_double(clean(bbl)) AS b, try_bool(bbl) AS c, try_int(n) AS d, null_tokens(bbl) AS e FROM {data}"
    ))
    .await;
    assert_eq!(
        all,
        [
            "try_bool(bbl): 800 of 800 values did not fit and are null".to_owned(),
            "try_double(clean(bbl)): 100 of 800 values did not fit and are null".to_owned(),
            told.to_owned(),
        ]
    );
    // Constants are no data, and nothing that did not fit is nothing to tell.
    assert_eq!(misfits("SELECT try_int('x') AS a").await, [""; 0]);
    assert_eq!(misfits(&format!("SELECT try_int(n) AS a FROM {data}")).await, [""; 0]);
    // In a subquery, too.
    let sql = format!("SELECT 1 AS one WHERE 5 IN (SELECT try_int(bbl) FROM {data})");
    assert_eq!(misfits(&sql).await, [told]);
}
