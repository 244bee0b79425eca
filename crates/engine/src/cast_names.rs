//! Expressions that differ in a CAST only.
//!
//! DataFusion 55.2 leaves casts out of the names of expressions: `sum(CAST(x AS BIGINT))` and `sum(x)` are both called
//! `sum(x)`, whatever name they get in SELECT, and a query that computes both is refused; of `GROUP BY x, CAST(x AS
//! DATE)` only when it is optimized. A query in which [such names meet](meet) is planned again [with its casts
//! named](name) in a [session that knows how](state). Not every query, because the columns that have no name of their
//! own would be called otherwise than before.

use std::{collections::HashSet, ops::ControlFlow, sync::Arc};

use arrow::datatypes::{DataType, FieldRef};
use datafusion::{
    common::{Result as DfResult, internal_err, tree_node::TreeNode},
    execution::{FunctionRegistry, SessionState},
    logical_expr::{
        ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature,
        Volatility,
        simplify::{ExprSimplifyResult, SimplifyContext},
    },
    sql::{
        parser::Statement,
        sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments, VisitMut, VisitorMut},
    },
};

/// The name of [`Named`].
const NAMED: &str = "__lagar_cast";

/// Whether two expressions of an aggregate in `plan` have one name.
pub(crate) fn meet(plan: &LogicalPlan) -> bool {
    let in_aggregate = |node: &LogicalPlan| {
        let LogicalPlan::Aggregate(aggregate) = node else { return Ok(false) };
        let mut names = HashSet::new();
        let mut exprs = aggregate.group_expr.iter().chain(&aggregate.aggr_expr);
        Ok(!exprs.all(|expr| names.insert(expr.schema_name().to_string())))
    };
    plan.exists(in_aggregate).is_ok_and(|meet| meet)
}

/// Puts every CAST of `statement` into a call of [`Named`].
pub(crate) fn name(statement: &mut Statement) {
    struct Casts;
    impl VisitorMut for Casts {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
            if matches!(expr, ast::Expr::Cast { .. }) {
                let cast = std::mem::replace(expr, ast::Expr::Value(ast::Value::Null.into()));
                *expr = call(cast);
            }
            ControlFlow::Continue(())
        }
    }
    match statement {
        Statement::Statement(statement) => {
            let _: ControlFlow<()> = VisitMut::visit(statement.as_mut(), &mut Casts);
        }
        Statement::Explain(explain) => name(&mut explain.statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => {}
    }
}

