//! A predictor as it is stored: an open format, JSON, in which nothing is a library's own.
//!
//! [`Predictor`] is what stands in `refined/_predictors/<name>/<version>.json` under `predictor`. [`Scorer`] answers
//! with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{
        Array, ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
        StructArray, UInt32Array,
    },
    buffer::{NullBuffer, OffsetBuffer},
    datatypes::{DataType, Field, Fields},
};
use lagar_flow::{Error, JsonText, Result, codes};
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    algorithm::{Explanation, Fitted, Output, Task, algorithm},
    forecast::Forecasts,
    frame::{Encoding, Feature, Frame, Kind, Raw, said},
    judge::{
        classification::answers,
        guards::{Distribution, Drift},
    },
    judged::Judged,
};

/// The version of this format that is written, and the newest that is read.
pub const FORMAT_VERSION: u32 = 1;

/// All that is known of a predictor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Predictor {
    pub format_version: u32,
    pub task: Task,
    pub algorithm: String,
    /// All parameters of the algorithm, also those that nobody set.
    pub params: Value,
    pub seed: u64,
    /// The table and its version, and how many of its rows were learned from.
    pub learned_from: LearnedFrom,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetColumn>,
    /// How the columns of the table become those of the matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<Frame>,
    /// The names of the matrix' columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// What the values of each feature were like, to see later how they changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub distributions: Vec<(String, Distribution)>,
    /// The numbers that were fitted, as the algorithm's documentation says.
    #[serde(default, skip_serializing_if = "JsonText::is_null")]
    #[schemars(with = "Value")]
    pub fitted: JsonText,
    /// What was forecast, of forecasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecasts: Option<Forecasts>,
    /// The combinations of parameters that were tried, and the measure of each on the validation rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Tried>,
    pub judged: Judged,
    #[serde(default)]
    pub explanation: Explanation,
    /// Whether it was found good enough, where `promote` asks for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<Promotion>,
    /// The versions of the libraries that fitted it.
    pub libraries: BTreeMap<String, String>,
    /// What people should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What became of the rule under `promote`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Promotion {
    /// The measure that decides.
    pub metric: String,
    pub promoted: bool,
    /// For people: the figures, and beside what.
    pub why: String,
}

/// The rows that a predictor comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LearnedFrom {
    pub table: String,
    pub version: u64,
    /// How rows were told apart: `time day`, `hash of id`, `hash of the row`, `none`.
    pub split_by: String,
    /// Rows that were fitted: of training and validation.
    pub rows: u64,
    pub rows_validate: u64,
    pub rows_test: u64,
    /// Rows in which the target is null.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rows_without_target: u64,
    /// Of how many rows these are a sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_of: Option<u64>,
    /// Where the test begins, as text, of a split by time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_from: Option<String>,
    /// Which share of all rows is the test, of a split by a hash. Records of before do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_share: Option<f64>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// What is predicted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TargetColumn {
    pub name: String,
    pub kind: LabelKind,
    /// Of classification: the classes in the order of their codes, as text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Of two classes: the probability of the second from which on it is the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
}

/// The type of the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LabelKind {
    Boolean,
    Integer,
    Number,
    Text,
}

impl LabelKind {
    /// # Errors
    /// [`codes::CONFIG`]: such a column cannot be a target.
    pub(crate) fn of(name: &str, data_type: &DataType, task: Task) -> Result<Self> {
        let wrong = || {
            Error::new(
                codes::CONFIG,
                format!("`target: {name}` is {}: `{task}` cannot learn it", said(data_type)),
            )
        };
        match (data_type, task) {
            (t, Task::Regression | Task::Forecast) if t.is_numeric() => Ok(LabelKind::Number),
            (DataType::Boolean, Task::Classification) => Ok(LabelKind::Boolean),
            (t, Task::Classification) if t.is_integer() => Ok(LabelKind::Integer),
            (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, Task::Classification) => {
                Ok(LabelKind::Text)
            }
            (DataType::Dictionary(_, values), _) => LabelKind::of(name, values, task),
            (t, Task::Classification) if t.is_floating() => Err(wrong()
                .hint("classes are text, whole numbers or true and false; for numbers take a regression")),
            (_, Task::Regression | Task::Forecast) => {
                Err(wrong().hint("it learns numbers: make one in the SQL of the table, or take a classifier"))
            }
            _ => Err(wrong().hint("classes are text, whole numbers or true and false")),
        }
    }
}

