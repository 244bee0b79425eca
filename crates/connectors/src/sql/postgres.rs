//! Postgres, in its binary format. What has no Arrow type of its own is selected as text.

use std::{collections::HashMap, str::FromStr};

use arrow::datatypes::{DataType, TimeUnit};
use async_trait::async_trait;
use lagar_flow::Result;
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions, Connection, Executor, PgConnection, Row, SqlSafeStr,
    Statement as _, TypeInfo, ValueRef,
    postgres::{PgConnectOptions, PgRow, types::Oid},
};

use super::{
    CursorSql, Session,
    cursor::{CursorType, CursorValue, bound_date, bound_time},
    error::Failure,
    fit::NOT_UTF8,
    plan::{Decode, Described, Plan, Relation, Select, TableRef},
    quote::{Dialect, quote},
    sink::{RowDecoder, Sink},
    value::{Value, decimal_text},
};

/// Postgres counts from 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = 946_684_800_000_000;

pub(super) struct PostgresSession {
    connection: PgConnection,
}

impl PostgresSession {
    pub(super) async fn connect(url: &str) -> Result<Self, Failure> {
        let options = PgConnectOptions::from_str(url)?.application_name("lagar").disable_statement_logging();
        Ok(Self { connection: options.connect().await? })
    }

    /// The type modifiers of the columns of `relations`, by relation and number; domains are looked through.
    async fn modifiers(&mut self, relations: Vec<Oid>) -> Result<HashMap<(u32, i16), i32>, Failure> {
        let rows: Vec<(Oid, i16, i32)> = sqlx::query_as(
            "SELECT a.attrelid, a.attnum, CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE a.atttypmod END
             FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
             WHERE a.attrelid = ANY($1) AND a.attnum > 0",
        )
        .bind(relations)
        .fetch_all(&mut self.connection)
        .await?;
        Ok(rows.into_iter().map(|(relation, number, modifier)| ((relation.0, number), modifier)).collect())
    }

    async fn types(&mut self, oids: Vec<Oid>) -> Result<HashMap<u32, PgType>, Failure> {
        let rows: Vec<(Oid, String, bool)> = sqlx::query_as(
            "SELECT oid, typname::text, typcategory = 'A' FROM pg_catalog.pg_type WHERE oid = ANY($1)",
        )
        .bind(oids)
        .fetch_all(&mut self.connection)
        .await?;
        Ok(rows.into_iter().map(|(oid, name, is_array)| (oid.0, PgType { name, is_array })).collect())
    }
}

struct PgType {
    name: String,
    is_array: bool,
}

#[async_trait]
impl Session for PostgresSession {
    async fn begin(&mut self) -> Result<(), Failure> {
        // How an interval and the bytes of an array are written must not depend on who logs in.
        sqlx::raw_sql(
            "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
             SET LOCAL intervalstyle = 'postgres'; SET LOCAL bytea_output = 'hex'",
        )
        .execute(&mut self.connection)
        .await?;
        Ok(())
    }

    async fn tables(&mut self) -> Result<Vec<TableRef>, Failure> {
        // Whether a table is visible is asked of the present, the tables are those of the transaction's
        // beginning: null where one was dropped in between.
        let rows: Vec<(String, String, Option<bool>)> = sqlx::query_as(
            "SELECT n.nspname::text, c.relname::text, pg_catalog.pg_table_is_visible(c.oid)
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p')
               AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
             ORDER BY 1, 2",
        )
        .fetch_all(&mut self.connection)
        .await?;
        Ok(rows
            .into_iter()
            .filter_map(|(schema, name, visible)| {
                visible.map(|visible| TableRef { schema: Some(schema), name, visible })
            })
            .collect())
    }

