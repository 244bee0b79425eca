//! `materialize: partition`: what new rows touch is made again, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde_json::{Value, json};

use crate::{
    merges::{files, notes},
    support::{Place, step},
};

const YAML: &str = "name: parts\nsources:\n  items: {type: file, url: items/*.csv, columns: {id: int, at: int, day: text}}\n";
const ITEMS: &str = "-- Newest.\n/*---\nmaterialize: merge\nkey: [id]\nlatest_by: [at]\nincremental: raw.items\n---*/\nSELECT id, at, day FROM raw.items\n";
const DAILY: &str = "-- One row a day.\n/*---\nmaterialize: partition\npartition_by: [day]\nincremental: trusted.items\nkey: [day]\n---*/\nSELECT day, count(*) AS n, sum(id) AS total FROM trusted.items GROUP BY day\n";

/// Items by day, and what each day has.
fn days() -> Place {
    let place =
        Place::project(&[("lagar.yaml", YAML), ("trusted/items.sql", ITEMS), ("refined/daily.sql", DAILY)]);
    place.write("items/1.csv", "id,at,day\n1,1,mon\n2,1,mon\n3,1,tue\n4,1,wed\n");
    place.run(&[]);
    place
}

/// Partition folders of the files in which two states differ.
fn changed(before: &BTreeSet<String>, after: &BTreeSet<String>) -> BTreeSet<String> {
    let folder = |path: &String| path.rsplit_once('/').unwrap().0.to_owned();
    before.symmetric_difference(after).map(folder).collect()
}

fn daily(place: &Place) -> BTreeMap<String, u64> {
    let rows = place.rows("SELECT day, n FROM refined.daily");
    rows.iter()
        .map(|row| (row["day"].as_str().unwrap_or("null").to_owned(), row["n"].as_u64().unwrap()))
        .collect()
}

/// Fails unless the table is what a table made from nothing would be.
#[track_caller]
fn is_whole(place: &Place) {
    let wanted = place
        .rows("SELECT day, count(*) AS n, sum(id) AS total FROM trusted.items GROUP BY day ORDER BY day");
    assert_eq!(place.rows("SELECT day, n, total FROM refined.daily ORDER BY day"), wanted);
}

#[test]
fn only_touched_partitions_are_made_again_of_all_their_rows() {
    let place = days();
    let before = files(&place, "refined/daily");
    assert_eq!(before.len(), 3);
    place.write("items/2.csv", "id,at,day\n5,1,mon\n6,1,thu\n");
    let report = place.run(&[]);
    let after = files(&place, "refined/daily");
    assert_eq!(changed(&before, &after), BTreeSet::from(["day=mon".into(), "day=thu".into()]), "{report}");
    assert!(notes(&report, "refined.daily").contains("2 partitions made again"), "{report}");
    assert_eq!(daily(&place)["mon"], 3, "the old rows of the day, too");
    is_whole(&place);

    // A row moves: the day that it left is made again as well, and one without rows goes.
    place.write("items/3.csv", "id,at,day\n3,2,wed\n");
    place.run(&[]);
    is_whole(&place);
    assert!(!daily(&place).contains_key("tue"));
    let untouched = files(&place, "refined/daily");
    assert!(!changed(&after, &untouched).contains("day=thu"), "{untouched:?}");
    // Nothing new, nothing made.
    assert_eq!(step(&place.run(&[]), "refined.daily")["status"], "nothing_new");
    place.write("items/4.csv", "id,at,day\n3,1,old\n");
    let report = place.run(&[]);
    assert_eq!(step(&report, "refined.daily")["status"], "nothing_new", "a late version that lost: {report}");
    assert_eq!(files(&place, "refined/daily"), untouched);
}

