//! `materialize: merge`: the newest row of each key, whatever comes in whatever order.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use lagar_flow::KillPoint;
use serde_json::{Value, json};

use crate::support::{Place, python, root, running::Running, step};

const FEEDS: &str = "name: merges
sources:
  created: {type: file, url: created/*.csv, columns: {id: int, at: int, v: text}}
  closed: {type: file, url: closed/*.csv, columns: {id: int, at: int, v: text}}
";
const UNION: &str = "SELECT id, at, v FROM raw.created UNION ALL SELECT id, at, v FROM raw.closed\n";
const FRONT: &str =
    "materialize: merge\nkey: [id]\nlatest_by: [at]\nincremental: [raw.created, raw.closed]\n";

fn model(front: &str, select: &str) -> String {
    format!("-- Newest.\n/*---\n{front}---*/\n{select}")
}

/// Two feeds of one table, each with a first file of no row.
fn feeds(front: &str, select: &str) -> Place {
    let place = Place::project(&[("lagar.yaml", FEEDS), ("trusted/t.sql", &model(front, select))]);
    for feed in ["created", "closed"] {
        place.write(&format!("{feed}/0.csv"), "id,at,v\n");
    }
    place
}

/// The rows of `table` as `id at v`.
fn content(place: &Place, table: &str) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let rows = place.rows(&format!("SELECT id, at, v FROM {table} ORDER BY id, at, v"));
    rows.iter().map(|row| ["id", "at", "v"].map(|c| text(&row[c])).join(" ")).collect()
}

/// The entries of a table's log, the newest last.
fn log(place: &Place, table: &str) -> Vec<PathBuf> {
    let log = place.lake().join(table).join("_delta_log");
    let mut entries: Vec<PathBuf> = fs::read_dir(&log)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    entries.sort();
    entries
}

/// The actions of an entry of a log.
fn actions(entry: &Path) -> Vec<Value> {
    let text = fs::read_to_string(entry).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The data files of a table's newest version, by the log.
pub fn files(place: &Place, table: &str) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for entry in log(place, table) {
        for action in actions(&entry) {
            if let Some(path) = action["add"]["path"].as_str() {
                files.insert(path.to_owned());
            }
            if let Some(path) = action["remove"]["path"].as_str() {
                assert!(files.remove(path), "{path} was not there");
            }
        }
    }
    files
}

#[track_caller]
pub fn notes(report: &Value, name: &str) -> String {
    step(report, name)["notes"].to_string()
}

#[test]
fn two_feeds_merge_into_one_table() {
    let place = feeds(FRONT, UNION);
    place.write("created/1.csv", "id,at,v\n1,10,open\n2,10,open\n3,,open\n");
    let report = place.run(&[]);
    assert!(notes(&report, "trusted.t").contains("inserted 3, updated 0, unchanged 0"), "{report}");
    place.write("created/2.csv", "id,at,v\n4,20,open\n");
    place.write("closed/1.csv", "id,at,v\n1,20,closed\n2,9,too late\n3,1,closed\n");
    let report = place.run(&[]);
    let merged = step(&report, "trusted.t");
    assert!(notes(&report, "trusted.t").contains("inserted 1, updated 2, unchanged 1"), "{report}");
    assert_eq!((&merged["rows_in"], &merged["rows_out"]), (&json!(4), &json!(3)), "only new loads are read");
    assert_eq!(content(&place, "trusted.t"), ["1 20 closed", "2 10 open", "3 1 closed", "4 20 open"]);

    // A day that comes again changes nothing, and nobody builds anything because of it.
    place.write("refined/n.sql", "-- Rows.\nSELECT count(*) AS n FROM trusted.t\n");
    place.run(&[]);
    let before = files(&place, "trusted/t");
    place.write("closed/9.csv", "id,at,v\n3,1,closed\n1,20,closed\n");
    let report = place.run(&[]);
    assert!(notes(&report, "trusted.t").contains("inserted 0, updated 0, unchanged 2"), "{report}");
    assert_eq!(step(&report, "refined.n")["status"], "nothing_new", "{report}");
    assert_eq!(files(&place, "trusted/t"), before);
    assert_eq!(step(&place.run(&[]), "trusted.t")["status"], "nothing_new", "it is not read once more");
    let all = content(&place, "trusted.t");
    place.run(&["--full-refresh", "-s", "trusted.t"]);
    assert_eq!(content(&place, "trusted.t"), all);
}

