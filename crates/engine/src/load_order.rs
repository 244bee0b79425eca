//! Which load a row of a query came from, as one more column that the query does not name itself.
//!
//! Where two rows of a key are equally new, the one of the later load wins. The SELECT of a model need not
//! hand on `_load` for that: the column is laid through its plan, under a name that SQL does not use.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
};

use datafusion::{
    catalog::default_table_source::source_as_provider,
    common::{Column, tree_node::TreeNode, tree_node::TreeNodeRecursion},
    datasource::provider_as_source,
    error::Result as DfResult,
    functions::core::expr_fn::{coalesce, greatest},
    functions_aggregate::expr_fn::max,
    logical_expr::{
        Aggregate, Distinct, Expr, Filter, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Projection,
        TableScan, Union, lit,
    },
};
use lagar_flow::Name;

use crate::raw_table::{LOAD_ORDER, RawTable};

/// The place of each load, by source and number, among all loads of some sources. Those of one source keep
/// their order whatever the clock said when they came; between sources the time decides, then the name.
type Ranks = BTreeMap<Name, Arc<BTreeMap<u64, i64>>>;

/// A plan with [`LOAD_ORDER`] as its last column: higher is later, 0 for rows that come from no load.
pub(crate) struct InLoadOrder {
    pub plan: LogicalPlan,
    /// Whether some part of the query hides from which load its rows are; they have 0, too.
    pub hidden: bool,
}

/// Lays the column through `plan`, which is not optimized yet.
pub(crate) fn in_load_order(plan: &LogicalPlan) -> DfResult<InLoadOrder> {
    let mut laying = Laying { ranks: ranks_of(plan)?, hidden: false };
    let (laid, has) = laying.through(plan)?;
    let plan = LogicalPlan::Projection(with_order_last(plan, laid, has)?);
    Ok(InLoadOrder { plan, hidden: laying.hidden })
}

struct Laying {
    ranks: Ranks,
    hidden: bool,
}

impl Laying {
    /// `plan` with the column somewhere in it, or as it is when no load is below it.
    fn through(&mut self, plan: &LogicalPlan) -> DfResult<(LogicalPlan, bool)> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Projection(projection) => {
                let (input, has) = self.through(&projection.input)?;
                if !has {
                    return Ok((plan.clone(), false));
                }
                let mut exprs = projection.expr.clone();
                exprs.push(order_of(&input)?);
                Ok((LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?), true))
            }
            LogicalPlan::Filter(filter) => {
                let (input, has) = self.through(&filter.input)?;
                let filter = Filter::new(filter.predicate.clone(), Arc::new(input));
                Ok((LogicalPlan::Filter(filter), has))
            }
            LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Repartition(_) => {
                let (input, has) = self.through(plan.inputs()[0])?;
                match has {
                    true => Ok((plan.with_new_exprs(plan.expressions(), vec![input])?, true)),
                    false => Ok((plan.clone(), false)),
                }
            }
            // The newest of the rows that became one.
            LogicalPlan::Aggregate(aggregate) => {
                let (input, has) = self.through(&aggregate.input)?;
                if !has {
                    return Ok((plan.clone(), false));
                }
                let mut exprs = aggregate.aggr_expr.clone();
                exprs.push(max(order_of(&input)?).alias(LOAD_ORDER));
                let aggregate = Aggregate::try_new(Arc::new(input), aggregate.group_expr.clone(), exprs)?;
                Ok((LogicalPlan::Aggregate(aggregate), true))
            }
            LogicalPlan::Distinct(Distinct::All(inner)) => {
                let (input, has) = self.through(inner)?;
                if !has {
                    return Ok((plan.clone(), false));
                }
                let newest = max(order_of(&input)?).alias(LOAD_ORDER);
                let aggregate = Aggregate::try_new(Arc::new(input), columns_of(inner), vec![newest])?;
                Ok((LogicalPlan::Aggregate(aggregate), true))
            }
            LogicalPlan::Union(union) => self.union(plan, union),
            LogicalPlan::Join(join) => self.join(plan, join),
            _ => {
                self.hidden |= !ranks_of(plan)?.is_empty();
                Ok((plan.clone(), false))
            }
        }
    }

    fn scan(&self, scan: &TableScan) -> DfResult<(LogicalPlan, bool)> {
        let provider = source_as_provider(&scan.source)?;
        let ranks = provider.downcast_ref::<RawTable>().and_then(|table| {
            let ranks = self.ranks.get(table.source())?;
            Some(table.in_order(ranks.clone()))
        });
        let Some(table) = ranks else { return Ok((LogicalPlan::TableScan(scan.clone()), false)) };
        let source = provider_as_source(Arc::new(table));
        Ok((LogicalPlanBuilder::scan(scan.table_name.clone(), source, None)?.build()?, true))
    }

    /// The inputs go together by the places of their columns: the new one is the last of each.
    fn union(&mut self, plan: &LogicalPlan, union: &Union) -> DfResult<(LogicalPlan, bool)> {
        let laid: Vec<(LogicalPlan, bool)> =
            union.inputs.iter().map(|input| self.through(input)).collect::<DfResult<_>>()?;
        if laid.iter().all(|(_, has)| !has) {
            return Ok((plan.clone(), false));
        }
        let inputs = union.inputs.iter().zip(laid).map(|(before, (input, has))| {
            Ok(Arc::new(LogicalPlan::Projection(with_order_last(before, input, has)?)))
        });
        let inputs: Vec<Arc<LogicalPlan>> = inputs.collect::<DfResult<_>>()?;
        Ok((LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?), true))
    }

    /// A row that is joined of two is as new as the newer one.
    fn join(&mut self, plan: &LogicalPlan, join: &Join) -> DfResult<(LogicalPlan, bool)> {
        use JoinType::{LeftAnti, LeftMark, LeftSemi, RightAnti, RightMark, RightSemi};
        let from_left = !matches!(join.join_type, RightAnti | RightMark | RightSemi);
        let from_right = !matches!(join.join_type, LeftAnti | LeftMark | LeftSemi);
        let mut side = |input: &LogicalPlan, is_asked: bool, name: &str| -> DfResult<_> {
            let (laid, has) = if is_asked { self.through(input)? } else { (input.clone(), false) };
            if !has {
                return Ok((laid, None));
            }
            let mut exprs = columns_of(input);
            exprs.push(order_of(&laid)?.alias(name));
            let laid = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(laid))?);
            Ok((laid, Some(Expr::Column(Column::from_name(name)))))
        };
        let (left, left_order) = side(&join.left, from_left, "__lagar_left")?;
        let (right, right_order) = side(&join.right, from_right, "__lagar_right")?;
        let order = match (left_order, right_order) {
            (None, None) => return Ok((plan.clone(), false)),
            (Some(order), None) | (None, Some(order)) => order,
            (Some(left), Some(right)) => greatest(vec![left, right]),
        };
        let joined = Join::try_new(
            Arc::new(left),
            Arc::new(right),
            join.on.clone(),
            join.filter.clone(),
            join.join_type,
            join.join_constraint,
            join.null_equality,
            join.null_aware,
        )?;
        let mut exprs = columns_of(plan);
        exprs.push(order.alias(LOAD_ORDER));
        let projected = Projection::try_new(exprs, Arc::new(LogicalPlan::Join(joined)))?;
        Ok((LogicalPlan::Projection(projected), true))
    }
}

