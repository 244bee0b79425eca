//! O9: the disk of the lake is full at any moment; what was committed stays, and the work goes on when
//! there is room again.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use lagar_testing::{Battery, long};

use crate::support::audited::Audited;

const DISK_BYTES: u64 = 4 << 20;

#[test]
fn a_full_disk_loses_nothing() {
    let Some(disk) = SmallDisk::mount() else { return };
    let Some(mut audited) = Audited::with_lake(Some(disk.folder.join("lake"))) else { return };
    let mut battery = Battery::new("O9");
    audited.grow();
    audited.place.run(&[]);
    // A round needs some 120 KiB in blocks: full at once, at its end, and at places between.
    let room = (0..if long() { 40 } else { 8 }).map(|step| step * if long() { 4 } else { 16 } * 1024);
    let mut refused = 0;
    for room in room {
        battery.case(&format!("{room} bytes free: cargo test -p lagar-cli --test e2e a_full_disk"), || {
            audited.grow();
            disk.leave(room);
            let done = audited.place.lagar(&["run"]);
            if done.code != 0 {
                refused += 1;
                // A disk that is full is no fault of the data: later it may work.
                done.says(75, &["no space left", "E3004", "make room, then run again"]);
                let found = audited.look(&[audited.rows() - 5, audited.rows()]);
                assert_eq!(found.state, Some(audited.rows() - 5), "the previous release is there");
            }
            disk.leave(DISK_BYTES);
            audited.place.run(&[]);
            audited.exact();
        });
    }
    assert!(refused >= 3, "the disk was full in only {refused} cases");
}

/// A file system of a few MB that only this test sees: in a mount namespace of a process of its own,
/// reached from outside through `/proc`.
struct SmallDisk {
    folder: PathBuf,
    keeper: Child,
    _here: tempfile::TempDir,
}

impl SmallDisk {
    /// `None`, and said, where mounting is not allowed.
    fn mount() -> Option<Self> {
        let here = tempfile::tempdir().unwrap();
        let script = format!(
            "mount -t tmpfs -o size={DISK_BYTES} none '{}' && echo mounted && exec cat",
            here.path().display()
        );
        // Root may mount in a namespace; others where the kernel lets users have namespaces of their own.
        for namespaces in ["-m", "-rm"] {
            let keeper = Command::new("unshare")
                .args([namespaces, "sh", "-c", &script])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn();
            let Ok(mut keeper) = keeper else { break };
            let mut line = String::new();
            let stdout = keeper.stdout.as_mut().unwrap();
            std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
            if line == "mounted\n" {
                let folder = PathBuf::from(format!("/proc/{}/root{}", keeper.id(), here.path().display()));
                if fs::metadata(&folder).is_ok() {
                    return Some(Self { folder, keeper, _here: here });
                }
            }
            keeper.kill().unwrap();
            keeper.wait().unwrap();
        }
        println!("skipped: a file system may not be mounted here");
        None
    }

    /// Fills the disk until so many bytes are free.
    fn leave(&self, bytes: u64) {
        let ballast = self.folder.join("ballast");
        let _ = fs::remove_file(&ballast);
        if bytes >= DISK_BYTES {
            return;
        }
        // (`df` would look at what lies at this path in our own namespace.)
        let output = Command::new("stat").args(["-f", "-c", "%a %S"]).arg(&self.folder).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let free: u64 = text.split_whitespace().map(|number| number.parse::<u64>().unwrap()).product();
        assert!(free <= DISK_BYTES, "{free} bytes are free: this is another disk");
        let length = usize::try_from(free.saturating_sub(bytes)).unwrap();
        fs::write(&ballast, vec![0; length]).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
