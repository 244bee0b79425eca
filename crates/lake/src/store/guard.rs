//! A deadline around every call of a store: a store that hangs is an error, not a run that looks busy.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, future, stream, stream::BoxStream};
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result, UploadPart, path::Path,
};

use super::seal;

/// How long a store may take.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// For one call without a big body, for the next piece of a body, and for the next page of a list.
    pub call: Duration,
    /// On top of it, for each MiB sent.
    pub per_mib: Duration,
    /// For putting the parts of an upload together and for listing a folder in one call.
    pub long: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(60),
            per_mib: Duration::from_secs(4),
            long: Duration::from_secs(300),
        }
    }
}

impl Deadlines {
    fn sending(&self, payload: &PutPayload) -> Duration {
        self.call + self.per_mib * u32::try_from(payload.content_length() >> 20).unwrap_or(u32::MAX)
    }
}

/// A call that took too long. Whether it had an effect is not known.
#[derive(Debug)]
pub struct DeadlinePassed(Duration);

impl fmt::Display for DeadlinePassed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer after {} s", self.0.as_secs_f64())
    }
}

impl std::error::Error for DeadlinePassed {}

async fn within<T>(deadline: Duration, call: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(deadline, call).await {
        Ok(result) => result,
        Err(_) => Err(Error::Generic { store: "lake", source: Box::new(DeadlinePassed(deadline)) }),
    }
}

fn each_within<T: Send + 'static>(
    deadline: Duration,
    items: impl Stream<Item = Result<T>> + Send + Unpin + 'static,
) -> BoxStream<'static, Result<T>> {
    stream::unfold(Some(items), move |items| async move {
        let mut items = items?;
        match tokio::time::timeout(deadline, items.next()).await {
            Ok(item) => Some((item?, Some(items))),
            Err(_) => {
                let late = Error::Generic { store: "lake", source: Box::new(DeadlinePassed(deadline)) };
                Some((Err(late), None))
            }
        }
    })
    // The Delta library asks again after the end.
    .fuse()
    .boxed()
}

/// A store whose every call ends, and whose records and checkpoints are what was written, or an error.
#[derive(Debug)]
pub struct Guarded {
    inner: Arc<dyn ObjectStore>,
    deadlines: Deadlines,
    /// The checkpoint that was read last: the Delta library reads one in many small ranges.
    checkpoint: Mutex<Option<Checkpoint>>,
}

/// A whole one, whose seal was looked at.
#[derive(Debug, Clone)]
struct Checkpoint {
    meta: ObjectMeta,
    bytes: Bytes,
}

impl Guarded {
    pub fn new(inner: Arc<dyn ObjectStore>, deadlines: Deadlines) -> Self {
        Self { inner, deadlines, checkpoint: Mutex::default() }
    }
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Guarded {
    /// A record whose seal was looked at.
    async fn unsealed(&self, location: &Path, mut record: GetResult) -> Result<GetResult> {
        let (meta, range, attributes) =
            (record.meta.clone(), record.range.clone(), record.attributes.clone());
        if let GetResultPayload::Stream(body) = record.payload {
            record.payload = GetResultPayload::Stream(each_within(self.deadlines.call, body));
        }
        let bytes = seal::check(location, record.bytes().await?)?;
        let payload = GetResultPayload::Stream(stream::iter([Ok(bytes)]).boxed());
        Ok(GetResult { payload, meta, range, attributes })
    }

    /// All of a checkpoint. It is asked for again only if the store has another one than before.
    async fn checkpoint(&self, location: &Path) -> Result<Checkpoint> {
        let lock = || self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner);
        let before = lock().clone().filter(|before| before.meta.location == *location);
        let if_none_match = before.as_ref().and_then(|before| before.meta.e_tag.clone());
        let options = GetOptions { if_none_match, ..GetOptions::default() };
        let mut found = match within(self.deadlines.call, self.inner.get_opts(location, options)).await {
            Err(Error::NotModified { path, source }) => {
                return before.ok_or(Error::NotModified { path, source });
            }
            found => found?,
        };
        let meta = found.meta.clone();
        if let GetResultPayload::Stream(body) = found.payload {
            found.payload = GetResultPayload::Stream(each_within(self.deadlines.call, body));
        }
        let bytes = seal::check_checkpoint(location, found.bytes().await?)?;
        let checkpoint = Checkpoint { meta, bytes };
        *lock() = Some(checkpoint.clone());
        Ok(checkpoint)
    }
}

impl Checkpoint {
    /// The part that `range` names, which may be longer than what is there.
    fn part(&self, range: Option<&GetRange>) -> GetResult {
        let all = self.bytes.len() as u64;
        let range = match range {
            None => 0..all,
            Some(GetRange::Bounded(range)) => range.start.min(all)..range.end.min(all),
            Some(GetRange::Offset(offset)) => (*offset).min(all)..all,
            Some(GetRange::Suffix(length)) => all.saturating_sub(*length)..all,
        };
        let part = self.bytes.slice(range.start as usize..range.end as usize);
        let payload = GetResultPayload::Stream(stream::iter([Ok(part)]).boxed());
        GetResult { payload, meta: self.meta.clone(), range, attributes: Attributes::default() }
    }
}

