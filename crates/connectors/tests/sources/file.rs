//! File sources: local, on a server, in a store.

use std::{
    fs::{File, write},
    io::Write,
    path::Path,
    sync::Arc,
    time::Duration,
};

use chrono::{TimeDelta, Utc};
use lagar_connectors::Cx;
use lagar_flow::{Body, Chunk, Compression, FixedClock, FormatKind, Note, codes};
use object_store::{ObjectStoreExt, memory::InMemory, path::Path as Key};
use serde_json::json;

use crate::support::{
    OneStore, bytes_of, config_error, cx, failure, load, nothing, now, read,
    server::{Server, ok, reply},
    source, texts,
};

fn names(chunks: &[Chunk]) -> Vec<&str> {
    chunks.iter().map(|chunk| chunk.file.origin.url.as_str()).collect()
}

/// Sets the time of a file to `seconds` before the clock of the tests.
fn set_age(path: &Path, seconds: u64) {
    let time = std::time::SystemTime::from(now()) - Duration::from_secs(seconds);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[tokio::test]
async fn a_local_file_is_read_where_it_lies() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path().join("cities.csv"), "id;name\n1;Medellín\n").unwrap();
    let source = source("file", json!({"url": "cities.csv", "csv": {"delimiter": ";"}}));
    let (chunks, _) = load(&*source, &cx(dir.path()), None).await;
    let file = &chunks[0].file;
    assert!(matches!(&file.body, Body::Local(path) if *path == dir.path().join("cities.csv")));
    assert_eq!((file.rows, file.bytes, file.extension.as_str()), (Some(1), 20, "csv"));
    assert_eq!(file.origin.url, "cities.csv");
    assert!(file.in_place.is_none());
}

#[tokio::test]
async fn only_new_and_changed_files_of_a_pattern_are_loaded() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.csv", "b.csv"] {
        write(dir.path().join(name), format!("x\n{name}\n")).unwrap();
    }
    let (cx, source) = (cx(dir.path()), source("file", json!({"url": "*.csv"})));
    let (chunks, first) = load(&*source, &cx, None).await;
    assert_eq!(names(&chunks), ["a.csv", "b.csv"]);
    write(dir.path().join("b.csv"), "x\nnew\n").unwrap();
    write(dir.path().join("c.csv"), "x\nc\n").unwrap();
    let (chunks, second) = load(&*source, &cx, Some(&first)).await;
    assert_eq!(names(&chunks), ["b.csv", "c.csv"]);
    assert_eq!(nothing(&*source, &cx, &second).await, "3 files unchanged");
    // A file that comes back as it was is not loaded twice.
    std::fs::rename(dir.path().join("a.csv"), dir.path().join("a.bak")).unwrap();
    assert_eq!(nothing(&*source, &cx, &second).await, "2 files unchanged");
    std::fs::rename(dir.path().join("a.bak"), dir.path().join("a.csv")).unwrap();
    nothing(&*source, &cx, &second).await;
}

#[tokio::test]
async fn a_file_that_was_replaced_with_its_size_and_time_kept_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, other) = (dir.path().join("a.csv"), dir.path().join("other"));
    // Long after the change of the file, so that only what the system says of it counts.
    let cx = Cx { clock: Arc::new(FixedClock::new(Utc::now() + TimeDelta::hours(1))), ..cx(dir.path()) };
    let source = source("file", json!({"url": "a.csv"}));
    for is_written_over in [true, false] {
        write(&path, "x\n1\n").unwrap();
        set_age(&path, 60);
        let (_, position) = load(&*source, &cx, None).await;
        assert!(nothing(&*source, &cx, &position).await.contains("size and time"));
        // The clock of a file system moves in steps.
        std::thread::sleep(Duration::from_millis(20));
        write(if is_written_over { &path } else { &other }, "x\n2\n").unwrap();
        if !is_written_over {
            std::fs::rename(&other, &path).unwrap();
        }
        set_age(&path, 60);
        let (chunks, position) = load(&*source, &cx, Some(&position)).await;
        assert_eq!(texts(&chunks), ["x\n2\n"], "written over: {is_written_over}");
        std::thread::sleep(Duration::from_millis(20));
        set_age(&path, 30);
        assert!(nothing(&*source, &cx, &position).await.contains("sha256"), "touched, not changed");
    }
}

