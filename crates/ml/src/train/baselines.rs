//! What a predictor is judged beside: trivial ones, by the same rows.

use std::collections::BTreeMap;

use lagar_flow::{Result, codes};
use ndarray::{Array1, Array2, Axis, CowArray, Ix2};
use serde_json::json;

use super::{Fit, Portion, Work, constants::constants, hashed, judging::taken};
use crate::{
    algorithm::{Output, Target, Task, Training, algorithm},
    judge::{
        self, Measures,
        chance::{self, Margins},
        metrics, shuffled,
    },
    judged::{Baseline, JudgedOn},
    split::{rows_of, shares},
    target::{Labels, column, counted},
};

/// The predictor's own answers, each for another row.
const BY_CHANCE: &str = "by chance";
/// Measures of which whoever always answers the same has what chance has: dealt out, the answers of a predictor would
/// say no more, and are off by chance themselves.
const AS_A_CONSTANT: [&str; 2] = ["balanced_accuracy", "roc_auc"];

/// Answers, and the probability from which on the second of two classes is meant.
pub(super) type Own<'a> = (&'a Output, Option<f64>);

/// The answers of trivial predictors for some rows.
pub(super) struct Beside {
    trivial: Vec<Trivial>,
    seed: u64,
    /// Where each row lies: in time, or by the hash that divided the rows. Empty if nothing is claimed of them.
    keys: Vec<i64>,
}

struct Trivial {
    name: String,
    answers: Output,
    /// As in [`Own`].
    threshold: Option<f64>,
    /// Of groups.
    centres: Option<Array2<f64>>,
}

impl Beside {
    /// Of the rows in these places alone, for which the predictor answers `own`. Groups of groups have no centres.
    pub fn at(&self, places: &[usize], own: Own<'_>) -> Self {
        let trivial = self.trivial.iter().filter(|trivial| trivial.centres.is_none());
        let trivial = trivial.map(|trivial| match trivial.name.as_str() {
            // Answers for other groups would say what is usual there.
            BY_CHANCE => Trivial::by_chance(own, self.seed),
            name => Trivial::new(name, taken(&trivial.answers, places)),
        });
        let keys = if self.keys.is_empty() { &[][..] } else { places };
        let keys = keys.iter().map(|place| self.keys[*place]).collect();
        Self { trivial: trivial.collect(), seed: self.seed, keys }
    }
}

impl Trivial {
    fn new(name: &str, answers: Output) -> Self {
        Self { name: name.to_owned(), answers, threshold: None, centres: None }
    }

    /// As many of each answer, for rows of which they say nothing.
    fn by_chance((answers, threshold): Own<'_>, seed: u64) -> Self {
        let dealt = taken(answers, &shuffled(answers.len(), seed));
        Self { threshold, ..Self::new(BY_CHANCE, dealt) }
    }
}

/// For which metrics it has to be beaten; none: for all.
fn only(trivial: &Trivial, task: Task, majority: Option<&Measures>) -> Vec<String> {
    // Where the most frequent class has no rows, always to answer it is less than chance.
    let Some(Measures::Classification(majority)) = majority.filter(|_| trivial.name == BY_CHANCE) else {
        return Vec::new();
    };
    let says_more = |name: &&str| majority.balanced_accuracy == 0.0 || !AS_A_CONSTANT.contains(name);
    metrics(task).map(|metric| metric.name).filter(says_more).map(str::to_owned).collect()
}

