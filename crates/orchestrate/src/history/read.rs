//! Reading the history.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use lagar_flow::{Error, Result, codes};
use serde::Serialize;
use serde_json::Value;
use sqlx::{Row, sqlite::SqliteRow};

use super::{
    History, INTERRUPTED, RUNNING,
    process::{Life, Process},
};
use crate::report::Provenance;

/// A run on another machine cannot be asked whether it lives; after this long it is not waited for.
const ELSEWHERE_MAX: TimeDelta = TimeDelta::hours(24);

const RUN_COLUMNS: &str = "SELECT run_id, project, command, status, started_at, ended_at, seconds, release, lagar_version, error_json, host, pid, process_started FROM runs";

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunRecord {
    pub run_id: String,
    pub project: String,
    /// The command that made it.
    pub command: String,
    /// `ok`, `nothing_new`, `failed`, `skipped` as in the report; `running`, `interrupted`.
    pub status: String,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    pub seconds: Option<f64>,
    /// The release that it published.
    pub release: Option<u64>,
    pub lagar_version: String,
    /// `{code,message,hint,file,line,column}`
    pub error: Option<Value>,
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepRecord {
    pub run_id: String,
    pub name: String,
    pub kind: String,
    pub status: String,
    pub attempts: u32,
    pub started_at: DateTime<Utc>,
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
    pub note: Option<String>,
    /// `{code,message,hint,file,line,column}`
    pub error: Option<Value>,
    #[serde(flatten)]
    pub provenance: Provenance,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckRecord {
    pub run_id: String,
    pub table_name: String,
    pub check_name: String,
    pub severity: String,
    pub rows_tested: u64,
    pub rows_failed: u64,
    /// Some of the failing rows.
    pub sample: Vec<Value>,
}

impl RunRecord {
    /// What went wrong, in words.
    pub fn error_message(&self) -> Option<&str> {
        self.error.as_ref()?.get("message")?.as_str()
    }
}

impl StepRecord {
    /// What went wrong, in words.
    pub fn error_message(&self) -> Option<&str> {
        self.error.as_ref()?.get("message")?.as_str()
    }
}

impl History {
    /// The newest runs first, `limit` at most.
    ///
    /// # Errors
    /// [`codes::HISTORY`]
    pub async fn runs(&self, limit: u32) -> Result<Vec<RunRecord>> {
        let sql = sqlx::AssertSqlSafe(format!("{RUN_COLUMNS} ORDER BY started_at DESC, run_id DESC LIMIT ?"));
        let rows = sqlx::query(sql).bind(i64::from(limit)).fetch_all(&self.pool).await;
        rows.and_then(|rows| rows.iter().map(run_record).collect())
            .map_err(|e| self.failed("cannot be read", &e))
    }

    /// The run whose id is `id`, or begins with it; `None` if there is none.
    ///
    /// # Errors
    /// [`codes::USAGE`] if several ids begin so, [`codes::HISTORY`]
    pub async fn run(&self, id: &str) -> Result<Option<RunRecord>> {
        let sql = sqlx::AssertSqlSafe(format!(
            "{RUN_COLUMNS} WHERE substr(run_id, 1, length(?1)) = ?1 ORDER BY run_id = ?1 DESC, started_at DESC LIMIT 4"
        ));
        let rows = sqlx::query(sql).bind(id).fetch_all(&self.pool).await;
        let mut runs: Vec<RunRecord> = rows
            .and_then(|rows| rows.iter().map(run_record).collect())
            .map_err(|e| self.failed("cannot be read", &e))?;
        if runs.len() > 1 && runs[0].run_id != id {
            let ids: Vec<&str> = runs.iter().map(|run| run.run_id.as_str()).collect();
            return Err(Error::new(codes::USAGE, format!("more than one run begins with `{id}`"))
                .hint(format!("write more of it: {}", ids.join(", "))));
        }
        runs.truncate(1);
        Ok(runs.pop())
    }

    /// The steps of a run, in the order in which they began.
    ///
    /// # Errors
    /// [`codes::HISTORY`]
    pub async fn steps(&self, run_id: &str) -> Result<Vec<StepRecord>> {
        let rows = sqlx::query("SELECT * FROM steps WHERE run_id = ? ORDER BY started_at, rowid")
            .bind(run_id)
            .fetch_all(&self.pool)
            .await;
        rows.and_then(|rows| rows.iter().map(step_record).collect())
            .map_err(|e| self.failed("cannot be read", &e))
    }

    /// The checks of a run, in the order in which they were made.
    ///
    /// # Errors
    /// [`codes::HISTORY`]
    pub async fn checks(&self, run_id: &str) -> Result<Vec<CheckRecord>> {
        let rows = sqlx::query("SELECT * FROM checks WHERE run_id = ? ORDER BY rowid")
            .bind(run_id)
            .fetch_all(&self.pool)
            .await;
        rows.and_then(|rows| rows.iter().map(check_record).collect())
            .map_err(|e| self.failed("cannot be read", &e))
    }

    /// The newest record of every step, by its name. A step that was not begun has none.
    ///
    /// # Errors
    /// [`codes::HISTORY`]
    pub async fn newest_steps(&self) -> Result<BTreeMap<String, StepRecord>> {
        let newest = "SELECT * FROM steps AS step WHERE attempts > 0 AND rowid = (
            SELECT rowid FROM steps WHERE name = step.name AND attempts > 0 ORDER BY started_at DESC, rowid DESC LIMIT 1)";
        let rows = sqlx::query(newest).fetch_all(&self.pool).await;
        let steps: Result<Vec<StepRecord>, _> = rows.and_then(|rows| rows.iter().map(step_record).collect());
        let steps = steps.map_err(|e| self.failed("cannot be read", &e))?;
        Ok(steps.into_iter().map(|step| (step.name.clone(), step)).collect())
    }

    pub(super) async fn all_steps(&self) -> Result<Vec<StepRecord>> {
        let rows = sqlx::query("SELECT * FROM steps ORDER BY started_at, rowid").fetch_all(&self.pool).await;
        rows.and_then(|rows| rows.iter().map(step_record).collect())
            .map_err(|e| self.failed("cannot be read", &e))
    }

    pub(super) async fn all_checks(&self) -> Result<Vec<CheckRecord>> {
        let rows = sqlx::query("SELECT * FROM checks ORDER BY rowid").fetch_all(&self.pool).await;
        rows.and_then(|rows| rows.iter().map(check_record).collect())
            .map_err(|e| self.failed("cannot be read", &e))
    }
}

fn run_record(row: &SqliteRow) -> Result<RunRecord, sqlx::Error> {
    let started_at = time(row, "started_at")?;
    let mut status: String = row.try_get("status")?;
    if status == RUNNING && is_over(row, started_at)? {
        status = INTERRUPTED.to_owned();
    }
    Ok(RunRecord {
        run_id: row.try_get("run_id")?,
        project: row.try_get("project")?,
        command: row.try_get("command")?,
        status,
        started_at,
        ended_at: optional_time(row, "ended_at")?,
        seconds: row.try_get("seconds")?,
        release: optional_count(row, "release")?,
        lagar_version: row.try_get("lagar_version")?,
        error: json(row, "error_json")?,
    })
}

/// A run that is marked as running and cannot be.
fn is_over(row: &SqliteRow, started_at: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    let host: Option<String> = row.try_get("host")?;
    let pid: Option<i64> = row.try_get("pid")?;
    let started: Option<String> = row.try_get("process_started")?;
    let (Some(host), Some(Ok(pid)), Some(started)) = (host, pid.map(u32::try_from), started) else {
        return Ok(true);
    };
    Ok(match (Process { host, pid, started }).life() {
        Life::Alive => false,
        Life::Gone => true,
        Life::Elsewhere => Utc::now() - started_at > ELSEWHERE_MAX,
    })
}

fn step_record(row: &SqliteRow) -> Result<StepRecord, sqlx::Error> {
    Ok(StepRecord {
        run_id: row.try_get("run_id")?,
        name: row.try_get("name")?,
        kind: row.try_get("kind")?,
        status: row.try_get("status")?,
        attempts: u32::try_from(count(row, "attempts")?).unwrap_or(u32::MAX),
        started_at: time(row, "started_at")?,
        seconds: row.try_get("seconds")?,
        rows_in: count(row, "rows_in")?,
        rows_out: count(row, "rows_out")?,
        rows_rejected: count(row, "rows_rejected")?,
        bytes_in: count(row, "bytes_in")?,
        bytes_out: count(row, "bytes_out")?,
        version: optional_count(row, "version")?,
        peak_memory_bytes: count(row, "peak_memory_bytes")?,
        spilled_bytes: count(row, "spilled_bytes")?,
        note: row.try_get("note")?,
        error: json(row, "error_json")?,
        provenance: provenance(row)?,
    })
}

fn provenance(row: &SqliteRow) -> Result<Provenance, sqlx::Error> {
    let inputs = json(row, "inputs_json")?.unwrap_or_else(|| Value::Object(Default::default()));
    Ok(Provenance {
        inputs: serde_json::from_value(inputs).map_err(|e| wrong("inputs_json", e))?,
        parameters: json(row, "parameters_json")?.unwrap_or_default(),
        code_version: row.try_get("code_version")?,
        code_hash: row.try_get("code_hash")?,
        schema_hash: row.try_get("schema_hash")?,
        machine: row.try_get("machine")?,
    })
}

fn check_record(row: &SqliteRow) -> Result<CheckRecord, sqlx::Error> {
    let sample = match json(row, "sample_json")? {
        Some(Value::Array(sample)) => sample,
        _ => Vec::new(),
    };
    Ok(CheckRecord {
        run_id: row.try_get("run_id")?,
        table_name: row.try_get("table_name")?,
        check_name: row.try_get("check_name")?,
        severity: row.try_get("severity")?,
        rows_tested: count(row, "rows_tested")?,
        rows_failed: count(row, "rows_failed")?,
        sample,
    })
}

fn count(row: &SqliteRow, column: &str) -> Result<u64, sqlx::Error> {
    let number: i64 = row.try_get(column)?;
    u64::try_from(number).map_err(|e| wrong(column, e))
}

pub(super) fn optional_count(row: &SqliteRow, column: &str) -> Result<Option<u64>, sqlx::Error> {
    let number: Option<i64> = row.try_get(column)?;
    number.map(u64::try_from).transpose().map_err(|e| wrong(column, e))
}

pub(super) fn time(row: &SqliteRow, column: &str) -> Result<DateTime<Utc>, sqlx::Error> {
    let text: String = row.try_get(column)?;
    parse_time(&text).map_err(|e| wrong(column, e))
}

fn optional_time(row: &SqliteRow, column: &str) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| parse_time(&text)).transpose().map_err(|e| wrong(column, e))
}

fn parse_time(text: &str) -> Result<DateTime<Utc>, chrono::ParseError> {
    DateTime::parse_from_rfc3339(text).map(|time| time.to_utc())
}

fn json(row: &SqliteRow, column: &str) -> Result<Option<Value>, sqlx::Error> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| serde_json::from_str(&text)).transpose().map_err(|e| wrong(column, e))
}

fn wrong(column: &str, cause: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(cause) }
}
