//! A model for a table, from its profile: which columns are worth keeping, and as what.
//!
//! The text is for a reviewer: each column that stays is a line, each that goes is a comment with the reason.

use std::{collections::BTreeSet, fmt::Write as _};

use datafusion::sql::sqlparser::{
    ast,
    keywords::{ALL_KEYWORDS, ALL_KEYWORDS_INDEX, RESERVED_FOR_COLUMN_ALIAS},
};
use lagar_lake::column_name;
use serde_json::Value as Json;

use super::{ColumnProfile, Profile};
use crate::sql::{Allowed, query_of, quote};

/// A value in a reason is cut here.
const SHOWN_CHARS_MAX: usize = 40;
/// Comments begin here at most, unless what is in front of one is longer.
const ALIGNED_CHARS_MAX: usize = 72;
/// A text column of which this share looks like numbers or times says so, although some do not.
const ALMOST_ALL: f64 = 0.95;

/// When a column goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// More than this share is null. Texts that stand for a missing value count as null.
    pub null_share: f64,
    /// It has at most this many different values; missing ones are none.
    pub distinct: u64,
}

impl Default for Rule {
    fn default() -> Self {
        Self { null_share: 0.5, distinct: 1 }
    }
}

/// What the rule says of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Keep,
    /// Why.
    Drop(String),
}

impl Rule {
    /// What happens to `column`.
    pub fn decide(&self, column: &ColumnProfile) -> Decision {
        let share = column.null_share(true);
        if share > self.null_share {
            return Decision::Drop(format!("{} % null", percent(share)));
        }
        if column.distinct_values > self.distinct {
            return Decision::Keep;
        }
        let nulls = if share > 0.0 { format!(", {} % null", percent(share)) } else { String::new() };
        let first = column.top.iter().find(|top| !top.is_null_token);
        Decision::Drop(match (column.distinct_values, first) {
            (0, _) | (_, None) => format!("no value{nulls}"),
            (1, Some(only)) => format!("always {}{nulls}", shown(&only.value)),
            (count, _) => format!("{count} different values{nulls}"),
        })
    }
}

/// A generated model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// The text of the model's file.
    pub sql: String,
    pub kept: usize,
    /// The columns that go, and why.
    pub dropped: Vec<(String, String)>,
}

/// The model that makes a cleaned table of `table`. `about` says of which rows the profile is ("134 rows of
/// load 1, 2026-10-04"); it stands in the head of the file.
///
/// Of a raw table it reads the rows that the source has now: with an older version of a file every row would be there
/// twice. A column whose name a table must not have, or has already but for upper and lower case, gets another one.
///
/// `None` if the rule leaves no column.
pub fn suggest(table: &str, about: &str, profile: &Profile, rule: Rule) -> Option<Suggestion> {
    let kept = profile.columns.iter().filter(|column| rule.decide(column) == Decision::Keep);
    let mut names = Names::among(kept.map(|column| column.name.as_str()));
    let expressions: Vec<(&ColumnProfile, Result<String, String>)> = profile
        .columns
        .iter()
        .map(|column| match rule.decide(column) {
            Decision::Keep => (column, Ok(expression(column, &names.of(&column.name)))),
            Decision::Drop(reason) => (column, Err(reason)),
        })
        .collect();
    let kept = expressions.iter().filter(|(_, expression)| expression.is_ok()).count();
    if kept == 0 {
        return None;
    }
    let widths =
        expressions.iter().filter_map(|(_, expression)| Some(expression.as_ref().ok()?.chars().count() + 1));
    let width = widths.max().unwrap_or(0).min(ALIGNED_CHARS_MAX);
    let mut lines = Vec::new();
    let mut dropped = Vec::new();
    let mut left = kept;
    for (column, expression) in expressions {
        match expression {
            Err(reason) => {
                lines.push(format!("    -- dropped: {}: {reason}", one_line(&column.name)));
                dropped.push((column.name.clone(), reason));
            }
            Ok(expression) => {
                left -= 1;
                let comma = if left > 0 { "," } else { "" };
                lines.push(format!("    {:<width$}  -- {}", expression + comma, found(column)));
            }
        }
    }
    let (rows, newest) = match table.starts_with("raw.") {
        true => ("for each row that the source has now".to_owned(), "\nWHERE _newest"),
        false => (format!("a row of {table}"), ""),
    };
    let mut sql = String::new();
    let _ = writeln!(sql, "-- {table}, cleaned: one row {rows}.");
    let _ = writeln!(sql, "--");
    let _ = writeln!(sql, "-- Columns decided by `lagar profile {table} --suggest` on {about}:");
    let _ = writeln!(
        sql,
        "-- dropped with more than {} % null or at most {} different value{}; null tokens count as null.",
        percent(rule.null_share),
        rule.distinct,
        if rule.distinct == 1 { "" } else { "s" }
    );
    let _ = writeln!(sql, "SELECT\n{}\nFROM {table}{newest}", lines.join("\n"));
    Some(Suggestion { sql, kept, dropped })
}

/// The names that the columns of the table get.
struct Names {
    /// In lower case.
    taken: BTreeSet<String>,
    /// Those that columns keep, in lower case: no other column gets them.
    own: BTreeSet<String>,
}

impl Names {
    fn among<'a>(columns: impl Iterator<Item = &'a str>) -> Self {
        let own = columns.filter(|name| column_name(name) == *name).map(str::to_lowercase);
        Self { taken: BTreeSet::new(), own: own.collect() }
    }

    /// One for the column `name`.
    fn of(&mut self, name: &str) -> String {
        let first = column_name(name);
        let mut free = first.clone();
        for number in 2.. {
            let lower = free.to_lowercase();
            let is_others = free != name && self.own.contains(&lower);
            if !is_others && self.taken.insert(lower) {
                break;
            }
            free = format!("{first}_{number}");
        }
        free
    }
}

