//! What linear predictors share.

use lagar_flow::{Error, Result, codes};
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::{checks::as_many, scale::Scale};
use crate::algorithm::{Coefficient, Explanation, Fitted, Output};

/// `y = intercept + Σ coefficient · x`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    /// The columns of the matrix, in the order of `coefficients`.
    pub(crate) features: Vec<String>,
    pub(crate) coefficients: Vec<f64>,
    pub(crate) intercept: f64,
    /// The square roots of the diagonal of `s² (XᵀX)⁻¹`, where `s²` is the sum of the squared residuals over
    /// the rows that are more than the numbers fitted; the last is the intercept's. Empty if there are none
    /// more, and where a penalty makes them meaningless.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) standard_errors: Vec<f64>,
}

impl Line {
    /// From the weights of scaled columns for a target that was brought to a mean of 0 and a deviation of 1.
    ///
    /// # Errors
    /// [`codes::PREDICTOR_DATA`] if a coefficient is no number that can be written.
    pub(crate) fn unscaled(
        features: &[String],
        scale: &Scale,
        weights: &[f64],
        (mean, deviation): (f64, f64),
    ) -> Result<Self> {
        let weights: Vec<f64> = weights.iter().map(|weight| weight * deviation).collect();
        let (coefficients, intercept) = scale.unscaled(&weights, mean);
        finite(coefficients.iter().chain([&intercept]))?;
        Ok(Self { features: features.to_vec(), coefficients, intercept, standard_errors: Vec::new() })
    }

    pub(crate) fn values(&self, x: ArrayView2<'_, f64>) -> Vec<f64> {
        weighted(x, &self.coefficients, self.intercept)
    }
}

impl Fitted for Line {
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Output> {
        Ok(Output::Values(self.values(x)))
    }

    fn check(&self, columns: usize, _: usize) -> Result<(), String> {
        as_many("coefficients", self.coefficients.len(), "columns", columns)?;
        as_many("names", self.features.len(), "columns", columns)
    }

    fn explain(&self) -> Explanation {
        let mut coefficients = named(&self.features, &self.coefficients, self.intercept, None);
        for (coefficient, error) in coefficients.iter_mut().zip(&self.standard_errors) {
            coefficient.standard_error = Some(*error);
        }
        Explanation { coefficients, ..Explanation::default() }
    }
}

/// The weights with the names of their columns, then the intercept; nothing if they are beyond ±1.8e308, as those of
/// columns whose values hardly differ from 0 can be.
pub(crate) fn named(
    features: &[String],
    weights: &[f64],
    intercept: f64,
    class: Option<usize>,
) -> Vec<Coefficient> {
    if finite(weights.iter().chain([&intercept])).is_err() {
        return Vec::new();
    }
    let names = features.iter().map(String::as_str).chain(["intercept"]);
    let values = weights.iter().copied().chain([intercept]);
    let named = names.zip(values).map(|(name, value)| Coefficient {
        name: name.to_owned(),
        class,
        value,
        ..Coefficient::default()
    });
    named.collect()
}

/// # Errors
/// [`codes::PREDICTOR_DATA`] if one is not: it could not be stored.
pub(crate) fn finite<'a>(mut numbers: impl Iterator<Item = &'a f64>) -> Result<()> {
    if numbers.all(|number| number.is_finite()) {
        return Ok(());
    }
    Err(Error::new(codes::PREDICTOR_DATA, "the numbers fitted are beyond ±1.8e308")
        .hint("bring columns and target to units in which their values are nearer to 1"))
}

/// `intercept + Σ weight · column` for each row. Columns are added in their order, whatever the layout in memory,
/// so that the bits do not depend on how many rows are asked at once.
pub(crate) fn weighted(x: ArrayView2<'_, f64>, weights: &[f64], intercept: f64) -> Vec<f64> {
    let mut sums = vec![intercept; x.nrows()];
    for (column, weight) in x.columns().into_iter().zip(weights) {
        for (sum, value) in sums.iter_mut().zip(column) {
            *sum += weight * value;
        }
    }
    sums
}
