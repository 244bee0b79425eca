//! A sliding view of a stream: as much of it as one row needs, and never more than a row may have.

use lagar_flow::{Error, Result, codes};

use super::input::{Reader, read_error};

/// A row longer than this ends the file: it is nearly always a missing line end or a stray quote.
pub(super) const ROW_BYTES_MAX: usize = 64 << 20;

const START_BYTES: usize = 1 << 20;

/// Less free room than this is not worth a read.
const READ_BYTES_MIN: usize = 4096;

pub(super) struct Window {
    reader: Reader,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    at_end: bool,
    offset: u64,
}

impl Window {
    /// `offset` is where in the file `reader` stands.
    pub fn new(reader: Reader, offset: u64) -> Self {
        Self { reader, buffer: vec![0; START_BYTES], start: 0, end: 0, at_end: false, offset }
    }

    /// What was read and not consumed.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Place of `bytes()[0]` in the file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    pub fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Reads more behind `bytes()`; `false` at the end of the stream.
    pub fn fill(&mut self) -> Result<bool> {
        if self.at_end {
            return Ok(false);
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() - self.end < READ_BYTES_MIN {
            if self.buffer.len() >= ROW_BYTES_MAX {
                return Err(Error::new(codes::DECODE, format!("a row is longer than {} MiB", ROW_BYTES_MAX >> 20))
                    .hint("is the format right? a missing line end or a quote that is never closed makes one long row"));
            }
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let read = loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                read => break read.map_err(read_error)?,
            }
        };
        self.end += read;
        self.at_end = read == 0;
        Ok(read > 0)
    }

    /// The first byte that is not white space, after consuming what is before it; `None` at the end.
    pub fn peek(&mut self) -> Result<Option<u8>> {
        loop {
            let blank = self.bytes().iter().take_while(|b| b.is_ascii_whitespace()).count();
            self.consume(blank);
            if let Some(byte) = self.bytes().first() {
                return Ok(Some(*byte));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Reads until there is twice as much, or the stream ends; `false` if there was nothing more.
    pub fn fill_double(&mut self) -> Result<bool> {
        let wanted = self.bytes().len() * 2;
        let more = self.fill()?;
        while more && self.bytes().len() < wanted && self.fill()? {}
        Ok(more)
    }

    /// Reads enough to tell what kind of text this is.
    pub fn peek_text(&mut self) -> Result<()> {
        while self.bytes().len() < 400 && self.fill()? {}
        Ok(())
    }

    /// Consumes a UTF-8 byte order mark.
    pub fn skip_bom(&mut self) -> Result<()> {
        while self.bytes().len() < 3 && self.fill()? {}
        if self.bytes().starts_with(b"\xEF\xBB\xBF") {
            self.consume(3);
        }
        Ok(())
    }

    /// An error if this is a web page where data should be.
    pub fn refuse_html(&self, wanted: &str) -> Result<()> {
        let bytes = self.bytes().trim_ascii_start();
        let head: Vec<u8> = bytes.iter().take(15).map(u8::to_ascii_lowercase).collect();
        if !(head.starts_with(b"<!doctype html")
            || head.starts_with(b"<html")
            || (wanted != "CSV" && head.starts_with(b"<")))
        {
            return Ok(());
        }
        Err(Error::new(
            codes::DECODE,
            format!("this is not {wanted} but looks like a web page: {}", preview(bytes)),
        )
        .hint("open the address in a browser: it may be a login page or an error message"))
    }
}

/// The first 80 characters of `bytes` on one line.
pub(super) fn preview(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(400)]);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(80).collect()
}
