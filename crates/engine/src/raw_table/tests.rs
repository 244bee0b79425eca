#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use lagar_flow::CsvOptions;
use proptest::prelude::*;

use super::*;
use crate::testing::{self, Place, raw_schema, rows};

fn csv() -> FormatKind {
    FormatKind::Csv(CsvOptions::default())
}

#[tokio::test]
async fn all_loads_are_one_table_whose_columns_grow() {
    let place = Place::new().await;
    place.load("s", "id,name\n1,a\n2,b\n", csv()).await;
    place.load("s", "{\"id\": 3, \"price\": 1.5}\n", FormatKind::Ndjson).await;
    let session = place.engine.session();
    place.add_raw(&session, "s").await;
    let all = rows(&session, "SELECT id, name, price, _load, _row FROM raw.s ORDER BY id").await;
    assert_eq!(all, ["1|a|NULL|1|1", "2|b|NULL|1|2", "3|NULL|1.5|2|1"]);
    assert_eq!(rows(&session, "SELECT count(*) FROM raw.s").await, ["3"]);
    assert_eq!(rows(&session, "SELECT count(*) FROM raw.s WHERE id > 1").await, ["2"]);
    assert_eq!(rows(&session, "SELECT DISTINCT _load FROM raw.s ORDER BY 1").await, ["1", "2"]);
    assert_eq!(rows(&session, "SELECT price FROM raw.s ORDER BY id DESC LIMIT 1").await, ["1.5"]);
    assert_eq!(rows(&session, "SELECT 1 FROM raw.s").await.len(), 3);
    assert_eq!(rows(&session, "SELECT id FROM raw.s LIMIT 2").await.len(), 2);
    assert_eq!(rows(&session, "SELECT id FROM raw.s LIMIT 0").await.len(), 0);
    assert_eq!(rows(&session, "SELECT count(*) FROM (SELECT * FROM raw.s LIMIT 2)").await, ["2"]);
    let places = rows(&session, "SELECT DISTINCT _source_file, _loaded_at FROM raw.s").await;
    assert_eq!(places.len(), 2);
    assert!(places.iter().all(|place| place.starts_with("load_date=")), "{places:?}");
    let query = session.query("SELECT id, name FROM raw.s").await.unwrap();
    let stats = query.stats.clone();
    query.collect().await.unwrap();
    assert_eq!(stats.now().rows_scanned, 3);
}

#[tokio::test]
async fn a_source_without_loads_is_an_empty_table() {
    let place = Place::new().await;
    let session = place.engine.session();
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
    session.add_raw(&"s".parse().unwrap(), &place.lake, vec![], schema, place.raw_options()).unwrap();
    assert_eq!(rows(&session, "SELECT * FROM raw.s").await.len(), 0);
    assert_eq!(rows(&session, "SELECT count(*), sum(id) FROM raw.s").await, ["0|NULL"]);
}

#[tokio::test]
async fn rejected_rows_are_in_quarantine_and_nowhere_else() {
    let place = Place::new().await;
    let manifest = place.load("s", "{\"a\": 1}\nnot json\n{\"a\": 3}\n", FormatKind::Ndjson).await;
    assert_eq!(manifest.rejected, 1);
    let session = place.engine.session();
    place.add_raw(&session, "s").await;
    session.add_quarantine(&"s".parse().unwrap(), &place.lake, vec![manifest]).unwrap();
    assert_eq!(rows(&session, "SELECT a, _row FROM raw.s ORDER BY _row").await, ["1|1", "3|3"]);
    assert_eq!(rows(&session, "SELECT a FROM raw.s ORDER BY a").await, ["1", "3"]);
    let bad = rows(&session, "SELECT _load, _row, _value FROM quarantine.s").await;
    assert_eq!(bad, ["1|2|not json"]);
    let joined = "SELECT count(*) FROM quarantine.s q JOIN raw.s r ON q._source_file = r._source_file AND q._load = r._load";
    assert_eq!(rows(&session, joined).await, ["2"]);
    assert!(!rows(&session, "SELECT _reason FROM quarantine.s").await[0].is_empty());
}

#[tokio::test]
async fn a_column_of_the_source_cannot_take_the_place_of_ours() {
    let place = Place::new().await;
    place.load("s", "{\"_row\": \"x\", \"a\": 1}\n", FormatKind::Ndjson).await;
    let session = place.engine.session();
    place.add_raw(&session, "s").await;
    assert_eq!(rows(&session, "SELECT a, _row FROM raw.s").await, ["1|1"]);
}

