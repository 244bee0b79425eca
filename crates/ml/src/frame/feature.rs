//! One column of a table, made the columns of the matrix that its encoding says.

use std::cmp::Ordering;

use arrow::{
    array::{Array, ArrayRef, AsArray, StringArray},
    compute::{DatePart as Part, date_part},
    datatypes::{DataType, Int32Type},
};
use lagar_flow::{Error, Result, codes};

use super::{
    Encoding, Feature, Kind, Missing, by_number, learn::target_means, numbers_of, rounded, said, texts_of,
    without_dictionary,
};
use crate::{
    spec::{DatePart, Precision},
    split::{micros_of, too_far_away},
};

/// Parts in which rows that are learned from are encoded by the target of the other parts.
const TARGET_FOLDS: u64 = 5;

impl Feature {
    /// Whether its parts fit together. Values are looked for in lists that are in order.
    pub(super) fn check(&self) -> Result<(), String> {
        let fits = match &self.encoding {
            Encoding::Number => matches!(self.kind, Kind::Number | Kind::Boolean),
            Encoding::Parts { .. } => self.kind == Kind::Time,
            Encoding::OneHot { .. } | Encoding::Ordinal { .. } | Encoding::Target { .. } => true,
        };
        if !fits {
            return Err("has an encoding that is not for its kind".to_owned());
        }
        let in_order = match &self.encoding {
            Encoding::OneHot { categories } => categories.is_sorted_by(|a, b| a < b),
            Encoding::Ordinal { categories } => {
                let order = self.order_of(categories);
                categories.is_sorted_by(|a, b| order(a, b).is_lt())
            }
            Encoding::Target { values, .. } => values.is_sorted_by(|a, b| a.0 < b.0),
            Encoding::Number | Encoding::Parts { .. } => true,
        };
        if in_order { Ok(()) } else { Err("has values that are not in order, each once".to_owned()) }
    }

    /// By what the categories of an ordinal encoding are in order: those of numbers by number. Records that were written
    /// before that have them by text, and keep their places.
    fn order_of(&self, categories: &[String]) -> fn(&str, &str) -> Ordering {
        match self.kind {
            Kind::Number if !categories.is_sorted() => by_number,
            _ => |a, b| a.cmp(b),
        }
    }

    pub(super) fn width(&self) -> usize {
        match &self.encoding {
            Encoding::Number | Encoding::Ordinal { .. } | Encoding::Target { .. } => 1,
            Encoding::OneHot { categories } => categories.len() + 1,
            Encoding::Parts { parts } => parts.len(),
        }
    }

    pub(super) fn columns(&self) -> Vec<String> {
        let name = &self.name;
        match &self.encoding {
            Encoding::Number | Encoding::Ordinal { .. } | Encoding::Target { .. } => vec![name.clone()],
            Encoding::OneHot { categories } => {
                let values = categories.iter().map(String::as_str).chain(["(other)"]);
                values.map(|value| format!("{name}={value}")).collect()
            }
            Encoding::Parts { parts } => parts.iter().map(|part| format!("{name}.{}", part.name())).collect(),
        }
    }

