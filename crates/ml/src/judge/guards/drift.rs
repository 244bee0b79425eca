//! Do the rows that are scored look like those that were learned from?
//!
//! The population stability index of two distributions over the same bins: `Σ (new - old) · ln (new / old)`, where
//! `old` and `new` are the shares of the rows in a bin. A bin in which one of them has no row is taken to hold half
//! a row of it, since the logarithm of 0 is none. By custom, below 0.1 nothing happened, and above 0.25 much
//! (Siddiqi, "Credit Risk Scorecards", 2006). With few rows it is not small even where nothing changed: then it is
//! about χ² with (bins - 1) degrees of freedom times (1/rows + 1/new rows) (Yurdakul, "Statistical Properties of
//! Population Stability Index", 2018), so what this exceeds once in a hundred times is not called a change.

use std::{cmp::Reverse, collections::BTreeMap};

use lagar_flow::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::judge::numbers::sorted;
use crate::math::{cube, ln};

/// Of how many parts of the same size the values of a column of numbers are cut into bins.
const PARTS: usize = 10;
/// Of how many categories, the most frequent ones, the shares are kept.
const CATEGORIES: usize = 50;

/// How the values of a column were distributed when it was learned from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    Numbers {
        /// Rows.
        rows: u64,
        /// The smallest value, those up to which a tenth, two tenths … of the rows lie, and the largest, each once,
        /// ascending. Empty if all were missing.
        edges: Vec<f64>,
        /// The shares of the rows below the first edge (none), on it, above each edge up to the next one, and above
        /// the last (none).
        shares: Vec<f64>,
        /// The share of the rows without a value.
        missing: f64,
    },
    Categories {
        /// Rows.
        rows: u64,
        /// The most frequent ones, at most 50, by falling frequency and then by name.
        names: Vec<String>,
        /// The shares of the rows in each.
        shares: Vec<f64>,
        /// The share of the rows in other categories.
        other: f64,
        /// The share of the rows without a category.
        missing: f64,
    },
}

/// How far new rows are from those that were learned from, in one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Drift {
    /// The population stability index.
    pub psi: f64,
    /// It is larger than this in one of a hundred cases where nothing changed.
    pub by_chance: f64,
    pub level: DriftLevel,
    /// New rows.
    pub rows: u64,
}

/// What to think of a drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DriftLevel {
    /// The index is below 0.1, or not larger than by chance.
    None,
    /// Up to 0.25.
    Some,
    /// Above 0.25: the predictor was made for other rows.
    Strong,
}

impl Distribution {
    /// `None` without rows. What is not finite is missing.
    pub fn of_numbers(values: &[f64]) -> Option<Self> {
        let known: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        let known = sorted(&known);
        let up_to = |part: usize| known.get((part * known.len()).div_ceil(PARTS).saturating_sub(1)).copied();
        let mut edges: Vec<f64> = (0..=PARTS).filter_map(up_to).collect();
        edges.dedup();
        let counts = count_numbers(&edges, values);
        let (shares, missing) = (counts.shares()?, counts.missing_share()?);
        Some(Self::Numbers { rows: counts.rows, edges, shares, missing })
    }

    /// `None` without rows.
    pub fn of_categories<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> Option<Self> {
        let mut times: BTreeMap<&str, u64> = BTreeMap::new();
        let mut missing = 0;
        for value in values {
            match value {
                Some(name) => *times.entry(name).or_default() += 1,
                None => missing += 1,
            }
        }
        let rows = missing + times.values().sum::<u64>();
        let mut times: Vec<(&str, u64)> = times.into_iter().collect();
        // Stable: of equals by name.
        times.sort_by_key(|(_, times)| Reverse(*times));
        let share = |times: u64| times as f64 / rows as f64;
        let other = times.iter().skip(CATEGORIES).map(|(_, times)| times).sum();
        times.truncate(CATEGORIES);
        (rows > 0).then(|| Self::Categories {
            rows,
            names: times.iter().map(|(name, _)| (*name).to_owned()).collect(),
            shares: times.iter().map(|(_, times)| share(*times)).collect(),
            other: share(other),
            missing: share(missing),
        })
    }

