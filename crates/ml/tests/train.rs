//! From a table to a predictor that was judged: what is learned, refused, chosen and promoted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch,
        StringArray,
    },
    compute::concat_batches,
    datatypes::Float64Type,
};
use lagar_flow::{Error, codes};
use lagar_ml::{
    ALGORITHMS, JudgedOn, Learned, Lesson, Predictor, Question, Scorer, Spec, Task, judge::Measures, train,
};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;
use serde_json::{Value, json};

fn spec(keys: Value) -> Spec {
    let spec: Spec = serde_json::from_value(keys).unwrap();
    assert_eq!(
        spec.problems().iter().map(|(_, e)| e.message().to_owned()).collect::<Vec<_>>(),
        Vec::<String>::new()
    );
    spec
}

fn learn(spec: &Spec, rows: &RecordBatch) -> lagar_flow::Result<Learned> {
    learn_after(spec, rows, None)
}

fn learn_after(spec: &Spec, rows: &RecordBatch, before: Option<&Predictor>) -> lagar_flow::Result<Learned> {
    train(&Lesson { before, ..lesson(spec, rows) })
}

fn lesson<'a>(spec: &'a Spec, rows: &'a RecordBatch) -> Lesson<'a> {
    let rows_of_table = rows.num_rows() as u64;
    Lesson { spec, rows, version: 1, rows_of_table, threads: 2, memory: u64::MAX, before: None }
}

fn refused(spec: &Spec, rows: &RecordBatch) -> Error {
    learn(spec, rows).unwrap_err()
}

fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .unwrap()
}

fn with(rows: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let schema = rows.schema();
    let mut columns: Vec<(&str, ArrayRef)> =
        schema.fields().iter().zip(rows.columns()).map(|(f, c)| (f.name().as_str(), c.clone())).collect();
    match columns.iter_mut().find(|(known, _)| *known == name) {
        Some(known) => known.1 = column,
        None => columns.push((name, column)),
    }
    table(columns)
}

/// Two boroughs, a day each: the noise of a day is like that of the same weekday a week before, more in summer.
/// `high`: whether it is above what the borough is used to.
fn city(days: i32, seed: u64) -> RecordBatch {
    let mut random = Xoshiro256Plus::seed_from_u64(seed);
    let (mut day, mut borough, mut lag, mut weekday, mut high) = (vec![], vec![], vec![], vec![], vec![]);
    let mut before = [vec![], vec![]];
    for date in 0..days {
        for (place, name) in ["bronx", "queens"].into_iter().enumerate() {
            let usual = if place == 0 { 100.0 } else { 40.0 };
            let weekend = if date % 7 >= 5 { 1.5 } else { 1.0 };
            let summer = 1.0 + 0.1 * (f64::from(date) / 365.0 * std::f64::consts::TAU).sin();
            let cases = usual * weekend * summer + random.gen_range(-0.3..0.3) * usual;
            before[place].push(cases);
            day.push(19_000 + date);
            borough.push(name);
            weekday.push(i64::from(date % 7));
            let week_ago = before[place].len().checked_sub(8).map(|at| before[place][at]);
            lag.push(week_ago);
            high.push(cases > usual * 1.25);
        }
    }
    table(vec![
        ("day", Arc::new(Date32Array::from(day))),
        ("borough", Arc::new(StringArray::from(borough))),
        ("lag_7", Arc::new(Float64Array::from(lag))),
        ("weekday", Arc::new(Int64Array::from(weekday))),
        ("high", Arc::new(BooleanArray::from(high))),
    ])
}

fn noise() -> Value {
    json!({
        "algorithm": "random_forest", "from": "refined.noise", "target": "high", "time": "day",
        "features": {"except": ["day"]}, "group_by": "borough", "encode": {"borough": "one_hot"},
        "impute": {"lag_7": "median"}, "params": {"trees": 20, "max_depth": 6}, "seed": 42,
        "baseline_days": 7, "promote": {"metric": "balanced_accuracy"},
    })
}

fn changed(mut keys: Value, name: &str, value: Value) -> Value {
    keys[name] = value;
    keys
}

