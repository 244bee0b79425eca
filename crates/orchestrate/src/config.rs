//! The sections of `lagar.yaml`, from values to types.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    sync::Arc,
};

pub use lagar_connectors::SchemaPolicy;
use lagar_connectors::{KINDS, Source, config};
use lagar_engine::{NullTokens, suggest};
use lagar_flow::{ColumnType, Error, Name, Place, Result, TableName, Zone, codes};
use lagar_ml::Spec;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

use crate::{base::StoreBase, overlay::Tree};

/// The keys of the project file, in the order in which they are usually written.
pub(crate) const KEYS: &[&str] = &[
    "name",
    "lake",
    "timezone",
    "dialect",
    "null_tokens",
    "limits",
    "steps_table",
    "vars",
    "profiles",
    "sources",
    "predictors",
];
/// Keys that the contract has and this version does not.
const LATER_KEYS: &[&str] = &["exports", "streams", "schedules", "hooks", "serve"];
/// Kinds of sources that the contract has and this version does not.
const LATER_KINDS: &[&str] = &["kafka", "tail"];
/// The keys that every source has.
pub(crate) const COMMON_KEYS: &[&str] =
    &["type", "columns", "max_rejected", "require_rows", "schema", "description", "tags"];

pub(crate) const LAKE_DEFAULT: &str = "./lake";
const SPILL_BYTES_DEFAULT: u64 = 20 << 30;
const CONCURRENCY_DEFAULT: usize = 4;
/// More threads or steps at once than any machine of ours has use for.
const PARALLEL_MAX: usize = 1024;

/// How much of the machine a run may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Bytes of the memory pool; `None`: 60 % of what the machine or the cgroup has.
    pub memory: Option<u64>,
    /// Bytes that may be spilled to disk.
    pub spill: u64,
    pub threads: usize,
    /// Steps that run at once.
    pub concurrency: usize,
}

/// How much of the machine a run may use.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LimitsSection {
    /// Memory that queries may use, for example `4GiB`; default 60 % of the machine's or cgroup's.
    #[serde(deserialize_with = "size")]
    #[schemars(with = "Size")]
    memory: Option<u64>,
    /// Disk that queries may use for what does not fit into memory; default `20GiB`.
    #[serde(deserialize_with = "size")]
    #[schemars(with = "Size")]
    spill: Option<u64>,
    /// Default: one for each processor.
    #[serde(deserialize_with = "parallel")]
    #[schemars(with = "usize", range(min = 1, max = 1024))]
    threads: Option<usize>,
    /// Steps that run at once; default 4.
    #[serde(deserialize_with = "parallel")]
    #[schemars(with = "usize", range(min = 1, max = 1024))]
    concurrency: Option<usize>,
}

impl From<LimitsSection> for LimitsConfig {
    fn from(section: LimitsSection) -> Self {
        let processors = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            memory: section.memory,
            spill: section.spill.unwrap_or(SPILL_BYTES_DEFAULT),
            threads: section.threads.unwrap_or_else(processors),
            concurrency: section.concurrency.unwrap_or(CONCURRENCY_DEFAULT),
        }
    }
}

impl LimitsConfig {
    /// The values as they stand in `config show`; `None` where the machine decides later.
    pub(crate) fn shown(&self) -> [(&'static str, Option<String>); 4] {
        [
            ("memory", self.memory.map(|bytes| bytes.to_string())),
            ("spill", Some(self.spill.to_string())),
            ("threads", Some(self.threads.to_string())),
            ("concurrency", Some(self.concurrency.to_string())),
        ]
    }
}

/// A number of bytes, or a text with a unit such as `64MiB`.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only its schema is used")]
enum Size {
    Bytes(u64),
    Text(String),
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let bytes = config::bytes(deserializer)?;
    if bytes == 0 { Err(de::Error::custom("must be more than 0 bytes")) } else { Ok(Some(bytes)) }
}

fn parallel<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let number = usize::deserialize(deserializer)?;
    if (1..=PARALLEL_MAX).contains(&number) {
        Ok(Some(number))
    } else {
        Err(de::Error::custom(format!("must be 1 to {PARALLEL_MAX}, not {number}")))
    }
}

