//! Logistic regression, of two classes or more. By own code, not linfa-logistic 0.8.1: for three classes and more
//! that takes one largest score for all rows before exponents are taken. One unusual row drowns the loss of the
//! others; what it then returns is not the minimum, and nothing says so.

use lagar_flow::{Error, Result, codes};
use ndarray::{Array2, ArrayView2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{
    checks::{above_zero, as_many, at_least_one, classes, known_classes},
    minimise::minimise,
    probabilities::{of_rows, softmax},
    scale::Scale,
    weights::{finite, named},
};
use crate::algorithm::{Algorithm, Explanation, Fitted, Output, Task, Training};
use crate::math::{exp, ln};
use crate::parallel::in_order;

/// Rows whose loss is added up at once. The same for any number of threads, so that sums are too.
const BLOCK: usize = 4096;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// How much large weights cost: what is made small is the sum of the rows' losses plus half of this times the
    /// sum of the squared weights, of columns that are brought to a deviation of 1 (1/`C` of scikit-learn's
    /// LogisticRegression behind a StandardScaler). Above 0.
    penalty: f64,
    /// Steps at most. If they are not enough, that is an error.
    max_iterations: usize,
    /// It is done when the mean loss changes by less than this for each unit of any weight.
    tolerance: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { penalty: 1.0, max_iterations: 1000, tolerance: 1e-6 }
    }
}

/// A score for each class: the probability of a class is `eˢ / Σ eˢ` over the classes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Scores {
    /// The columns of the matrix.
    features: Vec<String>,
    scale: Scale,
    classes: usize,
    /// For each class the weights of the scaled columns, and the intercept as the last. Of two classes only those
    /// of the second: the first one's score is 0.
    weights: Vec<Vec<f64>>,
    iterations: usize,
}

pub struct Logistic;

impl Algorithm for Logistic {
    const NAME: &'static str = "logistic";
    const TASK: Task = Task::Classification;
    const ABOUT: &'static str =
        "logistic regression: a probability for each class from a weighted sum of the columns";
    type Params = Params;
    type Fitted = Scores;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        above_zero("penalty", params.penalty)?;
        at_least_one("max_iterations", params.max_iterations)?;
        above_zero("tolerance", params.tolerance)
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<Scores> {
        let (codes_of_rows, classes) = classes(training, Self::NAME)?;
        let scale = Scale::each(training.x);
        let problem = Problem {
            x: scale.rows(training.x),
            codes: codes_of_rows,
            classes,
            penalty: params.penalty,
            threads: training.threads,
        };
        let long = training.x.ncols() + 1;
        let start = vec![0.0; long * problem.scored()];
        let end = minimise(start, params.max_iterations, params.tolerance, |weights| problem.loss(weights))?;
        finite(end.at.iter().chain([&end.gradient]))?;
        if end.gradient > params.tolerance {
            let message = format!(
                "`{}` is not done after {} iterations: the mean loss still changes by {:.1e} for a unit of a \
                 weight, and {:.1e} is asked",
                Self::NAME,
                end.iterations,
                end.gradient,
                params.tolerance
            );
            return Err(Error::new(codes::PREDICTOR_DATA, message).hint(
                "raise `penalty` (classes that can be told apart without a fault need one), \
                       `max_iterations` or `tolerance`",
            ));
        }
        let weights = end.at.chunks(long).map(<[f64]>::to_vec).collect();
        Ok(Scores {
            features: training.features.to_vec(),
            scale,
            classes,
            weights,
            iterations: end.iterations,
        })
    }
}

struct Problem<'a> {
    x: Array2<f64>,
    codes: &'a [u32],
    classes: usize,
    penalty: f64,
    threads: usize,
}

