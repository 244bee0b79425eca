//! A predictor as a project asks for it.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use lagar_flow::{Error, Result, TableName, codes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    algorithm::{Entry, Task, algorithm},
    frame::no_target_mean,
    judge::{self, classification::Goal},
};

mod misfits;
mod read;

use misfits::no_parts;
pub(crate) use misfits::{OF_TWO_CLASSES, asked_kind, without_validation};

/// What to learn, from which table, and how it is judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// `lagar predictors algorithms` lists them with their parameters.
    pub algorithm: String,
    /// The table to learn from: `refined.x` or `trusted.x`.
    #[schemars(with = "String")]
    pub from: TableName,
    /// The column that holds the right answers. Rows in which it is null are left out, and told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The columns to learn from: a list, or `{except: [column]}`. Default: all but the target, `time`, `key` and
    /// `series`.
    #[serde(default, skip_serializing_if = "Features::is_rest")]
    pub features: Features,
    /// A date or timestamp. The last rows are for judging, as they will be in use. Without it a hash of `key`
    /// (or of the whole row) divides the rows. Of forecasts: when each value was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The columns that name a row. They are no features.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
    /// Shares of the rows for choosing among parameters and for judging.
    #[serde(default)]
    pub split: Split,
    /// Measures and bias are told for each of its values too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_by: Option<String>,
    /// The group that the others are compared with in the table of bias. Default: the biggest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_group: Option<String>,
    /// How columns that are no numbers become some: `one_hot`, `ordinal`, `target`, or for dates and timestamps a
    /// list of parts such as `[month, day_of_week]`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub encode: BTreeMap<String, Encode>,
    /// What stands in place of null: a constant, `mean`, `median` or `most_frequent` of the rows learned from.
    /// Without it a null is an error.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub impute: BTreeMap<String, Impute>,
    /// Brings all columns to one size: `standard` (mean 0, deviation 1), `min_max` (0 to 1) or `none` (default).
    #[serde(default)]
    pub scale: Scale,
    /// How exactly features that are numbers are held: `double` (default, 64 bits) or `single` (32 bits, which takes
    /// less memory; digits behind the seventh are rounded, also of the rows that are asked).
    #[serde(default, skip_serializing_if = "Precision::is_double")]
    pub precision: Precision,
    /// Parameters of the algorithm.
    #[serde(default, skip_serializing_if = "no_params")]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub params: Value,
    /// Values of parameters that are tried on the validation part, each with each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub search: BTreeMap<String, Vec<Value>>,
    /// Of everything random; default 0.
    #[serde(default)]
    pub seed: u64,
    /// When a new version takes the place of the current one. Default: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promote: Option<Promote>,
    /// Of two classes: for whose sake the probability from which on the second is answered is chosen on the
    /// validation part, such as `{metric: f1}` or `{metric: recall, min_precision: 0.5}`. Default: 0.5, nothing is
    /// chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Goal>,
    /// Also compare with the target that the same key, or else the same group, had so many days before: 7 is "as last
    /// week".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_days: Option<u32>,
    /// Features that may determine the target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_leak: Vec<String>,
    /// Learn from so many rows only, chosen by a hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<usize>,
    /// Of forecasts: the columns that tell series apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<String>,
    /// Of forecasts: how many steps ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<usize>,
    /// Of forecasts: after so many steps things repeat; default 1, they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub season: Option<usize>,
    /// Of forecasts: the probability with which a value lies in its interval; default 0.9.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<f64>,
    /// Of forecasts: by which algorithm, with its defaults, series are forecast that are too short for `algorithm`,
    /// such as `last_value`. Default: they have no forecast. Either way they are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

fn no_params(params: &Value) -> bool {
    params.is_null()
}

/// Which columns are learned from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Features {
    /// All that have no other part to play.
    #[default]
    #[serde(skip)]
    Rest,
    Except {
        except: Vec<String>,
    },
    Named(Vec<String>),
}

impl Features {
    fn is_rest(&self) -> bool {
        *self == Features::Rest
    }
}

/// Shares of the rows, each from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Split {
    /// For choosing among parameters; default 0.15.
    pub validate: f64,
    /// For judging, once; default 0.15.
    pub test: f64,
}

impl Default for Split {
    fn default() -> Self {
        Self { validate: 0.15, test: 0.15 }
    }
}

