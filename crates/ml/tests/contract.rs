//! What every algorithm of the list must keep, whatever it does; and the one that CONTRIBUTING.md adds as an example.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

#[path = "worked_example/mean.rs"]
mod mean;

use std::collections::BTreeSet;

// In its place among the others the example says `crate::algorithm`.
use lagar_ml::algorithm;

use lagar_flow::{JsonText, codes};
use lagar_ml::{ALGORITHMS, Entry, Output, Predictor, Series, Target, Task, Training};
use ndarray::{Array2, Axis, Slice};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// As the recipe adds it to the list.
static EXAMPLE: Entry = algorithm::rows::<mean::Mean>();

fn all() -> impl Iterator<Item = &'static Entry> {
    ALGORITHMS.iter().chain([&EXAMPLE])
}

fn of_rows() -> impl Iterator<Item = &'static Entry> {
    all().filter(|entry| entry.task != Task::Forecast)
}

fn forecasters() -> impl Iterator<Item = &'static Entry> {
    all().filter(|entry| entry.task == Task::Forecast)
}

struct Rows {
    x: Array2<f64>,
    values: Vec<f64>,
    codes: Vec<u32>,
    classes: usize,
    features: Vec<String>,
}

/// Two to three overlapping clouds; the value is a line plus noise.
fn rows(n: usize, p: usize, classes: usize, seed: u64) -> Rows {
    let mut random = Xoshiro256Plus::seed_from_u64(seed);
    let mut codes: Vec<u32> = (0..n).map(|row| (row % classes) as u32).collect();
    let x = Array2::from_shape_fn((n, p), |(row, column)| {
        let shift = if column % classes == row % classes { 1.5 } else { 0.0 };
        // Never negative, as counts are: multinomial predictors ask for it.
        (shift + random.gen_range(0.0..4.0_f64)).abs()
    });
    for code in &mut codes {
        if random.gen_bool(0.05) {
            *code = random.gen_range(0..classes) as u32;
        }
    }
    let values = x.rows().into_iter().map(|row| row[0] * 2.0 - row[p - 1] + random.gen_range(-0.5..0.5));
    Rows { values: values.collect(), x, codes, classes, features: (0..p).map(|c| format!("f{c}")).collect() }
}

impl Rows {
    fn training(&self, task: Task, threads: usize) -> Training<'_> {
        let target = match task {
            Task::Regression => Target::Values(&self.values),
            Task::Classification => Target::Classes { codes: &self.codes, count: self.classes },
            _ => Target::None,
        };
        Training { x: self.x.view(), target, features: &self.features, seed: 7, threads }
    }
}

impl Rows {
    /// The classes of the target that `entry` learns.
    fn classes_of(&self, entry: &Entry) -> usize {
        if entry.task == Task::Classification { self.classes } else { 0 }
    }
}

fn defaults(entry: &Entry) -> Value {
    entry.params(&json!({})).unwrap()
}

fn finite(output: &Output) -> bool {
    match output {
        Output::Values(values) => values.iter().all(|v| v.is_finite()),
        Output::Probabilities(rows) => rows
            .rows()
            .into_iter()
            .all(|row| (row.sum() - 1.0).abs() < 1e-9 && row.iter().all(|p| (0.0..=1.0).contains(p))),
        Output::Groups(_) => true,
        Output::Components(rows) => rows.iter().all(|v| v.is_finite()),
        Output::Scores { scores, .. } => scores.iter().all(|v| v.is_finite()),
    }
}

#[test]
fn names_and_parameters_are_documented() {
    let names: BTreeSet<&str> = all().map(|entry| entry.name).collect();
    assert_eq!(names.len(), all().count(), "two algorithms have one name");
    for entry in all() {
        assert!(!entry.about.is_empty() && !entry.about.ends_with('.'), "{}", entry.name);
        let schema = serde_json::to_value((entry.schema)()).unwrap();
        let defaults = defaults(entry);
        let asked = schema["properties"].as_object().cloned().unwrap_or_default();
        assert_eq!(asked.len(), defaults.as_object().unwrap().len(), "{}", entry.name);
        for (name, property) in asked {
            let about = property["description"].as_str().unwrap_or_default();
            assert!(!about.is_empty(), "`{name}` of `{}` has no description", entry.name);
        }
        let error = entry.params(&json!({"no_such_parameter": 1})).unwrap_err();
        assert_eq!(error.code(), codes::CONFIG);
        assert!(error.message().contains("no_such_parameter"), "{error}");
    }
}