    async fn describe(
        &mut self,
        relation: &Relation,
        _settled: &HashMap<String, DataType>,
    ) -> Result<Vec<Described>, Failure> {
        let statement =
            (&mut self.connection).prepare(AssertSqlSafe(relation.describe.clone()).into_sql_str()).await?;
        let found: Vec<(String, u32, String, Option<(u32, i16)>)> = statement
            .columns()
            .iter()
            .map(|column| {
                let type_info = column.type_info();
                let origin = column.relation_id().map(|oid| oid.0).zip(column.relation_attribute_no());
                let oid = type_info.oid().map_or(0, |oid| oid.0);
                (column.name().to_owned(), oid, type_info.name().to_owned(), origin)
            })
            .collect();
        drop(statement);
        let relations = found.iter().filter_map(|(.., origin)| origin.map(|(oid, _)| Oid(oid))).collect();
        let modifiers = self.modifiers(relations).await?;
        let types = self.types(found.iter().map(|(_, oid, ..)| Oid(*oid)).collect()).await?;
        found
            .into_iter()
            .map(|(name, oid, shown_type, origin)| {
                let modifier = origin.and_then(|origin| modifiers.get(&origin).copied());
                Ok(describe(name, oid, &shown_type, types.get(&oid), modifier)?)
            })
            .collect()
    }

    async fn primary_key(&mut self, table: &TableRef) -> Result<Vec<String>, Failure> {
        let names: Vec<(String,)> = sqlx::query_as(
            "SELECT a.attname::text
             FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisprimary
             JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, place) ON true
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
             WHERE n.nspname = $1 AND c.relname = $2 AND k.place <= i.indnkeyatts
             ORDER BY k.place",
        )
        .bind(table.schema.as_deref())
        .bind(&table.name)
        .fetch_all(&mut self.connection)
        .await?;
        Ok(names.into_iter().map(|(name,)| name).collect())
    }

    fn cursor_sql(&self, column: &Described, kind: CursorType) -> Result<CursorSql> {
        let name = format!("q.{}", quote(Dialect::Postgres, &column.name)?);
        let present = format!("{name} IS NOT NULL");
        Ok(match kind {
            // A uuid is ordered by its bytes, as its text is.
            CursorType::Text if column.type_name == "uuid" => {
                CursorSql { expression: name, parameter: "$1::uuid".to_owned(), present }
            }
            CursorType::Text => CursorSql {
                expression: format!("{name}::text COLLATE \"C\""),
                parameter: "$1::text".to_owned(),
                present,
            },
            CursorType::Decimal { .. } => {
                CursorSql { expression: name, parameter: "$1::numeric".to_owned(), present }
            }
            _ => CursorSql { expression: name, parameter: "$1".to_owned(), present },
        })
    }

    async fn number(&mut self, sql: String) -> Result<i64, Failure> {
        Ok(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.connection).await?)
    }

    async fn read(&mut self, select: &Select, plan: &Plan, sink: &mut Sink<'_>) -> Result<(), Failure> {
        let mut query = sqlx::query(AssertSqlSafe(select.sql.clone()));
        for bound in &select.bounds {
            query = match (bound.kind, &bound.value) {
                (CursorType::Date, value) => query.bind(bound_date(value)),
                (CursorType::Timestamp, value) => query.bind(bound_time(value)),
                (CursorType::TimestampTz, value) => query.bind(bound_time(value).map(|time| time.and_utc())),
                (CursorType::Decimal { scale, .. }, CursorValue::Int(i)) => {
                    query.bind(decimal_text(*i, scale))
                }
                (_, CursorValue::Int(i)) => query.bind(i64::try_from(*i).unwrap_or(i64::MIN)),
                (_, CursorValue::Float(f)) => query.bind(*f),
                (_, CursorValue::Text(text)) => query.bind(text.clone()),
            };
        }
        sink.drain(query.fetch(&mut self.connection), &BinaryValues(plan)).await
    }

    async fn close(self: Box<Self>) {
        let _ = self.connection.close().await;
    }
}

