//! Checks: rules about a table's rows, compiled to SQL over its staged files.
//!
//! As in SQL's own CHECK a row condition that is NULL passes: only what is known to be false fails.
//! `unique`, `accepted` and `relation` do not look at nulls either; that is what `not_null` is for.

use std::{collections::BTreeSet, fmt, ops::ControlFlow, sync::LazyLock};

use arrow::{
    array::{Array, AsArray, BooleanArray, RecordBatch},
    compute::{filter_record_batch, is_null, not},
    datatypes::{DataType, Int64Type},
};
use datafusion::{
    functions_aggregate::all_default_aggregate_functions,
    sql::sqlparser::ast::{self, Expr, Visit, VisitMut, Visitor, VisitorMut},
};
use lagar_flow::{Error, Place, Result, TableName, codes};
use serde_json::Value;

pub use crate::front_matter::{Scalar, Severity};
use crate::{
    errors, merge, parser, predict,
    session::Session,
    sql::{literal, quote},
};

/// Failing rows that a result shows.
const SAMPLE_ROWS: usize = 5;
/// Characters of a text that a sample shows.
const SAMPLE_CHARS: usize = 200;
/// The column that [`drop_query`] adds.
pub(crate) const FAILED_CHECK: &str = "_failed_check";

/// One rule about a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// As given, or made from the rule: `unique(a,b)`, `not_null(a)`, `revenue >= 0`.
    pub name: String,
    pub rule: Rule,
    pub severity: Severity,
    /// Where the project says so.
    pub place: Place,
}

impl Check {
    pub(crate) fn new(name: Option<String>, rule: Rule, severity: Severity, place: Place) -> Self {
        Self { name: name.unwrap_or_else(|| rule.to_string()), rule, severity, place }
    }
}

/// What a check demands.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// No two rows are alike in these columns; rows with a null in one of them are left out.
    Unique(Vec<String>),
    /// The column has no null.
    NotNull(String),
    /// The column has only these values, or null.
    Accepted { column: String, values: Vec<Scalar> },
    /// Every value of the column, or null, is in the column `target` of `table`.
    Relation { column: String, table: TableName, target: String },
    /// An SQL condition on every row.
    Condition { sql: String, tables: Vec<TableName> },
    /// An SQL condition on the table as a whole, and the aggregates in it.
    Aggregate { sql: String, aggregates: Vec<String>, tables: Vec<TableName> },
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Unique(columns) => write!(f, "unique({})", columns.join(",")),
            Rule::NotNull(column) => write!(f, "not_null({column})"),
            Rule::Accepted { column, .. } => write!(f, "accepted({column})"),
            Rule::Relation { column, .. } => write!(f, "relation({column})"),
            Rule::Condition { sql, .. } => f.write_str(sql),
            Rule::Aggregate { sql, .. } => f.write_str(&sql.replace("count(*)", "rows")),
        }
    }
}

impl Rule {
    /// From a condition in SQL. It is about the table as a whole if it has an aggregate function, or
    /// the word `rows`, which means count(*).
    pub(crate) fn from_sql(sql: &str) -> Result<Rule> {
        let parsed = parser::with_parser(sql, |parser| parser.parse_into_expr())
            .map_err(|error| errors::planning(&error, sql))?;
        if parsed.alias.is_some() {
            return Err(
                Error::new(codes::SQL_SYNTAX, "a condition has no name").hint("give the check a `name`")
            );
        }
        let mut expr = parsed.expr;
        if predict::is_asked_in(&expr) {
            return Err(Error::new(codes::SQL_PLAN, "a check asks no predictor").hint(
                "take the answer into the SELECT, as `predict('NAME') AS answer`, and check `answer`",
            ));
        }
        let _: ControlFlow<()> = VisitMut::visit(&mut expr, &mut RowsWord::default());
        let mut parts = Parts::default();
        let _: ControlFlow<()> = expr.visit(&mut parts);
        let tables = parts.tables.iter().map(table_of).collect::<Result<Vec<_>>>()?;
        let sql = expr.to_string();
        if parts.aggregates.is_empty() {
            return Ok(Rule::Condition { sql, tables });
        }
        let mut seen = BTreeSet::new();
        let aggregates = parts.aggregates.into_iter().filter(|text| seen.insert(text.clone())).collect();
        Ok(Rule::Aggregate { sql, aggregates, tables })
    }

