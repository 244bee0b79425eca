//! How good a predictor is.

mod curve;
mod numbers;
mod sample;

pub mod classification;
pub mod clustering;
pub mod outliers;
pub mod reduction;
pub mod regression;
