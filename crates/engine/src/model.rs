//! A model's file: description, front matter, one SELECT whose comments document its columns.

use std::collections::BTreeMap;

use arrow::datatypes::Schema;
use datafusion::sql::sqlparser::{
    ast::{self, Expr, SelectItem, SetExpr},
    dialect::GenericDialect,
    keywords::Keyword,
    tokenizer::{Token, Tokenizer, Whitespace},
};
use lagar_flow::{Error, Name, Place, Result, TableName, Zone, codes};

pub use crate::front_matter::{Dialect, FrontMatter, Materialize, Severity, json_schema};
use crate::{
    FUNCTIONS, NullTokens, front_matter, predict,
    sql::{self, Allowed, NamedTable},
    suggest,
};

const OPEN: &str = "/*---";
const CLOSE: &str = "---*/";

/// One SELECT that makes one table.
#[derive(Debug, Clone)]
pub struct Model {
    pub name: TableName,
    /// The file, relative to the project.
    pub path: String,
    /// The file as errors name it: the path by which the user can open it.
    shown: String,
    /// The first comment of the file.
    pub description: Option<String>,
    /// What the comment behind a column of the SELECT says, by the column's name.
    pub column_docs: BTreeMap<String, String>,
    pub front: FrontMatter,
    /// The query, without a `;` at its end.
    pub sql: String,
    /// Lines of the file in front of `sql`.
    pub sql_line_offset: usize,
    /// The tables that the query reads, in the order of the text, each place once.
    pub reads: Vec<Read>,
    /// The other tables that its checks read.
    pub check_reads: Vec<Read>,
    /// The predictors that the query asks, and where.
    pub predictors: Vec<AskedPredictor>,
    /// The project's texts that mean null.
    pub null_tokens: NullTokens,
}

/// A table that is read, and where the file says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub table: TableName,
    pub line: usize,
    pub column: usize,
}

/// A predictor that is asked, and where the file says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedPredictor {
    pub name: Name,
    pub line: usize,
    pub column: usize,
}

impl Model {
    /// Errors name the file `shown` from now on.
    pub fn show_as(&mut self, shown: &str) {
        self.shown = shown.to_owned();
        self.front.show_as(shown);
    }

    /// Whether the query asks for something that differs from run to run although its inputs do not.
    pub fn is_volatile(&self) -> bool {
        const VOLATILE: &[&str] =
            &["now", "current_timestamp", "current_date", "current_time", "today", "random", "rand", "uuid"];
        self.has_word(|name, called| VOLATILE.contains(&name) && (called || name.starts_with("current_")))
    }

    /// The texts that mean null, if they decide about the rows: in a query that calls a function that knows them.
    /// `None` also for the list that was the first default.
    pub fn decisive_null_tokens(&self) -> Option<&[String]> {
        let knows = |name: &str| FUNCTIONS.iter().any(|function| function.name == name);
        let decisive = !self.null_tokens.are_unsaid() && self.has_word(|name, called| called && knows(name));
        decisive.then(|| self.null_tokens.as_slice())
    }

    /// Whether the SELECT names each of its columns, so that no input can bring another one.
    pub fn names_all_columns(&self) -> bool {
        let Ok(parsed) = sql::parse(&self.sql, Allowed::Query) else { return false };
        let select = sql::query_of(&parsed.statement).and_then(|query| outermost(&query.body));
        let is_named =
            |item: &SelectItem| matches!(item, SelectItem::ExprWithAlias { .. } | SelectItem::UnnamedExpr(_));
        select.is_some_and(|select| !select.projection.is_empty() && select.projection.iter().all(is_named))
    }