/// How many rows of a load may be rejected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaxRejected {
    Rows(u64),
    /// A share of all rows of the load, 0 to 1.
    Share(f64),
}

/// A number of rows, or a share of all rows such as `1%`.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only its schema is used")]
enum Allowed {
    Rows(u64),
    Share(String),
}

impl Default for MaxRejected {
    fn default() -> Self {
        MaxRejected::Rows(0)
    }
}

impl<'de> Deserialize<'de> for MaxRejected {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Rows(u64),
            Text(String),
        }
        let wrong = || de::Error::custom("must be a number of rows or a share, for example 10 or 1%");
        match Written::deserialize(deserializer) {
            Ok(Written::Rows(rows)) => Ok(MaxRejected::Rows(rows)),
            Ok(Written::Text(text)) => match text.trim().strip_suffix('%') {
                None => text.trim().parse().map(MaxRejected::Rows).map_err(|_| wrong()),
                Some(percent) => match percent.trim().parse::<f64>() {
                    Ok(percent) if (0.0..=100.0).contains(&percent) => {
                        Ok(MaxRejected::Share(percent / 100.0))
                    }
                    _ => Err(wrong()),
                },
            },
            Err(_) => Err(wrong()),
        }
    }
}

/// The keys that every source has.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CommonConfig {
    /// Asked types by column; a value that does not fit is rejected.
    #[schemars(with = "BTreeMap<String, String>")]
    pub columns: BTreeMap<String, ColumnType>,
    /// Rows that may be rejected before the load fails: a number or a share such as `1%`; default 0.
    #[schemars(with = "Allowed")]
    pub max_rejected: MaxRejected,
    /// An answer without rows fails the load.
    pub require_rows: bool,
    /// What happens when the columns change: `evolve` (default) adds new ones, `freeze` fails the load,
    /// `discard_row` sends rows that do not fit to quarantine, `discard_value` leaves out what does not fit.
    pub schema: SchemaPolicy,
    pub description: Option<String>,
    pub tags: Vec<String>,
}

/// Something outside to read from, as the project names it.
pub struct SourceDef {
    pub name: Name,
    /// The `type` in the project file.
    pub kind: &'static str,
    pub source: Arc<dyn Source>,
    pub common: CommonConfig,
    /// Where it is defined.
    pub place: Place,
}

impl std::fmt::Debug for SourceDef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceDef")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Something to learn from a table, as the project names it.
#[derive(Debug, Clone)]
pub struct PredictorDef {
    pub name: Name,
    pub spec: Spec,
    /// Where it is defined.
    pub place: Place,
}

/// What stands in `lagar.yaml`, checked.
pub(crate) struct Config {
    /// `None` if it is wrong.
    pub name: Option<Name>,
    /// `None` if it is wrong.
    pub lake: Option<String>,
    pub timezone: chrono_tz::Tz,
    pub null_tokens: NullTokens,
    pub limits: LimitsConfig,
    pub steps_table: Option<TableName>,
    pub sources: BTreeMap<Name, SourceDef>,
    /// `sources` is no map: what is in it is not known.
    pub sources_unknown: bool,
    pub predictors: BTreeMap<Name, PredictorDef>,
    /// Of all of them, also those in which something is wrong.
    pub predictor_names: BTreeSet<Name>,
}

