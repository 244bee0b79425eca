//! One run: every selected step once, in the order of its needs, some at a time, then one release.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Instant,
};

use lagar_connectors::Stores;
use lagar_engine::Engine;
use lagar_flow::{Blame, Clock, Error, KillPoint, Name, Result, TableName, Zone, codes, kill};
use lagar_lake::{Lake, Release};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    build, check, git,
    graph::{Graph, Node},
    history::{self, History},
    load,
    lock::RunLock,
    predictor::{self, Loaded},
    project::Project,
    redrive,
    report::{Provenance, Report, Status, StepKind, StepReport},
    steps_table,
    workplace::{Scratch, Workplace},
};

/// A step is tried this often when its error's blame is outside.
const ATTEMPTS_MAX: u32 = 3;
/// Wait before the second attempt; it doubles.
const RETRY_WAIT: std::time::Duration = std::time::Duration::from_millis(500);

/// How to run; everything that is not the project.
pub struct RunOptions {
    /// Selections as in dbt; empty: everything.
    pub select: Vec<String>,
    /// Reads sources from their beginning and rebuilds every selected table.
    pub full_refresh: bool,
    /// Column and value of partitions that are made again, although their inputs are what they were; the
    /// empty text is null.
    pub partitions: Vec<(String, String)>,
    /// Unless it is empty: no source is read, and of these sources and models the rows in quarantine are tried
    /// again ([`crate::retry`] fills it).
    pub retry: BTreeSet<TableName>,
    pub seed: u64,
    pub cancel: CancellationToken,
    /// Told of each step as it starts and ends.
    pub watcher: Arc<dyn Watcher>,
}

/// Sees a run while it goes on.
pub trait Watcher: Send + Sync {
    fn run_started(&self, _steps: usize) {}
    fn step_started(&self, _name: &str, _kind: StepKind) {}
    fn step_retried(&self, _name: &str, _attempt: u32, _error: &Error) {}
    /// `done` of `total` parts of a step are through.
    fn step_progressed(&self, _name: &str, _done: usize, _total: usize) {}
    fn step_finished(&self, _report: &StepReport) {}
}

/// Watches nothing.
pub struct Unwatched;
impl Watcher for Unwatched {}

/// What the steps of one run share.
pub(crate) struct Context {
    pub project: Arc<Project>,
    pub lake: Lake,
    pub engine: Engine,
    pub clock: Arc<dyn Clock>,
    pub seed: u64,
    pub cancel: CancellationToken,
    pub run_id: String,
    pub full_refresh: bool,
    /// See [`RunOptions`].
    pub partitions: Vec<(String, String)>,
    /// See [`RunOptions`].
    retry: BTreeSet<TableName>,
    pub spool_dir: PathBuf,
    pub stores: Arc<dyn Stores>,
    /// The release that readers saw when the run began.
    pub release: Option<Release>,
    /// By table the newest version that a release before had, and the newest such release. What is newer than the
    /// released one was taken back by a rollback, and is not published again by itself.
    pub published: BTreeMap<TableName, Published>,
    pub watcher: Arc<dyn Watcher>,
    /// What is the same for every step.
    pub provenance: Provenance,
    /// The versions that steps behind must read: what this run made or found up to date.
    versions: Mutex<BTreeMap<TableName, u64>>,
    /// The versions of predictors that are asked: what this run promoted or found current.
    predictors: Mutex<BTreeMap<Name, u64>>,
    /// The predictor that a step of this run asked last: often the next one asks it too. A forest may be large, so that
    /// not all are kept.
    pub asked: Mutex<Option<(Name, Loaded)>>,
}

/// A version of a table, and a release that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Published {
    pub version: u64,
    pub release: u64,
}

impl Context {
    /// The version of `table` that this run reads: made by this run, else the released one.
    pub fn version(&self, table: &TableName) -> Option<u64> {
        let versions = self.versions.lock().unwrap_or_else(|e| e.into_inner());
        versions.get(table).copied().or_else(|| self.released(table))
    }