/// The column, cleaned as its values ask for, and called `name`.
fn expression(column: &ColumnProfile, name: &str) -> String {
    let of = identifier(&column.name);
    let name = identifier(name);
    match cleaning(column) {
        Some(function) => format!("{function}({of}) AS {name}"),
        None if of != name => format!("{of} AS {name}"),
        None => of,
    }
}

/// The function that makes of its texts what they are.
fn cleaning(column: &ColumnProfile) -> Option<&'static str> {
    let looks = column.looks?;
    let values = looks.values();
    if is_zip_code(column) {
        return Some("zip_code");
    }
    Some(match values {
        0 => "clean",
        _ if looks.int == values => "try_int",
        _ if looks.int + looks.double == values => "try_double",
        _ if looks.date == values => "try_date",
        _ if looks.date + looks.timestamp == values => "try_timestamp",
        _ => "clean",
    })
}

/// A zip code is no number, although it looks like one.
fn is_zip_code(column: &ColumnProfile) -> bool {
    let name = column.name.to_lowercase();
    ["zip", "postal", "postcode"].iter().any(|word| name.contains(word))
}

/// What was found of a column, in a few words.
fn found(column: &ColumnProfile) -> String {
    let mut words = Vec::new();
    if let Some(looks) = column.looks {
        let values = looks.values().max(1) as f64;
        let numbers = looks.int + looks.double;
        let times = looks.date + looks.timestamp;
        words.push(match cleaning(column) {
            Some("try_int") => "int".into(),
            Some("try_double") => "double".into(),
            Some("try_date") => "date".into(),
            Some("try_timestamp") => "timestamp".into(),
            Some("zip_code") => "zip code".into(),
            _ if numbers as f64 / values >= ALMOST_ALL => {
                format!("text, {} % look like numbers", percent(numbers as f64 / values))
            }
            _ if times as f64 / values >= ALMOST_ALL => {
                format!("text, {} % look like times", percent(times as f64 / values))
            }
            _ => "text".into(),
        });
    }
    let about = if column.distinct_is_exact { "" } else { "~" };
    words.push(match column.is_unique() {
        true if column.nulls + column.null_tokens == 0 => "each value once, never null".into(),
        _ => format!("{about}{} different", column.distinct_values),
    });
    let share = column.null_share(true);
    if share > 0.0 {
        words.push(format!("{} % null", percent(share)));
    }
    words.join(", ")
}

/// `0.9328` → `93.3`; what is not all and not nothing is never shown as 100 or 0.
pub fn percent(share: f64) -> String {
    let tenths = (share * 1000.0).round();
    let tenths = match share {
        share if share > 0.0 && share < 1.0 => tenths.clamp(1.0, 999.0),
        _ => tenths,
    };
    let text = format!("{:.1}", tenths / 10.0);
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

fn shown(value: &Json) -> String {
    let text = match value {
        Json::String(text) => format!("'{}'", one_line(text)),
        other => other.to_string(),
    };
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Text from outside must not end the comment that it stands in.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c })
        .collect()
}

/// The name as it is written in SQL: plain where the parser takes it for the same name, and so does a reader.
fn identifier(name: &str) -> String {
    let is_plain = || {
        let sql = format!("SELECT {name}, f({name}) AS {name} FROM t");
        let parsed = crate::sql::parse(&sql, Allowed::Query).ok()?;
        let ast::SetExpr::Select(select) = query_of(&parsed.statement)?.body.as_ref() else { return None };
        match select.projection.as_slice() {
            [
                ast::SelectItem::UnnamedExpr(ast::Expr::Identifier(first)),
                ast::SelectItem::ExprWithAlias { alias, .. },
            ] => Some(first == alias && alias.quote_style.is_none() && alias.value == name),
            _ => None,
        }
    };
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    match name.chars().all(letters) && !is_reserved(name) && is_plain() == Some(true) {
        true => name.to_owned(),
        false => quote(name),
    }
}

fn is_reserved(name: &str) -> bool {
    // The parser tries these as the beginning of an expression first.
    if ["case", "cast", "exists", "extract", "interval", "not"].contains(&name) {
        return true;
    }
    let keyword = ALL_KEYWORDS.iter().position(|keyword| keyword.eq_ignore_ascii_case(name));
    keyword
        .and_then(|at| ALL_KEYWORDS_INDEX.get(at))
        .is_some_and(|word| RESERVED_FOR_COLUMN_ALIAS.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_never_rounded_to_all_or_nothing() {
        for (share, text) in
            [(0.0, "0"), (1.0, "100"), (0.5, "50"), (125.0 / 134.0, "93.3"), (0.99999, "99.9"), (1e-9, "0.1")]
        {
            assert_eq!(percent(share), text);
        }
    }

    #[test]
    fn names_are_quoted_where_they_must_be() {
        for (name, written) in [
            ("unique_key", "unique_key"),
            ("userId", "\"userId\""),
            ("id", "id"),
            ("date", "date"),
            ("select", "\"select\""),
            ("null", "\"null\""),
            ("case", "\"case\""),
            ("current_date", "\"current_date\""),
            ("a\"b", "\"a\"\"b\""),
            ("1st", "\"1st\""),
            ("", "\"\""),
        ] {
            assert_eq!(identifier(name), written);
        }
    }
}
