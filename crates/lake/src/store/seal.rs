//! A checksum inside a JSON object that was written once: a bit that turned over later is an error, not
//! another number.
//!
//! The object has a member `lagar_seal` of sixteen hex digits, a hash of all its bytes with zeros in that
//! place. Objects of other programs and of older versions have none, and are taken as they are.

use bytes::Bytes;
use lagar_flow::{Error, codes};
use object_store::path::Path;
use sha2::{Digest, Sha256};

/// The name of the member.
pub(crate) const SEAL: &str = "lagar_seal";
/// What stands there until [`seal`] is called.
pub(crate) const UNSEALED: &str = "0000000000000000";

/// Words by which the error is known when a library hands on nothing but its text.
pub(crate) const DAMAGED: &str = "does not hold what was written";

/// An object is not what was written. Our error travels through the libraries inside a store's.
pub(crate) fn damaged(path: &Path) -> object_store::Error {
    let error = Error::new(codes::LAKE_CORRUPT, format!("{path} {DAMAGED}"))
        .hint("bring it back from a backup or from the bucket's old versions");
    object_store::Error::Generic { store: "lake", source: Box::new(error) }
}

/// Fills the seal in, where there is one to fill in.
pub(crate) fn seal(json: &mut [u8]) {
    if let Some(place) = place_of(json) {
        let hash = hash(json, place);
        json[place..place + UNSEALED.len()].copy_from_slice(hash.as_bytes());
    }
}

/// Fails if `bytes` has a seal that is not its own, or if nothing is left of a record.
pub(crate) fn check(path: &Path, bytes: Bytes) -> object_store::Result<Bytes> {
    if bytes.is_empty() {
        return Err(damaged(path));
    }
    let Some(place) = place_of(&bytes) else { return Ok(bytes) };
    match hash(&bytes, place).as_bytes() == &bytes[place..place + UNSEALED.len()] {
        true => Ok(bytes),
        false => Err(damaged(path)),
    }
}

/// Whether objects of this name are records: written once, as JSON.
pub(crate) fn is_record(path: &Path) -> bool {
    let folder = path.parts().rev().nth(1);
    let is_log = |folder: &str| matches!(folder, "_delta_log" | "_loads" | "releases");
    path.as_ref().ends_with(".json") && folder.is_some_and(|folder| is_log(folder.as_ref()))
}

/// Where the digits of the seal begin.
fn place_of(json: &[u8]) -> Option<usize> {
    let name = format!("\"{SEAL}\":");
    let after = json.windows(name.len()).position(|window| window == name.as_bytes())? + name.len();
    let quote = after + json[after..].iter().take(2).position(|byte| *byte == b'"')?;
    (quote + 1 + UNSEALED.len() <= json.len()).then_some(quote + 1)
}

/// The hash of `json` with zeros in the place of the seal.
fn hash(json: &[u8], place: usize) -> String {
    let (before, after) = (&json[..place], &json[place + UNSEALED.len()..]);
    let hash = Sha256::new().chain_update(before).chain_update(UNSEALED).chain_update(after).finalize();
    hash.iter().take(UNSEALED.len() / 2).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_counts() {
        let path = Path::from("releases/1.json");
        let mut sealed = format!("{{\n  \"number\": 7,\n  \"{SEAL}\": \"{UNSEALED}\"\n}}").into_bytes();
        seal(&mut sealed);
        assert!(!String::from_utf8(sealed.clone()).unwrap().contains(UNSEALED));
        check(&path, sealed.clone().into()).unwrap();
        let mut unnoticed = 0;
        for bit in 0..sealed.len() * 8 {
            let mut wrong = sealed.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            unnoticed += usize::from(check(&path, wrong.into()).is_ok());
        }
        // In the name of the member itself, and in the quotation marks and blanks around it.
        assert!(unnoticed <= (SEAL.len() + 5) * 8, "{unnoticed} of {} bits", sealed.len() * 8);
        check(&path, Bytes::from_static(b"{\"number\": 7}")).unwrap();
        // The Delta library takes it for a version in which nothing happened.
        check(&path, Bytes::new()).unwrap_err();
    }

    #[test]
    fn records_are_told_by_their_folder() {
        for (path, record) in [
            ("releases/00000000000000000001.json", true),
            ("trusted/t/_delta_log/00000000000000000001.json", true),
            ("raw/s/_loads/00000000000000000001.json", true),
            ("raw/s/load_date=2026-11-21/x-1.json", false),
            ("trusted/t/_delta_log/00000000000000000100.checkpoint.parquet", false),
        ] {
            assert_eq!(is_record(&Path::from(path)), record, "{path}");
        }
    }
}
