//! The same run over unchanged sources, and runs under a clock that jumps.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use lagar_flow::Clock;
use lagar_orchestrate::Status;
use lagar_testing::{Battery, clock_jump, long, replay, seeds};
use object_store::{ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::support::*;

/// By name, the hash of every object.
async fn objects(store: &dyn ObjectStore) -> BTreeMap<String, String> {
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    let mut objects = BTreeMap::new();
    for meta in listed {
        let bytes = store.get(&meta.location).await.unwrap().bytes().await.unwrap();
        let hash = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        objects.insert(meta.location.to_string(), hash);
    }
    objects
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_again_writes_nothing() {
    let mut battery = Battery::new("R9");
    let ledger = ledger();
    for kind in [Kind::Memory, Kind::Folder] {
        let place = Place::at(kind, 4, 2).await;
        let store = place.store();
        let before = objects(store.as_ref()).await;
        for again in 1..=5 {
            let case = async {
                let report = place.run(store.clone()).await.unwrap();
                assert_eq!((report.status, report.release), (Status::NothingNew, None), "{report:#?}");
                assert_eq!(objects(store.as_ref()).await, before);
            };
            battery.case_async(&format!("{kind:?}, again {again}"), case).await;
        }
        place.is_exact(ledger.as_ref(), Some(2)).await;
    }
}

/// Wrong by an hour or a day at some readings; it stands still between them.
#[derive(Debug)]
struct JumpingClock {
    seed: u64,
    readings: AtomicU64,
}

impl Clock for JumpingClock {
    fn now(&self) -> DateTime<Utc> {
        let reading = self.readings.fetch_add(1, Ordering::SeqCst);
        clock().now() + TimeDelta::seconds(clock_jump(self.seed, reading))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jumping_clock_loses_nothing() {
    let mut battery = Battery::new("C2");
    let ledger = ledger();
    for seed in seeds(if long() { 50 } else { 5 }) {
        let replay =
            replay("lagar-orchestrate", "faults", "a_jumping_clock_loses_nothing", &[("LAGAR_SEED", seed)]);
        let case = async {
            let clock = Arc::new(JumpingClock { seed, readings: AtomicU64::new(0) });
            let mut place = Place::new(Kind::Memory, 4);
            for generation in 1..=3 {
                place.grow(generation).await;
                let report =
                    place.run_at(place.store(), CancellationToken::new(), clock.clone()).await.unwrap();
                assert!(succeeded(&report), "{report:#?}");
                assert!(report.seconds >= 0.0 && report.steps.iter().all(|step| step.seconds >= 0.0));
            }
            place.is_exact(ledger.as_ref(), Some(3)).await;
            let report = place.run_at(place.store(), CancellationToken::new(), clock).await.unwrap();
            assert_eq!(report.status, Status::NothingNew, "{report:#?}");
        };
        battery.case_async(&replay, case).await;
    }
}
