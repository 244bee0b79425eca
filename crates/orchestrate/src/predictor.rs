//! The predictor step: rows of a table → what is learned from them → a version in the lake, which becomes current
//! with the release if it is good enough.

use std::sync::{Arc, PoisonError};

use arrow::{
    array::RecordBatch,
    compute::concat_batches,
    datatypes::{DataType, Schema, SchemaRef},
};
use lagar_engine::{Asked, PlannedFeature, Probability, quoted};
use lagar_flow::{Error, Event, EventKind, KillPoint, Name, Result, TableName, codes, kill};
use lagar_lake::{Lake, NewPredictor, PredictorVersion, Release, Table};
use lagar_ml::{
    Learned, Lesson, Predictor, Question, Scorer, Spec, Task, algorithm, forecast, frame::Kind,
    judge::guards::DriftLevel, predictor::answer_type, spec::Features, train as learn,
};

use crate::{
    build::id_of,
    config::PredictorDef,
    project::hash,
    report::{Status, StepReport},
    run::Context,
    workplace::Workplace,
};

/// Of the memory that queries may use, the part that the rows and the matrix of a predictor may.
const MEMORY_SHARE: f64 = 0.5;

/// A version of a predictor that is asked.
#[derive(Clone)]
pub(crate) struct Loaded {
    /// `None`: there was nothing to learn yet, and there are no forecasts.
    pub version: Option<u64>,
    /// Tells it from another of the same number; empty if there was nothing to learn yet.
    pub id: String,
    pub asked: Asked,
}

impl Loaded {
    /// The same for another step, which asks it for rows of its own.
    fn by_others(&self) -> Self {
        let asked = match &self.asked {
            Asked::Rows { version, scorer, .. } => {
                Asked::Rows { version: *version, scorer: scorer.clone(), seen: Arc::default() }
            }
            asked => asked.clone(),
        };
        Self { asked, ..self.clone() }
    }
}

/// The version that this run asks.
///
/// # Errors
/// [`codes::TABLE_MISSING`] if none is current.
pub(crate) async fn asked(context: &Context, name: &Name) -> Result<Loaded> {
    if let Some(version) = context.predictor(name) {
        let last = || context.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let found =
            last().as_ref().filter(|(of, asked)| of == name && asked.version == Some(version)).cloned();
        if let Some((_, loaded)) = found {
            return Ok(loaded.by_others());
        }
        let loaded = load(&context.lake, name, version).await?;
        *last() = Some((name.clone(), loaded.by_others()));
        return Ok(loaded);
    }
    let project = context.project.predictors.get(name);
    let version = project.and_then(|def| context.version(&def.spec.from));
    match of_no_series(&context.lake, project, version).await? {
        Some(asked) => Ok(Loaded { version: None, id: String::new(), asked }),
        None => Err(none_current(&context.lake, name).await),
    }
}

/// The version that readers of `release` ask.
///
/// # Errors
/// [`codes::TABLE_MISSING`] if none is current.
pub(crate) async fn released(workplace: &Workplace, release: Option<&Release>, name: &Name) -> Result<Asked> {
    let lake = &workplace.lake;
    if let Some(version) = release.and_then(|release| release.predictors.get(name)) {
        return Ok(load(lake, name, *version).await?.asked);
    }
    let def = workplace.project.predictors.get(name);
    let version = def.and_then(|def| release?.tables.get(&def.spec.from).copied());
    match of_no_series(lake, def, version).await? {
        Some(asked) => Ok(asked),
        None => Err(none_current(lake, name).await),
    }
}

/// The forecasts that learn from a table without rows, at `version`: none, with their columns. `None` if it is
/// something else.
async fn of_no_series(
    lake: &Lake,
    def: Option<&PredictorDef>,
    version: Option<u64>,
) -> Result<Option<Asked>> {
    let (Some(def), Some(version)) = (def, version) else { return Ok(None) };
    if algorithm(&def.spec.algorithm)?.task != Task::Forecast {
        return Ok(None);
    }
    match lake.table(&def.spec.from, Some(version)).await?.filter(|table| rows_in(table) == 0) {
        Some(table) => planned(def, &table.schema, None).map(Some),
        None => Ok(None),
    }
}

fn rows_in(table: &Table) -> u64 {
    table.files.iter().map(|file| file.rows).sum()
}

