//! Commit records: numbered JSON objects that are put only if nobody else took the number.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use lagar_flow::{Error, Result, codes};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload, path::Path};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Root, seal::sealed};

const PUT_ATTEMPTS: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(25);
/// After so long no further attempt begins: each of them may take as long as the store's own retries.
const PUT_WITHIN: Duration = Duration::from_secs(60);
const READS_AT_ONCE: usize = 16;
/// The version of the records' own format that this Lagar writes.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// That of a record that says more, which an older Lagar would read as something else. The newest that this
/// one reads.
pub(crate) const FORMAT_VERSION_MAX: u32 = 2;

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
    put_within(PUT_WITHIN, store, root, path, bytes).await
}

async fn put_within(
    within: Duration,
    store: &dyn ObjectStore,
    root: &Root,
    path: &Path,
    bytes: Bytes,
) -> Result<()> {
    let began = tokio::time::Instant::now();
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
                let enough = attempt >= PUT_ATTEMPTS || began.elapsed() >= within;
                if enough || !error.is_retryable() {
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

/// The records of one folder, `<20 digits>.json`, numbered from 1 without a gap. Only
/// [`Records::forget`] takes any away, the oldest first, and leaves a mark of it.
#[derive(Clone, Copy)]
pub(crate) struct Records<'a> {
    pub store: &'a Arc<dyn ObjectStore>,
    pub root: &'a Root,
    pub folder: &'a Path,
}

/// The folder of the marks, in that of the records. A mark has the name of the oldest record that must
/// be there; a list shows it behind the records, so whoever misses one of them sees why.
const FORGOTTEN: &str = "_forgotten";

/// The folder of what is about to be forgotten, see [`Records::intend`].
const GOING: &str = "_going";

/// The number before which `object` says that the records in `folder` are about to go.
pub(crate) fn intended(folder: &Path, object: &Path) -> Option<u64> {
    let going = folder.clone().join(GOING);
    let call = object.prefix_match(&going)?.next()?;
    number_in(&going.join(call), object)
}

/// What a list of a folder says of its records.
struct Looked {
    range: Option<RangeInclusive<u64>>,
    /// Those below have gone, or are about to.
    stay_from: u64,
}

/// What every record says of itself.
pub(crate) trait Record: DeserializeOwned {
    fn format_version(&self) -> u32;
    /// The number under which it was put.
    fn number(&self) -> u64;
}

impl Records<'_> {
    pub(crate) fn path(&self, number: u64) -> Path {
        self.folder.clone().join(name_of(number))
    }

    /// The newest number. Fails with [`codes::LAKE_CORRUPT`] if one before it is missing.
    pub(crate) async fn newest(&self) -> Result<Option<u64>> {
        Ok(self.range().await?.map(|range| *range.end()))
    }

    /// The newest record; `None` before the first.
    pub(crate) async fn last<T: Record>(&self) -> Result<Option<T>> {
        match self.newest().await? {
            Some(number) => Ok(Some(self.read(number).await?)),
            None => Ok(None),
        }
    }

    /// The numbers that are there. Fails with [`codes::LAKE_CORRUPT`] if one is missing that was not
    /// forgotten.
    pub(crate) async fn range(&self) -> Result<Option<RangeInclusive<u64>>> {
        Ok(self.look().await?.range)
    }

    /// Whether record `number` is there, and nobody has begun to take it away.
    pub(crate) async fn stays(&self, number: u64) -> Result<bool> {
        let Looked { range, stay_from } = self.look().await?;
        Ok(number >= stay_from && range.is_some_and(|range| range.contains(&number)))
    }

    async fn look(&self) -> Result<Looked> {
        match self.look_once().await {
            // A list is not of one moment: what it missed may have been forgotten while it was made.
            Err(error) if error.code() == codes::LAKE_CORRUPT => self.look_once().await,
            looked => looked,
        }
    }

    async fn look_once(&self) -> Result<Looked> {
        let names: Vec<Path> = self
            .store
            .list(Some(self.folder))
            .map_ok(|meta| meta.location)
            .try_collect()
            .await
            .map_err(|e| self.root.error("list", self.folder, &e))?;
        let in_order = |folder: &Path| {
            let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_in(folder, name)).collect();
            numbers.sort_unstable();
            numbers
        };
        let numbers = in_order(self.folder);
        let forgotten_before = in_order(&self.folder.clone().join(FORGOTTEN)).last().copied().unwrap_or(1);
        let going = names.iter().filter_map(|name| intended(self.folder, name));
        let stay_from = going.fold(forgotten_before, u64::max);
        let Some(newest) = numbers.last().copied() else {
            return match forgotten_before {
                1 => Ok(Looked { range: None, stay_from }),
                missing => Err(self.missing(missing, None)),
            };
        };
        let without_gap = numbers.iter().rev().zip((1..=newest).rev()).take_while(|(a, b)| *a == b).count();
        let oldest = newest + 1 - without_gap as u64;
        if oldest > forgotten_before {
            let missing = (forgotten_before..)
                .find(|number| numbers.binary_search(number).is_err())
                .unwrap_or(oldest - 1);
            return Err(self.missing(missing, numbers.iter().find(|number| **number > missing).copied()));
        }
        Ok(Looked { range: Some(oldest..=newest), stay_from })
    }

    fn missing(&self, number: u64, next: Option<u64>) -> Error {
        let name = self.root.name_of(&self.path(number));
        let what = match next {
            Some(next) => format!("{name} is missing, and {next} is there"),
            None => format!("{name} is missing"),
        };
        Error::new(codes::LAKE_CORRUPT, what)
            .hint("bring the object back from a backup or from the bucket's old versions")
    }

    /// Says that the records below `before` are about to go: [`Records::stays`] knows it as long as the object that is
    /// returned is there. It is of this call alone: who takes it back takes back nobody else's.
    pub(crate) async fn intend(&self, before: u64) -> Result<Path> {
        let intent =
            self.folder.clone().join(GOING).join(uuid::Uuid::now_v7().to_string()).join(name_of(before));
        self.put_mark(&intent).await?;
        Ok(intent)
    }

    /// Takes away the records below `before`. Broken off anywhere, it can be done again.
    pub(crate) async fn forget(&self, before: u64) -> Result<()> {
        let Some(range) = self.range().await? else { return Ok(()) };
        if before <= *range.start() {
            return Ok(());
        }
        if !range.contains(&before) {
            return Err(Error::bug("no record would be left"));
        }
        self.put_mark(&self.folder.clone().join(FORGOTTEN).join(name_of(before))).await?;
        for number in *range.start()..before {
            let path = self.path(number);
            match self.store.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => return Err(self.root.error("remove", &path, &e)),
            }
        }
        Ok(())
    }

    async fn put_mark(&self, mark: &Path) -> Result<()> {
        let put = self.store.put(mark, PutPayload::from_static(b"{}\n")).await;
        put.map(|_| ()).map_err(|e| self.root.error("write", mark, &e))
    }

    /// Record `number`; fails with [`codes::LAKE_CORRUPT`] if it is missing or damaged, with
    /// [`codes::LAKE_VERSION`] if a newer Lagar wrote it.
    pub(crate) async fn read<T: Record>(&self, number: u64) -> Result<T> {
        let path = self.path(number);
        let bytes = match self.store.get(&path).await {
            Ok(found) => found.bytes().await,
            Err(e) => Err(e),
        };
        self.parse(&path, number, &bytes.map_err(|e| self.root.error("read", &path, &e))?)
    }

    fn parse<T: Record>(&self, path: &Path, number: u64, bytes: &[u8]) -> Result<T> {
        let damaged = |why: String| {
            Error::new(codes::LAKE_CORRUPT, format!("{} is damaged: {why}", self.root.name_of(path)))
                .hint("bring the object back from a backup or from the bucket's old versions")
        };
        let is_it = |record: &T| record.format_version() <= FORMAT_VERSION_MAX && record.number() == number;
        let read = match serde_json::from_slice(bytes) {
            Ok(record) if is_it(&record) => return Ok(record),
            read => read.map(|_: T| ()),
        };
        // A record of a newer format may be read otherwise, or not at all.
        #[derive(Deserialize)]
        struct Head {
            format_version: Option<Value>,
            number: Option<Value>,
        }
        let head: Head = serde_json::from_slice(bytes).map_err(|e| damaged(e.to_string()))?;
        let field = |name: &str, value: Option<Value>| {
            value.as_ref().and_then(Value::as_u64).ok_or_else(|| damaged(format!("no `{name}`")))
        };
        let version = field("format_version", head.format_version)?;
        if version > u64::from(FORMAT_VERSION_MAX) {
            return Err(Error::new(
                codes::LAKE_VERSION,
                format!(
                    "{} has format version {version}, newer than {FORMAT_VERSION_MAX}",
                    self.root.name_of(path)
                ),
            )
            .hint("use the Lagar that wrote it, or a newer one"));
        }
        if field("number", head.number)? != number {
            return Err(damaged("its number is not the one of its name".into()));
        }
        Err(damaged(read.err().map_or_else(|| "its head is told twice".into(), |e| e.to_string())))
    }

    /// All records, in order.
    pub(crate) async fn all<T: Record>(&self) -> Result<Vec<T>> {
        let Some(mut range) = self.range().await? else { return Ok(Vec::new()) };
        loop {
            let read = stream::iter(range.clone()).map(|number| self.read(number)).buffered(READS_AT_ONCE);
            let error = match read.try_collect().await {
                Ok(all) => return Ok(all),
                Err(error) => error,
            };
            // The oldest may have been forgotten meanwhile.
            match self.range().await? {
                Some(now) if now.start() > range.start() => range = now,
                _ => return Err(error),
            }
        }
    }

    /// Puts `record` as `number`; it must hold an id of its own. See [`put_if_absent`].
    pub(crate) async fn put<T: Serialize>(&self, number: u64, record: &T) -> Result<()> {
        let not_json = |e| Error::bug("a record cannot be written as JSON").caused_by(&e);
        let bytes = sealed(record).map_err(not_json)?;
        put_if_absent(self.store.as_ref(), self.root, &self.path(number), bytes.into()).await
    }
}

