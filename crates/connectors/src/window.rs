//! The calendar of a source that is read by windows of time, one load each. Nothing here does I/O.
//!
//! Windows are counted from `from` in both directions, in what a clock on the wall shows: a day is a day of
//! the calendar also where it has 23 or 25 hours. Where clocks stand is asked only to know when one is over.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use lagar_flow::{Error, Result, Secret, Window, codes};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

use crate::config::{ConfigError, parse_duration};

/// More windows than this are not listed: 19 years of hours, 1900 years of days.
const WINDOWS_MAX: i64 = 1_000_000;
/// The longest gap in a clock: a day, on islands that changed sides of the date line.
const GAP_MINUTES_MAX: u32 = 26 * 60;
/// Up to here a day is in every month.
const LAST_DAY_OF_EVERY_MONTH: u32 = 28;

/// How long a window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    Minutes(u32),
    Days(u32),
    Months(u32),
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse_size(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

fn parse_size(text: &str) -> Result<Size, String> {
    let wrong = || format!("`{text}` is not the size of a window; write for example 15m, 6h, 1d, 7d or 1mo");
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let number: u32 = text[..digits].parse().map_err(|_| wrong())?;
    if !(1..=10_000).contains(&number) {
        return Err(wrong());
    }
    match text[digits..].trim() {
        "m" | "min" => Ok(Size::Minutes(number)),
        "h" => Ok(Size::Minutes(number * 60)),
        "d" => Ok(Size::Days(number)),
        "mo" => Ok(Size::Months(number)),
        _ => Err(wrong()),
    }
}

/// A day, `2024-02-29`.
///
/// # Errors
/// A sentence that says what is wrong with the text, and with a day that does not exist why.
pub fn parse_date(text: &str) -> Result<NaiveDate, String> {
    let wrong = || format!("`{text}` is not a date; write it like 2024-02-29");
    let is_written = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    if !is_written {
        return Err(wrong());
    }
    let number = |part: &str| part.parse::<u32>().map_err(|_| wrong());
    let (year, month, day) = (number(&text[..4])?, number(&text[5..7])?, number(&text[8..])?);
    let year = i32::try_from(year).map_err(|_| wrong())?;
    NaiveDate::from_ymd_opt(year, month, day).ok_or_else(|| {
        let days = (28..=31).rev().find(|day| NaiveDate::from_ymd_opt(year, month, *day).is_some());
        match days {
            Some(days) => format!("there is no {text}: that month has {days} days"),
            None => format!("there is no {text}: a year has 12 months"),
        }
    })
}

/// A day, or a moment of one: `2024-02-29`, `2024-02-29T06:00`.
fn parse_moment(text: &str) -> Result<NaiveDateTime, String> {
    let (date, time) = match text.split_once(['T', ' ']) {
        None => (text, None),
        Some((date, time)) => (date, Some(time)),
    };
    let date = parse_date(date)?;
    let Some(time) = time else { return Ok(date.and_time(NaiveTime::MIN)) };
    let time = ["%H:%M", "%H:%M:%S"].iter().find_map(|form| NaiveTime::parse_from_str(time, form).ok());
    time.map(|time| date.and_time(time))
        .ok_or_else(|| format!("`{text}` is not a time; write it like 2024-02-29 or 2024-02-29T06:00"))
}

fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NaiveDateTime, D::Error> {
    parse_moment(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn some_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NaiveDate>, D::Error> {
    parse_date(&String::deserialize(deserializer)?).map(Some).map_err(de::Error::custom)
}

fn lag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TimeDelta, D::Error> {
    let lag: Duration = parse_duration(&String::deserialize(deserializer)?).map_err(de::Error::custom)?;
    TimeDelta::from_std(lag).map_err(|_| de::Error::custom("a lag of so many years is not possible"))
}

/// Reading by windows of time, one load each.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestWindow {
    /// How long a window is: `15m`, `6h`, `1d`, `7d`, `1mo`. Days are those of the calendar.
    #[schemars(with = "String")]
    size: Size,
    /// Where the first window begins: `2024-01-01`, `2024-01-01T06:00`. Times are those of the project's
    /// `timezone`.
    #[serde(deserialize_with = "moment")]
    #[schemars(with = "String")]
    from: NaiveDateTime,
    /// The last day to read, if the source ends; default: today.
    #[serde(default, deserialize_with = "some_date")]
    #[schemars(with = "Option<String>")]
    to: Option<NaiveDate>,
    /// How long rows may come late: until so long after its end a window is read again by each run.
    #[serde(default, deserialize_with = "lag")]
    #[schemars(with = "String", default = "no_lag")]
    lag: TimeDelta,
    /// How a moment is written in `params`, as strftime does.
    #[serde(default = "format")]
    format: String,
    /// Query parameters in which `{from}` is the first moment of the window, `{to}` the last one inside, as
    /// exact as `format` is, and `{end}` the first one behind it.
    #[serde(deserialize_with = "crate::http::secret_texts")]
    #[schemars(with = "BTreeMap<String, String>")]
    params: BTreeMap<String, Secret>,
}

/// Reading by windows of time, one load each.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SqlWindow {
    /// The column with the time of a row: a date, a timestamp, or (SQLite) a text in ISO 8601.
    pub column: String,
    /// How long a window is: `15m`, `6h`, `1d`, `7d`, `1mo`. Days are those of the calendar.
    #[schemars(with = "String")]
    size: Size,
    /// Where the first window begins: `2024-01-01`, `2024-01-01T06:00`. Times are those of the project's
    /// `timezone`.
    #[serde(deserialize_with = "moment")]
    #[schemars(with = "String")]
    from: NaiveDateTime,
    /// The last day to read, if the source ends; default: today.
    #[serde(default, deserialize_with = "some_date")]
    #[schemars(with = "Option<String>")]
    to: Option<NaiveDate>,
    /// How long rows may come late: until so long after its end a window is read again by each run.
    #[serde(default, deserialize_with = "lag")]
    #[schemars(with = "String", default = "no_lag")]
    lag: TimeDelta,
}

fn format() -> String {
    "%Y-%m-%dT%H:%M:%S%.3f".to_owned()
}

fn no_lag() -> String {
    "0s".to_owned()
}

impl SqlWindow {
    /// # Errors
    /// What serde cannot check.
    pub fn windows(&self) -> Result<Windows, ConfigError> {
        Windows::new(self.size, self.from, self.to, self.lag)
    }
}

/// The windows of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    size: Size,
    from: NaiveDateTime,
    /// The first moment that is not read.
    end: Option<NaiveDateTime>,
    lag: TimeDelta,
}

