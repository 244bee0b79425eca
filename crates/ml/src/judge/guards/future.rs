//! Does a feature know the future?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The fall that is suspicious.
pub const FUTURE_MARGIN: f64 = 0.1;

/// A predictor judged twice, by the same measure on the same table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Future {
    /// The score where it learned from the past and was judged by what came after.
    pub ordered: f64,
    /// The score where rows were put in the two parts by chance, so that it learned from rows before and after
    /// those that judged it.
    pub shuffled: f64,
    /// By how much it is worse where it cannot look ahead: `shuffled - ordered`.
    pub fall: f64,
    /// Whether it probably looked ahead: `fall` is larger than the margin.
    pub likely: bool,
}

/// Whether a predictor looked ahead. Both scores are of one measure of which 1 is the best and higher is better
/// (balanced accuracy, ROC AUC, R²), so that a margin means something; [`FUTURE_MARGIN`] is a tenth.
///
/// A feature that was computed from rows that come later (a mean around the row, a total of the whole month, a rank
/// in the whole table) carries what happened to its neighbours in time: that helps while neighbours stand in both
/// parts, and is gone when the parts are cut at one time. The fall is a sign, not a proof: a world that changed has
/// the same, and so have rows of one object that look alike. Both say that the score of shuffled rows is not what
/// one will get. `None` if a score is not a number.
pub fn future(ordered: f64, shuffled: f64, margin: f64) -> Option<Future> {
    let fall = shuffled - ordered;
    fall.is_finite().then_some(Future { ordered, shuffled, fall, likely: fall > margin })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_fall_is_suspicious_and_a_gain_is_not() {
        let likely = |ordered, shuffled| future(ordered, shuffled, FUTURE_MARGIN).unwrap().likely;
        assert!(likely(0.6, 0.95));
        assert!(!likely(0.85, 0.9));
        assert!(!likely(0.9, 0.6));
        assert_eq!(future(0.75, 0.5, 0.1).unwrap().fall, -0.25);
        assert_eq!(future(f64::NAN, 0.5, 0.1), None);
    }
}