/// Reads all sections; every problem goes to `problems`. `base`: where the project lies, if that is not a
/// folder.
pub(crate) fn read(tree: &Tree, base: Option<&StoreBase>, problems: &mut Vec<Error>) -> Config {
    let empty = Map::new();
    let root = match &tree.value {
        Value::Object(root) => root,
        _ => {
            problems.push(
                Error::new(codes::CONFIG, "the project file must be a map of keys and values")
                    .hint(format!("its keys are {}", KEYS.join(", ")))
                    .at_place(tree.value_place(&[])),
            );
            &empty
        }
    };
    for key in root.keys() {
        if let Err(error) = known_key(key) {
            problems.push(error.at_place(tree.key_place(std::slice::from_ref(key))));
        }
    }
    if let Some(error) = root.get("dialect").and_then(|value| wrong_dialect(tree, value)) {
        problems.push(error);
    }
    Config {
        name: collect(problems, name(tree, root)).flatten(),
        lake: collect(problems, lake(tree, root, base)).flatten(),
        timezone: collect(problems, timezone(tree, root)).unwrap_or_default(),
        null_tokens: collect_all(problems, null_tokens(tree, root)).unwrap_or_default(),
        limits: collect_all(problems, limits(tree, root)).unwrap_or_default().into(),
        steps_table: collect_all(problems, steps_table(tree, root)).flatten(),
        sources: sources(tree, root, base, problems),
        sources_unknown: !tree.value.is_object()
            || root.get("sources").is_some_and(|sources| !matches!(sources, Value::Object(_) | Value::Null)),
        predictors: predictors(tree, root, problems),
        predictor_names: match root.get("predictors") {
            Some(Value::Object(entries)) => entries.keys().filter_map(|name| name.parse().ok()).collect(),
            _ => BTreeSet::new(),
        },
    }
}

fn collect<T>(problems: &mut Vec<Error>, result: Result<T>) -> Option<T> {
    result.map_err(|error| problems.push(error)).ok()
}

fn collect_all<T>(problems: &mut Vec<Error>, result: Result<T, Vec<Error>>) -> Option<T> {
    result.map_err(|errors| problems.extend(errors)).ok()
}

fn known_key(key: &str) -> Result<()> {
    if key == "profiles" {
        // Those of the file were taken out when the layers were put together.
        Err(Error::new(codes::CONFIG, "`profiles` can only be set in the project file"))
    } else if KEYS.contains(&key) {
        Ok(())
    } else if LATER_KEYS.contains(&key) {
        Err(Error::new(codes::CONFIG_LATER, format!("`{key}` is not supported yet")))
    } else {
        let error = Error::new(codes::CONFIG_UNKNOWN, format!("`{key}` is not a key"));
        Err(match suggest::hint(key, KEYS.iter().copied()) {
            Some(hint) => error.hint(hint),
            None => error,
        })
    }
}

/// The text at a key of the file itself; `None` if it is not there, or if it could not be filled in.
fn text<'a>(tree: &Tree, root: &'a Map<String, Value>, key: &str) -> Result<Option<&'a str>> {
    match root.get(key) {
        None => Ok(None),
        Some(_) if tree.is_unfilled(&[key.to_owned()]) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Error::new(codes::CONFIG, format!("`{key}` must be text")).at_place(place(tree, key))),
    }
}

fn place(tree: &Tree, key: &str) -> Place {
    tree.value_place(&[key.to_owned()])
}

fn name(tree: &Tree, root: &Map<String, Value>) -> Result<Option<Name>> {
    match text(tree, root, "name")? {
        Some(name) => name.parse().map(Some).map_err(|error: Error| error.at_place(place(tree, "name"))),
        None if tree.value.is_object() && !root.contains_key("name") && !meant(root, "name") => {
            Err(Error::new(codes::CONFIG, "the key `name` is missing")
                .hint("a project has a name: `name: shop`")
                .at_place(Place { line: 1, column: 1, ..tree.value_place(&[]) }))
        }
        None => Ok(None),
    }
}

/// Whether one of the keys that do not exist was probably meant to be `key`.
fn meant(root: &Map<String, Value>, key: &str) -> bool {
    root.keys().any(|other| !KEYS.contains(&other.as_str()) && suggest::nearest(other, [key]).is_some())
}

