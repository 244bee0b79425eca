//! What is said of the predictors of one task.

use std::cmp::Reverse;

use arrow::{array::AsArray, compute::cast, datatypes::DataType};
use serde_json::Value;

use super::{
    facts::{Beaten, Beside, Room, Side, Sides, all_beaten, share_cells},
    model::{Bar, Cell, Said, Scale, Section, Table, Tone, bar, count, numbers, said, text, words},
    words::{NOTHING, counted, figure, hundredths, name, number, percent, quoted, thousands, value},
};
use crate::{
    algorithm::{Forecast, Task},
    forecast::{Forecasts, OneSeries},
    judge::{
        self, Classification, Clustering, Measures, Outliers, Quantiles, Reduction, Regression,
        forecast::{Judged, Measures as OfForecasts, OfSeries},
    },
    judged,
    predictor::Predictor,
};

/// How far apart groups are: Kaufman and Rousseeuw, "Finding Groups in Data", 1990.
const WELL_APART: f64 = 0.5;
const HARDLY_APART: f64 = 0.25;
/// So much less or more than was asked may lie in an interval.
const COVERAGE_MARGIN: f64 = 0.1;

/// Where there are no right answers nothing is better or worse, but there is something to say, and what a trivial
/// predictor would have.
pub(super) fn verdict(judged: &judged::Judged) -> Option<Said> {
    let beside = |metric: &str| {
        let mut all =
            judged.baselines.iter().filter_map(|one| Some((one, judge::metric(&one.measures, metric)?)));
        all.find(|(_, value)| value.is_finite()).map(|(one, value)| (name(&one.name), value))
    };
    match judged.measures.as_ref()? {
        Measures::Clustering(measures) => Some(grouped(measures, beside("silhouette"))),
        Measures::Outliers(measures) => {
            let rule = judged.baselines.iter().find_map(|one| match &one.measures {
                Measures::Outliers(rule) => {
                    Some(format!(", and {} by `{}`", thousands(rule.flagged), name(&one.name)))
                }
                _ => None,
            });
            Some(said(
                format!(
                    "{} of {} {} unusual ({}){}. Nobody knows which really are, so there is no better or worse.",
                    thousands(measures.flagged),
                    counted(measures.rows, "row"),
                    if measures.flagged == 1 { "is" } else { "are" },
                    percent(measures.share),
                    rule.unwrap_or_default()
                ),
                Tone::Plain,
            ))
        }
        Measures::Reduction(measures) => Some(match measures.explained.filter(|share| share.is_finite()) {
            Some(explained) => said(
                format!(
                    "{} {} {} of the variance of {}{}.",
                    counted(measures.shares.len() as u64, "component"),
                    if measures.shares.len() == 1 { "says" } else { "say" },
                    percent(explained),
                    counted(measures.columns, "column"),
                    beside("explained")
                        .map(|(_, value)| format!("; as many of the columns say {}", percent(value)))
                        .unwrap_or_default()
                ),
                Tone::Plain,
            ),
            None => said("The columns do not vary: there is nothing to reduce.", Tone::Bad),
        }),
        Measures::Classification(_) | Measures::Regression(_) => None,
    }
}

fn grouped(measures: &Clustering, beside: Option<(String, f64)>) -> Said {
    let groups = counted(measures.sizes.len() as u64, "group");
    let (how, tone) = match measures.silhouette.filter(|value| value.is_finite()) {
        None => return said(format!("{groups}: how far apart they are is not defined."), Tone::Bad),
        Some(value) if value > WELL_APART => {
            (format!("well apart: silhouette {}", number(value)), Tone::Good)
        }
        Some(value) if value > HARDLY_APART => {
            (format!("somewhat apart: silhouette {}", number(value)), Tone::Plain)
        }
        Some(value) => (format!("hardly apart: silhouette {}", number(value)), Tone::Bad),
    };
    let beside = beside.map(|(name, value)| format!(" beside {} (`{name}`)", number(value)));
    let beside = beside.unwrap_or_default();
    said(format!("{groups}, {how}{beside}; 1 is well apart, 0 touching, below 0 mixed up."), tone)
}

/// Intervals that hold far more or less than they say, and not by chance.
pub(super) fn coverage(judged: &Judged) -> Option<String> {
    let OfForecasts { coverage, count, .. } = judged.overall.scores.overall;
    let by_chance = 2.0 * (judged.level * (1.0 - judged.level) / count.max(1) as f64).sqrt();
    ((coverage - judged.level).abs() > COVERAGE_MARGIN.max(by_chance)).then(|| {
        format!(
            "intervals that should hold {} of the values held {}",
            percent(judged.level),
            percent(coverage)
        )
    })
}

