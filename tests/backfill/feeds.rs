//! Two feeds of one server, what was opened and what was closed: two sources, and one table of both.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Instant,
};

use chrono::{Days, NaiveDate};
use lagar_testing::long;
use serde_json::{Value, json};

use super::{
    complaints, count, day, exact_feed, expected, feed, feed_at, keys, loads, project, rows_of, same,
    sixty_days,
};
use crate::{
    merges::{files, notes},
    support::{
        Done, http,
        running::weighed,
        soda::{Row, Soda},
        step,
    },
};

/// Both feeds as one table.
const COMPLAINTS: &str = "-- Every complaint once, as it was last heard of.
/*---
materialize: merge
key: [unique_key]
latest_by: [updated_at]
incremental: [raw.created, raw.closed]
checks:
  - unique: [unique_key]
---*/
WITH feeds AS (
    SELECT unique_key, created_date, closed_date, status, resolution_action_updated_date FROM raw.created
    UNION ALL
    SELECT unique_key, created_date, closed_date, status, resolution_action_updated_date FROM raw.closed
)
SELECT unique_key, created_date, closed_date, status, try_timestamp(resolution_action_updated_date) AS updated_at
FROM feeds
";

fn complaint(key: &str, created: &str, closed: Option<&str>) -> Row {
    let row = json!({
        "unique_key": key,
        "created_date": created,
        "status": "Open",
        "resolution_action_updated_date": created,
    });
    let mut row = row.as_object().unwrap().clone();
    if let Some(moment) = closed {
        close(&mut row, moment);
    }
    row
}

fn close(row: &mut Row, moment: &str) {
    row.insert("closed_date".into(), moment.into());
    told_again(row, "Closed", moment);
}

fn told_again(row: &mut Row, status: &str, moment: &str) {
    row.insert("status".into(), status.into());
    row.insert("resolution_action_updated_date".into(), moment.into());
}

/// What the server says now of all complaints that were opened or closed on the first twelve days of 2020.
fn as_told(soda: &Soda) -> Vec<Value> {
    let is_within = |row: &Row, field: &str| {
        let date = row.get(field).and_then(Value::as_str);
        date.is_some_and(|date| ("2020-01-01".."2020-01-13").contains(&date))
    };
    let mut told = Vec::new();
    for row in soda.rows() {
        if is_within(&row, "created_date") || is_within(&row, "closed_date") {
            told.push(json!({
                "unique_key": row["unique_key"],
                "status": row["status"],
                "closed_date": row.get("closed_date"),
            }));
        }
    }
    told.sort_by_key(|row| row["unique_key"].as_str().unwrap().to_owned());
    told
}

/// A server of both feeds that finds the rows of a day at once: the time that goes by is Lagar's.
struct Decade {
    server: lagar_testing::http::Server,
    /// By `FIELD DAY`.
    rows: Arc<Mutex<BTreeMap<String, Vec<Value>>>>,
}

impl Decade {
    fn start(rows: &[Row]) -> Self {
        let mut by_day: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for row in rows {
            for field in ["created_date", "closed_date"] {
                let Some(date) = row.get(field).and_then(Value::as_str) else { continue };
                by_day.entry(format!("{field} {}", &date[..10])).or_default().push(row.clone().into());
            }
        }
        let rows = Arc::new(Mutex::new(by_day));
        let known = rows.clone();
        let server = lagar_testing::http::Server::new(move |_, request| {
            let url = url::Url::parse(&format!("http://a.example{}", request.target)).unwrap();
            let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
            let (field, range) = query["$where"].split_once(" between '").unwrap();
            let is_first = query.get("$offset").is_none_or(|offset| offset == "0");
            let by_day = known.lock().unwrap();
            let rows = by_day.get(&format!("{field} {}", &range[..10])).filter(|_| is_first);
            http::json(Value::from(rows.cloned().unwrap_or_default()).to_string())
        });
        Self { server, rows }
    }

    /// Changes the complaint `key` in both feeds.
    fn change(&self, key: &str, change: impl Fn(&mut Row)) {
        for row in self.rows.lock().unwrap().values_mut().flatten() {
            if row["unique_key"] == key {
                change(row.as_object_mut().unwrap());
            }
        }
    }
}