/// Why there is no version to ask.
pub(crate) async fn none_current(lake: &Lake, name: &Name) -> Error {
    let what = format!("no version of the predictor `{name}` is current");
    let error = Error::new(codes::TABLE_MISSING, what);
    let release = lake.current_release().await.ok().flatten();
    let is_set_aside = |version| release.as_ref().is_some_and(|release| release.sets_aside(name, version));
    match lake.newest_predictor(name).await {
        Ok(Some(newest)) if newest.promoted && is_set_aside(newest.number) => {
            error.hint(format!(
                "a rollback took it back; use version {number} all the same with `lagar predictors promote {name} {number}`",
                number = newest.number
            ))
        }
        Ok(Some(newest)) if newest.promoted => error.hint(format!(
            "version {} was trained, and its run released nothing; release it: lagar run -s predictors.{name}",
            newest.number
        )),
        Ok(Some(newest)) => error.hint(format!(
            "version {} was not good enough; look at it with `lagar predictors show {name}`, and use it all the \
             same with `lagar predictors promote {name} {}`",
            newest.number, newest.number
        )),
        _ => error.hint(format!("train it: lagar run -s predictors.{name}")),
    }
}

/// Version `version` of `name`, ready to be asked.
pub(crate) async fn load(lake: &Lake, name: &Name, version: u64) -> Result<Loaded> {
    let stored = lake.predictor(name, version).await?;
    let id = stored.id.to_string();
    let asked = ready(name, &stored)?;
    Ok(Loaded { version: Some(version), id, asked })
}

/// Tells of each feature whose values are not distributed as those that the predictor learned from, in the rows for
/// which it was asked.
pub(crate) fn drifted(
    context: &Context,
    name: &Name,
    loaded: &Loaded,
    table: &TableName,
) -> Result<Vec<Event>> {
    let Asked::Rows { scorer, seen, .. } = &loaded.asked else { return Ok(Vec::new()) };
    let Some(rows) = seen.rows() else { return Ok(Vec::new()) };
    let drifts = scorer.drift(&rows)?.into_iter();
    let strong = drifts.filter(|(_, drift)| drift.level == DriftLevel::Strong);
    let events = strong.map(|(feature, drift)| Event {
        at: context.clock.now(),
        run_id: context.run_id.clone(),
        table: table.to_string(),
        kind: EventKind::FeatureDrifted,
        column: Some(feature),
        before: Some(format!("predictors.{name}")),
        after: Some(format!("psi {:.2}", drift.psi)),
        count: Some(drift.rows),
    });
    Ok(events.collect())
}

fn ready(name: &Name, stored: &PredictorVersion) -> Result<Asked> {
    let predictor = read(name, stored)?;
    let version = stored.number;
    Ok(match predictor.forecasts {
        Some(forecasts) => Asked::Series { version, forecasts: Arc::new(forecasts) },
        None => {
            let scorer = scorer(name, version, predictor)?;
            Asked::Rows { version, scorer: Arc::new(scorer), seen: Arc::default() }
        }
    })
}

/// What was stored as a version of `name`.
///
/// # Errors
/// With the name: [`codes::LAKE_VERSION`] if a newer Lagar wrote it, [`codes::PREDICTOR_STORED`] if it is no predictor.
pub(crate) fn read(name: &Name, stored: &PredictorVersion) -> Result<Predictor> {
    let version = stored.number;
    Predictor::read(&stored.predictor)
        .map_err(|error| error.context(format!("version {version} of `{name}`")))
}

/// Ready to be asked for rows.
///
/// # Errors
/// [`codes::PREDICTOR_STORED`], with the name: what was stored does not fit together.
pub(crate) fn scorer(name: &Name, version: u64, predictor: Predictor) -> Result<Scorer> {
    Scorer::new(predictor).map_err(|error| error.context(format!("version {version} of `{name}`")))
}

/// What was learned, if it can be asked.
///
/// # Errors
/// As [`read`]; [`codes::PREDICTOR_STORED`] also if it does not fit together.
pub(crate) fn sound(name: &Name, stored: &PredictorVersion) -> Result<Predictor> {
    let predictor = read(name, stored)?;
    if predictor.forecasts.is_none() {
        scorer(name, stored.number, predictor.clone())?;
    }
    Ok(predictor)
}

/// Says where the project defines the predictor, unless `error` has a place of its own.
fn located(def: &PredictorDef, error: Error) -> Error {
    match error.place() {
        Some(_) => error,
        None => error.at_place(def.place.clone()),
    }
}

