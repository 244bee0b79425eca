//! Columns as bins: a byte for each value, so that a node finds its best split by counting instead of sorting.

use lagar_flow::Result;
use ndarray::{ArrayView2, Axis};

use crate::parallel;

/// As many as fit a byte.
pub(crate) const MOST: usize = 256;

/// Memory: a byte for each value, while binning 16 more for each row and thread.
pub(crate) struct Bins {
    pub columns: Vec<Column>,
}

/// A column of up to [`MOST`] different values has a bin for each of them: its splits are those of the values
/// themselves. Others have bins of about as many rows each.
pub(crate) struct Column {
    /// The bin of each row.
    pub codes: Vec<u8>,
    /// The smallest and the largest value in each bin, in ascending order.
    low: Vec<f64>,
    high: Vec<f64>,
}

impl Bins {
    pub fn of(x: ArrayView2<'_, f64>, threads: usize) -> Result<Self> {
        let columns = parallel::in_order(x.ncols(), threads, |at| {
            // -0 is 0.
            Column::of(x.index_axis(Axis(1), at).iter().map(|value| value + 0.0).collect())
        })?;
        Ok(Self { columns })
    }
}

impl Column {
    fn of(values: Vec<f64>) -> Self {
        let mut sorted = values.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let mut column = Self { codes: Vec::new(), low: Vec::new(), high: Vec::new() };
        // Rows in the last bin, and rows and different values in none yet.
        let (mut held, mut rows) = (0, sorted.len());
        let mut different = sorted.chunk_by(|a, b| a == b).count();
        for same in sorted.chunk_by(|a, b| a == b) {
            let spare = MOST - column.high.len();
            // What is left is shared out evenly: a value that is more than the share fills a bin of its own.
            let full = (held + same.len()) * (spare + 1) > held + rows;
            if held == 0 || (spare > 0 && (full || different <= spare)) {
                column.low.push(same[0]);
                column.high.push(same[0]);
                held = 0;
            } else if let Some(high) = column.high.last_mut() {
                *high = same[0];
            }
            held += same.len();
            rows -= same.len();
            different -= 1;
        }
        let code = |value: &f64| column.high.partition_point(|high| high < value) as u8;
        column.codes = values.iter().map(code).collect();
        column
    }

    pub fn bins(&self) -> usize {
        self.high.len()
    }

    /// Half way between what a node has in bin `lower` and, next, in bin `upper`: `x <= threshold` goes left.
    pub fn threshold(&self, lower: usize, upper: usize) -> f64 {
        middle(self.high[lower], self.low[upper])
    }
}

/// A number from `low` to below `high`, in the middle if there is one.
fn middle(low: f64, high: f64) -> f64 {
    let way = high - low;
    let middle = if way.is_finite() { low + way / 2.0 } else { low / 2.0 + high / 2.0 };
    if middle < high { middle } else { low }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_have_a_bin_each() {
        let column = Column::of(vec![3.0, -1.0, 3.0, 0.5, 0.5, 3.0]);
        assert_eq!(column.codes, [2, 0, 2, 1, 1, 2]);
        assert_eq!(column.bins(), 3);
        assert!((column.threshold(0, 1) - -0.25).abs() < 1e-15);
        assert!((column.threshold(0, 2) - 1.0).abs() < 1e-15);
        let most = Column::of((0..MOST).rev().map(|value| value as f64).collect());
        assert_eq!((most.bins(), most.codes[0], most.codes[255]), (256, 255, 0));
    }

    #[test]
    fn many_values_share_bins_of_even_size() {
        let column = Column::of((0..25_600).map(f64::from).collect());
        let mut sizes = vec![0; column.bins()];
        column.codes.iter().for_each(|code| sizes[usize::from(*code)] += 1);
        assert_eq!(sizes, [100; 256]);
        // The half that is one value stands alone.
        let column = Column::of((-500..500).map(f64::from).chain([0.25; 1000]).collect());
        let code = usize::from(column.codes[1000]);
        assert_eq!((column.low[code], column.high[code]), (0.25, 0.25));
        assert!(column.bins() <= MOST && column.bins() > 200, "{}", column.bins());
    }

    #[test]
    fn a_threshold_parts_whatever_it_stands_between() {
        let next = f64::from_bits(1.0_f64.to_bits() + 1);
        for (low, high) in
            [(1.0, next), (-f64::MAX, f64::MAX), (0.0, f64::MIN_POSITIVE), (f64::MAX / 2.0, f64::MAX)]
        {
            let between = middle(low, high);
            assert!(low <= between && between < high, "{low} {between} {high}");
        }
    }
}
