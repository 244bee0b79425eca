//! The sample project `sql/city311`, offline: two feeds read day by day, merged, corrected, told about.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use lagar_engine::FUNCTIONS;
use serde_json::{Value, json};

use crate::support::{Place, files_below, root, step};

/// What people and machines write in the real feeds, each value somewhere in the sample.
const DIRT: &[(&str, &[&str])] = &[
    ("agency_name", &["  Department  of Transportation "]),
    ("complaint_type", &["../../WEB-INF/web.xml;x=", "ZTESTINT"]),
    ("descriptor", &["NaN"]),
    ("incident_zip", &["*", "XXXXX", "N/A", "", "07102"]),
    ("address_type", &["ADDRESS", "BLOCKFACE", "INTERSECTION", "LATLONG", "PLACENAME"]),
    ("city", &["JAMAICA", "Jamaica", "Brooklyn ", "NA", "nan", "UNKNOWN", "NEWARK"]),
    ("cross_street_2", &["nan", "FERRY ROAD"]),
    ("intersection_street_1", &["nan", "FERRY ROAD"]),
    ("intersection_street_2", &["ALDER  STREET"]),
    ("landmark", &[".", "CITY HALL"]),
    ("facility_type", &["N/A", "n/a", "Na", "Precinct"]),
    ("status", &["Assigned", "Closed", "Closed - Testing", "Email Sent", "In Progress"]),
    ("status", &["Open", "Pending", "Started", "Unassigned", "Unspecified"]),
    ("created_date", &["2001-02-03T04:05:06.000", "2099-01-01T00:00:00.000"]),
    ("closed_date", &["1899-12-31T19:00:00.000", "1900-01-01T00:00:00.000", "2009-12-31T23:59:59.000"]),
    ("closed_date", &["2099-06-01T00:00:00.000", "2100-01-01T00:00:00.000"]),
    ("due_date", &["nan", "1900-01-02T00:00:00.000", "2001-02-03T04:05:06.000", "2100-01-01T00:00:00.000"]),
    ("resolution_action_updated_date", &["1900-01-01T00:00:00.000", "2001-02-03T04:05:06.000"]),
    ("resolution_action_updated_date", &["2099-06-01T00:00:00.000"]),
    ("resolution_description", &["NaN", "The request is a duplicate   of another one."]),
    ("community_board", &["0 Unspecified"]),
    ("borough", &["Unspecified"]),
    ("open_data_channel_type", &["MOBILE", "ONLINE", "OTHER", "PHONE", "UNKNOWN"]),
    ("park_facility_name", &["Unspecified"]),
    ("vehicle_type", &["Car Service"]),
    ("taxi_company_borough", &["QUEENS"]),
    ("taxi_pick_up_location", &["Other"]),
    ("bridge_highway_name", &["BQE"]),
    ("road_ramp", &["Roadway"]),
];

fn city311() -> Place {
    Place::sample("city311")
}

/// The value of the only row and column of a query.
fn one(place: &Place, sql: &str) -> Value {
    let rows = place.rows(sql);
    assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
    rows[0].as_object().and_then(|row| row.values().next()).cloned().unwrap_or_default()
}

