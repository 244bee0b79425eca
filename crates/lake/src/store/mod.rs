//! Where the bytes of a lake lie: opening a store by its address, and one way to turn its errors into ours.

mod guard;
mod local;
mod records;
mod s3;
mod seal;
mod trial;
mod upload;

use std::{
    fmt, io,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use lagar_flow::{Code, Error, Result, codes, redact_url};
use object_store::{ObjectStore, path::Path, prefix::PrefixStore};

pub use guard::{Deadlines, Guarded};
pub use local::DurableLocal;
pub(crate) use records::{
    FORMAT_VERSION, FORMAT_VERSION_MAX, Record, Records, intended, number_in, put_if_absent,
};
pub(crate) use s3::UploadsError;
pub use s3::{Access, S3Settings};
use s3::{CredentialsError, Refusal};
pub(crate) use seal::{DAMAGED, SEAL, UNSEALED, damaged, seal, sealed};
pub(crate) use trial::PROBES;
pub use trial::Trial;
pub(crate) use upload::Upload;

/// Where a lake lies.
#[derive(Debug, Clone)]
pub struct Root {
    /// To show, and to join object names to: an absolute path or `s3://bucket/prefix`; no secret is in it.
    pub url: String,
    /// The folder, when it is one.
    pub local: Option<PathBuf>,
}

/// The store of a lake's address, with the object names starting at the lake's root.
///
/// `url` is a folder (relative to `base`), a `file:` URL or `s3://bucket/prefix`; nothing is created.
/// Fails with [`codes::LAKE_CONFIG`] for an address that cannot be one.
pub(crate) fn open(url: &str, base: &FilePath, s3: &S3Settings) -> Result<(Arc<dyn ObjectStore>, Root)> {
    let url = url.trim();
    match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("s3" | "s3a") => {
            let (store, prefix) = s3.open(url)?;
            let shown = url.trim_end_matches('/').replacen("s3a://", "s3://", 1);
            let root = Root { url: redact_url(&shown), local: None };
            let store: Arc<dyn ObjectStore> =
                if prefix.as_ref().is_empty() { store } else { Arc::new(PrefixStore::new(store, prefix)) };
            Ok((store, root))
        }
        Some("hdfs" | "viewfs") => Err(later(url)),
        Some(scheme) if scheme != "file" => {
            Err(Error::new(codes::LAKE_CONFIG, format!("`{}` is not an address of a lake", redact_url(url)))
                .hint("a lake is a folder or s3://BUCKET/PREFIX"))
        }
        _ => open_folder(url, base),
    }
}

/// The store of an object address (`s3://…`, `s3a://…`) outside the lake and the path inside that store.
///
/// `env` answers for the environment variables of AWS. Fails with [`codes::CONFIG`] for other schemes.
pub fn open_object(url: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<(Arc<dyn ObjectStore>, Path)> {
    S3Settings::from_env(env).open_object(url)
}

fn later(url: &str) -> Error {
    Error::new(codes::CONFIG_LATER, format!("`{}`: hdfs:// is not supported yet", redact_url(url)))
        .hint("use a folder or s3://BUCKET/PREFIX")
}

fn open_folder(url: &str, base: &FilePath) -> Result<(Arc<dyn ObjectStore>, Root)> {
    let wrong = |why: String| {
        Error::new(codes::LAKE_CONFIG, format!("the lake `{url}` cannot be used: {why}"))
            .hint("`lake:` names a folder; it is made when the first load lands")
    };
    if url.is_empty() {
        return Err(wrong("the address is empty".into()));
    }
    let path = if url.starts_with("file:") {
        let parsed = url::Url::parse(url).map_err(|e| wrong(e.to_string()))?;
        parsed.to_file_path().map_err(|()| wrong("it is not a path on this machine".into()))?
    } else {
        base.join(url)
    };
    let path = std::path::absolute(&path).map_err(|e| wrong(e.to_string()))?;
    let path = without_dots(&path);
    match std::fs::metadata(&path) {
        Ok(meta) if !meta.is_dir() => {
            return Err(wrong(format!("{} is a file, not a folder", path.display())));
        }
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
            return Err(wrong(format!("a folder above {} is a file", path.display())));
        }
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            return Err(Error::new(
                codes::LAKE_DENIED,
                format!("the lake {} may not be read", path.display()),
            )
            .caused_by(&e));
        }
        _ => {}
    }
    let root = Root { url: path.display().to_string(), local: Some(path.clone()) };
    Ok((Arc::new(DurableLocal::new(path)), root))
}

