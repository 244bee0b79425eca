//! Which paths a run of `lagar` wrote to, as the kernel saw it.

use std::{
    fs,
    path::{Component, Path, PathBuf},
    process::Command,
};

use crate::support::{Done, Place};

/// All that makes, changes, moves or removes a name or the bytes behind it.
const CALLS: &str = "trace=open,openat,openat2,creat,truncate,rename,renameat,renameat2,link,linkat,symlink,\
                     symlinkat,mkdir,mkdirat,mknod,mknodat,unlink,unlinkat,rmdir,chmod,fchmodat,chown,lchown,\
                     fchownat,utimensat,setxattr";

/// `strace`, if this machine has it and lets it work.
pub fn available() -> bool {
    let works = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    let works = works.is_ok_and(|output| output.status.success());
    if !works {
        println!("skipped: strace does not work here");
    }
    works
}

/// Runs `lagar` below `strace`; how it ended, and every path that was written to.
pub fn lagar(place: &Place, args: &[&str]) -> (Done, Vec<PathBuf>) {
    let log = place.dir.path().join("strace.log");
    let lagar = place.command(args);
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-qq", "-s", "8192", "-e", CALLS, "-o"]).arg(&log);
    command.arg(lagar.get_program()).args(lagar.get_args());
    let folder = lagar.get_current_dir().unwrap().to_owned();
    command.current_dir(&folder);
    for (name, value) in lagar.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    for variable in ["TMPDIR", "HOME"] {
        command.env(variable, place.dir.path());
    }
    let done = Done::of(command.output().unwrap());
    let lines = fs::read(&log).unwrap();
    let lines = String::from_utf8_lossy(&lines).into_owned();
    let calls = lines.lines().filter_map(Call::parse);
    (done, calls.flat_map(|call| call.written(&folder)).collect())
}

/// One line of the log.
#[derive(Debug)]
struct Call<'a> {
    name: &'a str,
    arguments: &'a str,
    /// What it returned; nothing for a call that another thread interrupted in the log.
    result: Option<&'a str>,
}

impl<'a> Call<'a> {
    /// `PID name(arguments) = result`; `None` for other lines and for calls that failed.
    fn parse(line: &'a str) -> Option<Self> {
        let (_, call) = line.split_once(' ')?;
        let (name, rest) = call.trim_start().split_once('(')?;
        if !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return None;
        }
        let call = match rest.rsplit_once(") = ") {
            Some((arguments, result)) => Self { name, arguments, result: Some(result) },
            None => Self { name, arguments: rest, result: None },
        };
        (!call.result.is_some_and(|result| result.starts_with('-'))).then_some(call)
    }

    /// The paths that it wrote to.
    fn written(&self, folder: &Path) -> Vec<PathBuf> {
        if self.name.starts_with("open")
            && !["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"].iter().any(|f| self.arguments.contains(f))
        {
            return Vec::new();
        }
        if self.name.starts_with("open")
            && let Some((_, opened)) = self.result.and_then(|result| result.split_once('<'))
        {
            // Where the name led to in the end.
            return vec![unescaped(opened.trim_end_matches('>')).into()];
        }
        let mut paths = Vec::new();
        let mut rest = self.arguments;
        let mut base = folder.to_owned();
        // Either a folder (`5</a/b>`) and a name in it, or a name; the target of a symbolic link is one more,
        // which is not written to, but may as well stay inside.
        while let Some(at) = rest.find(['"', '<']) {
            let (end, is_name) = match rest.as_bytes()[at] {
                b'"' => (closing_quote(&rest[at + 1..]), true),
                _ => (rest[at + 1..].find('>').unwrap_or(rest.len() - at - 1), false),
            };
            let text = unescaped(&rest[at + 1..at + 1 + end]);
            if is_name {
                paths.push(resolved(&base.join(text)));
                base = folder.to_owned();
            } else {
                base = text.into();
            }
            rest = rest.get(at + end + 2..).unwrap_or_default();
        }
        paths
    }
}

fn closing_quote(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => return at,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    text.len()
}

/// strace writes what is not printable in octal, and a few characters as in C.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let mut octal: Option<u8> = None;
        for _ in 0..3 {
            match rest.peek() {
                Some(digit @ b'0'..=b'7') => {
                    octal = Some(octal.unwrap_or(0).wrapping_mul(8) + (digit - b'0'))
                }
                _ => break,
            }
            rest.next();
        }
        bytes.push(octal.unwrap_or_else(|| match rest.next() {
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(other) => other,
            None => b'\\',
        }));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `path` as the system would follow it: links in the folders that are there, and no `..`.
fn resolved(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                resolved.pop();
            }
            Component::CurDir => {}
            part => resolved.push(part),
        }
        // The last part is a name that is made, moved or removed; a link there is not followed.
        if resolved != path
            && let Ok(real) = resolved.canonicalize()
        {
            resolved = real;
        }
    }
    resolved
}

#[test]
fn a_log_is_read_as_it_is_meant() {
    let written = |line: &str| -> Vec<PathBuf> {
        Call::parse(line).map(|call| call.written(Path::new("/nowhere"))).unwrap_or_default()
    };
    for (line, paths) in [
        (r#"7 openat(AT_FDCWD, "/x/../y", O_RDONLY|O_CLOEXEC) = 3</y>"#, &[][..]),
        (r#"7 openat(AT_FDCWD, "a", O_WRONLY|O_CREAT, 0666) = 3</real/a>"#, &["/real/a"]),
        (r#"7 openat(AT_FDCWD, "/x/../y", O_RDWR) = -1 ENOENT (No such file or directory)"#, &[]),
        (r#"7 openat(AT_FDCWD, "/x/../y", O_WRONLY <unfinished ...>"#, &["/y"]),
        (r#"7 mkdir("/x/a \"b\" (\303\261)", 0777) = 0"#, &["/x/a \"b\" (ñ)"]),
        (r#"7 unlinkat(5</x/y>, "z", AT_REMOVEDIR) = 0"#, &["/x/y/z"]),
        (r#"7 rename("/x/../../a", "/b/./c") = 0"#, &["/a", "/b/c"]),
        (r#"7 linkat(AT_FDCWD, "/a", 9</b>, "../c", 0) = 0"#, &["/a", "/c"]),
        (r#"7 mkdir("rel", 0777) = 0"#, &["/nowhere/rel"]),
        ("7 +++ exited with 0 +++", &[]),
    ] {
        assert_eq!(written(line), paths.iter().map(PathBuf::from).collect::<Vec<_>>(), "{line}");
    }
}
