//! Keeps of each key the row that is first in order.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    buffer::BooleanBuffer,
    compute::SortOptions,
    row::{RowConverter, Rows as RowBytes, SortField},
};
use datafusion::{
    common::{
        Statistics, cast::as_boolean_array, internal_datafusion_err, internal_err,
        tree_node::TreeNodeRecursion,
    },
    error::{DataFusionError, Result as DfResult},
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool},
    },
    physical_expr::{PhysicalExpr, PhysicalSortExpr},
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
        ReplaceChildrenOptions,
        execution_plan::{CardinalityEffect, EmissionType},
        metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, SpillMetrics},
        statistics::{ChildStats, StatisticsArgs},
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{
    FutureExt, StreamExt, TryStreamExt,
    future::{BoxFuture, Shared},
};
use tokio::task::JoinSet;

use super::{
    index::Index,
    rows::{Rows, Survivors, locked},
};

/// Rows that are kept in memory by all partitions together. More would only be faster by what it takes to
/// copy them to the page cache and back, and a table has more rows than a machine has memory.
const KEPT_BYTES_MAX: usize = 256 << 20;
/// The other operators of a query need the rest of its memory.
const KEPT_SHARE: usize = 8;

fn kept_bytes(pool: &dyn MemoryPool) -> usize {
    match pool.memory_limit() {
        MemoryLimit::Finite(limit) => (limit / KEPT_SHARE).min(KEPT_BYTES_MAX),
        _ => KEPT_BYTES_MAX,
    }
}

/// See [`super`]. The partitions of the result are those of the input, in their order.
#[derive(Debug)]
pub(super) struct KeepLatestExec {
    input: Arc<dyn ExecutionPlan>,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    order: Vec<PhysicalSortExpr>,
    spared: Option<Arc<dyn PhysicalExpr>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    reading: Mutex<Option<Reading>>,
}

/// The common work of all partitions, until each has begun.
struct Reading {
    all: Shared<BoxFuture<'static, Result<Arc<Read>, Arc<DataFusionError>>>>,
    partitions_left: usize,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reading({} partitions have not begun)", self.partitions_left)
    }
}

/// All rows were read; each partition takes its own.
struct Read {
    index: Index,
    partitions: Vec<Mutex<Option<Rows>>>,
}

impl KeepLatestExec {
    /// Of the rows of `input` with equal `keys`, the one that is first in `order`, of equal ones the last; and
    /// all rows for which `spared` holds, which must be a condition on the keys.
    pub fn new(
        input: Arc<dyn ExecutionPlan>,
        keys: Vec<Arc<dyn PhysicalExpr>>,
        order: Vec<PhysicalSortExpr>,
        spared: Option<Arc<dyn PhysicalExpr>>,
    ) -> Self {
        // As a filter: some rows of each partition, in their order.
        let properties = PlanProperties::new(
            input.properties().equivalence_properties().clone(),
            input.properties().output_partitioning().clone(),
            EmissionType::Final,
            input.properties().boundedness,
        );
        Self {
            input,
            keys,
            order,
            spared,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
            reading: Mutex::new(None),
        }
    }

    fn partitions(&self) -> usize {
        self.input.properties().output_partitioning().partition_count()
    }

    /// Begins to read all partitions, or joins in.
    fn read(&self, context: &Arc<TaskContext>) -> DfResult<Reading> {
        let mut reading = locked(&self.reading);
        let mut mine = match reading.take() {
            Some(begun) => begun,
            None => self.begin(context)?,
        };
        mine.partitions_left -= 1;
        // The plan outlives its streams, and must not keep the work alive when they are dropped.
        if mine.partitions_left > 0 {
            *reading = Some(Reading { all: mine.all.clone(), partitions_left: mine.partitions_left });
        }
        Ok(mine)
    }

    fn begin(&self, context: &Arc<TaskContext>) -> DfResult<Reading> {
        let partitions = self.partitions();
        let runtime = context.runtime_env();
        let compression = context.session_config().spill_compression();
        let consumer = MemoryConsumer::new("KeepLatest keys").with_can_spill(true);
        let index = Arc::new(Index::new(
            partitions,
            consumer.register(&runtime.memory_pool),
            runtime.clone(),
            SpillMetrics::new(&self.metrics, 0),
            compression,
        ));
        let readers = (0..partitions).map(|partition| {
            let name = format!("KeepLatest rows[{partition}]");
            let rows = Rows::new(
                self.schema(),
                MemoryConsumer::new(name).with_can_spill(true).register(&runtime.memory_pool),
                kept_bytes(runtime.memory_pool.as_ref()) / partitions,
                runtime.clone(),
                SpillMetrics::new(&self.metrics, partition),
                compression,
            );
            let input = self.input.execute(partition, context.clone())?;
            Ok(Reader { partition, input, compared: self.compared()?, index: index.clone(), rows })
        });
        let readers = readers.collect::<DfResult<Vec<_>>>()?;
        let all = async move { read_all(readers, index).await.map_err(Arc::new) };
        Ok(Reading { all: all.boxed().shared(), partitions_left: partitions })
    }

    fn compared(&self) -> DfResult<Compared> {
        let schema = self.input.schema();
        let converter = |exprs: &mut dyn Iterator<Item = (&Arc<dyn PhysicalExpr>, SortOptions)>| {
            let fields = exprs
                .map(|(expr, options)| Ok(SortField::new_with_options(expr.data_type(&schema)?, options)));
            Ok::<_, DataFusionError>(RowConverter::new(fields.collect::<DfResult<_>>()?)?)
        };
        Ok(Compared {
            key_bytes: converter(&mut self.keys.iter().map(|key| (key, SortOptions::default())))?,
            order_bytes: converter(&mut self.order.iter().map(|sort| (&sort.expr, sort.options)))?,
            keys: self.keys.clone(),
            order: self.order.iter().map(|sort| sort.expr.clone()).collect(),
            spared: self.spared.clone(),
        })
    }
}

