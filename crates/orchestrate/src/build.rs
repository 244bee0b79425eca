//! The model step: SELECT → files that nobody sees → checks on them → one Delta commit.

mod inputs;
mod left_out;
mod merge;
mod partition;

pub(crate) use partition::can_make_again;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Schema, SchemaRef},
};
use futures::StreamExt;
use lagar_engine::{
    Query, QueryStats, Session, Strategy, TableFiles,
    checks::{self, Severity},
    merge::{Merge, OneOf, SELECTED, only_values},
    model::{Materialize, Model},
};
use lagar_flow::{Error, KillPoint, Result, TableName, Zone, codes, columns_of, kill};
use lagar_lake::{
    DataFile, Lake, LeftOut, MergedBy, Release, Table, TableCommit, TableMeta, TableWriter, WriteOptions,
    delta_schema,
};

use self::inputs::Inputs;
use crate::{
    graph::Node,
    predictor,
    project::{hash, schema_hash},
    report::{CheckReport, Status, StepReport},
    run::Context,
};

/// Files of a table are about this large.
pub(crate) const TARGET_FILE_BYTES: u64 = 256 << 20;

/// Builds `model` if anything that it depends on has changed. `report` is filled as far as the build came.
pub(crate) async fn build(context: &Context, model: &Model, report: &mut StepReport) -> Result<()> {
    let mut inputs = Inputs::of(context, model).await?;
    report.provenance.inputs = inputs.numbers_by_name();
    report.provenance.code_hash = Some(definition(model));
    let fingerprint = fingerprint(model, &inputs.ids_by_name());
    let newest = context.lake.table(&model.name, None).await?;
    let foreign = foreign_version(context, &model.name, newest.as_ref()).await?;
    if let Some(version) = foreign {
        let is_ours = context.released(&model.name).is_some();
        // What the SELECT says is all that is to be there, or somebody asks for it.
        let is_made_anew =
            (model.front.materialize == Materialize::Replace && is_ours) || context.full_refresh;
        if !is_made_anew {
            return Err(written_by_another_program(&model.name, version));
        }
    }
    let mut base = base(context, model, newest.as_ref()).await?;
    let asked = partition::asked(context, model);
    let mut left_out = left_out::of(base.as_ref());
    let retried = left_out.is_some() && context.retries(&model.name);
    let up_to_date = match asked.is_some() || retried {
        true => None,
        false => up_to_date(context, model, &inputs, &fingerprint, newest.as_ref()).await?,
    };
    if let Some(up_to_date) = up_to_date {
        report.status = Status::NothingNew;
        report.version = Some(up_to_date.version);
        report.notes.push(up_to_date.why);
        return Ok(());
    }
    base.as_ref().map_or(Ok(()), |base| refuse_other_choice(model, base))?;
    let other = base.as_ref().and_then(|base| inputs.other_predictor(base));
    // Answers of two versions would stand side by side.
    let answers_anew = other.is_some() && model.front.materialize != Materialize::Append;
    if let Some(name) = &other {
        let rows = match answers_anew {
            true => "all rows are made again",
            false => "rows made before stay as they are, --full-refresh makes all again",
        };
        report.notes.push(format!("`{name}` has another version: {rows}"));
    }
    let mut again = Again::of(model);
    let mut reads_all = model.front.incremental.is_empty();
    if let Some(base) = base.as_ref().filter(|_| !model.front.incremental.is_empty()) {
        let used = inputs.used_by(model, base)?;
        let changed = old_rows_stay(model, base);
        // When the model changed, its checks are run over the rows that stay, although none are added.
        let anew = answers_anew || retried || asked.is_some();
        if inputs.have_nothing_new(&used) && changed.is_none() && !anew {
            report.status = Status::NothingNew;
            report.version = Some(base.version);
            report.notes.push(format!("{} has nothing new", used.names()));
            return Ok(());
        }
        report.notes.extend(changed.filter(|_| !answers_anew));
        reads_all = match model.front.materialize {
            Materialize::Partition => {
                let touched = partition::touched(context, model, &inputs, base, &used, report).await?;
                again = if answers_anew { touched.and_of_result() } else { touched };
                false
            }
            // Which row of a key is the newest one is seen beside all others only.
            Materialize::Merge if retried || answers_anew => true,
            _ => inputs.leave_out_used(context, model, base, &used, report).await?,
        };
    }
    if let (Some(_), Some(asked)) = (&base, asked) {
        again = again.and(asked);
    }
    let mut back = None;
    if let (true, Some(rows)) = (retried, &left_out) {
        report.notes.push(format!("{} that were left out are tried again", rows_text(rows.rows())));
        match model.front.materialize {
            Materialize::Partition => again = again.and(partition::with_those_of(model, &rows.files)),
            Materialize::Append => back = left_out.take(),
            Materialize::Merge | Materialize::Replace => {}
        }
    }

    let made = stage(context, model, &inputs, &again, back.as_ref(), report).await?;
    kill::at(KillPoint::ModelStaged);
    for (name, loaded) in &inputs.predictors {
        match predictor::drifted(context, name, loaded, &model.name) {
            Ok(drifted) => report.events.extend(drifted),
            // Rows that were answered for are none the worse for it.
            Err(error) => report.notes.push(format!("how far features drifted is not known: {error}")),
        }
    }
    if let Some(there) = &base
        && let Err(error) = refuse_other_columns(model, there, &made.kept.schema)
    {
        let lost = match &other {
            Some(name) if answers_anew => Some((name, not_made_again(context, model, there, &made).await?)),
            _ => None,
        };
        match lost {
            // A version with one class more answers in another type: nothing of before stays.
            Some((_, 0)) => (base, left_out) = (None, None),
            Some((name, rows)) => {
                let rows = rows_text(rows);
                return Err(error.hint(format!(
                    "`{name}` has another version, and {rows} would be lost that its inputs do not have any more; keep \
                     them in a table of their own, or give them up: lagar run -s +{name}, then lagar run -s {} --full-refresh",
                    model.name
                )));
            }
            None => return Err(error),
        }
    }
    let dropped = made.dropped.as_ref().map_or(&[][..], |dropped| &dropped.files);
    let made_again = partition::partitions_of(made.kept.files.iter().chain(dropped));
    // The rows that stay are tested again with the new ones: a key may stand in both.
    let Next { staged, same_rows, untouched } = match model.front.materialize {
        Materialize::Merge => merge::onto(context, model, base.as_ref(), made.kept, report).await?,
        Materialize::Partition => {
            partition::instead(model, base.as_ref(), &again, &made_again, made.kept, report)?
        }
        Materialize::Append | Materialize::Replace => Next::behind(base.as_ref(), made.kept),
    };
    if let (true, Some(name), rows @ 1..) = (answers_anew, &other, untouched) {
        let rows = rows_text(rows);
        let of = format!("have the answers of an earlier version of `{name}`");
        report.notes.push(format!("{rows} that were not made again {of}"));
    }
    match model.front.materialize {
        Materialize::Merge if reads_all => left_out = None,
        Materialize::Partition => {
            if let Some(rows) = &mut left_out {
                rows.files.retain(|file| !partition::is_made_again(file, &again, &made_again));
            }
        }
        _ => {}
    }
    let left_out = left_out::beside(context, model, left_out, made.dropped.as_ref()).await?;
    let newest = newest.map(|table| table.version);
    if let Some(error) = check(context, model, &inputs, &staged, left_out.as_ref(), report).await? {
        refuse(context, model, newest, &staged).await?;
        return Err(error);
    }
    if let Some(dropped) = &made.dropped {
        report.notes.push(format!(
            "{} left out by a check; see them with: lagar sql \"SELECT * FROM refused.{}\"",
            match dropped.rows() {
                1 => "1 row was".to_owned(),
                rows => format!("{rows} rows were"),
            },
            model.name
        ));
    }
    if let Some(version) = foreign {
        report.notes.push(format!("version {version}, which another program wrote, is replaced"));
    }
    let rows_out = report.rows_out;
    // A version in between that nobody saw had other rows, perhaps.
    let unchanged = base.as_ref().filter(|base| same_rows && newest == Some(base.version));
    context.refuse_if_overtaken(&model.name).await?;
    kill::at(KillPoint::ModelChecked);
    let table = context
        .lake
        .commit_table(TableCommit {
            name: model.name.clone(),
            schema: staged.schema,
            partition_by: model.front.partition_by.clone(),
            files: staged.files,
            meta: TableMeta {
                commit_id: uuid::Uuid::now_v7().to_string(),
                run_id: context.run_id.clone(),
                fingerprint,
                definition: definition(model),
                inputs: inputs.numbers_by_name(),
                input_ids: inputs.ids_by_name(),
                incremental: model.front.incremental.iter().map(TableName::to_string).collect(),
                merged_by: merged_by(model),
                rows_in: report.rows_in,
                rows_out,
                description: model.description.clone(),
                compacted: unchanged.map(id_of),
                code_version: context.provenance.code_version.clone(),
                left_out,
            },
            base: newest,
            column_docs: model.column_docs.clone(),
        })
        .await?;
    kill::at(KillPoint::TableCommitted);
    report.version = Some(table.version);
    report.provenance.schema_hash = Some(schema_hash(&columns_of(&table.schema)));
    Ok(())
}

