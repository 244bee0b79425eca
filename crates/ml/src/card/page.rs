//! A predictor as one HTML page with pictures. It needs no other file and runs no script: it can be mailed, and
//! opened where nothing of the net is reached.

use std::fmt::Write as _;

use lagar_flow::page::{Page, escape};

use super::{
    About, facts,
    facts::Room,
    model::{Cell, Scale, Section, Table, Tone},
    picture::{self, Plot, SQUARE, WIDE},
    tasks,
    words::{counted, name, number, percent, prose, quoted, short},
};
use crate::{
    algorithm::Task,
    judge::{
        self, Classification, Measures, Regression,
        classification::Binary,
        forecast::{Judged, Picture},
    },
    predictor::Predictor,
};

const STYLE: &str = include_str!("card.css");
const ROOM: Room = Room { rows: 60, classes: 20 };
/// Figures that are shown large.
const TILES: usize = 4;
/// Sections that need the whole width; the others stand beside each other.
const BROAD: [&str; 8] = ["curves", "groups", "residuals", "steps", "series", "next", "bias", "features"];
/// So many baselines are drawn, each in its way: the best.
const LINES: usize = 3;

/// One self-contained HTML file.
pub fn page(about: &About<'_>, predictor: &Predictor) -> String {
    let mut html = String::new();
    beginning(&mut html, about, predictor);
    let sections = sections(about, predictor);
    html.push_str("<nav>");
    for section in &sections {
        let _ = write!(html, "<a href=\"#{}\">{}</a> ", section.id, escape(&section.title));
    }
    html.push_str("<a href=\"#meaning\">What the measures mean</a></nav>\n<main>\n");
    for section in &sections {
        draw(&mut html, section, predictor);
    }
    html.push_str("</main>\n");
    meaning(&mut html, predictor);
    let libraries: Vec<String> = predictor
        .libraries
        .iter()
        .map(|(library, version)| format!("{} {}", name(library), name(version)))
        .collect();
    let _ = writeln!(
        html,
        "<footer>Fitted with {}. Format {}.</footer>",
        escape(&libraries.join(", ")),
        predictor.format_version
    );
    let header = format!("<p>{}</p>\n", escape(&facts::heading(about)));
    Page { title: &name(about.name), style: STYLE, header: &header, body: &html }.html()
}

fn beginning(html: &mut String, about: &About<'_>, predictor: &Predictor) {
    if let Some(description) = about.description.filter(|text| !text.trim().is_empty()) {
        let _ = writeln!(html, "<p class=\"description\">{}</p>", escape(&prose(description)));
    }
    let _ = writeln!(html, "<p>{}</p>", sentence(&facts::intro(predictor)));
    let (verdict, careful) = facts::verdict(predictor);
    let _ = writeln!(html, "<p class=\"verdict {}\">{}</p>", class_of(verdict.tone), sentence(&verdict.text));
    if !careful.is_empty() {
        html.push_str("<ul class=\"notes\">");
        for note in careful {
            let _ = write!(html, "<li>{}</li>", sentence(&note));
        }
        html.push_str("</ul>\n");
    }
    let headline = predictor.judged.headline();
    let tiles: Vec<_> = headline.iter().filter(|(_, value)| value.is_finite()).take(TILES).collect();
    if !tiles.is_empty() {
        html.push_str("<dl class=\"tiles\">");
        for (what, value) in tiles {
            let _ = write!(html, "<div><dt>{}</dt><dd>{}</dd></div>", escape(&name(what)), short(*value));
        }
        html.push_str("</dl>\n");
    }
}

fn sections(about: &About<'_>, predictor: &Predictor) -> Vec<Section> {
    let common = [facts::measures(predictor), curves(predictor), facts::groups(predictor, ROOM)];
    let mut sections: Vec<Section> = common.into_iter().flatten().collect();
    sections.extend(tasks::sections(predictor, ROOM));
    let learned = [
        facts::importance(predictor, ROOM),
        facts::coefficients(predictor, ROOM),
        facts::fitted(predictor, ROOM),
        facts::bias(predictor, ROOM),
        facts::tried(predictor, ROOM),
        facts::features(predictor, ROOM),
        Some(facts::params_table(predictor)),
        facts::versions(about, ROOM),
    ];
    sections.extend(learned.into_iter().flatten());
    sections
}

