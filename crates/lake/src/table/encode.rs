//! Rows to Parquet bytes, the columns side by side on several threads. Nothing here is async.

use std::{
    cmp::Reverse,
    collections::{HashSet, VecDeque},
    sync::{Mutex, PoisonError},
};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{DataType, FieldRef, Float32Type, Float64Type, SchemaRef},
    row::{RowConverter, SortField},
};
use lagar_flow::{Error, Result};
use parquet::{
    arrow::{
        ArrowWriter,
        arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves},
    },
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::{
        metadata::{KeyValue, ParquetMetaData},
        properties::{WriterProperties, WriterPropertiesBuilder},
        writer::SerializedFileWriter,
    },
    schema::types::ColumnPath,
};

use super::{schema::to_delta, write::slice_bytes};

/// So many rows at the start of a row group say whether a column gets a dictionary, the list of its different values.
const SAMPLE_ROWS: usize = 8192;
/// A sample is copied to compare its values: not one of long texts, whose dictionary is full soon anyway.
const SAMPLE_BYTES_MAX: usize = 4 << 20;
/// Of fewer values nothing can be said.
const SAMPLE_VALUES_MIN: usize = 512;
/// If fewer values than one of so many come again, a dictionary is as long as the values themselves, and each is looked
/// up in it for nothing.
const REPEATED_MIN: usize = 50;
const GROUP_ROWS: usize = 1 << 20;
/// Encoded; what a row group may hold in memory.
const GROUP_BYTES: usize = 32 << 20;
const ZSTD_LEVEL: i32 = 3;
/// Values that are all different hardly get shorter, however long one searches.
const ZSTD_LEVEL_DIFFERENT: i32 = 1;

/// One Parquet file in the making; its bytes are taken out as they come.
pub(crate) struct Encoder {
    file: SerializedFileWriter<Vec<u8>>,
    schema: SchemaRef,
    columns: Vec<Column>,
    threads: usize,
    group_number: usize,
    /// Whether a row group is open.
    group_open: bool,
    group_rows: usize,
    /// Bytes of the open row group.
    pub buffered: usize,
}

struct Column {
    field: FieldRef,
    /// One for each leaf, while a row group is open.
    leaves: Vec<ArrowColumnWriter>,
    leaf_count: usize,
    nan: bool,
}

fn failed(e: ParquetError) -> Error {
    Error::bug("rows cannot be encoded as Parquet").caused_by(&e)
}

impl Encoder {
    /// `schema` comes from `delta_schema`.
    pub(crate) fn new(schema: &SchemaRef, run_id: &str, threads: usize) -> Result<Self> {
        let properties = properties()?
            .set_created_by(format!("lagar {}", crate::lagar_version()))
            .set_key_value_metadata(Some(vec![KeyValue::new("lagar.run_id".to_owned(), run_id.to_owned())]));
        let (file, _) = writers(schema, properties)?;
        let columns = schema.fields().iter().map(|field| Column {
            field: field.clone(),
            leaves: Vec::new(),
            leaf_count: super::stats::leaves(field.data_type()),
            nan: false,
        });
        Ok(Self {
            file,
            schema: schema.clone(),
            columns: columns.collect(),
            threads: threads.max(1),
            group_number: 0,
            group_open: false,
            group_rows: 0,
            buffered: 0,
        })
    }

    /// Adds the rows of `batches`; their columns may still have the types that the schema was made from.
    pub(crate) fn encode(&mut self, batches: &[RecordBatch]) -> Result<()> {
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if rows == 0 {
            return Ok(());
        }
        if !self.group_open {
            self.open_group(batches)?;
        }
        let size = |index| batches.iter().map(|batch| batch.column(index).get_buffer_memory_size()).sum();
        let work = std::mem::take(&mut self.columns).into_iter().enumerate();
        let work = work.map(|(index, column)| (size(index), (index, column))).collect();
        let encoded = parallel(work, self.threads, |(index, mut column): (usize, Column)| {
            for batch in batches {
                column.encode(batch.column(index))?;
            }
            Ok(column)
        });
        self.columns = encoded?;
        self.group_rows += rows;
        self.buffered = self.columns.iter().flat_map(|c| &c.leaves).map(ArrowColumnWriter::memory_size).sum();
        if self.group_rows >= GROUP_ROWS || self.buffered >= GROUP_BYTES {
            self.close_group()?;
        }
        Ok(())
    }