fn rows_text(rows: u64) -> String {
    if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") }
}

/// The files of the version to be, all of them.
struct Next {
    staged: Staged,
    /// Whether its rows are those of the base: what was made from them need not be made again.
    same_rows: bool,
    /// So many rows of the base are in it as they were, as nothing was made in their place.
    untouched: u64,
}

impl Next {
    /// New files beside those that are there.
    fn behind(base: Option<&Table>, made: Staged) -> Self {
        let mut files = base.map(|base| base.files.clone()).unwrap_or_default();
        let untouched = rows_of(&files);
        files.extend(made.files);
        Self { staged: Staged { schema: made.schema, files }, same_rows: false, untouched }
    }
}

/// What of its table a model makes again, of the rows of all its inputs.
enum Again {
    /// All of it, or nothing of what is there.
    All,
    /// The partitions that the result has rows in, and each of those with these values.
    OfResult(Vec<Vec<OneOf>>),
    /// The partitions with these values.
    With(Vec<OneOf>),
}

impl Again {
    fn of(model: &Model) -> Self {
        match model.front.materialize {
            Materialize::Partition => Again::OfResult(Vec::new()),
            _ => Again::All,
        }
    }

    /// The partitions that the result has rows in, too.
    fn and_of_result(self) -> Self {
        match self {
            Again::With(touched) => Again::OfResult(vec![touched]),
            other => other,
        }
    }

