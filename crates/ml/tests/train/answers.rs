//! What a predictor answers, also of rows unlike those that it learned from.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Float64Array, Int64Array, StringArray},
    datatypes::Float64Type,
};
use lagar_flow::codes;
use lagar_ml::{Predictor, Question, Scorer};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;
use serde_json::json;

use crate::support::{changed, city, learn, noise, refused, spec, table, with};

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
