//! Which files may hold a key that other files hold, told by what the log says about them.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, Schema};
use serde_json::Value;

use super::DataFile;

/// Those of `files` that may have a row whose values in `key` a row of `others` has, too. `schema` has the
/// columns of both. What the statistics do not tell for sure is in.
pub fn may_share(files: &[DataFile], others: &[DataFile], key: &[String], schema: &Schema) -> Vec<DataFile> {
    let wanted: Vec<Wanted> = key.iter().map(|column| Wanted::of(column, others, schema)).collect();
    files.iter().filter(|file| wanted.iter().all(|wanted| wanted.may_be_in(file))).cloned().collect()
}

/// The values of one column that are looked for.
enum Wanted {
    Any,
    /// Of a column that partitions the table.
    Folders(String, BTreeSet<Option<String>>),
    Between(String, DataType, Bound, Bound),
}

/// A bound as the log has it, of a type whose text or number has the order of its values.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
enum Bound {
    Whole(i64),
    Text(String),
}

impl Wanted {
    fn of(column: &str, files: &[DataFile], schema: &Schema) -> Self {
        let folders: Vec<Option<Option<String>>> = files.iter().map(|file| folder(file, column)).collect();
        if !folders.is_empty() && folders.iter().all(Option::is_some) {
            return Wanted::Folders(column.to_owned(), folders.into_iter().flatten().collect());
        }
        let Ok(field) = schema.field_with_name(column) else { return Wanted::Any };
        let bounds = files.iter().map(|file| range(file, column, field.data_type()));
        let all = bounds.reduce(|all, next| {
            let ((min, max), (low, high)) = (all?, next?);
            Some((if low < min { low } else { min }, if high > max { high } else { max }))
        });
        match all.flatten() {
            Some((min, max)) => Wanted::Between(column.to_owned(), field.data_type().clone(), min, max),
            None => Wanted::Any,
        }
    }

    fn may_be_in(&self, file: &DataFile) -> bool {
        match self {
            Wanted::Any => true,
            Wanted::Folders(column, wanted) => {
                folder(file, column).is_none_or(|value| wanted.contains(&value))
            }
            Wanted::Between(column, data_type, min, max) => match range(file, column, data_type) {
                Some((low, high)) => low <= *max && high >= *min,
                None => true,
            },
        }
    }
}

/// `Some` if `column` partitions the file's table.
fn folder(file: &DataFile, column: &str) -> Option<Option<String>> {
    file.partition.iter().find(|(name, _)| name == column).map(|(_, value)| value.clone())
}

fn range(file: &DataFile, column: &str, data_type: &DataType) -> Option<(Bound, Bound)> {
    let stats: Value = serde_json::from_str(file.stats.as_deref()?).ok()?;
    let bound = |of: &str| bound(&stats[of][column], data_type);
    Some((bound("minValues")?, bound("maxValues")?))
}

fn bound(value: &Value, data_type: &DataType) -> Option<Bound> {
    match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            value.as_i64().map(Bound::Whole)
        }
        // A text that was cut is a bound all the same: the lower one is cut, the upper one is raised.
        DataType::Utf8 => value.as_str().map(|text| Bound::Text(text.to_owned())),
        // Days and instants have the order of their texts as long as the year has four digits.
        DataType::Date32 | DataType::Timestamp(..) => {
            let text = value.as_str()?;
            let year = text.split('-').next().filter(|year| year.len() == 4);
            year.map(|_| Bound::Text(text.to_owned()))
        }
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::datatypes::Field;
    use serde_json::json;

    use super::*;

    fn file(path: &str, min: Value, max: Value, day: Option<&str>) -> DataFile {
        DataFile {
            path: path.to_owned(),
            bytes: 1,
            rows: 1,
            partition: day.map(|day| ("day".to_owned(), Some(day.to_owned()))).into_iter().collect(),
            stats: Some(json!({"numRecords": 1, "minValues": min, "maxValues": max}).to_string()),
            checksums: None,
        }
    }

    fn shared(files: &[DataFile], others: &[DataFile], key: &[&str]) -> Vec<String> {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("code", DataType::Utf8, true),
            Field::new("on", DataType::Date32, true),
            Field::new("price", DataType::Float64, true),
            Field::new("day", DataType::Utf8, true),
        ]);
        let key: Vec<String> = key.iter().map(ToString::to_string).collect();
        may_share(files, others, &key, &schema).into_iter().map(|file| file.path).collect()
    }

    #[test]
    fn only_files_whose_bounds_meet_are_looked_into() {
        let of = |path: &str, min: i64, max: i64| file(path, json!({"id": min}), json!({"id": max}), None);
        let files = [of("a", 1, 9), of("b", 10, 19), of("c", 20, 29)];
        assert_eq!(shared(&files, &[of("n", 19, 20)], &["id"]), ["b", "c"]);
        assert_eq!(shared(&files, &[of("n", 30, 31)], &["id"]), Vec::<String>::new());
        assert_eq!(shared(&files, &[of("n", 1, 1), of("m", 12, 12)], &["id"]), ["a", "b"], "from 1 to 12");
        assert_eq!(shared(&files, &[of("n", -100, -10)], &["id"]).len(), 0);
        // One of the files does not tell: it may hold anything.
        let silent = DataFile { stats: None, ..of("s", 0, 0) };
        assert_eq!(shared(&files, &[of("n", 1, 1), silent.clone()], &["id"]).len(), 3);
        assert_eq!(shared(&[silent], &[of("n", 1, 1)], &["id"]), ["s"]);
    }

    #[test]
    fn what_has_another_order_as_text_is_not_taken_by_it() {
        let of = |path: &str, column: &str, min: Value, max: Value| {
            file(path, json!({column: min}), json!({column: max}), None)
        };
        let text = [of("a", "code", json!("a"), json!("b")), of("c", "code", json!("c"), json!("d"))];
        assert_eq!(shared(&text, &[of("n", "code", json!("bb"), json!("bc"))], &["code"]).len(), 0);
        let on = |path: &str, min: &str, max: &str| of(path, "on", json!(min), json!(max));
        let days = [on("a", "2024-01-01", "2024-01-31"), on("b", "2024-02-01", "+12024-02-29")];
        assert_eq!(shared(&days, &[on("n", "2024-02-05", "2024-02-05")], &["on"]), ["b"]);
        assert_eq!(shared(&days, &[on("n", "2023-02-05", "+10000-01-01")], &["on"]).len(), 2);
        let price = [of("a", "price", json!(1.5), json!(2.5))];
        assert_eq!(shared(&price, &[of("n", "price", json!(9.5), json!(9.5))], &["price"]), ["a"]);
    }

    #[test]
    fn a_folder_says_what_is_in_it() {
        let of = |path: &str, day: &str| file(path, json!({}), json!({}), Some(day));
        let files = [of("a", "mon"), of("b", "tue"), of("c", "wed")];
        assert_eq!(shared(&files, &[of("n", "tue"), of("m", "sun")], &["day", "id"]), ["b"]);
        // Where the folder is not part of the key, a row may have moved to another.
        assert_eq!(shared(&files, &[of("n", "tue")], &["id"]).len(), 3);
    }
}
