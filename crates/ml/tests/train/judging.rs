//! How good it is: what is chosen, measured beside baselines and by group, and promoted.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, StringArray, UInt32Array},
    compute::{filter_record_batch, take_record_batch},
    datatypes::Float64Type,
};
use lagar_ml::{JudgedOn, Learned, Predictor, Question, Scorer, Spec, judge::Measures, judged::Judged};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;
use serde_json::{Value, json};

use crate::support::{
    changed, city, daily, future, learn, learn_after, noise, read, record_of, spec, table, with,
};

#[test]
fn a_classifier_is_judged_beside_its_baselines_by_group_and_promoted() {
    let Learned { predictor, verdict } = learn(&spec(noise()), &city(400, 1)).unwrap();
    assert!(verdict.promoted, "{}", verdict.why);
    let judged = &predictor.judged;
    assert_eq!(judged.on, JudgedOn::Test);
    let names: Vec<&str> = judged.baselines.iter().map(|baseline| baseline.name.as_str()).collect();
    assert_eq!(names, ["majority", "7 days before", "by chance"]);
    let of_groups = judged.groups.iter().flat_map(|group| &group.baselines);
    assert!(judged.baselines.iter().chain(of_groups).all(|baseline| !baseline.margins.is_empty()));
    let groups: Vec<&str> = judged.groups.iter().map(|group| group.group.as_str()).collect();
    assert_eq!(groups, ["bronx", "queens"]);
    assert_eq!(judged.bias.as_ref().unwrap().groups.len(), 2);
    assert_eq!(predictor.classes(), ["false", "true"]);
    assert_eq!(predictor.learned_from.test_from.as_deref(), Some("2022-12-14"));
    assert_eq!(predictor.learned_from.rows + predictor.learned_from.rows_test, 800);
    assert_eq!(judged.importance.as_ref().unwrap().features[0].feature, "weekday");
    // As it is stored it is read, and answers.
    let stored = Predictor::read(&predictor.to_json().unwrap()).unwrap();
    assert_eq!(stored, predictor);
    let scorer = Scorer::new(stored).unwrap();
    let rows = city(30, 9);
    let answers = scorer.answer(Question::Answer, &rows).unwrap();
    assert_eq!(answers.data_type(), &arrow::datatypes::DataType::Boolean);
    let shares = scorer.answer(Question::Probability, &rows).unwrap();
    let shares = shares.as_primitive::<Float64Type>();
    for row in 0..rows.num_rows() {
        assert_eq!(answers.as_boolean().value(row), shares.value(row) > 0.5);
    }
    let of_class = scorer.probability_of("true", &rows).unwrap();
    assert_eq!(of_class.as_primitive::<Float64Type>(), shares);
}

#[test]
fn a_label_that_comes_only_in_the_test_counts_as_wrong() {
    let n = 300;
    let x: Vec<f64> = (0..n).map(f64::from).map(|v| (v * 0.7).sin()).collect();
    let mut kind: Vec<&str> = x.iter().map(|v| if *v > 0.0 { "up" } else { "down" }).collect();
    kind[n as usize - 1] = "sideways";
    let noisy: Vec<f64> =
        x.iter().enumerate().map(|(at, v)| v + if at % 5 == 0 { 1.0 } else { 0.0 }).collect();
    let rows = table(vec![
        ("day", Arc::new(Date32Array::from((0..n).collect::<Vec<_>>())) as ArrayRef),
        ("x", Arc::new(Float64Array::from(noisy))),
        ("kind", Arc::new(StringArray::from(kind))),
    ]);
    let keys = json!({"algorithm": "decision_tree", "from": "refined.x", "target": "kind", "time": "day"});
    let predictor = learn(&spec(keys), &rows).unwrap().predictor;
    assert_eq!(predictor.classes(), ["down", "up"]);
    let Some(lagar_ml::judge::Measures::Classification(measures)) = &predictor.judged.measures else {
        panic!()
    };
    assert_eq!(measures.confusion.len(), 3);
    assert_eq!(measures.confusion[1].iter().sum::<u64>(), 1, "{:?}", measures.confusion);
    assert_eq!(measures.confusion[1][1], 0);
}