    /// These partitions, too.
    fn and(self, asked: Vec<OneOf>) -> Self {
        match self {
            Again::All => Again::All,
            // The SELECT is over all there is: what of it is new must not be passed over.
            Again::OfResult(mut also) => {
                also.push(asked);
                Again::OfResult(also)
            }
            // A column that is not asked for may have any value.
            Again::With(known) => Again::With(
                asked
                    .into_iter()
                    .map(|mut asked| {
                        let same = known.iter().filter(|known| known.column == asked.column);
                        asked.values.extend(same.flat_map(|known| known.values.iter().cloned()));
                        asked
                    })
                    .collect(),
            ),
        }
    }
}

fn merged_by(model: &Model) -> Option<MergedBy> {
    let front = &model.front;
    (front.materialize == Materialize::Merge)
        .then(|| MergedBy { key: front.key.clone(), latest_by: front.latest_by.clone() })
}

/// A merge goes on only from rows that it would have chosen itself: what lost is not there any more.
fn refuse_other_choice(model: &Model, base: &Table) -> Result<()> {
    let before = base.meta.as_ref().and_then(|meta| meta.merged_by.as_ref());
    match merged_by(model) {
        Some(now) if before != Some(&now) => Err(needs_full_refresh(
            model,
            "its rows were chosen in another way, by another `key` or `latest_by`",
        )),
        _ => Ok(()),
    }
}

/// Said when rows were made by another text of the model and are not made again.
fn old_rows_stay(model: &Model, base: &Table) -> Option<String> {
    let changed = base.meta.as_ref().is_some_and(|meta| meta.definition != definition(model));
    changed.then(|| {
        "the model changed: rows made before stay as they are, --full-refresh makes all again".into()
    })
}

/// Rows that stay must still be what the table's columns say.
fn refuse_other_columns(model: &Model, base: &Table, schema: &Schema) -> Result<()> {
    let refused = |what: String| Err(needs_full_refresh(model, &format!("{what}, and older rows stay")));
    let schema = delta_schema(schema)?;
    for field in base.schema.fields() {
        // Were it left out, its values would come back when a column of its name does.
        if schema.column_with_name(field.name()).is_none() {
            return refused(format!("column `{}` is gone", field.name()));
        }
    }
    if base.partition_by != model.front.partition_by {
        return refused("`partition_by` changed".into());
    }
    for field in schema.fields() {
        if let Ok(before) = base.schema.field_with_name(field.name())
            && !same_type(before.data_type(), field.data_type())
        {
            let (name, from, to) = (field.name(), before.data_type(), field.data_type());
            return refused(format!("column `{name}` was {from} and is {to} now"));
        }
    }
    Ok(())
}

