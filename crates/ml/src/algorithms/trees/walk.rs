//! Trees laid out for asking many rows.
//!
//! A threshold is only ever compared with values of its column, so its place among all thresholds of that column says
//! as much as the number itself. What a row is asked are small integers then, found once for all trees, and a step
//! down is one load of eight bytes, a comparison and an addition: the children of a split stand side by side. The first
//! levels of a tree are few splits that all rows meet, so that each is asked of several rows by one instruction,
//! whether they come by it or not.

use std::{array, hint::select_unpredictable, ops::BitOr};

use ndarray::ArrayView2;

use super::stored::{Node, Tree};

/// So many rows go down a tree side by side: each waits for memory while the others go on.
const LANES: usize = 8;
/// The levels of a tree that are asked of several rows at once. With each more there are twice as many splits.
const TOP: usize = 4;
/// In a deep tree it is asked after so many steps whether all rows have arrived: a step from a leaf leads to itself.
const STRIDE: usize = 8;

/// Some trees for the same columns.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Walk {
    /// Columns and the thresholds of each are few enough for 16 bits.
    Small(Paths<u16>),
    Large(Paths<u32>),
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
        // The largest number of all stands for a leaf.
        let most = thresholds.iter().map(Vec::len).max().unwrap_or(0).max(columns);
        match most < usize::from(u16::MAX) {
            true => Walk::Small(Paths::of(trees, thresholds)),
            false => Walk::Large(Paths::of(trees, thresholds)),
        }
    }
}

/// What counts columns and thresholds.
pub(super) trait Rank: Copy + Ord + Default + BitOr<Output = Self> + 'static {
    const MAX: Self;

    fn of(number: usize) -> Self;
    fn place(self) -> usize;
}

impl Rank for u16 {
    const MAX: Self = u16::MAX;

    fn of(number: usize) -> Self {
        number as Self
    }

    fn place(self) -> usize {
        usize::from(self)
    }
}

impl Rank for u32 {
    const MAX: Self = u32::MAX;

    fn of(number: usize) -> Self {
        number as Self
    }

    fn place(self) -> usize {
        self as usize
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Paths<R> {
    /// By column: every threshold once, ascending.
    thresholds: Vec<Vec<f64>>,
    trees: Vec<Steps<R>>,
}

/// A tree: its root, and behind that both children of each split.
#[derive(Debug, Clone, PartialEq)]
struct Steps<R> {
    steps: Vec<Step<R>>,
    /// By step the leaf that it is, if it is one.
    leaves: Vec<u32>,
    top: Top<R>,
    /// So many steps lead from the end of the top to every leaf.
    depth: usize,
}

/// The first [`TOP`] levels.
#[derive(Debug, Clone, PartialEq)]
struct Top<R> {
    /// Feature and rank of each step, level by level: below the one at `i` are those at `2 * i + 1` and `2 * i + 2`.
    steps: [(R, R); (1 << TOP) - 1],
    /// The step to which each way leads: a bit for each level, the first one highest, set where it was more.
    ends: [u32; 1 << TOP],
}

impl<R: Rank> Top<R> {
    fn of(steps: &[Step<R>]) -> Self {
        // Below a leaf is that leaf again: nothing is more than its rank.
        let mut levels = vec![0_u32];
        for at in 0..(1 << TOP) - 1 {
            let here = levels[at];
            let next = steps[here as usize].next;
            levels.extend([next, next + u32::from(next != here)]);
        }
        let asked = |at: usize| {
            let step = &steps[levels[at] as usize];
            (step.feature, step.rank)
        };
        Self { steps: array::from_fn(asked), ends: array::from_fn(|way| levels[(1 << TOP) - 1 + way]) }
    }

    /// The steps at which rows come out, by the ranks of each column.
    fn down(&self, ranks: &[[R; LANES]]) -> [u32; LANES] {
        // From each step on, the way to the end.
        let mut ways = [[R::default(); LANES]; (2 << TOP) - 1];
        for level in (0..TOP).rev() {
            let more = R::of(1 << (TOP - 1 - level));
            for at in (1 << level) - 1..(2 << level) - 1 {
                let (feature, rank) = self.steps[at];
                let (ranks, left, right) = (&ranks[feature.place()], ways[2 * at + 1], ways[2 * at + 2]);
                ways[at] = array::from_fn(|lane| match ranks[lane] > rank {
                    true => more | right[lane],
                    false => left[lane],
                });
            }
        }
        ways[0].map(|way| self.ends[way.place()])
    }
}

/// A split, or a leaf: it leads to itself.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Step<R> {
    /// Where to go on for a rank of at most `rank`; the place behind it for more.
    next: u32,
    feature: R,
    rank: R,
}

impl<R: Rank> Paths<R> {
    fn of(trees: &[Tree], thresholds: Vec<Vec<f64>>) -> Self {
        let trees = trees.iter().map(|tree| Steps::of(tree, &thresholds)).collect();
        Self { thresholds, trees }
    }

