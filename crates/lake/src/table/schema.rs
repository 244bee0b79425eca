//! From the types of a query to those that a Delta table of the lowest protocol has.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType},
};
use lagar_flow::{Error, Result, codes};

/// Characters that a column of a Delta table without column mapping must not have.
const FORBIDDEN: &[char] = &[' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='];

/// The columns that a table made from a query with `schema` has: everything nullable, and
/// - unsigned integers as the next wider signed one (`UInt64` as `Int64`: a bigger value fails the write),
/// - all kinds of strings and binaries as `Utf8` and `Binary`, dictionaries and run ends as their values,
/// - `Date64` as `Date32`, `Float16` as `Float32`, decimals of up to 38 digits as `Decimal128`,
/// - timestamps in microseconds,
/// - `Null` as `Utf8`.
///
/// A timestamp without a zone becomes an instant in UTC with the same digits. Delta has a type without
/// zone (`timestamp_ntz`), but it needs reader version 3 and writer version 7, which old readers refuse.
///
/// Fails with [`codes::SQL_PLAN`], naming every column, for times of day, intervals, unions, wider
/// decimals, and names that Delta does not allow.
pub fn delta_schema(schema: &Schema) -> Result<SchemaRef> {
    let mut problems = Vec::new();
    let mut fields: Vec<FieldRef> = Vec::with_capacity(schema.fields().len());
    if schema.fields().is_empty() {
        problems.push(Error::new(codes::SQL_PLAN, "a table needs at least one column"));
    }
    for field in schema.fields() {
        let name = field.name();
        if let Some(why) = name_problem(name) {
            problems.push(
                Error::new(codes::SQL_PLAN, format!("`{name}` cannot be the name of a column: {why}"))
                    .hint("give it another name with AS"),
            );
        } else if let Some(twin) = fields.iter().find(|f| f.name().eq_ignore_ascii_case(name)) {
            problems.push(
                Error::new(
                    codes::SQL_PLAN,
                    format!(
                        "two columns have the name `{name}` (`{}`); upper and lower case count as the same",
                        twin.name()
                    ),
                )
                .hint("give one of them another name with AS"),
            );
        }
        match delta_field(field) {
            Ok(field) => fields.push(field),
            Err(unfit) => problems.push(
                Error::new(
                    codes::SQL_PLAN,
                    format!("column `{name}` has {unfit}, which a table cannot hold"),
                )
                .hint(format!("convert it, for example CAST({name} AS TEXT)")),
            ),
        }
    }
    match Error::all(problems) {
        Some(error) => Err(error),
        None => Ok(Arc::new(Schema::new(fields))),
    }
}

fn name_problem(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("it is empty".into());
    }
    let bad = name.chars().find(is_forbidden)?;
    Some(format!("`{}` is not allowed", bad.escape_debug()))
}

fn is_forbidden(c: &char) -> bool {
    FORBIDDEN.contains(c) || c.is_control()
}

/// `name` as a column of a table may have it: `_` stands for what Delta does not allow, and for nothing at all.
pub fn column_name(name: &str) -> String {
    let allowed: String = name.chars().map(|c| if is_forbidden(&c) { '_' } else { c }).collect();
    if allowed.is_empty() { "_".to_owned() } else { allowed }
}

/// `Err` says what does not fit.
fn delta_field(field: &Field) -> Result<FieldRef, String> {
    Ok(Arc::new(Field::new(field.name(), delta_type(field.data_type())?, true)))
}

fn delta_type(data_type: &DataType) -> Result<DataType, String> {
    use DataType as T;
    Ok(match data_type {
        T::Boolean
        | T::Int8
        | T::Int16
        | T::Int32
        | T::Int64
        | T::Float32
        | T::Float64
        | T::Utf8
        | T::Binary
        | T::Date32 => data_type.clone(),
        T::UInt8 => T::Int16,
        T::UInt16 => T::Int32,
        T::UInt32 | T::UInt64 => T::Int64,
        T::Float16 => T::Float32,
        T::LargeUtf8 | T::Utf8View | T::Null => T::Utf8,
        T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => T::Binary,
        T::Date64 => T::Date32,
        T::Timestamp(..) => T::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        T::Decimal32(precision, scale)
        | T::Decimal64(precision, scale)
        | T::Decimal128(precision, scale)
        | T::Decimal256(precision, scale)
            if (1..=38).contains(precision) && *scale >= 0 && *scale <= *precision as i8 =>
        {
            T::Decimal128(*precision, *scale)
        }
        T::Dictionary(_, value) => delta_type(value)?,
        T::RunEndEncoded(_, values) => delta_type(values.data_type())?,
        T::List(item)
        | T::LargeList(item)
        | T::FixedSizeList(item, _)
        | T::ListView(item)
        | T::LargeListView(item) => {
            // The name that Parquet's specification and all readers give to the items of a list.
            T::List(Arc::new(Field::new("element", delta_type(item.data_type())?, true)))
        }
        T::Struct(fields) if !fields.is_empty() => {
            if let Some(field) = fields.iter().find(|f| name_problem(f.name()).is_some()) {
                return Err(format!("a field with the name `{}`", field.name()));
            }
            T::Struct(fields.iter().map(|f| delta_field(f)).collect::<Result<_, _>>()?)
        }
        T::Map(entries, sorted) => match entries.data_type() {
            T::Struct(pair) if pair.len() == 2 => {
                let key = Field::new("key", delta_type(pair[0].data_type())?, false);
                let value = Field::new("value", delta_type(pair[1].data_type())?, true);
                let pair = T::Struct(vec![key, value].into());
                T::Map(Arc::new(Field::new("key_value", pair, false)), *sorted)
            }
            _ => return Err(format!("the type {data_type}")),
        },
        unfit => return Err(format!("the type {unfit}")),
    })
}

