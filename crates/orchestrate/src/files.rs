//! The files of a project: in a folder, or below a prefix of an object store.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::TryStreamExt;
use lagar_engine::suggest;
use lagar_flow::{Error, Result, Zone, codes, redact_url};
use lagar_lake::object_error;
use object_store::{ObjectStore, ObjectStoreExt};

pub(crate) const PROJECT_FILE: &str = "lagar.yaml";
const ENV_FILE: &str = ".env";
/// The folders that hold models; each is a zone.
const MODEL_FOLDERS: &[&str] = &["trusted", "refined"];
const TESTS_FOLDER: &str = "tests";
/// A model or a list of test rows is far smaller.
const FILE_BYTES_MAX: u64 = 16 << 20;
const FOLDERS_DEEP_MAX: usize = 16;
/// More files than any project has in a folder of its own,
const WALKED_MAX: usize = 100_000;
/// and so many of a folder that is none of a project's: it may be a lake.
const STRAYS_WALKED_MAX: usize = 5_000;

/// What a folder beside the project file is for.
enum Purpose {
    Known,
    /// It is probably meant to be this one.
    Meant(&'static str),
    /// Nothing that a project knows.
    None,
}

fn purpose(folder: &str) -> Purpose {
    let first = folder.split('/').next().unwrap_or_default();
    let known = || MODEL_FOLDERS.iter().chain([&TESTS_FOLDER]).copied();
    match known().find(|known| *known == first) {
        Some(_) => Purpose::Known,
        // Sources make the tables of the first zone: whoever puts SQL there is told. Or it is a lake's.
        None if first == Zone::Raw.as_str() => Purpose::Meant(Zone::Raw.as_str()),
        None => suggest::nearest(first, known()).map_or(Purpose::None, Purpose::Meant),
    }
}

/// A file and the path that it was probably meant to have.
#[derive(Debug, PartialEq, Eq)]
struct Meant {
    path: String,
    meant: String,
}

/// The files of a project by what they are, told from their paths.
#[derive(Debug, Default, PartialEq, Eq)]
struct Placed {
    models: Vec<Meant>,
    tests: Vec<Meant>,
    notes: Vec<String>,
}

impl Placed {
    /// `problems` gets the folders and files that nothing would read although they are meant to be read:
    /// they are taken as they are meant, so that what they hold is looked at too.
    fn of(mut paths: Vec<String>, shown: &dyn Fn(&str) -> String, problems: &mut Vec<Error>) -> Self {
        paths.sort();
        let mut placed = Self::default();
        // Folders with a wrong name or none of a project's, and what is in them.
        let mut wrong: BTreeMap<String, (usize, &str)> = BTreeMap::new();
        let mut strays: BTreeMap<String, usize> = BTreeMap::new();
        let not_read = |path: &str, hint: String| {
            Error::new(codes::NAME, format!("`{path}` is not read")).hint(hint).at(shown(path), 0, 0)
        };
        for path in paths {
            let (first, rest) = path.split_once('/').unwrap_or(("", &path));
            let (stem, extension) = path.rsplit_once('.').unwrap_or((&path, ""));
            let kind = extension.to_ascii_lowercase();
            let purpose = if first.is_empty() { Purpose::None } else { purpose(first) };
            match (kind.as_str(), purpose) {
                ("sql", Purpose::Known) if first != TESTS_FOLDER => {
                    let meant = format!("{stem}.sql");
                    if meant != path {
                        problems.push(not_read(&path, format!("did you mean `{meant}`?")));
                    }
                    placed.models.push(Meant { path, meant });
                }
                ("sql", Purpose::Meant(folder)) if folder != TESTS_FOLDER => {
                    wrong.entry(first.to_owned()).or_insert((0, folder)).0 += 1;
                    if MODEL_FOLDERS.contains(&folder) {
                        let meant = format!("{folder}/{rest}");
                        placed.models.push(Meant { path, meant });
                    }
                }
                ("yaml" | "yml", Purpose::Known) if first == TESTS_FOLDER => {
                    let meant = format!("{stem}.yaml");
                    if rest.contains('/') {
                        placed.notes.push(format!(
                            "{} is not read: tests lie in {TESTS_FOLDER}/ itself",
                            shown(&path)
                        ));
                        continue;
                    }
                    if meant != path {
                        problems.push(not_read(&path, format!("did you mean `{meant}`?")));
                    }
                    placed.tests.push(Meant { path, meant });
                }
                ("yaml" | "yml", Purpose::Meant(TESTS_FOLDER)) => {
                    wrong.entry(first.to_owned()).or_insert((0, TESTS_FOLDER)).0 += 1;
                    let meant = format!("{TESTS_FOLDER}/{rest}");
                    placed.tests.push(Meant { path, meant });
                }
                ("sql", _) => *strays.entry(first.to_owned()).or_default() += 1,
                _ => {}
            }
        }
        for (folder, (count, meant)) in wrong {
            let files = if count == 1 { "a file".to_owned() } else { format!("{count} files") };
            let message = format!("the folder `{folder}` has {files} that nothing reads");
            problems.push(
                Error::new(codes::NAME, message)
                    .hint(match meant == Zone::Raw.as_str() {
                        true => "raw tables are made by the sources in lagar.yaml; models lie in trusted/ and refined/".to_owned(),
                        false => format!("did you mean `{meant}`?"),
                    })
                    .at(shown(&folder), 0, 0),
            );
        }
        for (folder, count) in strays {
            let files = if count == 1 { "a .sql file".to_owned() } else { format!("{count} .sql files") };
            let place = if folder.is_empty() {
                "beside lagar.yaml".to_owned()
            } else {
                format!("in {}", shown(&folder))
            };
            let is = if count == 1 { "is" } else { "are" };
            placed.notes.push(format!("{files} {place} {is} not read: models lie in trusted/ and refined/"));
        }
        placed
    }
}

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

/// Reads the files of the project at `location`. `problems` gets what is wrong with single files;
/// `thorough` also looks for models in folders that are none of a project's.
pub(crate) async fn read(
    location: &str,
    env: &(dyn Fn(&str) -> Option<String> + Sync),
    thorough: bool,
    problems: &mut Vec<Error>,
) -> Result<ProjectFiles> {
    match location.split_once("://").map(|(scheme, _)| scheme) {
        None => read_folder(Path::new(location), thorough, problems),
        Some("s3" | "s3a") => read_store(location, env, problems).await,
        Some(other) => {
            Err(Error::new(codes::PROJECT_MISSING, format!("a project cannot be read from `{other}://`"))
                .hint("a project is a folder, or lies in `s3://bucket/prefix`"))
        }
    }
}

fn read_folder(folder: &Path, thorough: bool, problems: &mut Vec<Error>) -> Result<ProjectFiles> {
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
    let beside = found.folders_and_files(problems);
    let is_there = |name: &str| beside.iter().any(|(other, _)| other == name);
    for (name, is_folder) in &beside {
        match (is_folder, purpose(name)) {
            (true, Purpose::Known) => found.walk(name, WALKED_MAX, problems),
            // Where the disk takes capitals for small letters it is the folder itself.
            (true, Purpose::Meant(meant))
                if *name != meant && (is_there(meant) || !folder.join(meant).exists()) =>
            {
                found.walk(name, WALKED_MAX, problems);
            }
            (true, Purpose::Meant(_) | Purpose::None)
                if thorough && !folder.join(name).join(PROJECT_FILE).exists() =>
            {
                found.walk(name, STRAYS_WALKED_MAX, problems);
            }
            (true, _) => {}
            (false, _) => found.paths.push(name.clone()),
        }
    }
    let placed = Placed::of(std::mem::take(&mut found.paths), &|path| shown(folder, path), problems);
    found.notes.extend(placed.notes);
    let models = texts_of(folder, placed.models, problems);
    let tests = texts_of(folder, placed.tests, problems);
    let dir = std::path::absolute(folder).map_err(|e| unreadable(&folder.display().to_string(), &e))?;
    Ok(ProjectFiles { dir: Some(dir), project, env, models, tests, notes: found.notes })
}

struct Walk<'a> {
    root: &'a Path,
    notes: Vec<String>,
    /// Below the project, with `/`.
    paths: Vec<String>,
}

