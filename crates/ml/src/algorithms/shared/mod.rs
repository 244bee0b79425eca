//! What several algorithms need, one file for each thing.

pub(crate) mod checks;
pub(crate) mod ets;
pub(crate) mod intervals;
#[cfg(test)]
pub(crate) mod iris;
pub(crate) mod kd_tree;
pub(crate) mod minimise;
pub(crate) mod penalised;
pub(crate) mod points;
pub(crate) mod probabilities;
pub(crate) mod ranges;
#[cfg(test)]
pub(crate) mod samples;
pub(crate) mod scale;
pub(crate) mod simplex;
pub(crate) mod smo;
pub(crate) mod support;
pub(crate) mod weights;