#[test]
fn two_feeds_land_as_two_sources() {
    let soda = Soda::start(complaints(&sixty_days()));
    let window = "from: 2020-01-01, to: 2020-02-29";
    let place = project(&[
        feed(&soda, "created", "created_date", window),
        feed(&soda, "closed", "closed_date", window),
    ]);
    let plan = place.lagar(&["plan"]);
    assert!(plan.stdout.contains("60 windows due, from 2020-01-01 to 2020-02-29"), "{}", plan.stdout);
    let report = place.run(&[]);
    exact_feed(&place, "created", expected(&soda));
    let closed_in_time =
        |row: &Row| row.get("closed_date").and_then(Value::as_str).is_some_and(|date| date < "2020-03-01");
    let closed: Vec<Value> = soda.rows().into_iter().filter(closed_in_time).map(Value::Object).collect();
    exact_feed(&place, "closed", keys(&closed));
    let created = step(&report, "raw.created");
    assert_eq!(
        (&created["rows_in"], &created["rows_out"]),
        (&json!(soda.rows().len()), &json!(soda.rows().len()))
    );
    assert_eq!(created["version"], 60);
    assert!(created["notes"][0].as_str().unwrap().starts_with("60 windows, "), "{created}");
    // All is there, and nothing is asked for again.
    let asked = soda.requests().len();
    assert_eq!(place.run(&[])["status"], "nothing_new");
    assert_eq!(soda.requests().len(), asked);
    let told = place.rows(
        "SELECT count(DISTINCT window_from) AS n, CAST(max(window_to) AS text) AS last FROM system.loads WHERE source = 'closed'",
    );
    assert_eq!(told[0], json!({"n": 60, "last": "2020-03-01T00:00:00"}));
    let plan = place.lagar(&["plan"]);
    assert!(plan.stdout.contains("no window is missing"), "{}", plan.stdout);
}

#[test]
fn two_feeds_of_the_server_become_one_table() {
    let twelve = ["--from", "2020-01-01", "--to", "2020-01-12"];
    let soda = Soda::start(complaints(&sixty_days()[..8]).into_iter().map(|mut row| {
        let moment = row.get("closed_date").unwrap_or(&row["created_date"]).clone();
        row.insert("resolution_action_updated_date".into(), moment);
        row
    }));
    // Opened before the first window: one feed brings the first, none the second.
    soda.insert(complaint("old and closed", "2019-12-30T08:00:00.000", Some("2020-01-02T08:00:00.000")));
    soda.insert(complaint("old and open", "2019-12-30T08:00:00.000", None));
    let window = "from: 2020-01-01, to: 2020-01-12";
    let place = project(&[
        feed(&soda, "created", "created_date", window),
        feed(&soda, "closed", "closed_date", window),
    ]);
    place.write("trusted/complaints.sql", COMPLAINTS);
    let merged =
        || place.rows("SELECT unique_key, status, closed_date FROM trusted.complaints ORDER BY unique_key");

    // What one feed has as open is closed, in the first moment of a day or in the last, before the other one
    // is read.
    place.lagar(&[&["backfill", "created"], &twelve[..]].concat()).says(0, &["12 windows"]);
    let mut closed = 0;
    soda.change(|row| {
        if row["status"] == "Open" && row.get("agency").is_some_and(|agency| agency == "NYPD") {
            close(row, ["2020-01-09T00:00:00.000", "2020-01-12T23:59:59.999"][closed % 2]);
            closed += 1;
        }
    });
    assert!(closed > 20, "{closed}");
    let report = place.run(&[]);
    assert_eq!(step(&report, "raw.created")["status"], "nothing_new", "{report}");
    assert_eq!(step(&report, "raw.closed")["windows"]["loaded"], 12, "{report}");
    let twice = "SELECT count(*) AS n FROM raw.created AS o JOIN raw.closed AS c ON o.unique_key = c.unique_key WHERE o.status = 'Open'";
    assert_eq!(place.rows(twice)[0]["n"], closed);
    let all = as_told(&soda);
    same(&merged(), &all);
    assert_eq!(all.len(), soda.rows().len() - 1, "one was opened before and is open");
    let inserted = format!("inserted {}, updated 0, unchanged 0", all.len());
    assert!(notes(&report, "trusted.complaints").contains(&inserted), "{report}");

    // A row is told about once more, and its day is read again.
    let again = |feed: &str, day: &str| {
        let words = ["backfill", feed, "--from", day, "--to", day, "--force", "--json"];
        let report = place.lagar(&words).says(0, &[]).json();
        step(&report, &format!("raw.{feed}"))["windows"].clone()
    };
    let day = "2020-01-07";
    let mut of_day = 0;
    soda.change(|row| {
        let date = row.get("closed_date").and_then(Value::as_str);
        if date.is_some_and(|date| date.starts_with(day)) {
            of_day += 1;
            if of_day == 1 {
                told_again(row, "Reopened", "2020-02-01T08:00:00.000");
            }
        }
    });
    assert_eq!(again("closed", day)["loaded"], 1);
    let report = place.run(&[]);
    let updated = format!("inserted 0, updated 1, unchanged {}", of_day - 1);
    assert!(notes(&report, "trusted.complaints").contains(&updated), "{report}");
    assert_eq!(step(&report, "trusted.complaints")["rows_in"], of_day, "only the day is read: {report}");
    let now = merged();
    same(&now, &as_told(&soda));
    assert_eq!((now.len(), now.iter().filter(|row| row["status"] == "Reopened").count()), (all.len(), 1));

    // And again without a change.
    let before = place.lake_files();
    assert_eq!(again("closed", day)["unchanged"], 1);
    assert_eq!(place.run(&[])["status"], "nothing_new");
    assert!(place.lake_files() == before, "the lake was written to");

    // A day of the other feed has the rows that were closed since as they are now. The table has them already.
    let before = files(&place, "trusted/complaints");
    assert_eq!(again("created", "2020-01-04")["loaded"], 1);
    let report = place.run(&[]);
    let unchanged = format!("inserted 0, updated 0, unchanged {}", count(self::day("2020-01-04")));
    assert!(notes(&report, "trusted.complaints").contains(&unchanged), "{report}");
    assert_eq!(files(&place, "trusted/complaints"), before);
    same(&merged(), &now);
    // All loads at once give the same table.
    place.run(&["--full-refresh", "-s", "trusted.complaints"]);
    same(&merged(), &now);
}

