//! What was run, when and with what result: an SQLite database beside the project.
//!
//! It is a memory aid, not the truth: the lake knows what was loaded, made and released, and a history
//! that is lost or damaged is made again from it ([`History::rebuild`]). So every function returns its
//! error, and whoever runs something turns it into a warning and goes on.
//!
//! ```text
//! open ── newer than we are ───────────────→ refused, nothing is changed
//!   ├──── damaged ── moved aside ──┐
//!   └──── missing ─────────────────┴→ made new, `Opened` says so → rebuild(from the lake)
//! ```

mod events;
mod process;
mod read;
mod seal;
mod tables;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use lagar_flow::{Error, Result, codes};
use sqlx::{
    Sqlite, SqliteConnection, SqlitePool, Transaction,
    query::Query,
    sqlite::{SqliteArguments, SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous},
};

pub(crate) use process::machine;
pub use read::{CheckRecord, RunRecord, StepRecord};

use crate::report::{Report, StepReport};
use process::Process;

/// A run that began and has not ended.
pub const RUNNING: &str = "running";
/// A run whose process went away before it ended.
pub const INTERRUPTED: &str = "interrupted";

/// A run of which only the lake tells, and it cannot tell how it ended.
pub const UNKNOWN: &str = "unknown";

/// Grows with every change of the tables; kept in the file's `user_version`.
const SCHEMA_VERSION: i32 = 3;
/// Together with the version the file's `application_id`, so that a damaged number is not a newer Lagar's.
const APPLICATION: i32 = 0x4C47_5200;
const FILE: &str = "history.db";
/// How long to wait for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// A larger file is not read as a whole each time it is opened.
const CHECKED_BYTES_MAX: u64 = 32 << 20;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS runs (
    run_id TEXT NOT NULL PRIMARY KEY, project TEXT NOT NULL, command TEXT NOT NULL, status TEXT NOT NULL,
    started_at TEXT NOT NULL, ended_at TEXT, seconds REAL, release INTEGER, lagar_version TEXT NOT NULL,
    error_json TEXT, host TEXT, pid INTEGER, process_started TEXT, seal INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS runs_by_start ON runs (started_at);
CREATE TABLE IF NOT EXISTS steps (
    run_id TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, status TEXT NOT NULL,
    attempts INTEGER NOT NULL, started_at TEXT NOT NULL, seconds REAL NOT NULL, rows_in INTEGER NOT NULL,
    rows_out INTEGER NOT NULL, rows_rejected INTEGER NOT NULL, bytes_in INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL, version INTEGER, peak_memory_bytes INTEGER NOT NULL,
    spilled_bytes INTEGER NOT NULL, note TEXT, error_json TEXT, seal INTEGER, inputs_json TEXT,
    parameters_json TEXT, code_version TEXT, code_hash TEXT, schema_hash TEXT, machine TEXT,
    PRIMARY KEY (run_id, name)
) STRICT;
CREATE TABLE IF NOT EXISTS checks (
    run_id TEXT NOT NULL, table_name TEXT NOT NULL, check_name TEXT NOT NULL, severity TEXT NOT NULL,
    rows_tested INTEGER NOT NULL, rows_failed INTEGER NOT NULL, sample_json TEXT, seal INTEGER,
    PRIMARY KEY (run_id, table_name, check_name)
) STRICT;
CREATE TABLE IF NOT EXISTS events (
    run_id TEXT NOT NULL, step TEXT NOT NULL, number INTEGER NOT NULL, at TEXT NOT NULL, table_name TEXT NOT NULL,
    kind TEXT NOT NULL, column_name TEXT, before TEXT, after TEXT, count INTEGER, seal INTEGER,
    PRIMARY KEY (run_id, step, number)
) STRICT;
";

/// How the database came to be when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// It was there.
    Existing,
    /// There was none: a first run, or it was deleted.
    New,
    /// It could not be read and lies at this path now; the new one is empty.
    Damaged(PathBuf),
}

impl Opened {
    /// Nothing is in it yet: [`History::rebuild`] can fill it.
    pub fn is_new(&self) -> bool {
        *self != Opened::Existing
    }
}

/// A run as the lake remembers it: the steps that left something there.
#[derive(Debug, Clone)]
pub struct RebuiltRun {
    run_id: String,
    /// The first and the last sign of it.
    first: DateTime<Utc>,
    last: DateTime<Utc>,
    release: Option<u64>,
    steps: Vec<(StepReport, DateTime<Utc>)>,
}

