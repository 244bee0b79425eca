//! `NOT IN (SELECT …)` where something is null.
//!
//! `x NOT IN S` is not known, and so no answer for WHERE, if no row of S equals x and one may: x is null and S has a
//! row, or a row of S is null. DataFusion 55.2 plans a join that heeds this only for a column before NOT IN that is a
//! condition of WHERE by itself, over a subquery that does not refer to the query around it. Everywhere else it takes
//! what is not known for "not equal", and rows come out that must not, or refuses the query.
//!
//! There we ask for what makes it not known by itself, before DataFusion makes joins of it:
//!
//! ```text
//! x NOT IN S     NOT EXISTS (row of S = x) AND NOT EXISTS (row of S that is null) AND NOT EXISTS (row of S, x being null)
//! (x IN S) IS …  CASE WHEN EXISTS (row of S = x) THEN TRUE WHEN EXISTS (…) OR EXISTS (…) THEN NULL ELSE FALSE END
//! ```

use std::sync::Arc;

use datafusion::{
    common::{
        Column, DFSchema, ExprSchema, ScalarValue,
        tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion},
    },
    error::Result as DfResult,
    logical_expr::{
        BinaryExpr, Distinct, Expr, ExprSchemable, Filter, LogicalPlan, LogicalPlanBuilder, Operator,
        Subquery, exists,
        expr::InSubquery,
        lit, not_exists,
        utils::{can_hash, conjunction, disjunction},
        when,
    },
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule},
};

/// Rewrites what DataFusion would answer wrongly, and nothing else.
#[derive(Debug)]
pub(crate) struct NullsOfNotIn;

impl OptimizerRule for NullsOfNotIn {
    fn name(&self) -> &'static str {
        "nulls_of_not_in"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> DfResult<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(filter) = plan else { return Ok(Transformed::no(plan)) };
        let around = Around { schema: filter.input.schema(), config };
        Ok(match around.condition(&filter.predicate, true)? {
            Some(predicate) => {
                Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?))
            }
            None => Transformed::no(LogicalPlan::Filter(filter)),
        })
    }
}

/// The rows that are filtered.
struct Around<'a> {
    schema: &'a DFSchema,
    config: &'a dyn OptimizerConfig,
}

/// Of a subquery behind IN: its rows that equal the value, and those for which that is not known.
struct Rows {
    equal: LogicalPlan,
    unknown: Vec<LogicalPlan>,
}

