//! The text of a query: parsing, which statements are allowed, and what stands where in it.

use std::ops::ControlFlow;

use datafusion::{
    logical_expr::{LogicalPlan, TableScan},
    sql::{
        parser::Statement,
        sqlparser::{
            ast::{self, Expr, Spanned, TableFactor, Visit, VisitMut, Visitor, VisitorMut},
            dialect::GenericDialect,
            keywords::Keyword,
            tokenizer::{Token, TokenWithSpan, Tokenizer},
        },
    },
};
use lagar_flow::{Error, Result, codes};

use crate::{errors, parser, predict};

/// Line and column, from 1.
pub type Spot = (usize, usize);

/// Which statements a text may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// One query: SELECT, VALUES, WITH, UNION …
    Query,
    /// That, and what shows something about it: EXPLAIN, DESCRIBE, SHOW.
    Inspect,
}

/// One allowed statement.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub statement: Statement,
    /// The tables that it names, without its own CTEs and table functions, in the order of the text.
    pub tables: Vec<NamedTable>,
}

/// A table as it is named in the text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NamedTable {
    pub spot: Spot,
    /// In lower case where it was not quoted.
    pub parts: Vec<String>,
}

impl NamedTable {
    pub(crate) fn name(&self) -> String {
        self.parts.join(".")
    }
}

/// The tables that a query names, with their places in it: `zone.name`, in lower case where they were
/// not quoted, each once. Fails as a session would for what is not allowed.
pub fn tables_of(sql: &str) -> Result<Vec<(String, Spot)>> {
    let mut tables: Vec<(String, Spot)> = Vec::new();
    for table in parse(sql, Allowed::Inspect)?.tables {
        let named = table.parts.first().is_some_and(|first| first != "information_schema");
        if named && !tables.iter().any(|(name, _)| *name == table.name()) {
            tables.push((table.name(), table.spot));
        }
    }
    Ok(tables)
}

/// The predictors that a query asks, with their places in it, each once. They may be no names.
///
/// # Errors
/// As [`tables_of`].
pub fn predictors_of(sql: &str) -> Result<Vec<(String, Spot)>> {
    let mut predictors: Vec<(String, Spot)> = Vec::new();
    for named in predict::named(&parse(sql, Allowed::Inspect)?.statement) {
        if !predictors.iter().any(|(name, _)| *name == named.name) {
            predictors.push((named.name, named.spot));
        }
    }
    Ok(predictors)
}

/// Parses one statement and refuses what is not allowed. Errors have places inside `sql`.
pub(crate) fn parse(sql: &str, allowed: Allowed) -> Result<Parsed> {
    let tokens = tokens(sql);
    if tokens.as_ref().is_some_and(Vec::is_empty) {
        return Err(Error::new(codes::SQL_SYNTAX, "there is no SQL").hint("write a SELECT"));
    }
    let mut statements = parser::statements(sql).map_err(|error| {
        refused_by_parser(sql, tokens.as_deref()).unwrap_or_else(|| errors::planning(&error, sql))
    })?;
    if statements.len() > 1 {
        let (line, column) = second_statement(tokens.as_deref().unwrap_or_default()).unwrap_or((0, 0));
        return Err(Error::new(codes::SQL_NOT_ALLOWED, "there is more than one statement")
            .hint("one SELECT is allowed; put what belongs together into WITH … AS (…)")
            .at("", line, column));
    }
    let Some(statement) = statements.pop_front() else {
        return Err(Error::new(codes::SQL_SYNTAX, "there is no SQL").hint("write a SELECT"));
    };
    if !is_allowed(&statement, allowed) {
        return Err(not_allowed(sql, allowed));
    }
    let tables = named_tables(&statement);
    Ok(Parsed { statement, tables })
}

