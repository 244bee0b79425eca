//! Local outlier factors (Breunig, Kriegel, Ng and Sander: LOF: Identifying Density-Based Local Outliers, 2000).

use std::sync::OnceLock;

use lagar_flow::{Error, Result, codes};
use ndarray::ArrayView2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{
    checks::rows_of_columns,
    kd_tree::{Found, KdTree},
    points::{Points, each_row},
};
use crate::algorithm::{Algorithm, Explanation, Fitted, Output, Task, Training};
use crate::parallel::in_order;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// The number of nearest rows with which a row is compared. Nearness is in the units of the columns, so they
    /// should be scaled with `scale`.
    neighbors: usize,
    /// A row is an outlier if its neighbours are on average more than so many times as dense as itself.
    threshold: f64,
    /// More rows than this are refused, as the time may grow with their square.
    max_rows: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self { neighbors: 20, threshold: 1.5, max_rows: 50_000 }
    }
}

/// The score of a row is how many times as dense as itself its neighbours are on average: about 1 among others,
/// more outside. The neighbours are exactly `neighbors` rows; of rows at one distance the first are taken. A row
/// that equals one that was learned from is taken for that row, and is not its own neighbour.
#[derive(Debug, Serialize, Deserialize)]
pub struct Factors {
    neighbors: usize,
    threshold: f64,
    known: Vec<Known>,
    /// No row is taken for nearer to its neighbours than this on average: rows that are the same again and again
    /// would be infinitely dense. It is 1e-10 of the mean distance to the last neighbour.
    least_reach: f64,
    #[serde(skip)]
    tree: OnceLock<KdTree>,
}

/// A row that was learned from.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    row: Vec<f64>,
    /// The distance to its last neighbour.
    reach: f64,
    /// One divided by the mean distance from which its neighbours reach it.
    density: f64,
}

pub struct LocalOutlierFactor;

impl Algorithm for LocalOutlierFactor {
    const NAME: &'static str = "local_outlier_factor";
    const TASK: Task = Task::Outliers;
    const ABOUT: &'static str = "how much denser the neighbours of a row are than the row itself";
    type Params = Params;
    type Fitted = Factors;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        if params.neighbors == 0 {
            return Err(("neighbors", "must be at least 1".to_owned()));
        }
        super::shared::ranges::check("threshold", params.threshold)
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<Factors> {
        training.at_least(params.neighbors.saturating_add(1), Self::NAME)?;
        training.at_most(params.max_rows, Self::NAME)?;
        let tree = KdTree::new(Points::of(training)?);
        let points = tree.points();
        let neighbors = in_order(points.len(), training.threads, |row| {
            neighbors(&tree, points.row(row), params.neighbors)
        })?;
        let reaches: Vec<f64> = neighbors.iter().map(|found| found[found.len() - 1].0.sqrt()).collect();
        let rows = points.len() as f64;
        let least_reach = 1e-10 * reaches.iter().map(|reach| reach / rows).sum::<f64>();
        if least_reach < f64::MIN_POSITIVE {
            let message = format!("most of the {rows} rows are the same: none is less dense than others");
            return Err(Error::new(codes::PREDICTOR_DATA, message).hint("leave out rows that repeat"));
        }
        let known = points.rows().zip(&reaches).zip(&neighbors).map(|((row, reach), neighbors)| Known {
            row: row.to_vec(),
            reach: *reach,
            density: density(neighbors, |at| reaches[at], least_reach),
        });
        let known = known.collect();
        let Params { neighbors, threshold, .. } = *params;
        Ok(Factors { neighbors, threshold, known, least_reach, tree: OnceLock::from(tree) })
    }
}

/// The nearest rows, without the row itself if it is one of them.
fn neighbors(tree: &KdTree, row: &[f64], count: usize) -> Vec<Found> {
    let mut found = tree.nearest(row, count + 1);
    match found.first() {
        Some((0.0, _)) => _ = found.remove(0),
        _ => found.truncate(count),
    }
    found
}

/// A neighbour reaches a row from their distance, but not from less than the distance to its own last neighbour.
fn density(neighbors: &[Found], reach: impl Fn(usize) -> f64, least: f64) -> f64 {
    let reached: f64 = neighbors.iter().map(|(squared, at)| squared.sqrt().max(reach(*at))).sum();
    1.0 / (reached / neighbors.len() as f64).max(least)
}

impl Factors {
    fn score(&self, tree: &KdTree, row: &[f64]) -> f64 {
        let neighbors = neighbors(tree, row, self.neighbors);
        let own = density(&neighbors, |at| self.known[at].reach, self.least_reach);
        let theirs: f64 = neighbors.iter().map(|(_, at)| self.known[*at].density).sum();
        // A score that is too large for a number is the largest.
        (theirs / neighbors.len() as f64 / own).min(f64::MAX)
    }

