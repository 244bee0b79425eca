//! Boosted regression trees, by squared error.

use lagar_flow::Result;
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::trees::boost::{Loss, Params, boost};
use super::trees::forest::importances;
use super::trees::goals::Level;
use super::trees::stored::Trees;
use crate::algorithm::{Algorithm, Explanation, Fitted, Output, Task, Training};

/// `y = base + Σ` of what the trees answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct BoostedValue {
    base: f64,
    /// For each column its part of what all splits gained: 1 together, or 0 if nothing was split.
    importance: Vec<f64>,
    trees: Trees,
}

pub struct GradientBoostingRegressor;

impl Algorithm for GradientBoostingRegressor {
    const NAME: &'static str = "gradient_boosting_regressor";
    const TASK: Task = Task::Regression;
    const ABOUT: &'static str = "small regression trees, each of which corrects what those before got wrong";
    type Params = Params;
    type Fitted = BoostedValue;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        params.check()
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<BoostedValue> {
        let target = training.target.values()?;
        let level = Level::of(target);
        let centred: Vec<f64> = target.iter().map(|value| level.centred(*value)).collect();
        let mut boosted = boost(params, training, &Loss::Squares(&centred))?;
        boosted.trees.change_values(|value| level.difference(value));
        Ok(BoostedValue {
            base: level.value(boosted.base[0]),
            importance: boosted.importance,
            trees: boosted.trees,
        })
    }
}

impl Fitted for BoostedValue {
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Output> {
        let mut sums = self.trees.sums(x, 1, 1)?;
        sums.iter_mut().for_each(|sum| *sum = (self.base + *sum).clamp(-f64::MAX, f64::MAX));
        Ok(Output::Values(sums))
    }

    fn check(&self, columns: usize, _: usize) -> Result<(), String> {
        self.trees.check(columns, 1)
    }

    fn explain(&self) -> Explanation {
        let mut figures = vec![("trees".to_owned(), self.trees.len() as f64)];
        figures.extend(importances(self.trees.features(), &self.importance));
        Explanation { figures, ..Explanation::default() }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use serde_json::json;

    use super::*;
    use crate::algorithm::Target;

    /// The rows of the figures below, which a script for scikit-learn 1.9.1 writes by the same rule.
    fn rows() -> (Array2<f64>, Vec<f64>) {
        let x = Array2::from_shape_fn((24, 3), |(i, column)| match column {
            0 => (i * 7 % 24) as f64 + 0.5 * (i % 3) as f64,
            1 => (i * i * 5 % 23) as f64,
            _ => (i * 11 % 13) as f64,
        });
        (
            x,
            (0..24)
                .map(|i: usize| {
                    (i * 7 % 24 / 3) as f64 * 2.5 + (i * i * 5 % 23) as f64 * 0.3 - (i * 11 % 5) as f64
                })
                .collect(),
        )
    }

    fn names() -> Vec<String> {
        ["a", "b", "c"].map(str::to_owned).to_vec()
    }

    /// `HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=3, max_leaf_nodes=4, l2_regularization=0.5,
    /// learning_rate=0.3, early_stopping=False).predict(x[:6])`; it keeps derivatives as f32.
    #[test]
    fn values_are_those_of_scikit_learn() {
        let (x, y) = rows();
        let params: Params = serde_json::from_value(
            json!({"iterations": 3, "min_leaf": 3, "max_leaves": 4, "l2": 0.5, "learning_rate": 0.3}),
        )
        .unwrap();
        let target = Target::Values(&y);
        let training = Training { x: x.view(), target, features: &names(), seed: 0, threads: 2 };
        let boosted = GradientBoostingRegressor::fit(&params, &training).unwrap();
        assert!((boosted.base - 10.858333333333334).abs() < 1e-12);
        let Output::Values(values) = boosted.predict(x.view()).unwrap() else { panic!() };
        let expected = [5.989629611782, 7.040921524429063, 13.870985384543406, 17.15337773323059];
        for (value, expected) in values.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-5, "{value} {expected}");
        }
    }

    /// As that of `regression_tree`, and with an `l2` that hardly pulls.
    #[test]
    fn one_huge_target_does_not_hide_what_others_follow() {
        let (x, step) = super::super::trees::beside_a_huge_one();
        for (huge, l2) in [(1e6, 0.0), (1e10, 0.0), (1e11, 0.0), (1e12, 0.0), (1e12, 1e-30)] {
            let y: Vec<f64> = step.iter().map(|y| if *y < 0.0 { huge } else { *y }).collect();
            let target = Target::Values(&y);
            let training = Training { x: x.view(), target, features: &names()[..2], seed: 0, threads: 1 };
            let params =
                json!({"iterations": 1, "learning_rate": 1.0, "max_leaves": 3, "min_leaf": 1, "l2": l2});
            let params: Params = serde_json::from_value(params).unwrap();
            let boosted = GradientBoostingRegressor::fit(&params, &training).unwrap();
            let Output::Values(values) = boosted.predict(x.view()).unwrap() else { panic!() };
            for (value, y) in values.iter().zip(&y).filter(|(_, y)| **y < huge) {
                assert!((value - y).abs() < 1.0, "{huge} {l2}: {value} is not {y}");
            }
        }
    }

    /// What was learned of noise after the best trees is thrown away, and says nothing.
    #[test]
    fn trees_that_are_thrown_away_are_not_important() {
        let mut random = crate::algorithms::trees::forest::seeded(5, 0);
        let mut draw = || rand::Rng::gen_range(&mut random, 0.0..1.0);
        let x = Array2::from_shape_fn((800, 3), |_| draw());
        let y: Vec<f64> = (0..800).map(|_| draw()).collect();
        let fit = |keys: serde_json::Value| {
            let training =
                Training { x: x.view(), target: Target::Values(&y), features: &names(), seed: 0, threads: 2 };
            GradientBoostingRegressor::fit(&serde_json::from_value(keys).unwrap(), &training).unwrap()
        };
        let patient = fit(json!({"early_stopping": true, "patience": 40}));
        let kept = patient.trees.len();
        assert!(kept < 30, "{kept}");
        // What comes after them changes nothing.
        let again = fit(json!({"early_stopping": true, "patience": 40, "iterations": kept.max(1)}));
        assert_eq!(again.trees.len(), kept);
        assert_eq!(again.importance, patient.importance);
        let none = fit(json!({"early_stopping": true, "patience": 3, "learning_rate": 1.0, "min_leaf": 1}));
        assert_eq!((none.trees.len(), none.importance), (0, vec![0.0; 3]));
    }

    /// Noise alone: what is learned of it does not help with the rows held back.
    #[test]
    fn learning_ends_when_rows_held_back_are_not_answered_better() {
        let mut random = crate::algorithms::trees::forest::seeded(5, 0);
        let mut draw = || rand::Rng::gen_range(&mut random, 0.0..1.0);
        let x = Array2::from_shape_fn((800, 3), |_| draw());
        let y: Vec<f64> = (0..800).map(|_| draw()).collect();
        let target = Target::Values(&y);
        let training = Training { x: x.view(), target, features: &names(), seed: 0, threads: 2 };
        let trees = |early: bool| {
            let params: Params = serde_json::from_value(json!({"early_stopping": early})).unwrap();
            GradientBoostingRegressor::fit(&params, &training).unwrap().trees.len()
        };
        assert_eq!(trees(false), 100);
        assert!(trees(true) < 30, "{}", trees(true));
    }
}
