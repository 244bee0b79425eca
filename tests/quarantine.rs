//! `lagar quarantine retry`: rejected rows move once, and none is lost on the way.

use lagar_flow::KillPoint;
use lagar_testing::Battery;
use serde_json::{Value, json};

use crate::support::{
    Place,
    running::{Running, passed},
    soda::Soda,
    step,
};

fn count(place: &Place, table: &str) -> u64 {
    place.rows(&format!("SELECT count(*) AS n FROM {table}"))[0]["n"].as_u64().unwrap()
}

fn retry(place: &Place, tables: &[&str]) -> Value {
    let done = place.lagar(&[&["quarantine", "retry", "--json"], tables].concat());
    assert_eq!(done.code, 0, "{}", done.stderr);
    done.json()
}

/// In, out and rejected of a step: nothing may come from nowhere, or go there.
fn counts(report: &Value, name: &str) -> (u64, u64, u64) {
    let of = |key: &str| step(report, name)[key].as_u64().unwrap();
    (of("rows_in"), of("rows_out"), of("rows_rejected"))
}

fn notes(report: &Value, name: &str) -> String {
    step(report, name)["notes"].to_string()
}

fn orders(format: &str, price: &str) -> String {
    format!(
        "name: q\nsources:\n  orders: {{type: file, url: 'in/*', format: {format}, max_rejected: 100, columns: {{id: int, price: {price}}}}}\n"
    )
}

/// Rows 2, 3 and 5 of the first file are rejected as doubles, row 1 of the second.
fn files(format: &str) -> [String; 2] {
    let rows = [
        vec![("1", "1.5"), ("2", "n/a"), ("3", "2,50"), ("4", "4"), ("5", "")],
        vec![("6", "7 EUR"), ("7", "8")],
    ];
    rows.map(|rows| {
        let objects = rows.iter().map(|(id, price)| format!("{{\"id\": {id}, \"price\": \"{price}\"}}"));
        match format {
            "csv" => rows.iter().map(|(id, price)| format!("{id},\"{price}\"\n")).collect::<String>(),
            "ndjson" => objects.map(|object| object + "\n").collect(),
            _ => format!("[{}]", objects.collect::<Vec<_>>().join(",\n")),
        }
    })
}

const TABLE: &str = "-- Orders.\n/*---\nmaterialize: append\nincremental: raw.orders\n---*/\n\
                     SELECT id, CAST(price AS VARCHAR) AS price FROM raw.orders\n";

#[test]
fn rows_of_a_source_move_once_when_its_types_change() {
    let mut battery = Battery::new("D6");
    for format in ["csv", "ndjson", "json"] {
        battery.case(format, || {
            let place =
                Place::project(&[("lagar.yaml", &orders(format, "double")), ("trusted/t.sql", TABLE)]);
            let header = if format == "csv" { "id,price\n" } else { "" };
            let [first, second] = files(format);
            place.write("in/1", format!("{header}{first}"));
            place.run(&[]);
            place.write("in/2", format!("{header}{second}"));
            place.run(&[]);
            let rejected = count(&place, "quarantine.orders");
            let (kept, in_table) = (count(&place, "raw.orders"), count(&place, "trusted.t"));
            assert_eq!((kept + rejected, in_table), (7, kept), "{format}");
            // An empty field is null in CSV, and no number in JSON.
            assert_eq!(rejected, if format == "csv" { 3 } else { 4 });

            // With the rule of before nothing moves, and nothing is made.
            let before = place.lake_files();
            let report = retry(&place, &["orders"]);
            assert_eq!(counts(&report, "raw.orders"), (rejected, 0, rejected), "{report}");
            assert_eq!(report["status"], "nothing_new");
            assert_eq!(place.lake_files(), before);

            // The source is not asked: what it has now is not what was rejected.
            let gone = place.project.join("gone");
            std::fs::rename(place.project.join("in"), &gone).unwrap();
            place.write("lagar.yaml", orders(format, "text"));
            let report = retry(&place, &["quarantine.orders"]);
            assert_eq!(counts(&report, "raw.orders"), (rejected, rejected, 0), "{report}");
            // Who knows nothing of such a load would take its files whole.
            let number = step(&report, "raw.orders")["version"].as_u64().unwrap();
            let newest = place.lake().join(format!("raw/orders/_loads/{number:020}.json"));
            let manifest: Value = serde_json::from_slice(&std::fs::read(newest).unwrap()).unwrap();
            assert_eq!(manifest["format_version"], 2);
            for table in ["raw.orders", "trusted.t"] {
                let rows = place.rows(&format!("SELECT id, price FROM {table} ORDER BY id"));
                let ids: Vec<u64> = rows.iter().map(|row| row["id"].as_u64().unwrap()).collect();
                assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7], "{table}, {format}");
                assert_eq!(rows[2]["price"], "2,50", "as it was written: {table}, {format}");
            }
            assert_eq!(count(&place, "quarantine.orders"), 0);
            // Once.
            let report = retry(&place, &[]);
            assert_eq!(report["status"], "nothing_new", "{report}");
            // Nothing is read again because of the new type: all that is there fits it.
            std::fs::rename(gone, place.project.join("in")).unwrap();
            let report = place.run(&[]);
            assert_eq!(report["status"], "nothing_new", "{report}");
            assert_eq!((count(&place, "trusted.t"), count(&place, "quarantine.orders")), (7, 0));
        });
    }
}

