//! One column, value by value.

use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::cast,
    datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int64Type},
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};
use lagar_flow::{Error, Result};

use super::{
    ColumnProfile, Histogram, Measure, TopValue,
    looks::{Looks, is_null_token},
    sketch::{Counts, HyperLogLog, Spread},
    value::{Value, hash_of, head},
};
use crate::NullTokens;

/// Steps of a histogram, at most.
const STEPS_MAX: usize = 24;
/// Bytes of a binary value that are kept.
const BINARY_BYTES_MAX: usize = 64;

/// What is known of a column so far.
pub(super) struct Column {
    name: String,
    data_type: DataType,
    kind: Kind,
    /// Texts that mean null.
    tokens: NullTokens,
    top_max: usize,
    rows: u64,
    nulls: u64,
    nan: u64,
    infinite: u64,
    min: Option<Value>,
    max: Option<Value>,
    mean: Mean,
    counts: Counts,
    /// Of texts, binaries and lists.
    lengths: Option<Spread>,
    lengths_between: Option<(u64, u64)>,
    /// What takes over when there are more values than are counted one by one.
    many: Option<Many>,
}

struct Many {
    distinct: HyperLogLog,
    spread: Option<Spread>,
    looks: Looks,
}

/// How the values of a column are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Every value is null.
    Nothing,
    Bool,
    Whole,
    Decimal,
    Float,
    Text,
    Binary,
    /// Lists, structs and what is rare: as the text that is shown of them.
    Shown,
}

fn kind_of(data_type: &DataType) -> Kind {
    match data_type {
        DataType::Null => Kind::Nothing,
        DataType::Boolean => Kind::Bool,
        DataType::UInt64 | DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) => {
            Kind::Decimal
        }
        data_type if data_type.is_integer() => Kind::Whole,
        DataType::Date32
        | DataType::Date64
        | DataType::Timestamp(..)
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Duration(_) => Kind::Whole,
        data_type if data_type.is_floating() => Kind::Float,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Kind::Text,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Kind::Binary,
        _ => Kind::Shown,
    }
}

impl Column {
    pub(super) fn new(
        name: &str,
        data_type: &DataType,
        tokens: NullTokens,
        top_max: usize,
        counts: Counts,
    ) -> Self {
        let data_type = match data_type {
            DataType::Dictionary(_, values) => values.as_ref().clone(),
            plain => plain.clone(),
        };
        Self {
            name: name.to_owned(),
            kind: kind_of(&data_type),
            data_type,
            tokens,
            top_max,
            rows: 0,
            nulls: 0,
            nan: 0,
            infinite: 0,
            min: None,
            max: None,
            mean: Mean::default(),
            counts,
            lengths: None,
            lengths_between: None,
            many: None,
        }
    }

    /// Adds the values of a batch.
    pub(super) fn add(&mut self, array: &ArrayRef) -> Result<()> {
        self.add_array(array).map_err(|error| {
            Error::bug(format!("column `{}` cannot be profiled", self.name)).caused_by(&error)
        })
    }

    fn add_array(&mut self, array: &ArrayRef) -> Result<(), ArrowError> {
        self.rows += array.len() as u64;
        let array =
            if array.data_type() == &self.data_type { array.clone() } else { cast(array, &self.data_type)? };
        self.nulls += match self.kind {
            Kind::Nothing => array.len(),
            _ => array.null_count(),
        } as u64;
        match self.kind {
            Kind::Nothing => {}
            Kind::Bool => array.as_boolean().iter().flatten().for_each(|value| self.whole(value.into())),
            Kind::Whole => {
                let counted = counted(&array)?;
                counted
                    .as_primitive::<Int64Type>()
                    .iter()
                    .flatten()
                    .for_each(|value| self.whole(value.into()));
            }
            Kind::Decimal => {
                let scale = self.scale();
                let wide = cast(&array, &DataType::Decimal128(38, scale))?;
                wide.as_primitive::<Decimal128Type>().iter().flatten().for_each(|value| self.whole(value));
            }
            Kind::Float => {
                let wide = cast(&array, &DataType::Float64)?;
                wide.as_primitive::<Float64Type>().iter().flatten().for_each(|value| self.float(value));
            }
            Kind::Text => match array.data_type() {
                DataType::Utf8 => array.as_string::<i32>().iter().flatten().for_each(|text| self.text(text)),
                DataType::LargeUtf8 => {
                    array.as_string::<i64>().iter().flatten().for_each(|text| self.text(text))
                }
                _ => array.as_string_view().iter().flatten().for_each(|text| self.text(text)),
            },
            Kind::Binary => {
                let wide = cast(&array, &DataType::LargeBinary)?;
                wide.as_binary::<i64>().iter().flatten().for_each(|bytes| self.binary(bytes));
            }
            Kind::Shown => self.shown(&array)?,
        }
        Ok(())
    }

