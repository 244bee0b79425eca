//! Which calls a command made to the kernel, by `strace`.

use std::{
    collections::HashMap,
    fs,
    process::{Command, Output},
};

/// A call. Lines of the log stand for time: of two calls of different threads the one that ended on an
/// earlier line than the other began was over before.
#[derive(Debug)]
pub struct Call {
    pub begun: usize,
    pub ended: usize,
    pub name: String,
    pub arguments: String,
    /// What it returned; nothing for a call that was never seen to end.
    pub result: Option<String>,
}

/// Whether this machine has `strace` and lets it work; says so where it does not.
pub fn available() -> bool {
    let works = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    let works = works.is_ok_and(|output| output.status.success());
    if !works {
        println!("skipped: strace is not installed, or may not trace");
    }
    works
}

/// Runs `command`; how it ended, and its calls of these kinds (`trace=…`) in the order of their ends.
pub fn strace(command: &Command, kinds: &str) -> (Output, Vec<Call>) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut traced = Command::new("strace");
    // Without room between a call and its result, texts in full, and paths beside the handles of files.
    traced.args(["-f", "--seccomp-bpf", "-qq", "-y", "-a", "1", "-s", "8192", "-e", kinds, "-o"]);
    traced.arg(log.path()).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    traced.current_dir(command.get_current_dir().unwrap());
    let output = traced.output().unwrap();
    let text = String::from_utf8_lossy(&fs::read(log.path()).unwrap()).into_owned();
    (output, parse(&text))
}

/// The calls in a log of `PID name(arguments) = result`, of which another thread may cut one in two.
pub fn parse(log: &str) -> Vec<Call> {
    let mut open: HashMap<&str, (usize, &str)> = HashMap::new();
    let mut calls = Vec::new();
    for (line, text) in log.lines().enumerate() {
        let Some((process, text)) = text.split_once(' ') else { continue };
        let text = text.trim_start();
        if let Some(begin) = text.strip_suffix("<unfinished ...>") {
            open.insert(process, (line, begin.trim_end()));
        } else if text.starts_with("<...") {
            let Some((begun, begin)) = open.remove(process) else { continue };
            let Some((_, end)) = text.split_once("resumed>") else { continue };
            calls.extend(Call::parse(&format!("{begin}{end}"), begun, line));
        } else {
            calls.extend(Call::parse(text, line, line));
        }
    }
    let last = log.lines().count();
    calls.extend(open.into_values().filter_map(|(begun, begin)| Call::parse(begin, begun, last)));
    calls.sort_by_key(|call| (call.ended, call.begun));
    calls
}

impl Call {
    fn parse(text: &str, begun: usize, ended: usize) -> Option<Self> {
        let (name, rest) = text.split_once('(')?;
        if !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return None;
        }
        let (arguments, result) = match rest.rsplit_once(") = ") {
            Some((arguments, result)) => (arguments, Some(result.to_owned())),
            None => (rest, None),
        };
        Some(Self { begun, ended, name: name.to_owned(), arguments: arguments.to_owned(), result })
    }
}
