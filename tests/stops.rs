//! R7: a first signal stops a run in order within ten seconds, a second one within one; what was stopped
//! goes on with the same command.

use std::{
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use lagar_flow::KillPoint;
use lagar_testing::{Battery, http::reply_and_stay, long};

use crate::support::{
    Done, Place,
    audited::Audited,
    http::{self, Server},
    running::{Running, points},
};

const FIRST_MAX: Duration = Duration::from_secs(10);
const SECOND_MAX: Duration = Duration::from_secs(1);

#[test]
fn a_first_signal_stops_in_every_phase() {
    let Some(mut audited) = Audited::new() else { return };
    audited.grow();
    audited.place.run(&[]);
    let mut battery = Battery::new("R7");
    for (number, point) in points().enumerate() {
        let (signal, code) = [("TERM", 143), ("INT", 130)][number % 2];
        let words =
            format!("{signal} at {}: cargo test -p lagar-cli --test e2e a_first_signal", point.name());
        battery.case(&words, || {
            audited.grow();
            let releases = audited.look(&[audited.rows() - 5]).releases;
            let run = Running::at(&audited.place, point, "pause"); // as for a slow disk
            let asked = Instant::now();
            run.signal(signal);
            let done = run.end();
            assert!(asked.elapsed() <= FIRST_MAX, "{:?}\n{}", asked.elapsed(), done.stderr);
            let found = audited.look(&[audited.rows() - 5, audited.rows()]);
            if matches!(point, KillPoint::ReleasePut | KillPoint::HistoryEnded) {
                // Too late: all was done.
                done.says(0, &["released as"]);
                assert_eq!(found.releases, releases + 1);
            } else {
                done.says(code, &["stopping; once more to stop at once"]);
                assert_eq!(found.releases, releases, "released after it was asked to stop");
            }
            audited.place.run(&[]);
            audited.exact();
        });
    }
}

/// What does not look at the signal is not waited for.
#[test]
fn a_phase_that_hangs_is_left_behind() {
    let Some(mut audited) = Audited::new() else { return };
    let mut battery = Battery::new("R7");
    let hanging = [KillPoint::LocalSynced, KillPoint::ModelStaged, KillPoint::HistoryBegun];
    let points: Vec<_> = if long() { points().collect() } else { hanging[..2].to_vec() };
    for point in points {
        battery.case(&format!("TERM while {} hangs", point.name()), || {
            audited.grow();
            let run = Running::at(&audited.place, point, "hang"); // as for a disk that is gone
            let asked = Instant::now();
            run.signal("TERM");
            let done = run.end();
            assert!(asked.elapsed() <= FIRST_MAX, "{:?}", asked.elapsed());
            done.says(143, &["not stopped after 8 s"]);
            audited.place.run(&[]);
            audited.exact();
        });
    }
}

#[test]
fn a_second_signal_stops_at_once_in_every_phase() {
    let Some(mut audited) = Audited::new() else { return };
    audited.grow();
    audited.place.run(&[]);
    let mut battery = Battery::new("R7");
    let all = [("TERM", "TERM", 143), ("INT", "INT", 130), ("TERM", "INT", 130)];
    for (number, point) in points().enumerate().step_by(if long() { 1 } else { 2 }) {
        let (first, second, code) = all[number % all.len()];
        battery.case(&format!("{first} and {second} while {} hangs", point.name()), || {
            audited.grow();
            let mut run = Running::at(&audited.place, point, "hang");
            run.signal(first);
            run.until("stopping; once more");
            let asked = Instant::now();
            run.signal(second);
            let done = run.end();
            assert!(asked.elapsed() <= SECOND_MAX, "{:?}", asked.elapsed());
            done.says(code, &[]);
            audited.place.run(&[]);
            audited.exact();
        });
    }
}

/// A source that waits for its server does not keep the signal waiting.
#[test]
fn a_signal_stops_a_source_that_waits() {
    let mut battery = Battery::new("R7");
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        battery.case(&format!("{signal} while a server asks to wait"), || {
            let server = Server::start();
            let busy = reply_and_stay(503, &[("Retry-After", "30")], "");
            server.on("/items", vec![busy]);
            let yaml =
                format!("name: slow\nsources:\n  items:\n    type: rest\n    url: {}/items\n", server.url);
            let place = Place::project(&[("lagar.yaml", &yaml)]);
            let run = Running::start(&mut place.command(&["run"]));
            while server.requests().is_empty() {
                thread::sleep(Duration::from_millis(5));
            }
            let asked = Instant::now();
            run.signal(signal);
            run.end().says(code, &["stopping"]);
            assert!(asked.elapsed() <= FIRST_MAX, "{:?}", asked.elapsed());
            server.on("/items", vec![http::json("[{\"id\":1}]")]);
            place.run(&[]);
            assert_eq!(place.rows("SELECT id FROM raw.items").len(), 1);
        });
    }
}

/// A query that would compute for hours neither keeps the signal waiting nor the sources beside it.
#[test]
fn a_signal_stops_a_query_that_computes() {
    let mut battery = Battery::new("R7");
    let endless = "-- Too many rows.\nSELECT count(*) AS n FROM generate_series(1, 1000000) AS a(x) \
                   CROSS JOIN generate_series(1, 1000000) AS b(y) WHERE a.x + b.y = 0\n";
    let checked = "-- A check that computes as long.\n/*---\nchecks:\n  - {name: long, sql: \"n >= (SELECT count(*) \
                   FROM refined.endless AS a CROSS JOIN refined.endless AS b CROSS JOIN refined.endless AS c \
                   CROSS JOIN refined.endless AS d WHERE a.n + b.n + c.n + d.n = 0)\"}\n---*/\n\
                   SELECT value AS n FROM generate_series(1, 3000)\n";
    let yaml = "name: busy\nsources:\n  items:\n    type: file\n    url: items.csv\n";
    for (what, model) in [("a query", endless), ("a check", checked)] {
        battery.case(&format!("INT while {what} computes"), || {
            let place = Place::project(&[
                ("lagar.yaml", yaml),
                ("items.csv", "id\n1\n"),
                ("refined/endless.sql", model),
            ]);
            let mut run = Running::start(place.command(&["run"]).stdin(Stdio::null()));
            run.until("raw.items");
            let asked = Instant::now();
            run.signal("INT");
            let done: Done = run.end();
            assert!(asked.elapsed() <= FIRST_MAX, "{:?}", asked.elapsed());
            done.says(130, &["stopping"]);
            assert_eq!(place.rows("SELECT id FROM raw.items").len(), 1);
        });
    }
}
