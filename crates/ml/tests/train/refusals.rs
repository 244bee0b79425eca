//! What cannot be learned from, and settings that cannot be, are refused by name.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch};
use lagar_flow::codes;
use lagar_ml::Spec;
use serde_json::{Value, json};

use crate::support::{changed, city, future, learn, noise, refused, spec, table, with};

#[test]
fn nulls_text_and_infinities_are_refused_by_name() {
    let rows = city(60, 5);
    let cases: Vec<(&str, Value, RecordBatch, &str)> = vec![
        ("nulls", changed(noise(), "impute", json!({})), rows.clone(), "`lag_7` is null in"),
        ("text", changed(noise(), "encode", json!({})), rows.clone(), "`borough` is text"),
        (
            "infinite",
            noise(),
            with(&rows, "weekday", Arc::new(Float64Array::from(vec![f64::INFINITY; 120]))),
            "`weekday` is infinite in",
        ),
        (
            "NaN",
            noise(),
            with(&rows, "weekday", Arc::new(Float64Array::from(vec![f64::NAN; 120]))),
            "`weekday` is NaN in",
        ),
        (
            "all null",
            noise(),
            with(&rows, "weekday", Arc::new(Int64Array::from(vec![None; 120]))),
            "`weekday` is null in every row",
        ),
        ("a date", changed(noise(), "features", json!(["day", "weekday"])), rows.clone(), "`day` is a date"),
    ];
    for (name, keys, rows, says) in cases {
        let error = refused(&spec(keys), &rows);
        // What the types say already is a fault of the settings.
        let code = if ["text", "a date"].contains(&name) { codes::CONFIG } else { codes::PREDICTOR_DATA };
        assert_eq!(error.code(), code, "{name}: {error}");
        assert!(error.message().contains(says), "{name}: {error}");
        assert!(error.hint_text().is_some(), "{name}: {error}");
    }
    let empty = rows.slice(0, 0);
    assert!(refused(&spec(noise()), &empty).message().contains("no rows"));
    let no_target = with(&rows, "high", Arc::new(BooleanArray::from(vec![None; 120])));
    assert!(refused(&spec(noise()), &no_target).message().contains("null in every row"));
    let one_class = with(&rows, "high", Arc::new(BooleanArray::from(vec![true; 120])));
    assert_eq!(refused(&spec(noise()), &one_class).code(), codes::PREDICTOR_DATA);
    // Two rows that come a hundred times are two rows: one is learned from, the other judges.
    let alike = table(vec![
        ("x", Arc::new(Int64Array::from(vec![1; 200])) as ArrayRef),
        ("high", Arc::new(BooleanArray::from_iter((0..200).map(|row| Some(row % 2 == 0))))),
    ]);
    let keys = json!({"algorithm": "random_forest", "from": "refined.x", "target": "high", "features": ["x"],
        "split": {"validate": 0.0, "test": 0.6}});
    let error = refused(&spec(keys), &alike);
    assert!(error.message().contains("in all 100 rows to learn from"), "{error}");
    assert!(error.hint_text().unwrap().contains("under `key`"), "{error:?}");
    let error = refused(&spec(changed(noise(), "key", json!(["boroug"]))), &rows);
    assert!(error.hint_text().unwrap().contains("borough"), "{error}");
}

/// What is told by `problems`, `refused` says in the same words.
#[test]
fn settings_that_cannot_be_are_told_before_there_are_rows() {
    let rows = city(60, 22);
    for (key, value, at, says) in [
        ("encode", json!({"borough": []}), "encode.borough", "names no part of a date"),
        ("search", json!({"max_depth": [2, 4]}), "search", "needs validation rows"),
        ("sample", json!(0), "sample", "`sample` is at least 1"),
        ("baseline_days", json!(0), "baseline_days", "`baseline_days` is at least 1"),
    ] {
        let keys = changed(noise(), "split", json!({"validate": 0, "test": 0.2}));
        let wrong: Spec = serde_json::from_value(changed(keys, key, value)).unwrap();
        let problems = wrong.problems();
        let (path, error) = problems.first().unwrap();
        assert_eq!((problems.len(), path.join(".").as_str(), error.code()), (1, at, codes::CONFIG), "{key}");
        assert!(error.message().contains(says), "{key}: {error}");
        if ["encode", "search"].contains(&key) {
            let refused = refused(&wrong, &rows);
            assert_eq!((refused.code(), refused.message()), (error.code(), error.message()), "{key}");
        }
    }
    let told = |keys: Value| serde_json::from_value::<Spec>(keys).unwrap().problems();
    let outliers = json!({"algorithm": "z_score", "from": "refined.x", "search": {"threshold": [2, 3]}});
    assert!(told(outliers)[0].1.message().contains("outliers has none"));
    let groups = json!({"algorithm": "k_means", "from": "refined.x", "encode": {"place": "target"}});
    assert!(told(groups)[0].1.hint_text().unwrap().contains("needs a target"));
    assert!(told(changed(future(), "series", json!(["day"])))[0].1.message().contains("which is the `time`"));
}

