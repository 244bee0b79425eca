//! A regression of each value on those before it, with any of the regressions of the list.

use lagar_flow::{Error, Result, codes};
use ndarray::Array2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::shared::intervals::{ENOUGH, at_least, forecast, measured};
use crate::algorithm::{
    Entry, Fitted, Forecast, Forecaster, Output, Series, Target, Task, Training, algorithm,
};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// How many of the values before are features; the one a season before is one too.
    lags: usize,
    /// The regression that learns from them.
    algorithm: String,
    /// The parameters of that regression.
    params: Map<String, Value>,
}

impl Default for Params {
    fn default() -> Self {
        Self { lags: 7, algorithm: "linear".to_owned(), params: Map::new() }
    }
}

pub struct LagRegression;

/// More than one step ahead what was forecast stands in for what is not known yet. The mean of the series is
/// taken away first and what remains divided by its largest value, so that regressions that shrink do so by as
/// much whatever the unit.
///
/// The intervals come from errors that were really made: the regression is fitted on the first two thirds and
/// forecasts from each time of the last third; then it is fitted on everything.
impl Forecaster for LagRegression {
    const NAME: &'static str = "lag_regression";
    const ABOUT: &'static str = "a regression on the values before, and that one season ago";
    type Params = Params;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        if params.lags == 0 {
            return Err(("lags", "must be at least 1".to_owned()));
        }
        let entry = regression(&params.algorithm).map_err(|must| ("algorithm", must))?;
        match entry.params(&Value::Object(params.params.clone())) {
            Ok(_) => Ok(()),
            Err(error) => Err(("params", format!("must suit `{}`: {}", entry.name, error.message()))),
        }
    }

    fn forecast(params: &Params, series: &Series<'_>, horizon: usize, level: f64) -> Result<Forecast> {
        let entry = regression(&params.algorithm).map_err(Error::bug)?;
        let learner = Learner {
            entry,
            params: entry.params(&Value::Object(params.params.clone()))?,
            seed: series.seed,
        };
        let lags = lags(params.lags, series)?;
        let longest = lags.iter().copied().max().unwrap_or(1);
        let mean = series.values.iter().map(|v| v / series.values.len() as f64).sum::<f64>();
        let scale = series.values.iter().fold(0.0_f64, |largest, v| largest.max((v - mean).abs()));
        let scale = if scale > 0.0 { scale } else { 1.0 };
        let centred: Vec<f64> = series.values.iter().map(|v| (v - mean) / scale).collect();
        if centred.iter().any(|v| !v.is_finite()) {
            return Err(too_far_apart(series.values.len()));
        }

        let known = longest + rows_to_learn(&centred, longest);
        let steps = horizon.min(centred.len() - known);
        let starts: Vec<usize> = (known..centred.len()).collect();
        let ahead = learner.fit(&centred[..known], &lags)?.ahead(&centred, &starts, steps)?;
        let errors: Vec<Vec<f64>> = ahead
            .iter()
            .enumerate()
            .map(|(step, values)| {
                let actual = &centred[known + step..];
                values.iter().zip(actual).map(|(value, actual)| actual - value).collect()
            })
            .collect();

        let fitted = learner.fit(&centred, &lags)?;
        let future = fitted.ahead(&centred, &[centred.len()], horizon)?;
        let values = future.iter().flatten().map(|value| value * scale + mean).collect();
        let deviations: Vec<f64> = measured(&errors, horizon).into_iter().map(|d| d * scale).collect();
        let mut got = forecast(Self::NAME, values, &deviations, level)?;
        got.figures = vec![
            ("algorithm".to_owned(), entry.name.into()),
            ("lags".to_owned(), fitted.lags.iter().copied().map(Value::from).collect()),
        ];
        Ok(got)
    }
}

fn regression(name: &str) -> Result<&'static Entry, String> {
    match algorithm(name) {
        Ok(entry) if entry.task == Task::Regression => Ok(entry),
        Ok(entry) => Err(format!("must be a regression; `{name}` does {}", entry.task)),
        Err(error) => Err(format!("must be a regression: {}", error.message())),
    }
}

fn too_far_apart(count: usize) -> Error {
    Error::new(
        codes::PREDICTOR_DATA,
        format!("the {count} values are too far apart: a difference is beyond 1.8e308"),
    )
    .hint("divide the column by a constant")
}

/// 1 to `count`, and the season if the series is long enough for it.
///
/// # Errors
/// [`codes::PREDICTOR_DATA`] if it is too short for the others.
fn lags(count: usize, series: &Series<'_>) -> Result<Vec<usize>> {
    at_least(LagRegression::NAME, series.values.len(), needs(count, count))?;
    let mut lags: Vec<usize> = (1..=count).collect();
    if series.season > count && series.values.len() >= needs(count + 1, series.season) {
        lags.push(series.season);
    }
    Ok(lags)
}

/// Twice as many rows as there are numbers to fit, half as many again to measure the errors with, and at least
/// [`ENOUGH`].
fn needs(features: usize, longest: usize) -> usize {
    let learn = features.saturating_add(1).saturating_mul(2);
    longest.saturating_add(learn).saturating_add((learn / 2).max(ENOUGH))
}

/// Two thirds of the rows, but no more than leave [`ENOUGH`].
fn rows_to_learn(values: &[f64], longest: usize) -> usize {
    let rows = values.len() - longest;
    rows - rows.div_ceil(3).max(ENOUGH)
}

struct Learner {
    entry: &'static Entry,
    params: Value,
    seed: u64,
}

/// What was learned of a series.
struct Learned {
    /// None if no value before says anything.
    fitted: Option<Box<dyn Fitted>>,
    lags: Vec<usize>,
    mean: f64,
}

