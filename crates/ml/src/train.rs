//! From rows to a predictor that was judged: split, guard, choose, fit, judge, decide.
//!
//! The rows of the test are looked at once, when everything was chosen. What is stored is what was judged: it was
//! fitted on the rows of training and validation, never on those of the test.

use std::collections::{BTreeMap, BTreeSet};

use arrow::{
    array::{Array, AsArray, RecordBatch, StringArray},
    compute::cast,
    datatypes::DataType,
};
use lagar_flow::{Error, Result, codes};
use ndarray::{Array2, ArrayView2, Axis, CowArray, Ix2, ShapeBuilder};
use serde_json::Value;

use crate::{
    algorithm::{Entry, Fitted, Output, Target, Task, Training, algorithm},
    choice::{Choice, Learned, Verdict},
    forecast,
    frame::{Asked, Frame, Raw},
    judge::{
        self, Measures,
        bias::Bias,
        guards::{self, Column},
        importance::{self, Effort, Importances},
    },
    judged::{Baseline, Judged, JudgedOn, OfGroup},
    predictor::{FORMAT_VERSION, LearnedFrom, Predictor, Scorer, TargetColumn, Tried, libraries},
    spec::Spec,
    split::{Parts, moments, rows_of, shares},
    target::{Labels, column, counted, rows_with_target},
};

/// What there is to learn from.
#[derive(Debug, Clone)]
pub struct Lesson<'a> {
    pub spec: &'a Spec,
    /// In an order that only their values decide.
    pub rows: &'a RecordBatch,
    /// The version of the table that they are from, and how many rows it has.
    pub version: u64,
    pub rows_of_table: u64,
    /// They do not change the result.
    pub threads: usize,
    /// The predictor that is current.
    pub before: Option<&'a Predictor>,
}

impl Lesson<'_> {
    pub(crate) fn sample_of(&self) -> Option<u64> {
        (self.rows_of_table > self.rows.num_rows() as u64).then_some(self.rows_of_table)
    }
}

/// Learns what is asked for.
///
/// # Errors
/// [`codes::PREDICTOR_DATA`] if these rows cannot be learned from, [`codes::PREDICTOR_LEAK`] if a feature gives the
/// target away, [`codes::CONFIG`] if what is asked does not fit the columns.
pub fn train(lesson: &Lesson<'_>) -> Result<Learned> {
    let entry = algorithm(&lesson.spec.algorithm)?;
    if entry.task == Task::Forecast {
        return forecast::learn(lesson, entry);
    }
    let work = Work::new(lesson, entry)?;
    let predictor = work.learn()?;
    let verdict = work.verdict(&predictor)?;
    Ok(Learned { predictor, verdict })
}

/// What all parts of the work share.
struct Work<'a> {
    lesson: &'a Lesson<'a>,
    spec: &'a Spec,
    entry: &'static Entry,
    /// The rows that have a target.
    rows: RecordBatch,
    rows_without_target: u64,
    features: Vec<String>,
    labels: Labels,
    parts: Parts,
    split_by: String,
    /// Of each row, where there is a `time`.
    moments: Option<Vec<i64>>,
}

/// What was fitted on some of the rows.
struct Fit {
    frame: Frame,
    notes: Vec<String>,
    fitted: Box<dyn Fitted>,
    numbers: Value,
    /// The classes that these rows have, as codes of all classes.
    seen: Vec<u32>,
}

/// Some of the rows: taken from the table once, however often they are asked for and judged.
struct Portion {
    /// Their numbers among all rows.
    rows: Vec<usize>,
    truth: Labels,
    x: Array2<f64>,
}

