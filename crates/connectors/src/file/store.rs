//! Objects in a store (`s3://bucket/key`): finding them, and getting their bytes under a deadline.

use std::{
    future::Future,
    io::{Seek, SeekFrom, Write},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use lagar_flow::{Body, Error, Result, codes};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, path::Path};

use super::local::{is_data_name, is_pattern, no_match};
use crate::{
    Cx,
    spool::{MEMORY_BYTES_MAX, Spool, Spooled, write_error},
};

/// So much of a Parquet file's end holds the description of its columns, as a rule.
const PARQUET_TAIL_BYTES: u64 = 256 << 10;

const SCHEMES: &[&str] = &["s3://", "s3a://"];

/// Where to look, with calls that end in time.
pub(crate) struct Objects {
    store: Arc<dyn ObjectStore>,
    /// The longest time without an answer.
    deadline: Duration,
}

pub(crate) struct FoundObject {
    /// For people and the position; always `s3://`.
    pub shown: String,
    pub meta: ObjectMeta,
}

pub(crate) fn is_store_url(url: &str) -> bool {
    SCHEMES.iter().any(|scheme| url.starts_with(scheme))
}

/// The objects that `url` (one, a pattern, a folder) stands for, by name. Never empty.
pub(crate) async fn find(cx: &Cx, url: &str, deadline: Duration) -> Result<(Objects, Vec<FoundObject>)> {
    let (scheme, address) = url.split_once("://").unwrap_or(("s3", url));
    let (bucket, key) = address.split_once('/').unwrap_or((address, ""));
    if is_pattern(key) {
        // The folder that no pattern character is in.
        let fixed = key.split('/').take_while(|part| !is_pattern(part)).collect::<Vec<_>>().join("/");
        let pattern = key[fixed.len()..].trim_start_matches('/');
        let pattern = glob::Pattern::new(pattern).map_err(|error| {
            Error::new(codes::CONFIG, format!("`{url}` is not a pattern")).caused_by(&error)
        })?;
        let options = glob::MatchOptions { require_literal_separator: true, ..Default::default() };
        let matches = |name: &str| pattern.matches_with(name, options);
        let (objects, found) = list(cx, (scheme, bucket, &fixed), deadline, matches).await?;
        return if found.is_empty() { Err(no_match(url)) } else { Ok((objects, found)) };
    }
    if !key.is_empty() && !key.ends_with('/') {
        let (store, path) = cx.stores.open(url)?;
        let objects = Objects { store, deadline };
        match objects.in_time(url, objects.store.head(&path)).await? {
            Ok(meta) => return Ok((objects, vec![FoundObject { shown: format!("s3://{address}"), meta }])),
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(store_error(url, &error)),
        }
    }
    let in_folder = |name: &str| !name.contains('/') && is_data_name(name);
    let (objects, found) = list(cx, (scheme, bucket, key.trim_end_matches('/')), deadline, in_folder).await?;
    if found.is_empty() {
        return Err(Error::new(codes::SOURCE_MISSING, format!("there is nothing at `{url}`"))
            .hint("check the bucket, the key and the region"));
    }
    Ok((objects, found))
}