    /// For a run that is called `run_id`.
    pub async fn new(
        workplace: &Workplace,
        scratch: &Scratch,
        engine: Engine,
        options: &RunOptions,
        run_id: &str,
    ) -> Result<Self> {
        let (release, published) = releases(&workplace.lake).await?;
        Ok(Self {
            lake: workplace.lake.clone(),
            engine,
            stores: workplace.stores(),
            spool_dir: scratch.spool_dir(),
            clock: workplace.clock.clone(),
            seed: options.seed,
            cancel: options.cancel.clone(),
            run_id: run_id.to_owned(),
            full_refresh: options.full_refresh,
            partitions: options.partitions.clone(),
            retry: options.retry.clone(),
            release,
            published,
            watcher: options.watcher.clone(),
            provenance: provenance(&workplace.project, options),
            versions: Mutex::default(),
            predictors: Mutex::default(),
            asked: Mutex::default(),
            project: workplace.project.clone(),
        })
    }

    pub fn released(&self, table: &TableName) -> Option<u64> {
        self.release.as_ref().and_then(|release| release.tables.get(table).copied())
    }

    /// The load up to which this run reads a source: that of its own load step, else the newest when the
    /// first step asked. All steps read the same, whatever else lands meanwhile.
    pub fn pin(&self, source: &TableName, newest: u64) -> u64 {
        let mut versions = self.versions.lock().unwrap_or_else(|e| e.into_inner());
        *versions.entry(source.clone()).or_insert(newest)
    }

    /// A run that was stopped for a while must not put what is old on top of what another run published
    /// since. Whoever reads a table's newest version, and no release, would see it.
    pub async fn refuse_if_overtaken(&self, table: &TableName) -> Result<()> {
        let current = self.lake.current_release().await?;
        let now = current.as_ref().and_then(|release| release.tables.get(table).copied());
        if now == self.released(table) {
            return Ok(());
        }
        let say = |version: Option<u64>| version.map_or("no version".into(), |v| format!("version {v}"));
        Err(Error::new(
            codes::OVERTAKEN,
            format!(
                "another run published {} of `{table}` in between; this run started from {}",
                say(now),
                say(self.released(table))
            ),
        )
        .hint("run again: it starts from what the other one published"))
    }

    /// The version of a predictor that this run asks: promoted by this run, else the released one.
    pub fn predictor(&self, name: &Name) -> Option<u64> {
        let promoted = self.predictors.lock().unwrap_or_else(|e| e.into_inner());
        promoted.get(name).copied().or_else(|| self.released_predictor(name))
    }

    pub fn released_predictor(&self, name: &Name) -> Option<u64> {
        self.release.as_ref().and_then(|release| release.predictors.get(name).copied())
    }

    /// Whether a person chose another version of `name` in place of this one.
    pub fn is_set_aside(&self, name: &Name, version: u64) -> bool {
        self.release.as_ref().is_some_and(|release| release.sets_aside(name, version))
    }

    /// From now on this version is asked, and released with the tables.
    pub fn promoted(&self, name: Name, version: u64) {
        self.predictors.lock().unwrap_or_else(|e| e.into_inner()).insert(name, version);
    }

    /// Whether the rows of `table` in quarantine are tried again.
    pub fn retries(&self, table: &TableName) -> bool {
        self.retry.contains(table)
    }

    pub fn made(&self, table: TableName, version: u64) {
        self.versions.lock().unwrap_or_else(|e| e.into_inner()).insert(table, version);
    }
}

