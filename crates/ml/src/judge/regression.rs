//! How far numbers are from what they should be.

use lagar_flow::{Error, Result, codes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::numbers::{Quantiles, finite, mean, root_mean_square};
use crate::math::square;

/// Points of the picture.
const POINTS: usize = 500;

/// Measures of answers that are numbers, on rows that were not learned from. A residual is the true value less
/// the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Regression {
    pub rows: u64,
    /// The root of the mean of the squared residuals.
    pub rmse: f64,
    /// The mean of the absolute residuals.
    pub mae: f64,
    /// The mean of the absolute residuals, each as a share of the true value (0.1 is 10 %). Not defined if a true
    /// value is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mape: Option<f64>,
    /// The share of the variance that is explained; below 0 if the mean would be nearer. Not defined if all true
    /// values are alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
    pub median_absolute_error: f64,
    /// The largest of the absolute residuals.
    pub max_error: f64,
    pub residuals: Quantiles,
    /// True value and answer of at most 500 rows, ascending by the true value; of more rows those at even steps
    /// of this order, with the first and the last.
    pub points: Vec<(f64, f64)>,
}

/// Judges the answers by the true values.
///
/// # Errors
/// [`codes::PREDICTOR_DATA`] without rows or if an answer or a residual is too large for a number; a defect if lengths
/// differ or a true value is not finite.
pub fn regression(truth: &[f64], answers: &[f64]) -> Result<Regression> {
    if truth.len() != answers.len() || !truth.iter().all(|value| value.is_finite()) {
        return Err(Error::bug("the values and the answers to judge do not fit together"));
    }
    let beyond = answers.iter().filter(|answer| !answer.is_finite()).count();
    if beyond > 0 {
        return Err(too_far(format!("{beyond} of {} answers are beyond ±1.8e308", answers.len())));
    }
    let residuals: Vec<f64> = truth.iter().zip(answers).map(|(truth, answer)| truth - answer).collect();
    if !residuals.iter().all(|residual| residual.is_finite()) {
        return Err(too_far("an answer is farther from the truth than 1.8e308".to_owned()));
    }
    let absolute: Vec<f64> = residuals.iter().map(|residual| residual.abs()).collect();
    let (Some(residuals), Some(sizes)) = (Quantiles::of(&residuals), Quantiles::of(&absolute)) else {
        return Err(Error::new(codes::PREDICTOR_DATA, "there are 0 rows to judge a predictor by")
            .hint("give it more rows, or a larger share of them in `split`"));
    };
    let rmse = root_mean_square(&absolute);
    Ok(Regression {
        rows: truth.len() as u64,
        rmse,
        mae: mean(&absolute),
        mape: mape(truth, &absolute),
        r2: r2(truth, rmse),
        median_absolute_error: sizes.median,
        max_error: sizes.max,
        residuals,
        points: points(truth, answers),
    })
}

/// A line that was fitted well may answer so to a row far from those that it was fitted on.
fn too_far(what: String) -> Error {
    Error::new(codes::PREDICTOR_DATA, what).hint(
        "leave rows with such huge values out in the SQL, or divide the columns and the target by a constant",
    )
}

fn mape(truth: &[f64], absolute: &[f64]) -> Option<f64> {
    if truth.contains(&0.0) {
        return None;
    }
    let shares = absolute.iter().zip(truth).map(|(residual, truth)| residual / truth.abs());
    finite(mean(&shares.collect::<Vec<f64>>()))
}

/// `1 - Σ residual² / Σ (truth - mean)²`.
fn r2(truth: &[f64], rmse: f64) -> Option<f64> {
    // Asked of the values: the mean of equal values may be off by a bit, and the quotient would be anything.
    if truth.windows(2).all(|pair| pair[0] == pair[1]) {
        return None;
    }
    let mean = mean(truth);
    let deviations: Vec<f64> = truth.iter().map(|truth| truth - mean).collect();
    finite(1.0 - square(rmse / root_mean_square(&deviations)))
}