fn name_of(number: u64) -> String {
    format!("{number:020}.json")
}

/// The number of the object `name`, if it is a record in `folder`.
pub(crate) fn number_in(folder: &Path, name: &Path) -> Option<u64> {
    let mut parts = name.prefix_match(folder)?;
    let digits = parts.next()?.as_ref().strip_suffix(".json").map(str::to_owned)?;
    if parts.next().is_some() || digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use lagar_flow::Blame;
    use lagar_testing::{Battery, Fault, FaultStore, Plan};
    use object_store::{
        memory::InMemory,
        throttle::{ThrottleConfig, ThrottledStore},
    };

    use super::*;

    /// Each call of a store takes its own time before it gives up: five puts and as many reads of it
    /// would keep a run waiting for minutes.
    #[tokio::test]
    async fn a_storm_of_503_ends_in_time() {
        let mut battery = Battery::new("O2");
        let (within, call) = (Duration::from_millis(250), Duration::from_millis(200));
        let slow = ThrottleConfig { wait_put_per_call: call, wait_get_per_call: call, ..Default::default() };
        for status in [503, 429, 409] {
            let case = async {
                let stormy = FaultStore::new(Arc::new(InMemory::new()), Plan::from(1, Fault::Status(status)));
                let store = ThrottledStore::new(stormy.clone(), slow);
                let (root, path) = (Root { url: "memory".into(), local: None }, Path::from("1.json"));
                let put = put_within(within, &store, &root, &path, Bytes::from_static(b"1"));
                assert_eq!(put.await.unwrap_err().blame(), Blame::Outside);
                // A put and a look, before the deadline and nothing after it.
                assert_eq!(stormy.calls(), 2, "{:#?}", stormy.log());
            };
            battery.case_async(&format!("storm of {status}"), case).await;
        }
    }
}
