//! A part of the past of one source: the windows of some days that are missing, or all of them.

use std::time::Instant;

use chrono::NaiveDate;
use lagar_engine::suggest;
use lagar_flow::{Error, Result, codes};

use crate::{
    lock::RunLock,
    project::SourceDef,
    report::{Report, StepKind, StepReport},
    run::{Context, RunOptions, finish, note_failure, status_of},
    windows::{How, Standing, read, refuse_other_windows, windows_text},
    workplace::Workplace,
};

/// What to read.
#[derive(Debug, Clone)]
pub struct BackfillOptions {
    /// `complaints` or `raw.complaints`.
    pub source: String,
    /// The first day,
    pub from: NaiveDate,
    /// and the last one.
    pub to: NaiveDate,
    /// So many windows are fetched at once.
    pub parallel: usize,
    /// Also windows that were read before.
    pub force: bool,
}

/// Reads the windows of some days, one load each, and records it. No model is built.
///
/// # Errors
/// Only what keeps it from starting: there is no such source, it has no windows, the days are the wrong way
/// round. What happens while it reads stands in the [`Report`].
pub async fn backfill(workplace: &Workplace, what: BackfillOptions, options: RunOptions) -> Result<Report> {
    let started = Instant::now();
    let project = workplace.project.clone();
    let source = find(workplace, &what.source)?;
    let Some(windows) = source.source.windows() else {
        let message = format!("`{}` is not read by windows", source.name);
        return Err(
            Error::new(codes::USAGE, message).hint("a source with `window:` is; see `lagar connectors rest`")
        );
    };
    if what.to < what.from {
        let message = format!("--from {} is after --to {}", what.from, what.to);
        return Err(Error::new(codes::USAGE, message).hint("both days are read, the first and the last"));
    }
    let _lock = match project.state_dir() {
        Ok(dir) => RunLock::take(&dir, workplace.clock.now())?,
        Err(_) => None,
    };
    let scratch = workplace.scratch()?;
    let engine = workplace.engine(&scratch)?;
    let run_id = uuid::Uuid::now_v7().to_string();
    let mut context = Context::new(workplace, &scratch, engine, &options, &run_id).await?;
    context.provenance.parameters["backfill"] = serde_json::json!({
        "source": source.name.as_str(), "from": what.from.to_string(), "to": what.to.to_string(),
        "parallel": what.parallel, "force": what.force,
    });

    let mut warnings = Vec::new();
    let history = note_failure(&mut warnings, workplace.history().await);
    if let Some(history) = &history {
        let begun =
            history.start_run(&run_id, project.name.as_str(), "backfill", workplace.clock.now()).await;
        note_failure(&mut warnings, begun);
    }

    let mut step = StepReport::new(format!("raw.{}", source.name), StepKind::Load);
    context.watcher.run_started(1);
    context.watcher.step_started(&step.name, step.kind);
    let filled = async {
        let loads = workplace.lake.loads(&source.name).await?;
        if !what.force {
            refuse_other_windows(source, windows, &loads)?;
        }
        let standing = Standing::new(windows, &loads, project.timezone, workplace.clock.now());
        let (due, open) = standing.between(what.from, what.to, what.force)?;
        let how = How { at_once: what.parallel, earlier_read_at: None };
        let done = read(&context, source, loads.last().cloned(), due, how, &mut step).await;
        if open > 0 {
            step.notes.push(format!("{} not over yet, and not read", windows_text(open as u64)));
        }
        done
    };
    let filled = filled.await;
    step.seconds = started.elapsed().as_secs_f64();
    if let Err(error) = filled {
        step = step.failed(error);
    }
    let mut steps = Vec::new();
    finish(step, &options.watcher, history.as_ref(), &context, &mut warnings, &mut steps).await;

    let mut report = Report {
        run_id,
        project: project.name.to_string(),
        status: status_of(&steps),
        release: None,
        seconds: started.elapsed().as_secs_f64(),
        steps,
        warnings,
    };
    if let Some(history) = &history {
        let ended = history.end_run(&report, workplace.clock.now()).await;
        note_failure(&mut report.warnings, ended);
        history.close().await;
    }
    Ok(report)
}

/// The source that is called `name`, with or without its zone.
fn find<'a>(workplace: &'a Workplace, name: &str) -> Result<&'a SourceDef> {
    let sources = &workplace.project.sources;
    let bare = name.strip_prefix("raw.").unwrap_or(name);
    sources.values().find(|source| source.name.as_str() == bare).ok_or_else(|| {
        let error = Error::new(codes::SELECTION, format!("there is no source `{name}`"));
        match suggest::hint(bare, sources.keys().map(lagar_flow::Name::as_str)) {
            Some(hint) => error.hint(hint),
            None => error.hint("`lagar ls` lists the sources"),
        }
    })
}
