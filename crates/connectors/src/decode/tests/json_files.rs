//! JSON documents, NDJSON and JSONPath.

use super::*;

#[test]
fn types_are_found_deep_inside() {
    let text = r#"{"i":1,"d":1,"b":true,"t":"x","n":null,"o":{"x":1,"y":{"z":[1]}},"l":[1,2.5],"e":[],"oo":{},"mix":1}
        {"d":2.5,"o":{"x":null,"w":"new"},"l":[],"mix":"a"}"#;
    let both = both(text, &ndjson());
    let types: Vec<String> = both.found.schema.fields().iter().map(|f| f.data_type().to_string()).collect();
    let item = |t| DataType::List(Arc::new(Field::new("item", t, true))).to_string();
    assert_eq!(types[..5], ["Int64", "Float64", "Boolean", "Utf8", "Utf8"]);
    assert_eq!(types[6..], [item(DataType::Float64), item(DataType::Utf8), "Utf8".into(), "Utf8".into()]);
    assert_eq!(both.values("o"), ["{x: 1, y: {z: [1]}, w: }", "{x: , y: , w: new}"]);
    assert_eq!(both.values("mix"), ["1", "a"]);
    assert_eq!(both.values("oo"), ["{}", "∅"]);
    assert_eq!(both.found.notes, [Note("`mix` has texts beside numbers; it is read as text".into())]);
}

#[test]
fn mixed_columns_become_text_without_loss() {
    let text = r#"
        {"a":1,"b":{"x":1},"big":12345678901234567890,"long":9007199254740993,"tf":true}
        {"a":"1.0","b":"plain","big":1,"long":0.5,"tf":7}
        {"a":[1, 2],"b":null,"big":null,"long":1e3,"tf":null}"#;
    let both = both(text, &ndjson());
    assert!(both.types().iter().all(|(_, t)| t == "text"), "{:?}", both.types());
    assert_eq!(both.values("a"), ["1", "1.0", "[1, 2]"]);
    assert_eq!(both.values("b"), ["{\"x\":1}", "plain", "∅"]);
    assert_eq!(both.values("big"), ["12345678901234567890", "1", "∅"]);
    assert_eq!(both.values("long"), ["9007199254740993", "0.5", "1e3"]);
    assert_eq!(both.values("tf"), ["true", "7", "∅"]);
    assert_eq!(both.found.notes.len(), 5, "{:?}", both.found.notes);
}

#[test]
fn every_shape_of_document_has_its_rows() {
    for (text, rows) in [
        ("[{\"a\":1},{\"a\":2}]", 2),
        ("\u{feff} [ {\"a\":1} , {\"a\":2}\n]\n ", 2),
        ("{\"a\":1}", 1),
        ("[]", 0),
        (" null ", 0),
        ("", 0),
        ("[ ]", 0),
    ] {
        for format in [json_format(), format_of(FormatKind::Json { rows: Some("$".into()) })] {
            let both = both(text, &format);
            assert_eq!((both.found.rows, both.found.empty), (Some(rows), rows == 0), "{text}");
        }
    }
    assert_eq!(both("", &json_format()).found.notes.len(), 1);
}

#[test]
fn broken_documents_are_errors_that_say_where() {
    for (text, says) in [
        ("[{\"a\":1},{\"a\":2},{\"a\"", "in the middle of row 3"),
        ("[{\"a\":1},{\"a\":2}", "after row 2; its closing bracket"),
        ("[{\"a\":1},", "after row 1; its closing bracket"),
        ("{\"a\":[1", "in the middle of row 1"),
        ("[{\"a\":1}] x", "more after the JSON document: x"),
        ("{\"a\":1}\n{\"a\":2}", "more after the JSON document: {\"a\":2}"),
        ("[{\"a\":1} {\"a\":2}]", "has no comma after row 1"),
        ("[{\"a\":1},]", "a comma with nothing behind it after row 1"),
        ("[,{\"a\":1}]", "a comma or brace where a row was expected"),
        ("<html>\n<p>Service   unavailable</p></html>", "web page: <html> <p>Service unavailable"),
        ("hello", "begins with: hello"),
        ("12", "begins with: 12"),
    ] {
        let error = fails(text, &json_format());
        assert_eq!(error.code(), codes::DECODE);
        assert!(error.message().contains(says), "{text}: {error:?}");
    }
    assert!(fails("<p>", &ndjson()).message().contains("web page"));
    let page = format!("<html>{}", "x".repeat(500));
    assert!(fails(page, &json_format()).message().len() < 200);
}