/// With one thread, with several, and with one again: the same numbers of `learned`, the same answers for `asked`.
fn keeps_its_bits(entry: &Entry, params: &Value, learned: &Rows, asked: &Array2<f64>) {
    let mut before: Option<(String, Output)> = None;
    for threads in [1, 2, 8, 1] {
        let (fitted, numbers) = entry.fit(params, &learned.training(entry.task, threads)).unwrap();
        let text = numbers.to_string();
        let output = fitted.answers(asked.view(), threads).unwrap();
        if let Some((numbers, answers)) = &before {
            assert!(*numbers == text, "{} with {threads} threads", entry.name);
            assert!(*answers == output, "{} with {threads} threads", entry.name);
        }
        before = Some((text, output));
    }
}

#[test]
fn the_same_rows_give_the_same_bits_with_any_number_of_threads() {
    for entry in of_rows() {
        for classes in [2, 3] {
            let rows = rows(200, 4, classes, 1);
            keeps_its_bits(entry, &defaults(entry), &rows, &rows.x);
        }
    }
}

/// Threads have to be worth it: of few rows boosting counts and cuts on one thread, the loss of a logistic regression
/// is one block, and so are the rows that are asked. Here there is work for eight.
#[test]
fn many_rows_give_the_same_bits_with_any_number_of_threads() {
    for entry in of_rows() {
        let (rows_learned, columns, params) = match entry.name {
            // They compare each row with each other one, and hand out row by row, or machine by machine.
            "svm" | "svr" | "dbscan" | "optics" | "local_outlier_factor" | "nearest_neighbours" => {
                (600, 4, json!({}))
            }
            // They hand out run by run.
            "k_means" | "gaussian_mixture" => (3_000, 4, json!({})),
            // They hand out the values of all columns, 2^17 for a thread.
            name if name.contains("boosting") => (40_000, 32, json!({"iterations": 3})),
            name if name.contains("forest") => (40_000, 4, json!({"trees": 9})),
            _ => (40_000, 4, json!({})),
        };
        let learned = rows(rows_learned, columns, 3, 6);
        keeps_its_bits(entry, &entry.params(&params).unwrap(), &learned, &rows(70_000, columns, 3, 7).x);
    }
}

/// The numbers that each algorithm fitted, in debug and release builds, on this machine and others, last year and
/// today. Who changes an algorithm changes its line: `LAGAR_BLESS=1 cargo test --workspace --test contract`.
#[test]
fn the_bits_are_those_that_were_written_down() {
    let mut found = String::new();
    for entry in all() {
        let params = defaults(entry);
        let numbers = match entry.task {
            Task::Forecast => {
                let values: Vec<f64> =
                    (0..90).map(|t: u32| 20.0 + f64::from((t * 37) % 11) + f64::from(t % 7)).collect();
                let forecast =
                    entry.forecast(&params, &Series { values: &values, season: 7, seed: 1 }, 10, 0.9);
                serde_json::to_string(&forecast.unwrap()).unwrap()
            }
            task => {
                let rows = rows(150, 4, 3, 2);
                let (fitted, numbers) = entry.fit(&params, &rows.training(task, 2)).unwrap();
                format!("{numbers} {:?}", fitted.predict(rows.x.view()).unwrap())
            }
        };
        let hash = Sha256::digest(numbers.as_bytes());
        let hash: String = hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        found.push_str(&format!("{} {hash}\n", entry.name));
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/bits.txt");
    if std::env::var_os("LAGAR_BLESS").is_some() {
        std::fs::write(file, &found).unwrap();
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), found);
}

