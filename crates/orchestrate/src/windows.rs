//! The load step of a source that is read by windows: one load a window, in order.
//!
//! Which windows are done stands in the manifests and nowhere else, so that what was killed goes on where it
//! was, on any machine.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;
use futures::{StreamExt, stream::FuturesOrdered};
use lagar_connectors::{
    Chunks, Outcome,
    window::{Asked, Windows},
};
use lagar_flow::{
    Chunk, Column, Covered, Error, KillPoint, Name, Note, Result, Scope, Window, codes, kill, schema_of,
};
use lagar_lake::{LoadWindow, LoadWriter, Manifest};

use crate::{
    load::{self, CHUNKS_WAITING_MAX, Seen},
    project::SourceDef,
    report::{Status, StepReport, WindowCounts},
    run::Context,
};

/// How much the clocks of two machines may differ; a load that is further ahead was made by a wrong one.
const CLOCKS_DIFFER_MAX: TimeDelta = TimeDelta::minutes(10);
/// So many notes of loads are in the report of a step; all are in the manifests.
const NOTES_MAX: usize = 5;

/// A window to read, and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Due {
    pub asked: Asked,
    /// Its newest load; `None` if what it holds must not keep a new one from being made.
    known: Option<Arc<Manifest>>,
    /// It was read before, and rows may have come late.
    pub again: bool,
}

/// What the loads of a source say about its windows.
pub(crate) struct Standing<'a> {
    windows: &'a Windows,
    zone: Tz,
    now: DateTime<Utc>,
    /// The newest load of each window, and when it was read at the latest.
    newest: HashMap<Window, (Arc<Manifest>, DateTime<Utc>)>,
    /// By the beginning of a window: since when all due windows before it are read.
    read_before: BTreeMap<NaiveDateTime, DateTime<Utc>>,
}

impl<'a> Standing<'a> {
    pub fn new(windows: &'a Windows, loads: &[Arc<Manifest>], zone: Tz, now: DateTime<Utc>) -> Self {
        let mut newest = HashMap::new();
        let mut read_before = BTreeMap::new();
        let mut latest = DateTime::<Utc>::MAX_UTC;
        for load in loads.iter().rev() {
            // No load is made after a later one. Where the clock says so, it was ahead and was put right.
            latest = latest.min(load.created_at);
            let Some(of) = load.window.filter(|_| !load.is_redriven()) else { continue };
            newest.entry(of.window).or_insert_with(|| (load.clone(), latest));
            if let Some(since) = of.earlier_read_at {
                let since = since.min(latest);
                let known = read_before.entry(of.window.from).or_insert(since);
                *known = since.max(*known);
            }
        }
        // From the last window to the first: what holds for a window holds for all before it.
        let mut best = DateTime::<Utc>::MIN_UTC;
        for since in read_before.values_mut().rev() {
            best = best.max(*since);
            *since = best;
        }
        Self { windows, zone, now, newest, read_before }
    }

    /// What a run has to read: windows that are over and were not read since, and those in which rows may
    /// have come late.
    pub fn due(&self) -> Result<Vec<Due>> {
        Ok(self.of(self.candidates()?, |due, is_settled| due.known.is_none() || !is_settled))
    }

    /// Windows that have a moment of the days `from` to `to` and are over: those that are missing, or all.
    /// Also how many are not over yet.
    pub fn between(&self, from: NaiveDate, to: NaiveDate, all: bool) -> Result<(Vec<Due>, usize)> {
        let end = to.succ_opt().unwrap_or(to).and_time(NaiveTime::MIN);
        let windows = self.windows.between(from.and_time(NaiveTime::MIN), end)?;
        let wanted = windows.len();
        let over = self.over(windows);
        let open = wanted - over.len();
        Ok((self.of(over, |due, _| all || due.known.is_none()), open))
    }

    /// All windows of a run, whether they were read or not.
    pub fn all(&self) -> Result<Vec<Due>> {
        Ok(self.of(self.candidates()?, |_, _| true))
    }