#[test]
fn one_key_rewrites_one_file() {
    let place = feeds(FRONT, UNION);
    let mut known = BTreeSet::new();
    let mut made = Vec::new();
    for part in 0..4 {
        let rows: Vec<String> = (0..5).map(|n| format!("{},1,a\n", part * 100 + n)).collect();
        place.write(&format!("created/{part}.csv"), format!("id,at,v\n{}", rows.concat()));
        place.run(&[]);
        let now = files(&place, "trusted/t");
        made.push(now.difference(&known).next().unwrap().clone());
        assert_eq!((now.len(), now.is_superset(&known)), (part + 1, true), "keys that are new add a file");
        known = now;
    }
    place.write("closed/1.csv", "id,at,v\n102,2,b\n");
    let report = place.run(&[]);
    let now = files(&place, "trusted/t");
    let gone: Vec<&String> = known.difference(&now).collect();
    assert_eq!(gone, [&made[1]], "{report}");
    assert_eq!(now.len(), 4);
    assert_eq!(content(&place, "trusted.t").len(), 20);
    // Keys of all files, of which one row changes and one is new: that file alone is written again.
    let known = now;
    place.write("closed/2.csv", "id,at,v\n1,1,a\n102,2,b\n203,1,a\n301,5,c\n250,5,new\n");
    let report = place.run(&[]);
    assert!(notes(&report, "trusted.t").contains("inserted 1, updated 1, unchanged 3"), "{report}");
    let now = files(&place, "trusted/t");
    assert_eq!(known.difference(&now).collect::<Vec<_>>(), [&made[3]]);
    assert_eq!(content(&place, "trusted.t").len(), 21);
    // What was only in between is not left behind.
    let there = place.lake_files();
    let data = there.keys().filter_map(|name| name.strip_prefix("trusted/t/part-")).count();
    assert_eq!(data, 4 + 2, "the files of the versions, and no others: {:?}", there.keys());
}

#[test]
fn equally_new_rows_go_by_their_loads_and_then_by_their_values() {
    let order: Vec<String> = ["a", "b"]
        .iter()
        .flat_map(|last| {
            // The same rows in two orders within a load.
            let place = feeds(FRONT, UNION);
            let lines = ["1,5,x\n", "1,5,y\n", "1,5,z\n", "2,,p\n", "2,,q\n"];
            let lines: Vec<&str> =
                if *last == "a" { lines.to_vec() } else { lines.iter().rev().copied().collect() };
            place.write("created/1.csv", format!("id,at,v\n{}", lines.concat()));
            place.run(&[]);
            content(&place, "trusted.t")
        })
        .collect();
    assert_eq!(order[..2], order[2..], "the order of rows in a file decides nothing");

    // A later load wins, merged in one run or in one run each, and whichever feed it came by.
    for at_once in [true, false] {
        let place = feeds(FRONT, UNION);
        place.run(&[]);
        for (n, feed, v) in [(1, "created", "first"), (2, "closed", "second"), (3, "created", "third")] {
            place.write(&format!("{feed}/{n}.csv"), format!("id,at,v\n1,5,{v}\n"));
            place.run(&["-s", &format!("raw.{feed}")]);
            if !at_once {
                place.run(&["-s", "trusted.t"]);
            }
        }
        place.run(&["-s", "trusted.t"]);
        assert_eq!(content(&place, "trusted.t"), ["1 5 third"]);
    }
    // Without `latest_by` that is all there is.
    let place = feeds("materialize: merge\nkey: id\nincremental: [raw.created, raw.closed]\n", UNION);
    for (n, feed, at) in [(1, "created", 9), (2, "closed", 1), (3, "closed", 5)] {
        place.write(&format!("{feed}/{n}.csv"), format!("id,at,v\n1,{at},x\n"));
        place.run(&["-s", &format!("raw.{feed}")]);
    }
    place.run(&["-s", "trusted.t"]);
    assert_eq!(content(&place, "trusted.t"), ["1 5 x"]);
}

