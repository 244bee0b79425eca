//! The SQL of a table that holds the newest row of each key. Pure: [`crate::Session`] runs it.
//!
//! Of two rows of a key the one with the higher `latest_by` wins, column by column, a null below
//! everything. Where they are alike the row of the later load wins, and a new row an old one; inside one load
//! the values decide, so that the order in which rows come does not.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, Schema};

use crate::raw_table::LOAD_ORDER;
use crate::{
    checks::FAILED_CHECK,
    front_matter::FrontMatter,
    row_hash::ROW_HASH,
    sql::{literal, quote},
};

/// The schema of tables that a merge makes for itself.
pub(crate) const STAGED: &str = "staged";
/// What the SELECT made, with the order of its loads ([`crate::Session::stage_query`]).
pub const SELECTED: &str = "selected";
/// The newest of the new rows of each key.
pub const FRESH: &str = "fresh";
/// The files of the table in which a fresh key may be, with [`FILE`].
pub const CANDIDATES: &str = "candidates";
/// Those in which one is, with [`FILE`].
pub const TOUCHED: &str = "touched";
/// Those of them in which no row changes.
pub const STAYING: &str = "staying";
/// The others, which are written again.
pub const REWRITTEN: &str = "rewritten";
/// Rows that a check left out, with its name.
pub const LEFT_OUT: &str = "left_out";
/// The number of a row's file.
pub const FILE: &str = "__lagar_file";

const RANK: &str = "__lagar_rank";
const NUMBER: &str = "__lagar_number";
const HASH: &str = "__lagar_hash";

/// How rows are chosen.
#[derive(Debug, Clone, Copy)]
pub struct Merge<'a> {
    key: &'a [String],
    latest_by: &'a [String],
}

impl<'a> Merge<'a> {
    pub fn of(front: &'a FrontMatter) -> Self {
        Self { key: &front.key, latest_by: &front.latest_by }
    }

    /// The newest of the rows of each key in [`SELECTED`], which has `columns`. `dropping`: it has behind them
    /// the column of a [`crate::checks::drop_query`], and all rows that fail a check are given out with it: they
    /// are left out before the newest is chosen, and take no other's place. `latest` carries out both in one
    /// pass over the rows.
    pub fn newest(&self, columns: &[String], dropping: bool) -> String {
        let all = list(columns);
        let order = self.order(&[LOAD_ORDER, HASH]);
        let (result, partition, also) = match dropping {
            false => (all.clone(), list(self.key), String::new()),
            true => {
                let failed = quote(FAILED_CHECK);
                let partition = format!("{}, {failed}", list(self.key));
                (format!("{all}, {failed}"), partition, format!(" OR {failed} IS NOT NULL"))
            }
        };
        format!(
            "SELECT {result} FROM (
  SELECT *, row_number() OVER (PARTITION BY {partition} ORDER BY {order}) AS {NUMBER} FROM (
    SELECT *, {ROW_HASH}({all}) AS {HASH} FROM {STAGED}.{SELECTED})) WHERE {NUMBER} = 1{also}"
        )
    }

    /// Of each file of [`CANDIDATES`] in which a fresh key is: its number, and how many are.
    pub fn touched(&self) -> String {
        format!(
            "SELECT o.{FILE}, count(*) AS rows FROM {STAGED}.{CANDIDATES} o LEFT SEMI JOIN {STAGED}.{FRESH} n ON {}
GROUP BY o.{FILE}",
            self.same_key("o", "n")
        )
    }

    /// Of each file of [`TOUCHED`] in which a row changes: its number, and how many do.
    pub fn changed(&self, columns: &[String]) -> String {
        format!(
            "SELECT o.{FILE}, count(*) AS rows FROM {STAGED}.{TOUCHED} o JOIN {STAGED}.{FRESH} n ON {}
WHERE NOT ({}) AND {ROW_HASH}({}) <> {ROW_HASH}({}) GROUP BY o.{FILE}",
            self.same_key("o", "n"),
            newer(self.latest_by),
            list_of("o", columns),
            list_of("n", columns),
        )
    }

    /// The rows of [`REWRITTEN`] and the fresh ones, the newest of each key, in the order of `sorted_by` and
    /// the key. `some_stay`: fresh rows whose key is in [`STAYING`] are left out.
    pub fn rewrite(&self, columns: &[String], sorted_by: &[String], some_stay: bool) -> String {
        let all = list(columns);
        let order = self.order(&[RANK]);
        let stay = match some_stay {
            true => format!(" LEFT ANTI JOIN {STAGED}.{STAYING} o ON {}", self.same_key("n", "o")),
            false => String::new(),
        };
        format!(
            "SELECT {all} FROM (
  SELECT *, row_number() OVER (PARTITION BY {key} ORDER BY {order}) AS {NUMBER} FROM (
    SELECT {all}, 0 AS {RANK} FROM {STAGED}.{REWRITTEN}
    UNION ALL SELECT {new}, 1 AS {RANK} FROM {STAGED}.{FRESH} n{stay})) WHERE {NUMBER} = 1 ORDER BY {sorted}",
            key = list(self.key),
            new = list_of("n", columns),
            sorted = list(&[sorted_by, self.key].concat()),
        )
    }

    fn order(&self, then: &[&str]) -> String {
        let latest = self.latest_by.iter().map(|column| quote(column));
        let all = latest.chain(then.iter().map(ToString::to_string));
        all.map(|column| format!("{column} DESC NULLS LAST")).collect::<Vec<_>>().join(", ")
    }

    fn same_key(&self, a: &str, b: &str) -> String {
        let same = self.key.iter().map(|column| format!("{a}.{c} = {b}.{c}", c = quote(column)));
        same.collect::<Vec<_>>().join(" AND ")
    }
}

