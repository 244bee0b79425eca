//! What is said of every predictor, whatever its task.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    About,
    model::{Bar, Cell, Column, Said, Scale, Section, Table, Tone, bar, count, numbers, said, text, words},
    tasks,
    words::{
        NOTHING, counted, figure, hundredths, listed, name, number, percent, prose, quoted, short, thousands,
        value,
    },
};
use crate::{
    algorithm::{Coefficient, Task, algorithm},
    choice::{better, clearly_better},
    frame::{Encoding, Feature, Missing},
    judge::{
        self, Measures, Metric,
        bias::{Group, Rates},
        chance::Margins,
        forecast::{self, Scores},
        guards::{Distribution, FUTURE_MARGIN},
        importance::Importances,
    },
    judged::{self, JudgedOn},
    predictor::Predictor,
};

/// So few rows may be judged well or badly by chance.
const FEW_ROWS: u64 = 30;
/// Aequitas' rule of four fifths: a group that is further from the reference is treated unlike it.
const FAIR: std::ops::RangeInclusive<f64> = 0.8..=1.25;
/// More groups than this are rows, not columns.
const GROUPS_BESIDE: usize = 5;
/// More classes than this are told apart in a list of coefficients, not side by side.
const CLASSES_BESIDE: usize = 6;

/// How much is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Rows of a table.
    pub rows: usize,
    /// Classes of a confusion matrix.
    pub classes: usize,
}

/// Measures, of rows or of forecasts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Side<'a> {
    Rows(&'a Measures),
    Forecasts(&'a Scores),
}

impl Side<'_> {
    pub fn value(self, metric: &Metric) -> Option<f64> {
        let value = match self {
            Side::Rows(measures) => metric.of(measures),
            Side::Forecasts(scores) => metric.of_forecasts(scores),
        };
        value.filter(|value| value.is_finite())
    }

    pub fn rows(self) -> u64 {
        match self {
            Side::Rows(Measures::Classification(measures)) => measures.rows,
            Side::Rows(Measures::Regression(measures)) => measures.rows,
            Side::Rows(Measures::Clustering(measures)) => measures.rows,
            Side::Rows(Measures::Outliers(measures)) => measures.rows,
            Side::Rows(Measures::Reduction(measures)) => measures.rows,
            Side::Forecasts(scores) => scores.overall.count as u64,
        }
    }
}

/// The predictor, and the trivial ones beside it.
pub(super) struct Sides<'a> {
    pub own: Side<'a>,
    pub baselines: Vec<Beside<'a>>,
    pub training: Option<Side<'a>>,
}

/// A trivial predictor.
pub(super) struct Beside<'a> {
    pub name: String,
    pub side: Side<'a>,
    margins: &'a Margins,
    /// Of rows: it says for which metrics it stands there.
    of_rows: Option<&'a judged::Baseline>,
}

impl<'a> Beside<'a> {
    fn of_rows(baseline: &'a judged::Baseline) -> Self {
        let side = Side::Rows(&baseline.measures);
        Self { name: name(&baseline.name), side, margins: &baseline.margins, of_rows: Some(baseline) }
    }

    pub fn of_forecasts(baseline: &'a forecast::Baseline) -> Self {
        let side = Side::Forecasts(&baseline.scores);
        Self { name: name(&baseline.algorithm), side, margins: &baseline.margins, of_rows: None }
    }

    fn stands_for(&self, metric: &Metric) -> bool {
        self.of_rows.is_none_or(|baseline| baseline.stands_for(metric))
    }

    /// `None`: this measure says nothing of it. What cannot be seen in the figures is no difference.
    pub fn beaten(&self, metric: &Metric, own: f64) -> Option<Beaten> {
        let value = self.side.value(metric).filter(|_| self.stands_for(metric))?;
        Some(match number(own) != number(value) && better(metric, own, value) {
            true if clearly_better(metric, own, value, self.margins.of(metric)) => Beaten::Clearly,
            true => Beaten::ByChance,
            false => Beaten::No,
        })
    }
}

/// Whether a predictor is better than a trivial one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Beaten {
    No,
    /// It may look so by chance alone.
    ByChance,
    Clearly,
}

