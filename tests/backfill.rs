//! Sources that are read by windows: `run`, `backfill`, and a server with the manners of SODA.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use chrono::{Days, NaiveDate, TimeDelta, Utc};
use lagar_flow::KillPoint;
use lagar_testing::{Battery, env_number, long, mix, replay};
use serde_json::{Value, json};

use crate::{
    merges::{files, notes},
    support::{
        Done, Place, http,
        running::{Running, passed, weighed},
        soda::{Row, Soda},
        step,
    },
};

const PAGE: usize = 40;

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// 2020-01-01 to 2020-02-29.
fn sixty_days() -> Vec<NaiveDate> {
    day("2020-01-01").iter_days().take(60).collect()
}

/// So many complaints came that day: none, one page, several, a page to the row.
fn count(day: NaiveDate) -> usize {
    let number = usize::try_from(day.signed_duration_since(self::day("2020-01-01")).num_days()).unwrap();
    [37, 0, 1, PAGE, 95, 12, 2 * PAGE, 41][number % 8]
}

/// The complaints of some days, with what is dirty about the real ones: many at midnight, some in the last
/// millisecond, many at the same moment, fields that are there on some days only.
fn complaints(days: &[NaiveDate]) -> Vec<Row> {
    let mut rows = Vec::new();
    for day in days {
        for n in 0..count(*day) {
            let moment = match n % 4 {
                0 => day.and_hms_opt(0, 0, 0).unwrap(),
                1 => day.and_hms_milli_opt(23, 59, 59, 999).unwrap(),
                2 => day.and_hms_opt(12, 0, 0).unwrap(),
                _ => day.and_hms_opt(9, 30, 0).unwrap() + TimeDelta::seconds(n as i64),
            };
            let time = |moment: chrono::NaiveDateTime| moment.format("%Y-%m-%dT%H:%M:%S%.3f").to_string();
            let mut row = json!({
                "unique_key": (46_000_000 + rows.len()).to_string(),
                "created_date": time(moment),
                "agency": (["NYPD", "HPD", "DOT"][n % 3]),
                "status": "Open",
                "incident_zip": (["11235", "10016.0", "N/A"][n % 3]),
            });
            if n % 2 == 0 {
                row["closed_date"] = time(moment + TimeDelta::days(3)).into();
                row["status"] = "Closed".into();
            }
            if *day >= self::day("2020-01-20") && n % 7 == 0 {
                row["vehicle_type"] = "Car".into();
            }
            rows.push(row.as_object().unwrap().clone());
        }
    }
    rows
}

/// A source called `feed` that is read by `column`.
fn feed(soda: &Soda, feed: &str, column: &str, window: &str) -> String {
    feed_at(&soda.url, feed, column, window)
}

fn feed_at(url: &str, feed: &str, column: &str, window: &str) -> String {
    format!(
        r#"
  {feed}:
    type: rest
    url: {url}/resource/erm2-nwe9.json
    headers: {{X-App-Token: "${{SODA_TOKEN:-}}"}}
    params: {{$select: ":*,*"}}
    pages: {{type: offset, size: {PAGE}, size_param: $limit, offset_param: $offset}}
    retry: {{wait: 5ms, max_wait: 20ms}}
    window: {{size: 1d, {window}, params: {{$where: "{column} between '{{from}}' and '{{to}}'"}}}}
"#
    )
}

fn project(feeds: &[String]) -> Place {
    let yaml = format!("name: city\ntimezone: America/New_York\nsources:{}", feeds.concat());
    Place::project(&[("lagar.yaml", &yaml)])
}

/// Created complaints, by the day.
fn city(soda: &Soda) -> Place {
    project(&[feed(soda, "created", "created_date", "from: 2020-01-01, to: 2020-02-29")])
}

const SIXTY: [&str; 6] = ["backfill", "created", "--from", "2020-01-01", "--to", "2020-02-29"];

/// The loads of a source as they lie in the lake, read without Lagar.
fn loads(place: &Place, source: &str) -> Vec<Value> {
    let folder = place.lake().join("raw").join(source).join("_loads");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default();
    paths.retain(|path: &std::path::PathBuf| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    paths.iter().map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap()).collect()
}

