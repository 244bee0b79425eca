//! Splitting rows by partition, and the names of partition folders.

use std::{collections::HashMap, fmt::Write, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, RecordBatch, UInt32Array},
    compute::take,
    datatypes::{DataType, FieldRef, Schema, SchemaRef},
    row::{OwnedRow, RowConverter, SortField},
    util::display::{ArrayFormatter, FormatOptions},
};
use lagar_flow::{Error, Result, codes};

use super::schema::{delta_schema, to_delta};

/// What Hive, Spark and Athena call the folder of the rows without a value.
const NULL_FOLDER: &str = "__HIVE_DEFAULT_PARTITION__";
/// The longest folder name that file systems take.
const FOLDER_BYTES_MAX: usize = 255;
/// What Hive escapes in a folder name, `:` among it. Others would be mistaken for an end of the name.
const ESCAPED: &[char] = &['"', '#', '%', '\'', '*', '/', ':', '=', '?', '\\', '{', '[', ']', '^', '\x7f'];

/// Column and value of each level of a partition; `None` is null.
pub(crate) type Partition = Vec<(String, Option<String>)>;

/// Splits batches by the values of the partition columns.
pub(crate) struct Splitter {
    /// Index and field of each partition column.
    by: Vec<(usize, FieldRef)>,
    rest: Vec<usize>,
    /// The columns that go into the files.
    pub file_schema: SchemaRef,
    converter: Option<RowConverter>,
    known: HashMap<OwnedRow, usize>,
    partitions: Vec<Partition>,
}

impl Splitter {
    /// `schema` comes from `delta_schema`; batches may still have the types that it was made from.
    /// Fails with [`codes::FRONT_MATTER`] for partition columns that do not exist or cannot be one.
    pub(crate) fn new(schema: &Schema, partition_by: &[String]) -> Result<Self> {
        let wrong = |why: String| Error::new(codes::FRONT_MATTER, format!("partition_by: {why}"));
        let mut by = Vec::new();
        let mut sort_fields = Vec::new();
        for name in partition_by {
            let index = schema.index_of(name).map_err(|_| {
                let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
                wrong(format!("there is no column `{name}`"))
                    .hint(format!("the columns are {}", names.join(", ")))
            })?;
            if by.iter().any(|(i, _)| *i == index) {
                return Err(wrong(format!("`{name}` stands there twice")));
            }
            let data_type = schema.field(index).data_type();
            if !fits(data_type) {
                return Err(wrong(format!(
                    "column `{name}` has the type {data_type}, which makes no folder names"
                ))
                .hint("partition by a date, a text, an integer or a boolean"));
            }
            by.push((index, schema.fields()[index].clone()));
            sort_fields.push(SortField::new(data_type.clone()));
        }
        let rest: Vec<usize> =
            (0..schema.fields().len()).filter(|i| by.iter().all(|(b, _)| b != i)).collect();
        if rest.is_empty() {
            return Err(wrong("no column is left for the files".into()));
        }
        let file_schema = schema.project(&rest).map_err(|e| Error::bug("no such columns").caused_by(&e))?;
        let converter = match by.is_empty() {
            true => None,
            false => Some(
                RowConverter::new(sort_fields)
                    .map_err(|e| Error::bug("rows cannot be compared").caused_by(&e))?,
            ),
        };
        Ok(Self {
            by,
            rest,
            file_schema: Arc::new(file_schema),
            converter,
            known: HashMap::new(),
            partitions: vec![],
        })
    }

    /// The partition with that number, as [`Splitter::split`] gave it.
    pub(crate) fn partition(&self, number: usize) -> Partition {
        self.partitions.get(number).cloned().unwrap_or_default()
    }

    /// The number of `partition`.
    pub(crate) fn number_of(&mut self, partition: &Partition) -> usize {
        // An empty text and a null have different rows and the same folder.
        match self.partitions.iter().position(|p| p == partition) {
            Some(number) => number,
            None => {
                self.partitions.push(partition.clone());
                self.partitions.len() - 1
            }
        }
    }

