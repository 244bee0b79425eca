//! OPTICS (Ankerst, Breunig, Kriegel and Sander: Ordering Points To Identify the Clustering Structure, 1999): rows
//! are put into an order in which each follows from where it is reached most easily. A group is a valley in the
//! plot of how far away they are reached from, so groups may be of different density.
//!
//! Fitted by own code: in linfa-clustering 0.8.1 the row with which a part of the order begins is not its first but
//! among its own followers, with a reach where the paper has none, so that the walls of valleys are missing; and it
//! extracts no groups.

use std::sync::OnceLock;

use lagar_flow::Result;
use ndarray::ArrayView2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{
    checks::rows_of_columns,
    kd_tree::KdTree,
    points::{Points, by_coordinates, each_row, larger_first, squared_distance},
};
use crate::algorithm::{Algorithm, Explanation, Fitted, Output, Task, Training};
use crate::parallel::in_order;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// How many rows, itself among them, make the neighbourhood of a row, and the smallest group. Nearness is in
    /// the units of the columns, so they should be scaled with `scale`.
    min_points: usize,
    /// The smallest share by which the distance to the next row must fall where a group begins, and rise where it
    /// ends, between 0 and 1.
    xi: f64,
    /// More rows than this are refused, as the time grows with their square.
    max_rows: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self { min_points: 5, xi: 0.05, max_rows: 20_000 }
    }
}

/// A row belongs to the group of the nearest known row, if that is as near as its neighbourhood is wide.
#[derive(Debug, Serialize, Deserialize)]
pub struct Valleys {
    /// In the order of their coordinates.
    known: Vec<Known>,
    /// The rows of each group. The largest group is the first.
    sizes: Vec<usize>,
    #[serde(skip)]
    tree: OnceLock<KdTree>,
}

/// A row that was learned from.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    row: Vec<f64>,
    /// The distance to neighbour number `min_points`, itself counted.
    width: f64,
    group: Option<u32>,
}

pub struct Optics;

impl Algorithm for Optics {
    const NAME: &'static str = "optics";
    const TASK: Task = Task::Clustering;
    const ABOUT: &'static str = "groups of any shape and of different density; rows elsewhere are in none";
    type Params = Params;
    type Fitted = Valleys;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        if params.min_points < 2 {
            return Err(("min_points", "must be at least 2".to_owned()));
        }
        if !(params.xi > 0.0 && params.xi < 1.0) {
            return Err(("xi", "must be between 0 and 1".to_owned()));
        }
        Ok(())
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<Valleys> {
        training.at_least(params.min_points, Self::NAME)?;
        training.at_most(params.max_rows, Self::NAME)?;
        let tree = KdTree::new(sorted(&Points::of(training)?));
        let points = tree.points();
        let widths = in_order(points.len(), training.threads, |row| {
            let found = tree.nearest(points.row(row), params.min_points);
            found[found.len() - 1].0.sqrt()
        })?;
        let order = ordered(points, &widths);
        let members = Plot::new(&order, params).groups();
        let (groups, sizes) = numbered(points, &order, &members);
        let known = points.rows().zip(&widths).zip(groups).map(|((row, width), group)| Known {
            row: row.to_vec(),
            width: *width,
            group,
        });
        Ok(Valleys { known: known.collect(), sizes, tree: OnceLock::from(tree) })
    }
}

/// The rows by their coordinates, so that nothing depends on the order in which they come.
fn sorted(points: &Points) -> Points {
    let mut rows: Vec<&[f64]> = points.rows().collect();
    rows.sort_by(|a, b| by_coordinates(a, b));
    let mut sorted = Points::with_capacity(points.len(), points.columns());
    rows.into_iter().for_each(|row| sorted.push(row));
    sorted
}

/// A row at its place in the order.
#[derive(Debug, Clone, Copy)]
struct Reached {
    row: usize,
    /// How far away the row is from which it is reached, but at least the width of that one's neighbourhood.
    /// Infinite: it is the first.
    reach: f64,
    /// The place in the order of the row from which it is reached.
    from: usize,
}

