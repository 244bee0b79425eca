//! `materialize: merge`: the newest row of each key, old and new.
//!
//! What the SELECT made of the new rows lies in files already, the newest of each key (see
//! [`lagar_engine::merge`]). Here is found which files of the version before hold one of these keys, by what
//! the log says about them, then by reading the keys, then by comparing the rows. Only files in which a row
//! changes are written again; where none does, there are only the new keys to add.

use std::collections::{BTreeMap, BTreeSet};

use arrow::{
    array::{AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use lagar_engine::{
    QueryStats, Session, Strategy, TableFiles,
    merge::{CANDIDATES, FILE, FRESH, Merge, REWRITTEN, STAYING, TOUCHED},
    model::Model,
};
use lagar_flow::{Error, Result};
use lagar_lake::{DataFile, Table, delta_schema, may_share};

use super::{Next, Staged, begin, next, rows_of};
use crate::{report::StepReport, run::Context};

/// The version to be of `fresh`, the newest new rows, and those of `base`.
///
/// # Errors
/// Those of reading and writing; a defect, if there are not as many rows afterwards as there must be.
pub(super) async fn onto(
    context: &Context,
    model: &Model,
    base: Option<&Table>,
    fresh: Staged,
    report: &mut StepReport,
) -> Result<Next> {
    let Some(base) = base else {
        report.notes.push(Counts { inserted: fresh.rows(), ..Counts::default() }.to_string());
        return Ok(Next { staged: fresh, same_rows: false, untouched: 0 });
    };
    let merging = Merging::new(context, model, base, fresh)?;
    let (merged, strategy) =
        merging.session.with_less_memory_if_needed(|strategy| merging.run(strategy)).await?;
    if strategy == Strategy::LowMemory {
        report.notes.push("merged again with less memory: joins that spill, one partition".into());
    }
    let Merged { files, counts, stats } = merged;
    let leftover: Vec<DataFile> =
        merging.fresh.files.iter().filter(|file| !files.contains(file)).cloned().collect();
    context.lake.give_up(&model.name, &leftover).await;
    report.notes.push(counts.to_string());
    report.rows_out = counts.inserted + counts.updated;
    report.bytes_out = files.iter().filter(|file| !base.files.contains(file)).map(|file| file.bytes).sum();
    report.peak_memory_bytes = report.peak_memory_bytes.max(stats.peak_memory_bytes);
    report.spilled_bytes += stats.spilled_bytes;
    // A new column makes other rows of those that are there.
    let same_columns = base.schema.fields().len() == merging.schema.fields().len();
    let same_rows = same_columns && counts.inserted + counts.updated == 0;
    let untouched = rows_of(&base.files) - counts.updated - counts.unchanged;
    Ok(Next { staged: Staged { schema: merging.fresh.schema, files }, same_rows, untouched })
}

/// How many rows of `base` have a key that none of `fresh` has. Only the columns of the key are read.
///
/// # Errors
/// Those of reading.
pub(super) async fn not_in(context: &Context, model: &Model, base: &Table, fresh: &Staged) -> Result<u64> {
    let fresh = Staged { schema: fresh.schema.clone(), files: fresh.files.clone() };
    let merging = Merging::new(context, model, base, fresh)?;
    let (mut stats, sql) = (QueryStats::default(), merging.merge.touched());
    let held = merging.counted(CANDIDATES, &base.files, &sql, Strategy::Default, &mut stats).await?;
    Ok(rows_of(&base.files).saturating_sub(held.values().sum()))
}

/// What became of the new rows.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    inserted: u64,
    updated: u64,
    /// The same as the row that is there, or older.
    unchanged: u64,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "inserted {}, updated {}, unchanged {}", self.inserted, self.updated, self.unchanged)
    }
}

struct Merged {
    /// All files of the version to be.
    files: Vec<DataFile>,
    counts: Counts,
    stats: QueryStats,
}

struct Merging<'a> {
    context: &'a Context,
    model: &'a Model,
    base: &'a Table,
    fresh: Staged,
    /// As files have it.
    schema: SchemaRef,
    columns: Vec<String>,
    merge: Merge<'a>,
    session: Session,
}

impl<'a> Merging<'a> {
    fn new(context: &'a Context, model: &'a Model, base: &'a Table, fresh: Staged) -> Result<Self> {
        let schema = delta_schema(&fresh.schema)?;
        let columns = schema.fields().iter().map(|field| field.name().clone()).collect();
        let merge = Merge::of(&model.front);
        let session = context.engine.session();
        let merging = Self { context, model, base, fresh, schema, columns, merge, session };
        merging.stage(FRESH, &merging.fresh.files)?;
        Ok(merging)
    }

    async fn run(&self, strategy: Strategy) -> Result<Merged> {
        let mut stats = QueryStats::default();
        let candidates = may_share(&self.base.files, &self.fresh.files, &self.model.front.key, &self.schema);
        let held = self.counted(CANDIDATES, &candidates, &self.merge.touched(), strategy, &mut stats).await?;
        let touched: Vec<DataFile> = held.keys().map(|index| candidates[*index].clone()).collect();
        let changes = self.merge.changed(&self.columns);
        let changed = self.counted(TOUCHED, &touched, &changes, strategy, &mut stats).await?;
        let counts = self.counts(held.values().sum(), changed.values().sum())?;
        let mut files = self.base.files.clone();
        if counts.updated + counts.unchanged == 0 {
            files.extend(self.fresh.files.iter().cloned());
        } else if counts.updated + counts.inserted > 0 {
            let indices: BTreeSet<usize> = changed.into_keys().collect();
            let (rewritten, staying) = split(&touched, &indices);
            let made = self.rewrite(&rewritten, &staying, strategy, &mut stats).await?;
            if rows_of(&made) != rows_of(&rewritten) + counts.inserted {
                return Err(self.bug(rows_of(&rewritten), counts.inserted, rows_of(&made)));
            }
            files.retain(|file| !rewritten.contains(file));
            files.extend(made);
        }
        if rows_of(&files) != rows_of(&self.base.files) + counts.inserted {
            return Err(self.bug(rows_of(&self.base.files), counts.inserted, rows_of(&files)));
        }
        Ok(Merged { files, counts, stats })
    }

