//! What a read asks for: the table, its columns with their types, and the statement.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use lagar_flow::{ColumnType, Error, Note, Result, codes, evolve};

use super::{
    config::Subject,
    cursor::{CursorType, CursorValue},
    quote::{Dialect, quote},
};
use crate::decode::NewColumns;

/// How the bytes of a column become a [`super::value::Value`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decode {
    Bool,
    Int,
    /// MySQL's unsigned integers.
    UInt,
    /// MySQL's `bit(n)`, as a number.
    Bits,
    Float,
    Text,
    Bytes,
    Date,
    Timestamp,
    TimestampTz,
    /// SQLite: each value says what it is.
    Stored,
}

/// A column as the database describes it.
#[derive(Debug, Clone)]
pub(super) struct Described {
    pub(super) name: String,
    /// What to select: the column, or the column as text.
    pub(super) expression: String,
    pub(super) decode: Decode,
    pub(super) data_type: DataType,
    /// The database's name of the type, for messages.
    pub(super) type_name: String,
    /// `None` if its values cannot be put in an order that we know.
    pub(super) cursor: Option<CursorType>,
    pub(super) note: Option<String>,
}

/// A column as it is written.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) described: Described,
    pub(super) target: DataType,
    /// Neither known nor asked for where columns do not grow: it is written, and not read.
    pub(super) is_left_out: bool,
}

/// A table or view of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableRef {
    /// `None` where the dialect has none.
    pub(super) schema: Option<String>,
    pub(super) name: String,
    /// It can be named without its schema.
    pub(super) visible: bool,
}

impl TableRef {
    fn full_name(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.name),
            None => self.name.clone(),
        }
    }

    /// As a user would write it.
    fn shown(&self) -> String {
        if self.visible { self.name.clone() } else { self.full_name() }
    }
}

/// What stands behind FROM. Its columns are named `q.…`.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    pub(super) table: Option<TableRef>,
    /// Without the alias.
    from: String,
    /// A statement with the same columns, to be described.
    pub(super) describe: String,
}

impl Relation {
    /// Finds the table among `tables`, or takes the query as it is.
    pub(super) fn resolve(subject: &Subject, dialect: Dialect, tables: &[TableRef]) -> Result<Self> {
        let name = match subject {
            // The line break ends a comment that the query may end with.
            Subject::Query(query) => {
                return Ok(Self { table: None, from: format!("({query}\n)"), describe: query.clone() });
            }
            Subject::Table(name) => name,
        };
        // SQLite compares names without case.
        let same =
            |a: &str| if dialect == Dialect::Sqlite { a.eq_ignore_ascii_case(name) } else { a == name };
        let table = tables
            .iter()
            .find(|table| table.visible && same(&table.name))
            .or_else(|| tables.iter().find(|table| same(&table.full_name())))
            .ok_or_else(|| unknown_table(name, tables))?;
        let mut from = quote(dialect, &table.name)?;
        if let Some(schema) = &table.schema {
            from = format!("{}.{from}", quote(dialect, schema)?);
        }
        Ok(Self { table: Some(table.clone()), describe: format!("SELECT * FROM {from}"), from })
    }

    /// `FROM …` with the alias.
    pub(super) fn clause(&self) -> String {
        format!("FROM {} AS q", self.from)
    }
}

fn unknown_table(name: &str, tables: &[TableRef]) -> Error {
    const LISTED: usize = 10;
    let names: Vec<String> = tables.iter().map(TableRef::shown).collect();
    let error = Error::new(codes::DATABASE, format!("the database has no table `{}`", short(name)));
    if names.is_empty() {
        return error.hint("this user sees no table at all; does `url` name the right database?");
    }
    match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => {
            let more = if names.len() > LISTED { ", …" } else { "" };
            error.hint(format!("its tables are {}{more}", names[..names.len().min(LISTED)].join(", ")))
        }
    }
}

