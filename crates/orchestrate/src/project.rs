//! A project: `lagar.yaml`, its models and their tests, read, merged and checked as a whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::PathBuf,
    sync::Arc,
};

use lagar_engine::{model::Model, yaml};
use lagar_flow::{Error, Name, Place, Result, TableName, codes, redact_url};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    config::{self, LAKE_DEFAULT},
    dotenv,
    files::{self, ProjectFiles, TextFile},
    model_tests,
    overlay::{ENV_PREFIX, Origin, Tree},
};
pub use crate::{
    config::{CommonConfig, LimitsConfig, MaxRejected, SchemaPolicy, SourceDef},
    model_tests::{ModelTest, TestCase},
    schema::project_schema,
    secrets::Secrets,
};

/// Variable that names the profile when the command line does not.
const PROFILE_VARIABLE: &str = "LAGAR_PROFILE";
/// The folder beside `lagar.yaml` for what a project keeps on this machine.
const STATE_FOLDER: &str = ".lagar";

/// Answers for the variables of the environment.
pub type Env = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What the command line and the environment say about a project.
#[derive(Clone)]
pub struct LoadOptions {
    /// `--profile`; without it the variable `LAGAR_PROFILE` counts.
    pub profile: Option<String>,
    /// `--var name=value`
    pub vars: Vec<(String, String)>,
    pub env: Env,
    /// The names of the environment's variables; those that begin with `LAGAR__` are keys of the project.
    pub env_names: Vec<String>,
    /// Only the lake is to be read: sources keep their names alone, so that nobody needs their logins, and
    /// models that are wrong are left out.
    pub reading: bool,
}

impl LoadOptions {
    /// With the environment of this process.
    pub fn of_process(profile: Option<String>, vars: Vec<(String, String)>) -> Self {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        Self {
            profile,
            vars,
            env: Arc::new(|name| std::env::var(name).ok()),
            env_names: names.collect(),
            reading: false,
        }
    }

    /// With an environment of the caller's: repeatable, for tests.
    pub fn with_env(variables: BTreeMap<String, String>) -> Self {
        let env_names = variables.keys().cloned().collect();
        Self {
            profile: None,
            vars: Vec::new(),
            env: Arc::new(move |name| variables.get(name).cloned()),
            env_names,
            reading: false,
        }
    }
}

/// One key of the merged configuration, as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// `sources.orders.url`
    pub key: String,
    /// Secrets are `***`; empty where the machine decides when a run begins.
    pub value: String,
    /// `flag --var`, `environment NAME`, `.env NAME`, `profile NAME (lagar.yaml:LINE)`, `lagar.yaml:LINE`
    /// or `default`
    pub origin: String,
}

/// A project as everything else uses it.
pub struct Project {
    pub name: Name,
    /// As it was given: a folder or a URL; no secret is in it.
    pub location: String,
    /// Where relative paths start. Of a project in an object store: the current folder.
    pub dir: PathBuf,
    /// As it is written; relative to `dir`.
    pub lake_url: String,
    pub timezone: chrono_tz::Tz,
    pub limits: LimitsConfig,
    pub vars: BTreeMap<String, String>,
    pub sources: BTreeMap<Name, SourceDef>,
    /// The names of all sources, also when [`LoadOptions::reading`] left the rest of them out.
    pub source_names: BTreeSet<Name>,
    pub models: BTreeMap<TableName, Model>,
    pub tests: Vec<ModelTest>,
    /// Of everything in the merged configuration except the secrets; hex.
    pub config_hash: String,
    /// The environment with the `.env` file below it.
    pub env: Env,
    /// What was left out while reading, and why.
    pub notes: Vec<String>,
    /// To take the project's secrets out of what is shown.
    pub secrets: Secrets,
    settings: Vec<Setting>,
    in_store: bool,
}

