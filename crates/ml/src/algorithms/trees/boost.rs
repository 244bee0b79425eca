//! Gradient boosting (Friedman, Greedy Function Approximation, 2001) with Newton steps over bins (Chen and Guestrin,
//! XGBoost, 2016; Ke et al., LightGBM, 2017): each tree corrects what the ones before got wrong.

use std::sync::atomic::{AtomicBool, Ordering};

use lagar_flow::{Error, Result, codes};
use ndarray::{ArrayView2, Axis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bins::{Bins, Column};
use super::forest::{fit_in_memory, mixed, shared};
use super::grow::{Cut, Found, Limits, Splitter, grow};
use super::stored::{Tree, Trees};
use crate::algorithm::Training;
use crate::math::{exp, ln};
use crate::parallel;

/// The defaults are those of scikit-learn's HistGradientBoosting.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// How often the trees so far are corrected by another one (for more than two classes, one for each class).
    iterations: usize,
    /// How much of what is wrong a tree corrects: less needs more iterations, and often answers better.
    learning_rate: f64,
    /// The most leaves of a tree.
    max_leaves: usize,
    /// The most splits from the root of a tree to a leaf; absent: any number.
    max_depth: Option<usize>,
    /// The fewest rows in a leaf.
    min_leaf: usize,
    /// Pulls what leaves answer towards 0; from 0.
    l2: f64,
    /// Whether some rows are held back, and learning ends when they are no longer answered better. Absent: if there
    /// are more than 10,000 rows.
    early_stopping: Option<bool>,
    /// The part of the rows that is held back for this.
    validation_fraction: f64,
    /// After so many iterations without anything better learning ends; the trees up to the best are kept.
    patience: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            iterations: 100,
            learning_rate: 0.1,
            max_leaves: 31,
            max_depth: None,
            min_leaf: 20,
            l2: 0.0,
            early_stopping: None,
            validation_fraction: 0.1,
            patience: 10,
        }
    }
}

impl Params {
    /// As `Algorithm::check`.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let at_least_one = [
            ("iterations", Some(self.iterations)),
            ("max_depth", self.max_depth),
            ("min_leaf", Some(self.min_leaf)),
            ("patience", Some(self.patience)),
        ];
        if let Some((name, _)) = at_least_one.into_iter().find(|(_, value)| *value == Some(0)) {
            return Err((name, "must be at least 1".to_owned()));
        }
        if self.iterations > MOST_ITERATIONS {
            return Err(("iterations", format!("must be at most {MOST_ITERATIONS}")));
        }
        if self.max_leaves < 2 {
            return Err(("max_leaves", "must be at least 2".to_owned()));
        }
        if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) {
            return Err(("learning_rate", "must be more than 0 and at most 1".to_owned()));
        }
        if !(self.l2 >= 0.0 && self.l2.is_finite()) {
            return Err(("l2", "must not be negative".to_owned()));
        }
        match self.validation_fraction > 0.0 && self.validation_fraction < 1.0 {
            true => Ok(()),
            false => Err(("validation_fraction", "must be between 0 and 1".to_owned())),
        }
    }

    fn stops_early(&self, rows: usize) -> bool {
        self.early_stopping.unwrap_or(rows > 10_000)
    }
}

const MOST_ITERATIONS: usize = 100_000;

/// Histograms of more bytes than this are counted again instead of being kept.
const MOST_HISTOGRAMS: usize = 512 << 20;