fn call(cast: ast::Expr) -> ast::Expr {
    ast::Expr::Function(ast::Function {
        name: vec![ast::Ident::new(NAMED)].into(),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(ast::FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(cast))],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// `state`, which now also knows the calls that [`name`] makes.
pub(crate) fn state(mut state: SessionState) -> DfResult<SessionState> {
    state.register_udf(Arc::new(Named(Signature::any(1, Volatility::Immutable)).into()))?;
    Ok(state)
}

/// Its argument, a cast, under a name that says which: a function of plans alone, which the optimizer takes out.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Named(Signature);

impl ScalarUDFImpl for Named {
    fn name(&self) -> &str {
        NAMED
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        Ok(args.iter().map(Expr::to_string).collect())
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        internal_err!("the type is that of the argument")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        Ok(args.arg_fields[0].clone())
    }

    fn simplify(&self, mut args: Vec<Expr>, _: &SimplifyContext) -> DfResult<ExprSimplifyResult> {
        Ok(match args.pop() {
            Some(cast) => ExprSimplifyResult::Simplified(cast),
            None => ExprSimplifyResult::Original(args),
        })
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Ok(args.args.swap_remove(0))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use lagar_flow::codes;

    use crate::testing::{Place, shown};

    const ROWS: &str = "(VALUES (1.5, 'a', TIMESTAMP '2024-01-01 08:00:00'), (2.5, 'b', TIMESTAMP '2024-01-01 09:00:00'), \
                        (2.6, 'b', TIMESTAMP '2024-01-02 09:00:00')) AS t (x, k, ts)";

    /// Queries that DataFusion refuses by itself, and what they mean.
    #[tokio::test]
    async fn what_differs_in_a_cast_only_is_not_the_same() {
        let place = Place::new().await;
        let session = place.engine.session();
        for (select, expected) in [
            ("sum(x) AS a, sum(CAST(x AS BIGINT)) AS b FROM t", "6.6|5"),
            ("count(DISTINCT ts) AS a, count(DISTINCT CAST(ts AS DATE)) AS b FROM t", "3|2"),
            (
                "count(DISTINCT ts) AS a, count(DISTINCT ts::DATE) AS b, count(DISTINCT ts::TIME) AS c FROM t",
                "3|2|2",
            ),
            ("max(x), max(TRY_CAST(x AS INT)) FROM t", "2.6|2"),
            ("sum(x) FILTER (WHERE k = 'a') AS a, sum(x::INT) FILTER (WHERE k = 'a') AS b FROM t", "1.5|1"),
            (
                "count(*) FILTER (WHERE x > 2) AS a, count(*) FILTER (WHERE CAST(x AS INT) > 2) AS b FROM t",
                "2|0",
            ),
            ("sum(abs(x)) AS a, sum(abs(CAST(x AS INT))) AS b FROM t", "6.6|5"),
            ("sum(CAST(CAST(x AS INT) AS DOUBLE)) AS a, sum(CAST(x AS DOUBLE)) AS b FROM t", "5.0|6.6"),
            (
                "k, sum(x) AS a, sum(x::INT) AS b FROM t GROUP BY k HAVING sum(x::INT) > 1 ORDER BY sum(x::INT), k",
                "b|5.1|4",
            ),
            (
                "x, sum(x) OVER (ORDER BY x) AS a, sum(CAST(x AS INT)) OVER (ORDER BY x) AS b FROM t ORDER BY x",
                "1.5|1.5|1\n2.5|4.0|3\n2.6|6.6|5",
            ),
            (
                "x, rank() OVER (ORDER BY x) AS a, rank() OVER (ORDER BY CAST(x AS INT)) AS b FROM t ORDER BY x",
                "1.5|1|1\n2.5|2|2\n2.6|3|2",
            ),
            (
                "x, CAST(x AS INT) AS y, count(*) AS n FROM t GROUP BY x, CAST(x AS INT) ORDER BY x",
                "1.5|1|1\n2.5|2|1\n2.6|2|1",
            ),
            (
                "ts::DATE AS day, sum(x) AS a FROM t GROUP BY ts, CAST(ts AS DATE) ORDER BY ts",
                "2024-01-01|1.5\n2024-01-01|2.5\n2024-01-02|2.6",
            ),
            (
                "abs(x) AS a, abs(x::INT) AS b FROM t GROUP BY abs(x), abs(x::INT) ORDER BY 1",
                "1.5|1\n2.5|2\n2.6|2",
            ),
            (
                "date_trunc('day', ts) AS a, date_trunc('day', CAST(ts AS DATE)) AS b, count(*) AS n \
                 FROM t GROUP BY 1, 2 ORDER BY 1",
                "2024-01-01T00:00:00|2024-01-01T00:00:00|2\n2024-01-02T00:00:00|2024-01-02T00:00:00|1",
            ),
            ("abs(x), abs(CAST(x AS INT)) FROM t ORDER BY x", "1.5|1\n2.5|2\n2.6|2"),
            ("DISTINCT k, CAST(k AS TEXT) FROM t ORDER BY k", "a|a\nb|b"),
            (
                "n.a, n.b FROM (SELECT min(x) AS a, min(CAST(x AS INT)) AS b FROM t) AS n \
                 WHERE EXISTS (SELECT sum(u.x) AS p, sum(u.x::INT) AS q FROM t AS u)",
                "1.5|1",
            ),
        ] {
            let sql = format!("WITH t AS (SELECT * FROM {ROWS}) SELECT {select}");
            let rows = shown(&session.collect(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")));
            assert_eq!(rows.join("\n"), expected, "{sql}");
            session.describe(&sql).await.unwrap();
            session.lineage(&sql).await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_there_twice_is_still_refused() {
        let place = Place::new().await;
        for select in [
            "sum(x), sum(x)",
            "t.x, CAST(x AS INT) AS x",
            "x AS y, CAST(x AS INT) AS y",
            "sum(x::INT) AS a, sum(x) AS a",
        ] {
            let sql = format!("SELECT {select} FROM {ROWS}");
            let error = place.engine.session().describe(&sql).await.unwrap_err();
            assert_eq!(error.code(), codes::SQL_PLAN, "{sql}");
            assert!(error.message().contains("comes out twice"), "{sql}: {}", error.message());
        }
    }

    /// The names of columns that have none of their own stay as they are.
    #[tokio::test]
    async fn a_query_that_is_not_refused_has_the_names_of_before() {
        let place = Place::new().await;
        let schema =
            place.engine.session().describe(&format!("SELECT sum(CAST(x AS INT)) FROM {ROWS}")).await;
        assert_eq!(schema.unwrap().field(0).name(), "sum(t.x)");
    }
}
