//! One file an algorithm.

use crate::algorithm::{Entry, rows, series};

mod checks;
mod elastic_net;
mod lasso;
mod last_value;
mod linear;
mod penalised;
mod pls;
mod ridge;
#[cfg(test)]
mod samples;
mod scale;
mod weights;

/// Every algorithm. A new one is one file and one line here.
pub static ALGORITHMS: &[Entry] = &[
    // regression
    rows::<linear::Linear>(),
    rows::<ridge::Ridge>(),
    rows::<lasso::Lasso>(),
    rows::<elastic_net::ElasticNet>(),
    rows::<pls::Pls>(),
    // classification
    // clustering
    // reduction
    // outliers
    // forecast
    series::<last_value::LastValue>(),
];
