//! Rows by chance, the same ones for the same seed.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;

/// `most` of the places `0..rows`, ascending, each as likely as any other; all of them if there are no more.
/// (Algorithm S of Knuth, The Art of Computer Programming, 3.4.2.)
pub fn sample(rows: usize, most: usize, seed: u64) -> Vec<usize> {
    if rows <= most {
        return (0..rows).collect();
    }
    let mut random = Xoshiro256Plus::seed_from_u64(seed);
    let mut taken = Vec::with_capacity(most);
    for row in 0..rows {
        if random.gen_range(0..rows - row) < most - taken.len() {
            taken.push(row);
        }
    }
    taken
}

/// The places `0..rows` in an order by chance (Fisher and Yates).
pub(crate) fn shuffled(rows: usize, seed: u64) -> Vec<usize> {
    let mut random = Xoshiro256Plus::seed_from_u64(seed);
    let mut places: Vec<usize> = (0..rows).collect();
    for last in (1..rows).rev() {
        places.swap(last, random.gen_range(0..=last));
    }
    places
}

/// A number that looks like chance, from two: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
pub(super) fn mixed(seed: u64, value: u64) -> u64 {
    let mut z = seed ^ value.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_as_likely_as_any_other() {
        let mut times = [0; 10];
        for seed in 0..10_000 {
            let rows = sample(10, 3, seed);
            assert_eq!(rows.len(), 3);
            assert!(rows.is_sorted_by(|a, b| a < b));
            rows.into_iter().for_each(|row| times[row] += 1);
        }
        // 3000 each, with a standard deviation of 46.
        assert!(times.iter().all(|times| (2800..3200).contains(times)), "{times:?}");
        assert_eq!(sample(4, 9, 1), [0, 1, 2, 3]);
    }

    #[test]
    fn every_place_stays_once() {
        for rows in [0, 1, 2, 17] {
            let mut places = shuffled(rows, 3);
            places.sort_unstable();
            assert!(places.into_iter().eq(0..rows));
        }
    }
}
