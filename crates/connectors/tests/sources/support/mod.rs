//! What the tests of all sources share.

use std::{collections::BTreeMap, io::Read, path::Path, sync::Arc};

use chrono::{DateTime, Utc};
use lagar_connectors::{Chunks, Cx, Outcome, Source, Stores, config::ConfigError, kind};
use lagar_flow::{Body, Chunk, Error, FixedClock, Position, Result, Scope};
pub use lagar_testing::http as server;
use object_store::{ObjectStore, memory::InMemory};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// One store for every bucket: `s3://anything/key` is `key` in it.
#[derive(Default)]
pub struct OneStore(pub Arc<InMemory>);

impl Stores for OneStore {
    fn open(&self, url: &str) -> Result<(Arc<dyn ObjectStore>, object_store::path::Path)> {
        let (_, address) = url.split_once("://").unwrap();
        let key = address.split_once('/').map_or("", |(_, key)| key);
        Ok((self.0.clone(), object_store::path::Path::from(key)))
    }
}

pub fn now() -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2026-11-21T12:00:00Z").unwrap().to_utc()
}

/// A read that starts in `dir`, with a clock that stands still.
pub fn cx(dir: &Path) -> Cx {
    Cx {
        clock: Arc::new(FixedClock::new(now())),
        project_dir: dir.to_owned(),
        spool_dir: dir.join(".spool"),
        stores: Arc::new(OneStore::default()),
        columns: BTreeMap::new(),
        known: None,
        schema: Default::default(),
        secrets: Default::default(),
        seed: 1,
        cancel: CancellationToken::new(),
    }
}

pub fn source(kind_name: &str, config: Value) -> Box<dyn Source> {
    (kind(kind_name).unwrap().parse)(&config).unwrap_or_else(|e| panic!("{config}: {e:?}"))
}

pub fn config_error(kind_name: &str, config: Value) -> ConfigError {
    match (kind(kind_name).unwrap().parse)(&config) {
        Ok(_) => panic!("{config} was taken"),
        Err(error) => error,
    }
}

/// All that a read hands over.
pub async fn read(source: &dyn Source, cx: &Cx, from: Option<&Position>) -> Result<(Vec<Chunk>, Outcome)> {
    let (chunks, mut receiver) = Chunks::channel(1);
    let reading = async {
        let outcome = source.read(cx, from, &chunks).await;
        drop(chunks);
        outcome
    };
    let collecting = async {
        let mut all = Vec::new();
        while let Some(chunk) = receiver.recv().await {
            all.push(chunk);
        }
        all
    };
    let (outcome, chunks) = tokio::join!(reading, collecting);
    Ok((chunks, outcome?))
}

/// A read that finds something.
pub async fn load(source: &dyn Source, cx: &Cx, from: Option<&Position>) -> (Vec<Chunk>, Position) {
    let (chunks, position, _) = load_scoped(source, cx, from).await;
    (chunks, position)
}

/// A read that finds something, and how it stands to those before it.
pub async fn load_scoped(
    source: &dyn Source,
    cx: &Cx,
    from: Option<&Position>,
) -> (Vec<Chunk>, Position, Scope) {
    match read(source, cx, from).await.unwrap() {
        (chunks, Outcome::Read { position, scope, .. }) => (chunks, position, scope),
        (_, Outcome::Nothing { why }) => panic!("nothing: {why}"),
    }
}

/// Why a read finds nothing.
pub async fn nothing(source: &dyn Source, cx: &Cx, from: &Position) -> String {
    match read(source, cx, Some(from)).await.unwrap() {
        (chunks, Outcome::Nothing { why }) if chunks.is_empty() => why,
        other => panic!("{other:?}"),
    }
}

pub async fn failure(source: &dyn Source, cx: &Cx) -> Error {
    let error = read(source, cx, None).await.unwrap_err();
    assert_no_spool_file(cx);
    error
}

pub fn assert_no_spool_file(cx: &Cx) {
    let left = std::fs::read_dir(&cx.spool_dir).map_or(0, |entries| entries.count());
    assert_eq!(left, 0, "files left in the spool");
}

pub fn bytes_of(body: &Body) -> Vec<u8> {
    let mut bytes = Vec::new();
    body.open().unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

pub fn texts(chunks: &[Chunk]) -> Vec<String> {
    chunks.iter().map(|chunk| String::from_utf8(bytes_of(&chunk.file.body)).unwrap()).collect()
}
