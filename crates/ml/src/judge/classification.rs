//! How well classes are told apart. linfa has measures too, but in `f32`, and it goes through its classes in the
//! order of a `HashMap`, so they are computed here.

use lagar_flow::{Error, Result, codes};
use ndarray::{Array2, ArrayView2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    curve::{Counts, Ranking},
    numbers::mean,
};
use crate::math::{ln, square};

/// Bins of the calibration curve.
const BINS: usize = 10;
/// Thresholds that are tried.
const CANDIDATES: usize = 200;

/// Measures of a classifier, on rows that it did not learn from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Classification {
    pub rows: u64,
    /// The share of the rows whose class is right.
    pub accuracy: f64,
    /// The mean of the recalls of the classes that have rows.
    pub balanced_accuracy: f64,
    /// The mean of `-ln p`, where `p` is the probability of the class that was right, taken to be within 2⁻⁵² of
    /// 0 and 1 as scikit-learn does: a probability of 0 for what happened costs 36, not infinity.
    pub log_loss: f64,
    /// The mean squared error of the probabilities: of two classes that of the second one, of more the sum over
    /// the classes.
    pub brier: f64,
    /// The mean of the F1 of the classes that have rows or were answered.
    pub macro_f1: f64,
    /// The area under the ROC curve. Of more than two classes the mean over the classes, each against the rest.
    /// Not defined if a class has no rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roc_auc: Option<f64>,
    /// In the order of their codes.
    pub classes: Vec<Class>,
    /// For each class a row: how many of its rows were answered as each class.
    pub confusion: Vec<Vec<u64>>,
    /// Where there are two classes: measures of the second one, the positive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<Binary>,
}

/// Measures of one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Class {
    /// Rows of this class.
    pub support: u64,
    /// Rows that were answered as this class.
    pub answered: u64,
    /// The share of `answered` that is right. Not defined if there are none (scikit-learn says 0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
    /// The share of `support` that was found. Not defined if there are none (scikit-learn says 0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<f64>,
    /// The harmonic mean of both; 0 if nothing is right. Not defined if there is neither support nor answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f1: Option<f64>,
}

/// Measures of the positive one of two classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Binary {
    /// The probability from which on a row is called positive; without it the more probable class is the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// As in [`Class`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f1: Option<f64>,
    /// The area under the curve of precision over recall, in steps (average precision). Not defined without
    /// positive rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pr_auc: Option<f64>,
    /// False positive rate and true positive rate, from (0, 0) to (1, 1). Empty if a class has no rows.
    pub roc: Vec<(f64, f64)>,
    /// Recall and precision, from (0, 1) on. Empty without positive rows.
    pub precision_recall: Vec<(f64, f64)>,
    /// Ten bins of probability, each with its upper edge; those without rows are left out.
    pub calibration: Vec<CalibrationBin>,
}

/// Rows to which about the same probability was given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CalibrationBin {
    pub rows: u64,
    /// The mean of the probabilities.
    pub predicted: f64,
    /// The share of positive rows. Of good probabilities it is about as large.
    pub observed: f64,
}

/// The class of each row. Of two classes with a `threshold`: the second one if its probability is at least that.
/// Otherwise the most probable, and of equals the first.
pub fn answers(probabilities: ArrayView2<'_, f64>, threshold: Option<f64>) -> Vec<u32> {
    let answer = |row: ndarray::ArrayView1<'_, f64>| match threshold {
        Some(threshold) if row.len() == 2 => u32::from(row[1] >= threshold),
        _ => {
            let mut best = 0;
            for (class, probability) in row.iter().enumerate() {
                if *probability > row[best] {
                    best = class;
                }
            }
            best as u32
        }
    };
    probabilities.rows().into_iter().map(answer).collect()
}

