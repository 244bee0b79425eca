//! What an algorithm is: one file in [`algorithms`](crate::algorithms) that implements [`Algorithm`] (rows →
//! an answer for each row) or [`Forecaster`] (a series → its future), and one line in [`ALGORITHMS`].
//!
//! Help, the JSON schema of the parameters, the documentation and the contract tests walk that list.

use std::fmt;

use lagar_flow::{Error, JsonText, Result, codes};
use ndarray::{Array2, ArrayView2, Axis, Slice};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::algorithms::ALGORITHMS;
use crate::parallel::in_order;

/// What a predictor answers, and by which measures it is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// A number for each row.
    Regression,
    /// A probability of each class for each row.
    Classification,
    /// A group for each row, found without a target.
    Clustering,
    /// Fewer columns that say most of what many said.
    Reduction,
    /// How unusual each row is.
    Outliers,
    /// The next values of each series.
    Forecast,
}

impl Task {
    pub const ALL: [Task; 6] = [
        Task::Regression,
        Task::Classification,
        Task::Clustering,
        Task::Reduction,
        Task::Outliers,
        Task::Forecast,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Task::Regression => "regression",
            Task::Classification => "classification",
            Task::Clustering => "clustering",
            Task::Reduction => "reduction",
            Task::Outliers => "outliers",
            Task::Forecast => "forecast",
        }
    }

    /// Whether it learns from a column that holds the right answers.
    pub fn has_target(self) -> bool {
        matches!(self, Task::Regression | Task::Classification | Task::Forecast)
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The right answers.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// There are none.
    None,
    Values(&'a [f64]),
    /// For each row the place of its class among `count` classes. Every class has a row.
    Classes {
        codes: &'a [u32],
        count: usize,
    },
}

impl<'a> Target<'a> {
    /// # Errors
    /// A defect: the target is of another kind.
    pub fn values(self) -> Result<&'a [f64]> {
        match self {
            Target::Values(values) => Ok(values),
            _ => Err(Error::bug("the target is not of numbers")),
        }
    }

    /// The codes of the rows and the number of classes.
    ///
    /// # Errors
    /// A defect: the target is of another kind.
    pub fn classes(self) -> Result<(&'a [u32], usize)> {
        match self {
            Target::Classes { codes, count } => Ok((codes, count)),
            _ => Err(Error::bug("the target is not of classes")),
        }
    }
}

/// Rows to learn from.
#[derive(Debug, Clone, Copy)]
pub struct Training<'a> {
    /// A row for each row of the table, a column for each of `features`; all values are finite. At least one
    /// row and one column.
    pub x: ArrayView2<'a, f64>,
    pub target: Target<'a>,
    /// The names of the columns of `x`.
    pub features: &'a [String],
    /// Of everything random. The same data and seed give the same bits.
    pub seed: u64,
    /// Threads that may be used. They must not change the result.
    pub threads: usize,
}

impl Training<'_> {
    pub fn rows(&self) -> usize {
        self.x.nrows()
    }

    /// # Errors
    /// [`codes::PREDICTOR_DATA`] if there are fewer than `min` rows.
    pub fn at_least(&self, min: usize, algorithm: &str) -> Result<()> {
        if self.rows() >= min {
            return Ok(());
        }
        let rows = self.rows();
        Err(Error::new(
            codes::PREDICTOR_DATA,
            format!("`{algorithm}` needs at least {min} rows, and has {rows}"),
        ))
    }

    /// For algorithms whose memory or time grows with the square of the rows.
    ///
    /// # Errors
    /// [`codes::PREDICTOR_DATA`] if there are more than `max` rows; before anything is allocated.
    pub fn at_most(&self, max: usize, algorithm: &str) -> Result<()> {
        if self.rows() <= max {
            return Ok(());
        }
        let rows = self.rows();
        Err(Error::new(
            codes::PREDICTOR_DATA,
            format!("`{algorithm}` compares every row with every other one: {rows} rows are more than {max}"),
        )
        .hint("take a sample with `sample: N`, set `max_rows` if there is memory for it, or choose another algorithm"))
    }
}

/// An answer for each row.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Regression.
    Values(Vec<f64>),
    /// Classification: a row for each row, a column for each class; each row adds up to 1.
    Probabilities(Array2<f64>),
    /// Clustering: the number of the group, from 0; `None`: in no group (noise).
    Groups(Vec<Option<u32>>),
    /// Reduction: a row for each row.
    Components(Array2<f64>),
    /// Outliers: how unusual each row is (the higher, the more), and whether that is too much.
    Scores { scores: Vec<f64>, outliers: Vec<bool> },
}

