//! The classes of the most similar rows. By own code, not linfa-nn 0.8.1: which of the rows that are equally far
//! it gives depends on how its tree grew, and the tree borrows the rows, so that it would have to grow again for
//! each question. The tree here gives exactly what a comparison with every row would: of two sums of squares, that
//! with one square more is never rounded below the other.

use std::cmp::Ordering;

use lagar_flow::{Error, Result, codes};
use ndarray::ArrayView2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{
    checks::{as_many, at_least_one, classes, known_classes},
    probabilities::{of_rows, to_one},
    scale::Scale,
};
use crate::algorithm::{Algorithm, Explanation, Fitted, Output, Task, Training};
use crate::math::square;

/// So few rows are looked through one by one.
const LEAF: usize = 16;

/// How much the class of a neighbour counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weights {
    /// Each the same.
    Uniform,
    /// One by its distance; rows that are the same count alone.
    Distance,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// How many neighbours are asked. Of rows that are equally far, those that come first.
    k: usize,
    /// How much each counts: `uniform`: the same; `distance`: one by its distance (rows that are the same count
    /// alone).
    weights: Weights,
    /// Whether each column is brought to a deviation of 1, so that distances do not depend on units.
    standardize: bool,
    /// More rows than this are an error: all are stored.
    max_rows: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self { k: 5, weights: Weights::Uniform, standardize: true, max_rows: 100_000 }
    }
}

/// The rows, in the order of a tree (Bentley, "Multidimensional binary search trees used for associative
/// searching", 1975): the row in the middle of a range parts it by one of its columns, those before it have no
/// larger and those after it no smaller value there. Each part is parted in the same way, unless it is short.
#[derive(Debug, Serialize, Deserialize)]
pub struct Rows {
    scale: Scale,
    k: usize,
    weights: Weights,
    classes: usize,
    /// Scaled, one after the other.
    values: Vec<f64>,
    /// The classes of the rows.
    codes: Vec<u32>,
    /// Where each row stood.
    places: Vec<u32>,
    /// By which column each row parts its range, where it does.
    columns: Vec<u32>,
}

pub struct NearestNeighbours;

impl Algorithm for NearestNeighbours {
    const NAME: &'static str = "nearest_neighbours";
    const TASK: Task = Task::Classification;
    const ABOUT: &'static str = "the classes of the k most similar rows";
    type Params = Params;
    type Fitted = Rows;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        at_least_one("k", params.k)
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<Rows> {
        let (codes_of_rows, classes) = classes(training, Self::NAME)?;
        training.at_least(params.k, Self::NAME)?;
        // A place is stored as 32 bits.
        let (rows, most) = (training.rows(), params.max_rows.min(u32::MAX as usize));
        if rows > most {
            let message = format!("`{}` stores its rows: {rows} are more than {most}", Self::NAME);
            return Err(Error::new(codes::PREDICTOR_DATA, message)
                .hint("take a sample with `sample: N`, set `max_rows`, or choose another algorithm"));
        }
        let scale = Scale::of(training.x, params.standardize);
        let scaled = scale.rows(training.x);
        let mut order: Vec<u32> = (0..rows as u32).collect();
        let mut columns = vec![0; rows];
        part(scaled.view(), &mut order, &mut columns);
        let in_order = || order.iter().map(|place| *place as usize);
        Ok(Rows {
            values: in_order().flat_map(|place| scaled.row(place).to_vec()).collect(),
            codes: in_order().map(|place| codes_of_rows[place]).collect(),
            scale,
            k: params.k,
            weights: params.weights,
            classes,
            places: order,
            columns,
        })
    }
}

/// Brings a range of rows into the order of the tree.
fn part(x: ArrayView2<'_, f64>, order: &mut [u32], columns: &mut [u32]) {
    if order.len() <= LEAF {
        order.sort_unstable();
        return;
    }
    let column = widest(x, order);
    let value = |place: u32| x[[place as usize, column]];
    let middle = order.len() / 2;
    order.select_nth_unstable_by(middle, |a, b| value(*a).total_cmp(&value(*b)).then(a.cmp(b)));
    columns[middle] = column as u32;
    let (before, after) = order.split_at_mut(middle);
    let (columns_before, columns_after) = columns.split_at_mut(middle);
    part(x, before, columns_before);
    part(x, &mut after[1..], &mut columns_after[1..]);
}

