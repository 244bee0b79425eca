//! The `sql` source against real databases. SQLite is always there; Postgres and MariaDB are tried
//! when `POSTGRES_URL` and `MARIADB_URL` say where they are.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod databases;
mod sqlite;
mod support;
