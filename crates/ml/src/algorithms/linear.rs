//! Ordinary least squares.

use lagar_flow::{Error, Result, codes};
use linfa::{DatasetBase, traits::Fit};
use linfa_linalg::qr::QR;
use linfa_linear::LinearRegression;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, concatenate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::weights::{Line, finite};
use crate::algorithm::{Algorithm, Task, Training};
use crate::math::square;

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
        let y = training.target.values()?;
        let kept = independent(training.x, params.intercept)?;
        let unknowns = kept.len() + usize::from(params.intercept);
        training.at_least(unknowns.max(1), Self::NAME)?;
        let x = training.x.select(Axis(1), &kept);
        let mut coefficients = vec![0.0; training.x.ncols()];
        let mut intercept = 0.0;
        if kept.is_empty() && params.intercept {
            let rows = y.len() as f64;
            intercept = y.iter().map(|y| y / rows).sum();
        } else if !kept.is_empty() {
            let data = DatasetBase::new(x.view(), ArrayView1::from(y));
            let line = LinearRegression::new()
                .with_intercept(params.intercept)
                .fit(&data)
                .map_err(|error| Error::new(codes::PREDICTOR_DATA, "no line fits").caused_by(&error))?;
            kept.iter().zip(line.params()).for_each(|(column, value)| coefficients[*column] = *value);
            intercept = line.intercept();
        }
        let mut line = Line {
            features: training.features.to_vec(),
            coefficients,
            intercept,
            standard_errors: Vec::new(),
        };
        let free = training.rows() - unknowns;
        if free > 0 && unknowns > 0 {
            let fitted = line.values(training.x);
            let squares: f64 = y.iter().zip(&fitted).map(|(y, fitted)| square(y - fitted)).sum();
            let variance = squares / free as f64;
            let inverse_r = inverse_of_r(&design(x.view(), params.intercept)?)?;
            let mut errors = inverse_r
                .rows()
                .into_iter()
                .map(|row| (variance * row.iter().map(|v| v * v).sum::<f64>()).sqrt());
            let of_intercept = if params.intercept { errors.next().unwrap_or_default() } else { 0.0 };
            line.standard_errors = vec![0.0; training.x.ncols()];
            kept.iter().zip(errors).for_each(|(column, error)| line.standard_errors[*column] = error);
            line.standard_errors.push(of_intercept);
        }
        finite(line.coefficients.iter().chain(&line.standard_errors).chain([&line.intercept]))?;
        Ok(line)
    }
}

/// With a column of ones in front, if a constant is fitted.
fn design(x: ArrayView2<'_, f64>, intercept: bool) -> Result<Array2<f64>> {
    if !intercept {
        return Ok(x.to_owned());
    }
    let ones = Array2::ones((x.nrows(), 1));
    concatenate(Axis(1), &[ones.view(), x.view()])
        .map_err(|error| Error::bug("a column of ones does not fit").caused_by(&error))
}

/// The share of a column's length below which it follows from those before it.
const DEPENDENT: f64 = 1e-10;

/// The columns that do not follow from those before them, such as all but the last of the columns of a one-hot
/// encoding beside a constant. The others get the coefficient 0: what they say, these say already (as `lm` of R
/// does it). By Gram and Schmidt, twice, which keeps what is left over exact (Giraud, Langou, Rozloznik 2005).
fn independent(x: ArrayView2<'_, f64>, intercept: bool) -> Result<Vec<usize>> {
    let mut basis: Vec<Array1<f64>> = Vec::new();
    let mut kept = Vec::new();
    for (place, column) in design(x, intercept)?.columns().into_iter().enumerate() {
        // Brought to one size first: a column of huge numbers is no other than one of small ones.
        let largest = column.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        if largest == 0.0 {
            continue;
        }
        let scaled = column.mapv(|value| value / largest);
        let length = scaled.dot(&scaled).sqrt();
        let mut rest = scaled / length;
        for _ in 0..2 {
            for before in &basis {
                let share = rest.dot(before);
                rest.scaled_add(-share, before);
            }
        }
        let own = rest.dot(&rest).sqrt();
        if own > DEPENDENT && basis.len() < x.nrows() {
            basis.push(rest / own);
            kept.push(place);
        }
    }
    let first = usize::from(intercept);
    Ok(kept.into_iter().filter(|place| *place >= first).map(|place| place - first).collect())
}

/// `R⁻¹` of `X = QR`, from which `(XᵀX)⁻¹ = R⁻¹R⁻ᵀ`. Columns are brought to one length first.
fn inverse_of_r(design: &Array2<f64>) -> Result<Array2<f64>> {
    let lengths: Array1<f64> =
        design.columns().into_iter().map(|column| column.dot(&column).sqrt()).collect();
    let scaled = design / &lengths;
    let r = scaled.qr().map_err(|error| Error::bug("no QR").caused_by(&error))?.into_r();
    if lengths.iter().any(|length| !length.is_normal()) || r.diag().iter().any(|own| *own == 0.0) {
        return Err(Error::new(
            codes::PREDICTOR_DATA,
            "the features are too large or too small to be squared",
        )
        .hint("divide them by a constant, or use `scale: standard`"));
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

    /// As `lm` of R: the first ones are kept, the others are 0.
    #[test]
    fn columns_that_follow_from_others_get_no_weight() {
        // A one-hot encoding with its constant, twice a column, a column of nothing.
        let x = array![
            [1.0, 0.0, 1.0, 2.0, 0.0],
            [1.0, 0.0, 2.0, 4.0, 0.0],
            [0.0, 1.0, 3.0, 6.0, 0.0],
            [0.0, 1.0, 5.0, 10.0, 0.0],
            [0.0, 1.0, 4.0, 8.0, 0.0]
        ];
        let features: Vec<String> = ["a=x", "a=y", "b", "c", "d"].map(str::to_owned).to_vec();
        // y = 10 + 5 (a = x) + 2 b
        let y = [17.0, 19.0, 16.0, 20.0, 18.0];
        let training =
            Training { x: x.view(), target: Target::Values(&y), features: &features, seed: 0, threads: 1 };
        let line = Linear::fit(&Params::default(), &training).unwrap();
        for (found, expected) in line.coefficients.iter().zip([5.0, 0.0, 2.0, 0.0, 0.0]) {
            assert!((found - expected).abs() < 1e-9, "{:?}", line.coefficients);
        }
        assert!((line.intercept - 10.0).abs() < 1e-9);
    }
}