#[test]
fn what_still_does_not_fit_stays_and_other_policies_take_it() {
    let mut battery = Battery::new("D6");
    battery.case("some of them", || {
        let place = Place::project(&[("lagar.yaml", &orders("csv", "int")), ("trusted/t.sql", TABLE)]);
        place.write("in/1", "id,price\n1,1.5\n2,x\n3,3\n");
        place.run(&[]);
        assert_eq!(count(&place, "quarantine.orders"), 2);
        place.write("lagar.yaml", orders("csv", "double"));
        let report = retry(&place, &[]);
        assert_eq!(counts(&report, "raw.orders"), (2, 1, 1), "{report}");
        assert!(notes(&report, "raw.orders").contains("1 row still does not fit"), "{report}");
        assert_eq!((count(&place, "raw.orders"), count(&place, "trusted.t")), (2, 2));
        let rest = place.rows("SELECT _row, _column FROM quarantine.orders");
        assert_eq!(rest, vec![json!({"_row": 2, "_column": "price"})]);
        // A policy that leaves values out takes the rest.
        place.write(
            "lagar.yaml",
            orders("csv", "double").replace("max_rejected", "schema: discard_value, max_rejected"),
        );
        let report = retry(&place, &["orders"]);
        assert_eq!(counts(&report, "raw.orders"), (1, 1, 0), "{report}");
        let rows = place.rows("SELECT id, price FROM raw.orders ORDER BY id");
        assert_eq!(rows[1], json!({"id": 2, "price": null}));
    });
    battery.case("a frozen source", || {
        let place = Place::project(&[("lagar.yaml", &orders("csv", "int")), ("trusted/t.sql", TABLE)]);
        place.write("in/1", "id,price\n1,1\n2,x\n");
        place.run(&[]);
        let frozen = orders("csv", "text").replace("max_rejected", "schema: freeze, max_rejected");
        place.write("lagar.yaml", frozen);
        let report = retry(&place, &["orders"]);
        // The asked type is the contract: it is no drift.
        assert_eq!(counts(&report, "raw.orders"), (1, 1, 0), "{report}");
    });
    battery.case("names", || {
        let place = Place::project(&[("lagar.yaml", &orders("csv", "int")), ("trusted/t.sql", TABLE)]);
        place.write("in/1", "id,price\n1,1\n");
        place.run(&[]);
        place
            .lagar(&["quarantine", "retry", "raw.order"])
            .says(1, &["raw.order", "did you mean `raw.orders`?"]);
        let report = retry(&place, &["refused.trusted.t"]);
        assert_eq!(report["status"], "nothing_new", "{report}");
    });
}

