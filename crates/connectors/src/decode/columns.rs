//! Columns under construction: rows go in one at a time, and a row that does not fit leaves no trace.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
        ListArray, StringArray, StructArray, TimestampMicrosecondArray,
    },
    buffer::{Buffer, NullBuffer, OffsetBuffer},
    compute::cast,
    datatypes::{DataType, Field, FieldRef, Fields, TimeUnit},
};
use lagar_flow::{ColumnType, Discarded, Error, Misfits, Result, codes, type_word};

use super::{
    keys::Keys,
    scan::{DEPTH_MAX, Scanner, Syntax, Token},
    value::{Misfit, Parse},
};

/// Why a row is not taken.
#[derive(Debug)]
pub(super) struct Problem {
    pub column: Option<String>,
    pub reason: String,
}

impl Problem {
    pub fn row(reason: impl Into<String>) -> Self {
        Self { column: None, reason: reason.into() }
    }

    fn value(text: &str, misfit: &Misfit) -> Self {
        let mut shown: String = text.chars().take(60).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        Self { column: Some(String::new()), reason: format!("`{shown}` {misfit}") }
    }

    /// The same problem, seen from the column around it.
    fn inside(mut self, name: &str) -> Self {
        self.column = match self.column {
            Some(inner) if inner.is_empty() => Some(name.to_owned()),
            Some(inner) if name.is_empty() => Some(inner),
            Some(inner) => Some(format!("{name}.{inner}")),
            None => None,
        };
        self
    }
}

impl From<Syntax> for Problem {
    fn from(syntax: Syntax) -> Self {
        Self::row(format!("not JSON at byte {}: {}", syntax.at + 1, syntax.what))
    }
}

type Fit<T> = std::result::Result<T, Problem>;

/// What becomes of what the columns do not foresee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Rules {
    pub misfits: Misfits,
    pub strangers: Strangers,
}

/// What becomes of values under names that are not among the columns. Null is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Strangers {
    /// Nobody asked for them.
    #[default]
    Skip,
    /// Their row is rejected.
    Reject,
    /// They are counted.
    Count,
}

pub(super) struct Column {
    field: FieldRef,
    valid: Vec<bool>,
    values: Values,
    misfits: Misfits,
    /// The places of the values that do not fit and are null for that, in the batch.
    discarded: Vec<usize>,
    /// How many there were in the batches before.
    discarded_before: u64,
}

enum Values {
    Bool(Vec<bool>),
    /// With the smallest and largest that the type holds.
    Int(Vec<i64>, std::ops::RangeInclusive<i64>),
    Double(Vec<f64>, Doubles),
    Decimal(Vec<i128>, u8, i8),
    Date(Vec<i32>),
    Timestamp(Vec<i64>),
    Instant(Vec<i64>),
    Text(Bytes),
    /// The text of whatever JSON value stands there.
    Json(Bytes),
    Binary(Bytes),
    List(Vec<i32>, Box<Column>),
    Struct(Group),
}

/// What becomes of integers beyond 2^53, most of which a double cannot hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doubles {
    /// They are refused: the type follows from other values.
    Exact,
    /// They are rounded: the type was asked for.
    Nearest,
}

/// Texts one behind the other, and where each ends.
#[derive(Default)]
struct Bytes {
    data: Vec<u8>,
    ends: Vec<i32>,
}

impl Bytes {
    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        match bytes.len() {
            4..8 => self.push_ends::<4>(bytes),
            8..16 => self.push_ends::<8>(bytes),
            16..=32 => self.push_ends::<16>(bytes),
            _ => self.data.extend_from_slice(bytes),
        }
        // A batch never holds 2 GiB of rows.
        self.ends.push(self.data.len() as i32);
    }

    /// Adds `bytes`, `N` to `2 * N` of them, as the first `N` and the last `N`, which may overlap: so few of them are
    /// copied faster than a function is called that copies any number.
    fn push_ends<const N: usize>(&mut self, bytes: &[u8]) {
        if let (Some(first), Some(last)) = (bytes.first_chunk::<N>(), bytes.last_chunk::<N>()) {
            self.data.extend_from_slice(first);
            self.data.truncate(self.data.len() + bytes.len() - 2 * N);
            self.data.extend_from_slice(last);
        }
    }

    fn truncate(&mut self, len: usize) {
        self.ends.truncate(len);
        self.data.truncate(self.ends.last().map_or(0, |end| *end as usize));
    }

    fn finish(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        (offsets(taken(&mut self.ends)), Buffer::from_vec(taken(&mut self.data)))
    }
}