/// What of its settings does not fit a table with `columns`.
pub(crate) fn misfits(def: &PredictorDef, columns: &SchemaRef) -> Vec<Error> {
    let misfits = def.spec.misfits(columns).into_iter();
    misfits.map(|error| located(def, error)).collect()
}

/// The classes that it tells apart, as far as they decide of what type their probabilities are: none if its settings
/// say that there are two. `None`: only its rows will tell.
pub(crate) async fn known_classes(
    lake: &Lake,
    def: &PredictorDef,
    columns: &SchemaRef,
) -> Option<Vec<String>> {
    let target = def.spec.target.as_ref()?;
    let data_type = columns.field_with_name(target).ok().map(|field| field.data_type());
    if algorithm(&def.spec.algorithm).ok()?.task != Task::Classification {
        return None;
    }
    if data_type == Some(&DataType::Boolean) {
        return Some(Vec::new());
    }
    let current = current_classes(lake, &def.name, target).await;
    current.or_else(|| def.spec.has_two_classes(data_type).then(Vec::new))
}

/// The classes of the version that is asked now, if it tells those of this target apart. What of the lake cannot be
/// read is told by the step that needs it.
async fn current_classes(lake: &Lake, name: &Name, target: &str) -> Option<Vec<String>> {
    let release = lake.current_release().await.ok()??;
    let number = *release.predictors.get(name)?;
    let stored = lake.predictor(name, number).await.ok()?;
    let predictor = read(name, &stored).ok()?;
    let is_of_target = predictor.target.as_ref().is_some_and(|known| known.name == target);
    (is_of_target && predictor.task == Task::Classification).then(|| predictor.classes().to_vec())
}

/// What can be known of a predictor that has learned nothing, from the columns of its table and the classes of
/// [`known_classes`].
///
/// # Errors
/// [`codes::CONFIG`]: what is asked for does not fit the columns.
pub(crate) fn planned(def: &PredictorDef, columns: &SchemaRef, classes: Option<&[String]>) -> Result<Asked> {
    let at = |error: Error| located(def, error);
    let names: Vec<String> = columns.fields().iter().map(|field| field.name().clone()).collect();
    let features = def.spec.feature_columns(&names).map_err(at)?;
    let task = algorithm(&def.spec.algorithm)?.task;
    if task == Task::Forecast {
        let columns = forecast::columns(&def.spec, columns).map_err(at)?;
        return Ok(Asked::PlannedSeries { columns, horizon: def.spec.horizon });
    }
    let target =
        def.spec.target.as_ref().and_then(|name| Some((name.as_str(), columns.field_with_name(name).ok()?)));
    let target = target.map(|(name, field)| (name, field.data_type()));
    let probability = match answer_type(Question::Probability, task, target, classes) {
        Err(_) => Probability::None,
        Ok(_) if task == Task::Classification && classes.is_none() => Probability::Unknown,
        Ok(data_type) => Probability::Typed(data_type),
    };
    let answer = answer_type(Question::Answer, task, target, classes).map_err(at)?;
    let features = features.into_iter().map(|name| {
        let kind = columns.field_with_name(&name).ok().and_then(|field| Kind::known(field.data_type()));
        PlannedFeature { name, kind }
    });
    // Those of a text are found in the rows that it will learn from.
    let classes = match (task, target) {
        (Task::Classification, Some((_, DataType::Boolean))) => {
            Some(["false", "true"].map(str::to_owned).to_vec())
        }
        (Task::Classification, _) => None,
        _ => Some(Vec::new()),
    };
    Ok(Asked::Planned { features: features.collect(), classes, answer, probability })
}