impl Learner {
    fn fit(&self, values: &[f64], lags: &[usize]) -> Result<Learned> {
        let longest = lags.iter().copied().max().unwrap_or(0);
        let targets = &values[longest..];
        let lags = independent(values, lags, longest);
        let mean = targets.iter().map(|v| v / targets.len() as f64).sum();
        if lags.is_empty() {
            return Ok(Learned { fitted: None, lags, mean });
        }
        let x = Array2::from_shape_fn((targets.len(), lags.len()), |(row, column)| {
            values[longest + row - lags[column]]
        });
        let features: Vec<String> = lags.iter().map(|lag| format!("lag_{lag}")).collect();
        let training = Training {
            x: x.view(),
            target: Target::Values(targets),
            features: &features,
            seed: self.seed,
            threads: 1,
        };
        let (fitted, _) = self.entry.fit(&self.params, &training)?;
        Ok(Learned { fitted: Some(fitted), lags, mean })
    }
}

impl Learned {
    /// For each step the forecasts from each of `starts`, of which each sees the values before it.
    fn ahead(&self, values: &[f64], starts: &[usize], steps: usize) -> Result<Vec<Vec<f64>>> {
        let mut ahead: Vec<Vec<f64>> = Vec::with_capacity(steps);
        for step in 0..steps {
            let Some(fitted) = &self.fitted else {
                ahead.push(vec![self.mean; starts.len()]);
                continue;
            };
            let x = Array2::from_shape_fn((starts.len(), self.lags.len()), |(row, column)| {
                let lag = self.lags[column];
                if lag > step { values[starts[row] + step - lag] } else { ahead[step - lag][row] }
            });
            let Output::Values(next) = fitted.predict(x.view())? else {
                return Err(Error::bug("a regression does not answer with numbers"));
            };
            if next.iter().any(|value| !value.is_finite()) {
                return Err(Error::new(
                    codes::PREDICTOR_DATA,
                    format!(
                        "the forecasts of `{}` grow without end by step {}",
                        LagRegression::NAME,
                        step + 1
                    ),
                )
                .hint("take fewer `lags`, or a regression that shrinks, such as `ridge`"));
            }
            ahead.push(next);
        }
        Ok(ahead)
    }
}

/// The lags whose columns do not follow from those before: of a straight line any two say the same, of an exact
/// wave any three. A column counts if at least a millionth of its length is its own (Gram & Schmidt, done twice).
fn independent(values: &[f64], lags: &[usize], longest: usize) -> Vec<usize> {
    let rows = values.len() - longest;
    let unit = |mut column: Vec<f64>| {
        let largest = column.iter().fold(0.0_f64, |largest, v| largest.max(v.abs()));
        if largest > 0.0 {
            column.iter_mut().for_each(|v| *v /= largest);
            let length = column.iter().map(|v| v * v).sum::<f64>().sqrt();
            column.iter_mut().for_each(|v| *v /= length);
        }
        column
    };
    let mut directions = vec![unit(vec![1.0; rows])];
    let mut kept = Vec::new();
    for lag in lags {
        let mut column = unit(values[longest - lag..values.len() - lag].to_vec());
        for direction in directions.iter().chain(&directions) {
            let along: f64 = column.iter().zip(direction).map(|(v, d)| v * d).sum();
            column.iter_mut().zip(direction).for_each(|(v, d)| *v -= along * d);
        }
        if column.iter().map(|v| v * v).sum::<f64>().sqrt() > 1e-6 {
            directions.push(unit(column));
            kept.push(*lag);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ahead(values: &[f64], params: Params, horizon: usize) -> Forecast {
        LagRegression::forecast(&params, &Series { values, season: 1, seed: 1 }, horizon, 0.9).unwrap()
    }

    /// `y = 0.5 y₋₁ - 0.3 y₋₂ + 4` without noise: it goes on by the same rule.
    #[test]
    fn a_rule_that_made_the_series_is_found() {
        let next = |a: f64, b: f64| 0.5 * b - 0.3 * a + 4.0;
        let mut values = vec![1.0, 9.0];
        for at in 2..28 {
            values.push(next(values[at - 2], values[at - 1]));
        }
        let known = values.len() - 3;
        let got = ahead(&values[..known], Params { lags: 2, ..Params::default() }, 3);
        for (step, value) in got.values.iter().enumerate() {
            assert!((value - values[known + step]).abs() < 1e-9, "{got:?}");
            assert!(got.upper[step] - value < 1e-6, "{got:?}");
        }
    }

    #[test]
    fn a_line_needs_one_lag_and_a_constant_none() {
        let line: Vec<f64> = (0..60).map(|t| 3.0 * f64::from(t) + 1e6).collect();
        let got = ahead(&line, Params::default(), 2);
        assert_eq!(got.figures[1].1, json!([1]));
        assert!((got.values[1] - (3.0 * 61.0 + 1e6)).abs() < 1e-6, "{got:?}");
        let got = ahead(&[5.5; 60], Params::default(), 2);
        assert_eq!(got.figures[1].1, json!([]));
        assert!(got.values.iter().all(|value| (value - 5.5).abs() < 1e-12), "{got:?}");
    }

    #[test]
    fn only_a_regression_can_learn() {
        let with = |name: &str| Params { algorithm: name.to_owned(), ..Params::default() };
        assert!(LagRegression::check(&with("linear")).is_ok());
        let (name, must) = LagRegression::check(&with("last_value")).unwrap_err();
        assert_eq!((name, must.as_str()), ("algorithm", "must be a regression; `last_value` does forecast"));
        let given = json!({"intercept": "no"}).as_object().cloned().unwrap_or_default();
        let (name, _) = LagRegression::check(&Params { params: given, ..Params::default() }).unwrap_err();
        assert_eq!(name, "params");
    }
}
