//! Files of this machine: paths, patterns, and what to say when there is none.

use std::{
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use lagar_flow::{Error, Result, codes, percent_decoded};
use serde::{Deserialize, Serialize};

/// Names less like the wanted one than this are not suggested.
const LIKENESS_MIN: f64 = 0.7;

/// The path in a `file:` URL (`file:rel`, `file:/abs`, `file:///abs`), decoded, without query.
pub(crate) fn file_url_path(url: &str) -> Option<PathBuf> {
    let rest = url.strip_prefix("file:")?;
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let rest = rest.strip_prefix("localhost/").map_or(rest, |_| &rest["localhost".len()..]);
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    Some(PathBuf::from(percent_decoded(&rest[..end])))
}

/// One file to read.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// As written in the project, for people and for the position.
    pub shown: String,
    pub path: PathBuf,
}

/// The files that `written` (a path, a pattern, a folder) stands for, by name. Never empty.
pub(crate) fn find(project_dir: &Path, written: &str) -> Result<Vec<Found>> {
    let path = project_dir.join(written);
    if path.is_dir() {
        return in_folder(project_dir, written);
    }
    if path.exists() || !is_pattern(written) {
        // A pipe or device would be read for ever.
        return match std::fs::metadata(&path) {
            Ok(data) if data.is_file() => Ok(vec![Found { shown: written.to_owned(), path }]),
            Ok(_) => Err(Error::new(codes::SOURCE_IO, format!("`{written}` is not a file"))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(missing(Path::new(written), &path))
            }
            Err(error) => Err(unreadable(written, &error)),
        };
    }
    let found = matching(project_dir, written)?;
    if found.is_empty() {
        return Err(no_match(written));
    }
    Ok(found)
}

/// All files of a folder but hidden ones and those that others leave there (`_SUCCESS`).
fn in_folder(project_dir: &Path, written: &str) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    let entries =
        std::fs::read_dir(project_dir.join(written)).map_err(|error| unreadable(written, &error))?;
    for entry in entries {
        let path = entry.map_err(|error| unreadable(written, &error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if is_data_name(&name) && path.is_file() {
            found.push(Found { shown: format!("{}/{name}", written.trim_end_matches('/')), path });
        }
    }
    if found.is_empty() {
        return Err(Error::new(codes::SOURCE_MISSING, format!("no file lies in the folder `{written}`"))
            .hint("names that begin with `_` or `.` are left out"));
    }
    found.sort_by(|a, b| a.shown.cmp(&b.shown));
    Ok(found)
}

fn matching(project_dir: &Path, written: &str) -> Result<Vec<Found>> {
    let wrong = |error: &glob::PatternError| {
        Error::new(codes::CONFIG, format!("`{written}` is not a pattern")).caused_by(error)
    };
    // The project's own folder may be called `[a]`.
    let pattern = if Path::new(written).is_absolute() {
        written.to_owned()
    } else {
        format!("{}/{written}", glob::Pattern::escape(&project_dir.to_string_lossy()))
    };
    let mut found = Vec::new();
    for path in glob::glob(&pattern).map_err(|error| wrong(&error))? {
        let path = path.map_err(|error| unreadable(&error.path().to_string_lossy(), error.error()))?;
        if path.is_file() {
            let shown = path.strip_prefix(project_dir).unwrap_or(&path).to_string_lossy().into_owned();
            found.push(Found { shown, path });
        }
    }
    found.sort_by(|a, b| a.shown.cmp(&b.shown));
    Ok(found)
}

pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether a file of a folder is data, by its name.
pub(crate) fn is_data_name(name: &str) -> bool {
    !name.starts_with(['_', '.'])
}

pub(crate) fn no_match(pattern: &str) -> Error {
    Error::new(codes::SOURCE_MISSING, format!("no file matches `{pattern}`"))
        .hint("a relative pattern starts at the project's folder")
}

/// The error for a file that is not there; `written` is shown, `path` was looked for.
pub(crate) fn missing(written: &Path, path: &Path) -> Error {
    let error = Error::new(codes::SOURCE_MISSING, format!("there is no file `{}`", written.display()));
    let folder = path.parent().unwrap_or(Path::new("."));
    let Ok(entries) = std::fs::read_dir(folder) else {
        return error.hint(format!("its folder `{}` does not exist", folder.display()));
    };
    let wanted = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let likeness = |name: &String| strsim::jaro_winkler(name, &wanted);
    let closest = entries
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .filter(|name| likeness(name) >= LIKENESS_MIN)
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)).then_with(|| b.cmp(a)));
    match closest {
        Some(name) => error.hint(format!("did you mean `{}`?", written.with_file_name(name).display())),
        None => error.hint("a relative path starts at the project's folder"),
    }
}

