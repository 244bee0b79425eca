//! The newest row of each key, without a sort.
//!
//! ```sql
//! SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY o DESC) AS rn FROM t) WHERE rn = 1
//! ```
//!
//! is planned by DataFusion as a sort of all columns. [`rule::KeepLatest`] puts [`node::KeepLatestNode`] in
//! the place of the window, which [`exec::KeepLatestExec`] carries out:
//!
//! 1. Each partition of the input reads its rows. Of a row only key, order and place go into one table for
//!    all of them ([`index::Index`]), which knows for each key the row that is first so far; a row that is
//!    beaten is marked dead: one bit. The rows themselves are kept as they came ([`rows::Rows`]), in memory
//!    while they are few and in a file behind that.
//! 2. When all have ended, each partition gives out its rows that are not dead, in the order in which they
//!    came. Values are copied once, and not at all where a batch has no dead row.
//!
//! **Rows that stay anyhow.** In `rn = 1 OR condition`, where the condition is about the key alone, all rows for which
//! it holds are kept: they meet no other row, and their keys need no memory. So a merge leaves out what fails a check of
//! severity `drop` before it chooses the newest.
//!
//! **Ties.** Of rows of one key that are equal in all of ORDER BY, the one that comes last is kept: the
//! one in the later partition of the input, and in it the later row. Over one input in one order the
//! result is always the same. Which partition a file is in is up to who reads it, so whoever wants ties
//! to be decided by data names more columns (`ORDER BY changed_at DESC, _load DESC, _row DESC`).
//!
//! **Memory.** What is kept is asked of the pool; when it says no, rows go to the file and the table goes
//! to files by hash of the key, which are then taken one by one. A dead bit for each row is all that
//! has to stay in memory.

mod exec;
mod index;
mod node;
mod rows;
mod rule;
#[cfg(test)]
mod tests;

pub(crate) use rule::KeepLatest;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::{
    catalog::Session,
    error::Result as DfResult,
    execution::context::QueryPlanner,
    logical_expr::LogicalPlan,
    physical_plan::ExecutionPlan,
    physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner},
};

/// DataFusion's planner that also knows our nodes.
#[derive(Debug)]
pub(crate) struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(node::NodePlanner)])
            .create_physical_plan(plan, session)
            .await
    }
}
