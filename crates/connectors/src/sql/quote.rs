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
        return Err(Error::new(codes::CONFIG, format!("`{}` cannot be a name", name.escape_debug())));
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

    #[test]
    fn nul_is_refused() {
        for (dialect, _) in DIALECTS {
            assert!(quote(dialect, "a\0b").is_err());
        }
    }
}
