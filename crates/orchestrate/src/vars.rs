//! `${…}` in the string values of a project file.
//!
//! `${NAME}` is an environment variable, `${vars.name}` one of the project's own; `${NAME:-default}` and
//! `${NAME:?message}` say what happens when it is unset or empty; `$$` is a dollar sign. Any other `$`
//! stands for itself, so that JSONPath and parameters such as `$limit` need no quoting.

use std::collections::{BTreeMap, BTreeSet};

use lagar_engine::suggest;
use lagar_flow::{Error, Result, codes};

use crate::secrets::{Secrets, is_secret_name};

/// A text with its variables filled in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Filled {
    pub text: String,
    /// The whole text was one `${…}`: it may stand for a number or a boolean.
    pub whole: bool,
    /// A part came from a variable whose name looks secret and is too short to be found again in a text.
    pub hidden: bool,
}

/// One of the project's `vars`, before its own variables are filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawVar {
    pub text: String,
    /// From the command line or the environment: taken as it is.
    pub literal: bool,
}

/// What the names inside `${…}` stand for.
pub(crate) struct Scope<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    vars: BTreeMap<String, RawVar>,
    done: BTreeMap<String, String>,
    /// Already reported where they are defined.
    failed: BTreeSet<String>,
    /// The variables being filled in now, outermost first.
    open: Vec<String>,
    /// Every `${vars.…}` that was asked for.
    pub used: BTreeSet<String>,
    pub secrets: Secrets,
}

impl<'a> Scope<'a> {
    pub fn new(env: &'a dyn Fn(&str) -> Option<String>, vars: BTreeMap<String, RawVar>) -> Self {
        Self {
            env,
            vars,
            done: BTreeMap::new(),
            failed: BTreeSet::new(),
            open: Vec::new(),
            used: BTreeSet::new(),
            secrets: Secrets::default(),
        }
    }

    /// The names of the project's variables.
    pub fn names(&self) -> Vec<String> {
        self.vars.keys().cloned().collect()
    }

    /// The value of the project's variable `name`; `None` if there is none, or if what is wrong with it was
    /// already returned once.
    pub fn var(&mut self, name: &str) -> Result<Option<String>> {
        if let Some(value) = self.done.get(name) {
            return Ok(Some(value.clone()));
        }
        if let Some(start) = self.open.iter().position(|open| open == name) {
            let mut circle: Vec<&str> = self.open[start..].iter().map(String::as_str).collect();
            circle.push(name);
            let message = format!("the variables refer to each other in a circle: {}", circle.join(" → "));
            return Err(Error::new(codes::VARIABLE, message).hint("give one of them a plain value"));
        }
        let Some(raw) = self.vars.get(name).cloned() else { return Ok(None) };
        if self.failed.contains(name) {
            return Ok(Some(String::new()));
        }
        let value = if raw.literal {
            raw.text
        } else {
            self.open.push(name.to_owned());
            let filled = self.fill(&raw.text);
            self.open.pop();
            match filled {
                Ok(filled) => filled.text,
                Err(error) => {
                    self.failed.insert(name.to_owned());
                    return Err(error);
                }
            }
        };
        if is_secret_name(name) {
            self.secrets.add(&value);
        }
        self.done.insert(name.to_owned(), value.clone());
        Ok(Some(value))
    }

