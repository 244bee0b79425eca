#![allow(clippy::unwrap_used, clippy::expect_used)]

use arrow::array::{Array, AsArray};
use lagar_flow::{Event, EventKind, codes};

use super::*;
use crate::report::{CheckReport, Provenance, Status, StepKind};

fn time(second: u32) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(&format!("2026-01-02T03:04:{second:02}Z")).unwrap().to_utc()
}

fn step(name: &str) -> StepReport {
    let mut step = StepReport::new(name, StepKind::Model);
    step.seconds = 1.5;
    step.rows_in = 10;
    step.rows_out = 7;
    step.version = Some(3);
    step.notes = vec!["a".into(), "b".into()];
    step
}

fn report(run_id: &str, status: Status) -> Report {
    Report {
        run_id: run_id.into(),
        project: "shop".into(),
        status,
        release: Some(4),
        seconds: 2.0,
        steps: Vec::new(),
        warnings: Vec::new(),
    }
}

async fn open(folder: &tempfile::TempDir) -> History {
    History::open(folder.path()).await.unwrap().0
}

#[tokio::test]
async fn a_run_is_remembered_with_its_steps_and_checks() {
    let folder = tempfile::tempdir().unwrap();
    let (history, opened) = History::open(&folder.path().join("deep/.lagar")).await.unwrap();
    assert_eq!(opened, Opened::New);
    history.start_run("r1", "shop", "run", time(0)).await.unwrap();
    assert_eq!(history.runs(10).await.unwrap()[0].status, RUNNING, "this process is alive");

    let mut failed = step("trusted.b").failed(Error::new(codes::CHECK_FAILED, "no").hint("look"));
    failed.checks.push(CheckReport {
        name: "rows > 0".into(),
        severity: "error".into(),
        rows_tested: 7,
        rows_failed: 2,
        sample: vec![serde_json::json!({"a": 1})],
    });
    history.record_step("r1", &step("trusted.a"), time(2)).await.unwrap();
    history.record_step("r1", &failed, time(4)).await.unwrap();
    history.record_step("r1", &failed, time(4)).await.unwrap();
    let mut report = report("r1", Status::Failed);
    report.steps = vec![failed];
    history.end_run(&report, time(5)).await.unwrap();
    history.close().await;

    let (history, opened) = History::open(&folder.path().join("deep/.lagar")).await.unwrap();
    assert_eq!(opened, Opened::Existing);
    let run = history.run("r1").await.unwrap().unwrap();
    assert_eq!((run.status.as_str(), run.release, run.seconds), ("failed", Some(4), Some(2.0)));
    assert_eq!((run.started_at, run.ended_at), (time(0), Some(time(5))));
    assert_eq!(run.error_message(), Some("no"));
    let steps = history.steps("r1").await.unwrap();
    assert_eq!(steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>(), ["trusted.a", "trusted.b"]);
    assert_eq!((steps[0].rows_in, steps[0].rows_out, steps[0].version), (10, 7, Some(3)));
    assert_eq!(steps[0].note.as_deref(), Some("a; b"));
    assert_eq!(steps[1].error.as_ref().unwrap()["code"], "E5001");
    let checks = history.checks("r1").await.unwrap();
    assert_eq!(checks.len(), 1);
    assert_eq!(checks[0].sample, [serde_json::json!({"a": 1})]);
}

#[tokio::test]
async fn the_tables_have_their_columns_with_and_without_rows() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder).await;
    assert_eq!(history.runs_batch().await.unwrap().schema(), *tables::RUNS);
    assert_eq!(history.steps_batch().await.unwrap().schema(), *tables::STEPS);
    assert_eq!(history.checks_batch().await.unwrap().schema(), *tables::CHECKS);
    assert_eq!(history.events_batch().await.unwrap().schema(), *events::EVENTS);
    history.start_run("r1", "shop", "run", time(0)).await.unwrap();
    history
        .record_step("r1", &step("a").failed(Error::new(codes::MEMORY, "too much")), time(3))
        .await
        .unwrap();
    let steps = history.steps_batch().await.unwrap();
    let text = |name: &str| steps.column_by_name(name).unwrap().as_string::<i32>().value(0).to_owned();
    assert_eq!((text("error_code"), text("error")), ("E4201".into(), "too much".into()));
    let runs = history.runs_batch().await.unwrap();
    assert!(runs.column_by_name("ended_at").unwrap().is_null(0));
}

