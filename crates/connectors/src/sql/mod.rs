//! Tables and queries of Postgres, MySQL, MariaDB and SQLite, as Parquet.
//!
//! One read is one transaction that sees one state of the database. Without a `cursor` it takes the
//! whole table and remembers a hash of its content; with one it takes the rows at or after the newest
//! value that it has seen, as long as that was seen in the same place. A dialect knows how to connect, to describe columns and to decode values;
//! everything else is here.

use std::{collections::HashMap, time::Duration};

use arrow::datatypes::DataType;
use async_trait::async_trait;
use lagar_flow::{Error, Note, Origin, Position, Result, Scope, codes};
use serde::{Deserialize, Serialize};

use self::{
    config::{Address, Checked, Config, Subject},
    cursor::{Boundary, CursorType, Reached},
    error::Failure,
    plan::{Bound, Described, Plan, Relation, Select, TableRef, select_sql},
    quote::{Dialect, quote},
    sink::{Memory, Sink, SinkOptions, wait},
    value::ContentHash,
    window::Range,
};
use crate::{
    Chunks, Cx, Kind, Outcome, Source,
    config::ConfigError,
    spool::to_position,
    window::{Asked, Windows},
};

mod config;
mod cursor;
mod error;
mod files;
mod fit;
mod mysql;
mod plan;
mod postgres;
mod quote;
mod sink;
mod sqlite;
mod value;
mod window;

pub(crate) const KIND: Kind = Kind {
    name: "sql",
    summary: "a table or query of Postgres, MySQL, MariaDB or SQLite",
    parse,
    schema: || schemars::schema_for!(Config),
};

fn parse(value: &serde_json::Value) -> Result<Box<dyn Source>, ConfigError> {
    Ok(Box::new(SqlSource { checked: Checked::parse(value)? }))
}

struct SqlSource {
    checked: Checked,
}

/// One connection to a database. The methods are called in the order in which they stand here.
#[async_trait]
trait Session: Send {
    /// Begins a transaction that writes nothing and sees one state of the database to its end.
    async fn begin(&mut self) -> Result<(), Failure>;

    /// The tables and views that this user sees, without the database's own.
    async fn tables(&mut self) -> Result<Vec<TableRef>, Failure>;

    /// The columns of `relation`. `settled` are types that need not be found out.
    async fn describe(
        &mut self,
        relation: &Relation,
        settled: &HashMap<String, DataType>,
    ) -> Result<Vec<Described>, Failure>;

    /// The columns of the primary key; none if there is no such key.
    async fn primary_key(&mut self, table: &TableRef) -> Result<Vec<String>, Failure>;

    /// How the cursor `column` of type `kind` stands in a statement.
    fn cursor_sql(&self, column: &Described, kind: CursorType) -> Result<CursorSql>;

    /// The number that `sql` returns.
    async fn number(&mut self, sql: String) -> Result<i64, Failure>;

    /// Hands all rows of `select` to `sink`.
    async fn read(&mut self, select: &Select, plan: &Plan, sink: &mut Sink<'_>) -> Result<(), Failure>;

    /// Says goodbye; nobody waits for the answer.
    async fn close(self: Box<Self>);
}

/// Parts of a statement, in the order of bytes for text.
struct CursorSql {
    /// To compare and to order by.
    expression: String,
    /// The place of the bound value.
    parameter: String,
    /// True for a row that has a value.
    present: String,
}

#[async_trait]
impl Source for SqlSource {
    async fn read(&self, cx: &Cx, from: Option<&Position>, out: &Chunks) -> Result<Outcome> {
        self.read_connected(cx, None, from, out).await
    }

    fn windows(&self) -> Option<&Windows> {
        self.checked.windows.as_ref()
    }

    fn gives_states(&self) -> bool {
        self.checked.config.cursor.is_none() && self.checked.windows.is_none()
    }

    /// What a column cannot hold is null in the file.
    fn keeps_rejected_rows(&self) -> bool {
        false
    }

    async fn read_window(
        &self,
        cx: &Cx,
        asked: &Asked,
        from: Option<&Position>,
        out: &Chunks,
    ) -> Result<Outcome> {
        Ok(self.read_connected(cx, Some(asked), from, out).await?.of_window())
    }

    async fn probe(&self, cx: &Cx) -> Result<String> {
        let address = &self.checked.address;
        let asked = async {
            let mut session = self.open(cx).await?;
            session.begin().await?;
            // The only number that means the same everywhere without a table.
            session.number("SELECT COUNT(*)".to_owned()).await?;
            self.close(session).await;
            Ok::<_, Failure>(())
        };
        asked.await.map_err(|failure| failure.into_error(address, false))?;
        Ok(format!("{}: the login works", address.shown()))
    }

