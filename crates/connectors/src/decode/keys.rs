//! Which column a key of a JSON object belongs to, guessed from the row before.

use std::collections::HashMap;

/// How far ahead of the guess a key is looked for: rows leave out keys that are null.
const AHEAD: usize = 8;

/// A hostile file must not make this grow without end.
const LEARNED_MAX: usize = 20_000;

/// Keys in the order in which rows have them, each with the index of its column (`None`: not wanted).
#[derive(Debug, Default)]
pub(super) struct Keys {
    order: Vec<Key>,
    index: HashMap<Box<str>, Option<usize>>,
}

#[derive(Debug)]
pub(super) struct Key {
    pub name: Box<str>,
    /// The name as most writers of JSON put it, with the quote and the colon behind it; empty if that is not
    /// the name as it is.
    raw: Box<[u8]>,
    pub column: Option<usize>,
}

impl Key {
    fn new(name: &str, column: Option<usize>) -> Self {
        let plain = !name.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\');
        let raw = if plain { [name.as_bytes(), b"\":"].concat() } else { Vec::new() };
        Self { name: name.into(), raw: raw.into(), column }
    }

    /// Whether `text` goes on with the name, a quote and a colon.
    #[inline]
    fn begins(&self, text: &[u8]) -> bool {
        // Most keys that are not this one differ in their first letters: no call to find that out.
        !self.raw.is_empty()
            && text.first() == self.raw.first()
            && text.get(1) == self.raw.get(1)
            && text.starts_with(&self.raw)
    }
}

impl Keys {
    /// The key whose name begins `text`, and the length of what it takes up, quote and colon included; `None` if
    /// it is not one of those that are expected next, or written in another way.
    #[inline]
    pub fn next(&self, guess: &mut usize, text: &[u8]) -> Option<(&Key, usize)> {
        let ahead = self.order[*guess..].iter().take(AHEAD).position(|key| key.begins(text))?;
        let key = &self.order[*guess + ahead];
        *guess += ahead + 1;
        Some((key, key.raw.len()))
    }

    /// The column of `name`; the outer `None` if the key was never seen. `guess` starts at 0 for each
    /// object and is moved behind the key.
    pub fn find(&self, guess: &mut usize, name: &str) -> Option<Option<usize>> {
        if let Some(ahead) = self.order[*guess..].iter().take(AHEAD).position(|key| *key.name == *name) {
            *guess += ahead + 1;
            return Some(self.order[*guess - 1].column);
        }
        self.index.get(name).copied()
    }

    /// Remembers `name` at the place where it was met.
    pub fn learn(&mut self, guess: &mut usize, name: &str, column: Option<usize>) {
        if self.order.len() < LEARNED_MAX {
            self.order.insert(*guess, Key::new(name, column));
            *guess += 1;
            self.index.insert(name.into(), column);
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

    #[test]
    fn a_key_is_read_ahead_only_as_it_is_written() {
        let mut keys = Keys::default();
        let mut guess = 0;
        for (column, name) in ["a", "ab", "a\":1,\"b", "ü", ""].iter().enumerate() {
            keys.learn(&mut guess, name, Some(column));
        }
        let next = |guess: &mut usize, text: &str| {
            keys.next(guess, text.as_bytes()).map(|(key, length)| (key.column, length))
        };
        for (text, wanted) in [
            (r#"ab":1}"#, Some((Some(1), 4))),
            (r#"a":1,"b":2}"#, Some((Some(0), 3))),
            (r#"ü":1}"#, Some((Some(3), 4))),
            (r#"":1}"#, Some((Some(4), 2))),
            (r#"ab" :1}"#, None),
            (r#"\u0061":1}"#, None),
            (r#"abc":1}"#, None),
            ("a", None),
            ("", None),
        ] {
            assert_eq!(next(&mut 0, text), wanted, "{text}");
        }
        let mut guess = 0;
        assert_eq!(next(&mut guess, r#"ab":1}"#), Some((Some(1), 4)));
        assert_eq!(guess, 2);
        assert_eq!(next(&mut guess, r#"a":1}"#), None);
    }
}
