//! A command that is watched while it runs.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
    thread,
    time::Duration,
};

use lagar_flow::KillPoint;

use super::{Done, Place};

/// Points that every run with something to do comes by.
pub fn points() -> impl Iterator<Item = KillPoint> {
    let rare = [KillPoint::CheckpointDue, KillPoint::CheckpointMade];
    KillPoint::ALL.iter().copied().filter(move |point| !rare.contains(point))
}

/// What a run says that comes by a point at which something is planned.
pub fn passed(point: KillPoint) -> String {
    format!("kill point {} passed", point.name())
}

/// Runs `command` to its end, its output in files of `folder`; while it runs, `look` gets the number of its
/// process again and again.
pub fn watched(command: &mut Command, folder: &Path, mut look: impl FnMut(u32)) -> Output {
    let (out, err) = (folder.join("stdout"), folder.join("stderr"));
    command.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
    let mut child = command.spawn().unwrap();
    let status = loop {
        look(child.id());
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => thread::sleep(Duration::from_millis(2)),
        }
    };
    Output { status, stdout: fs::read(out).unwrap(), stderr: fs::read(err).unwrap() }
}

/// [`watched`], and the most memory in bytes that it ever had.
pub fn weighed(command: &mut Command, folder: &Path) -> (Output, u64) {
    let mut peak = 0;
    // It only grows, so the last look is the highest; it is gone when the process has ended.
    let output = watched(command, folder, |process| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) << 10);
    });
    (output, peak)
}

pub struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    said: String,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr, said: String::new() }
    }

    /// `lagar run` that has come by `point` and does there what `action` says.
    #[track_caller]
    pub fn at(place: &Place, point: KillPoint, action: &str) -> Self {
        let plan = format!("{}:{action}", point.name());
        let mut run = Self::start(place.command(&["run"]).env("LAGAR_KILL_POINT", plan));
        run.until(&passed(point));
        run
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until a line of stderr has `text`; fails when the command ends without it.
    #[track_caller]
    pub fn until(&mut self, text: &str) {
        loop {
            let mut line = String::new();
            let read = self.stderr.read_line(&mut line).unwrap();
            self.said.push_str(&line);
            assert!(read > 0, "it never said `{text}`:\n{}", self.said);
            if line.contains(text) {
                return;
            }
        }
    }

    /// Waits until the kernel has stopped it.
    pub fn until_stopped(&self) {
        loop {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
            // The second field is the command in parentheses; the state follows it.
            let state = stat.rsplit_once(')').unwrap().1.trim_start();
            if state.starts_with('T') {
                return;
            }
            assert!(!state.starts_with('Z'), "it ended");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// `INT`, `TERM`, `CONT`, …
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Ends it as the kernel does when memory is short; whether it ran until then.
    pub fn kill(&mut self) -> bool {
        let ran = self.child.try_wait().unwrap().is_none();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        ran
    }

    /// Waits for its end. The code of one that was ended by a signal is the signal's number, negative.
    pub fn end(mut self) -> Done {
        let mut rest = Vec::new();
        self.stderr.read_to_end(&mut rest).unwrap();
        let output = self.child.wait_with_output().unwrap();
        let signal = output.status.signal();
        let mut done = Done::of(output);
        if let Some(signal) = signal {
            done.code = -signal;
        }
        done.stderr = self.said + &String::from_utf8_lossy(&rest);
        done
    }
}