/// The values. The next batch will be about as long: with some room to spare most are not moved while they grow.
fn taken<T>(values: &mut Vec<T>) -> Vec<T> {
    let next = Vec::with_capacity(values.len() + values.len() / 8 + 1);
    std::mem::replace(values, next)
}

fn offsets(mut ends: Vec<i32>) -> OffsetBuffer<i32> {
    ends.insert(0, 0);
    OffsetBuffer::new(ends.into())
}

impl Column {
    /// An empty column, perhaps of a type that was `asked` for; an error if rows of text cannot hold it.
    pub fn new(field: &FieldRef, asked: Option<&ColumnType>, rules: Rules) -> Result<Self> {
        let doubles = if asked == Some(&ColumnType::Double) { Doubles::Nearest } else { Doubles::Exact };
        let values = match field.data_type() {
            DataType::Boolean => Values::Bool(Vec::new()),
            DataType::Int8 => Values::Int(Vec::new(), i8::MIN.into()..=i8::MAX.into()),
            DataType::Int16 => Values::Int(Vec::new(), i16::MIN.into()..=i16::MAX.into()),
            DataType::Int32 => Values::Int(Vec::new(), i32::MIN.into()..=i32::MAX.into()),
            DataType::Int64 => Values::Int(Vec::new(), i64::MIN..=i64::MAX),
            DataType::Float32 | DataType::Float64 => Values::Double(Vec::new(), doubles),
            DataType::Decimal128(precision, scale) => Values::Decimal(Vec::new(), *precision, *scale),
            DataType::Date32 => Values::Date(Vec::new()),
            DataType::Timestamp(TimeUnit::Microsecond, None) => Values::Timestamp(Vec::new()),
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Values::Instant(Vec::new()),
            DataType::Utf8 if asked == Some(&ColumnType::Json) => Values::Json(Bytes::default()),
            DataType::Utf8 => Values::Text(Bytes::default()),
            DataType::Binary => Values::Binary(Bytes::default()),
            DataType::List(item) => Values::List(Vec::new(), Box::new(Column::new(item, None, rules)?)),
            DataType::Struct(fields) => Values::Struct(Group::new(fields, &BTreeMap::new(), rules)?),
            other => {
                let message =
                    format!("column `{}` has the type {other}, which rows of text cannot hold", field.name());
                return Err(Error::new(codes::DECODE, message).hint("ask for another type under `columns:`"));
            }
        };
        Ok(Self {
            field: field.clone(),
            valid: Vec::new(),
            values,
            misfits: rules.misfits,
            discarded: Vec::new(),
            discarded_before: 0,
        })
    }

    fn len(&self) -> usize {
        self.valid.len()
    }

    pub fn truncate(&mut self, len: usize) {
        self.valid.truncate(len);
        drop_behind(&mut self.discarded, len, |at| *at);
        // A list or object that broke off may have more inside than it has itself.
        match &mut self.values {
            Values::Bool(values) => values.truncate(len),
            Values::Int(values, _) | Values::Timestamp(values) | Values::Instant(values) => {
                values.truncate(len)
            }
            Values::Double(values, _) => values.truncate(len),
            Values::Decimal(values, ..) => values.truncate(len),
            Values::Date(values) => values.truncate(len),
            Values::Text(bytes) | Values::Json(bytes) | Values::Binary(bytes) => bytes.truncate(len),
            Values::List(ends, item) => {
                ends.truncate(len);
                item.truncate(ends.last().map_or(0, |end| *end as usize));
            }
            Values::Struct(group) => group.truncate(len),
        }
    }

    pub fn push_null(&mut self) {
        self.valid.push(false);
        match &mut self.values {
            Values::Bool(values) => values.push(false),
            Values::Int(values, _) | Values::Timestamp(values) | Values::Instant(values) => values.push(0),
            Values::Double(values, _) => values.push(0.0),
            Values::Decimal(values, ..) => values.push(0),
            Values::Date(values) => values.push(0),
            Values::Text(bytes) | Values::Json(bytes) | Values::Binary(bytes) => bytes.push(b""),
            Values::List(ends, item) => ends.push(item.len() as i32),
            Values::Struct(group) => group.columns.iter_mut().for_each(Column::push_null),
        }
    }

    /// `text` is no value of this column.
    fn misfit(&mut self, text: &str, why: &Misfit) -> Fit<()> {
        match self.misfits {
            Misfits::Reject => Err(Problem::value(text, why).inside(self.field.name())),
            Misfits::Null => {
                self.discarded.push(self.len());
                self.push_null();
                Ok(())
            }
        }
    }