/// Runs the selected part of `project` and records it.
///
/// # Errors
/// Only what keeps the run from starting; what happens in a step stands in the [`Report`].
pub async fn run(workplace: &Workplace, options: RunOptions) -> Result<Report> {
    let started = Instant::now();
    let project = workplace.project.clone();
    if let Some(error) = Error::all(check::unknown(&project)) {
        return Err(error);
    }
    let graph = Graph::of(&project)?;
    let selected = graph.select(&options.select)?;
    check::partitions(&project, &selected, &options.partitions)?;
    let _lock = match project.state_dir() {
        Ok(dir) => RunLock::take(&dir, workplace.clock.now())?,
        Err(_) => None,
    };
    let scratch = workplace.scratch()?;
    let engine = workplace.engine(&scratch)?;
    check::before_run(workplace, &engine, &graph, &selected).await?;
    let run_id = uuid::Uuid::now_v7().to_string();
    let context = Arc::new(Context::new(workplace, &scratch, engine, &options, &run_id).await?);

    let mut warnings = Vec::new();
    let history = note_failure(&mut warnings, workplace.history().await);
    if let Some(history) = &history {
        let begun = history.start_run(&run_id, project.name.as_str(), "run", workplace.clock.now()).await;
        note_failure(&mut warnings, begun);
        kill::at(KillPoint::HistoryBegun);
    }

    options.watcher.run_started(selected.len() + usize::from(project.steps_table.is_some()));
    let steps =
        run_steps(&context, &graph, &selected, &options.watcher, history.as_ref(), &mut warnings).await;

    let mut report = Report {
        run_id,
        project: project.name.to_string(),
        status: status_of(&steps),
        release: None,
        seconds: 0.0,
        steps,
        warnings,
    };
    if let Some(table) = &project.steps_table {
        options.watcher.step_started(&table.to_string(), StepKind::Model);
        let step = steps_table::step(&context, table, history.as_ref(), &mut report).await;
        options.watcher.step_finished(&step);
        report.steps.push(step);
        report.status = status_of(&report.steps);
    }
    if report.status == Status::Ok || report.status == Status::NothingNew {
        match publish(&context).await {
            Ok(release) => {
                report.release = release;
                if release.is_some() {
                    report.status = Status::Ok;
                }
            }
            Err(error) => {
                report.status = Status::Failed;
                let error = error.without(&project.secrets);
                report.steps.push(StepReport::new("release", StepKind::Release).failed(error));
            }
        }
    }
    report.seconds = started.elapsed().as_secs_f64();
    if let Some(history) = &history {
        let ended = history.end_run(&report, workplace.clock.now()).await;
        note_failure(&mut report.warnings, ended);
        history.close().await;
        kill::at(KillPoint::HistoryEnded);
    }
    Ok(report)
}

/// What explains all steps of a run.
fn provenance(project: &Project, options: &RunOptions) -> Provenance {
    // As `lagar config show` shows them: a value that is a secret somewhere is masked.
    let vars: serde_json::Map<String, serde_json::Value> = project
        .settings()
        .into_iter()
        .filter_map(|setting| {
            let name = setting.key.strip_prefix("vars.")?.to_owned();
            Some((name, project.secrets.text(&setting.value).into()))
        })
        .collect();
    Provenance {
        parameters: serde_json::json!({
            "select": options.select, "full_refresh": options.full_refresh, "retry": options.retry, "vars": vars,
            "config": project.config_hash,
        }),
        code_version: project.code_folder().and_then(git::commit_of),
        machine: history::machine(),
        ..Provenance::default()
    }
}

/// The current release, and what those before it had.
async fn releases(lake: &Lake) -> Result<(Option<Release>, BTreeMap<TableName, Published>)> {
    let mut releases = lake.releases().await?;
    let current = releases.pop();
    let mut published = BTreeMap::new();
    for release in releases {
        for (table, version) in release.tables {
            let this = Published { version, release: release.number };
            published.entry(table).and_modify(|newest| *newest = this.max(*newest)).or_insert(this);
        }
    }
    Ok((current, published))
}

/// The history is a convenience: its failure is said, and the run goes on.
pub(crate) fn note_failure<T>(warnings: &mut Vec<String>, result: Result<T>) -> Option<T> {
    result.map_err(|error| warnings.push(format!("the history is not complete: {error}"))).ok()
}

