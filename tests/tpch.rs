//! Q4: the 22 queries of TPC-H over our own tables, with enough memory and with a quarter of it, answer
//! what DuckDB answers over the generated files.

use std::{path::Path, process::Command};

use lagar_testing::{Battery, long};
use serde_json::Value;

use crate::support::{binary, python, root};

/// `limits.memory` of the first round, short and long.
const MEMORY_BYTES: [u64; 2] = [8 << 20, 1 << 30];
const QUERIES: usize = 22;

#[test]
fn the_queries_of_tpc_h_answer_what_duckdb_answers() {
    let Some(python) = python() else {
        println!("skipped: LAGAR_TEST_PYTHON is not set");
        return;
    };
    if !python.with_file_name("tpchgen-cli").is_file() {
        println!("skipped: tpchgen-cli is not installed beside {}", python.display());
        return;
    }
    let script = root().join("benches/tpch/tpch.py");
    let here = tempfile::tempdir().unwrap();
    let mut command = Command::new(python);
    command.arg(&script).arg("--json").arg("--lagar").arg(binary());
    command.args(["--scale", scale(), "--memory", &MEMORY_BYTES[usize::from(long())].to_string()]);
    if !long() {
        // That of the long lane is kept for the next time.
        command.arg("--data").arg(here.path().join("data"));
    }
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let cases: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(cases.len(), 2 * QUERIES, "{text}{}", String::from_utf8_lossy(&output.stderr));
    let mut battery = Battery::new("Q4");
    for case in &cases {
        battery.case(&replay(&script, case), || assert!(case["differs"].is_null(), "{case}"));
    }
}

fn replay(script: &Path, case: &Value) -> String {
    format!(
        "{} --lagar {} --scale {} --memory {} --only {}",
        script.display(),
        binary().display(),
        scale(),
        case["memory"],
        case["query"].as_str().unwrap()
    )
}

fn scale() -> &'static str {
    if long() { "1" } else { "0.01" }
}
