//! R9, R11: the same run again changes nothing, and a history that is lost or damaged costs nothing but
//! itself.

use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Stdio},
};

use lagar_testing::{Battery, long, mix};
use serde_json::Value;

use crate::support::{Done, Place, audited::Audited};

#[test]
fn the_same_run_five_times_commits_once() {
    let mut battery = Battery::new("R9");
    let shop = Place::sample("shop");
    five_times(&mut battery, "the sample", &shop);
    let Some(mut audited) = Audited::new() else { return };
    for round in 1..=3 {
        audited.grow();
        five_times(&mut battery, &format!("appended, merged and parted, round {round}"), &audited.place);
        audited.exact();
    }
}

fn five_times(battery: &mut Battery, what: &str, place: &Place) {
    place.run(&[]);
    let before = place.lake_files();
    for again in 2..=5 {
        battery.case(&format!("{what}, run {again}"), || {
            let report = place.run(&[]);
            assert_eq!(report["status"], "nothing_new");
            assert_eq!(report["release"], Value::Null);
            assert_eq!(place.lake_files(), before, "the lake was written to");
        });
    }
}

/// The runs that `lagar runs` knows, and how the command ended.
fn runs(place: &Place) -> (BTreeSet<String>, Done) {
    let done = place.lagar(&["runs", "--json"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let list = done.json();
    let ids = list.as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap().to_owned());
    (ids.collect(), done)
}

#[test]
fn a_lost_or_damaged_history_is_made_again_from_the_lake() {
    let Some(mut audited) = Audited::new() else { return };
    for _ in 0..3 {
        audited.grow();
        audited.place.run(&[]);
    }
    let state = audited.place.project.join(".lagar");
    let path = state.join("history.db");
    // A run closes its history; who only reads it may leave an empty log behind.
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.len() > 20_000 && !state.join("history.db-wal").exists(), "all is in the one file");
    let (known, _) = runs(&audited.place);
    assert_eq!(known.len(), 3);
    let told = audited.place.lagar(&["runs", "show", "--json"]).json();

    let mut battery = Battery::new("R11");
    let mut case = |audited: &mut Audited, what: String, damage: &dyn Fn(&mut Vec<u8>) -> bool| {
        battery.case(&what, || {
            let mut damaged = bytes.clone();
            match damage(&mut damaged) {
                true => fs::write(&path, &damaged).unwrap(),
                false => fs::remove_file(&path).unwrap(),
            }
            let (found, done) = runs(&audited.place);
            assert_eq!(found, known, "made again from the lake");
            let noticed = done.stderr.contains("the history was damaged");
            let lost = damaged.is_empty() || damaged == bytes;
            assert!(noticed || lost || same(&audited.place, &told), "damage that nobody noticed");
            for entry in fs::read_dir(&state).unwrap() {
                let entry = entry.unwrap();
                if entry.file_name().to_string_lossy().starts_with("history.db") {
                    fs::remove_file(entry.path()).unwrap();
                }
            }
        });
    };
    case(&mut audited, "deleted".into(), &|_| false);
    let length = bytes.len();
    for cut in [0, 1, 15, 99, 100, 4096, length / 2, length - 4096, length - 1] {
        case(&mut audited, format!("cut to {cut} of {length} bytes"), &|bytes| {
            bytes.truncate(cut);
            true
        });
    }
    for flip in 0..if long() { 100 } else { 12 } {
        let bit = usize::try_from(mix(flip) % (8 * length as u64)).unwrap();
        case(&mut audited, format!("bit {bit} flipped"), &|bytes| {
            bytes[bit / 8] ^= 1 << (bit % 8);
            true
        });
    }
    // A run finds its way over a damaged history, too.
    fs::write(&path, &bytes[..length / 3]).unwrap();
    audited.grow();
    let done = audited.place.lagar(&["run"]);
    done.says(0, &["the history was damaged: it is made again from the lake", "history.db.damaged-"]);
    audited.exact();
    let (found, _) = runs(&audited.place);
    assert!(found.is_superset(&known) && found.len() == 4, "{found:?}");
}

/// Whether the newest run is told as before: the bit that was flipped says nothing.
fn same(place: &Place, told: &Value) -> bool {
    place.lagar(&["runs", "show", "--json"]).json() == *told
}

/// Where nothing can be kept the run goes on, and says so.
#[test]
fn a_history_that_cannot_be_kept_is_a_warning() {
    let Some(mut audited) = Audited::new() else { return };
    let mut battery = Battery::new("R11");
    battery.case("a file where the folder should be", || {
        audited.place.write(".lagar", "in the way");
        audited.grow();
        audited.place.lagar(&["run"]).says(0, &["warning: the history is not complete"]);
        audited.exact();
        fs::remove_file(audited.place.project.join(".lagar")).unwrap();
    });
    audited.grow();
    audited.place.run(&[]);
    audited.grow();
    let state = audited.place.project.join(".lagar");
    let Some(done) = with_read_only(&audited.place, &state) else { return };
    battery.case("a folder that may only be read", || {
        done.says(0, &["warning: the history is not complete"]);
        audited.exact();
    });
}

/// `lagar run` where `folder` may only be read, by root too; `None`, and said, where that cannot be had.
fn with_read_only(place: &Place, folder: &std::path::Path) -> Option<Done> {
    let run = place.command(&["run"]);
    let folder = folder.display();
    let script = format!(
        "mount --bind '{folder}' '{folder}' && mount -o remount,ro,bind '{folder}' && echo mounted >&2 && exec \"$@\""
    );
    for namespaces in ["-m", "-rm"] {
        let mut command = Command::new("unshare");
        command.args([namespaces, "sh", "-c", &script, "sh"]).arg(run.get_program()).args(run.get_args());
        command.current_dir(place.dir.path()).env_remove("LAGAR_LAKE").stdin(Stdio::null());
        let Ok(output) = command.output() else { break };
        let done = Done::of(output);
        if done.stderr.starts_with("mounted\n") {
            return Some(done);
        }
    }
    println!("skipped: a folder may not be mounted read-only here");
    None
}