fn lake(tree: &Tree, root: &Map<String, Value>, base: Option<&StoreBase>) -> Result<Option<String>> {
    if tree.is_unfilled(&["lake".to_owned()]) || !root.contains_key("lake") && meant(root, "lake") {
        return Ok(None); // told already
    }
    let lake = text(tree, root, "lake")?.unwrap_or(LAKE_DEFAULT);
    let wrong = |code, message: String| Error::new(code, message).at_place(place(tree, "lake"));
    if lake.trim().is_empty() {
        return Err(wrong(codes::CONFIG, "`lake` is empty".to_owned())
            .hint("a lake is a folder (`./lake`) or `s3://bucket/prefix`"));
    }
    match lake.split_once("://").map(|(scheme, _)| scheme) {
        None | Some("file" | "s3" | "s3a") => match base {
            Some(base) => base.resolve(lake).map_err(|error| error.at_place(place(tree, "lake"))).map(Some),
            None => Ok(Some(lake.to_owned())),
        },
        Some("hdfs") => {
            Err(wrong(codes::CONFIG_LATER, "a lake in `hdfs://` is not supported yet".to_owned()))
        }
        Some(other) => Err(wrong(codes::CONFIG, format!("a lake cannot be in `{other}://`"))
            .hint("a lake is a folder (`./lake`) or `s3://bucket/prefix`")),
    }
}

fn timezone(tree: &Tree, root: &Map<String, Value>) -> Result<chrono_tz::Tz> {
    let Some(zone) = text(tree, root, "timezone")? else { return Ok(chrono_tz::UTC) };
    zone.parse().map_err(|_| {
        let error = Error::new(codes::CONFIG, format!("`{zone}` is not a time zone"))
            .at_place(place(tree, "timezone"));
        match suggest::nearest(zone, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name())) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("a time zone has a name such as `America/Bogota`, `Europe/Madrid` or `UTC`"),
        }
    })
}

fn wrong_dialect(tree: &Tree, value: &Value) -> Option<Error> {
    let error = match value.as_str() {
        Some("datafusion") => return None,
        _ if tree.is_unfilled(&["dialect".to_owned()]) => return None,
        Some("spark") => Error::new(codes::CONFIG_LATER, "`dialect: spark` is not supported yet"),
        Some(other) => Error::new(codes::CONFIG, format!("`{other}` is not a dialect"))
            .hint("the dialects are `datafusion` and, later, `spark`"),
        None => Error::new(codes::CONFIG, "`dialect` must be text"),
    };
    Some(error.at_place(place(tree, "dialect")))
}

fn null_tokens(tree: &Tree, root: &Map<String, Value>) -> Result<NullTokens, Vec<Error>> {
    match root.get("null_tokens") {
        None | Some(Value::Null) => Ok(NullTokens::default()),
        Some(value) => tree
            .read(&["null_tokens".to_owned()], value, &[], config::parse::<Vec<String>>)
            .map(NullTokens::new),
    }
}

fn limits(tree: &Tree, root: &Map<String, Value>) -> Result<LimitsSection, Vec<Error>> {
    match root.get("limits") {
        None | Some(Value::Null) => Ok(LimitsSection::default()),
        Some(value) => tree.read(&["limits".to_owned()], value, &[], config::parse::<LimitsSection>),
    }
}

fn steps_table(tree: &Tree, root: &Map<String, Value>) -> Result<Option<TableName>, Vec<Error>> {
    let key = ["steps_table".to_owned()];
    let Some(value) = root.get("steps_table").filter(|value| !value.is_null()) else { return Ok(None) };
    let table = tree.read(&key, value, &[], config::parse::<TableName>)?;
    if table.zone != Zone::Refined {
        let error = Error::new(codes::CONFIG, format!("`steps_table: {table}` is not in `refined`"))
            .hint(format!("say, for example, refined.{}", table.name));
        return Err(vec![error.at_place(tree.value_place(&key))]);
    }
    Ok(Some(table))
}

