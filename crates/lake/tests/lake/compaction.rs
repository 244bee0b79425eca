//! Small files become few big ones: the same rows, and nothing is built again because of it.

use std::{collections::BTreeSet, sync::Arc};

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int8Array,
    Int64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, Int64Type};
use futures::TryStreamExt;
use lagar_flow::{Result, TableName, codes};
use lagar_lake::{Compaction, Lake, Table, TableMeta, WriteOptions};
use lagar_testing::{Battery, Fault, FaultStore, Op, Plan};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::support::*;

const TARGET: u64 = 64 << 20;

fn parts() -> TableName {
    table_name("trusted.parts")
}

fn options() -> WriteOptions {
    WriteOptions { target_file_bytes: u64::MAX, run_id: "compaction".into(), threads: 2 }
}

async fn compact(lake: &Lake, table: &Table) -> Result<Table> {
    Ok(lake.compact(table, &Compaction::of(table, TARGET), options()).await?.table)
}

/// Adds `batch` to the table, with an input that tells how often that was done.
async fn append(lake: &Lake, name: &TableName, batch: &RecordBatch, by: &[&str]) -> Table {
    let before = lake.table(name, None).await.unwrap();
    let base = before.as_ref().map(|table| table.version);
    let mut files = before.map(|table| table.files).unwrap_or_default();
    files.extend(write_files(lake, name, std::slice::from_ref(batch), by).await.unwrap());
    let inputs = [("raw.x", base.map_or(1, |version| version + 2))];
    lake.commit_table(commit_of(name, batch.schema(), by, files, base, &inputs)).await.unwrap()
}

async fn batches(lake: &Lake, table: &Table) -> Vec<RecordBatch> {
    let mut all = Vec::new();
    for file in &table.files {
        let object = lake.file_path(&table.name, file).unwrap();
        let bytes = lake.store().get(&object).await.unwrap().bytes().await.unwrap();
        assert_eq!(bytes.len() as u64, file.bytes);
        let batches = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        all.extend(batches.map(|batch| batch.unwrap()));
    }
    all
}

/// The rows with the partition of their file, as text, sorted.
async fn texts(lake: &Lake, table: &Table) -> Vec<String> {
    let mut rows = Vec::new();
    for file in &table.files {
        let one = Table { files: vec![file.clone()], ..table.clone() };
        for batch in batches(lake, &one).await {
            let schema = batch.schema();
            for row in 0..batch.num_rows() {
                let value = |column| arrow::util::display::array_value_to_string(column, row).unwrap();
                let columns = schema.fields().iter().zip(batch.columns());
                let mut text: Vec<String> =
                    columns.map(|(field, column)| format!("{}={}", field.name(), value(column))).collect();
                text.sort();
                rows.push(format!("{:?} {}", file.partition, text.join(" ")));
            }
        }
    }
    rows.sort();
    rows
}