/// `modifier` is `atttypmod`, where the column is one of a table.
fn describe(
    name: String,
    oid: u32,
    shown_type: &str,
    pg_type: Option<&PgType>,
    modifier: Option<i32>,
) -> Result<Described> {
    let quoted = format!("q.{}", quote(Dialect::Postgres, &name)?);
    let (type_name, is_array) = pg_type.map_or((shown_type, false), |t| (t.name.as_str(), t.is_array));
    let timestamp = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    let as_text = format!("{quoted}::text");
    let mut note = None;
    let (expression, decode, data_type, cursor) = match oid {
        16 => (quoted, Decode::Bool, DataType::Boolean, None),
        17 => (quoted, Decode::Bytes, DataType::Binary, None),
        20 | 21 | 23 => (quoted, Decode::Int, DataType::Int64, Some(CursorType::Int)),
        // oid, xid: unsigned, and without a cast to a number for the second.
        26 => (format!("{quoted}::int8"), Decode::Int, DataType::Int64, None),
        700 | 701 => (quoted, Decode::Float, DataType::Float64, Some(CursorType::Float)),
        19 => (as_text, Decode::Text, DataType::Utf8, Some(CursorType::Text)),
        25 | 1043 => (quoted, Decode::Text, DataType::Utf8, Some(CursorType::Text)),
        // char(n) comes with its blanks, and is compared without them.
        1042 => (quoted, Decode::Text, DataType::Utf8, None),
        1082 => (quoted, Decode::Date, DataType::Date32, Some(CursorType::Date)),
        1114 => (quoted, Decode::Timestamp, timestamp(None), Some(CursorType::Timestamp)),
        1184 => (quoted, Decode::TimestampTz, timestamp(Some("UTC")), Some(CursorType::TimestampTz)),
        2950 => (as_text, Decode::Text, DataType::Utf8, Some(CursorType::Text)),
        // The cast alone would write `/32` behind each address.
        869 => (format!("abbrev({quoted})"), Decode::Text, DataType::Utf8, None),
        1700 => match modifier.and_then(numeric_of) {
            Some((precision, scale)) => (
                as_text,
                Decode::Text,
                DataType::Decimal128(precision, scale),
                Some(CursorType::Decimal { precision, scale }),
            ),
            None => {
                note = Some(format!(
                    "`{name}` is numeric without a known precision: read as text; `columns: {{{name}: \"decimal(38,9)\"}}` makes it a number"
                ));
                (as_text, Decode::Text, DataType::Utf8, None)
            }
        },
        // to_json keeps null apart from 'NULL', and nested arrays apart from text with braces.
        _ if is_array => (format!("to_json({quoted})::text"), Decode::Text, DataType::Utf8, None),
        _ if type_name == "citext" => (as_text, Decode::Text, DataType::Utf8, Some(CursorType::Text)),
        _ => (as_text, Decode::Text, DataType::Utf8, None),
    };
    Ok(Described { expression, decode, data_type, cursor, note, type_name: type_name.to_owned(), name })
}

/// Precision and scale out of a type modifier, where Arrow has such a decimal.
fn numeric_of(modifier: i32) -> Option<(u8, i8)> {
    let packed = modifier.checked_sub(4).filter(|packed| *packed >= 0)?;
    let precision = u8::try_from(packed >> 16).ok()?;
    // Eleven bits with a sign: since version 15 a scale may be negative.
    let scale = ((packed & 0x7ff) ^ 1024) - 1024;
    let scale = i8::try_from(scale).ok()?;
    ((1..=38).contains(&precision) && scale >= 0 && scale as u8 <= precision).then_some((precision, scale))
}

struct BinaryValues<'p>(&'p Plan);

