//! What a tree is grown for: leaves of few classes, or of values near their mean.

use std::collections::BTreeMap;

use lagar_flow::Result;
use rand::Rng;
use rand_xoshiro::Xoshiro256Plus;

use super::bins::{Bins, Column, MOST};
use super::grow::{Cut, Found, Splitter};
use crate::math::ln;

/// Which nodes are split. A row that was drawn twice counts twice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub min_split: u64,
    pub min_leaf: u64,
}

/// Counts the rows of a node.
pub(crate) trait Goal {
    type Item: Copy;

    fn row(item: &Self::Item) -> usize;

    /// Gets to know a node; whether there is something to split.
    fn begin(&mut self, items: &[Self::Item]) -> bool;

    /// The best cut of the node by a column: what it gains, and the bins that it is between.
    fn cut(&mut self, items: &[Self::Item], column: &Column) -> Option<(f64, usize, usize)>;

    fn leaf(&mut self, items: &[Self::Item]) -> usize;

    /// What the leaves answer.
    fn into_values(self) -> Vec<f64>;
}

/// Looks at `draw` columns for each node, drawn anew (all in their order if there are no more). If none of them
/// splits the node, further ones are drawn until one does, as scikit-learn does it.
pub(crate) struct Drawn<'a, G> {
    pub goal: G,
    bins: &'a Bins,
    columns: Vec<usize>,
    draw: usize,
    random: Xoshiro256Plus,
}

impl<'a, G: Goal> Drawn<'a, G> {
    pub fn of(goal: G, bins: &'a Bins, draw: usize, random: Xoshiro256Plus) -> Self {
        Self { goal, bins, columns: (0..bins.columns.len()).collect(), draw, random }
    }

    fn best(&mut self, items: &[G::Item], deeper: bool) -> Option<Cut> {
        if !deeper || !self.goal.begin(items) {
            return None;
        }
        let mut best: Option<Cut> = None;
        let columns = self.columns.len();
        for place in 0..columns {
            if place >= self.draw && best.is_some() {
                break;
            }
            if self.draw < columns {
                // As u32, so that a machine of 32 bits draws the same.
                let drawn = self.random.gen_range(place as u32..columns as u32) as usize;
                self.columns.swap(place, drawn);
            }
            let feature = self.columns[place];
            let column = &self.bins.columns[feature];
            if let Some((gain, lower, upper)) = self.goal.cut(items, column)
                && best.is_none_or(|best| gain > best.gain)
            {
                let threshold = column.threshold(lower, upper);
                best = Some(Cut { feature, bin: lower as u8, threshold, gain });
            }
        }
        best
    }
}

impl<G: Goal> Splitter for Drawn<'_, G> {
    type Item = G::Item;
    type Node = ();

    fn row(item: &Self::Item) -> usize {
        G::row(item)
    }

    fn root(&mut self, items: &[Self::Item], deeper: bool) -> Result<Found<()>> {
        Ok(((), self.best(items, deeper)))
    }

    fn children(&mut self, (): (), sides: [&[Self::Item]; 2], deeper: bool) -> Result<[Found<()>; 2]> {
        Ok(sides.map(|items| ((), self.best(items, deeper))))
    }

    fn leaf(&mut self, items: &[Self::Item]) -> usize {
        self.goal.leaf(items)
    }
}

/// Which bins have rows. It is filled by plain writes and read eight bins at once, so that a node of few rows costs
/// little although there are 256 bins.
struct Seen {
    bins: [u8; MOST],
    /// Those seen, in ascending order.
    list: Vec<usize>,
}

impl Seen {
    fn new() -> Self {
        Self { bins: [0; MOST], list: Vec::with_capacity(MOST) }
    }

    fn add(&mut self, code: u8) {
        self.bins[usize::from(code)] = 1;
    }

    /// Lists those seen, and forgets them.
    fn take(&mut self) {
        self.list.clear();
        for (at, eight) in self.bins.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let mut seen = u64::from_le_bytes(*eight);
            *eight = [0; 8];
            while seen != 0 {
                self.list.push(at * 8 + seen.trailing_zeros() as usize / 8);
                seen &= seen - 1;
            }
        }
    }
}

/// A row and its class.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClassRow {
    pub row: u32,
    pub class: u32,
    /// How often it counts.
    pub weight: u32,
}

/// Leaves of few classes: by Gini's impurity or by entropy. All counts are whole numbers, so that equally good cuts
/// are found equal.
pub(crate) struct Classes {
    entropy: bool,
    sizes: Sizes,
    /// Counts of all classes, 0 between nodes.
    tally: Vec<u32>,
    /// The classes of the node in the order of being met, and the place of each class there.
    present: Vec<u32>,
    places: Vec<u32>,
    /// Of the node: the place of each row's class, and the rows of each class.
    labels: Vec<u32>,
    totals: Vec<u32>,
    /// For each bin the rows of each class of the node; 0 between columns.
    counts: Vec<u32>,
    seen: Seen,
    left: Vec<u32>,
    right: Vec<u32>,
    /// The distributions of the leaves, and where each stands: few are different, as most leaves are pure.
    values: Vec<f64>,
    known: BTreeMap<Vec<u64>, usize>,
}

