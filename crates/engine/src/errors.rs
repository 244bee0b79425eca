//! From DataFusion's errors to ours: the code, the place inside the SQL text, clean words, a suggestion.

use std::sync::Arc;

use arrow::error::ArrowError;
use datafusion::{
    common::{Column, DataFusionError, Diagnostic, SchemaError},
    parquet::errors::ParquetError,
    sql::sqlparser::parser::ParserError,
};
use lagar_flow::{Code, Error, codes};

use crate::{
    sql::{self, Spot},
    suggest,
};

/// The keywords a statement or clause begins with: what a typo there was meant to be.
const KEYWORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "ORDER",
    "HAVING",
    "LIMIT",
    "UNION",
    "JOIN",
    "LEFT",
    "RIGHT",
    "INNER",
    "FULL",
    "WITH",
    "VALUES",
    "DISTINCT",
    "BETWEEN",
    "EXCEPT",
    "INTERSECT",
    "QUALIFY",
    "EXPLAIN",
    "DESCRIBE",
    "SHOW",
];

/// All problems that planning found, as one error. Places are inside `sql`, their file name is empty.
pub(crate) fn planning(error: &DataFusionError, sql: &str) -> Error {
    let mut found = Vec::new();
    collect(error, None, sql, &mut found);
    // One mistake is often met on several ways through the planner.
    let mut unique: Vec<Error> = Vec::new();
    for error in found {
        if !unique.iter().any(|seen| seen.message() == error.message() && seen.place() == error.place()) {
            unique.push(error);
        }
    }
    Error::all(unique).unwrap_or_else(|| Error::bug("planning failed without an error"))
}

/// Whether a query is refused because two columns of its plan have the same name.
pub(crate) fn is_of_a_name_twice(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::SchemaError(error, _) => matches!(
            error.as_ref(),
            SchemaError::DuplicateQualifiedField { .. }
                | SchemaError::DuplicateUnqualifiedField { .. }
                | SchemaError::AmbiguousReference { .. }
        ),
        DataFusionError::Plan(message) => message.contains(NAMES_NOT_UNIQUE),
        _ => false,
    }
}

/// The error of a query that was running.
pub(crate) fn execution(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => execution(inner),
        DataFusionError::Shared(inner) => execution(inner),
        DataFusionError::Collection(inner) => {
            inner.first().map_or_else(|| Error::bug("a query failed without an error"), execution)
        }
        DataFusionError::Execution(message) | DataFusionError::Plan(message) => {
            Error::new(codes::SQL_EXECUTION, clean(message))
        }
        DataFusionError::ExecutionJoin(join) => Error::bug(format!("a task of the query broke off: {join}")),
        other => common(other, codes::SQL_EXECUTION),
    }
}

fn collect(error: &DataFusionError, diagnostic: Option<&Diagnostic>, sql: &str, found: &mut Vec<Error>) {
    match error {
        DataFusionError::Collection(errors) => {
            for error in errors {
                collect(error, None, sql, found);
            }
        }
        DataFusionError::Context(_, inner) => collect(inner, diagnostic, sql, found),
        DataFusionError::Shared(inner) => collect(inner, diagnostic, sql, found),
        DataFusionError::Diagnostic(outer, inner) => {
            let with_place = outer.span.is_some() || diagnostic.is_none();
            collect(inner, if with_place { Some(outer) } else { diagnostic }, sql, found);
        }
        leaf => {
            let error = problem(leaf, diagnostic, sql);
            let spot = diagnostic
                .and_then(|diagnostic| diagnostic.span)
                .map(|span| (span.start.line as usize, span.start.column as usize));
            found.push(match spot {
                Some((line, column)) => error.at("", line, column),
                None => error,
            });
        }
    }
}

/// One error of planning; without the place unless only the text says it.
fn problem(error: &DataFusionError, diagnostic: Option<&Diagnostic>, sql: &str) -> Error {
    match error {
        DataFusionError::SQL(error, _) => syntax(error, sql),
        DataFusionError::SchemaError(error, _) => schema(error, sql),
        DataFusionError::Plan(message) => plan(message, diagnostic, sql),
        DataFusionError::NotImplemented(message) => {
            let message = clean(message);
            Error::new(codes::SQL_PLAN, format!("this SQL is not supported: {message}"))
        }
        DataFusionError::Execution(message) | DataFusionError::Configuration(message) => {
            Error::new(codes::SQL_PLAN, clean(message))
        }
        other => common(other, codes::SQL_PLAN),
    }
}

