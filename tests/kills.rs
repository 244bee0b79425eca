//! R1, R3: killed at any moment and at each named one, the same command completes the work: no row lost,
//! none doubled, none foreign.

use std::{
    thread,
    time::{Duration, Instant},
};

use lagar_flow::KillPoint;
use lagar_testing::{Battery, env_number, long, mix, replay};
use serde_json::Value;

use crate::support::{
    Place,
    audited::{Audited, SOURCES},
    running::{Running, passed},
    step,
};

/// Two at once, each with a lake of its own: a machine of two cores is not idle while one waits.
const LANES: u64 = 2;
/// A lake gets new rows so often; its log is then long enough to have been read in many states.
const ROUNDS: u64 = 25;

#[test]
fn killed_at_random_moments_nothing_is_lost_or_doubled() {
    let seed = env_number("LAGAR_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("LAGAR_SEED={seed}");
    let kills = if long() { 1000 } else { 60 };
    thread::scope(|scope| {
        for lane in 0..LANES {
            scope.spawn(move || random_kills(seed, lane, kills / LANES));
        }
    });
}

fn random_kills(seed: u64, lane: u64, kills: u64) {
    let Some((mut audited, mut length)) = begun() else { return };
    let mut battery = Battery::new("R1");
    let mut number = 0;
    let mut random = |below: u128| {
        number += 1;
        u128::from(mix(seed ^ mix(lane) ^ number)) % below
    };
    let (mut killed, mut killed_here, mut round) = (0, 0, 0);
    while killed < kills {
        round += 1;
        assert!(round < 3 * kills + 20, "runs are over before they can be killed");
        if round % ROUNDS == 0 {
            (audited, length) = begun().unwrap();
            killed_here = 0;
        }
        audited.grow();
        // One of three resumed runs is killed too, and perhaps the next one.
        let mut again = true;
        while again {
            let moment = Duration::from_nanos(u64::try_from(random(length.as_nanos())).unwrap());
            again = random(3) == 0;
            let words = replay("lagar-cli", "e2e", "killed_at_random_moments", &[("LAGAR_SEED", seed)]);
            let mut run = Running::start(&mut audited.place.command(&["run", "-q"]));
            thread::sleep(moment);
            if !run.kill() {
                // It was over before: nothing was tried.
                audited.exact();
                break;
            }
            (killed, killed_here) = (killed + 1, killed_here + 1);
            battery.case(&format!("lane {lane} round {round}, after {moment:?}: {words}"), || {
                if !again {
                    let resumed = resume(&mut audited);
                    length = (length + resumed.seconds) / 2;
                    for source in SOURCES {
                        let orphans = resumed.before[source]["orphans"].as_u64().unwrap();
                        assert!(orphans <= killed_here, "{orphans} broken-off loads of {source}");
                    }
                }
            });
        }
    }
}

/// A project that has run once, and how long a run with something to do takes.
fn begun() -> Option<(Audited, Duration)> {
    let mut audited = Audited::new()?;
    audited.grow();
    audited.place.run(&[]);
    audited.grow();
    let started = Instant::now();
    audited.place.run(&[]);
    let length = started.elapsed();
    audited.exact();
    Some((audited, length))
}

/// The same command once more: it reads what was not committed, once, and completes.
fn resume(audited: &mut Audited) -> Resumed {
    let rows = audited.rows();
    let before = audited.look(&[rows - 5, rows]).raw;
    let asked = audited.server.requests().len();
    let started = Instant::now();
    let report = audited.place.run(&[]);
    let seconds = started.elapsed();
    for source in SOURCES {
        let committed = before[source]["rows"].as_u64().unwrap();
        let rejected = before[source]["rejected"].as_u64().unwrap();
        let read = step(&report, &format!("raw.{source}"))["rows_in"].as_u64().unwrap();
        let left = match source {
            // An API is read whole, or not at all when its load is there.
            "readings" if committed == rows => 0,
            "readings" => rows,
            "events" => rows + rows / 5 - committed - rejected,
            _ => rows - committed,
        };
        assert_eq!(read, left, "raw.{source} read again what was committed, or too little");
    }
    assert_eq!(audited.server.requests().len(), asked + 1, "the API was asked once");
    audited.exact();
    Resumed { before, seconds }
}

struct Resumed {
    /// What the auditor found in raw before.
    before: Value,
    seconds: Duration,
}

#[test]
fn at_each_point_the_work_goes_on() {
    let actions = ["abort", "kill", "stop"];
    let mut cases: Vec<_> =
        KillPoint::ALL.iter().flat_map(|point| actions.map(|action| (*point, action))).collect();
    if !long() {
        // Every point, with the actions in turn.
        cases = KillPoint::ALL.iter().copied().zip(actions.into_iter().cycle()).collect();
    }
    in_lanes(&cases, |battery, audited, (point, action)| {
        let plan = format!("{}:{action}", point.name());
        battery.case(&replay_of(&plan), || {
            prepare(audited, *point);
            let run = Running::at(&audited.place, *point, action);
            if *action == "stop" {
                run.until_stopped();
                audited.look(&[audited.rows() - 5, audited.rows()]);
                run.signal("CONT");
                run.end().says(0, &[]);
                audited.exact();
            } else {
                let done = run.end();
                let signal = if *action == "abort" { 6 } else { 9 };
                assert_eq!(done.code, -signal, "{}", done.stderr);
                resume(audited);
            }
        });
    });
}

/// The resumed run is killed too, at each point: 324 pairs, of which some need two deaths to meet.
#[test]
fn at_each_pair_of_points_the_work_goes_on() {
    let all = KillPoint::ALL;
    let mut cases: Vec<_> = all.iter().flat_map(|a| all.iter().map(|b| (*a, *b))).collect();
    if !long() {
        cases = (0..all.len()).step_by(3).map(|i| (all[i], all[(i * 5 + 7) % all.len()])).collect();
    }
    in_lanes(&cases, |battery, audited, (first, second)| {
        let plan = format!("{} then {}", first.name(), second.name());
        battery.case(&replay_of(&plan), || {
            prepare(audited, *first);
            let killed = |audited: &Audited, point: KillPoint| {
                let mut command = audited.place.command(&["run"]);
                Running::start(command.env("LAGAR_KILL_POINT", point.name())).end()
            };
            let done = killed(audited, *first);
            assert_eq!(done.code, -9, "{}", done.stderr);
            // What is left to do may not come by the second point.
            let done = killed(audited, *second);
            assert!(matches!(done.code, -9 | 0), "{}", done.stderr);
            assert_eq!(done.code == -9, done.stderr.contains(&passed(*second)), "{}", done.stderr);
            resume(audited);
        });
    });
}

/// Puts do the same thing many times in a run: killed in each of them.
#[test]
fn at_each_put_the_work_goes_on() {
    let points =
        [KillPoint::LocalWritten, KillPoint::LocalSynced, KillPoint::LocalNamed, KillPoint::LocalDone];
    // A run with something to do for every step puts 18 objects or more.
    let cases: Vec<_> = match long() {
        true => points.iter().flat_map(|point| (1..=18).map(|pass| (*point, pass))).collect(),
        false => points.iter().zip([2, 7, 12, 17]).map(|(point, pass)| (*point, pass)).collect(),
    };
    in_lanes(&cases, |battery, audited, (point, pass)| {
        let plan = format!("{}:kill:{pass}", point.name());
        battery.case(&replay_of(&plan), || {
            audited.grow();
            let mut command = audited.place.command(&["run"]);
            let done = Running::start(command.env("LAGAR_KILL_POINT", &plan)).end();
            assert_eq!(done.code, -9, "{}", done.stderr);
            resume(audited);
        });
    });
}

/// Deals the cases out to lanes, each with a project of its own.
fn in_lanes<T: Sync>(cases: &[T], case: impl Fn(&mut Battery, &mut Audited, &T) + Sync) {
    thread::scope(|scope| {
        for lane in 0..LANES as usize {
            let case = &case;
            scope.spawn(move || {
                let Some((mut audited, _)) = begun() else { return };
                let mut battery = Battery::new("R3");
                for (round, one) in cases.iter().skip(lane).step_by(LANES as usize).enumerate() {
                    if round as u64 % ROUNDS == ROUNDS - 1 {
                        audited = begun().unwrap().0;
                    }
                    case(&mut battery, &mut audited, one);
                }
            });
        }
    });
}

fn replay_of(plan: &str) -> String {
    format!("{plan}: cargo test -p lagar-cli --test e2e kills::at_each")
}

/// New rows, so that a run comes by `point`.
fn prepare(audited: &mut Audited, point: KillPoint) {
    audited.grow();
    if matches!(point, KillPoint::CheckpointDue | KillPoint::CheckpointMade) {
        age(&audited.place, "trusted/readings");
    }
}

/// Brings the log of a table to where its next version gets a checkpoint, by entries that change nothing.
fn age(place: &Place, table: &str) {
    let log = place.lake().join(table).join("_delta_log");
    let versions = std::fs::read_dir(&log)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".json")?.parse::<u64>().ok());
    let newest = versions.max().unwrap();
    for version in newest + 1..newest - newest % 100 + 100 {
        let entry: Value = serde_json::json!({"commitInfo": {"timestamp": 0, "operation": "WRITE"}});
        std::fs::write(log.join(format!("{version:020}.json")), format!("{entry}\n")).unwrap();
    }
}