/// Judges the `probabilities` (a row for each row, a column for each of `count` classes) by the codes of the true
/// classes. `threshold` as in [`answers`].
///
/// # Errors
/// [`codes::PREDICTOR_DATA`] without rows; a defect if lengths differ or a number is no probability.
pub fn classification(
    truth: &[u32],
    count: usize,
    probabilities: ArrayView2<'_, f64>,
    threshold: Option<f64>,
) -> Result<Classification> {
    if probabilities.dim() != (truth.len(), count) || truth.iter().any(|code| *code as usize >= count) {
        return Err(Error::bug("the classes and the probabilities to judge do not fit together"));
    }
    if !probabilities.iter().all(|p| (0.0..=1.0).contains(p)) {
        return Err(Error::bug("what is judged is not a probability"));
    }
    if truth.is_empty() {
        return Err(Error::new(codes::PREDICTOR_DATA, "there are 0 rows to judge a predictor by")
            .hint("give it more rows, or a larger share of them in `split`"));
    }
    let rows = truth.len() as u64;
    let mut confusion = Array2::<u64>::zeros((count, count));
    for (truth, answer) in truth.iter().zip(answers(probabilities, threshold)) {
        confusion[[*truth as usize, answer as usize]] += 1;
    }
    let classes: Vec<Class> = (0..count).map(|class| Class::of(counts(&confusion, class))).collect();
    let recalls: Vec<f64> = classes.iter().filter_map(|class| class.recall).collect();
    let f1s: Vec<f64> = classes.iter().filter_map(|class| class.f1).collect();
    let rankings = || {
        (0..count).map(|class| {
            let positive = truth.iter().map(move |code| *code as usize == class);
            Ranking::new(probabilities.column(class).into_iter().copied().zip(positive))
        })
    };
    let mut binary = None;
    let mut roc_auc = None;
    if count == 2 {
        for ranking in rankings().skip(1) {
            roc_auc = ranking.roc_auc();
            binary = Some(Binary::of(&classes[1], &ranking, threshold, truth, probabilities));
        }
    } else if count > 2 && recalls.len() == count {
        let areas: Option<Vec<f64>> = rankings().map(|ranking| ranking.roc_auc()).collect();
        roc_auc = areas.map(|areas| mean(&areas));
    }
    Ok(Classification {
        rows,
        accuracy: confusion.diag().sum() as f64 / rows as f64,
        balanced_accuracy: mean(&recalls),
        log_loss: log_loss(truth, probabilities),
        brier: brier(truth, probabilities),
        macro_f1: mean(&f1s),
        roc_auc,
        classes,
        confusion: confusion.rows().into_iter().map(|row| row.to_vec()).collect(),
        binary,
    })
}

/// Of one class against the rest.
fn counts(confusion: &Array2<u64>, class: usize) -> Counts {
    let tp = confusion[[class, class]];
    let fn_ = confusion.row(class).sum() - tp;
    let fp = confusion.column(class).sum() - tp;
    Counts { tp, fp, fn_, tn: confusion.sum() - tp - fp - fn_ }
}

impl Class {
    fn of(counts: Counts) -> Self {
        Self {
            support: counts.tp + counts.fn_,
            answered: counts.tp + counts.fp,
            precision: counts.precision(),
            recall: counts.recall(),
            f1: counts.f1(),
        }
    }
}

impl Binary {
    fn of(
        positive: &Class,
        ranking: &Ranking,
        threshold: Option<f64>,
        truth: &[u32],
        probabilities: ArrayView2<'_, f64>,
    ) -> Self {
        Self {
            threshold,
            precision: positive.precision,
            recall: positive.recall,
            f1: positive.f1,
            pr_auc: ranking.average_precision(),
            roc: ranking.roc(),
            precision_recall: ranking.precision_recall(),
            calibration: calibration(truth, probabilities),
        }
    }
}

fn log_loss(truth: &[u32], probabilities: ArrayView2<'_, f64>) -> f64 {
    let losses = truth.iter().enumerate().map(|(row, code)| {
        let probability = probabilities[[row, *code as usize]];
        -ln(probability.clamp(f64::EPSILON, 1.0 - f64::EPSILON))
    });
    mean(&losses.collect::<Vec<f64>>())
}

