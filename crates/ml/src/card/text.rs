//! A predictor as a page for a terminal.

use lagar_flow::words::height;

use super::{
    About, Paint, facts,
    facts::Room,
    model::{Bar, Cell, Section, Table, Tone},
    tasks,
    words::{cut, name, padded, prose, shortened, text_width, wrapped},
};
use crate::predictor::Predictor;

/// Where nobody says how wide a line may be.
const WIDTH: usize = 100;
/// In less nothing can be read.
const WIDTH_MIN: usize = 40;
const ROOM: Room = Room { rows: 20, classes: 12 };
/// A column of words, and the least that is left of it where there is little room.
const WORDS_MAX: usize = 40;
const WORDS_MIN: usize = 12;
/// The title of a column of numbers.
const HEAD_MAX: usize = 24;
const BAR_WIDTH: usize = 24;
const GAP: &str = "  ";

const PARTS: [char; 8] = ['█', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// For a terminal: no line is wider than `width` (100 if it is not given, and at least 40).
pub fn text(about: &About<'_>, predictor: &Predictor, width: Option<usize>, paint: &Paint) -> String {
    let mut page = Page { out: String::new(), width: width.unwrap_or(WIDTH).max(WIDTH_MIN), paint };
    page.beginning(about, predictor);
    let common = [facts::measures(predictor), facts::groups(predictor, ROOM)];
    let mut sections: Vec<Section> = common.into_iter().flatten().collect();
    sections.extend(tasks::sections(predictor, ROOM));
    let learned = [
        facts::importance(predictor, ROOM),
        facts::coefficients(predictor, ROOM),
        facts::fitted(predictor, ROOM),
        facts::bias(predictor, ROOM),
        facts::tried(predictor, ROOM),
    ];
    sections.extend(learned.into_iter().flatten());
    sections.iter().for_each(|section| page.section(section));
    page.params(predictor);
    if let Some(versions) = facts::versions(about, ROOM) {
        page.section(&versions);
    }
    page.out
}

struct Page<'a> {
    out: String,
    width: usize,
    paint: &'a Paint,
}

