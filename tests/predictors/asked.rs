//! How predictors are asked in SQL, and what is told before they are.

use serde_json::json;

use super::{YAML, days, place};
use crate::support::Place;

/// A predictor of three classes: its probabilities are a struct, which is known once it was trained.
#[test]
fn probabilities_of_more_than_two_classes_are_planned_as_they_are() {
    let place = Place::project(&[
        (
            "lagar.yaml",
            "name: p
sources: {days: {type: file, url: days.csv}}
predictors:
  kind: {algorithm: decision_tree, from: trusted.days, target: kind, features: [weekday], time: day}
",
        ),
        (
            "trusted/days.sql",
            "SELECT day, weekday, CASE WHEN loud THEN 'loud' WHEN place = 'north' THEN 'busy' ELSE 'calm' END AS kind
FROM raw.days WHERE _newest",
        ),
        (
            "refined/shares.sql",
            "SELECT day, shares['calm'] AS calm
FROM (SELECT day, predict_proba('kind') AS shares FROM trusted.days)",
        ),
        ("refined/one.sql", "SELECT day, predict_proba('kind', 'calm') AS calm FROM trusted.days"),
    ]);
    place.write("days.csv", days(140, 0.0));
    place.lagar(&["run", "-s", "+trusted.days"]).says(0, &[]);
    let checked = place.lagar(&["check", "--json"]);
    checked.says(0, &[]);
    assert_eq!(checked.json()["unplanned"], json!(["refined.shares"]));
    let said = place.lagar(&["check"]).stdout;
    assert!(said.contains("refined.shares were not checked"), "{said}");
    assert!(said.contains("or a predictor that they ask was not trained"), "{said}");
    assert_eq!(place.run(&[])["status"], "ok");
    let same =
        "SELECT count(*) AS n FROM refined.shares a JOIN refined.one b USING (day) WHERE a.calm <> b.calm";
    assert_eq!(place.rows(same), [json!({"n": 0})]);
    // Now everything is checked: a class that there is not, a number that is none.
    assert_eq!(place.lagar(&["check", "--json"]).json()["unplanned"], json!([]));
    for wrong in [
        "SELECT day, shares['clam'] AS calm FROM (SELECT day, predict_proba('kind') AS shares FROM trusted.days)",
        "SELECT day, round(predict_proba('kind')) AS calm FROM trusted.days",
    ] {
        place.write("refined/shares.sql", wrong);
        place.lagar(&["check"]).says(2, &["refined/shares.sql"]);
    }
}

#[test]
fn what_is_asked_by_hand_is_told_with_what_there_is() {
    let place = place();
    place.write(
        "lagar.yaml",
        format!("{YAML}  odd: {{algorithm: z_score, from: trusted.days, features: [cases]}}\n"),
    );
    place.write("refined/other.sql", "SELECT day, cases FROM trusted.days");
    place.run(&[]);
    place
        .lagar(&["sql", "SELECT predict('lout') FROM trusted.days"])
        .says(2, &["there is no predictor `lout`", "did you mean `loud`?", "line 1, column 8"]);
    place
        .lagar(&["sql", "SELECT * FROM forecast('weather')"])
        .says(2, &["there is no predictor `weather`", "`ahead`, `loud`, `odd`"]);
    place.lagar(&["predictors", "score", "loud", "refined.other"]).says(
        2,
        &[
            "`refined.other` has no column `place`, `weekday`, for which `loud` asks",
            "its columns are day, cases",
        ],
    );
    place.lagar(&["predictors", "score", "loud", "trusted.dais"]).says(2, &["did you mean `trusted.days`?"]);
    let header = |name: &str| {
        let done = place.lagar(&["predictors", "score", name, "--format", "csv"]);
        done.says(0, &[]);
        done.stdout.lines().next().unwrap_or_default().to_owned()
    };
    assert!(header("loud").ends_with("loud_prediction,loud_probability"), "{}", header("loud"));
    // How unusual a row is, is no probability.
    assert!(header("odd").ends_with("odd_prediction,odd_score"), "{}", header("odd"));
}

/// In the words of the version that is asked, before a row is read.
#[test]
fn features_that_are_of_another_type_where_they_are_asked_are_told() {
    let place = place();
    place.run(&[]);
    let asked =
        |features: &str| format!("SELECT predict('loud') AS loud FROM (SELECT {features} FROM trusted.days)");
    let text = asked("place, CAST(weekday AS VARCHAR) AS weekday");
    let says = "predict('loud'): the feature `weekday` was a number, and has the type text here";
    place.lagar(&["sql", &text]).says(2, &[says]);
    let number = asked("1 AS place, weekday");
    let place_says = "predict('loud'): the feature `place` was text, and has the type";
    place.lagar(&["sql", &number]).says(2, &[place_says]);
    place.lagar(&["sql", &asked("place")]).says(2, &["predict('loud'): there is no column `weekday`"]);
    // A number of another type is a number all the same.
    place.lagar(&["sql", &asked("place, CAST(weekday AS DOUBLE) AS weekday")]).says(0, &[]);
    // In a model, too, and before it runs.
    place.write("refined/asked.sql", text);
    let planned = "predict('loud'): the feature `weekday` is learned as a number, and has the type text here";
    place.lagar(&["check"]).says(2, &[planned, "refined/asked.sql"]);
    place.lagar(&["run"]).says(1, &[says, "refined.asked"]);
}

