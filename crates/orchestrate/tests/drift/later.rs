//! What was decided about a load stays so, whatever comes later and whatever the project says then.

use lagar_flow::{EventKind, Misfits, codes};
use lagar_orchestrate::{History, Status};
use lagar_testing::Battery;
use serde_json::{Value, json};

use crate::{
    support::{Place, Seen, name, shown, source, step},
    table::{Format, Sent},
};

fn sent(columns: &[(&'static str, &'static str)], rows: Value) -> Sent {
    Sent { columns: columns.to_vec(), rows }
}

fn project(format: Format, keys: &str) -> String {
    format!(
        "name: drift\nlimits: {{threads: 2, memory: 256MiB}}\nsources:\n{}",
        source("a", "a", format, keys)
    )
}

/// D1: what `discard_value` left out is null for ever, though later loads have the column and the type.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_is_read_as_it_was_checked() {
    let mut battery = Battery::new("D1");
    for format in [Format::Ndjson, Format::Json, Format::Csv, Format::Parquet] {
        battery.case_async(format.name(), read_as_checked(format)).await;
    }
}

async fn read_as_checked(format: Format) {
    let place = Place::new(&project(format, "schema: discard_value"));
    let first = sent(&[("id", "int"), ("a", "int")], json!([{"id": 1, "a": 10}]));
    let more = [("id", "int"), ("a", "double"), ("b", "int")];
    let second = sent(&more, json!([{"id": 2, "a": 2.5, "b": 7}, {"id": 3, "a": 30, "b": null}]));
    place.send("a", format, &first).await;
    assert_eq!(place.run().await.status, Status::Ok);
    place.send("a", format, &second).await;
    let report = place.run().await;
    let discards = shown(&step(&report, "a").events);
    assert_eq!(discards, ["value_discarded a int>double 1", "column_ignored b ->int 1"]);

    place.write("lagar.yaml", project(format, "schema: evolve"));
    place.send("a", format, &sent(&more, json!([{"id": 4, "a": 4.5, "b": 8}]))).await;
    let report = place.run().await;
    assert_eq!(shown(&step(&report, "a").events), ["type_widened a int>double -", "column_new b ->int -"]);
    let workplace = place.workplace().await;
    let seen = Seen::of(&workplace).await;
    let formats: Vec<Misfits> = workplace
        .lake
        .loads(&name("a"))
        .await
        .unwrap()
        .iter()
        .map(|load| load.files[0].format.misfits)
        .collect();
    assert_eq!(formats, [Misfits::Null, Misfits::Null, Misfits::Reject]);
    let rows = json!([
        {"id": 1, "a": 10.0, "b": null},
        {"id": 2, "a": null, "b": null},
        {"id": 3, "a": 30.0, "b": null},
        {"id": 4, "a": 4.5, "b": 8},
    ]);
    assert_eq!(Value::from(seen.rows("a", "true").await), rows);
    // The bytes are those that came: nothing was taken out of them.
    let second_file = &workplace.lake.loads(&name("a")).await.unwrap()[1].files[0];
    let stored = std::fs::read(place.path().join("lake/raw/a").join(&second_file.path)).unwrap();
    let other = Place::new("name: x");
    other.send("a", format, &second).await;
    assert_eq!(stored, std::fs::read(other.path().join(format!("a.{}", format.name()))).unwrap());
}

/// D1: asked types are known from the first load on; a value that does not fit one is no drift of the first.
#[tokio::test(flavor = "multi_thread")]
async fn asked_columns_are_known() {
    let mut battery = Battery::new("D1");
    for (policy, null, rejected, new) in [
        ("evolve", false, true, true),
        ("freeze", false, true, true),
        ("discard_row", false, true, true),
        ("discard_value", true, false, true),
    ] {
        battery
            .case_async(policy, async {
                let keys = format!("schema: {policy}, max_rejected: 5, columns: {{a: int, late: text}}");
                let place = Place::new(&project(Format::Ndjson, &keys));
                let columns = [("id", "int"), ("a", "text")];
                place
                    .send(
                        "a",
                        Format::Ndjson,
                        &sent(&columns, json!([{"id": 1, "a": 1}, {"id": 2, "a": "x"}])),
                    )
                    .await;
                let report = place.run().await;
                assert_eq!(report.status, Status::Ok, "{:?}", report.worst_error());
                let expected: &[&str] = if null { &["value_discarded a int>text 1"] } else { &[] };
                assert_eq!(shown(&step(&report, "a").events), expected);
                // `late` was asked for: it is no new column.
                let columns = [("id", "int"), ("a", "int"), ("late", "text")];
                place
                    .send("a", Format::Ndjson, &sent(&columns, json!([{"id": 3, "a": 3, "late": "z"}])))
                    .await;
                let report = place.run().await;
                assert_eq!(report.status, Status::Ok, "{:?}", report.worst_error());
                assert_eq!(step(&report, "a").events, []);
                let workplace = place.workplace().await;
                let seen = Seen::of(&workplace).await;
                assert_eq!(seen.columns("a").await, "id int, a int, late text");
                let mut rows = vec![json!({"id": 1, "a": 1, "late": null})];
                rows.extend(null.then(|| json!({"id": 2, "a": null, "late": null})));
                rows.extend(new.then(|| json!({"id": 3, "a": 3, "late": "z"})));
                assert_eq!(seen.rows("a", "true").await, rows);
                assert_eq!(seen.rejects("a").await.len(), usize::from(rejected));
            })
            .await;
    }
}

