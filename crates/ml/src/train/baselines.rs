//! What a predictor is judged beside: trivial ones, by the same rows.

use std::collections::BTreeMap;

use lagar_flow::{Result, codes};
use ndarray::{Array2, Axis, CowArray, Ix2};
use serde_json::json;

use super::{Fit, Portion, Work, hashed, judging::taken};
use crate::{
    algorithm::{Output, Target, Training, algorithm},
    judge::{
        self, Measures,
        chance::{self, Margins},
        metrics, shuffled,
    },
    judged::{Baseline, JudgedOn},
    split::{rows_of, shares},
    target::{Labels, column},
};

/// The answers of trivial predictors for some rows.
pub(super) struct Beside {
    trivial: Vec<Trivial>,
    /// Where each row lies: in time, or by the hash that divided the rows. Empty if nothing is claimed of them.
    keys: Vec<i64>,
}

struct Trivial {
    name: String,
    answers: Output,
    /// Of groups.
    centres: Option<Array2<f64>>,
}

impl Beside {
    /// Of the rows in these places alone. Groups of groups have no centres.
    pub fn at(&self, places: &[usize]) -> Self {
        let trivial = self.trivial.iter().filter(|trivial| trivial.centres.is_none());
        let trivial = trivial.map(|trivial| Trivial::new(&trivial.name, taken(&trivial.answers, places)));
        let keys = if self.keys.is_empty() { &[][..] } else { places };
        Self { trivial: trivial.collect(), keys: keys.iter().map(|place| self.keys[*place]).collect() }
    }
}

impl Trivial {
    fn new(name: &str, answers: Output) -> Self {
        Self { name: name.to_owned(), answers, centres: None }
    }
}