#[test]
fn a_classifier_is_judged_beside_its_baselines_by_group_and_promoted() {
    let Learned { predictor, verdict } = learn(&spec(noise()), &city(400, 1)).unwrap();
    assert!(verdict.promoted, "{}", verdict.why);
    let judged = &predictor.judged;
    assert_eq!(judged.on, JudgedOn::Test);
    let names: Vec<&str> = judged.baselines.iter().map(|baseline| baseline.name.as_str()).collect();
    assert_eq!(names, ["majority", "7 days before"]);
    let of_groups = judged.groups.iter().flat_map(|group| &group.baselines);
    assert!(judged.baselines.iter().chain(of_groups).all(|baseline| !baseline.margins.is_empty()));
    let groups: Vec<&str> = judged.groups.iter().map(|group| group.group.as_str()).collect();
    assert_eq!(groups, ["bronx", "queens"]);
    assert_eq!(judged.bias.as_ref().unwrap().groups.len(), 2);
    assert_eq!(predictor.classes(), ["false", "true"]);
    assert_eq!(predictor.learned_from.test_from.as_deref(), Some("2022-12-14"));
    assert_eq!(predictor.learned_from.rows + predictor.learned_from.rows_test, 800);
    assert_eq!(judged.importance.as_ref().unwrap().features[0].feature, "weekday");
    // As it is stored it is read, and answers.
    let text = serde_json::to_string(&predictor.to_json().unwrap()).unwrap();
    let stored = Predictor::read(&serde_json::from_str(&text).unwrap()).unwrap();
    assert_eq!(stored, predictor);
    let scorer = Scorer::new(stored).unwrap();
    let rows = city(30, 9);
    let answers = scorer.answer(Question::Answer, &rows).unwrap();
    assert_eq!(answers.data_type(), &arrow::datatypes::DataType::Boolean);
    let shares = scorer.answer(Question::Probability, &rows).unwrap();
    let shares = shares.as_primitive::<Float64Type>();
    for row in 0..rows.num_rows() {
        assert_eq!(answers.as_boolean().value(row), shares.value(row) > 0.5);
    }
    let of_class = scorer.probability_of("true", &rows).unwrap();
    assert_eq!(of_class.as_primitive::<Float64Type>(), shares);
}

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
    let error = refused(&spec(changed(noise(), "key", json!(["boroug"]))), &rows);
    assert!(error.hint_text().unwrap().contains("borough"), "{error}");
}

