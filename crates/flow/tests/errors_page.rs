//! `docs/errors.md` is made from the list of codes: `LAGAR_BLESS=1 cargo test -p lagar-flow` writes it.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use lagar_flow::{Blame, codes};

fn page() -> String {
    let mut text = String::from(
        "# Error codes\n\nEvery error has a code that never changes its meaning. The exit code says whose turn it is: \
         2 the command line or the project's files, nothing was run; 1 the data, or the answer of a source, trying again \
         changes nothing; 75 something outside, trying again may help; 70 a defect in Lagar; 130 or 143 stopped on request. \
         A run exits with the worst of its steps.\n\n| code | exit | what happened |\n|---|---|---|\n",
    );
    for code in codes::ALL {
        let exit = match code.blame {
            Blame::Usage => "2",
            Blame::Data => "1",
            Blame::Outside => "75",
            Blame::Lagar => "70",
            Blame::Stopped => "130, 143",
        };
        text.push_str(&format!("| {} | {exit} | {} |\n", code.id, code.title));
    }
    text
}

#[test]
fn the_page_lists_every_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    if std::env::var_os("LAGAR_BLESS").is_some() {
        fs::write(&path, page()).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, page(), "run LAGAR_BLESS=1 cargo test -p lagar-flow");
}

#[test]
fn no_code_has_two_meanings() {
    let mut ids: Vec<&str> = codes::ALL.iter().map(|code| code.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), codes::ALL.len());
}
