//! The loads of a source as a table: raw files, decoded while they are read.

use std::{collections::BTreeMap, fmt, ops::Range, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, StringArray,
        TimestampMicrosecondArray,
    },
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{Statistics, stats::Precision, tree_node::TreeNodeRecursion},
    error::{DataFusionError, Result as DfResult},
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
        ReplaceChildrenOptions,
        execution_plan::{Boundedness, EmissionType},
        metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet},
        stream::RecordBatchReceiverStreamBuilder,
    },
};
use lagar_connectors::decode::{self, Decoded, ReadOptions};
use lagar_flow::{Body, Compression, Error, FormatKind, Misfits, Name, Result, codes, schema_of};
use lagar_lake::{Lake, Manifest, ManifestFile, newest_state};
use tokio::sync::mpsc::Sender;

use crate::session::RawOptions;

/// A byte range of a file is at least this long: opening it must not cost more than reading it.
const RANGE_BYTES_MIN: u64 = 16 << 20;
/// Decoded batches that may wait for whoever reads them.
const BATCHES_WAITING_MAX: usize = 1;

/// The place of a row, beside the columns of its source.
const PLACE_COLUMNS: [&str; 5] = ["_source_file", "_load", "_loaded_at", "_row", NEWEST];

/// Whether the row is in what the source has now: not in an older snapshot, not in an older version of
/// its file.
const NEWEST: &str = "_newest";

/// The place of the row's load among those that a query reads: only in a table [`RawTable::in_order`].
pub(crate) const LOAD_ORDER: &str = "__lagar_load_order";

/// An instant in microseconds.
pub(crate) fn loaded_at_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn place_fields() -> [Field; 5] {
    let [file, load, loaded_at, row, newest] = PLACE_COLUMNS;
    [
        Field::new(file, DataType::Utf8, true),
        Field::new(load, DataType::Int64, true),
        Field::new(loaded_at, loaded_at_type(), true),
        Field::new(row, DataType::Int64, true),
        Field::new(newest, DataType::Boolean, false),
    ]
}

/// The columns of a source with those of its rows' places, which hide the source's own of such a name.
pub(crate) fn with_meta_columns(schema: &Schema) -> SchemaRef {
    let own = schema.fields().iter().filter(|field| !PLACE_COLUMNS.contains(&field.name().as_str())).cloned();
    Arc::new(Schema::new(own.chain(place_fields().map(Arc::new)).collect::<Vec<_>>()))
}

/// `raw.<source>`: all rows of some loads.
#[derive(Debug, Clone)]
pub(crate) struct RawTable {
    lake: Lake,
    source: Name,
    loads: Vec<Arc<Manifest>>,
    /// By load, by file: see [`newest_state`].
    newest: Vec<Vec<bool>>,
    schema: SchemaRef,
    options: RawOptions,
    range_bytes_min: u64,
    /// By number of the load: its [`LOAD_ORDER`].
    order: Arc<BTreeMap<u64, i64>>,
}

impl RawTable {
    /// `schema`: the columns of the source; columns that a load does not have are null in its rows.
    pub fn new(
        source: Name,
        lake: Lake,
        loads: &[Arc<Manifest>],
        schema: &Schema,
        options: RawOptions,
    ) -> Self {
        let schema = with_meta_columns(schema);
        let newest = newest_state(loads);
        Self {
            lake,
            source,
            loads: loads.to_vec(),
            newest,
            schema,
            options,
            range_bytes_min: RANGE_BYTES_MIN,
            order: Arc::default(),
        }
    }

    pub fn source(&self) -> &Name {
        &self.source
    }

    /// Number and time of each load, in their order.
    pub fn load_times(&self) -> Vec<(u64, i64)> {
        self.loads.iter().map(|load| (load.number, load.created_at.timestamp_micros())).collect()
    }

    /// The same rows with one more column, [`LOAD_ORDER`].
    pub fn in_order(&self, order: Arc<BTreeMap<u64, i64>>) -> Self {
        let place = Arc::new(Field::new(LOAD_ORDER, DataType::Int64, false));
        let fields = self.schema.fields().iter().cloned().chain([place]).collect::<Vec<_>>();
        Self { schema: Arc::new(Schema::new(fields)), order, ..self.clone() }
    }