impl RebuiltRun {
    /// A run that left something in the lake at `time`.
    pub fn new(run_id: &str, time: DateTime<Utc>) -> Self {
        Self { run_id: run_id.to_owned(), first: time, last: time, release: None, steps: Vec::new() }
    }

    /// What a step left at `time`.
    pub fn add(&mut self, step: StepReport, time: DateTime<Utc>) {
        self.seen(time);
        self.steps.push((step, time));
    }

    /// It published release `number` at `time`.
    pub fn released(&mut self, number: u64, time: DateTime<Utc>) {
        self.seen(time);
        self.release = Some(number);
    }

    fn seen(&mut self, time: DateTime<Utc>) {
        self.first = self.first.min(time);
        self.last = self.last.max(time);
    }

    fn record(&self, project: &str) -> RunRecord {
        // Without a release nothing tells a failed run from one that had only loads to do.
        let status = if self.release.is_some() { "ok" } else { UNKNOWN };
        RunRecord {
            run_id: self.run_id.clone(),
            project: project.to_owned(),
            command: "run".to_owned(),
            status: status.to_owned(),
            started_at: self.first,
            ended_at: Some(self.last),
            seconds: Some((self.last - self.first).as_seconds_f64()),
            release: self.release,
            lagar_version: env!("CARGO_PKG_VERSION").to_owned(),
            error: None,
        }
    }
}

/// The open database. Cloning shares it.
#[derive(Debug, Clone)]
pub struct History {
    pool: SqlitePool,
    path: PathBuf,
}

impl History {
    /// Opens `dir/history.db` and makes what is missing of it.
    ///
    /// # Errors
    /// [`codes::HISTORY`]: the folder cannot be written, another process holds the file for longer than
    /// five seconds, or a newer Lagar wrote it (it is then not changed).
    pub async fn open(dir: &Path) -> Result<(Self, Opened)> {
        let path = dir.join(FILE);
        std::fs::create_dir_all(dir).map_err(|e| failed(&path, "cannot be made", &e))?;
        match Self::open_file(&path).await {
            Ok((pool, opened)) => Ok((Self { pool, path }, opened)),
            Err(Fault::Damaged) => {
                let aside = move_aside(&path)?;
                let (pool, _) = Self::open_file(&path).await.map_err(|fault| fault.into_error(&path))?;
                Ok((Self { pool, path }, Opened::Damaged(aside)))
            }
            Err(fault) => Err(fault.into_error(&path)),
        }
    }