impl<'a> Work<'a> {
    fn new(lesson: &'a Lesson<'a>, entry: &'static Entry) -> Result<Self> {
        let Lesson { spec, rows: all, .. } = *lesson;
        let names: Vec<String> = all.schema().fields().iter().map(|field| field.name().clone()).collect();
        let features = spec.feature_columns(&names)?;
        let with_target = rows_with_target(all, spec.target.as_deref())?;
        let rows = rows_of(all, &with_target)?;
        let rows_without_target = (all.num_rows() - rows.num_rows()) as u64;
        if rows.num_rows() == 0 {
            let what = match &spec.target {
                Some(target) if all.num_rows() > 0 => format!("`target: {target}` is null in every row"),
                _ => "there are no rows to learn from".to_owned(),
            };
            return Err(Error::new(codes::PREDICTOR_DATA, what));
        }
        let (labels, _) = Labels::of(&rows, spec.target.as_deref(), entry.task)?;
        let moments = spec.time.as_ref().map(|time| moments(time, column(&rows, time)?)).transpose()?;
        let (parts, split_by) = split(spec, &rows, &features)?;
        if parts.train.is_empty() {
            let what = format!("none of {} rows is left to learn from", rows.num_rows());
            return Err(Error::new(codes::PREDICTOR_DATA, what).hint("lower the shares under `split`"));
        }
        if let (Labels::Classes { names, codes }, Some(target)) = (&labels, &spec.target) {
            let first = codes[parts.train[0]];
            if parts.train.iter().all(|row| codes[*row] == first) {
                let (rows, class) = (parts.train.len(), &names[first as usize]);
                let what = format!("`target: {target}` is `{class}` in all {rows} rows to learn from");
                return Err(Error::new(codes::PREDICTOR_DATA, what)
                    .hint("a classifier needs rows of at least two classes"));
            }
        }
        Ok(Self {
            lesson,
            spec,
            entry,
            rows,
            rows_without_target,
            features,
            labels,
            parts,
            split_by,
            moments,
        })
    }

    fn learn(&self) -> Result<Predictor> {
        let mut notes = self.notes();
        self.refuse_leaks()?;
        let (params, tried) = self.choose()?;
        let threshold = self.threshold(&params, &mut notes)?;
        let learned: Vec<usize> = {
            let mut learned = [&self.parts.train[..], &self.parts.validate[..]].concat();
            learned.sort_unstable();
            learned
        };
        let fit = self.fit(&params, &learned)?;
        notes.extend(fit.notes.iter().cloned());
        let judged = self.judge(&fit, &learned, threshold, &params, &mut notes)?;
        let rows = rows_of(&self.rows, &learned)?;
        let distributions = fit.frame.features.iter().map(|feature| {
            let raw = Raw::of(&feature.name, column(&rows, &feature.name)?)?;
            Ok(raw.distribution().map(|distribution| (feature.name.clone(), distribution)))
        });
        Ok(Predictor {
            format_version: FORMAT_VERSION,
            task: self.entry.task,
            algorithm: self.entry.name.to_owned(),
            params,
            seed: self.spec.seed,
            learned_from: self.learned_from(&learned),
            target: self.target_column(&fit, threshold)?,
            distributions: distributions.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect(),
            columns: fit.frame.columns(),
            explanation: fit.fitted.explain(),
            fitted: fit.numbers,
            frame: Some(fit.frame),
            forecasts: None,
            tried,
            judged,
            libraries: libraries(),
            notes,
        })
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.rows_without_target > 0 {
            notes
                .push(format!("{} without a target were left out", counted(self.rows_without_target, "row")));
        }
        notes
    }

    fn learned_from(&self, learned: &[usize]) -> LearnedFrom {
        let first_test = self.parts.test.first().filter(|_| self.moments.is_some());
        let text = |row: &usize| {
            let time = self.rows.column_by_name(self.spec.time.as_ref()?)?;
            let text = cast(&time.slice(*row, 1), &DataType::Utf8).ok()?;
            let text = arrow::array::AsArray::as_string::<i32>(&text);
            Some(text.value(0).to_owned())
        };
        // The rows lie in the order of time.
        LearnedFrom {
            table: self.spec.from.to_string(),
            version: self.lesson.version,
            split_by: self.split_by.clone(),
            rows: learned.len() as u64,
            rows_validate: self.parts.validate.len() as u64,
            rows_test: self.parts.test.len() as u64,
            rows_without_target: self.rows_without_target,
            sample_of: self.lesson.sample_of(),
            test_from: first_test.and_then(text),
        }
    }

    fn target_column(&self, fit: &Fit, threshold: Option<f64>) -> Result<Option<TargetColumn>> {
        let Some(name) = &self.spec.target else { return Ok(None) };
        let (_, kind) = Labels::of(&self.rows, Some(name), self.entry.task)?;
        let kind = kind.ok_or_else(|| Error::bug("a target without a kind"))?;
        let classes = match &self.labels {
            Labels::Classes { names, .. } => {
                fit.seen.iter().map(|code| names[*code as usize].clone()).collect()
            }
            _ => Vec::new(),
        };
        Ok(Some(TargetColumn { name: name.clone(), kind, classes, threshold }))
    }