impl Windows {
    fn new(
        size: Size,
        from: NaiveDateTime,
        to: Option<NaiveDate>,
        lag: TimeDelta,
    ) -> Result<Self, ConfigError> {
        let wrong = |key: &str, message: &str| Err(ConfigError::new(&["window", key], message));
        if matches!(size, Size::Months(_)) && from.day() > LAST_DAY_OF_EVERY_MONTH {
            return wrong("from", "windows of months begin on a day that every month has: 1 to 28");
        }
        let end = to.and_then(|to| to.succ_opt()).map(|day| day.and_time(NaiveTime::MIN));
        if end.is_some_and(|end| end <= from) {
            return wrong("to", "`to` is before `from`");
        }
        Ok(Self { size, from, end, lag })
    }

    /// Where the first window of a plain run begins.
    pub fn from(&self) -> NaiveDateTime {
        self.from
    }

    /// The first moment behind the last window of a plain run, if there is one.
    pub fn end(&self) -> Option<NaiveDateTime> {
        self.end
    }

    /// How long rows may come late.
    pub fn lag(&self) -> TimeDelta {
        self.lag
    }

    /// All windows that have a moment from `from` until just before `end`, in order.
    ///
    /// # Errors
    /// [`codes::CONFIG`] if they are too many.
    pub fn between(&self, from: NaiveDateTime, end: NaiveDateTime) -> Result<Vec<Window>> {
        if end <= from {
            return Ok(Vec::new());
        }
        let outside = || Error::new(codes::CONFIG, "a window lies outside of the calendar");
        let first = self.number_at(from).ok_or_else(outside)?;
        let last = self.number_at(end - TimeDelta::nanoseconds(1)).ok_or_else(outside)?;
        if last - first >= WINDOWS_MAX {
            let message = format!("from {from} to {end} there are {} windows", last - first + 1);
            return Err(Error::new(codes::CONFIG, message).hint("make `size` of `window` larger"));
        }
        (first..=last).map(|number| self.numbered(number).ok_or_else(outside)).collect()
    }

