//! Folders as object stores, as durable as the remote ones.
//!
//! `object_store`'s `LocalFileSystem` never calls fsync and follows symbolic links. Here a write is: a
//! temporary file in the same folder, its bytes, fsync, then a hard link (create) or a rename
//! (overwrite), then fsync of the folder. Whatever was acknowledged survives a power cut, and nothing
//! half-written has a name that `list` shows. A symbolic link below the root is refused everywhere.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path as FilePath, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, stream, stream::BoxStream};
use lagar_flow::{KillPoint, kill};
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
    local::LocalFileSystem, path::Path,
};

use super::SymbolicLink;

/// Names of files that are not there yet; never listed.
const TEMPORARY: &str = ".lagar-tmp-";
/// Entries read from a folder between two looks at the async runtime.
const LIST_CHUNK: usize = 1024;

/// An [`ObjectStore`] over the folder `root`, which need not exist yet.
#[derive(Debug, Clone)]
pub struct DurableLocal {
    root: Arc<PathBuf>,
    files: LocalFileSystem,
}

impl DurableLocal {
    /// `root` must be absolute. It may be, or lie behind, a symbolic link itself.
    pub fn new(root: PathBuf) -> Self {
        Self { root: Arc::new(root), files: LocalFileSystem::new() }
    }

    /// The path of `location` on disk, after making sure that no symbolic link leads to it.
    pub fn path_of(&self, location: &Path) -> Result<PathBuf> {
        refuse_links(&self.root, location)?;
        Ok(join(&self.root, location))
    }

    /// Files below `folder` that broken-off writes left, or that are being written. They have no object's
    /// name, so `list` does not show them; `location` is where they lie.
    pub(crate) async fn unnamed(&self, folder: &Path) -> Result<Vec<ObjectMeta>> {
        let (root, folder) = (self.root.clone(), folder.clone());
        blocking(move || {
            let mut found = Vec::new();
            let mut open = vec![folder];
            while let Some(folder) = open.pop() {
                for entry in entries_with(&root, &folder, true)? {
                    let unnamed = entry.location.filename().is_some_and(|n| n.starts_with(TEMPORARY));
                    match entry.is_folder {
                        true => open.push(entry.location),
                        false if unnamed => found.extend(entry.meta()?),
                        false => {}
                    }
                }
            }
            Ok(found)
        })
        .await
    }

    /// Removes one of [`DurableLocal::unnamed`]. Its writer, should it wake up, fails then.
    pub(crate) async fn remove_unnamed(&self, location: &Path) -> Result<()> {
        let (this, location) = (self.clone(), location.clone());
        blocking(move || {
            let path = this.path_of(&location)?;
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_error(&path, e)),
                _ => Ok(()),
            }
        })
        .await
    }

    async fn checked(&self, location: &Path) -> Result<Path> {
        let (this, location) = (self.clone(), location.clone());
        blocking(move || Ok(Path::from_absolute_path(this.path_of(&location)?)?)).await
    }
}

impl fmt::Display for DurableLocal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DurableLocal({})", self.root.display())
    }
}