    /// The files to read, with whether they hold the newest state. An older version of a file that is
    /// used in place is not there any more.
    fn files(&self, only_newest: bool) -> impl Iterator<Item = (&Arc<Manifest>, usize, bool)> {
        let all = self.loads.iter().zip(&self.newest).flat_map(|(load, newest)| {
            newest.iter().enumerate().map(move |(file, newest)| (load, file, *newest))
        });
        all.filter(move |(load, file, newest)| {
            *newest || !(only_newest || load.files[*file].in_place.is_some())
        })
    }

    /// The files of all loads, cut so that about `count` readers have equal work.
    fn pieces(&self, count: usize, by_rows: bool, only_newest: bool) -> Vec<Vec<Piece>> {
        let mut pieces = Vec::new();
        for (load, file, newest) in self.files(only_newest) {
            let entry = &load.files[file];
            let whole = by_rows || !self.is_local(entry);
            let ranges = if whole { vec![None] } else { ranges(entry, count, self.range_bytes_min) };
            for range in ranges {
                let bytes =
                    range.as_ref().map_or(entry.bytes, |range| range.end.min(entry.bytes) - range.start);
                let came = entry.redriven.as_ref().map_or(load.number, |redriven| redriven.load);
                let order = self.order.get(&came).copied().unwrap_or_default();
                pieces.push(Piece { load: load.clone(), file, newest, order, range, bytes });
            }
        }
        // The longest first, each to whoever has least.
        pieces.sort_by_key(|piece| std::cmp::Reverse(piece.bytes));
        let readers = count.clamp(1, pieces.len().max(1));
        let mut work: Vec<(u64, Vec<Piece>)> = (0..readers).map(|_| (0, Vec::new())).collect();
        for piece in pieces {
            if let Some((bytes, least)) = work.iter_mut().min_by_key(|(bytes, _)| *bytes) {
                *bytes += piece.bytes;
                least.push(piece);
            }
        }
        work.into_iter().map(|(_, pieces)| pieces).collect()
    }

    /// A file that every reader would have to fetch whole is not cut.
    fn is_local(&self, file: &ManifestFile) -> bool {
        match &file.in_place {
            Some(in_place) => !in_place.url.contains("://") || in_place.url.starts_with("file:"),
            None => self.lake.local_path().is_some(),
        }
    }
}

/// The byte ranges to read `file` by; one of `None` if only as a whole.
fn ranges(file: &ManifestFile, count: usize, bytes_min: u64) -> Vec<Option<Range<u64>>> {
    let plain = file.format.kind == FormatKind::Ndjson
        && file.format.compression == Compression::None
        && file.rejected_rows.is_empty()
        && file.redriven.is_none();
    let parts = (file.bytes / bytes_min).min(count as u64);
    if !plain || parts < 2 {
        return vec![None];
    }
    let at = |part: u64| file.bytes / parts * part;
    let end = |part: u64| if part + 1 == parts { u64::MAX } else { at(part + 1) };
    (0..parts).map(|part| Some(at(part)..end(part))).collect()
}

/// A file of a load, or a part of one.
#[derive(Debug, Clone)]
struct Piece {
    load: Arc<Manifest>,
    file: usize,
    newest: bool,
    order: i64,
    range: Option<Range<u64>>,
    bytes: u64,
}

#[async_trait]
impl TableProvider for RawTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// `WHERE _newest` reads only the files that it asks for.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        let how = |filter: &&Expr| match is_newest(filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(how).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let only_newest = filters.iter().any(is_newest);
        let projected = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => self.schema.clone(),
        };
        let by_rows = projected.column_with_name("_row").is_some();
        let work = self.pieces(state.config().target_partitions(), by_rows, only_newest);
        let rows = self.files(only_newest).map(|(load, file, _)| load.files[file].rows).sum::<Option<u64>>();
        Ok(Arc::new(RawScan::new(self, projected, work, limit, rows)))
    }
}