/// Of forecasts: what has no better or worse.
pub(super) fn more_measures(sides: &Sides<'_>) -> Vec<Vec<Cell>> {
    let Side::Forecasts(own) = sides.own else { return Vec::new() };
    let all = std::iter::once(&own.overall).chain(sides.baselines.iter().filter_map(|one| match one.side {
        Side::Forecasts(scores) => Some(&scores.overall),
        Side::Rows(_) => None,
    }));
    let all: Vec<&OfForecasts> = all.collect();
    let row = |name: &str, shown: &dyn Fn(&OfForecasts) -> String| {
        let values = all.iter().map(|measures| count(format!("{}  ", shown(measures))));
        std::iter::once(text(name)).chain(values).collect()
    };
    vec![
        row("bias", &|measures| number(measures.bias)),
        row("coverage", &|measures| hundredths(measures.coverage)),
    ]
}

/// The sections that only this task has.
pub(super) fn sections(predictor: &Predictor, room: Room) -> Vec<Section> {
    let judged = &predictor.judged;
    let mut sections = match &judged.measures {
        Some(Measures::Classification(measures)) => classes(predictor, measures, room),
        Some(Measures::Regression(measures)) => vec![errors(measures)],
        Some(Measures::Clustering(measures)) => vec![sizes(measures, room)],
        Some(Measures::Outliers(measures)) => vec![scores(measures)],
        Some(Measures::Reduction(measures)) => vec![components(measures, room)],
        None => Vec::new(),
    };
    if let Some(forecast) = &judged.forecast {
        sections.push(steps(forecast));
        sections.extend(series(forecast, room));
    }
    sections.extend(predictor.forecasts.as_ref().and_then(|forecasts| next(forecasts, room)));
    sections
}

// ---- classification ----

/// The names of `count` classes in the order of the measures. Those that were learned have names; a class that only
/// the test has is known by having no row among those learned from.
pub(super) fn class_names(predictor: &Predictor, count: usize) -> Vec<String> {
    let known = predictor.classes();
    let learned = |class: usize| match &predictor.judged.training {
        Some(Measures::Classification(training)) if known.len() != count => {
            training.classes.get(class).is_some_and(|class| class.support > 0)
        }
        _ => true,
    };
    let mut names = known.iter();
    let name_of = |class: usize| match learned(class) {
        true => names.next().map(|class| name(class)),
        false => None,
    };
    (0..count).map(name_of).map(|name| name.unwrap_or_else(|| "(not learned)".to_owned())).collect()
}

fn classes(predictor: &Predictor, measures: &Classification, room: Room) -> Vec<Section> {
    let names = class_names(predictor, measures.classes.len());
    let mut sections = Vec::new();
    if names.len() <= room.classes {
        let mut head = vec![words("was ↓ answered →")];
        head.extend(names.iter().map(numbers));
        let rows = measures.confusion.iter().zip(&names).enumerate();
        let rows = rows.map(|(class, (counts, name))| {
            let all = counts.iter().sum::<u64>().max(1) as f64;
            let cells = counts.iter().enumerate().map(|(answered, rows)| Cell::Heat {
                text: thousands(*rows),
                share: *rows as f64 / all,
                is_right: answered == class,
            });
            std::iter::once(Cell::Text(name.clone(), Tone::Name)).chain(cells).collect()
        });
        let table = Table { head, rows: rows.collect(), left_out: 0 };
        let about = "rows: the class that it was; columns: the class that was answered";
        sections.push(Section::new("confusion", "Confusion", about).table(table));
    } else {
        sections.push(mistakes(measures, &names, room));
    }
    let all: Vec<(&String, _)> = names.iter().zip(&measures.classes).collect();
    let head = ["rows", "answered", "precision", "recall", "f1"].map(numbers);
    let head = std::iter::once(words("class")).chain(head).collect();
    let table = Table::of(head, &all, room.rows, |(name, class)| {
        let rates = [class.precision, class.recall, class.f1];
        let rates = rates.into_iter().map(|rate| count(rate.map_or(NOTHING.into(), number)));
        let counts = [count(thousands(class.support)), count(thousands(class.answered))];
        std::iter::once(text(name.as_str())).chain(counts).chain(rates).collect()
    });
    let about =
        "precision: the share of those answered that is right; recall: the share of its rows that was found";
    sections.push(Section::new("classes", "Classes", about).table(table));
    sections
}