/// The least of it, if there are baselines.
pub(super) fn all_beaten(baselines: &[Beside<'_>], metric: &Metric, own: f64) -> Option<Beaten> {
    baselines.iter().filter_map(|one| one.beaten(metric, own)).min()
}

pub(super) fn sides(predictor: &Predictor) -> Option<Sides<'_>> {
    let judged = &predictor.judged;
    if let Some(measures) = &judged.measures {
        let baselines = judged.baselines.iter();
        return Some(Sides {
            own: Side::Rows(measures),
            baselines: baselines.map(Beside::of_rows).collect(),
            training: judged.training.as_ref().map(Side::Rows),
        });
    }
    let overall = &judged.forecast.as_ref()?.overall;
    let baselines = overall.baselines.iter();
    Some(Sides {
        own: Side::Forecasts(&overall.scores),
        baselines: baselines.map(Beside::of_forecasts).collect(),
        training: None,
    })
}

impl Sides<'_> {
    /// The figure that decides: that of `promote`, the one by which parameters were chosen, or the first that is
    /// defined.
    fn deciding(&self, predictor: &Predictor) -> Option<(&'static Metric, f64)> {
        let names = predictor.promotion.iter().map(|promotion| &promotion.metric);
        let names = names.chain(predictor.tried.first().map(|tried| &tried.metric));
        let chosen = names.filter_map(|name| judge::find(predictor.task, name).ok());
        let metrics = chosen.chain(judge::metrics(predictor.task));
        metrics.into_iter().find_map(|metric| Some((metric, self.own.value(metric)?)))
    }
}

/// `balanced_accuracy ↑`
fn directed(metric: &Metric) -> String {
    format!("{} {}", metric.name, if metric.higher_is_better { '↑' } else { '↓' })
}

// ---- the beginning ----

/// The version, in a few words.
pub(super) fn heading(about: &About<'_>) -> String {
    let current = match about.current {
        Some(current) if current == about.version => " (current)".to_owned(),
        Some(current) => format!(" (version {current} is current)"),
        None => " (no version is current)".to_owned(),
    };
    let mut facts = vec![format!("version {}{current}", about.version)];
    if !about.trained_at.is_empty() {
        facts.push(format!("trained {}", name(&about.trained_at)));
    }
    if !about.run_id.is_empty() {
        facts.push(format!("run {}", name(about.run_id)));
    }
    facts.join(" · ")
}

/// What it is, in one paragraph.
pub(super) fn intro(predictor: &Predictor) -> String {
    let from = &predictor.learned_from;
    let about =
        algorithm(&predictor.algorithm).map(|entry| format!(" ({})", entry.about)).unwrap_or_default();
    let table = format!("{}, version {}", quoted(&from.table), from.version);
    let is_forecast = predictor.task == Task::Forecast;
    let unit = if is_forecast { "value" } else { "row" };
    let mut text = format!(
        "{}{about} {}. It learned from {} of {table}",
        quoted(&predictor.algorithm),
        purpose(predictor),
        counted(from.rows, unit)
    );
    let threshold = predictor.target.as_ref().and_then(|target| target.threshold);
    if from.rows_validate > 0 && (!predictor.tried.is_empty() || threshold.is_some()) {
        text.push_str(&format!("; {} of them chose among parameters first", thousands(from.rows_validate)));
    }
    text.push_str(&match predictor.judged.on {
        JudgedOn::Test => {
            let others = counted(from.rows_test, if is_forecast { "later value" } else { "other row" });
            format!(". It was judged by {others}, set apart by {}", split_by(&from.split_by))
        }
        JudgedOn::Training => ". It was judged by the same rows".to_owned(),
        JudgedOn::Nothing => ". It was not judged".to_owned(),
    });
    if let Some(begin) = &from.test_from {
        text.push_str(&format!(": the test begins at {}", name(begin)));
    }
    text.push('.');
    if let Some(all) = from.sample_of {
        text.push_str(&format!(" The rows are a sample of {}.", thousands(all)));
    }
    if let (Some(threshold), [_, positive]) = (threshold, predictor.classes()) {
        text.push_str(&format!(
            " {} is answered from a probability of {} on.",
            quoted(positive),
            short(threshold)
        ));
    }
    text
}

/// `time day` → ``the time `day` ``
fn split_by(how: &str) -> String {
    match (how.strip_prefix("time "), how.starts_with("hash ")) {
        (Some(time), _) => format!("the time {}", quoted(time)),
        (None, true) => format!("the {}", name(how)),
        (None, false) => name(how),
    }
}