    /// Whether `window` is one of them.
    pub fn is_one(&self, window: &Window) -> bool {
        self.number_at(window.from).and_then(|number| self.numbered(number)) == Some(*window)
    }

    fn numbered(&self, number: i64) -> Option<Window> {
        Some(Window { from: self.edge(number)?, to: self.edge(number.checked_add(1)?)? })
    }

    /// The beginning of the window of that number; 0 begins at `from`.
    fn edge(&self, number: i64) -> Option<NaiveDateTime> {
        let many = |size: u32| number.checked_mul(i64::from(size));
        match self.size {
            Size::Minutes(size) => self.from.checked_add_signed(TimeDelta::try_minutes(many(size)?)?),
            Size::Days(size) => self.from.checked_add_signed(TimeDelta::try_days(many(size)?)?),
            Size::Months(size) => {
                let months = many(size)?;
                let many = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
                if months < 0 {
                    self.from.checked_sub_months(many)
                } else {
                    self.from.checked_add_months(many)
                }
            }
        }
    }

    /// The number of the window that has `moment`.
    fn number_at(&self, moment: NaiveDateTime) -> Option<i64> {
        let since = moment - self.from;
        let floor = |unit: TimeDelta, size: u32| {
            let seconds = unit.num_seconds() * i64::from(size);
            let below = i64::from(since.subsec_nanos() < 0);
            (since.num_seconds() - below).div_euclid(seconds)
        };
        Some(match self.size {
            Size::Minutes(size) => floor(TimeDelta::minutes(1), size),
            Size::Days(size) => floor(TimeDelta::days(1), size),
            Size::Months(size) => {
                let month = |of: NaiveDateTime| i64::from(of.year()) * 12 + i64::from(of.month0());
                let number = (month(moment) - month(self.from)).div_euclid(i64::from(size));
                // The month is right; within it the window may not have begun yet.
                if self.edge(number)? > moment { number - 1 } else { number }
            }
        })
    }
}

/// When clocks in `zone` show `moment`: the second time, where they are put back and show it twice; where
/// they are put forward and never show it, the moment when they are. Nothing is over too early then.
pub fn instant(moment: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    let minutes = (0..=GAP_MINUTES_MAX).map(|minutes| moment + TimeDelta::minutes(minutes.into()));
    let mut shown = minutes.filter_map(|moment| zone.from_local_datetime(&moment).latest());
    shown.next().map_or_else(|| moment.and_utc(), |instant| instant.to_utc())
}

/// A window to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub window: Window,
    /// When it begins,
    pub from: DateTime<Utc>,
    /// and when it is over.
    pub to: DateTime<Utc>,
}

impl Asked {
    pub fn new(window: Window, zone: Tz) -> Self {
        Self { window, from: instant(window.from, zone), to: instant(window.to, zone) }
    }
}

/// `window:` of a source over HTTP, checked.
#[derive(Debug)]
pub(crate) struct WindowParams {
    pub windows: Windows,
    format: String,
    /// The smallest step that `format` shows.
    precision: TimeDelta,
    params: BTreeMap<String, Secret>,
}

impl WindowParams {
    pub fn new(config: RestWindow) -> Result<Self, ConfigError> {
        let RestWindow { size, from, to, lag, format, params } = config;
        let windows = Windows::new(size, from, to, lag)?;
        let wrong = |key: &str, message: String| Err(ConfigError::new(&["window", key], message));
        let Some(precision) = precision_of(&format) else {
            return wrong("format", format!("`{format}` does not show a time; write it as strftime does"));
        };
        // Were it coarser, two windows would be asked for by the same words.
        let edges = [0, 1, 2, 3].map(|number| windows.edge(number).and_then(|edge| written(edge, &format)));
        if edges.windows(2).any(|pair| pair[0] == pair[1]) {
            return wrong("format", format!("`{format}` does not tell one window from the next"));
        }
        let uses = |mark: &str| params.values().any(|template| template.expose().contains(mark));
        if !uses("{from}") || !(uses("{to}") || uses("{end}")) {
            let message = "the parameters must hold {from}, and {to} (the last moment inside) or {end} (the first one behind)";
            return wrong("params", message.to_owned());
        }
        Ok(Self { windows, format, precision, params })
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.params.keys().map(String::as_str)
    }

