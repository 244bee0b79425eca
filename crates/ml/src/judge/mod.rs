//! How good a predictor is: [`Measures`] of each task, and single figures of them by name ([`METRICS`]).
//!
//! The measures are stored with the predictor and shown, so they are plain numbers: what is not defined is left
//! out, never NaN.

use lagar_flow::{Error, Result, codes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::algorithm::Task;

mod curve;
mod numbers;
mod sample;

pub mod bias;
pub mod chance;
pub mod classification;
pub mod clustering;
pub mod forecast;
pub mod guards;
pub mod importance;
pub mod outliers;
pub mod reduction;
pub mod regression;

pub use classification::Classification;
pub use clustering::Clustering;
pub use numbers::Quantiles;
pub use outliers::Outliers;
pub use reduction::Reduction;
pub use regression::Regression;
pub use sample::sample;
pub(crate) use sample::shuffled;

/// The measures of a predictor, by its task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Measures {
    Classification(Classification),
    Regression(Regression),
    Clustering(Clustering),
    Outliers(Outliers),
    Reduction(Reduction),
}

/// A figure by which predictors of one task are compared.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Unique in its task. It is written in projects, so it stays.
    pub name: &'static str,
    /// Whether more is better.
    pub higher_is_better: bool,
    /// One line for people.
    pub about: &'static str,
    value: Value,
}

/// Where a figure stands in the measures of its task.
#[derive(Debug, Clone, Copy)]
enum Value {
    Classification(fn(&Classification) -> Option<f64>),
    Regression(fn(&Regression) -> Option<f64>),
    Clustering(fn(&Clustering) -> Option<f64>),
    Reduction(fn(&Reduction) -> Option<f64>),
    Forecast(fn(&forecast::Measures) -> Option<f64>),
}

/// The figures of each task, those that tell most first.
pub static METRICS: &[Metric] = &[
    of_classes("balanced_accuracy", true, "mean of the classes' recalls: 0.5 is chance of two", |m| {
        Some(m.balanced_accuracy)
    }),
    of_classes(
        "roc_auc",
        true,
        "how often the right class is ranked before a wrong one: 0.5 is chance",
        |m| m.roc_auc,
    ),
    of_classes("accuracy", true, "share of the rows whose class is right", |m| Some(m.accuracy)),
    of_classes("log_loss", false, "mean of -ln of the probability of the right class", |m| Some(m.log_loss)),
    of_classes("brier", false, "mean squared error of the probabilities", |m| Some(m.brier)),
    of_classes("macro_f1", true, "mean of the classes' F1", |m| Some(m.macro_f1)),
    of_classes("f1", true, "harmonic mean of precision and recall of the second of two classes", |m| {
        m.binary.as_ref()?.f1
    }),
    of_classes("precision", true, "share of the rows called the second of two classes that are", |m| {
        m.binary.as_ref()?.precision
    }),
    of_classes("recall", true, "share of the rows of the second of two classes that are found", |m| {
        m.binary.as_ref()?.recall
    }),
    of_classes("pr_auc", true, "area under precision over recall of the second of two classes", |m| {
        m.binary.as_ref()?.pr_auc
    }),
    of_values("rmse", false, "root of the mean squared error", |m| Some(m.rmse)),
    of_values("mae", false, "mean absolute error", |m| Some(m.mae)),
    of_values("r2", true, "share of the variance explained: 0 is the mean, 1 is perfect", |m| m.r2),
    of_values("mape", false, "mean absolute error as a share of the true value", |m| m.mape),
    of_values("median_absolute_error", false, "absolute error that half of the rows exceed", |m| {
        Some(m.median_absolute_error)
    }),
    of_values("max_error", false, "largest absolute error", |m| Some(m.max_error)),
    of_groups("silhouette", true, "how far groups are apart: 1 is well, 0 touching, below 0 mixed up", |m| {
        m.silhouette
    }),
    of_groups("inertia", false, "sum of the squared distances to the centres", |m| m.inertia),
    of_groups("noise", false, "share of the rows that are in no group", |m| Some(m.noise)),
    of_components("explained", true, "share of the variance of the columns that the components say", |m| {
        m.explained
    }),
    of_forecasts("mase", false, "mean absolute error over that of repeating the season in the past", |m| {
        m.mase
    }),
    of_forecasts("mae", false, "mean absolute error", |m| Some(m.mae)),
    of_forecasts("rmse", false, "root of the mean squared error", |m| Some(m.rmse)),
];