fn points(truth: &[f64], answers: &[f64]) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = truth.iter().copied().zip(answers.iter().copied()).collect();
    points.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let last = points.len() - 1;
    if last < POINTS {
        return points;
    }
    (0..POINTS).map(|at| points[at * last / (POINTS - 1)]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-12, "{value} is not {expected}");
    }

    /// By scikit-learn 1.9.1 (`root_mean_squared_error`, `mean_absolute_error`,
    /// `mean_absolute_percentage_error`, `r2_score`, `median_absolute_error`, `max_error`) and
    /// `numpy.quantile(truth - answers, …)`.
    #[test]
    fn values_are_judged_as_by_scikit_learn() {
        let truth = [3.0, -0.5, 2.0, 7.0, 4.25, 1.0];
        let answers = [2.5, 0.0, 2.0, 8.0, 4.0, 3.5];
        let judged = regression(&truth, &answers).unwrap();
        near(judged.rmse, 1.141088661469096);
        near(judged.mae, 0.7916666666666666);
        near(judged.mape.unwrap(), 0.6447245564892624);
        near(judged.r2.unwrap(), 0.7738920711486283);
        near(judged.median_absolute_error, 0.5);
        near(judged.max_error, 2.5);
        let residuals = &judged.residuals;
        near(residuals.min, -2.5);
        near(residuals.p5, -2.125);
        near(residuals.p25, -0.875);
        near(residuals.median, -0.25);
        near(residuals.p75, 0.1875);
        near(residuals.p95, 0.4375);
        near(residuals.max, 0.5);
        assert_eq!(judged.points[0], (-0.5, 0.0));
    }

    #[test]
    fn what_is_not_defined_is_not_said() {
        let judged = regression(&[0.1; 10], &[0.2; 10]).unwrap();
        assert_eq!(judged.r2, None, "all true values are alike");
        assert_eq!(regression(&[0.0, 1.0], &[0.0, 1.0]).unwrap().mape, None, "a true value is 0");
        assert_eq!(regression(&[1.0, 2.0], &[1.0, 2.0]).unwrap().r2, Some(1.0));
        assert_eq!(regression(&[], &[]).unwrap_err().code(), codes::PREDICTOR_DATA);
        let apart = regression(&[f64::MAX], &[-f64::MAX]).unwrap_err();
        assert_eq!(apart.code(), codes::PREDICTOR_DATA);
        assert!(regression(&[1.0], &[]).is_err() && regression(&[f64::NAN], &[1.0]).is_err());
    }

    /// What was learned well may answer so: that is no defect of the program.
    #[test]
    fn answers_beyond_all_numbers_are_told() {
        for odd in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            let error = regression(&[1.0, 2.0, 3.0], &[1.0, odd, 3.0]).unwrap_err();
            assert_eq!(error.code(), codes::PREDICTOR_DATA, "{odd}");
            assert_eq!(error.message(), "1 of 3 answers are beyond ±1.8e308", "{odd}");
            assert!(error.hint_text().is_some(), "{odd}");
        }
        let apart = regression(&[f64::MAX], &[-f64::MAX]).unwrap_err();
        assert!(apart.hint_text().is_some(), "{apart}");
        for defect in [regression(&[f64::NAN], &[1.0]), regression(&[1.0], &[])] {
            assert_eq!(defect.unwrap_err().code(), codes::BUG);
        }
    }

    #[test]
    fn a_square_too_large_for_a_number_has_a_root() {
        let judged = regression(&[3e200, -3e200], &[0.0, 0.0]).unwrap();
        assert!((judged.rmse / 3e200 - 1.0).abs() < 1e-12);
        near(judged.r2.unwrap(), 0.0);
    }

    #[test]
    fn the_picture_has_no_more_points_than_it_shows() {
        let truth: Vec<f64> = (0..10_007).rev().map(f64::from).collect();
        let judged = regression(&truth, &truth).unwrap();
        assert_eq!(judged.points.len(), 500);
        assert_eq!((judged.points[0].0, judged.points[499].0), (0.0, 10_006.0));
        let steps: Vec<f64> = judged.points.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(steps.iter().all(|step| (20.0..=21.0).contains(step)));
    }

    proptest! {
        #[test]
        fn measures_hold_together(rows in prop::collection::vec((-1e6f64..1e6, -1e6f64..1e6), 1..50)) {
            let (truth, answers): (Vec<f64>, Vec<f64>) = rows.into_iter().unzip();
            let judged = regression(&truth, &answers).unwrap();
            prop_assert!(judged.mae <= judged.rmse * (1.0 + 1e-12));
            prop_assert!(judged.rmse <= judged.max_error * (1.0 + 1e-12));
            prop_assert!(judged.median_absolute_error <= judged.max_error);
            prop_assert!(judged.r2.is_none_or(|r2| r2 <= 1.0));
            // Seen from the other side, the residuals change their sign.
            let other = regression(&answers, &truth).unwrap();
            prop_assert!((other.residuals.p25 + judged.residuals.p75).abs() < 1e-6);
            prop_assert_eq!(other.rmse, judged.rmse);
            let text = serde_json::to_string(&judged).unwrap();
            prop_assert_eq!(serde_json::from_str::<Regression>(&text).unwrap(), judged);
        }
    }
}
