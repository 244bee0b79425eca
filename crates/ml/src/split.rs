//! Which rows are learned from, which choose among parameters, and which judge.

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array},
    compute::{can_cast_types, cast, take_record_batch},
    datatypes::{DataType, Float64Type, TimeUnit, TimestampMicrosecondType},
};
use lagar_flow::{Error, Result, codes};
use sha2::{Digest, Sha256};

use crate::{frame::said, spec::Split};

/// The numbers of the rows of each part, in their order. Each row is in one part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Parts {
    pub train: Vec<usize>,
    pub validate: Vec<usize>,
    pub test: Vec<usize>,
}

impl Parts {
    /// By time: the last rows are the test, those before them the validation. Rows of one moment stay together.
    ///
    /// # Errors
    /// As [`moments`].
    pub fn by_time(name: &str, time: &ArrayRef, split: Split) -> Result<Self> {
        let moments = moments(name, time)?;
        let mut sorted = moments.clone();
        sorted.sort_unstable();
        // The first moment that belongs to the last `share` of the rows, if it is not the first of all.
        let from = |share: f64| {
            let rows = (sorted.len() as f64 * share).round() as usize;
            let at = sorted.len().checked_sub(rows.max(1)).map(|at| sorted[at]);
            at.filter(|_| rows > 0).filter(|at| Some(at) != sorted.first())
        };
        let test = from(split.test);
        let validate = if split.validate > 0.0 { from(split.test + split.validate) } else { None };
        let mut parts = Parts::default();
        for (row, moment) in moments.into_iter().enumerate() {
            let part = match (test, validate) {
                (Some(test), _) if moment >= test => &mut parts.test,
                (_, Some(validate)) if moment >= validate => &mut parts.validate,
                _ => &mut parts.train,
            };
            part.push(row);
        }
        Ok(parts)
    }

    /// By a hash of `columns`: a row falls into the same part whatever other rows there are, and equal rows
    /// into one.
    ///
    /// # Errors
    /// [`codes::PREDICTOR_DATA`]: a column has no text form.
    pub fn by_hash(columns: &[(&str, &ArrayRef)], rows: usize, split: Split) -> Result<Self> {
        let mut parts = Parts::default();
        for (row, share) in shares(columns, rows)?.into_iter().enumerate() {
            let part = match share {
                share if share < split.test => &mut parts.test,
                share if share < split.test + split.validate => &mut parts.validate,
                _ => &mut parts.train,
            };
            part.push(row);
        }
        Ok(parts)
    }
}

/// Whether rows can be put in order by a column of that type.
///
/// # Errors
/// [`codes::CONFIG`]: they cannot.
pub(crate) fn check_time(name: &str, data_type: &DataType) -> Result<()> {
    let is_time = matches!(
        data_type,
        DataType::Date32
            | DataType::Date64
            | DataType::Timestamp(..)
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
    );
    if is_time {
        return Ok(());
    }
    let what = format!("`time: {name}` is {}, no date, timestamp or whole number", said(data_type));
    Err(Error::new(codes::CONFIG, what).hint("make one of it in the SQL that makes the table"))
}

/// Whether rows can be told apart by a column of that type.
///
/// # Errors
/// [`codes::CONFIG`]: they cannot. `key`: where the column is named.
pub(crate) fn check_text_form(key: &str, name: &str, data_type: &DataType) -> Result<()> {
    if can_cast_types(data_type, &DataType::Utf8) {
        return Ok(());
    }
    let what = format!("`{key}: {name}` is {}, which has no text form", said(data_type));
    Err(Error::new(codes::CONFIG, what).hint("make one in the SQL that makes the table"))
}

/// Microseconds since 1970 of each row.
///
/// # Errors
/// [`codes::CONFIG`]: the column is no time; [`codes::PREDICTOR_DATA`]: it has nulls, or dates too far away.
pub(crate) fn moments(name: &str, time: &ArrayRef) -> Result<Vec<i64>> {
    check_time(name, time.data_type())?;
    let wrong = |what: String| Error::new(codes::PREDICTOR_DATA, what);
    if time.null_count() > 0 {
        return Err(wrong(format!("`time: {name}` is null in {} of {} rows", time.null_count(), time.len())));
    }
    if time.data_type().is_integer() {
        let numbers = cast(time, &DataType::Int64).map_err(|e| Error::bug("an integer").caused_by(&e))?;
        return Ok(numbers.as_primitive::<arrow::datatypes::Int64Type>().values().to_vec());
    }
    Ok(micros_of(&format!("`time: {name}`"), time)?.values().to_vec())
}

/// Microseconds since 1970 of dates or timestamps, null where there is none. `what`: how people call the column.
///
/// # Errors
/// [`codes::PREDICTOR_DATA`]: some are too far away.
pub(crate) fn micros_of(what: &str, column: &ArrayRef) -> Result<TimestampMicrosecondArray> {
    let micros = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None))
        .map_err(|error| too_far_away(what, column.len(), column.len()).caused_by(&error))?;
    // What does not fit becomes null, behind which 1970 stands.
    match micros.logical_null_count().saturating_sub(column.logical_null_count()) {
        0 => Ok(micros.as_primitive::<TimestampMicrosecondType>().clone()),
        lost => Err(too_far_away(what, lost, column.len())),
    }
}

/// Dates of which no moment or no part can be said.
pub(crate) fn too_far_away(what: &str, count: usize, rows: usize) -> Error {
    let what = format!("{what} is a date too far away in {count} of {rows} rows");
    Error::new(codes::PREDICTOR_DATA, what).hint(
        "such a date often stands for `never`: say in the SQL that makes the table what stands there instead, or leave \
         the rows out (years up to 200000 are possible)",
    )
}

