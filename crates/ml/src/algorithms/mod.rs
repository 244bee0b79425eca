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
mod optics;
mod parallel;
mod pca;
mod points;
mod ranges;
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
    rows::<optics::Optics>(),
    // reduction
    rows::<pca::Pca>(),
    // outliers
    rows::<iqr::Iqr>(),
    rows::<local_outlier_factor::LocalOutlierFactor>(),
    rows::<mad::Mad>(),
    rows::<z_score::ZScore>(),
    // forecast
    series::<last_value::LastValue>(),
];