/// Whether `o` is newer than `n` by `columns`; never null.
fn newer(columns: &[String]) -> String {
    let Some((first, rest)) = columns.split_first() else { return "FALSE".to_owned() };
    let c = quote(first);
    format!(
        "COALESCE(o.{c} > n.{c}, o.{c} IS NOT NULL AND n.{c} IS NULL) OR ((o.{c} IS NOT DISTINCT FROM n.{c}) AND ({}))",
        newer(rest)
    )
}

fn list(columns: &[String]) -> String {
    columns.iter().map(|column| quote(column)).collect::<Vec<_>>().join(", ")
}

fn list_of(table: &str, columns: &[String]) -> String {
    columns.iter().map(|column| format!("{table}.{}", quote(column))).collect::<Vec<_>>().join(", ")
}

/// The values of `columns` that the rows of `sql` have, each set of them once.
pub fn distinct_values(sql: &str, columns: &[String]) -> String {
    format!("SELECT DISTINCT {} FROM (\n{sql}\n) AS result", list(columns))
}

/// The rows of `sql`, which has the columns of `wanted`, and those of [`LEFT_OUT`], which has the columns of
/// `there`.
pub fn with_left_out(sql: &str, wanted: &Schema, there: &Schema) -> String {
    let names: Vec<String> = wanted.fields().iter().map(|field| field.name().clone()).collect();
    let back = names.iter().map(|name| match there.column_with_name(name) {
        Some(_) => quote(name),
        None => format!("NULL AS {}", quote(name)),
    });
    let back = back.collect::<Vec<_>>().join(", ");
    let all = list(&names);
    format!("SELECT {all} FROM (\n{sql}\n) AS result UNION ALL SELECT {back} FROM {STAGED}.{LEFT_OUT}")
}

/// All of [`LEFT_OUT`].
pub fn all_left_out() -> String {
    format!("SELECT * FROM {STAGED}.{LEFT_OUT}")
}

/// Values that a column may have, as [`lagar_lake::partition_values`] writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOf {
    pub column: String,
    pub values: BTreeSet<Option<String>>,
}

/// The rows of `sql`, which has the columns of `schema`, that have one of the given values in each column.
pub fn only_values(sql: &str, schema: &Schema, given: &[OneOf]) -> String {
    let conditions: Vec<String> = given
        .iter()
        .map(|given| {
            let field = schema.field_with_name(&given.column);
            one_of(given, field.map_or(&DataType::Utf8, |field| field.data_type()))
        })
        .collect();
    format!("SELECT * FROM (\n{sql}\n) AS result WHERE {}", conditions.join(" AND "))
}

