//! Predictors: trained, judged, promoted, released and asked in the run that makes their tables.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    Place, fixtures,
    http::{self, Server},
    step,
};

/// Days of a place that is loud at weekends; `days` of them, `shift` is added to each value.
fn days(days: usize, shift: f64) -> String {
    let mut csv = String::from("day,place,cases,weekday,loud\n");
    for day in 0..days {
        let date = chrono::NaiveDate::from_ymd_opt(2024, 1, 1).unwrap() + chrono::Days::new(day as u64);
        for (place, usual) in [("north", 100.0), ("south", 40.0)] {
            let weekday = day % 7;
            // Every eleventh day is not as its weekday says.
            let loud = (weekday >= 5) != (day % 11 == 3);
            let cases = usual * if loud { 1.5 } else { 1.0 } + (day * 7 % 5) as f64 + shift;
            csv.push_str(&format!("{date},{place},{cases},{weekday},{loud}\n"));
        }
    }
    csv
}

const YAML: &str = "name: p
sources: {days: {type: file, url: days.csv}}
predictors:
  loud:
    algorithm: random_forest
    from: trusted.days
    target: loud
    features: [place, weekday]
    time: day
    group_by: place
    encode: {place: one_hot}
    params: {trees: 15, max_depth: 5}
    promote: {metric: balanced_accuracy}
  ahead: {algorithm: seasonal_last_value, from: trusted.days, target: cases, time: day, series: [place], horizon: 3, season: 7}
";

fn place() -> Place {
    let place = Place::project(&[
        ("lagar.yaml", YAML),
        ("trusted/days.sql", "SELECT day, place, cases, weekday, loud FROM raw.days WHERE _newest"),
        (
            "refined/asked.sql",
            "SELECT day, place, predict('loud') AS loud, predict_proba('loud') AS share FROM trusted.days",
        ),
        ("refined/ahead.sql", "SELECT * FROM forecast('ahead')"),
    ]);
    place.write("days.csv", days(140, 0.0));
    place
}

fn version(report: &Value, name: &str) -> Value {
    step(report, name)["version"].clone()
}

#[test]
fn a_run_trains_judges_promotes_and_asks() {
    let place = place();
    place.lagar(&["check"]).says(0, &[]);
    let report = place.run(&[]);
    assert_eq!(report["status"], "ok", "{report}");
    let trained = step(&report, "predictors.loud");
    assert_eq!((&trained["kind"], &trained["version"]), (&json!("predictor"), &json!(1)), "{trained}");
    assert!(trained["notes"].to_string().contains("promoted: balanced_accuracy"), "{trained}");
    // The version that was asked is an input of the table.
    assert_eq!(step(&report, "refined.asked")["inputs"]["predictors.loud"], 1);
    let rows = place.rows("SELECT count(*) AS n, count(DISTINCT loud) AS l, min(share) >= 0 AND max(share) <= 1 AS s FROM refined.asked");
    assert_eq!(rows, [json!({"n": 280, "l": 2, "s": true})]);
    let ahead = place.rows("SELECT place, day, step, value FROM refined.ahead ORDER BY place, day LIMIT 1");
    assert_eq!(ahead[0]["day"], "2024-05-20");
    // The same by hand.
    let asked = "SELECT count(*) AS n FROM refined.asked a JOIN
                 (SELECT day, place, predict('loud') AS again FROM trusted.days) b USING (day, place) WHERE loud = again";
    assert_eq!(place.rows(asked), [json!({"n": 280})]);
    assert_eq!(place.rows("SELECT count(*) AS n FROM forecast('ahead', 2)"), [json!({"n": 4})]);
    // Nothing is new.
    assert_eq!(place.run(&[])["status"], "nothing_new");
    // The card and the list.
    let shown = place.lagar(&["predictors", "show", "loud"]);
    shown.says(0, &[]);
    for part in ["majority", "north", "weekday", "balanced"] {
        assert!(shown.stdout.contains(part), "`{part}` is not in\n{}", shown.stdout);
    }
    let page = place.project.join("card.html");
    place.lagar(&["predictors", "show", "loud", "--html", page.to_str().unwrap()]).says(0, &[]);
    let html = fs::read_to_string(page).unwrap();
    assert!(html.contains("<svg") && !html.contains("<script") && html.len() < 150_000);
    let listed = place.lagar(&["predictors", "list", "--json"]).json();
    assert_eq!(listed[1]["name"], "loud");
    assert_eq!(listed[1]["current"], 1);
    place.lagar(&["predictors", "score", "loud", "--format", "csv"]).says(0, &[]);
    place.lagar(&["predictors", "algorithms", "random_forest"]).says(0, &[]);
}

