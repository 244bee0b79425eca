//! Out of the quarantine: rows that were rejected, and that fit by the rules of now.
//!
//! Nothing is read from the source, and no byte is copied: a new load says which rows of the files that lie
//! there are taken after all. What still does not fit stays where it is.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use arrow::datatypes::{DataType, Schema};
use lagar_connectors::{Cx, Landing, land};
use lagar_engine::suggest;
use lagar_flow::{Error, Position, Result, Scope, TableName, Zone, codes, evolve};
use lagar_lake::{LoadWindow, Manifest, ManifestFile, Redriven, newest_state, redriven};

use crate::{
    load::{self, Seen},
    project::{Project, SourceDef},
    report::{Report, Status, StepReport},
    run::{self, Context, RunOptions},
    workplace::Workplace,
};

/// Tries what is in quarantine again, of `names` (`x`, `raw.x`, `trusted.y`), or of all sources and models.
/// What comes of it goes on into the tables that read it, and a release, as in a run; no source is read.
///
/// # Errors
/// [`codes::TABLE_MISSING`] for a name that the project does not have, and those of [`run::run`].
pub async fn retry(workplace: &Workplace, names: &[String], options: RunOptions) -> Result<Report> {
    let project = &workplace.project;
    let retry = names.iter().map(|name| find(project, name)).collect::<Result<BTreeSet<_>>>()?;
    let select = retry.iter().map(|table| format!("{table}+")).collect();
    let retry = if retry.is_empty() { all(project).collect() } else { retry };
    run::run(workplace, RunOptions { retry, select, ..options }).await
}

fn all(project: &Project) -> impl Iterator<Item = TableName> {
    let sources = project.source_names.iter().map(|name| TableName { zone: Zone::Raw, name: name.clone() });
    sources.chain(project.models.keys().cloned())
}

/// The source or model that is meant: also by the name of its rejected rows.
fn find(project: &Project, name: &str) -> Result<TableName> {
    let short = name.strip_prefix("quarantine.").or(name.strip_prefix("refused.")).unwrap_or(name);
    let is_meant = |table: &TableName| {
        table.to_string() == short || (table.zone == Zone::Raw && table.name.as_str() == short)
    };
    all(project).find(is_meant).ok_or_else(|| {
        let known: Vec<String> = all(project).map(|table| table.to_string()).collect();
        let error = Error::new(codes::TABLE_MISSING, format!("no source and no model is called `{name}`"));
        match suggest::nearest(name, known.iter().map(String::as_str)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("`lagar ls` lists them"),
        }
    })
}

/// The step of a source in such a run. `report` is filled as far as it came.
pub(crate) async fn load(context: &Context, source: &SourceDef, report: &mut StepReport) -> Result<()> {
    let loads = context.lake.loads(&source.name).await?;
    report.status = Status::NothingNew;
    report.version = loads.last().map(|load| load.number);
    let waiting = waiting(&loads);
    let Some(mut newest) = loads.last().cloned().filter(|_| !waiting.is_empty()) else {
        report.notes.push("no rows are in quarantine".to_owned());
        return Ok(());
    };
    if !source.source.keeps_rejected_rows() {
        report.notes.push(format!(
            "what a database has and a column cannot hold is not in the raw files: after a change of `columns`, read it again with: lagar run -s raw.{} --full-refresh",
            source.name
        ));
        return Ok(());
    }
    let position = position(context, source, &newest)?;
    for of_load in waiting {
        if let Some(manifest) = load_of(context, source, of_load, &newest, &position, report).await? {
            newest = Arc::new(manifest);
            report.status = Status::Ok;
        }
    }
    if report.rows_rejected > 0 {
        report.notes.push(match report.rows_rejected {
            1 => "1 row still does not fit".to_owned(),
            rows => format!("{rows} rows still do not fit"),
        });
    }
    Ok(())
}

