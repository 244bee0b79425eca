//! Principal components (Jolliffe: Principal Component Analysis, 2002).
//!
//! Fitted by own code: linfa-reduction 0.8.1 finds components by an iteration from random numbers, and its explained
//! variance divides by the number of components instead of the rows, and its shares leave out the components that
//! are not kept. The singular values in linfa-linalg have no bound on their iterations.
//!
//! There is no t-SNE: it places the rows that it was given and cannot place new ones, and compares each row with
//! every other one.

use lagar_flow::{Error, Result, codes};
use linfa_linalg::qr::QR;
use ndarray::{Array2, ArrayView1, ArrayView2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::checks::as_many;
use super::shared::points::{Points, each_row};
use super::shared::scale::constant;
use crate::algorithm::{Algorithm, Explanation, Fitted, Output, Task, Training};

/// Sweeps over all pairs; in practice fewer than fifteen are needed.
const SWEEPS: usize = 100;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// The number of components, at most that of the columns. They follow the columns with the largest variance,
    /// so columns of different units should be brought to one with `scale`.
    components: usize,
    /// Whether each component is divided by its standard deviation.
    whiten: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self { components: 2, whiten: false }
    }
}

/// `component = Σ direction · (x - mean)`, divided by its deviation if it is to be white.
#[derive(Debug, Serialize, Deserialize)]
pub struct Components {
    mean: Vec<f64>,
    /// Orthogonal, of length 1, the largest number positive. Where the rows vary in fewer directions than asked
    /// for, the others are all zeros.
    directions: Points,
    /// The standard deviation of the rows along each direction.
    deviations: Vec<f64>,
    /// The share of the whole variance that each direction explains.
    ratios: Vec<f64>,
    whiten: bool,
}

pub struct Pca;

impl Algorithm for Pca {
    const NAME: &'static str = "pca";
    const TASK: Task = Task::Reduction;
    const ABOUT: &'static str = "principal components: the directions in which the rows vary most";
    type Params = Params;
    type Fitted = Components;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        match params.components {
            0 => Err(("components", "must be at least 1".to_owned())),
            _ => Ok(()),
        }
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<Components> {
        training.at_least(2, Self::NAME)?;
        let (rows, columns) = training.x.dim();
        let wanted = params.components;
        if wanted > columns {
            let message = format!("`components` asks for {wanted} components of {columns} columns");
            return Err(Error::new(codes::PREDICTOR_DATA, message).hint(format!("ask for at most {columns}")));
        }
        let (mean, mut centered, size) = centered(training)?;
        if rows > columns {
            let r = centered.qr().map_err(|error| Error::bug("no QR").caused_by(&error))?.into_r();
            centered = r;
        }
        let mut axes: Vec<(f64, Vec<f64>)> =
            orthogonal(centered.rows().into_iter().map(|row| row.to_vec()).collect())
                .into_iter()
                .map(|row| (length(&row), row))
                .collect();
        axes.sort_by(|a, b| b.0.total_cmp(&a.0));
        let longest = axes[0].0;
        let total: f64 = axes.iter().map(|axis| axis.0 * axis.0).sum();
        // What is shorter is rounding.
        axes.retain(|axis| axis.0 > longest * rows.max(columns) as f64 * f64::EPSILON);
        axes.resize_with(wanted.max(axes.len()), || (0.0, vec![0.0; columns]));
        axes.truncate(wanted);
        let mut directions = Points::with_capacity(wanted, columns);
        axes.iter().for_each(|(length, axis)| directions.push(&direction(axis, *length)));
        Ok(Components {
            mean,
            directions,
            deviations: axes.iter().map(|axis| axis.0 / ((rows - 1) as f64).sqrt() * size).collect(),
            ratios: axes.iter().map(|axis| axis.0 * axis.0 / total).collect(),
            whiten: params.whiten,
        })
    }
}

/// The means of the columns, what is above them, and the largest of that, by which it is divided: so that squares
/// fit into numbers.
fn centered(training: &Training<'_>) -> Result<(Vec<f64>, Array2<f64>, f64)> {
    let rows = training.rows() as f64;
    // Of equal values it is that value: one that is off by a bit would make a direction of nothing.
    let mean = |column: ArrayView1<'_, f64>| match constant(column) {
        true => column[0],
        false => column.iter().map(|v| v / rows).sum(),
    };
    let mean: Vec<f64> = training.x.columns().into_iter().map(mean).collect();
    let mut centered = Array2::from_shape_fn(training.x.dim(), |at| training.x[at] - mean[at.1]);
    let size = centered.iter().fold(0.0_f64, |size, value| size.max(value.abs()));
    // The longest direction is at most this long.
    let fits = (size * (training.x.len() as f64).sqrt()).is_finite();
    if !(size > f64::MIN_POSITIVE && fits) {
        let message = match fits {
            true => format!("all {rows} rows are alike: they vary in no direction"),
            false => {
                format!("the {rows} rows are so far apart that their differences do not fit into a number")
            }
        };
        return Err(Error::new(codes::PREDICTOR_DATA, message));
    }
    centered.mapv_inplace(|value| value / size);
    Ok((mean, centered, size))
}