fn purpose(predictor: &Predictor) -> String {
    let features = predictor.frame.as_ref().map_or(0, |frame| frame.features.len()) as u64;
    let features = counted(features, "feature");
    let target =
        predictor.target.as_ref().map_or_else(|| "the target".to_owned(), |target| quoted(&target.name));
    match predictor.task {
        Task::Regression => format!("predicts the number {target} from {features}"),
        Task::Classification => {
            let classes = predictor.classes();
            let which = match classes.len() {
                few @ 1..=4 => {
                    let names: Vec<String> = classes[..few].iter().map(|class| quoted(class)).collect();
                    listed(&names, "or")
                }
                many => format!("one of {}", counted(many as u64, "class")),
            };
            format!("predicts {target}, {which}, from {features}")
        }
        Task::Clustering => format!("puts rows into groups by {features}"),
        Task::Reduction => format!("says with fewer columns most of what {features} say"),
        Task::Outliers => format!("finds rows that are unusual by {features}"),
        Task::Forecast => {
            let series = predictor.forecasts.as_ref().map_or(&[][..], |forecasts| &forecasts.series);
            let steps = series.iter().map(|one| one.forecast.values.len()).max().unwrap_or_default() as u64;
            format!("forecasts {} of {}", counted(steps, "step"), counted(series.len() as u64, "series"))
        }
    }
}

/// Whether it is of any use, in plain words; then what should make one careful, and what was noted.
pub(super) fn verdict(predictor: &Predictor) -> (Said, Vec<String>) {
    let mut careful = Vec::new();
    let Some(sides) = sides(predictor) else {
        careful.extend(predictor.notes.iter().map(|note| prose(note)));
        return (said("It was not judged: nobody knows how good it is.", Tone::Bad), careful);
    };
    let sentence = match (predictor.judged.on, tasks::verdict(&predictor.judged)) {
        (_, Some(sentence)) => sentence,
        (JudgedOn::Test, None) => compared(predictor, &sides),
        _ => said(
            "It was judged by the rows that it learned from: nobody knows how good it is with others.",
            Tone::Bad,
        ),
    };
    // It may be better than all that it stands beside, and worse than the version before.
    let refused = predictor.promotion.as_ref().filter(|promotion| !promotion.promoted);
    careful.extend(refused.map(|promotion| prose(&promotion.why)));
    if predictor.judged.on == JudgedOn::Test {
        careful.extend(by_heart(&sides));
        if predictor.task.has_target() && sides.own.rows() < FEW_ROWS {
            let unit = if predictor.task == Task::Forecast { "value" } else { "row" };
            let verb = if sides.own.rows() == 1 { "judges" } else { "judge" };
            careful.push(format!(
                "only {} {verb} it: it may look so by chance",
                counted(sides.own.rows(), unit)
            ));
        }
    }
    careful.extend(predictor.judged.forecast.as_ref().and_then(tasks::coverage));
    careful.extend(predictor.notes.iter().map(|note| prose(note)));
    (sentence, careful)
}

/// Beside trivial predictors.
fn compared(predictor: &Predictor, sides: &Sides<'_>) -> Said {
    let Some((metric, own)) = sides.deciding(predictor) else {
        return said("Its measures are not defined on the rows of the test.", Tone::Bad);
    };
    let those = |how: Beaten| -> Vec<&Beside<'_>> {
        sides.baselines.iter().filter(|one| one.beaten(metric, own) == Some(how)).collect()
    };
    let values = |which: &[&Beside<'_>]| {
        let value = |one: &&Beside<'_>| Some(format!("{} (`{}`)", number(one.side.value(metric)?), one.name));
        listed(&which.iter().filter_map(value).collect::<Vec<String>>(), "and")
    };
    let names = |which: &[&Beside<'_>]| {
        listed(&which.iter().map(|one| format!("`{}`", one.name)).collect::<Vec<String>>(), "and")
    };
    let figure = format!("{} {}", metric.name, number(own));
    let (beaten, by_chance, unbeaten) = (those(Beaten::Clearly), those(Beaten::ByChance), those(Beaten::No));
    match (beaten.as_slice(), by_chance.as_slice(), unbeaten.as_slice()) {
        ([], [], []) => said(format!("There is no baseline to compare it with: {figure}."), Tone::Plain),
        ([one], [], []) => {
            said(format!("Better than the baseline: {figure} beside {}.", values(&[*one])), Tone::Good)
        }
        (all, [], []) => {
            let how_many = if all.len() == 2 { "both".to_owned() } else { format!("all {}", all.len()) };
            said(format!("Better than {how_many} baselines: {figure} beside {}.", values(all)), Tone::Good)
        }
        (beaten, by_chance, []) => {
            let all = values(&[by_chance, beaten].concat());
            let names = names(by_chance);
            said(
                format!("Not clearly better than {names}: it may look so by chance. {figure} beside {all}."),
                Tone::Plain,
            )
        }
        (beaten, by_chance, unbeaten) => {
            let all = values(&[unbeaten, by_chance, beaten].concat());
            said(
                format!("No better than {}: do not use it. {figure} beside {all}.", names(unbeaten)),
                Tone::Bad,
            )
        }
    }
}