/// What is corrected.
pub(crate) enum Loss<'a> {
    /// `½ (score - target)²`
    Squares(&'a [f64]),
    /// `-ln` of the probability of the class: of two classes the one score is `ln(p₁ / p₀)`, of more each has one.
    Log { codes: &'a [u32], classes: usize },
}

/// What was learned.
pub(crate) struct Boosted {
    /// The scores before any tree.
    pub base: Vec<f64>,
    /// One after the other for each score, again and again.
    pub trees: Trees,
    pub importance: Vec<f64>,
}

impl Loss<'_> {
    pub fn scores(&self) -> usize {
        match self {
            Loss::Squares(_) | Loss::Log { classes: ..3, .. } => 1,
            Loss::Log { classes, .. } => *classes,
        }
    }

    /// The best scores that are the same for all of these rows.
    fn base(&self, rows: &[u32]) -> Vec<f64> {
        match self {
            Loss::Squares(target) => {
                vec![rows.iter().map(|row| target[*row as usize]).sum::<f64>() / rows.len() as f64]
            }
            Loss::Log { codes, classes } => {
                let mut counts = vec![0.0_f64; *classes];
                rows.iter().for_each(|row| counts[codes[*row as usize] as usize] += 1.0);
                // A class all of whose rows were held back is rare, not impossible.
                let logs: Vec<f64> =
                    counts.iter().map(|count| ln(count.max(0.5) / rows.len() as f64)).collect();
                match self.scores() {
                    1 if *classes == 2 => vec![logs[1] - logs[0]],
                    1 => vec![0.0],
                    _ => logs,
                }
            }
        }
    }

    /// First and second derivative by one score of a row; `whole` is that of [`Loss::whole`].
    fn slope(&self, row: usize, score: usize, value: f64, whole: f64) -> (f64, f64) {
        match self {
            Loss::Squares(target) => (value - target[row], 1.0),
            Loss::Log { codes, .. } => {
                let sought = if self.scores() == 1 { 1 } else { score };
                let p = exp(value - whole);
                let own = f64::from(u8::from(codes[row] as usize == sought));
                (p - own, p * (1.0 - p))
            }
        }
    }

    /// `ln Σ e^score`, by which scores become probabilities.
    fn whole(&self, scores: impl Iterator<Item = f64> + Clone) -> f64 {
        match self {
            Loss::Squares(_) => 0.0,
            Loss::Log { .. } if self.scores() == 1 => log_of_sum(scores.chain([0.0])),
            Loss::Log { .. } => log_of_sum(scores),
        }
    }

    fn of_row(&self, row: usize, scores: impl Iterator<Item = f64> + Clone) -> f64 {
        match self {
            Loss::Squares(target) => {
                let missed = scores.sum::<f64>() - target[row];
                missed * missed / 2.0
            }
            Loss::Log { codes, .. } => {
                let code = codes[row] as usize;
                let own = match self.scores() {
                    1 if code == 0 => 0.0,
                    1 => scores.clone().sum(),
                    _ => scores.clone().nth(code).unwrap_or(0.0),
                };
                self.whole(scores) - own
            }
        }
    }
}

/// `ln Σ e^v`, without overflow.
fn log_of_sum(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = values.clone().fold(f64::NEG_INFINITY, f64::max);
    most + ln(values.map(|value| exp(value - most)).sum())
}

/// The probabilities that scores stand for, in their place.
pub(crate) fn probabilities(scores: &mut [f64]) {
    let whole = log_of_sum(scores.iter().copied());
    scores.iter_mut().for_each(|score| *score = exp(*score - whole));
    let sum: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
}

/// Some rows and their scores so far: for each score, those of all rows.
struct Scored<'a> {
    rows: &'a [u32],
    scores: Vec<Vec<f64>>,
}

impl<'a> Scored<'a> {
    fn of(rows: &'a [u32], base: &[f64]) -> Self {
        Self { rows, scores: base.iter().map(|base| vec![*base; rows.len()]).collect() }
    }

    fn of_row(&self, at: usize) -> impl Iterator<Item = f64> + Clone {
        self.scores.iter().map(move |scores| scores[at])
    }

    fn loss(&self, loss: &Loss<'_>) -> f64 {
        let each = self.rows.iter().enumerate();
        let sum: f64 = each.map(|(at, row)| loss.of_row(*row as usize, self.of_row(at))).sum();
        sum / self.rows.len() as f64
    }

    fn wholes(&self, loss: &Loss<'_>, threads: usize) -> Result<Vec<f64>> {
        let rows = self.rows.len();
        let threads = parallel::worth(rows * self.scores.len() * 10, threads);
        let parts = parallel::in_order(rows.div_ceil(PART), threads, |part| {
            let all = part * PART..rows.min((part + 1) * PART);
            all.map(|at| loss.whole(self.of_row(at))).collect::<Vec<f64>>()
        })?;
        Ok(parts.concat())
    }
}

/// Rows that one thread takes at once.
const PART: usize = 1 << 14;

