//! The mean of the last values.

use lagar_flow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::intervals::{ENOUGH, at_least, forecast, measured};
use crate::algorithm::{Forecast, Forecaster, Series};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Of how many of the last values the mean is taken.
    window: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self { window: 7 }
    }
}

pub struct MovingMean;

/// The intervals are those of the errors that the same mean made at every earlier time, step by step: nothing is
/// fitted, so these are errors of real forecasts.
impl Forecaster for MovingMean {
    const NAME: &'static str = "moving_mean";
    const ABOUT: &'static str = "the mean of the last values, again and again";
    type Params = Params;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        match params.window {
            0 => Err(("window", "must be at least 1".to_owned())),
            _ => Ok(()),
        }
    }

    fn forecast(params: &Params, series: &Series<'_>, horizon: usize, level: f64) -> Result<Forecast> {
        let (values, window) = (series.values, params.window);
        at_least(Self::NAME, values.len(), window.saturating_add(ENOUGH))?;
        // Each value is divided first: the sum of huge ones would overflow.
        let means: Vec<f64> =
            values.windows(window).map(|last| last.iter().map(|v| v / window as f64).sum()).collect();
        let errors: Vec<Vec<f64>> = (0..horizon.min(values.len() - window))
            .map(|ahead| means.iter().zip(&values[window + ahead..]).map(|(mean, v)| v - mean).collect())
            .collect();
        let now = means[means.len() - 1];
        forecast(Self::NAME, vec![now; horizon], &measured(&errors, horizon), level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_the_errors_of_the_past() {
        // The mean of two is 0 at every time, and so each error is 3.
        let values: Vec<f64> = (0..20).map(|t| if t % 2 == 0 { 3.0 } else { -3.0 }).collect();
        let series = Series { values: &values, season: 1, seed: 0 };
        let got = MovingMean::forecast(&Params { window: 2 }, &series, 3, 0.95).unwrap();
        assert_eq!(got.values, [0.0; 3]);
        assert!(got.upper.iter().all(|v| (v - 3.0 * 1.959_963_984_540_054).abs() < 1e-12), "{got:?}");
    }

    #[test]
    fn a_window_is_longer_than_nothing() {
        assert!(MovingMean::check(&Params { window: 0 }).is_err());
    }
}