#[tokio::test]
async fn a_file_that_just_changed_is_hashed_even_if_nothing_shows() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path().join("a.csv"), "x\n1\n").unwrap();
    set_age(&dir.path().join("a.csv"), 60);
    let cx = Cx { clock: Arc::new(FixedClock::new(Utc::now())), ..cx(dir.path()) };
    let source = source("file", json!({"url": "a.csv"}));
    let (_, position) = load(&*source, &cx, None).await;
    assert!(nothing(&*source, &cx, &position).await.contains("sha256"));
}

#[tokio::test]
async fn a_file_read_differently_is_loaded_again_and_it_is_said() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path().join("a.csv"), "x;y\n1;2\n").unwrap();
    let cx = cx(dir.path());
    let (_, position) = load(&*source("file", json!({"url": "a.csv"})), &cx, None).await;
    let fixed = source("file", json!({"url": "a.csv", "csv": {"delimiter": ";"}}));
    let (chunks, outcome) = read(&*fixed, &cx, Some(&position)).await.unwrap();
    assert_eq!(chunks.len(), 1);
    assert!(format!("{outcome:?}").contains("read differently"));
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path().join("cities.csv"), "x\n").unwrap();
    let error = failure(&*source("file", json!({"url": "citis.csv"})), &cx(dir.path())).await;
    assert_eq!(
        (error.code(), error.hint_text()),
        (codes::SOURCE_MISSING, Some("did you mean `cities.csv`?"))
    );
    let error = failure(&*source("file", json!({"url": "*.json"})), &cx(dir.path())).await;
    assert_eq!((error.code(), error.message()), (codes::SOURCE_MISSING, "no file matches `*.json`"));
}

#[tokio::test]
async fn packed_files_stay_packed() {
    let dir = tempfile::tempdir().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"{\"a\":1}\n{\"a\":2}\n").unwrap();
    let packed = gzip.finish().unwrap();
    write(dir.path().join("x.jsonl.gz"), &packed).unwrap();
    let (chunks, _) = load(&*source("file", json!({"url": "x.jsonl.gz"})), &cx(dir.path()), None).await;
    let file = &chunks[0].file;
    assert_eq!((file.rows, file.extension.as_str()), (Some(2), "ndjson.gz"));
    assert_eq!(bytes_of(&file.body), packed);
}

#[tokio::test]
async fn a_packed_file_cannot_grow_without_limit() {
    let dir = tempfile::tempdir().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let rows = "1\n".repeat(1 << 17);
    gzip.write_all(b"x\n").unwrap();
    gzip.write_all(rows.as_bytes()).unwrap();
    write(dir.path().join("bomb.csv.gz"), gzip.finish().unwrap()).unwrap();
    let config = json!({"url": "bomb.csv.gz", "max_bytes": "64KiB"});
    let error = failure(&*source("file", config), &cx(dir.path())).await;
    assert_eq!(error.code(), codes::TOO_LARGE, "{error}");
}

#[tokio::test]
async fn a_file_in_place_is_only_sampled() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big.ndjson");
    write(&path, "{\"a\":1}\n".repeat((9 << 20) / 8)).unwrap();
    let (cx, source) = (cx(dir.path()), source("file", json!({"url": "big.ndjson", "in_place": true})));
    let (chunks, position) = load(&*source, &cx, None).await;
    let file = &chunks[0].file;
    let in_place = file.in_place.as_ref().unwrap();
    assert_eq!(Path::new(&in_place.url), path.canonicalize().unwrap());
    assert_eq!((file.rows, &file.sha256, file.bytes), (None, &None, 9 << 20));
    assert!(nothing(&*source, &cx, &position).await.contains("size and time"));
    set_age(&path, 5);
    let (chunks, _) = load(&*source, &cx, Some(&position)).await;
    assert_ne!(chunks[0].file.in_place.as_ref().unwrap().fingerprint, in_place.fingerprint);
}

