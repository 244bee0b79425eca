//! The parts of a run, each by itself, over generated data in a temporary lake.
//!
//! `LAGAR_BENCH_ROWS` sets the size (50 000), `LAGAR_BIN` the binary whose start is measured.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot be set up has nothing to say")]

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::StreamExt;
use lagar_benches::{city311, shop};
use lagar_connectors::decode;
use lagar_engine::{Engine, RawOptions, Session, Strategy};
use lagar_flow::{
    Body, Chunk, ColumnType, Compression, CsvOptions, Format, FormatKind, InPlace, Name, Origin, RawFile,
    Scope, SystemClock, TableName, schema_of,
};
use lagar_lake::{DataFile, Lake, Manifest, TableCommit, TableMeta, WriteOptions, delta_schema};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const DEFAULT_ROWS: u64 = 50_000;
const SEED: u64 = 7;

fn rows() -> u64 {
    std::env::var("LAGAR_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(DEFAULT_ROWS)
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// An empty lake and an engine in a folder that goes away with it.
struct Workshop {
    runtime: Runtime,
    folder: TempDir,
    lake: Lake,
    engine: Engine,
}

impl Workshop {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let lake =
            runtime.block_on(Lake::open("lake", folder.path(), Arc::new(SystemClock), &|_| None)).unwrap();
        let engine = Engine::new(lagar_engine::Limits {
            memory_bytes: 1 << 30,
            spill_bytes: 4 << 30,
            spill_dir: folder.path().join("spill"),
            threads: threads(),
        })
        .unwrap();
        Self { runtime, folder, lake, engine }
    }

    /// Generates a file of requests or orders; returns its path and length.
    fn generate(
        &self,
        name: &str,
        generator: fn(&mut BufWriter<File>, u64, u64) -> std::io::Result<u64>,
    ) -> (PathBuf, u64) {
        let path = self.folder.path().join(name);
        let mut out = BufWriter::new(File::create(&path).unwrap());
        let bytes = generator(&mut out, rows(), SEED).unwrap();
        std::io::Write::flush(&mut out).unwrap();
        (path, bytes)
    }

    /// Makes the file at `path` a load of `source`; it stays where it is.
    fn load(&self, source: &str, path: &Path, format: Format) -> Arc<Manifest> {
        let source: Name = source.parse().unwrap();
        let body = Body::Local(path.to_path_buf());
        let limits = decode::Limits {
            max_bytes: u64::MAX,
            batch_rows: 8192,
            sample_bytes: Some(1 << 20),
            new_columns: Default::default(),
        };
        let inspected = decode::inspect(&body, &format, None, &limits).unwrap();
        let url = path.display().to_string();
        let file = RawFile {
            bytes: body.len().unwrap(),
            body,
            in_place: Some(InPlace { url: url.clone(), fingerprint: "generated".into() }),
            extension: format.kind.extension().into(),
            format,
            schema: inspected.schema,
            rows: inspected.rows,
            sha256: None,
            origin: Origin { url, ..Origin::default() },
        };
        let chunk =
            Chunk { file, rejects: inspected.rejects, notes: inspected.notes, drift: inspected.drift };
        self.runtime.block_on(async {
            let mut writer = self.lake.begin_load(&source, "bench");
            writer.add(&chunk).await.unwrap();
            Arc::new(writer.commit(None, None, Scope::Snapshot, Vec::new()).await.unwrap())
        })
    }

    /// A session that sees `manifest` as the only load of its source.
    fn session(&self, manifest: &Arc<Manifest>) -> Session {
        let session = self.engine.session();
        let schema = schema_of(&manifest.columns).unwrap();
        let options = RawOptions { spool: self.folder.path().to_path_buf() };
        session.add_raw(&manifest.source, &self.lake, vec![manifest.clone()], schema, options).unwrap();
        session
    }

    /// A session that sees committed tables.
    fn session_of(&self, tables: &[&str]) -> Session {
        let session = self.engine.session();
        for name in tables {
            let table =
                self.runtime.block_on(self.lake.table(&name.parse().unwrap(), None)).unwrap().unwrap();
            session.add_table(&table, &self.lake).unwrap();
        }
        session
    }

    /// Writes what `sql` selects into files of the table `name`; nothing is committed.
    async fn write(&self, session: &Session, sql: &str, name: &str) -> Written<'_> {
        let name: TableName = name.parse().unwrap();
        let mut query = session.query_stored(sql, Strategy::Default).await.unwrap();
        let schema = delta_schema(query.schema()).unwrap();
        let options =
            WriteOptions { target_file_bytes: 256 << 20, run_id: "bench".into(), threads: threads() };
        let mut writer = self.lake.begin_table(&name, schema.clone(), &[], options).unwrap();
        while let Some(batch) = query.batches.stream.next().await {
            writer.write(&batch.unwrap()).await.unwrap();
        }
        let files = writer.finish().await.unwrap();
        Written { workshop: self, name, schema, files, keep: false }
    }

    /// A committed table of what `sql` selects; returns its version.
    async fn build(&self, session: &Session, sql: &str, name: &str, base: Option<u64>) -> u64 {
        let mut written = self.write(session, sql, name).await;
        written.keep = true;
        let commit = TableCommit {
            name: written.name.clone(),
            schema: written.schema.clone(),
            partition_by: Vec::new(),
            files: written.files.clone(),
            meta: TableMeta {
                commit_id: format!("{name}-{base:?}"),
                run_id: "bench".into(),
                fingerprint: String::new(),
                definition: String::new(),
                input_ids: Default::default(),
                incremental: Vec::new(),
                merged_by: None,
                inputs: BTreeMap::new(),
                rows_in: 0,
                rows_out: written.rows(),
                description: None,
                compacted: None,
                code_version: None,
                left_out: None,
            },
            base,
            column_docs: BTreeMap::new(),
        };
        self.lake.commit_table(commit).await.unwrap().version
    }
}

