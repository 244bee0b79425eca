//! Which column a key of a JSON object belongs to, guessed from the row before.

use std::collections::HashMap;

/// How far ahead of the guess a key is looked for: rows leave out keys that are null.
const AHEAD: usize = 8;

/// A hostile file must not make this grow without end.
const LEARNED_MAX: usize = 20_000;

/// Keys in the order in which rows have them, each with the index of its column (`None`: not wanted).
#[derive(Debug, Default)]
pub(super) struct Keys {
    order: Vec<(Box<str>, Option<usize>)>,
    index: HashMap<Box<str>, Option<usize>>,
}

impl Keys {
    /// The column of `key`; the outer `None` if the key was never seen. `guess` starts at 0 for each
    /// object and is moved behind the key.
    pub fn find(&self, guess: &mut usize, key: &str) -> Option<Option<usize>> {
        for (ahead, (known, column)) in self.order[*guess..].iter().take(AHEAD).enumerate() {
            if **known == *key {
                *guess += ahead + 1;
                return Some(*column);
            }
        }
        self.index.get(key).copied()
    }

    /// Remembers `key` at the place where it was met.
    pub fn learn(&mut self, guess: &mut usize, key: &str, column: Option<usize>) {
        if self.order.len() < LEARNED_MAX {
            self.order.insert(*guess, (key.into(), column));
            *guess += 1;
            self.index.insert(key.into(), column);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_any_order_and_when_some_are_missing() {
        let mut keys = Keys::default();
        let mut guess = 0;
        for (column, key) in ["a", "b", "c"].iter().enumerate() {
            assert_eq!(keys.find(&mut guess, key), None);
            keys.learn(&mut guess, key, Some(column));
        }
        let mut guess = 0;
        assert_eq!(keys.find(&mut guess, "b"), Some(Some(1)));
        assert_eq!(guess, 2);
        assert_eq!(keys.find(&mut guess, "a"), Some(Some(0)));
        assert_eq!(keys.find(&mut guess, "c"), Some(Some(2)));
        keys.learn(&mut guess, "d", None);
        assert_eq!(keys.find(&mut guess, "d"), Some(None));
        assert_eq!(keys.find(&mut guess, "e"), None);
    }
}
