//! The profile of a table as a page for a terminal: two or three lines a column.

use lagar_engine::profile::{ColumnProfile, Histogram, Measure, percent};
use lagar_flow::words::{counted, cut, grouped, height, line, padded, text_width, thousands};
use lagar_orchestrate::TableProfile;
use serde_json::Value as Json;

use super::{Style, bytes, rows::type_name};

/// Without a terminal that says how wide it is.
const WIDTH: usize = 100;
const WIDTH_MIN: usize = 60;
const NAME_MAX: usize = 28;
const TYPE_MAX: usize = 14;
/// A value among others.
const VALUE_MAX: usize = 28;
/// Bars of a histogram.
const BARS_MAX: usize = 12;

/// The colours of a page.
pub struct Colours {
    pub name: Style,
    pub bars: Style,
    pub dim: Style,
    pub warn: Style,
}

/// The whole page, no line of it wider than `width`.
pub fn page(profile: &TableProfile, width: Option<usize>, colours: &Colours) -> String {
    let width = width.unwrap_or(WIDTH).max(WIDTH_MIN);
    let columns = &profile.profile.columns;
    let widest =
        |of: &dyn Fn(&ColumnProfile) -> usize, max: usize| columns.iter().map(of).max().unwrap_or(0).min(max);
    // In a narrow terminal the name gives way.
    let name_max = NAME_MAX.min(width.saturating_sub(TYPE_MAX + 36)).max(12);
    let grid = Grid {
        name: widest(&|column| text_width(&line(&column.name)), name_max).max(6),
        kind: widest(&|column| text_width(&type_name(&column.data_type)), TYPE_MAX).max(4),
        width,
        colours,
    };
    let mut text = heading(profile, width, colours);
    if !columns.is_empty() {
        let header = format!(
            "{}  {}  {:>6}  {:>9}  {}",
            padded("column", grid.name, false),
            padded("type", grid.kind, false),
            "null",
            "distinct",
            "histogram"
        );
        text.push_str(&format!("\n{}\n", colours.dim.paint(&header)));
    }
    for column in columns {
        text.push_str(&grid.column(column));
    }
    text.push_str(&legend(columns, colours));
    text
}

/// The table, its version, rows and size.
pub fn facts(profile: &TableProfile) -> Vec<String> {
    let mut facts = Vec::new();
    if let (Some(version), Some(at)) = (profile.version, profile.at) {
        let what = if profile.table.starts_with("raw.") { "load" } else { "version" };
        facts.push(format!("{what} {version} of {}", at.format("%Y-%m-%d %H:%M UTC")));
    }
    facts.push(counted(profile.profile.rows, "row"));
    facts.push(counted(profile.profile.columns.len() as u64, "column"));
    facts.extend(profile.bytes.map(bytes));
    facts
}

fn heading(profile: &TableProfile, width: usize, colours: &Colours) -> String {
    let facts = facts(profile).join(" · ");
    let fits = text_width(&profile.table) + 2 + text_width(&facts) <= width;
    let gap = if fits { "  " } else { "\n" };
    let mut text = format!("{}{gap}{facts}\n", colours.name.paint(&profile.table));
    if let Some(filter) = &profile.filter {
        text.push_str(&format!("only rows where {}\n", line(filter)));
    }
    text
}

/// What the marks mean that are on the page.
fn legend(columns: &[ColumnProfile], colours: &Colours) -> String {
    match columns.iter().any(|column| !column.distinct_is_exact) {
        true => {
            let text = "~ estimated; rows, nulls, bounds and means are exact";
            format!("\n{}\n", colours.dim.paint(text))
        }
        false => String::new(),
    }
}

struct Grid<'a> {
    name: usize,
    kind: usize,
    width: usize,
    colours: &'a Colours,
}

