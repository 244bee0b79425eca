//! Trees laid out for asking many rows.
//!
//! A threshold is only ever compared with values of its column, so its place among all thresholds of that column says
//! as much as the number itself. What a row is asked are small integers then, found once for all trees, and a step
//! down is one load of twelve bytes, a comparison and an addition: the children of a split stand side by side.

use std::array;

use ndarray::ArrayView2;

use super::stored::{Node, Tree};

/// So many rows go down a tree side by side: each waits for memory while the others go on.
const LANES: usize = 8;

/// Some trees for the same columns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Walk {
    /// By column: every threshold once, ascending.
    thresholds: Vec<Vec<f64>>,
    trees: Vec<Steps>,
}

/// A tree: its root, and behind that both children of each split.
#[derive(Debug, Clone, PartialEq)]
struct Steps {
    steps: Vec<Step>,
    /// By step the leaf that it is, if it is one.
    leaves: Vec<u32>,
}

/// A split, or a leaf: it leads to itself.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Step {
    /// Where to go on for a rank of at most `rank`; the place behind it for more.
    next: u32,
    feature: u32,
    rank: u32,
}

impl Walk {
    pub fn of(trees: &[Tree], columns: usize) -> Self {
        let mut thresholds = vec![Vec::new(); columns];
        for node in trees.iter().flat_map(|tree| &tree.nodes) {
            thresholds[node.feature as usize].push(node.threshold);
        }
        for column in &mut thresholds {
            column.sort_unstable_by(f64::total_cmp);
            column.dedup();
        }
        let trees = trees.iter().map(|tree| Steps::of(tree, &thresholds)).collect();
        Self { thresholds, trees }
    }

    /// For each row the ranks of its values, one after the other: how many thresholds of the column are below it.
    pub fn ranks(&self, rows: ArrayView2<'_, f64>) -> Vec<u32> {
        let columns = self.thresholds.len();
        let mut ranks = vec![0; rows.len()];
        for (at, (values, thresholds)) in rows.columns().into_iter().zip(&self.thresholds).enumerate() {
            for (rank, value) in ranks[at..].iter_mut().step_by(columns).zip(values) {
                // Not a number is above none.
                *rank = thresholds.partition_point(|threshold| value > threshold) as u32;
            }
        }
        ranks
    }

    /// The leaf of tree `number` for each row of `ranks`.
    pub fn leaves(&self, number: usize, ranks: &[u32], leaves: &mut [u32]) {
        let columns = self.thresholds.len();
        let tree = &self.trees[number];
        let many = leaves.len() / LANES * LANES;
        let (lanes, rest) = ranks.split_at(many * columns);
        let (lane_leaves, rest_leaves) = leaves.split_at_mut(many);
        let lanes = lanes.chunks_exact(LANES * columns).zip(lane_leaves.chunks_exact_mut(LANES));
        lanes.for_each(|(rows, leaves)| tree.down::<LANES>(rows, leaves));
        let rest = rest.chunks_exact(columns).zip(rest_leaves.chunks_exact_mut(1));
        rest.for_each(|(row, leaf)| tree.down::<1>(row, leaf));
    }
}

impl Steps {
    fn of(tree: &Tree, thresholds: &[Vec<f64>]) -> Self {
        let mut made = Self { steps: Vec::new(), leaves: Vec::new() };
        made.add_leaf(0);
        // Splits to take up, each with the step that stands for it.
        let mut open: Vec<(&Node, usize)> = tree.nodes.first().map(|root| (root, 0)).into_iter().collect();
        while let Some((node, at)) = open.pop() {
            let column = &thresholds[node.feature as usize];
            let rank = column.partition_point(|threshold| *threshold < node.threshold) as u32;
            made.steps[at] = Step { next: made.steps.len() as u32, feature: node.feature, rank };
            for to in node.next {
                let child = made.add_leaf(to);
                if let Ok(split) = usize::try_from(to) {
                    open.push((&tree.nodes[split], child));
                }
            }
        }
        made
    }

    /// The place of a new step that is the leaf `to`, or will be a split.
    fn add_leaf(&mut self, to: i32) -> usize {
        let at = self.steps.len();
        self.steps.push(Step { next: at as u32, feature: 0, rank: u32::MAX });
        self.leaves.push(if to < 0 { !to as u32 } else { 0 });
        at
    }

    fn down<const ROWS: usize>(&self, ranks: &[u32], leaves: &mut [u32]) {
        let columns = ranks.len() / ROWS;
        let rows: [&[u32]; ROWS] = array::from_fn(|row| &ranks[row * columns..][..columns]);
        let mut at = [0_u32; ROWS];
        loop {
            let mut moved = 0;
            for (at, row) in at.iter_mut().zip(rows) {
                // Without a branch: nobody could guess which way it goes.
                let step = self.steps[*at as usize];
                let next = step.next + u32::from(row[step.feature as usize] > step.rank);
                moved |= next ^ *at;
                *at = next;
            }
            if moved == 0 {
                break;
            }
        }
        leaves.iter_mut().zip(at).for_each(|(leaf, at)| *leaf = self.leaves[at as usize]);
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn every_row_comes_to_the_leaf_that_its_values_lead_to() {
        let split = |feature, threshold, next| Node { threshold, feature, next };
        let tree = Tree {
            nodes: vec![split(1, 0.5, [1, -1]), split(0, -1.0, [-2, 2]), split(1, 0.25, [-3, -4])],
            values: vec![0.0; 4],
        };
        let stump = Tree { nodes: vec![split(0, 0.25, [-2, -1])], values: vec![0.0; 2] };
        let trees = [tree, stump, Tree { nodes: Vec::new(), values: vec![0.0] }];
        let values = [f64::NEG_INFINITY, -1.0, 0.0, 0.25, 0.3, 0.5, 0.6, f64::INFINITY, f64::NAN, -0.0, 1.0];
        let x = Array2::from_shape_fn((121, 2), |(row, column)| values[[row / 11, row % 11][column]]);
        let walk = Walk::of(&trees, 2);
        let ranks = walk.ranks(x.view());
        for (number, tree) in trees.iter().enumerate() {
            let mut leaves = vec![9; x.nrows()];
            walk.leaves(number, &ranks, &mut leaves);
            for (leaf, row) in leaves.iter().zip(x.rows()) {
                assert_eq!(*leaf as usize, tree.leaf(row), "tree {number}, {row}");
            }
        }
    }
}
