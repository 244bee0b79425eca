//! The matrix of the guide is the one that the tests check.

use std::{fs, path::Path};

use crate::table::{Change, Expected, Format, POLICIES, changes, expected, formats};

const BEGIN: &str = "<!-- the drift matrix: LAGAR_BLESS=1 cargo test --workspace --test drift guide -->\n";
const END: &str = "<!-- end of the drift matrix -->\n";

/// What a cell comes to, in a few words.
fn words(cell: &Expected) -> String {
    match cell.error {
        Some("E2104") => return "the load fails".to_owned(),
        Some(_) => return "no row is left: the load fails".to_owned(),
        None => {}
    }
    let of_event = |event: &String| match event.split(' ').next().unwrap() {
        "column_new" => "new column",
        "column_missing" => "null",
        "type_widened" => "the column becomes double",
        "type_changed" => "read as text",
        "column_ignored" => "left out",
        "value_discarded" => "the value is null",
        "row_discarded" => "the row goes to quarantine",
        other => panic!("no words for {other}"),
    };
    let mut told: Vec<&str> = cell.events.iter().map(of_event).collect();
    told.dedup();
    if told.is_empty() { "no drift".to_owned() } else { told.join(", ") }
}

fn cell(change: &Change, policy: &str) -> String {
    let mut by_words: Vec<(String, Vec<Format>)> = Vec::new();
    for format in formats(change) {
        let words = words(&expected(change, policy, format));
        match by_words.iter_mut().find(|(known, _)| *known == words) {
            Some((_, formats)) => formats.push(format),
            None => by_words.push((words, vec![format])),
        }
    }
    if let [(words, _)] = by_words.as_slice() {
        return words.clone();
    }
    let names =
        |formats: &[Format]| formats.iter().map(|format| format.name()).collect::<Vec<_>>().join(", ");
    let parts: Vec<String> =
        by_words.iter().map(|(words, formats)| format!("{}: {words}", names(formats))).collect();
    parts.join("; ")
}

fn matrix() -> String {
    let mut text = String::from("| change |");
    POLICIES.iter().for_each(|policy| text.push_str(&format!(" `{policy}` |")));
    text.push_str("\n|---|---|---|---|---|\n");
    for change in changes() {
        let cells = POLICIES.map(|policy| cell(&change, policy));
        text.push_str(&format!("| {} | {} |\n", change.words, cells.join(" | ")));
    }
    text
}

#[test]
fn the_guide_has_the_matrix_that_is_tested() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide.md");
    let guide = fs::read_to_string(&path).unwrap();
    let (before, rest) = guide.split_once(BEGIN).expect("the guide has the matrix");
    let (there, after) = rest.split_once(END).expect("the matrix ends");
    let wanted = matrix();
    if std::env::var_os("LAGAR_BLESS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{wanted}{END}{after}")).unwrap();
        return;
    }
    assert!(there == wanted, "docs/guide.md is not up to date: LAGAR_BLESS=1 writes it\n{wanted}");
}