    fn whole(&mut self, whole: i128) {
        let value = Value::Whole(whole);
        let number = self.number(&value);
        self.mean.add(number);
        self.widen(value.clone(), |a, b| matches!((a, b), (Value::Whole(a), Value::Whole(b)) if a < b));
        self.remember(hash_of(&whole), || value);
        self.spread(number);
    }

    fn float(&mut self, number: f64) {
        // The two zeros are one value, and so are all that are not a number.
        let number = if number == 0.0 {
            0.0
        } else if number.is_nan() {
            f64::NAN
        } else {
            number
        };
        let value = Value::Float(number);
        if number.is_nan() {
            self.nan += 1;
        } else {
            if number.is_finite() {
                self.mean.add(number);
            } else {
                self.infinite += 1;
            }
            self.widen(value.clone(), |a, b| matches!((a, b), (Value::Float(a), Value::Float(b)) if a < b));
        }
        self.remember(hash_of(&number.to_bits()), || value);
        self.spread(number);
    }

    fn text(&mut self, text: &str) {
        self.length(text.chars().count() as u64);
        let start = head(text);
        if self.min.as_ref().is_none_or(|min| matches!(min, Value::Text(min) if start < min.as_ref())) {
            self.min = Some(Value::text(start));
        }
        if self.max.as_ref().is_none_or(|max| matches!(max, Value::Text(max) if start > max.as_ref())) {
            self.max = Some(Value::text(start));
        }
        self.remember(hash_of(text), || Value::text(start));
        if let Some(many) = &mut self.many {
            many.looks.add(text, 1, &self.tokens);
        }
    }

    fn binary(&mut self, bytes: &[u8]) {
        self.length(bytes.len() as u64);
        self.remember(hash_of(bytes), || {
            let start = bytes.iter().take(BINARY_BYTES_MAX);
            let hex: String = start.map(|byte| format!("{byte:02x}")).collect();
            Value::text(&hex)
        });
    }

    fn shown(&mut self, array: &ArrayRef) -> Result<(), ArrowError> {
        let options = FormatOptions::default().with_null("NULL");
        let formatter = ArrayFormatter::try_new(array.as_ref(), &options)?;
        for row in (0..array.len()).filter(|row| !array.is_null(*row)) {
            let elements = match array.data_type() {
                DataType::List(_) => u64::try_from(array.as_list::<i32>().value_length(row)).ok(),
                DataType::LargeList(_) => u64::try_from(array.as_list::<i64>().value_length(row)).ok(),
                _ => None,
            };
            if let Some(elements) = elements {
                self.length(elements);
            }
            let text = formatter.value(row).try_to_string()?;
            self.remember(hash_of(&text), || Value::text(&text));
        }
        Ok(())
    }

    fn widen(&mut self, value: Value, less: fn(&Value, &Value) -> bool) {
        if self.min.as_ref().is_none_or(|min| less(&value, min)) {
            self.min = Some(value.clone());
        }
        if self.max.as_ref().is_none_or(|max| less(max, &value)) {
            self.max = Some(value);
        }
    }

    fn length(&mut self, length: u64) {
        self.lengths.get_or_insert_with(|| Spread::new(0.0, 1.0)).add(length as f64, 1);
        let (min, max) = self.lengths_between.unwrap_or((length, length));
        self.lengths_between = Some((min.min(length), max.max(length)));
    }

    /// Counts a value that is not null. What else the sketches need of it is added afterwards.
    fn remember(&mut self, hash: u64, value: impl FnOnce() -> Value) {
        if self.counts.count(hash) {
            return;
        }
        if self.counts.is_full() {
            self.begin_sketches();
            self.counts.shrink();
        }
        if let Some(many) = &mut self.many {
            many.distinct.add(hash);
        }
        self.counts.insert(hash, value());
    }

    fn spread(&mut self, number: f64) {
        if let Some(Many { spread: Some(spread), .. }) = &mut self.many
            && number.is_finite()
        {
            spread.add(number, 1);
        }
    }

    /// From here on there are too many values to count each. All so far are in the counts.
    fn begin_sketches(&mut self) {
        if self.many.is_some() {
            return;
        }
        let mut distinct = HyperLogLog::new();
        let mut looks = Looks::default();
        let numbers: Vec<(f64, u64)> = self.numbers().collect();
        for (hash, entry) in self.counts.each() {
            distinct.add(hash);
            if let Value::Text(text) = &entry.value
                && self.kind == Kind::Text
            {
                looks.add(text, entry.count, &self.tokens);
            }
        }
        let (min, max) = between(&numbers);
        let spread = (!numbers.is_empty()).then(|| {
            let mut spread = Spread::over(min, max, self.is_discrete());
            numbers.iter().for_each(|(number, count)| spread.add(*number, *count));
            spread
        });
        // A column of texts has no numbers; one of numbers that has none yet (all are NaN) gets them later.
        let spread = spread.or_else(|| self.is_ordered().then(|| Spread::new(0.0, 1e-9)));
        self.many = Some(Many { distinct, spread, looks });
    }

