//! What every test needs: a place to work in, a read, and the rows that came out of it.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use arrow::{array::RecordBatch, datatypes::Schema, util::display::array_value_to_string};
use lagar_connectors::{
    Chunks, Cx, Outcome, Source, Stores,
    decode::{self, ReadOptions},
    kind,
    window::Asked,
};
use lagar_flow::{Chunk, ColumnType, Error, FixedClock, Note, Position, Result, Scope, evolve};
use object_store::ObjectStore;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub struct NoStores;

impl Stores for NoStores {
    fn open(&self, url: &str) -> Result<(Arc<dyn ObjectStore>, object_store::path::Path)> {
        Err(Error::bug(format!("a database needs no store, but {url} was asked for")))
    }
}

/// A folder of a project, and what a source gets from the run.
pub struct Place {
    pub dir: tempfile::TempDir,
    pub cx: Cx,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spool_dir = dir.path().join("spool");
        std::fs::create_dir(&spool_dir).unwrap();
        let cx = Cx {
            clock: Arc::new(FixedClock::new("2026-01-02T03:04:05Z".parse().unwrap())),
            project_dir: dir.path().to_owned(),
            spool_dir,
            stores: Arc::new(NoStores),
            columns: BTreeMap::new(),
            known: None,
            schema: Default::default(),
            secrets: Default::default(),
            seed: 7,
            cancel: CancellationToken::new(),
        };
        Self { dir, cx }
    }

    pub fn ask(&mut self, column: &str, column_type: &str) {
        self.cx.columns.insert(column.to_owned(), ColumnType::try_from(column_type.to_owned()).unwrap());
    }

    pub fn spooled(&self) -> Vec<PathBuf> {
        std::fs::read_dir(&self.cx.spool_dir).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

pub fn source(config: Value) -> Box<dyn Source> {
    (kind("sql").unwrap().parse)(&config).unwrap()
}

/// What a read gave.
pub struct Done {
    pub outcome: Outcome,
    pub chunks: Vec<Chunk>,
}

impl Done {
    pub fn position(&self) -> Position {
        match &self.outcome {
            Outcome::Read { position, .. } => position.clone(),
            Outcome::Nothing { why } => panic!("nothing was read: {why}"),
        }
    }

    pub fn scope(&self) -> Scope {
        match &self.outcome {
            Outcome::Read { scope, .. } => *scope,
            Outcome::Nothing { why } => panic!("nothing was read: {why}"),
        }
    }

    pub fn is_nothing(&self) -> bool {
        matches!(&self.outcome, Outcome::Nothing { .. }) && self.chunks.is_empty()
    }

    pub fn notes(&self) -> Vec<String> {
        match &self.outcome {
            Outcome::Read { notes, .. } => notes.iter().map(|Note(note)| note.clone()).collect(),
            Outcome::Nothing { why } => vec![why.clone()],
        }
    }

    pub fn schema(&self) -> Schema {
        self.chunks.iter().fold(Schema::empty(), |schema, chunk| evolve(&schema, &chunk.file.schema))
    }

    pub fn type_of(&self, column: &str) -> String {
        self.schema().field_with_name(column).unwrap().data_type().to_string()
    }

    /// All good rows. Checks on the way that a second decoding finds the same.
    pub fn batches(&self) -> Vec<RecordBatch> {
        let mut batches = Vec::new();
        for chunk in &self.chunks {
            let skip: Arc<[u64]> = chunk.rejects.iter().map(|reject| reject.row).collect();
            let options = ReadOptions { skip, row_numbers: true, ..ReadOptions::default() };
            let decoded =
                decode::read(&chunk.file.body, &chunk.file.format, chunk.file.schema.clone(), options);
            let mut rows = 0;
            for decoded in decoded.unwrap() {
                let decoded = decoded.unwrap();
                assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects);
                rows += decoded.batch.num_rows() as u64;
                batches.push(decoded.batch);
            }
            assert_eq!(chunk.file.rows, Some(rows));
            assert_eq!(chunk.file.bytes, chunk.file.body.len().unwrap());
        }
        batches
    }

    /// All good rows, as text; null is `None`.
    pub fn rows(&self) -> Vec<Vec<Option<String>>> {
        let mut rows = Vec::new();
        for batch in self.batches() {
            for row in 0..batch.num_rows() {
                let texts = batch.columns().iter().map(|column| {
                    (!column.is_null(row)).then(|| array_value_to_string(column, row).unwrap())
                });
                rows.push(texts.collect());
            }
        }
        rows
    }

    /// The texts of one column.
    pub fn column(&self, name: &str) -> Vec<Option<String>> {
        let index = self.schema().index_of(name).unwrap();
        self.rows().into_iter().map(|row| row[index].clone()).collect()
    }

    /// The texts of one column, which has no null.
    pub fn texts(&self, name: &str) -> Vec<String> {
        self.column(name).into_iter().map(Option::unwrap).collect()
    }

    pub fn reject_count(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.rejects.len()).sum()
    }
}

pub async fn try_read(source: &dyn Source, cx: &Cx, from: Option<&Position>) -> Result<Done> {
    collected(async |out: Chunks| source.read(cx, from, &out).await).await
}

pub async fn try_read_window(
    source: &dyn Source,
    cx: &Cx,
    asked: &Asked,
    from: Option<&Position>,
) -> Result<Done> {
    collected(async |out: Chunks| source.read_window(cx, asked, from, &out).await).await
}

async fn collected(read: impl AsyncFnOnce(Chunks) -> Result<Outcome>) -> Result<Done> {
    let (out, mut received) = Chunks::channel(1);
    let collect = tokio::spawn(async move {
        let mut chunks = Vec::new();
        while let Some(chunk) = received.recv().await {
            chunks.push(chunk);
        }
        chunks
    });
    let outcome = read(out).await;
    let chunks = collect.await.unwrap();
    Ok(Done { outcome: outcome?, chunks })
}

pub async fn read(source: &dyn Source, cx: &Cx, from: Option<&Position>) -> Done {
    try_read(source, cx, from).await.unwrap()
}

/// The error of a read that must fail.
pub async fn fail(source: &dyn Source, cx: &Cx) -> Error {
    match try_read(source, cx, None).await {
        Ok(done) => panic!("the read did not fail: {:?}", done.outcome),
        Err(error) => error,
    }
}

/// Everything that an error shows.
pub fn everything(error: &Error) -> String {
    format!("{error} {error:?} {:?} {}", error.hint_text(), error.to_json())
}

/// `name=value` of the columns of the only row, to compare a wide row at once.
pub fn only_row(done: &Done) -> BTreeMap<String, Option<String>> {
    let rows = done.rows();
    assert_eq!(rows.len(), 1, "{rows:?}");
    let schema = done.schema();
    schema.fields().iter().map(|field| field.name().clone()).zip(rows[0].clone()).collect()
}