/// The objects below a folder whose names (without the folder) are wanted.
async fn list(
    cx: &Cx,
    (scheme, bucket, folder): (&str, &str, &str),
    deadline: Duration,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<(Objects, Vec<FoundObject>)> {
    let url = format!("{scheme}://{bucket}/{folder}");
    let (store, prefix) = cx.stores.open(&url)?;
    let objects = Objects { store, deadline };
    let mut listing = objects.store.list(Some(&prefix));
    let mut found = Vec::new();
    while let Some(meta) = objects.in_time(&url, listing.next()).await? {
        cx.check_cancelled()?;
        let meta = meta.map_err(|error| store_error(&url, &error))?;
        let Some(name) = meta.location.as_ref().strip_prefix(prefix.as_ref()) else { continue };
        let name = name.trim_start_matches('/');
        if is_wanted(name) {
            let separator = if folder.is_empty() { "" } else { "/" };
            found.push(FoundObject { shown: format!("s3://{bucket}/{folder}{separator}{name}"), meta });
        }
    }
    drop(listing);
    found.sort_by(|a, b| a.shown.cmp(&b.shown));
    Ok((objects, found))
}

impl Objects {
    /// The whole object, and what it was when it was read.
    pub async fn fetch(
        &self,
        cx: &Cx,
        object: &FoundObject,
        bytes_max: u64,
    ) -> Result<(Spooled, ObjectMeta)> {
        let shown = object.shown.as_str();
        let got = self.in_time(shown, self.store.get(&object.meta.location)).await?;
        let got = got.map_err(|error| store_error(shown, &error))?;
        let meta = got.meta.clone();
        let mut spool = Spool::new(&cx.spool_dir, MEMORY_BYTES_MAX, bytes_max);
        let mut pieces = got.into_stream();
        while let Some(piece) = self.in_time(shown, pieces.next()).await? {
            cx.check_cancelled()?;
            let piece = piece.map_err(|error| store_error(shown, &error))?;
            spool.write_all(&piece).map_err(|error| write_error(shown, &error))?;
        }
        let spooled = spool.finish();
        if spooled.bytes != meta.size {
            let what = format!("`{shown}` broke off after {} of {} bytes", spooled.bytes, meta.size);
            return Err(Error::new(codes::HTTP_TEMPORARY, what));
        }
        Ok((spooled, meta))
    }

    /// The first bytes of an object.
    pub async fn head_bytes(&self, object: &FoundObject, bytes: u64) -> Result<Body> {
        let location: &Path = &object.meta.location;
        let range = 0..bytes.min(object.meta.size);
        if range.is_empty() {
            return Ok(Body::Memory(Bytes::new()));
        }
        let got = self.in_time(&object.shown, self.store.get_range(location, range)).await?;
        got.map(Body::Memory).map_err(|error| store_error(&object.shown, &error))
    }

    /// A Parquet object of which only the end, where its columns are described, was fetched: a file of
    /// the object's length with a hole in front. `None` when it does not end like Parquet.
    pub async fn parquet_end(&self, cx: &Cx, object: &FoundObject) -> Result<Option<Body>> {
        let mut tail = self.tail(object, PARQUET_TAIL_BYTES).await?;
        let Some((_, [a, b, c, d, b'P', b'A', b'R', b'1'])) = tail.split_last_chunk::<8>() else {
            return Ok(None);
        };
        let needed = u64::from(u32::from_le_bytes([*a, *b, *c, *d])) + 8;
        if needed > object.meta.size {
            return Ok(None);
        }
        if needed > tail.len() as u64 {
            tail = self.tail(object, needed).await?;
        }
        let write = || {
            std::fs::create_dir_all(&cx.spool_dir)?;
            let mut file = tempfile::Builder::new().prefix("spool-").tempfile_in(&cx.spool_dir)?;
            file.as_file().set_len(object.meta.size - tail.len() as u64)?;
            file.seek(SeekFrom::End(0))?;
            file.write_all(&tail)?;
            Ok(Body::Temp(Arc::new(file.into_temp_path())))
        };
        write().map(Some).map_err(|error| write_error(&object.shown, &error))
    }

    /// The last bytes of an object.
    async fn tail(&self, object: &FoundObject, bytes: u64) -> Result<Bytes> {
        let size = object.meta.size;
        let range = size - bytes.min(size)..size;
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let got = self.in_time(&object.shown, self.store.get_range(&object.meta.location, range)).await?;
        got.map_err(|error| store_error(&object.shown, &error))
    }

    async fn in_time<T>(&self, shown: &str, work: impl Future<Output = T>) -> Result<T> {
        tokio::time::timeout(self.deadline, work).await.map_err(|_| {
            Error::new(
                codes::HTTP_TEMPORARY,
                format!("the store of `{shown}` sent nothing for {:?}", self.deadline),
            )
        })
    }
}

fn store_error(shown: &str, error: &object_store::Error) -> Error {
    use object_store::Error as E;
    match error {
        E::NotFound { .. } => Error::new(codes::SOURCE_MISSING, format!("there is nothing at `{shown}`")),
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => {
            Error::new(codes::AUTH, format!("the store refuses to show `{shown}`"))
                .caused_by(error)
                .hint("`lagar doctor` says which credentials are used")
        }
        // The lake's stores tell a missing bucket apart: nobody must take it for an empty one.
        E::Generic { source, .. } if source.to_string().contains("NoSuchBucket") => {
            Error::new(codes::SOURCE_MISSING, format!("there is no bucket for `{shown}`"))
                .caused_by(source.as_ref())
        }
        _ => Error::new(codes::HTTP_TEMPORARY, format!("`{shown}` cannot be read")).caused_by(error),
    }
}