impl Output {
    /// The number of answers.
    pub fn len(&self) -> usize {
        match self {
            Output::Values(values) => values.len(),
            Output::Probabilities(rows) | Output::Components(rows) => rows.nrows(),
            Output::Groups(groups) => groups.len(),
            Output::Scores { scores, .. } => scores.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds the answers for further rows, which must be of the same kind.
    fn append(&mut self, more: Output) -> Result<()> {
        match (self, more) {
            (Output::Values(all), Output::Values(more)) => all.extend(more),
            (Output::Groups(all), Output::Groups(more)) => all.extend(more),
            (
                Output::Scores { scores, outliers },
                Output::Scores { scores: more, outliers: more_outliers },
            ) => {
                scores.extend(more);
                outliers.extend(more_outliers);
            }
            (Output::Probabilities(all), Output::Probabilities(more))
            | (Output::Components(all), Output::Components(more)) => all
                .append(Axis(0), more.view())
                .map_err(|error| Error::bug("answers of another number of columns").caused_by(&error))?,
            _ => return Err(Error::bug("answers of two kinds")),
        }
        Ok(())
    }
}

/// What an algorithm learned. It is stored as its `serde` form: plain numbers, documented on its fields.
pub trait Fitted: Send + Sync {
    /// `x` has the columns that it was fitted with, all finite. Row by row, on one thread: the answer for a row does
    /// not depend on the other rows, which is what lets several threads share them.
    ///
    /// # Errors
    /// Only defects.
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Output>;

    /// Whether these numbers fit each other, a matrix of `columns` columns (at least one) and a target of `classes`
    /// classes (0: it has none). A record may have been written by hand, or be damaged: [`Fitted::predict`] must not
    /// panic on what this lets through.
    ///
    /// # Errors
    /// What does not fit, for people.
    fn check(&self, columns: usize, classes: usize) -> Result<(), String>;

    /// What people can read from it.
    fn explain(&self) -> Explanation {
        Explanation::default()
    }

    /// Of groups that have centres a row for each.
    fn centres(&self) -> Option<Array2<f64>> {
        None
    }
}

/// Rows that one thread answers at once: enough to be worth a thread even where a row takes nearly nothing.
const ROWS_AT_ONCE: usize = 8192;

impl dyn Fitted {
    /// [`Fitted::predict`] by up to `threads` threads, each of which answers some of the rows. As no answer depends on
    /// other rows, the number of threads changes nothing.
    ///
    /// # Errors
    /// Only defects.
    pub fn answers(&self, x: ArrayView2<'_, f64>, threads: usize) -> Result<Output> {
        let parts = x.nrows().div_ceil(ROWS_AT_ONCE);
        if threads <= 1 || parts <= 1 {
            return self.predict(x);
        }
        let parts = in_order(parts, threads, |part| {
            let from = part * ROWS_AT_ONCE;
            self.predict(x.slice_axis(Axis(0), Slice::from(from..x.nrows().min(from + ROWS_AT_ONCE))))
        })?;
        let mut parts = parts.into_iter();
        let mut all = parts.next().ok_or_else(|| Error::bug("no rows were asked"))??;
        parts.try_for_each(|part| all.append(part?))?;
        Ok(all)
    }
}

/// What can be read from what was fitted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Explanation {
    /// Of linear predictors, one for each column (and class), and the intercept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub coefficients: Vec<Coefficient>,
    /// Other figures by name, such as the inertia of clusters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<(String, f64)>,
}

/// One number of a linear predictor.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Coefficient {
    /// The column of the matrix, or `intercept`.
    pub name: String,
    /// The place of the class that it speaks for, where there are more than two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<usize>,
    pub value: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standard_error: Option<f64>,
}

/// Learns from rows.
pub trait Algorithm: 'static {
    const NAME: &'static str;
    const TASK: Task;
    /// One line for people.
    const ABOUT: &'static str;
    /// `#[serde(default, deny_unknown_fields)]`, a doc comment on each field. What is not possible (a negative
    /// number of trees) is refused by [`Algorithm::check`].
    type Params: Serialize + DeserializeOwned + JsonSchema + Default;
    type Fitted: Fitted + Serialize + DeserializeOwned + 'static;

    /// What is wrong with the parameters: the name of the parameter and what it must be.
    fn check(_params: &Self::Params) -> Result<(), (&'static str, String)> {
        Ok(())
    }

    /// Bytes that fitting takes beside the rows, where they grow with the square of them.
    fn bytes(_params: &Self::Params, _rows: usize) -> u64 {
        0
    }

    /// # Errors
    /// [`codes::PREDICTOR_DATA`] if these rows cannot be learned from: why, and what to do.
    fn fit(params: &Self::Params, training: &Training<'_>) -> Result<Self::Fitted>;
}

