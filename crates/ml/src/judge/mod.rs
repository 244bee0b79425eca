//! How good a predictor is.

mod curve;
mod numbers;
mod sample;

pub mod bias;
pub mod classification;
pub mod clustering;
pub mod importance;
pub mod outliers;
pub mod reduction;
pub mod regression;
pub mod forecast;