/// A symbolic link lies where an object should be.
#[derive(Debug)]
pub struct SymbolicLink(pub(crate) PathBuf);

impl fmt::Display for SymbolicLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is a symbolic link", self.0.display())
    }
}

impl std::error::Error for SymbolicLink {}

impl From<SymbolicLink> for object_store::Error {
    fn from(link: SymbolicLink) -> Self {
        object_store::Error::Generic { store: "folder", source: Box::new(link) }
    }
}

impl Root {
    /// The name of an object as a person knows it.
    pub(crate) fn name_of(&self, object: &Path) -> String {
        match object.as_ref() {
            "" => self.url.clone(),
            name => format!("{}/{name}", self.url),
        }
    }

    /// What a store said while it should have been `doing` ("read", "write", "list") something to `object`.
    pub fn error(&self, doing: &str, object: &Path, e: &object_store::Error) -> Error {
        if let Some(ours) = find::<Error>(e) {
            return ours.clone();
        }
        let name = self.name_of(object);
        let (code, why, hint) = judge(e);
        let message = match why {
            Some(why) => format!("cannot {doing} {name}: {why}"),
            None => format!("cannot {doing} {name}"),
        };
        let error = Error::new(code, message);
        // What the library puts around them says less.
        let error = match (find::<Refusal>(e), find::<CredentialsError>(e)) {
            (Some(refusal), _) => error.caused_by(refusal),
            (_, Some(credentials)) => error.caused_by(credentials),
            _ => error.caused_by(e),
        };
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// What the store of an object outside the lake said while it should have been read. `shown`: the object's
/// address, without secrets.
pub fn object_error(shown: &str, e: &object_store::Error) -> Error {
    Root { url: shown.to_owned(), local: None }.error("read", &Path::default(), e)
}

/// The code of a store's error, what it means, and what to do.
fn judge(e: &object_store::Error) -> (Code, Option<&'static str>, Option<&'static str>) {
    use object_store::Error as E;
    if find::<SymbolicLink>(e).is_some() {
        return (
            codes::LAKE_SYMLINK,
            Some("a symbolic link lies there, and links are not followed inside a lake"),
            Some("remove the link, or put the files themselves there"),
        );
    }
    if let Some(io) = find::<io::Error>(e) {
        match io.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                return (
                    codes::LAKE_SPACE,
                    Some("no space left"),
                    Some("make room, then run again: what was committed is safe"),
                );
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                return (
                    codes::LAKE_DENIED,
                    Some("access was refused"),
                    Some("check the owner and the rights of the folder"),
                );
            }
            io::ErrorKind::NotADirectory => {
                return (codes::LAKE_CONFIG, Some("a file lies where a folder should be"), None);
            }
            _ => {}
        }
    }
    if let Some(credentials) = find::<CredentialsError>(e) {
        return match credentials {
            CredentialsError::None(_) => (
                codes::LAKE_CREDENTIALS,
                Some("no credentials were found"),
                Some(
                    "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role is given",
                ),
            ),
            CredentialsError::Failed { is_temporary: true, .. } => (
                codes::LAKE_STORE,
                Some("who gives the credentials does not answer"),
                Some("it may be down or slow; try again"),
            ),
            CredentialsError::Failed { .. } => (
                codes::LAKE_DENIED,
                Some("there are no credentials"),
                Some("log in again, or mend what is said there; `lagar doctor` tries it"),
            ),
        };
    }
    if let Some(meaning) = find::<Refusal>(e).and_then(Refusal::meaning) {
        let (code, why, hint) = meaning;
        return (code, Some(why), hint);
    }
    match e {
        E::NotFound { .. } => (codes::LAKE_CORRUPT, Some("it is not there"), None),
        E::AlreadyExists { .. } => (codes::LAKE_CONFLICT, Some("it exists already"), None),
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => (
            codes::LAKE_DENIED,
            Some("access was refused"),
            Some("check the credentials and what they may do with this bucket or folder"),
        ),
        E::InvalidPath { .. } => (codes::LAKE_CORRUPT, None, None),
        E::NotSupported { .. } | E::NotImplemented { .. } | E::UnknownConfigurationKey { .. } => {
            (codes::LAKE_CONFIG, Some("the store cannot do it"), None)
        }
        _ => (codes::LAKE_STORE, None, Some("the store may be down or slow; try again")),
    }
}

