//! DBSCAN (Ester, Kriegel, Sander and Xu: A Density-Based Algorithm for Discovering Clusters, 1996).
//!
//! Fitted by own code: linfa-clustering 0.8.1 gives a group for each row that it saw and no more, while new rows can
//! only be answered from the rows that are dense.
//!
//! One rule differs from the paper: a row that is not dense itself, between two groups, belongs to that of the
//! nearest dense row and not to whichever group was found first. So the answer does not depend on the order of the
//! rows, and is the same for the rows that were learned from and for new ones.

use std::sync::OnceLock;

use lagar_flow::Result;
use ndarray::ArrayView2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{
    checks::as_many,
    kd_tree::KdTree,
    points::{Points, by_coordinates, each_row, larger_first},
};
use crate::algorithm::{Algorithm, Explanation, Fitted, Output, Task, Training};
use crate::parallel::in_order;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Rows at most so far apart are neighbours. It is in the units of the columns, so they should be scaled
    /// with `scale`.
    eps: f64,
    /// A row with so many neighbours, itself among them, is dense: dense neighbours are of one group.
    min_points: usize,
    /// More rows than this are refused, as the time may grow with their square.
    max_rows: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self { eps: 0.5, min_points: 5, max_rows: 50_000 }
    }
}

/// A row belongs to the group of the nearest dense row if that is at most `eps` away, and else to none.
#[derive(Debug, Serialize, Deserialize)]
pub struct Dense {
    eps: f64,
    /// The dense rows of each group. The group with the most of them is the first.
    dense: Vec<Points>,
    /// The rows of each group, dense or not.
    sizes: Vec<usize>,
    /// The rows in no group.
    noise: usize,
    /// Half of the rows have their neighbour number `min_points` at most so far away, themselves counted.
    median_reach: f64,
    #[serde(skip)]
    index: OnceLock<Index>,
}

#[derive(Debug)]
struct Index {
    tree: KdTree,
    /// The group of each row of the tree.
    groups: Vec<u32>,
}

pub struct Dbscan;

impl Algorithm for Dbscan {
    const NAME: &'static str = "dbscan";
    const TASK: Task = Task::Clustering;
    const ABOUT: &'static str = "groups of any shape where rows are dense; rows elsewhere are in none";
    type Params = Params;
    type Fitted = Dense;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        if !(params.eps > 0.0 && params.eps.is_finite()) {
            return Err(("eps", "must be more than 0".to_owned()));
        }
        if params.min_points == 0 {
            return Err(("min_points", "must be at least 1".to_owned()));
        }
        Ok(())
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<Dense> {
        training.at_most(params.max_rows, Self::NAME)?;
        let tree = KdTree::new(Points::of(training)?);
        let points = tree.points();
        let reaches = in_order(points.len(), training.threads, |row| {
            tree.nearest(points.row(row), params.min_points).get(params.min_points - 1).map(|found| found.0)
        })?;
        let limit = params.eps * params.eps;
        let dense: Vec<bool> =
            reaches.iter().map(|reach| reach.is_some_and(|reach| reach <= limit)).collect();
        let groups = groups_of_dense(&tree, &dense, limit);
        let mut fitted = Dense {
            eps: params.eps,
            sizes: vec![0; groups.len()],
            dense: groups,
            noise: 0,
            median_reach: median(reaches),
            index: OnceLock::new(),
        };
        let belonging = in_order(points.len(), training.threads, |row| fitted.group(points.row(row)))?;
        for group in &belonging {
            match group {
                Some(group) => fitted.sizes[*group as usize] += 1,
                None => fitted.noise += 1,
            }
        }
        Ok(fitted)
    }
}

/// The dense rows that are reached from each other over dense neighbours.
fn groups_of_dense(tree: &KdTree, dense: &[bool], limit: f64) -> Vec<Points> {
    let points = tree.points();
    let mut seen = vec![false; dense.len()];
    let mut groups = Vec::new();
    for first in 0..dense.len() {
        if seen[first] || !dense[first] {
            continue;
        }
        seen[first] = true;
        let mut members = vec![first];
        let mut next = 0;
        while next < members.len() {
            for neighbor in tree.within(points.row(members[next]), limit) {
                if dense[neighbor] && !seen[neighbor] {
                    seen[neighbor] = true;
                    members.push(neighbor);
                }
            }
            next += 1;
        }
        members.sort_by(|a, b| by_coordinates(points.row(*a), points.row(*b)));
        let mut group = Points::with_capacity(members.len(), points.columns());
        members.iter().for_each(|row| group.push(points.row(*row)));
        groups.push(group);
    }
    groups.sort_by(|a, b| larger_first((a.len() as f64, a.row(0)), (b.len() as f64, b.row(0))));
    groups
}

