//! Whether a query looks from one part of its input at others, so that it cannot be asked about some of its
//! rows alone.

use datafusion::{
    common::tree_node::TreeNodeRecursion,
    error::Result as DfResult,
    logical_expr::{Expr, LogicalPlan},
};

/// Why what `plan` makes of rows of one partition may hang on those of another; `None` if nothing shows that.
/// `partition_by` are columns of the result; a window function over a column of such a name stays inside.
///
/// Aggregates are not looked at: their groups are as fine as the result, or what they say of all rows is meant.
pub(crate) fn looks_across(plan: &LogicalPlan, partition_by: &[String]) -> DfResult<Option<&'static str>> {
    let mut why = None;
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::Window(window) => {
                let stays = window.window_expr.iter().all(|expr| is_inside(expr, partition_by));
                why = why.or((!stays).then_some("a window function looks at rows of other partitions"));
            }
            LogicalPlan::Limit(_) => why = why.or(Some("LIMIT counts rows of all partitions")),
            LogicalPlan::Sort(sort) if sort.fetch.is_some() => {
                why = why.or(Some("LIMIT counts rows of all partitions"));
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(why)
}

/// Whether a window function has each of the columns in its PARTITION BY.
fn is_inside(expr: &Expr, partition_by: &[String]) -> bool {
    match expr {
        Expr::Alias(alias) => is_inside(&alias.expr, partition_by),
        Expr::WindowFunction(function) => partition_by.iter().all(|wanted| {
            let is_it = |by: &Expr| matches!(by, Expr::Column(column) if column.name == *wanted);
            function.params.partition_by.iter().any(is_it)
        }),
        _ => false,
    }
}