    /// Whether the query has such a word, in lower case, outside of quotation marks. It is called if `(` follows.
    fn has_word(&self, is_it: impl Fn(&str, bool) -> bool) -> bool {
        let tokens = sql::tokens(&self.sql).unwrap_or_default();
        let mut words = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).peekable();
        while let Some(token) = words.next() {
            let Token::Word(word) = &token.token else { continue };
            let called = words.peek().is_some_and(|next| next.token == Token::LParen);
            if word.quote_style.is_none() && is_it(&word.value.to_lowercase(), called) {
                return true;
            }
        }
        false
    }

    /// The place of `read` in the file.
    pub fn place_of(&self, read: &Read) -> Place {
        Place { file: self.shown.clone(), line: read.line, column: read.column }
    }

    /// The place of `asked` in the file.
    pub fn place_of_predictor(&self, asked: &AskedPredictor) -> Place {
        Place { file: self.shown.clone(), line: asked.line, column: asked.column }
    }

    /// The predictors that must be there before this model is made, each once.
    pub fn asks(&self) -> std::collections::BTreeSet<&Name> {
        self.predictors.iter().map(|asked| &asked.name).collect()
    }

    /// The tables that must be there before this model is made, each once.
    pub fn inputs(&self) -> std::collections::BTreeSet<&TableName> {
        self.reads.iter().chain(&self.check_reads).map(|read| &read.table).collect()
    }

    /// `error` of planning or running `self.sql`, with its places in the model's file.
    pub fn locate(&self, error: &Error) -> Error {
        Error::all(self.locate_each(error)).unwrap_or_else(|| error.clone())
    }

    /// [`Self::locate`], each of the errors found together alone.
    pub fn locate_each(&self, error: &Error) -> Vec<Error> {
        let first_line = self.sql_line_offset + 1;
        let located = error.each().map(|error| {
            let place = match error.place() {
                Some(place) if !place.file.is_empty() => place.clone(),
                Some(place) if place.line > 0 => Place {
                    file: self.shown.clone(),
                    line: place.line + self.sql_line_offset,
                    column: place.column,
                },
                _ => Place { file: self.shown.clone(), line: first_line, column: 0 },
            };
            error.alone().at_place(place)
        });
        located.collect()
    }

    /// Whether the columns that the front matter names are among those of the result. All faults at
    /// once, [`codes::FRONT_MATTER`].
    pub fn check_columns(&self, result: &Schema) -> Result<()> {
        let mut errors = Vec::new();
        let known: Vec<&str> = result.fields().iter().map(|field| field.name().as_str()).collect();
        let mut check = |column: &str, what: String, place: Place| {
            if !known.contains(&column) {
                let error = Error::new(
                    codes::FRONT_MATTER,
                    format!("{what} `{column}`, which the SELECT does not make"),
                );
                let error = error.at_place(place);
                errors.push(match suggest::hint(column, known.iter().copied()) {
                    Some(hint) => error.hint(hint),
                    None => error,
                });
            }
        };
        for (key, columns) in [
            ("key", &self.front.key),
            ("partition_by", &self.front.partition_by),
            ("latest_by", &self.front.latest_by),
        ] {
            for (index, column) in columns.iter().enumerate() {
                check(column, format!("`{key}` names the column"), self.front.place_in(key, index));
            }
        }
        for test in &self.front.checks {
            for column in test.rule.columns() {
                // `key` was complained about already.
                if !self.front.key.contains(column) {
                    check(column, format!("the check `{}` names the column", test.name), test.place.clone());
                }
            }
        }
        errors.extend(self.without_order(result));
        if !self.front.partition_by.is_empty()
            && known.iter().all(|name| self.front.partition_by.iter().any(|p| p == name))
        {
            let error = Error::new(
                codes::FRONT_MATTER,
                "`partition_by` has all columns: nothing is left for the files",
            );
            errors.push(error.at_place(self.front.place(&["partition_by"])));
        }
        Error::all(errors).map_or(Ok(()), Err)
    }
}