/// Each next row is the one that is reached most easily from those before; of several the first.
fn ordered(points: &Points, widths: &[f64]) -> Vec<Reached> {
    let mut left: Vec<Reached> =
        (0..points.len()).map(|row| Reached { row, reach: f64::INFINITY, from: 0 }).collect();
    let mut order: Vec<Reached> = Vec::with_capacity(left.len());
    let mut next = 0;
    while !left.is_empty() {
        let current = left.remove(next);
        let here = points.row(current.row);
        next = 0;
        for at in 0..left.len() {
            let other = &mut left[at];
            let reach = squared_distance(here, points.row(other.row)).sqrt().max(widths[current.row]);
            if reach < other.reach {
                (other.reach, other.from) = (reach, order.len());
            }
            if left[at].reach < left[next].reach {
                next = at;
            }
        }
        order.push(current);
    }
    order
}

/// The reaches in their order, with an infinite one behind the last.
struct Plot<'a> {
    order: &'a [Reached],
    reaches: Vec<f64>,
    /// What is left of a reach after a steep fall.
    fallen: f64,
    min_points: usize,
}

/// Places of the plot, the last included.
type Span = (usize, usize);

/// Where a valley may begin: a part of the plot that falls.
struct Fall {
    span: Span,
    /// The highest reach since then.
    highest: f64,
}

impl<'a> Plot<'a> {
    fn new(order: &'a [Reached], params: &Params) -> Self {
        let reaches = order.iter().map(|reached| reached.reach).chain([f64::INFINITY]).collect();
        Self { order, reaches, fallen: 1.0 - params.xi, min_points: params.min_points }
    }

    fn falls_steeply(&self, at: usize) -> bool {
        self.reaches[at + 1] < self.reaches[at] && self.reaches[at + 1] <= self.reaches[at] * self.fallen
    }

    fn rises_steeply(&self, at: usize) -> bool {
        self.reaches[at] < self.reaches[at + 1] && self.reaches[at] <= self.reaches[at + 1] * self.fallen
    }

    /// The valleys without others inside.
    fn groups(&self) -> Vec<Span> {
        let mut grouped = vec![false; self.order.len()];
        let mut groups = Vec::new();
        for (from, until) in self.valleys() {
            if !grouped[from..=until].contains(&true) {
                grouped[from..=until].fill(true);
                groups.push((from, until));
            }
        }
        groups
    }

    /// All valleys, inner ones before those around them (definition 11 and figure 19 of the paper).
    fn valleys(&self) -> Vec<Span> {
        let mut valleys = Vec::new();
        let mut falls: Vec<Fall> = Vec::new();
        let mut at = 0;
        while at < self.order.len() {
            self.pass(&mut falls, at);
            if self.falls_steeply(at) {
                let until = self.slope(at, Self::falls_steeply, |here, next| next <= here);
                falls.push(Fall { span: (at, until), highest: 0.0 });
                at = until + 1;
            } else if self.rises_steeply(at) {
                let until = self.slope(at, Self::rises_steeply, |here, next| next >= here);
                valleys.extend(falls.iter().rev().filter_map(|fall| self.valley(fall, (at, until))));
                at = until + 1;
            } else {
                at += 1;
            }
        }
        valleys
    }

    /// A fall from which the plot rose again nearly to where it began is over.
    fn pass(&self, falls: &mut Vec<Fall>, at: usize) {
        falls.iter_mut().for_each(|fall| fall.highest = fall.highest.max(self.reaches[at]));
        falls.retain(|fall| fall.highest <= self.reaches[fall.span.0] * self.fallen);
    }

    /// The last steep place of a slope, in which at most `min_points` places one after another are not steep and
    /// none goes back (definition 10).
    fn slope(
        &self,
        from: usize,
        steep: impl Fn(&Self, usize) -> bool,
        onwards: impl Fn(f64, f64) -> bool,
    ) -> usize {
        let mut last = from;
        for at in from + 1..self.order.len() {
            if steep(self, at) {
                last = at;
            } else if at - last > self.min_points || !onwards(self.reaches[at], self.reaches[at + 1]) {
                break;
            }
        }
        last
    }