/// How a column becomes numbers.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Encode {
    By(Encoder),
    /// Parts of a date or timestamp.
    Parts(Vec<DatePart>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoder {
    /// A column of 0 and 1 for each value, and one for all others.
    OneHot,
    /// The place of the value among all, in their order; -1 for one that was not there.
    Ordinal,
    /// The mean of the target where the value stands; of rows that are learned from, that of other rows.
    Target,
}

/// A part of a date or timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DatePart {
    Year,
    /// 1 to 12.
    Month,
    /// Of the month, from 1.
    Day,
    /// Monday is 0.
    DayOfWeek,
    /// From 1.
    DayOfYear,
    /// Of ISO 8601.
    Week,
    /// 0 to 23.
    Hour,
    /// Days since 1970-01-01, with a fraction.
    Days,
}

/// What stands in place of null.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Impute {
    By(Imputer),
    Number(f64),
    Bool(bool),
    Text(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Imputer {
    Mean,
    Median,
    /// Of equally frequent ones the smallest.
    MostFrequent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    #[default]
    None,
    Standard,
    MinMax,
}

/// How exactly numbers are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 64-bit floats.
    #[default]
    Double,
    /// 32-bit floats.
    Single,
}

impl Precision {
    pub(crate) fn is_double(&self) -> bool {
        *self == Precision::Double
    }

    /// Bytes of a number.
    pub fn bytes(self) -> u64 {
        match self {
            Precision::Double => 8,
            Precision::Single => 4,
        }
    }
}

/// A new version becomes current only if it is better than the trivial baseline and not worse than the current
/// one, both on the new version's test rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Promote {
    /// A measure of the task, such as `balanced_accuracy`, `rmse` or `mase`.
    pub metric: String,
}

fn target_is_feature(target: &str) -> Error {
    let what = format!("`{target}` is the target and a feature: it would give itself away");
    Error::new(codes::CONFIG, what).hint("take it out of `features`")
}

/// Shares of validation and test rows that still leave something to learn from.
const SHARES_MAX: f64 = 0.9;
/// Combinations of parameters that a search may try.
const TRIES_MAX: usize = 1000;
/// Steps ahead that somebody may want.
const HORIZON_MAX: usize = 10_000;
pub(crate) const INTERVAL_DEFAULT: f64 = 0.9;

