//! From a table of series to a table of forecasts. (`../forecasts.rs` asks the forecasters themselves.)

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, AsArray, Date32Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
    },
    compute::concat_batches,
    datatypes::{Float64Type, TimestampMicrosecondType},
};
use lagar_flow::codes;
use lagar_ml::{Predictor, Spec};
use serde_json::{Value, json};

use crate::support::{changed, daily, future, learn, refused, spec, table, with};

#[test]
fn a_forecast_is_a_table_with_a_row_for_each_series_and_step() {
    let learned = learn(&spec(future()), &daily(&[("a", 420), ("bb", 400)])).unwrap();
    assert!(learned.verdict.promoted, "{}", learned.verdict.why);
    let text = serde_json::to_string(&learned.predictor).unwrap();
    let predictor = Predictor::read(&serde_json::from_str(&text).unwrap()).unwrap();
    let forecasts = predictor.forecasts.unwrap();
    let rows = forecasts.batch(None).unwrap();
    assert_eq!(rows.num_rows(), 14);
    let schema = rows.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["place", "day", "step", "value", "lower", "upper"]);
    let days = rows.column(1).as_primitive::<arrow::datatypes::Date32Type>();
    assert_eq!((days.value(0), days.value(6), days.value(7)), (420, 426, 400));
    let wave = |day: f64| 50.0 + 20.0 * (day / 7.0 * std::f64::consts::TAU).sin();
    let values = rows.column(3).as_primitive::<Float64Type>();
    for row in 0..14 {
        let expected = wave(f64::from(days.value(row)));
        assert!((values.value(row) - expected).abs() < 3.0, "{row}: {} and {expected}", values.value(row));
    }
    assert_eq!(forecasts.batch(Some(2)).unwrap().num_rows(), 4);
    assert_eq!(forecasts.batch(Some(8)).unwrap_err().code(), codes::PREDICTOR_DATA);
}

#[test]
fn gaps_doubles_and_short_series_are_told_by_name() {
    let rows = daily(&[("a", 60)]);
    let gap = concat_batches(&rows.schema(), &[rows.slice(0, 30), rows.slice(31, 29)]).unwrap();
    let error = refused(&spec(future()), &gap);
    assert!(error.message().contains("`a` is not evenly spaced: 1970-01-30"), "{error}");
    let double = concat_batches(&rows.schema(), &[rows.clone(), rows.slice(5, 1)]).unwrap();
    assert!(refused(&spec(future()), &double).message().contains("two values for 1970-01-06"));
    let learned =
        learn(&spec(changed(future(), "promote", Value::Null)), &daily(&[("a", 100), ("bb", 1)])).unwrap();
    assert_eq!(learned.predictor.forecasts.as_ref().unwrap().series.len(), 1);
    assert!(
        learned.predictor.notes.iter().any(|note| note.contains("`bb`")),
        "{:?}",
        learned.predictor.notes
    );
}

/// A place that is new has a forecast from its second value on, if that is asked for, and is counted.
#[test]
fn a_series_that_is_too_short_has_the_forecast_that_it_falls_back_to() {
    let rows = daily(&[("a", 100), ("bb", 3), ("ccc", 1)]);
    let keys = changed(changed(future(), "promote", Value::Null), "fallback", json!("last_value"));
    let predictor = learn(&spec(keys.clone()), &rows).unwrap().predictor;
    let forecasts = predictor.forecasts.as_ref().unwrap();
    let by: Vec<Option<&str>> = forecasts.series.iter().map(|series| series.by.as_deref()).collect();
    assert_eq!(by, [None, Some("last_value")]);
    let last = rows.column(2).as_primitive::<Float64Type>().value(102);
    assert_eq!(forecasts.series[1].forecast.values, [last; 7]);
    assert_eq!(forecasts.batch(None).unwrap().num_rows(), 14);
    for note in [
        "`last_value` made the forecast of 1 series, such as the series `bb`: ",
        "no forecast of 1 series, such as the series `ccc`: ",
    ] {
        assert!(predictor.notes.iter().any(|told| told.starts_with(note)), "{:?}", predictor.notes);
    }
    for (other, says) in [
        ("last_valu", "is not an algorithm"),
        ("ridge", "makes no forecasts"),
        ("auto_ets", "is the algorithm itself"),
    ] {
        let spec: Spec = serde_json::from_value(changed(keys.clone(), "fallback", json!(other))).unwrap();
        let problems = spec.problems();
        assert_eq!(problems[0].0, ["fallback"]);
        assert!(problems[0].1.message().contains(says), "{}", problems[0].1);
    }
}