pub(crate) fn unreadable(shown: &str, error: &std::io::Error) -> Error {
    Error::new(codes::SOURCE_IO, format!("`{shown}` cannot be read")).caused_by(error)
}

/// What tells a version of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub bytes: u64,
    pub modified_ns: i64,
    pub identity: Option<Identity>,
}

/// What a file that took another's place does not share with it, even if its size and time were kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    inode: u64,
    /// When the file or what is known about it was changed last; nobody can set it.
    pub changed_ns: i64,
}

impl Identity {
    #[cfg(unix)]
    fn of(data: &std::fs::Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let changed_ns = data.ctime().saturating_mul(1_000_000_000).saturating_add(data.ctime_nsec());
        Some(Self { inode: data.ino(), changed_ns })
    }

    #[cfg(not(unix))]
    fn of(_: &std::fs::Metadata) -> Option<Self> {
        None
    }
}

impl Stamp {
    pub fn of(found: &Found) -> Result<Self> {
        let data = std::fs::metadata(&found.path).map_err(|error| unreadable(&found.shown, &error))?;
        let modified = data.modified().map_err(|error| unreadable(&found.shown, &error))?;
        let modified_ns = match modified.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
        };
        Ok(Self { bytes: data.len(), modified_ns, identity: Identity::of(&data) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::Builder::new().prefix("[a]*").tempdir().unwrap();
        for name in names {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        dir
    }

    fn shown(dir: &Path, written: &str) -> Vec<String> {
        find(dir, written).unwrap().into_iter().map(|found| found.shown).collect()
    }

    #[test]
    fn a_path_a_pattern_or_a_folder_stands_for_files() {
        let dir =
            folder(&["d/b.csv", "d/a.csv", "d/_SUCCESS", "d/.hidden", "d/sub/c.csv", "e/x.json", "w[1].csv"]);
        assert_eq!(shown(dir.path(), "d/a.csv"), ["d/a.csv"]);
        assert_eq!(shown(dir.path(), "d/*.csv"), ["d/a.csv", "d/b.csv"]);
        assert_eq!(shown(dir.path(), "d"), ["d/a.csv", "d/b.csv"]);
        assert_eq!(shown(dir.path(), "d/"), ["d/a.csv", "d/b.csv"]);
        assert_eq!(shown(dir.path(), "**/*.csv"), ["d/a.csv", "d/b.csv", "d/sub/c.csv", "w[1].csv"]);
        assert_eq!(shown(&dir.path().join("e"), "../d/[ab].csv"), ["../d/a.csv", "../d/b.csv"]);
        assert_eq!(shown(dir.path(), "w[1].csv"), ["w[1].csv"]);
        let absolute = dir.path().join("d/a.csv").display().to_string();
        assert_eq!(shown(Path::new("/"), &absolute), [absolute]);
    }

    #[test]
    fn what_is_missing_is_named_with_what_is_there() {
        let dir = folder(&["data/cities.csv", "data/orders.csv"]);
        let error = find(dir.path(), "data/citties.csv").unwrap_err();
        assert_eq!(error.code(), codes::SOURCE_MISSING);
        assert_eq!(error.hint_text(), Some("did you mean `data/cities.csv`?"));
        let error = find(dir.path(), "dta/cities.csv").unwrap_err();
        assert!(error.hint_text().unwrap().contains("does not exist"));
        let error = find(dir.path(), "data/*.parquet").unwrap_err();
        assert_eq!(
            (error.code(), error.message()),
            (codes::SOURCE_MISSING, "no file matches `data/*.parquet`")
        );
        std::fs::create_dir(dir.path().join("empty")).unwrap();
        assert_eq!(find(dir.path(), "empty/").unwrap_err().code(), codes::SOURCE_MISSING);
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_not_read_for_ever() {
        assert_eq!(find(Path::new("/"), "/dev/zero").unwrap_err().code(), codes::SOURCE_IO);
    }

    #[test]
    fn file_urls_are_paths() {
        for (url, path) in [
            ("file:a/b%20c.csv", "a/b c.csv"),
            ("file:///a/b", "/a/b"),
            ("file://localhost/a", "/a"),
            ("file:/a?x#y", "/a"),
        ] {
            assert_eq!(file_url_path(url), Some(PathBuf::from(path)), "{url}");
        }
        assert_eq!(file_url_path("https://a"), None);
    }
}