fn sources(
    tree: &Tree,
    root: &Map<String, Value>,
    base: Option<&StoreBase>,
    problems: &mut Vec<Error>,
) -> BTreeMap<Name, SourceDef> {
    let entries = match root.get("sources") {
        None | Some(Value::Null) => return BTreeMap::new(),
        Some(Value::Object(entries)) => entries,
        Some(_) => {
            problems.push(
                Error::new(codes::CONFIG, "`sources` must be a map of names and sources")
                    .hint("write each source as `name: {type: …}`")
                    .at_place(place(tree, "sources")),
            );
            return BTreeMap::new();
        }
    };
    let mut sources = BTreeMap::new();
    for (key, value) in entries {
        let path = ["sources".to_owned(), key.clone()];
        let name = key.parse::<Name>().map_err(|error| error.at_place(tree.key_place(&path)));
        let name = collect(problems, name);
        match source(tree, &path, value, base) {
            Err(errors) => problems.extend(errors),
            Ok((kind, common, source)) => {
                let Some(name) = name else { continue };
                let place = tree.key_place(&path);
                sources.insert(name.clone(), SourceDef { name, kind, source: source.into(), common, place });
            }
        }
    }
    sources
}

fn predictors(
    tree: &Tree,
    root: &Map<String, Value>,
    problems: &mut Vec<Error>,
) -> BTreeMap<Name, PredictorDef> {
    let entries = match root.get("predictors") {
        None | Some(Value::Null) => return BTreeMap::new(),
        Some(Value::Object(entries)) => entries,
        Some(_) => {
            let error = Error::new(codes::CONFIG, "`predictors` must be a map of names and predictors")
                .hint("write each as `name: {algorithm: …, from: refined.…}`");
            problems.push(error.at_place(place(tree, "predictors")));
            return BTreeMap::new();
        }
    };
    let mut predictors = BTreeMap::new();
    for (key, value) in entries {
        let path = ["predictors".to_owned(), key.clone()];
        let name = key.parse::<Name>().map_err(|error| error.at_place(tree.key_place(&path)));
        let name = collect(problems, name);
        let Some(spec) = collect_all(problems, tree.read(&path, value, &[], config::parse::<Spec>)) else {
            continue;
        };
        let wrong = spec.problems();
        let sound = wrong.is_empty();
        problems.extend(wrong.into_iter().map(|(at, error)| {
            let at: Vec<String> = path.iter().cloned().chain(at).collect();
            error.at_place(if at.len() == path.len() { tree.key_place(&at) } else { tree.value_place(&at) })
        }));
        if let (Some(name), true) = (name, sound) {
            let place = tree.key_place(&path);
            predictors.insert(name.clone(), PredictorDef { name, spec, place });
        }
    }
    predictors
}

