//! Which version of a predictor is asked: what people choose stays, and a verdict is about the version that is current.

use std::fs::File;

use lagar_flow::KillPoint;
use serde_json::{Value, json};

use crate::support::{Place, files_below, running::Running, step};

const YAML: &str = "name: p
sources: {points: {type: file, url: points.csv}}
predictors:
  line: {algorithm: linear, from: trusted.points, target: y, features: [x], key: [id], promote: {metric: rmse}}
";

fn points(rows: usize) -> String {
    let row = |row: usize| {
        let (x, z, noise) = (row % 50, row % 9, row * 7919 % 13);
        format!("{row},{x},{z},{}\n", 3 * x + 12 * z + 3 * noise)
    };
    format!("id,x,z,y\n{}", (0..rows).map(row).collect::<String>())
}

fn place() -> Place {
    let place = Place::project(&[
        ("lagar.yaml", YAML),
        ("trusted/points.sql", "SELECT id, x, z, y FROM raw.points WHERE _newest"),
    ]);
    place.write("points.csv", points(200));
    place
}

fn trained(report: &Value) -> &Value {
    step(report, "predictors.line")
}

fn current(place: &Place) -> Value {
    place.lagar(&["predictors", "list", "--json"]).json()[0]["current"].clone()
}

/// As if nobody had been here for a month.
fn aged(place: &Place) {
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(30 * 86_400);
    for file in files_below(&place.lake()) {
        File::options().write(true).open(file).unwrap().set_modified(then).unwrap();
    }
}

#[test]
fn what_was_chosen_by_hand_stays_when_a_vacuum_took_the_releases_before() {
    let place = place();
    place.write("lagar.yaml", YAML.replace(", promote: {metric: rmse}", ""));
    place.run(&[]);
    place.write("points.csv", points(260));
    place.run(&[]);
    assert_eq!(current(&place), 2);
    place.lagar(&["predictors", "rollback", "line"]).says(0, &[]);
    aged(&place);
    place.lagar(&["table", "vacuum", "--keep-releases", "1"]).says(0, &[]);
    assert_eq!(place.lagar(&["releases", "list", "--json"]).json().as_array().unwrap().len(), 1);
    let report = place.run(&[]);
    assert!(trained(&report)["notes"].to_string().contains("by hand"), "{report}");
    assert_eq!(current(&place), 1);
    // What is learned from new rows is another matter.
    place.write("points.csv", points(300));
    let report = place.run(&[]);
    assert_eq!((&trained(&report)["version"], current(&place)), (&json!(3), json!(3)), "{report}");
}

#[test]
fn what_was_chosen_by_hand_stays_when_a_release_is_rolled_back() {
    let place = place();
    place.write("lagar.yaml", YAML.replace(", promote: {metric: rmse}", ""));
    place.run(&[]);
    place.lagar(&["predictors", "train", "line", "--force"]).says(0, &[]);
    assert_eq!(current(&place), 2);
    place.lagar(&["predictors", "rollback", "line"]).says(0, &[]);
    place.lagar(&["releases", "rollback", "1"]).says(0, &[]);
    let report = place.run(&[]);
    assert!(trained(&report)["notes"].to_string().contains("by hand"), "{report}");
    assert_eq!(current(&place), 1);
}

#[test]
fn a_rollback_passes_over_all_versions_that_there_are() {
    let place = place();
    // So many that what `z` says is more than chance.
    place.write("points.csv", points(2000));
    place.write("lagar.yaml", YAML.replace("[x]", "[z]"));
    place.run(&[]);
    place.write("lagar.yaml", YAML);
    place.run(&[]);
    assert_eq!(current(&place), 2);
    // Not better than the second.
    place.write("lagar.yaml", YAML.replace("[x]", "[z]").replace("key: [id]", "key: [id], scale: standard"));
    place.run(&[]);
    assert_eq!(current(&place), 2);
    place.lagar(&["releases", "rollback", "1"]).says(0, &[]);
    place.run(&[]);
    assert_eq!(current(&place), 1);
}

