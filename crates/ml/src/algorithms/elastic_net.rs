//! Least squares with an absolute and a squared penalty.

use lagar_flow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{
    checks::above_zero,
    penalised::{Penalty, enough},
    weights::Line,
};
use crate::algorithm::{Algorithm, Task, Training};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// How much weights cost: what is made small is half the mean of the squared errors plus this times
    /// `l1_ratio` · (sum of the weights without their signs) + (1 - `l1_ratio`)/2 · (sum of the squared weights).
    /// It is the `alpha` of scikit-learn's ElasticNet. Above 0.
    penalty: f64,
    /// The part of the penalty that leaves out columns: above 0 (for 0 there is `ridge`), 1 is `lasso`.
    l1_ratio: f64,
    /// Whether columns and target are brought to a deviation of 1 first, so that the penalty is fair to columns of
    /// any unit and does not depend on that of the target. The coefficients that are shown are those of the
    /// columns as they are.
    standardize: bool,
    /// Passes over the columns at most. If they are not enough, that is an error.
    max_iterations: u32,
    /// How far from the best line it may be, as a part of the sum of the target's squares.
    tolerance: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { penalty: 0.01, l1_ratio: 0.5, standardize: true, max_iterations: 10_000, tolerance: 1e-6 }
    }
}

pub struct ElasticNet;

impl Algorithm for ElasticNet {
    const NAME: &'static str = "elastic_net";
    const TASK: Task = Task::Regression;
    const ABOUT: &'static str =
        "between `ridge` and `lasso`: leaves out columns, and keeps those alike together";
    type Params = Params;
    type Fitted = Line;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        above_zero("penalty", params.penalty)?;
        above_zero("tolerance", params.tolerance)?;
        enough(params.max_iterations)?;
        if params.l1_ratio > 0.0 && params.l1_ratio <= 1.0 {
            return Ok(());
        }
        Err(("l1_ratio", format!("must be above 0 and at most 1, and is {}", params.l1_ratio)))
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<Line> {
        let penalty = Penalty {
            penalty: params.penalty,
            l1_ratio: params.l1_ratio,
            standardize: params.standardize,
            max_iterations: params.max_iterations,
            tolerance: params.tolerance,
        };
        penalty.fit(training, Self::NAME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        algorithm::Target,
        algorithms::shared::samples::{DIABETES, PROGRESSION, matrix, names, near, training},
    };

    fn line(params: &Params) -> Result<Line> {
        let (x, features) = (matrix(&DIABETES), names(4));
        ElasticNet::fit(params, &training(x.view(), Target::Values(&PROGRESSION), &features))
    }

    /// ElasticNet(0.1, l1_ratio=0.5) of scikit-learn on StandardScaler's columns and target, its coefficients
    /// brought back to the columns as they are; and ElasticNet(2.0, l1_ratio=0.3) on the columns as they are.
    #[test]
    fn coefficients_are_those_of_scikit_learn() {
        let exact = || Params { tolerance: 1e-13, ..Params::default() };
        let scaled = line(&Params { penalty: 0.1, ..exact() }).unwrap();
        let expected = [2.5023446566855707, 1.0827758115368047, 60.3967272327816, 0.019502583395802256];
        near(&scaled.coefficients, &expected, 1e-5);
        near(&[scaled.intercept], &[-289.8452008352049], 1e-5);
        let plain = line(&Params { penalty: 2.0, l1_ratio: 0.3, standardize: false, ..exact() }).unwrap();
        let expected = [6.557321706117765, 2.271791670021812, 9.532486036969978, -0.002198782400730674];
        near(&plain.coefficients, &expected, 1e-5);
        near(&[plain.intercept], &[-280.48565306151943], 1e-5);
    }

    #[test]
    fn parameters_that_are_not_possible_are_refused() {
        for l1_ratio in [0.0, -1.0, 1.5, f64::NAN] {
            assert_eq!(
                ElasticNet::check(&Params { l1_ratio, ..Params::default() }).unwrap_err().0,
                "l1_ratio"
            );
        }
        assert_eq!(
            ElasticNet::check(&Params { penalty: 0.0, ..Params::default() }).unwrap_err().0,
            "penalty"
        );
    }
}