    /// `text` with every `${…}` replaced. Fails with [`codes::VARIABLE`], without a place.
    pub fn fill(&mut self, text: &str) -> Result<Filled> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let (mut whole, mut hidden) = (false, false);
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            if let Some(tail) = after.strip_prefix('$') {
                out.push('$');
                rest = tail;
            } else if let Some(inner) = after.strip_prefix('{') {
                let end = closing(inner).ok_or_else(|| {
                    Error::new(codes::VARIABLE, "a `${` is not closed")
                        .hint("write `${NAME}`; `$$` stands for a dollar sign")
                })?;
                let (value, short_secret) = self.expression(&inner[..end])?;
                hidden |= short_secret;
                rest = &inner[end + 1..];
                whole = at == 0 && out.is_empty() && rest.is_empty();
                out.push_str(&value);
            } else {
                out.push('$');
                rest = after;
            }
        }
        out.push_str(rest);
        Ok(Filled { text: out, whole, hidden })
    }

    /// The value of what stands between `${` and `}`, and whether it must be hidden as a whole.
    fn expression(&mut self, inner: &str) -> Result<(String, bool)> {
        let (name, otherwise) = match inner.find(":-").into_iter().chain(inner.find(":?")).min() {
            Some(at) => (&inner[..at], Some((&inner[at..at + 2], &inner[at + 2..]))),
            None => (inner, None),
        };
        let value = self.lookup(name)?;
        match (value, otherwise) {
            (Some(value), None) => Ok(self.noted(name, value)),
            (Some(value), Some(_)) if !value.is_empty() => Ok(self.noted(name, value)),
            (_, Some((":-", default))) => self.fill(default).map(|filled| (filled.text, filled.hidden)),
            (_, Some((_, message))) => {
                let message = if message.is_empty() { "it must have a value" } else { message };
                Err(Error::new(codes::VARIABLE, format!("the variable `{name}` is not set: {message}")))
            }
            (None, None) => Err(self.unset(name)),
        }
    }

    fn lookup(&mut self, name: &str) -> Result<Option<String>> {
        if let Some(var) = name.strip_prefix("vars.") {
            self.used.insert(var.to_owned());
            return self.var(var);
        }
        let mut bytes = name.bytes();
        let fits = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !fits {
            let message = format!("`${{{name}}}` is not a variable");
            return Err(Error::new(codes::VARIABLE, message)
                .hint("a variable is written `${NAME}` or `${vars.name}`; `$$` stands for a dollar sign"));
        }
        Ok((self.env)(name))
    }

    fn noted(&mut self, name: &str, value: String) -> (String, bool) {
        let secret = is_secret_name(name);
        let findable = secret && self.secrets.add(&value);
        (value, secret && !findable)
    }

    fn unset(&self, name: &str) -> Error {
        let error = Error::new(codes::VARIABLE, format!("the variable `{name}` is not set"));
        match name.strip_prefix("vars.") {
            None => error.hint(format!(
                "set `{name}` in the environment or in the file `.env`, or write a default: `${{{name}:-…}}`"
            )),
            Some(var) => match suggest::hint(var, self.vars.keys().map(String::as_str)) {
                Some(hint) => error.hint(hint),
                None => error.hint(format!("add `{var}` to `vars`, or give --var {var}=…")),
            },
        }
    }
}

/// Where the `}` stands that belongs to the `${` in front of `text`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut previous = ' ';
    for (at, c) in text.char_indices() {
        match c {
            '{' if previous == '$' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
        previous = c;
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn fill(text: &str) -> Result<Filled> {
        let env = |name: &str| match name {
            "HOST" => Some("a.example".to_owned()),
            "EMPTY" => Some(String::new()),
            "N" => Some("4".to_owned()),
            "PIN" => Some("7".to_owned()),
            _ => None,
        };
        let vars = [
            ("api", "https://${HOST}/v1"),
            ("page", "${vars.api}/p"),
            ("a", "${vars.b}"),
            ("b", "x${vars.a}"),
        ]
        .map(|(name, text)| (name.to_owned(), RawVar { text: text.to_owned(), literal: false }));
        Scope::new(&env, vars.into()).fill(text)
    }

    #[test]
    fn variables_defaults_and_dollars() {
        for (text, filled) in [
            ("plain", "plain"),
            ("${HOST}", "a.example"),
            ("http://${HOST}:${N}/", "http://a.example:4/"),
            ("${vars.page}?x", "https://a.example/v1/p?x"),
            ("${NONE:-sqlite:../shop.db}", "sqlite:../shop.db"),
            ("${NONE:-}", ""),
            ("${EMPTY}", ""),
            ("${EMPTY:-full}", "full"),
            ("${NONE:-${HOST}/x}", "a.example/x"),
            ("${vars.none:-d}", "d"),
            ("${HOST:?must be there}", "a.example"),
            ("$$HOST $${HOST}", "$HOST ${HOST}"),
            ("$limit $.meta.next $", "$limit $.meta.next $"),
            ("${NONE:-a:?b}", "a:?b"),
        ] {
            assert_eq!(fill(text).unwrap().text, filled, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_filled_is_named() {
        for (text, message, hint) in [
            ("${NONE}", "`NONE` is not set", ".env"),
            ("${vars.apy}", "`vars.apy` is not set", "did you mean `api`?"),
            ("${NONE:?ask the owner}", "ask the owner", ""),
            ("${EMPTY:?}", "must have a value", ""),
            ("x${HOST", "not closed", "`${NAME}`"),
            ("${}", "`${}` is not a variable", "${vars.name}"),
            ("${my-var}", "`${my-var}` is not a variable", "$$"),
            ("${vars.a}", "a → b → a", "plain value"),
        ] {
            let error = fill(text).unwrap_err();
            assert_eq!(error.code(), codes::VARIABLE);
            assert!(error.message().contains(message), "{text}: {error}");
            assert!(error.hint_text().unwrap_or("").contains(hint), "{text}: {:?}", error.hint_text());
        }
    }

    #[test]
    fn only_a_text_that_is_one_variable_is_whole() {
        assert!(fill("${N}").unwrap().whole);
        assert!(fill("${NONE:-4}").unwrap().whole);
        for text in ["${N}0", "0${N}", "${N}${N}", "4", "$$"] {
            assert!(!fill(text).unwrap().whole, "{text}");
        }
    }
}
