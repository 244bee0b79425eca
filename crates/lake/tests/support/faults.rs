//! A store that fails one chosen call, before or after its effect.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart, path::Path,
};

/// What happens to the chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Error, and nothing happened.
    Before,
    /// It happened, and the answer is an error.
    After,
}

/// What happens to the calls after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// They work: a lost answer.
    GoOn,
    /// They all fail: the process is gone.
    Crash,
}

#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// From 1.
    pub call: u64,
    pub fault: Fault,
    pub then: Then,
}

#[derive(Debug, Clone)]
pub struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    plan: Plan,
    calls: Arc<AtomicU64>,
}

impl FaultStore {
    pub fn new(inner: Arc<dyn ObjectStore>, plan: Plan) -> Self {
        Self { inner, plan, calls: Arc::default() }
    }

    /// Whether the chosen call was reached.
    pub fn struck(&self) -> bool {
        self.calls.load(Ordering::SeqCst) >= self.plan.call
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let lost = || Err(Error::Generic { store: "faults", source: format!("call {number} failed").into() });
        match number.cmp(&self.plan.call) {
            std::cmp::Ordering::Less => call.await,
            std::cmp::Ordering::Equal => {
                if self.plan.fault == Fault::After {
                    call.await?;
                }
                lost()
            }
            std::cmp::Ordering::Greater if self.plan.then == Then::Crash => lost(),
            std::cmp::Ordering::Greater => call.await,
        }
    }

    fn stream<T: Send + 'static>(
        &self,
        items: BoxStream<'static, Result<T>>,
    ) -> BoxStream<'static, Result<T>> {
        match self.call(async { Ok(()) }).now_or_never() {
            Some(Ok(())) => items,
            Some(Err(e)) => stream::iter([Err(e)]).boxed(),
            None => unreachable!("a ready future is ready"),
        }
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({:?})", self.plan)
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.call(self.inner.put_opts(location, payload, opts)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.call(self.inner.put_multipart_opts(location, opts)).await?;
        Ok(Box::new(FaultUpload { inner, store: self.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.call(self.inner.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.call(self.inner.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.stream(self.inner.delete_stream(locations))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.stream(self.inner.list(prefix))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.call(self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.call(self.inner.copy_opts(from, to, options)).await
    }
}

#[derive(Debug)]
struct FaultUpload {
    inner: Box<dyn MultipartUpload>,
    store: FaultStore,
}

#[async_trait]
impl MultipartUpload for FaultUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (part, store) = (self.inner.put_part(data), self.store.clone());
        async move { store.call(part).await }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.store.clone().call(self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.store.clone().call(self.inner.abort()).await
    }
}
