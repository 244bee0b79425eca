//! Boosted trees for classes, by the logarithm of the probability of the right class.

use lagar_flow::Result;
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use super::trees::boost::{Loss, Params, boost, probabilities};
use super::trees::forest::importances;
use super::trees::parallel::of_machine;
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
        let sums = self.trees.sums(x, width, of_machine())?;
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

    fn explain(&self) -> Explanation {
        let mut figures = vec![("trees".to_owned(), self.trees.len() as f64)];
        figures.extend(importances(self.trees.features(), &self.importance));
        Explanation { figures, ..Explanation::default() }
    }
}