/// Of many classes: what is taken for what most often.
fn mistakes(measures: &Classification, names: &[String], room: Room) -> Section {
    let mut wrong: Vec<(usize, usize, u64)> = Vec::new();
    for (class, counts) in measures.confusion.iter().enumerate() {
        let others = counts.iter().enumerate().filter(|(answered, rows)| *answered != class && **rows > 0);
        wrong.extend(others.map(|(answered, rows)| (class, answered, *rows)));
    }
    wrong.sort_by_key(|(class, answered, rows)| (Reverse(*rows), *class, *answered));
    let shown = |class: usize| text(names.get(class).map_or(NOTHING, String::as_str));
    let head = vec![words("class"), words("taken for"), numbers("rows")];
    let table = Table::of(head, &wrong, room.rows, |(class, answered, rows)| {
        vec![shown(*class), shown(*answered), count(thousands(*rows))]
    });
    let section = Section::new("mistakes", "Mistakes", "the most frequent ones");
    if wrong.is_empty() { section.line("There are none.", Tone::Plain) } else { section.table(table) }
}

// ---- the other tasks ----

fn errors(measures: &Regression) -> Section {
    let about = "a residual is the true value less the answer";
    let Quantiles { p5, p95, .. } = &measures.residuals;
    let line = format!(
        "Half of the answers are off by at most {}, the worst by {}; 9 of 10 residuals lie between {} and {}.",
        number(measures.median_absolute_error),
        number(measures.max_error),
        number(*p5),
        number(*p95)
    );
    Section::new("residuals", "Residuals", about)
        .table(quantiles(&measures.residuals))
        .line(line, Tone::Plain)
}

fn scores(measures: &Outliers) -> Section {
    let about = "the higher a score, the more unusual the row";
    Section::new("scores", "Scores", about).table(quantiles(&measures.scores))
}

fn quantiles(of: &Quantiles) -> Table {
    let names = ["smallest", "5 %", "25 %", "median", "75 %", "95 %", "largest"];
    let values = [of.min, of.p5, of.p25, of.median, of.p75, of.p95, of.max];
    let mut table = Table::new(names.map(numbers).to_vec());
    table.rows.push(values.map(|value| count(number(value))).to_vec());
    table
}

fn sizes(measures: &Clustering, room: Room) -> Section {
    let mut all: Vec<(String, u64)> =
        measures.sizes.iter().map(|size| (size.group.to_string(), size.rows)).collect();
    let in_groups: u64 = all.iter().map(|(_, rows)| rows).sum();
    if in_groups < measures.rows {
        all.push(("in none".to_owned(), measures.rows - in_groups));
    }
    if all.len() > room.rows {
        all.sort_by_key(|(_, rows)| Reverse(*rows));
    }
    let largest = all.iter().map(|(_, rows)| *rows).max().unwrap_or_default().max(1) as f64;
    let head = vec![words("group"), numbers("rows"), numbers("share"), words("")];
    let table = Table::of(head, &all, room.rows, |(group, rows)| {
        let share = *rows as f64 / measures.rows.max(1) as f64;
        vec![text(group), count(thousands(*rows)), count(hundredths(share)), bar(*rows as f64 / largest)]
    });
    let about = match (measures.silhouette, measures.silhouette_rows < in_groups) {
        (Some(_), true) => format!("the silhouette is that of {}", counted(measures.silhouette_rows, "row")),
        _ => String::new(),
    };
    Section::new("sizes", "Groups", about).table(table)
}

fn components(measures: &Reduction, room: Room) -> Section {
    let mut together = 0.0;
    let all: Vec<(usize, f64, f64)> = measures
        .shares
        .iter()
        .enumerate()
        .map(|(place, share)| {
            together += share;
            (place, *share, together)
        })
        .collect();
    let head = vec![words("component"), numbers("share"), words(""), numbers("together")];
    let table = Table::of(head, &all, room.rows, |(place, share, together)| {
        let [share, bar] = share_cells(*share);
        vec![text(place.to_string()), share, bar, count(hundredths(*together))]
    });
    Section::new("components", "Components", "of the variance of the columns, what each says more")
        .table(table)
}

// ---- forecasts ----

