//! The mean of the target, whatever the features say.

use lagar_flow::Result;
use ndarray::ArrayView2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::algorithm::{Algorithm, Fitted, Output, Task, Training};

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {}

/// What was fitted.
#[derive(Debug, Serialize, Deserialize)]
pub struct Constant {
    value: f64,
}

pub struct Mean;

impl Algorithm for Mean {
    const NAME: &'static str = "mean";
    const TASK: Task = Task::Regression;
    const ABOUT: &'static str = "the mean of the target";
    type Params = Params;
    type Fitted = Constant;

    fn fit(_: &Params, training: &Training<'_>) -> Result<Constant> {
        let y = training.target.values()?;
        let rows = y.len() as f64;
        // Each a share of it: a sum of large numbers would be infinite.
        Ok(Constant { value: y.iter().map(|y| y / rows).sum() })
    }
}

impl Fitted for Constant {
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Output> {
        Ok(Output::Values(vec![self.value; x.nrows()]))
    }

    /// One number fits any matrix; lists are counted, as `linear` does it.
    fn check(&self, _: usize, _: usize) -> Result<(), String> {
        Ok(())
    }
}
