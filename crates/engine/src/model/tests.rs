#![allow(clippy::unwrap_used, clippy::expect_used)]

use arrow::datatypes::{DataType, Field};

use super::*;
use crate::{checks::Rule, yaml};

const REVENUE: &str = "-- Revenue by day and store: one row per (day, store_id).
-- In EUR.

/*---
materialize: replace            # append | merge | partition
key: [day, store_id]
partition_by: [day]
tags: [daily]
checks:
  - not_null: [revenue, day]
  - accepted: {store_id: [1, 2]}
  - relation: {store_id: trusted.stores.id}
  - revenue >= 0
  - rows > 0
  - {name: small, sql: \"revenue < 1e9\", severity: warn}
---*/
SELECT CAST(ordered_at AS DATE) AS day, store_id,
       -- a line of its own is no documentation
       SUM(total) AS revenue,    -- revenue in EUR, tax included
       CASE WHEN SUM(total) > 0 -- only a part
            THEN 1 END AS positive
     , MAX(note) AS \"Note\" -- the last note
FROM trusted.orders o -- not a column
WHERE store_id IN (SELECT id FROM raw.stores)
GROUP BY 1, 2;
";

#[test]
fn a_model_reads_like_a_document() {
    let model = parse("refined/sales/revenue_by_day.sql", REVENUE).unwrap();
    assert_eq!(model.name.to_string(), "refined.revenue_by_day");
    assert_eq!(
        model.description.as_deref(),
        Some("Revenue by day and store: one row per (day, store_id).\nIn EUR.")
    );
    assert_eq!(model.sql_line_offset, 16);
    assert!(model.sql.starts_with("SELECT CAST") && model.sql.ends_with("GROUP BY 1, 2"), "{}", model.sql);
    let docs: Vec<(&str, &str)> = model.column_docs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(docs, [("Note", "the last note"), ("revenue", "revenue in EUR, tax included")]);
    let reads: Vec<String> =
        model.reads.iter().map(|r| format!("{} {}:{}", r.table, r.line, r.column)).collect();
    assert_eq!(reads, ["trusted.orders 23:6", "raw.stores 24:35"]);
    let needed: Vec<String> = model.inputs().iter().map(ToString::to_string).collect();
    assert_eq!(needed, ["raw.stores", "trusted.orders", "trusted.stores"]);
    assert_eq!(
        (model.front.materialize, model.front.tags.as_slice()),
        (Materialize::Replace, ["daily".to_owned()].as_slice())
    );
    let checks: Vec<&str> = model.front.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(
        checks,
        [
            "unique(day,store_id)",
            "not_null(day)",
            "not_null(store_id)",
            "not_null(revenue)",
            "accepted(store_id)",
            "relation(store_id)",
            "revenue >= 0",
            "rows > 0",
            "small"
        ]
    );
    assert_eq!(model.front.checks[8].severity, Severity::Warn);
    assert_eq!(model.front.checks[6].place.to_string(), "refined/sales/revenue_by_day.sql:13:5");
    assert!(matches!(&model.front.checks[7].rule, Rule::Aggregate { sql, .. } if sql == "count(*) > 0"));
}

#[test]
fn the_short_forms_work() {
    let model = parse("trusted/a.sql", "SELECT 1 AS x").unwrap();
    assert_eq!((model.description, model.sql_line_offset, model.reads.len()), (None, 0, 0));
    let model = parse(
        "trusted/a.sql",
        "\u{feff}/*---\r\nkey: id\r\n---*/\r\n-- What it is.\r\n\r\nSELECT 1 AS id -- the id\r\n",
    )
    .unwrap();
    assert_eq!(model.front.key, ["id"]);
    assert_eq!(model.description.as_deref(), Some("What it is."));
    assert_eq!(model.column_docs.get("id").map(String::as_str), Some("the id"));
    let model = parse("trusted/a.sql", "/* a licence\n   SELECT */\n/*---\n---*/\nWITH t AS (SELECT a, b FROM raw.x)\nSELECT a, -- first\n b -- second\nFROM t UNION ALL SELECT 1, 2").unwrap();
    assert_eq!(model.column_docs.len(), 2);
    assert_eq!(model.reads[0].line, 5);
    let model = parse(
        "trusted/a.sql",
        "/*---\nmaterialize: append\nincremental: raw.x\n---*/\nSELECT * EXCEPT (b), a IS DISTINCT FROM 1 AS c -- differs\nFROM raw.x",
    )
    .unwrap();
    assert_eq!(model.front.incremental.iter().map(ToString::to_string).collect::<Vec<_>>(), ["raw.x"]);
    assert_eq!(model.column_docs.get("c").map(String::as_str), Some("differs"));
}