/// What can happen while planning and while running.
fn common(error: &DataFusionError, otherwise: Code) -> Error {
    match error {
        DataFusionError::External(inner) => external(inner.as_ref(), otherwise),
        DataFusionError::ArrowError(inner, _) => arrow(inner, otherwise),
        DataFusionError::ResourcesExhausted(message) => exhausted(message),
        DataFusionError::ObjectStore(inner) => store(inner),
        DataFusionError::ParquetError(inner) => parquet(inner, otherwise),
        DataFusionError::IoError(inner) => spill_io(inner),
        DataFusionError::Internal(message) => {
            Error::new(codes::BUG, format!("the query engine failed: {}", clean(message)))
                .hint("write the query in another way, and report this one")
        }
        other => Error::new(otherwise, clean(&other.message())),
    }
}

/// Our own errors travel through DataFusion in a box.
fn external(error: &(dyn std::error::Error + Send + Sync + 'static), otherwise: Code) -> Error {
    if let Some(ours) = error.downcast_ref::<Error>() {
        return ours.clone();
    }
    if let Some(inner) = error.downcast_ref::<DataFusionError>() {
        return execution(inner);
    }
    if let Some(inner) = error.downcast_ref::<Arc<DataFusionError>>() {
        return execution(inner);
    }
    if let Some(inner) = error.downcast_ref::<ArrowError>() {
        return arrow(inner, otherwise);
    }
    if let Some(inner) = error.downcast_ref::<object_store::Error>() {
        return store(inner);
    }
    if let Some(inner) = error.downcast_ref::<std::io::Error>() {
        return io(inner);
    }
    Error::new(otherwise, clean(&error.to_string()))
}

fn arrow(error: &ArrowError, otherwise: Code) -> Error {
    match error {
        ArrowError::ExternalError(inner) => external(inner.as_ref(), otherwise),
        ArrowError::DivideByZero => Error::new(otherwise, "a number is divided by zero")
            .hint("write `x / NULLIF(y, 0)`: the result is then NULL"),
        ArrowError::CastError(message) => Error::new(otherwise, clean(message))
            .hint("TRY_CAST(x AS type) gives NULL for a value that does not fit"),
        ArrowError::ArithmeticOverflow(message) => {
            Error::new(otherwise, format!("a number became too large: {message}"))
        }
        ArrowError::MemoryError(message) => exhausted(message),
        ArrowError::IoError(_, inner) => spill_io(inner),
        other => Error::new(otherwise, clean(&other.to_string())),
    }
}

fn parquet(error: &ParquetError, otherwise: Code) -> Error {
    match error {
        ParquetError::External(inner) => external(inner.as_ref(), otherwise),
        ParquetError::ArrowError(message) => Error::new(otherwise, clean(message)),
        other => Error::new(codes::LAKE_CORRUPT, format!("a Parquet file cannot be read: {other}"))
            .hint("if somebody changed or removed files of the lake, `lagar releases rollback` to a release that has them"),
    }
}

fn store(error: &object_store::Error) -> Error {
    use object_store::Error as Store;
    let shown = error.to_string();
    match error {
        Store::NotFound { path, .. } => {
            Error::new(codes::LAKE_CORRUPT, format!("`{path}` is missing in the lake"))
        }
        Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => {
            Error::new(codes::LAKE_DENIED, shown)
        }
        // Our own: what was read is not what was written.
        Store::Generic { source, .. } if source.is::<Error>() => external(source.as_ref(), codes::LAKE_STORE),
        _ => Error::new(codes::LAKE_STORE, shown),
    }
}

fn io(error: &std::io::Error) -> Error {
    if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<DataFusionError>()) {
        return execution(inner);
    }
    let text = error.to_string();
    if text.contains("spilling process") {
        return exhausted(&text);
    }
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            Error::new(codes::LAKE_SPACE, "there is no space left for temporary files").caused_by(error)
        }
        _ => Error::new(codes::SQL_EXECUTION, "a file cannot be read or written").caused_by(error),
    }
}

/// The only files that DataFusion opens itself are those that it spills to: tables are read by us.
fn spill_io(error: &std::io::Error) -> Error {
    match io(error) {
        other if other.code() == codes::SQL_EXECUTION => Error::new(
            codes::SPILL,
            "a temporary file of the query cannot be written or read",
        )
        .caused_by(error)
        .hint(
            "leave the folder `.lagar/tmp` of the project alone while Lagar runs, and let it be written to",
        ),
        told => told,
    }
}

