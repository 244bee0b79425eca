//! Trees laid out for asking many rows.
//!
//! A threshold is only ever compared with values of its column, so its place among all thresholds of that column says
//! as much as the number itself. What a row is asked are small integers then, found once for all trees, and a step
//! down is one load of eight bytes, a comparison and an addition: the children of a split stand side by side. The first
//! levels of a tree are few splits that all rows meet, so that each is asked of several rows by one instruction,
//! whether they come by it or not, and takes from them the ends that they cannot reach any more (Lucchese and others,
//! QuickScorer, 2015).

use std::{
    array,
    hint::{black_box, select_unpredictable},
    ops::{BitAnd, BitOr},
};

use ndarray::ArrayView2;

use super::stored::{Node, Tree};

/// So many rows go down a tree side by side: each waits for memory while the others go on.
const LANES: usize = 8;
/// The levels of a tree that are asked of several rows at once. With each more there are twice as many splits.
const TOP: usize = 4;
/// So many ends has the top.
const ENDS: usize = 1 << TOP;
/// By split of the top, level by level, a bit for each end that lies on its left.
const LEFT: [u16; ENDS - 1] = {
    let mut left = [0; ENDS - 1];
    let mut level = 0;
    while level < TOP {
        // So many ends lie on either side of a split of this level.
        let side = ENDS >> (level + 1);
        let mut at = 0;
        while at < 1 << level {
            left[(1 << level) - 1 + at] = ((1 << side) - 1) << (2 * side * at);
            at += 1;
        }
        level += 1;
    }
    left
};
/// In a deep tree it is asked after so many steps whether all rows have arrived: a step from a leaf leads to itself.
const STRIDE: usize = 8;
/// What the processor fetches from memory at once, in bytes.
const LINE: usize = 64;

/// Some trees for the same columns.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Walk {
    /// Columns, thresholds of each and splits are few enough for 16 bits.
    Small(Paths<i16>),
    Large(Paths<i32>),
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
        let most_thresholds = thresholds.iter().map(Vec::len).max().unwrap_or(0);
        let most_nodes = trees.iter().map(|tree| tree.nodes.len()).max().unwrap_or(0);
        let ways = trees.iter().flat_map(|tree| &tree.nodes).flat_map(|node| node.next);
        let last_leaf = ways.filter(|to| *to < 0).map(|to| !to as usize).max().unwrap_or(0);
        // The largest number of all stands for a leaf, of which a tree has one more than splits.
        let is_small = most_thresholds < i16::MAX as usize
            && [2 * most_nodes, last_leaf, columns * LANES].iter().all(|most| *most < usize::from(u16::MAX));
        match is_small {
            true => Walk::Small(Paths::of(trees, thresholds)),
            false => Walk::Large(Paths::of(trees, thresholds)),
        }
    }
}

/// A place, which uses all its bits, or a rank, which does not use the sign: numbers with a sign are what processors
/// compare several of at once.
pub(super) trait Rank:
    Copy + Ord + Default + BitAnd<Output = Self> + BitOr<Output = Self> + 'static
{
    const MAX: Self;

    fn of(number: usize) -> Self;
    fn place(self) -> usize;
}

impl Rank for i16 {
    const MAX: Self = i16::MAX;

    fn of(number: usize) -> Self {
        number as Self
    }

    fn place(self) -> usize {
        usize::from(self.cast_unsigned())
    }
}

impl Rank for i32 {
    const MAX: Self = i32::MAX;

    fn of(number: usize) -> Self {
        number as Self
    }