#[test]
fn what_was_not_there_when_it_learned_is_answered_or_refused_by_name() {
    let scorer = Scorer::new(learn(&spec(noise()), &city(200, 6)).unwrap().predictor).unwrap();
    let rows = city(10, 7);
    // A category of its own kind.
    let elsewhere = with(&rows, "borough", Arc::new(StringArray::from(vec!["atlantis"; 20])));
    assert_eq!(scorer.answer(Question::Answer, &elsewhere).unwrap().len(), 20);
    // Another type, a missing column.
    let typed = with(&rows, "weekday", Arc::new(StringArray::from(vec!["1"; 20])));
    let error = scorer.answer(Question::Answer, &typed).unwrap_err();
    assert!(error.message().contains("`weekday` was a number, and is text now"), "{error}");
    let fewer = rows.project(&[0, 1, 2]).unwrap();
    assert!(scorer.answer(Question::Answer, &fewer).unwrap_err().message().contains("`weekday` is missing"));
    // Integers where there were floats are numbers all the same.
    let whole = with(&rows, "lag_7", Arc::new(Int64Array::from(vec![Some(100); 20])));
    assert_eq!(scorer.answer(Question::Answer, &whole).unwrap().len(), 20);
    // A value of another type has another text.
    let keys = changed(noise(), "encode", json!({"borough": "one_hot", "weekday": "one_hot"}));
    let by_value = Scorer::new(learn(&spec(keys), &city(200, 6)).unwrap().predictor).unwrap();
    assert_eq!(by_value.answer(Question::Answer, &rows).unwrap().len(), 20);
    let floats = with(&rows, "weekday", Arc::new(Float64Array::from(vec![1.0; 20])));
    let error = by_value.answer(Question::Answer, &floats).unwrap_err();
    assert!(error.message().contains("`weekday` is encoded by its values, which were Int64"), "{error}");
    // Nulls without a replacement.
    let error = scorer
        .answer(Question::Answer, &with(&rows, "weekday", Arc::new(Int64Array::from(vec![None; 20]))))
        .unwrap_err();
    assert!(error.message().contains("`weekday` is null in 20 of 20 rows"), "{error}");
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

#[test]
fn numbers_are_as_exact_as_asked() {
    let table_of = |value: fn(usize) -> f64| {
        let x: ArrayRef = Arc::new(Float64Array::from_iter_values((0..60).map(value)));
        let y = (0..60).map(|row| row as f64 + (row * 7919 % 13) as f64);
        table(vec![("x", x), ("y", Arc::new(Float64Array::from_iter_values(y)))])
    };
    let keys = json!({"algorithm": "linear", "from": "refined.x", "target": "y"});
    let single = spec(changed(keys.clone(), "precision", json!("single")));
    // Numbers that 32 bits hold give the same, bit for bit.
    let halves = table_of(|row| row as f64 * 0.5 - 3.0);
    let exact = learn(&spec(keys.clone()), &halves).unwrap().predictor;
    let held = learn(&single, &halves).unwrap().predictor;
    assert_eq!(held.fitted, exact.fitted);
    assert_eq!(serde_json::to_value(&held).unwrap()["frame"]["precision"], "single");
    assert_eq!(serde_json::to_value(&exact).unwrap()["frame"].get("precision"), None);
    // Others are rounded alike when they are learned from and when they are asked.
    let answers = |predictor: &Predictor, values: &[f64]| {
        let x: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
        let answer = Scorer::new(predictor.clone()).unwrap().answer(Question::Answer, &table(vec![("x", x)]));
        answer.map(|answer| answer.as_primitive::<Float64Type>().values().to_vec())
    };
    let near = [0.1, f64::from(0.1_f32)];
    let both = answers(&held, &near).unwrap();
    assert_eq!(both[0], both[1]);
    let both = answers(&exact, &near).unwrap();
    assert_ne!(both[0], both[1]);
    // What 32 bits do not hold is no number any more.
    let far = |row: usize| if row == 7 { 1e300 } else { row as f64 };
    let error = refused(&single, &table_of(far));
    assert!(error.message().contains("`x` is infinite in 1 of"), "{error}");
    let error = answers(&held, &[1e300]).unwrap_err();
    assert!(error.message().contains("`x` is infinite in 1 of 1"), "{error}");
}

#[test]
fn hours_of_another_time_zone_are_refused() {
    let hours = |zone: Option<&str>| -> ArrayRef {
        let moments = (0..400).map(|hour| hour * 3_600_000_000 + hour % 7);
        let array = arrow::array::TimestampMicrosecondArray::from_iter_values(moments);
        Arc::new(array.with_timezone_opt(zone))
    };
    let target: ArrayRef =
        Arc::new(Float64Array::from_iter_values((0..400).map(|n| f64::from(n % 24 / 3 * n % 17))));
    let rows = table(vec![("at", hours(Some("UTC"))), ("y", target)]);
    let keys = json!({"algorithm": "linear", "from": "trusted.t", "target": "y", "features": ["at"],
                      "encode": {"at": ["hour"]}});
    let predictor = learn(&spec(keys), &rows).unwrap().predictor;
    let scorer = Scorer::new(predictor).unwrap();
    let asked = |zone| scorer.output(&with(&rows, "at", hours(zone)));
    asked(Some("+00:00")).unwrap();
    for zone in [None, Some("America/New_York")] {
        let error = asked(zone).unwrap_err();
        assert_eq!(error.code(), codes::PREDICTOR_DATA, "{error}");
        assert!(error.message().contains("`at` was learned from as Timestamp"), "{error}");
    }
}

#[test]
fn a_label_that_comes_only_in_the_test_counts_as_wrong() {
    let n = 300;
    let x: Vec<f64> = (0..n).map(f64::from).map(|v| (v * 0.7).sin()).collect();
    let mut kind: Vec<&str> = x.iter().map(|v| if *v > 0.0 { "up" } else { "down" }).collect();
    kind[n as usize - 1] = "sideways";
    let noisy: Vec<f64> =
        x.iter().enumerate().map(|(at, v)| v + if at % 5 == 0 { 1.0 } else { 0.0 }).collect();
    let rows = table(vec![
        ("day", Arc::new(Date32Array::from((0..n).collect::<Vec<_>>())) as ArrayRef),
        ("x", Arc::new(Float64Array::from(noisy))),
        ("kind", Arc::new(StringArray::from(kind))),
    ]);
    let keys = json!({"algorithm": "decision_tree", "from": "refined.x", "target": "kind", "time": "day"});
    let predictor = learn(&spec(keys), &rows).unwrap().predictor;
    assert_eq!(predictor.classes(), ["down", "up"]);
    let Some(lagar_ml::judge::Measures::Classification(measures)) = &predictor.judged.measures else {
        panic!()
    };
    assert_eq!(measures.confusion.len(), 3);
    assert_eq!(measures.confusion[1].iter().sum::<u64>(), 1, "{:?}", measures.confusion);
    assert_eq!(measures.confusion[1][1], 0);
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
fn the_best_parameters_are_chosen_by_validation_rows_and_the_rest_is_told() {
    let keys = changed(noise(), "search", json!({"max_depth": [1, 6], "trees": [1, 20]}));
    let predictor = learn(&spec(keys), &city(300, 12)).unwrap().predictor;
    assert_eq!(predictor.tried.len(), 4);
    let best = predictor.tried.iter().filter_map(|tried| tried.value).fold(0.0, f64::max);
    let chosen = predictor.tried.iter().find(|tried| tried.params == predictor.params).unwrap();
    assert_eq!(chosen.value, Some(best));
    assert_eq!(chosen.metric, "balanced_accuracy");
    let wrong: Spec = serde_json::from_value(changed(noise(), "search", json!({"depth": [1]}))).unwrap();
    assert!(wrong.problems()[0].1.message().contains("depth"));
}

#[test]
fn a_worse_version_and_one_no_better_than_its_baseline_are_not_promoted() {
    let rows = city(400, 13);
    let alone = changed(noise(), "baseline_days", Value::Null);
    let good = learn(&spec(alone.clone()), &rows).unwrap().predictor;
    let weak = changed(alone, "features", json!(["lag_7"]));
    let after = learn_after(&spec(weak), &rows, Some(&good)).unwrap();
    assert!(
        !after.verdict.promoted && after.verdict.why.contains("worse than that of the current version"),
        "{}",
        after.verdict.why
    );
    // As good as the one before is good enough.
    assert!(learn_after(&spec(noise()), &rows, Some(&good)).unwrap().verdict.promoted);
    // Nothing can be learned from chance.
    let mut random = Xoshiro256Plus::seed_from_u64(14);
    let chance: Vec<bool> = (0..800).map(|_| random.gen_bool(0.3)).collect();
    let rows = with(&rows, "high", Arc::new(BooleanArray::from(chance)));
    let keys = changed(noise(), "promote", json!({"metric": "log_loss"}));
    let learned = learn(&spec(keys), &rows).unwrap();
    assert!(!learned.verdict.promoted && learned.verdict.why.contains("majority"), "{}", learned.verdict.why);
}

#[test]
fn a_threshold_is_chosen_on_the_validation_rows() {
    let keys = changed(noise(), "threshold", json!({"metric": "recall", "min_precision": 0.5}));
    let predictor = learn(&spec(keys), &city(400, 15)).unwrap().predictor;
    let threshold = predictor.target.as_ref().unwrap().threshold.unwrap();
    assert!((0.0..1.0).contains(&threshold), "{threshold}");
    let scorer = Scorer::new(predictor).unwrap();
    let rows = city(30, 16);
    let answers = scorer.answer(Question::Answer, &rows).unwrap();
    let shares = scorer.answer(Question::Probability, &rows).unwrap();
    for row in 0..rows.num_rows() {
        assert_eq!(
            answers.as_boolean().value(row),
            shares.as_primitive::<Float64Type>().value(row) >= threshold
        );
    }
}

#[test]
fn rows_that_changed_since_are_told() {
    let scorer = Scorer::new(learn(&spec(noise()), &city(300, 17)).unwrap().predictor).unwrap();
    let same = scorer.drift(&city(300, 18)).unwrap();
    assert!(
        same.iter().all(|(_, drift)| drift.level == lagar_ml::judge::guards::DriftLevel::None),
        "{same:?}"
    );
    let rows = city(300, 18);
    let moved = with(&rows, "weekday", Arc::new(Int64Array::from(vec![6; 600])));
    let drifts = scorer.drift(&moved).unwrap();
    let strong: Vec<&str> = drifts
        .iter()
        .filter(|(_, drift)| drift.level == lagar_ml::judge::guards::DriftLevel::Strong)
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(strong, ["weekday"]);
}

#[test]
fn more_than_two_classes_have_a_share_each() {
    let mut random = Xoshiro256Plus::seed_from_u64(19);
    let n = 300;
    let (mut x, mut kind) = (vec![], vec![]);
    for row in 0..n {
        let class = row % 3;
        x.push(f64::from(class) * 2.0 + random.gen_range(-1.5..1.5));
        kind.push([10, 2, 30][class as usize]);
    }
    let rows = table(vec![
        ("x", Arc::new(Float64Array::from(x)) as ArrayRef),
        ("kind", Arc::new(Int64Array::from(kind))),
    ]);
    let keys = json!({"algorithm": "logistic", "from": "refined.x", "target": "kind"});
    let predictor = learn(&spec(keys), &rows).unwrap().predictor;
    assert_eq!(predictor.classes(), ["2", "10", "30"]);
    let scorer = Scorer::new(predictor).unwrap();
    let shares = scorer.answer(Question::Probability, &rows).unwrap();
    let names: Vec<String> = shares.as_struct().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["2", "10", "30"]);
    let answers = scorer.answer(Question::Answer, &rows).unwrap();
    assert!(
        answers
            .as_primitive::<arrow::datatypes::Int64Type>()
            .iter()
            .flatten()
            .all(|v| [2, 10, 30].contains(&v))
    );
}

#[test]
fn a_newer_record_is_refused_by_name_and_a_broken_one_too() {
    let good = learn(&spec(noise()), &city(100, 20)).unwrap().predictor.to_json().unwrap();
    let error = Predictor::read(&changed(good.clone(), "format_version", json!(2))).unwrap_err();
    assert_eq!(error.code(), codes::LAKE_VERSION);
    let broken = Predictor::read(&changed(good.clone(), "fitted", json!({"trees": "none"}))).unwrap();
    assert_eq!(Scorer::new(broken).unwrap_err().code(), codes::PREDICTOR_STORED);
    let unknown = Predictor::read(&changed(good, "algorithm", json!("oracle"))).unwrap();
    assert_eq!(Scorer::new(unknown).unwrap_err().code(), codes::PREDICTOR_STORED);
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

/// Everything in a record that decides answers, changed one by one: an error that says that it does not fit, or
/// answers; nothing panics.
#[test]
fn a_record_that_was_written_by_hand_answers_or_is_refused() {
    let rows = city(60, 23);
    let more = |keys: Value| changed(keys, "scale", json!("standard"));
    let encoded = changed(noise(), "features", json!(["borough", "lag_7", "weekday", "day"]));
    let encode = json!({"borough": "target", "weekday": "ordinal", "day": ["month", "days"]});
    let records = [
        more(changed(changed(noise(), "algorithm", json!("logistic")), "params", json!({}))),
        changed(encoded, "encode", encode),
        more(
            json!({"algorithm": "pca", "from": "refined.x", "features": ["weekday", "lag_7"], "impute": {"lag_7": 0}}),
        ),
        json!({"algorithm": "z_score", "from": "refined.x", "features": ["weekday"]}),
    ];
    for keys in records {
        let keys = changed(keys, "promote", Value::Null);
        let keys = match keys["algorithm"].as_str() {
            Some("random_forest") => changed(keys, "params", json!({"trees": 2, "max_depth": 2})),
            _ => keys,
        };
        let record = learn(&spec(keys), &rows).unwrap().predictor.to_json().unwrap();
        let mut places = Vec::new();
        for part in ["task", "algorithm", "target", "frame", "columns", "distributions", "fitted"] {
            // Without a target there is none.
            if let Some(value) = record.get(part) {
                places_in(value, &format!("/{part}"), &mut places);
            }
        }
        let (mut tried, mut refused) = (0, 0);
        for place in places {
            for other in others(record.pointer(&place).unwrap()) {
                let mut record = record.clone();
                *record.pointer_mut(&place).unwrap() = other;
                tried += 1;
                let Ok(predictor) = Predictor::read(&record) else { continue };
                match Scorer::new(predictor) {
                    Err(error) => {
                        refused += 1;
                        assert_eq!(error.code(), codes::PREDICTOR_STORED, "{place}: {error}");
                        assert!(error.hint_text().is_some(), "{place}: {error}");
                    }
                    Ok(scorer) => {
                        for question in [Question::Answer, Question::Probability] {
                            let _ = scorer.answer(question, &rows);
                        }
                        let _ = scorer.drift(&rows);
                    }
                }
            }
        }
        assert!(tried > 100 && refused > 10, "{tried} {refused}");
    }
}

/// The places of all values, as JSON pointers.
fn places_in(value: &Value, at: &str, places: &mut Vec<String>) {
    places.push(at.to_owned());
    match value {
        Value::Array(list) => {
            list.iter()
                .enumerate()
                .for_each(|(place, value)| places_in(value, &format!("{at}/{place}"), places));
        }
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| places_in(value, &format!("{at}/{key}"), places));
        }
        _ => {}
    }
}