#[test]
fn a_file_that_changed_is_made_again_where_it_was_and_where_it_is() {
    let place = Place::project(&[
        ("lagar.yaml", YAML),
        (
            "trusted/items.sql",
            "-- Items.\n/*---\nmaterialize: partition\npartition_by: [day]\nincremental: raw.items\n---*/\nSELECT id, day FROM raw.items WHERE _newest\n",
        ),
    ]);
    place.write("items/1.csv", "id,at,day\n1,1,mon\n2,1,tue\n");
    place.write("items/2.csv", "id,at,day\n3,1,mon\n4,1,wed\n");
    place.run(&[]);
    let before = files(&place, "trusted/items");
    place.write("items/1.csv", "id,at,day\n1,1,mon\n2,1,thu\n");
    place.run(&[]);
    let after = files(&place, "trusted/items");
    let days = ["day=mon", "day=thu", "day=tue"].map(str::to_owned);
    assert_eq!(changed(&before, &after), BTreeSet::from(days));
    let rows = place.rows("SELECT id, day FROM trusted.items ORDER BY id");
    let row = |id: u32, day: &str| json!({"id": id, "day": day});
    assert_eq!(rows, vec![row(1, "mon"), row(2, "thu"), row(3, "mon"), row(4, "wed")]);
}

#[test]
fn without_incremental_the_result_says_what_is_replaced() {
    let front = "/*---\nmaterialize: partition\npartition_by: [day]\n---*/\n";
    let select = "SELECT id, day FROM raw.items WHERE _newest";
    let model = format!("-- Items.\n{front}{select} AND id > 2\n");
    let place = Place::project(&[("lagar.yaml", YAML), ("trusted/items.sql", &model)]);
    place.write("items/1.csv", "id,at,day\n1,1,mon\n2,1,tue\n3,1,mon\n4,1,wed\n");
    place.write("trusted/items.sql", format!("-- Items.\n{front}{select}\n"));
    place.run(&[]);
    place.write("trusted/items.sql", &model);
    place.run(&[]);
    let ids: Vec<Value> =
        place.rows("SELECT id FROM trusted.items ORDER BY id").iter().map(|r| r["id"].clone()).collect();
    assert_eq!(ids, [json!(2), json!(3), json!(4)], "tuesday is not in the result and stays");
    // Who asks for one day gets what is new of the others, and the day without what is gone.
    place.write("items/2.csv", "id,at,day\n9,1,thu\n");
    place.run(&["--partition", "day=tue"]);
    let ids: Vec<Value> =
        place.rows("SELECT id FROM trusted.items ORDER BY id").iter().map(|r| r["id"].clone()).collect();
    assert_eq!(ids, [json!(3), json!(4), json!(9)]);
    assert_eq!(place.run(&[])["status"], "nothing_new");
}

#[test]
fn one_partition_is_made_again_when_asked() {
    let place = days();
    place.write("refined/all.sql", "-- All.\nSELECT sum(n) AS n FROM refined.daily\n");
    place.run(&[]);
    let before = files(&place, "refined/daily");
    // Somebody deletes a day.
    fs::remove_dir_all(place.lake().join("refined/daily/day=mon")).unwrap();
    place.lagar(&["sql", "SELECT sum(n) AS n FROM refined.daily"]).says(1, &["day=mon"]);
    let report = place.run(&["-s", "refined.daily+", "--partition", "day=mon"]);
    let names: Vec<&str> =
        report["steps"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["refined.daily", "refined.all"], "it and what is made of it");
    assert_eq!(changed(&before, &files(&place, "refined/daily")), BTreeSet::from(["day=mon".to_owned()]));
    is_whole(&place);
    assert_eq!(place.rows("SELECT n FROM refined.all"), vec![json!({"n": 4})]);
    // A day that no row has.
    place.run(&["-s", "refined.daily", "--partition", "day=sun"]);
    is_whole(&place);
    for (args, words) in [
        (["-s", "refined.daily", "--partition", "month=1"], "partitioned by `month`"),
        (["-s", "trusted.items", "--partition", "day=mon"], "no selected model"),
        (["-s", "refined.daily", "--partition", "mon"], "KEY=VALUE"),
    ] {
        place.lagar(&[&["run"], &args[..]].concat()).says(2, &[words]);
    }
}

