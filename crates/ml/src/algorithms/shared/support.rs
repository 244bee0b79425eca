//! What support vector machines share.

use lagar_flow::{Error, Result, codes};
use ndarray::{Array2, ArrayView1};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    checks::{as_many, rows_of_columns},
    scale::Scale,
    smo::Problem,
    weights::finite,
};
use crate::math::{exp, square};
use crate::parallel::in_order;

/// How alike two rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// `exp(-gamma · squared distance)`.
    Gaussian,
    /// The sum of the products of the columns.
    Linear,
}

/// [`Shape`] with its number.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Kernel {
    shape: Shape,
    /// Not used by a linear one.
    gamma: f64,
}

impl Kernel {
    /// `gamma`: if there is none, one by the number of columns.
    pub(crate) fn new(shape: Shape, gamma: Option<f64>, columns: usize) -> Self {
        Self { shape, gamma: gamma.unwrap_or(1.0 / columns as f64) }
    }

    fn similar(&self, a: &[f64], b: &[f64]) -> f64 {
        let columns = a.iter().zip(b);
        match self.shape {
            Shape::Gaussian => exp(-self.gamma * columns.map(|(a, b)| square(a - b)).sum::<f64>()),
            Shape::Linear => columns.map(|(a, b)| a * b).sum(),
        }
    }

    /// Bytes of [`Kernel::all`]; none if there are more rows than may be, which is another error.
    pub(crate) fn bytes(rows: usize, max_rows: usize) -> u64 {
        let rows = if rows > max_rows { 0 } else { rows as u64 };
        rows.saturating_mul(rows).saturating_mul(size_of::<f64>() as u64)
    }

    /// How alike each row is to each other one.
    ///
    /// # Errors
    /// A defect.
    pub(crate) fn all(&self, x: &Array2<f64>, threads: usize) -> Result<Vec<Vec<f64>>> {
        let rows: Vec<Vec<f64>> = x.rows().into_iter().map(|row| row.to_vec()).collect();
        in_order(rows.len(), threads, |row| {
            rows.iter().map(|other| self.similar(&rows[row], other)).collect()
        })
    }
}

/// `bias + Σ weight · similarity` to some rows.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Which of the rows.
    rows: Vec<usize>,
    weights: Vec<f64>,
    bias: f64,
}

/// How long to try.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) max_iterations: usize,
    pub(crate) tolerance: f64,
}

impl Machine {
    /// From what solves the problem. Variables of the same row are added up.
    ///
    /// # Errors
    /// [`codes::PREDICTOR_DATA`] if the iterations are not enough.
    pub(crate) fn solve(problem: &Problem<'_>, effort: Effort, algorithm: &str) -> Result<Self> {
        let solution = problem.solve(effort.max_iterations, effort.tolerance);
        if solution.gap.is_nan() || solution.gap > effort.tolerance {
            let message = format!(
                "`{algorithm}` is not done after {} iterations: {:.1e} is missing at a row, and {:.1e} is asked",
                effort.max_iterations, solution.gap, effort.tolerance
            );
            return Err(Error::new(codes::PREDICTOR_DATA, message)
                .hint("lower `c`, or raise `max_iterations` or `tolerance`"));
        }
        let mut of_rows = vec![0.0; problem.similar.len()];
        for ((row, sign), variable) in problem.rows.iter().zip(&problem.signs).zip(&solution.variables) {
            of_rows[*row] += sign * variable;
        }
        let (rows, weights) = of_rows.into_iter().enumerate().filter(|(_, weight)| *weight != 0.0).unzip();
        let machine = Self { rows, weights, bias: solution.bias };
        finite(machine.weights.iter().chain([&machine.bias]))?;
        Ok(machine)
    }

    /// Whether it compares with rows that are among so many.
    pub(crate) fn check(&self, rows: usize) -> Result<(), String> {
        as_many("weights", self.weights.len(), "rows of a machine", self.rows.len())?;
        match self.rows.iter().find(|row| **row >= rows) {
            Some(row) => Err(format!("a machine compares with row {row}, and there are {rows}")),
            None => Ok(()),
        }
    }

    /// `similar`: how alike a row is to each of the rows.
    pub(crate) fn decide(&self, similar: &[f64]) -> f64 {
        let sum: f64 = self.rows.iter().zip(&self.weights).map(|(row, weight)| similar[*row] * weight).sum();
        sum + self.bias
    }
}

/// Rows that machines compare with, and only those.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Vectors {
    scale: Scale,
    kernel: Kernel,
    /// How many rows of the training have a weight.
    support: usize,
    /// Scaled. Of a linear kernel not the rows, but for each machine their sum by its weights: a product with the
    /// sum is the sum of the products.
    vectors: Vec<Vec<f64>>,
}

impl Vectors {
    /// Makes the machines speak of these vectors instead of the rows of `x`.
    pub(crate) fn of(scale: Scale, kernel: Kernel, x: &Array2<f64>, machines: &mut [Machine]) -> Self {
        let mut support: Vec<usize> = machines.iter().flat_map(|machine| &machine.rows).copied().collect();
        support.sort_unstable();
        support.dedup();
        let vectors = match kernel.shape {
            Shape::Linear => {
                let sums = machines.iter_mut().enumerate().map(|(place, machine)| {
                    let mut sum = vec![0.0; x.ncols()];
                    for (row, weight) in machine.rows.iter().zip(&machine.weights) {
                        sum.iter_mut().zip(x.row(*row)).for_each(|(sum, value)| *sum += weight * value);
                    }
                    (machine.rows, machine.weights) = (vec![place], vec![1.0]);
                    sum
                });
                sums.collect()
            }
            Shape::Gaussian => {
                for row in machines.iter_mut().flat_map(|machine| &mut machine.rows) {
                    *row = support.partition_point(|other| other < row);
                }
                support.iter().map(|row| x.row(*row).to_vec()).collect()
            }
        };
        Self { scale, kernel, support: support.len(), vectors }
    }

    /// Whether they are for so many columns, and the machines compare with them.
    pub(crate) fn check<'a>(
        &self,
        columns: usize,
        machines: impl IntoIterator<Item = &'a Machine>,
    ) -> Result<(), String> {
        self.scale.check(columns)?;
        rows_of_columns("a vector", self.vectors.iter().map(Vec::as_slice), columns)?;
        machines.into_iter().try_for_each(|machine| machine.check(self.vectors.len()))
    }

    /// How alike a row is to each of them, for [`Machine::decide`].
    pub(crate) fn similar(&self, row: ArrayView1<'_, f64>, scaled: &mut Vec<f64>, similar: &mut Vec<f64>) {
        self.scale.row(row, scaled);
        similar.clear();
        similar.extend(self.vectors.iter().map(|vector| self.kernel.similar(vector, scaled)));
    }

    /// The weights of the columns as they are and the constant of a linear machine, whose answer is multiplied by
    /// `times`.
    pub(crate) fn line(&self, machine: &Machine, times: f64) -> Option<(Vec<f64>, f64)> {
        let [vector] = machine.rows.as_slice() else { return None };
        if self.kernel.shape != Shape::Linear {
            return None;
        }
        let weights: Vec<f64> = self.vectors[*vector].iter().map(|weight| weight * times).collect();
        Some(self.scale.unscaled(&weights, machine.bias * times))
    }

    pub(crate) fn figures(&self) -> Vec<(String, f64)> {
        vec![("support_vectors".to_owned(), self.support as f64)]
    }
}
