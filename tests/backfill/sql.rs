//! Tables of a database that are read by windows.

use std::{collections::BTreeSet, process::Command};

use chrono::{Days, Utc};
use lagar_testing::Battery;
use serde_json::{Value, json};

use super::{count, day, loads, same, sixty_days};
use crate::{
    merges::notes,
    support::{Done, Place, running::Running, step},
};

/// What `statement` does or says in the database of [`desk`], asked with another program than Lagar.
fn sqlite(place: &Place, statement: &str) -> Vec<Value> {
    const SCRIPT: &str = "
import json, sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.row_factory = sqlite3.Row
rows = [dict(row) for row in database.execute(sys.argv[2])]
database.commit()
print(json.dumps(rows))
";
    let mut command = Command::new("python3");
    command.args(["-c", SCRIPT]).arg(place.project.join("desk.db")).arg(statement);
    let done = Done::of(command.output().unwrap());
    assert_eq!(done.code, 0, "{statement}\n{}", done.stderr);
    serde_json::from_str(&done.stdout).unwrap()
}

/// A project whose tickets lie in a table that is read by the day, and have a table of their own.
fn desk(window: &str) -> Place {
    let yaml = format!(
        "name: desk\nsources:\n  tickets:\n    type: sql\n    url: sqlite:desk.db\n    table: tickets\n    window: {{column: created_at, size: 1d, {window}}}\n"
    );
    let model = "-- One row a ticket.\nSELECT id, created_at, status FROM raw.tickets WHERE _newest\n";
    let place = Place::project(&[("lagar.yaml", &yaml), ("trusted/tickets.sql", model)]);
    sqlite(&place, "CREATE TABLE tickets (id INTEGER PRIMARY KEY, created_at TEXT, status TEXT)");
    place
}

/// A desk with the tickets of the first eight days of 2020, times written in every way.
fn busy_desk() -> Place {
    let place = desk("from: 2020-01-01, to: 2020-01-08, lag: 2d");
    let mut rows = Vec::new();
    for day in &sixty_days()[..8] {
        for n in 0..count(*day) {
            let id = rows.len() + 1;
            let time = ["", " 09:30:00", "T12:00:00.500", " 23:59:59.999999"][n % 4];
            rows.push(format!("({id}, '{day}{time}', 'open')"));
        }
    }
    sqlite(&place, &format!("INSERT INTO tickets VALUES {}", rows.join(", ")));
    place
}

/// Every ticket of the eight days once and as it is now, in the newest loads and in the table of them.
#[track_caller]
fn exact_desk(place: &Place) {
    let columns = "SELECT id, created_at, status FROM";
    let within = "created_at >= '2020-01-01' AND created_at < '2020-01-09'";
    let expected = sqlite(place, &format!("{columns} tickets WHERE {within} ORDER BY id"));
    for table in ["raw.tickets WHERE _newest", "trusted.tickets"] {
        same(&place.rows(&format!("{columns} {table} ORDER BY id")), &expected);
    }
}

