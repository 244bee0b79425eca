//! `nullif(nullif(lower(trim(x)), ''), 'n/a')`, as people write it, in one pass over the values.
//!
//! DataFusion carries out such a chain function by function, each over a whole array: of a table that is
//! mostly text this is a good part of the time. [`FuseText`] puts [`CleanText`] in the place of a chain; the
//! result is the same to the bit.

use std::{borrow::Cow, ops::Range, sync::Arc};

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
        Signature, Volatility, expr::ScalarFunction, utils::merge_schema,
    },
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule},
};

use crate::expressions;

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
        expressions::changed(plan, |expr| {
            expr.transform_down(|expr| {
                Ok(match fused(&expr, &schema)? {
                    Some(fused) => Transformed::yes(fused),
                    None => Transformed::no(expr),
                })
            })
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

    /// Most texts stay where they are in the values, apart from the case of their letters. So the case of all is
    /// changed at once, as far as it is that of ASCII, and what stays together is copied together.
    fn clean(&self, texts: &StringArray) -> DfResult<StringArray> {
        let offsets = texts.value_offsets();
        let (first, last) = (offsets[0] as usize, offsets[texts.len()] as usize);
        let original = &texts.value_data()[first..last];
        let cased = self.in_ascii_case(original);
        let has_other_letters = self.case.is_some() && !original.is_ascii();
        let longest_null = self.nulls.iter().map(String::len).max();
        let mut cleaned = Cleaned::with_capacity(&cased, texts.len());
        let mut valid = BooleanBufferBuilder::new(texts.len());
        for (row, ends) in offsets.windows(2).enumerate() {
            let place = ends[0] as usize - first..ends[1] as usize - first;
            let mut is_there = texts.is_valid(row);
            if is_there && has_other_letters && !original[place.clone()].is_ascii() {
                let text = self.in_case(self.trimmed(texts.value(row)));
                is_there = !self.is_null(text.as_bytes());
                cleaned.put(place, if is_there { text.as_bytes() } else { b"" })?;
            } else {
                let text = self.trimmed_bytes(&cased, place.clone());
                is_there =
                    is_there && !(longest_null >= Some(text.len()) && self.is_null(&cased[text.clone()]));
                cleaned.keep(place, if is_there { text } else { 0..0 })?;
            }
            valid.append(is_there);
        }
        let nulls = Some(NullBuffer::new(valid.finish())).filter(|nulls| nulls.null_count() > 0);
        let (ends, data) = cleaned.finish();
        Ok(StringArray::try_new(OffsetBuffer::new(ends.into()), Buffer::from_vec(data), nulls)?)
    }

    fn in_ascii_case<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        match self.case {
            Some(Case::Lower) => Cow::Owned(text.to_ascii_lowercase()),
            Some(Case::Upper) => Cow::Owned(text.to_ascii_uppercase()),
            None => Cow::Borrowed(text),
        }
    }

    fn in_case(&self, text: &str) -> String {
        match self.case {
            Some(Case::Lower) => text.to_lowercase(),
            Some(Case::Upper) => text.to_uppercase(),
            None => text.to_owned(),
        }
    }

    fn trimmed<'t>(&self, text: &'t str) -> &'t str {
        if self.trim { text.trim_matches(' ') } else { text }
    }

    /// What of `place` is left without the spaces at both ends.
    fn trimmed_bytes(&self, data: &[u8], mut place: Range<usize>) -> Range<usize> {
        if self.trim {
            while !place.is_empty() && data[place.start] == b' ' {
                place.start += 1;
            }
            while !place.is_empty() && data[place.end - 1] == b' ' {
                place.end -= 1;
            }
        }
        place
    }

    fn is_null(&self, text: &[u8]) -> bool {
        self.nulls.iter().any(|null| text == null.as_bytes())
    }
}

/// Texts that are put one behind the other. Those that stand so already are copied together.
struct Cleaned<'a> {
    from: &'a [u8],
    data: Vec<u8>,
    ends: Vec<i32>,
    /// The part of `from` that comes next.
    waiting: Range<usize>,
}

impl<'a> Cleaned<'a> {
    fn with_capacity(from: &'a [u8], texts: usize) -> Self {
        let mut ends = Vec::with_capacity(texts + 1);
        ends.push(0);
        Self { from, data: Vec::with_capacity(from.len()), ends, waiting: 0..0 }
    }

    /// The next text is at `place`, of which `part` is taken.
    fn keep(&mut self, place: Range<usize>, part: Range<usize>) -> DfResult<()> {
        if part == place || place.is_empty() {
            self.waiting.end = place.end;
        } else {
            self.flush(place.end);
            self.data.extend_from_slice(&self.from[part]);
        }
        self.end()
    }

    /// The next text is `text`, in place of what is at `place`.
    fn put(&mut self, place: Range<usize>, text: &[u8]) -> DfResult<()> {
        self.flush(place.end);
        self.data.extend_from_slice(text);
        self.end()
    }

    /// Copies what waits; what comes next begins at `next`.
    fn flush(&mut self, next: usize) {
        self.data.extend_from_slice(&self.from[self.waiting.clone()]);
        self.waiting = next..next;
    }

    fn end(&mut self) -> DfResult<()> {
        let end = i32::try_from(self.data.len() + self.waiting.len());
        self.ends.push(end.map_err(|_| exec_datafusion_err!("the texts of one batch are more than 2 GiB"))?);
        Ok(())
    }

    /// Where the texts end, from 0, and their bytes.
    fn finish(mut self) -> (Vec<i32>, Vec<u8>) {
        self.flush(self.from.len());
        (self.ends, self.data)
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
