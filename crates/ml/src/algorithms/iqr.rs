//! Tukey's fences (Exploratory Data Analysis, 1977).

use lagar_flow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::ranges::{Range, Ranges, check, quantile};
use crate::algorithm::{Algorithm, Task, Training};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// How many times the distance between the quartiles a value must lie below the lower or above the upper one
    /// to be an outlier. With 3 only what is far out is one.
    factor: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { factor: 1.5 }
    }
}

/// A column whose quartiles are the same value (half of the rows hold it) has no fences, and is not judged.
pub struct Iqr;

impl Algorithm for Iqr {
    const NAME: &'static str = "iqr";
    const TASK: Task = Task::Outliers;
    const ABOUT: &'static str =
        "Tukey's fences: how many interquartile ranges a column is outside its quartiles";
    type Params = Params;
    type Fitted = Ranges;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        check("factor", params.factor)
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<Ranges> {
        training.at_least(4, Self::NAME)?;
        Ranges::learn(training, params.factor, "the quartiles are the same value", |values| {
            let (low, high) = (quantile(values, 0.25), quantile(values, 0.75));
            Range { low, high, unit: high - low }
        })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::algorithm::{Fitted, Output, Target};

    /// The quartiles of 1 … 9 are 3 and 7, so the fences are -3 and 13. The second column has none.
    #[test]
    fn fences_by_hand() {
        let x = ndarray::Array2::from_shape_fn((9, 2), |(row, column)| match column {
            0 => (row + 1) as f64,
            _ => f64::from(u8::from(row == 0)),
        });
        let features = ["x".to_owned(), "rare".to_owned()];
        let training =
            Training { x: x.view(), target: Target::None, features: &features, seed: 0, threads: 1 };
        let fitted = Iqr::fit(&Params::default(), &training).unwrap();
        let asked = array![[5.0, 0.0], [13.0, 0.0], [13.1, 0.0], [-3.0, 0.0], [-5.0, 7.0]];
        let Output::Scores { scores, outliers } = fitted.predict(asked.view()).unwrap() else { panic!() };
        for (score, expected) in scores.iter().zip([0.0, 1.5, 1.525, 1.5, 2.0]) {
            assert!((score - expected).abs() < 1e-12, "{score} {expected}");
        }
        assert_eq!(outliers, [false, false, true, false, true]);
        let figures = fitted.explain().figures;
        assert_eq!(figures[0], ("lowest usual value of x".to_owned(), -3.0));
        assert_eq!(figures[1], ("highest usual value of x".to_owned(), 13.0));
        assert_eq!(figures[2], ("columns not judged".to_owned(), 1.0));
    }

    #[test]
    fn without_any_fences_there_is_an_error() {
        let x = array![[1.0], [1.0], [1.0], [1.0], [9.0]];
        let features = ["x".to_owned()];
        let training =
            Training { x: x.view(), target: Target::None, features: &features, seed: 0, threads: 1 };
        let error = Iqr::fit(&Params::default(), &training).unwrap_err();
        assert!(error.message().contains("quartiles"), "{error}");
    }
}
