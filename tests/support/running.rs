//! A command that is watched while it runs.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    process::{Child, ChildStderr, Command, Stdio},
    thread,
    time::Duration,
};

use super::Done;

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

    pub fn id(&self) -> u32 {
        self.child.id()
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
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
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
