//! What every forecaster must bear, beside what `contract.rs` asks of all algorithms.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use lagar_flow::codes;
use lagar_ml::{ALGORITHMS, Series, Task};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;
use serde_json::json;

/// Each either has a future of finite values within their intervals, or is refused by name; nothing panics.
#[test]
fn odd_series_have_a_future_or_are_refused_by_name() {
    let mut random = Xoshiro256Plus::seed_from_u64(9);
    let mut noise = |n: usize| -> Vec<f64> { (0..n).map(|_| random.gen_range(-1.0..1.0)).collect() };
    let mut odd: Vec<(&str, Vec<f64>)> = Vec::new();
    odd.push(("zeros, and then something", {
        let mut values = vec![0.0; 70];
        values[55..].fill(3.0);
        values
    }));
    odd.push(("one value among zeros", {
        let mut values = vec![0.0; 60];
        values[30] = 1e9;
        values
    }));
    odd.push(("an outlier at the end", {
        let mut values = noise(60);
        values[59] = 1e12;
        values
    }));
    odd.push(("huge", noise(60).into_iter().map(|v| v * 1.7e308).collect()));
    odd.push(("huge and positive", noise(60).into_iter().map(|v| (v + 1.0) * 8e307).collect()));
    odd.push(("large", noise(60).into_iter().map(|v| v * 1e150).collect()));
    odd.push(("tiny", noise(60).into_iter().map(|v| v * 1e-300).collect()));
    odd.push(("subnormal", noise(60).into_iter().map(|v| v * 1e-310).collect()));
    odd.push(("growing by a factor", (0..60).map(|t| 10f64.powi(t * 5)).collect()));
    odd.push(("vanishing by a factor", (0..60).map(|t| 10f64.powi(-t * 5)).collect()));
    odd.push(("to and fro", (0..61).map(|t| if t % 2 == 0 { 1.0 } else { -1.0 }).collect()));
    odd.push(("a step", (0..60).map(|t| if t < 30 { 1.0 } else { 1e6 }).collect()));
    odd.push(("an exact season", (0..60).map(|t| f64::from(t % 7) + 1.0).collect()));
    odd.push(("barely not constant", (0..60).map(|t| 1e9 + f64::from(t % 3) * 1e-7).collect()));
    for length in [1, 2, 3, 5, 8, 13, 16, 24, 25] {
        odd.push(("short", noise(length)));
        odd.push(("short and positive", noise(length).into_iter().map(|v| v + 2.0).collect()));
    }
    for entry in ALGORITHMS.iter().filter(|entry| entry.task == Task::Forecast) {
        let params = entry.params(&json!({})).unwrap();
        for (name, values) in &odd {
            for season in [0, 1, 2, 7, 12, 1_000_000, usize::MAX] {
                let series = Series { values, season, seed: 1 };
                let what = format!("{} of `{name}` ({} values), season {season}", entry.name, values.len());
                match entry.forecast(&params, &series, 20, 0.95) {
                    Ok(got) => {
                        assert_eq!(got.values.len(), 20, "{what}");
                        for at in 0..20 {
                            let (lower, value, upper) = (got.lower[at], got.values[at], got.upper[at]);
                            assert!(lower.is_finite() && upper.is_finite(), "{what}: {got:?}");
                            assert!(lower <= value && value <= upper, "{what}: {got:?}");
                        }
                        serde_json::to_string(&got).unwrap();
                    }
                    Err(error) => {
                        assert_eq!(error.code(), codes::PREDICTOR_DATA, "{what}: {error}");
                        assert!(error.message().bytes().any(|byte| byte.is_ascii_digit()), "{what}: {error}");
                    }
                }
            }
        }
    }
}

/// What is twice as large has a future that is twice as large: nothing depends on the unit.
#[test]
fn the_unit_does_not_matter() {
    let mut random = Xoshiro256Plus::seed_from_u64(4);
    let values: Vec<f64> =
        (0..90).map(|t| 30.0 + f64::from(t % 7) * 2.0 + random.gen_range(-1.0..1.0)).collect();
    let larger: Vec<f64> = values.iter().map(|v| v * 1024.0).collect();
    for entry in ALGORITHMS.iter().filter(|entry| entry.task == Task::Forecast) {
        let params = entry.params(&json!({})).unwrap();
        let ahead = |values: &[f64]| {
            entry.forecast(&params, &Series { values, season: 7, seed: 1 }, 10, 0.9).unwrap()
        };
        let (one, other) = (ahead(&values), ahead(&larger));
        for (a, b) in [(&one.values, &other.values), (&one.lower, &other.lower), (&one.upper, &other.upper)] {
            assert!(a.iter().zip(b).all(|(a, b)| (a * 1024.0 / b - 1.0).abs() < 1e-6), "{}", entry.name);
        }
    }
}
