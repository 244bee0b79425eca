//! D4: every file of `tests/corpus`, and many small changes of it, through the function that the fuzz target
//! of that name runs.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../../fuzz/targets/lake.rs"]
mod targets;

use lagar_testing::{Battery, replay_corpus};

#[test]
fn nothing_makes_a_reader_panic_or_hang() {
    for (target, decode) in targets::ALL {
        let mut battery = Battery::new("D4");
        battery.many(|| replay_corpus(target, *decode));
    }
}
