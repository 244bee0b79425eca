//! SQL: models, their order and checks, and the session that runs them. The only crate that knows
//! DataFusion; none of its types are in the public signatures.
//!
//! [`model`] reads a model's file, [`graph`] orders and selects, [`session`] binds names to tables of
//! the lake and runs queries over them, [`checks`] turns rules into such queries.

mod errors;
pub mod graph;
mod lake_table;
mod memory;
mod quarantine;
mod query;
mod raw_table;
mod session;
mod sql;
mod store_types;
pub mod suggest;
pub mod yaml;

pub use memory::{Limits, default_memory_bytes};
pub use query::{Query, QueryStats, StatsHandle};
pub use sql::tables_of;
pub use session::{Engine, RawOptions, Session, Strategy};