impl Model {
    /// What a merge cannot compare.
    fn without_order(&self, result: &Schema) -> Vec<Error> {
        if self.front.materialize != Materialize::Merge {
            return Vec::new();
        }
        let columns = [("key", &self.front.key), ("latest_by", &self.front.latest_by)];
        let named = columns.into_iter().flat_map(|(key, columns)| {
            columns.iter().enumerate().map(move |(index, column)| (key, index, column))
        });
        let errors = named.filter_map(|(key, index, column)| {
            let data_type = result.field_with_name(column).ok()?.data_type();
            data_type.is_nested().then(|| {
                let message =
                    format!("`{key}` names the column `{column}`, whose type {data_type} has no order");
                let error =
                    Error::new(codes::FRONT_MATTER, message).at_place(self.front.place_in(key, index));
                error.hint("take a part of it into a column of its own")
            })
        });
        errors.collect()
    }
}

/// Reads a model's file. `path` is relative to the project: its first folder is the zone, the file's
/// name the table's; folders between them only bring order.
///
/// Fails with all faults that the text alone shows, each with its place in the file.
pub fn parse(path: &str, text: &str) -> Result<Model> {
    let mut problems = Vec::new();
    let model = read(path, text, &mut problems);
    match (Error::all(problems), model) {
        (Some(error), _) => Err(error),
        (None, Some(model)) => Ok(model),
        (None, None) => Err(Error::bug("a model failed without an error")),
    }
}

/// [`parse`] that reads past what it can: the model comes whenever its name and its SELECT can be read,
/// without what is wrong in its front matter. All faults go to `problems`.
pub fn read(path: &str, text: &str, problems: &mut Vec<Error>) -> Option<Model> {
    let name = table_name(path).map_err(|error| problems.push(error)).ok();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let head = head(path, text, problems)?;
    let front = match head.front {
        Some((yaml, line_offset)) => front_matter::read(yaml, path, line_offset, problems),
        None => FrontMatter::default(),
    };
    let query = read_query(name.as_ref(), path, head.sql, head.sql_line_offset)
        .map_err(|error| problems.extend(error.each().map(Error::alone)))
        .ok()?;
    let name = name?;
    let model = Model {
        check_reads: check_reads(&name, &front),
        name,
        path: path.to_owned(),
        shown: path.to_owned(),
        description: head.description,
        column_docs: query.docs,
        front,
        sql: query.sql,
        sql_line_offset: head.sql_line_offset,
        reads: query.reads,
        predictors: query.predictors,
        null_tokens: NullTokens::default(),
    };
    problems.extend(unread_increments(&model));
    Some(model)
}

/// `incremental` must be among the tables that are read.
fn unread_increments(model: &Model) -> Vec<Error> {
    let tables: Vec<String> = model.reads.iter().map(|read| read.table.to_string()).collect();
    let unread = model
        .front
        .incremental
        .iter()
        .enumerate()
        .filter(|(_, input)| !model.reads.iter().any(|read| read.table == **input));
    let errors = unread.map(|(index, input)| {
        let message = format!("`incremental: {input}`, but the SELECT does not read `{input}`");
        let place = model.front.place_in("incremental", index);
        let error = Error::new(codes::FRONT_MATTER, message).at_place(place);
        match suggest::hint(&input.to_string(), tables.iter().map(String::as_str)) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    });
    errors.collect()
}

/// The table that the model at `path` makes. Fails with [`codes::NAME`].
pub fn table_name(path: &str) -> Result<TableName> {
    let wrong = |message: String| {
        Error::new(codes::NAME, message)
            .hint("a model is trusted/NAME.sql or refined/NAME.sql")
            .at(path, 0, 0)
    };
    let (zone, rest) = path.split_once('/').ok_or_else(|| wrong(format!("`{path}` is in no zone")))?;
    let zone = match zone {
        "trusted" => Zone::Trusted,
        "refined" => Zone::Refined,
        "raw" => return Err(wrong("raw tables are made by sources, not by models".to_owned())),
        other => return Err(wrong(format!("`{other}` is not a zone"))),
    };
    let file = rest.rsplit('/').next().unwrap_or(rest);
    let stem = file.strip_suffix(".sql").ok_or_else(|| wrong(format!("`{file}` does not end in .sql")))?;
    let name: Name = stem.parse().map_err(|error: Error| {
        error.context(format!("the file `{file}` cannot name a table")).at(path, 0, 0)
    })?;
    Ok(TableName::new(zone, name))
}