    fn address(&self) -> String {
        let subject = match &self.checked.subject {
            Subject::Table(table) => table,
            Subject::Query(_) => "query",
        };
        format!("{}#{subject}", self.checked.address.shown())
    }
}

impl SqlSource {
    /// Connects, more than once if the database cannot be reached.
    async fn connect(&self, cx: &Cx) -> Result<Box<dyn Session>, Failure> {
        let retry = &self.checked.config.retry;
        let mut pause = retry.wait;
        for attempt in 1.. {
            let failure = tokio::select! {
                biased;
                () = cx.cancel.cancelled() => return Err(stopped()),
                opened = self.open(cx) => match opened {
                    Ok(session) => return Ok(session),
                    Err(failure) => failure,
                },
            };
            if attempt >= retry.attempts || !failure.is_temporary() {
                return Err(failure);
            }
            let wait = jittered(pause.min(retry.max_wait), cx.seed, attempt);
            tracing::warn!(
                address = self.address(),
                attempt,
                ?wait,
                "the database cannot be reached; trying again"
            );
            tokio::select! {
                biased;
                () = cx.cancel.cancelled() => return Err(stopped()),
                () = tokio::time::sleep(wait) => {}
            }
            pause = pause.saturating_mul(2);
        }
        Err(Error::bug("no attempt to connect was made").into())
    }

    /// Connects once, within the time for it.
    async fn open(&self, cx: &Cx) -> Result<Box<dyn Session>, Failure> {
        let (address, within) = (&self.checked.address, self.checked.config.timeout.connect);
        let opening = async {
            let session: Box<dyn Session> = match address {
                Address::Server { dialect: Dialect::MySql, .. } => {
                    Box::new(mysql::MySqlSession::connect(&address.for_driver(&cx.project_dir)?).await?)
                }
                Address::Server { .. } => {
                    Box::new(postgres::PostgresSession::connect(&address.for_driver(&cx.project_dir)?).await?)
                }
                Address::File(path) => Box::new(sqlite::SqliteSession::open(&cx.project_dir, path).await?),
            };
            Ok::<_, Failure>(session)
        };
        tokio::time::timeout(within, opening).await.unwrap_or_else(|_| Err(no_connection(address, within)))
    }

    /// Says goodbye; a server that does not take it is left.
    async fn close(&self, session: Box<dyn Session>) {
        let _ = tokio::time::timeout(self.checked.config.timeout.connect, session.close()).await;
    }

    async fn read_connected(
        &self,
        cx: &Cx,
        asked: Option<&Asked>,
        from: Option<&Position>,
        out: &Chunks,
    ) -> Result<Outcome> {
        let address = &self.checked.address;
        let mut session = self.connect(cx).await.map_err(|failure| failure.into_error(address, false))?;
        let outcome = self.read_in(session.as_mut(), cx, asked, from, out).await;
        // After an error rows may still be on their way: then the connection is just dropped.
        if outcome.is_ok() {
            self.close(session).await;
        }
        outcome.map_err(|failure| failure.into_error(address, true))
    }

    async fn read_in(
        &self,
        session: &mut dyn Session,
        cx: &Cx,
        asked: Option<&Asked>,
        from: Option<&Position>,
        out: &Chunks,
    ) -> Result<Outcome, Failure> {
        let Checked { address, subject, config, .. } = &self.checked;
        let timeout = config.timeout.statement;
        wait(cx, timeout, session.begin()).await?;
        let tables = match subject {
            Subject::Table(_) => wait(cx, timeout, session.tables()).await?,
            Subject::Query(_) => Vec::new(),
        };
        let relation = Relation::resolve(subject, address.dialect(), &tables)?;
        let described = wait(cx, timeout, session.describe(&relation, &settled(cx))).await?;
        let plan = Plan::new(described, &cx.columns, cx.known.as_ref(), cx.new_columns())?;
        let mut order = Vec::new();
        if let Some(by) = &config.split.by {
            plan.index(by, "split.by")?;
            order.push(by.clone());
        } else if config.cursor.is_none()
            && let Some(table) = &relation.table
        {
            order = wait(cx, timeout, session.primary_key(table)).await?;
        }
        let order = order
            .iter()
            .map(|name| Ok(format!("q.{}", quote(address.dialect(), name)?)))
            .collect::<Result<Vec<_>>>()?;
        let read = Read { source: self, cx, out, relation: &relation, plan: &plan };
        match (&config.cursor, config.window.as_ref().zip(asked)) {
            (_, Some((window, asked))) => read.within(session, from, &window.column, asked, order).await,
            (Some(cursor), None) => read.newer(session, from, cursor, order).await,
            (None, None) => read.snapshot(session, from, None, &order).await,
        }
    }
}

/// What a read of everything remembers.
#[derive(Serialize, Deserialize)]
struct Whole {
    /// [`ContentHash`] of its rows.
    snapshot: String,
    #[serde(default)]
    rows: u64,
}

/// One read, once it is clear of what.
struct Read<'a> {
    source: &'a SqlSource,
    cx: &'a Cx,
    out: &'a Chunks,
    relation: &'a Relation,
    plan: &'a Plan,
}

