//! Distance from the mean in standard deviations.

use lagar_flow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::ranges::{Range, Ranges, check, mean};
use crate::algorithm::{Algorithm, Task, Training};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// A row is an outlier if a column is more than so many standard deviations from its mean. Of fewer than
    /// eleven rows none can be more than 3.
    threshold: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { threshold: 3.0 }
    }
}

/// The standard deviation is that of a sample (`n - 1`). A column that is the same in all rows is not judged.
pub struct ZScore;

impl Algorithm for ZScore {
    const NAME: &'static str = "z_score";
    const TASK: Task = Task::Outliers;
    const ABOUT: &'static str = "how many standard deviations a column is from its mean";
    type Params = Params;
    type Fitted = Ranges;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        check("threshold", params.threshold)
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<Ranges> {
        training.at_least(2, Self::NAME)?;
        Ranges::learn(training, params.threshold, "all values are the same", |values| {
            let mean = mean(values);
            Range { low: mean, high: mean, unit: standard_deviation(values, mean) }
        })
    }
}

/// The differences are divided by the largest before they are squared, so that squares fit into numbers.
fn standard_deviation(sorted: &[f64], mean: f64) -> f64 {
    let largest = (mean - sorted[0]).max(sorted[sorted.len() - 1] - mean);
    if largest == 0.0 {
        return 0.0;
    }
    let squares: f64 = sorted.iter().map(|value| (value - mean) / largest).map(|apart| apart * apart).sum();
    largest * (squares / (sorted.len() - 1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::algorithm::{Fitted, Output, Target};

    /// 2, 4, 4, 4, 5, 5, 7, 9 have the mean 5 and squares of 32: s = √(32/7).
    #[test]
    fn scores_by_hand() {
        let x = array![[2.0], [4.0], [4.0], [4.0], [5.0], [5.0], [7.0], [9.0]];
        let features = ["x".to_owned()];
        let training =
            Training { x: x.view(), target: Target::None, features: &features, seed: 0, threads: 1 };
        let fitted = ZScore::fit(&Params::default(), &training).unwrap();
        let s = (32.0 / 7.0_f64).sqrt();
        let asked = array![[5.0], [9.0], [5.0 - 3.01 * s]];
        let Output::Scores { scores, outliers } = fitted.predict(asked.view()).unwrap() else { panic!() };
        for (score, expected) in scores.iter().zip([0.0, 4.0 / s, 3.01]) {
            assert!((score - expected).abs() < 1e-12, "{score} {expected}");
        }
        assert_eq!(outliers, [false, false, true]);
    }
}
