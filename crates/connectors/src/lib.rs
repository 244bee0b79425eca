//! Everything outside that Lagar reads from: one file a kind, each behind [`Source`], listed in [`KINDS`].
//!
//! A source hands over raw files that were already decoded once ([`decode`]), so that what it calls
//! rows can be read back; it knows neither the lake nor SQL.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use lagar_flow::{Chunk, Clock, ColumnType, Error, Misfits, Note, Position, Redactor, Result, Scope, codes};
use object_store::ObjectStore;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use spool::{Landing, land};
use window::{Asked, Windows};

pub mod config;
pub mod decode;
mod file;
mod http;
mod probe;
mod rest;
mod spool;
mod sql;
pub mod window;

/// Private functions, for the fuzz targets.
#[doc(hidden)]
pub mod fuzzed {
    pub fn remove_keys(json: &[u8], keys: &[String]) -> Result<Vec<u8>, String> {
        crate::http::remove_keys(json, keys)
    }

    pub fn next_link(value: &str) -> Option<String> {
        crate::http::next_link([value])
    }
}

/// Every kind of source. Help, "unknown type" errors, the JSON schema, the docs and the contract
/// tests walk this list: a new connector is one file and one line here.
pub static KINDS: &[Kind] = &[file::KIND, rest::KIND, sql::KIND];

/// One kind of source.
pub struct Kind {
    /// The `type:` in the project file.
    pub name: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// From the source's own keys (without the common ones) to a source, or what is wrong with them.
    pub parse: fn(&serde_json::Value) -> Result<Box<dyn Source>, config::ConfigError>,
    /// JSON schema of the keys that `parse` takes.
    pub schema: fn() -> schemars::Schema,
}

/// The kind called `name`.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// Something outside to read from.
#[async_trait]
pub trait Source: Send + Sync {
    /// Reads what is new after `from` and hands it to `out` file by file. Nothing is committed until the
    /// position in the returned [`Outcome`] is; a read that is broken off anywhere is simply done again.
    async fn read(&self, cx: &Cx, from: Option<&Position>, out: &Chunks) -> Result<Outcome>;

    /// Looks whether it is there and lets us in, without reading it; what was found, for people.
    async fn probe(&self, cx: &Cx) -> Result<String>;

    /// The address to show: no secret is in it.
    fn address(&self) -> String;

    /// The windows of time by which it is read, if it is: then [`Source::read_window`] is called and
    /// [`Source::read`] is not.
    fn windows(&self) -> Option<&Windows> {
        None
    }

    /// Reads all that the source has within a window. `from` is the position of the last load of this very
    /// window: if nothing has changed since, nothing is handed over.
    async fn read_window(
        &self,
        _cx: &Cx,
        _asked: &Asked,
        _from: Option<&Position>,
        _out: &Chunks,
    ) -> Result<Outcome> {
        Err(Error::bug("a source without windows was asked for one"))
    }

    /// What is allowed and probably not what was meant, for `lagar check`.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether each of its loads is all that it has then, so that whoever appends them collects its states.
    /// The loads of others bring what is new: all of it again only when it is read from the beginning.
    fn gives_states(&self) -> bool {
        false
    }

    /// Whether its files hold rejected rows as they came, so that they can be looked at again ([`land`]).
    fn keeps_rejected_rows(&self) -> bool {
        true
    }

    /// `position`, which was written when the types of `then` were asked for, as if those of `now` had been:
    /// nothing need be read again on their account.
    fn with_types(&self, _then: &Cx, _now: &Cx, position: Position) -> Result<Position> {
        Ok(position)
    }
}

/// What a read ended with.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing was handed over; why, for the report ("ETag unchanged").
    Nothing { why: String },
    /// All that was handed over becomes visible together with `position`.
    Read { position: Position, scope: Scope, notes: Vec<Note> },
}

impl Outcome {
    /// The same of a read of one window.
    fn of_window(self) -> Self {
        match self {
            Outcome::Read { position, notes, .. } => Outcome::Read { position, scope: Scope::Window, notes },
            nothing => nothing,
        }
    }
}

/// What happens when the columns of a source change after its first load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SchemaPolicy {
    /// New columns appear, missing ones are null, integers widen to doubles. A row with another value that
    /// does not fit its column goes to quarantine.
    #[default]
    Evolve,
    /// Any change fails the load.
    Freeze,
    /// A row with a value in a new column, or with one that does not fit its column, goes to quarantine.
    DiscardRow,
    /// New columns are left out, and values that do not fit their column are null.
    DiscardValue,
}

/// All that a read may use; there is nothing global.
#[derive(Clone)]
pub struct Cx {
    pub clock: Arc<dyn Clock>,
    /// Relative paths of the project file start here.
    pub project_dir: PathBuf,
    /// Spool files go here; they are removed as soon as nobody holds them.
    pub spool_dir: PathBuf,
    pub stores: Arc<dyn Stores>,
    /// Asked types by column.
    pub columns: BTreeMap<String, ColumnType>,
    /// The columns of this source's loads so far.
    pub known: Option<SchemaRef>,
    pub schema: SchemaPolicy,
    /// The secrets of the project; a source adds those that it learns.
    pub secrets: Redactor,
    /// Seed of the retry jitter.
    pub seed: u64,
    pub cancel: CancellationToken,
}

impl Cx {
    /// What becomes of columns that are not known. Before the first load with columns all are new.
    fn new_columns(&self) -> decode::NewColumns {
        let is_known = self.known.as_ref().is_some_and(|known| !known.fields().is_empty());
        match self.schema {
            SchemaPolicy::DiscardRow if is_known => decode::NewColumns::RejectRow,
            SchemaPolicy::DiscardValue if is_known => decode::NewColumns::LeaveOut,
            _ => decode::NewColumns::Take,
        }
    }

    /// What becomes of values that do not fit their column.
    fn misfits(&self) -> Misfits {
        if self.schema == SchemaPolicy::DiscardValue { Misfits::Null } else { Misfits::Reject }
    }

    /// `Err` once the run was asked to stop; call it between files, pages and batches.
    pub fn check_cancelled(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::new(codes::STOPPED, "stopped")) } else { Ok(()) }
    }
}

/// Opens object stores by URL (`s3://bucket/…`); only the lake knows how.
pub trait Stores: Send + Sync {
    /// The store of `url` and the path inside it.
    fn open(&self, url: &str) -> Result<(Arc<dyn ObjectStore>, object_store::path::Path)>;
}

/// Where a source hands over its files; waits while the lake is still busy with earlier ones.
pub struct Chunks(mpsc::Sender<Chunk>);

impl Chunks {
    /// `capacity` files may wait.
    pub fn channel(capacity: usize) -> (Self, mpsc::Receiver<Chunk>) {
        let (sender, receiver) = mpsc::channel(capacity);
        (Self(sender), receiver)
    }

    /// Fails only when the reader of the chunks has given up; its own error says why.
    pub async fn send(&self, chunk: Chunk) -> Result<()> {
        self.0.send(chunk).await.map_err(|_| Error::new(codes::STOPPED, "the load was given up"))
    }
}
