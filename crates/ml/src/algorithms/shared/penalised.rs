//! What `lasso` and `elastic_net` share: the coordinate descent of linfa, on columns of one size (it takes a
//! column whose squares add up to less than 2e-16 for one of zeros, and an intercept for the mean of the target).

use lagar_flow::{Error, Result, codes};
use linfa::{DatasetBase, ParamGuard, traits::Fit};
use linfa_elasticnet::ElasticNet;
use ndarray::{Array1, ArrayView1};

use super::{
    scale::{Scale, moments},
    weights::Line,
};
use crate::algorithm::Training;

/// The objective is `1/2n Σ (y - line)² + penalty (l1_ratio Σ |w| + (1 - l1_ratio)/2 Σ w²)`.
pub(crate) struct Penalty {
    pub(crate) penalty: f64,
    pub(crate) l1_ratio: f64,
    pub(crate) standardize: bool,
    pub(crate) max_iterations: u32,
    pub(crate) tolerance: f64,
}

/// linfa measures how far it is after the last but one iteration, so that there must be one.
pub(crate) fn enough(max_iterations: u32) -> Result<(), (&'static str, String)> {
    if max_iterations >= 2 { Ok(()) } else { Err(("max_iterations", "must be at least 2".to_owned())) }
}

impl Penalty {
    /// # Errors
    /// [`codes::PREDICTOR_DATA`] if the iterations are not enough.
    pub(crate) fn fit(&self, training: &Training<'_>, algorithm: &str) -> Result<Line> {
        let y = ArrayView1::from(training.target.values()?);
        let (mean, deviation) = moments(y);
        let scale = Scale::of(training.x, self.standardize);
        let line = |weights: &[f64]| Line::unscaled(training.features, &scale, weights, (mean, deviation));
        let (l1, l2) = self.of_scaled(scale.largest(), deviation);
        let nothing = vec![0.0; training.x.ncols()];
        if deviation == 0.0 || !(l1 + l2).is_finite() {
            return line(&nothing);
        }
        if l1 < f64::MIN_POSITIVE {
            let message =
                format!("the penalty of `{algorithm}` is nothing beside columns and target so large");
            return Err(
                Error::new(codes::PREDICTOR_DATA, message).hint("raise `penalty`, or leave `standardize` on")
            );
        }
        let scaled_y: Array1<f64> = y.mapv(|y| (y - mean) / deviation);
        // Column by column in memory, as coordinate descent reads it.
        let by_columns =
            scale.rows(training.x).reversed_axes().as_standard_layout().reversed_axes().to_owned();
        let net = ElasticNet::params()
            .with_intercept(false)
            .penalty(l1 + l2)
            .l1_ratio(l1 / (l1 + l2))
            .max_iterations(self.max_iterations)
            .tolerance(self.tolerance)
            .check()
            .map_err(|error| Error::bug("no elastic net").caused_by(&error))?
            .fit(&DatasetBase::new(by_columns.view(), scaled_y.view()))
            .map_err(|error| Error::new(codes::PREDICTOR_DATA, "no line fits").caused_by(&error))?;
        let gap = net.duality_gap() / scaled_y.dot(&scaled_y);
        if gap.is_nan() || gap >= self.tolerance {
            let message = format!(
                "`{algorithm}` is not done after {} iterations: it may be {gap:.1e} of the target's squares away \
                 from the best line, and {:.1e} is asked",
                net.n_steps(),
                self.tolerance
            );
            return Err(Error::new(codes::PREDICTOR_DATA, message)
                .hint("raise `max_iterations`, `penalty` or `tolerance`, or leave `standardize` on"));
        }
        line(&net.hyperplane().to_vec())
    }

    /// The two parts of the penalty as they are for a target and columns that were divided.
    fn of_scaled(&self, divisor: f64, deviation: f64) -> (f64, f64) {
        let (l1, l2) = (self.penalty * self.l1_ratio, self.penalty * (1.0 - self.l1_ratio));
        if self.standardize { (l1, l2) } else { (l1 / divisor / deviation, l2 / divisor / divisor) }
    }
}