/// Files of a table that no commit names; removed when dropped, so that the disk does not fill up.
struct Written<'a> {
    workshop: &'a Workshop,
    name: TableName,
    schema: arrow::datatypes::SchemaRef,
    files: Vec<DataFile>,
    keep: bool,
}

impl Written<'_> {
    fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        let folder = self
            .workshop
            .folder
            .path()
            .join("lake")
            .join(self.name.zone.as_str())
            .join(self.name.name.as_str());
        for file in &self.files {
            std::fs::remove_file(folder.join(&file.path)).unwrap();
        }
    }
}

/// How many rows `sql` gives.
async fn count(session: &Session, sql: &str) -> u64 {
    let mut query = session.query(sql).await.unwrap();
    let mut rows = 0;
    while let Some(batch) = query.batches.stream.next().await {
        rows += batch.unwrap().num_rows() as u64;
    }
    rows
}

/// NDJSON whose values are all text.
fn requests_format() -> Format {
    let texts = city311::TEXTS.iter().chain(city311::NUMBERS).chain(city311::TIMES);
    Format {
        kind: FormatKind::Ndjson,
        compression: Compression::None,
        columns: texts.map(|name| ((*name).to_owned(), ColumnType::Text)).collect(),
        misfits: Default::default(),
    }
}

/// Every column typed and cleaned.
fn typed_requests() -> String {
    let key = ["TRY_CAST(unique_key AS BIGINT) AS unique_key".to_owned()];
    let numbers = city311::NUMBERS[1..].iter().map(|name| format!("TRY_CAST({name} AS DOUBLE) AS {name}"));
    let times = city311::TIMES.iter().map(|name| format!("TRY_CAST({name} AS TIMESTAMP) AS {name}"));
    let texts = city311::TEXTS
        .iter()
        .map(|name| format!("nullif(nullif(lower(trim({name})), 'n/a'), 'nan') AS {name}"));
    let columns: Vec<String> = key.into_iter().chain(numbers).chain(times).chain(texts).collect();
    format!("SELECT {} FROM raw.requests", columns.join(", "))
}

const TYPED_ORDERS: &str = "SELECT id, user_id, city_id, product_id, quantity, \
     CAST(unit_price AS DECIMAL(10, 2)) AS unit_price, CAST(ordered_at AS TIMESTAMP) AS ordered_at, \
     CAST(updated_at AS TIMESTAMP) AS updated_at, lower(trim(status)) AS status, note FROM raw.orders";

const DEDUPE: &str = "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY unique_key \
     ORDER BY resolution_action_updated_date DESC NULLS LAST) AS place FROM trusted.requests) WHERE place = 1";

const JOIN: &str = "SELECT cities.region, products.category, sum(orders.quantity * orders.unit_price) AS revenue \
     FROM trusted.orders AS orders JOIN trusted.products AS products ON products.id = orders.product_id \
     JOIN trusted.cities AS cities ON cities.id = orders.city_id GROUP BY cities.region, products.category";

fn json_to_parquet(criterion: &mut Criterion) {
    let workshop = Workshop::new();
    let (path, bytes) = workshop.generate("requests.ndjson", city311::write);
    let session = workshop.session(&workshop.load("requests", &path, requests_format()));
    let sql = typed_requests();
    let mut group = criterion.benchmark_group("json_to_parquet");
    group.sample_size(10).throughput(Throughput::Bytes(bytes));
    group.bench_function("requests", |bencher| {
        bencher.iter_with_large_drop(|| {
            let written = workshop.runtime.block_on(workshop.write(&session, &sql, "trusted.requests"));
            assert_eq!(written.rows(), rows());
            written
        });
    });
    group.finish();
}

