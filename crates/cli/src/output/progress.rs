//! How a run looks while it goes on: bars on a terminal, one plain line a step elsewhere.

use std::{
    collections::BTreeMap,
    io::IsTerminal,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use lagar_flow::Error;
use lagar_orchestrate::{Status, StepKind, StepReport, Watcher};

use super::{bytes, clean, print_error, seconds, style, thousands};

/// Without a terminal a long step says every so often that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// And one that knows how far it is says that.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// Prints steps to stderr.
pub struct Progress {
    bars: Option<MultiProgress>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    total: usize,
    done: usize,
    running: BTreeMap<String, Running>,
}

struct Running {
    started: Instant,
    bar: Option<ProgressBar>,
    /// When a line said last how far it is.
    told: Option<Instant>,
}

impl Progress {
    /// Bars if stderr is a terminal, lines otherwise.
    pub fn new() -> Self {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        let state = Arc::new(Mutex::new(State::default()));
        if bars.is_none() {
            tokio::spawn(heartbeat(Arc::downgrade(&state)));
        }
        Self { bars, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn line(&self, text: String) {
        match &self.bars {
            Some(bars) => bars.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }
}

async fn heartbeat(state: std::sync::Weak<Mutex<State>>) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let Some(state) = state.upgrade() else { return };
        let state = state.lock().unwrap_or_else(|e| e.into_inner());
        // Whoever told how far it is a moment ago is known to run.
        let is_silent = |running: &Running| running.told.is_none_or(|told| told.elapsed() >= HEARTBEAT);
        for (name, running) in state.running.iter().filter(|(_, running)| is_silent(running)) {
            eprintln!("  … {name} is running since {}", seconds(running.started.elapsed().as_secs_f64()));
        }
    }
}

impl Watcher for Progress {
    fn run_started(&self, steps: usize) {
        self.state().total = steps;
    }

    fn step_started(&self, name: &str, _kind: StepKind) {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg}  {elapsed}") {
                bar.set_style(style);
            }
            bar.set_message(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        self.state().running.insert(name.to_owned(), Running { started: Instant::now(), bar, told: None });
    }

    fn step_retried(&self, name: &str, attempt: u32, error: &Error) {
        self.line(format!(
            "  {} {name}: attempt {attempt} failed, once more: {}",
            style("33").paint("↻"),
            clean(error.message())
        ));
    }

    fn step_progressed(&self, name: &str, done: usize, total: usize) {
        let mut state = self.state();
        let Some(running) = state.running.get_mut(name) else { return };
        let text = format!("{done} of {total} windows{}", left(running.started.elapsed(), done, total));
        match &running.bar {
            Some(bar) => {
                bar.set_length(total as u64);
                bar.set_position(done as u64);
                bar.set_message(format!("{name}  {text}"));
                if done == 1
                    && let Ok(style) = ProgressStyle::with_template("  {spinner} {bar:20} {msg}  {elapsed}")
                {
                    bar.set_style(style);
                }
            }
            None if done < total && running.told.unwrap_or(running.started).elapsed() >= TOLD_EVERY => {
                running.told = Some(Instant::now());
                eprintln!("  … {name}: {text}");
            }
            None => {}
        }
    }

    fn step_finished(&self, report: &StepReport) {
        let (done, total) = {
            let mut state = self.state();
            if let Some(Running { bar: Some(bar), .. }) = state.running.remove(&report.name) {
                bar.finish_and_clear();
            }
            state.done += 1;
            (state.done, state.total)
        };
        let mark = match report.status {
            Status::Ok => style("32").paint("✓"),
            Status::NothingNew => style("2").paint("="),
            Status::Failed => style("1;31").paint("✗"),
            Status::Skipped | Status::UpstreamFailed => style("33").paint("-"),
        };
        let width = total.to_string().len();
        self.line(format!("[{done:>width$}/{total}] {mark} {:<32} {}", report.name, summary(report)));
        if let (Some(error), Status::Failed) = (&report.error, report.status) {
            match &self.bars {
                Some(bars) => bars.suspend(|| print_error(error)),
                None => print_error(error),
            }
        }
    }
}

/// How long the rest will take, if it goes on like this.
fn left(elapsed: Duration, done: usize, total: usize) -> String {
    let rest = total.saturating_sub(done);
    if done == 0 || rest == 0 {
        return String::new();
    }
    format!(", about {} left", seconds(elapsed.as_secs_f64() / done as f64 * rest as f64))
}

/// One line about a step that ended.
fn summary(report: &StepReport) -> String {
    let notes = report.notes.iter().map(|note| clean(note)).collect::<Vec<_>>().join("; ");
    match report.status {
        Status::Ok => {
            let mut text = format!("{} rows", thousands(report.rows_out));
            if report.rows_rejected > 0 {
                text.push_str(&format!(", {} rejected", thousands(report.rows_rejected)));
            }
            if report.bytes_out > 0 {
                text.push_str(&format!(", {}", bytes(report.bytes_out)));
            }
            text.push_str(&format!(", {}", seconds(report.seconds)));
            if !notes.is_empty() {
                text.push_str(&format!(" ({notes})"));
            }
            text
        }
        Status::NothingNew => format!("nothing new: {notes}"),
        Status::Failed if report.windows.is_some() => {
            format!("failed after {} ({notes})", seconds(report.seconds))
        }
        Status::Failed => format!("failed after {}", seconds(report.seconds)),
        Status::Skipped => "not done: the run was asked to stop".into(),
        Status::UpstreamFailed => {
            format!("not done: {}", report.error.as_ref().map(|error| error.message()).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_that_of_the_parts_so_far() {
        assert_eq!(left(Duration::from_secs(10), 10, 70), format!(", about {} left", seconds(60.0)));
        assert_eq!(left(Duration::from_secs(10), 10, 10), "");
        assert_eq!(left(Duration::from_secs(10), 0, 10), "");
    }
}
