//! Does a feature give away the target of a row that comes later?
//!
//! What was computed from such a row (`lead(y)` in SQL, a join on tomorrow) determines its target. So each value of the
//! feature is put beside the target so many rows further in its series, and scored as one that gives the target of
//! its own row away ([`super::leak`]). Where a target moves slowly what is honest has that score, too: yesterday's
//! value says nearly all of tomorrow's. But it says more of yesterday's. So a feature is from the future if it
//! determines the target some rows ahead, and what it leaves open of that of its own row, and of each earlier one, is
//! more than twice as much.
//!
//! Two series that change once each do so at some distance, and then the one seems to know the other. So a target is
//! looked at if it changes at least twenty times: if each time is a coin that must fall as the feature says, that is
//! luck once in a million. Of numbers it is the turns that count, from rising to falling and back: what only rises
//! says the same of any row ahead.
//!
//! Limits. A cause that comes some rows before its effect, and leaves nothing open, looks the same as a feature from
//! the future. A mean or a total of rows that come is found only where it says all of one of them. And where a target
//! repeats itself to the last digit, but not within a month of rows, the last time is taken for the next one.

use std::cmp::Ordering;

use lagar_flow::{Error, Result};

use super::leak::{Column, Keys, Marks, Told, Truth};
use crate::{algorithm::Target, judge::sample::sample};

/// So many rows ahead are looked at, and so many back.
const AHEAD: usize = 14;
const BACK: usize = 31;
/// So many rows are looked at, by chance.
const ROWS: usize = 10_000;
/// So often the target must change.
const CHANGES: usize = 20;

/// Where a row stands: its series, and its place there. At some places there may be no row.
pub type Place = (u64, usize);

/// A feature that gives the target of a later row away.
#[derive(Debug, Clone, PartialEq)]
pub struct Ahead {
    pub feature: String,
    /// So many rows later.
    pub rows: usize,
    /// As [`super::Leak::score`].
    pub score: f64,
}