#[test]
fn a_new_version_makes_what_was_asked_stale_and_can_be_taken_back() {
    let place = place();
    place.run(&[]);
    // New rows: both are trained again, and what asks them is made again.
    place.write("days.csv", days(154, 0.0));
    let report = place.run(&[]);
    assert_eq!(version(&report, "predictors.loud"), 2, "{report}");
    assert_eq!(step(&report, "refined.asked")["inputs"]["predictors.loud"], 2);
    // Other settings, the same rows.
    place.write("lagar.yaml", YAML.replace("trees: 15", "trees: 9"));
    let plan = place.lagar(&["plan", "--json"]).stdout;
    assert!(plan.contains("its settings have changed since"), "{plan}");
    let report = place.run(&[]);
    assert_eq!(version(&report, "predictors.loud"), 3);
    assert_eq!(step(&report, "trusted.days")["status"], "nothing_new");
    // By hand to version 1 and back; the next run keeps to it, and makes the tables again.
    let done = place.lagar(&["predictors", "promote", "loud", "1"]);
    done.says(0, &[]);
    let report = place.run(&[]);
    let kept = step(&report, "predictors.loud");
    assert_eq!((&kept["status"], &kept["version"]), (&json!("nothing_new"), &json!(1)), "{kept}");
    assert!(kept["notes"].to_string().contains("by hand"), "{kept}");
    assert_eq!(step(&report, "refined.asked")["inputs"]["predictors.loud"], 1);
    place.lagar(&["predictors", "rollback", "loud"]).says(0, &[]);
    assert_eq!(place.lagar(&["predictors", "list", "--json"]).json()[1]["current"], 3);
    // A release that is rolled back takes its predictors with it.
    place.lagar(&["releases", "rollback", "1"]).says(0, &[]);
    assert_eq!(place.lagar(&["predictors", "list", "--json"]).json()[1]["current"], 1);
    place.lagar(&["predictors", "promote", "loud", "9"]).says(2, &["there is no version 9", "1, 2, 3"]);
}

#[test]
fn a_table_that_adds_to_itself_has_no_answers_of_two_versions() {
    let place = place();
    let model = "/*---\nmaterialize: merge\nkey: [day, place]\nincremental: trusted.days\n---*/
SELECT day, place, predict_proba('loud') AS share FROM trusted.days";
    place.write("refined/asked.sql", model);
    place.run(&[]);
    // Other settings, no new row.
    place.write("lagar.yaml", YAML.replace("trees: 15", "trees: 9"));
    let report = place.run(&[]);
    let made = step(&report, "refined.asked");
    assert_eq!((&made["status"], &made["inputs"]["predictors.loud"]), (&json!("ok"), &json!(2)), "{made}");
    assert!(made["notes"].to_string().contains("all rows are made again"), "{made}");
    let differ = "SELECT count(*) AS n FROM refined.asked a JOIN
                  (SELECT day, place, predict_proba('loud') AS again FROM trusted.days) b USING (day, place)
                  WHERE share <> again";
    assert_eq!(place.rows(differ), [json!({"n": 0})]);
    // An append keeps what it has, and says so.
    let append = model.replace("materialize: merge", "materialize: append");
    place.write("refined/asked.sql", append);
    place.run(&["-s", "refined.asked", "--full-refresh"]);
    place.write("lagar.yaml", YAML);
    let report = place.run(&[]);
    assert!(step(&report, "refined.asked")["notes"].to_string().contains("stay as they are"), "{report}");
}