#[tokio::test]
async fn a_file_in_place_that_is_longer_than_the_sample_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big.ndjson");
    let (mut cx, source) = (cx(dir.path()), source("file", json!({"url": "big.ndjson", "in_place": true})));
    write(&path, "{\"a\":1}\n{\"b\":2}\n").unwrap();
    let (chunks, _) = load(&*source, &cx, None).await;
    assert_eq!((chunks[0].file.rows, &chunks[0].notes), (Some(2), &Vec::new()));

    write(&path, "{\"a\":1}\n".repeat((9 << 20) / 8) + "{\"b\":2}\n").unwrap();
    let said = "columns were found in the first 8 MiB of big.ndjson; a column that begins later is not seen: \
                name it in `columns`";
    let (chunks, _) = load(&*source, &cx, None).await;
    assert_eq!(chunks[0].notes, [Note(said.to_owned())]);
    assert!(chunks[0].file.schema.field_with_name("b").is_err());
    cx.columns.insert("b".into(), "bigint".to_owned().try_into().unwrap());
    let (chunks, _) = load(&*source, &cx, None).await;
    assert_eq!(chunks[0].notes, [Note(said.to_owned())], "nobody knows that `b` is missing");
    assert!(chunks[0].file.schema.field_with_name("b").is_ok());
}

#[tokio::test]
async fn a_file_of_a_server() {
    let server = Server::script(vec![reply(200, &[("ETag", "\"1\"")], "a\tb\n1\t2\n")]);
    let dir = tempfile::tempdir().unwrap();
    let url = format!("{}/x.tsv?X-Amz-Signature=canary", server.url);
    let (chunks, _) = load(&*source("file", json!({"url": url})), &cx(dir.path()), None).await;
    let file = &chunks[0].file;
    assert_eq!((file.rows, file.extension.as_str(), file.schema.fields().len()), (Some(1), "csv", 2));
    assert_eq!((file.origin.status, file.origin.etag.as_deref()), (Some(200), Some("\"1\"")));
    assert_eq!(file.origin.url, format!("{}/x.tsv", server.url));
}

#[tokio::test]
async fn an_address_signed_anew_is_the_same_file() {
    let server = Server::script(vec![ok("a\n1\n"), ok("a\n1\n"), ok("a\n2\n")]);
    let dir = tempfile::tempdir().unwrap();
    let of = |date: &str| source("file", json!({"url": format!("{}/x.csv?X-Amz-Date={date}", server.url)}));
    let (first, position) = load(&*of("1"), &cx(dir.path()), None).await;
    assert!(nothing(&*of("2"), &cx(dir.path()), &position).await.contains("sha256"));
    let (changed, _) = load(&*of("3"), &cx(dir.path()), Some(&position)).await;
    assert_eq!(names(&changed), names(&first), "it takes the place of the first");
}

#[tokio::test]
async fn a_file_behind_redirects_to_changing_places_is_the_same_file() {
    let server = Server::new(|n, request| match request.target.as_str() {
        "/x.csv" => reply(302, &[("Location", &format!("/stored/{n}.csv"))], ""),
        stored => ok(format!("a\n{stored}\n")),
    });
    let dir = tempfile::tempdir().unwrap();
    let source = source("file", json!({"url": format!("{}/x.csv", server.url)}));
    let (first, position) = load(&*source, &cx(dir.path()), None).await;
    let (second, _) = load(&*source, &cx(dir.path()), Some(&position)).await;
    assert_ne!(texts(&first), texts(&second));
    assert_eq!(names(&first), names(&second));
}