    /// Adds the value that `text` stands for.
    pub fn push_text(&mut self, text: &str, parse: &Parse) -> Fit<()> {
        let fit = match &mut self.values {
            Values::Text(bytes) | Values::Json(bytes) | Values::Binary(bytes) => {
                bytes.push(text.as_bytes());
                Ok(())
            }
            Values::Bool(values) => parse.bool(text).map(|value| values.push(value)),
            Values::Int(values, range) => match parse.int(text) {
                Ok(value) if !range.contains(&value) => {
                    Err(Misfit::from("is too large for the column's type"))
                }
                fit => fit.map(|value| values.push(value)),
            },
            Values::Double(values, Doubles::Nearest) => parse.double(text).map(|value| values.push(value)),
            Values::Double(values, Doubles::Exact) => {
                parse.exact_double(text).map(|value| values.push(value))
            }
            Values::Decimal(values, precision, scale) => {
                parse.decimal(text, *precision, *scale).map(|value| values.push(value))
            }
            Values::Date(values) => parse.date(text).map(|value| values.push(value)),
            Values::Timestamp(values) => parse.timestamp(text).map(|value| values.push(value)),
            Values::Instant(values) => parse.instant(text).map(|value| values.push(value)),
            Values::List(..) => Err("is not a list".into()),
            Values::Struct(_) => Err("is not an object".into()),
        };
        match fit {
            Ok(()) => {
                self.valid.push(true);
                Ok(())
            }
            Err(misfit) => self.misfit(text, &misfit),
        }
    }

    /// Adds the value of a CSV field. Lists and objects are written as JSON there.
    pub fn push_field(&mut self, text: &str, parse: &Parse) -> Fit<()> {
        match &self.values {
            Values::List(..) | Values::Struct(_) => {
                let mut scanner = Scanner::new(text);
                self.push_json(&mut scanner, 0, &mut String::new())?;
                Ok(scanner.end()?)
            }
            _ => self.push_text(text, parse),
        }
    }

    /// Adds the next value of `scanner`. `depth` is that of the value.
    fn push_json(&mut self, scanner: &mut Scanner<'_>, depth: usize, scratch: &mut String) -> Fit<()> {
        let start = scanner.start();
        let token = scanner.token()?;
        if token == Token::Null {
            self.push_null();
            return Ok(());
        }
        match (&mut self.values, token) {
            (Values::List(ends, item), Token::List) => {
                deep_enough(depth)?;
                let mut first = true;
                while scanner.item(first)? {
                    first = false;
                    item.push_json(scanner, depth + 1, scratch).map_err(|p| p.inside(self.field.name()))?;
                }
                ends.push(item.len() as i32);
                self.valid.push(true);
                Ok(())
            }
            (Values::Struct(group), Token::Object) => {
                group
                    .push_object(scanner, self.valid.len(), depth, scratch)
                    .map_err(|p| p.inside(self.field.name()))?;
                self.valid.push(true);
                Ok(())
            }
            (Values::Json(bytes), token) => {
                scanner.skip(token, depth)?;
                bytes.push(scanner.since(start).as_bytes());
                self.valid.push(true);
                Ok(())
            }
            // As the next one does; most values are these.
            (Values::Text(bytes), Token::Text(text)) => {
                bytes.push(text.decode(scratch).as_bytes());
                self.valid.push(true);
                Ok(())
            }
            (_, Token::Text(text)) => self.push_text(text.decode(scratch), &JSON),
            (_, Token::Number(text)) => self.push_text(text, &JSON),
            (_, Token::Bool(value)) => self.push_text(if value { "true" } else { "false" }, &JSON),
            (values, token) => {
                scanner.skip(token, depth)?;
                let text = scanner.since(start);
                if let Values::Text(bytes) = values {
                    bytes.push(text.as_bytes());
                    self.valid.push(true);
                    return Ok(());
                }
                let misfit =
                    Misfit::from(format!("is not of the type {}", type_word(self.field.data_type())));
                self.misfit(text, &misfit)
            }
        }
    }

    /// Adds what was left out of this column and of what lies in it. `path` is that of what it lies in.
    fn add_discarded(&self, path: &str, all: &mut Vec<Discarded>) {
        let column = inside(path, self.field.name());
        match &self.values {
            Values::List(_, item) => item.add_discarded(&column, all),
            Values::Struct(group) => group.add_discarded(&column, all),
            _ => {}
        }
        let values = self.discarded_before + self.discarded.len() as u64;
        if values > 0 {
            all.push(Discarded { column, values });
        }
    }

