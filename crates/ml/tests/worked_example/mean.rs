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
    /// Of the matrix.
    columns: usize,
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
        let value = y.iter().map(|y| y / rows).sum();
        Ok(Constant { columns: training.x.ncols(), value })
    }
}

impl Fitted for Constant {
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Output> {
        Ok(Output::Values(vec![self.value; x.nrows()]))
    }

    /// One number would do for any matrix, but that of another one was not fitted here.
    fn check(&self, columns: usize, _: usize) -> Result<(), String> {
        match self.columns == columns {
            true => Ok(()),
            false => Err(format!("the mean is of a matrix of {} columns, not of {columns}", self.columns)),
        }
    }
}
