//! A lake in a bucket of the MinIO that `tests/services/minio` started.

use std::{collections::BTreeMap, path::Path};

use lagar_flow::codes;
use lagar_lake::{Lake, open_object};
use object_store::ObjectStoreExt;

use crate::support::*;

/// The login, as AWS's tools are told it.
fn env(name: &str) -> Option<String> {
    let name = match name {
        "AWS_ENDPOINT_URL_S3" => "MINIO_ENDPOINT",
        "AWS_ACCESS_KEY_ID" => "MINIO_ACCESS_KEY",
        "AWS_SECRET_ACCESS_KEY" => "MINIO_SECRET_KEY",
        _ => return None,
    };
    std::env::var(name).ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_is_a_lake() {
    let (Ok(_), Ok(bucket)) = (std::env::var("MINIO_ENDPOINT"), std::env::var("MINIO_BUCKET")) else {
        println!("skipped: MINIO_ENDPOINT is not set");
        return;
    };
    let url = format!("s3://{bucket}/{}", uuid::Uuid::now_v7());
    let lake = Lake::open(&url, Path::new("/"), clock(), &env).await.unwrap();
    assert_eq!(lake.url(), url);
    let events = name("events");
    assert!(lake.loads(&events).await.unwrap().is_empty());
    let big = "{\"id\":1234567}\n".repeat(1_200_000);
    let mut load = lake.begin_load(&events, "run");
    load.add(&chunk(&big, vec![])).await.unwrap();
    let manifest = load.commit(None, None, lagar_flow::Scope::Increment, vec![]).await.unwrap();
    let spool = tempfile::tempdir().unwrap();
    let body = lake.raw_body(&events, &manifest.files[0], spool.path()).await.unwrap();
    assert_eq!(body.len().unwrap(), big.len() as u64);
    let second = lake
        .begin_load(&events, "run")
        .commit(None, None, lagar_flow::Scope::Increment, vec![])
        .await
        .unwrap_err();
    assert_eq!(second.code(), codes::LAKE_CONFLICT, "{second}");
    assert_eq!(lake.sources().await.unwrap(), vec![events]);

    let table = table_name("trusted.odd");
    let values = [Some("a/b"), Some("ü"), Some(".."), None, Some("x=y:z %41")];
    let kind = |id: i64| values[id as usize % values.len()].map(str::to_owned);
    let made = replace(&lake, &table, &[rows(0..50, kind)], &["kind"], None).await.unwrap();
    let read = lake.table(&table, None).await.unwrap().unwrap();
    assert_eq!((read.version, &read.files), (0, &made.files));
    for file in &read.files {
        let found = lake.store().head(&lake.file_path(&table, file).unwrap()).await.unwrap();
        assert_eq!(found.size, file.bytes);
        let (outside, path) = open_object(&format!("{url}/trusted/odd/{}", file.path), &env).unwrap();
        assert_eq!(outside.head(&path).await.unwrap().size, file.bytes);
    }
    let racers = (0..8).map(|n| {
        let (lake, table) = (lake.clone(), table.clone());
        tokio::spawn(
            async move { replace(&lake, &table, &[rows(n..n + 1, |_| None)], &["kind"], Some(0)).await },
        )
    });
    let results: Vec<_> = futures::future::join_all(racers).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(results.iter().flatten().count(), 1);
    assert!(results.iter().filter_map(|r| r.as_ref().err()).all(|e| e.code() == codes::LAKE_CONFLICT));
    lake.publish(None, BTreeMap::from([(table, 1)]), "run", None).await.unwrap();
    assert_eq!(lake.current_release().await.unwrap().unwrap().number, 1);

    assert!(lake.access().await.unwrap().unwrap().provider.starts_with("environment variables"));
    for trial in lake.try_store().await {
        assert!(trial.result.is_ok(), "{}: {:?}", trial.what, trial.result);
    }

    let missing = Lake::open("s3://no-such-bucket-of-ours/x", Path::new("/"), clock(), &env).await.unwrap();
    let error = missing.publish(None, BTreeMap::new(), "run", None).await.unwrap_err();
    assert_eq!(error.code(), codes::LAKE_CONFIG, "{error}");
    let error = missing.current_release().await.unwrap_err();
    assert_eq!(error.code(), codes::LAKE_CONFIG, "no bucket is not an empty lake: {error}");
}
