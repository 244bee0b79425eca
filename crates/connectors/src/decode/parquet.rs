//! Parquet: the columns are in the file; what a Delta table cannot hold is turned into what it can.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, ListArray, RecordBatch, RecordBatchOptions, StringArray,
        StructArray, new_null_array,
    },
    buffer::NullBuffer,
    compute::{
        CastOptions, can_cast_types, cast, cast_with_options, filter_record_batch, kernels::cmp::not_distinct,
    },
    datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
    json::writer::{EncoderOptions, make_encoder},
    util::display::array_value_to_string,
};
use bytes::Bytes;
use lagar_flow::{Body, ColumnType, Compression, Error, Format, Note, Reject, Result, codes, evolve};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
            ParquetRecordBatchReaderBuilder,
        },
    },
    errors::ParquetError,
};

use super::{
    Decoded, DecodedBatches, Inspected, Limits, ReadOptions, Rejects, batch_of,
    columns::{Column, Problem, type_word},
    infer::{NESTING_MAX, clip},
    input::{Members, read_error},
    refuse_too_many,
    value::Parse,
};

enum Input {
    Memory(Bytes),
    File(File),
}

/// A file whose footer was read.
struct Opened {
    input: Input,
    metadata: ArrowReaderMetadata,
}

impl Opened {
    fn new(input: Input) -> Result<Self> {
        // The Arrow schema that some writers put beside Parquet's own adds nothing that a table here could
        // hold, and arrow-ipc 59.3 panics on a damaged one.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = guarded(|| match &input {
            Input::Memory(bytes) => ArrowReaderMetadata::load(bytes, options),
            Input::File(file) => ArrowReaderMetadata::load(file, options),
        })?;
        let metadata = metadata.map_err(|e| {
            Error::new(
                codes::DECODE,
                "the footer of the Parquet file cannot be read: it is damaged, truncated or not Parquet",
            )
            .caused_by(&e)
        })?;
        Ok(Self { input, metadata })
    }

    fn rows(&self) -> u64 {
        u64::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    /// The columns of the file that `wanted` names, in the file's order.
    fn batches(self, wanted: &Schema, batch_rows: usize) -> Result<ParquetRecordBatchReader> {
        let schema = self.schema().clone();
        let roots =
            (0..schema.fields().len()).filter(|at| wanted.fields().find(schema.field(*at).name()).is_some());
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), roots);
        let batches = match self.input {
            Input::Memory(bytes) => ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, self.metadata)
                .with_projection(mask)
                .with_batch_size(batch_rows)
                .build(),
            Input::File(file) => ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata)
                .with_projection(mask)
                .with_batch_size(batch_rows)
                .build(),
        };
        batches.map_err(|e| damaged(&e))
    }
}

/// Runs a part of the Parquet reader. Where it meets damage it panics in places instead of returning an
/// error (parquet 59.3: bit widths of pages); what it was reading is given up then.
fn guarded<T>(read: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(read))
        .map_err(|_| Error::new(codes::DECODE, "the Parquet file is damaged: its reader gave up"))
}

fn damaged(error: &ParquetError) -> Error {
    Error::new(codes::DECODE, "the Parquet file is damaged").caused_by(error)
}

/// The files of a body, one after the other.
struct Files {
    members: Option<Members>,
    plain: Option<Input>,
}

impl Files {
    fn open(body: &Body, format: &Format, max_bytes: u64) -> Result<Self> {
        if format.compression != Compression::None {
            let members = Members::open(body, &format.compression, max_bytes, 0)?;
            return Ok(Self { members: Some(members), plain: None });
        }
        let unreadable = |e: io::Error| Error::new(codes::SOURCE_IO, "a file cannot be read").caused_by(&e);
        if body.len().map_err(unreadable)? > max_bytes {
            return Err(Error::new(
                codes::TOO_LARGE,
                format!("the file has more than {max_bytes} bytes, which is the limit"),
            )
            .hint("if it is meant to be so large, raise `max_bytes`"));
        }
        let input = match (body, body.path()) {
            (Body::Memory(bytes), _) => Input::Memory(bytes.clone()),
            (_, Some(path)) => Input::File(File::open(path).map_err(unreadable)?),
            (_, None) => return Err(Error::bug("a body without bytes and without a path")),
        };
        Ok(Self { members: None, plain: Some(input) })
    }

