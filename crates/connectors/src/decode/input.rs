//! From the stored bytes to the plain bytes of each file in them: decompression, the members of
//! archives, and the limit on what comes out.

use std::{
    io::{self, BufReader, Cursor, Read, Seek, SeekFrom},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::{Crc, read::DeflateDecoder, read::MultiGzDecoder};
use lagar_flow::{Body, Compression, Error, Result, codes};
use zip::{CompressionMethod, ZipArchive};

/// How much compressed data is read at once.
const READ_BYTES: usize = 256 * 1024;

pub(super) type Reader = Box<dyn Read + Send>;

/// One file of rows: the body itself, or a member of an archive.
pub(super) struct Member {
    /// Set for members of archives; only ever shown, never used as a path.
    pub name: Option<String>,
    pub reader: Reader,
}

/// The files of rows in a body, one after the other.
pub(super) struct Members {
    body: Body,
    entries: std::vec::IntoIter<Entry>,
    /// Decompressed bytes that may still come out of all of them together.
    left: Arc<AtomicU64>,
    max_bytes: u64,
}

enum Entry {
    /// The body from this byte on.
    Plain {
        start: u64,
    },
    Gzip,
    Zstd,
    Zip(ZipEntry),
}

struct ZipEntry {
    name: String,
    start: u64,
    compressed_bytes: u64,
    bytes: u64,
    crc: u32,
    deflated: bool,
}

impl Members {
    /// `max_bytes` counts decompressed bytes; what is over ends with `TOO_LARGE`. `start` is only for
    /// bodies that are not compressed.
    pub fn open(body: &Body, compression: &Compression, max_bytes: u64, start: u64) -> Result<Self> {
        let entries = match compression {
            Compression::None => vec![Entry::Plain { start }],
            Compression::Gzip => vec![Entry::Gzip],
            Compression::Zstd => vec![Entry::Zstd],
            Compression::Zip { members } => {
                zip_entries(body, members.as_deref())?.into_iter().map(Entry::Zip).collect()
            }
        };
        Ok(Self {
            body: body.clone(),
            entries: entries.into_iter(),
            left: Arc::new(AtomicU64::new(max_bytes)),
            max_bytes,
        })
    }

    /// The next file, from its first byte.
    pub fn advance(&mut self) -> Result<Option<Member>> {
        let Some(entry) = self.entries.next() else { return Ok(None) };
        let mut file = Stored(self.body.open().map_err(|e| read_error(stored_error(e)))?);
        let (what, name, reader): (_, _, Reader) = match entry {
            Entry::Plain { start } => {
                file.seek(SeekFrom::Start(start)).map_err(read_error)?;
                ("", None, Box::new(file))
            }
            Entry::Gzip => ("gzip", None, Box::new(MultiGzDecoder::new(buffered(file)))),
            Entry::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(buffered(file));
                ("zstd", None, Box::new(decoder.map_err(|e| broken("zstd", &e))?))
            }
            Entry::Zip(entry) => {
                file.seek(SeekFrom::Start(entry.start)).map_err(read_error)?;
                let name = entry.name.clone();
                ("zip", Some(name), Box::new(ZipMember::new(file, entry)))
            }
        };
        let reader =
            Box::new(Guard { inner: reader, what, left: self.left.clone(), max_bytes: self.max_bytes });
        Ok(Some(Member { name, reader }))
    }
}

fn buffered(file: Stored) -> BufReader<Stored> {
    BufReader::with_capacity(READ_BYTES, file)
}

/// The error inside `error`; everything that a [`Member`] reads with has put one there.
pub(super) fn read_error(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::new(codes::SOURCE_IO, "a file cannot be read").caused_by(&error),
    }
}

fn stored_error(error: io::Error) -> io::Error {
    io::Error::other(Error::new(codes::SOURCE_IO, "a file cannot be read").caused_by(&error))
}

/// The body's own bytes; its errors are marked, so that they are not taken for damaged data.
struct Stored(Box<dyn lagar_flow::ReadSeek>);

impl Read for Stored {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(stored_error)
    }
}

impl Seek for Stored {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to).map_err(stored_error)
    }
}

/// Counts what comes out and says what is wrong when nothing more can.
struct Guard {
    inner: Reader,
    what: &'static str,
    left: Arc<AtomicU64>,
    max_bytes: u64,
}

