//! What goes wrong, and at which call: from a seed, or said one by one.

use std::{collections::BTreeMap, fmt};

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An error; nothing happened.
    Before,
    /// It happened; the answer is an error.
    After,
    /// A part of it happened; the answer is an error. A body or a list breaks off in the middle, half
    /// of the objects are deleted, a write leaves what a killed writer leaves.
    Half,
    /// It happens after so many milliseconds.
    Late(u64),
    /// A list does not know yet what the last few calls did. Other calls are not touched.
    Stale,
    /// An answer of S3 with this status, as `object_store` tells it; nothing happened.
    Status(u16),
    /// The disk is full; nothing happened.
    NoSpace,
    /// The disk cannot be read or written; nothing happened.
    Io,
    /// One bit of what is read is another. Calls that read nothing are not touched.
    WrongBit,
    /// First something else happens (see `FaultStore::meanwhile`), then the call.
    Meanwhile,
}

/// What a network and a busy service do; nothing of it is a reason to give up for good.
pub const PASSING: &[Fault] = &[
    Fault::Before,
    Fault::After,
    Fault::Half,
    Fault::Late(3),
    Fault::Stale,
    Fault::Status(429),
    Fault::Status(503),
];

/// The kind of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Put,
    /// Begins an upload in parts.
    Begin,
    Part,
    Complete,
    Abort,
    Get,
    List,
    Delete,
    Copy,
}

impl Op {
    /// Needs room on the disk.
    pub fn writes(self) -> bool {
        matches!(self, Op::Put | Op::Begin | Op::Part | Op::Complete | Op::Copy)
    }
}

#[derive(Debug, Clone)]
enum When {
    /// By the number of the call, from 1.
    At(BTreeMap<u64, Fault>),
    From(u64, Fault),
    Seeded {
        seed: u64,
        percent: u64,
        faults: &'static [Fault],
    },
}

/// Says for each call, by its number, whether something goes wrong. Its text is the way to repeat it.
#[derive(Debug, Clone)]
pub struct Plan {
    when: When,
    crash: bool,
    /// Only these calls are counted and hit.
    only: Option<fn(Op, &str) -> bool>,
}

impl Plan {
    pub fn none() -> Self {
        Self { when: When::At(BTreeMap::new()), crash: false, only: None }
    }

    /// Hits call `number`; they count from 1.
    pub fn at(number: u64, fault: Fault) -> Self {
        Self::each([(number, fault)])
    }

    pub fn each(faults: impl IntoIterator<Item = (u64, Fault)>) -> Self {
        Self { when: When::At(faults.into_iter().collect()), ..Self::none() }
    }

    /// Hits call `number` and all calls after it: a disk that is full stays full.
    pub fn from(number: u64, fault: Fault) -> Self {
        Self { when: When::From(number, fault), ..Self::none() }
    }

    /// Hits `percent` of the calls, which ones and how by `seed` and the call's number alone.
    pub fn seeded(seed: u64, percent: u64, faults: &'static [Fault]) -> Self {
        Self { when: When::Seeded { seed, percent, faults }, ..Self::none() }
    }

    /// After the first fault every call fails: the process is gone.
    pub fn then_crash(mut self) -> Self {
        self.crash = true;
        self
    }

    /// Looks at no other calls than these: the kind and the name of the object.
    pub fn only(mut self, which: fn(Op, &str) -> bool) -> Self {
        self.only = Some(which);
        self
    }

    pub(crate) fn looks_at(&self, op: Op, path: &str) -> bool {
        self.only.is_none_or(|only| only(op, path))
    }

    pub(crate) fn crashes(&self) -> bool {
        self.crash
    }

    pub(crate) fn fault(&self, number: u64) -> Option<Fault> {
        match &self.when {
            When::At(faults) => faults.get(&number).copied(),
            When::From(first, fault) => (number >= *first).then_some(*fault),
            When::Seeded { seed, percent, faults } => drawn(*seed, *percent, number, faults),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.when {
            When::At(faults) => {
                let faults: Vec<_> =
                    faults.iter().map(|(call, fault)| format!("CALL={call} {fault:?}")).collect();
                f.write_str(&faults.join(", "))?;
            }
            When::From(call, fault) => write!(f, "CALL={call}… {fault:?}")?,
            When::Seeded { seed, percent, .. } => write!(f, "SEED={seed}, {percent} % of the calls")?,
        }
        if self.crash { f.write_str(", then the process is gone") } else { Ok(()) }
    }
}

/// One of `faults` for `percent` of all numbers, the same for the same seed.
pub(crate) fn drawn<T: Copy>(seed: u64, percent: u64, number: u64, faults: &[T]) -> Option<T> {
    let dice = mix(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number);
    let which = usize::try_from(mix(dice) % faults.len() as u64).unwrap_or(0);
    (dice % 100 < percent).then(|| faults[which])
}

/// SplitMix64's finalizer: any number to one that looks like chance.
pub fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A clock that jumps: from a seed, by how many seconds it is wrong at its `n`-th reading. It stands
/// still for a while, then runs an hour fast or slow, or falls back by a day.
pub fn clock_jump(seed: u64, reading: u64) -> i64 {
    match mix(seed ^ mix(reading / 3)) % 5 {
        0 => 3_600,
        1 => -3_600,
        2 => -86_400,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_says_everything() {
        let hits = |seed, percent| {
            let plan = Plan::seeded(seed, percent, PASSING);
            (1..=10_000).map(|call| plan.fault(call)).collect::<Vec<_>>()
        };
        assert_eq!(hits(7, 20), hits(7, 20));
        assert_ne!(hits(7, 20), hits(8, 20));
        let count = hits(7, 20).iter().flatten().count();
        assert!((1_700..2_300).contains(&count), "{count} of 10000 calls");
        for fault in PASSING {
            assert!(hits(7, 20).contains(&Some(*fault)), "{fault:?} never comes");
        }
    }
}
