//! Spans of a calendar, by which a source may be read: one load each.

use std::{collections::BTreeMap, fmt};

use chrono::{NaiveDateTime, NaiveTime, TimeDelta};
use serde::{Deserialize, Serialize};

/// From `from` until just before `to`, both without a zone: what a clock on the wall shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    pub from: NaiveDateTime,
    pub to: NaiveDateTime,
}

/// `2024-01-31`, `2024-01-01..2024-01-31` (the last day, inside) or `2024-01-31T06:00..07:00`.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from, self.to);
        if from.time() == NaiveTime::MIN && to.time() == NaiveTime::MIN {
            let last = to.date().pred_opt().unwrap_or_else(|| to.date());
            write!(f, "{}", from.date())?;
            return if last > from.date() { write!(f, "..{last}") } else { Ok(()) };
        }
        write!(f, "{}..", from.format("%Y-%m-%dT%H:%M"))?;
        // A window that ends with its day ends at 24:00 of it.
        if to.date() == from.date() || to - from <= TimeDelta::days(1) {
            write!(f, "{}", to.format("%H:%M"))
        } else {
            write!(f, "{}", to.format("%Y-%m-%dT%H:%M"))
        }
    }
}

/// What some windows cover together.
#[derive(Debug, Clone, Default)]
pub struct Covered(
    /// The end of each span by its beginning. Spans neither overlap nor touch.
    BTreeMap<NaiveDateTime, NaiveDateTime>,
);

impl Covered {
    /// Whether no moment of `window` is missing.
    pub fn holds(&self, window: &Window) -> bool {
        self.0.range(..=window.from).next_back().is_some_and(|(_, to)| *to >= window.to)
    }

    /// Whether some moment of `window` is there.
    pub fn overlaps(&self, window: &Window) -> bool {
        self.0.range(..window.to).next_back().is_some_and(|(_, to)| *to > window.from)
    }

    pub fn add(&mut self, window: Window) {
        let Window { mut from, mut to } = window;
        while let Some((start, end)) = self.0.range(..=to).next_back().map(|(start, end)| (*start, *end))
            && end >= from
        {
            self.0.remove(&start);
            (from, to) = (from.min(start), to.max(end));
        }
        self.0.insert(from, to);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn window(from: &str, to: &str) -> Window {
        Window { from: from.parse().unwrap(), to: to.parse().unwrap() }
    }

    fn days(from: u32, to: u32) -> Window {
        window(&format!("2024-01-{from:02}T00:00:00"), &format!("2024-01-{to:02}T00:00:00"))
    }

    #[test]
    fn a_window_is_shown_as_people_say_it() {
        for (from, to, shown) in [
            ("2024-02-29T00:00:00", "2024-03-01T00:00:00", "2024-02-29"),
            ("2024-01-01T00:00:00", "2024-02-01T00:00:00", "2024-01-01..2024-01-31"),
            ("2024-01-31T06:00:00", "2024-01-31T07:00:00", "2024-01-31T06:00..07:00"),
            ("2024-01-31T23:00:00", "2024-02-01T00:00:00", "2024-01-31T23:00..00:00"),
            ("2024-01-01T06:00:00", "2024-01-03T06:00:00", "2024-01-01T06:00..2024-01-03T06:00"),
        ] {
            assert_eq!(window(from, to).to_string(), shown);
        }
    }

    #[test]
    fn windows_cover_a_longer_one_only_together() {
        let mut covered = Covered::default();
        assert!(!covered.holds(&days(1, 2)));
        for (from, to) in [(5, 6), (1, 2), (3, 5), (8, 9)] {
            covered.add(days(from, to));
        }
        assert!(covered.holds(&days(3, 6)) && covered.holds(&days(4, 5)));
        assert!(!covered.holds(&days(1, 6)), "the second is missing");
        assert!(
            covered.overlaps(&days(2, 4)) && !covered.overlaps(&days(2, 3)) && covered.overlaps(&days(1, 9))
        );
        covered.add(days(2, 3));
        assert!(covered.holds(&days(1, 6)) && !covered.holds(&days(1, 9)));
        covered.add(days(1, 20));
        assert!(covered.holds(&days(1, 20)));
        assert_eq!(covered.0.len(), 1);
    }

    #[test]
    fn a_window_survives_a_manifest() {
        let text = serde_json::to_string(&days(1, 2)).unwrap();
        assert_eq!(text, r#"{"from":"2024-01-01T00:00:00","to":"2024-01-02T00:00:00"}"#);
        assert_eq!(serde_json::from_str::<Window>(&text).unwrap(), days(1, 2));
    }
}