/// A load that comes later is newer, also when older rows leave the quarantine after it.
#[test]
fn a_row_that_was_in_quarantine_is_no_newer_for_it() {
    let mut battery = Battery::new("D6");
    for latest in ["", "latest_by: [at]\n", "latest_by: [_load]\n"] {
        battery.case(latest, || {
            let yaml = |v: &str| {
                format!("name: q\nsources:\n  s: {{type: file, url: 'in/*.csv', max_rejected: 100, columns: {{id: int, at: int, v: {v}}}}}\n")
            };
            let model = format!(
                "-- Newest.\n/*---\nmaterialize: merge\nkey: [id]\n{latest}incremental: raw.s\n---*/\n\
                 SELECT id, at, CAST(v AS VARCHAR) AS v, _load FROM raw.s\n"
            );
            let place = Place::project(&[("lagar.yaml", &yaml("int")), ("trusted/t.sql", &model)]);
            place.write("in/1.csv", "id,at,v\n1,10,old\n2,10,only\n3,10,30\n");
            place.run(&[]);
            place.write("in/2.csv", "id,at,v\n1,20,11\n3,20,new\n");
            place.run(&[]);
            place.write("in/3.csv", "id,at,v\n4,30,40\n");
            place.run(&[]);
            place.write("lagar.yaml", yaml("text"));
            let report = retry(&place, &["s"]);
            assert!(notes(&report, "trusted.t").contains("rows came out of its quarantine"), "{report}");
            let rows = place.rows("SELECT id, v FROM trusted.t ORDER BY id");
            let all: Vec<_> = rows.iter().map(|row| row["v"].as_str().unwrap()).collect();
            assert_eq!(all, ["11", "only", "new", "40"], "{latest}");
        });
    }
}

#[test]
fn rows_of_a_window_go_with_it_when_it_is_read_anew() {
    let mut battery = Battery::new("D6");
    battery.case("window", || {
        let row = |key: &str, zip: &str| {
            let row = json!({"unique_key": key, "created_date": "2020-01-01T12:00:00.000", "zip": zip});
            row.as_object().unwrap().clone()
        };
        let soda = Soda::start([row("1", "11235"), row("2", "N/A")]);
        let yaml = |zip: &str| {
            format!(
                "name: q\nsources:\n  c:\n    type: rest\n    url: {}/resource/x.json\n    max_rejected: 10\n    columns: {{zip: {zip}}}\n    window: {{size: 1d, from: 2020-01-01, to: 2020-01-02, params: {{$where: \"created_date between '{{from}}' and '{{to}}'\", $order: \":id\", $limit: \"100\"}}}}\n",
                soda.url
            )
        };
        let place = Place::project(&[("lagar.yaml", &yaml("int"))]);
        place.run(&[]);
        assert_eq!((count(&place, "raw.c"), count(&place, "quarantine.c")), (1, 1));
        place.write("lagar.yaml", yaml("text"));
        let report = retry(&place, &["c"]);
        assert_eq!(counts(&report, "raw.c"), (1, 1, 0), "{report}");
        assert_eq!((count(&place, "raw.c WHERE _newest"), count(&place, "quarantine.c")), (2, 0));
        // The window is known to be read.
        let report = place.run(&[]);
        assert_eq!(report["status"], "nothing_new", "{report}");
        // Read anew, it has all its rows once.
        soda.change(|row| row["zip"] = json!("10001"));
        let again = place.lagar(&["backfill", "c", "--from", "2020-01-01", "--to", "2020-01-01", "--force"]);
        assert_eq!(again.code, 0, "{}", again.stderr);
        let rows = place.rows("SELECT unique_key AS k, zip FROM raw.c WHERE _newest ORDER BY k");
        assert_eq!(rows, vec![json!({"k": "1", "zip": "10001"}), json!({"k": "2", "zip": "10001"})]);
    });
}

/// What the files of a load say of a new column is put together before it is seen which rows fit it.
#[test]
fn files_with_other_types_are_taken_one_after_the_other() {
    let mut battery = Battery::new("D6");
    battery.case("int, then text", || {
        let yaml = |policy: &str| {
            format!("name: q\nsources:\n  s: {{type: file, url: 'in/*.ndjson', schema: {policy}, max_rejected: 9}}\n")
        };
        let place = Place::project(&[("lagar.yaml", &yaml("discard_row"))]);
        place.write("in/a.ndjson", "{\"id\": 1}\n");
        place.run(&[]);
        place.write("in/b.ndjson", "{\"id\": 2}\n{\"id\": 3, \"x\": 1}\n");
        place.write("in/c.ndjson", "{\"id\": 4}\n{\"id\": 5, \"x\": \"abc\"}\n");
        place.run(&[]);
        assert_eq!((count(&place, "raw.s"), count(&place, "quarantine.s")), (3, 2));
        place.write("lagar.yaml", yaml("evolve"));
        let report = retry(&place, &["s"]);
        assert_eq!(counts(&report, "raw.s"), (2, 1, 1), "{report}");
        let rows = place.rows("SELECT id, x FROM raw.s WHERE x IS NOT NULL");
        assert_eq!(rows, vec![json!({"id": 3, "x": 1})]);
        assert_eq!(count(&place, "quarantine.s"), 1);
    });
}

