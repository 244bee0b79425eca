#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use lagar_flow::codes;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use super::*;

fn value(text: &str) -> serde_json::Value {
    parse(text, "x.yaml", 0).unwrap().value
}

/// Code, line, column, message and hint of the error of `text`.
fn error(text: &str) -> (&'static str, usize, usize, String) {
    let error = parse(text, "x.yaml", 0).unwrap_err();
    let place = error.place().unwrap();
    assert_eq!(place.file, "x.yaml");
    let text = format!("{} | {}", error.message(), error.hint_text().unwrap_or_default());
    (error.code().id, place.line, place.column, text)
}

#[test]
fn plain_values_are_those_of_yaml_1_2() {
    let text = "a: 1\nb: 1.5\nc: yes\nd: true\ne: null\nf:\ng: '1'\nh: [x, {y: z}]\ni: 2024-01-01\nj: |\n  two\n  lines\nk: 0x10\nl: !!str 5\n";
    let expected = json!({"a": 1, "b": 1.5, "c": "yes", "d": true, "e": null, "f": null, "g": "1", "h": ["x", {"y": "z"}],
        "i": "2024-01-01", "j": "two\nlines\n", "k": 16, "l": "5"});
    assert_eq!(value(text), expected);
    assert_eq!(value(""), json!(null));
    assert_eq!(value("# only a comment\n"), json!(null));
    assert_eq!(value("\u{feff}a: 1"), json!({"a": 1}));
}

#[test]
fn every_key_and_value_has_a_place() {
    let document = parse("a:\n  b: [1, {c: é, d: 2}]\n", "x.yaml", 10).unwrap();
    let spot = |path: &[&str]| document.spans.get(path).unwrap();
    assert_eq!(spot(&["a"]), Spot { key: (11, 1), value: (12, 3) });
    assert_eq!(spot(&["a", "b"]), Spot { key: (12, 3), value: (12, 6) });
    assert_eq!(spot(&["a", "b", "1", "d"]), Spot { key: (12, 17), value: (12, 20) });
    let missing = document.spans.key_place(&["a", "b", "9"]);
    assert_eq!((missing.line, missing.column), (12, 3));
    assert_eq!(path_text(&["a", "b", "1", "d"]), "a.b[1].d");
}

#[test]
fn anchors_and_merge_keys_are_put_in() {
    let text = "base: &base {x: 1, y: 2}\nmore: &more {y: 3, z: 4}\na: {<<: *base, y: 9}\nb:\n  <<: [*more, *base]\nc: *base\nd: {'<<': 1}\n";
    let all = value(text);
    assert_eq!(all["a"], json!({"y": 9, "x": 1}));
    assert_eq!(all["b"], json!({"y": 3, "z": 4, "x": 1}));
    assert_eq!(all["c"], json!({"x": 1, "y": 2}));
    assert_eq!(all["d"], json!({"<<": 1}));
    let spans = parse(text, "x.yaml", 0).unwrap().spans;
    assert_eq!(spans.get(&["a", "x"]).unwrap().key, (1, 14));
    assert_eq!(spans.get(&["a", "y"]).unwrap().key, (3, 16));
}

#[test]
fn broken_yaml_is_pointed_at() {
    for (text, line, column, words) in [
        ("a: 1\nb: 2\na: 3\n", 3, 1, "`a` stands here a second time"),
        ("a: 1\n---\nb: 2\n", 2, 1, "second document"),
        ("1: x\n", 1, 1, "not text"),
        ("? [a]\n: x\n", 1, 3, "plain text"),
        ("a: *nobody\n", 1, 4, "anchor"),
        ("a: &x [*x]\n", 1, 8, "inside the value"),
        ("a: !secret x\n", 1, 4, "tag"),
        ("a: .nan\n", 1, 4, "NaN"),
        ("a: {<<: 5}\n", 1, 9, "`<<` needs a map"),
    ] {
        let (code, at_line, at_column, message) = error(text);
        assert_eq!((code, at_line), (codes::YAML.id, line), "{text:?}: {message}");
        assert_eq!(at_column, column, "{text:?}: {message}");
        assert!(message.contains(words), "{text:?}: {message}");
    }
    // Where exactly the parser notices is its own affair; the line must be right.
    for (text, line, words) in [
        ("a:\n\tb: 1\n", 2, "spaces"),
        ("a: b: c\n", 1, "a value with `: `"),
        ("a: [1, 2\nb: 3\n", 2, "brackets"),
        ("a: \"open\nb: 3\n", 1, ""),
        ("a: 1\n b: 2\n", 2, ""),
        ("a: 1\nb\nc: 2\n", 3, "key: value"),
    ] {
        let (code, at_line, _, message) = error(text);
        assert_eq!(code, codes::YAML.id);
        assert!(at_line.abs_diff(line) <= 1, "{text:?} at {at_line}: {message}");
        assert!(message.contains(words), "{text:?}: {message}");
    }
}

