//! Where `row_number() … = 1` is the same as keeping one row of each key.

use datafusion::{
    common::{DFSchema, ScalarValue, tree_node::Transformed},
    error::Result as DfResult,
    functions_window::row_number::row_number_udwf,
    logical_expr::{
        BinaryExpr, Expr, Extension, Filter, LogicalPlan, Operator, Projection, Window, WindowFrame,
        WindowFrameBound, WindowFunctionDefinition,
        expr::{WindowFunction, WindowFunctionParams},
        utils::{conjunction, split_conjunction_owned},
    },
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule},
};

use super::node::KeepLatestNode;

/// Puts [`KeepLatestNode`] in the place of a window that only counts the rows of each key, and of which a
/// filter right behind it takes the first. Whatever else uses the number behind that filter gets the 1
/// that it is; other conditions stay, since they are asked of the row that is kept.
///
/// Left alone is everything else: other functions and more than one in the window, no PARTITION BY, a frame
/// that is not the usual one, keys or orders that are volatile or of types without an order.
#[derive(Debug)]
pub(crate) struct KeepLatest;

impl OptimizerRule for KeepLatest {
    fn name(&self) -> &'static str {
        "keep_latest"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> DfResult<Transformed<LogicalPlan>> {
        Ok(match rewritten(&plan)? {
            Some(plan) => Transformed::yes(plan),
            None => Transformed::no(plan),
        })
    }
}

fn rewritten(plan: &LogicalPlan) -> DfResult<Option<LogicalPlan>> {
    let LogicalPlan::Filter(filter) = plan else { return Ok(None) };
    let LogicalPlan::Window(window) = filter.input.as_ref() else { return Ok(None) };
    let Some(function) = only_row_number(window) else { return Ok(None) };
    let number = window.schema.fields().len() - 1;
    let (firsts, others): (Vec<Expr>, Vec<Expr>) = split_conjunction_owned(filter.predicate.clone())
        .into_iter()
        .partition(|condition| is_first(condition, &window.schema, number));
    if firsts.is_empty() {
        return Ok(None);
    }
    let params = &function.params;
    let input = window.input.as_ref().clone();
    let node = KeepLatestNode::new(input, params.partition_by.clone(), params.order_by.clone());
    let Some(node) = node else { return Ok(None) };
    let kept = LogicalPlan::Extension(Extension { node: std::sync::Arc::new(node) });
    // The columns of the window, the last of which is the number.
    let one = Expr::Literal(ScalarValue::UInt64(Some(1)), None);
    let columns = window.schema.iter().enumerate().map(|(index, (qualifier, field))| match index == number {
        true => one.clone().alias_qualified(qualifier.cloned(), field.name()),
        false => Expr::from((qualifier, field)),
    });
    let projection = Projection::try_new_with_schema(columns.collect(), kept.into(), window.schema.clone())?;
    let projected = LogicalPlan::Projection(projection);
    Ok(Some(match conjunction(others) {
        Some(others) => LogicalPlan::Filter(Filter::try_new(others, projected.into())?),
        None => projected,
    }))
}

/// The function of a window that numbers the rows of each key and does nothing else.
fn only_row_number(window: &Window) -> Option<&WindowFunction> {
    let [expr] = window.window_expr.as_slice() else { return None };
    let function = match expr {
        Expr::WindowFunction(function) => function,
        Expr::Alias(alias) => match alias.expr.as_ref() {
            Expr::WindowFunction(function) => function,
            _ => return None,
        },
        _ => return None,
    };
    let WindowFunctionDefinition::WindowUDF(udf) = &function.fun else { return None };
    // Not by name: somebody may have registered another function under it.
    if **udf != *row_number_udwf() {
        return None;
    }
    let WindowFunctionParams { args, partition_by, order_by, window_frame, filter, null_treatment, distinct } =
        &function.params;
    let plain = args.is_empty() && filter.is_none() && null_treatment.is_none() && !distinct;
    let usual = is_usual(window_frame, !order_by.is_empty());
    let asked = |expr: &Expr| expr.is_volatile() || expr.contains_scalar_subquery() || expr.contains_outer();
    let settled = !partition_by.iter().chain(order_by.iter().map(|sort| &sort.expr)).any(asked);
    (plain && usual && settled && !partition_by.is_empty()).then_some(function)
}

/// Whether the frame is the one that a window has that names none. The bounds of a coerced frame have the type
/// of its order.
fn is_usual(frame: &WindowFrame, ordered: bool) -> bool {
    let usual = WindowFrame::new(ordered.then_some(false));
    let same = |one: &WindowFrameBound, other: &WindowFrameBound| match (one, other) {
        (WindowFrameBound::Preceding(one), WindowFrameBound::Preceding(other))
        | (WindowFrameBound::Following(one), WindowFrameBound::Following(other)) => {
            one.is_null() && other.is_null()
        }
        (WindowFrameBound::CurrentRow, WindowFrameBound::CurrentRow) => true,
        _ => false,
    };
    frame.units == usual.units
        && same(&frame.start_bound, &usual.start_bound)
        && same(&frame.end_bound, &usual.end_bound)
}

/// Whether `condition` holds for number 1 and for no other: `rn = 1`, `rn <= 1`, `rn < 2`, and from the
/// other side.
fn is_first(condition: &Expr, schema: &DFSchema, number: usize) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return false };
    let is_number = |expr: &Expr| match expr {
        Expr::Column(column) => schema.index_of_column(column).is_ok_and(|index| index == number),
        _ => false,
    };
    let (op, bound) = if is_number(left) {
        (Some(*op), integer(right))
    } else if is_number(right) {
        (op.swap(), integer(left))
    } else {
        return false;
    };
    matches!((op, bound), (Some(Operator::Eq | Operator::LtEq), Some(1)) | (Some(Operator::Lt), Some(2)))
}

fn integer(expr: &Expr) -> Option<i128> {
    let Expr::Literal(value, _) = expr else { return None };
    match value {
        ScalarValue::Int8(Some(value)) => Some((*value).into()),
        ScalarValue::Int16(Some(value)) => Some((*value).into()),
        ScalarValue::Int32(Some(value)) => Some((*value).into()),
        ScalarValue::Int64(Some(value)) => Some((*value).into()),
        ScalarValue::UInt8(Some(value)) => Some((*value).into()),
        ScalarValue::UInt16(Some(value)) => Some((*value).into()),
        ScalarValue::UInt32(Some(value)) => Some((*value).into()),
        ScalarValue::UInt64(Some(value)) => Some((*value).into()),
        _ => None,
    }
}
