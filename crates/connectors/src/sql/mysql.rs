//! MySQL and MariaDB, in the binary format of their prepared statements.

use std::{collections::HashMap, str::FromStr};

use arrow::datatypes::{DataType, TimeUnit};
use async_trait::async_trait;
use chrono::{NaiveDate, NaiveTime};
use lagar_flow::Result;
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions, Connection, Decode as SqlxDecode, Executor, MySql,
    MySqlConnection, Row, SqlSafeStr, Statement as _, Type, TypeInfo,
    mysql::{MySqlColumn, MySqlConnectOptions, MySqlRow},
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

pub(super) struct MySqlSession {
    connection: MySqlConnection,
}

impl MySqlSession {
    pub(super) async fn connect(url: &str) -> Result<Self, Failure> {
        let options = MySqlConnectOptions::from_str(url)?
            .charset("utf8mb4")
            .set_names(true)
            .timezone(Some("+00:00".to_owned()))
            // The user's query means here what it means elsewhere.
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .disable_statement_logging();
        Ok(Self { connection: options.connect().await? })
    }

    /// Precision and scale of the decimal columns of `table` (`schema.name`), by name.
    async fn decimals(&mut self, table: &str) -> Result<HashMap<String, (u8, i8)>, Failure> {
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(
            "SELECT CAST(column_name AS CHAR), CAST(numeric_precision AS SIGNED), CAST(numeric_scale AS SIGNED)
             FROM information_schema.columns
             WHERE CONCAT(table_schema, '.', table_name) = ? AND data_type = 'decimal'",
        )
        .bind(table)
        .fetch_all(&mut self.connection)
        .await?;
        Ok(rows
            .into_iter()
            .filter_map(|(name, precision, scale)| {
                let (precision, scale) = (u8::try_from(precision).ok()?, i8::try_from(scale).ok()?);
                (precision <= 38).then_some((name, (precision, scale)))
            })
            .collect())
    }
}

#[async_trait]
impl Session for MySqlSession {
    async fn begin(&mut self) -> Result<(), Failure> {
        for sql in [
            // Else the server hangs up on a reader whose lake is slow for a minute.
            "SET SESSION net_write_timeout = 3600",
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        ] {
            sqlx::raw_sql(sql).execute(&mut self.connection).await?;
        }
        Ok(())
    }

    async fn tables(&mut self) -> Result<Vec<TableRef>, Failure> {
        let rows: Vec<(String, String, Option<i64>)> = sqlx::query_as(
            "SELECT CAST(table_schema AS CHAR), CAST(table_name AS CHAR), CAST(table_schema = DATABASE() AS SIGNED)
             FROM information_schema.tables
             WHERE table_schema NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys')
             ORDER BY 1, 2",
        )
        .fetch_all(&mut self.connection)
        .await?;
        Ok(rows
            .into_iter()
            .map(|(schema, name, here)| TableRef { schema: Some(schema), name, visible: here == Some(1) })
            .collect())
    }

    async fn describe(
        &mut self,
        relation: &Relation,
        _settled: &HashMap<String, DataType>,
    ) -> Result<Vec<Described>, Failure> {
        let statement =
            (&mut self.connection).prepare(AssertSqlSafe(relation.describe.clone()).into_sql_str()).await?;
        let found: Vec<MySqlColumn> = statement.columns().to_vec();
        drop(statement);
        let mut tables: HashMap<String, HashMap<String, (u8, i8)>> = HashMap::new();
        let mut described = Vec::with_capacity(found.len());
        for column in found {
            let mut decimal = None;
            if column.type_info().name() == "DECIMAL" {
                // Of a view, the columns are its own and not those of the tables behind it.
                let of_table = relation.table.as_ref().and_then(|table| {
                    Some((format!("{}.{}", table.schema.as_ref()?, table.name), column.name().to_owned()))
                });
                let origin = of_table.or_else(|| {
                    let origin = column.origin();
                    origin.table_column().map(|origin| (origin.table.to_string(), origin.name.to_string()))
                });
                if let Some((table, name)) = origin {
                    if !tables.contains_key(&table) {
                        let decimals = self.decimals(&table).await?;
                        tables.insert(table.clone(), decimals);
                    }
                    decimal = tables[&table].get(&name).copied();
                }
            }
            described.push(describe(&column, decimal)?);
        }
        Ok(described)
    }

    async fn primary_key(&mut self, table: &TableRef) -> Result<Vec<String>, Failure> {
        let names: Vec<(String,)> = sqlx::query_as(
            "SELECT CAST(column_name AS CHAR) FROM information_schema.key_column_usage
             WHERE table_schema = ? AND table_name = ? AND constraint_name = 'PRIMARY'
             ORDER BY ordinal_position",
        )
        .bind(table.schema.as_deref())
        .bind(&table.name)
        .fetch_all(&mut self.connection)
        .await?;
        Ok(names.into_iter().map(|(name,)| name).collect())
    }