/// Of two classes there are pictures of what the probabilities are worth.
fn curves(predictor: &Predictor) -> Option<Section> {
    let Some(Measures::Classification(measures)) = &predictor.judged.measures else { return None };
    let binary = measures.binary.as_ref()?;
    let none = binary.roc.is_empty() && binary.precision_recall.is_empty() && binary.calibration.is_empty();
    let about = format!("of the probability of {}", tasks::class_quoted(predictor, 1));
    (!none).then(|| Section::new("curves", "Probabilities", about))
}

fn draw(html: &mut String, section: &Section, predictor: &Predictor) {
    let class = if BROAD.contains(&section.id) { " class=\"broad\"" } else { "" };
    let _ = writeln!(html, "<section id=\"{}\"{class}>\n<h2>{}</h2>", section.id, escape(&section.title));
    if !section.about.is_empty() {
        let _ = writeln!(html, "<p class=\"about\">{}</p>", sentence(&section.about));
    }
    for line in &section.lines {
        let _ = writeln!(html, "<p class=\"{}\">{}</p>", class_of(line.tone), sentence(&line.text));
    }
    pictures(html, section.id, predictor);
    for table in &section.tables {
        tabulate(html, table, section);
    }
    html.push_str("</section>\n");
}

fn pictures(html: &mut String, section: &str, predictor: &Predictor) {
    let judged = &predictor.judged;
    match (section, &judged.measures) {
        ("curves", Some(Measures::Classification(measures))) => {
            html.push_str("<div class=\"figures\">\n");
            if let Some(binary) = &measures.binary {
                roc(html, measures, binary);
                precision_recall(html, measures, binary);
                calibration(html, binary);
            }
            html.push_str("</div>\n");
        }
        ("residuals" | "scores", Some(measures)) => {
            html.push_str("<div class=\"figures\">\n");
            if let Measures::Regression(measures) = measures {
                scatter(html, measures);
            }
            if let Some((what, quantiles)) = tasks::boxed(measures) {
                let words = picture::in_words(what, quantiles);
                let caption = "thin: all; thick: 9 of 10; box: half of them, with the median";
                figure(html, &picture::boxed(quantiles, &words), caption, &[]);
            }
            html.push_str("</div>\n");
        }
        _ => {}
    }
    match (section, &judged.forecast) {
        ("steps", Some(forecast)) => by_step(html, forecast),
        ("next", Some(forecast)) => {
            forecast.pictures.iter().for_each(|picture| futures(html, predictor, forecast, picture));
        }
        _ => {}
    }
}

/// A picture with what is to be known of it; `keys` name its lines.
fn figure(html: &mut String, svg: &str, caption: &str, keys: &[(&str, String)]) {
    let _ = write!(html, "<figure>{svg}<figcaption>{}", sentence(caption));
    for (class, name) in keys {
        let _ = write!(html, " <span class=\"key\"><i class=\"{class}\"></i>{}</span>", escape(name));
    }
    html.push_str("</figcaption></figure>\n");
}

const SHARES: Scale = Scale { from: 0.0, to: 1.0 };
const DIAGONAL: [(f64, f64); 2] = [(0.0, 0.0), (1.0, 1.0)];

fn roc(html: &mut String, measures: &Classification, binary: &Binary) {
    if binary.roc.is_empty() {
        return;
    }
    let area = measures.roc_auc.map_or(String::new(), |area| format!(": area {}", number(area)));
    let title = format!("ROC curve{area}");
    let mut plot = Plot::new(SQUARE, SHARES, SHARES, &title, ("false positive rate", "true positive rate"));
    plot.line("chance", DIAGONAL);
    plot.line("own", binary.roc.iter().copied());
    let caption = format!("{title}; the diagonal is chance");
    figure(html, &plot.done(), &caption, &[]);
}