fn brier(truth: &[u32], probabilities: ArrayView2<'_, f64>) -> f64 {
    let squares = truth.iter().zip(probabilities.rows()).map(|(code, row)| {
        let square = |(class, p): (usize, &f64)| square(p - f64::from(class == *code as usize));
        row.iter().enumerate().skip(usize::from(row.len() == 2)).map(square).sum()
    });
    mean(&squares.collect::<Vec<f64>>())
}

fn calibration(truth: &[u32], probabilities: ArrayView2<'_, f64>) -> Vec<CalibrationBin> {
    let mut bins = [(0u64, 0u64, 0.0); BINS];
    for (code, probability) in truth.iter().zip(probabilities.column(1)) {
        let bin = (1..BINS).filter(|edge| *probability > *edge as f64 / BINS as f64).count();
        bins[bin].0 += 1;
        bins[bin].1 += u64::from(*code == 1);
        bins[bin].2 += probability;
    }
    let filled = bins.into_iter().filter(|bin| bin.0 > 0);
    let bin = |(rows, positives, sum): (u64, u64, f64)| CalibrationBin {
        rows,
        predicted: sum / rows as f64,
        observed: positives as f64 / rows as f64,
    };
    filled.map(bin).collect()
}

/// What a threshold is chosen for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "metric", rename_all = "snake_case", deny_unknown_fields)]
pub enum Goal {
    // With braces, so that serde refuses keys that do not belong to them.
    Accuracy {},
    BalancedAccuracy {},
    F1 {},
    /// The most positive rows found, while at least this share of what is called positive is.
    Recall {
        min_precision: f64,
    },
    /// The fewest false alarms, while at least this share of the positive rows is found.
    Precision {
        min_recall: f64,
    },
}

/// The chosen probability from which on a row is called positive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Threshold {
    pub threshold: f64,
    pub goal: Goal,
    /// The measure that the goal names, on the rows by which it was chosen.
    pub value: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<f64>,
}

/// Thresholds worth trying for these scores: the lowest score, so that every row is called positive; at most 200
/// of the middles between scores that follow each other, so that a threshold does not sit on the score of a row;
/// and 0.5.
pub fn candidates(scores: &[f64]) -> Vec<f64> {
    let mut distinct = super::numbers::sorted(scores);
    distinct.dedup();
    let middles: Vec<f64> = distinct.windows(2).map(|pair| pair[0] + (pair[1] - pair[0]) / 2.0).collect();
    let tried = middles.len().min(CANDIDATES);
    let mut thresholds: Vec<f64> = (0..tried).map(|at| middles[at * middles.len() / tried]).collect();
    thresholds.extend(distinct.first());
    thresholds.push(0.5);
    thresholds.sort_unstable_by(f64::total_cmp);
    thresholds.dedup();
    thresholds
}

/// The best of the `candidates` for the `goal`, by the true classes (1 is positive) and the probability of the
/// positive class. Of equals the one nearest to 0.5, then the lower. `None` if none reaches the goal, or what it
/// names is not defined for these rows. Choose on other rows than those that judge.
///
/// # Errors
/// A defect: lengths differ.
pub fn choose_threshold(
    truth: &[u32],
    scores: &[f64],
    candidates: &[f64],
    goal: Goal,
) -> Result<Option<Threshold>> {
    if truth.len() != scores.len() {
        return Err(Error::bug("the classes and the scores to choose a threshold by do not fit together"));
    }
    let ranking = Ranking::new(scores.iter().copied().zip(truth.iter().map(|code| *code == 1)));
    let mut best: Option<Threshold> = None;
    let mut candidates = candidates.to_vec();
    candidates.sort_by(|a, b| (a - 0.5).abs().total_cmp(&(b - 0.5).abs()).then(a.total_cmp(b)));
    for threshold in candidates {
        let counts = ranking.at(threshold);
        let Some(value) = goal.value(counts) else { continue };
        if best.as_ref().is_none_or(|best| value > best.value) {
            let (precision, recall) = (counts.precision(), counts.recall());
            best = Some(Threshold { threshold, goal, value, precision, recall });
        }
    }
    Ok(best)
}