/// Values that are no names of folders, or look like another value's.
const ODD: [Option<&str>; 14] = [
    Some("a/b"),
    Some("a:b"),
    Some("k=v"),
    Some("line\nbreak"),
    Some("a%2Fb"),
    Some("a b"),
    Some(".."),
    Some("'; --"),
    Some("\"q\""),
    Some("ñ/ü"),
    Some("__HIVE_DEFAULT_PARTITION__"),
    Some("null"),
    Some(""),
    None,
];

/// NDJSON of a row for each odd value.
fn odd_rows(first: usize, at: u32) -> String {
    let row = |(index, day): (usize, &Option<&str>)| {
        format!("{}\n", json!({"id": first + index, "at": at, "day": day}))
    };
    ODD.iter().enumerate().map(row).collect()
}

/// How many rows each value has, an empty text as null.
fn odd_counts(place: &Place, table: &str) -> BTreeMap<Option<String>, u64> {
    let rows = place.rows(&format!("SELECT day, count(*) AS n FROM {table} GROUP BY day"));
    rows.iter().map(|row| (row["day"].as_str().map(str::to_owned), row["n"].as_u64().unwrap())).collect()
}

#[test]
fn odd_values_are_partitions_like_others() {
    let yaml = "name: odd\nsources:\n  items: {type: file, url: items/*.ndjson, columns: {id: int, at: int, day: text}}\n";
    let front = |how: &str| {
        format!(
            "-- Odd.\n/*---\nmaterialize: {how}\npartition_by: [day]\nincremental: raw.items\n---*/\nSELECT id, at, day FROM raw.items\n"
        )
    };
    let place = Place::project(&[
        ("lagar.yaml", yaml),
        ("trusted/merged.sql", &front("merge\nkey: [id]\nlatest_by: [at]")),
        ("trusted/parted.sql", &front("partition")),
        ("trusted/both.sql", &front("merge\nkey: [id, at]")),
    ]);
    place.write("items/1.ndjson", odd_rows(0, 1));
    place.run(&[]);
    let wanted = |each: u64| -> BTreeMap<Option<String>, u64> {
        let mut counts = BTreeMap::new();
        for value in ODD {
            *counts.entry(value.filter(|v| !v.is_empty()).map(str::to_owned)).or_default() += each;
        }
        counts
    };
    for table in ["trusted.merged", "trusted.parted", "trusted.both"] {
        assert_eq!(odd_counts(&place, table), wanted(1), "{table}");
    }
    // The same keys come again and others beside them: nothing is doubled, lost or taken for another.
    place.write("items/2.ndjson", format!("{}{}", odd_rows(0, 2), odd_rows(100, 2)));
    let report = place.run(&[]);
    assert!(notes(&report, "trusted.merged").contains("inserted 14, updated 14, unchanged 0"), "{report}");
    assert_eq!(odd_counts(&place, "trusted.merged"), wanted(2));
    assert_eq!(odd_counts(&place, "trusted.parted"), wanted(3));
    assert_eq!(odd_counts(&place, "trusted.both"), wanted(3));
    // One value alone, again and again.
    for (round, value) in ODD.iter().enumerate() {
        let before = files(&place, "trusted/parted");
        let id = 1000 + round;
        place.write(
            &format!("items/3{round}.ndjson"),
            format!("{}\n", json!({"id": id, "at": 3, "day": value})),
        );
        place.run(&[]);
        let touched = changed(&before, &files(&place, "trusted/parted"));
        assert_eq!(touched.len(), 1, "{value:?}: {touched:?}");
    }
    assert_eq!(odd_counts(&place, "trusted.parted"), wanted(4));
    assert_eq!(odd_counts(&place, "trusted.merged"), wanted(3));
    assert_eq!(
        place.rows("SELECT count(*) AS n, count(DISTINCT id) AS ids FROM trusted.merged"),
        vec![json!({"n": 42, "ids": 42})]
    );
}

