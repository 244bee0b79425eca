//! The only place where a name becomes part of a statement. Values never do: they are bound.

use lagar_flow::{Error, Result, codes};

/// The SQL that a database speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Postgres,
    MySql,
    Sqlite,
}

/// `name` as an identifier, whatever is in it. Fails only for NUL, which no database allows in a name.
pub(super) fn quote(dialect: Dialect, name: &str) -> Result<String> {
    if name.contains('\0') {
        let shown: String = name.escape_debug().take(100).collect();
        return Err(Error::new(codes::CONFIG, format!("`{shown}` cannot be a name: it has a NUL")));
    }
    let mark = match dialect {
        Dialect::Postgres | Dialect::Sqlite => '"',
        Dialect::MySql => '`',
    };
    let mut quoted = String::with_capacity(name.len() + 2);
    quoted.push(mark);
    for c in name.chars() {
        if c == mark {
            quoted.push(mark);
        }
        quoted.push(c);
    }
    quoted.push(mark);
    Ok(quoted)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use lagar_testing::{Battery, env_number};
    use proptest::{
        collection::vec,
        prelude::any,
        sample::select,
        strategy::{Strategy, Union, ValueTree},
        test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
    };

    use super::*;

    const DIALECTS: [(Dialect, char); 3] =
        [(Dialect::Postgres, '"'), (Dialect::MySql, '`'), (Dialect::Sqlite, '"')];

    /// What a database's tokenizer makes of `text`: the name, and what is left behind the closing mark.
    fn read_back(text: &str, mark: char) -> Option<(String, String)> {
        let mut chars = text.strip_prefix(mark)?.chars().peekable();
        let mut name = String::new();
        while let Some(c) = chars.next() {
            if c != mark {
                name.push(c);
            } else if chars.peek() == Some(&mark) {
                chars.next();
                name.push(mark);
            } else {
                return Some((name, chars.collect()));
            }
        }
        None
    }

    #[test]
    fn any_name_is_one_identifier_and_nothing_else() {
        // Every string of up to four of the characters that could end an identifier or begin something else.
        let alphabet = ['"', '`', '\'', ';', '-', '\\', ' ', 'a', 'ñ', '😀', '\n', '.'];
        let mut names = vec![String::new()];
        let mut from = 0;
        for _ in 0..4 {
            let to = names.len();
            for i in from..to {
                for c in alphabet {
                    names.push(format!("{}{c}", names[i]));
                }
            }
            from = to;
        }
        for name in &names {
            for (dialect, mark) in DIALECTS {
                let quoted = quote(dialect, name).unwrap();
                assert_eq!(read_back(&quoted, mark), Some((name.clone(), String::new())), "{quoted}");
            }
        }
    }

    /// X3: with every character that there is, also a megabyte of them.
    #[test]
    fn ten_thousand_strings_are_names_and_nothing_else() {
        let mut battery = Battery::new("X3");
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&env_number("LAGAR_SEED").unwrap_or(1).to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let part = Union::new_weighted(vec![
            (1, any::<char>().prop_map(String::from).boxed()),
            (1, select("\"`';\\/*#$?.\n\0 -".chars().collect::<Vec<_>>()).prop_map(String::from).boxed()),
        ]);
        let strings = vec(part, 0..24).prop_map(|parts| parts.concat());
        let mut names: Vec<String> =
            (0..10_000).map(|_| strings.new_tree(&mut runner).unwrap().current()).collect();
        names.extend(["\"".repeat(1 << 20), "`;--\\".repeat(1 << 18), "\0".repeat(1 << 20)]);
        for name in names {
            battery.case(&format!("{name:.200?}"), || {
                for (dialect, mark) in DIALECTS {
                    match quote(dialect, &name) {
                        Ok(quoted) => {
                            assert_eq!(read_back(&quoted, mark), Some((name.clone(), String::new())))
                        }
                        Err(error) => {
                            assert!(name.contains('\0'));
                            assert!(error.message().len() < 1000);
                        }
                    }
                }
            });
        }
    }

    #[test]
    fn nul_is_refused() {
        for (dialect, _) in DIALECTS {
            assert!(quote(dialect, "a\0b").is_err());
        }
    }
}
