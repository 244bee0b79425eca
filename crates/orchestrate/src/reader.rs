//! What a person sees of the lake: the tables of one release, all loads, what was refused, and the
//! record of runs.

use std::{collections::BTreeSet, sync::Arc};

use arrow::datatypes::SchemaRef;
use lagar_engine::{Engine, Query, RawOptions, Session, Strategy, predictors_of, suggest, tables_of};
use lagar_flow::{Error, Name, Result, TableName, codes, schema_of};
use lagar_lake::{LeftOut, Release, Table};

use crate::{
    predictor, predictors,
    workplace::{Scratch, Workplace},
};

/// Answers queries over one state of the lake.
pub struct Reader<'w> {
    workplace: &'w Workplace,
    engine: Engine,
    scratch: Scratch,
    release: Option<Release>,
    sources: Vec<Name>,
}

impl<'w> Reader<'w> {
    /// Pins the current release.
    pub async fn open(workplace: &'w Workplace) -> Result<Self> {
        let scratch = workplace.scratch()?;
        Ok(Self {
            engine: workplace.engine(&scratch)?,
            scratch,
            release: workplace.lake.current_release().await?,
            sources: sources(workplace).await?,
            workplace,
        })
    }

    /// The release that is read, if there is one.
    pub fn release(&self) -> Option<&Release> {
        self.release.as_ref()
    }

    /// Every table that a query can name: `raw.x`, `trusted.y`, `quarantine.x`, `refused.trusted.y`, `system.runs` …
    pub async fn tables(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> = self.sources.iter().map(|name| format!("raw.{name}")).collect();
        names.extend(self.release.iter().flat_map(|release| release.tables.keys()).map(TableName::to_string));
        names.extend(self.sources.iter().map(|name| format!("quarantine.{name}")));
        for table in self.workplace.project.models.keys() {
            // Why they cannot be read is told to whoever asks for them, and to nobody else.
            if !matches!(self.refused(table).await, Ok(None)) {
                names.push(format!("refused.{table}"));
            }
        }
        names.extend(SYSTEM_TABLES.iter().map(|name| format!("system.{name}")));
        Ok(names)
    }

    /// The released version of `table`.
    pub async fn table(&self, table: &TableName) -> Result<Option<Table>> {
        match self.release.as_ref().and_then(|release| release.tables.get(table)) {
            Some(version) => self.workplace.lake.table(table, Some(*version)).await,
            None => Ok(None),
        }
    }

    /// The rows of `table` that a check refused: those of a version that never came, else those that were
    /// left out of the released one.
    async fn refused(&self, table: &TableName) -> Result<Option<LeftOut>> {
        let lake = &self.workplace.lake;
        if let Some(refused) = lake.refused_version(table).await? {
            return Ok(Some(refused.rows));
        }
        let released = self.release.as_ref().and_then(|release| release.tables.get(table));
        let Some(version) = released else { return Ok(None) };
        match lake.table_meta(table, *version).await? {
            Some(meta) => Ok(meta.left_out),
            // Its record is gone: was it cleaned up, or is the version missing?
            None => match lake.table(table, Some(*version)).await? {
                Some(_) => Ok(None),
                None => Err(Error::new(codes::TABLE_MISSING, format!("`{table}` has gone"))),
            },
        }
    }

    /// Runs one SELECT, planned again if it needs more memory than there is before its first rows come.
    ///
    /// # Errors
    /// Places in the SQL count from its own first line.
    pub async fn query(&self, sql: &str) -> Result<Query> {
        match self.query_with(sql, Strategy::Default).await?.begun().await {
            Err(error) if error.code() == codes::MEMORY => {
                tracing::info!(%error, "planning the query again for less memory");
                self.query_with(sql, Strategy::LowMemory).await
            }
            query => query,
        }
    }

