//! End-to-end tests: each runs the `lagar` binary in folders of its own, against real files, real
//! sockets and a real SQLite database, and looks at what a user would see.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bad_input;
mod cli;
mod crash;
mod facts;
mod honest;
mod readers;
mod shop;
mod support;