#[test]
fn a_database_is_read_by_the_day_and_a_day_again_when_it_changed() {
    let place = busy_desk();
    // In no window of a run, and in none at all.
    sqlite(
        &place,
        "INSERT INTO tickets VALUES (1000, '2019-12-31 23:59:59', 'open'), (1001, '2020-01-09', 'open'), (1002, NULL, 'open')",
    );
    let plan = place.lagar(&["plan"]);
    assert!(plan.stdout.contains("8 windows due, from 2020-01-01 to 2020-01-08"), "{}", plan.stdout);
    let report = place.run(&[]);
    let all: usize = sixty_days()[..8].iter().map(|day| count(*day)).sum();
    let loaded = step(&report, "raw.tickets");
    assert_eq!(loaded["windows"], json!({"due": 8, "loaded": 8, "empty": 1, "unchanged": 0}));
    assert_eq!((&loaded["rows_in"], &loaded["rows_out"]), (&json!(all), &json!(all)));
    assert!(notes(&report, "raw.tickets").contains("no time in `created_at`"), "{report}");
    // One load a day, in their order, with the rows of the day.
    let found: Vec<Value> =
        loads(&place, "tickets").iter().map(|load| json!([load["window"]["from"], load["rows"]])).collect();
    let expected: Vec<Value> =
        sixty_days()[..8].iter().map(|day| json!([format!("{day}T00:00:00"), count(*day)])).collect();
    assert_eq!(found, expected);
    let told = place.rows(
        "SELECT count(*) AS n, count(DISTINCT window_from) AS days, sum(rows) AS rows, CAST(max(window_to) AS text) AS last FROM system.loads WHERE source = 'tickets'",
    );
    assert_eq!(told[0], json!({"n": 8, "days": 8, "rows": all, "last": "2020-01-09T00:00:00"}));
    exact_desk(&place);

    // Nothing changed: neither a run nor a second look at every day writes a byte.
    let again = |from: &str, to: &str| {
        let words = ["backfill", "tickets", "--from", from, "--to", to, "--force", "--json"];
        let report = place.lagar(&words).says(0, &[]).json();
        step(&report, "raw.tickets")["windows"].clone()
    };
    let before = place.lake_files();
    assert_eq!(place.run(&[])["status"], "nothing_new");
    let unchanged = json!({"due": 8, "loaded": 0, "empty": 0, "unchanged": 8});
    assert_eq!(again("2020-01-01", "2020-01-08"), unchanged);
    assert!(place.lake_files() == before, "the lake was written to");

    // A day on which rows changed, went and came makes one load, and takes the place of what was read of it.
    sqlite(&place, "UPDATE tickets SET status = 'closed' WHERE created_at LIKE '2020-01-05%' AND id % 2 = 0");
    sqlite(
        &place,
        "DELETE FROM tickets WHERE id IN (SELECT id FROM tickets WHERE created_at LIKE '2020-01-05%' ORDER BY id LIMIT 2)",
    );
    sqlite(&place, "INSERT INTO tickets VALUES (1003, '2020-01-05', 'late')");
    assert_eq!(place.run(&[])["status"], "nothing_new", "it is not missing, and the lag is over");
    let counts = again("2020-01-01", "2020-01-08");
    assert_eq!(counts, json!({"due": 8, "loaded": 1, "empty": 0, "unchanged": 7}));
    place.run(&[]);
    exact_desk(&place);
    let every = place.rows("SELECT count(*) AS n FROM raw.tickets");
    assert_eq!(every[0]["n"], all + count(day("2020-01-05")) - 1, "what was received stays");
    assert_eq!(again("2020-01-01", "2020-01-08"), unchanged);

    // A day may lose all its rows.
    sqlite(&place, "DELETE FROM tickets WHERE created_at LIKE '2020-01-03%'");
    let counts = again("2020-01-03", "2020-01-03");
    assert_eq!(counts, json!({"due": 1, "loaded": 1, "empty": 1, "unchanged": 0}));
    place.run(&[]);
    exact_desk(&place);
    assert_eq!(loads(&place, "tickets").len(), 10);
}

#[test]
fn a_backfill_of_a_database_reads_what_is_missing() {
    let place = busy_desk();
    let backfill = |from: &str, to: &str| {
        let words = ["backfill", "tickets", "--from", from, "--to", to, "--parallel", "3", "--json"];
        let report = place.lagar(&words).says(0, &["now: lagar run"]).json();
        step(&report, "raw.tickets")["windows"].clone()
    };
    assert_eq!(backfill("2020-01-04", "2020-01-05")["loaded"], 2);
    // What changes on days that are there shows whether they are read.
    sqlite(&place, "UPDATE tickets SET status = 'closed'");
    let counts = backfill("2020-01-03", "2020-01-06");
    assert_eq!((&counts["due"], &counts["loaded"]), (&json!(2), &json!(2)));
    assert_eq!(step(&place.run(&[]), "raw.tickets")["windows"]["due"], 4);
    let open = place.rows(
        "SELECT count(*) AS n, min(created_at) AS first, max(created_at) AS last FROM trusted.tickets WHERE status = 'open'",
    );
    let expected = json!({
        "n": count(day("2020-01-04")) + count(day("2020-01-05")),
        "first": "2020-01-04",
        "last": "2020-01-05T12:00:00.500",
    });
    assert_eq!(open[0], expected);
    let windows: Vec<Value> =
        loads(&place, "tickets").iter().map(|load| load["window"]["from"].clone()).collect();
    let days = [4, 5, 3, 6, 1, 2, 7, 8].map(|day| json!(format!("2020-01-0{day}T00:00:00")));
    assert_eq!(windows, days, "each once");
    // All of it once more, and the past before `from`, which is there for a backfill alone.
    place
        .lagar(&["backfill", "tickets", "--from", "2020-01-01", "--to", "2020-01-08", "--force"])
        .says(0, &["2 windows"]);
    place.run(&[]);
    exact_desk(&place);
    sqlite(&place, "INSERT INTO tickets VALUES (1000, '2019-12-31 23:59:59', 'open')");
    assert_eq!(backfill("2019-12-31", "2020-01-08")["due"], 1);
    assert_eq!(place.rows("SELECT id FROM raw.tickets WHERE _newest AND id = 1000").len(), 1);
}