#[test]
fn two_feeds_become_one_table() {
    let place = city311();
    let done = place.lagar(&["run", "--json"]);
    let report = done.says(0, &[]).json();
    assert_eq!(report["status"], "ok", "{report}");
    // 28 days of each feed, one load a day.
    for (feed, rows) in [("raw.complaints_created", 281), ("raw.complaints_closed", 250)] {
        let step = step(&report, feed);
        assert_eq!((step["rows_out"].as_u64(), step["version"].as_u64()), (Some(rows), Some(28)), "{step}");
    }
    // The two that were opened before the line existed, or will be, are in no table.
    assert_eq!(one(&place, "SELECT count(*) FROM trusted.complaints"), 281);
    assert_eq!(one(&place, "SELECT count(DISTINCT unique_key) FROM trusted.complaints"), 281);
    let refused = "SELECT unique_key, _failed_check FROM refused.trusted.complaints ORDER BY 1";
    assert_eq!(
        place.rows(refused),
        [
            json!({"unique_key": 1_000_001, "_failed_check": "opened_since_2010"}),
            json!({"unique_key": 99_000_001, "_failed_check": "opened_before_it_was_loaded"}),
        ]
    );
    // What the closed feed says later counts.
    let open = "SELECT count(*) FROM trusted.complaints c JOIN raw.complaints_closed f
                ON c.unique_key = CAST(f.unique_key AS BIGINT) WHERE c.status <> 'closed'";
    assert_eq!(one(&place, open), 0);
    // Impossible dates are null and flagged, and every rule counts its own.
    let kept = "SELECT count(*) FROM trusted.complaints
                WHERE (closed_flag IS NOT NULL AND closed_at IS NOT NULL) OR (due_flag IS NOT NULL AND due_at IS NOT NULL)
                OR (updated_flag IS NOT NULL AND resolution_updated_at IS NOT NULL)
                OR closed_at < created_at OR greatest(closed_at, resolution_updated_at) > loaded_at
                OR least(created_at, closed_at, due_at, resolution_updated_at) < '2010-01-01T05:00:00Z'";
    assert_eq!(one(&place, kept), 0);
    let expected: &[(&str, &str, u64, usize)] = &[
        ("unique(unique_key)", "error", 281, 0),
        ("not_null(unique_key)", "error", 281, 0),
        ("rows > 0", "error", 281, 0),
        ("not_null(created_at)", "error", 281, 0),
        ("not_null(created_day)", "error", 281, 0),
        ("not_null(agency)", "error", 281, 0),
        ("not_null(complaint_type)", "error", 281, 0),
        ("known_borough", "error", 281, 0),
        ("zip_is_text_of_five_digits", "error", 281, 0),
        ("no_word_for_nothing", "warn", 281, 0),
        // The two that were left out were tested as well.
        ("opened_since_2010", "drop", 283, 1),
        ("opened_before_it_was_loaded", "drop", 283, 1),
        ("closed_before_opened", "warn", 281, 1),
        ("closed_is_a_placeholder", "warn", 281, 3),
        ("closed_before_2010", "warn", 281, 1),
        ("closed_after_it_was_loaded", "warn", 281, 1),
        ("due_is_a_placeholder", "warn", 281, 9),
        ("due_before_2010", "warn", 281, 1),
        ("updated_is_a_placeholder", "warn", 281, 1),
        ("updated_before_2010", "warn", 281, 1),
        ("updated_after_it_was_loaded", "warn", 281, 1),
    ];
    let checks = place.rows(
        "SELECT check_name, severity, rows_tested, rows_failed, sample FROM system.checks WHERE table_name = 'trusted.complaints'",
    );
    assert_eq!(checks.len(), expected.len(), "{checks:#?}");
    for (check, (name, severity, tested, failed)) in checks.iter().zip(expected) {
        let found = [&check["check_name"], &check["severity"], &check["rows_tested"], &check["rows_failed"]];
        assert_eq!(json!(found), json!([name, severity, tested, failed]));
        let sample = check["sample"].as_str().unwrap_or("[]");
        let sample: Vec<Value> = serde_json::from_str(sample).unwrap();
        assert_eq!(sample.len(), (*failed).min(5), "{check}");
    }
    // No rule about the other tables is broken.
    let others = "SELECT table_name, severity, count(*) AS checks, min(rows_tested) AS tested, sum(rows_failed) AS failed
                  FROM system.checks WHERE table_name <> 'trusted.complaints' GROUP BY 1, 2 ORDER BY 1";
    let clean = |table: &str, checks: u64, tested: u64| json!({"table_name": table, "severity": "error", "checks": checks, "tested": tested, "failed": 0});
    assert_eq!(
        place.rows(others),
        [
            clean("refined.noise_ahead", 4, 42),
            clean("refined.noise_daily", 6, 3528),
            clean("refined.noise_features", 5, 3528),
            clean("refined.noise_predictions", 6, 3528),
            clean("refined.open_by_agency", 4, 6),
            clean("refined.response_hours", 5, 16),
        ]
    );
    // The run tells of those that warn, and of no other.
    let told: Vec<&str> =
        done.stderr.lines().map(str::trim).filter(|line| line.starts_with("warning: check")).collect();
    let warned = expected.iter().filter(|(_, severity, _, failed)| *severity == "warn" && *failed > 0);
    assert_eq!(told.len(), warned.clone().count(), "{told:#?}");
    for (line, (name, _, tested, failed)) in told.iter().zip(warned) {
        assert!(line.starts_with(&format!("warning: check {name} of trusted.complaints")), "{line}");
        assert!(line.ends_with(&format!(": {failed} of {tested} rows")), "{line}");
    }
}

