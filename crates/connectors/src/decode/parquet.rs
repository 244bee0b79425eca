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
use lagar_flow::{
    Body, ColumnType, Compression, Discarded, Drift, Error, Format, Misfits, Note, Reject, Result, codes,
    evolve, type_word,
};
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
    Decoded, DecodedBatches, Inspected, Limits, NewColumns, ReadOptions, Rejects, batch_of,
    columns::{Column, Problem, Rules, Strangers},
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
        let groups = metadata.metadata().row_groups().iter().map(|group| group.num_rows());
        let (said, held) =
            (metadata.metadata().file_metadata().num_rows(), groups.fold(0_i64, i64::saturating_add));
        if said != held || said < 0 {
            let what = format!("the Parquet file is damaged: {said} rows in all, {held} in its parts");
            return Err(Error::new(codes::DECODE, what));
        }
        Ok(Self { input, metadata })
    }

    fn rows(&self) -> u64 {
        u64::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    /// The columns of the file that `wanted` names, or all, in the file's order.
    fn batches(self, wanted: Option<&Schema>, batch_rows: usize) -> Result<ParquetRecordBatchReader> {
        let schema = self.schema().clone();
        let is_wanted = |name: &str| wanted.is_none_or(|wanted| wanted.fields().find(name).is_some());
        let roots = (0..schema.fields().len()).filter(|at| is_wanted(schema.field(*at).name()));
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
    let grows = limits.new_columns == NewColumns::Take;
    let mut strangers = false;
    for field in schema.fields() {
        let name = field.name();
        let data_type = match (format.columns.get(name), known.and_then(|known| known.fields().find(name))) {
            (Some(asked), _) => asked.data_type(),
            (None, Some((_, known))) if !grows => {
                strangers |= has_strangers(field.data_type(), known.data_type());
                known.data_type().clone()
            }
            (None, None) if !grows => {
                strangers = true;
                continue;
            }
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
    let found = Arc::new(schema);
    let schema = Arc::new(Schema::new(fields));
    let sure = sources.iter().flat_map(|source| source.fields()).all(|from| {
        let to = schema.fields().find(from.name()).map(|(_, field)| field.data_type());
        to.is_none_or(|to| surely_fits(from.data_type(), to))
    });
    let (mut rejects, mut discarded) = (Vec::new(), Vec::new());
    if strangers || !sure {
        let options = ReadOptions { batch_rows: limits.batch_rows, ..ReadOptions::default() };
        let mut rows = Reading::open(body, format, schema.clone(), options)?;
        rows.rules.strangers = limits.new_columns.strangers();
        for decoded in &mut rows {
            rejects.extend(decoded?.rejects);
            refuse_too_many(&rejects)?;
        }
        discarded = rows.discarded();
    }
    Ok(Inspected {
        schema,
        rows: Some(counted.saturating_sub(rejects.len() as u64)),
        empty: counted == 0,
        rejects,
        notes,
        drift: Drift { found, declared: true, discarded },
    })
}

/// Whether an object of the type `from` has fields for which `to` has no place.
fn has_strangers(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::List(from), DataType::List(to)) => has_strangers(from.data_type(), to.data_type()),
        (DataType::Struct(from), DataType::Struct(to)) => from.iter().any(|field| {
            to.find(field.name()).is_none_or(|(_, to)| has_strangers(field.data_type(), to.data_type()))
        }),
        _ => false,
    }
}

pub(super) fn read(
    body: &Body,
    format: &Format,
    schema: SchemaRef,
    options: ReadOptions,
) -> Result<DecodedBatches> {
    Ok(Box::new(Reading::open(body, format, schema, options)?))
}

struct Reading {
    files: Files,
    batches: Option<ParquetRecordBatchReader>,
    schema: SchemaRef,
    columns: BTreeMap<String, ColumnType>,
    options: ReadOptions,
    rules: Rules,
    /// Rows before the next batch.
    row: u64,
    /// Rows up to the end of this file.
    end: u64,
    skipped: usize,
    rejected_bytes: usize,
    /// What was left out so far, by column.
    discarded: BTreeMap<Arc<str>, u64>,
    done: bool,
}

impl Reading {
    fn open(body: &Body, format: &Format, schema: SchemaRef, options: ReadOptions) -> Result<Self> {
        Ok(Self {
            files: Files::open(body, format, u64::MAX)?,
            batches: None,
            schema,
            columns: format.columns.clone(),
            options,
            rules: Rules { misfits: format.misfits, ..Rules::default() },
            row: 0,
            end: 0,
            skipped: 0,
            rejected_bytes: 0,
            discarded: BTreeMap::new(),
            done: false,
        })
    }

    fn discarded(&self) -> Vec<Discarded> {
        let each = self.discarded.iter();
        each.map(|(column, values)| Discarded { column: column.to_string(), values: *values }).collect()
    }

    fn next_batch(&mut self) -> Result<Option<Decoded>> {
        loop {
            if self.batches.is_none() {
                let Some(file) = self.files.advance()? else { return Ok(None) };
                self.end = self.row + file.rows();
                let wanted = (self.rules.strangers == Strangers::Skip).then_some(self.schema.as_ref());
                self.batches = Some(file.batches(wanted, self.options.batch_rows.max(1))?);
            }
            match guarded(|| self.batches.as_mut().and_then(Iterator::next))? {
                Some(batch) => {
                    let batch = batch.map_err(|e| {
                        Error::new(codes::DECODE, "the Parquet file is damaged").caused_by(&e)
                    })?;
                    return self.decode(&batch).map(Some);
                }
                None if self.row != self.end => {
                    let what = format!(
                        "the Parquet file is damaged: {} rows are missing",
                        self.end.abs_diff(self.row)
                    );
                    return Err(Error::new(codes::DECODE, what));
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
        if let Some(only) = &self.options.only {
            for (row, keep) in (first..).zip(&mut keep) {
                *keep &= only.binary_search(&row).is_ok();
            }
        }
        let mut sieve = Sieve {
            rules: self.rules,
            batch,
            first,
            keep,
            rejects: Rejects { list: Vec::new(), bytes: self.rejected_bytes },
            discarded: &mut self.discarded,
        };
        let strangers = self.rules.strangers != Strangers::Skip;
        let mut arrays = Vec::with_capacity(self.schema.fields().len());
        for field in self.schema.fields() {
            let Some(array) = batch.column_by_name(field.name()) else {
                arrays.push(new_null_array(field.data_type(), batch.num_rows()));
                continue;
            };
            let how = How { asked: self.columns.get(field.name()), strangers };
            let conformed = conform(field.name(), array, field.data_type(), how)?;
            sieve.sort(conformed.strays, field, array);
            arrays.push(conformed.array);
        }
        let fields = batch.schema();
        let new = fields.fields().iter().zip(batch.columns());
        for (field, array) in
            new.filter(|(field, _)| strangers && self.schema.fields().find(field.name()).is_none())
        {
            sieve.sort(strangers_in(field.name(), array), field, array);
        }
        let Sieve { keep, rejects, .. } = sieve;
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

/// Parts the rows of a batch.
struct Sieve<'a> {
    rules: Rules,
    batch: &'a RecordBatch,
    /// Number of its first row.
    first: u64,
    /// The rows that are not rejected.
    keep: Vec<bool>,
    rejects: Rejects,
    discarded: &'a mut BTreeMap<Arc<str>, u64>,
}

impl Sieve<'_> {
    /// Counts what is left out and rejects the rows of the rest; `strays` are those of one column.
    fn sort(&mut self, strays: Vec<Stray>, field: &Field, array: &ArrayRef) {
        for stray in strays {
            let leaves_out = match stray.is_new {
                true => self.rules.strangers == Strangers::Count,
                false => self.rules.misfits == Misfits::Null,
            };
            if leaves_out {
                *self.discarded.entry(stray.path).or_default() += 1;
            } else if std::mem::replace(&mut self.keep[stray.row], false) {
                let problem = stray.problem(field, array);
                self.rejects.add(self.first + stray.row as u64, problem, || row_text(self.batch, stray.row));
            }
        }
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
        return RecordBatch::try_new_with_options(batch.schema(), vec![], &options).map_err(|e| unfit(&e));
    }
    filter_record_batch(batch, &BooleanArray::from(keep)).map_err(|e| unfit(&e))
}

/// A damaged file may hold values that its own types cannot have.
fn unfit(error: &ArrowError) -> Error {
    Error::new(codes::DECODE, "a value of the Parquet file does not fit the type of its column")
        .caused_by(error)
        .hint("is the file damaged?")
}

/// The values of a column that is not among those asked for.
fn strangers_in(name: &str, array: &ArrayRef) -> Vec<Stray> {
    let path: Arc<str> = name.into();
    let nulls = array.logical_nulls();
    let is_value = |row: &usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row));
    (0..array.len()).filter(is_value).map(|row| Stray { row, path: path.clone(), is_new: true }).collect()
}

/// A row as JSON, for people.
pub(super) fn row_text(batch: &RecordBatch, row: usize) -> String {
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

/// A column in its new type, with null in place of what does not fit.
struct Conformed {
    array: ArrayRef,
    /// By row.
    strays: Vec<Stray>,
}

/// A value that has no place in the new type.
struct Stray {
    row: usize,
    path: Arc<str>,
    /// It stands in a field that the new type does not have.
    is_new: bool,
}

impl Stray {
    /// Why its row is not taken. `array` is the column `field` that it stands in.
    fn problem(&self, field: &Field, array: &ArrayRef) -> Problem {
        let reason = if self.is_new {
            format!("`{}` is a new column", self.path)
        } else {
            let value = array_value_to_string(array, self.row).unwrap_or_default();
            let shown: String = value.chars().take(60).collect();
            format!("`{shown}` does not fit into {}", type_word(field.data_type()))
        };
        Problem { column: Some(self.path.to_string()), reason }
    }
}

impl Conformed {
    fn all(array: ArrayRef) -> Self {
        Self { array, strays: Vec::new() }
    }

    /// `misfits`: the rows whose value does not fit, ascending.
    fn without(path: &str, array: ArrayRef, misfits: impl IntoIterator<Item = usize>) -> Self {
        let path: Arc<str> = path.into();
        let strays = misfits.into_iter().map(|row| Stray { row, path: path.clone(), is_new: false });
        Self { array, strays: strays.collect() }
    }
}

/// How a column is turned into another type.
#[derive(Clone, Copy, Default)]
struct How<'a> {
    asked: Option<&'a ColumnType>,
    /// Look also for values in fields that the new type does not have.
    strangers: bool,
}

/// The column as one of the type of `field`; the rows with values that do not fit, which are null.
pub(super) fn turned(field: &Field, array: &ArrayRef) -> Result<(ArrayRef, Vec<(usize, Problem)>)> {
    let conformed = conform(field.name(), array, field.data_type(), How::default())?;
    let misfits = conformed.strays.iter().map(|stray| (stray.row, stray.problem(field, array)));
    Ok((conformed.array, misfits.collect()))
}

fn conform(path: &str, array: &ArrayRef, to: &DataType, how: How<'_>) -> Result<Conformed> {
    let from = array.data_type();
    if from == to && !(how.asked == Some(&ColumnType::Json) && is_nested(from)) {
        return Ok(Conformed::all(array.clone()));
    }
    match (from, to) {
        (DataType::Dictionary(_, value), _) => {
            conform(path, &cast(array, value).map_err(|e| unfit(&e))?, to, how)
        }
        (DataType::RunEndEncoded(_, value), _) => {
            conform(path, &cast(array, value.data_type()).map_err(|e| unfit(&e))?, to, how)
        }
        (DataType::Struct(_), DataType::Struct(fields)) => conform_struct(path, array, fields, how),
        (from, DataType::List(item)) if is_list(from) => conform_list(path, array, item, how),
        (from, DataType::Utf8) if is_nested(from) => nested_text(path, array),
        (from, _) if is_text(from) && !is_text(to) && *to != DataType::Binary => parse_text(path, array, to),
        _ => conform_plain(path, array, to, how.asked == Some(&ColumnType::Double)),
    }
}

fn conform_struct(path: &str, array: &ArrayRef, fields: &Fields, how: How<'_>) -> Result<Conformed> {
    let from = array.as_struct();
    let (mut arrays, mut strays) = (Vec::new(), Vec::new());
    let inner_how = How { asked: None, ..how };
    for field in fields {
        match from.column_by_name(field.name()) {
            Some(inner) => {
                let path = format!("{path}.{}", field.name());
                let conformed = conform(&path, inner, field.data_type(), inner_how)?;
                strays.extend(conformed.strays);
                arrays.push(conformed.array);
            }
            None => arrays.push(new_null_array(field.data_type(), array.len())),
        }
    }
    if how.strangers {
        let new =
            from.fields().iter().zip(from.columns()).filter(|(field, _)| fields.find(field.name()).is_none());
        strays
            .extend(new.flat_map(|(field, inner)| strangers_in(&format!("{path}.{}", field.name()), inner)));
    }
    // What a null object has inside does not count.
    strays.retain(|stray| array.is_valid(stray.row));
    strays.sort_by_key(|stray| stray.row);
    let array = StructArray::try_new_with_length(fields.clone(), arrays, from.nulls().cloned(), array.len());
    Ok(Conformed { array: Arc::new(array.map_err(|e| unfit(&e))?), strays })
}

fn conform_list(path: &str, array: &ArrayRef, item: &FieldRef, how: How<'_>) -> Result<Conformed> {
    let from_item = match array.data_type() {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => item.clone(),
        other => return Err(Error::bug(format!("{other} is not a list"))),
    };
    let lists = cast(array, &DataType::List(from_item)).map_err(|e| unfit(&e))?;
    let lists = lists.as_list::<i32>();
    let inner_how = How { asked: None, ..how };
    let conformed = conform(&format!("{path}.item"), lists.values(), item.data_type(), inner_how)?;
    let offsets = lists.offsets();
    let mut strays = Vec::new();
    let mut inner = conformed.strays.into_iter().peekable();
    for row in 0..lists.len() {
        let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
        // What lies between two lists belongs to none.
        while let Some(stray) = inner.next_if(|stray| stray.row < end) {
            if stray.row >= start && lists.is_valid(row) {
                strays.push(Stray { row, ..stray });
            }
        }
    }
    let array = ListArray::try_new(item.clone(), offsets.clone(), conformed.array, lists.nulls().cloned());
    Ok(Conformed { array: Arc::new(array.map_err(|e| unfit(&e))?), strays })
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
fn parse_text(path: &str, array: &ArrayRef, to: &DataType) -> Result<Conformed> {
    let texts = cast(array, &DataType::Utf8).map_err(|e| unfit(&e))?;
    let field: FieldRef = Arc::new(Field::new("", to.clone(), true));
    let mut column = Column::new(&field, None, Rules::default())?;
    let (mut misfits, parse) = (Vec::new(), Parse::default());
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
    Ok(Conformed::without(path, column.finish()?, misfits))
}

/// `nearest`: a double was asked for, so numbers that it cannot hold exactly are rounded.
fn conform_plain(path: &str, array: &ArrayRef, to: &DataType, nearest: bool) -> Result<Conformed> {
    let from = array.data_type();
    if !may_cast(from, to) {
        let misfits = (0..array.len()).filter(|row| array.is_valid(*row));
        return Ok(Conformed::without(path, new_null_array(to, array.len()), misfits));
    }
    let fitting = cast_with_options(array, to, &CastOptions::default()).map_err(|e| unfit(&e))?;
    let mut good: Vec<bool> =
        (0..array.len()).map(|row| array.is_null(row) || fitting.is_valid(row)).collect();
    if loses(from, to) && !(nearest && to.is_floating()) {
        // 3.5 becomes the integer 3 without a word: only what comes back the same is taken.
        let back = cast(&fitting, from).map_err(|e| unfit(&e))?;
        let same = not_distinct(&back, array).map_err(|e| unfit(&e))?;
        good.iter_mut().enumerate().for_each(|(row, good)| *good &= same.value(row));
    }
    let misfits: Vec<usize> = (0..array.len()).filter(|row| !good[*row]).collect();
    if misfits.is_empty() {
        return Ok(Conformed::all(fitting));
    }
    let nulls = NullBuffer::union(fitting.nulls(), Some(&NullBuffer::from(good)));
    let data = fitting.to_data().into_builder().nulls(nulls).build().map_err(|e| unfit(&e))?;
    Ok(Conformed::without(path, arrow::array::make_array(data), misfits))
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
