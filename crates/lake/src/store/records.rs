//! Commit records: numbered JSON objects that are put only if nobody else took the number.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use lagar_flow::{Error, Result, codes};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload, path::Path};
use serde::{Serialize, de::DeserializeOwned};

use super::Root;

const PUT_ATTEMPTS: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(25);
const READS_AT_ONCE: usize = 16;
/// The version of the records' own format that this Lagar writes, and the newest that it reads.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// Puts `bytes` at `path` if nothing is there.
///
/// `bytes` must hold an id that no other writer has: a store may lose its answer after the effect, or
/// say "exists" of our own put or of nothing at all (S3 answers 409 to a race without a winner). So
/// every answer but success is checked by reading back what is there, and what is ours is a success.
/// Fails with [`codes::LAKE_CONFLICT`] if it is another's.
pub(crate) async fn put_if_absent(
    store: &dyn ObjectStore,
    root: &Root,
    path: &Path,
    bytes: Bytes,
) -> Result<()> {
    let mut wait = FIRST_WAIT;
    let mut attempt = 1;
    loop {
        let payload = PutPayload::from_bytes(bytes.clone());
        let Err(refused) = store.put_opts(path, payload, PutMode::Create.into()).await else { return Ok(()) };
        match read(store, path).await {
            Ok(Some(there)) if there == bytes => return Ok(()),
            Ok(Some(_)) => {
                return Err(Error::new(
                    codes::LAKE_CONFLICT,
                    format!("another writer was first: {} exists already", root.name_of(path)),
                )
                .hint("run again: it starts from what the other one committed"));
            }
            // Nothing there, or not known: once more, unless the store will always say no.
            Ok(None) | Err(_) => {
                let mut error = root.error("write", path, &refused);
                if attempt >= PUT_ATTEMPTS || !error.is_retryable() {
                    if error.code() == codes::LAKE_CONFLICT {
                        error = Error::new(codes::LAKE_STORE, format!("cannot write {}", root.name_of(path)))
                            .caused_by(&refused)
                            .hint("the store says that it exists, and does not show it; try again");
                    }
                    return Err(error);
                }
            }
        }
        tracing::debug!(attempt, object = %path, "a commit record could not be written: {refused}");
        tokio::time::sleep(wait).await;
        wait *= 2;
        attempt += 1;
    }
}

async fn read(store: &dyn ObjectStore, path: &Path) -> object_store::Result<Option<Bytes>> {
    match store.get(path).await {
        Ok(found) => Ok(Some(found.bytes().await?)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The records of one folder, `<20 digits>.json`, numbered from 1 without a gap.
#[derive(Clone, Copy)]
pub(crate) struct Records<'a> {
    pub store: &'a Arc<dyn ObjectStore>,
    pub root: &'a Root,
    pub folder: &'a Path,
}

impl Records<'_> {
    pub(crate) fn path(&self, number: u64) -> Path {
        self.folder.clone().join(format!("{number:020}.json"))
    }

    /// The newest number. Fails with [`codes::LAKE_CORRUPT`] if one before it is missing.
    pub(crate) async fn newest(&self) -> Result<Option<u64>> {
        let names: Vec<Path> = self
            .store
            .list(Some(self.folder))
            .map_ok(|meta| meta.location)
            .try_collect()
            .await
            .map_err(|e| self.root.error("list", self.folder, &e))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| self.number_of(name)).collect();
        numbers.sort_unstable();
        for (expected, number) in (1..).zip(&numbers) {
            if *number != expected {
                return Err(Error::new(
                    codes::LAKE_CORRUPT,
                    format!("{} is missing, and {number} is there", self.root.name_of(&self.path(expected))),
                )
                .hint("bring the object back from a backup or from the bucket's old versions"));
            }
        }
        Ok(numbers.last().copied())
    }

    fn number_of(&self, name: &Path) -> Option<u64> {
        let mut parts = name.prefix_match(self.folder)?;
        let digits = parts.next()?.as_ref().strip_suffix(".json").map(str::to_owned)?;
        if parts.next().is_some() || digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        digits.parse().ok()
    }

    /// Record `number`; fails with [`codes::LAKE_CORRUPT`] if it is missing or damaged, with
    /// [`codes::LAKE_VERSION`] if a newer Lagar wrote it.
    pub(crate) async fn read<T: DeserializeOwned>(&self, number: u64) -> Result<T> {
        let path = self.path(number);
        let bytes = match self.store.get(&path).await {
            Ok(found) => found.bytes().await,
            Err(e) => Err(e),
        };
        self.parse(&path, number, &bytes.map_err(|e| self.root.error("read", &path, &e))?)
    }

    fn parse<T: DeserializeOwned>(&self, path: &Path, number: u64, bytes: &[u8]) -> Result<T> {
        let damaged = |why: String| {
            Error::new(codes::LAKE_CORRUPT, format!("{} is damaged: {why}", self.root.name_of(path)))
                .hint("bring the object back from a backup or from the bucket's old versions")
        };
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|e| damaged(e.to_string()))?;
        let field = |name: &str| {
            value.get(name).and_then(serde_json::Value::as_u64).ok_or_else(|| damaged(format!("no `{name}`")))
        };
        let version = field("format_version")?;
        if version > u64::from(FORMAT_VERSION) {
            return Err(Error::new(
                codes::LAKE_VERSION,
                format!(
                    "{} has format version {version}, newer than {FORMAT_VERSION}",
                    self.root.name_of(path)
                ),
            )
            .hint("use the Lagar that wrote it, or a newer one"));
        }
        if field("number")? != number {
            return Err(damaged("its number is not the one of its name".into()));
        }
        serde_json::from_value(value).map_err(|e| damaged(e.to_string()))
    }

    /// All records up to the newest, in order.
    pub(crate) async fn all<T: DeserializeOwned>(&self) -> Result<Vec<T>> {
        let newest = self.newest().await?.unwrap_or(0);
        stream::iter(1..=newest).map(|number| self.read(number)).buffered(READS_AT_ONCE).try_collect().await
    }

    /// Puts `record` as `number`; it must hold an id of its own. See [`put_if_absent`].
    pub(crate) async fn put<T: Serialize>(&self, number: u64, record: &T) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(record)
            .map_err(|e| Error::bug("a record cannot be written as JSON").caused_by(&e))?;
        put_if_absent(self.store.as_ref(), self.root, &self.path(number), bytes.into()).await
    }
}
