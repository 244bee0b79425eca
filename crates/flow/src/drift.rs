//! How the columns of what came differ from those that were known.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, FieldRef, Fields, Schema};

use crate::schema::by_name;

/// What stands in the files of a load, whatever their columns are read as: every column and nested field
/// that is there, with the types that its values look like.
#[derive(Debug, Clone, Default)]
pub struct Present(BTreeMap<String, Place>);

#[derive(Debug, Clone, Default)]
struct Place {
    /// Each once; [`DataType::Null`] where only nulls were.
    types: Vec<DataType>,
    inside: Present,
}

/// A difference of two lists of columns at one place.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// With the fields it is in, `location.lat`; the element of a list is called `item`.
    pub column: String,
    /// `None`: it is new.
    pub before: Option<DataType>,
    pub after: DataType,
}

impl Present {
    /// Adds what a file has. A name with [`DataType::Null`] is there and never has a value.
    pub fn add(&mut self, found: &Schema) {
        self.add_fields(found.fields());
    }

    /// Whether nothing was seen at all: then nothing can be said to be missing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add_fields(&mut self, fields: &Fields) {
        for field in fields {
            let place = self.0.entry(field.name().clone()).or_default();
            if !place.types.contains(field.data_type()) {
                place.types.push(field.data_type().clone());
            }
            if let Some(inner) = fields_of(field.data_type()) {
                place.inside.add_fields(&inner);
            }
        }
    }

    /// What the values of the column at `path` look like that are not of the type `known`, or else what
    /// they look like; `None` if it is not there or has only nulls.
    pub fn type_beside(&self, path: &str, known: Option<&DataType>) -> Option<&DataType> {
        self.place(path)?.type_beside(known)
    }

    fn place(&self, path: &str) -> Option<&Place> {
        if let Some(place) = self.0.get(path) {
            return Some(place);
        }
        // A name may have dots of its own.
        path.match_indices('.').find_map(|(dot, _)| self.0.get(&path[..dot])?.inside.place(&path[dot + 1..]))
    }

    /// The columns of `known` that are not there, with their types. Of what lies in an object that is
    /// never one here nothing can be said.
    pub fn missing(&self, known: &Schema) -> Vec<(String, DataType)> {
        let mut missing = Vec::new();
        if !self.is_empty() {
            self.add_missing("", known.fields(), &mut missing);
        }
        missing
    }

    fn add_missing(&self, prefix: &str, known: &Fields, missing: &mut Vec<(String, DataType)>) {
        for field in known {
            let path = inside(prefix, field.name());
            match self.0.get(field.name()) {
                None => missing.push((path, field.data_type().clone())),
                Some(place) if place.types.iter().any(|found| same_shape(found, field.data_type())) => {
                    let inner = fields_of(field.data_type()).unwrap_or_default();
                    place.inside.add_missing(&path, &inner, missing);
                }
                Some(_) => {}
            }
        }
    }

    /// What is there and not in `known`: nothing is said of the fields in a new object.
    pub fn beyond(&self, known: &Schema) -> Vec<String> {
        let mut beyond = Vec::new();
        self.add_beyond("", known.fields(), &mut beyond);
        beyond
    }

    fn add_beyond(&self, prefix: &str, known: &Fields, beyond: &mut Vec<String>) {
        let known = by_name(known);
        for (name, place) in &self.0 {
            let path = inside(prefix, name);
            match known.get(name.as_str()) {
                None => beyond.push(path),
                // What is no object there is no place for fields.
                Some(field) if place.types.iter().any(|found| same_shape(found, field.data_type())) => {
                    let inner = fields_of(field.data_type()).unwrap_or_default();
                    place.inside.add_beyond(&path, &inner, beyond);
                }
                Some(_) => {}
            }
        }
    }

    /// The columns of `known` whose type is another here, with both: for files that declare their types.
    pub fn retyped(&self, known: &Schema) -> Vec<Change> {
        let mut changes = Vec::new();
        self.add_retyped("", known.fields(), &mut changes);
        changes
    }

    fn add_retyped(&self, prefix: &str, known: &Fields, changes: &mut Vec<Change>) {
        for field in known {
            let Some(place) = self.0.get(field.name()) else { continue };
            let (column, before) = (inside(prefix, field.name()), field.data_type());
            match place.type_beside(Some(before)) {
                None => {}
                Some(after) if same_shape(after, before) => {
                    let inner = fields_of(before).unwrap_or_default();
                    place.inside.add_retyped(&column, &inner, changes);
                }
                Some(after) if after == before => {}
                Some(after) => {
                    changes.push(Change { column, before: Some(before.clone()), after: after.clone() });
                }
            }
        }
    }
}

