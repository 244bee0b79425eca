//! One or more seasons taken off by loess, and what remains forecast by exponential smoothing.

use augurs_mstl::stlrs::{MstlParams, MstlResult};
use lagar_flow::{Error, Result, codes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ets::{Kind, Season, Trend, best};
use super::intervals::{at_least, forecast};
use crate::algorithm::{Forecast, Forecaster, Series};

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// After how many steps things repeat, such as 24 and 168 for hours with days and weeks; empty: the season of
    /// the series.
    periods: Vec<usize>,
    /// Over how many seasons each of the periods is smoothed; empty: 11, 15, 19 and so on.
    windows: Vec<usize>,
}

pub struct Mstl;

/// The decomposition is that of Bandara, Hyndman & Bergmeir, MSTL (arXiv 2107.13462), by stlrs, in `f64`:
/// `MSTLModel` of augurs-mstl does the same but rounds the series to `f32` first. The last season of each period
/// is repeated; trend and remainder are forecast together by the best exponential smoothing without a season, and
/// its intervals are those of the forecast: that the seasons are only known so well is not in them.
impl Forecaster for Mstl {
    const NAME: &'static str = "mstl";
    const ABOUT: &'static str = "takes off one or more seasons and smooths what remains exponentially";
    type Params = Params;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        let Params { periods, windows } = params;
        if periods.iter().any(|period| *period < 2) {
            return Err(("periods", "must each be at least 2".to_owned()));
        }
        if (1..periods.len()).any(|place| periods[place..].contains(&periods[place - 1])) {
            return Err(("periods", "must differ".to_owned()));
        }
        if windows.iter().any(|window| *window < 3 || window.is_multiple_of(2)) {
            return Err(("windows", "must each be odd and at least 3".to_owned()));
        }
        match windows.len() {
            0 => Ok(()),
            count if count == periods.len().max(1) => Ok(()),
            _ => Err(("windows", format!("must be as many as periods: {}", periods.len().max(1)))),
        }
    }

    fn forecast(params: &Params, series: &Series<'_>, horizon: usize, level: f64) -> Result<Forecast> {
        let values = series.values;
        let periods = match params.periods.as_slice() {
            [] => vec![series.season],
            periods => periods.to_vec(),
        };
        let longest = periods.iter().copied().max().unwrap_or(1);
        if longest < 2 {
            return Err(Error::new(
                codes::PREDICTOR_DATA,
                format!("`{}` needs a season, and the season is {longest}", Self::NAME),
            )
            .hint("say after how many steps things repeat, or take `auto_ets`"));
        }
        let kinds = without_season();
        let needs = kinds.iter().map(|kind| kind.needs(1)).min().unwrap_or(0);
        at_least(Self::NAME, values.len(), longest.saturating_mul(2).max(needs))?;
        let parts = decomposed(values, &periods, &params.windows)?;
        let adjusted: Vec<f64> = parts.trend().iter().zip(parts.remainder()).map(|(t, r)| t + r).collect();
        let ets = best(&adjusted, 1, &kinds).ok_or_else(|| Error::bug("no exponential smoothing fits"))?;
        let (mut ahead, deviations) = ets.ahead(horizon);
        for (period, season) in periods.iter().zip(parts.seasonal()) {
            let last = &season[season.len() - period..];
            for (value, part) in ahead.iter_mut().zip(last.iter().cycle()) {
                *value += part;
            }
        }
        let mut got = forecast(Self::NAME, ahead, &deviations, level)?;
        got.figures = ets.figures();
        Ok(got)
    }
}

fn without_season() -> Vec<Kind> {
    let trends = [Trend::None, Trend::Additive, Trend::Damped];
    trends
        .into_iter()
        .flat_map(|trend| [false, true].map(|relative| Kind { relative, trend, season: Season::None }))
        .collect()
}

fn decomposed(values: &[f64], periods: &[usize], windows: &[usize]) -> Result<MstlResult<f64>> {
    let mut params = MstlParams::new();
    if !windows.is_empty() {
        params.seasonal_lengths(windows);
    }
    let parts = params
        .fit(values, periods)
        .map_err(|error| Error::bug("the series cannot be decomposed").caused_by(&error))?;
    if parts.trend().iter().chain(parts.remainder()).any(|value| !value.is_finite()) {
        return Err(Error::new(
            codes::PREDICTOR_DATA,
            "`mstl` cannot add up so large values: a sum is beyond 1.8e308",
        )
        .hint("divide the column by a constant"));
    }
    Ok(parts)
}
