//! Tries what a lake needs of its store, one thing after the other, under names that nobody else has.

use bytes::Bytes;
use lagar_flow::{Error, Result, codes};
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, path::Path};

use crate::Lake;

/// The folder of all that is put only to see what the store does, in the lake's root. Whoever puts something
/// there removes it; a vacuum takes what a killed process left.
pub(crate) const PROBES: &str = "_probe";
const WRITTEN: &[u8] = b"lagar doctor was here";

/// One thing that was tried.
#[derive(Debug)]
pub struct Trial {
    /// "put", "put-if-absent", …
    pub what: &'static str,
    pub result: Result<()>,
}

impl Lake {
    /// Tries to put, to put if absent, to list, to read a range, to give up an upload and to delete, below
    /// [`PROBES`]. A failure does not end the rest, except that what was not put is not read.
    pub async fn try_store(&self) -> Vec<Trial> {
        let folder = Path::from(PROBES).join(uuid::Uuid::now_v7().to_string());
        let scratch = Scratch { lake: self, store: self.store().as_ref(), folder };
        let put = scratch.put().await;
        let is_put = put.is_ok();
        let mut trials = vec![Trial { what: "put", result: put }];
        let mut tried = |what, result| trials.push(Trial { what, result });
        tried("put-if-absent", scratch.put_if_absent().await);
        tried("list", scratch.list(is_put).await);
        if is_put {
            tried("range read", scratch.read_range().await);
        }
        tried("upload, given up", scratch.give_up_upload().await);
        tried("delete", scratch.delete().await);
        scratch.remove_folders();
        trials
    }
}

struct Scratch<'a> {
    lake: &'a Lake,
    store: &'a dyn ObjectStore,
    folder: Path,
}

impl Scratch<'_> {
    fn plain(&self) -> Path {
        self.folder.clone().join("put")
    }

    fn once(&self) -> Path {
        self.folder.clone().join("put-if-absent")
    }

    fn failed<'e>(&'e self, doing: &'e str, path: &'e Path) -> impl Fn(StoreError) -> Error + 'e {
        move |e| self.lake.root().error(doing, path, &e)
    }

    async fn put(&self) -> Result<()> {
        let path = self.plain();
        let put = self.store.put(&path, Bytes::from_static(WRITTEN).into()).await;
        put.map(|_| ()).map_err(self.failed("write", &path))
    }

    /// The first is taken, the second refused, and what is there is the first's.
    async fn put_if_absent(&self) -> Result<()> {
        let path = self.once();
        let put =
            |bytes| self.store.put_opts(&path, Bytes::from_static(bytes).into(), PutMode::Create.into());
        put(WRITTEN).await.map_err(self.failed("write", &path))?;
        match put(b"the second").await {
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {}
            Err(e) => return Err(self.failed("write", &path)(e)),
            Ok(_) => return Err(overwrites()),
        }
        let read = async { self.store.get(&path).await?.bytes().await };
        match read.await.map_err(self.failed("read", &path))? {
            bytes if bytes == WRITTEN => Ok(()),
            _ => Err(overwrites()),
        }
    }

    async fn list(&self, is_put: bool) -> Result<()> {
        let listed = self.lake.listed(&self.folder).await?;
        let path = self.plain();
        if is_put && !listed.iter().any(|meta| meta.location == path && meta.size == WRITTEN.len() as u64) {
            return Err(Error::new(codes::LAKE_STORE, "the store does not list what was just put")
                .hint("commits need a store that lists what it has (as S3 does since 2020)"));
        }
        Ok(())
    }

    async fn read_range(&self) -> Result<()> {
        let path = self.plain();
        let read = self.store.get_range(&path, 6..12).await.map_err(self.failed("read", &path))?;
        if read != WRITTEN[6..12] {
            return Err(Error::new(
                codes::LAKE_STORE,
                "the store answers other bytes than the range asked for",
            )
            .hint("Parquet files are read by ranges; use a store that has them"));
        }
        Ok(())
    }

    async fn give_up_upload(&self) -> Result<()> {
        let path = self.folder.clone().join("upload");
        let mut upload = self.store.put_multipart(&path).await.map_err(self.failed("upload", &path))?;
        let part = upload.put_part(Bytes::from_static(WRITTEN).into()).await;
        // Given up in any case, so that no part stays behind.
        upload.abort().await.map_err(self.failed("give up the upload of", &path))?;
        part.map_err(self.failed("upload", &path))?;
        match self.store.head(&path).await {
            Err(StoreError::NotFound { .. }) => Ok(()),
            Err(e) => Err(self.failed("look for", &path)(e)),
            Ok(_) => Err(Error::new(codes::LAKE_STORE, "an upload that was given up is there all the same")),
        }
    }

    async fn delete(&self) -> Result<()> {
        for path in [self.plain(), self.once()] {
            match self.store.delete(&path).await {
                Ok(()) | Err(StoreError::NotFound { .. }) => {}
                Err(e) => return Err(self.failed("delete", &path)(e)),
            }
        }
        match self.lake.listed(&self.folder).await?.first() {
            None => Ok(()),
            Some(meta) => {
                let name = self.lake.root().name_of(&meta.location);
                Err(Error::new(codes::LAKE_STORE, format!("{name} was deleted and is there all the same")))
            }
        }
    }

    /// The empty folders that files leave behind; a bucket has none.
    fn remove_folders(&self) {
        if let Some(root) = self.lake.local_path() {
            let _ = std::fs::remove_dir(root.join(self.folder.as_ref()));
            let _ = std::fs::remove_dir(root.join(PROBES));
        }
    }
}

