//! The layers of a configuration laid over each other: flags over the environment over `.env` over
//! `lagar.yaml` (the profile over the rest). Every value keeps the place that it came from.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

use lagar_connectors::config::ConfigError;
use lagar_engine::{
    suggest,
    yaml::{self, Document, ErrorCodes, Fault, Path, Remains, Spans},
};
use lagar_flow::{Error, Place, Redactor, Result, codes};
use serde_json::{Map, Value};

use crate::{
    secrets::{self, Secrets, is_secret_path},
    vars::{RawVar, Scope},
};

/// Variables of the environment with this prefix are keys of the project file; `__` goes one level down.
pub(crate) const ENV_PREFIX: &str = "LAGAR__";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `--var` on the command line.
    Flag,
    /// A variable of the environment.
    Environment(String),
    /// A variable in the `.env` file.
    DotEnv(String),
    Profile(String),
    File,
}

/// The merged values of a project file.
#[derive(Debug)]
pub(crate) struct Tree {
    pub value: Value,
    spans: Spans,
    /// Only where it is not the file; what is below has the same origin.
    origins: BTreeMap<Path, Origin>,
    /// Texts that may stand for a number or a boolean: one whole `${…}`, or from outside of the file.
    loose: BTreeSet<Path>,
    /// Not to be shown whatever their key is.
    hidden: BTreeSet<Path>,
    /// Texts with a variable that could not be filled in.
    unfilled: BTreeSet<Path>,
    pub secrets: Secrets,
}

impl Tree {
    /// The file as it is, without the profiles.
    pub fn new(document: Document) -> Self {
        let value = match document.value {
            Value::Null => Value::Object(Map::new()),
            value => value,
        };
        Self {
            value,
            spans: document.spans,
            origins: BTreeMap::new(),
            loose: BTreeSet::new(),
            hidden: BTreeSet::new(),
            unfilled: BTreeSet::new(),
            secrets: Secrets::default(),
        }
    }

