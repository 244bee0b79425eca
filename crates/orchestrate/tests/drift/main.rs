//! Columns that change between two loads: what each policy makes of each change, in every format.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod guide;
mod later;
mod matrix;
mod support;
mod table;