/// A class that a boolean has not, and a step that will not be forecast, are known before anything runs.
#[test]
fn what_will_not_be_answered_is_told_by_check() {
    let place = place();
    place.lagar(&["run", "-s", "+trusted.days"]).says(0, &[]);
    for (model, says) in [
        ("SELECT predict_proba('loud', 'maybe') AS p FROM trusted.days", "its classes are false, true"),
        ("SELECT * FROM forecast('ahead', 30)", "30 steps are asked, and 3 will be made"),
        (
            "SELECT predict_proba('loud') OVER (ORDER BY day) AS p FROM trusted.days",
            "is asked of each row by itself",
        ),
        (
            "SELECT predict_proba('loud') FILTER (WHERE weekday > 1) AS p FROM trusted.days",
            "is asked of each row by itself",
        ),
    ] {
        place.write("refined/asked.sql", model);
        place.lagar(&["check"]).says(2, &[says, "refined/asked.sql"]);
    }
    let checked = "/*---\nchecks: [{name: calm, sql: \"predict('loud') = false\"}]\n---*/\nSELECT day FROM trusted.days";
    place.write("refined/asked.sql", checked);
    place.lagar(&["check"]).says(2, &["a check asks no predictor", "predict('NAME') AS answer"]);
}

/// A feature that is null is an error. Of rows that another condition leaves out nobody asks.
#[test]
fn rows_that_are_left_out_are_not_asked_for() {
    let place = place();
    place.run(&[]);
    let some = "(SELECT day, place, nullif(weekday, 3) AS weekday FROM trusted.days)";
    place
        .lagar(&["sql", &format!("SELECT predict('loud') FROM {some}")])
        .says(1, &["the feature `weekday` is null in 40 of 280 rows"]);
    let known = "weekday IS NOT NULL";
    for condition in [
        format!("{known} AND predict_proba('loud') >= 0"),
        format!("predict_proba('loud') >= 0 AND {known}"),
        format!(
            "(predict_proba('loud') > 2 OR predict_proba('loud') <= 1) AND {known} AND day > '2000-01-01'"
        ),
    ] {
        let counted = format!("SELECT count(*) AS n FROM {some} WHERE {condition}");
        assert_eq!(place.rows(&counted), [json!({"n": 240})], "{condition}");
    }
    let below = format!(
        "SELECT count(*) AS n, sum(CAST(p >= 0 AS INT)) AS m FROM
         (SELECT predict_proba('loud') AS p FROM {some} WHERE {known}) WHERE p >= 0"
    );
    assert_eq!(place.rows(&below), [json!({"n": 240, "m": 240})]);
}

/// In ORDER BY a name is that of a result first: what the predictor learned from is another column.
#[test]
fn a_result_that_is_called_like_a_feature_is_not_taken_for_it() {
    let place = place();
    place.run(&[]);
    for asked in [
        "SELECT day, 7 - weekday AS weekday FROM trusted.days ORDER BY predict_proba('loud') DESC LIMIT 3",
        "SELECT DISTINCT ON (predict('loud')) day, 7 - weekday AS weekday FROM trusted.days ORDER BY predict('loud')",
        "SELECT max(day) AS d, upper(place) AS place FROM trusted.days GROUP BY place, weekday HAVING predict('loud')",
        "SELECT * REPLACE (7 - weekday AS weekday) FROM trusted.days ORDER BY predict_proba('loud') LIMIT 3",
    ] {
        place.lagar(&["sql", asked]).says(2, &["a result of this SELECT is called", "AS answer"]);
    }
    // A query inside has names of its own.
    let inside = "SELECT count(*) AS n, max(7 - weekday) AS weekday FROM trusted.days
                  HAVING count(*) > (SELECT count(*) FROM trusted.days WHERE predict('loud'))";
    assert_eq!(place.rows(inside), [json!({"n": 280, "weekday": 7})]);
    let asked = "SELECT d.weekday AS weekday, predict_proba('loud') AS weight FROM trusted.days d
                 ORDER BY predict_proba('loud') DESC, day LIMIT 3";
    let rows = place.rows(asked);
    assert!(rows.len() == 3 && rows[0]["weight"].as_f64() >= rows[2]["weight"].as_f64(), "{rows:?}");
}