    /// The rows of `batch` by the number of their partition, without the partition columns.
    pub(crate) fn split(&mut self, batch: &RecordBatch) -> Result<Vec<(usize, RecordBatch)>> {
        let bug = |e: arrow::error::ArrowError| Error::bug("rows cannot be split by partition").caused_by(&e);
        let rest = batch.project(&self.rest).map_err(bug)?;
        let Some(converter) = &self.converter else { return Ok(vec![(0, rest)]) };
        let keys: Vec<ArrayRef> =
            self.by.iter().map(|(i, field)| to_delta(batch.column(*i), field)).collect::<Result<_>>()?;
        let rows = converter.convert_columns(&keys).map_err(bug)?;
        let mut order: Vec<usize> = Vec::new();
        let mut members: HashMap<usize, Vec<u32>> = HashMap::new();
        let mut last: Option<(usize, usize)> = None;
        for index in 0..batch.num_rows() {
            // Neighbours mostly share their partition: no lookup for them.
            let partition = match last {
                Some((row, partition)) if rows.row(row) == rows.row(index) => partition,
                _ => {
                    let key = rows.row(index).owned();
                    match self.known.get(&key) {
                        Some(partition) => *partition,
                        None => {
                            let partition = self.partition_of(&keys, index)?;
                            self.known.insert(key, partition);
                            partition
                        }
                    }
                }
            };
            last = Some((index, partition));
            let rows = members.entry(partition).or_insert_with(|| {
                order.push(partition);
                Vec::new()
            });
            rows.push(u32::try_from(index).map_err(|_| Error::bug("a batch has too many rows"))?);
        }
        order
            .into_iter()
            .map(|partition| {
                let rows = UInt32Array::from(members.remove(&partition).unwrap_or_default());
                if rows.len() == rest.num_rows() {
                    return Ok((partition, rest.clone()));
                }
                let columns = rest.columns().iter().map(|c| take(c, &rows, None)).collect::<Result<_, _>>();
                let part = RecordBatch::try_new(rest.schema(), columns.map_err(bug)?).map_err(bug)?;
                Ok((partition, part))
            })
            .collect()
    }

    /// The number of the partition that the values of one row name.
    fn partition_of(&mut self, keys: &[ArrayRef], row: usize) -> Result<usize> {
        let partition: Partition = self
            .by
            .iter()
            .zip(keys)
            .map(|((_, field), key)| Ok((field.name().clone(), text_of(key, row, field.name())?)))
            .collect::<Result<_>>()?;
        Ok(self.number_of(&partition))
    }
}

/// The values of a row in columns of a table, each as Delta's log has it; by row, in the columns' order.
///
/// Fails as [`crate::Lake::begin_table`] does for columns that cannot partition a table.
pub fn partition_values(batch: &RecordBatch) -> Result<Vec<Vec<Option<String>>>> {
    let schema = delta_schema(&batch.schema())?;
    let fields = schema.fields().iter().zip(batch.columns());
    let columns: Vec<(&FieldRef, ArrayRef)> =
        fields.map(|(field, column)| Ok((field, to_delta(column, field)?))).collect::<Result<_>>()?;
    let row = |row| columns.iter().map(|(field, column)| text_of(column, row, field.name())).collect();
    (0..batch.num_rows()).map(row).collect()
}

fn fits(data_type: &DataType) -> bool {
    data_type.is_signed_integer()
        || matches!(
            data_type,
            DataType::Utf8
                | DataType::Boolean
                | DataType::Date32
                | DataType::Timestamp(..)
                | DataType::Decimal128(..)
        )
}

/// A value as Delta's log has it. Delta knows no empty text in a partition: it is a null.
fn text_of(column: &ArrayRef, row: usize, name: &str) -> Result<Option<String>> {
    if column.is_null(row) {
        return Ok(None);
    }
    let options = FormatOptions::new().with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.6f"));
    let text = ArrayFormatter::try_new(column, &options)
        .and_then(|formatter| formatter.value(row).try_to_string())
        .map_err(|e| {
            Error::new(codes::SQL_EXECUTION, format!("a value of the partition column `{name}` has no text"))
                .caused_by(&e)
        })?;
    if text.is_empty() {
        return Ok(None);
    }
    if escape(name).len() + 1 + escape(&text).len() > FOLDER_BYTES_MAX {
        return Err(Error::new(
            codes::SQL_EXECUTION,
            format!(
                "a value of the partition column `{name}` has {} bytes, too many for a folder name",
                text.len()
            ),
        )
        .hint("partition by a shorter column"));
    }
    Ok(Some(text))
}