/// What of a row is compared, as bytes.
struct Compared {
    keys: Vec<Arc<dyn PhysicalExpr>>,
    key_bytes: RowConverter,
    order: Vec<Arc<dyn PhysicalExpr>>,
    order_bytes: RowConverter,
    spared: Option<Arc<dyn PhysicalExpr>>,
}

impl Compared {
    fn of(&self, batch: &RecordBatch) -> DfResult<(RowBytes, Option<RowBytes>)> {
        let values = |exprs: &[Arc<dyn PhysicalExpr>]| {
            let evaluated = exprs.iter().map(|expr| expr.evaluate(batch)?.into_array(batch.num_rows()));
            evaluated.collect::<DfResult<Vec<ArrayRef>>>()
        };
        let (keys, order) = (values(&self.keys)?, values(&self.order)?);
        let order = if order.is_empty() { None } else { Some(self.order_bytes.convert_columns(&order)?) };
        Ok((self.key_bytes.convert_columns(&keys)?, order))
    }

    /// The rows that are not compared; what is not known to hold does not.
    fn spared(&self, batch: &RecordBatch) -> DfResult<Option<BooleanBuffer>> {
        let Some(spared) = &self.spared else { return Ok(None) };
        let holds = spared.evaluate(batch)?.into_array(batch.num_rows())?;
        let holds = as_boolean_array(&holds)?;
        Ok(Some(match holds.nulls() {
            Some(known) => holds.values() & known.inner(),
            None => holds.values().clone(),
        }))
    }
}

/// Reads one partition.
struct Reader {
    partition: usize,
    input: SendableRecordBatchStream,
    compared: Compared,
    index: Arc<Index>,
    rows: Rows,
}

impl Reader {
    async fn run(mut self) -> DfResult<(usize, Rows)> {
        while let Some(batch) = self.input.next().await {
            let batch = batch?;
            if batch.num_rows() == 0 {
                continue;
            }
            let (keys, order) = self.compared.of(&batch)?;
            let spared = self.compared.spared(&batch)?;
            let first = self.rows.count();
            self.index.insert(self.partition, first, &keys, order.as_ref(), spared.as_ref())?;
            self.rows.push(batch, self.index.dead(self.partition))?;
            // An input in memory never lets go by itself, and a query that was dropped has to end.
            tokio::task::yield_now().await;
        }
        self.rows.end()?;
        Ok((self.partition, self.rows))
    }
}

/// Tasks of their own, so that each partition gets on whoever is asked for rows first. Dropped with this
/// future.
async fn read_all(readers: Vec<Reader>, index: Arc<Index>) -> DfResult<Arc<Read>> {
    let partitions = readers.iter().map(|_| Mutex::new(None)).collect::<Vec<_>>();
    let mut tasks = JoinSet::new();
    for reader in readers {
        tasks.spawn(reader.run());
    }
    while let Some(ended) = tasks.join_next().await {
        let (partition, rows) = ended.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))??;
        *locked(&partitions[partition]) = Some(rows);
    }
    index.finish().await?;
    let index = Arc::into_inner(index).ok_or_else(|| internal_datafusion_err!("KeepLatest still reads"))?;
    Ok(Arc::new(Read { index, partitions }))
}

impl DisplayAs for KeepLatestExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let keys: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        let order: Vec<String> = self.order.iter().map(ToString::to_string).collect();
        write!(f, "KeepLatestExec: key=[{}], order=[{}]", keys.join(", "), order.join(", "))?;
        match &self.spared {
            Some(spared) => write!(f, ", all where {spared}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for KeepLatestExec {
    fn name(&self) -> &'static str {
        "KeepLatestExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    /// Spreading the rows of one partition would change which of two equal rows is the last.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::LowerEqual
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        let order = self.order.iter().map(|sort| &sort.expr);
        for expr in self.keys.iter().chain(order).chain(&self.spared) {
            if visit(expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let [input] = <[Arc<dyn ExecutionPlan>; 1]>::try_from(children)
            .map_err(|children| internal_datafusion_err!("KeepLatest of {} inputs", children.len()))?;
        Ok(Arc::new(Self::new(input, self.keys.clone(), self.order.clone(), self.spared.clone())))
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

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    /// At most the rows of the input.
    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> DfResult<Arc<Statistics>> {
        match inputs {
            [input] => Ok(Arc::new(input.as_ref().clone().to_inexact())),
            _ => internal_err!("KeepLatest of {} inputs", inputs.len()),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let reading = self.read(&context)?.all;
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let batch_rows = context.session_config().batch_size();
        let survivors = async move {
            let read = reading.await.map_err(DataFusionError::Shared)?;
            let mine = locked(&read.partitions[partition]).take();
            let rows =
                mine.ok_or_else(|| internal_datafusion_err!("a partition of KeepLatest is read twice"))?;
            let dead = std::mem::take(&mut *locked(read.index.dead(partition)));
            let survivors = Survivors::new(rows, dead, batch_rows);
            Ok::<_, DataFusionError>(futures::stream::try_unfold(survivors, |mut survivors| async {
                Ok(survivors.next().await?.map(|batch| (batch, survivors)))
            }))
        };
        let batches =
            futures::stream::once(survivors).try_flatten().inspect_ok(move |batch: &RecordBatch| {
                baseline.record_output(batch.num_rows());
            });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}