impl Read for Guard {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self.inner.read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Err(e),
            Err(e) if e.get_ref().is_some_and(|inner| inner.is::<Error>()) => return Err(e),
            Err(e) => return Err(io::Error::other(broken(self.what, &e))),
            Ok(read) => read as u64,
        };
        let left = self.left.load(Ordering::Relaxed);
        if read > left {
            let message =
                format!("the file has more than {} bytes of data, which is the limit", self.max_bytes);
            return Err(io::Error::other(
                Error::new(codes::TOO_LARGE, message)
                    .hint("if it is meant to be so large, raise `max_bytes`"),
            ));
        }
        self.left.store(left - read, Ordering::Relaxed);
        Ok(read as usize)
    }
}

fn broken(what: &str, error: &io::Error) -> Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Error::new(
            codes::DECODE,
            format!("the {what} data is truncated: the file ends before its data does"),
        )
        .hint("was it downloaded or copied completely?");
    }
    Error::new(codes::DECODE, format!("the file cannot be decompressed as {what}"))
        .hint("it is damaged, or compressed in another way")
        .caused_by(error)
}

/// A member of a zip archive, checked against its length and checksum.
struct ZipMember {
    inner: Reader,
    crc: Crc,
    expected: ZipEntry,
}

impl ZipMember {
    fn new(file: Stored, expected: ZipEntry) -> Self {
        let data = buffered(file).take(expected.compressed_bytes);
        let inner: Reader =
            if expected.deflated { Box::new(DeflateDecoder::new(data)) } else { Box::new(data) };
        Self { inner, crc: Crc::new(), expected }
    }

    fn check(&self) -> io::Result<()> {
        // The checksum counts bytes modulo 2^32.
        if self.crc.amount() != self.expected.bytes as u32 || self.crc.sum() != self.expected.crc {
            let message = format!("the checksum of `{}` does not match", self.expected.name);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(())
    }
}

impl Read for ZipMember {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if read == 0 && !buffer.is_empty() {
            self.check()?;
        }
        self.crc.update(&buffer[..read]);
        Ok(read)
    }
}

fn zip_entries(body: &Body, glob: Option<&str>) -> Result<Vec<ZipEntry>> {
    let pattern = glob.map(glob::Pattern::new).transpose().map_err(|e| {
        Error::new(codes::CONFIG, format!("`{}` is not a pattern of member names", glob.unwrap_or_default()))
            .caused_by(&e)
    })?;
    let damaged = |e: &(dyn std::error::Error + 'static)| {
        Error::new(codes::DECODE, "the file is not a zip archive, or it is truncated")
            .hint("was it downloaded or copied completely?")
            .caused_by(e)
    };
    let file = buffered(Stored(body.open().map_err(|e| read_error(stored_error(e)))?));
    let mut archive = ZipArchive::new(file).map_err(|e| damaged(&e))?;
    let (mut entries, mut others) = (Vec::new(), Vec::new());
    for index in 0..archive.len() {
        let member = archive.by_index_raw(index).map_err(|e| damaged(&e))?;
        let name = String::from_utf8_lossy(member.name_raw()).into_owned();
        let wanted = match &pattern {
            Some(pattern) => pattern.matches(&name),
            // Metadata that macOS adds to archives.
            None => !name.starts_with("__MACOSX/") && !name.ends_with(".DS_Store"),
        };
        if member.is_dir() || !wanted {
            others.push(name);
            continue;
        }
        if member.encrypted() {
            return Err(Error::new(
                codes::DECODE,
                format!("the member `{name}` of the zip archive is encrypted"),
            )
            .hint("decrypt it before Lagar reads it"));
        }
        let deflated = match member.compression() {
            CompressionMethod::Stored => false,
            CompressionMethod::Deflated => true,
            other => {
                let message = format!("the member `{name}` of the zip archive is compressed as {other}");
                return Err(
                    Error::new(codes::DECODE, message).hint("only stored and deflated members can be read")
                );
            }
        };
        let start =
            member.data_start().ok_or_else(|| damaged(&io::Error::from(io::ErrorKind::InvalidData)))?;
        entries.push(ZipEntry {
            start,
            compressed_bytes: member.compressed_size(),
            bytes: member.size(),
            crc: member.crc32(),
            deflated,
            name,
        });
    }
    if entries.is_empty() {
        let what = match glob {
            Some(glob) => format!("no member of the zip archive matches `{glob}`"),
            None => "the zip archive has no files".to_owned(),
        };
        others.truncate(10);
        let hint = if others.is_empty() {
            "it is empty".to_owned()
        } else {
            format!("it has {}", others.join(", "))
        };
        return Err(Error::new(codes::DECODE, what).hint(hint));
    }
    Ok(entries)
}

/// All of `reader` and what came before it.
pub(super) fn chain(start: Vec<u8>, reader: Reader) -> Reader {
    Box::new(Cursor::new(start).chain(reader))
}
