use std::sync::Arc;

use arrow::array::{BooleanArray, Date32Array, Int64Array, TimestampMicrosecondArray, TimestampSecondArray};
use serde_json::{Value, json};

use super::{learn::LEVELS_MAX, *};

fn numbers(values: &[Option<f64>]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn rows(column: &ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("x", column.clone(), true)]).unwrap()
}

/// What is learned of one feature `x`, and the notes.
fn learned_with_notes(
    encode: &Value,
    impute: &Value,
    column: &ArrayRef,
    target: TargetNumbers<'_>,
) -> Result<(Frame, Vec<String>)> {
    let of = |value: &Value| if value.is_null() { json!({}) } else { json!({ "x": value }) };
    let asked = Asked {
        features: &["x".to_owned()],
        encode: &serde_json::from_value(of(encode)).unwrap(),
        impute: &serde_json::from_value(of(impute)).unwrap(),
        precision: Precision::Double,
    };
    Frame::learn(&asked, &rows(column), target)
}

fn learned(encode: &Value, impute: &Value, column: &ArrayRef) -> Frame {
    learned_with_notes(encode, impute, column, None).unwrap().0
}

/// The columns of the matrix.
fn columns(frame: &Frame, column: &ArrayRef) -> Vec<Vec<f64>> {
    frame.matrix(&rows(column)).unwrap().columns().into_iter().map(|column| column.to_vec()).collect()
}

fn only(frame: &Frame, column: &ArrayRef) -> Vec<f64> {
    let columns = columns(frame, column);
    assert_eq!(columns.len(), 1);
    columns.concat()
}

#[test]
fn numbers_that_are_missing_are_replaced_by_what_was_learned() {
    let nothing = Some(f64::NAN);
    for (impute, known, fill) in [
        (json!("mean"), [Some(1.0), Some(2.0), Some(2.0), Some(10.0)], 3.75),
        (json!("median"), [Some(1.0), Some(2.0), Some(4.0), Some(10.0)], 3.0),
        (json!("median"), [Some(1.0), Some(2.0), Some(10.0), nothing], 2.0),
        (json!("most_frequent"), [Some(9.0), Some(2.0), Some(9.0), Some(1.0)], 9.0),
        // Of equally frequent ones the smallest.
        (json!("most_frequent"), [Some(9.0), Some(2.0), Some(9.0), Some(2.0)], 2.0),
        (json!(7.5), [Some(1.0), Some(2.0), Some(4.0), Some(10.0)], 7.5),
    ] {
        let learned_from = numbers(&[known[0], None, known[1], known[2], nothing, known[3]]);
        let frame = learned(&Value::Null, &impute, &learned_from);
        assert_eq!(frame.features[0].missing, Some(Missing::Number(fill)), "{impute}");
        let expected: Vec<f64> = [known[0], None, known[1], known[2], nothing, known[3]]
            .map(|value| value.filter(|value| !value.is_nan()).unwrap_or(fill))
            .to_vec();
        assert_eq!(only(&frame, &learned_from), expected, "{impute}");
        // What is asked later does not change it.
        assert_eq!(only(&frame, &numbers(&[None, Some(500.0), nothing])), [fill, 500.0, fill], "{impute}");
    }
}

