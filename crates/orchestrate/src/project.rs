//! A project: `lagar.yaml`, its models and their tests, read, merged and checked as a whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::PathBuf,
    sync::Arc,
};

use lagar_engine::{
    NullTokens,
    model::Model,
    yaml::{self, Document},
};
use lagar_flow::{Error, Name, Redactor, Result, TableName, Zone, codes, redact_url};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    base::StoreBase,
    config::{self, Config, LAKE_DEFAULT},
    dotenv,
    files::{self, ProjectFiles, TextFile},
    model_tests,
    overlay::{ENV_PREFIX, Origin, Tree},
};
pub use crate::{
    config::{CommonConfig, LimitsConfig, MaxRejected, PredictorDef, SchemaPolicy, SourceDef},
    model_tests::{ModelTest, TestCase},
    schema::project_schema,
};

/// Variable that names the profile when the command line does not.
const PROFILE_VARIABLE: &str = "LAGAR_PROFILE";
/// Variables that object stores take their login from,
const AWS_SECRETS: &[&str] =
    &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"];
/// and those that hold an address, in which a login may be.
const ADDRESSES: &[&str] = &[
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
];
/// What a draft is called whose name cannot be read.
const NAMELESS: &str = "nameless";
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
    /// Also what this command does not use is looked at: profiles that were not asked for, files that lie
    /// where nothing reads them.
    pub thorough: bool,
    /// Gets to know the secrets of the project.
    pub secrets: Redactor,
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
            thorough: false,
            secrets: Redactor::default(),
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
            thorough: false,
            secrets: Redactor::default(),
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
    /// Where relative paths start. Of a project in an object store nothing is relative any more: `/`.
    pub dir: PathBuf,
    /// As it is written; relative to `dir`.
    pub lake_url: String,
    pub timezone: chrono_tz::Tz,
    /// Texts that mean null for the functions that clean.
    pub null_tokens: NullTokens,
    pub limits: LimitsConfig,
    /// The table that each run adds its steps to.
    pub steps_table: Option<TableName>,
    pub predictors: BTreeMap<Name, PredictorDef>,
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
    pub secrets: Redactor,
    pub(crate) gaps: Gaps,
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

/// A project as far as it can be read, with all that is wrong with it.
pub struct Draft {
    pub project: Project,
    pub problems: Vec<Error>,
}

impl Draft {
    /// The project, if nothing is wrong with it.
    ///
    /// # Errors
    /// All problems at once.
    pub fn finished(self) -> Result<Project> {
        Error::all(self.problems).map_or(Ok(self.project), Err)
    }
}

/// What a draft does not know, because what would say it is wrong. A finished project has no gaps.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    /// They are made by something that cannot be read.
    pub tables: BTreeSet<TableName>,
    /// They are asked for something wrong.
    pub predictors: BTreeSet<Name>,
    /// Which sources there are.
    pub sources: bool,
    pub lake: bool,
}

impl Gaps {
    /// Whether nobody can say that `table` does not exist.
    pub fn may_hold(&self, table: &TableName) -> bool {
        self.tables.contains(table) || self.sources && table.zone == Zone::Raw
    }
}

impl Project {
    /// Reads the project at `location`, a folder or `s3://bucket/prefix`.
    ///
    /// # Errors
    /// [`codes::PROJECT_MISSING`] if there is none; else one error that carries every problem found in the
    /// project file, the models and their tests, each with its place.
    pub async fn load(location: &str, options: LoadOptions) -> Result<Self> {
        Self::draft(location, options).await?.finished()
    }

    /// [`Self::load`] that goes on behind what is wrong.
    ///
    /// # Errors
    /// There is no project, the store that it lies in does not answer, or there is no such profile.
    pub async fn draft(location: &str, options: LoadOptions) -> Result<Draft> {
        let secrets = options.secrets.clone();
        let draft = Self::draft_with_secrets(location, options).await;
        let mut draft = draft.map_err(|error| error.without(&secrets))?;
        draft.problems = draft.problems.into_iter().map(|problem| problem.without(&secrets)).collect();
        Ok(draft)
    }

    async fn draft_with_secrets(location: &str, options: LoadOptions) -> Result<Draft> {
        let mut problems = Vec::new();
        let mut files = files::read(location, options.env.as_ref(), options.thorough, &mut problems).await?;
        if options.reading {
            problems.clear(); // of the files that are not needed
        }
        Self::of_files(location, &mut files, options, problems)
    }

