//! Series in a table → forecasts of each, and these as a table again.

use std::collections::BTreeMap;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray,
    },
    compute::cast,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use chrono::{DateTime, Datelike, Days, Months, Timelike};
use lagar_flow::{Column, Error, JsonText, Result, codes, columns_of, schema_of};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    algorithm::{Entry, Explanation, Forecast, Series, Task, algorithm},
    algorithms::shared::intervals::is_too_short,
    choice::{Baseline, Choice, Learned, Verdict},
    judge::{self, forecast::Part},
    judged::Judged,
    predictor::{FORMAT_VERSION, LabelKind, LearnedFrom, Predictor, TargetColumn, Tried, libraries},
    spec::{INTERVAL_DEFAULT, Spec},
    split::{moments, rows_of},
    target::{Labels, column, counted, rows_with_target},
    train::Lesson,
};

/// The columns of the result behind those of the series and the time.
const STEP: &str = "step";
const VALUE: &str = "value";
const LOWER: &str = "lower";
const UPPER: &str = "upper";
/// Series of one predictor.
const SERIES_MAX: usize = 10_000;

/// The forecasts of all series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Forecasts {
    /// Those of the result: of the series, the time, `step` (1 is the first), `value`, `lower`, `upper`.
    #[schemars(with = "serde_json::Value")]
    pub columns: Vec<Column>,
    /// The probability that a value lies between `lower` and `upper`.
    pub interval: f64,
    pub step: Step,
    /// In the order of their keys.
    pub series: Vec<OneSeries>,
}

/// The forecast of one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OneSeries {
    /// The values of the columns that tell series apart, as text.
    pub key: Vec<Option<String>>,
    /// The time of the first value: microseconds since 1970, or a whole number as it is. Months are counted from
    /// it, as the 31st of one month is the 30th of another.
    pub first: i64,
    /// So many values were learned from.
    pub values: u64,
    /// The algorithm that made it, where it is not that of the predictor, for which the series is too short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[schemars(with = "serde_json::Value")]
    pub forecast: Forecast,
}

/// From a value to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Microseconds, or whole numbers.
    Fixed(i64),
    /// Calendar months.
    Months(u32),
    /// So many calendar months, from the last day of one to the last day of another.
    MonthEnds(u32),
}

/// The columns of the forecasts that `spec` makes from a table with `columns`.
///
/// # Errors
/// [`codes::CONFIG`]: the table lacks a column, or the target is not of numbers.
pub fn columns(spec: &Spec, columns: &SchemaRef) -> Result<SchemaRef> {
    let field = |name: &String| {
        columns
            .field_with_name(name)
            .map(|field| field.clone().with_nullable(true))
            .map_err(|_| Error::new(codes::CONFIG, format!("`{}` has no column `{name}`", spec.from)))
    };
    if let Some(target) = spec.target.as_ref().map(field).transpose()? {
        LabelKind::of(target.name(), target.data_type(), Task::Forecast)?;
    }
    let mut fields = spec.series.iter().chain(&spec.time).map(field).collect::<Result<Vec<Field>>>()?;
    for taken in [STEP, VALUE, LOWER, UPPER] {
        if fields.iter().any(|field| field.name() == taken) {
            let what =
                format!("the column `{taken}` of a forecast has a name that one of its series has too");
            return Err(Error::new(codes::CONFIG, what).hint("give the column of the table another name"));
        }
    }
    fields.push(Field::new(STEP, DataType::Int64, true));
    fields.extend([VALUE, LOWER, UPPER].map(|name| Field::new(name, DataType::Float64, true)));
    Ok(std::sync::Arc::new(Schema::new(fields)))
}

