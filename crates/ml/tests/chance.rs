//! What is claimed: of pure noise hardly ever anything, of a structure that is there nearly always that there is one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch},
    datatypes::Float64Type,
};
use lagar_ml::{
    Learned, Lesson, Spec, Task,
    judge::{Measures, find, metric},
    judged::Judged,
    train,
};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;
use serde_json::{Value, json};

/// So many of 60 may be claimed of noise: if each has one chance in 40, more are claimed once in 200 times.
const BY_CHANCE: usize = 5;

fn learn(keys: &Value, rows: &RecordBatch) -> Learned {
    let spec: Spec = serde_json::from_value(keys.clone()).unwrap();
    let rows_of_table = rows.num_rows() as u64;
    let lesson =
        Lesson { spec: &spec, rows, version: 1, rows_of_table, threads: 2, memory: u64::MAX, before: None };
    train(&lesson).unwrap()
}

fn normal(random: &mut Xoshiro256Plus) -> f64 {
    (0..12).map(|_| random.gen_range(0.0..1.0)).sum::<f64>() - 6.0
}

/// Whether it is better than all its baselines by this metric: as the figures are, and by more than chance.
fn claims(judged: &Judged, name: &str) -> (bool, bool) {
    let metric = find(judged.measures.as_ref().unwrap().task(), name).unwrap();
    let own = metric.of(judged.measures.as_ref().unwrap()).unwrap();
    let beaten = |clearly: bool| {
        judged.baselines.iter().filter(|baseline| baseline.stands_for(metric)).all(|baseline| {
            let other = metric.of(&baseline.measures).unwrap();
            let margin = if clearly { baseline.margins.of(metric) } else { Some(0.0) };
            metric.better(own, other) && margin.is_some_and(|margin| (own - other).abs() > margin)
        })
    };
    (beaten(false), beaten(true))
}

/// Rows of a class by chance, of which `x` says `signal` and `z` nothing.
fn coins(rows: i32, signal: f64, seed: u64) -> RecordBatch {
    let mut random = Xoshiro256Plus::seed_from_u64(seed);
    let usual = if seed.is_multiple_of(2) { 0.0 } else { 0.8 };
    let (mut x, mut z, mut heads) = (vec![], vec![], vec![]);
    for _ in 0..rows {
        let (one, other) = (normal(&mut random), normal(&mut random));
        let share = 1.0 / (1.0 + (usual - signal * one).exp());
        x.push(one);
        z.push(other);
        heads.push(random.gen_bool(share));
    }
    RecordBatch::try_from_iter([
        ("day", Arc::new(Date32Array::from((0..rows).collect::<Vec<_>>())) as ArrayRef),
        ("x", Arc::new(Float64Array::from(x))),
        ("z", Arc::new(Float64Array::from(z))),
        ("heads", Arc::new(BooleanArray::from(heads))),
    ])
    .unwrap()
}

/// By time, or by the hash of the row.
fn classifier(algorithm: &str, params: Value, by_time: bool) -> Value {
    let mut keys = json!({
        "algorithm": algorithm, "from": "refined.x", "target": "heads", "features": ["x", "z"], "params": params,
        "promote": {"metric": "balanced_accuracy"}, "split": {"validate": 0.0, "test": 0.3},
    });
    if by_time {
        keys["time"] = json!("day");
    }
    keys
}

const METRICS: [&str; 4] = ["balanced_accuracy", "accuracy", "log_loss", "roc_auc"];

