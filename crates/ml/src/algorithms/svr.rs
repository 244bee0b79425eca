//! Support vector regression (Smola and Schölkopf, "A tutorial on support vector regression", 2004).

use lagar_flow::Result;
use ndarray::{ArrayView1, ArrayView2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{
    checks::{above_zero, as_many, at_least_one},
    scale::{Scale, moments},
    smo::Problem,
    support::{Effort, Kernel, Machine, Shape, Vectors},
    weights::named,
};
use crate::algorithm::{Algorithm, Explanation, Fitted, Output, Task, Training};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// How alike two rows are: `gaussian`: by their distance; `linear`: the answer is a line. All columns are
    /// brought to a deviation of 1 first.
    kernel: Shape,
    /// How much an error costs, of a target that is brought to a deviation of 1: the larger, the closer to the rows
    /// it is. Above 0.
    c: f64,
    /// Errors up to this cost nothing, in deviations of the target. 0 or above.
    epsilon: f64,
    /// How fast the gaussian kernel falls with the squared distance. If it is left out: one by the number of columns.
    gamma: Option<f64>,
    /// More rows than this are an error: each is compared with each other one, which takes 8 bytes (200 MB for 5000
    /// rows).
    max_rows: usize,
    /// Steps at most. If they are not enough, that is an error.
    max_iterations: usize,
    /// How far the conditions of the best answer may be missed.
    tolerance: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            kernel: Shape::Gaussian,
            c: 1.0,
            epsilon: 0.1,
            gamma: None,
            max_rows: 5000,
            max_iterations: 1_000_000,
            tolerance: 1e-3,
        }
    }
}

/// `mean + deviation · (bias + Σ weight · similarity)`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Curve {
    /// The columns of the matrix.
    features: Vec<String>,
    vectors: Vectors,
    machine: Machine,
    /// Of the target.
    mean: f64,
    deviation: f64,
}

pub struct Svr;

impl Algorithm for Svr {
    const NAME: &'static str = "svr";
    const TASK: Task = Task::Regression;
    const ABOUT: &'static str = "support vector regression: a smooth curve through similar rows";
    type Params = Params;
    type Fitted = Curve;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        above_zero("c", params.c)?;
        if !(params.epsilon >= 0.0 && params.epsilon.is_finite()) {
            return Err(("epsilon", format!("must be 0 or above, and is {}", params.epsilon)));
        }
        params.gamma.map_or(Ok(()), |gamma| above_zero("gamma", gamma))?;
        at_least_one("max_iterations", params.max_iterations)?;
        above_zero("tolerance", params.tolerance)
    }

    fn bytes(params: &Params, rows: usize) -> u64 {
        Kernel::bytes(rows, params.max_rows)
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<Curve> {
        training.at_most(params.max_rows, Self::NAME)?;
        let y = ArrayView1::from(training.target.values()?);
        let (mean, deviation) = moments(y);
        let scaled_y = y.mapv(|y| if deviation > 0.0 { (y - mean) / deviation } else { 0.0 });
        let scale = Scale::each(training.x);
        let x = scale.rows(training.x);
        let kernel = Kernel::new(params.kernel, params.gamma, x.ncols());
        let similar = kernel.all(&x, training.threads)?;
        let rows = training.rows();
        let above = scaled_y.iter().map(|y| params.epsilon - y);
        let below = scaled_y.iter().map(|y| params.epsilon + y);
        // Two variables for each row: how much it pulls the curve up, and how much down.
        let problem = Problem {
            similar: &similar,
            rows: (0..rows).chain(0..rows).collect(),
            signs: (0..2 * rows).map(|variable| if variable < rows { 1.0 } else { -1.0 }).collect(),
            linear: above.chain(below).collect(),
            most: params.c,
        };
        let effort = Effort { max_iterations: params.max_iterations, tolerance: params.tolerance };
        let mut machine = Machine::solve(&problem, effort, Self::NAME)?;
        let vectors = Vectors::of(scale, kernel, &x, std::slice::from_mut(&mut machine));
        Ok(Curve { features: training.features.to_vec(), vectors, machine, mean, deviation })
    }
}