/// A model that cannot go on from the rows that are there.
fn needs_full_refresh(model: &Model, why: &str) -> Error {
    Error::new(codes::SCHEMA_CHANGE, format!("`{}`: {why}", model.name))
        .hint(format!("make all rows again with: lagar run -s {} --full-refresh", model.name))
}

/// Whether two types are the same but for the names of list elements, which each library makes its own.
fn same_type(a: &DataType, b: &DataType) -> bool {
    match (a, b) {
        (DataType::List(a), DataType::List(b)) => same_type(a.data_type(), b.data_type()),
        (DataType::Struct(a), DataType::Struct(b)) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|(a, b)| a.name() == b.name() && same_type(a.data_type(), b.data_type()))
        }
        (a, b) => a == b,
    }
}

/// How many rows of `base` have no row of `made` in their place.
async fn not_made_again(context: &Context, model: &Model, base: &Table, made: &Made) -> Result<u64> {
    match model.front.materialize {
        Materialize::Merge => merge::not_in(context, model, base, &made.kept).await,
        _ => {
            let partitions = partition::partitions_of(&made.kept.files);
            let others = base.files.iter().filter(|file| !partitions.contains(&file.partition));
            Ok(others.map(|file| file.rows).sum())
        }
    }
}

/// Keeps rows that are not published, to be looked at until `version` is not the newest any more.
async fn refuse(context: &Context, model: &Model, version: Option<u64>, rows: &Staged) -> Result<()> {
    let rows = LeftOut::new(&rows.schema, &model.front.partition_by, rows.files.clone());
    context.lake.refuse_version(&model.name, &context.run_id, version, rows).await
}

struct UpToDate {
    version: u64,
    why: String,
}

/// A version that was made from the same inputs by the same SQL, or that a rollback holds.
async fn up_to_date(
    context: &Context,
    model: &Model,
    inputs: &Inputs,
    fingerprint: &str,
    newest: Option<&Table>,
) -> Result<Option<UpToDate>> {
    if context.full_refresh {
        return Ok(None);
    }
    let same = |table: &Table| table.meta.as_ref().is_some_and(|meta| meta.fingerprint == fingerprint);
    let released = context.released(&model.name);
    if let (Some(newest), Some(held)) = (context.published.get(&model.name), released)
        && newest.version > held
        && let Some(taken_back) = context.lake.table_meta(&model.name, newest.version).await?
        && let Some(released) = context.lake.table_meta(&model.name, held).await?
        && taken_back.definition == definition(model)
        && inputs.are_those_of(&taken_back, &released)
    {
        let why = format!(
            "held at version {held} by a rollback; version {} of release {} comes back when its inputs or SQL change, or with --full-refresh",
            newest.version, newest.release
        );
        return Ok(Some(UpToDate { version: held, why }));
    }
    if model.is_volatile() {
        return Ok(None);
    }
    if let Some(newest) = newest.filter(|newest| same(newest)) {
        let why = match released == Some(newest.version) {
            true => "its SQL and its inputs are unchanged".to_owned(),
            false => "built by an earlier run that released nothing".to_owned(),
        };
        return Ok(Some(UpToDate { version: newest.version, why }));
    }
    if let Some(version) = released.filter(|version| newest.is_none_or(|newest| newest.version != *version))
        && context.lake.table(&model.name, Some(version)).await?.as_ref().is_some_and(same)
    {
        return Ok(Some(UpToDate { version, why: "its SQL and its inputs are unchanged".into() }));
    }
    Ok(None)
}

/// The newest version, if another program wrote it and its rows are not those of ours before it: a VACUUM, or a property
/// of the table, changes nothing that could be lost.
pub(crate) async fn foreign_version(
    context: &Context,
    name: &TableName,
    newest: Option<&Table>,
) -> Result<Option<u64>> {
    let Some(foreign) = newest.filter(|newest| newest.meta.is_none()) else { return Ok(None) };
    let files = |table: &Table| table.files.iter().map(|file| file.path.clone()).collect::<BTreeSet<_>>();
    for version in (context.released(name).unwrap_or(0)..foreign.version).rev() {
        if context.lake.table_meta(name, version).await?.is_some() {
            let ours = context.lake.table(name, Some(version)).await?;
            let same = |ours: Table| ours.schema == foreign.schema && files(&ours) == files(foreign);
            return Ok((!ours.is_some_and(same)).then_some(foreign.version));
        }
    }
    Ok(Some(foreign.version))
}