    /// The finite numbers that are counted.
    fn numbers(&self) -> impl Iterator<Item = (f64, u64)> {
        let numbers = self.counts.each().map(|(_, entry)| (self.number(&entry.value), entry.count));
        numbers.filter(|(number, _)| number.is_finite())
    }

    /// A value as a number; not a number where it is none.
    fn number(&self, value: &Value) -> f64 {
        match value {
            Value::Float(number) => *number,
            Value::Whole(whole) => match self.data_type {
                DataType::Decimal128(..) | DataType::Decimal64(..) | DataType::Decimal32(..) => {
                    *whole as f64 / 10_f64.powi(self.scale().into())
                }
                _ => *whole as f64,
            },
            Value::Text(_) => f64::NAN,
        }
    }

    fn scale(&self) -> i8 {
        match self.data_type {
            DataType::Decimal128(_, scale)
            | DataType::Decimal64(_, scale)
            | DataType::Decimal32(_, scale) => scale,
            _ => 0,
        }
    }

    fn is_ordered(&self) -> bool {
        matches!(self.kind, Kind::Bool | Kind::Whole | Kind::Decimal | Kind::Float)
    }

    /// Whether there is nothing between a value and the next one.
    fn is_discrete(&self) -> bool {
        self.kind == Kind::Bool || self.data_type.is_integer() || self.data_type == DataType::Date32
    }

    /// What is known when all rows were added.
    pub(super) fn finish(self) -> ColumnProfile {
        let distinct = match &self.many {
            Some(many) => many.distinct.estimate(),
            None => self.counts.len() as u64,
        };
        let tokens = match &self.many {
            None => self.counts.each().filter(|(_, entry)| self.is_null_token(&entry.value)).count() as u64,
            Some(_) => 0,
        };
        let looks = (self.kind == Kind::Text).then(|| self.looks());
        let json = |value: &Option<Value>| value.as_ref().map(|value| value.to_json(&self.data_type));
        ColumnProfile {
            histogram: self.histogram(),
            top: self.top(),
            min: json(&self.min),
            max: json(&self.max),
            mean: self.mean_shown(),
            null_tokens: looks.map_or(0, |looks| looks.null_tokens),
            distinct,
            distinct_values: distinct.saturating_sub(tokens),
            distinct_is_exact: self.many.is_none(),
            looks,
            lengths: self.lengths_between,
            rows: self.rows,
            nulls: self.nulls,
            nan: self.nan,
            infinite: self.infinite,
            name: self.name,
            data_type: self.data_type,
        }
    }

    fn mean_shown(&self) -> Option<f64> {
        let is_number = self.data_type.is_numeric();
        (is_number && self.mean.count > 0).then_some(self.mean.mean)
    }

    /// Whether it is a way in which a missing value is written.
    fn is_null_token(&self, value: &Value) -> bool {
        self.kind == Kind::Text && matches!(value, Value::Text(text) if is_null_token(text, &self.tokens))
    }

    fn looks(&self) -> Looks {
        if let Some(many) = &self.many {
            return many.looks;
        }
        let mut looks = Looks::default();
        for (_, entry) in self.counts.each() {
            match &entry.value {
                Value::Text(text) => looks.add(text, entry.count, &self.tokens),
                Value::Whole(_) | Value::Float(_) => {}
            }
        }
        looks
    }

    /// The most frequent values; of sketches only those that are frequent for certain.
    fn top(&self) -> Vec<TopValue> {
        let missed = self.counts.missed();
        let mut entries: Vec<(u64, &Value)> = self
            .counts
            .each()
            .filter(|(_, entry)| entry.count > missed)
            .map(|(_, entry)| (entry.count, &entry.value))
            .collect();
        entries.sort_by(|(count_a, a), (count_b, b)| count_b.cmp(count_a).then_with(|| order(a, b)));
        entries.truncate(self.top_max);
        let exact = missed == 0;
        let top = entries.into_iter().map(|(count, value)| TopValue {
            value: value.to_json(&self.data_type),
            count,
            is_exact: exact,
            is_null_token: self.is_null_token(value),
        });
        top.collect()
    }