#[test]
fn the_best_parameters_are_chosen_by_validation_rows_and_the_rest_is_told() {
    let keys = changed(noise(), "search", json!({"max_depth": [1, 6], "trees": [1, 20]}));
    let predictor = learn(&spec(keys), &city(300, 12)).unwrap().predictor;
    assert_eq!(predictor.tried.len(), 4);
    let best = predictor.tried.iter().filter_map(|tried| tried.value).fold(0.0, f64::max);
    let chosen = predictor.tried.iter().find(|tried| tried.params == predictor.params).unwrap();
    assert_eq!(chosen.value, Some(best));
    assert_eq!(chosen.metric, "balanced_accuracy");
    let wrong: Spec = serde_json::from_value(changed(noise(), "search", json!({"depth": [1]}))).unwrap();
    assert!(wrong.problems()[0].1.message().contains("depth"));
}

#[test]
fn a_worse_version_and_one_no_better_than_its_baseline_are_not_promoted() {
    let rows = city(400, 13);
    let alone = changed(noise(), "baseline_days", Value::Null);
    let good = learn(&spec(alone.clone()), &rows).unwrap().predictor;
    let weak = changed(alone, "features", json!(["lag_7"]));
    let after = learn_after(&spec(weak), &rows, Some(&good)).unwrap();
    assert!(
        !after.verdict.promoted && after.verdict.why.contains("worse than that of the current version"),
        "{}",
        after.verdict.why
    );
    // As good as the one before is good enough.
    assert!(learn_after(&spec(noise()), &rows, Some(&good)).unwrap().verdict.promoted);
    // Nothing can be learned from chance.
    let mut random = Xoshiro256Plus::seed_from_u64(14);
    let chance: Vec<bool> = (0..800).map(|_| random.gen_bool(0.3)).collect();
    let rows = with(&rows, "high", Arc::new(BooleanArray::from(chance)));
    let keys = changed(noise(), "promote", json!({"metric": "log_loss"}));
    let learned = learn(&spec(keys), &rows).unwrap();
    assert!(!learned.verdict.promoted && learned.verdict.why.contains("majority"), "{}", learned.verdict.why);
}

/// Why a version was not promoted stands in its record, also where the measure is not of its classes.
#[test]
fn a_record_keeps_why_it_was_not_promoted() {
    let rows = city(200, 31);
    let learned = learn(&spec(noise()), &rows).unwrap();
    let promotion = learned.predictor.promotion.unwrap();
    assert_eq!((promotion.promoted, promotion.why), (learned.verdict.promoted, learned.verdict.why));
    assert_eq!(promotion.metric, noise()["promote"]["metric"]);
    let unasked = learn(&spec(changed(noise(), "promote", Value::Null)), &rows).unwrap().predictor;
    assert_eq!(unasked.promotion, None);
    let weekday = rows.column_by_name("weekday").unwrap().clone();
    let keys = changed(changed(noise(), "promote", json!({"metric": "f1"})), "baseline_days", Value::Null);
    let keys = changed(keys, "features", json!(["lag_7"]));
    let learned = learn(&spec(keys), &with(&rows, "high", weekday)).unwrap();
    let why = "not promoted: `f1` is of two classes, and the target has 7: take `macro_f1`";
    assert!(learned.verdict.why.starts_with(why), "{}", learned.verdict.why);
}

