//! What is learned from the rows: from all that may be known and from nothing else, and always the same.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray},
    datatypes::Float64Type,
};
use lagar_flow::codes;
use lagar_ml::{ALGORITHMS, JudgedOn, Lesson, Predictor, Question, Scorer, Task, train};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;
use serde_json::{Value, json};

use crate::support::{changed, city, learn, lesson, noise, read, record_of, spec, table, with};

#[test]
fn the_same_rows_give_the_same_record_with_any_number_of_threads() {
    let rows = city(200, 2);
    let spec = spec(changed(noise(), "search", json!({"max_depth": [2, 4]})));
    let mut before: Option<String> = None;
    for threads in [1, 2, 8, 1] {
        let lesson = Lesson { threads, ..lesson(&spec, &rows) };
        let text = serde_json::to_string(&train(&lesson).unwrap().predictor).unwrap();
        assert!(before.as_ref().is_none_or(|before| *before == text), "{threads} threads");
        before = Some(text);
    }
}

#[test]
fn rows_without_a_target_are_left_out_and_told() {
    let rows = city(100, 8);
    let mut high: Vec<Option<bool>> = rows.column_by_name("high").unwrap().as_boolean().iter().collect();
    high[199] = None;
    let rows = with(&rows, "high", Arc::new(BooleanArray::from(high)));
    let predictor = learn(&spec(noise()), &rows).unwrap().predictor;
    assert_eq!(predictor.learned_from.rows_without_target, 1);
    assert!(predictor.notes[0].contains("1 row without a target"), "{:?}", predictor.notes);
}

/// What says nothing, and what cannot be answered, is told.
#[test]
fn a_constant_feature_and_a_class_that_is_new_in_the_test_are_told() {
    let rows = city(100, 9);
    let keys = changed(changed(noise(), "promote", Value::Null), "baseline_days", Value::Null);
    let always = with(&rows, "weekday", Arc::new(Int64Array::from(vec![3; 200])));
    let notes = learn(&spec(keys.clone()), &always).unwrap().predictor.notes;
    assert!(notes.iter().any(|note| note.starts_with("`weekday` is the same in all ")), "{notes:?}");
    let high = rows.column_by_name("high").unwrap().as_boolean().clone();
    let class = |row: usize| match (row, high.value(row)) {
        (190.., _) => "storm",
        (_, true) => "high",
        _ => "low",
    };
    let classes = StringArray::from_iter_values((0..200).map(class));
    let predictor = learn(&spec(keys), &with(&rows, "high", Arc::new(classes))).unwrap().predictor;
    assert_eq!(predictor.classes(), ["high", "low"]);
    let told = "10 rows of the test are of classes that were not learned from, such as `storm`";
    assert!(predictor.notes.iter().any(|note| note.starts_with(told)), "{:?}", predictor.notes);
}

#[test]
fn target_encoding_of_rows_that_are_learned_from_does_not_know_their_own_target() {
    // A name for each row, and a target by chance: whoever encodes a row by its own target learns it by heart.
    let mut random = Xoshiro256Plus::seed_from_u64(11);
    let n = 600;
    let names: Vec<String> = (0..n).map(|row| format!("id{}", row / 2)).collect();
    let target: Vec<f64> = (0..n).map(|_| random.gen_range(0.0..1.0)).collect();
    let rows = table(vec![
        ("id", Arc::new(StringArray::from(names)) as ArrayRef),
        ("y", Arc::new(Float64Array::from(target))),
    ]);
    let keys = json!({
        "algorithm": "linear", "from": "refined.x", "target": "y", "features": ["id"], "encode": {"id": "target"},
        "split": {"validate": 0.0, "test": 0.3},
    });
    let predictor = learn(&spec(keys), &rows).unwrap().predictor;
    let Some(lagar_ml::judge::Measures::Regression(test)) = &predictor.judged.measures else { panic!() };
    assert!(test.r2.unwrap().abs() < 0.15, "{:?}", test.r2);
}

