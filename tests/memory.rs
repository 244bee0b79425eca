//! M1: each operation on about four times the memory that it may use ends right, within the limit, and
//! leaves no file behind.
//!
//! The rows come from `generate_series`, so that what must come out is known without asking anybody.

use std::{
    fs::File,
    io::{BufRead, BufReader},
};

use lagar_testing::{Battery, long};
use serde_json::{Value, json};

use crate::support::{Done, Place, files_below, running::weighed, step};

/// `limits.memory`, and rows that need about four times as much.
struct Size {
    memory_bytes: u64,
    rows: u64,
}

fn size() -> Size {
    match long() {
        true => Size { memory_bytes: 256 << 20, rows: 10_000_000 },
        false => Size { memory_bytes: 8 << 20, rows: 250_000 },
    }
}

impl Size {
    /// A project with one table, `refined.big`, of the rows of `sql`.
    fn place(&self, sql: &str) -> Place {
        let limits = format!("limits: {{memory: {}, spill: 40GiB, threads: 2}}", self.memory_bytes);
        let place = Place::project(&[("refined/big.sql", sql)]);
        place.write("lagar.yaml", format!("name: big\nlake: ./lake\n{limits}\n"));
        place
    }

    /// Runs a command that must end well within the limit.
    #[track_caller]
    fn within(&self, place: &Place, args: &[&str]) -> Done {
        let (output, peak) = weighed(&mut place.command(args), place.dir.path());
        let done = Done::of(output);
        assert_eq!(done.code, 0, "{}", done.stderr);
        let most = self.memory_bytes / 4 * 5 + beside_bytes();
        println!("peak {} MiB of {} MiB", peak >> 20, most >> 20);
        assert!(peak <= most, "{peak} bytes are more than {most}");
        let left = files_below(&place.project.join(".lagar/tmp"));
        assert!(left.is_empty(), "left behind: {left:?}");
        done
    }

    /// Makes the table of `sql` and compares the single row of `figures` about it; the report of its step.
    #[track_caller]
    fn makes(&self, sql: &str, figures: &str, expected: Value) -> Value {
        let place = self.place(sql);
        let report = self.within(&place, &["run", "--json"]).json();
        assert_eq!(place.rows(figures), [expected]);
        let step = step(&report, "refined.big");
        println!("{} bytes spilled in {} s", step["spilled_bytes"], step["seconds"]);
        assert!(step["peak_memory_bytes"].as_u64().unwrap() <= self.memory_bytes / 4 * 5, "{step}");
        // What is spilled is packed, and texts that are alike to almost nothing.
        assert!(step["spilled_bytes"].as_u64().unwrap() > 0, "it was too little: {step}");
        step.clone()
    }
}

/// What a process may have besides what its queries account for: batches on their way, the program.
fn beside_bytes() -> u64 {
    let debug = cfg!(debug_assertions) && std::env::var_os("LAGAR_TEST_BINARY").is_none();
    // Of little data little more must be seen; the pages of a debug program alone are 130 MB.
    let data = if long() { 128 << 20 } else { 64 << 20 };
    if debug { data + (130 << 20) } else { data }
}

/// 1 + 2 + … + n.
fn sum_to(n: u64) -> u64 {
    n * (n + 1) / 2
}

fn case(name: &str, work: impl FnOnce()) {
    Battery::new("M1").case(&format!("cargo test -p lagar-cli --test e2e memory::{name}"), work);
}

/// Every line of the answer is looked at: its order and its number.
#[test]
fn a_sort() {
    let size = size();
    let rows = size.rows;
    case("a_sort", || {
        let place = size.place("-- Nothing.\nSELECT 1 AS one");
        place.run(&[]);
        let answer = place.dir.path().join("answer.csv");
        let sql = format!(
            "SELECT md5(CAST(value AS TEXT)) || repeat('-', 80) AS t, value AS n FROM generate_series(1, {rows}) ORDER BY t"
        );
        size.within(&place, &["sql", &sql, "-o", answer.to_str().unwrap()]);
        let (mut before, mut seen) = (String::new(), vec![false; usize::try_from(rows).unwrap() + 1]);
        for line in BufReader::new(File::open(answer).unwrap()).lines().skip(1) {
            let line = line.unwrap();
            let (text, number) = line.split_once(',').unwrap();
            assert!(before.as_str() <= text, "{before} before {text}");
            before = text.to_owned();
            let place = &mut seen[number.parse::<usize>().unwrap()];
            assert!(!std::mem::replace(place, true), "{number} twice");
        }
        assert!(seen[1..].iter().all(|seen| *seen), "a row is missing");
    });
}