impl Read<'_> {
    /// The rows of one window, unless they are what they were.
    async fn within(
        &self,
        session: &mut dyn Session,
        from: Option<&Position>,
        column: &str,
        asked: &Asked,
        order: Vec<String>,
    ) -> Result<Outcome, Failure> {
        let index = self.plan.index(column, "window.column")?;
        let checked = &self.source.checked;
        let range = Range::new(checked.address.dialect(), &self.plan.columns[index].described, asked)?;
        let lost = format!("SELECT COUNT(*) {} WHERE {}", self.relation.clause(), range.in_none);
        let order: Vec<String> = std::iter::once(range.expression.clone()).chain(order).collect();
        let mut outcome = self.snapshot(session, from, Some(range), &order).await?;
        let Outcome::Read { notes, .. } = &mut outcome else { return Ok(outcome) };
        // The whole table is looked through for these: not for a window that is as it was.
        let lost = wait(self.cx, checked.config.timeout.statement, session.number(lost)).await?;
        if lost > 0 {
            let (rows, they) = if lost == 1 { ("row has", "it is") } else { ("rows have", "they are") };
            notes.push(Note(format!("{lost} {rows} no time in `{column}`: {they} in no window")));
        }
        Ok(outcome)
    }

    /// The whole table or a range of it, unless its content is what it was.
    async fn snapshot(
        &self,
        session: &mut dyn Session,
        from: Option<&Position>,
        range: Option<Range>,
        order: &[String],
    ) -> Result<Outcome, Failure> {
        let before = from.and_then(|position| position.read::<Whole>().ok()).map(|whole| whole.snapshot);
        let mut sink = self.sink(Memory::Content(ContentHash::default()), before.is_some())?;
        let condition = range.as_ref().map(|range| range.condition.as_str());
        let sql = select_sql(self.plan, self.relation, condition, order);
        let select = Select { sql, bounds: range.map(|range| range.bounds).unwrap_or_default() };
        session.read(&select, self.plan, &mut sink).await?;
        sink.finish(true).await?;
        let Memory::Content(content) = &sink.memory else {
            return Err(Error::bug("a snapshot was read by cursor").into());
        };
        let (hash, rows) = (content.finish(&column_list(self.plan)), content.rows);
        if before.as_ref() == Some(&hash) {
            let subject = self.source.checked.subject.shown();
            return Ok(Outcome::Nothing { why: format!("the {rows} rows of {subject} are what they were") });
        }
        sink.hand_over().await?;
        let position = to_position(&Whole { snapshot: hash, rows })?;
        Ok(Outcome::Read { position, scope: Scope::Snapshot, notes: self.notes(&sink, Vec::new()) })
    }

    /// The rows at or after the newest value of the cursor that were not read before.
    async fn newer(
        &self,
        session: &mut dyn Session,
        from: Option<&Position>,
        cursor: &str,
        order: Vec<String>,
    ) -> Result<Outcome, Failure> {
        let index = self.plan.index(cursor, "cursor")?;
        let described = &self.plan.columns[index].described;
        let kind = described.cursor.ok_or_else(|| no_order(described))?;
        let sql = session.cursor_sql(described, kind)?;
        let reads = self.source.checked.reads();
        let (reached, why) = match from.map(|from| Reached::parse(from, &reads, kind)) {
            None => (None, None),
            Some(Ok(reached)) => (Some(reached), None),
            Some(Err(why)) => (None, Some(why)),
        };
        let bound =
            reached.as_ref().and_then(|reached| reached.from.clone()).map(|value| Bound { kind, value });
        let condition = match (&reached, &bound) {
            (None, _) => None,
            (Some(_), None) => Some(sql.present.clone()),
            (Some(_), Some(_)) => Some(format!("{} >= {}", sql.expression, sql.parameter)),
        };
        let mut notes = self.note_rows_without_cursor(session, cursor, reached.as_ref()).await?;
        let subject = self.source.checked.subject.shown();
        notes.extend(why.map(|why| Note(format!("{subject} is read from the beginning: {why}"))));
        let lag = self.source.checked.lag.clone();
        let boundary = Boundary::new(reads, index, kind, lag, self.plan.names(), reached.as_ref());
        if boundary.is_incomparable() {
            notes.push(Note(
                "a column is gone: the newest rows of the last load may be read again".to_owned(),
            ));
        }
        let mut sink = self.sink(Memory::Cursor(Box::new(boundary)), false)?;
        let order: Vec<String> = std::iter::once(sql.expression).chain(order).collect();
        let select = Select {
            sql: select_sql(self.plan, self.relation, condition.as_deref(), &order),
            bounds: bound.into_iter().collect(),
        };
        session.read(&select, self.plan, &mut sink).await?;
        sink.finish(reached.is_none()).await?;
        let Memory::Cursor(boundary) = &sink.memory else {
            return Err(Error::bug("a read by cursor was a snapshot").into());
        };
        if reached.is_some() && sink.rows == 0 {
            return Ok(Outcome::Nothing { why: format!("{subject} has no row with a newer `{cursor}`") });
        }
        if reached.is_none() && boundary.nulls > 0 {
            let nulls = boundary.nulls;
            notes.push(Note(format!(
                "{nulls} rows have no `{cursor}`: this load has them, and later loads will not look at such rows"
            )));
        }
        if let Some(newest) = boundary.later_than(self.cx.clock.now()) {
            notes.push(Note(format!(
                "the newest `{cursor}` is {newest}, which is yet to come: rows with an earlier one will not be read{}",
                if self.source.checked.lag.is_some() { " unless they are within `lag`" } else { "" }
            )));
        }
        let scope = if reached.is_some() { Scope::Increment } else { Scope::Snapshot };
        Ok(Outcome::Read { position: boundary.position()?, scope, notes: self.notes(&sink, notes) })
    }

    /// Rows without a place cannot be found again; that more of them came is at least said.
    async fn note_rows_without_cursor(
        &self,
        session: &mut dyn Session,
        cursor: &str,
        reached: Option<&Reached>,
    ) -> Result<Vec<Note>, Failure> {
        let Some(reached) = reached else { return Ok(Vec::new()) };
        let checked = &self.source.checked;
        let name = quote(checked.address.dialect(), cursor)?;
        let sql = format!("SELECT COUNT(*) {} WHERE q.{name} IS NULL", self.relation.clause());
        let nulls = wait(self.cx, checked.config.timeout.statement, session.number(sql)).await?;
        if u64::try_from(nulls) == Ok(reached.nulls) {
            return Ok(Vec::new());
        }
        Ok(vec![Note(format!(
            "{nulls} rows have no `{cursor}`, {} had none at the first load: what came since is not read",
            reached.nulls
        ))])
    }

    fn sink(&self, memory: Memory, hold: bool) -> Result<Sink<'_>> {
        let config = &self.source.checked.config;
        let options = SinkOptions {
            origin: Origin { url: self.source.address(), ..Origin::default() },
            rows_max: config.split.rows,
            hold,
            timeout: config.timeout.statement,
        };
        Sink::new(self.cx, self.out, self.plan, memory, options)
    }

    fn notes(&self, sink: &Sink<'_>, more: Vec<Note>) -> Vec<Note> {
        self.plan.notes.iter().cloned().chain(sink.notes()).chain(more).collect()
    }
}

