//! Tests of the sources: one binary, so that it is linked once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod contract;
mod file;
mod hostile;
mod http;
mod rest;
mod sql;
mod support;
