//! The line from the first value through the last one.

use lagar_flow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::intervals::{at_least, deviation, forecast};
use crate::algorithm::{Forecast, Forecaster, Series};

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {}

pub struct Drift;

/// A random walk with a drift, which is the mean of the `n - 1` differences. The deviation of step `h` is
/// `s √(h (1 + h / (n - 1)))`, where `s²` is the sum of the squares of what the differences leave, over `n - 2`
/// (Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd edition, 5.5).
impl Forecaster for Drift {
    const NAME: &'static str = "drift";
    const ABOUT: &'static str = "the last value, and as much more each step as the mean of all steps so far";
    type Params = Params;

    fn forecast(_: &Params, series: &Series<'_>, horizon: usize, level: f64) -> Result<Forecast> {
        let values = series.values;
        at_least(Self::NAME, values.len(), 3)?;
        let (last, steps) = (values[values.len() - 1], values.len() - 1);
        let drift = (last - values[0]) / steps as f64;
        let left = values.windows(2).map(|pair| pair[1] - pair[0] - drift);
        let spread = deviation(left, steps - 1);
        let ahead = || (1..=horizon).map(|step| step as f64);
        let deviations: Vec<f64> = ahead().map(|h| spread * (h * (1.0 + h / steps as f64)).sqrt()).collect();
        let line = ahead().map(|h| last + h * drift).collect();
        let mut got = forecast(Self::NAME, line, &deviations, level)?;
        got.figures = vec![("drift".to_owned(), drift.into())];
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_the_textbook() {
        // Differences 2, -1, 3, 4 of mean 2 leave 0, -3, 1, 2: s² = 14/3.
        let series = Series { values: &[1.0, 3.0, 2.0, 5.0, 9.0], season: 1, seed: 0 };
        let got = Drift::forecast(&Params {}, &series, 2, 0.95).unwrap();
        assert_eq!(got.values, [11.0, 13.0]);
        let z_s = 1.959_963_984_540_054 * (14.0_f64 / 3.0).sqrt();
        assert!((got.upper[0] - 11.0 - z_s * 1.25_f64.sqrt()).abs() < 1e-12);
        assert!((got.lower[1] - 13.0 + z_s * 3.0_f64.sqrt()).abs() < 1e-12);
    }
}