/// What stands in front of the query, and the query.
struct Head<'a> {
    description: Option<String>,
    /// The YAML, and the lines of the file in front of it.
    front: Option<(&'a str, usize)>,
    sql: &'a str,
    sql_line_offset: usize,
}

/// `None` if it cannot be told where the query begins.
fn head<'a>(path: &str, text: &'a str, problems: &mut Vec<Error>) -> Option<Head<'a>> {
    let broken = |message: &str, line: usize| Error::new(codes::FRONT_MATTER, message).at(path, line, 1);
    let mut description: Vec<&str> = Vec::new();
    let mut described = false;
    let mut front = None;
    let mut sql_start = (0, 0);
    let mut at = 0;
    let mut lines = text.split_inclusive('\n').enumerate();
    while let Some((number, line)) = lines.next() {
        let start = at;
        at += line.len();
        let trimmed = line.trim();
        if let Some(comment) = trimmed.strip_prefix("--") {
            if !described {
                description.push(comment.strip_prefix(' ').unwrap_or(comment).trim_end());
            }
            continue;
        }
        described |= !description.is_empty();
        if trimmed.is_empty() {
            continue;
        }
        if trimmed.starts_with(OPEN) {
            if trimmed != OPEN {
                problems.push(broken("the front matter begins on the line after `/*---`", number + 1));
                return None;
            }
            let yaml_start = at;
            let end = loop {
                let Some((_, line)) = lines.next() else {
                    let error = broken("the front matter does not end", number + 1);
                    problems.push(error.hint("close it with a line `---*/`"));
                    return None;
                };
                let start = at;
                at += line.len();
                if line.trim_start().starts_with(CLOSE) {
                    if line.trim() != CLOSE {
                        let line = text[..start].matches('\n').count() + 1;
                        problems.push(broken("the SELECT begins on the line after `---*/`", line));
                        return None;
                    }
                    break start;
                }
            };
            if front.is_none() {
                front = Some((&text[yaml_start..end], number + 1));
            } else {
                let error = broken("there is a second front matter", number + 1);
                problems.push(error.hint("put all keys into the first one"));
            }
            sql_start = (at, text[..at].matches('\n').count());
            continue;
        }
        if trimmed.starts_with("/*") && !trimmed.starts_with("/*+") {
            // Another comment: it may hold anything up to its end.
            let Some(length) = text[start..].find("*/") else { break };
            while at < start + length + 2 {
                let Some((_, line)) = lines.next() else { break };
                at += line.len();
            }
            continue;
        }
        break;
    }
    // A front matter that begins behind the SELECT would be taken for a comment, and its checks lost.
    let late =
        text[sql_start.0..].lines().enumerate().skip_while(|(_, line)| !line.trim_start().starts_with(OPEN));
    if let Some((line, _)) = late.into_iter().next() {
        let line = sql_start.1 + line + 1;
        problems.push(broken("the front matter must stand in front of the SELECT", line));
    }
    let description = description.join("\n").trim().to_owned();
    Some(Head {
        description: (!description.is_empty()).then_some(description),
        front,
        sql: &text[sql_start.0..],
        sql_line_offset: sql_start.1,
    })
}

struct QueryText {
    sql: String,
    docs: BTreeMap<String, String>,
    reads: Vec<Read>,
    predictors: Vec<AskedPredictor>,
}