#[test]
fn a_damaged_record_is_listed_beside_the_others() {
    let place = place();
    place.run(&[]);
    let record = place.lake().join("refined/_predictors/line/00000000000000000001.json");
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, text.replacen("linear", "lineal", 1)).unwrap();
    let listed = place.lagar(&["predictors", "list"]);
    listed.says(0, &[]);
    for part in ["line", "damaged", "00000000000000000001.json"] {
        assert!(listed.stdout.contains(part), "`{part}` is not in\n{}", listed.stdout);
    }
    place.lagar(&["predictors", "show", "line"]).says(1, &["E3006"]);
}

/// The way out of a damaged version is another one.
#[test]
fn a_damaged_version_stands_in_the_way_of_no_other() {
    let place = place();
    place.write("lagar.yaml", YAML.replace(", promote: {metric: rmse}", ""));
    place.run(&[]);
    place.write("points.csv", points(260));
    place.run(&[]);
    let record = place.lake().join("refined/_predictors/line/00000000000000000002.json");
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, text.replacen("linear", "lineal", 1)).unwrap();
    let shown = place.lagar(&["predictors", "show", "line", "1"]);
    shown.says(0, &[]);
    assert!(shown.stdout.contains("cannot be read"), "{}", shown.stdout);
    place.lagar(&["predictors", "show", "line"]).says(1, &["E3006", "00000000000000000002.json"]);
    place.lagar(&["predictors", "promote", "line", "2"]).says(1, &["E3006"]);
    place.lagar(&["predictors", "rollback", "line"]).says(0, &[]);
    assert_eq!(current(&place), 1);
    // And the next is trained all the same.
    place.write("points.csv", points(300));
    let report = place.run(&[]);
    let trained = trained(&report);
    assert_eq!((&trained["version"], current(&place)), (&json!(3), json!(3)), "{report}");
    assert!(trained["notes"].to_string().contains("version 2 cannot be read"), "{trained}");
}

/// A table that asks a predictor and reads a source is held, too: the rollback took a version of each.
#[test]
fn what_a_rollback_took_back_stays_away_beside_its_predictor() {
    let place = place();
    let yaml = YAML.replace(", promote: {metric: rmse}", "");
    place.write("lagar.yaml", &yaml);
    place.write("refined/scored.sql", "SELECT id, y, predict('line') AS p FROM raw.points WHERE _newest");
    let counted = || place.rows("SELECT count(*) AS n FROM refined.scored");
    place.run(&[]);
    place.write("points.csv", points(260));
    place.run(&[]);
    assert_eq!(counted(), [json!({"n": 260})]);
    place.lagar(&["releases", "rollback", "1"]).says(0, &[]);
    let report = place.run(&[]);
    assert_eq!(report["status"], "nothing_new", "{report}");
    assert!(step(&report, "refined.scored")["notes"].to_string().contains("held at version 0"), "{report}");
    assert_eq!((counted(), current(&place)), (vec![json!({"n": 200})], json!(1)));
    // Until there is something new.
    place.write("points.csv", points(300));
    place.run(&[]);
    assert_eq!((counted(), current(&place)), (vec![json!({"n": 300})], json!(3)));
}

/// After a rollback a person may choose the newer version: then it is asked, in tables too.
#[test]
fn a_version_that_is_chosen_after_a_rollback_is_asked_by_the_tables() {
    let place = place();
    let yaml = YAML.replace(", promote: {metric: rmse}", "");
    place.write("lagar.yaml", &yaml);
    place.write("refined/scored.sql", "SELECT id, x, z, predict('line') AS p FROM trusted.points");
    place.run(&[]);
    place.write("lagar.yaml", yaml.replace("[x]", "[x, z]"));
    place.run(&[]);
    let differ =
        "SELECT count(*) AS n FROM (SELECT p, predict('line') AS again FROM refined.scored) WHERE p <> again";
    assert_eq!(place.rows(differ), [json!({"n": 0})]);
    place.lagar(&["releases", "rollback", "1"]).says(0, &[]);
    assert_eq!(place.run(&[])["status"], "nothing_new");
    place.lagar(&["predictors", "promote", "line", "2"]).says(0, &[]);
    place.run(&[]);
    assert_eq!(current(&place), 2);
    assert_eq!(place.rows(differ), [json!({"n": 0})]);
}

