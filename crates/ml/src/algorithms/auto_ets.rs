//! Exponential smoothing, of which the best kind is chosen.

use lagar_flow::{Error, Result, codes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ets::{Kind, Season, Trend, best};
use super::intervals::{at_least, forecast};
use crate::algorithm::{Forecast, Forecaster, Series};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Three letters: the error (`A` added, `M` a share of the value), the trend (`N` none, `A` added) and the
    /// season (`N` none, `A` added, `M` a multiple); `Z`: whichever fits best.
    spec: String,
    /// Whether the trend fades away; `null`: whichever fits best.
    damped: Option<bool>,
}

impl Default for Params {
    fn default() -> Self {
        Self { spec: "ZZZ".to_owned(), damped: None }
    }
}

pub struct AutoEts;

/// The kind is chosen by AICc among those that the series is long enough for. Kinds with a season come in where
/// it has two whole seasons, those that multiply where all values are positive; of those with an added error and
/// a multiplied season the intervals have no formula, and they are left out, as is usual.
impl Forecaster for AutoEts {
    const NAME: &'static str = "auto_ets";
    const ABOUT: &'static str = "exponential smoothing: level, trend and season, each as it fits best";
    type Params = Params;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        let kinds = kinds(&params.spec, params.damped).map_err(|must| ("spec", must))?;
        match kinds.is_empty() {
            true if params.damped == Some(true) => {
                Err(("damped", "must be false where `spec` has no trend to damp".to_owned()))
            }
            true => Err(("spec", "must not ask for an added error and a multiplied season".to_owned())),
            false => Ok(()),
        }
    }

    fn forecast(params: &Params, series: &Series<'_>, horizon: usize, level: f64) -> Result<Forecast> {
        let (values, season) = (series.values, series.season.max(1));
        let mut kinds = kinds(&params.spec, params.damped).map_err(Error::bug)?;
        if season == 1 {
            kinds.retain(|kind| kind.season == Season::None);
            if kinds.is_empty() {
                return Err(Error::new(
                    codes::PREDICTOR_DATA,
                    format!(
                        "`{}` with the spec `{}` needs a season, and the season is 1",
                        Self::NAME,
                        params.spec
                    ),
                )
                .hint("say after how many steps things repeat, or take a spec that ends with `N` or `Z`"));
            }
        }
        let needs = kinds.iter().map(|kind| kind.needs(season)).min().unwrap_or(0);
        at_least(Self::NAME, values.len(), needs)?;
        let ets = best(values, season, &kinds).ok_or_else(|| {
            let not_positive = values.iter().filter(|v| **v <= 0.0).count();
            Error::new(
                codes::PREDICTOR_DATA,
                format!(
                    "no `{}` of the spec `{}` fits: {not_positive} of {} values are not positive",
                    Self::NAME,
                    params.spec,
                    values.len()
                ),
            )
            .hint("take the spec `ZZZ`")
        })?;
        let (values, deviations) = ets.ahead(horizon);
        let mut got = forecast(Self::NAME, values, &deviations, level)?;
        got.figures = ets.figures();
        Ok(got)
    }
}

/// The kinds that a spec allows, the simple ones first, or what it must be. With an added error a multiplied
/// season is not among them.
fn kinds(spec: &str, damped: Option<bool>) -> Result<Vec<Kind>, String> {
    let must = || "must be three letters: `A`, `M` or `Z`; `N`, `A` or `Z`; `N`, `A`, `M` or `Z`".to_owned();
    let [error, trend, season] = spec.as_bytes() else { return Err(must()) };
    let errors: &[bool] = match error {
        b'A' => &[false],
        b'M' => &[true],
        b'Z' => &[false, true],
        _ => return Err(must()),
    };
    let (trends, damped): (&[Trend], _) = match (trend, damped) {
        (b'N', _) => (&[Trend::None], damped == Some(true)),
        (b'A', None) => (&[Trend::Additive, Trend::Damped], false),
        (b'A', Some(false)) => (&[Trend::Additive], false),
        (b'A', Some(true)) => (&[Trend::Damped], false),
        (b'Z', None) => (&[Trend::None, Trend::Additive, Trend::Damped], false),
        (b'Z', Some(false)) => (&[Trend::None, Trend::Additive], false),
        (b'Z', Some(true)) => (&[Trend::None, Trend::Damped], false),
        _ => return Err(must()),
    };
    if damped {
        return Ok(Vec::new());
    }
    let seasons: &[Season] = match season {
        b'N' => &[Season::None],
        b'A' => &[Season::Additive],
        b'M' => &[Season::Multiplicative],
        b'Z' => &[Season::None, Season::Additive, Season::Multiplicative],
        _ => return Err(must()),
    };
    let mut kinds = Vec::new();
    for season in seasons {
        for trend in trends {
            for relative in errors {
                if *relative || *season != Season::Multiplicative {
                    kinds.push(Kind { relative: *relative, trend: *trend, season: *season });
                }
            }
        }
    }
    Ok(kinds)
}
