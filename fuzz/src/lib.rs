//! The bodies of all targets; the tests of the crates run the same files.

#[cfg(feature = "connectors")]
#[path = "../targets/connectors.rs"]
pub mod connectors;
#[cfg(feature = "engine")]
#[path = "../targets/engine.rs"]
pub mod engine;
#[cfg(feature = "lake")]
#[path = "../targets/lake.rs"]
pub mod lake;