impl Forecasts {
    /// A row for each series and step, up to `horizon` steps (default: all that were made).
    ///
    /// # Errors
    /// [`codes::PREDICTOR_DATA`]: more steps than were made; [`codes::PREDICTOR_STORED`]: what is stored does not fit
    /// together.
    pub fn batch(&self, horizon: Option<usize>) -> Result<RecordBatch> {
        let made = self.series.first().map_or(0, |series| series.forecast.values.len());
        let horizon = horizon.unwrap_or(made);
        if horizon > made && !self.series.is_empty() {
            let what = format!("{horizon} steps are asked, and {made} were made");
            return Err(
                Error::new(codes::PREDICTOR_DATA, what).hint("raise `horizon` in lagar.yaml and train again")
            );
        }
        let broken =
            |what: &str| Error::new(codes::PREDICTOR_STORED, format!("the forecasts are broken: {what}"));
        let schema = schema_of(&self.columns)?;
        let keys = schema.fields().len().checked_sub(5).ok_or_else(|| broken("columns are missing"))?;
        let fits = |series: &OneSeries| {
            let Forecast { values, lower, upper, .. } = &series.forecast;
            series.key.len() == keys && [values, lower, upper].iter().all(|part| part.len() == made)
        };
        if !self.series.iter().all(fits) {
            return Err(broken("series of different lengths"));
        }
        let mut columns: Vec<ArrayRef> = Vec::new();
        for place in 0..keys {
            let texts = self
                .series
                .iter()
                .flat_map(|series| std::iter::repeat_n(series.key[place].as_deref(), horizon));
            columns.push(std::sync::Arc::new(texts.collect::<StringArray>()));
        }
        let mut times = Vec::with_capacity(self.series.len() * horizon);
        for series in &self.series {
            for step in 1..=horizon {
                let from_first = (series.values as usize).saturating_sub(1).saturating_add(step);
                let time = self.step.after(series.first, from_first);
                times.push(time.ok_or_else(|| broken("a time is too far away"))?);
            }
        }
        columns.push(match schema.field(keys).data_type() {
            whole if whole.is_integer() => std::sync::Arc::new(Int64Array::from(times)),
            // They are moments: without the zone a cast would take them for what its clock shows.
            DataType::Timestamp(_, zone) => {
                std::sync::Arc::new(TimestampMicrosecondArray::from(times).with_timezone_opt(zone.clone()))
            }
            _ => std::sync::Arc::new(TimestampMicrosecondArray::from(times)),
        });
        let steps = self.series.iter().flat_map(|_| (1..=horizon).map(|step| step as i64));
        columns.push(std::sync::Arc::new(steps.collect::<Int64Array>()));
        let parts: [fn(&Forecast) -> &Vec<f64>; 3] = [|f| &f.values, |f| &f.lower, |f| &f.upper];
        for part in parts {
            let numbers =
                self.series.iter().flat_map(|series| part(&series.forecast)[..horizon].iter().copied());
            columns.push(std::sync::Arc::new(numbers.collect::<Float64Array>()));
        }
        let typed = columns.iter().zip(schema.fields());
        let typed =
            typed.map(|(column, field)| cast(column, field.data_type())).collect::<Result<Vec<_>, _>>();
        let typed = typed.map_err(|error| broken("a column has another type").caused_by(&error))?;
        RecordBatch::try_new(schema, typed).map_err(|error| broken("columns do not fit").caused_by(&error))
    }
}