/// One series to forecast.
#[derive(Debug, Clone, Copy)]
pub struct Series<'a> {
    /// One value for each step of time, none is missing, all are finite; the last is the newest. At least one.
    pub values: &'a [f64],
    /// After so many steps things repeat; 1: they do not.
    pub season: usize,
    pub seed: u64,
}

/// The next values of a series, with an interval in which they lie with the asked probability.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    pub values: Vec<f64>,
    pub lower: Vec<f64>,
    pub upper: Vec<f64>,
    /// What was chosen or fitted, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<(String, Value)>,
}

/// Learns from the past of a series what comes next. Nothing but the series is asked for, so what was learned
/// is stored as the forecast itself.
pub trait Forecaster: 'static {
    const NAME: &'static str;
    /// One line for people.
    const ABOUT: &'static str;
    /// As those of an [`Algorithm`].
    type Params: Serialize + DeserializeOwned + JsonSchema + Default;

    /// As [`Algorithm::check`].
    fn check(_params: &Self::Params) -> Result<(), (&'static str, String)> {
        Ok(())
    }

    /// Whether it makes no sense with these parameters where nothing repeats.
    fn needs_season(_params: &Self::Params) -> bool {
        false
    }

    /// `horizon` values, at least one, with intervals of the probability `level` (between 0 and 1).
    ///
    /// # Errors
    /// [`codes::PREDICTOR_DATA`] if the series is too short for this: how long it is, and must be.
    fn forecast(params: &Self::Params, series: &Series<'_>, horizon: usize, level: f64) -> Result<Forecast>;
}

/// An algorithm as it stands in [`ALGORITHMS`].
#[derive(Clone, Copy)]
pub struct Entry {
    pub name: &'static str,
    pub task: Task,
    pub about: &'static str,
    /// JSON schema of the parameters.
    pub schema: fn() -> schemars::Schema,
    params: fn(&Value) -> Result<Value>,
    learn: Learn,
}

/// What was learned, and its numbers as they are stored.
pub type Stored = (Box<dyn Fitted>, JsonText);

/// From what is stored, the columns of the matrix and the classes of the target.
type Load = fn(&JsonText, usize, usize) -> Result<Box<dyn Fitted>>;

