//! A forest of regression trees (Breiman, Random Forests, 2001).

use lagar_flow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::regression_tree::ValueTrees;
use super::trees::forest::{MaxFeatures, Plan, Rule};
use crate::algorithm::{Algorithm, Task, Training};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// How many trees.
    trees: usize,
    /// The most splits from the root of a tree to a leaf; absent: any number.
    max_depth: Option<usize>,
    /// The most leaves of a tree: the splits that gain most come first; `null`: any number. It bounds what a forest
    /// of millions of rows takes to store.
    max_leaves: Option<usize>,
    /// The fewest rows of a node that is split; a row that was drawn twice counts twice.
    min_split: usize,
    /// The fewest rows in a leaf.
    min_leaf: usize,
    /// How many columns are drawn for each split: a number, `sqrt`, `log2`, `third` or `all`.
    max_features: MaxFeatures,
    /// Whether each tree learns from rows drawn for it, as many as there are, each as often as it is drawn.
    bootstrap: bool,
}

/// A third of the columns is the default of R's randomForest (scikit-learn takes all); of fewer than three, one.
impl Default for Params {
    fn default() -> Self {
        Self {
            trees: 100,
            max_depth: None,
            max_leaves: Some(1 << 15),
            min_split: 2,
            min_leaf: 1,
            max_features: MaxFeatures::Rule(Rule::Third),
            bootstrap: true,
        }
    }
}

impl Params {
    fn plan(&self) -> Plan {
        Plan {
            trees: self.trees,
            bootstrap: self.bootstrap,
            max_features: self.max_features,
            max_depth: self.max_depth,
            max_leaves: self.max_leaves,
            min_split: self.min_split,
            min_leaf: self.min_leaf,
        }
    }
}

pub struct RegressionForest;

impl Algorithm for RegressionForest {
    const NAME: &'static str = "regression_forest";
    const TASK: Task = Task::Regression;
    const ABOUT: &'static str = "the mean of many regression trees, each of drawn rows and columns";
    type Params = Params;
    type Fitted = ValueTrees;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        params.plan().check()
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<ValueTrees> {
        ValueTrees::fit(&params.plan(), training)
    }
}
