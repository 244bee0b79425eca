#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, NullArray, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use serde_json::json;

use super::*;
use crate::{Engine, Limits, testing::Place};

/// The profile of a query's rows.
async fn of(sql: &str) -> Profile {
    let place = Place::new().await;
    let query = place.engine.session().query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    profile(query.batches, &NullTokens::default(), 2).await.unwrap()
}

/// The profile of one column, given in batches.
async fn of_column(batches: Vec<ArrayRef>) -> ColumnProfile {
    let schema = Arc::new(Schema::new(vec![Field::new("c", batches[0].data_type().clone(), true)]));
    let rows =
        batches.into_iter().map(|array| Ok(RecordBatch::try_new(schema.clone(), vec![array]).unwrap()));
    let stream = Box::pin(futures::stream::iter(rows.collect::<Vec<_>>()));
    let batches = Batches { schema: schema.clone(), stream };
    profile(batches, &NullTokens::default(), 2).await.unwrap().columns.pop().unwrap()
}

fn top(column: &ColumnProfile) -> Vec<(Json, u64)> {
    column.top.iter().map(|top| (top.value.clone(), top.count)).collect()
}

#[tokio::test]
async fn few_values_are_told_exactly() {
    let profile = of("SELECT * FROM (VALUES (1, 'a', true), (2, 'b', false), (2, NULL, true), (4, 'a', NULL)) AS t(n, s, b)").await;
    assert_eq!(profile.rows, 4);
    let [n, s, b] = profile.columns.as_slice() else { panic!("{profile:?}") };
    assert_eq!((n.nulls, n.distinct, n.distinct_is_exact), (0, 3, true));
    assert_eq!((n.min.clone(), n.max.clone(), n.mean), (Some(json!(1)), Some(json!(4)), Some(2.25)));
    assert_eq!(top(n), [(json!(2), 2), (json!(1), 1), (json!(4), 1)]);
    assert_eq!(n.histogram.as_ref().unwrap().counts, [1, 2, 0, 1]);
    assert_eq!((s.nulls, s.distinct, s.mean), (1, 2, None));
    assert_eq!((s.min.clone(), s.max.clone(), s.lengths), (Some(json!("a")), Some(json!("b")), Some((1, 1))));
    assert_eq!(s.histogram.as_ref().unwrap().of, Measure::Lengths);
    assert_eq!(top(b), [(json!(true), 2), (json!(false), 1)]);
    assert_eq!(b.histogram.as_ref().unwrap().counts, [1, 2]);
}

#[tokio::test]
async fn nothing_is_told_of_no_rows_and_of_nulls() {
    let empty = of("SELECT 1 AS a, 'x' AS b, 1.5 AS c, [1] AS d WHERE false").await;
    assert_eq!(empty.rows, 0);
    for column in &empty.columns {
        assert_eq!((column.nulls, column.distinct, column.null_share(true)), (0, 0, 0.0));
        assert_eq!((&column.min, &column.mean, &column.histogram), (&None, &None, &None), "{}", column.name);
    }
    for nulls in [Arc::new(NullArray::new(3)) as ArrayRef, Arc::new(Int64Array::new_null(3))] {
        let column = of_column(vec![nulls]).await;
        assert_eq!((column.rows, column.nulls, column.distinct, column.null_share(false)), (3, 3, 0, 1.0));
        assert_eq!((column.top.len(), &column.histogram), (0, &None));
    }
    let one = of("SELECT 7 AS a").await;
    assert_eq!(one.columns[0].histogram.as_ref().unwrap().counts, [1]);
    assert!(one.columns[0].is_unique());
}

#[tokio::test]
async fn what_is_no_number_is_counted_apart() {
    let numbers = vec![
        Some(f64::NAN),
        Some(1.0),
        Some(3.0),
        Some(f64::INFINITY),
        Some(-f64::NAN),
        None,
        Some(0.0),
        Some(-0.0),
    ];
    let column = of_column(vec![Arc::new(Float64Array::from(numbers))]).await;
    assert_eq!((column.nan, column.infinite, column.nulls, column.distinct), (2, 1, 1, 5));
    assert_eq!(
        (column.min.clone(), column.max.clone(), column.mean),
        (Some(json!(0.0)), Some(json!("inf")), Some(1.0))
    );
    let histogram = column.histogram.unwrap();
    assert_eq!(
        (histogram.counts.iter().sum::<u64>(), &histogram.from, &histogram.to),
        (4, &json!(0.0), &json!(3.0))
    );
    let column = of_column(vec![Arc::new(Float64Array::from(vec![f64::MAX, f64::MIN, 1.0]))]).await;
    assert_eq!(column.histogram.unwrap().counts.iter().sum::<u64>(), 3);
    assert!(column.mean.unwrap().is_finite());
}