#[test]
fn of_noise_hardly_any_classifier_claims_to_know_more_than_the_majority() {
    for keys in [
        classifier("decision_tree", json!({"max_depth": 4}), true),
        classifier("random_forest", json!({"trees": 5, "max_depth": 4}), true),
        classifier("gaussian_naive_bayes", json!({}), false),
        classifier("nearest_neighbours", json!({}), false),
    ] {
        let (mut better, mut clearly, mut promoted) = ([0; 4], [0; 4], 0);
        for seed in 0..60 {
            let learned = learn(&keys, &coins(400, 0.0, seed));
            for (at, name) in METRICS.into_iter().enumerate() {
                let (by_figures, by_more) = claims(&learned.predictor.judged, name);
                better[at] += usize::from(by_figures);
                clearly[at] += usize::from(by_more);
            }
            let why = &learned.verdict.why;
            promoted += usize::from(learned.verdict.promoted);
            assert_eq!(learned.verdict.promoted, why.starts_with("promoted: balanced_accuracy"), "{why}");
            assert_eq!(learned.verdict.promoted, claims(&learned.predictor.judged, METRICS[0]).1, "{why}");
        }
        // As the figures are, half of those that do not always answer the same are better.
        assert!(better[0] > 10, "{}: {better:?}", keys["algorithm"]);
        assert!(clearly.iter().all(|claims| *claims <= BY_CHANCE), "{}: {clearly:?}", keys["algorithm"]);
        assert_eq!(promoted, clearly[0]);
    }
}

/// Where the second class has fewer rows the majority never answers it: it finds none, and whoever guesses finds some.
const OF_THE_SECOND: [&str; 4] = ["macro_f1", "f1", "precision", "recall"];

#[test]
fn of_noise_hardly_any_classifier_is_promoted_for_answers_that_the_majority_never_gives() {
    for name in OF_THE_SECOND {
        let mut keys = classifier("decision_tree", json!({"max_depth": 4}), true);
        keys["promote"] = json!({"metric": name});
        let promoted =
            |seed: &u64| learn(&keys, &coins(400, 0.0, *seed)).verdict.why.starts_with("promoted: ");
        let promoted = (0..60).filter(promoted).count();
        assert!(promoted <= BY_CHANCE, "{name}: {promoted} of 60");
        let signal = |seed: &u64| learn(&keys, &coins(400, 2.0, *seed)).verdict.promoted;
        // Where the second class has most rows the majority finds all of them.
        let promoted = (100..140).filter(|seed| seed % 2 == 1).filter(signal).count();
        assert!(promoted >= 18, "{name}: {promoted} of 20");
    }
}

#[test]
fn what_the_rows_say_is_claimed_by_nearly_all() {
    for keys in [
        classifier("logistic", json!({}), true),
        classifier("random_forest", json!({"trees": 20, "max_depth": 3}), true),
        classifier("gaussian_naive_bayes", json!({}), false),
    ] {
        let mut clearly = [0; 4];
        for seed in 0..20 {
            let learned = learn(&keys, &coins(400, 2.0, 100 + seed));
            for (at, name) in METRICS.into_iter().enumerate() {
                clearly[at] += usize::from(claims(&learned.predictor.judged, name).1);
            }
        }
        assert!(clearly.iter().all(|claims| *claims >= 18), "{}: {clearly:?}", keys["algorithm"]);
    }
}

#[test]
fn of_noise_no_line_claims_to_know_more_than_the_mean() {
    let mut claimed = 0;
    for seed in 0..60 {
        let rows = coins(300, 0.0, 200 + seed);
        let keys = json!({"algorithm": "linear", "from": "refined.x", "target": "z", "features": ["x"]});
        let judged = learn(&keys, &rows).predictor.judged;
        claimed += ["rmse", "mae", "r2"].into_iter().filter(|name| claims(&judged, name).1).count();
    }
    assert!(claimed <= 3 * BY_CHANCE, "{claimed}");
}

/// Of a number that is seldom large its mean is no good guess: most rows are below.
#[test]
fn of_noise_hardly_any_guess_near_the_median_is_promoted() {
    for name in ["mae", "mape", "median_absolute_error"] {
        let keys = json!({"algorithm": "svr", "from": "refined.x", "target": "y", "features": ["x"],
            "split": {"validate": 0.0, "test": 0.3}, "promote": {"metric": name}});
        let mut promoted = 0;
        for seed in 0..60 {
            let rows = coins(400, 0.0, 300 + seed);
            let z = rows.column_by_name("z").unwrap().as_primitive::<Float64Type>();
            let y: ArrayRef = Arc::new(Float64Array::from_iter_values(z.values().iter().map(|z| z.exp())));
            let x = rows.column_by_name("x").unwrap().clone();
            let rows = RecordBatch::try_from_iter([("x", x), ("y", y)]).unwrap();
            promoted += usize::from(learn(&keys, &rows).verdict.promoted);
        }
        assert!(promoted <= BY_CHANCE, "{name}: {promoted} of 60");
    }
}

