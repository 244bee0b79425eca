//! Ridge regression. Solved in closed form, by least squares over rows that say of each weight that it should be
//! 0 (Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, exercise 3.12): the elastic net of linfa
//! without its first part measures how far it is by a gap that never closes then.

use lagar_flow::{Error, Result, codes};
use linfa_linalg::qr::LeastSquaresQrInto;
use ndarray::{Array2, ArrayView1, Axis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{
    checks::above_zero,
    scale::{Scale, moments},
    weights::Line,
};
use crate::algorithm::{Algorithm, Task, Training};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// How much large weights cost: what is made small is the sum of the squared errors plus this times the sum
    /// of the squared weights (the `alpha` of scikit-learn's Ridge). Above 0.
    penalty: f64,
    /// Whether each column is brought to a deviation of 1 first, so that the penalty is fair to columns of any
    /// unit. The coefficients that are shown are those of the columns as they are.
    standardize: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self { penalty: 1.0, standardize: true }
    }
}

pub struct Ridge;

impl Algorithm for Ridge {
    const NAME: &'static str = "ridge";
    const TASK: Task = Task::Regression;
    const ABOUT: &'static str =
        "least squares that keeps weights small, also of columns that follow from others";
    type Params = Params;
    type Fitted = Line;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        above_zero("penalty", params.penalty)
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<Line> {
        let y = ArrayView1::from(training.target.values()?);
        let (mean, deviation) = moments(y);
        let scale = Scale::of(training.x, params.standardize);
        let (rows, columns) = training.x.dim();
        // In scaled columns a weight is `divisor` times what it is in those that the penalty is of.
        let divisor = if params.standardize { 1.0 } else { scale.largest() };
        let root = params.penalty.sqrt() / divisor;
        let mut design = scale.rows(training.x);
        let mut target = Array2::zeros((rows, 1));
        if deviation > 0.0 {
            target.column_mut(0).assign(&y.mapv(|y| (y - mean) / deviation));
        }
        let none = |error| {
            Error::new(codes::PREDICTOR_DATA, "no weights fit")
                .hint("raise `penalty`, or leave `standardize` on")
                .caused_by(&error)
        };
        let shape = |error| Error::bug("rows of the penalty do not fit").caused_by(&error);
        design.append(Axis(0), (Array2::<f64>::eye(columns) * root).view()).map_err(shape)?;
        target.append(Axis(0), Array2::zeros((columns, 1)).view()).map_err(shape)?;
        let weights = design.least_squares_into(target).map_err(none)?;
        let weights: Vec<f64> = weights.iter().copied().collect();
        Line::unscaled(training.features, &scale, &weights, (mean, deviation))
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
        Ridge::fit(params, &training(x.view(), Target::Values(&PROGRESSION), &features))
    }

    /// Ridge(1.0) of scikit-learn on StandardScaler's columns, its coefficients divided by the scales; and on the
    /// columns as they are.
    #[test]
    fn coefficients_are_those_of_scikit_learn() {
        let scaled = line(&Params::default()).unwrap();
        near(
            &scaled.coefficients,
            &[4.268418192747834, 1.2863150617523431, 65.91515113330115, 0.6549778550541124],
            1e-9,
        );
        near(&[scaled.intercept], &[-414.5373539782204], 1e-9);
        let plain = line(&Params { standardize: false, ..Params::default() }).unwrap();
        near(
            &plain.coefficients,
            &[4.970377253606357, 1.4522454497822488, 58.66095265842508, 0.6482068975071242],
            1e-9,
        );
        near(&[plain.intercept], &[-416.12972151626616], 1e-9);
    }

    /// Without the penalty any split between two equal columns would do; with it, only the even one.
    #[test]
    fn equal_columns_share_the_weight() {
        let x = ndarray::array![[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]];
        let features = names(2);
        let target = [1.0, 2.0, 3.0];
        let line =
            Ridge::fit(&Params::default(), &training(x.view(), Target::Values(&target), &features)).unwrap();
        assert!((line.coefficients[0] - line.coefficients[1]).abs() < 1e-12 && line.coefficients[0] > 0.0);
    }
}