impl Fitted for Curve {
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Output> {
        let (mut scaled, mut similar) = (Vec::new(), Vec::new());
        let values = x.rows().into_iter().map(|row| {
            self.vectors.similar(row, &mut scaled, &mut similar);
            self.mean + self.deviation * self.machine.decide(&similar)
        });
        Ok(Output::Values(values.collect()))
    }

    fn check(&self, columns: usize, _: usize) -> Result<(), String> {
        as_many("names", self.features.len(), "columns", columns)?;
        self.vectors.check(columns, [&self.machine])
    }

    /// Coefficients of a linear kernel, of the columns as they are.
    fn explain(&self) -> Explanation {
        let line = self.vectors.line(&self.machine, self.deviation);
        let coefficients =
            line.map(|(weights, constant)| named(&self.features, &weights, constant + self.mean, None));
        Explanation { coefficients: coefficients.unwrap_or_default(), figures: self.vectors.figures() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        algorithm::Target,
        algorithms::shared::samples::{DIABETES, PROGRESSION, matrix, names, near, training},
    };

    fn curve(kernel: Shape) -> Curve {
        let (x, features) = (matrix(&DIABETES), names(4));
        let params = Params { kernel, tolerance: 1e-10, ..Params::default() };
        Svr::fit(&params, &training(x.view(), Target::Values(&PROGRESSION), &features)).unwrap()
    }

    fn first_five(curve: &Curve) -> Vec<f64> {
        let x = matrix(&DIABETES);
        let Output::Values(values) = curve.predict(x.view()).unwrap() else { panic!("no values") };
        values[..5].to_vec()
    }

    /// SVR(C=1, epsilon=0.1, gamma=0.25, tol=1e-10) of scikit-learn on StandardScaler's columns and target. It keeps
    /// similarities in 32 bits.
    #[test]
    fn answers_are_those_of_scikit_learn() {
        let expected = [
            183.18969513391679,
            103.90446295101759,
            246.13364476934723,
            175.0955361106049,
            195.09553608173155,
        ];
        let gaussian = curve(Shape::Gaussian);
        near(&first_five(&gaussian), &expected, 1e-7);
        assert_eq!(gaussian.explain().figures, [("support_vectors".to_owned(), 24.0)]);
        let linear = curve(Shape::Linear);
        let expected = [
            211.03915907959984,
            120.74290882039631,
            228.913796732621,
            157.42007956867027,
            208.90445016416396,
        ];
        near(&first_five(&linear), &expected, 1e-6);
    }

    #[test]
    fn coefficients_of_a_line_give_its_answers() {
        let curve = curve(Shape::Linear);
        let values: Vec<f64> = curve.explain().coefficients.iter().map(|c| c.value).collect();
        near(
            &values[..4],
            &[7.208971786803629, 1.209826561882518, 56.35325008855274, 0.518963219079694],
            2e-6,
        );
        let line = |row: &[f64; 4]| row.iter().chain([&1.0]).zip(&values).map(|(x, c)| x * c).sum::<f64>();
        near(&DIABETES[..5].iter().map(line).collect::<Vec<_>>(), &first_five(&curve), 1e-9);
    }

    #[test]
    fn too_many_rows_or_too_few_iterations_are_errors() {
        let (x, features) = (matrix(&DIABETES), names(4));
        let training = training(x.view(), Target::Values(&PROGRESSION), &features);
        let error = Svr::fit(&Params { max_rows: 24, ..Params::default() }, &training).unwrap_err();
        assert!(error.message().contains("25 rows are more than 24"), "{error}");
        let error = Svr::fit(&Params { max_iterations: 3, ..Params::default() }, &training).unwrap_err();
        assert!(error.message().contains("after 3 iterations"), "{error}");
    }
}