impl Place {
    fn type_beside(&self, known: Option<&DataType>) -> Option<&DataType> {
        let mut types = self.types.iter().filter(|found| **found != DataType::Null);
        types.clone().find(|found| Some(*found) != known).or(types.next())
    }
}

/// What is new or of another type in `next`; see [`crate::evolve`], whose result it usually is.
pub fn changes(known: &Schema, next: &Schema) -> Vec<Change> {
    let mut changes = Vec::new();
    add_changes("", known.fields(), next.fields(), &mut changes);
    changes
}

fn add_changes(prefix: &str, known: &Fields, next: &Fields, changes: &mut Vec<Change>) {
    let known = by_name(known);
    for field in next {
        let column = inside(prefix, field.name());
        let after = field.data_type().clone();
        let before = known.get(field.name().as_str()).map(|before| before.data_type().clone());
        match before {
            Some(before) if before == after => {}
            Some(before) if same_shape(&before, &after) => {
                if let (Some(before), Some(after)) = (fields_of(&before), fields_of(&after)) {
                    add_changes(&column, &before, &after, changes);
                }
            }
            before => changes.push(Change { column, before, after }),
        }
    }
}

fn inside(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

/// What lies in a list (called `item`) or an object.
fn fields_of(data_type: &DataType) -> Option<Fields> {
    match data_type {
        DataType::Struct(fields) => Some(fields.clone()),
        DataType::List(item) => {
            let item: FieldRef = item.as_ref().clone().with_name("item").into();
            Some([item].into_iter().collect())
        }
        _ => None,
    }
}

/// Both are objects, or both are lists.
fn same_shape(a: &DataType, b: &DataType) -> bool {
    matches!((a, b), (DataType::Struct(_), DataType::Struct(_)) | (DataType::List(_), DataType::List(_)))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;

    fn of(fields: &[(&str, DataType)]) -> Schema {
        Schema::new(fields.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>())
    }

    fn object(fields: &[(&str, DataType)]) -> DataType {
        DataType::Struct(of(fields).fields)
    }

    fn list(item: DataType) -> DataType {
        DataType::List(Field::new("item", item, true).into())
    }

    #[test]
    fn what_is_there_is_compared_place_by_place() {
        let known = of(&[
            ("a", DataType::Int64),
            ("o", object(&[("x", DataType::Int64), ("y", DataType::Utf8)])),
            ("l", list(object(&[("p", DataType::Int64)]))),
            ("gone", object(&[("z", DataType::Int64)])),
            ("flat", object(&[("z", DataType::Int64)])),
        ]);
        let mut present = Present::default();
        assert_eq!(present.missing(&known), [], "nothing was seen");
        present.add(&of(&[
            ("a", DataType::Int64),
            ("o", object(&[("x", DataType::Utf8), ("new", object(&[("deep", DataType::Int64)]))])),
            ("flat", DataType::Utf8),
        ]));
        present.add(&of(&[
            ("a", DataType::Utf8),
            ("l", list(object(&[("q", DataType::Int64)]))),
            ("b", DataType::Null),
            ("a.b", DataType::Int64),
        ]));
        let missing: Vec<String> = present.missing(&known).into_iter().map(|(path, _)| path).collect();
        assert_eq!(missing, ["o.y", "l.item.p", "gone"]);
        assert_eq!(present.beyond(&known), ["a.b", "b", "l.item.q", "o.new"]);
        assert_eq!(present.type_beside("a", Some(&DataType::Int64)), Some(&DataType::Utf8));
        assert_eq!(present.type_beside("a", Some(&DataType::Utf8)), Some(&DataType::Int64));
        assert_eq!(present.type_beside("b", None), None);
        assert_eq!(present.type_beside("a.b", None), Some(&DataType::Int64));
        assert_eq!(present.type_beside("o.new.deep", None), Some(&DataType::Int64));
        let retyped: Vec<String> = present.retyped(&known).into_iter().map(|change| change.column).collect();
        assert_eq!(retyped, ["a", "o.x", "flat"]);
    }

    #[test]
    fn growth_is_told_at_its_place() {
        let known = of(&[
            ("a", DataType::Int64),
            ("o", object(&[("x", DataType::Int64)])),
            ("l", list(DataType::Int64)),
        ]);
        let next = of(&[
            ("a", DataType::Float64),
            ("o", object(&[("x", DataType::Int64), ("y", DataType::Utf8)])),
            ("l", list(DataType::Float64)),
            ("n", object(&[("z", DataType::Int64)])),
        ]);
        let told: Vec<(String, bool)> = changes(&known, &next)
            .into_iter()
            .map(|change| (change.column, change.before.is_none()))
            .collect();
        let expected = [("a", false), ("o.y", true), ("l.item", false), ("n", true)];
        assert_eq!(told, expected.map(|(column, new)| (column.to_owned(), new)));
        assert_eq!(changes(&known, &known), []);
    }
}