/// Statements that the parser knows only in part should be refused for what they are.
fn refused_by_parser(sql: &str, tokens: Option<&[TokenWithSpan]>) -> Option<Error> {
    const REFUSED: &[Keyword] = &[
        Keyword::INSERT,
        Keyword::UPDATE,
        Keyword::DELETE,
        Keyword::MERGE,
        Keyword::CREATE,
        Keyword::DROP,
        Keyword::ALTER,
        Keyword::COPY,
        Keyword::SET,
        Keyword::RESET,
        Keyword::TRUNCATE,
        Keyword::GRANT,
        Keyword::REVOKE,
        Keyword::ATTACH,
        Keyword::INSTALL,
        Keyword::LOAD,
        Keyword::PREPARE,
        Keyword::EXECUTE,
        Keyword::USE,
        Keyword::VACUUM,
    ];
    match &tokens?.first()?.token {
        Token::Word(word) if REFUSED.contains(&word.keyword) => Some(not_allowed(sql, Allowed::Query)),
        _ => None,
    }
}

fn not_allowed(sql: &str, allowed: Allowed) -> Error {
    let tokens = tokens(sql).unwrap_or_default();
    let word = tokens.first().map_or_else(String::new, |token| token.token.to_string().to_uppercase());
    let (line, column) = tokens.first().map_or((1, 1), spot_of);
    let hint = match allowed {
        Allowed::Query => "a SELECT (or WITH, VALUES, UNION) is allowed; tables are written by models",
        Allowed::Inspect => "SELECT, EXPLAIN, DESCRIBE and SHOW are allowed; tables are written by models",
    };
    Error::new(codes::SQL_NOT_ALLOWED, format!("{word} is not allowed here")).hint(hint).at("", line, column)
}

fn is_allowed(statement: &Statement, allowed: Allowed) -> bool {
    let inspect = allowed == Allowed::Inspect;
    match statement {
        Statement::Statement(statement) => match statement.as_ref() {
            ast::Statement::Query(query) => is_query(query),
            ast::Statement::Explain { statement, .. } => {
                inspect && matches!(statement.as_ref(), ast::Statement::Query(query) if is_query(query))
            }
            ast::Statement::ExplainTable { .. }
            | ast::Statement::ShowTables { .. }
            | ast::Statement::ShowColumns { .. }
            | ast::Statement::ShowFunctions { .. } => inspect,
            _ => false,
        },
        Statement::Explain(explain) => inspect && is_allowed(&explain.statement, Allowed::Query),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => false,
    }
}

fn is_query(query: &ast::Query) -> bool {
    fn reads(body: &ast::SetExpr) -> bool {
        match body {
            ast::SetExpr::Select(select) => select.into.is_none(),
            ast::SetExpr::Query(query) => is_query(query),
            ast::SetExpr::SetOperation { left, right, .. } => reads(left) && reads(right),
            ast::SetExpr::Values(_) | ast::SetExpr::Table(_) => true,
            ast::SetExpr::Insert(_)
            | ast::SetExpr::Update(_)
            | ast::SetExpr::Delete(_)
            | ast::SetExpr::Merge(_) => false,
        }
    }
    reads(&query.body)
}

/// Whether a plan only reads. The match has no wildcard on purpose: a node that a new version of
/// DataFusion brings does not compile until somebody has decided about it.
pub(crate) fn is_read_only(plan: &LogicalPlan, allowed: Allowed) -> bool {
    let inspect = allowed == Allowed::Inspect;
    let itself = match plan {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::TableScan(TableScan { .. })
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::RecursiveQuery(_) => true,
        LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) | LogicalPlan::DescribeTable(_) => inspect,
        LogicalPlan::Statement(_)
        | LogicalPlan::Dml(_)
        | LogicalPlan::Ddl(_)
        | LogicalPlan::Copy(_)
        | LogicalPlan::Extension(_) => false,
    };
    let mut all = itself;
    // Subqueries in expressions are not among the inputs.
    let visited = plan.apply_subqueries(|subquery| {
        all &= is_read_only(subquery, allowed);
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    });
    all && visited.is_ok() && plan.inputs().into_iter().all(|input| is_read_only(input, allowed))
}

