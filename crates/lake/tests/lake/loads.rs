//! The raw zone.

use arrow::datatypes::{DataType, Field, Schema};
use lagar_flow::{Body, InPlace, Note, Position, Reject, codes, schema_of};
use lagar_lake::{Manifest, ManifestFile};
use lagar_testing::http::{Server, reply};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};

use crate::support::*;

async fn load(lake: &lagar_lake::Lake, text: &str, previous: Option<u64>) -> lagar_flow::Result<Manifest> {
    let mut load = lake.begin_load(&name("events"), "run");
    load.add(&chunk(text, vec![])).await?;
    load.commit(
        previous,
        Some(Position::of(&serde_json::json!({"etag": text.len()})).unwrap()),
        lagar_flow::Scope::Increment,
        vec![],
    )
    .await
}

#[tokio::test]
async fn a_load_keeps_the_bytes_the_position_and_the_rejects() {
    let folder = tempfile::tempdir().unwrap();
    for lake in [lake_in(folder.path()).await, lake_over(memory())] {
        let events = name("events");
        assert!(lake.sources().await.unwrap().is_empty());
        let mut load = lake.begin_load(&events, "run-1");
        let rejects = vec![
            Reject::new(3, Some("id".into()), "not a number", "x"),
            Reject::new(2, None, "not JSON", "{\"id\":"),
        ];
        load.add(&chunk("{\"id\":1}\n{\"id\":\n{\"id\":\"x\"}\n", rejects)).await.unwrap();
        let more = Schema::new(vec![
            Field::new("id", DataType::Float64, true),
            Field::new("at", DataType::Utf8, true),
        ]);
        load.add(&chunk_with("{\"id\":1.5,\"at\":\"x\"}\n", vec![], more)).await.unwrap();
        assert!(lake.sources().await.unwrap().is_empty(), "visible before the manifest");
        let position = Position::of(&serde_json::json!({"page": 7})).unwrap();
        let made = load
            .commit(None, Some(position.clone()), lagar_flow::Scope::Increment, vec![Note("a note".into())])
            .await
            .unwrap();

        assert_eq!(lake.sources().await.unwrap(), vec![events.clone()]);
        let loads = lake.loads(&events).await.unwrap();
        assert_eq!(loads.len(), 1);
        let read = loads[0].as_ref();
        assert_eq!(*read, made);
        assert_eq!((read.number, read.rows, read.rejected), (1, Some(2), 2));
        assert_eq!((read.position.clone(), read.notes.len()), (Some(position), 1));
        assert_eq!(read.files[0].rejected_rows, [2, 3]);
        assert_eq!(read.bytes, read.files.iter().map(|f| f.bytes).sum::<u64>());
        let schema = schema_of(&read.columns).unwrap();
        let columns: Vec<(&str, &DataType)> =
            schema.fields().iter().map(|f| (f.name().as_str(), f.data_type())).collect();
        assert_eq!(columns, [("id", &DataType::Float64), ("at", &DataType::Utf8)]);
        assert!(read.files[0].path.starts_with("load_date=2026-11-21/"), "{}", read.files[0].path);
        assert!(read.files[0].path.ends_with(&format!("{}-1.ndjson", read.id)), "{}", read.files[0].path);

        let body = lake.raw_body(&events, &read.files[1], folder.path()).await.unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut body.open().unwrap(), &mut text).unwrap();
        assert_eq!(text, "{\"id\":1.5,\"at\":\"x\"}\n");
        let rejects = lake.rejects(&events, read).await.unwrap();
        assert_eq!(rejects.len(), 2);
        assert_eq!((rejects[0].row, rejects[0].reason.as_str()), (3, "not a number"));
        assert_eq!(rejects[1].value, "{\"id\":");
        assert!(rejects.iter().all(|r| r.load == read.id && r.source_file == read.files[0].path));
    }
}

#[tokio::test]
async fn a_load_that_was_given_up_is_not_there() {
    let lake = lake_over(memory());
    let events = name("events");
    let mut given_up = lake.begin_load(&events, "run");
    given_up.add(&chunk("{\"id\":1}\n", vec![])).await.unwrap();
    drop(given_up);
    assert!(lake.loads(&events).await.unwrap().is_empty());
    assert!(lake.sources().await.unwrap().is_empty());
}

#[tokio::test]
async fn of_two_loads_from_the_same_start_one_is_refused() {
    let lake = lake_over(memory());
    load(&lake, "{\"id\":1}\n", None).await.unwrap();
    let second = load(&lake, "{\"id\":2}\n", Some(1)).await.unwrap();
    let late = load(&lake, "{\"id\":3}\n", Some(1)).await.unwrap_err();
    assert_eq!(late.code(), codes::LAKE_CONFLICT, "{late}");
    let loads = lake.loads(&name("events")).await.unwrap();
    assert_eq!((loads.len(), loads[1].id), (2, second.id));
}

