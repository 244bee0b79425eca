//! M3: what happens to a query that spills when its folder is full, cannot be written, or goes away; and
//! that none of its files outlive it.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use lagar_testing::{Battery, long};

use crate::support::{Done, Place, files_below, running::Running, small_disk::SmallDisk};

/// A hexadecimal text needs half its bytes on disk, so this spills some 8 MiB (long: 80).
fn rows() -> u64 {
    if long() { 2_000_000 } else { 200_000 }
}

/// One thread: what two sorts get of so little depends on who asks first.
const LIMITS: &str = "memory: 8MiB, threads: 1";
const DISK_BYTES: u64 = 4 << 20;

/// A sort that needs more memory than it may have.
fn project(place: &Place, lake: &Path, limits: &str) {
    place.write("lagar.yaml", format!("name: spilling\nlake: {}\nlimits: {{{limits}}}\n", lake.display()));
    let rows = rows();
    place.write(
        "refined/sorted.sql",
        format!(
            "-- One row a number.\nSELECT value AS n, md5(CAST(value AS TEXT)) || md5(CAST(-value AS TEXT)) AS t\n\
             FROM generate_series(1, {rows}) ORDER BY t"
        ),
    );
}

fn spilling(limits: &str) -> Place {
    let place = Place::project(&[]);
    project(&place, &place.lake(), limits);
    place
}

fn case(name: &str, work: impl FnOnce()) {
    Battery::new("M3").case(&format!("cargo test -p lagar-cli --test e2e spill::{name}"), work);
}

/// Files of queries that are there now.
fn spilled(tmp: &Path) -> Vec<PathBuf> {
    let of_queries = |path: &PathBuf| path.components().any(|part| part.as_os_str() == "spill");
    files_below(tmp).into_iter().filter(of_queries).collect()
}

#[track_caller]
fn nothing_left(tmp: &Path) {
    let left = files_below(tmp);
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[track_caller]
fn whole(done: &Done) {
    done.says(0, &[]);
    assert_eq!(done.json()["steps"][0]["rows_out"], rows(), "{}", done.stdout);
}

#[test]
fn a_full_spill_folder() {
    let Some(disk) = SmallDisk::mount(DISK_BYTES) else { return };
    case("a_full_spill_folder", || {
        let elsewhere = tempfile::tempdir().unwrap();
        let dir = tempfile::tempdir().unwrap();
        // Written through `/proc`, read by those who see the disk at its place.
        let outside = Place { dir, project: disk.folder.join("project") };
        project(&outside, &elsewhere.path().join("lake"), LIMITS);
        let inside = Place { dir: tempfile::tempdir().unwrap(), project: disk.path().join("project") };
        let lagar = |args: &[&str]| Done::of(disk.inside(&inside.command(args)).output().unwrap());
        let done = lagar(&["run"]);
        done.says(75, &["E3004", "no space left for temporary files"]);
        nothing_left(&disk.folder.join("project/.lagar/tmp"));
        lagar(&["sql", "SELECT * FROM refined.sorted"]).says(2, &["nothing is released yet"]);
        // What fits still works there.
        outside.write("refined/sorted.sql", "-- One row.\nSELECT 1 AS one");
        lagar(&["run"]).says(0, &[]);
    });
}

#[test]
fn a_spill_folder_at_its_limit() {
    case("a_spill_folder_at_its_limit", || {
        let place = spilling(&format!("{LIMITS}, spill: 2MiB"));
        place.lagar(&["run"]).says(1, &["E4202", "limits: {spill: "]);
        nothing_left(&place.project.join(".lagar/tmp"));
    });
}

/// Root writes everywhere, but not below a file.
#[test]
fn a_spill_folder_that_cannot_be_made() {
    case("a_spill_folder_that_cannot_be_made", || {
        let place = spilling(LIMITS);
        place.write(".lagar/tmp", "in the way");
        let blocked = place.dir.path().join("blocked");
        fs::create_dir(&blocked).unwrap();
        fs::write(blocked.join("lagar-spilling"), "in the way").unwrap();
        let run =
            |tmp: &Path| Done::of(place.command(&["run", "--json"]).env("TMPDIR", tmp).output().unwrap());
        run(&blocked).says(1, &["E4202", "no scratch folder can be made", "a folder that can be written to"]);
        // The system's folder takes its place.
        let free = place.dir.path().join("free");
        fs::create_dir(&free).unwrap();
        whole(&run(&free));
        nothing_left(&free);
    });
}

#[test]
fn a_spill_folder_that_goes_away() {
    case("a_spill_folder_that_goes_away", || {
        let place = spilling(LIMITS);
        let tmp = place.project.join(".lagar/tmp");
        let mut run = Running::start(&mut place.command(&["run"]));
        halt_when_it_spills(&tmp, &mut run);
        for folder in fs::read_dir(&tmp).unwrap() {
            fs::remove_dir_all(folder.unwrap().path().join("spill")).unwrap();
        }
        run.signal("CONT");
        run.end().says(1, &["E4202", "temporary file", ".lagar/tmp"]);
        nothing_left(&tmp);
        whole(&place.lagar(&["run", "--json"]));
    });
}

#[test]
fn what_a_killed_query_spilled() {
    case("what_a_killed_query_spilled", || {
        let place = spilling(LIMITS);
        let tmp = place.project.join(".lagar/tmp");
        let mut run = Running::start(&mut place.command(&["run"]));
        halt_when_it_spills(&tmp, &mut run);
        assert!(run.kill(), "it had ended");
        assert!(!spilled(&tmp).is_empty(), "it left nothing");
        // Any command that needs such a folder clears it.
        place.rows("SELECT 1 AS one");
        nothing_left(&tmp);
        whole(&place.lagar(&["run", "--json"]));
        nothing_left(&tmp);
    });
}

/// Stops it while files of its are there: a sort takes them away as soon as it has merged them.
fn halt_when_it_spills(tmp: &Path, run: &mut Running) {
    loop {
        while spilled(tmp).is_empty() {
            assert!(run.is_running(), "it ended without spilling");
            thread::sleep(Duration::from_millis(1));
        }
        run.signal("STOP");
        run.until_stopped();
        if !spilled(tmp).is_empty() {
            return;
        }
        run.signal("CONT");
    }
}
