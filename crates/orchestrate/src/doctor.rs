//! Tries what a run needs, before a run needs it.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use futures::future::join_all;
use lagar_connectors::Cx;
use lagar_flow::{Error, Result, codes};
use tokio_util::sync::CancellationToken;

use crate::{project::SourceDef, workplace::Workplace};

/// Each source has this long to show that it is there.
const SOURCE_WITHIN: Duration = Duration::from_secs(10);

/// One thing that was tried.
#[derive(Debug)]
pub struct Finding {
    /// "memory", "lake: put", "source orders"
    pub what: String,
    /// What was found, or why it does not work.
    pub result: Result<String>,
}

impl Finding {
    fn new(what: impl Into<String>, result: Result<String>) -> Self {
        Self { what: what.into(), result }
    }
}

/// Tries all, the lake and the sources at once; a failure does not end the rest.
pub async fn doctor(workplace: &Workplace) -> Vec<Finding> {
    let (lake, history, sources) = tokio::join!(lake(workplace), history(workplace), sources(workplace));
    let mut findings = vec![Finding::new("project", Ok(project(workplace)))];
    findings.extend(lake);
    findings.push(Finding::new("memory", memory(workplace)));
    findings.push(Finding::new("scratch", scratch(workplace)));
    findings.push(Finding::new("history", history));
    findings.extend(sources);
    let secrets = &workplace.project.secrets;
    for finding in &mut findings {
        let found = std::mem::replace(&mut finding.result, Ok(String::new()));
        finding.result = found.map(|text| secrets.text(&text)).map_err(|error| error.without(secrets));
    }
    findings
}

fn project(workplace: &Workplace) -> String {
    let project = &workplace.project;
    format!(
        "{}: {} sources, {} models, {} tests",
        project.name,
        project.sources.len(),
        project.models.len(),
        project.tests.iter().map(|test| test.cases.len()).sum::<usize>()
    )
}

async fn lake(workplace: &Workplace) -> Vec<Finding> {
    let lake = &workplace.lake;
    let mut findings = Vec::new();
    if let Some(access) = lake.access().await {
        let failed = access.is_err();
        findings.push(Finding::new("credentials", access.map(|access| access.to_string())));
        if failed {
            return findings; // everything else would only repeat it
        }
    }
    let trials = lake.try_store().await;
    findings.extend(trials.into_iter().map(|trial| {
        Finding::new(format!("lake: {}", trial.what), trial.result.map(|()| "works".to_owned()))
    }));
    let released = lake.current_release().await.map(|release| match release {
        Some(release) => format!("{}: release {}", lake.url(), release.number),
        None => format!("{}: nothing released yet", lake.url()),
    });
    findings.push(Finding::new("lake", released));
    findings
}

fn memory(workplace: &Workplace) -> Result<String> {
    let limits = &workplace.project.limits;
    let bytes = limits.memory.unwrap_or_else(lagar_engine::default_memory_bytes);
    let from = if limits.memory.is_some() {
        "limits.memory"
    } else {
        "60 % of what this machine or container may use"
    };
    Ok(format!(
        "{} MiB for queries ({from}), {} threads, {} steps at a time",
        bytes >> 20,
        limits.threads,
        limits.concurrency
    ))
}

fn scratch(workplace: &Workplace) -> Result<String> {
    let scratch = workplace.scratch()?;
    let parent = scratch.path().parent().unwrap_or(scratch.path()).display().to_string();
    Ok(format!(
        "{parent} takes temporary files, up to {} MiB of them spilled",
        workplace.project.limits.spill >> 20
    ))
}

async fn history(workplace: &Workplace) -> Result<String> {
    let runs = workplace.history().await?.runs(1).await?;
    match runs.first() {
        Some(run) => Ok(format!("the newest run is {} ({})", run.run_id, run.status)),
        None => Ok("no run yet".into()),
    }
}

/// All sources at once.
async fn sources(workplace: &Workplace) -> Vec<Finding> {
    let project = &workplace.project;
    let cx = Cx {
        clock: workplace.clock.clone(),
        project_dir: project.dir.clone(),
        spool_dir: PathBuf::new(), // nothing is read
        stores: workplace.stores(),
        columns: BTreeMap::new(),
        known: None,
        schema: Default::default(),
        secrets: project.secrets.clone(),
        seed: 0,
        cancel: CancellationToken::new(),
    };
    join_all(project.sources.values().map(|source| probe(source, &cx))).await
}

async fn probe(source: &SourceDef, cx: &Cx) -> Finding {
    let probed = tokio::time::timeout(SOURCE_WITHIN, source.source.probe(cx)).await;
    let late = |_| {
        let (address, seconds) = (source.source.address(), SOURCE_WITHIN.as_secs());
        Err(Error::new(codes::DEADLINE, format!("{address}: no answer within {seconds} s")))
    };
    Finding::new(format!("source {}", source.name), probed.unwrap_or_else(late))
}