    /// Opens a row group that begins with `batches`.
    fn open_group(&mut self, batches: &[RecordBatch]) -> Result<()> {
        let mut properties = properties()?;
        let first = batches.iter().max_by_key(|batch| batch.num_rows());
        for (array, column) in first.iter().flat_map(|batch| batch.columns()).zip(&self.columns) {
            if is_all_different(array) {
                let path = ColumnPath::new(vec![column.field.name().clone()]);
                properties = properties
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_compression(path, zstd(ZSTD_LEVEL_DIFFERENT)?);
            }
        }
        let (_, groups) = writers(&self.schema, properties)?;
        let mut writers = groups.create_column_writers(self.group_number).map_err(failed)?.into_iter();
        for column in &mut self.columns {
            column.leaves = writers.by_ref().take(column.leaf_count).collect();
        }
        self.group_open = true;
        self.group_number += 1;
        Ok(())
    }

    /// Ends the open row group: its bytes can be taken then.
    pub(crate) fn close_group(&mut self) -> Result<()> {
        if !self.group_open {
            return Ok(());
        }
        let leaves = self.columns.iter_mut().flat_map(|c| c.leaves.drain(..));
        let work = leaves.map(|leaf| (leaf.memory_size(), leaf)).collect();
        let chunks =
            parallel(work, self.threads, |writer: ArrowColumnWriter| writer.close().map_err(failed))?;
        let mut group = self.file.next_row_group().map_err(failed)?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut group).map_err(failed)?;
        }
        group.close().map_err(failed)?;
        self.group_open = false;
        self.group_rows = 0;
        self.buffered = 0;
        Ok(())
    }

    /// The bytes that are ready.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.file.inner_mut())
    }

    /// The last bytes, the footer, and by column whether it has a NaN.
    pub(crate) fn finish(mut self) -> Result<(Vec<u8>, ParquetMetaData, Vec<bool>)> {
        self.close_group()?;
        let metadata = self.file.finish().map_err(failed)?;
        let nan = self.columns.iter().map(|c| c.nan).collect();
        Ok((self.take(), metadata, nan))
    }
}

/// How all columns of all files are written.
fn properties() -> Result<WriterPropertiesBuilder> {
    Ok(WriterProperties::builder().set_compression(zstd(ZSTD_LEVEL)?))
}

fn zstd(level: i32) -> Result<Compression> {
    Ok(Compression::ZSTD(ZstdLevel::try_new(level).map_err(failed)?))
}

fn writers(
    schema: &SchemaRef,
    properties: WriterPropertiesBuilder,
) -> Result<(SerializedFileWriter<Vec<u8>>, ArrowRowGroupWriterFactory)> {
    let options =
        ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true);
    let writer = ArrowWriter::try_new_with_options(Vec::new(), schema.clone(), options).map_err(failed)?;
    writer.into_serialized_writer().map_err(failed)
}

/// Whether hardly any of the first values of `array` comes again. Nulls are no values.
fn is_all_different(array: &ArrayRef) -> bool {
    let sample = array.slice(0, array.len().min(SAMPLE_ROWS));
    let values = sample.len() - sample.null_count();
    if values < SAMPLE_VALUES_MIN
        || array.data_type().is_nested()
        || slice_bytes(sample.as_ref()) > SAMPLE_BYTES_MAX
    {
        return false;
    }
    let rows = RowConverter::new(vec![SortField::new(array.data_type().clone())])
        .and_then(|converter| converter.convert_columns(std::slice::from_ref(&sample)));
    // What cannot be compared is looked up as ever.
    let Ok(rows) = rows else { return false };
    let mut seen = HashSet::new();
    let of_values = rows.iter().enumerate().filter(|(at, _)| sample.is_valid(*at));
    let repeated = of_values.filter(|(_, value)| !seen.insert(*value));
    let repeated_max = values / REPEATED_MIN;
    repeated.take(repeated_max + 1).count() <= repeated_max
}

impl Column {
    fn encode(&mut self, array: &ArrayRef) -> Result<()> {
        let array = to_delta(array, &self.field)?;
        self.nan = self.nan || has_nan(&array);
        let leaves = compute_leaves(&self.field, &array).map_err(failed)?;
        for (writer, leaf) in self.leaves.iter_mut().zip(&leaves) {
            writer.write(leaf).map_err(failed)?;
        }
        Ok(())
    }
}

