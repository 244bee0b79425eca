//! What the measures share: sums that stay finite where they can, and quantiles.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::math::square;

/// JSON knows neither NaN nor infinity.
pub(super) fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

pub(super) fn ratio(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}

/// The mean of at least one value; finite if they are.
pub(super) fn mean(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let sum: f64 = values.iter().sum();
    if sum.is_finite() { sum / n } else { values.iter().map(|value| value / n).sum() }
}

/// `√(Σ v² / n)` of at least one value. They are divided by the largest first, since a square may be too large
/// for a number where the root is not.
pub(super) fn root_mean_square(values: &[f64]) -> f64 {
    let largest = values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    if largest == 0.0 {
        return 0.0;
    }
    let squares: f64 = values.iter().map(|value| square(value / largest)).sum();
    largest * (squares / values.len() as f64).sqrt()
}

/// The quantile `q` of at least one value in ascending order: type 7 of Hyndman and Fan (1996), a straight line
/// between the two nearest, as numpy and R do.
pub(super) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = q * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    // In halves: the distance of two numbers may be larger than any number.
    2.0 * (below / 2.0 + (above / 2.0 - below / 2.0) * place.fract())
}

pub(super) fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// Where values lie: the smallest, the largest, and those below which 5, 25, 50, 75 and 95 of 100 lie (type 7 of
/// Hyndman and Fan).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quantiles {
    pub min: f64,
    pub p5: f64,
    pub p25: f64,
    pub median: f64,
    pub p75: f64,
    pub p95: f64,
    pub max: f64,
}

impl Quantiles {
    /// `None` without values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let sorted = sorted(values);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let at = |q| quantile(&sorted, q);
        Some(Self { min, p5: at(0.05), p25: at(0.25), median: at(0.5), p75: at(0.75), p95: at(0.95), max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `numpy.quantile([3, 1, 4, 1, 5, 9, 2, 6], [0.05, 0.25, 0.5, 0.75, 0.95])`.
    #[test]
    fn quantiles_are_those_of_numpy() {
        let quantiles = Quantiles::of(&[3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0]).unwrap();
        let expected =
            Quantiles { min: 1.0, p5: 1.0, p25: 1.75, median: 3.5, p75: 5.25, p95: 7.95, max: 9.0 };
        assert!((quantiles.p95 - expected.p95).abs() < 1e-12);
        assert_eq!(Quantiles { p95: 7.95, ..quantiles }, expected);
        assert_eq!(Quantiles::of(&[]), None);
    }

    #[test]
    fn huge_values_stay_finite() {
        let huge = [f64::MAX, f64::MAX, -f64::MAX];
        assert_eq!(Quantiles::of(&huge).unwrap().p25, 0.0);
        assert!((mean(&huge) / (f64::MAX / 3.0) - 1.0).abs() < 1e-12);
        assert!((root_mean_square(&huge) / f64::MAX - 1.0).abs() < 1e-12);
    }
}