/// The root of the middle one; 0 if there is none, as no row has so many others.
fn median(reaches: Vec<Option<f64>>) -> f64 {
    let mut reaches: Vec<f64> = reaches.into_iter().flatten().collect();
    reaches.sort_by(f64::total_cmp);
    reaches.get(reaches.len() / 2).copied().unwrap_or(0.0).sqrt()
}

impl Dense {
    fn index(&self) -> &Index {
        self.index.get_or_init(|| {
            let mut all = Points::default();
            let mut groups = Vec::new();
            for (group, points) in self.dense.iter().enumerate() {
                points.rows().for_each(|row| all.push(row));
                groups.resize(all.len(), group as u32);
            }
            Index { tree: KdTree::new(all), groups }
        })
    }

    fn group(&self, row: &[f64]) -> Option<u32> {
        let index = self.index();
        let (distance, nearest) = index.tree.nearest(row, 1).first().copied()?;
        (distance <= self.eps * self.eps).then(|| index.groups[nearest])
    }
}

impl Fitted for Dense {
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Output> {
        Ok(Output::Groups(each_row(x, |row| self.group(row))))
    }

    fn check(&self, columns: usize, _: usize) -> Result<(), String> {
        as_many("sizes", self.sizes.len(), "groups", self.dense.len())?;
        self.dense.iter().try_for_each(|group| group.check("dense row in a group", columns))
    }

    fn explain(&self) -> Explanation {
        let mut figures = vec![
            ("groups".to_owned(), self.dense.len() as f64),
            ("rows in no group".to_owned(), self.noise as f64),
            ("median distance to neighbour number min_points".to_owned(), self.median_reach),
        ];
        let sizes = self.sizes.iter().enumerate();
        figures.extend(sizes.map(|(group, size)| (format!("rows of group {group}"), *size as f64)));
        Explanation { figures, ..Explanation::default() }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::super::shared::iris::iris;
    use super::*;
    use crate::algorithm::Target;

    fn groups(fitted: &Dense, x: ArrayView2<'_, f64>) -> Vec<Option<u32>> {
        let Output::Groups(groups) = fitted.predict(x).unwrap() else { panic!() };
        groups
    }

    /// `DBSCAN(eps=0.5, min_samples=5).fit(x).labels_` of scikit-learn 1.9.1, where the larger group is 1.
    #[test]
    fn iris_is_grouped_as_elsewhere() {
        let expected = "00000000000000000000000000000000000000000-000000001111111-11-1111111-111111111111111111-11111\
                        -1111-111111--1--1111111--111-11111111-11--11111111111111";
        let expected: Vec<Option<u32>> =
            expected.chars().map(|label| label.to_digit(10).map(|label| 1 - label)).collect();
        let iris = iris();
        let fitted = Dbscan::fit(&Params::default(), &iris.training()).unwrap();
        assert_eq!(groups(&fitted, iris.x.view()), expected);
        assert_eq!((fitted.sizes.as_slice(), fitted.noise), ([84, 49].as_slice(), 17));
        assert_eq!(fitted.dense.iter().map(Points::len).sum::<usize>(), 117);
    }

    #[test]
    fn the_order_of_the_rows_changes_nothing() {
        let stored = |training: &Training<'_>| {
            serde_json::to_string(&Dbscan::fit(&Params::default(), training).unwrap()).unwrap()
        };
        assert_eq!(stored(&iris().training()), stored(&iris().reversed().training()));
    }

    /// 1.0 is a neighbour of 0.5 and 1.6, both dense, in different groups: it has three neighbours with itself.
    #[test]
    fn a_row_between_two_groups_belongs_to_the_nearer_one() {
        let x = array![[1.6], [1.7], [1.8], [1.9], [1.0], [0.5], [0.3], [0.2], [0.1], [0.0]];
        let features = ["x".to_owned()];
        let training =
            Training { x: x.view(), target: Target::None, features: &features, seed: 3, threads: 1 };
        let params = Params { eps: 0.65, min_points: 4, ..Params::default() };
        let fitted = Dbscan::fit(&params, &training).unwrap();
        assert_eq!(fitted.dense.len(), 2);
        let asked = array![[1.0], [1.2], [2.4], [2.6], [-0.5]];
        assert_eq!(groups(&fitted, asked.view()), [Some(0), Some(1), Some(1), None, Some(0)]);
    }

    #[test]
    fn nothing_dense_is_no_group() {
        let iris = iris();
        let fitted = Dbscan::fit(&Params { eps: 1e-3, ..Params::default() }, &iris.training()).unwrap();
        assert_eq!((fitted.dense.len(), fitted.noise), (0, 150));
        assert!(groups(&fitted, iris.x.view()).iter().all(Option::is_none));
        let error =
            Dbscan::fit(&Params { max_rows: 149, ..Params::default() }, &iris.training()).unwrap_err();
        assert!(error.message().contains("150"), "{error}");
    }
}