    /// Whether it is one of numbers (else of categories), and whole.
    ///
    /// # Errors
    /// What is not, for people.
    pub(crate) fn check(&self, numbers: bool) -> Result<(), String> {
        let (rows, whole) = match self {
            Self::Numbers { .. } if !numbers => return Err("is of numbers".to_owned()),
            Self::Categories { .. } if numbers => return Err("is of categories".to_owned()),
            Self::Numbers { rows, edges, shares, .. } => {
                (*rows, shares.len() == edges.len() + 2 && edges.is_sorted())
            }
            Self::Categories { rows, names, shares, .. } => (*rows, shares.len() == names.len()),
        };
        if rows > 0 && whole { Ok(()) } else { Err("is not whole".to_owned()) }
    }

    /// The drift of a column of numbers. `None` without rows.
    ///
    /// # Errors
    /// A defect: this is a distribution of categories, or its shares are not those of its bins.
    pub fn drift_of_numbers(&self, values: &[f64]) -> Result<Option<Drift>> {
        match self {
            Self::Numbers { rows, edges, shares, missing } => {
                drift(*rows, shares, *missing, &count_numbers(edges, values))
            }
            Self::Categories { .. } => Err(Error::bug("numbers cannot be compared with categories")),
        }
    }

    /// The drift of a column of categories. `None` without rows.
    ///
    /// # Errors
    /// A defect: this is a distribution of numbers, or its shares are not those of its categories.
    pub fn drift_of_categories<'a>(
        &self,
        values: impl IntoIterator<Item = Option<&'a str>>,
    ) -> Result<Option<Drift>> {
        let Self::Categories { rows, names, shares, other, missing } = self else {
            return Err(Error::bug("categories cannot be compared with numbers"));
        };
        let places: BTreeMap<&str, usize> = names.iter().map(String::as_str).zip(0..).collect();
        let mut counts = Counts::new(names.len() + 1);
        for value in values {
            counts.add(value.map(|name| places.get(name).copied().unwrap_or(names.len())));
        }
        let shares: Vec<f64> = shares.iter().copied().chain([*other]).collect();
        drift(*rows, &shares, *missing, &counts)
    }
}

struct Counts {
    rows: u64,
    bins: Vec<u64>,
    missing: u64,
}

impl Counts {
    fn new(bins: usize) -> Self {
        Self { rows: 0, bins: vec![0; bins], missing: 0 }
    }

    fn add(&mut self, bin: Option<usize>) {
        self.rows += 1;
        match bin {
            Some(bin) => self.bins[bin] += 1,
            None => self.missing += 1,
        }
    }

    /// `None` without rows.
    fn shares(&self) -> Option<Vec<f64>> {
        let share = |count: &u64| *count as f64 / self.rows as f64;
        (self.rows > 0).then(|| self.bins.iter().map(share).collect())
    }

    fn missing_share(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.missing as f64 / self.rows as f64)
    }
}

fn count_numbers(edges: &[f64], values: &[f64]) -> Counts {
    let mut counts = Counts::new(edges.len() + 2);
    for value in values {
        let below = edges.first().is_some_and(|first| value < first);
        let bin = if below { 0 } else { 1 + edges.partition_point(|edge| edge < value) };
        counts.add(value.is_finite().then_some(bin));
    }
    counts
}

fn drift(rows: u64, shares: &[f64], missing: f64, new: &Counts) -> Result<Option<Drift>> {
    if shares.len() != new.bins.len() || rows == 0 {
        return Err(Error::bug("a stored distribution is not whole"));
    }
    let (Some(new_shares), Some(new_missing)) = (new.shares(), new.missing_share()) else { return Ok(None) };
    let (half_old, half_new) = (0.5 / rows as f64, 0.5 / new.rows as f64);
    let old = shares.iter().copied().chain([missing]);
    let new_shares = new_shares.into_iter().chain([new_missing]);
    let filled: Vec<(f64, f64)> = old.zip(new_shares).filter(|(old, new)| *old > 0.0 || *new > 0.0).collect();
    let terms = filled.iter().map(|(old, new)| {
        let (old, new) = (old.max(half_old), new.max(half_new));
        (new - old) * ln(new / old)
    });
    let psi = terms.sum();
    let by_chance = chi_square_99(filled.len() - 1) * (1.0 / rows as f64 + 1.0 / new.rows as f64);
    let level = match psi {
        _ if psi <= by_chance || psi < 0.1 => DriftLevel::None,
        _ if psi <= 0.25 => DriftLevel::Some,
        _ => DriftLevel::Strong,
    };
    Ok(Some(Drift { psi, by_chance, level, rows: new.rows }))
}

