//! Bad input is normal input: a clear error, the right exit code, nothing lost, nothing half-visible.

use std::io::Write;

use lagar_testing::http::reply_and_stay;

use crate::support::{
    Done, Place,
    http::{self, Reply, Server},
    step,
};

const MODEL: &str = "-- Items.\nSELECT id, price FROM raw.items WHERE _newest\n";

fn rest(url: &str, keys: &str) -> Place {
    let yaml = format!(
        "name: bad\nsources:\n  items:\n    type: rest\n    url: {url}/items\n    retry: {{attempts: 3, wait: 10ms, max_wait: 50ms}}\n{keys}"
    );
    Place::project(&[("lagar.yaml", &yaml), ("trusted/items.sql", MODEL)])
}

fn csv(keys: &str, bytes: &[u8]) -> Place {
    let yaml = format!("name: bad\nsources:\n  items:\n    type: file\n    url: items.csv\n{keys}");
    let place = Place::project(&[("lagar.yaml", &yaml), ("trusted/items.sql", MODEL)]);
    place.write("items.csv", bytes);
    place
}

/// A good load first, then the bad answer: what was released stays as it was.
fn after_a_good_load(bad: Vec<Reply>, keys: &str) -> (Place, Server, Done) {
    let server = Server::start();
    server.on("/items", vec![http::json(r#"[{"id":1,"price":2.5}]"#)]);
    let place = rest(&server.url, keys);
    place.run(&[]);
    let before = raw_files(&place);
    server.on("/items", bad);
    let done = place.lagar(&["run", "--json"]);
    assert_eq!(
        place.rows("SELECT id, price FROM trusted.items"),
        vec![serde_json::json!({"id": 1, "price": 2.5})]
    );
    assert_eq!(raw_files(&place), before, "a failed load left something visible");
    (place, server, done)
}

fn raw_files(place: &Place) -> Vec<String> {
    let files = place.lake_files();
    files.into_keys().filter(|path| path.starts_with("raw/") && !path.contains("_quarantine")).collect()
}

#[test]
fn a_server_that_fails_is_asked_again_and_then_the_step_fails() {
    let (_, server, done) = after_a_good_load(vec![http::status(500)], "");
    done.says(75, &["500", "raw.items"]);
    let report = done.json();
    assert_eq!(step(&report, "raw.items")["status"], "failed");
    assert_eq!(step(&report, "trusted.items")["status"], "upstream_failed");
    assert_eq!(report["release"], serde_json::Value::Null);
    assert_eq!(server.requests().len(), 1 + 3, "one good request, three attempts");
}

#[test]
fn a_server_that_recovers_is_no_failure() {
    let server = Server::start();
    server.on("/items", vec![http::status(503), http::status(500), http::json(r#"[{"id":1,"price":1.0}]"#)]);
    let place = rest(&server.url, "");
    place.run(&[]);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn null_and_no_rows_fail_when_rows_are_required() {
    for body in ["null", "[]", ""] {
        let (_, _, done) = after_a_good_load(vec![http::json(body)], "    require_rows: true\n");
        done.says(1, &["without a single row"]);
    }
}

#[test]
fn no_rows_are_a_note_when_they_are_not_required() {
    let server = Server::start();
    server.on("/items", vec![http::json(r#"[{"id":1,"price":2.5}]"#), http::json("[]")]);
    let place = rest(&server.url, "");
    place.run(&[]);
    let report = place.run(&[]);
    assert!(step(&report, "raw.items")["notes"].to_string().contains("no rows"), "{report}");
    assert!(place.rows("SELECT id FROM trusted.items").is_empty(), "the source has nothing now");
}

#[test]
fn html_with_status_200_is_not_data() {
    let html = reply_and_stay(200, &[("Content-Type", "text/html")], "<html>login</html>");
    after_a_good_load(vec![html], "").2.says(1, &["web page"]);
}

#[test]
fn a_body_cut_short_is_not_data() {
    let cut = Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[{\"id\":1");
    after_a_good_load(vec![cut], "").2.says(75, &["raw.items"]);
    after_a_good_load(vec![http::json(r#"[{"id":1,"price":2.5},{"id":"#)], "").2.says(1, &["raw.items"]);
}

#[test]
fn a_gzip_bomb_ends_at_the_limit() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![b' '; 1 << 20];
    for _ in 0..64 {
        encoder.write_all(&zeros).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    let headers = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
    let done = after_a_good_load(vec![reply_and_stay(200, &headers, bomb)], "    max_bytes: 4MiB\n").2;
    done.says(1, &["4"]);
}

#[test]
fn values_of_the_wrong_type_go_to_quarantine() {
    let bad = r#"[{"id":1,"price":"abc"},{"id":2,"price":3.5}]"#;
    let (place, _, done) = after_a_good_load(vec![http::json(bad)], "    columns: {price: double}\n");
    done.says(1, &["1 of 2 rows", "quarantine.items"]);
    let rows = place.rows("SELECT _row, _column, _reason, _value FROM quarantine.items");
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((&rows[0]["_row"], &rows[0]["_column"]), (&1.into(), &"price".into()));
    assert!(rows[0]["_value"].as_str().unwrap().contains("abc"), "{rows:?}");
}

#[test]
fn rejected_rows_within_the_limit_do_not_fail_the_load() {
    let server = Server::start();
    server.on("/items", vec![http::json(r#"[{"id":1,"price":"abc"},{"id":2,"price":3.5}]"#)]);
    let place = rest(&server.url, "    columns: {price: double}\n    max_rejected: 1\n");
    let report = place.run(&[]);
    let load = step(&report, "raw.items");
    assert_eq!(
        (&load["rows_in"], &load["rows_out"], &load["rows_rejected"]),
        (&2.into(), &1.into(), &1.into())
    );
    assert_eq!(place.rows("SELECT id FROM trusted.items"), vec![serde_json::json!({"id": 2})]);
    assert_eq!(place.rows("SELECT _load FROM quarantine.items").len(), 1);
}

#[test]
fn csv_oddities() {
    // A byte order mark is no part of the first name.
    let place = csv("", b"\xef\xbb\xbfid,price\n1,2.5\n");
    place.run(&[]);
    assert_eq!(place.rows("SELECT id FROM trusted.items"), vec![serde_json::json!({"id": 1})]);
    // Ragged rows are named by their place.
    let place = csv("", b"id,price\n1,2.5\n2\n3,4,5\n");
    place.lagar(&["run"]).says(1, &["2 of 3 rows"]);
    assert_eq!(place.rows("SELECT _row FROM quarantine.items ORDER BY _row").len(), 2);
    // Latin-1 read as UTF-8 is said, with the way out.
    let place = csv("", b"id,price,name\n1,2.5,Bogot\xe1\n");
    place.lagar(&["run"]).says(1, &["1 of 1 rows"]);
    let reason = place.rows("SELECT _reason FROM quarantine.items");
    assert!(reason[0]["_reason"].as_str().unwrap().contains("latin1"), "{reason:?}");
    let place = csv("    csv: {encoding: latin1}\n", b"id,price,name\n1,2.5,Bogot\xe1\n");
    place.run(&[]);
    assert_eq!(place.rows("SELECT name FROM raw.items"), vec![serde_json::json!({"name": "Bogotá"})]);
}

#[test]
fn an_empty_csv_has_no_rows() {
    let place = csv("    require_rows: true\n", b"");
    place.lagar(&["run"]).says(1, &["without a single row"]);
}

#[test]
fn a_missing_database_and_a_wrong_password() {
    let yaml = "name: bad\nsources:\n  items:\n    type: sql\n    url: sqlite:nothing.db\n    table: items\n";
    let place = Place::project(&[("lagar.yaml", yaml), ("trusted/items.sql", MODEL)]);
    place.lagar(&["run"]).says(1, &["nothing.db"]);
    let yaml = "name: bad\nsources:\n  items:\n    type: sql\n    url: postgres://u:s3cr3t-canary@127.0.0.1:1/db\n    table: items\n    retry: {attempts: 1}\n";
    let place = Place::project(&[("lagar.yaml", yaml), ("trusted/items.sql", MODEL)]);
    let done = place.lagar(&["run", "--json", "-vv"]);
    done.says(75, &["127.0.0.1"]);
    assert!(
        !done.stderr.contains("s3cr3t") && !done.stdout.contains("s3cr3t"),
        "{}{}",
        done.stdout,
        done.stderr
    );
}

#[test]
fn a_lake_that_is_a_file() {
    let place = csv("", b"id,price\n1,2.5\n");
    std::fs::write(place.lake(), "not a folder").unwrap();
    let done = place.lagar(&["run"]);
    assert!(matches!(done.code, 1 | 2), "{}", done.stderr);
    done.says(done.code, &["lake"]);
    assert_eq!(std::fs::read_to_string(place.lake()).unwrap(), "not a folder");
}

#[test]
fn a_lake_that_cannot_be_written_to() {
    // Root may write anywhere but in /proc.
    let place = csv("lake: /proc/1/lagar\n", b"id,price\n1,2.5\n");
    let done = place.lagar(&["run"]);
    assert!(matches!(done.code, 1 | 2), "{}", done.stderr);
    done.says(done.code, &["/proc/1"]);
}

#[test]
fn names_stay_in_their_folder() {
    let yaml = "name: bad\nsources:\n  ../../evil:\n    type: file\n    url: items.csv\n";
    let place = Place::project(&[("lagar.yaml", yaml), ("items.csv", "id\n1\n")]);
    place.lagar(&["run"]).says(2, &["../../evil", "lagar.yaml:3"]);
    assert!(!place.dir.path().join("evil").exists());
}

#[test]
fn a_symlink_in_the_lake_is_refused() {
    let place = csv("", b"id,price\n1,2.5\n");
    place.run(&[]);
    let outside = place.dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let table = place.lake().join("trusted/items");
    std::fs::rename(&table, outside.join("items")).unwrap();
    std::os::unix::fs::symlink(outside.join("items"), &table).unwrap();
    let done = place.lagar(&["sql", "SELECT * FROM trusted.items"]);
    done.says(1, &["symbolic link"]);
}

#[test]
fn long_integers_are_not_rounded_when_decimals_appear() {
    let place = csv("", b"id,price\n1,9007199254740993\n");
    place.run(&[]);
    assert_eq!(
        place.rows("SELECT price FROM raw.items"),
        [serde_json::json!({"price": 9007199254740993_i64})]
    );
    place.write("items.csv", "id,price\n1,2.5\n");
    place.run(&[]);
    assert_eq!(place.rows("SELECT price FROM trusted.items"), [serde_json::json!({"price": 2.5})]);
    // The older load cannot be read as the column is now; that is said, and there is a way out.
    place
        .lagar(&["sql", "SELECT price FROM raw.items"])
        .says(1, &["9007199254740993", "cannot hold exactly"]);
    // Long integers that come later go to quarantine.
    place.write("items.csv", "id,price\n1,9007199254740993\n2,1.5\n");
    place.lagar(&["run"]).says(1, &["1 of 2 rows"]);
    let yaml =
        "name: bad\nsources:\n  items:\n    type: file\n    url: items.csv\n    columns: {price: text}\n";
    place.write("lagar.yaml", yaml);
    place.run(&[]);
    assert_eq!(
        place
            .rows("SELECT price FROM raw.items ORDER BY _load, _row")
            .iter()
            .map(|row| row["price"].as_str().unwrap())
            .collect::<Vec<_>>(),
        ["9007199254740993", "2.5", "9007199254740993", "1.5"]
    );
}
