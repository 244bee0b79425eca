//! How much there may be: memory, and rows that are compared with each other.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StringArray};
use lagar_flow::codes;
use lagar_ml::{ALGORITHMS, Lesson, Task, train};
use serde_json::{Value, json};

use crate::support::{changed, city, learn, lesson, refused, spec, table};

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
