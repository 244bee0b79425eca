//! Sources that are read by windows: `run`, `backfill`, and a server with the manners of SODA.

mod feeds;
mod sql;

use std::{
    collections::BTreeSet,
    fs, thread,
    time::{Duration, Instant},
};

use chrono::{Days, NaiveDate, TimeDelta, Utc};
use lagar_flow::KillPoint;
use lagar_testing::{Battery, env_number, long, mix, replay};
use serde_json::{Value, json};

use crate::support::{
    Done, Place, http,
    running::{Running, passed},
    soda::{Row, Soda},
    step,
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

fn exact_feed(place: &Place, feed: &str, expected: Vec<String>) {
    assert_eq!(keys(&rows_of(place, feed, &loads(place, feed))), expected, "{feed}");
}

/// Fails with the first rows that are not the same, and not with all of them.
#[track_caller]
fn same(found: &[Value], expected: &[Value]) {
    if let Some((found, expected)) = found.iter().zip(expected).find(|(found, expected)| found != expected) {
        panic!("{found} is not {expected}");
    }
    assert_eq!(found.len(), expected.len());
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
