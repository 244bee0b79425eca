//! Whole runs of a project over stores that fail. Who is right is decided by a ledger that the tests
//! keep, and by other programs that read the lake.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod again;
mod chance;
mod crashes;
mod damage;
mod interleavings;
mod slow;
mod space;
mod support;
