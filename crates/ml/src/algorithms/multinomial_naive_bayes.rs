//! Naive Bayes of counts. By own code, not linfa-bayes: that prints what it learns of each class to the error
//! output, and keeps it for itself.

use lagar_flow::{Error, Result, codes};
use ndarray::{ArrayView1, ArrayView2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{
    checks::{above_zero, as_many, classes, known_classes},
    probabilities::{of_rows, softmax},
    scale::FAR,
    weights::{finite, named},
};
use crate::algorithm::{Algorithm, Explanation, Fitted, Output, Task, Training};
use crate::math::ln;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Added to the count of each column in each class, so that what was never seen is not impossible. Above 0.
    alpha: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { alpha: 1.0 }
    }
}

/// The score of a class is `prior + Σ weight · count`; its probability `eˢ / Σ eˢ` over the classes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Counts {
    /// The columns of the matrix.
    features: Vec<String>,
    classes: Vec<Class>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Class {
    /// The logarithm of the part of the rows that are of this class.
    prior: f64,
    /// The logarithm of the part that each column has of all counts in this class.
    weights: Vec<f64>,
}

pub struct MultinomialNaiveBayes;

impl Algorithm for MultinomialNaiveBayes {
    const NAME: &'static str = "multinomial_naive_bayes";
    const TASK: Task = Task::Classification;
    const ABOUT: &'static str = "naive Bayes of counts, such as those of words";
    type Params = Params;
    type Fitted = Counts;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        above_zero("alpha", params.alpha)
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<Counts> {
        let (codes_of_rows, count) = classes(training, Self::NAME)?;
        not_negative(training)?;
        // Sums of counts are taken in this unit, in which they do not overflow.
        let unit = training.x.iter().copied().fold(1.0, f64::max);
        let class = |class: usize| {
            let mut counts = vec![0.0; training.x.ncols()];
            let mut rows = 0.0;
            for (row, code) in training.x.rows().into_iter().zip(codes_of_rows) {
                if *code as usize == class {
                    rows += 1.0;
                    counts.iter_mut().zip(row).for_each(|(count, value)| *count += value / unit);
                }
            }
            let added = (params.alpha / unit).max(f64::MIN_POSITIVE);
            counts.iter_mut().for_each(|count| *count += added);
            let all: f64 = counts.iter().sum();
            Class {
                prior: ln(rows / codes_of_rows.len() as f64),
                weights: counts.iter().map(|count| ln(*count) - ln(all)).collect(),
            }
        };
        let classes: Vec<Class> = (0..count).map(class).collect();
        finite(classes.iter().flat_map(|class| &class.weights))?;
        Ok(Counts { features: training.features.to_vec(), classes })
    }
}

fn not_negative(training: &Training<'_>) -> Result<()> {
    for (column, name) in training.x.columns().into_iter().zip(training.features) {
        if let Some(value) = column.iter().find(|value| **value < 0.0) {
            let algorithm = MultinomialNaiveBayes::NAME;
            let message = format!("`{algorithm}` learns from counts, and `{name}` has the value {value}");
            return Err(Error::new(codes::PREDICTOR_DATA, message)
                .hint("leave the column out, or use `gaussian_naive_bayes`"));
        }
    }
    Ok(())
}

impl Class {
    /// `unit`: by what the counts are divided.
    fn score(&self, row: ArrayView1<'_, f64>, unit: f64) -> f64 {
        self.prior + row.iter().zip(&self.weights).map(|(value, weight)| value / unit * weight).sum::<f64>()
    }
}

impl Fitted for Counts {
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Output> {
        Ok(of_rows(x, self.classes.len(), |row, scores| {
            // So large counts decide for one class entirely, also if they are made smaller to be added up.
            let unit = row.iter().fold(1.0, |unit: f64, value| unit.max(value.abs() / FAR));
            scores.iter_mut().zip(&self.classes).for_each(|(score, class)| *score = class.score(row, unit));
            softmax(scores);
        }))
    }

    fn check(&self, columns: usize, classes: usize) -> Result<(), String> {
        known_classes(self.classes.len(), classes)?;
        as_many("names", self.features.len(), "columns", columns)?;
        let own = |class: &Class| as_many("weights", class.weights.len(), "columns", columns);
        self.classes.iter().try_for_each(own)
    }

    /// Of two classes the difference between the second and the first.
    fn explain(&self) -> Explanation {
        let coefficients = match self.classes.as_slice() {
            [first, second] => {
                let weights: Vec<f64> =
                    second.weights.iter().zip(&first.weights).map(|(second, first)| second - first).collect();
                named(&self.features, &weights, second.prior - first.prior, None)
            }
            classes => {
                let each = classes.iter().enumerate();
                each.flat_map(|(place, class)| {
                    named(&self.features, &class.weights, class.prior, Some(place))
                })
                .collect()
            }
        };
        Explanation { coefficients, ..Explanation::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        algorithm::Target,
        algorithms::shared::samples::{IRIS, iris_classes, matrix, names, near, training},
    };

    /// MultinomialNB of scikit-learn, rows 0 and 13.
    #[test]
    fn probabilities_are_those_of_scikit_learn() {
        let (x, features, codes) = (matrix(&IRIS), names(4), iris_classes());
        let target = Target::Classes { codes: &codes, count: 3 };
        let counts =
            MultinomialNaiveBayes::fit(&Params::default(), &training(x.view(), target, &features)).unwrap();
        let expected = [-0.7175615387312329, -1.1051269696893038, -1.913958549248711, -3.399343812012833];
        near(&counts.classes[0].weights, &expected, 1e-9);
        let Output::Probabilities(found) = counts.predict(x.view()).unwrap() else {
            panic!("no probabilities")
        };
        near(&found.row(0).to_vec(), &[0.7475499353157754, 0.1654873332003533, 0.08696273148387171], 1e-9);
        near(&found.row(13).to_vec(), &[0.0838441472125181, 0.49659047041308774, 0.41956538237439533], 1e-9);
    }

    #[test]
    fn a_negative_value_is_an_error_that_names_its_column() {
        let x = ndarray::array![[1.0, 2.0], [3.0, -4.5]];
        let features = names(2);
        let target = Target::Classes { codes: &[0, 1], count: 2 };
        let error = MultinomialNaiveBayes::fit(&Params::default(), &training(x.view(), target, &features))
            .unwrap_err();
        assert_eq!(error.code(), codes::PREDICTOR_DATA);
        assert!(error.message().contains("`f1`") && error.message().contains("-4.5"), "{error}");
    }
}