impl Grid<'_> {
    fn column(&self, column: &ColumnProfile) -> String {
        let colours = self.colours;
        let share = column.null_share(false);
        let null = if share > 0.0 { format!("{} %", percent(share)) } else { "·".to_owned() };
        let null = format!("{null:>6}");
        let null = if share > 0.5 { colours.warn.paint(&null) } else { null };
        let distinct = format!("{:>9}", distinct(column));
        let distinct = if column.distinct <= 1 { colours.warn.paint(&distinct) } else { distinct };
        let bars = column.histogram.as_ref().map_or(String::new(), bars);
        let first = format!(
            "{}  {}  {null}  {distinct}  {}",
            colours.name.paint(&padded(&cut(&line(&column.name), self.name), self.name, false)),
            padded(&cut(&type_name(&column.data_type), self.kind), self.kind, false),
            colours.bars.paint(&padded(&bars, BARS_MAX, false)),
        );
        let used = self.name + self.kind + 6 + 9 + BARS_MAX + 8;
        let room = self.width.saturating_sub(used + 2);
        let range = range(column).unwrap_or_default();
        let mut text = first;
        let indented = self.width.saturating_sub(2);
        let mut below = Vec::new();
        match text_width(&range) <= room {
            true if !range.is_empty() => text.push_str(&format!("  {}", colours.dim.paint(&range))),
            true => {}
            false => below.push(colours.dim.paint(&cut(&range, indented))),
        }
        let marks = marks(column).join(", ");
        if !marks.is_empty() {
            below.push(colours.warn.paint(&cut(&marks, indented)));
        }
        let top = top(column, indented);
        if !top.is_empty() {
            below.push(colours.dim.paint(&top));
        }
        let mut text = text.trim_end().to_owned() + "\n";
        for part in below {
            text.push_str(&format!("  {part}\n"));
        }
        text
    }
}

/// The number of different values: `~` where it is estimated.
pub fn distinct(column: &ColumnProfile) -> String {
    let about = if column.distinct_is_exact { "" } else { "~" };
    format!("{about}{}", thousands(column.distinct))
}

/// Bounds, mean, lengths.
pub fn range(column: &ColumnProfile) -> Option<String> {
    let mut parts = Vec::new();
    let is_text = column.looks.is_some();
    if let (Some(min), Some(max)) = (&column.min, &column.max) {
        // What a text begins with says little where its frequent values are told.
        if !is_text || top_values(column).is_empty() {
            parts.push(match min == max {
                true => cut(&value(min), VALUE_MAX),
                false => format!("{} … {}", cut(&value(min), VALUE_MAX), cut(&value(max), VALUE_MAX)),
            });
        }
    }
    parts.extend(
        column.mean.filter(|_| column.min != column.max).map(|mean| format!("mean {}", number(mean))),
    );
    parts.extend(column.lengths.and_then(|between| lengths(column, between)));
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn lengths(column: &ColumnProfile, (min, max): (u64, u64)) -> Option<String> {
    let what = match column.data_type {
        _ if column.looks.is_some() => "character",
        ref list if list.is_nested() => "element",
        _ => "byte",
    };
    let plural = if max == 1 { "" } else { "s" };
    Some(match min == max {
        true => format!("{} {what}{plural}", thousands(max)),
        false => format!("{} … {} {what}{plural}", thousands(min), thousands(max)),
    })
}

/// What a person should know about the values.
pub fn marks(column: &ColumnProfile) -> Vec<String> {
    let mut marks = Vec::new();
    if column.null_tokens > 0 {
        let share = column.null_tokens as f64 / column.rows.max(1) as f64;
        marks.push(format!("{} % written like null ({})", percent(share), thousands(column.null_tokens)));
    }
    if column.nan > 0 {
        marks.push(format!("{} not a number", thousands(column.nan)));
    }
    if column.infinite > 0 {
        marks.push(format!("{} infinite", thousands(column.infinite)));
    }
    if let Some(looks) = column.looks.filter(|looks| looks.values() > 0) {
        let all = looks.values();
        let could_be = match all {
            all if looks.int == all => Some("int"),
            all if looks.int + looks.double == all => Some("double"),
            all if looks.date == all => Some("date"),
            all if looks.date + looks.timestamp == all => Some("timestamp"),
            _ => None,
        };
        marks.extend(could_be.map(|kind| format!("could be {kind}")));
    }
    marks
}

/// The frequent values, if any is more frequent than others. Of many numbers and times the histogram tells more.
pub fn top_values(column: &ColumnProfile) -> &[lagar_engine::profile::TopValue] {
    const FEW: u64 = 6;
    let is_ordered = column.histogram.as_ref().is_some_and(|histogram| histogram.of == Measure::Values);
    match column.top.first() {
        Some(first) if first.count <= 1 => &[],
        Some(first) if is_ordered && column.distinct > FEW => {
            let even = (column.rows - column.nulls) as f64 / column.distinct as f64;
            if first.count as f64 >= 3.0 * even { &column.top } else { &[] }
        }
        Some(_) => &column.top,
        None => &[],
    }
}

/// As many of the frequent values as there is room for.
fn top(column: &ColumnProfile, room: usize) -> String {
    let mut text = String::new();
    for top in top_values(column) {
        let about = if top.is_exact { "" } else { "~" };
        let share = top.count as f64 / column.rows.max(1) as f64;
        let next = format!("{} {about}{} %", cut(&value(&top.value), VALUE_MAX), percent(share));
        let next = if text.is_empty() { next } else { format!("{text} · {next}") };
        if text_width(&next) > room {
            break;
        }
        text = next;
    }
    text
}

/// A histogram in eight heights; nothing where nothing is.
fn bars(histogram: &Histogram) -> String {
    let each = histogram.counts.len().div_ceil(BARS_MAX).max(1);
    let counts: Vec<u64> = histogram.counts.chunks(each).map(|steps| steps.iter().sum()).collect();
    let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let bar = |count: &u64| match *count {
        0 => ' ',
        count => height(count as f64 / most),
    };
    counts.iter().map(bar).collect()
}

/// What a histogram counts, in words.
pub fn measure(histogram: &Histogram, column: &ColumnProfile) -> &'static str {
    match (histogram.of, &column.data_type) {
        (Measure::Values, _) => "values",
        (Measure::Lengths, list) if list.is_nested() => "elements",
        (Measure::Lengths, _) => "lengths",
    }
}

