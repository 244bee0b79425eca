//! The baseline of series with a season: each value as one season ago.

use lagar_flow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::intervals::{at_least, deviation, forecast};
use crate::algorithm::{Forecast, Forecaster, Series};

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {}

pub struct SeasonalLastValue;

/// The deviation of step `h` is `s √(k + 1)`: `k` whole seasons lie between it and the season that is repeated,
/// and `s²` is the mean square of the differences from one season to the next (Hyndman & Athanasopoulos,
/// Forecasting: Principles and Practice, 3rd edition, 5.5).
impl Forecaster for SeasonalLastValue {
    const NAME: &'static str = "seasonal_last_value";
    const ABOUT: &'static str = "baseline: the values of the last season, again and again";
    type Params = Params;

    fn needs_season(_: &Params) -> bool {
        true
    }

    fn forecast(_: &Params, series: &Series<'_>, horizon: usize, level: f64) -> Result<Forecast> {
        let (values, season) = (series.values, series.season.max(1));
        at_least(Self::NAME, values.len(), season.saturating_add(1))?;
        let known = values.len() - season;
        let changes = values.iter().zip(&values[season..]).map(|(before, after)| after - before);
        let spread = deviation(changes, known);
        let deviations: Vec<f64> =
            (0..horizon).map(|ahead| spread * ((ahead / season + 1) as f64).sqrt()).collect();
        let repeated = (0..horizon).map(|ahead| values[known + ahead % season]).collect();
        forecast(Self::NAME, repeated, &deviations, level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_widens_with_each_season() {
        // From season to season: 2, 0, -1: s² = 5/3.
        let series = Series { values: &[1.0, 5.0, 9.0, 3.0, 5.0, 8.0], season: 3, seed: 0 };
        let got = SeasonalLastValue::forecast(&Params {}, &series, 5, 0.95).unwrap();
        assert_eq!(got.values, [3.0, 5.0, 8.0, 3.0, 5.0]);
        let half = 1.959_963_984_540_054 * (5.0_f64 / 3.0).sqrt();
        assert!((got.upper[2] - 8.0 - half).abs() < 1e-12);
        assert!((got.upper[3] - 3.0 - half * 2.0_f64.sqrt()).abs() < 1e-12);
    }
}
