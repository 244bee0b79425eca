//! `steps_table`: the steps of all runs as a table of the lake, for readers that cannot ask the history.

use std::{collections::BTreeMap, time::Instant};

use arrow::array::RecordBatch;
use lagar_engine::Strategy;
use lagar_flow::{Error, KillPoint, Result, TableName, codes, kill};
use lagar_lake::{TableCommit, TableMeta};

use crate::{
    build::{begin_table, foreign_version, next, written_by_another_program},
    history::History,
    report::{Report, Status, StepKind, StepReport},
    run::Context,
};

/// What the table's versions say that they were made by.
const DEFINITION: &str = "steps_table";

/// The step that brings `table` up to date, behind all others of the run. Without a history the run goes on:
/// it is said among the warnings.
pub(crate) async fn step(
    context: &Context,
    table: &TableName,
    history: Option<&History>,
    run: &mut Report,
) -> StepReport {
    let mut step = StepReport::new(table.to_string(), StepKind::Model);
    match run.status {
        Status::Ok => {}
        Status::NothingNew => return unchanged(context, table, step, "no step made anything"),
        _ => return not_begun(context, step),
    }
    let steps = match history {
        Some(history) => history.steps_batch().await,
        None => Err(Error::new(codes::HISTORY, "there is none")),
    };
    let steps = match steps {
        Ok(steps) => steps,
        Err(error) => {
            run.warnings
                .push(format!("`{table}` has no steps of this run, they come from the history: {error}"));
            return unchanged(context, table, step, "the history cannot be read");
        }
    };
    let started = Instant::now();
    let written = write(context, table, steps, &mut step).await;
    step.seconds = started.elapsed().as_secs_f64();
    match written {
        Ok(()) => step,
        Err(error) => step.failed(error.without(&context.project.secrets)),
    }
}

/// Another step failed, or the run was asked to stop.
fn not_begun(context: &Context, mut step: StepReport) -> StepReport {
    step.attempts = 0;
    (step.status, step.error) = match context.cancel.is_cancelled() {
        true => (Status::Skipped, Some(Error::new(codes::STOPPED, "not started: the run was asked to stop"))),
        false => {
            (Status::UpstreamFailed, Some(Error::new(codes::UPSTREAM, "another step of the run failed")))
        }
    };
    step
}

fn unchanged(context: &Context, table: &TableName, mut step: StepReport, why: &str) -> StepReport {
    step.status = Status::NothingNew;
    step.version = context.released(table);
    step.notes.push(why.to_owned());
    step
}

/// Adds the steps of the runs that `table` does not have yet: those of this run, and of runs since that
/// released nothing. Its rows outlive the history.
async fn write(
    context: &Context,
    table: &TableName,
    steps: RecordBatch,
    report: &mut StepReport,
) -> Result<()> {
    let rows_in = steps.num_rows() as u64;
    let session = context.engine.session();
    let columns = steps.schema();
    session.add_rows("system", "steps", vec![steps], columns)?;
    let newest = context.lake.table(table, None).await?;
    if let Some(version) = foreign_version(context, table, newest.as_ref()).await? {
        let error = written_by_another_program(table, version);
        return Err(error.hint("name another one under `steps_table:`"));
    }
    let base = newest.map(|newest| newest.version);
    let released = match context.released(table) {
        Some(version) => context.lake.table(table, Some(version)).await?,
        None => None,
    };
    let sql = match released {
        Some(released) if released.meta.as_ref().is_none_or(|meta| meta.definition != DEFINITION) => {
            let what = format!("`{table}` is there already, and is no table of steps");
            return Err(Error::new(codes::CONFIG, what).hint("name another one under `steps_table:`"));
        }
        Some(released) => {
            session.add_table(&released, &context.lake)?;
            format!(
                "SELECT * FROM {table} UNION ALL BY NAME SELECT new.* FROM system.steps AS new
                 LEFT ANTI JOIN {table} AS before ON new.run_id = before.run_id"
            )
        }
        None => "SELECT * FROM system.steps".to_owned(),
    };
    let mut query = session
        .query_stored(&format!("SELECT * FROM ({sql}) ORDER BY started_at, run_id, name"), Strategy::Default)
        .await?;
    let schema = query.schema().clone();
    let mut writer = begin_table(context, table, &schema, &[])?;
    while let Some(batch) = next(context, &mut query).await? {
        writer.write(&batch).await?;
    }
    let files = writer.finish().await?;
    report.rows_in = rows_in;
    report.rows_out = files.iter().map(|file| file.rows).sum();
    report.bytes_out = files.iter().map(|file| file.bytes).sum();
    context.refuse_if_overtaken(table).await?;
    let commit_id = uuid::Uuid::now_v7().to_string();
    let committed = context
        .lake
        .commit_table(TableCommit {
            name: table.clone(),
            schema,
            partition_by: Vec::new(),
            files,
            meta: TableMeta {
                fingerprint: commit_id.clone(),
                commit_id,
                run_id: context.run_id.clone(),
                definition: DEFINITION.to_owned(),
                rows_in,
                rows_out: report.rows_out,
                description: Some(
                    "One row for each step of each run: what it read and made, how, and what became of it."
                        .to_owned(),
                ),
                code_version: context.provenance.code_version.clone(),
                ..TableMeta::default()
            },
            base,
            column_docs: BTreeMap::new(),
        })
        .await?;
    kill::at(KillPoint::StepsTableCommitted);
    report.version = Some(committed.version);
    context.made(table.clone(), committed.version);
    Ok(())
}