/// Much better on the rows that it learned from.
fn by_heart(sides: &Sides<'_>) -> Option<String> {
    // Of both, 1 is the best, so that a margin means something.
    let metric = judge::METRICS.iter().filter(|metric| matches!(metric.name, "balanced_accuracy" | "r2"));
    let (metric, own, training) = metric
        .into_iter()
        .find_map(|metric| Some((metric, sides.own.value(metric)?, sides.training?.value(metric)?)))?;
    (training - own > FUTURE_MARGIN).then(|| {
        format!(
            "it knows the rows that it learned from better than others: {} {}, and {} on the test",
            metric.name,
            number(training),
            number(own)
        )
    })
}

// ---- tables ----

/// All measures beside those of the baselines.
pub(super) fn measures(predictor: &Predictor) -> Option<Section> {
    let sides = sides(predictor)?;
    let mut head = vec![words("measure"), numbers("this  ")];
    head.extend(sides.baselines.iter().map(|one| numbers(format!("{}  ", one.name))));
    if sides.training.is_some() {
        head.push(numbers("training"));
    }
    let mut table = Table::new(head);
    for metric in judge::metrics(predictor.task) {
        let values: Vec<Option<f64>> = std::iter::once(sides.own)
            .chain(sides.baselines.iter().map(|one| one.side))
            .map(|s| s.value(metric))
            .collect();
        let Some(own) = values[0] else { continue };
        // A mark of this one is a claim.
        let is_best = all_beaten(&sides.baselines, metric, own) == Some(Beaten::Clearly);
        let mut row = vec![text(directed(metric)), marked(metric, &values, 0, is_best)];
        row.extend((1..values.len()).map(|place| {
            let others = values.iter().enumerate().filter(|(other, _)| *other != place);
            let beats =
                |value: f64| others.filter_map(|(_, other)| *other).all(|other| better(metric, value, other));
            marked(metric, &values, place, values[place].is_some_and(beats))
        }));
        if let Some(training) = sides.training {
            row.push(Cell::Number(training.value(metric).map_or(NOTHING.into(), number), Tone::Dim));
        }
        table.rows.push(row);
    }
    table.rows.extend(tasks::more_measures(&sides));
    if table.rows.is_empty() {
        return None;
    }
    let rows = sides.own.rows();
    let which = match (predictor.judged.on, predictor.task) {
        (JudgedOn::Test, Task::Forecast) => format!("of {} forecast in the past", counted(rows, "value")),
        (JudgedOn::Test, _) => format!("on the {} of the test", counted(rows, "row")),
        _ => format!("on the {} that it learned from", counted(rows, "row")),
    };
    let legend = match sides.baselines.is_empty() {
        true => "↑ more is better, ↓ less is better",
        false => "↑ more is better, ↓ less is better, ✓ the best",
    };
    Some(Section::new("measures", "Measures", format!("{which}; {legend}")).table(table))
}

/// One of the values, marked if it is the best.
fn marked(metric: &Metric, values: &[Option<f64>], place: usize, is_best: bool) -> Cell {
    let Some(value) = values[place] else { return Cell::Number(format!("{NOTHING}  "), Tone::Dim) };
    let is_beaten = || values.iter().flatten().any(|other| better(metric, *other, value));
    let tone = match (is_best, place) {
        (true, 0) => Tone::Good,
        (false, 0) if is_beaten() => Tone::Bad,
        (true, _) => Tone::Name,
        _ => Tone::Plain,
    };
    Cell::Number(format!("{} {}", number(value), if is_best { "✓" } else { " " }), tone)
}