/// D1: a column that stays away is told once, and again when it was there in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_stays_away_is_told_once() {
    let mut battery = Battery::new("D1");
    let place = Place::new(&project(Format::Ndjson, "schema: evolve"));
    let with = |id: i64| sent(&[], json!([{"id": id, "a": 1}]));
    let without = |id: i64| sent(&[], json!([{"id": id}]));
    let missing: &[&str] = &["column_missing a int>- -"];
    let loads = [with(1), without(2), without(3), with(4), without(5)];
    for (load, told) in loads.iter().zip([&[], missing, &[], &[], missing]) {
        battery
            .case_async(&load.rows.to_string(), async {
                place.send("a", Format::Ndjson, load).await;
                assert_eq!(shown(&step(&place.run().await, "a").events), told);
            })
            .await;
    }
    // A load without a row says nothing about its columns.
    place.send("a", Format::Ndjson, &sent(&[], json!([]))).await;
    battery.case_async("no rows", async { assert_eq!(step(&place.run().await, "a").events, []) }).await;
    // What stayed away before is no change that `freeze` would have to refuse.
    place.write("lagar.yaml", project(Format::Ndjson, "schema: freeze"));
    place.send("a", Format::Ndjson, &with(6)).await;
    place.run().await;
    place.send("a", Format::Ndjson, &without(7)).await;
    let report = place.run().await;
    let error = step(&report, "a").error.as_ref().unwrap();
    battery.case("freeze", || {
        assert_eq!(error.code(), codes::FROZEN);
        assert!(
            error.message().contains("the columns of `a` changed")
                && error.message().contains("`a` (int) is missing"),
            "{error}"
        );
        assert!(error.hint_text().unwrap().contains("nothing was loaded"));
    });
}

/// D1: all that changed is in the one error, also that only the case of a name did.
#[tokio::test(flavor = "multi_thread")]
async fn freeze_lists_all_that_changed() {
    let mut battery = Battery::new("D1");
    let place = Place::new(&project(Format::Csv, "schema: freeze, max_rejected: 100%"));
    place.write("a.csv", "id,Borough,n\n1,Bronx,1\n");
    assert_eq!(place.run().await.status, Status::Ok);
    place.write("a.csv", "id,borough,n,extra\n1,Bronx,many,1\n");
    let report = place.run().await;
    let step = step(&report, "a");
    let error = step.error.as_ref().unwrap();
    battery.case("all", || {
        assert_eq!(error.code(), codes::FROZEN);
        for part in [
            "`borough` (text) is new",
            "`Borough` (text) is missing",
            "`extra` (int) is new",
            "`n` (int, now text)",
        ] {
            assert!(error.message().contains(part), "{part}: {error}");
        }
        assert!(
            error.hint_text().unwrap().contains("`Borough` and `borough` are different names"),
            "{error:?}"
        );
    });
    let workplace = place.workplace().await;
    let seen = Seen::of(&workplace).await;
    assert_eq!(seen.newest("a").await.number, 1);
    assert_eq!(seen.rejects("a").await, ["1 n"], "the row can be looked at");
    // With `evolve` for one run the new names are columns, and then they are the known ones.
    place.write("lagar.yaml", project(Format::Csv, "schema: evolve, max_rejected: 100%"));
    assert_eq!(place.run().await.status, Status::Ok);
    place.write("lagar.yaml", project(Format::Csv, "schema: freeze, max_rejected: 100%"));
    place.write("a.csv", "id,borough,n,extra\n2,Queens,2,2\n");
    let report = place.run().await;
    battery.case("taken", || assert_eq!(report.status, Status::Ok, "{:?}", report.worst_error()));
}

/// D1: the events are in the history, and a history that is lost has them again from the manifests.
#[tokio::test(flavor = "multi_thread")]
async fn events_are_remembered() {
    let mut battery = Battery::new("D1");
    let place = Place::new(&project(Format::Ndjson, "schema: discard_value"));
    place.send("a", Format::Ndjson, &sent(&[], json!([{"id": 1, "a": 1}]))).await;
    place.run().await;
    place.send("a", Format::Ndjson, &sent(&[], json!([{"id": 2, "a": "x", "b": 2}]))).await;
    let report = place.run().await;
    let told = &step(&report, "a").events;
    assert_eq!(shown(told), ["value_discarded a int>text 1", "column_ignored b ->int 1"]);
    assert!(told.iter().all(|event| event.run_id == report.run_id && event.table == "raw.a"));
    let json = serde_json::to_value(&report).unwrap();
    let first = &json["steps"][0]["events"][0];
    battery.case("report", || {
        assert_eq!(
            [&first["kind"], &first["column"], &first["before"], &first["after"], &first["count"]],
            [&json!("value_discarded"), &json!("a"), &json!("int"), &json!("text"), &json!(1)]
        );
    });
    let sql = "SELECT at, run_id, table_name, kind, column_name, before, after, count FROM system.events ORDER BY column_name";
    let workplace = place.workplace().await;
    let before = Seen::of(&workplace).await.query(sql).await;
    battery.case("system.events", || {
        assert_eq!(before.len(), 2);
        assert_eq!(before[1]["kind"], "column_ignored");
        assert_eq!(before[1]["run_id"], report.run_id.as_str());
        assert_eq!(before[1]["count"], 1);
    });
    std::fs::remove_file(place.path().join(".lagar/history.db")).unwrap();
    let again = Seen::of(&workplace).await.query(sql).await;
    battery.case("rebuilt", || assert_eq!(again, before));
    let history: History = workplace.history().await.unwrap();
    let kinds: Vec<EventKind> = history.events().await.unwrap().into_iter().map(|event| event.kind).collect();
    battery.case("kinds", || assert_eq!(kinds, [EventKind::ValueDiscarded, EventKind::ColumnIgnored]));
}
