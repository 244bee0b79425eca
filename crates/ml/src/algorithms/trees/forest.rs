//! Trees of drawn rows and drawn columns (Breiman, Random Forests, 2001). A single tree is a forest of one that draws
//! nothing.

use lagar_flow::{Error, Result, codes};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bins::Bins;
use super::goals::{ClassRow, Classes, Drawn, Goal, Level, Means, Sizes, ValueRow};
use super::grow::{Limits, grow};
use super::stored::Trees;
use crate::algorithm::Training;
use crate::parallel;

/// How many columns are looked at for each split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "`max_features` must be a whole number, `sqrt`, `log2`, `third` or `all`")]
pub enum MaxFeatures {
    /// So many.
    Count(usize),
    Rule(Rule),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The square root of their number.
    Sqrt,
    /// The logarithm of their number to the base 2.
    Log2,
    /// A third of them.
    Third,
    All,
}

impl MaxFeatures {
    /// Of `columns`: at least one, at most all.
    fn of(self, columns: usize) -> usize {
        let drawn = match self {
            MaxFeatures::Count(count) => count,
            MaxFeatures::Rule(Rule::Sqrt) => columns.isqrt(),
            MaxFeatures::Rule(Rule::Log2) => columns.ilog2() as usize,
            MaxFeatures::Rule(Rule::Third) => columns / 3,
            MaxFeatures::Rule(Rule::All) => columns,
        };
        drawn.clamp(1, columns)
    }
}

/// What a forest is asked to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub trees: usize,
    pub bootstrap: bool,
    pub max_features: MaxFeatures,
    pub max_depth: Option<usize>,
    pub max_leaves: Option<usize>,
    pub min_split: usize,
    pub min_leaf: usize,
}

impl Plan {
    /// As `Algorithm::check`.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let at_least_one = [
            ("trees", Some(self.trees)),
            ("max_depth", self.max_depth),
            ("max_leaves", self.max_leaves),
            ("min_leaf", Some(self.min_leaf)),
        ];
        if let Some((name, _)) = at_least_one.into_iter().find(|(_, value)| *value == Some(0)) {
            return Err((name, "must be at least 1".to_owned()));
        }
        if self.trees > MOST_TREES {
            return Err(("trees", format!("must be at most {MOST_TREES}")));
        }
        if self.min_split < 2 {
            return Err(("min_split", "must be at least 2".to_owned()));
        }
        match self.max_features {
            MaxFeatures::Count(0) => Err(("max_features", "must be at least 1".to_owned())),
            _ => Ok(()),
        }
    }

    fn sizes(&self) -> Sizes {
        Sizes { min_split: self.min_split as u64, min_leaf: self.min_leaf as u64 }
    }

    fn limits(&self) -> Limits {
        Limits { depth: self.max_depth.unwrap_or(usize::MAX), leaves: self.max_leaves.unwrap_or(usize::MAX) }
    }
}

/// What is more is a slip of the keyboard: trees are kept in memory.
const MOST_TREES: usize = 100_000;

/// A forest, and how it did on the rows that its trees did not see.
pub(crate) struct Forest {
    pub trees: Trees,
    /// For each column its part of what all splits gained; 1 together, or 0 if nothing was split.
    pub importance: Vec<f64>,
    /// For each row the sum of the answers of the trees that did not see it.
    unseen: Vec<f64>,
    /// And how many these are.
    unseen_by: Vec<u32>,
}

/// The classes of the rows.
pub(crate) fn classes(plan: &Plan, entropy: bool, training: &Training<'_>) -> Result<(Forest, Option<f64>)> {
    let (codes, count) = training.target.classes()?;
    let goal = || Classes::of(count, entropy, plan.sizes());
    let item = |row: usize, weight| ClassRow { row: row as u32, class: codes[row], weight };
    let forest = fit(plan, training, count, goal, item)?;
    let (mut right, mut asked) = (0_u32, 0_u32);
    for (row, sums) in forest.unseen.chunks_exact(count).enumerate() {
        if forest.unseen_by[row] > 0 {
            asked += 1;
            right += u32::from(most(sums) == codes[row] as usize);
        }
    }
    let accuracy = (asked > 0).then(|| f64::from(right) / f64::from(asked));
    Ok((forest, accuracy))
}

/// The place of the largest; of several the first.
fn most(sums: &[f64]) -> usize {
    (1..sums.len()).fold(0, |most, at| if sums[at] > sums[most] { at } else { most })
}

/// The values of the rows.
pub(crate) fn values(plan: &Plan, training: &Training<'_>) -> Result<(Forest, Option<f64>)> {
    let target = training.target.values()?;
    let level = Level::of(target);
    let goal = || Means::of(target, &level, plan.sizes());
    let item = |row: usize, weight| ValueRow { row: row as u32, weight, value: level.sized(target[row]) };
    let forest = fit(plan, training, 1, goal, item)?;
    let seldom = |row: &usize| forest.unseen_by[*row] > 0;
    let asked: Vec<usize> = (0..target.len()).filter(seldom).collect();
    let mean = asked.iter().map(|row| level.centred(target[*row])).sum::<f64>() / asked.len() as f64;
    let (mut missed, mut spread) = (0.0, 0.0);
    for row in asked {
        let value = level.centred(target[row]);
        let answer = level.centred(forest.unseen[row] / f64::from(forest.unseen_by[row]));
        missed += (value - answer) * (value - answer);
        spread += (value - mean) * (value - mean);
    }
    let explained = 1.0 - missed / spread;
    Ok((forest, explained.is_finite().then_some(explained)))
}

