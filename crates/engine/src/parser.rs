//! DataFusion's SQL parser, kept from running for ever.
//!
//! When sqlparser fails inside of `CAST(…)`, `NOT (…)` and the like, it reads them once more as a call of a
//! function: a slip inside of thirty of them would be found 2³⁰ times. A dialect is asked before each operand,
//! which makes it the place to count them and to give up.

use std::{any::TypeId, cell::Cell, collections::VecDeque};

use datafusion::{
    common::{DataFusionError, Result},
    sql::{
        parser::{DFParser, DFParserBuilder, Statement},
        sqlparser::{
            ast::Expr,
            dialect::{Dialect, GenericDialect},
            parser::{Parser, ParserError},
        },
    },
};

/// How deep the SQL may nest.
const DEPTH_MAX: usize = 50;
/// Operands that may be begun, whatever the text, and for each of its bytes. One reading needs less than one a
/// byte.
const OPERANDS: usize = 10_000;
const OPERANDS_PER_BYTE: usize = 4;

/// The statements in `sql`.
pub(crate) fn statements(sql: &str) -> Result<VecDeque<Statement>> {
    with_parser(sql, |parser| parser.parse_statements())
}

/// What `parse` makes of `sql`.
pub(crate) fn with_parser<T>(
    sql: &str,
    parse: impl FnOnce(&mut DFParser<'_>) -> Result<T, DataFusionError>,
) -> Result<T> {
    let left = Cell::new(OPERANDS + OPERANDS_PER_BYTE * sql.len());
    let dialect = Bounded { left };
    let builder = DFParserBuilder::new(sql).with_dialect(&dialect).with_recursion_limit(DEPTH_MAX);
    parse(&mut builder.build()?)
}

/// The generic dialect, with an end.
#[derive(Debug)]
struct Bounded {
    /// Operands that may still be begun.
    left: Cell<usize>,
}

/// What the generic dialect says beside the defaults of all.
macro_rules! as_generic {
    ($($method:ident,)*) => { $(fn $method(&self) -> bool { GenericDialect.$method() })* };
}

impl Dialect for Bounded {
    fn parse_prefix(&self, _: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        match self.left.get().checked_sub(1) {
            None => Some(Err(ParserError::RecursionLimitExceeded)),
            Some(left) => {
                self.left.set(left);
                None
            }
        }
    }

    /// The parser asks for some dialects by type.
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_delimited_identifier_start(&self, c: char) -> bool {
        GenericDialect.is_delimited_identifier_start(c)
    }

    fn is_identifier_start(&self, c: char) -> bool {
        GenericDialect.is_identifier_start(c)
    }

    fn is_identifier_part(&self, c: char) -> bool {
        GenericDialect.is_identifier_part(c)
    }

    as_generic! {
        supports_unicode_string_literal,
        supports_partition_by_after_order_by,
        supports_array_join_syntax,
        supports_group_by_expr,
        supports_group_by_with_modifier,
        supports_left_associative_joins_without_parens,
        supports_connect_by,
        supports_match_recognize,
        supports_pipe_operator,
        supports_start_transaction_modifier,
        supports_window_function_null_treatment_arg,
        supports_dictionary_syntax,
        supports_window_clause_named_window_reference,
        supports_parenthesized_set_variables,
        supports_select_wildcard_except,
        support_map_literal_syntax,
        allow_extract_custom,
        allow_extract_single_quotes,
        supports_extract_comma_syntax,
        supports_create_view_comment_syntax,
        supports_parens_around_table_factor,
        supports_values_as_table_factor,
        supports_create_index_with_clause,
        supports_explain_with_utility_options,
        supports_limit_comma,
        supports_update_order_by,
        supports_from_first_select,
        supports_projection_trailing_commas,
        supports_asc_desc_in_column_definition,
        supports_try_convert,
        supports_bitwise_shift_operators,
        supports_comment_on,
        supports_load_extension,
        supports_named_fn_args_with_assignment_operator,
        supports_struct_literal,
        supports_empty_projections,
        supports_nested_comments,
        supports_multiline_comment_hints,
        supports_user_host_grantee,
        supports_string_escape_constant,
        supports_array_typedef_with_brackets,
        supports_match_against,
        supports_set_names,
        supports_comma_separated_set_assignments,
        supports_filter_during_aggregation,
        supports_select_wildcard_exclude,
        supports_data_type_signed_suffix,
        supports_interval_options,
        supports_quote_delimited_string,
        supports_select_wildcard_replace,
        supports_select_wildcard_ilike,
        supports_select_wildcard_rename,
        supports_optimize_table,
        supports_install,
        supports_detach,
        supports_prewhere,
        supports_with_fill,
        supports_limit_by,
        supports_interpolate,
        supports_settings,
        supports_select_format,
        supports_comment_optimizer_hint,
        supports_constraint_keyword_without_name,
        supports_key_column_option,
        supports_comma_separated_trim,
        supports_cte_without_as,
        supports_select_item_multi_column_alias,
        supports_xml_expressions,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_inside_of_many_calls_is_found_in_time() {
        for begin in ["CAST(", "NOT (", "SUBSTRING(", "EXTRACT(", "CASE WHEN (", "(SELECT ", "ARRAY[", "f("] {
            let sql = format!("SELECT {}1 +", begin.repeat(45));
            assert!(statements(&sql).is_err(), "{begin}");
            let sql = format!("SELECT * FROM {}a", begin.repeat(45));
            assert!(statements(&sql).is_err(), "{begin}");
        }
    }

    #[test]
    fn long_and_deep_texts_are_read() {
        let list = format!("SELECT * FROM t WHERE a IN ({})", vec!["1"; 100_000].join(","));
        assert_eq!(statements(&list).unwrap().len(), 1);
        let deep = format!("SELECT {}a{} FROM t", "CAST(".repeat(30), " AS TEXT)".repeat(30));
        assert_eq!(statements(&deep).unwrap().len(), 1);
        let chain = format!("SELECT {}", vec!["CAST(a AS INT)"; 5_000].join(" + "));
        assert_eq!(statements(&chain).unwrap().len(), 1);
    }

    /// A new version of sqlparser may let its generic dialect do more.
    #[test]
    fn all_is_read_as_by_the_generic_dialect() {
        for sql in [
            "SELECT * EXCEPT (a), b, FROM t",
            "SELECT {'a': 1}, [1, 2][1], a -> 'b', MAP {'x': 1}, e'\\n', x'00'",
            "SELECT count(*) FILTER (WHERE a > 1), first_value(a IGNORE NULLS) OVER w FROM t WINDOW w AS (ORDER BY a)",
            "FROM t SELECT a",
            "SELECT a FROM t QUALIFY row_number() OVER (PARTITION BY a ORDER BY b DESC NULLS LAST) = 1",
            "SELECT a, sum(b) FROM t GROUP BY ROLLUP (a) ORDER BY ALL LIMIT 1, 2",
            "SELECT CAST(a AS DECIMAL(38, 10)), a::INT, TRY_CAST(b AS DATE), INTERVAL '1 day', DATE '2024-01-01'",
            "WITH RECURSIVE t AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT * FROM t",
            "SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS t(a, b) CROSS JOIN UNNEST([1, 2])",
            "SELECT /* a /* nested */ comment */ \"Quoted\", `tick` FROM a.b TABLESAMPLE (10 PERCENT)",
        ] {
            let generic = DFParserBuilder::new(sql).build().unwrap().parse_statements();
            let (ours, generic) = (statements(sql), generic);
            assert_eq!(ours.is_ok(), generic.is_ok(), "{sql}");
            assert_eq!(ours.ok(), generic.ok(), "{sql}");
        }
    }
}