impl Step {
    /// The steps that lead from each of `moments`, which are in order, to the next, the likeliest first: two values of
    /// July and August are 31 days apart, and a month. None of fewer than two. If they are not evenly spaced, the place
    /// of the first that is not.
    fn of(moments: &[i64], calendar: bool) -> std::result::Result<Vec<Self>, usize> {
        let [first, second, ..] = moments else { return Ok(Vec::new()) };
        let even = |step: &Step| (0..moments.len()).all(|at| step.after(*first, at) == Some(moments[at]));
        let mut steps = Vec::new();
        if calendar
            && let (Some(a), Some(b)) = (months(*first), months(*second))
            && b > a
        {
            let ends = moments.iter().all(|moment| is_month_end(*moment));
            steps.extend(ends.then_some(Step::MonthEnds(b - a)));
            steps.push(Step::Months(b - a));
        }
        // Whole numbers may be farther apart than a number can say: then no step leads from one to the other.
        let fixed = second.checked_sub(*first).map(Step::Fixed);
        steps.extend(fixed);
        steps.retain(even);
        if steps.is_empty() {
            let leads = |pair: &[i64]| fixed.and_then(|step| step.after(pair[0], 1)) == Some(pair[1]);
            return Err(moments.windows(2).position(|pair| !leads(pair)).unwrap_or(0) + 1);
        }
        Ok(steps)
    }

    fn after(self, moment: i64, steps: usize) -> Option<i64> {
        let time = || DateTime::from_timestamp_micros(moment);
        let months = |size: u32| size.checked_mul(u32::try_from(steps).ok()?);
        match self {
            Step::Fixed(size) => size.checked_mul(i64::try_from(steps).ok()?)?.checked_add(moment),
            Step::Months(size) => {
                Some(time()?.checked_add_months(Months::new(months(size)?))?.timestamp_micros())
            }
            Step::MonthEnds(size) => {
                let behind = Months::new(months(size)?.checked_add(1)?);
                let first = time()?.with_day(1)?.checked_add_months(behind)?;
                Some(first.checked_sub_days(Days::new(1))?.timestamp_micros())
            }
        }
    }
}

fn is_month_end(moment: i64) -> bool {
    let next = DateTime::from_timestamp_micros(moment).and_then(|time| time.checked_add_days(Days::new(1)));
    next.is_some_and(|next| next.day() == 1)
}

/// Months since the year 0, of the first moment of a day.
fn months(moment: i64) -> Option<u32> {
    let time = DateTime::from_timestamp_micros(moment)?;
    (time.num_seconds_from_midnight() == 0)
        .then(|| u32::try_from(time.year()).ok().map(|y| y * 12 + time.month0()))?
}

type Key = Vec<Option<String>>;
/// Of each series its moments and its values.
type ByKey = BTreeMap<Key, (Vec<i64>, Vec<f64>)>;

/// The series of the table, in the order of their keys: for each its moments and values.
fn series_of(spec: &Spec, rows: &RecordBatch, time: &str) -> Result<ByKey> {
    let (labels, _) = Labels::of(rows, spec.target.as_deref(), Task::Forecast)?;
    let Labels::Values(values) = labels else { return Err(Error::bug("a forecast without numbers")) };
    let moments = moments(time, column(rows, time)?)?;
    let texts = spec.series.iter().map(|name| {
        let text = cast(column(rows, name)?, &DataType::Utf8);
        text.map(|text| text.as_string::<i32>().clone()).map_err(|error| {
            Error::new(codes::PREDICTOR_DATA, format!("`series: {name}` has no text form")).caused_by(&error)
        })
    });
    let texts = texts.collect::<Result<Vec<StringArray>>>()?;
    let mut order: Vec<usize> = (0..rows.num_rows()).collect();
    order.sort_by_key(|row| moments[*row]);
    let mut series = BTreeMap::<Key, (Vec<i64>, Vec<f64>)>::new();
    for row in order {
        let key = texts.iter().map(|text| text.is_valid(row).then(|| text.value(row).to_owned())).collect();
        let (times, numbers) = series.entry(key).or_default();
        times.push(moments[row]);
        numbers.push(values[row]);
    }
    if series.len() > SERIES_MAX {
        let what = format!("{} series are more than {SERIES_MAX}", series.len());
        return Err(Error::new(codes::PREDICTOR_DATA, what)
            .hint("are the columns under `series` those that were meant?"));
    }
    Ok(series)
}