    // ---- fitting ----

    fn fit(&self, params: &Value, numbers: &[usize]) -> Result<Fit> {
        let rows = rows_of(&self.rows, numbers)?;
        let labels = self.labels.take(numbers);
        let target = labels.numbers();
        let spec = self.spec;
        let asked =
            Asked { features: &self.features, encode: &spec.encode, impute: &spec.impute, scale: spec.scale };
        let (frame, notes) = Frame::learn(&asked, &rows, target.as_deref())?;
        let x = frame.training_matrix(&rows, target.as_deref())?;
        let columns = frame.columns();
        let mut seen = Vec::new();
        let mut local = Vec::new();
        if let Labels::Classes { codes, .. } = &labels {
            seen = codes.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
            local = codes.iter().map(|code| seen.partition_point(|seen| seen < code) as u32).collect();
        }
        let target = match &labels {
            Labels::Values(values) => Target::Values(values),
            Labels::Classes { .. } => Target::Classes { codes: &local, count: seen.len() },
            Labels::None => Target::None,
        };
        let training = Training {
            x: x.view(),
            target,
            features: &columns,
            seed: spec.seed,
            threads: self.lesson.threads,
        };
        let (fitted, numbers) = self.entry.fit(params, &training)?;
        Ok(Fit { frame, notes, fitted, numbers, seen })
    }

    /// The rows with these numbers.
    fn portion(&self, fit: &Fit, numbers: &[usize]) -> Result<Portion> {
        let x = fit.frame.matrix(&rows_of(&self.rows, numbers)?)?;
        Ok(Portion { rows: numbers.to_vec(), truth: self.labels.take(numbers), x })
    }

    /// The answers for rows. Of classification with a column for each of all classes, also those that were not
    /// learned from.
    fn answers(&self, fit: &Fit, x: ArrayView2<'_, f64>) -> Result<Output> {
        self.spread(fit, fit.fitted.predict(x)?)
    }

    fn spread(&self, fit: &Fit, output: Output) -> Result<Output> {
        let (Output::Probabilities(seen), Labels::Classes { names, .. }) = (&output, &self.labels) else {
            return Ok(output);
        };
        let mut all = Array2::zeros((seen.nrows(), names.len()));
        for (column, code) in fit.seen.iter().enumerate() {
            all.column_mut(*code as usize).assign(&seen.column(column));
        }
        Ok(Output::Probabilities(all))
    }

    // ---- choosing ----

    /// The measure by which parameters are chosen and versions are compared.
    fn metric(&self) -> Result<&'static judge::Metric> {
        let first = judge::metrics(self.entry.task).next().map(|metric| metric.name);
        let asked = self.spec.promote.as_ref().map(|promote| promote.metric.as_str());
        judge::find(self.entry.task, asked.or(first).unwrap_or_default())
    }

    /// The best of the parameters to try, by the validation rows; of equals the first.
    fn choose(&self) -> Result<(Value, Vec<Tried>)> {
        let mut tries = self.spec.tries(self.entry)?;
        if tries.len() == 1 {
            return Ok((tries.remove(0), Vec::new()));
        }
        if self.parts.validate.is_empty() {
            let what = "`search` needs validation rows, and none are left";
            return Err(
                Error::new(codes::PREDICTOR_DATA, what).hint("raise `split.validate`, or give more rows")
            );
        }
        let metric = self.metric()?;
        let mut choice = Choice::new(metric);
        for params in tries {
            let value = self
                .fit(&params, &self.parts.train)
                .and_then(|fit| Ok(metric.of(&self.measured(&fit, &self.parts.validate)?)));
            choice.add(params, value)?;
        }
        choice.made()
    }

    /// The probability from which on the second class is answered, if it is to be chosen.
    fn threshold(&self, params: &Value, notes: &mut Vec<String>) -> Result<Option<f64>> {
        let (Some(goal), Labels::Classes { names, .. }) = (self.spec.threshold, &self.labels) else {
            return Ok(None);
        };
        if names.len() != 2 || self.parts.validate.is_empty() {
            notes.push("no threshold was chosen: that takes two classes and validation rows".into());
            return Ok(None);
        }
        let fit = self.fit(params, &self.parts.train)?;
        let Portion { truth, x, .. } = self.portion(&fit, &self.parts.validate)?;
        let Output::Probabilities(rows) = self.answers(&fit, x.view())? else { return Ok(None) };
        let Labels::Classes { codes, .. } = truth else { return Ok(None) };
        let scores = rows.column(1).to_vec();
        let candidates = judge::classification::candidates(&scores);
        let chosen = judge::classification::choose_threshold(&codes, &scores, &candidates, goal)?;
        if chosen.is_none() {
            notes.push("no threshold reaches the goal on the validation rows: 0.5 is used".into());
        }
        Ok(chosen.map(|chosen| chosen.threshold))
    }
}