#[test]
fn hostile_texts_are_refused_fast() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..30 {
        let list = format!("*a{}, ", n - 1).repeat(9);
        laughs.push_str(&format!("a{n}: &a{n} [{}]\n", list.trim_end_matches(", ")));
    }
    assert!(error(&laughs).3.contains("values"));
    let mut merges = "a0: &a0 {k: 1}\n".to_owned();
    for n in 1..30 {
        let list = format!("*a{}, ", n - 1).repeat(9);
        merges.push_str(&format!("a{n}: &a{n} {{<<: [{}]}}\n", list.trim_end_matches(", ")));
    }
    assert!(error(&merges).3.contains("values"));
    assert!(error(&"[".repeat(5000)).3.contains("nested"));
    assert!(error(&"- ".repeat(5000)).3.contains("nested"));
    let mut deep = "a0: &a0 [x]\n".to_owned();
    for n in 1..100 {
        deep.push_str(&format!("a{n}: &a{n} [*a{}]\n", n - 1));
    }
    assert!(error(&deep).3.contains("nested"));
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Project {
    #[allow(dead_code)]
    name: String,
    #[serde(default)]
    #[allow(dead_code)]
    sources: BTreeMap<String, Source>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    #[allow(dead_code)]
    url: String,
    #[serde(default)]
    #[allow(dead_code)]
    in_place: bool,
    #[serde(default)]
    #[allow(dead_code)]
    size: u32,
    #[serde(default)]
    #[allow(dead_code)]
    kind: Kind,
    #[serde(default)]
    #[allow(dead_code)]
    list: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    File,
    Rest,
}

fn faults<T: DeserializeOwned>(value: &serde_json::Value, spans: &Spans, prefix: &[&str]) -> Vec<Error> {
    let (_, faults) = deserialize_all::<T>(value, spans, prefix, ErrorCodes::CONFIG);
    faults.into_iter().map(|(_, error)| error).collect()
}

fn only_fault<T: DeserializeOwned>(value: &serde_json::Value, spans: &Spans, prefix: &[&str]) -> Error {
    let mut faults = faults::<T>(value, spans, prefix);
    assert_eq!(faults.len(), 1, "{faults:#?}");
    faults.remove(0)
}

#[test]
fn all_faults_are_found_at_once_and_none_is_made_up() {
    for (text, expected) in [
        // What is left out is needed, and is not said to be missing.
        ("name: [a]\nsorces: {}\nsources: 5\n", vec!["1:7 name", "2:1 sorces", "3:10 sources"]),
        // What is really missing is said beside other faults, unless another key was meant to be it.
        (
            "sources:\n  a: {size: x}\n  b: {list: y}\n",
            vec![
                "2:3 needs the key `url`",
                "2:13 size",
                "3:3 needs the key `url`",
                "3:13 list",
                "1:1 `name` is missing",
            ],
        ),
        ("nam: a\nsources:\n  a: {ulr: x, kind: fil}\n", vec!["1:1 nam", "3:7 ulr", "3:21 fil"]),
        // In lists, at their own places.
        (
            "name: a\nsources:\n  a: {url: x, list: [a, 1, b, 2, 3]}\n",
            vec!["3:25 list[1]", "3:31 list[3]", "3:34 list[4]"],
        ),
    ] {
        let document = parse(text, "lagar.yaml", 0).unwrap();
        let mut found: Vec<(usize, usize, String)> = faults::<Project>(&document.value, &document.spans, &[])
            .iter()
            .map(|error| {
                (error.place().unwrap().line, error.place().unwrap().column, error.message().to_owned())
            })
            .collect();
        found.sort();
        let mut expected: Vec<(usize, usize, &str)> = expected
            .iter()
            .map(|text| {
                let (place, words) = text.split_once(' ').unwrap();
                let (line, column) = place.split_once(':').unwrap();
                (line.parse().unwrap(), column.parse().unwrap(), words)
            })
            .collect();
        expected.sort_unstable();
        assert_eq!(found.len(), expected.len(), "{text}\n{found:#?}");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!((found.0, found.1), (expected.0, expected.1), "{text}\n{found:?}");
            assert!(found.2.contains(expected.2), "{text}\n{found:?}");
        }
    }
}