const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/predictors.md");

/// The cells of the table of docs/predictors.md whose first line is `head`, row by row.
fn table(head: &str) -> Vec<Vec<String>> {
    let guide = std::fs::read_to_string(GUIDE).unwrap();
    let (_, table) = guide.split_once(&format!("{head}\n")).unwrap_or_else(|| panic!("no table {head}"));
    let rows = table.lines().skip(1).map_while(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    rows.map(|row| row.split(" | ").map(str::to_owned).collect()).collect()
}

/// What stands in backticks.
fn named(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// `LAGAR_BLESS=1` writes the table.
#[test]
fn the_guide_lists_every_algorithm() {
    let line = |entry: &Entry| format!("| `{}` | {} | {} |\n", entry.name, entry.task, entry.about);
    let listed: String = ALGORITHMS.iter().map(line).collect();
    let guide = std::fs::read_to_string(GUIDE).unwrap();
    let head = "| algorithm | task | what it is |\n|---|---|---|\n";
    let (before, rest) = guide.split_once(head).unwrap();
    let told: String = rest.split_inclusive('\n').take_while(|line| line.starts_with('|')).collect();
    if std::env::var_os("LAGAR_BLESS").is_some() {
        let after = &rest[told.len()..];
        return std::fs::write(GUIDE, format!("{before}{head}{listed}{after}")).unwrap();
    }
    assert_eq!(told, listed);
}

#[test]
fn the_guide_names_what_stands_in_a_record() {
    let schema = Predictor::schema().to_value();
    let keys: BTreeSet<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    let told = table("| key | what it holds |");
    assert_eq!(told.iter().flat_map(|cells| named(&cells[0])).collect::<BTreeSet<_>>(), keys);
}

/// Each name that is stored stands in the row of its algorithm, or in that of a part that is named there, or of a part
/// of it.
#[test]
fn the_guide_names_all_numbers_that_are_fitted() {
    fn keys<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| {
                found.insert(key);
                keys(value, found);
            }),
            Value::Array(list) => list.iter().for_each(|value| keys(value, found)),
            _ => {}
        }
    }
    let told = table("| of | what is stored as `fitted` |");
    let row = |name: &str| {
        let row = told.iter().find(|cells| named(&cells[0]).contains(name));
        row.map(|cells| named(&cells[1]))
    };
    for entry in ALGORITHMS.iter().filter(|entry| entry.task != Task::Forecast) {
        let rows = rows(150, 4, 3, 2);
        let (_, numbers) = entry.fit(&defaults(entry), &rows.training(entry.task, 1)).unwrap();
        let mut known = row(entry.name).unwrap_or_else(|| panic!("no row of `{}`", entry.name));
        for _ in 0..2 {
            let parts: Vec<&str> = known.iter().filter_map(|name| row(name)).flatten().collect();
            known.extend(parts);
        }
        let numbers = numbers.read().unwrap();
        let mut stored = BTreeSet::new();
        keys(&numbers, &mut stored);
        let missing: Vec<&&str> = stored.difference(&known).collect();
        assert!(missing.is_empty(), "`{}` stores {missing:?} too", entry.name);
    }
}

#[test]
fn what_is_stored_answers_as_what_was_fitted_however_the_rows_are_cut() {
    for entry in of_rows() {
        let rows = rows(150, 4, 3, 2);
        let (fitted, numbers) = entry.fit(&defaults(entry), &rows.training(entry.task, 2)).unwrap();
        let loaded = entry.load(&numbers, 4, rows.classes_of(entry)).unwrap();
        let asked = self::rows(90, 4, 3, 3).x;
        let whole = fitted.predict(asked.view()).unwrap();
        assert_eq!(whole.len(), 90, "{}", entry.name);
        assert!(finite(&whole), "{}", entry.name);
        assert_eq!(loaded.predict(asked.view()).unwrap(), whole, "{}", entry.name);
        // Column by column in memory, as a table is, and in pieces.
        let by_columns = asked.t().as_standard_layout().reversed_axes().to_owned();
        assert_eq!(loaded.predict(by_columns.view()).unwrap(), whole, "{}", entry.name);
        for (at, row) in asked.axis_chunks_iter(Axis(0), 1).enumerate() {
            let one = loaded.predict(row).unwrap();
            assert_eq!(one, part(&whole, at), "{} row {at}", entry.name);
        }
        assert!(
            loaded.predict(asked.slice_axis(Axis(0), Slice::from(0..0))).unwrap().is_empty(),
            "{}",
            entry.name
        );
    }
}