/// The column in which these rows are furthest apart.
fn widest(x: ArrayView2<'_, f64>, order: &[u32]) -> usize {
    let mut widest = (0, f64::NEG_INFINITY);
    for (place, column) in x.columns().into_iter().enumerate() {
        let values = || order.iter().map(|row| column[*row as usize]);
        let width = values().fold(f64::NEG_INFINITY, f64::max) - values().fold(f64::INFINITY, f64::min);
        if width > widest.1 {
            widest = (place, width);
        }
    }
    widest.0
}

/// A neighbour.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Near {
    /// The square of the distance.
    square: f64,
    /// Where it stood.
    place: u32,
    code: u32,
}

impl Near {
    fn order(&self, other: &Self) -> Ordering {
        self.square.total_cmp(&other.square).then(self.place.cmp(&other.place))
    }
}

impl Rows {
    /// Adds to `found` what is nearer than the worst of it in the rows `from..to`.
    fn search(&self, row: &[f64], from: usize, to: usize, found: &mut Vec<Near>) {
        if to - from <= LEAF {
            (from..to).for_each(|at| self.consider(row, at, found));
            return;
        }
        let middle = from + (to - from) / 2;
        let column = self.columns[middle] as usize;
        let away = row[column] - self.values[middle * row.len() + column];
        let (near, far) =
            if away <= 0.0 { ((from, middle), (middle + 1, to)) } else { ((middle + 1, to), (from, middle)) };
        self.consider(row, middle, found);
        self.search(row, near.0, near.1, found);
        // One that is as far as the worst may come before it.
        if found.len() < self.k || found.last().is_some_and(|worst| away * away <= worst.square) {
            self.search(row, far.0, far.1, found);
        }
    }

    fn consider(&self, row: &[f64], at: usize, found: &mut Vec<Near>) {
        let values = &self.values[at * row.len()..(at + 1) * row.len()];
        let square = row.iter().zip(values).map(|(a, b)| square(a - b)).sum();
        let near = Near { square, place: self.places[at], code: self.codes[at] };
        if found.len() == self.k {
            if found.last().is_some_and(|worst| near.order(worst).is_gt()) {
                return;
            }
            found.pop();
        }
        let before = found.partition_point(|other| other.order(&near).is_lt());
        found.insert(before, near);
    }

    /// The weights of the classes of the neighbours.
    fn vote(&self, found: &[Near], votes: &mut [f64]) {
        votes.fill(0.0);
        let same = found.first().is_some_and(|nearest| nearest.square == 0.0);
        for near in found {
            votes[near.code as usize] += match self.weights {
                Weights::Uniform => 1.0,
                Weights::Distance if same => f64::from(near.square == 0.0),
                Weights::Distance => 1.0 / near.square.sqrt(),
            };
        }
        to_one(votes);
    }
}

impl Fitted for Rows {
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Output> {
        let mut scaled = Vec::new();
        let mut found = Vec::with_capacity(self.k);
        Ok(of_rows(x, self.classes, |row, votes| {
            self.scale.row(row, &mut scaled);
            found.clear();
            self.search(&scaled, 0, self.codes.len(), &mut found);
            self.vote(&found, votes);
        }))
    }

    fn check(&self, columns: usize, classes: usize) -> Result<(), String> {
        known_classes(self.classes, classes)?;
        self.scale.check(columns)?;
        let rows = self.codes.len();
        as_many("values", self.values.len(), "rows and columns", rows.saturating_mul(columns))?;
        as_many("places", self.places.len(), "rows", rows)?;
        as_many("columns that part", self.columns.len(), "rows", rows)?;
        if !(1..=rows).contains(&self.k) {
            return Err(format!("{} neighbours are asked of {rows} rows", self.k));
        }
        if let Some(code) = self.codes.iter().find(|code| **code as usize >= classes) {
            return Err(format!("a row is of class {code}, and there are {classes}"));
        }
        match self.columns.iter().find(|column| **column as usize >= columns) {
            Some(column) => Err(format!("rows are parted by column {column}, and there are {columns}")),
            None => Ok(()),
        }
    }

