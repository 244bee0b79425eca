//! One classification tree (Breiman, Friedman, Olshen and Stone, CART, 1984).

use lagar_flow::Result;
use ndarray::{Array2, ArrayView2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::checks::known_classes;
use super::trees::forest::{self, MaxFeatures, Plan, Rule};
use super::trees::stored::Trees;
use crate::algorithm::{Algorithm, Explanation, Fitted, Output, Task, Training};

/// What a split makes smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// How often two rows of a node are of different classes.
    #[default]
    Gini,
    /// The entropy of the classes of a node.
    Entropy,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// What a split makes smaller: `gini` or `entropy`.
    criterion: Criterion,
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
            criterion: Criterion::Gini,
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

/// A row is of each class as often as the rows in its leaf are: the mean over the trees.
#[derive(Debug, Serialize, Deserialize)]
pub struct ClassTrees {
    /// How many classes there are; a leaf has the share of each.
    classes: usize,
    /// For each column its part of what all splits gained: 1 together, or 0 if nothing was split.
    importance: Vec<f64>,
    /// The share of the rows whose class is the likeliest by the trees that did not learn from them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    out_of_bag_accuracy: Option<f64>,
    trees: Trees,
}

impl ClassTrees {
    pub(super) fn fit(plan: &Plan, criterion: Criterion, training: &Training<'_>) -> Result<Self> {
        let (_, classes) = training.target.classes()?;
        let (forest, out_of_bag_accuracy) = forest::classes(plan, criterion == Criterion::Entropy, training)?;
        Ok(Self { classes, importance: forest.importance, out_of_bag_accuracy, trees: forest.trees })
    }
}

impl Fitted for ClassTrees {
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Output> {
        let mut sums = self.trees.sums(x, self.classes, 1)?;
        let trees = self.trees.len() as f64;
        sums.iter_mut().for_each(|sum| *sum /= trees);
        let rows = Array2::from_shape_vec((x.nrows(), self.classes), sums)
            .map_err(|error| lagar_flow::Error::bug("not a sum for each class").caused_by(&error))?;
        Ok(Output::Probabilities(rows))
    }

    fn check(&self, columns: usize, classes: usize) -> Result<(), String> {
        known_classes(self.classes, classes)?;
        self.trees.check_mean(columns, classes)
    }

    fn explain(&self) -> Explanation {
        let mut figures = vec![("leaves".to_owned(), self.trees.leaves() as f64)];
        figures.extend(self.out_of_bag_accuracy.map(|share| ("out-of-bag accuracy".to_owned(), share)));
        figures.extend(forest::importances(self.trees.features(), &self.importance));
        Explanation { figures, ..Explanation::default() }
    }
}

pub struct DecisionTree;

impl Algorithm for DecisionTree {
    const NAME: &'static str = "decision_tree";
    const TASK: Task = Task::Classification;
    const ABOUT: &'static str =
        "questions of the kind `column <= number`, one after the other, up to a leaf of few classes";
    type Params = Params;
    type Fitted = ClassTrees;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        params.plan().check()
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<ClassTrees> {
        ClassTrees::fit(&params.plan(), params.criterion, training)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Axis;
    use serde_json::json;

    use super::*;
    use crate::algorithm::Target;

    /// The rows of the figures below, which a script for scikit-learn 1.9.1 writes by the same rule.
    fn rows() -> (Array2<f64>, Vec<u32>) {
        let x = Array2::from_shape_fn((24, 3), |(i, column)| match column {
            0 => (i * 7 % 24) as f64 + 0.5 * (i % 3) as f64,
            1 => (i * i * 5 % 23) as f64,
            _ => (i * 11 % 13) as f64,
        });
        (x, (0..24).map(|i: usize| u32::from(i * 7 % 24 > 10) + u32::from(i * i * 5 % 23 > 12)).collect())
    }

    fn names() -> Vec<String> {
        ["a", "b", "c"].map(str::to_owned).to_vec()
    }

    /// `DecisionTreeClassifier(max_depth=2)`: `tree_.threshold`, `tree_.value`, `feature_importances_`.
    #[test]
    fn splits_and_shares_are_those_of_scikit_learn() {
        let (x, codes) = rows();
        let target = Target::Classes { codes: &codes, count: 3 };
        let training = Training { x: x.view(), target, features: &names(), seed: 0, threads: 1 };
        for (criterion, importance) in [
            (Criterion::Gini, [0.60364742, 0.39635258, 0.0]),
            (Criterion::Entropy, [0.65012385, 0.34987615, 0.0]),
        ] {
            let params = Params { criterion, max_depth: Some(2), ..Params::default() };
            let tree = DecisionTree::fit(&params, &training).unwrap();
            for (found, expected) in tree.importance.iter().zip(importance) {
                assert!((found - expected).abs() < 1e-8, "{found} {expected}");
            }
            let written = serde_json::to_value(&tree.trees).unwrap();
            assert_eq!(written["trees"][0]["feature"], json!([0, 1, 1]));
            let mut thresholds: Vec<f64> =
                serde_json::from_value(written["trees"][0]["threshold"].clone()).unwrap();
            thresholds[1..].sort_by(f64::total_cmp);
            assert_eq!(thresholds, [14.25, 7.0, 12.5]);
            let Output::Probabilities(shares) = tree.predict(x.view()).unwrap() else { panic!() };
            for (row, shares) in x.rows().into_iter().zip(shares.axis_iter(Axis(0))) {
                let expected = match (row[0] <= 14.25, row[1]) {
                    (true, ..=12.5) => [2.0 / 3.0, 1.0 / 3.0, 0.0],
                    (true, _) | (false, ..=7.0) => [0.0, 1.0, 0.0],
                    _ => [0.0, 0.0, 1.0],
                };
                assert_eq!(shares.to_vec(), expected);
            }
        }
    }

    /// Neither column alone says anything about "one but not both", so no first split gains; the second does.
    #[test]
    fn a_split_that_gains_nothing_yet_is_taken() {
        let x = ndarray::array![[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]];
        let target = Target::Classes { codes: &[0, 1, 1, 0], count: 2 };
        let features = ["a".to_owned(), "b".to_owned()];
        let training = Training { x: x.view(), target, features: &features, seed: 0, threads: 1 };
        let tree = DecisionTree::fit(&Params::default(), &training).unwrap();
        let Output::Probabilities(shares) = tree.predict(x.view()).unwrap() else { panic!() };
        assert_eq!(shares.column(1).to_vec(), [0.0, 1.0, 1.0, 0.0]);
    }

    /// Every other row is of another class: whatever may be split is split.
    #[test]
    fn limits_are_kept() {
        let n = 20_000;
        let x = Array2::from_shape_fn((n, 1), |(row, _)| row as f64);
        let codes: Vec<u32> = (0..n as u32).map(|row| row % 2).collect();
        let target = Target::Classes { codes: &codes, count: 2 };
        let features = ["a".to_owned()];
        let training = Training { x: x.view(), target, features: &features, seed: 0, threads: 1 };
        let leaves = |params: Params| DecisionTree::fit(&params, &training).unwrap().trees.leaves();
        // 256 bins, each of both classes.
        assert_eq!(leaves(Params::default()), 256);
        assert_eq!(leaves(Params { max_leaves: Some(7), ..Params::default() }), 7);
        assert_eq!(leaves(Params { max_leaves: Some(1), ..Params::default() }), 1);
        assert!(leaves(Params { max_depth: Some(3), ..Params::default() }) <= 8);
        assert!(leaves(Params { min_leaf: 5000, ..Params::default() }) <= 4);
        assert_eq!(leaves(Params { min_split: n + 1, ..Params::default() }), 1);
    }
}