#[derive(Clone, Copy)]
enum Learn {
    Rows {
        fit: fn(&Value, &Training<'_>) -> Result<Stored>,
        bytes: fn(&Value, usize) -> Result<u64>,
        load: Load,
    },
    Series {
        forecast: fn(&Value, &Series<'_>, usize, f64) -> Result<Forecast>,
        needs_season: fn(&Value) -> bool,
    },
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({})", self.name)
    }
}

/// The line in [`ALGORITHMS`] of an algorithm that learns from rows.
pub const fn rows<A: Algorithm>() -> Entry {
    Entry {
        name: A::NAME,
        task: A::TASK,
        about: A::ABOUT,
        schema: || schemars::schema_for!(A::Params),
        params: |given| checked(A::NAME, given, A::check),
        learn: Learn::Rows {
            fit: |params, training| {
                let fitted = A::fit(&parsed::<A::Params>(A::NAME, params)?, training)?;
                let numbers = JsonText::of(&fitted).map_err(|e| stored(A::NAME, &e))?;
                Ok((Box::new(fitted), numbers))
            },
            bytes: |params, rows| Ok(A::bytes(&parsed::<A::Params>(A::NAME, params)?, rows)),
            load: |numbers, columns, classes| {
                let fitted: A::Fitted = numbers.read().map_err(|e| stored(A::NAME, &e))?;
                fitted.check(columns, classes).map_err(|what| misfit(A::NAME, &what))?;
                Ok(Box::new(fitted))
            },
        },
    }
}

/// The line in [`ALGORITHMS`] of an algorithm that learns from series.
pub const fn series<A: Forecaster>() -> Entry {
    Entry {
        name: A::NAME,
        task: Task::Forecast,
        about: A::ABOUT,
        schema: || schemars::schema_for!(A::Params),
        params: |given| checked(A::NAME, given, A::check),
        learn: Learn::Series {
            forecast: |params, series, horizon, level| {
                A::forecast(&parsed::<A::Params>(A::NAME, params)?, series, horizon, level)
            },
            needs_season: |params| {
                parsed::<A::Params>(A::NAME, params).is_ok_and(|params| A::needs_season(&params))
            },
        },
    }
}

fn parsed<P: DeserializeOwned>(algorithm: &str, given: &Value) -> Result<P> {
    P::deserialize(given)
        .map_err(|error| Error::new(codes::CONFIG, format!("parameters of `{algorithm}`: {error}")))
}

fn checked<P: Serialize + DeserializeOwned>(
    algorithm: &str,
    given: &Value,
    check: fn(&P) -> Result<(), (&'static str, String)>,
) -> Result<Value> {
    let params: P = parsed(algorithm, given)?;
    check(&params).map_err(|(name, must)| {
        Error::new(codes::CONFIG, format!("the parameter `{name}` of `{algorithm}` {must}"))
    })?;
    serde_json::to_value(&params)
        .map_err(|error| Error::bug("parameters cannot be written").caused_by(&error))
}

fn stored(algorithm: &str, error: &serde_json::Error) -> Error {
    Error::new(codes::PREDICTOR_STORED, format!("the numbers of a `{algorithm}` are not what they should be"))
        .caused_by(error)
}

fn misfit(algorithm: &str, what: &str) -> Error {
    let what = format!("the numbers of a `{algorithm}` do not fit together: {what}");
    Error::new(codes::PREDICTOR_STORED, what)
}

impl Entry {
    /// The parameters with every default filled in.
    ///
    /// # Errors
    /// [`codes::CONFIG`]: an unknown parameter, or a value that is not possible.
    pub fn params(&self, given: &Value) -> Result<Value> {
        (self.params)(given)
    }

    /// What was learned, and its numbers as they are stored.
    ///
    /// # Errors
    /// [`codes::PREDICTOR_DATA`] if these rows cannot be learned from.
    pub fn fit(&self, params: &Value, training: &Training<'_>) -> Result<Stored> {
        match self.learn {
            Learn::Rows { fit, .. } => fit(params, training),
            Learn::Series { .. } => Err(Error::bug(format!("`{}` learns from series", self.name))),
        }
    }

    /// As [`Algorithm::bytes`].
    ///
    /// # Errors
    /// Only defects.
    pub(crate) fn bytes(&self, params: &Value, rows: usize) -> Result<u64> {
        match self.learn {
            Learn::Rows { bytes, .. } => bytes(params, rows),
            Learn::Series { .. } => Err(Error::bug(format!("`{}` learns from series", self.name))),
        }
    }

    /// What was stored, for a matrix of `columns` columns and a target of `classes` classes (0: it has none).
    ///
    /// # Errors
    /// [`codes::PREDICTOR_STORED`] if the numbers are not those of this algorithm, or do not fit together.
    pub fn load(&self, numbers: &JsonText, columns: usize, classes: usize) -> Result<Box<dyn Fitted>> {
        match self.learn {
            Learn::Rows { load, .. } => load(numbers, columns, classes),
            Learn::Series { .. } => Err(Error::bug(format!("`{}` learns from series", self.name))),
        }
    }

    /// As [`Forecaster::needs_season`]; what learns from rows needs none.
    pub(crate) fn needs_season(&self, params: &Value) -> bool {
        matches!(self.learn, Learn::Series { needs_season, .. } if needs_season(params))
    }

    /// The next `horizon` values of a series.
    ///
    /// # Errors
    /// [`codes::PREDICTOR_DATA`] if the series is too short.
    pub fn forecast(
        &self,
        params: &Value,
        series: &Series<'_>,
        horizon: usize,
        level: f64,
    ) -> Result<Forecast> {
        match self.learn {
            Learn::Series { forecast, .. } => forecast(params, series, horizon, level),
            Learn::Rows { .. } => Err(Error::bug(format!("`{}` learns from rows", self.name))),
        }
    }
}

/// The algorithm called `name`.
///
/// # Errors
/// [`codes::CONFIG`] if there is none, with the nearest name.
pub fn algorithm(name: &str) -> Result<&'static Entry> {
    if let Some(entry) = ALGORITHMS.iter().find(|entry| entry.name == name) {
        return Ok(entry);
    }
    let near = ALGORITHMS
        .iter()
        .map(|entry| (strsim::damerau_levenshtein(entry.name, name), entry.name))
        .min()
        .filter(|(distance, near)| *distance * 3 <= near.len());
    let error = Error::new(codes::CONFIG, format!("`{name}` is not an algorithm"));
    Err(match near {
        Some((_, near)) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("`lagar predictors algorithms` lists them"),
    })
}