fn split(spec: &Spec, rows: &RecordBatch, features: &[String]) -> Result<(Parts, String)> {
    if spec.split.test == 0.0 && spec.split.validate == 0.0 {
        return Ok((Parts { train: (0..rows.num_rows()).collect(), ..Parts::default() }, "none".into()));
    }
    if let Some(time) = &spec.time {
        let parts = Parts::by_time(time, column(rows, time)?, spec.split)?;
        return Ok((parts, format!("time {time}")));
    }
    let (columns, by): (Vec<&String>, String) = match spec.key.as_slice() {
        [] => (
            features.iter().chain(&spec.target).collect(),
            format!("hash of the row ({})", features.join(", ")),
        ),
        key => (key.iter().collect(), format!("hash of {}", key.join(", "))),
    };
    let columns = columns.into_iter().map(|name| Ok((name.as_str(), column(rows, name)?)));
    let parts = Parts::by_hash(&columns.collect::<Result<Vec<_>>>()?, rows.num_rows(), spec.split)?;
    Ok((parts, by))
}

/// How often each feature is shuffled, and of how many rows.
const SHUFFLES: usize = 5;
const SHUFFLED_ROWS: usize = 10_000;
/// Rows whose silhouette is taken.
const SILHOUETTE_ROWS: usize = 2_000;
/// Groups that are judged apart: the largest.
const GROUPS_MAX: usize = 50;