    /// Adds the columns of the matrix to `data`, one after the other.
    pub(super) fn numbers(&self, column: &ArrayRef, precision: Precision, data: &mut Vec<f64>) -> Result<()> {
        let kind = Kind::of(&self.name, column.data_type())?;
        if kind != self.kind && *column.data_type() != DataType::Null {
            return Err(Error::new(
                codes::PREDICTOR_DATA,
                format!(
                    "the feature `{}` was {}, and is {} now",
                    self.name,
                    self.kind.said(),
                    said(column.data_type())
                ),
            )
            .hint("give it the type that was learned from, or train again"));
        }
        let plain = without_dictionary(&self.name, column)?;
        let column = &plain;
        let by_value = !matches!(self.encoding, Encoding::Number | Encoding::Parts { .. });
        if by_value && !self.has_texts_of(column.data_type()) {
            return Err(Error::new(
                codes::PREDICTOR_DATA,
                format!(
                    "the feature `{}` is encoded by its values, which were {}, and are {} now",
                    self.name,
                    self.data_type,
                    column.data_type()
                ),
            )
            .hint("cast it to the type that was learned from: 5 and 5.0 are different texts"));
        }
        match &self.encoding {
            Encoding::Number if self.kind == Kind::Number => {
                data.extend(self.finite(&rounded(&self.name, column, precision)?)?);
            }
            Encoding::Number => data.extend(self.finite(column)?),
            Encoding::OneHot { categories } => {
                let texts = self.texts(column)?;
                let (start, rows, others) = (data.len(), texts.len(), categories.len());
                data.resize(start + rows * (others + 1), 0.0);
                for (row, place) in places(&texts, categories, |a, b| a.cmp(b)).enumerate() {
                    data[start + place.unwrap_or(others) * rows + row] = 1.0;
                }
            }
            Encoding::Ordinal { categories } => {
                let texts = self.texts(column)?;
                let places = places(&texts, categories, self.order_of(categories));
                data.extend(places.map(|place| place.map_or(-1.0, |place| place as f64)));
            }
            Encoding::Target { values, other } => {
                let texts = self.texts(column)?;
                let number = |value: Option<&str>| {
                    let place =
                        value.and_then(|value| values.binary_search_by(|(v, _)| v.as_str().cmp(value)).ok());
                    place.map_or(*other, |place| values[place].1)
                };
                data.extend(texts.iter().map(number));
            }
            Encoding::Parts { parts } => {
                for part in parts {
                    data.extend(self.part(*part, column)?);
                }
            }
        }
        Ok(())
    }

    /// Whether a value of that type has the text by which it was learned.
    fn has_texts_of(&self, data_type: &DataType) -> bool {
        let was_whole = ["Int", "UInt"].iter().any(|whole| self.data_type.starts_with(whole));
        matches!(self.kind, Kind::Text | Kind::Boolean)
            || *data_type == DataType::Null
            || self.data_type == data_type.to_string()
            || was_whole && data_type.is_integer()
    }

    /// A target encoding of rows that are learned from: each row gets the mean of the rows in other folds.
    pub(super) fn out_of_fold(&self, column: &ArrayRef, target: &[f64], data: &mut Vec<f64>) -> Result<()> {
        let texts = self.texts(column)?;
        let fold = |row: usize| (row as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let start = data.len();
        data.resize(start + texts.len(), 0.0);
        for asked in 0..TARGET_FOLDS {
            let (means, other) = target_means(&texts, target, |row| fold(row) % TARGET_FOLDS != asked);
            for (row, value) in texts.iter().enumerate().filter(|(row, _)| fold(*row) % TARGET_FOLDS == asked)
            {
                data[start + row] = value.and_then(|value| means.get(value)).copied().unwrap_or(other);
            }
        }
        Ok(())
    }

    /// The values as finite numbers, what is missing filled in.
    fn finite(&self, column: &ArrayRef) -> Result<Vec<f64>> {
        let numbers = numbers_of(&self.name, column)?;
        let fill = match &self.missing {
            Some(Missing::Number(value)) => Some(*value),
            _ => None,
        };
        let mut values = numbers.values().to_vec();
        if numbers.null_count() > 0 {
            let Some(fill) = fill else {
                return Err(self.nulls("null", numbers.null_count(), numbers.len()));
            };
            for row in (0..numbers.len()).filter(|row| numbers.is_null(*row)) {
                values[row] = fill;
            }
        }
        // NaN is what some writers put where there is nothing.
        let nans = values.iter().filter(|value| value.is_nan()).count();
        if nans > 0 {
            let Some(fill) = fill else { return Err(self.nulls("NaN", nans, values.len())) };
            values.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = fill);
        }
        let infinite = values.iter().filter(|value| value.is_infinite()).count();
        if infinite > 0 {
            let what =
                format!("the feature `{}` is infinite in {infinite} of {} rows", self.name, values.len());
            return Err(Error::new(codes::PREDICTOR_DATA, what)
                .hint("say in the SQL that makes the table what stands there instead"));
        }
        Ok(values)
    }