/// The longest name that is shown whole, and compared with others: the comparison takes the product of both lengths.
const NAME_CHARS_MAX: usize = 200;

/// `name` as a message shows it.
fn short(name: &str) -> String {
    match name.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

/// The candidate that `name` may have been meant to be.
pub(super) fn nearest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    if name.chars().count() > NAME_CHARS_MAX {
        return None;
    }
    let name = name.to_lowercase();
    let allowed = (name.chars().count() / 3).max(2);
    candidates
        .map(|candidate| {
            let lower = candidate.to_lowercase();
            // `orders` is also near to `shop.orders`.
            let bare = lower.rsplit_once('.').map_or(lower.as_str(), |(_, bare)| bare);
            (
                strsim::damerau_levenshtein(&name, &lower).min(strsim::damerau_levenshtein(&name, bare)),
                candidate,
            )
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The columns of a read.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) columns: Vec<Column>,
    /// Of the files that are written.
    pub(super) schema: SchemaRef,
    /// The columns of `schema` that are read.
    pub(super) read: SchemaRef,
    /// The columns as the database has them.
    pub(super) found: SchemaRef,
    pub(super) notes: Vec<Note>,
}

impl Plan {
    /// Asked types win; else a column keeps the type that its earlier loads have.
    pub(super) fn new(
        described: Vec<Described>,
        asked: &BTreeMap<String, ColumnType>,
        known: Option<&SchemaRef>,
        new_columns: NewColumns,
    ) -> Result<Self> {
        let mut names = HashSet::new();
        if let Some(twice) = described.iter().find(|column| !names.insert(column.name.as_str())) {
            return Err(Error::new(codes::DATABASE, format!("two columns are called `{}`", twice.name))
                .hint("give them different names in the query: SELECT a.id AS a_id, b.id AS b_id"));
        }
        let grows = new_columns == NewColumns::Take;
        let mut notes: Vec<Note> = asked
            .keys()
            .filter(|name| !names.contains(name.as_str()))
            .map(|name| Note(format!("`columns:` asks a type for `{name}`, which is not a column")))
            .collect();
        let columns: Vec<Column> = described
            .into_iter()
            .map(|column| {
                let target = match asked.get(&column.name) {
                    Some(asked) => asked.data_type(),
                    None => {
                        notes.extend(column.note.clone().map(Note));
                        stable_type(&column, known, grows, &mut notes)
                    }
                };
                let is_known = known.is_some_and(|known| known.fields().find(&column.name).is_some());
                let is_left_out = !grows && !is_known && !asked.contains_key(&column.name);
                Column { described: column, target, is_left_out }
            })
            .collect();
        let field = |column: &Column, data_type: &DataType| {
            Field::new(&column.described.name, data_type.clone(), true)
        };
        let schema: Vec<Field> = columns.iter().map(|c| field(c, &c.target)).collect();
        let kept = columns.iter().filter(|c| !c.is_left_out);
        let read: Vec<Field> = kept.map(|c| field(c, &c.target)).collect();
        let found: Vec<Field> = columns.iter().map(|c| field(c, &c.described.data_type)).collect();
        let [schema, read, found] = [schema, read, found].map(|fields| Arc::new(Schema::new(fields)));
        Ok(Self { columns, schema, read, found, notes })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.described.name.clone()).collect()
    }

    /// The place of the column `name`, which `key` of the project file asks for.
    pub(super) fn index(&self, name: &str, key: &str) -> Result<usize> {
        let names = self.names();
        names.iter().position(|column| column == name).ok_or_else(|| {
            let error = Error::new(
                codes::DATABASE,
                format!("`{key}` names the column `{}`, which does not exist", short(name)),
            );
            match nearest(name, names.iter().map(String::as_str)) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("the columns are {}", names.join(", "))),
            }
        })
    }
}

