//! Where `row_number() … = 1` is the same as keeping one row of each key.

use datafusion::{
    common::{DFSchema, ScalarValue, tree_node::Transformed},
    error::Result as DfResult,
    functions_window::row_number::row_number_udwf,
    logical_expr::{
        BinaryExpr, Expr, Extension, Filter, LogicalPlan, Operator, Projection, Window, WindowFrame,
        WindowFrameBound, WindowFunctionDefinition,
        expr::{WindowFunction, WindowFunctionParams},
        utils::{conjunction, disjunction, split_binary_owned, split_conjunction_owned},
    },
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule},
};

use super::node::KeepLatestNode;

/// Puts [`KeepLatestNode`] in the place of a window that only counts the rows of each key, and of which a
/// filter right behind it takes the first. Whatever else uses the number behind that filter gets the 1
/// that it is; other conditions stay, since they are asked of the row that is kept.
///
/// So is `number = 1 OR condition`, where the condition is about the key alone and nobody reads the number behind
/// the filter: all rows of the keys for which it holds are kept.
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
        let rewritten = match &plan {
            LogicalPlan::Filter(filter) => first_of_each_key(filter)?,
            LogicalPlan::Projection(projection) => first_or_all_of_a_key(projection)?,
            _ => None,
        };
        Ok(match rewritten {
            Some(plan) => Transformed::yes(plan),
            None => Transformed::no(plan),
        })
    }
}

fn first_of_each_key(filter: &Filter) -> DfResult<Option<LogicalPlan>> {
    let LogicalPlan::Window(window) = filter.input.as_ref() else { return Ok(None) };
    let Some(function) = only_row_number(window) else { return Ok(None) };
    let number = window.schema.fields().len() - 1;
    let (firsts, others): (Vec<Expr>, Vec<Expr>) = split_conjunction_owned(filter.predicate.clone())
        .into_iter()
        .partition(|condition| is_first(condition, &window.schema, number));
    if firsts.is_empty() {
        return Ok(None);
    }
    let Some(kept) = kept(window, function, None)? else { return Ok(None) };
    Ok(Some(match conjunction(others) {
        Some(others) => LogicalPlan::Filter(Filter::try_new(others, kept.into())?),
        None => kept,
    }))
}

/// The filter lies below the projection that names the number; that nobody reads it is seen above that one.
fn first_or_all_of_a_key(above: &Projection) -> DfResult<Option<LogicalPlan>> {
    let LogicalPlan::Projection(naming) = above.input.as_ref() else { return Ok(None) };
    let LogicalPlan::Filter(filter) = naming.input.as_ref() else { return Ok(None) };
    let LogicalPlan::Window(window) = filter.input.as_ref() else { return Ok(None) };
    let Some(function) = only_row_number(window) else { return Ok(None) };
    let number = window.schema.fields().len() - 1;
    let (firsts, others): (Vec<Expr>, Vec<Expr>) = split_binary_owned(filter.predicate.clone(), Operator::Or)
        .into_iter()
        .partition(|condition| is_first(condition, &window.schema, number));
    let Some(spared) = disjunction(others) else { return Ok(None) };
    let about_the_key = is_settled(&spared) && {
        let keys = &function.params.partition_by;
        spared.column_refs().into_iter().all(|column| keys.contains(&Expr::Column(column.clone())))
    };
    if firsts.is_empty() || !about_the_key || !hides(above, naming, &window.schema, number) {
        return Ok(None);
    }
    let Some(kept) = kept(window, function, Some(spared))? else { return Ok(None) };
    let on_top_of = |projection: &Projection, input: LogicalPlan| {
        let (exprs, schema) = (projection.expr.clone(), projection.schema.clone());
        Projection::try_new_with_schema(exprs, input.into(), schema).map(LogicalPlan::Projection)
    };
    Ok(Some(on_top_of(above, on_top_of(naming, kept)?)?))
}

/// Whether `above` reads nothing of `naming` that is made from column `number` of `schema`. Only where both do
/// nothing but choose columns: what is inside of other expressions may refer to more than they show.
fn hides(above: &Projection, naming: &Projection, schema: &DFSchema, number: usize) -> bool {
    let column_of = |expr: &Expr| match expr {
        Expr::Column(column) => Some(column.clone()),
        Expr::Alias(alias) => match alias.expr.as_ref() {
            Expr::Column(column) => Some(column.clone()),
            _ => None,
        },
        _ => None,
    };
    above.expr.iter().all(|expr| {
        let named = column_of(expr).and_then(|column| naming.schema.index_of_column(&column).ok());
        let read = named.and_then(|index| column_of(naming.expr.get(index)?));
        read.is_some_and(|column| schema.index_of_column(&column).is_ok_and(|index| index != number))
    })
}

/// What is left of the rows below `window`, with its columns. The last of them is the number; of rows that are
/// `spared` it is not known, and 1 too.
fn kept(window: &Window, function: &WindowFunction, spared: Option<Expr>) -> DfResult<Option<LogicalPlan>> {
    let params = &function.params;
    let input = window.input.as_ref().clone();
    let node = KeepLatestNode::new(input, params.partition_by.clone(), params.order_by.clone(), spared);
    let Some(node) = node else { return Ok(None) };
    let kept = LogicalPlan::Extension(Extension { node: std::sync::Arc::new(node) });
    let number = window.schema.fields().len() - 1;
    let one = Expr::Literal(ScalarValue::UInt64(Some(1)), None);
    let columns = window.schema.iter().enumerate().map(|(index, (qualifier, field))| match index == number {
        true => one.clone().alias_qualified(qualifier.cloned(), field.name()),
        false => Expr::from((qualifier, field)),
    });
    let projection = Projection::try_new_with_schema(columns.collect(), kept.into(), window.schema.clone())?;
    Ok(Some(LogicalPlan::Projection(projection)))
}

/// Whether it depends on nothing but the row.
fn is_settled(expr: &Expr) -> bool {
    !(expr.is_volatile() || expr.contains_scalar_subquery() || expr.contains_outer())
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
    let settled = partition_by.iter().chain(order_by.iter().map(|sort| &sort.expr)).all(is_settled);
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