/// What fails for another reason wants a look at the settings or the values: it is not papered over.
#[test]
fn only_what_is_too_short_falls_back() {
    let keys = changed(changed(future(), "promote", Value::Null), "fallback", json!("last_value"));
    // A multiplicative error asks for values above 0.
    let rows = daily(&[("a", 100), ("bb", 100), ("ccc", 3)]);
    let mut values = rows.column(2).as_primitive::<Float64Type>().values().to_vec();
    values[150] = 0.0;
    let rows = with(&rows, "cases", Arc::new(Float64Array::from(values)));
    let predictor = learn(&spec(changed(keys, "params", json!({"spec": "MNN"}))), &rows).unwrap().predictor;
    let series = &predictor.forecasts.as_ref().unwrap().series;
    let by: Vec<_> = series.iter().map(|one| (one.key[0].as_deref().unwrap(), one.by.as_deref())).collect();
    assert_eq!(by, [("a", None), ("ccc", Some("last_value"))]);
    let note = "no forecast of 1 series, such as the series `bb`: no `auto_ets` of the spec `MNN` fits";
    assert!(predictor.notes.iter().any(|told| told.starts_with(note)), "{:?}", predictor.notes);
}

#[test]
fn numbers_farther_apart_than_a_number_can_say_are_not_evenly_spaced() {
    let keys = json!({"algorithm": "last_value", "from": "refined.x", "target": "cases", "time": "at", "horizon": 2});
    for times in [vec![i64::MIN, 5], vec![i64::MIN, 0, i64::MAX], vec![-2, i64::MAX]] {
        let cases: Vec<i64> = (0..times.len() as i64).collect();
        let rows = table(vec![
            ("at", Arc::new(Int64Array::from(times.clone())) as ArrayRef),
            ("cases", Arc::new(Int64Array::from(cases))),
        ]);
        let error = refused(&spec(keys.clone()), &rows);
        assert_eq!(error.code(), codes::PREDICTOR_DATA, "{error}");
        let says = format!("the series is not evenly spaced: {} is followed by {}", times[0], times[1]);
        assert_eq!(error.message(), says);
    }
}

