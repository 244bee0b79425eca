//! SQL functions for the cleaning that people write once: [`FUNCTIONS`].
//!
//! A function is one line there and one `fn` that goes through an array. Null stays null. Where a value
//! does not fit, the result is null, and the query counts it: [`misfits`].

mod casts;
mod listing;
mod misfits;
#[cfg(test)]
mod tests;
mod text;
mod time;

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray, StringArray},
    datatypes::{DataType, FieldRef, TimeUnit},
};
use datafusion::{
    common::{Result as DfResult, ScalarValue, internal_err, plan_err},
    logical_expr::{
        ColumnarValue, DocSection, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
        ScalarUDFImpl, Signature, Volatility,
    },
};

pub(crate) use listing::listing;
use misfits::Tally;
pub(crate) use misfits::{Tallies, counted};

/// What stands for "nothing" in the data that people publish, unless the project says otherwise. Profiles go by
/// it too, so that what one calls null the functions make null.
const NULL_TOKENS: &[&str] = &["", ".", "N/A", "n/a", "Na", "nan", "NaN", "null", "NULL"];

/// The list when fingerprints of models began to leave it out. It must not change: with any other list, also a newer
/// default, tables are made again.
const UNSAID_NULL_TOKENS: &[&str] = &["", ".", "N/A", "n/a", "Na", "nan", "NaN"];

/// Texts that mean null.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NullTokens(Arc<[String]>);

impl Default for NullTokens {
    fn default() -> Self {
        Self::new(NULL_TOKENS.iter().map(|token| (*token).to_owned()))
    }
}

impl NullTokens {
    /// White space around a token does not count, upper and lower case do.
    pub fn new(tokens: impl IntoIterator<Item = String>) -> Self {
        Self(tokens.into_iter().map(|token| token.trim().to_owned()).collect())
    }

    /// The tokens, without white space around them.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// Whether fingerprints of models do not mention them.
    pub(crate) fn are_unsaid(&self) -> bool {
        self.0.iter().eq(UNSAID_NULL_TOKENS)
    }

    pub(crate) fn has(&self, text: &str) -> bool {
        let text = text.trim();
        self.0.iter().any(|token| token == text)
    }
}

/// A function of ours, as it is listed, documented and made.
#[derive(Debug)]
pub struct Function {
    pub name: &'static str,
    /// How it is called, with its arguments.
    pub syntax: &'static str,
    /// What it returns, in a sentence.
    pub description: &'static str,
    /// A call, and its value as text.
    pub example: (&'static str, Option<&'static str>),
    takes: &'static [Takes],
    /// So many arguments have to be there.
    required: usize,
    returns: fn() -> DataType,
    /// Values that do not fit are counted.
    counts: bool,
    apply: fn(&Call<'_>) -> DfResult<ArrayRef>,
}

/// What an argument may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Text, or what has one: numbers, truth values, dates.
    Text,
    /// A date or a timestamp.
    Date,
    /// Text, or a date or timestamp without a time zone.
    LocalTime,
    /// One text for all rows.
    Constant,
}

/// All our functions, by name.
pub const FUNCTIONS: &[Function] = &[
    text::CLEAN,
    time::LOCAL_TIMESTAMP,
    text::NULL_TOKENS,
    text::SQUEEZE,
    casts::TRY_BOOL,
    casts::TRY_DATE,
    casts::TRY_DOUBLE,
    casts::TRY_INT,
    casts::TRY_TIMESTAMP,
    time::US_FEDERAL_HOLIDAY,
    text::ZIP_CODE,
];

/// The functions as DataFusion takes them.
pub(crate) fn all(tokens: &NullTokens) -> impl Iterator<Item = Arc<ScalarUDF>> {
    FUNCTIONS.iter().map(|function| Arc::new(Ours::new(function, tokens.clone(), None).into()))
}

fn timestamp(zone: Option<&str>) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into))
}

/// One call: an array, the constants behind it, and what is counted.
struct Call<'a> {
    values: ArrayRef,
    constants: Vec<Option<&'a str>>,
    tokens: &'a NullTokens,
    tally: Option<(&'a Tally, &'a FieldRef)>,
}

impl Call<'_> {
    fn texts(&self) -> &StringArray {
        self.values.as_string::<i32>()
    }

    /// `value` of each text; null for null and what stands for it. Counts the texts that have none.
    fn each<T>(&self, value: impl Fn(&str) -> Option<T>) -> Vec<Option<T>> {
        let (mut values, mut misfits) = (0, 0);
        let read = self.texts().iter().map(|text| {
            let text = text.map(str::trim).filter(|text| !self.tokens.has(text))?;
            let value = value(text);
            values += 1;
            misfits += u64::from(value.is_none());
            value
        });
        let read = read.collect();
        self.count(values, misfits);
        read
    }

    fn count(&self, values: u64, misfits: u64) {
        if let Some((tally, place)) = self.tally {
            tally.add(place, values, misfits);
        }
    }
}

