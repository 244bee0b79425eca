//! Input of a size that nobody expects: it ends within the limits, or with an error that says what is
//! too much.

use lagar_testing::{Battery, long};
use serde_json::json;

use crate::support::{Place, step};

const LIMITS: &str = "limits: {memory: 256MiB, spill: 1GiB, threads: 2}\n";

/// M5: 5,000 columns, and one more the next day.
#[test]
fn five_thousand_columns() {
    let mut battery = Battery::new("M5");
    let project = format!("name: wide\n{LIMITS}sources:\n  wide: {{type: file, url: wide.csv}}\n");
    let place = Place::project(&[
        ("lagar.yaml", &project),
        ("trusted/wide.sql", "SELECT c0, c4999 FROM raw.wide WHERE _newest"),
    ]);
    let csv = |columns: usize| {
        let line =
            |cell: &dyn Fn(usize) -> String| (0..columns).map(cell).collect::<Vec<_>>().join(",") + "\n";
        line(&|column| format!("c{column}"))
            + &line(&|column| column.to_string())
            + &line(&|_| "7".to_owned())
    };
    place.write("wide.csv", csv(5000));
    battery.case("first", || {
        place.run(&[]);
        assert_eq!(
            json!(place.rows("SELECT c0, c4999 FROM trusted.wide ORDER BY c0")),
            json!([{"c0": 0, "c4999": 4999}, {"c0": 7, "c4999": 7}])
        );
    });
    place.write("wide.csv", csv(5001));
    battery.case("one more", || {
        let report = place.run(&[]);
        let events = step(&report, "raw.wide")["events"].as_array().unwrap().clone();
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(events[0]["column"], "c5000");
    });
    // A file of another shape has a limit.
    place.write("wide.csv", csv(10_001));
    battery.case("too many", || {
        place.lagar(&["run"]).says(1, &["more than 10000 columns", "[E2101]"]);
    });
}

/// M5: a cell of 100 MB is refused by name, and costs no more memory than a row may.
#[test]
fn a_cell_of_a_hundred_megabytes() {
    let mut battery = Battery::new("M5");
    let cell = "x".repeat(100_000_000);
    for (file, text) in
        [("a.csv", format!("id,a\n1,{cell}\n")), ("a.ndjson", format!("{{\"id\": 1, \"a\": \"{cell}\"}}\n"))]
    {
        battery.case(file, || {
            let project = format!("name: big\n{LIMITS}sources:\n  big: {{type: file, url: {file}}}\n");
            let place = Place::project(&[("lagar.yaml", &project)]);
            place.write(file, text);
            place.lagar(&["run"]).says(1, &["a row is longer than 64 MiB", "[E2101]"]);
            assert!(
                place.lake_files().keys().all(|path| !path.contains("load_date")),
                "nothing is left behind"
            );
        });
    }
}

/// M5: 100,000 small files in one load (in the long lane; else 500).
#[test]
fn many_small_files() {
    let mut battery = Battery::new("M5");
    let count: u64 = if long() { 100_000 } else { 500 };
    for in_place in [true, false] {
        battery.case(&format!("{count} files, in_place: {in_place}"), || {
            let project = format!(
                "name: small\n{LIMITS}sources:\n  small: {{type: file, url: 'many/*.ndjson', in_place: {in_place}}}\n"
            );
            let place = Place::project(&[
                ("lagar.yaml", &project),
                ("trusted/small.sql", "SELECT count(*) AS rows, sum(id) AS total FROM raw.small WHERE _newest"),
            ]);
            for id in 0..count {
                place.write(&format!("many/{id}.ndjson"), format!("{{\"id\":{id}}}\n"));
            }
            place.run(&[]);
            let rows = place.rows("SELECT rows, total FROM trusted.small");
            assert_eq!(json!(rows), json!([{"rows": count, "total": count * (count - 1) / 2}]));
            assert_eq!(place.run(&[])["status"], "nothing_new");
        });
    }
}