const fn of_forecasts(
    name: &'static str,
    higher_is_better: bool,
    about: &'static str,
    value: fn(&forecast::Measures) -> Option<f64>,
) -> Metric {
    Metric { name, higher_is_better, about, value: Value::Forecast(value) }
}

const fn of_classes(
    name: &'static str,
    higher_is_better: bool,
    about: &'static str,
    value: fn(&Classification) -> Option<f64>,
) -> Metric {
    Metric { name, higher_is_better, about, value: Value::Classification(value) }
}

const fn of_values(
    name: &'static str,
    higher_is_better: bool,
    about: &'static str,
    value: fn(&Regression) -> Option<f64>,
) -> Metric {
    Metric { name, higher_is_better, about, value: Value::Regression(value) }
}

const fn of_groups(
    name: &'static str,
    higher_is_better: bool,
    about: &'static str,
    value: fn(&Clustering) -> Option<f64>,
) -> Metric {
    Metric { name, higher_is_better, about, value: Value::Clustering(value) }
}

const fn of_components(
    name: &'static str,
    higher_is_better: bool,
    about: &'static str,
    value: fn(&Reduction) -> Option<f64>,
) -> Metric {
    Metric { name, higher_is_better, about, value: Value::Reduction(value) }
}

impl Metric {
    pub fn task(&self) -> Task {
        match self.value {
            Value::Classification(_) => Task::Classification,
            Value::Regression(_) => Task::Regression,
            Value::Clustering(_) => Task::Clustering,
            Value::Reduction(_) => Task::Reduction,
            Value::Forecast(_) => Task::Forecast,
        }
    }

    /// `None` if these are measures of another task, or the figure is not defined.
    pub fn of(&self, measures: &Measures) -> Option<f64> {
        match (self.value, measures) {
            (Value::Classification(value), Measures::Classification(measures)) => value(measures),
            (Value::Regression(value), Measures::Regression(measures)) => value(measures),
            (Value::Clustering(value), Measures::Clustering(measures)) => value(measures),
            (Value::Reduction(value), Measures::Reduction(measures)) => value(measures),
            _ => None,
        }
    }

    /// Of forecasts; `None` if this is a figure of another task, or it is not defined.
    pub fn of_forecasts(&self, scores: &forecast::Scores) -> Option<f64> {
        match self.value {
            Value::Forecast(value) => value(&scores.overall),
            _ => None,
        }
    }

    /// Whether `value` is better than `other`, not only as good.
    pub fn better(&self, value: f64, other: f64) -> bool {
        if self.higher_is_better { value > other } else { value < other }
    }
}

/// The figures of a task; of outliers there are none, since nobody knows which rows are.
pub fn metrics(task: Task) -> impl Iterator<Item = &'static Metric> {
    METRICS.iter().filter(move |metric| metric.task() == task)
}

/// The figure called `name` of a task.
///
/// # Errors
/// [`codes::CONFIG`] if there is none: which there are.
pub fn find(task: Task, name: &str) -> Result<&'static Metric> {
    if let Some(metric) = metrics(task).find(|metric| metric.name == name) {
        return Ok(metric);
    }
    let names: Vec<&str> = metrics(task).map(|metric| metric.name).collect();
    let error = Error::new(codes::CONFIG, format!("`{name}` is not a metric of {task}"));
    Err(match names.is_empty() {
        true => error.hint(format!("{task} has no metric: leave it out")),
        false => error.hint(format!("one of {}", names.join(", "))),
    })
}

/// The figure called `name` of these measures. `None` if there is none, or it is not defined.
pub fn metric(measures: &Measures, name: &str) -> Option<f64> {
    metrics(measures.task()).find(|metric| metric.name == name)?.of(measures)
}

impl Measures {
    pub fn task(&self) -> Task {
        match self {
            Measures::Classification(_) => Task::Classification,
            Measures::Regression(_) => Task::Regression,
            Measures::Clustering(_) => Task::Clustering,
            Measures::Outliers(_) => Task::Outliers,
            Measures::Reduction(_) => Task::Reduction,
        }
    }