    /// The windows of a run that are over.
    fn candidates(&self) -> Result<Vec<Asked>> {
        let today = self.now.with_timezone(&self.zone).naive_local();
        let end = self.windows.end().map_or(today, |end| end.min(today));
        Ok(self.over(self.windows.between(self.windows.from(), end)?))
    }

    fn over(&self, windows: Vec<Window>) -> Vec<Asked> {
        let asked = windows.into_iter().map(|window| Asked::new(window, self.zone));
        asked.filter(|asked| asked.to <= self.now).collect()
    }

    fn of(&self, windows: Vec<Asked>, wanted: impl Fn(&Due, bool) -> bool) -> Vec<Due> {
        let due = windows.into_iter().filter_map(|asked| {
            let (known, is_settled) = match self.newest.get(&asked.window) {
                Some((load, read_at)) if self.is_done(&asked, *read_at) => {
                    (Some(load.clone()), self.is_settled(&asked, *read_at))
                }
                _ => (None, false),
            };
            let due = Due { again: known.is_some(), asked, known };
            wanted(&due, is_settled).then_some(due)
        });
        due.collect()
    }

    /// Whether a load holds the whole window: it was read when the window was over, by a clock that was right.
    fn is_done(&self, asked: &Asked, read_at: DateTime<Utc>) -> bool {
        read_at >= asked.to && read_at <= self.now + CLOCKS_DIFFER_MAX
    }

    /// Whether no late rows are to be expected any more that were not looked for. A window that was read again
    /// and had not changed has no load that says so; those of later windows do.
    fn is_settled(&self, asked: &Asked, read_at: DateTime<Utc>) -> bool {
        let settles = asked.to.checked_add_signed(self.windows.lag()).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let later = self.read_before.range(asked.window.to..).next();
        settles <= read_at || later.is_some_and(|(_, since)| settles <= *since && *since <= self.now)
    }
}

/// # Errors
/// Loads whose rows would be there twice, because their windows are not those of the project any more.
pub(crate) fn refuse_other_windows(
    source: &SourceDef,
    windows: &Windows,
    loads: &[Arc<Manifest>],
) -> Result<()> {
    let mut covered = Covered::default();
    for load in loads.iter().rev() {
        let Some(window) = load.window.map(|of| of.window) else { continue };
        if !covered.holds(&window) && !windows.is_one(&window) {
            let (name, number) = (&source.name, load.number);
            let message = format!(
                "load {number} of `{name}` is of the window {window}, which is not one of those that `window` says now"
            );
            return Err(Error::new(codes::CONFIG, message).at_place(source.place.clone()).hint(format!(
                "put `size` and `from` back, or read all again with: lagar run -s raw.{name} --full-refresh"
            )));
        }
        covered.add(window);
    }
    Ok(())
}

/// # Errors
/// Windows of one size whose rows are also in one of another that is not replaced whole yet.
pub(crate) fn refuse_overlaps(source: &Name, loads: &[Arc<Manifest>]) -> Result<()> {
    let mut covered = Covered::default();
    for load in loads.iter().rev().filter(|load| load.scope == Scope::Window) {
        let Some(window) = load.window.map(|of| of.window) else { continue };
        if !covered.holds(&window) && covered.overlaps(&window) {
            let message = format!(
                "load {} of `{source}` is of the window {window}, and later loads are of parts of it: rows would be there twice",
                load.number
            );
            return Err(Error::new(codes::CONFIG, message)
                .hint(format!("read the rest of it first: lagar run -s raw.{source} --full-refresh")));
        }
        covered.add(window);
    }
    Ok(())
}