    /// [`Self::query`], planned as told and not again.
    pub async fn query_with(&self, sql: &str, strategy: Strategy) -> Result<Query> {
        let session = self.engine.session();
        let tables = self.tables().await?;
        for (name, (line, column)) in tables_of(sql)? {
            self.add(&session, &name, &tables).await.map_err(|error| match error.place() {
                Some(_) => error,
                None => error.at("", line, column),
            })?;
        }
        for (name, (line, column)) in predictors_of(sql)? {
            self.add_predictor(&session, &name).await.map_err(|error| match error.place() {
                Some(_) => error,
                None => error.at("", line, column),
            })?;
        }
        if sql.trim_start().to_lowercase().starts_with("show tables") {
            for table in &tables {
                // A source without a load has no columns yet, and is not shown.
                match self.add(&session, table, &tables).await {
                    Err(error) if error.code() != codes::TABLE_MISSING => return Err(error),
                    _ => {}
                }
            }
        }
        session.inspect(sql, strategy).await
    }

    /// The columns of a table that a query can name.
    ///
    /// # Errors
    /// There is no such table, or it has no rows yet from which its columns are known.
    pub async fn columns(&self, table: &str) -> Result<SchemaRef> {
        let session = self.engine.session();
        self.add(&session, table, &self.tables().await?).await?;
        session.describe(&format!("SELECT * FROM {table}")).await
    }

    async fn add_predictor(&self, session: &Session, asked: &str) -> Result<()> {
        let known = predictors::names(self.workplace).await?;
        let name = known.iter().find(|name| name.as_str() == asked);
        let name = name.ok_or_else(|| predictors::unknown(codes::SQL_UNKNOWN_TABLE, asked, &known))?;
        session.add_predictor(name, predictor::released(self.workplace, self.release.as_ref(), name).await?);
        Ok(())
    }

    async fn add(&self, session: &Session, name: &str, tables: &[String]) -> Result<()> {
        let lake = &self.workplace.lake;
        if !tables.iter().any(|table| table == name) {
            let error = Error::new(codes::SQL_UNKNOWN_TABLE, format!("there is no table `{name}`"));
            return Err(match suggest::nearest(name, tables.iter().map(String::as_str)) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None if self.release.is_none() => error.hint("nothing is released yet; `lagar run` does"),
                None => error.hint("`lagar ls` lists the tables"),
            });
        }
        match name.split_once('.') {
            Some(("raw", source)) => {
                let source: Name = source.parse()?;
                let loads = lake.loads(&source).await?;
                let schema = match loads.last() {
                    Some(last) => schema_of(&last.columns)?,
                    None => {
                        return Err(Error::new(codes::TABLE_MISSING, format!("`{name}` has no load yet")));
                    }
                };
                let options = RawOptions { spool: self.scratch.spool_dir() };
                session.add_raw(&source, lake, loads, schema, options)
            }
            Some(("quarantine", source)) => {
                let source: Name = source.parse()?;
                let mut loads = lake.loads(&source).await?;
                loads.extend(lake.refused_load(&source).await?.map(Arc::new));
                session.add_quarantine(&source, lake, loads)
            }
            Some(("refused", table)) => {
                let table: TableName = table.parse()?;
                match self.refused(&table).await? {
                    Some(rows) => session.add_refused(&table, &rows, lake),
                    None => Err(Error::new(codes::TABLE_MISSING, format!("`{name}` has gone"))),
                }
            }
            Some(("system", table)) => self.add_system(session, table).await,
            _ => {
                let table: TableName = name.parse()?;
                match self.table(&table).await? {
                    Some(table) => session.add_table(&table, lake),
                    None => Err(Error::new(codes::TABLE_MISSING, format!("`{name}` has gone"))),
                }
            }
        }
    }

    async fn add_system(&self, session: &Session, table: &str) -> Result<()> {
        let batch = match table {
            "loads" => crate::system::loads(&self.workplace.lake, &self.sources).await?,
            "runs" => self.workplace.history().await?.runs_batch().await?,
            "events" => self.workplace.history().await?.events_batch().await?,
            "steps" => self.workplace.history().await?.steps_batch().await?,
            _ => self.workplace.history().await?.checks_batch().await?,
        };
        let schema = batch.schema();
        session.add_rows("system", table, vec![batch], schema)
    }
}

/// Those with a load, and those of the project: a first load that was refused is in quarantine only.
async fn sources(workplace: &Workplace) -> Result<Vec<Name>> {
    let mut sources: BTreeSet<Name> = workplace.lake.sources().await?.into_iter().collect();
    sources.extend(workplace.project.source_names.iter().cloned());
    Ok(sources.into_iter().collect())
}

const SYSTEM_TABLES: &[&str] = &["checks", "events", "loads", "runs", "steps"];