    /// Of each [`LANES`] rows, for each column, the ranks of their values: how many thresholds of the column are below
    /// each. The last ones may be of fewer rows, and have ranks that stand for nothing.
    pub fn ranks(&self, rows: ArrayView2<'_, f64>) -> Vec<[R; LANES]> {
        let columns = self.thresholds.len();
        let mut ranks = vec![[R::default(); LANES]; rows.nrows().div_ceil(LANES) * columns];
        for (at, (values, thresholds)) in rows.columns().into_iter().zip(&self.thresholds).enumerate() {
            let values = values.to_vec();
            for (ranks, values) in ranks[at..].iter_mut().step_by(columns).zip(values.chunks(LANES)) {
                let mut lanes = [0.0; LANES];
                lanes[..values.len()].copy_from_slice(values);
                *ranks = below(thresholds, lanes).map(R::of);
            }
        }
        ranks
    }

    /// The leaf of tree `number` for each row of `ranks`.
    pub fn leaves(&self, number: usize, ranks: &[[R; LANES]], leaves: &mut [u32]) {
        let tree = &self.trees[number];
        let rows = ranks.chunks_exact(self.thresholds.len());
        for (rows, leaves) in rows.zip(leaves.chunks_mut(LANES)) {
            leaves.iter_mut().zip(tree.down(rows)).for_each(|(leaf, found)| *leaf = found);
        }
    }
}

/// For each value how many of `thresholds`, which ascend, are below it; below what is not a number is none. By halves,
/// all values at once: each waits for memory while the others go on.
fn below(thresholds: &[f64], values: [f64; LANES]) -> [usize; LANES] {
    let mut from = [0; LANES];
    let mut left = thresholds.len();
    while left > 0 {
        let half = left.div_ceil(2);
        for (from, value) in from.iter_mut().zip(values) {
            let is_above = value > thresholds[*from + half - 1];
            *from += select_unpredictable(is_above, half, 0);
        }
        left -= half;
    }
    from
}

impl<R: Rank> Steps<R> {
    fn of(tree: &Tree, thresholds: &[Vec<f64>]) -> Self {
        let (mut steps, mut leaves, mut deepest) = (Vec::new(), Vec::new(), 0);
        add_leaf(&mut steps, &mut leaves, 0);
        // Splits to take up, each with the step that stands for it and how deep that lies.
        let mut open: Vec<(&Node, usize, usize)> =
            tree.nodes.first().map(|root| (root, 0, 0)).into_iter().collect();
        while let Some((node, at, depth)) = open.pop() {
            deepest = usize::max(deepest, depth + 1);
            let column = &thresholds[node.feature as usize];
            let rank = R::of(column.partition_point(|threshold| *threshold < node.threshold));
            steps[at] = Step { next: steps.len() as u32, feature: R::of(node.feature as usize), rank };
            for to in node.next {
                let child = add_leaf(&mut steps, &mut leaves, to);
                if let Ok(split) = usize::try_from(to) {
                    open.push((&tree.nodes[split], child, depth + 1));
                }
            }
        }
        Self { top: Top::of(&steps), steps, leaves, depth: deepest.saturating_sub(TOP) }
    }

