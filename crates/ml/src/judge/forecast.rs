//! How good forecasts are: from times in the past, of which the future is known by now (rolling origin).

use std::collections::BTreeSet;

use lagar_flow::{Error, Result, codes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    chance::{self, Figures, Margins},
    metrics,
};
use crate::{
    algorithm::{Entry, Forecast, Series, Task, algorithm},
    algorithms::shared::intervals::{self, at_least, deviation},
    parallel::in_order,
};

/// One series, oldest value first.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    pub key: &'a str,
    pub values: &'a [f64],
}

/// What is judged, and how. Of each series the last `test` times `horizon` values are the test, and the last
/// `folds` times `horizon` values before them are for choosing; the forecasts of neither overlap.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    pub entry: &'static Entry,
    /// With every default filled in ([`Entry::params`]).
    pub params: &'a Value,
    /// After so many steps things repeat; 1: they do not.
    pub season: usize,
    /// So many steps ahead.
    pub horizon: usize,
    /// From so many times is forecast for choosing.
    pub folds: usize,
    /// From so many times is forecast for the test.
    pub test: usize,
    /// With this probability the actual value should lie in the interval.
    pub level: f64,
    pub seed: u64,
    /// They do not change the result.
    pub threads: usize,
}

/// Which of the values forecasts are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// For choosing an algorithm and its parameters, as often as wanted. The test is not looked at.
    Folds,
    /// Once, at the end.
    Test,
}

/// Measures of a number of forecasts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measures {
    /// So many values were compared.
    pub count: usize,
    /// Mean absolute error.
    pub mae: f64,
    /// Root of the mean squared error.
    pub rmse: f64,
    /// Mean absolute scaled error (Hyndman & Koehler 2006): each error over the mean absolute difference, in what
    /// was known at that time, between a value and the one a season before. Below 1: better than repeating the
    /// season would have been there. Null where there was no such difference to compare with; such series do not
    /// count for the mean of all.
    pub mase: Option<f64>,
    /// Mean of forecast less actual value; above 0: forecasts are too high.
    pub bias: f64,
    /// The share of actual values within their interval.
    pub coverage: f64,
}

/// Of all steps together, and of each step ahead.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scores {
    pub overall: Measures,
    /// The first is one step ahead.
    pub steps: Vec<Measures>,
}

/// The same measures of a baseline, from the same times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Baseline {
    /// The name of an algorithm with its defaults, or `mean`: that of all values so far.
    pub algorithm: String,
    pub scores: Scores,
    /// How much better than it the predictor may look by chance. Records of before have none.
    #[serde(default, skip_serializing_if = "Margins::is_empty")]
    pub margins: Margins,
}

/// Scores beside those of the baselines.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    pub scores: Scores,
    pub baselines: Vec<Baseline>,
    /// The baseline with the smallest mean absolute error.
    pub best_baseline: String,
    /// 1 less the mean absolute error over that of the best baseline: 0 is as good as it, 1 is perfect, below 0 is
    /// worse. Null if the best baseline makes no errors.
    pub skill: Option<f64>,
}

/// One series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OfSeries {
    pub key: String,
    /// From so many times was forecast.
    pub origins: usize,
    /// From so many times it could not be, as too little was known.
    pub left_out: usize,
    /// Why not, from the last such time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Null if no forecast could be made.
    pub comparison: Option<Comparison>,
}

/// The last forecast of a series and what came, for a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Picture {
    pub key: String,
    /// The last values that were known.
    pub before: Vec<f64>,
    pub actual: Vec<f64>,
    pub forecast: Vec<f64>,
    pub lower: Vec<f64>,
    pub upper: Vec<f64>,
}