/// Rows of another program are in no release: built on, the table would lose them without a word.
pub(crate) fn written_by_another_program(name: &TableName, version: u64) -> Error {
    let what = format!("version {version} of `{name}` was written by another program, and would be undone");
    let hint = format!(
        "other programs may read the tables of a lake, not write to them; look at its rows, then make the table from its \
         inputs alone with: lagar run -s {name} --full-refresh"
    );
    Error::new(codes::LAKE_VERSION, what).hint(hint)
}

/// The version whose rows stay. What a broken-off run left behind is not built upon: its rows come
/// again from the same inputs.
async fn base(context: &Context, model: &Model, newest: Option<&Table>) -> Result<Option<Table>> {
    if model.front.materialize == Materialize::Replace || context.full_refresh {
        return Ok(None);
    }
    match context.released(&model.name) {
        Some(version) if newest.is_some_and(|newest| newest.version == version) => Ok(newest.cloned()),
        Some(version) => context.lake.table(&model.name, Some(version)).await,
        None => Ok(None),
    }
}

/// The files of a version that no commit names yet.
struct Staged {
    schema: SchemaRef,
    files: Vec<DataFile>,
}

impl Staged {
    fn rows(&self) -> u64 {
        rows_of(&self.files)
    }
}

fn rows_of(files: &[DataFile]) -> u64 {
    files.iter().map(|file| file.rows).sum()
}

/// What a SELECT made.
struct Made {
    /// Of a merge the newest row of each key.
    kept: Staged,
    /// The rows that a check of severity `drop` left out, with the check's name behind their columns.
    dropped: Option<Staged>,
    stats: QueryStats,
    notes: Vec<String>,
}

/// Runs the SELECT into files. Too little memory is answered once with a plan that needs less.
async fn stage(
    context: &Context,
    model: &Model,
    inputs: &Inputs,
    again: &Again,
    back: Option<&LeftOut>,
    report: &mut StepReport,
) -> Result<Made> {
    let session = inputs.session(context)?;
    let write = |strategy| write(context, model, &session, again, back, strategy);
    let written = session.with_less_memory_if_needed(write).await;
    let (made, strategy) = written.map_err(|error| model.locate(&error))?;
    if strategy == Strategy::LowMemory {
        report.notes.push("planned again for less memory: joins that spill, one partition".into());
    }
    report.notes.extend(made.notes.iter().cloned());
    report.rows_in = made.stats.rows_scanned;
    report.peak_memory_bytes = made.stats.peak_memory_bytes;
    report.spilled_bytes = made.stats.spilled_bytes;
    report.notes.extend(made.stats.misfits.iter().map(ToString::to_string));
    report.rows_out = made.kept.rows();
    report.rows_rejected = made.dropped.as_ref().map_or(0, Staged::rows);
    report.bytes_out = made.kept.files.iter().map(|file| file.bytes).sum();
    Ok(made)
}

async fn write(
    context: &Context,
    model: &Model,
    session: &Session,
    again: &Again,
    back: Option<&LeftOut>,
    strategy: Strategy,
) -> Result<Made> {
    let select = match back {
        Some(back) => left_out::select(context, model, session, back).await?,
        None => model.sql.clone(),
    };
    let dropping = checks::drop_query(&select, &model.front.checks);
    let mut notes = Vec::new();
    let sql =
        text(model, session, again, dropping.as_deref().unwrap_or(&select), dropping.is_some(), &mut notes)
            .await?;
    let mut query = session.query_stored(&sql, strategy).await?;
    let whole = query.schema().clone();
    let columns = whole.fields().len() - usize::from(dropping.is_some());
    let schema: SchemaRef = Arc::new(Schema::new(whole.fields()[..columns].to_vec()));
    let mut writer = begin(context, model, &schema)?;
    let mut drop_writer = dropping.is_some().then(|| begin(context, model, &whole)).transpose()?;
    let mut rows = 0;
    while let Some(batch) = next(context, &mut query).await? {
        rows += batch.num_rows() as u64;
        match &mut drop_writer {
            None => writer.write(&batch).await?,
            Some(drop_writer) => {
                let (kept, failed) = checks::split_failed(&batch)?;
                writer.write(&kept).await?;
                if failed.num_rows() > 0 {
                    drop_writer.write(&failed).await?;
                }
            }
        }
    }
    let kept = Staged { schema, files: writer.finish().await? };
    let dropped = match drop_writer {
        Some(writer) => Some(Staged { schema: whole, files: writer.finish().await? }),
        None => None,
    };
    let written = kept.rows() + dropped.as_ref().map_or(0, Staged::rows);
    if written != rows {
        return Err(Error::bug(format!("`{}` made {rows} rows, its files hold {written}", model.name)));
    }
    let dropped = dropped.filter(|dropped| dropped.rows() > 0);
    Ok(Made { kept, dropped, stats: query.stats.now(), notes })
}