/// One combination of parameters, and how good it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tried {
    pub params: Value,
    pub metric: String,
    /// `None`: it could not be fitted.
    pub value: Option<f64>,
}

/// What is asked of a predictor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Question {
    /// The answer: a number, a class, a group, whether it is an outlier, or the list of components.
    Answer,
    /// Of two classes the probability of the second, of more a struct with that of each. Of outliers the score, which
    /// is no probability.
    Probability,
}

/// The type of the answers to `question`, as far as it is known before anything is learned. `target`: the type of
/// the target's column. `classes`: `None` while nobody knows them.
///
/// # Errors
/// [`codes::CONFIG`]: this task has no such answer, or the target cannot be learned.
pub fn answer_type(
    question: Question,
    task: Task,
    target: Option<(&str, &DataType)>,
    classes: Option<&[String]>,
) -> Result<DataType> {
    let kind = target.map(|(name, data_type)| LabelKind::of(name, data_type, task)).transpose()?;
    typed(question, task, kind, classes)
}

fn typed(
    question: Question,
    task: Task,
    kind: Option<LabelKind>,
    classes: Option<&[String]>,
) -> Result<DataType> {
    match (task, question) {
        (Task::Forecast, _) => Err(only_forecasts()),
        (Task::Regression, Question::Answer) => Ok(DataType::Float64),
        (Task::Classification, Question::Answer) => Ok(match kind {
            Some(LabelKind::Boolean) => DataType::Boolean,
            Some(LabelKind::Integer | LabelKind::Number) => DataType::Int64,
            Some(LabelKind::Text) | None => DataType::Utf8,
        }),
        (Task::Classification, Question::Probability) => Ok(match classes {
            Some(classes) if classes.len() > 2 => DataType::Struct(
                classes.iter().map(|class| Field::new(class, DataType::Float64, false)).collect::<Fields>(),
            ),
            _ => DataType::Float64,
        }),
        (Task::Clustering, Question::Answer) => Ok(DataType::Int64),
        (Task::Outliers, Question::Answer) => Ok(DataType::Boolean),
        (Task::Outliers, Question::Probability) => Ok(DataType::Float64),
        (Task::Reduction, Question::Answer) => Ok(DataType::new_list(DataType::Float64, false)),
        (Task::Regression | Task::Clustering | Task::Reduction, Question::Probability) => {
            Err(Error::new(codes::CONFIG, format!("a predictor for {task} has no probabilities"))
                .hint("ask it with `predict`"))
        }
    }
}

fn only_forecasts() -> Error {
    Error::new(codes::CONFIG, "this predictor makes forecasts")
        .hint("read them as a table: `SELECT * FROM forecast('name')`")
}

/// A predictor that can be asked.
pub struct Scorer {
    predictor: Predictor,
    frame: Frame,
    fitted: Box<dyn Fitted>,
    /// The classes as they are answered; `None` if it knows none.
    names: Option<ArrayRef>,
    threads: usize,
}

impl std::fmt::Debug for Scorer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scorer({})", self.predictor.algorithm)
    }
}

impl Predictor {
    /// The JSON schema of what is stored.
    pub fn schema() -> Schema {
        schema_for!(Predictor)
    }