    fn advance(&mut self) -> Result<Option<Opened>> {
        if let Some(input) = self.plain.take() {
            return Opened::new(input).map(Some);
        }
        let Some(members) = &mut self.members else { return Ok(None) };
        let Some(mut member) = members.advance()? else { return Ok(None) };
        // Parquet is read from its end, so what is compressed around it must be unpacked first.
        let mut file = tempfile::tempfile()
            .map_err(|e| Error::new(codes::SOURCE_IO, "a temporary file cannot be made").caused_by(&e))?;
        io::copy(&mut member.reader, &mut file).map_err(read_error)?;
        Opened::new(Input::File(file)).map(Some)
    }
}

pub(super) fn inspect(
    body: &Body,
    format: &Format,
    known: Option<&Schema>,
    limits: &Limits,
) -> Result<Inspected> {
    let mut files = Files::open(body, format, limits.max_bytes)?;
    let (mut schema, mut counted, mut notes, mut sources) = (Schema::empty(), 0, Vec::new(), Vec::new());
    while let Some(file) = files.advance()? {
        counted += file.rows();
        let plain = file.schema().fields().iter().map(plain_field).collect::<Result<Vec<_>>>()?;
        schema = evolve(&schema, &Schema::new(plain));
        sources.push(file.schema().clone());
    }
    let mut fields: Vec<FieldRef> = Vec::new();
    for field in schema.fields() {
        let name = field.name();
        let data_type = match (format.columns.get(name), known.and_then(|known| known.fields().find(name))) {
            (Some(asked), _) => asked.data_type(),
            (None, Some((_, known))) => {
                let grown = evolve(&Schema::new(vec![known.clone()]), &Schema::new(vec![field.clone()]));
                grown.field(0).data_type().clone()
            }
            (None, None) => field.data_type().clone(),
        };
        fields.push(Arc::new(Field::new(name, data_type, true)));
    }
    for (name, asked) in &format.columns {
        if schema.fields().find(name).is_none() {
            fields.push(Arc::new(Field::new(name, asked.data_type(), true)));
            if counted > 0 {
                notes.push(Note(format!("the asked column `{name}` is not in the file; it is null")));
            }
        }
    }
    let schema = Arc::new(Schema::new(fields));
    let sure = sources.iter().flat_map(|source| source.fields()).all(|from| {
        let to = schema.fields().find(from.name()).map(|(_, field)| field.data_type());
        to.is_none_or(|to| surely_fits(from.data_type(), to))
    });
    let mut rejects = Vec::new();
    if !sure {
        let options = ReadOptions { batch_rows: limits.batch_rows, ..ReadOptions::default() };
        for decoded in read(body, format, schema.clone(), options)? {
            rejects.extend(decoded?.rejects);
            refuse_too_many(&rejects)?;
        }
    }
    Ok(Inspected {
        schema,
        rows: Some(counted.saturating_sub(rejects.len() as u64)),
        empty: counted == 0,
        rejects,
        notes,
    })
}

pub(super) fn read(
    body: &Body,
    format: &Format,
    schema: SchemaRef,
    options: ReadOptions,
) -> Result<DecodedBatches> {
    let files = Files::open(body, format, u64::MAX)?;
    let columns = format.columns.clone();
    Ok(Box::new(Reading {
        files,
        batches: None,
        schema,
        columns,
        options,
        row: 0,
        skipped: 0,
        rejected_bytes: 0,
        done: false,
    }))
}

struct Reading {
    files: Files,
    batches: Option<ParquetRecordBatchReader>,
    schema: SchemaRef,
    columns: BTreeMap<String, ColumnType>,
    options: ReadOptions,
    /// Rows before the next batch.
    row: u64,
    skipped: usize,
    rejected_bytes: usize,
    done: bool,
}

impl Reading {
    fn next_batch(&mut self) -> Result<Option<Decoded>> {
        loop {
            if self.batches.is_none() {
                let Some(file) = self.files.advance()? else { return Ok(None) };
                self.batches = Some(file.batches(&self.schema, self.options.batch_rows.max(1))?);
            }
            match guarded(|| self.batches.as_mut().and_then(Iterator::next))? {
                Some(batch) => {
                    let batch = batch.map_err(|e| {
                        Error::new(codes::DECODE, "the Parquet file is damaged").caused_by(&e)
                    })?;
                    return self.decode(&batch).map(Some);
                }
                None => self.batches = None,
            }
        }
    }