#[test]
fn every_broken_model_says_where_and_what() {
    let front = |yaml: &str| format!("/*---\n{yaml}\n---*/\nSELECT id FROM raw.x");
    for (text, code, line, column, words) in [
        (String::new(), "E4001", 1, 0, "has no SELECT"),
        ("-- only words\n".to_owned(), "E4001", 1, 0, "has no SELECT"),
        ("SELECT 1 AS a;\nSELECT 2 AS b".to_owned(), "E4005", 2, 1, "more than one statement"),
        ("CREATE TABLE x AS SELECT 1".to_owned(), "E4005", 1, 1, "CREATE is not allowed"),
        ("SELECT 1 AS a FROM\n)".to_owned(), "E4001", 2, 1, ""),
        ("SELECT * FROM orders".to_owned(), "E4002", 1, 15, "without its zone"),
        ("SELECT * FROM trused.orders".to_owned(), "E4002", 1, 15, "did you mean `trusted`"),
        ("SELECT * FROM a.trusted.orders".to_owned(), "E4002", 1, 15, "not the name of a table"),
        ("SELECT *\nFROM trusted.me".to_owned(), "E4102", 2, 6, "trusted.me → trusted.me"),
        ("SELECT * FROM trusted.\"Ab\"".to_owned(), "E1106", 1, 15, "not a name"),
        ("SELECT 1 AS a\n/*---\nkey: [a]\n---*/".to_owned(), "E4101", 2, 1, "in front of the SELECT"),
        ("/*---\nkey: [a]\nSELECT 1 AS a".to_owned(), "E4101", 1, 1, "does not end"),
        ("/*---\n---*/\n/*---\n---*/\nSELECT 1 AS a".to_owned(), "E4101", 3, 1, "second front matter"),
        ("/*--- key: [a]\n---*/\nSELECT 1 AS a".to_owned(), "E4101", 1, 1, "on the line after"),
        (front("ky: [id]"), "E4101", 2, 1, "did you mean `key`"),
        (front("materialize: replce"), "E4101", 2, 14, "did you mean `replace`"),
        (front("tags: [a]\nmaterialize: merge"), "E4101", 3, 14, "needs `key`"),
        (front("materialize: partition"), "E4101", 2, 14, "needs `partition_by`"),
        (front("latest_by: [id]"), "E4101", 2, 12, "needs `materialize: merge`"),
        (front("materialize: merge\nkey: id\nlatest_by: [a, a]"), "E4101", 4, 12, "`a` twice"),
        (
            front("materialize: merge\nkey: id\nincremental: [raw.x, raw.y]"),
            "E4101",
            4,
            22,
            "does not read `raw.y`",
        ),
        (front("materialize: merge\nkey: id\nincremental: [raw.x, raw.x]"), "E4101", 4, 14, "`raw.x` twice"),
        (front("dialect: spark"), "E1104", 2, 10, "not supported yet"),
        (front("materialize: append"), "E4101", 2, 14, "needs `incremental`"),
        (front("incremental: raw.x"), "E4101", 2, 14, "needs `materialize: append`"),
        (front("materialize: append\nincremental: raw.y"), "E4101", 3, 14, "does not read `raw.y`"),
        (front("materialize: append\nincremental: y"), "E4101", 3, 14, "not the name of a table"),
        (front("key: [id, id]"), "E4101", 2, 6, "`id` twice"),
        (front("key: 5"), "E4101", 2, 6, "a list of names"),
        (front("key: [id\ntags: x"), "E1101", 3, 0, "this is not YAML"),
        (front("checks:\n  - uniqe: [id]"), "E4101", 3, 5, "did you mean `unique`"),
        (front("checks:\n  - {unique: [id], sql: \"id > 0\"}"), "E4101", 3, 5, "a check is one of"),
        (front("checks:\n  - severity: warn"), "E4101", 3, 5, "a check is one of"),
        (front("checks:\n  - {sql: \"id > 0\", severity: eror}"), "E4101", 3, 31, "did you mean `error`"),
        (front("checks:\n  - {unique: [id], severity: drop}"), "E4101", 3, 5, "does not say which row"),
        (front("checks:\n  - {sql: \"rows > 0\", severity: drop}"), "E4101", 3, 5, "does not say which row"),
        (front("checks:\n  - id >"), "E4001", 3, 5, "the check `id >`"),
        (front("checks:\n  - id > 0; DROP TABLE x"), "E4001", 3, 5, "end of expression"),
        (front("checks:\n  - relation: {id: products.id}"), "E4101", 3, 20, "zone.table.column"),
        (
            front("checks:\n  - id > 0\n  - {sql: id > 0, severity: warn}"),
            "E4101",
            4,
            5,
            "two checks `id > 0`",
        ),
        (front("checks: id > 0"), "E4101", 2, 9, "must be a list"),
    ] {
        let error = parse("trusted/me.sql", &text).expect_err(&text);
        let place = error.place().unwrap_or_else(|| panic!("{text}: no place"));
        let shown = format!("{} | {}", error.message_with_causes(), error.hint_text().unwrap_or_default());
        assert_eq!(
            (error.code().id, place.file.as_str(), place.line),
            (code, "trusted/me.sql", line),
            "{text}\n{shown}"
        );
        assert!(column == 0 || place.column == column, "{text}\n{shown} at {place}");
        assert!(shown.contains(words), "{text}\n{shown}");
    }
}

