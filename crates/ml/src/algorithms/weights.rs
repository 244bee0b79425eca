//! What linear predictors share.

use ndarray::ArrayView2;

/// `intercept + Σ weight · column` for each row. Columns are added in their order, whatever the layout in memory,
/// so that the bits do not depend on how many rows are asked at once.
pub(super) fn weighted(x: ArrayView2<'_, f64>, weights: &[f64], intercept: f64) -> Vec<f64> {
    let mut sums = vec![intercept; x.nrows()];
    for (column, weight) in x.columns().into_iter().zip(weights) {
        for (sum, value) in sums.iter_mut().zip(column) {
            *sum += weight * value;
        }
    }
    sums
}
