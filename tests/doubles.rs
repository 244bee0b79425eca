//! R4: two runs at once, and one that slept while another did its work.

use std::{
    thread,
    time::{Duration, Instant},
};

use lagar_flow::KillPoint;
use lagar_testing::{Battery, long};

use crate::support::{
    Done, Place,
    audited::Audited,
    running::{Running, points},
};

/// A second run of the same project ends at once and says who is first; readers do not wait.
#[test]
fn of_two_runs_of_a_project_one_goes_on() {
    let Some(mut audited) = Audited::new() else { return };
    audited.grow();
    audited.place.run(&[]);
    let mut battery = Battery::new("R4");
    battery.case("a stopped run holds the project", || {
        audited.grow();
        let first = stopped(&audited.place, KillPoint::HistoryBegun, 1);
        let started = Instant::now();
        let second = audited.place.lagar(&["run"]);
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        let pid = first.id();
        second
            .says(75, &["another run", &format!("process {pid}, since 20"), &format!("kill {pid}"), "E6002"]);
        for reader in [
            &["sql", "SELECT count(*) FROM trusted.orders"][..],
            &["show", "trusted.orders"],
            &["check"],
            &["plan"],
            &["ls"],
            &["runs"],
            &["releases"],
        ] {
            assert_eq!(audited.place.lagar(reader).code, 0, "{reader:?}");
        }
        first.signal("CONT");
        first.end().says(0, &[]);
        audited.exact();
    });
    battery.case("the kernel takes the lock back", || {
        audited.grow();
        let mut first = stopped(&audited.place, KillPoint::HistoryBegun, 1);
        first.kill();
        audited.place.run(&[]);
        audited.exact();
    });
    for attempt in 0..if long() { 100 } else { 4 } {
        battery.case(&format!("started together, attempt {attempt}"), || {
            audited.grow();
            let both: Vec<Running> =
                (0..2).map(|_| Running::start(&mut audited.place.command(&["run", "--json"]))).collect();
            let ends: Vec<Done> = thread::scope(|scope| {
                let ends: Vec<_> = both.into_iter().map(|run| scope.spawn(|| run.end())).collect();
                ends.into_iter().map(|end| end.join().unwrap()).collect()
            });
            // The second may come when the first has ended; then there is nothing to do.
            for end in ends.iter().filter(|end| end.code != 0) {
                end.says(75, &["another run of this project", "run again"]);
            }
            let done = ends.iter().filter(|end| end.code == 0);
            let released = done.filter(|end| end.json()["release"].is_u64()).count();
            assert_eq!(released, 1, "exactly one does the work");
            audited.exact();
        });
    }
}

/// Machines share no lock: the one that slept is refused by the records of the lake, whatever it was at.
#[test]
fn who_slept_is_refused_and_what_the_other_committed_stays() {
    let Some(mut audited) = Audited::new() else { return };
    audited.grow();
    audited.place.run(&[]);
    let other = audited.another_machine();
    let mut battery = Battery::new("R4");
    // Checkpoints come after the commit; the ninth put is one of a table's files.
    let some = if long() { 1 } else { 2 };
    let mut plans: Vec<(KillPoint, u32)> = points().step_by(some).map(|point| (point, 1)).collect();
    let puts = [KillPoint::LocalWritten, KillPoint::LocalSynced, KillPoint::LocalNamed, KillPoint::LocalDone];
    let passes = if long() { 2..=18 } else { 9..=9 };
    plans.extend(passes.flat_map(|pass| puts.map(|point| (point, pass))));
    for (point, pass) in plans {
        let words = format!("{}:stop:{pass}: cargo test -p lagar-cli --test e2e who_slept", point.name());
        battery.case(&words, || {
            audited.grow();
            let sleeper = stopped(&audited.place, point, pass);
            let done = other.lagar(&["run"]);
            done.says(0, &[]);
            let after = audited.look(&[audited.rows()]).releases;
            sleeper.signal("CONT");
            let woken = sleeper.end();
            if done.stderr.contains("nothing new: every source") {
                // It slept when its release was out already.
                woken.says(0, &[]);
            } else {
                woken.says(75, &["run again"]);
                let codes = ["E3007", "E6007"];
                assert!(codes.iter().any(|code| woken.stderr.contains(code)), "{}", woken.stderr);
            }
            // What the other one committed is untouched, also for readers of the newest versions.
            assert_eq!(audited.exact().releases, after, "no release came late");
            let lake = audited.place.lake_files();
            audited.place.lagar(&["run"]).says(0, &["nothing new"]);
            assert!(audited.place.lake_files() == lake, "something was left to do");
        });
    }
}

/// A run that sleeps since it came by `point` for the `pass`-th time.
fn stopped(place: &Place, point: KillPoint, pass: u32) -> Running {
    let run = Running::at(place, point, &format!("stop:{pass}"));
    run.until_stopped();
    run
}
