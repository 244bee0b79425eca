//! Expressions of a plan's node, changed by an optimizer rule.

use datafusion::{
    common::{Result as DfResult, tree_node::Transformed},
    logical_expr::{Expr, LogicalPlan, expr_rewriter::NamePreserver},
};

/// `plan` with its own expressions changed, each under the name that it had: nodes above go by names.
pub(crate) fn changed(
    plan: LogicalPlan,
    mut change: impl FnMut(Expr) -> DfResult<Transformed<Expr>>,
) -> DfResult<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        Ok(change(expr)?.update_data(|expr| name.restore(expr)))
    })
}
