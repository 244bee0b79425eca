//! Predictors: what is learned from the rows of a table, judged, written down and asked again. The only crate
//! that knows linfa. It reads no tables: it gets rows.
//!
//! [`algorithm`] says what an algorithm is; [`algorithms`] has one file for each.

pub mod algorithm;
pub mod algorithms;
pub mod frame;
pub mod judge;
pub mod spec;
mod split;

pub use algorithm::{Entry, Fitted, Forecast, Output, Series, Target, Task, Training, algorithm};
pub use algorithms::ALGORITHMS;