#[test]
fn the_guide_names_all_columns() {
    let guide = include_str!("../../../../docs/guide.md");
    let part = guide.split("### What ran").nth(1).and_then(|part| part.split("\n## ").next()).unwrap();
    for schema in [&*tables::RUNS, &*tables::STEPS, &*tables::CHECKS, &*events::EVENTS] {
        for field in schema.fields() {
            assert!(part.contains(&format!("`{}`", field.name())), "docs/guide.md has no `{}`", field.name());
        }
    }
}

#[tokio::test]
async fn a_run_is_found_by_the_beginning_of_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder).await;
    for (id, second) in [("ab1", 0), ("ab2", 1), ("ab", 2), ("c_%", 3)] {
        history.start_run(id, "shop", "run", time(second)).await.unwrap();
    }
    assert_eq!(history.run("ab1").await.unwrap().unwrap().run_id, "ab1");
    assert_eq!(history.run("ab").await.unwrap().unwrap().run_id, "ab");
    assert_eq!(history.run("c").await.unwrap().unwrap().run_id, "c_%");
    assert!(history.run("_").await.unwrap().is_none(), "not a pattern");
    assert_eq!(history.run("a").await.unwrap_err().code(), codes::USAGE);
    let newest: Vec<String> = history.runs(2).await.unwrap().into_iter().map(|run| run.run_id).collect();
    assert_eq!(newest, ["c_%", "ab"]);
}

#[tokio::test]
async fn a_run_whose_process_is_gone_was_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder).await;
    history.start_run("gone", "shop", "run", time(0)).await.unwrap();
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    sqlx::query("UPDATE runs SET pid = ?").bind(i64::from(pid)).execute(&history.pool).await.unwrap();
    assert_eq!(history.run("gone").await.unwrap().unwrap().status, INTERRUPTED);

    history.start_run("elsewhere", "shop", "run", Utc::now()).await.unwrap();
    sqlx::query("UPDATE runs SET host = 'another' WHERE run_id = 'elsewhere'")
        .execute(&history.pool)
        .await
        .unwrap();
    assert_eq!(history.run("elsewhere").await.unwrap().unwrap().status, RUNNING, "nobody can know");
    sqlx::query("UPDATE runs SET started_at = '2026-01-01T00:00:00.000000Z' WHERE run_id = 'elsewhere'")
        .execute(&history.pool)
        .await
        .unwrap();
    assert_eq!(history.run("elsewhere").await.unwrap().unwrap().status, INTERRUPTED, "not for ever");
}

#[tokio::test]
async fn a_newer_history_is_refused_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder).await;
    sqlx::query("PRAGMA user_version = 99").execute(&history.pool).await.unwrap();
    let application = sqlx::AssertSqlSafe(format!("PRAGMA application_id = {}", APPLICATION + 99));
    sqlx::query(application).execute(&history.pool).await.unwrap();
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&history.pool).await.unwrap();
    history.close().await;
    let before = std::fs::read(folder.path().join(FILE)).unwrap();
    let error = History::open(folder.path()).await.unwrap_err();
    assert_eq!(error.code(), codes::HISTORY);
    assert!(error.message().contains("newer Lagar (format 99)"), "{error}");
    assert_eq!(std::fs::read(folder.path().join(FILE)).unwrap(), before);
    let files: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, [FILE]);
}

#[tokio::test]
async fn a_damaged_history_is_moved_aside() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 4] = [
        ("not a database", |bytes| *bytes = b"hello, I am not a database".to_vec()),
        ("cut", |bytes| bytes.truncate(bytes.len() / 2)),
        ("a page of noise", |bytes| bytes[4096..8192].fill(0xA5)),
        ("a header of noise", |bytes| bytes[..100].fill(0xA5)),
    ];
    for (what, damage) in damages {
        let folder = tempfile::tempdir().unwrap();
        let history = open(&folder).await;
        for number in 0..200 {
            history.start_run(&format!("r{number}"), "shop", "run", time(0)).await.unwrap();
        }
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&history.pool).await.unwrap();
        history.close().await;
        let path = folder.path().join(FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        damage(&mut bytes);
        std::fs::write(&path, &bytes).unwrap();

        let (history, opened) = History::open(folder.path()).await.unwrap();
        let Opened::Damaged(aside) = &opened else { panic!("{what}: {opened:?}") };
        assert_eq!(std::fs::read(aside).unwrap(), bytes, "{what}: kept as it was");
        assert!(opened.is_new());
        assert_eq!(history.runs(10).await.unwrap(), [], "{what}");
        history.start_run("new", "shop", "run", time(0)).await.unwrap();
    }
}

