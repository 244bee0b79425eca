//! What commits need of a store, asked of every store that a lake can lie in.

use std::sync::Arc;

use futures::TryStreamExt;
use lagar_lake::DurableLocal;
use lagar_testing::Battery;
use object_store::{
    Error, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload, path::Path,
};

use crate::support::*;

/// S3 takes no smaller part, except as the last one.
const PART_BYTES: usize = 5 << 20;
const RACERS: usize = 8;

async fn listed(store: &dyn ObjectStore, prefix: &str) -> Vec<String> {
    let prefix = Path::from(prefix);
    store.list(Some(&prefix)).map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap()
}

async fn bytes_of(store: &dyn ObjectStore, path: &Path) -> Vec<u8> {
    store.get(path).await.unwrap().bytes().await.unwrap().to_vec()
}

/// Every promise that the lake counts on. `store` is empty below `contract/`, and is again afterwards.
pub async fn keeps_the_contract(battery: &mut Battery, name: &str, store: Arc<dyn ObjectStore>) {
    battery.case_async(&format!("{name}: put if absent"), puts_if_absent(store.clone())).await;
    battery.case_async(&format!("{name}: overwrite"), overwrites(store.as_ref())).await;
    battery.case_async(&format!("{name}: list after put"), lists(store.as_ref())).await;
    battery.case_async(&format!("{name}: ranges"), ranges(store.as_ref())).await;
    battery.case_async(&format!("{name}: uploads in parts"), uploads(store.as_ref())).await;
    battery.case_async(&format!("{name}: deletes"), deletes(store.as_ref())).await;
    battery.case_async(&format!("{name}: names"), names(store.as_ref())).await;
    for path in listed(store.as_ref(), "contract").await {
        store.delete(&Path::parse(path).unwrap()).await.unwrap();
    }
}

