//! A bucket as a store: its region, endpoint and credentials are looked up when it is first used, so that nothing
//! of AWS costs a command that does not go there; and what S3 refuses is told in words.

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt, future, stream::BoxStream};
use object_store::{
    BackoffConfig, ClientOptions, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
    RetryConfig, UploadPart,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};
use tokio::sync::OnceCell;

use super::{Login, refusal::told};

/// The longest that a store is asked again before its error is ours. The library's three minutes look
/// like a run that hangs.
const RETRY_FOR: Duration = Duration::from_secs(30);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// For one request with its body; a longer body is asked for again from where it broke off.
const REQUEST_WITHIN: Duration = Duration::from_secs(300);

#[derive(Clone, Debug)]
pub(crate) struct Bucket(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub name: String,
    pub login: Arc<Login>,
    store: OnceCell<AmazonS3>,
}

impl Bucket {
    pub(super) fn new(name: &str, login: &Arc<Login>) -> Self {
        Self(Arc::new(Inner { name: name.to_owned(), login: login.clone(), store: OnceCell::new() }))
    }

    /// The library's store. Fails when there are no credentials; the next call asks for them again.
    pub(super) async fn store(&self) -> Result<&AmazonS3> {
        self.0.store.get_or_try_init(|| self.open()).await.map_err(told)
    }

    async fn open(&self) -> Result<AmazonS3> {
        let chain = self.0.login.chain().await;
        let access = chain.access().await?;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.0.name)
            .with_region(access.region)
            .with_retry(RetryConfig {
                backoff: BackoffConfig { max_backoff: Duration::from_secs(5), ..Default::default() },
                max_retries: 10,
                retry_timeout: RETRY_FOR,
            });
        if let Some(endpoint) = &chain.endpoint {
            // An endpoint of one's own seldom answers for bucket.host: the bucket goes into the path.
            builder = builder
                .with_endpoint(endpoint.trim_end_matches('/'))
                .with_virtual_hosted_style_request(false);
        }
        let client = client_options(chain.endpoint.as_deref());
        builder.with_credentials(chain).with_client_options(client).build()
    }

    /// What a call to the library's store streams.
    fn streamed<T: Send + 'static>(
        &self,
        call: impl FnOnce(&AmazonS3) -> BoxStream<'static, Result<T>> + Send + 'static,
    ) -> BoxStream<'static, Result<T>> {
        let bucket = self.clone();
        let started = async move { Ok::<_, Error>(call(bucket.store().await?).map_err(told)) };
        future::ready(()).then(|()| started).try_flatten_stream().boxed()
    }
}

/// For all requests to a bucket at `endpoint`.
pub(super) fn client_options(endpoint: Option<&str>) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")))
        .with_connect_timeout(CONNECT_WITHIN)
        .with_timeout(REQUEST_WITHIN)
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.0.name)
    }
}

#[async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.store().await?.put_opts(location, payload, opts).await.map_err(told)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.store().await?.put_multipart_opts(location, opts).await.map_err(told)?;
        Ok(Box::new(Upload(upload)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.store().await?.get_opts(location, options).await.map_err(told)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.store().await?.get_ranges(location, ranges).await.map_err(told)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.streamed(move |store| store.delete_stream(locations))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.cloned();
        self.streamed(move |store| store.list(prefix.as_ref()))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (prefix, offset) = (prefix.cloned(), offset.clone());
        self.streamed(move |store| store.list_with_offset(prefix.as_ref(), &offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store().await?.list_with_delimiter(prefix).await.map_err(told)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store().await?.copy_opts(from, to, options).await.map_err(told)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.store().await?.rename_opts(from, to, options).await.map_err(told)
    }
}

#[derive(Debug)]
struct Upload(Box<dyn MultipartUpload>);

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.0.put_part(data).map_err(told).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.0.complete().await.map_err(told)
    }

    async fn abort(&mut self) -> Result<()> {
        self.0.abort().await.map_err(told)
    }
}