/// Types that are fixed whatever the database says now.
fn settled(cx: &Cx) -> HashMap<String, DataType> {
    let known = cx.known.iter().flat_map(|known| known.fields());
    let mut settled: HashMap<String, DataType> =
        known.map(|field| (field.name().clone(), field.data_type().clone())).collect();
    settled.extend(cx.columns.iter().map(|(name, asked)| (name.clone(), asked.data_type())));
    settled
}

/// Names and types, as a part of the content: a column more is a change even without rows.
fn column_list(plan: &Plan) -> String {
    plan.schema.fields().iter().map(|f| format!("{:?} {}\n", f.name(), f.data_type())).collect()
}

fn no_order(column: &Described) -> Error {
    Error::new(
        codes::DATABASE_TYPE,
        format!("`{}` cannot be a cursor: the type {} has no order that is known", column.name, column.type_name),
    )
    .hint("a cursor is an integer, a numeric(p,s), a date, a timestamp or text; without one the whole table is read")
}

fn no_connection(address: &Address, timeout: Duration) -> Failure {
    Error::new(
        codes::DATABASE_DOWN,
        format!("{} did not answer within {} seconds", address.shown(), timeout.as_secs_f64()),
    )
    .hint("check that the database runs and that its host and port in `url` are right")
    .into()
}

fn stopped() -> Failure {
    Error::new(codes::STOPPED, "stopped").into()
}

/// Between half of `pause` and all of it, so that many readers do not come back at once.
fn jittered(pause: Duration, seed: u64, attempt: u32) -> Duration {
    let mut mixed = seed ^ (u64::from(attempt) << 32) ^ 0x9E37_79B9_7F4A_7C15;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed ^= mixed >> 27;
    pause.mul_f64(0.5 + (mixed % 1000) as f64 / 2000.0)
}
