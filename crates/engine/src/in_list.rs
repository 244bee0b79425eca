//! `x IN (a, b)` where what stands in the list is not the same for all rows.
//!
//! DataFusion 55.2 looks at such a list without rows, takes what it finds for constants, and keeps it as a set: of
//! `x IN (CASE WHEN b THEN 5 ELSE y END, 11)` no row is found in which `x` is `y`. So [`ListsOfColumns`] asks for one
//! after the other, `x = a OR x = b`, which is the same by the definition of IN, also for nulls.

use datafusion::{
    common::{
        Result as DfResult,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Expr, LogicalPlan, expr::InList},
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule},
};

use crate::expressions;

/// Takes lists apart in which a column stands.
#[derive(Debug)]
pub(crate) struct ListsOfColumns;

impl OptimizerRule for ListsOfColumns {
    fn name(&self) -> &'static str {
        "lists_of_columns"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> DfResult<Transformed<LogicalPlan>> {
        expressions::changed(plan, |expr| {
            expr.transform_up(|expr| {
                Ok(match expr {
                    Expr::InList(list) if list.list.iter().any(Expr::any_column_refs) => {
                        Transformed::yes(taken_apart(list))
                    }
                    expr => Transformed::no(expr),
                })
            })
        })
    }
}

fn taken_apart(InList { expr, list, negated }: InList) -> Expr {
    let equal = list.into_iter().map(|item| expr.as_ref().clone().eq(item));
    match equal.reduce(Expr::or) {
        Some(any) if negated => Expr::Not(Box::new(any)),
        Some(any) => any,
        // The parser knows no empty list.
        None => Expr::InList(InList { expr, list: Vec::new(), negated }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use crate::testing::{Place, rows};

    const ROWS: &str = "(VALUES (1, 1, true, 'a'), (2, 3, false, 'b'), (3, 3, false, NULL), (4, 9, true, 'd'), \
                        (5, 5, NULL, 'e'), (11, 0, true, 'z'), (NULL, 7, false, 'n')) AS v(x, y, b, s)";

    #[tokio::test]
    async fn what_stands_in_a_list_may_hang_on_the_row() {
        let place = Place::new().await;
        let session = place.engine.session();
        for (condition, expected) in [
            ("x + 0 IN (CASE WHEN b THEN 4 ELSE y END, 11)", &["11", "3", "4", "5"][..]),
            ("x IN (CASE WHEN b THEN 4 ELSE y END, 11)", &["11", "3", "4", "5"]),
            ("x + 0 NOT IN (CASE WHEN b THEN 4 ELSE y END, 11)", &["1", "2"]),
            ("x + 0 IN (y, NULL)", &["1", "3", "5"]),
            ("x + 0 NOT IN (y, NULL)", &[]),
            ("x + 0 IN (y, y + 1, y - 1, 4, 5)", &["1", "2", "3", "4", "5"]),
            ("upper(s) IN (CASE WHEN b THEN 'D' ELSE upper(s) END, 'A')", &["1", "2", "4", "5", "null"]),
            ("(x + 0 IN (CASE WHEN b THEN 4 ELSE y END, 11)) IS NULL", &["null"]),
        ] {
            let sql = format!(
                "SELECT COALESCE(CAST(x AS TEXT), 'null') AS x FROM {ROWS} WHERE {condition} ORDER BY 1"
            );
            assert_eq!(rows(&session, &sql).await, expected, "{condition}");
        }
        // Not in conditions alone.
        let sql = format!(
            "SELECT count(*) FILTER (WHERE x + 0 IN (CASE WHEN b THEN 4 ELSE y END, 11)) FROM {ROWS}"
        );
        assert_eq!(rows(&session, &sql).await, ["4"]);
        let sql =
            format!("SELECT x + 0 IN (CASE WHEN b THEN 4 ELSE y END, 11) AS found FROM {ROWS} WHERE x = 3");
        assert_eq!(rows(&session, &sql).await, ["true"]);
    }
}
