//! The bytes of raw files, brought to where they can be decoded.

use std::{ops::Range, path::Path as FilePath, sync::Arc};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use lagar_flow::{Body, Error, InPlace, Name, Result, codes, redact_url};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, path::Path};
use sha2::{Digest, Sha256};

use crate::{
    Lake,
    raw::{ManifestFile, hex, raw_path},
    store::object_error,
};

/// A remote file up to this size is read into memory, a bigger one into a spool file.
const MEMORY_BYTES_MAX: u64 = 8 << 20;

impl Lake {
    /// The bytes of a raw file: the file itself in a local lake, memory for a small remote one, else
    /// a file in the folder `spool`.
    ///
    /// Fails with [`codes::LAKE_CORRUPT`] if it is missing or not what the manifest says; of an `in_place`
    /// file with [`codes::SOURCE_MISSING`] if it is gone, and [`codes::SOURCE_CHANGED`] if it changed since
    /// the load.
    pub async fn raw_body(&self, source: &Name, file: &ManifestFile, spool: &FilePath) -> Result<Body> {
        self.raw_part(source, file, 0..u64::MAX, spool).await
    }

    /// As [`Lake::raw_body`], for whoever reads only the bytes of `range`: of a local file no others are
    /// looked at.
    pub async fn raw_part(
        &self,
        source: &Name,
        file: &ManifestFile,
        range: Range<u64>,
        spool: &FilePath,
    ) -> Result<Body> {
        if let Some(in_place) = &file.in_place {
            return self.in_place_body(in_place, file.bytes, spool).await;
        }
        let path = raw_path(source, &file.path)?;
        let name = self.root().name_of(&path);
        let damaged = |why: String| {
            Error::new(codes::LAKE_CORRUPT, format!("{name} {why}"))
                .hint("raw files are never rewritten: bring it back from a backup")
        };
        let of_other_length =
            |length: u64| damaged(format!("has {length} bytes, its manifest says {}", file.bytes));
        if let Some(folder) = self.local_path() {
            let head = self.store().head(&path).await.map_err(|e| self.root().error("read", &path, &e))?;
            if head.size != file.bytes {
                return Err(of_other_length(head.size));
            }
            let local = path.parts().fold(folder.to_path_buf(), |p, part| p.join(part.as_ref()));
            if let Some(sums) = file.crc32.clone() {
                let (read, range) = (local.clone(), range.start..range.end.min(file.bytes));
                let fits = tokio::task::spawn_blocking(move || sums.fit_file(&read, range)).await;
                let fits = fits.map_err(|e| Error::bug("a raw file's check broke off").caused_by(&e))?;
                if !fits.map_err(|e| damaged("cannot be read".to_owned()).caused_by(&e))? {
                    return Err(damaged("does not hold the bytes that were loaded".to_owned()));
                }
            }
            return Ok(Body::Local(local));
        }
        let fetched = fetch(self.store().as_ref(), &path, spool).await.map_err(|e| match e {
            Fetch::Store(e) => self.root().error("read", &path, &e),
            Fetch::Spool(e) => e,
        })?;
        if fetched.bytes != file.bytes {
            return Err(of_other_length(fetched.bytes));
        }
        match &file.sha256 {
            Some(expected) if *expected != fetched.sha256 => {
                Err(damaged("does not hold the bytes that were loaded".to_owned()))
            }
            _ => Ok(fetched.body),
        }
    }

    async fn in_place_body(&self, file: &InPlace, bytes: u64, spool: &FilePath) -> Result<Body> {
        let shown = redact_url(&file.url);
        let changed = || {
            Error::new(codes::SOURCE_CHANGED, format!("{shown} is not the file any more that was loaded"))
                .hint("load the source again")
        };
        if file.url.starts_with("s3://") || file.url.starts_with("s3a://") {
            let (store, path) = self.s3().open_object(&file.url)?;
            let fetched = fetch(store.as_ref(), &path, spool).await.map_err(|e| match e {
                Fetch::Store(e) => in_place_error(&shown, &e),
                Fetch::Spool(e) => e,
            })?;
            let etag = fetched.meta.e_tag.as_deref();
            let same = fetched.bytes == bytes && is_same(file, bytes, fetched.meta.last_modified, etag);
            return if same { Ok(fetched.body) } else { Err(changed()) };
        }
        let path = match url::Url::parse(&file.url) {
            Ok(url) if url.scheme() == "file" => url.to_file_path().map_err(|()| {
                Error::new(codes::SOURCE_MISSING, format!("{shown} is not a path on this machine"))
            })?,
            Ok(url) if file.url.contains("://") => {
                return Err(Error::new(
                    codes::CONFIG_LATER,
                    format!("{shown}: a file behind {}:// cannot be used in place yet", url.scheme()),
                )
                .hint("leave out `in_place`"));
            }
            _ => file.url.clone().into(),
        };
        let unreadable = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::NotFound => in_place_missing(&shown, &e),
            _ => Error::new(codes::SOURCE_IO, format!("{shown}, which is used in place, cannot be read"))
                .caused_by(&e),
        };
        let found = tokio::fs::metadata(&path).await.map_err(unreadable)?;
        let modified = found.modified().map_err(unreadable)?;
        let same = found.len() == bytes && is_same(file, bytes, modified.into(), None);
        if same { Ok(Body::Local(path)) } else { Err(changed()) }
    }
}