#[async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        refuse_update(&opts.mode)?;
        let (root, location) = (self.root.clone(), location.clone());
        blocking(move || {
            let mut staged = Staged::create(&root, &location)?;
            staged.write(0, &payload)?;
            staged.publish(&opts.mode)
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let (root, location) = (self.root.clone(), location.clone());
        let staged = blocking(move || Staged::create(&root, &location)).await?;
        Ok(Box::new(Upload { staged: Arc::new(Mutex::new(Some(staged))), offset: 0 }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let absolute = self.checked(location).await?;
        let mut result = self.files.get_opts(&absolute, options).await?;
        result.meta.location = location.clone();
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let absolute = self.checked(location).await?;
        self.files.get_ranges(&absolute, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        locations
            .map(move |location| {
                let this = this.clone();
                blocking(move || {
                    let location = location?;
                    let path = this.path_of(&location)?;
                    fs::remove_file(&path).map_err(|e| io_error(&path, e))?;
                    Ok(location)
                })
            })
            .buffered(10)
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let walk = Walk::new(self.root.clone(), prefix.cloned().unwrap_or_default());
        stream::try_unfold(walk, |mut walk| async move {
            let (chunk, walk) = blocking(move || {
                let chunk = walk.by_ref().take(LIST_CHUNK).collect::<Result<Vec<_>>>()?;
                Ok((chunk, walk))
            })
            .await?;
            Ok::<_, Error>((!chunk.is_empty()).then(|| (stream::iter(chunk.into_iter().map(Ok)), walk)))
        })
        .try_flatten()
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (root, prefix) = (self.root.clone(), prefix.cloned().unwrap_or_default());
        blocking(move || {
            let mut result = ListResult { common_prefixes: Vec::new(), objects: Vec::new() };
            for entry in folder_entries(&root, &prefix)? {
                if entry.is_folder {
                    result.common_prefixes.push(entry.location);
                } else if let Some(meta) = entry.meta()? {
                    result.objects.push(meta);
                }
            }
            Ok(result)
        })
        .await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (this, from, to) = (self.clone(), from.clone(), to.clone());
        blocking(move || {
            let source = this.path_of(&from)?;
            let staged = Staged::link(&this.root, &source, &to)?;
            staged.publish(&match options.mode {
                CopyMode::Overwrite => PutMode::Overwrite,
                CopyMode::Create => PutMode::Create,
            })?;
            Ok(())
        })
        .await
    }
}

/// A file that has no name yet; removed when dropped before [`Staged::publish`].
#[derive(Debug)]
struct Staged {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
}

impl Staged {
    fn create(root: &FilePath, location: &Path) -> Result<Self> {
        Self::prepare(root, location, |temporary| {
            OpenOptions::new().write(true).create_new(true).open(temporary)
        })
    }

    /// Another name for the bytes of `source`.
    fn link(root: &FilePath, source: &FilePath, location: &Path) -> Result<Self> {
        if let Err(e) = fs::metadata(source) {
            return Err(io_error(source, e));
        }
        Self::prepare(root, location, |temporary| {
            fs::hard_link(source, temporary)?;
            File::open(temporary)
        })
    }

    fn prepare(
        root: &FilePath,
        location: &Path,
        make: impl Fn(&FilePath) -> io::Result<File>,
    ) -> Result<Self> {
        refuse_links(root, location)?;
        let target = join(root, location);
        let folder = parent(&target);
        let temporary = folder.join(format!("{TEMPORARY}{}", uuid::Uuid::now_v7()));
        let file = make(&temporary).or_else(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                create_folders(folder)?;
                make(&temporary)
            }
            _ => Err(e),
        });
        match file {
            Ok(file) => Ok(Self { file, temporary, target }),
            Err(e) => Err(io_error(&target, e)),
        }
    }

    fn write(&mut self, offset: u64, payload: &PutPayload) -> Result<()> {
        self.file
            .seek(SeekFrom::Start(offset))
            .and_then(|_| payload.iter().try_for_each(|bytes| self.file.write_all(bytes)))
            .map_err(|e| io_error(&self.target, e))
    }

    fn publish(self, mode: &PutMode) -> Result<PutResult> {
        let publish = || {
            kill::at(KillPoint::LocalWritten);
            self.file.sync_all()?;
            kill::at(KillPoint::LocalSynced);
            match mode {
                PutMode::Create => fs::hard_link(&self.temporary, &self.target)?,
                _ => fs::rename(&self.temporary, &self.target)?,
            }
            kill::at(KillPoint::LocalNamed);
            sync_folder(parent(&self.target))
        };
        publish().map_err(|e| io_error(&self.target, e))?;
        kill::at(KillPoint::LocalDone);
        Ok(PutResult { e_tag: None, version: None })
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a rename there is nothing to remove; what is left behind otherwise is invisible.
        let _ = fs::remove_file(&self.temporary);
    }
}

#[derive(Debug)]
struct Upload {
    staged: Arc<Mutex<Option<Staged>>>,
    offset: u64,
}

impl Upload {
    fn take(&self) -> Result<Staged> {
        let ended = || Error::Generic { store: "folder", source: "the upload has already ended".into() };
        self.staged.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or_else(ended)
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let offset = self.offset;
        self.offset += data.content_length() as u64;
        let staged = self.staged.clone();
        blocking(move || match &mut *staged.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(staged) => staged.write(offset, &data),
            None => Err(Error::Generic { store: "folder", source: "the upload has already ended".into() }),
        })
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let staged = self.take()?;
        blocking(move || staged.publish(&PutMode::Overwrite)).await
    }

    async fn abort(&mut self) -> Result<()> {
        let staged = self.take()?;
        blocking(move || {
            drop(staged);
            Ok(())
        })
        .await
    }
}

/// One file or folder of a folder.
struct Entry {
    location: Path,
    path: PathBuf,
    is_folder: bool,
}