pub(crate) fn boost(params: &Params, training: &Training<'_>, loss: &Loss<'_>) -> Result<Boosted> {
    let rows = fit_in_memory(training)?;
    let (held, learned) = held_back(params, rows, training.seed);
    let base = loss.base(&learned);
    let bins = Bins::of(training.x, training.threads)?;
    let places: Vec<usize> = held.iter().map(|row| *row as usize).collect();
    let x_held = training.x.select(Axis(0), &places);
    let mut learned = Scored::of(&learned, &base);
    let mut held = Scored::of(&held, &base);
    let mut importance = vec![0.0; bins.columns.len()];
    // That of the trees up to the best: the others are thrown away.
    let mut kept = importance.clone();
    let mut trees: Vec<Tree> = Vec::new();
    let mut best = (held.loss(loss), 0);
    for iteration in 1..=params.iterations {
        let Some(round) = one_round(params, training, loss, &bins, &learned)? else {
            break;
        };
        for (score, grown) in round.into_iter().enumerate() {
            add(&mut learned.scores[score], &grown.steps);
            add_held(&mut held.scores[score], &grown.tree, x_held.view());
            importance.iter_mut().zip(grown.importance).for_each(|(sum, gain)| *sum += gain);
            trees.push(grown.tree);
        }
        if held.rows.is_empty() {
            continue;
        }
        let now = held.loss(loss);
        if now < best.0 {
            best = (now, iteration);
            kept.clone_from(&importance);
        } else if iteration - best.1 >= params.patience {
            break;
        }
    }
    if !held.rows.is_empty() {
        trees.truncate(best.1 * loss.scores());
        importance = kept;
    }
    shared(&mut importance);
    let numbers = base.iter().chain(trees.iter().flat_map(|tree| &tree.values)).chain(&importance);
    if !numbers.copied().all(f64::is_finite) {
        return Err(Error::new(codes::PREDICTOR_DATA, "boosting went beyond all numbers")
            .hint("set a lower `learning_rate`, or some `l2`"));
    }
    Ok(Boosted { base, trees: Trees::of(training.features, 1, trees), importance })
}

/// The rows that are held back, and the others. Which they are depends on their number alone, not on what was drawn
/// before.
fn held_back(params: &Params, rows: u32, seed: u64) -> (Vec<u32>, Vec<u32>) {
    let all = 0..rows;
    if !params.stops_early(rows as usize) {
        return (Vec::new(), all.collect());
    }
    let held = |row: &u32| {
        let part = (mixed(seed, u64::from(*row)) >> 11) as f64 / (1_u64 << 53) as f64;
        part < params.validation_fraction
    };
    let (held, learned): (Vec<u32>, Vec<u32>) = all.clone().partition(held);
    if learned.is_empty() { (Vec::new(), all.collect()) } else { (held, learned) }
}

fn add(scores: &mut [f64], steps: &[f64]) {
    scores.iter_mut().zip(steps).for_each(|(score, step)| *score += step);
}

fn add_held(scores: &mut [f64], tree: &Tree, x: ArrayView2<'_, f64>) {
    scores.iter_mut().zip(x.rows()).for_each(|(score, row)| *score += tree.value(row));
}

/// A tree for one score.
struct Grown {
    tree: Tree,
    importance: Vec<f64>,
    /// What it adds to the score of each row that was learned from.
    steps: Vec<f64>,
}

/// A tree for each score; none if no tree has anything to split.
fn one_round(
    params: &Params,
    training: &Training<'_>,
    loss: &Loss<'_>,
    bins: &Bins,
    learned: &Scored<'_>,
) -> Result<Option<Vec<Grown>>> {
    let wholes = learned.wholes(loss, training.threads)?;
    let scores = loss.scores();
    let inside = (training.threads / scores).max(1);
    let split = AtomicBool::new(false);
    let grown = parallel::in_order(scores, training.threads, |score| {
        let values = &learned.scores[score];
        let each = learned.rows.iter().zip(values).zip(&wholes).enumerate();
        let mut items: Vec<Slope> = each
            .map(|(at, ((row, value), whole))| {
                let (gradient, hessian) = loss.slope(*row as usize, score, *value, *whole);
                Slope { row: *row, at: at as u32, gradient, hessian }
            })
            .collect();
        let mut splitter = Newton::of(params, bins, inside, items.len());
        let mut importance = vec![0.0; bins.columns.len()];
        let limits = Limits { depth: params.max_depth.unwrap_or(usize::MAX), leaves: params.max_leaves };
        let mut tree = grow(bins, &mut splitter, &mut items, limits, &mut importance)?;
        tree.values = splitter.values;
        split.fetch_or(!tree.nodes.is_empty(), Ordering::Relaxed);
        Ok::<_, Error>(Grown { tree, importance, steps: splitter.steps })
    })?;
    let grown = grown.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(split.into_inner().then_some(grown))
}

/// A row and the derivatives of its loss.
#[derive(Debug, Clone, Copy)]
struct Slope {
    row: u32,
    /// Its place among the rows that are learned from.
    at: u32,
    gradient: f64,
    hessian: f64,
}

