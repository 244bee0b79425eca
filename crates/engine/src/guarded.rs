//! Where rules of DataFusion 55.2 must not work.
//!
//! - Pushing conditions down in a physical plan it goes by the *names* of columns: behind a node that has two of one
//!   name (a join of tables that both have `status`, its sides exchanged) a condition on the second one is asked of
//!   the first, and rows are lost or kept wrongly. So it may only work below such nodes.
//! - A nested-loop join whose left side does not fit into memory gives out what it found of it once for each partition
//!   of the right side: rows twice of a LEFT JOIN … ON a < b, of EXISTS and of `x IN (SELECT …) OR …` by no equality.
//!   Of the right side it keeps count over all. So the sides of such joins are exchanged.
//! - Where a condition gives out some of its columns only, and that in another order, a projection above it is moved
//!   below as if these were all: `SELECT b.f AS x, a.s || a.t AS y FROM a RIGHT JOIN b ON … WHERE a.f IS DISTINCT FROM 7`
//!   showed `a.f` as `x`. So before projections are moved, conditions give out what comes in.
//! - Of `lower(s) = s` it concludes that rows in the order of one are in that of the other, and later does not find the
//!   order that a window by `s` needs: the query fails. So it is not shown such conditions as equalities.
//! - In a logical plan it pushes a condition on no column (`5 > 7`, what became of a constant column) below an
//!   aggregate, also one without GROUP BY, which then gives its one row of no rows. So it stays above.
//! - Of `count(DISTINCT x)` beside `sum(y)` it makes a sum of sums, which of a DECIMAL has another type than the sum:
//!   a condition on it, such as HAVING, fails. So DECIMALs are summed once.

use std::{collections::HashSet, sync::Arc};

use datafusion::{
    common::{
        JoinType,
        config::ConfigOptions,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    error::Result as DfResult,
    logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan, Operator, utils::split_conjunction},
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule},
    physical_expr::{
        PhysicalExpr, conjunction,
        expressions::{BinaryExpr, Column, NotExpr},
        split_conjunction as split_conjunction_of,
        utils::collect_columns,
    },
    physical_optimizer::{PhysicalOptimizerRule, optimizer::PhysicalOptimizer},
    physical_plan::{
        ExecutionPlan,
        execution_plan::replace_children_if_necessary,
        filter::{FilterExec, FilterExecBuilder},
        joins::{HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec},
        projection::{ProjectionExec, ProjectionExpr},
    },
};

use crate::answers_last::answers_above;

/// DataFusion's rules, of which those that push conditions down keep away from equal names, and ours around them.
pub(crate) fn physical_rules() -> Vec<PhysicalRule> {
    let guarded = |rule: PhysicalRule| match rule.name().contains("FilterPushdown") {
        true => Arc::new(BelowEqualNames(rule)) as PhysicalRule,
        false => rule,
    };
    let ours = |name, change| Arc::new(EachNode { name, change }) as PhysicalRule;
    let around = |rule: PhysicalRule| match rule.name() {
        // It decides about the sides by their sizes.
        "join_selection" => vec![rule, ours("loops_to_the_right", loops_to_the_right)],
        "ProjectionPushdown" => vec![ours("all_columns", all_columns), rule],
        // Nothing puts conditions together any more.
        "SanityCheckPlan" => vec![ours("answers_above", answers_above), rule],
        _ => vec![rule],
    };
    let theirs = PhysicalOptimizer::new().rules.into_iter().map(guarded).flat_map(around);
    [ours("no_order_of_itself", no_order_of_itself)].into_iter().chain(theirs).collect()
}

type PhysicalRule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;
type Plan = Arc<dyn ExecutionPlan>;

/// A rule that changes one node after the other, from the leaves up, and no columns.
#[derive(Debug)]
struct EachNode {
    name: &'static str,
    change: fn(Plan) -> DfResult<Transformed<Plan>>,
}

impl PhysicalOptimizerRule for EachNode {
    fn optimize(&self, plan: Plan, _: &ConfigOptions) -> DfResult<Plan> {
        plan.transform_up(self.change).data()
    }