/// Out of memory, or out of spill space.
fn exhausted(message: &str) -> Error {
    if message.contains("disk space") || message.contains("temp_directory_size") {
        return Error::new(
            codes::SPILL,
            format!("the query needs more spill space than allowed: {}", clean(message)),
        )
        .hint("raise `limits: {spill: …}` in lagar.yaml, or read less at once");
    }
    Error::new(codes::MEMORY, format!("the query needs more memory than allowed: {}", memory_words(message)))
        .hint("raise `limits: {memory: …}` in lagar.yaml, join and group fewer columns, or filter earlier")
}

/// The first sentence of the pool's report and its biggest consumer; the rest names every partition.
fn memory_words(message: &str) -> String {
    let first = message
        .lines()
        .map(str::trim)
        .find(|line| line.contains("consumed"))
        .map(|line| line.trim_end_matches([',', '.']).to_owned());
    let wanted = message.lines().map(str::trim).find(|line| line.contains("Failed to allocate"));
    let wanted = wanted.map(|line| {
        let line = line.split("Error: ").last().unwrap_or(line);
        line.split(" for the total memory pool").next().unwrap_or(line).to_owned()
    });
    match (wanted, first) {
        (Some(wanted), Some(first)) => format!("{wanted}; the largest part is {first}"),
        (Some(text), None) | (None, Some(text)) => text,
        (None, None) => clean(message),
    }
}

fn syntax(error: &ParserError, sql: &str) -> Error {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => {
            return Error::new(codes::SQL_SYNTAX, "the SQL is nested too deep").at("", 1, 1);
        }
    };
    let (text, spot) = split_location(text);
    let spot = spot.or_else(|| sql::last_token(sql));
    let mut error = Error::new(codes::SQL_SYNTAX, syntax_words(text));
    if let Some((line, column)) = spot {
        error = error.at("", line, column);
    }
    let word = text.rsplit_once("found: ").map(|(_, found)| found.trim());
    match word.and_then(|word| suggest::nearest(word, KEYWORDS.iter().copied())) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None if text.contains("Unterminated string") => error.hint("a quotation mark is not closed"),
        None if text.contains("found: EOF") => {
            error.hint("the query ends too early: is a bracket or a part missing?")
        }
        None => error,
    }
}

fn syntax_words(text: &str) -> String {
    let text = clean(text);
    match text.strip_prefix("Expected: ").and_then(|rest| rest.rsplit_once(", found: ")) {
        Some((expected, "EOF")) => format!("{expected} is expected at the end"),
        Some((expected, found)) => format!("{expected} is expected, not `{found}`"),
        None => text,
    }
}

/// Cuts " at Line: 2, Column: 5" off a message of the parser.
fn split_location(text: &str) -> (&str, Option<Spot>) {
    let Some((head, tail)) = text.rsplit_once(" at Line: ") else { return (text, None) };
    let spot = tail.split_once(", Column: ").and_then(|(line, column)| {
        let digits = column.split(|c: char| !c.is_ascii_digit()).next()?;
        Some((line.trim().parse().ok()?, digits.parse().ok()?))
    });
    (head, spot)
}

fn schema(error: &SchemaError, sql: &str) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => unknown_column(field, valid_fields, sql),
        // Not a name that was read, but two columns that come out: `SELECT t.a, t.b AS a`.
        SchemaError::AmbiguousReference { field } if field.relation.is_some() => twice(&field.name, sql),
        SchemaError::AmbiguousReference { field } => {
            let error = Error::new(
                codes::SQL_PLAN,
                format!("`{}` could be a column of more than one table", field.name),
            );
            located(error, sql, None, &field.name)
                .hint(format!("write the table in front: `table.{}`", field.name))
        }
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => twice(name, sql),
    }
}

