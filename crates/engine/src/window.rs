//! Window functions that need whole partitions (`sum(x) OVER (PARTITION BY k)`) a few partitions at a time.
//!
//! DataFusion's operator keeps all rows of its input until the last has come, and tells the memory pool
//! nothing of it. Its input is sorted by the partitions, so that the rows up to the last change of the key
//! can be computed as soon as they are there: what must fit into memory is the largest partition. That
//! which does not is told by name, instead of by the kernel.

use std::{collections::VecDeque, fmt, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    compute,
};
use datafusion::{
    common::{
        config::ConfigOptions,
        tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion},
    },
    error::Result as DfResult,
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_expr::{OrderingRequirements, PhysicalExpr, PhysicalSortExpr},
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements,
        PlanProperties, ReplaceChildrenOptions,
        memory::MemoryStream,
        metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet},
        stream::RecordBatchStreamAdapter,
        windows::WindowAggExec,
    },
};
use futures::{TryStreamExt, stream};

/// So many bytes of whole partitions are computed at once, and fewer in a small budget.
const CHUNK_BYTES_MAX: usize = 4 << 20;
/// The rows as they came, and joined into the one batch that the functions see.
const COPIES: usize = 2;

/// Puts [`PartitionsExec`] in the place of DataFusion's operator.
#[derive(Debug)]
pub(crate) struct WindowsByPartition;

impl PhysicalOptimizerRule for WindowsByPartition {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> DfResult<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            Ok(match node.downcast_ref::<WindowAggExec>() {
                Some(window) => Transformed::yes(
                    Arc::new(PartitionsExec::new(Arc::new(window.clone()))) as Arc<dyn ExecutionPlan>
                ),
                None => Transformed::no(node),
            })
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "windows_by_partition"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// DataFusion's operator, run over some whole partitions after the other.
#[derive(Debug)]
struct PartitionsExec {
    window: Arc<WindowAggExec>,
    metrics: ExecutionPlanMetricsSet,
}

impl PartitionsExec {
    fn new(window: Arc<WindowAggExec>) -> Self {
        Self { window, metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl DisplayAs for PartitionsExec {
    fn fmt_as(&self, how: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "ByPartition: ")?;
        self.window.fmt_as(how, f)
    }
}

impl ExecutionPlan for PartitionsExec {
    fn name(&self) -> &'static str {
        "PartitionsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.window.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.window.children()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        self.window.maintains_input_order()
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        self.window.required_input_ordering()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        self.window.input_distribution_requirements()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        self.window.apply_expressions(f)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let window = self.window.clone().replace_children(children, options)?;
        Ok(match window.downcast_ref::<WindowAggExec>() {
            Some(window) => Arc::new(Self::new(Arc::new(window.clone()))),
            None => window,
        })
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

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let options = context.session_config().options().clone();
        let running = Running {
            input: self.window.input().execute(partition, context.clone())?,
            keys: self.window.partition_by_sort_keys()?,
            window: self.window.clone(),
            memory: MemoryConsumer::new(format!("Window[{partition}]")).register(context.memory_pool()),
            // In proportion to the memory that there is, as is what a sort sets aside.
            chunk_bytes: CHUNK_BYTES_MAX.min(options.execution.sort_spill_reservation_bytes),
            context,
            whole: Rows::default(),
            open: Rows::default(),
            made: VecDeque::new(),
            ended: false,
            baseline: BaselineMetrics::new(&self.metrics, partition),
        };
        let rows = stream::try_unfold(running, Running::next);
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.window.schema(), rows)))
    }
}

/// Batches and the memory that they hold.
#[derive(Default)]
struct Rows {
    batches: Vec<RecordBatch>,
    bytes: usize,
}

