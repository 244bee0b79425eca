//! What the readers of project files are fuzzed with. The fuzz targets and
//! `crates/orchestrate/tests/corpus.rs` run these same functions.

use lagar_engine::{model, yaml};
use lagar_flow::Error;

/// The name of a corpus and what it is fed to.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const ALL: &[Target] = &[("yaml", yaml), ("model", model)];

pub fn yaml(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match yaml::parse(&text, "lagar.yaml", 0) {
        Ok(document) => drop(document.value.to_string()),
        Err(error) => is_placed(&error, &text),
    }
}

/// A model's file: comment, front matter, SELECT.
pub fn model(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match model::parse("trusted/items.sql", &text) {
        Ok(model) => {
            let _ = model.is_volatile();
            for read in &model.reads {
                assert!(read.line <= lines(&text), "line {} of {}", read.line, lines(&text));
            }
        }
        Err(error) => is_placed(&error, &text),
    }
}

/// As YAML counts them, and one behind the last.
fn lines(text: &str) -> usize {
    text.bytes().filter(|b| matches!(b, b'\n' | b'\r')).count() + 2
}

/// Whoever reads the error finds the place; a fault of the input is no defect of ours.
fn is_placed(error: &Error, text: &str) {
    for error in error.each() {
        assert_ne!(error.code(), lagar_flow::codes::BUG, "{error}");
        let line = error.place().map_or(0, |place| place.line);
        assert!(line <= lines(text), "line {line} of {}: {error}", lines(text));
    }
}