/// What may stand there instead.
fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(list) => {
            let shorter = list.iter().skip(1).cloned().collect();
            let longer = list.iter().chain(list.last()).cloned().collect();
            let backwards = list.iter().rev().cloned().collect();
            vec![json!([]), Value::Array(shorter), Value::Array(longer), Value::Array(backwards)]
        }
        Value::Number(_) => vec![json!(0), json!(-1), json!(3), json!(1_u64 << 40), json!(1e308)],
        Value::String(_) => {
            ["", "number", "text", "time", "linear", "pca", "auto_ets", "regression", "outliers", "forecast"]
                .map(Value::from)
                .to_vec()
        }
        _ => vec![Value::Null],
    }
}

#[test]
fn what_does_not_fit_in_a_record_is_said() {
    let good = learn(&spec(noise()), &city(100, 24)).unwrap().predictor.to_json().unwrap();
    for (place, value, says) in [
        ("/columns", json!(["a"]), "the columns are not those of the frame"),
        ("/target/classes", json!(["true"]), "the target has 1 classes"),
        ("/target/classes", json!(["low", "high"]), "a class of the target is no bool"),
        ("/target/classes", json!(["false", "true", "maybe"]), "a class of the target is no bool"),
        ("/task", json!("regression"), "`random_forest` is for classification, and the task is regression"),
        ("/task", json!("forecast"), "`random_forest` is for classification, and the task is forecast"),
        ("/frame/features", json!([]), "the frame makes no column"),
        ("/frame/scaling", json!([{"minus": 0, "over": 1}]), "1 columns are scaled of 5"),
        ("/frame/features/0/encoding/one_hot/categories", json!(["b", "a"]), "values that are not in order"),
        (
            "/frame/features/1/encoding",
            json!({"parts": {"parts": ["day"]}}),
            "an encoding that is not for its kind",
        ),
        ("/fitted/classes", json!(3), "there are 3 classes for 2 classes of the target"),
        ("/fitted/trees/features", json!(["a"]), "the numbers of a `random_forest`"),
        ("/fitted/trees/trees", json!([]), "there is no tree"),
        ("/distributions/0/0", json!("other"), "`other` has a distribution and is no feature"),
        ("/target", Value::Null, "classification has a target, and there is none"),
    ] {
        let mut record = good.clone();
        match record.pointer_mut(place) {
            Some(there) => *there = value,
            None => record["frame"]["scaling"] = value,
        }
        let error = Scorer::new(Predictor::read(&record).unwrap()).unwrap_err();
        assert_eq!(error.code(), codes::PREDICTOR_STORED, "{place}: {error}");
        assert!(error.message().contains(says), "{place}: {error}");
    }
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
    let mut record = predictor.to_json().unwrap();
    for judged in ["judged", "notes"] {
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
fn columns_of_many_values_count_for_the_memory() {
    // A number and a name of a hundred: 102 columns of the matrix, 3 of the table.
    let rows = 20_000;
    let names = (0..rows).map(|row| format!("n{}", row * 7919 % 100));
    let numbers =
        |of: usize| Arc::new(Float64Array::from_iter_values((0..rows).map(|row| (row * 7919 % of) as f64)));
    let rows = table(vec![
        ("name", Arc::new(StringArray::from_iter_values(names)) as ArrayRef),
        ("x", numbers(997)),
        ("y", numbers(1009)),
    ]);
    let one_hot =
        json!({"algorithm": "ridge", "from": "refined.x", "target": "y", "encode": {"name": "one_hot"}});
    let memory = 8 << 20;
    let within = |keys: &Value, memory: u64| {
        let spec = spec(keys.clone());
        train(&Lesson { memory, ..lesson(&spec, &rows) }).map(drop)
    };
    // 20,000 rows of 102 numbers of 8 bytes.
    for keys in [one_hot.clone(), changed(one_hot.clone(), "scale", json!("standard"))] {
        let error = within(&keys, memory).unwrap_err();
        assert_eq!(error.code(), codes::MEMORY, "{error}");
        let says = "20000 rows become 102 columns of numbers: with what `ridge` makes of them they need about 17 MiB, \
                    and a predictor may use 8 MiB";
        assert_eq!(error.message(), says);
        assert!(error.hint_text().unwrap().contains("`sample: N`"), "{error}");
    }
    within(&one_hot, 17 << 20).unwrap();
    within(&changed(one_hot, "encode", json!({"name": "target"})), memory).unwrap();
}

#[test]
fn what_compares_all_rows_counts_for_the_memory() {
    let rows = 1000;
    let numbers =
        |of: usize| Arc::new(Float64Array::from_iter_values((0..rows).map(|row| (row * 7919 % of) as f64)));
    let classes = (0..rows).map(|row| ["a", "b"][row * 31 % 97 % 2]);
    let rows = table(vec![
        ("x", numbers(997) as ArrayRef),
        ("y", numbers(1009)),
        ("class", Arc::new(StringArray::from_iter_values(classes))),
    ]);
    for (algorithm, target) in [("svr", "y"), ("svm", "class")] {
        let keys = json!({"algorithm": algorithm, "from": "refined.x", "target": target, "features": ["x"],
            "split": {"validate": 0, "test": 0}});
        let within = |keys: &Value, memory: u64| {
            let spec = spec(keys.clone());
            train(&Lesson { memory, ..lesson(&spec, &rows) }).map(drop)
        };
        // A million similarities of 8 bytes.
        let error = within(&keys, 7 << 20).unwrap_err();
        assert_eq!(error.code(), codes::MEMORY, "{error}");
        assert!(
            error.message().contains(&format!("what `{algorithm}` makes of them they need about 8 MiB")),
            "{error}"
        );
        // More rows than may be are told as such.
        let fewer = changed(keys.clone(), "params", json!({"max_rows": 999}));
        assert!(within(&fewer, 7 << 20).unwrap_err().message().contains("1000 rows are more than 999"));
        // As many iterations are not needed here.
        let params = changed(keys, "params", json!({"tolerance": 10.0}));
        within(&params, 9 << 20).unwrap();
    }
}

#[test]
fn what_compares_each_row_with_each_other_has_a_cap() {
    let rows = city(40, 33);
    let mut capped = Vec::new();
    for entry in ALGORITHMS.iter().filter(|entry| entry.task != Task::Forecast) {
        let params = entry.params(&json!({})).unwrap();
        if params.get("max_rows").is_none() {
            continue;
        }
        capped.push(entry.name);
        let keys = json!({"algorithm": entry.name, "from": "refined.x", "features": ["lag_7", "weekday"],
            "impute": {"lag_7": 0}, "params": {"max_rows": 39}, "split": {"validate": 0, "test": 0.5}});
        let keys = match entry.task {
            Task::Regression => changed(keys, "target", json!("lag_7")),
            Task::Classification => changed(keys, "target", json!("high")),
            _ => keys,
        };
        let keys = match entry.task {
            Task::Regression => changed(changed(keys, "features", json!(["weekday"])), "impute", json!({})),
            _ => keys,
        };
        let most = |rows: u64| changed(keys.clone(), "params", json!({"max_rows": rows}));
        let learned_from = learn(&spec(most(80)), &rows).unwrap().predictor.learned_from.rows;
        learn(&spec(most(learned_from)), &rows).unwrap();
        let error = refused(&spec(most(learned_from - 1)), &rows);
        assert_eq!(error.code(), codes::PREDICTOR_DATA, "{error}");
        let (message, says) = (error.message(), format!(" are more than {}", learned_from - 1));
        assert!(message.contains(entry.name) && message.ends_with(&says), "{error}");
        assert!(error.hint_text().unwrap().contains("`max_rows`"), "{error}");
    }
    capped.sort_unstable();
    let known = ["dbscan", "local_outlier_factor", "nearest_neighbours", "optics", "svm", "svr"];
    assert_eq!(capped, known);
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

#[test]
fn of_few_rows_is_learned_or_said_why_not() {
    for entry in ALGORITHMS {
        for days in [1, 2, 3] {
            let rows = city(days, 34);
            let mut keys = json!({"algorithm": entry.name, "from": "refined.x"});
            if entry.task == Task::Forecast {
                keys = changed(changed(keys, "time", json!("day")), "horizon", json!(1));
                keys = changed(changed(keys, "series", json!(["borough"])), "target", json!("weekday"));
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

#[test]
fn each_group_is_judged_by_its_own_rows() {
    let rows = city(200, 35);
    for (algorithm, target, baselines) in [
        ("regression_tree", Some("lag_7"), &["mean", "7 days before"][..]),
        ("k_means", None, &[]),
        ("isolation_forest", None, &[]),
        ("pca", None, &[]),
    ] {
        let keys = json!({"algorithm": algorithm, "from": "refined.x", "features": ["weekday", "load"],
            "time": "day", "group_by": "borough"});
        let keys = match target {
            Some(target) => changed(changed(keys, "target", json!(target)), "baseline_days", json!(7)),
            None => keys,
        };
        let load = (0..400).map(|row| f64::from(row * 37 % 101));
        let rows = with(&rows, "load", Arc::new(Float64Array::from_iter_values(load)));
        let judged = learn(&spec(keys), &rows).unwrap().predictor.judged;
        let rows_of = |measures: &Measures| match measures {
            Measures::Regression(measures) => {
                (measures.rows, measures.rmse * measures.rmse * measures.rows as f64)
            }
            Measures::Clustering(measures) => (measures.sizes.iter().map(|size| size.rows).sum(), 0.0),
            Measures::Outliers(measures) => (measures.rows, measures.flagged as f64),
            Measures::Reduction(measures) => (measures.rows, 0.0),
            other => panic!("{other:?}"),
        };
        let groups: Vec<&str> = judged.groups.iter().map(|group| group.group.as_str()).collect();
        assert_eq!(groups, ["bronx", "queens"], "{algorithm}");
        let (all, sum) = rows_of(judged.measures.as_ref().unwrap());
        let parts = judged.groups.iter().map(|group| rows_of(&group.measures));
        let parts = parts.fold((0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        assert_eq!(parts.0, all, "{algorithm}");
        assert!((parts.1 - sum).abs() <= 1e-9 * sum.abs(), "{algorithm}: {parts:?} is not {sum}");
        for group in &judged.groups {
            let names: Vec<&str> = group.baselines.iter().map(|baseline| baseline.name.as_str()).collect();
            assert!(names.starts_with(baselines), "{algorithm}: {names:?}");
        }
    }
    // Forecasts have series instead.
    let grouped: Spec = serde_json::from_value(changed(future(), "group_by", json!("place"))).unwrap();
    let problems = grouped.problems();
    assert_eq!(problems[0].1.message(), "`group_by` has no meaning for a forecast");
    let judged = learn(&spec(future()), &daily(&[("a", 140), ("bb", 120)])).unwrap().predictor.judged;
    let series: Vec<String> = judged.forecast.unwrap().series.into_iter().map(|series| series.key).collect();
    assert_eq!(series, ["a", "bb"]);
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

// ---- forecasts ----

fn daily(series: &[(&str, i32)]) -> RecordBatch {
    let parts: Vec<RecordBatch> = series
        .iter()
        .map(|(name, days)| {
            let mut random = Xoshiro256Plus::seed_from_u64(name.len() as u64);
            let wave = |day: i32| 50.0 + 20.0 * (f64::from(day) / 7.0 * std::f64::consts::TAU).sin();
            let values: Vec<f64> = (0..*days).map(|day| wave(day) + random.gen_range(-1.0..1.0)).collect();
            table(vec![
                ("day", Arc::new(Date32Array::from((0..*days).collect::<Vec<_>>())) as ArrayRef),
                ("place", Arc::new(StringArray::from(vec![*name; *days as usize]))),
                ("cases", Arc::new(Float64Array::from(values))),
            ])
        })
        .collect();
    concat_batches(&parts[0].schema(), &parts).unwrap()
}

fn future() -> Value {
    json!({
        "algorithm": "auto_ets", "from": "refined.x", "target": "cases", "time": "day", "series": ["place"],
        "horizon": 7, "season": 7, "promote": {"metric": "mase"},
    })
}

#[test]
fn a_forecast_is_a_table_with_a_row_for_each_series_and_step() {
    let learned = learn(&spec(future()), &daily(&[("a", 420), ("bb", 400)])).unwrap();
    assert!(learned.verdict.promoted, "{}", learned.verdict.why);
    let text = serde_json::to_string(&learned.predictor).unwrap();
    let predictor = Predictor::read(&serde_json::from_str(&text).unwrap()).unwrap();
    let forecasts = predictor.forecasts.unwrap();
    let rows = forecasts.batch(None).unwrap();
    assert_eq!(rows.num_rows(), 14);
    let schema = rows.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["place", "day", "step", "value", "lower", "upper"]);
    let days = rows.column(1).as_primitive::<arrow::datatypes::Date32Type>();
    assert_eq!((days.value(0), days.value(6), days.value(7)), (420, 426, 400));
    let wave = |day: f64| 50.0 + 20.0 * (day / 7.0 * std::f64::consts::TAU).sin();
    let values = rows.column(3).as_primitive::<Float64Type>();
    for row in 0..14 {
        let expected = wave(f64::from(days.value(row)));
        assert!((values.value(row) - expected).abs() < 3.0, "{row}: {} and {expected}", values.value(row));
    }
    assert_eq!(forecasts.batch(Some(2)).unwrap().num_rows(), 4);
    assert_eq!(forecasts.batch(Some(8)).unwrap_err().code(), codes::PREDICTOR_DATA);
}

#[test]
fn gaps_doubles_and_short_series_are_told_by_name() {
    let rows = daily(&[("a", 60)]);
    let gap = concat_batches(&rows.schema(), &[rows.slice(0, 30), rows.slice(31, 29)]).unwrap();
    let error = refused(&spec(future()), &gap);
    assert!(error.message().contains("`a` is not evenly spaced: 1970-01-30"), "{error}");
    let double = concat_batches(&rows.schema(), &[rows.clone(), rows.slice(5, 1)]).unwrap();
    assert!(refused(&spec(future()), &double).message().contains("two values for 1970-01-06"));
    let learned =
        learn(&spec(changed(future(), "promote", Value::Null)), &daily(&[("a", 100), ("bb", 1)])).unwrap();
    assert_eq!(learned.predictor.forecasts.as_ref().unwrap().series.len(), 1);
    assert!(
        learned.predictor.notes.iter().any(|note| note.contains("`bb`")),
        "{:?}",
        learned.predictor.notes
    );
}

#[test]
fn months_are_stepped_by_the_calendar() {
    let first = |month: i32| {
        let date = chrono::NaiveDate::from_ymd_opt(2020 + month / 12, (month % 12 + 1) as u32, 1).unwrap();
        date.signed_duration_since(chrono::NaiveDate::from_ymd_opt(1970, 1, 1).unwrap()).num_days() as i32
    };
    let rows = table(vec![
        ("month", Arc::new(Date32Array::from((0..36).map(first).collect::<Vec<_>>())) as ArrayRef),
        ("cases", Arc::new(Int64Array::from((0..36).collect::<Vec<i64>>()))),
    ]);
    let keys =
        json!({"algorithm": "drift", "from": "refined.x", "target": "cases", "time": "month", "horizon": 3});
    let rows = learn(&spec(keys), &rows).unwrap().predictor.forecasts.unwrap().batch(None).unwrap();
    let days = rows.column(0).as_primitive::<arrow::datatypes::Date32Type>();
    assert_eq!(days.values().to_vec(), [first(36), first(37), first(38)]);
    assert_eq!(rows.column(2).as_primitive::<Float64Type>().values().to_vec(), [36.0, 37.0, 38.0]);
    // The last days of months: after 28 February comes 31 March. And two months of 31 days are months, too.
    let day = |y, m, d| {
        let epoch = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        chrono::NaiveDate::from_ymd_opt(y, m, d).unwrap().signed_duration_since(epoch).num_days() as i32
    };
    for (known, next) in [
        (vec![day(2022, 12, 31), day(2023, 1, 31), day(2023, 2, 28)], [day(2023, 3, 31), day(2023, 4, 30)]),
        (vec![day(2023, 7, 1), day(2023, 8, 1), day(2023, 9, 1)], [day(2023, 10, 1), day(2023, 11, 1)]),
        // Also where the first month is a short one, and of quarters.
        (vec![day(2010, 2, 28), day(2010, 3, 31), day(2010, 4, 30)], [day(2010, 5, 31), day(2010, 6, 30)]),
        (vec![day(2023, 4, 30), day(2023, 7, 31), day(2023, 10, 31)], [day(2024, 1, 31), day(2024, 4, 30)]),
        // The 28th of each month is no last day.
        (vec![day(2023, 2, 28), day(2023, 3, 28), day(2023, 4, 28)], [day(2023, 5, 28), day(2023, 6, 28)]),
    ] {
        let cases: Vec<i64> = (0..known.len() as i64).collect();
        let rows = table(vec![
            ("month", Arc::new(Date32Array::from(known)) as ArrayRef),
            ("cases", Arc::new(Int64Array::from(cases))),
        ]);
        let keys = json!({"algorithm": "drift", "from": "refined.x", "target": "cases", "time": "month", "horizon": 2});
        let rows = learn(&spec(keys), &rows).unwrap().predictor.forecasts.unwrap().batch(None).unwrap();
        let days = rows.column(0).as_primitive::<arrow::datatypes::Date32Type>();
        assert_eq!(days.values().to_vec(), next);
    }
}