#[test]
fn killed_at_a_point_of_a_load_a_database_is_read_on() {
    let mut battery = Battery::new("R3");
    let fill = ["backfill", "tickets", "--from", "2020-01-01", "--to", "2020-01-08"];
    for words in [&["run"][..], &fill] {
        for (point, pass) in
            [("load-files-put", 3), ("load-committed", 1), ("load-committed", 5), ("load-committed", 8)]
        {
            battery.case(&format!("{}, {point}, window {pass}", words[0]), || {
                let place = busy_desk();
                let plan = format!("{point}:kill:{pass}");
                let done = Running::start(place.command(words).env("LAGAR_KILL_POINT", plan)).end();
                assert_eq!(done.code, -9, "{}", done.stderr);
                let there = loads(&place, "tickets").len();
                assert_eq!(there, if point == "load-committed" { pass } else { pass - 1 });
                let report = place.lagar(&[words, &["--json"]].concat()).says(0, &[]).json();
                let counts = &step(&report, "raw.tickets")["windows"];
                assert_eq!((&counts["due"], &counts["loaded"]), (&json!(8 - there), &json!(8 - there)));
                place.run(&[]);
                let loads = loads(&place, "tickets");
                let windows: BTreeSet<&str> =
                    loads.iter().map(|load| load["window"]["from"].as_str().unwrap()).collect();
                assert_eq!((loads.len(), windows.len()), (8, 8), "days are read again, or skipped");
                exact_desk(&place);
            });
        }
    }
}

#[test]
fn late_rows_of_a_database_are_found_within_the_lag() {
    let mut battery = Battery::new("S3");
    battery.case("a row with an equal time comes late, in a database", late_tickets);
}

fn late_tickets() {
    let today = Utc::now().date_naive();
    let ago = |days: u64| today - Days::new(days);
    let place = desk(&format!("from: {}, lag: 96h", ago(9)));
    let insert = |id: u64, days: u64| {
        sqlite(&place, &format!("INSERT INTO tickets VALUES ({id}, '{} 12:00:00', 'open')", ago(days)));
    };
    (2..=9).for_each(|days| insert(days, days));
    place.run(&[]);
    let report = place.run(&[]);
    assert_eq!(report["status"], "nothing_new");
    let again = step(&report, "raw.tickets")["windows"]["unchanged"].as_u64().unwrap();
    assert!((3..=5).contains(&again), "{report}");
    // One comes late within the lag, with the same moment as another one; and one far behind.
    insert(100, 3);
    insert(101, 9);
    place.run(&[]);
    let newest = "SELECT id, created_at, status FROM raw.tickets WHERE _newest ORDER BY id";
    let known = |condition: &str| {
        sqlite(&place, &format!("SELECT id, created_at, status FROM tickets WHERE {condition} ORDER BY id"))
    };
    assert_eq!(place.rows(newest), known("id <> 101"));
    let from = ago(9).to_string();
    place.lagar(&["backfill", "tickets", "--from", &from, "--to", &from, "--force"]).says(0, &["1 window"]);
    assert_eq!(place.rows(newest), known("true"));
}
