//! The little of HTTP/2 (RFC 9113) that misbehaving takes.

use std::io::{self, Read};

use super::Wire;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GO_AWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// The entry `:status: 200` of HPACK's static table.
const STATUS_200: u8 = 0x80 | 8;

/// One connection, seen from the server.
pub struct Http2<'a> {
    wire: &'a mut dyn Wire,
}

impl<'a> Http2<'a> {
    pub(super) fn begin(wire: &'a mut dyn Wire) -> io::Result<Self> {
        let mut preface = [0; PREFACE.len()];
        wire.read_exact(&mut preface)?;
        let mut connection = Self { wire };
        connection.send(SETTINGS, 0, 0, &[])?;
        Ok(connection)
    }

    /// Waits for the next request and says on which stream it came.
    pub fn request(&mut self) -> io::Result<u32> {
        loop {
            let mut head = [0; 9];
            self.wire.read_exact(&mut head)?;
            let [a, b, c, kind, _, stream @ ..] = head;
            let length = u64::from(u32::from_be_bytes([0, a, b, c]));
            io::copy(&mut Read::take(&mut *self.wire, length), &mut io::sink())?;
            if kind == HEADERS {
                return Ok(u32::from_be_bytes(stream));
            }
        }
    }

    /// A complete answer with status 200.
    pub fn answer(&mut self, stream: u32, body: &[u8]) -> io::Result<()> {
        self.begin_answer(stream)?;
        self.send(DATA, END_STREAM, stream, body)
    }

    /// An answer's headers, and no body yet.
    pub fn begin_answer(&mut self, stream: u32) -> io::Result<()> {
        self.send(HEADERS, END_HEADERS, stream, &[STATUS_200])
    }

    /// Says that no stream behind `last` is served any more.
    pub fn go_away(&mut self, last: u32) -> io::Result<()> {
        let no_error = 0u32;
        self.send(GO_AWAY, 0, 0, &[last.to_be_bytes(), no_error.to_be_bytes()].concat())
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?.to_be_bytes();
        self.wire.write_all(&length[1..])?;
        self.wire.write_all(&[kind, flags])?;
        self.wire.write_all(&stream.to_be_bytes())?;
        self.wire.write_all(payload)?;
        self.wire.flush()
    }
}