impl Page<'_> {
    fn painted(&self, tone: Tone, text: &str) -> String {
        match tone {
            Tone::Plain => text.to_owned(),
            Tone::Name => (self.paint.name)(text),
            Tone::Good => (self.paint.good)(text),
            Tone::Bad => (self.paint.bad)(text),
            Tone::Dim => (self.paint.dim)(text),
        }
    }

    /// Broken where there is no more room; `mark` stands before the first line only.
    fn sentence(&mut self, mark: &str, text: &str, tone: Tone) {
        let indent = " ".repeat(text_width(mark));
        for (number, line) in wrapped(text, self.width - indent.len()).iter().enumerate() {
            let before = if number == 0 { mark } else { &indent };
            let line = self.painted(tone, line);
            self.out.push_str(&format!("{}{line}\n", self.painted(tone, before)));
        }
    }

    fn beginning(&mut self, about: &About<'_>, predictor: &Predictor) {
        let title = cut(&name(about.name), self.width);
        let heading = facts::heading(about);
        self.out.push_str(&self.painted(Tone::Name, &title));
        match text_width(&title) + GAP.len() + text_width(&heading) <= self.width {
            true => self.out.push_str(&format!("{GAP}{heading}\n")),
            false => {
                self.out.push('\n');
                self.sentence("", &heading, Tone::Plain);
            }
        }
        if let Some(description) = about.description.filter(|text| !text.trim().is_empty()) {
            self.sentence("", &prose(description), Tone::Plain);
        }
        self.out.push('\n');
        self.sentence("", &facts::intro(predictor), Tone::Plain);
        self.out.push('\n');
        let (verdict, careful) = facts::verdict(predictor);
        let mark = match verdict.tone {
            Tone::Good => "✓ ",
            Tone::Bad => "✗ ",
            _ => "",
        };
        self.sentence(mark, &verdict.text, verdict.tone);
        for note in careful {
            self.sentence("! ", &note, Tone::Plain);
        }
    }

    fn title(&mut self, title: &str, about: &str) {
        self.out.push_str(&format!("\n{}", self.painted(Tone::Name, title)));
        let fits = text_width(title) + GAP.len() + text_width(about) <= self.width;
        match (about.is_empty(), fits) {
            (true, _) => self.out.push('\n'),
            (_, true) => self.out.push_str(&format!("{GAP}{}\n", self.painted(Tone::Dim, about))),
            (_, false) => {
                self.out.push('\n');
                self.sentence("", about, Tone::Dim);
            }
        }
    }

    fn section(&mut self, section: &Section) {
        self.title(&section.title, &section.about);
        section.tables.iter().for_each(|table| self.table(table));
        section.lines.iter().for_each(|line| self.sentence("", &line.text, line.tone));
    }

    fn params(&mut self, predictor: &Predictor) {
        let params: Vec<String> =
            facts::params(predictor).into_iter().map(|(name, value)| format!("{name} {value}")).collect();
        self.title("Parameters", "");
        self.sentence("", &params.join(" · "), Tone::Plain);
    }

    /// Where there is too little room, some columns are shown below the others, each time with the first one.
    fn table(&mut self, table: &Table) {
        let widths = self.widths(table);
        let first = widths.first().copied().unwrap_or_default();
        let (mut shown, mut used) = (vec![0], first);
        for (column, width) in widths.iter().enumerate().skip(1) {
            if used + GAP.len() + width > self.width && shown.len() > 1 {
                self.block(table, &shown, &widths);
                (shown, used) = (vec![0], first);
            }
            used += GAP.len() + width;
            shown.push(column);
        }
        self.block(table, &shown, &widths);
        if let Some(rest) = table.rest() {
            self.sentence("", &rest, Tone::Dim);
        }
    }

    /// As wide as what stands in each column; those of words and bars give way, the widest first.
    fn widths(&self, table: &Table) -> Vec<usize> {
        let mut widths: Vec<usize> =
            (0..table.head.len()).map(|column| natural_width(table, column).min(self.width)).collect();
        loop {
            let total = widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1);
            let wide = widths.iter_mut().enumerate();
            let wide = wide.filter(|(column, width)| gives_way(table, *column) && **width > WORDS_MIN);
            match wide.map(|(_, width)| width).max() {
                Some(width) if total > self.width => *width -= 1,
                _ => return widths,
            }
        }
    }

    fn block(&mut self, table: &Table, shown: &[usize], widths: &[usize]) {
        let heads = shown.iter().filter_map(|column| table.head.get(*column));
        if heads.clone().any(|head| !head.name.is_empty()) {
            let heads = heads.zip(shown.iter().map(|column| widths[*column]));
            let heads = heads.map(|(head, width)| padded(&cut(&head.name, width), width, head.is_number));
            let line = heads.collect::<Vec<_>>().join(GAP);
            self.out.push_str(&format!("{}\n", self.painted(Tone::Dim, line.trim_end())));
        }
        for row in &table.rows {
            let last = shown.last().copied().unwrap_or_default();
            let cells = shown.iter().filter_map(|column| Some((*column, row.get(*column)?)));
            let cells = cells.map(|(column, cell)| self.cell(cell, widths[column], column == last));
            let line = cells.collect::<Vec<_>>().join(GAP);
            self.out.push_str(line.trim_end());
            self.out.push('\n');
        }
    }

    /// The last one of a line needs no room behind it.
    fn cell(&self, cell: &Cell, width: usize, is_last: bool) -> String {
        let (shown, tone) = match cell {
            Cell::Text(text, tone) => {
                (padded(&shortened(text, width), if is_last { 0 } else { width }, false), *tone)
            }
            Cell::Number(text, tone) => (padded(&cut(text, width), width, true), *tone),
            Cell::Heat { text, is_right, .. } => {
                let tone = match (*is_right, text == "0") {
                    (true, _) => Tone::Name,
                    (_, true) => Tone::Dim,
                    _ => Tone::Plain,
                };
                (padded(text, width, true), tone)
            }
            Cell::Bar(bar) => return (self.paint.bar)(&padded(&blocks(*bar, width), width, false)),
            Cell::Line(heights) => return (self.paint.bar)(&padded(&line_of(heights, width), width, false)),
        };
        self.painted(tone, &shown)
    }
}