    /// Takes `profiles` out and lays the one called `wanted` over the rest. Returns the names of all.
    ///
    /// # Errors
    /// There is no such profile. What is wrong with the others goes to `problems`.
    pub fn apply_profile(&mut self, wanted: Option<&str>, problems: &mut Vec<Error>) -> Result<Vec<String>> {
        let Value::Object(root) = &mut self.value else { return Ok(Vec::new()) };
        let profiles = match root.shift_remove("profiles") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(profiles)) => profiles,
            Some(_) => {
                problems.push(
                    Error::new(codes::CONFIG, "`profiles` must be a map of names and keys")
                        .at_place(self.spans.value_place(&["profiles"])),
                );
                return Ok(Vec::new());
            }
        };
        for (name, keys) in &profiles {
            if !matches!(keys, Value::Object(_) | Value::Null) {
                let message = format!("the profile `{name}` must be a map of keys and values");
                let place = self.spans.value_place(&["profiles", name]);
                problems.push(Error::new(codes::CONFIG, message).at_place(place));
            }
        }
        let names = profiles.keys().cloned().collect();
        let Some(wanted) = wanted else { return Ok(names) };
        match profiles.get(wanted) {
            None => {
                let error = Error::new(codes::USAGE, format!("there is no profile `{wanted}`"))
                    .at_place(self.spans.key_place(&["profiles"]));
                return Err(match suggest::hint(wanted, profiles.keys().map(String::as_str)) {
                    Some(hint) => error.hint(hint),
                    None => error.hint("`profiles` in the project file lists them; it has none"),
                });
            }
            Some(profile @ (Value::Object(_) | Value::Null)) => {
                let from = vec!["profiles".to_owned(), wanted.to_owned()];
                let origin = Origin::Profile(wanted.to_owned());
                let mut value = std::mem::take(&mut self.value);
                self.lay_over(&mut value, profile, &mut Vec::new(), &from, &origin);
                self.value = value;
            }
            Some(_) => {}
        }
        Ok(names)
    }

    fn lay_over(
        &mut self,
        base: &mut Value,
        over: &Value,
        path: &mut Path,
        from: &[String],
        origin: &Origin,
    ) {
        match (base, over) {
            (Value::Object(base), Value::Object(over)) => {
                for (key, value) in over {
                    path.push(key.clone());
                    let slot = base.entry(key.clone()).or_insert(Value::Null);
                    self.lay_over(slot, value, path, from, origin);
                    path.pop();
                }
            }
            // `live:` with nothing below it changes nothing.
            (_, Value::Null) if path.is_empty() => {}
            (base, over) => {
                *base = over.clone();
                let source: Path = from.iter().chain(path.iter()).cloned().collect();
                let spans = self.spans.clone();
                self.spans.graft(&spans, &source, path);
                self.origins.insert(path.clone(), origin.clone());
            }
        }
    }

    /// Puts a text from outside of the file at `path`.
    pub fn set(&mut self, path: &[String], text: &str, origin: Origin) {
        let mut slot = &mut self.value;
        for key in path {
            if !slot.is_object() {
                *slot = Value::Object(Map::new());
            }
            let Value::Object(map) = slot else { return };
            slot = map.entry(key.clone()).or_insert(Value::Null);
        }
        *slot = Value::String(text.to_owned());
        self.origins.insert(path.to_vec(), origin);
        self.loose.insert(path.to_vec());
    }

    /// Where the value at `path` came from.
    pub fn origin(&self, path: &[String]) -> &Origin {
        let around = || (0..=path.len()).rev().find_map(|end| self.origins.get(&path[..end]));
        // A map that no file has came with what is in it.
        let inside = || {
            let mut below =
                self.origins.range(path.to_vec()..).take_while(|(other, _)| other.starts_with(path));
            below.next().map(|(_, origin)| origin).filter(|_| self.spans.get(path).is_none())
        };
        around().or_else(inside).unwrap_or(&Origin::File)
    }

    /// The origin in the words of `lagar config show --origin`.
    pub fn origin_text(&self, path: &[String]) -> String {
        let written = || {
            let place = self.spans.value_place(path);
            format!("{}:{}", place.file.rsplit('/').next().unwrap_or_default(), place.line)
        };
        match self.origin(path) {
            Origin::Flag => "flag --var".to_owned(),
            Origin::Environment(name) => format!("environment {name}"),
            Origin::DotEnv(name) => format!(".env {name}"),
            Origin::Profile(name) => format!("profile {name} ({})", written()),
            Origin::File => written(),
        }
    }

    /// The place of the value at `path`.
    pub fn value_place(&self, path: &[String]) -> Place {
        self.outside_place(path).unwrap_or_else(|| self.spans.value_place(path))
    }

    /// The place of the key at `path`.
    pub fn key_place(&self, path: &[String]) -> Place {
        self.outside_place(path).unwrap_or_else(|| self.spans.key_place(path))
    }

    fn outside_place(&self, path: &[String]) -> Option<Place> {
        let file = match self.origin(path) {
            Origin::Flag => format!("--var {}", path.last().map_or("", String::as_str)),
            Origin::Environment(name) => format!("the environment variable {name}"),
            Origin::DotEnv(name) => format!("{name} in .env"),
            Origin::Profile(_) | Origin::File => return None,
        };
        Some(Place { file, line: 0, column: 0 })
    }

    /// Fills in every `${…}`; returns the values of `vars` and which of them were asked for.
    /// Problems go to `problems`, and what could not be filled in stays as it is.
    pub fn fill(
        &mut self,
        env: &dyn Fn(&str) -> Option<String>,
        problems: &mut Vec<Error>,
    ) -> (BTreeMap<String, String>, BTreeSet<String>) {
        let mut scope = Scope::new(env, self.raw_vars(problems));
        let names: Vec<String> = scope.names();
        let mut vars = BTreeMap::new();
        for name in names {
            let path = ["vars".to_owned(), name.clone()];
            match scope.var(&name) {
                Ok(value) => {
                    vars.insert(name, value.unwrap_or_default());
                }
                Err(error) => problems.push(error.at_place(self.value_place(&path))),
            }
        }
        let mut value = std::mem::take(&mut self.value);
        if let Value::Object(root) = &mut value {
            for (key, value) in root.iter_mut() {
                if key == "vars" {
                    *value =
                        vars.iter().map(|(name, text)| (name.clone(), Value::from(text.clone()))).collect();
                } else {
                    self.fill_value(value, &mut vec![key.clone()], &mut scope, problems);
                }
            }
        }
        secrets::collect(&value, &mut Vec::new(), &mut self.secrets);
        self.value = value;
        self.secrets.extend(std::mem::take(&mut scope.secrets));
        (vars, scope.used)
    }

    fn fill_value(
        &mut self,
        value: &mut Value,
        path: &mut Path,
        scope: &mut Scope<'_>,
        problems: &mut Vec<Error>,
    ) {
        match value {
            Value::Object(map) => {
                for (key, value) in map.iter_mut() {
                    path.push(key.clone());
                    self.fill_value(value, path, scope, problems);
                    path.pop();
                }
            }
            Value::Array(list) => {
                for (index, value) in list.iter_mut().enumerate() {
                    path.push(index.to_string());
                    self.fill_value(value, path, scope, problems);
                    path.pop();
                }
            }
            // What came from outside of the file is taken as it is.
            Value::String(text) if text.contains('$') && !self.loose.contains(path) => match scope.fill(text)
            {
                Ok(filled) => {
                    if filled.whole {
                        self.loose.insert(path.clone());
                    }
                    if filled.hidden {
                        self.hidden.insert(path.clone());
                    }
                    *text = filled.text;
                }
                Err(error) => {
                    self.unfilled.insert(path.clone());
                    problems.push(error.at_place(self.value_place(path)));
                }
            },
            _ => {}
        }
    }

    fn raw_vars(&self, problems: &mut Vec<Error>) -> BTreeMap<String, RawVar> {
        let vars = match self.value.get("vars") {
            None | Some(Value::Null) => return BTreeMap::new(),
            Some(Value::Object(vars)) => vars,
            Some(_) => {
                let path = ["vars".to_owned()];
                problems.push(
                    Error::new(codes::CONFIG, "`vars` must be a map of names and values")
                        .at_place(self.value_place(&path)),
                );
                return BTreeMap::new();
            }
        };
        let mut raw = BTreeMap::new();
        for (name, value) in vars {
            let path = ["vars".to_owned(), name.clone()];
            if let Err(error) = name.parse::<lagar_flow::Name>() {
                problems.push(error.at_place(self.key_place(&path)));
                continue;
            }
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(flag) => flag.to_string(),
                Value::Null => String::new(),
                Value::Array(_) | Value::Object(_) => {
                    let message = format!("`vars.{name}` must be a text, a number, true or false");
                    problems.push(Error::new(codes::CONFIG, message).at_place(self.value_place(&path)));
                    String::new()
                }
            };
            raw.insert(name.clone(), RawVar { text, literal: self.loose.contains(&path[..]) });
        }
        raw
    }

    /// Reads `value`, which stands at `path`, as a `T`, or returns every problem that `parse` finds.
    /// `more_keys` are allowed here beside those that `parse` knows. With no problem at all it is wrong for a
    /// reason that was told already: a variable that is not set.
    pub fn read<T>(
        &self,
        path: &[String],
        value: &Value,
        more_keys: &[&str],
        parse: impl Fn(&Value) -> Result<T, ConfigError>,
    ) -> Result<T, Vec<Error>> {
        let excuses = Cell::new(false);
        let is_unfilled = |at: &[String]| {
            let at: Path = path.iter().chain(at).cloned().collect();
            let unfilled = (0..=at.len()).any(|end| self.unfilled.contains(&at[..end]));
            excuses.set(excuses.get() || unfilled);
            unfilled
        };
        let (read, faults) =
            yaml::read_all(value, is_unfilled, |remains| self.read_retyped(path, remains, &parse));
        match read.filter(|_| faults.is_empty() && !excuses.get()) {
            Some(read) => Ok(read),
            None => Err(faults.iter().map(|fault| self.explain(path, fault, more_keys)).collect()),
        }
    }

    /// Parses what is left of a value at `path`; texts that may stand for something else get their other
    /// type where the text itself does not fit.
    fn read_retyped<T>(
        &self,
        path: &[String],
        remains: &mut Remains,
        parse: &impl Fn(&Value) -> Result<T, ConfigError>,
    ) -> Result<T, Fault> {
        loop {
            let fault = match parse(remains.value()) {
                Ok(read) => return Ok(read),
                Err(fault) => Fault { path: fault.path, message: fault.message },
            };
            let texts = self.retype(remains, path, &remains.whole_path(&fault.path));
            if texts.is_empty() {
                return Err(fault);
            }
            if parse(remains.value()).is_err_and(|second| second.path == fault.path) {
                for (at, text) in texts {
                    if let Some(slot) = remains.at_mut(&at) {
                        *slot = text;
                    }
                }
                return Err(fault);
            }
        }
    }

    /// Gives the loose texts at and below `path` + `below` their other type; returns them with their paths
    /// below `path`.
    fn retype(&self, remains: &mut Remains, path: &[String], below: &[String]) -> Vec<(Path, Value)> {
        let full: Path = path.iter().chain(below).cloned().collect();
        let mut texts = Vec::new();
        for loose in self.loose.range(full.clone()..).take_while(|loose| loose.starts_with(&full)) {
            let at = &loose[path.len()..];
            if let Some(slot @ Value::String(_)) = remains.at_mut(at)
                && let Some(other) = slot.as_str().and_then(scalar)
            {
                texts.push((at.to_vec(), std::mem::replace(slot, other)));
            }
        }
        texts
    }

    fn explain(&self, path: &[String], fault: &Fault, more_keys: &[&str]) -> Error {
        let full: Path = path.iter().chain(&fault.path).cloned().collect();
        let mut message = fault.message.clone();
        // Only directly in the section are there other keys than `parse` knows.
        if fault.unknown_key().is_some() && fault.path.len() == 1 && !more_keys.is_empty() {
            let more: Vec<String> = more_keys.iter().map(|key| format!("`{key}`")).collect();
            let join = if message.contains("`, ") { ", " } else { ", expected one of " };
            let known = message.split(", there are no fields").next().unwrap_or_default().to_owned();
            message = format!("{known}{join}{}", more.join(", "));
        }
        let message = self.secrets.redact(&message);
        let mut error = yaml::explain(full.clone(), &message, &self.spans, ErrorCodes::CONFIG);
        if let Some(place) = self.outside_place(&full) {
            error = error.at_place(place);
        } else if fault.path.is_empty() && !message.starts_with("invalid type: ") {
            // About the section as a whole: its key says more than its first line.
            error = error.at_place(self.key_place(path));
        }
        let outside = full.len().saturating_sub(1);
        if let Some(key) = fault.unknown_key()
            && is_secret_path(&full[..outside])
            && !error.hint_text().is_some_and(|hint| hint.starts_with("did you mean"))
        {
            // Where only a login can stand, what is no key may be the login, with its colon forgotten.
            let written = Redactor::default();
            written.add(key);
            error = error.without(&written);
        }
        if fault.message.contains("not supported yet") {
            let place = error.place().cloned().unwrap_or_default();
            return Error::new(codes::CONFIG_LATER, message).at_place(place);
        }
        error
    }

    /// Whether the value at `path` is a text with a variable that could not be filled in.
    pub fn is_unfilled(&self, path: &[String]) -> bool {
        self.unfilled.contains(path)
    }

    /// The values as they may be shown.
    pub fn shown(&self, value: &Value) -> Value {
        let hidden = |path: &[String]| is_secret_path(path) || self.hidden.contains(path);
        self.secrets.shown(value, &mut Vec::new(), &hidden)
    }
}

/// The number or boolean that a text stands for.
fn scalar(text: &str) -> Option<Value> {
    match text.trim() {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        text => {
            let number: serde_json::Number = text.parse().ok()?;
            Some(Value::Number(number))
        }
    }
}
