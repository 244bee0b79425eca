//! Which types and names the columns of a table can have.

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use lagar_flow::{Error, Result, codes};

/// Characters that no column of a Delta table may have in its name.
const FORBIDDEN: &[char] = &[' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '=', '.'];

/// `schema` with the types that a table stores instead; all problems at once.
pub(crate) fn stored_schema(schema: &Schema) -> Result<SchemaRef> {
    let mut errors = Vec::new();
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    let mut fields = Vec::new();
    for (index, field) in schema.fields().iter().enumerate() {
        let name = field.name().as_str();
        if name.is_empty() || name.contains(FORBIDDEN) {
            let message = format!("column {} of the result has no proper name: `{name}`", index + 1);
            errors.push(Error::new(codes::SQL_PLAN, message).hint("name it: `… AS some_name`"));
        } else if let Some(first) = seen.insert(name.to_lowercase(), name) {
            let message = if first == name {
                format!("the column `{name}` comes out twice")
            } else {
                format!("the columns `{first}` and `{name}` differ only in upper and lower case")
            };
            errors.push(Error::new(codes::SQL_PLAN, message).hint(format!("rename one: `… AS {name}_2`")));
        }
        match stored_type(field.data_type()) {
            Some(data_type) => {
                fields.push(Arc::new(Field::new(name, data_type, true)));
            }
            None => {
                let message = format!("the column `{name}` has the type {}, which no table can store", field.data_type());
                errors.push(Error::new(codes::SQL_PLAN, message).hint("CAST it, for example to TEXT or BIGINT"));
            }
        }
    }
    match Error::all(errors) {
        Some(error) => Err(error),
        None => Ok(Arc::new(Schema::new(fields))),
    }
}

/// What a value of `data_type` is stored as; `None` if it cannot be stored.
fn stored_type(data_type: &DataType) -> Option<DataType> {
    use DataType as T;
    Some(match data_type {
        T::Boolean | T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::Float32 | T::Float64 => data_type.clone(),
        T::Date32 | T::Utf8 | T::Binary => data_type.clone(),
        T::UInt8 => T::Int16,
        T::UInt16 => T::Int32,
        T::UInt32 | T::UInt64 => T::Int64,
        T::Float16 => T::Float32,
        T::Date64 => T::Date32,
        // A column of nothing but NULL has no type of its own.
        T::Null | T::LargeUtf8 | T::Utf8View => T::Utf8,
        T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => T::Binary,
        T::Timestamp(_, None) => T::Timestamp(TimeUnit::Microsecond, None),
        T::Timestamp(_, Some(_)) => T::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        T::Decimal32(precision, scale) | T::Decimal64(precision, scale) | T::Decimal128(precision, scale)
            if *scale >= 0 =>
        {
            T::Decimal128(*precision, *scale)
        }
        T::Decimal256(precision, scale) if *precision <= 38 && *scale >= 0 => T::Decimal128(*precision, *scale),
        T::Dictionary(_, value) => stored_type(value)?,
        T::List(item) | T::LargeList(item) | T::ListView(item) | T::LargeListView(item) | T::FixedSizeList(item, _) => {
            T::List(stored_field(item)?)
        }
        T::Struct(fields) => T::Struct(fields.iter().map(stored_field).collect::<Option<_>>()?),
        _ => return None,
    })
}

fn stored_field(field: &FieldRef) -> Option<FieldRef> {
    Some(Arc::new(Field::new(field.name(), stored_type(field.data_type())?, true)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn schema(fields: &[(&str, DataType)]) -> Schema {
        Schema::new(fields.iter().map(|(name, t)| Field::new(*name, t.clone(), false)).collect::<Vec<_>>())
    }

    #[test]
    fn types_become_those_that_every_reader_knows() {
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8View));
        let item = Arc::new(Field::new("item", DataType::UInt8, false));
        let stored = stored_schema(&schema(&[
            ("a", DataType::UInt64),
            ("b", DataType::Timestamp(TimeUnit::Nanosecond, None)),
            ("c", DataType::Null),
            ("d", dictionary),
            ("e", DataType::LargeList(item)),
        ]))
        .unwrap();
        let types: Vec<String> = stored.fields().iter().map(|f| f.data_type().to_string()).collect();
        assert_eq!(types[..4], ["Int64", "Timestamp(µs)", "Utf8", "Utf8"]);
        assert!(matches!(stored.field(4).data_type(), DataType::List(item) if *item.data_type() == DataType::Int16));
        assert!(stored.fields().iter().all(|f| f.is_nullable()));
    }

    #[test]
    fn every_bad_column_is_named() {
        let error = stored_schema(&schema(&[
            ("count(*)", DataType::Int64),
            ("a", DataType::Int64),
            ("A", DataType::Int64),
            ("i", DataType::Duration(TimeUnit::Second)),
        ]))
        .unwrap_err();
        let messages: Vec<&str> = error.each().map(|e| e.message()).collect();
        assert_eq!(messages.len(), 3, "{messages:?}");
        assert!(messages[0].contains("column 1") && messages[1].contains("upper and lower") && messages[2].contains("`i`"));
    }
}