#[test]
fn the_load_is_known_whatever_the_select_does() {
    let selects = [
        "WITH c AS (SELECT * FROM raw.created), d AS (SELECT id, at, v FROM raw.closed WHERE v <> 'no')\nSELECT id, at, v FROM (SELECT id, at, v FROM c UNION ALL SELECT * FROM d) AS both ORDER BY id\n",
        "SELECT DISTINCT id, at, v FROM raw.created UNION SELECT id, at, v FROM raw.closed\n",
        "SELECT id, at, max(v) AS v FROM (SELECT id, at, v, _load FROM raw.created) AS c GROUP BY id, at, _load UNION ALL SELECT d.id, d.at, d.v FROM raw.closed d JOIN (SELECT 1 AS one) AS o ON o.one = 1\n",
        "SELECT id, at, v FROM (SELECT id, at, v, row_number() OVER (PARTITION BY id, _load ORDER BY v) AS n FROM raw.created) AS c WHERE n = 1 UNION ALL SELECT id, at, v FROM raw.closed LEFT JOIN raw.created AS o USING (id, at, v)\n",
    ];
    for select in selects {
        let place = feeds(FRONT, select);
        for (n, feed, v) in [(1, "closed", "z"), (2, "created", "b"), (3, "closed", "a")] {
            place.write(&format!("{feed}/{n}.csv"), format!("id,at,v\n1,5,{v}\n"));
            place.run(&["-s", &format!("raw.{feed}")]);
        }
        let report = place.run(&["-s", "trusted.t"]);
        assert_eq!(content(&place, "trusted.t"), ["1 5 a"], "{select}");
        assert!(!notes(&report, "trusted.t").contains("equally new"), "{report}");
    }
    // Where it is hidden, the report says so.
    let hidden =
        "SELECT id, at, unnest([v]) AS v FROM raw.created UNION ALL SELECT id, at, v FROM raw.closed\n";
    let place = feeds(FRONT, hidden);
    place.write("created/1.csv", "id,at,v\n1,5,x\n");
    assert!(notes(&place.run(&[]), "trusted.t").contains("equally new"));
}

#[test]
fn a_key_without_a_value_is_refused_and_nothing_changes() {
    let place = feeds(FRONT, UNION);
    place.write("created/1.csv", "id,at,v\n1,10,open\n");
    place.run(&[]);
    let before = files(&place, "trusted/t");
    place.write("closed/1.csv", "id,at,v\n1,20,closed\n,20,whose\n");
    place.lagar(&["run"]).says(1, &["E5001", "not_null(id)", "refused.trusted.t"]);
    assert_eq!(content(&place, "trusted.t"), ["1 10 open"]);
    assert_eq!(files(&place, "trusted/t"), before);
    // It is mended by what the SELECT takes.
    place.write(
        "trusted/t.sql",
        model(FRONT, &format!("SELECT * FROM ({UNION}) AS a WHERE id IS NOT NULL\n")),
    );
    place.run(&[]);
    assert_eq!(content(&place, "trusted.t"), ["1 20 closed"]);
}

#[test]
fn rows_that_a_check_drops_take_no_others_place() {
    let front = format!("{FRONT}checks:\n  - {{name: sane, sql: at < 100, severity: drop}}\n");
    let place = feeds(&front, UNION);
    place.write("created/1.csv", "id,at,v\n1,10,good\n1,500,bad\n1,501,bad\n2,700,bad\n");
    let report = place.run(&[]);
    let merged = step(&report, "trusted.t");
    assert_eq!((&merged["rows_out"], &merged["rows_rejected"]), (&json!(1), &json!(3)), "{report}");
    place.write("closed/1.csv", "id,at,v\n1,502,bad\n3,5,good\n");
    place.run(&[]);
    assert_eq!(content(&place, "trusted.t"), ["1 10 good", "3 5 good"]);
    // Those of earlier runs are kept beside the table as well.
    let dropped = place.rows("SELECT id, at, _failed_check FROM refused.trusted.t ORDER BY at");
    let bad = |id: u64, at: u64| json!({"id": id, "at": at, "_failed_check": "sane"});
    assert_eq!(dropped, vec![bad(1, 500), bad(1, 501), bad(1, 502), bad(2, 700)]);
}