/// A forest knows by heart what it learned from: beside a version that learned from the rows that judge now none is
/// ever better.
#[test]
fn a_version_that_may_have_learned_from_the_rows_that_judge_is_not_compared() {
    let rows = city(400, 13);
    let by_time = changed(noise(), "baseline_days", Value::Null);
    let by_key = changed(changed(by_time.clone(), "time", Value::Null), "key", json!(["day", "borough"]));
    let not_compared = "it may have learned from those that judge now";
    for keys in [by_time.clone(), by_key.clone()] {
        let of = |test: f64| spec(changed(keys.clone(), "split", json!({"validate": 0.15, "test": test})));
        let (small, large) = (of(0.15), of(0.3));
        let after = |new: &Spec, old: &Spec| {
            let before = learn(old, &rows).unwrap().predictor;
            learn_after(new, &rows, Some(&before)).unwrap().verdict
        };
        let larger = after(&large, &small);
        assert!(larger.promoted && larger.why.contains(not_compared), "{}", larger.why);
        for verdict in [after(&small, &large), after(&large, &large)] {
            assert!(!verdict.why.contains("not compared"), "{}", verdict.why);
        }
    }
    // More rows than then: what judged then was learned from by nobody, and what came since neither.
    let before = learn(&spec(by_time.clone()), &city(300, 13)).unwrap().predictor;
    let verdict = learn_after(&spec(by_time), &rows, Some(&before)).unwrap().verdict;
    assert!(!verdict.why.contains("not compared"), "{}", verdict.why);
    // A record of before does not say which share of the rows it did not learn from, but how many they were.
    let before = learn(&spec(by_key.clone()), &rows).unwrap().predictor;
    let mut record = record_of(&before);
    record["learned_from"].as_object_mut().unwrap().remove("test_share");
    let before = read(&record).unwrap();
    let same = learn_after(&spec(by_key.clone()), &rows, Some(&before)).unwrap().verdict;
    assert!(!same.why.contains("not compared"), "{}", same.why);
    let larger = spec(changed(by_key, "split", json!({"validate": 0.15, "test": 0.3})));
    let larger = learn_after(&larger, &rows, Some(&before)).unwrap().verdict;
    assert!(larger.why.contains(not_compared), "{}", larger.why);
}

/// A line that goes beyond all numbers far from what it learned from keeps no other version from being learned.
#[test]
fn a_version_whose_answers_are_no_numbers_is_not_compared() {
    let mut random = Xoshiro256Plus::seed_from_u64(45);
    let mut x: Vec<f64> = (0..300).map(|_| random.gen_range(0.0..9.0)).collect();
    // As large as its `x` says, once that is beyond all others.
    x[299] = 8.9;
    let y: Vec<f64> = x.iter().map(|x| 3.0 * x + random.gen_range(-4.0..4.0)).collect();
    let of = |x: &[f64]| {
        table(vec![
            ("day", Arc::new(Date32Array::from((0..300).collect::<Vec<_>>())) as ArrayRef),
            ("x", Arc::new(Float64Array::from(x.to_vec()))),
            ("y", Arc::new(Float64Array::from(y.clone()))),
        ])
    };
    let keys = json!({"algorithm": "linear", "from": "refined.x", "target": "y", "time": "day", "features": ["x"],
        "promote": {"metric": "rmse"}});
    let before = learn(&spec(keys.clone()), &of(&x)).unwrap().predictor;
    x[299] = 1.5e308;
    let tree = spec(changed(keys, "algorithm", json!("regression_tree")));
    let verdict = learn_after(&tree, &of(&x), Some(&before)).unwrap().verdict;
    assert!(
        verdict.promoted && verdict.why.contains("not compared with the version before"),
        "{}",
        verdict.why
    );
}

/// Whoever always answers a class that has no rows any more is worse than chance: better than that is nothing.
#[test]
fn where_the_most_frequent_class_is_gone_chance_has_to_be_beaten_by_every_measure() {
    let mut random = Xoshiro256Plus::seed_from_u64(46);
    let classes: Vec<&str> = (0..400)
        .map(|row| ["b", "c", "a", "a", "a"][random.gen_range(0..if row < 300 { 5 } else { 2 })])
        .collect();
    let x: Vec<f64> = (0..400).map(|_| random.gen_range(0.0..9.0)).collect();
    let of = |days: std::ops::Range<usize>| {
        let rows = table(vec![
            ("day", Arc::new(Date32Array::from_iter_values(days.clone().map(|day| day as i32))) as ArrayRef),
            ("x", Arc::new(Float64Array::from(x[days.clone()].to_vec()))),
            ("y", Arc::new(StringArray::from(classes[days].to_vec()))),
        ]);
        let keys = json!({"algorithm": "nearest_neighbours", "from": "refined.x", "target": "y", "time": "day",
            "features": ["x"]});
        let judged = learn(&spec(keys), &rows).unwrap().predictor.judged;
        judged.baselines.into_iter().find(|baseline| baseline.name == "by chance").unwrap().only
    };
    let metrics = |names: &[String]| names.iter().any(|name| name == "balanced_accuracy");
    assert!(metrics(&of(0..400)));
    let usual = of(0..300);
    assert!(!metrics(&usual) && usual.iter().any(|name| name == "macro_f1"), "{usual:?}");
}