/// `name`: the model's own, if its file can name a table.
fn read_query(name: Option<&TableName>, path: &str, text: &str, line_offset: usize) -> Result<QueryText> {
    let in_file = |error: &Error| {
        let located = error.each().map(|error| {
            let (line, column) = error.place().map_or((0, 0), |place| (place.line, place.column));
            error.alone().at(path, line.max(1) + line_offset, column)
        });
        Error::all(located).unwrap_or_else(|| error.clone())
    };
    let empty = sql::tokens(text).is_some_and(|tokens| tokens.is_empty());
    if empty {
        return Err(Error::new(codes::SQL_SYNTAX, "the model has no SELECT")
            .hint("write one SELECT: its result becomes the table")
            .at(path, line_offset + 1, 0));
    }
    let parsed = sql::parse(text, Allowed::Query).map_err(|error| in_file(&error))?;
    let mut reads = Vec::new();
    let mut errors = Vec::new();
    for table in &parsed.tables {
        match read_table(name, table) {
            Ok(table_name) => {
                reads.push(Read {
                    table: table_name,
                    line: table.spot.0 + line_offset,
                    column: table.spot.1,
                });
            }
            Err(error) => errors.push(error.at(path, table.spot.0 + line_offset, table.spot.1)),
        }
    }
    if let Some(error) = Error::all(errors) {
        return Err(error);
    }
    let mut predictors = Vec::new();
    for named in predict::named(&parsed.statement) {
        match named.name.parse() {
            Ok(name) => predictors.push(AskedPredictor {
                name,
                line: named.spot.0 + line_offset,
                column: named.spot.1,
            }),
            Err(error) => return Err(error.at(path, named.spot.0 + line_offset, named.spot.1)),
        }
    }
    let docs = sql::query_of(&parsed.statement).map(|query| column_docs(query, text)).unwrap_or_default();
    Ok(QueryText { sql: without_semicolon(text).to_owned(), docs, reads, predictors })
}

/// The table that a model may read by this name.
fn read_table(model: Option<&TableName>, table: &NamedTable) -> Result<TableName> {
    let unknown = |message: String| Error::new(codes::SQL_UNKNOWN_TABLE, message);
    match table.parts.as_slice() {
        [zone, _] if Zone::ALL.iter().any(|known| known.as_str() == zone) => {
            let name: TableName = table.name().parse()?;
            if model == Some(&name) {
                return Err(Error::new(
                    codes::CYCLE,
                    format!("the model reads its own table: {name} → {name}"),
                )
                .hint(
                    "a model is made of other tables; what it made before is kept by `materialize: append`",
                ));
            }
            Ok(name)
        }
        [name] => Err(unknown(format!("`{name}` is named without its zone"))
            .hint(format!("write raw.{name}, trusted.{name} or refined.{name}"))),
        [zone, _] => {
            let error =
                unknown(format!("`{}` cannot be read by a model: `{zone}` is not a zone", table.name()));
            Err(match suggest::nearest(zone, Zone::ALL.map(Zone::as_str)) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint("models read raw, trusted and refined tables"),
            })
        }
        _ => Err(unknown(format!("`{}` is not the name of a table", table.name()))
            .hint("a table is named zone.name")),
    }
}

fn check_reads(model: &TableName, front: &FrontMatter) -> Vec<Read> {
    let mut reads: Vec<Read> = Vec::new();
    for check in &front.checks {
        for table in check.rule.tables() {
            let known = reads.iter().any(|read| read.table == table);
            if table != *model && !known {
                reads.push(Read { table, line: check.place.line, column: check.place.column });
            }
        }
    }
    reads
}

/// The text up to a `;` at its end.
fn without_semicolon(text: &str) -> &str {
    let Some(tokens) = sql::tokens(text) else { return text };
    let Some(last) = tokens.last().filter(|last| last.token == Token::SemiColon) else { return text };
    let start = last.span.start;
    let line_start: usize =
        text.split_inclusive('\n').take((start.line as usize).saturating_sub(1)).map(str::len).sum();
    let in_line = text[line_start..].char_indices().nth((start.column as usize).saturating_sub(1));
    in_line.map_or(text, |(offset, _)| &text[..line_start + offset])
}