/// A file that is replaced takes the rows along that came out of its quarantine.
#[test]
fn rows_of_a_file_go_with_it_when_it_changes() {
    let mut battery = Battery::new("D6");
    battery.case("file", || {
        let place = Place::project(&[("lagar.yaml", &orders("csv", "int"))]);
        place.write("in/1", "id,price\n1,1\n2,x\n");
        place.run(&[]);
        place.write("lagar.yaml", orders("csv", "text"));
        retry(&place, &["orders"]);
        assert_eq!(count(&place, "raw.orders WHERE _newest"), 2);
        place.write("in/1", "id,price\n1,1\n2,x\n3,y\n");
        place.run(&[]);
        assert_eq!(count(&place, "raw.orders WHERE _newest"), 3);
    });
    battery.case("a database", || {
        let place = Place::project(&[(
            "lagar.yaml",
            "name: q\nsources:\n  d: {type: sql, url: 'sqlite:shop.db', table: t, max_rejected: 10, columns: {price: int}}\n",
        )]);
        let made = std::process::Command::new("python3")
            .args(["-c", "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('create table t (id integer primary key, price)'); c.executemany('insert into t values (?, ?)', [(1, 1), (2, 'x')]); c.commit()"])
            .arg(place.project.join("shop.db"))
            .status()
            .unwrap();
        assert!(made.success());
        place.run(&[]);
        assert_eq!(count(&place, "quarantine.d"), 1);
        let report = retry(&place, &["d"]);
        assert!(notes(&report, "raw.d").contains("--full-refresh"), "{report}");
        assert_eq!(count(&place, "quarantine.d"), 1);
    });
}

const SOURCE: &str =
    "name: q\nsources:\n  s: {type: file, url: 'in/*.csv', columns: {id: int, day: text, v: int}}\n";

fn checked(front: &str, limit: u64) -> String {
    format!(
        "-- Rows.\n/*---\n{front}checks:\n  - {{name: sane, sql: v < {limit}, severity: drop}}\n---*/\n\
         SELECT id, day, v FROM raw.s\n"
    )
}

/// What a check left out moves once when the check changes, whatever the table is made by; the sum of both is
/// always all.
#[test]
fn rows_that_a_check_left_out_move_once_when_it_changes() {
    let mut battery = Battery::new("D6");
    let ways = [
        ("append", "materialize: append\nincremental: raw.s\n"),
        ("append, partitioned", "materialize: append\nincremental: raw.s\npartition_by: [day]\n"),
        ("merge", "materialize: merge\nkey: [id]\nlatest_by: [v]\nincremental: raw.s\n"),
        ("partition", "materialize: partition\npartition_by: [day]\nincremental: raw.s\n"),
        ("replace", ""),
    ];
    for (name, front) in ways {
        battery.case(name, || {
            let place = Place::project(&[("lagar.yaml", SOURCE), ("trusted/t.sql", &checked(front, 100))]);
            let sum = |rows: u64, refused: u64| {
                let found = (count(&place, "trusted.t"), count(&place, "refused.trusted.t"));
                assert_eq!(found, (rows, refused), "{name}");
            };
            place.write("in/1.csv", "id,day,v\n1,a,10\n2,a,150\n3,b,900\n");
            place.run(&[]);
            sum(1, 2);
            place.write("in/2.csv", "id,day,v\n4,b,20\n5,c,160\n");
            place.run(&[]);
            sum(2, 3);
            place.write("in/3.csv", "id,day,v\n6,c,30\n");
            place.run(&[]);
            sum(3, 3);

            // Nothing changed: they are looked at, and stay.
            retry(&place, &["trusted.t"]);
            sum(3, 3);
            let is_made_whole = name == "replace";
            place.write("trusted/t.sql", checked(front, 200));
            if !is_made_whole {
                place.run(&[]);
                sum(3, 3);
            }
            let report = retry(&place, &["trusted.t"]);
            sum(5, 1);
            assert!(report["release"].is_u64(), "{report}");
            retry(&place, &["trusted.t"]);
            sum(5, 1);
            let ids = place.rows("SELECT id FROM trusted.t ORDER BY id");
            let ids: Vec<u64> = ids.iter().map(|row| row["id"].as_u64().unwrap()).collect();
            assert_eq!(ids, [1, 2, 4, 5, 6], "{name}");

            // What readers saw is what they see after a rollback, in both.
            let release = report["release"].as_u64().unwrap() - 1;
            let back = place.lagar(&["releases", "rollback", &release.to_string()]);
            assert_eq!(back.code, 0, "{}", back.stderr);
            sum(3, 3);
        });
    }
}