impl Work<'_> {
    /// Trivial predictors that learned from the rows `learned`, asked for `rows`, for which `answers` are given.
    pub(super) fn beside(
        &self,
        fit: &Fit,
        learned: &[usize],
        rows: &Portion,
        answers: &Output,
        on: JudgedOn,
    ) -> Result<Beside> {
        let is_claim = on == JudgedOn::Test && self.entry.task.has_target();
        let keys = if is_claim { self.keys_of(&rows.rows)? } else { Vec::new() };
        let trivial = match self.entry.task.has_target() {
            true => self.without_features(learned, &rows.rows),
            false => self.without_search(fit, learned, rows, answers)?,
        };
        Ok(Beside { trivial, keys })
    }

    /// Where there are right answers: what they were like, whatever the features say.
    fn without_features(&self, learned: &[usize], rows: &[usize]) -> Vec<Trivial> {
        let mut trivial = Vec::new();
        let before = self.spec.baseline_days.map(|days| (days, self.target_before(days)));
        match (self.labels.take(learned), &self.labels) {
            (Labels::Classes { names, codes }, Labels::Classes { codes: all, .. }) => {
                let mut shares = vec![0.0; names.len()];
                codes.iter().for_each(|code| shares[*code as usize] += 1.0 / codes.len() as f64);
                let prior = Array2::from_shape_fn((rows.len(), names.len()), |(_, class)| shares[class]);
                trivial.push(Trivial::new("majority", Output::Probabilities(prior.clone())));
                if let Some((days, before)) = before {
                    let mut answers = prior;
                    for (mut answer, row) in answers.rows_mut().into_iter().zip(rows) {
                        if let Some(before) = before[*row] {
                            answer.fill(0.0);
                            answer[all[before] as usize] = 1.0;
                        }
                    }
                    trivial.push(Trivial::new(&days_before(days), Output::Probabilities(answers)));
                }
            }
            (Labels::Values(values), Labels::Values(all)) => {
                let mean = values.iter().map(|value| value / values.len() as f64).sum::<f64>();
                trivial.push(Trivial::new("mean", Output::Values(vec![mean; rows.len()])));
                if let Some((days, before)) = before {
                    let answers = rows.iter().map(|row| before[*row].map_or(mean, |before| all[before]));
                    trivial.push(Trivial::new(&days_before(days), Output::Values(answers.collect())));
                }
            }
            _ => {}
        }
        trivial
    }

    /// Where nobody knows right answers: what takes no search for groups, directions or neighbours.
    fn without_search(
        &self,
        fit: &Fit,
        learned: &[usize],
        rows: &Portion,
        answers: &Output,
    ) -> Result<Vec<Trivial>> {
        let x = self.portion(fit, learned)?.x;
        Ok(match answers {
            // Groups of the same sizes, dealt out; and one group around the mean, for what is measured from centres.
            Output::Groups(groups) => {
                let order = shuffled(groups.len(), self.spec.seed);
                let dealt = order.into_iter().map(|row| groups[row]).collect();
                let one =
                    x.mean_axis(Axis(0)).filter(|_| fit.fitted.centres().is_some()).map(|mean| Trivial {
                        centres: Some(mean.insert_axis(Axis(0))),
                        ..Trivial::new("one group", Output::Groups(vec![Some(0); groups.len()]))
                    });
                [Trivial::new("by chance", Output::Groups(dealt))].into_iter().chain(one).collect()
            }
            // As many of the columns themselves: those that vary most.
            Output::Components(components) => {
                let variances = x.var_axis(Axis(0), 0.0);
                let mut columns: Vec<usize> = (0..x.ncols()).collect();
                columns.sort_by(|a, b| variances[*b].total_cmp(&variances[*a]));
                columns.truncate(components.ncols());
                vec![Trivial::new("columns", Output::Components(rows.x.select(Axis(1), &columns)))]
            }
            // The rule of the textbook, column by column.
            Output::Scores { .. } => {
                let (iqr, features) = (algorithm("iqr")?, fit.frame.columns());
                let training = Training {
                    x: x.view(),
                    target: Target::None,
                    features: &features,
                    seed: self.spec.seed,
                    threads: self.lesson.threads,
                };
                match iqr.fit(&iqr.params(&json!({}))?, &training) {
                    Ok((fitted, _)) => vec![Trivial::new(iqr.name, fitted.predict(rows.x.view())?)],
                    // Too few rows, or all columns the same in half of them.
                    Err(error) if error.code() == codes::PREDICTOR_DATA => Vec::new(),
                    Err(error) => return Err(error),
                }
            }
            Output::Values(_) | Output::Probabilities(_) => Vec::new(),
        })
    }

    /// The trivial answers, judged as those of the predictor are: `own`, with its threshold.
    pub(super) fn baselines<'x>(
        &self,
        beside: &Beside,
        own: (&Output, Option<f64>),
        truth: &Labels,
        x: impl Fn() -> CowArray<'x, f64, Ix2>,
    ) -> Result<Vec<Baseline>> {
        let mut margins = self.margins(beside, own, truth)?.into_iter();
        let baseline = |trivial: &Trivial| {
            let measures = self.measures(&trivial.answers, truth, &x, None, trivial.centres.clone())?;
            let margins = margins.next().unwrap_or_default();
            Ok(Baseline { name: trivial.name.clone(), measures, margins })
        };
        beside.trivial.iter().map(baseline).collect()
    }

    /// How much better than each of the trivial ones it may look by chance.
    fn margins(&self, beside: &Beside, own: (&Output, Option<f64>), truth: &Labels) -> Result<Vec<Margins>> {
        if beside.keys.is_empty() {
            return Ok(Vec::new());
        }
        let task = self.entry.task;
        let figures = |(answers, threshold): (&Output, Option<f64>), places: &[usize]| {
            // Measures of right answers do not look at the features.
            let x = || CowArray::from(Array2::zeros((0, 0)));
            let measures: Measures =
                self.measures(&taken(answers, places), &truth.take(places), x, threshold, None)?;
            Ok(metrics(task).map(|metric| metric.of(&measures)).collect())
        };
        chance::margins(task, &beside.keys, self.lesson.threads, |places| {
            let others = beside.trivial.iter().map(|trivial| (&trivial.answers, None));
            std::iter::once(own).chain(others).map(|one| figures(one, places)).collect()
        })
    }

    /// By what the rows were divided: their moments, or the hash. Rows near each other in it may be alike.
    fn keys_of(&self, rows: &[usize]) -> Result<Vec<i64>> {
        if let Some(moments) = &self.moments {
            return Ok(rows.iter().map(|row| moments[*row]).collect());
        }
        let batch = rows_of(&self.rows, rows)?;
        let columns = hashed(self.spec, &self.features).into_iter();
        let columns = columns.map(|name| Ok((name.as_str(), column(&batch, name)?)));
        let shares = shares(&columns.collect::<Result<Vec<_>>>()?, rows.len())?;
        Ok(shares.into_iter().map(|share| (share * (1_u64 << 53) as f64) as i64).collect())
    }

    /// Of each row the row of the same group so many days before, if there is one.
    fn target_before(&self, days: u32) -> Vec<Option<usize>> {
        let Some(moments) = &self.moments else { return vec![None; self.rows.num_rows()] };
        let time = self.spec.time.as_ref().and_then(|time| self.rows.column_by_name(time));
        let day = match time.is_some_and(|time| time.data_type().is_integer()) {
            true => 1,
            false => 86_400_000_000,
        };
        let groups = self.group_of_rows().unwrap_or_else(|_| (Vec::new(), vec![0; moments.len()]));
        let at: BTreeMap<(u32, i64), usize> =
            moments.iter().enumerate().map(|(row, moment)| ((groups.1[row], *moment), row)).collect();
        let before = |row: usize| {
            let then = moments[row].checked_sub(i64::from(days).checked_mul(day)?)?;
            at.get(&(groups.1[row], then)).copied()
        };
        (0..moments.len()).map(before).collect()
    }
}

/// Whether a baseline says anything by that measure: a share of rows in no group is no merit, as one group has none.
pub(super) fn compares(metric: &judge::Metric) -> bool {
    metric.name != "noise"
}

fn days_before(days: u32) -> String {
    if days == 1 { "1 day before".to_owned() } else { format!("{days} days before") }
}
