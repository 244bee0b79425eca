//! The baseline of all forecasts: it stays as it is.

use lagar_flow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::intervals::{at_least, deviation, forecast};
use crate::algorithm::{Forecast, Forecaster, Series};

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {}

pub struct LastValue;

/// The interval is that of a random walk: the deviation of step `h` is `s √h`, where `s²` is the mean square of
/// the differences from one value to the next (Hyndman & Athanasopoulos, Forecasting: Principles and Practice,
/// 3rd edition, 5.5).
impl Forecaster for LastValue {
    const NAME: &'static str = "last_value";
    const ABOUT: &'static str = "baseline: the last value, again and again";
    type Params = Params;

    fn forecast(_: &Params, series: &Series<'_>, horizon: usize, level: f64) -> Result<Forecast> {
        at_least(Self::NAME, series.values.len(), 2)?;
        let last = series.values[series.values.len() - 1];
        let steps = series.values.windows(2).map(|pair| pair[1] - pair[0]);
        let spread = deviation(steps, series.values.len() - 1);
        let deviations: Vec<f64> = (1..=horizon).map(|step| spread * (step as f64).sqrt()).collect();
        forecast(Self::NAME, vec![last; horizon], &deviations, level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_a_random_walk() {
        // The differences are 2, -1, 3: s² = 14/3.
        let series = Series { values: &[1.0, 3.0, 2.0, 5.0], season: 1, seed: 0 };
        let got = LastValue::forecast(&Params {}, &series, 4, 0.95).unwrap();
        assert_eq!(got.values, [5.0; 4]);
        let half = 1.959_963_984_540_054 * (14.0_f64 / 3.0).sqrt();
        assert!((got.upper[0] - 5.0 - half).abs() < 1e-12);
        assert!((got.lower[3] - 5.0 + 2.0 * half).abs() < 1e-12);
    }
}
