use lagar_flow::Result;
use lagar_orchestrate::{BackfillOptions, Report, Status, WindowCounts};

use super::run::{exit_code, how, stopped, tell};
use crate::{
    args::Global,
    output::{counted, seconds, thousands},
};

pub async fn run(global: &Global, what: BackfillOptions) -> Result<u8> {
    let workplace = super::open(global).await?;
    let options = how(global, Vec::new(), false)?;
    let report = lagar_orchestrate::backfill(&workplace, what, options).await?;
    tell(global, &report, &summary(&report))?;
    Ok(exit_code(&report, None))
}

fn summary(report: &Report) -> String {
    let time = seconds(report.seconds);
    let step = report.steps.first();
    let counts = step.and_then(|step| step.windows).unwrap_or_default();
    let WindowCounts { due, loaded, unchanged, .. } = counts;
    let windows = |count: u64| counted(count, "window");
    let left = windows(counts.left());
    match report.status {
        Status::Failed if stopped(report) => {
            format!("\nstopped after {time}, {left} left; the same command goes on\n")
        }
        Status::Ok => {
            let rows = thousands(step.map_or(0, |step| step.rows_out));
            format!("\n{rows} rows of {} in {time}; now: lagar run\n", windows(loaded))
        }
        Status::NothingNew if due == 0 => {
            format!("\nnothing to do: every window of these days that is over is there ({time})\n")
        }
        Status::NothingNew => format!("\nnothing new: {} unchanged ({time})\n", windows(unchanged)),
        _ => format!("\nfailed after {time}, {left} left; the same command goes on\n"),
    }
}