impl Spec {
    /// What can be known without the table to be wrong: the key and what is wrong with it.
    pub fn problems(&self) -> Vec<(Vec<String>, Error)> {
        let mut problems = Vec::new();
        let mut wrong = |key: &[&str], error: Error| {
            problems.push((key.iter().map(|key| (*key).to_owned()).collect(), error));
        };
        let config = |message: String| Error::new(codes::CONFIG, message);
        let entry = match algorithm(&self.algorithm) {
            Ok(entry) => entry,
            Err(error) => {
                wrong(&["algorithm"], error);
                return problems;
            }
        };
        if let Features::Named(names) = &self.features
            && let Some((_, twice)) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name))
        {
            wrong(&["features"], config(format!("`{twice}` is listed twice")));
        }
        if let Err(error) = self.tries(entry) {
            wrong(&[if self.search.is_empty() { "params" } else { "search" }], error);
        }
        match (&self.target, entry.task.has_target()) {
            (None, true) => {
                let what = format!("`{}` needs a `target`: the column with the right answers", entry.name);
                wrong(&[], config(what));
            }
            (Some(_), false) => {
                let what = format!("`{}` learns without a `target`", entry.name);
                wrong(&["target"], config(what).hint("leave the key out"));
            }
            _ => {}
        }
        let Split { validate, test } = self.split;
        if !(0.0..1.0).contains(&validate) || !(0.0..1.0).contains(&test) || validate + test > SHARES_MAX {
            let what =
                format!("`validate` and `test` are shares from 0 to 1 and together at most {SHARES_MAX}");
            wrong(&["split"], config(what));
        }
        let forecast = entry.task == Task::Forecast;
        if forecast {
            if self.time.is_none() {
                wrong(&[], config("a forecast needs `time`: the column that says when".to_owned()));
            }
            if !matches!(self.horizon, Some(1..=HORIZON_MAX)) {
                let what = format!("a forecast needs a `horizon`: how many steps ahead, 1 to {HORIZON_MAX}");
                wrong(&["horizon"], config(what));
            }
            if self.season == Some(0) {
                wrong(&["season"], config("`season` is at least 1".to_owned()));
            }
            if self.interval.is_some_and(|level| !(level > 0.0 && level < 1.0)) {
                wrong(&["interval"], config("`interval` is a probability between 0 and 1".to_owned()));
            }
            let tries = self.tries(entry).unwrap_or_default();
            if self.season.unwrap_or(1) == 1 && tries.iter().any(|params| entry.needs_season(params)) {
                let what = format!("`{}` needs a `season`: after how many steps things repeat", entry.name);
                wrong(
                    &[],
                    config(what)
                        .hint("days that repeat by the week have `season: 7`; without one take `auto_ets`"),
                );
            }
            if let Err(error) = self.fallback() {
                wrong(&["fallback"], error);
            }
        }
        for (name, set) in [
            ("series", !self.series.is_empty()),
            ("horizon", self.horizon.is_some()),
            ("season", self.season.is_some()),
            ("interval", self.interval.is_some()),
            ("fallback", self.fallback.is_some()),
        ] {
            if set && !forecast {
                wrong(&[name], config(format!("`{name}` is for forecasts, and `{}` makes none", entry.name)));
            }
        }
        for (name, set) in [
            ("features", self.features != Features::Rest),
            ("group_by", self.group_by.is_some()),
            ("encode", !self.encode.is_empty()),
            ("impute", !self.impute.is_empty()),
            ("scale", self.scale != Scale::None),
            ("precision", !self.precision.is_double()),
            ("sample", self.sample.is_some()),
            ("allow_leak", !self.allow_leak.is_empty()),
        ] {
            if set && forecast {
                wrong(&[name], config(format!("`{name}` has no meaning for a forecast")));
            }
        }
        if let Some(Promote { metric }) = &self.promote {
            if let Err(error) = judge::find(entry.task, metric) {
                wrong(&["promote", "metric"], error);
            }
            if test == 0.0 {
                wrong(
                    &["promote"],
                    config("`promote` compares on test rows, and `split.test` is 0".to_owned()),
                );
            }
        }
        if self.baseline_days.is_some() && (self.time.is_none() || !entry.task.has_target() || forecast) {
            let what = "`baseline_days` needs a `target` and a `time`, and is not for forecasts";
            wrong(&["baseline_days"], config(what.to_owned()));
        }
        if self.threshold.is_some() && entry.task != Task::Classification {
            wrong(&["threshold"], config("`threshold` is for classification".to_owned()));
        }
        if self.reference_group.is_some() && self.group_by.is_none() {
            wrong(&["reference_group"], config("`reference_group` needs `group_by`".to_owned()));
        }
        self.columns_in_two_parts(&mut wrong);
        for (column, encode) in &self.encode {
            match encode {
                Encode::Parts(parts) if parts.is_empty() => {
                    wrong(&["encode", column.as_str()], no_parts(column));
                }
                Encode::By(Encoder::Target) if !entry.task.has_target() => {
                    wrong(&["encode", column.as_str()], no_target_mean(codes::CONFIG, column));
                }
                _ => {}
            }
        }
        if self.search.values().any(|values| values.len() > 1) {
            if judge::metrics(entry.task).next().is_none() {
                let what = format!("`search` compares by a metric, and {} has none", entry.task);
                wrong(&["search"], config(what).hint("set the parameters under `params`"));
            } else if validate == 0.0 && !forecast {
                wrong(&["search"], without_validation(self.split));
            }
        }
        for (name, is_zero) in
            [("sample", self.sample == Some(0)), ("baseline_days", self.baseline_days == Some(0))]
        {
            if is_zero {
                wrong(&[name], config(format!("`{name}` is at least 1")));
            }
        }
        problems
    }

    /// The algorithm for series that are too short for the other, if one was asked for.
    ///
    /// # Errors
    /// [`codes::CONFIG`]: it is unknown, or makes no forecasts.
    pub(crate) fn fallback(&self) -> Result<Option<&'static Entry>> {
        let Some(name) = &self.fallback else { return Ok(None) };
        let entry = algorithm(name)?;
        match entry.task {
            Task::Forecast if *name == self.algorithm => {
                Err(Error::new(codes::CONFIG, format!("`{name}` is the algorithm itself"))
                    .hint("take one that needs fewer values, such as `last_value`"))
            }
            Task::Forecast => Ok(Some(entry)),
            task => Err(Error::new(codes::CONFIG, format!("`{name}` is for {task}: it makes no forecasts"))
                .hint("take one such as `last_value`; `lagar predictors algorithms` lists them")),
        }
    }

    /// A column that is the target is nothing else.
    fn columns_in_two_parts(&self, wrong: &mut impl FnMut(&[&str], Error)) {
        let features: &[String] = match &self.features {
            Features::Named(features) => features,
            Features::Rest | Features::Except { .. } => &[],
        };
        if let Some(target) = self.target.as_ref().filter(|target| features.contains(target)) {
            wrong(&["features"], target_is_feature(target));
        }
        for (key, column) in [("target", &self.target), ("time", &self.time)] {
            if let Some(column) = column.as_ref().filter(|column| self.series.contains(column)) {
                let what = format!("`series` names `{column}`, which is the `{key}`");
                let error = Error::new(codes::CONFIG, what);
                wrong(&["series"], error.hint("name the columns that tell series apart"));
            }
        }
    }

    /// Every combination of parameters to try, complete; one if nothing is searched.
    ///
    /// # Errors
    /// [`codes::CONFIG`]: a parameter that does not exist or cannot be.
    pub(crate) fn tries(&self, entry: &Entry) -> Result<Vec<Value>> {
        let mut given = match &self.params {
            Value::Null => serde_json::Map::new(),
            Value::Object(given) => given.clone(),
            _ => return Err(Error::new(codes::CONFIG, "`params` is a map of parameters")),
        };
        let count = self.search.values().map(Vec::len).try_fold(1usize, usize::checked_mul);
        if count.is_none_or(|count| count == 0 || count > TRIES_MAX) {
            let what = format!("`search` must make between 1 and {TRIES_MAX} combinations");
            return Err(Error::new(codes::CONFIG, what));
        }
        let mut tries = Vec::new();
        let total = count.unwrap_or(1);
        for number in 0..total {
            let mut rest = number;
            for (name, values) in &self.search {
                given.insert(name.clone(), values[rest % values.len()].clone());
                rest /= values.len();
            }
            tries.push(entry.params(&Value::Object(given.clone()))?);
        }
        Ok(tries)
    }

    /// The columns of a table with `columns` that are learned from.
    ///
    /// # Errors
    /// [`codes::CONFIG`]: a column that the spec names does not exist, or is the target and a feature.
    pub fn feature_columns(&self, columns: &[String]) -> Result<Vec<String>> {
        let apart = [self.target.as_ref(), self.time.as_ref()];
        let mut apart: Vec<&String> =
            apart.into_iter().flatten().chain(&self.key).chain(&self.series).collect();
        let mut named: Vec<&String> = apart.clone();
        named.extend(&self.group_by);
        named.extend(self.encode.keys());
        named.extend(self.impute.keys());
        named.extend(&self.allow_leak);
        let features = match &self.features {
            Features::Named(features) => {
                named.extend(features);
                features.clone()
            }
            Features::Except { except } => {
                named.extend(except);
                apart.extend(except);
                columns.iter().filter(|column| !apart.contains(column)).cloned().collect()
            }
            Features::Rest => columns.iter().filter(|column| !apart.contains(column)).cloned().collect(),
        };
        if let Some(missing) = named.iter().find(|name| !columns.contains(name)) {
            let error = Error::new(codes::CONFIG, format!("`{}` has no column `{missing}`", self.from));
            let near = columns.iter().min_by_key(|column| strsim::damerau_levenshtein(column, missing));
            return Err(match near {
                Some(near) if strsim::damerau_levenshtein(near, missing) * 3 <= near.len() => {
                    error.hint(format!("did you mean `{near}`?"))
                }
                _ => error.hint(format!("its columns are {}", columns.join(", "))),
            });
        }
        if let Some(target) = self.target.as_ref().filter(|target| features.contains(target)) {
            return Err(target_is_feature(target));
        }
        if features.is_empty() && self.horizon.is_none() {
            return Err(Error::new(
                codes::CONFIG,
                format!("no column of `{}` is left to learn from", self.from),
            ));
        }
        Ok(features)
    }

    /// Whether the values of a feature of that type are rounded to 32 bits.
    pub fn rounds(&self, feature: &str, data_type: &DataType) -> bool {
        self.precision == Precision::Single && data_type.is_numeric() && !self.encode.contains_key(feature)
    }

    /// All columns of the table that are needed, each once.
    ///
    /// # Errors
    /// As [`Spec::feature_columns`].
    pub fn needed_columns(&self, columns: &[String]) -> Result<Vec<String>> {
        let mut needed = match self.horizon {
            Some(_) => {
                self.feature_columns(columns)?;
                Vec::new()
            }
            None => self.feature_columns(columns)?,
        };
        let more =
            self.target.iter().chain(&self.time).chain(&self.key).chain(&self.series).chain(&self.group_by);
        for column in more {
            if !needed.contains(column) {
                needed.push(column.clone());
            }
        }
        Ok(needed)
    }
}