impl Classes {
    pub fn of(classes: usize, entropy: bool, sizes: Sizes) -> Self {
        Self {
            entropy,
            sizes,
            tally: vec![0; classes],
            present: Vec::new(),
            places: vec![0; classes],
            labels: Vec::new(),
            totals: Vec::new(),
            counts: Vec::new(),
            seen: Seen::new(),
            left: Vec::new(),
            right: Vec::new(),
            values: Vec::new(),
            known: BTreeMap::new(),
        }
    }
}

fn squares(counts: &[u32]) -> u64 {
    counts.iter().map(|count| u64::from(*count) * u64::from(*count)).sum()
}

/// `Σ c ln c - n ln n`: the rows times the entropy, below 0.
fn disorder(counts: &[u32], rows: u64) -> f64 {
    let part = |count: f64| if count > 0.0 { count * ln(count) } else { 0.0 };
    counts.iter().map(|count| part(f64::from(*count))).sum::<f64>() - part(rows as f64)
}

impl Goal for Classes {
    type Item = ClassRow;

    fn row(item: &ClassRow) -> usize {
        item.row as usize
    }

    fn begin(&mut self, items: &[ClassRow]) -> bool {
        self.present.clear();
        for item in items {
            let count = &mut self.tally[item.class as usize];
            if *count == 0 {
                self.places[item.class as usize] = self.present.len() as u32;
                self.present.push(item.class);
            }
            *count += item.weight;
        }
        let tally = &mut self.tally;
        self.totals.clear();
        self.totals.extend(self.present.iter().map(|class| std::mem::take(&mut tally[*class as usize])));
        let classes = self.present.len();
        let rows: u64 = self.totals.iter().map(|count| u64::from(*count)).sum();
        if classes < 2 || rows < self.sizes.min_split {
            return false;
        }
        self.labels.clear();
        self.labels.extend(items.iter().map(|item| self.places[item.class as usize]));
        if self.counts.len() < MOST * classes {
            self.counts.resize(MOST * classes, 0);
        }
        true
    }

    fn cut(&mut self, items: &[ClassRow], column: &Column) -> Option<(f64, usize, usize)> {
        let classes = self.present.len();
        for (item, label) in items.iter().zip(&self.labels) {
            let code = column.codes[item.row as usize];
            self.counts[usize::from(code) * classes + *label as usize] += item.weight;
            self.seen.add(code);
        }
        self.seen.take();
        self.left.clear();
        self.left.resize(classes, 0);
        self.right.clear();
        self.right.extend(&self.totals);
        let rows: u64 = self.totals.iter().map(|count| u64::from(*count)).sum();
        let (mut lefts, mut left_squares, mut right_squares) = (0, 0, squares(&self.totals));
        let before = match self.entropy {
            true => disorder(&self.totals, rows),
            false => right_squares as f64 / rows as f64,
        };
        let mut best: Option<(f64, usize, usize)> = None;
        let mut lower = None;
        for bin in &self.seen.list {
            let rights = rows - lefts;
            if let Some(lower) = lower
                && lefts >= self.sizes.min_leaf
                && rights >= self.sizes.min_leaf
            {
                let after = match self.entropy {
                    true => disorder(&self.left, lefts) + disorder(&self.right, rights),
                    false => left_squares as f64 / lefts as f64 + right_squares as f64 / rights as f64,
                };
                if best.is_none_or(|(gain, ..)| after - before > gain) {
                    best = Some((after - before, lower, *bin));
                }
            }
            let cell = &mut self.counts[bin * classes..][..classes];
            for ((count, left), right) in cell.iter_mut().zip(&mut self.left).zip(&mut self.right) {
                // (a + c)² = a² + c (2a + c), and (a - c)² = a² - c (2a - c)
                let moved = u64::from(*count);
                left_squares += moved * (2 * u64::from(*left) + moved);
                right_squares -= moved * (2 * u64::from(*right) - moved);
                *left += *count;
                *right -= *count;
                lefts += moved;
                *count = 0;
            }
            lower = Some(*bin);
        }
        best
    }

    fn leaf(&mut self, items: &[ClassRow]) -> usize {
        let mut rows = 0_u64;
        for item in items {
            self.tally[item.class as usize] += item.weight;
            rows += u64::from(item.weight);
        }
        let share = |count: &mut u32| f64::from(std::mem::take(count)) / rows as f64;
        let shares: Vec<f64> = self.tally.iter_mut().map(share).collect();
        let next = self.known.len();
        let leaf = *self.known.entry(shares.iter().map(|share| share.to_bits()).collect()).or_insert(next);
        if leaf == next {
            self.values.extend(shares);
        }
        leaf
    }

    fn into_values(self) -> Vec<f64> {
        self.values
    }
}