/// Trains the predictor if its table or its settings changed. `report` is filled as far as it came.
pub(crate) async fn train(context: &Context, def: &PredictorDef, report: &mut StepReport) -> Result<()> {
    let from = &def.spec.from;
    let (version, table) = input(context, &def.name, from).await?;
    report.provenance.inputs = [(from.to_string(), version)].into();
    let definition = definition(def)?;
    report.provenance.code_hash = Some(definition.clone());
    let fingerprint = fingerprint(&definition, &id_of(&table));
    let numbers = context.lake.predictor_numbers(&def.name).await?;
    let newest = match &numbers {
        Some(numbers) => match context.lake.predictor(&def.name, *numbers.end()).await {
            // The next one takes its place, as if that had never been trained.
            Err(error) if error.code() == codes::LAKE_CORRUPT => {
                report.notes.push(format!("version {} cannot be read: {}", numbers.end(), error.message()));
                None
            }
            newest => Some(newest?),
        },
        None => None,
    };
    let is_as_before = |newest: &&PredictorVersion| {
        newest.fingerprint == fingerprint
            && !context.full_refresh
            && !is_overtaken(context.release.as_ref(), def, newest)
    };
    if let Some(newest) = newest.as_ref().filter(is_as_before) {
        as_before(context, def, newest, report);
        return Ok(());
    }
    // After a rollback: the version that is asked was made of this very state.
    if let (Some(number), false) = (context.released_predictor(&def.name), context.full_refresh)
        && numbers.as_ref().is_some_and(|numbers| *numbers.end() != number)
        && context.lake.predictor(&def.name, number).await.is_ok_and(|asked| asked.fingerprint == fingerprint)
    {
        report.status = Status::NothingNew;
        report.version = Some(number);
        report.notes.push("its settings and its table are those that it learned from".into());
        return Ok(());
    }
    if rows_in(&table) == 0 {
        return no_rows(context, def, report);
    }
    if let Some(error) = Error::all(misfits(def, &table.schema)) {
        return Err(error);
    }
    // One that cannot be read, or asked, does not stand in the way of the next.
    let before = match context.predictor(&def.name).filter(|_| def.spec.promote.is_some()) {
        Some(number) => {
            let stored = context.lake.predictor(&def.name, number).await;
            let before = stored.and_then(|stored| sound(&def.name, &stored));
            before
                .map_err(|error| report.notes.push(format!("not compared with version {number}: {error}")))
                .ok()
        }
        None => None,
    };
    let rows = rows_of(context, def, &table, before.as_ref(), report).await?;
    let (threads, memory) = (context.project.limits.threads, memory(context));
    let spec = with_features(&def.spec, &table)?;
    let rows_of_table = report.rows_in;
    let work = move || {
        let before = before.as_ref();
        learn(&Lesson { spec: &spec, rows: &rows, version, rows_of_table, threads, memory, before })
    };
    let learned = tokio::select! {
        learned = tokio::task::spawn_blocking(work) => {
            learned.map_err(|error| Error::bug("training panicked").caused_by(&error))??
        }
        () = context.cancel.cancelled() => return Err(Error::new(codes::STOPPED, "stopped")),
    };
    let Learned { predictor, verdict } = learned;
    if let (true, Some(chosen), Some(numbers)) =
        (verdict.promoted, context.released_predictor(&def.name), &numbers)
        && context.is_set_aside(&def.name, *numbers.end())
    {
        report.notes.push(format!("version {chosen}, which was put in its place by hand, is replaced"));
    }
    let stored = context
        .lake
        .put_predictor(NewPredictor {
            name: def.name.clone(),
            base: numbers.map(|numbers| *numbers.end()),
            run_id: context.run_id.clone(),
            fingerprint,
            table: from.clone(),
            table_version: version,
            promoted: verdict.promoted,
            judged_beside: context.released_predictor(&def.name),
            predictor: predictor.to_json()?,
        })
        .await?;
    kill::at(KillPoint::PredictorStored);
    report.rows_out = predictor.learned_from.rows;
    report.version = Some(stored.number);
    report.notes.extend(predictor.notes.iter().cloned());
    report.notes.push(verdict.why);
    if verdict.promoted {
        context.promoted(def.name.clone(), stored.number);
    }
    Ok(())
}

/// Nothing is new since the newest version: which one is asked?
fn as_before(context: &Context, def: &PredictorDef, newest: &PredictorVersion, report: &mut StepReport) {
    report.status = Status::NothingNew;
    let released = context.released_predictor(&def.name);
    report.version = released.or(Some(newest.number));
    let number = newest.number;
    if released == Some(number) {
        report.notes.push("its settings and its table are unchanged".into());
    } else if !newest.promoted {
        let enough = released
            .map_or("to be asked".to_owned(), |released| format!("to take the place of version {released}"));
        report.notes.push(format!("version {number} of the same rows was not good enough {enough}"));
    } else if context.is_set_aside(&def.name, number) {
        let held = released.map_or("no version".to_owned(), |released| format!("version {released}"));
        report.notes.push(format!("{held} was put in the place of version {number} by hand, and stays"));
    } else {
        // A run that broke off before its release.
        report.version = Some(number);
        report.notes.push("trained by an earlier run that released nothing".into());
        context.promoted(def.name.clone(), number);
    }
}