impl Work<'_> {
    // ---- guards ----

    /// # Errors
    /// [`codes::PREDICTOR_LEAK`]: features that determine the target, and are not allowed to.
    fn refuse_leaks(&self) -> Result<()> {
        let rows = rows_of(&self.rows, &self.parts.train)?;
        let labels = self.labels.take(&self.parts.train);
        let target = match &labels {
            Labels::Values(values) => Target::Values(values),
            Labels::Classes { names, codes } => Target::Classes { codes, count: names.len() },
            Labels::None => return Ok(()),
        };
        let checked: Vec<&String> =
            self.features.iter().filter(|feature| !self.spec.allow_leak.contains(feature)).collect();
        let raw =
            checked.iter().map(|name| Raw::of(name, column(&rows, name)?)).collect::<Result<Vec<_>>>()?;
        let codes: Vec<Vec<Option<u32>>> = raw.iter().map(codes_of).collect();
        let columns = raw.iter().zip(&codes).map(|(raw, codes)| match raw {
            Raw::Numbers(values) => Column::Numbers(values),
            Raw::Texts(_) => Column::Categories(codes),
        });
        let features: Vec<(&str, Column<'_>)> =
            checked.iter().map(|name| name.as_str()).zip(columns).collect();
        let leaks = guards::leaks(&features, target, self.spec.seed)?;
        let Some(leak) = leaks.first() else { return Ok(()) };
        let named: Vec<&str> = leaks.iter().map(|leak| leak.feature.as_str()).collect();
        let target = self.spec.target.as_deref().unwrap_or_default();
        let what = match named.as_slice() {
            [one] => format!(
                "the feature `{one}` gives `{target}` away (it says {:.1} % of it)",
                leak.score * 100.0
            ),
            more => format!("the features {} give `{target}` away", more.join(", ")),
        };
        Err(Error::new(codes::PREDICTOR_LEAK, what).hint(format!(
            "leave out what is not known when the predictor is asked; if it is, say so: `allow_leak: [{}]`",
            named.join(", ")
        )))
    }

    /// Whether a feature seems to know what comes after its row: the same predictor, judged by rows that lie between
    /// those that it learned from.
    fn future(&self, params: &Value, ordered: Option<f64>) -> Result<Option<guards::Future>> {
        let (Some(ordered), true) = (ordered, self.moments.is_some()) else { return Ok(None) };
        let names: Vec<&String> = self.features.iter().chain(&self.spec.target).collect();
        let columns = names.into_iter().map(|name| Ok((name.as_str(), column(&self.rows, name)?)));
        let shares = shares(&columns.collect::<Result<Vec<_>>>()?, self.rows.num_rows())?;
        let mut order: Vec<usize> = (0..self.rows.num_rows()).collect();
        order.sort_by(|a, b| shares[*a].total_cmp(&shares[*b]).then(a.cmp(b)));
        let (test, learned) = order.split_at(self.parts.test.len());
        let measured = self.fit(params, learned).and_then(|fit| self.measured(&fit, test));
        match measured {
            Ok(measures) => Ok(natural(&measures)
                .and_then(|shuffled| guards::future(ordered, shuffled, guards::FUTURE_MARGIN))),
            // A part without one of the classes, and the like: nothing is known.
            Err(error) if error.code() == codes::PREDICTOR_DATA => Ok(None),
            Err(error) => Err(error),
        }
    }

    // ---- judging ----

    /// How good the answers for the rows with these numbers are.
    fn measured(&self, fit: &Fit, numbers: &[usize]) -> Result<Measures> {
        let rows = self.portion(fit, numbers)?;
        let answers = self.answers(fit, rows.x.view())?;
        self.measures(&answers, &rows.truth, || rows.x.view().into(), None)
    }

    /// How good answers are. `x` gives the rows that they are for: few measures look at them.
    fn measures<'x>(
        &self,
        output: &Output,
        truth: &Labels,
        x: impl FnOnce() -> CowArray<'x, f64, Ix2>,
        threshold: Option<f64>,
    ) -> Result<Measures> {
        match (output, truth) {
            (Output::Values(values), Labels::Values(truth)) => {
                judge::regression::regression(truth, values).map(Measures::Regression)
            }
            (Output::Probabilities(rows), Labels::Classes { names, codes }) => {
                judge::classification::classification(codes, names.len(), rows.view(), threshold)
                    .map(Measures::Classification)
            }
            (Output::Scores { scores, outliers }, _) => {
                judge::outliers::outliers(scores, outliers).map(Measures::Outliers)
            }
            (Output::Groups(groups), _) => {
                judge::clustering::clustering(x().view(), groups, None, SILHOUETTE_ROWS, self.spec.seed)
                    .map(Measures::Clustering)
            }
            (Output::Components(rows), _) => {
                judge::reduction::reduction(x().view(), rows.view()).map(Measures::Reduction)
            }
            _ => Err(Error::bug("answers that cannot be judged")),
        }
    }

    fn judge(
        &self,
        fit: &Fit,
        learned: &[usize],
        threshold: Option<f64>,
        params: &Value,
        notes: &mut Vec<String>,
    ) -> Result<Judged> {
        let (on, rows) = match self.parts.test.is_empty() {
            true => (JudgedOn::Training, learned),
            false => (JudgedOn::Test, &self.parts.test[..]),
        };
        if on == JudgedOn::Training && self.spec.split.test > 0.0 {
            notes.push(
                "there are too few rows to keep some for judging: the measures are of the rows learned from"
                    .into(),
            );
        }
        let rows = self.portion(fit, rows)?;
        let answers = self.answers(fit, rows.x.view())?;
        let measures = self.measures(&answers, &rows.truth, || rows.x.view().into(), threshold)?;
        let mut judged = Judged::new(on);
        if on == JudgedOn::Test {
            self.judge_training(fit, learned, &rows, threshold, &mut judged)?;
            if judged.rows_seen_before > 0 {
                notes.push(format!(
                    "{} of the test {} alike to one that was learned from",
                    counted(judged.rows_seen_before, "row"),
                    if judged.rows_seen_before == 1 { "is" } else { "are" }
                ));
            }
            if self.entry.task.has_target() {
                judged.future = self.future(params, natural(&measures))?;
            }
            if let Some(future) = judged.future.as_ref().filter(|future| future.likely) {
                notes.push(format!(
                    "a feature may know the future: judged by rows between those learned from it has {:.3}, by later \
                     ones {:.3}",
                    future.shuffled, future.ordered
                ));
            }
        }
        let trivial = self.trivial(learned, &rows.rows);
        judged.baselines = self.baselines(&trivial, &rows.truth, || rows.x.view().into())?;
        judged.groups = self.groups(&rows, &answers, &trivial, threshold, notes)?;
        judged.bias = self.bias(&rows, &answers, threshold)?;
        judged.importance = self.importance(fit, &rows, threshold)?;
        judged.measures = Some(measures);
        Ok(judged)
    }

    /// How good it is on the rows that it learned from, and how many of those that judge are among them.
    fn judge_training(
        &self,
        fit: &Fit,
        learned: &[usize],
        judging: &Portion,
        threshold: Option<f64>,
        judged: &mut Judged,
    ) -> Result<()> {
        let rows = self.portion(fit, learned)?;
        let answers = self.answers(fit, rows.x.view())?;
        let measures = self.measures(&answers, &rows.truth, || rows.x.view().into(), threshold)?;
        judged.training = Some(measures);
        judged.rows_seen_before = guards::duplicates(rows.x.view(), judging.x.view())?.rows;
        Ok(())
    }

    /// The answers of trivial predictors that learned from the rows `learned`, for `rows`, by their names.
    fn trivial(&self, learned: &[usize], rows: &[usize]) -> Vec<(String, Output)> {
        let mut trivial = Vec::new();
        let before = self.spec.baseline_days.map(|days| (days, self.target_before(days)));
        match (self.labels.take(learned), &self.labels) {
            (Labels::Classes { names, codes }, Labels::Classes { codes: all, .. }) => {
                let mut shares = vec![0.0; names.len()];
                codes.iter().for_each(|code| shares[*code as usize] += 1.0 / codes.len() as f64);
                let prior = Array2::from_shape_fn((rows.len(), names.len()), |(_, class)| shares[class]);
                trivial.push(("majority".to_owned(), Output::Probabilities(prior.clone())));
                if let Some((days, before)) = before {
                    let mut answers = prior;
                    for (mut answer, row) in answers.rows_mut().into_iter().zip(rows) {
                        if let Some(before) = before[*row] {
                            answer.fill(0.0);
                            answer[all[before] as usize] = 1.0;
                        }
                    }
                    trivial.push((days_before(days), Output::Probabilities(answers)));
                }
            }
            (Labels::Values(values), Labels::Values(all)) => {
                let mean = values.iter().map(|value| value / values.len() as f64).sum::<f64>();
                trivial.push(("mean".to_owned(), Output::Values(vec![mean; rows.len()])));
                if let Some((days, before)) = before {
                    let answers = rows.iter().map(|row| before[*row].map_or(mean, |before| all[before]));
                    trivial.push((days_before(days), Output::Values(answers.collect())));
                }
            }
            _ => {}
        }
        trivial
    }

    /// Trivial answers, judged as others are.
    fn baselines<'x>(
        &self,
        trivial: &[(String, Output)],
        truth: &Labels,
        x: impl Fn() -> CowArray<'x, f64, Ix2>,
    ) -> Result<Vec<Baseline>> {
        let baseline = |(name, output): &(String, Output)| {
            let measures = self.measures(output, truth, &x, None)?;
            Ok(Baseline { name: name.clone(), measures })
        };
        trivial.iter().map(baseline).collect()
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

    /// The names of the groups, and the group of each row.
    fn group_of_rows(&self) -> Result<(Vec<String>, Vec<u32>)> {
        let Some(name) = &self.spec.group_by else { return Ok((Vec::new(), vec![0; self.rows.num_rows()])) };
        let texts = cast(column(&self.rows, name)?, &DataType::Utf8).map_err(|error| {
            Error::new(codes::PREDICTOR_DATA, format!("`group_by: {name}` has no text form"))
                .caused_by(&error)
        })?;
        let texts: &StringArray = texts.as_string();
        let name_of = |row: usize| if texts.is_valid(row) { texts.value(row) } else { "null" };
        let names: BTreeSet<&str> = (0..texts.len()).map(name_of).collect();
        let place: BTreeMap<&str, u32> =
            names.iter().enumerate().map(|(place, name)| (*name, place as u32)).collect();
        let groups = (0..texts.len()).map(|row| place[name_of(row)]).collect();
        Ok((names.into_iter().map(str::to_owned).collect(), groups))
    }

    fn groups(
        &self,
        rows: &Portion,
        answers: &Output,
        trivial: &[(String, Output)],
        threshold: Option<f64>,
        notes: &mut Vec<String>,
    ) -> Result<Vec<OfGroup>> {
        if self.spec.group_by.is_none() {
            return Ok(Vec::new());
        }
        let (names, group) = self.group_of_rows()?;
        let mut places: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (place, row) in rows.rows.iter().enumerate() {
            places.entry(group[*row]).or_default().push(place);
        }
        let mut largest: Vec<(u32, Vec<usize>)> = places.into_iter().collect();
        if largest.len() > GROUPS_MAX {
            notes.push(format!(
                "of {} groups the {GROUPS_MAX} with the most rows are judged apart",
                largest.len()
            ));
            largest.sort_by_key(|(group, places)| (std::cmp::Reverse(places.len()), *group));
            largest.truncate(GROUPS_MAX);
            largest.sort();
        }
        let mut groups = Vec::new();
        for (group, places) in largest {
            let truth = rows.truth.take(&places);
            let x = || CowArray::from(rows_in(&rows.x, &places));
            let measures = self.measures(&taken(answers, &places), &truth, x, threshold)?;
            let trivial: Vec<(String, Output)> =
                trivial.iter().map(|(name, answers)| (name.clone(), taken(answers, &places))).collect();
            let baselines = self.baselines(&trivial, &truth, x)?;
            groups.push(OfGroup { group: names[group as usize].clone(), measures, baselines });
        }
        Ok(groups)
    }

    /// Of two classes and groups.
    fn bias(&self, rows: &Portion, answers: &Output, threshold: Option<f64>) -> Result<Option<Bias>> {
        let (Output::Probabilities(probabilities), Labels::Classes { names, codes }, true) =
            (answers, &rows.truth, self.spec.group_by.is_some())
        else {
            return Ok(None);
        };
        if names.len() != 2 {
            return Ok(None);
        }
        let (groups, of_row) = self.group_of_rows()?;
        let called: Vec<bool> = judge::classification::answers(probabilities.view(), threshold)
            .into_iter()
            .map(|class| class == 1)
            .collect();
        let truth: Vec<bool> = codes.iter().map(|code| *code == 1).collect();
        let of_row: Vec<u32> = rows.rows.iter().map(|row| of_row[*row]).collect();
        judge::bias::bias(&truth, &called, &of_row, &groups, self.spec.reference_group.as_deref()).map(Some)
    }

    fn importance(&self, fit: &Fit, rows: &Portion, threshold: Option<f64>) -> Result<Option<Importances>> {
        if !self.entry.task.has_target() {
            return Ok(None);
        }
        let features: Vec<importance::Feature> = fit
            .frame
            .ranges()
            .into_iter()
            .map(|(name, columns)| importance::Feature { name, columns })
            .collect();
        let effort = Effort { repeats: SHUFFLES, rows: SHUFFLED_ROWS, seed: self.spec.seed };
        let score = |x: ArrayView2<'_, f64>, places: &[usize]| {
            let answers = self.answers(fit, x)?;
            let truth = rows.truth.take(places);
            natural(&self.measures(&answers, &truth, || x.into(), threshold)?).ok_or_else(|| {
                Error::new(codes::PREDICTOR_DATA, "the target is the same in all rows that judge")
            })
        };
        match importance::importance(rows.x.view(), &features, effort, score) {
            Ok(importances) => Ok(Some(importances)),
            Err(error) if error.code() == codes::PREDICTOR_DATA => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn verdict(&self, predictor: &Predictor) -> Result<Verdict> {
        if self.spec.promote.is_none() {
            return Ok(Verdict::unasked());
        }
        if predictor.judged.on != JudgedOn::Test {
            return Ok(Verdict::unjudged());
        }
        let metric = self.metric()?;
        let own = predictor.judged.measures.as_ref().and_then(|measures| metric.of(measures));
        let baselines = predictor.judged.baselines.iter();
        let baselines: Vec<(String, Option<f64>)> =
            baselines.map(|baseline| (baseline.name.clone(), metric.of(&baseline.measures))).collect();
        let before = match self.lesson.before {
            Some(before) => Some(self.value_of(before, metric)?),
            None => None,
        };
        Ok(Verdict::of(metric, own, &baselines, before))
    }

    /// The measure of another version on the test rows, or why it cannot be judged by them.
    fn value_of(
        &self,
        other: &Predictor,
        metric: &judge::Metric,
    ) -> Result<std::result::Result<f64, String>> {
        let no = |why: &str| Ok(Err(why.to_owned()));
        if other.task != self.entry.task {
            return no("it answers another question");
        }
        if other.target.as_ref().map(|target| &target.name) != self.spec.target.as_ref() {
            return no("it has another target");
        }
        if other.learned_from.split_by != self.split_by {
            return no("its rows were split in another way, it may have learned from those that judge now");
        }
        let rows = rows_of(&self.rows, &self.parts.test)?;
        let scorer = Scorer::new(other.clone())?;
        let answered = scorer.output(&rows);
        let output = match answered {
            Ok(output) => output,
            Err(error) if error.code() == codes::PREDICTOR_DATA => return no(error.message()),
            Err(error) => return Err(error),
        };
        let output = match (output, &self.labels) {
            (Output::Probabilities(theirs), Labels::Classes { names, .. }) => {
                let mut all = Array2::zeros((theirs.nrows(), names.len()));
                for (column, class) in other.classes().iter().enumerate() {
                    // A class that no row has any more: its share goes to nobody.
                    if let Some(place) = names.iter().position(|name| name == class) {
                        all.column_mut(place).assign(&theirs.column(column));
                    }
                }
                Output::Probabilities(all)
            }
            (output, _) => output,
        };
        let threshold = other.target.as_ref().and_then(|target| target.threshold);
        let truth = self.labels.take(&self.parts.test);
        let measures = match (&output, truth) {
            (Output::Values(values), Labels::Values(truth)) => {
                Measures::Regression(judge::regression::regression(&truth, values)?)
            }
            (Output::Probabilities(rows), Labels::Classes { names, codes }) => Measures::Classification(
                judge::classification::classification(&codes, names.len(), rows.view(), threshold)?,
            ),
            _ => return no("its answers are of another kind"),
        };
        Ok(metric.of(&measures).ok_or_else(|| format!("its `{}` is not defined", metric.name)))
    }
}

fn days_before(days: u32) -> String {
    if days == 1 { "1 day before".to_owned() } else { format!("{days} days before") }
}

/// A measure of which 1 is the best: balanced accuracy, or R².
fn natural(measures: &Measures) -> Option<f64> {
    match measures {
        Measures::Classification(classes) => Some(classes.balanced_accuracy),
        Measures::Regression(numbers) => numbers.r2,
        _ => None,
    }
}

fn codes_of(raw: &Raw) -> Vec<Option<u32>> {
    let Raw::Texts(texts) = raw else { return Vec::new() };
    let distinct: BTreeSet<&str> = texts.iter().flatten().collect();
    let place: BTreeMap<&str, u32> =
        distinct.into_iter().enumerate().map(|(place, text)| (text, place as u32)).collect();
    texts.iter().map(|text| text.map(|text| place[text])).collect()
}

/// The rows in these places, which lie in memory as those of [`Frame::matrix`].
fn rows_in(x: &Array2<f64>, places: &[usize]) -> Array2<f64> {
    Array2::from_shape_fn((places.len(), x.ncols()).f(), |(row, column)| x[[places[row], column]])
}

/// The answers in these places.
fn taken(answers: &Output, places: &[usize]) -> Output {
    fn pick<T: Clone>(all: &[T], places: &[usize]) -> Vec<T> {
        places.iter().map(|place| all[*place].clone()).collect()
    }
    match answers {
        Output::Values(values) => Output::Values(pick(values, places)),
        Output::Probabilities(rows) => Output::Probabilities(rows.select(Axis(0), places)),
        Output::Components(rows) => Output::Components(rows.select(Axis(0), places)),
        Output::Groups(groups) => Output::Groups(pick(groups, places)),
        Output::Scores { scores, outliers } => {
            Output::Scores { scores: pick(scores, places), outliers: pick(outliers, places) }
        }
    }
}
