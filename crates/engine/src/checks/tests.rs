#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::json;

use super::*;
use crate::{TableFiles, model, testing::Place};

const ROWS: &str = "SELECT * FROM (VALUES
    (1, 'a', 10.0, DATE '2024-01-01'),
    (2, 'b', -5.0, DATE '2024-01-01'),
    (2, 'b', NULL, NULL),
    (NULL, 'x', 7.0, DATE '2024-01-02'),
    (NULL, NULL, 7.0, NULL)) AS v(id, kind, total, day)";

fn checks(yaml: &str) -> Vec<Check> {
    let text = format!("/*---\nchecks:\n{yaml}\n---*/\nSELECT 1 AS x");
    model::parse("trusted/t.sql", &text).unwrap().front.checks
}

async fn prepared() -> (Place, Session, TableName) {
    let place = Place::new().await;
    let table = place.table("trusted.t", ROWS, &["day"]).await;
    let kinds =
        place.table("trusted.kinds", "SELECT * FROM (VALUES ('a'), ('b'), (NULL)) AS v(kind)", &[]).await;
    let session = place.engine.session();
    session.add_files(TableFiles::of(&table), &place.lake).unwrap();
    session.add_table(&kinds, &place.lake).unwrap();
    (place, session, table.name)
}

#[tokio::test]
async fn every_form_counts_what_is_wrong_and_shows_it() {
    let (_place, session, table) = prepared().await;
    for (yaml, failed, sample) in [
        ("  - unique: [id]", 2, json!([{"id": 2, "rows": 2}])),
        ("  - unique: [id, total]", 0, json!([])),
        ("  - unique: [kind]", 2, json!([{"kind": "b", "rows": 2}])),
        (
            "  - not_null: [id]",
            2,
            json!([{"id": null, "kind": null, "total": 7.0, "day": null}, {"id": null, "kind": "x", "total": 7.0, "day": "2024-01-02"}]),
        ),
        (
            "  - accepted: {kind: [a, b]}",
            1,
            json!([{"id": null, "kind": "x", "total": 7.0, "day": "2024-01-02"}]),
        ),
        ("  - accepted: {id: [1, 2]}", 0, json!([])),
        ("  - accepted: {total: [10, 7.0, -5]}", 0, json!([])),
        ("  - accepted: {kind: []}", 4, serde_json::Value::Null),
        (
            "  - relation: {kind: trusted.kinds.kind}",
            1,
            json!([{"id": null, "kind": "x", "total": 7.0, "day": "2024-01-02"}]),
        ),
        // NULL passes: it is not known to be wrong.
        ("  - total >= 0", 1, json!([{"id": 2, "kind": "b", "total": -5.0, "day": "2024-01-01"}])),
        ("  - kind IN (SELECT kind FROM trusted.kinds WHERE kind IS NOT NULL)", 1, serde_json::Value::Null),
        ("  - rows > 0", 0, json!([])),
        ("  - rows >= 6", 1, json!([{"count(*)": 5}])),
        ("  - sum(total) > 100 AND max(total) < 5", 1, json!([{"sum(total)": 19.0, "max(total)": 10.0}])),
        ("  - avg(total) FILTER (WHERE id = 99) > 0", 0, json!([])),
        ("  - count(DISTINCT kind) = 3", 0, json!([])),
    ] {
        let checks = checks(yaml);
        validate(&session, &table, &checks).await.unwrap_or_else(|e| panic!("{yaml}: {e}"));
        let results = run(&session, &table, &checks, false).await.unwrap_or_else(|e| panic!("{yaml}: {e}"));
        assert_eq!(results.len(), 1, "{yaml}");
        let result = &results[0];
        assert_eq!(
            (result.rows_tested, result.rows_failed, result.passed()),
            (5, failed, failed == 0),
            "{yaml}"
        );
        if !sample.is_null() {
            let mut found = result.sample.clone();
            found.sort_by_key(|row| std::cmp::Reverse(row.to_string()));
            assert_eq!(serde_json::Value::Array(found), sample, "{yaml}");
        }
    }
}

/// Which failing row comes first is not promised.
fn sorted(mut result: CheckResult) -> CheckResult {
    result.sample.sort_by_key(ToString::to_string);
    result
}