/// How good the forecasts of an algorithm are. This is no variant of [`super::Measures`], which are of one set of rows
/// each: here are steps and series, and each of them stands beside its own baselines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Judged {
    pub algorithm: String,
    pub part: Part,
    pub season: usize,
    pub horizon: usize,
    /// The probability that intervals were asked for; `coverage` should be near it.
    pub level: f64,
    /// Of all series: each value counts the same, so series of large values count for more in all but `mase` and
    /// `coverage`.
    pub overall: Comparison,
    pub series: Vec<OfSeries>,
    pub pictures: Vec<Picture>,
}

/// So many pictures, of so many values each.
const PICTURES: usize = 3;
const POINTS: usize = 200;
/// From fewer times than this nothing is told by the times alone.
const TIMES: usize = 6;

/// # Errors
/// [`codes::PREDICTOR_DATA`] if no series is long enough for a single forecast, or values are too large to
/// measure errors of.
pub fn judge(series: &[Known<'_>], plan: &Plan<'_>, part: Part) -> Result<Judged> {
    let judges = judges(plan)?;
    let mut results = Vec::with_capacity(series.len());
    for result in in_order(series.len(), plan.threads, |at| one_series(&series[at], plan, part, &judges))? {
        results.push(result?);
    }
    let mut tallies = vec![Tally::new(plan.horizon); judges.len()];
    for result in &results {
        for (sum, tally) in tallies.iter_mut().zip(&result.tallies) {
            sum.add(tally);
        }
    }
    let units = units_of_all(&results);
    let Some(overall) = comparison(&judges, &tallies, &units)? else {
        return Err(nothing_judged(&results, plan, part));
    };
    let mut of_series = Vec::with_capacity(results.len());
    let mut pictures = Vec::new();
    for (known, result) in series.iter().zip(results) {
        of_series.push(OfSeries {
            key: known.key.to_owned(),
            origins: result.origins,
            left_out: result.left_out,
            why: result.why,
            comparison: comparison(&judges, &result.tallies, &result.units)?,
        });
        if let Some(picture) = result.picture.filter(|_| pictures.len() < PICTURES) {
            pictures.push(picture);
        }
    }
    Ok(Judged {
        algorithm: plan.entry.name.to_owned(),
        part,
        season: plan.season,
        horizon: plan.horizon,
        level: plan.level,
        overall,
        series: of_series,
        pictures,
    })
}

/// What forecasts: the first is judged, the others are its baselines, of which `last_value` is the first.
struct Judge {
    name: &'static str,
    method: Method,
}

enum Method {
    Algorithm(&'static Entry, Value),
    /// The mean of all values so far: of pure noise there is nothing better.
    Mean,
}

fn judges(plan: &Plan<'_>) -> Result<Vec<Judge>> {
    let own = Method::Algorithm(plan.entry, plan.params.clone());
    let mut judges = vec![Judge { name: plan.entry.name, method: own }];
    let seasonal = (plan.season > 1).then_some("seasonal_last_value");
    for name in ["last_value"].into_iter().chain(seasonal).chain(["drift", "moving_mean"]) {
        let entry = algorithm(name)?;
        judges.push(Judge { name, method: Method::Algorithm(entry, entry.params(&json!({}))?) });
    }
    judges.push(Judge { name: "mean", method: Method::Mean });
    Ok(judges)
}

impl Judge {
    fn forecast(&self, series: &Series<'_>, plan: &Plan<'_>) -> Result<Forecast> {
        match &self.method {
            Method::Algorithm(entry, params) => entry.forecast(params, series, plan.horizon, plan.level),
            Method::Mean => mean(self.name, series.values, plan),
        }
    }
}

/// Of `n` values with the deviation `s`, for each step an interval of `s √(1 + 1/n)` (Hyndman & Athanasopoulos,
/// Forecasting: Principles and Practice, 3rd edition, 5.5).
fn mean(name: &str, values: &[f64], plan: &Plan<'_>) -> Result<Forecast> {
    at_least(name, values.len(), 2)?;
    let n = values.len() as f64;
    let mean: f64 = values.iter().map(|value| value / n).sum();
    let spread =
        deviation(values.iter().map(|value| value - mean), values.len() - 1) * (1.0 + 1.0 / n).sqrt();
    intervals::forecast(name, vec![mean; plan.horizon], &vec![spread; plan.horizon], plan.level)
}

/// What came of one series.
struct Outcome {
    origins: usize,
    left_out: usize,
    why: Option<String>,
    /// One for each judge.
    tallies: Vec<Tally>,
    units: Vec<Unit<usize>>,
    picture: Option<Picture>,
}

/// The errors from one time, of each judge. What hangs together has one key.
struct Unit<K> {
    key: K,
    sums: Vec<Sums>,
}

fn one_series(known: &Known<'_>, plan: &Plan<'_>, part: Part, judges: &[Judge]) -> Result<Outcome> {
    let mut result = Outcome {
        origins: 0,
        left_out: 0,
        why: None,
        tallies: vec![Tally::new(plan.horizon); judges.len()],
        units: Vec::new(),
        picture: None,
    };
    let (count, after) = match part {
        Part::Folds => (plan.folds, plan.test),
        Part::Test => (plan.test, 0),
    };
    for back in (1..=count).rev() {
        let from_end = back.saturating_add(after).saturating_mul(plan.horizon);
        let Some(origin) = known.values.len().checked_sub(from_end).filter(|origin| *origin > 0) else {
            result.left_out += 1;
            result.why =
                Some(format!("{from_end} values are compared with, and it has {}", known.values.len()));
            continue;
        };
        let (before, later) = known.values.split_at(origin);
        let actual = &later[..plan.horizon];
        match forecasts(before, plan, judges) {
            Ok(forecasts) => {
                result.origins += 1;
                let scale = scale(before, plan.season);
                let counted = result.tallies.iter_mut().zip(&forecasts);
                let sums = counted.map(|(tally, forecast)| tally.count(forecast, actual, scale)).collect();
                result.units.push(Unit { key: back, sums });
                result.picture =
                    forecasts.into_iter().next().map(|forecast| picture(known.key, before, actual, forecast));
            }
            Err(error) if error.code() == codes::PREDICTOR_DATA => {
                result.left_out += 1;
                result.why = Some(error.message().to_owned());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(result)
}

/// Of every judge, so that all are judged by the same times. What a baseline cannot say of so few values is the last
/// value.
fn forecasts(values: &[f64], plan: &Plan<'_>, judges: &[Judge]) -> Result<Vec<Forecast>> {
    let series = Series { values, season: plan.season, seed: plan.seed };
    let mut forecasts: Vec<Forecast> = Vec::with_capacity(judges.len());
    for judge in judges {
        let forecast = match (judge.forecast(&series, plan), forecasts.get(1)) {
            (Err(error), Some(last)) if error.code() == codes::PREDICTOR_DATA => last.clone(),
            (forecast, _) => forecast?,
        };
        forecasts.push(forecast);
    }
    Ok(forecasts)
}

/// The times of all series. What comes at one time comes to all of them, so with enough times those of one time hang
/// together; with few of them it has to be believed that series do not.
fn units_of_all(results: &[Outcome]) -> Vec<Unit<(usize, usize)>> {
    let times: BTreeSet<usize> =
        results.iter().flat_map(|result| result.units.iter().map(|unit| unit.key)).collect();
    let mut units = Vec::new();
    for (place, result) in results.iter().enumerate() {
        // As in `Tally::add`.
        let unscaled = result.units.iter().flat_map(|unit| &unit.sums).any(|sums| sums.unscaled);
        let counted = |sums: &Sums| if unscaled { sums.without_scaled() } else { *sums };
        units.extend(result.units.iter().map(|unit| Unit {
            key: (unit.key, if times.len() < TIMES { place } else { 0 }),
            sums: unit.sums.iter().map(counted).collect(),
        }));
    }
    units
}

/// The mean absolute difference to the value one season before.
fn scale(values: &[f64], season: usize) -> Option<f64> {
    let later = values.get(season.max(1)..).filter(|later| !later.is_empty())?;
    let sum: f64 = later.iter().zip(values).map(|(value, before)| (value - before).abs()).sum();
    let scale = sum / later.len() as f64;
    (scale > 0.0).then_some(scale)
}

fn picture(key: &str, before: &[f64], actual: &[f64], forecast: Forecast) -> Picture {
    let ahead = actual.len().min(POINTS / 2);
    let first = before.len().saturating_sub(POINTS - ahead);
    let cut = |mut values: Vec<f64>| {
        values.truncate(ahead);
        values
    };
    Picture {
        key: key.to_owned(),
        before: before[first..].to_vec(),
        actual: cut(actual.to_vec()),
        forecast: cut(forecast.values),
        lower: cut(forecast.lower),
        upper: cut(forecast.upper),
    }
}

/// Sums from which measures are made, for each step ahead.
#[derive(Debug, Clone)]
struct Tally {
    steps: Vec<Sums>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    count: usize,
    absolute: f64,
    squares: f64,
    errors: f64,
    inside: usize,
    scaled: f64,
    scaled_count: usize,
    /// An error had nothing to be scaled with.
    unscaled: bool,
}

impl Sums {
    fn add(&mut self, other: &Sums) {
        self.count += other.count;
        self.absolute += other.absolute;
        self.squares += other.squares;
        self.errors += other.errors;
        self.inside += other.inside;
        self.scaled += other.scaled;
        self.scaled_count += other.scaled_count;
        self.unscaled |= other.unscaled;
    }

    fn without_scaled(self) -> Self {
        Self { scaled: 0.0, scaled_count: 0, unscaled: false, ..self }
    }

    fn measures(&self) -> Result<Measures> {
        let count = self.count as f64;
        let measures = Measures {
            count: self.count,
            mae: self.absolute / count,
            rmse: (self.squares / count).sqrt(),
            mase: (self.scaled_count > 0 && !self.unscaled).then(|| self.scaled / self.scaled_count as f64),
            bias: self.errors / count,
            coverage: self.inside as f64 / count,
        };
        let finite = [measures.mae, measures.rmse, measures.bias].into_iter().chain(measures.mase);
        if finite.into_iter().all(f64::is_finite) {
            return Ok(measures);
        }
        Err(Error::new(
            codes::PREDICTOR_DATA,
            format!("the errors of {} forecasts are too large to be squared (above 1e154)", self.count),
        )
        .hint("divide the column by a constant"))
    }
}

impl Tally {
    fn new(horizon: usize) -> Self {
        Self { steps: vec![Sums::default(); horizon] }
    }

    /// The sums of this forecast alone, of all steps.
    fn count(&mut self, forecast: &Forecast, actual: &[f64], scale: Option<f64>) -> Sums {
        let mut all = Sums::default();
        for (step, (sums, actual)) in self.steps.iter_mut().zip(actual).enumerate() {
            let error = forecast.values[step] - actual;
            let one = Sums {
                count: 1,
                absolute: error.abs(),
                squares: error * error,
                errors: error,
                inside: usize::from((forecast.lower[step]..=forecast.upper[step]).contains(actual)),
                scaled: scale.map_or(0.0, |scale| error.abs() / scale),
                scaled_count: usize::from(scale.is_some()),
                unscaled: scale.is_none(),
            };
            sums.add(&one);
            all.add(&one);
        }
        all
    }

    /// Another series. One that cannot be scaled does not count for the scaled error of all.
    fn add(&mut self, series: &Tally) {
        let unscaled = series.steps.iter().any(|step| step.unscaled);
        for (sums, step) in self.steps.iter_mut().zip(&series.steps) {
            let mut step = *step;
            if unscaled {
                step = step.without_scaled();
            }
            sums.add(&step);
        }
    }

    fn scores(&self) -> Result<Scores> {
        let mut overall = Sums::default();
        self.steps.iter().for_each(|step| overall.add(step));
        let steps = self.steps.iter().map(Sums::measures).collect::<Result<_>>()?;
        Ok(Scores { overall: overall.measures()?, steps })
    }
}

/// `None` if there was no forecast.
fn comparison<K: Ord + Sync>(
    judges: &[Judge],
    tallies: &[Tally],
    units: &[Unit<K>],
) -> Result<Option<Comparison>> {
    let Some((own, others)) = tallies.split_first() else { return Ok(None) };
    if own.steps.iter().all(|step| step.count == 0) {
        return Ok(None);
    }
    let scores = own.scores()?;
    let keys: Vec<&K> = units.iter().map(|unit| &unit.key).collect();
    // A few sums: not worth a thread.
    let mut margins =
        chance::margins(Task::Forecast, &keys, 1, |places| Ok(figures(units, places)))?.into_iter();
    let mut baselines = Vec::with_capacity(others.len());
    for (judge, tally) in judges[1..].iter().zip(others) {
        baselines.push(Baseline {
            algorithm: judge.name.to_owned(),
            scores: tally.scores()?,
            margins: margins.next().unwrap_or_default(),
        });
    }
    let best = baselines
        .iter()
        .min_by(|a, b| a.scores.overall.mae.total_cmp(&b.scores.overall.mae))
        .ok_or_else(|| Error::bug("there is no baseline"))?;
    let to_beat = best.scores.overall.mae;
    Ok(Some(Comparison {
        best_baseline: best.algorithm.clone(),
        skill: (to_beat > 0.0).then(|| 1.0 - scores.overall.mae / to_beat).filter(|skill| skill.is_finite()),
        scores,
        baselines,
    }))
}

/// Of each judge, from some of the times.
fn figures<K>(units: &[Unit<K>], places: &[usize]) -> Vec<Figures> {
    let judges = units.first().map_or(0, |unit| unit.sums.len());
    let of_judge = |judge: usize| {
        let mut sums = Sums::default();
        places.iter().for_each(|place| sums.add(&units[*place].sums[judge]));
        let scores = sums.measures().ok().map(|overall| Scores { overall, steps: Vec::new() });
        metrics(Task::Forecast).map(|metric| metric.of_forecasts(scores.as_ref()?)).collect()
    };
    (0..judges).map(of_judge).collect()
}

fn nothing_judged(results: &[Outcome], plan: &Plan<'_>, part: Part) -> Error {
    let asked = match part {
        Part::Folds => plan.folds,
        Part::Test => plan.test,
    };
    let why = results.iter().rev().find_map(|result| result.why.as_deref());
    Error::new(
        codes::PREDICTOR_DATA,
        format!(
            "none of {} series could be forecast from any of {asked} times in the past{}",
            results.len(),
            why.map(|why| format!(": {why}")).unwrap_or_default()
        ),
    )
    .hint("ask for a shorter horizon or for fewer times, or wait for more values")
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_xoshiro::Xoshiro256Plus;

    use super::*;
    use crate::choice::clearly_better;

    /// The arguments of [`judge`] that tests change.
    struct How {
        name: &'static str,
        season: usize,
        horizon: usize,
        folds: usize,
        test: usize,
        threads: usize,
    }

    const HOW: How = How { name: "last_value", season: 1, horizon: 2, folds: 2, test: 1, threads: 2 };

    fn judged(how: &How, series: &[Vec<f64>], part: Part) -> Result<Judged> {
        let entry = algorithm(how.name).unwrap();
        let params = entry.params(&json!({})).unwrap();
        let plan = Plan {
            entry,
            params: &params,
            season: how.season,
            horizon: how.horizon,
            folds: how.folds,
            test: how.test,
            level: 0.9,
            seed: 1,
            threads: how.threads,
        };
        let keys: Vec<String> = (0..series.len()).map(|at| format!("s{at}")).collect();
        let known: Vec<Known<'_>> =
            keys.iter().zip(series).map(|(key, values)| Known { key, values }).collect();
        judge(&known, &plan, part)
    }

    fn normal(random: &mut Xoshiro256Plus) -> f64 {
        let (a, b): (f64, f64) = (random.gen_range(f64::MIN_POSITIVE..1.0), random.gen_range(0.0..1.0));
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }

    fn many(count: u64, make: impl Fn(&mut Xoshiro256Plus) -> Vec<f64>) -> Vec<Vec<f64>> {
        (0..count).map(|seed| make(&mut Xoshiro256Plus::seed_from_u64(100 + seed))).collect()
    }

    fn waves(length: usize) -> impl Fn(&mut Xoshiro256Plus) -> Vec<f64> {
        move |random| {
            let wave = |t: usize| (t as f64 / 12.0 * std::f64::consts::TAU).sin();
            (0..length).map(|t| 50.0 + 10.0 * wave(t) + 2.0 * normal(random)).collect()
        }
    }

    fn noise(length: usize) -> impl Fn(&mut Xoshiro256Plus) -> Vec<f64> {
        move |random| (0..length).map(|_| 20.0 + normal(random)).collect()
    }

    fn walks(length: usize) -> impl Fn(&mut Xoshiro256Plus) -> Vec<f64> {
        move |random| {
            let mut at = 100.0;
            (0..length)
                .map(|_| {
                    at += normal(random);
                    at
                })
                .collect()
        }
    }

    /// By hand: 1 2 4 | 7 11 | 16 22 | 29 37 with the last two for the test.
    #[test]
    fn measures_are_those_of_the_hand() {
        let series = [vec![1.0, 2.0, 4.0, 7.0, 11.0, 16.0, 22.0, 29.0, 37.0]];
        let got = judged(&HOW, &series, Part::Folds).unwrap();
        // From 4: errors -3, -7, scale 3/2. From 11: -5, -11, scale 10/4.
        let all = &got.overall.scores.overall;
        assert_eq!((all.count, all.mae, all.bias), (4, 6.5, -6.5));
        assert!((all.rmse - 51.0_f64.sqrt()).abs() < 1e-12);
        assert!((all.mase.unwrap() - (3.0 / 1.5 + 7.0 / 1.5 + 5.0 / 2.5 + 11.0 / 2.5) / 4.0).abs() < 1e-12);
        // z = 1.6449; from 4: s² = 5/2, ± 2.60, ± 3.68; from 11: s² = 30/4, ± 4.50, ± 6.37.
        assert_eq!(all.coverage, 0.0);
        let first = &got.overall.scores.steps[0];
        assert_eq!((first.count, first.mae), (2, 4.0));
        // The drift from 4 errs by -1.5 and -4, and from 11 by -2.5 and -6.
        assert_eq!(got.overall.best_baseline, "drift");
        assert!((got.overall.skill.unwrap() - (1.0 - 6.5 / 3.5)).abs() < 1e-12);
        assert_eq!(got.pictures[0].before, [1.0, 2.0, 4.0, 7.0, 11.0]);
        assert_eq!(got.pictures[0].actual, [16.0, 22.0]);

        let got = judged(&HOW, &series, Part::Test).unwrap();
        assert_eq!(got.overall.scores.overall.mae, 11.0);
        assert_eq!(got.series[0].origins, 1);
    }

    /// Whatever the test holds, choosing does not see it.
    #[test]
    fn folds_do_not_look_at_the_test() {
        let series = many(2, waves(60));
        let mut other = series.clone();
        other.iter_mut().for_each(|values| values[58..].fill(1e9));
        for name in ["auto_ets", "lag_regression", "mstl"] {
            let how = How { name, season: 12, ..HOW };
            let folds = judged(&how, &series, Part::Folds).unwrap();
            assert_eq!(folds, judged(&how, &other, Part::Folds).unwrap());
            assert_ne!(judged(&how, &series, Part::Test).unwrap(), judged(&how, &other, Part::Test).unwrap());
        }
    }

    #[test]
    fn threads_change_nothing() {
        let series = many(7, waves(60));
        let one = judged(&How { name: "auto_ets", season: 12, threads: 1, ..HOW }, &series, Part::Folds);
        let one = serde_json::to_string(&one.unwrap()).unwrap();
        for threads in [2, 8] {
            let how = How { name: "auto_ets", season: 12, threads, ..HOW };
            let got = serde_json::to_string(&judged(&how, &series, Part::Folds).unwrap()).unwrap();
            assert_eq!(one, got);
            let back: Judged = serde_json::from_str(&got).unwrap();
            assert_eq!(serde_json::to_string(&back).unwrap(), got);
        }
    }

    #[test]
    fn a_constant_has_no_scale_and_no_skill_and_spoils_no_other() {
        let series = [vec![5.0; 20], vec![1.0, 2.0, 4.0, 7.0, 11.0, 16.0, 22.0, 29.0, 37.0]];
        let got = judged(&HOW, &series, Part::Folds).unwrap();
        let constant = got.series[0].comparison.as_ref().unwrap();
        assert_eq!((constant.scores.overall.mase, constant.skill), (None, None));
        assert_eq!((constant.scores.overall.mae, constant.scores.overall.coverage), (0.0, 1.0));
        let other = got.series[1].comparison.as_ref().unwrap();
        assert_eq!(got.overall.scores.overall.mase, other.scores.overall.mase);
    }

    #[test]
    fn series_that_are_too_short_are_named_and_counted() {
        let how = How { name: "auto_ets", ..HOW };
        let got =
            judged(&how, &[vec![1.0; 9], noise(40)(&mut Xoshiro256Plus::seed_from_u64(1))], Part::Folds);
        let got = got.unwrap();
        assert_eq!((got.series[0].origins, got.series[0].left_out), (0, 2));
        assert!(got.series[0].comparison.is_none());
        assert!(got.series[0].why.as_ref().unwrap().contains("has 5"), "{:?}", got.series[0].why);
        assert_eq!(got.pictures.len(), 1);
        let error = judged(&how, &[vec![1.0; 4], vec![1.0; 2]], Part::Folds).unwrap_err();
        assert_eq!(error.code(), codes::PREDICTOR_DATA);
        assert!(error.message().contains("none of 2 series"), "{error}");
    }

    #[test]
    fn pictures_are_few_and_small() {
        let got = judged(&How { horizon: 150, ..HOW }, &many(5, noise(900)), Part::Folds).unwrap();
        assert_eq!(got.pictures.len(), 3);
        for picture in got.pictures {
            assert_eq!((picture.before.len(), picture.actual.len(), picture.upper.len()), (100, 100, 100));
        }
    }

    #[test]
    fn a_season_is_learned_by_those_that_can() {
        let series = many(4, waves(132));
        for name in ["auto_ets", "mstl", "lag_regression"] {
            let how = How { name, season: 12, horizon: 12, folds: 3, ..HOW };
            let got = judged(&how, &series, Part::Folds).unwrap();
            let own = got.overall.scores.overall.mae;
            let last = got.overall.baselines[0].scores.overall.mae;
            assert!(own < 0.5 * last, "{name}: {own} and {last}");
            assert_eq!(got.overall.best_baseline, "seasonal_last_value");
            assert!(got.overall.skill.unwrap() > 0.1, "{name}: {:?}", got.overall.skill);
        }
    }

    /// How many of `series`, each by itself, an algorithm claims to forecast better than every baseline does.
    fn claims(how: &How, series: &[Vec<f64>]) -> usize {
        let mase = crate::judge::find(Task::Forecast, "mase").unwrap();
        let claims = |values: &&Vec<f64>| {
            let got = judged(how, std::slice::from_ref(*values), Part::Folds).unwrap().overall;
            got.baselines.iter().all(|baseline| {
                let (own, other) = (mase.of_forecasts(&got.scores), mase.of_forecasts(&baseline.scores));
                clearly_better(mase, own.unwrap(), other.unwrap(), baseline.margins.of(mase))
            })
        };
        series.iter().filter(claims).count()
    }

    /// By chance one of 40 may, and one that is a baseline never.
    #[test]
    fn of_pure_noise_and_of_walks_nobody_claims_to_know_more_than_the_baselines() {
        let (noise, walks) = (many(40, noise(120)), many(40, walks(120)));
        for entry in crate::ALGORITHMS.iter().filter(|entry| entry.task == Task::Forecast) {
            for series in [&noise, &walks] {
                let how = How { name: entry.name, season: 7, horizon: 4, folds: 10, ..HOW };
                let claims = claims(&how, series);
                assert!(claims <= 3, "{}: {claims} of 40", entry.name);
            }
        }
    }

    #[test]
    fn one_time_proves_nothing_and_series_of_few_times_are_counted_apart() {
        let waves = many(3, waves(132));
        let margins = |series: &[Vec<f64>], folds: usize| {
            let how = How { name: "auto_ets", season: 12, horizon: 12, folds, ..HOW };
            let got = judged(&how, series, Part::Folds).unwrap();
            got.overall.baselines.into_iter().map(|baseline| baseline.margins).collect::<Vec<_>>()
        };
        assert!(margins(&waves[..1], 1).iter().all(Margins::is_empty));
        assert!(margins(&waves, 1).iter().all(|margins| !margins.is_empty()));
        assert!(margins(&waves[..1], 3).iter().all(|margins| !margins.is_empty()));
    }

    /// Nobody can know more of a random walk than its last value.
    #[test]
    fn nobody_has_skill_where_there_is_nothing_to_know() {
        let series = many(8, walks(100));
        for entry in crate::ALGORITHMS.iter().filter(|entry| entry.task == Task::Forecast) {
            let how = How { name: entry.name, season: 7, horizon: 4, folds: 6, ..HOW };
            let got = judged(&how, &series, Part::Folds).unwrap();
            assert!(got.overall.skill.unwrap() < 0.05, "{}: {:?}", entry.name, got.overall.skill);
        }
    }

    /// Of pure noise the mean is the best that can be said, and it is a baseline.
    #[test]
    fn of_noise_nothing_but_the_mean_is_known() {
        let series = many(8, noise(100));
        for entry in crate::ALGORITHMS.iter().filter(|entry| entry.task == Task::Forecast) {
            let how = How { name: entry.name, season: 7, horizon: 4, folds: 6, ..HOW };
            let got = judged(&how, &series, Part::Folds).unwrap();
            assert_eq!(got.overall.best_baseline, "mean");
            assert!(got.overall.skill.unwrap() < 0.02, "{}: {:?}", entry.name, got.overall.skill);
        }
    }

    /// Intervals of 90 % hold about 90 % where the series is such as the algorithm takes it to be.
    #[test]
    fn intervals_hold_what_they_say() {
        let (walks, noise, waves) = (many(20, walks(120)), many(20, noise(120)), many(20, waves(120)));
        for (name, season, series) in [
            ("last_value", 1, &walks),
            ("drift", 1, &walks),
            ("moving_mean", 1, &noise),
            ("moving_mean", 1, &walks),
            ("auto_ets", 1, &noise),
            ("auto_ets", 1, &walks),
            ("auto_ets", 12, &waves),
            ("mstl", 12, &waves),
            ("lag_regression", 1, &noise),
            ("lag_regression", 12, &waves),
            ("seasonal_last_value", 12, &waves),
        ] {
            let how = How { name, season, horizon: 6, folds: 5, ..HOW };
            let got = judged(&how, series, Part::Folds).unwrap();
            let coverage = got.overall.scores.overall.coverage;
            assert!((0.82..=0.97).contains(&coverage), "{name}: {coverage}");
        }
    }
}
