//! `lagar table vacuum` and `lagar table compact`, and what runs, rollbacks and other readers see after them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use crate::support::{Place, python, root, step};

const DAY: u64 = 86_400;

/// Makes every file of the lake look as if it had been written so many days ago.
fn age(folder: &Path, days: u64) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            age(&path, days);
        } else {
            let written = SystemTime::now() - Duration::from_secs(days * DAY);
            File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
        }
    }
}

fn vacuum(place: &Place, args: &[&str]) -> Value {
    let done = place.lagar(&[&["table", "vacuum", "--json"], args].concat());
    assert_eq!(done.code, 0, "{}", done.stderr);
    done.json()
}

fn removed(report: &Value) -> BTreeSet<String> {
    let places = report["places"].as_array().unwrap().iter();
    let removed = places.flat_map(|place| place["removed"].as_array().unwrap());
    removed.map(|garbage| garbage["object"].as_str().unwrap().to_owned()).collect()
}

fn names(files: &BTreeMap<String, Vec<u8>>) -> BTreeSet<String> {
    files.keys().cloned().collect()
}

fn releases(place: &Place) -> Vec<u64> {
    let list = place.lagar(&["releases", "--json"]).json();
    list.as_array().unwrap().iter().map(|release| release["number"].as_u64().unwrap()).collect()
}

/// Fails unless every reader finds `rows` rows in the table.
fn others_read(place: &Place, table: &str, column: &str, rows: &Value) {
    let Some(python) = python() else {
        println!("skipped: LAGAR_TEST_PYTHON is not set");
        return;
    };
    let mut command = Command::new(python);
    let table = place.lake().join(table);
    let output = command.arg(root().join("tests/readers.py")).arg(table).arg(column).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let seen: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(seen.len(), 4, "four readers: {text}");
    assert!(seen.iter().all(|reader| reader["rows"] == *rows), "{rows}: {text}");
}

#[test]
fn a_vacuum_takes_what_no_kept_release_needs() {
    let place = Place::sample("shop");
    place.run(&[]);
    let carts = place.dir.path().join("data-samples/shop/api/carts.json");
    let mut list: Vec<Value> = serde_json::from_slice(&fs::read(&carts).unwrap()).unwrap();
    let count = "SELECT count(*) AS n FROM trusted.cart_items";
    let mut counts = vec![place.rows(count)];
    for _ in 0..3 {
        list.pop();
        fs::write(&carts, serde_json::to_vec(&list).unwrap()).unwrap();
        place.run(&[]);
        counts.push(place.rows(count));
    }
    assert_eq!(releases(&place), [1, 2, 3, 4]);
    let id = "019a9f0c-7a3e-7000-8000-000000000001";
    let left_behind = [
        format!("trusted/products/part-{id}.zstd.parquet"),
        format!("raw/carts/load_date=2026-01-01/{id}-1.json"),
        "refined/an_products/.lagar-tmp-1".to_owned(),
    ];
    for name in &left_behind {
        let path = place.lake().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "half").unwrap();
    }
    let young = vacuum(&place, &["--keep-releases", "2"]);
    assert_eq!(removed(&young), BTreeSet::new(), "all is younger than a week");
    age(&place.lake(), 30);
    let in_flight = place.lake().join(format!("trusted/products/part-{}.zstd.parquet", id.replace('1', "2")));
    fs::write(&in_flight, "half").unwrap();

    let before = place.lake_files();
    let would_go = removed(&vacuum(&place, &["--keep-releases", "2", "--dry-run"]));
    assert_eq!(place.lake_files(), before, "a dry run changes nothing");
    let said = place.lagar(&["table", "vacuum", "--keep-releases", "2", "--dry-run"]);
    said.says(0, &[]);
    assert!(would_go.iter().all(|object| said.stdout.contains(object)), "{}", said.stdout);
    assert_eq!(removed(&vacuum(&place, &["--keep-releases", "2"])), would_go);
    let after = place.lake_files();
    let gone: BTreeSet<String> = names(&before).difference(&names(&after)).cloned().collect();
    assert_eq!(gone, would_go);
    assert!(left_behind.iter().all(|name| gone.contains(name)), "{gone:?}");
    assert!(gone.iter().any(|name| name.starts_with("trusted/cart_items/part-")), "{gone:?}");
    assert!(in_flight.exists());
    assert_eq!(removed(&vacuum(&place, &["--keep-releases", "2"])), BTreeSet::new());

    assert_eq!(releases(&place), [3, 4]);
    assert_eq!(place.rows(count), counts[3]);
    others_read(&place, "trusted/cart_items", "quantity", &counts[3][0]["n"]);
    let missing = place.lagar(&["releases", "rollback", "1"]);
    missing.says(2, &["there is no release 1", "3, 4"]);
    place.lagar(&["releases", "rollback", "3"]).says(0, &[]);
    assert_eq!(place.rows(count), counts[2]);

    // The rollback holds, also when only the newest release is asked for: what was taken back is remembered.
    age(&place.lake(), 30);
    vacuum(&place, &["--keep-releases", "1"]);
    assert_eq!(releases(&place), [4, 5]);
    let report = place.run(&[]);
    assert_eq!((&report["status"], &report["release"]), (&json!("nothing_new"), &Value::Null), "{report}");
    assert_eq!(place.rows(count), counts[2]);
    // And the next change is built upon it.
    list.pop();
    fs::write(&carts, serde_json::to_vec(&list).unwrap()).unwrap();
    let report = place.run(&[]);
    assert_eq!(report["release"], 6, "{report}");
    assert_ne!(place.rows(count), counts[2]);
}