/// The query of an allowed statement, if it is one.
pub(crate) fn query_of(statement: &Statement) -> Option<&ast::Query> {
    match statement {
        Statement::Statement(statement) => match statement.as_ref() {
            ast::Statement::Query(query) => Some(query),
            _ => None,
        },
        _ => None,
    }
}

fn named_tables(statement: &Statement) -> Vec<NamedTable> {
    let mut collector = TableCollector::default();
    visit(statement, &mut collector);
    collector.found.sort();
    collector.found.dedup();
    collector.found
}

fn visit(statement: &Statement, collector: &mut TableCollector) {
    match statement {
        Statement::Statement(statement) => {
            let _: ControlFlow<()> = statement.as_ref().visit(collector);
        }
        Statement::Explain(explain) => visit(&explain.statement, collector),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => {}
    }
}

/// Walks a statement and keeps the tables that are not CTEs in scope.
#[derive(Default)]
struct TableCollector {
    found: Vec<NamedTable>,
    ctes: Vec<String>,
    /// The next relation is the name of a table function.
    function: bool,
}

impl Visitor for TableCollector {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { args: Some(_), .. } = factor {
            self.function = true;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ast::ObjectName) -> ControlFlow<()> {
        if std::mem::take(&mut self.function) {
            return ControlFlow::Continue(());
        }
        let parts: Vec<String> =
            relation.0.iter().filter_map(|part| part.as_ident()).map(normalized).collect();
        let is_cte = matches!(parts.as_slice(), [name] if self.ctes.contains(name));
        if !is_cte {
            let start = relation.span().start;
            self.found.push(NamedTable { spot: (start.line as usize, start.column as usize), parts });
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        if let Some(with) = &query.with {
            for cte in &with.cte_tables {
                // Outside of WITH RECURSIVE a CTE does not see itself, but a table of the same name.
                // The walk meets it once more afterwards; what it finds twice is dropped by its place.
                if !with.recursive {
                    cte.visit(self)?;
                }
                self.ctes.push(normalized(&cte.alias.name));
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        if let Some(with) = &query.with {
            let left = self.ctes.len().saturating_sub(with.cte_tables.len());
            self.ctes.truncate(left);
        }
        ControlFlow::Continue(())
    }
}

/// Puts NULL in the place of every column that is called like the one that stands at `spot` of `sql`. `false`
/// if there is none.
pub(crate) fn replace_by_null(statement: &mut Statement, sql: &str, spot: Spot) -> bool {
    struct Nulls {
        name: String,
        found: bool,
    }
    impl VisitorMut for Nulls {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            let name = match expr {
                Expr::Identifier(name) => Some(&*name),
                Expr::CompoundIdentifier(parts) => parts.last(),
                _ => None,
            };
            if name.is_some_and(|name| normalized(name) == self.name) {
                *expr = Expr::Value(ast::Value::Null.into());
                self.found = true;
            }
            ControlFlow::Continue(())
        }
    }
    // `table.column` is told by where it begins or by its last part.
    let tokens = tokens(sql).unwrap_or_default();
    let parts = tokens.iter().skip_while(|token| spot_of(token) != spot).enumerate();
    let parts = parts.take_while(|(at, token)| (at % 2 == 1) == (token.token == Token::Period));
    let Some(Token::Word(word)) = parts.filter(|(at, _)| at % 2 == 0).last().map(|(_, token)| &token.token)
    else {
        return false;
    };
    let Statement::Statement(statement) = statement else { return false };
    let name = if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() };
    let mut nulls = Nulls { name, found: false };
    let _: ControlFlow<()> = VisitMut::visit(statement.as_mut(), &mut nulls);
    nulls.found
}

/// An identifier as SQL reads it: lower case, unless it is quoted.
pub(crate) fn normalized(ident: &ast::Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// The tokens that mean something; `None` when the text has an unclosed string or the like.
pub(crate) fn tokens(sql: &str) -> Option<Vec<TokenWithSpan>> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().ok()?;
    Some(
        tokens
            .into_iter()
            .filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF))
            .collect(),
    )
}

