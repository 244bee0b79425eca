//! A store that is slow and drops every twentieth call: the work ends, and is done once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use lagar_flow::{Blame, Result, Scope};
use lagar_lake::Lake;
use lagar_testing::{Battery, Fault, FaultStore, Plan, long, replay, seeds};
use object_store::throttle::{ThrottleConfig, ThrottledStore};

use crate::support::*;

const ATTEMPTS: u32 = 50;

/// Loads, a table, a release: each done once, and again when the store broke it off.
async fn run(lake: &Lake) -> Result<()> {
    let source = name("events");
    if lake.loads(&source).await?.is_empty() {
        let mut load = lake.begin_load(&source, "run");
        load.add(&chunk("{\"id\":1}\n{\"id\":2}\n", vec![])).await?;
        load.commit(None, None, Scope::Increment, vec![]).await?;
    }
    let table = table_name("trusted.events");
    if lake.table(&table, None).await?.is_none() {
        replace(lake, &table, &[rows(0..50, |_| None)], &[], None).await?;
    }
    if lake.current_release().await?.is_none() {
        lake.publish(None, BTreeMap::from([(table, 0)]), "run", None).await?;
    }
    Ok(())
}

async fn slow_run(seed: u64) {
    const RESETS: &[Fault] = &[Fault::Before, Fault::After, Fault::Half];
    let wait = Duration::from_millis(200);
    let slow = ThrottleConfig {
        wait_get_per_call: wait,
        wait_put_per_call: wait,
        wait_list_per_call: wait,
        wait_list_with_delimiter_per_call: wait,
        ..Default::default()
    };
    let inner = memory();
    let store = Arc::new(FaultStore::new(inner.clone(), Plan::seeded(seed, 5, RESETS)));
    let lake = lake_over(Arc::new(ThrottledStore::new(store.clone(), slow)));
    for attempt in 1.. {
        match run(&lake).await {
            Ok(()) => break,
            Err(error) => assert_eq!(error.blame(), Blame::Outside, "{error}\n{:#?}", store.log()),
        }
        assert!(attempt < ATTEMPTS, "it does not end");
    }
    let sound = lake_over(inner);
    assert_eq!(sound.loads(&name("events")).await.unwrap().len(), 1);
    let table = sound.table(&table_name("trusted.events"), None).await.unwrap().unwrap();
    assert_eq!((table.version, total(&table.files)), (0, 50));
    assert_eq!(sound.releases().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_store_with_resets_ends() {
    let test = "a_slow_store_with_resets_ends";
    let cases = seeds(if long() { 500 } else { 24 })
        .into_iter()
        .map(|seed| (replay("lagar-lake", "lake", test, &[("LAGAR_SEED", seed)]), slow_run(seed)));
    Battery::new("O5").all(24, cases).await;
}