#[test]
fn columns_may_come_and_other_changes_are_refused() {
    let place = feeds(FRONT, UNION);
    place.write("created/1.csv", "id,at,v\n1,10,a\n2,10,a\n");
    place.run(&[]);
    let wider = "SELECT id, at, v, 7 AS w FROM raw.created UNION ALL SELECT id, at, v, 8 FROM raw.closed\n";
    place.write("trusted/t.sql", model(FRONT, wider));
    place.write("closed/1.csv", "id,at,v\n2,20,b\n");
    let report = place.run(&[]);
    assert!(notes(&report, "trusted.t").contains("rows made before stay as they are"), "{report}");
    let rows = place.rows("SELECT id, v, w FROM trusted.t ORDER BY id");
    assert_eq!(rows, vec![json!({"id": 1, "v": "a", "w": null}), json!({"id": 2, "v": "b", "w": 8})]);

    place.write("closed/2.csv", "id,at,v\n3,20,b\n");
    for (front, select, words) in [
        (
            FRONT.to_owned(),
            "SELECT id, at, v FROM raw.created UNION ALL SELECT id, at, v FROM raw.closed\n",
            "`w` is gone",
        ),
        (FRONT.replace("[at]", "[v]"), wider, "another `key` or `latest_by`"),
        (FRONT.replace("[id]", "[id, v]"), wider, "another `key` or `latest_by`"),
        (format!("{FRONT}partition_by: [v]\n"), wider, "`partition_by` changed"),
    ] {
        place.write("trusted/t.sql", model(&front, select));
        place.lagar(&["run"]).says(1, &["E3010", words, "--full-refresh"]);
    }
    place.run(&["--full-refresh", "-s", "trusted.t"]);
    assert_eq!(place.rows("SELECT id FROM trusted.t").len(), 3);
    // An append becomes a merge only from its beginning.
    let append = "materialize: append\nincremental: [raw.created, raw.closed]\n";
    let place = feeds(append, UNION);
    place.write("created/1.csv", "id,at,v\n1,10,a\n");
    place.run(&[]);
    place.write("created/2.csv", "id,at,v\n2,10,a\n");
    place.run(&[]);
    assert_eq!(content(&place, "trusted.t"), ["1 10 a", "2 10 a"], "two feeds are appended");
    place.write("trusted/t.sql", model(FRONT, UNION));
    place.lagar(&["run"]).says(1, &["E3010", "another `key` or `latest_by`"]);
}

#[test]
fn a_feed_that_is_new_or_made_again_is_read_whole() {
    let one = FRONT.replace("[raw.created, raw.closed]", "raw.created");
    let place = feeds(&one, "SELECT id, at, v FROM raw.created\n");
    place.write("created/1.csv", "id,at,v\n1,10,a\n2,10,a\n");
    place.write("closed/1.csv", "id,at,v\n2,20,b\n");
    place.run(&[]);
    place.write("trusted/t.sql", model(FRONT, UNION));
    let report = place.run(&[]);
    assert!(notes(&report, "trusted.t").contains("`raw.closed` is read whole"), "{report}");
    assert_eq!(content(&place, "trusted.t"), ["1 10 a", "2 20 b"]);
    fs::remove_dir_all(place.lake().join("raw/closed")).unwrap();
    let report = place.run(&[]);
    assert!(notes(&report, "trusted.t").contains("deleted and made again"), "{report}");
    assert_eq!(content(&place, "trusted.t"), ["1 10 a", "2 20 b"]);
}

#[test]
fn a_merge_follows_a_merge_by_its_changed_files() {
    let place = feeds(FRONT, UNION);
    let next = "materialize: merge\nkey: [id]\nlatest_by: [at]\nincremental: trusted.t\n";
    place.write("refined/u.sql", model(next, "SELECT id, at, v FROM trusted.t\n"));
    for part in 0..3 {
        place.write(&format!("created/{part}.csv"), format!("id,at,v\n{part}1,1,a\n{part}2,1,a\n"));
        place.run(&[]);
    }
    place.write("closed/1.csv", "id,at,v\n12,2,b\n");
    let report = place.run(&[]);
    assert_eq!(
        step(&report, "refined.u")["rows_in"],
        2,
        "the rows of the file that was written again: {report}"
    );
    assert_eq!(content(&place, "refined.u"), content(&place, "trusted.t"));
    // When the version that it used is gone, all is read, and said.
    fs::remove_dir_all(place.lake().join("trusted/t")).unwrap();
    place.run(&["--full-refresh", "-s", "trusted.t"]);
    let report = place.run(&[]);
    assert!(notes(&report, "refined.u").contains("is read whole"), "{report}");
    assert_eq!(content(&place, "refined.u"), content(&place, "trusted.t"));
}

