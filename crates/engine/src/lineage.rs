//! Where the columns of a query come from, told by its plan; nothing is read.
//!
//! The plan is the one that SQL says, before any rule rearranged it: every name is resolved, and each SELECT is
//! still a node of its own. A column is followed from its SELECT inwards to the tables. Where rows are only
//! chosen or put in order (WHERE, JOIN … ON, ORDER BY) nothing of a value comes from, so those columns are not
//! named.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use datafusion::{
    common::{
        Column, JoinType, TableReference,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{
        Distinct, Expr, LogicalPlan, RecursiveQuery, TableScan,
        expr::{Exists, InSubquery, SetComparison, Unnest as UnnestExpr},
        utils::grouping_set_to_exprlist,
    },
    sql::unparser::expr_to_sql,
};
use serde::Serialize;

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ColumnOf {
    /// `zone.name`
    pub table: String,
    pub column: String,
}

/// How one SELECT inside a query computes a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The column, behind the name of its subquery if that has one.
    pub column: String,
    pub sql: String,
}

/// Where a column of a query comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    pub column: String,
    /// From the outermost SELECT inwards. One that only passes the column on is left out.
    pub steps: Vec<Step>,
    pub from: BTreeSet<ColumnOf>,
    /// Tables of which only the number or the existence of rows counts, as in `count(*)`.
    pub rows_of: BTreeSet<String>,
}

/// The origin of every column of `plan`, in order.
pub(crate) fn of_plan(plan: &LogicalPlan) -> Vec<Origin> {
    let fields = plan.schema().fields().iter().enumerate();
    let of = |(index, field): (usize, &Arc<arrow::datatypes::Field>)| {
        let mut walk = Walk { seen: HashSet::new(), recursive: Vec::new(), origin: Origin::of(field.name()) };
        walk.column(plan, index, None, &[]);
        walk.origin
    };
    fields.map(of).collect()
}

impl Origin {
    fn of(column: &str) -> Self {
        Self { column: column.to_owned(), steps: vec![], from: BTreeSet::new(), rows_of: BTreeSet::new() }
    }
}

struct Walk<'p> {
    /// Columns of nodes that were followed already.
    seen: HashSet<(*const LogicalPlan, usize)>,
    /// The recursive queries inside of which the walk is.
    recursive: Vec<&'p RecursiveQuery>,
    origin: Origin,
}

