//! Trees as they are stored, and how they are asked.

use std::sync::OnceLock;

use lagar_flow::Result;
use ndarray::{ArrayView1, ArrayView2, Axis, Slice};
use serde::{Deserialize, Serialize, Serializer};

use super::super::shared::checks::as_many;
use super::walk::{Paths, Rank, Walk, fetch};
use crate::parallel;

/// A split: where a row goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Node {
    pub threshold: f64,
    pub feature: u32,
    /// For `x <= threshold` and for more. From 0: a split further down; below: the leaf `-1 - it`.
    pub next: [i32; 2],
}

/// One tree. Without a split everything is in leaf 0.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct Tree {
    pub nodes: Vec<Node>,
    /// What the leaves answer, one after the other; how many numbers a leaf has is said by [`Trees`].
    pub values: Vec<f64>,
}

/// The numbers of a tree. The first four have one for each split, in the order in which they were found: a split
/// stands before those below it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// The place of the column that is asked.
    feature: Vec<u32>,
    /// A row of which the column is at most this goes left.
    threshold: Vec<f64>,
    /// What is on the left: from 0 the place of a split; below, `-1 - place` of a leaf. A tree without splits is
    /// the leaf 0.
    left: Vec<i32>,
    right: Vec<i32>,
    /// What each leaf answers: `outputs` numbers for each, leaf after leaf. Leaves that answer the same may be one.
    values: Vec<f64>,
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nodes = self.nodes.iter();
        Written {
            feature: nodes.clone().map(|node| node.feature).collect(),
            threshold: nodes.clone().map(|node| node.threshold).collect(),
            left: nodes.clone().map(|node| node.next[0]).collect(),
            right: nodes.map(|node| node.next[1]).collect(),
            values: self.values.clone(),
        }
        .serialize(serializer)
    }
}

impl TryFrom<Written> for Tree {
    type Error = String;

    fn try_from(from: Written) -> Result<Self, String> {
        let splits = from.feature.len();
        if [from.threshold.len(), from.left.len(), from.right.len()] != [splits; 3] {
            return Err("`feature`, `threshold`, `left` and `right` are not of one length".to_owned());
        }
        let nodes = (0..splits).map(|at| Node {
            threshold: from.threshold[at],
            feature: from.feature[at],
            next: [from.left[at], from.right[at]],
        });
        let tree = Self { nodes: nodes.collect(), values: from.values };
        // A tree, not a net, which has more ways than anybody could lay out.
        let mut children: Vec<i32> =
            tree.nodes.iter().flat_map(|node| node.next).filter(|to| *to >= 0).collect();
        children.sort_unstable();
        if children.windows(2).any(|two| two[0] == two[1]) {
            return Err("two ways lead to one split".to_owned());
        }
        // Always further down: a row arrives.
        let loops = |(at, node): (usize, &Node)| node.next.iter().any(|to| *to >= 0 && *to as usize <= at);
        match tree.nodes.iter().enumerate().any(loops) {
            true => Err("a split leads back up".to_owned()),
            false => Ok(tree),
        }
    }
}

/// Some trees for the same columns.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub(crate) struct Trees {
    /// The columns of the matrix.
    features: Vec<String>,
    /// How many numbers a leaf answers.
    outputs: usize,
    trees: Vec<Tree>,
    /// The same laid out for asking, once somebody asks.
    #[serde(skip)]
    walk: OnceLock<Walk>,
}

/// Whether somebody asked them already makes no difference.
impl PartialEq for Trees {
    fn eq(&self, other: &Self) -> bool {
        (&self.features, self.outputs, &self.trees) == (&other.features, other.outputs, &other.trees)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    features: Vec<String>,
    outputs: usize,
    trees: Vec<Tree>,
}

impl TryFrom<Unchecked> for Trees {
    type Error = String;

