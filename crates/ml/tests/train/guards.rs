//! What would make it look better than it is: features that know too much, rows seen before, too little to learn from.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, RecordBatch, StringArray};
use lagar_flow::codes;
use lagar_ml::Spec;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;
use serde_json::{Value, json};

use crate::support::{changed, city, learn, noise, refused, spec, table, with};

#[test]
fn a_feature_that_gives_the_target_away_is_refused_unless_it_is_allowed() {
    let rows = city(200, 3);
    let high = rows.column_by_name("high").unwrap().as_boolean().clone();
    let codes: Vec<&str> = high.iter().map(|high| if high.unwrap() { "LOUD" } else { "quiet" }).collect();
    let rows = with(&rows, "state", Arc::new(StringArray::from(codes)));
    let keys = changed(noise(), "encode", json!({"borough": "one_hot", "state": "one_hot"}));
    let error = refused(&spec(keys.clone()), &rows);
    assert_eq!(error.code(), codes::PREDICTOR_LEAK);
    assert!(
        error.message().contains("`state`") && error.hint_text().unwrap().contains("allow_leak"),
        "{error}"
    );
    learn(&spec(changed(keys.clone(), "allow_leak", json!(["state"]))), &rows).unwrap();
    let error = refused(&spec(changed(keys, "allow_leak", json!(["stat"]))), &rows);
    assert!(error.message().contains("no column `stat`"), "{error}");
    // The target itself is a mistake of whoever wrote the settings.
    let itself: Spec =
        serde_json::from_value(changed(noise(), "features", json!(["lag_7", "high"]))).unwrap();
    let (key, error) = &itself.problems()[0];
    assert_eq!((key.as_slice(), error.code()), (&["features".to_owned()][..], codes::CONFIG));
    assert_eq!(refused(&itself, &city(50, 3)).message(), error.message());
}

#[test]
fn a_category_that_determines_the_target_is_refused_however_many_there_are() {
    let mut random = Xoshiro256Plus::seed_from_u64(51);
    let of_shop: Vec<bool> = (0..40).map(|_| random.gen_bool(0.5)).collect();
    let shop: Vec<usize> = (0..1000).map(|_| random.gen_range(0..40)).collect();
    let by_chance: Vec<bool> = (0..1000).map(|_| random.gen_bool(0.5)).collect();
    let rows = table(vec![
        ("shop", Arc::new(StringArray::from_iter_values(shop.iter().map(|n| format!("s{n}")))) as ArrayRef),
        ("y", Arc::new(BooleanArray::from_iter(shop.iter().map(|shop| Some(of_shop[*shop]))))),
    ]);
    let keys = json!({"algorithm": "random_forest", "from": "refined.x", "target": "y", "features": ["shop"],
        "encode": {"shop": "one_hot"}});
    let error = refused(&spec(keys.clone()), &rows);
    assert_eq!(error.code(), codes::PREDICTOR_LEAK, "{error}");
    assert!(error.message().contains("the feature `shop` gives `y` away"), "{error}");
    let honest = with(&rows, "y", Arc::new(BooleanArray::from(by_chance)));
    learn(&spec(keys), &honest).unwrap();
}

/// A value is nine tenths of the one before, and chance. In each of `places` places one of its own, day by day.
fn wandering(places: usize, days: i32, seed: u64) -> Vec<Vec<f64>> {
    let mut random = Xoshiro256Plus::seed_from_u64(seed);
    let mut series = vec![vec![]; places];
    for values in &mut series {
        let mut value = 0.0;
        for _ in 0..days {
            value = 0.9 * value + random.gen_range(-1.0..1.0);
            values.push(value);
        }
    }
    series
}

/// `day`, `place`, `y` and the feature `x`: the value so many rows later of the same place.
fn moved(series: &[Vec<f64>], by: isize) -> RecordBatch {
    let days = 0..series[0].len();
    let rows = || days.clone().flat_map(|day| (0..series.len()).map(move |place| (day, place)));
    let value = |day: Option<usize>, place: usize| series[place].get(day?).copied();
    let places: Vec<String> = rows().map(|(_, place)| format!("p{place}")).collect();
    table(vec![
        ("day", Arc::new(Date32Array::from_iter_values(rows().map(|(day, _)| day as i32))) as ArrayRef),
        ("place", Arc::new(StringArray::from(places))),
        ("x", Arc::new(Float64Array::from_iter(rows().map(|(d, p)| value(d.checked_add_signed(by), p))))),
        ("y", Arc::new(Float64Array::from_iter(rows().map(|(day, place)| value(Some(day), place))))),
    ])
}

fn by_time() -> Value {
    json!({"algorithm": "linear", "from": "refined.x", "target": "y", "time": "day", "features": ["x"],
        "impute": {"x": 0}})
}

