//! Grows a tree over bins: always the split that gains most next, until nothing is left to split.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use lagar_flow::Result;

use super::bins::Bins;
use super::stored::{Node, Tree};

/// How far a tree grows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub depth: usize,
    pub leaves: usize,
}

/// Where a node is split: rows whose bin is at most `bin` go left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    pub feature: usize,
    pub bin: u8,
    pub threshold: f64,
    /// By how much the impurity falls, for all rows of the node together.
    pub gain: f64,
}

/// What is kept of a node, and its best cut if it has one.
pub(crate) type Found<N> = (N, Option<Cut>);

/// Finds the best cut of a node, given what is counted of its rows.
pub(crate) trait Splitter {
    /// A row, with what is added up of it. They are moved so that those of a node stand side by side.
    type Item: Copy;
    /// What is kept of a node until it is split.
    type Node;

    fn row(item: &Self::Item) -> usize;

    fn root(&mut self, items: &[Self::Item], deeper: bool) -> Result<Found<Self::Node>>;

    /// Of both sides of a cut; nothing is looked for unless the tree may grow deeper.
    fn children(
        &mut self,
        parent: Self::Node,
        sides: [&[Self::Item]; 2],
        deeper: bool,
    ) -> Result<[Found<Self::Node>; 2]>;

    /// Makes a leaf of these rows, and says which.
    fn leaf(&mut self, items: &[Self::Item]) -> usize;
}

/// A node that can be split.
struct Open<N> {
    cut: Cut,
    /// In the order of being found, which decides between cuts that gain the same.
    number: usize,
    from: usize,
    to: usize,
    depth: usize,
    /// The split above and the side of it; the root has none.
    above: Option<(usize, usize)>,
    node: N,
}

impl<N> Open<N> {
    fn key(&self) -> (f64, Reverse<usize>) {
        (self.cut.gain, Reverse(self.number))
    }
}

impl<N> Ord for Open<N> {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((gain, number), (other_gain, other_number)) = (self.key(), other.key());
        gain.total_cmp(&other_gain).then(number.cmp(&other_number))
    }
}

impl<N> PartialOrd for Open<N> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<N> PartialEq for Open<N> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<N> Eq for Open<N> {}

/// The tree without the values of its leaves, which the splitter has. `importance` gets, for each column, what its
/// splits gained.
pub(crate) fn grow<S: Splitter>(
    bins: &Bins,
    splitter: &mut S,
    items: &mut [S::Item],
    limits: Limits,
    importance: &mut [f64],
) -> Result<Tree> {
    let mut nodes: Vec<Node> = Vec::new();
    let mut open = BinaryHeap::new();
    let mut spare = items.to_vec();
    let (node, cut) = splitter.root(items, limits.depth > 0 && limits.leaves > 1)?;
    match cut {
        Some(cut) => {
            open.push(Open { cut, number: 0, from: 0, to: items.len(), depth: 0, above: None, node });
        }
        None => {
            splitter.leaf(items);
        }
    }
    let mut number = 1;
    // A tree of `n` splits has `n + 1` leaves.
    while nodes.len() + 1 < limits.leaves
        && let Some(best) = open.pop()
    {
        let Open { cut, from, to, depth, above, node, .. } = best;
        let here = nodes.len();
        if let Some((split, side)) = above {
            nodes[split].next[side] = here as i32;
        }
        nodes.push(Node { threshold: cut.threshold, feature: cut.feature as u32, next: [-1; 2] });
        importance[cut.feature] += cut.gain.max(0.0);
        let codes = &bins.columns[cut.feature].codes;
        let middle = from + part(&mut items[from..to], &mut spare, |item| codes[S::row(item)] <= cut.bin);
        let (left, right) = (&items[from..middle], &items[middle..to]);
        let children = splitter.children(node, [left, right], depth + 1 < limits.depth)?;
        for (side, ((node, cut), (from, to))) in
            children.into_iter().zip([(from, middle), (middle, to)]).enumerate()
        {
            match cut {
                Some(cut) => {
                    let above = Some((here, side));
                    open.push(Open { cut, number, from, to, depth: depth + 1, above, node });
                    number += 1;
                }
                None => nodes[here].next[side] = reference(splitter.leaf(&items[from..to])),
            }
        }
    }
    // Those that could be split, had the tree more leaves.
    for left in open.into_sorted_vec() {
        let leaf = splitter.leaf(&items[left.from..left.to]);
        if let Some((split, side)) = left.above {
            nodes[split].next[side] = reference(leaf);
        }
    }
    Ok(Tree { nodes, values: Vec::new() })
}

/// How a leaf is referred to.
fn reference(leaf: usize) -> i32 {
    !(leaf as i32)
}

/// Brings those that go left to the front, and says how many they are. Both sides keep their order, so that rows stay
/// in the order of memory. Without a branch: which side comes next cannot be guessed.
fn part<T: Copy>(items: &mut [T], spare: &mut [T], left: impl Fn(&T) -> bool) -> usize {
    let (mut lefts, mut rights) = (0, 0);
    for at in 0..items.len() {
        let item = items[at];
        let goes_left = left(&item);
        items[lefts] = item;
        spare[rights] = item;
        lefts += usize::from(goes_left);
        rights += usize::from(!goes_left);
    }
    items[lefts..].copy_from_slice(&spare[..rights]);
    lefts
}
