//! A forest of classification trees (Breiman, Random Forests, 2001).

use lagar_flow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::decision_tree::{ClassTrees, Criterion};
use super::trees::forest::{MaxFeatures, Plan, Rule};
use crate::algorithm::{Algorithm, Task, Training};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// How many trees.
    trees: usize,
    /// What a split makes smaller: `gini` or `entropy`.
    criterion: Criterion,
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

/// Those of scikit-learn, but for the leaves, of which it has any number.
impl Default for Params {
    fn default() -> Self {
        Self {
            trees: 100,
            criterion: Criterion::Gini,
            max_depth: None,
            max_leaves: Some(1 << 15),
            min_split: 2,
            min_leaf: 1,
            max_features: MaxFeatures::Rule(Rule::Sqrt),
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

pub struct RandomForest;

impl Algorithm for RandomForest {
    const NAME: &'static str = "random_forest";
    const TASK: Task = Task::Classification;
    const ABOUT: &'static str = "the mean of many classification trees, each of drawn rows and columns";
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
    use ndarray::Array2;
    use serde_json::json;

    use super::*;
    use crate::algorithm::{Fitted, Output, Target};

    /// Classes drawn without looking at the columns: trees know the rows that they saw by heart, and of others only
    /// as much as chance.
    #[test]
    fn rows_that_a_tree_did_not_see_tell_what_it_is_worth() {
        let mut random = crate::algorithms::trees::forest::seeded(3, 0);
        let mut draw = |most: u32| rand::Rng::gen_range(&mut random, 0..most);
        let x = Array2::from_shape_fn((600, 4), |_| f64::from(draw(1000)));
        let codes: Vec<u32> = (0..600).map(|_| draw(2)).collect();
        let features = ["a", "b", "c", "d"].map(str::to_owned);
        let target = Target::Classes { codes: &codes, count: 2 };
        let training = Training { x: x.view(), target, features: &features, seed: 1, threads: 2 };
        let forest = RandomForest::fit(&Params::default(), &training).unwrap();
        let Output::Probabilities(shares) = forest.predict(x.view()).unwrap() else { panic!() };
        let known = shares.rows().into_iter().zip(&codes).filter(|(row, code)| row[**code as usize] > 0.5);
        assert!(known.count() > 590);
        let figures = forest.explain().figures;
        let unseen = figures.iter().find(|(name, _)| name == "out-of-bag accuracy").unwrap().1;
        assert!((0.4..0.6).contains(&unseen), "{unseen}");
        let importance: f64 =
            figures.iter().filter(|(name, _)| name.starts_with("importance of ")).map(|(_, part)| part).sum();
        assert!((importance - 1.0).abs() < 1e-12);
    }

    #[test]
    fn columns_for_a_split_are_a_number_or_a_rule() {
        for (given, drawn) in [
            (json!("sqrt"), MaxFeatures::Rule(Rule::Sqrt)),
            (json!("all"), MaxFeatures::Rule(Rule::All)),
            (json!(3), MaxFeatures::Count(3)),
        ] {
            let params: Params = serde_json::from_value(json!({"max_features": given})).unwrap();
            assert_eq!(params.max_features, drawn);
        }
        let none: Params = serde_json::from_value(json!({"max_features": 0})).unwrap();
        assert_eq!(RandomForest::check(&none).unwrap_err().0, "max_features");
        let error = serde_json::from_value::<Params>(json!({"max_features": "some"})).unwrap_err();
        assert!(error.to_string().contains("`max_features` must be a whole number, `sqrt`"), "{error}");
    }
}