    /// The values so far as an array; the column is empty afterwards.
    pub fn finish(&mut self) -> Result<ArrayRef> {
        let len = self.len();
        self.discarded_before += self.discarded.len() as u64;
        self.discarded.clear();
        let valid = taken(&mut self.valid);
        let nulls = if valid.iter().all(|v| *v) { None } else { Some(NullBuffer::from(valid)) };
        let array: ArrayRef = match &mut self.values {
            Values::Bool(values) => Arc::new(BooleanArray::new(taken(values).into(), nulls)),
            Values::Int(values, _) => Arc::new(Int64Array::new(taken(values).into(), nulls)),
            Values::Double(values, _) => Arc::new(Float64Array::new(taken(values).into(), nulls)),
            Values::Decimal(values, precision, scale) => Arc::new(
                Decimal128Array::new(taken(values).into(), nulls)
                    .with_precision_and_scale(*precision, *scale)
                    .map_err(|e| defect(&e))?,
            ),
            Values::Date(values) => Arc::new(Date32Array::new(taken(values).into(), nulls)),
            Values::Timestamp(values) => {
                Arc::new(TimestampMicrosecondArray::new(taken(values).into(), nulls))
            }
            Values::Instant(values) => Arc::new(
                TimestampMicrosecondArray::new(taken(values).into(), nulls)
                    .with_data_type(self.field.data_type().clone()),
            ),
            Values::Text(bytes) | Values::Json(bytes) => {
                let (offsets, data) = bytes.finish();
                Arc::new(StringArray::try_new(offsets, data, nulls).map_err(|e| defect(&e))?)
            }
            Values::Binary(bytes) => {
                let (offsets, data) = bytes.finish();
                Arc::new(BinaryArray::try_new(offsets, data, nulls).map_err(|e| defect(&e))?)
            }
            Values::List(ends, item) => {
                let field = Arc::new(item.field.as_ref().clone().with_nullable(true));
                let ends = offsets(taken(ends));
                Arc::new(ListArray::try_new(field, ends, item.finish()?, nulls).map_err(|e| defect(&e))?)
            }
            Values::Struct(group) => {
                let fields: Fields = group.columns.iter().map(|c| nullable(&c.field)).collect();
                let arrays = group.finish()?;
                Arc::new(
                    StructArray::try_new_with_length(fields, arrays, nulls, len).map_err(|e| defect(&e))?,
                )
            }
        };
        if array.data_type() == self.field.data_type() {
            return Ok(array);
        }
        // Narrow integers and floats were held wide; their ranges were checked.
        cast(&array, self.field.data_type()).map_err(|e| defect(&e))
    }
}

/// Takes away what stands at or behind `len`; the places ascend.
fn drop_behind<T>(places: &mut Vec<T>, len: usize, place: impl Fn(&T) -> usize) {
    while places.last().is_some_and(|last| place(last) >= len) {
        places.pop();
    }
}

