//! One file an algorithm. What several need is in [`shared`], and what all trees need in [`trees`].

use crate::algorithm::{Entry, rows, series};

mod auto_ets;
mod dbscan;
mod decision_tree;
mod drift;
mod elastic_net;
mod gaussian_mixture;
mod gaussian_naive_bayes;
mod gradient_boosting_classifier;
mod gradient_boosting_regressor;
mod iqr;
mod isolation_forest;
mod k_means;
mod lag_regression;
mod lasso;
mod last_value;
mod linear;
mod local_outlier_factor;
mod logistic;
mod mad;
mod moving_mean;
mod mstl;
mod multinomial_naive_bayes;
mod nearest_neighbours;
mod optics;
mod pca;
mod pls;
mod random_forest;
mod regression_forest;
mod regression_tree;
mod ridge;
mod seasonal_last_value;
pub(crate) mod shared;
mod svm;
mod svr;
mod trees;
mod z_score;

/// Every algorithm. A new one is one file, which a `mod` above names, and one line here.
pub static ALGORITHMS: &[Entry] = &[
    // regression
    rows::<linear::Linear>(),
    rows::<ridge::Ridge>(),
    rows::<lasso::Lasso>(),
    rows::<elastic_net::ElasticNet>(),
    rows::<pls::Pls>(),
    rows::<regression_tree::RegressionTree>(),
    rows::<regression_forest::RegressionForest>(),
    rows::<gradient_boosting_regressor::GradientBoostingRegressor>(),
    rows::<svr::Svr>(),
    // classification
    rows::<logistic::Logistic>(),
    rows::<gaussian_naive_bayes::GaussianNaiveBayes>(),
    rows::<multinomial_naive_bayes::MultinomialNaiveBayes>(),
    rows::<nearest_neighbours::NearestNeighbours>(),
    rows::<decision_tree::DecisionTree>(),
    rows::<random_forest::RandomForest>(),
    rows::<gradient_boosting_classifier::GradientBoostingClassifier>(),
    rows::<svm::Svm>(),
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