/// The features that give away the target of a row that comes up to fourteen places later in its series, in the order
/// given. `places` are those of the rows, each once.
///
/// # Errors
/// A defect: lengths differ, or there is no target.
pub fn ahead(
    features: &[(&str, Column<'_>)],
    target: Target<'_>,
    places: &[Place],
    seed: u64,
) -> Result<Vec<Ahead>> {
    let series = Series::new(Marks::of(target)?, places, seed)?;
    if series.changes() < CHANGES {
        return Ok(Vec::new());
    }
    let later: Vec<(usize, Pairs)> = (1..=AHEAD).map(|rows| (rows, series.pairs(rows as isize))).collect();
    let mut found = Vec::new();
    for (name, column) in features {
        if column.len() != places.len() {
            return Err(Error::bug("a feature and the target do not have the same rows"));
        }
        let keys = column.keys();
        let scores = later.iter().filter_map(|(rows, pairs)| Some((*rows, pairs.given_away(&keys, seed)?)));
        // Of equal ones the nearest.
        let Some((rows, score)) = scores.min_by(|a, b| b.1.total_cmp(&a.1)) else { continue };
        let open = 1.0 - score;
        let as_good = |rows: usize| {
            let earlier = series.pairs(-(rows as isize)).told_by(&keys, seed);
            earlier.is_some_and(|earlier| 1.0 - earlier.score <= 2.0 * open)
        };
        if !(0..=BACK).any(as_good) {
            found.push(Ahead { feature: (*name).to_owned(), rows, score });
        }
    }
    Ok(found)
}

struct Series {
    target: Marks,
    /// The rows in the order of their places.
    order: Vec<(Place, usize)>,
    /// Which of `order` are looked at.
    taken: Vec<usize>,
}

impl Series {
    fn new(target: Marks, places: &[Place], seed: u64) -> Result<Self> {
        if places.len() != target.of_rows.len() {
            return Err(Error::bug("the places and the target do not have the same rows"));
        }
        let mut order: Vec<(Place, usize)> = places.iter().copied().zip(0..).collect();
        order.sort_unstable();
        Ok(Self { target, order, taken: sample(places.len(), ROWS, seed) })
    }

    fn mark(&self, at: usize) -> u64 {
        self.target.of_rows[self.order[at].1]
    }

    /// How often the target is another one than in the row before, or turns.
    fn changes(&self) -> usize {
        let mut changes = 0;
        for series in self.order.chunk_by(|a, b| a.0.0 == b.0.0) {
            let marks =
                series.windows(2).map(|pair| [pair[0].1, pair[1].1].map(|row| self.target.of_rows[row]));
            let steps: Vec<Ordering> = marks.map(|[a, b]| a.cmp(&b)).filter(|step| step.is_ne()).collect();
            changes += match self.target.classes {
                true => steps.len(),
                false => steps.windows(2).filter(|pair| pair[0] != pair[1]).count(),
            };
        }
        changes
    }

    /// The rows beside the target of the row that is `by` places further.
    fn pairs(&self, by: isize) -> Pairs {
        let pair = |at: &usize| {
            let ((series, step), row) = self.order[*at];
            let place = (series, step.checked_add_signed(by)?);
            let there = self.order.binary_search_by_key(&place, |(place, _)| *place).ok()?;
            Some((row, self.mark(there)))
        };
        let (rows, of_rows) = self.taken.iter().filter_map(pair).unzip();
        Pairs { rows, truth: Truth::new(Marks { of_rows, classes: self.target.classes }) }
    }
}

/// Rows, and the targets of others beside them.
struct Pairs {
    rows: Vec<usize>,
    truth: Truth,
}

impl Pairs {
    fn told_by(&self, keys: &Keys, seed: u64) -> Option<Told> {
        self.truth.told_by(&keys.of(&self.rows), seed)
    }

    /// The score, if it is that of a feature that gives these targets away.
    fn given_away(&self, keys: &Keys, seed: u64) -> Option<f64> {
        self.told_by(keys, seed).filter(|told| self.truth.is_given_away(*told)).map(|told| told.score)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::sample::mixed;

    const SEEDS: u64 = 40;

    fn chance(seed: u64, row: usize) -> f64 {
        mixed(seed, row as u64) as f64 / u64::MAX as f64
    }

    /// About normal: the sum of twelve.
    fn normal(seed: u64, row: usize) -> f64 {
        (0..12).map(|part| chance(seed * 1000 + part, row)).sum::<f64>() - 6.0
    }

    /// A value is `memory` times the one before, and chance.
    fn wandering(seed: u64, rows: usize, memory: f64) -> Vec<f64> {
        let mut value = 0.0;
        let next = |row| {
            value = memory * value + normal(seed, row);
            value
        };
        (0..rows).map(next).collect()
    }

    /// A class stays for `stay` rows on the mean.
    fn persisting(seed: u64, rows: usize, classes: u32, stay: f64) -> Vec<f64> {
        let mut class = 0;
        let next = |row: usize| {
            if chance(seed, row) < 1.0 / stay {
                class = (class + 1 + (chance(!seed, row) * f64::from(classes - 1)) as u32) % classes;
            }
            f64::from(class)
        };
        (0..rows).map(next).collect()
    }

    /// As `lag` and `lead` in SQL: the value so many rows further, in a part of the table for each series.
    fn moved(series: &[Vec<f64>], by: isize) -> Vec<f64> {
        let there = |values: &[f64], at: usize| {
            at.checked_add_signed(by).and_then(|at| values.get(at)).copied().unwrap_or(f64::NAN)
        };
        interleaved(series, there)
    }

    /// A value for each row; of one moment stands a row of each series.
    fn interleaved(series: &[Vec<f64>], value: impl Fn(&[f64], usize) -> f64) -> Vec<f64> {
        (0..series[0].len()).flat_map(|at| series.iter().map(|v| value(v, at)).collect::<Vec<_>>()).collect()
    }

    /// A mean of the last `rows` rows, without this one.
    fn past(values: &[f64], at: usize, rows: usize) -> f64 {
        let known = &values[at.saturating_sub(rows)..at];
        known.iter().sum::<f64>() / known.len() as f64
    }

    fn places(series: usize, rows: usize) -> Vec<Place> {
        (0..rows).flat_map(|step| (0..series as u64).map(move |series| (mixed(5, series), step))).collect()
    }

    /// Whether classes (else numbers) are asked for, and the series.
    type Table = (bool, Vec<Vec<f64>>);

    fn tables(seed: u64) -> Vec<(&'static str, Table)> {
        let many = |one: &dyn Fn(u64) -> Vec<f64>| (0..3).map(|at| one(seed * 3 + at)).collect::<Vec<_>>();
        // The level of a series is another one, as of places.
        let mut places = many(&|seed| wandering(seed, 200, 0.8));
        places.iter_mut().zip([0.0, 50.0, 300.0]).for_each(|(values, level)| {
            values.iter_mut().for_each(|value| *value += level);
        });
        vec![
            ("one that forgets", (false, vec![wandering(seed, 300, 0.5)])),
            ("one that remembers", (false, vec![wandering(seed, 800, 0.98)])),
            ("one that never comes back", (false, vec![wandering(seed, 800, 1.0)])),
            ("three places", (false, places)),
            ("counts", (false, vec![wandering(seed, 500, 0.9).iter().map(|v| (v * 2.0).round()).collect()])),
            ("two classes", (true, vec![persisting(seed, 500, 2, 3.0)])),
            ("five classes", (true, vec![persisting(seed, 500, 5, 2.0)])),
            ("classes that stay long", (true, many(&|seed| persisting(seed, 1000, 2, 60.0)))),
        ]
    }

    /// Of which nearly all is said by what was some rows before.
    fn slow(seed: u64) -> Vec<(&'static str, Table)> {
        let mut level = 0.0;
        let smooth = wandering(seed, 24_000, 0.99).into_iter().map(|step| {
            level += step;
            level
        });
        vec![
            ("a smooth way", (false, vec![smooth.collect()])),
            ("classes that seldom change", (true, vec![persisting(seed, 24_000, 2, 600.0)])),
        ]
    }

    /// Both, but of the slow ones, which are long, few.
    fn all(seed: u64) -> Vec<(&'static str, Table)> {
        tables(seed).into_iter().chain((seed <= 5).then(|| slow(seed)).into_iter().flatten()).collect()
    }

    /// Of each feature how many rows ahead it gives the target away.
    fn found(table: &Table, features: &[(&str, Vec<f64>)], seed: u64) -> Vec<(String, usize)> {
        let (classes, series) = table;
        let values = moved(series, 0);
        let codes: Vec<u32> = values.iter().map(|value| *value as u32).collect();
        let target = match classes {
            true => Target::Classes { codes: &codes, count: 9 },
            false => Target::Values(&values),
        };
        let places = places(series.len(), series[0].len());
        let columns: Vec<(&str, Column<'_>)> =
            features.iter().map(|(name, values)| (*name, Column::Numbers(values))).collect();
        let found = ahead(&columns, target, &places, seed).unwrap();
        found.into_iter().map(|found| (found.feature, found.rows)).collect()
    }

    fn found_in(table: &Table, feature: Vec<f64>) -> Option<usize> {
        found(table, &[("feature", feature)], 1).first().map(|found| found.1)
    }

    #[test]
    fn what_was_taken_from_a_later_row_is_found() {
        for seed in 1..=SEEDS {
            for (name, table) in all(seed) {
                let lead = |rows| moved(&table.1, rows);
                // On another scale, and rounded.
                let scaled = lead(1).iter().map(|v| (500.0 - v * 300.0).round()).collect();
                let leads = [("1", lead(1)), ("2", lead(2)), ("7", lead(7)), ("14", lead(14)), ("1", scaled)];
                let expected = leads.each_ref().map(|(rows, _)| ((*rows).to_owned(), rows.parse().unwrap()));
                assert_eq!(found(&table, &leads, seed), expected, "{name}, seed {seed}");
            }
        }
    }

    #[test]
    fn what_is_known_in_time_is_not_from_the_future() {
        for seed in 1..=SEEDS {
            let another = wandering(seed + 900, 24_000, 1.0);
            for (name, table) in all(seed) {
                let series = &table.1;
                let honest = [
                    ("lag 1", moved(series, -1)),
                    ("lag 2", moved(series, -2)),
                    ("lag 7", moved(series, -7)),
                    ("lag 28", moved(series, -28)),
                    ("lag 60", moved(series, -60)),
                    ("the last 3", interleaved(series, |values, at| past(values, at, 3))),
                    ("the last 30", interleaved(series, |values, at| past(values, at, 30))),
                    ("all before", interleaved(series, |values, at| past(values, at, at))),
                    (
                        "the change",
                        interleaved(series, |values, at| values[at] - values[at.saturating_sub(1)]),
                    ),
                    ("the weekday", interleaved(series, |_, at| (at % 7) as f64)),
                    ("the day of the year", interleaved(series, |_, at| (at % 365) as f64)),
                    ("the day", interleaved(series, |_, at| at as f64)),
                    ("itself", moved(series, 0)),
                    ("nothing", interleaved(series, |_, at| chance(seed + 500, at))),
                    ("another one", interleaved(series, |_, at| another[at])),
                ];
                assert_eq!(found(&table, &honest, seed), [], "{name}, seed {seed}");
            }
        }
    }

    #[test]
    fn what_is_known_in_time_says_nearly_all_of_what_moves_slowly() {
        for (name, (classes, series)) in slow(1) {
            let (target, lag) = (&series[0], moved(&series, -1));
            let codes: Vec<u32> = target.iter().map(|value| *value as u32).collect();
            let target =
                if classes { Target::Classes { codes: &codes, count: 2 } } else { Target::Values(target) };
            let series = Series::new(Marks::of(target).unwrap(), &places(1, 24_000), 1).unwrap();
            let keys = Column::Numbers(&lag).keys();
            assert!(series.pairs(1).given_away(&keys, 1).is_some(), "{name}");
        }
    }

    #[test]
    fn what_comes_again_is_no_future() {
        // Open at the same hours each day, and the busy day after each Sunday.
        let hours: Vec<f64> =
            (0..600).map(|hour| f64::from(u8::from((8..18).contains(&(hour % 24))))).collect();
        let monday: Vec<f64> = (0..600).map(|day| f64::from(u8::from(day % 7 == 1))).collect();
        let sunday: Vec<f64> = (0..600).map(|day| f64::from(u8::from(day % 7 == 0))).collect();
        for lag in 1..24 {
            let table = (true, vec![hours.clone()]);
            assert_eq!(found_in(&table, moved(&table.1, -lag)), None, "{lag}");
        }
        assert_eq!(found_in(&(true, vec![monday]), sunday), None);
        let wave: Vec<f64> =
            (0..600).map(|day| (f64::from(day) * std::f64::consts::TAU / 28.0).sin()).collect();
        let table = (false, vec![wave]);
        for lag in [1, 10, 20, 27] {
            assert_eq!(found_in(&table, moved(&table.1, -lag)), None, "{lag}");
        }
    }

    #[test]
    fn few_changes_that_coincide_are_luck() {
        // A feature that changes five rows before the target does: it may be honest, until that happens often.
        for changes in 1..30 {
            let at: Vec<usize> = (0..changes).map(|n| 28 * n + 10 + (chance(3, n) * 20.0) as usize).collect();
            let class = |row: usize| (at.iter().filter(|at| **at <= row).count() % 2) as f64;
            let values: Vec<f64> = (0..900).map(class).collect();
            let before: Vec<f64> = (5..905).map(class).collect();
            let found = found_in(&(true, vec![values]), before);
            assert_eq!(found, (changes >= CHANGES).then_some(5), "{changes}");
        }
        let rising: Vec<f64> = (0..900).map(|at| f64::from(at) + chance(1, at as usize) * 0.9).collect();
        let table = (false, vec![rising]);
        assert_eq!(found_in(&table, moved(&table.1, 3)), None);
    }

    #[test]
    fn of_many_rows_some_are_looked_at() {
        let table = (false, vec![wandering(1, 100_000, 0.9)]);
        assert_eq!(found_in(&table, moved(&table.1, 3)), Some(3));
        assert_eq!(found_in(&table, moved(&table.1, -3)), None);
    }

    #[test]
    fn rows_that_are_missing_leave_their_places_free() {
        let values = wandering(1, 500, 0.5);
        let lead = moved(std::slice::from_ref(&values), 3);
        let there: Vec<usize> = (0..500).filter(|row| row % 5 != 2).collect();
        let taken = |values: &[f64]| there.iter().map(|row| values[*row]).collect::<Vec<f64>>();
        let places: Vec<Place> = there.iter().map(|row| (7, *row)).collect();
        let (values, lead) = (taken(&values), taken(&lead));
        let features = [("lead", Column::Numbers(&lead))];
        let found = ahead(&features, Target::Values(&values), &places, 1).unwrap();
        assert_eq!((found.len(), found[0].rows, found[0].score), (1, 3, 1.0));
        assert!(ahead(&features, Target::Values(&values[1..]), &places, 1).is_err());
        assert!(ahead(&features, Target::Values(&values), &places[1..], 1).is_err());
        assert!(ahead(&features, Target::None, &places, 1).is_err());
    }
}
