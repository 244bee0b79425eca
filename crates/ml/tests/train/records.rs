//! What was stored and is read again: newer, broken, or written by hand.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use lagar_flow::codes;
use lagar_ml::{Question, Scorer};
use serde_json::{Value, json};

use crate::support::{changed, city, learn, noise, read, record_of, spec, table};

#[test]
fn a_newer_record_is_refused_by_name_and_a_broken_one_too() {
    let good = record_of(&learn(&spec(noise()), &city(100, 20)).unwrap().predictor);
    let error = read(&changed(good.clone(), "format_version", json!(2))).unwrap_err();
    assert_eq!(error.code(), codes::LAKE_VERSION);
    let broken = read(&changed(good.clone(), "fitted", json!({"trees": "none"}))).unwrap();
    assert_eq!(Scorer::new(broken).unwrap_err().code(), codes::PREDICTOR_STORED);
    let unknown = read(&changed(good, "algorithm", json!("oracle"))).unwrap();
    assert_eq!(Scorer::new(unknown).unwrap_err().code(), codes::PREDICTOR_STORED);
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
        let record = record_of(&learn(&spec(keys), &rows).unwrap().predictor);
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
                let Ok(predictor) = read(&record) else { continue };
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

/// JSON has no infinity: a number that is none would be written as null, and the record could not be read.
#[test]
fn what_reaches_beyond_all_numbers_can_be_read_again() {
    let x = (0..60).map(|row| if row * 31 % 60 < 30 { -8e307 } else { 8e307 });
    let rows = table(vec![("x", Arc::new(Float64Array::from_iter_values(x)) as ArrayRef)]);
    for (algorithm, params) in [
        ("iqr", json!({})),
        ("iqr", json!({"factor": 1e300})),
        ("mad", json!({})),
        ("z_score", json!({"threshold": 9})),
    ] {
        // Equal rows would fall into one part.
        let split = json!({"validate": 0, "test": 0});
        let keys = json!({"algorithm": algorithm, "from": "refined.x", "params": params, "split": split});
        let predictor = learn(&spec(keys), &rows).unwrap().predictor;
        let read = read(&record_of(&predictor)).unwrap_or_else(|error| panic!("{algorithm}: {error}"));
        assert_eq!(read, predictor, "{algorithm}");
        Scorer::new(read).unwrap().answer(Question::Probability, &rows).unwrap();
    }
}

#[test]
fn what_does_not_fit_in_a_record_is_said() {
    let good = record_of(&learn(&spec(noise()), &city(100, 24)).unwrap().predictor);
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
        let error = Scorer::new(read(&record).unwrap()).unwrap_err();
        assert_eq!(error.code(), codes::PREDICTOR_STORED, "{place}: {error}");
        assert!(error.message().contains(says), "{place}: {error}");
    }
}