    /// From what was stored.
    ///
    /// # Errors
    /// [`codes::LAKE_VERSION`] if a newer Lagar wrote it; [`codes::PREDICTOR_STORED`] if it is not one.
    pub fn read(stored: &JsonText) -> Result<Self> {
        /// What every version has.
        #[derive(Deserialize)]
        struct Head {
            format_version: u32,
        }
        let newer = |version: u32| {
            let what = format!("the predictor has format version {version}, newer than {FORMAT_VERSION}");
            Error::new(codes::LAKE_VERSION, what).hint("use the Lagar that wrote it, or a newer one")
        };
        match stored.read::<Predictor>() {
            Ok(predictor) if predictor.format_version <= FORMAT_VERSION => Ok(predictor),
            Ok(predictor) => Err(newer(predictor.format_version)),
            Err(error) => Err(match stored.read::<Head>() {
                Ok(head) if head.format_version > FORMAT_VERSION => newer(head.format_version),
                _ => Error::new(codes::PREDICTOR_STORED, "this is no predictor").caused_by(&error),
            }),
        }
    }

    /// As it is stored.
    ///
    /// # Errors
    /// Only defects.
    pub fn to_json(&self) -> Result<JsonText> {
        JsonText::of(self).map_err(|error| Error::bug("a predictor cannot be written").caused_by(&error))
    }

    /// The classes in the order of their codes; none if it knows none.
    pub fn classes(&self) -> &[String] {
        self.target.as_ref().map_or(&[], |target| &target.classes)
    }

    /// Whether what is asked for rows fits together, but for what was fitted: it may have been written by hand, or be
    /// damaged.
    ///
    /// # Errors
    /// What does not fit, for people.
    fn check(&self, frame: &Frame) -> Result<(), String> {
        frame.check()?;
        if frame.columns() != self.columns {
            return Err("the columns are not those of the frame".to_owned());
        }
        if self.task.has_target() && self.target.is_none() {
            return Err(format!("{} has a target, and there is none", self.task));
        }
        for (name, distribution) in &self.distributions {
            let feature = frame.features.iter().find(|feature| feature.name == *name);
            let feature = feature.ok_or_else(|| format!("`{name}` has a distribution and is no feature"))?;
            let fits = distribution.check(feature.kind != Kind::Text);
            fits.map_err(|what| format!("the distribution of `{name}` {what}"))?;
        }
        Ok(())
    }
}

/// The classes of a target as they are answered: at least two, each once.
fn names_of(target: &TargetColumn) -> Result<ArrayRef, String> {
    let distinct: BTreeSet<&String> = target.classes.iter().collect();
    let count = target.classes.len();
    if count < 2 || distinct.len() < count {
        return Err(format!("the target has {count} classes, {} of them different", distinct.len()));
    }
    let names = StringArray::from_iter_values(&target.classes);
    let to = match target.kind {
        LabelKind::Text => return Ok(Arc::new(names)),
        LabelKind::Boolean => DataType::Boolean,
        LabelKind::Integer | LabelKind::Number => DataType::Int64,
    };
    match arrow::compute::cast(&names, &to) {
        Ok(typed) if typed.null_count() == 0 => Ok(typed),
        _ => Err(format!("a class of the target is no {}", lagar_flow::type_word(&to))),
    }
}

impl Scorer {
    /// # Errors
    /// [`codes::PREDICTOR_STORED`] if what was stored does not fit together; [`codes::CONFIG`] for forecasts.
    pub fn new(predictor: Predictor) -> Result<Self> {
        const WAY_OUT: &str =
            "train it again, or make another version current with `lagar predictors promote`";
        let misfit = |what: String| {
            Error::new(codes::PREDICTOR_STORED, format!("what was stored does not fit together: {what}"))
                .hint(WAY_OUT)
        };
        let entry = algorithm(&predictor.algorithm).map_err(|error| {
            Error::new(codes::PREDICTOR_STORED, format!("its algorithm is unknown: {}", error.message()))
                .hint("use the Lagar that wrote it, or a newer one")
        })?;
        if predictor.task != entry.task {
            let (algorithm, its, task) = (entry.name, entry.task, predictor.task);
            return Err(misfit(format!("`{algorithm}` is for {its}, and the task is {task}")));
        }
        if predictor.task == Task::Forecast {
            return Err(match predictor.forecasts {
                Some(_) => only_forecasts(),
                None => misfit("there are no `forecasts`".to_owned()),
            });
        }
        let frame = predictor.frame.clone().ok_or_else(|| misfit("there is no `frame`".to_owned()))?;
        predictor.check(&frame).map_err(misfit)?;
        let names = match predictor.task {
            Task::Classification => predictor.target.as_ref().map(names_of).transpose().map_err(misfit)?,
            _ => None,
        };
        let classes = names.as_ref().map_or(0, |names| names.len());
        let fitted = entry.load(&predictor.fitted, predictor.columns.len(), classes);
        let fitted = fitted.map_err(|error| error.hint(WAY_OUT))?;
        Ok(Self { predictor, frame, fitted, names, threads: 1 })
    }