#[test]
fn a_feature_of_a_later_row_is_refused_however_series_are_told_apart() {
    let (alone, places) = (wandering(1, 300, 1), wandering(3, 300, 1));
    let encoded = json!({"features": ["x", "place"], "encode": {"place": "one_hot"}});
    for (name, series, more) in [
        ("one", &alone, json!({})),
        ("by key", &places, json!({"key": ["day", "place"]})),
        ("by group", &places, json!({"group_by": "place"})),
        ("by a feature", &places, encoded),
        // The key of a row alone tells no series apart.
        ("by an id", &alone, json!({"key": ["y"]})),
    ] {
        let mut keys = by_time();
        keys.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        for (by, later) in [(1, "1 row"), (7, "7 rows")] {
            let error = refused(&spec(keys.clone()), &moved(series, by));
            assert_eq!(error.code(), codes::PREDICTOR_LEAK, "{name}: {error}");
            let says = format!(
                "the feature `x` knows the future: it gives `y` away {later} later (it says 100.0 % of it)"
            );
            assert_eq!(error.message(), says, "{name}");
            assert!(error.hint_text().unwrap().contains("`allow_leak: [x]`"), "{name}: {error}");
            let allowed = changed(keys.clone(), "allow_leak", json!(["x"]));
            learn(&spec(allowed), &moved(series, by)).unwrap();
            learn(&spec(keys.clone()), &moved(series, -by)).unwrap();
        }
    }
    // Nobody knows which rows follow on which, or what came first.
    learn(&spec(by_time()), &moved(&places, 1)).unwrap();
    learn(&spec(changed(by_time(), "time", Value::Null)), &moved(&alone, 1)).unwrap();
    // A place that no target is known of is one all the same.
    let rows = moved(&alone, 7);
    let known = (0..300).map(|row| (row % 9 != 4).then(|| alone[0][row]));
    let rows = with(&rows, "y", Arc::new(Float64Array::from_iter(known)));
    assert_eq!(refused(&spec(by_time()), &rows).code(), codes::PREDICTOR_LEAK);
    // More than one, and classes.
    let both = with(&moved(&alone, 2), "z", moved(&alone, 1).column_by_name("x").unwrap().clone());
    let loud = alone[0].iter().map(|value| if *value > 0.5 { "loud" } else { "quiet" });
    let both = with(&both, "loud", Arc::new(StringArray::from_iter_values(loud)));
    let numbers =
        changed(changed(by_time(), "features", json!(["x", "z"])), "impute", json!({"x": 0, "z": 0}));
    let classes =
        changed(changed(numbers.clone(), "algorithm", json!("random_forest")), "target", json!("loud"));
    for (keys, target) in [(numbers, "y"), (classes, "loud")] {
        let says = format!(
            "the features x (2 rows later), z (1 row later) know the future: they give `{target}` of later rows away"
        );
        let error = refused(&spec(keys), &both);
        assert_eq!((error.message(), error.code()), (says.as_str(), codes::PREDICTOR_LEAK));
        assert!(error.hint_text().unwrap().contains("`allow_leak: [x, z]`"), "{error}");
    }
}

#[test]
fn an_honest_lag_is_no_knowledge_of_the_future() {
    let mut likely = 0;
    for seed in 0..100 {
        let rows = moved(&wandering(1, 800, seed), -1);
        let future = learn(&spec(by_time()), &rows).unwrap().predictor.judged.future.unwrap();
        likely += u32::from(future.likely);
    }
    assert!(likely <= 3, "{likely} of 100");
}

#[test]
fn what_is_known_only_between_days_that_were_learned_from_is_told() {
    let mut random = Xoshiro256Plus::seed_from_u64(4);
    // A level that wanders. The feature is the number of the day: it says what the level is as long as that of the
    // days around it is known, as a mean around the row does.
    let mut level = 0.0;
    let (mut days, mut target) = (vec![], vec![]);
    for day in 0..600 {
        level += random.gen_range(-1.0..1.0);
        days.push(day);
        target.push(level);
    }
    let numbers: Vec<f64> = days.iter().map(|day| f64::from(*day)).collect();
    let rows = table(vec![
        ("day", Arc::new(Date32Array::from(days)) as ArrayRef),
        ("number", Arc::new(Float64Array::from(numbers))),
        ("level", Arc::new(Float64Array::from(target))),
    ]);
    let keys =
        json!({"algorithm": "regression_forest", "from": "refined.x", "target": "level", "time": "day"});
    let learned = learn(&spec(keys), &rows).unwrap();
    assert!(learned.predictor.judged.future.as_ref().unwrap().likely);
    assert!(
        learned.predictor.notes.iter().any(|note| note.contains("future")),
        "{:?}",
        learned.predictor.notes
    );
}