#[tokio::test]
async fn a_server_that_unpacks_on_the_way() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"a\n1\n2\n").unwrap();
    let packed = gzip.finish().unwrap();
    for (headers, extension) in [(vec![("Content-Encoding", "gzip")], "csv"), (vec![], "csv.gz")] {
        let server = Server::script(vec![reply(200, &headers, &packed)]);
        let dir = tempfile::tempdir().unwrap();
        let source = source("file", json!({"url": format!("{}/x.csv.gz", server.url)}));
        let (chunks, _) = load(&*source, &cx(dir.path()), None).await;
        assert_eq!((chunks[0].file.extension.as_str(), chunks[0].file.rows), (extension, Some(2)));
    }
}

#[tokio::test]
async fn a_web_page_is_not_a_file() {
    let server = Server::script(vec![ok("<!DOCTYPE html><p>log in</p>")]);
    let dir = tempfile::tempdir().unwrap();
    let config = json!({"url": format!("{}/x.csv", server.url)});
    assert_eq!(failure(&*source("file", config), &cx(dir.path())).await.code(), codes::HTTP_ANSWER);
}

/// A store with these objects.
async fn store(objects: &[(&str, &str)]) -> Arc<InMemory> {
    let store = Arc::new(InMemory::new());
    for (key, body) in objects {
        store.put(&Key::from(*key), body.to_string().into()).await.unwrap();
    }
    store
}

fn cx_with(dir: &Path, store: &Arc<InMemory>) -> Cx {
    Cx { stores: Arc::new(OneStore(store.clone())), ..cx(dir) }
}

#[tokio::test]
async fn objects_of_a_store() {
    let objects = [
        ("in/a.csv", "x\n1\n"),
        ("in/b.csv", "x\n2\n"),
        ("in/_SUCCESS", ""),
        ("in/deep/c.csv", "x\n3\n"),
        ("in2/d.csv", "x\n4\n"),
    ];
    let store = store(&objects).await;
    let dir = tempfile::tempdir().unwrap();
    let cx = cx_with(dir.path(), &store);
    for (url, found) in [
        ("s3://bucket/in/a.csv", vec!["s3://bucket/in/a.csv"]),
        ("s3a://bucket/in/*.csv", vec!["s3://bucket/in/a.csv", "s3://bucket/in/b.csv"]),
        ("s3://bucket/in/", vec!["s3://bucket/in/a.csv", "s3://bucket/in/b.csv"]),
        ("s3://bucket/in", vec!["s3://bucket/in/a.csv", "s3://bucket/in/b.csv"]),
        ("s3://bucket/in*/d.csv", vec!["s3://bucket/in2/d.csv"]),
        ("s3://bucket/**/c.csv", vec!["s3://bucket/in/deep/c.csv"]),
    ] {
        let (chunks, _) = load(&*source("file", json!({"url": url})), &cx, None).await;
        assert_eq!(names(&chunks), found, "{url}");
    }
    for url in ["s3://bucket/nothing.csv", "s3://bucket/*.csv", "s3://bucket/nothing/"] {
        let error = failure(&*source("file", json!({"url": url})), &cx).await;
        assert_eq!(error.code(), codes::SOURCE_MISSING, "{url}");
    }
}

#[tokio::test]
async fn an_object_is_read_again_only_when_its_content_changed() {
    let store = store(&[("a.csv", "x\n1\n")]).await;
    let dir = tempfile::tempdir().unwrap();
    let cx = cx_with(dir.path(), &store);
    let source = source("file", json!({"url": "s3://bucket/a.csv"}));
    let (chunks, position) = load(&*source, &cx, None).await;
    assert_eq!((texts(&chunks), chunks[0].file.rows), (vec!["x\n1\n".to_owned()], Some(1)));
    assert!(nothing(&*source, &cx, &position).await.contains("ETag"));
    store.put(&Key::from("a.csv"), "x\n1\n".into()).await.unwrap();
    assert!(nothing(&*source, &cx, &position).await.contains("sha256"));
    store.put(&Key::from("a.csv"), "x\n2\n".into()).await.unwrap();
    load(&*source, &cx, Some(&position)).await;
}