#[tokio::test]
async fn every_type_has_a_profile() {
    let profile = of("SELECT arrow_cast(v, 'UInt64') AS u, arrow_cast(v, 'Float32') AS f, arrow_cast(v, 'Decimal128(9, 2)') AS d,
            arrow_cast('2024-02-29', 'Date32') AS day, arrow_cast('2024-02-29T10:00:00', 'Timestamp(Nanosecond, None)') AS t,
            arrow_cast('10:00:00', 'Time64(Microsecond)') AS time, [v, 2] AS list, named_struct('a', v) AS s,
            arrow_cast('xyz', 'Binary') AS b, arrow_cast('k', 'Dictionary(Int32, Utf8)') AS k, arrow_cast('v', 'Utf8View') AS view,
            arrow_cast(v, 'Duration(Second)') AS dur, INTERVAL '1 day' AS i
        FROM (VALUES (1), (3)) AS x(v)").await;
    let column = |name: &str| profile.columns.iter().find(|column| column.name == name).unwrap();
    let max = |name: &str| column(name).max.clone();
    assert_eq!(max("u"), Some(json!(3)));
    assert_eq!((max("f"), column("f").mean), (Some(json!(3.0)), Some(2.0)));
    assert_eq!((max("d"), column("d").mean), (Some(json!("3.00")), Some(2.0)));
    assert_eq!((max("day"), max("t")), (Some(json!("2024-02-29")), Some(json!("2024-02-29T10:00:00"))));
    assert_eq!(max("time"), Some(json!("10:00:00")));
    assert_eq!((max("list"), column("list").lengths), (None, Some((2, 2))));
    assert_eq!(top(column("list")), [(json!("[1, 2]"), 1), (json!("[3, 2]"), 1)]);
    assert_eq!((column("s").distinct, &column("s").histogram), (2, &None));
    assert_eq!((top(column("b")), column("b").lengths), (vec![(json!("78797a"), 2)], Some((3, 3))));
    assert_eq!((max("k"), max("view")), (Some(json!("k")), Some(json!("v"))));
    assert_eq!(column("i").distinct, 1);
    assert_eq!(column("dur").distinct, 2);
}

/// Many values in several batches: bounds, means and counts stay exact, the rest is near.
#[tokio::test]
async fn many_values_are_told_nearly() {
    let rows = 200_000_i64;
    // Every fifth row has one of two values, the others all differ.
    let value = |row: i64| match row % 10 {
        0 => -5,
        5 => 7,
        _ => 1000 + row,
    };
    let ints = |from: i64, to: i64| {
        Arc::new((from..to).map(|row| Some(value(row))).collect::<Int64Array>()) as ArrayRef
    };
    let texts = |from: i64, to: i64| {
        Arc::new((from..to).map(|row| Some(format!("v{:08}", value(row)))).collect::<StringArray>())
            as ArrayRef
    };
    let parts: Vec<(i64, i64)> = (0..20).map(|part| (part * rows / 20, (part + 1) * rows / 20)).collect();

    let column = of_column(parts.iter().map(|(from, to)| ints(*from, *to)).collect()).await;
    let expected = (rows as u64) * 8 / 10 + 2;
    assert!(!column.distinct_is_exact);
    assert!(column.distinct.abs_diff(expected) as f64 <= 0.03 * expected as f64, "{}", column.distinct);
    assert_eq!((column.min.clone(), column.max.clone()), (Some(json!(-5)), Some(json!(1000 + rows - 1))));
    let sum: i64 = (0..rows).map(value).sum();
    assert!((column.mean.unwrap() - sum as f64 / rows as f64).abs() < 1e-6);
    let told = top(&column);
    assert_eq!(told.iter().map(|(value, _)| value.clone()).collect::<Vec<_>>(), [json!(-5), json!(7)]);
    for (_, count) in told {
        assert!(count <= 20_000 && count > 19_800, "{count}");
    }
    let histogram = column.histogram.unwrap();
    assert_eq!(histogram.counts.iter().sum::<u64>(), rows as u64);
    // All but the two values are spread evenly over 24 steps.
    let step = (rows + 1005) as f64 / 24.0;
    for (index, count) in histogram.counts.iter().enumerate().skip(1).take(22) {
        assert!((*count as f64 - step * 0.8).abs() < step * 0.05, "step {index}: {count}");
    }
    assert!(histogram.counts[0] > 40_000);

    let column = of_column(parts.iter().map(|(from, to)| texts(*from, *to)).collect()).await;
    assert!(column.distinct.abs_diff(expected) as f64 <= 0.03 * expected as f64, "{}", column.distinct);
    assert_eq!(column.looks.unwrap().text, rows as u64);
    assert_eq!((column.min.clone(), column.lengths), (Some(json!("v-0000005")), Some((9, 9))));
}

#[tokio::test]
async fn looks_are_counted_alike_by_value_and_by_sketch() {
    let texts = |rows: u64| -> ArrayRef {
        let text = |row: u64| match row % 4 {
            0 => "nan".to_owned(),
            1 => row.to_string(),
            2 => format!("{row}.5"),
            _ => format!("x{row}"),
        };
        Arc::new((0..rows).map(|row| Some(text(row))).collect::<StringArray>())
    };
    for rows in [4_000, 80_000] {
        let column = of_column(vec![texts(rows / 2), texts(rows / 2)]).await;
        let looks = column.looks.unwrap();
        assert_eq!(column.distinct_is_exact, rows == 4_000);
        assert_eq!((looks.null_tokens, looks.double, looks.text), (rows / 4, rows / 4, rows / 4), "{rows}");
        assert_eq!((looks.int, column.null_share(true)), (rows / 4, 0.25));
    }
}

/// What a profile calls written like null the functions make null, and nothing else.
#[tokio::test]
async fn profiles_and_functions_know_the_same_null_tokens() {
    let texts =
        "(VALUES ('null'), ('NULL'), ('nan'), (' N/A'), (''), ('  '), ('.'), ('-'), ('x'), (NULL)) AS t(c)";
    let own = NullTokens::new(["-".to_owned(), "null".to_owned()]);
    for (tokens, expected) in [(NullTokens::default(), 7), (own, 2)] {
        let dir = tempfile::tempdir().unwrap();
        let spill_dir = dir.path().join("spill");
        let limits = Limits { memory_bytes: 1 << 24, spill_bytes: 1 << 24, spill_dir, threads: 1 };
        let session = Engine::with_null_tokens(limits, &tokens).unwrap().session();
        let read = session.query(&format!("SELECT c FROM {texts}")).await.unwrap();
        let column = profile(read.batches, &tokens, 2).await.unwrap().columns.pop().unwrap();
        let nulls = session.query(&format!("SELECT null_tokens(c) AS c FROM {texts}")).await.unwrap();
        let cleaned = profile(nulls.batches, &tokens, 2).await.unwrap().columns.pop().unwrap();
        assert_eq!((column.null_tokens, column.nulls), (expected, 1));
        assert_eq!((cleaned.nulls, cleaned.null_tokens), (expected + 1, 0));
        assert_eq!(column.distinct_values, cleaned.distinct);
    }
}

#[tokio::test]
async fn a_histogram_of_days_has_steps_of_the_same_days() {
    let profile = of("SELECT arrow_cast(arrow_cast(value, 'Int32'), 'Date32') AS day FROM generate_series(0, 30) AS t(value)").await;
    let histogram = profile.columns[0].histogram.clone().unwrap();
    assert_eq!(histogram.counts, [vec![2; 15], vec![1]].concat());
    assert_eq!((histogram.from, histogram.to), (json!("1970-01-01"), json!("1970-01-31")));
}

#[tokio::test]
async fn what_is_even_looks_even() {
    let profile =
        of("SELECT value AS n, repeat('x', value) AS t FROM generate_series(1, 60) AS t(value)").await;
    for column in &profile.columns {
        let histogram = column.histogram.as_ref().unwrap();
        assert_eq!((&histogram.counts, histogram.is_exact), (&vec![3; 20], true), "{}", column.name);
    }
}

#[tokio::test]
async fn huge_and_hostile_texts_are_cut() {
    let huge = "<b>".repeat(100_000);
    let column = of_column(vec![Arc::new(StringArray::from(vec![huge.as_str(), "a"]))]).await;
    assert_eq!(column.lengths, Some((1, 300_000)));
    assert!(column.min.unwrap().as_str().unwrap().chars().count() <= 200);
    assert_eq!(column.distinct, 2);
}

#[tokio::test]
async fn five_hundred_columns_are_one_pass() {
    let columns: Vec<String> = (0..500).map(|n| format!("value + {n} AS c{n}")).collect();
    let profile =
        of(&format!("SELECT {} FROM generate_series(1, 3000) AS t(value)", columns.join(", "))).await;
    assert_eq!(profile.columns.len(), 500);
    for (n, column) in profile.columns.iter().enumerate() {
        assert_eq!((column.rows, column.min.clone()), (3000, Some(json!(n + 1))));
        let error = column.distinct.abs_diff(3000);
        assert!(error == 0 || !column.distinct_is_exact && error < 150, "{}", column.distinct);
        assert_eq!(column.histogram.as_ref().unwrap().counts.iter().sum::<u64>(), 3000);
    }
}

async fn suggested(sql: &str, rule: Rule) -> Option<Suggestion> {
    suggest("raw.t", "2 rows", &of(sql).await, rule)
}

#[tokio::test]
async fn columns_go_with_their_reason_and_stay_with_their_type() {
    let sql = "SELECT * FROM (VALUES
            ('1', 'nan', 'x', '2024-01-01T00:00:00.000', '10016.0', 'a  b', '1.5', 7, 'N/A'),
            ('2', 'n/a', 'x', '2024-01-02T00:00:00.000', '11207.0', 'c', '2', NULL, 'Closed'),
            ('3', NULL, 'x', 'nan', '11207.0', 'd', '3', NULL, 'Closed')
        ) AS t(id, gone, same, at, zip, \"Note\", number, sparse, status)";
    let found = suggested(sql, Rule::default()).await.unwrap();
    let expected = r#"-- raw.t, cleaned: one row for each row that the source has now.
--
-- Columns decided by `lagar profile raw.t --suggest` on 2 rows:
-- dropped with more than 50 % null or at most 1 different value; null tokens count as null.
SELECT
    try_int(id) AS id,             -- int, each value once, never null
    -- dropped: gone: 100 % null
    -- dropped: same: always 'x'
    try_timestamp(at) AS at,       -- timestamp, 2 different, 33.3 % null
    zip_code(zip) AS zip,          -- zip code, 2 different
    clean("Note") AS "Note",       -- text, each value once, never null
    try_double(number) AS number   -- double, each value once, never null
    -- dropped: sparse: 66.7 % null
    -- dropped: status: always 'Closed', 33.3 % null
FROM raw.t
WHERE _newest
"#;
    assert_eq!(found.sql, expected);
    assert_eq!(found.kept, 5);
    assert_eq!(found.dropped.len(), 4);
    let loose = suggested(sql, Rule { null_share: 1.0, distinct: 0 }).await.unwrap();
    assert_eq!(loose.dropped, [("gone".to_owned(), "no value, 100 % null".to_owned())]);
    assert!(suggested("SELECT 1 AS a WHERE false", Rule::default()).await.is_none());
}

#[tokio::test]
async fn hostile_names_and_values_stay_in_their_comment() {
    let sql = "SELECT * FROM (VALUES ('x\ny', 1), ('x\ny', 2)) AS t(\"a\nDROP\", \"b\"\"c\")";
    let found = suggested(sql, Rule::default()).await.unwrap();
    assert!(found.sql.contains("    -- dropped: a DROP: always 'x y'\n"), "{}", found.sql);
    assert!(found.sql.contains("    \"b\"\"c\" "), "{}", found.sql);
    let place = Place::new().await;
    let session = place.engine.session();
    let fields = [("b\"c", DataType::Int64), ("_newest", DataType::Boolean)];
    let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
    session.add_rows("raw", "t", vec![], Arc::new(Schema::new(fields.to_vec()))).unwrap();
    session.describe(&found.sql).await.unwrap();
}

/// A table has each name once, whether in upper or in lower case, and none with a blank.
#[tokio::test]
async fn a_name_that_a_table_must_not_have_becomes_another() {
    let sql = "SELECT * FROM (VALUES (1, 'x', 1, 1), (2, 'y', 2, 2)) AS t(\"a b\", \"Due (h)\", \"A_b\", c)";
    let found = suggest("trusted.t", "2 rows", &of(sql).await, Rule::default()).unwrap();
    for line in ["\"a b\" AS a_b_2,", "clean(\"Due (h)\") AS \"Due__h_\",", "\"A_b\", ", "c "] {
        assert!(found.sql.contains(&format!("    {line}")), "`{line}` is not in\n{}", found.sql);
    }
    assert!(found.sql.ends_with("\nFROM trusted.t\n"), "{}", found.sql);
    let place = Place::new().await;
    let session = place.engine.session();
    let fields = [
        ("a b", DataType::Int64),
        ("Due (h)", DataType::Utf8),
        ("A_b", DataType::Int64),
        ("c", DataType::Int64),
    ];
    let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
    session.add_rows("trusted", "t", vec![], Arc::new(Schema::new(fields.to_vec()))).unwrap();
    let table = session.describe(&found.sql).await.unwrap();
    lagar_lake::delta_schema(&table).unwrap();
}
