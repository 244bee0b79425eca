//! Which parameters are taken, and whether a new version takes the place of the one before.

use lagar_flow::{Error, Result, codes};
use serde_json::Value;

use crate::{
    judge::Metric,
    predictor::{Predictor, Promotion, Tried},
    spec::Spec,
};

/// What was learned, and whether it may take the place of the version before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Learned {
    pub predictor: Predictor,
    pub verdict: Verdict,
}

impl Learned {
    /// `predictor`, which keeps the verdict that `spec` asks for.
    pub(crate) fn of(mut predictor: Predictor, verdict: Verdict, spec: &Spec) -> Self {
        predictor.promotion = spec.promote.as_ref().map(|promote| Promotion {
            metric: promote.metric.clone(),
            promoted: verdict.promoted,
            why: verdict.why.clone(),
        });
        Self { predictor, verdict }
    }
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

/// A trivial predictor, by the measure that decides.
pub(crate) struct Baseline<'a> {
    pub name: &'a str,
    pub value: Option<f64>,
    /// How much better than that a predictor may look by chance.
    pub margin: Option<f64>,
}

impl Verdict {
    /// The project asks for no comparison.
    pub(crate) fn unasked() -> Self {
        Self { promoted: true, why: "current: no `promote` asks for a comparison".into() }
    }

    /// There were no rows to judge by.
    pub(crate) fn unjudged() -> Self {
        Self { promoted: false, why: "not promoted: there were no rows to judge it by".into() }
    }

    /// The measure is of two classes, and it tells more apart.
    pub(crate) fn of_other_classes(metric: &Metric, classes: usize) -> Self {
        let name = metric.name;
        let why = format!(
            "not promoted: `{name}` is of two classes, and the target has {classes}: take `macro_f1`, \
             `balanced_accuracy` or `log_loss`"
        );
        Self { promoted: false, why }
    }

    /// `own` beside the same measure of the baselines and of the version before, all of the same rows; or why the
    /// version before cannot be measured by them.
    ///
    /// To be better than a baseline is a claim, and takes more than chance. Not to be worse than the version before is
    /// none: with a margin each version could be a little worse than the one before it, and in the end all of them
    /// much worse.
    ///
    /// A baseline of which the measure is not defined says nothing: the majority never answers the other class, so it
    /// has no `precision`. If none of them has a value, nothing says that it is better than trivial.
    pub(crate) fn of(
        metric: &Metric,
        own: Option<f64>,
        baselines: &[Baseline<'_>],
        before: Option<std::result::Result<f64, String>>,
    ) -> Self {
        let name = metric.name;
        let (before, not_compared) = match before {
            Some(Err(why)) => (None, format!("; not compared with the version before: {why}")),
            before => (before.and_then(std::result::Result::ok), String::new()),
        };
        let refused = |why: String| Self { promoted: false, why: format!("not promoted: {why}") };
        let Some(own) = own else {
            return refused(format!("`{name}` is not defined on the test rows"));
        };
        let known = baselines.iter().filter_map(|baseline| Some((baseline, baseline.value?)));
        let best = best_of(metric, known.clone());
        if best.is_none() && !baselines.is_empty() {
            let names = baselines.iter().map(|baseline| format!("`{}`", baseline.name));
            let names = names.collect::<Vec<_>>().join(", ");
            return refused(format!("`{name}` is not defined for what it stands beside ({names})"));
        }
        let unbeaten =
            known.filter(|(baseline, value)| !clearly_better(metric, own, *value, baseline.margin));
        if let Some((baseline, value)) = best_of(metric, unbeaten) {
            let than = format!("better than the baseline `{}`, {value:.4}", baseline.name);
            return refused(match (better(metric, own, value), baseline.margin) {
                (false, _) => format!("{name} {own:.4} is not {than}"),
                (true, Some(margin)) => {
                    format!("{name} {own:.4} is not clearly {than}: chance alone may do {margin:.4}")
                }
                (true, None) => format!(
                    "{name} {own:.4} is not clearly {than}: what judges is too little to tell it from chance"
                ),
            });
        }
        if let Some(before) = before.filter(|before| better(metric, *before, own)) {
            return refused(format!(
                "{name} {own:.4} is worse than that of the current version, {before:.4}"
            ));
        }
        let against = match (best, before) {
            (Some((baseline, value)), Some(before)) => {
                format!(" (`{}` {value:.4}, the version before {before:.4})", baseline.name)
            }
            (Some((baseline, value)), None) => format!(" (`{}` {value:.4})", baseline.name),
            (None, Some(before)) => format!(" (the version before {before:.4})"),
            (None, None) => String::new(),
        };
        Self { promoted: true, why: format!("promoted: {name} {own:.4}{against}{not_compared}") }
    }
}

fn best_of<'a>(
    metric: &Metric,
    baselines: impl Iterator<Item = (&'a Baseline<'a>, f64)>,
) -> Option<(&'a Baseline<'a>, f64)> {
    baselines.reduce(|best, other| if metric.better(other.1, best.1) { other } else { best })
}