fn is_newest(filter: &Expr) -> bool {
    matches!(filter, Expr::Column(column) if column.name == NEWEST)
}

/// Reads raw files.
#[derive(Debug, Clone)]
struct RawScan {
    lake: Lake,
    source: Name,
    options: RawOptions,
    /// Some of the columns of the table.
    projected: SchemaRef,
    work: Vec<Vec<Piece>>,
    limit: Option<usize>,
    rows: Option<u64>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl RawScan {
    fn new(
        table: &RawTable,
        projected: SchemaRef,
        work: Vec<Vec<Piece>>,
        limit: Option<usize>,
        rows: Option<u64>,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(projected.clone()),
            Partitioning::UnknownPartitioning(work.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            lake: table.lake.clone(),
            source: table.source.clone(),
            options: table.options.clone(),
            projected,
            work,
            limit,
            rows,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl DisplayAs for RawScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let files: usize = self.work.iter().map(Vec::len).sum();
        let columns: Vec<&str> = self.projected.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "RawScan: source={}, pieces={files}, columns=[{}]", self.source, columns.join(", "))?;
        self.limit.map_or(Ok(()), |limit| write!(f, ", limit={limit}"))
    }
}

impl ExecutionPlan for RawScan {
    fn name(&self) -> &'static str {
        "RawScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn partition_statistics(&self, partition: Option<usize>) -> DfResult<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.projected);
        if let (Some(rows), None) = (self.rows, partition) {
            let rows = usize::try_from(rows).unwrap_or(usize::MAX);
            statistics.num_rows = Precision::Exact(self.limit.map_or(rows, |limit| limit.min(rows)));
        }
        Ok(Arc::new(statistics))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let reader = Reader {
            scan: self.clone(),
            batch_rows: context.session_config().batch_size(),
            baseline: BaselineMetrics::new(&self.metrics, partition),
            bytes: MetricBuilder::new(&self.metrics).counter("bytes_scanned", partition),
            rows_left: self.limit.unwrap_or(usize::MAX),
        };
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.projected.clone(), BATCHES_WAITING_MAX);
        let sender = builder.tx();
        builder.spawn(async move {
            match reader.run(partition, sender).await {
                Ok(()) => Ok(()),
                Err(error) => Err(DataFusionError::External(Box::new(error))),
            }
        });
        Ok(builder.build())
    }
}

/// One partition of a scan while it is read.
struct Reader {
    scan: RawScan,
    batch_rows: usize,
    baseline: BaselineMetrics,
    bytes: Count,
    rows_left: usize,
}