    fn cursor_sql(&self, column: &Described, kind: CursorType) -> Result<CursorSql> {
        let name = format!("q.{}", quote(Dialect::MySql, &column.name)?);
        let is_day = matches!(kind, CursorType::Date | CursorType::Timestamp | CursorType::TimestampTz);
        // A zero date is no value: its year is 0.
        let present = if is_day { format!("YEAR({name}) > 0") } else { format!("{name} IS NOT NULL") };
        Ok(match kind {
            CursorType::Text => CursorSql {
                expression: format!("CAST(CONVERT({name} USING utf8mb4) AS BINARY)"),
                parameter: "CAST(? AS BINARY)".to_owned(),
                present,
            },
            CursorType::Decimal { precision, scale } => CursorSql {
                expression: name,
                parameter: format!("CAST(? AS DECIMAL({precision},{scale}))"),
                present,
            },
            _ => CursorSql { expression: name, parameter: "?".to_owned(), present },
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

fn describe(column: &MySqlColumn, decimal: Option<(u8, i8)>) -> Result<Described> {
    let name = column.name().to_owned();
    let quoted = format!("q.{}", quote(Dialect::MySql, &name)?);
    let type_name = column.type_info().name().to_owned();
    let timestamp = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    let mut note = None;
    let mut expression = quoted.clone();
    let (decode, data_type, cursor) = match type_name.as_str() {
        // The name does not say which, but `tinyint(1) unsigned` goes up to 255.
        "BOOLEAN" if <u64 as Type<MySql>>::compatible(column.type_info()) => {
            (Decode::UInt, DataType::Boolean, None)
        }
        "BOOLEAN" => (Decode::Int, DataType::Boolean, None),
        "BIGINT UNSIGNED" => {
            let cursor = CursorType::Decimal { precision: 20, scale: 0 };
            (Decode::UInt, DataType::Decimal128(20, 0), Some(cursor))
        }
        "YEAR" => (Decode::UInt, DataType::Int64, Some(CursorType::Int)),
        name if name.ends_with(" UNSIGNED") => (Decode::UInt, DataType::Int64, Some(CursorType::Int)),
        "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => {
            (Decode::Int, DataType::Int64, Some(CursorType::Int))
        }
        "BIT" => (Decode::Bits, DataType::Int64, None),
        "FLOAT" | "DOUBLE" => (Decode::Float, DataType::Float64, Some(CursorType::Float)),
        "DATE" => (Decode::Date, DataType::Date32, Some(CursorType::Date)),
        "DATETIME" => (Decode::Timestamp, timestamp(None), Some(CursorType::Timestamp)),
        "TIMESTAMP" => (Decode::TimestampTz, timestamp(Some("UTC")), Some(CursorType::TimestampTz)),
        "DECIMAL" => match decimal {
            Some((precision, scale)) => (
                Decode::Text,
                DataType::Decimal128(precision, scale),
                Some(CursorType::Decimal { precision, scale }),
            ),
            None => {
                note = Some(format!(
                    "`{name}` is decimal without a known precision: read as text; `columns: {{{name}: \"decimal(38,9)\"}}` makes it a number"
                ));
                (Decode::Text, DataType::Utf8, None)
            }
        },
        "TIME" => {
            expression = format!("CAST({quoted} AS CHAR)");
            (Decode::Text, DataType::Utf8, None)
        }
        "GEOMETRY" => (Decode::Bytes, DataType::Binary, None),
        // An enum is compared by its number, a set by its bits.
        "ENUM" | "SET" | "JSON" | "NULL" => (Decode::Text, DataType::Utf8, None),
        // The driver's name for a type goes by the BINARY flag, which text with a `_bin` collation has too.
        _ if <str as Type<MySql>>::compatible(column.type_info()) => {
            (Decode::Text, DataType::Utf8, Some(CursorType::Text))
        }
        _ => (Decode::Bytes, DataType::Binary, None),
    };
    Ok(Described { expression, decode, data_type, cursor, note, type_name: type_name.to_lowercase(), name })
}

struct BinaryValues<'p>(&'p Plan);

impl RowDecoder<MySqlRow> for BinaryValues<'_> {
    fn decode<'r>(&self, row: &'r MySqlRow) -> Result<Vec<Value<'r>>, sqlx::Error> {
        let columns = self.0.columns.iter().enumerate();
        columns
            .map(|(index, column)| {
                let raw = row.try_get_raw(index)?;
                // Not `is_null`, which takes a zero date for null; decoding fails for null alone.
                let Ok(bytes) = <&[u8] as SqlxDecode<MySql>>::decode(raw) else { return Ok(Value::Null) };
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
    Some(match decode {
        Decode::Int | Decode::Bool => Value::Int(match bytes.len() {
            1 => i64::from(i8::from_le_bytes(bytes.try_into().ok()?)),
            2 => i64::from(i16::from_le_bytes(bytes.try_into().ok()?)),
            4 => i64::from(i32::from_le_bytes(bytes.try_into().ok()?)),
            _ => i64::from_le_bytes(bytes.try_into().ok()?),
        }),
        Decode::UInt => match bytes.len() {
            1 => Value::Int(i64::from(bytes[0])),
            2 => Value::Int(i64::from(u16::from_le_bytes(bytes.try_into().ok()?))),
            4 => Value::Int(i64::from(u32::from_le_bytes(bytes.try_into().ok()?))),
            _ => {
                let number = u64::from_le_bytes(bytes.try_into().ok()?);
                Value::Decimal { unscaled: i128::from(number), scale: 0 }
            }
        },
        Decode::Bits => {
            let number = bytes.iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
            Value::Decimal { unscaled: i128::from(number), scale: 0 }
        }
        Decode::Float => Value::Float(match bytes.len() {
            4 => f64::from(f32::from_le_bytes(bytes.try_into().ok()?)),
            _ => f64::from_le_bytes(bytes.try_into().ok()?),
        }),
        Decode::Bytes | Decode::Stored => Value::Bytes(bytes),
        Decode::Date | Decode::Timestamp | Decode::TimestampTz => moment(bytes, decode)?,
        Decode::Text => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.into()),
            Err(_) => Value::Unfit { reason: NOT_UTF8, text: String::from_utf8_lossy(bytes) },
        },
    })
}

