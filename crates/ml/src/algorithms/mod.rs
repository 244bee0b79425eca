//! One file an algorithm.

use crate::algorithm::{Entry, rows, series};

mod dbscan;
mod gaussian_mixture;
mod iqr;
#[cfg(test)]
mod iris;
mod k_means;
mod kd_tree;
mod last_value;
mod linear;
mod local_outlier_factor;
mod mad;
mod parallel;
mod pca;
mod points;
mod ranges;
mod auto_ets;
mod drift;
mod ets;
mod intervals;
mod lag_regression;
mod moving_mean;
mod mstl;
mod seasonal_last_value;
mod simplex;
mod weights;
mod z_score;

/// Every algorithm. A new one is one file and one line here.
pub static ALGORITHMS: &[Entry] = &[
    // regression
    rows::<linear::Linear>(),
    // classification
    // clustering
    rows::<dbscan::Dbscan>(),
    rows::<gaussian_mixture::GaussianMixture>(),
    rows::<k_means::KMeans>(),
    // reduction
    rows::<pca::Pca>(),
    // outliers
    rows::<iqr::Iqr>(),
    rows::<local_outlier_factor::LocalOutlierFactor>(),
    rows::<mad::Mad>(),
    rows::<z_score::ZScore>(),
    // forecast
    series::<auto_ets::AutoEts>(),
    series::<drift::Drift>(),
    series::<lag_regression::LagRegression>(),
    series::<last_value::LastValue>(),
    series::<moving_mean::MovingMean>(),
    series::<mstl::Mstl>(),
    series::<seasonal_last_value::SeasonalLastValue>(),
];
