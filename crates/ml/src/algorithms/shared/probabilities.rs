//! From scores to probabilities, row by row.

use ndarray::{Array2, ArrayView1, ArrayView2};

use crate::algorithm::Output;
use crate::math::exp;

/// What `of_row` writes for each row: a number for each of `classes`, of which it makes probabilities.
pub(crate) fn of_rows(
    x: ArrayView2<'_, f64>,
    classes: usize,
    mut of_row: impl FnMut(ArrayView1<'_, f64>, &mut [f64]),
) -> Output {
    let mut probabilities = Array2::zeros((x.nrows(), classes));
    let mut numbers = vec![0.0; classes];
    for (row, mut probabilities) in x.rows().into_iter().zip(probabilities.rows_mut()) {
        of_row(row, &mut numbers);
        probabilities.iter_mut().zip(&numbers).for_each(|(probability, number)| *probability = *number);
    }
    Output::Probabilities(probabilities)
}

/// `eˢ / Σ eˢ`. The largest is taken away first, so that nothing overflows.
pub(crate) fn softmax(scores: &mut [f64]) {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter_mut().for_each(|score| *score = exp(*score - largest));
    to_one(scores);
}

/// Weights, of which one at least is above 0, so that they add up to 1.
pub(crate) fn to_one(weights: &mut [f64]) {
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_far_apart_are_still_probabilities() {
        let mut scores = [1e102, -1e102, 1e102];
        softmax(&mut scores);
        assert_eq!(scores, [0.5, 0.0, 0.5]);
        let mut scores = [0.0, 2f64.ln()];
        softmax(&mut scores);
        assert!((scores[1] - 2.0 / 3.0).abs() < 1e-15);
    }
}
