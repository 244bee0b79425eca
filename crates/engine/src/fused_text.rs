//! `nullif(nullif(lower(trim(x)), ''), 'n/a')`, as people write it, in one pass over the values.
//!
//! DataFusion carries out such a chain function by function, each over a whole array: of a table that is
//! mostly text this is a good part of the time. [`FuseText`] puts [`CleanText`] in the place of a chain; the
//! result is the same to the bit.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BooleanBufferBuilder, StringArray},
    buffer::{Buffer, NullBuffer, OffsetBuffer},
    datatypes::DataType,
};
use datafusion::{
    common::{
        DFSchema, Result as DfResult, ScalarValue,
        cast::as_string_array,
        exec_datafusion_err, internal_err,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        Signature, Volatility, expr::ScalarFunction, expr_rewriter::NamePreserver, utils::merge_schema,
    },
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule},
};

/// Puts one function in the place of each chain of [`CleanText`]'s steps over a text.
#[derive(Debug)]
pub(crate) struct FuseText;

impl OptimizerRule for FuseText {
    fn name(&self) -> &'static str {
        "fuse_text"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> DfResult<Transformed<LogicalPlan>> {
        if !matches!(plan, LogicalPlan::Projection(_) | LogicalPlan::Filter(_)) {
            return Ok(Transformed::no(plan));
        }
        let schema = merge_schema(&plan.inputs());
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let fused = expr.transform_down(|expr| {
                Ok(match fused(&expr, &schema)? {
                    Some(fused) => Transformed::yes(fused),
                    None => Transformed::no(expr),
                })
            })?;
            Ok(fused.update_data(|expr| name.restore(expr)))
        })
    }
}

fn fused(expr: &Expr, schema: &DFSchema) -> DfResult<Option<Expr>> {
    let mut steps = CleanText::default();
    let (mut inside, mut length) = (expr, 0);
    while let Some(next) = steps.take(inside) {
        (inside, length) = (next, length + 1);
    }
    // A literal, a dictionary, a view: DataFusion has better ways for those.
    if length < 2 || matches!(inside, Expr::Literal(..)) || inside.get_type(schema)? != DataType::Utf8 {
        return Ok(None);
    }
    let function = Arc::new(ScalarUDF::new_from_impl(steps));
    Ok(Some(Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![inside.clone()]))))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Case {
    Lower,
    Upper,
}

/// Takes spaces away at both ends, changes the case, and makes some of the results null, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct CleanText {
    trim: bool,
    case: Option<Case>,
    nulls: Vec<String>,
    signature: Signature,
}

impl Default for CleanText {
    fn default() -> Self {
        let signature = Signature::exact(vec![DataType::Utf8], Volatility::Immutable);
        Self { trim: false, case: None, nulls: Vec::new(), signature }
    }
}

impl CleanText {
    /// What is inside of `expr`, if `expr` is a step that comes before those that are known.
    fn take<'e>(&mut self, expr: &'e Expr) -> Option<&'e Expr> {
        let Expr::ScalarFunction(call) = expr else { return None };
        match (call.func.name(), call.args.as_slice()) {
            ("nullif", [inside, Expr::Literal(ScalarValue::Utf8(Some(null)), _)])
                if self.case.is_none() && !self.trim =>
            {
                self.nulls.push(null.clone());
                Some(inside)
            }
            ("lower", [inside]) if self.case.is_none() && !self.trim => {
                self.case = Some(Case::Lower);
                Some(inside)
            }
            ("upper", [inside]) if self.case.is_none() && !self.trim => {
                self.case = Some(Case::Upper);
                Some(inside)
            }
            ("btrim", [inside]) if !self.trim => {
                self.trim = true;
                Some(inside)
            }
            _ => None,
        }
    }

    fn clean(&self, texts: &StringArray) -> DfResult<StringArray> {
        let offsets = texts.value_offsets();
        let bytes = (offsets[texts.len()] - offsets[0]) as usize;
        let mut data: Vec<u8> = Vec::with_capacity(bytes);
        let mut ends: Vec<i32> = Vec::with_capacity(texts.len() + 1);
        let mut valid = BooleanBufferBuilder::new(texts.len());
        ends.push(0);
        for row in 0..texts.len() {
            let is_there = texts.is_valid(row) && {
                let start = data.len();
                self.push(texts.value(row), &mut data);
                let is_null = self.nulls.iter().any(|null| data[start..] == *null.as_bytes());
                if is_null {
                    data.truncate(start);
                }
                !is_null
            };
            valid.append(is_there);
            let end = i32::try_from(data.len());
            ends.push(end.map_err(|_| exec_datafusion_err!("the texts of one batch are more than 2 GiB"))?);
        }
        let nulls = Some(NullBuffer::new(valid.finish())).filter(|nulls| nulls.null_count() > 0);
        Ok(StringArray::try_new(OffsetBuffer::new(ends.into()), Buffer::from_vec(data), nulls)?)
    }

    fn push(&self, text: &str, data: &mut Vec<u8>) {
        let text = if self.trim { text.trim_matches(' ') } else { text };
        let start = data.len();
        match self.case {
            Some(case) if !text.is_ascii() => {
                let changed = match case {
                    Case::Lower => text.to_lowercase(),
                    Case::Upper => text.to_uppercase(),
                };
                data.extend_from_slice(changed.as_bytes());
            }
            case => {
                data.extend_from_slice(text.as_bytes());
                match case {
                    Some(Case::Lower) => data[start..].make_ascii_lowercase(),
                    Some(Case::Upper) => data[start..].make_ascii_uppercase(),
                    None => {}
                }
            }
        }
    }
}

