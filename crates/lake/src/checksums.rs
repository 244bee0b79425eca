//! Checksums of a file's parts. A bit that turned over on a disk or on the way is an error that names the
//! file, and not another answer: in Parquet and CSV most bits can turn without anybody noticing.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures::FutureExt;
use object_store::{ObjectStore, ObjectStoreExt, Result, path::Path};
use serde::{Deserialize, Serialize};

use crate::store::damaged;

/// Small enough that a read of some columns reads little more, large enough that the list stays short.
const BLOCK_BYTES: u64 = 1 << 20;
/// Hex digits of a CRC-32.
const DIGITS: usize = 8;

/// The CRC-32 of each MiB of a file, in hex; the last block may be shorter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Checksums(Arc<str>);

impl Checksums {
    /// As it is written in a log; `None` if it is not of this kind.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let whole = text.len().is_multiple_of(DIGITS) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        whole.then(|| Self(text.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `bytes`, which begin at the block `first`, are those that were summed.
    fn fit(&self, first: u64, bytes: &[u8]) -> bool {
        let blocks = bytes.chunks(BLOCK_BYTES as usize).enumerate();
        blocks.into_iter().all(|(n, block)| {
            let place = (first as usize + n) * DIGITS;
            let wanted = self.0.get(place..place + DIGITS);
            wanted == Some(format!("{:08x}", crc32fast::hash(block)).as_str())
        })
    }

    /// Whether `bytes` are all that was summed.
    pub(crate) fn fit_all(&self, bytes: &[u8]) -> bool {
        self.0.len() == bytes.chunks(BLOCK_BYTES as usize).len() * DIGITS && self.fit(0, bytes)
    }

    /// Reads the blocks of a local file that `range` touches.
    ///
    /// # Errors
    /// It cannot be read; `false` in the result: a block is not what was summed.
    pub(crate) fn fit_file(&self, path: &std::path::Path, range: Range<u64>) -> std::io::Result<bool> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = std::fs::File::open(path)?;
        let first = range.start / BLOCK_BYTES;
        file.seek(SeekFrom::Start(first * BLOCK_BYTES))?;
        let mut block = Vec::with_capacity(BLOCK_BYTES as usize);
        for number in first..range.end.div_ceil(BLOCK_BYTES) {
            block.clear();
            file.by_ref().take(BLOCK_BYTES).read_to_end(&mut block)?;
            if !self.fit(number, &block) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Checksums in the making, while a file is written.
#[derive(Debug, Default, Clone)]
pub(crate) struct Summing {
    done: String,
    open: crc32fast::Hasher,
    filled: u64,
}

impl Summing {
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(BLOCK_BYTES - self.filled).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.open.update(now);
            self.filled += now.len() as u64;
            if self.filled == BLOCK_BYTES {
                self.close();
            }
            bytes = later;
        }
    }

    fn close(&mut self) {
        let sum = std::mem::take(&mut self.open).finalize();
        self.done.push_str(&format!("{sum:08x}"));
        self.filled = 0;
    }

    pub(crate) fn finish(mut self) -> Checksums {
        if self.filled > 0 {
            self.close();
        }
        Checksums(self.done.into())
    }
}

/// One file in a store, every byte of which is checked before anybody sees it. Whoever reads a part reads
/// the blocks that the part touches.
pub(crate) struct Verified {
    store: Arc<dyn ObjectStore>,
    object: Path,
    checksums: Checksums,
    bytes: u64,
    /// The last blocks that were read: a Parquet file is opened by two small reads at its end.
    tail: Mutex<Option<(Range<u64>, Bytes)>>,
}

impl Verified {
    /// `bytes`: the length of the file.
    pub(crate) fn new(store: Arc<dyn ObjectStore>, object: Path, checksums: Checksums, bytes: u64) -> Self {
        Self { store, object, checksums, bytes, tail: Mutex::default() }
    }