    /// The few figures of a short table, as far as they are defined.
    pub fn headline(&self) -> Vec<(&'static str, f64)> {
        let names: &[&'static str] = match self {
            Measures::Classification(_) => &["balanced_accuracy", "roc_auc", "accuracy", "log_loss"],
            Measures::Regression(_) => &["rmse", "mae", "r2"],
            Measures::Clustering(_) => &["silhouette", "inertia", "noise"],
            Measures::Reduction(_) => &["explained"],
            Measures::Outliers(measures) => return vec![("flagged", measures.share)],
        };
        names.iter().filter_map(|name| Some((*name, metric(self, name)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn one_of_each() -> Vec<Measures> {
        let probabilities = array![[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]];
        let x = array![[1.0], [2.0], [8.0]];
        vec![
            Measures::Classification(
                classification::classification(&[0, 1, 1], 2, probabilities.view(), None).unwrap(),
            ),
            Measures::Regression(regression::regression(&[1.0, 2.0], &[1.5, 2.5]).unwrap()),
            Measures::Clustering(
                clustering::clustering(
                    x.view(),
                    &[Some(0), Some(0), Some(1)],
                    Some(array![[1.5], [8.0]].view()),
                    9,
                    1,
                )
                .unwrap(),
            ),
            Measures::Outliers(outliers::outliers(&[1.0, 9.0], &[false, true]).unwrap()),
            Measures::Reduction(reduction::reduction(x.view(), x.view()).unwrap()),
        ]
    }

    #[test]
    fn every_metric_has_a_name_of_its_own_a_line_and_a_value() {
        let measured = one_of_each();
        for metric in METRICS {
            let same = metrics(metric.task()).filter(|other| other.name == metric.name).count();
            assert_eq!(same, 1, "{}", metric.name);
            assert!(!metric.about.is_empty() && !metric.about.ends_with('.'), "{}", metric.name);
            assert!(find(metric.task(), metric.name).is_ok());
            if metric.task() == Task::Forecast {
                let overall = forecast::Measures { mase: Some(1.0), ..forecast::Measures::default() };
                let scores = forecast::Scores { overall, steps: Vec::new() };
                assert!(metric.of_forecasts(&scores).is_some(), "{}", metric.name);
                continue;
            }
            let own = measured.iter().find(|measures| measures.task() == metric.task()).unwrap();
            let value = metric.of(own).unwrap_or_else(|| panic!("{} has no value", metric.name));
            assert_eq!(super::metric(own, metric.name), Some(value));
            let other = measured.iter().find(|measures| measures.task() != metric.task()).unwrap();
            assert_eq!(metric.of(other), None);
        }
    }

    #[test]
    fn better_is_what_the_metric_says() {
        let better = |task, name| find(task, name).unwrap().better(0.9, 0.1);
        assert!(
            better(Task::Classification, "balanced_accuracy") && !better(Task::Classification, "log_loss")
        );
        assert!(better(Task::Regression, "r2") && !better(Task::Regression, "rmse"));
        assert!(!find(Task::Regression, "rmse").unwrap().better(0.1, 0.1));
    }

    #[test]
    fn an_unknown_metric_is_refused_with_those_there_are() {
        let error = find(Task::Regression, "balanced_accuracy").unwrap_err();
        assert_eq!(error.code(), codes::CONFIG);
        assert!(error.hint_text().unwrap().contains("rmse, mae, r2"), "{error:?}");
        assert!(find(Task::Outliers, "rmse").unwrap_err().hint_text().unwrap().contains("no metric"));
    }

    #[test]
    fn measures_are_read_as_they_were_written() {
        for measures in one_of_each() {
            let text = serde_json::to_string(&measures).unwrap();
            assert!(text.starts_with(&format!(r#"{{"task":"{}""#, measures.task())), "{text}");
            assert_eq!(serde_json::from_str::<Measures>(&text).unwrap(), measures);
            assert!(!measures.headline().is_empty());
        }
        let schema = serde_json::to_value(schemars::schema_for!(Measures)).unwrap();
        assert_eq!(schema["oneOf"].as_array().unwrap().len(), 5);
    }
}
