//! From rows to a predictor that was judged: split, guard, choose, fit, judge, decide.
//!
//! The rows of the test are looked at once, when everything was chosen. What is stored is what was judged: it was
//! fitted on the rows of training and validation, never on those of the test.

mod baselines;
mod constants;
mod guarding;
mod judging;

use std::collections::BTreeSet;

use arrow::{
    array::RecordBatch,
    compute::{cast, kernels::cmp::distinct},
    datatypes::DataType,
};
use lagar_flow::{Error, JsonText, Result, codes};
use ndarray::{Array2, ArrayView2};
use serde_json::Value;

use crate::{
    algorithm::{Entry, Fitted, Output, Target, Task, Training, algorithm},
    choice::{Choice, Learned},
    forecast,
    frame::{Asked, Frame, Raw},
    judge,
    predictor::{FORMAT_VERSION, LearnedFrom, Predictor, TargetColumn, Tried, has_distribution, libraries},
    spec::{Spec, without_validation},
    split::{Parts, moments, rows_of},
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
    /// Bytes that the rows and what is made of them may take.
    pub memory: u64,
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
/// target away, [`codes::CONFIG`] if what is asked does not fit the columns, [`codes::MEMORY`] if what is made of the
/// rows would take too much.
pub fn train(lesson: &Lesson<'_>) -> Result<Learned> {
    let entry = algorithm(&lesson.spec.algorithm)?;
    if let Some(error) = Error::all(lesson.spec.misfits(&lesson.rows.schema())) {
        return Err(error);
    }
    if entry.task == Task::Forecast {
        return forecast::learn(lesson, entry);
    }
    let work = Work::new(lesson, entry)?;
    let predictor = work.learn()?;
    let verdict = work.verdict(&predictor)?;
    Ok(Learned::of(predictor, verdict, lesson.spec))
}

/// Features that are the same in all `rows`, from which was learned.
fn constant(frame: &Frame, rows: &RecordBatch) -> Result<Option<String>> {
    let Some(more) = rows.num_rows().checked_sub(1).filter(|more| *more > 0) else { return Ok(None) };
    let mut names = Vec::new();
    for feature in &frame.features {
        let values = column(rows, &feature.name)?;
        let changes = distinct(&values.slice(0, more), &values.slice(1, more))
            .map_err(|error| Error::bug("a column cannot be compared with itself").caused_by(&error))?;
        if changes.true_count() == 0 {
            names.push(format!("`{}`", feature.name));
        }
    }
    let verb = if names.len() == 1 { "is" } else { "are" };
    let all = counted(rows.num_rows() as u64, "row");
    let note =
        || format!("{} {verb} the same in all {all} to learn from: that says nothing", names.join(", "));
    Ok((!names.is_empty()).then(note))
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
    numbers: JsonText,
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
        let rows = match with_target.len() == all.num_rows() {
            true => all.clone(),
            false => rows_of(all, &with_target)?,
        };
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
                let elsewhere = codes.iter().any(|code| *code != first);
                return Err(Error::new(codes::PREDICTOR_DATA, what).hint(match elsewhere {
                    true if spec.key.is_empty() && spec.time.is_none() => {
                        "rows that are alike are all learned from or all judge: name the columns that tell rows apart \
                         under `key`"
                    }
                    true => "the rows of other classes are those that judge: take other shares under `split`",
                    false => "a classifier needs rows of at least two classes",
                }));
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
        let width = fit.frame.width();
        if self.entry.task.has_target() && width >= learned.len() {
            notes.push(format!(
                "{width} columns and {} to learn from: it may know them by heart",
                counted(learned.len() as u64, "row")
            ));
        }
        let rows = rows_of(&self.rows, &learned)?;
        notes.extend(constant(&fit.frame, &rows)?);
        notes.extend(self.new_classes(&fit));
        let judged = self.judge(&fit, &learned, threshold, &params, &mut notes)?;
        let told = fit.frame.features.iter().filter(|feature| has_distribution(feature));
        let distributions = told.map(|feature| {
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
            promotion: None,
            libraries: libraries(),
            notes,
        })
    }

    /// Classes of the test that no row had that was learned from.
    fn new_classes(&self, fit: &Fit) -> Option<String> {
        let Labels::Classes { names, codes } = &self.labels else { return None };
        let new: Vec<u32> =
            self.parts.test.iter().map(|row| codes[*row]).filter(|code| !fit.seen.contains(code)).collect();
        let name = &names[*new.first()? as usize];
        let rows = counted(new.len() as u64, "row");
        Some(format!(
            "{rows} of the test are of classes that were not learned from, such as `{name}`: it cannot answer them"
        ))
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(all) = self.lesson.sample_of() {
            let rows = self.lesson.rows.num_rows();
            notes.push(format!("learned from a sample of {rows} of {all} rows"));
        }
        if self.rows_without_target > 0 {
            notes
                .push(format!("{} without a target were left out", counted(self.rows_without_target, "row")));
        }
        if let (Labels::Values(values), Some(target)) = (&self.labels, &self.spec.target)
            && let [first, others @ ..] = values.as_slice()
            && others.iter().all(|value| value == first)
        {
            notes.push(format!("`target: {target}` is {first} in every row: there is nothing to learn"));
        }
        notes
    }

    fn learned_from(&self, learned: &[usize]) -> LearnedFrom {
        let moments = self.moments.as_ref();
        let first_test = moments.and_then(|moments| self.parts.test.iter().min_by_key(|row| moments[**row]));
        let text = |row: &usize| {
            let time = self.rows.column_by_name(self.spec.time.as_ref()?)?;
            let text = cast(&time.slice(*row, 1), &DataType::Utf8).ok()?;
            let text = arrow::array::AsArray::as_string::<i32>(&text);
            Some(text.value(0).to_owned())
        };
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
            test_share: self.moments.is_none().then_some(self.spec.split.test).filter(|share| *share > 0.0),
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
        let asked = Asked {
            features: &self.features,
            encode: &spec.encode,
            impute: &spec.impute,
            precision: spec.precision,
        };
        let (mut frame, notes) = Frame::learn(&asked, &rows, target.as_deref())?;
        self.has_room(&frame, params, numbers.len())?;
        frame.learn_scaling(spec.scale, &rows)?;
        let x = frame.training_matrix(&rows, target.as_deref())?;
        drop(rows);
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

    /// Whether there is room for the matrix of all rows, a part of which is learned from while another one judges, and
    /// for what the algorithm makes of `learned` rows.
    ///
    /// # Errors
    /// [`codes::MEMORY`], before any of it is made.
    fn has_room(&self, frame: &Frame, params: &Value, learned: usize) -> Result<()> {
        let rows = self.rows.num_rows();
        // Once as they were given, once where those with a target were taken, once where a part of them is.
        let with_target = if self.rows_without_target > 0 { 2 } else { 1 };
        let held = self.lesson.rows.get_array_memory_size() + with_target * self.rows.get_array_memory_size();
        let made = frame.bytes(rows).saturating_add(self.entry.bytes(params, learned)?);
        let (bytes, allowed) = (made.saturating_add(held as u64), self.lesson.memory);
        if bytes <= allowed {
            return Ok(());
        }
        let what = format!(
            "{rows} rows become {} columns of numbers: with what `{}` makes of them they need about {} MiB, and a \
             predictor may use {} MiB",
            frame.width(),
            self.entry.name,
            bytes.div_ceil(1 << 20),
            allowed >> 20
        );
        Err(Error::new(codes::MEMORY, what).hint(
            "learn from a sample (`sample: N`), give fewer values a column of their own (`encode: ordinal` or \
             `target`), or raise `limits.memory`",
        ))
    }

    /// The rows with these numbers.
    fn portion(&self, fit: &Fit, numbers: &[usize]) -> Result<Portion> {
        let x = fit.frame.matrix(&rows_of(&self.rows, numbers)?)?;
        Ok(Portion { rows: numbers.to_vec(), truth: self.labels.take(numbers), x })
    }

    /// The answers for rows. Of classification with a column for each of all classes, also those that were not
    /// learned from.
    fn answers(&self, fit: &Fit, x: ArrayView2<'_, f64>) -> Result<Output> {
        self.spread(fit, fit.fitted.answers(x, self.lesson.threads)?)
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
            return Err(without_validation(self.spec.split));
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
    let by = match spec.key.as_slice() {
        [] => format!("hash of the row ({})", features.join(", ")),
        key => format!("hash of {}", key.join(", ")),
    };
    let columns = hashed(spec, features).into_iter().map(|name| Ok((name.as_str(), column(rows, name)?)));
    let parts = Parts::by_hash(&columns.collect::<Result<Vec<_>>>()?, rows.num_rows(), spec.split)?;
    Ok((parts, by))
}

/// The columns whose hash divides the rows, where there is no time.
fn hashed<'a>(spec: &'a Spec, features: &'a [String]) -> Vec<&'a String> {
    match spec.key.as_slice() {
        [] => features.iter().chain(&spec.target).collect(),
        key => key.iter().collect(),
    }
}
