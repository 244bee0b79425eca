//! One file an algorithm.

use crate::algorithm::{Entry, rows, series};

mod last_value;
mod linear;
mod weights;

/// Every algorithm. A new one is one file and one line here.
pub static ALGORITHMS: &[Entry] = &[
    // regression
    rows::<linear::Linear>(),
    // classification
    // clustering
    // reduction
    // outliers
    // forecast
    series::<last_value::LastValue>(),
];