/// The few measures of each group of rows, beside the best baseline.
pub(super) fn groups(predictor: &Predictor, room: Room) -> Option<Section> {
    let groups = &predictor.judged.groups;
    let first = groups.first()?;
    let shown: Vec<&Metric> = first
        .measures
        .headline()
        .iter()
        .take(3)
        .filter_map(|(name, _)| judge::find(predictor.task, name).ok())
        .collect();
    let main = shown.first().copied().filter(|_| groups.iter().any(|group| !group.baselines.is_empty()));
    let mut head = vec![words("group"), numbers("rows")];
    head.extend(shown.iter().map(|metric| numbers(format!("{}  ", directed(metric)))));
    if main.is_some() {
        head.push(numbers("best baseline"));
    }
    let table = Table::of(head, groups, room.rows, |group| {
        let own = Side::Rows(&group.measures);
        let mut row = vec![text(name(&group.group)), count(thousands(own.rows()))];
        let best = main.and_then(|metric| {
            let those = group.baselines.iter().filter(|baseline| baseline.stands_for(metric));
            let values = those.filter_map(|baseline| Side::Rows(&baseline.measures).value(metric));
            values.reduce(|best, other| if metric.better(other, best) { other } else { best })
        });
        let baselines: Vec<Beside<'_>> = group.baselines.iter().map(Beside::of_rows).collect();
        for (place, metric) in shown.iter().enumerate() {
            let value = own.value(metric);
            let (mark, tone) = match value.and_then(|value| all_beaten(&baselines, metric, value)) {
                Some(Beaten::Clearly) if place == 0 => ("✓", Tone::Good),
                Some(Beaten::ByChance) if place == 0 => ("~", Tone::Plain),
                Some(Beaten::No) if place == 0 => ("✗", Tone::Bad),
                _ => (" ", Tone::Plain),
            };
            row.push(Cell::Number(format!("{} {mark}", value.map_or(NOTHING.into(), number)), tone));
        }
        if main.is_some() {
            row.push(Cell::Number(best.map_or(NOTHING.into(), number), Tone::Dim));
        }
        row
    });
    let legend = if main.is_some() {
        "✓ better than the baselines there, ~ by no more than chance may do, ✗ not"
    } else {
        ""
    };
    Some(Section::new("groups", "By group", legend).table(table))
}

/// Which features it leans on.
pub(super) fn importance(predictor: &Predictor, room: Room) -> Option<Section> {
    let importances = predictor.judged.importance.as_ref().filter(|all| !all.features.is_empty())?;
    let score = if predictor.task == Task::Regression { "r2" } else { "balanced_accuracy" };
    let scale = importance_scale(importances);
    let head = vec![words("feature"), words(""), numbers("fall"), numbers("±")];
    let table = Table::of(head, &importances.features, room.rows, |one| {
        let (mean, deviation) = (one.mean, one.standard_deviation);
        let bar = Bar {
            zero: scale.place(0.0),
            value: scale.place(mean),
            whisker: Some((scale.place(mean - deviation), scale.place(mean + deviation))),
        };
        let tone = if mean > 0.0 { Tone::Plain } else { Tone::Dim };
        vec![
            Cell::Text(name(&one.feature), tone),
            Cell::Bar(bar),
            Cell::Number(number(mean), tone),
            Cell::Number(number(deviation), Tone::Dim),
        ]
    });
    let sample = match importances.rows < importances.of {
        true => format!(" of {}", thousands(importances.of)),
        false => String::new(),
    };
    let about = format!(
        "by how much {score} ({}) falls when the values of a feature are shuffled among the rows; {} and their \
         deviation, on {}{sample}",
        number(importances.score),
        counted(importances.repeats, "repeat"),
        counted(importances.rows, "row")
    );
    Some(Section::new("importance", "Importance", about).table(table))
}

fn importance_scale(importances: &Importances) -> Scale {
    let ends = importances.features.iter();
    let ends = ends.flat_map(|one| [one.mean - one.standard_deviation, one.mean + one.standard_deviation]);
    Scale::over(ends.chain([0.0]))
}