fn said(key: &Key) -> String {
    match key.as_slice() {
        [] => "the series".to_owned(),
        parts => {
            let parts: Vec<&str> = parts.iter().map(|part| part.as_deref().unwrap_or("null")).collect();
            format!("the series `{}`", parts.join(", "))
        }
    }
}

/// The one step of all series: of those that lead through each of them the likeliest. `gaps` says what to do about one.
fn step_of(series: &ByKey, calendar: bool, gaps: &str) -> Result<Step> {
    let when = |moment: i64| match calendar {
        true => DateTime::from_timestamp_micros(moment)
            .map_or_else(|| moment.to_string(), |time| time.to_string()),
        false => moment.to_string(),
    };
    // The steps that are left, and the series that ruled out the last of the others.
    let mut left: Option<(Vec<Step>, &Key)> = None;
    for (key, (times, _)) in series {
        if let Some(twice) = times.windows(2).find(|pair| pair[0] == pair[1]) {
            let what = format!("{} has two values for {}", said(key), when(twice[0]));
            return Err(Error::new(codes::PREDICTOR_DATA, what).hint(
                "name the columns that tell series apart under `series`, or add the values up in SQL",
            ));
        }
        let steps = Step::of(times, calendar).map_err(|gap| {
            let what = format!(
                "{} is not evenly spaced: {} is followed by {}",
                said(key),
                when(times[gap - 1]),
                when(times[gap])
            );
            Error::new(codes::PREDICTOR_DATA, what).hint(gaps)
        })?;
        if steps.is_empty() {
            continue;
        }
        let Some((known, of)) = &mut left else {
            left = Some((steps, key));
            continue;
        };
        let before = known.len();
        known.retain(|step| steps.contains(step));
        if known.is_empty() {
            let what = format!("{} and {} have different steps of time", said(of), said(key));
            return Err(Error::new(codes::PREDICTOR_DATA, what).hint(
                "train a predictor for each step, or bring the series to one step in the SQL of the table",
            ));
        }
        if known.len() < before {
            *of = key;
        }
    }
    left.and_then(|(steps, _)| steps.first().copied())
        .ok_or_else(|| Error::new(codes::PREDICTOR_DATA, "no series has 2 values: nothing can be forecast"))
}

/// Learns the forecasts that `spec` asks for; see [`crate::train`].
pub(crate) fn learn(lesson: &Lesson<'_>, entry: &'static Entry) -> Result<Learned> {
    let Lesson { spec, rows, .. } = *lesson;
    let missing = |key: &str| Error::bug(format!("a forecast without `{key}`"));
    let time = spec.time.as_deref().ok_or_else(|| missing("time"))?;
    let horizon = spec.horizon.ok_or_else(|| missing("horizon"))?;
    let with_target = rows_with_target(rows, spec.target.as_deref())?;
    let left_out = (rows.num_rows() - with_target.len()) as u64;
    let rows = rows_of(rows, &with_target)?;
    let series = series_of(spec, &rows, time)?;
    if series.is_empty() {
        return Err(Error::new(
            codes::PREDICTOR_DATA,
            format!("no row of `{}` has a value to learn from", spec.from),
        ));
    }
    let calendar = !column(&rows, time)?.data_type().is_integer();
    let gaps = match (left_out, &spec.target) {
        (1.., Some(target)) => {
            let rows = counted(left_out, "row");
            format!(
                "`{target}` is null in {rows}, which were left out: give each a value in the SQL of the table"
            )
        }
        _ => "make a row for each step in the SQL of the table, also where nothing was".to_owned(),
    };
    let step = step_of(&series, calendar, &gaps)?;
    let work = Work { lesson, spec, entry, horizon, series: &series };
    let mut notes = Vec::new();
    if left_out > 0 {
        notes.push(format!("{} without a target were left out", counted(left_out, "row")));
    }
    let (params, tried) = work.choose()?;
    let judged = match work.judged(entry, &params, Part::Test) {
        Ok(judged) => Some(judged),
        Err(error) if error.code() == codes::PREDICTOR_DATA => {
            notes.push(format!("not judged: {}", error.message()));
            None
        }
        Err(error) => return Err(error),
    };
    let forecasts = Forecasts {
        columns: columns_of(columns(spec, &rows.schema())?.as_ref()),
        interval: work.level(),
        step,
        series: work.forecasts(&params, &mut notes)?,
    };
    let verdict = work.verdict(judged.as_ref())?;
    let values = series.values().map(|(times, _)| times.len() as u64).sum();
    let predictor = Predictor {
        format_version: FORMAT_VERSION,
        task: Task::Forecast,
        algorithm: entry.name.to_owned(),
        params,
        seed: spec.seed,
        learned_from: LearnedFrom {
            table: spec.from.to_string(),
            version: lesson.version,
            split_by: format!("time {time}"),
            rows: values,
            rows_validate: 0,
            rows_test: judged.as_ref().map_or(0, |judged| judged.overall.scores.overall.count as u64),
            rows_without_target: left_out,
            sample_of: lesson.sample_of(),
            test_from: None,
            test_share: None,
        },
        target: spec.target.clone().map(|name| TargetColumn {
            name,
            kind: LabelKind::Number,
            classes: Vec::new(),
            threshold: None,
        }),
        frame: None,
        columns: Vec::new(),
        distributions: Vec::new(),
        fitted: JsonText::default(),
        forecasts: Some(forecasts),
        tried,
        judged: Judged::of_forecast(judged),
        explanation: Explanation::default(),
        promotion: None,
        libraries: libraries(),
        notes,
    };
    Ok(Learned::of(predictor, verdict, spec))
}