fn spot_of(token: &TokenWithSpan) -> Spot {
    (token.span.start.line as usize, token.span.start.column as usize)
}

/// Where the last token is: where a query that ends too early ends.
pub(crate) fn last_token(sql: &str) -> Option<Spot> {
    tokens(sql)?.last().map(spot_of)
}

fn second_statement(tokens: &[TokenWithSpan]) -> Option<Spot> {
    let end = tokens.iter().position(|token| token.token == Token::SemiColon)?;
    tokens[end..].iter().find(|token| token.token != Token::SemiColon).map(spot_of)
}

/// Where `name` stands as an identifier; behind `relation.` if it stands there somewhere.
pub(crate) fn find_identifier(sql: &str, relation: Option<&str>, name: &str) -> Option<Spot> {
    let tokens = tokens(sql)?;
    let is = |token: &Token, text: &str| match token {
        Token::Word(word) if word.quote_style.is_some() => word.value == text,
        Token::Word(word) => word.value.eq_ignore_ascii_case(text),
        _ => false,
    };
    let table = relation.and_then(|relation| relation.rsplit('.').next());
    let qualified = table.and_then(|table| {
        tokens.windows(3).find(|three| {
            is(&three[0].token, table) && three[1].token == Token::Period && is(&three[2].token, name)
        })
    });
    match qualified {
        Some(three) => Some(spot_of(&three[2])),
        None => tokens.iter().find(|token| is(&token.token, name)).map(spot_of),
    }
}