#[test]
fn a_class_that_comes_late_is_no_knowledge_of_the_future() {
    // Two classes that the feature tells apart, and from some day on, in the rows that judge, a third one.
    let days = 0..400;
    let x: Vec<f64> = days.clone().map(|day| f64::from(day * 7 % 30)).collect();
    let class = |(day, x): (i32, &f64)| match (day > 350, *x < 10.0, *x < 20.0) {
        (true, true, _) => "late",
        (_, _, true) => "low",
        _ => "high",
    };
    let classes: Vec<&str> = days.clone().zip(&x).map(class).collect();
    let rows = table(vec![
        ("day", Arc::new(Date32Array::from(days.collect::<Vec<_>>())) as ArrayRef),
        ("x", Arc::new(Float64Array::from(x))),
        ("class", Arc::new(StringArray::from(classes))),
    ]);
    let keys = json!({"algorithm": "random_forest", "from": "refined.x", "target": "class", "time": "day",
        "features": ["x"], "allow_leak": ["x"]});
    let learned = learn(&spec(keys), &rows).unwrap();
    let future = learned.predictor.judged.future.as_ref().unwrap();
    assert!(!future.likely && future.ordered > 0.95 && future.shuffled > 0.95, "{future:?}");
}

/// 100 days, of which the last 15 judge. A value is of one day alone but for those in `twice`: (day, the day before
/// that had it, too).
fn days_with_doubles(twice: &[(usize, usize)]) -> RecordBatch {
    let mut random = Xoshiro256Plus::seed_from_u64(23);
    let mut values: Vec<f64> = (0..100i32).map(f64::from).collect();
    let chance: Vec<f64> = (0..100).map(|_| random.gen_range(0.0..1.0)).collect();
    twice.iter().for_each(|(day, before)| values[*day] = values[*before]);
    table(vec![
        ("day", Arc::new(Date32Array::from((0..100).collect::<Vec<i32>>())) as ArrayRef),
        ("x", Arc::new(Float64Array::from(values))),
        ("y", Arc::new(Float64Array::from(chance))),
    ])
}

#[test]
fn rows_of_the_test_that_were_learned_from_are_counted_and_told() {
    let keys = json!({"algorithm": "linear", "from": "refined.x", "target": "y", "time": "day"});
    type Twice = &'static [(usize, usize)];
    let cases: [(Twice, u64, &str); 4] = [
        (&[], 0, ""),
        // Rows of the test that are alike to each other, and rows learned from that are.
        (&[(91, 90), (30, 29)], 0, ""),
        (&[(99, 3)], 1, "1 row of the test is alike to one that was learned from"),
        // The validation rows, 70 to 84, are learned from, too.
        (&[(85, 3), (86, 3), (99, 75)], 3, "3 rows of the test are alike to one that was learned from"),
    ];
    for (twice, rows, told) in cases {
        let predictor = learn(&spec(keys.clone()), &days_with_doubles(twice)).unwrap().predictor;
        assert_eq!(predictor.learned_from.rows_test, 15);
        assert_eq!(predictor.judged.rows_seen_before, rows, "{twice:?}");
        let notes: Vec<String> =
            predictor.notes.iter().filter(|note| note.contains("alike")).cloned().collect();
        assert_eq!(notes.join("; "), told, "{twice:?}");
    }
}

#[test]
fn parts_of_a_date_give_away_no_more_than_they_are() {
    let rows = table(vec![
        ("day", Arc::new(Date32Array::from((0..300).collect::<Vec<i32>>())) as ArrayRef),
        (
            "y",
            Arc::new(Float64Array::from_iter_values(
                (0..300).map(|n| f64::from(n) * 2.0 + f64::from(n).sin()),
            )),
        ),
    ]);
    let keys = json!({"algorithm": "linear", "from": "refined.x", "target": "y", "features": ["day"]});
    let by = |parts: Value| learn(&spec(changed(keys.clone(), "encode", json!({ "day": parts }))), &rows);
    by(json!(["day_of_week"])).unwrap();
    let leak = by(json!(["day_of_week", "days"])).unwrap_err();
    assert_eq!(leak.code(), codes::PREDICTOR_LEAK, "{leak}");
    assert!(leak.message().starts_with("the feature `day` gives `y` away"), "{leak}");
}

#[test]
fn more_columns_than_rows_are_told() {
    let columns: Vec<String> = (0..30).map(|n| format!("c{n}")).collect();
    let value = |column: usize, row: usize| ((column * 7919 + row * 104_729) % 1009) as f64;
    let mut all: Vec<(&str, ArrayRef)> = Vec::new();
    for (at, name) in columns.iter().enumerate() {
        all.push((name, Arc::new(Float64Array::from_iter_values((0..8).map(|row| value(at, row))))));
    }
    all.push(("y", Arc::new(Float64Array::from_iter_values((0..8).map(|row| value(31, row))))));
    let keys = json!({"algorithm": "ridge", "from": "refined.x", "target": "y"});
    let notes = learn(&spec(keys), &table(all)).unwrap().predictor.notes.join("; ");
    assert!(notes.contains("30 columns and") && notes.contains("know them by heart"), "{notes}");
}

#[test]
fn a_target_that_is_always_the_same_is_told() {
    let numbers = |value: fn(usize) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values((0..40).map(value)))
    };
    let rows = table(vec![("x", numbers(|row| row as f64)), ("y", numbers(|_| 2.5))]);
    let keys = json!({"algorithm": "linear", "from": "refined.x", "target": "y"});
    let notes = learn(&spec(keys), &rows).unwrap().predictor.notes.join("; ");
    assert!(notes.contains("`target: y` is 2.5 in every row"), "{notes}");
}