    fn try_from(from: Unchecked) -> Result<Self, String> {
        for tree in &from.trees {
            let leaves = tree.values.len().checked_div(from.outputs).unwrap_or(0);
            let known = |to: &i32| match usize::try_from(*to) {
                Ok(split) => split < tree.nodes.len(),
                Err(_) => place(*to) < leaves,
            };
            let right =
                |node: &Node| (node.feature as usize) < from.features.len() && node.next.iter().all(known);
            if leaves == 0 || leaves * from.outputs != tree.values.len() || !tree.nodes.iter().all(right) {
                return Err("a tree asks a column or leads to a place that is not there".to_owned());
            }
        }
        Ok(Self::of(&from.features, from.outputs, from.trees))
    }
}

/// The place of a leaf, of a reference below 0.
fn place(to: i32) -> usize {
    !to as usize
}

impl Tree {
    /// The place of the leaf of one row.
    pub fn leaf(&self, row: ArrayView1<'_, f64>) -> usize {
        let mut at = if self.nodes.is_empty() { -1 } else { 0 };
        while at >= 0 {
            let node = &self.nodes[at as usize];
            at = node.next[usize::from(row[node.feature as usize] > node.threshold)];
        }
        place(at)
    }

    /// The answer for one row, of a tree whose leaves have one number.
    pub fn value(&self, row: ArrayView1<'_, f64>) -> f64 {
        self.values[self.leaf(row)]
    }
}

impl Trees {
    pub fn of(features: &[String], outputs: usize, trees: Vec<Tree>) -> Self {
        Self { features: features.to_vec(), outputs, trees, walk: OnceLock::new() }
    }

    pub fn change_values(&mut self, change: impl Fn(f64) -> f64) {
        let values = self.trees.iter_mut().flat_map(|tree| &mut tree.values);
        values.for_each(|value| *value = change(*value));
    }

    pub fn len(&self) -> usize {
        self.trees.len()
    }

    /// Whether they are for so many columns, and each of their leaves answers so many numbers. That a tree can be
    /// walked was looked at when it was read.
    pub fn check(&self, columns: usize, outputs: usize) -> Result<(), String> {
        as_many("names", self.features.len(), "columns", columns)?;
        as_many("numbers of a leaf", self.outputs, "answers", outputs)
    }

    /// As [`Trees::check`], and there must be one at least: the answer is their mean.
    pub fn check_mean(&self, columns: usize, outputs: usize) -> Result<(), String> {
        match self.trees.is_empty() {
            true => Err("there is no tree".to_owned()),
            false => self.check(columns, outputs),
        }
    }

    pub fn features(&self) -> &[String] {
        &self.features
    }

    /// Of all trees, also those that answer the same.
    pub fn leaves(&self) -> usize {
        self.trees.iter().map(|tree| tree.nodes.len() + 1).sum()
    }

    /// For each row `width` sums of what the trees answer, added in the order of the trees: tree after tree adds its
    /// numbers to the next ones of the sums, and after the last to the first again.
    pub fn sums(&self, x: ArrayView2<'_, f64>, width: usize, threads: usize) -> Result<Vec<f64>> {
        self.sums_where(x, width, threads, |_, _| true)
    }

    /// As [`Trees::sums`], of the rows for which a tree (the first number) is asked.
    pub fn sums_where(
        &self,
        x: ArrayView2<'_, f64>,
        width: usize,
        threads: usize,
        asked: impl Fn(usize, usize) -> bool + Sync,
    ) -> Result<Vec<f64>> {
        match self.walk.get_or_init(|| Walk::of(&self.trees, self.features.len())) {
            Walk::Small(paths) => self.sums_by(paths, x, width, threads, asked),
            Walk::Large(paths) => self.sums_by(paths, x, width, threads, asked),
        }
    }