fn precision_recall(html: &mut String, measures: &Classification, binary: &Binary) {
    if binary.precision_recall.is_empty() {
        return;
    }
    let area = binary.pr_auc.map_or(String::new(), |area| format!(": area {}", number(area)));
    let title = format!("Precision over recall{area}");
    let mut plot = Plot::new(SQUARE, SHARES, SHARES, &title, ("recall", "precision"));
    let positives =
        measures.classes.get(1).map_or(0.0, |class| class.support as f64 / measures.rows.max(1) as f64);
    plot.line("chance", [(0.0, positives), (1.0, positives)]);
    plot.line("own", binary.precision_recall.iter().copied());
    let caption = format!("{title}; {} of the rows are positive, which is chance", percent(positives));
    figure(html, &plot.done(), &caption, &[]);
}

fn calibration(html: &mut String, binary: &Binary) {
    if binary.calibration.is_empty() {
        return;
    }
    let title = "Calibration: share of positive rows over the probability that was given";
    let mut plot = Plot::new(SQUARE, SHARES, SHARES, title, ("mean probability", "share of positive rows"));
    plot.line("chance", DIAGONAL);
    plot.line("own", binary.calibration.iter().map(|bin| (bin.predicted, bin.observed)));
    let most = binary.calibration.iter().map(|bin| bin.rows).max().unwrap_or_default().max(1) as f64;
    for bin in &binary.calibration {
        let title = format!(
            "{}: {} given, {} came",
            counted(bin.rows, "row"),
            percent(bin.predicted),
            percent(bin.observed)
        );
        plot.point(bin.predicted, bin.observed, 2.5 + 5.0 * (bin.rows as f64 / most).sqrt(), &title);
    }
    figure(
        html,
        &plot.done(),
        "Calibration; on the diagonal what was said is what came. Larger points have more rows.",
        &[],
    );
}

fn scatter(html: &mut String, measures: &Regression) {
    if measures.points.is_empty() {
        return;
    }
    // One scale for both, so that the diagonal is where both are equal.
    let scale = Scale::over(measures.points.iter().flat_map(|(truth, answer)| [*truth, *answer]));
    let title = format!("answer over true value, {}", counted(measures.points.len() as u64, "row"));
    let mut plot = Plot::new(SQUARE, scale, scale, &title, ("true value", "answer"));
    plot.line("chance", [(scale.from, scale.from), (scale.to, scale.to)]);
    plot.dots(measures.points.iter().copied());
    let sample = if (measures.points.len() as u64) < measures.rows { " (some of them)" } else { "" };
    let caption = format!("{title}{sample}; on the diagonal both are equal");
    figure(html, &plot.done(), &caption, &[]);
}

fn by_step(html: &mut String, judged: &Judged) {
    let mut lines = tasks::by_step(judged);
    if judged.horizon < 2 {
        return;
    }
    // Behind this one. Each has as many steps.
    let sum = |(_, maes): &(String, Vec<f64>)| maes.iter().sum::<f64>();
    lines[1..].sort_by(|a, b| sum(a).total_cmp(&sum(b)));
    lines.truncate(LINES + 1);
    let y = Scale::over(lines.iter().flat_map(|(_, maes)| maes.iter().copied()).chain([0.0]));
    let x = Scale { from: 1.0, to: judged.horizon as f64 };
    let title = "mean absolute error of each step ahead, beside the best baselines";
    let mut plot = Plot::new(WIDE, x, y, title, ("steps ahead", "mae"));
    let mut keys = Vec::new();
    for (number, (name, maes)) in lines.iter().enumerate().rev() {
        let class = if number == 0 { "own" } else { ["base", "base two", "base three"][number - 1] };
        plot.line(class, maes.iter().enumerate().map(|(step, mae)| (step as f64 + 1.0, *mae)));
        keys.insert(0, (class, name.clone()));
    }
    figure(html, &plot.done(), "", &keys);
}