/// Reads the windows of `source` that are due.
pub(crate) async fn load(
    context: &Context,
    source: &SourceDef,
    windows: &Windows,
    report: &mut StepReport,
) -> Result<()> {
    let loads = context.lake.loads(&source.name).await?;
    let now = context.clock.now();
    let standing = Standing::new(windows, &loads, context.project.timezone, now);
    let due = if context.full_refresh {
        let all = standing.all()?;
        all.into_iter().map(|due| Due { known: None, ..due }).collect()
    } else {
        refuse_other_windows(source, windows, &loads)?;
        standing.due()?
    };
    let how = How { at_once: 1, earlier_read_at: Some(now) };
    read(context, source, loads.last().cloned(), due, how, report).await
}

/// How windows are read.
pub(crate) struct How {
    /// So many are fetched side by side; they are committed one after the other all the same.
    pub at_once: usize,
    /// See [`LoadWindow::earlier_read_at`].
    pub earlier_read_at: Option<DateTime<Utc>>,
}

/// Reads the windows `due` of `source`, whose newest load is `newest`, and says in `report` how far it came.
pub(crate) async fn read(
    context: &Context,
    source: &SourceDef,
    newest: Option<Arc<Manifest>>,
    due: Vec<Due>,
    how: How,
    report: &mut StepReport,
) -> Result<()> {
    report.windows = Some(WindowCounts { due: due.len() as u64, ..WindowCounts::default() });
    report.version = newest.as_ref().map(|load| load.number);
    let done = read_each(context, source, newest, due, how, report).await;
    summarise(report);
    done
}

async fn read_each(
    context: &Context,
    source: &SourceDef,
    mut newest: Option<Arc<Manifest>>,
    due: Vec<Due>,
    how: How,
    report: &mut StepReport,
) -> Result<()> {
    let total = due.len();
    let mut waiting = due.into_iter();
    let mut fetching = FuturesOrdered::new();
    for done in 1.. {
        while fetching.len() < how.at_once.max(1)
            && let Some(due) = waiting.next()
        {
            fetching.push_back(fetch(context, source, newest.clone(), due));
        }
        let Some(fetched) = fetching.next().await else { break };
        let mut fetched = fetched?;
        // Rows are decoded by the columns of the loads before them, whatever was fetched meanwhile.
        if columns(&fetched.newest) != columns(&newest) {
            fetched = fetch(context, source, newest.clone(), fetched.due).await?;
        }
        let window = fetched.due.asked.window;
        let committed = commit(context, source, fetched, newest.as_deref(), &how, report).await;
        if let Some(manifest) = committed.map_err(|error| in_window(error, &window))? {
            newest = Some(Arc::new(manifest));
        }
        context.watcher.step_progressed(&report.name, done, total);
    }
    Ok(())
}

fn columns(load: &Option<Arc<Manifest>>) -> &[Column] {
    load.as_ref().map_or(&[], |load| load.columns.as_slice())
}

fn in_window(error: Error, window: &Window) -> Error {
    error.context(format!("window {window}"))
}

/// A window that was read and is not in the lake yet.
struct Fetched {
    due: Due,
    /// The newest load when it was read.
    newest: Option<Arc<Manifest>>,
    writer: LoadWriter,
    outcome: Outcome,
    chunks: Vec<Chunk>,
}

async fn fetch(
    context: &Context,
    source: &SourceDef,
    newest: Option<Arc<Manifest>>,
    due: Due,
) -> Result<Fetched> {
    let cx = load::cx(context, source, newest.as_deref())?;
    cx.check_cancelled()?;
    // Begun before the first row is asked for: a load is never younger than its rows.
    let writer = context.lake.begin_load(&source.name, &context.run_id);
    let (sender, mut receiver) = Chunks::channel(CHUNKS_WAITING_MAX);
    let (asked, known) = (due.asked, due.known.clone());
    // `sender` moves in: what collects ends when the read has.
    let read = async move {
        let position = known.as_ref().and_then(|load| load.position.as_ref());
        source.source.read_window(&cx, &asked, position, &sender).await
    };
    let collect = async {
        let mut chunks = Vec::new();
        while let Some(chunk) = receiver.recv().await {
            chunks.push(chunk);
        }
        Ok(chunks)
    };
    let done = tokio::try_join!(read, collect);
    let (outcome, chunks) = done.map_err(|error| in_window(error, &due.asked.window))?;
    Ok(Fetched { due, newest, writer, outcome, chunks })
}