/// A release that something else was new for, or another rollback, does not end the hold.
#[test]
fn what_a_rollback_took_back_stays_away_until_it_changes() {
    let model = |from: &str| format!("-- Rows.\nSELECT id, x FROM raw.{from} WHERE _newest\n");
    let place = Place::project(&[
        (
            "lagar.yaml",
            "name: back\nsources:\n  a: {type: file, url: a.csv}\n  b: {type: file, url: b.csv}\n",
        ),
        ("a.csv", "id,x\n1,10\n"),
        ("b.csv", "id,x\n1,1\n"),
        ("trusted/a.sql", &model("a")),
        ("trusted/b.sql", &model("b")),
    ]);
    let both = || place.rows("SELECT a.x AS a, b.x AS b FROM trusted.a CROSS JOIN trusted.b");
    place.run(&[]);
    place.write("a.csv", "id,x\n1,-999\n");
    place.run(&[]);
    place.lagar(&["releases", "rollback", "1"]).says(0, &[]);
    for n in [20, 21] {
        place.write("b.csv", format!("id,x\n1,{n}\n"));
        let report = place.run(&[]);
        assert!(step(&report, "trusted.a")["notes"].to_string().contains("held at version 0"), "{report}");
        assert_eq!(both(), [json!({"a": 10, "b": n})]);
        assert_eq!(place.run(&[])["status"], "nothing_new");
    }
    age(&place.lake(), 30);
    vacuum(&place, &["--keep-releases", "1"]);
    assert_eq!(place.run(&[])["status"], "nothing_new");
    assert_eq!(both(), [json!({"a": 10, "b": 21})]);
    // The row of b that is taken back now is held, and a still is.
    let before = releases(&place)[releases(&place).len() - 2].to_string();
    place.lagar(&["releases", "rollback", &before]).says(0, &[]);
    place.run(&[]);
    assert_eq!(both(), [json!({"a": 10, "b": 20})]);
    place.write("a.csv", "id,x\n1,11\n");
    place.run(&[]);
    assert_eq!(both(), [json!({"a": 11, "b": 20})]);
}

#[test]
fn a_vacuum_says_what_it_will_not_do() {
    let place = Place::project(&[
        ("lagar.yaml", "name: small\nsources:\n  items:\n    type: file\n    url: items.csv\n"),
        ("items.csv", "id\n1\n"),
        ("trusted/items.sql", "-- Items.\nSELECT id FROM raw.items\n"),
    ]);
    place.lagar(&["table", "vacuum"]).says(0, &[]);
    place.run(&[]);
    place.lagar(&["table", "vacuum", "--older-than", "5m"]).says(2, &["at least 1h"]);
    place.lagar(&["table", "vacuum", "--older-than", "soon"]).says(2, &["not a duration"]);
    place.lagar(&["table", "vacuum", "--keep-releases", "0"]).says(2, &["keep-releases"]);
    place
        .lagar(&["table", "vacuum", "trusted.nothing"])
        .says(1, &["the lake has no `trusted.nothing`", "lagar ls"]);
    place.lagar(&["table", "compact", "raw.items"]).says(1, &["`raw.items` is in no release"]);
    let all = place.lagar(&["table", "vacuum", "trusted.items"]);
    all.says(0, &[]);
    assert!(all.stdout.contains("trusted.items") && !all.stdout.contains("raw.items"), "{}", all.stdout);
}

/// Two tables that grow: one from a source, one from the other table.
fn growing() -> Place {
    let model = |from: &str| {
        format!("-- Rows.\n/*---\nmaterialize: append\nincremental: {from}\n---*/\nSELECT id FROM {from}\n")
    };
    Place::project(&[
        ("lagar.yaml", "name: grow\nsources:\n  events:\n    type: file\n    url: events/*.csv\n"),
        ("events/1.csv", "id\n1\n"),
        ("trusted/events.sql", &model("raw.events")),
        ("refined/copies.sql", &model("trusted.events")),
        ("refined/sums.sql", "-- Sums.\nSELECT sum(id) AS total FROM trusted.events\n"),
    ])
}