/// `column` in the type of `field`, which comes from [`delta_schema`].
///
/// Fails with [`codes::SQL_EXECUTION`], naming the column, for a value that the type cannot hold.
pub(crate) fn to_delta(column: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    if column.data_type() == field.data_type() {
        return Ok(column.clone());
    }
    let strict = CastOptions { safe: false, ..Default::default() };
    let cast = match (column.data_type(), field.data_type()) {
        // The digits stay; Arrow would ask for the offset of each value's zone.
        (DataType::Timestamp(_, None), DataType::Timestamp(TimeUnit::Microsecond, Some(zone)))
            if **zone == *"UTC" =>
        {
            cast_with_options(column, &DataType::Timestamp(TimeUnit::Microsecond, None), &strict).map(
                |local| {
                    let local = local.as_primitive::<TimestampMicrosecondType>().clone();
                    Arc::new(local.with_timezone(zone.clone())) as ArrayRef
                },
            )
        }
        (_, wanted) => cast_with_options(column, wanted, &strict),
    };
    cast.map_err(|e| {
        Error::new(
            codes::SQL_EXECUTION,
            format!(
                "a value of column `{}` ({}) does not fit {}",
                field.name(),
                column.data_type(),
                field.data_type()
            ),
        )
        .caused_by(&e)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use arrow::array::{
        AsArray, DictionaryArray, ListArray, NullArray, RecordBatch, StringViewArray,
        TimestampNanosecondArray, UInt64Array,
    };
    use arrow::datatypes::{Int8Type, Int32Type, TimestampMicrosecondType};

    use super::*;

    fn of(fields: Vec<(&str, DataType)>) -> Schema {
        Schema::new(fields.into_iter().map(|(n, t)| Field::new(n, t, false)).collect::<Vec<_>>())
    }

    #[test]
    fn types_that_delta_lacks_become_the_nearest_that_it_has() {
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None])]);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("u", Arc::new(UInt64Array::from(vec![7]))),
            ("n", Arc::new(NullArray::new(1))),
            ("v", Arc::new(StringViewArray::from(vec!["ü"]))),
            ("d", Arc::new(DictionaryArray::<Int8Type>::from_iter(["x"]))),
            ("t", Arc::new(TimestampNanosecondArray::from(vec![1_500]))),
            ("l", Arc::new(list)),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let schema = delta_schema(&batch.schema()).unwrap();
        let stored: Vec<ArrayRef> =
            batch.columns().iter().zip(schema.fields()).map(|(c, f)| to_delta(c, f).unwrap()).collect();
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let types: Vec<DataType> = stored.iter().map(|c| c.data_type().clone()).collect();
        let list = DataType::List(Arc::new(Field::new("element", DataType::Int32, true)));
        assert_eq!(types, [DataType::Int64, DataType::Utf8, DataType::Utf8, DataType::Utf8, utc, list]);
        assert!(schema.fields().iter().all(|f| f.is_nullable()));
        assert_eq!(stored[2].as_string::<i32>().value(0), "ü");
        assert_eq!(stored[4].as_primitive::<TimestampMicrosecondType>().value(0), 1);
        assert_eq!(delta_schema(&schema).unwrap(), schema, "a stored schema stays as it is");
    }

    #[test]
    fn a_value_that_does_not_fit_is_named() {
        let columns: Vec<(&str, ArrayRef)> = vec![("big", Arc::new(UInt64Array::from(vec![u64::MAX])))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let schema = delta_schema(&batch.schema()).unwrap();
        let error = to_delta(batch.column(0), schema.field(0)).unwrap_err();
        assert_eq!(error.code(), codes::SQL_EXECUTION);
        assert!(error.message().contains("`big`"), "{error}");
    }

    #[test]
    fn every_column_that_cannot_be_stored_is_named() {
        let schema = of(vec![
            ("at", DataType::Time64(TimeUnit::Microsecond)),
            ("wide", DataType::Decimal256(50, 2)),
            ("a b", DataType::Int32),
            ("x", DataType::Int32),
            ("X", DataType::Int32),
            ("", DataType::Int32),
        ]);
        let error = delta_schema(&schema).unwrap_err();
        let all: Vec<&str> = error.each().map(|e| e.message()).collect();
        assert_eq!(all.len(), 5, "{all:?}");
        for (message, part) in all.iter().zip(["`at`", "`wide`", "`a b`", "`X`", "empty"]) {
            assert!(message.contains(part), "{message}");
        }
        assert!(delta_schema(&Schema::empty()).is_err());
    }
}