    /// The query parameters that ask for `window`.
    ///
    /// # Errors
    /// A year that cannot be written.
    pub fn of(&self, window: &Window) -> Result<Vec<(&str, String)>> {
        let write = |moment: NaiveDateTime| {
            let outside =
                || Error::new(codes::CONFIG, format!("{moment} cannot be written as `{}`", self.format));
            written(moment, &self.format).ok_or_else(outside)
        };
        let (from, end) = (write(window.from)?, write(window.to)?);
        let to = write(window.to - self.precision)?;
        let fill = |template: &Secret| {
            template.expose().replace("{from}", &from).replace("{to}", &to).replace("{end}", &end)
        };
        Ok(self.params.iter().map(|(name, template)| (name.as_str(), fill(template))).collect())
    }

    /// How a saved answer of `window` is called.
    pub fn file_name(&self, window: &Window) -> String {
        let format = match self.windows.size {
            Size::Minutes(_) => "%Y-%m-%dT%H-%M",
            Size::Days(_) | Size::Months(_) => "%Y-%m-%d",
        };
        window.from.format(format).to_string()
    }
}

/// `None` if the format is wrong, or asks for what a clock on the wall does not show.
fn written(moment: NaiveDateTime, format: &str) -> Option<String> {
    let mut text = String::new();
    write!(text, "{}", moment.format(format)).ok()?;
    Some(text)
}