fn csv_to_parquet(criterion: &mut Criterion) {
    let workshop = Workshop::new();
    let (path, bytes) = workshop.generate("orders.csv", shop::write_orders);
    let session = workshop.session(&workshop.load("orders", &path, orders_format()));
    let mut group = criterion.benchmark_group("csv_to_parquet");
    group.sample_size(10).throughput(Throughput::Bytes(bytes));
    group.bench_function("orders", |bencher| {
        bencher.iter_with_large_drop(|| {
            let written = workshop.runtime.block_on(workshop.write(&session, TYPED_ORDERS, "trusted.orders"));
            assert_eq!(written.rows(), rows());
            written
        });
    });
    group.finish();
}

fn orders_format() -> Format {
    Format {
        kind: FormatKind::Csv(CsvOptions::default()),
        compression: Compression::None,
        columns: BTreeMap::new(),
        misfits: Default::default(),
    }
}

fn dedupe(criterion: &mut Criterion) {
    let workshop = Workshop::new();
    let (path, _) = workshop.generate("requests.ndjson", city311::write);
    let session = workshop.session(&workshop.load("requests", &path, requests_format()));
    workshop.runtime.block_on(workshop.build(&session, &typed_requests(), "trusted.requests", None));
    let session = workshop.session_of(&["trusted.requests"]);
    let mut group = criterion.benchmark_group("dedupe");
    group.sample_size(10).throughput(Throughput::Elements(rows()));
    group.bench_function("row_number", |bencher| {
        bencher.iter(|| workshop.runtime.block_on(count(&session, DEDUPE)));
    });
    group.finish();
}

/// [`json_to_parquet`] with the newest row of each key in between: what keeping them costs.
fn json_newest_to_parquet(criterion: &mut Criterion) {
    let workshop = Workshop::new();
    let (path, bytes) = workshop.generate("requests.ndjson", city311::write);
    let session = workshop.session(&workshop.load("requests", &path, requests_format()));
    let sql = DEDUPE.replace("trusted.requests", &format!("({})", typed_requests()));
    let mut group = criterion.benchmark_group("json_newest_to_parquet");
    group.sample_size(10).throughput(Throughput::Bytes(bytes));
    group.bench_function("requests", |bencher| {
        bencher.iter_with_large_drop(|| {
            let written = workshop.runtime.block_on(workshop.write(&session, &sql, "trusted.requests"));
            assert!(written.rows() < rows() && written.rows() > rows() / 2);
            written
        });
    });
    group.finish();
}

fn join(criterion: &mut Criterion) {
    let workshop = Workshop::new();
    let (path, _) = workshop.generate("orders.csv", shop::write_orders);
    let session = workshop.session(&workshop.load("orders", &path, orders_format()));
    let products = "SELECT DISTINCT product_id AS id, product_id % 40 AS category FROM raw.orders";
    let cities = "SELECT DISTINCT city_id AS id, city_id % 12 AS region FROM raw.orders";
    for (sql, name) in
        [(TYPED_ORDERS, "trusted.orders"), (products, "trusted.products"), (cities, "trusted.cities")]
    {
        workshop.runtime.block_on(workshop.build(&session, sql, name, None));
    }
    let session = workshop.session_of(&["trusted.orders", "trusted.products", "trusted.cities"]);
    let mut group = criterion.benchmark_group("join");
    group.sample_size(20).throughput(Throughput::Elements(rows()));
    group.bench_function("orders_products_cities", |bencher| {
        bencher.iter(|| workshop.runtime.block_on(count(&session, JOIN)));
    });
    group.finish();
}

fn commit(criterion: &mut Criterion) {
    let workshop = Workshop::new();
    let session = workshop.engine.session();
    let version = Cell::new(None);
    let one_more = || {
        let sql = "SELECT 1 AS id, 'a' AS name";
        let next = workshop.runtime.block_on(workshop.build(&session, sql, "trusted.small", version.get()));
        version.set(Some(next));
    };
    // A table with some history: reading the log is a part of every commit.
    (0..20).for_each(|_| one_more());
    let mut group = criterion.benchmark_group("commit");
    group.sample_size(20);
    group.bench_function("one_row", |bencher| bencher.iter(one_more));
    group.finish();
}

/// The binary to start: `LAGAR_BIN`, or the one of the same build.
fn lagar() -> Option<PathBuf> {
    if let Some(program) = std::env::var_os("LAGAR_BIN") {
        return Some(program.into());
    }
    let program = std::env::current_exe().ok()?.parent()?.parent()?.join("lagar");
    program.exists().then_some(program)
}

fn startup(criterion: &mut Criterion) {
    let Some(program) = lagar() else {
        eprintln!("startup: not measured, there is no binary; cargo build --release makes it");
        return;
    };
    let mut group = criterion.benchmark_group("startup");
    group.bench_function("help", |bencher| {
        bencher.iter(|| {
            let status = Command::new(&program).arg("--help").stdout(Stdio::null()).status().unwrap();
            assert!(status.success());
        });
    });
    group.finish();
}

criterion_group!(etl, json_to_parquet, csv_to_parquet, json_newest_to_parquet, dedupe, join, commit, startup);
criterion_main!(etl);
