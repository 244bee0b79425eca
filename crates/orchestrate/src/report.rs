//! What a run did, as people and scripts read it.

use std::collections::BTreeMap;

use lagar_flow::{Blame, Error, Event};
use serde::Serialize;

/// How a run or a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Ok,
    /// All was up to date; nothing was written.
    NothingNew,
    Failed,
    /// Not done, because the run was asked to stop.
    Skipped,
    /// Not done, because a step that it needs failed.
    UpstreamFailed,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::NothingNew => "nothing_new",
            Status::Failed => "failed",
            Status::Skipped => "skipped",
            Status::UpstreamFailed => "upstream_failed",
        }
    }

    /// The step's table can be read by the steps behind it.
    pub fn is_good(self) -> bool {
        matches!(self, Status::Ok | Status::NothingNew)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    Load,
    Model,
    Predictor,
    /// Publishing the tables; it only stands in a report when it failed.
    Release,
}

impl StepKind {
    pub fn as_str(self) -> &'static str {
        match self {
            StepKind::Load => "load",
            StepKind::Model => "model",
            StepKind::Predictor => "predictor",
            StepKind::Release => "release",
        }
    }
}

/// One step of a run. For a load `rows_in = rows_out + rows_rejected`; a model counts the rows that it
/// scanned and the rows that it made.
#[derive(Debug, Clone, Serialize)]
pub struct StepReport {
    pub name: String,
    pub kind: StepKind,
    pub status: Status,
    pub attempts: u32,
    pub seconds: f64,
    pub rows_in: u64,
    pub rows_out: u64,
    pub rows_rejected: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Number of the load, version of the table.
    pub version: Option<u64>,
    pub peak_memory_bytes: u64,
    pub spilled_bytes: u64,
    /// Why nothing was done, and what a person should know ("2 zero dates are null now").
    pub notes: Vec<String>,
    pub checks: Vec<CheckReport>,
    /// Of a source that is read by windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<WindowCounts>,
    /// What happened to its table that is no error: see [`lagar_flow::EventKind`].
    pub events: Vec<Event>,
    #[serde(flatten)]
    pub provenance: Provenance,
    #[serde(serialize_with = "error_json")]
    pub error: Option<Error>,
}

/// What became of the windows of a source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct WindowCounts {
    /// To be read, when the step began.
    pub due: u64,
    /// Read, with a new load each.
    pub loaded: u64,
    /// Of those, without a row.
    pub empty: u64,
    /// Read, with nothing new.
    pub unchanged: u64,
}

impl WindowCounts {
    /// Due and not read, because the step ended before.
    pub fn left(&self) -> u64 {
        self.due - self.loaded - self.unchanged
    }
}

/// By what a step's result can be explained later, or made again.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Provenance {
    /// The load numbers and table versions that it read.
    pub inputs: BTreeMap<String, u64>,
    /// What the run was asked for: `select`, `full_refresh`, `vars`, and `config`, the hash of the merged
    /// project file. No secret is in it.
    pub parameters: serde_json::Value,
    /// The git commit that the project was at; `None` where there is none.
    pub code_version: Option<String>,
    /// Of a model: the hash of its SQL and front matter, which also tells what is in no commit yet.
    pub code_hash: Option<String>,
    /// The hash of the columns and types that were written; `None` if nothing was.
    pub schema_hash: Option<String>,
    /// The name of the machine.
    pub machine: Option<String>,
}

impl Provenance {
    /// Adds what is the same for all steps of a run.
    pub(crate) fn complete(&mut self, of_run: &Provenance) {
        self.parameters = of_run.parameters.clone();
        self.code_version = of_run.code_version.clone();
        self.machine = of_run.machine.clone();
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct CheckReport {
    pub name: String,
    pub severity: String,
    pub rows_tested: u64,
    pub rows_failed: u64,
    /// Up to five failing rows.
    pub sample: Vec<serde_json::Value>,
}

impl StepReport {
    pub fn new(name: impl Into<String>, kind: StepKind) -> Self {
        Self {
            name: name.into(),
            kind,
            status: Status::Ok,
            attempts: 1,
            seconds: 0.0,
            rows_in: 0,
            rows_out: 0,
            rows_rejected: 0,
            bytes_in: 0,
            bytes_out: 0,
            version: None,
            peak_memory_bytes: 0,
            spilled_bytes: 0,
            notes: Vec::new(),
            checks: Vec::new(),
            windows: None,
            events: Vec::new(),
            provenance: Provenance::default(),
            error: None,
        }
    }

    pub fn nothing_new(mut self, why: impl Into<String>) -> Self {
        self.status = Status::NothingNew;
        self.notes.push(why.into());
        self
    }

    /// What was counted so far stays in the report: it is what a person starts from.
    pub fn failed(mut self, error: Error) -> Self {
        self.status = if error.blame() == Blame::Stopped { Status::Skipped } else { Status::Failed };
        self.error = Some(error);
        self
    }
}

/// The whole run; its JSON is the last line of stdout with `--json`.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub run_id: String,
    pub project: String,
    pub status: Status,
    /// The release that this run published; `None` if it published none.
    pub release: Option<u64>,
    pub seconds: f64,
    pub steps: Vec<StepReport>,
    /// What went wrong outside the steps and did not fail the run (the history, for one).
    pub warnings: Vec<String>,
}

impl Report {
    /// The error that decides the exit code: a defect of ours before wrong data before what may pass by
    /// itself, so that 75 ("try again") is only said when trying again may be enough. Steps that only
    /// failed because another one did have no say.
    pub fn worst_error(&self) -> Option<&Error> {
        let rank = |error: &Error| match error.blame() {
            // It stops the other steps, too.
            Blame::Lagar => 0,
            Blame::Stopped => 1,
            Blame::Usage => 2,
            Blame::Data => 3,
            Blame::Outside => 4,
        };
        let told = self.steps.iter().filter(|step| step.status != Status::UpstreamFailed);
        told.filter_map(|step| step.error.as_ref()).min_by_key(|error| rank(error))
    }
}

fn error_json<S: serde::Serializer>(error: &Option<Error>, serializer: S) -> Result<S::Ok, S::Error> {
    error.as_ref().map(Error::to_json).serialize(serializer)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use lagar_flow::codes;

    #[test]
    fn exit_75_only_when_nothing_worse_happened() {
        let step = |code| StepReport::new("raw.a", StepKind::Load).failed(Error::new(code, "x"));
        let mut report = Report {
            run_id: "r".into(),
            project: "p".into(),
            status: Status::Failed,
            release: None,
            seconds: 0.0,
            steps: vec![step(codes::HTTP_TEMPORARY)],
            warnings: vec![],
        };
        assert_eq!(report.worst_error().unwrap().blame(), Blame::Outside);
        report.steps.push(step(codes::CHECK_FAILED));
        assert_eq!(report.worst_error().unwrap().blame(), Blame::Data);
        // What a defect stopped was stopped by nobody.
        report.steps.push(step(codes::STOPPED));
        report.steps.push(StepReport::new("run", StepKind::Release).failed(Error::bug("x")));
        assert_eq!(report.worst_error().unwrap().blame(), Blame::Lagar);
    }
}