/// The query whose result is written: `select`, which is the model's with what its checks need, and what its
/// materialisation puts around it. `dropping`: with the column that says which rows fail a check.
async fn text(
    model: &Model,
    session: &Session,
    again: &Again,
    select: &str,
    dropping: bool,
    notes: &mut Vec<String>,
) -> Result<String> {
    let merges = model.front.materialize == Materialize::Merge;
    if !dropping && !merges && !matches!(again, Again::With(_)) {
        return Ok(select.to_owned());
    }
    // A fault of the model is told in the model's own text, not in the query around it.
    let schema = session.describe_stored(&model.sql).await?;
    if let Again::With(values) = again {
        return Ok(only_values(select, &schema, values));
    }
    if !merges {
        return Ok(select.to_owned());
    }
    model.check_columns(&schema)?;
    if !session.stage_query(SELECTED, select).await? {
        notes.push(
            "of rows that are equally new and come in the same run, the values decide: the SELECT does not show from which load a row is"
                .into(),
        );
    }
    let columns: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    Ok(Merge::of(&model.front).newest(&columns, dropping))
}

fn begin(context: &Context, model: &Model, schema: &SchemaRef) -> Result<TableWriter> {
    begin_table(context, &model.name, schema, &model.front.partition_by)
}

/// A writer of files for `table` that nobody sees yet.
pub(crate) fn begin_table(
    context: &Context,
    table: &TableName,
    schema: &SchemaRef,
    partition_by: &[String],
) -> Result<TableWriter> {
    let options = WriteOptions {
        target_file_bytes: TARGET_FILE_BYTES,
        run_id: context.run_id.clone(),
        threads: context.project.limits.threads,
    };
    context.lake.begin_table(table, schema.clone(), partition_by, options)
}

/// The next rows of a query, unless the run is asked to stop.
pub(crate) async fn next(context: &Context, query: &mut Query) -> Result<Option<RecordBatch>> {
    tokio::select! {
        batch = query.batches.stream.next() => batch.transpose(),
        () = context.cancel.cancelled() => Err(Error::new(codes::STOPPED, "stopped")),
    }
}

/// Runs the checks over the files of the version to be, beside which `left_out` will lie. Returns the error of those
/// of severity `error`.
async fn check(
    context: &Context,
    model: &Model,
    inputs: &Inputs,
    staged: &Staged,
    left_out: Option<&LeftOut>,
    report: &mut StepReport,
) -> Result<Option<Error>> {
    if model.front.checks.is_empty() {
        return Ok(None);
    }
    let session = inputs.session(context)?;
    let files = TableFiles {
        table: &model.name,
        schema: staged.schema.clone(),
        partition_by: &model.front.partition_by,
        files: &staged.files,
    };
    session.add_files(files, &context.lake)?;
    let left_out = left_out.filter(|rows| rows.rows() > 0);
    left_out.map_or(Ok(()), |rows| left_out::stage(context, model, &session, rows))?;
    let results = tokio::select! {
        results = checks::run(&session, &model.name, &model.front.checks, left_out.is_some()) => results,
        () = context.cancel.cancelled() => return Err(Error::new(codes::STOPPED, "stopped")),
    };
    let results = results.map_err(|error| model.locate(&error))?;
    let mut failed = Vec::new();
    for result in results {
        if result.rows_failed > 0 && result.severity == Severity::Error {
            let sample: Vec<String> = result.sample.iter().map(ToString::to_string).collect();
            failed.push(
                Error::new(
                    codes::CHECK_FAILED,
                    format!(
                        "check `{}` of `{}` failed for {} of {} rows",
                        result.name, model.name, result.rows_failed, result.rows_tested
                    ),
                )
                .hint(format!(
                    "for example {}; see the refused table with: lagar sql \"SELECT * FROM refused.{}\"",
                    sample.first().map_or("no row", String::as_str),
                    model.name
                )),
            );
        }
        report.checks.push(CheckReport {
            name: result.name,
            severity: result.severity.to_string(),
            rows_tested: result.rows_tested,
            rows_failed: result.rows_failed,
            sample: result.sample,
        });
    }
    Ok(Error::all(failed))
}