    /// The valley between a fall and a rise, from where both are of the same height. Unlike in scikit-learn no row is
    /// taken in that is farther from the valley than the wall at its beginning is high.
    fn valley(&self, fall: &Fall, rise: Span) -> Option<Span> {
        let (left, right) = (self.reaches[fall.span.0], self.reaches[rise.1 + 1]);
        if fall.highest > right * self.fallen {
            return None;
        }
        let (mut from, mut until) = (fall.span.0, rise.1);
        if left * self.fallen >= right {
            while from < fall.span.1 && self.reaches[from + 1] > right {
                from += 1;
            }
        } else if right * self.fallen >= left {
            while until > rise.0 && self.reaches[until] > left {
                until -= 1;
            }
        }
        let until = self.without_strangers(from, until)?;
        (until >= rise.0 && until - from + 1 >= self.min_points).then_some((from, until))
    }

    /// The last rows of a valley may have been reached from before it, and are not of it (Schubert and Gertz:
    /// Improving the Cluster Structure Extracted from OPTICS Plots, 2018).
    fn without_strangers(&self, from: usize, until: usize) -> Option<usize> {
        let own = |at: usize| self.reaches[from] > self.reaches[at] || self.order[at].from >= from;
        (from + 1..=until).rev().find(|at| own(*at))
    }
}

/// The group of each row, the largest first, and their sizes.
fn numbered(points: &Points, order: &[Reached], spans: &[Span]) -> (Vec<Option<u32>>, Vec<usize>) {
    let mut groups: Vec<Vec<usize>> = spans
        .iter()
        .map(|(from, until)| order[*from..=*until].iter().map(|reached| reached.row).collect())
        .collect();
    // The rows are in the order of their coordinates.
    groups.iter_mut().for_each(|rows| rows.sort_unstable());
    groups
        .sort_by(|a, b| larger_first((a.len() as f64, points.row(a[0])), (b.len() as f64, points.row(b[0]))));
    let mut of_rows = vec![None; points.len()];
    for (group, rows) in groups.iter().enumerate() {
        rows.iter().for_each(|row| of_rows[*row] = Some(group as u32));
    }
    // Rows that are equal can only have one answer.
    for row in 1..points.len() {
        if points.row(row) == points.row(row - 1) {
            of_rows[row] = of_rows[row - 1];
        }
    }
    let mut sizes = vec![0; groups.len()];
    of_rows.iter().flatten().for_each(|group| sizes[*group as usize] += 1);
    (of_rows, sizes)
}

impl Valleys {
    fn tree(&self) -> &KdTree {
        self.tree.get_or_init(|| {
            let mut points = Points::default();
            self.known.iter().for_each(|known| points.push(&known.row));
            KdTree::new(points)
        })
    }
}

impl Fitted for Valleys {
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Output> {
        let tree = self.tree();
        Ok(Output::Groups(each_row(x, |row| {
            let (distance, nearest) = tree.nearest(row, 1).first().copied()?;
            let known = &self.known[nearest];
            if distance.sqrt() <= known.width { known.group } else { None }
        })))
    }

    fn check(&self, columns: usize, _: usize) -> Result<(), String> {
        rows_of_columns("a known row", self.known.iter().map(|known| known.row.as_slice()), columns)?;
        let groups = self.sizes.len();
        match self.known.iter().filter_map(|known| known.group).find(|group| *group as usize >= groups) {
            Some(group) => Err(format!("a row is in group {group}, and there are {groups}")),
            None => Ok(()),
        }
    }