#[tokio::test]
async fn bytes_that_changed_on_the_way_are_refused() {
    let lake = lake_over(memory());
    let mut load = lake.begin_load(&name("events"), "run");
    let mut wrong = chunk("{\"id\":1}\n", vec![]);
    wrong.file.sha256 = Some("00".repeat(32));
    assert_eq!(load.add(&wrong).await.unwrap_err().code(), codes::SOURCE_CHANGED);
    let mut short = chunk("{\"id\":1}\n", vec![]);
    short.file.bytes += 1;
    assert_eq!(load.add(&short).await.unwrap_err().code(), codes::SOURCE_CHANGED);
}

#[tokio::test]
async fn damage_is_named() {
    let store = memory();
    let lake = lake_over(store.clone());
    let events = name("events");
    let first = load(&lake, "{\"id\":1}\n", None).await.unwrap();
    load(&lake, "{\"id\":2}\n", Some(1)).await.unwrap();
    let path = |n: u64| Path::from(format!("raw/events/_loads/{n:020}.json"));
    let whole = store.get(&path(2)).await.unwrap().bytes().await.unwrap();
    let whole = String::from_utf8(whole.to_vec()).unwrap();
    // As a program writes it that knows no seal.
    let unsealed = whole.replace("\"lagar_seal\"", "\"other\"");
    for (text, code) in [
        (whole[..whole.len() / 2].to_owned(), codes::LAKE_CORRUPT),
        (whole.replace("\"rejected\": 0", "\"rejected\": 1"), codes::LAKE_CORRUPT),
        (unsealed[..unsealed.len() / 2].to_owned(), codes::LAKE_CORRUPT),
        (unsealed.replace("\"number\": 2", "\"number\": 9"), codes::LAKE_CORRUPT),
        (unsealed.replace("\"files\"", "\"flies\""), codes::LAKE_CORRUPT),
        (unsealed.replace("\"format_version\": 1", "\"format_version\": 3"), codes::LAKE_VERSION),
    ] {
        assert!(text != whole && text != unsealed);
        store.put(&path(2), text.into()).await.unwrap();
        let error = lake.loads(&events).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains("_loads/00000000000000000002.json"), "{error}");
    }
    store.put(&path(2), whole.clone().into()).await.unwrap();
    store.put(&path(3), whole.into()).await.unwrap();
    store.delete(&path(1)).await.unwrap();
    let gap = lake.loads(&events).await.unwrap_err();
    assert_eq!(gap.code(), codes::LAKE_CORRUPT);
    assert!(gap.message().contains("00000000000000000001.json is missing"), "{gap}");

    let spool = tempfile::tempdir().unwrap();
    let raw = Path::parse(format!("raw/events/{}", first.files[0].path)).unwrap();
    for (text, part) in [("{\"id\":7}\n", "does not hold the bytes that were loaded"), ("{}", "has 2 bytes")]
    {
        store.put(&raw, text.into()).await.unwrap();
        let error = lake.raw_body(&events, &first.files[0], spool.path()).await.unwrap_err();
        assert_eq!(error.code(), codes::LAKE_CORRUPT);
        assert!(error.message().contains(part), "{error}");
    }
    store.delete(&raw).await.unwrap();
    let error = lake.raw_body(&events, &first.files[0], spool.path()).await.unwrap_err();
    assert_eq!(error.code(), codes::LAKE_CORRUPT);
    assert!(error.message().contains(&first.files[0].path), "{error}");
    let outside = ManifestFile { path: "../../x".into(), ..first.files[0].clone() };
    assert_eq!(lake.raw_body(&events, &outside, spool.path()).await.unwrap_err().code(), codes::LAKE_CORRUPT);
}

#[tokio::test]
async fn a_big_remote_file_is_spooled() {
    let lake = lake_over(memory());
    let text = "{\"id\":1234567}\n".repeat(700_000);
    let manifest = load(&lake, &text, None).await.unwrap();
    let spool = tempfile::tempdir().unwrap();
    let body = lake.raw_body(&name("events"), &manifest.files[0], spool.path()).await.unwrap();
    assert!(matches!(&body, Body::Temp(_)));
    assert_eq!(body.len().unwrap(), text.len() as u64);
    drop(body);
    assert_eq!(std::fs::read_dir(spool.path()).unwrap().count(), 0, "the spool file stayed");
}

