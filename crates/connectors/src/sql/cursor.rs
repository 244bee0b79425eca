//! How far a table has been read by its cursor column: the newest value, and the rows that were already
//! taken at or behind it, so that a row that comes later with an equal value is neither lost nor doubled.

use std::{
    cmp::Ordering,
    collections::{HashMap, VecDeque},
    time::Duration,
};

use arrow::datatypes::DataType;
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use lagar_flow::{Error, Position, Result, codes};
use serde::{Deserialize, Serialize};

use super::{
    config::Lag,
    fit::{fit, parse_decimal, parse_moment},
    value::{MICROS_PER_DAY, Value, date_of_days, date_text, days_of_date, decimal_text, timestamp_text},
};
use crate::spool::to_position;

/// Rows that may lie at or behind the newest value: their hashes are stored with the load.
const BOUNDARY_ROWS_MAX: usize = 200_000;

/// What the values of a cursor column are, and how they are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CursorType {
    Int,
    Decimal {
        precision: u8,
        scale: i8,
    },
    Float,
    Date,
    Timestamp,
    TimestampTz,
    /// By bytes, whatever the collation of the column.
    Text,
    /// SQLite: each value has its own type; numbers come before text.
    Stored,
}

/// One value of a cursor column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum CursorValue {
    /// Integers, unscaled decimals, days, microseconds.
    Int(i128),
    Float(f64),
    Text(String),
}

impl CursorValue {
    /// In the order in which the database returns them.
    fn order(&self, other: &Self) -> Ordering {
        use CursorValue::{Float, Int, Text};
        match (self, other) {
            (Int(a), Int(b)) => a.cmp(b),
            (Float(a), Float(b)) => a.total_cmp(b),
            (Int(a), Float(b)) => (*a as f64).total_cmp(b),
            (Float(a), Int(b)) => a.total_cmp(&(*b as f64)),
            (Text(a), Text(b)) => a.cmp(b),
            (Int(_) | Float(_), Text(_)) => Ordering::Less,
            (Text(_), Int(_) | Float(_)) => Ordering::Greater,
        }
    }
}

impl CursorType {
    /// The place of a row; `None` for null and for values that are not between others (infinity, NaN).
    pub(super) fn value(self, value: &Value<'_>) -> Option<CursorValue> {
        if let CursorType::Decimal { precision, scale } = self {
            return match fit(value, &DataType::Decimal128(precision, scale)) {
                Ok(Value::Decimal { unscaled, .. }) => Some(CursorValue::Int(unscaled)),
                _ => None,
            };
        }
        match value {
            Value::Int(i) | Value::Timestamp(i) | Value::TimestampTz(i) => {
                Some(CursorValue::Int(i128::from(*i)))
            }
            Value::Date(days) => Some(CursorValue::Int(i128::from(*days))),
            Value::Float(f) if f.is_finite() => Some(CursorValue::Float(*f)),
            Value::Text(text) => Some(CursorValue::Text(text.clone().into_owned())),
            _ => None,
        }
    }

    /// As it is written into a position.
    fn write(self, value: &CursorValue) -> Written {
        let (type_name, text) = match (self, value) {
            (CursorType::Decimal { scale, .. }, CursorValue::Int(i)) => ("decimal", decimal_text(*i, scale)),
            (CursorType::Date, CursorValue::Int(i)) => {
                ("date", date_text(i32::try_from(*i).unwrap_or(i32::MAX)))
            }
            (CursorType::Timestamp, CursorValue::Int(i)) => {
                ("timestamp", timestamp_text(i64::try_from(*i).unwrap_or(i64::MAX)))
            }
            (CursorType::TimestampTz, CursorValue::Int(i)) => {
                ("timestamptz", format!("{}Z", timestamp_text(i64::try_from(*i).unwrap_or(i64::MAX))))
            }
            (_, CursorValue::Int(i)) => ("int", i.to_string()),
            (_, CursorValue::Float(f)) => ("float", format!("{f:?}")),
            (_, CursorValue::Text(text)) => ("text", text.clone()),
        };
        Written { type_name: type_name.to_owned(), text }
    }