#[test]
fn booleans_and_texts_that_are_missing_are_replaced_by_what_was_learned() {
    let booleans = |values: &[Option<bool>]| -> ArrayRef { Arc::new(BooleanArray::from(values.to_vec())) };
    let known = booleans(&[Some(true), None, Some(true), Some(false), Some(true)]);
    for (impute, fill) in
        [(json!(false), 0.0), (json!("most_frequent"), 1.0), (json!("mean"), 0.75), (json!("median"), 1.0)]
    {
        let frame = learned(&Value::Null, &impute, &known);
        assert_eq!(only(&frame, &known), [1.0, fill, 1.0, 0.0, 1.0], "{impute}");
        assert_eq!(only(&frame, &booleans(&[None, Some(false)])), [fill, 0.0], "{impute}");
    }
    let some = |values: &[Option<&str>]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
    for (impute, fill) in [(json!("most_frequent"), "b"), (json!("unknown"), "unknown")] {
        let known = some(&[Some("c"), Some("b"), None, Some("b"), Some("a")]);
        let frame = learned(&json!("ordinal"), &impute, &known);
        assert_eq!(frame.features[0].missing, Some(Missing::Text(fill.to_owned())));
        let filled = known.as_string::<i32>().iter().map(|value| Some(value.unwrap_or(fill)));
        assert_eq!(only(&frame, &known), only(&frame, &some(&filled.collect::<Vec<_>>())));
        assert_eq!(only(&frame, &some(&[None])), only(&frame, &some(&[Some(fill)])));
    }
    let tie = learned(&json!("ordinal"), &json!("most_frequent"), &texts(&["b", "a", "b", "a", "c"]));
    assert_eq!(tie.features[0].missing, Some(Missing::Text("a".to_owned())));
}

#[test]
fn each_value_has_a_column_and_what_is_new_goes_to_other() {
    let known = texts(&["queens", "bronx", "queens"]);
    let frame = learned(&json!("one_hot"), &Value::Null, &known);
    assert_eq!(frame.columns(), ["x=bronx", "x=queens", "x=(other)"]);
    assert_eq!(columns(&frame, &known), [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0; 3]]);
    let asked = texts(&["atlantis", "bronx", ""]);
    assert_eq!(columns(&frame, &asked), [[0.0, 1.0, 0.0], [0.0; 3], [1.0, 0.0, 1.0]]);
    // Numbers and booleans by their values.
    let frame = learned(&json!("one_hot"), &Value::Null, &numbers(&[Some(5.0), Some(0.5)]));
    assert_eq!(frame.columns(), ["x=0.5", "x=5.0", "x=(other)"]);
}

#[test]
fn ordinal_is_the_place_in_the_order_of_the_values() {
    let known = texts(&["low", "high", "middle", "high"]);
    let frame = learned(&json!("ordinal"), &Value::Null, &known);
    assert_eq!(only(&frame, &known), [1.0, 0.0, 2.0, 0.0]);
    assert_eq!(only(&frame, &texts(&["middle", "none", "zoo"])), [2.0, -1.0, -1.0]);
}

/// By hand: the mean of all six rows is 3; `a` stands in three rows with a sum of 6, which ten rows of 3 draw to
/// `(6 + 30) / 13`.
#[test]
fn a_target_encoding_is_the_mean_drawn_to_that_of_all_and_of_known_rows_that_of_the_others() {
    let known = texts(&["a", "b", "a", "b", "a", "c"]);
    let target = [1.0, 5.0, 2.0, 4.0, 3.0, 3.0];
    let frame = learned_with_notes(&json!("target"), &Value::Null, &known, Some(&target)).unwrap().0;
    let asked = only(&frame, &texts(&["a", "b", "c", "d"]));
    for (asked, expected) in asked.iter().zip([36.0 / 13.0, 39.0 / 12.0, 33.0 / 11.0, 3.0]) {
        assert!((asked - expected).abs() < 1e-12, "{asked} is not {expected}");
    }
    // A row that is learned from: whatever its own target is, its number stays, and that of another row does not.
    let names: Vec<&str> = (0..60).map(|row| ["a", "b", "c"][row % 3]).collect();
    let (known, target): (_, Vec<f64>) =
        (texts(&names), (0..60).map(|row| f64::from(row * 7 % 11)).collect());
    let trained = |target: &[f64]| {
        let frame = learned_with_notes(&json!("target"), &Value::Null, &known, Some(target)).unwrap().0;
        frame.training_matrix(&rows(&known), Some(target)).unwrap().column(0).to_vec()
    };
    let before = trained(&target);
    for row in 0..60 {
        let mut other = target.clone();
        other[row] += 1000.0;
        let after = trained(&other);
        assert_eq!(after[row], before[row], "{row}");
        let same = |at: &usize| names[*at] == names[row] && after[*at] != before[*at];
        assert!((0..60).filter(same).count() > 10, "{row}");
    }
}

