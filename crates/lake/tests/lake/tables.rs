//! Tables.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch,
        StringArray, StructArray, TimestampMicrosecondArray,
    },
    datatypes::{DataType, Field, TimeUnit},
};
use bytes::Bytes;
use futures::TryStreamExt;
use lagar_flow::{TableName, codes};
use lagar_lake::{DataFile, Lake, WriteOptions};
use lagar_testing::{Battery, long, replay, seeds, with_wrong_bit};
use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::support::*;

async fn entry(lake: &Lake, table: &str, version: u64) -> Vec<Value> {
    let path = Path::from(format!("{}/_delta_log/{version:020}.json", table.replace('.', "/")));
    let bytes = lake.store().get(&path).await.unwrap().bytes().await.unwrap();
    bytes
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect()
}

fn of<'a>(actions: &'a [Value], kind: &str) -> Vec<&'a Value> {
    actions.iter().filter_map(|a| a.get(kind)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_made_replaced_appended_and_read_at_any_version() {
    let folder = tempfile::tempdir().unwrap();
    for lake in [lake_in(folder.path()).await, lake_over(memory())] {
        let orders = table_name("trusted.orders");
        assert!(lake.table(&orders, None).await.unwrap().is_none());
        assert!(lake.table(&table_name("raw.orders"), None).await.unwrap().is_none());
        let none = |_| None;
        let files = write_files(&lake, &orders, &[rows(0..10, none)], &[]).await.unwrap();
        assert!(lake.tables().await.unwrap().is_empty(), "files alone are no table");
        let schema = rows(0..1, none).schema();
        let inputs = [("raw.orders", 3), ("trusted.x", 7)];
        let mut commit = commit_of(&orders, schema.clone(), &[], files, None, &inputs);
        commit.column_docs = BTreeMap::from([("id".to_owned(), "what it is".to_owned())]);
        let first = lake.commit_table(commit.clone()).await.unwrap();
        assert_eq!((first.version, total(&first.files)), (0, 10));

        // Again: a lost answer. Nothing happens, and the same version is told.
        let again = lake.commit_table(commit.clone()).await.unwrap();
        assert_eq!(again.version, 0);
        let actions = entry(&lake, "trusted.orders", 0).await;
        assert_eq!(of(&actions, "protocol"), [&json!({"minReaderVersion": 1, "minWriterVersion": 2})]);
        assert_eq!(of(&actions, "txn").len(), 2);
        assert_eq!(of(&actions, "txn")[0]["appId"], "lagar/raw.orders");
        assert_eq!(of(&actions, "txn")[0]["version"], 3);
        assert_eq!(of(&actions, "metaData")[0]["description"], "what it is");
        let columns = of(&actions, "metaData")[0]["schemaString"].as_str().unwrap().to_owned();
        assert!(columns.contains(r#""metadata":{"comment":"what it is"}"#), "{columns}");

        // Append: the old files and a new one.
        let mut files = first.files.clone();
        files.extend(write_files(&lake, &orders, &[rows(10..15, none)], &[]).await.unwrap());
        let mut append = commit_of(&orders, schema.clone(), &[], files, Some(0), &inputs);
        append.column_docs = commit.column_docs.clone();
        let second = lake.commit_table(append).await.unwrap();
        let actions = entry(&lake, "trusted.orders", 1).await;
        assert_eq!((of(&actions, "add").len(), of(&actions, "remove").len()), (1, 0));
        assert!(of(&actions, "metaData").is_empty(), "nothing about the table changed");

        // Replace, with other columns.
        let wider = batch(vec![
            ("id", Arc::new(StringArray::from(vec!["a"]))),
            ("extra", Arc::new(BooleanArray::from(vec![true]))),
        ]);
        let third = replace(&lake, &orders, &[wider], &[], Some(1)).await.unwrap();
        let actions = entry(&lake, "trusted.orders", 2).await;
        assert_eq!((of(&actions, "add").len(), of(&actions, "remove").len()), (1, 2));
        assert_eq!(of(&actions, "metaData").len(), 1);

        for made in [&first, &second, &third] {
            let read = lake.table(&orders, Some(made.version)).await.unwrap().unwrap();
            assert_eq!(read.files, made.files);
            assert_eq!(read.schema, made.schema);
            assert_eq!(read.meta, made.meta);
            assert_eq!(read.committed_at, made.committed_at);
        }
        assert_eq!(lake.table(&orders, None).await.unwrap().unwrap().version, 2);
        assert!(lake.table(&orders, Some(3)).await.unwrap().is_none());
        assert_eq!(lake.tables().await.unwrap(), [orders]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_writers_that_start_from_one_version_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake_in(folder.path()).await;
    let orders = table_name("refined.orders");
    for base in [None, Some(0)] {
        let racers = (0..8).map(|n| {
            let (lake, orders) = (lake.clone(), orders.clone());
            tokio::spawn(async move { replace(&lake, &orders, &[rows(n..n + 1, |_| None)], &[], base).await })
        });
        let results: Vec<_> =
            futures::future::join_all(racers).await.into_iter().map(Result::unwrap).collect();
        let won: Vec<_> = results.iter().flatten().collect();
        assert_eq!(won.len(), 1);
        for lost in results.iter().filter_map(|r| r.as_ref().err()) {
            assert_eq!(lost.code(), codes::LAKE_CONFLICT, "{lost}");
            assert!(lost.is_retryable());
        }
        assert_eq!(lake.table(&orders, None).await.unwrap().unwrap().meta, won[0].meta);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_without_rows_is_a_table_too() {
    let lake = lake_over(memory());
    let empty = table_name("trusted.empty");
    let table = replace(&lake, &empty, &[rows(0..0, |_| None)], &["kind"], None).await.unwrap();
    assert!(table.files.is_empty());
    let read = lake.table(&empty, None).await.unwrap().unwrap();
    assert_eq!((read.version, read.files.len(), read.schema.fields().len()), (0, 0, 2));
    assert_eq!(read.partition_by, ["kind"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_partition_values_come_back() {
    let folder = tempfile::tempdir().unwrap();
    for lake in [lake_in(folder.path()).await, lake_over(memory())] {
        let name = table_name("trusted.odd");
        let values = [Some("a/b"), Some("ü"), Some(".."), None, Some(""), Some("x=y:z %41"), Some("a+b#1")];
        let kind = |id: i64| values[id as usize % values.len()].map(str::to_owned);
        let made = replace(&lake, &name, &[rows(0..70, kind)], &["kind"], None).await.unwrap();
        let read = lake.table(&name, None).await.unwrap().unwrap();
        assert_eq!(read.files, made.files);
        let mut seen: Vec<(Option<&str>, u64)> =
            read.files.iter().map(|f| (f.partition[0].1.as_deref(), f.rows)).collect();
        seen.sort();
        let mut expected: Vec<(Option<&str>, u64)> = vec![
            (None, 20), // null, and the empty text that Delta does not tell from it
            (Some(".."), 10),
            (Some("a+b#1"), 10),
            (Some("a/b"), 10),
            (Some("x=y:z %41"), 10),
            (Some("ü"), 10),
        ];
        expected.sort();
        assert_eq!(seen, expected);
        for file in &read.files {
            assert!(!file.path.contains(':'), "{}", file.path);
            assert_eq!(file.path.matches('/').count(), 1, "{}", file.path);
            let path = lake.file_path(&name, file).unwrap();
            let bytes = lake.store().get(&path).await.unwrap().bytes().await.unwrap();
            let parquet = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
            assert_eq!(parquet.schema().fields().len(), 1, "the partition column is in the file");
        }
    }
}

fn everything() -> RecordBatch {
    let long = "ä".repeat(50);
    let point = StructArray::from(vec![
        (
            Arc::new(Field::new("lat", DataType::Int64, true)),
            Arc::new(Int64Array::from(vec![Some(-3), None, Some(9)])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("name", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec![Some("p"), Some("q"), None])) as ArrayRef,
        ),
    ]);
    let decimals = Decimal128Array::from(vec![Some(-5), Some(123_456), None]);
    batch(vec![
        ("int", Arc::new(Int64Array::from(vec![Some(5), None, Some(-7)]))),
        ("float", Arc::new(Float64Array::from(vec![Some(1.5), Some(-0.25), None]))),
        ("nan", Arc::new(Float64Array::from(vec![1.0, f64::NAN, 2.0]))),
        ("text", Arc::new(StringArray::from(vec![Some(long.as_str()), Some("b"), Some("zz")]))),
        ("flag", Arc::new(BooleanArray::from(vec![true, false, true]))),
        ("day", Arc::new(Date32Array::from(vec![Some(-1), Some(0), None]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_001), Some(2_000_001), None]))),
        ("price", Arc::new(decimals.with_precision_and_scale(38, 2).unwrap())),
        ("nothing", Arc::new(Int64Array::from(vec![None::<i64>, None, None]))),
        ("point", Arc::new(point)),
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_are_right() {
    let lake = lake_over(memory());
    let name = table_name("trusted.stats");
    let made = replace(&lake, &name, &[everything()], &[], None).await.unwrap();
    let stats: Value = serde_json::from_str(made.files[0].stats.as_ref().unwrap()).unwrap();
    let upper = format!("{}å", "ä".repeat(31));
    assert_eq!(
        stats,
        json!({
            "numRecords": 3,
            "minValues": {
                "int": -7, "float": -0.25, "text": "b", "day": "1969-12-31",
                "at": "1970-01-01T00:00:00.001Z", "price": -0.05, "point": {"lat": -3, "name": "p"},
            },
            "maxValues": {
                "int": 5, "float": 1.5, "text": upper, "day": "1970-01-01",
                "at": "1970-01-01T00:00:02.001Z", "price": 1234.56, "point": {"lat": 9, "name": "q"},
            },
            "nullCount": {
                "int": 1, "float": 1, "nan": 0, "text": 0, "flag": 0, "day": 1, "at": 1, "price": 1,
                "nothing": 3, "point": {"lat": 1, "name": 1},
            },
        })
    );
    let read = lake.table(&name, None).await.unwrap().unwrap();
    assert_eq!(read.files, made.files);
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(read.schema.field_with_name("at").unwrap().data_type(), &utc);
    assert_eq!(read.schema, made.schema);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_rows_become_several_files_and_none_is_lost() {
    let lake = lake_over(memory());
    let name = table_name("trusted.many");
    // Values that hardly compress, so that the files grow.
    let batches: Vec<RecordBatch> = (0..24)
        .map(|n| {
            let id = |i: i64| (n * 50_000 + i).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64);
            let ids: Int64Array = (0..50_000).map(id).collect::<Vec<_>>().into();
            batch(vec![("id", Arc::new(ids))])
        })
        .collect();
    let options = WriteOptions { target_file_bytes: 1 << 20, run_id: "run".into(), threads: 3 };
    let files = write_files_with(&lake, &name, &batches, &[], options).await.unwrap();
    assert!(files.len() > 2, "{}", files.len());
    assert_eq!(total(&files), 1_200_000);
    let mut sum = 0_i64;
    let mut read = 0;
    for file in &files {
        assert!(file.bytes < 4 << 20, "{}", file.bytes);
        let bytes =
            lake.store().get(&lake.file_path(&name, file).unwrap()).await.unwrap().bytes().await.unwrap();
        assert_eq!(bytes.len() as u64, file.bytes);
        for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            read += batch.num_rows();
            let ids = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
            sum = ids.values().iter().fold(sum, |a, b| a.wrapping_add(*b));
        }
    }
    let expected = (0..1_200_000_i64)
        .fold(0_i64, |a, i| a.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64)));
    assert_eq!((read, sum), (1_200_000, expected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_partitions_than_open_files_lose_nothing() {
    let lake = lake_over(memory());
    let name = table_name("trusted.wide");
    let kind = |id: i64| Some(format!("{:04}", id % 300));
    let batches = [rows(0..600, kind), rows(600..1200, kind)];
    let files = write_files(&lake, &name, &batches, &["kind"]).await.unwrap();
    let mut by_kind: BTreeMap<String, u64> = BTreeMap::new();
    for file in &files {
        *by_kind.entry(file.partition[0].1.clone().unwrap()).or_default() += file.rows;
    }
    assert_eq!(by_kind.len(), 300);
    assert!(by_kind.values().all(|rows| *rows == 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_was_dropped_leaves_no_object() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake_in(folder.path()).await;
    let name = table_name("trusted.dropped");
    let batch = rows(0..100_000, |_| None);
    let mut writer = lake.begin_table(&name, batch.schema(), &[], WriteOptions::default()).unwrap();
    writer.write(&batch).await.unwrap();
    drop(writer);
    let objects: Vec<_> = lake.store().list(None).try_collect().await.unwrap();
    assert!(objects.is_empty(), "{objects:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_log_and_foreign_tables_are_told_apart() {
    let store = memory();
    let lake = lake_over(store.clone());
    let name = table_name("trusted.t");
    replace(&lake, &name, &[rows(0..3, |_| None)], &[], None).await.unwrap();
    replace(&lake, &name, &[rows(0..3, |_| None)], &[], Some(0)).await.unwrap();
    let path = |n: u64| Path::from(format!("trusted/t/_delta_log/{n:020}.json"));
    let whole = store.get(&path(0)).await.unwrap().bytes().await.unwrap();
    store.put(&path(0), whole.slice(..whole.len() / 2).into()).await.unwrap();
    let error = lake.table(&name, Some(0)).await.unwrap_err();
    assert_eq!(error.code(), codes::LAKE_CORRUPT, "{error}");
    assert!(error.message().contains("trusted/t/_delta_log"), "{error}");
    store.delete(&path(0)).await.unwrap();
    assert_eq!(lake.table(&name, None).await.unwrap_err().code(), codes::LAKE_CORRUPT);

    let newer = String::from_utf8(whole.to_vec()).unwrap().replace("lagar_seal", "other").replace(
        r#"{"minReaderVersion":1,"minWriterVersion":2}"#,
        r#"{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}"#,
    );
    store.put(&path(0), newer.into()).await.unwrap();
    store.delete(&path(1)).await.unwrap();
    let error = lake.table(&name, None).await.unwrap_err();
    assert_eq!(error.code(), codes::LAKE_VERSION, "{error}");
    let error = replace(&lake, &name, &[rows(0..3, |_| None)], &[], Some(0)).await.unwrap_err();
    assert_eq!(error.code(), codes::LAKE_VERSION, "{error}");
}

/// A table of 102 versions.
async fn often(lake: &Lake, name: &TableName) -> Vec<DataFile> {
    let batch = rows(0..3, |_| Some("x".into()));
    let files = write_files(lake, name, std::slice::from_ref(&batch), &["kind"]).await.unwrap();
    for version in 0..=101_u64 {
        let base = version.checked_sub(1);
        let inputs = [("raw.x", version + 1)];
        let commit = commit_of(name, batch.schema(), &["kind"], files.clone(), base, &inputs);
        assert_eq!(lake.commit_table(commit).await.unwrap().version, version);
    }
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_hundred_versions_there_is_a_checkpoint() {
    let lake = lake_over(memory());
    let name = table_name("trusted.often");
    let files = often(&lake, &name).await;
    let log = Path::from("trusted/often/_delta_log");
    let names: Vec<String> =
        lake.store().list(Some(&log)).map_ok(|m| m.location.to_string()).try_collect().await.unwrap();
    assert!(names.iter().any(|n| n.ends_with("00000000000000000100.checkpoint.parquet")), "{names:?}");
    let read = lake.table(&name, None).await.unwrap().unwrap();
    assert_eq!((read.version, read.files), (101, files));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_checkpoint_is_named_or_harmless() {
    let memory = InMemory::new();
    let name = table_name("trusted.often");
    let lake = lake_over(Arc::new(memory.clone()));
    often(&lake, &name).await;
    let whole = lake.table(&name, None).await.unwrap().unwrap();
    let log = "trusted/often/_delta_log";
    let mut named = 0;
    let mut battery = Battery::new("O6");
    for object in ["00000000000000000100.checkpoint.parquet", "_last_checkpoint"] {
        let object = Path::from(format!("{log}/{object}"));
        let bytes = memory.get(&object).await.unwrap().bytes().await.unwrap();
        let flipped = seeds(if long() { 5_000 } else { 150 }).into_iter().map(|seed| {
            let words = replay("lagar-lake", "lake", "a_damaged_checkpoint", &[("LAGAR_SEED", seed)]);
            (words, with_wrong_bit(&bytes, seed))
        });
        let cut = [("cut".to_owned(), bytes.slice(..bytes.len() / 2)), ("emptied".to_owned(), Bytes::new())];
        for (words, damaged) in cut.into_iter().chain(flipped) {
            let store = memory.fork();
            store.put(&object, damaged.into()).await.unwrap();
            let case = async {
                match lake_over(Arc::new(store)).table(&name, None).await {
                    Ok(read) => assert_eq!(format!("{read:?}"), format!("{:?}", Some(&whole))),
                    Err(error) => {
                        assert_eq!(error.code(), codes::LAKE_CORRUPT, "{error}");
                        assert!(error.to_string().contains(log), "{error}");
                        named += 1;
                    }
                }
            };
            battery.case_async(&format!("{object}: {words}"), case).await;
        }
    }
    println!("{named} named");
    assert!(named > 0);
}
