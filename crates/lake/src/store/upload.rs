//! One object of any size, sent while it grows.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload, Result, path::Path};
use tokio::task::JoinSet;

/// Parts on their way at once; with [`PART_BYTES`] the bound of an upload's memory.
const PARTS_IN_FLIGHT: usize = 3;
/// S3 takes parts from 5 MiB on, and 10 000 of them.
const PART_BYTES: usize = 8 << 20;
/// From this many parts on they are 64 MiB, so that an object may have 500 GB.
const BIG_PARTS_AFTER: usize = 2_000;

/// A small object becomes one put, a bigger one a multipart upload. Nothing is visible before
/// [`Upload::finish`]; dropping an upload gives it up.
#[derive(Debug)]
pub(crate) struct Upload {
    store: Arc<dyn ObjectStore>,
    path: Path,
    buffer: BytesMut,
    parts: Option<Box<dyn MultipartUpload>>,
    in_flight: JoinSet<Result<()>>,
    sent: usize,
    bytes: u64,
}

impl Upload {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, path: Path) -> Self {
        Self {
            store,
            path,
            buffer: BytesMut::new(),
            parts: None,
            in_flight: JoinSet::new(),
            sent: 0,
            bytes: 0,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes written so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes held in memory.
    pub(crate) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Waits while enough parts are on their way.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        self.buffer.extend_from_slice(bytes);
        let part = if self.sent < BIG_PARTS_AFTER { PART_BYTES } else { 8 * PART_BYTES };
        // One full part stays behind: an object of exactly one part is still a small one.
        while self.buffer.len() > part {
            let next = self.buffer.split_to(part).freeze();
            self.send(next).await?;
        }
        Ok(())
    }

    async fn send(&mut self, part: Bytes) -> Result<()> {
        while self.in_flight.len() >= PARTS_IN_FLIGHT {
            self.landed().await?;
        }
        let parts = match &mut self.parts {
            Some(parts) => parts,
            none => none.insert(self.store.put_multipart(&self.path).await?),
        };
        self.in_flight.spawn(parts.put_part(PutPayload::from_bytes(part)));
        self.sent += 1;
        Ok(())
    }

    /// Waits for one part; `false` if none is on its way.
    async fn landed(&mut self) -> Result<bool> {
        match self.in_flight.join_next().await {
            None => Ok(false),
            Some(result) => result?.map(|()| true),
        }
    }

    /// Makes the object visible; returns its length in bytes.
    pub(crate) async fn finish(mut self) -> Result<u64> {
        let rest = std::mem::take(&mut self.buffer).freeze();
        if self.parts.is_none() {
            self.store.put(&self.path, PutPayload::from_bytes(rest)).await?;
            return Ok(self.bytes);
        }
        if !rest.is_empty() {
            self.send(rest).await?;
        }
        while self.landed().await? {}
        if let Some(parts) = &mut self.parts {
            parts.complete().await?;
        }
        self.parts = None;
        Ok(self.bytes)
    }
}

impl Drop for Upload {
    /// Parts that were sent cost money until somebody takes them back.
    fn drop(&mut self) {
        if let Some(mut parts) = self.parts.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let mut in_flight = std::mem::take(&mut self.in_flight);
            runtime.spawn(async move {
                in_flight.shutdown().await;
                if let Err(e) = parts.abort().await {
                    tracing::debug!("an upload that was given up could not be removed: {e}");
                }
            });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn an_object_of_any_size_arrives_whole() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        for length in [0, 1, PART_BYTES, PART_BYTES + 1, 5 * PART_BYTES + 17] {
            let path = Path::from(format!("{length}"));
            let whole: Vec<u8> = (0..length).map(|i| ((i * 31) >> 3) as u8).collect();
            let mut upload = Upload::new(store.clone(), path.clone());
            for piece in whole.chunks(1_000_003) {
                upload.write(piece).await.unwrap();
                assert!(upload.buffered() <= PART_BYTES + 1_000_003);
            }
            assert!(store.head(&path).await.is_err(), "visible too early");
            assert_eq!(upload.finish().await.unwrap(), length as u64);
            assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == whole, "{length}");
        }
    }
}
