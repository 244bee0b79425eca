//! A new version beside those before it: what the tables that ask it keep, and records that cannot be read.

use std::fs;

use serde_json::{Value, json};

use super::{YAML, days, place, version};
use crate::support::{Place, step};

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
    place
        .lagar(&["predictors", "promote", "loud", "9"])
        .says(2, &["there is no version 9", "its versions are 1 to 3"]);
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

/// Rows that are gone from the inputs stay in a merge and in other partitions, also when all others are made again
/// because a new version answers.
#[test]
fn rows_that_are_gone_stay_when_a_new_version_answers() {
    let place = place();
    let merge = "/*---\nmaterialize: merge\nkey: [day, place]\nincremental: trusted.days\n---*/";
    let partition = "/*---\nmaterialize: partition\npartition_by: [place]\n---*/";
    let select = "SELECT day, place, predict_proba('loud') AS share FROM trusted.days";
    place.write("refined/asked.sql", format!("{merge}\n{select}"));
    place.write("refined/parted.sql", format!("{partition}\n{select}"));
    place.run(&[]);
    // The first twenty days are gone, and all that was in the south.
    let rows = days(140, 0.0);
    let (head, rows) = rows.split_once('\n').unwrap();
    let left: Vec<&str> = rows.lines().filter(|row| !row.contains("south")).skip(20).collect();
    place.write("days.csv", format!("{head}\n{}\n", left.join("\n")));
    place.write(
        "lagar.yaml",
        YAML.replace("trees: 15", "trees: 9").replace("promote: {metric: balanced_accuracy}", ""),
    );
    let report = place.run(&[]);
    assert_eq!(version(&report, "predictors.loud"), 2, "{report}");
    for (table, rows, untouched) in [("asked", 280, "160 rows"), ("parted", 260, "140 rows")] {
        let counted = format!("SELECT count(*) AS n FROM refined.{table}");
        assert_eq!(place.rows(&counted), [json!({"n": rows})], "{table}");
        let notes = step(&report, &format!("refined.{table}"))["notes"].to_string();
        let told = format!(
            "{untouched} that were not made again have the answers of an earlier version of `predictors.loud`"
        );
        assert!(notes.contains(&told), "{notes}");
        let differ = format!(
            "SELECT count(*) AS n FROM refined.{table} a JOIN
             (SELECT day, place, predict_proba('loud') AS again FROM trusted.days) b USING (day, place)
             WHERE share <> again"
        );
        assert_eq!(place.rows(&differ), [json!({"n": 0})], "{table}");
    }
    assert_eq!(place.run(&[])["status"], "nothing_new");
}

/// With one class more the answers are of another type: all rows are made anew if none is lost by it, and else it is
/// said what to do, which helps.
#[test]
fn answers_of_another_type_take_the_place_of_all_or_none() {
    let yaml = "name: p
sources: {days: {type: file, url: days.csv}}
predictors:
  size: {algorithm: gaussian_naive_bayes, from: trusted.days, target: size, features: [cases], key: [id], allow_leak: [cases]}
";
    let merge = "/*---\nmaterialize: merge\nkey: [id]\n---*/\nSELECT id, predict_proba('size') AS shares FROM trusted.days";
    let place = Place::project(&[
        ("lagar.yaml", yaml),
        ("trusted/days.sql", "SELECT id, cases, size FROM raw.days WHERE _newest"),
        ("refined/asked.sql", merge),
    ]);
    let write = |rows: std::ops::Range<usize>, sizes: &[&str]| {
        let row =
            |id: usize| format!("{id},{},{}\n", id % sizes.len() * 10 + id % 3, sizes[id % sizes.len()]);
        place.write("days.csv", format!("id,cases,size\n{}", rows.map(row).collect::<String>()));
    };
    let counted = || place.rows("SELECT count(*) AS n FROM refined.asked")[0]["n"].clone();
    write(0..120, &["small", "medium", "large"]);
    place.run(&[]);
    write(0..120, &["small", "medium", "large", "huge"]);
    place.run(&[]);
    assert_eq!(counted(), 120);
    // Twenty rows are gone that only the table has.
    write(20..120, &["small", "medium", "large"]);
    let says = [
        "20 rows would be lost",
        "lagar run -s +predictors.size, then lagar run -s refined.asked --full-refresh",
    ];
    place.lagar(&["run"]).says(1, &says);
    assert_eq!(counted(), 120);
    place.lagar(&["run", "-s", "+predictors.size"]).says(0, &[]);
    assert_eq!(counted(), 120);
    place.lagar(&["run", "-s", "refined.asked", "--full-refresh"]).says(0, &[]);
    assert_eq!(counted(), 100);
    assert_eq!(place.run(&[])["status"], "nothing_new");
}

