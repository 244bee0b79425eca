//! Faults by chance on all calls: a run ends well or says that it did not, and nothing is lost.

use std::sync::Arc;

use lagar_flow::Blame;
use lagar_testing::{Battery, Fault, Ledger, Op, PASSING, Plan, env_number, long, replay, seeds};

use crate::support::*;

const PERCENT: [u64; 3] = [1, 5, 20];
/// Most of a case is waiting for the next attempt.
const CASES_AT_ONCE: usize = 30;

/// Whether the run came through.
async fn case(base: Arc<Place>, plan: Plan, ledger: Option<Arc<Ledger>>) -> bool {
    let (place, lake, store) = base.before(2, plan).await;
    let result = place.run(store.clone()).await;
    let errors = errors(&result);
    let log = || format!("{:#?}", store.log());
    for error in &errors {
        assert_eq!(error.blame(), Blame::Outside, "{} {error}\n{}", error.code().id, log());
    }
    if errors.is_empty() {
        place.is_exact(ledger.as_deref(), Some(2)).await;
        assert_eq!(look(&lake).await, 2, "success was told too early:\n{}", log());
    }
    let seen = look(&lake).await;
    assert!(seen == 1 || seen == 2);
    place.is_completed(&store, ledger.as_deref()).await;
    errors.is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chance_loses_nothing() {
    let mut battery = Battery::new("O1");
    let ledger = ledger().map(Arc::new);
    // One step after the other, so that a seed makes the same case again.
    let base = Arc::new(Place::at(Kind::Memory, 1, 1).await);
    let cases = PERCENT.into_iter().flat_map(|percent| {
        let (base, ledger) = (base.clone(), ledger.clone());
        seeds(if long() { 200 } else { 10 }).into_iter().map(move |seed| {
            let replay =
                replay("lagar-orchestrate", "faults", "chance_loses_nothing", &[("LAGAR_SEED", seed)]);
            let (base, ledger) = (base.clone(), ledger.clone());
            let plan = Plan::seeded(seed, percent, PASSING);
            (format!("{percent} %: {replay}"), async move { (percent, case(base, plan, ledger).await) })
        })
    });
    let runs = battery.all(CASES_AT_ONCE, cases).await;
    for percent in PERCENT {
        let of_these = || runs.iter().filter(|(of, _)| *of == percent);
        let well = of_these().filter(|(_, well)| *well).count();
        println!(
            "{percent} %: {well} of {} runs came through, the others said that they did not",
            of_these().count()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_lags_loses_nothing() {
    let mut battery = Battery::new("O1");
    let ledger = ledger().map(Arc::new);
    let base = Arc::new(Place::at(Kind::Memory, 1, 1).await);
    let test = "a_list_that_lags_loses_nothing";
    let calls = env_number("LAGAR_CALL").map_or(1..=20, |call| call..=call);
    let cases = calls.map(|call| {
        let plan = Plan::at(call, Fault::Stale).only(|op, _| op == Op::List);
        let replay = replay("lagar-orchestrate", "faults", test, &[("LAGAR_CALL", call)]);
        (format!("{plan}: {replay}"), case(base.clone(), plan, ledger.clone()))
    });
    battery.all(CASES_AT_ONCE, cases).await;
}