#[test]
fn columns_are_brought_to_the_size_that_was_learned() {
    let known = numbers(&[1.0, 2.0, 3.0, 6.0].map(Some));
    let scaled = |scale: Scale, known: &ArrayRef| {
        let mut frame = learned(&Value::Null, &Value::Null, known);
        frame.learn_scaling(scale, &rows(known)).unwrap();
        frame
    };
    let asked = numbers(&[3.0, 13.0].map(Some));
    // The mean is 3, and the variance (4 + 1 + 0 + 9) / 4.
    let deviation = 3.5f64.sqrt();
    let frame = scaled(Scale::Standard, &known);
    assert_eq!(only(&frame, &known), [-2.0, -1.0, 0.0, 3.0].map(|value| value / deviation));
    assert_eq!(only(&frame, &asked), [0.0, 10.0 / deviation]);
    let frame = scaled(Scale::MinMax, &known);
    assert_eq!(only(&frame, &known), [0.0, 0.2, 0.4, 1.0]);
    assert_eq!(only(&frame, &asked), [0.4, 2.4]);
    let frame = scaled(Scale::None, &known);
    assert_eq!((frame.scaling.as_ref(), only(&frame, &asked)), (None, vec![3.0, 13.0]));
    // A column in which nothing changes stays as it is, but for its place.
    for scale in [Scale::Standard, Scale::MinMax] {
        let frame = scaled(scale, &numbers(&[5.0; 3].map(Some)));
        assert_eq!(only(&frame, &numbers(&[5.0, 7.0].map(Some))), [0.0, 2.0], "{scale:?}");
    }
    // Each column of a feature apart.
    let known = texts(&["a", "b", "b", "b"]);
    let mut frame = learned(&json!("one_hot"), &Value::Null, &known);
    frame.learn_scaling(Scale::Standard, &rows(&known)).unwrap();
    let [a, b, other] = columns(&frame, &known).try_into().unwrap();
    assert_eq!((a[0], b[0], other), (0.75 / 0.1875f64.sqrt(), -0.75 / 0.1875f64.sqrt(), vec![0.0; 4]));
}

/// Of 0.1 and the like the mean of equal values is off by a bit: by that nothing is divided.
#[test]
fn a_column_in_which_nothing_changed_keeps_its_size() {
    for value in [0.1, 0.3, 7.0, 1.1, -2.2, 1e9 / 3.0, 1e300, 1e-300] {
        for rows_of_it in [3, 6, 10, 20, 49, 1000] {
            let known = numbers(&vec![Some(value); rows_of_it]);
            for scale in [Scale::Standard, Scale::MinMax] {
                let mut frame = learned(&Value::Null, &Value::Null, &known);
                frame.learn_scaling(scale, &rows(&known)).unwrap();
                let asked = numbers(&[Some(value), Some(value + 1.0)]);
                assert_eq!(
                    only(&frame, &asked),
                    [0.0, value + 1.0 - value],
                    "{value} {rows_of_it} {scale:?}"
                );
            }
        }
    }
    // A flag that was true in all rows, and is false later.
    let known: ArrayRef = Arc::new(BooleanArray::from(vec![true; 49]));
    let mut frame = learned(&Value::Null, &Value::Null, &known);
    frame.learn_scaling(Scale::Standard, &rows(&known)).unwrap();
    let asked: ArrayRef = Arc::new(BooleanArray::from(vec![true, false]));
    assert_eq!(only(&frame, &asked), [0.0, -1.0]);
}

