//! What predictors by distance share: rows that lie one after the other in memory, and how far they are apart.

use std::cmp::Ordering;

use lagar_flow::{Error, Result, codes};
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::checks::as_many;
use crate::algorithm::Training;

/// Rows of equal length, without a gap between them. They are stored as a list of rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "Vec<Vec<f64>>", try_from = "Vec<Vec<f64>>")]
pub(crate) struct Points {
    columns: usize,
    values: Vec<f64>,
}

impl From<Points> for Vec<Vec<f64>> {
    fn from(points: Points) -> Self {
        points.rows().map(<[f64]>::to_vec).collect()
    }
}

impl TryFrom<Vec<Vec<f64>>> for Points {
    type Error = String;

    fn try_from(rows: Vec<Vec<f64>>) -> std::result::Result<Self, String> {
        let columns = rows.first().map_or(0, Vec::len);
        if rows.iter().any(|row| row.len() != columns || row.is_empty()) {
            return Err("the rows are not of one length".to_owned());
        }
        Ok(Self { columns, values: rows.concat() })
    }
}

impl Points {
    /// The rows to learn from.
    ///
    /// # Errors
    /// [`codes::PREDICTOR_DATA`] if the squares of distances, or their sum, might be more than a number can hold.
    pub(crate) fn of(training: &Training<'_>) -> Result<Self> {
        let largest = training.x.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let squared = 4.0 * largest * largest * training.x.len() as f64;
        if !squared.is_finite() {
            let message = format!(
                "values are as large as {largest:e}: the squares of distances do not fit into a number"
            );
            return Err(Error::new(codes::PREDICTOR_DATA, message).hint("scale the columns with `scale`"));
        }
        Ok(Self { columns: training.x.ncols(), values: training.x.iter().copied().collect() })
    }

    /// Whether there are rows, of so many columns.
    pub(crate) fn check(&self, what: &str, columns: usize) -> Result<(), String> {
        match self.len() {
            0 => Err(format!("there is no {what}")),
            _ => as_many(&format!("numbers of a {what}"), self.columns, "columns", columns),
        }
    }

    pub(crate) fn with_capacity(rows: usize, columns: usize) -> Self {
        Self { columns, values: Vec::with_capacity(rows * columns) }
    }

    pub(crate) fn push(&mut self, row: &[f64]) {
        self.columns = row.len();
        self.values.extend_from_slice(row);
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len() / self.columns.max(1)
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn row(&self, at: usize) -> &[f64] {
        &self.values[at * self.columns..(at + 1) * self.columns]
    }

    pub(crate) fn row_mut(&mut self, at: usize) -> &mut [f64] {
        &mut self.values[at * self.columns..(at + 1) * self.columns]
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.columns.max(1))
    }

    /// The nearest row and the square of its distance; of several the first.
    pub(crate) fn nearest(&self, to: &[f64]) -> (usize, f64) {
        let mut nearest = (0, f64::INFINITY);
        for (at, row) in self.rows().enumerate() {
            let distance = squared_distance(row, to);
            if distance < nearest.1 {
                nearest = (at, distance);
            }
        }
        nearest
    }
}

/// The columns are added in their order, so that the bits are the same wherever a row comes from.
pub(crate) fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// An answer for each row, whatever the layout in memory.
pub(crate) fn each_row<T>(x: ArrayView2<'_, f64>, mut answer: impl FnMut(&[f64]) -> T) -> Vec<T> {
    let mut row = vec![0.0; x.ncols()];
    x.rows()
        .into_iter()
        .map(|values| {
            row.iter_mut().zip(values).for_each(|(to, value)| *to = *value);
            answer(&row)
        })
        .collect()
}

/// The order in which groups are numbered: the largest first, of equal ones that with the smaller coordinates.
/// So a group keeps its number when the rows come in another order.
pub(crate) fn larger_first(a: (f64, &[f64]), b: (f64, &[f64])) -> Ordering {
    b.0.total_cmp(&a.0).then_with(|| by_coordinates(a.1, b.1))
}

/// By the first column that differs.
pub(crate) fn by_coordinates(a: &[f64], b: &[f64]) -> Ordering {
    a.iter().zip(b).map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}
