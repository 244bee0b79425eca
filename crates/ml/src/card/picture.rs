//! Pictures of a page, as SVG. Their colours are those of the style sheet, by class.

use std::fmt::Write as _;

use lagar_flow::page::escape;

use super::{
    model::{Bar, Scale},
    words::{fixed, number},
};
use crate::judge::Quantiles;

/// The room for the name of the left axis, and around.
const NAME: f64 = 24.0;
/// A digit is about so wide.
const DIGIT: f64 = 6.4;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
const BELOW: f64 = 40.0;
/// Round numbers on an axis.
const TICKS: usize = 5;
/// Beyond that numbers are shown as powers.
const LARGE: f64 = 1e7;

/// A plane with two axes, on which is drawn.
pub(super) struct Plot {
    x: Scale,
    y: Scale,
    width: f64,
    height: f64,
    /// The room for the numbers at the left.
    left: f64,
    svg: String,
}

/// The size of a plane; the numbers around it need more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub width: f64,
    pub height: f64,
}

pub(super) const SQUARE: Size = Size { width: 320.0, height: 320.0 };
pub(super) const WIDE: Size = Size { width: 900.0, height: 240.0 };

impl Plot {
    /// `title` is what is read aloud in place of the picture; `names` are those of the axes.
    pub fn new(size: Size, x: Scale, y: Scale, title: &str, names: (&str, &str)) -> Self {
        let Size { width, height } = size;
        let (ticks, decimals) = y.ticks(TICKS);
        let longest =
            ticks.iter().map(|tick| tick_label(&y, *tick, decimals).len()).max().unwrap_or_default();
        let left = NAME + DIGIT * longest as f64;
        let (all_width, all_height) = (left + width + RIGHT, TOP + height + BELOW);
        let title = escape(title);
        let svg = format!(
            "<svg viewBox=\"0 0 {all_width:.0} {all_height}\" width=\"{all_width:.0}\" role=\"img\" aria-label=\"{title}\">\
             <title>{title}</title>"
        );
        let mut plot = Self { x, y, width, height, left, svg };
        plot.axes(names);
        plot
    }

    fn axes(&mut self, (x_name, y_name): (&str, &str)) {
        let (left, bottom, right) = (self.left, TOP + self.height, self.left + self.width);
        let (ticks, decimals) = self.x.ticks(TICKS);
        for tick in ticks {
            let (at, label) = (self.x_of(tick), tick_label(&self.x, tick, decimals));
            let _ = write!(
                self.svg,
                "<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                bottom + 14.0
            );
        }
        let (ticks, decimals) = self.y.ticks(TICKS);
        for tick in ticks {
            let (at, label) = (self.y_of(tick), tick_label(&self.y, tick, decimals));
            let _ = write!(
                self.svg,
                "<path class=\"grid\" d=\"M{left:.1} {at:.1}H{right:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                left - 6.0,
                at + 3.5
            );
        }
        let _ = write!(
            self.svg,
            "<path class=\"axis\" d=\"M{left:.1} {TOP}V{bottom}H{right:.1}\"/>\
             <text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text class=\"label\" transform=\"translate(11 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            left + self.width / 2.0,
            bottom + 32.0,
            escape(x_name),
            TOP + self.height / 2.0,
            escape(y_name)
        );
    }

    fn x_of(&self, value: f64) -> f64 {
        self.left + self.x.place(value) * self.width
    }

    fn y_of(&self, value: f64) -> f64 {
        TOP + (1.0 - self.y.place(value)) * self.height
    }

    fn path(&self, points: impl IntoIterator<Item = (f64, f64)>) -> String {
        let mut path = String::new();
        for (number, (x, y)) in points.into_iter().enumerate() {
            let start = if number == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{start}{:.1} {:.1}", self.x_of(x), self.y_of(y));
        }
        path
    }

    pub fn line(&mut self, class: &str, points: impl IntoIterator<Item = (f64, f64)>) {
        let path = self.path(points);
        if !path.is_empty() {
            let _ = write!(self.svg, "<path class=\"{class}\" d=\"{path}\"/>");
        }
    }

    /// The room between two lines with the same `x`.
    pub fn band(&mut self, x: &[f64], lower: &[f64], upper: &[f64]) {
        let below = x.iter().copied().zip(lower.iter().copied());
        let above = x.iter().copied().zip(upper.iter().copied());
        let path = self.path(below.chain(above.rev()));
        if !path.is_empty() {
            let _ = write!(self.svg, "<path class=\"band\" d=\"{path}Z\"/>");
        }
    }