/// The numbers of a linear predictor.
pub(super) fn coefficients(predictor: &Predictor, room: Room) -> Option<Section> {
    let all = &predictor.explanation.coefficients;
    all.first()?;
    let classes = predictor.classes();
    let of_classes: BTreeSet<usize> = all.iter().filter_map(|one| one.class).collect();
    let class_name =
        |class: usize| classes.get(class).map_or_else(|| format!("class {class}"), |text| name(text));
    let shown = |one: &Coefficient| match one.standard_error.filter(|error| error.is_finite()) {
        Some(error) => format!("{} ± {}", number(one.value), number(error)),
        None => number(one.value),
    };
    let table = if of_classes.len() > 1 && of_classes.len() <= CLASSES_BESIDE {
        let mut names: Vec<&str> = Vec::new();
        for one in all {
            // Those of one class follow each other, with the same names.
            if one.class == of_classes.first().copied() {
                names.push(&one.name);
            }
        }
        let mut head = vec![words("column")];
        head.extend(of_classes.iter().map(|class| numbers(class_name(*class))));
        Table::of(head, &names, room.rows, |column| {
            let mut row = vec![text(name(column))];
            for class in &of_classes {
                let one = all.iter().find(|one| one.class == Some(*class) && one.name == **column);
                row.push(count(one.map_or(NOTHING.into(), shown)));
            }
            row
        })
    } else {
        let with_errors = all.iter().any(|one| one.standard_error.is_some());
        let mut head = vec![words("column")];
        if !of_classes.is_empty() {
            head.push(words("class"));
        }
        head.push(numbers("value"));
        if with_errors {
            head.extend([numbers("standard error"), numbers("value / error")]);
        }
        Table::of(head, all, room.rows, |one| {
            let mut row = vec![text(name(&one.name))];
            if !of_classes.is_empty() {
                row.push(text(one.class.map_or(NOTHING.into(), class_name)));
            }
            row.push(count(number(one.value)));
            if with_errors {
                let error = one.standard_error.filter(|error| error.is_finite());
                let ratio = error.filter(|error| *error > 0.0).map(|error| one.value / error);
                let tone = match ratio {
                    Some(ratio) if ratio.abs() < 2.0 => Tone::Dim,
                    _ => Tone::Plain,
                };
                row.push(count(error.map_or(NOTHING.into(), number)));
                row.push(Cell::Number(ratio.map_or(NOTHING.into(), number), tone));
            }
            row
        })
    };
    let mut about = match (predictor.task, classes) {
        (Task::Classification, [_, positive]) => format!("for {}", quoted(positive)),
        _ => "of the sum that is the answer".to_owned(),
    };
    if predictor.task == Task::Classification && classes.len() > 2 {
        about = "for each class".to_owned();
    }
    if predictor.frame.as_ref().is_some_and(|frame| frame.scaling.is_some()) {
        about.push_str(", of columns brought to one size");
    }
    if all.iter().any(|one| one.standard_error.is_some()) {
        about.push_str("; below 2 errors from 0 a value may as well be 0");
    }
    Some(Section::new("coefficients", "Coefficients", about).table(table))
}

/// Other figures of what was fitted.
pub(super) fn fitted(predictor: &Predictor, room: Room) -> Option<Section> {
    let figures = &predictor.explanation.figures;
    figures.first()?;
    let table = Table::of(vec![words("figure"), numbers("value")], figures, room.rows, |(what, value)| {
        vec![text(name(what)), count(figure(*value))]
    });
    Some(Section::new("fitted", "Fitted", "figures of what was learned").table(table))
}

type Rate = fn(&Rates) -> Option<f64>;

/// The rates of Aequitas, under its names.
pub(super) const RATES: [(&str, &str, Rate); 11] = [
    ("tpr", "true positive rate, recall: of the positive rows, those called so", |r| r.tpr),
    ("tnr", "true negative rate: of the negative rows, those called so", |r| r.tnr),
    ("for", "false omission rate: of the rows called negative, those that are positive", |r| r.for_),
    ("fdr", "false discovery rate: of the rows called positive, those that are negative", |r| r.fdr),
    ("fpr", "false positive rate: of the negative rows, those called positive", |r| r.fpr),
    ("fnr", "false negative rate: of the positive rows, those called negative", |r| r.fnr),
    ("npv", "negative predictive value: of the rows called negative, those that are", |r| r.npv),
    ("precision", "of the rows called positive, those that are", |r| r.precision),
    ("ppr", "predicted positive rate: of all rows called positive, those of this group", |r| r.ppr),
    ("pprev", "predicted prevalence: of the rows of this group, those called positive", |r| r.pprev),
    ("prev", "prevalence: of the rows of this group, those that are positive", |r| r.prev),
];

type Count = fn(&Group) -> u64;

const COUNTS: [(&str, Count); 7] = [
    ("group_size", |g| g.group_size),
    ("tp", |g| g.tp),
    ("fp", |g| g.fp),
    ("tn", |g| g.tn),
    ("fn", |g| g.fn_),
    ("pp", |g| g.pp),
    ("pn", |g| g.pn),
];

