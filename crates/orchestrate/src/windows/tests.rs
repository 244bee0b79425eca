#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

/// Windows of a `sql` source, as a project says them.
fn windows(more: Value) -> Arc<dyn lagar_connectors::Source> {
    let mut window = json!({"column": "at", "size": "1d", "from": "2024-03-08"});
    window.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let config = json!({"url": "sqlite:x", "table": "t", "window": window});
    (lagar_connectors::kind("sql").unwrap().parse)(&config).unwrap_or_else(|e| panic!("{e:?}")).into()
}

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap_or_else(|_| format!("{text}:00Z").parse().unwrap())
}

/// A load of `day`, made at `made` by a run that began at `since`, or by a backfill.
fn load(day: &str, made: &str, since: Option<&str>) -> Arc<Manifest> {
    let day = lagar_connectors::window::parse_date(day).unwrap();
    let edge = |day: NaiveDate| day.and_time(NaiveTime::MIN);
    let mut window = json!({"from": edge(day), "to": edge(day.succ_opt().unwrap())});
    if let Some(since) = since {
        window["earlier_read_at"] = json!(time(since));
    }
    let manifest = json!({
        "format_version": 1, "number": 1, "id": uuid::Uuid::nil(), "source": "s", "run_id": "r",
        "created_at": time(made), "lagar_version": "0", "scope": "window", "window": window, "files": [],
        "columns": [], "rows": 0, "rejected": 0, "bytes": 0,
    });
    Arc::new(serde_json::from_value(manifest).unwrap())
}

/// What is due at `now`, in New York: the day, with a `+` if it is read again.
fn due(more: Value, loads: &[Arc<Manifest>], now: &str) -> Vec<String> {
    let source = windows(more);
    let standing = Standing::new(source.windows().unwrap(), loads, chrono_tz::America::New_York, time(now));
    let show = |due: &Due| format!("{}{}", due.asked.window, if due.again { "+" } else { "" });
    standing.due().unwrap().iter().map(show).collect()
}

#[test]
fn a_window_is_due_when_it_is_over_where_the_project_is() {
    for (now, expected) in [
        ("2024-03-01T12:00", vec![]),
        ("2024-03-09T04:59", vec![]),
        ("2024-03-09T05:00", vec!["2024-03-08"]),
        // The 10th has 23 hours.
        ("2024-03-11T03:59", vec!["2024-03-08", "2024-03-09"]),
        ("2024-03-11T04:00", vec!["2024-03-08", "2024-03-09", "2024-03-10"]),
    ] {
        assert_eq!(due(json!({}), &[], now), expected, "{now}");
    }
    assert_eq!(due(json!({"to": "2024-03-09"}), &[], "2024-06-01T00:00"), ["2024-03-08", "2024-03-09"]);
    assert_eq!(due(json!({"from": "2030-01-01"}), &[], "2024-06-01T00:00"), [""; 0]);
}

#[test]
fn hours_that_come_twice_are_over_after_the_second_time() {
    let hours =
        |now| due(json!({"size": "30m", "from": "2024-11-03T00:30", "to": "2024-11-03"}), &[], now).len();
    // Clocks show one o'clock at 05:00 and at 06:00.
    for (now, count) in [
        ("2024-11-03T05:00", 0),
        ("2024-11-03T05:59", 0),
        ("2024-11-03T06:00", 1),
        ("2024-11-03T06:29", 1),
        ("2024-11-03T06:30", 2),
        ("2024-11-03T07:00", 3),
    ] {
        assert_eq!(hours(now), count, "{now}");
    }
    // The hour from two to three does not come in spring, and is over at once.
    let hours = |now| due(json!({"size": "1h", "from": "2024-03-10T01:00", "to": "2024-03-10"}), &[], now);
    assert_eq!(hours("2024-03-10T06:59"), [""; 0]);
    assert_eq!(hours("2024-03-10T07:00"), ["2024-03-10T01:00..02:00", "2024-03-10T02:00..03:00"]);
}

#[test]
fn a_window_in_the_middle_that_is_missing_is_found() {
    let loads = [
        load("2024-03-08", "2024-03-20T00:00", Some("2024-03-20T00:00")),
        load("2024-03-10", "2024-03-20T00:01", Some("2024-03-20T00:00")),
    ];
    assert_eq!(
        due(json!({}), &loads, "2024-03-12T12:00"),
        ["2024-03-08", "2024-03-09", "2024-03-10", "2024-03-11"]
    );
    assert_eq!(due(json!({"to": "2024-03-11"}), &loads, "2024-03-21T12:00"), ["2024-03-09", "2024-03-11"]);
}

#[test]
fn a_window_that_was_read_before_it_was_over_is_not_done() {
    let early = [load("2024-03-08", "2024-03-09T04:00", None)];
    assert_eq!(due(json!({}), &early, "2024-03-09T12:00"), ["2024-03-08"]);
    let later = [early[0].clone(), load("2024-03-08", "2024-03-09T06:00", None)];
    assert_eq!(due(json!({}), &later, "2024-03-09T12:00"), [""; 0]);
}