    fn decode(&mut self, batch: &RecordBatch) -> Result<Decoded> {
        let first = self.row + 1;
        self.row += batch.num_rows() as u64;
        let mut keep = vec![true; batch.num_rows()];
        while let Some(row) = self.options.skip.get(self.skipped).filter(|row| **row <= self.row) {
            if let Some(keep) = row.checked_sub(first).and_then(|at| keep.get_mut(at as usize)) {
                *keep = false;
            }
            self.skipped += 1;
        }
        let mut rejects = Rejects { list: Vec::new(), bytes: self.rejected_bytes };
        let mut arrays = Vec::with_capacity(self.schema.fields().len());
        for field in self.schema.fields() {
            let Some(array) = batch.column_by_name(field.name()) else {
                arrays.push(new_null_array(field.data_type(), batch.num_rows()));
                continue;
            };
            let asked = self.columns.get(field.name());
            let Conformed { array: fitting, misfits } =
                conform(field.name(), array, field.data_type(), asked)?;
            for at in misfits {
                if std::mem::replace(&mut keep[at], false) {
                    let problem = misfit(field, array, at);
                    rejects.add(first + at as u64, problem, || row_text(batch, at));
                }
            }
            arrays.push(fitting);
        }
        self.rejected_bytes = rejects.bytes;
        let whole = batch_of(&self.schema, arrays, batch.num_rows())?;
        let rows = self
            .options
            .row_numbers
            .then(|| (first..).zip(&keep).filter(|(_, keep)| **keep).map(|(row, _)| row).collect());
        let batch = if keep.iter().all(|keep| *keep) { whole } else { filtered(&whole, keep)? };
        let mut rejects: Vec<Reject> = rejects.list;
        rejects.sort_by_key(|reject| reject.row);
        Ok(Decoded { batch, rows, rejects })
    }
}

impl Iterator for Reading {
    type Item = Result<Decoded>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let batch = self.next_batch();
        self.done = !matches!(batch, Ok(Some(_)));
        batch.transpose()
    }
}

fn filtered(batch: &RecordBatch, keep: Vec<bool>) -> Result<RecordBatch> {
    if batch.num_columns() == 0 {
        let rows = keep.iter().filter(|keep| **keep).count();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        return RecordBatch::try_new_with_options(batch.schema(), vec![], &options).map_err(|e| defect(&e));
    }
    filter_record_batch(batch, &BooleanArray::from(keep)).map_err(|e| defect(&e))
}

fn defect(error: &ArrowError) -> Error {
    Error::bug("a Parquet column could not be turned into its type").caused_by(error)
}

fn misfit(field: &Field, array: &ArrayRef, at: usize) -> Problem {
    let value = array_value_to_string(array, at).unwrap_or_default();
    let shown: String = value.chars().take(60).collect();
    Problem {
        column: Some(field.name().clone()),
        reason: format!("`{shown}` does not fit into {}", type_word(field.data_type())),
    }
}

/// A row as JSON, for people.
fn row_text(batch: &RecordBatch, row: usize) -> String {
    let array = StructArray::from(batch.clone());
    let field: FieldRef = Arc::new(Field::new("row", array.data_type().clone(), true));
    json_text(&field, &array, row).unwrap_or_default()
}

fn json_text(field: &FieldRef, array: &dyn Array, row: usize) -> Result<String, ArrowError> {
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(field, array, &options)?;
    let mut text = Vec::new();
    encoder.encode(row, &mut text);
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The column as a Delta table can hold it.
fn plain_field(field: &FieldRef) -> Result<FieldRef> {
    let data_type = plain_type(field.name(), field.data_type())?;
    Ok(Arc::new(Field::new(field.name(), clip(&data_type, NESTING_MAX).0, true)))
}

fn plain_type(name: &str, from: &DataType) -> Result<DataType> {
    let list = |item: &FieldRef| -> Result<DataType> {
        let inner = plain_type(name, item.data_type())?;
        Ok(DataType::List(Arc::new(Field::new("item", inner, true))))
    };
    Ok(match from {
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, Some(_)) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Date64 => DataType::Date32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) if *scale >= 0 => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Decimal256(precision, scale) if *precision <= 38 && *scale >= 0 => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Decimal128(_, scale) if *scale >= 0 => from.clone(),
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Date32
        | DataType::Utf8
        | DataType::Binary => from.clone(),
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Dictionary(_, value) => plain_type(name, value)?,
        DataType::RunEndEncoded(_, value) => plain_type(name, value.data_type())?,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => list(item)?,
        DataType::Struct(fields) if !fields.is_empty() => {
            DataType::Struct(fields.iter().map(plain_field).collect::<Result<Fields>>()?)
        }
        other if is_nested(other) || can_cast_types(other, &DataType::Utf8) => DataType::Utf8,
        other => {
            let message = format!("column `{name}` has the type {other}, which cannot be read");
            return Err(Error::new(codes::DECODE, message).hint("leave it out when the file is written"));
        }
    })
}

