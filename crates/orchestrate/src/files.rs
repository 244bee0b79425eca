//! The files of a project: in a folder, or below a prefix of an object store.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::TryStreamExt;
use lagar_engine::suggest;
use lagar_flow::{Error, Result, codes, redact_url};
use object_store::{ObjectStore, ObjectStoreExt};

pub(crate) const PROJECT_FILE: &str = "lagar.yaml";
const ENV_FILE: &str = ".env";
/// The folders that hold models; each is a zone.
const MODEL_FOLDERS: &[&str] = &["trusted", "refined"];
const TESTS_FOLDER: &str = "tests";
/// A model or a list of test rows is far smaller.
const FILE_BYTES_MAX: u64 = 16 << 20;
const FOLDERS_DEEP_MAX: usize = 16;

/// A text file of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextFile {
    /// Below the project, with `/`: `trusted/orders.sql`.
    pub path: String,
    /// As it stands in errors: with the project's own path in front.
    pub shown: String,
    pub text: String,
}

/// Everything that a project is made of.
#[derive(Debug)]
pub(crate) struct ProjectFiles {
    /// The folder; for a project in an object store, nothing of it is on this machine.
    pub dir: Option<PathBuf>,
    pub project: TextFile,
    pub env: Option<TextFile>,
    pub models: Vec<TextFile>,
    pub tests: Vec<TextFile>,
    /// What was left out and why.
    pub notes: Vec<String>,
}

/// Reads the files of the project at `location`. `problems` gets what is wrong with single files.
pub(crate) async fn read(
    location: &str,
    env: &(dyn Fn(&str) -> Option<String> + Sync),
    problems: &mut Vec<Error>,
) -> Result<ProjectFiles> {
    match location.split_once("://").map(|(scheme, _)| scheme) {
        None => read_folder(Path::new(location), problems),
        Some("s3" | "s3a") => read_store(location, env, problems).await,
        Some(other) => {
            Err(Error::new(codes::PROJECT_MISSING, format!("a project cannot be read from `{other}://`"))
                .hint("a project is a folder, or lies in `s3://bucket/prefix`"))
        }
    }
}

fn read_folder(folder: &Path, problems: &mut Vec<Error>) -> Result<ProjectFiles> {
    let file = folder.join(PROJECT_FILE);
    let project = match fs::read(&file) {
        Ok(bytes) => text_file(PROJECT_FILE, shown(folder, PROJECT_FILE), bytes)?,
        Err(error) if is_missing(&error) => return Err(missing(folder)),
        Err(error) => return Err(unreadable(&shown(folder, PROJECT_FILE), &error)),
    };
    let env = match fs::read(folder.join(ENV_FILE)) {
        Ok(bytes) => Some(text_file(ENV_FILE, shown(folder, ENV_FILE), bytes)?),
        Err(error) if is_missing(&error) => None,
        Err(error) => return Err(unreadable(&shown(folder, ENV_FILE), &error)),
    };
    let mut found = Walk { root: folder, notes: Vec::new(), paths: Vec::new() };
    for zone in MODEL_FOLDERS {
        found.walk(zone, "sql", FOLDERS_DEEP_MAX, problems);
    }
    let models = found.take_texts(problems);
    found.walk(TESTS_FOLDER, "yaml", 0, problems);
    let tests = found.take_texts(problems);
    let dir = std::path::absolute(folder).map_err(|e| unreadable(&folder.display().to_string(), &e))?;
    Ok(ProjectFiles { dir: Some(dir), project, env, models, tests, notes: found.notes })
}

struct Walk<'a> {
    root: &'a Path,
    notes: Vec<String>,
    paths: Vec<String>,
}

