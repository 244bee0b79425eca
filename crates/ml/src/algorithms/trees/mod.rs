//! What trees share: columns in bins, one builder for all of them, how trees are stored and asked.
//!
//! Why the trees are our own (looked up in the sources of the versions named):
//! - linfa-trees 0.8.1 adds f32 class weights in the order of a hash map, and the modal class of a tie is the last
//!   one of that order: other trees from run to run. It takes values nearer than 1e-5 for one (a column of small
//!   numbers is never split), walks over all rows for each node, keeps one label for a leaf (no probabilities),
//!   recurses, draws no features at a node, has no regression.
//! - linfa-ensemble 0.8.1 votes by the maximum of a hash map, draws features once a tree, runs on one thread.
//! - smartcore 0.7 (Apache-2.0) walks over all rows for each node too, sorts every column again for each tree, runs
//!   forests on one thread, which only vote (no probabilities), and refuses a single class.
//! - biosphere 0.4 (BSD-3) has only regression and stores nothing.
//! - forust-ml 0.8 (Apache-2.0, says that threads do not change its results) boosts two classes or squares only, and
//!   adds up in f32; perpetual 3.0 is a release candidate. Both bring rayon and store structures of their own.

pub(super) mod bins;
pub(super) mod boost;
pub(super) mod forest;
pub(super) mod goals;
pub(super) mod grow;
pub(super) mod stored;
mod walk;

/// Rows for tests: of two columns, the first of which tells row 0 from all others; the others have a step at 0.5 of the
/// second, and noise. Below 0: a row whose target shall be huge.
#[cfg(test)]
pub(super) fn beside_a_huge_one() -> (ndarray::Array2<f64>, Vec<f64>) {
    let mut random = forest::seeded(11, 0);
    let mut draw = || rand::Rng::gen_range(&mut random, 0.0..1.0);
    // A bin for each value.
    let x = ndarray::Array2::from_shape_fn((200, 2), |(row, column)| match (row, column) {
        (0, 0) => 1.0,
        (_, 0) => 0.0,
        (0, _) => 0.5,
        _ => draw(),
    });
    let mut target: Vec<f64> =
        x.column(1).iter().map(|x| if *x > 0.5 { 10.0 + draw() } else { draw() }).collect();
    target[0] = -1.0;
    (x, target)
}
