//! Finds the neighbours of a row without a look at all rows (Bentley: Multidimensional Binary Search Trees Used for
//! Associative Searching, 1975). With many columns it still looks at most of them.
//!
//! Written here as linfa-nn does not say how it decides between rows at the same distance, and its own k-d tree
//! panics on rows that are not contiguous in memory. Here the first row wins, and what is found is to the bit what
//! comparing with every row finds: a part is left out only if one column alone is too far away, and rounding keeps
//! the order of differences, squares and sums.

use std::collections::BinaryHeap;

use super::points::{Points, squared_distance};

/// Parts of so few rows are not cut further.
const LEAF: usize = 16;

/// A row that was found: the square of the distance, and its place.
pub(crate) type Found = (f64, usize);

#[derive(Debug)]
pub(crate) struct KdTree {
    points: Points,
    /// The places of the rows. Each part of them that is longer than a leaf has the row in its middle between
    /// those that are not greater and those that are not smaller, …
    order: Vec<usize>,
    /// … by the column that stands here, in the middle.
    columns: Vec<usize>,
}

impl KdTree {
    pub(crate) fn new(points: Points) -> Self {
        let mut order: Vec<usize> = (0..points.len()).collect();
        let mut columns = vec![0; points.len()];
        cut(&points, &mut order, &mut columns);
        Self { points, order, columns }
    }

    pub(crate) fn points(&self) -> &Points {
        &self.points
    }

    /// The rows whose squared distance is at most `limit`, in no particular order.
    pub(crate) fn within(&self, to: &[f64], limit: f64) -> Vec<usize> {
        let mut found = Vec::new();
        self.visit(to, 0, self.order.len(), &mut |distance, at| {
            if distance <= limit {
                found.push(at);
            }
            limit
        });
        found
    }

    /// The `count` nearest rows, the nearest first; of rows at one distance the first of the table.
    pub(crate) fn nearest(&self, to: &[f64], count: usize) -> Vec<Found> {
        // Squares are not negative, so their bits are in the order of their values.
        let mut best: BinaryHeap<(u64, usize)> = BinaryHeap::new();
        self.visit(to, 0, self.order.len(), &mut |distance, at| {
            let found = (distance.to_bits(), at);
            if best.len() < count {
                best.push(found);
            } else if let Some(mut worst) = best.peek_mut()
                && found < *worst
            {
                *worst = found;
            }
            let full = best.len() >= count;
            best.peek().filter(|_| full).map_or(f64::INFINITY, |worst| f64::from_bits(worst.0))
        });
        best.into_sorted_vec().into_iter().map(|(bits, at)| (f64::from_bits(bits), at)).collect()
    }

    /// Shows rows to `see`, which answers up to which squared distance it wants to see more.
    fn visit(&self, to: &[f64], from: usize, until: usize, see: &mut impl FnMut(f64, usize) -> f64) {
        if until - from <= LEAF {
            for at in &self.order[from..until] {
                see(squared_distance(self.points.row(*at), to), *at);
            }
            return;
        }
        let middle = from + (until - from) / 2;
        let row = self.points.row(self.order[middle]);
        let apart = to[self.columns[middle]] - row[self.columns[middle]];
        let (mut near, mut far) = ((from, middle), (middle + 1, until));
        if apart > 0.0 {
            (near, far) = (far, near);
        }
        self.visit(to, near.0, near.1, see);
        let limit = see(squared_distance(row, to), self.order[middle]);
        if apart * apart <= limit {
            self.visit(to, far.0, far.1, see);
        }
    }
}

fn cut(points: &Points, order: &mut [usize], columns: &mut [usize]) {
    if order.len() <= LEAF {
        return;
    }
    let middle = order.len() / 2;
    let column = widest(points, order);
    order.select_nth_unstable_by(middle, |a, b| {
        points.row(*a)[column].total_cmp(&points.row(*b)[column]).then(a.cmp(b))
    });
    columns[middle] = column;
    let (before, after) = order.split_at_mut(middle);
    let (columns_before, columns_after) = columns.split_at_mut(middle);
    cut(points, before, columns_before);
    cut(points, &mut after[1..], &mut columns_after[1..]);
}

/// The column in which these rows differ most.
fn widest(points: &Points, order: &[usize]) -> usize {
    let mut low = vec![f64::INFINITY; points.columns()];
    let mut high = vec![f64::NEG_INFINITY; points.columns()];
    for at in order {
        for ((low, high), value) in low.iter_mut().zip(&mut high).zip(points.row(*at)) {
            *low = low.min(*value);
            *high = high.max(*value);
        }
    }
    let mut widest = (0, f64::NEG_INFINITY);
    for (column, (low, high)) in low.iter().zip(&high).enumerate() {
        if high - low > widest.1 {
            widest = (column, high - low);
        }
    }
    widest.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few different values, so that there are many equal distances and equal rows.
        #[test]
        fn finds_what_comparing_with_every_row_finds(
            values in prop::collection::vec(prop::collection::vec(-4..4i8, 3), 0..200),
            to in prop::collection::vec(-5..5i8, 3),
            count in 1..30usize,
            limit in 0..20u8,
        ) {
            let numbers = |row: &[i8]| row.iter().map(|v| f64::from(*v) * 0.1).collect::<Vec<f64>>();
            let rows: Vec<Vec<f64>> = values.iter().map(|row| numbers(row)).collect();
            let (to, limit) = (numbers(&to), f64::from(limit) * 0.01);
            let tree = KdTree::new(Points::try_from(rows.clone()).unwrap());
            let mut all: Vec<Found> =
                rows.iter().enumerate().map(|(at, row)| (squared_distance(row, &to), at)).collect();
            let within: Vec<usize> = all.iter().filter(|(d, _)| *d <= limit).map(|(_, at)| *at).collect();
            let mut found = tree.within(&to, limit);
            found.sort_unstable();
            prop_assert_eq!(found, within);
            all.sort_by(|a, b| a.partial_cmp(b).unwrap());
            all.truncate(count);
            prop_assert_eq!(tree.nearest(&to, count), all);
        }
    }
}