impl Around<'_> {
    /// `expr`, of which is asked only whether it is true; `None` if it stays as it is. `alone`: nothing but AND is
    /// around it.
    fn condition(&self, expr: &Expr, alone: bool) -> DfResult<Option<Expr>> {
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right })
                if matches!(op, Operator::And | Operator::Or) =>
            {
                let alone = alone && *op == Operator::And;
                let (one, other) = (self.condition(left, alone)?, self.condition(right, alone)?);
                if one.is_none() && other.is_none() {
                    return Ok(None);
                }
                let one = one.unwrap_or_else(|| left.as_ref().clone());
                let other = other.unwrap_or_else(|| right.as_ref().clone());
                Ok(Some(Expr::BinaryExpr(BinaryExpr::new(Box::new(one), *op, Box::new(other)))))
            }
            // Not known is as good as false.
            Expr::InSubquery(InSubquery { negated: false, .. }) | Expr::Exists(_) => Ok(None),
            Expr::InSubquery(InSubquery { expr, subquery, negated: true }) => {
                self.not_in(expr, subquery, alone)
            }
            Expr::Not(inner) => match inner.as_ref() {
                Expr::InSubquery(InSubquery { expr, subquery, negated: false }) => {
                    self.not_in(expr, subquery, alone)
                }
                _ => self.value(expr),
            },
            _ => self.value(expr),
        }
    }

    fn not_in(&self, x: &Expr, subquery: &Subquery, alone: bool) -> DfResult<Option<Expr>> {
        if alone && self.is_joined_well(x, subquery)? {
            return Ok(None);
        }
        let Some(Rows { equal, unknown }) = self.rows(x, subquery)? else { return Ok(None) };
        let none = std::iter::once(equal).chain(unknown).map(|rows| not_exists(Arc::new(rows)));
        Ok(conjunction(none))
    }

    /// Whether DataFusion plans its join that heeds nulls, or needs none.
    fn is_joined_well(&self, x: &Expr, subquery: &Subquery) -> DfResult<bool> {
        let row = subquery.subquery.schema().field(0);
        let mut seen = row.is_nullable() || !x.nullable(self.schema)?;
        for column in x.column_refs() {
            // That of an expression which makes nulls of its own is not looked at.
            seen |= self.schema.nullable(column)?;
        }
        Ok(seen && x.any_column_refs() && subquery.outer_ref_columns.is_empty() && can_hash(row.data_type()))
    }

    /// `expr`, of which every answer counts; `None` if it stays as it is.
    fn value(&self, expr: &Expr) -> DfResult<Option<Expr>> {
        if !expr.exists(|expr| Ok(matches!(expr, Expr::InSubquery(_))))? {
            return Ok(None);
        }
        let valued = expr.clone().transform(|expr| {
            let answer = match &expr {
                Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                    self.answer(expr, subquery, *negated)?
                }
                _ => None,
            };
            Ok(match answer {
                Some(answer) => Transformed::yes(answer),
                None => Transformed::no(expr),
            })
        })?;
        Ok(valued.transformed.then_some(valued.data))
    }

    fn answer(&self, x: &Expr, subquery: &Subquery, negated: bool) -> DfResult<Option<Expr>> {
        let Some(Rows { equal, unknown }) = self.rows(x, subquery)? else { return Ok(None) };
        let Some(unknown) = disjunction(unknown.into_iter().map(|rows| exists(Arc::new(rows)))) else {
            return Ok(None);
        };
        let not_known = Expr::Literal(ScalarValue::Boolean(None), None);
        let equal = exists(Arc::new(equal));
        when(equal, lit(!negated)).when(unknown, not_known).otherwise(lit(negated)).map(Some)
    }

    /// `None` if nothing is null, and where the subquery or `x` cannot be asked more than once.
    fn rows(&self, x: &Expr, subquery: &Subquery) -> DfResult<Option<Rows>> {
        let plan = subquery.subquery.as_ref();
        let (row_may_be_null, x_may_be_null) =
            (plan.schema().field(0).is_nullable(), x.nullable(self.schema)?);
        let once =
            x.is_volatile() || x.contains_outer() || x.contains_scalar_subquery() || is_volatile(plan)?;
        if once || !(row_may_be_null || x_may_be_null) {
            return Ok(None);
        }
        let outer = self.outer(x)?;
        if !subquery.outer_ref_columns.is_empty() {
            return correlated(plan, self.schema, outer, row_may_be_null, x_may_be_null);
        }
        // A name that no column around it has.
        let name = self.config.alias_generator().next("__lagar_in");
        let named = LogicalPlanBuilder::from(plan.clone()).alias(name.as_str())?.build()?;
        let row = Expr::Column(Column::new(Some(name), plan.schema().field(0).name()));
        let rows = || LogicalPlanBuilder::from(named.clone());
        let mut equal = rows().filter(outer.clone().eq(row.clone()))?;
        // Where it does not depend on the row around, one is enough to know.
        if !x.any_column_refs() {
            equal = equal.limit(0, Some(1))?;
        }
        let mut unknown = Vec::new();
        if row_may_be_null {
            unknown.push(rows().filter(row.is_null())?.limit(0, Some(1))?.build()?);
        }
        if x_may_be_null {
            unknown.push(rows().limit(0, Some(1))?.filter(outer.is_null())?.build()?);
        }
        Ok(Some(Rows { equal: equal.build()?, unknown }))
    }

    /// `x` as a subquery refers to it.
    fn outer(&self, x: &Expr) -> DfResult<Expr> {
        let outer = x.clone().transform(|expr| match expr {
            Expr::Column(column) => {
                let field = self.schema.field_from_column(&column)?.clone();
                Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
            }
            other => Ok(Transformed::no(other)),
        });
        outer.data()
    }
}

/// Of a subquery that refers to the rows around it. Only of one that DataFusion can take out of them with more
/// conditions on it, and whose column is not called as one of theirs.
fn correlated(
    plan: &LogicalPlan,
    around: &DFSchema,
    outer: Expr,
    row_may_be_null: bool,
    x_may_be_null: bool,
) -> DfResult<Option<Rows>> {
    let is_plain = |plan: &LogicalPlan| {
        matches!(
            plan,
            LogicalPlan::Projection(_)
                | LogicalPlan::Filter(_)
                | LogicalPlan::SubqueryAlias(_)
                | LogicalPlan::TableScan(_)
        )
    };
    let column = Column::from(plan.schema().qualified_field(0));
    if around.has_column(&column) || plan.exists(|node| Ok(!is_plain(node)))? {
        return Ok(None);
    }
    let row = Expr::Column(column);
    let rows = || LogicalPlanBuilder::from(plan.clone());
    let equal = rows().filter(outer.clone().eq(row.clone()))?.build()?;
    let nulls = [(row, row_may_be_null), (outer, x_may_be_null)].into_iter();
    let unknown = disjunction(nulls.filter(|(_, may_be)| *may_be).map(|(expr, _)| expr.is_null()));
    let unknown = unknown.map(|unknown| rows().filter(unknown)?.build()).transpose()?;
    Ok(Some(Rows { equal, unknown: unknown.into_iter().collect() }))
}