    fn read(self, written: &Written) -> Option<CursorValue> {
        let text = written.text.as_str();
        let naive = |text: &str| {
            let moment: NaiveDateTime = text.parse().ok()?;
            Some(CursorValue::Int(i128::from(moment.and_utc().timestamp_micros())))
        };
        match (self, written.type_name.as_str()) {
            (CursorType::Int | CursorType::Stored, "int") => text.parse().ok().map(CursorValue::Int),
            (CursorType::Float | CursorType::Stored, "float") => text.parse().ok().map(CursorValue::Float),
            (CursorType::Text | CursorType::Stored, "text") => Some(CursorValue::Text(text.to_owned())),
            (CursorType::Decimal { scale, .. }, "decimal") => {
                parse_decimal(text, scale).map(CursorValue::Int)
            }
            (CursorType::Date, "date") => {
                let date: NaiveDate = text.parse().ok()?;
                Some(CursorValue::Int(i128::from(days_of_date(date))))
            }
            (CursorType::Timestamp, "timestamp") => naive(text),
            (CursorType::TimestampTz, "timestamptz") => naive(text.strip_suffix('Z')?),
            _ => None,
        }
    }

    /// `value` less `lag`; `None` if such a lag does not go with such a value.
    fn before(self, value: &CursorValue, lag: &Lag) -> Option<CursorValue> {
        match (self, value, lag) {
            (CursorType::Int | CursorType::Stored, CursorValue::Int(i), Lag::Number(n)) => {
                i.checked_sub(n.parse().ok()?).map(CursorValue::Int)
            }
            (CursorType::Decimal { scale, .. }, CursorValue::Int(i), Lag::Number(n)) => {
                i.checked_sub(parse_decimal(n, scale)?).map(CursorValue::Int)
            }
            (_, CursorValue::Float(f), Lag::Number(n)) => {
                Some(CursorValue::Float(f - n.parse::<f64>().ok()?))
            }
            (CursorType::Timestamp | CursorType::TimestampTz, CursorValue::Int(i), Lag::Time(lag)) => {
                i.checked_sub(i128::try_from(lag.as_micros()).ok()?).map(CursorValue::Int)
            }
            (CursorType::Date, CursorValue::Int(i), Lag::Time(lag)) => {
                let days = lag.as_micros().div_ceil(MICROS_PER_DAY.unsigned_abs().into());
                i.checked_sub(i128::try_from(days).ok()?).map(CursorValue::Int)
            }
            (CursorType::Stored, CursorValue::Text(text), Lag::Time(lag)) => {
                text_before(text, *lag).map(CursorValue::Text)
            }
            _ => None,
        }
    }
}

/// A text that sorts before every ISO 8601 time later than `text` less `lag`, written like `text`.
fn text_before(text: &str, lag: Duration) -> Option<String> {
    let moment = parse_moment(text)?;
    if !matches!(moment.offset_minutes, None | Some(0)) {
        return None;
    }
    let micros = NaiveDateTime::new(moment.date, moment.time).and_utc().timestamp_micros();
    let before = DateTime::from_timestamp_micros(micros.checked_sub(i64::try_from(lag.as_micros()).ok()?)?)?;
    Some(match text.as_bytes().get(10) {
        None => before.format("%Y-%m-%d").to_string(),
        // Cut at the minute: a prefix sorts before all that begin with it, with or without seconds.
        Some(b'T') => before.format("%Y-%m-%dT%H:%M").to_string(),
        Some(_) => before.format("%Y-%m-%d %H:%M").to_string(),
    })
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Written {
    #[serde(rename = "type")]
    type_name: String,
    #[serde(rename = "value")]
    text: String,
}

/// What is stored with a load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Stored {
    /// Hash of what was read; a position holds for nothing else.
    reads: String,
    column: String,
    /// The newest value; `None` as long as no row had one.
    cursor: Option<String>,
    #[serde(rename = "type")]
    type_name: Option<String>,
    /// The next read begins here: the newest value less the lag.
    from: Option<String>,
    /// Rows at or after `from` that were taken, each once for each time that it was there.
    boundary: Vec<String>,
    /// The columns that the hashes in `boundary` were made of.
    columns: Vec<String>,
    /// Rows without a value in the cursor column; they are read with the first load only.
    nulls: u64,
}

/// Where an earlier read ended.
#[derive(Debug, Clone)]
pub(super) struct Reached {
    pub(super) max: Option<CursorValue>,
    pub(super) from: Option<CursorValue>,
    pub(super) nulls: u64,
    columns: Vec<String>,
    boundary: Vec<String>,
}