impl Goal {
    fn value(self, counts: Counts) -> Option<f64> {
        match self {
            Goal::Accuracy {} => counts.accuracy(),
            Goal::BalancedAccuracy {} => counts.balanced_accuracy(),
            Goal::F1 {} => counts.f1(),
            Goal::Recall { min_precision } => {
                counts.precision().filter(|precision| *precision >= min_precision).and(counts.recall())
            }
            Goal::Precision { min_recall } => {
                counts.recall().filter(|recall| *recall >= min_recall).and(counts.precision())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Axis, stack};
    use proptest::prelude::*;

    use super::*;

    const TRUTH: [u32; 24] = [0, 0, 0, 1, 1, 0, 1, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 1];
    const SCORES: [f64; 24] = [
        0.51, 0.22, 0.76, 0.93, 0.45, 0.36, 0.76, 0.39, 0.63, 0.43, 0.84, 0.85, 0.48, 0.54, 0.16, 0.48, 0.18,
        0.12, 0.31, 0.43, 0.92, 0.46, 0.31, 0.79,
    ];

    fn two(scores: &[f64]) -> Array2<f64> {
        let scores = Array1::from(scores.to_vec());
        stack(Axis(1), &[(1.0 - &scores).view(), scores.view()]).unwrap()
    }

    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-12, "{value} is not {expected}");
    }

    /// All expected figures by scikit-learn 1.9.1: `accuracy_score`, `balanced_accuracy_score`, `log_loss`,
    /// `brier_score_loss`, `f1_score`, `roc_auc_score`, `average_precision_score`, `calibration_curve(n_bins=10)`.
    #[test]
    fn two_classes_are_judged_as_by_scikit_learn() {
        let judged = classification(&TRUTH, 2, two(&SCORES).view(), None).unwrap();
        assert_eq!(judged.confusion, [[11, 3], [3, 7]]);
        near(judged.accuracy, 0.75);
        near(judged.balanced_accuracy, 0.7428571428571429);
        near(judged.macro_f1, 0.7428571428571429);
        near(judged.log_loss, 0.4697028442640476);
        near(judged.brier, 0.15277916666666666);
        near(judged.roc_auc.unwrap(), 0.9);
        let binary = judged.binary.unwrap();
        near(binary.pr_auc.unwrap(), 0.8708180708180707);
        let observed: Vec<f64> = binary.calibration.iter().map(|bin| bin.observed).collect();
        assert_eq!(observed, [0.0, 0.0, 0.0, 0.5, 0.5, 0.0, 2.0 / 3.0, 1.0, 1.0]);
        let predicted = [0.15333333333333332, 0.22, 0.3425, 0.455, 0.525, 0.63, 0.77, 0.845, 0.925];
        binary.calibration.iter().zip(predicted).for_each(|(bin, expected)| near(bin.predicted, expected));
        // 20 distinct thresholds are no points too many.
        assert_eq!((binary.roc.len(), binary.precision_recall.len()), (21, 21));
        let rates = (binary.precision, binary.recall, binary.f1);
        assert_eq!(rates, (Some(0.7), Some(0.7), Some(0.7)));
    }

    #[test]
    fn a_threshold_changes_the_answers_and_not_the_curves() {
        let judged = classification(&TRUTH, 2, two(&SCORES).view(), Some(0.6)).unwrap();
        assert_eq!(judged.confusion, [[12, 2], [4, 6]]);
        near(judged.balanced_accuracy, 0.7285714285714285);
        near(judged.macro_f1, 0.7333333333333334);
        near(judged.roc_auc.unwrap(), 0.9);
        let binary = judged.binary.unwrap();
        assert_eq!((binary.precision, binary.recall, binary.f1), (Some(0.75), Some(0.6), Some(2.0 / 3.0)));
        assert_eq!(answers(two(&[0.5, 0.6]).view(), None), [0, 1], "of equals the first");
        assert_eq!(answers(two(&[0.5, 0.6]).view(), Some(0.5)), [1, 1], "at least the threshold");
    }

