//! How good a predictor is.

pub mod forecast;