fn overwrites() -> Error {
    Error::new(codes::LAKE_CONFIG, "the store overwrites what a put-if-absent must keep")
        .hint("commits need put-if-absent (If-None-Match on S3); use a store that has it")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::{fmt, sync::Arc};

    use async_trait::async_trait;
    use futures::{TryStreamExt, stream::BoxStream};
    use lagar_flow::SystemClock;
    use lagar_testing::{Fault, FaultStore, Op, Plan};
    use object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions,
        PutOptions, PutPayload, PutResult, memory::InMemory,
    };

    use super::*;
    use crate::Root;

    type Which = fn(Op, &str) -> bool;

    /// What fails over `store`.
    async fn failures(store: Arc<dyn ObjectStore>) -> Vec<&'static str> {
        let root = Root { url: "memory".into(), local: None };
        let lake = Lake::with_store(store, root, Arc::new(SystemClock));
        let trials = lake.try_store().await;
        trials.iter().filter(|trial| trial.result.is_err()).map(|trial| trial.what).collect()
    }

    #[tokio::test]
    async fn what_the_store_cannot_do_is_named() {
        let memory = Arc::new(InMemory::new());
        assert!(failures(memory.clone()).await.is_empty());
        assert!(memory.list(None).try_collect::<Vec<_>>().await.unwrap().is_empty(), "it leaves nothing");
        let cases: [(Which, Fault, &[&str]); 5] = [
            (|op, _| op == Op::Put, Fault::Status(403), &["put", "put-if-absent"]),
            (|op, _| op == Op::List, Fault::Status(403), &["list", "delete"]),
            (|op, path| op == Op::Get && path.ends_with("/put"), Fault::WrongBit, &["range read"]),
            (|op, _| op == Op::Abort, Fault::Before, &["upload, given up"]),
            (|op, _| op == Op::Delete, Fault::Status(403), &["delete"]),
        ];
        for (only, fault, expected) in cases {
            let store = FaultStore::new(Arc::new(InMemory::new()), Plan::from(1, fault).only(only));
            assert_eq!(failures(Arc::new(store)).await, expected, "{fault:?}");
        }
        assert_eq!(failures(Arc::new(Overwrites(InMemory::new()))).await, ["put-if-absent"]);
    }

    /// A store that does not know put-if-absent, and says so to nobody.
    #[derive(Debug)]
    struct Overwrites(InMemory);

    impl fmt::Display for Overwrites {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.fmt(f)
        }
    }

    type Stored<T> = object_store::Result<T>;

    #[async_trait]
    impl ObjectStore for Overwrites {
        async fn put_opts(&self, path: &Path, payload: PutPayload, _: PutOptions) -> Stored<PutResult> {
            self.0.put_opts(path, payload, PutOptions::default()).await
        }
        async fn put_multipart_opts(
            &self,
            path: &Path,
            options: PutMultipartOptions,
        ) -> Stored<Box<dyn MultipartUpload>> {
            self.0.put_multipart_opts(path, options).await
        }
        async fn get_opts(&self, path: &Path, options: GetOptions) -> Stored<GetResult> {
            self.0.get_opts(path, options).await
        }
        fn delete_stream(&self, paths: BoxStream<'static, Stored<Path>>) -> BoxStream<'static, Stored<Path>> {
            self.0.delete_stream(paths)
        }
        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Stored<ObjectMeta>> {
            self.0.list(prefix)
        }
        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Stored<ListResult> {
            self.0.list_with_delimiter(prefix).await
        }
        async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Stored<()> {
            self.0.copy_opts(from, to, options).await
        }
    }
}