/// Numbers that somebody changed: refused, or answers. Of each algorithm some hundred changes, spread over all that
/// is stored.
#[test]
fn what_was_stored_by_hand_is_refused_or_answers_without_a_panic() {
    const CHANGES: usize = 300;
    for entry in of_rows() {
        let rows = rows(150, 4, 3, 2);
        let params = match entry.name {
            name if name.contains("forest") => json!({"trees": 3}),
            name if name.contains("boosting") => json!({"iterations": 2}),
            "dbscan" => json!({"eps": 2.0}),
            _ => json!({}),
        };
        let params = entry.params(&params).unwrap();
        let (_, numbers) = entry.fit(&params, &rows.training(entry.task, 1)).unwrap();
        let classes = rows.classes_of(entry);
        entry.load(&numbers, 4, classes).unwrap();
        // For another matrix, and where classes are told apart for another target.
        assert_eq!(entry.load(&numbers, 3, classes).err().unwrap().code(), codes::PREDICTOR_STORED);
        assert_eq!(entry.load(&numbers, 5, classes).err().unwrap().code(), codes::PREDICTOR_STORED);
        if entry.task == Task::Classification {
            for other in [0, 2, 4] {
                let error = entry.load(&numbers, 4, other).err().unwrap();
                assert!(error.message().contains("class"), "{} of {other}: {error}", entry.name);
            }
        }
        let numbers: Value = numbers.read().unwrap();
        let mut changes = Vec::new();
        changes_of(&numbers, "", &mut changes);
        let step = changes.len().div_ceil(CHANGES);
        let (mut refused, mut answered) = (0, 0);
        for (place, other) in changes.into_iter().step_by(step) {
            let mut changed = numbers.clone();
            *changed.pointer_mut(&place).unwrap() = other;
            match entry.load(&JsonText::of(&changed).unwrap(), 4, classes) {
                Err(error) => {
                    refused += 1;
                    assert_eq!(error.code(), codes::PREDICTOR_STORED, "{} {place}: {error}", entry.name);
                }
                Ok(loaded) => {
                    answered += 1;
                    assert_eq!(loaded.predict(rows.x.view()).unwrap().len(), 150, "{} {place}", entry.name);
                }
            }
        }
        assert!(refused > 0 && answered > 0, "{}: {refused} refused, {answered} answered", entry.name);
    }
}

/// Each list shorter, longer and empty, each number another one: the place as a JSON pointer, and what stands there.
fn changes_of(value: &Value, at: &str, changes: &mut Vec<(String, Value)>) {
    match value {
        Value::Array(list) => {
            let shorter = list.iter().skip(1).cloned().collect();
            let longer = list.iter().chain(list.last()).cloned().collect();
            let lists = [Value::Array(Vec::new()), Value::Array(shorter), Value::Array(longer)];
            changes.extend(lists.map(|list| (at.to_owned(), list)));
            for (place, value) in list.iter().enumerate() {
                changes_of(value, &format!("{at}/{place}"), changes);
            }
        }
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| changes_of(value, &format!("{at}/{key}"), changes))
        }
        Value::Number(_) => {
            let others = [json!(0), json!(-1), json!(1_u64 << 40), json!(1e308)];
            changes.extend(others.map(|number| (at.to_owned(), number)));
        }
        _ => {}
    }
}

