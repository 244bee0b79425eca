//! CSV.

use super::*;

#[test]
fn types_are_found_over_the_whole_file() {
    let text = "id,zip,price,ok,day,at,utc,mixed,none,neg\n\
                1,01234,1,true,2024-01-31,2024-01-31 10:00:00,2024-01-31T10:00:00Z,1,,-0\n\
                2,99999,2.5,False,,2024-02-01,2024-01-31T10:00:00+02:00,x,,1\n";
    let both = both(text, &csv_format());
    let expected =
        ["int", "text", "double", "bool", "date", "timestamp", "timestamptz", "text", "text", "double"];
    assert_eq!(both.types().into_iter().map(|(_, t)| t).collect::<Vec<_>>(), expected);
    assert_eq!(both.values("zip"), ["01234", "99999"]);
    assert_eq!(both.values("day"), ["2024-01-31", "∅"]);
    assert_eq!(both.values("at"), ["2024-01-31T10:00:00", "2024-02-01T00:00:00"]);
    assert_eq!(both.values("utc"), ["2024-01-31T10:00:00Z", "2024-01-31T08:00:00Z"]);
    assert_eq!(both.values("neg"), ["-0.0", "1.0"]);
    assert_eq!(both.found.notes, [Note("`mixed` has texts beside numbers; it is read as text".into())]);
    let sampled = Limits { sample_bytes: Some(60), ..LIMITS };
    let found = inspect(&memory(text), &csv_format(), None, &sampled).unwrap();
    assert_eq!((found.rows, found.schema.field(2).data_type()), (None, &DataType::Int64));
}

#[test]
fn the_dialect_is_the_users() {
    let options = CsvOptions {
        delimiter: ';',
        quote: '\'',
        decimal: ',',
        encoding: "latin1".into(),
        header: false,
        date: Some("%d/%m/%Y".into()),
        timestamp: Some("%d/%m/%Y %H:%M".into()),
    };
    let text = b"1.234,5;'Bogot\xE1;D.C.';31/12/2024;31/12/2024 23:59\r\n12;'it''s';;\r\n";
    let both = both(text, &format_of(FormatKind::Csv(options)));
    assert_eq!(
        both.types().into_iter().map(|(n, t)| n + ":" + &t).collect::<Vec<_>>(),
        ["column_1:double", "column_2:text", "column_3:date", "column_4:timestamp"]
    );
    assert_eq!(both.values("column_1"), ["1234.5", "12.0"]);
    assert_eq!(both.values("column_2"), ["Bogotá;D.C.", "it's"]);
    assert_eq!(both.values("column_3"), ["2024-12-31", "∅"]);
    assert_eq!(both.values("column_4"), ["2024-12-31T23:59:00", "∅"]);
    for wrong in [
        CsvOptions { delimiter: 'é', ..CsvOptions::default() },
        CsvOptions { quote: '\n', ..CsvOptions::default() },
        CsvOptions { decimal: ';', ..CsvOptions::default() },
        CsvOptions { encoding: "klingon".into(), ..CsvOptions::default() },
        CsvOptions { date: Some("%Q".into()), ..CsvOptions::default() },
    ] {
        assert_eq!(fails("a\n1\n", &format_of(FormatKind::Csv(wrong))).code(), codes::CONFIG);
    }
}

#[test]
fn texts_of_any_encoding_are_read() {
    let text = "ciudad,país\nBogotá,Colombia\n";
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let with = |encoding: &str| {
        format_of(FormatKind::Csv(CsvOptions { encoding: encoding.into(), ..CsvOptions::default() }))
    };
    let marked = [b"\xFF\xFE".to_vec(), utf16.clone()].concat();
    for (bytes, encoding) in [
        (text.as_bytes().to_vec(), "utf-8"),
        ([b"\xEF\xBB\xBF", text.as_bytes()].concat(), "utf-8"),
        ([b"\xEF\xBB\xBF", text.as_bytes()].concat(), "latin1"),
        (utf16, "utf-16le"),
        (marked.clone(), "utf-16le"),
        (marked, "utf-8"),
        (encoding_rs::WINDOWS_1252.encode(text).0.into_owned(), "latin1"),
    ] {
        let both = both(bytes, &with(encoding));
        assert_eq!(both.types()[1].0, "país", "{encoding}");
        assert_eq!(both.values("ciudad"), ["Bogotá"], "{encoding}");
    }
    let japanese = both([b"a,b\n1,\x93\xFA\x96\x7B\n2,\x93\n".as_slice()].concat(), &with("shift_jis"));
    assert_eq!(japanese.values("b"), ["日本"]);
    assert!(japanese.rejects()[0].2.contains("not Shift_JIS"), "{:?}", japanese.rejects());
}

