//! The events of steps: written with them, read as `system.events`.

use std::sync::LazyLock;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use lagar_flow::{Event, Result};
use sqlx::{Row, Sqlite, Transaction, sqlite::SqliteRow};

use super::{
    History, integer,
    read::{optional_count, time},
    tables::{Kind, batch, counts, schema, strings, times},
    time_text,
};
use crate::report::StepReport;

/// The columns of `system.events`.
pub(super) static EVENTS: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema(&[
        ("at", Kind::Time),
        ("run_id", Kind::Text),
        ("table_name", Kind::Text),
        ("kind", Kind::Text),
        ("column_name", Kind::Text),
        ("before", Kind::Text),
        ("after", Kind::Text),
        ("count", Kind::Int),
    ])
});

/// Writes the events of a step in place of those that it had.
pub(super) async fn write(
    transaction: &mut Transaction<'_, Sqlite>,
    run_id: &str,
    report: &StepReport,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM events WHERE run_id = ? AND step = ?")
        .bind(run_id)
        .bind(&report.name)
        .execute(&mut **transaction)
        .await?;
    add(transaction, run_id, report).await
}

/// Adds the events of a step to those that it has.
pub(super) async fn add(
    transaction: &mut Transaction<'_, Sqlite>,
    run_id: &str,
    report: &StepReport,
) -> Result<(), sqlx::Error> {
    let last: i64 =
        sqlx::query_scalar("SELECT coalesce(max(number), 0) FROM events WHERE run_id = ? AND step = ?")
            .bind(run_id)
            .bind(&report.name)
            .fetch_one(&mut **transaction)
            .await?;
    for (number, event) in (last + 1..).zip(&report.events) {
        sqlx::query("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)")
            .bind(run_id)
            .bind(&report.name)
            .bind(number)
            .bind(time_text(event.at))
            .bind(&event.table)
            .bind(event.kind.as_str())
            .bind(&event.column)
            .bind(&event.before)
            .bind(&event.after)
            .bind(event.count.map(integer))
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

impl History {
    /// Every event, oldest first.
    ///
    /// # Errors
    /// [`lagar_flow::codes::HISTORY`]
    pub async fn events(&self) -> Result<Vec<Event>> {
        let rows =
            sqlx::query("SELECT * FROM events ORDER BY at, run_id, step, number").fetch_all(&self.pool).await;
        rows.and_then(|rows| rows.iter().map(event).collect()).map_err(|e| self.failed("cannot be read", &e))
    }

    /// `system.events`: every event, oldest first. The columns are the same when there is none.
    ///
    /// # Errors
    /// [`lagar_flow::codes::HISTORY`]
    pub async fn events_batch(&self) -> Result<RecordBatch> {
        let events = self.events().await?;
        let text = |of: fn(&Event) -> Option<&str>| strings(events.iter().map(of));
        batch(
            &EVENTS,
            vec![
                times(events.iter().map(|event| Some(event.at))),
                text(|event| Some(&event.run_id)),
                text(|event| Some(&event.table)),
                text(|event| Some(event.kind.as_str())),
                text(|event| event.column.as_deref()),
                text(|event| event.before.as_deref()),
                text(|event| event.after.as_deref()),
                counts(events.iter().map(|event| event.count)),
            ],
        )
    }
}

fn event(row: &SqliteRow) -> Result<Event, sqlx::Error> {
    let kind: String = row.try_get("kind")?;
    Ok(Event {
        at: time(row, "at")?,
        run_id: row.try_get("run_id")?,
        table: row.try_get("table_name")?,
        kind: kind.into(),
        column: row.try_get("column_name")?,
        before: row.try_get("before")?,
        after: row.try_get("after")?,
        count: optional_count(row, "count")?,
    })
}