fn part(output: &Output, at: usize) -> Output {
    match output {
        Output::Values(values) => Output::Values(vec![values[at]]),
        Output::Probabilities(rows) => {
            Output::Probabilities(rows.slice_axis(Axis(0), Slice::from(at..=at)).to_owned())
        }
        Output::Components(rows) => {
            Output::Components(rows.slice_axis(Axis(0), Slice::from(at..=at)).to_owned())
        }
        Output::Groups(groups) => Output::Groups(vec![groups[at]]),
        Output::Scores { scores, outliers } => {
            Output::Scores { scores: vec![scores[at]], outliers: vec![outliers[at]] }
        }
    }
}

/// Each either learns something whose answers are finite, or says by name why it cannot; nothing panics.
#[test]
fn odd_rows_are_learned_from_or_refused_by_name() {
    let ordinary = || rows(60, 3, 2, 4);
    let mut odd: Vec<(&str, Rows)> = Vec::new();
    odd.push(("one row", {
        let mut one = rows(1, 3, 1, 4);
        one.codes = vec![0];
        one
    }));
    odd.push(("two rows", rows(2, 3, 2, 4)));
    odd.push(("more features than rows", rows(6, 20, 2, 4)));
    odd.push(("a constant feature", {
        let mut rows = ordinary();
        rows.x.column_mut(1).fill(3.0);
        rows
    }));
    odd.push(("all features constant", {
        let mut rows = ordinary();
        rows.x.fill(1.0);
        rows
    }));
    odd.push(("values at both ends of all numbers", {
        let mut rows = ordinary();
        rows.x.mapv_inplace(|value| (value - 2.0) * 4e307);
        rows
    }));
    odd.push(("zeros", {
        let mut rows = ordinary();
        rows.x.fill(0.0);
        rows.values.fill(0.0);
        rows
    }));
    odd.push(("negative values", {
        let mut rows = ordinary();
        rows.x -= 10.0;
        rows
    }));
    odd.push(("a constant target", {
        let mut rows = ordinary();
        rows.values.fill(5.0);
        rows.codes.fill(0);
        rows.classes = 1;
        rows
    }));
    odd.push(("the same row again and again", {
        let mut rows = ordinary();
        let first = rows.x.row(0).to_owned();
        rows.x.rows_mut().into_iter().for_each(|mut row| row.assign(&first));
        rows
    }));
    odd.push(("two features alike", {
        let mut rows = ordinary();
        let first = rows.x.column(0).to_owned();
        rows.x.column_mut(1).assign(&first);
        rows
    }));
    odd.push(("huge values", {
        let mut rows = ordinary();
        rows.x *= 1e150;
        rows.values.iter_mut().for_each(|v| *v *= 1e150);
        rows
    }));
    odd.push(("tiny values", {
        let mut rows = ordinary();
        rows.x *= 1e-150;
        rows.values.iter_mut().for_each(|v| *v *= 1e-150);
        rows
    }));
    for (name, rows) in odd {
        for entry in of_rows() {
            match entry.fit(&defaults(entry), &rows.training(entry.task, 2)) {
                Ok((fitted, numbers)) => {
                    let output = fitted.predict(rows.x.view()).unwrap();
                    assert!(finite(&output), "{} of {name}: {output:?}", entry.name);
                    // Of what people read each number is one: JSON has no others, and writes null.
                    let explained = fitted.explain();
                    let figures = explained.figures.iter().map(|(_, value)| value);
                    let mut told = figures.chain(explained.coefficients.iter().map(|one| &one.value));
                    assert!(told.all(|value| value.is_finite()), "{} of {name}: {explained:?}", entry.name);
                    let loaded = entry.load(&numbers, rows.x.ncols(), rows.classes_of(entry));
                    let loaded = loaded.unwrap_or_else(|e| panic!("{} of {name}: {e} {e:?}", entry.name));
                    assert_eq!(loaded.predict(rows.x.view()).unwrap(), output, "{} of {name}", entry.name);
                }
                Err(error) => {
                    assert_eq!(error.code(), codes::PREDICTOR_DATA, "{} of {name}: {error}", entry.name);
                }
            }
        }
    }
}

