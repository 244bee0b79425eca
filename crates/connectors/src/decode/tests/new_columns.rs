//! Columns that do not grow: what has no place in them is rejected or left out, and counted exactly.

use lagar_flow::Misfits;

use super::*;

fn under(text: &str, format: &Format, known: &Schema, new_columns: NewColumns) -> Inspected {
    let limits = Limits { new_columns, ..LIMITS };
    inspect(&memory(text), format, Some(known), &limits).unwrap()
}

fn left_out(found: &Inspected) -> Vec<(&str, u64)> {
    found.drift.discarded.iter().map(|discarded| (discarded.column.as_str(), discarded.values)).collect()
}

fn list_of(fields: &[(&str, DataType)]) -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Struct(schema(fields).fields), true)))
}

#[test]
fn what_is_left_out_is_counted_over_batches_and_not_for_rejected_rows() {
    let known = schema(&[("a", DataType::Int64), ("l", list_of(&[("p", DataType::Int64)]))]);
    let format = Format { misfits: Misfits::Null, ..ndjson() };
    let rows = [
        r#"{"a": 1, "b": 1}"#,
        r#"{"a": "x", "l": [{"p": 1, "q": 2}, {"p": "y", "q": null}]}"#,
        r#"{"a": "x", "b": 2, "l": [{"q": 3}],}"#,
        r#"{"a": "x", "a": 5, "b": {"deep": [1]}}"#,
        r#"{"a": [1, 2], "b": null}"#,
        r#"{"a": 2.0}"#,
        r#"{"a": 2.5}"#,
    ];
    let text = rows.join("\n");
    let found = under(&text, &format, &known, NewColumns::LeaveOut);
    assert_eq!(found.schema.as_ref(), &known);
    assert_eq!(found.rejects.iter().map(|reject| reject.row).collect::<Vec<_>>(), [3]);
    assert_eq!(found.rows, Some(6));
    assert_eq!(left_out(&found), [("a", 3), ("l.item.p", 1), ("l.item.q", 1), ("b", 2)]);

    let options = ReadOptions { skip: Arc::new([3]), ..ReadOptions::default() };
    let batches: Vec<Decoded> =
        read(&memory(&text), &format, found.schema.clone(), options).unwrap().map(Result::unwrap).collect();
    assert!(batches.iter().all(|decoded| decoded.rejects.is_empty()));
    let a: Vec<Option<i64>> = batches
        .iter()
        .flat_map(|decoded| decoded.batch.column(0).as_primitive::<Int64Type>().iter())
        .collect();
    assert_eq!(a, [Some(1), None, Some(5), None, Some(2), None]);
}

#[test]
fn a_row_with_a_new_value_is_rejected_by_name() {
    let known = schema(&[("a", DataType::Int64), ("l", list_of(&[("p", DataType::Int64)]))]);
    let text = [
        r#"{"a": 1, "b": null}"#,
        r#"{"b": false}"#,
        r#"{"l": [{"p": 1}, {"q": 1}]}"#,
        r#"{"a": 1.5}"#,
        r#"{"a": 7}"#,
    ];
    let found = under(&text.join("\n"), &ndjson(), &known, NewColumns::RejectRow);
    let rejects: Vec<_> =
        found.rejects.iter().map(|r| (r.row, r.column.as_deref().unwrap(), r.reason.as_str())).collect();
    assert_eq!(
        rejects,
        [
            (2, "b", "`b` is a new column"),
            (3, "l.item.q", "`q` is a new column"),
            (4, "a", "`1.5` is not a whole number"),
        ]
    );
    assert_eq!(found.schema.as_ref(), &known, "they are no columns");
    assert_eq!(found.rows, Some(2));
    let csv = under("a,b\n1,\n2,x\n", &csv_format(), &known, NewColumns::RejectRow);
    assert_eq!(csv.rejects.iter().map(|r| r.row).collect::<Vec<_>>(), [2]);
    assert_eq!(csv.schema.as_ref(), &schema(&[("a", DataType::Int64)]));
    let found: Vec<_> = csv.drift.found.fields().iter().map(|f| f.data_type().clone()).collect();
    assert_eq!(found, [DataType::Int64, DataType::Utf8]);
}

#[test]
fn a_file_that_was_checked_is_read_into_grown_columns() {
    let checked =
        schema(&[("a", DataType::Int64), ("o", DataType::Struct(schema(&[("u", DataType::Int64)]).fields))]);
    let grown = Arc::new(schema(&[
        ("b", DataType::Utf8),
        ("o", DataType::Struct(schema(&[("v", DataType::Utf8), ("u", DataType::Float64)]).fields)),
        ("a", DataType::Float64),
    ]));
    let format = Format { misfits: Misfits::Null, ..ndjson() };
    let text = r#"{"a": 1.5, "b": "then", "o": {"u": 2, "v": "then"}}"#;
    let decoded: Vec<Decoded> =
        read_checked(&memory(text), &format, &checked, grown.clone(), ReadOptions::default())
            .unwrap()
            .map(Result::unwrap)
            .collect();
    assert_eq!(decoded.len(), 1);
    assert!(decoded[0].rejects.is_empty());
    let batch = &decoded[0].batch;
    assert_eq!(batch.schema(), grown);
    assert!(batch.column(0).is_null(0) && batch.column(2).is_null(0));
    assert_eq!(array_value_to_string(batch.column(1), 0).unwrap(), "{v: , u: 2.0}");
    // A type that what was read does not fit is no reason to leave it out unseen.
    let date = Arc::new(schema(&[("a", DataType::Date32)]));
    let text = r#"{"a": 1}"#;
    let decoded = read_checked(&memory(text), &format, &checked, date, ReadOptions::default()).unwrap();
    let rejects: Vec<_> = decoded.flat_map(|decoded| decoded.unwrap().rejects).collect();
    assert_eq!(rejects.len(), 1);
}
