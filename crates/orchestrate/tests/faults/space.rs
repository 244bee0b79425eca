//! The disk is full from the n-th write on, and is so until somebody makes room.

use std::sync::Arc;

use lagar_flow::{Blame, codes};
use lagar_testing::{Battery, Fault, Ledger, Plan, env_number, long, replay};

use crate::support::*;

const CASES_AT_ONCE: usize = 12;
/// More than a run makes.
const WRITES_MAX: u64 = 25;

/// Whether the disk was full in time.
async fn case(base: Arc<Place>, plan: Plan, ledger: Option<Arc<Ledger>>) -> bool {
    let (place, lake, store) = base.before(2, plan).await;
    let result = place.run(store.clone()).await;
    if !store.struck() {
        assert!(errors(&result).is_empty());
        return false;
    }
    let errors = errors(&result);
    assert!(!errors.is_empty(), "nothing was said:\n{:#?}", store.log());
    for error in errors {
        assert_eq!(error.code(), codes::LAKE_SPACE, "{error}\n{:#?}", store.log());
        assert_eq!(error.blame(), Blame::Outside);
    }
    assert_eq!(look(&lake).await, 1, "the previous version can be read");
    place.is_completed(&store, ledger.as_deref()).await;
    true
}

async fn full_everywhere(kind: Kind, test: &str) {
    let mut battery = Battery::new("O9");
    let ledger = ledger().map(Arc::new);
    let base = Arc::new(Place::at(kind, 1, 1).await);
    let step = if long() { 1 } else { 2 };
    let calls: Vec<u64> =
        env_number("LAGAR_CALL").map_or_else(|| (1..=WRITES_MAX).step_by(step).collect(), |call| vec![call]);
    let cases = calls.into_iter().map(|call| {
        let plan = Plan::from(call, Fault::NoSpace).only(|op, _| op.writes());
        let replay = replay("lagar-orchestrate", "faults", test, &[("LAGAR_CALL", call)]);
        (format!("{plan}: {replay}"), case(base.clone(), plan, ledger.clone()))
    });
    let full = battery.all(CASES_AT_ONCE, cases).await;
    let alone = env_number("LAGAR_CALL").is_some();
    assert!(alone || full.contains(&false), "a run makes more writes than were tried");
    assert!(alone || full.iter().filter(|full| **full).count() >= 6, "{full:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_space_in_memory_is_told_and_repaired() {
    full_everywhere(Kind::Memory, "no_space_in_memory_is_told_and_repaired").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_space_in_a_folder_is_told_and_repaired() {
    if long() {
        full_everywhere(Kind::Folder, "no_space_in_a_folder_is_told_and_repaired").await;
    }
}