    fn place(self) -> usize {
        self.cast_unsigned() as usize
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
    top: Top<R>,
    steps: Vec<Step<R>>,
    /// So many steps lead from the end of the top to every leaf.
    depth: usize,
}

/// The first [`TOP`] levels, level by level: below the split at `i` are those at `2 * i + 1` and `2 * i + 2`.
#[derive(Debug, Clone, PartialEq)]
struct Top<R> {
    features: [R; ENDS - 1],
    /// Once for each row that is asked.
    ranks: [[R; LANES]; ENDS - 1],
    /// The step at which each end comes out, from left to right.
    ends: [R; ENDS],
}

impl<R: Rank> Top<R> {
    fn of(steps: &[Step<R>]) -> Self {
        // Below a leaf is that leaf again: nothing is more than its rank.
        let mut levels = vec![0];
        for at in 0..ENDS - 1 {
            let here = levels[at];
            let next = steps[here].next.place();
            levels.extend([next, next + usize::from(next != here)]);
        }
        Self {
            features: array::from_fn(|at| R::of(steps[levels[at]].rank_at.place() / LANES)),
            ranks: array::from_fn(|at| [steps[levels[at]].rank; LANES]),
            ends: array::from_fn(|end| R::of(levels[ENDS - 1 + end])),
        }
    }

    /// The steps at which rows come out, by the ranks of each column.
    fn down(&self, ranks: &[[R; LANES]]) -> [u32; LANES] {
        // The ends that a row does not reach: who goes right leaves behind all on the left.
        let mut left_behind = [R::default(); LANES];
        for ((feature, at_most), left) in self.features.iter().zip(&self.ranks).zip(LEFT) {
            let (ranks, left) = (&ranks[feature.place()], R::of(usize::from(left)));
            left_behind = array::from_fn(|lane| {
                let more = if ranks[lane] > at_most[lane] { left } else { R::default() };
                left_behind[lane] | more
            });
        }
        left_behind.map(|ends| self.ends[ends.place().trailing_ones() as usize % ENDS].place() as u32)
    }
}

/// A split, or a leaf: it leads to itself.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Step<R> {
    /// Where to go on for a rank of at most `rank`; the place behind it for more.
    next: R,
    /// Where among the ranks of some rows those of the column are.
    rank_at: R,
    rank: R,
    /// Of a leaf: which one.
    leaf: R,
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
        tree.fetch(leaves.len());
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

/// Brings `items` from memory, of which `rows` rows will take this one and that one, if they are enough to take most
/// of them: read in their order they come several times as fast, since the processor sees what will be next.
pub(super) fn fetch<T>(items: &[T], rows: usize, part: impl Fn(&T) -> u64) {
    let line = (LINE / size_of::<T>()).max(1);
    if rows >= items.len() / line {
        black_box(items.iter().step_by(line).map(part).fold(0, u64::wrapping_add));
    }
}

impl<R: Rank> Steps<R> {
    fn of(tree: &Tree, thresholds: &[Vec<f64>]) -> Self {
        let (mut steps, mut deepest) = (Vec::new(), 0);
        add_leaf(&mut steps, 0);
        // Splits to take up, each with the step that stands for it and how deep that lies.
        let mut open: Vec<(&Node, usize, usize)> =
            tree.nodes.first().map(|root| (root, 0, 0)).into_iter().collect();
        while let Some((node, at, depth)) = open.pop() {
            deepest = usize::max(deepest, depth + 1);
            let column = &thresholds[node.feature as usize];
            steps[at] = Step {
                next: R::of(steps.len()),
                rank_at: R::of(node.feature as usize * LANES),
                rank: R::of(column.partition_point(|threshold| *threshold < node.threshold)),
                leaf: R::default(),
            };
            for to in node.next {
                let child = add_leaf(&mut steps, to);
                if let Ok(split) = usize::try_from(to) {
                    open.push((&tree.nodes[split], child, depth + 1));
                }
            }
        }
        Self { top: Top::of(&steps), steps, depth: deepest.saturating_sub(TOP) }
    }

    fn fetch(&self, rows: usize) {
        fetch(&self.steps, rows, |step| step.next.place() as u64);
    }

