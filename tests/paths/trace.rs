//! Which paths a run of `lagar` wrote to, as the kernel saw it.

use std::path::{Component, Path, PathBuf};

use crate::support::{
    Done, Place,
    strace::{Call, parse, strace},
};

/// All that makes, changes, moves or removes a name or the bytes behind it.
const CALLS: &str = "trace=open,openat,openat2,creat,truncate,rename,renameat,renameat2,link,linkat,symlink,\
                     symlinkat,mkdir,mkdirat,mknod,mknodat,unlink,unlinkat,rmdir,chmod,fchmodat,chown,lchown,\
                     fchownat,utimensat,setxattr";

/// Runs `lagar` below `strace`; how it ended, and every path that was written to.
pub fn lagar(place: &Place, args: &[&str]) -> (Done, Vec<PathBuf>) {
    let mut lagar = place.command(args);
    for variable in ["TMPDIR", "HOME"] {
        lagar.env(variable, place.dir.path());
    }
    let (output, calls) = strace(&lagar, CALLS);
    (Done::of(output), calls.iter().flat_map(|call| written(call, place.dir.path())).collect())
}

/// The paths that a call wrote to, of a process in `folder`.
fn written(call: &Call, folder: &Path) -> Vec<PathBuf> {
    if call.result.as_deref().is_some_and(|result| result.starts_with('-')) {
        return Vec::new();
    }
    if call.name.starts_with("open") {
        let flags = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"];
        if !flags.iter().any(|flag| call.arguments.contains(flag)) {
            return Vec::new();
        }
        if let Some((_, opened)) = call.result.as_deref().and_then(|result| result.split_once('<')) {
            // Where the name led to in the end.
            return vec![unescaped(opened.trim_end_matches('>')).into()];
        }
    }
    let mut paths = Vec::new();
    let mut rest = call.arguments.as_str();
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
    let written = |lines: &str| -> Vec<PathBuf> {
        parse(lines).iter().flat_map(|call| written(call, Path::new("/nowhere"))).collect()
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
        (
            "7 mkdir(\"/x\", 0777 <unfinished ...>\n8 mkdir(\"/y\", 0777) = 0\n7 <... mkdir resumed>) = 0",
            &["/y", "/x"],
        ),
        ("7 mkdir(\"/x\", 0777 <unfinished ...>\n7 <... mkdir resumed>) = -1 EEXIST (File exists)", &[]),
    ] {
        assert_eq!(written(line), paths.iter().map(PathBuf::from).collect::<Vec<_>>(), "{line}");
    }
}