/// Turns pairs of rows until all are orthogonal (Hestenes, 1958; Golub and Van Loan: Matrix Computations, 8.6.3).
/// `XᵀX` stays as it is, so the rows become the singular vectors, as long as the singular values.
fn orthogonal(mut rows: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    for _ in 0..SWEEPS {
        let mut turned = false;
        for second in 1..rows.len() {
            let (before, rest) = rows.split_at_mut(second);
            for first in before {
                turned |= turn(first, &mut rest[0]);
            }
        }
        if !turned {
            break;
        }
    }
    rows
}

/// Whether the rows were not orthogonal.
fn turn(a: &mut [f64], b: &mut [f64]) -> bool {
    let product: f64 = a.iter().zip(&*b).map(|(a, b)| a * b).sum();
    let (long, wide) = (length(a), length(b));
    if product.abs() <= long * wide * f64::EPSILON * (a.len() as f64).sqrt() {
        return false;
    }
    let slope = (wide - long) * (wide + long) / (2.0 * product);
    let tangent = slope.signum() / (slope.abs() + (1.0 + slope * slope).sqrt());
    let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
    let sine = cosine * tangent;
    for (a, b) in a.iter_mut().zip(b) {
        (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
    }
    true
}

fn length(row: &[f64]) -> f64 {
    row.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Of length 1. The number that is largest without its sign becomes positive: a direction and its opposite
/// explain the same.
fn direction(axis: &[f64], length: f64) -> Vec<f64> {
    let largest =
        axis.iter().copied().fold(0.0_f64, |largest, v| if v.abs() > largest.abs() { v } else { largest });
    if largest == 0.0 {
        return axis.to_vec();
    }
    axis.iter().map(|v| v / length * largest.signum()).collect()
}

impl Components {
    /// What is too large for a number becomes the largest.
    fn value(&self, row: &[f64], direction: &[f64], deviation: f64) -> f64 {
        let along = |part: f64| -> f64 {
            let apart = row.iter().zip(&self.mean).map(|(x, mean)| x * part - mean * part);
            apart.zip(direction).map(|(apart, share)| apart * share).sum()
        };
        let mut value = along(1.0);
        if !value.is_finite() {
            // Differences or sums were too large on the way.
            let part = f64::EPSILON;
            value = along(part) / part;
        }
        if self.whiten && deviation > 0.0 {
            value /= deviation;
        }
        value.clamp(f64::MIN, f64::MAX)
    }
}

impl Fitted for Components {
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Output> {
        let mut values = Vec::with_capacity(x.nrows() * self.directions.len());
        each_row(x, |row| {
            let directions = self.directions.rows().zip(&self.deviations);
            values.extend(directions.map(|(direction, deviation)| self.value(row, direction, *deviation)));
        });
        let shape = (x.nrows(), self.directions.len());
        let values = Array2::from_shape_vec(shape, values);
        Ok(Output::Components(
            values.map_err(|error| Error::bug("components are missing").caused_by(&error))?,
        ))
    }

    fn check(&self, columns: usize, _: usize) -> Result<(), String> {
        as_many("means", self.mean.len(), "columns", columns)?;
        self.directions.check("direction", columns)?;
        let directions = self.directions.len();
        if directions > columns {
            return Err(format!("there are {directions} directions of {columns} columns"));
        }
        as_many("deviations", self.deviations.len(), "directions", directions)?;
        as_many("ratios", self.ratios.len(), "directions", directions)
    }

    fn explain(&self) -> Explanation {
        let ratios = self.ratios.iter().enumerate();
        let mut figures: Vec<(String, f64)> = ratios
            .map(|(at, ratio)| (format!("explained variance ratio of component {at}"), *ratio))
            .collect();
        let deviations = self.deviations.iter().enumerate();
        figures.extend(deviations.map(|(at, d)| (format!("standard deviation of component {at}"), *d)));
        Explanation { figures, ..Explanation::default() }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::super::shared::iris::{assert_close, iris};
    use super::*;
    use crate::algorithm::Target;

    fn values(fitted: &Components, x: ArrayView2<'_, f64>) -> Array2<f64> {
        let Output::Components(values) = fitted.predict(x).unwrap() else { panic!() };
        values
    }

    /// `PCA(3, svd_solver="full")` of scikit-learn 1.9.1: `explained_variance_`, `explained_variance_ratio_`,
    /// `components_`, and `transform` of the first two rows.
    #[test]
    fn iris_has_the_components_as_elsewhere() {
        let iris = iris();
        let fitted = Pca::fit(&Params { components: 3, whiten: false }, &iris.training()).unwrap();
        let variances = [4.228241706035, 0.242670747929, 0.078209500043];
        for (deviation, variance) in fitted.deviations.iter().zip(variances) {
            assert_close(deviation * deviation, variance, 1e-9);
        }
        let ratios = [0.924618723202, 0.053066483117, 0.017102609808];
        fitted.ratios.iter().zip(ratios).for_each(|(v, expected)| assert_close(*v, expected, 1e-9));
        let directions = [
            [0.361386591785, -0.084522514065, 0.85667060595, 0.358289197152],
            [0.656588771287, 0.730161434785, -0.173372662796, -0.075481019917],
            [-0.582029851306, 0.5979108301, 0.076236075821, 0.54583143202],
        ];
        for (direction, expected) in fitted.directions.rows().zip(directions) {
            direction.iter().zip(expected).for_each(|(v, expected)| assert_close(*v, expected, 1e-9));
        }
        let first = [
            [-2.68412562597, 0.319397246585, -0.027914827589],
            [-2.714141687294, -0.177001225065, -0.210464272378],
        ];
        let values = values(&fitted, iris.x.view());
        for (row, expected) in values.rows().into_iter().zip(first) {
            row.iter().zip(expected).for_each(|(v, expected)| assert_close(*v, expected, 1e-9));
        }
    }

    #[test]
    fn white_components_have_the_variance_1_and_do_not_go_together() {
        let iris = iris();
        let fitted = Pca::fit(&Params { components: 4, whiten: true }, &iris.training()).unwrap();
        let values = values(&fitted, iris.x.view());
        let products = values.t().dot(&values) / 149.0;
        for ((a, b), product) in products.indexed_iter() {
            assert!((product - if a == b { 1.0 } else { 0.0 }).abs() < 1e-10, "{a} {b}: {product}");
        }
        assert!((fitted.ratios.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    /// Also where the mean of equal values is off by a bit.
    #[test]
    fn columns_that_are_constant_make_no_direction() {
        for value in [7.0, 0.1, 1.1, 1e9 / 3.0] {
            for rows in [6, 10, 20, 30, 49, 100, 1000] {
                let features = ["a".to_owned(), "b".to_owned()];
                let fit = |x: &Array2<f64>| {
                    let x = x.view();
                    let training =
                        Training { x, target: Target::None, features: &features, seed: 3, threads: 1 };
                    Pca::fit(&Params::default(), &training)
                };
                let error = fit(&Array2::from_elem((rows, 2), value)).unwrap_err();
                assert!(error.message().contains("vary in no direction"), "{value} {rows}: {error}");
                // Beside one that varies by little more than what is rounded.
                let x = Array2::from_shape_fn((rows, 2), |(row, column)| match column {
                    0 => (row % 2) as f64 * 1e-15,
                    _ => value,
                });
                let fitted = fit(&x).unwrap();
                assert_eq!(fitted.ratios, [1.0, 0.0], "{value} {rows}");
                assert_eq!(fitted.directions.row(0), [1.0, 0.0], "{value} {rows}");
            }
        }
    }

    /// More columns than rows, on the line (1, 2, 2) / 3: one direction, and nothing in the second.
    #[test]
    fn a_direction_in_which_nothing_varies_is_zero() {
        let x = array![[1.0, 2.0, 2.0], [4.0, 8.0, 8.0]];
        let features = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let training =
            Training { x: x.view(), target: Target::None, features: &features, seed: 3, threads: 1 };
        let fitted = Pca::fit(&Params { components: 2, whiten: true }, &training).unwrap();
        let third = 1.0 / 3.0;
        for (v, expected) in fitted.directions.row(0).iter().zip([third, 2.0 * third, 2.0 * third]) {
            assert_close(*v, expected, 1e-14);
        }
        assert_eq!(fitted.directions.row(1), [0.0; 3]);
        assert_close(fitted.deviations[0], 4.5 * 2f64.sqrt(), 1e-14);
        assert_eq!((fitted.deviations[1], fitted.ratios[1]), (0.0, 0.0));
        assert_eq!(values(&fitted, array![[9.0, -7.0, 1.0]].view())[[0, 1]], 0.0);
        let huge = values(&fitted, array![[f64::MAX, f64::MAX, f64::MAX], [f64::MAX, f64::MIN, 0.0]].view());
        assert_eq!(huge[[0, 0]], f64::MAX);
        assert_eq!(huge[[1, 1]], 0.0);
        assert!(huge.iter().all(|value| value.is_finite()), "{huge}");
        let error = Pca::fit(&Params { components: 4, whiten: false }, &training).unwrap_err();
        assert!(error.message().contains("4 components of 3 columns"), "{error}");
    }
}