/// A partition of which every row is left out is empty, whichever way it was found.
#[test]
fn a_partition_whose_rows_are_all_left_out_is_empty() {
    let mut battery = Battery::new("D6");
    for incremental in ["", "incremental: raw.s\n"] {
        battery.case(incremental, || {
            let front = format!("materialize: partition\npartition_by: [day]\n{incremental}");
            let newest = checked(&front, 100)
                .replace("raw.s\n", "raw.s WHERE _newest\n")
                .replace("incremental: raw.s WHERE _newest", "incremental: raw.s");
            let place = Place::project(&[("lagar.yaml", SOURCE), ("trusted/t.sql", &newest)]);
            place.write("in/1.csv", "id,day,v\n1,a,10\n2,b,10\n");
            place.run(&[]);
            place.write("in/1.csv", "id,day,v\n1,a,150\n2,b,20\n");
            place.run(&[]);
            assert_eq!(
                place.rows("SELECT id, v FROM trusted.t"),
                vec![json!({"id": 2, "v": 20})],
                "{incremental}"
            );
            assert_eq!(count(&place, "refused.trusted.t"), 1);
        });
    }
}

/// Many small versions of what is left out become few files, and none of the rows is lost.
#[test]
fn what_is_left_out_is_put_together() {
    let mut battery = Battery::new("D6");
    battery.case("34 runs", || {
        let front = "materialize: append\nincremental: raw.s\n";
        let place = Place::project(&[("lagar.yaml", SOURCE), ("trusted/t.sql", &checked(front, 100))]);
        for n in 0..34 {
            place.write(&format!("in/{n}.csv"), format!("id,day,v\n{n},a,500\n"));
            place.run(&[]);
        }
        assert_eq!(count(&place, "refused.trusted.t"), 34);
        let log = place.lake().join("trusted/t/_delta_log/00000000000000000033.json");
        let entry = std::fs::read_to_string(log).unwrap();
        let info: Value = serde_json::from_str(entry.lines().next().unwrap()).unwrap();
        let files = info["commitInfo"].to_string().matches(".parquet").count();
        assert!((1..=32).contains(&files), "{files} files are named");
        place.write("trusted/t.sql", checked(front, 1000));
        retry(&place, &[]);
        assert_eq!(count(&place, "trusted.t"), 34);
    });
}

/// Killed at each point of a retry, the same command again moves what is left, once.
#[test]
fn killed_at_each_point_a_retry_moves_rows_once() {
    let mut battery = Battery::new("D6");
    for point in [
        KillPoint::LoadCommitted,
        KillPoint::ModelStaged,
        KillPoint::ModelChecked,
        KillPoint::TableCommitted,
        KillPoint::ReleaseDue,
        KillPoint::ReleasePut,
    ] {
        battery.case(point.name(), || {
            let model = "-- Orders.\n/*---\nmaterialize: append\nincremental: raw.orders\nchecks:\n  - {name: sane, sql: id < LIMIT, severity: drop}\n---*/\n\
                         SELECT id, CAST(price AS VARCHAR) AS price FROM raw.orders\n";
            let place = Place::project(&[
                ("lagar.yaml", &orders("csv", "int")),
                ("trusted/t.sql", &model.replace("LIMIT", "3")),
            ]);
            place.write("in/1", "id,price\n1,1\n2,x\n3,3\n4,y\n");
            place.run(&[]);
            place.write("lagar.yaml", orders("csv", "text"));
            place.write("trusted/t.sql", model.replace("LIMIT", "9"));
            let plan = format!("{}:kill", point.name());
            let mut command = place.command(&["quarantine", "retry"]);
            let mut killed = Running::start(command.env("LAGAR_KILL_POINT", plan));
            killed.until(&passed(point));
            killed.end();
            retry(&place, &[]);
            // What was committed and not released is so now.
            place.run(&[]);
            for table in ["raw.orders", "trusted.t"] {
                let rows = place.rows(&format!("SELECT id FROM {table} ORDER BY id"));
                let ids: Vec<u64> = rows.iter().map(|row| row["id"].as_u64().unwrap()).collect();
                assert_eq!(ids, [1, 2, 3, 4], "{table} after {}", point.name());
            }
            assert_eq!(count(&place, "quarantine.orders"), 0);
        });
    }
}