fn stable_type(
    column: &Described,
    known: Option<&SchemaRef>,
    grows: bool,
    notes: &mut Vec<Note>,
) -> DataType {
    let now = &column.data_type;
    let Some(before) = known.and_then(|known| known.field_with_name(&column.name).ok()) else {
        return now.clone();
    };
    if !grows {
        return before.data_type().clone();
    }
    let of = |data_type: &DataType| Schema::new(vec![Field::new(&column.name, data_type.clone(), true)]);
    let stable = evolve(&of(before.data_type()), &of(now)).field(0).data_type().clone();
    if stable != *now {
        notes.push(Note(format!(
            "`{}` is {} in the database and stays {stable} as in its earlier loads; values that do not fit are rejected",
            column.name, column.type_name
        )));
    }
    stable
}

/// A value to compare a column with.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    pub(super) kind: CursorType,
    pub(super) value: CursorValue,
}

/// A statement and the values to bind, in the order of their places.
#[derive(Debug, Clone)]
pub(super) struct Select {
    pub(super) sql: String,
    pub(super) bounds: Vec<Bound>,
}

/// `SELECT` of all columns; `condition` and `order` are expressions of the dialect.
pub(super) fn select_sql(
    plan: &Plan,
    relation: &Relation,
    condition: Option<&str>,
    order: &[String],
) -> String {
    let list: Vec<&str> = plan.columns.iter().map(|column| column.described.expression.as_str()).collect();
    let mut sql = format!("SELECT {} {}", list.join(", "), relation.clause());
    if let Some(condition) = condition {
        sql.push_str(" WHERE ");
        sql.push_str(condition);
    }
    if !order.is_empty() {
        sql.push_str(" ORDER BY ");
        sql.push_str(&order.join(", "));
    }
    sql
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn table(schema: &str, name: &str, visible: bool) -> TableRef {
        TableRef { schema: Some(schema.into()), name: name.into(), visible }
    }

    #[test]
    fn a_table_is_found_with_and_without_its_schema() {
        let tables =
            [table("public", "orders", true), table("old", "orders", false), table("public", "a.b", true)];
        let from = |name: &str| {
            Relation::resolve(&Subject::Table(name.into()), Dialect::Postgres, &tables).map(|r| r.from)
        };
        assert_eq!(from("orders").unwrap(), r#""public"."orders""#);
        assert_eq!(from("old.orders").unwrap(), r#""old"."orders""#);
        assert_eq!(from("a.b").unwrap(), r#""public"."a.b""#);
        let error = from("ordrs").unwrap_err();
        assert_eq!(error.hint_text(), Some("did you mean `orders`?"));
        let error = from("nothing like it").unwrap_err();
        assert_eq!(error.hint_text(), Some("its tables are orders, old.orders, a.b"));
    }

    #[test]
    fn a_column_keeps_its_type_and_an_asked_type_wins() {
        let column = |name: &str, data_type: DataType| Described {
            name: name.into(),
            expression: String::new(),
            decode: Decode::Text,
            data_type,
            type_name: "t".into(),
            cursor: None,
            note: None,
        };
        let known: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("b", DataType::Int64, true),
        ]));
        let described =
            vec![column("a", DataType::Float64), column("b", DataType::Utf8), column("c", DataType::Utf8)];
        let asked = BTreeMap::from([("c".to_owned(), ColumnType::Double), ("z".to_owned(), ColumnType::Int)]);
        let plan = Plan::new(described, &asked, Some(&known), NewColumns::Take).unwrap();
        let targets: Vec<&DataType> = plan.columns.iter().map(|c| &c.target).collect();
        assert_eq!(targets, [&DataType::Float64, &DataType::Int64, &DataType::Float64]);
        assert_eq!(plan.notes.len(), 2, "{:?}", plan.notes);
        let twice = vec![column("a", DataType::Utf8), column("a", DataType::Utf8)];
        assert!(Plan::new(twice, &BTreeMap::new(), None, NewColumns::Take).is_err());
    }
}
