//! "The first row of each key" in a logical plan, and how it is planned.

use std::{fmt, sync::Arc};

use arrow::row::{RowConverter, SortField};
use async_trait::async_trait;
use datafusion::{
    catalog::Session,
    common::{DFSchemaRef, internal_err},
    error::Result as DfResult,
    logical_expr::{
        Expr, ExprSchemable, LogicalPlan, SortExpr, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
        physical_planning_context::PhysicalPlanningContext,
    },
    physical_expr::PhysicalSortExpr,
    physical_plan::ExecutionPlan,
    physical_planner::{ExtensionPlanner, PhysicalPlanner},
};

use super::exec::KeepLatestExec;

/// Of the rows of `input` with equal `keys`, the one that is first in `order`; and all rows for which `spared`
/// holds, a condition on the keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub(super) struct KeepLatestNode {
    input: LogicalPlan,
    keys: Vec<Expr>,
    order: Vec<SortExpr>,
    spared: Option<Expr>,
}

impl KeepLatestNode {
    /// `None` if a key or an order is of a type that cannot be compared byte by byte.
    pub fn new(
        input: LogicalPlan,
        keys: Vec<Expr>,
        order: Vec<SortExpr>,
        spared: Option<Expr>,
    ) -> Option<Self> {
        let schema = input.schema();
        let fields = keys.iter().chain(order.iter().map(|sort| &sort.expr)).map(|expr| expr.get_type(schema));
        let fields: Vec<SortField> =
            fields.map(|data_type| data_type.map(SortField::new).ok()).collect::<Option<_>>()?;
        RowConverter::supports_fields(&fields).then_some(Self { input, keys, order, spared })
    }
}

impl UserDefinedLogicalNodeCore for KeepLatestNode {
    fn name(&self) -> &'static str {
        "KeepLatest"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        let order = self.order.iter().map(|sort| &sort.expr);
        self.keys.iter().chain(order).chain(&self.spared).cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let keys: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        let order: Vec<String> = self.order.iter().map(ToString::to_string).collect();
        write!(f, "KeepLatest: key=[{}], order=[{}]", keys.join(", "), order.join(", "))?;
        match &self.spared {
            Some(spared) => write!(f, ", all where {spared}"),
            None => Ok(()),
        }
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        let [input] = <[LogicalPlan; 1]>::try_from(inputs).map_err(|inputs| {
            datafusion::common::internal_datafusion_err!("KeepLatest of {} inputs", inputs.len())
        })?;
        if exprs.len() != self.keys.len() + self.order.len() + usize::from(self.spared.is_some()) {
            return internal_err!("KeepLatest with {} expressions", exprs.len());
        }
        let spared = if self.spared.is_some() { exprs.pop() } else { None };
        let order = exprs.split_off(self.keys.len());
        let order =
            self.order.iter().zip(order).map(|(sort, expr)| SortExpr { expr, ..sort.clone() }).collect();
        Ok(Self { input, keys: exprs, order, spared })
    }

    /// Columns that nobody reads behind us need not be kept.
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }
}

/// Plans [`KeepLatestNode`].
pub(super) struct NodePlanner;

#[async_trait]
impl ExtensionPlanner for NodePlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
        let (Some(node), [logical], [physical]) =
            (node.as_any().downcast_ref::<KeepLatestNode>(), logical_inputs, physical_inputs)
        else {
            return Ok(None);
        };
        let planned = |expr: &Expr| planner.create_physical_expr(expr, logical.schema(), session, context);
        let keys = node.keys.iter().map(planned).collect::<DfResult<Vec<_>>>()?;
        let order = node.order.iter().map(|sort| {
            let options = arrow::compute::SortOptions::new(!sort.asc, sort.nulls_first);
            Ok(PhysicalSortExpr::new(planned(&sort.expr)?, options))
        });
        let order = order.collect::<DfResult<Vec<_>>>()?;
        let spared = node.spared.as_ref().map(planned).transpose()?;
        Ok(Some(Arc::new(KeepLatestExec::new(physical.clone(), keys, order, spared))))
    }
}