type Parsed = (&'static str, CommonConfig, Box<dyn Source>);

fn source(
    tree: &Tree,
    path: &[String],
    value: &Value,
    base: Option<&StoreBase>,
) -> Result<Parsed, Vec<Error>> {
    let name = path.last().map_or("", String::as_str);
    let Value::Object(keys) = value else {
        let error =
            Error::new(codes::CONFIG, format!("the source `{name}` must be a map of keys and values"));
        return Err(vec![error.hint("a source needs at least a `type`").at_place(tree.value_place(path))]);
    };
    let (common, mut own): (Map<_, _>, Map<_, _>) = keys
        .clone()
        .into_iter()
        .filter(|(key, _)| key != "type")
        .partition(|(key, _)| COMMON_KEYS.contains(&key.as_str()));
    let common = tree
        .read(path, &Value::Object(common), &[], config::parse::<CommonConfig>)
        .map_err(|errors| errors.into_iter().map(with_column_types).collect::<Vec<_>>());
    let mut elsewhere = Vec::new();
    if let (Some(base), Some(Value::String(url))) = (base, own.get_mut("url")) {
        match base.resolve(url) {
            Ok(address) => *url = address,
            Err(error) => {
                let at: Vec<String> = path.iter().cloned().chain(["url".to_owned()]).collect();
                elsewhere.push(error.at_place(tree.value_place(&at)));
            }
        }
    }
    // Without its type nothing can be said of a source's own keys.
    let source = match kind(tree, path, keys) {
        Ok(Some(kind)) => {
            tree.read(path, &Value::Object(own), COMMON_KEYS, kind.parse).map(|source| (kind.name, source))
        }
        Ok(None) => Err(Vec::new()),
        Err(error) => Err(vec![error]),
    };
    match (common, source, elsewhere.is_empty()) {
        (Ok(common), Ok((kind, source)), true) => Ok((kind, common, source)),
        (common, source, _) => {
            elsewhere.extend(common.err().unwrap_or_default());
            elsewhere.extend(source.err().unwrap_or_default());
            Err(elsewhere)
        }
    }
}

/// `None` if the type is a variable that is not set.
fn kind(
    tree: &Tree,
    path: &[String],
    keys: &Map<String, Value>,
) -> Result<Option<&'static lagar_connectors::Kind>> {
    let names = || KINDS.iter().map(|kind| kind.name);
    let list = || names().collect::<Vec<_>>().join(", ");
    let at: Vec<String> = path.iter().cloned().chain(["type".to_owned()]).collect();
    match keys.get("type") {
        Some(_) if tree.is_unfilled(&at) => Ok(None),
        Some(Value::String(name)) => lagar_connectors::kind(name).map(Some).ok_or_else(|| {
            let place = tree.value_place(&at);
            if LATER_KINDS.contains(&name.as_str()) {
                let message = format!("sources of type `{name}` are not supported yet");
                return Error::new(codes::CONFIG_LATER, message).at_place(place);
            }
            let error =
                Error::new(codes::CONFIG, format!("`{name}` is not a type of source")).at_place(place);
            match suggest::nearest(name, names()) {
                Some(near) => error.hint(format!("did you mean `{near}`? The types are {}", list())),
                None => error.hint(format!("the types are {}", list())),
            }
        }),
        Some(_) => Err(Error::new(codes::CONFIG, "`type` must be text").at_place(tree.value_place(&at))),
        None => {
            let name = path.last().map_or("", String::as_str);
            if let Some(typo) = keys.keys().find(|key| suggest::nearest(key, ["type"]).is_some()) {
                let at: Vec<String> = path.iter().cloned().chain([typo.clone()]).collect();
                let message = format!("`{typo}` is not a key of `sources.{name}`");
                let error = Error::new(codes::CONFIG_UNKNOWN, message).hint("did you mean `type`?");
                return Err(error.at_place(tree.key_place(&at)));
            }
            Err(Error::new(codes::CONFIG, format!("the source `{name}` has no `type`"))
                .hint(format!("add `type: …`; the types are {}", list()))
                .at_place(tree.key_place(path)))
        }
    }
}

/// An error about a type of column lists the types.
fn with_column_types(error: Error) -> Error {
    if error.message().ends_with("is not a column type") {
        error.hint(format!("the types are {}", ColumnType::NAMES.join(", ")))
    } else {
        error
    }
}

/// Refuses a `--var` that nothing declares and nothing uses: it is a typing error.
pub(crate) fn unknown_var(name: &str, declared: &BTreeSet<String>, used: &BTreeSet<String>) -> Option<Error> {
    if declared.contains(name) || used.contains(name) {
        return None;
    }
    let error = Error::new(codes::USAGE, format!("--var {name}: the project has no variable of that name"));
    Some(match suggest::hint(name, declared.union(used).map(String::as_str).collect::<Vec<_>>()) {
        Some(hint) => error.hint(hint),
        None => error.hint("`vars` in the project file declares them; it has none"),
    })
}