/// Ten years in the long lane: thousands of loads of some rows each, two feeds of them.
#[test]
fn ten_years_of_days_are_there_once() {
    let days: Vec<NaiveDate> = day("2010-01-01").iter_days().take(if long() { 3_773 } else { 60 }).collect();
    let last = days[days.len() - 1].to_string();
    let mut rows = Vec::new();
    for (number, day) in days.iter().enumerate() {
        for n in 0..number % 4 {
            let (key, closed) = (format!("{day} {n}"), format!("{}T17:00:00.000", *day + Days::new(2)));
            let closed = (n != 1).then_some(closed.as_str());
            rows.push(complaint(&key, &format!("{day}T0{n}:30:00.000"), closed));
        }
    }
    let decade = Decade::start(&rows);
    let window = format!("from: 2010-01-01, to: {last}");
    let feeds = [("created", "created_date"), ("closed", "closed_date")];
    let place = project(&feeds.map(|(feed, column)| feed_at(&decade.server.url, feed, column, &window)));
    place.write("trusted/complaints.sql", COMPLAINTS);
    let measured = |what: &str, args: &[&str]| {
        let began = Instant::now();
        let words = [args, &["--json"]].concat();
        let (output, peak) = weighed(&mut place.command(&words), place.dir.path());
        let done = Done::of(output);
        let (count, seconds) = (days.len(), began.elapsed().as_secs_f64());
        eprintln!("2 feeds of {count} windows, {what}: {seconds:.1} s, {} MiB", peak >> 20);
        done.says(0, &[]);
        done.json()
    };

    let report = measured("read for the first time", &["run"]);
    let edges: Vec<String> = days.iter().map(|day| format!("{day}T00:00:00")).collect();
    for (feed, column) in feeds {
        assert_eq!(step(&report, &format!("raw.{feed}"))["windows"]["loaded"], days.len(), "{feed}");
        let loads = loads(&place, feed);
        let windows: Vec<&str> = loads.iter().map(|load| load["window"]["from"].as_str().unwrap()).collect();
        assert_eq!(windows, edges, "{feed}");
        let is_read = |row: &&Row| {
            let date = row.get(column).and_then(Value::as_str);
            date.is_some_and(|date| &date[..10] <= last.as_str())
        };
        let expected: Vec<Value> = rows.iter().filter(is_read).cloned().map(Value::Object).collect();
        assert_eq!(keys(&rows_of(&place, feed, &loads)), keys(&expected), "{feed}");
        let began = Instant::now();
        let told = place.rows(&format!(
            "SELECT count(*) AS n, count(DISTINCT unique_key) AS k FROM raw.{feed} WHERE _newest"
        ));
        eprintln!("{} loads queried: {:.1} s", days.len(), began.elapsed().as_secs_f64());
        assert_eq!(told[0], json!({"n": expected.len(), "k": expected.len()}), "{feed}");
    }
    let table = "SELECT count(*) AS n, count(DISTINCT unique_key) AS k, count(*) FILTER (WHERE status = 'Closed') AS closed FROM trusted.complaints";
    let closed = rows.iter().filter(|row| row["status"] == "Closed").count();
    assert_eq!(place.rows(table)[0], json!({"n": rows.len(), "k": rows.len(), "closed": closed}));

    let asked = decade.server.requests().len();
    assert_eq!(measured("nothing new", &["run"])["status"], "nothing_new");
    assert_eq!(decade.server.requests().len(), asked, "what is there is asked for again");

    // One day among them is read again, and one row of the table changes. There are three rows on such a day.
    let number = (days.len() / 2) | 3;
    decade.change(&format!("{} 0", days[number]), |row| {
        told_again(row, "Reopened", "2024-01-01T08:00:00.000");
    });
    let day = (days[number] + Days::new(2)).to_string();
    let report = measured("a day again", &["backfill", "closed", "--from", &day, "--to", &day, "--force"]);
    assert_eq!(step(&report, "raw.closed")["windows"]["loaded"], 1);
    let report = measured("and merged", &["run"]);
    assert!(notes(&report, "trusted.complaints").contains("inserted 0, updated 1, unchanged 1"), "{report}");
    assert_eq!(place.rows(table)[0], json!({"n": rows.len(), "k": rows.len(), "closed": closed - 1}));
}
