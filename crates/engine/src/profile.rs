//! What is in the columns of a table: nulls, distinct values, bounds, frequent values, histograms. One pass
//! over the rows, in memory that does not depend on how many there are.
//!
//! ```text
//! few values    counted one by one: everything is exact
//! many values   HyperLogLog (distinct), Misra and Gries (frequent), bins that widen (histogram)
//! ```

mod column;
mod looks;
mod sketch;
mod suggest;
#[cfg(test)]
mod tests;
mod value;

use arrow::{array::RecordBatch, datatypes::DataType};
use futures::StreamExt;
use lagar_flow::{Batches, Error, Result};
use serde::Serialize;
use serde_json::Value as Json;

use crate::NullTokens;
use column::Column;
pub use looks::Looks;
use sketch::Counts;
pub use suggest::{Decision, Rule, Suggestion, percent, suggest};

/// So many different values of a column are counted one by one, if the room is enough for them.
pub const COUNTED_VALUES_MAX: usize = 10_000;
/// The room for the counted values of all columns together,
const COUNTED_BYTES_MAX: usize = 128 << 20;
/// and of one.
const COLUMN_BYTES_MAX: usize = 8 << 20;
/// So many of the most frequent values are told.
const TOP_MAX: usize = 10;

/// A table as its rows show it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Profile {
    pub rows: u64,
    /// In the order of the query.
    pub columns: Vec<ColumnProfile>,
}

/// A column as its values show it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnProfile {
    pub name: String,
    #[serde(skip)]
    pub data_type: DataType,
    pub rows: u64,
    pub nulls: u64,
    /// Texts that stand for a missing value, as the project's [`NullTokens`] say. They are no nulls.
    pub null_tokens: u64,
    /// Values that are not a number; they are in no bound, mean and histogram.
    pub nan: u64,
    /// Infinite numbers; they are in no mean and histogram.
    pub infinite: u64,
    /// Different values, nulls not counted.
    pub distinct: u64,
    /// Those that do not stand for a missing value.
    pub distinct_values: u64,
    /// `false`: the numbers of distinct values are estimates, right to some percent.
    pub distinct_is_exact: bool,
    /// The smallest value. Numbers are JSON numbers where JSON has them, all else is text as SQL shows it, and
    /// long texts are cut. Lists, structs and binaries have no bounds.
    pub min: Option<Json>,
    pub max: Option<Json>,
    /// Of numbers.
    pub mean: Option<f64>,
    /// Shortest and longest: characters of a text, bytes of a binary, elements of a list.
    pub lengths: Option<(u64, u64)>,
    /// The most frequent values, the first one leading.
    pub top: Vec<TopValue>,
    pub histogram: Option<Histogram>,
    /// Of a text: what its values could be.
    pub looks: Option<Looks>,
}

impl ColumnProfile {
    /// The share of rows without a value; with `tokens` a text that stands for none is one, too. 0 of no rows.
    pub fn null_share(&self, tokens: bool) -> f64 {
        let missing = self.nulls + if tokens { self.null_tokens } else { 0 };
        if self.rows == 0 { 0.0 } else { missing as f64 / self.rows as f64 }
    }

    /// Whether every value there is comes once, for certain.
    pub fn is_unique(&self) -> bool {
        self.distinct_is_exact && self.rows > 0 && self.distinct == self.rows - self.nulls
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TopValue {
    pub value: Json,
    /// How often it comes; at least, if it is not exact.
    pub count: u64,
    pub is_exact: bool,
    /// It stands for a missing value.
    #[serde(skip)]
    pub is_null_token: bool,
}

/// What a histogram counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    Values,
    /// Characters of a text, bytes of a binary, elements of a list.
    Lengths,
}

/// How often values lie in each of some steps of the same width.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Histogram {
    pub of: Measure,
    /// Where the first step begins
    pub from: Json,
    /// and the largest value in the last one.
    pub to: Json,
    pub counts: Vec<u64>,
    /// `false`: a value may be counted in a step beside its own.
    pub is_exact: bool,
}

/// Reads all of `batches`, the columns on `threads` threads. `tokens` are the texts that mean null.
///
/// # Errors
/// Those of the query.
pub async fn profile(mut batches: Batches, tokens: &NullTokens, threads: usize) -> Result<Profile> {
    let fields = batches.schema.fields().clone();
    let room = (COUNTED_BYTES_MAX / fields.len().max(1)).min(COLUMN_BYTES_MAX);
    let begin = |field: &std::sync::Arc<arrow::datatypes::Field>| {
        let counts = Counts::new(COUNTED_VALUES_MAX, room);
        Column::new(field.name(), field.data_type(), tokens.clone(), TOP_MAX, counts)
    };
    let mut columns: Vec<Column> = fields.iter().map(begin).collect();
    let mut rows = 0;
    while let Some(batch) = batches.stream.next().await {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        // It is work for the processor: the threads that serve others must not wait for it.
        columns = tokio::task::spawn_blocking(move || add(columns, &batch, threads))
            .await
            .map_err(|error| Error::bug("a profile panicked").caused_by(&error))??;
    }
    Ok(Profile { rows, columns: columns.into_iter().map(Column::finish).collect() })
}

/// Adds a batch; each thread has some of the columns.
fn add(mut columns: Vec<Column>, batch: &RecordBatch, threads: usize) -> Result<Vec<Column>> {
    let each = columns.len().div_ceil(threads.max(1)).max(1);
    let mut done = Vec::new();
    std::thread::scope(|scope| {
        let parts = columns.chunks_mut(each).zip(batch.columns().chunks(each));
        let parts: Vec<_> = parts
            .map(|(columns, arrays)| {
                scope.spawn(move || {
                    columns.iter_mut().zip(arrays).try_for_each(|(column, array)| column.add(array))
                })
            })
            .collect();
        for part in parts {
            done.push(part.join().unwrap_or_else(|_| Err(Error::bug("a profile panicked"))));
        }
    });
    done.into_iter().collect::<Result<()>>()?;
    Ok(columns)
}