impl Work<'_> {
    /// Trivial predictors that learned from the rows `learned`, asked for `rows`, for which the predictor answers `own`.
    pub(super) fn beside(
        &self,
        fit: &Fit,
        learned: &[usize],
        rows: &Portion,
        own: Own<'_>,
        on: JudgedOn,
        notes: &mut Vec<String>,
    ) -> Result<Beside> {
        let is_claim = on == JudgedOn::Test && self.entry.task.has_target();
        let keys = if is_claim { self.keys_of(&rows.rows)? } else { Vec::new() };
        let mut told = Vec::new();
        let trivial = match self.entry.task.has_target() {
            true => self.without_features(learned, &rows.rows, own, &mut told)?,
            false => self.without_search(fit, learned, rows, own.0)?,
        };
        if on == JudgedOn::Test {
            notes.append(&mut told);
        }
        Ok(Beside { trivial, seed: self.spec.seed, keys })
    }

    /// Where there are right answers: what they were like, whatever the features say.
    fn without_features(
        &self,
        learned: &[usize],
        rows: &[usize],
        own: Own<'_>,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Trivial>> {
        let mut trivial = Vec::new();
        let before = self.spec.baseline_days.map(|days| Ok((days, self.before(days, rows)?)));
        let before = before.transpose()?;
        match (self.labels.take(learned), &self.labels) {
            (Labels::Classes { names, codes }, Labels::Classes { codes: all, .. }) => {
                let mut shares = vec![0.0; names.len()];
                codes.iter().for_each(|code| shares[*code as usize] += 1.0 / codes.len() as f64);
                let prior = Array2::from_shape_fn((rows.len(), names.len()), |(_, class)| shares[class]);
                trivial.push(Trivial::new("majority", Output::Probabilities(prior.clone())));
                if let Some((days, before)) = before {
                    let mut answers = prior;
                    for found in &before {
                        let mut answer = Array1::zeros(names.len());
                        found.before.iter().for_each(|row| answer[all[*row] as usize] += 1.0);
                        answer /= found.before.len() as f64;
                        found.places.iter().for_each(|place| answers.row_mut(*place).assign(&answer));
                    }
                    notes.extend(notes_of(days, &before, rows.len(), "majority"));
                    trivial.push(Trivial::new(&days_before(days), Output::Probabilities(answers)));
                }
                // The majority never answers the other classes: it says nothing of who answers them by chance.
                trivial.push(Trivial::by_chance(own, self.spec.seed));
            }
            (Labels::Values(values), Labels::Values(all)) => {
                let promotes = self.spec.promote.as_ref().map(|promote| promote.metric.as_str());
                let constants = constants(&values, promotes);
                let always = |(name, value): &(&str, f64)| {
                    Trivial::new(name, Output::Values(vec![*value; rows.len()]))
                };
                trivial.extend(constants.iter().map(always));
                if let (Some((days, before)), Some((name, usual))) = (before, constants.first()) {
                    let mut answers = vec![*usual; rows.len()];
                    for found in &before {
                        let count = found.before.len() as f64;
                        let mean = found.before.iter().map(|row| all[*row] / count).sum();
                        found.places.iter().for_each(|place| answers[*place] = mean);
                    }
                    notes.extend(notes_of(days, &before, rows.len(), name));
                    trivial.push(Trivial::new(&days_before(days), Output::Values(answers)));
                }
            }
            _ => {}
        }
        Ok(trivial)
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
                let by_chance = Trivial::by_chance((answers, None), self.spec.seed);
                let one =
                    x.mean_axis(Axis(0)).filter(|_| fit.fitted.centres().is_some()).map(|mean| Trivial {
                        centres: Some(mean.insert_axis(Axis(0))),
                        ..Trivial::new("one group", Output::Groups(vec![Some(0); groups.len()]))
                    });
                [by_chance].into_iter().chain(one).collect()
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
        own: Own<'_>,
        truth: &Labels,
        x: impl Fn() -> CowArray<'x, f64, Ix2>,
    ) -> Result<Vec<Baseline>> {
        let mut margins = self.margins(beside, own, truth)?.into_iter();
        let mut baselines: Vec<Baseline> = Vec::new();
        for trivial in &beside.trivial {
            let (answers, centres) = (&trivial.answers, trivial.centres.clone());
            let measures = self.measures(answers, truth, &x, trivial.threshold, centres)?;
            let margins = margins.next().unwrap_or_default();
            let only = only(trivial, self.entry.task, baselines.first().map(|first| &first.measures));
            baselines.push(Baseline { name: trivial.name.clone(), measures, margins, only });
        }
        Ok(baselines)
    }

    /// How much better than each of the trivial ones it may look by chance.
    fn margins(&self, beside: &Beside, own: Own<'_>, truth: &Labels) -> Result<Vec<Margins>> {
        if beside.keys.is_empty() {
            return Ok(Vec::new());
        }
        let task = self.entry.task;
        let figures = |(answers, threshold): Own<'_>, places: &[usize]| {
            // Measures of right answers do not look at the features.
            let x = || CowArray::from(Array2::zeros((0, 0)));
            let measures: Measures =
                self.measures(&taken(answers, places), &truth.take(places), x, threshold, None)?;
            Ok(metrics(task).map(|metric| metric.of(&measures)).collect())
        };
        chance::margins(task, &beside.keys, self.lesson.threads, |places| {
            let others = beside.trivial.iter().map(|trivial| (&trivial.answers, trivial.threshold));
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

    /// What was the same as `rows` so many days before: of the same key but for the time or, if most keys name one row
    /// alone, of the same group.
    fn before(&self, days: u32, rows: &[usize]) -> Result<Vec<Before>> {
        let of_key: Vec<&String> =
            self.spec.key.iter().filter(|column| Some(*column) != self.spec.time.as_ref()).collect();
        if !of_key.is_empty() {
            let before = self.before_by(&of_key, days, rows)?;
            if 2 * before.iter().map(|found| found.places.len()).sum::<usize>() >= rows.len() {
                return Ok(before);
            }
        }
        self.before_by(&self.spec.group_by.iter().collect::<Vec<_>>(), days, rows)
    }

    /// What has the same values in these columns.
    fn before_by(&self, columns: &[&String], days: u32, rows: &[usize]) -> Result<Vec<Before>> {
        let Some(moments) = &self.moments else { return Ok(Vec::new()) };
        let time = self.spec.time.as_ref().and_then(|time| self.rows.column_by_name(time));
        let day = match time.is_some_and(|time| time.data_type().is_integer()) {
            true => 1,
            false => 86_400_000_000,
        };
        let columns = columns.iter().map(|name| Ok((name.as_str(), column(&self.rows, name)?)));
        let who = shares(&columns.collect::<Result<Vec<_>>>()?, moments.len())?;
        let mut asked: BTreeMap<(u64, i64), Before> = BTreeMap::new();
        for (place, row) in rows.iter().enumerate() {
            let far = i64::from(days).checked_mul(day);
            if let Some(then) = far.and_then(|far| moments[*row].checked_sub(far)) {
                asked.entry((who[*row].to_bits(), then)).or_default().places.push(place);
            }
        }
        for (row, (who, moment)) in who.iter().zip(moments).enumerate() {
            if let Some(asked) = asked.get_mut(&(who.to_bits(), *moment)) {
                asked.before.push(row);
            }
        }
        Ok(asked.into_values().filter(|found| !found.before.is_empty()).collect())
    }
}

/// Rows that were some days before others. More than one if nothing tells them apart.
#[derive(Default)]
struct Before {
    before: Vec<usize>,
    /// The places of the others among those that were asked for.
    places: Vec<usize>,
}

/// Whether a baseline says anything by that measure: a share of rows in no group is no merit, as one group has none.
pub(super) fn compares(metric: &judge::Metric) -> bool {
    metric.name != "noise"
}

fn days_before(days: u32) -> String {
    if days == 1 { "1 day before".to_owned() } else { format!("{days} days before") }
}

/// What people should know of the rows so many days before `all` of the test. `else_name`: the baseline whose answer
/// stands in for one that is missing.
fn notes_of(days: u32, found: &[Before], all: usize, else_name: &str) -> Vec<String> {
    let name = days_before(days);
    let count = |found: &mut dyn Iterator<Item = &Before>| found.map(|one| one.places.len()).sum::<usize>();
    let mut notes = Vec::new();
    let none = all - count(&mut found.iter());
    if none > 0 {
        notes.push(format!(
            "{none} of {all} rows of the test have none {name}: that of `{else_name}` stands there"
        ));
    }
    let many = count(&mut found.iter().filter(|one| one.before.len() > 1));
    if many > 0 {
        notes.push(format!(
            "{} of the test {} more than one row {name}, and the baseline is what they say together: name with `key` \
             or `group_by` the columns that tell rows of one moment apart",
            counted(many as u64, "row"),
            if many == 1 { "has" } else { "have" }
        ));
    }
    notes
}