/// What forecasts and with which errors, step by step.
pub(super) fn by_step(judged: &Judged) -> Vec<(String, Vec<f64>)> {
    let maes = |steps: &[OfForecasts]| steps.iter().map(|step| step.mae).collect();
    let own = ("this".to_owned(), maes(&judged.overall.scores.steps));
    let baselines = judged.overall.baselines.iter();
    let baselines = baselines.map(|one| (name(&one.algorithm), maes(&one.scores.steps)));
    std::iter::once(own).chain(baselines).collect()
}

fn steps(judged: &Judged) -> Section {
    let lines = by_step(judged);
    let scale = Scale::over(lines.iter().flat_map(|(_, maes)| maes.iter().copied()).chain([0.0]));
    let head = vec![words(""), words("mae by step ahead"), numbers("first step"), numbers("last step")];
    let table = Table::of(head, &lines, usize::MAX, |(name, maes)| {
        let end = |mae: Option<&f64>| count(mae.map_or(NOTHING.into(), |mae| number(*mae)));
        let tone = if name == "this" { Tone::Name } else { Tone::Plain };
        vec![
            Cell::Text(name.clone(), tone),
            Cell::Line(maes.iter().map(|mae| scale.place(*mae)).collect()),
            end(maes.first()),
            end(maes.last()),
        ]
    });
    let about = format!("how errors grow over {}", counted(judged.horizon as u64, "step"));
    Section::new("steps", "By step", about).table(table)
}

/// Each series by itself; of many those with the least skill.
fn series(judged: &Judged, room: Room) -> Option<Section> {
    if judged.series.len() < 2 {
        return None;
    }
    let mut all: Vec<&OfSeries> = judged.series.iter().collect();
    let mut about = "skill: 1 less the mae over that of the best baseline".to_owned();
    if all.len() > room.rows {
        let skill = |one: &OfSeries| one.comparison.as_ref().and_then(|comparison| comparison.skill);
        all.sort_by(|a, b| skill(a).unwrap_or(f64::MAX).total_cmp(&skill(b).unwrap_or(f64::MAX)));
        about.push_str("; those with the least");
    }
    let head = ["values", "mae", "mase", "coverage", "skill"].map(numbers);
    let head = std::iter::once(words("series")).chain(head).chain([words("best baseline")]).collect();
    let table = Table::of(head, &all, room.rows, |one| {
        let key = text(name(&one.key));
        let Some(comparison) = &one.comparison else {
            let why = one.why.as_deref().unwrap_or("too short");
            let mut row = vec![key, count("0")];
            row.extend((0..4).map(|_| count(NOTHING)));
            row.push(text(name(why)));
            return row;
        };
        let overall = &comparison.scores.overall;
        let skill = comparison.skill.filter(|skill| skill.is_finite());
        let baselines: Vec<Beside<'_>> = comparison.baselines.iter().map(Beside::of_forecasts).collect();
        let beaten = judge::find(Task::Forecast, "mae").ok();
        let beaten = beaten.and_then(|metric| all_beaten(&baselines, metric, overall.mae));
        let tone = match skill.and(beaten) {
            Some(Beaten::Clearly) => Tone::Good,
            Some(Beaten::No) => Tone::Bad,
            Some(Beaten::ByChance) | None => Tone::Plain,
        };
        vec![
            key,
            count(thousands(overall.count as u64)),
            count(number(overall.mae)),
            count(overall.mase.map_or(NOTHING.into(), number)),
            count(hundredths(overall.coverage)),
            Cell::Number(skill.map_or(NOTHING.into(), number), tone),
            text(name(&comparison.best_baseline)),
        ]
    });
    Some(Section::new("series", "By series", about).table(table))
}

/// The name of a series as the judge has it.
pub(super) fn series_name(series: &OneSeries) -> String {
    series.key.iter().map(|part| part.as_deref().unwrap_or("null")).collect::<Vec<_>>().join(", ")
}

/// The times of the forecasts of the first `count` series, as text.
fn times(forecasts: &Forecasts, count: usize) -> Option<Vec<Vec<String>>> {
    let few = Forecasts {
        columns: forecasts.columns.clone(),
        interval: forecasts.interval,
        step: forecasts.step,
        series: forecasts.series.iter().take(count).cloned().collect(),
    };
    let batch = few.batch(None).ok()?;
    // Behind the time come step, value, lower and upper.
    let column = batch.columns().len().checked_sub(5)?;
    let texts = cast(batch.column(column), &DataType::Utf8).ok()?;
    let texts: Vec<String> =
        texts.as_string::<i32>().iter().map(|text| short_time(text.unwrap_or(NOTHING))).collect();
    let steps = few.series.first()?.forecast.values.len().max(1);
    Some(texts.chunks(steps).map(<[String]>::to_vec).collect())
}

