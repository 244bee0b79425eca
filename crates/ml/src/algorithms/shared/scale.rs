//! Columns brought to one size: no penalty, distance or kernel then depends on the unit that a column happens to
//! be in, and nothing is too large or too small to be squared.

use ndarray::{Array2, ArrayView1, ArrayView2};
use serde::{Deserialize, Serialize};

use super::checks::as_many;
use crate::math::square;

/// How far from the mean a value is taken to be at most, in deviations: its square and sums of such squares are
/// still numbers.
pub(crate) const FAR: f64 = 1e100;

/// `(value - mean) / deviation`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Scale {
    /// Of each column.
    pub(crate) means: Vec<f64>,
    /// By what each column is divided. 0: it was constant, which says nothing, and is taken for 0 always.
    pub(crate) deviations: Vec<f64>,
}

impl Scale {
    /// Each column is divided by its own deviation.
    pub(crate) fn each(x: ArrayView2<'_, f64>) -> Self {
        let (means, deviations) = x.columns().into_iter().map(moments).unzip();
        Self { means, deviations }
    }

    /// All columns are divided by the largest deviation among them: they keep their proportions.
    pub(crate) fn together(x: ArrayView2<'_, f64>) -> Self {
        let mut scale = Self::each(x);
        let largest = scale.largest();
        for deviation in scale.deviations.iter_mut().filter(|deviation| **deviation > 0.0) {
            *deviation = largest;
        }
        scale
    }

    /// [`Scale::each`] if `standardize`, otherwise [`Scale::together`].
    pub(crate) fn of(x: ArrayView2<'_, f64>, standardize: bool) -> Self {
        if standardize { Self::each(x) } else { Self::together(x) }
    }

    /// Whether it is for so many columns.
    pub(crate) fn check(&self, columns: usize) -> Result<(), String> {
        as_many("means", self.means.len(), "columns", columns)?;
        as_many("deviations", self.deviations.len(), "columns", columns)
    }

    /// The largest deviation; 1 if all columns are constant.
    pub(crate) fn largest(&self) -> f64 {
        let largest = self.deviations.iter().copied().fold(0.0, f64::max);
        if largest > 0.0 { largest } else { 1.0 }
    }

    /// One row, written into `scaled`.
    pub(crate) fn row(&self, row: ArrayView1<'_, f64>, scaled: &mut Vec<f64>) {
        scaled.clear();
        scaled.extend(row.iter().enumerate().map(|(column, value)| self.value(column, *value)));
    }

    /// All rows, in the order of memory whatever that of `x` is.
    pub(crate) fn rows(&self, x: ArrayView2<'_, f64>) -> Array2<f64> {
        Array2::from_shape_fn(x.dim(), |(row, column)| self.value(column, x[[row, column]]))
    }

    fn value(&self, column: usize, value: f64) -> f64 {
        let deviation = self.deviations[column];
        if deviation == 0.0 { 0.0 } else { ((value - self.means[column]) / deviation).clamp(-FAR, FAR) }
    }

    /// Weights of scaled columns, and the constant beside them, as those of the columns as they are.
    pub(crate) fn unscaled(&self, weights: &[f64], constant: f64) -> (Vec<f64>, f64) {
        let divided = weights.iter().zip(&self.deviations);
        let weights: Vec<f64> =
            divided.map(|(w, deviation)| if *deviation == 0.0 { 0.0 } else { w / deviation }).collect();
        let moved: f64 = weights.iter().zip(&self.means).map(|(w, mean)| w * mean).sum();
        (weights, constant - moved)
    }
}

/// Whether all values are the same. Asked of the values: their mean may be off by a bit, and they seem to vary.
pub(crate) fn constant(values: ArrayView1<'_, f64>) -> bool {
    values.iter().zip(values.iter().skip(1)).all(|(one, next)| one == next)
}

/// The mean and the standard deviation (over all values, not all but one). The values are divided by the largest
/// first, so that their squares neither overflow nor vanish, and the deviation of equal values is exactly 0.
pub(crate) fn moments(values: ArrayView1<'_, f64>) -> (f64, f64) {
    let largest = values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    if largest == 0.0 {
        return (0.0, 0.0);
    }
    let count = values.len() as f64;
    let mean = values.iter().map(|value| value / largest).sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| square(value / largest - mean)).sum();
    (mean * largest, (squares / count).sqrt() * largest)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn huge_and_tiny_columns_become_ordinary_ones() {
        let x = array![[1e300, 1e-300, 7.0], [3e300, 3e-300, 7.0]];
        let scale = Scale::each(x.view());
        let rows = scale.rows(x.view());
        for (found, expected) in rows.iter().zip([-1.0, -1.0, 0.0, 1.0, 1.0, 0.0]) {
            assert!((found - expected).abs() < 1e-12, "{rows}");
        }
        let mut far = Vec::new();
        scale.row(array![-1e308, 1e308, 9.0].view(), &mut far);
        assert!(far[0] < -1e7 && far[1] == FAR && far[2] == 0.0, "{far:?}");
    }

    #[test]
    fn columns_scaled_together_keep_their_proportions() {
        let x = array![[1.0, 10.0], [3.0, 30.0]];
        let rows = Scale::together(x.view()).rows(x.view());
        for (found, expected) in rows.iter().zip([-0.1, -1.0, 0.1, 1.0]) {
            assert!((found - expected).abs() < 1e-12, "{rows}");
        }
    }
}
