//! A green run means the data: nothing lost, doubled or changed without a word.

use std::fs;

use serde_json::json;

use crate::support::{
    Place,
    http::{self, Server},
    step,
};

fn csv_project(url: &str, keys: &str, model: &str) -> Place {
    let yaml = format!("name: honest\nsources:\n  items:\n    type: file\n    url: {url}\n{keys}");
    Place::project(&[("lagar.yaml", &yaml), ("trusted/items.sql", model)])
}

/// A table that `select` appends to, which has used a file with one row.
fn appended(select: &str) -> Place {
    let place = csv_project("items/*.csv", "", &format!("{APPEND}{select}\n"));
    place.write("items/1.csv", "id,v\n1,7\n");
    place.run(&[]);
    place
}

/// The newest rows of two files, which have been used.
fn two_files() -> Place {
    let place = csv_project("items/*.csv", "", NEWEST);
    place.write("items/1.csv", "id,v\n1,7\n");
    place.write("items/2.csv", "id,v\n2,8\n");
    place.run(&[]);
    place
}

const APPEND: &str = "-- Items.\n/*---\nmaterialize: append\nincremental: raw.items\n---*/\n";
const NEWEST: &str = "-- Items.\nSELECT id, v FROM raw.items WHERE _newest\n";

#[test]
fn an_append_whose_columns_changed_is_refused_and_can_be_made_again() {
    for (before, after) in [
        ("SELECT id, v * 100000 AS v FROM raw.items", "SELECT id, CAST(v AS SMALLINT) AS v FROM raw.items"),
        ("SELECT id, CAST(v AS DOUBLE) AS v FROM raw.items", "SELECT id, v FROM raw.items"),
    ] {
        let place = appended(before);
        place.write("items/2.csv", "id,v\n2,8\n");
        place.write("trusted/items.sql", format!("{APPEND}{after}\n"));
        place.lagar(&["run"]).says(1, &["column `v` was", "--full-refresh"]);
        assert_eq!(place.rows("SELECT id FROM trusted.items"), vec![json!({"id": 1})]);
        place.run(&["--full-refresh", "-s", "trusted.items"]);
        assert_eq!(place.rows("SELECT id FROM trusted.items").len(), 2);
    }
    let place = appended("SELECT id, v FROM raw.items");
    place.write("items/2.csv", "id,v\n2,8\n");
    let partitioned = APPEND.replace("incremental", "partition_by: [v]\nincremental");
    place.write("trusted/items.sql", format!("{partitioned}SELECT id, v FROM raw.items\n"));
    place.lagar(&["run"]).says(1, &["partition_by"]);
}

#[test]
fn an_append_that_changed_says_that_old_rows_stay() {
    let place = appended("SELECT id FROM raw.items");
    place.write("trusted/items.sql", format!("{APPEND}SELECT id, v FROM raw.items\n"));
    place.lagar(&["run"]).says(0, &["rows made before stay as they are"]);
}

