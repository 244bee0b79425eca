//! Predictors are asked for the rows that the other conditions leave.
//!
//! A feature that is null is an error. `WHERE tenure IS NOT NULL AND predict_proba('churn') > 0.7`, also with the first
//! condition in a query below, must not ask for rows that it leaves out. But DataFusion 55.2 puts the conditions of
//! queries above and below into one, and of `a AND b` it asks `b` for all rows unless `a` leaves few of them.

use std::{any::Any, sync::Arc};

use datafusion::{
    common::{
        Result as DfResult,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        Expr, Filter, LogicalPlan, ScalarUDF,
        utils::{conjunction, split_conjunction_owned},
    },
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule},
    physical_expr::{self, PhysicalExpr, ScalarFunctionExpr},
    physical_plan::{
        ExecutionPlan,
        filter::{FilterExec, FilterExecBuilder},
    },
};

use crate::predict::Predict;

/// Puts conditions on answers behind the others: what stands twice is then not found for all rows beforehand.
#[derive(Debug)]
pub(crate) struct AnswersLast;

impl OptimizerRule for AnswersLast {
    fn name(&self) -> &'static str {
        "answers_last"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> DfResult<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(filter) = plan else { return Ok(Transformed::no(plan)) };
        let conditions = split_conjunction_owned(filter.predicate.clone());
        let is_sorted = conditions.is_sorted_by_key(asks);
        let (last, first): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(asks);
        Ok(match conjunction(first.into_iter().chain(last)) {
            Some(predicate) if !is_sorted => {
                Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?))
            }
            _ => Transformed::no(LogicalPlan::Filter(filter)),
        })
    }
}

/// Whether `condition` asks a predictor.
fn asks(condition: &Expr) -> bool {
    let is_call = |expr: &Expr| Ok(matches!(expr, Expr::ScalarFunction(call) if is_predictor(&call.func)));
    condition.exists(is_call).unwrap_or(false)
}

fn is_predictor(function: &ScalarUDF) -> bool {
    let function: &dyn Any = function.inner().as_ref();
    function.is::<Predict>()
}

/// Of a condition on answers and others makes two: answers are asked for what the others leave.
pub(crate) fn answers_above(plan: Arc<dyn ExecutionPlan>) -> DfResult<Transformed<Arc<dyn ExecutionPlan>>> {
    let Some(filter) = plan.downcast_ref::<FilterExec>() else { return Ok(Transformed::no(plan)) };
    let conditions = physical_expr::split_conjunction(filter.predicate()).into_iter().cloned();
    let (above, below): (Vec<_>, Vec<_>) = conditions.partition(asks_physically);
    if above.is_empty() || below.is_empty() {
        return Ok(Transformed::no(plan));
    }
    let input = FilterExecBuilder::new(physical_expr::conjunction(below), filter.input().clone())
        .with_batch_size(filter.batch_size())
        .build()?;
    let filter = FilterExecBuilder::from(filter)
        .with_predicate(physical_expr::conjunction(above))
        .with_input(Arc::new(input));
    Ok(Transformed::yes(Arc::new(filter.build()?) as Arc<dyn ExecutionPlan>))
}

fn asks_physically(condition: &Arc<dyn PhysicalExpr>) -> bool {
    let is_call = |expr: &Arc<dyn PhysicalExpr>| {
        let call = expr.downcast_ref::<ScalarFunctionExpr>();
        Ok(call.is_some_and(|call| is_predictor(call.fun())))
    };
    condition.exists(is_call).unwrap_or(false)
}
