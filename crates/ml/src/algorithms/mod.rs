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
mod checks;
mod elastic_net;
mod gaussian_naive_bayes;
mod lasso;
mod logistic;
mod minimise;
mod multinomial_naive_bayes;
mod nearest_neighbours;
mod penalised;
mod pls;
mod probabilities;
mod ridge;
mod samples;
mod scale;
mod threads;
mod decision_tree;
mod gradient_boosting_classifier;
mod gradient_boosting_regressor;
mod isolation_forest;
mod random_forest;
mod regression_forest;
mod regression_tree;
mod trees;
mod weights;
mod z_score;

/// Every algorithm. A new one is one file and one line here.
pub static ALGORITHMS: &[Entry] = &[
    // regression
    rows::<linear::Linear>(),
    rows::<ridge::Ridge>(),
    rows::<lasso::Lasso>(),
    rows::<elastic_net::ElasticNet>(),
    rows::<pls::Pls>(),
    // classification
    rows::<logistic::Logistic>(),
    rows::<gaussian_naive_bayes::GaussianNaiveBayes>(),
    rows::<multinomial_naive_bayes::MultinomialNaiveBayes>(),
    rows::<nearest_neighbours::NearestNeighbours>(),
    rows::<regression_tree::RegressionTree>(),
    rows::<regression_forest::RegressionForest>(),
    rows::<gradient_boosting_regressor::GradientBoostingRegressor>(),
    rows::<decision_tree::DecisionTree>(),
    rows::<random_forest::RandomForest>(),
    rows::<gradient_boosting_classifier::GradientBoostingClassifier>(),
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
    rows::<isolation_forest::IsolationForest>(),
    // forecast
    series::<auto_ets::AutoEts>(),
    series::<drift::Drift>(),
    series::<lag_regression::LagRegression>(),
    series::<last_value::LastValue>(),
    series::<moving_mean::MovingMean>(),
    series::<mstl::Mstl>(),
    series::<seasonal_last_value::SeasonalLastValue>(),
];