/// `a=1/b=x`, relative to the table's folder; empty without partition columns.
pub(crate) fn folder_of(partition: &Partition) -> String {
    let levels: Vec<String> = partition
        .iter()
        .map(|(name, value)| {
            let value = value.as_deref().map_or_else(|| NULL_FOLDER.to_owned(), escape);
            format!("{}={value}", escape(name))
        })
        .collect();
    levels.join("/")
}

/// As Hive: a few ASCII characters as `%XX`, the rest as it is.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_control() || ESCAPED.contains(&c) {
            let _ = write!(escaped, "%{:02X}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use arrow::array::{Date32Array, Int32Array, StringArray, TimestampMicrosecondArray};

    use super::*;

    #[test]
    fn rows_go_to_the_folder_of_their_values() {
        let city =
            [Some("a/b"), Some("ü"), None, Some(".."), Some(""), Some("a/b"), Some("k=v: 1%"), Some("..")];
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("n", Arc::new(Int32Array::from_iter_values(0..8))),
            ("city", Arc::new(StringArray::from(city.to_vec()))),
            ("day", Arc::new(Date32Array::from(vec![0; 8]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut splitter = Splitter::new(&batch.schema(), &["day".into(), "city".into()]).unwrap();
        let parts = splitter.split(&batch).unwrap();
        let folders: Vec<(String, usize)> =
            parts.iter().map(|(p, rows)| (folder_of(&splitter.partition(*p)), rows.num_rows())).collect();
        let expected = [
            ("day=1970-01-01/city=a%2Fb", 2),
            ("day=1970-01-01/city=ü", 1),
            ("day=1970-01-01/city=__HIVE_DEFAULT_PARTITION__", 1),
            ("day=1970-01-01/city=..", 2),
            ("day=1970-01-01/city=__HIVE_DEFAULT_PARTITION__", 1),
            ("day=1970-01-01/city=k%3Dv%3A 1%25", 1),
        ];
        // Null and the empty text are one partition.
        let mut merged: Vec<(String, usize)> = Vec::new();
        for (folder, rows) in expected {
            match merged.iter_mut().find(|(f, _)| f == folder) {
                Some((_, n)) => *n += rows,
                None => merged.push((folder.to_owned(), rows)),
            }
        }
        assert_eq!(folders, merged);
        assert_eq!(splitter.file_schema.fields().len(), 1);
    }

    #[test]
    fn an_instant_has_no_colon_in_its_folder() {
        let at = TimestampMicrosecondArray::from(vec![1_500_000]).with_timezone("UTC");
        let columns: Vec<(&str, ArrayRef)> =
            vec![("at", Arc::new(at)), ("n", Arc::new(Int32Array::from(vec![1])))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut splitter = Splitter::new(&batch.schema(), &["at".into()]).unwrap();
        splitter.split(&batch).unwrap();
        let partition = splitter.partition(0);
        assert_eq!(partition[0].1.as_deref(), Some("1970-01-01 00:00:01.500000"));
        assert_eq!(folder_of(&partition), "at=1970-01-01 00%3A00%3A01.500000");
    }

    #[test]
    fn a_partition_column_must_exist_and_leave_others() {
        let schema = Schema::new(vec![
            arrow::datatypes::Field::new("a", DataType::Utf8, true),
            arrow::datatypes::Field::new("f", DataType::Float64, true),
        ]);
        for (by, part) in [(vec!["b"], "no column `b`"), (vec!["f"], "Float64"), (vec!["a", "a"], "twice")] {
            let by: Vec<String> = by.into_iter().map(str::to_owned).collect();
            let error = Splitter::new(&schema, &by).err().unwrap();
            assert!(error.message().contains(part), "{error}");
        }
        let long = StringArray::from(vec!["x".repeat(300)]);
        assert!(text_of(&(Arc::new(long) as ArrayRef), 0, "a").unwrap_err().message().contains("300 bytes"));
    }
}