    fn explain(&self) -> Explanation {
        Explanation { figures: vec![("rows".to_owned(), self.codes.len() as f64)], ..Explanation::default() }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Axis};
    use rand::{Rng, SeedableRng};
    use rand_xoshiro::Xoshiro256Plus;

    use super::*;
    use crate::{
        algorithm::Target,
        algorithms::shared::samples::{IRIS, iris_classes, matrix, names, near, training},
    };

    /// Whole numbers, so that many rows are equally far, some are equal.
    #[test]
    fn the_tree_finds_what_a_comparison_with_every_row_finds() {
        let mut random = Xoshiro256Plus::seed_from_u64(3);
        let x = Array2::from_shape_fn((700, 3), |_| f64::from(random.gen_range(0..8_u8)));
        let codes: Vec<u32> = (0..700).map(|row| row % 4).collect();
        let features = names(3);
        let target = Target::Classes { codes: &codes, count: 4 };
        for k in [1, 5, 40, 700] {
            let params = Params { k, standardize: false, ..Params::default() };
            let rows = NearestNeighbours::fit(&params, &training(x.view(), target, &features)).unwrap();
            let scaled = rows.scale.rows(x.view());
            for _ in 0..50 {
                let asked = [0, 1, 2].map(|_| f64::from(random.gen_range(-2..10_i8)) / 3.0);
                let mut found = Vec::new();
                rows.search(&asked, 0, 700, &mut found);
                let mut all: Vec<Near> = (0..700)
                    .map(|row| Near {
                        square: asked.iter().zip(scaled.row(row)).map(|(a, b)| (a - b).powi(2)).sum(),
                        place: row as u32,
                        code: codes[row],
                    })
                    .collect();
                all.sort_by(Near::order);
                assert_eq!(found, all[..k]);
            }
        }
    }

    /// KNeighborsClassifier(5) of scikit-learn: every second row of iris asked about the others, on columns scaled by
    /// StandardScaler of all.
    #[test]
    fn votes_are_those_of_scikit_learn() {
        let all = matrix(&IRIS);
        let all = Scale::each(all.view()).rows(all.view());
        let every_second = |first: usize| {
            let rows: Vec<usize> = (first..30).step_by(2).collect();
            all.select(Axis(0), &rows)
        };
        let (x, asked) = (every_second(0), every_second(1));
        let codes: Vec<u32> = iris_classes().into_iter().step_by(2).collect();
        let features = names(4);
        let training = training(x.view(), Target::Classes { codes: &codes, count: 3 }, &features);
        for (weights, expected) in [
            (Weights::Uniform, [[0.0, 0.8, 0.2], [0.0, 0.4, 0.6]]),
            (
                Weights::Distance,
                [
                    [0.0, 0.8713415717790489, 0.12865842822095108],
                    [0.0, 0.5501373529324419, 0.4498626470675581],
                ],
            ),
        ] {
            let params = Params { weights, standardize: false, ..Params::default() };
            let rows = NearestNeighbours::fit(&params, &training).unwrap();
            let Output::Probabilities(votes) = rows.predict(asked.view()).unwrap() else {
                panic!("no votes")
            };
            near(&votes.row(5).to_vec(), &expected[0], 1e-9);
            near(&votes.row(6).to_vec(), &expected[1], 1e-9);
        }
    }

    #[test]
    fn a_row_that_is_the_same_counts_alone() {
        let x = ndarray::array![[0.0], [1.0], [1.1]];
        let features = names(1);
        let params = Params { k: 3, weights: Weights::Distance, ..Params::default() };
        let target = Target::Classes { codes: &[0, 1, 1], count: 2 };
        let rows = NearestNeighbours::fit(&params, &training(x.view(), target, &features)).unwrap();
        let Output::Probabilities(votes) = rows.predict(x.view()).unwrap() else { panic!("no votes") };
        assert_eq!(votes.row(0).to_vec(), [1.0, 0.0]);
    }

    #[test]
    fn too_many_rows_are_an_error() {
        let (x, features, codes) = (matrix(&IRIS), names(4), iris_classes());
        let target = Target::Classes { codes: &codes, count: 3 };
        let params = Params { max_rows: 29, ..Params::default() };
        let error = NearestNeighbours::fit(&params, &training(x.view(), target, &features)).unwrap_err();
        assert!(error.message().contains("30 are more than 29"), "{error}");
    }
}