fn days_before(judged: &Judged) -> &Measures {
    &judged.baselines.iter().find(|baseline| baseline.name == "7 days before").unwrap().measures
}

#[test]
fn the_row_so_many_days_before_is_that_of_the_same_key() {
    let rows = city(400, 41);
    let notes = |predictor: &Predictor| {
        let notes = predictor.notes.iter().filter(|note| note.contains("days before"));
        notes.cloned().collect::<Vec<_>>().join("; ")
    };
    let by_group = learn(&spec(noise()), &rows).unwrap().predictor;
    assert_eq!(notes(&by_group), "");
    let alone = changed(noise(), "group_by", Value::Null);
    for key in [json!(["day", "borough"]), json!(["borough", "day"])] {
        let by_key = learn(&spec(changed(alone.clone(), "key", key)), &rows).unwrap().predictor;
        assert_eq!(days_before(&by_key.judged), days_before(&by_group.judged));
        assert_eq!(notes(&by_key), "");
    }
    // A key that names one row alone tells nothing of the past.
    let id = with(&rows, "id", Arc::new(StringArray::from_iter_values((0..800).map(|n| format!("r{n}")))));
    let keys =
        changed(changed(noise(), "key", json!(["id"])), "features", json!(["borough", "lag_7", "weekday"]));
    let by_id = learn(&spec(keys), &id).unwrap().predictor;
    assert_eq!(days_before(&by_id.judged), days_before(&by_group.judged));
    // Two rows of one day, and nothing tells which is which: what both say, whatever their order.
    let of_both = learn(&spec(alone.clone()), &rows).unwrap().predictor;
    let turned: Vec<u32> = (0..800).map(|row| row ^ 1).collect();
    let turned = take_record_batch(&rows, &UInt32Array::from(turned)).unwrap();
    let of_turned = learn(&spec(alone), &turned).unwrap().predictor;
    assert_eq!(days_before(&of_both.judged), days_before(&of_turned.judged));
    let told = notes(&of_both);
    assert!(told.contains("120 rows of the test have more than one row 7 days before"), "{told}");
}

#[test]
fn rows_without_one_so_many_days_before_are_counted() {
    let rows = city(400, 42);
    let without: BooleanArray = (0..800).map(|row| Some(row != 700 && row != 721)).collect();
    let rows = filter_record_batch(&rows, &without).unwrap();
    let predictor = learn(&spec(noise()), &rows).unwrap().predictor;
    let told = predictor.notes.join("; ");
    assert!(told.contains("2 of 120 rows of the test have none 7 days before"), "{told}");
}

#[test]
fn a_reference_group_without_rows_to_judge_by_is_told() {
    let rows = city(400, 43);
    let borough = (0..800).map(|row| ["bronx", "queens"][row % 2]);
    let borough = borough.enumerate().map(|(row, name)| if row < 60 { "staten island" } else { name });
    let rows = with(&rows, "borough", Arc::new(StringArray::from_iter_values(borough)));
    let of = |group: &str| {
        let keys = changed(noise(), "baseline_days", Value::Null);
        learn(&spec(changed(keys, "reference_group", json!(group))), &rows).unwrap().predictor
    };
    let gone = of("staten island");
    assert_eq!(gone.judged.bias.as_ref().unwrap().reference, "bronx");
    let told = gone.notes.join("; ");
    assert!(
        told.contains("`reference_group: staten island` has no rows among the 120 that judge")
            && told.contains("`bronx`"),
        "{told}"
    );
    let there = of("queens");
    assert_eq!(there.judged.bias.as_ref().unwrap().reference, "queens");
    assert!(!there.notes.join("; ").contains("reference_group"), "{:?}", there.notes);
}

