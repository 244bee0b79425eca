//! The history, made again from what the lake knows.

use std::collections::BTreeMap;

use lagar_flow::{Blame, Result, columns_of};
use lagar_lake::Lake;
use lagar_ml::Predictor;

use crate::{
    graph::Node,
    history::RebuiltRun,
    project::schema_hash,
    report::{StepKind, StepReport},
};

/// The runs that left something in the lake. Timings, attempts and failed steps are not in it.
pub(crate) async fn runs_of(lake: &Lake) -> Result<Vec<RebuiltRun>> {
    let mut runs: BTreeMap<String, RebuiltRun> = BTreeMap::new();
    for source in lake.sources().await? {
        for load in lake.loads(&source).await? {
            let mut step = StepReport::new(format!("raw.{source}"), StepKind::Load);
            step.rows_out = load.rows.unwrap_or(0);
            step.rows_rejected = load.rejected;
            step.rows_in = step.rows_out + step.rows_rejected;
            step.bytes_out = load.bytes;
            step.version = Some(load.number);
            step.events.clone_from(&load.events);
            step.provenance.schema_hash = Some(schema_hash(&load.columns));
            let run = runs
                .entry(load.run_id.clone())
                .or_insert_with(|| RebuiltRun::new(&load.run_id, load.created_at));
            run.add(step, load.created_at);
        }
    }
    for name in lake.tables().await? {
        let Some(newest) = lake.table(&name, None).await? else { continue };
        for version in 0..=newest.version {
            let Some(table) = lake.table(&name, Some(version)).await? else { continue };
            let Some(meta) = &table.meta else { continue };
            let mut step = StepReport::new(name.to_string(), StepKind::Model);
            step.rows_in = meta.rows_in;
            step.rows_out = meta.rows_out;
            step.version = Some(version);
            step.provenance.inputs = meta.inputs.clone();
            step.provenance.code_version = meta.code_version.clone();
            step.provenance.code_hash = Some(meta.definition.clone()).filter(|hash| !hash.is_empty());
            step.provenance.schema_hash = Some(schema_hash(&columns_of(&table.schema)));
            let run = runs
                .entry(meta.run_id.clone())
                .or_insert_with(|| RebuiltRun::new(&meta.run_id, table.committed_at));
            run.add(step, table.committed_at);
        }
    }
    for name in lake.predictors().await? {
        for number in lake.predictor_numbers(&name).await?.into_iter().flatten() {
            let version = match lake.predictor(&name, number).await {
                // When it was made, and by which run, stands nowhere else.
                Err(error) if error.blame() != Blame::Outside => continue,
                version => version?,
            };
            let mut step = StepReport::new(Node::Predictor(name.clone()).to_string(), StepKind::Predictor);
            // Of one that this Lagar cannot read is known that it was made.
            if let Ok(Predictor { learned_from, .. }) = Predictor::read(&version.predictor) {
                step.rows_out = learned_from.rows;
                step.rows_in = learned_from
                    .sample_of
                    .unwrap_or(learned_from.rows + learned_from.rows_test + learned_from.rows_without_target);
            }
            step.version = Some(version.number);
            step.provenance.inputs = [(version.table.to_string(), version.table_version)].into();
            let run = runs
                .entry(version.run_id.clone())
                .or_insert_with(|| RebuiltRun::new(&version.run_id, version.created_at));
            run.add(step, version.created_at);
        }
    }
    for release in lake.releases().await? {
        if let Some(run) = runs.get_mut(&release.run_id) {
            run.released(release.number, release.created_at);
        }
    }
    Ok(runs.into_values().collect())
}