#[test]
fn groups_components_and_outliers_are_learned_without_a_target() {
    let rows = city(100, 21);
    for (algorithm, question) in [
        ("k_means", Question::Answer),
        ("pca", Question::Answer),
        ("isolation_forest", Question::Probability),
        ("z_score", Question::Answer),
    ] {
        let keys = json!({
            "algorithm": algorithm, "from": "refined.x", "features": ["lag_7", "weekday"], "impute": {"lag_7": "mean"},
            "scale": "standard",
        });
        let predictor = learn(&spec(keys), &rows).unwrap().predictor;
        let measures = predictor.judged.measures.as_ref().unwrap();
        let inertia = lagar_ml::judge::metric(measures, "inertia");
        assert_eq!(inertia.is_some_and(|inertia| inertia > 0.0), algorithm == "k_means", "{measures:?}");
        let answers = Scorer::new(predictor).unwrap().answer(question, &rows).unwrap();
        assert_eq!((answers.len(), answers.null_count()), (200, 0), "{algorithm}");
    }
}

#[test]
fn what_the_test_holds_changes_nothing_that_is_learned() {
    let rows = city(200, 31);
    let keys = changed(noise(), "search", json!({"max_depth": [2, 4]}));
    let keys = changed(keys, "encode", json!({"borough": "target"}));
    let keys = changed(changed(keys, "impute", json!({"lag_7": "mean"})), "scale", json!("standard"));
    let spec = spec(changed(keys, "threshold", json!({"metric": "f1"})));
    let before = learn(&spec, &rows).unwrap().predictor;
    let test = rows.num_rows() - before.learned_from.rows_test as usize;
    let other = |row: usize, value: f64, changed: f64| Some(if row < test { value } else { changed });
    let lag = rows.column_by_name("lag_7").unwrap().as_primitive::<Float64Type>();
    let lag = (0..400).map(|row| if lag.is_valid(row) { other(row, lag.value(row), -7e5) } else { None });
    let weekday = rows.column_by_name("weekday").unwrap().as_primitive::<arrow::datatypes::Int64Type>();
    let weekday = (0..400).map(|row| other(row, weekday.value(row) as f64, 99.0).map(|value| value as i64));
    let high = rows.column_by_name("high").unwrap().as_boolean();
    let high = (0..400).map(|row| Some(high.value(row) != (row >= test && row % 3 > 0)));
    let borough = rows.column_by_name("borough").unwrap().as_string::<i32>();
    let borough = (0..400).map(|row| if row < test { borough.value(row) } else { "elsewhere" });
    let rows = with(&rows, "lag_7", Arc::new(Float64Array::from_iter(lag)));
    let rows = with(&rows, "weekday", Arc::new(Int64Array::from_iter(weekday)));
    let rows = with(&rows, "high", Arc::new(BooleanArray::from_iter(high)));
    let rows = with(&rows, "borough", Arc::new(StringArray::from_iter_values(borough)));
    let after = learn(&spec, &rows).unwrap().predictor;
    assert_ne!(after.judged.measures, before.judged.measures);
    assert_eq!(what_was_learned(&after), what_was_learned(&before));
}

/// All of a record but how good it is.
fn what_was_learned(predictor: &Predictor) -> String {
    let mut record = record_of(predictor);
    for judged in ["judged", "promotion", "notes"] {
        record.as_object_mut().unwrap().remove(judged);
    }
    record.to_string()
}

#[test]
fn as_many_rows_as_are_in_the_test_change_nothing_that_is_learned() {
    let mut random = Xoshiro256Plus::seed_from_u64(32);
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(0..80));
    let x: Vec<f64> = (0..80).map(|_| random.gen_range(0.0..9.0)).collect();
    let y: Vec<f64> = x.iter().map(|x| 2.0 * x + random.gen_range(0.0..9.0)).collect();
    let of = |x: &[f64], y: &[f64]| {
        let numbers = |values: &[f64]| -> ArrayRef { Arc::new(Float64Array::from(values.to_vec())) };
        table(vec![("id", id.clone()), ("x", numbers(x)), ("y", numbers(y))])
    };
    let keys =
        json!({"algorithm": "linear", "from": "refined.x", "target": "y", "key": ["id"], "scale": "min_max"});
    let spec = spec(keys);
    let before = learn(&spec, &of(&x, &y)).unwrap().predictor;
    let same = (0..80).filter(|row| {
        let (mut x, mut y) = (x.clone(), y.clone());
        (x[*row], y[*row]) = (x[*row] + 20.0, y[*row] - 50.0);
        what_was_learned(&learn(&spec, &of(&x, &y)).unwrap().predictor) == what_was_learned(&before)
    });
    assert_eq!(same.count() as u64, before.learned_from.rows_test);
    assert!(before.learned_from.rows_test > 5);
}