impl Walk<'_> {
    /// Collects the files with `extension` below `folder`, `deep` folders down.
    fn walk(&mut self, folder: &str, extension: &str, deep: usize, problems: &mut Vec<Error>) {
        let entries = match fs::read_dir(self.root.join(folder)) {
            Ok(entries) => entries,
            Err(error) if is_missing(&error) => return,
            Err(error) => return problems.push(unreadable(&shown(self.root, folder), &error)),
        };
        for entry in entries {
            let entry = match entry.and_then(|entry| entry.file_type().map(|kind| (entry, kind))) {
                Ok(entry) => entry,
                Err(error) => return problems.push(unreadable(&shown(self.root, folder), &error)),
            };
            let (entry, kind) = entry;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                let message =
                    format!("a file name in {} is not UTF-8: {}", shown(self.root, folder), name.display());
                problems.push(Error::new(codes::NAME, message).hint("rename or remove the file"));
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            let path = format!("{folder}/{name}");
            if kind.is_symlink() {
                self.notes.push(format!("{} was left out: it is a symbolic link", shown(self.root, &path)));
            } else if kind.is_dir() {
                if deep > 0 {
                    self.walk(&path, extension, deep - 1, problems);
                }
            } else if has_extension(name, extension) {
                self.paths.push(path);
            }
        }
    }

    /// The texts of the files found so far, in the order of their paths.
    fn take_texts(&mut self, problems: &mut Vec<Error>) -> Vec<TextFile> {
        let mut paths = std::mem::take(&mut self.paths);
        paths.sort();
        let mut texts = Vec::new();
        for path in paths {
            let shown = shown(self.root, &path);
            let read = fs::metadata(self.root.join(&path))
                .map_err(|e| unreadable(&shown, &e))
                .and_then(|file| refuse_large(&shown, file.len()))
                .and_then(|()| fs::read(self.root.join(&path)).map_err(|e| unreadable(&shown, &e)))
                .and_then(|bytes| text_file(&path, shown.clone(), bytes));
            match read {
                Ok(text) => texts.push(text),
                Err(error) => problems.push(error),
            }
        }
        texts
    }
}

async fn read_store(
    url: &str,
    env: &(dyn Fn(&str) -> Option<String> + Sync),
    problems: &mut Vec<Error>,
) -> Result<ProjectFiles> {
    let (store, root) = lagar_lake::open_object(url, env)?;
    let folder = StoreFolder { store, root, shown: redact_url(url.trim_end_matches('/')) };
    folder.read(problems).await
}

/// A prefix of an object store.
struct StoreFolder {
    store: Arc<dyn ObjectStore>,
    root: object_store::path::Path,
    shown: String,
}

impl StoreFolder {
    async fn read(&self, problems: &mut Vec<Error>) -> Result<ProjectFiles> {
        let Some(project) = self.fetch(PROJECT_FILE).await? else {
            let message = format!("there is no `{PROJECT_FILE}` in {}", self.shown);
            return Err(Error::new(codes::PROJECT_MISSING, message)
                .hint("a project is a folder with a `lagar.yaml`; `lagar init NAME` makes one"));
        };
        let env = self.fetch(ENV_FILE).await?;
        let mut models = Vec::new();
        for zone in MODEL_FOLDERS {
            models.extend(self.texts(zone, "sql", FOLDERS_DEEP_MAX, problems).await?);
        }
        let tests = self.texts(TESTS_FOLDER, "yaml", 0, problems).await?;
        Ok(ProjectFiles { dir: None, project, env, models, tests, notes: Vec::new() })
    }

    /// The files with `extension` below `folder`, `deep` folders down, in the order of their paths.
    async fn texts(
        &self,
        folder: &str,
        extension: &str,
        deep: usize,
        problems: &mut Vec<Error>,
    ) -> Result<Vec<TextFile>> {
        let mut texts = Vec::new();
        for path in self.list(folder).await? {
            let folders = path.split('/').count() - 2;
            if folders > deep || !has_extension(&path, extension) {
                continue;
            }
            match self.fetch(&path).await {
                Ok(text) => texts.extend(text), // or removed since it was listed
                Err(error) => problems.push(error),
            }
        }
        Ok(texts)
    }