#[test]
fn newest_is_what_the_source_has_now() {
    // Files: a changed file takes the place of its older version, the others stay.
    let place = two_files();
    place.write("items/1.csv", "id,v\n1,70\n3,9\n");
    place.run(&[]);
    let rows = place.rows("SELECT id, v FROM trusted.items ORDER BY id");
    assert_eq!(rows, vec![json!({"id": 1, "v": 70}), json!({"id": 2, "v": 8}), json!({"id": 3, "v": 9})]);
    place.run(&["--full-refresh"]);
    assert_eq!(place.rows("SELECT id, v FROM trusted.items ORDER BY id"), rows, "nothing twice");
    assert!(place.rows("SELECT id FROM raw.items").len() > 3, "the history is still there");

    // A snapshot: what is gone from the source is gone, also when nothing is left.
    let server = Server::start();
    server.on("/items", vec![http::json(r#"[{"id":1,"v":1},{"id":2,"v":2}]"#), http::json("[]")]);
    let yaml = format!("name: honest\nsources:\n  items:\n    type: rest\n    url: {}/items\n", server.url);
    let place = Place::project(&[("lagar.yaml", &yaml), ("trusted/items.sql", NEWEST)]);
    place.run(&[]);
    assert_eq!(place.rows("SELECT id FROM trusted.items").len(), 2);
    place.run(&[]);
    assert_eq!(place.rows("SELECT id FROM trusted.items"), Vec::<serde_json::Value>::new());
}

#[test]
fn a_file_used_in_place_may_change() {
    let place = csv_project("items.ndjson", "    in_place: true\n", NEWEST);
    place.write("items.ndjson", "{\"id\":1,\"v\":1}\n");
    place.run(&[]);
    place.write("items.ndjson", "{\"id\":1,\"v\":1}\n{\"id\":2,\"v\":2}\n");
    place.run(&[]);
    assert_eq!(place.rows("SELECT id FROM trusted.items").len(), 2);
    assert_eq!(place.rows("SELECT id FROM raw.items").len(), 2, "the older version is not there any more");
}

#[test]
fn a_row_that_was_not_sampled_and_does_not_fit_fails_by_name() {
    let place = csv_project("items.ndjson", "    in_place: true\n", NEWEST);
    let mut text = String::new();
    while text.len() < 9 << 20 {
        text.push_str("{\"id\":1,\"v\":123456,\"pad\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}\n");
    }
    text.push_str("{\"id\":2,\"v\":\"not a number\"}\n");
    place.write("items.ndjson", text);
    place.lagar(&["run"]).says(1, &["items.ndjson", "column `v`", "not a number"]);
    place.lagar(&["sql", "SELECT sum(v) FROM raw.items"]).says(1, &["column `v`"]);
}

#[test]
fn an_asked_type_wins_over_what_was_found_before() {
    let place = csv_project("items.csv", "", NEWEST);
    place.write("items.csv", "id,v\n1,123\n");
    place.run(&[]);
    let yaml = fs::read_to_string(place.project.join("lagar.yaml")).unwrap();
    place.write("lagar.yaml", yaml + "    columns: {v: text}\n");
    place.write("items.csv", "id,v\n1,00123\n");
    place.run(&[]);
    assert_eq!(place.rows("SELECT v FROM trusted.items"), vec![json!({"v": "00123"})]);
    assert_eq!(
        place.rows("SELECT v FROM raw.items ORDER BY v"),
        vec![json!({"v": "00123"}), json!({"v": "123"})]
    );
}

#[test]
fn a_stricter_check_is_run_over_rows_that_are_there() {
    let model = |severity: &str| {
        format!(
            "-- Items.\n/*---\nchecks:\n  - {{sql: v > 0, severity: {severity}}}\n---*/\nSELECT id, v FROM raw.items\n"
        )
    };
    let place = csv_project("items.csv", "", &model("warn"));
    place.write("items.csv", "id,v\n1,-1\n");
    place.run(&[]);
    place.write("trusted/items.sql", model("error"));
    place.lagar(&["run"]).says(1, &["v > 0"]);
}

#[test]
fn a_model_that_asks_for_the_time_is_built_each_run() {
    let place = csv_project("items.csv", "", "-- Items.\nSELECT id, now() AS made_at FROM raw.items\n");
    place.write("items.csv", "id,v\n1,1\n");
    place.run(&[]);
    let report = place.run(&[]);
    assert_eq!(step(&report, "trusted.items")["status"], "ok");
}

#[test]
fn two_projects_may_publish_into_one_lake() {
    let shared = tempfile::tempdir().unwrap();
    let project = |name: &str| {
        let lake = shared.path().join("lake");
        let yaml = format!(
            "name: {name}\nlake: {}\nsources:\n  {name}:\n    type: file\n    url: x.csv\n",
            lake.display()
        );
        let sql = format!("-- Rows.\nSELECT id FROM raw.{name}\n");
        Place::project(&[("lagar.yaml", &yaml), ("x.csv", "id\n1\n"), (&format!("trusted/{name}.sql"), &sql)])
    };
    let (one, two) = (project("one"), project("two"));
    one.run(&[]);
    two.run(&[]);
    assert_eq!(two.rows("SELECT id FROM trusted.one").len(), 1, "still published");
    assert_eq!(one.rows("SELECT id FROM trusted.two").len(), 1);
}

#[test]
fn a_lake_beside_the_project() {
    let place = csv_project("items.csv", "lake: ../outside\n", NEWEST);
    place.write("items.csv", "id,v\n1,1\n");
    place.run(&[]);
    assert_eq!(place.rows("SELECT id FROM trusted.items").len(), 1);
    assert!(place.dir.path().join("outside/trusted/items").is_dir());
}

#[test]
fn a_result_goes_to_a_file_whole() {
    let place = csv_project("items.csv", "", NEWEST);
    let rows: String = (0..100).map(|id| format!("{id},{id}\n")).collect();
    place.write("items.csv", format!("id,v\n{rows}"));
    place.run(&[]);
    let file = place.dir.path().join("out.csv");
    let sql = "SELECT id, v FROM trusted.items ORDER BY id";
    let done = place.lagar(&["sql", sql, "-o", file.to_str().unwrap()]);
    done.says(0, &["100 rows"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("id,v\n{rows}"));
    place.lagar(&["sql", sql, "-o", "out.txt"]).says(2, &["--format"]);
    place.lagar(&["sql", sql, "-o", "out.csv", "--format", "box"]).says(2, &["not for a file"]);
    // A query that fails leaves the file as it was.
    assert_ne!(
        place.lagar(&["sql", "SELECT 1 / (v - 50) FROM trusted.items", "-o", file.to_str().unwrap()]).code,
        0
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("id,v\n{rows}"));
}

#[test]
fn reading_needs_no_login_of_a_source_and_no_sound_model() {
    let place = csv_project("items.csv", "", NEWEST);
    place.write("items.csv", "id,v\n1,1\n");
    place.run(&[]);
    let yaml = fs::read_to_string(place.project.join("lagar.yaml")).unwrap();
    place.write("lagar.yaml", yaml + "  other:\n    type: rest\n    url: https://x.example\n    auth: {bearer: \"${NO_SUCH_TOKEN}\"}\n");
    place.write("trusted/wrong.sql", "SELEC");
    assert_eq!(place.rows("SELECT id FROM trusted.items").len(), 1);
    assert_eq!(place.lagar(&["show", "trusted.items"]).code, 0);
    assert_eq!(place.lagar(&["runs"]).code, 0);
    place.lagar(&["run"]).says(2, &["NO_SUCH_TOKEN", "lagar.yaml"]);
}

#[test]
fn an_append_goes_on_whatever_type_its_columns_are_written_as() {
    let sql = "SELECT id, now() AS at, md5(CAST(v AS VARCHAR)) AS h, row_number() OVER (ORDER BY id) AS n, \
               make_array(v) AS list, NULL AS nothing FROM raw.items";
    let place = csv_project("items/*.csv", "", &format!("{APPEND}{sql}\n"));
    for file in 1..=3 {
        place.write(&format!("items/{file}.csv"), format!("id,v\n{file},7\n"));
        place.run(&[]);
    }
    assert_eq!(place.rows("SELECT id FROM trusted.items").len(), 3);
    // A column that is left out could come back as something else.
    place.write("items/4.csv", "id,v\n4,7\n");
    place.write("trusted/items.sql", format!("{APPEND}SELECT id FROM raw.items\n"));
    place.lagar(&["run"]).says(1, &["is gone", "--full-refresh"]);
}

#[test]
fn an_append_is_refused_when_what_it_used_comes_again() {
    let place = appended("SELECT id, v FROM raw.items");
    place.write("items/2.csv", "id,v\n2,7\n");
    place.run(&[]);
    place.write("items/1.csv", "id,v\n1,7\n9,9\n");
    place.lagar(&["run"]).says(1, &["read again", "--full-refresh"]);
    assert_eq!(place.rows("SELECT id FROM trusted.items").len(), 2);
    place.write("trusted/items.sql", format!("{APPEND}SELECT id, v FROM raw.items WHERE _newest\n"));
    place.run(&["--full-refresh", "-s", "trusted.items"]);
    assert_eq!(place.rows("SELECT id FROM trusted.items").len(), 3);
}

/// Also when there was no load but the first: it looks like the state of a source then.
#[test]
fn an_append_is_refused_when_all_is_read_from_the_beginning() {
    for again in [true, false] {
        let place = appended("SELECT id, v FROM raw.items");
        if again {
            place.lagar(&["run", "--full-refresh", "-s", "raw.items"]).says(0, &[]);
        } else {
            // A type that it had already.
            let yaml = fs::read_to_string(place.project.join("lagar.yaml")).unwrap();
            place.write("lagar.yaml", yaml.trim_end().to_owned() + "\n    columns: {id: int}\n");
        }
        place.lagar(&["run"]).says(1, &["read again", "--full-refresh"]);
        assert_eq!(place.rows("SELECT id FROM trusted.items").len(), 1);
    }
}

#[test]
fn a_stricter_check_of_an_append_is_run_although_nothing_is_new() {
    let place = csv_project("items/*.csv", "", &format!("{APPEND}SELECT id, v FROM raw.items\n"));
    place.write("items/1.csv", "id,v\n1,\n2,5\n");
    place.run(&[]);
    let strict = APPEND.replace("incremental", "checks: [{not_null: v}]\nincremental");
    place.write("trusted/items.sql", format!("{strict}SELECT id, v FROM raw.items\n"));
    place.lagar(&["run"]).says(1, &["not_null(v)"]);
}

#[test]
fn a_folder_read_anew_holds_only_what_is_there() {
    let place = two_files();
    fs::remove_file(place.project.join("items/1.csv")).unwrap();
    place.run(&["--full-refresh"]);
    assert_eq!(place.rows("SELECT id FROM trusted.items"), vec![json!({"id": 2})]);
}

#[test]
fn a_result_written_to_stdout_by_name_is_not_put_over_the_file_behind_it() {
    let place = csv_project("items.csv", "", NEWEST);
    place.write("items.csv", "id,v\n1,7\n");
    place.run(&[]);
    let path = place.dir.path().join("log");
    fs::write(&path, "KEEP\n").unwrap();
    let log = fs::File::options().append(true).open(&path).unwrap();
    let mut command =
        place.command(&["sql", "SELECT id FROM trusted.items", "-f", "csv", "-o", "/dev/stdout"]);
    assert!(command.stdout(log).status().unwrap().success());
    assert_eq!(fs::read_to_string(&path).unwrap(), "KEEP\nid\n1\n");
}
