//! Parquet.

use ::parquet::arrow::ArrowWriter;
use arrow::{
    array::{
        ArrayRef, BinaryArray, Decimal128Array, DictionaryArray, Float64Array, Int32Builder, Int64Array,
        LargeStringArray, MapBuilder, StringArray, StringBuilder, StructArray, Time64MicrosecondArray,
        TimestampMillisecondArray, TimestampNanosecondArray, UInt8Array, UInt32Array, UInt64Array,
    },
    datatypes::Int32Type,
};

use super::*;

fn written(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn numbers(list: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(list.to_vec()))
}

fn parquet() -> Format {
    format_of(FormatKind::Parquet)
}

#[test]
fn what_delta_cannot_hold_is_turned_into_what_it_can() {
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    map.keys().append_value("k");
    map.values().append_value(1);
    map.append(true).unwrap();
    let dictionary: DictionaryArray<Int32Type> = vec!["red"].into_iter().collect();
    let inner: ArrayRef = Arc::new(UInt8Array::from(vec![7]));
    let object = StructArray::from(vec![(Arc::new(Field::new("u", DataType::UInt8, true)), inner)]);
    let bytes = written(vec![
        ("u8", Arc::new(UInt8Array::from(vec![255])) as ArrayRef),
        ("u32", Arc::new(UInt32Array::from(vec![u32::MAX]))),
        ("u64", Arc::new(UInt64Array::from(vec![u64::MAX]))),
        ("ns", Arc::new(TimestampNanosecondArray::from(vec![1_500]))),
        ("ms", Arc::new(TimestampMillisecondArray::from(vec![1]).with_timezone("America/Bogota"))),
        ("time", Arc::new(Time64MicrosecondArray::from(vec![1_000_000]))),
        ("colour", Arc::new(dictionary)),
        ("large", Arc::new(LargeStringArray::from(vec!["x"]))),
        ("bin", Arc::new(BinaryArray::from(vec![b"\x01".as_slice()]))),
        ("dec", Arc::new(Decimal128Array::from(vec![12345]).with_precision_and_scale(10, 2).unwrap())),
        ("map", Arc::new(map.finish())),
        ("object", Arc::new(object)),
    ]);
    let both = both(&bytes, &parquet());
    let types: Vec<String> = both.types().into_iter().map(|(_, t)| t).collect();
    assert_eq!(
        types,
        [
            "Int16",
            "int",
            "decimal(20,0)",
            "timestamp",
            "timestamptz",
            "text",
            "text",
            "text",
            "binary",
            "decimal(10,2)",
            "text",
            "object"
        ]
    );
    let row: Vec<String> = both.types().iter().map(|(n, _)| both.values(n)[0].clone()).collect();
    assert_eq!(
        row,
        [
            "255",
            "4294967295",
            "18446744073709551615",
            "1970-01-01T00:00:00.000001",
            "1970-01-01T00:00:00.001Z",
            "00:00:01",
            "red",
            "x",
            "01",
            "123.45",
            "{\"k\":1}",
            "{u: 7}"
        ]
    );
}

#[test]
fn values_that_do_not_fit_asked_types_are_rejected() {
    let bytes = written(vec![
        ("id", numbers(&[1, 2, 3, 4])),
        ("f", Arc::new(Float64Array::from(vec![Some(1.0), Some(2.5), None, Some(1e30)])) as ArrayRef),
        ("s", Arc::new(StringArray::from(vec![Some("1.5"), Some("2"), Some("x"), None]))),
    ]);
    let format = asking(parquet(), &[("f", "int"), ("s", "double"), ("gone", "text")]);
    let both = both(&bytes, &format);
    assert_eq!(both.values("id"), ["1"]);
    assert_eq!(both.values("f"), ["1"]);
    assert_eq!(both.values("s"), ["1.5"]);
    assert_eq!(both.values("gone"), ["∅"]);
    assert_eq!(both.numbers, [1]);
    assert_eq!(
        both.rejects(),
        [
            (2, Some("f"), "`2.5` does not fit into int", "{\"id\":2,\"f\":2.5,\"s\":\"2\"}"),
            (3, Some("s"), "`x` does not fit into double", "{\"id\":3,\"f\":null,\"s\":\"x\"}"),
            (4, Some("f"), "`1e30` does not fit into int", "{\"id\":4,\"f\":1.0e30,\"s\":null}"),
        ]
    );
    let refused = both_known(&memory(&bytes), &asking(parquet(), &[("id", "timestamp")]), None);
    assert_eq!((refused.found.rows, refused.found.rejects.len()), (Some(0), 4));
}

