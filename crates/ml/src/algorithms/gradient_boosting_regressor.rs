//! Boosted regression trees, by squared error.

use lagar_flow::Result;
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::trees::boost::{Loss, Params, boost};
use super::trees::forest::importances;
use super::trees::goals::Level;
use super::trees::parallel::of_machine;
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
        let mut sums = self.trees.sums(x, 1, of_machine())?;
        sums.iter_mut().for_each(|sum| *sum = (self.base + *sum).clamp(-f64::MAX, f64::MAX));
        Ok(Output::Values(sums))
    }

    fn explain(&self) -> Explanation {
        let mut figures = vec![("trees".to_owned(), self.trees.len() as f64)];
        figures.extend(importances(self.trees.features(), &self.importance));
        Explanation { figures, ..Explanation::default() }
    }
}
