//! One or more seasons taken off by loess, and what remains forecast by exponential smoothing.

use augurs_mstl::stlrs::{MstlParams, MstlResult, StlParams};
use lagar_flow::{Error, Result, codes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::ets::{Kind, Season, Trend, best};
use super::shared::intervals::{at_least, forecast};
use crate::algorithm::{Forecast, Forecaster, Series};
use crate::math::cube;

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
/// is repeated; trend and remainder are forecast together by the best exponential smoothing without a season. Its
/// deviations are widened by what the seasons took of the noise ([`widening`]): without this, of intervals of 90 %
/// only about 80 % hold.
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

    fn needs_season(params: &Params) -> bool {
        params.periods.is_empty()
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
        let (mut ahead, mut deviations) = ets.ahead(horizon);
        let wider = widening(values.len(), &periods, &params.windows);
        deviations.iter_mut().for_each(|deviation| *deviation *= wider);
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

/// By how much errors are larger than those of what the seasons leave. Loess gives each value a share in the part
/// of the season that is taken from it, and with it follows that much of its noise; and the last season, which is
/// repeated, carries its own share of noise into the future. Of noise of variance 1 there remains
/// `1 - Σ mean share`, and the error of the forecast has `1 + Σ last share`; a season takes nothing of the mean, one
/// of its `period` places.
fn widening(length: usize, periods: &[usize], windows: &[usize]) -> f64 {
    let mut order: Vec<usize> = (0..periods.len()).collect();
    order.sort_by_key(|place| periods[*place]);
    let (mut remains, mut carried) = (1.0, 1.0);
    for (rank, place) in order.into_iter().enumerate() {
        // As stlrs does where no windows are given.
        let window = windows.get(place).copied().unwrap_or(7 + 4 * (rank + 1));
        let period = periods[place];
        let seasons = length / period;
        let beside_mean = (period - 1) as f64 / period as f64;
        let shares: f64 = (0..seasons).map(|season| own_share(season, seasons, window)).sum();
        remains -= beside_mean * shares / seasons as f64;
        carried += beside_mean * own_share(seasons - 1, seasons, window);
    }
    // Where the seasons could follow nearly everything, the remainder says nothing.
    (carried / f64::max(remains, 0.1)).sqrt()
}

/// The weight of a value in its own smoothed one: tricube weights of the `window` nearest of `count` values, divided
/// by their sum (Cleveland et al., STL, Journal of Official Statistics 6, 1990, 2.2 for degree 0).
fn own_share(at: usize, count: usize, window: usize) -> f64 {
    let first = at.saturating_sub(window / 2).min(count.saturating_sub(window));
    let last = (first + window).min(count) - 1;
    let farthest = (at - first).max(last - at) + window.saturating_sub(count) / 2;
    let weight = |other: usize| cube(1.0 - cube(at.abs_diff(other) as f64 / farthest.max(1) as f64));
    1.0 / (first..=last).map(weight).sum::<f64>()
}

fn without_season() -> Vec<Kind> {
    let trends = [Trend::None, Trend::Additive, Trend::Damped];
    trends
        .into_iter()
        .flat_map(|trend| [false, true].map(|relative| Kind { relative, trend, season: Season::None }))
        .collect()
}

fn decomposed(values: &[f64], periods: &[usize], windows: &[usize]) -> Result<MstlResult<f64>> {
    // As statsmodels. With the two loops that stlrs takes of itself, trend and season are not yet apart where few
    // seasons are known: of the slow wave in the tests below a fifth was missing.
    let mut loops = StlParams::new();
    loops.inner_loops(5);
    let mut params = MstlParams::new();
    params.stl_params(loops);
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

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    /// What stlrs takes from a single value of 1 in zeros is its share: the formula against the decomposition.
    #[test]
    fn shares_are_those_of_the_decomposition() {
        let (seasons, period) = (10, 12);
        let mut mean = 0.0;
        for season in 0..seasons {
            let mut values = vec![0.0; seasons * period];
            values[season * period + 5] = 1.0;
            let parts = decomposed(&values, &[period], &[]).unwrap();
            mean += parts.seasonal()[0][season * period + 5] / seasons as f64;
        }
        let formula: f64 = (0..seasons).map(|season| own_share(season, seasons, 11)).sum::<f64>()
            / seasons as f64
            * (period - 1) as f64
            / period as f64;
        assert!((mean / formula - 1.0).abs() < 0.05, "{mean} {formula}");
    }

    /// Hours with a day and a week: both go on. `MSTL(…, (24, 168), stl_kwargs={"seasonal_deg": 0})` of statsmodels
    /// 0.15 leaves 183.90018 of the last value.
    #[test]
    fn two_seasons_go_on() {
        let at = |t: usize| {
            let t = t as f64;
            100.0 + 0.1 * t + 10.0 * (t * TAU / 24.0).sin() + 5.0 * (t * TAU / 168.0).cos()
        };
        let values: Vec<f64> = (0..840).map(at).collect();
        let parts = decomposed(&values, &[168, 24], &[]).unwrap();
        assert!((parts.trend()[839] + parts.remainder()[839] - 183.90018).abs() < 1e-3);
        let series = Series { values: &values, season: 24, seed: 0 };
        let params = Params { periods: vec![168, 24], windows: vec![] };
        let got = Mstl::forecast(&params, &series, 168, 0.9).unwrap();
        for (step, value) in got.values.iter().enumerate() {
            assert!((value - at(840 + step)).abs() < 0.1, "{step}: {value} {}", at(840 + step));
        }
    }

    #[test]
    fn what_it_cannot_take_off_is_said() {
        let check = |periods: &[usize], windows: &[usize]| {
            Mstl::check(&Params { periods: periods.to_vec(), windows: windows.to_vec() })
        };
        assert!(check(&[], &[]).is_ok() && check(&[7, 24], &[7, 9]).is_ok() && check(&[], &[7]).is_ok());
        for (periods, windows, name) in [
            (&[1][..], &[][..], "periods"),
            (&[7, 24, 7], &[], "periods"),
            (&[7, 24], &[7], "windows"),
            (&[7], &[8], "windows"),
        ] {
            assert_eq!(check(periods, windows).unwrap_err().0, name);
        }
        let values = [1.0; 30];
        let with = |season| Series { values: &values, season, seed: 0 };
        let error = Mstl::forecast(&Params::default(), &with(1), 3, 0.9).unwrap_err();
        assert!(error.message().contains("the season is 1"), "{error}");
        let error = Mstl::forecast(&Params::default(), &with(16), 3, 0.9).unwrap_err();
        assert!(error.message().contains("at least 32") && error.message().contains("has 30"), "{error}");
    }

    #[test]
    fn too_large_to_add_up_is_an_error() {
        let values: Vec<f64> = (0..40).map(|t| if t % 2 == 0 { 1.7e308 } else { -1.7e308 }).collect();
        let error =
            Mstl::forecast(&Params::default(), &Series { values: &values, season: 7, seed: 0 }, 3, 0.9);
        assert_eq!(error.unwrap_err().code(), codes::PREDICTOR_DATA);
    }
}
