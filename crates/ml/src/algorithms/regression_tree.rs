//! One regression tree (Breiman, Friedman, Olshen and Stone, CART, 1984), by squared error.

use lagar_flow::Result;
use ndarray::ArrayView2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::trees::forest::{self, MaxFeatures, Plan, Rule};
use super::trees::stored::Trees;
use crate::algorithm::{Algorithm, Explanation, Fitted, Output, Task, Training};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// The most splits from the root to a leaf; absent: any number.
    max_depth: Option<usize>,
    /// The most leaves: the splits that gain most come first; absent: any number.
    max_leaves: Option<usize>,
    /// The fewest rows of a node that is split.
    min_split: usize,
    /// The fewest rows in a leaf.
    min_leaf: usize,
    /// How many columns are looked at for each split: a number, `sqrt`, `log2`, `third` or `all`. If not all, they
    /// are drawn.
    max_features: MaxFeatures,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            max_depth: None,
            max_leaves: None,
            min_split: 2,
            min_leaf: 1,
            max_features: MaxFeatures::Rule(Rule::All),
        }
    }
}

impl Params {
    fn plan(&self) -> Plan {
        Plan {
            trees: 1,
            bootstrap: false,
            max_features: self.max_features,
            max_depth: self.max_depth,
            max_leaves: self.max_leaves,
            min_split: self.min_split,
            min_leaf: self.min_leaf,
        }
    }
}

/// The value of a row is the mean of those in its leaf: the mean over the trees.
#[derive(Debug, Serialize, Deserialize)]
pub struct ValueTrees {
    /// For each column its part of what all splits gained: 1 together, or 0 if nothing was split.
    importance: Vec<f64>,
    /// The part of the variance that the trees explain in rows that they did not learn from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    out_of_bag_r2: Option<f64>,
    trees: Trees,
}

impl ValueTrees {
    pub(super) fn fit(plan: &Plan, training: &Training<'_>) -> Result<Self> {
        let (forest, out_of_bag_r2) = forest::values(plan, training)?;
        Ok(Self { importance: forest.importance, out_of_bag_r2, trees: forest.trees })
    }
}

impl Fitted for ValueTrees {
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Output> {
        let mut sums = self.trees.sums(x, 1, 1)?;
        let trees = self.trees.len() as f64;
        sums.iter_mut().for_each(|sum| *sum = (*sum / trees).clamp(-f64::MAX, f64::MAX));
        Ok(Output::Values(sums))
    }

    fn check(&self, columns: usize, _: usize) -> Result<(), String> {
        self.trees.check_mean(columns, 1)
    }

    fn explain(&self) -> Explanation {
        let mut figures = vec![("leaves".to_owned(), self.trees.leaves() as f64)];
        figures.extend(self.out_of_bag_r2.map(|part| ("out-of-bag R2".to_owned(), part)));
        figures.extend(forest::importances(self.trees.features(), &self.importance));
        Explanation { figures, ..Explanation::default() }
    }
}

pub struct RegressionTree;

impl Algorithm for RegressionTree {
    const NAME: &'static str = "regression_tree";
    const TASK: Task = Task::Regression;
    const ABOUT: &'static str =
        "questions of the kind `column <= number`, one after the other, up to a leaf of like values";
    type Params = Params;
    type Fitted = ValueTrees;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        params.plan().check()
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<ValueTrees> {
        ValueTrees::fit(&params.plan(), training)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::algorithm::Target;

    /// The rows of the figures below, which a script for scikit-learn 1.9.1 writes by the same rule.
    fn rows() -> (Array2<f64>, Vec<f64>) {
        let x = Array2::from_shape_fn((24, 3), |(i, column)| match column {
            0 => (i * 7 % 24) as f64 + 0.5 * (i % 3) as f64,
            1 => (i * i * 5 % 23) as f64,
            _ => (i * 11 % 13) as f64,
        });
        (
            x,
            (0..24)
                .map(|i: usize| {
                    (i * 7 % 24 / 3) as f64 * 2.5 + (i * i * 5 % 23) as f64 * 0.3 - (i * 11 % 5) as f64
                })
                .collect(),
        )
    }

    fn names() -> Vec<String> {
        ["a", "b", "c"].map(str::to_owned).to_vec()
    }

    /// `DecisionTreeRegressor(max_leaf_nodes=5, min_samples_leaf=2)`: `predict(x)`, `feature_importances_`.
    #[test]
    fn values_are_those_of_scikit_learn() {
        let (x, y) = rows();
        let params = Params { max_leaves: Some(5), min_leaf: 2, ..Params::default() };
        let expected = [
            3.2625, 3.2625, 16.7, 21.625, 3.2625, 9.83333333, 16.7, 3.2625, 9.83333333, 11.1, 21.625, 3.2625,
            9.83333333, 16.7, 3.2625, 9.83333333, 16.7, 21.625, 3.2625, 9.83333333, 21.625, 3.2625,
            9.83333333, 11.1,
        ];
        let target = Target::Values(&y);
        let training = Training { x: x.view(), target, features: &names(), seed: 0, threads: 1 };
        let tree = RegressionTree::fit(&params, &training).unwrap();
        let Output::Values(values) = tree.predict(x.view()).unwrap() else { panic!() };
        for (value, expected) in values.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-8, "{value} {expected}");
        }
        assert!((tree.importance[0] - 0.96085549).abs() < 1e-8);
        assert!((tree.importance[1] - 0.03914451).abs() < 1e-8);
    }

    /// A row whose target is huge is set apart by one column; the step in another one is found all the same.
    #[test]
    fn one_huge_target_does_not_hide_what_others_follow() {
        let (x, step) = super::super::trees::beside_a_huge_one();
        let features = ["odd".to_owned(), "x".to_owned()];
        for huge in [1e6, 1e10, 1e11, 1e13, 1e15, 1e100] {
            let y: Vec<f64> = step.iter().map(|y| if *y < 0.0 { huge } else { *y }).collect();
            let target = Target::Values(&y);
            let training = Training { x: x.view(), target, features: &features, seed: 0, threads: 1 };
            let params = Params { max_leaves: Some(3), ..Params::default() };
            let tree = RegressionTree::fit(&params, &training).unwrap();
            let Output::Values(values) = tree.predict(x.view()).unwrap() else { panic!() };
            for ((value, y), step) in values.iter().zip(&y).zip(&step) {
                assert!((value - y).abs() < 1.0, "{huge}: {value} is not {y} ({step})");
            }
        }
    }

    /// What differs is far behind the first digits, where squares of the values themselves would lose it.
    #[test]
    fn neither_a_large_offset_nor_size_hides_what_differs() {
        let x = ndarray::array![[1.0], [2.0], [3.0], [4.0]];
        let features = ["a".to_owned()];
        for y in [[1e9, 1e9, 1e9 + 1e-3, 1e9 + 1e-3], [-f64::MAX, -f64::MAX, f64::MAX, f64::MAX], [0.1; 4]] {
            let target = Target::Values(&y);
            let training = Training { x: x.view(), target, features: &features, seed: 0, threads: 1 };
            let params = Params { max_depth: Some(1), ..Params::default() };
            let tree = RegressionTree::fit(&params, &training).unwrap();
            assert_eq!(tree.predict(x.view()).unwrap(), Output::Values(y.to_vec()));
        }
    }
}
