//! Every fault of a value at once: what does not fit is left out, and the rest is read again.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Path;
use crate::suggest;

/// One value reports at most this many faults.
const FAULTS_MAX: usize = 50;

/// What is wrong, in serde's words or a reader's own, and where: keys from the outermost on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub path: Path,
    pub message: String,
}

impl Fault {
    /// The key of "unknown field `key`, …".
    pub fn unknown_key(&self) -> Option<&str> {
        quoted(&self.message, "unknown field `")
    }

    /// The key of "missing field `key`".
    pub fn missing_key(&self) -> Option<&str> {
        quoted(&self.message, "missing field `")
    }

    /// Of `auth: {baerer: …}`, where the key is the choice, serde says that a variant is unknown. For whoever
    /// wrote it, it is a key.
    fn choice_is_a_key(&mut self) -> bool {
        let Some(rest) = self.message.strip_prefix("unknown variant `") else { return false };
        let is_key =
            rest.split('`').next().is_some_and(|variant| self.path.last().is_some_and(|key| key == variant));
        if is_key {
            self.message = format!("unknown field `{rest}");
        }
        is_key
    }
}

fn quoted<'m>(message: &'m str, start: &str) -> Option<&'m str> {
    message.strip_prefix(start)?.split('`').next()
}

/// A value of which parts were left out. All paths are those of the whole value.
#[derive(Debug)]
pub struct Remains {
    value: Value,
    /// What was left out of each list: the items behind it have moved.
    gone: BTreeMap<Path, BTreeSet<usize>>,
    /// Where something was left out, or stands that nobody wrote.
    touched: Vec<Path>,
}

impl Remains {
    /// What is left of the value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// What is left at `path`.
    pub fn at_mut(&mut self, path: &[String]) -> Option<&mut Value> {
        let mut value = &mut self.value;
        for (depth, key) in path.iter().enumerate() {
            value = match value {
                Value::Object(map) => map.get_mut(key)?,
                Value::Array(list) => list.get_mut(now_at(self.gone.get(&path[..depth]), key)?)?,
                _ => return None,
            };
        }
        Some(value)
    }

    /// The path in the whole value of what is now at `path`.
    pub fn whole_path(&self, path: &[String]) -> Path {
        let mut whole = Path::new();
        for key in path {
            let was = match (self.gone.get(&whole), key.parse::<usize>()) {
                (Some(gone), Ok(now)) => {
                    gone.iter().fold(now, |at, left_out| at + usize::from(*left_out <= at)).to_string()
                }
                _ => key.clone(),
            };
            whole.push(was);
        }
        whole
    }

    fn leave_out(&mut self, path: &[String]) -> bool {
        let Some((key, outer)) = path.split_last() else { return false };
        let index = now_at(self.gone.get(outer), key);
        let left_out = match (self.at_mut(outer), index, key.parse()) {
            (Some(Value::Object(map)), ..) => map.shift_remove(key).is_some(),
            (Some(Value::Array(list)), Some(now), Ok(was)) if now < list.len() => {
                list.remove(now);
                self.gone.entry(outer.to_vec()).or_default().insert(was)
            }
            _ => false,
        };
        if left_out {
            self.touched.push(path.to_vec());
        }
        left_out
    }

    /// What is wrong at `path` may come from what was left out or put there.
    fn is_of_our_making(&self, path: &[String]) -> bool {
        self.touched.iter().any(|touched| touched.starts_with(path) || path.starts_with(touched))
    }

    fn read<T>(&mut self, parse: &mut impl FnMut(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        parse(self).map_err(|fault| Fault { path: self.whole_path(&fault.path), ..fault })
    }

    /// Puts something at `path` that the reader takes, so that it goes on to what is behind.
    fn stand_in<T>(
        &mut self,
        path: &[String],
        parse: &mut impl FnMut(&mut Self) -> Result<T, Fault>,
    ) -> bool {
        let Some((key, outer)) = path.split_last() else { return false };
        self.touched.push(path.to_vec());
        for value in
            [json!("x"), json!("file:x"), json!("sqlite:x"), json!(1), json!(true), json!([]), json!({})]
        {
            let Some(Value::Object(map)) = self.at_mut(outer) else { return false };
            map.insert(key.clone(), value);
            let refused = match self.read(parse) {
                Ok(_) => false,
                // About something around it, or about it.
                Err(fault) if fault.missing_key().is_none() && fault.unknown_key().is_none() => {
                    path.starts_with(&fault.path) || fault.path.starts_with(path)
                }
                Err(_) => false,
            };
            if !refused {
                return true;
            }
        }
        false
    }
}

/// Where the item that was at `key` is now.
fn now_at(gone: Option<&BTreeSet<usize>>, key: &str) -> Option<usize> {
    let index: usize = key.parse().ok()?;
    let Some(gone) = gone else { return Some(index) };
    (!gone.contains(&index)).then(|| index - gone.range(..index).count())
}

/// Reads `value` with `parse`, which tells the first fault that it meets; returns all faults, and what the
/// rest is read as. With faults about what must be there, that may hold values that nobody wrote: use it
/// only where everything may be left out.
///
/// `excused` says of a path that what is wrong there was told already.
pub fn read_all<T>(
    value: &Value,
    excused: impl Fn(&[String]) -> bool,
    mut parse: impl FnMut(&mut Remains) -> Result<T, Fault>,
) -> (Option<T>, Vec<Fault>) {
    let mut remains = Remains { value: value.clone(), gone: BTreeMap::new(), touched: Vec::new() };
    let mut faults: Vec<Fault> = Vec::new();
    let mut stand_ins: BTreeSet<Path> = BTreeSet::new();
    // Every turn takes something away, or puts something where nothing was.
    while faults.len() < FAULTS_MAX {
        let mut fault = match remains.read(&mut parse) {
            Ok(read) => return (Some(read), faults),
            Err(fault) => fault,
        };
        fault.path.truncate(written(value, &fault.path));
        if let Some(key) = fault.missing_key() {
            let mut at = fault.path.clone();
            at.push(key.to_owned());
            let was_there = written(value, &at) == at.len();
            let was_meant = |other: &Fault| {
                other.unknown_key().is_some_and(|unknown| suggest::nearest(unknown, [key]).is_some())
                    && other.path.split_last().is_some_and(|(_, outer)| *outer == fault.path)
            };
            if !was_there && !faults.iter().any(was_meant) {
                faults.push(fault);
            }
            if !stand_ins.insert(at.clone()) || !remains.stand_in(&at, &mut parse) {
                break;
            }
            continue;
        }
        let choice = fault.choice_is_a_key();
        let unknown = fault.unknown_key().map(str::to_owned);
        if let Some(key) = &unknown
            && fault.path.last() != Some(key)
        {
            fault.path.push(key.clone());
        }
        let mut at = fault.path.clone();
        if choice {
            at.pop(); // a choice without its only key is no choice
        }
        if (unknown.is_some() || !remains.is_of_our_making(&fault.path)) && !excused(&fault.path) {
            faults.push(fault);
        }
        if !remains.leave_out(&at) {
            break;
        }
    }
    (None, faults)
}

/// How much of `path` is there: the name of a variant stands in no file.
fn written(value: &Value, path: &[String]) -> usize {
    let mut value = value;
    let there = path.iter().take_while(|key| {
        let below = match value {
            Value::Object(map) => map.get(key.as_str()),
            Value::Array(list) => key.parse::<usize>().ok().and_then(|index| list.get(index)),
            _ => None,
        };
        below.map(|below| value = below).is_some()
    });
    there.count()
}