/// `name` as SQL text: quoted, so that any name is one identifier.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as an SQL literal.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn names(sql: &str) -> Vec<String> {
        let parsed = parse(sql, Allowed::Query).unwrap();
        parsed.tables.iter().map(|t| format!("{}@{}:{}", t.name(), t.spot.0, t.spot.1)).collect()
    }

    #[test]
    fn tables_are_found_at_any_depth_and_ctes_are_not_tables() {
        assert_eq!(names("SELECT * FROM raw.a"), ["raw.a@1:15"]);
        assert_eq!(
            names(
                "WITH t AS (SELECT * FROM raw.a), u AS (SELECT * FROM t)\nSELECT * FROM u JOIN trusted.b USING (id)\nWHERE x IN (SELECT y FROM Raw.C)"
            ),
            ["raw.a@1:26", "trusted.b@2:22", "raw.c@3:27"]
        );
        assert_eq!(names("WITH t AS (SELECT * FROM t) SELECT * FROM t"), ["t@1:26"]);
        assert_eq!(
            names(
                "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT * FROM n"
            ),
            [""; 0]
        );
        assert_eq!(
            names("SELECT * FROM (SELECT * FROM raw.a) x, LATERAL (SELECT * FROM raw.b) y"),
            ["raw.a@1:30", "raw.b@1:63"]
        );
        assert_eq!(names("SELECT * FROM generate_series(1, 3) JOIN raw.a ON true"), ["raw.a@1:42"]);
        assert_eq!(names("SELECT (WITH t AS (SELECT 1 AS a) SELECT a FROM t), a FROM t"), ["t@1:60"]);
        assert_eq!(names("SELECT * FROM \"raw\".\"MiXed\""), ["raw.MiXed@1:15"]);
        assert_eq!(names("SELECT 1 UNION ALL SELECT a FROM raw.b"), ["raw.b@1:34"]);
    }

    #[test]
    fn every_statement_but_a_query_is_refused() {
        for sql in [
            "CREATE TABLE x (a INT)",
            "CREATE TABLE x AS SELECT 1",
            "CREATE VIEW x AS SELECT 1",
            "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
            "CREATE SCHEMA x",
            "CREATE DATABASE x",
            "CREATE INDEX i ON x (a)",
            "CREATE FUNCTION f(DOUBLE) RETURNS DOUBLE RETURN $1",
            "DROP TABLE x",
            "DROP VIEW x",
            "DROP SCHEMA x",
            "DROP FUNCTION f",
            "ALTER TABLE x ADD COLUMN a INT",
            "INSERT INTO x VALUES (1)",
            "WITH a AS (SELECT 1) INSERT INTO x SELECT * FROM a",
            "UPDATE x SET a = 1",
            "DELETE FROM x",
            "MERGE INTO x USING y ON x.a = y.a WHEN MATCHED THEN DELETE",
            "TRUNCATE TABLE x",
            "COPY x TO '/tmp/x.csv'",
            "COPY (SELECT 1) TO '/tmp/x.csv'",
            "SET datafusion.execution.batch_size = 1",
            "RESET datafusion.execution.batch_size",
            "BEGIN TRANSACTION",
            "COMMIT",
            "ROLLBACK",
            "PREPARE p AS SELECT 1",
            "EXECUTE p",
            "DEALLOCATE p",
            "SELECT 1 INTO x",
            "USE x",
            "GRANT SELECT ON x TO y",
            "EXPLAIN INSERT INTO x VALUES (1)",
            "EXPLAIN COPY (SELECT 1) TO '/tmp/x.csv'",
            "SHOW ALL",
        ] {
            for allowed in [Allowed::Query, Allowed::Inspect] {
                let error = parse(sql, allowed).expect_err(sql);
                assert_eq!(error.code(), codes::SQL_NOT_ALLOWED, "{sql}: {error}");
                assert_eq!(error.place().map(|p| (p.line, p.column)), Some((1, 1)), "{sql}");
            }
        }
        for sql in [
            "EXPLAIN SELECT 1",
            "EXPLAIN ANALYZE SELECT 1",
            "DESCRIBE raw.a",
            "SHOW TABLES",
            "SHOW COLUMNS FROM raw.a",
        ] {
            assert_eq!(parse(sql, Allowed::Query).expect_err(sql).code(), codes::SQL_NOT_ALLOWED, "{sql}");
            assert!(parse(sql, Allowed::Inspect).is_ok(), "{sql}");
        }
        for sql in [
            "SELECT 1",
            "SELECT 1;",
            "VALUES (1)",
            "(SELECT 1)",
            "SELECT 1 UNION SELECT 2",
            "WITH a AS (SELECT 1) SELECT * FROM a",
        ] {
            assert!(parse(sql, Allowed::Query).is_ok(), "{sql}");
        }
    }

    #[test]
    fn a_second_statement_is_pointed_at() {
        let error = parse("SELECT ';' AS a;\n\n  SELECT 2", Allowed::Query).unwrap_err();
        assert_eq!(error.code(), codes::SQL_NOT_ALLOWED);
        assert_eq!(error.place().map(|p| (p.line, p.column)), Some((3, 3)));
        for sql in ["", "  \n", "-- nothing\n", "/* nothing */"] {
            assert_eq!(parse(sql, Allowed::Query).unwrap_err().message(), "there is no SQL", "{sql:?}");
        }
    }

    #[test]
    fn syntax_errors_say_where() {
        for (sql, line, column, words) in [
            ("SELCT 1", 1, 1, "did you mean `SELECT`?"),
            ("SELECT a\nFORM raw.x WHERE", 2, 6, ""),
            ("SELECT (1 + 2", 1, 13, "ends too early"),
            ("SELECT a,\nFROM", 2, 1, ""),
            ("SELECT 'open", 1, 8, "not closed"),
        ] {
            let error = parse(sql, Allowed::Query).unwrap_err();
            assert_eq!(error.code(), codes::SQL_SYNTAX, "{sql}");
            let place = error.place().map(|p| (p.line, p.column));
            assert_eq!(place, Some((line, column)), "{sql}: {error}");
            assert!(error.hint_text().unwrap_or_default().contains(words), "{sql}: {:?}", error.hint_text());
            assert!(!error.message().contains("parser error"), "{error}");
        }
    }
}