impl std::fmt::Debug for Project {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Project")
            .field("name", &self.name)
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

impl Project {
    /// Reads the project at `location`, a folder or `s3://bucket/prefix`.
    ///
    /// # Errors
    /// [`codes::PROJECT_MISSING`] if there is none; else one error that carries every problem found in the
    /// project file, the models and their tests, each with its place.
    pub async fn load(location: &str, options: LoadOptions) -> Result<Self> {
        let mut problems = Vec::new();
        let files = files::read(location, options.env.as_ref(), &mut problems).await?;
        let dotenv = match &files.env {
            Some(file) => dotenv::parse(&file.text, &file.shown)?,
            None => BTreeMap::new(),
        };
        let env = layered(&options.env, dotenv.clone());
        let (tree, vars, source_names) = merged(&files.project, &options, &dotenv, &env, &mut problems)?;
        let config = config::read(&tree, &mut problems);
        let mut in_models = Vec::new();
        let models = models(&files.models, &mut in_models);
        if !options.reading {
            problems.append(&mut in_models);
        }
        // A test of a model that cannot be read would only repeat that.
        let broken_model = problems.iter().any(|problem| is_in_models(problem, &files));
        let mut tests = Vec::new();
        for file in files.tests.iter().filter(|_| !broken_model && !options.reading) {
            tests.extend(model_tests::parse(file, &models, &mut problems));
        }
        if files.dir.is_none() && !config.lake.contains("://") {
            problems.push(
                Error::new(
                    codes::CONFIG,
                    format!(
                        "a project in {} cannot have its lake in a folder beside it",
                        redact_url(location)
                    ),
                )
                .hint("set `lake: s3://bucket/prefix`")
                .at_place(tree.value_place(&["lake".to_owned()])),
            );
        }
        if let Some(error) = Error::all(problems) {
            return Err(error);
        }
        let name = config.name.ok_or_else(|| Error::bug("a project without a name was read"))?;
        let shown = tree.shown(&tree.value);
        let settings = settings(&tree, &shown, &config.limits);
        let in_store = files.dir.is_none();
        let dir = match files.dir {
            Some(dir) => dir,
            None => std::env::current_dir()
                .map_err(|e| Error::new(codes::CONFIG, "the current folder is not known").caused_by(&e))?,
        };
        Ok(Self {
            name,
            location: redact_url(location),
            dir,
            lake_url: config.lake,
            timezone: config.timezone,
            limits: config.limits,
            vars,
            sources: config.sources,
            source_names,
            models,
            tests,
            config_hash: hash(&shown),
            env,
            notes: files.notes,
            secrets: tree.secrets,
            settings,
            in_store,
        })
    }

    /// Every key of the merged configuration, for `lagar config show`.
    pub fn settings(&self) -> Vec<Setting> {
        self.settings.clone()
    }