impl Reached {
    /// Where to go on by the cursor of type `kind` in what the hash `reads` stands for; or why nothing
    /// can go on at `position`.
    pub(super) fn parse(position: &Position, reads: &str, kind: CursorType) -> Result<Self, String> {
        // An earlier load without a cursor has no place either.
        let stored: Stored =
            position.read().map_err(|_| "the last load did not end at a value of this cursor".to_owned())?;
        if stored.reads != reads {
            return Err("`url`, `table`, `query`, `cursor` or `lag` is not what it was".to_owned());
        }
        let value = |text: Option<String>| -> Result<Option<CursorValue>, String> {
            let Some(text) = text else { return Ok(None) };
            let type_name = stored.type_name.clone().unwrap_or_default();
            let written = Written { type_name, text };
            kind.read(&written).map(Some).ok_or_else(|| {
                format!("the cursor `{}` was of type {} and is no more", stored.column, written.type_name)
            })
        };
        let (max, from) = (value(stored.cursor.clone())?, value(stored.from.clone())?);
        if max.is_some() != from.is_some() {
            return Err("its position cannot be read".to_owned());
        }
        Ok(Self { max, from, nulls: stored.nulls, columns: stored.columns, boundary: stored.boundary })
    }
}

/// Keeps what the next read must not take again, while the rows of this one pass in cursor order.
pub(super) struct Boundary {
    pub(super) index: usize,
    reads: String,
    column: String,
    kind: CursorType,
    lag: Option<Lag>,
    columns: Vec<String>,
    /// The columns of the earlier hashes, by place; `None` if they are this read's own.
    seen_columns: Option<Vec<usize>>,
    incomparable: bool,
    seen: HashMap<String, u32>,
    kept: VecDeque<(CursorValue, String)>,
    unplaced: Vec<String>,
    max: Option<CursorValue>,
    from: Option<CursorValue>,
    pub(super) nulls: u64,
}

impl Boundary {
    /// `reads` is the hash of what is read; `index` is the cursor's place among `columns`.
    pub(super) fn new(
        reads: String,
        index: usize,
        kind: CursorType,
        lag: Option<Lag>,
        columns: Vec<String>,
        reached: Option<&Reached>,
    ) -> Self {
        let seen_columns = reached.filter(|reached| reached.columns != columns).map(|reached| {
            reached
                .columns
                .iter()
                .filter_map(|name| columns.iter().position(|column| column == name))
                .collect()
        });
        let incomparable =
            reached.is_some_and(|reached| reached.columns.iter().any(|name| !columns.contains(name)));
        let mut seen = HashMap::new();
        for hash in reached.iter().flat_map(|reached| &reached.boundary) {
            *seen.entry(hash.clone()).or_insert(0) += 1;
        }
        Self {
            index,
            reads,
            column: columns[index].clone(),
            kind,
            lag,
            columns,
            seen_columns,
            incomparable,
            seen,
            kept: VecDeque::new(),
            unplaced: Vec::new(),
            max: reached.and_then(|reached| reached.max.clone()),
            from: reached.and_then(|reached| reached.from.clone()),
            nulls: reached.map_or(0, |reached| reached.nulls),
        }
    }

    /// True if a column that the earlier hashes were made of is gone, so that nothing compares with them.
    pub(super) fn is_incomparable(&self) -> bool {
        !self.seen.is_empty() && self.incomparable
    }

    /// The columns to hash to compare with an earlier read, if they are not all of this read's.
    pub(super) fn seen_columns(&self) -> Option<&[usize]> {
        self.seen_columns.as_deref()
    }

    /// Takes note of a row; false if an earlier read has taken it already.
    /// `hash` is of all columns, `seen_hash` of [`Self::seen_columns`].
    pub(super) fn is_new(&mut self, value: &Value<'_>, hash: String, seen_hash: &str) -> Result<bool> {
        let new = match self.seen.get_mut(seen_hash) {
            Some(times) if *times > 0 => {
                *times -= 1;
                false
            }
            _ => true,
        };
        match self.kind.value(value) {
            Some(place) => self.keep(place, hash)?,
            None => {
                // Nulls are read by the first load alone, so nothing has to be remembered of them.
                if matches!(value, Value::Null) {
                    self.nulls += 1;
                } else if !matches!(value, Value::ZeroDate) {
                    self.unplaced.push(hash);
                }
            }
        }
        if self.kept.len() + self.unplaced.len() > BOUNDARY_ROWS_MAX {
            return Err(Error::new(
                codes::TOO_LARGE,
                format!(
                    "more than {BOUNDARY_ROWS_MAX} rows lie at the newest value of the cursor `{}`",
                    self.column
                ),
            )
            .hint("take a finer cursor, a smaller `lag`, or no cursor"));
        }
        Ok(new)
    }

