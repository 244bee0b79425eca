//! `materialize: partition`: the partitions that new rows touch are made again, of all rows of the inputs.
//!
//! Which ones that are, the SELECT itself says, over what came to its `incremental` inputs and over what went
//! from them: rows of a load that another one took the place of, files of a table that were written again.

use std::collections::BTreeSet;

use lagar_engine::{
    Session, Strategy,
    merge::{OneOf, distinct_values},
    model::{Materialize, Model},
};
use lagar_flow::{Error, Result};
use lagar_lake::{DataFile, Table, partition_values};

use super::{
    Again, Next, Staged,
    inputs::{Inputs, Used, replaced, used_id},
    next, rows_of,
};
use crate::{report::StepReport, run::Context};

/// Whether `model` can make the partitions with the `given` values of columns again.
pub(crate) fn can_make_again(model: &Model, given: &[(String, String)]) -> bool {
    model.front.materialize == Materialize::Partition
        && given.iter().all(|(column, _)| model.front.partition_by.contains(column))
}

/// What this run is asked to make again of `model`.
pub(super) fn asked(context: &Context, model: &Model) -> Option<Vec<OneOf>> {
    if context.partitions.is_empty() || !can_make_again(model, &context.partitions) {
        return None;
    }
    let mut asked: Vec<OneOf> = Vec::new();
    for (column, value) in &context.partitions {
        let value = Some(value.clone()).filter(|value| !value.is_empty());
        match asked.iter_mut().find(|asked| asked.column == *column) {
            Some(asked) => _ = asked.values.insert(value),
            None => asked.push(OneOf { column: column.clone(), values: BTreeSet::from([value]) }),
        }
    }
    Some(asked)
}

/// The partitions of `base` that what is new in `inputs` touches; all of them where it cannot be told, which
/// the report then says.
pub(super) async fn touched(
    context: &Context,
    model: &Model,
    inputs: &Inputs,
    base: &Table,
    used: &Used,
    report: &mut StepReport,
) -> Result<Again> {
    let columns = &model.front.partition_by;
    let looks = inputs.session(context)?.looks_across(&model.sql, columns).await;
    if let Some(why) = looks.map_err(|error| model.locate(&error))? {
        report.notes.push(format!("all partitions are made again: {why}"));
        return Ok(Again::All);
    }
    let (mut came, mut went) = (inputs.clone(), inputs.clone());
    let mut something_went = false;
    for (input, used) in &used.0 {
        let used = match used {
            Ok(used) => *used,
            Err(why) => {
                report.notes.push(format!("all partitions are made again: {why}"));
                return Ok(Again::All);
            }
        };
        if let Some(loads) = inputs.raw.get(input) {
            let gone = replaced(loads, used);
            if gone.iter().flat_map(|load| &load.files).any(|file| file.in_place.is_some()) {
                let why =
                    format!("what files of `{input}` had before, which are used in place, is not there");
                report.notes.push(format!("all partitions are made again: {why}"));
                return Ok(Again::All);
            }
            something_went |= !gone.is_empty();
            went.raw.insert(input.clone(), gone);
            came.raw.entry(input.clone()).or_default().retain(|load| load.number > used);
        }
        if let Some(table) = inputs.tables.get(input) {
            let Some(changed) = context.lake.changed_since(table, used, used_id(base, input)).await? else {
                let why = format!("what changed in `{input}` since version {used} cannot be told");
                report.notes.push(format!("all partitions are made again: {why}"));
                return Ok(Again::All);
            };
            something_went |= !changed.removed.is_empty();
            came.tables.insert(input.clone(), Table { files: changed.added, ..table.clone() });
            went.tables.insert(input.clone(), Table { files: changed.removed, ..table.clone() });
        }
    }
    let mut values: Vec<OneOf> =
        columns.iter().map(|column| OneOf { column: column.clone(), values: BTreeSet::new() }).collect();
    collect(context, model, &came, &mut values).await?;
    if something_went {
        collect(context, model, &went, &mut values).await?;
    }
    Ok(Again::With(values))
}

