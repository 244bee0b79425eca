//! What the decoders of sources, and what shows URLs, are fuzzed with. The fuzz targets and
//! `crates/connectors/tests/corpus.rs` run these same functions.
//!
//! More is asked than not to panic: the second pass over a file must keep what the first one promised.

use std::collections::BTreeMap;

use bytes::Bytes;
use lagar_connectors::{
    decode::{Inspected, Limits, ReadOptions, inspect, read},
    fuzzed,
};
use lagar_flow::{Body, Compression, CsvOptions, Format, FormatKind, Redactor, codes, redact_url};

/// The name of a corpus and what it is fed to.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const ALL: &[Target] = &[
    ("csv", csv),
    ("json", json),
    ("ndjson", ndjson),
    ("jsonpath", jsonpath),
    ("parquet", parquet),
    ("packed", packed),
    ("redact_json", redact_json),
    ("redact_url", redact_urls),
    ("link_header", link_header),
];

const UNPACKED_BYTES_MAX: u64 = 4 << 20;

pub fn csv(data: &[u8]) {
    both(data, FormatKind::Csv(CsvOptions::default()), Compression::None);
    let other = CsvOptions {
        delimiter: ';',
        decimal: ',',
        encoding: "latin1".into(),
        header: false,
        ..Default::default()
    };
    both(data, FormatKind::Csv(other), Compression::None);
}

pub fn json(data: &[u8]) {
    both(data, FormatKind::Json { rows: None }, Compression::None);
}

pub fn ndjson(data: &[u8]) {
    both(data, FormatKind::Ndjson, Compression::None);
}

/// The first line is the path, the rest the document.
pub fn jsonpath(data: &[u8]) {
    let end = data.iter().position(|b| *b == b'\n').unwrap_or(0);
    let path = String::from_utf8_lossy(&data[..end]).into_owned();
    both(&data[end..], FormatKind::Json { rows: Some(path) }, Compression::None);
}

pub fn parquet(data: &[u8]) {
    both(data, FormatKind::Parquet, Compression::None);
}

pub fn packed(data: &[u8]) {
    for compression in [Compression::Gzip, Compression::Zstd, Compression::Zip { members: None }] {
        both(data, FormatKind::Ndjson, compression);
    }
}

/// Without the keys that must not be stored there is no such key left, and what was no JSON is refused.
pub fn redact_json(data: &[u8]) {
    let keys = ["password".to_owned(), "p".to_owned()];
    let Ok(kept) = fuzzed::remove_keys(data, &keys) else { return };
    let again = fuzzed::remove_keys(&kept, &keys).expect("what is left is JSON");
    assert_eq!(again, kept, "a key was left behind");
    for value in serde_json::Deserializer::from_slice(kept.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&kept))
        .into_iter::<serde_json::Value>()
        .map_while(Result::ok)
    {
        assert!(!has_key(&value, &keys), "a key was left behind");
    }
}

fn has_key(value: &serde_json::Value, keys: &[String]) -> bool {
    match value {
        serde_json::Value::Object(map) => {
            map.iter().any(|(key, value)| keys.contains(key) || has_key(value, keys))
        }
        serde_json::Value::Array(list) => list.iter().any(|value| has_key(value, keys)),
        _ => false,
    }
}

/// A password or token that stands in a URL is not there any more when it is shown.
pub fn redact_urls(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let shown = redact_url(&text);
    assert_eq!(redact_url(&shown), shown, "what is shown can be shown again");
    let Ok(url) = url::Url::parse(&text) else { return };
    const SECRET: &str = "CanaryCanaryCanary";
    // Who searches knows the word by now, and puts it where it is no secret.
    if url.as_str().contains(SECRET) {
        return;
    }
    let mut url = url;
    if url.set_username("me").is_ok() && url.set_password(Some(SECRET)).is_ok() {
        assert!(!redact_url(url.as_str()).contains(SECRET), "{url}");
        let redactor = Redactor::default();
        redactor.add_url(url.as_str());
        assert!(!redactor.text(&format!("cannot connect: {SECRET}")).contains(SECRET), "{url}");
    }
    // Nobody sends a secret to what has no host.
    if !url.has_host() {
        return;
    }
    url.query_pairs_mut().append_pair("access_token", SECRET);
    assert!(!redact_url(url.as_str()).contains(SECRET), "{url}");
}

pub fn link_header(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(next) = fuzzed::next_link(&text) {
        assert!(text.contains(&next), "a link that was not there: {next}");
    }
}

/// Both passes over a file, at two sizes of batches.
fn both(data: &[u8], kind: FormatKind, compression: Compression) {
    let body = Body::Memory(Bytes::copy_from_slice(data));
    let format = Format { kind, compression, columns: BTreeMap::new(), misfits: Default::default() };
    let limits = Limits {
        max_bytes: UNPACKED_BYTES_MAX,
        batch_rows: 64,
        sample_bytes: None,
        new_columns: Default::default(),
    };
    let Ok(found) = inspect(&body, &format, None, &limits) else { return };
    // Few bytes of Parquet may be millions of rows.
    let sizes = if found.rows.is_some_and(|rows| rows > 100_000) { [8192, 1000] } else { [64, 3] };
    for batch_rows in sizes {
        keeps_its_promise(&body, &format, &found, batch_rows);
    }
    // A sample may end anywhere.
    let sample = Limits { sample_bytes: Some(data.len() as u64 / 2), ..limits };
    let _ = inspect(&body, &format, None, &sample);
}

fn keeps_its_promise(body: &Body, format: &Format, found: &Inspected, batch_rows: usize) {
    let options = ReadOptions { batch_rows, row_numbers: true, ..ReadOptions::default() };
    let (mut rows, mut rejects, mut last) = (0, 0, 0);
    for decoded in read(body, format, found.schema.clone(), options).expect("it was opened before") {
        let decoded = match decoded {
            Ok(decoded) => decoded,
            // The first pass over a Parquet file reads no page of it.
            Err(error) if format.kind == FormatKind::Parquet => {
                return assert_eq!(error.code(), codes::DECODE);
            }
            Err(error) => panic!("it was read before: {error}"),
        };
        rows += decoded.batch.num_rows() as u64;
        rejects += decoded.rejects.len();
        for number in decoded.rows.expect("numbers were asked for") {
            assert!(number > last, "row numbers grow");
            last = number;
        }
    }
    assert_eq!((found.rows, found.rejects.len()), (Some(rows), rejects), "rows and rejects of both passes");
}
