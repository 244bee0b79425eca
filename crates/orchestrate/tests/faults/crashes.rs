//! The process dies before, after and in the middle of every call to the store. A reader beside it sees
//! whole releases only; the next run completes what was begun, and every row is there once.

use std::{sync::Arc, time::Duration};

use lagar_flow::Blame;
use lagar_lake::Lake;
use lagar_testing::{Battery, Fault, Ledger, Plan, env_number, long, replay};
use tokio_util::sync::CancellationToken;

use crate::support::*;

const FAULTS: [Fault; 3] = [Fault::Before, Fault::After, Fault::Half];
const CASES_AT_ONCE: usize = 4;

/// Looks again and again until `stop`; returns how often.
async fn watch(lake: Lake, from: u64, stop: CancellationToken) -> u64 {
    let (mut newest, mut looks) = (from, 0);
    loop {
        let last = stop.is_cancelled();
        let seen = look(&lake).await;
        assert!(seen == newest || seen == newest + 1, "generation {seen} came after {newest}");
        newest = seen;
        looks += 1;
        if last {
            return looks;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether the fault was reached, and how often the reader looked.
async fn case(base: Arc<Place>, generation: u64, plan: Plan, ledger: Option<Arc<Ledger>>) -> (bool, u64) {
    let (place, lake, store) = base.before(generation, plan).await;
    let stop = CancellationToken::new();
    let reader = tokio::spawn(watch(lake.clone(), generation - 1, stop.clone()));
    let result = place.run_until_crash(&store).await;
    let seen = look(&lake).await;
    let errors = errors(&result);
    if errors.is_empty() {
        assert_eq!(seen, generation, "success was told too early:\n{:#?}", store.log());
    }
    for error in errors {
        let expected = matches!(error.blame(), Blame::Outside | Blame::Stopped);
        assert!(expected, "{} {error}\n{:#?}", error.code().id, store.log());
    }
    place.is_completed(&store, ledger.as_deref()).await;
    stop.cancel();
    let looks = reader.await.unwrap();
    (store.struck(), looks)
}

/// Every `step`-th call of the run that makes `generation`, each one broken off in three ways.
async fn crash_everywhere(kind: Kind, generation: u64, step: u64, test: &str) {
    let mut battery = Battery::new("R2");
    let ledger = ledger().map(Arc::new);
    let base = Arc::new(Place::at(kind, 1, generation - 1).await);
    let chosen = env_number("LAGAR_CALL");
    let mut call = chosen.unwrap_or(1);
    let mut looks = 0;
    loop {
        let cases: Vec<_> = (0..2)
            .map(|n| call + n * step)
            .take(if chosen.is_some() { 1 } else { 2 })
            .flat_map(|call| FAULTS.map(|fault| (call, Plan::at(call, fault).then_crash())))
            .map(|(call, plan)| {
                let replay = replay("lagar-orchestrate", "faults", test, &[("LAGAR_CALL", call)]);
                (format!("{plan}: {replay}"), case(base.clone(), generation, plan, ledger.clone()))
            })
            .collect();
        let reached = battery.all(CASES_AT_ONCE, cases).await;
        looks += reached.iter().map(|(_, looks)| looks).sum::<u64>();
        if chosen.is_some() || reached.iter().any(|(struck, _)| !struck) {
            break;
        }
        call += 2 * step;
    }
    println!("{kind:?}, generation {generation}: calls to {call}, the reader looked {looks} times");
    assert!(chosen.is_some() || call > 30, "only {call} calls");
}

/// All calls in the long lane, one of `short` in the other.
fn step(short: u64) -> u64 {
    if long() { 1 } else { short }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_run_in_memory_is_completed() {
    crash_everywhere(Kind::Memory, 1, step(37), "a_first_run_in_memory_is_completed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_run_in_memory_is_completed() {
    crash_everywhere(Kind::Memory, 2, step(43), "a_second_run_in_memory_is_completed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_run_in_a_folder_is_completed() {
    if long() {
        crash_everywhere(Kind::Folder, 1, 1, "a_first_run_in_a_folder_is_completed").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_run_in_a_folder_is_completed() {
    crash_everywhere(Kind::Folder, 2, step(89), "a_second_run_in_a_folder_is_completed").await;
}
