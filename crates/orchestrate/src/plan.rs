//! What a run would do, and why, without doing it.

use std::sync::Arc;

use lagar_connectors::window::Windows;
use lagar_flow::Result;
use lagar_lake::Manifest;
use serde::Serialize;

use crate::{
    build,
    graph::{Graph, Node},
    predictor,
    report::StepKind,
    windows::{self, Standing},
    workplace::Workplace,
};

/// What a run would do with one step.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedStep {
    pub name: String,
    pub kind: StepKind,
    pub action: Action,
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A source is asked; only its answer tells whether there is something new.
    Ask,
    Build,
    /// Built only if a step before it brings something new.
    Depends,
    Keep,
}

impl Action {
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Ask => "ask",
            Action::Build => "build",
            Action::Depends => "build if new",
            Action::Keep => "keep",
        }
    }
}

/// What there is to read of a source by windows.
fn windows_due(workplace: &Workplace, windows: &Windows, loads: &[Arc<Manifest>]) -> Result<String> {
    let (zone, now) = (workplace.project.timezone, workplace.clock.now());
    windows::plan_text(&Standing::new(windows, loads, zone, now))
}

/// The steps of a run of `select`, in order.
pub async fn plan(workplace: &Workplace, select: &[String]) -> Result<Vec<PlannedStep>> {
    let graph = Graph::of(&workplace.project)?;
    let selected = graph.select(select)?;
    let release = workplace.lake.current_release().await?;
    let mut steps: Vec<PlannedStep> = Vec::new();
    let mut changing: Vec<Node> = Vec::new();
    let mut asked: Vec<Node> = Vec::new();
    for node in graph.order().iter().filter(|node| selected.contains(*node)) {
        let project = &workplace.project;
        let stale = match node {
            Node::Predictor(name) => match project.predictors.get(name) {
                Some(predictor) => {
                    Some(predictor::staleness(&workplace.lake, predictor, release.as_ref()).await?)
                }
                None => None,
            },
            Node::Table(table) => match project.models.get(table) {
                Some(model) => Some(build::staleness(&workplace.lake, model, release.as_ref()).await?),
                None => None,
            },
        };
        let (action, why) = match (stale, node) {
            (Some(stale), _) => {
                let needs = graph.needs(node);
                let first = needs.iter().find(|need| changing.contains(need));
                match (stale, first) {
                    (_, Some(first)) => (Action::Build, format!("`{first}` is built before it")),
                    (Some(why), None) => (Action::Build, why),
                    (None, None) => match needs.iter().find(|need| asked.contains(need)) {
                        Some(source) => {
                            (Action::Depends, format!("up to date unless `{source}` brings something"))
                        }
                        None => match node {
                            Node::Predictor(_) => {
                                (Action::Keep, "its settings and its table are unchanged".into())
                            }
                            Node::Table(_) => (Action::Keep, "its SQL and its inputs are unchanged".into()),
                        },
                    },
                }
            }
            (None, node) => {
                let Some(table) = node.table() else { continue };
                let loads = workplace.lake.loads(&table.name).await?;
                let source = project.sources.get(&table.name);
                let why = match (source.and_then(|source| source.source.windows()), loads.last()) {
                    (Some(windows), _) => windows_due(workplace, windows, &loads)?,
                    (None, Some(last)) => format!(
                        "load {} of {} is the newest",
                        last.number,
                        last.created_at.format("%Y-%m-%d %H:%M UTC")
                    ),
                    (None, None) => "it has no load yet".into(),
                };
                (Action::Ask, why)
            }
        };
        match action {
            Action::Build => changing.push(node.clone()),
            Action::Ask | Action::Depends => asked.push(node.clone()),
            Action::Keep => {}
        }
        steps.push(PlannedStep { name: node.to_string(), kind: node.kind().step(), action, why });
    }
    Ok(steps)
}