impl Problem<'_> {
    /// Classes that have weights.
    fn scored(&self) -> usize {
        if self.classes == 2 { 1 } else { self.classes }
    }

    /// The mean loss of the rows with the penalty, and its gradient.
    fn loss(&self, weights: &[f64]) -> Result<(f64, Vec<f64>)> {
        let rows = self.x.nrows();
        let blocks =
            in_order(rows.div_ceil(BLOCK), self.threads, |block| self.block(block * BLOCK, weights))?;
        let long = self.x.ncols() + 1;
        let mut loss = 0.0;
        let mut gradient = vec![0.0; weights.len()];
        for (place, weight) in weights.iter().enumerate().filter(|(place, _)| (place + 1) % long != 0) {
            loss += self.penalty / 2.0 * weight * weight;
            gradient[place] = self.penalty * weight;
        }
        for (of_block, gradient_of_block) in blocks {
            loss += of_block;
            gradient.iter_mut().zip(gradient_of_block).for_each(|(sum, part)| *sum += part);
        }
        gradient.iter_mut().for_each(|part| *part /= rows as f64);
        Ok((loss / rows as f64, gradient))
    }

    /// `-ln p` of the right classes of the rows of a block, and its gradient.
    fn block(&self, first: usize, weights: &[f64]) -> (f64, Vec<f64>) {
        let long = self.x.ncols() + 1;
        let mut loss = 0.0;
        let mut gradient = vec![0.0; weights.len()];
        let mut scores = vec![0.0; self.classes];
        let mut scaled = Vec::new();
        for (row, code) in (first..self.x.nrows().min(first + BLOCK)).zip(&self.codes[first..]) {
            scaled.clear();
            scaled.extend(self.x.row(row));
            let right = *code as usize;
            score(&scaled, weights.chunks(long), &mut scores);
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scores.iter().map(|score| exp(score - largest)).sum();
            loss += largest - scores[right] + ln(sum);
            softmax(&mut scores);
            scores[right] -= 1.0;
            let scored = &scores[self.classes - self.scored()..];
            for (error, gradient) in scored.iter().zip(gradient.chunks_mut(long)) {
                gradient
                    .iter_mut()
                    .zip(scaled.iter().chain([&1.0]))
                    .for_each(|(g, value)| *g += error * value);
            }
        }
        (loss, gradient)
    }
}

/// The scores of one scaled row. If there are weights of one class less, that of the first is 0.
fn score<'a>(row: &[f64], weights: impl ExactSizeIterator<Item = &'a [f64]>, scores: &mut [f64]) {
    let first = scores.len() - weights.len();
    scores[..first].fill(0.0);
    for (score, weights) in scores[first..].iter_mut().zip(weights) {
        *score = row.iter().chain([&1.0]).zip(weights).map(|(value, weight)| value * weight).sum();
    }
}

impl Fitted for Scores {
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Output> {
        let mut scaled = Vec::new();
        Ok(of_rows(x, self.classes, |row, scores| {
            self.scale.row(row, &mut scaled);
            score(&scaled, self.weights.iter().map(Vec::as_slice), scores);
            softmax(scores);
        }))
    }

    fn check(&self, columns: usize, classes: usize) -> Result<(), String> {
        known_classes(self.classes, classes)?;
        self.scale.check(columns)?;
        as_many("names", self.features.len(), "columns", columns)?;
        let scored = if classes == 2 { 1 } else { classes };
        as_many("lists of weights", self.weights.len(), "classes with a score", scored)?;
        self.weights.iter().try_for_each(|weights| {
            as_many("weights", weights.len(), "columns and the intercept", columns.saturating_add(1))
        })
    }

