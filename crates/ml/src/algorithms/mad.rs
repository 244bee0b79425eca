//! The modified z-score (Iglewicz and Hoaglin: How to Detect and Handle Outliers, 1993).

use lagar_flow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::ranges::{Range, Ranges, check, mean, quantile};
use crate::algorithm::{Algorithm, Task, Training};

/// Times this the median absolute deviation of a normal distribution is its standard deviation.
const OF_MEDIAN: f64 = 1.4826;
/// And times this, `√(π/2)`, the mean absolute deviation.
const OF_MEAN: f64 = 1.253_314_137_315_500_1;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// A row is an outlier if a column is more than so many deviations from its median.
    threshold: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { threshold: 3.5 }
    }
}

/// The unit is 1.4826 times the median absolute deviation from the median, which is the standard deviation where
/// values are normal. If that is 0, as half of the values are the same, it is 1.2533 times the mean absolute
/// deviation from the median, which a single value can make larger. A column that is the same in all rows is not
/// judged.
pub struct Mad;

impl Algorithm for Mad {
    const NAME: &'static str = "mad";
    const TASK: Task = Task::Outliers;
    const ABOUT: &'static str = "how many median absolute deviations a column is from its median";
    type Params = Params;
    type Fitted = Ranges;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        check("threshold", params.threshold)
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<Ranges> {
        training.at_least(3, Self::NAME)?;
        Ranges::learn(training, params.threshold, "all values are the same", |values| {
            let median = quantile(values, 0.5);
            let mut apart: Vec<f64> = values.iter().map(|value| (value - median).abs()).collect();
            apart.sort_by(f64::total_cmp);
            let unit = match quantile(&apart, 0.5) {
                0.0 => OF_MEAN * mean(&apart),
                deviation => OF_MEDIAN * deviation,
            };
            Range { low: median, high: median, unit }
        })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::algorithm::{Fitted, Output, Target};

    fn scores(x: &ndarray::Array2<f64>) -> (Vec<f64>, Vec<bool>) {
        let features = ["x".to_owned()];
        let training =
            Training { x: x.view(), target: Target::None, features: &features, seed: 0, threads: 1 };
        let fitted = Mad::fit(&Params::default(), &training).unwrap();
        let Output::Scores { scores, outliers } = fitted.predict(x.view()).unwrap() else { panic!() };
        (scores, outliers)
    }

    /// 1, 1, 2, 2, 4, 6, 9 have the median 2 and the median deviation 1.
    #[test]
    fn scores_by_hand() {
        let (scores, outliers) = scores(&array![[1.0], [1.0], [2.0], [2.0], [4.0], [6.0], [9.0]]);
        for (score, apart) in scores.iter().zip([1.0, 1.0, 0.0, 0.0, 2.0, 4.0, 7.0]) {
            assert!((score - apart / 1.4826).abs() < 1e-12, "{score}");
        }
        assert_eq!(outliers, [false, false, false, false, false, false, true]);
    }

    /// Nine of ten are 0: the mean deviation is 1.
    #[test]
    fn where_most_values_are_the_same_it_is_the_mean_deviation() {
        let mut x = ndarray::Array2::zeros((10, 1));
        x[[3, 0]] = 10.0;
        let (scores, outliers) = scores(&x);
        assert!((scores[3] - 10.0 / (std::f64::consts::PI / 2.0).sqrt()).abs() < 1e-12);
        assert_eq!(outliers.iter().filter(|outlier| **outlier).count(), 1);
    }
}
