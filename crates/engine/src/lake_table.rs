//! A version of a table: exactly the files that the log names, read by DataFusion's Parquet scan.

use std::{collections::HashMap, fmt, sync::Arc};

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{ColumnStatistics, ScalarValue, Statistics, stats::Precision},
    datasource::{
        listing::PartitionedFile,
        physical_plan::{FileGroup, FileScanConfigBuilder, ParquetFileReaderFactory, ParquetSource},
        source::DataSourceExec,
        table_schema::TableSchema,
    },
    error::Result as DfResult,
    execution::object_store::ObjectStoreUrl,
    logical_expr::{Expr, TableType},
    parquet::arrow::async_reader::AsyncFileReader,
    physical_plan::{ExecutionPlan, empty::EmptyExec, metrics::ExecutionPlanMetricsSet},
};
use lagar_flow::{Error, Result, codes};
use lagar_lake::{DataFile, Lake};
use object_store::path::Path;

use crate::query::boxed;

/// The files of one version (or of one that is not committed yet). A file without a column of
/// `schema` has nulls there.
pub(crate) struct FilesTable {
    store: ObjectStoreUrl,
    schema: SchemaRef,
    /// The columns in the files, then those that only the folder names say.
    scanned: TableSchema,
    files: Vec<PartitionedFile>,
    readers: Arc<Readers>,
}

/// Opens the files so that what is read is checked against the checksums in the log, and so that the
/// store's errors stay what they are (DataFusion's own reader makes text of them).
#[derive(Debug)]
struct Readers {
    lake: Lake,
    files: HashMap<Path, DataFile>,
}

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        _partition: usize,
        file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> DfResult<Box<dyn AsyncFileReader + Send>> {
        let object = &file.object_meta.location;
        match self.files.get(object) {
            Some(known) => Ok(Box::new(self.lake.open_file(object, known))),
            None => Err(boxed(Error::bug(format!("{object} is in no version of the table")))),
        }
    }
}

impl fmt::Debug for FilesTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FilesTable({} files)", self.files.len())
    }
}

impl FilesTable {
    /// `files` below `folder` in `store`, whose columns are `schema`, those of `partition_by` among them.
    pub fn new(
        store: ObjectStoreUrl,
        lake: &Lake,
        folder: &str,
        schema: SchemaRef,
        partition_by: &[String],
        files: &[DataFile],
    ) -> Result<Self> {
        let partition_by = partition_by
            .iter()
            .map(|column| match schema.field_with_name(column) {
                Ok(field) => Ok(Arc::new(field.clone())),
                Err(_) => Err(Error::bug(format!(
                    "`{folder}` is partitioned by `{column}`, which it does not have"
                ))),
            })
            .collect::<Result<Vec<FieldRef>>>()?;
        let in_files =
            schema.fields().iter().filter(|field| !partition_by.iter().any(|p| p.name() == field.name()));
        let in_files = Arc::new(Schema::new(in_files.cloned().collect::<Vec<FieldRef>>()));
        let mut listed = Vec::with_capacity(files.len());
        let mut readers = Readers { lake: lake.clone(), files: HashMap::with_capacity(files.len()) };
        for file in files {
            let path = Path::parse(format!("{folder}/{}", file.path)).map_err(|e| {
                Error::new(codes::LAKE_CORRUPT, format!("`{}` cannot be the name of a file", file.path))
                    .caused_by(&e)
            })?;
            let values = partition_by
                .iter()
                .map(|column| partition_value(column, file))
                .collect::<Result<Vec<ScalarValue>>>()?;
            readers.files.insert(path.clone(), file.clone());
            // The path is taken as it is: an odd partition value must not be decoded or encoded again.
            let meta = object_store::ObjectMeta {
                location: path,
                last_modified: chrono::DateTime::UNIX_EPOCH,
                size: file.bytes,
                e_tag: None,
                version: None,
            };
            let mut entry = PartitionedFile::new_from_meta(meta);
            // Not by `with_statistics`: it takes every partition value for not null.
            entry.statistics = Some(Arc::new(statistics(file, &in_files, &values)));
            entry.partition_values = values;
            listed.push(entry);
        }
        let scanned = TableSchema::builder(in_files).with_table_partition_cols(partition_by).build();
        Ok(Self { store, schema, scanned, files: listed, readers: Arc::new(readers) })
    }
}

/// Bytes of a file that are one piece of work.
const PIECE_BYTES: u64 = 32 << 20;

