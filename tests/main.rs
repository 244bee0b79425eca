//! End-to-end tests: each runs the `lagar` binary in folders of its own, against real files, real
//! sockets and a real SQLite database, and looks at what a user would see.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod backfill;
mod bad_input;
mod buckets;
mod city311;
mod cleaning;
mod cli;
mod crash;
mod databases;
mod disk_full;
mod doubles;
mod drift;
mod durability;
mod extremes;
mod facts;
mod honest;
mod hostile;
mod kills;
mod lineage;
mod maintenance;
mod memory;
mod merges;
mod partitions;
mod paths;
mod profile;
mod quarantine;
mod readers;
mod repeats;
mod secrets;
mod shop;
mod sizes;
mod spill;
mod stops;
mod support;
mod tpch;
