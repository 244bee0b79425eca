//! A Python process that is asked line by line: to start it anew for each question would take longer than
//! the rest.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use serde_json::Value;

/// A script that reads questions from stdin, JSON a line, and answers each with one line of JSON.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Peer {
    /// `None` without `LAGAR_TEST_PYTHON`; the test says `skipped: …` then.
    ///
    /// # Panics
    /// The interpreter that it names cannot be started.
    pub fn start(script: &str) -> Option<Self> {
        let python = PathBuf::from(env::var_os("LAGAR_TEST_PYTHON")?);
        let child =
            Command::new(&python).args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child =
            child.unwrap_or_else(|error| panic!("LAGAR_TEST_PYTHON={}: {error}", python.display()));
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            panic!("a child without the pipes that were asked for");
        };
        Some(Self { child, pipes: Mutex::new((stdin, BufReader::new(stdout))) })
    }

    /// The answer to `question`.
    ///
    /// # Panics
    /// There is none, or it is no JSON.
    #[track_caller]
    pub fn ask(&self, question: &Value) -> Value {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let (stdin, stdout) = &mut *pipes;
        let mut answer = String::new();
        let asked = writeln!(stdin, "{question}").and_then(|()| stdout.read_line(&mut answer));
        match asked.map(|_| serde_json::from_str(&answer)) {
            Ok(Ok(answer)) => answer,
            other => panic!("the other readers answer {answer:?}: {other:?}"),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
