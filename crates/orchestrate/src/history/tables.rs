//! The history as the tables `system.runs`, `system.steps` and `system.checks`.

use std::sync::{Arc, LazyLock};

use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use chrono::{DateTime, Utc};
use lagar_flow::{Error, Result};
use serde_json::Value;

use super::{CheckRecord, History, RunRecord, StepRecord};

/// The columns of `system.runs`.
pub(super) static RUNS: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema(&[
        ("run_id", Kind::Text),
        ("project", Kind::Text),
        ("command", Kind::Text),
        ("status", Kind::Text),
        ("started_at", Kind::Time),
        ("ended_at", Kind::Time),
        ("seconds", Kind::Float),
        ("release", Kind::Int),
        ("lagar_version", Kind::Text),
        ("error_code", Kind::Text),
        ("error", Kind::Text),
    ])
});

/// The columns of `system.steps`.
pub(super) static STEPS: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema(&[
        ("run_id", Kind::Text),
        ("name", Kind::Text),
        ("kind", Kind::Text),
        ("status", Kind::Text),
        ("attempts", Kind::Int),
        ("started_at", Kind::Time),
        ("seconds", Kind::Float),
        ("rows_in", Kind::Int),
        ("rows_out", Kind::Int),
        ("rows_rejected", Kind::Int),
        ("bytes_in", Kind::Int),
        ("bytes_out", Kind::Int),
        ("version", Kind::Int),
        ("peak_memory_bytes", Kind::Int),
        ("spilled_bytes", Kind::Int),
        ("note", Kind::Text),
        ("error_code", Kind::Text),
        ("error", Kind::Text),
        ("inputs", Kind::Text),
        ("parameters", Kind::Text),
        ("code_version", Kind::Text),
        ("code_hash", Kind::Text),
        ("schema_hash", Kind::Text),
        ("machine", Kind::Text),
    ])
});

/// The columns of `system.checks`.
pub(super) static CHECKS: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema(&[
        ("run_id", Kind::Text),
        ("table_name", Kind::Text),
        ("check_name", Kind::Text),
        ("severity", Kind::Text),
        ("rows_tested", Kind::Int),
        ("rows_failed", Kind::Int),
        ("sample", Kind::Text),
    ])
});

impl History {
    /// `system.runs`: every run, newest first. The columns are the same when there is none.
    ///
    /// # Errors
    /// [`lagar_flow::codes::HISTORY`]
    pub async fn runs_batch(&self) -> Result<RecordBatch> {
        let runs = self.runs(u32::MAX).await?;
        let text = |of: fn(&RunRecord) -> &str| strings(runs.iter().map(|run| Some(of(run))));
        batch(
            &RUNS,
            vec![
                text(|run| &run.run_id),
                text(|run| &run.project),
                text(|run| &run.command),
                text(|run| &run.status),
                times(runs.iter().map(|run| Some(run.started_at))),
                times(runs.iter().map(|run| run.ended_at)),
                Arc::new(runs.iter().map(|run| run.seconds).collect::<Float64Array>()),
                counts(runs.iter().map(|run| run.release)),
                text(|run| &run.lagar_version),
                strings(runs.iter().map(|run| error_text(run.error.as_ref(), "code"))),
                strings(runs.iter().map(|run| error_text(run.error.as_ref(), "message"))),
            ],
        )
    }

