//! What outliers by single columns share: in each column there is a range where values are usual, and a unit in
//! which it is counted how far outside they are.

use lagar_flow::{Error, Result, codes};
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::{checks::as_many, points::each_row};
use crate::algorithm::{Explanation, Fitted, Output, Training};

/// Where the values of a column are usual.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Range {
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// 0: all values are so much alike that there is no unit. Such a column is not judged.
    pub(crate) unit: f64,
}

/// The score of a row is how many units the column that is farthest outside its range lies outside; it is an
/// outlier if that is more than the threshold.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ranges {
    threshold: f64,
    /// The columns by name, in their order.
    columns: Vec<(String, Range)>,
}

impl Ranges {
    /// `range` sees the values of a column in ascending order, at least one.
    ///
    /// # Errors
    /// [`codes::PREDICTOR_DATA`] if no column can be judged, or a range does not fit into numbers.
    pub(crate) fn learn(
        training: &Training<'_>,
        threshold: f64,
        why_not: &str,
        range: impl Fn(&[f64]) -> Range,
    ) -> Result<Self> {
        let mut columns = Vec::with_capacity(training.features.len());
        for (name, column) in training.features.iter().zip(training.x.columns()) {
            let mut values = column.to_vec();
            values.sort_by(f64::total_cmp);
            let range = range(&values);
            if !(range.low.is_finite() && range.high.is_finite() && range.unit.is_finite()) {
                let message = format!(
                    "the {} values of `{name}` are so far apart that their differences do not fit into a number",
                    values.len()
                );
                return Err(Error::new(codes::PREDICTOR_DATA, message));
            }
            columns.push((name.clone(), range));
        }
        if columns.iter().all(|(_, range)| range.unit == 0.0) {
            let message =
                format!("in each of {} columns {why_not}: nothing can be called unusual", columns.len());
            return Err(Error::new(codes::PREDICTOR_DATA, message));
        }
        Ok(Self { threshold, columns })
    }

    fn score(&self, row: &[f64]) -> f64 {
        let judged = row.iter().zip(&self.columns).filter(|(_, (_, range))| range.unit > 0.0);
        let scores =
            judged.map(|(value, (_, range))| (range.low - value).max(value - range.high) / range.unit);
        // A score that is too large for a number is the largest.
        scores.fold(0.0, f64::max).min(f64::MAX)
    }
}

impl Fitted for Ranges {
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Output> {
        let scores = each_row(x, |row| self.score(row));
        let outliers = scores.iter().map(|score| *score > self.threshold).collect();
        Ok(Output::Scores { scores, outliers })
    }

    fn check(&self, columns: usize, _: usize) -> Result<(), String> {
        as_many("ranges", self.columns.len(), "columns", columns)
    }

    /// The values of each column from which on rows are outliers. Where that is beyond all numbers it is the last of
    /// them: no value is beyond it either, and an infinite one could not be stored.
    fn explain(&self) -> Explanation {
        let mut figures = Vec::new();
        for (name, range) in self.columns.iter().filter(|(_, range)| range.unit > 0.0) {
            let usual = self.threshold * range.unit;
            let ends = [("lowest", range.low - usual), ("highest", range.high + usual)];
            figures.extend(ends.map(|(which, value)| {
                (format!("{which} usual value of {name}"), value.clamp(f64::MIN, f64::MAX))
            }));
        }
        let not_judged = self.columns.iter().filter(|(_, range)| range.unit == 0.0).count();
        figures.push(("columns not judged".to_owned(), not_judged as f64));
        Explanation { figures, ..Explanation::default() }
    }
}

/// Linear between the two nearest of the values, which are in ascending order: type 7 of Hyndman and Fan (Sample
/// Quantiles in Statistical Packages, 1996), as in R, NumPy and Excel's QUARTILE.INC.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor();
    let (at, part) = (below as usize, place - below);
    match sorted.get(at + 1) {
        Some(above) => sorted[at] + part * (above - sorted[at]),
        None => sorted[at],
    }
}

/// The mean, which is never outside of the values.
pub(crate) fn mean(sorted: &[f64]) -> f64 {
    let count = sorted.len() as f64;
    let mean: f64 = sorted.iter().map(|value| value / count).sum();
    mean.clamp(sorted[0], sorted[sorted.len() - 1])
}

/// A threshold that can be one.
pub(crate) fn check(name: &'static str, threshold: f64) -> Result<(), (&'static str, String)> {
    match threshold >= 0.0 && threshold.is_finite() {
        true => Ok(()),
        false => Err((name, "must be a number that is not negative".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is usual may reach beyond all numbers. It is stored as JSON, which has no infinity.
    #[test]
    fn ends_beyond_all_numbers_are_the_last_numbers() {
        let range = Range { low: -8e307, high: 8e307, unit: 1.6e308 };
        let ranges = Ranges { threshold: 1.5, columns: vec![("x".to_owned(), range)] };
        let figures = ranges.explain().figures;
        assert_eq!((figures[0].1, figures[1].1), (f64::MIN, f64::MAX));
        let text = serde_json::to_string(&ranges.explain()).unwrap();
        assert_eq!(serde_json::from_str::<Explanation>(&text).unwrap(), ranges.explain());
    }

    /// As `numpy.quantile([1, 2, 4, 8], [0, 0.25, 0.5, 0.9, 1])`.
    #[test]
    fn quantiles_are_linear_between_values() {
        let values = [1.0, 2.0, 4.0, 8.0];
        for (share, expected) in [(0.0, 1.0), (0.25, 1.75), (0.5, 3.0), (0.9, 6.8), (1.0, 8.0)] {
            assert!((quantile(&values, share) - expected).abs() < 1e-12, "{share}");
        }
        assert_eq!(quantile(&[5.0], 0.75), 5.0);
    }
}