    /// Many points in one path: lines of no length with round ends.
    pub fn dots(&mut self, points: impl IntoIterator<Item = (f64, f64)>) {
        let mut path = String::new();
        for (x, y) in points {
            let _ = write!(path, "M{:.1} {:.1}h0", self.x_of(x), self.y_of(y));
        }
        if !path.is_empty() {
            let _ = write!(self.svg, "<path class=\"dots\" d=\"{path}\"/>");
        }
    }

    /// A point that says something when it is pointed at.
    pub fn point(&mut self, x: f64, y: f64, radius: f64, title: &str) {
        let _ = write!(
            self.svg,
            "<circle class=\"point\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius:.1}\"><title>{}</title></circle>",
            self.x_of(x),
            self.y_of(y),
            escape(title)
        );
    }

    pub fn done(mut self) -> String {
        self.svg.push_str("</svg>");
        self.svg
    }
}

fn tick_label(scale: &Scale, tick: f64, decimals: usize) -> String {
    match scale.from.abs().max(scale.to.abs()) < LARGE && decimals < 7 {
        true => fixed(tick, decimals),
        false if tick == 0.0 => "0".to_owned(),
        false => format!("{tick:.1e}"),
    }
}

/// Where values lie: from the smallest to the largest, with 9 of 10 on the thick line and half of them in the box.
pub(super) fn boxed(of: &Quantiles, title: &str) -> String {
    const WIDTH: f64 = 480.0;
    let scale = Scale::over([of.min, of.max]);
    let at = |value: f64| 10.0 + scale.place(value) * WIDTH;
    let title = escape(title);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {} 64\" width=\"{}\" role=\"img\" aria-label=\"{title}\"><title>{title}</title>",
        WIDTH + 20.0,
        WIDTH + 20.0
    );
    let (ticks, decimals) = scale.ticks(TICKS);
    for tick in ticks {
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{0:.1} 4V46\"/><text x=\"{0:.1}\" y=\"60\" text-anchor=\"middle\">{1}</text>",
            at(tick),
            tick_label(&scale, tick, decimals)
        );
    }
    let _ = write!(
        svg,
        "<path class=\"thin\" d=\"M{:.1} 25H{:.1}\"/><path class=\"thick\" d=\"M{:.1} 25H{:.1}\"/>\
         <rect class=\"box\" x=\"{:.1}\" y=\"12\" width=\"{:.1}\" height=\"26\"/><path class=\"median\" d=\"M{:.1} 12V38\"/></svg>",
        at(of.min),
        at(of.max),
        at(of.p5),
        at(of.p95),
        at(of.p25),
        (at(of.p75) - at(of.p25)).max(1.0),
        at(of.median)
    );
    svg
}

/// In a cell of a table: a bar, with a thin line over where it may end.
pub(super) fn bar(bar: Bar) -> String {
    let (from, to) = (bar.zero.min(bar.value) * 200.0, bar.zero.max(bar.value) * 200.0);
    let width = to - from;
    // What is there at all is seen.
    let width = if width > 0.0 { width.max(1.0) } else { 0.0 };
    let mut svg = format!(
        "<svg class=\"bar\" viewBox=\"0 0 200 14\" width=\"200\" aria-hidden=\"true\">\
         <rect x=\"{from:.1}\" y=\"2\" width=\"{width:.1}\" height=\"10\"/>"
    );
    if let Some((low, high)) = bar.whisker.filter(|(low, high)| low < high) {
        let (low, high) = (low * 200.0, high * 200.0);
        let _ =
            write!(svg, "<path class=\"whisker\" d=\"M{low:.1} 4V10M{low:.1} 7H{high:.1}M{high:.1} 4V10\"/>");
    }
    svg.push_str("</svg>");
    svg
}

/// In a cell of a table: a line.
pub(super) fn spark(heights: &[f64]) -> String {
    let last = heights.len().saturating_sub(1).max(1) as f64;
    let points = heights.iter().enumerate();
    let points = points.map(|(place, height)| {
        format!("{:.1} {:.1}", 2.0 + 116.0 * place as f64 / last, 16.0 - 13.0 * height)
    });
    let path = points.collect::<Vec<_>>().join("L");
    let path = match heights.len() {
        0 => return String::new(),
        1 => format!("M{path}h116"),
        _ => format!("M{path}"),
    };
    format!(
        "<svg class=\"spark\" viewBox=\"0 0 120 18\" width=\"120\" aria-hidden=\"true\"><path class=\"own\" d=\"{path}\"/></svg>"
    )
}

/// The quantiles in words.
pub(super) fn in_words(what: &str, of: &Quantiles) -> String {
    format!(
        "{what} from {} to {}; half of them between {} and {}, the median {}",
        number(of.min),
        number(of.max),
        number(of.p25),
        number(of.p75),
        number(of.median)
    )
}
