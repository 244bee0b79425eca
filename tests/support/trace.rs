//! What a command asked the kernel for, in order, by `strace`.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A call that succeeded. Lines of the trace stand for time: of two calls of different threads the one
/// that ended on an earlier line than the other began was over before.
#[derive(Debug, Clone)]
pub struct Call {
    pub begun: usize,
    pub ended: usize,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Bytes were written to a file.
    Written(PathBuf),
    /// A file or folder was brought to the disk.
    Synced(PathBuf),
    /// A file got a name: a rename or a hard link.
    Named { from: PathBuf, to: PathBuf },
    /// A folder was made.
    Made(PathBuf),
    /// Text went to stdout or stderr.
    Printed(String),
}

/// Runs `command` under strace; `None`, and said, where that is not possible.
pub fn trace(command: &Command) -> Option<(Output, Vec<Call>)> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let may = Command::new("strace").args(["-o", "/dev/null", "true"]).status();
    if !may.is_ok_and(|status| status.success()) {
        println!("skipped: strace is not installed, or may not trace");
        return None;
    }
    let calls =
        "trace=fsync,fdatasync,rename,renameat,renameat2,link,linkat,mkdir,mkdirat,write,writev,pwrite64";
    let mut traced = Command::new("strace");
    traced.args(["-f", "--seccomp-bpf", "-y", "-s", "4000", "-e", calls, "-o"]).arg(log.path());
    traced.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    traced.current_dir(command.get_current_dir().unwrap());
    let output = traced.output().unwrap();
    let text = String::from_utf8_lossy(&fs::read(log.path()).unwrap()).into_owned();
    Some((output, parse(&text)))
}

fn parse(text: &str) -> Vec<Call> {
    let mut open: HashMap<&str, (usize, String)> = HashMap::new();
    let mut calls = Vec::new();
    for (line, text) in text.lines().enumerate() {
        let Some((process, text)) = text.split_once(' ') else { continue };
        let text = text.trim_start();
        let (begun, whole) = if let Some(begin) = text.strip_suffix("<unfinished ...>") {
            open.insert(process, (line, begin.trim_end().to_owned()));
            continue;
        } else if text.starts_with("<...") {
            let Some((begun, begin)) = open.remove(process) else { continue };
            let Some((_, end)) = text.split_once("resumed>") else { continue };
            (begun, begin + end)
        } else {
            (line, text.to_owned())
        };
        if let Some(what) = what(&whole) {
            calls.push(Call { begun, ended: line, what });
        }
    }
    calls.sort_by_key(|call| call.ended);
    calls
}

/// `name(arguments) = result`.
fn what(call: &str) -> Option<What> {
    let (name, arguments) = call.split_once('(')?;
    let result = call.rsplit_once(" = ")?.1;
    if result.starts_with('-') || !result.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    // The file that a handle stands for: `3</folder/file>`.
    let file = || Some(PathBuf::from(arguments.split_once('<')?.1.split_once('>')?.0));
    let text = |number: usize| arguments.split('"').nth(2 * number + 1);
    match name {
        "fsync" | "fdatasync" => Some(What::Synced(file()?)),
        "write" | "writev" | "pwrite64" => match arguments.split_once('<')?.0 {
            "1" | "2" => Some(What::Printed(text(0)?.to_owned())),
            _ => Some(What::Written(file()?)),
        },
        "rename" | "renameat" | "renameat2" | "link" | "linkat" => {
            Some(What::Named { from: text(0)?.into(), to: text(1)?.into() })
        }
        "mkdir" | "mkdirat" => Some(What::Made(text(0)?.into())),
        _ => None,
    }
}

/// A file that got its name in a trace.
#[derive(Debug)]
pub struct File {
    pub path: PathBuf,
    /// Its last byte was written.
    pub written: usize,
    /// Its bytes were on the disk; `None` if they never were, or were before the last byte came.
    pub synced: Option<usize>,
    pub naming: usize,
    pub named: usize,
    /// Its name was on the disk.
    pub durable: Option<usize>,
}

/// The files below `root` that got a name.
pub fn files(calls: &[Call], root: &Path) -> Vec<File> {
    let named = calls.iter().filter_map(|call| match &call.what {
        What::Named { from, to } if to.starts_with(root) => Some((call, from, to)),
        _ => None,
    });
    named
        .map(|(naming, from, to)| {
            let writes = calls.iter().filter(|call| call.what == What::Written(from.clone()));
            let written = writes.map(|call| call.ended).max().unwrap_or(0);
            let folder = to.parent().unwrap();
            File {
                path: to.clone(),
                written,
                synced: synced(calls, from, written),
                naming: naming.begun,
                named: naming.ended,
                durable: synced(calls, folder, naming.ended),
            }
        })
        .collect()
}

/// When the first fsync of `path` ended that began after `after`.
pub fn synced(calls: &[Call], path: &Path, after: usize) -> Option<usize> {
    let of_path = calls.iter().filter(|call| call.what == What::Synced(path.to_owned()));
    of_path.filter(|call| call.begun > after).map(|call| call.ended).next()
}