    fn nulls(&self, what: &str, count: usize, rows: usize) -> Error {
        let name = &self.name;
        let fill = if self.kind == Kind::Text { "unknown" } else { "0" };
        Error::new(codes::PREDICTOR_DATA, format!("the feature `{name}` is {what} in {count} of {rows} rows")).hint(
            format!(
                "say what stands there instead, `impute: {{{name}: {fill}}}` (a constant, mean, median, most_frequent), \
                 or leave the rows or the column out"
            ),
        )
    }

    /// The values as text, what is missing filled in.
    pub(super) fn texts(&self, column: &ArrayRef) -> Result<StringArray> {
        let texts = texts_of(&self.name, column)?;
        if texts.null_count() == 0 {
            return Ok(texts);
        }
        match &self.missing {
            Some(Missing::Text(fill)) => Ok(texts.iter().map(|value| Some(value.unwrap_or(fill))).collect()),
            _ => Err(self.nulls("null", texts.null_count(), texts.len())),
        }
    }

    fn part(&self, part: DatePart, column: &ArrayRef) -> Result<Vec<f64>> {
        let nulls = column.logical_null_count();
        if nulls > 0 {
            return Err(self.nulls("null", nulls, column.len()));
        }
        let of = format!("the feature `{}`", self.name);
        // Of a timestamp with a zone it is the parts of its local time that were learned from.
        let (learned, asked) = (zone_of(&self.data_type), column.data_type().to_string());
        if learned != zone_of(&asked) {
            let what = format!(
                "the feature `{}` was learned from as {}, and is {asked} here",
                self.name, self.data_type
            );
            return Err(Error::new(codes::PREDICTOR_DATA, what).hint(
                "its parts would be those of another time zone; cast it to the type that was learned from",
            ));
        }
        let arrow_part = match part {
            DatePart::Year => Part::Year,
            DatePart::Month => Part::Month,
            DatePart::Day => Part::Day,
            DatePart::DayOfWeek => Part::DayOfWeekMonday0,
            DatePart::DayOfYear => Part::DayOfYear,
            DatePart::Week => Part::Week,
            DatePart::Hour => Part::Hour,
            DatePart::Days => {
                let micros = micros_of(&of, column)?;
                return Ok(micros.values().iter().map(|micros| *micros as f64 / 86_400e6).collect());
            }
        };
        let numbers = date_part(column, arrow_part).map_err(|error| {
            Error::new(codes::PREDICTOR_DATA, format!("no {} of `{}`", part.name(), self.name))
                .caused_by(&error)
        })?;
        // Null where there is none, behind which 0 stands.
        if numbers.null_count() > 0 {
            return Err(too_far_away(&of, numbers.null_count(), numbers.len()));
        }
        Ok(numbers.as_primitive::<Int32Type>().values().iter().map(|number| f64::from(*number)).collect())
    }
}

/// The parts of the dates or timestamps of `column`, a column for each.
pub(crate) fn parts_of(name: &str, parts: &[DatePart], column: &ArrayRef) -> Result<Vec<Vec<f64>>> {
    let feature = Feature {
        name: name.to_owned(),
        kind: Kind::Time,
        data_type: column.data_type().to_string(),
        missing: None,
        encoding: Encoding::Parts { parts: parts.to_vec() },
    };
    parts.iter().map(|part| feature.part(*part, column)).collect()
}

/// The time zone in the name of an Arrow type.
fn zone_of(data_type: &str) -> Option<&str> {
    let zone = data_type.split('"').nth(1)?;
    Some(if ["+00:00", "Z", "Etc/UTC"].contains(&zone) { "UTC" } else { zone })
}

impl DatePart {
    fn name(self) -> &'static str {
        match self {
            DatePart::Year => "year",
            DatePart::Month => "month",
            DatePart::Day => "day",
            DatePart::DayOfWeek => "day_of_week",
            DatePart::DayOfYear => "day_of_year",
            DatePart::Week => "week",
            DatePart::Hour => "hour",
            DatePart::Days => "days",
        }
    }
}

/// The place of each value in `categories`, which are in that order.
fn places<'a>(
    texts: &'a StringArray,
    categories: &'a [String],
    order: fn(&str, &str) -> Ordering,
) -> impl Iterator<Item = Option<usize>> + 'a {
    texts.iter().map(move |value| {
        value.and_then(|value| categories.binary_search_by(|category| order(category, value)).ok())
    })
}
