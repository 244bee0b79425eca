//! Boosted trees for classes, by the logarithm of the probability of the right class.

use lagar_flow::Result;
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use super::shared::checks::{as_many, known_classes};
use super::trees::boost::{Loss, Params, boost, probabilities};
use super::trees::forest::importances;
use super::trees::stored::Trees;
use crate::algorithm::{Algorithm, Explanation, Fitted, Output, Task, Training};

/// A score is its base and what its trees answer, added up. Of two classes the one score is `ln(p₁ / p₀)`; of more
/// each class has a score, and its probability is `e^score` of their sum.
#[derive(Debug, Serialize, Deserialize)]
pub struct BoostedClasses {
    classes: usize,
    /// For each score.
    base: Vec<f64>,
    /// For each column its part of what all splits gained: 1 together, or 0 if nothing was split.
    importance: Vec<f64>,
    /// One for each score, again and again.
    trees: Trees,
}

pub struct GradientBoostingClassifier;

impl Algorithm for GradientBoostingClassifier {
    const NAME: &'static str = "gradient_boosting_classifier";
    const TASK: Task = Task::Classification;
    const ABOUT: &'static str = "small trees, each of which corrects what those before got wrong";
    type Params = Params;
    type Fitted = BoostedClasses;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        params.check()
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<BoostedClasses> {
        let (codes, classes) = training.target.classes()?;
        let boosted = boost(params, training, &Loss::Log { codes, classes })?;
        Ok(BoostedClasses {
            classes,
            base: boosted.base,
            importance: boosted.importance,
            trees: boosted.trees,
        })
    }
}

impl Fitted for BoostedClasses {
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Output> {
        let width = self.base.len();
        let sums = self.trees.sums(x, width, 1)?;
        let mut rows = Array2::zeros((x.nrows(), self.classes));
        for (mut row, sums) in rows.rows_mut().into_iter().zip(sums.chunks_exact(width)) {
            let mut scores: Vec<f64> = sums.iter().zip(&self.base).map(|(sum, base)| base + sum).collect();
            if self.classes == 2 {
                scores.insert(0, 0.0);
            }
            probabilities(&mut scores);
            row.iter_mut().zip(scores).for_each(|(to, probability)| *to = probability);
        }
        Ok(Output::Probabilities(rows))
    }

    fn check(&self, columns: usize, classes: usize) -> Result<(), String> {
        known_classes(self.classes, classes)?;
        let scores = if classes > 2 { classes } else { 1 };
        as_many("bases", self.base.len(), "scores", scores)?;
        let trees = self.trees.len();
        if !trees.is_multiple_of(scores) {
            return Err(format!("there are {trees} trees for {scores} scores, each of which has as many"));
        }
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
    use serde_json::json;

    use super::*;
    use crate::algorithm::Target;

    /// The rows of the figures below, which a script for scikit-learn 1.9.1 writes by the same rule.
    fn rows() -> (Array2<f64>, Vec<u32>) {
        let x = Array2::from_shape_fn((24, 3), |(i, column)| match column {
            0 => (i * 7 % 24) as f64 + 0.5 * (i % 3) as f64,
            1 => (i * i * 5 % 23) as f64,
            _ => (i * 11 % 13) as f64,
        });
        (x, (0..24).map(|i: usize| u32::from(i * 7 % 24 > 10) + u32::from(i * i * 5 % 23 > 12)).collect())
    }

    fn names() -> Vec<String> {
        ["a", "b", "c"].map(str::to_owned).to_vec()
    }

    /// `HistGradientBoostingClassifier` with the parameters below, `early_stopping=False`: `predict_proba`.
    #[test]
    fn probabilities_are_those_of_scikit_learn() {
        let (x, codes) = rows();
        let two: Vec<u32> = codes.iter().map(|code| u32::from(*code > 0)).collect();
        let params: Params = serde_json::from_value(
            json!({"iterations": 3, "min_leaf": 3, "max_leaves": 4, "l2": 0.5, "learning_rate": 0.3}),
        )
        .unwrap();
        let learned = |codes: &[u32], count| {
            let target = Target::Classes { codes, count };
            let training = Training { x: x.view(), target, features: &names(), seed: 0, threads: 2 };
            let boosted = GradientBoostingClassifier::fit(&params, &training).unwrap();
            let Output::Probabilities(rows) = boosted.predict(x.view()).unwrap() else { panic!() };
            rows
        };
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        let rows = learned(&two, 2);
        for (row, expected) in [(0, 0.3434860659851), (2, 0.8820707546327591), (5, 0.8517533376130815)] {
            near(rows[[row, 1]], expected);
        }
        let rows = learned(&codes, 3);
        for (row, expected) in [
            (0, [0.8052981862197086, 0.10786671695678982, 0.08683509682350156]),
            (2, [0.06198140251296134, 0.15624168536501432, 0.7817769121220244]),
        ] {
            (0..3).for_each(|class| near(rows[[row, class]], expected[class]));
        }
    }
}