#[test]
fn the_table_of_bias_has_no_more_groups_than_are_judged_apart_and_the_reference() {
    let place = (0..800).map(|row| format!("p{}", row % 80));
    let rows = with(&city(400, 44), "place", Arc::new(StringArray::from_iter_values(place)));
    let keys = changed(changed(noise(), "baseline_days", Value::Null), "group_by", json!("place"));
    let keys = changed(keys, "features", json!(["borough", "lag_7", "weekday"]));
    let predictor = learn(&spec(changed(keys, "reference_group", json!("p9"))), &rows).unwrap().predictor;
    let bias = predictor.judged.bias.as_ref().unwrap();
    assert_eq!((predictor.judged.groups.len(), bias.groups.len()), (50, 51));
    assert_eq!((bias.reference.as_str(), bias.total_entities), ("p9", 120));
    let names: Vec<&str> = bias.groups.iter().map(|group| group.name.as_str()).collect();
    let apart = predictor.judged.groups.iter().map(|group| group.group.as_str());
    assert!(
        names.is_sorted() && names.contains(&"p9") && apart.into_iter().all(|name| names.contains(&name))
    );
    let told = predictor.notes.join("; ");
    assert!(told.contains("of 80 groups the 50 with the most rows are judged apart"), "{told}");
}

#[test]
fn a_threshold_is_chosen_on_the_validation_rows() {
    let keys = changed(noise(), "threshold", json!({"metric": "recall", "min_precision": 0.5}));
    let predictor = learn(&spec(keys), &city(400, 15)).unwrap().predictor;
    let threshold = predictor.target.as_ref().unwrap().threshold.unwrap();
    assert!((0.0..1.0).contains(&threshold), "{threshold}");
    let scorer = Scorer::new(predictor).unwrap();
    let rows = city(30, 16);
    let answers = scorer.answer(Question::Answer, &rows).unwrap();
    let shares = scorer.answer(Question::Probability, &rows).unwrap();
    for row in 0..rows.num_rows() {
        assert_eq!(
            answers.as_boolean().value(row),
            shares.as_primitive::<Float64Type>().value(row) >= threshold
        );
    }
}

#[test]
fn each_group_is_judged_by_its_own_rows() {
    let rows = city(200, 35);
    for (algorithm, target, baselines) in [
        ("regression_tree", Some("lag_7"), &["mean", "median", "7 days before"][..]),
        ("k_means", None, &[]),
        ("isolation_forest", None, &[]),
        ("pca", None, &[]),
    ] {
        let keys = json!({"algorithm": algorithm, "from": "refined.x", "features": ["weekday", "load"],
            "time": "day", "group_by": "borough"});
        let keys = match target {
            Some(target) => changed(changed(keys, "target", json!(target)), "baseline_days", json!(7)),
            None => keys,
        };
        let load = (0..400).map(|row| f64::from(row * 37 % 101));
        let rows = with(&rows, "load", Arc::new(Float64Array::from_iter_values(load)));
        let judged = learn(&spec(keys), &rows).unwrap().predictor.judged;
        let rows_of = |measures: &Measures| match measures {
            Measures::Regression(measures) => {
                (measures.rows, measures.rmse * measures.rmse * measures.rows as f64)
            }
            Measures::Clustering(measures) => (measures.sizes.iter().map(|size| size.rows).sum(), 0.0),
            Measures::Outliers(measures) => (measures.rows, measures.flagged as f64),
            Measures::Reduction(measures) => (measures.rows, 0.0),
            other => panic!("{other:?}"),
        };
        let groups: Vec<&str> = judged.groups.iter().map(|group| group.group.as_str()).collect();
        assert_eq!(groups, ["bronx", "queens"], "{algorithm}");
        let (all, sum) = rows_of(judged.measures.as_ref().unwrap());
        let parts = judged.groups.iter().map(|group| rows_of(&group.measures));
        let parts = parts.fold((0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        assert_eq!(parts.0, all, "{algorithm}");
        assert!((parts.1 - sum).abs() <= 1e-9 * sum.abs(), "{algorithm}: {parts:?} is not {sum}");
        for group in &judged.groups {
            let names: Vec<&str> = group.baselines.iter().map(|baseline| baseline.name.as_str()).collect();
            assert!(names.starts_with(baselines), "{algorithm}: {names:?}");
        }
    }
    // Forecasts have series instead.
    let grouped: Spec = serde_json::from_value(changed(future(), "group_by", json!("place"))).unwrap();
    let problems = grouped.problems();
    assert_eq!(problems[0].1.message(), "`group_by` has no meaning for a forecast");
    let judged = learn(&spec(future()), &daily(&[("a", 140), ("bb", 120)])).unwrap().predictor.judged;
    let series: Vec<String> = judged.forecast.unwrap().series.into_iter().map(|series| series.key).collect();
    assert_eq!(series, ["a", "bb"]);
}
