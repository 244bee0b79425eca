//! What a card says, before it is known whether a terminal or a browser shows it.

use super::words::thousands;
use crate::math::{log10, pow};

/// How something is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    /// It matters.
    Name,
    Good,
    Bad,
    Dim,
}

/// A sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub text: String,
    pub tone: Tone,
}

pub(super) fn said(text: impl Into<String>, tone: Tone) -> Said {
    Said { text: text.into(), tone }
}

/// A part of a card, under its own title.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Section {
    /// By which pictures and links find it.
    pub id: &'static str,
    pub title: String,
    /// How the tables are to be read.
    pub about: String,
    pub tables: Vec<Table>,
    /// What needs no table.
    pub lines: Vec<Said>,
}

impl Section {
    pub fn new(id: &'static str, title: impl Into<String>, about: impl Into<String>) -> Self {
        Self { id, title: title.into(), about: about.into(), tables: Vec::new(), lines: Vec::new() }
    }

    pub fn table(mut self, table: Table) -> Self {
        self.tables.push(table);
        self
    }

    pub fn line(mut self, text: impl Into<String>, tone: Tone) -> Self {
        self.lines.push(said(text, tone));
        self
    }
}

/// The first column names the rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Table {
    pub head: Vec<Column>,
    pub rows: Vec<Vec<Cell>>,
    /// Rows for which there was no room.
    pub left_out: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub name: String,
    pub is_number: bool,
}

pub(super) fn words(name: impl Into<String>) -> Column {
    Column { name: name.into(), is_number: false }
}

pub(super) fn numbers(name: impl Into<String>) -> Column {
    Column { name: name.into(), is_number: true }
}

impl Table {
    pub fn new(head: Vec<Column>) -> Self {
        Self { head, ..Self::default() }
    }

    /// The first `room` of `all`, and how many were left out.
    pub fn of<T>(head: Vec<Column>, all: &[T], room: usize, row: impl Fn(&T) -> Vec<Cell>) -> Self {
        let rows = all.iter().take(room).map(row).collect();
        Self { head, rows, left_out: all.len().saturating_sub(room) as u64 }
    }

    pub fn rest(&self) -> Option<String> {
        (self.left_out > 0).then(|| format!("… and {} more", thousands(self.left_out)))
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Text(String, Tone),
    Number(String, Tone),
    Bar(Bar),
    /// Heights from 0 to 1.
    Line(Vec<f64>),
    /// A count, its share of its row, and whether it is what should be.
    Heat {
        text: String,
        share: f64,
        is_right: bool,
    },
}

/// Places from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bar {
    pub zero: f64,
    pub value: f64,
    /// How far the value may lie elsewhere.
    pub whisker: Option<(f64, f64)>,
}

pub(super) fn text(text: impl Into<String>) -> Cell {
    Cell::Text(text.into(), Tone::Plain)
}

pub(super) fn count(number: impl Into<String>) -> Cell {
    Cell::Number(number.into(), Tone::Plain)
}

pub(super) fn bar(share: f64) -> Cell {
    Cell::Bar(Bar { zero: 0.0, value: share.clamp(0.0, 1.0), whisker: None })
}

/// A straight way from numbers to places from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub from: f64,
    pub to: f64,
}

impl Scale {
    /// Over all of `values`; what is not finite does not count.
    pub fn over(values: impl IntoIterator<Item = f64>) -> Self {
        let (mut from, mut to) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.into_iter().filter(|value| value.is_finite()) {
            (from, to) = (from.min(value), to.max(value));
        }
        match (from, to) {
            (from, to) if from > to => Self { from: 0.0, to: 1.0 },
            // Numbers so near each other that none lies between have no scale.
            (from, to) if from / 2.0 + (to / 2.0 - from / 2.0) / 8.0 <= from / 2.0 => {
                let around = (from.abs() / 10.0).max(0.5);
                Self { from: (from - around).max(f64::MIN), to: (to + around).min(f64::MAX) }
            }
            (from, to) => Self { from, to },
        }
    }

    /// In halves: the distance of two numbers may be larger than any number.
    pub fn place(&self, value: f64) -> f64 {
        let place = (value / 2.0 - self.from / 2.0) / (self.to / 2.0 - self.from / 2.0);
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Round numbers within, about `count` of them, and the decimals that tell them apart.
    pub fn ticks(&self, count: usize) -> (Vec<f64>, usize) {
        let rough = (self.to / 2.0 - self.from / 2.0) / (count.max(2) as f64 / 2.0);
        let power = pow(10f64, log10(rough).floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|of| of * power).into_iter().find(|step| *step >= 0.7 * rough);
        let step = step.filter(|step| step.is_finite() && *step > 0.0).unwrap_or(rough);
        let first = (self.from / step).ceil();
        let ticks = (0..=2 * count).map(|at| (first + at as f64) * step);
        let edge = step * 1e-9;
        let ticks = ticks.take_while(|tick| *tick <= self.to + edge && tick.is_finite()).collect();
        let decimals = (-log10(step).floor()).clamp(0.0, 9.0);
        (ticks, decimals as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_stay_within_whatever_the_numbers_are() {
        let scale = Scale::over([2.0, 6.0, f64::NAN]);
        assert_eq!([scale.place(2.0), scale.place(3.0), scale.place(6.0)], [0.0, 0.25, 1.0]);
        let huge = Scale::over([f64::MIN, f64::MAX]);
        assert_eq!([huge.place(f64::MIN), huge.place(0.0), huge.place(f64::MAX)], [0.0, 0.5, 1.0]);
        for values in [
            vec![],
            vec![7.0],
            vec![1e300; 3],
            vec![f64::MAX],
            vec![0.0, 5e-324],
            vec![1.0, 1.0 + f64::EPSILON],
        ] {
            let scale = Scale::over(values.clone());
            assert!(scale.from < scale.to, "{values:?}: {scale:?}");
            let places = values.iter().map(|value| scale.place(*value));
            assert!(places.into_iter().all(|place| (0.0..=1.0).contains(&place)), "{values:?}");
            assert!(scale.ticks(5).0.iter().all(|tick| tick.is_finite()));
        }
        assert!(huge.ticks(5).0.len() >= 2);
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(Scale { from: 0.0, to: 1.0 }.ticks(5), (vec![0.0, 0.2, 0.4, 3.0 * 0.2, 0.8, 1.0], 1));
        assert_eq!(Scale { from: -13.0, to: 38.0 }.ticks(5), (vec![-10.0, 0.0, 10.0, 20.0, 30.0], 0));
        assert_eq!(
            Scale { from: 1_003.0, to: 1_027.0 }.ticks(5).0,
            [1_005.0, 1_010.0, 1_015.0, 1_020.0, 1_025.0]
        );
    }
}