/// Of two values alone nobody knows whether they are 31 days or a month apart: the other series say so.
#[test]
fn a_series_of_two_values_has_the_step_of_the_others() {
    let day = |y, m, d| {
        let epoch = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        chrono::NaiveDate::from_ymd_opt(y, m, d).unwrap().signed_duration_since(epoch).num_days() as i32
    };
    let keys = json!({"algorithm": "last_value", "from": "refined.x", "target": "cases", "time": "day",
        "series": ["place"], "horizon": 1});
    let learned = |series: &[(&str, Vec<i32>)]| {
        let places: Vec<&str> =
            series.iter().flat_map(|(place, days)| std::iter::repeat_n(*place, days.len())).collect();
        let days: Vec<i32> = series.iter().flat_map(|(_, days)| days.iter().copied()).collect();
        let rows = table(vec![
            ("place", Arc::new(StringArray::from(places)) as ArrayRef),
            ("cases", Arc::new(Int64Array::from_iter_values(0..days.len() as i64))),
            ("day", Arc::new(Date32Array::from(days))),
        ]);
        learn(&spec(keys.clone()), &rows).map(|learned| {
            let rows = learned.predictor.forecasts.unwrap().batch(None).unwrap();
            rows.column(1).as_primitive::<arrow::datatypes::Date32Type>().values().to_vec()
        })
    };
    let every = |first: i32, step: i32| (0..9).map(|at| first + at * step).collect::<Vec<i32>>();
    for (step, two, next) in [
        (28, vec![day(2023, 2, 1), day(2023, 3, 1)], day(2023, 3, 29)),
        (30, vec![day(2023, 4, 1), day(2023, 5, 1)], day(2023, 5, 31)),
        (31, vec![day(2023, 7, 31), day(2023, 8, 31)], day(2023, 10, 1)),
    ] {
        let others = every(day(2023, 1, 3), step);
        let after = others[8] + step;
        assert_eq!(learned(&[("a", two.clone()), ("b", others.clone())]).unwrap(), [next, after], "{step}");
        assert_eq!(learned(&[("a", others), ("b", two)]).unwrap(), [after, next], "{step}");
    }
    // Of months, and of those that begin on the 30th and not on the last day.
    let months = vec![day(2023, 1, 1), day(2023, 2, 1), day(2023, 3, 1)];
    let two = vec![day(2023, 2, 1), day(2023, 3, 1)];
    assert_eq!(learned(&[("a", two), ("b", months)]).unwrap(), [day(2023, 4, 1); 2]);
    let months = vec![day(2023, 4, 30), day(2023, 6, 30), day(2023, 8, 30)];
    let two = vec![day(2023, 4, 30), day(2023, 6, 30)];
    assert_eq!(learned(&[("a", two), ("b", months)]).unwrap(), [day(2023, 8, 30), day(2023, 10, 30)]);
    // What really differs is told: not by the series that both would go with.
    let (two, months) = (vec![day(2023, 7, 1), day(2023, 8, 1)], every(day(2023, 1, 3), 31));
    let calendar = vec![day(2023, 1, 1), day(2023, 2, 1), day(2023, 3, 1)];
    let error = learned(&[("a", two), ("b", months), ("c", calendar)]).unwrap_err();
    assert_eq!(error.message(), "the series `b` and the series `c` have different steps of time");
    assert!(error.hint_text().is_some(), "{error}");
}

/// Where nothing repeats they would be a last value, or nothing, without a word.
#[test]
fn what_repeats_a_season_needs_one() {
    for (algorithm, params, is_wrong) in [
        ("seasonal_last_value", json!({}), true),
        ("mstl", json!({}), true),
        ("mstl", json!({"periods": [7]}), false),
        ("auto_ets", json!({}), false),
    ] {
        let keys = changed(changed(future(), "algorithm", json!(algorithm)), "params", params);
        for (season, is_wrong) in [(json!(7), false), (json!(1), is_wrong), (Value::Null, is_wrong)] {
            let spec: Spec = serde_json::from_value(changed(keys.clone(), "season", season)).unwrap();
            let problems = spec.problems();
            assert_eq!(problems.len(), usize::from(is_wrong), "{algorithm}: {problems:?}");
            assert!(problems.iter().all(|(_, error)| error.message().contains("needs a `season`")));
        }
    }
}

/// Every ten minutes, over midnight and the hour that a clock in Europe has twice, with and without a zone.
#[test]
fn minutes_are_stepped_to_the_microsecond() {
    let minute = 60_000_000_i64;
    // 2026-10-24 22:00 UTC.
    let first = 1_792_879_200_000_000_i64;
    let times: Vec<i64> = (0..40).map(|step| first + step * 10 * minute).collect();
    let keys =
        json!({"algorithm": "drift", "from": "refined.x", "target": "cases", "time": "at", "horizon": 3});
    for zone in [None, Some("UTC"), Some("Europe/Berlin")] {
        let at = TimestampMicrosecondArray::from(times.clone()).with_timezone_opt(zone);
        let rows = table(vec![
            ("at", Arc::new(at) as ArrayRef),
            ("cases", Arc::new(Int64Array::from((0..40).collect::<Vec<i64>>()))),
        ]);
        let rows =
            learn(&spec(keys.clone()), &rows).unwrap().predictor.forecasts.unwrap().batch(None).unwrap();
        let at = rows.column(0).as_primitive::<TimestampMicrosecondType>();
        assert_eq!(at.timezone(), zone);
        assert_eq!(at.values().to_vec(), [40, 41, 42].map(|step| first + step * 10 * minute));
        assert_eq!(rows.column(2).as_primitive::<Float64Type>().values().to_vec(), [40.0, 41.0, 42.0]);
    }
    // A minute that is missing is told by its time.
    let gap: Vec<i64> = times.iter().copied().filter(|at| *at != times[13]).collect();
    let rows = table(vec![
        ("at", Arc::new(TimestampMicrosecondArray::from(gap)) as ArrayRef),
        ("cases", Arc::new(Int64Array::from((0..39).collect::<Vec<i64>>()))),
    ]);
    let error = refused(&spec(keys), &rows);
    assert!(
        error.message().contains("2026-10-25 00:00:00 UTC is followed by 2026-10-25 00:20:00"),
        "{error}"
    );
}