    /// Whether it tells for every row alone if it is wrong, so that such rows can be left out.
    pub(crate) fn is_about_rows(&self) -> bool {
        match self {
            Rule::NotNull(_) | Rule::Accepted { .. } => true,
            Rule::Condition { tables, .. } => tables.is_empty(),
            Rule::Unique(_) | Rule::Relation { .. } | Rule::Aggregate { .. } => false,
        }
    }

    /// The columns that it names, where that is known without planning.
    pub fn columns(&self) -> &[String] {
        match self {
            Rule::Unique(columns) => columns,
            Rule::NotNull(column) | Rule::Accepted { column, .. } | Rule::Relation { column, .. } => {
                std::slice::from_ref(column)
            }
            Rule::Condition { .. } | Rule::Aggregate { .. } => &[],
        }
    }

    /// The other tables that it reads.
    pub(crate) fn tables(&self) -> Vec<TableName> {
        match self {
            Rule::Relation { table, .. } => vec![table.clone()],
            Rule::Condition { tables, .. } | Rule::Aggregate { tables, .. } => tables.clone(),
            Rule::Unique(_) | Rule::NotNull(_) | Rule::Accepted { .. } => Vec::new(),
        }
    }

    /// What must not be false of any row; `None` if it is not about rows.
    fn row_condition(&self) -> Option<String> {
        match self {
            Rule::NotNull(column) => Some(format!("{} IS NOT NULL", quote(column))),
            Rule::Accepted { column, values } if values.is_empty() => {
                Some(format!("{} IS NULL", quote(column)))
            }
            Rule::Accepted { column, values } => {
                let values: Vec<String> = values.iter().map(scalar).collect();
                Some(format!("{} IN ({})", quote(column), values.join(", ")))
            }
            Rule::Condition { sql, .. } => Some(sql.clone()),
            Rule::Unique(_) | Rule::Relation { .. } | Rule::Aggregate { .. } => None,
        }
    }

    /// A query of one row: `failed`, a number of rows.
    fn count_sql(&self, name: &TableName) -> String {
        match self {
            Rule::Unique(columns) => format!(
                "SELECT COALESCE(sum(n), 0) AS failed FROM (SELECT count(*) AS n FROM {name} WHERE {} GROUP BY {} HAVING count(*) > 1)",
                all_present(columns),
                quoted(columns)
            ),
            Rule::Relation { .. } => format!("SELECT count(*) AS failed {}", self.strangers(name)),
            Rule::Aggregate { sql, .. } => {
                format!(
                    "SELECT CASE WHEN ({sql}) THEN 0 WHEN NOT ({sql}) THEN 1 ELSE 0 END AS failed FROM {name}"
                )
            }
            Rule::NotNull(_) | Rule::Accepted { .. } | Rule::Condition { .. } => {
                format!("SELECT count(*) AS failed FROM {name} WHERE {}", self.fails())
            }
        }
    }

    /// A query of some failing rows; of the aggregates, where no row is wrong by itself.
    fn sample_sql(&self, name: &TableName) -> String {
        match self {
            Rule::Unique(columns) => format!(
                "SELECT {cols}, count(*) AS rows FROM {name} WHERE {} GROUP BY {cols} HAVING count(*) > 1 ORDER BY {cols} LIMIT {SAMPLE_ROWS}",
                all_present(columns),
                cols = quoted(columns)
            ),
            Rule::Relation { .. } => format!("SELECT t.* {} LIMIT {SAMPLE_ROWS}", self.strangers(name)),
            Rule::Aggregate { aggregates, .. } => {
                let columns: Vec<String> =
                    aggregates.iter().map(|text| format!("{text} AS {}", quote(text))).collect();
                format!("SELECT {} FROM {name}", columns.join(", "))
            }
            Rule::NotNull(_) | Rule::Accepted { .. } | Rule::Condition { .. } => {
                format!("SELECT * FROM {name} WHERE {} LIMIT {SAMPLE_ROWS}", self.fails())
            }
        }
    }

