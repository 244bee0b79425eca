//! One file an algorithm.

use crate::algorithm::{Entry, rows, series};

mod decision_tree;
mod gradient_boosting_classifier;
mod gradient_boosting_regressor;
mod isolation_forest;
mod last_value;
mod linear;
mod random_forest;
mod regression_forest;
mod regression_tree;
mod trees;
mod weights;

/// Every algorithm. A new one is one file and one line here.
pub static ALGORITHMS: &[Entry] = &[
    // regression
    rows::<linear::Linear>(),
    rows::<regression_tree::RegressionTree>(),
    rows::<regression_forest::RegressionForest>(),
    rows::<gradient_boosting_regressor::GradientBoostingRegressor>(),
    // classification
    rows::<decision_tree::DecisionTree>(),
    rows::<random_forest::RandomForest>(),
    rows::<gradient_boosting_classifier::GradientBoostingClassifier>(),
    // clustering
    // reduction
    // outliers
    rows::<isolation_forest::IsolationForest>(),
    // forecast
    series::<last_value::LastValue>(),
];