/// The rows in the files of some loads.
fn rows_of(place: &Place, source: &str, loads: &[Value]) -> Vec<Value> {
    let folder = place.lake().join("raw").join(source);
    let files = loads.iter().flat_map(|load| load["files"].as_array().unwrap());
    files
        .flat_map(|file| {
            let bytes = fs::read(folder.join(file["path"].as_str().unwrap())).unwrap();
            serde_json::from_slice::<Vec<Value>>(&bytes).unwrap()
        })
        .collect()
}

fn keys<'a>(rows: impl IntoIterator<Item = &'a Value>) -> Vec<String> {
    let mut keys: Vec<String> =
        rows.into_iter().map(|row| row["unique_key"].as_str().unwrap().to_owned()).collect();
    keys.sort();
    keys
}

fn expected(soda: &Soda) -> Vec<String> {
    keys(&soda.rows().into_iter().map(Value::Object).collect::<Vec<_>>())
}

/// Every row once, every window once and in its turn, every request in an order: nothing else.
fn exact(place: &Place, soda: &Soda, days: usize) {
    let loads = loads(place, "created");
    assert_eq!(keys(&rows_of(place, "created", &loads)), expected(soda));
    let windows: BTreeSet<&str> = loads.iter().map(|load| load["window"]["from"].as_str().unwrap()).collect();
    assert_eq!((loads.len(), windows.len()), (days, days));
    for query in soda.queries() {
        assert_eq!(query.get("$order").map(String::as_str), Some(":id"), "{query:?}");
    }
    let told =
        place.rows("SELECT count(*) AS n, count(DISTINCT unique_key) AS k FROM raw.created WHERE _newest");
    assert_eq!(told[0]["n"], told[0]["k"]);
    assert_eq!(told[0]["n"].as_u64().unwrap(), soda.rows().len() as u64);
}