#[test]
fn numbers_have_the_places_of_numbers() {
    let known = numbers(&[10.0, 2.0, 1.0, -3.0, 100.0, 2.5, -20.0].map(Some));
    let frame = learned(&json!("ordinal"), &json!("unknown"), &known);
    assert_eq!(only(&frame, &known), [5.0, 3.0, 2.0, 1.0, 6.0, 4.0, 0.0]);
    assert_eq!(only(&frame, &numbers(&[Some(3.0), None])), [-1.0, -1.0]);
    let whole: ArrayRef = Arc::new(Int64Array::from(vec![1, 10, 11, 12, 2]));
    let frame = learned(&json!("ordinal"), &Value::Null, &whole);
    assert_eq!(only(&frame, &whole), [0.0, 2.0, 3.0, 4.0, 1.0]);
    assert_eq!(frame.check(), Ok(()));
    // More than a float can tell apart are different all the same.
    let near: ArrayRef = Arc::new(Int64Array::from(vec![(1 << 53) + 1, 1 << 53, 5]));
    let frame = learned(&json!("ordinal"), &Value::Null, &near);
    assert_eq!(only(&frame, &near), [2.0, 1.0, 0.0]);
    // What is no number stands behind all.
    let frame = learned(&json!("ordinal"), &json!("none"), &numbers(&[Some(10.0), None, Some(9.0)]));
    assert_eq!(only(&frame, &numbers(&[Some(9.0), Some(10.0), None])), [0.0, 1.0, 2.0]);
    // One that was written when they were in the order of text answers as it did.
    let was = frame_of_ordinal(&["1", "10", "11", "12", "2"]);
    assert_eq!(was.check(), Ok(()));
    assert_eq!(only(&was, &whole), [0.0, 1.0, 2.0, 3.0, 4.0]);
    for wrong in [&["10", "2", "1"][..], &["1", "1", "2"], &["1", "10", "2", "11"], &["2", "10", "10"]] {
        assert!(frame_of_ordinal(wrong).check().unwrap_err().contains("not in order"), "{wrong:?}");
    }
}

/// Of whole numbers, as it is stored.
fn frame_of_ordinal(categories: &[&str]) -> Frame {
    let feature = json!({"name": "x", "kind": "number", "data_type": "Int64",
        "encoding": {"ordinal": {"categories": categories}}});
    serde_json::from_value(json!({"features": [feature]})).unwrap()
}

/// What stands in place of null is the value that it says, not one of its own.
#[test]
fn a_constant_for_null_is_the_value_that_the_column_has() {
    let floats = numbers(&[Some(5.0), None, Some(2.5)]);
    let whole: ArrayRef = Arc::new(Int64Array::from(vec![Some(5), None, Some(2)]));
    let decimals = cast(&floats, &DataType::Decimal128(10, 2)).unwrap();
    let single = cast(&numbers(&[Some(0.1), None, Some(5.0)]), &DataType::Float32).unwrap();
    let booleans: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]));
    let names: ArrayRef = Arc::new(StringArray::from(vec![Some("5"), None, Some("a")]));
    for (column, constant, text) in [
        (&floats, json!(5), "5.0"),
        (&floats, json!(2.5), "2.5"),
        (&whole, json!(5), "5"),
        (&decimals, json!(5), "5.00"),
        (&single, json!(0.1), "0.1"),
        (&booleans, json!(true), "true"),
        (&names, json!(5), "5"),
    ] {
        let frame = learned(&json!("one_hot"), &constant, column);
        assert_eq!(frame.features[0].missing, Some(Missing::Text(text.to_owned())), "{constant}");
        let (made, all) = (columns(&frame, column), column.len());
        let row = |at: usize| made.iter().map(|column| column[at]).collect::<Vec<f64>>();
        assert_eq!((made.len(), all), (3, 3), "two values and what is not here, of {constant}");
        assert!((0..all).any(|at| at != 1 && row(at) == row(1)), "{constant}: {made:?}");
    }
    // What no row of the column can hold is a value of its own.
    let frame = learned(&json!("one_hot"), &json!(2.5), &whole);
    assert_eq!(frame.columns(), ["x=2", "x=2.5", "x=5", "x=(other)"]);
}