/// Where the next read begins: where the newest load ended. Where the types have only become wider, all that is
/// there fits them, and nothing need be read again because they are others.
fn position(context: &Context, source: &SourceDef, newest: &Arc<Manifest>) -> Result<Option<Position>> {
    let Some(position) = newest.position.clone() else { return Ok(None) };
    let now = load::cx(context, source, Some(newest))?;
    let Some(known) = &now.known else { return Ok(Some(position)) };
    let has_room = |name: &String, asked: &DataType| match known.field_with_name(name) {
        Ok(known) => {
            let known = known.data_type();
            known == asked
                || *asked == DataType::Utf8
                || (known, asked) == (&DataType::Int64, &DataType::Float64)
        }
        Err(_) => true,
    };
    if !now.columns.iter().all(|(name, asked)| has_room(name, &asked.data_type())) {
        return Ok(Some(position));
    }
    let columns = newest.files.last().map(|file| file.format.columns.clone()).unwrap_or_default();
    let then = Cx { columns, ..now.clone() };
    source.source.with_types(&then, &now, position).map(Some)
}

/// The files of a load with rows in quarantine, and which rows these are.
struct Waiting {
    load: Arc<Manifest>,
    files: Vec<(ManifestFile, Vec<u64>)>,
}

/// What is in quarantine of the state that the source has now: rows of a file that a newer one took the place
/// of would come beside the newer ones.
fn waiting(loads: &[Arc<Manifest>]) -> Vec<Waiting> {
    let taken = redriven(loads);
    let mut waiting = Vec::new();
    for (load, newest) in loads.iter().zip(newest_state(loads)) {
        let mut files = Vec::new();
        for file in load.files.iter().zip(newest).filter_map(|(file, newest)| newest.then_some(file)) {
            let is_waiting = |row: &&u64| !taken.contains(&(load.number, file.path.as_str(), **row));
            let rows: Vec<u64> = file.rejected_rows.iter().filter(is_waiting).copied().collect();
            if !rows.is_empty() {
                files.push((file.clone(), rows));
            }
        }
        if !files.is_empty() {
            waiting.push(Waiting { load: load.clone(), files });
        }
    }
    waiting
}

/// Takes what fits of `waiting` as a load behind `newest`; `None` if nothing does.
async fn load_of(
    context: &Context,
    source: &SourceDef,
    waiting: Waiting,
    newest: &Arc<Manifest>,
    position: &Option<Position>,
    report: &mut StepReport,
) -> Result<Option<Manifest>> {
    let mut cx = load::cx(context, source, Some(newest))?;
    let mut writer = context.lake.begin_load(&source.name, &context.run_id);
    // It belongs to that window, and goes with it when it is read anew.
    if let Some(of) = waiting.load.window {
        writer = writer.of_window(LoadWindow { earlier_read_at: None, ..of });
    }
    let known = cx.known.clone();
    let mut seen = Seen::redriven(source, known.as_ref(), newest);
    for (file, rows) in waiting.files {
        cx.check_cancelled()?;
        let body = context.lake.raw_body(&source.name, &file, &context.spool_dir).await?;
        let landing = Landing {
            body,
            in_place: file.in_place.clone(),
            format: file.format.clone(),
            bytes: file.bytes,
            sha256: file.sha256.clone(),
            origin: file.origin.clone(),
            // It was small enough when it landed.
            bytes_max: u64::MAX,
            sample_bytes: None,
        };
        let mut chunk =
            land(&cx, landing, cx.known.as_deref()).await.map_err(|error| error.context(&file.path))?;
        let unfit: HashSet<u64> = chunk.rejects.drain(..).map(|reject| reject.row).collect();
        let (stay, fit): (Vec<u64>, Vec<u64>) = rows.iter().partition(|row| unfit.contains(row));
        report.rows_in += rows.len() as u64;
        report.rows_rejected += stay.len() as u64;
        if fit.is_empty() {
            continue;
        }
        // It was counted over all rows of the file.
        chunk.drift.discarded = Vec::new();
        chunk.file.rows = Some(fit.len() as u64);
        seen.add(&chunk);
        // The next file is read by the columns of this one, as in a load from the source.
        let known = cx.known.take().map_or_else(Schema::empty, |known| known.as_ref().clone());
        cx.known = Some(Arc::new(evolve(&known, &chunk.file.schema)));
        let (load, loaded_at) = (waiting.load.number, waiting.load.created_at);
        writer.redrive(&chunk, &file, Redriven { load, loaded_at, rows: fit });
    }
    if seen.rows == 0 {
        writer.abandon().await;
        return Ok(None);
    }
    let what = (position.clone(), Scope::Increment, Vec::new());
    load::commit(context, writer, &seen, Some(newest), what, report).await.map(Some)
}
