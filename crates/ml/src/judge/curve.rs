//! Curves of a classifier of two classes, from how it ranks the rows, and thinned for a picture.

use super::numbers::ratio;
use crate::math::hypot;

/// As many points as a picture of a curve needs.
pub(super) const CURVE_POINTS: usize = 200;

/// The rows by descending score: how many of each class lie at or above each score that occurs.
pub(super) struct Ranking {
    pub positives: u64,
    pub negatives: u64,
    steps: Vec<Step>,
}

#[derive(Clone, Copy)]
struct Step {
    score: f64,
    true_positives: u64,
    false_positives: u64,
}

/// What happens to the rows at a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub tp: u64,
    pub fp: u64,
    pub tn: u64,
    pub fn_: u64,
}

impl Ranking {
    /// From the score of each row and whether it is positive.
    pub fn new(rows: impl Iterator<Item = (f64, bool)>) -> Self {
        let mut rows: Vec<(f64, bool)> = rows.collect();
        rows.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let mut ranking = Self { positives: 0, negatives: 0, steps: Vec::new() };
        for (score, positive) in rows {
            ranking.positives += u64::from(positive);
            ranking.negatives += u64::from(!positive);
            let (true_positives, false_positives) = (ranking.positives, ranking.negatives);
            let step = Step { score, true_positives, false_positives };
            match ranking.steps.last_mut() {
                Some(last) if last.score == score => *last = step,
                _ => ranking.steps.push(step),
            }
        }
        ranking
    }

    /// If rows with at least the score `threshold` are called positive.
    pub fn at(&self, threshold: f64) -> Counts {
        let steps = self.steps.partition_point(|step| step.score >= threshold);
        let (tp, fp) = match steps.checked_sub(1) {
            Some(last) => (self.steps[last].true_positives, self.steps[last].false_positives),
            None => (0, 0),
        };
        Counts { tp, fp, tn: self.negatives - fp, fn_: self.positives - tp }
    }

    /// The area under the ROC curve: how often a positive row has a higher score than a negative one, ties
    /// counting half. `None` if one of the classes has no row. Exact until the one division.
    pub fn roc_auc(&self) -> Option<f64> {
        if self.positives == 0 || self.negatives == 0 {
            return None;
        }
        let mut twice_area: u128 = 0;
        let (mut tp, mut fp) = (0, 0);
        for step in &self.steps {
            twice_area += u128::from(step.false_positives - fp) * u128::from(step.true_positives + tp);
            (tp, fp) = (step.true_positives, step.false_positives);
        }
        Some(twice_area as f64 / (2 * u128::from(self.positives) * u128::from(self.negatives)) as f64)
    }

    /// `Σ (recall - recall before) · precision` over the thresholds, as scikit-learn's `average_precision_score`;
    /// no line is drawn between the points, which would be too hopeful. `None` without positive rows.
    pub fn average_precision(&self) -> Option<f64> {
        if self.positives == 0 {
            return None;
        }
        let mut sum = 0.0;
        let mut before = 0;
        for step in &self.steps {
            let called = step.true_positives + step.false_positives;
            sum += (step.true_positives - before) as f64 * (step.true_positives as f64 / called as f64);
            before = step.true_positives;
        }
        Some(sum / self.positives as f64)
    }

    /// (False positive rate, true positive rate) from (0, 0) to (1, 1). Empty if one of the classes has no row.
    pub fn roc(&self) -> Vec<(f64, f64)> {
        if self.positives == 0 || self.negatives == 0 {
            return Vec::new();
        }
        let (positives, negatives) = (self.positives as f64, self.negatives as f64);
        let points = self
            .steps
            .iter()
            .map(|step| (step.false_positives as f64 / negatives, step.true_positives as f64 / positives));
        thin([(0.0, 0.0)].into_iter().chain(points).collect(), CURVE_POINTS)
    }