/// The columns of `before`, then the order of `laid`, which is `before` with it.
fn with_order_last(before: &LogicalPlan, laid: LogicalPlan, has: bool) -> DfResult<Projection> {
    let order = match has {
        true => coalesce(vec![order_of(&laid)?, lit(0_i64)]),
        false => lit(0_i64),
    };
    let mut exprs = columns_of(before);
    exprs.push(order.alias(LOAD_ORDER));
    Projection::try_new(exprs, Arc::new(laid))
}

fn columns_of(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema().iter().map(|field| Expr::Column(Column::from(field))).collect()
}

/// The column in a plan that has it.
fn order_of(plan: &LogicalPlan) -> DfResult<Expr> {
    let found = plan.schema().iter().find(|(_, field)| field.name() == LOAD_ORDER);
    match found {
        Some(field) => Ok(Expr::Column(Column::from(field))),
        None => datafusion::common::internal_err!("a plan lost the order of its loads"),
    }
}

/// Of all loads that `plan` reads.
fn ranks_of(plan: &LogicalPlan) -> DfResult<Ranks> {
    let mut loads: BTreeMap<Name, Vec<(u64, i64)>> = BTreeMap::new();
    plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(table) = source_as_provider(&scan.source)?.downcast_ref::<RawTable>()
        {
            loads.insert(table.source().clone(), table.load_times());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(ranks(&loads))
}

/// Numbers and times of loads to their places.
fn ranks(loads: &BTreeMap<Name, Vec<(u64, i64)>>) -> Ranks {
    let mut next: BinaryHeap<Reverse<(i64, &Name, usize)>> =
        loads.iter().filter_map(|(source, loads)| Some(Reverse((loads.first()?.1, source, 0)))).collect();
    let mut ranks: BTreeMap<Name, BTreeMap<u64, i64>> =
        loads.keys().map(|source| (source.clone(), BTreeMap::new())).collect();
    let mut rank = 0;
    while let Some(Reverse((time, source, index))) = next.pop() {
        rank += 1;
        let Some((number, _)) = loads[source].get(index) else { continue };
        if let Some(ranks) = ranks.get_mut(source) {
            ranks.insert(*number, rank);
        }
        if let Some((_, later)) = loads[source].get(index + 1) {
            // A clock that was put back does not make a later load an earlier one.
            next.push(Reverse((time.max(*later), source, index + 1)));
        }
    }
    ranks.into_iter().map(|(source, ranks)| (source, Arc::new(ranks))).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn loads_keep_the_order_of_their_numbers_and_sources_go_by_time() {
        let name = |name: &str| name.parse::<Name>().unwrap();
        let loads = BTreeMap::from([
            (name("created"), vec![(1, 10), (2, 40), (3, 30)]),
            (name("closed"), vec![(7, 20), (8, 35), (9, 40), (10, 41)]),
            (name("empty"), vec![]),
        ]);
        let ranks = ranks(&loads);
        let mut order: Vec<(i64, String)> = ranks
            .iter()
            .flat_map(|(source, ranks)| ranks.iter().map(move |(n, rank)| (*rank, format!("{source} {n}"))))
            .collect();
        order.sort();
        let order: Vec<&str> = order.iter().map(|(_, load)| load.as_str()).collect();
        assert_eq!(
            order,
            ["created 1", "closed 7", "closed 8", "closed 9", "created 2", "created 3", "closed 10"]
        );
        assert!(ranks[&name("empty")].is_empty());
    }
}