/// A file as pieces: a thread that has nothing to do takes the next one, so that none has much more to do than the
/// others. Each row group is read with the piece in which it begins.
fn pieces_of(file: &PartitionedFile) -> impl Iterator<Item = PartitionedFile> {
    let size = file.object_meta.size;
    let pieces = size.div_ceil(PIECE_BYTES).max(1);
    (0..pieces).map(move |piece| match pieces {
        1 => file.clone(),
        _ => file.clone().with_range(
            (piece * PIECE_BYTES).cast_signed(),
            size.min((piece + 1) * PIECE_BYTES).cast_signed(),
        ),
    })
}

fn partition_value(column: &Field, file: &DataFile) -> Result<ScalarValue> {
    let text =
        file.partition.iter().find(|(name, _)| name == column.name()).and_then(|(_, value)| value.clone());
    // In Delta the empty text stands for null, too.
    let value = ScalarValue::Utf8(text.filter(|text| !text.is_empty()));
    value.cast_to(column.data_type()).map_err(|e| {
        Error::new(
            codes::LAKE_CORRUPT,
            format!(
                "the partition value of `{}` in {} is not a {}",
                column.name(),
                file.path,
                column.data_type()
            ),
        )
        .caused_by(&e)
    })
}

#[async_trait]
impl TableProvider for FilesTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let columns: Vec<usize> =
            projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        if self.files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(Arc::new(self.schema.project(&columns)?))));
        }
        let scanned = self.scanned.table_schema();
        let positions = columns
            .iter()
            .map(|column| Ok(scanned.index_of(self.schema.field(*column).name())?))
            .collect::<DfResult<Vec<usize>>>()?;
        let known = self.files.iter().filter_map(|file| file.statistics.as_deref());
        let statistics = Statistics::try_merge_iter(known, scanned)?;
        let source = ParquetSource::new(self.scanned.clone())
            .with_table_parquet_options(state.default_table_options().parquet)
            .with_parquet_file_reader_factory(self.readers.clone());
        let pieces: Vec<PartitionedFile> = self.files.iter().flat_map(pieces_of).collect();
        let groups = FileGroup::new(pieces).split_files(state.config().target_partitions());
        let config = FileScanConfigBuilder::new(self.store.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(Some(positions))?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// What the log knows about a file. Minimum and maximum only of types whose text is exact: in the log
/// a text may be cut, a time rounded, a NaN left out.
fn statistics(file: &DataFile, in_files: &Schema, partition_values: &[ScalarValue]) -> Statistics {
    let rows = usize::try_from(file.rows).unwrap_or(usize::MAX);
    let log: serde_json::Value =
        file.stats.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let of_files = in_files.fields().iter().map(|field| {
        let nulls = log["nullCount"][field.name()].as_u64().and_then(|count| usize::try_from(count).ok());
        ColumnStatistics::new_unknown()
            .with_min_value(bound(&log["minValues"][field.name()], field.data_type()))
            .with_max_value(bound(&log["maxValues"][field.name()], field.data_type()))
            .with_null_count(nulls.map_or(Precision::Absent, Precision::Exact))
    });
    let of_folders = partition_values.iter().map(|value| {
        let (nulls, bound) =
            if value.is_null() { (rows, Precision::Absent) } else { (0, Precision::Exact(value.clone())) };
        ColumnStatistics::new_unknown()
            .with_min_value(bound.clone())
            .with_max_value(bound)
            .with_null_count(Precision::Exact(nulls))
    });
    Statistics {
        num_rows: Precision::Exact(rows),
        total_byte_size: Precision::Absent,
        column_statistics: of_files.chain(of_folders).collect(),
    }
}

fn bound(value: &serde_json::Value, data_type: &DataType) -> Precision<ScalarValue> {
    let text = match (value, data_type) {
        (
            serde_json::Value::Number(n),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64,
        ) => n.to_string(),
        (serde_json::Value::String(text), DataType::Date32) => text.clone(),
        _ => return Precision::Absent,
    };
    ScalarValue::try_from_string(text, data_type).map_or(Precision::Absent, Precision::Exact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_of_a_file_are_all_of_it_without_a_gap() {
        for size in
            [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES, 7 * PIECE_BYTES + 3]
        {
            let file = PartitionedFile::new("a.parquet", size);
            let pieces: Vec<(u64, u64)> = pieces_of(&file).map(|piece| piece.range()).collect();
            assert_eq!((pieces[0].0, pieces[pieces.len() - 1].1), (0, size));
            assert!(pieces.windows(2).all(|two| two[0].1 == two[1].0), "{pieces:?}");
            assert!(pieces.iter().all(|(from, to)| to - from <= PIECE_BYTES), "{pieces:?}");
        }
    }
}