    fn of_files(
        location: &str,
        files: &mut ProjectFiles,
        options: LoadOptions,
        mut problems: Vec<Error>,
    ) -> Result<Draft> {
        let dotenv = match &files.env {
            Some(file) => dotenv::parse(&file.text, &file.shown, &mut problems),
            None => BTreeMap::new(),
        };
        let env = layered(&options.env, dotenv.clone());
        let base = files.dir.is_none().then(|| StoreBase::new(location));
        let document = yaml::parse_all(&files.project.text, &files.project.shown, 0, &mut problems);
        let layers = Layers { options: &options, dotenv: &dotenv, env: &env, base: base.as_ref() };
        let profile =
            options.profile.clone().or_else(|| env(PROFILE_VARIABLE)).filter(|name| !name.is_empty());
        let merged = match &document {
            Some(document) => {
                let merged = layers.merge(document.clone(), profile.as_deref(), &mut problems)?;
                if options.thorough {
                    let more = layers.in_other_profiles(document, &merged, profile.as_deref(), &problems);
                    problems.extend(more);
                }
                merged
            }
            // Nothing is known of the project but its models.
            None => layers.merge(yaml::parse("{}", &files.project.shown, 0)?, None, &mut Vec::new())?,
        };
        let Merged { tree, vars, source_names, config, .. } = merged;
        learn(&options.secrets, &tree, env.as_ref());

        let mut gaps = Gaps {
            tables: source_names
                .iter()
                .filter(|name| !config.sources.contains_key(*name))
                .map(|name| TableName::new(Zone::Raw, name.clone()))
                .collect(),
            predictors: config
                .predictor_names
                .iter()
                .filter(|name| !config.predictors.contains_key(*name))
                .cloned()
                .collect(),
            sources: document.is_none() || config.sources_unknown,
            lake: document.is_none() || config.lake.is_none(),
        };
        let mut in_models = Vec::new();
        let mut models = models(&files.models, options.reading, &mut gaps.tables, &mut in_models);
        for model in models.values_mut() {
            model.null_tokens = config.null_tokens.clone();
        }
        if let Some(both) = config.steps_table.as_ref().filter(|table| models.contains_key(*table)) {
            let place = tree.value_place(&["steps_table".to_owned()]);
            let error = Error::new(codes::CONFIG, format!("`steps_table: {both}` is the table of a model"));
            problems.push(error.hint("give it another name").at_place(place));
        }
        let mut tests = Vec::new();
        if !options.reading {
            problems.append(&mut in_models);
            let broken = &gaps.tables;
            tests.extend(
                files.tests.iter().filter_map(|f| model_tests::parse(f, &models, broken, &mut problems)),
            );
        }
        let by_window = config.sources.values().any(|source| source.source.windows().is_some());
        if config.timezone != chrono_tz::UTC && !options.reading && !by_window {
            let place = tree.value_place(&["timezone".to_owned()]);
            files.notes.push(format!(
                "`timezone` has no effect here: it says when the windows of sources are over, and SQL works in UTC ({place})"
            ));
        }
        let shown = tree.shown(&tree.value);
        let settings = settings(&tree, &shown, &config.limits);
        let in_store = files.dir.is_none();
        let project = Self {
            name: match config.name {
                Some(name) => name,
                None => NAMELESS.parse()?,
            },
            location: redact_url(location),
            // In a store every relative path of the file was made an address already.
            dir: files.dir.clone().unwrap_or_else(|| PathBuf::from("/")),
            lake_url: config.lake.unwrap_or_else(|| LAKE_DEFAULT.to_owned()),
            timezone: config.timezone,
            null_tokens: config.null_tokens,
            limits: config.limits,
            steps_table: config.steps_table,
            predictors: config.predictors,
            vars,
            sources: config.sources,
            source_names,
            models,
            tests,
            config_hash: hash(&shown),
            env,
            notes: std::mem::take(&mut files.notes),
            secrets: options.secrets,
            gaps,
            settings,
            in_store,
        };
        Ok(Draft { project, problems })
    }

    /// Every key of the merged configuration, for `lagar config show`.
    pub fn settings(&self) -> Vec<Setting> {
        self.settings.clone()
    }