#[test]
fn rows_that_are_not_good_objects_are_rejected() {
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    let lines = [
        "{\"a\":1}",
        "[1]",
        "7",
        "null",
        "\"x\"",
        "",
        "  ",
        "{\"a\":NaN}",
        "{\"a\":1",
        "{\"a\":1}{\"a\":2}",
        "{\"a\":1 \"b\":2}",
        &deep,
        "{\"a\":2}",
        "{\"a\":\"\\ud800\"}",
    ];
    let both_lines = both(lines.join("\n"), &ndjson());
    assert_eq!(both_lines.values("a"), ["1", "2"]);
    assert_eq!(both_lines.numbers, [1, 11]);
    let rejects = both_lines.rejects();
    assert_eq!(rejects.len(), 10);
    assert_eq!(rejects[0], (2, None, "the row is a list, not an object", "[1]"));
    assert_eq!(rejects[5].2, "not JSON at byte 7: it ends too early");
    assert!(rejects[8].2.contains("nested too deeply"), "{rejects:?}");
    let array = both("[{\"a\":1},null,[{\"a\":5}],{\"a\":NaN},{\"a\":2}]", &json_format());
    assert_eq!((array.values("a"), array.numbers), (vec!["1".to_owned(), "2".to_owned()], vec![1, 5]));
    let latin = both(b"{\"a\":\"x\"}\n{\"a\":\"Bogot\xE1\"}\n", &ndjson());
    assert!(latin.rejects()[0].2.contains("0xE1"), "{:?}", latin.rejects());
}

#[test]
fn the_last_of_equal_keys_wins_and_broken_rows_leave_nothing() {
    let text = r#"{"a":1,"a":2,"o":{"x":1,"x":2},"l":[1],"l":[2,3]}
{"a":3,"o":{"x":5,"l":1},"l":[7,8],"z":oops}
{"a":4,"o":{"x":6},"l":[9]}"#;
    let both = both(text, &ndjson());
    assert_eq!(both.values("a"), ["2", "4"]);
    assert_eq!(both.values("o"), ["{x: 2, l: }", "{x: 6, l: }"]);
    assert_eq!(both.values("l"), ["[2, 3]", "[9]"]);
}

#[test]
fn asked_types_are_exact_and_lenient_about_quotes() {
    let format = asking(
        json_format(),
        &[
            ("d", "double"),
            ("i", "int"),
            ("m", "decimal(20,3)"),
            ("t", "text"),
            ("day", "date"),
            ("at", "timestamp"),
            ("utc", "timestamptz"),
            ("j", "json"),
            ("b", "bool"),
            ("bin", "binary"),
        ],
    );
    let text = r#"[
        {"d":"12.5","i":3.0,"m":12345678901234567.125,"t":1.50,"day":"2024-01-31","at":"2024-01-31T10:00:00",
         "utc":"2024-01-31T10:00:00-05:00","j":{"k": "\u00e1"},"b":"true","bin":"xy"},
        {"d":1,"i":"4","m":"0.1","t":true,"j":"s","b":false},
        {"d":"abc"}, {"i":3.5}, {"m":0.0001}, {"day":20240131}, {"at":1706695200}, {"utc":"2024-01-31T10:00:00"},
        {"d":[1]}, {"b":"yes"}, {"t":{"x":1}}]"#;
    let both = both(text, &format);
    assert_eq!(both.values("d"), ["12.5", "1.0", "∅"]);
    assert_eq!(both.values("i"), ["3", "4", "∅"]);
    assert_eq!(both.values("m"), ["12345678901234567.125", "0.100", "∅"]);
    assert_eq!(both.values("t"), ["1.50", "true", "{\"x\":1}"]);
    assert_eq!(both.values("utc"), ["2024-01-31T15:00:00Z", "∅", "∅"]);
    assert_eq!(both.values("j"), ["{\"k\": \"\\u00e1\"}", "\"s\"", "∅"]);
    assert_eq!(both.values("b"), ["true", "false", "∅"]);
    let rejects = both.rejects();
    assert_eq!(
        rejects.iter().map(|r| (r.0, r.1.unwrap())).collect::<Vec<_>>(),
        [(3, "d"), (4, "i"), (5, "m"), (6, "day"), (7, "at"), (8, "utc"), (9, "d"), (10, "b")]
    );
    assert_eq!(rejects[0].2, "`abc` is not a number");
    assert_eq!(rejects[0].3, "{\"d\":\"abc\"}");
    assert_eq!(rejects[6].2, "`[1]` is not of the type double");
}

