//! What the tests share: an engine, a lake in a folder, loads and tables in it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use lagar_connectors::decode;
use lagar_flow::{
    Body, Chunk, Compression, Format, FormatKind, InPlace, Name, Origin, RawFile, SystemClock, TableName,
    evolve,
};
use lagar_lake::{Lake, Manifest, Table, TableCommit, TableMeta, WriteOptions};
use tempfile::TempDir;

use crate::{Engine, Limits, RawOptions, Session};

pub(crate) struct Place {
    pub dir: TempDir,
    pub engine: Engine,
    pub lake: Lake,
}

impl Place {
    pub(crate) async fn new() -> Self {
        Self::with(64 << 20, 1 << 30, 2).await
    }

    pub(crate) async fn with(memory_bytes: u64, spill_bytes: u64, threads: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spill_dir = dir.path().join("spill");
        let engine = Engine::new(Limits { memory_bytes, spill_bytes, spill_dir, threads }).unwrap();
        let lake = Lake::open("lake", dir.path(), Arc::new(SystemClock), &|_| None).await.unwrap();
        Self { dir, engine, lake }
    }

    pub(crate) fn raw_options(&self) -> RawOptions {
        RawOptions { spool: self.dir.path().join("spool") }
    }

    /// Lands `bytes` as a load of `source`.
    pub(crate) async fn load(&self, source: &str, bytes: &str, kind: FormatKind) -> Arc<Manifest> {
        self.load_all(source, &[bytes], kind, Compression::None).await
    }

    pub(crate) async fn load_all(
        &self,
        source: &str,
        files: &[&str],
        kind: FormatKind,
        compression: Compression,
    ) -> Arc<Manifest> {
        let source: Name = source.parse().unwrap();
        let mut writer = self.lake.begin_load(&source, "run");
        for text in files {
            let body = Body::Memory(text.as_bytes().to_vec().into());
            let format = Format {
                kind: kind.clone(),
                compression: compression.clone(),
                columns: Default::default(),
                misfits: Default::default(),
            };
            writer.add(&chunk(body, format, None)).await.unwrap();
        }
        let before = self.lake.loads(&source).await.unwrap();
        let previous = before.last().map(|manifest| manifest.number);
        writer.commit(previous, None, lagar_flow::Scope::Increment, vec![]).await.unwrap();
        self.lake.loads(&source).await.unwrap().last().unwrap().clone()
    }

    /// Refers to the file at `path` where it lies.
    pub(crate) async fn load_in_place(
        &self,
        source: &str,
        path: &std::path::Path,
        sample: Option<u64>,
    ) -> Arc<Manifest> {
        let source: Name = source.parse().unwrap();
        let mut writer = self.lake.begin_load(&source, "run");
        let url = path.to_str().unwrap().to_owned();
        let format = Format {
            kind: FormatKind::Ndjson,
            compression: Compression::None,
            columns: Default::default(),
            misfits: Default::default(),
        };
        let mut chunk = chunk(Body::Local(path.to_path_buf()), format, sample);
        chunk.file.in_place = Some(InPlace { url, fingerprint: "size".into() });
        writer.add(&chunk).await.unwrap();
        writer.commit(None, None, lagar_flow::Scope::Increment, vec![]).await.unwrap();
        self.lake.loads(&source).await.unwrap().last().unwrap().clone()
    }

    /// Adds all loads of `source` to `session`.
    pub(crate) async fn add_raw(&self, session: &Session, source: &str) {
        let source: Name = source.parse().unwrap();
        let loads = self.lake.loads(&source).await.unwrap();
        let schema = raw_schema(&loads);
        session.add_raw(&source, &self.lake, loads, schema, self.raw_options()).unwrap();
    }

    /// Writes the result of `sql` as the next version of a table.
    pub(crate) async fn table(&self, name: &str, sql: &str, partition_by: &[&str]) -> Table {
        let name: TableName = name.parse().unwrap();
        let partition_by: Vec<String> = partition_by.iter().map(|c| (*c).to_owned()).collect();
        let query = self.engine.session().query(sql).await.unwrap();
        let schema = query.schema().clone();
        let options = WriteOptions { target_file_bytes: 256 << 20, run_id: "run".into(), threads: 1 };
        let mut writer = self.lake.begin_table(&name, schema.clone(), &partition_by, options).unwrap();
        for batch in query.collect().await.unwrap() {
            writer.write(&batch).await.unwrap();
        }
        let files = writer.finish().await.unwrap();
        let before = self.lake.table(&name, None).await.unwrap();
        let (base, mut all) = before.map_or((None, vec![]), |table| (Some(table.version), table.files));
        all.extend(files);
        let meta = TableMeta {
            commit_id: format!("commit-{}", all.len()),
            run_id: "run".into(),
            fingerprint: String::new(),
            definition: String::new(),
            input_ids: Default::default(),
            incremental: Vec::new(),
            merged_by: None,
            inputs: Default::default(),
            rows_in: 0,
            rows_out: all.iter().map(|file| file.rows).sum(),
            description: None,
            compacted: None,
            left_out: None,
            code_version: None,
        };
        let commit = TableCommit {
            name,
            schema,
            partition_by,
            files: all,
            meta,
            base,
            column_docs: Default::default(),
        };
        self.lake.commit_table(commit).await.unwrap()
    }
}

fn chunk(body: Body, format: Format, sample_bytes: Option<u64>) -> Chunk {
    let limits = decode::Limits {
        max_bytes: 1 << 30,
        batch_rows: 1024,
        sample_bytes,
        new_columns: Default::default(),
    };
    let found = decode::inspect(&body, &format, None, &limits).unwrap();
    let bytes = body.len().unwrap();
    let file = RawFile {
        body,
        in_place: None,
        extension: format.kind.extension().to_owned(),
        format,
        schema: found.schema,
        rows: found.rows,
        bytes,
        sha256: None,
        origin: Origin::default(),
    };
    Chunk { file, rejects: found.rejects, notes: found.notes, drift: found.drift }
}

pub(crate) fn raw_schema(loads: &[Arc<Manifest>]) -> SchemaRef {
    let mut schema = Schema::empty();
    for manifest in loads {
        schema = evolve(&schema, &lagar_flow::schema_of(&manifest.columns).unwrap());
    }
    Arc::new(schema)
}

pub(crate) fn fields(list: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(list.iter().map(|(name, t)| Field::new(*name, t.clone(), true)).collect::<Vec<_>>()))
}

/// The rows of a query, each as its values with `|` between them.
pub(crate) async fn rows(session: &Session, sql: &str) -> Vec<String> {
    let batches = session.query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}")).collect().await;
    shown(&batches.unwrap_or_else(|e| panic!("{sql}: {e}")))
}

pub(crate) fn shown(batches: &[RecordBatch]) -> Vec<String> {
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<ArrayFormatter<'_>> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let values: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
            rows.push(values.join("|"));
        }
    }
    rows
}
