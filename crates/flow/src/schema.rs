//! Column lists as they are stored in manifests, and how they grow.

use std::{borrow::Cow, collections::HashMap, str::FromStr, sync::Arc};

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, codes};

/// A column in a manifest: readable by people, exact for us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    /// Arrow's name of a plain type, `list` or `struct`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The element of a list (one), the fields of a struct.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Column>,
}

pub fn columns_of(schema: &Schema) -> Vec<Column> {
    schema.fields().iter().map(|f| column_of(f)).collect()
}

fn column_of(field: &Field) -> Column {
    let (type_name, fields) = match field.data_type() {
        DataType::List(element) => ("list".to_owned(), vec![column_of(element)]),
        DataType::Struct(fields) => ("struct".to_owned(), fields.iter().map(|f| column_of(f)).collect()),
        plain => (plain.to_string(), Vec::new()),
    };
    Column { name: field.name().clone(), type_name, fields }
}

pub fn schema_of(columns: &[Column]) -> Result<SchemaRef> {
    let fields = columns.iter().map(field_of).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

fn field_of(column: &Column) -> Result<FieldRef> {
    let corrupt = || {
        Error::new(
            codes::LAKE_CORRUPT,
            format!("column `{}` has the unknown type `{}`", column.name, column.type_name),
        )
    };
    let data_type = match column.type_name.as_str() {
        "list" => DataType::List(field_of(column.fields.first().ok_or_else(corrupt)?)?),
        "struct" => DataType::Struct(column.fields.iter().map(field_of).collect::<Result<Fields>>()?),
        plain => DataType::from_str(plain).map_err(|_| corrupt())?,
    };
    Ok(Arc::new(Field::new(&column.name, data_type, true)))
}

/// The columns of `known` followed by the new ones of `next`; everything nullable.
/// Integers widen to floats, null takes any type, lists and structs grow inside. Anything else keeps
/// the known type: the values of `next` that do not fit it are the decoder's to reject.
pub fn evolve(known: &Schema, next: &Schema) -> Schema {
    Schema::new(evolve_fields(known.fields(), next.fields()))
}

fn evolve_fields(known: &Fields, next: &Fields) -> Vec<FieldRef> {
    let (by_name, next_by_name) = (by_name(known), by_name(next));
    let mut fields: Vec<FieldRef> = known
        .iter()
        .map(|field| match next_by_name.get(field.name().as_str()) {
            Some(other) => {
                Arc::new(Field::new(field.name(), evolve_type(field.data_type(), other.data_type()), true))
            }
            None => Arc::new(field.as_ref().clone().with_nullable(true)),
        })
        .collect();
    for field in next {
        if !by_name.contains_key(field.name().as_str()) {
            fields.push(Arc::new(field.as_ref().clone().with_nullable(true)));
        }
    }
    fields
}

/// The fields by their names: of thousands each would else be looked for among all.
pub(crate) fn by_name(fields: &Fields) -> HashMap<&str, &FieldRef> {
    fields.iter().rev().map(|field| (field.name().as_str(), field)).collect()
}

fn evolve_type(known: &DataType, next: &DataType) -> DataType {
    match (known, next) {
        (DataType::Null, other) => other.clone(),
        (DataType::Int64, DataType::Float64) => DataType::Float64,
        (DataType::List(a), DataType::List(b)) => {
            DataType::List(Arc::new(Field::new(a.name(), evolve_type(a.data_type(), b.data_type()), true)))
        }
        (DataType::Struct(a), DataType::Struct(b)) => DataType::Struct(evolve_fields(a, b).into()),
        (known, _) => known.clone(),
    }
}

/// The name that people use for a type: that of `columns:` where it has one there.
pub fn type_word(data_type: &DataType) -> Cow<'static, str> {
    match data_type {
        DataType::Boolean => "bool".into(),
        DataType::Int64 => "int".into(),
        DataType::Float64 => "double".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".into(),
        DataType::Date32 => "date".into(),
        DataType::Timestamp(_, None) => "timestamp".into(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "binary".into(),
        DataType::List(_) | DataType::LargeList(_) => "list".into(),
        DataType::Struct(_) => "object".into(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})").into(),
        other => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ColumnType;

    #[test]
    fn every_type_survives_a_manifest() {
        let plain =
            ["bool", "int", "double", "decimal(38,10)", "text", "date", "timestamp", "timestamptz", "binary"];
        let mut fields: Vec<Field> = plain
            .iter()
            .map(|t| Field::new(*t, ColumnType::try_from(t.to_string()).unwrap().data_type(), true))
            .collect();
        let point = DataType::Struct(vec![Field::new("lat", DataType::Utf8, true)].into());
        fields.push(Field::new("points", DataType::List(Arc::new(Field::new("item", point, true))), true));
        fields.push(Field::new("nothing", DataType::Null, true));
        fields.push(Field::new("small", DataType::UInt16, true));
        fields.push(Field::new("t", DataType::Time64(arrow::datatypes::TimeUnit::Microsecond), true));
        let schema = Schema::new(fields);
        let text = serde_json::to_string(&columns_of(&schema)).unwrap();
        let back = schema_of(&serde_json::from_str::<Vec<Column>>(&text).unwrap()).unwrap();
        assert_eq!(*back, schema, "{text}");
    }

    #[test]
    fn a_schema_only_grows() {
        let of = |fields: &[(&str, DataType)]| {
            Schema::new(fields.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>())
        };
        let known = of(&[("a", DataType::Int64), ("b", DataType::Utf8), ("n", DataType::Null)]);
        let next = of(&[
            ("c", DataType::Boolean),
            ("a", DataType::Float64),
            ("b", DataType::Int64),
            ("n", DataType::Date32),
        ]);
        let grown = evolve(&known, &next);
        let expected = of(&[
            ("a", DataType::Float64),
            ("b", DataType::Utf8),
            ("n", DataType::Date32),
            ("c", DataType::Boolean),
        ]);
        assert_eq!(grown, expected);
    }
}