#[test]
fn faults_of_front_matter_and_select_come_together() {
    let error = parse("trusted/me.sql", "/*---\nky: 1\n---*/\nSELECT * FROM a, b").unwrap_err();
    let places: Vec<usize> = error.each().map(|e| e.place().unwrap().line).collect();
    assert_eq!(places, [2, 4, 4]);
}

#[test]
fn the_path_is_the_name() {
    assert_eq!(parse("trusted/b.sql", "SELECT 1 AS a").unwrap().name.to_string(), "trusted.b");
    for path in ["b.sql", "raw/b.sql", "gold/b.sql", "trusted/B.sql", "trusted/b.txt", "trusted/b-c.sql"] {
        let error = parse(path, "SELECT 1 AS a").expect_err(path);
        assert_eq!((error.code(), error.place().unwrap().file.as_str()), (codes::NAME, path));
    }
}

#[test]
fn errors_of_the_query_are_found_in_the_file() {
    let model = parse("refined/sales/revenue_by_day.sql", REVENUE).unwrap();
    let inner = Error::all([
        Error::new(codes::SQL_UNKNOWN_COLUMN, "a").hint("h").at("", 3, 7),
        Error::new(codes::SQL_PLAN, "b"),
        Error::new(codes::LAKE_STORE, "c").at("other", 1, 1),
    ]);
    let located = model.locate(&inner.unwrap());
    let places: Vec<String> = located.each().map(|e| e.place().unwrap().to_string()).collect();
    let file = "refined/sales/revenue_by_day.sql";
    assert_eq!(places, [format!("{file}:19:7"), format!("{file}:17"), "other:1:1".to_owned()]);
    assert_eq!(located.hint_text(), Some("h"));
}

#[test]
fn columns_of_the_front_matter_must_be_made() {
    let model = parse(
        "trusted/me.sql",
        "/*---\nkey: [id]\npartition_by: [dya]\nchecks:\n  - not_null: [nme]\n---*/\nSELECT id, day, name FROM raw.x",
    )
    .unwrap();
    let schema =
        Schema::new(["id", "day", "name"].map(|name| Field::new(name, DataType::Int64, true)).to_vec());
    let error = model.check_columns(&schema).unwrap_err();
    let found: Vec<String> =
        error.each().map(|e| format!("{} {}", e.place().unwrap(), e.hint_text().unwrap())).collect();
    assert_eq!(found, ["trusted/me.sql:3:16 did you mean `day`?", "trusted/me.sql:5:5 did you mean `name`?"]);
    let model = parse("trusted/me.sql", "/*---\npartition_by: [id]\n---*/\nSELECT id FROM raw.x").unwrap();
    assert!(model.check_columns(&Schema::new(vec![Field::new("id", DataType::Int64, true)])).is_err());
}

#[test]
fn editors_get_a_schema() {
    let schema = serde_json::to_value(json_schema()).unwrap();
    for key in ["materialize", "key", "incremental", "partition_by", "tags", "checks", "dialect"] {
        assert!(schema["properties"][key].is_object(), "{key}: {schema}");
    }
    assert_eq!(schema["additionalProperties"], false);
    assert!(yaml::parse("a: 1", "f", 0).is_ok());
}
