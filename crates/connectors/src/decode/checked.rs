//! Reads a file as it was checked when values were left out: what was null then stays null, though the
//! columns have grown since.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, new_null_array},
    datatypes::{FieldRef, Schema, SchemaRef},
};
use lagar_flow::{Body, Format, Result};

use super::{Decoded, DecodedBatches, ReadOptions, Rejects, batch_of, columns::Problem, parquet, read};

/// As [`read`]. `checked` are the columns that [`super::inspect`] found in the file: only those are read,
/// as of the types they had, and are turned into those of `schema` afterwards. A value that cannot be
/// turned makes its row one of [`Decoded::rejects`].
///
/// # Errors
/// As [`read`].
pub fn read_checked(
    body: &Body,
    format: &Format,
    checked: &Schema,
    schema: SchemaRef,
    options: ReadOptions,
) -> Result<DecodedBatches> {
    let then = |field: &FieldRef| checked.fields().find(field.name()).map(|(_, then)| then.clone());
    let narrow: Vec<FieldRef> = schema.fields().iter().filter_map(then).collect();
    let batches = read(body, format, Arc::new(Schema::new(narrow)), options)?;
    Ok(Box::new(batches.map(move |decoded| grown(&schema, decoded?))))
}

/// The rows with the columns of `schema`.
fn grown(schema: &SchemaRef, decoded: Decoded) -> Result<Decoded> {
    let Decoded { batch, rows, rejects } = decoded;
    let mut rejects = Rejects { list: rejects, bytes: 0 };
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let Some(array) = batch.column_by_name(field.name()) else {
            arrays.push(new_null_array(field.data_type(), batch.num_rows()));
            continue;
        };
        let (array, misfits) = parquet::turned(field, array)?;
        for (at, problem) in misfits {
            let row = rows.as_ref().and_then(|rows| rows.get(at).copied()).unwrap_or(at as u64 + 1);
            reject(&mut rejects, row, problem, &batch, at);
        }
        arrays.push(array);
    }
    Ok(Decoded { batch: batch_of(schema, arrays, batch.num_rows())?, rows, rejects: rejects.list })
}

fn reject(rejects: &mut Rejects, row: u64, problem: Problem, batch: &RecordBatch, at: usize) {
    rejects.add(row, problem, || parquet::row_text(batch, at));
}