impl Reader {
    async fn run(mut self, partition: usize, sender: Sender<DfResult<RecordBatch>>) -> Result<()> {
        for piece in std::mem::take(&mut self.scan.work[partition]) {
            let file = &piece.load.files[piece.file];
            let range = piece.range.clone().unwrap_or(0..u64::MAX);
            let body =
                self.scan.lake.raw_part(&self.scan.source, file, range, &self.scan.options.spool).await?;
            let sender = sender.clone();
            let decoded = tokio::task::spawn_blocking(move || {
                let more = self.decode(&piece, &body, &sender)?;
                Ok::<_, Error>((self, more))
            });
            let more;
            (self, more) =
                decoded.await.map_err(|e| Error::bug("a raw file's decoder panicked").caused_by(&e))??;
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// Whether more rows are wanted.
    fn decode(&mut self, piece: &Piece, body: &Body, sender: &Sender<DfResult<RecordBatch>>) -> Result<bool> {
        let file = &piece.load.files[piece.file];
        let projected = self.scan.projected.clone();
        let wanted: Vec<_> = projected
            .fields()
            .iter()
            .filter(|f| !PLACE_COLUMNS.contains(&f.name().as_str()) && f.name() != LOAD_ORDER)
            .cloned()
            .collect();
        let options = ReadOptions {
            batch_rows: self.batch_rows,
            skip: file.rejected_rows.as_slice().into(),
            only: file.redriven.as_ref().map(|redriven| redriven.rows.as_slice().into()),
            range: piece.range.clone(),
            row_numbers: projected.column_with_name("_row").is_some(),
        };
        self.bytes.add(usize::try_from(piece.bytes.min(file.bytes)).unwrap_or(usize::MAX));
        let wanted = Arc::new(Schema::new(wanted));
        let batches = match file.format.misfits {
            Misfits::Reject => decode::read(body, &file.format, wanted, options)?,
            Misfits::Null => {
                decode::read_checked(body, &file.format, schema_of(&file.columns)?.as_ref(), wanted, options)?
            }
        };
        for decoded in batches {
            let decoded = decoded.map_err(|error| error.context(&file.path))?;
            self.refuse_rejects(piece, &decoded)?;
            let mut batch = assemble(&projected, piece, decoded)?;
            if batch.num_rows() > self.rows_left {
                batch = batch.slice(0, self.rows_left);
            }
            self.rows_left -= batch.num_rows();
            self.baseline.record_output(batch.num_rows());
            // The reader of the rows has gone: nobody wants more.
            if sender.blocking_send(Ok(batch)).is_err() || self.rows_left == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Rows that were checked when they landed decode again. Only a file that was sampled in place can
    /// hold others, and leaving them out unseen would lose data.
    fn refuse_rejects(&self, piece: &Piece, decoded: &Decoded) -> Result<()> {
        let Some(first) = decoded.rejects.first() else { return Ok(()) };
        let column = first.column.as_ref().map_or(String::new(), |column| format!(", column `{column}`"));
        Err(Error::new(
            codes::DECODE,
            format!("row {} of {}{column}: {}: {}", first.row, piece.load.files[piece.file].path, first.reason, shown(&first.value)),
        )
        .hint(match piece.load.files[piece.file].in_place {
            Some(_) => format!(
                "give the type in `columns` of source `{}`, or leave out `in_place`, so that such rows go to quarantine",
                self.scan.source
            ),
            None => "an older load does not fit the type that `columns` asks for now: read what the source has \
                     now with `WHERE _newest`, or take the type away"
                .to_owned(),
        }))
    }
}

/// The beginning of a rejected value.
fn shown(value: &str) -> String {
    const CHARS_SHOWN: usize = 100;
    value.chars().take(CHARS_SHOWN).collect()
}

/// The columns that were asked for, with the places of the rows.
fn assemble(projected: &SchemaRef, piece: &Piece, decoded: Decoded) -> Result<RecordBatch> {
    let rows = decoded.batch.num_rows();
    let file = &piece.load.files[piece.file];
    let mut from_file = decoded.batch.columns().iter();
    // A row is as new as the load that it came with, however long it was in quarantine.
    let (number, loaded_at) = match &file.redriven {
        Some(redriven) => (redriven.load, redriven.loaded_at),
        None => (piece.load.number, piece.load.created_at),
    };
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(projected.fields().len());
    for field in projected.fields() {
        columns.push(match field.name().as_str() {
            "_source_file" => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&file.path, rows))),
            "_load" => Arc::new(Int64Array::from_value(number, rows)),
            "_loaded_at" => Arc::new(
                TimestampMicrosecondArray::from_value(loaded_at.timestamp_micros(), rows)
                    .with_timezone("UTC"),
            ),
            "_row" => {
                let numbers =
                    decoded.rows.iter().flatten().map(|row| i64::try_from(*row).unwrap_or(i64::MAX));
                Arc::new(Int64Array::from_iter_values(numbers))
            }
            NEWEST => Arc::new(BooleanArray::from(vec![piece.newest; rows])),
            LOAD_ORDER => Arc::new(Int64Array::from_value(piece.order, rows)),
            _ => match from_file.next() {
                Some(column) => column.clone(),
                None => return Err(Error::bug(format!("column `{}` was not decoded", field.name()))),
            },
        });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(projected.clone(), columns, &options)
        .map_err(|e| Error::bug("decoded columns do not fit the table").caused_by(&e))
}

#[cfg(test)]
mod tests;
