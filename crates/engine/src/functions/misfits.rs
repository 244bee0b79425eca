//! How many values of a query did not fit, for each call of a function that counts them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::datatypes::FieldRef;
use datafusion::{
    common::{
        Column, Result as DfResult,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Expr, LogicalPlan, ScalarUDF, expr::ScalarFunction},
};

use super::Ours;
use crate::query::Misfits;

/// The counts of one call, as `try_int(bbl)`.
///
/// The optimizer copies calls: into a filter below, for example, which then looks at all rows, while
/// the call in the SELECT list sees what is left. Each copy is counted by itself, and the one that
/// looked at most values tells.
#[derive(Debug)]
pub(super) struct Tally {
    label: String,
    /// By the field that a copy returns: it is made with the copy, and shared by its partitions.
    copies: Mutex<Vec<(FieldRef, Misfits)>>,
}

impl Tally {
    pub fn label(&self) -> &str {
        &self.label
    }

    pub fn add(&self, copy: &FieldRef, values: u64, misfits: u64) {
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        match copies.iter_mut().find(|(known, _)| Arc::ptr_eq(known, copy)) {
            Some((_, counts)) => {
                counts.values += values;
                counts.misfits += misfits;
            }
            None => copies.push((copy.clone(), Misfits { call: self.label.clone(), values, misfits })),
        }
    }
}

/// The counts of all calls of one query.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tallies(BTreeMap<String, Arc<Tally>>);

impl Tallies {
    /// The calls for which some values did not fit, by their text.
    pub fn misfits(&self) -> Vec<Misfits> {
        let most = |tally: &Arc<Tally>| {
            let copies = tally.copies.lock().unwrap_or_else(PoisonError::into_inner);
            copies.iter().map(|(_, counts)| counts).max_by_key(|counts| counts.values).cloned()
        };
        self.0.values().filter_map(most).filter(|counts| counts.misfits > 0).collect()
    }

    fn of(&mut self, call: &Expr) -> DfResult<Arc<Tally>> {
        let label = label(call)?;
        let tally = self.0.entry(label.clone());
        Ok(tally.or_insert_with(|| Arc::new(Tally { label, copies: Mutex::default() })).clone())
    }
}

/// The call as one would write it in a query with a single table.
fn label(call: &Expr) -> DfResult<String> {
    let bare = call.clone().transform(|expr| {
        Ok(match expr {
            Expr::Column(column) => Transformed::yes(Expr::Column(Column::from_name(column.name))),
            other => Transformed::no(other),
        })
    })?;
    Ok(bare.data.human_display().to_string())
}

/// `plan` with calls that count for this query alone.
pub(crate) fn counted(plan: LogicalPlan) -> DfResult<(LogicalPlan, Tallies)> {
    let mut tallies = Tallies::default();
    let plan = plan.transform_down_with_subqueries(|node| {
        node.map_expressions(|expr| {
            expr.transform_up(|expr| {
                let Expr::ScalarFunction(call) = &expr else { return Ok(Transformed::no(expr)) };
                let Some(ours) = (call.func.inner().as_ref() as &dyn std::any::Any).downcast_ref::<Ours>()
                else {
                    return Ok(Transformed::no(expr));
                };
                if !ours.function.counts || ours.tally.is_some() {
                    return Ok(Transformed::no(expr));
                }
                let counting = Ours::new(ours.function, ours.tokens.clone(), Some(tallies.of(&expr)?));
                let func = Arc::new(ScalarUDF::from(counting));
                Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args: call.args.clone() })))
            })
        })
    })?;
    Ok((plan.data, tallies))
}
