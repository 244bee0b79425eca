//! SQLite. A column's declared type is a wish, and each value has a type of its own: values pass as
//! they are, and what does not fit the declared type is rejected later.

use std::{collections::HashMap, path::Path};

use arrow::datatypes::{DataType, TimeUnit};
use async_trait::async_trait;
use lagar_flow::{Error, Result, codes};
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions, Connection, Decode as SqlxDecode, Executor, Row, SqlSafeStr,
    Sqlite, SqliteConnection, Statement as _, TypeInfo, ValueRef,
    sqlite::{SqliteConnectOptions, SqliteRow},
};

use super::{
    CursorSql, Session,
    cursor::{CursorType, CursorValue},
    error::Failure,
    fit::NOT_UTF8,
    plan::{Decode, Described, Plan, Relation, Select, TableRef},
    quote::{Dialect, quote},
    sink::{RowDecoder, Sink},
    value::Value,
};

/// Columns looked at by one statement.
const LOOKED_AT_ONCE: usize = 50;

pub(super) struct SqliteSession {
    connection: SqliteConnection,
}

impl SqliteSession {
    pub(super) async fn open(project_dir: &Path, path: &Path) -> Result<Self, Failure> {
        let path = project_dir.join(path);
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => {
                return Err(Error::new(codes::SOURCE_IO, format!("{} is not a file", path.display()))
                    .hint("`url: sqlite:PATH` names the file of the database")
                    .into());
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::new(
                    codes::SOURCE_MISSING,
                    format!("there is no database file {}", path.display()),
                )
                .hint(format!(
                    "check the path in `url: sqlite:PATH`; a relative one starts at {}",
                    project_dir.display()
                ))
                .into());
            }
            Err(error) => {
                return Err(Error::new(codes::SOURCE_IO, format!("{} cannot be read", path.display()))
                    .caused_by(&error)
                    .into());
            }
        }
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .read_only(true)
            .create_if_missing(false)
            .disable_statement_logging();
        Ok(Self { connection: options.connect().await? })
    }

    async fn declared_types(&mut self, table: &str) -> Result<HashMap<String, String>, Failure> {
        let rows: Vec<(String, String)> = sqlx::query_as("SELECT name, type FROM pragma_table_xinfo(?)")
            .bind(table)
            .fetch_all(&mut self.connection)
            .await?;
        Ok(rows.into_iter().collect())
    }

    /// Looks at all values of the columns at `indices`, whose declared types do not say enough.
    async fn look(
        &mut self,
        relation: &Relation,
        columns: &[Described],
        indices: &[usize],
    ) -> Result<Vec<Look>, Failure> {
        let mut looks = Vec::with_capacity(indices.len());
        for part in indices.chunks(LOOKED_AT_ONCE) {
            let list: Vec<String> = part.iter().map(|index| look_sql(&columns[*index].expression)).collect();
            let sql = format!("SELECT {} {}", list.join(", "), relation.clause());
            let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut self.connection).await?;
            for at in 0..part.len() {
                let flag = |offset: usize| {
                    row.try_get::<Option<i64>, _>(at * LOOKS + offset).map(|n| n.unwrap_or(0) != 0)
                };
                looks.push(Look {
                    integers: flag(0)?,
                    reals: flag(1)?,
                    texts: flag(2)?,
                    blobs: flag(3)?,
                    all_zoned: flag(4)?,
                });
            }
        }
        Ok(looks)
    }
}

