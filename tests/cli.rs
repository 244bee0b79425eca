//! The command line: help, errors, exit codes, formats.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::{Done, Place};

fn lagar(args: &[&str]) -> Done {
    Done::of(Command::new(env!("CARGO_BIN_EXE_lagar")).args(args).current_dir("/").output().unwrap())
}

#[test]
fn help_names_every_command() {
    let done = lagar(&["--help"]);
    assert_eq!(done.code, 0);
    for command in [
        "run",
        "check",
        "plan",
        "test",
        "sql",
        "show",
        "profile",
        "lineage",
        "ls",
        "runs",
        "releases",
        "config",
        "doctor",
        "connectors",
        "init",
        "version",
        "completions",
    ] {
        assert!(done.stdout.contains(&format!("\n  {command}")), "{command}: {}", done.stdout);
        assert_eq!(lagar(&[command, "--help"]).code, 0, "{command}");
    }
    assert_eq!(lagar(&["version"]).stdout, format!("lagar {}\n", env!("CARGO_PKG_VERSION")));
    assert!(lagar(&["completions", "bash"]).stdout.contains("lagar"));
}

#[test]
fn usage_errors_exit_with_2() {
    lagar(&["rn"]).says(2, &["run"]);
    lagar(&["run", "--nope"]).says(2, &["--nope", "Usage:", "[E1001]"]);
    let done = lagar(&["run", "--nope", "--json"]);
    let error = &done.says(2, &["--nope"]).json()["error"];
    assert_eq!(
        (&error["code"], &error["message"]),
        (&"E1001".into(), &"unexpected argument '--nope' found".into())
    );
    lagar(&["run", "/nowhere/at/all"]).says(2, &["/nowhere/at/all"]);
    lagar(&["connectors", "ftp"]).says(2, &["file", "rest", "sql"]);
    let done = lagar(&["run", "/nowhere/at/all", "--json"]);
    assert_eq!(done.json()["error"]["code"], "E1002");
}

#[test]
fn init_makes_a_project_that_runs_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        Done::of(
            Command::new(env!("CARGO_BIN_EXE_lagar")).args(args).current_dir(dir.path()).output().unwrap(),
        )
    };
    assert_eq!(run(&["init", "Bad-Name"]).code, 2);
    run(&["init", "first"]).says(0, &[]);
    run(&["check", "first"]).says(0, &[]);
    run(&["run", "first"]).says(0, &["released as 1"]);
    run(&["test", "first"]).says(0, &[]);
    let done =
        run(&["sql", "-p", "first", "SELECT sum(visits) AS n FROM refined.visits_by_day", "--format", "csv"]);
    assert_eq!(done.stdout, "n\n5\n", "{}", done.stderr);
    run(&["init", "first"]).says(2, &["exists already"]);
}

fn small() -> Place {
    let yaml = "name: small\nsources:\n  items:\n    type: file\n    url: items.ndjson\n";
    let place = Place::project(&[
        ("lagar.yaml", yaml),
        (
            "items.ndjson",
            "{\"id\":1,\"name\":\"a|b\",\"tags\":[\"x\"]}\n{\"id\":2,\"name\":null,\"tags\":[]}\n",
        ),
        ("trusted/items.sql", "-- Items.\nSELECT id, name, tags FROM raw.items\n"),
    ]);
    place.run(&[]);
    place
}

