//! Lists of very many objects, and lists that break off.

use std::{collections::BTreeMap, sync::Arc};

use lagar_flow::Blame;
use lagar_lake::Release;
use lagar_testing::{Battery, Fault, FaultStore, Plan};
use object_store::{ObjectStoreExt, path::Path};

use crate::support::*;

const OBJECTS: u64 = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_whole_or_an_error() {
    let mut battery = Battery::new("O7");
    let inner = memory();
    let release = lake_over(inner.clone()).publish(None, BTreeMap::new(), "run", None).await.unwrap();
    let path = |number: u64| Path::from(format!("releases/{number:020}.json"));
    for number in 2..=OBJECTS {
        let next = Release { number, previous: Some(number - 1), ..release.clone() };
        inner.put(&path(number), serde_json::to_vec(&next).unwrap().into()).await.unwrap();
    }
    let whole = async {
        let (lake, _) = lake(&inner, Plan::none());
        assert_eq!(lake.current_release().await.unwrap().unwrap().number, OBJECTS);
    };
    battery.case_async("100000 records", whole).await;

    let plan = Plan::at(1, Fault::Half);
    let cut = async {
        let (half, store) = lake(&inner, plan.clone());
        let refused = half.current_release().await.unwrap_err();
        assert!(store.struck());
        assert_eq!(refused.blame(), Blame::Outside, "{refused}");
        // The next release is not decided by half a list.
        let (half, _) = lake(&inner, plan.clone());
        let published = half.publish(Some(OBJECTS / 2), BTreeMap::new(), "run", None).await;
        assert_eq!(published.unwrap_err().blame(), Blame::Outside);
    };
    battery.case_async(&format!("{plan}"), cut).await;
    let gap = async {
        inner.delete(&path(OBJECTS / 2)).await.unwrap();
        let error = lake(&inner, Plan::none()).0.current_release().await.unwrap_err();
        assert!(error.message().contains(&format!("{:020}.json is missing", OBJECTS / 2)), "{error}");
    };
    battery.case_async("one of 100000 is missing", gap).await;
}

fn lake(inner: &Arc<dyn object_store::ObjectStore>, plan: Plan) -> (lagar_lake::Lake, Arc<FaultStore>) {
    let store = Arc::new(FaultStore::new(inner.clone(), plan));
    (lake_over(store.clone()), store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_list_hides_no_source_and_no_table() {
    let mut battery = Battery::new("O7");
    let inner = memory();
    let sound = lake_over(inner.clone());
    for number in 0..40 {
        let source = name(&format!("source_{number}"));
        sound
            .begin_load(&source, "run")
            .commit(None, None, lagar_flow::Scope::Increment, vec![])
            .await
            .unwrap();
        let table = table_name(&format!("trusted.table_{number}"));
        replace(&sound, &table, &[rows(0..2, |_| None)], &[], None).await.unwrap();
    }
    for call in 1.. {
        let plan = Plan::at(call, Fault::Half);
        let case = async {
            let (lake, store) = lake(&inner, plan.clone());
            let (sources, tables) = (lake.sources().await, lake.tables().await);
            for count in [sources.map(|s| s.len()), tables.map(|t| t.len())] {
                match count {
                    Ok(count) => assert_eq!(count, 40, "{plan}"),
                    Err(error) => assert_eq!(error.blame(), Blame::Outside, "{error}"),
                }
            }
            store.struck()
        };
        if !battery.case_async(&format!("{plan}"), case).await {
            assert!(call > 80, "only {call} calls");
            break;
        }
    }
}