/// The comments behind the columns of the outermost SELECT, by the column's name.
fn column_docs(query: &ast::Query, text: &str) -> BTreeMap<String, String> {
    let Some(select) = outermost(&query.body) else { return BTreeMap::new() };
    let comments = item_comments(text);
    // Counted differently from the parser: better no docs than wrong ones.
    if comments.len() != select.projection.len() {
        return BTreeMap::new();
    }
    let named = select.projection.iter().zip(comments);
    named.filter_map(|(item, comment)| Some((output_name(item)?, comment?))).collect()
}

/// The SELECT that names the columns; of a UNION the first.
fn outermost(body: &SetExpr) -> Option<&ast::Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::SetOperation { left, .. } => outermost(left),
        _ => None,
    }
}

fn output_name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(sql::normalized(alias)),
        SelectItem::UnnamedExpr(Expr::Identifier(ident)) => Some(sql::normalized(ident)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(sql::normalized),
        _ => None,
    }
}

/// For every item of the outermost SELECT the comment at the end of its last line.
fn item_comments(text: &str) -> Vec<Option<String>> {
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location() else {
        return Vec::new();
    };
    let mut items: Vec<Option<String>> = Vec::new();
    let mut inside = false;
    let mut depth = 0_usize;
    let mut previous: Option<(&Token, u64)> = None;
    for token in &tokens {
        let line = token.span.start.line;
        if let Token::Whitespace(space) = &token.token {
            if let Whitespace::SingleLineComment { comment, .. } = space
                && inside
                && let Some((before, before_line)) = previous
                && before_line == line
                && depth == 0
            {
                // Behind a comma it belongs to the item that the comma ended.
                let behind_comma = usize::from(*before == Token::Comma);
                let item = items.len().checked_sub(1 + behind_comma);
                if let Some(slot) = item.and_then(|item| items.get_mut(item)) {
                    *slot = Some(comment.trim().to_owned()).filter(|text| !text.is_empty());
                }
            }
            continue;
        }
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            _ => {}
        }
        let word = match &token.token {
            Token::Word(word) if word.quote_style.is_none() => word.keyword,
            _ => Keyword::NoKeyword,
        };
        if !inside {
            if depth == 0 && word == Keyword::SELECT {
                inside = true;
                items.push(None);
            }
        } else if depth == 0
            && (token.token == Token::SemiColon || ends_items(word, previous.map(|(token, _)| token)))
        {
            break;
        } else if depth == 0 && token.token == Token::Comma {
            items.push(None);
        } else if previous.is_none_or(|(before, _)| *before != Token::Comma)
            && let Some(slot) = items.last_mut()
        {
            // The item goes on behind its comment: the comment was about a part of it.
            *slot = None;
        }
        previous = Some((&token.token, token.span.end.line));
    }
    items
}

/// Whether this keyword, outside of all brackets, ends the list of a SELECT.
fn ends_items(word: Keyword, previous: Option<&Token>) -> bool {
    let before = match previous {
        Some(Token::Word(word)) => word.keyword,
        _ => Keyword::NoKeyword,
    };
    match word {
        // x IS DISTINCT FROM y
        Keyword::FROM => before != Keyword::DISTINCT,
        // array_agg(x) WITHIN GROUP (ORDER BY y)
        Keyword::GROUP => before != Keyword::WITHIN,
        // SELECT * EXCEPT (a)
        Keyword::EXCEPT => previous != Some(&Token::Mul),
        Keyword::WHERE
        | Keyword::HAVING
        | Keyword::ORDER
        | Keyword::LIMIT
        | Keyword::OFFSET
        | Keyword::UNION
        | Keyword::INTERSECT
        | Keyword::QUALIFY
        | Keyword::WINDOW => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