/// A row and its value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ValueRow {
    pub row: u32,
    /// How often it counts.
    pub weight: u32,
    /// Of [`Level::sized`].
    pub value: f64,
}

/// Values brought near 0 and 1, so that their squares neither overflow nor lose what differs between them.
pub(crate) struct Level {
    /// A power of two: dividing by it loses nothing.
    scale: f64,
    mean: f64,
}

impl Level {
    pub fn of(values: &[f64]) -> Self {
        let largest = values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let scale = f64::from_bits((largest.to_bits() >> 52).max(1) << 52);
        let mean = values.iter().map(|value| value / scale).sum::<f64>() / values.len() as f64;
        Self { scale, mean }
    }

    /// Near 1 and not centred, which loses nothing. What is small beside the mean of all may be all that differs in
    /// some node: each takes off its own mean.
    pub fn sized(&self, value: f64) -> f64 {
        value / self.scale
    }

    pub fn centred(&self, value: f64) -> f64 {
        self.sized(value) - self.mean
    }

    /// A difference of centred values as one of the values themselves.
    pub fn difference(&self, centred: f64) -> f64 {
        (centred * self.scale).clamp(-f64::MAX, f64::MAX)
    }

    /// What was centred, again.
    pub fn value(&self, centred: f64) -> f64 {
        self.difference(centred + self.mean)
    }

    /// The mean of weighted values: within them, whatever is rounded.
    fn mean_of(&self, values: impl Iterator<Item = (f64, f64)>) -> f64 {
        let (mut sum, mut weights) = (0.0, 0.0);
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for (value, weight) in values {
            sum += value / self.scale * weight;
            weights += weight;
            least = least.min(value);
            most = most.max(value);
        }
        (sum / weights * self.scale).max(least).min(most)
    }
}

/// Leaves of values near their mean: by squared error.
pub(crate) struct Means<'a> {
    sizes: Sizes,
    level: &'a Level,
    /// As they were given.
    target: &'a [f64],
    /// Of the node: its mean, the rows, and what values are above the mean, added up: 0, but for what is rounded.
    mean: f64,
    sum: f64,
    rows: u64,
    sums: Box<[(f64, u64)]>,
    seen: Seen,
    values: Vec<f64>,
}

impl<'a> Means<'a> {
    pub fn of(target: &'a [f64], level: &'a Level, sizes: Sizes) -> Self {
        let sums = vec![(0.0, 0); MOST].into_boxed_slice();
        let (mean, sum, rows) = (0.0, 0.0, 0);
        Self { sizes, level, target, mean, sum, rows, sums, seen: Seen::new(), values: Vec::new() }
    }

    /// By how much a row is above the mean of the node, as often as it counts. Without the mean the squares of two
    /// sides would nearly cancel that of the whole where the mean is far from 0, as it is in all nodes but one if a
    /// single value is huge.
    fn above(&self, item: &ValueRow) -> f64 {
        (item.value - self.mean) * f64::from(item.weight)
    }
}

impl Goal for Means<'_> {
    type Item = ValueRow;

    fn row(item: &ValueRow) -> usize {
        item.row as usize
    }

    fn begin(&mut self, items: &[ValueRow]) -> bool {
        let mut sum = 0.0;
        self.rows = 0;
        for item in items {
            sum += item.value * f64::from(item.weight);
            self.rows += u64::from(item.weight);
        }
        self.mean = sum / self.rows as f64;
        self.sum = items.iter().map(|item| self.above(item)).sum();
        self.rows >= self.sizes.min_split && items.iter().any(|item| item.value != items[0].value)
    }

    fn cut(&mut self, items: &[ValueRow], column: &Column) -> Option<(f64, usize, usize)> {
        for item in items {
            let code = column.codes[item.row as usize];
            let above = self.above(item);
            let (sum, rows) = &mut self.sums[usize::from(code)];
            *sum += above;
            *rows += u64::from(item.weight);
            self.seen.add(code);
        }
        self.seen.take();
        let before = self.sum * self.sum / self.rows as f64;
        let (mut left, mut lefts) = (0.0, 0);
        let mut best: Option<(f64, usize, usize)> = None;
        let mut lower = None;
        for bin in &self.seen.list {
            let rights = self.rows - lefts;
            if let Some(lower) = lower
                && lefts >= self.sizes.min_leaf
                && rights >= self.sizes.min_leaf
            {
                let right = self.sum - left;
                let gain = left * left / lefts as f64 + right * right / rights as f64 - before;
                if best.is_none_or(|(best, ..)| gain > best) {
                    best = Some((gain, lower, *bin));
                }
            }
            let (sum, rows) = std::mem::take(&mut self.sums[*bin]);
            left += sum;
            lefts += rows;
            lower = Some(*bin);
        }
        best
    }

    fn leaf(&mut self, items: &[ValueRow]) -> usize {
        let values = items.iter().map(|item| (self.target[item.row as usize], f64::from(item.weight)));
        self.values.push(self.level.mean_of(values));
        self.values.len() - 1
    }

    fn into_values(self) -> Vec<f64> {
        self.values
    }
}
