//! Does a feature give the target away?
//!
//! Put the rows in the order of the feature, and walk along: if the feature says what the target is, the target
//! seldom changes, and then by little. The `path` is what it changes in all: of classes the number of neighbours
//! that differ, of numbers the sum of the differences of their ranks. A walk in an order by chance has a known
//! mean length, and none is shorter than `shortest`, which visits each class once, or climbs once from the lowest
//! rank to the highest:
//!
//! `score = (by chance - path) / (by chance - shortest)`
//!
//! It is 0 for a feature that says nothing and 1 for one that says all, whether by a line, a curve or other names
//! for the classes. Up to the term `shortest` it is, for numbers, the coefficient of Chatterjee ("A New Coefficient
//! of Correlation", JASA 116, 2021), and for classes the τ of Goodman and Kruskal (1954), estimated from neighbours.
//! Nothing is learned by heart: rows that the feature does not tell apart stand in an order by chance. Categories have
//! no order: of them only neighbours of one category are looked at, whose walk is 0 if the category says all. A name
//! for each row (an id) has no such neighbours, and says nothing.
//!
//! A leak is a score of at least 0.98 for classes: neighbours differ fifty times as seldom as by chance. An honest
//! feature that is right nine times out of ten has 0.64, and the strongest one of the well-known tables (the width of
//! the petals in Fisher's irises) 0.90. For numbers it is 0.995, where the noise is about half a hundredth of the
//! standard deviation; a correlation of 0.99 has 0.87. And it must not be luck: a walk that short happens less than
//! once in a million orders, or would do so for as many pairs of neighbours.
//!
//! Limits. A target that follows time without noise (a meter reading) is given away by time and by its own last
//! value: that is no leak if one knows them in time. A number that was given in the order of the target is found,
//! an id too. A feature that says only a part (the tenth in which the target lies) is not found.

use std::collections::BTreeMap;

use lagar_flow::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::math::ln;
use crate::{algorithm::Target, judge::sample::mixed};

const OF_CLASSES: f64 = 0.98;
const OF_NUMBERS: f64 = 0.995;
/// `ln` of how many orders there must be for one that is as short as can be; so many pairs of neighbours, too, should
/// differ by chance.
const LUCK: f64 = 13.815510557964274;

/// The values of a feature before anything was filled in.
#[derive(Debug, Clone, Copy)]
pub enum Column<'a> {
    /// NaN: missing, which is a value like others.
    Numbers(&'a [f64]),
    Categories(&'a [Option<u32>]),
}

impl Column<'_> {
    pub(super) fn len(self) -> usize {
        match self {
            Column::Numbers(values) => values.len(),
            Column::Categories(codes) => codes.len(),
        }
    }

    pub(super) fn keys(self) -> Keys {
        let of_rows = match self {
            Column::Numbers(values) => values.iter().map(|value| ascending(*value)).collect(),
            Column::Categories(codes) => codes.iter().map(|code| code.map_or(u64::MAX, u64::from)).collect(),
        };
        Keys { of_rows, in_order: matches!(self, Column::Numbers(_)) }
    }
}

/// By which rows are put in order.
pub(super) struct Keys {
    of_rows: Vec<u64>,
    /// Whether rows of keys that follow each other are neighbours; else only those of one key are.
    in_order: bool,
}

impl Keys {
    /// Those of some rows.
    pub(super) fn of(&self, rows: &[usize]) -> Self {
        Self { of_rows: rows.iter().map(|row| self.of_rows[*row]).collect(), in_order: self.in_order }
    }
}

/// How much a feature says of the target.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub(super) score: f64,
    /// A walk that short happens by luck.
    by_luck: bool,
}

/// A whole number for each number, in the same order; NaN is the last, and there is one zero.
fn ascending(value: f64) -> u64 {
    if value.is_nan() {
        return u64::MAX;
    }
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// A feature that gives the target away.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Leak {
    pub feature: String,
    /// 1: the target follows from the feature. Features below 0.98 (0.995 of a target of numbers) are not leaks.
    pub score: f64,
}