    /// Answers many rows with up to so many threads. Without it there is one: what is asked in SQL is asked by as many
    /// threads as the query has.
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    pub fn predictor(&self) -> &Predictor {
        &self.predictor
    }

    /// What it has to be given.
    pub fn features(&self) -> &[Feature] {
        &self.frame.features
    }

    /// The type of the answers.
    ///
    /// # Errors
    /// [`codes::CONFIG`]: it has no such answer.
    pub fn answer_type(&self, question: Question) -> Result<DataType> {
        let target = self.predictor.target.as_ref();
        typed(question, self.predictor.task, target.map(|target| target.kind), Some(self.predictor.classes()))
    }

    /// The answer for each row; `rows` has the features by name.
    ///
    /// # Errors
    /// [`codes::PREDICTOR_DATA`]: a feature is missing, of another type, or null without a replacement.
    pub fn answer(&self, question: Question, rows: &RecordBatch) -> Result<ArrayRef> {
        let output = self.output(rows)?;
        Ok(match (output, question) {
            (Output::Values(values), _) => Arc::new(Float64Array::from(values)),
            (Output::Probabilities(rows), Question::Probability) => self.probabilities(rows.view())?,
            (Output::Probabilities(rows), Question::Answer) => self.labels(&self.decide(rows.view()))?,
            (Output::Groups(groups), _) => {
                let groups = groups.into_iter().map(|group| group.map(i64::from));
                Arc::new(groups.collect::<Int64Array>())
            }
            (Output::Scores { outliers, .. }, Question::Answer) => Arc::new(BooleanArray::from(outliers)),
            (Output::Scores { scores, .. }, Question::Probability) => Arc::new(Float64Array::from(scores)),
            (Output::Components(rows), _) => {
                // The places in a list are counted in 31 bits.
                if i32::try_from(rows.len()).is_err() {
                    let (rows, columns) = rows.dim();
                    let what = format!("{rows} lists of {columns} components are too many at once");
                    return Err(Error::new(codes::PREDICTOR_DATA, what).hint("ask for fewer rows at once"));
                }
                let item = Arc::new(Field::new_list_field(DataType::Float64, false));
                let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(rows.ncols(), rows.nrows()));
                let values = Float64Array::from_iter_values(rows.iter().copied());
                Arc::new(
                    ListArray::try_new(item, offsets, Arc::new(values), None)
                        .map_err(|error| Error::bug("a list of components").caused_by(&error))?,
                )
            }
        })
    }

    /// The probability of one class, for each row.
    ///
    /// # Errors
    /// As [`Scorer::answer`]; [`codes::CONFIG`] if it knows no such class.
    pub fn probability_of(&self, class: &str, rows: &RecordBatch) -> Result<ArrayRef> {
        let place = self.predictor.classes().iter().position(|known| known == class);
        let place = place.ok_or_else(|| Error::new(codes::CONFIG, format!("it knows no class `{class}`")))?;
        match self.output(rows)? {
            Output::Probabilities(rows) => {
                Ok(Arc::new(Float64Array::from_iter_values(rows.column(place).iter().copied())))
            }
            _ => Err(Error::new(codes::CONFIG, "it has no probabilities of classes")),
        }
    }

    /// The answers as numbers.
    ///
    /// # Errors
    /// As [`Scorer::answer`].
    pub fn output(&self, rows: &RecordBatch) -> Result<Output> {
        self.fitted.answers(self.frame.matrix(rows)?.view(), self.threads)
    }

    /// The code of the class that is answered for each row.
    pub fn decide(&self, probabilities: ndarray::ArrayView2<'_, f64>) -> Vec<u32> {
        let threshold = self.predictor.target.as_ref().and_then(|target| target.threshold);
        answers(probabilities, threshold)
    }

    fn probabilities(&self, rows: ndarray::ArrayView2<'_, f64>) -> Result<ArrayRef> {
        let column = |class: usize| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(rows.column(class).iter().copied()))
        };
        match self.answer_type(Question::Probability)? {
            DataType::Struct(fields) => {
                let columns = (0..fields.len()).map(column).collect();
                let rows = StructArray::try_new(fields, columns, None::<NullBuffer>);
                Ok(Arc::new(rows.map_err(|error| Error::bug("probabilities").caused_by(&error))?))
            }
            _ => Ok(column(rows.ncols().saturating_sub(1))),
        }
    }

    fn labels(&self, classes: &[u32]) -> Result<ArrayRef> {
        let names = self.names.as_ref().ok_or_else(|| Error::bug("classes without names"))?;
        let classes = UInt32Array::from(classes.to_vec());
        arrow::compute::take(names, &classes, None)
            .map_err(|error| Error::new(codes::PREDICTOR_STORED, "a class has no name").caused_by(&error))
    }

    /// How the values of each feature in `rows` differ from those that were learned from.
    ///
    /// # Errors
    /// As [`Scorer::answer`].
    pub fn drift(&self, rows: &RecordBatch) -> Result<Vec<(String, Drift)>> {
        let mut drifts = Vec::new();
        // Records of before have distributions of dates, too.
        let is_asked =
            |name: &str| self.features().iter().any(|one| one.name == name && has_distribution(one));
        for (name, distribution) in self.predictor.distributions.iter().filter(|(name, _)| is_asked(name)) {
            let column = rows.column_by_name(name);
            let column = column.ok_or_else(|| {
                Error::new(codes::PREDICTOR_DATA, format!("the feature `{name}` is missing"))
            })?;
            drifts.extend(Raw::of(name, column)?.drift(distribution)?.map(|drift| (name.clone(), drift)));
        }
        Ok(drifts)
    }
}