/// The sums of a bin or of a node.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    gradient: f64,
    hessian: f64,
    rows: u32,
}

impl Sums {
    fn add(&mut self, item: &Slope) {
        self.gradient += item.gradient;
        self.hessian += item.hessian;
        self.rows += 1;
    }

    fn less(self, other: Sums) -> Sums {
        Sums {
            gradient: self.gradient - other.gradient,
            hessian: self.hessian - other.hessian,
            rows: self.rows - other.rows,
        }
    }

    fn of(items: &[Slope]) -> Sums {
        let mut sums = Sums::default();
        items.iter().for_each(|item| sums.add(item));
        sums
    }
}

/// Below this second derivative a leaf's answer would be arbitrary. The number is scikit-learn's.
const LEAST_HESSIAN: f64 = 1e-3;

/// The sums of all bins of all columns.
type Histogram = Vec<Sums>;

/// Finds cuts in histograms. That of one side is counted; the other's is what is left of the one above.
struct Newton<'a> {
    bins: &'a Bins,
    cells: usize,
    keep: bool,
    l2: f64,
    rate: f64,
    min_leaf: u32,
    threads: usize,
    values: Vec<f64>,
    steps: Vec<f64>,
}

impl<'a> Newton<'a> {
    fn of(params: &Params, bins: &'a Bins, threads: usize, rows: usize) -> Self {
        let cells = bins.columns.iter().map(Column::bins).sum();
        let bytes = cells * size_of::<Sums>();
        Self {
            bins,
            cells,
            keep: bytes.saturating_mul(params.max_leaves) <= MOST_HISTOGRAMS,
            l2: params.l2,
            rate: params.learning_rate,
            min_leaf: u32::try_from(params.min_leaf).unwrap_or(u32::MAX),
            threads,
            values: Vec::new(),
            steps: vec![0.0; rows],
        }
    }

    fn may_split(&self, items: &[Slope]) -> bool {
        items.len() as u64 >= 2 * u64::from(self.min_leaf)
    }

    fn threads_for(&self, rows: usize) -> usize {
        parallel::worth(rows * self.bins.columns.len(), self.threads)
    }

    /// A slice for each column.
    fn by_column<'h>(&self, histogram: &'h mut [Sums]) -> Vec<&'h mut [Sums]> {
        let mut rest = histogram;
        let mut parts = Vec::with_capacity(self.bins.columns.len());
        for column in &self.bins.columns {
            let (part, after) = rest.split_at_mut(column.bins());
            parts.push(part);
            rest = after;
        }
        parts
    }

    /// Counts `items` and finds their best cut.
    fn count(&self, items: &[Slope]) -> Result<Found<Option<Histogram>>> {
        if !self.may_split(items) {
            return Ok((None, None));
        }
        let mut histogram = vec![Sums::default(); self.cells];
        let all = Sums::of(items);
        let parts = self.by_column(&mut histogram).into_iter().enumerate().collect();
        let cuts = parallel::each(parts, self.threads_for(items.len()), |(feature, cells): (usize, _)| {
            fill(cells, &self.bins.columns[feature].codes, items);
            self.cut(feature, cells, all)
        })?;
        Ok((self.keep.then_some(histogram), best(cuts)))
    }

    /// A cut gains `left² / a + right² / b - all² / c`, with the sums of the gradients, and those of the hessians and
    /// `l2`. That is `(left / a - right / b)² · a · b / (a + b) - all² / c · l2 / (a + b)`, in which nothing cancels where
    /// both sides are far from 0 and near each other, as all rows are beside one whose target is huge.
    fn cut(&self, feature: usize, cells: &[Sums], all: Sums) -> Option<Cut> {
        let both = all.hessian + 2.0 * self.l2;
        let pulled = all.gradient * all.gradient / (all.hessian + self.l2) * (self.l2 / both);
        let gain = |left: Sums, right: Sums| {
            let (a, b) = (left.hessian + self.l2, right.hessian + self.l2);
            let apart = left.gradient / a - right.gradient / b;
            apart * apart * (a * b / both) - pulled
        };
        let enough = |sums: Sums| sums.rows >= self.min_leaf && sums.hessian >= LEAST_HESSIAN;
        let mut best: Option<(f64, usize, usize)> = None;
        let mut left = Sums::default();
        let mut lower = None;
        for (bin, cell) in cells.iter().enumerate().filter(|(_, cell)| cell.rows > 0) {
            let right = all.less(left);
            if let Some(lower) = lower
                && enough(left)
                && enough(right)
            {
                let gain = gain(left, right);
                if gain > best.map_or(0.0, |(gain, ..)| gain) {
                    best = Some((gain, lower, bin));
                }
            }
            left.gradient += cell.gradient;
            left.hessian += cell.hessian;
            left.rows += cell.rows;
            lower = Some(bin);
        }
        let (gain, lower, upper) = best?;
        let threshold = self.bins.columns[feature].threshold(lower, upper);
        Some(Cut { feature, bin: lower as u8, threshold, gain })
    }
}