#[tokio::test]
async fn a_table_that_is_gone_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder).await;
    sqlx::query("DROP TABLE steps").execute(&history.pool).await.unwrap();
    history.close().await;
    assert!(matches!(History::open(folder.path()).await.unwrap().1, Opened::Damaged(_)));
}

#[tokio::test]
async fn a_lost_history_is_filled_from_the_lake() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder).await;
    history.start_run("known", "shop", "run", time(30)).await.unwrap();
    let mut released = RebuiltRun::new("r1", time(5));
    released.add(step("raw.a"), time(5));
    released.add(step("trusted.a"), time(9));
    released.released(2, time(10));
    let mut loaded = RebuiltRun::new("r2", time(20));
    loaded.add(step("raw.a"), time(20));
    let known = RebuiltRun::new("known", time(1));
    history.rebuild("shop", vec![released, loaded, known]).await.unwrap();

    let runs = history.runs(10).await.unwrap();
    let shown: Vec<_> =
        runs.iter().map(|run| (run.run_id.as_str(), run.status.as_str(), run.release)).collect();
    assert_eq!(shown, [("known", RUNNING, None), ("r2", UNKNOWN, None), ("r1", "ok", Some(2))]);
    assert_eq!((runs[2].started_at, runs[2].ended_at), (time(5), Some(time(10))));
    assert_eq!(history.steps("r1").await.unwrap().len(), 2);
}

#[tokio::test]
async fn several_may_make_and_write_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let path = folder.path().to_owned();
        tasks.spawn(async move {
            let (history, _) = History::open(&path).await?;
            for run in 0..5 {
                history.start_run(&format!("{number}-{run}"), "shop", "run", time(0)).await?;
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap();
    }
    assert_eq!(open(&folder).await.runs(100).await.unwrap().len(), 40);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_an_error_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = History::open(&file.join(".lagar")).await.unwrap_err();
    assert_eq!(error.code(), codes::HISTORY);
}

/// A history with runs, steps and checks, closed; its bytes and what it tells.
async fn remembered(folder: &tempfile::TempDir) -> (Vec<u8>, String) {
    let history = open(folder).await;
    for number in 0..6 {
        let id = format!("run-{number}");
        history.start_run(&id, "shop", "run", time(number)).await.unwrap();
        let mut made = step("trusted.a");
        made.checks.push(CheckReport {
            name: "rows > 0".into(),
            severity: "error".into(),
            rows_tested: 7,
            rows_failed: 0,
            sample: vec![serde_json::json!({"a": number})],
        });
        made.events.push(event(&id, number.into()));
        history.record_step(&id, &made, time(number)).await.unwrap();
        history.end_run(&report(&id, Status::Ok), time(number)).await.unwrap();
    }
    let told = told(&history).await;
    history.close().await;
    (std::fs::read(folder.path().join(FILE)).unwrap(), told)
}

/// Writes the file, without a log that an earlier case left: SQLite would read it in its place.
fn put(folder: &tempfile::TempDir, bytes: &[u8]) {
    for log in ["history.db-wal", "history.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join(log));
    }
    std::fs::write(folder.path().join(FILE), bytes).unwrap();
}

/// All that can be asked of a history.
async fn told(history: &History) -> String {
    let mut all = String::new();
    for run in history.runs(100).await.unwrap() {
        let found = history.run(&run.run_id).await.unwrap();
        let steps = history.steps(&run.run_id).await.unwrap();
        let checks = history.checks(&run.run_id).await.unwrap();
        all.push_str(&format!("{run:?} {found:?} {steps:?} {checks:?}\n"));
    }
    all.push_str(&events_of(history).await);
    all
}

async fn events_of(history: &History) -> String {
    history.events().await.unwrap().iter().map(|event| format!("{event:?}\n")).collect()
}

fn event(run_id: &str, count: u64) -> Event {
    Event {
        at: time(1),
        run_id: run_id.into(),
        table: "raw.a".into(),
        kind: EventKind::RowDiscarded,
        column: Some("x".into()),
        before: Some("int".into()),
        after: None,
        count: Some(count),
    }
}

#[tokio::test]
async fn the_events_of_a_step_are_those_of_its_last_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder).await;
    let mut made = step("raw.a");
    made.events = vec![event("r", 1), event("r", 2)];
    history.record_step("r", &made, time(1)).await.unwrap();
    made.events = vec![event("r", 3)];
    history.record_step("r", &made, time(1)).await.unwrap();
    assert_eq!(history.events().await.unwrap(), [event("r", 3)]);
    // In the lake one step may have left several loads.
    let mut rebuilt = RebuiltRun::new("q", time(5));
    for _ in 0..2 {
        let mut load = step("raw.a");
        load.events = vec![event("q", 4)];
        rebuilt.add(load, time(5));
    }
    history.rebuild("shop", vec![rebuilt]).await.unwrap();
    assert_eq!(history.events().await.unwrap().len(), 3);
    assert_eq!(history.events_batch().await.unwrap().num_rows(), 3);
}