/// Times in the past from which is forecast for judging, at most.
const ORIGINS_MAX: usize = 10;

struct Work<'a> {
    lesson: &'a Lesson<'a>,
    spec: &'a Spec,
    entry: &'static Entry,
    horizon: usize,
    series: &'a ByKey,
}

impl Work<'_> {
    fn level(&self) -> f64 {
        self.spec.interval.unwrap_or(INTERVAL_DEFAULT)
    }

    fn judged(&self, entry: &'static Entry, params: &Value, part: Part) -> Result<judge::forecast::Judged> {
        let longest = self.series.values().map(|(times, _)| times.len()).max().unwrap_or_default();
        let origins = |share: f64| ((longest as f64 * share) as usize / self.horizon).clamp(1, ORIGINS_MAX);
        let plan = judge::forecast::Plan {
            entry,
            params,
            season: self.season(),
            horizon: self.horizon,
            folds: origins(self.spec.split.validate),
            test: origins(self.spec.split.test),
            level: self.level(),
            seed: self.spec.seed,
            threads: self.lesson.threads,
        };
        let keys: Vec<String> = self.series.keys().map(key_text).collect();
        let known = keys.iter().zip(self.series.values());
        let known: Vec<_> = known.map(|(key, (_, values))| judge::forecast::Known { key, values }).collect();
        judge::forecast::judge(&known, &plan, part)
    }

    fn season(&self) -> usize {
        self.spec.season.unwrap_or(1)
    }

    fn metric(&self) -> Result<&'static judge::Metric> {
        let name = match &self.spec.promote {
            Some(promote) => &promote.metric,
            None => "mase",
        };
        judge::find(Task::Forecast, name)
    }

    /// The best of the parameters to try, by times before those of the test; of equals the first.
    fn choose(&self) -> Result<(Value, Vec<Tried>)> {
        let mut tries = self.spec.tries(self.entry)?;
        if tries.len() == 1 {
            return Ok((tries.remove(0), Vec::new()));
        }
        let metric = self.metric()?;
        let mut choice = Choice::new(metric);
        for params in tries {
            let judged = self.judged(self.entry, &params, Part::Folds);
            choice.add(params, judged.map(|judged| metric.of_forecasts(&judged.overall.scores)))?;
        }
        choice.made()
    }

    fn forecasts(&self, params: &Value, notes: &mut Vec<String>) -> Result<Vec<OneSeries>> {
        let fallback = self.spec.fallback()?.map(|entry| Ok((entry, entry.params(&json!({}))?)));
        let fallback: Option<(&Entry, Value)> = fallback.transpose()?;
        let mut made = Vec::new();
        // Those that are too short for the algorithm and are made by the other one, and those that have none.
        let (mut saved, mut short) = (Vec::new(), Vec::new());
        for (key, (times, values)) in self.series {
            let series = Series { values, season: self.season(), seed: self.spec.seed };
            let forecast =
                |entry: &Entry, params| match entry.forecast(params, &series, self.horizon, self.level()) {
                    Ok(forecast) => Ok(Ok(forecast)),
                    Err(error) if error.code() == codes::PREDICTOR_DATA => Ok(Err(error)),
                    Err(error) => Err(error),
                };
            let (by, forecast) = match (forecast(self.entry, params)?, &fallback) {
                // What fails for another reason would be hidden: the settings, or the values, want a look.
                (Err(why), Some((entry, params))) if is_too_short(&why) => match forecast(entry, params)? {
                    Ok(forecast) => {
                        saved.push((key, why));
                        (Some(entry.name.to_owned()), Ok(forecast))
                    }
                    Err(also) => {
                        let what = format!("{}; {}", why.message(), also.message());
                        (None, Err(Error::new(codes::PREDICTOR_DATA, what)))
                    }
                },
                (forecast, _) => (None, forecast),
            };
            match forecast {
                Ok(forecast) => made.push(OneSeries {
                    key: key.clone(),
                    first: times.first().copied().unwrap_or_default(),
                    values: values.len() as u64,
                    by,
                    forecast,
                }),
                Err(why) => short.push((key, why)),
            }
        }
        let mut note = |of: &[(&Key, Error)], what: &str| {
            if let Some((key, why)) = of.first() {
                let count = counted(of.len() as u64, "series");
                notes.push(format!("{what} of {count}, such as {}: {}", said(key), why.message()));
            }
        };
        if let Some((entry, _)) = &fallback {
            note(&saved, &format!("`{}` made the forecast", entry.name));
        }
        match short.first() {
            Some((key, error)) if made.is_empty() => Err(error.clone().context(said(key))),
            _ => {
                note(&short, "no forecast");
                Ok(made)
            }
        }
    }

    fn verdict(&self, judged: Option<&judge::forecast::Judged>) -> Result<Verdict> {
        if self.spec.promote.is_none() {
            return Ok(Verdict::unasked());
        }
        let metric = self.metric()?;
        let Some(judged) = judged else { return Ok(Verdict::unjudged()) };
        let baselines = judged.overall.baselines.iter().map(|baseline| Baseline {
            name: &baseline.algorithm,
            value: metric.of_forecasts(&baseline.scores),
            margin: baseline.margins.of(metric),
        });
        let baselines: Vec<Baseline<'_>> = baselines.collect();
        // The one before, from the same times.
        let before = self.lesson.before.map(|before| {
            if before.task != Task::Forecast {
                return Err("it answers another question".to_owned());
            }
            let judged = algorithm(&before.algorithm)
                .and_then(|entry| self.judged(entry, &before.params, Part::Test))
                .map_err(|error| error.message().to_owned())?;
            let value = metric.of_forecasts(&judged.overall.scores);
            value.ok_or_else(|| format!("its `{}` is not defined", metric.name))
        });
        Ok(Verdict::of(metric, metric.of_forecasts(&judged.overall.scores), &baselines, before))
    }
}

fn key_text(key: &Key) -> String {
    key.iter().map(|part| part.as_deref().unwrap_or("null")).collect::<Vec<_>>().join(", ")
}