impl Walk<'_> {
    /// What lies beside the project file, and whether it is a folder; in order, without hidden ones.
    fn folders_and_files(&mut self, problems: &mut Vec<Error>) -> Vec<(String, bool)> {
        let mut found = Vec::new();
        for (name, kind) in entries(self.root, "", problems) {
            // Whoever makes the folder of a zone a link means it.
            let is_linked = kind.is_symlink() && matches!(purpose(&name), Purpose::Known);
            let is_folder = kind.is_dir() || is_linked && self.root.join(&name).is_dir();
            if is_folder || kind.is_file() {
                found.push((name, is_folder));
            }
        }
        found.sort();
        found
    }

    /// Collects the files below `folder`, of which at most `left` are looked at.
    fn walk(&mut self, folder: &str, left: usize, problems: &mut Vec<Error>) {
        let mut left = left;
        let mut todo = vec![(folder.to_owned(), FOLDERS_DEEP_MAX)];
        while let Some((folder, deep)) = todo.pop() {
            for (name, kind) in entries(self.root, &folder, problems) {
                left = left.saturating_sub(1);
                let path = format!("{folder}/{name}");
                if kind.is_symlink() {
                    if !matches!(purpose(&path), Purpose::None) {
                        let shown = shown(self.root, &path);
                        self.notes.push(format!("{shown} was left out: it is a symbolic link"));
                    }
                } else if kind.is_dir() {
                    if deep > 0 {
                        todo.push((path, deep - 1));
                    }
                } else {
                    self.paths.push(path);
                }
                if left == 0 {
                    return;
                }
            }
        }
    }
}