/// R11: a flipped bit is noticed, or it changes nothing that can be read.
#[tokio::test]
async fn no_flipped_bit_changes_what_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, before) = remembered(&folder).await;
    assert!(!folder.path().join("history.db-wal").exists(), "all is in the one file");
    let mut battery = lagar_testing::Battery::new("R11");
    let flips: u64 = if lagar_testing::long() { 3000 } else { 100 };
    let mut noticed = 0;
    for flip in 0..flips {
        // The header first, bit by bit, then anywhere: steps of a size that divides nothing.
        let bit = if flip < flips / 3 {
            (flip * 800 / (flips / 3)) as usize
        } else {
            (flip as usize * 7_368_787) % (bytes.len() * 8)
        };
        battery
            .case_async(&format!("bit {bit} of {} bytes", bytes.len()), async {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                put(&folder, &damaged);
                let (history, opened) = History::open(folder.path()).await.unwrap();
                match opened {
                    Opened::Damaged(aside) => {
                        noticed += 1;
                        assert_eq!(told(&history).await, "", "made new");
                        std::fs::remove_file(aside).unwrap();
                    }
                    // Bits that SQLite does not use, and those of the version that say "an older one".
                    Opened::Existing | Opened::New => assert_eq!(told(&history).await, before, "{opened:?}"),
                }
                history.close().await;
            })
            .await;
    }
    assert!(noticed > flips / 10, "only {noticed} of {flips} were noticed: the flips hit nothing");
}

/// R11: cut anywhere, it is noticed; cut to nothing, it is a new one.
#[tokio::test]
async fn a_cut_history_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, _) = remembered(&folder).await;
    let mut battery = lagar_testing::Battery::new("R11");
    let cuts = if lagar_testing::long() { 400 } else { 40 };
    for cut in 0..cuts {
        let length = bytes.len() * cut / cuts;
        battery
            .case_async(&format!("cut to {length} of {} bytes", bytes.len()), async {
                put(&folder, &bytes[..length]);
                let (history, opened) = History::open(folder.path()).await.unwrap();
                match &opened {
                    Opened::Damaged(aside) => std::fs::remove_file(aside).unwrap(),
                    opened => assert_eq!((opened, length), (&Opened::New, 0)),
                }
                assert!(opened.is_new(), "it is filled from the lake");
                assert_eq!(told(&history).await, "");
                history.close().await;
            })
            .await;
    }
}

