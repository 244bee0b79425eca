//! Does a feature know the future?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::judge::numbers::{finite, mean};

/// The fall that is suspicious, if it is more than chance.
pub const FUTURE_MARGIN: f64 = 0.1;
/// A fall of so many standard errors is more than chance: it happens once in forty times.
const ERRORS: f64 = 2.0;

/// A predictor judged twice, by the same measure on the same table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Future {
    /// The score where it learned from the past and was judged by what came after: balanced accuracy, or by how much
    /// the squared error is less than the variance of the whole target, as a part of that.
    pub ordered: f64,
    /// The score where rows were put in the two parts by chance, so that it learned from rows before and after
    /// those that judged it.
    pub shuffled: f64,
    /// By how much it is worse where it cannot look ahead: `shuffled - ordered`.
    pub fall: f64,
    /// The standard error of `fall`: so far it is off by chance, as rows are.
    #[serde(default)]
    pub error: f64,
    /// Whether it probably looked ahead: `fall` is more than a tenth, and more than two standard errors.
    pub likely: bool,
}

/// How good answers are, and how far that is off by chance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    mean: f64,
    error: f64,
}

impl Score {
    /// The mean of what the rows of each group have on the mean, each from about 0 (nothing) to 1 (all right). `None`
    /// without rows. Of few rows little is known, though they be all alike: it is off as if each group had one more
    /// that is right and one that is not.
    pub fn of<'a>(groups: impl IntoIterator<Item = &'a Vec<f64>>) -> Option<Self> {
        let groups: Vec<&Vec<f64>> = groups.into_iter().filter(|rows| !rows.is_empty()).collect();
        if groups.is_empty() {
            return None;
        }
        let means: Vec<f64> = groups.iter().map(|rows| mean(rows)).collect();
        let variances = groups.iter().map(|rows| {
            let more: Vec<f64> = rows.iter().copied().chain([0.0, 1.0]).collect();
            let middle = mean(&more);
            let squares: f64 = more.iter().map(|row| (row - middle) * (row - middle)).sum();
            squares / more.len() as f64 / more.len() as f64
        });
        let error = variances.sum::<f64>().sqrt() / groups.len() as f64;
        Some(Self { mean: finite(mean(&means))?, error: finite(error)? })
    }
}

/// Whether a predictor looked ahead. Both scores are of one measure of which 1 is the best, higher is better, and that
/// means the same for any part of the table: a tenth is much, and an R² is not of that kind, as it divides by what the
/// target varies in the part, which is less in a few last rows than in as many rows of all times.
///
/// A feature that was computed from rows that come later (a mean around the row, a total of the whole month, a rank
/// in the whole table) carries what happened to its neighbours in time: that helps while neighbours stand in both
/// parts, and is gone when the parts are cut at one time. The fall is a sign, not a proof: a world that changed has
/// the same, and so have rows of one object that look alike. Both say that the score of shuffled rows is not what
/// one will get. What determines the target of a single later row does so in both parts, and is not seen here but by
/// [`super::ahead`].
pub fn future(ordered: Score, shuffled: Score) -> Future {
    let fall = shuffled.mean - ordered.mean;
    let error = (ordered.error * ordered.error + shuffled.error * shuffled.error).sqrt();
    let likely = fall > FUTURE_MARGIN && fall > ERRORS * error;
    Future { ordered: ordered.mean, shuffled: shuffled.mean, fall, error, likely }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of so many rows so many are right.
    fn right(right: usize, of: usize) -> Vec<f64> {
        (0..of).map(|row| f64::from(u8::from(row < right))).collect()
    }

    #[test]
    fn a_large_fall_is_suspicious_and_a_gain_is_not() {
        let score = |of_thousand| Score::of([&right(of_thousand, 1000)]).unwrap();
        let likely = |ordered, shuffled| future(score(ordered), score(shuffled)).likely;
        assert!(likely(600, 950));
        assert!(!likely(850, 900));
        assert!(!likely(900, 600));
        assert_eq!(future(score(750), score(500)).fall, -0.25);
        assert_eq!(Score::of([&vec![f64::NAN]]), None);
        assert_eq!(Score::of([&vec![], &vec![]]), None);
    }

    /// By hand: of two classes 3 of 4 and 1 of 2 are right. The mean of 3/4 and 1/2 is 5/8. With two more each it were
    /// 4 of 6 and 2 of 4, with a variance of `(2/9 / 6 + 1/4 / 4) / 4 = 43/1728`.
    #[test]
    fn classes_count_alike_however_many_rows_they_have() {
        let score = Score::of([&right(3, 4), &vec![], &right(1, 2)]).unwrap();
        assert_eq!(score.mean, 0.625);
        assert!((score.error - (43.0f64 / 1728.0).sqrt()).abs() < 1e-12, "{}", score.error);
    }

    #[test]
    fn of_few_rows_a_large_fall_is_chance() {
        let fall = |rows: usize| {
            let score = |right_ones: usize| Score::of([&right(right_ones * rows / 20, rows)]).unwrap();
            future(score(12), score(15))
        };
        assert!((fall(20).fall - 0.15).abs() < 1e-12 && !fall(20).likely, "{:?}", fall(20));
        assert!(fall(200).likely, "{:?}", fall(200));
    }
}