/// Whether `a` is better than `b`, and not only for the order of a sum.
pub(crate) fn better(metric: &Metric, a: f64, b: f64) -> bool {
    (a - b).abs() > EQUAL * (a.abs() + b.abs()) && metric.better(a, b)
}

/// Whether `a` is better than `b` by more than the `margin` that chance alone may make; not if nobody knows it.
pub(crate) fn clearly_better(metric: &Metric, a: f64, b: f64, margin: Option<f64>) -> bool {
    better(metric, a, b) && margin.is_some_and(|margin| (a - b).abs() > margin)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{algorithm::Task, judge::find};

    fn verdict(own: f64, baselines: &[(f64, Option<f64>)], before: Option<f64>) -> Verdict {
        let metric = find(Task::Classification, "log_loss").unwrap();
        let names = ["majority", "7 days before"];
        let baselines = names.iter().zip(baselines);
        let baselines =
            baselines.map(|(name, (value, margin))| Baseline { name, value: Some(*value), margin: *margin });
        Verdict::of(metric, Some(own), &baselines.collect::<Vec<_>>(), before.map(Ok))
    }

    #[test]
    fn every_baseline_has_to_be_beaten_by_more_than_chance() {
        let why = |baselines| verdict(0.5, baselines, None).why;
        assert_eq!(
            why(&[(0.7, Some(0.1)), (0.9, Some(0.3))]),
            "promoted: log_loss 0.5000 (`majority` 0.7000)"
        );
        let chance = "not promoted: log_loss 0.5000 is not clearly better than the baseline ";
        assert_eq!(
            why(&[(0.7, Some(0.1)), (0.9, Some(0.5))]),
            format!("{chance}`7 days before`, 0.9000: chance alone may do 0.5000")
        );
        assert_eq!(
            why(&[(0.7, None)]),
            format!("{chance}`majority`, 0.7000: what judges is too little to tell it from chance")
        );
        // The one that is hardest to beat is told.
        assert_eq!(
            why(&[(0.7, Some(0.3)), (0.4, Some(0.1))]),
            "not promoted: log_loss 0.5000 is not better than the baseline `7 days before`, 0.4000"
        );
        assert!(verdict(0.5, &[], None).promoted);
    }

    #[test]
    fn what_no_baseline_has_is_no_claim() {
        let metric = find(Task::Classification, "precision").unwrap();
        let of = |values: [Option<f64>; 2]| {
            let baselines = ["majority", "by chance"].iter().zip(values);
            let baselines = baselines.map(|(name, value)| Baseline { name, value, margin: Some(0.1) });
            Verdict::of(metric, Some(0.6), &baselines.collect::<Vec<_>>(), None)
        };
        assert_eq!(of([None, Some(0.4)]).why, "promoted: precision 0.6000 (`by chance` 0.4000)");
        assert!(!of([None, Some(0.7)]).promoted);
        let nothing = of([None, None]);
        assert_eq!(
            (nothing.promoted, nothing.why.as_str()),
            (
                false,
                "not promoted: `precision` is not defined for what it stands beside (`majority`, `by chance`)"
            )
        );
    }

    #[test]
    fn what_is_worse_than_the_version_before_is_so_by_any_difference() {
        let after = |before| verdict(0.5, &[(0.7, Some(0.1))], Some(before));
        assert!(after(0.5).promoted && after(0.51).promoted && after(0.5 - 1e-14).promoted);
        let worse = after(0.4999);
        assert!(
            !worse.promoted && worse.why.contains("worse than that of the current version"),
            "{}",
            worse.why
        );
    }
}
