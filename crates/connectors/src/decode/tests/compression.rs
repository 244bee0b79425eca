//! Compressed files, archives and the limit on what comes out.

use super::*;

#[test]
fn every_compression_gives_the_same_rows() {
    let text = b"{\"a\":1}\n{\"a\":2}\n";
    let half = |part: &[u8]| gzip(part);
    let multi = [half(&text[..9]), half(&text[9..])].concat();
    for (compression, bytes) in [
        (Compression::None, text.to_vec()),
        (Compression::Gzip, gzip(text)),
        (Compression::Gzip, multi),
        (Compression::Zstd, zstd::encode_all(&text[..], 3).unwrap()),
        (Compression::Zip { members: None }, zipped(&[("x.ndjson", text)])),
    ] {
        let format = packed(compression.clone(), ndjson());
        assert_eq!(both(&bytes, &format).values("a"), ["1", "2"], "{compression:?}");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes).unwrap();
        let local = Body::Local(file.path().to_owned());
        assert_eq!(both_known(&local, &format, None).values("a"), ["1", "2"]);
        let temp = Body::Temp(Arc::new(file.into_temp_path()));
        assert_eq!(both_known(&temp, &format, None).values("a"), ["1", "2"]);
    }
}

#[test]
fn what_is_cut_off_or_damaged_is_an_error() {
    let text: String = (0..2000).map(|i| format!("{{\"a\":{i},\"b\":\"{}\"}}\n", i * 7919)).collect();
    for (what, compression, bytes) in [
        ("gzip", Compression::Gzip, gzip(text.as_bytes())),
        ("zstd", Compression::Zstd, zstd::encode_all(text.as_bytes(), 3).unwrap()),
    ] {
        let format = packed(compression, ndjson());
        for end in [bytes.len() / 2, bytes.len() - 1, 5, 0] {
            let error = inspect(&memory(&bytes[..end]), &format, None, &LIMITS).unwrap_err();
            assert_eq!(error.code(), codes::DECODE);
            assert!(
                error.message().contains(what) && error.message().contains("truncated"),
                "{what} {end}: {error:?}"
            );
        }
        let error = fails(&text, &format);
        assert!(error.message().contains(&format!("cannot be decompressed as {what}")), "{error:?}");
    }
    let format = packed(Compression::Zip { members: None }, ndjson());
    let good = zipped(&[("a.ndjson", text.as_bytes())]);
    assert!(fails(&good[..good.len() / 2], &format).message().contains("truncated"));
    assert!(fails("", &format).message().contains("truncated"));
    let mut bad = zipped(&[("dir/", b""), ("a.ndjson", text.as_bytes())]);
    let at = bad.windows(7).position(|w| w == b"{\"a\":77").unwrap();
    bad[at + 5] = b'8';
    let error = fails(&bad, &format);
    assert!(error.message().contains("member `a.ndjson`"), "{error:?}");
    assert!(error.causes()[0].contains("checksum"), "{error:?}");
}

#[test]
fn the_members_of_a_zip_are_chosen_by_their_names_only() {
    let bytes = zipped(&[
        ("folder/", b""),
        ("../../etc/passwd.csv", b"a\n1\n"),
        ("__MACOSX/._x.csv", b"\x00\x01"),
        ("b.csv", b"a,b\n2,x\n3,y\n"),
        ("readme.txt", b"hello"),
    ]);
    let chosen = packed(Compression::Zip { members: Some("*.csv".into()) }, csv_format());
    let chosen = Format { columns: Default::default(), ..chosen };
    let error = inspect(&memory(&bytes), &chosen, None, &LIMITS);
    // `*` also matches the macOS file when it is asked for.
    assert!(error.is_ok());
    let only = packed(Compression::Zip { members: Some("[!_]*.csv".into()) }, csv_format());
    let both = both(&bytes, &only);
    assert_eq!(both.values("a"), ["1", "2", "3"]);
    assert_eq!(both.values("b"), ["∅", "x", "y"]);
    assert_eq!(both.numbers, [1, 2, 3]);
    let none = packed(Compression::Zip { members: Some("*.json".into()) }, csv_format());
    let error = fails(&bytes, &none);
    assert!(error.hint_text().unwrap().contains("readme.txt"), "{error:?}");
}

#[test]
fn encrypted_members_are_refused() {
    let mut bytes = zipped(&[("a.csv", b"a\n1\n")]);
    // The flag of encryption, in the local and in the central header.
    let central = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    bytes[6] |= 1;
    bytes[central + 8] |= 1;
    let error = fails(&bytes, &packed(Compression::Zip { members: None }, csv_format()));
    assert!(error.message().contains("`a.csv`") && error.message().contains("encrypted"), "{error:?}");
}

#[test]
fn a_bomb_ends_at_the_limit() {
    let limits = Limits { max_bytes: 1 << 20, ..LIMITS };
    let lines = "{\"a\":1}\n".repeat(1 << 18);
    let gzip_bomb = gzip(&vec![b' '; 64 << 20]);
    assert!(gzip_bomb.len() < 1 << 20);
    let members: Vec<(&str, &[u8])> =
        vec![("1.ndjson", &lines.as_bytes()[..800_000]), ("2.ndjson", &lines.as_bytes()[..800_000])];
    for (compression, bytes) in [
        (Compression::None, lines.clone().into_bytes()),
        (Compression::Gzip, gzip_bomb),
        (Compression::Zstd, zstd::encode_all(lines.as_bytes(), 3).unwrap()),
        (Compression::Zip { members: None }, zipped(&members)),
    ] {
        let format = packed(compression, ndjson());
        let error = inspect(&memory(bytes), &format, None, &limits).unwrap_err();
        assert_eq!(error.code(), codes::TOO_LARGE);
    }
    let exact = Limits { max_bytes: lines.len() as u64, ..LIMITS };
    assert!(inspect(&memory(lines), &ndjson(), None, &exact).is_ok());
}