impl<'p> Walk<'p> {
    /// Follows output column `index` of `plan`. `name`: what the subquery is called that it is. `outer`: the
    /// inputs of the queries around it, for what a subquery takes from there.
    fn column(&mut self, plan: &'p LogicalPlan, index: usize, name: Option<&str>, outer: &[&'p LogicalPlan]) {
        if !self.seen.insert((std::ptr::from_ref(plan), index)) {
            return;
        }
        match plan {
            LogicalPlan::Projection(projection) => {
                if let Some(expr) = projection.expr.get(index) {
                    self.step(plan, index, name, expr, &projection.input);
                    self.expr(expr, &projection.input, outer);
                }
            }
            LogicalPlan::Distinct(Distinct::On(distinct)) => {
                if let Some(expr) = distinct.select_expr.get(index) {
                    self.step(plan, index, name, expr, &distinct.input);
                    self.expr(expr, &distinct.input, outer);
                }
            }
            LogicalPlan::Aggregate(aggregate) => {
                // Behind the groups of GROUPING SETS stands a column of which group it is.
                let groups = plan.schema().fields().len().saturating_sub(aggregate.aggr_expr.len());
                match index.checked_sub(groups) {
                    Some(index) => {
                        if let Some(expr) = aggregate.aggr_expr.get(index) {
                            self.expr(expr, &aggregate.input, outer);
                        }
                    }
                    None => {
                        if let Some(expr) = grouped(plan, index) {
                            self.expr(expr, &aggregate.input, outer);
                        }
                    }
                }
            }
            LogicalPlan::Window(window) => match index.checked_sub(window.input.schema().fields().len()) {
                Some(index) => {
                    if let Some(expr) = window.window_expr.get(index) {
                        self.expr(expr, &window.input, outer);
                    }
                }
                None => self.column(&window.input, index, name, outer),
            },
            LogicalPlan::Join(join) => {
                let left = join.left.schema().fields().len();
                match join.join_type {
                    JoinType::RightSemi | JoinType::RightAnti => self.column(&join.right, index, None, outer),
                    JoinType::RightMark => match index < join.right.schema().fields().len() {
                        true => self.column(&join.right, index, None, outer),
                        false => self.rows(&join.left),
                    },
                    JoinType::LeftMark if index >= left => self.rows(&join.right),
                    _ if index < left => self.column(&join.left, index, None, outer),
                    _ => self.column(&join.right, index - left, None, outer),
                }
            }
            LogicalPlan::Union(union) => {
                for input in &union.inputs {
                    self.column(input, index, name, outer);
                }
            }
            LogicalPlan::Unnest(unnest) => {
                if let Some(index) = unnest.dependency_indices.get(index) {
                    // The node below only gathers what this one takes apart.
                    match unnest.input.as_ref() {
                        LogicalPlan::Projection(gathered) => {
                            if let Some(expr) = gathered.expr.get(*index) {
                                self.expr(expr, &gathered.input, outer);
                            }
                        }
                        input => self.column(input, *index, name, outer),
                    }
                }
            }
            LogicalPlan::RecursiveQuery(query) => {
                self.recursive.push(query);
                self.column(&query.static_term, index, name, outer);
                self.column(&query.recursive_term, index, name, outer);
                self.recursive.pop();
            }
            LogicalPlan::TableScan(scan) => self.scan(scan, index, outer),
            LogicalPlan::SubqueryAlias(alias) => {
                self.column(&alias.input, index, Some(alias.alias.table()), outer);
            }
            LogicalPlan::Subquery(subquery) => self.column(&subquery.subquery, index, name, outer),
            LogicalPlan::Filter(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Repartition(_)
            | LogicalPlan::Distinct(Distinct::All(_)) => {
                for input in plan.inputs() {
                    self.column(input, index, name, outer);
                }
            }
            // Literals have no origin; no other node is in a query.
            LogicalPlan::Values(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Statement(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Extension(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::DescribeTable(_) => {}
        }
    }

    fn scan(&mut self, scan: &TableScan, index: usize, outer: &[&'p LogicalPlan]) {
        let Some(field) = scan.projected_schema.fields().get(index) else { return };
        match table_of(&scan.table_name) {
            Some(table) => {
                self.origin.from.insert(ColumnOf { table, column: field.name().clone() });
            }
            // A recursive query reads its own rows by its name.
            None => {
                let name = scan.table_name.table();
                let own = self.recursive.iter().rev().find(|query| query.name == name).copied();
                if let Some(query) = own {
                    self.column(&query.static_term, index, None, outer);
                    self.column(&query.recursive_term, index, None, outer);
                }
            }
        }
    }

    /// Follows all columns that `expr` names, each of them one of `input`.
    fn expr(&mut self, expr: &'p Expr, input: &'p LogicalPlan, outer: &[&'p LogicalPlan]) {
        let inside: Vec<&'p LogicalPlan> = outer.iter().copied().chain([input]).collect();
        let visited = expr.apply(|expr: &'p Expr| {
            match expr {
                Expr::Column(column) => {
                    if let Some(index) = input.schema().maybe_index_of_column(column) {
                        self.column(input, index, None, outer);
                    }
                }
                Expr::OuterReferenceColumn(_, column) => self.outer_column(column, outer),
                Expr::ScalarSubquery(subquery)
                | Expr::InSubquery(InSubquery { subquery, .. })
                | Expr::SetComparison(SetComparison { subquery, .. }) => {
                    self.column(&subquery.subquery, 0, None, &inside);
                }
                Expr::Exists(Exists { subquery, .. }) => self.rows(&subquery.subquery),
                Expr::AggregateFunction(_) | Expr::WindowFunction(_) if !expr.any_column_refs() => {
                    self.rows(input)
                }
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        });
        debug_assert!(visited.is_ok(), "the visitor does not fail");
    }

    /// What a subquery takes from the queries around it: the innermost that has it.
    fn outer_column(&mut self, column: &Column, outer: &[&'p LogicalPlan]) {
        for (depth, plan) in outer.iter().enumerate().rev() {
            if let Some(index) = plan.schema().maybe_index_of_column(column) {
                self.column(plan, index, None, &outer[..depth]);
                return;
            }
        }
    }

    /// Only the rows of `plan` count.
    fn rows(&mut self, plan: &LogicalPlan) {
        let visited = plan.apply_with_subqueries(|plan| {
            if let LogicalPlan::TableScan(scan) = plan {
                self.origin.rows_of.extend(table_of(&scan.table_name));
            }
            Ok(TreeNodeRecursion::Continue)
        });
        debug_assert!(visited.is_ok(), "the visitor does not fail");
    }

    /// Notes how `expr` computes output column `index` of `plan`, unless it only passes a column on.
    fn step(
        &mut self,
        plan: &LogicalPlan,
        index: usize,
        name: Option<&str>,
        expr: &Expr,
        input: &LogicalPlan,
    ) {
        let (_, field) = plan.schema().qualified_field(index);
        let expr = inlined(expr.clone().unalias(), input);
        if matches!(&expr, Expr::Column(column) if column.name == *field.name()) {
            return;
        }
        let column = match name {
            Some(name) => format!("{name}.{}", field.name()),
            None => field.name().clone(),
        };
        self.origin.steps.push(Step { column, sql: text(&expr) });
    }
}

/// `zone.name`; `None` for what is no table of the lake: rows of a function, of the query itself.
fn table_of(name: &TableReference) -> Option<String> {
    Some(format!("{}.{}", name.schema()?, name.table()))
}

/// The expression of a group. The groups of GROUPING SETS stand inside of one expression.
fn grouped(aggregate: &LogicalPlan, index: usize) -> Option<&Expr> {
    let LogicalPlan::Aggregate(aggregate) = aggregate else { return None };
    grouping_set_to_exprlist(&aggregate.group_expr).ok()?.into_iter().nth(index)
}

/// `expr` with the aggregates and window functions that are computed below it, where the SELECT wrote them.
fn inlined(expr: Expr, input: &LogicalPlan) -> Expr {
    let original = expr.clone();
    let inline = |expr: Expr| match &expr {
        Expr::Column(column) => {
            let index = input.schema().maybe_index_of_column(column);
            Ok(match index.and_then(|index| computed(input, index)) {
                // What was put in is done already.
                Some(computed) => Transformed::new(computed, true, TreeNodeRecursion::Jump),
                None => Transformed::no(expr),
            })
        }
        _ => Ok(Transformed::no(expr)),
    };
    expr.transform_down(inline).map_or(original, |done| done.data)
}

/// What a node below a SELECT computes in its column `index`; `None` for a column of a table or subquery.
fn computed(plan: &LogicalPlan, index: usize) -> Option<Expr> {
    match plan {
        LogicalPlan::Aggregate(aggregate) => {
            let groups = plan.schema().fields().len().checked_sub(aggregate.aggr_expr.len())?;
            let expr = match index.checked_sub(groups) {
                Some(index) => aggregate.aggr_expr.get(index)?,
                None => grouped(plan, index)?,
            };
            Some(inlined(expr.clone().unalias(), &aggregate.input))
        }
        LogicalPlan::Window(window) => match index.checked_sub(window.input.schema().fields().len()) {
            Some(index) => Some(inlined(window.window_expr.get(index)?.clone().unalias(), &window.input)),
            None => computed(&window.input, index),
        },
        LogicalPlan::Unnest(unnest) => {
            let below = *unnest.dependency_indices.get(index)?;
            let LogicalPlan::Projection(gathered) = unnest.input.as_ref() else { return None };
            let expr = inlined(gathered.expr.get(below)?.clone().unalias(), &gathered.input);
            let taken_apart = unnest.list_type_columns.iter().any(|(column, _)| *column == below)
                || unnest.struct_type_columns.contains(&below);
            Some(if taken_apart { Expr::Unnest(UnnestExpr::new(expr)) } else { expr })
        }
        LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => {
            computed(plan.inputs().first()?, index)
        }
        _ => None,
    }
}

/// An expression as SQL.
fn text(expr: &Expr) -> String {
    match expr_to_sql(expr) {
        Ok(sql) => sql.to_string(),
        Err(_) => expr.human_display().to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use crate::{
        Session,
        testing::{Place, fields},
    };

    async fn session(place: &Place) -> Session {
        let session = place.engine.session();
        let item = DataType::Struct(vec![Field::new("sku", DataType::Utf8, true)].into());
        let items = DataType::List(std::sync::Arc::new(Field::new("item", item, true)));
        let orders = fields(&[
            ("id", DataType::Int64),
            ("price", DataType::Float64),
            ("quantity", DataType::Int64),
            ("city", DataType::Utf8),
            ("items", items),
        ]);
        session.add_empty(&"trusted.orders".parse().unwrap(), orders).unwrap();
        let cities =
            fields(&[("city", DataType::Utf8), ("region", DataType::Utf8), ("parent", DataType::Utf8)]);
        session.add_empty(&"trusted.cities".parse().unwrap(), cities).unwrap();
        session
    }

    /// `column <- tables and columns # tables of rows | steps`, a line each.
    async fn origins(sql: &str) -> Vec<String> {
        let place = Place::new().await;
        let origins = session(&place).await.lineage(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        let line = |origin: super::Origin| {
            let from: Vec<String> =
                origin.from.iter().map(|from| format!("{}.{}", from.table, from.column)).collect();
            let rows: Vec<String> = origin.rows_of.iter().map(|table| format!("#{table}")).collect();
            let steps: Vec<String> =
                origin.steps.iter().map(|step| format!(" | {} = {}", step.column, step.sql)).collect();
            format!("{} <- {}{}", origin.column, [from, rows].concat().join(" "), steps.concat())
        };
        origins.into_iter().map(line).collect()
    }

    #[tokio::test]
    async fn a_column_that_is_passed_on_has_no_step() {
        assert_eq!(
            origins(
                "SELECT id, o.city AS town FROM trusted.orders AS o WHERE price > 1 ORDER BY quantity LIMIT 3"
            )
            .await,
            ["id <- trusted.orders.id", "town <- trusted.orders.city | town = o.city"]
        );
        assert_eq!(
            origins("SELECT DISTINCT city FROM trusted.orders").await,
            ["city <- trusted.orders.city"]
        );
        assert_eq!(
            origins("SELECT * FROM trusted.cities").await,
            [
                "city <- trusted.cities.city",
                "region <- trusted.cities.region",
                "parent <- trusted.cities.parent"
            ]
        );
    }

    #[tokio::test]
    async fn expressions_aggregates_and_ctes_are_followed() {
        let sql = "WITH sales AS (
                SELECT c.region, o.price * o.quantity AS total
                FROM trusted.orders o JOIN trusted.cities c ON c.city = o.city
            )
            SELECT region, coalesce(sum(total), 0) AS revenue, count(*) AS n, 'x' AS note,
                   sum(total) / count(*) AS mean
            FROM sales GROUP BY region HAVING sum(total) > 1";
        let found = origins(sql).await;
        assert_eq!(found[0], "region <- trusted.cities.region");
        assert_eq!(
            found[1],
            "revenue <- trusted.orders.price trusted.orders.quantity | revenue = coalesce(sum(sales.total), 0) | sales.total = (o.price * o.quantity)"
        );
        assert_eq!(found[2], "n <- #trusted.cities #trusted.orders | n = count(1)");
        assert_eq!(found[3], "note <-  | note = 'x'");
        assert!(
            found[4].starts_with("mean <- trusted.orders.price trusted.orders.quantity #"),
            "{}",
            found[4]
        );
    }

    #[tokio::test]
    async fn windows_unions_and_subqueries_are_followed() {
        let found = origins(
            "SELECT row_number() OVER (PARTITION BY city ORDER BY id) AS place, rank() OVER () AS r FROM trusted.orders",
        )
        .await;
        assert!(
            found[0]
                .starts_with("place <- trusted.orders.city trusted.orders.id | place = row_number() OVER"),
            "{}",
            found[0]
        );
        assert!(found[1].starts_with("r <- #trusted.orders | r = rank() OVER"), "{}", found[1]);
        assert_eq!(
            origins("SELECT city FROM trusted.orders UNION ALL SELECT region FROM trusted.cities").await[0]
                .split(" | ")
                .next(),
            Some("city <- trusted.cities.region trusted.orders.city")
        );
        let found = origins(
            "SELECT (SELECT max(region) FROM trusted.cities c WHERE c.city = o.city) AS a,
                    EXISTS (SELECT 1 FROM trusted.cities) AS b,
                    id IN (SELECT id FROM trusted.orders) AS c,
                    (SELECT o.price) AS d
             FROM trusted.orders o",
        )
        .await;
        assert!(found[0].starts_with("a <- trusted.cities.region |"), "{}", found[0]);
        assert!(found[1].starts_with("b <- #trusted.cities |"), "{}", found[1]);
        assert!(found[2].starts_with("c <- trusted.orders.id |"), "{}", found[2]);
        assert!(found[3].starts_with("d <- trusted.orders.price |"), "{}", found[3]);
    }

    #[tokio::test]
    async fn lists_structs_and_recursion_are_followed() {
        let found = origins(
            "WITH items AS (SELECT id, unnest(items) AS item FROM trusted.orders) SELECT id, item['sku'] AS sku FROM items",
        )
        .await;
        assert_eq!(found[0], "id <- trusted.orders.id");
        assert!(found[1].starts_with("sku <- trusted.orders.items | sku = "), "{}", found[1]);
        assert!(found[1].ends_with(" | items.item = UNNEST(orders.\"items\")"), "{}", found[1]);
        let found = origins(
            "WITH RECURSIVE up AS (
                SELECT city, parent, 1 AS depth FROM trusted.cities
                UNION ALL SELECT up.city, c.region, up.depth + 1 FROM up JOIN trusted.cities c ON c.city = up.parent
             ) SELECT city, parent, depth FROM up",
        )
        .await;
        assert!(found[0].starts_with("city <- trusted.cities.city"), "{}", found[0]);
        assert!(
            found[1].starts_with("parent <- trusted.cities.parent trusted.cities.region"),
            "{}",
            found[1]
        );
        assert!(found[2].starts_with("depth <-  |"), "{}", found[2]);
    }

    #[tokio::test]
    async fn joins_know_their_sides() {
        assert_eq!(
            origins(
                "SELECT o.city, c.city AS other, region FROM trusted.orders o FULL JOIN trusted.cities c ON o.id = 1"
            )
            .await
            .iter()
            .map(|line| line.split(" | ").next().unwrap().to_owned())
            .collect::<Vec<_>>(),
            ["city <- trusted.orders.city", "other <- trusted.cities.city", "region <- trusted.cities.region"]
        );
        assert_eq!(
            origins(
                "SELECT region FROM trusted.cities LEFT SEMI JOIN trusted.orders ON cities.city = orders.city"
            )
            .await,
            ["region <- trusted.cities.region"]
        );
        assert_eq!(
            origins("SELECT DISTINCT ON (city) city, price FROM trusted.orders ORDER BY city, id").await,
            ["city <- trusted.orders.city", "price <- trusted.orders.price"]
        );
        assert_eq!(
            origins("SELECT city, count(*) AS n FROM trusted.orders GROUP BY ROLLUP (city)").await[0],
            "city <- trusted.orders.city"
        );
    }
}