/// The names in `folder` below `root` that are not hidden, with what they are.
fn entries(root: &Path, folder: &str, problems: &mut Vec<Error>) -> Vec<(String, fs::FileType)> {
    let place = if folder.is_empty() { root.to_owned() } else { root.join(folder) };
    let shown_folder = || if folder.is_empty() { root.display().to_string() } else { shown(root, folder) };
    let listed = fs::read_dir(&place).and_then(|entries| {
        entries.map(|entry| entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?)))).collect()
    });
    let listed: Vec<(std::ffi::OsString, fs::FileType)> = match listed {
        Ok(listed) => listed,
        Err(error) => {
            let matters = folder.is_empty() || !matches!(purpose(folder), Purpose::None);
            if matters && !is_missing(&error) {
                problems.push(unreadable(&shown_folder(), &error));
            }
            Vec::new()
        }
    };
    let mut named = Vec::new();
    for (name, kind) in listed {
        match name.into_string() {
            Ok(name) if name.starts_with('.') => {}
            Ok(name) => named.push((name, kind)),
            // Elsewhere it is nobody's business.
            Err(name) if matches!(purpose(folder), Purpose::Known) => {
                let message = format!("a file name in {} is not UTF-8: {}", shown_folder(), name.display());
                problems.push(Error::new(codes::NAME, message).hint("rename or remove the file"));
            }
            Err(_) => {}
        }
    }
    named
}