    fn explain(&self) -> Explanation {
        let noise = self.known.iter().filter(|known| known.group.is_none()).count();
        let mut figures = vec![
            ("groups".to_owned(), self.sizes.len() as f64),
            ("rows in no group".to_owned(), noise as f64),
        ];
        let sizes = self.sizes.iter().enumerate();
        figures.extend(sizes.map(|(group, size)| (format!("rows of group {group}"), *size as f64)));
        Explanation { figures, ..Explanation::default() }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::super::shared::iris::{assert_close, iris};
    use super::*;
    use crate::algorithm::Target;

    fn groups(fitted: &Valleys, x: ArrayView2<'_, f64>) -> Vec<Option<u32>> {
        let Output::Groups(groups) = fitted.predict(x).unwrap() else { panic!() };
        groups
    }

    /// `OPTICS(min_samples, xi=0.05).fit(x).labels_` of scikit-learn 1.9.1, with the rows in the order of their
    /// coordinates and its groups numbered by size. Many rows of iris are at one distance, so each value is moved a
    /// little.
    #[test]
    fn iris_is_grouped_as_elsewhere() {
        let mut iris = iris();
        for ((row, column), value) in iris.x.indexed_iter_mut() {
            *value += (row as f64 * 7.0 + column as f64 * 3.0).sin() * 0.01;
        }
        for (min_points, expected) in [
            (
                5,
                "54--5--5-4-44----5-------4-5544---4--5-55----4----333-3-3-3--1---3-1-12-2--\
                 333--1-12--3-111-1-111--1-2000-----0002-00---02-20-220---02--00200020000002",
            ),
            (
                10,
                "00000000000000000000000000000000000000000000000000-----1-----1--1-11-1-1---\
                 ----1-11-----111-1-111--1--------------------------------------------------",
            ),
        ] {
            let params = Params { min_points, ..Params::default() };
            let fitted = Optics::fit(&params, &iris.training()).unwrap();
            let found: Vec<Option<u32>> = expected.chars().map(|label| label.to_digit(10)).collect();
            assert_eq!(groups(&fitted, iris.x.view()), found, "{min_points}");
        }
    }

    #[test]
    fn the_order_of_the_rows_changes_nothing() {
        let stored = |training: &Training<'_>| {
            serde_json::to_string(&Optics::fit(&Params::default(), training).unwrap()).unwrap()
        };
        assert_eq!(stored(&iris().training()), stored(&iris().reversed().training()));
    }

    /// 0, 1, 3, 7 with two in a neighbourhood: widths 1, 1, 2, 4, each reached from the one before.
    #[test]
    fn reaches_by_hand() {
        let points = Points::try_from(vec![vec![0.0], vec![1.0], vec![3.0], vec![7.0]]).unwrap();
        let order = ordered(&points, &[1.0, 1.0, 2.0, 4.0]);
        let places: Vec<(usize, usize)> = order.iter().map(|reached| (reached.row, reached.from)).collect();
        assert_eq!(places, [(0, 0), (1, 0), (2, 1), (3, 2)]);
        assert_eq!(order[0].reach, f64::INFINITY);
        order[1..]
            .iter()
            .zip([1.0, 2.0, 4.0])
            .for_each(|(reached, reach)| assert_close(reached.reach, reach, 0.0));
    }

    /// Ten rows 0.01 apart, ten rows 1 apart, and one far away: no single distance would find both groups.
    #[test]
    fn groups_of_different_density_are_found() {
        let x = Array2::from_shape_fn((21, 1), |(row, _)| match row {
            0..10 => row as f64 * 0.01,
            10..20 => row as f64 + 10.0,
            _ => 90.0,
        });
        let features = ["x".to_owned()];
        let training =
            Training { x: x.view(), target: Target::None, features: &features, seed: 3, threads: 1 };
        let fitted = Optics::fit(&Params { xi: 0.3, ..Params::default() }, &training).unwrap();
        let found = groups(&fitted, x.view());
        assert!(found[..10].iter().all(|group| *group == Some(0)), "{found:?}");
        assert!(found[10..20].iter().all(|group| *group == Some(1)), "{found:?}");
        assert_eq!(found[20], None);
        let asked = array![[0.055], [0.5], [24.5], [40.0]];
        assert_eq!(groups(&fitted, asked.view()), [Some(0), None, Some(1), None]);
    }
}