/// Whether groups are treated alike.
pub(super) fn bias(predictor: &Predictor, room: Room) -> Option<Section> {
    let bias = predictor.judged.bias.as_ref().filter(|bias| !bias.groups.is_empty())?;
    let is_reference = |group: &Group| group.name == bias.reference;
    let rate = |group: &Group, of: Rate| {
        let value = of(&group.rates).map_or(NOTHING.into(), number);
        let disparity = of(&group.disparities).filter(|times| times.is_finite() && !is_reference(group));
        match disparity {
            Some(times) if FAIR.contains(&times) => {
                Cell::Number(format!("{value} ×{}  ", number(times)), Tone::Plain)
            }
            Some(times) => Cell::Number(format!("{value} ×{} !", number(times)), Tone::Bad),
            None => Cell::Number(format!("{value}  "), Tone::Plain),
        }
    };
    let counts = |group: &Group, of: Count| Cell::Number(format!("{}  ", thousands(of(group))), Tone::Dim);
    let group_name = |group: &Group| match is_reference(group) {
        true => format!("{} (reference)", name(&group.name)),
        false => name(&group.name),
    };
    let names = COUNTS.iter().map(|(name, _)| *name).chain(RATES.iter().map(|(name, ..)| *name));
    let cells = |group: &Group| -> Vec<Cell> {
        let counts = COUNTS.iter().map(|(_, of)| counts(group, *of));
        counts.chain(RATES.iter().map(|(.., of)| rate(group, *of))).collect()
    };
    let table = if bias.groups.len() <= GROUPS_BESIDE {
        let mut head = vec![words("measure")];
        head.extend(bias.groups.iter().map(|group| numbers(format!("{}  ", group_name(group)))));
        let columns: Vec<Vec<Cell>> = bias.groups.iter().map(cells).collect();
        let rows = names.enumerate().map(|(place, name)| {
            let row = columns.iter().map(|column| column[place].clone());
            std::iter::once(text(name)).chain(row).collect()
        });
        Table { head, rows: rows.collect(), left_out: 0 }
    } else {
        let head: Vec<Column> =
            std::iter::once(words("group")).chain(names.map(|name| numbers(format!("{name}  ")))).collect();
        Table::of(head, &bias.groups, room.rows, |group| {
            std::iter::once(text(group_name(group))).chain(cells(group)).collect()
        })
    };
    let positive =
        predictor.classes().get(1).map_or_else(|| "the second class".to_owned(), |class| quoted(class));
    let about = format!(
        "the measures of Aequitas for the answer {positive}; × how many times that of {}, ! further from it than \
         four fifths; {} of {} called positive",
        quoted(&bias.reference),
        thousands(bias.k),
        counted(bias.total_entities, "row")
    );
    Some(Section::new("bias", "Bias", about).table(table))
}

/// The parameters that were tried, the best first.
pub(super) fn tried(predictor: &Predictor, room: Room) -> Option<Section> {
    let first = predictor.tried.first()?;
    let metric = judge::find(predictor.task, &first.metric).ok();
    let param = |params: &Value, name: &str| params.get(name).cloned().unwrap_or(Value::Null);
    let names: BTreeSet<&String> = predictor
        .tried
        .iter()
        .filter_map(|one| one.params.as_object())
        .flat_map(|params| params.keys())
        .collect();
    let varied: Vec<&String> = names
        .into_iter()
        .filter(|name| {
            predictor.tried.iter().any(|one| param(&one.params, name) != param(&first.params, name))
        })
        .collect();
    let mut order: Vec<&_> = predictor.tried.iter().collect();
    let rank = |value: Option<f64>| match value.filter(|value| value.is_finite()) {
        Some(value) if metric.is_some_and(|metric| metric.higher_is_better) => -value,
        Some(value) => value,
        None => f64::INFINITY,
    };
    // Stable: of equals the first, which is the one that was taken.
    order.sort_by(|a, b| rank(a.value).total_cmp(&rank(b.value)));
    let measure = metric.map_or_else(|| name(&first.metric), directed);
    let mut head = vec![words(if varied.is_empty() { "parameters" } else { "" })];
    head.extend(varied.iter().map(|param| numbers(name(param))));
    head.push(numbers(measure));
    let table = Table::of(head, &order, room.rows, |one| {
        let is_taken = one.params == predictor.params;
        let tone = if is_taken { Tone::Good } else { Tone::Plain };
        let mut row = vec![Cell::Text(if is_taken { "✓ taken" } else { "" }.to_owned(), tone)];
        row.extend(varied.iter().map(|name| Cell::Number(value(&param(&one.params, name)), tone)));
        row.push(Cell::Number(one.value.map_or_else(|| "could not be fitted".to_owned(), number), tone));
        row
    });
    let about = format!("{} on the validation rows", counted(predictor.tried.len() as u64, "combination"));
    Some(Section::new("tried", "Search", about).table(table))
}

/// All parameters, also those that nobody set.
pub(super) fn params(predictor: &Predictor) -> Vec<(String, String)> {
    let params = predictor.params.as_object();
    let mut all: Vec<(String, String)> =
        params.into_iter().flatten().map(|(param, given)| (name(param), value(given))).collect();
    all.push(("seed".to_owned(), predictor.seed.to_string()));
    all
}

pub(super) fn params_table(predictor: &Predictor) -> Section {
    let all = params(predictor);
    let table = Table::of(vec![words("parameter"), words("value")], &all, usize::MAX, |(param, value)| {
        vec![text(param), text(value)]
    });
    Section::new("params", "Parameters", "").table(table)
}