const DAYS: i32 = 730;

/// Two years, day by day: so many more cases at weekends, a wave over the year, and noise of a deviation of 5.
/// `high`: more cases than is usual at that time of the year; `flat`: the noise alone.
fn two_years(seed: u64) -> RecordBatch {
    let mut random = Xoshiro256Plus::seed_from_u64(seed);
    let (mut cases, mut high, mut flat) = (vec![], vec![], vec![]);
    for day in 0..DAYS {
        let week = [0.0, 0.0, 0.0, 0.0, 10.0, 30.0, 25.0][day as usize % 7];
        let year = 20.0 * (f64::from(day) / 365.25 * std::f64::consts::TAU).sin();
        let noise = 5.0 * normal(&mut random);
        cases.push(100.0 + week + year + noise);
        high.push(week + noise > 10.0);
        flat.push(100.0 + 5.0 * normal(&mut random));
    }
    RecordBatch::try_from_iter([
        ("day", Arc::new(Date32Array::from((19_000..19_000 + DAYS).collect::<Vec<_>>())) as ArrayRef),
        ("weekday", Arc::new(Int64Array::from_iter_values((0..DAYS).map(|day| i64::from(day % 7))))),
        ("day_of_year", Arc::new(Int64Array::from_iter_values((0..DAYS).map(|day| i64::from(day % 365))))),
        ("high", Arc::new(BooleanArray::from(high))),
        ("cases", Arc::new(Float64Array::from(cases))),
        ("flat", Arc::new(Float64Array::from(flat))),
    ])
    .unwrap()
}

#[test]
fn of_two_years_a_classifier_knows_more_than_the_majority() {
    let keys = json!({
        "algorithm": "random_forest", "from": "refined.x", "target": "high", "time": "day",
        "features": ["weekday", "day_of_year"], "params": {"trees": 10, "max_depth": 6}, "seed": 1,
        "promote": {"metric": "balanced_accuracy"},
    });
    for seed in 0..10 {
        let learned = learn(&keys, &two_years(seed));
        assert!(learned.verdict.promoted, "{seed}: {}", learned.verdict.why);
        let judged = &learned.predictor.judged;
        let of = |measures| metric(measures, "balanced_accuracy").unwrap();
        let (own, majority) = (of(judged.measures.as_ref().unwrap()), of(&judged.baselines[0].measures));
        assert_eq!((judged.baselines[0].name.as_str(), majority), ("majority", 0.5));
        assert!(own > 0.7, "{seed}: {own}");
    }
}

fn ahead(algorithm: &str, target: &str) -> Value {
    json!({
        "algorithm": algorithm, "from": "refined.x", "target": target, "time": "day", "horizon": 7, "season": 7,
        "promote": {"metric": "mase"},
    })
}

#[test]
fn of_two_years_a_forecast_knows_more_than_the_last_value() {
    let mase = find(Task::Forecast, "mase").unwrap();
    let mut promoted = 0;
    for seed in 0..10 {
        let learned = learn(&ahead("auto_ets", "cases"), &two_years(seed));
        let overall = learned.predictor.judged.forecast.unwrap().overall;
        let names: Vec<&str> = overall.baselines.iter().map(|one| one.algorithm.as_str()).collect();
        assert_eq!(names, ["last_value", "seasonal_last_value", "drift", "moving_mean", "mean"]);
        let last = &overall.baselines[0];
        let gain = mase.of_forecasts(&last.scores).unwrap() - mase.of_forecasts(&overall.scores).unwrap();
        let margin = last.margins.of(mase).unwrap();
        assert!(gain > margin, "{seed}: {gain} and {margin}");
        promoted += usize::from(learned.verdict.promoted);
    }
    // Of all baselines; that of the season is hard to tell from the best there is by 70 values.
    assert!(promoted >= 6, "{promoted} of 10");
}

