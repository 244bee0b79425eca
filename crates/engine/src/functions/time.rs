//! Times of a place, and the holidays of the USA.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Date32Type, TimestampMicrosecondType},
};
use chrono::{
    DateTime, Datelike, Days, LocalResult, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone, Weekday,
};
use chrono_tz::Tz;
use datafusion::common::{Result as DfResult, plan_err};

use super::{Call, Function, Takes, casts, timestamp};

pub(super) const LOCAL_TIMESTAMP: Function = Function {
    name: "local_timestamp",
    syntax: "local_timestamp(text_or_timestamp, 'America/New_York')",
    description: "the instant, in UTC, at which clocks of that place show this time. An hour that clocks show twice \
                  is the first one; in the hour that they leave out they are taken to go on as before \
                  (02:30 is 03:30 of the new time). What is no time is null, and counted",
    example: ("local_timestamp('2020-06-15T00:48:55.000', 'America/New_York')", Some("2020-06-15T04:48:55Z")),
    takes: &[Takes::LocalTime, Takes::Constant],
    required: 2,
    returns: || timestamp(Some("UTC")),
    counts: true,
    apply: |call| {
        let Some(Some(name)) = call.constants.first() else {
            return plan_err!("the time zone must not be null");
        };
        let zone = zone(name)?;
        let instants = local_micros(call).into_iter().map(|local| instant(local?, zone));
        Ok(Arc::new(TimestampMicrosecondArray::from_iter(instants).with_timezone("UTC")))
    },
};

pub(super) const US_FEDERAL_HOLIDAY: Function = Function {
    name: "us_federal_holiday",
    syntax: "us_federal_holiday(date)",
    description: "the name of the federal holiday of the USA on that day, computed by the law of the year since 1971; \
                  `… (observed)` on the Friday or Monday that is free for one on a weekend; else null. Inauguration \
                  Day, which is one around Washington only, is left out",
    example: ("us_federal_holiday(DATE '2020-07-03')", Some("Independence Day (observed)")),
    takes: &[Takes::Date],
    required: 1,
    returns: || DataType::Utf8,
    counts: false,
    apply: |call| {
        let days = call.values.as_primitive::<Date32Type>();
        let names = days.iter().map(|day| holiday(Date32Type::to_naive_date_opt(day?)?));
        Ok(Arc::new(names.collect::<StringArray>()))
    },
};

/// The time zone of that name. Fails if there is none.
pub(super) fn zone(name: &str) -> DfResult<Tz> {
    match name.parse() {
        Ok(zone) => Ok(zone),
        Err(_) => plan_err!("`{name}` is no time zone: write one as in 'America/New_York'"),
    }
}

fn local_micros(call: &Call<'_>) -> Vec<Option<NaiveDateTime>> {
    if *call.values.data_type() == DataType::Utf8 {
        return call.each(casts::local);
    }
    let times = call.values.as_primitive::<TimestampMicrosecondType>();
    call.count((times.len() - times.null_count()) as u64, 0);
    times.iter().map(|time| DateTime::from_timestamp_micros(time?).map(|time| time.naive_utc())).collect()
}

/// Microseconds since 1970 in UTC.
fn instant(local: NaiveDateTime, zone: Tz) -> Option<i64> {
    let instant = match zone.from_local_datetime(&local) {
        LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => instant.naive_utc(),
        LocalResult::None => local.checked_sub_signed(before_the_gap(local, zone)?)?,
    };
    Some(instant.and_utc().timestamp_micros())
}

/// The offset of the time before clocks were put forward over `local`. No gap is longer than a day.
fn before_the_gap(local: NaiveDateTime, zone: Tz) -> Option<TimeDelta> {
    let quarters = (1..=97).map(|quarters| local - TimeDelta::minutes(15 * quarters));
    let offsets = quarters.filter_map(|earlier| zone.offset_from_local_datetime(&earlier).latest());
    offsets.map(|offset| TimeDelta::seconds(offset.fix().local_minus_utc().into())).next()
}

/// The federal holiday on `day`, or of the day for which it is free.
fn holiday(day: NaiveDate) -> Option<String> {
    if let Some(name) = on(day) {
        return Some(name.to_owned());
    }
    let weekend = match day.weekday() {
        Weekday::Fri => day.checked_add_days(Days::new(1))?,
        Weekday::Mon => day.checked_sub_days(Days::new(1))?,
        _ => return None,
    };
    on(weekend).map(|name| format!("{name} (observed)"))
}

/// The holiday that the law (5 U.S.C. 6103) puts on this very day.
fn on(day: NaiveDate) -> Option<&'static str> {
    let (year, month, date, weekday) = (day.year(), day.month(), day.day(), day.weekday());
    // Which of its weekday in the month it is, and whether it is the last.
    let (nth, last) = (date.div_ceil(7), day.checked_add_days(Days::new(7))?.month() != month);
    if year < 1971 {
        return None;
    }
    match (month, date, weekday) {
        (1, 1, _) => Some("New Year's Day"),
        (1, _, Weekday::Mon) if nth == 3 && year >= 1986 => Some("Birthday of Martin Luther King, Jr."),
        (2, _, Weekday::Mon) if nth == 3 => Some("Washington's Birthday"),
        (5, _, Weekday::Mon) if last => Some("Memorial Day"),
        (6, 19, _) if year >= 2021 => Some("Juneteenth National Independence Day"),
        (7, 4, _) => Some("Independence Day"),
        (9, _, Weekday::Mon) if nth == 1 => Some("Labor Day"),
        (10, _, Weekday::Mon) if nth == 2 => Some("Columbus Day"),
        (10, _, Weekday::Mon) if nth == 4 && year <= 1977 => Some("Veterans Day"),
        (11, 11, _) if year >= 1978 => Some("Veterans Day"),
        (11, _, Weekday::Thu) if nth == 4 => Some("Thanksgiving Day"),
        (12, 25, _) => Some("Christmas Day"),
        _ => None,
    }
}
