//! The drift matrix: changes × policies × formats, and what is expected of each cell.

use serde_json::{Value, json};

pub const POLICIES: [&str; 4] = ["evolve", "freeze", "discard_row", "discard_value"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Ndjson,
    Json,
    Csv,
    Parquet,
    Sqlite,
}

impl Format {
    pub const ALL: [Format; 5] = [Format::Ndjson, Format::Json, Format::Csv, Format::Parquet, Format::Sqlite];

    pub fn name(self) -> &'static str {
        match self {
            Format::Ndjson => "ndjson",
            Format::Json => "json",
            Format::Csv => "csv",
            Format::Parquet => "parquet",
            Format::Sqlite => "sqlite",
        }
    }

    /// Says by itself of which types its columns are.
    fn declares(self) -> bool {
        matches!(self, Format::Parquet | Format::Sqlite)
    }
}

/// What a source sends: its columns with their types where the format has any, and rows.
#[derive(Debug, Clone)]
pub struct Sent {
    pub columns: Vec<(&'static str, &'static str)>,
    pub rows: Value,
}

fn sent(columns: &[(&'static str, &'static str)], rows: Value) -> Sent {
    Sent { columns: columns.to_vec(), rows }
}

/// A change between two loads.
#[derive(Debug, Clone)]
pub struct Change {
    pub name: &'static str,
    /// In the words of the guide.
    pub words: &'static str,
    pub first: Sent,
    pub second: Sent,
    pub nested: bool,
}

/// What must be after the second load.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expected {
    /// `name type`, in order.
    pub columns: String,
    /// What the source has now.
    pub rows: Vec<Value>,
    /// `row column` in quarantine.
    pub rejects: Vec<String>,
    /// `kind column before>after count`
    pub events: Vec<String>,
    /// Its code.
    pub error: Option<&'static str>,
}

pub fn changes() -> Vec<Change> {
    const ID: (&str, &str) = ("id", "int");
    let plain = || sent(&[ID, ("a", "int")], json!([{"id": 1, "a": 10}, {"id": 2, "a": 20}]));
    let of = |name, words, first, second| Change { name, words, first, second, nested: false };
    let nested = |name, words, first, second| Change { name, words, first, second, nested: true };
    vec![
        of(
            "new",
            "new column",
            plain(),
            sent(
                &[ID, ("a", "int"), ("b", "int")],
                json!([{"id": 1, "a": 10, "b": null}, {"id": 2, "a": 20, "b": 5}]),
            ),
        ),
        of("missing", "missing column", plain(), sent(&[ID], json!([{"id": 1}, {"id": 2}]))),
        of(
            "renamed",
            "renamed column",
            plain(),
            sent(&[ID, ("b", "int")], json!([{"id": 1, "b": 10}, {"id": 2, "b": 20}])),
        ),
        of(
            "case_changed",
            "other case, `A` for `a`",
            plain(),
            sent(&[ID, ("A", "int")], json!([{"id": 1, "A": 10}, {"id": 2, "A": 20}])),
        ),
        of(
            "reordered",
            "other order",
            plain(),
            sent(&[("a", "int"), ID], json!([{"a": 10, "id": 1}, {"a": 20, "id": 2}])),
        ),
        of(
            "int_to_float",
            "int, now double",
            plain(),
            sent(&[ID, ("a", "double")], json!([{"id": 1, "a": 10}, {"id": 2, "a": 20.5}])),
        ),
        of(
            "float_to_string",
            "double, now text",
            sent(&[ID, ("a", "double")], json!([{"id": 1, "a": 1.5}, {"id": 2, "a": 2.5}])),
            sent(&[ID, ("a", "text")], json!([{"id": 1, "a": 1.5}, {"id": 2, "a": "x"}])),
        ),
        of(
            "int_to_string",
            "int, now text",
            plain(),
            sent(&[ID, ("a", "text")], json!([{"id": 1, "a": 10}, {"id": 2, "a": "x"}])),
        ),
        of(
            "string_to_int",
            "text, now int",
            sent(&[ID, ("a", "text")], json!([{"id": 1, "a": "x"}, {"id": 2, "a": "y"}])),
            sent(&[ID, ("a", "int")], json!([{"id": 1, "a": 1}, {"id": 2, "a": 2}])),
        ),
        of(
            "value_to_null",
            "value, now null",
            plain(),
            sent(&[ID, ("a", "int")], json!([{"id": 1, "a": null}, {"id": 2, "a": null}])),
        ),
        nested(
            "nested_new",
            "new field in an object",
            sent(&[ID, ("o", "u int")], json!([{"id": 1, "o": {"u": 1}}, {"id": 2, "o": {"u": 2}}])),
            sent(
                &[ID, ("o", "u int, v int")],
                json!([{"id": 1, "o": {"u": 1, "v": null}}, {"id": 2, "o": {"u": 2, "v": 3}}]),
            ),
        ),
        nested(
            "nested_missing",
            "missing field of an object",
            sent(
                &[ID, ("o", "u int, v int")],
                json!([{"id": 1, "o": {"u": 1, "v": 1}}, {"id": 2, "o": {"u": 2, "v": 2}}]),
            ),
            sent(&[ID, ("o", "u int")], json!([{"id": 1, "o": {"u": 1}}, {"id": 2, "o": {"u": 2}}])),
        ),
        nested(
            "nested_changed",
            "field of an object: int, now text",
            sent(&[ID, ("o", "u int")], json!([{"id": 1, "o": {"u": 1}}, {"id": 2, "o": {"u": 2}}])),
            sent(&[ID, ("o", "u text")], json!([{"id": 1, "o": {"u": 1}}, {"id": 2, "o": {"u": "x"}}])),
        ),
        nested(
            "flattened",
            "object, now text",
            sent(&[ID, ("o", "u int")], json!([{"id": 1, "o": {"u": 1}}, {"id": 2, "o": {"u": 2}}])),
            sent(&[ID, ("o", "text")], json!([{"id": 1, "o": {"u": 1}}, {"id": 2, "o": "x"}])),
        ),
    ]
}

