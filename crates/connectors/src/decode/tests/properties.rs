//! What holds for every file, tried with random ones.

use super::*;

/// Any value of JSON, a few levels deep.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map("[a-c]", inner, 0..3)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Rows of one shape: columns of a few types, some absent.
fn any_rows() -> impl Strategy<Value = Vec<serde_json::Value>> {
    let double = any::<f64>().prop_filter("finite", |f| f.is_finite());
    let list = prop::collection::vec(prop::option::of(any::<i32>()), 0..3);
    let row = (
        prop::option::of(any::<i64>()),
        prop::option::of(double),
        prop::option::of(any::<String>()),
        prop::option::of(any::<bool>()),
        prop::option::of(list),
    );
    let row = row.prop_map(|(i, d, t, b, l)| {
        let mut row = serde_json::json!({"é \"k\"": t, "d": d, "o": {"b": b, "l": l}});
        if let Some(i) = i {
            row["i"] = i.into();
        }
        row
    });
    prop::collection::vec(row, 0..20)
}

fn lines(rows: &[serde_json::Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_table_survives_csv(rows in prop::collection::vec((any::<String>(), any::<i64>(), prop::option::of(any::<f64>())), 1..20)) {
        let mut writer = ::csv::Writer::from_writer(Vec::new());
        writer.write_record(["text", "int", "double"]).unwrap();
        for (text, int, double) in &rows {
            let double = double.filter(|d| d.is_finite()).map(|d| format!("{d:?}")).unwrap_or_default();
            writer.write_record([text, &int.to_string(), &double]).unwrap();
        }
        let format = asking(csv_format(), &[("text", "text"), ("double", "double")]);
        let both = both(writer.into_inner().unwrap(), &format);
        prop_assert_eq!(both.batch.num_rows(), rows.len());
        let (texts, ints) = (both.batch.column(0).as_string::<i32>(), both.batch.column(1).as_primitive::<Int64Type>());
        let doubles = both.batch.column(2).as_primitive::<arrow::datatypes::Float64Type>();
        for (at, (text, int, double)) in rows.iter().enumerate() {
            prop_assert_eq!(if texts.is_null(at) { "" } else { texts.value(at) }, text);
            prop_assert_eq!(ints.value(at), *int);
            let read = doubles.is_valid(at).then(|| doubles.value(at).to_bits());
            prop_assert_eq!(read, double.filter(|d| d.is_finite()).map(f64::to_bits));
        }
    }

    /// The same rows as Arrow's own decoder reads from the same bytes, and back to the same JSON.
    #[test]
    fn any_table_survives_ndjson(rows in any_rows()) {
        let both = both(lines(&rows), &ndjson());
        prop_assert_eq!(both.found.rejects.len(), 0);
        if rows.is_empty() {
            return Ok(());
        }
        let mut decoder = arrow::json::ReaderBuilder::new(both.found.schema.clone()).with_coerce_primitive(true).build_decoder().unwrap();
        decoder.decode(lines(&rows).as_bytes()).unwrap();
        prop_assert_eq!(&decoder.flush().unwrap().unwrap(), &both.batch);
        let mut writer = LineDelimitedWriter::new(Vec::new());
        writer.write(&both.batch).unwrap();
        writer.finish().unwrap();
        let written = String::from_utf8(writer.into_inner()).unwrap();
        let back: Vec<serde_json::Value> = written.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        for (row, back) in rows.iter().zip(&back) {
            prop_assert_eq!(row["i"].as_i64(), back["i"].as_i64());
            prop_assert_eq!(row["é \"k\""].as_str(), back["é \"k\""].as_str());
            prop_assert_eq!(row["o"]["b"].as_bool(), back["o"]["b"].as_bool());
        }
    }

    /// Whatever the values are, no row is lost and both passes agree (see `both`).
    #[test]
    fn any_objects_are_rows(values in prop::collection::vec(any_json(), 0..8)) {
        let rows: Vec<serde_json::Value> = values.into_iter().map(|v| serde_json::json!({"v": v})).collect();
        let as_lines = both(lines(&rows), &ndjson());
        prop_assert_eq!(as_lines.found.rows, Some(rows.len() as u64));
        let document = both(serde_json::to_string_pretty(&rows).unwrap(), &json_format());
        prop_assert_eq!(document.found.rows, Some(rows.len() as u64));
        prop_assert_eq!(document.found.schema, as_lines.found.schema);
        let path = format_of(FormatKind::Json { rows: Some("$[*]".into()) });
        prop_assert_eq!(both(serde_json::to_string(&rows).unwrap(), &path).found.rows, Some(rows.len() as u64));
    }

    /// Bytes of any kind end in rows, rejects or an error, never in a panic, and the passes agree.
    #[test]
    fn any_bytes_are_survived(text in "[\\[\\]{},:\"a1.\\\\\n é<]{0,40}", latin in any::<bool>(), asked in any::<bool>()) {
        let mut bytes = text.into_bytes();
        if latin {
            bytes.push(0xE9);
        }
        let path = format_of(FormatKind::Json { rows: Some("$.a".into()) });
        for format in [csv_format(), json_format(), ndjson(), path, format_of(FormatKind::Parquet)] {
            let format = if asked { asking(format, &[("a", "int")]) } else { format };
            if inspect(&memory(&bytes), &format, None, &LIMITS).is_ok() {
                both(&bytes, &format);
            }
        }
    }

    /// A damaged Parquet file ends in rows or an error, never in a panic.
    #[test]
    fn damaged_parquet_is_survived(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let table = inspect(&memory(lines(&[serde_json::json!({"a": 1, "t": "x", "o": {"l": [1, 2]}})])), &ndjson(), None, &LIMITS);
        let schema = table.unwrap().schema;
        let batch = RecordBatch::new_empty(schema.clone());
        let rows = read(&memory(lines(&vec![serde_json::json!({"a": 1, "t": "x", "o": {"l": [1, 2]}}); 50])), &ndjson(), schema, ReadOptions::default());
        let mut writer = ::parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        for decoded in rows.unwrap() {
            writer.write(&decoded.unwrap().batch).unwrap();
        }
        let mut bytes = writer.into_inner().unwrap();
        for (place, byte) in damage {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        let body = memory(bytes);
        let format = format_of(FormatKind::Parquet);
        if let Ok(found) = inspect(&body, &format, None, &LIMITS)
            && let Ok(batches) = read(&body, &format, found.schema, ReadOptions::default())
        {
            batches.take_while(Result::is_ok).for_each(drop);
        }
    }

    /// Ranges cover a file without gap and without overlap.
    #[test]
    fn ranges_tile_a_file(rows in prop::collection::vec("(\\{\"a\":[0-9]{1,9}\\}| |)", 0..30), cuts in prop::collection::vec(0u64..400, 0..5), tail in any::<bool>()) {
        // Numbers with a leading zero are not JSON: those rows are rejected, in exactly one range.
        let mut text = rows.join("\n");
        if tail {
            text.push('\n');
        }
        let columns = Arc::new(schema(&[("a", DataType::Int64)]));
        let values = |range: Option<Range<u64>>| -> Vec<String> {
            let options = ReadOptions { range, ..ReadOptions::default() };
            let mut list = Vec::new();
            for decoded in read(&memory(&text), &ndjson(), columns.clone(), options).unwrap() {
                let decoded = decoded.unwrap();
                list.extend(decoded.batch.column(0).as_primitive::<Int64Type>().iter().map(|v| format!("{v:?}")));
                list.extend(decoded.rejects.into_iter().map(|r| r.value));
            }
            list
        };
        let mut edges = cuts;
        edges.extend([0, text.len() as u64]);
        edges.sort_unstable();
        let mut tiled: Vec<String> = edges.windows(2).flat_map(|edge| values(Some(edge[0]..edge[1]))).collect();
        let mut whole = values(None);
        tiled.sort_unstable();
        whole.sort_unstable();
        prop_assert_eq!(tiled, whole);
    }
}

/// A long file crosses the borders of the window and of batches.
#[test]
fn long_files_are_read_across_all_borders() {
    let row = |i: usize| format!("{{\"i\":{i},\"t\":\"{}\"}}", "ñ".repeat(i % 977));
    let rows: Vec<String> = (0..20_000).map(row).collect();
    let expected: usize = (0..20_000).sum();
    for (text, format) in [
        (rows.join("\n"), ndjson()),
        (rows.join("\r\n\n"), ndjson()),
        (format!("[{}]", rows.join(",\n")), json_format()),
    ] {
        let body = memory(text);
        let found = inspect(&body, &format, None, &LIMITS).unwrap();
        assert_eq!(found.rows, Some(20_000));
        let options = ReadOptions { row_numbers: true, ..ReadOptions::default() };
        let (mut sum, mut length, mut next) = (0, 0, 1);
        for decoded in read(&body, &format, found.schema, options).unwrap() {
            let decoded = decoded.unwrap();
            for number in decoded.rows.unwrap() {
                assert_eq!(number, next);
                next += 1;
            }
            sum += decoded.batch.column(0).as_primitive::<Int64Type>().values().iter().sum::<i64>() as usize;
            length += decoded.batch.column(1).as_string::<i32>().value_data().len();
        }
        assert_eq!((sum, length), (expected, (0..20_000).map(|i| 2 * (i % 977)).sum()));
    }
}
