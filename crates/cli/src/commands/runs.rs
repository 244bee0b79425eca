use lagar_flow::{Error, Result, codes};
use lagar_orchestrate::History;

use crate::{
    args::{Global, RunsAction},
    output::{self, seconds, table::listing, thousands},
};

pub async fn run(global: &Global, action: Option<RunsAction>) -> Result<u8> {
    let workplace = super::open_to_read(global).await?;
    let history = workplace.history().await?;
    match action.unwrap_or(RunsAction::List { limit: 20 }) {
        RunsAction::List { limit } => list(global, &history, limit).await,
        RunsAction::Show { run } => show(global, &history, run.as_deref()).await,
    }
}

async fn list(global: &Global, history: &History, limit: u32) -> Result<u8> {
    let runs = history.runs(limit).await?;
    if global.json {
        output::stdout(&format!("{}\n", serde_json::json!(runs)));
        return Ok(0);
    }
    if runs.is_empty() {
        output::stdout("no run yet; `lagar run` makes one\n");
        return Ok(0);
    }
    let rows = runs
        .iter()
        .map(|run| {
            vec![
                run.run_id.clone(),
                run.status.clone(),
                run.started_at.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
                run.seconds.map_or(String::new(), seconds),
                run.release.map_or(String::new(), |release| release.to_string()),
            ]
        })
        .collect();
    output::stdout(&listing(&["run", "status", "started at", "time", "release"], rows, &[3, 4]));
    Ok(0)
}

async fn show(global: &Global, history: &History, run: Option<&str>) -> Result<u8> {
    let found = match run {
        Some(id) => history.run(id).await?,
        None => history.runs(1).await?.into_iter().next(),
    };
    let Some(found) = found else {
        return Err(Error::new(
            codes::USAGE,
            format!("there is no run {}", run.unwrap_or_default()).trim_end(),
        )
        .hint("`lagar runs` lists them"));
    };
    let steps = history.steps(&found.run_id).await?;
    if global.json {
        output::stdout(&format!("{}\n", serde_json::json!({"run": found, "steps": steps})));
        return Ok(0);
    }
    output::stdout(&format!("run {}: {}\n\n", found.run_id, found.status));
    let rows = steps
        .iter()
        .map(|step| {
            vec![
                step.name.clone(),
                step.status.clone(),
                thousands(step.rows_in),
                thousands(step.rows_out),
                thousands(step.rows_rejected),
                step.attempts.to_string(),
                seconds(step.seconds),
                step.error_message().map(str::to_owned).or_else(|| step.note.clone()).unwrap_or_default(),
            ]
        })
        .collect();
    let header = ["step", "status", "rows in", "rows out", "rejected", "attempts", "time", "note"];
    output::stdout(&listing(&header, rows, &[2, 3, 4, 5, 6]));
    Ok(0)
}