/// Without an hour that is always the first.
fn short_time(text: &str) -> String {
    name(text.strip_suffix("T00:00:00").or_else(|| text.strip_suffix("T00:00:00Z")).unwrap_or(text))
}

/// What comes next.
fn next(forecasts: &Forecasts, room: Room) -> Option<Section> {
    let first = forecasts.series.first()?;
    let times = times(forecasts, room.rows);
    let time = |series: usize, step: usize| {
        let known = times.as_ref().and_then(|times| times.get(series)?.get(step).cloned());
        known.unwrap_or_else(|| format!("step {}", step + 1))
    };
    let at = |values: &[f64], step: usize| values.get(step).map_or(NOTHING.into(), |value| number(*value));
    let interval = |one: &OneSeries, step: usize| {
        format!("{} … {}", at(&one.forecast.lower, step), at(&one.forecast.upper, step))
    };
    let level = format!("{} interval", percent(forecasts.interval));
    let section = Section::new("next", "Forecast", "what comes next, after all that it learned from");
    if forecasts.series.len() == 1 {
        let steps: Vec<usize> = (0..first.forecast.values.len()).collect();
        let Forecast { values, lower, upper, .. } = &first.forecast;
        let scale = Scale::over([values, lower, upper].into_iter().flatten().copied().chain([0.0]));
        let place = |values: &[f64], step: usize| values.get(step).map(|value| scale.place(*value));
        let head = vec![words("time"), numbers("value"), words(""), numbers(level)];
        let table = Table::of(head, &steps, room.rows, |step| {
            let bar = Bar {
                zero: scale.place(0.0),
                value: scale.place(values[*step]),
                whisker: place(lower, *step).zip(place(upper, *step)),
            };
            let value = count(number(values[*step]));
            vec![text(time(0, *step)), value, Cell::Bar(bar), count(interval(first, *step))]
        });
        let shown = |given: &Value| given.as_f64().map_or_else(|| value(given), figure);
        let figures: Vec<String> = first
            .forecast
            .figures
            .iter()
            .map(|(what, given)| format!("{} {}", name(what), shown(given)))
            .collect();
        let section = section.table(table);
        return Some(match figures.is_empty() {
            true => section,
            false => section.line(format!("fitted: {}", figures.join(" · ")), Tone::Dim),
        });
    }
    let all: Vec<(usize, &OneSeries)> = forecasts.series.iter().enumerate().collect();
    let head = vec![
        words("series"),
        numbers("learned from"),
        words("first"),
        numbers("value"),
        numbers(level),
        words(""),
        words("last"),
        numbers("value"),
    ];
    let table = Table::of(head, &all, room.rows, |(place, one)| {
        let values = &one.forecast.values;
        let last = values.len().saturating_sub(1);
        let scale = Scale::over(values.iter().copied());
        vec![
            text(name(&series_name(one))),
            count(counted(one.values, "value")),
            text(time(*place, 0)),
            count(at(values, 0)),
            count(interval(one, 0)),
            Cell::Line(values.iter().map(|value| scale.place(*value)).collect()),
            text(time(*place, last)),
            count(at(values, last)),
        ]
    });
    Some(section.table(table))
}

/// In a picture: the forecast that goes on where the values of `key` end.
pub(super) fn next_of<'a>(predictor: &'a Predictor, key: &str) -> Option<&'a OneSeries> {
    predictor.forecasts.as_ref()?.series.iter().find(|one| series_name(one) == key)
}

/// What the figures of forecasts mean that are no metrics.
pub(super) const OF_FORECASTS: [(&str, &str); 3] = [
    ("bias", "mean of forecast less actual value: above 0, forecasts are too high"),
    ("coverage", "share of the actual values within their interval: it should be as large as was asked"),
    (
        "skill",
        "1 less the mean absolute error over that of the best baseline: 0 is as good as it, 1 is perfect",
    ),
];

/// The quantiles of a picture of a box, and what they are of.
pub(super) fn boxed(measures: &Measures) -> Option<(&'static str, &Quantiles)> {
    match measures {
        Measures::Regression(measures) => Some(("residuals", &measures.residuals)),
        Measures::Outliers(measures) => Some(("scores", &measures.scores)),
        _ => None,
    }
}

/// A name of a class in a sentence.
pub(super) fn class_quoted(predictor: &Predictor, class: usize) -> String {
    predictor.classes().get(class).map_or_else(|| format!("class {class}"), |name| quoted(name))
}
