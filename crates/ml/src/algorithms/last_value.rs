//! The baseline of all forecasts: it stays as it is.

use lagar_flow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::algorithm::{Forecast, Forecaster, Series};

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {}

pub struct LastValue;

impl Forecaster for LastValue {
    const NAME: &'static str = "last_value";
    const ABOUT: &'static str = "baseline: the last value, again and again";
    type Params = Params;

    fn forecast(_: &Params, series: &Series<'_>, horizon: usize, _level: f64) -> Result<Forecast> {
        let last = series.values[series.values.len() - 1];
        let values = vec![last; horizon];
        Ok(Forecast { lower: values.clone(), upper: values.clone(), values, figures: Vec::new() })
    }
}