/// Where no version is current, the hint is what helps.
#[test]
fn without_a_current_version_it_is_said_how_there_will_be_one() {
    let place = place();
    place.write("lagar.yaml", YAML.split("predictors:").next().unwrap());
    place.run(&[]);
    place.write("lagar.yaml", YAML.replace(", promote: {metric: rmse}", ""));
    place.run(&[]);
    place.lagar(&["releases", "rollback", "1"]).says(0, &[]);
    let asked = "SELECT predict('line') FROM trusted.points";
    let says = ["a rollback took it back", "lagar predictors promote line 1"];
    place.lagar(&["sql", asked]).says(1, &says);
    let listed = place.lagar(&["predictors", "list"]).stdout;
    assert!(listed.contains("taken back"), "{listed}");
    place.run(&[]);
    place.lagar(&["sql", asked]).says(1, &says);
    place.lagar(&["predictors", "promote", "line", "1"]).says(0, &[]);
    place.lagar(&["sql", asked]).says(0, &[]);
}

#[test]
fn the_columns_of_a_key_are_no_secret() {
    let place = place();
    place.write("lagar.yaml", YAML.replace("key: [id]", "key: [customer]"));
    place.lagar(&["run", "-s", "+trusted.points"]).says(0, &[]);
    place.lagar(&["check"]).says(2, &["no column `customer`"]);
    assert!(place.lagar(&["config", "show"]).stdout.contains("customer"));
}

#[test]
fn a_version_before_it_that_knows_other_columns_is_compared_all_the_same() {
    let place = place();
    place.write("lagar.yaml", YAML.replace("[x]", "[x, z]"));
    place.run(&[]);
    place.write("lagar.yaml", YAML.replace("[x]", "[z]"));
    let report = place.run(&[]);
    let notes = trained(&report)["notes"].to_string();
    assert!(notes.contains("not promoted") && !notes.contains("not compared"), "{notes}");
    // A column that is gone.
    place.write("lagar.yaml", YAML);
    place.write("trusted/points.sql", "SELECT id, x, y FROM raw.points WHERE _newest");
    let report = place.run(&[]);
    let notes = trained(&report)["notes"].to_string();
    assert!(
        notes.contains("not compared with the version before") && notes.contains("`z` is missing"),
        "{notes}"
    );
}

/// Two machines over one lake: what one of them learned was judged beside a version that the other replaced.
#[test]
fn a_verdict_about_a_version_that_is_not_current_any_more_is_made_anew() {
    let place = place();
    place.write("lagar.yaml", YAML.replace("[x]", "[z]"));
    place.run(&[]);
    let other = self::place();
    let lake = format!("lake: {}\n", place.lake().display());
    other.write("lagar.yaml", format!("{YAML}{lake}").replace("[x]", "[x, z]"));
    other.write("points.csv", points(200));
    // Both have learned; the first releases, so the second cannot.
    let stopped = |place: &Place| {
        let run = Running::at(place, KillPoint::PredictorStored, "stop");
        run.until_stopped();
        run
    };
    let first = stopped(&other);
    place.write("lagar.yaml", YAML);
    let second = stopped(&place);
    for (run, code) in [(first, 0), (second, 75)] {
        run.signal("CONT");
        run.end().says(code, &[]);
    }
    assert_eq!(current(&place), 2);
    let plan = place.lagar(&["plan", "--json"]).stdout;
    assert!(plan.contains("another version became current since it was judged"), "{plan}");
    let report = place.run(&[]);
    assert_eq!(trained(&report)["version"], 4, "{report}");
    assert_eq!(place.run(&[])["status"], "nothing_new");
}
