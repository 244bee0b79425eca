//! What a command brought to the disk and printed, in order.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use super::strace::{self, available, strace};

/// A call that succeeded, with the lines of the trace on which it began and ended.
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
    let kinds =
        "trace=fsync,fdatasync,rename,renameat,renameat2,link,linkat,mkdir,mkdirat,write,writev,pwrite64";
    let (output, calls) = available().then(|| strace(command, kinds))?;
    let calls = calls
        .into_iter()
        .filter_map(|call| Some(Call { begun: call.begun, ended: call.ended, what: what(&call)? }));
    Some((output, calls.collect()))
}

/// `None` for a call that failed.
fn what(call: &strace::Call) -> Option<What> {
    let strace::Call { name, arguments, result, .. } = call;
    if !result.as_deref()?.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    // The file that a handle stands for: `3</folder/file>`.
    let file = || Some(PathBuf::from(arguments.split_once('<')?.1.split_once('>')?.0));
    let text = |number: usize| arguments.split('"').nth(2 * number + 1);
    match name.as_str() {
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