impl RowDecoder<PgRow> for BinaryValues<'_> {
    fn decode<'r>(&self, row: &'r PgRow) -> Result<Vec<Value<'r>>, sqlx::Error> {
        let columns = self.0.columns.iter().enumerate();
        columns
            .map(|(index, column)| {
                let raw = row.try_get_raw(index)?;
                if raw.is_null() {
                    return Ok(Value::Null);
                }
                let bytes = raw.as_bytes().map_err(sqlx::Error::Decode)?;
                decode(bytes, column.described.decode).ok_or_else(|| {
                    let text = format!("column `{}` has {} bytes", column.described.name, bytes.len());
                    sqlx::Error::Decode(text.into())
                })
            })
            .collect()
    }
}

/// `None` if the bytes are not of that type at all.
fn decode(bytes: &[u8], decode: Decode) -> Option<Value<'_>> {
    let infinite = |negative: bool| Value::Unfit {
        reason: "infinite",
        text: if negative { "-infinity" } else { "infinity" }.into(),
    };
    Some(match decode {
        Decode::Bool => Value::Bool(*bytes.first()? != 0),
        Decode::Int => Value::Int(match bytes.len() {
            2 => i64::from(i16::from_be_bytes(bytes.try_into().ok()?)),
            4 => i64::from(i32::from_be_bytes(bytes.try_into().ok()?)),
            _ => i64::from_be_bytes(bytes.try_into().ok()?),
        }),
        Decode::Float => Value::Float(match bytes.len() {
            4 => f64::from(f32::from_be_bytes(bytes.try_into().ok()?)),
            _ => f64::from_be_bytes(bytes.try_into().ok()?),
        }),
        Decode::Bytes => Value::Bytes(bytes),
        Decode::Date => match i32::from_be_bytes(bytes.try_into().ok()?) {
            i32::MAX => infinite(false),
            i32::MIN => infinite(true),
            days => Value::Date(days.checked_add(EPOCH_DAYS)?),
        },
        Decode::Timestamp | Decode::TimestampTz => match i64::from_be_bytes(bytes.try_into().ok()?) {
            i64::MAX => infinite(false),
            i64::MIN => infinite(true),
            micros => match micros.checked_add(EPOCH_MICROS) {
                Some(micros) if decode == Decode::Timestamp => Value::Timestamp(micros),
                Some(micros) => Value::TimestampTz(micros),
                None => Value::Unfit {
                    reason: "too late",
                    text: format!("microsecond {micros} after 2000").into(),
                },
            },
        },
        Decode::Text | Decode::UInt | Decode::Bits | Decode::Stored => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.into()),
            Err(_) => Value::Unfit { reason: NOT_UTF8, text: String::from_utf8_lossy(bytes) },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_modifier_is_a_precision_and_a_scale() {
        let modifier = |precision: i32, scale: i32| ((precision << 16) | (scale & 0x7ff)) + 4;
        assert_eq!(numeric_of(modifier(10, 2)), Some((10, 2)));
        assert_eq!(numeric_of(modifier(38, 38)), Some((38, 38)));
        assert_eq!(numeric_of(modifier(39, 2)), None);
        assert_eq!(numeric_of(modifier(5, -2)), None);
        assert_eq!(numeric_of(modifier(3, 5)), None);
        assert_eq!(numeric_of(-1), None);
    }

    #[test]
    fn times_count_from_2000_and_infinity_is_no_time() {
        assert_eq!(decode(&0_i32.to_be_bytes(), Decode::Date), Some(Value::Date(10_957)));
        assert_eq!(
            decode(&0_i64.to_be_bytes(), Decode::Timestamp),
            Some(Value::Timestamp(946_684_800_000_000))
        );
        for (bytes, kind) in [
            (i32::MAX.to_be_bytes().to_vec(), Decode::Date),
            (i64::MIN.to_be_bytes().to_vec(), Decode::TimestampTz),
        ] {
            assert!(matches!(decode(&bytes, kind), Some(Value::Unfit { .. })));
        }
        assert_eq!(decode(&[1, 2, 3], Decode::Int), None);
    }
}
