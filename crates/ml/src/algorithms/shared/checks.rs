//! What is asked of parameters, rows and stored numbers again and again.

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

/// Of what was stored: there must be as many of something as of something else.
pub(crate) fn as_many(what: &str, found: usize, of: &str, wanted: usize) -> Result<(), String> {
    match found == wanted {
        true => Ok(()),
        false => Err(format!("there are {found} {what} for {wanted} {of}")),
    }
}

/// Of what was stored: the rows of a list must all have as many numbers as there are columns.
pub(crate) fn rows_of_columns<'a>(
    what: &str,
    rows: impl IntoIterator<Item = &'a [f64]>,
    columns: usize,
) -> Result<(), String> {
    let what = format!("numbers of {what}");
    rows.into_iter().try_for_each(|row| as_many(&what, row.len(), "columns", columns))
}

/// Of what was stored: it must know the classes of the target, of which there must be some.
pub(crate) fn known_classes(found: usize, classes: usize) -> Result<(), String> {
    if classes == 0 {
        return Err("it tells classes apart, and the target has none".to_owned());
    }
    as_many("classes", found, "classes of the target", classes)
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