#[test]
fn what_does_not_fit_is_found_before_anything_runs() {
    for (front, select, code, words) in [
        ("materialize: merge\n", UNION, 2, "needs `key`"),
        ("latest_by: at\n", UNION, 2, "`latest_by` needs `materialize: merge`"),
        ("materialize: merge\nkey: id\nlatest_by: [_loaded_at]\n", UNION, 2, "names the column `_loaded_at`"),
        ("materialize: merge\nkey: idd\n", UNION, 2, "did you mean `id`"),
        (
            "materialize: merge\nkey: id\nlatest_by: l\n",
            "SELECT id, at, v, [at] AS l FROM raw.created\n",
            2,
            "has no order",
        ),
        ("materialize: merge\nkey: id\nincremental: raw.open\n", UNION, 2, "does not read `raw.open`"),
        // A load may bring such a column: the run sees it when it comes to build.
        (
            "materialize: merge\nkey: id\nlatest_by: later\n",
            "SELECT * FROM raw.created\n",
            1,
            "names the column `later`",
        ),
        ("materialize: partition\n", UNION, 2, "needs `partition_by`"),
        ("incremental: raw.created\n", UNION, 2, "needs `materialize: append`, `merge` or `partition`"),
    ] {
        let place = feeds(FRONT, UNION);
        place.run(&["-s", "raw.*"]);
        place.write("trusted/t.sql", model(front, select));
        place.lagar(&["check"]).says(2, &[words]);
        place.lagar(&["run"]).says(code, &[words]);
    }
    let place =
        feeds(&FRONT.replace("[at]", "[at, _loaded_at]"), &UNION.replace("v FROM", "v, _loaded_at FROM"));
    place.write("created/1.csv", "id,at,v\n1,1,a\n");
    place.run(&[]);
    assert_eq!(
        place.rows("SELECT _loaded_at IS NOT NULL AS known FROM trusted.t"),
        vec![json!({"known": true})]
    );
}

#[test]
fn a_merge_that_was_overtaken_is_planned_again_or_stops_by_name() {
    let place = feeds(FRONT, UNION);
    place.write("created/1.csv", "id,at,v\n1,10,a\n");
    place.run(&[]);
    // A run that released nothing left a version: the next one goes on from what readers see.
    place.write("refined/fails.sql", "-- F.\n/*---\nchecks: [rows > 99]\n---*/\nSELECT id FROM trusted.t\n");
    place.write("closed/1.csv", "id,at,v\n1,20,b\n2,20,b\n");
    place.lagar(&["run"]).says(1, &["rows > 99"]);
    assert_eq!(content(&place, "trusted.t"), ["1 10 a"]);
    fs::remove_file(place.project.join("refined/fails.sql")).unwrap();
    place.write("closed/2.csv", "id,at,v\n2,30,c\n");
    let report = place.run(&[]);
    assert!(notes(&report, "trusted.t").contains("inserted 1, updated 1, unchanged 0"), "{report}");
    assert_eq!(content(&place, "trusted.t"), ["1 20 b", "2 30 c"]);
}

/// Another program puts a version on top of the newest one of `trusted.t`, with these actions; its entry.
fn put_theirs(place: &Place, actions: &[Value]) -> PathBuf {
    let next = log(place, "trusted/t").len();
    let entry = place.lake().join(format!("trusted/t/_delta_log/{next:020}.json"));
    let info = json!({"commitInfo": {"timestamp": 0, "operation": "WRITE", "engineInfo": "theirs/1.0"}});
    let lines: Vec<String> = [&info].into_iter().chain(actions).map(|action| format!("{action}\n")).collect();
    fs::write(&entry, lines.concat()).unwrap();
    entry
}

