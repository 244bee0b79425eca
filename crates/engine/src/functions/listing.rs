//! Our functions in SHOW FUNCTIONS, which lists those alone whose signature is a list of types.

use datafusion::sql::{
    parser::Statement,
    sqlparser::ast::{self, ShowStatementFilter},
};

use super::{FUNCTIONS, Function};
use crate::sql::literal;

/// The query for the rows that SHOW FUNCTIONS leaves out; `None` for other statements.
pub(crate) fn listing(statement: &Statement) -> Option<String> {
    let Statement::Statement(statement) = statement else { return None };
    let ast::Statement::ShowFunctions { filter } = statement.as_ref() else { return None };
    let condition = match filter {
        Some(ShowStatementFilter::Like(pattern)) => format!(" WHERE name LIKE {}", literal(pattern)),
        _ => String::new(),
    };
    let rows: Vec<String> = FUNCTIONS.iter().map(row).collect();
    Some(format!(
        "SELECT name AS function_name, returns AS return_type, parameters, types AS parameter_types, \
         'SCALAR' AS function_type, description, syntax AS syntax_example \
         FROM (VALUES {}) AS f(name, returns, parameters, types, description, syntax){condition}",
        rows.join(", ")
    ))
}

fn row(function: &Function) -> String {
    let array = |texts: Vec<&str>| {
        let texts: Vec<String> = texts.into_iter().map(literal).collect();
        format!("make_array({})", texts.join(", "))
    };
    // What stands between the parentheses: `text [, format]`.
    let between = function.syntax.trim_start_matches(function.name).trim_matches(['(', ')']);
    let parameters = between.split(',').map(|name| name.trim_matches(['[', ']', ' ', '\''])).collect();
    let types = function.takes.iter().map(|takes| takes.words()).collect();
    let returns = (function.returns)().to_string();
    let [name, returns, description, syntax] =
        [function.name, &returns, function.description, function.syntax].map(literal);
    format!("({name}, {returns}, {}, {}, {description}, {syntax})", array(parameters), array(types))
}