/// Whether `newest` was compared with a version that is not the one to compare with any more: another run released
/// between its training and its own release.
fn is_overtaken(release: Option<&Release>, def: &PredictorDef, newest: &PredictorVersion) -> bool {
    let released = release.and_then(|release| release.predictors.get(&def.name).copied());
    def.spec.promote.is_some()
        && released != Some(newest.number)
        && released != newest.judged_beside
        && !release.is_some_and(|release| release.sets_aside(&def.name, newest.number))
}

fn no_rows(context: &Context, def: &PredictorDef, report: &mut StepReport) -> Result<()> {
    let from = &def.spec.from;
    if context.predictor(&def.name).is_some() || algorithm(&def.spec.algorithm)?.task == Task::Forecast {
        report.status = Status::NothingNew;
        report.version = context.predictor(&def.name);
        report.notes.push(format!("no data: `{from}` has no rows"));
        return Ok(());
    }
    Err(Error::new(codes::PREDICTOR_DATA, format!("`{from}` has no rows to learn from")))
}

/// The table at the version that this run reads.
async fn input(context: &Context, name: &Name, from: &TableName) -> Result<(u64, Table)> {
    let missing = || {
        Error::new(codes::TABLE_MISSING, format!("it learns from `{from}`, which has no data yet"))
            .hint(format!("make it first, with all that it is made of: lagar run -s +predictors.{name}"))
    };
    let version = context.version(from).ok_or_else(missing)?;
    let table = context.lake.table(from, Some(version)).await?.ok_or_else(missing)?;
    Ok((version, table))
}

/// Bytes that the rows of a predictor and what is made of them may take.
fn memory(context: &Context) -> u64 {
    (context.engine.limits().memory_bytes as f64 * MEMORY_SHARE) as u64
}

/// The rows with the columns that are needed, in an order that only their values decide; behind them the columns that
/// only `before` needs, which is judged by the same rows.
async fn rows_of(
    context: &Context,
    def: &PredictorDef,
    table: &Table,
    before: Option<&Predictor>,
    report: &mut StepReport,
) -> Result<RecordBatch> {
    let from = &def.spec.from;
    let names: Vec<String> = table.schema.fields().iter().map(|field| field.name().clone()).collect();
    let needed = def.spec.needed_columns(&names)?;
    let features = before.and_then(|before| before.frame.as_ref()).map_or(&[][..], |frame| &frame.features);
    let more = features.iter().map(|feature| &feature.name);
    let more: Vec<&String> = more.filter(|name| names.contains(name) && !needed.contains(name)).collect();
    let rows = rows_in(table);
    report.rows_in = rows;
    let taken = def.spec.sample.map_or(rows, |sample| rows.min(sample as u64));
    let width = needed.len() + more.len();
    // Once as they are read, once where a split takes them, once as a number of the matrix. How many columns that has
    // is known when the rows are: then it is counted again.
    let bytes_of_value = 2 * def.spec.precision.bytes() + 8;
    let bytes = taken.saturating_mul(width as u64).saturating_mul(bytes_of_value);
    let allowed = memory(context);
    if bytes > allowed {
        let what = format!(
            "{taken} rows of {width} columns need about {} MiB, and a predictor may use {} MiB",
            bytes.div_ceil(1 << 20),
            allowed >> 20
        );
        let hint = format!(
            "learn from a sample (`sample: {}`), hold numbers in 32 bits (`precision: single`), or raise \
             `limits.memory`",
            taken * allowed / bytes / 2
        );
        return Err(Error::new(codes::MEMORY, what).hint(hint));
    }
    let session = context.engine.session();
    session.add_table(table, &context.lake)?;
    let columns = needed.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    let features = def.spec.feature_columns(&names)?;
    let read = |name: &String| {
        // Groups are told by what their values are.
        let rounds = features.contains(name)
            && def.spec.group_by.as_ref() != Some(name)
            && table.schema.field_with_name(name).is_ok_and(|field| def.spec.rounds(name, field.data_type()));
        let name = quoted(name);
        if rounds { format!("CAST({name} AS REAL) AS {name}") } else { name }
    };
    let read = needed.iter().chain(more.iter().copied()).map(read).collect::<Vec<_>>().join(", ");
    let all = needed.iter().chain(more).map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    let first = def.spec.time.iter().chain(&def.spec.series).chain(&def.spec.key);
    let order = first.map(|name| quoted(name)).chain([all.clone()]).collect::<Vec<_>>().join(", ");
    let sql = match def.spec.sample.filter(|sample| (*sample as u64) < rows) {
        Some(sample) => format!(
            "SELECT {read} FROM (SELECT {all} FROM {from} ORDER BY lagar_row_hash({columns}), {all} LIMIT {sample}) \
             ORDER BY {order}"
        ),
        None => format!("SELECT {read} FROM {from} ORDER BY {order}"),
    };
    let batches = tokio::select! {
        batches = session.collect(&sql) => batches?,
        () = context.cancel.cancelled() => return Err(Error::new(codes::STOPPED, "stopped")),
    };
    let schema = match batches.first() {
        Some(batch) => batch.schema(),
        None => Arc::new(Schema::new(
            needed
                .iter()
                .filter_map(|name| table.schema.field_with_name(name).ok().cloned())
                .collect::<Vec<_>>(),
        )),
    };
    concat_batches(&schema, &batches)
        .map_err(|error| Error::bug("rows do not fit together").caused_by(&error))
}

