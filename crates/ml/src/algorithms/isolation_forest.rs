//! Isolation forest (Liu, Ting and Zhou, Isolation Forest, 2008): what few random splits set apart is unusual.
//!
//! linfa has none.

use lagar_flow::Result;
use ndarray::{ArrayView2, Axis};
use rand::Rng;
use rand_xoshiro::Xoshiro256Plus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::trees::forest::{fit_in_memory, seeded};
use super::trees::stored::{Node, Tree, Trees};
use crate::algorithm::{Algorithm, Explanation, Fitted, Output, Task, Training};
use crate::math::{exp2, ln};
use crate::parallel::in_order;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// How many trees.
    trees: usize,
    /// How many rows are drawn for each tree, none of them twice.
    sample: usize,
    /// The part of the rows that is taken for unusual, up to a half. Instead of `threshold`.
    contamination: Option<f64>,
    /// From 0 to 1: rows of a higher score are unusual. Without it and `contamination`, 0.5: the score of a row that
    /// takes as many splits as rows do on average.
    threshold: Option<f64>,
}

impl Default for Params {
    fn default() -> Self {
        Self { trees: 100, sample: 256, contamination: None, threshold: None }
    }
}

/// The score of a row is `2^(-m / usual_path)`, where `m` is the mean of what the trees answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Isolation {
    /// A row of a higher score is unusual.
    threshold: f64,
    /// How many splits set a row apart on average, of as many as each tree learned from.
    usual_path: f64,
    /// A leaf answers how many splits set its rows apart: those above it, and those that its rows would still need.
    trees: Trees,
}

pub struct IsolationForest;

impl Algorithm for IsolationForest {
    const NAME: &'static str = "isolation_forest";
    const TASK: Task = Task::Outliers;
    const ABOUT: &'static str = "rows that few random splits set apart from the others";
    type Params = Params;
    type Fitted = Isolation;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        if params.trees == 0 || params.trees > 100_000 {
            return Err(("trees", "must be from 1 to 100000".to_owned()));
        }
        if params.sample < 2 {
            return Err(("sample", "must be at least 2".to_owned()));
        }
        if params.contamination.is_some_and(|part| !(part > 0.0 && part <= 0.5)) {
            return Err(("contamination", "must be more than 0 and at most 0.5".to_owned()));
        }
        if params.threshold.is_some_and(|score| !(0.0..=1.0).contains(&score)) {
            return Err(("threshold", "must be from 0 to 1".to_owned()));
        }
        match params.contamination.and(params.threshold) {
            Some(_) => Err(("threshold", "follows from `contamination`: give one of them".to_owned())),
            None => Ok(()),
        }
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<Isolation> {
        training.at_least(2, Self::NAME)?;
        let rows = fit_in_memory(training)?;
        let sample = params.sample.min(rows as usize);
        let trees = in_order(params.trees, training.threads, |tree| {
            let mut random = seeded(training.seed, tree as u64);
            let drawn = some_of(rows, sample, &mut random);
            isolate(training.x, drawn, &mut random)
        })?;
        let trees = Trees::of(training.features, 1, trees);
        let mut isolation = Isolation { threshold: 0.5, usual_path: usual_path(sample), trees };
        if let Some(threshold) = params.threshold {
            isolation.threshold = threshold;
        }
        if let Some(part) = params.contamination {
            let mut scores = isolation.scores(training.x, training.threads)?;
            scores.sort_unstable_by(f64::total_cmp);
            isolation.threshold = quantile(&scores, 1.0 - part);
        }
        Ok(isolation)
    }
}

/// `count` different rows of `rows` (Floyd's algorithm, Bentley and Floyd, 1987), in ascending order.
fn some_of(rows: u32, count: usize, random: &mut Xoshiro256Plus) -> Vec<u32> {
    let mut drawn = std::collections::BTreeSet::new();
    for last in rows - count as u32..rows {
        let row = random.gen_range(0..=last);
        if !drawn.insert(row) {
            drawn.insert(last);
        }
    }
    drawn.into_iter().collect()
}

/// The tree of these rows, not deeper than a balanced one. A column whose values are all alike splits nothing: it is
/// drawn among the others.
fn isolate(x: ArrayView2<'_, f64>, mut rows: Vec<u32>, random: &mut Xoshiro256Plus) -> Tree {
    let deepest = rows.len().next_power_of_two().ilog2();
    let mut tree = Tree::default();
    let mut columns: Vec<usize> = (0..x.ncols()).collect();
    // The part of `rows`, the depth, and the side of the split above.
    let mut open = vec![(0, rows.len(), 0, None)];
    while let Some((from, to, depth, above)) = open.pop() {
        let here = &mut rows[from..to];
        let split = if depth < deepest { random_split(x, here, &mut columns, random) } else { None };
        let reference = match split {
            Some((feature, threshold)) => {
                let left = |row: &u32| x[[*row as usize, feature]] <= threshold;
                let (mut ordered, rights): (Vec<u32>, Vec<u32>) = here.iter().copied().partition(left);
                let middle = from + ordered.len();
                ordered.extend(rights);
                here.copy_from_slice(&ordered);
                let place = tree.nodes.len();
                tree.nodes.push(Node { threshold, feature: feature as u32, next: [-1; 2] });
                open.push((middle, to, depth + 1, Some((place, 1))));
                open.push((from, middle, depth + 1, Some((place, 0))));
                place as i32
            }
            None => {
                tree.values.push(f64::from(depth) + usual_path(to - from));
                -(tree.values.len() as i32)
            }
        };
        if let Some((place, side)) = above {
            tree.nodes[place].next[side] = reference;
        }
    }
    tree
}