    fn fails(&self) -> String {
        self.row_condition().map_or_else(|| "FALSE".to_owned(), |condition| format!("NOT ({condition})"))
    }

    /// The rows whose value is not in the other table.
    fn strangers(&self, name: &TableName) -> String {
        let Rule::Relation { column, table, target } = self else {
            return format!("FROM {name} t WHERE FALSE");
        };
        let (column, target) = (quote(column), quote(target));
        format!(
            "FROM {name} t LEFT ANTI JOIN {table} o ON t.{column} = o.{target} WHERE t.{column} IS NOT NULL"
        )
    }
}

fn table_of(name: &ast::ObjectName) -> Result<TableName> {
    name.to_string().to_lowercase().parse()
}

fn quoted(columns: &[String]) -> String {
    columns.iter().map(|column| quote(column)).collect::<Vec<_>>().join(", ")
}

fn all_present(columns: &[String]) -> String {
    columns.iter().map(|column| format!("{} IS NOT NULL", quote(column))).collect::<Vec<_>>().join(" AND ")
}

fn scalar(value: &Scalar) -> String {
    match value {
        Scalar::Bool(truth) => truth.to_string(),
        Scalar::Int(number) => number.to_string(),
        Scalar::Number(number) => number.to_string(),
        Scalar::Text(text) => literal(text),
    }
}

/// Puts `count(*)` in the place of the word `rows`.
#[derive(Default)]
struct RowsWord {
    queries: usize,
}

impl VisitorMut for RowsWord {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut ast::Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let is_word = matches!(expr, Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("rows"));
        if self.queries == 0
            && is_word
            && let Ok(count) = parser::with_parser("count(*)", |parser| parser.parse_into_expr())
        {
            *expr = count.expr;
        }
        ControlFlow::Continue(())
    }
}

/// The outermost aggregates of a condition, and the tables of its subqueries.
#[derive(Default)]
struct Parts {
    aggregates: Vec<String>,
    inside: usize,
    queries: usize,
    tables: Vec<ast::ObjectName>,
}

impl Parts {
    fn is_aggregate(&self, expr: &Expr) -> bool {
        static NAMES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
            let names = |udf: &std::sync::Arc<datafusion::logical_expr::AggregateUDF>| {
                std::iter::once(udf.name().to_owned()).chain(udf.aliases().to_vec()).collect::<Vec<_>>()
            };
            all_default_aggregate_functions().iter().flat_map(names).collect()
        });
        match expr {
            Expr::Function(call) if self.queries == 0 && call.over.is_none() => {
                NAMES.contains(&call.name.to_string().to_lowercase())
            }
            _ => false,
        }
    }
}

impl Visitor for Parts {
    type Break = ();

    fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ast::ObjectName) -> ControlFlow<()> {
        self.tables.push(relation.clone());
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if self.is_aggregate(expr) {
            if self.inside == 0 {
                self.aggregates.push(expr.to_string());
            }
            self.inside += 1;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if self.is_aggregate(expr) {
            self.inside -= 1;
        }
        ControlFlow::Continue(())
    }
}

/// How a check went.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckResult {
    pub name: String,
    pub severity: Severity,
    /// Rows of the table; of a check of severity `drop` also those that such checks left out.
    pub rows_tested: u64,
    /// Rows that are wrong: for `unique` all that share a key; 1 where the table as a whole is. Of a check of
    /// severity `drop` those that it left out: a row is counted by the first check that it fails.
    pub rows_failed: u64,
    /// At most five of them as JSON objects; for `unique` the keys with their number of rows, for a
    /// condition on the table its aggregates. Long texts are cut.
    pub sample: Vec<Value>,
}

impl CheckResult {
    /// Whether nothing is wrong.
    pub fn passed(&self) -> bool {
        self.rows_failed == 0
    }
}

