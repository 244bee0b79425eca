//! One run of a project at a time on this machine.
//!
//! The kernel lets go of the lock when the process ends, however that happens: nobody has to clean up.
//! Between machines there is no lock. There the records of the lake keep runs apart: each is put only if
//! its number is free, so of two runs one is refused.

use std::{
    fs::{self, File, TryLockError},
    io::{Read, Write},
    path::Path,
};

use chrono::{DateTime, Utc};
use lagar_flow::{Error, Result, codes};

const FILE: &str = "run.lock";

/// Held as long as a run goes on.
#[derive(Debug)]
pub(crate) struct RunLock {
    _file: File,
}

impl RunLock {
    /// Takes the lock of the project that keeps its state in `dir`. `None` where none can be taken (a
    /// folder that may only be read, a file system without locks): the lake's records still hold.
    ///
    /// # Errors
    /// [`codes::LOCKED`] at once if another process has it.
    pub fn take(dir: &Path, now: DateTime<Utc>) -> Result<Option<Self>> {
        let opened = fs::create_dir_all(dir).and_then(|()| {
            File::options().read(true).write(true).create(true).truncate(false).open(dir.join(FILE))
        });
        let Ok(mut file) = opened else { return Ok(None) };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(locked(&mut file)),
            Err(TryLockError::Error(_)) => return Ok(None),
        }
        // Only for the message of whoever comes second: on a full disk the lock holds without it.
        let text = format!("{} {}\n", std::process::id(), now.to_rfc3339());
        let _ = file.set_len(0).and_then(|()| file.write_all(text.as_bytes()));
        Ok(Some(Self { _file: file }))
    }
}

/// Says who has it.
fn locked(file: &mut File) -> Error {
    let mut text = String::new();
    let _ = file.take(100).read_to_string(&mut text);
    let mut words = text.split_whitespace();
    let pid: Option<u32> = words.next().and_then(|word| word.parse().ok());
    let since = words.next().and_then(|word| DateTime::parse_from_rfc3339(word).ok());
    let (Some(pid), Some(since)) = (pid, since) else {
        return Error::new(codes::LOCKED, "another run of this project is going on")
            .hint("run again when it has ended");
    };
    let since = since.to_utc().format("%Y-%m-%d %H:%M:%S UTC");
    Error::new(
        codes::LOCKED,
        format!("another run of this project is going on: process {pid}, since {since}"),
    )
    .hint(format!("run again when it has ended, or stop it with: kill {pid}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_was_first() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("deep/.lagar");
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let lock = RunLock::take(&dir, now).unwrap().unwrap();
        let error = RunLock::take(&dir, now).unwrap_err();
        assert_eq!(error.code(), codes::LOCKED);
        let pid = std::process::id();
        let message = format!("process {pid}, since 2027-01-15 08:00:00 UTC");
        assert!(error.message().ends_with(&message), "{error}");
        assert!(error.hint_text().unwrap().ends_with(&format!("kill {pid}")));
        drop(lock);
        assert!(RunLock::take(&dir, now).unwrap().is_some());
    }

    #[test]
    fn where_no_lock_can_be_taken_the_run_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(RunLock::take(&file, Utc::now()).unwrap().is_none());
    }
}
