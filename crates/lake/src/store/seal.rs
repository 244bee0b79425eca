//! A checksum inside a JSON object that was written once: a bit that turned over later is an error, not
//! another number.
//!
//! The object has a member `lagar_seal` of sixteen hex digits, a hash of all its bytes with zeros in that
//! place. Objects of other programs and of older versions have none, and are taken as they are.
//!
//! A checkpoint of a Delta log is a Parquet file. Its seal stands between its data and its footer, where no
//! reader of Parquet looks: the footer says where the data are, and the last bytes how long the footer is.

use std::io;

use bytes::Bytes;
use lagar_flow::{Error, codes};
use memchr::memmem;
use object_store::path::Path;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// The name of the member.
pub(crate) const SEAL: &str = "lagar_seal";
/// What stands before the digits in a checkpoint.
const BEFORE_SEAL: &[u8] = b"lagar_seal:";
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
        fill_in(json, place);
    }
}

fn fill_in(object: &mut [u8], place: usize) {
    let hash = hash(object, place);
    object[place..place + UNSEALED.len()].copy_from_slice(hash.as_bytes());
}

/// A checkpoint with its seal. What is not Parquet stays as it is.
pub(crate) fn seal_checkpoint(parquet: Bytes) -> Bytes {
    let Some(footer) = footer_of(&parquet) else { return parquet };
    let (data, footer) = parquet.split_at(footer);
    let mut sealed = [data, BEFORE_SEAL, UNSEALED.as_bytes(), footer].concat();
    fill_in(&mut sealed, data.len() + BEFORE_SEAL.len());
    sealed.into()
}

/// Fails if the checkpoint has a seal that is not its own.
pub(crate) fn check_checkpoint(path: &Path, parquet: Bytes) -> object_store::Result<Bytes> {
    let place = footer_of(&parquet).and_then(|footer| footer.checked_sub(UNSEALED.len()));
    match place.filter(|place| parquet[..*place].ends_with(BEFORE_SEAL)) {
        Some(place) if !is_own(&parquet, place) => Err(damaged(path)),
        _ => Ok(parquet),
    }
}

/// Where the footer begins.
fn footer_of(parquet: &[u8]) -> Option<usize> {
    let rest = parquet.strip_suffix(b"PAR1")?;
    let (rest, length) = rest.split_last_chunk::<4>()?;
    rest.len().checked_sub(u32::from_le_bytes(*length) as usize)
}

/// Fails if `bytes` has a seal that is not its own, or if nothing is left of a record.
pub(crate) fn check(path: &Path, bytes: Bytes) -> object_store::Result<Bytes> {
    if bytes.is_empty() {
        return Err(damaged(path));
    }
    match place_of(&bytes) {
        Some(place) if !is_own(&bytes, place) => Err(damaged(path)),
        _ => Ok(bytes),
    }
}

fn is_own(object: &[u8], place: usize) -> bool {
    hash(object, place).as_bytes() == &object[place..place + UNSEALED.len()]
}

/// `record`, an object, as JSON with its seal.
pub(crate) fn sealed<T: Serialize>(record: &T) -> Result<Vec<u8>, serde_json::Error> {
    #[derive(Serialize)]
    struct Sealed<'a, T> {
        #[serde(flatten)]
        record: &'a T,
        /// [`SEAL`].
        lagar_seal: &'static str,
    }
    let record = Sealed { record, lagar_seal: UNSEALED };
    // A load of very many files is a long record: it is counted first, so that its bytes are never moved.
    let mut size = Size(0);
    serde_json::to_writer_pretty(&mut size, &record)?;
    let mut bytes = Vec::with_capacity(size.0);
    serde_json::to_writer_pretty(&mut bytes, &record)?;
    seal(&mut bytes);
    Ok(bytes)
}

/// Counts the bytes that are written to it.
struct Size(usize);

impl io::Write for Size {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether objects of this name are records or notes: JSON, written as a whole.
pub(crate) fn is_record(path: &Path) -> bool {
    let folder = path.parts().rev().nth(1);
    let of_records = |folder: &str| matches!(folder, "_delta_log" | "_loads" | "_quarantine" | "releases");
    path.as_ref().ends_with(".json")
        && (path.as_ref().ends_with("/_refused.json")
            || folder.is_some_and(|folder| of_records(folder.as_ref()))
            || path.parts().rev().nth(2).is_some_and(|folder| folder.as_ref() == "_predictors"))
}

/// Whether objects of this name are checkpoints of a Delta log.
pub(crate) fn is_checkpoint(path: &Path) -> bool {
    let mut parts = path.parts().rev();
    let named = |name: &str| name.contains(".checkpoint.") && name.ends_with(".parquet");
    parts.next().is_some_and(|name| named(name.as_ref()))
        && parts.next().is_some_and(|folder| folder.as_ref() == "_delta_log")
}

/// Where the digits of the seal begin.
fn place_of(json: &[u8]) -> Option<usize> {
    let name = format!("\"{SEAL}\":");
    let after = memmem::find(json, name.as_bytes())? + name.len();
    let quote = after + json[after..].iter().take(2).position(|byte| *byte == b'"')?;
    (quote + 1 + UNSEALED.len() <= json.len()).then_some(quote + 1)
}

/// The hash of `object` with zeros in the place of the seal.
fn hash(object: &[u8], place: usize) -> String {
    let (before, after) = (&object[..place], &object[place + UNSEALED.len()..]);
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
            ("raw/s/_quarantine/refused.json", true),
            ("trusted/t/_refused.json", true),
            ("refined/_predictors/p/00000000000000000001.json", true),
            ("raw/s/_quarantine/x.ndjson", false),
            ("trusted/t/_delta_log/00000000000000000100.checkpoint.parquet", false),
        ] {
            assert_eq!(is_record(&Path::from(path)), record, "{path}");
            assert_eq!(is_checkpoint(&Path::from(path)), path.contains("checkpoint"), "{path}");
        }
    }
}