/// What was known, what was forecast and what came; then what comes next, if that goes on where this ends.
fn futures(html: &mut String, predictor: &Predictor, judged: &Judged, picture: &Picture) {
    let ahead = picture.actual.len();
    let goes_on = ahead == judged.horizon;
    let next = tasks::next_of(predictor, &picture.key).filter(|_| goes_on).map(|one| &one.forecast);
    // The last value that came is at 0.
    let from = |start: f64| move |(place, value): (usize, &f64)| (start + place as f64, *value);
    let known = picture.before.iter().chain(&picture.actual);
    let known_from = 1.0 - (picture.before.len() + ahead) as f64;
    let judged_from = 1.0 - ahead as f64;
    let places =
        |start: f64, count: usize| (0..count).map(|place| start + place as f64).collect::<Vec<f64>>();
    let bounds = [&picture.before, &picture.actual, &picture.forecast, &picture.lower, &picture.upper];
    let bounds = bounds.into_iter().flatten().copied();
    let later =
        next.iter().flat_map(|next| next.values.iter().chain(&next.lower).chain(&next.upper)).copied();
    let y = Scale::over(bounds.chain(later));
    let x = Scale { from: known_from.min(-1.0), to: next.map_or(0.0, |next| next.values.len() as f64) };
    let of = if picture.key.is_empty() { String::new() } else { format!(" of {}", name(&picture.key)) };
    let title = format!("values{of}: what came, what had been forecast, and what is forecast next");
    let mut plot = Plot::new(WIDE, x, y, &title, ("steps from the last value", "value"));
    plot.band(&places(judged_from, ahead), &picture.lower, &picture.upper);
    plot.line("actual", known.enumerate().map(from(known_from)));
    plot.line("own", picture.forecast.iter().enumerate().map(from(judged_from)));
    let mut keys = vec![
        ("actual", "what came".to_owned()),
        ("own", "what had been forecast, with its interval".to_owned()),
    ];
    if let Some(next) = next {
        plot.band(&places(1.0, next.values.len()), &next.lower, &next.upper);
        plot.line("next", next.values.iter().enumerate().map(from(1.0)));
        keys.push(("next", "what is forecast next".to_owned()));
    }
    let of = if picture.key.is_empty() { String::new() } else { format!("{}: ", quoted(&picture.key)) };
    let caption = format!("{of}intervals of {}.", percent(judged.level));
    figure(html, &plot.done(), &caption, &keys);
}

