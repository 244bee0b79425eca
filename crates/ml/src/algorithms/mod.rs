//! One file an algorithm.

use crate::algorithm::{Entry, rows, series};

mod checks;
mod elastic_net;
mod gaussian_naive_bayes;
mod lasso;
mod last_value;
mod linear;
mod logistic;
mod minimise;
mod multinomial_naive_bayes;
mod nearest_neighbours;
mod penalised;
mod pls;
mod probabilities;
mod ridge;
#[cfg(test)]
mod samples;
mod scale;
mod smo;
mod support;
mod svm;
mod svr;
mod threads;
mod weights;

/// Every algorithm. A new one is one file and one line here.
pub static ALGORITHMS: &[Entry] = &[
    // regression
    rows::<linear::Linear>(),
    rows::<ridge::Ridge>(),
    rows::<lasso::Lasso>(),
    rows::<elastic_net::ElasticNet>(),
    rows::<pls::Pls>(),
    rows::<svr::Svr>(),
    // classification
    rows::<logistic::Logistic>(),
    rows::<gaussian_naive_bayes::GaussianNaiveBayes>(),
    rows::<multinomial_naive_bayes::MultinomialNaiveBayes>(),
    rows::<nearest_neighbours::NearestNeighbours>(),
    rows::<svm::Svm>(),
    // clustering
    // reduction
    // outliers
    // forecast
    series::<last_value::LastValue>(),
];