/// Years beyond 292277 have no microseconds, those beyond 262142 no parts: neither is 1970.
#[test]
fn dates_too_far_away_are_refused_by_name() {
    let parts = ["year", "month", "day", "day_of_week", "day_of_year", "week", "hour", "days"];
    let far: [ArrayRef; 2] = [
        Arc::new(Date32Array::from(vec![Some(0), Some(i32::MAX), Some(i32::MIN)])),
        Arc::new(TimestampSecondArray::from(vec![0, i64::MAX, i64::MIN])),
    ];
    let says = "the feature `x` is a date too far away in 2 of 3 rows";
    let refused = |error: &Error, what: &str| {
        assert_eq!((error.code(), error.message()), (codes::PREDICTOR_DATA, says), "{what}");
        assert!(error.hint_text().unwrap().contains("never"), "{what}");
    };
    for column in far {
        // A date has the hour 0, wherever it is.
        let dated = *column.data_type() == DataType::Date32;
        for part in parts.into_iter().filter(|part| !(dated && *part == "hour")) {
            let frame = learned(&json!([part]), &Value::Null, &column.slice(0, 1));
            refused(&frame.matrix(&rows(&column)).unwrap_err(), part);
        }
        refused(&Raw::of("x", &column).err().unwrap(), "its distribution");
        // The last year that is promised has all of them.
        let last: ArrayRef = Arc::new(Date32Array::from(vec![72_329_000]));
        let frame = learned(&json!(parts), &Value::Null, &last);
        assert_eq!(columns(&frame, &last)[0], [200_000.0]);
    }
    // Null is none.
    let none: ArrayRef = Arc::new(Date32Array::from(vec![Some(1), None]));
    let Raw::Numbers(micros) = Raw::of("x", &none).unwrap() else { panic!() };
    assert!(micros[0] == 86_400e6 && micros[1].is_nan(), "{micros:?}");
}

#[test]
fn dates_become_their_parts() {
    let parts = json!(["year", "month", "day", "day_of_week", "day_of_year", "week", "hour", "days"]);
    // As Python has them: `date.isocalendar()`, `timetuple().tm_yday`, `weekday()`.
    let cases = [
        // A Sunday of the last week of the year before; the day before 1970; a leap day; the week 53.
        ("2023-01-01", 19_358, [2023, 1, 1, 6, 1, 52]),
        ("1969-12-31", -1, [1969, 12, 31, 2, 365, 1]),
        ("2024-02-29", 19_782, [2024, 2, 29, 3, 60, 9]),
        ("2021-01-03", 18_630, [2021, 1, 3, 6, 3, 53]),
        ("2020-12-31", 18_627, [2020, 12, 31, 3, 366, 53]),
    ];
    let days: ArrayRef = Arc::new(Date32Array::from(cases.map(|case| case.1).to_vec()));
    let hour = 18;
    let micros = |case: &(&str, i32, [i32; 6])| (i64::from(case.1) * 24 + hour) * 3_600_000_000;
    let moments = TimestampMicrosecondArray::from(cases.iter().map(micros).collect::<Vec<_>>());
    for (column, hour) in [
        (days, 0.0),
        (Arc::new(moments.clone()) as ArrayRef, 18.0),
        (Arc::new(moments.with_timezone("UTC")) as ArrayRef, 18.0),
    ] {
        let frame = learned(&parts, &Value::Null, &column);
        let names = ["year", "month", "day", "day_of_week", "day_of_year", "week", "hour", "days"];
        assert_eq!(frame.columns(), names.map(|part| format!("x.{part}")));
        for (row, (date, day, expected)) in cases.iter().enumerate() {
            let asked = columns(&frame, &column.slice(row, 1)).concat();
            let expected = expected.map(f64::from);
            assert_eq!(asked[..6], expected, "{date}");
            assert_eq!(asked[6..], [hour, f64::from(*day) + hour / 24.0], "{date}");
            // Alike when they are learned from, and in another column of the table.
            let all = columns(&frame, &column);
            assert_eq!(all.iter().map(|part| part[row]).collect::<Vec<_>>(), asked, "{date}");
        }
    }
}

