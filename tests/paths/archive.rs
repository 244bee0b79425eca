//! Zip archives as no well-meaning program makes them.

use std::io::Write;

use flate2::{Compression, Crc, write::DeflateEncoder};

/// A member, with whatever name and kind.
pub struct Member<'a> {
    pub name: &'a [u8],
    pub bytes: &'a [u8],
    /// The mode of a Unix file in the high half: `0o120777 << 16` is a symbolic link.
    pub attributes: u32,
}

impl<'a> Member<'a> {
    pub fn file(name: &'a [u8], bytes: &'a [u8]) -> Self {
        Self { name, bytes, attributes: 0o100_644 << 16 }
    }

    pub fn link(name: &'a [u8], target: &'a [u8]) -> Self {
        Self { name, bytes: target, attributes: 0o120_777 << 16 }
    }
}

/// An archive of `members`, deflated; in the 64-bit form when there are too many for the other one.
pub fn zip(members: &[Member]) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut directory = Vec::new();
    for member in members {
        let mut crc = Crc::new();
        crc.update(member.bytes);
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::fast());
        deflated.write_all(member.bytes).unwrap();
        let deflated = deflated.finish().unwrap();
        let offset = u32::try_from(archive.len()).unwrap();
        // Version 2.0, names in UTF-8 or so it says, deflate, a time, the checksum, both lengths, the name's.
        let mut common = Vec::new();
        for number in [20u16, 0x0800, 8, 0, 0x21] {
            common.extend(number.to_le_bytes());
        }
        for number in [crc.sum(), deflated.len() as u32, member.bytes.len() as u32] {
            common.extend(number.to_le_bytes());
        }
        common.extend((member.name.len() as u16).to_le_bytes());
        archive.extend([b"PK\x03\x04", &common[..], &[0, 0], member.name, &deflated].concat());
        directory.extend([b"PK\x01\x02", &[20, 3][..], &common, &[0; 8]].concat());
        directory.extend(member.attributes.to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(member.name);
    }
    let (start, length, count) = (archive.len() as u64, directory.len() as u64, members.len() as u64);
    archive.extend(&directory);
    if count >= 0xffff {
        let end = archive.len() as u64;
        archive.extend(b"PK\x06\x06");
        archive.extend(44u64.to_le_bytes());
        archive.extend([45, 3, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for number in [count, count, length, start] {
            archive.extend(number.to_le_bytes());
        }
        archive.extend([b"PK\x06\x07", &[0; 4][..], &end.to_le_bytes(), &1u32.to_le_bytes()].concat());
    }
    let short = u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes();
    archive.extend([b"PK\x05\x06", &[0; 4][..], &short, &short].concat());
    archive.extend((length as u32).to_le_bytes());
    archive.extend((start as u32).to_le_bytes());
    archive.extend([0, 0]);
    archive
}
