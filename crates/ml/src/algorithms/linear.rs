//! Ordinary least squares.

use lagar_flow::{Error, Result, codes};
use linfa::{DatasetBase, traits::Fit};
use linfa_linalg::qr::QR;
use linfa_linear::LinearRegression;
use ndarray::{Array1, Array2, ArrayView1, Axis, concatenate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::weights::Line;
use crate::algorithm::{Algorithm, Task, Training};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Whether a constant is fitted too.
    intercept: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self { intercept: true }
    }
}

pub struct Linear;

impl Algorithm for Linear {
    const NAME: &'static str = "linear";
    const TASK: Task = Task::Regression;
    const ABOUT: &'static str = "ordinary least squares, with standard errors";
    type Params = Params;
    type Fitted = Line;

    fn fit(params: &Params, training: &Training<'_>) -> Result<Line> {
        let unknowns = training.x.ncols() + usize::from(params.intercept);
        training.at_least(unknowns, Self::NAME)?;
        let y = training.target.values()?;
        let design = match params.intercept {
            true => {
                let ones = Array2::ones((training.rows(), 1));
                concatenate(Axis(1), &[training.x.view(), ones.view()])
                    .map_err(|error| Error::bug("a column of ones does not fit").caused_by(&error))?
            }
            false => training.x.to_owned(),
        };
        let inverse_r = inverse_of_r(&design)?;
        let data = DatasetBase::new(training.x, ArrayView1::from(y));
        let line = LinearRegression::new()
            .with_intercept(params.intercept)
            .fit(&data)
            .map_err(|error| Error::new(codes::PREDICTOR_DATA, "no line fits").caused_by(&error))?;
        let mut line = Line {
            features: training.features.to_vec(),
            coefficients: line.params().to_vec(),
            intercept: line.intercept(),
            standard_errors: Vec::new(),
        };
        let free = training.rows() - unknowns;
        if free > 0 {
            let fitted = line.values(training.x);
            let squares: f64 = y.iter().zip(&fitted).map(|(y, fitted)| (y - fitted).powi(2)).sum();
            let variance = squares / free as f64;
            line.standard_errors = inverse_r
                .rows()
                .into_iter()
                .map(|row| (variance * row.iter().map(|v| v * v).sum::<f64>()).sqrt())
                .collect();
        }
        Ok(line)
    }
}

/// `R⁻¹` of `X = QR`, from which `(XᵀX)⁻¹ = R⁻¹R⁻ᵀ`. Columns of very different size are brought to one length
/// first, so that only columns that follow from each other are taken for such.
fn inverse_of_r(design: &Array2<f64>) -> Result<Array2<f64>> {
    let lengths: Array1<f64> =
        design.columns().into_iter().map(|column| column.dot(&column).sqrt()).collect();
    let dependent = || {
        Error::new(codes::PREDICTOR_DATA, "a feature follows from the others: no single line fits best")
            .hint("leave one of them out, or use `ridge`")
    };
    if lengths.iter().any(|length| *length == 0.0) {
        return Err(dependent());
    }
    let scaled = design / &lengths;
    let r = scaled.qr().map_err(|error| Error::bug("no QR").caused_by(&error))?.into_r();
    // The length of what a column adds to those before it, of 1.
    if r.diag().iter().any(|own| own.abs() < 1e-10) {
        return Err(dependent());
    }
    let n = r.nrows();
    let mut inverse = Array2::<f64>::zeros((n, n));
    for column in 0..n {
        for row in (0..=column).rev() {
            let one = if row == column { 1.0 } else { 0.0 };
            let known: f64 = (row + 1..=column).map(|k| r[[row, k]] * inverse[[k, column]]).sum();
            inverse[[row, column]] = (one - known) / r[[row, row]];
        }
    }
    for (mut row, length) in inverse.rows_mut().into_iter().zip(&lengths) {
        row /= *length;
    }
    Ok(inverse)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::algorithm::Target;

    /// Longley's first rows by hand would be circular: these are exact by construction, and the errors are those
    /// of the textbook formula for one feature, `s / √Σ(x - mean)²`.
    #[test]
    fn coefficients_and_their_errors_are_those_of_the_formula() {
        let x = array![[1.0], [2.0], [3.0], [4.0]];
        let y = [1.1, 1.9, 3.2, 3.8];
        let features = ["x".to_owned()];
        let training =
            Training { x: x.view(), target: Target::Values(&y), features: &features, seed: 0, threads: 1 };
        let line = Linear::fit(&Params::default(), &training).unwrap();
        // Σ(x-2.5)² = 5, Σ(x-2.5)(y-2.5) = 4.7
        assert!((line.coefficients[0] - 0.94).abs() < 1e-12);
        assert!((line.intercept - 0.15).abs() < 1e-12);
        let squares: f64 = [1.1 - 1.09, 1.9 - 2.03, 3.2 - 2.97, 3.8 - 3.91].iter().map(|r| r * r).sum();
        let s = (squares / 2.0).sqrt();
        assert!((line.standard_errors[0] - s / 5f64.sqrt()).abs() < 1e-12);
        assert!((line.standard_errors[1] - s * (0.25 + 6.25 / 5.0f64).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn columns_that_follow_from_each_other_are_an_error() {
        let x = array![[1.0, 2.0], [2.0, 4.0], [3.0, 6.0], [5.0, 10.0]];
        let features = ["a".to_owned(), "b".to_owned()];
        let y = [1.0, 2.0, 3.0, 4.0];
        let training =
            Training { x: x.view(), target: Target::Values(&y), features: &features, seed: 0, threads: 1 };
        let error = Linear::fit(&Params::default(), &training).unwrap_err();
        assert_eq!(error.code(), codes::PREDICTOR_DATA);
        assert!(error.hint_text().unwrap().contains("ridge"));
    }
}
