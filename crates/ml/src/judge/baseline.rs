//! What a predictor must beat: answers for which nothing had to be learned but the target itself.

use lagar_flow::{Error, Result, codes};
use ndarray::Array2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::numbers::{mean, quantile, sorted};

/// The trivial predictor of classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClassBaseline {
    /// The share of the training rows in each class: the probabilities that it gives to every row.
    pub shares: Vec<f64>,
    /// The most frequent class, of equals the first.
    pub majority: u32,
}

/// The trivial predictor of numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ValueBaseline {
    /// Of the training rows: no single answer has a smaller squared error there.
    pub mean: f64,
    /// No single answer has a smaller absolute error there.
    pub median: f64,
}

impl ClassBaseline {
    /// # Errors
    /// [`codes::PREDICTOR_DATA`] without rows; a defect if a code is not below `count`.
    pub fn fit(truth: &[u32], count: usize) -> Result<Self> {
        let mut rows = vec![0u64; count];
        for code in truth {
            let of = rows.get_mut(*code as usize);
            *of.ok_or_else(|| Error::bug("a class is not among those counted"))? += 1;
        }
        let shares: Vec<f64> = rows.iter().map(|rows| *rows as f64 / truth.len() as f64).collect();
        let majority = (0..count as u32).rev().max_by_key(|class| rows[*class as usize]);
        match majority {
            Some(majority) if !truth.is_empty() => Ok(Self { shares, majority }),
            _ => Err(no_rows()),
        }
    }

    /// The same probabilities for each of `rows` rows.
    pub fn probabilities(&self, rows: usize) -> Array2<f64> {
        Array2::from_shape_fn((rows, self.shares.len()), |(_, class)| self.shares[class])
    }

    /// "As the last time": the class that the row's group had some steps ago is certain. Where it is not known (the
    /// group is new, or had a class that was not learned) the shares are the answer.
    pub fn previous(&self, previous: &[Option<u32>]) -> Array2<f64> {
        let known = |row: usize| previous[row].filter(|class| (*class as usize) < self.shares.len());
        Array2::from_shape_fn((previous.len(), self.shares.len()), |(row, class)| match known(row) {
            Some(known) => f64::from(known as usize == class),
            None => self.shares[class],
        })
    }
}

impl ValueBaseline {
    /// # Errors
    /// [`codes::PREDICTOR_DATA`] without rows; a defect if a value is not finite.
    pub fn fit(truth: &[f64]) -> Result<Self> {
        if !truth.iter().all(|value| value.is_finite()) {
            return Err(Error::bug("a value to learn a baseline from is not finite"));
        }
        if truth.is_empty() {
            return Err(no_rows());
        }
        Ok(Self { mean: mean(truth), median: quantile(&sorted(truth), 0.5) })
    }

    /// "As the last time": the value that the row's group had some steps ago, or the mean where it is not known.
    pub fn previous(&self, previous: &[Option<f64>]) -> Vec<f64> {
        let known = |value: &Option<f64>| value.filter(|value| value.is_finite()).unwrap_or(self.mean);
        previous.iter().map(known).collect()
    }
}

fn no_rows() -> Error {
    Error::new(codes::PREDICTOR_DATA, "there are 0 rows to learn a baseline from")
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::judge::{classification::classification, regression::regression};

    #[test]
    fn classes_are_as_frequent_as_they_were() {
        let baseline = ClassBaseline::fit(&[1, 0, 1, 2, 1, 0, 0, 2], 3).unwrap();
        assert_eq!(baseline, ClassBaseline { shares: vec![0.375, 0.375, 0.25], majority: 0 });
        assert_eq!(baseline.probabilities(2), array![[0.375, 0.375, 0.25], [0.375, 0.375, 0.25]]);
        let previous = baseline.previous(&[Some(2), None, Some(7)]);
        assert_eq!(previous, array![[0.0, 0.0, 1.0], [0.375, 0.375, 0.25], [0.375, 0.375, 0.25]]);
        assert_eq!(ClassBaseline::fit(&[], 2).unwrap_err().code(), codes::PREDICTOR_DATA);
        assert!(ClassBaseline::fit(&[2], 2).is_err());
    }

    /// `DummyClassifier(strategy="prior")` of scikit-learn 1.9.1 on truth 0 0 0 1: balanced accuracy 0.5, log loss
    /// the entropy of 1/4.
    #[test]
    fn the_shares_are_judged_as_one_expects() {
        let truth = [0, 0, 0, 1];
        let baseline = ClassBaseline::fit(&truth, 2).unwrap();
        let judged = classification(&truth, 2, baseline.probabilities(4).view(), None).unwrap();
        assert_eq!((judged.balanced_accuracy, judged.accuracy, judged.roc_auc), (0.5, 0.75, Some(0.5)));
        assert!((judged.log_loss - 0.5623351446188083).abs() < 1e-12);
    }

    #[test]
    fn values_are_in_the_middle_or_as_they_were() {
        let truth = [1.0, 2.0, 3.0, 10.0];
        let baseline = ValueBaseline::fit(&truth).unwrap();
        assert_eq!(baseline, ValueBaseline { mean: 4.0, median: 2.5 });
        assert_eq!(baseline.previous(&[Some(7.0), None, Some(f64::NAN)]), [7.0, 4.0, 4.0]);
        assert_eq!(regression(&truth, &[baseline.mean; 4]).unwrap().r2, Some(0.0));
        assert_eq!(ValueBaseline::fit(&[]).unwrap_err().code(), codes::PREDICTOR_DATA);
        assert!(ValueBaseline::fit(&[f64::NAN]).is_err());
    }
}
