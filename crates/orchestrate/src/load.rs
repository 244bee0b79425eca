//! The load step: source → raw files → one manifest.

use arrow::datatypes::SchemaRef;
use lagar_connectors::{Chunks, Cx, Outcome};
use lagar_flow::{Chunk, Error, EventKind, KillPoint, Note, Position, Result, Scope, codes, kill, schema_of};
use lagar_lake::{LoadWriter, Manifest};

use crate::{
    drift::Drift,
    project::{MaxRejected, SourceDef, schema_hash},
    report::{Status, StepReport},
    run::Context,
    windows,
};

/// Files that may wait between a source and the lake: one is written while the next is fetched.
pub(crate) const CHUNKS_WAITING_MAX: usize = 2;

/// Reads what is new of `source` and commits it as one load, or as one for each window. `report` is filled
/// as far as the load came.
pub(crate) async fn load(context: &Context, source: &SourceDef, report: &mut StepReport) -> Result<()> {
    if let Some(windows) = source.source.windows() {
        return windows::load(context, source, windows, report).await;
    }
    let lake = &context.lake;
    let loads = lake.loads(&source.name).await?;
    let previous = loads.last().map(|manifest| manifest.as_ref());
    let cx = cx(context, source, previous)?;
    let from = match context.full_refresh {
        true => None,
        false => previous.and_then(|manifest| manifest.position.as_ref()),
    };

    let mut seen = Seen::new(source, cx.known.as_ref(), previous);
    let mut writer = lake.begin_load(&source.name, &context.run_id);
    let (chunks, mut waiting) = Chunks::channel(CHUNKS_WAITING_MAX);
    // `chunks` moves in: the loop below ends when the read has.
    let read = async move { source.source.read(&cx, from, &chunks).await };
    let write = async {
        while let Some(chunk) = waiting.recv().await {
            seen.add(&chunk);
            writer.add(&chunk).await?;
        }
        Ok(())
    };
    let outcome = match tokio::try_join!(read, write) {
        Ok((outcome, ())) => outcome,
        Err(error) => {
            writer.abandon().await;
            return Err(error);
        }
    };
    kill::at(KillPoint::LoadFilesPut);

    seen.count(report);
    let (position, scope, notes) = match outcome {
        Outcome::Nothing { why } => {
            report.status = Status::NothingNew;
            report.version = previous.map(|manifest| manifest.number);
            report.notes.push(why);
            return Ok(());
        }
        Outcome::Read { position, scope, notes } => (position, scope, notes),
    };

    let manifest = commit(context, writer, &seen, previous, (Some(position), scope, notes), report).await?;
    report.notes.extend(manifest.notes.into_iter().map(|note| note.0));
    if seen.sampled {
        report.notes.push("read in place: rows are counted when a model reads them".into());
    } else if seen.rows == 0 {
        report.notes.push("no rows".into());
    }
    Ok(())
}

/// What a read of `source` may use; `previous` is its newest load.
pub(crate) fn cx(context: &Context, source: &SourceDef, previous: Option<&Manifest>) -> Result<Cx> {
    Ok(Cx {
        clock: context.clock.clone(),
        project_dir: context.project.dir.clone(),
        spool_dir: context.spool_dir.clone(),
        stores: context.stores.clone(),
        columns: source.common.columns.clone(),
        known: previous.map(|manifest| schema_of(&manifest.columns)).transpose()?,
        schema: source.common.schema,
        secrets: context.project.secrets.clone(),
        seed: context.seed,
        cancel: context.cancel.clone(),
    })
}