    /// The folder that the project's files were read from; `None` for an object store.
    pub(crate) fn code_folder(&self) -> Option<&std::path::Path> {
        (!self.in_store).then_some(self.dir.as_path())
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

/// Tells `secrets` what must not be shown: what the project was given, and what the libraries that talk to
/// stores and proxies take from the environment by themselves.
fn learn(secrets: &Redactor, tree: &Tree, env: &dyn Fn(&str) -> Option<String>) {
    tree.secrets.each().for_each(|secret| secrets.add(secret));
    let of = |names: &[&str]| names.iter().filter_map(|name| env(name)).collect::<Vec<_>>();
    of(AWS_SECRETS).iter().for_each(|secret| secrets.add(secret));
    of(ADDRESSES).iter().for_each(|address| secrets.add_url(address));
}

/// The environment with `.env` below it.
fn layered(env: &Env, dotenv: BTreeMap<String, String>) -> Env {
    let env = env.clone();
    Arc::new(move |name| env(name).or_else(|| dotenv.get(name).cloned()))
}

/// What is laid over a project file.
struct Layers<'a> {
    options: &'a LoadOptions,
    dotenv: &'a BTreeMap<String, String>,
    env: &'a Env,
    base: Option<&'a StoreBase>,
}

/// All layers of a configuration laid over each other.
struct Merged {
    tree: Tree,
    vars: BTreeMap<String, String>,
    source_names: BTreeSet<Name>,
    config: Config,
    profiles: Vec<String>,
}

impl Layers<'_> {
    /// Lays the layers over each other, with every `${…}` filled in, and reads the result.
    ///
    /// # Errors
    /// There is no such profile.
    fn merge(&self, file: Document, profile: Option<&str>, problems: &mut Vec<Error>) -> Result<Merged> {
        let options = self.options;
        let mut tree = Tree::new(file);
        let mut declared = declared_vars(&tree.value);
        let profiles = tree.apply_profile(profile, problems)?;
        if tree.value.is_object() {
            for (name, value) in self.dotenv {
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
        let source_names = match tree.value.get("sources") {
            Some(Value::Object(sources)) => sources.keys().filter_map(|name| name.parse().ok()).collect(),
            _ => BTreeSet::new(),
        };
        if let (true, Value::Object(root)) = (options.reading, &mut tree.value) {
            root.shift_remove("sources");
        }
        let (vars, used) = tree.fill(self.env.as_ref(), problems);
        if !options.reading {
            let unknown =
                options.vars.iter().filter_map(|(name, _)| config::unknown_var(name, &declared, &used));
            problems.extend(unknown);
        }
        let config = config::read(&tree, self.base, problems);
        Ok(Merged { tree, vars, source_names, config, profiles })
    }

    /// What is wrong only with a profile that was not asked for. Its variables may be set where it is used.
    fn in_other_profiles(
        &self,
        file: &Document,
        merged: &Merged,
        asked: Option<&str>,
        known: &[Error],
    ) -> Vec<Error> {
        let mut more: Vec<Error> = Vec::new();
        for profile in merged.profiles.iter().filter(|name| Some(name.as_str()) != asked) {
            let mut found = Vec::new();
            if let Err(error) = self.merge(file.clone(), Some(profile), &mut found) {
                found.push(error);
            }
            for error in found {
                let same =
                    |other: &Error| other.place() == error.place() && other.message() == error.message();
                if error.code() != codes::VARIABLE && !known.iter().any(same) && !more.iter().any(same) {
                    more.push(error);
                }
            }
        }
        more
    }
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

/// The models that can be read, in `sound_only` those with nothing wrong. The names of the others go to
/// `broken`, what is wrong to `problems`.
fn models(
    files: &[TextFile],
    sound_only: bool,
    broken: &mut BTreeSet<TableName>,
    problems: &mut Vec<Error>,
) -> BTreeMap<TableName, Model> {
    let mut models = BTreeMap::new();
    let mut first: BTreeMap<TableName, &TextFile> = BTreeMap::new();
    for file in files {
        let mut faults = Vec::new();
        let model = lagar_engine::model::read(&file.path, &file.text, &mut faults);
        let is_sound = faults.is_empty();
        problems.extend(faults.iter().map(|error| with_shown_path(error, file)));
        let Ok(name) = lagar_engine::model::table_name(&file.path) else { continue };
        if let Some(other) = first.get(&name) {
            let message = format!("`{name}` is made by two files: {} and {}", other.shown, file.shown);
            problems.push(
                Error::new(codes::NAME, message)
                    .hint("rename one of them: the file's name is the table's name")
                    .at(&file.shown, 1, 1),
            );
            continue;
        }
        first.insert(name.clone(), file);
        match model.filter(|_| is_sound || !sound_only) {
            Some(mut model) => {
                model.show_as(&file.shown);
                models.insert(name, model);
            }
            None => {
                broken.insert(name);
            }
        }
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

/// What tells a list of columns from every other: the hash of their names and types, in order.
pub(crate) fn schema_hash(columns: &[lagar_flow::Column]) -> String {
    hash(&serde_json::json!(columns))
}

/// The SHA-256 of a value's JSON, in hex.
pub(crate) fn hash(value: &Value) -> String {
    Sha256::digest(value.to_string()).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests;