#[test]
fn compacted_tables_are_the_same_tables() {
    let place = growing();
    for n in 1..=4 {
        place.write(&format!("events/{n}.csv"), format!("id\n{n}\n"));
        place.run(&[]);
    }
    let both = "SELECT (SELECT count(*) FROM trusted.events) AS events, (SELECT sum(id) FROM refined.copies) AS copies";
    let rows = json!({"events": 4, "copies": 10});
    assert_eq!(place.rows(both), vec![rows.clone()]);

    let before = place.lake_files();
    place.lagar(&["table", "compact", "--dry-run"]).says(0, &[]);
    assert_eq!(place.lake_files(), before, "a dry run changes nothing");
    let done = place.lagar(&["table", "compact", "--json"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let report = done.json();
    assert_eq!(report["release"], 5, "{report}");
    for table in report["tables"].as_array().unwrap() {
        let files = (table["files_before"].as_u64().unwrap(), table["files_after"].as_u64().unwrap());
        let expected = if table["name"] == "refined.sums" { (1, 1) } else { (4, 1) };
        assert_eq!(files, expected, "{table}");
    }
    assert_eq!(place.rows(both), vec![rows.clone()]);
    others_read(&place, "trusted/events", "id", &json!(4));
    let again = place.lagar(&["table", "compact", "--json"]).json();
    assert_eq!(again["release"], Value::Null, "{again}");

    // Nothing is built again because of it, and `plan` knows that before.
    let planned = place.lagar(&["plan", "--json"]).json();
    let builds: Vec<&Value> =
        planned["steps"].as_array().unwrap().iter().filter(|s| s["action"] == "build").collect();
    assert!(builds.is_empty(), "{planned}");
    let report = place.run(&[]);
    assert_eq!((&report["status"], &report["release"]), (&json!("nothing_new"), &Value::Null), "{report}");

    // The old files go, the new ones are built upon: also by who reads only what is new in the table.
    age(&place.lake(), 30);
    let gone = removed(&vacuum(&place, &["--keep-releases", "1"]));
    assert_eq!(gone.iter().filter(|name| name.starts_with("trusted/events/part-")).count(), 4, "{gone:?}");
    others_read(&place, "trusted/events", "id", &json!(4));
    place.write("events/5.csv", "id\n5\n");
    let report = place.run(&[]);
    for name in ["trusted.events", "refined.copies"] {
        assert_eq!(step(&report, name)["rows_out"], 1, "{report}");
    }
    assert_eq!(place.rows(both), vec![json!({"events": 5, "copies": 15})]);
    assert_eq!(place.rows("SELECT total FROM refined.sums"), vec![json!({"total": 15})]);
    others_read(&place, "trusted/events", "id", &json!(5));
    others_read(&place, "refined/copies", "id", &json!(5));
}

#[test]
fn rows_that_a_compaction_moved_are_new_to_whoever_has_not_read_them() {
    let place = growing();
    place.run(&[]);
    // `copies` falls behind by one load.
    place.write("events/2.csv", "id\n2\n");
    place.run(&["-s", "+trusted.events"]);
    let done = place.lagar(&["table", "compact", "trusted.events", "--json"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    place.write("events/3.csv", "id\n3\n");
    let report = place.run(&[]);
    assert_eq!(step(&report, "refined.copies")["rows_out"], 2, "{report}");
    let ids = place.rows("SELECT id FROM refined.copies ORDER BY id");
    assert_eq!(ids, vec![json!({"id": 1}), json!({"id": 2}), json!({"id": 3})]);
}

#[test]
fn a_table_that_was_deleted_and_made_again_is_not_taken_for_itself() {
    let place = growing();
    place.run(&[]);
    place.write("events/2.csv", "id\n2\n");
    place.run(&[]);
    let copies = || place.rows("SELECT id FROM refined.copies ORDER BY id");
    fs::remove_dir_all(place.lake().join("trusted/events")).unwrap();
    // First it has fewer versions than were used, then as many: which rows are new cannot be told.
    for (n, why) in [(3, "was rewritten"), (4, "was deleted and made again")] {
        place.write(&format!("events/{n}.csv"), format!("id\n{n}\n"));
        place.lagar(&["run"]).says(1, &["refined.copies", why, "--full-refresh"]);
        assert_eq!(copies(), vec![json!({"id": 1}), json!({"id": 2})]);
    }
    place.run(&["-s", "refined.copies+", "--full-refresh"]);
    assert_eq!(copies().len(), 4);
}