#[test]
fn of_two_years_of_noise_no_forecast_claims_anything() {
    for algorithm in ["auto_ets", "lag_regression", "mstl"] {
        let mut promoted = 0;
        for seed in 0..10 {
            let learned = learn(&ahead(algorithm, "flat"), &two_years(seed));
            promoted += usize::from(learned.verdict.promoted);
        }
        assert!(promoted <= 1, "{algorithm}: {promoted} of 10");
    }
}

/// Two clouds apart along one of two columns that vary; a third column does not matter.
fn clouds() -> RecordBatch {
    let mut random = Xoshiro256Plus::seed_from_u64(5);
    let (mut a, mut b, mut c) = (vec![], vec![], vec![]);
    for row in 0..300 {
        let side = if row % 3 == 0 { 10.0 } else { 0.0 };
        let along = side + normal(&mut random);
        a.push(along);
        b.push(0.8 * along + normal(&mut random));
        c.push(0.1 * normal(&mut random));
    }
    RecordBatch::try_from_iter([
        ("c", Arc::new(Float64Array::from(c)) as ArrayRef),
        ("a", Arc::new(Float64Array::from(a))),
        ("b", Arc::new(Float64Array::from(b))),
    ])
    .unwrap()
}

#[test]
fn what_has_no_right_answers_stands_beside_trivial_predictors_too() {
    let learned = |keys: Value| learn(&keys, &clouds());
    let named = |judged: &Judged, name: &str| {
        let baseline = judged.baselines.iter().find(|baseline| baseline.name == name);
        baseline.unwrap_or_else(|| panic!("no {name}")).measures.clone()
    };
    // Groups of the same sizes by chance are not apart; one group is as wide as all rows are.
    let keys = json!({"algorithm": "k_means", "from": "refined.x", "params": {"clusters": 2},
        "promote": {"metric": "silhouette"}});
    let Learned { predictor, verdict } = learned(keys.clone());
    assert!(verdict.promoted, "{}", verdict.why);
    let own = predictor.judged.measures.clone().unwrap();
    let (chance, one) = (named(&predictor.judged, "by chance"), named(&predictor.judged, "one group"));
    let sizes = |measures: &Measures| match measures {
        Measures::Clustering(measures) => measures.sizes.iter().map(|size| size.rows).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(sizes(&chance), sizes(&own));
    assert!(metric(&own, "silhouette").unwrap() > 0.6 && metric(&chance, "silhouette").unwrap() < 0.1);
    assert_eq!((metric(&one, "silhouette"), metric(&chance, "inertia")), (None, None));
    assert!(metric(&one, "inertia").unwrap() > 4.0 * metric(&own, "inertia").unwrap());
    assert_eq!(predictor, learned(keys.clone()).predictor);
    // Rows in no group are no merit, and no fault.
    let keys = json!({"algorithm": "dbscan", "from": "refined.x", "promote": {"metric": "noise"}});
    assert!(learned(keys).verdict.promoted);

    let keys = json!({"algorithm": "pca", "from": "refined.x", "params": {"components": 1},
        "promote": {"metric": "explained"}});
    let Learned { predictor, verdict } = learned(keys);
    assert!(verdict.promoted, "{}", verdict.why);
    let explained = |measures: &Measures| metric(measures, "explained").unwrap();
    let columns = explained(&named(&predictor.judged, "columns"));
    // `a`, of which `b` follows for the most part.
    assert!(columns > 0.9 && columns < explained(predictor.judged.measures.as_ref().unwrap()), "{columns}");
    // All columns are not fewer.
    let keys = json!({"algorithm": "pca", "from": "refined.x", "params": {"components": 3},
        "promote": {"metric": "explained"}});
    assert!(!learned(keys).verdict.promoted);

    let keys =
        json!({"algorithm": "isolation_forest", "from": "refined.x", "params": {"contamination": 0.05}});
    let judged = learned(keys).predictor.judged;
    assert!(matches!(named(&judged, "iqr"), Measures::Outliers(measures) if measures.share < 0.1));
}