/// The texts at `paths`; each is its path and the one that its place was meant to be.
fn texts_of(root: &Path, paths: Vec<Meant>, problems: &mut Vec<Error>) -> Vec<TextFile> {
    let mut texts = Vec::new();
    for Meant { path, meant } in paths {
        let shown = shown(root, &path);
        let read = fs::metadata(root.join(&path))
            .map_err(|e| unreadable(&shown, &e))
            .and_then(|file| refuse_large(&shown, file.len()))
            .and_then(|()| fs::read(root.join(&path)).map_err(|e| unreadable(&shown, &e)))
            .and_then(|bytes| text_file(&meant, shown.clone(), bytes));
        match read {
            Ok(text) => texts.push(text),
            Err(error) => problems.push(error),
        }
    }
    texts
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
        let listing = self.store.list_with_delimiter(Some(&self.root)).await;
        let listing = listing.map_err(|e| object_error(&self.shown, &e))?;
        let mut paths: Vec<String> =
            listing.objects.iter().filter_map(|object| self.below(&object.location)).collect();
        for folder in listing.common_prefixes.iter().filter_map(|folder| self.below(folder)) {
            // What else lies there may be a lake: it is not looked into.
            let is_read = match purpose(&folder) {
                Purpose::Known => true,
                Purpose::Meant(meant) => folder != meant,
                Purpose::None => false,
            };
            if is_read {
                paths.extend(self.list(&folder).await?);
            }
        }
        let placed = Placed::of(paths, &|path| format!("{}/{path}", self.shown), problems);
        let models = self.texts(placed.models, problems).await;
        let tests = self.texts(placed.tests, problems).await;
        Ok(ProjectFiles { dir: None, project, env, models, tests, notes: placed.notes })
    }

    /// The path below the project; `None` for hidden ones.
    fn below(&self, location: &object_store::path::Path) -> Option<String> {
        let parts: Vec<String> =
            location.prefix_match(&self.root)?.map(|part| part.as_ref().to_owned()).collect();
        (!parts.is_empty() && parts.iter().all(|part| !part.starts_with('.'))).then(|| parts.join("/"))
    }

    async fn texts(&self, paths: Vec<Meant>, problems: &mut Vec<Error>) -> Vec<TextFile> {
        let mut texts = Vec::new();
        for Meant { path, meant } in paths {
            match self.fetch(&path).await {
                // Or removed since it was listed.
                Ok(text) => texts.extend(text.map(|text| TextFile { path: meant, ..text })),
                Err(error) => problems.push(error),
            }
        }
        texts
    }

    /// The paths below `folder`, without hidden ones.
    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        let prefix = self.root.clone().join(folder);
        let listed: Result<Vec<_>, _> = self.store.list(Some(&prefix)).try_collect().await;
        let objects = listed.map_err(|e| object_error(&format!("{}/{folder}", self.shown), &e))?;
        Ok(objects.iter().filter_map(|object| self.below(&object.location)).collect())
    }

    /// The text at `path`; `None` if there is none.
    async fn fetch(&self, path: &str) -> Result<Option<TextFile>> {
        let shown = format!("{}/{path}", self.shown);
        let location = path.split('/').fold(self.root.clone(), |location, part| location.join(part));
        let answer = match self.store.get(&location).await {
            Ok(answer) => answer,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(object_error(&shown, &error)),
        };
        refuse_large(&shown, answer.meta.size)?;
        let bytes = answer.bytes().await.map_err(|e| object_error(&shown, &e))?;
        text_file(path, shown, bytes.to_vec()).map(Some)
    }
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
            ("projects/shop/refind/top.sql", "SELECT 3"),
            ("projects/shop/notes.sql", "no"),
            ("projects/shop/lake/trusted/x.sql", "no"),
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
        assert_eq!(paths(&files.models), ["refined/top.sql", "trusted/orders.sql", "trusted/sales/day.sql"]);
        assert_eq!(paths(&files.tests), ["tests/orders.yaml"]);
        assert_eq!((files.project.text.as_str(), files.env.is_none()), ("name: shop", true));
        let places: Vec<String> = problems.iter().map(|error| error.place().unwrap().to_string()).collect();
        let shop = "s3://bucket/projects/shop";
        // A name that was meant to be another, and a text that is not UTF-8.
        assert_eq!(places, [format!("{shop}/refind"), format!("{shop}/refined/latin1.sql:2")]);
        assert_eq!(problems[0].hint_text(), Some("did you mean `refined`?"));
        assert_eq!(files.notes.len(), 2, "{:?}", files.notes);

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