/// The first error of type `T` below `e`.
fn find<'e, T: std::error::Error + 'static>(e: &'e (dyn std::error::Error + 'static)) -> Option<&'e T> {
    let mut next = Some(e);
    while let Some(e) = next {
        if let Some(found) = e.downcast_ref::<T>() {
            return Some(found);
        }
        next = e.source();
    }
    None
}

/// `path` without `.` and `..`: object names cannot hold them. What exists is resolved by the system,
/// because `..` behind a symbolic link is not the folder in front of it.
fn without_dots(path: &FilePath) -> PathBuf {
    let mut resolved = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                resolved = resolved.canonicalize().unwrap_or(resolved);
                resolved.pop();
            }
            part => resolved.push(part),
        }
    }
    resolved
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn code_of(kind: io::ErrorKind) -> Code {
        let e = object_store::Error::Generic { store: "x", source: Box::new(io::Error::from(kind)) };
        Root { url: "/lake".into(), local: None }.error("write", &Path::from("a/b"), &e).code()
    }

    #[test]
    fn the_errors_of_a_disk_have_their_own_codes() {
        assert_eq!(code_of(io::ErrorKind::StorageFull), codes::LAKE_SPACE);
        assert_eq!(code_of(io::ErrorKind::QuotaExceeded), codes::LAKE_SPACE);
        assert_eq!(code_of(io::ErrorKind::PermissionDenied), codes::LAKE_DENIED);
        assert_eq!(code_of(io::ErrorKind::ReadOnlyFilesystem), codes::LAKE_DENIED);
        assert_eq!(code_of(io::ErrorKind::NotADirectory), codes::LAKE_CONFIG);
        assert_eq!(code_of(io::ErrorKind::ConnectionReset), codes::LAKE_STORE);
    }

    #[test]
    fn an_address_is_a_folder_or_a_bucket() {
        let s3 = S3Settings::from_env(&|_| None);
        let folder = tempfile::tempdir().unwrap();
        let open = |url: &str| open(url, folder.path(), &s3);
        assert_eq!(open("./lake").unwrap().1.local.unwrap(), folder.path().join("lake"));
        assert_eq!(open("file:///tmp/l%20a").unwrap().1.url, "/tmp/l a");
        let (_, root) = open("s3a://bucket/some/prefix/").unwrap();
        assert_eq!((root.url.as_str(), root.local), ("s3://bucket/some/prefix", None));
        for (url, code) in [
            ("hdfs://host:8020/lake", codes::CONFIG_LATER),
            ("gs://bucket", codes::LAKE_CONFIG),
            ("https://user:secret@host/x", codes::LAKE_CONFIG),
            ("s3://", codes::LAKE_CONFIG),
            ("", codes::LAKE_CONFIG),
        ] {
            let error = open(url).err().unwrap();
            assert_eq!(error.code(), code, "{url}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let file = folder.path().join("file");
        std::fs::write(&file, "x").unwrap();
        for url in ["file", "file/lake"] {
            let error = open(url).err().unwrap();
            assert_eq!(error.code(), codes::LAKE_CONFIG);
            assert!(error.message().contains(&file.display().to_string()), "{error}");
        }
    }
}