#[tokio::test]
async fn a_file_used_in_place_is_not_copied() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("big.ndjson");
    std::fs::write(&file, "{\"id\":1}\n").unwrap();
    let store = memory();
    let lake = lake_over(store.clone());
    let mut chunk = chunk("{\"id\":1}\n", vec![]);
    let url = file.display().to_string();
    chunk.file.in_place = Some(InPlace { url, fingerprint: "unknown".into() });
    chunk.file.body = Body::Local(file.clone());
    chunk.file.sha256 = None;
    let mut load = lake.begin_load(&name("events"), "run");
    load.add(&chunk).await.unwrap();
    let manifest = load.commit(None, None, lagar_flow::Scope::Increment, vec![]).await.unwrap();
    let objects: Vec<_> = futures::TryStreamExt::try_collect(store.list(None)).await.unwrap();
    let objects: Vec<object_store::ObjectMeta> = objects;
    assert_eq!(objects.len(), 1, "only the manifest: {objects:?}");
    let body = lake.raw_body(&name("events"), &manifest.files[0], folder.path()).await.unwrap();
    assert_eq!(body.path(), Some(file.as_path()));
    std::fs::write(&file, "{\"id\":1}\n{\"id\":2}\n").unwrap();
    let changed = lake.raw_body(&name("events"), &manifest.files[0], folder.path()).await.unwrap_err();
    assert_eq!(changed.code(), codes::SOURCE_CHANGED, "{changed}");
    std::fs::remove_file(&file).unwrap();
    let gone = lake.raw_body(&name("events"), &manifest.files[0], folder.path()).await.unwrap_err();
    assert_eq!(gone.code(), codes::SOURCE_MISSING, "{gone}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_used_in_place_is_missing_only_when_it_is_gone() {
    let server = Server::new(|_, request| match request.path() {
        "/data/gone.ndjson" => reply(404, &[], "<Error><Code>NoSuchKey</Code></Error>"),
        "/data/kept.ndjson" => reply(403, &[], "<Error><Code>AccessDenied</Code></Error>"),
        _ => reply(404, &[], "<Error><Code>NoSuchBucket</Code></Error>"),
    });
    let lake = lake_at("s3://b/lake", &server.url, "key", "key").await;
    let loaded = load(&lake_over(memory()), "{\"id\":1}\n", None).await.unwrap();
    let spool = tempfile::tempdir().unwrap();
    for (url, code) in [
        ("s3://data/gone.ndjson", codes::SOURCE_MISSING),
        ("s3://data/kept.ndjson", codes::LAKE_DENIED),
        ("s3://nothing/x.ndjson", codes::LAKE_CONFIG),
    ] {
        let in_place = Some(InPlace { url: url.into(), fingerprint: "unknown".into() });
        let file = ManifestFile { in_place, ..loaded.files[0].clone() };
        let error = lake.raw_body(&name("events"), &file, spool.path()).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(url), "{error}");
    }
}

/// A load of the days `from` to before `to` of January 2024.
async fn window_load(lake: &lagar_lake::Lake, from: u32, to: u32) {
    let edge = |day: u32| format!("2024-01-{day:02}T00:00:00").parse().unwrap();
    let window = lagar_flow::Window { from: edge(from), to: edge(to) };
    let events = name("events");
    let previous = lake.newest_load(&events).await.unwrap().map(|load| load.number);
    let of = lagar_lake::LoadWindow { window, earlier_read_at: None };
    let mut load = lake.begin_load(&events, "run").of_window(of);
    load.add(&chunk("{\"id\":1}\n", vec![])).await.unwrap();
    let manifest = load.commit(previous, None, lagar_flow::Scope::Window, vec![]).await.unwrap();
    assert_eq!(manifest.window, Some(of));
}

#[tokio::test]
async fn a_window_takes_the_place_of_what_it_covers() {
    let lake = lake_over(memory());
    let newest = async || {
        let loads = lake.loads(&name("events")).await.unwrap();
        let newest = lagar_lake::newest_state(&loads);
        newest.iter().map(|files| if files[0] { '+' } else { '-' }).collect::<String>()
    };
    // What the source gave before it was read by windows is history.
    load(&lake, "{\"id\":1}\n", None).await.unwrap();
    window_load(&lake, 1, 2).await;
    window_load(&lake, 3, 4).await;
    assert_eq!(newest().await, "-++");
    window_load(&lake, 1, 2).await;
    assert_eq!(newest().await, "--++");
    // A longer window covers shorter ones; shorter ones cover it when they are all there.
    window_load(&lake, 1, 4).await;
    assert_eq!(newest().await, "----+");
    window_load(&lake, 1, 2).await;
    window_load(&lake, 3, 4).await;
    assert_eq!(newest().await, "----+++");
    window_load(&lake, 2, 3).await;
    assert_eq!(newest().await, "-----+++");
}
