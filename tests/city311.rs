//! The sample project `sql/city311`, offline: two feeds read day by day, merged, corrected, told about.

use crate::support::{Place, step};

fn city311() -> Place {
    Place::sample("city311")
}

/// The value of the only row and column of a query.
fn one(place: &Place, sql: &str) -> serde_json::Value {
    let rows = place.rows(sql);
    assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
    rows[0].as_object().and_then(|row| row.values().next()).cloned().unwrap_or_default()
}

#[test]
fn two_feeds_become_one_table() {
    let place = city311();
    let report = place.run(&[]);
    assert_eq!(report["status"], "ok", "{report}");
    // 28 days of each feed, one load a day.
    for (feed, rows) in [("raw.complaints_created", 281), ("raw.complaints_closed", 250)] {
        let step = step(&report, feed);
        assert_eq!((step["rows_out"].as_u64(), step["version"].as_u64()), (Some(rows), Some(28)), "{step}");
    }
    // The two that were opened before the line existed, or will be, are in no table.
    assert_eq!(one(&place, "SELECT count(*) FROM trusted.complaints"), 281);
    assert_eq!(one(&place, "SELECT count(DISTINCT unique_key) FROM trusted.complaints"), 281);
    assert_eq!(one(&place, "SELECT count(*) FROM refused.trusted.complaints"), 2);
    // What the closed feed says later counts.
    let open = "SELECT count(*) FROM trusted.complaints c JOIN raw.complaints_closed f
                ON c.unique_key = CAST(f.unique_key AS BIGINT) WHERE c.status <> 'closed'";
    assert_eq!(one(&place, open), 0);
    // Impossible dates are flagged, and counted by the checks.
    let flags = place.rows(
        "SELECT closed_flag, count(*) AS n FROM trusted.complaints WHERE closed_flag IS NOT NULL GROUP BY 1 ORDER BY 1",
    );
    assert_eq!(
        serde_json::json!(flags),
        serde_json::json!([{"closed_flag": "before opened", "n": 1}, {"closed_flag": "placeholder", "n": 2}])
    );
    let warned = place.rows(
        "SELECT check_name, rows_failed FROM system.checks WHERE severity = 'warn' AND rows_failed > 0 ORDER BY 1",
    );
    assert_eq!(warned.len(), 2, "{warned:?}");
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

    // A day of the closed feed is corrected: one more request was closed on it.
    let day = place.dir.path().join("data-samples/city311/closed/2024-05-11.json");
    let text = std::fs::read_to_string(&day).unwrap();
    let open =
        place.rows("SELECT unique_key FROM trusted.complaints WHERE status <> 'closed' ORDER BY 1 LIMIT 1");
    let key = open[0]["unique_key"].to_string();
    let row = format!(
        r#"{{"unique_key":"{key}","created_date":"2024-05-10T10:00:00.000","closed_date":"2024-05-11T20:00:00.000","agency":"DOT","agency_name":"x","complaint_type":"y","status":"Closed","borough":"QUEENS","resolution_action_updated_date":"2024-05-11T20:00:00.000"}}"#
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
    let status = format!("SELECT status FROM trusted.complaints WHERE unique_key = {key}");
    assert_eq!(one(&place, &status), "closed");
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