/// The smallest of the usual steps that makes a difference in `format`; a day if none does. `None` if it is
/// no format.
fn precision_of(format: &str) -> Option<TimeDelta> {
    let moment = NaiveDate::from_ymd_opt(2001, 2, 3)?.and_hms_opt(4, 5, 6)?;
    let shown = written(moment, format)?;
    let steps = [
        TimeDelta::nanoseconds(1),
        TimeDelta::microseconds(1),
        TimeDelta::milliseconds(1),
        TimeDelta::seconds(1),
        TimeDelta::minutes(1),
        TimeDelta::hours(1),
        TimeDelta::days(1),
    ];
    let differs = |step: &TimeDelta| written(moment + *step, format).is_some_and(|later| later != shown);
    Some(steps.into_iter().find(differs).unwrap_or(TimeDelta::days(1)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> NaiveDateTime {
        parse_moment(text).unwrap()
    }

    fn windows(size: &str, from: &str) -> Windows {
        Windows::new(parse_size(size).unwrap(), at(from), None, TimeDelta::zero()).unwrap()
    }

    fn between(size: &str, origin: &str, from: &str, end: &str) -> Vec<String> {
        windows(size, origin).between(at(from), at(end)).unwrap().iter().map(Window::to_string).collect()
    }

    #[test]
    fn no_day_is_skipped_and_none_comes_twice() {
        assert_eq!(
            between("1d", "2024-01-01", "2024-02-27", "2024-03-02"),
            ["2024-02-27", "2024-02-28", "2024-02-29", "2024-03-01"]
        );
        assert_eq!(between("1d", "2024-01-01", "2023-02-28", "2023-03-02"), ["2023-02-28", "2023-03-01"]);
        assert_eq!(between("1d", "2024-01-01", "2010-01-17", "2020-12-19").len(), 3989);
        assert_eq!(
            between("7d", "2024-01-01", "2023-12-30", "2024-01-09"),
            ["2023-12-25..2023-12-31", "2024-01-01..2024-01-07", "2024-01-08..2024-01-14"]
        );
        assert_eq!(
            between("1mo", "2024-01-01", "2023-11-30", "2024-03-01"),
            [
                "2023-11-01..2023-11-30",
                "2023-12-01..2023-12-31",
                "2024-01-01..2024-01-31",
                "2024-02-01..2024-02-29"
            ]
        );
        assert_eq!(
            between("3mo", "2024-01-15", "2024-01-01", "2024-04-20"),
            ["2023-10-15..2024-01-14", "2024-01-15..2024-04-14", "2024-04-15..2024-07-14"]
        );
        assert_eq!(between("6h", "2024-01-01", "2023-12-31T23:59", "2024-01-01T06:00").len(), 2);
        assert!(between("1d", "2024-01-01", "2024-01-02", "2024-01-02").is_empty());
        assert!(
            between("1d", "2024-01-01", "2024-01-03", "2024-01-02").is_empty(),
            "a clock that jumped back"
        );
    }

    #[test]
    fn too_many_windows_are_an_error() {
        let error = windows("1m", "2000-01-01").between(at("2000-01-01"), at("2024-01-01")).unwrap_err();
        assert_eq!(error.code(), codes::CONFIG);
    }

    proptest! {
        #[test]
        fn windows_meet_and_hold_every_moment(
            size in prop_oneof!["[1-9]m", "[1-9]h", "[1-9]d", "[1-9]mo"],
            from in 0i64..2_000_000_000, origin in 0i64..2_000_000_000, seconds in 1i64..8_000_000,
        ) {
            let moment = |seconds: i64| DateTime::from_timestamp(seconds, 0).unwrap().naive_utc();
            let origin = moment(origin).date().with_day(7).unwrap().and_time(NaiveTime::MIN);
            let all = Windows::new(parse_size(&size).unwrap(), origin, None, TimeDelta::zero()).unwrap();
            let (from, end) = (moment(from), moment(from + seconds));
            let found = all.between(from, end).unwrap();
            let (first, last) = (found.first().unwrap(), found.last().unwrap());
            prop_assert!(first.from <= from && from < first.to, "{first:?} {from}");
            prop_assert!(last.from < end && end <= last.to, "{last:?} {end}");
            prop_assert!(found.windows(2).all(|pair| pair[0].to == pair[1].from));
            prop_assert!(found.iter().all(|window| all.is_one(window)));
        }
    }

    #[test]
    fn a_window_of_another_size_is_none_of_them() {
        let week = windows("7d", "2024-01-01").between(at("2024-01-01"), at("2024-01-02")).unwrap()[0];
        assert!(windows("7d", "2024-01-08").is_one(&week), "the same weeks");
        assert!(!windows("1d", "2024-01-01").is_one(&week));
        assert!(!windows("7d", "2024-01-02").is_one(&week));
    }

    #[test]
    fn a_day_is_over_when_clocks_show_its_end() {
        let of = |zone: Tz, from: &str, to: &str| (instant(at(from), zone), instant(at(to), zone));
        for (zone, from, to, begins, hours) in [
            (chrono_tz::America::New_York, "2024-03-10", "2024-03-11", "2024-03-10T05:00:00Z", 23),
            (chrono_tz::America::New_York, "2024-11-03", "2024-11-04", "2024-11-03T04:00:00Z", 25),
            (chrono_tz::America::New_York, "2024-02-29", "2024-03-01", "2024-02-29T05:00:00Z", 24),
            (chrono_tz::Europe::Madrid, "2024-03-31", "2024-04-01", "2024-03-30T23:00:00Z", 23),
            (chrono_tz::Europe::Madrid, "2024-10-27", "2024-10-28", "2024-10-26T22:00:00Z", 25),
            (chrono_tz::UTC, "2024-03-10", "2024-03-11", "2024-03-10T00:00:00Z", 24),
            // The 30th of December 2011 was never there.
            (chrono_tz::Pacific::Apia, "2011-12-30", "2011-12-31", "2011-12-30T10:00:00Z", 0),
        ] {
            let (start, end) = of(zone, from, to);
            assert_eq!(start, begins.parse::<DateTime<Utc>>().unwrap(), "{zone} {from}");
            assert_eq!(end - start, TimeDelta::hours(hours), "{zone} {from}");
        }
        // The hour from 1 to 2 comes twice, and is over after the second time.
        let (half_past, two) = of(chrono_tz::America::New_York, "2024-11-03T01:30", "2024-11-03T02:00");
        assert_eq!(two, "2024-11-03T07:00:00Z".parse::<DateTime<Utc>>().unwrap());
        assert_eq!(two - half_past, TimeDelta::minutes(30));
        // The hour from 2 to 3 does not come.
        let (two, three) = of(chrono_tz::Europe::Madrid, "2024-03-31T02:00", "2024-03-31T03:00");
        assert_eq!((two, three), (three, "2024-03-31T01:00:00Z".parse().unwrap()));
    }

    #[test]
    fn a_date_that_does_not_exist_is_refused_by_name() {
        assert_eq!(parse_date("2024-02-29"), Ok(NaiveDate::from_ymd_opt(2024, 2, 29).unwrap()));
        assert_eq!(parse_date("2011-02-31").unwrap_err(), "there is no 2011-02-31: that month has 28 days");
        assert_eq!(parse_date("2024-02-30").unwrap_err(), "there is no 2024-02-30: that month has 29 days");
        assert_eq!(parse_date("2024-13-01").unwrap_err(), "there is no 2024-13-01: a year has 12 months");
        for bad in ["", "2024-1-1", "01-01-2024", "2024/01/01", "today", "2024-01-01T00:00", "２024-01-01"] {
            assert!(parse_date(bad).unwrap_err().contains("is not a date"), "{bad}");
        }
        assert!(parse_moment("2024-01-01T25:00").unwrap_err().contains("is not a time"));
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("6h"), Ok(Size::Minutes(360)));
        assert_eq!(parse_size("1 d"), Ok(Size::Days(1)));
        for bad in ["", "1", "d", "0d", "-1d", "1.5d", "1w", "1y", "99999d", "1s"] {
            assert!(parse_size(bad).unwrap_err().contains("is not the size of a window"), "{bad}");
        }
    }

    fn params(more: serde_json::Value) -> Result<WindowParams, String> {
        let mut value = json!({"size": "1d", "from": "2024-01-01", "params": {"w": "{from} {to} {end}"}});
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let config: RestWindow = serde_json::from_value(value).map_err(|error| error.to_string())?;
        WindowParams::new(config).map_err(|error| format!("{}: {}", error.path.join("."), error.message))
    }

    #[test]
    fn to_is_the_last_moment_inside_as_exact_as_it_is_written() {
        for (format, shown) in [
            (None, "2024-01-31T00:00:00.000 2024-01-31T23:59:59.999 2024-02-01T00:00:00.000"),
            (
                Some("%Y-%m-%dT%H:%M:%S%.6f"),
                "2024-01-31T00:00:00.000000 2024-01-31T23:59:59.999999 2024-02-01T00:00:00.000000",
            ),
            (Some("%Y-%m-%d %H:%M:%S"), "2024-01-31 00:00:00 2024-01-31 23:59:59 2024-02-01 00:00:00"),
            (Some("%d.%m.%Y %R"), "31.01.2024 00:00 31.01.2024 23:59 01.02.2024 00:00"),
            (Some("%F"), "2024-01-31 2024-01-31 2024-02-01"),
            (Some("%s"), "1706659200 1706745599 1706745600"),
        ] {
            let more = format.map_or(json!({}), |format| json!({"format": format}));
            let params = params(more).unwrap();
            let window = params.windows.between(at("2024-01-31"), at("2024-02-01")).unwrap()[0];
            assert_eq!(params.of(&window).unwrap(), [("w", shown.to_owned())], "{format:?}");
        }
    }

    #[test]
    fn months_may_be_written_without_their_days() {
        let params = params(json!({"size": "1mo", "format": "%Y-%m"})).unwrap();
        let window = params.windows.between(at("2024-01-31"), at("2024-02-01")).unwrap()[0];
        assert_eq!(params.of(&window).unwrap(), [("w", "2024-01 2024-01 2024-02".to_owned())]);
    }

    #[test]
    fn what_would_lose_rows_is_refused() {
        for (more, part) in [
            (json!({"format": "%Y"}), "window.format: `%Y` does not tell one window from the next"),
            (json!({"size": "6h", "format": "%F"}), "does not tell one window from the next"),
            (json!({"format": "%Q"}), "does not show a time"),
            (json!({"format": "%F %z"}), "does not show a time"),
            (json!({"format": "x"}), "does not tell one window from the next"),
            (json!({"params": {"a": "{from}"}}), "window.params: the parameters must hold"),
            (json!({"params": {}}), "the parameters must hold"),
            (json!({"params": {"a": "2024"}}), "the parameters must hold"),
            (json!({"from": "2024-02-30"}), "there is no 2024-02-30"),
            (json!({"from": "2024-01-31", "size": "1mo"}), "window.from: windows of months begin on a day"),
            (json!({"to": "2023-12-31"}), "window.to: `to` is before `from`"),
            (json!({"lag": "soon"}), "is not a duration"),
            (json!({"size": "1w"}), "is not the size of a window"),
            (json!({"until": 1}), "unknown field"),
        ] {
            let error = params(more.clone()).unwrap_err();
            assert!(error.contains(part), "{more}: {error}");
        }
        assert!(params(json!({"to": "2024-01-01", "lag": "36h"})).is_ok());
        assert!(params(json!({"params": {"a": "{from}", "b": "{end}"}})).is_ok());
    }
}