    pub(crate) async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        let range = range.start.min(self.bytes)..range.end.min(self.bytes);
        let aligned = range.start / BLOCK_BYTES * BLOCK_BYTES
            ..(range.end.div_ceil(BLOCK_BYTES) * BLOCK_BYTES).min(self.bytes);
        if aligned.is_empty() {
            return Ok(Bytes::new());
        }
        let known = self.tail.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (from, blocks) = match known {
            Some((known, blocks)) if known.start <= aligned.start && aligned.end <= known.end => {
                (known.start, blocks)
            }
            _ => {
                let blocks = match self.store.get_range(&self.object, aligned.clone()).await {
                    Ok(blocks) => blocks,
                    // A file that is too short is refused in each store's own words.
                    Err(e) => match self.store.head(&self.object).await {
                        Ok(found) if found.size != self.bytes => return Err(damaged(&self.object)),
                        _ => return Err(e),
                    },
                };
                let whole = blocks.len() as u64 == aligned.end - aligned.start;
                if !whole || !self.checksums.fit(aligned.start / BLOCK_BYTES, &blocks) {
                    return Err(damaged(&self.object));
                }
                if aligned.end == self.bytes {
                    let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
                    *tail = Some((aligned.clone(), blocks.clone()));
                }
                (aligned.start, blocks)
            }
        };
        let place = |at: u64| usize::try_from(at - from).unwrap_or(usize::MAX);
        Ok(blocks.slice(place(range.start)..place(range.end)))
    }

    /// What lies close together is read once, as one range.
    pub(crate) async fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let close = object_store::OBJECT_STORE_COALESCE_DEFAULT;
        object_store::coalesce_ranges(ranges, |range| self.range(range).boxed(), close).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use bytes::BytesMut;
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn a_part_is_read_only_with_its_checksum() {
        let path = Path::from("x");
        for length in [0, 1, 1_000, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 17] {
            let whole: Bytes = (0..length).map(|i| ((i * 31) >> 3) as u8).collect::<Vec<_>>().into();
            let mut summing = Summing::default();
            whole.chunks(1_000_003).for_each(|piece| summing.update(piece));
            let sums = summing.finish();
            assert_eq!(Checksums::parse(sums.as_str()), Some(sums.clone()));
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &whole).unwrap();
            assert!(sums.fit_file(file.path(), 0..length).unwrap());

            let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            inner.put(&path, whole.clone().into()).await.unwrap();
            let verified = || Verified::new(inner.clone(), path.clone(), sums.clone(), length);
            assert_eq!(verified().range(0..length).await.unwrap(), whole);
            assert_eq!(
                verified().range(0..u64::MAX).await.unwrap(),
                whole,
                "what is beyond the end is left out"
            );
            if length == 0 {
                continue;
            }
            let (a, b) = (length / 3, length / 2 + 1);
            let parts = verified().ranges(&[a..b, 0..1, length - 1..length]).await.unwrap();
            assert_eq!(parts[0], whole.slice(a as usize..b as usize));
            assert_eq!((parts[1].len(), parts[2].len()), (1, 1));

            let mut wrong = BytesMut::from(whole.as_ref());
            wrong[length as usize - 1] ^= 4;
            inner.put(&path, wrong.clone().freeze().into()).await.unwrap();
            std::fs::write(file.path(), &wrong).unwrap();
            let error = verified().range(length - 1..length).await.unwrap_err();
            assert!(error.to_string().contains("x does not hold what was written"), "{error}");
            assert!(!sums.fit_file(file.path(), 0..length).unwrap());
            inner.put(&path, Bytes::new().into()).await.unwrap();
            let error = verified().range(0..1).await.unwrap_err();
            assert!(error.to_string().contains("x does not hold what was written"), "{error}");
            inner.put(&path, wrong.freeze().into()).await.unwrap();
            // A block that is not touched is not read.
            let elsewhere = verified().range(0..1).await;
            assert_eq!(elsewhere.is_ok(), length > BLOCK_BYTES);
        }
    }
}
