//! One classification tree (Breiman, Friedman, Olshen and Stone, CART, 1984).

use lagar_flow::Result;
use ndarray::{Array2, ArrayView2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::trees::forest::{self, MaxFeatures, Plan, Rule};
use super::trees::parallel::of_machine;
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
        let mut sums = self.trees.sums(x, self.classes, of_machine())?;
        let trees = self.trees.len() as f64;
        sums.iter_mut().for_each(|sum| *sum /= trees);
        let rows = Array2::from_shape_vec((x.nrows(), self.classes), sums)
            .map_err(|error| lagar_flow::Error::bug("not a sum for each class").caused_by(&error))?;
        Ok(Output::Probabilities(rows))
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