/// Length, year (two bytes), month, day, hour, minute, second, microsecond (four); zeros at the end are left out.
fn moment(bytes: &[u8], decode: Decode) -> Option<Value<'static>> {
    let length = usize::from(*bytes.first()?);
    let mut parts = [0_u8; 11];
    parts.get_mut(..length)?.copy_from_slice(bytes.get(1..=length)?);
    let (year, month, day) = (u16::from_le_bytes([parts[0], parts[1]]), parts[2], parts[3]);
    let micros = u32::from_le_bytes([parts[7], parts[8], parts[9], parts[10]]);
    if parts == [0; 11] {
        return Some(Value::ZeroDate);
    }
    let date = NaiveDate::from_ymd_opt(i32::from(year), u32::from(month), u32::from(day));
    let time = NaiveTime::from_hms_micro_opt(parts[4].into(), parts[5].into(), parts[6].into(), micros);
    let Some((date, time)) = date.zip(time) else {
        // `2024-00-00`, which MySQL allows.
        let mut text = format!("{year:04}-{month:02}-{day:02}");
        if decode != Decode::Date {
            text.push_str(&format!(" {:02}:{:02}:{:02}", parts[4], parts[5], parts[6]));
        }
        if micros != 0 {
            text.push_str(&format!(".{micros:06}"));
        }
        return Some(Value::Unfit { reason: "not a day of the calendar", text: text.into() });
    };
    Some(match decode {
        Decode::Date => Value::Date(super::value::days_of_date(date)),
        Decode::TimestampTz => Value::TimestampTz(date.and_time(time).and_utc().timestamp_micros()),
        _ => Value::Timestamp(date.and_time(time).and_utc().timestamp_micros()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_come_in_four_lengths() {
        for (bytes, value) in [
            (&[0_u8][..], Value::ZeroDate),
            (&[4, 0xE8, 0x07, 1, 2], Value::Timestamp(1_704_153_600_000_000)),
            (&[7, 0xE8, 0x07, 1, 2, 3, 4, 5], Value::Timestamp(1_704_164_645_000_000)),
            (&[11, 0xE8, 0x07, 1, 2, 3, 4, 5, 0x40, 0xE2, 1, 0], Value::Timestamp(1_704_164_645_123_456)),
            (&[4, 0, 0, 0, 0], Value::ZeroDate),
        ] {
            assert_eq!(moment(bytes, Decode::Timestamp), Some(value));
        }
        assert!(matches!(moment(&[4, 0xE8, 0x07, 0, 0], Decode::Date), Some(Value::Unfit { .. })));
        assert_eq!(moment(&[7, 1], Decode::Date), None);
        assert_eq!(moment(&[], Decode::Date), None);
    }

    #[test]
    fn unsigned_numbers_keep_their_highest_bit() {
        let max = Value::Decimal { unscaled: i128::from(u64::MAX), scale: 0 };
        assert_eq!(decode(&[0xff; 8], Decode::UInt), Some(max.clone()));
        assert_eq!(decode(&[0xff; 8], Decode::Bits), Some(max));
        assert_eq!(decode(&[0xff], Decode::UInt), Some(Value::Int(255)));
        assert_eq!(decode(&[0xff], Decode::Int), Some(Value::Int(-1)));
    }
}