    /// `system.steps`: every step, oldest first. The columns are the same when there is none.
    ///
    /// # Errors
    /// [`lagar_flow::codes::HISTORY`]
    pub async fn steps_batch(&self) -> Result<RecordBatch> {
        let steps = self.all_steps().await?;
        let text = |of: fn(&StepRecord) -> &str| strings(steps.iter().map(|step| Some(of(step))));
        let count = |of: fn(&StepRecord) -> u64| counts(steps.iter().map(|step| Some(of(step))));
        let inputs: Vec<String> =
            steps.iter().map(|step| serde_json::json!(step.provenance.inputs).to_string()).collect();
        let parameters: Vec<Option<String>> = steps
            .iter()
            .map(|step| Some(&step.provenance.parameters).filter(|of| !of.is_null()).map(Value::to_string))
            .collect();
        batch(
            &STEPS,
            vec![
                text(|step| &step.run_id),
                text(|step| &step.name),
                text(|step| &step.kind),
                text(|step| &step.status),
                count(|step| step.attempts.into()),
                times(steps.iter().map(|step| Some(step.started_at))),
                Arc::new(steps.iter().map(|step| Some(step.seconds)).collect::<Float64Array>()),
                count(|step| step.rows_in),
                count(|step| step.rows_out),
                count(|step| step.rows_rejected),
                count(|step| step.bytes_in),
                count(|step| step.bytes_out),
                counts(steps.iter().map(|step| step.version)),
                count(|step| step.peak_memory_bytes),
                count(|step| step.spilled_bytes),
                strings(steps.iter().map(|step| step.note.as_deref())),
                strings(steps.iter().map(|step| error_text(step.error.as_ref(), "code"))),
                strings(steps.iter().map(|step| error_text(step.error.as_ref(), "message"))),
                strings(inputs.iter().map(|text| Some(text.as_str()))),
                strings(parameters.iter().map(Option::as_deref)),
                strings(steps.iter().map(|step| step.provenance.code_version.as_deref())),
                strings(steps.iter().map(|step| step.provenance.code_hash.as_deref())),
                strings(steps.iter().map(|step| step.provenance.schema_hash.as_deref())),
                strings(steps.iter().map(|step| step.provenance.machine.as_deref())),
            ],
        )
    }

    /// `system.checks`: every check, oldest first. The columns are the same when there is none.
    ///
    /// # Errors
    /// [`lagar_flow::codes::HISTORY`]
    pub async fn checks_batch(&self) -> Result<RecordBatch> {
        let checks = self.all_checks().await?;
        let text = |of: fn(&CheckRecord) -> &str| strings(checks.iter().map(|check| Some(of(check))));
        let samples: Vec<Option<String>> = checks
            .iter()
            .map(|check| (!check.sample.is_empty()).then(|| Value::from(check.sample.clone()).to_string()))
            .collect();
        batch(
            &CHECKS,
            vec![
                text(|check| &check.run_id),
                text(|check| &check.table_name),
                text(|check| &check.check_name),
                text(|check| &check.severity),
                counts(checks.iter().map(|check| Some(check.rows_tested))),
                counts(checks.iter().map(|check| Some(check.rows_failed))),
                strings(samples.iter().map(Option::as_deref)),
            ],
        )
    }
}

pub(super) enum Kind {
    Text,
    Time,
    Float,
    Int,
}

pub(super) fn schema(columns: &[(&str, Kind)]) -> SchemaRef {
    let field = |(name, kind): &(&str, Kind)| {
        let data_type = match kind {
            Kind::Text => DataType::Utf8,
            Kind::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Kind::Float => DataType::Float64,
            Kind::Int => DataType::Int64,
        };
        Field::new(*name, data_type, true)
    };
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

pub(super) fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(schema.clone(), columns)
        .map_err(|e| Error::bug("a table of the history does not fit its columns").caused_by(&e))
}

pub(super) fn strings<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

pub(super) fn counts(values: impl Iterator<Item = Option<u64>>) -> ArrayRef {
    Arc::new(values.map(|value| value.map(super::integer)).collect::<Int64Array>())
}

pub(super) fn times(values: impl Iterator<Item = Option<DateTime<Utc>>>) -> ArrayRef {
    let micros = values.map(|value| value.map(|time| time.timestamp_micros()));
    Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

fn error_text<'a>(error: Option<&'a Value>, part: &str) -> Option<&'a str> {
    error?.get(part)?.as_str()
}