    /// The folder for what the project keeps on this machine (history, scratch files): `.lagar` beside
    /// `lagar.yaml`; for a project in an object store a folder in the user's state folder.
    ///
    /// # Errors
    /// [`codes::CONFIG`] if such a folder is needed and neither `XDG_STATE_HOME` nor `HOME` is set.
    pub fn state_dir(&self) -> Result<PathBuf> {
        if !self.in_store {
            return Ok(self.dir.join(STATE_FOLDER));
        }
        let set = |name: &str| (self.env)(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let home = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")));
        let home = home.ok_or_else(|| {
            Error::new(codes::CONFIG, "there is no folder to keep the state of the project in")
                .hint("set the variable `XDG_STATE_HOME` to a folder that can be written to")
        })?;
        let address = self.location.trim_end_matches('/').replacen("s3a://", "s3://", 1);
        Ok(home.join("lagar").join(&hash(&Value::from(address))[..16]))
    }
}

/// The environment with `.env` below it.
fn layered(env: &Env, dotenv: BTreeMap<String, String>) -> Env {
    let env = env.clone();
    Arc::new(move |name| env(name).or_else(|| dotenv.get(name).cloned()))
}

/// All layers of the configuration laid over each other, with every `${…}` filled in.
fn merged(
    file: &TextFile,
    options: &LoadOptions,
    dotenv: &BTreeMap<String, String>,
    env: &Env,
    problems: &mut Vec<Error>,
) -> Result<(Tree, BTreeMap<String, String>, BTreeSet<Name>)> {
    let mut tree = Tree::new(yaml::parse(&file.text, &file.shown, 0)?);
    let mut declared = declared_vars(&tree.value);
    let profile = options.profile.clone().or_else(|| env(PROFILE_VARIABLE)).filter(|name| !name.is_empty());
    tree.apply_profile(profile.as_deref())?;
    if tree.value.is_object() {
        for (name, value) in dotenv {
            if options.env_names.contains(name) {
                continue; // the real environment wins
            }
            if let Some(path) = env_path(name) {
                tree.set(&path, value, Origin::DotEnv(name.clone()));
            }
        }
        let mut names: Vec<&String> = options.env_names.iter().collect();
        names.sort();
        for name in names {
            if let (Some(path), Some(value)) = (env_path(name), (options.env)(name)) {
                tree.set(&path, &value, Origin::Environment(name.clone()));
            }
        }
    }
    declared.extend(declared_vars(&tree.value));
    for (name, value) in &options.vars {
        tree.set(&["vars".to_owned(), name.clone()], value, Origin::Flag);
    }
    let names = match tree.value.get("sources") {
        Some(Value::Object(sources)) => sources.keys().filter_map(|name| name.parse().ok()).collect(),
        _ => BTreeSet::new(),
    };
    if let (true, Value::Object(root)) = (options.reading, &mut tree.value) {
        root.shift_remove("sources");
    }
    let (vars, used) = tree.fill(env.as_ref(), problems);
    if !options.reading {
        problems
            .extend(options.vars.iter().filter_map(|(name, _)| config::unknown_var(name, &declared, &used)));
    }
    Ok((tree, vars, names))
}

/// The names under `vars`, in the file and in its profiles.
fn declared_vars(value: &Value) -> BTreeSet<String> {
    let of = |value: &Value| match value.get("vars") {
        Some(Value::Object(vars)) => vars.keys().cloned().collect::<Vec<_>>(),
        _ => Vec::new(),
    };
    let mut names: BTreeSet<String> = of(value).into_iter().collect();
    if let Some(Value::Object(profiles)) = value.get("profiles") {
        names.extend(profiles.values().flat_map(of));
    }
    names
}

/// `LAGAR__LIMITS__MEMORY` → `limits`, `memory`
fn env_path(name: &str) -> Option<Vec<String>> {
    let path = name.strip_prefix(ENV_PREFIX)?;
    Some(path.split("__").map(str::to_lowercase).collect())
}

fn models(files: &[TextFile], problems: &mut Vec<Error>) -> BTreeMap<TableName, Model> {
    let mut models = BTreeMap::new();
    let mut first: BTreeMap<TableName, &TextFile> = BTreeMap::new();
    for file in files {
        let mut model = match lagar_engine::model::parse(&file.path, &file.text) {
            Ok(model) => model,
            Err(error) => {
                problems.extend(error.each().map(|error| with_shown_path(error, file)));
                continue;
            }
        };
        if let Some(other) = first.get(&model.name) {
            let message =
                format!("`{}` is made by two files: {} and {}", model.name, other.shown, file.shown);
            problems.push(
                Error::new(codes::NAME, message)
                    .hint("rename one of them: the file's name is the table's name")
                    .at(&file.shown, 1, 1),
            );
            continue;
        }
        model.show_as(&file.shown);
        first.insert(model.name.clone(), file);
        models.insert(model.name.clone(), model);
    }
    models
}

/// `error` alone, without those found with it, at the path that the user knows.
fn with_shown_path(error: &Error, file: &TextFile) -> Error {
    let mut alone = Error::new(error.code(), error.message());
    for cause in error.causes() {
        let cause: Box<dyn std::error::Error> = cause.as_str().into();
        alone = alone.caused_by(cause.as_ref());
    }
    if let Some(hint) = error.hint_text() {
        alone = alone.hint(hint);
    }
    let place = error.place().cloned().unwrap_or_default();
    alone.at(&file.shown, place.line, place.column)
}

fn is_in_models(problem: &Error, files: &ProjectFiles) -> bool {
    let in_file = |place: &Place| files.models.iter().any(|file| file.shown == place.file);
    problem.place().is_some_and(in_file)
}

/// The leaves of the merged configuration and the defaults that nothing replaced.
fn settings(tree: &Tree, shown: &Value, limits: &LimitsConfig) -> Vec<Setting> {
    let mut settings = Vec::new();
    leaves(shown, &mut Vec::new(), &mut |path, value| {
        settings.push(Setting { key: yaml::path_text(path), value, origin: tree.origin_text(path) });
    });
    let mut defaults = vec![
        ("lake".to_owned(), Some(LAKE_DEFAULT.to_owned())),
        ("timezone".to_owned(), Some("UTC".to_owned())),
        ("dialect".to_owned(), Some("datafusion".to_owned())),
    ];
    defaults.extend(limits.shown().map(|(key, value)| (format!("limits.{key}"), value)));
    for (key, value) in defaults {
        if !settings.iter().any(|setting| setting.key == key) {
            settings.push(Setting { key, value: value.unwrap_or_default(), origin: "default".to_owned() });
        }
    }
    // The file's own order of the first parts stays; what belongs together stands together.
    let rank = |setting: &Setting| {
        let first = setting.key.split(['.', '[']).next().unwrap_or_default();
        config::KEYS.iter().position(|key| *key == first).unwrap_or(usize::MAX)
    };
    settings.sort_by_key(rank);
    settings
}

fn leaves(value: &Value, path: &mut Vec<String>, found: &mut dyn FnMut(&[String], String)) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                path.push(key.clone());
                leaves(value, path, found);
                path.pop();
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for (index, value) in list.iter().enumerate() {
                path.push(index.to_string());
                leaves(value, path, found);
                path.pop();
            }
        }
        Value::String(text) => found(path, text.clone()),
        other => found(path, other.to_string()),
    }
}

fn hash(value: &Value) -> String {
    Sha256::digest(value.to_string()).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests;
