//! The whole way from bytes to rows and rejects, hostile files included.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{io::Write, sync::Arc};

use arrow::{
    array::{Array, AsArray},
    compute::concat_batches,
    datatypes::{DataType, Field, Int64Type},
    json::LineDelimitedWriter,
    util::display::array_value_to_string,
};
use bytes::Bytes;
use flate2::{Compression as Level, write::GzEncoder};
use lagar_flow::{ColumnType, CsvOptions, columns_of, schema_of};
use proptest::prelude::*;

use super::*;

mod compression;
mod csv_files;
mod json_files;
mod new_columns;
mod parquet_files;
mod properties;

const LIMITS: Limits =
    Limits { max_bytes: 1 << 30, batch_rows: 3, sample_bytes: None, new_columns: NewColumns::Take };

fn memory(bytes: impl AsRef<[u8]>) -> Body {
    Body::Memory(Bytes::copy_from_slice(bytes.as_ref()))
}

fn format_of(kind: FormatKind) -> Format {
    Format { kind, compression: Compression::None, columns: Default::default(), misfits: Default::default() }
}

fn csv_format() -> Format {
    format_of(FormatKind::Csv(CsvOptions::default()))
}

fn json_format() -> Format {
    format_of(FormatKind::Json { rows: None })
}

fn ndjson() -> Format {
    format_of(FormatKind::Ndjson)
}

fn asking(mut format: Format, columns: &[(&str, &str)]) -> Format {
    for (name, column_type) in columns {
        format.columns.insert((*name).to_owned(), ColumnType::try_from((*column_type).to_owned()).unwrap());
    }
    format
}

fn schema(columns: &[(&str, DataType)]) -> Schema {
    Schema::new(columns.iter().map(|(name, t)| Field::new(*name, t.clone(), true)).collect::<Vec<_>>())
}

/// What both passes say about a file, after checking that they agree.
struct Both {
    found: Inspected,
    batch: RecordBatch,
    numbers: Vec<u64>,
}

impl Both {
    fn types(&self) -> Vec<(String, String)> {
        let fields = self.found.schema.fields().iter();
        fields.map(|f| (f.name().clone(), lagar_flow::type_word(f.data_type()).into_owned())).collect()
    }

    fn values(&self, name: &str) -> Vec<String> {
        let array = self.batch.column_by_name(name).unwrap();
        let text =
            |row| if array.is_null(row) { "∅".into() } else { array_value_to_string(array, row).unwrap() };
        (0..array.len()).map(text).collect()
    }

    fn rejects(&self) -> Vec<(u64, Option<&str>, &str, &str)> {
        let rejects = self.found.rejects.iter();
        rejects.map(|r| (r.row, r.column.as_deref(), r.reason.as_str(), r.value.as_str())).collect()
    }
}

#[track_caller]
fn both_known(body: &Body, format: &Format, known: Option<&Schema>) -> Both {
    let found = inspect(body, format, known, &LIMITS).unwrap();
    let skip: Arc<[u64]> = found.rejects.iter().map(|r| r.row).collect();
    // A manifest gives back exactly these columns.
    assert_eq!(schema_of(&columns_of(&found.schema)).unwrap(), found.schema);
    let options = ReadOptions { batch_rows: 2, skip, row_numbers: true, ..ReadOptions::default() };
    let (mut batches, mut numbers) = (Vec::new(), Vec::new());
    for decoded in read(body, format, found.schema.clone(), options).unwrap() {
        let decoded = decoded.unwrap();
        assert_eq!(decoded.rejects, [], "the second pass rejected what the first took");
        numbers.extend(decoded.rows.unwrap());
        assert_eq!(decoded.batch.schema(), found.schema);
        batches.push(decoded.batch);
    }
    let batch = concat_batches(&found.schema, &batches).unwrap();
    if !found.schema.fields().is_empty() {
        assert_eq!(Some(batch.num_rows() as u64), found.rows);
    }
    assert_eq!(numbers.len() as u64, found.rows.unwrap());
    // Not knowing the rejects, a read finds the same ones.
    let again: Vec<Reject> = read(body, format, found.schema.clone(), ReadOptions::default())
        .unwrap()
        .flat_map(|decoded| decoded.unwrap().rejects)
        .collect();
    assert_eq!(again, found.rejects);
    Both { found, batch, numbers }
}

#[track_caller]
fn both(bytes: impl AsRef<[u8]>, format: &Format) -> Both {
    both_known(&memory(bytes), format, None)
}

#[track_caller]
fn fails(bytes: impl AsRef<[u8]>, format: &Format) -> Error {
    let body = memory(bytes);
    let error = inspect(&body, format, None, &LIMITS).unwrap_err();
    let read = read(&body, format, Arc::new(schema(&[("a", DataType::Int64)])), ReadOptions::default())
        .and_then(|batches| batches.collect::<Result<Vec<_>>>());
    assert_eq!(read.unwrap_err().message(), error.message());
    error
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zipped(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (index, (name, bytes)) in members.iter().enumerate() {
        let method =
            if index % 2 == 0 { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        if name.ends_with('/') {
            writer.add_directory(*name, options).unwrap();
        } else {
            writer.start_file(*name, options).unwrap();
            writer.write_all(bytes).unwrap();
        }
    }
    writer.finish().unwrap().into_inner()
}

fn packed(compression: Compression, format: Format) -> Format {
    Format { compression, ..format }
}