#[test]
fn what_can_be_read_past_hides_nothing() {
    let text = "a: 1\n2: x\na: 3\nb: {c: 4, c: [5], d: 6}\n? [k]\n: v\ne: 7\n---\nf: 8\n";
    let mut problems = Vec::new();
    let document = parse_all(text, "x.yaml", 0, &mut problems).unwrap();
    assert_eq!(document.value, json!({"a": 1, "b": {"c": 4, "d": 6}, "e": 7}));
    let places: Vec<String> = problems.iter().map(|error| error.place().unwrap().to_string()).collect();
    assert_eq!(places, ["x.yaml:2:1", "x.yaml:3:1", "x.yaml:4:11", "x.yaml:5:3", "x.yaml:8:1"]);
    assert_eq!(parse(text, "x.yaml", 0).unwrap_err().each().count(), 5);
}

#[test]
fn a_wrong_key_or_value_is_named_and_pointed_at() {
    for (text, code, line, column, words) in [
        ("name: a\nsorces: {}\n", "E1103", 2, 1, "`sorces` is not a key | did you mean `sources`?"),
        (
            "name: a\nsources:\n  s:\n    url: x\n    in_plce: true\n",
            "E1103",
            5,
            5,
            "`in_plce` is not a key of `sources.s` | did you mean `in_place`?",
        ),
        ("sources: {}\n", "E1102", 1, 1, "the key `name` is missing | "),
        ("name: a\nsources:\n  s: {}\n", "E1102", 3, 3, "`sources.s` needs the key `url` | "),
        (
            "name: a\nsources:\n  s: {url: x, in_place: yes}\n",
            "E1102",
            3,
            25,
            "`sources.s.in_place` must be true or false, not the text \"yes\" | write true",
        ),
        (
            "name: a\nsources:\n  s: {url: x, size: -1}\n",
            "E1102",
            3,
            21,
            "`sources.s.size` must be a whole number, 0 or more, not the number -1 | ",
        ),
        (
            "name: a\nsources:\n  s: {url: x, kind: fil}\n",
            "E1102",
            3,
            21,
            "`sources.s.kind` cannot be `fil` | did you mean `file`?",
        ),
        (
            "name: a\nsources:\n  s: {url: x, list: [a, 2]}\n",
            "E1102",
            3,
            25,
            "`sources.s.list[1]` must be text, not the number 2 | ",
        ),
        (
            "name: a\nsources: [1]\n",
            "E1102",
            2,
            10,
            "`sources` must be a map of keys and values, not a list | ",
        ),
    ] {
        let document = parse(text, "lagar.yaml", 0).unwrap();
        let error = only_fault::<Project>(&document.value, &document.spans, &[]);
        let place = error.place().unwrap();
        let shown = format!("{} | {}", error.message(), error.hint_text().unwrap_or_default());
        assert_eq!(
            (error.code().id, place.line, place.column, shown.as_str()),
            (code, line, column, words),
            "{text}"
        );
    }
}

#[test]
fn a_part_of_a_document_keeps_its_places() {
    let document = parse("name: a\nsources:\n  s: {url: 1}\n", "lagar.yaml", 0).unwrap();
    let part = &document.value["sources"]["s"];
    let error = only_fault::<Source>(part, &document.spans, &["sources", "s"]);
    assert_eq!(error.message(), "`sources.s.url` must be text, not the number 1");
    assert_eq!(error.place().unwrap().to_string(), "lagar.yaml:3:12");

    let profile = parse("live:\n  name: 5\n", "lagar.yaml", 20).unwrap();
    let mut spans = document.spans.clone();
    spans.graft::<_, &str>(&profile.spans, &["live"], &[]);
    assert_eq!(spans.key_place(&["name"]).line, 22);
}