    const TRUTH3: [u32; 15] = [1, 2, 0, 1, 1, 0, 2, 2, 1, 2, 1, 2, 2, 1, 0];

    fn three() -> Array2<f64> {
        ndarray::array![
            [0.09, 0.64, 0.27],
            [0.09, 0.42, 0.49],
            [0.55, 0.21, 0.24],
            [0.15, 0.28, 0.57],
            [0.27, 0.55, 0.18],
            [0.74, 0.02, 0.24],
            [0.02, 0.08, 0.9],
            [0.33, 0.21, 0.46],
            [0.4, 0.34, 0.26],
            [0.35, 0.18, 0.47],
            [0.34, 0.59, 0.07],
            [0.45, 0.0, 0.55],
            [0.46, 0.08, 0.46],
            [0.44, 0.22, 0.34],
            [0.49, 0.21, 0.3]
        ]
    }

    /// By scikit-learn 1.9.1, as above; `roc_auc_score(multi_class='ovr')`.
    #[test]
    fn three_classes_are_judged_as_by_scikit_learn() {
        let judged = classification(&TRUTH3, 3, three().view(), None).unwrap();
        assert_eq!(judged.confusion, [[3, 0, 0], [2, 3, 1], [1, 0, 5]]);
        near(judged.accuracy, 0.7333333333333333);
        near(judged.balanced_accuracy, 0.7777777777777778);
        near(judged.log_loss, 0.7183052976176633);
        near(judged.brier, 0.4222666666666666);
        near(judged.macro_f1, 0.7222222222222222);
        near(judged.roc_auc.unwrap(), 0.9506172839506174);
        let precisions: Vec<_> = judged.classes.iter().map(|class| class.precision).collect();
        assert_eq!(precisions, [Some(0.5), Some(1.0), Some(5.0 / 6.0)]);
        assert!(judged.binary.is_none());
    }

    /// By scikit-learn 1.9.1 with `labels=[0, 1, 2]`; its area is NaN.
    #[test]
    fn a_class_without_rows_has_no_recall_and_spoils_no_mean() {
        let truth = TRUTH3.map(|code| if code == 2 { 0 } else { code });
        let judged = classification(&truth, 3, three().view(), None).unwrap();
        near(judged.balanced_accuracy, 0.4722222222222222);
        near(judged.macro_f1, 0.4);
        near(judged.log_loss, 1.1402294497010055);
        near(judged.brier, 0.6396);
        assert_eq!(judged.roc_auc, None);
        assert_eq!((judged.classes[2].recall, judged.classes[2].f1), (None, Some(0.0)));
        let judged = classification(&[0, 0], 2, two(&[0.1, 0.2]).view(), None).unwrap();
        let class = &judged.classes[1];
        assert_eq!((class.precision, class.recall, class.f1), (None, None, None));
        assert_eq!((judged.balanced_accuracy, judged.roc_auc), (1.0, None));
    }

    /// `log_loss([0, 1], [[0, 1], [0, 1]])` of scikit-learn 1.9.1.
    #[test]
    fn to_be_sure_and_wrong_costs_much_and_not_infinitely() {
        let judged = classification(&[0, 1], 2, two(&[1.0, 1.0]).view(), None).unwrap();
        near(judged.log_loss, 18.021826694558577);
    }

    #[test]
    fn what_cannot_be_judged_is_an_error() {
        let error = classification(&[], 2, two(&[]).view(), None).unwrap_err();
        assert_eq!(error.code(), codes::PREDICTOR_DATA);
        assert!(classification(&[2], 2, two(&[0.1]).view(), None).is_err());
        assert!(classification(&[0], 2, two(&[f64::NAN]).view(), None).is_err());
        assert!(classification(&[0, 1], 2, two(&[0.1]).view(), None).is_err());
    }