/// The same with a row of theirs, in a file of theirs.
fn put_their_row(place: &Place) -> PathBuf {
    let other = feeds(FRONT, UNION);
    other.write("created/1.csv", "id,at,v\n9,99,theirs\n");
    other.run(&[]);
    let made = actions(&log(&other, "trusted/t")[0]);
    let add = made.iter().map(|action| &action["add"]).find(|add| add.is_object()).unwrap();
    let table = other.lake().join("trusted/t");
    fs::copy(table.join(add["path"].as_str().unwrap()), place.lake().join("trusted/t/theirs.parquet"))
        .unwrap();
    let theirs = json!({"add": {
        "path": "theirs.parquet", "partitionValues": {}, "size": add["size"], "modificationTime": 0,
        "dataChange": true, "stats": add["stats"],
    }});
    put_theirs(place, &[theirs])
}

/// Every file of `trusted.t`.
fn everything(place: &Place) -> BTreeMap<String, Vec<u8>> {
    let mut files = place.lake_files();
    files.retain(|name, _| name.starts_with("trusted/t/"));
    files
}

/// A run would go on from what is released, and take the rows of the other program out of the newest version.
#[test]
fn rows_of_another_program_are_not_built_over() {
    let append = "materialize: append\nincremental: [raw.created, raw.closed]\n";
    for front in [FRONT, append] {
        let place = feeds(front, UNION);
        place.write("created/1.csv", "id,at,v\n1,10,a\n");
        place.run(&[]);
        put_their_row(&place);
        let there = everything(&place);
        place.write("closed/1.csv", "id,at,v\n2,20,b\n");
        for _ in 0..2 {
            place.lagar(&["run"]).says(
                1,
                &["E3008", "version 1 of `trusted.t` was written by another program", "--full-refresh"],
            );
            assert_eq!(everything(&place), there, "{front}");
            assert_eq!(content(&place, "trusted.t"), ["1 10 a"], "the release is what it was");
        }
        // Whoever asks for it gets the table from its inputs alone.
        place.run(&["--full-refresh", "-s", "trusted.t"]);
        assert_eq!(content(&place, "trusted.t"), ["1 10 a", "2 20 b"]);
        assert!(!files(&place, "trusted/t").contains("theirs.parquet"));
        assert_eq!(step(&place.run(&[]), "trusted.t")["status"], "nothing_new");
    }
}

/// Others note in the log that they vacuumed, or set a property.
#[test]
fn an_entry_of_another_program_without_rows_is_built_upon() {
    let place = feeds(FRONT, UNION);
    place.write("created/1.csv", "id,at,v\n1,10,a\n");
    place.run(&[]);
    let theirs = put_theirs(&place, &[]);
    assert_eq!(step(&place.run(&[]), "trusted.t")["status"], "nothing_new");
    place.write("closed/1.csv", "id,at,v\n1,20,b\n2,20,b\n");
    let report = place.run(&[]);
    assert!(notes(&report, "trusted.t").contains("inserted 1, updated 1, unchanged 0"), "{report}");
    assert_eq!(content(&place, "trusted.t"), ["1 20 b", "2 20 b"]);
    assert_eq!(log(&place, "trusted/t")[1], theirs);
}

/// The step is tried again after it lost the race, and must not build over the winner then.
#[test]
fn rows_that_another_program_puts_during_a_merge_stay() {
    let place = feeds(FRONT, UNION);
    place.write("created/1.csv", "id,at,v\n1,10,a\n");
    place.run(&[]);
    place.write("closed/1.csv", "id,at,v\n1,20,b\n");
    let run = Running::at(&place, KillPoint::ModelChecked, "stop");
    run.until_stopped();
    let theirs = put_their_row(&place);
    let entry = fs::read(&theirs).unwrap();
    run.signal("CONT");
    run.end().says(
        1,
        &[
            "another writer was first: trusted.t has version 1, and this run started from version 0",
            "E3008",
            "version 1 of `trusted.t` was written by another program",
        ],
    );
    assert_eq!(log(&place, "trusted/t").last(), Some(&theirs), "it is the newest");
    assert_eq!(fs::read(&theirs).unwrap(), entry);
    assert!(files(&place, "trusted/t").contains("theirs.parquet"));
    assert_eq!(content(&place, "trusted.t"), ["1 10 a"], "the release is what it was");
}

