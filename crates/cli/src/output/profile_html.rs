//! The profile of a table as one HTML page with pictures. It needs no other file and runs no script: it can be
//! mailed, and opened where nothing of the net is reached.

use std::fmt::Write as _;

use lagar_engine::profile::{ColumnProfile, Histogram, percent};
use lagar_flow::{
    page::{Page, escape},
    words::{line, thousands},
};
use lagar_orchestrate::TableProfile;

use super::{
    profile::{distinct, facts, marks, measure, range, top_values, value},
    rows::type_name,
};

const STYLE: &str = include_str!("profile.css");
/// The picture of a histogram.
const WIDTH: f64 = 288.0;
const HEIGHT: f64 = 96.0;

/// The whole page.
pub fn page(profile: &TableProfile) -> String {
    let mut header = format!("<p>{}</p>\n", escape(&facts(profile).join(" · ")));
    if let Some(filter) = &profile.filter {
        let _ = writeln!(header, "<p>only rows where <code>{}</code></p>", escape(&line(filter)));
    }
    let mut html = String::new();
    overview(&mut html, profile);
    html.push_str("<main>\n");
    for (index, column) in profile.profile.columns.iter().enumerate() {
        card(&mut html, index, column);
    }
    html.push_str("</main>\n<footer>");
    if profile.profile.columns.iter().any(|column| !column.distinct_is_exact) {
        html.push_str(
            "~ estimated: too many different values to count each; rows, nulls, bounds and means are exact. ",
        );
    }
    let _ = writeln!(html, "lagar {}</footer>", env!("CARGO_PKG_VERSION"));
    Page { title: &profile.table, style: STYLE, header: &header, body: &html }.html()
}

/// All columns at a glance: how full each is, with a way to its card.
fn overview(html: &mut String, profile: &TableProfile) {
    html.push_str("<nav><table>\n<thead><tr><th>column<th>type<th>shape<th class=\"n\">distinct<th>filled</tr></thead>\n<tbody>\n");
    for (index, column) in profile.profile.columns.iter().enumerate() {
        let _ = writeln!(
            html,
            "<tr><td><a href=\"#c{index}\">{}</a><td>{}<td>{}<td class=\"n\">{}<td>{}</tr>",
            escape(&line(&column.name)),
            escape(&line(&type_name(&column.data_type))),
            shape(column),
            distinct(column),
            filled(column)
        );
    }
    html.push_str("</tbody>\n</table></nav>\n");
}

/// The histogram, small.
fn shape(column: &ColumnProfile) -> String {
    let Some(histogram) = &column.histogram else { return String::new() };
    let mut html = format!(
        "<svg class=\"shape\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
    );
    bars(&mut html, histogram, false);
    html + "</svg>"
}

/// A bar of what is there, what is written like null, and what is null.
fn filled(column: &ColumnProfile) -> String {
    if column.rows == 0 {
        return "no rows".to_owned();
    }
    let share = |count: u64| count as f64 / column.rows as f64;
    let null = share(column.nulls);
    let token = share(column.null_tokens);
    let there = (1.0 - null - token).max(0.0);
    let label = match (column.nulls, column.null_tokens) {
        (0, 0) => String::new(),
        _ => format!(" {} % null", percent(null + token)),
    };
    format!(
        "<svg class=\"fill\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{} % filled\">\
         <rect class=\"null\" width=\"100\" height=\"8\"/><rect class=\"token\" width=\"{:.2}\" height=\"8\"/>\
         <rect class=\"there\" width=\"{:.2}\" height=\"8\"/></svg><small>{label}</small>",
        percent(there),
        (there + token) * 100.0,
        there * 100.0
    )
}

fn card(html: &mut String, index: usize, column: &ColumnProfile) {
    let _ = writeln!(
        html,
        "<section id=\"c{index}\">\n<h2>{} <small>{}</small></h2>",
        escape(&line(&column.name)),
        escape(&line(&type_name(&column.data_type)))
    );
    let _ = writeln!(html, "<p class=\"filled\">{}</p>", filled(column));
    html.push_str("<dl>");
    fact(html, "distinct", &distinct(column));
    fact(html, "null", &thousands(column.nulls));
    if let Some(range) = range(column) {
        fact(html, "range", &range);
    }
    html.push_str("</dl>\n");
    for mark in marks(column) {
        let _ = writeln!(html, "<p class=\"mark\">{}</p>", escape(&mark));
    }
    if let Some(histogram) = &column.histogram {
        picture(html, histogram, column);
    }
    frequent(html, column);
    html.push_str("</section>\n");
}

fn fact(html: &mut String, name: &str, text: &str) {
    let _ = write!(html, "<div><dt>{name}<dd>{}</div>", escape(text));
}

/// The histogram; each bar says its count when it is pointed at.
fn picture(html: &mut String, histogram: &Histogram, column: &ColumnProfile) {
    let what = measure(histogram, column);
    let _ = writeln!(
        html,
        "<figure>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"histogram of {what}\">"
    );
    bars(html, histogram, true);
    let about = if histogram.is_exact { "" } else { "~ " };
    let _ = writeln!(
        html,
        "</svg>\n<figcaption><span>{}</span><span>{about}{what}</span><span>{}</span></figcaption>\n</figure>",
        escape(&value(&histogram.from)),
        escape(&value(&histogram.to))
    );
}

fn bars(html: &mut String, histogram: &Histogram, with_counts: bool) {
    let most = histogram.counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let step = WIDTH / histogram.counts.len().max(1) as f64;
    for (index, count) in histogram.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        // What is there at all is seen.
        let height = (*count as f64 / most * HEIGHT).max(HEIGHT / 48.0);
        let title = if with_counts { format!("<title>{}</title>", thousands(*count)) } else { String::new() };
        let _ = write!(
            html,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\">{title}</rect>",
            index as f64 * step,
            HEIGHT - height,
            step - 1.0
        );
    }
}

/// The frequent values with their shares.
fn frequent(html: &mut String, column: &ColumnProfile) {
    let top = top_values(column);
    let Some(first) = top.first() else { return };
    html.push_str("<table class=\"top\">\n");
    for entry in top {
        let about = if entry.is_exact { "" } else { "~" };
        let share = entry.count as f64 / column.rows.max(1) as f64;
        let _ = writeln!(
            html,
            "<tr><td title=\"{0}\">{0}<td><svg viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
             <rect width=\"{1:.2}\" height=\"8\"/></svg><td class=\"n\">{about}{2}<td class=\"n\">{3} %</tr>",
            escape(&value(&entry.value)),
            entry.count as f64 / first.count.max(1) as f64 * 100.0,
            thousands(entry.count),
            percent(share)
        );
    }
    html.push_str("</table>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_asks_for_nothing_from_elsewhere() {
        for word in ["url(", "@import", "http", "</style"] {
            assert!(!STYLE.contains(word), "{word}");
        }
    }
}