#[test]
fn of_few_rows_is_learned_or_said_why_not() {
    for entry in ALGORITHMS {
        for days in [1, 2, 3] {
            let rows = city(days, 34);
            let mut keys = json!({"algorithm": entry.name, "from": "refined.x"});
            if entry.task == Task::Forecast {
                keys = changed(changed(keys, "time", json!("day")), "horizon", json!(1));
                keys = changed(changed(keys, "series", json!(["borough"])), "target", json!("weekday"));
                keys = changed(keys, "season", json!(2));
            } else {
                keys = changed(keys, "features", json!(["weekday", "lag_7"]));
                keys = changed(keys, "impute", json!({"lag_7": 3}));
            }
            match entry.task {
                Task::Classification => keys = changed(keys, "target", json!("high")),
                Task::Regression => {
                    keys = changed(changed(keys, "target", json!("weekday")), "features", json!(["lag_7"]));
                }
                _ => {}
            }
            for rows in [rows.slice(0, 1), rows] {
                let count = rows.num_rows();
                match learn(&spec(keys.clone()), &rows) {
                    Ok(learned) => {
                        let is_judged = learned.predictor.judged.on != JudgedOn::Nothing;
                        assert!(is_judged || entry.task == Task::Forecast, "{} of {count}", entry.name);
                        assert!(learned.predictor.learned_from.rows > 0, "{} of {count}", entry.name);
                    }
                    Err(error) => {
                        assert_eq!(error.code(), codes::PREDICTOR_DATA, "{} of {count}: {error}", entry.name);
                    }
                }
            }
        }
    }
    // A single row says what it is, and that nothing else judges.
    let keys = json!({"algorithm": "regression_tree", "from": "refined.x", "target": "weekday",
        "features": ["lag_7"], "impute": {"lag_7": 3}});
    let predictor = learn(&spec(keys.clone()), &city(1, 34).slice(0, 1)).unwrap().predictor;
    assert_eq!((predictor.judged.on, predictor.learned_from.rows), (JudgedOn::Training, 1));
    let notes = predictor.notes.join("; ");
    assert!(notes.contains("too few rows to keep some for judging") && notes.contains("by heart"), "{notes}");
}

/// The days that come are others than those before, always: of a date by its parts nothing changed for that.
#[test]
fn a_date_by_its_parts_has_no_drift() {
    let all = city(307, 37);
    let (rows, next) = (all.slice(0, 600), all.slice(600, 14));
    let keys = changed(noise(), "features", json!(["borough", "lag_7", "weekday", "day"]));
    let keys = changed(keys, "encode", json!({"borough": "one_hot", "day": ["month", "day_of_week"]}));
    let predictor = learn(&spec(keys), &rows).unwrap().predictor;
    // Records of before have a distribution of such a date.
    let mut before = record_of(&predictor);
    let distributions = before["distributions"].as_array_mut().unwrap();
    if !distributions.iter().any(|of| of[0] == "day") {
        let numbers =
            json!({"rows": 600, "edges": [0.0, 9.0], "shares": [0.0, 0.5, 0.5, 0.0], "missing": 0.0});
        distributions.push(json!(["day", {"numbers": numbers}]));
    }
    for predictor in [predictor, read(&before).unwrap()] {
        let drifts = Scorer::new(predictor).unwrap().drift(&next).unwrap();
        let names: Vec<&str> = drifts.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["borough", "lag_7", "weekday"]);
    }
}

#[test]
fn a_sample_is_told() {
    let (spec, rows) = (spec(noise()), city(100, 36));
    let of = |rows_of_table| train(&Lesson { rows_of_table, ..lesson(&spec, &rows) }).unwrap().predictor;
    let (all, sample) = (of(200), of(1234));
    assert_eq!((all.learned_from.sample_of, sample.learned_from.sample_of), (None, Some(1234)));
    assert!(!all.notes.join("; ").contains("sample"), "{:?}", all.notes);
    assert_eq!(sample.notes[0], "learned from a sample of 200 of 1234 rows");
    assert_eq!(sample.fitted, all.fitted);
}