/// Adds the values that the partition columns have in what the SELECT makes of `inputs`.
async fn collect(context: &Context, model: &Model, inputs: &Inputs, values: &mut [OneOf]) -> Result<()> {
    let session = inputs.session(context)?;
    let failed = |error: Error| model.locate(&error);
    // A fault of the model is told in the model's own text, not in the query around it.
    let schema = session.describe_stored(&model.sql).await.map_err(failed)?;
    model.check_columns(&schema)?;
    let sql = distinct_values(&model.sql, &model.front.partition_by);
    let read = session.with_less_memory_if_needed(|strategy| values_of(context, &session, &sql, strategy));
    let (rows, _) = read.await.map_err(failed)?;
    for row in rows {
        for (of_column, value) in values.iter_mut().zip(row) {
            of_column.values.insert(value);
        }
    }
    Ok(())
}

async fn values_of(
    context: &Context,
    session: &Session,
    sql: &str,
    strategy: Strategy,
) -> Result<Vec<Vec<Option<String>>>> {
    let mut query = session.query_with(sql, strategy).await?;
    let mut rows = Vec::new();
    while let Some(batch) = next(context, &mut query).await? {
        rows.extend(partition_values(&batch)?);
    }
    Ok(rows)
}

/// The version to be: `made` in place of the partitions of `base` that were made again; `made_again` are those
/// of the SELECT's result, also where a check left all of their rows out.
pub(super) fn instead(
    model: &Model,
    base: Option<&Table>,
    again: &Again,
    made_again: &BTreeSet<Partition>,
    made: Staged,
    report: &mut StepReport,
) -> Result<Next> {
    let mut files = base.map(|base| base.files.clone()).unwrap_or_default();
    let before = files.len();
    let partitions = partitions_of(&made.files);
    if let Again::With(values) = again
        && let Some(file) = made.files.iter().find(|file| !is_one_of(file, values))
    {
        let why = format!("{} is in a partition that was not asked for", file.path);
        return Err(Error::bug(format!("`{}`: {why}", model.name)));
    }
    files.retain(|file| !is_made_again(file, again, made_again));
    let same_columns = base.is_some_and(|base| base.schema.fields().len() == made.schema.fields().len());
    let same_rows = same_columns && files.len() == before && made.files.is_empty();
    report.notes.push(match partitions.len() {
        1 => "1 partition made again".to_owned(),
        count => format!("{count} partitions made again"),
    });
    let untouched = rows_of(&files);
    files.extend(made.files);
    Ok(Next { staged: Staged { schema: made.schema, files }, same_rows, untouched })
}

pub(super) type Partition = Vec<(String, Option<String>)>;

pub(super) fn partitions_of<'f>(files: impl IntoIterator<Item = &'f DataFile>) -> BTreeSet<Partition> {
    files.into_iter().map(|file| file.partition.clone()).collect()
}

/// Whether `file` was in a partition that was made again; `made`: those of the result.
pub(super) fn is_made_again(file: &DataFile, again: &Again, made: &BTreeSet<Partition>) -> bool {
    match again {
        Again::All => true,
        Again::OfResult(also) => {
            made.contains(&file.partition) || also.iter().any(|values| is_one_of(file, values))
        }
        Again::With(values) => is_one_of(file, values),
    }
}

/// The partitions that `files` lie in, to be made again.
pub(super) fn with_those_of(model: &Model, files: &[DataFile]) -> Vec<OneOf> {
    let of = |column: &String| {
        let values = files.iter().flat_map(|file| &file.partition).filter(|(name, _)| name == column);
        OneOf { column: column.clone(), values: values.map(|(_, value)| value.clone()).collect() }
    };
    model.front.partition_by.iter().map(of).collect()
}

fn is_one_of(file: &DataFile, given: &[OneOf]) -> bool {
    given.iter().all(|given| {
        let value = file.partition.iter().find(|(name, _)| *name == given.column);
        value.is_some_and(|(_, value)| given.values.contains(value))
    })
}
