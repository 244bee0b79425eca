//! Rows by which a predictor is judged although it learned from them.

use std::hash::{DefaultHasher, Hasher};

use lagar_flow::{Error, Result};
use ndarray::{ArrayView1, ArrayView2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Rows that stand in both parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Duplicates {
    /// Rows of the test part that are, bit for bit, also in the training part.
    pub rows: u64,
    /// Rows of the test part.
    pub of: u64,
}

/// Counts the rows of `test` that are also in `training`.
///
/// # Errors
/// A defect: they do not have the same columns.
pub fn duplicates(training: ArrayView2<'_, f64>, test: ArrayView2<'_, f64>) -> Result<Duplicates> {
    if training.ncols() != test.ncols() {
        return Err(Error::bug("the rows to compare do not have the same columns"));
    }
    let hashed = |(row, values): (usize, ArrayView1<'_, f64>)| (hash(values), row);
    let mut known: Vec<(u64, usize)> = training.rows().into_iter().enumerate().map(hashed).collect();
    // Of equal rows the first is enough, or a row that stands there a million times would be compared as often.
    known.sort_unstable();
    known.dedup_by(|one, kept| one.0 == kept.0 && same(training.row(one.1), training.row(kept.1)));
    let duplicate = |row: &ArrayView1<'_, f64>| {
        let hash = hash(row.view());
        let first = known.partition_point(|known| known.0 < hash);
        let alike = known[first..].iter().take_while(|known| known.0 == hash);
        alike.into_iter().any(|known| same(training.row(known.1), row.view()))
    };
    let rows = test.rows().into_iter().filter(duplicate).count();
    Ok(Duplicates { rows: rows as u64, of: test.nrows() as u64 })
}

fn hash(row: ArrayView1<'_, f64>) -> u64 {
    let mut hasher = DefaultHasher::new();
    row.iter().for_each(|value| hasher.write_u64(value.to_bits()));
    hasher.finish()
}

fn same(a: ArrayView1<'_, f64>, b: ArrayView1<'_, f64>) -> bool {
    a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rows_that_are_alike_bit_for_bit_are_counted() {
        let training = array![[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [0.0, f64::NAN]];
        let test = array![[1.0, 2.0], [2.0, 1.0], [3.0, 4.0], [3.0, 4.0], [-0.0, f64::NAN], [0.0, f64::NAN]];
        assert_eq!(duplicates(training.view(), test.view()).unwrap(), Duplicates { rows: 4, of: 6 });
        let none = Array2::zeros((0, 2));
        assert_eq!(duplicates(none.view(), test.view()).unwrap(), Duplicates { rows: 0, of: 6 });
        assert_eq!(duplicates(training.view(), none.view()).unwrap(), Duplicates { rows: 0, of: 0 });
        assert!(duplicates(training.view(), array![[1.0]].view()).is_err());
    }

    proptest! {
        #[test]
        fn it_counts_as_comparing_all_with_all(
            training in prop::collection::vec((0u8..4, 0u8..4), 1..30),
            test in prop::collection::vec((0u8..4, 0u8..4), 1..30),
        ) {
            let array = |rows: &[(u8, u8)]| Array2::from_shape_fn((rows.len(), 2), |(row, column)| {
                f64::from(if column == 0 { rows[row].0 } else { rows[row].1 })
            });
            let expected = test.iter().filter(|row| training.contains(row)).count() as u64;
            let counted = duplicates(array(&training).view(), array(&test).view()).unwrap();
            prop_assert_eq!(counted.rows, expected);
        }
    }
}