    /// The leaves of rows, by the ranks of each column.
    fn down(&self, ranks: &[[R; LANES]]) -> [u32; LANES] {
        let mut at = self.top.down(ranks);
        let ranks = ranks.as_flattened();
        let mut left = self.depth;
        loop {
            let before = at;
            for _ in 0..left.min(STRIDE) {
                for (lane, at) in at.iter_mut().enumerate() {
                    // Without a branch: nobody could guess which way it goes.
                    let step = self.steps[*at as usize];
                    let rank = ranks[step.rank_at.place() + lane];
                    // As numbers without a sign: of these the processor adds whether it is more by itself.
                    *at = step.next.place() as u32 + u32::from(rank.place() > step.rank.place());
                }
            }
            left -= left.min(STRIDE);
            if left == 0 || at == before {
                break;
            }
        }
        at.map(|at| self.steps[at as usize].leaf.place() as u32)
    }
}

/// The place of a new step that is the leaf `to`, or will be a split.
fn add_leaf<R: Rank>(steps: &mut Vec<Step<R>>, to: i32) -> usize {
    let at = steps.len();
    let leaf = if to < 0 { !to as usize } else { 0 };
    steps.push(Step { next: R::of(at), rank_at: R::default(), rank: R::MAX, leaf: R::of(leaf) });
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
        arrives(&Paths::<i32>::of(&trees, paths.thresholds.clone()), &trees, &x);
    }

    #[test]
    fn more_thresholds_than_16_bits_count_are_told_apart() {
        // A chain: each split has one leaf, and the next.
        let chain = |thresholds: usize| {
            let next = |at: usize| if at + 1 < thresholds { [-1, at as i32 + 1] } else { [-2, -3] };
            let nodes = (0..thresholds).map(|at| split(0, at as f64, next(at)));
            [Tree { nodes: nodes.collect(), values: vec![0.0; 3] }]
        };
        let trees = chain(32_766);
        let Walk::Small(paths) = Walk::of(&trees, 1) else { panic!("few thresholds") };
        let x = Array2::from_shape_fn((4, 1), |(row, _)| [0.0, 0.5, 32_765.0, 32_766.0][row]);
        arrives(&paths, &trees, &x);
        let trees = chain(65_535);
        let Walk::Large(paths) = Walk::of(&trees, 1) else { panic!("many thresholds") };
        let x = Array2::from_shape_fn((4, 1), |(row, _)| [0.0, 0.5, 65_534.0, 65_535.0][row]);
        arrives(&paths, &trees, &x);
        assert!(matches!(Walk::of(&chain(32_767), 1), Walk::Large(_)));
    }

    #[test]
    fn trees_of_many_splits_leaves_or_columns_need_more_than_16_bits() {
        // All splits ask the same, so that only their number counts.
        let chain = |splits: usize| {
            let next = |at: usize| if at + 1 < splits { [-1, at as i32 + 1] } else { [-2, -3] };
            [Tree { nodes: (0..splits).map(|at| split(0, 0.5, next(at))).collect(), values: vec![0.0; 3] }]
        };
        assert!(matches!(Walk::of(&chain(32_767), 1), Walk::Small(_)));
        assert!(matches!(Walk::of(&chain(32_768), 1), Walk::Large(_)));
        let wide =
            |columns: u32| [Tree { nodes: vec![split(columns - 1, 0.5, [-1, -2])], values: vec![0.0; 2] }];
        let x =
            Array2::from_shape_fn((2, 8_191), |(row, column)| if column == 8_190 { row as f64 } else { 9.0 });
        let Walk::Small(paths) = Walk::of(&wide(8_191), 8_191) else { panic!("few columns") };
        arrives(&paths, &wide(8_191), &x);
        assert!(matches!(Walk::of(&wide(8_192), 8_192), Walk::Large(_)));
        let far = [Tree { nodes: vec![split(0, 0.5, [-1, -65_536])], values: vec![0.0; 65_536] }];
        let Walk::Large(paths) = Walk::of(&far, 1) else { panic!("many leaves") };
        arrives(&paths, &far, &Array2::from_shape_fn((2, 1), |(row, _)| row as f64));
    }
}
