//! Which parameters are taken, and whether a new version takes the place of the one before.

use lagar_flow::{Error, Result, codes};
use serde_json::Value;

use crate::{
    judge::Metric,
    predictor::{Predictor, Tried},
};

/// What was learned, and whether it may take the place of the version before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Learned {
    pub predictor: Predictor,
    pub verdict: Verdict,
}

/// Whether a new version becomes current.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub promoted: bool,
    /// For people: by which measure, against what.
    pub why: String,
}

/// Numbers that differ by less are equal: they come from sums in another order.
const EQUAL: f64 = 1e-12;

impl Verdict {
    /// The project asks for no comparison.
    pub(crate) fn unasked() -> Self {
        Self { promoted: true, why: "current: no `promote` asks for a comparison".into() }
    }

    /// There were no rows to judge by.
    pub(crate) fn unjudged() -> Self {
        Self { promoted: false, why: "not promoted: there were no rows to judge it by".into() }
    }

    /// `own` beside the same measure of the baselines and of the version before, all of the same rows; or why the
    /// version before cannot be measured by them.
    pub(crate) fn of(
        metric: &Metric,
        own: Option<f64>,
        baselines: &[(String, Option<f64>)],
        before: Option<std::result::Result<f64, String>>,
    ) -> Self {
        let name = metric.name;
        let (before, not_compared) = match before {
            Some(Err(why)) => (None, format!("; not compared with the version before: {why}")),
            before => (before.and_then(std::result::Result::ok), String::new()),
        };
        let Some(own) = own else {
            return Self {
                promoted: false,
                why: format!("not promoted: `{name}` is not defined on the test rows"),
            };
        };
        let known = baselines.iter().filter_map(|(baseline, value)| Some((baseline, (*value)?)));
        let best = known.reduce(|best, other| if metric.better(other.1, best.1) { other } else { best });
        if let Some((baseline, value)) = best.filter(|(_, value)| !clearly_better(metric, own, *value)) {
            let why = format!(
                "not promoted: {name} {own:.4} is not better than the baseline `{baseline}`, {value:.4}"
            );
            return Self { promoted: false, why };
        }
        if let Some(before) = before.filter(|before| clearly_better(metric, *before, own)) {
            let why = format!(
                "not promoted: {name} {own:.4} is worse than that of the current version, {before:.4}"
            );
            return Self { promoted: false, why };
        }
        let against = match (best, before) {
            (Some((baseline, value)), Some(before)) => {
                format!(" (`{baseline}` {value:.4}, the version before {before:.4})")
            }
            (Some((baseline, value)), None) => format!(" (`{baseline}` {value:.4})"),
            (None, Some(before)) => format!(" (the version before {before:.4})"),
            (None, None) => String::new(),
        };
        Self { promoted: true, why: format!("promoted: {name} {own:.4}{against}{not_compared}") }
    }
}

pub(crate) fn clearly_better(metric: &Metric, a: f64, b: f64) -> bool {
    (a - b).abs() > EQUAL * (a.abs() + b.abs()) && metric.better(a, b)
}

/// Collects what was tried and keeps the best; of equals the first.
pub(crate) struct Choice {
    metric: &'static Metric,
    tried: Vec<Tried>,
    best: Option<(f64, Value)>,
    failed: Option<Error>,
}

impl Choice {
    pub fn new(metric: &'static Metric) -> Self {
        Self { metric, tried: Vec::new(), best: None, failed: None }
    }

    /// # Errors
    /// A defect; rows from which these parameters cannot learn are noted.
    pub fn add(&mut self, params: Value, value: Result<Option<f64>>) -> Result<()> {
        let value = match value {
            Ok(value) => value,
            Err(error) if error.code() == codes::PREDICTOR_DATA => {
                self.failed.get_or_insert(error);
                None
            }
            Err(error) => return Err(error),
        };
        if let Some(value) = value
            && self.best.as_ref().is_none_or(|(best, _)| self.metric.better(value, *best))
        {
            self.best = Some((value, params.clone()));
        }
        self.tried.push(Tried { params, metric: self.metric.name.to_owned(), value });
        Ok(())
    }

    /// # Errors
    /// [`codes::PREDICTOR_DATA`]: nothing that was tried could be measured.
    pub fn made(self) -> Result<(Value, Vec<Tried>)> {
        match (self.best, self.failed) {
            (Some((_, params)), _) => Ok((params, self.tried)),
            (None, Some(error)) => Err(error),
            (None, None) => {
                let name = self.metric.name;
                let what = format!("`{name}` is not defined on the validation rows: nothing can be chosen");
                Err(Error::new(codes::PREDICTOR_DATA, what)
                    .hint("take another metric, or more validation rows"))
            }
        }
    }
}
