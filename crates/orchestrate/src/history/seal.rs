//! A checksum in every row. SQLite notices a page that is built wrongly, not a value that changed in it.

use futures::TryStreamExt;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, SqliteConnection, SqlitePool};

/// The tables with the columns that the checksum is over. A change of them needs a new schema version; a new
/// column goes to [`LATER`], so that the rows of older versions keep their seals.
const SEALED: [(&str, &[&str]); 4] = [
    (
        "runs",
        &[
            "run_id",
            "project",
            "command",
            "status",
            "started_at",
            "ended_at",
            "seconds",
            "release",
            "lagar_version",
            "error_json",
            "host",
            "pid",
            "process_started",
        ],
    ),
    (
        "steps",
        &[
            "run_id",
            "name",
            "kind",
            "status",
            "attempts",
            "started_at",
            "seconds",
            "rows_in",
            "rows_out",
            "rows_rejected",
            "bytes_in",
            "bytes_out",
            "version",
            "peak_memory_bytes",
            "spilled_bytes",
            "note",
            "error_json",
        ],
    ),
    (
        "checks",
        &["run_id", "table_name", "check_name", "severity", "rows_tested", "rows_failed", "sample_json"],
    ),
    (
        "events",
        &["run_id", "step", "number", "at", "table_name", "kind", "column_name", "before", "after", "count"],
    ),
];

/// The columns that came with a later version, with their types. They are under the seal when they hold
/// something.
const LATER: [(&str, &[(&str, &str)]); 1] = [(
    "steps",
    &[
        ("inputs_json", "TEXT"),
        ("parameters_json", "TEXT"),
        ("code_version", "TEXT"),
        ("code_hash", "TEXT"),
        ("schema_hash", "TEXT"),
        ("machine", "TEXT"),
    ],
)];

fn later(table: &str) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    LATER.iter().filter(move |(name, _)| *name == table).flat_map(|(_, columns)| columns.iter())
}

/// Gives the tables of an older version what they lack: the column for the seal, and those that came later.
pub(super) async fn add_columns(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    for (table, _) in SEALED {
        let known = "SELECT name FROM pragma_table_info(?)";
        let known: Vec<String> = sqlx::query_scalar(known).bind(table).fetch_all(&mut *connection).await?;
        for (column, kind) in [("seal", "INTEGER")].iter().chain(later(table)) {
            if !known.iter().any(|known| known == column) {
                let add = AssertSqlSafe(format!("ALTER TABLE {table} ADD COLUMN {column} {kind}"));
                sqlx::query(add).execute(&mut *connection).await?;
            }
        }
    }
    Ok(())
}

/// Seals the rows that have no seal: those that the transaction wrote. With `run` only the rows of that one
/// are looked at, and not all that there are.
pub(super) async fn seal(connection: &mut SqliteConnection, run: Option<&str>) -> Result<(), sqlx::Error> {
    let of_run = if run.is_some() { "run_id = ? AND" } else { "" };
    for (table, columns) in SEALED {
        let content = content(table, columns);
        let open = AssertSqlSafe(format!("SELECT rowid, {content} FROM {table} WHERE {of_run} seal IS NULL"));
        let mut open = sqlx::query_as(open);
        if let Some(run) = run {
            open = open.bind(run);
        }
        let rows: Vec<(i64, Vec<u8>)> = open.fetch_all(&mut *connection).await?;
        for (row, content) in rows {
            let update = AssertSqlSafe(format!("UPDATE {table} SET seal = ? WHERE rowid = ?"));
            sqlx::query(update).bind(checksum(&content)).bind(row).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

/// Whether every row is what was written.
pub(super) async fn is_intact(pool: &SqlitePool) -> Result<bool, sqlx::Error> {
    for (table, columns) in SEALED {
        let all = AssertSqlSafe(format!("SELECT seal, {} FROM {table}", content(table, columns)));
        let mut rows = sqlx::query_as::<_, (Option<i64>, Vec<u8>)>(all).fetch(pool);
        while let Some((seal, content)) = rows.try_next().await? {
            if seal != Some(checksum(&content)) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The values of a row in SQL's own spelling: a blob, because damaged text need not be UTF-8.
fn content(table: &str, columns: &[&str]) -> String {
    let quoted: Vec<String> = columns.iter().map(|column| format!("quote({column})")).collect();
    let later: String = later(table)
        .map(|(column, _)| format!(" || iif({column} IS NULL, '', ',{column}=' || quote({column}))"))
        .collect();
    format!("CAST({}{later} AS BLOB)", quoted.join(" || ',' || "))
}

fn checksum(content: &[u8]) -> i64 {
    let hash = Sha256::digest(content);
    hash.iter().take(8).fold(0, |sum, byte| (sum << 8) | i64::from(*byte))
}