/// Whether rows whose values are distributed in another way are unlike those that were learned from. Dates that come
/// are always others than those before, and of a few days the month, too: what stays is told by no distribution.
pub(crate) fn has_distribution(feature: &Feature) -> bool {
    !matches!(feature.encoding, Encoding::Parts { .. })
}

/// The libraries that fit predictors, with their versions.
pub(crate) fn libraries() -> BTreeMap<String, String> {
    // The versions of the workspace; a test compares them with Cargo.lock.
    [("lagar", env!("CARGO_PKG_VERSION")), ("linfa", "0.8.1"), ("augurs", "0.10.3"), ("libm", "0.2.16")]
        .map(|(name, version)| (name.to_owned(), version.to_owned()))
        .into()
}

/// Whether a column of that type can be a feature of that kind.
pub fn fits(kind: Kind, data_type: &DataType) -> bool {
    Kind::of("", data_type).is_ok_and(|of| of == kind) || *data_type == DataType::Null
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_of_libraries_are_those_that_are_linked() {
        let lock = include_str!("../../../Cargo.lock");
        for (name, version) in libraries() {
            let package = match name.as_str() {
                "lagar" => "lagar-ml",
                "augurs" => "augurs-mstl",
                name => name,
            };
            let entry = format!("name = \"{package}\"\nversion = \"{version}\"");
            assert!(lock.contains(&entry), "{entry}");
        }
    }
}