/// A column and a value within it, so that there are rows on both sides; none if all rows are alike.
fn random_split(
    x: ArrayView2<'_, f64>,
    rows: &[u32],
    columns: &mut [usize],
    random: &mut Xoshiro256Plus,
) -> Option<(usize, f64)> {
    for place in 0..columns.len() {
        let drawn = random.gen_range(place as u32..columns.len() as u32) as usize;
        columns.swap(place, drawn);
        let feature = columns[place];
        let column = x.index_axis(Axis(1), feature);
        let values = rows.iter().map(|row| column[*row as usize]);
        let (least, most) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
            (value.min(least), value.max(most))
        });
        if least < most {
            let part = random.gen_range(0.0..1.0);
            // In two terms, as the difference may be beyond all numbers.
            let between = least * (1.0 - part) + most * part;
            return Some((feature, if between < most { between.max(least) } else { least }));
        }
    }
    None
}

/// `c(n)` of the paper: how many splits an unsuccessful search in a binary search tree of `n` takes on average.
fn usual_path(rows: usize) -> f64 {
    /// Euler's constant.
    const GAMMA: f64 = 0.577_215_664_901_532_9;
    match rows {
        ..=1 => 0.0,
        2 => 1.0,
        _ => {
            let others = (rows - 1) as f64;
            2.0 * (ln(others) + GAMMA) - 2.0 * others / rows as f64
        }
    }
}

/// Between the two values that are nearest to the part of the way.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let at = part * (sorted.len() - 1) as f64;
    let (lower, upper) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    lower + (upper - lower) * at.fract()
}

impl Isolation {
    fn scores(&self, x: ArrayView2<'_, f64>, threads: usize) -> Result<Vec<f64>> {
        let trees = self.trees.len() as f64;
        let sums = self.trees.sums(x, 1, threads)?;
        Ok(sums.into_iter().map(|sum| exp2(-sum / trees / self.usual_path)).collect())
    }
}

impl Fitted for Isolation {
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Output> {
        let scores = self.scores(x, 1)?;
        let outliers = scores.iter().map(|score| *score > self.threshold).collect();
        Ok(Output::Scores { scores, outliers })
    }

    fn check(&self, columns: usize, _: usize) -> Result<(), String> {
        if self.usual_path <= 0.0 {
            return Err(format!("the usual path is {} splits long", self.usual_path));
        }
        self.trees.check_mean(columns, 1)
    }

    fn explain(&self) -> Explanation {
        let figures =
            vec![("threshold".to_owned(), self.threshold), ("usual path".to_owned(), self.usual_path)];
        Explanation { figures, ..Explanation::default() }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::algorithm::Target;

    /// By hand: `2 (ln 255 + 0.5772156649) - 510 / 256`.
    #[test]
    fn the_usual_path_is_that_of_the_paper() {
        assert!((usual_path(256) - 10.244_770_920_116_85).abs() < 1e-9);
        assert_eq!([usual_path(1), usual_path(2)], [0.0, 1.0]);
    }

    #[test]
    fn rows_are_drawn_once_and_alike() {
        let mut random = seeded(1, 2);
        let mut times = [0; 10];
        for _ in 0..3000 {
            let drawn = some_of(10, 4, &mut random);
            assert!(drawn.is_sorted_by(|a, b| a < b) && drawn.len() == 4);
            drawn.iter().for_each(|row| times[*row as usize] += 1);
        }
        // 1200 each; the standard deviation is 27.
        assert!(times.iter().all(|times| (1090..1310).contains(times)), "{times:?}");
    }

    #[test]
    fn what_stands_apart_has_the_highest_score_and_as_many_are_flagged_as_asked() {
        let mut random = seeded(9, 0);
        let mut x = Array2::from_shape_fn((500, 2), |_| random.gen_range(-1.0..1.0));
        x.row_mut(123).fill(9.0);
        let features = ["a".to_owned(), "b".to_owned()];
        let training =
            Training { x: x.view(), target: Target::None, features: &features, seed: 0, threads: 2 };
        let params = Params { contamination: Some(0.1), ..Params::default() };
        let forest = IsolationForest::fit(&params, &training).unwrap();
        let Output::Scores { scores, outliers } = forest.predict(x.view()).unwrap() else { panic!() };
        assert!(scores.iter().enumerate().all(|(row, score)| row == 123 || *score < scores[123]));
        assert!(scores[123] > 0.75, "{}", scores[123]);
        assert_eq!(outliers.iter().filter(|outlier| **outlier).count(), 50);
        let both = Params { threshold: Some(0.6), ..params };
        assert_eq!(IsolationForest::check(&both).unwrap_err().0, "threshold");
    }
}