fn fit<G: Goal>(
    plan: &Plan,
    training: &Training<'_>,
    outputs: usize,
    goal: impl Fn() -> G + Sync,
    item: impl Fn(usize, u32) -> G::Item + Sync,
) -> Result<Forest> {
    let rows = fit_in_memory(training)?;
    let bins = Bins::of(training.x, training.threads)?;
    let columns = bins.columns.len();
    let draw = plan.max_features.of(columns);
    let grown = parallel::in_order(plan.trees, training.threads, |tree| {
        let mut random = seeded(training.seed, tree as u64);
        let weights = if plan.bootstrap { drawn(rows, &mut random) } else { vec![1; rows as usize] };
        let weighted = weights.iter().enumerate().filter(|(_, weight)| **weight > 0);
        let mut items: Vec<G::Item> = weighted.map(|(row, weight)| item(row, *weight)).collect();
        let mut splitter = Drawn::of(goal(), &bins, draw, random);
        let mut importance = vec![0.0; columns];
        let mut tree = grow(&bins, &mut splitter, &mut items, plan.limits(), &mut importance)?;
        tree.values = splitter.goal.into_values();
        shared(&mut importance);
        Ok::<_, Error>((tree, importance, Unseen::of(&weights)))
    })?;
    let mut importance = vec![0.0; columns];
    let (mut trees, mut unseen) = (Vec::new(), Vec::new());
    for part in grown {
        let (tree, gains, not_seen) = part?;
        importance.iter_mut().zip(gains).for_each(|(sum, gain)| *sum += gain);
        trees.push(tree);
        unseen.push(not_seen);
    }
    shared(&mut importance);
    let trees = Trees::of(training.features, outputs, trees);
    let mut forest = Forest { trees, importance, unseen: Vec::new(), unseen_by: vec![0; rows as usize] };
    if plan.bootstrap {
        let asked = |tree: usize, row: usize| unseen[tree].has(row);
        forest.unseen = forest.trees.sums_where(training.x, outputs, training.threads, asked)?;
        let by = |row| unseen.iter().filter(|unseen| unseen.has(row)).count() as u32;
        forest.unseen_by = (0..rows as usize).map(by).collect();
    }
    Ok(forest)
}

/// The number of rows, which are counted in 31 bits.
pub(crate) fn fit_in_memory(training: &Training<'_>) -> Result<u32> {
    let rows = training.rows();
    match i32::try_from(rows) {
        Ok(rows) => Ok(rows.unsigned_abs()),
        Err(_) => Err(Error::new(
            codes::PREDICTOR_DATA,
            format!("trees learn from at most {} rows, and there are {rows}", i32::MAX),
        )
        .hint("take a sample with `sample: N`")),
    }
}

/// Parts of a whole.
pub(crate) fn shared(gains: &mut [f64]) {
    let whole: f64 = gains.iter().sum();
    if whole > 0.0 {
        gains.iter_mut().for_each(|gain| *gain /= whole);
    }
}

/// How often each row is drawn when as many are drawn as there are.
fn drawn(rows: u32, random: &mut Xoshiro256Plus) -> Vec<u32> {
    let mut weights = vec![0; rows as usize];
    for _ in 0..rows {
        weights[random.gen_range(0..rows) as usize] += 1;
    }
    weights
}

/// A generator of its own for each number, so that trees can be grown in any order.
pub(crate) fn seeded(seed: u64, number: u64) -> Xoshiro256Plus {
    Xoshiro256Plus::seed_from_u64(mixed(seed, number))
}

/// Two numbers as one that looks random (the finaliser of SplitMix64: Steele, Lea and Flood, 2014).
pub(crate) fn mixed(seed: u64, number: u64) -> u64 {
    let mut mixed = seed ^ number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// The rows that a tree did not see, a bit each.
struct Unseen(Vec<u64>);

impl Unseen {
    fn of(weights: &[u32]) -> Self {
        let bit = |(at, weight): (usize, &u32)| u64::from(*weight == 0) << at;
        Self(weights.chunks(64).map(|part| part.iter().enumerate().map(bit).sum()).collect())
    }

    fn has(&self, row: usize) -> bool {
        self.0[row / 64] >> (row % 64) & 1 == 1
    }
}

/// The figures of `explain`: how important each column is.
pub(crate) fn importances(features: &[String], importance: &[f64]) -> Vec<(String, f64)> {
    let named = features.iter().zip(importance);
    named.map(|(name, importance)| (format!("importance of {name}"), *importance)).collect()
}
