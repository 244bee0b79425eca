//! What is remembered of the values of a column, in bounded memory: exactly while they are few, as
//! sketches when they are many.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    mem::size_of,
};

use super::value::Value;

/// Registers of [`HyperLogLog`]: 2^14 bytes, a standard error of 0.8 %.
const REGISTER_BITS: u32 = 14;
/// Bins of [`Spread`].
const BINS: usize = 2048;
/// Room that an entry of the map takes beside its text: the entry itself and the map's own slack.
const ENTRY_BYTES: usize = 2 * (size_of::<u64>() + size_of::<Entry>());

/// Counts distinct values of which it sees only hashes.
pub(super) struct HyperLogLog(Vec<u8>);

impl HyperLogLog {
    pub(super) fn new() -> Self {
        Self(vec![0; 1 << REGISTER_BITS])
    }

    pub(super) fn add(&mut self, hash: u64) {
        let register = (hash >> (64 - REGISTER_BITS)) as usize;
        // A bit that is always set ends the zeros: at most 64 - REGISTER_BITS of them are counted.
        let rest = (hash << REGISTER_BITS) | (1 << (REGISTER_BITS - 1));
        let rank = rest.leading_zeros() as u8 + 1;
        if let Some(known) = self.0.get_mut(register) {
            *known = rank.max(*known);
        }
    }

    /// Ertl's estimator ("New cardinality estimation algorithms for HyperLogLog sketches", 2017): without
    /// the bias of the original where linear counting ends.
    pub(super) fn estimate(&self) -> u64 {
        let registers = self.0.len() as f64;
        let largest = (64 - REGISTER_BITS) as usize + 1;
        let mut counts = vec![0_u32; largest + 1];
        for rank in &self.0 {
            if let Some(count) = counts.get_mut(usize::from(*rank)) {
                *count += 1;
            }
        }
        let mut z = registers * tau(1.0 - f64::from(counts[largest]) / registers);
        for count in counts[1..largest].iter().rev() {
            z = 0.5 * (z + f64::from(*count));
        }
        z += registers * sigma(f64::from(counts[0]) / registers);
        (registers * registers / (2.0 * std::f64::consts::LN_2 * z)).round() as u64
    }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

/// Passes a hash through.
#[derive(Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

pub(super) struct Entry {
    pub(super) value: Value,
    pub(super) count: u64,
}

/// Values with their counts. Values are told apart by 64 bits of SipHash: of 10,000 values two are taken
/// for one with a probability of 3 in 10^12.
///
/// When it is full, the median of the counts is taken from each and what has nothing left goes: half of the
/// entries, and every value that is frequent enough stays (Misra and Gries). A count is then too low by
/// [`Self::missed`] at most.
pub(super) struct Counts {
    entries: HashMap<u64, Entry, BuildHasherDefault<AsItIs>>,
    entries_max: usize,
    bytes: usize,
    bytes_max: usize,
    missed: u64,
}

impl Counts {
    pub(super) fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self { entries: HashMap::default(), entries_max, bytes: 0, bytes_max, missed: 0 }
    }