#[test]
fn every_type_of_a_partition_column_finds_its_partition() {
    let select = "SELECT id, at, day, CAST(at AS SMALLINT) AS small, at > 1 AS late, arrow_cast(CAST(at AS INT), 'Date32') AS on_day, \
        CAST('2024-01-01T10:00:00.25' AS TIMESTAMP) AS moment, CAST(at AS DECIMAL(6, 2)) / 4 AS quarter, \
        arrow_cast('2024-07-01T10:00:00', 'Timestamp(Nanosecond, Some(\"America/New_York\"))') AS local, \
        arrow_cast('2024-01-01T10:00:00.123456789', 'Timestamp(Nanosecond, None)') AS fine FROM raw.items";
    for column in ["at", "small", "late", "on_day", "moment", "quarter", "local", "fine", "day"] {
        let front = format!(
            "/*---\nmaterialize: partition\npartition_by: [{column}]\nincremental: raw.items\n---*/\n"
        );
        let place =
            Place::project(&[("lagar.yaml", YAML), ("trusted/t.sql", &format!("-- T.\n{front}{select}\n"))]);
        place.write("items/1.csv", "id,at,day\n1,1,mon\n2,2,tue\n3,,\n");
        place.run(&[]);
        place.write("items/2.csv", "id,at,day\n4,1,mon\n5,,\n");
        place.run(&[]);
        let rows = place.rows("SELECT id FROM trusted.t ORDER BY id");
        assert_eq!(rows.len(), 5, "{column}");
        place.run(&["--full-refresh", "-s", "trusted.t"]);
        assert_eq!(place.rows("SELECT id FROM trusted.t ORDER BY id"), rows, "{column}");
    }
}

/// What a row becomes may hang on rows of other partitions: then they all are made again.
#[test]
fn a_query_that_looks_across_partitions_is_asked_about_all_rows() {
    let newest = |by: &str| {
        format!(
            "-- T.\n/*---\nmaterialize: partition\npartition_by: [day]\nincremental: raw.items\n---*/\n\
             SELECT id, day, at FROM (SELECT *, row_number() OVER (PARTITION BY {by} ORDER BY at DESC) AS rn FROM raw.items)\n\
             WHERE rn = 1\n"
        )
    };
    for (by, all, expected) in [("id", true, vec!["tue"]), ("id, day", false, vec!["mon", "tue"])] {
        let place = Place::project(&[("lagar.yaml", YAML), ("trusted/t.sql", &newest(by))]);
        place.write("items/1.csv", "id,at,day\n7,1,mon\n");
        place.run(&[]);
        place.write("items/2.csv", "id,at,day\n7,2,tue\n");
        let report = place.run(&[]);
        assert_eq!(notes(&report, "trusted.t").contains("rows of other partitions"), all, "{report}");
        let days = place.rows("SELECT day FROM trusted.t ORDER BY day");
        let days: Vec<&str> = days.iter().map(|row| row["day"].as_str().unwrap()).collect();
        assert_eq!(days, expected, "{by}");
    }
}

/// What was in a file that is used in place cannot be read any more when it has changed.
#[test]
fn a_file_in_place_that_changed_makes_all_partitions_again() {
    let model = "-- T.\n/*---\nmaterialize: partition\npartition_by: [day]\nincremental: raw.items\n---*/\n\
                 SELECT id, day FROM raw.items WHERE _newest\n";
    let yaml = YAML.replace("type: file,", "type: file, in_place: true,");
    let place = Place::project(&[("lagar.yaml", &yaml), ("trusted/t.sql", model)]);
    place.write("items/1.csv", "id,at,day\n1,1,mon\n");
    place.write("items/2.csv", "id,at,day\n2,1,tue\n");
    place.run(&[]);
    place.write("items/1.csv", "id,at,day\n1,1,wednesday\n");
    let report = place.run(&[]);
    assert!(notes(&report, "trusted.t").contains("used in place"), "{report}");
    let rows = place.rows("SELECT id, day FROM trusted.t ORDER BY id");
    assert_eq!(rows, vec![json!({"id": 1, "day": "wednesday"}), json!({"id": 2, "day": "tue"})]);
}