/// A value for the eye, in one line.
pub fn value(value: &Json) -> String {
    match value {
        Json::String(text) if text.is_empty() => "''".to_owned(),
        Json::String(text) => line(text),
        Json::Number(whole) if whole.is_i64() || whole.is_u64() => {
            let text = whole.to_string();
            match text.strip_prefix('-') {
                Some(digits) => format!("-{}", grouped(digits)),
                None => grouped(&text),
            }
        }
        Json::Number(float) => float.as_f64().map_or_else(|| float.to_string(), number),
        other => other.to_string(),
    }
}

/// A number with six digits that count.
pub fn number(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    let magnitude = number.abs().log10().floor();
    if !(-5.0..15.0).contains(&magnitude) {
        return format!("{number:.5e}");
    }
    let decimals = (5.0 - magnitude).max(0.0) as usize;
    let text = format!("{:.decimals$}", number.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let fraction = fraction.trim_end_matches('0');
    let sign = if number < 0.0 { "-" } else { "" };
    match fraction {
        "" => format!("{sign}{}", grouped(whole)),
        fraction => format!("{sign}{}.{fraction}", grouped(whole)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bars_have_eight_heights_and_nothing_is_nothing() {
        let drawn = |counts: &[u64]| {
            bars(&Histogram {
                of: Measure::Values,
                from: json!(0),
                to: json!(1),
                counts: counts.to_vec(),
                is_exact: true,
            })
        };
        assert_eq!(drawn(&[1, 2, 3, 4, 5, 6, 7, 8]), "▁▂▃▄▅▆▇█");
        assert_eq!(drawn(&[0, 1, 1_000_000]), " ▁█");
        assert_eq!(drawn(&[1; 24]), "█".repeat(12));
        assert_eq!(drawn(&[5]), "█");
        assert_eq!(drawn(&[0]), " ");
    }

    #[test]
    fn numbers_keep_six_digits() {
        for (given, shown) in [
            (0.0, "0"),
            (617.5, "617.5"),
            (1_234_567.891, "1,234,568"),
            (-0.000_123_456_789, "-0.000123457"),
            (40.741_129_354, "40.7411"),
            (1e300, "1.00000e300"),
            (3.0, "3"),
        ] {
            assert_eq!(number(given), shown);
        }
        assert_eq!(value(&json!(-1234567)), "-1,234,567");
        assert_eq!(value(&json!("")), "''");
        assert_eq!(value(&json!("a\nb\u{1b}[31m\u{202e}c")), "a␤b\u{fffd}[31m\u{fffd}c");
    }
}
