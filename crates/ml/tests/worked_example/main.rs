//! The algorithm that CONTRIBUTING.md adds as an example: it compiles, it does what it says, and the page shows this
//! very file. (What every algorithm must keep is asked of it too, in contract.rs.)
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod mean;

// In its place among the others the file says `crate::algorithm`.
use lagar_ml::algorithm;

use lagar_flow::{JsonText, codes};
use lagar_ml::{
    Output, Target, Task, Training,
    algorithm::rows,
    judge::{self, Measures},
};
use ndarray::array;
use serde_json::json;

/// The Rust of the recipe, without its indent.
fn quoted() -> String {
    let page = include_str!("../../../../CONTRIBUTING.md");
    let (_, recipe) = page.split_once("### Add an algorithm\n").expect("the recipe is there");
    let (_, code) = recipe.split_once("   ```rust\n").expect("it has an example");
    let (code, _) = code.split_once("   ```\n").expect("the example ends");
    code.lines().map(|line| format!("{}\n", line.strip_prefix("   ").unwrap_or(line))).collect()
}

#[test]
fn the_recipe_shows_the_file_that_is_compiled() {
    assert_eq!(quoted(), include_str!("mean.rs"));
}

#[test]
fn the_example_is_fitted_stored_loaded_asked_and_judged() {
    // The line that the recipe adds to the list.
    let entry = rows::<mean::Mean>();
    assert_eq!((entry.name, entry.task, entry.about), ("mean", Task::Regression, "the mean of the target"));
    let params = entry.params(&json!({})).unwrap();
    assert_eq!(params, json!({}));
    assert_eq!(entry.params(&json!({"trees": 3})).unwrap_err().code(), codes::CONFIG);

    let x = array![[1.0], [2.0], [3.0], [4.0]];
    let features = ["a".to_owned()];
    let training = |target| Training { x: x.view(), target, features: &features, seed: 0, threads: 1 };
    let known = [1.0, 2.0, 3.0, 6.0];
    let (fitted, numbers) = entry.fit(&params, &training(Target::Values(&known))).unwrap();
    assert_eq!(numbers.to_string(), r#"{"columns":1,"value":3.0}"#);
    let asked = array![[7.0], [-7.0]];
    for fitted in [fitted, entry.load(&numbers, 1, 0).unwrap()] {
        assert_eq!(fitted.predict(asked.view()).unwrap(), Output::Values(vec![3.0, 3.0]));
    }
    let other = JsonText::of(&json!({"columns": 1})).unwrap();
    assert_eq!(entry.load(&other, 1, 0).err().unwrap().code(), codes::PREDICTOR_STORED);
    assert!(entry.fit(&params, &training(Target::None)).is_err());
    let large = [f64::MAX; 4];
    let (_, numbers) = entry.fit(&params, &training(Target::Values(&large))).unwrap();
    assert_eq!(numbers, JsonText::of(&json!({"columns": 1, "value": f64::MAX})).unwrap());

    // Off by 2, 1, 0 and 3; a mean explains nothing.
    let measures = Measures::Regression(judge::regression::regression(&known, &[3.0; 4]).unwrap());
    let figures = ["mae", "max_error", "r2"].map(|name| judge::metric(&measures, name).unwrap());
    let off = figures.iter().zip([1.5_f64, 3.0, 0.0]).map(|(figure, expected)| (figure - expected).abs());
    assert!(off.fold(0.0, f64::max) < 1e-12, "{figures:?}");
}
