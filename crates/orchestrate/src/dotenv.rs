//! The `.env` file beside a project: `KEY=VALUE` lines, below the real environment.

use std::collections::BTreeMap;

use lagar_flow::{Error, codes};

/// Reads `text`. Values may be quoted: `'…'` as it is, `"…"` with `\n`, `\t`, `\"`, `\\` and `\$`.
/// `export ` in front and comments after ` #` are allowed. Lines that are wrong go to `problems`; a line's
/// content is never in them.
pub(crate) fn parse(text: &str, file: &str, problems: &mut Vec<Error>) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match read_line(line) {
            Ok((name, value)) => {
                values.insert(name, value);
            }
            Err(what) => {
                problems.push(
                    Error::new(codes::CONFIG, what)
                        .hint("a line is `NAME=value`, or a comment after `#`")
                        .at(file, index + 1, 1),
                )
            }
        }
    }
    values
}

fn read_line(line: &str) -> Result<(String, String), &'static str> {
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=').ok_or("a line has no `=`")?;
    let name = name.trim();
    let fits = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !fits {
        return Err("the name of a variable may only have letters, digits and `_`");
    }
    let value = read_value(value.trim()).ok_or("a quoted value is not closed, or goes on after its quote")?;
    Ok((name.to_owned(), value))
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
        let values = parse(text, ".env", &mut Vec::new());
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
            let mut problems = Vec::new();
            parse(text, "shop/.env", &mut problems);
            let error = &problems[0];
            assert_eq!(error.place().unwrap().to_string(), format!("shop/.env:{line}:1"), "{text}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