/// Whether the checks fit the columns of `table` and of the tables that they read. Reads no data; all
/// faults at once, each at its check's place.
pub async fn validate(session: &Session, table: &TableName, checks: &[Check]) -> Result<()> {
    let mut errors = Vec::new();
    for check in checks {
        match session.describe(&check.rule.count_sql(table)).await {
            Ok(_) => {}
            Err(error) => errors.extend(error.each().map(|error| of_check(error, check))),
        }
    }
    Error::all(errors).map_or(Ok(()), Err)
}

/// An error in SQL that the user never saw, told at the check that it was made of.
fn of_check(error: &Error, check: &Check) -> Error {
    let told =
        Error::new(error.code(), format!("the check `{}`: {}", check.name, error.message_with_causes()));
    let told = told.at_place(check.place.clone());
    match error.hint_text() {
        Some(hint) => told.hint(hint),
        None => told,
    }
}

/// Runs the checks over `table`, which `session` has bound to the rows to test. `some_left_out`: whether rows that
/// were left out are staged as [`merge::LEFT_OUT`].
///
/// A check that fails is a result, not an error; an error is one of planning or reading.
pub async fn run(
    session: &Session,
    table: &TableName,
    checks: &[Check],
    some_left_out: bool,
) -> Result<Vec<CheckResult>> {
    if checks.is_empty() {
        return Ok(Vec::new());
    }
    let rows_tested = numbers(session, &format!("SELECT count(*) AS n FROM {table}")).await?;
    let rows_tested = rows_tested.first().copied().unwrap_or(0);
    let failed = count_failed(session, table, checks).await?;
    let mut results = Vec::with_capacity(checks.len());
    for (check, rows_failed) in checks.iter().zip(failed) {
        let sample = match rows_failed {
            0 => Vec::new(),
            _ => {
                rows(session, &check.rule.sample_sql(table)).await.map_err(|error| of_check(&error, check))?
            }
        };
        results.push(CheckResult {
            name: check.name.clone(),
            severity: check.severity,
            rows_tested,
            rows_failed,
            sample,
        });
    }
    if some_left_out {
        count_left_out(session, &mut results).await?;
    }
    Ok(results)
}

/// Adds to what the checks of severity `drop` found in the table the rows that are not in it because they failed one:
/// all are counted in one pass.
async fn count_left_out(session: &Session, results: &mut [CheckResult]) -> Result<()> {
    let rows_of = merge::all_left_out();
    let of = |result: &CheckResult| format!("{FAILED_CHECK} = {}", literal(&result.name));
    let mut dropping: Vec<&mut CheckResult> =
        results.iter_mut().filter(|result| result.severity == Severity::Drop).collect();
    let counts = dropping.iter().map(|result| format!(", count(*) FILTER (WHERE {})", of(result)));
    let counts = format!("SELECT count(*){} FROM ({rows_of})", counts.collect::<String>());
    let counts = numbers(session, &counts).await?;
    let Some((tested, failed)) = counts.split_first() else { return Ok(()) };
    for (result, failed) in dropping.iter_mut().zip(failed) {
        result.rows_tested += tested;
        result.rows_failed += failed;
        if *failed > 0 && result.sample.is_empty() {
            let sample = format!(
                "SELECT * EXCLUDE ({FAILED_CHECK}) FROM ({rows_of}) WHERE {} LIMIT {SAMPLE_ROWS}",
                of(result)
            );
            result.sample = rows(session, &sample).await?;
        }
    }
    Ok(())
}

/// The rows that fail each check. All conditions on rows are tested in one pass over the table.
async fn count_failed(session: &Session, table: &TableName, checks: &[Check]) -> Result<Vec<u64>> {
    let together: Vec<(usize, String)> = checks
        .iter()
        .enumerate()
        .filter(|(_, check)| check.rule.is_about_rows())
        .filter_map(|(index, check)| Some((index, check.rule.row_condition()?)))
        .collect();
    let mut failed: Vec<Option<u64>> = vec![None; checks.len()];
    if together.len() > 1 {
        let counts: Vec<String> = together
            .iter()
            .map(|(index, condition)| format!("count(*) FILTER (WHERE NOT ({condition})) AS c{index}"))
            .collect();
        // When this fails, each check is run alone, which tells whose fault it is.
        if let Ok(counts) = numbers(session, &format!("SELECT {} FROM {table}", counts.join(", "))).await {
            for ((index, _), count) in together.iter().zip(counts) {
                if let Some(slot) = failed.get_mut(*index) {
                    *slot = Some(count);
                }
            }
        }
    }
    let mut all = Vec::with_capacity(checks.len());
    for (check, known) in checks.iter().zip(failed) {
        all.push(match known {
            Some(count) => count,
            None => {
                let counts = numbers(session, &check.rule.count_sql(table)).await;
                counts.map_err(|error| of_check(&error, check))?.first().copied().unwrap_or(0)
            }
        });
    }
    Ok(all)
}