fn tabulate(html: &mut String, table: &Table, section: &Section) {
    let _ = write!(html, "<div class=\"wide\"><table><caption>{}</caption>", escape(&section.title));
    if table.head.iter().any(|head| !head.name.is_empty()) {
        html.push_str("<thead><tr>");
        for head in &table.head {
            let class = if head.is_number { " class=\"n\"" } else { "" };
            let _ = write!(html, "<th scope=\"col\"{class}>{}</th>", marked(&head.name));
        }
        html.push_str("</tr></thead>");
    }
    html.push_str("<tbody>\n");
    for row in &table.rows {
        html.push_str("<tr>");
        for (place, cell) in row.iter().enumerate() {
            draw_cell(html, cell, place == 0);
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div>\n");
    if let Some(rest) = table.rest() {
        let _ = writeln!(html, "<p class=\"about\">{}</p>", escape(&rest));
    }
}

fn draw_cell(html: &mut String, cell: &Cell, is_first: bool) {
    let _ = match cell {
        Cell::Text(text, tone) if is_first => {
            write!(html, "<th scope=\"row\" class=\"{}\">{}</th>", class_of(*tone), escape(text))
        }
        Cell::Text(text, tone) => write!(html, "<td class=\"{}\">{}</td>", class_of(*tone), sentence(text)),
        Cell::Number(text, tone) => {
            write!(html, "<td class=\"n {}\">{}</td>", class_of(*tone), marked(text))
        }
        Cell::Bar(bar) => write!(html, "<td>{}</td>", picture::bar(*bar)),
        Cell::Line(heights) => write!(html, "<td>{}</td>", picture::spark(heights)),
        Cell::Heat { text, share, is_right } => {
            let right = if *is_right { " right" } else { "" };
            let deep = if *share > 0.55 { " deep" } else { "" };
            write!(
                html,
                "<td class=\"n heat{right}{deep}\" style=\"--share:{:.2}\" title=\"{} of the row\">{}</td>",
                share.clamp(0.0, 1.0),
                percent(*share),
                escape(text)
            )
        }
    };
}

/// A number with the room for its mark, so that numbers stand below each other.
fn marked(text: &str) -> String {
    let mark = |c: char| matches!(c, '✓' | '✗' | '!');
    match text.strip_suffix(mark) {
        Some(number) => format!("{}<b>{}</b>", escape(number.trim_end()), &text[number.len()..]),
        None if text.ends_with(' ') => format!("{}<b></b>", escape(text.trim_end())),
        None => escape(text),
    }
}

fn meaning(html: &mut String, predictor: &Predictor) {
    html.push_str("<section id=\"meaning\">\n<h2>What the measures mean</h2>\n<dl class=\"meaning\">");
    let mut add = |name: &str, about: &str| {
        let _ = write!(html, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(about));
    };
    let arrow = |better| if better { "more is better" } else { "less is better" };
    let sides = facts::sides(predictor);
    let is_shown =
        |metric: &&judge::Metric| sides.as_ref().is_some_and(|sides| sides.own.value(metric).is_some());
    for metric in judge::metrics(predictor.task).filter(is_shown) {
        add(metric.name, &format!("{}; {}", metric.about, arrow(metric.higher_is_better)));
    }
    if predictor.task == Task::Forecast {
        tasks::OF_FORECASTS.iter().for_each(|(name, about)| add(name, about));
    }
    if predictor.task == Task::Outliers {
        add("flagged", "the share of the rows that are too unusual");
    }
    if predictor.judged.bias.is_some() {
        let is_new = |name: &str| judge::find(predictor.task, name).is_err();
        facts::RATES.iter().filter(|rate| is_new(rate.0)).for_each(|(name, about, _)| add(name, about));
    }
    if predictor.judged.importance.is_some() {
        add(
            "importance",
            "how much worse it gets without what a feature says; features that say the same share it",
        );
    }
    if predictor.task.has_target() && predictor.judged.training.is_some() {
        add("training", "the same on the rows that it learned from: much better there is learned by heart");
    }
    html.push_str("</dl>\n</section>\n");
}

fn class_of(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "plain",
        Tone::Name => "name",
        Tone::Good => "good",
        Tone::Bad => "bad",
        Tone::Dim => "dim",
    }
}

/// Text in which what stands between `backticks` is a name.
fn sentence(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    // One too many is none.
    if parts.len().is_multiple_of(2) {
        return whole(text);
    }
    let mut html = String::new();
    for (place, part) in parts.iter().enumerate() {
        let part = whole(part);
        if !place.is_multiple_of(2) {
            let _ = write!(html, "<code>{part}</code>");
        } else {
            html.push_str(&part);
        }
    }
    html
}

/// Text in which a number and its sign stay in one line.
fn whole(text: &str) -> String {
    escape(text).replace(" %", "\u{a0}%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_taken_for_html() {
        assert_eq!(sentence("a `b<` c"), "a <code>b&lt;</code> c");
        assert_eq!(sentence("a ` b"), "a ` b");
        assert_eq!(marked("0.5 ✓"), "0.5<b>✓</b>");
        assert_eq!(marked("0.5  "), "0.5<b></b>");
    }

    #[test]
    fn the_style_asks_for_nothing_from_elsewhere() {
        for word in ["url(", "@import", "http", "</style"] {
            assert!(!STYLE.contains(word), "{word}");
        }
    }
}