#[test]
fn texts_are_clean_and_zips_stay_texts() {
    let place = city311();
    place.run(&[]);
    let junk =
        "SELECT count(*) FROM trusted.complaints WHERE lower(city) IN ('nan', 'na', 'n/a', 'unknown', '')
                OR city <> trim(city) OR incident_address LIKE '%  %' OR agency <> lower(agency)
                OR NOT regexp_like(incident_zip, '^[0-9]{5}$')";
    assert_eq!(one(&place, junk), 0);
    // What a word says stays, also a seldom one.
    let words = |column: &str| {
        one(
            &place,
            &format!("SELECT string_agg(DISTINCT {column}, ', ' ORDER BY {column}) FROM trusted.complaints"),
        )
    };
    assert_eq!(words("address_type"), "address, blockface, intersection, latlong, placename");
    assert_eq!(words("channel"), "mobile, online, other, phone, unknown");
    assert_eq!(words("facility_type"), "precinct");
    assert_eq!(
        words("status"),
        "closed, closed - testing, email sent, in progress, open, pending, started, unassigned, unspecified"
    );
    assert_eq!(words("city"), "astoria, bronx, brooklyn, flushing, jamaica, new york, newark, staten island");
    // `*` for a zip code, `NA` for a city, a code with a zero in front, `nan` for a street.
    let seldom = |key: u64| {
        let sql = format!(
            "SELECT incident_zip, city, cross_street_2 FROM trusted.complaints WHERE unique_key = {key}"
        );
        let row = place.rows(&sql).remove(0);
        json!([row["incident_zip"], row["city"], row["cross_street_2"]])
    };
    assert_eq!(seldom(61_000_112), json!([null, "brooklyn", "cedar street"]));
    assert_eq!(seldom(61_000_151), json!(["10182", null, "birchwood road"]));
    assert_eq!(seldom(61_000_171), json!(["07102", "newark", "birchwood road"]));
    assert_eq!(seldom(61_000_186), json!(["10113", "new york", null]));
    assert_eq!(
        one(&place, "SELECT min(length(bbl)) = 10 AND max(length(bbl)) = 10 FROM trusted.complaints"),
        true
    );
    // Every day and borough, whatever was heard.
    assert_eq!(one(&place, "SELECT count(*) FROM refined.noise_daily"), (560 + 28) * 6);
    let sum = "SELECT sum(cases) = (SELECT count(*) FROM trusted.complaints WHERE agency = 'nypd'
               AND complaint_type LIKE '%noise%') FROM refined.noise_daily WHERE day >= '2024-04-15'";
    assert_eq!(one(&place, sum), true);
}

