//! Rows that a check of severity `drop` left out. They stay beside the table, version after version, until
//! what they are from is made again, or `lagar quarantine retry` finds that the check lets them in.

use std::sync::Arc;

use arrow::datatypes::Schema;
use lagar_engine::{
    Session, Strategy, TableFiles,
    merge::{LEFT_OUT, all_left_out, with_left_out},
    model::Model,
};
use lagar_flow::{Error, Result, evolve};
use lagar_lake::{LeftOut, Table};

use super::{Staged, begin, next};
use crate::run::Context;

/// More files than this are put together: each version names them all.
const FILES_MAX: usize = 32;

/// What `base` left out.
pub(super) fn of(base: Option<&Table>) -> Option<LeftOut> {
    base?.meta.as_ref()?.left_out.clone().filter(|rows| !rows.files.is_empty())
}

/// The SELECT of `model` with the rows of `back` behind its own.
pub(super) async fn select(
    context: &Context,
    model: &Model,
    session: &Session,
    back: &LeftOut,
) -> Result<String> {
    // A fault of the model is told in the model's own text, not in the query around it.
    let wanted = session.describe_stored(&model.sql).await?;
    let sql = with_left_out(&model.sql, &wanted, back.schema()?.as_ref());
    stage(context, model, session, back)?;
    Ok(sql)
}

/// As `staged.left_out` of `session`.
pub(super) fn stage(context: &Context, model: &Model, session: &Session, rows: &LeftOut) -> Result<()> {
    let (schema, partition_by, files) = (rows.schema()?, &rows.partition_by, &rows.files);
    let files = TableFiles { table: &model.name, schema, partition_by, files };
    session.stage_files(LEFT_OUT, files, &context.lake)
}

/// What lies beside the next version: `stays` of the versions before, and what was left out now.
pub(super) async fn beside(
    context: &Context,
    model: &Model,
    stays: Option<LeftOut>,
    now: Option<&Staged>,
) -> Result<Option<LeftOut>> {
    let by = &model.front.partition_by;
    let now = now.map(|now| LeftOut::new(&now.schema, by, now.files.clone()));
    let (stays, now) = match (stays, now) {
        (Some(stays), Some(now)) => (stays, now),
        (stays, now) => return Ok(stays.or(now)),
    };
    // The name of the check stays the last column.
    let schema: Arc<Schema> = Arc::new(evolve(now.schema()?.as_ref(), stays.schema()?.as_ref()));
    let mut files = stays.files;
    files.extend(now.files);
    let all = LeftOut::new(&schema, by, files);
    if all.files.len() <= FILES_MAX {
        return Ok(Some(all));
    }
    let session = context.engine.session();
    stage(context, model, &session, &all)?;
    let mut query = session.query_stored(&all_left_out(), Strategy::Default).await?;
    let mut writer = begin(context, model, &schema)?;
    while let Some(batch) = next(context, &mut query).await? {
        writer.write(&batch).await?;
    }
    let together = LeftOut::new(&schema, by, writer.finish().await?);
    if together.rows() != all.rows() {
        let why = format!("{} rows that were left out became {}", all.rows(), together.rows());
        return Err(Error::bug(format!("`{}`: {why}", model.name)));
    }
    Ok(Some(together))
}