#[test]
fn late_rows_are_looked_for_until_the_lag_is_over() {
    let lag = || json!({"lag": "1d", "to": "2024-03-09"});
    // The 8th is over at 05:00 of the 9th, and settled at 05:00 of the 10th.
    let first = || load("2024-03-08", "2024-03-09T07:00", Some("2024-03-09T07:00"));
    assert_eq!(due(lag(), &[first()], "2024-03-09T09:00"), ["2024-03-08+"]);
    assert_eq!(due(lag(), &[first()], "2024-03-10T07:00"), ["2024-03-08+", "2024-03-09"]);
    // Nothing had changed in the 8th, so only the 9th has a load. It says that the 8th was read again.
    let second = || load("2024-03-09", "2024-03-10T07:01", Some("2024-03-10T07:00"));
    assert_eq!(due(lag(), &[first(), second()], "2024-03-11T07:00"), ["2024-03-09+"]);
    // A backfill of the 9th says nothing about the 8th.
    let filled = load("2024-03-09", "2024-03-12T07:00", None);
    assert_eq!(due(lag(), &[first(), filled], "2024-03-13T07:00"), ["2024-03-08+"]);
    // A run that came only a week later still looks.
    assert_eq!(due(lag(), &[first()], "2024-03-16T07:00"), ["2024-03-08+", "2024-03-09"]);
    // It began before the lag was over, and read the 9th behind it: the 8th was too early.
    let crossed = load("2024-03-09", "2024-03-10T05:01", Some("2024-03-10T04:59"));
    assert_eq!(due(lag(), &[first(), crossed], "2024-03-13T07:00"), ["2024-03-08+", "2024-03-09+"]);
    // A longer lag holds for what was read before, too.
    assert_eq!(
        due(json!({"lag": "5d", "to": "2024-03-08"}), &[first()], "2024-03-13T07:00"),
        ["2024-03-08+"]
    );
}

#[test]
fn a_clock_that_was_ahead_loses_no_window() {
    // On the 9th a clock showed the 12th: days were read that had not come yet.
    let ahead = ["2024-03-08", "2024-03-09", "2024-03-10", "2024-03-11"]
        .map(|day| load(day, "2024-03-12T12:00", Some("2024-03-12T12:00")));
    // It was put right: nothing that it says is believed.
    assert_eq!(due(json!({}), &ahead, "2024-03-09T12:00"), ["2024-03-08"]);
    // What was read since says when the others were read.
    let mut loads = ahead.to_vec();
    loads.push(load("2024-03-08", "2024-03-09T12:00", Some("2024-03-09T12:00")));
    assert_eq!(due(json!({}), &loads, "2024-03-20T12:00")[..3], ["2024-03-09", "2024-03-10", "2024-03-11"]);
    assert_eq!(due(json!({}), &loads, "2024-03-01T12:00"), [""; 0], "and one that is behind reads nothing");
    // Two machines whose clocks differ a little do not read again what the other one read.
    let other = [load("2024-03-08", "2024-03-09T05:03", Some("2024-03-09T05:03"))];
    assert_eq!(due(json!({}), &other, "2024-03-09T05:01"), [""; 0]);
}

#[test]
fn a_backfill_reads_the_days_that_are_missing_or_all() {
    let source = windows(json!({}));
    let loads = [load("2024-02-28", "2024-03-20T00:00", None)];
    let standing = Standing::new(
        source.windows().unwrap(),
        &loads,
        chrono_tz::America::New_York,
        time("2024-03-02T12:00"),
    );
    let day = |text: &str| lagar_connectors::window::parse_date(text).unwrap();
    let between = |all: bool| {
        let (due, open) = standing.between(day("2024-02-27"), day("2024-03-03"), all).unwrap();
        (due.iter().map(|due| due.asked.window.to_string()).collect::<Vec<_>>(), open)
    };
    // The load of the 28th comes from a clock that is ahead.
    assert_eq!(between(false).0, ["2024-02-27", "2024-02-28", "2024-02-29", "2024-03-01"]);
    let loads = [load("2024-02-28", "2024-03-01T12:00", None)];
    let standing = Standing::new(
        source.windows().unwrap(),
        &loads,
        chrono_tz::America::New_York,
        time("2024-03-02T12:00"),
    );
    let (due, open) = standing.between(day("2024-02-27"), day("2024-03-03"), false).unwrap();
    assert_eq!((due.len(), open), (3, 2), "two are not over");
    assert_eq!(standing.between(day("2024-02-27"), day("2024-03-03"), true).unwrap().0.len(), 4);
    assert_eq!(standing.between(day("2024-02-28"), day("2024-02-28"), false).unwrap().0.len(), 0);
}

#[test]
fn the_plan_says_what_is_due() {
    let said = |loads: &[Arc<Manifest>], now| {
        let source = windows(json!({"lag": "1d"}));
        plan_text(&Standing::new(source.windows().unwrap(), loads, chrono_tz::UTC, time(now))).unwrap()
    };
    assert_eq!(said(&[], "2024-03-11T12:00"), "3 windows due, from 2024-03-08 to 2024-03-10");
    let first = [load("2024-03-08", "2024-03-09T07:00", Some("2024-03-09T07:00"))];
    assert_eq!(said(&first, "2024-03-09T08:00"), "no window is missing; 1 window read again for late rows");
    assert_eq!(
        said(&first, "2024-03-10T08:00"),
        "1 window due: 2024-03-09; 1 window read again for late rows"
    );
}

#[test]
fn a_step_says_what_became_of_its_windows() {
    let said = |due, loaded, empty, unchanged| {
        let mut report = StepReport::new("raw.s", crate::report::StepKind::Load);
        report.windows = Some(WindowCounts { due, loaded, empty, unchanged });
        summarise(&mut report);
        format!("{}: {}", report.status.as_str(), report.notes.join("; "))
    };
    assert_eq!(said(0, 0, 0, 0), "nothing_new: no window is due");
    assert_eq!(said(1, 0, 0, 1), "nothing_new: 1 window unchanged");
    assert_eq!(said(3, 3, 0, 0), "ok: 3 windows");
    assert_eq!(
        said(9, 5, 2, 1),
        "ok: 5 windows, 2 without rows, 1 more unchanged; 3 windows left: the next run reads them"
    );
}
