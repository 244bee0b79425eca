use std::sync::Arc;

use lagar_flow::{Blame, Error, Result};
use lagar_orchestrate::{Report, RunOptions, Status, StepKind, Unwatched, Watcher};

use crate::{
    args::Global,
    output::{self, bytes, progress::Progress, seconds, table::listing, thousands},
    signals,
};

/// More than this nobody reads at the end of a run.
const EVENTS_SHOWN: usize = 20;

pub struct Options {
    pub select: Vec<String>,
    pub full_refresh: bool,
    pub partitions: Vec<(String, String)>,
    pub skip_exit_code: Option<u8>,
}

pub async fn run(global: &Global, options: Options) -> Result<u8> {
    let workplace = super::open(global).await?;
    let how =
        RunOptions { partitions: options.partitions, ..how(global, options.select, options.full_refresh)? };
    let report = lagar_orchestrate::run(&workplace, how).await?;
    tell(global, &report, &summary(&report))?;
    Ok(exit_code(&report, options.skip_exit_code))
}

/// How a run of this process goes.
pub(super) fn how(global: &Global, select: Vec<String>, full_refresh: bool) -> Result<RunOptions> {
    let watcher: Arc<dyn Watcher> =
        if global.quiet { Arc::new(Unwatched) } else { Arc::new(Progress::new()) };
    Ok(RunOptions {
        select,
        full_refresh,
        partitions: Vec::new(),
        retry: Default::default(),
        // Only the jitter between retries hangs on it: two machines must not knock in step.
        seed: u64::from(std::process::id()),
        cancel: signals::stop_on_signal()?,
        watcher,
    })
}

/// Prints what came of a run.
pub(super) fn tell(global: &Global, report: &Report, summary: &str) -> Result<()> {
    // The steps themselves said what went wrong when they ended; the release is no step of its own.
    for step in report.steps.iter().filter(|step| step.status == Status::Failed) {
        match &step.error {
            Some(error) if step.kind == StepKind::Release => output::print_error(error),
            Some(error) if global.quiet => output::print_error(&error.clone().context(&step.name)),
            _ => {}
        }
    }
    if !global.quiet {
        eprint!("{summary}{}{}", warnings(report), events(report));
    }
    for warning in &report.warnings {
        output::warn(warning);
    }
    if global.json {
        let line = serde_json::to_string(report)
            .map_err(|error| Error::bug("the report cannot be written as JSON").caused_by(&error))?;
        output::stdout(&format!("{line}\n"));
    }
    Ok(())
}

pub(super) fn exit_code(report: &Report, nothing_new: Option<u8>) -> u8 {
    match report.status {
        Status::Ok => 0,
        Status::NothingNew => nothing_new.unwrap_or(0),
        Status::Failed | Status::Skipped | Status::UpstreamFailed => match report.worst_error() {
            // A model's SQL is wrong only once a run meets the data: something did run, so not 2.
            Some(error) if error.blame() == Blame::Usage => output::EXIT_FAILED,
            Some(error) => output::exit_code(error),
            None => output::EXIT_FAILED,
        },
    }
}

pub(super) fn stopped(report: &Report) -> bool {
    report.worst_error().is_some_and(|error| error.blame() == Blame::Stopped)
}

/// One line for each check of severity `warn` that some rows fail.
fn warnings(report: &Report) -> String {
    let checks = report.steps.iter().flat_map(|step| step.checks.iter().map(move |check| (step, check)));
    let warning = output::style("33").paint("warning:");
    checks
        .filter(|(_, check)| check.rows_failed > 0 && check.severity == "warn")
        .map(|(step, check)| {
            format!(
                "{warning} check {} of {}: {} of {} rows\n",
                output::clean(&check.name),
                step.name,
                thousands(check.rows_failed),
                thousands(check.rows_tested)
            )
        })
        .collect()
}

/// One line an event, of the first ones.
fn events(report: &Report) -> String {
    // What many columns have in common is told in one line, and of each column once.
    let mut lines: Vec<(String, &str, Vec<String>)> = Vec::new();
    for event in report.steps.iter().flat_map(|step| &step.events) {
        let what = output::clean(&event.to_string());
        let common =
            [" is new", " is missing"].into_iter().find_map(|end| Some((what.strip_suffix(end)?, end)));
        let (column, end) = common.unwrap_or((&what, ""));
        let line = lines
            .iter_mut()
            .find(|(table, known, _)| *table == event.table && *known == end && !end.is_empty());
        match line {
            Some((_, _, columns)) if columns.iter().any(|known| known == column) => {}
            Some((_, _, columns)) => columns.push(column.to_owned()),
            None => lines.push((event.table.clone(), end, vec![column.to_owned()])),
        }
    }
    let mut text = String::new();
    for (table, end, columns) in lines.iter().take(EVENTS_SHOWN) {
        let end = if columns.len() > 1 { end.replace(" is ", " are ") } else { (*end).to_owned() };
        text.push_str(&format!("{table}: {}{end}\n", columns.join(", ")));
    }
    if lines.len() > EVENTS_SHOWN {
        let more = output::counted((lines.len() - EVENTS_SHOWN) as u64, "more event");
        text.push_str(&format!(
            "{more}: lagar sql \"SELECT * FROM system.events WHERE run_id = '{}'\"\n",
            report.run_id
        ));
    }
    text
}

/// The final table and what became visible.
pub(super) fn summary(report: &Report) -> String {
    let rows = report
        .steps
        .iter()
        .map(|step| {
            let count = |number: u64| if number == 0 { "-".to_owned() } else { thousands(number) };
            vec![
                step.name.clone(),
                step.status.as_str().replace('_', " "),
                count(step.rows_in),
                count(step.rows_out),
                count(step.rows_rejected),
                if step.bytes_out == 0 { "-".into() } else { bytes(step.bytes_out) },
                step.version.map_or("-".into(), |version| version.to_string()),
                seconds(step.seconds),
            ]
        })
        .collect();
    let mut text = String::from("\n");
    let header = ["step", "status", "rows in", "rows out", "rejected", "bytes", "version", "time"];
    text.push_str(&listing(&header, rows, &[2, 3, 4, 5, 6, 7]));
    let time = seconds(report.seconds);
    text.push_str(&match (report.status, report.release) {
        (Status::NothingNew, _) => {
            format!("\nnothing new: every source and table is up to date; no release was made ({time})\n")
        }
        (_, Some(release)) => format!("\nreleased as {release} in {time}\n"),
        (Status::Ok, None) => format!("\ndone in {time}; readers see the same tables as before\n"),
        (_, None) if stopped(report) => format!("\nstopped after {time}; run again to go on\n"),
        (_, None) => {
            format!("\nfailed after {time}; nothing was released, readers see the same tables as before\n")
        }
    });
    text
}