fn inside(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

static JSON: std::sync::LazyLock<Parse> = std::sync::LazyLock::new(Parse::default);

fn nullable(field: &Field) -> FieldRef {
    Arc::new(field.clone().with_nullable(true))
}

fn defect(error: &(dyn std::error::Error + 'static)) -> Error {
    Error::bug("a column could not be built").caused_by(error)
}

fn deep_enough(depth: usize) -> std::result::Result<(), Syntax> {
    if depth > DEPTH_MAX { Err(Syntax { at: 0, what: "it is nested too deeply" }) } else { Ok(()) }
}

/// The columns of a row, or of an object in it.
pub(super) struct Group {
    pub columns: Vec<Column>,
    keys: Keys,
    strangers: Strangers,
    /// Values without a column, by their place in the batch.
    strange: Vec<(usize, String)>,
    strange_before: BTreeMap<String, u64>,
}

impl Group {
    /// `asked` are the types that were asked for, by column.
    pub fn new(fields: &Fields, asked: &BTreeMap<String, ColumnType>, rules: Rules) -> Result<Self> {
        let columns = fields
            .iter()
            .map(|field| Column::new(field, asked.get(field.name()), rules))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            columns,
            keys: Keys::default(),
            strangers: rules.strangers,
            strange: Vec::new(),
            strange_before: BTreeMap::new(),
        })
    }

    /// A value of the row at `row` has the name of no column.
    pub fn stranger(&mut self, name: &str, row: usize) -> Fit<()> {
        match self.strangers {
            Strangers::Skip => Ok(()),
            Strangers::Count => {
                self.strange.push((row, name.to_owned()));
                Ok(())
            }
            Strangers::Reject => {
                Err(Problem { column: Some(name.to_owned()), reason: format!("`{name}` is a new column") })
            }
        }
    }

    /// What was left out so far.
    pub fn discarded(&self) -> Vec<Discarded> {
        let mut all = Vec::new();
        self.add_discarded("", &mut all);
        all
    }

    fn add_discarded(&self, path: &str, all: &mut Vec<Discarded>) {
        self.columns.iter().for_each(|column| column.add_discarded(path, all));
        let strange = self.strange_before.iter();
        all.extend(strange.map(|(name, values)| Discarded { column: inside(path, name), values: *values }));
    }

    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.field.name() == name)
    }

    pub fn truncate(&mut self, rows: usize) {
        self.columns.iter_mut().for_each(|column| column.truncate(rows));
        drop_behind(&mut self.strange, rows, |(row, _)| *row);
    }

    /// Adds nulls to the columns that the row at `row` did not mention.
    pub fn fill(&mut self, row: usize) {
        for column in &mut self.columns {
            if column.len() == row {
                column.push_null();
            }
        }
    }

    /// Adds the row of one JSON text, or nothing.
    pub fn push_row(&mut self, text: &str, row: usize, scratch: &mut String) -> Fit<()> {
        let mut scanner = Scanner::new(text);
        match scanner.token()? {
            Token::Object => {}
            token => return Err(not_an_object(token)),
        }
        self.push_object(&mut scanner, row, 0, scratch)?;
        Ok(scanner.end()?)
    }

    /// The brace was read.
    fn push_object(
        &mut self,
        scanner: &mut Scanner<'_>,
        row: usize,
        depth: usize,
        scratch: &mut String,
    ) -> Fit<()> {
        deep_enough(depth)?;
        let (mut first, mut guess) = (true, 0);
        // Of what is no column the name is needed only where it matters.
        let matters = self.strangers != Strangers::Skip;
        let is_stranger = |column: Option<usize>| matters && column.is_none();
        loop {
            let (column, stranger) = match scanner.known_key(first, |text| self.keys.next(&mut guess, text)) {
                Some(key) => (key.column, is_stranger(key.column).then(|| key.name.to_string())),
                None => {
                    let Some(key) = scanner.key(first)? else { break };
                    let name = key.decode(scratch);
                    let column = match self.keys.find(&mut guess, name) {
                        Some(column) => column,
                        None => {
                            let column = self.position(name);
                            self.keys.learn(&mut guess, name, column);
                            column
                        }
                    };
                    (column, is_stranger(column).then(|| name.to_owned()))
                }
            };
            first = false;
            match column {
                Some(index) => {
                    let column = &mut self.columns[index];
                    if column.len() > row {
                        // Of keys that stand twice the last one wins.
                        column.truncate(row);
                    }
                    column.push_json(scanner, depth + 1, scratch)?;
                }
                None => {
                    let token = scanner.token()?;
                    scanner.skip(token, depth + 1)?;
                    if let Some(name) = stranger.filter(|_| token != Token::Null) {
                        self.stranger(&name, row)?;
                    }
                }
            }
        }
        self.fill(row);
        Ok(())
    }

    pub fn finish(&mut self) -> Result<Vec<ArrayRef>> {
        for (_, name) in self.strange.drain(..) {
            *self.strange_before.entry(name).or_default() += 1;
        }
        self.columns.iter_mut().map(Column::finish).collect()
    }
}

pub(super) fn not_an_object(token: Token<'_>) -> Problem {
    Problem::row(match token {
        Token::Null => "the row is null, not an object",
        Token::List => "the row is a list, not an object",
        Token::Text(_) => "the row is a text, not an object",
        Token::Number(_) => "the row is a number, not an object",
        Token::Bool(_) => "the row is true or false, not an object",
        Token::Object => "the row is an object",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_any_length_stand_one_behind_the_other() {
        let letters: Vec<u8> = (b'0'..=b'z').collect();
        let mut bytes = Bytes::default();
        let mut expected = Vec::new();
        for length in (0..70).chain((0..70).rev()) {
            bytes.push(&letters[..length]);
            expected.extend_from_slice(&letters[..length]);
        }
        assert_eq!(bytes.data, expected);
        assert_eq!(bytes.ends.last().map(|end| *end as usize), Some(expected.len()));
    }
}