fn unknown_column(field: &Column, valid: &[Column], sql: &str) -> Error {
    let relation = field.relation.as_ref().map(short_table);
    let of_table = |column: &&Column| match (&column.relation, &field.relation) {
        (Some(table), Some(named)) => table.table() == named.table(),
        _ => false,
    };
    let message = match &relation {
        Some(table) if !valid.iter().any(|column| of_table(&column)) => {
            format!("`{table}` is not a table or alias of this query")
        }
        Some(table) => format!("`{table}` has no column `{}`", field.name),
        None => format!("there is no column `{}`", field.name),
    };
    let error =
        located(Error::new(codes::SQL_UNKNOWN_COLUMN, message), sql, relation.as_deref(), &field.name);
    let same_name = valid.iter().find(|column| column.name.eq_ignore_ascii_case(&field.name));
    if let Some(column) = same_name.filter(|column| column.name != field.name) {
        let quoted = column.name.chars().any(char::is_uppercase);
        return match quoted {
            true => error.hint(format!(
                "names are read in lower case; write it in quotation marks: \"{}\"",
                column.name
            )),
            false => error.hint(format!("did you mean `{}`?", column.name)),
        };
    }
    if let Some(table) = same_name.and_then(|column| column.relation.as_ref()) {
        return error.hint(format!("`{}` is a column of `{}`", field.name, short_table(table)));
    }
    // Columns of the table that was named come first.
    let near: Vec<&str> = valid.iter().filter(of_table).map(|column| column.name.as_str()).collect();
    let names =
        if near.is_empty() { valid.iter().map(|column| column.name.as_str()).collect() } else { near };
    match suggest::hint(&field.name, names.iter().copied()) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// `trusted.orders` for our catalog's `lagar.trusted.orders`.
fn short_table(table: &datafusion::common::TableReference) -> String {
    match table.schema() {
        Some(schema) => format!("{schema}.{}", table.table()),
        None => table.table().to_owned(),
    }
}

/// Adds the place where `name` stands in the SQL, for the errors that DataFusion gives no place.
fn located(error: Error, sql: &str, relation: Option<&str>, name: &str) -> Error {
    match sql::find_identifier(sql, relation, name) {
        Some((line, column)) => error.at("", line, column),
        None => error,
    }
}

fn plan(message: &str, diagnostic: Option<&Diagnostic>, sql: &str) -> Error {
    let text = clean(message);
    if let Some((name, near)) = unknown_function(&text) {
        let error = Error::new(codes::SQL_PLAN, format!("there is no function `{name}`"));
        let error = located(error, sql, None, &name);
        return match near {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        };
    }
    if let Some(error) =
        wrong_argument(&text, sql).or_else(|| not_grouped(&text)).or_else(|| same_name(&text, sql))
    {
        return error;
    }
    let help = diagnostic.and_then(|diagnostic| diagnostic.helps.first()).map(|help| help.message.clone());
    // "Function 'lower' expects 1 arguments but received 2. No function matches the given name and argument
    // types …. You might need to add explicit type casts.\n\tCandidate functions:…"
    let (head, candidates) =
        text.split_once("Candidate functions:").map_or((text.as_str(), None), |(head, list)| {
            (head, list.trim().lines().next().map(|first| format!("it takes `{}`", first.trim())))
        });
    let head = head.split(" No function matches the given name").next().unwrap_or(head);
    // What follows is the parser's inside.
    let head = head.split(" Substring {").next().unwrap_or(head).trim();
    let head = head.replace("user-defined coercion failed with: Execution error: ", "");
    let name = head.strip_prefix("Function '").and_then(|rest| rest.split('\'').next()).map(str::to_owned);
    let error = Error::new(codes::SQL_PLAN, head);
    let error = match name {
        Some(name) => located(error, sql, None, &name),
        None => error,
    };
    match help.or(candidates) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// "… column "trusted.orders.total" must appear in the GROUP BY clause or must be part of an aggregate …"
fn not_grouped(text: &str) -> Option<Error> {
    let (head, _) = text.split_once("\" must appear in the GROUP BY clause")?;
    let column = head.rsplit('"').next()?.rsplit('.').next()?;
    Some(
        Error::new(
            codes::SQL_PLAN,
            format!("`{column}` is neither in GROUP BY nor inside of an aggregate function"),
        )
        .hint(format!("add `{column}` to GROUP BY, or write for example MAX({column})")),
    )
}

/// What DataFusion says of two columns with the same name, behind the word for where they stand.
const NAMES_NOT_UNIQUE: &str = " require unique expression names but the expression \"";

/// "Projections require unique expression names but the expression "x AS a" at position 0 and …"
fn same_name(text: &str, sql: &str) -> Option<Error> {
    let (_, rest) = text.split_once(NAMES_NOT_UNIQUE)?;
    let first = rest.split("\" at position").next()?;
    let name = match is_computed(first) {
        true => first,
        false => first.rsplit(" AS ").next().unwrap_or(first).rsplit('.').next().unwrap_or(first),
    };
    Some(twice(name, sql))
}

/// Two columns called `name`.
fn twice(name: &str, sql: &str) -> Error {
    let error = Error::new(codes::SQL_PLAN, format!("the column `{name}` comes out twice"));
    located(error, sql, None, name).hint(match is_computed(name) {
        true => "give one of them a name of its own: `… AS name`".to_owned(),
        false => format!("give one of them another name: `… AS {name}_2`"),
    })
}

/// Whether a column of that name was given none.
fn is_computed(name: &str) -> bool {
    name.ends_with(')')
}

/// "Function 'sum' failed to match any signature, errors: … requires Decimal, but received String
/// (DataType: Utf8).,…" in one sentence.
fn wrong_argument(text: &str, sql: &str) -> Option<Error> {
    let (head, list) = text.split_once(" failed to match any signature, errors: ")?;
    let name = head.strip_prefix("Function ")?.trim_matches('\'');
    let got =
        list.split("(DataType: ").nth(1).and_then(|rest| rest.split(')').next()).unwrap_or("these arguments");
    let mut takes: Vec<&str> = Vec::new();
    for part in list.split(" requires ").skip(1) {
        let one = part.split(", but").next().unwrap_or(part);
        if !takes.contains(&one) {
            takes.push(one);
        }
    }
    let error = Error::new(codes::SQL_PLAN, format!("`{name}` does not take {got}"));
    let error = located(error, sql, None, name);
    Some(if takes.is_empty() {
        error
    } else {
        error.hint(format!("it takes {}; CAST the value", takes.join(", ")))
    })
}

/// The name and the suggestion of "Invalid function 'sumx'.\nDid you mean 'sum'?".
fn unknown_function(text: &str) -> Option<(String, Option<String>)> {
    let rest = text.strip_prefix("Invalid function '")?;
    let (name, rest) = rest.split_once('\'')?;
    let near =
        rest.split_once("Did you mean '").and_then(|(_, near)| near.split_once('\'')).map(|(near, _)| near);
    // DataFusion suggests something however far away it is.
    let near = near.filter(|near| suggest::nearest(name, [*near]).is_some());
    Some((name.to_owned(), near.map(str::to_owned)))
}

/// The prefixes with which DataFusion and Arrow nest their texts say nothing to a user.
const PREFIXES: &[&str] = &[
    "Error during planning: ",
    "Execution error: ",
    "External error: ",
    "Arrow error: ",
    "Schema error: ",
    "SQL error: ",
    "sql parser error: ",
    "Parser error: ",
    "Invalid argument error: ",
    "Compute error: ",
    "Cast error: ",
    "Optimizer rule ",
    "Internal error: ",
    "This feature is not implemented: ",
    "type_coercion",
    "caused by",
];

fn clean(text: &str) -> String {
    let mut text = text.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or(text).trim();
    text = text.split(".\nThis issue was likely caused by a bug").next().unwrap_or(text);
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest.trim_start();
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_taken_off() {
        assert_eq!(clean("type_coercion\ncaused by\nError during planning: Cannot coerce"), "Cannot coerce");
        let (text, spot) = split_location("Expected: a, found: b at Line: 12, Column: 7");
        assert_eq!((text, spot), ("Expected: a, found: b", Some((12, 7))));
    }

    #[test]
    fn an_error_of_ours_comes_back_as_it_was() {
        let ours = Error::new(codes::SOURCE_CHANGED, "it changed").hint("again").at("f", 1, 2);
        let boxed = DataFusionError::External(Box::new(ours));
        let nested = DataFusionError::Shared(Arc::new(DataFusionError::ArrowError(
            Box::new(ArrowError::ExternalError(Box::new(boxed))),
            None,
        )));
        let back = execution(&nested);
        assert_eq!(
            (back.code(), back.message(), back.hint_text()),
            (codes::SOURCE_CHANGED, "it changed", Some("again"))
        );
        assert_eq!(back.place().map(ToString::to_string).as_deref(), Some("f:1:2"));
    }

    #[test]
    fn memory_and_spill_space_are_told_apart() {
        let spill =
            "The used disk space during the spilling process has exceeded the allowable limit of 1 MB.";
        assert_eq!(exhausted(spill).code(), codes::SPILL);
        let memory = "Additional allocation failed for ExternalSorter[0] with top memory consumers (across reservations) as:\n  \
            HashJoinInput[0]#3(can spill: false) consumed 5.0 MB, peak 5.0 MB,\n  X#4(can spill: true) consumed 0.0 B, peak 0.0 B.\nError: Failed \
            to allocate additional 10.0 MB for ExternalSorter[0] with 0.0 B already allocated for this reservation - 1.0 MB remain available for the total memory pool: fair(pool_size: 6.0 MB)";
        let error = exhausted(memory);
        assert_eq!(error.code(), codes::MEMORY);
        assert!(error.message().contains("HashJoinInput[0]#3"), "{}", error.message());
        assert!(!error.message().contains('\n'), "{}", error.message());
    }
}