#[tokio::test]
async fn an_object_in_place_is_not_fetched_whole() {
    let rows = "{\"a\":1}\n".repeat((12 << 20) / 8);
    let store = store(&[("big.ndjson", rows.as_str())]).await;
    let dir = tempfile::tempdir().unwrap();
    let cx = cx_with(dir.path(), &store);
    let source = source("file", json!({"url": "s3a://bucket/big.ndjson", "in_place": true}));
    let (chunks, position) = load(&*source, &cx, None).await;
    let file = &chunks[0].file;
    assert_eq!(file.in_place.as_ref().unwrap().url, "s3://bucket/big.ndjson");
    assert_eq!((file.rows, file.bytes), (None, 12 << 20));
    assert!(file.body.len().unwrap() < 10 << 20);
    assert!(chunks[0].notes[0].0.contains("first 8 MiB of s3://bucket/big.ndjson"), "{:?}", chunks[0].notes);
    assert!(nothing(&*source, &cx, &position).await.contains("ETag"));
}

#[tokio::test]
async fn a_parquet_object_in_place_is_known_by_its_end() {
    use arrow::{array::Int64Array, record_batch::RecordBatch};
    let values: Vec<i64> =
        (0..200_000).map(|n: i64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64)).collect();
    let batch = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(values)) as _)]).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let bytes = writer.into_inner().unwrap();
    let store = store(&[]).await;
    store.put(&Key::from("n.parquet"), bytes.clone().into()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut cx = cx_with(dir.path(), &store);
    let source = source("file", json!({"url": "s3://bucket/n.parquet", "in_place": true}));
    let (chunks, _) = load(&*source, &cx, None).await;
    let file = &chunks[0].file;
    assert_eq!((file.rows, file.bytes), (Some(200_000), bytes.len() as u64));
    assert_eq!(file.schema.field(0).name(), "n");
    assert!(bytes_of(&file.body)[..1 << 20].iter().all(|byte| *byte == 0), "it was fetched whole");
    // A type that not every value may fit has to be tried.
    cx.columns.insert("n".into(), "decimal(5,0)".to_owned().try_into().unwrap());
    let (chunks, _) = load(&*source, &cx, None).await;
    assert!(!chunks[0].rejects.is_empty());
}

#[tokio::test]
async fn a_zip_is_read_without_unpacking_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut zip = zip::ZipWriter::new(File::create(dir.path().join("x.zip")).unwrap());
    for (name, rows) in [("a.csv", "x\n1\n"), ("read.me", "?"), ("b.csv", "x\n2\n3\n")] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(rows.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    let source = source("file", json!({"url": "x.zip", "members": "*.csv"}));
    let (chunks, _) = load(&*source, &cx(dir.path()), None).await;
    let format = &chunks[0].file.format;
    assert!(matches!(&format.kind, FormatKind::Csv(_)));
    assert_eq!(format.compression, Compression::Zip { members: Some("*.csv".into()) });
    assert_eq!((chunks[0].file.rows, chunks[0].file.extension.as_str()), (Some(3), "csv.zip"));
}

#[test]
fn wrong_keys_are_named() {
    for (config, path, says) in [
        (json!({"url": ""}), "url", "empty"),
        (json!({"url": "hdfs://host/x.csv"}), "url", "not supported yet"),
        (json!({"url": "ftp://me:canary@host/x.csv"}), "url", "s3://"),
        (json!({"url": "https://a.example/data"}), "format", "add `format:`"),
        (json!({"url": "https://a.example/x.csv", "in_place": true}), "in_place", "copied"),
        (json!({"url": "x.csv", "format": "xlsx"}), "format", "`parquet`"),
        (json!({"url": "x.csv", "compression": "rar"}), "compression", "`zip`"),
        (json!({"url": "x.csv", "csv": {"delimiter": "ab"}}), "csv.delimiter", "one ASCII"),
        (json!({"url": "x.csv", "csv": {"delimeter": ";"}}), "csv.delimeter", "`delimiter`"),
    ] {
        let error = config_error("file", config);
        assert_eq!(error.path.join("."), path, "{error:?}");
        assert!(error.message.contains(says) && !error.message.contains("canary"), "{error:?}");
    }
}