#[test]
fn what_is_wrong_is_told_before_anything_runs() {
    let place = place();
    let cases: Vec<(&str, String, &[&str])> = vec![
        ("algorithm", YAML.replace("random_forest", "random_forrest"), &["did you mean `random_forest`?"]),
        ("parameter", YAML.replace("trees: 15", "tres: 15"), &["tres"]),
        ("metric", YAML.replace("balanced_accuracy", "rmse"), &["`rmse` is not a metric of classification"]),
        ("key", YAML.replace("group_by", "grup_by"), &["group_by"]),
        (
            "table",
            YAML.replace("from: trusted.days\n", "from: trusted.day\n"),
            &["did you mean `trusted.days`?"],
        ),
        ("no target", YAML.replace("    target: loud\n", ""), &["needs a `target`"]),
    ];
    for (name, yaml, says) in cases {
        place.write("lagar.yaml", yaml);
        let done = place.lagar(&["check"]);
        assert_eq!(done.code, 2, "{name}: {}", done.stderr);
        for part in says {
            assert!(done.stderr.contains(part), "{name}: `{part}` is not in\n{}", done.stderr);
        }
        assert!(done.stderr.contains("lagar.yaml:"), "{name}: {}", done.stderr);
    }
    place.write("lagar.yaml", YAML);
    place.write("refined/asked.sql", "SELECT day, predict('lout') AS x FROM trusted.days");
    place
        .lagar(&["check"])
        .says(2, &["`lout`, which is not defined", "did you mean `loud`?", "asked.sql:1:13"]);
    // A feature that the row does not have is known once the columns are.
    place.write(
        "refined/asked.sql",
        "SELECT day, predict('loud') AS x FROM (SELECT day, place FROM trusted.days)",
    );
    place.lagar(&["run", "-s", "+trusted.days"]).says(0, &[]);
    place.lagar(&["check"]).says(2, &["weekday", "asked.sql:1:13"]);
    place.write("refined/asked.sql", "SELECT day, predict(day) AS x FROM trusted.days");
    place.lagar(&["check"]).says(2, &["takes the name of a predictor as a text"]);
}

#[test]
fn rows_that_cannot_be_learned_from_fail_the_step_by_name_and_nothing_is_released() {
    let place = place();
    // The target under another name.
    place.write("lagar.yaml", YAML.replace("features: [place, weekday]", "features: [place, copy]"));
    place.write("trusted/days.sql", "SELECT *, CAST(loud AS INT) AS copy FROM raw.days WHERE _newest");
    let done = place.lagar(&["run", "--json"]);
    done.says(1, &["`copy` gives `loud` away", "allow_leak"]);
    let report = done.json();
    assert_eq!(step(&report, "refined.asked")["status"], "upstream_failed");
    assert_eq!(report["release"], Value::Null);
    // One class only; a null; an empty table.
    place.write("lagar.yaml", YAML);
    place.write(
        "trusted/days.sql",
        "SELECT day, place, cases, weekday, true AS loud FROM raw.days WHERE _newest",
    );
    place.lagar(&["run"]).says(1, &["`target: loud` is `true` in all"]);
    place.write(
        "trusted/days.sql",
        "SELECT day, place, cases, nullif(weekday, 3) AS weekday, loud FROM raw.days WHERE _newest",
    );
    place.lagar(&["run"]).says(1, &["`weekday` is null in", "impute"]);
    place.write(
        "trusted/days.sql",
        "SELECT day, place, cases, weekday, loud FROM raw.days WHERE _newest AND cases < 0",
    );
    let done = place.lagar(&["run", "--json"]);
    done.says(1, &["no rows to learn from"]);
    assert_eq!(step(&done.json(), "predictors.ahead")["status"], "nothing_new");
}

#[test]
fn a_version_that_is_not_good_enough_is_not_asked() {
    let place = place();
    place.write("lagar.yaml", YAML.replace("features: [place, weekday]", "features: [place]"));
    let done = place.lagar(&["run", "--json"]);
    done.says(1, &["no version of the predictor `loud` is current", "lagar predictors promote loud 1"]);
    assert!(step(&done.json(), "predictors.loud")["notes"].to_string().contains("not promoted"));
    place.lagar(&["predictors", "promote", "loud", "1"]).says(0, &[]);
    let report = place.run(&[]);
    assert_eq!(report["status"], "ok", "{report}");
    // A better one takes its place, a worse one does not.
    place.write("lagar.yaml", YAML);
    assert_eq!(version(&place.run(&[]), "refined.asked"), 1);
    place.write("lagar.yaml", YAML.replace("features: [place, weekday]", "features: [place]"));
    let report = place.run(&[]);
    assert!(step(&report, "predictors.loud")["notes"].to_string().contains("not promoted"), "{report}");
    assert_eq!(step(&report, "refined.asked")["inputs"]["predictors.loud"], 2);
}