/// Old rows and inserted ones are the rows afterwards. Here the log says of the old ones that there is one more
/// or one less than there is, or has all of them twice: as if the merge had lost a row, or written it twice.
#[test]
fn a_merge_that_loses_or_doubles_a_row_is_not_committed() {
    for (change, why) in [
        ("3", "`trusted.t` was not merged: 3 rows and 1 new ones became 3"),
        ("1", "`trusted.t` was not merged: 1 rows and 1 new ones became 3"),
        ("twice", "`trusted.t` was not merged: 4 rows and 0 new ones became 3"),
    ] {
        let place = feeds(FRONT, UNION);
        place.write("created/1.csv", "id,at,v\n1,10,a\n2,10,a\n");
        place.run(&[]);
        let entry = log(&place, "trusted/t").pop().unwrap();
        // Without its seal it is taken as it is, like that of an older Lagar.
        let mut text = fs::read_to_string(&entry).unwrap().replace("lagar_seal", "unsealed");
        if change == "twice" {
            let add = actions(&entry).into_iter().find(|action| action["add"].is_object()).unwrap();
            let path = add["add"]["path"].as_str().unwrap();
            let table = place.lake().join("trusted/t");
            fs::copy(table.join(path), table.join("twice.parquet")).unwrap();
            text.push_str(&add.to_string().replace(path, "twice.parquet"));
        } else {
            let rows = |rows: &str| format!(r#"\"numRecords\":{rows}"#);
            assert!(text.contains(&rows("2")), "{text}");
            text = text.replace(&rows("2"), &rows(change));
        }
        fs::write(&entry, text).unwrap();
        let there = files(&place, "trusted/t");
        place.write("closed/1.csv", "id,at,v\n1,20,b\n3,20,b\n");
        place.lagar(&["run"]).says(70, &["E9001", why]);
        assert_eq!(log(&place, "trusted/t"), [entry], "no other version");
        assert_eq!(files(&place, "trusted/t"), there);
    }
}

#[test]
fn every_type_is_merged_and_others_read_the_table() {
    let types = "SELECT id, at, v, CAST(id AS DOUBLE) / 3 AS d, CAST(at AS DECIMAL(10, 2)) AS price, at > 15 AS late, \
         CAST('2024-01-01' AS DATE) AS day, CAST('2024-01-01T00:00:00' AS TIMESTAMP) AS moment, \
         [at, at + 1] AS list, named_struct('a', id, 'b', v) AS pair, arrow_cast(v, 'Utf8View') AS view, \
         CAST(NULL AS TEXT) AS nothing";
    let select = format!("{types} FROM raw.created UNION ALL {types} FROM raw.closed\n");
    let place = feeds(&format!("{FRONT}partition_by: [late]\n"), &select);
    let rows =
        |from: u32, at: u32| (from..from + 50).map(|id| format!("{id},{at},v{id}\n")).collect::<String>();
    place.write("created/1.csv", format!("id,at,v\n{}", rows(0, 10)));
    place.run(&[]);
    // Keys move to another partition, and some rows come as they are.
    place.write("closed/1.csv", format!("id,at,v\n{}{}", rows(25, 20), rows(75, 10)));
    place.write("closed/2.csv", "id,at,v\n1,10,v1\n2,10,v2\n");
    let report = place.run(&[]);
    assert!(notes(&report, "trusted.t").contains("inserted 75, updated 25, unchanged 2"), "{report}");
    let ours =
        &place.rows("SELECT count(*) AS rows, sum(at) AS total, count(DISTINCT id) AS ids FROM trusted.t")[0];
    assert_eq!(*ours, json!({"rows": 125, "total": 75 * 10 + 50 * 20, "ids": 125}));
    let list = place.rows("SELECT list[2] AS l, pair['b'] AS b FROM trusted.t WHERE id = 30");
    assert_eq!(list, vec![json!({"l": 21, "b": "v30"})]);
    let Some(python) = python() else {
        println!("skipped: LAGAR_TEST_PYTHON is not set");
        return;
    };
    let read = Command::new(python)
        .arg(root().join("tests/readers.py"))
        .arg(place.lake().join("trusted/t"))
        .arg("at")
        .output()
        .unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let text = String::from_utf8(read.stdout).unwrap();
    let seen: BTreeMap<String, (Value, Value)> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| (line["reader"].to_string(), (line["rows"].clone(), line["total"].clone())))
        .collect();
    assert_eq!(seen.len(), 4, "{text}");
    assert!(seen.values().all(|seen| *seen == (json!(125), json!(1750.0))), "{text}");
}