/// The same with the features by name, and nothing said of other columns: of a table's columns only those that are
/// needed are read.
fn with_features(spec: &Spec, table: &Table) -> Result<Spec> {
    if spec.horizon.is_some() {
        return Ok(spec.clone());
    }
    let names: Vec<String> = table.schema.fields().iter().map(|field| field.name().clone()).collect();
    let features = spec.feature_columns(&names)?;
    let mut spec = spec.clone();
    spec.encode.retain(|column, _| features.contains(column));
    spec.impute.retain(|column, _| features.contains(column));
    spec.allow_leak.retain(|column| features.contains(column));
    spec.features = Features::Named(features);
    Ok(spec)
}

/// Why the predictor would be trained from what lies in the lake now; `None` if it would not.
pub(crate) async fn staleness(
    lake: &Lake,
    def: &PredictorDef,
    release: Option<&Release>,
) -> Result<Option<String>> {
    let from = &def.spec.from;
    let version = release.and_then(|release| release.tables.get(from).copied());
    let table = match version {
        Some(version) => lake.table(from, Some(version)).await?,
        None => None,
    };
    let newest = match lake.newest_predictor(&def.name).await {
        Err(error) if error.code() == codes::LAKE_CORRUPT => {
            return Ok(Some("its newest version cannot be read".into()));
        }
        newest => newest?,
    };
    let has_rows = table.as_ref().is_some_and(|table| rows_in(table) > 0);
    let (newest, table) = match (newest, table) {
        (None, Some(_)) if !has_rows && algorithm(&def.spec.algorithm)?.task == Task::Forecast => {
            return Ok(None);
        }
        (None, _) => return Ok(Some("it was never trained".into())),
        (Some(_), None) => return Ok(None),
        (Some(newest), Some(table)) => (newest, table),
    };
    let definition = definition(def)?;
    let wanted = fingerprint(&definition, &id_of(&table));
    let released = release.and_then(|release| release.predictors.get(&def.name).copied());
    let is_asked = match released.filter(|number| *number != newest.number) {
        Some(number) => {
            lake.predictor(&def.name, number).await.is_ok_and(|asked| asked.fingerprint == wanted)
        }
        None => false,
    };
    let waits = newest.promoted
        && released != Some(newest.number)
        && !release.is_some_and(|release| release.sets_aside(&def.name, newest.number));
    if is_asked || newest.fingerprint == wanted && !is_overtaken(release, def, &newest) {
        return Ok((waits && !is_asked).then(|| "trained by a run that released nothing".into()));
    }
    if newest.fingerprint == wanted {
        return Ok(Some("another version became current since it was judged".into()));
    }
    Ok(Some(match version == Some(newest.table_version) {
        true => "its settings have changed since".into(),
        false => format!("`{from}` has changed since"),
    }))
}

fn fingerprint(definition: &str, table: &str) -> String {
    hash(&serde_json::json!({"predictor": definition, "table": table}))
}

/// What of the project decides what is learned.
fn definition(def: &PredictorDef) -> Result<String> {
    let mut spec = def.spec.clone();
    (spec.description, spec.tags) = (None, Vec::new());
    let spec = serde_json::to_value(&spec)
        .map_err(|error| Error::bug("a predictor's settings").caused_by(&error))?;
    Ok(hash(&spec))
}