#[test]
fn a_row_that_is_not_utf8_says_which_byte() {
    let both = both(b"a,b\n1,x\n2,Bogot\xE1\n3,z\n", &csv_format());
    assert_eq!(both.values("a"), ["1", "3"]);
    assert_eq!(both.numbers, [1, 3]);
    let (row, _, reason, value) = both.rejects()[0];
    assert_eq!((row, value), (2, "2,Bogot\u{FFFD}"));
    assert!(reason.contains("0xE1") && reason.contains("`encoding: latin1`"), "{reason}");
    let error = fails(b"ciudad,pa\xEDs\n1,2\n", &csv_format());
    assert!(error.message().contains("header") && error.message().contains("0xED"), "{error:?}");
}

#[test]
fn rows_of_the_wrong_length_are_rejected() {
    let both = both("a,b,c,d\n1,2,3\n1,2,3,4\n1,2,3,4,5\n\nx\n", &csv_format());
    assert_eq!(both.values("d"), ["4"]);
    assert_eq!(
        both.rejects(),
        [
            (1, None, "has 3 fields, the header has 4", "1,2,3"),
            (3, None, "has 5 fields, the header has 4", "1,2,3,4,5"),
            (4, None, "has 1 field, the header has 4", "x"),
        ]
    );
}

#[test]
fn a_stray_quote_costs_its_own_line_only() {
    let both = both("a,b\n1,\"x\n2,\"y\"\n3,z\n4,\"open\n5,w\n", &csv_format());
    assert_eq!(both.values("a"), ["2", "3", "5"]);
    assert_eq!(both.values("b"), ["y", "z", "w"]);
    let reasons: Vec<_> = both.rejects().iter().map(|r| (r.0, r.2)).collect();
    assert_eq!(reasons, [(1, "has text behind a closing quote"), (4, "has a quote that is never closed")]);
}

#[test]
fn files_without_rows_are_empty() {
    let none = both("", &csv_format());
    assert!(none.found.empty && none.types().is_empty() && none.found.rows == Some(0));
    let header = both("\u{feff}a,b\r\n", &csv_format());
    assert!(header.found.empty);
    assert_eq!(header.types(), [("a".into(), "text".into()), ("b".into(), "text".into())]);
    let rejected = both("a,b\n1\n", &csv_format());
    assert!(!rejected.found.empty && rejected.found.rows == Some(0));
}

#[test]
fn names_are_made_unique_and_asked_columns_exist() {
    let format = asking(csv_format(), &[("gone", "date"), ("b", "double")]);
    let both = both("a,, a ,b\n1,2,3,4\n", &format);
    let names: Vec<String> = both.types().into_iter().map(|(n, t)| n + ":" + &t).collect();
    assert_eq!(names, ["a:int", "column_2:int", "a_2:int", "b:double", "gone:date"]);
    assert_eq!(both.values("gone"), ["∅"]);
    assert_eq!(both.found.notes.len(), 3, "{:?}", both.found.notes);
}

#[test]
fn values_that_do_not_fit_asked_types_are_rejected() {
    let format = asking(csv_format(), &[("n", "int"), ("d", "decimal(10,2)"), ("t", "timestamptz")]);
    let both = both(
        "n,d,t\n1,1.5,2024-01-01T00:00:00Z\nx,1,2024-01-01T00:00:00Z\n2.0,1.234,2024-01-01T00:00:00Z\n\
         3,,2024-01-01T00:00:00\n+4,-0.01,\n",
        &format,
    );
    assert_eq!(both.values("n"), ["1", "4"]);
    assert_eq!(both.values("d"), ["1.50", "-0.01"]);
    let rejects = both.rejects();
    assert_eq!(rejects[0], (2, Some("n"), "`x` is not a whole number", "x,1,2024-01-01T00:00:00Z"));
    assert_eq!(rejects[1].2, "`1.234` has more than 2 decimals");
    assert!(rejects[2].2.contains("no time zone"), "{rejects:?}");
    assert_eq!(both.numbers, [1, 5]);
}