    /// The leaves of rows, by the ranks of each column.
    fn down(&self, ranks: &[[R; LANES]]) -> [u32; LANES] {
        let mut at = self.top.down(ranks);
        let mut left = self.depth;
        loop {
            let before = at;
            for _ in 0..left.min(STRIDE) {
                for (lane, at) in at.iter_mut().enumerate() {
                    // Without a branch: nobody could guess which way it goes.
                    let step = self.steps[*at as usize];
                    *at = step.next + u32::from(ranks[step.feature.place()][lane] > step.rank);
                }
            }
            left -= left.min(STRIDE);
            if left == 0 || at == before {
                break;
            }
        }
        at.map(|at| self.leaves[at as usize])
    }
}

/// The place of a new step that is the leaf `to`, or will be a split.
fn add_leaf<R: Rank>(steps: &mut Vec<Step<R>>, leaves: &mut Vec<u32>, to: i32) -> usize {
    let at = steps.len();
    steps.push(Step { next: at as u32, feature: R::default(), rank: R::MAX });
    leaves.push(if to < 0 { !to as u32 } else { 0 });
    at
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    fn split(feature: u32, threshold: f64, next: [i32; 2]) -> Node {
        Node { threshold, feature, next }
    }

    /// By steps of this kind each row of `x` comes to the leaf that its values lead to.
    fn arrives<R: Rank>(paths: &Paths<R>, trees: &[Tree], x: &Array2<f64>) {
        let ranks = paths.ranks(x.view());
        for (number, tree) in trees.iter().enumerate() {
            let mut leaves = vec![9; x.nrows()];
            paths.leaves(number, &ranks, &mut leaves);
            for (leaf, row) in leaves.iter().zip(x.rows()) {
                assert_eq!(*leaf as usize, tree.leaf(row), "tree {number}, {row}");
            }
        }
    }

    #[test]
    fn every_row_comes_to_the_leaf_that_its_values_lead_to() {
        let tree = Tree {
            nodes: vec![split(1, 0.5, [1, -1]), split(0, -1.0, [-2, 2]), split(1, 0.25, [-3, -4])],
            values: vec![0.0; 4],
        };
        let stump = Tree { nodes: vec![split(0, 0.25, [-2, -1])], values: vec![0.0; 2] };
        // Seven levels; every fifth way is a leaf at once.
        let deep = |at: i32| {
            let next = |to: i32| if to % 5 == 3 || to > 126 { -1 - to } else { to };
            split(at as u32 % 2, f64::from(at * 7 % 19) / 10.0 - 1.0, [next(2 * at + 1), next(2 * at + 2)])
        };
        let deep = Tree { nodes: (0..127).map(deep).collect(), values: vec![0.0; 256] };
        let trees = [tree, stump, Tree { nodes: Vec::new(), values: vec![0.0] }, deep];
        let values = [f64::NEG_INFINITY, -1.0, 0.0, 0.25, 0.3, 0.5, 0.6, f64::INFINITY, f64::NAN, -0.0, 1.0];
        let x = Array2::from_shape_fn((121, 2), |(row, column)| values[[row / 11, row % 11][column]]);
        let Walk::Small(paths) = Walk::of(&trees, 2) else { panic!("few thresholds") };
        arrives(&paths, &trees, &x);
        arrives(&Paths::<u32>::of(&trees, paths.thresholds.clone()), &trees, &x);
    }

    #[test]
    fn more_thresholds_than_16_bits_count_are_told_apart() {
        // A chain: each split has one leaf, and the next.
        let chain = |thresholds: usize| {
            let next = |at: usize| if at + 1 < thresholds { [-1, at as i32 + 1] } else { [-2, -3] };
            let nodes = (0..thresholds).map(|at| split(0, at as f64, next(at)));
            [Tree { nodes: nodes.collect(), values: vec![0.0; 3] }]
        };
        assert!(matches!(Walk::of(&chain(65_534), 1), Walk::Small(_)));
        let trees = chain(65_535);
        let Walk::Large(paths) = Walk::of(&trees, 1) else { panic!("many thresholds") };
        let x = Array2::from_shape_fn((4, 1), |(row, _)| [0.0, 0.5, 65_534.0, 65_535.0][row]);
        arrives(&paths, &trees, &x);
    }
}
