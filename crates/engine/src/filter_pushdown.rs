//! Where DataFusion 55.2 must not push conditions down.
//!
//! In a physical plan it goes by the *names* of columns: behind a node that has two of one name (a join of tables
//! that both have `status`, its sides exchanged) a condition on the second one is asked of the first, and rows
//! are lost or kept wrongly. So it may only work below such nodes.
//!
//! In a logical plan it pushes a condition on no column (`5 > 7`, what became of a constant column) below an
//! aggregate, also one without GROUP BY, which then gives its one row of no rows. So it stays above.

use std::{collections::HashSet, sync::Arc};

use datafusion::{
    common::{config::ConfigOptions, tree_node::Transformed},
    error::Result as DfResult,
    logical_expr::{Aggregate, Expr, LogicalPlan, utils::split_conjunction},
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule},
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

/// `rule`; if it is DataFusion's that pushes conditions down, it leaves those alone that must stay above an
/// aggregate.
pub(crate) fn above_aggregates(
    rule: Arc<dyn OptimizerRule + Send + Sync>,
) -> Arc<dyn OptimizerRule + Send + Sync> {
    match rule.name() {
        "push_down_filter" => Arc::new(AboveAggregates(rule)),
        _ => rule,
    }
}

/// A rule that is shown one node after the other, but none that must stay where it is.
#[derive(Debug)]
struct AboveAggregates(Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for AboveAggregates {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> DfResult<Transformed<LogicalPlan>> {
        match stays_above(&plan) {
            true => Ok(Transformed::no(plan)),
            false => self.0.rewrite(plan, config),
        }
    }
}

/// Whether `plan` is a condition on no column over an aggregate that has a row even of no rows. No other condition
/// beside it could be pushed down either: there is no column by which all rows are grouped.
fn stays_above(plan: &LogicalPlan) -> bool {
    let (mut plan, mut on_nothing) = (plan, false);
    while let LogicalPlan::Filter(filter) = plan {
        on_nothing |= split_conjunction(&filter.predicate).into_iter().any(|part| !part.any_column_refs());
        plan = filter.input.as_ref();
    }
    on_nothing && matches!(plan, LogicalPlan::Aggregate(aggregate) if has_row_of_nothing(aggregate))
}

/// Also with GROUPING SETS, ROLLUP and CUBE, of which the empty set may be one.
fn has_row_of_nothing(aggregate: &Aggregate) -> bool {
    aggregate.group_expr.is_empty()
        || aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use crate::testing::{Place, rows, shown};

    #[tokio::test]
    async fn a_condition_on_no_column_stays_above_an_aggregate() {
        let place = Place::new().await;
        let session = place.engine.session();
        let highest = "(SELECT max(z) FROM (VALUES (6)) AS w(z))";
        let from = "FROM (SELECT count(*) AS n, 5 AS five FROM (VALUES ('a'), ('b'), ('b')) AS v(g)) AS c";
        let cases: [(String, &[&str]); 7] = [
            ("five > 7".to_owned(), &[]),
            ("five > 3".to_owned(), &["3"]),
            ("five > 7 AND n > 0".to_owned(), &[]),
            ("five > 3 AND n > 4".to_owned(), &[]),
            (format!("{highest} > 7"), &[]),
            (format!("{highest} > 5"), &["3"]),
            ("random() > 2".to_owned(), &[]),
        ];
        for (condition, expected) in cases {
            let found = rows(&session, &format!("SELECT n {from} WHERE {condition}")).await;
            assert_eq!(found, expected, "{condition}");
        }
        let having = "SELECT count(*) AS n FROM (VALUES (1), (2)) AS v(y) HAVING";
        assert!(rows(&session, &format!("{having} {highest} > 7")).await.is_empty());
        assert_eq!(rows(&session, &format!("{having} {highest} > 5")).await, ["2"]);
        let by_group =
            "SELECT n FROM (SELECT g, count(*) AS n, 5 AS five FROM (VALUES ('a'), ('b')) AS v(g) GROUP BY";
        for groups in ["g", "ROLLUP (g)"] {
            let found = rows(&session, &format!("{by_group} {groups}) AS c WHERE five > 7")).await;
            assert!(found.is_empty(), "{groups}: {found:?}");
        }
    }

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