#[test]
fn every_format_has_the_same_rows() {
    let place = small();
    let sql = "SELECT id, name, tags FROM trusted.items ORDER BY id";
    let show = |format: &str| {
        let done = place.lagar(&["sql", sql, "--format", format]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        done.stdout
    };
    assert_eq!(show("csv"), "id,name,tags\n1,a|b,\"[\"\"x\"\"]\"\n2,,[]\n");
    assert_eq!(
        show("ndjson"),
        "{\"id\":1,\"name\":\"a|b\",\"tags\":[\"x\"]}\n{\"id\":2,\"name\":null,\"tags\":[]}\n"
    );
    assert_eq!(
        show("markdown"),
        "| id | name | tags |\n| ---: | --- | --- |\n| 1 | a\\|b | [x] |\n| 2 | NULL | [] |\n"
    );
    let text = show("box");
    assert!(text.contains("│  id") && text.contains("int") && text.ends_with("2 rows\n"), "{text}");
    for (format, magic) in [("parquet", &b"PAR1"[..]), ("arrow", &b"\xff\xff\xff\xff"[..])] {
        let file = place.dir.path().join(format);
        let done = place.lagar(&["sql", sql, "--format", format, "-o", file.to_str().unwrap()]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert!(std::fs::read(&file).unwrap().starts_with(magic));
    }
    let empty = place.lagar(&["sql", "SELECT id FROM trusted.items WHERE id = 9", "--format", "csv"]);
    assert_eq!(empty.stdout, "id\n");
    let long = place.lagar(&["sql", "SELECT value FROM generate_series(1, 100) AS t(value)"]);
    assert!(long.stdout.ends_with("100 rows (40 shown)\n"), "{}{}", long.stdout, long.stderr);
    assert!(
        long.stdout.contains("20") && long.stdout.contains("81") && !long.stdout.contains(" 50 "),
        "{}",
        long.stdout
    );
}

#[test]
fn a_query_comes_from_stdin_too() {
    let place = small();
    let mut child = place
        .command(&["sql", "-", "--format", "csv"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"SELECT count(*) AS n FROM trusted.items").unwrap();
    assert_eq!(Done::of(child.wait_with_output().unwrap()).stdout, "n\n2\n");
}

#[test]
fn a_query_may_begin_with_a_comment() {
    let place = small();
    for sql in [
        "-- a comment\nSELECT 1 AS n",
        "--\nSELECT 1 AS n",
        "--all = of it\nSELECT 1 AS n",
        "/* - */ SELECT 1 AS n",
    ] {
        for args in [["sql", sql, "--format", "csv"], ["sql", "--format", "csv", sql]] {
            let done = place.lagar(&args);
            assert_eq!((done.code, done.stdout.as_str()), (0, "n\n1\n"), "{args:?}: {}", done.stderr);
        }
    }
    place.lagar(&["sql", "-- a comment\nSELECT nam FROM trusted.items"]).says(2, &["nam", "name"]);
    place.lagar(&["sql", "-- a comment, and no more"]).says(2, &["there is no SQL"]);
    // What looks like a flag is one, also an unknown one.
    place.lagar(&["sql", "--jsn", "SELECT 1"]).says(2, &["--jsn", "--json"]);
    place.lagar(&["sql", "SELECT 1", "--nothing=like it"]).says(2, &["--nothing"]);
    assert_eq!(place.lagar(&["sql", "--json", "SELECT 1 AS n"]).stdout, "[{\"n\":1}]\n");
    let help = place.lagar(&["sql", "--help"]);
    assert!(help.code == 0 && help.stdout.contains("Usage: lagar sql"), "{}", help.stdout);
    place.lagar(&["profile", "trusted.items", "--where", "-- the first\nid = 1"]).says(0, &[]);
}

#[test]
fn sql_only_reads() {
    let place = small();
    let target = place.dir.path().join("out.csv");
    for sql in [
        "DROP TABLE trusted.items",
        "DELETE FROM trusted.items",
        "INSERT INTO trusted.items VALUES (1)",
        "CREATE TABLE x AS SELECT 1",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
        &format!("COPY (SELECT 1) TO '{}'", target.display()),
        "SET datafusion.execution.batch_size = 1",
        "SELECT 1; SELECT 2",
    ] {
        let done = place.lagar(&["sql", sql]);
        assert_eq!(done.code, 2, "{sql}: {}{}", done.stdout, done.stderr);
    }
    let done = place.lagar(&["sql", "SELECT * FROM '/etc/passwd'"]);
    assert_ne!(done.code, 0, "{}", done.stdout);
    assert!(!target.exists());
    assert_eq!(place.rows("SELECT count(*) AS n FROM trusted.items"), vec![json!({"n": 2})]);
}

#[test]
fn errors_say_what_where_and_what_next() {
    let place = small();
    place
        .lagar(&["sql", "SELECT * FROM trusted.item"])
        .says(2, &["trusted.item", "did you mean `trusted.items`?"]);
    place.lagar(&["sql", "SELECT nam FROM trusted.items"]).says(2, &["nam", "name"]);
    place.lagar(&["sql", "SELEC 1"]).says(2, &["SELEC"]);
    place.lagar(&["show", "trusted.nothing"]).says(1, &["trusted.nothing"]);
    place.write("trusted/items.sql", "-- Items.\nSELECT id FROM raw.itemz\n");
    place.lagar(&["check"]).says(2, &["raw.itemz", "trusted/items.sql:2:16", "did you mean `raw.items`?"]);
    place.write("trusted/items.sql", "SELECT id FROM raw.items");
    place.write("lagar.yaml", "name: small\nsources:\n  items:\n    type: file\n    urll: items.ndjson\n");
    place.lagar(&["check"]).says(2, &["urll", "lagar.yaml:5:5", "url"]);
}

#[test]
fn check_names_every_fault_and_warns() {
    let place = small();
    place.write("notes.sql", "nothing");
    let checked = place.lagar(&["check", "--json"]);
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    let said: serde_json::Value = serde_json::from_str(checked.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&said["sources"], &said["models"]), (&json!(1), &json!(1)), "{said}");
    assert!(said["warnings"][0].as_str().unwrap().contains("beside lagar.yaml"), "{said}");
    checked.says(0, &["warning: a .sql file beside lagar.yaml is not read"]);
    assert_eq!(place.lagar(&["check"]).stdout, "1 source and 1 model: no problem found\n");
    // Three faults in three files, and a run that refuses the first of them before any step.
    place.write("refined/top.sql", "SELECT nam, idd FROM trusted.items");
    place.write("refine/x.sql", "SELECT 1 AS a");
    place.lagar(&["check"]).says(
        2,
        &[
            "refine`",
            "did you mean `refined`?",
            "refined/top.sql:1:8",
            "did you mean `name`?",
            "top.sql:1:13",
            "3 problems",
        ],
    );
    std::fs::remove_dir_all(place.project.join("refine")).unwrap();
    let done = place.lagar(&["run"]);
    done.says(2, &["refined/top.sql:1:8", "did you mean `name`?", "lagar run -s raw.items"]);
    assert!(!done.stderr.contains("raw.items "), "no step ran: {}", done.stderr);
}

#[test]
fn listings_show_what_there_is() {
    let place = small();
    let ls = place.lagar(&["ls"]).stdout;
    assert!(ls.contains("raw.items") && ls.contains("trusted.items") && ls.contains("release 1"), "{ls}");
    let show = place.lagar(&["show", "trusted.items"]).stdout;
    assert!(show.contains("version 0") && show.contains("tags") && show.contains("raw.items (1)"), "{show}");
    let runs = place.lagar(&["runs"]).stdout;
    assert!(runs.contains("ok"), "{runs}");
    assert!(place.lagar(&["runs", "show"]).stdout.contains("raw.items"));
    assert!(place.lagar(&["releases"]).stdout.contains("current"));
    let keys = place.lagar(&["connectors", "rest"]).stdout;
    for key in [
        "url",
        "pages: {type: offset}",
        "pages.offset_param",
        "auth.bearer",
        "auth.oauth2.token_url",
        "timeout.read",
        "columns",
    ] {
        assert!(keys.contains(key), "{key}: {keys}");
    }
    let tables = place.lagar(&["sql", "SHOW TABLES", "--format", "csv"]).stdout;
    assert!(tables.contains("trusted,items") && tables.contains("raw,items"), "{tables}");
    let doctor = place.lagar(&["doctor"]);
    assert_eq!(doctor.code, 0, "{}{}", doctor.stdout, doctor.stderr);
    let schema: serde_json::Value = serde_json::from_str(&place.lagar(&["config", "schema"]).stdout).unwrap();
    assert!(schema["properties"]["sources"].is_object());
    assert!(place.lagar(&["config", "show", "--origin"]).stdout.contains("lagar.yaml"));
    let loads = place.rows("SELECT source, load, rows FROM system.loads");
    assert_eq!(loads, vec![json!({"source": "items", "load": 1, "rows": 2})]);
    assert_eq!(place.rows("SELECT status FROM system.runs"), vec![json!({"status": "ok"})]);
}

#[test]
fn append_takes_only_what_is_new() {
    let yaml = "name: grow\nsources:\n  events:\n    type: file\n    url: events/*.csv\n";
    let place = Place::project(&[
        ("lagar.yaml", yaml),
        ("events/1.csv", "id\n1\n2\n"),
        (
            "trusted/events.sql",
            "-- Events.\n/*---\nmaterialize: append\nincremental: raw.events\nkey: [id]\n---*/\nSELECT id FROM raw.events\n",
        ),
    ]);
    place.run(&[]);
    place.write("events/2.csv", "id\n3\n");
    let report = place.run(&[]);
    assert_eq!(crate::support::step(&report, "trusted.events")["rows_out"], 1);
    let rows = place.rows("SELECT id FROM trusted.events ORDER BY id");
    assert_eq!(rows, vec![json!({"id": 1}), json!({"id": 2}), json!({"id": 3})]);
    // A key that stands in an old row already is refused, and the old rows stay.
    place.write("events/3.csv", "id\n3\n");
    place.lagar(&["run"]).says(1, &["unique"]);
    assert_eq!(place.rows("SELECT count(*) AS n FROM trusted.events"), vec![json!({"n": 3})]);
}

#[test]
fn append_from_a_table_takes_its_new_files_and_refuses_a_rewritten_one() {
    let model = |from: &str| {
        format!("-- Events.\n/*---\nmaterialize: append\nincremental: {from}\n---*/\nSELECT id FROM {from}\n")
    };
    let place = Place::project(&[
        ("lagar.yaml", "name: grow\nsources:\n  events:\n    type: file\n    url: events/*.csv\n"),
        ("events/1.csv", "id\n1\n"),
        ("trusted/events.sql", &model("raw.events")),
        ("refined/copies.sql", &model("trusted.events")),
    ]);
    place.run(&[]);
    place.write("events/2.csv", "id\n2\n");
    let report = place.run(&[]);
    assert_eq!(crate::support::step(&report, "refined.copies")["rows_out"], 1);
    assert_eq!(place.rows("SELECT count(*) AS n FROM refined.copies"), vec![json!({"n": 2})]);
    place.run(&["--full-refresh", "-s", "trusted.events"]);
    place.lagar(&["run"]).says(1, &["refined.copies", "rewritten", "--full-refresh"]);
    assert_eq!(place.rows("SELECT count(*) AS n FROM refined.copies"), vec![json!({"n": 2})]);
}

#[test]
fn rows_that_a_check_drops_are_counted_and_can_be_seen() {
    let place = Place::project(&[
        ("lagar.yaml", "name: drop\nsources:\n  events:\n    type: file\n    url: events.csv\n"),
        ("events.csv", "id,day\n1,2024-01-01\n2,1900-01-01\n3,2024-01-02\n"),
        (
            "trusted/events.sql",
            "-- Events.\n/*---\npartition_by: [day]\nchecks:\n  - {name: not_ancient, sql: \"day > DATE '2000-01-01'\", severity: drop}\n---*/\n\
             SELECT id, day FROM raw.events\n",
        ),
    ]);
    let report = place.run(&[]);
    let step = crate::support::step(&report, "trusted.events");
    assert_eq!((&step["rows_out"], &step["rows_rejected"]), (&json!(2), &json!(1)), "{step}");
    assert_eq!(
        place.rows("SELECT id FROM trusted.events ORDER BY id"),
        vec![json!({"id": 1}), json!({"id": 3})]
    );
    let dropped =
        place.rows("SELECT id, CAST(day AS VARCHAR) AS day, _failed_check FROM refused.trusted.events");
    assert_eq!(dropped, vec![json!({"id": 2, "day": "1900-01-01", "_failed_check": "not_ancient"})]);
    let [check] = &step["checks"].as_array().unwrap()[..] else { panic!("{step}") };
    assert_eq!((&check["rows_tested"], &check["rows_failed"]), (&json!(3), &json!(1)), "{check}");
    assert_eq!(check["sample"], json!([{"id": 2, "day": "1900-01-01"}]));
    let recorded =
        place.rows("SELECT check_name, severity, rows_tested, rows_failed, sample FROM system.checks");
    assert_eq!(
        (&recorded[0]["rows_tested"], &recorded[0]["rows_failed"]),
        (&json!(3), &json!(1)),
        "{recorded:?}"
    );
    assert!(recorded[0]["sample"].as_str().unwrap().contains("1900-01-01"), "{recorded:?}");
    assert!(place.lake().join("trusted/events/day=2024-01-01").is_dir(), "Hive-style partitions");
    let one = place.rows("SELECT id FROM trusted.events WHERE day = DATE '2024-01-02'");
    assert_eq!(one, vec![json!({"id": 3})]);
}

/// Of a table that grows, those that earlier runs left out are rows of the version, too, as are those that they kept.
#[test]
fn a_check_that_drops_counts_the_rows_of_all_runs() {
    let place = Place::project(&[
        ("lagar.yaml", "name: drop\nsources:\n  events:\n    type: file\n    url: events/*.csv\n"),
        ("events/1.csv", "id,n\n1,5\n2,-1\n3,-2\n"),
        (
            "trusted/events.sql",
            "-- Events.\n/*---\nmaterialize: append\nincremental: raw.events\nchecks:\n  - {name: more, sql: \"n > 0\", severity: drop}\n  - {name: small, sql: \"n < 8\", severity: warn}\n  - {name: odd, sql: \"n % 2 <> 0\", severity: drop}\n---*/\n\
             SELECT id, n FROM raw.events\n",
        ),
    ]);
    let counts = |report: &serde_json::Value| -> Vec<(String, u64, u64)> {
        let step = crate::support::step(report, "trusted.events");
        let checks = step["checks"].as_array().unwrap().iter();
        let count = |check: &serde_json::Value, of: &str| check[of].as_u64().unwrap();
        checks
            .map(|check| {
                let name = check["name"].as_str().unwrap().to_owned();
                (name, count(check, "rows_tested"), count(check, "rows_failed"))
            })
            .collect()
    };
    let found = |name: &str, tested, failed| (name.to_owned(), tested, failed);
    // -2 fails both: it is counted by the first.
    let first = counts(&place.run(&[]));
    assert_eq!(first, [found("more", 3, 2), found("small", 1, 0), found("odd", 3, 0)]);
    place.write("events/2.csv", "id,n\n4,4\n5,9\n6,-7\n");
    let second = counts(&place.run(&[]));
    assert_eq!(second, [found("more", 6, 3), found("small", 2, 1), found("odd", 6, 1)]);
    let said = place.lagar(&["run", "--full-refresh", "-s", "trusted.events"]);
    said.says(0, &["warning: check small of trusted.events: 1 of 2 rows"]);
}

#[test]
fn schemas_of_projects_and_of_predictors_are_printed() {
    let place = Place::project(&[]);
    for (args, key) in
        [(&["config", "schema"][..], "sources"), (&["config", "schema", "--predictor"], "fitted")]
    {
        let text = place.lagar(args).stdout;
        let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(schema["properties"].get(key).is_some(), "{args:?}: no {key}");
    }
}

#[test]
fn a_quiet_run_says_which_steps_failed() {
    let model =
        "-- Nothing can be divided by nothing.\nSELECT 1 / (value % 1) AS n FROM generate_series(1, 2)";
    let place = Place::project(&[
        ("lagar.yaml", "name: quiet\n"),
        ("trusted/one.sql", model),
        ("trusted/other.sql", model),
    ]);
    place.lagar(&["run", "-q"]).says(1, &["error: trusted.one: ", "error: trusted.other: "]);
}