/// What the store of an object said that is used in place: only what is not there is missing.
fn in_place_error(shown: &str, e: &object_store::Error) -> Error {
    match e {
        object_store::Error::NotFound { .. } => in_place_missing(shown, e),
        e => object_error(shown, e),
    }
}

fn in_place_missing(shown: &str, e: &(dyn std::error::Error + 'static)) -> Error {
    Error::new(codes::SOURCE_MISSING, format!("{shown}, which is used in place, is not there")).caused_by(e)
}

/// Whether a file with this ETag, or of this length and time, has the fingerprint of `file`. One that is
/// neither an ETag nor `<bytes>-<time in ns or µs>` tells nothing, and the length has to do.
fn is_same(file: &InPlace, bytes: u64, modified: DateTime<Utc>, etag: Option<&str>) -> bool {
    if let Some(etag) = etag {
        return file.fingerprint == etag;
    }
    let Some(time) = file.fingerprint.strip_prefix(&format!("{bytes}-")) else { return true };
    let Ok(time) = time.parse::<i64>() else { return true };
    Some(time) == modified.timestamp_nanos_opt() || time == modified.timestamp_micros()
}

struct Fetched {
    body: Body,
    bytes: u64,
    sha256: String,
    meta: ObjectMeta,
}

/// What refused: the store, or the spool folder.
enum Fetch {
    Store(object_store::Error),
    Spool(Error),
}

impl From<object_store::Error> for Fetch {
    fn from(e: object_store::Error) -> Self {
        Fetch::Store(e)
    }
}

async fn fetch(store: &dyn ObjectStore, path: &Path, spool: &FilePath) -> Result<Fetched, Fetch> {
    let found = store.get(path).await?;
    let meta = found.meta.clone();
    let mut stream = found.into_stream();
    let mut hash = Sha256::new();
    let mut bytes = 0;
    if meta.size <= MEMORY_BYTES_MAX {
        let mut whole = Vec::new();
        while let Some(piece) = stream.try_next().await? {
            hash.update(&piece);
            whole.extend_from_slice(&piece);
        }
        let bytes = whole.len() as u64;
        return Ok(Fetched { body: Body::Memory(Bytes::from(whole)), bytes, sha256: hex(hash), meta });
    }
    let refused = |e: &std::io::Error| {
        let code = match e.kind() {
            std::io::ErrorKind::StorageFull => codes::LAKE_SPACE,
            _ => codes::SOURCE_IO,
        };
        Fetch::Spool(
            Error::new(code, format!("cannot write to the spool folder {}", spool.display())).caused_by(e),
        )
    };
    let (file, temp) = tempfile::NamedTempFile::new_in(spool).map_err(|e| refused(&e))?.into_parts();
    let mut file = tokio::fs::File::from_std(file);
    while let Some(piece) = stream.try_next().await? {
        hash.update(&piece);
        bytes += piece.len() as u64;
        tokio::io::AsyncWriteExt::write_all(&mut file, &piece).await.map_err(|e| refused(&e))?;
    }
    tokio::io::AsyncWriteExt::flush(&mut file).await.map_err(|e| refused(&e))?;
    Ok(Fetched { body: Body::Temp(Arc::new(temp)), bytes, sha256: hex(hash), meta })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use lagar_flow::Blame;
    use object_store::Error as E;

    use super::*;

    #[test]
    fn a_store_that_does_not_answer_is_not_a_missing_file() {
        let of = |e: &E| in_place_error("s3://bucket/x.csv", e);
        let path = || "x.csv".to_owned();
        let down = of(&E::Generic { store: "S3", source: "503 Service Unavailable".into() });
        assert_eq!((down.code(), down.blame()), (codes::LAKE_STORE, Blame::Outside), "{down}");
        assert!(down.message().contains("cannot read s3://bucket/x.csv"), "{down}");
        assert_eq!(
            of(&E::PermissionDenied { path: path(), source: "403".into() }).code(),
            codes::LAKE_DENIED
        );
        let gone = of(&E::NotFound { path: path(), source: "404".into() });
        assert_eq!((gone.code(), gone.blame()), (codes::SOURCE_MISSING, Blame::Data), "{gone}");
    }

    #[test]
    fn a_fingerprint_tells_a_changed_file() {
        let file = |fingerprint: &str| InPlace { url: "/x".into(), fingerprint: fingerprint.into() };
        let at = DateTime::from_timestamp_nanos(1_000_000_001);
        assert!(is_same(&file("9-1000000001"), 9, at, None));
        assert!(is_same(&file("9-1000000"), 9, at, None));
        assert!(!is_same(&file("9-1000000002"), 9, at, None));
        assert!(is_same(&file("\"etag\""), 9, at, Some("\"etag\"")));
        assert!(!is_same(&file("9-1000000001"), 9, at, Some("\"etag\"")));
        assert!(is_same(&file("anything"), 9, at, None));
    }
}
