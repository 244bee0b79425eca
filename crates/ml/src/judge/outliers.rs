//! What was found unusual.

use lagar_flow::{Error, Result, codes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::numbers::Quantiles;

/// Nobody knows which rows are unusual, so there is no better or worse here: only how many were flagged, and
/// where the scores lie.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outliers {
    pub rows: u64,
    /// Rows that are too unusual.
    pub flagged: u64,
    /// `flagged` as a share of the rows.
    pub share: f64,
    /// The higher a score, the more unusual the row.
    pub scores: Quantiles,
}

/// # Errors
/// [`codes::PREDICTOR_DATA`] without rows; a defect if lengths differ or a score is not finite.
pub fn outliers(scores: &[f64], flagged: &[bool]) -> Result<Outliers> {
    if scores.len() != flagged.len() || !scores.iter().all(|score| score.is_finite()) {
        return Err(Error::bug("the scores and the flags to judge do not fit together"));
    }
    let Some(quantiles) = Quantiles::of(scores) else {
        return Err(Error::new(codes::PREDICTOR_DATA, "there are 0 rows to judge a predictor by"));
    };
    let count = flagged.iter().filter(|flagged| **flagged).count();
    Ok(Outliers {
        rows: scores.len() as u64,
        flagged: count as u64,
        share: count as f64 / scores.len() as f64,
        scores: quantiles,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_counted() {
        let judged = outliers(&[1.0, 5.0, 2.0, 3.0], &[false, true, false, false]).unwrap();
        assert_eq!((judged.rows, judged.flagged, judged.share), (4, 1, 0.25));
        assert_eq!((judged.scores.min, judged.scores.median, judged.scores.max), (1.0, 2.5, 5.0));
        assert_eq!(outliers(&[], &[]).unwrap_err().code(), codes::PREDICTOR_DATA);
        assert!(outliers(&[1.0], &[]).is_err() && outliers(&[f64::INFINITY], &[true]).is_err());
    }
}