    /// (Recall, precision) from (0, 1) to where every row is called positive. Empty without positive rows.
    pub fn precision_recall(&self) -> Vec<(f64, f64)> {
        if self.positives == 0 {
            return Vec::new();
        }
        let positives = self.positives as f64;
        let points = self.steps.iter().map(|step| {
            let called = step.true_positives + step.false_positives;
            (step.true_positives as f64 / positives, step.true_positives as f64 / called as f64)
        });
        thin([(0.0, 1.0)].into_iter().chain(points).collect(), CURVE_POINTS)
    }
}

impl Counts {
    pub fn accuracy(self) -> Option<f64> {
        ratio(self.tp + self.tn, self.tp + self.tn + self.fp + self.fn_)
    }

    pub fn precision(self) -> Option<f64> {
        ratio(self.tp, self.tp + self.fp)
    }

    pub fn recall(self) -> Option<f64> {
        ratio(self.tp, self.tp + self.fn_)
    }

    /// The harmonic mean of precision and recall, `2 tp / (2 tp + fp + fn)`: 0 where rows are of the class or
    /// called so and none is both; `None` where none is either.
    pub fn f1(self) -> Option<f64> {
        ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn_)
    }

    /// The mean of the recalls of both classes.
    pub fn balanced_accuracy(self) -> Option<f64> {
        Some((self.recall()? + ratio(self.tn, self.tn + self.fp)?) / 2.0)
    }
}

/// At most `most` of the points, at least two, that keep the shape: the ends, and again and again the point that
/// lies farthest from the line drawn so far (Douglas and Peucker, 1973). A curve of many rows is first rid of
/// points that no picture can show, so that the time does not grow with rows times points.
pub(super) fn thin(points: Vec<(f64, f64)>, most: usize) -> Vec<(f64, f64)> {
    if points.len() <= most {
        return points;
    }
    let points = apart(&points, 1e-3);
    let mut kept = vec![0, points.len() - 1];
    let mut open: Vec<Gap> = Gap::between(&points, 0, points.len() - 1).into_iter().collect();
    while kept.len() < most {
        let farthest = open.iter().enumerate().rev().max_by(|a, b| a.1.distance.total_cmp(&b.1.distance));
        let Some((at, _)) = farthest else { break };
        let gap = open.swap_remove(at);
        kept.push(gap.farthest);
        open.extend(Gap::between(&points, gap.from, gap.farthest));
        open.extend(Gap::between(&points, gap.farthest, gap.to));
    }
    kept.sort_unstable();
    kept.into_iter().map(|at| points[at]).collect()
}

/// Leaves out points that are within `step` of the last one kept, both ways; never the last.
fn apart(points: &[(f64, f64)], step: f64) -> Vec<(f64, f64)> {
    let mut kept: Vec<(f64, f64)> = Vec::new();
    for (at, point) in points.iter().enumerate() {
        let near = kept
            .last()
            .is_some_and(|last| (last.0 - point.0).abs() <= step && (last.1 - point.1).abs() <= step);
        if !near || at + 1 == points.len() {
            kept.push(*point);
        }
    }
    kept
}

/// A straight line drawn over the points between two that are kept.
struct Gap {
    from: usize,
    to: usize,
    farthest: usize,
    distance: f64,
}

impl Gap {
    /// `None` if no point between lies off the line.
    fn between(points: &[(f64, f64)], from: usize, to: usize) -> Option<Self> {
        let mut gap = Self { from, to, farthest: from, distance: 0.0 };
        for (at, point) in points.iter().enumerate().take(to).skip(from + 1) {
            let distance = distance(*point, points[from], points[to]);
            if distance > gap.distance {
                (gap.farthest, gap.distance) = (at, distance);
            }
        }
        (gap.distance > 0.0).then_some(gap)
    }
}

