//! Tukey's fences (Exploratory Data Analysis, 1977).

use lagar_flow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ranges::{Range, Ranges, check, quantile};
use crate::algorithm::{Algorithm, Task, Training};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// How many times the distance between the quartiles a value must lie below the lower or above the upper one
    /// to be an outlier. With 3 only what is far out is one.
    factor: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { factor: 1.5 }
    }
}

/// A column whose quartiles are the same value (half of the rows hold it) has no fences, and is not judged.
pub struct Iqr;

impl Algorithm for Iqr {
    const NAME: &'static str = "iqr";
    const TASK: Task = Task::Outliers;
    const ABOUT: &'static str =
        "Tukey's fences: how many interquartile ranges a column is outside its quartiles";
    type Params = Params;
    type Fitted = Ranges;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        check("factor", params.factor)
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<Ranges> {
        training.at_least(4, Self::NAME)?;
        Ranges::learn(training, params.factor, "the quartiles are the same value", |values| {
            let (low, high) = (quantile(values, 0.25), quantile(values, 0.75));
            Range { low, high, unit: high - low }
        })
    }
}