/// Makes what was fetched visible; `None` if nothing changed.
async fn commit(
    context: &Context,
    source: &SourceDef,
    fetched: Fetched,
    newest: Option<&Manifest>,
    how: &How,
    report: &mut StepReport,
) -> Result<Option<Manifest>> {
    if context.cancel.is_cancelled() {
        return Err(Error::new(codes::STOPPED, "stopped"));
    }
    let Fetched { due, writer, outcome, chunks, .. } = fetched;
    let mut windows = report.windows.unwrap_or_default();
    let (position, notes) = match outcome {
        Outcome::Nothing { .. } => {
            windows.unchanged += 1;
            report.windows = Some(windows);
            return Ok(None);
        }
        Outcome::Read { position, notes, .. } => (position, notes),
    };
    let window = LoadWindow { window: due.asked.window, earlier_read_at: how.earlier_read_at };
    let mut writer = writer.of_window(window);
    let known = newest.map(|load| schema_of(&load.columns)).transpose()?;
    let mut seen = Seen::new(source, known.as_ref(), newest);
    for chunk in &chunks {
        seen.add(chunk);
        if let Err(error) = writer.add(chunk).await {
            writer.abandon().await;
            return Err(error);
        }
    }
    kill::at(KillPoint::LoadFilesPut);
    seen.count(report);
    let what = (Some(position), Scope::Window, notes);
    let manifest = load::commit(context, writer, &seen, newest, what, report).await?;
    windows.loaded += 1;
    windows.empty += u64::from(seen.rows + seen.rejected == 0);
    report.windows = Some(windows);
    // That a window has no row is counted and not told for each; what is true of several is told once.
    if seen.rows + seen.rejected > 0 {
        for Note(note) in &manifest.notes {
            if report.notes.len() < NOTES_MAX && !report.notes.contains(note) {
                report.notes.push(note.clone());
            }
        }
    }
    Ok(Some(manifest))
}

/// Says in the report what became of the windows.
fn summarise(report: &mut StepReport) {
    let Some(counts) = report.windows else { return };
    let WindowCounts { due, loaded, empty, unchanged } = counts;
    report.notes.truncate(NOTES_MAX);
    if counts.left() > 0 {
        report.notes.push(format!("{} left: the next run reads them", windows_text(counts.left())));
    }
    if loaded == 0 {
        report.status = Status::NothingNew;
        report.notes.push(match due {
            0 => "no window is due".to_owned(),
            _ => format!("{} unchanged", windows_text(unchanged)),
        });
        return;
    }
    let mut text = windows_text(loaded);
    for (count, what) in [(empty, "without rows"), (unchanged, "more unchanged")] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    report.notes.insert(0, text);
}

/// `1 window`, `2 windows`
pub(crate) fn windows_text(count: u64) -> String {
    format!("{count} window{}", if count == 1 { "" } else { "s" })
}

/// What a run would read, for `lagar plan`.
pub(crate) fn plan_text(standing: &Standing<'_>) -> Result<String> {
    let due = standing.due()?;
    let again = due.iter().filter(|due| due.again).count() as u64;
    let missing: Vec<&Due> = due.iter().filter(|due| !due.again).collect();
    let mut text = match (missing.first(), missing.last()) {
        (Some(first), Some(last)) if missing.len() > 1 => {
            let (first, last) = (first.asked.window, last.asked.window);
            format!("{} due, from {first} to {last}", windows_text(missing.len() as u64))
        }
        (Some(only), _) => format!("1 window due: {}", only.asked.window),
        _ => "no window is missing".to_owned(),
    };
    if again > 0 {
        text.push_str(&format!("; {} read again for late rows", windows_text(again)));
    }
    Ok(text)
}

#[cfg(test)]
#[path = "windows/tests.rs"]
mod tests;