fn gives_way(table: &Table, column: usize) -> bool {
    let is_words = table.head.get(column).is_some_and(|head| !head.is_number);
    is_words || table.rows.iter().any(|row| matches!(row.get(column), Some(Cell::Bar(_))))
}

fn natural_width(table: &Table, column: usize) -> usize {
    let cells = table.rows.iter().filter_map(|row| row.get(column));
    let widest = cells.map(|cell| match cell {
        Cell::Text(text, _) => text_width(text).min(WORDS_MAX),
        Cell::Number(text, _) | Cell::Heat { text, .. } => text_width(text),
        Cell::Bar(_) => BAR_WIDTH,
        Cell::Line(heights) => heights.len().min(BAR_WIDTH),
    });
    let head = table.head.get(column).map_or(0, |head| text_width(&head.name).min(HEAD_MAX));
    widest.max().unwrap_or_default().max(head)
}

/// A bar in steps of an eighth of a character. What lies below zero has none; what is there at all is seen.
fn blocks(bar: Bar, width: usize) -> String {
    let room = 1.0 - bar.zero;
    let share = if room > 0.0 { (bar.value - bar.zero) / room } else { 0.0 };
    if share <= 0.0 {
        return String::new();
    }
    let eighths = ((share * width as f64 * 8.0).round() as usize).clamp(1, width * 8);
    let mut text = PARTS[0].to_string().repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        text.push(PARTS[eighths % 8]);
    }
    text
}

/// Heights in eight steps; of more than there is room for, the means.
fn line_of(heights: &[f64], width: usize) -> String {
    let each = heights.len().div_ceil(width.max(1)).max(1);
    let means = heights.chunks(each).map(|part| part.iter().sum::<f64>() / part.len() as f64);
    means.map(height).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::model::{count, numbers, text, words};

    fn drawn(table: &Table, width: usize) -> String {
        let paint = Paint::plain();
        let mut page = Page { out: String::new(), width, paint: &paint };
        page.table(table);
        page.out
    }

    #[test]
    fn bars_have_eight_steps_a_character() {
        let of = |value| blocks(Bar { zero: 0.0, value, whisker: None }, 2);
        assert_eq!([of(0.0), of(0.001), of(0.5), of(0.7), of(1.0)], ["", "▏", "█", "█▍", "██"]);
        assert_eq!(blocks(Bar { zero: 0.5, value: 0.2, whisker: None }, 4), "");
        assert_eq!(blocks(Bar { zero: 0.5, value: 0.75, whisker: None }, 4), "██");
        assert_eq!(line_of(&[0.0, 0.5, 1.0], 10), "▁▄█");
        assert_eq!(line_of(&[0.0, 0.0, 1.0, 1.0], 2), "▁█");
        assert_eq!(line_of(&[], 2), "");
    }

    #[test]
    fn a_table_too_wide_goes_on_below() {
        let head = vec![words("name"), numbers("a"), numbers("b"), numbers("c")];
        let row = vec![text("a name that is long"), count("1,000,000"), count("2"), count("3")];
        let table = Table { head, rows: vec![row], left_out: 2 };
        assert_eq!(
            drawn(&table, 80),
            "name                         a  b  c\na name that is long  1,000,000  2  3\n… and 2 more\n"
        );
        assert_eq!(
            drawn(&table, 26),
            "name                  a  b\na name…long   1,000,000  2\nname          c\na name…long   3\n… and 2 more\n"
        );
    }
}