/// What explains a step is remembered whole, and under the seal.
#[tokio::test]
async fn where_a_step_comes_from_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder).await;
    history.start_run("r1", "shop", "run", time(0)).await.unwrap();
    let mut made = step("trusted.a");
    made.provenance = Provenance {
        inputs: [("raw.a".to_owned(), 3), ("trusted.b".to_owned(), 0)].into(),
        parameters: serde_json::json!({"select": ["+trusted.a"], "full_refresh": true, "vars": {"day": "it's"}}),
        code_version: Some("0123".into()),
        code_hash: Some("ab".into()),
        schema_hash: Some("cd".into()),
        machine: Some("press".into()),
    };
    history.record_step("r1", &made, time(2)).await.unwrap();
    let mut later = made.clone();
    later.provenance.inputs.insert("raw.a".into(), 4);
    history.start_run("r2", "shop", "run", time(3)).await.unwrap();
    history.record_step("r2", &later, time(9)).await.unwrap();
    let mut not_begun = step("trusted.a").failed(Error::new(codes::STOPPED, "stopped"));
    not_begun.attempts = 0;
    history.start_run("r3", "shop", "run", time(10)).await.unwrap();
    history.record_step("r3", &not_begun, time(20)).await.unwrap();
    assert_eq!(history.steps("r1").await.unwrap()[0].provenance, made.provenance);
    let newest = history.newest_steps().await.unwrap();
    assert_eq!((newest.len(), newest["trusted.a"].run_id.as_str()), (1, "r2"));

    let steps = history.steps_batch().await.unwrap();
    let text = |name: &str| steps.column_by_name(name).unwrap().as_string::<i32>().value(0).to_owned();
    assert_eq!(text("inputs"), r#"{"raw.a":3,"trusted.b":0}"#);
    assert!(text("parameters").contains("it's") && text("machine") == "press", "{}", text("parameters"));

    history.close().await;
    let (history, opened) = History::open(folder.path()).await.unwrap();
    assert_eq!(opened, Opened::Existing);
    sqlx::query("UPDATE steps SET code_version = '4567' WHERE run_id = 'r1'")
        .execute(&history.pool)
        .await
        .unwrap();
    history.close().await;
    assert!(
        matches!(History::open(folder.path()).await.unwrap().1, Opened::Damaged(_)),
        "not what was sealed"
    );
}

/// The columns that came with version 3 do not break the seals of version 2.
#[tokio::test]
async fn a_history_without_provenance_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (_, before) = remembered(&folder).await;
    let history = open(&folder).await;
    let before = before.replace(&events_of(&history).await, "");
    sqlx::query("DROP TABLE events").execute(&history.pool).await.unwrap();
    for column in ["inputs_json", "parameters_json", "code_version", "code_hash", "schema_hash", "machine"] {
        let drop = sqlx::AssertSqlSafe(format!("ALTER TABLE steps DROP COLUMN {column}"));
        sqlx::query(drop).execute(&history.pool).await.unwrap();
    }
    let application = format!("PRAGMA application_id = {}", APPLICATION + 2);
    for pragma in ["PRAGMA user_version = 2".to_owned(), application] {
        sqlx::query(sqlx::AssertSqlSafe(pragma)).execute(&history.pool).await.unwrap();
    }
    history.close().await;
    for opening in ["brought up to date", "read again"] {
        let (history, opened) = History::open(folder.path()).await.unwrap();
        assert_eq!(opened, Opened::Existing, "{opening}");
        assert_eq!(told(&history).await, before, "{opening}");
        history.record_step("run-1", &step("trusted.new"), time(40)).await.unwrap();
        sqlx::query("DELETE FROM steps WHERE name = 'trusted.new'").execute(&history.pool).await.unwrap();
        history.close().await;
    }
}

/// What older versions wrote stays and is sealed: the first had no seals, the second no events.
#[tokio::test]
async fn an_older_history_goes_on() {
    for version in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let (_, before) = remembered(&folder).await;
        let history = open(&folder).await;
        let before = before.replace(&events_of(&history).await, "");
        let mut older = "DROP TABLE events;".to_owned();
        if version == 1 {
            for table in ["runs", "steps", "checks"] {
                older.push_str(&format!("ALTER TABLE {table} DROP COLUMN seal;"));
            }
        }
        let signed = if version == 1 { 0 } else { APPLICATION + version };
        older.push_str(&format!("PRAGMA user_version = {version}; PRAGMA application_id = {signed}"));
        sqlx::raw_sql(sqlx::AssertSqlSafe(older)).execute(&history.pool).await.unwrap();
        history.close().await;
        let (history, opened) = History::open(folder.path()).await.unwrap();
        assert_eq!(opened, Opened::Existing);
        assert_eq!(told(&history).await, before);
        history.start_run("new", "shop", "run", time(30)).await.unwrap();
        sqlx::query("UPDATE runs SET status = 'failed' WHERE run_id = 'run-1'")
            .execute(&history.pool)
            .await
            .unwrap();
        history.close().await;
        let opened = History::open(folder.path()).await.unwrap().1;
        assert!(matches!(opened, Opened::Damaged(_)), "a row that nobody sealed");
    }
}
