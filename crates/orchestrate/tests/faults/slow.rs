//! A whole run over a store that takes its time and drops every twentieth call.

use std::{sync::Arc, time::Duration};

use lagar_flow::Blame;
use lagar_testing::{Battery, Fault, Plan, env_number, long, replay};
use object_store::throttle::{ThrottleConfig, ThrottledStore};

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_over_a_slow_store_ends() {
    let mut battery = Battery::new("O5");
    const RESETS: &[Fault] = &[Fault::Before, Fault::After, Fault::Half];
    let (wait, seeds) = if long() { (200, 1..=5) } else { (20, 1..=1) };
    let wait = Duration::from_millis(wait);
    let slow = ThrottleConfig {
        wait_get_per_call: wait,
        wait_put_per_call: wait,
        wait_list_per_call: wait,
        wait_list_with_delimiter_per_call: wait,
        // 1 MB/s
        wait_get_per_byte: Duration::from_micros(1),
        ..Default::default()
    };
    let ledger = ledger();
    for seed in env_number("LAGAR_SEED").map_or(seeds, |seed| seed..=seed) {
        let replay =
            replay("lagar-orchestrate", "faults", "a_run_over_a_slow_store_ends", &[("LAGAR_SEED", seed)]);
        let case = async {
            let mut place = Place::new(Kind::Memory, 4);
            for generation in 1..=2 {
                place.grow(generation).await;
                let mut attempts = 0;
                loop {
                    let store = place.faulty(Plan::seeded(seed + attempts, 5, RESETS));
                    let result = place.run(Arc::new(ThrottledStore::new(store, slow))).await;
                    let errors = errors(&result);
                    if errors.is_empty() {
                        break;
                    }
                    assert!(errors.iter().all(|error| error.blame() == Blame::Outside), "{errors:?}");
                    attempts += 1;
                    assert!(attempts < 20, "it does not end");
                }
            }
            place.is_exact(ledger.as_ref(), Some(2)).await;
        };
        battery.case_async(&replay, case).await;
    }
}
