//! Tries what a run needs, before a run needs it.

use lagar_flow::Result;

use crate::workplace::Workplace;

/// One thing that was tried.
#[derive(Debug)]
pub struct Finding {
    pub what: &'static str,
    /// What was found, or why it does not work.
    pub result: Result<String>,
}

/// Tries all; a failure does not end the rest.
pub async fn doctor(workplace: &Workplace) -> Vec<Finding> {
    let project = &workplace.project;
    vec![
        Finding {
            what: "project",
            result: Ok(format!(
                "{}: {} sources, {} models, {} tests",
                project.name,
                project.sources.len(),
                project.models.len(),
                project.tests.iter().map(|test| test.cases.len()).sum::<usize>()
            )),
        },
        Finding { what: "lake", result: lake(workplace).await },
        Finding { what: "memory", result: memory(workplace) },
        Finding { what: "scratch", result: scratch(workplace) },
        Finding { what: "history", result: history(workplace).await },
    ]
}

async fn lake(workplace: &Workplace) -> Result<String> {
    workplace.lake.probe().await?;
    let release = workplace.lake.current_release().await?;
    let state =
        release.map_or("nothing released yet".to_owned(), |release| format!("release {}", release.number));
    Ok(format!("{}: put, put-if-absent, list and delete work; {state}", workplace.lake.url()))
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
