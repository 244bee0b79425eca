//! From a table to a predictor that was judged: what is learned, refused, chosen and promoted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod answers;
mod guards;
mod judging;
mod learning;
mod limits;
mod records;
mod refusals;
mod series;
mod support;
