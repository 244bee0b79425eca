//! Versions of predictors.

use std::collections::BTreeMap;

use lagar_flow::{JsonText, codes};
use lagar_lake::{Contents, NewPredictor};
use object_store::{ObjectStoreExt, path::Path};
use serde_json::json;

use crate::support::*;

pub fn version_after(base: Option<u64>, what: u64) -> NewPredictor {
    NewPredictor {
        name: name("p"),
        base,
        run_id: "run".into(),
        fingerprint: format!("f{what}"),
        table: table_name("refined.sums"),
        table_version: what,
        promoted: true,
        judged_beside: base,
        predictor: JsonText::of(&json!({"what": what})).unwrap(),
    }
}

#[tokio::test]
async fn a_version_is_put_once_and_seen_by_its_release() {
    let lake = lake_over(memory());
    assert_eq!(lake.newest_predictor(&name("p")).await.unwrap(), None);
    assert!(lake.predictors().await.unwrap().is_empty());
    let first = lake.put_predictor(version_after(None, 1)).await.unwrap();
    // Of two that were planned after the same version one is late.
    let late = lake.put_predictor(version_after(None, 2)).await.unwrap_err();
    assert_eq!(late.code(), codes::LAKE_CONFLICT, "{late}");
    let second = lake.put_predictor(version_after(Some(1), 2)).await.unwrap();
    assert_eq!((first.number, second.number), (1, 2));
    assert_eq!(lake.predictor(&name("p"), 1).await.unwrap(), first);
    assert_eq!(lake.newest_predictor(&name("p")).await.unwrap(), Some(second));
    assert_eq!(lake.predictors().await.unwrap(), [name("p")]);

    let contents = Contents { predictors: BTreeMap::from([(name("p"), 2)]), ..Contents::default() };
    let release = lake.publish(None, contents, "run", None).await.unwrap();
    // An older Lagar would publish the next one without them.
    assert_eq!((release.format_version, release.predictors.len()), (2, 1));
    assert_eq!(lake.publish(Some(1), BTreeMap::new(), "run", None).await.unwrap().format_version, 1);
    lake.check_predictors(release.predictors.iter()).await.unwrap();
    let missing = lake.check_predictors([(&name("p"), &3)].into_iter()).await.unwrap_err();
    assert_eq!(missing.code(), codes::TABLE_MISSING);
}

#[tokio::test]
async fn a_damaged_version_is_named_or_what_it_was() {
    let store = memory();
    let lake = lake_over(store.clone());
    let written = lake.put_predictor(version_after(None, 1)).await.unwrap();
    let object = Path::from("refined/_predictors/p/00000000000000000001.json");
    let bytes = store.get(&object).await.unwrap().bytes().await.unwrap().to_vec();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        store.put(&object, flipped.into()).await.unwrap();
        match lake.predictor(&name("p"), 1).await {
            // In the name of the seal itself: a record without one is taken as it is.
            Ok(read) => assert_eq!(read, written, "byte {at}"),
            Err(error) => {
                assert_eq!(error.code(), codes::LAKE_CORRUPT, "byte {at}: {error}");
                assert!(error.message().contains("_predictors/p/"), "{error}");
            }
        }
    }
}