    /// The paths below `folder`, without hidden ones, in order.
    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        let prefix = self.root.clone().join(folder);
        let listed: Result<Vec<_>, _> = self.store.list(Some(&prefix)).try_collect().await;
        let objects = listed.map_err(|e| store_failed(&format!("{}/{folder}", self.shown), &e))?;
        let mut paths: Vec<String> = objects
            .iter()
            .filter_map(|object| object.location.prefix_match(&self.root))
            .map(|parts| parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"))
            .filter(|path| path.split('/').all(|part| !part.starts_with('.')))
            .collect();
        paths.sort();
        Ok(paths)
    }

    /// The text at `path`; `None` if there is none.
    async fn fetch(&self, path: &str) -> Result<Option<TextFile>> {
        let shown = format!("{}/{path}", self.shown);
        let location = path.split('/').fold(self.root.clone(), |location, part| location.join(part));
        let answer = match self.store.get(&location).await {
            Ok(answer) => answer,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(store_failed(&shown, &error)),
        };
        refuse_large(&shown, answer.meta.size)?;
        let bytes = answer.bytes().await.map_err(|e| store_failed(&shown, &e))?;
        text_file(path, shown, bytes.to_vec()).map(Some)
    }
}

fn store_failed(shown: &str, cause: &object_store::Error) -> Error {
    let code = match cause {
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            codes::LAKE_DENIED
        }
        _ => codes::LAKE_STORE,
    };
    Error::new(code, format!("{shown} cannot be read")).caused_by(cause)
}

fn text_file(path: &str, shown: String, bytes: Vec<u8>) -> Result<TextFile> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(TextFile { path: path.to_owned(), shown, text }),
        Err(error) => {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
            Err(Error::new(codes::CONFIG, "the file is not UTF-8 text")
                .hint("save it again with the encoding UTF-8")
                .at(shown, line, 0))
        }
    }
}

fn refuse_large(shown: &str, bytes: u64) -> Result<()> {
    if bytes <= FILE_BYTES_MAX {
        return Ok(());
    }
    let message = format!("the file has {bytes} bytes; a file of a project may have {FILE_BYTES_MAX}");
    Err(Error::new(codes::CONFIG, message).at(shown, 0, 0))
}

fn has_extension(path: &str, extension: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, found)| found == extension)
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn unreadable(shown: &str, cause: &io::Error) -> Error {
    Error::new(codes::CONFIG, format!("{shown} cannot be read")).caused_by(cause)
}

/// The path as the user would write it.
fn shown(folder: &Path, path: &str) -> String {
    let folder = folder.to_string_lossy();
    let folder = folder.trim_end_matches('/');
    match folder {
        "." => path.to_owned(),
        folder => format!("{}/{path}", folder.strip_prefix("./").unwrap_or(folder)),
    }
}

/// There is no project in `folder`: says what there is.
fn missing(folder: &Path) -> Error {
    let name = folder.display();
    if folder.is_file() {
        let parent =
            folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return Error::new(codes::PROJECT_MISSING, format!("{name} is a file; a project is a folder"))
            .hint(format!("give the folder: {}", parent.display()));
    }
    if !folder.exists() {
        let error = Error::new(codes::PROJECT_MISSING, format!("there is no folder {name}"));
        let parent =
            folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let wanted = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let beside = projects_in(parent);
        return match suggest::nearest(&wanted, beside.iter().map(String::as_str)) {
            Some(near) => error.hint(format!("did you mean {}?", shown(parent, near))),
            None if beside.is_empty() => error.hint(format!("`lagar init {wanted}` makes a project")),
            None => error.hint(format!("there is {}", listed(parent, &beside))),
        };
    }
    let error = Error::new(codes::PROJECT_MISSING, format!("there is no `{PROJECT_FILE}` in {name}"));
    if let Some(other) = ["lagar.yml", "Lagar.yaml"].iter().find(|other| folder.join(other).is_file()) {
        return error.hint(format!("rename `{other}` to `{PROJECT_FILE}`"));
    }
    let inside: Vec<String> = ["", "sql"]
        .iter()
        .flat_map(|below| {
            let join = |name: String| if below.is_empty() { name } else { format!("{below}/{name}") };
            projects_in(&folder.join(below)).into_iter().map(join).collect::<Vec<_>>()
        })
        .collect();
    match inside.is_empty() {
        true => error.hint("a project is a folder with a `lagar.yaml`; `lagar init NAME` makes one"),
        false => error.hint(format!("there is {}", listed(folder, &inside))),
    }
}