/// Whether it may give other rows each time: also where it takes some of the rows, and nothing says which.
fn is_volatile(plan: &LogicalPlan) -> DfResult<bool> {
    let mut volatile = false;
    plan.apply_with_subqueries(|node| {
        volatile |= matches!(node, LogicalPlan::Limit(_) | LogicalPlan::Window(_))
            || matches!(node, LogicalPlan::Distinct(Distinct::On(_)))
            || matches!(node, LogicalPlan::Sort(sort) if sort.fetch.is_some());
        node.apply_expressions(|expr| {
            volatile |= expr.is_volatile();
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(volatile)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use arrow::{
        array::{ArrayRef, Int64Array, RecordBatch},
        datatypes::{DataType, Field, Schema},
    };

    use super::*;
    use crate::{
        Session, Strategy,
        testing::{Place, shown},
    };

    /// `id`, which is never null, a group, and `x`.
    type Row = (i64, i64, Option<i64>);
    /// A condition, and its answer for a row as SQL's standard has it.
    type Case = (String, Box<dyn Fn(Row) -> Option<bool>>);

    const ROWS: [Row; 6] =
        [(1, 1, Some(1)), (2, 1, None), (3, 2, Some(3)), (4, 2, Some(5)), (5, 3, None), (6, 3, Some(2))];
    const SETS: [(&str, &[Option<i64>]); 5] = [
        ("empty", &[]),
        ("some", &[Some(1), Some(2), Some(3)]),
        ("holes", &[Some(1), None, Some(2)]),
        ("nulls", &[None, None]),
        // Its column is declared to have no nulls.
        ("solid", &[Some(1), Some(2), Some(4)]),
    ];
    /// A group, and a value.
    const GROUPED: [(i64, Option<i64>); 6] =
        [(1, Some(1)), (1, None), (2, Some(3)), (2, Some(4)), (3, Some(7)), (4, None)];

    fn any(answers: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
        let answers: Vec<_> = answers.into_iter().collect();
        match answers.contains(&None) {
            _ if answers.contains(&Some(true)) => Some(true),
            true => None,
            false => Some(false),
        }
    }

    fn not(answer: Option<bool>) -> Option<bool> {
        answer.map(|answer| !answer)
    }

    fn is_in(x: Option<i64>, set: &[Option<i64>]) -> Option<bool> {
        any(set.iter().map(|y| Some(x? == (*y)?)))
    }

    fn case(sql: String, answer: impl Fn(Row) -> Option<bool> + 'static) -> Case {
        (sql, Box::new(answer))
    }

    fn cases(name: &str, set: &'static [Option<i64>]) -> Vec<Case> {
        let s = format!("(SELECT y FROM trusted.{name})");
        vec![
            case(format!("x NOT IN {s}"), move |row| not(is_in(row.2, set))),
            case(format!("NOT x IN {s}"), move |row| not(is_in(row.2, set))),
            case(format!("x + 1 NOT IN {s}"), move |row| not(is_in(row.2.map(|x| x + 1), set))),
            case(format!("id NOT IN {s}"), move |row| not(is_in(Some(row.0), set))),
            case(format!("nullif(id, 3) NOT IN {s}"), move |row| {
                not(is_in(Some(row.0).filter(|id| *id != 3), set))
            }),
            case(format!("1 NOT IN {s}"), move |_| not(is_in(Some(1), set))),
            case(format!("9 NOT IN {s}"), move |_| not(is_in(Some(9), set))),
            case(format!("CAST(NULL AS BIGINT) NOT IN {s}"), move |_| not(is_in(None, set))),
            case(format!("id > 4 AND x NOT IN {s}"), move |row| {
                not(any([Some(row.0 <= 4), is_in(row.2, set)]))
            }),
            case(format!("id > 4 OR x NOT IN {s}"), move |row| {
                any([Some(row.0 > 4), not(is_in(row.2, set))])
            }),
            case(format!("x IN {s} OR 9 NOT IN {s}"), move |row| {
                any([is_in(row.2, set), not(is_in(Some(9), set))])
            }),
            case(format!("(x IN {s}) IS NULL"), move |row| Some(is_in(row.2, set).is_none())),
            case(format!("(x NOT IN {s}) IS NOT TRUE"), move |row| {
                Some(not(is_in(row.2, set)) != Some(true))
            }),
            case(format!("CASE WHEN x IN {s} THEN id < 4 ELSE id > 4 END"), move |row| {
                Some(if is_in(row.2, set) == Some(true) { row.0 < 4 } else { row.0 > 4 })
            }),
        ]
    }

    /// What the rows around see of [`GROUPED`].
    fn own(row: Row, holds: impl Fn(i64, i64) -> bool) -> Vec<Option<i64>> {
        GROUPED.iter().filter(|(g, _)| holds(*g, row.1)).map(|(_, y)| *y).collect()
    }

    fn correlated_cases() -> Vec<Case> {
        let same = |row| own(row, |g, of| g == of);
        let s = "(SELECT y FROM trusted.grouped AS c WHERE c.g";
        vec![
            case(format!("x NOT IN {s} = t.g)"), move |row| not(is_in(row.2, &same(row)))),
            case(format!("x NOT IN {s} < t.g)"), move |row| not(is_in(row.2, &own(row, |g, of| g < of)))),
            case(format!("9 NOT IN {s} = t.g)"), move |row| not(is_in(Some(9), &same(row)))),
            case(format!("id = 5 OR x NOT IN {s} = t.g)"), move |row| {
                any([Some(row.0 == 5), not(is_in(row.2, &same(row)))])
            }),
            case(format!("(x IN {s} = t.g)) IS NULL"), move |row| Some(is_in(row.2, &same(row)).is_none())),
        ]
    }

    fn add(session: &Session, name: &str, columns: Vec<(&str, bool, Vec<Option<i64>>)>) {
        let (mut fields, mut arrays) = (Vec::new(), Vec::<ArrayRef>::new());
        for (name, nullable, values) in columns {
            fields.push(Field::new(name, DataType::Int64, nullable));
            arrays.push(Arc::new(Int64Array::from(values)));
        }
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(schema.clone(), arrays).unwrap();
        session.add_rows("trusted", name, vec![batch], schema).unwrap();
    }

    fn add_all(session: &Session) {
        let (ids, groups) = (ROWS.map(|row| Some(row.0)), ROWS.map(|row| Some(row.1)));
        let xs = ROWS.map(|row| row.2);
        add(
            session,
            "t",
            vec![("id", false, ids.into()), ("g", true, groups.into()), ("x", true, xs.into())],
        );
        for (name, set) in SETS {
            add(session, name, vec![("y", name != "solid", set.to_vec())]);
        }
        let (groups, ys) = (GROUPED.map(|row| Some(row.0)), GROUPED.map(|row| row.1));
        add(session, "grouped", vec![("g", true, groups.into()), ("y", true, ys.into())]);
    }

    #[tokio::test]
    async fn what_is_not_known_is_no_answer() {
        let place = Place::new().await;
        let session = place.engine.session();
        add_all(&session);
        let mut all = correlated_cases();
        for (name, set) in SETS {
            all.extend(cases(name, set));
        }
        let mut wrong = Vec::new();
        for (condition, answer) in all {
            let sql = format!("SELECT id FROM trusted.t AS t WHERE {condition}");
            let rows = ROWS.iter().filter(|row| answer(**row) == Some(true));
            let expected: Vec<String> = rows.map(|row| row.0.to_string()).collect();
            for strategy in [Strategy::Default, Strategy::LowMemory] {
                let found = match session.query_with(&sql, strategy).await {
                    Ok(query) => query.collect().await,
                    Err(error) => Err(error),
                };
                match found.map(|batches| shown(&batches)) {
                    Ok(mut found) => {
                        found.sort_unstable();
                        if found != expected {
                            wrong.push(format!("{sql} ({strategy:?}): {found:?}, not {expected:?}"));
                        }
                    }
                    Err(error) => wrong.push(format!("{sql} ({strategy:?}): {error}")),
                }
            }
        }
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    }

    /// Where DataFusion has a join for it, it stays: when this fails, see whether it needs us at all.
    #[tokio::test]
    async fn the_rule_is_needed_and_does_no_more_than_that() {
        let place = Place::new().await;
        let ours = place.engine.session();
        let mut plain = place.engine.session();
        plain.without_rule("nulls_of_not_in");
        for session in [&ours, &plain] {
            add_all(session);
        }
        let explained = async |session: &Session, condition: &str| {
            let sql = format!("EXPLAIN SELECT id FROM trusted.t AS t WHERE {condition}");
            let query = session.inspect(&sql, Strategy::Default).await.unwrap();
            shown(&query.collect().await.unwrap()).join("\n")
        };
        for condition in ["x NOT IN (SELECT y FROM trusted.holes)", "id NOT IN (SELECT y FROM trusted.solid)"]
        {
            assert_eq!(explained(&ours, condition).await, explained(&plain, condition).await);
        }
        let found = async |session: &Session| {
            let sql = "SELECT id FROM trusted.t WHERE 9 NOT IN (SELECT y FROM trusted.holes)";
            let rows = session.query(sql).await.unwrap().collect().await.unwrap();
            shown(&rows).len()
        };
        assert_eq!(found(&ours).await, 0, "a null may be 9");
        assert_eq!(found(&plain).await, ROWS.len(), "DataFusion has mended this: is the rule needed still?");
    }
}