#[test]
fn earlier_types_win_and_only_integers_widen() {
    let known = schema(&[
        ("a", DataType::Int64),
        ("b", DataType::Int64),
        ("c", DataType::Utf8),
        ("s", DataType::Int16),
    ]);
    let body = memory("a,b,c,s,new\n1,1,7,5,x\n2,2.5,8,70000,y\nz,3,9,6,z\n");
    let both = both_known(&body, &csv_format(), Some(&known));
    assert_eq!(
        both.types().into_iter().map(|(n, t)| n + ":" + &t).collect::<Vec<_>>(),
        ["a:int", "b:double", "c:text", "s:Int16", "new:text"]
    );
    assert_eq!(both.values("b"), ["1.0"]);
    let rejects: Vec<_> = both.rejects().iter().map(|r| (r.0, r.1)).collect();
    assert_eq!(rejects, [(2, Some("s")), (3, Some("a"))]);
}

#[test]
fn integers_that_a_double_cannot_hold_are_not_rounded_without_a_word() {
    let doubles = schema(&[("n", DataType::Float64)]);
    // Of an older load, whose numbers were all integers, read after a later one had decimals.
    for (text, format) in [
        ("n\n1\n9007199254740993\n9007199254740994\n2.5\n", csv_format()),
        ("{\"n\":1}\n{\"n\":9007199254740993}\n{\"n\":9007199254740994}\n{\"n\":2.5}\n", ndjson()),
    ] {
        let strict = both_known(&memory(text), &format, Some(&doubles));
        assert_eq!(strict.values("n"), ["1.0", "9007199254740994.0", "2.5"]);
        assert_eq!(strict.rejects()[0].0, 2);
        assert!(strict.rejects()[0].2.contains("cannot hold exactly"), "{:?}", strict.rejects());
        let asked = both_known(&memory(text), &asking(format, &[("n", "double")]), Some(&doubles));
        assert_eq!(asked.values("n"), ["1.0", "9007199254740992.0", "9007199254740994.0", "2.5"]);
    }
    // A column that has both at once is text.
    assert_eq!(both("n\n9007199254740993\n2.5\n", &csv_format()).types(), [("n".into(), "text".into())]);
}

#[test]
fn a_file_of_nothing_but_bad_rows_ends_before_it_fills_the_memory() {
    let rows = "1,".repeat(REJECTED_ROWS_MAX + 1);
    let body = memory(format!("[{rows}1]"));
    for error in [
        inspect(&body, &json_format(), None, &LIMITS).map(|_| ()).unwrap_err(),
        read(&body, &json_format(), Arc::new(Schema::empty()), ReadOptions::default())
            .and_then(|mut batches| batches.next().unwrap().map(|_| ()))
            .unwrap_err(),
    ] {
        assert_eq!(error.code(), codes::DECODE);
        assert!(error.message().contains("row 1: the row is a number"), "{error:?}");
    }
    let ok = both(format!("[{}1]", "1,".repeat(9)), &json_format());
    assert_eq!(ok.found.rejects.len(), 10);
}

#[test]
fn a_web_page_is_not_a_csv() {
    let page = "\n<!DOCTYPE html>\n<html><body>Log in, please</body></html>";
    assert!(fails(page, &csv_format()).message().contains("Log in"));
}

#[test]
fn lists_and_objects_are_json_in_a_csv() {
    let known = schema(&[("tags", DataType::List(Arc::new(Field::new("item", DataType::Int64, true))))]);
    let both = both_known(&memory("tags,n\n\"[1,2]\",1\n[x],2\n"), &csv_format(), Some(&known));
    assert_eq!(both.values("tags"), ["[1, 2]"]);
    assert_eq!(both.rejects()[0].0, 2);
}
