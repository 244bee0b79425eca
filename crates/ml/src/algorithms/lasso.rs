//! Least squares with an absolute penalty.

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
    /// How much weights cost: what is made small is half the mean of the squared errors plus this times the sum of
    /// the weights without their signs (the `alpha` of scikit-learn's Lasso). With `standardize`, 1 is so much
    /// that no weight is left. Above 0.
    penalty: f64,
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
        Self { penalty: 0.01, standardize: true, max_iterations: 10_000, tolerance: 1e-6 }
    }
}

pub struct Lasso;

impl Algorithm for Lasso {
    const NAME: &'static str = "lasso";
    const TASK: Task = Task::Regression;
    const ABOUT: &'static str = "least squares that leaves out columns which say little";
    type Params = Params;
    type Fitted = Line;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        above_zero("penalty", params.penalty)?;
        above_zero("tolerance", params.tolerance)?;
        enough(params.max_iterations)
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<Line> {
        let penalty = Penalty {
            penalty: params.penalty,
            l1_ratio: 1.0,
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
        Lasso::fit(params, &training(x.view(), Target::Values(&PROGRESSION), &features))
    }

    /// Lasso(0.1) of scikit-learn on StandardScaler's columns and target, its coefficients brought back to the
    /// columns as they are; and Lasso(5.0) on the columns as they are. `tol=1e-14`.
    #[test]
    fn coefficients_are_those_of_scikit_learn() {
        let exact = || Params { tolerance: 1e-13, ..Params::default() };
        let scaled = line(&Params { penalty: 0.1, ..exact() }).unwrap();
        near(&scaled.coefficients, &[1.4338871240164035, 0.8462180050083017, 61.44018929221629, 0.0], 1e-5);
        near(&[scaled.intercept], &[-241.166337629377], 1e-5);
        let plain = line(&Params { penalty: 5.0, standardize: false, ..exact() }).unwrap();
        near(
            &plain.coefficients,
            &[4.752811942399651, 1.602370350174813, 48.26672906594878, 0.39773894810055493],
            1e-5,
        );
        near(&[plain.intercept], &[-364.3787938148696], 1e-5);
    }

    /// No column goes with the target more than it does with itself.
    #[test]
    fn a_penalty_of_one_leaves_nothing() {
        let line = line(&Params { penalty: 1.0, ..Params::default() }).unwrap();
        assert_eq!(line.coefficients, [0.0; 4]);
        near(&[line.intercept], &[PROGRESSION.iter().sum::<f64>() / PROGRESSION.len() as f64], 1e-12);
    }

    #[test]
    fn too_few_iterations_are_an_error() {
        let error = line(&Params { max_iterations: 2, tolerance: 1e-12, ..Params::default() }).unwrap_err();
        assert_eq!(error.code(), lagar_flow::codes::PREDICTOR_DATA);
        assert!(error.message().contains("after 2 iterations"), "{error}");
    }
}