    fn tree(&self) -> &KdTree {
        self.tree.get_or_init(|| {
            let mut points = Points::default();
            self.known.iter().for_each(|known| points.push(&known.row));
            KdTree::new(points)
        })
    }
}

impl Fitted for Factors {
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Output> {
        let tree = self.tree();
        let scores = each_row(x, |row| self.score(tree, row));
        let outliers = scores.iter().map(|score| *score > self.threshold).collect();
        Ok(Output::Scores { scores, outliers })
    }

    fn check(&self, columns: usize, _: usize) -> Result<(), String> {
        rows_of_columns("a known row", self.known.iter().map(|known| known.row.as_slice()), columns)?;
        let rows = self.known.len();
        match (1..rows).contains(&self.neighbors) {
            true => Ok(()),
            false => Err(format!("{} neighbours are asked among {rows} rows", self.neighbors)),
        }
    }

    fn explain(&self) -> Explanation {
        let tree = self.tree();
        let scores = self.known.iter().map(|known| self.score(tree, &known.row));
        let unusual = scores.filter(|score| *score > self.threshold).count();
        let figures = vec![
            ("rows learned from".to_owned(), self.known.len() as f64),
            ("outliers among them".to_owned(), unusual as f64),
        ];
        Explanation { figures, ..Explanation::default() }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::super::shared::iris::{assert_close, iris};
    use super::*;
    use crate::algorithm::Target;

    fn scores(fitted: &Factors, x: ArrayView2<'_, f64>) -> (Vec<f64>, usize) {
        let Output::Scores { scores, outliers } = fitted.predict(x).unwrap() else { panic!() };
        (scores, outliers.into_iter().filter(|outlier| *outlier).count())
    }

    /// `-LocalOutlierFactor(20).fit(x).negative_outlier_factor_` of scikit-learn 1.9.1, and `-score_samples` with
    /// `novelty=True`. Many rows of iris are at one distance, and which of these are neighbours there depends on its
    /// `algorithm`: so each value is moved a little.
    #[test]
    fn iris_has_the_factors_as_elsewhere() {
        let mut iris = iris();
        for ((row, column), value) in iris.x.indexed_iter_mut() {
            *value += (row as f64 * 7.0 + column as f64 * 3.0).sin() * 0.01;
        }
        let fitted = LocalOutlierFactor::fit(&Params::default(), &iris.training()).unwrap();
        let (known, _) = scores(&fitted, iris.x.view());
        assert_close(known.iter().sum(), 161.9729291243081, 1e-8);
        assert_close(known.iter().map(|score| score * score).sum(), 178.730760229134, 1e-8);
        assert_close(known[41], 1.7726777044219, 1e-8);
        assert!(known.iter().all(|score| *score <= known[41]));
        let (new, _) = scores(&fitted, array![[8.9, 5.4, 7.9, 3.5], [5.8, 3.0, 3.7, 1.2]].view());
        assert_close(new[0], 3.7902294, 1e-7);
        assert_close(new[1], 0.99887788, 1e-7);
    }

    /// 0, 1, 2, 4 with one neighbour: 1, 0, 1, 2 (the first of two at one distance), reached from 1, 1, 1, 2. So the
    /// densities are 1, 1, 1, 1/2, and the last row is half as dense as its neighbour.
    #[test]
    fn factors_by_hand() {
        let x = array![[0.0], [1.0], [2.0], [4.0]];
        let features = ["x".to_owned()];
        let training =
            Training { x: x.view(), target: Target::None, features: &features, seed: 3, threads: 1 };
        let params = Params { neighbors: 1, ..Params::default() };
        let fitted = LocalOutlierFactor::fit(&params, &training).unwrap();
        assert_eq!(scores(&fitted, x.view()), (vec![1.0, 1.0, 1.0, 2.0], 1));
        // Nearest to 4, as far away as 2 is from it: as dense.
        assert_eq!(scores(&fitted, array![[6.0]].view()).0, [1.0]);
    }

    #[test]
    fn rows_that_repeat_do_not_divide_by_zero() {
        let x = Array2::from_shape_fn((40, 1), |(row, _)| if row < 30 { 1.0 } else { row as f64 });
        let features = ["x".to_owned()];
        let training =
            Training { x: x.view(), target: Target::None, features: &features, seed: 3, threads: 1 };
        let fitted = LocalOutlierFactor::fit(&Params::default(), &training).unwrap();
        let (known, outliers) = scores(&fitted, x.view());
        assert!(known.iter().all(|score| score.is_finite()));
        known[..30].iter().for_each(|score| assert_close(*score, 1.0, 1e-12));
        assert!(outliers > 0);
    }
}