fn fill(cells: &mut [Sums], codes: &[u8], items: &[Slope]) {
    for item in items {
        cells[usize::from(codes[item.row as usize])].add(item);
    }
}

/// The cut that gains most; of several the one of the first column.
fn best(cuts: Vec<Option<Cut>>) -> Option<Cut> {
    let better = |best: Cut, cut: Cut| if cut.gain > best.gain { cut } else { best };
    cuts.into_iter().flatten().reduce(better)
}

impl Splitter for Newton<'_> {
    type Item = Slope;
    type Node = Option<Histogram>;

    fn row(item: &Slope) -> usize {
        item.row as usize
    }

    fn root(&mut self, items: &[Slope], deeper: bool) -> Result<Found<Self::Node>> {
        if deeper { self.count(items) } else { Ok((None, None)) }
    }

    fn children(
        &mut self,
        parent: Self::Node,
        sides: [&[Slope]; 2],
        deeper: bool,
    ) -> Result<[Found<Self::Node>; 2]> {
        if !deeper || !sides.iter().any(|items| self.may_split(items)) {
            return Ok([(None, None), (None, None)]);
        }
        let Some(mut larger) = parent else {
            return Ok([self.count(sides[0])?, self.count(sides[1])?]);
        };
        let fewer = usize::from(sides[1].len() < sides[0].len());
        let (few, many) = (sides[fewer], sides[1 - fewer]);
        let (all_few, all_many) = (Sums::of(few), Sums::of(many));
        let mut smaller = vec![Sums::default(); self.cells];
        let parts = self.by_column(&mut smaller).into_iter().zip(self.by_column(&mut larger));
        let threads = self.threads_for(few.len());
        let parts = parts.enumerate().collect();
        let cuts = parallel::each(
            parts,
            threads,
            |(feature, (few_cells, cells)): (usize, (&mut [Sums], &mut [Sums]))| {
                fill(few_cells, &self.bins.columns[feature].codes, few);
                cells.iter_mut().zip(&*few_cells).for_each(|(cell, few)| *cell = cell.less(*few));
                (self.cut(feature, few_cells, all_few), self.cut(feature, cells, all_many))
            },
        )?;
        let (few_cuts, many_cuts) = cuts.into_iter().unzip();
        let mut found = [(Some(smaller), best(few_cuts)), (Some(larger), best(many_cuts))];
        if fewer == 1 {
            found.swap(0, 1);
        }
        Ok(found)
    }

    fn leaf(&mut self, items: &[Slope]) -> usize {
        let all = Sums::of(items);
        let curve = all.hessian + self.l2;
        let step = if curve > 0.0 { -self.rate * all.gradient / curve } else { 0.0 };
        items.iter().for_each(|item| self.steps[item.at as usize] = step);
        self.values.push(step);
        self.values.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn what_is_left_of_a_histogram_is_what_counting_finds() {
        let x = Array2::from_shape_fn((400, 3), |(row, column)| ((row * (7 + column) + column) % 97) as f64);
        let bins = Bins::of(x.view(), 1).unwrap();
        // Whole numbers add up without rounding: both ways must find the same bits.
        let slope = |row: u32| Slope {
            row,
            at: row,
            gradient: f64::from(row * row % 31) - 15.0,
            hessian: f64::from(1 + row % 3),
        };
        let found = |keep: bool| {
            let mut splitter = Newton::of(&Params::default(), &bins, 2, 400);
            splitter.keep = keep;
            let mut items: Vec<Slope> = (0..400).map(slope).collect();
            let limits = Limits { depth: 9, leaves: 12 };
            let mut tree = grow(&bins, &mut splitter, &mut items, limits, &mut [0.0; 3]).unwrap();
            tree.values = splitter.values;
            tree
        };
        assert_eq!(found(true), found(false));
        assert!(found(true).nodes.len() > 3);
    }
}
