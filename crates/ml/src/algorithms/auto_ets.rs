//! Exponential smoothing, of which the best kind is chosen.

use lagar_flow::{Error, Result, codes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::ets::{Kind, Season, Trend, best};
use super::shared::intervals::{at_least, forecast};
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms::shared::ets::tests::AIR;

    /// R's `ets` and the literature choose ETS(M,A,M) or ETS(M,Ad,M) for these; what follows in the tests of a
    /// forecast is the last year against a forecast from the eleven before.
    #[test]
    fn the_season_of_air_passengers_is_a_multiple() {
        let known = Series { values: &AIR[..132], season: 12, seed: 0 };
        let got = AutoEts::forecast(&Params::default(), &known, 12, 0.95).unwrap();
        let model = got.figures[0].1.as_str().unwrap().to_owned();
        assert!(model.starts_with("ETS(M,A") && model.ends_with(",M)"), "{model}");
        let shares = got.values.iter().zip(&AIR[132..]).map(|(value, actual)| (value / actual - 1.0).abs());
        let mean = shares.sum::<f64>() / 12.0;
        assert!(mean < 0.05, "{mean} {got:?}");
        let inside = (0..12).filter(|at| (got.lower[*at]..=got.upper[*at]).contains(&AIR[132 + at])).count();
        assert!(inside >= 10, "{inside}");
    }

    #[test]
    fn a_spec_that_says_nothing_possible_is_refused() {
        let check = |spec: &str, damped| AutoEts::check(&Params { spec: spec.to_owned(), damped });
        assert!(check("ZZZ", None).is_ok() && check("MAM", Some(true)).is_ok() && check("ANN", None).is_ok());
        for (spec, damped, name) in [
            ("ZZ", None, "spec"),
            ("NNN", None, "spec"),
            ("AMN", None, "spec"),
            ("ANM", None, "spec"),
            ("ÄZ", None, "spec"),
            ("ANN", Some(true), "damped"),
        ] {
            assert_eq!(check(spec, damped).unwrap_err().0, name, "{spec}");
        }
    }

    #[test]
    fn a_season_that_is_asked_for_must_be_there() {
        let params = Params { spec: "AAA".to_owned(), damped: None };
        let error =
            AutoEts::forecast(&params, &Series { values: &AIR, season: 1, seed: 0 }, 1, 0.9).unwrap_err();
        assert!(error.message().contains("the season is 1"), "{error}");
        let short = Series { values: &AIR[..20], season: 12, seed: 0 };
        let error = AutoEts::forecast(&params, &short, 1, 0.9).unwrap_err();
        assert!(error.message().contains("at least 24") && error.message().contains("has 20"), "{error}");
    }

    #[test]
    fn shares_of_values_need_positive_ones() {
        let params = Params { spec: "MNN".to_owned(), damped: None };
        let mut values = AIR;
        values[5] = -1.0;
        let error =
            AutoEts::forecast(&params, &Series { values: &values, season: 1, seed: 0 }, 1, 0.9).unwrap_err();
        assert!(error.message().contains("1 of 144 values"), "{error}");
    }
}