    fn sums_by<R: Rank + Sync>(
        &self,
        paths: &Paths<R>,
        x: ArrayView2<'_, f64>,
        width: usize,
        threads: usize,
        asked: impl Fn(usize, usize) -> bool + Sync,
    ) -> Result<Vec<f64>> {
        let columns = x.ncols();
        // Up to 1 MiB (of many columns: 64 rows), and many rows: each tree of a forest that no cache holds is fetched
        // anew for each block.
        let rows = ((1 << 18) / columns).clamp(64, 8192);
        let threads = parallel::worth(x.nrows() * self.trees.len() * 8, threads);
        let blocks = parallel::in_order(x.nrows().div_ceil(rows), threads, |at| {
            let from = at * rows;
            let part = x.slice_axis(Axis(0), Slice::from(from..x.nrows().min(from + rows)));
            let ranks = paths.ranks(part);
            let mut leaves = vec![0; part.nrows()];
            let mut sums = vec![0.0; part.nrows() * width];
            for (number, tree) in self.trees.iter().enumerate() {
                paths.leaves(number, &ranks, &mut leaves);
                let asked = |row: usize| asked(number, from + row);
                fetch(&tree.values, leaves.len(), |value| value.to_bits());
                match (self.outputs, width) {
                    (1, 1) => add::<1>(&tree.values, &leaves, &mut sums, asked),
                    (2, 2) => add::<2>(&tree.values, &leaves, &mut sums, asked),
                    (outputs, width) => {
                        let first = number * outputs % width;
                        for (row, (sums, leaf)) in sums.chunks_exact_mut(width).zip(&leaves).enumerate() {
                            if asked(row) {
                                let values = &tree.values[*leaf as usize * outputs..][..outputs];
                                sums[first..].iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                            }
                        }
                    }
                }
            }
            sums
        })?;
        Ok(blocks.concat())
    }
}

/// Adds to the `WIDTH` sums of each row the numbers of its leaf, of the rows that are `asked`: what most trees answer,
/// in few instructions.
fn add<const WIDTH: usize>(values: &[f64], leaves: &[u32], sums: &mut [f64], asked: impl Fn(usize) -> bool) {
    let (values, sums) = (values.as_chunks::<WIDTH>().0, sums.as_chunks_mut::<WIDTH>().0);
    for (row, (sums, leaf)) in sums.iter_mut().zip(leaves).enumerate() {
        if asked(row) {
            let values = &values[*leaf as usize];
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn load(tree: Value) -> serde_json::Result<Trees> {
        serde_json::from_value(json!({"features": ["a", "b"], "outputs": 1, "trees": [tree]}))
    }

    #[test]
    fn what_could_not_be_walked_is_not_loaded() {
        let tree = |feature: Value, left: Value, values: Value| json!({"feature": feature, "threshold": [0.5, 0.5], "left": left, "right": [-2, -3], "values": values});
        let trees = load(tree(json!([0, 1]), json!([1, -1]), json!([1.0, 2.0, 3.0]))).unwrap();
        let x = ndarray::array![[0.0, 0.5], [0.0, 1.0], [1.0, 0.0]];
        assert_eq!(trees.sums(x.view(), 1, 1).unwrap(), [1.0, 3.0, 2.0]);
        for (feature, left, values) in [
            (json!([0, 2]), json!([1, -1]), json!([1.0, 2.0, 3.0])),
            (json!([0, 1]), json!([0, -1]), json!([1.0, 2.0, 3.0])),
            (json!([0, 1]), json!([2, -1]), json!([1.0, 2.0, 3.0])),
            (json!([0, 1]), json!([1, -4]), json!([1.0, 2.0, 3.0])),
            (json!([0, 1]), json!([1, i32::MIN]), json!([1.0, 2.0, 3.0])),
            (json!([0, 1]), json!([1]), json!([1.0, 2.0, 3.0])),
            // With the right side of the first split.
            (json!([0, 1, 0]), json!([1, 2, -1]), json!([1.0, 2.0, 3.0])),
            (json!([0, 1]), json!([1, -1]), json!([])),
        ] {
            assert!(load(tree(feature.clone(), left.clone(), values)).is_err(), "{feature} {left}");
        }
    }
}
