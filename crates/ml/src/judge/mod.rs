//! How good a predictor is.