    /// Whether `dir` has a history: to open one makes it.
    pub fn is_in(dir: &Path) -> bool {
        dir.join(FILE).is_file()
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for what is being written and closes the file; it is closed without this too.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Remembers that a run began, in this process.
    ///
    /// # Errors
    /// [`codes::HISTORY`]
    pub async fn start_run(
        &self,
        run_id: &str,
        project: &str,
        command: &str,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let process = Process::this();
        let insert = sqlx::query(
            "INSERT INTO runs (run_id, project, command, status, started_at, lagar_version, host, pid, process_started)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(run_id)
        .bind(project)
        .bind(command)
        .bind(RUNNING)
        .bind(time_text(now))
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(process.host)
        .bind(i64::from(process.pid))
        .bind(process.started);
        self.write(run_id, insert).await
    }

    /// Remembers a step that ended at `now`, with its checks and events. The same step again replaces itself.
    ///
    /// # Errors
    /// [`codes::HISTORY`]
    pub async fn record_step(&self, run_id: &str, report: &StepReport, now: DateTime<Utc>) -> Result<()> {
        let step = step_record(run_id, report, now);
        let checks: Vec<CheckRecord> = report
            .checks
            .iter()
            .map(|check| CheckRecord {
                run_id: run_id.to_owned(),
                table_name: report.name.clone(),
                check_name: check.name.clone(),
                severity: check.severity.clone(),
                rows_tested: check.rows_tested,
                rows_failed: check.rows_failed,
                sample: check.sample.clone(),
            })
            .collect();
        let written = async {
            let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            write_step(&mut transaction, &step).await?;
            for check in &checks {
                write_check(&mut transaction, check).await?;
            }
            events::write(&mut transaction, run_id, report).await?;
            seal::seal(&mut transaction, Some(run_id)).await?;
            transaction.commit().await
        };
        written.await.map_err(|e| self.failed("cannot be written", &e))
    }

    /// Remembers how a run ended. A run whose start could not be remembered is added whole.
    ///
    /// # Errors
    /// [`codes::HISTORY`]
    pub async fn end_run(&self, report: &Report, now: DateTime<Utc>) -> Result<()> {
        let error = report.worst_error().map(|error| error.to_json().to_string());
        let insert = sqlx::query(
            "INSERT INTO runs (run_id, project, command, status, started_at, lagar_version, ended_at, seconds, release, error_json)
             VALUES (?, ?, 'run', ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (run_id) DO UPDATE SET status = excluded.status, ended_at = excluded.ended_at,
                 seconds = excluded.seconds, release = excluded.release, error_json = excluded.error_json, seal = NULL",
        )
        .bind(&report.run_id)
        .bind(&report.project)
        .bind(report.status.as_str())
        .bind(time_text(before(now, report.seconds)))
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(time_text(now))
        .bind(report.seconds)
        .bind(report.release.map(integer))
        .bind(error);
        self.write(&report.run_id, insert).await
    }

    /// One statement about a run, with the seals of what it writes.
    async fn write(&self, run_id: &str, statement: Query<'_, Sqlite, SqliteArguments>) -> Result<()> {
        let written = async {
            let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            statement.execute(&mut *transaction).await?;
            seal::seal(&mut transaction, Some(run_id)).await?;
            transaction.commit().await
        };
        written.await.map_err(|e| self.failed("cannot be written", &e))
    }

    /// Adds runs of `project` that the lake tells of. A run that is known already stays as it is.
    ///
    /// # Errors
    /// [`codes::HISTORY`]; nothing was added then.
    pub async fn rebuild(&self, project: &str, runs: Vec<RebuiltRun>) -> Result<()> {
        let written = async {
            let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            for run in &runs {
                if write_run(&mut transaction, &run.record(project)).await? {
                    for (report, time) in &run.steps {
                        write_step(&mut transaction, &step_record(&run.run_id, report, *time)).await?;
                        // One step may have made several loads.
                        events::add(&mut transaction, &run.run_id, report).await?;
                    }
                }
            }
            seal::seal(&mut transaction, None).await?;
            transaction.commit().await
        };
        written.await.map_err(|e| self.failed("cannot be written", &e))
    }

    async fn open_file(path: &Path) -> Result<(SqlitePool, Opened), Fault> {
        if let Some(format) = format_in_header(path)? {
            format.refuse_newer()?;
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .busy_timeout(BUSY_TIMEOUT)
            .synchronous(SqliteSynchronous::Normal);
        // Without these limits the pool has no task that looks after its connections. In sqlx 0.9 that task
        // spins for ever when the pool is closed while it begins.
        let pool = SqlitePoolOptions::new().max_connections(2).max_lifetime(None).idle_timeout(None);
        let pool = pool.connect_with(options).await?;
        let prepared = prepare(&pool, path).await;
        if prepared.is_err() {
            pool.close().await;
        }
        prepared.map(|opened| (pool, opened))
    }

    fn failed(&self, what: &str, cause: &sqlx::Error) -> Error {
        failed(&self.path, what, cause)
    }
}

/// Checks the file and brings it to the tables and modes of this version.
async fn prepare(pool: &SqlitePool, path: &Path) -> Result<Opened, Fault> {
    // The header may be older than a version that still lies in the write-ahead log.
    let version = Format::of(&mut *pool.acquire().await?).await?.refuse_newer()?;
    let bytes = std::fs::metadata(path).map(|file| file.len()).unwrap_or(0);
    let checked = bytes <= CHECKED_BYTES_MAX;
    if checked {
        let verdict: String = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(pool).await?;
        if verdict != "ok" {
            return Err(Fault::Damaged);
        }
    }
    use_write_ahead_log(pool).await?;
    if version == SCHEMA_VERSION {
        // A table that is gone is damage too, and so is a row that is not what was written.
        for probe in [
            "SELECT run_id FROM runs LIMIT 1",
            "SELECT run_id FROM steps LIMIT 1",
            "SELECT run_id FROM checks LIMIT 1",
            "SELECT run_id FROM events LIMIT 1",
        ] {
            sqlx::query(probe).fetch_optional(pool).await?;
        }
        if checked && !seal::is_intact(pool).await? {
            return Err(Fault::Damaged);
        }
        return Ok(Opened::Existing);
    }
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    // Another process may have been first.
    let version = Format::of(&mut transaction).await?.refuse_newer()?;
    sqlx::raw_sql(TABLES).execute(&mut *transaction).await?;
    seal::add_columns(&mut transaction).await?;
    seal::seal(&mut transaction, None).await?;
    // `PRAGMA` takes no bound values.
    let format = sqlx::AssertSqlSafe(format!(
        "PRAGMA user_version = {SCHEMA_VERSION}; PRAGMA application_id = {}",
        APPLICATION + SCHEMA_VERSION
    ));
    sqlx::raw_sql(format).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(if version == 0 { Opened::New } else { Opened::Existing })
}

/// Readers then do not wait for writers. Changing the mode needs the file alone, and SQLite's busy
/// timeout does not apply to that: two processes that make it at once would fail by chance.
async fn use_write_ahead_log(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    const ATTEMPTS_MAX: u32 = 100;
    const WAIT: Duration = Duration::from_millis(20);
    let mut attempt = 1;
    loop {
        let mode: Result<String, _> = sqlx::query_scalar("PRAGMA journal_mode = WAL").fetch_one(pool).await;
        match mode {
            // Where shared memory is not possible SQLite keeps its older journal, which works too.
            Ok(_) => return Ok(()),
            Err(error) if is_busy(&error) && attempt < ATTEMPTS_MAX => {
                attempt += 1;
                tokio::time::sleep(WAIT).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// What the file says of itself.
struct Format {
    version: i32,
    application: i32,
}

impl Format {
    async fn of(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let version = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
        let application = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *connection).await?;
        Ok(Self { version, application })
    }

    /// The version, if this Lagar knows it.
    fn refuse_newer(&self) -> Result<i32, Fault> {
        match (self.version, self.application) {
            // Nothing is in it, or the first version, which did not sign it.
            (version @ (0 | 1), 0) => Ok(version),
            (version, signed) if signed != APPLICATION.wrapping_add(version) => Err(Fault::Damaged),
            (version, _) if version > SCHEMA_VERSION => Err(Fault::Newer(version)),
            (version, _) => Ok(version),
        }
    }
}

/// The format in the file's header, read without letting SQLite touch the file; `None` if the file is new.
fn format_in_header(path: &Path) -> Result<Option<Format>, Fault> {
    const MAGIC: &[u8; 16] = b"SQLite format 3\0";
    let header = match std::fs::File::open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Fault::Io(e)),
        Ok(file) => {
            let mut header = Vec::with_capacity(100);
            std::io::Read::read_to_end(&mut std::io::Read::take(file, 100), &mut header)
                .map_err(Fault::Io)?;
            header
        }
    };
    if header.is_empty() {
        return Ok(None);
    }
    let number = |at: usize| match header.get(at..at + 4) {
        Some(&[a, b, c, d]) => Ok(i32::from_be_bytes([a, b, c, d])),
        _ => Err(Fault::Damaged),
    };
    // Which versions of SQLite may write and read it: another number makes the file read-only.
    let known = |at: usize| matches!(header.get(at), Some(1 | 2));
    if header.len() < 100 || !header.starts_with(MAGIC) || !known(18) || !known(19) {
        return Err(Fault::Damaged);
    }
    Ok(Some(Format { version: number(60)?, application: number(68)? }))
}

/// Why the file cannot be used.
enum Fault {
    Damaged,
    Newer(i32),
    Io(std::io::Error),
    Database(sqlx::Error),
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        match primary_code(&error) {
            // SQLITE_ERROR is what it answers when the description of the tables makes no sense,
            // SQLITE_CORRUPT, SQLITE_FORMAT and SQLITE_NOTADB speak for themselves.
            Some(1 | 11 | 24 | 26) => Fault::Damaged,
            _ => Fault::Database(error),
        }
    }
}

impl Fault {
    fn into_error(self, path: &Path) -> Error {
        match self {
            Fault::Damaged => {
                Error::new(codes::HISTORY, format!("the history {} is damaged", path.display()))
            }
            Fault::Newer(version) => Error::new(
                codes::HISTORY,
                format!("the history {} was written by a newer Lagar (format {version})", path.display()),
            )
            .hint("use that Lagar, or move the file away: a new one is made from what the lake knows"),
            Fault::Io(cause) => failed(path, "cannot be read", &cause),
            Fault::Database(cause) => failed(path, "cannot be opened", &cause),
        }
    }
}

/// The extended codes have it in the low byte.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

fn is_busy(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(5 | 6))
}

fn failed(path: &Path, what: &str, cause: &(dyn std::error::Error + 'static)) -> Error {
    Error::new(codes::HISTORY, format!("the history {} {what}", path.display())).caused_by(cause)
}

/// Moves a damaged database and its log out of the way; returns where the database lies now.
fn move_aside(path: &Path) -> Result<PathBuf> {
    let with = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = format!(".damaged-{}", Utc::now().format("%Y%m%dT%H%M%S%.6fZ"));
    for log in ["-wal", "-shm"] {
        // SQLite finds a log by its name; without the log there is nothing to move.
        let _ = std::fs::rename(with(log), with(&format!("{aside}{log}")));
    }
    std::fs::rename(path, with(&aside))
        .map_err(|e| failed(path, "is damaged and cannot be moved aside", &e))?;
    Ok(with(&aside))
}

fn step_record(run_id: &str, report: &StepReport, ended_at: DateTime<Utc>) -> StepRecord {
    StepRecord {
        run_id: run_id.to_owned(),
        name: report.name.clone(),
        kind: report.kind.as_str().to_owned(),
        status: report.status.as_str().to_owned(),
        attempts: report.attempts,
        started_at: before(ended_at, report.seconds),
        seconds: report.seconds,
        rows_in: report.rows_in,
        rows_out: report.rows_out,
        rows_rejected: report.rows_rejected,
        bytes_in: report.bytes_in,
        bytes_out: report.bytes_out,
        version: report.version,
        peak_memory_bytes: report.peak_memory_bytes,
        spilled_bytes: report.spilled_bytes,
        note: (!report.notes.is_empty()).then(|| report.notes.join("; ")),
        error: report.error.as_ref().map(Error::to_json),
        provenance: report.provenance.clone(),
    }
}

fn before(time: DateTime<Utc>, seconds: f64) -> DateTime<Utc> {
    let took = Duration::try_from_secs_f64(seconds).ok().and_then(|took| TimeDelta::from_std(took).ok());
    time - took.unwrap_or_default()
}

/// `false` if there is such a run already.
async fn write_run(transaction: &mut Transaction<'_, Sqlite>, run: &RunRecord) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "INSERT OR IGNORE INTO runs (run_id, project, command, status, started_at, ended_at, seconds, release, lagar_version, error_json)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&run.run_id)
    .bind(&run.project)
    .bind(&run.command)
    .bind(&run.status)
    .bind(time_text(run.started_at))
    .bind(run.ended_at.map(time_text))
    .bind(run.seconds)
    .bind(run.release.map(integer))
    .bind(&run.lagar_version)
    .bind(run.error.as_ref().map(ToString::to_string))
    .execute(&mut **transaction)
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn write_step(transaction: &mut Transaction<'_, Sqlite>, step: &StepRecord) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT OR REPLACE INTO steps (run_id, name, kind, status, attempts, started_at, seconds, rows_in, rows_out,
             rows_rejected, bytes_in, bytes_out, version, peak_memory_bytes, spilled_bytes, note, error_json,
             inputs_json, parameters_json, code_version, code_hash, schema_hash, machine)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&step.run_id)
    .bind(&step.name)
    .bind(&step.kind)
    .bind(&step.status)
    .bind(i64::from(step.attempts))
    .bind(time_text(step.started_at))
    .bind(step.seconds)
    .bind(integer(step.rows_in))
    .bind(integer(step.rows_out))
    .bind(integer(step.rows_rejected))
    .bind(integer(step.bytes_in))
    .bind(integer(step.bytes_out))
    .bind(step.version.map(integer))
    .bind(integer(step.peak_memory_bytes))
    .bind(integer(step.spilled_bytes))
    .bind(&step.note)
    .bind(step.error.as_ref().map(ToString::to_string))
    .bind((!step.provenance.inputs.is_empty()).then(|| serde_json::json!(step.provenance.inputs).to_string()))
    .bind((!step.provenance.parameters.is_null()).then(|| step.provenance.parameters.to_string()))
    .bind(&step.provenance.code_version)
    .bind(&step.provenance.code_hash)
    .bind(&step.provenance.schema_hash)
    .bind(&step.provenance.machine)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn write_check(
    transaction: &mut Transaction<'_, Sqlite>,
    check: &CheckRecord,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT OR REPLACE INTO checks VALUES (?, ?, ?, ?, ?, ?, ?, NULL)")
        .bind(&check.run_id)
        .bind(&check.table_name)
        .bind(&check.check_name)
        .bind(&check.severity)
        .bind(integer(check.rows_tested))
        .bind(integer(check.rows_failed))
        .bind((!check.sample.is_empty()).then(|| serde_json::Value::from(check.sample.clone()).to_string()))
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// SQLite's integers are signed; no count of ours comes near their end.
fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Of one width and in UTC, so that texts sort as times.
fn time_text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests;
