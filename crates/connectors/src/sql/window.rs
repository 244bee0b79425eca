//! The rows of one window: a half-open range of a column with a time, its ends bound as values.

use chrono::{NaiveDateTime, NaiveTime};
use lagar_flow::{Error, Result, codes};

use super::{
    cursor::{CursorType, CursorValue},
    plan::{Bound, Described},
    quote::{Dialect, quote},
    value::days_of_date,
};
use crate::window::Asked;

/// Parts of a statement.
#[derive(Debug)]
pub(super) struct Range {
    /// True for the rows of the window.
    pub(super) condition: String,
    /// What the condition compares.
    pub(super) expression: String,
    pub(super) bounds: Vec<Bound>,
    /// True for rows that are in no window at all.
    pub(super) in_none: String,
}

impl Range {
    /// # Errors
    /// The column has no time, or none as exact as the window.
    pub(super) fn new(dialect: Dialect, column: &Described, asked: &Asked) -> Result<Self> {
        let kind = column.cursor.ok_or_else(|| no_time(column))?;
        let name = format!("q.{}", quote(dialect, &column.name)?);
        let (from, to) = (asked.window.from, asked.window.to);
        let micros = |moment: NaiveDateTime| CursorValue::Int(moment.and_utc().timestamp_micros().into());
        let bounds = match kind {
            CursorType::Date if [from, to].iter().all(|edge| edge.time() == NaiveTime::MIN) => {
                [from, to].map(|edge| CursorValue::Int(days_of_date(edge.date()).into()))
            }
            CursorType::Date => {
                let message =
                    format!("`{}` is a date, and the window {} is no whole day", column.name, asked.window);
                return Err(Error::new(codes::CONFIG, message).hint("count `size` of `window` in days"));
            }
            CursorType::Timestamp => [from, to].map(micros),
            CursorType::TimestampTz => {
                [asked.from, asked.to].map(|edge| CursorValue::Int(edge.timestamp_micros().into()))
            }
            CursorType::Stored => [from, to].map(|edge| CursorValue::Text(text_at(edge))),
            _ => return Err(no_time(column)),
        };
        let places = if dialect == Dialect::Postgres { ["$1", "$2"] } else { ["?", "?"] };
        let expression = match kind {
            // Some write a T between date and time, some a blank.
            CursorType::Stored => format!("REPLACE({name}, 'T', ' ')"),
            _ => name.clone(),
        };
        let range = format!("{expression} >= {} AND {expression} < {}", places[0], places[1]);
        let (condition, in_none) = match dialect {
            // As text a number would lie in some window, and not in the one that it means.
            Dialect::Sqlite => {
                (format!("TYPEOF({name}) = 'text' AND {range}"), format!("TYPEOF({name}) <> 'text'"))
            }
            Dialect::Postgres => (range, format!("{name} IS NULL OR NOT ISFINITE({name})")),
            // A zero date is no time: its year is 0.
            Dialect::MySql => (range, format!("{name} IS NULL OR YEAR({name}) = 0")),
        };
        let bounds = bounds.map(|value| Bound { kind, value }).into();
        Ok(Self { condition, expression, bounds, in_none })
    }
}

/// A text that sorts before every ISO 8601 time from `moment` on, and behind those before it.
fn text_at(moment: NaiveDateTime) -> String {
    let form = if moment.time() == NaiveTime::MIN { "%Y-%m-%d" } else { "%Y-%m-%d %H:%M:%S" };
    let text = moment.format(form).to_string();
    // Cut at the minute: a prefix sorts before all that begin with it, with or without seconds.
    text.strip_suffix(":00").unwrap_or(&text).to_owned()
}

fn no_time(column: &Described) -> Error {
    let (name, kind) = (&column.name, &column.type_name);
    let message = format!("`{name}` cannot be the column of a window: its type {kind} is no time");
    Error::new(codes::DATABASE_TYPE, message)
        .hint("name a column of a date or timestamp type in `window.column`")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stands_between_the_times_before_and_those_from_it_on() {
        for (moment, text) in [
            ("2024-01-02T00:00:00", "2024-01-02"),
            ("2024-01-02T06:00:00", "2024-01-02 06:00"),
            ("2024-01-02T06:30:15", "2024-01-02 06:30:15"),
        ] {
            let moment: NaiveDateTime = moment.parse().unwrap();
            assert_eq!(text_at(moment), text);
            for form in ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S%.3f", "%Y-%m-%d %H:%M:%SZ"] {
                let written = |moment: NaiveDateTime| moment.format(form).to_string();
                assert!(*text <= *written(moment), "{form}");
                assert!(written(moment - chrono::TimeDelta::seconds(1)).as_str() < text, "{form}");
            }
        }
    }
}