/// Whoever changes a record by hand gets an error that names it, and the next version comes all the same.
#[test]
fn a_record_that_does_not_fit_together_is_refused_by_name() {
    let place = place();
    place.run(&[]);
    let path = place.lake().join("refined/_predictors/loud/00000000000000000001.json");
    // Without its seal it is one that somebody else wrote.
    let text = fs::read_to_string(&path).unwrap().replace("\"lagar_seal\"", "\"other\"");
    let mut record: Value = serde_json::from_str(&text).unwrap();
    record["predictor"]["fitted"]["classes"] = json!(3);
    fs::write(&path, record.to_string()).unwrap();
    let says = ["version 1 of `loud`", "there are 3 classes for 2 classes of the target", "train it again"];
    place.lagar(&["sql", "SELECT predict('loud') FROM trusted.days"]).says(1, &says);
    place.lagar(&["predictors", "score", "loud"]).says(1, &says);
    place.write("days.csv", days(154, 0.0));
    let report = place.run(&[]);
    let trained = step(&report, "predictors.loud");
    assert_eq!((&report["status"], &trained["version"]), (&json!("ok"), &json!(2)), "{report}");
    assert!(trained["notes"].to_string().contains("not compared with version 1"), "{trained}");
    place.lagar(&["predictors", "promote", "loud", "1"]).says(1, &says);
}

/// What a newer Lagar wrote is refused by its name and number, and stands in nobody's way.
#[test]
fn a_record_of_a_newer_lagar_is_refused_by_name() {
    let place = place();
    place.run(&[]);
    let path = place.lake().join("refined/_predictors/loud/00000000000000000001.json");
    // Without its seal it is one that somebody else wrote.
    let text = fs::read_to_string(&path).unwrap().replace("\"lagar_seal\"", "\"other\"");
    let newer = |pointer: &str, version: u64| {
        let mut record: Value = serde_json::from_str(&text).unwrap();
        *record.pointer_mut(pointer).unwrap() = json!(version);
        fs::write(&path, record.to_string()).unwrap();
    };
    let inner = "version 1 of `loud`: the predictor has format version 2, newer than 1";
    let outer = "refined/_predictors/loud/00000000000000000001.json has format version 3, newer than 2";
    for (pointer, version, says) in [("/predictor/format_version", 2, inner), ("/format_version", 3, outer)] {
        newer(pointer, version);
        let told = [says, "use the Lagar that wrote it, or a newer one"];
        place.lagar(&["sql", "SELECT predict('loud') FROM trusted.days"]).says(1, &told);
        place.lagar(&["predictors", "show", "loud"]).says(1, &told);
        place.lagar(&["predictors", "score", "loud"]).says(1, &told);
        place.lagar(&["predictors", "promote", "loud", "1"]).says(1, &told);
        let listed = place.lagar(&["predictors", "list", "--json"]);
        listed.says(0, &[]);
        let listed = listed.json();
        assert!(listed[1]["damaged"].as_str().unwrap().contains(says), "{listed}");
        assert_eq!((&listed[0]["name"], listed[0].get("damaged")), (&json!("ahead"), None));
        place.lagar(&["sql", "SELECT count(*) FROM forecast('ahead')"]).says(0, &[]);
    }
    // The next version is learned all the same, where it is known which number it has.
    newer("/predictor/format_version", 2);
    place.write("days.csv", days(154, 0.0));
    let report = place.run(&[]);
    let trained = step(&report, "predictors.loud");
    assert_eq!((&report["status"], &trained["version"]), (&json!("ok"), &json!(2)), "{report}");
    assert!(trained["notes"].to_string().contains("not compared with version 1"), "{trained}");
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
