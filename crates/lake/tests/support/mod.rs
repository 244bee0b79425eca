//! What the tests share.

use std::{collections::BTreeMap, path::Path as FilePath, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use lagar_flow::{
    Body, Chunk, Clock, Compression, FixedClock, Format, FormatKind, Name, Origin, RawFile, Reject, Result,
    TableName,
};
use lagar_lake::{DataFile, Lake, Root, Table, TableCommit, TableMeta, WriteOptions};
use lagar_testing::{Battery, Fault, Plan, env_number, replay};
use object_store::ObjectStore;
use sha2::{Digest, Sha256};

pub fn clock() -> Arc<dyn Clock> {
    Arc::new(FixedClock::new("2026-11-21T23:30:00Z".parse::<DateTime<Utc>>().unwrap()))
}

pub fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(object_store::memory::InMemory::new())
}

pub fn lake_over(store: Arc<dyn ObjectStore>) -> Lake {
    Lake::with_store(store, Root { url: "memory".into(), local: None }, clock())
}

pub async fn lake_in(folder: &FilePath) -> Lake {
    Lake::open("lake", folder, clock(), &|_| None).await.unwrap()
}

/// The lake at `url` in a bucket, opened as a project opens it.
pub async fn lake_at(url: &str, endpoint: &str, key: &str, secret: &str) -> Lake {
    let env = |name: &str| match name {
        "AWS_ENDPOINT_URL_S3" => Some(endpoint.to_owned()),
        "AWS_ACCESS_KEY_ID" => Some(key.to_owned()),
        "AWS_SECRET_ACCESS_KEY" => Some(secret.to_owned()),
        "AWS_REGION" => Some("us-east-1".to_owned()),
        _ => None,
    };
    Lake::open(url, FilePath::new("/"), clock(), &env).await.unwrap()
}

/// All ways in which a call can break off, with and without the process dying there.
pub fn broken_at(call: u64) -> Vec<Plan> {
    let both = |fault| [Plan::at(call, fault), Plan::at(call, fault).then_crash()];
    [Fault::Before, Fault::After, Fault::Half].into_iter().flat_map(both).collect()
}

/// Tries `case` with the `plans` for the first call, the second one, …, until it says that a call was not
/// reached, which must be a call after the first `calls_min`. `what` tells the cases from others of `test`.
pub async fn at_every_call<F: Future<Output = bool> + Send + 'static>(
    battery: &mut Battery,
    (test, what): (&str, &str),
    calls_min: u64,
    plans: impl Fn(u64) -> Vec<Plan>,
    case: impl Fn(Plan) -> F,
) {
    let alone = env_number("LAGAR_CALL");
    for first in (1_u64..).step_by(4) {
        let calls = alone.map_or(first..first + 4, |call| call..call + 1);
        let plans = calls.flat_map(|call| plans(call).into_iter().map(move |plan| (call, plan)));
        let cases = plans.map(|(call, plan)| {
            let replay = replay("lagar-lake", "lake", test, &[("LAGAR_CALL", call)]);
            (format!("{what}{plan}: {replay}"), case(plan))
        });
        let reached = battery.all(8, cases).await;
        if alone.is_some() || reached.contains(&false) {
            assert!(first > calls_min || alone.is_some(), "only {first} calls were tried");
            break;
        }
    }
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn table_name(text: &str) -> TableName {
    text.parse().unwrap()
}

/// NDJSON rows `{"id":…}` as a source would hand them over.
pub fn chunk(text: &str, rejects: Vec<Reject>) -> Chunk {
    chunk_with(text, rejects, Schema::new(vec![Field::new("id", DataType::Int64, true)]))
}

pub fn chunk_with(text: &str, rejects: Vec<Reject>, schema: Schema) -> Chunk {
    let bytes = Bytes::from(text.to_owned());
    let lines = text.lines().count() as u64;
    Chunk {
        file: RawFile {
            bytes: bytes.len() as u64,
            sha256: Some(Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect()),
            rows: Some(lines - rejects.len() as u64),
            body: Body::Memory(bytes),
            in_place: None,
            extension: "ndjson".into(),
            format: Format {
                kind: FormatKind::Ndjson,
                compression: Compression::None,
                columns: BTreeMap::new(),
                misfits: Default::default(),
            },
            schema: Arc::new(schema),
            origin: Origin { url: "test://events".into(), ..Origin::default() },
        },
        rejects,
        notes: Vec::new(),
        drift: Default::default(),
    }
}

/// Columns `id` and `kind`.
pub fn rows(ids: std::ops::Range<i64>, kind: impl Fn(i64) -> Option<String>) -> RecordBatch {
    let kinds: StringArray = ids.clone().map(kind).collect();
    batch(vec![("id", Arc::new(Int64Array::from_iter_values(ids))), ("kind", Arc::new(kinds))])
}

pub fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, c)| c).collect())
        .unwrap()
}

pub async fn write_files(
    lake: &Lake,
    table: &TableName,
    batches: &[RecordBatch],
    partition_by: &[&str],
) -> Result<Vec<DataFile>> {
    let options = WriteOptions { run_id: "run".into(), threads: 2, ..WriteOptions::default() };
    write_files_with(lake, table, batches, partition_by, options).await
}

pub async fn write_files_with(
    lake: &Lake,
    table: &TableName,
    batches: &[RecordBatch],
    partition_by: &[&str],
    options: WriteOptions,
) -> Result<Vec<DataFile>> {
    let by: Vec<String> = partition_by.iter().map(|s| (*s).to_owned()).collect();
    let mut writer = lake.begin_table(table, batches[0].schema(), &by, options)?;
    for batch in batches {
        writer.write(batch).await?;
    }
    writer.finish().await
}

pub fn commit_of(
    table: &TableName,
    schema: SchemaRef,
    partition_by: &[&str],
    files: Vec<DataFile>,
    base: Option<u64>,
    inputs: &[(&str, u64)],
) -> TableCommit {
    TableCommit {
        name: table.clone(),
        schema,
        partition_by: partition_by.iter().map(|s| (*s).to_owned()).collect(),
        meta: TableMeta {
            commit_id: uuid::Uuid::now_v7().to_string(),
            run_id: "run".into(),
            fingerprint: "f".into(),
            definition: String::new(),
            input_ids: Default::default(),
            incremental: Vec::new(),
            merged_by: None,
            inputs: inputs.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect(),
            rows_in: 0,
            rows_out: files.iter().map(|f| f.rows).sum(),
            description: Some("what it is".into()),
            compacted: None,
            left_out: None,
            code_version: None,
        },
        files,
        base,
        column_docs: BTreeMap::new(),
    }
}

/// Replaces the table by `batches`.
pub async fn replace(
    lake: &Lake,
    table: &TableName,
    batches: &[RecordBatch],
    partition_by: &[&str],
    base: Option<u64>,
) -> Result<Table> {
    let files = write_files(lake, table, batches, partition_by).await?;
    lake.commit_table(commit_of(table, batches[0].schema(), partition_by, files, base, &[])).await
}

pub fn total(files: &[DataFile]) -> u64 {
    files.iter().map(|f| f.rows).sum()
}
