//! DataFusion 55.2 pushes conditions down by the *names* of columns: behind a node that has two of one name
//! (a join of tables that both have `status`, its sides exchanged) a condition on the second one is asked
//! of the first, and rows are lost or kept wrongly. So it may only work below such nodes.

use std::{collections::HashSet, sync::Arc};

use datafusion::{
    common::config::ConfigOptions,
    error::Result as DfResult,
    physical_optimizer::{PhysicalOptimizerRule, optimizer::PhysicalOptimizer},
    physical_plan::{
        ExecutionPlan,
        execution_plan::replace_children_if_necessary,
        joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec},
    },
};

/// DataFusion's rules, of which those that push conditions down keep away from equal names.
pub(crate) fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let guarded =
        |rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>| match rule.name().contains("FilterPushdown") {
            true => Arc::new(BelowEqualNames(rule)) as Arc<dyn PhysicalOptimizerRule + Send + Sync>,
            false => rule,
        };
    PhysicalOptimizer::new().rules.into_iter().map(guarded).collect()
}

/// A rule that works on parts of a plan in which no node passes on two columns of one name.
#[derive(Debug)]
struct BelowEqualNames(Arc<dyn PhysicalOptimizerRule + Send + Sync>);

impl PhysicalOptimizerRule for BelowEqualNames {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        if has_only_own_names(&plan) {
            return self.0.optimize(plan, config);
        }
        let children = plan.children().into_iter().cloned();
        let children = children.map(|child| self.optimize(child, config)).collect::<DfResult<Vec<_>>>()?;
        replace_children_if_necessary(plan, children)
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}

/// Whether no node of `plan` passes on two columns of one name. Joins know the sides of their columns.
fn has_only_own_names(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let is_join = plan.downcast_ref::<HashJoinExec>().is_some()
        || plan.downcast_ref::<SortMergeJoinExec>().is_some()
        || plan.downcast_ref::<NestedLoopJoinExec>().is_some();
    let own_names = || {
        let schema = plan.schema();
        let mut names = HashSet::new();
        schema.fields().iter().all(|field| names.insert(field.name().clone()))
    };
    (is_join || own_names()) && plan.children().into_iter().all(has_only_own_names)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use crate::testing::{Place, rows, shown};

    /// The condition is on the column of the first table, which both sides of the exchanged join call `s`.
    #[tokio::test]
    async fn a_condition_is_asked_of_its_own_column() {
        let place = Place::new().await;
        let session = place.engine.session();
        let from = "SELECT b.s, a.s AS n FROM (VALUES ('x', 1)) AS a(s, k) \
                    RIGHT JOIN (VALUES ('x'), ('y')) AS b(s) ON a.s = b.s WHERE";
        for condition in [
            "a.s LIKE '%'",
            "CASE WHEN a.s IS NOT NULL THEN length(a.s) > 0 ELSE NULL END",
            "COALESCE(a.s, 'q') < 'z' AND COALESCE(a.s, 'q') <> 'q'",
        ] {
            assert_eq!(rows(&session, &format!("{from} {condition}")).await, ["x|x"], "{condition}");
        }
        let more = "SELECT count(*) FROM (VALUES ('x', 'open'), ('y', 'open')) AS a(k, status) LEFT JOIN \
                    (VALUES ('x', 'shut'), ('z', 'shut'), ('u', 'shut')) AS b(k, status) ON a.k = b.k WHERE COALESCE(b.status, 'none') <> 'shut'";
        assert_eq!(rows(&session, more).await, ["1"]);
    }

    #[tokio::test]
    async fn below_a_join_conditions_still_reach_the_files() {
        let place = Place::new().await;
        let table = place.table("trusted.t", "SELECT 1 AS id, 'a' AS s", &[]).await;
        let session = place.engine.session();
        session.add_table(&table, &place.lake).unwrap();
        let sql = "EXPLAIN SELECT a.s, b.s AS other FROM trusted.t a LEFT JOIN (SELECT * FROM trusted.t WHERE id > 0) b \
                   ON a.id = b.id WHERE COALESCE(b.s, '') <> 'q'";
        let plan =
            shown(&session.inspect(sql, crate::Strategy::Default).await.unwrap().collect().await.unwrap())
                .join("\n");
        assert!(plan.contains("predicate=id@0 > 0"), "{plan}");
    }
}
