//! Bytes on their way from a source: counted, hashed and limited while they are written, kept in
//! memory while they are few and in a temporary file when they are many.

mod landing;
mod position;

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use lagar_flow::{Body, Error, codes};
use sha2::{Digest, Sha256};

pub(crate) use landing::blocking;
pub use landing::{Landing, land};
pub(crate) use position::{position, to_position};

/// Up to here a body stays in memory.
pub(crate) const MEMORY_BYTES_MAX: usize = 8 << 20;
const READ_BYTES: usize = 256 << 10;

/// A finished spool.
#[derive(Debug)]
pub(crate) struct Spooled {
    pub body: Body,
    /// Hex.
    pub sha256: String,
    pub bytes: u64,
}

/// Takes bytes through [`Write`]; [`Spool::finish`] hands them over.
pub(crate) struct Spool {
    dir: PathBuf,
    memory_max: usize,
    bytes_max: u64,
    memory: Vec<u8>,
    file: Option<tempfile::NamedTempFile>,
    hash: Sha256,
    bytes: u64,
}

/// What a write beyond the limit fails with, inside an [`io::Error`].
#[derive(Debug)]
struct TooLarge {
    bytes_max: u64,
}

impl std::fmt::Display for TooLarge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "larger than {} bytes", self.bytes_max)
    }
}

impl std::error::Error for TooLarge {}

impl Spool {
    /// Keeps at most `memory_max` bytes in memory and takes at most `bytes_max`.
    pub fn new(dir: &Path, memory_max: usize, bytes_max: u64) -> Self {
        Self {
            dir: dir.to_owned(),
            memory_max,
            bytes_max,
            memory: Vec::new(),
            file: None,
            hash: Sha256::new(),
            bytes: 0,
        }
    }

    pub fn finish(self) -> Spooled {
        let body = match self.file {
            Some(file) => Body::Temp(Arc::new(file.into_temp_path())),
            None => Body::Memory(self.memory.into()),
        };
        Spooled { body, sha256: hex(&self.hash.finalize()), bytes: self.bytes }
    }

    /// The temporary file; made when memory no longer suffices.
    fn overflow(&mut self) -> io::Result<&mut tempfile::NamedTempFile> {
        if self.file.is_none() {
            std::fs::create_dir_all(&self.dir)?;
            let mut file = tempfile::Builder::new().prefix("spool-").tempfile_in(&self.dir)?;
            file.write_all(&std::mem::take(&mut self.memory))?;
            return Ok(self.file.insert(file));
        }
        self.file.as_mut().ok_or_else(|| io::Error::other("no spool file"))
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let total = self.bytes + bytes.len() as u64;
        if total > self.bytes_max {
            return Err(io::Error::other(TooLarge { bytes_max: self.bytes_max }));
        }
        if self.file.is_none() && self.memory.len() + bytes.len() <= self.memory_max {
            self.memory.extend_from_slice(bytes);
        } else {
            self.overflow()?.write_all(bytes)?;
        }
        self.hash.update(bytes);
        self.bytes = total;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The error for a write into a [`Spool`] that failed; `what` was being written.
pub(crate) fn write_error(what: &str, error: &io::Error) -> Error {
    if let Some(TooLarge { bytes_max }) = error.get_ref().and_then(|e| e.downcast_ref()) {
        return too_large(what, *bytes_max);
    }
    let code = if error.kind() == io::ErrorKind::StorageFull { codes::LAKE_SPACE } else { codes::SOURCE_IO };
    Error::new(code, format!("{what} cannot be spooled")).caused_by(error)
}

/// Whether `error` says that the limit of a [`Spool`] was reached.
pub(crate) fn is_too_large(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|e| e.is::<TooLarge>())
}

pub(crate) fn too_large(what: &str, bytes_max: u64) -> Error {
    Error::new(codes::TOO_LARGE, format!("{what} is larger than {}", size_text(bytes_max)))
        .hint("raise `max_bytes` of the source if that much is expected")
}

/// `1 GiB`, `1.5 MiB`, `12 bytes`.
fn size_text(bytes: u64) -> String {
    const UNITS: &[(&str, u64)] = &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) if bytes.is_multiple_of(*unit) => format!("{} {name}", bytes / unit),
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} bytes"),
    }
}

/// Hash in hex and length of a file.
pub(crate) fn hash_file(path: &Path) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut bytes = 0;
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => return Ok((hex(&hash.finalize()), bytes)),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        hash.update(&buffer[..n]);
        bytes += n as u64;
    }
}

/// Hash in hex of `bytes`.
pub(crate) fn hash_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(body: &Body) -> Vec<u8> {
        let mut bytes = Vec::new();
        body.open().unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn few_bytes_stay_in_memory_and_many_go_to_a_file_that_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        for (length, in_memory) in [(0, true), (10, true), (11, false), (1000, false)] {
            let bytes: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let mut spool = Spool::new(dir.path(), 10, 1000);
            for piece in bytes.chunks(7) {
                spool.write_all(piece).unwrap();
            }
            let spooled = spool.finish();
            assert_eq!(matches!(spooled.body, Body::Memory(_)), in_memory, "{length}");
            assert_eq!((read(&spooled.body), spooled.bytes), (bytes.clone(), length as u64));
            assert_eq!(spooled.sha256, hash_bytes(&bytes));
            drop(spooled);
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn one_byte_too_many_is_an_error_that_names_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(dir.path(), 4, 2048);
        spool.write_all(&[0; 2048]).unwrap();
        let error = spool.write_all(&[0]).unwrap_err();
        assert!(is_too_large(&error));
        let error = write_error("an answer", &error);
        assert_eq!(error.code(), codes::TOO_LARGE);
        assert_eq!(error.message(), "an answer is larger than 2 KiB");
    }

    #[test]
    fn a_file_hashes_like_its_bytes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![7; READ_BYTES + 1]).unwrap();
        let (sha256, bytes) = hash_file(file.path()).unwrap();
        assert_eq!((sha256, bytes), (hash_bytes(&vec![7; READ_BYTES + 1]), READ_BYTES as u64 + 1));
        assert_eq!(hash_bytes(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
