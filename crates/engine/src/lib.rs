//! SQL: models, their order and checks, and the session that runs them. The only crate that knows
//! DataFusion; none of its types are in the public signatures.
//!
//! [`model`] reads a model's file, [`graph`] orders and selects, [`session`] binds names to tables of
//! the lake and runs queries over them, [`checks`] turns rules into such queries.

mod across;
mod answers_last;
mod cast_names;
pub mod checks;
#[cfg(test)]
mod differential;
mod errors;
mod expressions;
mod front_matter;
mod functions;
mod fused_text;
pub mod graph;
mod guarded;
mod in_list;
mod lake_table;
mod latest;
pub mod lineage;
mod load_order;
mod memory;
pub mod merge;
pub mod model;
mod not_in;
mod parser;
mod predict;
pub mod profile;
mod quarantine;
mod query;
mod raw_table;
mod row_hash;
mod session;
mod shares;
mod sql;
pub mod suggest;
#[cfg(test)]
mod testing;
mod window;
mod workers;
pub mod yaml;

pub use functions::{FUNCTIONS, Function, NullTokens};
pub use memory::{Limits, default_memory_bytes};
pub use predict::{Asked, PlannedFeature, Probability, Seen};
pub use query::{Misfits, Query, QueryStats, StatsHandle};
pub use session::{Engine, RawOptions, Session, Strategy, TableFiles};
pub use sql::{predictors_of, quote as quoted, tables_of};