#[tokio::test]
async fn a_file_in_place_must_be_what_was_seen() {
    let place = Place::new().await;
    let path = place.dir.path().join("big.ndjson");
    std::fs::write(&path, "{\"a\": 1}\n{\"a\": 2}\n").unwrap();
    let manifest = place.load_in_place("s", &path, Some(4)).await;
    assert_eq!(manifest.rows, None);
    let session = place.engine.session();
    place.add_raw(&session, "s").await;
    assert_eq!(rows(&session, "SELECT count(*), sum(a) FROM raw.s").await, ["2|3"]);
    std::fs::write(&path, "{\"a\": 1}\n").unwrap();
    let error = session.query("SELECT a FROM raw.s").await.unwrap().collect().await.unwrap_err();
    assert_eq!(error.code(), codes::SOURCE_CHANGED, "{error}");
}

#[tokio::test]
async fn a_bad_row_behind_the_sample_fails_by_name() {
    let place = Place::new().await;
    let path = place.dir.path().join("big.ndjson");
    std::fs::write(&path, "{\"a\": 1}\n{\"a\": \"many\"}\n").unwrap();
    place.load_in_place("s", &path, Some(4)).await;
    let session = place.engine.session();
    place.add_raw(&session, "s").await;
    let error = session.query("SELECT a FROM raw.s").await.unwrap().collect().await.unwrap_err();
    assert_eq!(error.code(), codes::DECODE, "{error}");
    for part in ["row 2", "big.ndjson", "column `a`"] {
        assert!(error.message().contains(part), "{error}");
    }
}

/// A table over `text` in pieces of at least `piece_bytes`.
async fn in_pieces(place: &Place, loads: &[Arc<Manifest>], piece_bytes: u64) -> (Vec<String>, usize) {
    let name: Name = "s".parse().unwrap();
    let mut table = RawTable::new(name, place.lake.clone(), loads, &raw_schema(loads), place.raw_options());
    table.range_bytes_min = piece_bytes;
    let pieces = table.pieces(4, false, false).iter().map(Vec::len).sum();
    let state = datafusion::prelude::SessionContext::new_with_config(
        datafusion::prelude::SessionConfig::new().with_target_partitions(4),
    );
    let mut found = testing::shown(
        &state
            .read_table(Arc::new(table))
            .unwrap()
            .select_columns(&["n", "t"])
            .unwrap()
            .collect()
            .await
            .unwrap(),
    );
    found.sort();
    (found, pieces)
}

#[tokio::test]
async fn only_plain_lines_without_rejects_are_cut() {
    let place = Place::new().await;
    let lines: String = (0..50).map(|n| format!("{{\"n\": {n}, \"t\": \"x\"}}\n")).collect();
    let manifest = place.load("s", &lines, FormatKind::Ndjson).await;
    let (found, pieces) = in_pieces(&place, std::slice::from_ref(&manifest), 16).await;
    assert_eq!((found.len(), pieces), (50, 4));
    let rejected = place.load("s", &format!("{lines}oops\n"), FormatKind::Ndjson).await;
    assert_eq!(in_pieces(&place, &[rejected], 16).await.1, 1);
    let table: String = (0..50).map(|n| format!("{n},x\n")).collect();
    let manifest = place.load("s", &format!("n,t\n{table}"), csv()).await;
    assert_eq!(in_pieces(&place, &[manifest], 16).await.1, 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_gives_the_same_rows(
        texts in proptest::collection::vec("[a-zñ\"\\\\ ]{0,20}", 1..40),
        blank_lines in proptest::collection::vec(any::<bool>(), 40),
        windows in any::<bool>(),
        ends_with_newline in any::<bool>(),
        piece_bytes in 1_u64..200,
    ) {
        let mut lines = String::new();
        for (n, text) in texts.iter().enumerate() {
            let row: BTreeMap<&str, serde_json::Value> = [("n", n.into()), ("t", text.as_str().into())].into();
            lines.push_str(&serde_json::to_string(&row).unwrap());
            lines.push_str(if windows { "\r\n" } else { "\n" });
            if blank_lines[n] {
                lines.push('\n');
            }
        }
        if !ends_with_newline {
            lines.truncate(lines.trim_end().len());
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (whole, cut) = runtime.block_on(async {
            let place = Place::new().await;
            let manifest = place.load("s", &lines, FormatKind::Ndjson).await;
            let loads = std::slice::from_ref(&manifest);
            (in_pieces(&place, loads, u64::MAX).await.0, in_pieces(&place, loads, piece_bytes).await.0)
        });
        prop_assert_eq!(whole.len(), texts.len());
        prop_assert_eq!(whole, cut);
    }
}
