//! What travels between the other crates: names, errors, positions, raw files and record batches; and how words and
//! pages are shown to people.
//!
//! Nothing here does I/O of its own beyond opening a spooled file, and nothing knows a source, a
//! store or SQL.

mod body;
mod chunk;
mod clock;
pub mod codes;
pub mod drift;
mod error;
mod event;
mod format;
mod json;
pub mod kill;
pub mod memory;
mod name;
pub mod page;
mod redact;
mod schema;
mod window;
pub mod words;

pub use body::{Body, ReadSeek};
pub use chunk::{Batches, Chunk, Discarded, Drift, InPlace, Note, Origin, Position, RawFile, Reject, Scope};
pub use clock::{Clock, FixedClock, SystemClock};
pub use codes::Code;
pub use error::{Blame, Error, Place, Result};
pub use event::{Event, EventKind};
pub use format::{ColumnType, Compression, CsvOptions, Format, FormatKind, Misfits};
pub use json::JsonText;
pub use kill::KillPoint;
pub use name::{Name, TableName, Zone};
pub use redact::{Redactor, Secret, percent_decoded, redact_url};
pub use schema::{Column, columns_of, evolve, schema_of, type_word};
pub use window::{Covered, Window};
