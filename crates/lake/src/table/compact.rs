//! Many small files made into few big ones, with the same rows.

use std::sync::Arc;

use arrow::{
    array::{RecordBatch, RecordBatchOptions, new_null_array},
    datatypes::SchemaRef,
};
use futures::TryStreamExt;
use lagar_flow::{Error, Result, TableName, codes};
use object_store::ObjectStoreExt;
use parquet::arrow::ParquetRecordBatchStreamBuilder;

use super::{Committed, DataFile, Table, TableCommit, WriteOptions, write::TableWriter};
use crate::Lake;

const BATCH_ROWS: usize = 8192;

/// Which files of a version become one, and how big that is at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compaction {
    /// At least two files of one partition each, in the order of their rows.
    pub groups: Vec<Vec<DataFile>>,
}

impl Compaction {
    /// Neighbours of less than half of `target_bytes` that are together not larger than that. Done over and
    /// over it comes to an end: each time there are fewer files.
    pub fn of(table: &Table, target_bytes: u64) -> Self {
        let mut files: Vec<&DataFile> = table.files.iter().collect();
        files.sort_by(|a, b| (&a.partition, &a.path).cmp(&(&b.partition, &b.path)));
        let mut groups: Vec<Vec<DataFile>> = Vec::new();
        let mut open: Vec<DataFile> = Vec::new();
        for file in files.into_iter().filter(|file| file.bytes < target_bytes.div_ceil(2)) {
            let bytes: u64 = open.iter().map(|file| file.bytes).sum();
            let fits = bytes + file.bytes <= target_bytes;
            if open.first().is_some_and(|first| first.partition != file.partition || !fits) {
                groups.push(std::mem::take(&mut open));
            }
            open.push(file.clone());
        }
        groups.push(open);
        groups.retain(|group| group.len() > 1);
        Self { groups }
    }

    pub fn files(&self) -> impl Iterator<Item = &DataFile> {
        self.groups.iter().flatten()
    }
}

impl Lake {
    /// Writes each group of `compaction` into a file and commits a version of `table` that has those in
    /// their place. The rows, the columns and what the version says of its inputs stay, so that nothing
    /// is built again. Versions that came in between are built upon, if the files are still in them.
    ///
    /// Fails with [`codes::LAKE_CONFLICT`] if they are not, with [`codes::LAKE_CORRUPT`] naming a file that
    /// cannot be read, and with [`codes::LAKE_VERSION`] for a version that Lagar did not write.
    pub async fn compact(
        &self,
        table: &Table,
        compaction: &Compaction,
        options: WriteOptions,
    ) -> Result<Committed> {
        let run_id = options.run_id.clone();
        let mut writer = self.begin_table(&table.name, table.schema.clone(), &table.partition_by, options)?;
        for group in &compaction.groups {
            self.write_group(table, group, &mut writer).await?;
        }
        let made = writer.finish().await?;
        let rows = |files: &mut dyn Iterator<Item = &DataFile>| files.map(|file| file.rows).sum::<u64>();
        let (before, after) = (rows(&mut compaction.files()), rows(&mut made.iter()));
        if before != after {
            return Err(Error::bug(format!(
                "{} has {before} rows to compact, {after} were written",
                table.name
            )));
        }
        let commit_id = uuid::Uuid::now_v7().to_string();
        let plan = |newest: Option<&Table>| {
            let overtaken = || {
                Error::new(
                    codes::LAKE_CONFLICT,
                    format!(
                        "another writer was first: files of {} that were compacted are not in it",
                        table.name
                    ),
                )
                .hint("compact again")
            };
            let newest = newest.ok_or_else(overtaken)?;
            let mut files = newest.files.clone();
            files.retain(|file| !compaction.files().any(|replaced| replaced == file));
            let same_columns = newest.schema == table.schema && newest.partition_by == table.partition_by;
            if files.len() + compaction.files().count() != newest.files.len() || !same_columns {
                return Err(overtaken());
            }
            files.extend(made.iter().cloned());
            let Some(mut meta) = newest.meta.clone() else {
                return Err(Error::new(
                    codes::LAKE_VERSION,
                    format!("version {} of {} was not written by Lagar", newest.version, table.name),
                ));
            };
            meta.compacted = Some(meta.data_id().to_owned());
            meta.run_id = run_id.clone();
            (meta.rows_in, meta.rows_out) = (before, after);
            Ok(TableCommit {
                name: table.name.clone(),
                schema: newest.schema.clone(),
                partition_by: newest.partition_by.clone(),
                files,
                meta,
                base: Some(newest.version),
                column_docs: newest.column_docs.clone(),
            })
        };
        let committed = self.commit_onto_newest(&table.name, &commit_id, Some(table.version), plan).await;
        if let Err(error) = &committed
            && error.code() == codes::LAKE_CONFLICT
        {
            // Nobody names them, and nobody will.
            self.give_up(&table.name, &made).await;
        }
        committed
    }

    async fn write_group(&self, table: &Table, group: &[DataFile], writer: &mut TableWriter) -> Result<()> {
        let Some(partition) = group.first().map(|first| &first.partition) else { return Ok(()) };
        for file in group {
            let object = self.file_path(&table.name, file)?;
            let damaged = |e: &(dyn std::error::Error + 'static)| {
                Error::new(codes::LAKE_CORRUPT, format!("{} cannot be read", self.root().name_of(&object)))
                    .caused_by(e)
                    .hint("bring it back from a backup, or build the table anew with --full-refresh")
            };
            let reader = self.open_file(&object, file);
            let builder = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(|e| damaged(&e))?;
            let mut batches = builder.with_batch_size(BATCH_ROWS).build().map_err(|e| damaged(&e))?;
            let mut rows = 0;
            while let Some(batch) = batches.try_next().await.map_err(|e| damaged(&e))? {
                rows += batch.num_rows() as u64;
                let batch = in_columns(&batch, writer.file_schema())?;
                writer.write_part(partition, &batch).await?;
            }
            if rows != file.rows {
                let why = format!(
                    "{} has {rows} rows, the log of {} says {}",
                    self.root().name_of(&object),
                    table.name,
                    file.rows
                );
                return Err(Error::new(codes::LAKE_CORRUPT, why));
            }
        }
        writer.end_part(partition).await
    }

    /// Takes files away that no version names and none will. What cannot be removed is left to the vacuum.
    pub async fn give_up(&self, table: &TableName, files: &[DataFile]) {
        for file in files {
            let Ok(object) = self.file_path(table, file) else { continue };
            if let Err(error) = self.store().delete(&object).await {
                tracing::warn!(%error, %object, "a file that nobody names is left behind");
            }
        }
    }
}

/// The columns of `schema`; one that an older file does not have is null in its rows.
fn in_columns(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) => column.clone(),
        None => new_null_array(field.data_type(), batch.num_rows()),
    });
    let columns: Vec<_> = columns.collect();
    let fields =
        schema.fields().iter().zip(&columns).map(|(field, column)| {
            Arc::new(field.as_ref().clone().with_data_type(column.data_type().clone()))
        });
    let schema = Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema, columns, &options)
        .map_err(|e| Error::bug("the columns of a file do not fit its table").caused_by(&e))
}