/// For each row a number from 0 to 1 that only its values decide.
pub(crate) fn shares(columns: &[(&str, &ArrayRef)], rows: usize) -> Result<Vec<f64>> {
    let texts = columns.iter().map(|(name, column)| text_of(name, column)).collect::<Result<Vec<_>>>()?;
    let share = |row: usize| {
        let mut hash = Sha256::new();
        for text in &texts {
            // The length keeps (`a`, `bc`) and (`ab`, `c`) apart, and null from the empty text.
            match text.is_valid(row) {
                true => {
                    hash.update((text.value(row).len() as u64).to_le_bytes());
                    hash.update(text.value(row));
                }
                false => hash.update(u64::MAX.to_le_bytes()),
            }
        }
        let digest = hash.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        (u64::from_be_bytes(first) >> 11) as f64 / (1u64 << 53) as f64
    };
    Ok((0..rows).map(share).collect())
}

/// The text form by which rows are told apart. Whole numbers have one form whatever their type.
fn text_of(name: &str, column: &ArrayRef) -> Result<StringArray> {
    let column = match column.data_type() {
        DataType::Float32 | DataType::Float64 => {
            let numbers =
                cast(column, &DataType::Float64).map_err(|e| Error::bug("a float").caused_by(&e))?;
            let numbers = numbers.as_primitive::<Float64Type>();
            return Ok(numbers.iter().map(|number| number.map(|number| number.to_string())).collect());
        }
        _ => cast(column, &DataType::Utf8),
    };
    column.map(|column| column.as_string::<i32>().clone()).map_err(|error| {
        Error::new(codes::PREDICTOR_DATA, format!("`{name}` cannot tell rows apart: it has no text form"))
            .caused_by(&error)
    })
}

/// The rows of `numbers`.
pub(crate) fn rows_of(batch: &RecordBatch, numbers: &[usize]) -> Result<RecordBatch> {
    let numbers: UInt64Array = numbers.iter().map(|number| *number as u64).collect::<Vec<_>>().into();
    take_record_batch(batch, &numbers).map_err(|error| Error::bug("rows cannot be taken").caused_by(&error))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Date32Array, Int64Array, TimestampMillisecondArray};

    use super::*;

    #[test]
    fn the_last_days_are_the_test_and_no_day_is_in_two_parts() {
        let days: ArrayRef = Arc::new(Date32Array::from((0..100).map(|row| row / 3).collect::<Vec<_>>()));
        let parts = Parts::by_time("day", &days, Split { validate: 0.2, test: 0.1 }).unwrap();
        let days_of =
            |rows: &[usize]| rows.iter().map(|row| row / 3).collect::<std::collections::BTreeSet<_>>();
        let (train, validate, test) = (days_of(&parts.train), days_of(&parts.validate), days_of(&parts.test));
        assert!(train.last() < validate.first() && validate.last() < test.first());
        assert_eq!(parts.train.len() + parts.validate.len() + parts.test.len(), 100);
        assert!((8..=13).contains(&parts.test.len()) && (15..=23).contains(&parts.validate.len()));
    }

    #[test]
    fn one_moment_leaves_nothing_to_judge_by() {
        let days: ArrayRef = Arc::new(Date32Array::from(vec![5; 10]));
        let parts = Parts::by_time("day", &days, Split::default()).unwrap();
        assert_eq!((parts.train.len(), parts.validate.len(), parts.test.len()), (10, 0, 0));
    }

    #[test]
    fn a_time_too_far_away_is_refused_and_is_not_1970() {
        let far: [(ArrayRef, usize); 2] = [
            (Arc::new(Date32Array::from(vec![19_000, i32::MAX, 19_001])), 1),
            (Arc::new(TimestampMillisecondArray::from(vec![0, i64::MAX, i64::MIN])), 2),
        ];
        for (time, count) in far {
            let error = moments("day", &time).unwrap_err();
            assert_eq!(error.code(), codes::PREDICTOR_DATA);
            let says = format!("`time: day` is a date too far away in {count} of 3 rows");
            assert_eq!(error.message(), says);
            assert!(error.hint_text().unwrap().contains("never"), "{error}");
        }
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX]));
        assert_eq!(moments("number", &numbers).unwrap(), [i64::MIN, i64::MAX]);
    }

    #[test]
    fn a_row_falls_into_the_same_part_whatever_the_others_are() {
        let part_of = |keys: Vec<i64>, key: i64| {
            let column: ArrayRef = Arc::new(Int64Array::from(keys.clone()));
            let parts = Parts::by_hash(&[("id", &column)], keys.len(), Split::default()).unwrap();
            let row = keys.iter().position(|k| *k == key).unwrap();
            [&parts.train, &parts.validate, &parts.test].iter().position(|part| part.contains(&row))
        };
        for key in 0..50 {
            assert_eq!(part_of((0..50).collect(), key), part_of((0..200).rev().collect(), key));
        }
        let column: ArrayRef = Arc::new(Int64Array::from((0..10_000).collect::<Vec<_>>()));
        let parts = Parts::by_hash(&[("id", &column)], 10_000, Split::default()).unwrap();
        assert!((1_350..1_650).contains(&parts.test.len()), "{}", parts.test.len());
        assert!((1_350..1_650).contains(&parts.validate.len()), "{}", parts.validate.len());
    }
}