#[test]
fn earlier_types_win_and_lists_are_tried_inside() {
    let list = arrow::array::ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
        Some(vec![Some(1)]),
        None,
        Some(vec![Some(300), None]),
    ]);
    let bytes = written(vec![("a", numbers(&[1, 2, 3])), ("l", Arc::new(list) as ArrayRef)]);
    let small = DataType::List(Arc::new(Field::new("item", DataType::Int8, true)));
    let known = schema(&[("a", DataType::Float64), ("l", small)]);
    let both = both_known(&memory(bytes), &parquet(), Some(&known));
    assert_eq!(both.values("a"), ["1.0", "2.0"]);
    assert_eq!(both.values("l"), ["[1]", "∅"]);
    assert_eq!(both.rejects()[0].0, 3);
}

#[test]
fn integers_that_a_double_cannot_hold_are_not_rounded_without_a_word() {
    let bytes = written(vec![("a", numbers(&[1, 9_007_199_254_740_993, i64::MAX, 9_007_199_254_740_994]))]);
    let known = schema(&[("a", DataType::Float64)]);
    let both = both_known(&memory(&bytes), &parquet(), Some(&known));
    assert_eq!(both.values("a"), ["1.0", "9007199254740994.0"]);
    assert_eq!(both.rejects().iter().map(|r| r.0).collect::<Vec<_>>(), [2, 3]);
    let asked = both_known(&memory(&bytes), &asking(parquet(), &[("a", "double")]), Some(&known));
    assert_eq!(asked.batch.num_rows(), 4);
}

#[test]
fn damaged_files_are_errors() {
    let bytes = written(vec![("a", numbers(&(0..5000).collect::<Vec<_>>()))]);
    for bad in [&bytes[..bytes.len() - 3], &bytes[..bytes.len() / 2], b"PAR1", b"", b"<html></html>"] {
        let error = fails(bad, &parquet());
        assert_eq!(error.code(), codes::DECODE);
        assert!(error.message().contains("footer"), "{error:?}");
    }
    let limits = Limits { max_bytes: 100, ..LIMITS };
    assert_eq!(inspect(&memory(bytes), &parquet(), None, &limits).unwrap_err().code(), codes::TOO_LARGE);
}

#[test]
fn columns_are_chosen_and_counted_from_any_body() {
    let bytes = written(vec![("a", numbers(&[1, 2, 3])), ("b", numbers(&[4, 5, 6]))]);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    let zip = zipped(&[("1.parquet", &bytes), ("2.parquet", &bytes)]);
    for (body, compression, rows) in [
        (memory(&bytes), Compression::None, 3),
        (Body::Local(file.path().to_owned()), Compression::None, 3),
        (memory(gzip(&bytes)), Compression::Gzip, 3),
        (memory(zip), Compression::Zip { members: None }, 6),
    ] {
        let format = packed(compression, parquet());
        let options = ReadOptions { skip: Arc::new([2]), row_numbers: true, ..ReadOptions::default() };
        for columns in [schema(&[("b", DataType::Int64)]), Schema::empty(), schema(&[("c", DataType::Utf8)])]
        {
            let batches = read(&body, &format, Arc::new(columns), options.clone()).unwrap();
            let numbers: Vec<u64> = batches
                .flat_map(|d| {
                    let d = d.unwrap();
                    assert_eq!(d.batch.num_rows(), d.rows.as_ref().unwrap().len());
                    d.rows.unwrap()
                })
                .collect();
            assert_eq!(numbers, (1..=rows).filter(|n| *n != 2).collect::<Vec<u64>>());
        }
        assert_eq!(both_known(&body, &format, None).found.rows, Some(rows));
    }
}