#[async_trait]
impl Session for SqliteSession {
    async fn begin(&mut self) -> Result<(), Failure> {
        // The first SELECT of a deferred transaction takes the lock that keeps its view of the file.
        sqlx::raw_sql("BEGIN DEFERRED; SELECT 1 FROM sqlite_schema LIMIT 1")
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    async fn tables(&mut self) -> Result<Vec<TableRef>, Failure> {
        let names: Vec<(String,)> = sqlx::query_as(
            "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
        )
        .fetch_all(&mut self.connection)
        .await?;
        Ok(names
            .into_iter()
            .map(|(name,)| TableRef { schema: Some("main".to_owned()), name, visible: true })
            .collect())
    }

    async fn describe(
        &mut self,
        relation: &Relation,
        settled: &HashMap<String, DataType>,
    ) -> Result<Vec<Described>, Failure> {
        let statement =
            (&mut self.connection).prepare(AssertSqlSafe(relation.describe.clone()).into_sql_str()).await?;
        let origins: Vec<(String, Option<(String, String)>)> = statement
            .columns()
            .iter()
            .map(|column| {
                let origin = column.origin();
                let origin =
                    origin.table_column().map(|origin| (origin.table.to_string(), origin.name.to_string()));
                (column.name().to_owned(), origin)
            })
            .collect();
        drop(statement);
        let mut tables: HashMap<String, HashMap<String, String>> = HashMap::new();
        let mut columns = Vec::with_capacity(origins.len());
        let mut wishes = Vec::with_capacity(origins.len());
        for (name, origin) in origins {
            let mut declared = String::new();
            if let Some((table, column)) = origin {
                if !tables.contains_key(&table) {
                    let types = self.declared_types(&table).await?;
                    tables.insert(table.clone(), types);
                }
                declared = tables[&table].get(&column).cloned().unwrap_or_default();
            }
            // Where the table says it clearly, it is asked each time: its type may have changed.
            let wish = match (wish_of(&declared), settled.get(&name)) {
                (wish @ Wish::Type(_), _) | (wish, None) => wish,
                (_, Some(data_type)) => Wish::Type(data_type.clone()),
            };
            columns.push(Described {
                expression: format!("q.{}", quote(Dialect::Sqlite, &name)?),
                name,
                decode: Decode::Stored,
                data_type: DataType::Utf8,
                type_name: if declared.is_empty() { "without a type".to_owned() } else { declared },
                cursor: Some(CursorType::Stored),
                note: None,
            });
            wishes.push(wish);
        }
        let unclear: Vec<usize> = wishes
            .iter()
            .enumerate()
            .filter(|(_, wish)| !matches!(wish, Wish::Type(_)))
            .map(|(i, _)| i)
            .collect();
        let looks = self.look(relation, &columns, &unclear).await?;
        for (index, look) in unclear.into_iter().zip(looks) {
            (columns[index].data_type, columns[index].note) = look.settle(&wishes[index], &columns[index]);
        }
        for (column, wish) in columns.iter_mut().zip(wishes) {
            if let Wish::Type(data_type) = wish {
                column.data_type = data_type;
            }
        }
        Ok(columns)
    }

    async fn primary_key(&mut self, table: &TableRef) -> Result<Vec<String>, Failure> {
        let names: Vec<(String,)> =
            sqlx::query_as("SELECT name FROM pragma_table_xinfo(?) WHERE pk > 0 ORDER BY pk")
                .bind(&table.name)
                .fetch_all(&mut self.connection)
                .await?;
        Ok(names.into_iter().map(|(name,)| name).collect())
    }

    fn cursor_sql(&self, column: &Described, _kind: CursorType) -> Result<CursorSql> {
        let column = &column.expression;
        Ok(CursorSql {
            expression: format!("{column} COLLATE BINARY"),
            // The plus takes the column's affinity off the comparison: stored values compare as they are.
            parameter: "+?".to_owned(),
            present: format!("{column} IS NOT NULL"),
        })
    }

    async fn number(&mut self, sql: String) -> Result<i64, Failure> {
        Ok(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.connection).await?)
    }

    async fn read(&mut self, select: &Select, _plan: &Plan, sink: &mut Sink<'_>) -> Result<(), Failure> {
        let mut query = sqlx::query(AssertSqlSafe(select.sql.clone()));
        for bound in &select.bounds {
            query = match &bound.value {
                CursorValue::Int(i) => query.bind(i64::try_from(*i).unwrap_or(i64::MIN)),
                CursorValue::Float(f) => query.bind(*f),
                CursorValue::Text(text) => query.bind(text.clone()),
            };
        }
        sink.drain(query.fetch(&mut self.connection), &StoredValues).await
    }

    async fn close(self: Box<Self>) {
        let _ = self.connection.close().await;
    }
}

struct StoredValues;

impl RowDecoder<SqliteRow> for StoredValues {
    fn decode<'r>(&self, row: &'r SqliteRow) -> Result<Vec<Value<'r>>, sqlx::Error> {
        (0..row.len()).map(|index| stored_value(row, index)).collect()
    }
}

fn stored_value(row: &SqliteRow, index: usize) -> Result<Value<'_>, sqlx::Error> {
    let value = row.try_get_raw(index)?;
    if value.is_null() {
        return Ok(Value::Null);
    }
    let type_info = value.type_info().into_owned();
    let decoded = match type_info.name() {
        "INTEGER" => <i64 as SqlxDecode<Sqlite>>::decode(value).map(Value::Int),
        "REAL" => <f64 as SqlxDecode<Sqlite>>::decode(value).map(Value::Float),
        "TEXT" => match <&str as SqlxDecode<Sqlite>>::decode(value) {
            Ok(text) => Ok(Value::Text(text.into())),
            Err(_) => {
                let bytes = <&[u8] as SqlxDecode<Sqlite>>::decode(row.try_get_raw(index)?);
                bytes.map(|bytes| Value::Unfit { reason: NOT_UTF8, text: String::from_utf8_lossy(bytes) })
            }
        },
        _ => <&[u8] as SqlxDecode<Sqlite>>::decode(value).map(Value::Bytes),
    };
    decoded.map_err(sqlx::Error::Decode)
}

/// What a declared type says.
#[derive(Debug, Clone, PartialEq)]
enum Wish {
    Type(DataType),
    /// A date or time, if its values are text.
    Time(DataType),
    /// A number of whatever kind.
    Number,
    Nothing,
}