fn has_nan(array: &ArrayRef) -> bool {
    match array.data_type() {
        DataType::Float32 => array.as_primitive::<Float32Type>().iter().flatten().any(f32::is_nan),
        DataType::Float64 => array.as_primitive::<Float64Type>().iter().flatten().any(f64::is_nan),
        _ => false,
    }
}

/// `work` done by up to `threads` threads, the results in the order of the items. Each thread takes the next item
/// when it is done with one, the largest first: with one of them at the end, all others would wait for it.
fn parallel<T: Send, R: Send>(
    work: Vec<(usize, T)>,
    threads: usize,
    each: impl Fn(T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let threads = threads.min(work.len());
    if threads <= 1 {
        return work.into_iter().map(|(_, item)| each(item)).collect();
    }
    let mut results: Vec<Option<Result<R>>> = work.iter().map(|_| None).collect();
    let mut sorted: Vec<_> = work.into_iter().zip(results.iter_mut()).collect();
    sorted.sort_by_key(|((size, _), _)| Reverse(*size));
    let queue = sorted.into_iter().map(|((_, item), result)| (item, result));
    let queue = Mutex::new(queue.collect::<VecDeque<_>>());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let run = || {
        while let Some((item, result)) = next() {
            *result = Some(each(item));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(run);
        }
        run();
    });
    drop(queue);
    results
        .into_iter()
        .map(|result| result.unwrap_or_else(|| Err(Error::bug("a column was not encoded"))))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::sync::{Arc, Barrier};

    use arrow::{
        array::{Int64Array, StringArray},
        datatypes::{Field, Schema},
    };
    use parquet::{basic::Encoding, file::reader::FileReader};

    use super::*;

    #[test]
    fn only_values_that_come_again_get_a_dictionary() {
        let rows = 0..3000_i64;
        let columns: [(&str, ArrayRef); 4] = [
            ("id", Arc::new(Int64Array::from_iter(rows.clone()))),
            ("seldom", Arc::new(Int64Array::from_iter(rows.clone().map(|n| (n % 3 == 0).then_some(n))))),
            ("kind", Arc::new(StringArray::from_iter_values(rows.clone().map(|n| format!("k{}", n % 700))))),
            ("few", Arc::new(Int64Array::from_iter(rows.clone().map(|n| (n < 100).then_some(n))))),
        ];
        let fields = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let batch = RecordBatch::try_new(schema.clone(), columns.map(|(_, array)| array).to_vec()).unwrap();
        let mut encoder = Encoder::new(&schema, "run", 2).unwrap();
        encoder.encode(std::slice::from_ref(&batch)).unwrap();
        let (bytes, ..) = encoder.finish().unwrap();
        let reader = parquet::file::reader::SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
        let group = reader.metadata().row_group(0);
        let has =
            |at: usize| group.column(at).encodings().any(|encoding| encoding == Encoding::RLE_DICTIONARY);
        assert_eq!([0, 1, 2, 3].map(has), [false, false, true, true]);
    }

    #[test]
    fn long_values_are_not_copied_to_be_compared() {
        let texts = |length: usize| {
            let texts = (0..1000).map(|n| format!("{n:0length$}"));
            is_all_different(&(Arc::new(StringArray::from_iter_values(texts)) as ArrayRef))
        };
        assert!(texts(100));
        assert!(!texts(10_000));
    }

    #[test]
    fn work_is_shared_and_stays_in_order() {
        // Two items that wait for each other: one thread alone would never end.
        let both = Barrier::new(2);
        let done = parallel(vec![(0, 1), (0, 2)], 2, |n| {
            both.wait();
            Ok(n * 10)
        });
        assert_eq!(done.unwrap(), [10, 20]);
        let work = |count: usize| (0..count).map(|n| (n * 7 % 10, n)).collect::<Vec<_>>();
        assert_eq!(parallel(work(100), 3, Ok).unwrap(), (0..100).collect::<Vec<_>>());
        let failed = parallel(work(4), 2, |n| if n == 2 { Err(Error::bug("two")) } else { Ok(n) });
        assert_eq!(failed.unwrap_err().message(), "two");
    }
}
