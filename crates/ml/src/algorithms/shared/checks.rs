//! What is asked of parameters and rows again and again.

use lagar_flow::{Error, Result, codes};

use crate::algorithm::Training;

/// A parameter that must be a number above 0.
pub(crate) fn above_zero(name: &'static str, value: f64) -> Result<(), (&'static str, String)> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err((name, format!("must be above 0, and is {value}")))
}

/// A parameter that must be at least 1.
pub(crate) fn at_least_one(name: &'static str, value: usize) -> Result<(), (&'static str, String)> {
    if value >= 1 { Ok(()) } else { Err((name, "must be at least 1".to_owned())) }
}

/// The codes of the rows and the number of classes, of which there must be two.
///
/// # Errors
/// [`codes::PREDICTOR_DATA`] if all rows are of one class.
pub(crate) fn classes<'a>(training: &Training<'a>, algorithm: &str) -> Result<(&'a [u32], usize)> {
    let (of_rows, count) = training.target.classes()?;
    if count >= 2 {
        return Ok((of_rows, count));
    }
    Err(Error::new(
        codes::PREDICTOR_DATA,
        format!("all {} rows are of one class: `{algorithm}` has nothing to tell apart", training.rows()),
    )
    .hint("take rows of at least two classes"))
}
