//! The commit that a project's files are at, read from `.git` without running git: a run must not depend on
//! a program that a container may not have, nor run what a project's own configuration of git says.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// Longer files are none of those that are read here, but for the packed references.
const LINE_BYTES_MAX: u64 = 4096;
const PACKED_BYTES_MAX: u64 = 16 << 20;

/// The commit that is checked out where `folder` lies; `None` if it lies in no repository, or in one whose
/// files say it in another way (a reftable, a fresh branch).
pub(crate) fn commit_of(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let git = folder.ancestors().find_map(git_folder)?;
    let head = line_of(&git.join("HEAD"))?;
    match head.strip_prefix("ref: ") {
        None => commit(&head),
        Some(reference) => {
            let reference = reference.trim();
            // Nothing else is a branch, and nothing else is read.
            let is_plain = reference.starts_with("refs/") && !reference.split('/').any(|part| part == "..");
            let common = match line_of(&git.join("commondir")) {
                Some(common) => git.join(common),
                None => git.clone(),
            };
            let loose = || line_of(&common.join(reference)).and_then(|line| commit(&line));
            is_plain.then(|| loose().or_else(|| packed(&common, reference)))?
        }
    }
}

/// The folder of the repository that has `folder` checked out at its top.
fn git_folder(folder: &Path) -> Option<PathBuf> {
    let git = folder.join(".git");
    if git.is_dir() {
        return Some(git);
    }
    // A work tree of its own, or a submodule.
    let elsewhere = line_of(&git)?;
    Some(folder.join(elsewhere.strip_prefix("gitdir: ")?))
}

fn packed(git: &Path, reference: &str) -> Option<String> {
    let references = read(&git.join("packed-refs"), PACKED_BYTES_MAX)?;
    let line =
        references.lines().find(|line| line.split_once(' ').is_some_and(|(_, name)| name == reference))?;
    commit(line.split_once(' ')?.0)
}

/// Only what looks like a commit is passed on, whatever file it was read from.
fn commit(text: &str) -> Option<String> {
    let is_hash = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| text.to_ascii_lowercase())
}

fn line_of(path: &Path) -> Option<String> {
    Some(read(path, LINE_BYTES_MAX)?.lines().next()?.trim_end().to_owned())
}

fn read(path: &Path, bytes_max: u64) -> Option<String> {
    // A pipe in the place of a file would never end.
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    File::open(path).ok()?.take(bytes_max).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    const A: &str = "0123456789abcdef0123456789abcdef01234567";
    const B: &str = "fedcba9876543210fedcba9876543210fedcba98";

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_commit_is_found_wherever_git_keeps_it() {
        let root = tempfile::tempdir().unwrap();
        let project = root.path().join("sql/shop");
        fs::create_dir_all(&project).unwrap();
        let commit = || commit_of(&project);
        write(root.path(), ".git/HEAD", "ref: refs/heads/feature/x\n");
        assert_eq!(commit(), None, "a branch without a commit");
        write(
            root.path(),
            ".git/packed-refs",
            &format!("# pack-refs with: peeled\n{B} refs/heads/feature/x\n^{A}\n"),
        );
        assert_eq!(commit().as_deref(), Some(B));
        write(root.path(), ".git/refs/heads/feature/x", &format!("{A}\n"));
        assert_eq!(commit().as_deref(), Some(A), "what is loose is newer");
        write(root.path(), ".git/HEAD", &format!("{B}\n"));
        assert_eq!(commit().as_deref(), Some(B), "no branch is checked out");

        // A work tree of its own.
        let other = tempfile::tempdir().unwrap();
        let git = root.path().join(".git/worktrees/w");
        write(other.path(), ".git", &format!("gitdir: {}\n", git.display()));
        write(&git, "HEAD", "ref: refs/heads/feature/x\n");
        write(&git, "commondir", "../..\n");
        assert_eq!(commit_of(other.path()).as_deref(), Some(A));
    }

    #[test]
    fn nothing_but_a_commit_is_read() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "secret", "password\n");
        for head in
            ["ref: ../secret\n", "ref: refs/../../secret\n", "password\n", "ref: refs/heads/gone\n", ""]
        {
            write(root.path(), ".git/HEAD", head);
            assert_eq!(commit_of(root.path()), None, "{head}");
        }
        write(root.path(), ".git/HEAD", "ref: refs/heads/x\n");
        write(root.path(), ".git/refs/heads/x", "password\n");
        assert_eq!(commit_of(root.path()), None);
        assert_eq!(commit_of(&root.path().join("not there")), None);
    }
}