    /// Of the columns as they are.
    fn explain(&self) -> Explanation {
        let several = self.classes > 2;
        let coefficients = self.weights.iter().enumerate().flat_map(|(class, weights)| {
            let (weights, constant) = weights.split_at(self.features.len());
            let (weights, intercept) = self.scale.unscaled(weights, constant[0]);
            named(&self.features, &weights, intercept, several.then_some(class))
        });
        Explanation {
            coefficients: coefficients.collect(),
            figures: vec![("iterations".to_owned(), self.iterations as f64)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        algorithm::Target,
        algorithms::shared::samples::{
            CANCER, CANCER_CLASSES, IRIS, iris_classes, matrix, names, near, training,
        },
    };

    fn exact() -> Params {
        Params { tolerance: 1e-9, ..Params::default() }
    }

    fn iris(params: &Params) -> Result<Scores> {
        let (x, features, codes) = (matrix(&IRIS), names(4), iris_classes());
        Logistic::fit(params, &training(x.view(), Target::Classes { codes: &codes, count: 3 }, &features))
    }

    fn probabilities(scores: &Scores, x: ArrayView2<'_, f64>, row: usize) -> Vec<f64> {
        let Output::Probabilities(all) = scores.predict(x).unwrap() else { panic!("no probabilities") };
        all.row(row).to_vec()
    }

    /// LogisticRegression(C=1, tol=1e-12) of scikit-learn on StandardScaler's columns; coefficients divided by the
    /// scales.
    #[test]
    fn two_classes_are_as_with_scikit_learn() {
        let (x, features) = (matrix(&CANCER), names(4));
        let target = Target::Classes { codes: &CANCER_CLASSES, count: 2 };
        let scores = Logistic::fit(&exact(), &training(x.view(), target, &features)).unwrap();
        let coefficients = scores.explain().coefficients;
        assert!(coefficients.iter().all(|coefficient| coefficient.class.is_none()));
        let values: Vec<f64> = coefficients.iter().map(|coefficient| coefficient.value).collect();
        let expected = [
            -0.22651531836469482,
            -0.1432863368155099,
            -0.0026176589955276613,
            -42.035628866338904,
            10.84678827766211,
        ];
        near(&values, &expected, 1e-6);
        near(&probabilities(&scores, x.view(), 1), &[1.0 - 0.4036878038413139, 0.4036878038413139], 1e-6);
    }

    #[test]
    fn three_classes_are_as_with_scikit_learn() {
        let x = matrix(&IRIS);
        let scores = iris(&exact()).unwrap();
        let expected = [
            [-0.756447186708591, 0.5534945250730506, -1.1878256861969463, -1.0618994938940665],
            [-0.10645105394748135, -0.4813615525258572, 0.18778188004273344, -0.34088285334836316],
            [0.8628982406560725, -0.07213297254719342, 1.0000438061542125, 1.4027823472424297],
        ];
        for (weights, expected) in scores.weights.iter().zip(expected) {
            near(&weights[..4], &expected, 1e-6);
        }
        let expected = [0.05250531446110293, 0.6670107851917257, 0.2804839003471713];
        near(&probabilities(&scores, x.view(), 13), &expected, 1e-6);
        // C=100.
        let scores = iris(&Params { penalty: 0.01, ..exact() }).unwrap();
        let expected = [0.0007597748388304156, 0.9912708556987941, 0.007969369362475517];
        near(&probabilities(&scores, x.view(), 13), &expected, 1e-5);
    }

    /// The penalty's gradient is the loss's: at the minimum, intercepts make the mean probability of a class its
    /// share of the rows, however unusual one row is.
    #[test]
    fn an_unusual_row_does_not_drown_the_others() {
        let (mut x, features, codes) = (matrix(&IRIS), names(4), iris_classes());
        x[[29, 3]] = 1e6;
        let target = Target::Classes { codes: &codes, count: 3 };
        let scores = Logistic::fit(&Params::default(), &training(x.view(), target, &features)).unwrap();
        let Output::Probabilities(all) = scores.predict(x.view()).unwrap() else {
            panic!("no probabilities")
        };
        near(&all.sum_axis(ndarray::Axis(0)).to_vec(), &[10.0, 10.0, 10.0], 1e-4);
    }

    /// More rows than one thread adds up at once.
    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let x =
            Array2::from_shape_fn((2 * BLOCK + 100, 2), |(row, column)| ((row * (7 + column)) % 101) as f64);
        let codes: Vec<u32> =
            (0..x.nrows()).map(|row| ((row * 7 % 101 + row % 40) / 50 % 3) as u32).collect();
        let features = names(2);
        let target = Target::Classes { codes: &codes, count: 3 };
        let weights = [1, 2, 3].map(|threads| {
            let training = Training { threads, ..training(x.view(), target, &features) };
            Logistic::fit(&Params { tolerance: 1e-3, ..Params::default() }, &training).unwrap().weights
        });
        assert_eq!(weights[0], weights[1]);
        assert_eq!(weights[0], weights[2]);
    }

    #[test]
    fn what_is_not_done_is_an_error_with_its_figures() {
        let error = iris(&Params { max_iterations: 2, ..Params::default() }).unwrap_err();
        assert_eq!(error.code(), codes::PREDICTOR_DATA);
        assert!(error.message().contains("after 2 iterations"), "{error}");
        assert!(error.hint_text().unwrap().contains("penalty"));
    }

    #[test]
    fn one_class_is_an_error() {
        let (x, features, codes) = (matrix(&IRIS), names(4), vec![0; 30]);
        let target = Target::Classes { codes: &codes, count: 1 };
        let error = Logistic::fit(&exact(), &training(x.view(), target, &features)).unwrap_err();
        assert!(error.message().contains("one class"), "{error}");
    }
}