/// How far `point` is from the straight line between `a` and `b`.
fn distance(point: (f64, f64), a: (f64, f64), b: (f64, f64)) -> f64 {
    let (along, off) = ((b.0 - a.0, b.1 - a.1), (point.0 - a.0, point.1 - a.1));
    let length = along.0 * along.0 + along.1 * along.1;
    let share = if length > 0.0 { (along.0 * off.0 + along.1 * off.1) / length } else { 0.0 };
    let share = share.clamp(0.0, 1.0);
    hypot(off.0 - share * along.0, off.1 - share * along.1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// scikit-learn's `roc_curve`, `precision_recall_curve`, `roc_auc_score` and `average_precision_score` of the
    /// example in their documentation: truth 0 0 1 1, scores 0.1 0.4 0.35 0.8.
    #[test]
    fn curves_are_those_of_the_textbook_example() {
        let rows = [(0.1, false), (0.4, false), (0.35, true), (0.8, true)];
        let ranking = Ranking::new(rows.into_iter());
        assert_eq!(ranking.roc_auc(), Some(0.75));
        assert!((ranking.average_precision().unwrap() - 0.8333333333333333).abs() < 1e-15);
        assert_eq!(ranking.roc(), [(0.0, 0.0), (0.0, 0.5), (0.5, 0.5), (0.5, 1.0), (1.0, 1.0)]);
        let third = 2.0 / 3.0;
        assert_eq!(
            ranking.precision_recall(),
            [(0.0, 1.0), (0.5, 1.0), (0.5, 0.5), (1.0, third), (1.0, 0.5)]
        );
        assert_eq!(ranking.at(0.4), Counts { tp: 1, fp: 1, tn: 1, fn_: 1 });
        assert_eq!(ranking.at(0.9), Counts { tp: 0, fp: 0, tn: 2, fn_: 2 });
    }

    #[test]
    fn without_a_class_nothing_is_said() {
        let ranking = Ranking::new([(0.1, true), (0.2, true)].into_iter());
        assert_eq!((ranking.roc_auc(), ranking.average_precision()), (None, Some(1.0)));
        let ranking = Ranking::new([(0.1, false)].into_iter());
        assert_eq!((ranking.roc_auc(), ranking.average_precision()), (None, None));
        assert!(ranking.roc().is_empty() && ranking.precision_recall().is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// The area is what it means: pairs ranked right, ties half.
        #[test]
        fn the_area_counts_pairs(rows in prop::collection::vec((0u8..20, any::<bool>()), 2..60)) {
            let of = |sign: f64| {
                Ranking::new(rows.iter().map(|(score, positive)| (sign * f64::from(*score), *positive)))
            };
            let mut pairs = (0.0, 0.0);
            for (high, _) in rows.iter().filter(|row| row.1) {
                for (low, _) in rows.iter().filter(|row| !row.1) {
                    pairs.0 += if high > low { 1.0 } else if high == low { 0.5 } else { 0.0 };
                    pairs.1 += 1.0;
                }
            }
            match of(1.0).roc_auc() {
                Some(area) => {
                    prop_assert!((area - pairs.0 / pairs.1).abs() < 1e-12);
                    prop_assert!((of(-1.0).roc_auc().unwrap() - (1.0 - area)).abs() < 1e-12);
                }
                None => prop_assert_eq!(pairs.1, 0.0),
            }
        }

        /// Every point that is left out lies near the line that is drawn.
        #[test]
        fn a_thinned_curve_keeps_its_shape(seed in 0u64..50, rows in 300usize..3000) {
            let rows = (0..rows).map(|row| {
                let chance = super::super::sample::mixed(seed, row as u64) as f64 / u64::MAX as f64;
                (chance, chance * chance > 0.3 + 0.4 * (row % 7) as f64 / 7.0)
            });
            let ranking = Ranking::new(rows);
            let whole: Vec<(f64, f64)> = ranking.steps.iter().map(|step| (
                step.false_positives as f64 / ranking.negatives as f64,
                step.true_positives as f64 / ranking.positives as f64,
            )).collect();
            let thinned = ranking.roc();
            prop_assert!(thinned.len() <= CURVE_POINTS);
            prop_assert_eq!((thinned[0], thinned[thinned.len() - 1]), ((0.0, 0.0), (1.0, 1.0)));
            for point in whole {
                let near = thinned.windows(2).map(|w| distance(point, w[0], w[1])).fold(1.0, f64::min);
                prop_assert!(near < 0.006, "{} from {:?}", near, point);
            }
        }
    }
}