#[test]
fn the_second_run_finds_nothing_and_a_changed_day_changes_one_load() {
    let place = city311();
    place.run(&[]);
    let before = place.lake_files();
    let report = place.run(&[]);
    assert_eq!(report["status"], "nothing_new", "{report}");
    assert_eq!(place.lake_files().len(), before.len());

    // A day of the closed feed is corrected: one more request was closed on it. When it was changed last cannot be, so
    // that it is the newest that was heard of it follows from when it was closed.
    let day = place.dir.path().join("data-samples/city311/closed/2024-05-11.json");
    let text = std::fs::read_to_string(&day).unwrap();
    let open =
        place.rows("SELECT unique_key FROM trusted.complaints WHERE status <> 'closed' ORDER BY 1 LIMIT 1");
    let key = open[0]["unique_key"].to_string();
    let row = format!(
        r#"{{"unique_key":"{key}","created_date":"2024-05-10T10:00:00.000","closed_date":"2024-05-11T20:00:00.000","agency":"DOT","agency_name":"x","complaint_type":"y","status":"Closed","borough":"QUEENS","resolution_action_updated_date":"2099-05-11T20:00:00.000"}}"#
    );
    std::fs::write(&day, text.replacen('[', &format!("[{row},\n"), 1)).unwrap();
    // That day is long over: only who asks for it reads it again.
    let done = place.lagar(&[
        "backfill",
        "complaints_closed",
        "--from",
        "2024-05-11",
        "--to",
        "2024-05-11",
        "--force",
    ]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let report = place.run(&[]);
    let built = step(&report, "trusted.complaints");
    assert_eq!(built["status"], "ok", "{built}");
    assert_eq!(one(&place, "SELECT count(*) FROM trusted.complaints"), 281);
    let row = "SELECT status, updated_flag, heard_at = closed_at AS heard FROM trusted.complaints";
    assert_eq!(
        place.rows(&format!("{row} WHERE unique_key = {key}")),
        [json!({"status": "closed", "updated_flag": "after loaded", "heard": true})]
    );
}

/// The first run with the service has a few weeks and nothing before them, too little to beat a baseline by more than
/// chance; its tables are released all the same. Here the saved answers stand for the service.
#[test]
fn the_first_weeks_of_the_service_are_released() {
    let place = city311();
    let saved = |feed: &str| format!("{feed}=file:../../data-samples/city311/{feed}");
    let (created, closed) = (saved("created"), saved("closed"));
    let mut args = vec!["--profile", "live"];
    for var in [created.as_str(), &closed, "from=2024-04-15", "to=2024-05-12"] {
        args.extend(["--var", var]);
    }
    let report = place.run(&args);
    assert_eq!(report["status"], "ok", "{report}");
    let asked = "SELECT count(*) AS n, count(expected) AS known FROM refined.noise_predictions";
    assert_eq!(place.rows(asked), [json!({"n": 168, "known": 168})]);
}

#[test]
fn the_models_pass_their_tests_and_the_check() {
    let place = city311();
    assert_eq!(place.lagar(&["check"]).says(0, &[]).code, 0);
    let done = place.lagar(&["test"]);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
}

/// The column rule writes a model that can be used as it is.
#[test]
fn the_suggested_model_passes_the_check_and_runs() {
    let place = city311();
    place.run(&["-s", "raw.complaints_created"]);
    let file = place.project.join("trusted/suggested.sql");
    let file = file.to_str().unwrap();
    let done = place.lagar(&["profile", "raw.complaints_created", "--suggest", "-o", file]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(place.lagar(&["check"]).says(0, &[]).code, 0);
    let report = place.run(&["-s", "trusted.suggested"]);
    assert_eq!(step(&report, "trusted.suggested")["rows_out"], 281);
    let text = std::fs::read_to_string(file).unwrap();
    for kept in ["zip_code(incident_zip)", "try_timestamp(created_date)", "clean(borough)"] {
        assert!(text.contains(kept), "{kept} is not in\n{text}");
    }
    for dropped in ["vehicle_type", "park_facility_name", "bridge_highway_name"] {
        assert!(text.contains(&format!("-- dropped: {dropped}")), "{dropped} is not dropped in\n{text}");
    }
}

/// What the functions are for can be seen in the sample.
#[test]
fn every_helper_function_is_used() {
    let mut sql = String::new();
    for file in files_below(&root().join("sql/city311")) {
        if file.extension().is_some_and(|extension| extension == "sql") {
            for line in fs::read_to_string(file).unwrap().lines() {
                sql.push_str(line.split("--").next().unwrap_or_default());
                sql.push('\n');
            }
        }
    }
    for function in FUNCTIONS {
        let name = function.name;
        let is_called = |at: usize| {
            !sql[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
                && sql[at + name.len()..].starts_with('(')
        };
        assert!(sql.match_indices(name).any(|(at, _)| is_called(at)), "{name}");
    }
}

/// The page of the README.
#[test]
fn the_page_of_the_complaints_shows_each_column() {
    let place = city311();
    place.run(&["-s", "+trusted.complaints"]);
    let columns = place.rows("DESCRIBE trusted.complaints");
    let columns: Vec<&str> = columns.iter().map(|column| column["column_name"].as_str().unwrap()).collect();
    assert!(columns.len() > 30, "{columns:?}");
    let page = place.lagar(&["profile", "trusted.complaints"]).says(0, &[]).stdout.clone();
    let of = |column: &str| {
        // Its own line, which begins with its name, and those that are set in below.
        let mut lines = page.lines().skip_while(|line| line.split(' ').next() != Some(column));
        let first = lines.next().unwrap_or_else(|| panic!("no {column} in\n{page}"));
        let below = lines.take_while(|line| line.starts_with("  "));
        std::iter::once(first).chain(below).collect::<Vec<_>>().join("\n")
    };
    for &column in &columns {
        assert!(
            of(column).contains(['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']),
            "no histogram of {column} in\n{page}"
        );
    }
    let boroughs = of("borough");
    for value in
        ["brooklyn 32.7 %", "queens 23.8 %", "manhattan 18.9 %", "bronx 16.4 %", "staten island 6.4 %"]
    {
        assert!(boroughs.contains(value), "{value} is not in\n{boroughs}");
    }
    assert!(of("closed_flag").contains("97.9 %"), "{}", of("closed_flag"));

    let file = place.dir.path().join("complaints.html");
    place
        .lagar(&["profile", "trusted.complaints", "--html", file.to_str().unwrap()])
        .says(0, &["complaints.html"]);
    let html = fs::read_to_string(&file).unwrap();
    for part in columns.iter().chain(&["<svg", "brooklyn", "</html>"]) {
        assert!(html.contains(part), "{part}");
    }
}

/// The files of a folder and their bytes.
fn content(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let name = |path: &Path| path.strip_prefix(folder).unwrap().display().to_string();
    files_below(folder).iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
}

/// The sample can be made again, and has the dirt of the real feeds.
#[test]
fn the_sample_is_what_make_py_writes() {
    let place = city311();
    let (made, committed) =
        (place.dir.path().join("data-samples/city311"), root().join("data-samples/city311"));
    for file in files_below(&made) {
        if !file.ends_with("make.py") {
            fs::remove_file(file).unwrap();
        }
    }
    let done = Command::new("python3").arg(made.join("make.py")).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let (made, committed) = (content(&made), content(&committed));
    assert_eq!(made.keys().collect::<Vec<_>>(), committed.keys().collect::<Vec<_>>());
    let differ: Vec<&String> = made.keys().filter(|name| made[*name] != committed[*name]).collect();
    assert_eq!(differ, Vec::<&String>::new());

    let text = |part: &str| {
        let files = committed.iter().filter(|(name, _)| name.contains(part));
        files.map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect::<String>()
    };
    let feeds = text(".json");
    for (field, values) in DIRT {
        for value in *values {
            assert!(feeds.contains(&format!(r#""{field}":"{value}""#)), "no {field} `{value}`");
        }
    }
    // Numbers that went through floats, texts as they are typed in.
    for ends in [".0\",\"incident_address", ".0\",\"y_coordinate", "E9\",", "   HARBOR PLACE\"", "59.999\""] {
        assert!(feeds.contains(ends), "nothing ends in `{ends}`");
    }
    // Lists without a row, and a column that some days lack.
    assert_eq!(committed.values().filter(|bytes| *bytes == b"[]\n").count(), 2);
    assert!(
        !text("2024-04-30").contains("council_district") && text("2024-05-01").contains("council_district")
    );
    let counts = text("noise_before.csv");
    for answer in [",TRUE\n", ",FALSE\n", ",Y\n", ",N\n", ",yes\n", ",no\n"] {
        assert!(counts.contains(answer), "no {answer}");
    }
}