#[tokio::test]
async fn many_checks_give_what_each_gives_alone() {
    let (_place, session, table) = prepared().await;
    let checks = checks(
        "  - total >= 0\n  - not_null: [id, kind]\n  - unique: [id]\n  - accepted: {kind: [a, b]}\n  - rows > 0",
    );
    let together = run(&session, &table, &checks, false).await.unwrap();
    for (check, result) in checks.iter().zip(&together) {
        let alone = run(&session, &table, std::slice::from_ref(check), false).await.unwrap().remove(0);
        assert_eq!(sorted(alone), sorted(result.clone()));
    }
    let failed: Vec<u64> = together.iter().map(|result| result.rows_failed).collect();
    assert_eq!(failed, [1, 2, 1, 2, 1, 0]);
    assert_eq!(run(&session, &table, &[], false).await.unwrap(), []);
}

#[tokio::test]
async fn a_check_that_cannot_be_is_told_at_its_place() {
    let (_place, session, table) = prepared().await;
    let checks = checks(
        "  - totl >= 0\n  - unique: [idd]\n  - relation: {kind: trusted.nothing.x}\n  - sum(kind) > 0\n  - total + 1\n  - rows > 0",
    );
    let error = validate(&session, &table, &checks).await.unwrap_err();
    let found: Vec<(String, &str)> =
        error.each().map(|e| (e.place().unwrap().to_string(), e.code().id)).collect();
    let places: Vec<&str> = found.iter().map(|(place, _)| place.as_str()).collect();
    assert_eq!(
        places,
        [
            "trusted/t.sql:3:5",
            "trusted/t.sql:4:5",
            "trusted/t.sql:5:5",
            "trusted/t.sql:6:5",
            "trusted/t.sql:7:5"
        ],
        "{found:?}"
    );
    assert_eq!(error.message(), "the check `totl >= 0`: there is no column `totl`");
    assert_eq!(error.hint_text(), Some("did you mean `total`?"));
    let failing = super::tests::checks("  - total > 0\n  - 1 / (id - 1) > 0");
    let error = run(&session, &table, &failing, false).await.unwrap_err();
    assert_eq!((error.code(), error.place().unwrap().line), (codes::SQL_EXECUTION, 4), "{error}");
}

#[tokio::test]
async fn failing_rows_are_dropped_once_and_with_their_reason() {
    let (_place, session, table) = prepared().await;
    let checks = checks(
        "  - {sql: total >= 0, severity: drop}\n  - {not_null: [id], severity: drop, name: has id}\n  - {sql: id < 2, severity: warn}",
    );
    let sql = drop_query(&format!("SELECT id, kind, total FROM {table} -- all"), &checks).unwrap();
    session.describe_stored(&sql).await.unwrap();
    let batches = session.query(&sql).await.unwrap().collect().await.unwrap();
    let (mut kept, mut failed) = (Vec::new(), Vec::new());
    for batch in &batches {
        let (good, bad) = split_failed(batch).unwrap();
        assert_eq!(good.num_columns(), 3);
        kept.push(good);
        failed.push(bad);
    }
    let (mut kept, mut failed) = (crate::testing::shown(&kept), crate::testing::shown(&failed));
    kept.sort();
    failed.sort();
    assert_eq!(kept, ["1|a|10.0", "2|b|NULL"]);
    assert_eq!(failed, ["2|b|-5.0|total >= 0", "NULL|NULL|7.0|has id", "NULL|x|7.0|has id"]);
    assert_eq!(drop_query("SELECT 1", &super::tests::checks("  - total > 0")), None);
}

#[tokio::test]
async fn names_and_values_are_quoted() {
    let place = Place::new().await;
    let table = place.table("trusted.q", "SELECT 'it''s' AS \"Odd\"", &[]).await;
    let session = place.engine.session();
    session.add_table(&table, &place.lake).unwrap();
    let checks =
        checks("  - accepted: {Odd: [\"it's\", \"'); --\"]}\n  - not_null: [Odd]\n  - unique: [Odd]");
    let results = run(&session, &table.name, &checks, false).await.unwrap();
    assert!(results.iter().all(CheckResult::passed), "{results:?}");
}

#[tokio::test]
async fn an_empty_table_passes_all_but_its_count() {
    let place = Place::new().await;
    let table = place.table("trusted.t", "SELECT 1 AS id WHERE false", &[]).await;
    let session = place.engine.session();
    session.add_table(&table, &place.lake).unwrap();
    let results = run(
        &session,
        &table.name,
        &checks("  - unique: [id]\n  - id > 0\n  - sum(id) > 0\n  - rows > 0"),
        false,
    )
    .await
    .unwrap();
    let passed: Vec<bool> = results.iter().map(CheckResult::passed).collect();
    assert_eq!(passed, [true, true, true, false]);
    assert_eq!(results[3].sample, [json!({"count(*)": 0})]);
}
