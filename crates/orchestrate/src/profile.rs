//! The profile of a table, with what the lake knows of it.

use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};
use lagar_engine::{
    profile::{self, Profile},
    suggest,
};
use lagar_flow::{Error, Result, TableName, Zone, codes};
use serde::Serialize;

use crate::{reader::Reader, workplace::Workplace};

/// What a raw table has beside the columns of its source: the place of a row, the same for every source.
const PLACE_COLUMNS: &[&str] = &["_source_file", "_load", "_loaded_at", "_row", "_newest"];

/// Which rows and columns.
#[derive(Debug, Clone, Default)]
pub struct ProfileOptions {
    /// Empty: all, of a raw table without the place of each row.
    pub columns: Vec<String>,
    /// An SQL condition.
    pub filter: Option<String>,
}

/// A table, and what its rows show.
#[derive(Debug, Clone, Serialize)]
pub struct TableProfile {
    pub table: String,
    /// The load or version, if the table has one.
    pub version: Option<u64>,
    pub at: Option<DateTime<Utc>>,
    /// Of its files in the lake.
    pub bytes: Option<u64>,
    /// Only rows for which this holds are in the profile.
    #[serde(rename = "where")]
    pub filter: Option<String>,
    #[serde(flatten)]
    pub profile: Profile,
}

impl TableProfile {
    /// Of which rows the profile is: "134 rows of load 1, 2026-10-04".
    pub fn about(&self, now: DateTime<Utc>) -> String {
        let version = match (self.version, self.table.starts_with("raw.")) {
            (Some(number), true) => format!(" of loads up to {number}"),
            (Some(number), false) => format!(" of version {number}"),
            (None, _) => String::new(),
        };
        let filter = self.filter.as_ref().map_or(String::new(), |filter| {
            let line: String = filter.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            format!(" where {line}")
        });
        format!("{}, {} rows{version}{filter}", now.format("%Y-%m-%d"), self.profile.rows)
    }
}

/// Reads all rows of `table` once: `raw.x`, `trusted.x`, `refined.x`, `quarantine.x`, `system.x`, …
///
/// # Errors
/// [`codes::TABLE_MISSING`] if there is no such table, [`codes::SQL_UNKNOWN_COLUMN`] for a column that it does
/// not have, those of the condition and of reading.
pub async fn profile(workplace: &Workplace, table: &str, options: &ProfileOptions) -> Result<TableProfile> {
    let reader = Reader::open(workplace).await?;
    let tables = reader.tables().await?;
    if !tables.iter().any(|known| known == table) {
        let error = Error::new(codes::TABLE_MISSING, format!("there is no table `{table}`"));
        return Err(match suggest::nearest(table, tables.iter().map(String::as_str)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("`lagar ls` lists what there is"),
        });
    }
    let about = about(workplace, &reader, table).await?;
    let columns = columns(table, &reader.columns(table).await?, &options.columns)?;
    let columns: Vec<String> =
        columns.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect();
    let mut sql = format!("SELECT {} FROM {table}", columns.join(", "));
    if let Some(filter) = &options.filter {
        // On a line of its own: a comment at its end must not take the bracket away.
        sql.push_str(&format!(" WHERE (\n{filter}\n)"));
    }
    let query = reader.query(&sql).await.map_err(|error| match options.filter.is_some() {
        true => error.context("--where"),
        false => error,
    })?;
    let project = &workplace.project;
    let profile = profile::profile(query.batches, &project.null_tokens, project.limits.threads).await?;
    Ok(TableProfile { table: table.to_owned(), filter: options.filter.clone(), profile, ..about })
}

/// The columns to look at, in the order that was asked for.
fn columns(table: &str, schema: &SchemaRef, asked: &[String]) -> Result<Vec<String>> {
    let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    if asked.is_empty() {
        let is_place = |name: &&&str| table.starts_with("raw.") && PLACE_COLUMNS.contains(*name);
        return Ok(known.iter().filter(|name| !is_place(name)).map(|name| (*name).to_owned()).collect());
    }
    let mut wanted: Vec<String> = Vec::new();
    let mut errors = Vec::new();
    for name in asked {
        if !known.contains(&name.as_str()) {
            let error = Error::new(codes::SQL_UNKNOWN_COLUMN, format!("`{table}` has no column `{name}`"));
            errors.push(match suggest::hint(name, known.iter().copied()) {
                Some(hint) => error.hint(hint),
                None => error,
            });
        } else if !wanted.contains(name) {
            wanted.push(name.clone());
        }
    }
    Error::all(errors).map_or(Ok(wanted), Err)
}

/// What the lake says of a table.
async fn about(workplace: &Workplace, reader: &Reader<'_>, table: &str) -> Result<TableProfile> {
    let mut about = TableProfile {
        table: table.to_owned(),
        version: None,
        at: None,
        bytes: None,
        filter: None,
        profile: Profile { rows: 0, columns: Vec::new() },
    };
    let Ok(name) = table.parse::<TableName>() else { return Ok(about) };
    if name.zone == Zone::Raw {
        let loads = workplace.lake.loads(&name.name).await?;
        about.version = loads.last().map(|load| load.number);
        about.at = loads.last().map(|load| load.created_at);
        about.bytes = Some(loads.iter().map(|load| load.bytes).sum());
    } else if let Some(table) = reader.table(&name).await? {
        about.version = Some(table.version);
        about.at = Some(table.committed_at);
        about.bytes = Some(table.files.iter().map(|file| file.bytes).sum());
    }
    Ok(about)
}