#[test]
fn groups() {
    let size = size();
    let (groups, rows) = (size.rows, 2 * size.rows);
    case("groups", || {
        size.makes(
            &format!(
                "-- One row a group.\nSELECT 'the group with number ' || (value % {groups}) AS k, count(*) AS n, sum(value) AS s\n\
                 FROM generate_series(1, {rows}) GROUP BY 1"
            ),
            "SELECT count(*) AS groups, min(n) AS least, max(n) AS most, sum(s) AS total FROM refined.big",
            json!({"groups": groups, "least": 2, "most": 2, "total": sum_to(rows)}),
        );
    });
}

/// The build side of a hash join cannot spill: the join is planned again as one that can, and says so.
#[test]
fn a_hash_join() {
    let size = size();
    let rows = size.rows;
    case("a_hash_join", || {
        // 7919 is a prime that does not divide the number of rows: every id comes once on each side.
        let step = size.makes(
            &format!(
                "-- One row.\nSELECT count(*) AS n, sum(a.id) AS ids, sum(b.v) AS total, max(length(a.t || b.t)) AS longest\n\
                 FROM (SELECT value - 1 AS id, repeat('x', 40) || value AS t FROM generate_series(1, {rows})) a\n\
                 JOIN (SELECT value * 7919 % {rows} AS id, value AS v, repeat('y', 40) || value AS t\n\
                       FROM generate_series(1, {rows})) b\n\
                 ON a.id = b.id AND a.t <> b.t"
            ),
            "SELECT n, ids, total FROM refined.big",
            json!({"n": rows, "ids": sum_to(rows - 1), "total": sum_to(rows)}),
        );
        assert!(step["notes"].to_string().contains("planned again for less memory"), "{step}");
    });
}

#[test]
fn a_window() {
    let size = size();
    let rows = size.rows;
    // Partitions of ten rows, numbered from the greatest: the first ones are the last ten thousandth.
    case("a_window", || {
        size.makes(
            &format!(
                "-- One row a row.\nSELECT k, v, row_number() OVER (PARTITION BY k ORDER BY v DESC) AS place,\n\
                 v - lag(v) OVER (PARTITION BY k ORDER BY v) AS step, sum(v) OVER (PARTITION BY k) AS whole\n\
                 FROM (SELECT 'the partition with number ' || (value % {parts}) AS k, value AS v\n\
                       FROM generate_series(1, {rows}))",
                parts = rows / 10
            ),
            "SELECT count(*) AS rows, count(step) AS steps, sum(step) AS total, sum(place) AS places, sum(whole) AS wholes,\n\
             sum(v) FILTER (WHERE place = 1) AS newest FROM refined.big",
            json!({
                "rows": rows, "steps": rows / 10 * 9, "total": rows / 10 * 9 * (rows / 10), "places": rows / 10 * 55, "wholes": 10 * sum_to(rows),
                "newest": sum_to(rows) - sum_to(rows / 10 * 9),
            }),
        );
    });
}

/// Half of the new rows take the place of old ones.
#[test]
fn a_merge() {
    let size = size();
    // Old and new rows are read side by side.
    let rows = size.rows / 2;
    case("a_merge", || {
        let model = |from: u64, to: u64, v: u64| {
            format!(
                "-- The newest row of each key.\n/*---\nmaterialize: merge\nkey: [k]\nlatest_by: [v]\n---*/\n\
                 SELECT 'the key with number ' || value AS k, value AS n, {v} AS v FROM generate_series({from}, {to})"
            )
        };
        let place = size.place(&model(1, rows, 1));
        size.within(&place, &["run", "--json"]);
        place.write("refined/big.sql", model(rows / 2 + 1, rows / 2 * 3, 2));
        let report = size.within(&place, &["run", "--json"]).json();
        let step = step(&report, "refined.big");
        let counts = format!("inserted {0}, updated {0}, unchanged 0", rows / 2);
        assert!(step["notes"].to_string().contains(&counts), "{step}");
        assert!(step["spilled_bytes"].as_u64().unwrap() > 0, "it was too little: {step}");
        let figures = "SELECT count(*) AS rows, min(n) AS least, max(n) AS most, sum(n) AS total, sum(v) AS versions FROM refined.big";
        let all = rows / 2 * 3;
        let expected = json!({"rows": all, "least": 1, "most": all, "total": sum_to(all), "versions": rows / 2 + 2 * rows});
        assert_eq!(place.rows(figures), [expected]);
    });
}

#[test]
fn distinct_rows() {
    let size = size();
    let (different, rows) = (size.rows, 2 * size.rows);
    case("distinct_rows", || {
        size.makes(
            &format!(
                "-- One row a value.\nSELECT DISTINCT value % {different} AS n, 'the value with number ' || (value % {different}) AS t\n\
                 FROM generate_series(1, {rows})"
            ),
            "SELECT count(*) AS rows, count(DISTINCT n) AS numbers, sum(n) AS total FROM refined.big",
            json!({"rows": different, "numbers": different, "total": sum_to(different - 1)}),
        );
    });
}
