//! Other programs read the tables: delta-rs, DuckDB, Polars and pyarrow from Python, where they are installed.

use std::{path::PathBuf, process::Command, sync::Arc};

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, ListArray, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::Int32Type;

use crate::support::*;

/// The interpreter with the readers.
fn python() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("LAGAR_TEST_PYTHON")?);
    let ready = Command::new(&path).args(["-c", "import deltalake, duckdb, polars, pyarrow"]).output();
    ready.is_ok_and(|out| out.status.success()).then_some(path)
}

const SCRIPT: &str = r#"
import json, sys
import deltalake, duckdb, polars, pyarrow
import pyarrow.parquet as pq
root = sys.argv[1]
table = deltalake.DeltaTable(root)
rows = pyarrow.table(table.to_pyarrow_table() if hasattr(table, "to_pyarrow_table") else table.to_pyarrow_dataset().to_table())
files = table.file_uris()
con = duckdb.connect()
duck = con.execute('select count(*), sum(id), sum(price), count("at"), min(day)::text from read_parquet(?, hive_partitioning=false)', [files]).fetchone()
frame = polars.read_delta(root)
print(json.dumps({
    "version": table.version(),
    "protocol": [table.protocol().min_reader_version, table.protocol().min_writer_version],
    "description": table.metadata().description,
    "partition": table.metadata().partition_columns,
    "comment": json.loads(table.schema().to_json())["fields"][0]["metadata"],
    "delta": [rows.num_rows, sum(rows["id"].to_pylist()), str(sum(p for p in rows["price"].to_pylist() if p is not None))],
    "types": {f.name: str(f.type) for f in rows.schema},
    "cities": sorted({c or "" for c in rows["city"].to_pylist()}),
    "duckdb": [duck[0], int(duck[1]), str(duck[2]), duck[3], duck[4]],
    "polars": [frame.height, frame["id"].sum(), str(frame["price"].sum())],
    "filtered": frame.filter(polars.col("city") == "a/b: ü%").height,
    "pyarrow": sum(pq.read_metadata(f).num_rows for f in files),
    "stats_id": sorted(json.loads(a["stats"])["numRecords"] if isinstance(a.get("stats"), str) else a["num_records"]
        for a in pyarrow.table(table.get_add_actions(flatten=True)).to_pylist()),
}))
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_programs_read_the_same() {
    let Some(python) = python() else {
        eprintln!("skipped: no Python with deltalake, duckdb, polars and pyarrow");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let lake = lake_in(folder.path()).await;
    let name = table_name("refined.readers");
    let rows = 1000_i64;
    let price = Decimal128Array::from_iter((0..rows).map(|i| (i % 10 != 0).then_some(i128::from(i) * 7)));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..rows))),
        (
            "city",
            Arc::new(
                (0..rows)
                    .map(|i| [Some("a/b: ü%"), Some("b"), None][i as usize % 3])
                    .collect::<StringArray>(),
            ),
        ),
        ("price", Arc::new(price.with_precision_and_scale(20, 2).unwrap())),
        ("ratio", Arc::new(Float64Array::from_iter_values((0..rows).map(|i| i as f64 / 3.0)))),
        ("flag", Arc::new((0..rows).map(|i| Some(i % 2 == 0)).collect::<BooleanArray>())),
        ("day", Arc::new(Date32Array::from_iter_values((0..rows).map(|i| i as i32)))),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values((0..rows).map(|i| i * 1_000_003)))),
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(
                (0..rows).map(|i| Some(vec![Some(i as i32)])),
            )),
        ),
        ("nothing", Arc::new(arrow::array::NullArray::new(rows as usize))),
    ];
    let batch = batch(columns);
    let files =
        write_files(&lake, &name, &[batch.slice(0, 400), batch.slice(400, 600)], &["city"]).await.unwrap();
    let mut commit = commit_of(&name, batch.schema(), &["city"], files, None, &[("raw.x", 1)]);
    commit.column_docs.insert("id".into(), "the id".into());
    let table = lake.commit_table(commit).await.unwrap();
    // A second version: what the first one had must not show.
    let mut commit = commit_of(&name, batch.schema(), &["city"], table.files, Some(0), &[("raw.x", 2)]);
    commit.files = write_files(&lake, &name, std::slice::from_ref(&batch), &["city"]).await.unwrap();
    commit.column_docs.insert("id".into(), "the id".into());
    lake.commit_table(commit).await.unwrap();

    let root = lake.local_path().unwrap().join("refined/readers");
    let out = Command::new(python).args(["-c", SCRIPT]).arg(&root).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let seen: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let ids = (0..rows).sum::<i64>();
    let cents = (0..rows).filter(|i| i % 10 != 0).map(|i| i * 7).sum::<i64>();
    let prices = format!("{}.{:02}", cents / 100, cents % 100);
    assert_eq!(seen["version"], 1);
    assert_eq!(seen["protocol"], serde_json::json!([1, 2]));
    assert_eq!(seen["description"], "what it is");
    assert_eq!(seen["partition"], serde_json::json!(["city"]));
    assert_eq!(seen["comment"]["comment"], "the id");
    assert_eq!(seen["delta"], serde_json::json!([rows, ids, prices]));
    assert_eq!(seen["polars"], serde_json::json!([rows, ids, prices]));
    assert_eq!(seen["duckdb"], serde_json::json!([rows, ids, prices, rows, "1970-01-01"]));
    assert_eq!(seen["pyarrow"], rows);
    assert_eq!(seen["cities"], serde_json::json!(["", "a/b: ü%", "b"]));
    assert_eq!(seen["filtered"], 334);
    assert_eq!(seen["types"]["at"], "timestamp[us, tz=UTC]");
    assert_eq!(seen["types"]["nothing"], "string");
    assert_eq!(seen["stats_id"], serde_json::json!([333, 333, 334]));
}
