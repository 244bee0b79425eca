//! What the end-to-end tests share.

pub mod audited;
pub mod http;
pub mod running;
pub mod small_disk;
pub mod soda;
pub mod strace;
pub mod trace;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The program under test: `LAGAR_TEST_BINARY` (a release build, for sizes that a debug build takes hours
/// for), else the one that was built with the tests.
pub fn binary() -> PathBuf {
    match std::env::var_os("LAGAR_TEST_BINARY") {
        Some(path) => Path::new(&path).canonicalize().expect("LAGAR_TEST_BINARY names a file"),
        None => PathBuf::from(env!("CARGO_BIN_EXE_lagar")),
    }
}

/// A folder with a copy of a sample project and its data, and a lake of its own.
pub struct Place {
    pub dir: TempDir,
    pub project: PathBuf,
}

impl Place {
    /// A copy of `sql/<name>` and `data-samples/<name>`, laid out as in the checkout.
    pub fn sample(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["sql", "data-samples"] {
            copy(&root().join(folder).join(name), &dir.path().join(folder).join(name));
        }
        let project = dir.path().join("sql").join(name);
        Self { dir, project }
    }

    /// A project made of `files` (path, text).
    pub fn project(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let project = dir.path().join("project");
        fs::create_dir(&project).unwrap();
        let place = Self { dir, project };
        for (path, text) in files {
            place.write(path, text);
        }
        place
    }

    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.project.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub fn lake(&self) -> PathBuf {
        self.project.join("lake")
    }

    /// The command with the project given, not started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(args).arg("--project").arg(&self.project).current_dir(self.dir.path());
        for name in ["LAGAR_LAKE", "LAGAR_PROFILE", "LAGAR_PROJECT", "SHOP_DB", "NO_COLOR"] {
            command.env_remove(name);
        }
        command
    }

    pub fn lagar(&self, args: &[&str]) -> Done {
        Done::of(self.command(args).output().unwrap())
    }

    /// Runs the project and expects it to end well; the report.
    pub fn run(&self, args: &[&str]) -> Value {
        let done = self.lagar(&[&["run", "--json"], args].concat());
        assert_eq!(done.code, 0, "{}", done.stderr);
        done.json()
    }

    /// The rows of a query as JSON objects.
    pub fn rows(&self, sql: &str) -> Vec<Value> {
        let done = self.lagar(&["sql", sql, "--format", "json"]);
        assert_eq!(done.code, 0, "{sql}\n{}", done.stderr);
        serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}", done.stdout))
    }

    /// Every file below the lake with its bytes.
    pub fn lake_files(&self) -> BTreeMap<String, Vec<u8>> {
        let lake = self.lake();
        let name = |path: &Path| path.strip_prefix(&lake).unwrap().display().to_string();
        files_below(&lake).iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
    }
}

/// Every file below `folder`; none if it is not there.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// How a command ended.
pub struct Done {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The last line of stdout.
    pub fn json(&self) -> Value {
        let line = self.stdout.lines().last().unwrap_or_else(|| panic!("no line on stdout; {}", self.stderr));
        serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))
    }

    /// Fails unless the exit code is `code` and stderr has all `parts`.
    #[track_caller]
    pub fn says(&self, code: i32, parts: &[&str]) -> &Self {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` is not in:\n{}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        assert!(!self.stderr.contains('\u{1b}'), "colour without a terminal: {}", self.stderr);
        self
    }
}

/// The step called `name` in a report.
#[track_caller]
pub fn step<'a>(report: &'a Value, name: &str) -> &'a Value {
    let steps = report["steps"].as_array().unwrap();
    steps.iter().find(|step| step["name"] == name).unwrap_or_else(|| panic!("no step {name} in {report}"))
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        // What a run by hand left beside the sample is not part of it.
        if name == "lake" || name == ".lagar" {
            continue;
        }
        let target = to.join(&name);
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Where the recorded answers of the real API lie, if this machine has them.
pub fn fixtures() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("LAGAR_FIXTURES")?);
    assert!(folder.is_dir(), "LAGAR_FIXTURES is not a folder: {}", folder.display());
    Some(folder)
}

/// A Python with duckdb, pyarrow, polars and deltalake, if this machine has one.
pub fn python() -> Option<PathBuf> {
    let python = PathBuf::from(std::env::var_os("LAGAR_TEST_PYTHON")?);
    assert!(python.is_file(), "LAGAR_TEST_PYTHON is not a file: {}", python.display());
    Some(python)
}