#[test]
fn a_target_that_is_not_finite_is_refused_by_name() {
    let values = |odd: f64| (0..60).map(move |row| if row % 20 == 7 { odd } else { f64::from(row * 7 % 11) });
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let rows = table(vec![
            ("day", Arc::new(Date32Array::from_iter_values(0..60)) as ArrayRef),
            ("x", Arc::new(Int64Array::from_iter_values((0..60).map(|row| row * 31 % 17)))),
            ("y", Arc::new(Float64Array::from_iter_values(values(odd)))),
        ]);
        let line = json!({"algorithm": "linear", "from": "refined.x", "target": "y", "features": ["x"]});
        let ahead =
            json!({"algorithm": "drift", "from": "refined.x", "target": "y", "time": "day", "horizon": 2});
        for keys in [line, ahead] {
            let error = refused(&spec(keys), &rows);
            assert_eq!(error.code(), codes::PREDICTOR_DATA, "{odd}: {error}");
            assert_eq!(error.message(), "`target: y` is NaN or infinite in 3 of 60 rows", "{odd}");
            assert!(error.hint_text().unwrap().contains("leave the rows out"), "{odd}: {error}");
        }
    }
}

/// Twice 1e308 is no number: the line is right, and the row is told.
#[test]
fn an_answer_beyond_all_numbers_is_refused_with_a_way_out() {
    let x = |row: i32| if row >= 55 { 1e308 } else { f64::from(row * 7919 % 53) };
    let rows = table(vec![
        ("day", Arc::new(Date32Array::from_iter_values(0..60)) as ArrayRef),
        ("x", Arc::new(Float64Array::from_iter_values((0..60).map(x)))),
        (
            "y",
            Arc::new(Float64Array::from_iter_values((0..60).map(|row| match row {
                55.. => 1.0,
                _ => 2.5 * x(row) + f64::from(row * 31 % 17),
            }))),
        ),
    ]);
    let keys = json!({"algorithm": "linear", "from": "refined.x", "target": "y", "features": ["x"],
        "time": "day", "split": {"validate": 0, "test": 0.1}});
    let error = refused(&spec(keys), &rows);
    assert_eq!(error.code(), codes::PREDICTOR_DATA, "{error}");
    assert!(error.message().ends_with("answers are beyond ±1.8e308"), "{error}");
    assert!(error.hint_text().unwrap().contains("divide the columns"), "{error}");
}

#[test]
fn dates_too_far_away_are_refused_by_name() {
    let days = (0..60).map(|row| if row == 7 { i32::MAX } else { row });
    let rows = table(vec![
        ("day", Arc::new(Date32Array::from_iter_values(days)) as ArrayRef),
        ("x", Arc::new(Int64Array::from_iter_values((0..60).map(|row| row * 31 % 17)))),
        ("y", Arc::new(Float64Array::from_iter_values((0..60).map(|row| f64::from(row * 7 % 11))))),
    ]);
    let by_time = json!({"algorithm": "linear", "from": "refined.x", "target": "y", "time": "day",
        "features": ["x"]});
    let as_feature = json!({"algorithm": "linear", "from": "refined.x", "target": "y",
        "encode": {"day": ["month"]}, "split": {"validate": 0, "test": 0}});
    for (keys, says) in [(by_time, "`time: day`"), (as_feature, "the feature `day`")] {
        let error = refused(&spec(keys), &rows);
        assert_eq!(error.code(), codes::PREDICTOR_DATA, "{error}");
        assert_eq!(error.message(), format!("{says} is a date too far away in 1 of 60 rows"));
        assert!(error.hint_text().unwrap().contains("never"), "{error}");
    }
}

#[test]
fn more_classes_than_can_be_told_apart_are_refused() {
    let of = |classes: i64| {
        table(vec![
            ("x", Arc::new(Int64Array::from_iter_values((0..2400).map(|row| row * 7919 % 2399))) as ArrayRef),
            ("class", Arc::new(Int64Array::from_iter_values((0..2400).map(|row| row % classes)))),
        ])
    };
    let keys = spec(json!({"algorithm": "gaussian_naive_bayes", "from": "refined.x", "target": "class"}));
    let error = refused(&keys, &of(1001));
    assert_eq!(error.code(), codes::PREDICTOR_DATA);
    assert_eq!(error.message(), "`target: class` has 1001 different values: more than 1000");
    assert_eq!(error.hint_text(), Some("for numbers take a regression"));
    learn(&keys, &of(1000)).unwrap();
}
