//! The load step: source → raw files → one manifest.

use lagar_connectors::{Chunks, Cx, Outcome};
use lagar_flow::{Error, KillPoint, Note, Position, Result, Scope, codes, kill, schema_of};
use lagar_lake::{LoadWriter, Manifest};

use crate::{
    project::{MaxRejected, SourceDef},
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

    let mut writer = lake.begin_load(&source.name, &context.run_id);
    let (chunks, mut waiting) = Chunks::channel(CHUNKS_WAITING_MAX);
    // `chunks` moves in: the loop below ends when the read has.
    let read = async move { source.source.read(&cx, from, &chunks).await };
    let write = async {
        let mut counts = Counts::default();
        while let Some(chunk) = waiting.recv().await {
            counts.add(&chunk);
            writer.add(&chunk).await?;
        }
        Ok(counts)
    };
    let (outcome, counts) = match tokio::try_join!(read, write) {
        Ok(done) => done,
        Err(error) => {
            writer.abandon().await;
            return Err(error);
        }
    };
    kill::at(KillPoint::LoadFilesPut);

    report.rows_in = counts.rows + counts.rejected;
    report.rows_rejected = counts.rejected;
    report.bytes_in = counts.bytes;
    let (position, scope, notes) = match outcome {
        Outcome::Nothing { why } => {
            report.status = Status::NothingNew;
            report.version = previous.map(|manifest| manifest.number);
            report.notes.push(why);
            return Ok(());
        }
        Outcome::Read { position, scope, notes } => (position, scope, notes),
    };

    let number = previous.map(|manifest| manifest.number);
    let manifest = commit(source, writer, &counts, number, (position, scope, notes)).await?;
    report.rows_out = counts.rows;
    report.bytes_out = manifest.bytes;
    report.version = Some(manifest.number);
    report.notes.extend(manifest.notes.into_iter().map(|note| note.0));
    if counts.sampled {
        report.notes.push("read in place: rows are counted when a model reads them".into());
    } else if counts.rows == 0 {
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
        secrets: context.project.secrets.clone(),
        seed: context.seed,
        cancel: context.cancel.clone(),
    })
}

/// Makes all that was added to `writer` visible behind load `previous`, unless these rows must not be.
pub(crate) async fn commit(
    source: &SourceDef,
    writer: LoadWriter,
    counts: &Counts,
    previous: Option<u64>,
    (position, scope, notes): (Position, Scope, Vec<Note>),
) -> Result<Manifest> {
    if let Some(error) = refuse(source, counts) {
        match counts.rejected {
            0 => writer.abandon().await,
            _ => writer.refuse(previous).await?,
        }
        return Err(error);
    }
    let manifest = writer.commit(previous, Some(position), scope, notes).await?;
    kill::at(KillPoint::LoadCommitted);
    Ok(manifest)
}

#[derive(Default)]
pub(crate) struct Counts {
    pub rows: u64,
    pub rejected: u64,
    pub bytes: u64,
    /// At least one file was only sampled: `rows` is not the whole truth.
    sampled: bool,
}

impl Counts {
    pub fn add(&mut self, chunk: &lagar_flow::Chunk) {
        self.rows += chunk.file.rows.unwrap_or(0);
        self.rejected += chunk.rejects.len() as u64;
        self.bytes += chunk.file.bytes;
        self.sampled |= chunk.file.rows.is_none();
    }
}

/// Why these rows must not become visible, if so.
fn refuse(source: &SourceDef, counts: &Counts) -> Option<Error> {
    let name = &source.name;
    let all = counts.rows + counts.rejected;
    let allowed = match source.common.max_rejected {
        MaxRejected::Rows(rows) => rows,
        MaxRejected::Share(share) => (all as f64 * share).floor() as u64,
    };
    if counts.rejected > allowed {
        return Some(
            Error::new(
                codes::REJECTED,
                format!("{} of {all} rows of `{name}` were rejected, {allowed} may be", counts.rejected),
            )
            .hint(format!(
                "see them with: lagar sql \"SELECT * FROM quarantine.{name}\"; `max_rejected` of the source sets the limit"
            )),
        );
    }
    if source.common.require_rows && all == 0 && !counts.sampled {
        return Some(
            Error::new(codes::SOURCE_EMPTY, format!("`{name}` answered without a single row"))
                .hint("the rows loaded before stay; ask the source why, or take `require_rows` away if it may be empty"),
        );
    }
    None
}