/// The formats that can make `change`.
pub fn formats(change: &Change) -> Vec<Format> {
    let has_objects = |format: &Format| !matches!(format, Format::Csv | Format::Sqlite);
    Format::ALL.into_iter().filter(|format| !change.nested || has_objects(format)).collect()
}

/// The cell of the matrix.
pub fn expected(change: &Change, policy: &str, format: Format) -> Expected {
    let events = |list: &[&str]| list.iter().map(|event| (*event).to_owned()).collect::<Vec<_>>();
    let ok = |columns: &str, rows: Value, list: &[&str]| Expected {
        columns: columns.to_owned(),
        rows: rows.as_array().unwrap().clone(),
        events: events(list),
        ..Expected::default()
    };
    // A refused load leaves the first one as it was.
    let columns_before = match change.name {
        "nested_new" | "nested_missing" | "nested_changed" | "flattened" => "id int, o object",
        "float_to_string" => "id int, a double",
        "string_to_int" => "id int, a text",
        _ => "id int, a int",
    };
    let refused = |code, list: &[&str], rejects: &[&str]| Expected {
        error: Some(code),
        rejects: events(rejects),
        ..ok(columns_before, change.first.rows.clone(), list)
    };
    let frozen = |list: &[&str], rejects: &[&str]| refused("E2104", list, rejects);
    let rejecting = |expected: Expected, rejects: &[&str]| Expected { rejects: events(rejects), ..expected };

    // A value that does not fit its column, in row 2: quarantine, an error, or null.
    let misfit = |column: &str, types: &str, rest: Value, nulled: Value| {
        let (row, value) =
            (format!("row_discarded {column} {types} 1"), format!("value_discarded {column} {types} 1"));
        let reject = format!("2 {column}");
        match policy {
            "freeze" => frozen(&[&row], &[&reject]),
            "discard_value" => ok(columns_before, nulled, &[&value]),
            _ => rejecting(ok(columns_before, rest, &[&row]), &[&reject]),
        }
    };
    // A column `b` in place of `a`.
    let renamed = |b: &str| {
        let (new, ignored, rejected) = (
            format!("column_new {b} ->int -"),
            format!("column_ignored {b} ->int 2"),
            format!("row_discarded {b} ->int 2"),
        );
        let gone = "column_missing a int>- -";
        let without = json!([{"id": 1, "a": null}, {"id": 2, "a": null}]);
        let rows = json!([{"id": 1, "a": null, (b): 10}, {"id": 2, "a": null, (b): 20}]);
        match policy {
            "evolve" => ok(&format!("id int, a int, {b} int"), rows, &[&new, gone]),
            "freeze" => frozen(&[&new, gone], &[]),
            // No row is left.
            "discard_row" => refused("E2102", &[gone, &rejected], &[&format!("1 {b}"), &format!("2 {b}")]),
            _ => ok("id int, a int", without, &[gone, &ignored]),
        }
    };

    match change.name {
        "new" => {
            let both = json!([{"id": 1, "a": 10}, {"id": 2, "a": 20}]);
            match policy {
                "evolve" => ok("id int, a int, b int", change.second.rows.clone(), &["column_new b ->int -"]),
                "freeze" => frozen(&["column_new b ->int -"], &[]),
                "discard_row" => rejecting(
                    ok("id int, a int", json!([{"id": 1, "a": 10}]), &["row_discarded b ->int 1"]),
                    &["2 b"],
                ),
                _ => ok("id int, a int", both, &["column_ignored b ->int 1"]),
            }
        }
        "missing" => match policy {
            "freeze" => frozen(&["column_missing a int>- -"], &[]),
            _ => ok(
                "id int, a int",
                json!([{"id": 1, "a": null}, {"id": 2, "a": null}]),
                &["column_missing a int>- -"],
            ),
        },
        "renamed" => renamed("b"),
        "case_changed" => renamed("A"),
        "reordered" => ok("id int, a int", change.first.rows.clone(), &[]),
        "int_to_float" => match policy {
            "evolve" => ok(
                "id int, a double",
                json!([{"id": 1, "a": 10.0}, {"id": 2, "a": 20.5}]),
                &["type_widened a int>double -"],
            ),
            "freeze" => frozen(&["type_widened a int>double -"], &[]),
            _ => misfit(
                "a",
                "int>double",
                json!([{"id": 1, "a": 10}]),
                json!([{"id": 1, "a": 10}, {"id": 2, "a": null}]),
            ),
        },
        "float_to_string" => misfit(
            "a",
            "double>text",
            json!([{"id": 1, "a": 1.5}]),
            json!([{"id": 1, "a": 1.5}, {"id": 2, "a": null}]),
        ),
        "int_to_string" => misfit(
            "a",
            "int>text",
            json!([{"id": 1, "a": 10}]),
            json!([{"id": 1, "a": 10}, {"id": 2, "a": null}]),
        ),
        // Text takes whatever can be written; that the type was declared otherwise is told.
        "string_to_int" => match (policy, format.declares()) {
            ("freeze", true) => frozen(&["type_changed a text>int -"], &[]),
            (_, declared) => {
                let told: &[&str] = if declared { &["type_changed a text>int -"] } else { &[] };
                ok("id int, a text", json!([{"id": 1, "a": "1"}, {"id": 2, "a": "2"}]), told)
            }
        },
        "value_to_null" => ok("id int, a int", change.second.rows.clone(), &[]),
        "nested_new" => {
            let both = json!([{"id": 1, "o": {"u": 1}}, {"id": 2, "o": {"u": 2}}]);
            match policy {
                "evolve" => ok("id int, o object", change.second.rows.clone(), &["column_new o.v ->int -"]),
                "freeze" => frozen(&["column_new o.v ->int -"], &[]),
                "discard_row" => rejecting(
                    ok("id int, o object", json!([{"id": 1, "o": {"u": 1}}]), &["row_discarded o.v ->int 1"]),
                    &["2 o.v"],
                ),
                _ => ok("id int, o object", both, &["column_ignored o.v ->int 1"]),
            }
        }
        "nested_missing" => match policy {
            "freeze" => frozen(&["column_missing o.v int>- -"], &[]),
            _ => ok(
                "id int, o object",
                json!([{"id": 1, "o": {"u": 1, "v": null}}, {"id": 2, "o": {"u": 2, "v": null}}]),
                &["column_missing o.v int>- -"],
            ),
        },
        "nested_changed" => misfit(
            "o.u",
            "int>text",
            json!([{"id": 1, "o": {"u": 1}}]),
            json!([{"id": 1, "o": {"u": 1}}, {"id": 2, "o": {"u": null}}]),
        ),
        "flattened" => misfit(
            "o",
            "object>text",
            json!([{"id": 1, "o": {"u": 1}}]),
            json!([{"id": 1, "o": {"u": 1}}, {"id": 2, "o": null}]),
        ),
        other => panic!("no cell for {other}"),
    }
}
