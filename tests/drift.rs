//! Columns that change, as a user sees them: the lines of a run, `system.events`, `show`, and the files
//! that others read.

use std::{collections::BTreeSet, process::Command};

use lagar_testing::Battery;
use serde_json::json;

use crate::support::{Place, python, root, step};

const PROJECT: &str = "\
name: drift
sources:
  days: {type: file, url: 'days/*.ndjson'}
  kept: {type: file, url: kept.csv, schema: discard_value}
  still: {type: file, url: still.csv, schema: freeze}
";

/// D1: a run tells its drift on stderr, in its report, in SQL and in `show`.
#[test]
fn drift_is_told_where_a_user_looks() {
    let mut battery = Battery::new("D1");
    let place = Place::project(&[
        ("lagar.yaml", PROJECT),
        ("days/1.ndjson", "{\"id\":1,\"n\":1}\n"),
        ("kept.csv", "id,n\n1,1\n"),
        ("still.csv", "id,n\n1,1\n"),
    ]);
    place.run(&[]);
    place.write("days/2.ndjson", "{\"id\":2,\"n\":1.5,\"new\":true}\n");
    place.write("kept.csv", "id,n,more\n1,one,1\n2,2,\n");
    place.write("still.csv", "id,N\n1,1\n");
    let done = place.lagar(&["run", "--json"]);
    battery.case("stderr", || {
        done.says(
            1,
            &[
                "raw.days: `n` widened from int to double",
                "raw.days: `new` (bool) is new",
                "raw.kept: `more` (int) is new and left out, with 1 value",
                "raw.kept: `n` (int, now text): 1 value that does not fit is left out",
                "raw.still: `N` (int) is new",
                "the columns of `still` changed, and its `schema` is `freeze`: `N` (int) is new; `n` (int) is missing",
                "`n` and `N` are different names: case counts",
                "[E2104]",
            ],
        );
    });
    let report = done.json();
    battery.case("report", || {
        let days = step(&report, "raw.days");
        let kinds: Vec<_> = days["events"].as_array().unwrap().iter().map(|event| &event["kind"]).collect();
        assert_eq!(kinds, ["type_widened", "column_new"]);
        assert_eq!(step(&report, "raw.still")["error"]["code"], "E2104");
    });
    battery.case("system.events", || {
        let sql = "SELECT table_name, kind, column_name, before, after, count FROM system.events
                   WHERE table_name = 'raw.kept' ORDER BY column_name";
        assert_eq!(
            json!(place.rows(sql)),
            json!([
                {"table_name": "raw.kept", "kind": "column_ignored", "column_name": "more", "before": null, "after": "int", "count": 1},
                {"table_name": "raw.kept", "kind": "value_discarded", "column_name": "n", "before": "int", "after": "text", "count": 1},
            ])
        );
        assert_eq!(json!(place.rows("SELECT id, n FROM raw.kept WHERE _newest ORDER BY id")), json!([{"id": 1, "n": null}, {"id": 2, "n": 2}]));
    });
    for name in ["kept", "raw.kept"] {
        let shown = place.lagar(&["show", name]);
        battery.case(&format!("show {name}"), || {
            shown.says(0, &[]);
            for part in ["value_discarded", "`more` (int) is new and left out, with 1 value"] {
                assert!(shown.stdout.contains(part), "{part}: {}", shown.stdout);
            }
        });
    }
    // Every policy is one that `check` takes, and a history that is lost has the events again.
    let events = place
        .rows("SELECT * FROM system.events WHERE table_name <> 'raw.still' ORDER BY table_name, column_name");
    std::fs::remove_file(place.project.join(".lagar/history.db")).unwrap();
    battery.case("rebuilt", || {
        assert_eq!(place.rows("SELECT * FROM system.events ORDER BY table_name, column_name"), events);
    });
    battery.case("check", || {
        place.write("lagar.yaml", PROJECT.replace("freeze", "discard_row"));
        place.lagar(&["check"]).says(0, &[]);
        place.write("lagar.yaml", PROJECT.replace("freeze", "forbid"));
        place.lagar(&["check"]).says(2, &["`sources.still.schema` cannot be `forbid`"]);
        let schema = place.lagar(&["config", "schema"]).stdout;
        for policy in ["evolve", "freeze", "discard_row", "discard_value"] {
            assert!(schema.contains(&format!("\"{policy}\"")), "{policy}");
        }
    });
}

/// A model per column list, so that a day that lacks a column changes nothing in the table.
const APPENDED: &str = "\
/*---
materialize: append
incremental: raw.days
---*/
SELECT id, borough, amount, location FROM raw.days";
const REPLACED: &str = "SELECT id, borough, amount, location FROM raw.days WHERE _newest";

/// D1: whatever a day lacks, every file of a table has the same columns of the same types.
#[test]
fn every_file_of_a_table_has_the_same_columns() {
    let Some(python) = python() else {
        println!("skipped: LAGAR_TEST_PYTHON is not set");
        return;
    };
    let mut battery = Battery::new("D1");
    let days = [
        "{\"id\":1,\"borough\":\"BRONX\",\"amount\":1.5,\"location\":{\"lat\":1.5,\"lon\":2.5}}\n",
        "{\"id\":2,\"amount\":2}\n",
        "{\"id\":3,\"borough\":null,\"location\":{\"lat\":3}}\n",
        "{\"id\":4}\n",
        "{\"location\":{\"lon\":5.5},\"id\":5,\"borough\":\"QUEENS\"}\n",
    ];
    let project = "name: days\nsources:\n  days: {type: file, url: 'days/*.ndjson'}\n";
    let place = Place::project(&[
        ("lagar.yaml", project),
        ("trusted/appended.sql", APPENDED),
        ("trusted/replaced.sql", REPLACED),
    ]);
    for (number, day) in days.iter().enumerate() {
        place.write(&format!("days/{number}.ndjson"), day);
        place.run(&[]);
    }
    for (table, files) in [("appended", days.len()), ("replaced", 1)] {
        // Also the files of older versions, which lie there still.
        let output = Command::new(&python)
            .arg(root().join("tests/schemas.py"))
            .arg(place.lake().join("trusted").join(table))
            .output()
            .unwrap();
        battery.case(table, || {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let text = String::from_utf8(output.stdout).unwrap();
            let schemas: BTreeSet<&str> = text.lines().collect();
            assert!(text.lines().count() >= files, "{text}");
            assert_eq!(schemas.len(), 1, "{text}");
            let wanted =
                "id: int64, borough: string, amount: double, location: struct<lat: double, lon: double>";
            assert_eq!(schemas.first(), Some(&wanted));
        });
    }
    battery.case("rows", || {
        let rows = place.rows("SELECT id, borough, amount FROM trusted.appended ORDER BY id");
        assert_eq!(
            json!(rows),
            json!([
                {"id": 1, "borough": "BRONX", "amount": 1.5},
                {"id": 2, "borough": null, "amount": 2.0},
                {"id": 3, "borough": null, "amount": null},
                {"id": 4, "borough": null, "amount": null},
                {"id": 5, "borough": "QUEENS", "amount": null},
            ])
        );
    });
}