/// The columns that it learned from.
pub(super) fn features(predictor: &Predictor, room: Room) -> Option<Section> {
    let frame = predictor.frame.as_ref().filter(|frame| !frame.features.is_empty())?;
    let head = vec![
        words("feature"),
        words("type"),
        words("becomes"),
        words("null becomes"),
        words("values learned from"),
    ];
    let table = Table::of(head, &frame.features, room.rows, |feature| {
        let distribution = predictor.distributions.iter().find(|(name, _)| *name == feature.name);
        vec![
            text(name(&feature.name)),
            text(name(&feature.data_type)),
            text(becomes(feature)),
            text(match &feature.missing {
                None => "an error".to_owned(),
                Some(Missing::Number(number)) => figure(*number),
                Some(Missing::Text(text)) => quoted(text),
            }),
            text(distribution.map_or(NOTHING.into(), |(_, distribution)| distributed(distribution))),
        ]
    });
    let mut about = match predictor.columns.len() {
        0 => String::new(),
        columns => format!("{} of numbers are made of them", counted(columns as u64, "column")),
    };
    if frame.scaling.is_some() {
        about.push_str(", brought to one size");
    }
    Some(Section::new("features", "Features", about).table(table))
}

/// So many values are named.
const VALUES_NAMED: usize = 3;

fn becomes(feature: &Feature) -> String {
    let few = |values: &[String]| {
        let named: Vec<String> = values.iter().take(VALUES_NAMED).map(|value| quoted(value)).collect();
        let rest = if values.len() > VALUES_NAMED { ", …" } else { "" };
        format!("{} ({}{rest})", counted(values.len() as u64, "value"), named.join(", "))
    };
    match &feature.encoding {
        Encoding::Number => "the number".to_owned(),
        Encoding::OneHot { categories } => format!("one column each of {} and of others", few(categories)),
        Encoding::Ordinal { categories } => format!("its place among {}", few(categories)),
        Encoding::Target { values, .. } => {
            format!("the mean of the target where it stands, of {}", counted(values.len() as u64, "value"))
        }
        Encoding::Parts { parts } => {
            let parts: Vec<String> = parts
                .iter()
                .map(|part| serde_json::to_value(part).ok().and_then(|part| part.as_str().map(str::to_owned)))
                .map(Option::unwrap_or_default)
                .collect();
            listed(&parts, "and")
        }
    }
}

fn distributed(distribution: &Distribution) -> String {
    let (mut text, missing) = match distribution {
        Distribution::Numbers { edges, missing, .. } => {
            let range = match (edges.first(), edges.last()) {
                (Some(min), Some(max)) if min == max => figure(*min),
                (Some(min), Some(max)) => format!("{} … {}", figure(*min), figure(*max)),
                _ => "none".to_owned(),
            };
            (range, *missing)
        }
        Distribution::Categories { names, shares, other, missing, .. } => {
            let mut parts: Vec<String> = names
                .iter()
                .zip(shares)
                .take(VALUES_NAMED)
                .map(|(value, share)| format!("{} {}", quoted(value), percent(*share)))
                .collect();
            let rest = other + shares.iter().skip(VALUES_NAMED).sum::<f64>();
            if rest > 0.0 {
                parts.push(format!("others {}", percent(rest)));
            }
            (parts.join(", "), *missing)
        }
    };
    if missing > 0.0 {
        text.push_str(&format!("; null {}", percent(missing)));
    }
    text
}

/// All versions, the newest first.
pub(super) fn versions(about: &About<'_>, room: Room) -> Option<Section> {
    let mut all: Vec<&_> = about.versions.iter().collect();
    all.first()?;
    all.sort_by_key(|(version, ..)| std::cmp::Reverse(*version));
    let head = vec![words("version"), words("trained"), words("promoted"), words("")];
    let table = Table::of(head, &all, room.rows, |(version, when, is_good)| {
        let mut marks = Vec::new();
        if about.current == Some(*version) {
            marks.push("current");
        }
        if about.version == *version {
            marks.push("shown");
        }
        let tone = if about.version == *version { Tone::Name } else { Tone::Plain };
        vec![
            Cell::Text(version.to_string(), tone),
            text(name(when)),
            match is_good {
                true => Cell::Text("✓".to_owned(), Tone::Good),
                false => Cell::Text("✗".to_owned(), Tone::Bad),
            },
            Cell::Text(marks.join(", "), tone),
        ]
    });
    Some(Section::new("versions", "Versions", "").table(table))
}

/// A line of shares with bars.
pub(super) fn share_cells(share: f64) -> [Cell; 2] {
    [count(hundredths(share)), bar(share)]
}
