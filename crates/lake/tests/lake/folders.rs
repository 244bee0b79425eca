//! Folders as stores.

use std::{os::unix::fs::symlink, sync::Arc};

use futures::TryStreamExt;
use lagar_flow::codes;
use lagar_lake::{DurableLocal, Lake};
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, path::Path};

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixteen_that_create_one_object_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(DurableLocal::new(folder.path().join("new/lake")));
    for round in 0..20 {
        let path = Path::from(format!("a/{round}.json"));
        let racers = (0..16).map(|racer| {
            let (store, path) = (store.clone(), path.clone());
            tokio::spawn(async move {
                let body = format!("{racer}").repeat(1000);
                (store.put_opts(&path, body.clone().into(), PutMode::Create.into()).await, body)
            })
        });
        let results = futures::future::join_all(racers).await;
        let mut won = Vec::new();
        for result in results {
            match result.unwrap() {
                (Ok(_), body) => won.push(body),
                (Err(Error::AlreadyExists { .. }), _) => {}
                (Err(e), _) => panic!("{e}"),
            }
        }
        assert_eq!(won.len(), 1);
        assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == won[0]);
    }
    let names: Vec<String> = store.list(None).map_ok(|m| m.location.to_string()).try_collect().await.unwrap();
    assert_eq!(names.len(), 20, "temporary files are listed: {names:?}");
    assert_eq!(
        std::fs::read_dir(folder.path().join("new/lake/a")).unwrap().count(),
        20,
        "files were left behind"
    );
}

#[tokio::test]
async fn a_folder_keeps_what_an_object_store_promises() {
    let folder = tempfile::tempdir().unwrap();
    let store = DurableLocal::new(folder.path().to_path_buf());
    for name in ["a/b", "a-b/c", "a/b-c", "a.b", "odd/a%2Fb=ü /x"] {
        store.put(&Path::parse(name).unwrap(), name.into()).await.unwrap();
    }
    store.put(&Path::from("a.b"), "over".into()).await.unwrap();
    assert_eq!(store.get(&Path::from("a.b")).await.unwrap().bytes().await.unwrap(), "over");
    let list = |prefix: Option<&str>| {
        let prefix = prefix.map(Path::from);
        store.list(prefix.as_ref()).map_ok(|m| m.location.to_string()).try_collect::<Vec<_>>()
    };
    assert_eq!(list(None).await.unwrap(), ["a-b/c", "a.b", "a/b", "a/b-c", "odd/a%2Fb=ü /x"]);
    assert_eq!(list(Some("a")).await.unwrap(), ["a/b", "a/b-c"]);
    assert!(list(Some("missing")).await.unwrap().is_empty());
    let top = store.list_with_delimiter(None).await.unwrap();
    assert_eq!(top.common_prefixes, [Path::from("a-b"), Path::from("a"), Path::from("odd")]);
    assert_eq!(top.objects.len(), 1);
    let odd = Path::parse("odd/a%2Fb=ü /x").unwrap();
    assert_eq!(store.get_range(&odd, 4..9).await.unwrap(), &b"a%2Fb"[..]);
    assert_eq!(store.get_opts(&odd, Default::default()).await.unwrap().meta.location, odd);
    store.copy_if_not_exists(&odd, &Path::from("copy")).await.unwrap();
    let again = store.copy_if_not_exists(&odd, &Path::from("copy")).await.unwrap_err();
    assert!(matches!(again, Error::AlreadyExists { .. }), "{again}");
    store.delete(&odd).await.unwrap();
    assert!(matches!(store.get(&odd).await.unwrap_err(), Error::NotFound { .. }));
    assert!(matches!(store.delete(&odd).await.unwrap_err(), Error::NotFound { .. }));

    let mut upload = store.put_multipart(&Path::from("big")).await.unwrap();
    let (first, second) = (upload.put_part("one ".into()), upload.put_part("two".into()));
    second.await.unwrap();
    first.await.unwrap();
    assert!(store.get(&Path::from("big")).await.is_err(), "visible too early");
    upload.complete().await.unwrap();
    assert_eq!(store.get(&Path::from("big")).await.unwrap().bytes().await.unwrap(), "one two");
    let mut given_up = store.put_multipart(&Path::from("never")).await.unwrap();
    given_up.put_part("x".into()).await.unwrap();
    drop(given_up);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|n| !n.to_string_lossy().contains("tmp")), "{left:?}");
}

#[tokio::test]
async fn no_link_is_followed_inside_a_lake() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "s").unwrap();
    let lake = lake_in(folder.path()).await;
    let events = name("events");
    let mut load = lake.begin_load(&events, "run");
    load.add(&chunk("{\"id\":1}\n", vec![])).await.unwrap();
    let manifest = load.commit(None, None, lagar_flow::Scope::Increment, vec![]).await.unwrap();

    let root = lake.local_path().unwrap().to_path_buf();
    symlink(outside.path(), root.join("trusted")).unwrap();
    let refused = lake.tables().await.unwrap_err();
    assert_eq!(refused.code(), codes::LAKE_SYMLINK, "{refused}");
    assert!(refused.message().contains("trusted"), "{refused}");
    let refused =
        replace(&lake, &table_name("trusted.t"), &[rows(0..3, |_| None)], &[], None).await.unwrap_err();
    assert_eq!(refused.code(), codes::LAKE_SYMLINK, "{refused}");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1, "something was written outside");

    let file = root.join("raw/events").join(&manifest.files[0].path);
    std::fs::remove_file(&file).unwrap();
    symlink(outside.path().join("secret"), &file).unwrap();
    let refused = lake.raw_body(&events, &manifest.files[0], folder.path()).await.unwrap_err();
    assert_eq!(refused.code(), codes::LAKE_SYMLINK, "{refused}");

    // The lake itself may lie behind a link: that is its owner's choice.
    symlink(&root, folder.path().join("link")).unwrap();
    std::fs::remove_file(root.join("trusted")).unwrap();
    let linked = Lake::open("link", folder.path(), clock(), &|_| None).await.unwrap();
    assert_eq!(linked.loads(&events).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_lake_that_cannot_be_written_says_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("lake"), "I am a file").unwrap();
    let error = Lake::open("lake", folder.path(), clock(), &|_| None).await.unwrap_err();
    assert_eq!(error.code(), codes::LAKE_CONFIG);
    assert!(error.message().contains("is a file"), "{error}");

    // Nobody may make folders there, not even root.
    let lake = Lake::open("/sys/lagar/lake", folder.path(), clock(), &|_| None).await.unwrap();
    let mut load = lake.begin_load(&name("events"), "run");
    let error = load.add(&chunk("{\"id\":1}\n", vec![])).await.unwrap_err();
    assert_eq!(error.code(), codes::LAKE_DENIED, "{error}");
    assert!(error.message().contains("/sys/lagar/lake/raw/events"), "{error}");
}

#[tokio::test]
async fn a_file_where_a_folder_should_be_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake_in(folder.path()).await;
    std::fs::create_dir(folder.path().join("lake")).unwrap();
    std::fs::write(folder.path().join("lake/raw"), "x").unwrap();
    assert_eq!(lake.sources().await.unwrap_err().code(), codes::LAKE_CONFIG);
}
