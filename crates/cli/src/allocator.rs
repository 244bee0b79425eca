//! The allocator of this program. Rows are made on one thread and let go on another; glibc's arenas keep a fifth more
//! memory for it (`benches/README.md`). Its settings are in `.cargo/config.toml`.

use tikv_jemalloc_ctl::{Access, AsName, arenas};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Gives the system back all pages that nothing lies in. They would go after some seconds, and until then count among
/// the memory of the process.
pub fn give_back() {
    let Ok(count) = arenas::narenas::read() else { return };
    for arena in 0..count {
        // To say that pages are kept for no time lets go of them at once.
        let name = format!("arena.{arena}.dirty_decay_ms\0");
        let name = name.name();
        let kept: Result<isize, _> = name.read();
        if let Ok(milliseconds) = kept {
            let _ = name.write(0_isize).and_then(|()| name.write(milliseconds));
        }
    }
}
