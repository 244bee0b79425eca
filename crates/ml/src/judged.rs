//! How good a predictor is, as it stands in its record: beside trivial ones, by group, and what it leans on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::judge::{
    Measures, Metric, bias::Bias, chance::Margins, forecast::Judged as JudgedForecast, guards::Future,
    importance::Importances,
};

/// Which rows a predictor was judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JudgedOn {
    /// Rows that neither fitting nor choosing saw.
    Test,
    /// Rows that it was fitted on, because no others were left: it looks better than it is.
    Training,
    /// None.
    Nothing,
}

/// How good a predictor is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Judged {
    pub on: JudgedOn,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measures: Option<Measures>,
    /// Trivial predictors, by the same rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baselines: Vec<Baseline>,
    /// The same predictor on the rows that it was fitted on: much better ones say that it learned them by heart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<Measures>,
    /// Of each value of `group_by`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<OfGroup>,
    /// Of two classes and groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bias: Option<Bias>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub importance: Option<Importances>,
    /// Rows of the test that are alike to one that was fitted on.
    #[serde(default)]
    pub rows_seen_before: u64,
    /// Whether a feature seems to know what comes later than its row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub future: Option<Future>,
    /// Of forecasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<JudgedForecast>,
}

/// A trivial predictor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Baseline {
    /// `majority`; `mean`, `median`, `weighted median` or `shortest half`; `7 days before`; `by chance`, of classes and
    /// of groups; `one group`; `columns`; `iqr`.
    pub name: String,
    pub measures: Measures,
    /// How much better than it the predictor may look by chance. Records of before have none.
    #[serde(default, skip_serializing_if = "Margins::is_empty")]
    pub margins: Margins,
    /// The metrics for which it has to be beaten; none: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
}

impl Baseline {
    /// Whether a predictor that is no better than it by this metric says nothing.
    pub fn stands_for(&self, metric: &Metric) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == metric.name)
    }
}

/// The rows of one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OfGroup {
    pub group: String,
    pub measures: Measures,
    /// The trivial predictors on the same rows.
    pub baselines: Vec<Baseline>,
}

impl Judged {
    pub(crate) fn new(on: JudgedOn) -> Self {
        Self {
            on,
            measures: None,
            baselines: Vec::new(),
            training: None,
            groups: Vec::new(),
            bias: None,
            importance: None,
            rows_seen_before: 0,
            future: None,
            forecast: None,
        }
    }

    pub(crate) fn of_forecast(forecast: Option<JudgedForecast>) -> Self {
        let on = if forecast.is_some() { JudgedOn::Test } else { JudgedOn::Nothing };
        Self { forecast, ..Self::new(on) }
    }

    /// The most telling measures, by name.
    pub fn headline(&self) -> Vec<(String, f64)> {
        let measures = self.measures.iter().flat_map(Measures::headline);
        let measures = measures.map(|(name, value)| (name.to_owned(), value));
        let forecast = self.forecast.iter().flat_map(|forecast| {
            let overall = &forecast.overall;
            let measures = &overall.scores.overall;
            let mase = measures.mase.map(|mase| ("mase", mase));
            let skill = overall.skill.map(|skill| ("skill", skill));
            [Some(("mae", measures.mae)), mase, skill, Some(("coverage", measures.coverage))]
        });
        measures.chain(forecast.flatten().map(|(name, value)| (name.to_owned(), value))).collect()
    }
}