    fn histogram(&self) -> Option<Histogram> {
        if !self.is_ordered() {
            let (min, max) = self.lengths_between?;
            let lengths = self.lengths.as_ref()?;
            let steps = Steps::between(min as f64, max as f64, true);
            let counts = steps.fill(lengths.middles(true));
            let (from, to) = (min.into(), max.into());
            return Some(Histogram {
                of: Measure::Lengths,
                from,
                to,
                counts,
                is_exact: !lengths.is_coarse(),
            });
        }
        let discrete = self.is_discrete();
        let (counts, exact) = match &self.many {
            None => {
                let numbers: Vec<(f64, u64)> = self.numbers().collect();
                let (min, max) = between(&numbers);
                (Steps::between(min, max, discrete).fill(numbers.into_iter()), true)
            }
            Some(many) => {
                let spread = many.spread.as_ref()?;
                let (min, max) = self.finite_bounds(spread)?;
                let exact = discrete && !spread.is_coarse();
                (Steps::between(min, max, discrete).fill(spread.middles(discrete)), exact)
            }
        };
        let bound = |value: &Option<Value>| match value {
            Some(Value::Float(number)) if !number.is_finite() => None,
            value => value.as_ref().map(|value| value.to_json(&self.data_type)),
        };
        // Where a bound is infinite the histogram is of the finite numbers.
        let (from, to) = match (bound(&self.min), bound(&self.max)) {
            (Some(from), Some(to)) => (from, to),
            _ => {
                let numbers: Vec<(f64, u64)> = match &self.many {
                    None => self.numbers().collect(),
                    Some(many) => many.spread.as_ref()?.middles(discrete).collect(),
                };
                let (min, max) = between(&numbers);
                (min.into(), max.into())
            }
        };
        (!counts.is_empty()).then_some(Histogram { of: Measure::Values, from, to, counts, is_exact: exact })
    }

    /// Between which numbers the sketch was filled: the bounds that were seen, unless they are infinite.
    fn finite_bounds(&self, spread: &Spread) -> Option<(f64, f64)> {
        let middles: Vec<(f64, u64)> = spread.middles(self.is_discrete()).collect();
        let (first, last) = between(&middles);
        let known = |value: &Option<Value>, instead: f64| {
            let number = value.as_ref().map_or(f64::NAN, |value| self.number(value));
            if number.is_finite() { number } else { instead }
        };
        (!middles.is_empty()).then(|| (known(&self.min, first), known(&self.max, last)))
    }
}

/// What days, instants and numbers count, as 64 bits.
fn counted(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::Date32 => {
            let days = array.as_primitive::<Date32Type>();
            Ok(std::sync::Arc::new(days.unary::<_, Int64Type>(i64::from)))
        }
        DataType::Time32(_) => cast(&cast(array, &DataType::Int32)?, &DataType::Int64),
        _ => cast(array, &DataType::Int64),
    }
}

fn order(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a, b) {
        (Value::Whole(a), Value::Whole(b)) => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        _ => std::cmp::Ordering::Equal,
    }
}

fn between(numbers: &[(f64, u64)]) -> (f64, f64) {
    numbers.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), (number, _)| {
        (min.min(*number), max.max(*number))
    })
}

/// The steps of a histogram: all of the same width.
struct Steps {
    from: f64,
    width: f64,
    count: usize,
}

impl Steps {
    fn between(min: f64, max: f64, discrete: bool) -> Self {
        if min > max {
            return Self { from: 0.0, width: 1.0, count: 0 };
        }
        if discrete {
            // Each step has the same number of whole numbers, so that no step is higher for having more.
            let span = max - min + 1.0;
            let width = (span / STEPS_MAX as f64).ceil();
            return Self { from: min, width, count: ((span / width).ceil() as usize).clamp(1, STEPS_MAX) };
        }
        // Halves, because the difference of two finite numbers may not be one.
        let width = (max / 2.0 - min / 2.0) / (STEPS_MAX as f64 / 2.0);
        match width > 0.0 {
            true => Self { from: min, width, count: STEPS_MAX },
            false => Self { from: min, width: 1.0, count: 1 },
        }
    }

    fn fill(&self, numbers: impl Iterator<Item = (f64, u64)>) -> Vec<u64> {
        let mut counts = vec![0; self.count];
        for (number, count) in numbers {
            let distance = number - self.from;
            // The difference of two finite numbers may not be one; that of whole numbers is exact.
            let steps = match distance.is_finite() {
                true => distance / self.width,
                false => number / self.width - self.from / self.width,
            };
            let step = steps.max(0.0) as usize;
            let last = self.count.saturating_sub(1);
            if let Some(place) = counts.get_mut(step.min(last)) {
                *place += count;
            }
        }
        counts
    }
}

/// A running mean that does not lose small numbers beside a large sum.
#[derive(Default)]
struct Mean {
    count: u64,
    mean: f64,
}

impl Mean {
    fn add(&mut self, number: f64) {
        self.count += 1;
        let count = self.count as f64;
        // In two steps: the difference of two finite numbers may not be one.
        self.mean += number / count - self.mean / count;
    }
}