fn is_nested(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Map(..) | DataType::Struct(_)) || is_list(data_type)
}

fn is_list(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::List(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(..)
            | DataType::ListView(_)
            | DataType::LargeListView(_)
    )
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn surely_fits(from: &DataType, to: &DataType) -> bool {
    let plain = plain_type("", from);
    let plain = plain.as_ref().unwrap_or(from);
    match (plain, to) {
        (from, to) if from == to => true,
        (_, DataType::Utf8) => true,
        // A double holds every integer up to 2^53, which 32 bits do not reach.
        (DataType::Int8 | DataType::Int16 | DataType::Int32, DataType::Float64) => true,
        (from, DataType::Float64) => from.is_floating(),
        (DataType::Struct(from), DataType::Struct(to)) => from.iter().all(|field| {
            to.find(field.name()).is_none_or(|(_, to)| surely_fits(field.data_type(), to.data_type()))
        }),
        (DataType::List(from), DataType::List(to)) => surely_fits(from.data_type(), to.data_type()),
        _ => false,
    }
}

/// A column in its new type. Values that do not fit are null; the rows they stand in, ascending.
struct Conformed {
    array: ArrayRef,
    misfits: Vec<usize>,
}

impl Conformed {
    fn all(array: ArrayRef) -> Self {
        Self { array, misfits: Vec::new() }
    }
}

fn conform(name: &str, array: &ArrayRef, to: &DataType, asked: Option<&ColumnType>) -> Result<Conformed> {
    let from = array.data_type();
    if from == to && !(asked == Some(&ColumnType::Json) && is_nested(from)) {
        return Ok(Conformed::all(array.clone()));
    }
    match (from, to) {
        (DataType::Dictionary(_, value), _) => {
            conform(name, &cast(array, value).map_err(|e| defect(&e))?, to, asked)
        }
        (DataType::RunEndEncoded(_, value), _) => {
            conform(name, &cast(array, value.data_type()).map_err(|e| defect(&e))?, to, asked)
        }
        (DataType::Struct(_), DataType::Struct(fields)) => conform_struct(name, array, fields),
        (from, DataType::List(item)) if is_list(from) => conform_list(name, array, item),
        (from, DataType::Utf8) if is_nested(from) => nested_text(name, array),
        (from, _) if is_text(from) && !is_text(to) && *to != DataType::Binary => parse_text(array, to),
        _ => conform_plain(array, to, asked == Some(&ColumnType::Double)),
    }
}

fn conform_struct(name: &str, array: &ArrayRef, fields: &Fields) -> Result<Conformed> {
    let from = array.as_struct();
    let (mut arrays, mut misfits) = (Vec::new(), Vec::new());
    for field in fields {
        match from.column_by_name(field.name()) {
            Some(inner) => {
                let conformed = conform(&format!("{name}.{}", field.name()), inner, field.data_type(), None)?;
                // What a null object has inside does not count.
                misfits.extend(conformed.misfits.into_iter().filter(|at| array.is_valid(*at)));
                arrays.push(conformed.array);
            }
            None => arrays.push(new_null_array(field.data_type(), array.len())),
        }
    }
    misfits.sort_unstable();
    misfits.dedup();
    let array = StructArray::try_new_with_length(fields.clone(), arrays, from.nulls().cloned(), array.len());
    Ok(Conformed { array: Arc::new(array.map_err(|e| defect(&e))?), misfits })
}

fn conform_list(name: &str, array: &ArrayRef, item: &FieldRef) -> Result<Conformed> {
    let from_item = match array.data_type() {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => item.clone(),
        other => return Err(Error::bug(format!("{other} is not a list"))),
    };
    let lists = cast(array, &DataType::List(from_item)).map_err(|e| defect(&e))?;
    let lists = lists.as_list::<i32>();
    let conformed = conform(name, lists.values(), item.data_type(), None)?;
    let offsets = lists.offsets();
    let misfits = (0..lists.len()).filter(|row| {
        let (start, end) = (offsets[*row] as usize, offsets[*row + 1] as usize);
        let next = conformed.misfits.partition_point(|at| *at < start);
        lists.is_valid(*row) && conformed.misfits.get(next).is_some_and(|at| *at < end)
    });
    let misfits = misfits.collect();
    let array = ListArray::try_new(item.clone(), offsets.clone(), conformed.array, lists.nulls().cloned());
    Ok(Conformed { array: Arc::new(array.map_err(|e| defect(&e))?), misfits })
}

/// Lists, objects and maps as JSON.
fn nested_text(name: &str, array: &ArrayRef) -> Result<Conformed> {
    let field: FieldRef = Arc::new(Field::new(name, array.data_type().clone(), true));
    let texts = (0..array.len())
        .map(|row| array.is_valid(row).then(|| json_text(&field, array, row)).transpose())
        .collect::<Result<StringArray, ArrowError>>();
    let texts = texts.map_err(|e| {
        Error::new(codes::DECODE, format!("column `{name}` of the Parquet file cannot be written as JSON"))
            .caused_by(&e)
    })?;
    Ok(Conformed::all(Arc::new(texts)))
}

/// Texts by the same rules as those of JSON.
fn parse_text(array: &ArrayRef, to: &DataType) -> Result<Conformed> {
    let texts = cast(array, &DataType::Utf8).map_err(|e| defect(&e))?;
    let field: FieldRef = Arc::new(Field::new("", to.clone(), true));
    let (mut column, mut misfits, parse) = (Column::new(&field, None)?, Vec::new(), Parse::default());
    for (row, text) in texts.as_string::<i32>().iter().enumerate() {
        match text {
            Some(text) if column.push_field(text, &parse).is_ok() => {}
            Some(_) => {
                column.truncate(row);
                column.push_null();
                misfits.push(row);
            }
            None => column.push_null(),
        }
    }
    Ok(Conformed { array: column.finish()?, misfits })
}

/// `nearest`: a double was asked for, so numbers that it cannot hold exactly are rounded.
fn conform_plain(array: &ArrayRef, to: &DataType, nearest: bool) -> Result<Conformed> {
    let from = array.data_type();
    if !may_cast(from, to) {
        let misfits = (0..array.len()).filter(|row| array.is_valid(*row)).collect();
        return Ok(Conformed { array: new_null_array(to, array.len()), misfits });
    }
    let fitting = cast_with_options(array, to, &CastOptions::default()).map_err(|e| defect(&e))?;
    let mut good: Vec<bool> =
        (0..array.len()).map(|row| array.is_null(row) || fitting.is_valid(row)).collect();
    if loses(from, to) && !(nearest && to.is_floating()) {
        // 3.5 becomes the integer 3 without a word: only what comes back the same is taken.
        let back = cast(&fitting, from).map_err(|e| defect(&e))?;
        let same = not_distinct(&back, array).map_err(|e| defect(&e))?;
        good.iter_mut().enumerate().for_each(|(row, good)| *good &= same.value(row));
    }
    let misfits: Vec<usize> = (0..array.len()).filter(|row| !good[*row]).collect();
    if misfits.is_empty() {
        return Ok(Conformed::all(fitting));
    }
    let nulls = NullBuffer::union(fitting.nulls(), Some(&NullBuffer::from(good)));
    let data = fitting.to_data().into_builder().nulls(nulls).build().map_err(|e| defect(&e))?;
    Ok(Conformed { array: arrow::array::make_array(data), misfits })
}

fn may_cast(from: &DataType, to: &DataType) -> bool {
    let number = |t: &DataType| t.is_numeric();
    let time = |t: &DataType| matches!(t, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64);
    let bytes = |t: &DataType| {
        is_text(t)
            || matches!(
                t,
                DataType::Binary
                    | DataType::LargeBinary
                    | DataType::BinaryView
                    | DataType::FixedSizeBinary(_)
            )
    };
    can_cast_types(from, to)
        && (*to == DataType::Utf8
            || (number(from) && number(to))
            || (time(from) && time(to))
            || (bytes(from) && bytes(to)))
}

fn loses(from: &DataType, to: &DataType) -> bool {
    let exact = |t: &DataType| t.is_integer() || t.is_decimal();
    ((from.is_floating() || from.is_decimal()) && exact(to))
        || (exact(from) && to.is_floating())
        || (matches!(from, DataType::Timestamp(..)) && *to == DataType::Date32)
}
