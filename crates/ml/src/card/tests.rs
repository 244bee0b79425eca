//! Cards of predictors that were really trained.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;
use serde_json::{Value, json};

use super::{About, Paint, figures, page, text, words::text_width};
use crate::{Lesson, Predictor, Spec, judge::chance::Margins, judged::JudgedOn, predictor::Promotion, train};

/// A page may be mailed.
const PAGE_MAX: usize = 150_000;
/// It steers terminals, HTML, attributes, styles and the direction of writing.
const HOSTILE: &str = "</style><script>alert('x')</script>\" onload=\"x\u{1b}[31m\u{202e}\n`%7B{}\u{0}";

fn learned(spec: Value, rows: &RecordBatch) -> Predictor {
    let spec: Spec = serde_json::from_value(spec).unwrap();
    let rows_of_table = rows.num_rows() as u64;
    train(&Lesson {
        spec: &spec,
        rows,
        version: 4,
        rows_of_table,
        threads: 2,
        memory: u64::MAX,
        before: None,
    })
    .unwrap()
    .predictor
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

fn noise(random: &mut Xoshiro256Plus) -> f64 {
    (0..12).map(|_| random.gen_range(0.0..1.0)).sum::<f64>() - 6.0
}

/// Customers who leave or stay, in three regions; `names` are the classes and the regions.
fn customers(rows: usize, classes: [&str; 2], regions: [&str; 3], column: &str) -> RecordBatch {
    let mut random = Xoshiro256Plus::seed_from_u64(3);
    let (mut id, mut tenure, mut calls, mut plan, mut region, mut left) =
        (vec![], vec![], vec![], vec![], vec![], vec![]);
    for row in 0..rows {
        let years: f64 = random.gen_range(0.0..10.0);
        let asked: f64 = f64::from(random.gen_range(0..8));
        let which = random.gen_range(0..3);
        let score = 0.9 * asked - 0.7 * years + 0.4 * which as f64 + 1.2 * noise(&mut random);
        id.push(row as i64);
        tenure.push((row % 40 != 7).then_some(years));
        calls.push(asked);
        plan.push(["basic", "plus", "max"][random.gen_range(0..3)]);
        region.push(regions[which]);
        left.push(classes[usize::from(score > 0.0)]);
    }
    batch(vec![
        ("id", Arc::new(Int64Array::from(id))),
        (column, Arc::new(Float64Array::from(tenure))),
        ("calls", Arc::new(Float64Array::from(calls))),
        ("plan", Arc::new(StringArray::from(plan))),
        ("region", Arc::new(StringArray::from(region))),
        ("churned", Arc::new(StringArray::from(left))),
    ])
}

fn churn(rows: &RecordBatch, column: &str, reference: &str) -> Predictor {
    learned(
        json!({
            "algorithm": "logistic", "from": "refined.customers", "target": "churned", "key": ["id"],
            "features": [column, "calls", "plan"], "encode": {"plan": "one_hot"}, "impute": {column: "median"},
            "scale": "standard", "group_by": "region", "reference_group": reference, "threshold": {"metric": "f1"},
            "promote": {"metric": "balanced_accuracy"}, "search": {"penalty": [0.01, 1.0, 100.0]},
        }),
        rows,
    )
}

fn two_classes() -> Predictor {
    let rows = customers(700, ["no", "yes"], ["north", "south", "east"], "tenure");
    churn(&rows, "tenure", "north")
}

fn iris() -> RecordBatch {
    let csv = include_str!("../../tests/data/iris.csv");
    let rows: Vec<Vec<&str>> = csv.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let number = |place: usize| -> ArrayRef {
        Arc::new(rows.iter().map(|row| row[place].trim().parse::<f64>().ok()).collect::<Float64Array>())
    };
    let columns = ["sepal_length", "sepal_width", "petal_length", "petal_width"];
    let mut all: Vec<(&str, ArrayRef)> =
        columns.iter().enumerate().map(|(at, name)| (*name, number(at))).collect();
    // 50 of each, in this order.
    let species = (0..rows.len()).map(|row| ["setosa", "versicolor", "virginica"][row / 50]);
    all.push(("species", Arc::new(StringArray::from_iter_values(species))));
    batch(all)
}

fn three_classes() -> Predictor {
    let split = json!({"validate": 0.15, "test": 0.3});
    learned(
        json!({"algorithm": "logistic", "from": "refined.iris", "target": "species", "split": split}),
        &iris(),
    )
}

fn regression() -> Predictor {
    let mut random = Xoshiro256Plus::seed_from_u64(5);
    let (mut day, mut area, mut age, mut price) = (vec![], vec![], vec![], vec![]);
    for row in 0..400 {
        let (size, old): (f64, f64) = (random.gen_range(20.0..180.0), random.gen_range(0.0..60.0));
        day.push(19_000 + row);
        area.push(size);
        age.push(old);
        price.push(20_000.0 + 3_100.0 * size - 800.0 * old + 25_000.0 * noise(&mut random));
    }
    let rows = batch(vec![
        ("day", Arc::new(Date32Array::from(day))),
        ("area", Arc::new(Float64Array::from(area))),
        ("age", Arc::new(Float64Array::from(age))),
        ("price", Arc::new(Float64Array::from(price))),
    ]);
    learned(
        json!({"algorithm": "linear", "from": "refined.homes", "target": "price", "time": "day", "baseline_days": 7}),
        &rows,
    )
}

fn sales(series: &[&str]) -> Predictor {
    let mut random = Xoshiro256Plus::seed_from_u64(8);
    let (mut shop, mut day, mut sold) = (vec![], vec![], vec![]);
    for (place, name) in series.iter().enumerate() {
        for at in 0..120 {
            let wave = (f64::from(at) / 7.0 * std::f64::consts::TAU).sin();
            shop.push(*name);
            day.push(19_000 + at);
            sold.push(
                100.0 * (place + 1) as f64 + 0.3 * f64::from(at) + 25.0 * wave + 4.0 * noise(&mut random),
            );
        }
    }
    let rows = batch(vec![
        ("shop", Arc::new(StringArray::from(shop))),
        ("day", Arc::new(Date32Array::from(day))),
        ("sold", Arc::new(Float64Array::from(sold))),
    ]);
    let by: &[&str] = if series.len() > 1 { &["shop"] } else { &[] };
    learned(
        json!({"algorithm": "auto_ets", "from": "refined.sales", "target": "sold", "time": "day", "series": by,
               "horizon": 14, "season": 7}),
        &rows,
    )
}

fn groups() -> Predictor {
    let rows = iris();
    let rows = rows.project(&[0, 1, 2, 3]).unwrap();
    learned(
        json!({"algorithm": "k_means", "from": "refined.iris", "params": {"clusters": 3}, "scale": "standard"}),
        &rows,
    )
}

fn components() -> Predictor {
    let rows = iris().project(&[0, 1, 2, 3]).unwrap();
    learned(json!({"algorithm": "pca", "from": "refined.iris", "params": {"components": 2}}), &rows)
}

fn outliers() -> Predictor {
    let rows = iris().project(&[0, 1, 2, 3]).unwrap();
    learned(json!({"algorithm": "isolation_forest", "from": "refined.iris"}), &rows)
}

fn everyone() -> Vec<(&'static str, Predictor)> {
    vec![
        ("churn", two_classes()),
        ("species", three_classes()),
        ("price", regression()),
        ("sales", sales(&["Calle Mayor", "Gran Vía", "Serrano"])),
        ("turnover", sales(&["all"])),
        ("segments", groups()),
        ("axes", components()),
        ("odd", outliers()),
    ]
}

const VERSIONS: fn() -> Vec<(u64, String, bool)> = || {
    vec![
        (1, "2024-03-01 08:00 UTC".into(), true),
        (2, "2024-04-01 08:00 UTC".into(), false),
        (3, "2024-05-01 08:00 UTC".into(), true),
    ]
};

fn shown(name: &str, predictor: &Predictor, width: Option<usize>) -> (String, String) {
    let versions = VERSIONS();
    let about = About {
        name,
        version: 3,
        current: Some(3),
        trained_at: "2024-05-01 08:00 UTC".to_owned(),
        run_id: "0190a1b2",
        description: Some("What we want to know."),
        versions: &versions,
    };
    let shown = (text(&about, predictor, width, &Paint::plain()), page(&about, predictor));
    // To look at them.
    if let Some(dir) = std::env::var_os("LAGAR_CARDS") {
        let dir = std::path::Path::new(&dir);
        std::fs::write(dir.join(format!("{name}.txt")), &shown.0).unwrap();
        std::fs::write(dir.join(format!("{name}.html")), &shown.1).unwrap();
    }
    shown
}

/// Every element that is begun is ended, in its place; attributes are in quotation marks.
fn check_html(html: &str) {
    const VOID: [&str; 1] = ["meta"];
    let (before, rest) = html.split_once("<style>").unwrap();
    let (_, after) = rest.split_once("</style>").unwrap();
    let html = format!("{before}{after}");
    let mut open: Vec<String> = Vec::new();
    for tag in html.strip_prefix("<!DOCTYPE html>").unwrap().split('<').skip(1) {
        let (tag, words) = tag.split_once('>').unwrap();
        assert!(!words.contains('>'), "{words}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "</{name}> in {open:?}");
            continue;
        }
        let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let name: String = tag.chars().take_while(char::is_ascii_alphanumeric).collect();
        assert!(!name.is_empty() && name != "script", "<{tag}>");
        let mut rest = tag[name.len()..].trim_start();
        while !rest.is_empty() {
            let (attribute, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("<{tag}>: {rest}"));
            assert!(attribute.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "<{tag}>: {attribute}");
            assert!(!attribute.starts_with("on"), "<{tag}>");
            rest = value.split_once('"').unwrap().1.trim_start();
        }
        if !is_empty && !VOID.contains(&name.as_str()) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
    assert!(!html.contains("NaN") && !html.contains("inf\""));
    let ids: Vec<&str> = html.split(" id=\"").skip(1).filter_map(|part| part.split('"').next()).collect();
    for (place, id) in ids.iter().enumerate() {
        assert!(!ids[..place].contains(id), "{id} twice");
    }
    for link in html.split("href=\"").skip(1).filter_map(|part| part.split('"').next()) {
        assert!(ids.contains(&&link[1..]), "{link} leads nowhere");
    }
}

fn check_text(text: &str, width: usize) {
    for line in text.lines() {
        assert!(text_width(line) <= width, "{} of {width}: {line}", text_width(line));
        assert!(line.trim_end() == line, "room at the end of {line:?}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
    assert!(!text.contains("NaN") && !text.contains("inf "), "{text}");
}

fn check(name: &str, predictor: &Predictor) -> (String, String) {
    for width in [40, 60, 100, 160] {
        check_text(&shown(name, predictor, Some(width)).0, width);
    }
    let (text, html) = shown(name, predictor, None);
    check_text(&text, 100);
    check_html(&html);
    assert!(html.len() < PAGE_MAX, "{name}: {} bytes", html.len());
    (text, html)
}

/// A sentence may go on in the next line.
fn has(text: &str, lines: &[&str]) {
    let flat = text.replace('\n', " ");
    for line in lines {
        assert!(text.contains(line) || flat.contains(line), "no `{line}` in\n{text}");
    }
}

#[test]
fn each_task_is_shown_within_its_bounds() {
    for (name, predictor) in everyone() {
        let (text, html) = check(name, &predictor);
        assert!(text.starts_with(&format!(
            "{name}  version 3 (current) · trained 2024-05-01 08:00 UTC · run 0190a1b2\n"
        )));
        has(
            &html,
            &[
                "default-src 'none'",
                "color-scheme",
                "What the measures mean",
                "linfa 0.8.1",
                "<h2>Versions</h2>",
            ],
        );
        let stored = Predictor::read(&predictor.to_json().unwrap()).unwrap();
        assert_eq!(shown(name, &stored, None), (text, html), "what was stored is shown alike");
    }
}

#[test]
fn two_classes_have_curves_groups_bias_and_a_search() {
    let (text, html) = check("churn", &two_classes());
    has(
        &text,
        &[
            "`logistic` (",
            "predicts `churned`, `no` or `yes`, from 3 features. It learned from ",
            "`yes` is answered from a probability of ",
            "✓ Better than the baseline: balanced_accuracy 0.",
            "\nMeasures  on the ",
            "measure               this    majority    by chance    training\n",
            "balanced_accuracy ↑  0.",
            "\nBy group  ✓ better than the baselines there",
            "\nConfusion  rows: the class that it was",
            "was ↓ answered →  no  yes\n",
            "\nImportance",
            "tenure   █",
            "\nCoefficients  for `yes`, of columns brought to one size\n",
            "plan=plus",
            "\nBias",
            "north (reference)",
            "fpr",
            "\nSearch  3 combinations on the validation rows\n",
            "✓ taken",
            "\nParameters\n",
            "· seed 0",
            "3        2024-05-01 08:00 UTC  ✓         current, shown\n",
        ],
    );
    has(
        &html,
        &[
            "<p class=\"verdict good\">Better than the baseline: ",
            "aria-label=\"ROC curve: area 0.",
            "Precision over recall: area 0.",
            "Calibration; ",
            "class=\"n heat right",
            "class=\"whisker\"",
            "false omission rate",
            "<td class=\"plain\">one column each of 3 values (<code>basic</code>, <code>max</code>, <code>plus</code>) and of others</td>",
        ],
    );
}

#[test]
fn three_classes_have_a_matrix_and_coefficients_side_by_side() {
    let (text, html) = check("species", &three_classes());
    has(
        &text,
        &[
            "Better than the baseline: balanced_accuracy ",
            "beside 0.333 (`majority`).",
            "was ↓ answered →  setosa  versicolor  virginica\n",
            "\nCoefficients  for each class\ncolumn ",
            "\nClasses\nprecision: ",
            "petal_length",
        ],
    );
    assert!(!html.contains("ROC curve") && !text.contains("Bias"));
}

#[test]
fn numbers_have_a_cloud_and_their_errors() {
    let (text, html) = check("price", &regression());
    has(
        &text,
        &[
            "✓ Better than all 3 baselines: rmse ",
            " (`mean`), ",
            " (`median`) and ",
            " (`7 days before`).",
            "It was judged by 60 other rows, set apart by the time `day`: the test begins at 2022-12-14.",
            "\nResiduals  a residual is the true value less the answer\n",
            "Half of the answers are off by at most ",
            "column      value  standard error  value / error\n",
            "\nCoefficients  of the sum that is the answer; below 2 errors from 0",
        ],
    );
    has(&html, &["class=\"dots\" d=\"M", "answer over true value, 60 rows", "class=\"box\""]);
}

#[test]
fn forecasts_are_shown_with_what_came() {
    let (text, html) = check("sales", &sales(&["Calle Mayor", "Gran Vía", "Serrano"]));
    has(
        &text,
        &[
            "forecasts 14 steps of 3 series. It learned from 360 values of `refined.sales`, version 4. It was judged by ",
            "baselines: mase 0.",
            "coverage",
            "\nBy step  how errors grow over 14 steps\n",
            "\nBy series  skill: ",
            "Calle Mayor",
            "\nForecast  what comes next",
            "90 % interval",
            "2022-05-",
        ],
    );
    has(
        &html,
        &[
            "class=\"band\"",
            "class=\"next\"",
            "values of Gran Vía: what came",
            "seasonal_last_value",
            "steps ahead",
        ],
    );
    let (text, _) = check("turnover", &sales(&["all"]));
    has(&text, &["fitted: ", "\ntime        value", "2022-05-08"]);
}

#[test]
fn what_has_no_right_answers_is_described() {
    let (text, html) = check("segments", &groups());
    has(
        &text,
        &[
            "3 groups, ",
            "apart: silhouette 0.",
            " (`by chance`)",
            "one group",
            "\nGroups\ngroup  rows   share\n",
        ],
    );
    has(&html, &["<h2>Groups</h2>", "class=\"bar\""]);
    let (text, _) = check("axes", &components());
    has(
        &text,
        &[
            "2 components say 98.6 %",
            "of the variance of 4 columns; as many of the columns say 9",
            "component   share",
            "together\n",
        ],
    );
    let (text, html) = check("odd", &outliers());
    has(&text, &[" by `iqr`. Nobody knows which really are", "smallest", "largest\n"]);
    has(&html, &["class=\"median\"", "scores from 0."]);
}

#[test]
fn what_is_no_better_than_trivial_is_not_to_be_used() {
    let mut random = Xoshiro256Plus::seed_from_u64(2);
    let x: Vec<f64> = (0..300).map(|_| noise(&mut random)).collect();
    let y: Vec<&str> = (0..300).map(|_| if random.gen_range(0..10) == 0 { "b" } else { "a" }).collect();
    let rows = batch(vec![("x", Arc::new(Float64Array::from(x))), ("y", Arc::new(StringArray::from(y)))]);
    let spec = json!({"algorithm": "logistic", "from": "trusted.chance", "target": "y"});
    let (text, html) = check("chance", &learned(spec, &rows));
    has(
        &text,
        &["✗ No better than `majority`: do not use it. balanced_accuracy 0.500 beside 0.500 (`majority`)."],
    );
    has(&html, &["<p class=\"verdict bad\">No better than <code>majority</code>: do not use it."]);
}

/// As any figures that chance makes: every second of them is better.
#[test]
fn what_may_be_better_by_chance_is_not_called_better() {
    let (mut by_chance, mut better) = (0, 0);
    for seed in 0..12 {
        let mut random = Xoshiro256Plus::seed_from_u64(seed);
        let x: Vec<f64> = (0..300).map(|_| noise(&mut random)).collect();
        let y: Vec<bool> = (0..300).map(|_| random.gen_bool(0.5)).collect();
        let rows = batch(vec![
            ("x", Arc::new(Float64Array::from(x)) as ArrayRef),
            ("y", Arc::new(BooleanArray::from(y))),
        ]);
        let spec = json!({"algorithm": "decision_tree", "from": "trusted.chance", "target": "y"});
        let (text, html) = check("luck", &learned(spec, &rows));
        better += usize::from(text.contains("Better than"));
        if text.contains("Not clearly better") {
            by_chance += 1;
            has(
                &text,
                &["Not clearly better than `majority`: it may look so by chance. balanced_accuracy 0.5"],
            );
            has(&html, &["<p class=\"verdict plain\">Not clearly better than <code>majority</code>"]);
            let line = text.lines().find(|line| line.starts_with("balanced_accuracy ↑")).unwrap();
            assert!(!line.contains('✓'), "{line}");
        }
    }
    assert!(by_chance >= 3 && better <= 1, "{by_chance} {better}");
}

/// A record of before has no margins: nobody knows whether chance did it.
#[test]
fn a_record_without_margins_claims_nothing() {
    let mut predictor = two_classes();
    predictor.judged.baselines.iter_mut().for_each(|baseline| baseline.margins = Margins::default());
    let stored = predictor.to_json().unwrap();
    let told: Value = stored.read().unwrap();
    assert!(told["judged"]["baselines"][0].get("margins").is_none());
    let (text, _) = check("before", &Predictor::read(&stored).unwrap());
    has(&text, &["Not clearly better than `majority`"]);
}

/// The card goes by the measure that decided, and does not praise what was refused without saying why.
#[test]
fn a_version_that_was_refused_says_by_what() {
    let mut predictor = two_classes();
    let why = "not promoted: recall 0.5 is worse than that of the current version, 0.75".to_owned();
    predictor.promotion = Some(Promotion { metric: "recall".into(), promoted: false, why: why.clone() });
    let (text, html) = check("refused", &predictor);
    has(&text, &["recall 0.5 is worse than that of the current version, 0.75"]);
    has(&html, &["recall 0.5 is worse than that of the current version, 0.75"]);
    let verdict = super::facts::verdict(&predictor).0.text;
    assert!(verdict.contains("recall ") && !verdict.contains("balanced_accuracy"), "{verdict}");
}

#[test]
fn what_was_learned_by_heart_or_judged_by_itself_is_told() {
    let mut random = Xoshiro256Plus::seed_from_u64(2);
    let mut column =
        || -> ArrayRef { Arc::new((0..90).map(|_| Some(noise(&mut random))).collect::<Float64Array>()) };
    let rows = batch(vec![("x", column()), ("z", column()), ("y", column())]);
    let by_heart = json!({"algorithm": "regression_tree", "from": "trusted.chance", "target": "y"});
    let (text, _) = check("by_heart", &learned(by_heart, &rows));
    has(
        &text,
        &[
            "! it knows the rows that it learned from better than others: r2 ",
            "! only ",
            " judge it: it may look so by chance",
        ],
    );
    let itself = json!({"algorithm": "linear", "from": "trusted.chance", "target": "y", "split": {"test": 0.0, "validate": 0.0}});
    let (text, _) = check("itself", &learned(itself, &rows));
    has(
        &text,
        &[
            "✗ It was judged by the rows that it learned from",
            "\nMeasures  on the 90 rows that it learned from",
        ],
    );
}

#[test]
fn hostile_names_stay_names() {
    let (yes, no, group) = (format!("{HOSTILE}1"), format!("{HOSTILE}0"), format!("{HOSTILE}g"));
    let rows = customers(300, [&no, &yes], [&group, "<b>", ""], HOSTILE);
    let mut predictor = churn(&rows, HOSTILE, &group);
    predictor.notes.push(HOSTILE.to_owned());
    predictor.learned_from.table = HOSTILE.to_owned();
    predictor.learned_from.split_by = HOSTILE.to_owned();
    predictor.algorithm = HOSTILE.to_owned();
    predictor.params[HOSTILE] = json!({HOSTILE: [HOSTILE]});
    predictor.libraries.insert(HOSTILE.to_owned(), HOSTILE.to_owned());
    predictor.explanation.figures.push((HOSTILE.to_owned(), f64::NAN));
    let versions = [(9, HOSTILE.to_owned(), false)];
    let about = About {
        name: HOSTILE,
        version: 1,
        current: None,
        trained_at: HOSTILE.to_owned(),
        run_id: HOSTILE,
        description: Some(HOSTILE),
        versions: &versions,
    };
    for width in [40, 100] {
        check_text(&text(&about, &predictor, Some(width), &Paint::plain()), width);
    }
    let html = page(&about, &predictor);
    check_html(&html);
    for raw in ["<script", "onload=\"x", "\u{1b}", "\u{202e}", "\u{0}", "<b></b></b>"] {
        assert!(!html.contains(raw), "{raw:?}");
    }
    assert!(html.contains("&lt;/style&gt;&lt;script&gt;"));
    let mut forecast = sales(&[HOSTILE, "東京都庁舎", "\u{202e}"]);
    forecast.judged.forecast.as_mut().unwrap().algorithm = HOSTILE.to_owned();
    check("shops", &forecast);
}

/// What a newer Lagar or a hand left out, and numbers that JSON cannot hold.
#[test]
fn whatever_is_missing_or_no_number_is_left_out() {
    for (_, predictor) in everyone() {
        let mut bare = predictor.clone();
        let (frame, target, forecasts) = (bare.frame.take(), bare.target.take(), bare.forecasts.take());
        bare.distributions.clear();
        check("bare", &bare);
        bare.judged.measures = None;
        bare.judged.forecast = None;
        bare.judged.on = JudgedOn::Nothing;
        bare.params = Value::Null;
        let (text, _) = check("bare", &bare);
        has(&text, &["It was not judged: nobody knows how good it is."]);
        (bare.frame, bare.target, bare.forecasts) = (frame, target, forecasts);
        check("bare", &bare);
        let stored = predictor.to_json().unwrap();
        for broken in [f64::NAN, f64::INFINITY, f64::MAX, f64::MIN, 5e-324] {
            let mut predictor = Predictor::read(&stored).unwrap();
            spoil(&mut predictor, broken);
            check("broken", &predictor);
        }
    }
}

/// Puts `value` where numbers are.
fn spoil(predictor: &mut Predictor, value: f64) {
    use crate::judge::Measures;
    for measures in predictor.judged.measures.iter_mut().chain(&mut predictor.judged.training) {
        match measures {
            Measures::Classification(of) => {
                of.balanced_accuracy = value;
                of.roc_auc = Some(value);
                if let Some(binary) = &mut of.binary {
                    binary.roc.iter_mut().for_each(|point| point.1 = value);
                    binary.calibration.iter_mut().for_each(|bin| bin.predicted = value);
                }
            }
            Measures::Regression(of) => {
                (of.rmse, of.r2, of.residuals.min) = (value, Some(value), -value);
                of.points.iter_mut().step_by(2).for_each(|point| point.1 = value);
            }
            Measures::Clustering(of) => of.silhouette = Some(value),
            Measures::Outliers(of) => (of.share, of.scores.p5) = (value, value),
            Measures::Reduction(of) => of.shares.iter_mut().for_each(|share| *share = value),
        }
    }
    if let Some(forecast) = &mut predictor.judged.forecast {
        forecast.overall.skill = Some(value);
        forecast.overall.scores.overall.coverage = value;
        forecast.overall.scores.steps.iter_mut().for_each(|step| step.mae = value);
        forecast.pictures.iter_mut().for_each(|picture| picture.upper.fill(value));
    }
    for importance in predictor.judged.importance.iter_mut().flat_map(|all| &mut all.features) {
        (importance.mean, importance.standard_deviation) = (value, value);
    }
    for coefficient in &mut predictor.explanation.coefficients {
        (coefficient.value, coefficient.standard_error) = (value, Some(value));
    }
    for one in predictor.forecasts.iter_mut().flat_map(|forecasts| &mut forecasts.series) {
        one.forecast.values.fill(value);
    }
}

/// A class that only the test has was not learned and has no name; the names of the others stay with them.
#[test]
fn classes_that_were_not_learned_have_no_name() {
    let classes = ["a", "b", "c"];
    let y: Vec<&str> =
        (0..120).map(|row| if row < 102 { ["a", "c"][row % 2] } else { classes[row % 3] }).collect();
    let x = y.iter().map(|class| if *class == "a" { 1.0 } else { 2.0 }).collect::<Vec<f64>>();
    let x = x.iter().enumerate().map(|(row, value)| value + 1.5 * (row as f64).sin()).collect::<Vec<f64>>();
    let rows = batch(vec![
        ("x", Arc::new(Float64Array::from(x))),
        ("day", Arc::new(Int64Array::from_iter_values(0..120))),
        ("y", Arc::new(StringArray::from(y))),
    ]);
    let spec = json!({"algorithm": "logistic", "from": "trusted.t", "target": "y", "time": "day"});
    let predictor = learned(spec, &rows);
    assert_eq!(predictor.classes(), ["a", "c"]);
    let (text, _) = check("unseen", &predictor);
    has(&text, &["was ↓ answered →  a  (not learned)  c\n"]);
}

#[test]
fn many_classes_and_features_have_room() {
    let mut random = Xoshiro256Plus::seed_from_u64(4);
    let y: Vec<String> = (0..1_200).map(|row| format!("class number {}", row % 60)).collect();
    let names: Vec<String> =
        (0..120).map(|at| format!("a column with a long name and the number {at}")).collect();
    let mut fields = vec![Field::new("y", DataType::Utf8, false)];
    let mut columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(y))];
    for (at, name) in names.iter().enumerate() {
        fields.push(Field::new(name, DataType::Float64, false));
        let values = (0..1_200).map(|row| f64::from(row % 60 % (at as i32 + 2)) + noise(&mut random));
        columns.push(Arc::new(Float64Array::from_iter_values(values)));
    }
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let spec = json!({"algorithm": "gaussian_naive_bayes", "from": "trusted.wide", "target": "y"});
    let (text, _) = check("wide", &learned(spec, &rows));
    has(
        &text,
        &[
            "\nMistakes  the most frequent ones\nThere are none.\n",
            "…the number 60 ",
            "one of 60 classes",
            "… and 100 more",
        ],
    );
}

#[test]
fn a_list_has_figures_in_one_line() {
    let headline = [("balanced_accuracy", 0.912_6), ("roc_auc", 0.97), ("log_loss", f64::NAN)];
    let headline = headline.map(|(name, value)| (name.to_owned(), value));
    assert_eq!(figures(&headline), "balanced_accuracy 0.913 · roc_auc 0.97");
    assert_eq!(figures(&[]), "");
    assert!(figures(&three_classes().judged.headline()).starts_with("balanced_accuracy "));
}

#[test]
fn colours_change_no_place() {
    let paint = Paint {
        name: |text| format!("\u{1}{text}\u{2}"),
        good: |text| format!("\u{1}{text}\u{2}"),
        bad: |text| format!("\u{1}{text}\u{2}"),
        dim: |text| format!("\u{1}{text}\u{2}"),
        bar: |text| format!("\u{1}{text}\u{2}"),
    };
    let predictor = two_classes();
    let about = About {
        name: "churn",
        version: 1,
        current: None,
        trained_at: String::new(),
        run_id: "",
        description: None,
        versions: &[],
    };
    let plain = text(&about, &predictor, None, &Paint::default());
    let painted = text(&about, &predictor, None, &paint).replace(['\u{1}', '\u{2}'], "");
    let trimmed: Vec<&str> = painted.lines().map(str::trim_end).collect();
    assert_eq!(trimmed, plain.lines().collect::<Vec<_>>());
}