    /// The best over all scores as thresholds, by scikit-learn 1.9.1.
    #[test]
    fn the_threshold_is_the_best_there_is() {
        let choose = |goal| {
            choose_threshold(&TRUTH, &SCORES, &candidates(&SCORES), goal).unwrap().map(|chosen| chosen.value)
        };
        near(choose(Goal::Accuracy {}).unwrap(), 0.8333333333333334);
        near(choose(Goal::BalancedAccuracy {}).unwrap(), 0.8571428571428572);
        near(choose(Goal::F1 {}).unwrap(), 0.8333333333333334);
        near(choose(Goal::Recall { min_precision: 0.8 }).unwrap(), 0.6);
        near(choose(Goal::Precision { min_recall: 0.8 }).unwrap(), 0.7142857142857143);
        assert_eq!(choose(Goal::Precision { min_recall: 1.1 }), None, "nothing reaches this");
        let none = choose_threshold(&[0, 0], &[0.1, 0.2], &[0.5], Goal::BalancedAccuracy {}).unwrap();
        assert_eq!(none, None, "there are no positive rows");
    }

    #[test]
    fn a_threshold_is_kept_if_others_are_not_better() {
        let chosen = choose_threshold(&[0, 1], &[0.2, 0.8], &[0.3, 0.7, 0.45, 0.9], Goal::F1 {}).unwrap();
        assert_eq!(chosen.unwrap().threshold, 0.45);
        assert_eq!(candidates(&[0.25, 0.75, 0.25, 1.0]), [0.25, 0.5, 0.875]);
        let many: Vec<f64> = (0..5000).map(|at| f64::from(at) / 5000.0).collect();
        assert_eq!(candidates(&many).len(), 202);
    }

    #[test]
    fn goals_are_read_as_they_are_written() {
        let goal: Goal = serde_json::from_str(r#"{"metric": "recall", "min_precision": 0.9}"#).unwrap();
        assert_eq!(goal, Goal::Recall { min_precision: 0.9 });
        assert!(serde_json::from_str::<Goal>(r#"{"metric": "recall", "min_recall": 0.9}"#).is_err());
        let goal: Goal = serde_json::from_str(r#"{"metric": "balanced_accuracy"}"#).unwrap();
        assert_eq!(goal, Goal::BalancedAccuracy {});
        assert!(serde_json::from_str::<Goal>(r#"{"metric": "f1", "min_recall": 0.9}"#).is_err());
    }

    proptest! {
        #[test]
        fn measures_hold_together(
            rows in prop::collection::vec((0u32..4, prop::collection::vec(0.0f64..1.0, 4)), 1..40)
        ) {
            let truth: Vec<u32> = rows.iter().map(|row| row.0).collect();
            let probabilities = Array2::from_shape_fn((rows.len(), 4), |(row, class)| {
                (rows[row].1[class] + 1e-9) / (rows[row].1.iter().sum::<f64>() + 4e-9)
            });
            let judged = classification(&truth, 4, probabilities.view(), None).unwrap();
            let n = rows.len() as u64;
            prop_assert_eq!(judged.confusion.iter().flatten().sum::<u64>(), n);
            prop_assert_eq!(judged.classes.iter().map(|class| class.support).sum::<u64>(), n);
            prop_assert_eq!(judged.classes.iter().map(|class| class.answered).sum::<u64>(), n);
            prop_assert!((0.0..=1.0).contains(&judged.balanced_accuracy));
            prop_assert!((0.0..=2.0).contains(&judged.brier) && judged.log_loss >= 0.0);
            // By columns in memory, the same bits.
            let by_columns = probabilities.t().as_standard_layout().reversed_axes().to_owned();
            prop_assert_eq!(&classification(&truth, 4, by_columns.view(), None).unwrap(), &judged);
            let text = serde_json::to_string(&judged).unwrap();
            prop_assert_eq!(serde_json::from_str::<Classification>(&text).unwrap(), judged);
        }
    }
}
