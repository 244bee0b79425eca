//! A query that runs: its rows, and what it took.

use std::{fmt, sync::Arc};

use arrow::datatypes::SchemaRef;
use datafusion::{
    execution::{
        SessionState, TaskContext,
        memory_pool::{MemoryPool, PeakRecordingPool},
        runtime_env::RuntimeEnv,
    },
    physical_plan::ExecutionPlan,
};
use futures::{StreamExt, TryStreamExt, stream};
use lagar_flow::{Batches, Error, Result};

use crate::{functions::Tallies, workers::Workers};

/// A running query. Dropping its rows stops it.
pub struct Query {
    /// The columns, and the rows as they come.
    pub batches: Batches,
    /// What it took so far; final when the rows have ended.
    pub stats: StatsHandle,
}

impl Query {
    /// The columns of the result.
    pub fn schema(&self) -> &SchemaRef {
        &self.batches.schema
    }

    /// The same query once its first rows have come: what it fails with before is the error.
    pub async fn begun(mut self) -> Result<Self> {
        let first = self.batches.stream.try_next().await?;
        let ended = first.is_none();
        let first = stream::iter(first.map(Ok));
        // A stream that has ended must not be asked again.
        self.batches.stream = if ended { first.boxed() } else { first.chain(self.batches.stream).boxed() };
        Ok(self)
    }

    /// All rows, in memory.
    pub async fn collect(self) -> Result<Vec<arrow::array::RecordBatch>> {
        self.batches.stream.try_collect().await
    }
}

/// What a query took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryStats {
    /// Rows that came out of tables. A count that is known beforehand reads none.
    pub rows_scanned: u64,
    /// The most that its sorts, joins and groups held at once.
    pub peak_memory_bytes: u64,
    /// Written to the spill folder, before compression.
    pub spilled_bytes: u64,
    pub spilled_rows: u64,
    /// Calls of functions that count what does not fit, where something did not.
    pub misfits: Vec<Misfits>,
}

/// How many of the values that a call such as `try_int(bbl)` was given did not fit. Nulls, and what
/// stands for null, are no values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfits {
    pub call: String,
    pub values: u64,
    pub misfits: u64,
}

impl fmt::Display for Misfits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, values, misfits } = self;
        write!(f, "{call}: {misfits} of {values} values did not fit and are null")
    }
}

/// Reads the numbers of a query while it runs and afterwards.
#[derive(Clone)]
pub struct StatsHandle {
    plan: Arc<dyn ExecutionPlan>,
    pool: Arc<PeakRecordingPool>,
    tallies: Tallies,
}

impl StatsHandle {
    /// The numbers so far.
    pub fn now(&self) -> QueryStats {
        let mut stats = QueryStats {
            peak_memory_bytes: self.pool.max_reserved() as u64,
            misfits: self.tallies.misfits(),
            ..QueryStats::default()
        };
        add_metrics(self.plan.as_ref(), &mut stats);
        stats
    }
}

fn add_metrics(plan: &dyn ExecutionPlan, stats: &mut QueryStats) {
    if let Some(metrics) = plan.metrics() {
        stats.spilled_bytes += metrics.spilled_bytes().unwrap_or(0) as u64;
        stats.spilled_rows += metrics.spilled_rows().unwrap_or(0) as u64;
        if plan.children().is_empty() {
            stats.rows_scanned += metrics.output_rows().unwrap_or(0) as u64;
        }
    }
    for child in plan.children() {
        add_metrics(child.as_ref(), stats);
    }
}

/// Runs `plan` with a recorder in front of the pool that all queries share.
pub(crate) fn start(
    plan: Arc<dyn ExecutionPlan>,
    state: &SessionState,
    shared: &RuntimeEnv,
    workers: &Arc<Workers>,
    tallies: Tallies,
) -> Result<Query> {
    let pool = Arc::new(PeakRecordingPool::new(shared.memory_pool.clone()));
    let runtime = RuntimeEnv { memory_pool: pool.clone() as Arc<dyn MemoryPool>, ..shared.clone() };
    let context = Arc::new(TaskContext::from(state).with_runtime(Arc::new(runtime)));
    let schema = plan.schema();
    let stream = workers.run(plan.clone(), context)?;
    Ok(Query { batches: Batches { schema, stream }, stats: StatsHandle { plan, pool, tallies } })
}

/// An error of ours on its way through DataFusion; [`errors::execution`] takes it out again.
pub(crate) fn boxed(error: Error) -> datafusion::common::DataFusionError {
    datafusion::common::DataFusionError::External(Box::new(error))
}