/// The features that give the target away, in the order given. Each is sorted once; of a long table a sample of some
/// ten thousand rows is enough.
///
/// # Errors
/// A defect: lengths differ, or there is no target.
pub fn leaks(features: &[(&str, Column<'_>)], target: Target<'_>, seed: u64) -> Result<Vec<Leak>> {
    let truth = Truth::new(Marks::of(target)?);
    let mut leaks = Vec::new();
    for (name, column) in features {
        if let Some(told) = truth.told(*column, seed)?.filter(|told| truth.is_given_away(*told)) {
            leaks.push(Leak { feature: (*name).to_owned(), score: told.score });
        }
    }
    Ok(leaks)
}

/// How much of the target the feature says: from about 0 (nothing) to 1 (all). `None` if the target says nothing
/// itself: it is always the same, or each order of these few rows is as short as any other; or if no two rows are of
/// one category.
///
/// # Errors
/// A defect: lengths differ, or there is no target.
pub fn determines(column: Column<'_>, target: Target<'_>, seed: u64) -> Result<Option<f64>> {
    Ok(Truth::new(Marks::of(target)?).told(column, seed)?.map(|told| told.score))
}

/// The target as whole numbers: its classes, or in the order of its numbers.
pub(super) struct Marks {
    pub(super) of_rows: Vec<u64>,
    pub(super) classes: bool,
}

impl Marks {
    /// # Errors
    /// A defect: there is no target.
    pub(super) fn of(target: Target<'_>) -> Result<Self> {
        let (of_rows, classes) = match target {
            Target::None => return Err(Error::bug("without a target nothing gives it away")),
            Target::Values(values) => (values.iter().map(|value| ascending(*value)).collect(), false),
            Target::Classes { codes, .. } => (codes.iter().map(|code| u64::from(*code)).collect(), true),
        };
        Ok(Self { of_rows, classes })
    }
}

/// What is known of the target whatever the feature.
pub(super) struct Truth {
    /// Of each row its class, or how many rows have no larger value.
    marks: Vec<u64>,
    classes: bool,
    by_chance: f64,
    shortest: u64,
    /// The share of all pairs of rows in which the target is not the same.
    differing: f64,
    threshold: f64,
    no_luck: bool,
}

impl Truth {
    pub(super) fn new(Marks { of_rows: keys, classes }: Marks) -> Self {
        let mut times: BTreeMap<u64, u64> = BTreeMap::new();
        keys.iter().for_each(|key| *times.entry(*key).or_default() += 1);
        let n = keys.len() as u64;
        // How many rows have no larger value.
        let mut ranks = times.clone();
        let mut sum = 0;
        for times in ranks.values_mut() {
            sum += *times;
            *times = sum;
        }
        // The sum of the differences over all pairs of rows, both ways.
        let pairs: f64 = match classes {
            true => times.values().map(|times| *times as f64 * (n - times) as f64).sum(),
            false => {
                let split = |(times, rank): (&u64, &u64)| *times as f64 * rank_weight(*rank, *times, n);
                times.values().zip(ranks.values()).map(split).sum()
            }
        };
        let differing: f64 = times.values().map(|times| *times as f64 * (n - times) as f64).sum();
        let kinds = times.len() as u64;
        let shortest = match classes {
            true => kinds.saturating_sub(1),
            false => n - ranks.values().next().copied().unwrap_or(n),
        };
        let orders = ln_factorial(n) - times.values().map(|times| ln_factorial(*times)).sum::<f64>();
        let shortest_orders = if classes { ln_factorial(kinds) } else { std::f64::consts::LN_2 };
        Self {
            marks: if classes { keys } else { keys.iter().map(|key| ranks[key]).collect() },
            classes,
            by_chance: pairs / n.max(1) as f64,
            shortest,
            differing: differing / (n as f64 * n.saturating_sub(1) as f64).max(1.0),
            threshold: if classes { OF_CLASSES } else { OF_NUMBERS },
            no_luck: orders - shortest_orders >= LUCK,
        }
    }

    /// Whether a feature says all of it, and not by luck.
    pub(super) fn is_given_away(&self, told: Told) -> bool {
        told.score >= self.threshold && !told.by_luck
    }

    fn told(&self, column: Column<'_>, seed: u64) -> Result<Option<Told>> {
        match column.len() == self.marks.len() {
            true => Ok(self.told_by(&column.keys(), seed)),
            false => Err(Error::bug("a feature and the target do not have the same rows")),
        }
    }

    /// The same of the keys of a column, one for each row of the target.
    pub(super) fn told_by(&self, keys: &Keys, seed: u64) -> Option<Told> {
        let tie = |row: usize| mixed(!seed, row as u64);
        let rows = keys.of_rows.iter().zip(&self.marks).enumerate();
        let mut rows: Vec<(u64, u64, u64)> = rows.map(|(row, (key, mark))| (*key, tie(row), *mark)).collect();
        rows.sort_unstable();
        let neighbours = rows.windows(2).filter(|pair| keys.in_order || pair[0].0 == pair[1].0);
        let (mut pairs, mut path) = (0u64, 0u128);
        for pair in neighbours {
            pairs += 1;
            path += match self.classes {
                true => u128::from(pair[0].2 != pair[1].2),
                false => u128::from(pair[0].2.abs_diff(pair[1].2)),
            };
        }
        let (by_chance, shortest, by_luck) = match keys.in_order {
            true => (self.by_chance, self.shortest as f64, !self.no_luck),
            false => {
                let steps = (self.marks.len() as f64 - 1.0).max(1.0);
                // Of a name that nearly every row has for itself the few that come twice say nothing of the others.
                let few = (pairs as f64) < steps / 2.0 || pairs as f64 * self.differing < LUCK;
                (self.by_chance * pairs as f64 / steps, 0.0, few)
            }
        };
        let score = (by_chance - path as f64) / (by_chance - shortest);
        (by_chance > shortest).then_some(Told { score, by_luck })
    }
}

/// Twice the rows below a value that as many as `rank` do not exceed, times those that are not below, for each of
/// the rows with this value: `Σᵢⱼ |rᵢ - rⱼ| = 2 Σₖ (rows below k) (rows not below k)`.
fn rank_weight(rank: u64, times: u64, n: u64) -> f64 {
    let below = rank - times;
    2.0 * below as f64 * (n - below) as f64
}

fn ln_factorial(n: u64) -> f64 {
    (2..=n).map(|factor| ln(factor as f64)).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chance(seed: u64, row: usize) -> f64 {
        mixed(seed, row as u64) as f64 / u64::MAX as f64
    }

    fn classes(n: usize, count: u32) -> Vec<u32> {
        (0..n).map(|row| (chance(100, row) * f64::from(count)) as u32).collect()
    }

    fn numbers(n: usize) -> Vec<f64> {
        (0..n).map(|row| chance(200, row)).collect()
    }

    /// About normal: the sum of twelve.
    fn noise(n: usize) -> Vec<f64> {
        (0..n).map(|row| (0..12).map(|part| chance(300 + part, row)).sum::<f64>() - 6.0).collect()
    }

    fn found(column: Column<'_>, target: Target<'_>) -> bool {
        !leaks(&[("feature", column)], target, 1).unwrap().is_empty()
    }

    /// `scipy.stats.chatterjeexi` 1.17.1 of these values; it lacks only the shortest path.
    #[test]
    fn of_numbers_it_is_the_coefficient_of_chatterjee() {
        let x = [0.3, 1.2, 2.9, 4.1, 5.5, 6.0, 7.7, 8.2, 9.9, 11.0];
        for (y, xi) in [
            ([2.0, 1.0, 4.0, 3.0, 7.0, 6.0, 9.0, 8.0, 5.0, 10.0], 0.33333333333333337),
            ([1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0, 2.0, 5.0, 5.0], 0.5833333333333333),
        ] {
            let truth = Truth::new(Marks::of(Target::Values(&y)).unwrap());
            let score = truth.told(Column::Numbers(&x), 1).unwrap().unwrap().score;
            let own = score * (truth.by_chance - truth.shortest as f64) / truth.by_chance;
            assert!((own - xi).abs() < 1e-12, "{own} is not {xi}");
        }
    }

    #[test]
    fn what_says_all_of_the_classes_is_found() {
        for (n, count) in [(60, 2), (60, 3), (2000, 2), (2000, 7)] {
            let codes = classes(n, count);
            let target = Target::Classes { codes: &codes, count: count as usize };
            let of = |f: &dyn Fn(u32) -> f64| codes.iter().map(|code| f(*code)).collect::<Vec<f64>>();
            for column in [
                of(&f64::from),
                of(&|code| 7.0 - 3.0 * f64::from(code)),
                of(&|code| f64::from(code).exp()),
                of(&|code| [5.0, -1.0, 9.0, 2.0, 0.0, 4.0, 3.0][code as usize]),
                of(&|code| if code == 0 { f64::NAN } else { f64::from(code) }),
            ] {
                assert!(found(Column::Numbers(&column), target), "{n} rows, {count} classes");
            }
            let renamed: Vec<Option<u32>> = codes.iter().map(|code| code.checked_sub(1)).collect();
            assert!(found(Column::Categories(&renamed), target));
            // A threshold of a number, and a finer category of each class.
            let above: Vec<f64> =
                codes.iter().zip(numbers(n)).map(|(code, own)| f64::from(*code) + own).collect();
            assert!(found(Column::Numbers(&above), target));
        }
        let codes = classes(2000, 2);
        let target = Target::Classes { codes: &codes, count: 2 };
        let finer: Vec<Option<u32>> =
            codes.iter().zip(numbers(2000)).map(|(code, own)| Some(code * 4 + (own * 4.0) as u32)).collect();
        assert!(found(Column::Categories(&finer), target));
    }

    /// Where one category ends and the next begins the target changes, whatever the feature says.
    #[test]
    fn categories_are_not_beside_each_other() {
        for count in [2, 40, 200] {
            let category = classes(1000, count);
            let categories: Vec<Option<u32>> = category.iter().map(|code| Some(*code)).collect();
            let codes: Vec<u32> =
                category.iter().map(|code| (mixed(5, u64::from(*code)) % 2) as u32).collect();
            let codes = if count == 2 { category.clone() } else { codes };
            let values: Vec<f64> = category.iter().map(|code| chance(6, *code as usize)).collect();
            for target in [Target::Classes { codes: &codes, count: 2 }, Target::Values(&values)] {
                let score = determines(Column::Categories(&categories), target, 1).unwrap().unwrap();
                assert!((score - 1.0).abs() < 1e-12, "{count}: {score}");
                assert!(found(Column::Categories(&categories), target), "{count}");
            }
        }
    }

    /// Names of which a few come twice: that they say the same then may be luck.
    #[test]
    fn a_few_names_that_come_twice_say_nothing() {
        let names: Vec<Option<u32>> =
            (0..3000).map(|row| Some(if row < 10 { row / 2 } else { row })).collect();
        let codes: Vec<u32> = (0..3000).map(|row| if row < 10 { 1 } else { row % 2 }).collect();
        let values: Vec<f64> = codes.iter().map(|code| f64::from(*code)).collect();
        for target in [Target::Classes { codes: &codes, count: 2 }, Target::Values(&values)] {
            assert!(!found(Column::Categories(&names), target));
        }
        // However many come twice, as long as most do not.
        let twice: Vec<Option<u32>> =
            (0..3000).map(|row| Some(if row < 1200 { row / 2 } else { row })).collect();
        let codes: Vec<u32> = (0..3000).map(|row| if row < 1200 { row / 2 % 2 } else { row % 2 }).collect();
        assert!(!found(Column::Categories(&twice), Target::Classes { codes: &codes, count: 2 }));
        let alone: Vec<Option<u32>> = (0..3000).map(Some).collect();
        let target = Target::Classes { codes: &codes, count: 2 };
        assert_eq!(determines(Column::Categories(&alone), target, 1).unwrap(), None);
    }

    #[test]
    fn what_says_all_of_the_numbers_is_found() {
        for n in [60, 2000] {
            let values = numbers(n);
            let target = Target::Values(&values);
            let of = |f: &dyn Fn(f64) -> f64| values.iter().map(|value| f(*value)).collect::<Vec<f64>>();
            for column in [
                of(&|v| v),
                of(&|v| 100.0 - 3.5 * v),
                of(&|v| (9.0 * v).exp()),
                of(&|v| (v * 1e4).round() / 1e4),
            ] {
                assert!(found(Column::Numbers(&column), target), "{n} rows");
            }
        }
        // The feature says more than the target.
        let feature = numbers(20_000);
        let values: Vec<f64> = feature.iter().map(|v| (v * 20.0).sin()).collect();
        assert!(found(Column::Numbers(&feature), Target::Values(&values)));
    }

    #[test]
    fn strong_and_honest_features_are_not_leaks() {
        let n = 5000;
        for right in [0.9, 0.97] {
            let codes = classes(n, 2);
            let target = Target::Classes { codes: &codes, count: 2 };
            let flip = |row: usize| u32::from(chance(7, row) > right);
            let feature: Vec<u32> = codes.iter().enumerate().map(|(row, code)| code ^ flip(row)).collect();
            let categories: Vec<Option<u32>> = feature.iter().map(|code| Some(*code)).collect();
            let values: Vec<f64> = feature.iter().map(|code| f64::from(*code)).collect();
            // Neighbours of one value differ with 2 p (1 - p), by chance one half do.
            let expected = 1.0 - 4.0 * right * (1.0 - right);
            for column in [Column::Categories(&categories), Column::Numbers(&values)] {
                let score = determines(column, target, 1).unwrap().unwrap();
                assert!((score - expected).abs() < 0.04, "{score} is not {expected}");
                assert!(!found(column, target));
            }
        }
        let noise = noise(n);
        let normal: Vec<f64> =
            (0..n).map(|row| (0..12).map(|p| chance(900 + p, row)).sum::<f64>() - 6.0).collect();
        // Correlations of 0.9, 0.99 and 0.999.
        for (share, expected) in [(0.4843, 0.59), (0.1425, 0.87), (0.0447, 0.958)] {
            let values: Vec<f64> = normal.iter().zip(&noise).map(|(v, noise)| v + share * noise).collect();
            let score = determines(Column::Numbers(&normal), Target::Values(&values), 1).unwrap().unwrap();
            assert!((score - expected).abs() < 0.02, "{score} is not {expected}");
            assert!(!found(Column::Numbers(&normal), Target::Values(&values)));
        }
    }

    #[test]
    fn ids_and_constants_say_nothing() {
        for n in [30, 3000] {
            let ids: Vec<Option<u32>> = (0..n as u32).map(Some).collect();
            let row: Vec<f64> = (0..n).map(|row| row as f64).collect();
            let constant = vec![4.0; n];
            // Also where the table lies in the order of its target.
            let mut sorted = classes(n, 2);
            sorted.sort_unstable();
            for codes in [classes(n, 2), classes(n, 5), sorted.clone()] {
                let target = Target::Classes { codes: &codes, count: 5 };
                assert!(!found(Column::Categories(&ids), target));
                assert!(!found(Column::Numbers(&constant), target));
                assert_eq!(found(Column::Numbers(&row), target), codes == sorted);
            }
            let values = numbers(n);
            assert!(!found(Column::Categories(&ids), Target::Values(&values)));
            assert!(!found(Column::Numbers(&row), Target::Values(&values)));
            assert!(!found(Column::Numbers(&constant), Target::Values(&values)));
        }
    }

    #[test]
    fn luck_in_few_rows_is_not_a_leak() {
        // The one positive row is the last by the feature in one of 50 tables.
        let codes: Vec<u32> = (0..100).map(|row| u32::from(row == 99)).collect();
        let rising: Vec<f64> = (0..100).map(f64::from).collect();
        assert!(!found(Column::Numbers(&rising), Target::Classes { codes: &codes, count: 2 }));
        let codes = [0, 0, 0, 1, 1, 1];
        assert!(!found(Column::Numbers(&rising[..6]), Target::Classes { codes: &codes, count: 2 }));
        assert!(!found(Column::Numbers(&rising[..5]), Target::Values(&rising[..5])));
    }

    #[test]
    fn a_target_that_says_nothing_cannot_be_given_away() {
        let none: [f64; 0] = [];
        for values in [&none[..], &[1.0], &[2.0; 50]] {
            assert_eq!(determines(Column::Numbers(values), Target::Values(values), 1).unwrap(), None);
            let codes = vec![1; values.len()];
            let target = Target::Classes { codes: &codes, count: 2 };
            assert_eq!(determines(Column::Numbers(values), target, 1).unwrap(), None);
        }
        assert!(determines(Column::Numbers(&[]), Target::None, 1).is_err());
        assert!(determines(Column::Numbers(&[]), Target::Values(&[1.0]), 1).is_err());
        assert_eq!(ascending(-0.0), ascending(0.0));
    }

    proptest! {
        /// Walked backwards and on other scales, the way is as long.
        #[test]
        fn only_the_order_counts(rows in prop::collection::vec((-99i32..99, 0u32..4), 2..60)) {
            let of = |f: &dyn Fn(f64) -> f64| rows.iter().map(|row| f(f64::from(row.0))).collect::<Vec<f64>>();
            let codes: Vec<u32> = rows.iter().map(|row| row.1).collect();
            let values: Vec<f64> = codes.iter().map(|code| f64::from(*code)).collect();
            for target in [Target::Classes { codes: &codes, count: 4 }, Target::Values(&values)] {
                let score = |x: &[f64]| determines(Column::Numbers(x), target, 3).unwrap();
                let own = score(&of(&|v| v));
                prop_assert!(own.is_none_or(|own| own <= 1.0));
                prop_assert_eq!(score(&of(&|v| v * v * v)), own);
            }
        }
    }
}
