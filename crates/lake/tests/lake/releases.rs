//! Releases.

use std::collections::BTreeMap;

use lagar_flow::codes;
use object_store::{ObjectStoreExt, path::Path};

use crate::support::*;

#[tokio::test]
async fn releases_follow_each_other_and_roll_back() {
    let lake = lake_over(memory());
    assert_eq!(lake.current_release().await.unwrap(), None);
    let of = |version| BTreeMap::from([(table_name("trusted.orders"), version)]);
    let first = lake.publish(None, of(0), "run-1", None).await.unwrap();
    let second = lake.publish(Some(1), of(1), "run-2", None).await.unwrap();
    assert_eq!((first.number, second.number, second.previous), (1, 2, Some(1)));
    assert_eq!(lake.current_release().await.unwrap(), Some(second.clone()));

    for base in [None, Some(1), Some(3)] {
        let late = lake.publish(base, of(9), "run-3", None).await.unwrap_err();
        assert_eq!(late.code(), codes::LAKE_CONFLICT, "{late}");
    }
    let back = lake.publish(Some(2), first.tables.clone(), "run-4", Some(1)).await.unwrap();
    assert_eq!((back.rollback_of, back.tables.clone()), (Some(1), of(0)));
    assert_eq!(lake.releases().await.unwrap(), [first, second, back]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_that_publish_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake_in(folder.path()).await;
    let racers = (0..16).map(|racer| {
        let lake = lake.clone();
        tokio::spawn(async move { lake.publish(None, BTreeMap::new(), &format!("run-{racer}"), None).await })
    });
    let results: Vec<_> = futures::future::join_all(racers).await.into_iter().map(Result::unwrap).collect();
    let won: Vec<_> = results.iter().flatten().collect();
    assert_eq!(won.len(), 1);
    assert!(results.iter().filter_map(|r| r.as_ref().err()).all(|e| e.code() == codes::LAKE_CONFLICT));
    assert_eq!(lake.current_release().await.unwrap().as_ref(), Some(won[0]));
}

#[tokio::test]
async fn a_damaged_release_is_named() {
    let store = memory();
    let lake = lake_over(store.clone());
    lake.publish(None, BTreeMap::new(), "run", None).await.unwrap();
    store.put(&Path::from("releases/00000000000000000001.json"), "{".into()).await.unwrap();
    let error = lake.current_release().await.unwrap_err();
    assert_eq!(error.code(), codes::LAKE_CORRUPT);
    assert!(error.message().contains("releases/00000000000000000001.json"), "{error}");
}