/// Why `model` would be built from what lies in the lake now; `None` if it is up to date.
pub(crate) async fn staleness(
    lake: &Lake,
    model: &Model,
    release: Option<&Release>,
) -> Result<Option<String>> {
    let Some(newest) = lake.table(&model.name, None).await? else {
        return Ok(Some("it was never built".into()));
    };
    let Some(meta) = newest.meta.as_ref() else {
        return Ok(Some("its newest version was not written by Lagar".into()));
    };
    let mut ids = BTreeMap::new();
    for name in model.inputs().into_iter().cloned() {
        let (number, id) = match name.zone {
            Zone::Raw => {
                let loads = lake.loads(&name.name).await?;
                (loads.last().map(|load| load.number), loads.last().map(|load| load.id.to_string()))
            }
            _ => {
                let number = release.and_then(|release| release.tables.get(&name).copied());
                let table = match number {
                    Some(number) => lake.table(&name, Some(number)).await?,
                    None => None,
                };
                (number, table.as_ref().map(id_of))
            }
        };
        let (used, used_id) = (meta.inputs.get(&name.to_string()), meta.input_ids.get(&name.to_string()));
        // A table that was only compacted has another number and the same id.
        if used != number.as_ref() && (used_id.is_none() || used_id != id.as_ref()) {
            return Ok(Some(format!("`{name}` has changed since")));
        }
        ids.extend(id.map(|id| (name.to_string(), id)));
    }
    for name in model.asks() {
        let node = Node::Predictor(name.clone()).to_string();
        let number = release.and_then(|release| release.predictors.get(name).copied());
        if meta.inputs.get(&node) != number.as_ref() {
            return Ok(Some(format!("`{node}` has changed since")));
        }
        ids.extend(meta.input_ids.get(&node).map(|id| (node, id.clone())));
    }
    if model.is_volatile() {
        return Ok(Some("its SQL asks for the time or for chance".into()));
    }
    let unchanged = fingerprint(model, &ids) == meta.fingerprint;
    Ok((!unchanged).then(|| "its SQL has changed since".into()))
}

/// What tells the rows of a version from those of another of the same number. A compaction keeps it: what
/// was made from the rows need not be made again.
pub(crate) fn id_of(table: &Table) -> String {
    table.meta.as_ref().map(|meta| meta.data_id().to_owned()).unwrap_or_default()
}

/// Says of a table what it was made from and how: as long as it is the same, so is the table.
fn fingerprint(model: &Model, inputs: &BTreeMap<String, String>) -> String {
    hash(&serde_json::json!({"model": definition(model), "inputs": inputs}))
}

/// The part of the fingerprint that is the model's own.
fn definition(model: &Model) -> String {
    let front = &model.front;
    // A stricter check must be run over rows that are there already, so checks count as well.
    let checks: Vec<String> = front
        .checks
        .iter()
        .map(|check| format!("{} {} {:?}", check.severity, check.name, check.rule))
        .collect();
    // As it was before there could be several, so that tables of an older Lagar stay up to date.
    let incremental = match front.incremental.as_slice() {
        [] => serde_json::Value::Null,
        [one] => serde_json::json!(one),
        more => serde_json::json!(more),
    };
    let mut definition = serde_json::json!({
        "sql": model.sql, "materialize": front.materialize, "partition_by": front.partition_by,
        "incremental": incremental, "checks": checks,
    });
    if let Some(tokens) = model.decisive_null_tokens() {
        definition["null_tokens"] = tokens.into();
    }
    if !front.latest_by.is_empty() {
        definition["latest_by"] = serde_json::json!(front.latest_by);
    }
    hash(&definition)
}
