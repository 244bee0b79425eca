//! The bytes of one raw file between the source and the lake.

use std::{
    fs::File,
    io::{self, Cursor, Read, Seek},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

pub trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

/// Where the bytes wait. Cloning never copies them.
#[derive(Debug, Clone)]
pub enum Body {
    Memory(Bytes),
    /// A spool file of ours; removed when the last clone is dropped.
    Temp(Arc<tempfile::TempPath>),
    /// A file of the user's; never changed, never removed.
    Local(PathBuf),
}

impl Body {
    pub fn path(&self) -> Option<&Path> {
        match self {
            Body::Memory(_) => None,
            Body::Temp(path) => Some(path),
            Body::Local(path) => Some(path),
        }
    }

    /// A new reader at the first byte.
    pub fn open(&self) -> io::Result<Box<dyn ReadSeek>> {
        Ok(match self {
            Body::Memory(bytes) => Box::new(Cursor::new(bytes.clone())),
            Body::Temp(path) => Box::new(File::open(path.as_ref() as &Path)?),
            Body::Local(path) => Box::new(File::open(path)?),
        })
    }

    /// Length in bytes.
    pub fn len(&self) -> io::Result<u64> {
        Ok(match self {
            Body::Memory(bytes) => bytes.len() as u64,
            Body::Temp(path) => std::fs::metadata(path.as_ref() as &Path)?.len(),
            Body::Local(path) => std::fs::metadata(path)?.len(),
        })
    }

    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}