    /// Counts a value that is there; `false` if it is not.
    pub(super) fn count(&mut self, hash: u64) -> bool {
        match self.entries.get_mut(&hash) {
            Some(entry) => {
                entry.count += 1;
                true
            }
            None => false,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.entries_max || self.bytes >= self.bytes_max
    }

    pub(super) fn insert(&mut self, hash: u64, value: Value) {
        self.bytes += ENTRY_BYTES + value.heap_bytes();
        self.entries.insert(hash, Entry { value, count: 1 });
    }

    pub(super) fn shrink(&mut self) {
        let mut counts: Vec<u64> = self.entries.values().map(|entry| entry.count).collect();
        if counts.is_empty() {
            return;
        }
        let middle = counts.len() / 2;
        let (_, median, _) = counts.select_nth_unstable(middle);
        let median = *median;
        self.missed += median;
        let bytes = &mut self.bytes;
        self.entries.retain(|_, entry| {
            entry.count = entry.count.saturating_sub(median);
            if entry.count == 0 {
                *bytes = bytes.saturating_sub(ENTRY_BYTES + entry.value.heap_bytes());
            }
            entry.count > 0
        });
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    pub(super) fn each(&self) -> impl Iterator<Item = (u64, &Entry)> {
        self.entries.iter().map(|(hash, entry)| (*hash, entry))
    }
}

/// How numbers are spread over their range, without knowing it beforehand: bins of one width, which doubles
/// whenever a number lies outside of them.
pub(super) struct Spread {
    bins: Vec<u64>,
    from: f64,
    width: f64,
}

/// Numbers are kept at an eighth, so that no range of theirs is infinite.
const SCALE: f64 = 0.125;

impl Spread {
    /// Bins that begin at `from` and are `width` wide, for now.
    pub(super) fn new(from: f64, width: f64) -> Self {
        let width = (width * SCALE).max(f64::MIN_POSITIVE);
        Self { bins: vec![0; BINS], from: from * SCALE, width }
    }

    /// Bins that fit the numbers between `min` and `max`, and some more.
    pub(super) fn over(min: f64, max: f64, discrete: bool) -> Self {
        let width = (max * SCALE - min * SCALE) / (BINS / 2) as f64 / SCALE;
        match discrete {
            // Widths are powers of two: a bin holds whole numbers, each of them in full.
            true => Self::new(min, width.max(1.0).log2().ceil().exp2()),
            false => Self::new(min, width.max(max.abs().max(min.abs()) * 1e-14)),
        }
    }

    /// Adds a finite number `count` times.
    pub(super) fn add(&mut self, number: f64, count: u64) {
        let number = number * SCALE;
        while number < self.from {
            self.fold(BINS / 2);
            self.from -= self.width * BINS as f64;
            self.width *= 2.0;
        }
        while number >= self.from + self.width * BINS as f64 {
            self.fold(0);
            self.width *= 2.0;
        }
        let bin = ((number - self.from) / self.width) as usize;
        self.bins[bin.min(BINS - 1)] += count;
    }

    /// Puts two bins into one each, the first at `to`.
    fn fold(&mut self, to: usize) {
        let mut folded = vec![0; BINS];
        for (bin, pair) in self.bins.chunks_exact(2).enumerate() {
            folded[to + bin] = pair[0] + pair[1];
        }
        self.bins = folded;
    }

    /// The middle of each bin with something in it, and how much that is. Of whole numbers the middle of
    /// those in the bin.
    pub(super) fn middles(&self, discrete: bool) -> impl Iterator<Item = (f64, u64)> {
        let back = if discrete { 0.5 } else { 0.0 };
        let filled = self.bins.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(move |(bin, count)| ((self.from + (bin as f64 + 0.5) * self.width) / SCALE - back, *count))
    }

    /// Whether a bin holds more than one whole number.
    pub(super) fn is_coarse(&self) -> bool {
        self.width > SCALE
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::profile::value::hash_of;

    #[test]
    fn distinct_values_are_estimated_within_some_percent() {
        for count in [0_u64, 1, 100, 10_000, 40_000, 90_000, 1_000_000] {
            let mut distinct = HyperLogLog::new();
            for value in 0..count {
                distinct.add(hash_of(&value));
                distinct.add(hash_of(&value));
            }
            let error = distinct.estimate().abs_diff(count) as f64;
            assert!(error <= 0.03 * count as f64, "{count}: {}", distinct.estimate());
        }
    }

    #[test]
    fn frequent_values_stay_whatever_else_comes() {
        let mut counts = Counts::new(100, 1 << 20);
        for round in 0..200_000_u64 {
            // Every tenth is the same one, the others never come again.
            let value = if round % 10 == 0 { 7 } else { 1000 + round };
            let hash = hash_of(&value);
            if !counts.count(hash) {
                if counts.is_full() {
                    counts.shrink();
                }
                counts.insert(hash, Value::Whole(i128::from(value)));
            }
            assert!(counts.len() <= 100);
        }
        let (_, seven) = counts.each().find(|(_, entry)| entry.value == Value::Whole(7)).unwrap();
        assert!(seven.count <= 20_000 && seven.count + counts.missed() >= 20_000, "{}", seven.count);
        assert!(counts.missed() < 200_000 / 50 + 1, "{}", counts.missed());
    }

    #[test]
    fn long_texts_do_not_take_more_than_the_room_that_is_given() {
        let mut counts = Counts::new(1_000_000, 100_000);
        for value in 0..10_000_u64 {
            if counts.is_full() {
                counts.shrink();
            }
            counts.insert(hash_of(&value), Value::text(&"x".repeat(5000)));
            assert!(counts.bytes <= 101_000, "{}", counts.bytes);
        }
    }

    #[test]
    fn a_spread_grows_in_both_directions_and_loses_nothing() {
        let mut spread = Spread::over(0.0, 1.0, false);
        for number in [0.5, 1e9, -1e9, 0.25, f64::MAX, f64::MIN, 1e-300] {
            spread.add(number, 2);
        }
        assert_eq!(spread.middles(false).map(|(_, count)| count).sum::<u64>(), 14);
        let middles: Vec<f64> = spread.middles(false).map(|(middle, _)| middle).collect();
        assert!(middles.iter().all(|middle| middle.is_finite()), "{middles:?}");
        assert!(middles[0] < -1e308 && middles[middles.len() - 1] > 1e308, "{middles:?}");
    }

    #[test]
    fn whole_numbers_of_a_small_range_are_spread_exactly() {
        let mut lengths = Spread::new(10.0, 1.0);
        for (number, count) in [(10, 3), (0, 1), (700, 2), (11, 5)] {
            lengths.add(f64::from(number), count);
        }
        // Going below the beginning doubled the width once.
        assert!(lengths.is_coarse());
        assert_eq!(lengths.middles(true).map(|(_, count)| count).sum::<u64>(), 11);
        let mut few = Spread::over(3.0, 500.0, true);
        few.add(3.0, 1);
        few.add(500.0, 4);
        assert!(!few.is_coarse());
        assert_eq!(few.middles(true).collect::<Vec<_>>(), [(3.0, 1), (500.0, 4)]);
    }
}