impl ScalarUDFImpl for CleanText {
    fn name(&self) -> &'static str {
        "clean_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let [text] = args.args.as_slice() else { return internal_err!("clean_text takes one text") };
        match text {
            ColumnarValue::Array(array) => {
                Ok(ColumnarValue::Array(Arc::new(self.clean(as_string_array(array)?)?) as ArrayRef))
            }
            ColumnarValue::Scalar(scalar) => {
                let cleaned = self.clean(as_string_array(&scalar.to_array()?)?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&cleaned, 0)?))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Place, shown};

    fn texts() -> impl Strategy<Value = Vec<Option<String>>> {
        let text =
            prop_oneof!["[ aBzN/]{0,6}", " {0,2}(n/a|N/A|nan|)( |\u{a0}|\t)?", "[ İßΣςÀéǅ一A-Z]{0,5}",];
        prop::collection::vec(prop::option::weighted(0.9, text), 0..40)
    }

    #[test]
    fn a_chain_is_what_its_functions_are() {
        let chains = [
            "nullif(nullif(lower(trim(x)), ''), 'n/a')",
            "nullif(upper(trim(x)), 'N/A')",
            "upper(trim(x))",
            "lower(btrim(x))",
            "nullif(nullif(x, 'a'), '')",
            "nullif(trim(x), '')",
            "trim(nullif(lower(x), 'a '))",
            "lower(trim(lower(x)))",
            "nullif(trim(x, 'a'), '')",
            "coalesce(nullif(trim(x), ''), 'none')",
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let place = runtime.block_on(Place::new());
        let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
        proptest!(config, |(texts in texts())| {
            let rows = |fused: bool| runtime.block_on(async {
                let mut session = place.engine.session();
                if !fused {
                    session.without_rule("fuse_text");
                }
                let array: ArrayRef = Arc::new(StringArray::from(texts.clone()));
                let batch = arrow::array::RecordBatch::try_from_iter([("x", array)]).unwrap();
                session.add_rows("trusted", "t", vec![batch.clone()], batch.schema()).unwrap();
                let sql = format!("SELECT {} FROM trusted.t", chains.join(", "));
                session.query(&sql).await.unwrap().collect().await.unwrap()
            });
            prop_assert_eq!(rows(true), rows(false));
        });
    }

    #[tokio::test]
    async fn a_chain_is_one_function_and_keeps_its_name() {
        let session = Place::new().await.engine.session();
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some(" A"), Some("N/a "), None]));
        let batch = arrow::array::RecordBatch::try_from_iter([("x", texts)]).unwrap();
        session.add_rows("trusted", "t", vec![batch.clone()], batch.schema()).unwrap();
        let sql = "SELECT nullif(lower(trim(x)), 'n/a') FROM trusted.t WHERE nullif(trim(x), '') IS NOT NULL";
        let plan = session.inspect(&format!("EXPLAIN {sql}"), Default::default()).await.unwrap();
        let plan = shown(&plan.collect().await.unwrap()).join("\n");
        assert!(plan.matches("clean_text(").count() >= 2 && !plan.contains("expr=[nullif"), "{plan}");
        let rows = session.query(sql).await.unwrap().collect().await.unwrap();
        assert_eq!(rows[0].schema().field(0).name(), "nullif(lower(btrim(trusted.t.x)),Utf8(\"n/a\"))");
        assert_eq!(shown(&rows), ["a", "NULL"]);
    }
}
