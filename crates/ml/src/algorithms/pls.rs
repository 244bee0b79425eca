//! Partial least squares for one target (PLS1; Wold, Sjöström, Eriksson, "PLS-regression: a basic tool of
//! chemometrics", 2001). By own code, not linfa-pls 0.8.1: asked for two components, that panics if a column is
//! constant, gives weights of 4e14 if two columns are equal, and an error if one component explains the target.

use lagar_flow::Result;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{
    checks::at_least_one,
    scale::{Scale, moments},
    weights::Line,
};
use crate::algorithm::{Algorithm, Explanation, Fitted, Output, Task, Training};

/// What is left of columns and target after this part of them was explained is rounding.
const USED_UP: f64 = 1e-10;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Components at most; fewer if fewer explain all that the columns say of the target.
    components: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self { components: 2 }
    }
}

/// A line through components.
#[derive(Debug, Serialize, Deserialize)]
pub struct Components {
    /// How many were found.
    components: usize,
    /// They are sums of columns, so that what they say together is a line again.
    line: Line,
}

pub struct Pls;

impl Algorithm for Pls {
    const NAME: &'static str = "pls";
    const TASK: Task = Task::Regression;
    const ABOUT: &'static str = "partial least squares: for many columns that say much the same";
    type Params = Params;
    type Fitted = Components;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        at_least_one("components", params.components)
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<Components> {
        training.at_least(2, Self::NAME)?;
        let y = ArrayView1::from(training.target.values()?);
        let (mean, deviation) = moments(y);
        let scale = Scale::each(training.x);
        let scaled_y = y.mapv(|y| if deviation > 0.0 { (y - mean) / deviation } else { 0.0 });
        let (weights, components) = weights(scale.rows(training.x), scaled_y, params.components);
        let line = Line::unscaled(training.features, &scale, &weights, (mean, deviation))?;
        Ok(Components { components, line })
    }
}

/// The weights of the columns, and from how many components. Each component is the sum of columns that goes best
/// with what is left of the target; then what it explains is taken from columns and target.
fn weights(mut x: Array2<f64>, mut y: Array1<f64>, components: usize) -> (Vec<f64>, usize) {
    let mut weights = Array1::zeros(x.ncols());
    let (mut directions, mut loadings): (Vec<Array1<f64>>, Vec<Array1<f64>>) = (Vec::new(), Vec::new());
    let enough = USED_UP * x.nrows() as f64;
    for _ in 0..components.min(x.ncols()).min(x.nrows() - 1) {
        let mut towards = x.t().dot(&y);
        let length = towards.dot(&towards).sqrt();
        if length <= enough {
            break;
        }
        towards /= length;
        let score = x.dot(&towards);
        let squares = score.dot(&score);
        if squares <= enough {
            break;
        }
        let loading = x.t().dot(&score) / squares;
        let slope = score.dot(&y) / squares;
        for (mut row, score) in x.rows_mut().into_iter().zip(&score) {
            row.scaled_add(-score, &loading);
        }
        y.scaled_add(-slope, &score);
        // The direction in the columns as they were, not in what the earlier components left of them.
        let mut direction = towards.clone();
        for (earlier, loading) in directions.iter().zip(&loadings) {
            direction.scaled_add(-loading.dot(&towards), earlier);
        }
        weights.scaled_add(slope, &direction);
        directions.push(direction);
        loadings.push(loading);
    }
    (weights.to_vec(), directions.len())
}

impl Fitted for Components {
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Output> {
        self.line.predict(x)
    }

    fn check(&self, columns: usize, classes: usize) -> Result<(), String> {
        self.line.check(columns, classes)
    }

    fn explain(&self) -> Explanation {
        let figures = vec![("components".to_owned(), self.components as f64)];
        Explanation { figures, ..self.line.explain() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        algorithm::Target,
        algorithms::shared::samples::{DIABETES, PROGRESSION, matrix, names, near, training},
    };

    fn line(params: &Params) -> Result<Components> {
        let (x, features) = (matrix(&DIABETES), names(4));
        Pls::fit(params, &training(x.view(), Target::Values(&PROGRESSION), &features))
    }

    /// PLSRegression of scikit-learn; with as many components as columns it is ordinary least squares.
    #[test]
    fn coefficients_are_those_of_scikit_learn() {
        let expected = [
            (
                1,
                [5.447814587116857, 1.4895544684947801, 43.968856289601966, -0.6815660470415718],
                -301.70822668982134,
            ),
            (
                2,
                [3.933768063257368, 1.7657990033862012, 62.85145784219508, 0.6443539268723744],
                -436.6024420554646,
            ),
            (
                4,
                [4.324956675434535, 1.2805449535682571, 69.16338885722334, 0.7505131318123297],
                -435.1683852073993,
            ),
        ];
        for (components, coefficients, intercept) in expected {
            let found = line(&Params { components }).unwrap();
            assert_eq!(found.components, components);
            near(&found.line.coefficients, &coefficients, 1e-9);
            near(&[found.line.intercept], &[intercept], 1e-9);
        }
    }

    #[test]
    fn components_end_where_nothing_is_left_to_explain() {
        let x = ndarray::array![[1.0, 2.0, 5.0], [2.0, 4.0, 5.0], [3.0, 6.0, 5.0], [4.0, 8.0, 5.0]];
        let features = names(3);
        let target = [3.0, 5.0, 7.0, 9.0];
        let training = training(x.view(), Target::Values(&target), &features);
        let found = Pls::fit(&Params { components: 3 }, &training).unwrap();
        assert_eq!(found.components, 1);
        near(&found.line.values(x.view()), &target, 1e-12);
    }
}