#[test]
fn earlier_columns_keep_their_types_and_grow_inside() {
    let point = DataType::Struct(vec![Field::new("x", DataType::Int64, true)].into());
    let known =
        schema(&[("a", DataType::Int64), ("p", point), ("s", DataType::Utf8), ("gone", DataType::Int64)]);
    let body = memory(r#"[{"a":1.5,"p":{"x":1,"y":2},"s":5},{"a":"z","p":{"x":2}},{"a":2,"p":"none"}]"#);
    let both = both_known(&body, &json_format(), Some(&known));
    assert_eq!(both.found.schema.fields().len(), 3);
    assert_eq!(both.values("a"), ["1.5"]);
    assert_eq!(both.values("p"), ["{x: 1, y: 2}"]);
    assert_eq!(both.values("s"), ["5"]);
    assert_eq!(both.rejects().iter().map(|r| (r.0, r.1.unwrap())).collect::<Vec<_>>(), [(2, "a"), (3, "p")]);
    // A nested value is named by its path.
    let nested = both_known(&memory(r#"{"p":{"x":"far"}}"#), &ndjson(), Some(&known));
    assert_eq!(nested.rejects()[0].1, Some("p.x"));
}

#[test]
fn a_jsonpath_finds_the_rows_as_they_are_written() {
    let text = r#"{"meta":{"count":3},"data":{"items":[{"a":12345678901234567890.5,"b":1},null,{"a":2}]}}"#;
    let with = |path: &str| format_of(FormatKind::Json { rows: Some(path.into()) });
    let exact = asking(with("$.data.items"), &[("a", "decimal(30,1)")]);
    let list = both(text, &exact);
    assert_eq!(list.values("a"), ["12345678901234567890.5", "2.0"]);
    assert_eq!(list.numbers, [1, 3]);
    assert_eq!(both(text, &with("$.data.items[*]")).numbers, [1, 2]);
    assert_eq!(both(text, &with("$.data.items[?@.b==1]")).numbers, [1]);
    assert_eq!(both(text, &with("$.meta")).values("count"), ["3"]);
    let ordered = asking(with("$..items[2, 0]"), &[("a", "text")]);
    assert_eq!(both(text, &ordered).values("a"), ["2", "12345678901234567890.5"]);
    let missing = both(text, &with("$.rows"));
    assert!(missing.found.empty);
    assert!(missing.found.notes[0].0.contains("keys meta, data"), "{:?}", missing.found.notes);
    assert!(both("null", &with("$.rows")).found.notes.is_empty());
    assert_eq!(fails(text, &with("data items")).code(), codes::CONFIG);
    assert!(fails(&text[..40], &with("$.data")).message().contains("truncated"));
    assert!(fails("<html>", &with("$.data")).message().contains("web page"));
    assert!(fails("[".repeat(1000), &with("$.data")).code() == codes::DECODE);
}

#[test]
fn columns_are_not_nested_deeper_than_a_manifest_can_say() {
    let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    let objects = format!("{}1{}", "{\"b\":".repeat(100), "}".repeat(100));
    for value in [deep(20), deep(21), deep(100), objects] {
        let both = both(format!("{{\"a\":{value}}}"), &ndjson());
        assert_eq!((both.batch.num_rows(), both.found.rejects.len()), (1, 0));
        let written = serde_json::to_string(&columns_of(&both.found.schema)).unwrap();
        let back = schema_of(&serde_json::from_str::<Vec<_>>(&written).unwrap()).unwrap();
        assert_eq!(back, both.found.schema);
        let is_cut = both.found.notes.iter().any(|note| note.0.contains("more than 20 deep"));
        assert_eq!(is_cut, value != deep(20), "{value}");
        let shown = array_value_to_string(both.batch.column(0), 0).unwrap();
        assert_eq!(shown.matches(['[', '{']).count(), value.matches(['[', '{']).count(), "{shown}");
        // A later file, as deep, fits what is known.
        let later = both_known(&memory(format!("{{\"a\":{value}}}")), &ndjson(), Some(&both.found.schema));
        assert_eq!(later.found.schema, both.found.schema);
    }
}

#[test]
fn a_dictionary_is_not_a_thousand_columns() {
    let object: String = (0..1500).map(|i| format!("\"k{i}\":{i},")).collect();
    let both = both(format!("{{\"a\":{{{}}}}}", object.trim_end_matches(',')), &ndjson());
    assert_eq!(both.types(), [("a".into(), "text".into())]);
    assert!(both.found.notes[0].0.contains("more than 1000"));
    let row: String = (0..10_500).map(|i| format!("\"k{i}\":{i},")).collect();
    let error =
        inspect(&memory(format!("{{{}}}", row.trim_end_matches(','))), &ndjson(), None, &LIMITS).unwrap_err();
    assert!(error.message().contains("columns"), "{error:?}");
}

#[test]
fn a_projection_reads_only_its_columns() {
    let body = memory("{\"a\":1,\"b\":\"x\"}\n{\"b\":\"y\"}\n");
    let wider = Arc::new(schema(&[("b", DataType::Utf8), ("later", DataType::Int64)]));
    let decoded: Vec<Decoded> =
        read(&body, &ndjson(), wider.clone(), ReadOptions::default()).unwrap().map(Result::unwrap).collect();
    assert_eq!((decoded.len(), decoded[0].batch.schema(), decoded[0].rows.is_none()), (1, wider, true));
    assert_eq!(decoded[0].batch.column(1).null_count(), 2);
    let none = read(&body, &ndjson(), Arc::new(Schema::empty()), ReadOptions::default()).unwrap();
    assert_eq!(none.map(|d| d.unwrap().batch.num_rows()).sum::<usize>(), 2);
}

#[test]
fn a_row_without_end_is_refused_before_it_fills_the_memory() {
    let endless = [b"{\"a\":\"".to_vec(), vec![b'x'; 65 << 20]].concat();
    let error = fails(&endless, &ndjson());
    assert!(error.message().contains("a row is longer than 64 MiB"), "{error:?}");
}

#[test]
fn ranges_are_refused_where_they_cannot_be() {
    let range = |format: &Format, options: ReadOptions| {
        read(&memory("{}"), format, Arc::new(Schema::empty()), ReadOptions { range: Some(1..2), ..options })
            .err()
            .map(|e| e.code())
    };
    assert_eq!(range(&json_format(), ReadOptions::default()), Some(codes::BUG));
    assert_eq!(range(&packed(Compression::Gzip, ndjson()), ReadOptions::default()), Some(codes::BUG));
    assert_eq!(
        range(&ndjson(), ReadOptions { row_numbers: true, ..ReadOptions::default() }),
        Some(codes::BUG)
    );
    assert_eq!(range(&ndjson(), ReadOptions::default()), None);
}