/// One writer wins, its bytes stay, and all others are told.
async fn puts_if_absent(store: Arc<dyn ObjectStore>) {
    for round in 0..5 {
        let path = Path::from(format!("contract/absent/{round}.json"));
        let racers = (0..RACERS).map(|racer| {
            let (store, path) = (store.clone(), path.clone());
            tokio::spawn(async move {
                // A store may refuse all of a race; whoever is refused without a winner tries again.
                for _ in 0..50 {
                    let body = PutPayload::from(format!("racer {racer}"));
                    match store.put_opts(&path, body, PutMode::Create.into()).await {
                        Ok(_) => return Some(format!("racer {racer}")),
                        Err(Error::AlreadyExists { .. }) => {
                            if store.head(&path).await.is_ok() {
                                return None;
                            }
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                panic!("refused without a winner, again and again");
            })
        });
        let won: Vec<_> =
            futures::future::join_all(racers).await.into_iter().filter_map(Result::unwrap).collect();
        assert_eq!(won.len(), 1, "{won:?}");
        assert_eq!(bytes_of(store.as_ref(), &path).await, won[0].as_bytes());
    }
}

async fn overwrites(store: &dyn ObjectStore) {
    let path = Path::from("contract/over");
    store.put(&path, "first, and longer".into()).await.unwrap();
    let refused = store.put_opts(&path, "second".into(), PutMode::Create.into()).await.unwrap_err();
    assert!(matches!(refused, Error::AlreadyExists { .. }), "{refused}");
    assert_eq!(bytes_of(store, &path).await, b"first, and longer");
    store.put(&path, "third".into()).await.unwrap();
    assert_eq!(bytes_of(store, &path).await, b"third");
    store.put(&path, PutPayload::new()).await.unwrap();
    assert_eq!((bytes_of(store, &path).await.len(), store.head(&path).await.unwrap().size), (0, 0));
}

/// What was put is listed at once, in the order of the names, and folders are told from objects.
async fn lists(store: &dyn ObjectStore) {
    assert!(listed(store, "contract/list").await.is_empty());
    let mut wanted = Vec::new();
    for name in ["a/1", "a-b/1", "a/2", "a.b", "b/c/d", "z"] {
        let name = format!("contract/list/{name}");
        store.put(&Path::from(name.as_str()), "x".into()).await.unwrap();
        wanted.push(name);
        wanted.sort();
        assert_eq!(listed(store, "contract/list").await, wanted);
    }
    assert_eq!(listed(store, "contract/list/a").await, ["contract/list/a/1", "contract/list/a/2"]);
    let top = store.list_with_delimiter(Some(&Path::from("contract/list"))).await.unwrap();
    let mut folders: Vec<_> = top.common_prefixes.iter().map(Path::to_string).collect();
    folders.sort();
    assert_eq!(folders, ["contract/list/a", "contract/list/a-b", "contract/list/b"]);
    assert_eq!(top.objects.len(), 2);
    let after: Vec<ObjectMeta> = store
        .list_with_offset(Some(&Path::from("contract/list")), &Path::from("contract/list/a/1"))
        .try_collect()
        .await
        .unwrap();
    assert_eq!(after.len(), 3, "{after:?}");
    // More than a page of S3.
    let many = futures::stream::iter((0..1_100).map(Ok::<_, Error>));
    let many = many.try_for_each_concurrent(16, |number| async move {
        store.put(&Path::from(format!("contract/many/{number:05}")), "x".into()).await.map(drop)
    });
    many.await.unwrap();
    let found = listed(store, "contract/many").await;
    let wanted: Vec<_> = (0..1_100).map(|number| format!("contract/many/{number:05}")).collect();
    assert!(found == wanted, "{} of {} names", found.len(), wanted.len());
}

async fn ranges(store: &dyn ObjectStore) {
    let path = Path::from("contract/range");
    store.put(&path, "0123456789".into()).await.unwrap();
    assert_eq!(store.get_range(&path, 2..5).await.unwrap(), "234");
    assert_eq!(store.get_range(&path, 8..20).await.unwrap(), "89", "what is beyond the end is left out");
    let several = store.get_ranges(&path, &[0..1, 4..6, 9..10]).await.unwrap();
    assert_eq!(several, ["0", "45", "9"]);
    let tail = GetOptions { range: Some(GetRange::Suffix(3)), ..Default::default() };
    let tail = store.get_opts(&path, tail).await.unwrap();
    assert_eq!((tail.range.clone(), tail.meta.size), (7..10, 10));
    assert_eq!(tail.bytes().await.unwrap(), "789");
    // Not its name: behind a prefix, object_store tells the whole one.
    assert_eq!(store.head(&path).await.unwrap().size, 10);
}

/// Nothing is visible before the end, and nothing is left of what was given up.
async fn uploads(store: &dyn ObjectStore) {
    let path = Path::from("contract/parts/whole");
    let part = |byte: u8, length: usize| PutPayload::from(vec![byte; length]);
    let mut upload = store.put_multipart(&path).await.unwrap();
    let (first, second, last) = (
        upload.put_part(part(b'a', PART_BYTES)),
        upload.put_part(part(b'b', PART_BYTES)),
        upload.put_part(part(b'c', 17)),
    );
    last.await.unwrap();
    second.await.unwrap();
    first.await.unwrap();
    assert!(matches!(store.get(&path).await.unwrap_err(), Error::NotFound { .. }), "visible too early");
    upload.complete().await.unwrap();
    let whole = bytes_of(store, &path).await;
    let wanted = [vec![b'a'; PART_BYTES], vec![b'b'; PART_BYTES], vec![b'c'; 17]].concat();
    assert!(whole == wanted, "{} bytes, or not in the order of the parts", whole.len());

    let never = Path::from("contract/parts/never");
    let mut given_up = store.put_multipart(&never).await.unwrap();
    given_up.put_part(part(b'x', PART_BYTES)).await.unwrap();
    given_up.abort().await.unwrap();
    assert!(matches!(store.get(&never).await.unwrap_err(), Error::NotFound { .. }));
    assert_eq!(listed(store, "contract/parts").await, [path.to_string()]);
}

async fn deletes(store: &dyn ObjectStore) {
    let path = Path::from("contract/gone");
    store.put(&path, "x".into()).await.unwrap();
    store.delete(&path).await.unwrap();
    assert!(matches!(store.get(&path).await.unwrap_err(), Error::NotFound { .. }));
    assert!(matches!(store.head(&path).await.unwrap_err(), Error::NotFound { .. }));
    assert!(listed(store, "contract/gone").await.is_empty());
    // Whether a second delete is an error differs; it must not be another one.
    if let Err(error) = store.delete(&path).await {
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
    }
    // A name that was free again can be taken again.
    store.put_opts(&path, "y".into(), PutMode::Create.into()).await.unwrap();
}

/// The names that partitions make.
async fn names(store: &dyn ObjectStore) {
    for name in ["kind=a%2Fb/x", "ü=ñ/x", "with space/x", "plus+and&amp;/x", "at=2026-11-21 10%3A00/x"] {
        let path = Path::parse(format!("contract/names/{name}")).unwrap();
        store.put(&path, name.into()).await.unwrap();
        assert_eq!(bytes_of(store, &path).await, name.as_bytes());
        assert_eq!(store.head(&path).await.unwrap().size, name.len() as u64);
        let found = listed(store, "contract/names").await;
        assert!(found.contains(&path.to_string()), "{path} is not in {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(DurableLocal::new(folder.path().to_path_buf()));
    keeps_the_contract(&mut Battery::new("O8"), "folder", store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_keeps_the_contract() {
    keeps_the_contract(&mut Battery::new("O8"), "memory", memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn minio_keeps_the_contract() {
    let var = |name: &str| std::env::var(name).ok();
    let (Some(endpoint), Some(bucket), Some(key), Some(secret)) =
        (var("MINIO_ENDPOINT"), var("MINIO_BUCKET"), var("MINIO_ACCESS_KEY"), var("MINIO_SECRET_KEY"))
    else {
        println!("skipped: MINIO_ENDPOINT is not set");
        return;
    };
    let url = format!("s3://{bucket}/contract-{}", uuid::Uuid::now_v7());
    let lake = lake_at(&url, &endpoint, &key, &secret).await;
    keeps_the_contract(&mut Battery::new("O8"), "MinIO", lake.store().clone()).await;
}
