//! The lake against real folders, memory stores that fail, and other programs' readers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod buckets;
mod commits;
mod compaction;
mod contract;
mod crashes;
mod dated;
mod folders;
mod lists;
mod loads;
mod predictors;
mod readers;
mod releases;
mod slow;
#[path = "../support/mod.rs"]
mod support;
mod tables;
mod vacuum;
mod writers;
