//! The `.env` file beside a project: `KEY=VALUE` lines, below the real environment.

use std::collections::BTreeMap;

use lagar_flow::{Error, Result, codes};

/// Reads `text`. Values may be quoted: `'…'` as it is, `"…"` with `\n`, `\t`, `\"`, `\\` and `\$`.
/// `export ` in front and comments after ` #` are allowed. A line's content is never in an error.
pub(crate) fn parse(text: &str, file: &str) -> Result<BTreeMap<String, String>> {
    let mut values = BTreeMap::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what: &str| {
            Error::new(codes::CONFIG, what).hint("a line is `NAME=value`, or a comment after `#`").at(
                file,
                index + 1,
                1,
            )
        };
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').ok_or_else(|| wrong("a line has no `=`"))?;
        let name = name.trim();
        let fits = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !fits {
            return Err(wrong("the name of a variable may only have letters, digits and `_`"));
        }
        let value = read_value(value.trim())
            .ok_or_else(|| wrong("a quoted value is not closed, or goes on after its quote"))?;
        values.insert(name.to_owned(), value);
    }
    Ok(values)
}

fn read_value(text: &str) -> Option<String> {
    let only_comment = |rest: &str| {
        let rest = rest.trim_start();
        (rest.is_empty() || rest.starts_with('#')).then_some(())
    };
    if let Some(quoted) = text.strip_prefix('\'') {
        let (value, rest) = quoted.split_once('\'')?;
        only_comment(rest)?;
        return Some(value.to_owned());
    }
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(" #").or_else(|| text.find("\t#")).unwrap_or(text.len());
        return Some(text[..end].trim_end().to_owned());
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => {
                only_comment(chars.as_str())?;
                return Some(value);
            }
            '\\' => match chars.next()? {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                c @ ('"' | '\\' | '$') => value.push(c),
                other => value.extend(['\\', other]),
            },
            c => value.push(c),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_quotes_and_comments() {
        let text = "\u{feff}# comment\n\nA=1\nexport B = two words # more\nC='a # b'\r\nD=\"x\\ny \\\"z\\\" \\d\" # end\nE=\nF=a=b#c\n";
        let values = parse(text, ".env").unwrap();
        let get = |name: &str| values[name].as_str();
        assert_eq!(values.len(), 6);
        assert_eq!((get("A"), get("B"), get("C")), ("1", "two words", "a # b"));
        assert_eq!((get("D"), get("E"), get("F")), ("x\ny \"z\" \\d", "", "a=b#c"));
    }

    #[test]
    fn a_wrong_line_is_named_and_not_shown() {
        for (text, line) in [
            ("A=1\nhunter2", 2),
            ("\n\nmy key=hunter2", 3),
            ("A='hunter2", 1),
            ("A=\"hunter2\" x", 1),
            ("=hunter2", 1),
        ] {
            let error = parse(text, "shop/.env").unwrap_err();
            assert_eq!(error.place().unwrap().to_string(), format!("shop/.env:{line}:1"), "{text}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