fn one_of(given: &OneOf, data_type: &DataType) -> String {
    // The values are those of the files; the query's own column may have another zone or finer digits.
    let column = match data_type {
        DataType::Timestamp(..) => as_stored(&quote(&given.column), data_type),
        _ => quote(&given.column),
    };
    let known: Vec<String> = given.values.iter().flatten().map(|value| value_of(value, data_type)).collect();
    let mut conditions = Vec::new();
    if !known.is_empty() {
        conditions.push(format!("{column} IN ({})", known.join(", ")));
    }
    if given.values.contains(&None) {
        conditions.push(format!("{column} IS NULL"));
        // As the name of a folder the empty text is no text.
        if data_type.is_string() {
            conditions.push(format!("{column} = ''"));
        }
    }
    match conditions.is_empty() {
        true => "FALSE".to_owned(),
        false => format!("({})", conditions.join(" OR ")),
    }
}

fn as_stored(expression: &str, data_type: &DataType) -> String {
    format!("arrow_cast({expression}, {})", literal(&data_type.to_string()))
}

/// A text is cast to the type of its column where the query is planned, but for those that SQL would rather
/// make texts of.
fn value_of(value: &str, data_type: &DataType) -> String {
    if let DataType::Timestamp(..) = data_type {
        return as_stored(&literal(value), data_type);
    }
    let plain = match data_type {
        DataType::Boolean => value.parse::<bool>().is_ok(),
        data_type if data_type.is_integer() => value.parse::<i64>().is_ok(),
        _ => false,
    };
    if plain { value.to_owned() } else { literal(value) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use arrow::{
        array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray},
        datatypes::Field,
    };

    use super::*;
    use crate::{
        Strategy, model,
        testing::{Place, rows, shown},
    };

    /// Rows with every pair of `a` and `b`, each against each: `old[k]` and `new[k]`.
    fn pairs() -> (RecordBatch, RecordBatch) {
        let a = [None, Some(1), Some(2)];
        let b = [None, Some(-1.0), Some(0.5), Some(f64::INFINITY), Some(f64::NAN)];
        let all: Vec<(Option<i64>, Option<f64>)> =
            a.iter().flat_map(|a| b.iter().map(move |b| (*a, *b))).collect();
        let both: Vec<_> = all.iter().flat_map(|old| all.iter().map(move |new| (*old, *new))).collect();
        let keys = || Arc::new(Int64Array::from_iter_values(0..both.len() as i64)) as ArrayRef;
        let batch = |rows: Vec<(Option<i64>, Option<f64>)>, v: &str| {
            let columns: Vec<(&str, ArrayRef)> = vec![
                ("k", keys()),
                ("a", Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>())),
                ("b", Arc::new(rows.iter().map(|row| row.1).collect::<Float64Array>())),
                ("v", Arc::new(StringArray::from_iter_values(rows.iter().map(|_| v)))),
                (FILE, keys()),
            ];
            RecordBatch::try_from_iter(columns).unwrap()
        };
        let (old, new) = both.iter().copied().unzip();
        (batch(old, "old"), batch(new, "new"))
    }

    /// What is counted as a change and what wins when it is written are told in two ways, which must agree.
    #[tokio::test]
    async fn what_changes_is_what_wins() {
        let model = model::parse(
            "trusted/t.sql",
            "/*---\nmaterialize: merge\nkey: [k]\nlatest_by: [a, b]\n---*/\nSELECT k, a, b, v FROM raw.x",
        )
        .unwrap();
        let merge = Merge::of(&model.front);
        let columns = ["k", "a", "b", "v"].map(str::to_owned);
        let place = Place::new().await;
        let session = place.engine.session();
        let (old, new) = pairs();
        let count = old.num_rows();
        for (name, batch) in [(CANDIDATES, &old), (TOUCHED, &old), (REWRITTEN, &old), (FRESH, &new)] {
            session.add_rows(STAGED, name, vec![batch.clone()], batch.schema()).unwrap();
        }
        assert_eq!(rows(&session, &merge.touched()).await.len(), count);
        let file_of = |row: &String| row.split_once('|').unwrap().0.parse::<i64>().unwrap();
        let changed: BTreeSet<i64> =
            rows(&session, &merge.changed(&columns)).await.iter().map(file_of).collect();
        let merged = rows(&session, &merge.rewrite(&columns, &[], false)).await;
        assert_eq!(merged.len(), count);
        let won: BTreeSet<i64> = merged.iter().filter(|row| row.ends_with("|new")).map(file_of).collect();
        assert_eq!(changed, won);
        // Each of the 15 values against itself, and above half of the others.
        assert_eq!(won.len(), 15 + 15 * 14 / 2);
        // Fresh rows whose key is in a file that stays are not written twice.
        session.add_rows(STAGED, STAYING, vec![old.slice(0, 100)], old.schema()).unwrap();
        session.add_rows(STAGED, REWRITTEN, vec![old.slice(100, 50)], old.schema()).unwrap();
        let merged = rows(&session, &merge.rewrite(&columns, &["a".to_owned()], true)).await;
        assert_eq!(merged.len(), count - 100);
    }

    /// All rows that fail a check come out, and of the others the newest; nothing is sorted for it.
    #[tokio::test]
    async fn rows_that_fail_a_check_are_left_out_before_the_newest_is_chosen() {
        let front = "/*---\nmaterialize: merge\nkey: [k]\nlatest_by: [a]\n---*/\n";
        let model = model::parse("trusted/t.sql", &format!("{front}SELECT k, a FROM raw.x")).unwrap();
        let sql = Merge::of(&model.front).newest(&["k", "a"].map(str::to_owned), true);
        let selected = "SELECT value % 17 AS k, value * 37 % 101 AS a, \
             CASE WHEN value * 37 % 101 > 90 THEN 'high' WHEN value % 17 = 3 THEN 'key' END AS _failed_check \
             FROM generate_series(1, 500) AS t(value)";
        let mut newest: BTreeMap<i32, i32> = BTreeMap::new();
        let mut expected = Vec::new();
        for (k, a) in (1..=500).map(|value| (value % 17, value * 37 % 101)) {
            match (k, a) {
                (_, 91..) => expected.push(format!("{k}|{a}|high")),
                (3, _) => expected.push(format!("{k}|{a}|key")),
                _ => {
                    let newest = newest.entry(k).or_insert(a);
                    *newest = a.max(*newest);
                }
            }
        }
        assert!(newest.len() == 16 && expected.len() > 60, "{newest:?} {expected:?}");
        expected.extend(newest.into_iter().map(|(k, a)| format!("{k}|{a}|NULL")));
        expected.sort_unstable();

        let place = Place::new().await;
        for ours in [true, false] {
            let mut session = place.engine.session();
            if !ours {
                session.without_rule("keep_latest");
            }
            session.stage_query(SELECTED, selected).await.unwrap();
            let plan = session.inspect(&format!("EXPLAIN {sql}"), Strategy::Default).await.unwrap();
            let plan = shown(&plan.collect().await.unwrap()).join("\n");
            assert_eq!(plan.contains("KeepLatestExec"), ours, "{plan}");
            assert_eq!(plan.contains("SortExec"), !ours, "{plan}");
            let mut found = rows(&session, &sql).await;
            found.sort_unstable();
            assert_eq!(found, expected, "{plan}");
        }
    }

    #[test]
    fn values_are_asked_for_in_the_type_of_their_column() {
        let schema = Schema::new(vec![
            Field::new("n", DataType::Int64, true),
            Field::new("t", DataType::Utf8, true),
            Field::new("on", DataType::Boolean, true),
        ]);
        let given = |column: &str, values: &[Option<&str>]| OneOf {
            column: column.to_owned(),
            values: values.iter().map(|value| value.map(str::to_owned)).collect(),
        };
        let of = |given: OneOf| {
            let sql = only_values("SELECT 1", &schema, &[given]);
            sql.rsplit_once("WHERE ").unwrap().1.to_owned()
        };
        assert_eq!(of(given("n", &[Some("1"), Some("-2")])), "(\"n\" IN (-2, 1))");
        assert_eq!(of(given("n", &[Some("1) OR (1=1"), None])), "(\"n\" IN ('1) OR (1=1') OR \"n\" IS NULL)");
        assert_eq!(of(given("t", &[Some("o'c")])), "(\"t\" IN ('o''c'))");
        assert_eq!(of(given("t", &[None])), "(\"t\" IS NULL OR \"t\" = '')");
        assert_eq!(of(given("on", &[Some("true")])), "(\"on\" IN (true))");
        assert_eq!(of(given("on", &[])), "FALSE");
    }
}
