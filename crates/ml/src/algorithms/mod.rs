//! One file an algorithm.

use crate::algorithm::{Entry, rows, series};

mod auto_ets;
mod drift;
mod ets;
mod intervals;
mod lag_regression;
mod last_value;
mod linear;
mod moving_mean;
mod mstl;
mod seasonal_last_value;
mod simplex;
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
    series::<auto_ets::AutoEts>(),
    series::<drift::Drift>(),
    series::<lag_regression::LagRegression>(),
    series::<last_value::LastValue>(),
    series::<moving_mean::MovingMean>(),
    series::<mstl::Mstl>(),
    series::<seasonal_last_value::SeasonalLastValue>(),
];