async fn log_entry(lake: &Lake, table: &Table) -> Vec<Value> {
    let path = format!("{}/_delta_log/{:020}.json", lake.table_folder(&table.name), table.version);
    let bytes = lake.store().get(&Path::from(path)).await.unwrap().bytes().await.unwrap();
    bytes
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn without_ids(meta: &TableMeta) -> TableMeta {
    TableMeta {
        commit_id: String::new(),
        run_id: String::new(),
        rows_in: 0,
        rows_out: 0,
        compacted: None,
        ..meta.clone()
    }
}

/// Every type that a table has, three rows.
fn everything(first: i64) -> RecordBatch {
    let list =
        ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    let decimals = Decimal128Array::from(vec![Some(-5), Some(123_456), None]);
    batch(vec![
        ("id", Arc::new(Int64Array::from_iter_values(first..first + 3))),
        ("tiny", Arc::new(Int8Array::from(vec![Some(-128), None, Some(127)]))),
        ("float", Arc::new(Float64Array::from(vec![Some(-0.0), Some(f64::NAN), None]))),
        ("text", Arc::new(StringArray::from(vec![Some("ä\u{0}\n"), Some(""), None]))),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(&[0_u8, 255][..]), None, Some(b"")]))),
        ("flag", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("day", Arc::new(Date32Array::from(vec![Some(-1), None, Some(20_000)]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None, Some(2_000_001)]))),
        ("price", Arc::new(decimals.with_precision_and_scale(38, 2).unwrap())),
        ("list", Arc::new(list)),
        ("kind", Arc::new(StringArray::from(vec![Some("a/b"), None, Some("ü")]))),
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rows_and_what_is_said_of_them_stay() {
    let folder = tempfile::tempdir().unwrap();
    for (lake, by) in [(lake_in(folder.path()).await, vec![]), (lake_over(memory()), vec!["kind"])] {
        for first in 0..4 {
            append(&lake, &parts(), &everything(first * 3), &by).await;
        }
        let before = lake.table(&parts(), None).await.unwrap().unwrap();
        let made = compact(&lake, &before).await.unwrap();
        let after = lake.table(&parts(), None).await.unwrap().unwrap();
        assert_eq!(after.files, made.files);
        let partitions: BTreeSet<_> = before.files.iter().map(|file| file.partition.clone()).collect();
        assert_eq!(after.files.len(), partitions.len());
        assert_eq!(texts(&lake, &after).await, texts(&lake, &before).await);
        assert_eq!(
            (&after.schema, &after.partition_by, &after.column_docs),
            (&before.schema, &before.partition_by, &before.column_docs)
        );
        let (old, new) = (before.meta.as_ref().unwrap(), after.meta.as_ref().unwrap());
        assert_eq!(without_ids(new), without_ids(old), "inputs and fingerprint stay");
        assert_eq!(new.data_id(), old.commit_id);
        assert_ne!(new.commit_id, old.commit_id);
        for action in log_entry(&lake, &after).await {
            for kind in ["add", "remove"] {
                if let Some(change) = action.get(kind) {
                    assert_eq!(change["dataChange"], Value::Bool(false), "{action}");
                }
            }
        }
        assert!(Compaction::of(&after, TARGET).groups.is_empty(), "once is enough");
        // Compacted twice it is still what it was first.
        append(&lake, &parts(), &everything(90), &by).await;
        let third = compact(&lake, &lake.table(&parts(), None).await.unwrap().unwrap()).await.unwrap();
        let again = Compaction { groups: vec![] };
        let fourth = lake.compact(&third, &again, options()).await.unwrap().table;
        assert_eq!(fourth.meta.unwrap().data_id(), third.meta.unwrap().data_id());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_keep_their_order_and_big_files_their_place() {
    let lake = lake_over(memory());
    for first in 0..6 {
        append(&lake, &parts(), &rows(first * 10..first * 10 + 10, |_| None), &[]).await;
    }
    let mut table = lake.table(&parts(), None).await.unwrap().unwrap();
    let by_id = |batches: &[RecordBatch]| -> Vec<i64> {
        batches
            .iter()
            .flat_map(|b| b.column_by_name("id").unwrap().as_primitive::<Int64Type>().values().to_vec())
            .collect()
    };
    let before = by_id(&batches(&lake, &table).await);
    // One file counts as big: it stays, and so do its neighbours apart.
    let bytes = table.files[0].bytes;
    table.files[2].bytes = 10 * bytes;
    let plan = Compaction::of(&table, 3 * bytes);
    let groups: Vec<Vec<&str>> =
        plan.groups.iter().map(|g| g.iter().map(|f| f.path.as_str()).collect()).collect();
    let path = |n: usize| table.files[n].path.as_str();
    assert_eq!(groups, [vec![path(0), path(1), path(3)], vec![path(4), path(5)]]);
    let table = lake.table(&parts(), None).await.unwrap().unwrap();
    let after = compact(&lake, &table).await.unwrap();
    assert_eq!(after.files.len(), 1);
    assert_eq!(by_id(&batches(&lake, &after).await), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_that_older_files_lack_is_null_there() {
    let lake = lake_over(memory());
    let narrow = batch(vec![("id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]);
    append(&lake, &parts(), &narrow, &[]).await;
    let wide = append(&lake, &parts(), &rows(3..5, |id| Some(format!("k{id}"))), &[]).await;
    assert_eq!(wide.schema.fields().len(), 2);
    let after = compact(&lake, &wide).await.unwrap();
    let all = batches(&lake, &after).await;
    let mut kinds: Vec<Option<&str>> =
        all.iter().flat_map(|b| b.column_by_name("kind").unwrap().as_string::<i32>().iter()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [None, None, Some("k3"), Some("k4")]);
    let stats: Value = serde_json::from_str(after.files[0].stats.as_ref().unwrap()).unwrap();
    assert_eq!(stats["nullCount"]["kind"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_in_between_is_built_upon_unless_the_files_are_gone() {
    let store = memory();
    let lake = lake_over(store.clone());
    for first in 0..3 {
        append(&lake, &parts(), &rows(first..first + 1, |_| None), &[]).await;
    }
    let before = lake.table(&parts(), None).await.unwrap().unwrap();
    let appended = append(&lake, &parts(), &rows(9..10, |_| None), &[]).await;
    let done = compact(&lake, &before).await.unwrap();
    assert_eq!((done.version, done.files.len(), total(&done.files)), (4, 2, 4));
    assert_eq!(done.meta.as_ref().unwrap().data_id(), appended.meta.as_ref().unwrap().commit_id);
    assert_eq!(done.meta.unwrap().inputs, appended.meta.unwrap().inputs, "those of the newest");

    replace(&lake, &parts(), &[rows(0..2, |_| None)], &[], Some(4)).await.unwrap();
    let objects =
        async || store.list(None).map_ok(|m| m.location).try_collect::<BTreeSet<Path>>().await.unwrap();
    let there = objects().await;
    let late = compact(&lake, &before).await.unwrap_err();
    assert_eq!(late.code(), codes::LAKE_CONFLICT, "{late}");
    assert_eq!(objects().await, there, "it leaves nothing behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_rows_are_told_from_old_ones_across_a_compaction() {
    let store = memory();
    let lake = lake_over(store.clone());
    let ids = async |files: Option<Vec<lagar_lake::DataFile>>, table: &Table| -> Option<Vec<i64>> {
        let some = Table { files: files?, ..table.clone() };
        let mut ids: Vec<i64> = Vec::new();
        for batch in batches(&lake, &some).await {
            ids.extend(batch.column_by_name("id").unwrap().as_primitive::<Int64Type>().values());
        }
        ids.sort_unstable();
        Some(ids)
    };
    let first = append(&lake, &parts(), &rows(0..2, |_| None), &[]).await;
    let second = append(&lake, &parts(), &rows(2..4, |_| None), &[]).await;
    let compacted = compact(&lake, &second).await.unwrap();
    let last = append(&lake, &parts(), &rows(4..6, |_| None), &[]).await;
    let id = |table: &Table| table.meta.as_ref().unwrap().data_id().to_owned();
    let since = async |base: &Table| {
        let files = lake.added_since(&last, base.version, Some(&id(base))).await.unwrap();
        ids(files, &last).await
    };
    assert_eq!(since(&first).await, Some(vec![2, 3, 4, 5]), "also those that the compaction moved");
    assert_eq!(since(&second).await, Some(vec![4, 5]));
    assert_eq!(since(&compacted).await, Some(vec![4, 5]));
    assert_eq!(since(&last).await, Some(vec![]));
    assert_eq!(lake.added_since(&last, 0, Some("another")).await.unwrap(), None, "a table of another life");
    assert_eq!(lake.added_since(&last, 9, None).await.unwrap(), None, "a version that never was");
    let changed = lake.changed_since(&last, second.version, Some(&id(&second))).await.unwrap().unwrap();
    assert_eq!(ids(Some(changed.added), &last).await, Some(vec![4, 5]));
    assert_eq!(changed.removed, [], "what was only laid out anew did not go");
    assert_eq!(lake.changed_since(&last, 0, Some("another")).await.unwrap(), None);
    // What the compaction replaced is vacuumed: its new rows cannot be told any more, the later ones can.
    for file in second.files.iter().filter(|file| !first.files.contains(file)) {
        store.delete(&lake.file_path(&parts(), file).unwrap()).await.unwrap();
    }
    assert_eq!(since(&first).await, None);
    assert_eq!(since(&second).await, Some(vec![4, 5]));
    replace(&lake, &parts(), &[rows(0..2, |_| None)], &[], Some(last.version)).await.unwrap();
    let rewritten = lake.table(&parts(), None).await.unwrap().unwrap();
    assert_eq!(lake.added_since(&rewritten, last.version, None).await.unwrap(), None);
    let changed = lake.changed_since(&rewritten, last.version, None).await.unwrap().unwrap();
    assert_eq!((&changed.added, &changed.removed), (&rewritten.files, &last.files));
    store.delete(&lake.file_path(&parts(), &last.files[0]).unwrap()).await.unwrap();
    assert_eq!(lake.changed_since(&rewritten, last.version, None).await.unwrap(), None, "which rows went?");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_read_is_named_and_nothing_changes() {
    let store = memory();
    let lake = lake_over(store.clone());
    append(&lake, &parts(), &rows(0..2, |_| None), &[]).await;
    let table = append(&lake, &parts(), &rows(2..4, |_| None), &[]).await;
    let object = lake.file_path(&parts(), &table.files[1]).unwrap();
    let bytes = store.get(&object).await.unwrap().bytes().await.unwrap();
    store.put(&object, bytes.slice(..bytes.len() - 9).into()).await.unwrap();
    let error = compact(&lake, &table).await.unwrap_err();
    assert_eq!(error.code(), codes::LAKE_CORRUPT, "{error}");
    assert!(error.message().contains(object.as_ref()), "{error}");
    assert_eq!(lake.table(&parts(), None).await.unwrap().unwrap().version, table.version);
}

/// A compaction that dies at a call and is done again. Whether the call was reached.
async fn broken_off(plan: Plan) -> bool {
    let inner = memory();
    let lake = lake_over(inner.clone());
    for first in 0..3 {
        append(&lake, &parts(), &rows(first * 4..first * 4 + 4, |id| Some(format!("{}", id % 2))), &["kind"])
            .await;
    }
    let before = lake.table(&parts(), None).await.unwrap().unwrap();
    let expected = texts(&lake, &before).await;
    let faulty = Arc::new(FaultStore::new(inner, plan));
    let result = compact(&lake_over(faulty.clone()), &before).await;
    if !faulty.struck() {
        result.unwrap();
        return false;
    }
    let between = lake.table(&parts(), None).await.unwrap().unwrap();
    assert_eq!(texts(&lake, &between).await, expected);
    if result.is_ok() {
        assert_eq!(between.version, before.version + 1);
    }
    if !Compaction::of(&between, TARGET).groups.is_empty() {
        compact(&lake, &between).await.unwrap();
    }
    let after = lake.table(&parts(), None).await.unwrap().unwrap();
    assert_eq!((texts(&lake, &after).await, after.files.len()), (expected, 2));
    assert_eq!(after.version, before.version + 1, "done once");
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compaction_broken_off_anywhere_can_be_done_again() {
    let mut battery = Battery::new("O3");
    let test = "a_compaction_broken_off_anywhere_can_be_done_again";
    at_every_call(&mut battery, (test, ""), 8, broken_at, broken_off).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_was_lost_is_not_made_twice() {
    // The put of the log entry lands, every answer about it is lost, and somebody else commits behind it.
    let inner = memory();
    let lake = lake_over(inner.clone());
    let batch = rows(0..1, |_| None);
    append(&lake, &parts(), &batch, &[]).await;
    let files = write_files(&lake, &parts(), std::slice::from_ref(&batch), &[]).await.unwrap();
    let plan = |newest: Option<&Table>| {
        let mut all = newest.map(|table| table.files.clone()).unwrap_or_default();
        all.extend(files.iter().cloned());
        Ok(commit_of(&parts(), batch.schema(), &[], all, None, &[]))
    };
    let faults = Plan::from(1, Fault::After)
        .only(|op, path| matches!(op, Op::Put | Op::Get) && path.ends_with("00000000000000000001.json"));
    let faulty = lake_over(Arc::new(FaultStore::new(inner, faults)));
    faulty.commit_onto_newest(&parts(), "ours", Some(0), plan).await.unwrap_err();
    assert_eq!(lake.table(&parts(), None).await.unwrap().unwrap().version, 1, "it has landed");
    append(&lake, &parts(), &batch, &[]).await;
    let again = lake.commit_onto_newest(&parts(), "ours", Some(0), plan).await.unwrap();
    assert_eq!((again.table.version, again.attempts), (1, 1));
    assert_eq!(lake.table(&parts(), None).await.unwrap().unwrap().version, 2);
}
