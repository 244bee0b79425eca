//! Rows into Parquet spool files, one at a time, with bounded memory.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::Arc,
};

use arrow::{
    array::{
        ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder,
        Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
    },
    datatypes::{DataType, SchemaRef},
};
use lagar_flow::{Error, Result, codes};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::properties::WriterProperties,
};
use sha2::{Digest, Sha256};
use tempfile::TempPath;

use super::value::{Value, hex};

/// Encoded bytes of a row group; it is held in memory until it is complete.
const ROW_GROUP_BYTES_MAX: usize = 32 * 1024 * 1024;
const ROW_GROUP_ROWS_MAX: usize = 256 * 1024;

/// The rows of one batch, column by column.
pub(super) struct Batch {
    schema: SchemaRef,
    builders: Vec<Builder>,
    pub(super) rows: usize,
    /// About what the rows take in memory.
    pub(super) bytes: usize,
}

enum Builder {
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Decimal(Decimal128Builder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
}

impl Builder {
    fn new(data_type: &DataType) -> Result<Self> {
        Ok(match data_type {
            DataType::Boolean => Builder::Bool(BooleanBuilder::new()),
            DataType::Int64 => Builder::Int(Int64Builder::new()),
            DataType::Float64 => Builder::Float(Float64Builder::new()),
            DataType::Decimal128(..) => {
                Builder::Decimal(Decimal128Builder::new().with_data_type(data_type.clone()))
            }
            DataType::Utf8 => Builder::Text(StringBuilder::new()),
            DataType::Binary => Builder::Bytes(BinaryBuilder::new()),
            DataType::Date32 => Builder::Date(Date32Builder::new()),
            DataType::Timestamp(..) => {
                Builder::Timestamp(TimestampMicrosecondBuilder::new().with_data_type(data_type.clone()))
            }
            other => {
                return Err(Error::new(codes::DATABASE_TYPE, format!("a column cannot be read as {other}")));
            }
        })
    }

    /// Appends what [`super::fit::fit`] made for this column's type; anything else is null.
    fn push(&mut self, value: &Value<'_>) {
        match (self, value) {
            (Builder::Bool(b), Value::Bool(v)) => b.append_value(*v),
            (Builder::Int(b), Value::Int(v)) => b.append_value(*v),
            (Builder::Float(b), Value::Float(v)) => b.append_value(*v),
            (Builder::Decimal(b), Value::Decimal { unscaled, .. }) => b.append_value(*unscaled),
            (Builder::Text(b), Value::Text(v)) => b.append_value(v),
            (Builder::Bytes(b), Value::Bytes(v)) => b.append_value(v),
            (Builder::Date(b), Value::Date(v)) => b.append_value(*v),
            (Builder::Timestamp(b), Value::Timestamp(v) | Value::TimestampTz(v)) => b.append_value(*v),
            (Builder::Bool(b), _) => b.append_null(),
            (Builder::Int(b), _) => b.append_null(),
            (Builder::Float(b), _) => b.append_null(),
            (Builder::Decimal(b), _) => b.append_null(),
            (Builder::Text(b), _) => b.append_null(),
            (Builder::Bytes(b), _) => b.append_null(),
            (Builder::Date(b), _) => b.append_null(),
            (Builder::Timestamp(b), _) => b.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Builder::Bool(b) => Arc::new(b.finish()),
            Builder::Int(b) => Arc::new(b.finish()),
            Builder::Float(b) => Arc::new(b.finish()),
            Builder::Decimal(b) => Arc::new(b.finish()),
            Builder::Text(b) => Arc::new(b.finish()),
            Builder::Bytes(b) => Arc::new(b.finish()),
            Builder::Date(b) => Arc::new(b.finish()),
            Builder::Timestamp(b) => Arc::new(b.finish()),
        }
    }
}

impl Batch {
    pub(super) fn new(schema: SchemaRef) -> Result<Self> {
        let builders = schema
            .fields()
            .iter()
            .map(|field| Builder::new(field.data_type()))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { schema, builders, rows: 0, bytes: 0 })
    }

    /// Adds one value to the column at `index`; a row has one for each column.
    pub(super) fn push(&mut self, index: usize, value: &Value<'_>) {
        self.bytes += value.bytes();
        self.builders[index].push(value);
    }

    /// The rows so far; the batch is empty afterwards.
    pub(super) fn take(&mut self) -> Result<RecordBatch> {
        (self.rows, self.bytes) = (0, 0);
        let columns = self.builders.iter_mut().map(Builder::finish).collect();
        RecordBatch::try_new(self.schema.clone(), columns)
            .map_err(|error| Error::bug("the columns of a batch do not fit together").caused_by(&error))
    }
}

/// A Parquet file that is being written.
pub(super) struct OpenFile {
    writer: ArrowWriter<Hashing<BufWriter<File>>>,
    path: TempPath,
}

/// A complete Parquet file.
pub(super) struct WrittenFile {
    pub(super) path: TempPath,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl OpenFile {
    pub(super) fn create(folder: &Path, schema: SchemaRef) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(|error| io_error(&error))?;
        let (file, path) = tempfile::Builder::new()
            .prefix("sql-")
            .suffix(".parquet")
            .tempfile_in(folder)
            .map_err(|error| io_error(&error))?
            .into_parts();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES_MAX))
            .build();
        let writer = ArrowWriter::try_new(Hashing::new(BufWriter::new(file)), schema, Some(properties))
            .map_err(|error| parquet_error(&error))?;
        Ok(Self { writer, path })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(|error| parquet_error(&error))
    }

    /// Bytes so far, about.
    pub(super) fn size(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    pub(super) fn finish(self) -> Result<WrittenFile> {
        let mut hashing = self.writer.into_inner().map_err(|error| parquet_error(&error))?;
        hashing.flush().map_err(|error| io_error(&error))?;
        Ok(WrittenFile { path: self.path, bytes: hashing.bytes, sha256: hex(&hashing.hash.finalize()) })
    }
}

fn parquet_error(error: &ParquetError) -> Error {
    if let ParquetError::External(cause) = error
        && let Some(io) = cause.downcast_ref::<io::Error>()
    {
        return io_error(io);
    }
    Error::new(codes::SOURCE_IO, "rows cannot be written to the spool folder").caused_by(error)
}

fn io_error(error: &io::Error) -> Error {
    let code = if error.kind() == io::ErrorKind::StorageFull { codes::LAKE_SPACE } else { codes::SOURCE_IO };
    Error::new(code, "rows cannot be written to the spool folder").caused_by(error)
}

/// Counts and hashes what passes.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hash.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