/// A function between us and DataFusion.
#[derive(Debug)]
struct Ours {
    function: &'static Function,
    tokens: NullTokens,
    /// Where the misfits of one query are counted.
    tally: Option<Arc<Tally>>,
    signature: Signature,
    documentation: Documentation,
}

impl Ours {
    fn new(function: &'static Function, tokens: NullTokens, tally: Option<Arc<Tally>>) -> Self {
        let section = DocSection { include: true, label: "Cleaning", description: None };
        let documentation = Documentation::builder(section, function.description, function.syntax).build();
        let signature = Signature::user_defined(Volatility::Immutable);
        Self { function, tokens, tally, signature, documentation }
    }

    fn same(&self) -> (&str, &NullTokens, Option<&str>) {
        (self.function.name, &self.tokens, self.tally.as_ref().map(|tally| tally.label()))
    }
}

impl PartialEq for Ours {
    fn eq(&self, other: &Self) -> bool {
        self.same() == other.same()
    }
}

impl Eq for Ours {}

impl Hash for Ours {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.same().hash(state);
    }
}

impl Takes {
    /// The type to which an argument is brought; `None` if it cannot be.
    fn coerced(self, from: &DataType) -> Option<DataType> {
        use DataType::{Boolean, Date32, Date64, Dictionary, LargeUtf8, Null, Timestamp, Utf8, Utf8View};
        let is_text = |data_type: &DataType| matches!(data_type, Utf8 | LargeUtf8 | Utf8View | Null);
        let inner = match from {
            Dictionary(_, values) => values,
            other => other,
        };
        match (self, inner) {
            (Takes::Text, Boolean | Date32 | Date64 | Timestamp(..)) => Some(Utf8),
            (Takes::Text, number) if number.is_numeric() => Some(Utf8),
            (Takes::Text | Takes::LocalTime | Takes::Constant, text) if is_text(text) => Some(Utf8),
            (Takes::Date, Date32 | Date64 | Timestamp(..) | Null) => Some(Date32),
            (Takes::LocalTime, Date32 | Date64 | Timestamp(_, None)) => Some(timestamp(None)),
            _ => None,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Takes::Text => "text",
            Takes::Date => "a date or timestamp",
            Takes::LocalTime => "text, a date, or a timestamp without time zone",
            Takes::Constant => "a constant text",
        }
    }
}

impl ScalarUDFImpl for Ours {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        let Function { name, syntax, takes, required, .. } = self.function;
        if types.len() < *required || types.len() > takes.len() {
            return plan_err!("`{name}` does not take {} arguments: write {syntax}", types.len());
        }
        let coerced = takes.iter().zip(types).map(|(takes, from)| match takes.coerced(from) {
            Some(to) => Ok(to),
            None => plan_err!("`{name}` does not take {from}, only {}: write {syntax}", takes.words()),
        });
        coerced.collect()
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok((self.function.returns)())
    }

    /// Constants are looked at before anything runs.
    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        for (takes, value) in self.function.takes.iter().zip(args.scalar_arguments) {
            if let (Takes::Constant, Some(ScalarValue::Utf8(Some(text)))) = (takes, value) {
                (self.function.constant_check())(text)?;
            }
        }
        Ok(Arc::new(arrow::datatypes::Field::new(self.name(), (self.function.returns)(), true)))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let Some((first, constants)) = args.args.split_first() else {
            return internal_err!("`{}` without arguments", self.name());
        };
        let constants = constants.iter().map(|constant| match constant {
            ColumnarValue::Scalar(ScalarValue::Utf8(text)) => Ok(text.as_deref()),
            _ => plan_err!("`{}`: only the first argument may differ from row to row", self.name()),
        });
        let constants = constants.collect::<DfResult<Vec<_>>>()?;
        let is_scalar = matches!(first, ColumnarValue::Scalar(_));
        let values = first.to_array(1)?;
        // A constant is no value of the data.
        let tally = self.tally.as_deref().filter(|_| !is_scalar).map(|tally| (tally, &args.return_field));
        let result = (self.function.apply)(&Call { values, constants, tokens: &self.tokens, tally })?;
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?),
            false => ColumnarValue::Array(result),
        })
    }
}

impl Function {
    /// What a constant argument must be.
    fn constant_check(&self) -> fn(&str) -> DfResult<()> {
        match self.name {
            "local_timestamp" => |zone| time::zone(zone).map(|_| ()),
            _ => |format| casts::check_format(format),
        }
    }
}