    fn counts(&self, known: u64, updated: u64) -> Result<Counts> {
        let fresh = self.fresh.rows();
        let of = |whole: u64, part: u64| {
            whole.checked_sub(part).ok_or_else(|| {
                let why = format!("{known} of {fresh} new keys are there already, {updated} of them change");
                Error::bug(format!("`{}`: {why}", self.model.name))
            })
        };
        Ok(Counts { inserted: of(fresh, known)?, updated, unchanged: of(known, updated)? })
    }

    fn bug(&self, before: u64, inserted: u64, after: u64) -> Error {
        let why = format!("{before} rows and {inserted} new ones became {after}");
        Error::bug(format!("`{}` was not merged: {why}", self.model.name))
    }

    fn stage(&self, name: &str, files: &[DataFile]) -> Result<()> {
        let by = &self.model.front.partition_by;
        let (table, schema) = (&self.model.name, self.schema.clone());
        let files = TableFiles { table, schema, partition_by: by, files };
        self.session.stage_files(name, files, &self.context.lake)
    }

    /// The numbers that `sql` finds by file of `files`, which it knows as `name`; files without one are left
    /// out.
    async fn counted(
        &self,
        name: &str,
        files: &[DataFile],
        sql: &str,
        strategy: Strategy,
        stats: &mut QueryStats,
    ) -> Result<BTreeMap<usize, u64>> {
        let mut counts = BTreeMap::new();
        if files.is_empty() || self.fresh.files.is_empty() {
            return Ok(counts);
        }
        self.stage_numbered(name, files)?;
        let mut query = self.session.query_with(sql, strategy).await?;
        while let Some(batch) = next(self.context, &mut query).await? {
            for (file, count) in numbers(&batch)? {
                let file = usize::try_from(file).ok().filter(|file| *file < files.len());
                let file = file.ok_or_else(|| Error::bug("a file that was not asked for"))?;
                counts.insert(file, count);
            }
        }
        add(stats, query.stats.now());
        Ok(counts)
    }

    /// Each file gets its number as if it lay in a folder of that name.
    fn stage_numbered(&self, name: &str, files: &[DataFile]) -> Result<()> {
        let number = Field::new(FILE, DataType::Int64, true);
        let fields: Vec<_> = self.schema.fields().iter().cloned().chain([number.into()]).collect();
        let mut by = self.model.front.partition_by.clone();
        by.push(FILE.to_owned());
        let mut numbered = files.to_vec();
        for (index, file) in numbered.iter_mut().enumerate() {
            file.partition.push((FILE.to_owned(), Some(index.to_string())));
        }
        let schema = std::sync::Arc::new(Schema::new(fields));
        let files = TableFiles { table: &self.model.name, schema, partition_by: &by, files: &numbered };
        self.session.stage_files(name, files, &self.context.lake)
    }

    /// `rewritten` and the fresh rows in new files, without the fresh rows that `staying` holds.
    async fn rewrite(
        &self,
        rewritten: &[DataFile],
        staying: &[DataFile],
        strategy: Strategy,
        stats: &mut QueryStats,
    ) -> Result<Vec<DataFile>> {
        self.stage(REWRITTEN, rewritten)?;
        self.stage(STAYING, staying)?;
        let by = &self.model.front.partition_by;
        let sql = self.merge.rewrite(&self.columns, by, !staying.is_empty());
        let mut query = self.session.query_stored(&sql, strategy).await?;
        let mut writer = begin(self.context, self.model, query.schema())?;
        let mut rows = 0;
        while let Some(batch) = next(self.context, &mut query).await? {
            rows += batch.num_rows() as u64;
            writer.write(&batch).await?;
        }
        add(stats, query.stats.now());
        let files = writer.finish().await?;
        if rows_of(&files) != rows {
            let why = format!("{rows} rows were merged, the files hold {}", rows_of(&files));
            return Err(Error::bug(format!("`{}`: {why}", self.model.name)));
        }
        Ok(files)
    }
}

/// Those with one of the `indices`, and the others.
fn split(files: &[DataFile], indices: &BTreeSet<usize>) -> (Vec<DataFile>, Vec<DataFile>) {
    let (inside, outside): (Vec<_>, Vec<_>) =
        files.iter().cloned().enumerate().partition(|(index, _)| indices.contains(index));
    let files = |list: Vec<(usize, DataFile)>| list.into_iter().map(|(_, file)| file).collect();
    (files(inside), files(outside))
}

/// The rows of a query of two columns of numbers.
fn numbers(batch: &RecordBatch) -> Result<Vec<(i64, u64)>> {
    let column = |index: usize| {
        cast(batch.column(index), &DataType::Int64)
            .map_err(|e| Error::bug("a count is a number").caused_by(&e))
    };
    let (first, second) = (column(0)?, column(1)?);
    let (first, second) = (first.as_primitive::<Int64Type>(), second.as_primitive::<Int64Type>());
    let rows = first.values().iter().zip(second.values());
    Ok(rows.map(|(a, b)| (*a, u64::try_from(*b).unwrap_or(0))).collect())
}

fn add(stats: &mut QueryStats, more: QueryStats) {
    stats.peak_memory_bytes = stats.peak_memory_bytes.max(more.peak_memory_bytes);
    stats.spilled_bytes += more.spilled_bytes;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