#[test]
fn months_are_stepped_by_the_calendar() {
    let first = |month: i32| {
        let date = chrono::NaiveDate::from_ymd_opt(2020 + month / 12, (month % 12 + 1) as u32, 1).unwrap();
        date.signed_duration_since(chrono::NaiveDate::from_ymd_opt(1970, 1, 1).unwrap()).num_days() as i32
    };
    let rows = table(vec![
        ("month", Arc::new(Date32Array::from((0..36).map(first).collect::<Vec<_>>())) as ArrayRef),
        ("cases", Arc::new(Int64Array::from((0..36).collect::<Vec<i64>>()))),
    ]);
    let keys =
        json!({"algorithm": "drift", "from": "refined.x", "target": "cases", "time": "month", "horizon": 3});
    let rows = learn(&spec(keys), &rows).unwrap().predictor.forecasts.unwrap().batch(None).unwrap();
    let days = rows.column(0).as_primitive::<arrow::datatypes::Date32Type>();
    assert_eq!(days.values().to_vec(), [first(36), first(37), first(38)]);
    assert_eq!(rows.column(2).as_primitive::<Float64Type>().values().to_vec(), [36.0, 37.0, 38.0]);
    // The last days of months: after 28 February comes 31 March. And two months of 31 days are months, too.
    let day = |y, m, d| {
        let epoch = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        chrono::NaiveDate::from_ymd_opt(y, m, d).unwrap().signed_duration_since(epoch).num_days() as i32
    };
    for (known, next) in [
        (vec![day(2022, 12, 31), day(2023, 1, 31), day(2023, 2, 28)], [day(2023, 3, 31), day(2023, 4, 30)]),
        (vec![day(2023, 7, 1), day(2023, 8, 1), day(2023, 9, 1)], [day(2023, 10, 1), day(2023, 11, 1)]),
        // Also where the first month is a short one, and of quarters.
        (vec![day(2010, 2, 28), day(2010, 3, 31), day(2010, 4, 30)], [day(2010, 5, 31), day(2010, 6, 30)]),
        (vec![day(2023, 4, 30), day(2023, 7, 31), day(2023, 10, 31)], [day(2024, 1, 31), day(2024, 4, 30)]),
        // The 28th of each month is no last day.
        (vec![day(2023, 2, 28), day(2023, 3, 28), day(2023, 4, 28)], [day(2023, 5, 28), day(2023, 6, 28)]),
    ] {
        let cases: Vec<i64> = (0..known.len() as i64).collect();
        let rows = table(vec![
            ("month", Arc::new(Date32Array::from(known)) as ArrayRef),
            ("cases", Arc::new(Int64Array::from(cases))),
        ]);
        let keys = json!({"algorithm": "drift", "from": "refined.x", "target": "cases", "time": "month", "horizon": 2});
        let rows = learn(&spec(keys), &rows).unwrap().predictor.forecasts.unwrap().batch(None).unwrap();
        let days = rows.column(0).as_primitive::<arrow::datatypes::Date32Type>();
        assert_eq!(days.values().to_vec(), next);
    }
}