/// The mean of equal values may be off by a bit. A column that is constant says nothing all the same: those that ask for
/// a width refuse it, and beside others it changes no answer, also where it is another value later.
#[test]
fn a_constant_column_is_noticed_whatever_its_value() {
    for value in [7.0, 0.1, 1.1, 1e9 / 3.0] {
        for n in [6, 10, 20, 30, 50, 100] {
            let mut one = rows(n, 3, 2, 4);
            one.x.column_mut(1).fill(value);
            let mut all = rows(n, 3, 2, 4);
            all.x.fill(value);
            let refused = |name: &str, rows: &Rows, says: &str| {
                let entry = ALGORITHMS.iter().find(|entry| entry.name == name).unwrap();
                let error = entry.fit(&defaults(entry), &rows.training(entry.task, 1)).err();
                let error = error.unwrap_or_else(|| panic!("{name} learns of {value} in {n} rows"));
                assert_eq!(error.code(), codes::PREDICTOR_DATA, "{name}: {error}");
                assert!(error.message().contains(says), "{name} of {value} in {n} rows: {error}");
            };
            refused("gaussian_mixture", &one, "`f1` is the same in all");
            refused("gaussian_mixture", &all, "`f0` is the same in all");
            refused("pca", &all, "all");
            let (pca, _) = {
                let entry = ALGORITHMS.iter().find(|entry| entry.name == "pca").unwrap();
                entry.fit(&defaults(entry), &one.training(entry.task, 1)).unwrap()
            };
            let mut other = one.x.clone();
            other.column_mut(1).fill(value + 1000.0);
            assert_eq!(pca.predict(other.view()).unwrap(), pca.predict(one.x.view()).unwrap());
        }
    }
}

#[test]
fn a_future_is_as_long_as_asked_and_lies_in_its_interval() {
    let mut random = Xoshiro256Plus::seed_from_u64(5);
    let wave = |n: usize| (0..n).map(|t| 50.0 + 10.0 * (t as f64 / 7.0 * std::f64::consts::TAU).sin());
    let noisy: Vec<f64> = wave(120).map(|v| v + random.gen_range(-2.0..2.0)).collect();
    let long: Vec<Vec<f64>> = vec![
        noisy,
        vec![3.0; 60],
        vec![0.0; 60],
        (0..60).map(f64::from).collect(),
        wave(60).map(|v| v * 1e12).collect(),
    ];
    for entry in forecasters() {
        let params = defaults(entry);
        for values in &long {
            for horizon in [1, 30] {
                let series = Series { values, season: 7, seed: 1 };
                let forecast = entry.forecast(&params, &series, horizon, 0.9).unwrap();
                let again = entry.forecast(&params, &series, horizon, 0.9).unwrap();
                assert_eq!(forecast, again, "{}", entry.name);
                for part in [&forecast.values, &forecast.lower, &forecast.upper] {
                    assert_eq!(part.len(), horizon, "{}", entry.name);
                    assert!(part.iter().all(|v| v.is_finite()), "{}: {forecast:?}", entry.name);
                }
                for at in 0..horizon {
                    assert!(
                        forecast.lower[at] <= forecast.values[at]
                            && forecast.values[at] <= forecast.upper[at],
                        "{}: {forecast:?}",
                        entry.name
                    );
                }
            }
        }
        // Too short: a future all the same, or an error that says how long it must be.
        for length in 1..20 {
            let values: Vec<f64> = (0..length).map(|v| f64::from(v) * 1.5).collect();
            match entry.forecast(&params, &Series { values: &values, season: 7, seed: 1 }, 3, 0.9) {
                Ok(forecast) => assert!(forecast.values.iter().all(|v| v.is_finite()), "{}", entry.name),
                Err(error) => {
                    assert_eq!(error.code(), codes::PREDICTOR_DATA, "{}", entry.name);
                    let says_how_many = error.message().bytes().any(|byte| byte.is_ascii_digit());
                    assert!(says_how_many, "{}: {error}", entry.name);
                }
            }
        }
    }
}