fn wish_of(declared: &str) -> Wish {
    let declared = declared.trim().to_ascii_uppercase();
    let (word, arguments) = match declared.split_once('(') {
        Some((word, rest)) => (word.trim(), rest.split_once(')').map(|(arguments, _)| arguments)),
        None => (declared.as_str(), None),
    };
    let timestamp = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    match word {
        "" | "ANY" => Wish::Nothing,
        "BOOLEAN" | "BOOL" => Wish::Type(DataType::Boolean),
        "DATE" => Wish::Time(DataType::Date32),
        "DATETIME" | "TIMESTAMP" => Wish::Time(timestamp(None)),
        "TIMESTAMPTZ" | "TIMESTAMP WITH TIME ZONE" => Wish::Time(timestamp(Some("UTC"))),
        "DECIMAL" | "NUMERIC" => arguments.and_then(decimal_of).map_or(Wish::Number, Wish::Type),
        "UUID" | "JSON" | "TIME" => Wish::Type(DataType::Utf8),
        // SQLite's own rules of affinity, in its order.
        word if word.contains("INT") => Wish::Type(DataType::Int64),
        word if ["CHAR", "CLOB", "TEXT"].iter().any(|part| word.contains(part)) => Wish::Type(DataType::Utf8),
        word if word.contains("BLOB") => Wish::Type(DataType::Binary),
        word if ["REAL", "FLOA", "DOUB"].iter().any(|part| word.contains(part)) => {
            Wish::Type(DataType::Float64)
        }
        _ => Wish::Number,
    }
}

/// `10,2` → decimal(10,2); a precision alone has no digits behind the point.
fn decimal_of(arguments: &str) -> Option<DataType> {
    let (precision, scale) = arguments.split_once(',').unwrap_or((arguments, "0"));
    let (precision, scale): (u8, i8) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
    let fits = (1..=38).contains(&precision) && scale >= 0 && i16::from(scale) <= i16::from(precision);
    fits.then_some(DataType::Decimal128(precision, scale))
}

/// What types a column's values have.
struct Look {
    integers: bool,
    reals: bool,
    texts: bool,
    blobs: bool,
    /// Every text ends with a time zone.
    all_zoned: bool,
}

/// Results of [`look_sql`] for each column.
const LOOKS: usize = 5;

fn look_sql(column: &str) -> String {
    let is = |name: &str| format!("MAX(TYPEOF({column}) = '{name}')");
    let zoned = format!(
        "MIN(CASE WHEN TYPEOF({column}) = 'text' THEN {column} GLOB '*[0-9]Z' OR {column} GLOB '*:*[+-][0-9][0-9]:[0-9][0-9]' END)"
    );
    [is("integer"), is("real"), is("text"), is("blob"), zoned].join(", ")
}

impl Look {
    fn settle(&self, wish: &Wish, column: &Described) -> (DataType, Option<String>) {
        let numbers = self.integers || self.reals;
        let found = match (self.integers, self.reals, self.texts, self.blobs) {
            (true, false, false, false) => DataType::Int64,
            (_, true, false, false) => DataType::Float64,
            (false, false, false, true) => DataType::Binary,
            _ => DataType::Utf8,
        };
        match wish {
            Wish::Time(DataType::Timestamp(unit, None)) if self.texts && self.all_zoned => {
                (DataType::Timestamp(*unit, Some("UTC".into())), None)
            }
            Wish::Time(_) if numbers && !self.texts => {
                let note = format!(
                    "`{}` is declared {} but holds numbers: read as {found}; convert it in SQL",
                    column.name, column.type_name
                );
                (found, Some(note))
            }
            Wish::Time(data_type) => (data_type.clone(), None),
            Wish::Number if !(numbers || self.texts || self.blobs) => (DataType::Float64, None),
            _ => {
                let kinds = [numbers, self.texts, self.blobs].iter().filter(|kind| **kind).count();
                let note = (kinds > 1).then(|| {
                    format!(
                        "`{}` is {} and holds values of several types: read as text",
                        column.name, column.type_name
                    )
                });
                (found, note)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_follow_the_words_that_people_write() {
        let timestamp = DataType::Timestamp(TimeUnit::Microsecond, None);
        for (declared, wish) in [
            ("INTEGER", Wish::Type(DataType::Int64)),
            ("unsigned big int", Wish::Type(DataType::Int64)),
            ("VARCHAR(255)", Wish::Type(DataType::Utf8)),
            ("double precision", Wish::Type(DataType::Float64)),
            ("BLOB", Wish::Type(DataType::Binary)),
            ("bool", Wish::Type(DataType::Boolean)),
            ("decimal(10, 2)", Wish::Type(DataType::Decimal128(10, 2))),
            ("NUMERIC(5)", Wish::Type(DataType::Decimal128(5, 0))),
            ("NUMERIC(50,2)", Wish::Number),
            ("NUMERIC", Wish::Number),
            ("MONEY", Wish::Number),
            ("DATE", Wish::Time(DataType::Date32)),
            ("DATETIME", Wish::Time(timestamp)),
            ("", Wish::Nothing),
        ] {
            assert_eq!(wish_of(declared), wish, "{declared}");
        }
    }
}