#[test]
fn of_a_time_zone_it_is_the_parts_of_its_clock() {
    // 2024-03-01 00:30 in a zone that is two hours ahead is 22:30 of 29 February elsewhere.
    let moment = TimestampMicrosecondArray::from(vec![(19_782 * 48 + 45) * 1_800_000_000]);
    let parts = json!(["month", "day", "day_of_week", "hour"]);
    let of = |column: ArrayRef| columns(&learned(&parts, &Value::Null, &column), &column).concat();
    assert_eq!(of(Arc::new(moment.clone())), [2.0, 29.0, 3.0, 22.0]);
    assert_eq!(of(Arc::new(moment.with_timezone("+02:00"))), [3.0, 1.0, 4.0, 0.0]);
}

#[test]
fn the_most_frequent_of_many_values_have_a_column() {
    // 150 values: those from 75 on stand twice.
    let names: Vec<String> = (0..150).map(|value| format!("v{value:03}")).collect();
    let twice = names[75..].iter().chain(&names).map(String::as_str).collect::<Vec<_>>();
    let (frame, notes) = learned_with_notes(&json!("one_hot"), &Value::Null, &texts(&twice), None).unwrap();
    assert_eq!(
        notes,
        ["`x` has 150 different values: the 100 most frequent have a column, the rest is `other`"]
    );
    // Of equally frequent ones the first by name.
    let kept = (0..25).chain(75..150).map(|value| format!("x=v{value:03}"));
    assert_eq!(frame.columns(), kept.chain(["x=(other)".to_owned()]).collect::<Vec<_>>());
    assert_eq!(frame.width(), 101);
    let asked = columns(&frame, &texts(&["v024", "v025", "v149", "v150"]));
    let place = |row: usize| asked.iter().position(|column| column[row] == 1.0);
    assert_eq!([place(0), place(1), place(2), place(3)], [Some(24), Some(100), Some(99), Some(100)]);
    let (_, notes) =
        learned_with_notes(&json!("one_hot"), &Value::Null, &texts(&twice[..100]), None).unwrap();
    assert_eq!(notes.len(), 0);
}

#[test]
fn more_values_than_can_be_kept_are_refused_by_name() {
    let many: ArrayRef =
        Arc::new(StringArray::from_iter_values((0..=LEVELS_MAX).map(|value| value.to_string())));
    for encode in ["ordinal", "target", "one_hot"] {
        let target = vec![1.0; many.len()];
        let error = learned_with_notes(&json!(encode), &Value::Null, &many, Some(&target)).unwrap_err();
        assert_eq!(error.code(), codes::PREDICTOR_DATA);
        assert_eq!(error.message(), "the feature `x` has more than 1000000 different values");
        assert!(error.hint_text().unwrap().contains("make groups"), "{error}");
    }
    let most = many.slice(0, LEVELS_MAX);
    assert_eq!(learned(&json!("ordinal"), &Value::Null, &most).width(), 1);
}

#[test]
fn the_bytes_of_a_matrix_are_known_before_it_is_made() {
    let known = texts(&["a", "b", "c"]);
    let frame = learned(&json!("one_hot"), &Value::Null, &known);
    let matrix = frame.matrix(&rows(&known)).unwrap();
    assert_eq!(frame.bytes(3), (matrix.len() * size_of::<f64>()) as u64);
    assert_eq!(frame.bytes(usize::MAX), u64::MAX);
}