/// The numbers in the one row of a query.
async fn numbers(session: &Session, sql: &str) -> Result<Vec<u64>> {
    let batches = session.collect(sql).await?;
    let Some(batch) = batches.iter().find(|batch| batch.num_rows() > 0) else { return Ok(Vec::new()) };
    batch
        .columns()
        .iter()
        .map(|column| {
            let column = arrow::compute::cast(column, &DataType::Int64)
                .map_err(|error| Error::bug(error.to_string()))?;
            let column = column.as_primitive::<Int64Type>();
            Ok(if column.is_null(0) { 0 } else { u64::try_from(column.value(0)).unwrap_or(0) })
        })
        .collect()
}

/// The rows of a query as JSON objects.
async fn rows(session: &Session, sql: &str) -> Result<Vec<Value>> {
    let batches = session.collect(sql).await?;
    let bug = |error: arrow::error::ArrowError| Error::bug(format!("rows cannot be shown as JSON: {error}"));
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::JsonArray>(Vec::new());
    writer.write_batches(&batches.iter().collect::<Vec<_>>()).map_err(bug)?;
    writer.finish().map_err(bug)?;
    let text = writer.into_inner();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut rows: Vec<Value> =
        serde_json::from_slice(&text).map_err(|error| Error::bug(error.to_string()))?;
    rows.iter_mut().for_each(shorten);
    Ok(rows)
}

fn shorten(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some((end, _)) = text.char_indices().nth(SAMPLE_CHARS) {
                text.truncate(end);
                text.push('…');
            }
        }
        Value::Array(items) => items.iter_mut().for_each(shorten),
        Value::Object(map) => map.values_mut().for_each(shorten),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `sql` with one more column that names the first check of severity `drop` that the row fails, null
/// for a row to keep; `None` if there is no such check. [`split_failed`] takes the result apart.
pub fn drop_query(sql: &str, checks: &[Check]) -> Option<String> {
    let cases: Vec<String> = checks
        .iter()
        .filter(|check| check.severity == Severity::Drop)
        .filter_map(|check| {
            let condition = check.rule.row_condition()?;
            Some(format!("WHEN NOT ({condition}) THEN {}", literal(&check.name)))
        })
        .collect();
    if cases.is_empty() {
        return None;
    }
    Some(format!("SELECT *, CASE {} END AS {FAILED_CHECK} FROM (\n{sql}\n) AS result", cases.join(" ")))
}

/// A batch of a [`drop_query`] as the rows to keep, without the added column, and the failing rows
/// with it as their last column.
pub fn split_failed(batch: &RecordBatch) -> Result<(RecordBatch, RecordBatch)> {
    let bug =
        |error: arrow::error::ArrowError| Error::bug(format!("failed rows cannot be taken apart: {error}"));
    let last =
        batch.num_columns().checked_sub(1).filter(|last| batch.schema().field(*last).name() == FAILED_CHECK);
    let last = last.ok_or_else(|| Error::bug(format!("a result without `{FAILED_CHECK}`")))?;
    let keep: BooleanArray = is_null(batch.column(last)).map_err(bug)?;
    let kept = filter_record_batch(batch, &keep).map_err(bug)?;
    let kept = kept.project(&(0..last).collect::<Vec<_>>()).map_err(bug)?;
    let failed = filter_record_batch(batch, &not(&keep).map_err(bug)?).map_err(bug)?;
    Ok((kept, failed))
}

#[cfg(test)]
mod tests;
