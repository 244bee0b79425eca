//! Fisher's iris (1936), as scikit-learn has it: rows to compare with what others compute.

use ndarray::Array2;

use crate::algorithm::{Target, Training};

pub(crate) struct Iris {
    pub(crate) x: Array2<f64>,
    features: Vec<String>,
}

pub(crate) fn iris() -> Iris {
    let mut lines = include_str!("../../../tests/data/iris.csv").lines();
    let features: Vec<String> = lines.next().unwrap().split(',').map(str::to_owned).collect();
    let values: Vec<f64> = lines.flat_map(|line| line.split(',').map(|v| v.parse().unwrap())).collect();
    Iris { x: Array2::from_shape_vec((150, 4), values).unwrap(), features }
}

impl Iris {
    pub(crate) fn training(&self) -> Training<'_> {
        Training { x: self.x.view(), target: Target::None, features: &self.features, seed: 1, threads: 2 }
    }

    /// The same rows, the last first.
    pub(crate) fn reversed(mut self) -> Self {
        self.x.invert_axis(ndarray::Axis(0));
        self
    }
}

/// Whether two numbers are the same but for the part `within`.
#[track_caller]
pub(crate) fn assert_close(actual: f64, expected: f64, within: f64) {
    assert!((actual - expected).abs() <= within * expected.abs().max(1e-3), "{actual} is not {expected}");
}