async fn run_steps(
    context: &Arc<Context>,
    graph: &Graph,
    selected: &BTreeSet<Node>,
    watcher: &Arc<dyn Watcher>,
    history: Option<&History>,
    warnings: &mut Vec<String>,
) -> Vec<StepReport> {
    let mut waiting: Vec<Node> =
        graph.order().iter().filter(|node| selected.contains(*node)).cloned().collect();
    let order: BTreeMap<String, usize> =
        waiting.iter().enumerate().map(|(place, node)| (node.to_string(), place)).collect();
    let mut ended: BTreeMap<Node, Status> = BTreeMap::new();
    let mut running = JoinSet::new();
    let mut reports = Vec::new();

    loop {
        let mut index = 0;
        while index < waiting.len() {
            let node = &waiting[index];
            let needs: Vec<&Node> =
                graph.needs(node).iter().filter(|need| selected.contains(*need)).collect();
            let failed = needs.iter().find(|need| ended.get(**need).is_some_and(|status| !status.is_good()));
            if let Some(failed) = failed {
                let mut report = StepReport::new(node.to_string(), node.kind().step());
                report.attempts = 0;
                report.status = match ended.get(*failed) {
                    Some(Status::Skipped) => Status::Skipped,
                    _ => Status::UpstreamFailed,
                };
                report.error = (report.status == Status::UpstreamFailed)
                    .then(|| Error::new(codes::UPSTREAM, format!("`{failed}`, which it reads, failed")));
                ended.insert(node.clone(), report.status);
                finish(report, watcher, history, context, warnings, &mut reports).await;
                waiting.remove(index);
                index = 0; // steps before this one in the list may wait for it no longer
            } else if running.len() < context.project.limits.concurrency
                && !context.cancel.is_cancelled()
                && needs.iter().all(|need| ended.contains_key(*need))
            {
                let node = waiting.remove(index);
                watcher.step_started(&node.to_string(), node.kind().step());
                running.spawn(run_step(context.clone(), node, watcher.clone()));
            } else {
                index += 1;
            }
        }
        let Some(joined) = running.join_next().await else { break };
        let (node, report) = match joined {
            Ok(done) => done,
            // The step panicked: the others end in order, the run says that the defect is ours.
            Err(error) => {
                let bug = Error::bug("a step panicked").caused_by(&error).hint("please report this");
                let bug = bug.without(&context.project.secrets);
                reports.push(StepReport::new("run", StepKind::Release).failed(bug));
                context.cancel.cancel();
                continue;
            }
        };
        ended.insert(node.clone(), report.status);
        // A predictor says itself whether its new version is promoted.
        if let (true, Some(version), Node::Table(table)) = (report.status.is_good(), report.version, node) {
            context.made(table, version);
        }
        finish(report, watcher, history, context, warnings, &mut reports).await;
    }
    // Only a stop leaves steps behind.
    for node in waiting {
        let mut report = StepReport::new(node.to_string(), node.kind().step());
        report.attempts = 0;
        report.status = Status::Skipped;
        report.error = Some(Error::new(codes::STOPPED, "not started: the run was asked to stop"));
        finish(report, watcher, history, context, warnings, &mut reports).await;
    }
    reports.sort_by_key(|report| order.get(&report.name).copied().unwrap_or(usize::MAX));
    reports
}

pub(crate) async fn finish(
    mut report: StepReport,
    watcher: &Arc<dyn Watcher>,
    history: Option<&History>,
    context: &Context,
    warnings: &mut Vec<String>,
    reports: &mut Vec<StepReport>,
) {
    report.provenance.complete(&context.provenance);
    report.error = report.error.map(|error| error.without(&context.project.secrets));
    report.notes.iter_mut().for_each(|note| *note = context.project.secrets.text(note));
    for event in &mut report.events {
        for text in [&mut event.column, &mut event.before, &mut event.after].into_iter().flatten() {
            *text = context.project.secrets.text(text);
        }
    }
    watcher.step_finished(&report);
    if let Some(history) = history {
        let recorded = history.record_step(&context.run_id, &report, context.clock.now()).await;
        note_failure(warnings, recorded);
        kill::at(KillPoint::HistoryStep);
    }
    reports.push(report);
}