#[test]
fn old_versions_go_with_the_releases_that_name_them() {
    let place = place();
    for round in 0..4 {
        place.write("days.csv", days(140 + 7 * round, 0.0));
        place.run(&[]);
    }
    let versions = || -> Vec<String> {
        let files = place.lake_files();
        let of = |path: &String| path.strip_prefix("refined/_predictors/loud/").map(str::to_owned);
        files.keys().filter_map(of).filter(|name| !name.starts_with('_')).collect()
    };
    assert_eq!(versions().len(), 4);
    // Everything is young.
    place.lagar(&["table", "vacuum", "--keep-releases", "1"]).says(0, &[]);
    assert_eq!(versions().len(), 4);
}

/// A5 of the sample: the line through the recorded answers, as other tools fit it.
#[test]
fn the_line_through_the_recorded_answers_is_the_known_one() {
    let Some(fixtures) = fixtures() else {
        println!("skipped: LAGAR_FIXTURES is not set");
        return;
    };
    let server = Server::start();
    for name in ["products", "users", "carts"] {
        let body = fs::read(fixtures.join(format!("fakestore_{name}.json"))).unwrap();
        server.on(&format!("/{name}"), vec![http::json(body)]);
    }
    let place = Place::sample("shop");
    let api = format!("api={}", server.url);
    place.run(&["--var", &api, "-s", "+refined.model_summary +refined.price_correlations"]);
    let shown = place.lagar(&["predictors", "show", "price_line", "--json"]).json();
    let coefficients = shown["predictor"]["explanation"]["coefficients"].as_array().unwrap();
    let expected = [("rating", -40.6059549556), ("ratings", -0.1533789948), ("intercept", 350.5922953513)];
    for (found, (name, value)) in coefficients.iter().zip(expected) {
        assert_eq!(found["name"], name);
        assert!((found["value"].as_f64().unwrap() - value).abs() < 1e-6, "{found}");
    }
    let summary = place.rows("SELECT rmse, r2 FROM refined.model_summary");
    assert!((summary[0]["rmse"].as_f64().unwrap() - 261.0373273533).abs() < 1e-6, "{summary:?}");
    assert!((summary[0]["r2"].as_f64().unwrap() - 0.0320790995).abs() < 1e-6, "{summary:?}");
    let pearson = place.rows("SELECT pearson FROM refined.price_correlations ORDER BY a, b");
    for (row, expected) in pearson.iter().zip([-0.1542294, -0.1085854, 0.1177212]) {
        assert!((row["pearson"].as_f64().unwrap() - expected).abs() < 1e-6, "{row}");
    }
}

/// Six boroughs a day, judged beside the majority and the week before.
#[test]
fn the_citys_noise_is_predicted() {
    let place = Place::sample("city311");
    let report = place.run(&[]);
    assert_eq!(report["status"], "ok", "{report}");
    let rows = place.rows("SELECT count(*) / count(DISTINCT day) AS a_day, count(DISTINCT borough) AS boroughs FROM refined.noise_predictions");
    assert_eq!(rows, [json!({"a_day": 6, "boroughs": 6})]);
    let shown = place.lagar(&["predictors", "show", "high_noise", "--json"]).json();
    let judged = &shown["predictor"]["judged"];
    let names: Vec<&str> = judged["baselines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|baseline| baseline["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["majority", "7 days before"]);
    assert_eq!(judged["groups"].as_array().unwrap().len(), 6);
    assert!(
        judged["bias"]["groups"].as_array().unwrap()[0]["rates"].get("tpr").is_some(),
        "{}",
        judged["bias"]
    );
    assert_eq!(place.rows("SELECT count(*) AS n FROM refined.noise_ahead"), [json!({"n": 42})]);
}
