//! Naive Bayes with a normal distribution for each column and class. By own code, not linfa-bayes: that keeps what
//! it learned for itself, in a hash map, so that it can neither be stored as plain numbers nor scored by them.

use std::f64::consts::TAU;

use lagar_flow::Result;
use ndarray::ArrayView2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{
    checks::{above_zero, as_many, classes, known_classes},
    probabilities::{of_rows, softmax},
    scale::Scale,
};
use crate::algorithm::{Algorithm, Fitted, Output, Task, Training};
use crate::math::{ln, square};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Added to the variance that a column has within a class, as a part of the column's variance over all rows:
    /// a column that never varies within a class would rule out everything else. Above 0.
    var_smoothing: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { var_smoothing: 1e-9 }
    }
}

/// Normal distributions of the scaled columns.
#[derive(Debug, Serialize, Deserialize)]
pub struct Normals {
    scale: Scale,
    classes: Vec<Class>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Class {
    /// The part of the rows that are of this class.
    prior: f64,
    /// Of each scaled column, in the rows of this class.
    means: Vec<f64>,
    /// With what was added to them.
    variances: Vec<f64>,
}

pub struct GaussianNaiveBayes;

impl Algorithm for GaussianNaiveBayes {
    const NAME: &'static str = "gaussian_naive_bayes";
    const TASK: Task = Task::Classification;
    const ABOUT: &'static str = "naive Bayes: each column on its own, normally distributed within a class";
    type Params = Params;
    type Fitted = Normals;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        above_zero("var_smoothing", params.var_smoothing)
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<Normals> {
        let (codes, count) = classes(training, Self::NAME)?;
        let scale = Scale::each(training.x);
        let scaled = scale.rows(training.x);
        let class = |class: usize| {
            let of_class =
                || scaled.rows().into_iter().zip(codes).filter(|(_, code)| **code as usize == class);
            let rows = of_class().count() as f64;
            let mut means = vec![0.0; scaled.ncols()];
            for (row, _) in of_class() {
                means.iter_mut().zip(row).for_each(|(mean, value)| *mean += value / rows);
            }
            let mut variances = vec![params.var_smoothing; scaled.ncols()];
            for (row, _) in of_class() {
                let squares = row.iter().zip(&means).map(|(value, mean)| square(value - mean));
                variances.iter_mut().zip(squares).for_each(|(variance, square)| *variance += square / rows);
            }
            Class { prior: rows / codes.len() as f64, means, variances }
        };
        let classes = (0..count).map(class).collect();
        Ok(Normals { scale, classes })
    }
}

impl Class {
    /// The logarithm of the prior times the densities.
    fn score(&self, row: &[f64]) -> f64 {
        let columns = row.iter().zip(&self.means).zip(&self.variances);
        let densities: f64 = columns
            .map(|((value, mean), variance)| square(value - mean) / variance + ln(TAU * variance))
            .sum();
        ln(self.prior) - densities / 2.0
    }
}

impl Fitted for Normals {
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Output> {
        let mut scaled = Vec::new();
        Ok(of_rows(x, self.classes.len(), |row, scores| {
            self.scale.row(row, &mut scaled);
            scores.iter_mut().zip(&self.classes).for_each(|(score, class)| *score = class.score(&scaled));
            softmax(scores);
        }))
    }

    fn check(&self, columns: usize, classes: usize) -> Result<(), String> {
        known_classes(self.classes.len(), classes)?;
        self.scale.check(columns)?;
        self.classes.iter().try_for_each(|class| {
            as_many("means", class.means.len(), "columns", columns)?;
            as_many("variances", class.variances.len(), "columns", columns)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        algorithm::Target,
        algorithms::shared::samples::{IRIS, iris_classes, matrix, names, near, training},
    };

    /// GaussianNB of scikit-learn on StandardScaler's columns, rows 10 and 27.
    #[test]
    fn probabilities_are_those_of_scikit_learn() {
        let (x, features, codes) = (matrix(&IRIS), names(4), iris_classes());
        let target = Target::Classes { codes: &codes, count: 3 };
        let normals =
            GaussianNaiveBayes::fit(&Params::default(), &training(x.view(), target, &features)).unwrap();
        let Output::Probabilities(found) = normals.predict(x.view()).unwrap() else {
            panic!("no probabilities")
        };
        near(
            &found.row(10).to_vec(),
            &[9.766914203455667e-142, 0.9979462263926737, 0.002053773607326123],
            1e-9,
        );
        near(&found.row(27).to_vec(), &[0.0, 4.186084739182879e-11, 0.9999999999581393], 1e-12);
    }

    /// Two classes with means 0 and 4 and variance 1: at 2 it is the priors that count, 1 to 2.
    #[test]
    fn priors_decide_in_the_middle() {
        let x = ndarray::array![[-1.0], [1.0], [3.0], [5.0], [3.0], [5.0]];
        let features = names(1);
        let target = Target::Classes { codes: &[0, 0, 1, 1, 1, 1], count: 2 };
        let normals =
            GaussianNaiveBayes::fit(&Params::default(), &training(x.view(), target, &features)).unwrap();
        let asked = ndarray::array![[2.0], [1e300]];
        let Output::Probabilities(found) = normals.predict(asked.view()).unwrap() else {
            panic!("no probabilities")
        };
        near(&found.row(0).to_vec(), &[1.0 / 3.0, 2.0 / 3.0], 1e-9);
        assert!(found.iter().all(|p| p.is_finite()));
    }
}