async fn run_step(context: Arc<Context>, node: Node, watcher: Arc<dyn Watcher>) -> (Node, StepReport) {
    let started = Instant::now();
    let mut attempt = 1;
    loop {
        let mut report = StepReport::new(node.to_string(), node.kind().step());
        let result = match &node {
            Node::Table(table) if table.zone == Zone::Raw => match context.project.sources.get(&table.name) {
                Some(source) if context.retry.is_empty() => load::load(&context, source, &mut report).await,
                Some(source) => redrive::load(&context, source, &mut report).await,
                None => Err(Error::bug(format!("source `{node}` is in no project"))),
            },
            Node::Predictor(name) => match context.project.predictors.get(name) {
                Some(predictor) => predictor::train(&context, predictor, &mut report).await,
                None => Err(Error::bug(format!("predictor `{name}` is in no project"))),
            },
            Node::Table(table) => match context.project.models.get(table) {
                Some(model) => build::build(&context, model, &mut report).await,
                None => Err(Error::bug(format!("model `{node}` is in no project"))),
            },
        };
        report.attempts = attempt;
        report.seconds = started.elapsed().as_secs_f64();
        let error = match result {
            Ok(()) => return (node, report),
            Err(error) => error,
        };
        if !worth_another_attempt(&error) || attempt == ATTEMPTS_MAX || context.cancel.is_cancelled() {
            return (node, report.failed(error));
        }
        let error = error.without(&context.project.secrets);
        watcher.step_retried(&node.to_string(), attempt, &error);
        tokio::select! {
            () = tokio::time::sleep(RETRY_WAIT * 2u32.pow(attempt - 1)) => attempt += 1,
            () = context.cancel.cancelled() => return (node, report.failed(error)),
        }
    }
}

/// Sources have retried their own calls already, as their `retry:` says; doing that again from here
/// would multiply the attempts that the user asked for. What was overtaken stays so for the whole run.
fn worth_another_attempt(error: &Error) -> bool {
    let in_vain = [codes::HTTP_TEMPORARY, codes::DATABASE_DOWN, codes::OVERTAKEN];
    error.blame() == Blame::Outside && !in_vain.contains(&error.code())
}

pub(crate) fn status_of(steps: &[StepReport]) -> Status {
    if steps.iter().any(|step| matches!(step.status, Status::Failed | Status::UpstreamFailed)) {
        Status::Failed
    } else if steps.iter().any(|step| step.status == Status::Skipped) {
        // Stopped on request: not done, and the exit code says why.
        Status::Failed
    } else if steps.iter().any(|step| step.status == Status::Ok) {
        Status::Ok
    } else {
        Status::NothingNew
    }
}

/// Makes the tables of this run visible together. `None` when readers already see all of them.
async fn publish(context: &Context) -> Result<Option<u64>> {
    let made = context.versions.lock().unwrap_or_else(|e| e.into_inner()).clone();
    let promoted = context.predictors.lock().unwrap_or_else(|e| e.into_inner()).clone();
    let before = context.release.as_ref().map(Release::contents).unwrap_or_default();
    let mut contents = before.clone();
    contents.tables.extend(made.into_iter().filter(|(table, _)| table.zone != Zone::Raw));
    // One that was trained anew is no choice of a person any more.
    contents.set_aside.retain(|name, _| !promoted.contains_key(name));
    contents.predictors.extend(promoted);
    // A table that no model makes (any more) stays: another project may publish into the same lake.
    if contents == before {
        return Ok(None);
    }
    kill::at(KillPoint::ReleaseDue);
    if context.cancel.is_cancelled() {
        // Whoever asks to stop does not want readers to see something new a moment later.
        return Err(Error::new(codes::STOPPED, "nothing is released: the run was asked to stop"));
    }
    let base = context.release.as_ref().map(|release| release.number);
    let release = context.lake.publish(base, contents, &context.run_id, None).await?;
    kill::at(KillPoint::ReleasePut);
    Ok(Some(release.number))
}