impl Entry {
    /// `None` if the file is gone by now.
    fn meta(&self) -> Result<Option<ObjectMeta>> {
        match fs::symlink_metadata(&self.path) {
            Ok(meta) => Ok(Some(ObjectMeta {
                location: self.location.clone(),
                last_modified: meta.modified().map_err(|e| io_error(&self.path, e))?.into(),
                size: meta.len(),
                e_tag: None,
                version: None,
            })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(io_error(&self.path, e)),
        }
    }
}

/// What lies in the folder `location`, in the order of the full names of the objects below it; empty
/// if there is no such folder.
fn folder_entries(root: &FilePath, location: &Path) -> Result<Vec<Entry>> {
    entries_with(root, location, false)
}

fn entries_with(root: &FilePath, location: &Path, unnamed: bool) -> Result<Vec<Entry>> {
    refuse_links(root, location)?;
    let folder = join(root, location);
    let listing = match fs::read_dir(&folder) {
        Ok(listing) => listing,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io_error(&folder, e)),
    };
    let mut entries = Vec::new();
    for entry in listing {
        let entry = entry.map_err(|e| io_error(&folder, e))?;
        let name = entry.file_name();
        // A name that no object can have is not one of ours.
        let Some(name) = name.to_str().filter(|name| unnamed || !name.starts_with(TEMPORARY)) else {
            continue;
        };
        let Ok(location) = Path::parse(format!("{location}/{name}")) else { continue };
        let path = entry.path();
        let kind = match entry.file_type() {
            Ok(kind) => kind,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(io_error(&path, e)),
        };
        if kind.is_symlink() {
            return Err(SymbolicLink(path).into());
        }
        entries.push(Entry { location, path, is_folder: kind.is_dir() });
    }
    // `a-b` sorts before `a/c`, as in an object store.
    entries.sort_by_cached_key(|e| format!("{}{}", e.location, if e.is_folder { "/" } else { "" }));
    Ok(entries)
}

/// All objects below a prefix, in the order of their names.
struct Walk {
    root: Arc<PathBuf>,
    first: Option<Path>,
    open: Vec<std::vec::IntoIter<Entry>>,
}

impl Walk {
    fn new(root: Arc<PathBuf>, prefix: Path) -> Self {
        Self { root, first: Some(prefix), open: Vec::new() }
    }

    fn enter(&mut self, folder: &Path) -> Result<()> {
        self.open.push(folder_entries(&self.root, folder)?.into_iter());
        Ok(())
    }
}

impl Iterator for Walk {
    type Item = Result<ObjectMeta>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(prefix) = self.first.take()
            && let Err(e) = self.enter(&prefix)
        {
            return Some(Err(e));
        }
        while let Some(folder) = self.open.last_mut() {
            match folder.next() {
                None => {
                    self.open.pop();
                }
                Some(entry) if entry.is_folder => {
                    if let Err(e) = self.enter(&entry.location) {
                        return Some(Err(e));
                    }
                }
                Some(entry) => match entry.meta().transpose() {
                    Some(meta) => return Some(meta),
                    None => continue,
                },
            }
        }
        None
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

fn join(root: &FilePath, location: &Path) -> PathBuf {
    let mut path = root.to_path_buf();
    path.extend(location.parts().map(|part| part.as_ref().to_owned()));
    path
}

fn parent(path: &FilePath) -> &FilePath {
    path.parent().unwrap_or(path)
}

fn refuse_links(root: &FilePath, location: &Path) -> Result<()> {
    let mut path = root.to_path_buf();
    for part in location.parts() {
        path.push(part.as_ref());
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.file_type().is_symlink() => return Err(SymbolicLink(path).into()),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(io_error(&path, e)),
        }
    }
    Ok(())
}

fn refuse_update(mode: &PutMode) -> Result<()> {
    match mode {
        PutMode::Update(_) => Err(Error::NotImplemented {
            operation: "a conditional overwrite".into(),
            implementer: "a folder".into(),
        }),
        _ => Ok(()),
    }
}

/// Like `create_dir_all`, and a power cut afterwards does not take the folders away again.
fn create_folders(folder: &FilePath) -> io::Result<()> {
    let mut missing = Vec::new();
    let mut next = Some(folder);
    while let Some(path) = next {
        match fs::metadata(path) {
            Ok(_) => break,
            Err(e) if e.kind() == io::ErrorKind::NotFound => missing.push(path),
            Err(e) => return Err(e),
        }
        next = path.parent().filter(|p| !p.as_os_str().is_empty());
    }
    for path in missing.into_iter().rev() {
        match fs::create_dir(path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => sync_folder(parent(path))?,
        }
    }
    Ok(())
}

fn sync_folder(folder: &FilePath) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn io_error(path: &FilePath, e: io::Error) -> Error {
    let path = path.display().to_string();
    match e.kind() {
        io::ErrorKind::NotFound => Error::NotFound { path, source: e.into() },
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { path, source: e.into() },
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Error::PermissionDenied { path, source: e.into() }
        }
        _ => Error::Generic { store: "folder", source: e.into() },
    }
}
