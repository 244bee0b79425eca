//! What the tests learn from, and how they ask for it.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray},
    compute::concat_batches,
};
use lagar_flow::{Error, JsonText};
use lagar_ml::{Learned, Lesson, Predictor, Spec, train};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;
use serde_json::{Value, json};

pub fn spec(keys: Value) -> Spec {
    let spec: Spec = serde_json::from_value(keys).unwrap();
    assert_eq!(
        spec.problems().iter().map(|(_, e)| e.message().to_owned()).collect::<Vec<_>>(),
        Vec::<String>::new()
    );
    spec
}

pub fn learn(spec: &Spec, rows: &RecordBatch) -> lagar_flow::Result<Learned> {
    learn_after(spec, rows, None)
}

pub fn learn_after(
    spec: &Spec,
    rows: &RecordBatch,
    before: Option<&Predictor>,
) -> lagar_flow::Result<Learned> {
    train(&Lesson { before, ..lesson(spec, rows) })
}

/// What is stored.
pub fn record_of(predictor: &Predictor) -> Value {
    predictor.to_json().unwrap().read().unwrap()
}

/// From what was stored, or written by hand.
pub fn read(record: &Value) -> lagar_flow::Result<Predictor> {
    Predictor::read(&JsonText::of(record).unwrap())
}

pub fn lesson<'a>(spec: &'a Spec, rows: &'a RecordBatch) -> Lesson<'a> {
    let rows_of_table = rows.num_rows() as u64;
    Lesson { spec, rows, version: 1, rows_of_table, threads: 2, memory: u64::MAX, before: None }
}

pub fn refused(spec: &Spec, rows: &RecordBatch) -> Error {
    learn(spec, rows).unwrap_err()
}

pub fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .unwrap()
}

pub fn with(rows: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let schema = rows.schema();
    let mut columns: Vec<(&str, ArrayRef)> =
        schema.fields().iter().zip(rows.columns()).map(|(f, c)| (f.name().as_str(), c.clone())).collect();
    match columns.iter_mut().find(|(known, _)| *known == name) {
        Some(known) => known.1 = column,
        None => columns.push((name, column)),
    }
    table(columns)
}

/// Two boroughs, a day each: the noise of a day is like that of the same weekday a week before, more in summer.
/// `high`: whether it is above what the borough is used to.
pub fn city(days: i32, seed: u64) -> RecordBatch {
    let mut random = Xoshiro256Plus::seed_from_u64(seed);
    let (mut day, mut borough, mut lag, mut weekday, mut high) = (vec![], vec![], vec![], vec![], vec![]);
    let mut before = [vec![], vec![]];
    for date in 0..days {
        for (place, name) in ["bronx", "queens"].into_iter().enumerate() {
            let usual = if place == 0 { 100.0 } else { 40.0 };
            let weekend = if date % 7 >= 5 { 1.5 } else { 1.0 };
            let summer = 1.0 + 0.1 * (f64::from(date) / 365.0 * std::f64::consts::TAU).sin();
            let cases = usual * weekend * summer + random.gen_range(-0.3..0.3) * usual;
            before[place].push(cases);
            day.push(19_000 + date);
            borough.push(name);
            weekday.push(i64::from(date % 7));
            let week_ago = before[place].len().checked_sub(8).map(|at| before[place][at]);
            lag.push(week_ago);
            high.push(cases > usual * 1.25);
        }
    }
    table(vec![
        ("day", Arc::new(Date32Array::from(day))),
        ("borough", Arc::new(StringArray::from(borough))),
        ("lag_7", Arc::new(Float64Array::from(lag))),
        ("weekday", Arc::new(Int64Array::from(weekday))),
        ("high", Arc::new(BooleanArray::from(high))),
    ])
}

pub fn noise() -> Value {
    json!({
        "algorithm": "random_forest", "from": "refined.noise", "target": "high", "time": "day",
        "features": {"except": ["day"]}, "group_by": "borough", "encode": {"borough": "one_hot"},
        "impute": {"lag_7": "median"}, "params": {"trees": 20, "max_depth": 6}, "seed": 42,
        "baseline_days": 7, "promote": {"metric": "balanced_accuracy"},
    })
}

pub fn changed(mut keys: Value, name: &str, value: Value) -> Value {
    keys[name] = value;
    keys
}

pub fn daily(series: &[(&str, i32)]) -> RecordBatch {
    let parts: Vec<RecordBatch> = series
        .iter()
        .map(|(name, days)| {
            let mut random = Xoshiro256Plus::seed_from_u64(name.len() as u64);
            let wave = |day: i32| 50.0 + 20.0 * (f64::from(day) / 7.0 * std::f64::consts::TAU).sin();
            let values: Vec<f64> = (0..*days).map(|day| wave(day) + random.gen_range(-1.0..1.0)).collect();
            table(vec![
                ("day", Arc::new(Date32Array::from((0..*days).collect::<Vec<_>>())) as ArrayRef),
                ("place", Arc::new(StringArray::from(vec![*name; *days as usize]))),
                ("cases", Arc::new(Float64Array::from(values))),
            ])
        })
        .collect();
    concat_batches(&parts[0].schema(), &parts).unwrap()
}

pub fn future() -> Value {
    json!({
        "algorithm": "auto_ets", "from": "refined.x", "target": "cases", "time": "day", "series": ["place"],
        "horizon": 7, "season": 7, "promote": {"metric": "mase"},
    })
}