    fn keep(&mut self, place: CursorValue, hash: String) -> Result<()> {
        if self.max.as_ref().is_none_or(|max| place.order(max) == Ordering::Greater) {
            let from = match &self.lag {
                None => place.clone(),
                Some(lag) => self.kind.before(&place, lag).ok_or_else(|| self.wrong_lag())?,
            };
            // It never goes back: what lies before it is not in the boundary.
            if self.from.as_ref().is_none_or(|old| from.order(old) == Ordering::Greater) {
                self.from = Some(from);
            }
            self.max = Some(place.clone());
        }
        self.kept.push_back((place, hash));
        if let Some(from) = &self.from {
            while self.kept.front().is_some_and(|(place, _)| place.order(from) == Ordering::Less) {
                self.kept.pop_front();
            }
        }
        Ok(())
    }

    /// The newest value, if it is a time more than a day after `now`: a clock went wrong, or it is no time
    /// at which something happened.
    pub(super) fn later_than(&self, now: DateTime<Utc>) -> Option<String> {
        let day = i128::from(MICROS_PER_DAY);
        let max = self.max.as_ref()?;
        let micros = match (self.kind, max) {
            (CursorType::Date, CursorValue::Int(days)) => days.checked_mul(day)?,
            (CursorType::Timestamp | CursorType::TimestampTz, CursorValue::Int(micros)) => *micros,
            _ => return None,
        };
        // A wall clock may be ahead of UTC by 14 hours.
        let late = micros > i128::from(now.timestamp_micros()) + day;
        late.then(|| self.kind.write(max).text)
    }

    fn wrong_lag(&self) -> Error {
        let expected = match self.kind {
            CursorType::Int | CursorType::Decimal { .. } | CursorType::Float => "a number",
            CursorType::Date | CursorType::Timestamp | CursorType::TimestampTz => "a duration such as 10m",
            CursorType::Text => "no lag, because text has no distances",
            CursorType::Stored => "a number, or a duration where the column has ISO 8601 times in UTC",
        };
        Error::new(codes::CONFIG, format!("`lag` does not fit the cursor `{}`", self.column))
            .hint(format!("this cursor takes {expected}"))
    }

    /// Where this read ended.
    pub(super) fn position(&self) -> Result<Position> {
        let write = |value: &Option<CursorValue>| value.as_ref().map(|value| self.kind.write(value));
        let (max, from) = (write(&self.max), write(&self.from));
        let boundary = self.kept.iter().map(|(_, hash)| hash).chain(&self.unplaced).cloned().collect();
        let stored = Stored {
            reads: self.reads.clone(),
            column: self.column.clone(),
            type_name: max.as_ref().map(|max| max.type_name.clone()),
            cursor: max.map(|max| max.text),
            from: from.map(|from| from.text),
            boundary,
            columns: self.columns.clone(),
            nulls: self.nulls,
        };
        to_position(&stored)
    }
}

/// A bound as a date, for drivers that take one.
pub(super) fn bound_date(value: &CursorValue) -> Option<NaiveDate> {
    match value {
        CursorValue::Int(days) => date_of_days(i64::try_from(*days).ok()?),
        _ => None,
    }
}

