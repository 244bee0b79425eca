//! O9: the disk of the lake is full at any moment; what was committed stays, and the work goes on when
//! there is room again.

use lagar_testing::{Battery, long};

use crate::support::{audited::Audited, small_disk::SmallDisk};

/// Each round leaves some 200 KiB.
const DISK_BYTES: u64 = 32 << 20;

#[test]
fn a_full_disk_loses_nothing() {
    let Some(disk) = SmallDisk::mount(DISK_BYTES) else { return };
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