    fn name(&self) -> &str {
        self.name
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Takes the projection out of a condition: a node of its own above it.
fn all_columns(plan: Plan) -> DfResult<Transformed<Plan>> {
    let filter = plan.downcast_ref::<FilterExec>();
    let Some((filter, given)) = filter.and_then(|filter| Some((filter, filter.projection().as_ref()?)))
    else {
        return Ok(Transformed::no(plan));
    };
    let schema = filter.input().schema();
    let columns = given.iter().map(|at| {
        let name = schema.field(*at).name();
        ProjectionExpr::new(Arc::new(Column::new(name, *at)), name.clone())
    });
    let all = FilterExecBuilder::from(filter).apply_projection(None)?.build()?;
    let above = ProjectionExec::try_new(columns.collect::<Vec<_>>(), Arc::new(all))?;
    Ok(Transformed::yes(Arc::new(above) as Plan))
}

/// Writes `lower(s) = s` as `NOT lower(s) != s`, which is the same, also for nulls.
fn no_order_of_itself(plan: Plan) -> DfResult<Transformed<Plan>> {
    let Some(filter) = plan.downcast_ref::<FilterExec>() else { return Ok(Transformed::no(plan)) };
    let conditions = split_conjunction_of(filter.predicate());
    if !conditions.iter().any(|condition| equals_itself(condition).is_some()) {
        return Ok(Transformed::no(plan));
    }
    let conditions = conditions.into_iter().map(|condition| match equals_itself(condition) {
        Some(equal) => {
            let (left, right) = (equal.left().clone(), equal.right().clone());
            let other = BinaryExpr::new(left, Operator::NotEq, right);
            Arc::new(NotExpr::new(Arc::new(other))) as Arc<dyn PhysicalExpr>
        }
        None => condition.clone(),
    });
    let filter = FilterExecBuilder::from(filter).with_predicate(conjunction(conditions)).build()?;
    Ok(Transformed::yes(Arc::new(filter) as Plan))
}

/// A condition that something equals something else of the same column.
fn equals_itself(condition: &Arc<dyn PhysicalExpr>) -> Option<&BinaryExpr> {
    let equal = condition.downcast_ref::<BinaryExpr>().filter(|binary| *binary.op() == Operator::Eq)?;
    let columns = [equal.left(), equal.right()].map(collect_columns);
    (!columns[0].is_disjoint(&columns[1])).then_some(equal)
}

/// Exchanges the sides of a join by no equality that gives out rows of its left side only at the end.
fn loops_to_the_right(plan: Plan) -> DfResult<Transformed<Plan>> {
    let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() else { return Ok(Transformed::no(plan)) };
    Ok(match join.join_type() {
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
            Transformed::yes(join.swap_inputs()?)
        }
        _ => Transformed::no(plan),
    })
}

/// A rule that works on parts of a plan in which no node passes on two columns of one name.
#[derive(Debug)]
struct BelowEqualNames(PhysicalRule);

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

/// `rule`, kept away from what it does wrong.
pub(crate) fn logical_rule(
    rule: Arc<dyn OptimizerRule + Send + Sync>,
) -> Arc<dyn OptimizerRule + Send + Sync> {
    let leaves: fn(&LogicalPlan) -> bool = match rule.name() {
        "push_down_filter" => stays_above,
        "single_distinct_aggregation_to_group_by" => sums_decimals,
        _ => return rule,
    };
    Arc::new(Guarded { rule, leaves })
}

/// A rule that is shown one node after the other, but none that it has to leave as it is.
#[derive(Debug)]
struct Guarded {
    rule: Arc<dyn OptimizerRule + Send + Sync>,
    leaves: fn(&LogicalPlan) -> bool,
}

impl OptimizerRule for Guarded {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> DfResult<Transformed<LogicalPlan>> {
        match (self.leaves)(&plan) {
            true => Ok(Transformed::no(plan)),
            false => self.rule.rewrite(plan, config),
        }
    }
}

fn sums_decimals(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Aggregate(aggregate) = plan else { return false };
    let schema = aggregate.input.schema();
    aggregate.aggr_expr.iter().any(|expr| match expr.clone().unalias() {
        Expr::AggregateFunction(call) if call.func.name() == "sum" => {
            call.params.args.iter().any(|arg| arg.get_type(schema).is_ok_and(|t| t.is_decimal()))
        }
        _ => false,
    })
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
    use crate::{
        Limits,
        session::Engine,
        testing::{Place, rows, shown},
    };

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_join_by_no_equality_gives_each_row_once_also_when_it_spills() {
        let dir = tempfile::tempdir().unwrap();
        let spill_dir = dir.path().join("spill");
        let engine =
            Engine::new(Limits { memory_bytes: 1 << 20, spill_bytes: 1 << 30, spill_dir, threads: 2 })
                .unwrap();
        let session = engine.session();
        let many = "(SELECT value AS id, repeat('x', 400) || value AS t FROM generate_series(1, 6000)) AS a";
        let few = "(SELECT value AS y FROM generate_series(1, 40)) AS b";
        let larger = format!("EXISTS (SELECT 1 FROM {few} WHERE b.y > a.id)");
        for (sql, expected) in [
            (format!("{many} LEFT JOIN {few} ON a.id < b.y"), "6741"),
            (format!("{few} RIGHT JOIN {many} ON a.id < b.y"), "6741"),
            (format!("{many} WHERE {larger}"), "39"),
            (format!("{many} WHERE NOT {larger}"), "5961"),
            (format!("{many} WHERE {larger} OR a.id = 6000"), "40"),
        ] {
            let found =
                rows(&session, &format!("SELECT count(*), count(DISTINCT length(t)) > 0 FROM {sql}")).await;
            assert_eq!(found, [format!("{expected}|true")], "{sql}");
        }
    }

    #[tokio::test]
    async fn a_sum_of_decimals_beside_distinct_values_can_be_compared() {
        let place = Place::new().await;
        let session = place.engine.session();
        let sums = "SELECT g, count(DISTINCT x) AS n, sum(CAST(x AS DECIMAL(20, 2))) AS s
                    FROM (VALUES ('a', 1), ('a', 1), ('b', 3)) AS v(g, x) GROUP BY g";
        let found = rows(&session, &format!("SELECT g, n, s FROM ({sums}) WHERE s < s + s AND s > 2")).await;
        assert_eq!(found, ["b|1|3.00"]);
    }

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

    /// The condition is on a column that does not come out; of the others one has its name.
    #[tokio::test]
    async fn a_projection_above_a_condition_shows_its_own_columns() {
        let place = Place::new().await;
        let session = place.engine.session();
        let a = "(VALUES (1, 0.5, 'one', true), (2, 1.5, 'two', false), (3, 7.0, 'three', true)) AS a(k, f, s, b)";
        let b = "(VALUES (1, 10.5), (3, 11.5), (4, 12.5)) AS b(k, f)";
        let text = "coalesce(a.s, 'q') || CASE WHEN a.b THEN 'y' ELSE 'n' END AS y";
        for (join, expected) in [
            ("RIGHT JOIN", vec!["10.5|oney", "12.5|qn"]),
            ("FULL JOIN", vec!["10.5|oney", "12.5|qn", "NULL|twon"]),
        ] {
            let sql = format!(
                "SELECT b.f AS x, {text} FROM {a} {join} {b} ON a.k = b.k WHERE a.f IS DISTINCT FROM 7"
            );
            let mut found = rows(&session, &sql).await;
            found.sort_unstable();
            assert_eq!(found, expected, "{sql}");
        }
        let three = "SELECT b.s AS x, nullif(b.f, a.f) AS y, c.f AS z FROM (VALUES (1, 0.5, 'a')) AS a(k, f, s) \
                     LEFT JOIN (VALUES (1, 1.5, 'b')) AS b(k, f, s) ON a.k = b.k \
                     LEFT JOIN (VALUES (1, 2.5, 'c')) AS c(k, f, s) ON b.k = c.k WHERE c.s IS DISTINCT FROM 'q'";
        assert_eq!(rows(&session, three).await, ["b|1.5|2.5"]);
    }

    #[tokio::test]
    async fn rows_that_equal_something_of_themselves_can_be_numbered() {
        let place = Place::new().await;
        let made =
            "SELECT * FROM (VALUES (1, 'a', 4), (2, 'B', 1), (3, 'a', 0), (4, NULL, 1)) AS t(id, s, g)";
        let table = place.table("trusted.t", made, &[]).await;
        let session = place.engine.session();
        session.add_table(&table, &place.lake).unwrap();
        for (condition, partition, expected) in [
            ("lower(s) = s", "s", vec!["1|1", "3|2"]),
            ("s = trim(s) AND id > 1", "s", vec!["2|1", "3|1"]),
            ("g * g = g", "g", vec!["2|1", "3|1", "4|2"]),
            ("NOT (lower(s) <> s)", "s", vec!["1|1", "3|2"]),
        ] {
            let sql = format!(
                "SELECT id, row_number() OVER (PARTITION BY {partition} ORDER BY id) AS n FROM trusted.t \
                 WHERE {condition} ORDER BY id"
            );
            assert_eq!(rows(&session, &sql).await, expected, "{sql}");
        }
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