/// A bound as a time, for drivers that take one.
pub(super) fn bound_time(value: &CursorValue) -> Option<NaiveDateTime> {
    match value {
        CursorValue::Int(micros) => {
            DateTime::from_timestamp_micros(i64::try_from(*micros).ok()?).map(|time| time.naive_utc())
        }
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn boundary(lag: Option<Lag>, reached: Option<&Position>) -> Boundary {
        let reached = reached.map(|p| Reached::parse(p, "r", CursorType::Int).unwrap());
        Boundary::new("r".into(), 0, CursorType::Int, lag, vec!["c".into(), "d".into()], reached.as_ref())
    }

    /// Reads `rows` (cursor, identity) from where `reached` says; what was new, and the next position.
    fn read(rows: &[(i64, &str)], lag: Option<Lag>, reached: Option<&Position>) -> (Vec<String>, Position) {
        let mut boundary = boundary(lag, reached);
        let from = boundary.from.clone();
        let mut rows = rows.to_vec();
        rows.sort();
        let mut new = Vec::new();
        for (c, id) in rows {
            let place = CursorValue::Int(i128::from(c));
            if from.as_ref().is_none_or(|from| place.order(from) != Ordering::Less)
                && boundary.is_new(&Value::Int(c), id.to_owned(), id).unwrap()
            {
                new.push(id.to_owned());
            }
        }
        (new, boundary.position().unwrap())
    }

    #[test]
    fn equal_values_that_come_later_are_read_once() {
        let (new, position) = read(&[(1, "a"), (2, "b"), (2, "c")], None, None);
        assert_eq!(new, ["a", "b", "c"]);
        let rows = [(1, "a"), (2, "b"), (2, "c"), (2, "d"), (3, "e")];
        let (new, position) = read(&rows, None, Some(&position));
        assert_eq!(new, ["d", "e"]);
        let (new, _) = read(&rows, None, Some(&position));
        assert!(new.is_empty());
    }

    #[test]
    fn equal_rows_count_as_often_as_they_are_there() {
        let (new, position) = read(&[(2, "x"), (2, "x")], None, None);
        assert_eq!(new, ["x", "x"]);
        let (new, _) = read(&[(2, "x"), (2, "x"), (2, "x")], None, Some(&position));
        assert_eq!(new, ["x"]);
    }

    #[test]
    fn with_a_lag_late_rows_are_found_and_none_is_doubled() {
        let lag = Some(Lag::Number("5".into()));
        let (_, position) = read(&[(1, "a"), (7, "b"), (10, "c")], lag.clone(), None);
        let rows = [(1, "a"), (4, "too late"), (6, "late"), (7, "b"), (10, "c")];
        let (new, position) = read(&rows, lag.clone(), Some(&position));
        assert_eq!(new, ["late"]);
        let (new, _) = read(&rows, lag, Some(&position));
        assert!(new.is_empty());
    }

    #[test]
    fn a_position_holds_for_what_it_was_made_for() {
        let (_, position) = read(&[(1, "a")], None, None);
        let why = |position: &Position, reads: &str, kind| Reached::parse(position, reads, kind).unwrap_err();
        assert!(why(&position, "other", CursorType::Int).contains("is not what it was"));
        assert!(why(&position, "r", CursorType::Timestamp).contains("was of type int"));
        for (key, value) in [
            ("reads", serde_json::Value::Null),
            ("boundary", "x".into()),
            ("cursor", "ten".into()),
            ("from", serde_json::Value::Null),
            ("type", serde_json::Value::Null),
        ] {
            let mut damaged: serde_json::Value = position.read().unwrap();
            damaged[key] = value;
            assert!(!why(&Position::of(&damaged).unwrap(), "r", CursorType::Int).is_empty(), "{key}");
        }
        assert!(
            !why(&Position::of(&serde_json::json!({"snapshot": "x"})).unwrap(), "r", CursorType::Int)
                .is_empty()
        );
    }

    #[test]
    fn a_position_comes_back_as_it_was_for_every_type() {
        for (kind, value, text) in [
            (CursorType::Int, CursorValue::Int(-7), "-7"),
            (CursorType::Decimal { precision: 10, scale: 2 }, CursorValue::Int(1250), "12.50"),
            (CursorType::Float, CursorValue::Float(0.1), "0.1"),
            (CursorType::Date, CursorValue::Int(19_724), "2024-01-02"),
            (CursorType::Timestamp, CursorValue::Int(1_704_164_645_123_456), "2024-01-02T03:04:05.123456"),
            (CursorType::TimestampTz, CursorValue::Int(1_704_164_645_000_000), "2024-01-02T03:04:05Z"),
            (CursorType::Timestamp, CursorValue::Int(400_000_000_000_000_000), "+14645-06-30T15:06:40"),
            (CursorType::Text, CursorValue::Text("ñ".into()), "ñ"),
            (CursorType::Stored, CursorValue::Text("2024".into()), "2024"),
            (CursorType::Stored, CursorValue::Float(1.5), "1.5"),
        ] {
            let written = kind.write(&value);
            assert_eq!(written.text, text);
            assert_eq!(kind.read(&written), Some(value));
        }
        let written = CursorType::Int.write(&CursorValue::Int(1));
        assert_eq!(CursorType::Timestamp.read(&written), None);
    }

    #[test]
    fn a_lag_behind_a_text_sorts_before_it() {
        for (text, before) in [
            ("2024-01-02 03:04:05.6", "2024-01-02 02:04"),
            ("2024-01-02T03:04:05Z", "2024-01-02T02:04"),
            ("2024-01-02", "2024-01-01"),
        ] {
            assert_eq!(text_before(text, Duration::from_secs(3600)).as_deref(), Some(before));
        }
        assert_eq!(text_before("2024-01-02T03:04:05+02:00", Duration::ZERO), None);
        assert_eq!(text_before("x", Duration::ZERO), None);
    }

    #[test]
    fn a_lag_of_the_wrong_kind_is_refused() {
        let mut boundary = boundary(Some(Lag::Time(Duration::from_secs(1))), None);
        let error = boundary.is_new(&Value::Int(1), "h".into(), "h").unwrap_err();
        assert_eq!(error.code(), codes::CONFIG);
    }
}