#[test]
fn sixty_days_killed_at_random_moments_are_there_once() {
    let seed = env_number("LAGAR_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("LAGAR_SEED={seed}");
    let kills = if long() { 300 } else { 20 };
    let words = replay("lagar-cli", "e2e", "sixty_days_killed", &[("LAGAR_SEED", seed)]);
    let mut battery = Battery::new("R1");
    let (mut killed, mut numbers) = (0, seed);
    while killed < kills {
        let soda = Soda::start(complaints(&sixty_days()));
        soda.refuse(&[429, 202]);
        let place = city(&soda);
        let mut is_over = false;
        // Long enough to come to life, too short for all.
        let mut longest = Duration::from_millis(400);
        while !is_over {
            let before = loads(&place, "created").len();
            numbers = mix(numbers);
            let moment = Duration::from_nanos(numbers % u64::try_from(longest.as_nanos()).unwrap());
            let parallel = ["1", "3"][usize::try_from(numbers >> 60).unwrap() % 2];
            let mut run =
                Running::start(&mut place.command(&[&SIXTY[..], &["-q", "--parallel", parallel]].concat()));
            thread::sleep(moment);
            let was_killed = run.kill();
            let now = loads(&place, "created").len();
            if was_killed {
                battery.case(&format!("kill {killed} after {moment:?}: {words}"), || {
                    let found = keys(&rows_of(&place, "created", &loads(&place, "created")));
                    assert_eq!(found.len(), found.iter().collect::<BTreeSet<_>>().len(), "rows come twice");
                });
                killed += 1;
            }
            // Some windows each time, however busy the machine is.
            longest = match now - before {
                0 => longest * 5 / 4,
                1..=6 => longest,
                _ => longest * 4 / 5,
            };
            is_over = now == 60;
            if killed >= kills && !is_over {
                place.lagar(&SIXTY).says(0, &["now: lagar run"]);
                is_over = true;
            }
        }
        exact(&place, &soda, 60);
        let done = place.lagar(&SIXTY);
        done.says(0, &["nothing to do: every window of these days that is over is there"]);
    }
}

#[test]
fn killed_at_each_point_of_a_load_the_next_one_goes_on() {
    let mut battery = Battery::new("R3");
    let twelve = ["backfill", "created", "--from", "2020-01-01", "--to", "2020-01-12"];
    for point in ["load-files-put", "load-committed"] {
        for pass in [1, 2, 7] {
            battery.case(&format!("{point}, window {pass}"), || {
                let soda = Soda::start(complaints(&sixty_days()[..12]));
                let place = city(&soda);
                let plan = format!("{point}:kill:{pass}");
                let done = Running::start(place.command(&twelve).env("LAGAR_KILL_POINT", plan)).end();
                assert_eq!(done.code, -9, "{}", done.stderr);
                let there = loads(&place, "created").len();
                assert_eq!(there, if point == "load-committed" { pass } else { pass - 1 });
                let asked = soda.requests().len();
                let report = place.lagar(&[&twelve[..], &["--json"]].concat()).says(0, &[]).json();
                assert_eq!(step(&report, "raw.created")["windows"]["loaded"], 12 - there);
                assert_eq!(soda.days_asked(asked).len(), 12 - there, "days are read again, or skipped");
                exact(&place, &soda, 12);
            });
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

fn exact_feed(place: &Place, feed: &str, expected: Vec<String>) {
    assert_eq!(keys(&rows_of(place, feed, &loads(place, feed))), expected, "{feed}");
}

#[test]
fn a_day_read_again_is_a_new_load_only_when_it_changed() {
    let soda = Soda::start(complaints(&sixty_days()[..8]));
    let place = city(&soda);
    let backfill = |from: &str, to: &str, more: &[&str]| {
        let words = [&["backfill", "created", "--json", "--from", from, "--to", to], more].concat();
        place.lagar(&words).says(0, &[]).json()
    };
    assert_eq!(backfill("2020-01-01", "2020-01-08", &[])["status"], "ok");
    let before = place.lake_files();
    let again = backfill("2020-01-05", "2020-01-05", &["--force"]);
    assert_eq!(
        (&again["status"], &step(&again, "raw.created")["windows"]["unchanged"]),
        (&json!("nothing_new"), &json!(1))
    );
    assert_eq!(backfill("2020-01-05", "2020-01-05", &[])["status"], "nothing_new");
    assert_eq!(place.lake_files(), before, "the lake was written to");

    let mut changed = 0;
    soda.change(|row| {
        if row["created_date"].as_str().unwrap().starts_with("2020-01-05") && row["status"] == "Open" {
            row["status"] = "Closed".into();
            changed += 1;
        }
    });
    assert!(changed > 0);
    assert_eq!(backfill("2020-01-05", "2020-01-05", &[])["status"], "nothing_new", "it is not missing");
    let report = backfill("2020-01-01", "2020-01-08", &["--force"]);
    let counts = &step(&report, "raw.created")["windows"];
    assert_eq!((&counts["loaded"], &counts["unchanged"]), (&json!(1), &json!(7)));
    assert_eq!(loads(&place, "created").len(), 9);
    let newest = place.rows(
        "SELECT count(*) AS n, count(DISTINCT unique_key) AS k, count(*) FILTER (WHERE status = 'Open' AND created_date LIKE '2020-01-05%') AS open FROM raw.created WHERE _newest",
    );
    let all = soda.rows().len();
    assert_eq!(newest[0], json!({"n": all, "k": all, "open": 0}));
    let every = place.rows("SELECT count(*) AS n FROM raw.created");
    assert_eq!(every[0]["n"], all + count(day("2020-01-05")), "what was received stays");
}

#[test]
fn a_missing_window_in_the_middle_is_found() {
    let soda = Soda::start(complaints(&sixty_days()[..10]));
    let place = project(&[feed(&soda, "created", "created_date", "from: 2020-01-01, to: 2020-01-10")]);
    for (from, to) in [("2020-01-01", "2020-01-03"), ("2020-01-06", "2020-01-08")] {
        place.lagar(&["backfill", "created", "--from", from, "--to", to]).says(0, &["now: lagar run"]);
    }
    let asked = soda.requests().len();
    place.lagar(&["backfill", "raw.created", "--from", "2020-01-02", "--to", "2020-01-07"]).says(0, &[]);
    assert_eq!(soda.days_asked(asked), ["2020-01-04", "2020-01-05"]);
    let asked = soda.requests().len();
    place.run(&[]);
    assert_eq!(soda.days_asked(asked), ["2020-01-09", "2020-01-10"]);
    exact_feed(&place, "created", expected(&soda));
    // The past before `from` is there for a backfill alone.
    place
        .lagar(&["backfill", "created", "--from", "2019-12-30", "--to", "2020-01-01"])
        .says(0, &["2 windows"]);
    assert_eq!(place.run(&[])["status"], "nothing_new");
}

#[test]
fn fetched_side_by_side_the_lake_is_the_same() {
    let soda = Soda::start(complaints(&sixty_days()));
    // Two loads are alike but for their ids and times.
    let alike = |place: &Place| -> Vec<Value> {
        let of = |load: &Value| {
            let files = load["files"].as_array().unwrap().iter();
            let files: Vec<Value> =
                files.map(|file| json!([file["sha256"], file["rows"], file["columns"]])).collect();
            json!([load["number"], load["window"]["from"], load["columns"], load["rows"], files])
        };
        loads(place, "created").iter().map(of).collect()
    };
    let rows = "SELECT * EXCLUDE (_load, _loaded_at, _source_file) FROM raw.created ORDER BY unique_key";
    let mut known: Option<(Vec<Value>, Vec<Value>)> = None;
    for parallel in ["1", "4"] {
        let place = city(&soda);
        place.lagar(&[&SIXTY[..], &["--parallel", parallel]].concat()).says(0, &["60 windows"]);
        let now = (alike(&place), place.rows(rows));
        assert_eq!(now.1.len(), soda.rows().len());
        assert_eq!(*known.get_or_insert(now.clone()), now, "--parallel {parallel}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_asked() {
    let soda = Soda::start(complaints(&sixty_days()[..1]));
    let whole = "\n  whole: {type: rest, url: 'http://127.0.0.1:9/x'}\n".to_owned();
    let place = project(&[feed(&soda, "created", "created_date", "from: 2020-01-01"), whole]);
    let refused = |source: &str, from: &str, to: &str, parts: &[&str]| {
        place.lagar(&["backfill", source, "--from", from, "--to", to]).says(2, parts);
    };
    refused("created", "2011-02-31", "2011-03-01", &["there is no 2011-02-31: that month has 28 days"]);
    refused("created", "2020-02-01", "2020-02-30", &["there is no 2020-02-30: that month has 29 days"]);
    refused("created", "2020-13-01", "2020-12-31", &["there is no 2020-13-01"]);
    refused("created", "yesterday", "2020-12-31", &["`yesterday` is not a date"]);
    refused("created", "2020-01-02", "2020-01-01", &["--from 2020-01-02 is after --to 2020-01-01"]);
    refused(
        "creatd",
        "2020-01-01",
        "2020-01-02",
        &["there is no source `creatd`", "did you mean `created`?"],
    );
    refused("whole", "2020-01-01", "2020-01-02", &["`whole` is not read by windows"]);
    assert!(soda.requests().is_empty());
    let broken = project(&[feed(&soda, "created", "created_date", "from: 2011-02-31")]);
    broken
        .lagar(&["check"])
        .says(2, &["sources.created.window.from", "there is no 2011-02-31", "lagar.yaml:"]);
}

#[test]
fn days_that_are_not_over_are_not_read_and_said() {
    let soda = Soda::start([]);
    let today = Utc::now().date_naive();
    let place =
        project(&[feed(&soda, "created", "created_date", &format!("from: {}", today - Days::new(3)))]);
    let (from, to) = ((today - Days::new(3)).to_string(), (today + Days::new(30)).to_string());
    let done = place.lagar(&["backfill", "created", "--from", &from, "--to", &to]);
    done.says(0, &["windows not over yet, and not read"]);
    // Where clocks in New York are behind, it is still yesterday there.
    let there = loads(&place, "created");
    assert!((2..=3).contains(&there.len()), "{}", there.len());
    assert!(there.iter().all(|load| load["rows"] == 0));
    assert_eq!(place.run(&[])["status"], "nothing_new", "days without rows are done, too");
}

#[test]
fn late_rows_are_found_within_the_lag() {
    let mut battery = Battery::new("S3");
    battery.case("a row with an equal time comes late", late_rows);
}

fn late_rows() {
    let soda = Soda::start([]);
    let today = (Utc::now() - TimeDelta::hours(5)).date_naive();
    let ago = |days: u64| today - Days::new(days);
    let row = |key: &str, day: NaiveDate| -> Row {
        let row = json!({"unique_key": key, "created_date": format!("{day}T12:00:00.000"), "status": "Open"});
        row.as_object().unwrap().clone()
    };
    (2..=9).for_each(|days| soda.insert(row(&days.to_string(), ago(days))));
    let place = project(&[feed(&soda, "created", "created_date", &format!("from: {}, lag: 96h", ago(9)))]);
    place.run(&[]);
    let asked = soda.requests().len();
    assert_eq!(place.run(&[])["status"], "nothing_new");
    let again = soda.days_asked(asked);
    assert!((3..=5).contains(&again.len()), "{again:?}");
    assert!(again.contains(&ago(3).to_string()) && !again.contains(&ago(9).to_string()), "{again:?}");
    // One comes late within the lag, with the same moment as another one; and one far behind.
    soda.insert(row("late", ago(3)));
    soda.insert(row("too late", ago(9)));
    let report = place.run(&[]);
    assert_eq!(step(&report, "raw.created")["windows"]["loaded"], 1);
    let newest = "SELECT unique_key FROM raw.created WHERE _newest";
    assert_eq!(place.rows(newest).len(), 9);
    let from = ago(9).to_string();
    place.lagar(&["backfill", "created", "--from", &from, "--to", &from, "--force"]).says(0, &["1 window"]);
    assert_eq!(keys(&place.rows(newest)), expected(&soda));
}

#[test]
fn rows_that_move_between_pages_are_not_lost() {
    let mut battery = Battery::new("S2");
    battery.case("ten rows put in between pages of 25", rows_that_move);
}

fn rows_that_move() {
    let days = sixty_days();
    let soda = Soda::start(complaints(&days[..8]));
    soda.cap(25); // fewer than are asked for, and not a word about it
    let before = expected(&soda);
    for n in 0..10 {
        let row = json!({"unique_key": format!("new {n}"), "created_date": "2020-01-05T10:00:00.000"});
        soda.insert_between(row.as_object().unwrap().clone());
    }
    let place = project(&[feed(&soda, "created", "created_date", "from: 2020-01-01, to: 2020-01-08")]);
    place.run(&[]);
    let rows = rows_of(&place, "created", &loads(&place, "created"));
    let found: BTreeSet<String> = keys(&rows).into_iter().collect();
    let lost: Vec<&String> = before.iter().filter(|key| !found.contains(*key)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    // The next look at that day finds all that was put in, each once.
    place
        .lagar(&["backfill", "created", "--from", "2020-01-05", "--to", "2020-01-05", "--force"])
        .says(0, &[]);
    let newest = place.rows("SELECT DISTINCT unique_key FROM raw.created WHERE _newest");
    assert_eq!(keys(&newest), expected(&soda));
    assert!(soda.rows().len() > before.len(), "nothing was put in");
}

/// The test server is no easy one: without an order the pages of one read overlap.
#[test]
fn without_an_order_the_test_server_loses_rows() {
    let soda = Soda::start(complaints(&sixty_days()[..5]));
    let yaml = format!(
        "name: city\nsources:\n  rows:\n    type: rest\n    url: {}/resource/x.json\n    pages: {{type: offset, size: {PAGE}, size_param: $limit, offset_param: $offset}}\n    params: {{$order: status}}\n",
        soda.url
    );
    let place = Place::project(&[("lagar.yaml", &yaml)]);
    place.lagar(&["check"]).says(0, &[]);
    let unordered = yaml.replace("    params: {$order: status}\n", "");
    place.write("lagar.yaml", &unordered);
    place.lagar(&["check"]).says(0, &["`rows`: its rows are asked for with `$order=:id`", "lagar.yaml:"]);
    place.run(&[]);
    assert_eq!(keys(&place.rows("SELECT unique_key FROM raw.rows")), expected(&soda));
    assert!(soda.queries().iter().all(|query| query["$order"] == ":id"));
    let page = |n: usize| -> Vec<Value> {
        let url = format!("{}/resource/x.json?$limit=40&$offset={}", soda.url, n * PAGE);
        serde_json::from_str(&http::get(&url)).unwrap()
    };
    let pages: Vec<Value> = (0..soda.rows().len().div_ceil(PAGE)).flat_map(page).collect();
    assert_ne!(keys(&pages), expected(&soda));
}

#[test]
fn a_server_that_goes_nowhere_is_stopped_by_name() {
    let soda = Soda::start(complaints(&sixty_days()[..8]));
    soda.stick();
    let place = project(&[feed(&soda, "created", "created_date", "from: 2020-01-01, to: 2020-01-08")]);
    let done = place.lagar(&["run", "--json"]);
    done.says(1, &["E2203", "window 2020-01-01", "page 2 has the same rows as one before it"]);
    let report = done.json();
    assert_eq!(step(&report, "raw.created")["windows"]["due"], 8);
    assert!(report.to_string().contains("8 windows left: the next run reads them"), "{report}");
    assert!(loads(&place, "created").is_empty());
}

#[test]
fn a_server_may_ask_to_come_back_later_and_wants_its_token() {
    let days = sixty_days();
    let soda = Soda::start(complaints(&days[..3]));
    let place = project(&[feed(&soda, "created", "created_date", "from: 2020-01-01, to: 2020-01-03")]);
    soda.refuse(&[429, 202]);
    place.run(&[]);
    exact_feed(&place, "created", expected(&soda));
    assert!(soda.requests().iter().all(|request| request.header("x-app-token").is_none()));
    // Given up in the middle, what came before stays and the rest is read by the next run.
    soda.refuse(&[503; 20]);
    let before = soda.requests().len();
    let words = ["run", "--full-refresh"];
    let mut command = place.command(&words);
    let done = Done::of(command.env("SODA_TOKEN", "t0ken").output().unwrap());
    done.says(75, &["E2202", "window 2020-01-01"]);
    let asked = soda.requests();
    assert!(asked[before..].iter().all(|request| request.header("x-app-token") == Some("t0ken")));
}

/// What the windows of a project are is not changed behind the back of what was loaded by others.
#[test]
fn another_size_of_windows_is_refused_until_all_is_read_again() {
    let soda = Soda::start(complaints(&sixty_days()[..14]));
    let yaml = |size: &str| {
        let feed = feed(&soda, "created", "created_date", "from: 2020-01-01, to: 2020-01-14");
        format!("name: city\nsources:{}", feed.replace("size: 1d", &format!("size: {size}")))
    };
    let place = Place::project(&[("lagar.yaml", &yaml("7d"))]);
    place.run(&[]);
    assert_eq!(loads(&place, "created").len(), 2);
    place.write("lagar.yaml", yaml("1d"));
    let hint = "put `size` and `from` back, or read all again with: lagar run -s raw.created --full-refresh";
    place.lagar(&["run"]).says(1, &["is of the window 2020-01-08..2020-01-14", hint, "lagar.yaml:"]);
    // Some days of the week are there twice until all of it are read.
    let model = "-- C.\nSELECT unique_key FROM raw.created WHERE _newest\n";
    place.write("trusted/complaints.sql", model);
    let some = ["backfill", "created", "--from", "2020-01-01", "--to", "2020-01-03", "--force"];
    place.lagar(&some).says(0, &[]);
    place
        .lagar(&["run", "-s", "trusted.complaints"])
        .says(1, &["2020-01-01..2020-01-07", "there twice", "--full-refresh"]);
    place.run(&["--full-refresh"]);
    for table in ["raw.created WHERE _newest", "trusted.complaints"] {
        let newest = place.rows(&format!("SELECT unique_key FROM {table}"));
        assert_eq!(keys(&newest), expected(&soda));
    }
    assert_eq!(place.run(&[])["status"], "nothing_new");
}

#[test]
fn a_backfill_is_a_run_of_its_own() {
    let soda = Soda::start(complaints(&sixty_days()[..2]));
    let place = project(&[feed(&soda, "created", "created_date", "from: 2020-01-01, to: 2020-01-02")]);
    place.write(
        "trusted/complaints.sql",
        "-- One row a complaint.\nSELECT unique_key FROM raw.created WHERE _newest\n",
    );
    let words = ["backfill", "created", "--from", "2020-01-01", "--to", "2020-01-02", "--json"];
    let report = place.lagar(&words).says(0, &["now: lagar run"]).json();
    assert_eq!((report["steps"].as_array().unwrap().len(), &report["release"]), (1, &Value::Null));
    let runs = place.lagar(&["runs", "--json"]).json();
    let run = &runs.as_array().unwrap()[0];
    assert_eq!((&run["command"], &run["run_id"]), (&json!("backfill"), &report["run_id"]));
    // The models are the next run's.
    let report = place.run(&[]);
    assert_eq!(step(&report, "trusted.complaints")["rows_out"], soda.rows().len());
    // It takes the same lock.
    let mut run = Running::start(place.command(&["run"]).env("LAGAR_KILL_POINT", "history-begun:stop"));
    run.until(&passed(KillPoint::HistoryBegun));
    run.until_stopped();
    place.lagar(&words).says(75, &["another run of this project is going on"]);
    run.kill();
}

/// A day is an answer of its own where answers were saved.
#[test]
fn saved_answers_are_read_by_the_day() {
    let yaml = "name: saved\nsources:\n  created:\n    type: rest\n    url: file:api/created\n    window: {size: 1d, from: 2020-01-01, to: 2020-01-04, params: {$where: \"d between '{from}' and '{to}'\"}}\n";
    let place = Place::project(&[("lagar.yaml", yaml)]);
    for day in 1..=3 {
        place.write(&format!("api/created/2020-01-0{day}.json"), format!("[{{\"unique_key\": \"{day}\"}}]"));
    }
    place.lagar(&["run"]).says(1, &["window 2020-01-04", "2020-01-04.json", "1 window left"]);
    place.write("api/created/2020-01-04.json", "[]");
    place.run(&[]);
    assert_eq!(keys(&place.rows("SELECT unique_key FROM raw.created")), ["1", "2", "3"]);
    place.write("api/created/2020-01-02.json", "[]");
    place
        .lagar(&["backfill", "created", "--from", "2020-01-01", "--to", "2020-01-04", "--force"])
        .says(0, &["1 window"]);
    assert_eq!(keys(&place.rows("SELECT unique_key FROM raw.created WHERE _newest")), ["1", "3"]);
}

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

/// Fails with the first rows that are not the same, and not with all of them.
#[track_caller]
fn same(found: &[Value], expected: &[Value]) {
    if let Some((found, expected)) = found.iter().zip(expected).find(|(found, expected)| found != expected) {
        panic!("{found} is not {expected}");
    }
    assert_eq!(found.len(), expected.len());
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

/// `9.5 s` or `1 min 05 s`.
fn seconds(text: &str) -> f64 {
    let numbers = text.split(' ').filter_map(|word| word.parse::<f64>().ok());
    numbers.fold(0.0, |sum, number| sum * 60.0 + number)
}

#[test]
fn a_long_backfill_says_how_far_it_is_and_how_long_the_rest_will_take() {
    const WINDOWS: u32 = 8;
    // More than goes by between two lines.
    const PAUSE: Duration = Duration::from_millis(5200);
    let soda = Soda::start(complaints(&sixty_days()[..8]));
    let place = city(&soda);
    let words = ["backfill", "created", "--from", "2020-01-01", "--to", "2020-01-08"];
    let began = Instant::now();
    let mut command = place.command(&words);
    command.env("LAGAR_KILL_POINT", "load-committed:stop:2,load-committed:stop:6");
    let mut run = Running::start(&mut command);
    let mut lefts = Vec::new();
    for (pauses, done) in [(1, 2), (2, 6)] {
        run.until(&passed(KillPoint::LoadCommitted));
        run.until_stopped();
        // While it stands still its clock goes on.
        thread::sleep(PAUSE);
        run.signal("CONT");
        run.until(&format!("… raw.created: {done} of {WINDOWS} windows, about "));
        // As many windows as are left take as long, each, as those that are done.
        let rest = f64::from(WINDOWS - done) / f64::from(done);
        let (least, most) = ((PAUSE * pauses).as_secs_f64() * rest, began.elapsed().as_secs_f64() * rest);
        lefts.push((done, least, most));
    }
    let ended = run.end();
    ended.says(0, &["rows of 8 windows in", "now: lagar run"]);
    for (done, least, most) in lefts {
        let start = format!("… raw.created: {done} of {WINDOWS} windows, about ");
        let lines: Vec<&str> =
            ended.stderr.lines().filter_map(|line| line.split_once(&start)).map(|of| of.1).collect();
        assert_eq!(lines.len(), 1, "{}", ended.stderr);
        let left = seconds(lines[0].strip_suffix(" left").unwrap());
        // It is shown with one digit behind the point, or none.
        assert!(least - 1.0 < left && left < most + 1.0, "{left} s, not {least} s to {most} s");
    }
    exact(&place, &soda, 8);
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
