//! The lake against real folders, memory stores that fail, and other programs' readers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod buckets;
mod crashes;
mod folders;
mod loads;
mod readers;
mod releases;
#[path = "../support/mod.rs"]
mod support;
mod tables;