/// Makes all that was added to `writer` visible behind load `previous`, unless these rows must not be. Adds
/// to `report` what became visible, and what the columns did.
pub(crate) async fn commit(
    context: &Context,
    mut writer: LoadWriter,
    seen: &Seen<'_>,
    previous: Option<&Manifest>,
    (position, scope, notes): (Option<Position>, Scope, Vec<Note>),
    report: &mut StepReport,
) -> Result<Manifest> {
    let mut found = seen.drift.found(context.clock.now(), &context.run_id);
    if let Some(previous) = previous.filter(|_| seen.redriven) {
        // Rows of an earlier day do not tell what the source lacks today.
        found.events.retain(|event| event.kind != EventKind::ColumnMissing);
        found.missing.clone_from(&previous.missing);
    }
    report.events.extend(found.events.iter().cloned());
    let frozen = seen.drift.frozen(&found.events);
    writer.drifted(found.events, found.missing);
    let number = previous.map(|manifest| manifest.number);
    if let Some(error) = frozen.or_else(|| refuse(seen)) {
        match seen.rejected {
            0 => writer.abandon().await,
            _ => writer.refuse(number).await?,
        }
        return Err(error);
    }
    let manifest = writer.commit(number, position, scope, notes).await?;
    kill::at(KillPoint::LoadCommitted);
    report.rows_out += seen.rows;
    report.bytes_out += manifest.bytes;
    report.version = Some(manifest.number);
    report.provenance.schema_hash = Some(schema_hash(&manifest.columns));
    Ok(manifest)
}

/// What came of a source for one load.
pub(crate) struct Seen<'a> {
    source: &'a SourceDef,
    pub rows: u64,
    pub rejected: u64,
    bytes: u64,
    /// At least one file was only sampled: `rows` is not the whole truth.
    sampled: bool,
    /// They were read from the lake.
    redriven: bool,
    drift: Drift<'a>,
}

impl<'a> Seen<'a> {
    /// Nothing yet; `previous` is the newest load.
    pub fn new(source: &'a SourceDef, known: Option<&SchemaRef>, previous: Option<&Manifest>) -> Self {
        let drift = Drift::new(source, known, previous);
        Self { source, rows: 0, rejected: 0, bytes: 0, sampled: false, redriven: false, drift }
    }

    /// The same for rows that come out of the quarantine.
    pub fn redriven(source: &'a SourceDef, known: Option<&SchemaRef>, previous: &Manifest) -> Self {
        Self { redriven: true, ..Self::new(source, known, Some(previous)) }
    }

    pub fn add(&mut self, chunk: &Chunk) {
        self.rows += chunk.file.rows.unwrap_or(0);
        self.rejected += chunk.rejects.len() as u64;
        self.bytes += chunk.file.bytes;
        self.sampled |= chunk.file.rows.is_none();
        self.drift.see(chunk);
    }

    /// Adds to `report` what came in.
    pub fn count(&self, report: &mut StepReport) {
        report.rows_in += self.rows + self.rejected;
        report.rows_rejected += self.rejected;
        report.bytes_in += self.bytes;
    }
}

/// Why these rows must not become visible, if so.
fn refuse(seen: &Seen<'_>) -> Option<Error> {
    let source = seen.source;
    let name = &source.name;
    let all = seen.rows + seen.rejected;
    let discarded = seen.drift.rows_discarded();
    let allowed = match source.common.max_rejected {
        MaxRejected::Rows(rows) => rows,
        MaxRejected::Share(share) => (all as f64 * share).floor() as u64,
    };
    if discarded > 0 && seen.rejected == all {
        return Some(
            Error::new(codes::REJECTED, format!("none of the {all} rows of `{name}` fits its columns"))
                .hint(format!(
                    "see them with: lagar sql \"SELECT * FROM quarantine.{name}\"; run once with `schema: evolve` to take their columns"
                )),
        );
    }
    if seen.rejected - discarded > allowed {
        return Some(
            Error::new(
                codes::REJECTED,
                format!(
                    "{} of {all} rows of `{name}` were rejected, {allowed} may be",
                    seen.rejected - discarded
                ),
            )
            .hint(format!(
                "see them with: lagar sql \"SELECT * FROM quarantine.{name}\"; `max_rejected` of the source sets the limit"
            )),
        );
    }
    if source.common.require_rows && all == 0 && !seen.sampled {
        return Some(
            Error::new(codes::SOURCE_EMPTY, format!("`{name}` answered without a single row"))
                .hint("the rows loaded before stay; ask the source why, or take `require_rows` away if it may be empty"),
        );
    }
    None
}