#[async_trait]
impl ObjectStore for Guarded {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let payload = match seal::is_checkpoint(location) {
            true => seal::seal_checkpoint(payload.into()).into(),
            false => payload,
        };
        within(self.deadlines.sending(&payload), self.inner.put_opts(location, payload, opts)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        if seal::is_checkpoint(location) {
            let store = Self::new(self.inner.clone(), self.deadlines);
            return Ok(Box::new(CheckpointUpload { store, location: location.clone(), parts: Vec::new() }));
        }
        let inner = within(self.deadlines.call, self.inner.put_multipart_opts(location, opts)).await?;
        Ok(Box::new(GuardedUpload { inner, deadlines: self.deadlines }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if seal::is_checkpoint(location) && !options.head {
            return Ok(self.checkpoint(location).await?.part(options.range.as_ref()));
        }
        let is_record = seal::is_record(location) && !options.head && options.range.is_none();
        let mut result = within(self.deadlines.call, self.inner.get_opts(location, options)).await?;
        if is_record {
            return self.unsealed(location, result).await;
        }
        if let GetResultPayload::Stream(body) = result.payload {
            result.payload = GetResultPayload::Stream(each_within(self.deadlines.call, body));
        }
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if seal::is_checkpoint(location) {
            let checkpoint = self.checkpoint(location).await?;
            let part = |range: &Range<u64>| checkpoint.part(Some(&GetRange::Bounded(range.clone()))).bytes();
            return future::try_join_all(ranges.iter().map(part)).await;
        }
        within(self.deadlines.long, self.inner.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        each_within(self.deadlines.call, self.inner.delete_stream(locations))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        each_within(self.deadlines.call, self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        each_within(self.deadlines.call, self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        within(self.deadlines.long, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        within(self.deadlines.long, self.inner.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        within(self.deadlines.long, self.inner.rename_opts(from, to, options)).await
    }
}

#[derive(Debug)]
struct GuardedUpload {
    inner: Box<dyn MultipartUpload>,
    deadlines: Deadlines,
}

#[async_trait]
impl MultipartUpload for GuardedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        within(self.deadlines.sending(&data), self.inner.put_part(data)).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        within(self.deadlines.long, self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        within(self.deadlines.call, self.inner.abort()).await
    }
}

/// A checkpoint in parts. They are kept until all are there: its seal is that of the whole.
#[derive(Debug)]
struct CheckpointUpload {
    store: Guarded,
    location: Path,
    parts: Vec<PutPayload>,
}

#[async_trait]
impl MultipartUpload for CheckpointUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.push(data);
        future::ready(Ok(())).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let whole = std::mem::take(&mut self.parts).into_iter().flatten().collect();
        self.store.put_opts(&self.location, whole, PutOptions::default()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use object_store::{ObjectStoreExt, throttle::ThrottleConfig, throttle::ThrottledStore};

    use super::*;

    #[tokio::test]
    async fn a_store_that_does_not_answer_is_an_error() {
        let slow = ThrottleConfig {
            wait_get_per_call: Duration::from_secs(600),
            wait_list_per_entry: Duration::from_secs(600),
            ..Default::default()
        };
        let slow = ThrottledStore::new(object_store::memory::InMemory::new(), slow);
        let deadlines = Deadlines { call: Duration::from_millis(30), ..Default::default() };
        let store = Guarded::new(Arc::new(slow), deadlines);
        store.put(&Path::from("a"), "x".into()).await.unwrap();
        let late = store.get(&Path::from("a")).await.unwrap_err();
        assert!(late.to_string().contains("no answer after 0.03 s"), "{late}");
        let late = store.list(None).next().await.unwrap().unwrap_err();
        assert!(late.to_string().contains("no answer after 0.03 s"), "{late}");
    }

    /// The smallest file of which the footer can be found.
    const PARQUET: &[u8] = b"PAR1data\x01\0\0\0PAR1";

    #[tokio::test]
    async fn a_checkpoint_has_its_seal_however_it_is_written() {
        let inner = Arc::new(object_store::memory::InMemory::new());
        let store = Guarded::new(inner.clone(), Deadlines::default());
        let path = |name: &str| Path::from(format!("trusted/t/_delta_log/{name}.checkpoint.parquet"));
        let (one, parted) = (path("00000000000000000100"), path("00000000000000000200"));
        store.put(&one, PARQUET.into()).await.unwrap();
        let mut upload = store.put_multipart(&parted).await.unwrap();
        for part in PARQUET.chunks(5) {
            upload.put_part(part.to_vec().into()).await.unwrap();
        }
        assert!(inner.head(&parted).await.is_err(), "half of it is there");
        upload.complete().await.unwrap();
        for path in [one, parted] {
            let whole = store.get(&path).await.unwrap().bytes().await.unwrap();
            assert_eq!(whole.len(), PARQUET.len() + "lagar_seal:".len() + seal::UNSEALED.len());
            assert_eq!(store.get_range(&path, 0..7).await.unwrap(), PARQUET[..7]);
            let ends = [8..whole.len() as u64, 0..4];
            let read = store.get_ranges(&path, &ends).await.unwrap();
            assert_eq!((read[0].len(), read[1].as_ref()), (whole.len() - 8, &PARQUET[..4]));
            // Another one in its place is read anew, and a damaged one is not read.
            inner.put(&path, PARQUET.into()).await.unwrap();
            assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), PARQUET);
            let damaged = [b"PAR0", &whole[4..]].concat();
            inner.put(&path, damaged.into()).await.unwrap();
            let error = store.get_range(&path, 5..8).await.unwrap_err();
            assert!(error.to_string().contains(path.as_ref()), "{error}");
        }
    }
}