impl Rows {
    fn push(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.bytes += bytes_of(&batch);
            self.batches.push(batch);
        }
    }

    fn append(&mut self, other: &mut Self) {
        self.batches.append(&mut other.batches);
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

/// One partition of the plan while it is computed.
struct Running {
    window: Arc<WindowAggExec>,
    input: SendableRecordBatchStream,
    /// What the input is sorted by and the partitions are told apart by; none if all rows are one.
    keys: Vec<PhysicalSortExpr>,
    context: Arc<TaskContext>,
    memory: MemoryReservation,
    chunk_bytes: usize,
    /// Rows of partitions that have ended.
    whole: Rows,
    /// Rows of the partition that may go on.
    open: Rows,
    /// Rows that are computed.
    made: VecDeque<RecordBatch>,
    ended: bool,
    baseline: BaselineMetrics,
}

impl Running {
    async fn next(mut self) -> DfResult<Option<(RecordBatch, Self)>> {
        loop {
            if let Some(batch) = self.made.pop_front() {
                self.baseline.record_output(batch.num_rows());
                return Ok(Some((batch, self)));
            }
            if self.ended {
                return Ok(None);
            }
            match self.input.try_next().await? {
                Some(batch) => self.take(batch)?,
                None => {
                    self.ended = true;
                    self.whole.append(&mut self.open);
                }
            }
            if self.ended || self.whole.bytes >= self.chunk_bytes {
                self.compute().await?;
            }
        }
    }

    /// Adds rows to the partitions that they belong to.
    fn take(&mut self, batch: RecordBatch) -> DfResult<()> {
        let all = self.whole.bytes + self.open.bytes + bytes_of(&batch);
        self.memory.try_resize(all * COPIES)?;
        let last = self.start_of_last_partition(&batch)?;
        if last > 0 || !self.goes_on_with(&batch)? {
            self.whole.append(&mut self.open);
        }
        self.whole.push(batch.slice(0, last));
        self.open.push(batch.slice(last, batch.num_rows() - last));
        Ok(())
    }

    /// The row at which the last partition of `batch` begins; 0 if it has only one.
    fn start_of_last_partition(&self, batch: &RecordBatch) -> DfResult<usize> {
        if self.keys.is_empty() || batch.num_rows() == 0 {
            return Ok(0);
        }
        let keys = self.keys.iter().map(|key| Ok(key.evaluate_to_sort_column(batch)?.values));
        let ranges = compute::partition(&keys.collect::<DfResult<Vec<_>>>()?)?.ranges();
        Ok(ranges.last().map_or(0, |range| range.start))
    }

    /// Whether the first row of `batch` belongs to the open partition.
    fn goes_on_with(&self, batch: &RecordBatch) -> DfResult<bool> {
        let Some(before) = self.open.batches.last() else { return Ok(true) };
        if batch.num_rows() == 0 {
            return Ok(true);
        }
        let (last, first) = (before.slice(before.num_rows() - 1, 1), batch.slice(0, 1));
        let both = compute::concat_batches(&batch.schema(), [&last, &first])?;
        Ok(self.start_of_last_partition(&both)? == 0)
    }

    /// Computes the partitions that have ended.
    async fn compute(&mut self) -> DfResult<()> {
        let whole = std::mem::take(&mut self.whole);
        if whole.batches.is_empty() {
            return Ok(());
        }
        let input = Held { batches: whole.batches, properties: self.window.input().properties().clone() };
        let window = self.window.clone().replace_children(
            vec![Arc::new(input)],
            ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep),
        )?;
        let made: Vec<RecordBatch> = window.execute(0, self.context.clone())?.try_collect().await?;
        let rows_at_once = self.context.session_config().batch_size();
        for batch in &made {
            for start in (0..batch.num_rows()).step_by(rows_at_once) {
                self.made.push_back(batch.slice(start, rows_at_once.min(batch.num_rows() - start)));
            }
        }
        // What was made is read before the next rows come; it is about what it was made from.
        self.memory.try_resize((whole.bytes + self.open.bytes) * COPIES)
    }
}

/// Rows in memory that pass for what they were taken from: sorted alike, which the operator asks for.
#[derive(Debug)]
struct Held {
    batches: Vec<RecordBatch>,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for Held {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Held: {} batches", self.batches.len())
    }
}

impl ExecutionPlan for Held {
    fn name(&self) -> &'static str {
        "Held"
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
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep))
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        Ok(Box::pin(MemoryStream::try_new(self.batches.clone(), self.schema(), None)?))
    }
}

/// What the rows of `batch` take, of memory that other batches may share.
fn bytes_of(batch: &RecordBatch) -> usize {
    let size = |column: &ArrayRef| {
        column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
    };
    batch.columns().iter().map(size).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use lagar_flow::codes;

    use crate::testing::{Place, rows, shown};

    /// Partitions of one row to many batches, by keys of several kinds, null among them.
    #[tokio::test]
    async fn every_partition_is_seen_whole() {
        let place = Place::with(256 << 20, 1 << 30, 2).await;
        let session = place.engine.session();
        let from = "FROM (SELECT value AS v, NULLIF(CAST(floor(ln(value)) AS INT), 3) AS k, value % 3 AS m, \
                    'day ' || (value / 9000) AS day FROM generate_series(1, 60000))";
        for keys in ["k", "k, m", "m, day", "v", "1"] {
            let by = if keys == "1" { String::new() } else { format!(" GROUP BY {keys}") };
            // Each window beside its rows, and each group as often as it has rows.
            let windows = format!(
                "SELECT sum(v) OVER (PARTITION BY {keys}) AS s, count(*) OVER (PARTITION BY {keys}) AS n, \
                 first_value(v) OVER (PARTITION BY {keys} ORDER BY v DESC ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS l {from}"
            );
            let groups = format!("SELECT sum(v) AS s, count(*) AS n, max(v) AS l {from}{by}");
            let plan =
                rows(&session, &format!("SELECT count(*), sum(s % 1000), sum(n), sum(l) FROM ({windows})"))
                    .await;
            let known = format!("SELECT sum(n), sum(s % 1000 * n), sum(n * n), sum(l * n) FROM ({groups})");
            assert_eq!(plan, rows(&session, &known).await, "{keys}");
        }
        let explained = session
            .inspect("EXPLAIN SELECT sum(value) OVER () FROM generate_series(1, 9)", Default::default());
        let explained = shown(&explained.await.unwrap().collect().await.unwrap()).join("\n");
        assert!(explained.contains("ByPartition: WindowAggExec"), "{explained}");
    }

    #[tokio::test]
    async fn what_must_fit_is_one_partition() {
        let place = Place::with(16 << 20, 1 << 30, 2).await;
        let session = place.engine.session();
        let of = |keys: &str| {
            format!(
                "SELECT count(*), min(n), max(n), max(t) FROM (SELECT count(*) OVER (PARTITION BY {keys}) AS n, t \
                 FROM (SELECT value AS v, repeat('x', 200) || value AS t FROM generate_series(1, 200000)))"
            )
        };
        let counted = rows(&session, &of("v / 1000")).await;
        assert!(counted[0].starts_with("200000|1|1000|xxx"), "{counted:?}");
        let error = session.collect(&of("1")).await.unwrap_err();
        assert_eq!(error.code(), codes::MEMORY, "{error}");
        assert!(error.message().contains("Window["), "{error}");
    }
}