/// What χ² exceeds once in a hundred times (Wilson and Hilferty, 1931; within 2 % from two degrees on).
fn chi_square_99(degrees: usize) -> f64 {
    if degrees == 0 {
        return 0.0;
    }
    let degrees = degrees as f64;
    let ninth = 2.0 / (9.0 * degrees);
    degrees * cube(1.0 - ninth + 2.3263478740408408 * ninth.sqrt())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::judge::sample::mixed;

    fn chance(seed: u64, n: usize) -> Vec<f64> {
        (0..n).map(|row| mixed(seed, row as u64) as f64 / u64::MAX as f64).collect()
    }

    fn names<'a>(counts: &[(&'a str, usize)]) -> Vec<Option<&'a str>> {
        let name = |name: &'a str| if name.is_empty() { None } else { Some(name) };
        counts.iter().flat_map(|(n, count)| vec![name(n); *count]).collect()
    }

    /// By hand: shares of 0.5, 0.3, 0.2 become 0.4, 0.3, 0.3:
    /// `-0.1 ln 0.8 + 0 + 0.1 ln 1.5 = 0.022314355 + 0.040546511`.
    #[test]
    fn the_index_is_that_of_the_formula() {
        let old = Distribution::of_categories(names(&[("a", 500), ("b", 300), ("c", 200)])).unwrap();
        let new = names(&[("a", 400), ("b", 300), ("c", 300)]);
        let drift = old.drift_of_categories(new).unwrap().unwrap();
        assert!((drift.psi - 0.06286086594223741).abs() < 1e-12);
        assert_eq!((drift.level, drift.rows), (DriftLevel::None, 1000));
        // -0.3 ln 0.4 + 0.3 ln 2.5 = 0.5498
        let drift = old.drift_of_categories(names(&[("a", 200), ("b", 300), ("c", 500)])).unwrap().unwrap();
        assert!((drift.psi - 0.6 * 2.5f64.ln()).abs() < 1e-12);
        assert_eq!(drift.level, DriftLevel::Strong);
        let drift = old.drift_of_categories(names(&[("a", 350), ("b", 300), ("c", 350)])).unwrap().unwrap();
        assert_eq!(drift.level, DriftLevel::Some, "{drift:?}");
    }

    /// A category that is new, and one that is gone, count as half a row of 1000 on the side where they are not.
    #[test]
    fn an_empty_bin_holds_half_a_row() {
        let old = Distribution::of_categories(names(&[("a", 500), ("b", 500)])).unwrap();
        let drift = old.drift_of_categories(names(&[("a", 500), ("z", 500)])).unwrap().unwrap();
        let term = (0.5 - 0.0005) * (0.5f64 / 0.0005).ln();
        assert!((drift.psi - 2.0 * term).abs() < 1e-12);
        let drift = old.drift_of_categories(names(&[("a", 250), ("b", 250), ("", 500)])).unwrap().unwrap();
        assert_eq!(drift.level, DriftLevel::Strong, "half is missing");
    }

    #[test]
    fn edges_are_tenths_and_the_ends() {
        let values: Vec<f64> = (1..=1000).rev().map(f64::from).collect();
        let Some(Distribution::Numbers { rows, edges, shares, missing }) = Distribution::of_numbers(&values)
        else {
            panic!()
        };
        assert_eq!(edges, [1.0, 100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0, 900.0, 1000.0]);
        assert_eq!(shares, [0.0, 0.001, 0.099, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.0]);
        assert_eq!((rows, missing), (1000, 0.0));
        let Some(Distribution::Numbers { edges, shares, .. }) =
            Distribution::of_numbers(&[0.0, 1.0, 1.0, f64::NAN])
        else {
            panic!()
        };
        assert_eq!((edges, shares), (vec![0.0, 1.0], vec![0.0, 0.25, 0.5, 0.0]));
    }

    #[test]
    fn rows_of_the_same_kind_do_not_drift_and_others_do() {
        for n in [20, 100, 5000] {
            let old = Distribution::of_numbers(&chance(1, 5000)).unwrap();
            let drift = |values: &[f64]| old.drift_of_numbers(values).unwrap().unwrap();
            assert_eq!(drift(&chance(2, n)).level, DriftLevel::None, "{n}: {:?}", drift(&chance(2, n)));
            let moved: Vec<f64> = chance(2, n).iter().map(|v| v + 0.5).collect();
            assert_eq!(drift(&moved).level, DriftLevel::Strong);
            assert_eq!(drift(&vec![0.5; n]).level, DriftLevel::Strong);
            assert_eq!(drift(&vec![f64::NAN; n]).level, DriftLevel::Strong);
        }
        for (old, new) in [(0.0, 1.0), (1.0, 0.0), (0.0, f64::NAN), (f64::NAN, 0.0)] {
            let distribution = Distribution::of_numbers(&[old; 100]).unwrap();
            let level = |value| distribution.drift_of_numbers(&[value; 100]).unwrap().unwrap().level;
            assert_eq!((level(old), level(new)), (DriftLevel::None, DriftLevel::Strong), "{old} {new}");
        }
    }

    /// Where nothing changed the index is larger than `by_chance` about once in a hundred times.
    #[test]
    fn chance_is_what_it_says() {
        let mut times = 0;
        for seed in 0..500 {
            let old = Distribution::of_numbers(&chance(seed, 2000)).unwrap();
            let drift = old.drift_of_numbers(&chance(seed + 1000, 200)).unwrap().unwrap();
            times += u32::from(drift.psi > drift.by_chance);
        }
        assert!((1..15).contains(&times), "{times} of 500");
    }

    #[test]
    fn only_the_most_frequent_categories_are_kept() {
        let all: Vec<String> = (0..80).map(|at| format!("{at:02}")).collect();
        let rows = all.iter().enumerate().flat_map(|(at, name)| vec![Some(name.as_str()); 1 + at / 40]);
        let Some(Distribution::Categories { names, other, rows, .. }) = Distribution::of_categories(rows)
        else {
            panic!()
        };
        assert_eq!(
            (names.len(), names[0].as_str(), names[39].as_str(), names[40].as_str()),
            (50, "40", "79", "00")
        );
        assert_eq!((rows, other), (120, 0.25));
    }

    #[test]
    fn without_rows_there_is_nothing_to_say() {
        assert_eq!(Distribution::of_numbers(&[]), None);
        assert_eq!(Distribution::of_categories([]), None);
        let numbers = Distribution::of_numbers(&[1.0]).unwrap();
        assert_eq!(numbers.drift_of_numbers(&[]).unwrap(), None);
        assert!(numbers.drift_of_categories([]).is_err());
        assert!(Distribution::of_categories([None]).unwrap().drift_of_numbers(&[]).is_err());
    }

    /// `scipy.stats.chi2.ppf(0.99, [2, 5, 9, 20])`.
    #[test]
    fn quantiles_of_chi_square_are_near() {
        for (degrees, exact) in
            [(2, 9.21034037197618), (5, 15.08627246938899), (9, 21.665994333461924), (20, 37.56623478662507)]
        {
            assert!((chi_square_99(degrees) / exact - 1.0).abs() < 0.02, "{degrees}");
        }
    }

    proptest! {
        #[test]
        fn the_index_is_finite_and_survives_being_stored(
            old in prop::collection::vec(prop::num::f64::ANY, 1..60),
            new in prop::collection::vec(prop::num::f64::ANY, 1..60),
        ) {
            let distribution = Distribution::of_numbers(&old).unwrap();
            let drift = distribution.drift_of_numbers(&new).unwrap().unwrap();
            prop_assert!(drift.psi.is_finite() && drift.psi >= 0.0);
            prop_assert!(distribution.drift_of_numbers(&old).unwrap().unwrap().psi < 1e-12);
            let text = serde_json::to_string(&distribution).unwrap();
            prop_assert_eq!(serde_json::from_str::<Distribution>(&text).unwrap(), distribution);
        }
    }
}