fn listed(folder: &Path, names: &[String]) -> String {
    const SHOWN_MAX: usize = 8;
    let more = if names.len() > SHOWN_MAX { ", …" } else { "" };
    let names: Vec<String> = names.iter().take(SHOWN_MAX).map(|name| shown(folder, name)).collect();
    format!("{}{more}", names.join(", "))
}

/// The folders in `parent` that are projects, in order.
fn projects_in(parent: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().join(PROJECT_FILE).is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use object_store::{memory::InMemory, path::Path as ObjectPath};

    use super::*;

    #[tokio::test]
    async fn a_project_is_read_from_an_object_store() {
        let store = Arc::new(InMemory::new());
        for (path, text) in [
            ("projects/shop/lagar.yaml", "name: shop"),
            ("projects/shop/trusted/orders.sql", "SELECT 1"),
            ("projects/shop/trusted/sales/day.sql", "SELECT 2"),
            ("projects/shop/trusted/.hidden/x.sql", "no"),
            ("projects/shop/refined/notes.md", "no"),
            ("projects/shop/tests/orders.yaml", "model: x"),
            ("projects/shop/tests/old/orders.yaml", "no"),
            ("projects/shop2/trusted/other.sql", "no"),
        ] {
            store.put(&ObjectPath::from(path), text.into()).await.unwrap();
        }
        let latin1 = b"SELECT 1\nAS \xf1".to_vec();
        store.put(&ObjectPath::from("projects/shop/refined/latin1.sql"), latin1.into()).await.unwrap();
        let folder = StoreFolder {
            store: store.clone(),
            root: ObjectPath::from("projects/shop"),
            shown: "s3://bucket/projects/shop".into(),
        };
        let mut problems = Vec::new();
        let files = folder.read(&mut problems).await.unwrap();
        let paths = |files: &[TextFile]| files.iter().map(|file| file.path.clone()).collect::<Vec<_>>();
        assert_eq!(paths(&files.models), ["trusted/orders.sql", "trusted/sales/day.sql"]);
        assert_eq!(paths(&files.tests), ["tests/orders.yaml"]);
        assert_eq!((files.project.text.as_str(), files.env.is_none()), ("name: shop", true));
        assert_eq!(problems.len(), 1);
        assert_eq!(
            problems[0].place().unwrap().to_string(),
            "s3://bucket/projects/shop/refined/latin1.sql:2",
            "not UTF-8"
        );

        let empty =
            StoreFolder { store, root: ObjectPath::from("projects/shp"), shown: "s3://bucket/shp".into() };
        assert_eq!(empty.read(&mut problems).await.unwrap_err().code(), codes::PROJECT_MISSING);
    }

    #[test]
    fn paths_are_shown_as_they_were_given() {
        for (folder, expected) in [
            (".", "trusted/a.sql"),
            ("./sql/shop/", "sql/shop/trusted/a.sql"),
            ("sql/shop", "sql/shop/trusted/a.sql"),
            ("../shop", "../shop/trusted/a.sql"),
        ] {
            assert_eq!(shown(Path::new(folder), "trusted/a.sql"), expected);
        }
    }
}
