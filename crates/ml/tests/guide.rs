//! docs/predictors.md says what the code does. (Its examples are run by the tests of the binary.)
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use lagar_ml::{Task, judge, spec::DatePart};
use serde_json::Value;

const GUIDE: &str = include_str!("../../../docs/predictors.md");

/// What stands in backticks.
fn named(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn the_metrics_of_the_guide_are_those_of_the_code() {
    for task in Task::ALL {
        let row = GUIDE.lines().find_map(|line| line.strip_prefix(&format!("| {task} | "))).unwrap();
        let (told, _) = row.split_once(" | ").unwrap();
        let metrics: Vec<String> = judge::metrics(task)
            .map(|metric| format!("`{}` {}", metric.name, if metric.higher_is_better { '↑' } else { '↓' }))
            .collect();
        match metrics.is_empty() {
            true => assert!(told.starts_with("none"), "{task}: {told}"),
            false => assert_eq!(told.replace("; of two classes also ", ", "), metrics.join(", "), "{task}"),
        }
    }
}

#[test]
fn the_parts_of_dates_in_the_guide_are_those_of_the_code() {
    fn words(schema: &Value, found: &mut BTreeSet<String>) {
        match schema {
            Value::Object(keys) => {
                found.extend(keys.get("const").and_then(Value::as_str).map(str::to_owned));
                let listed = keys.get("enum").and_then(Value::as_array).into_iter().flatten();
                found.extend(listed.filter_map(Value::as_str).map(str::to_owned));
                keys.values().for_each(|value| words(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| words(value, found)),
            _ => {}
        }
    }
    let mut known = BTreeSet::new();
    words(&serde_json::to_value(schemars::schema_for!(DatePart)).unwrap(), &mut known);
    let (_, told) = GUIDE.split_once("dates and timestamps: a list of ").unwrap();
    let (told, _) = told.split_once("with a fraction)").unwrap();
    assert_eq!(named(told).map(str::to_owned).collect::<BTreeSet<_>>(), known);
    assert_eq!(known.len(), 8);
}

#[test]
fn the_table_of_bias_in_the_guide_has_the_names_that_are_stored() {
    let names = ["a".to_owned()];
    let bias = judge::bias::bias(&[true, false], &[true, true], &[0, 0], &names, None).unwrap();
    let group = serde_json::to_value(&bias.groups[0]).unwrap();
    let (_, told) = GUIDE.split_once("The table of bias has for each group ").unwrap();
    let (told, _) = told.split_once(", and as disparities").unwrap();
    let counts = group.as_object().unwrap().iter().filter(|(_, value)| value.is_u64());
    let rates = bias.groups[0].rates.named().map(|(name, _)| name);
    let known: BTreeSet<&str> = counts.map(|(name, _)| name.as_str()).chain(rates).collect();
    assert_eq!(named(told).collect::<BTreeSet<_>>(), known);
}
