//! How well groups are apart. (linfa's silhouette compares all rows with all others, however many there are, and
//! sums in the order of a `HashMap`.)

use std::collections::BTreeMap;

use lagar_flow::{Error, Result, codes};
use ndarray::ArrayView2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    numbers::{finite, mean},
    sample::sample,
};

/// Of how many rows the silhouette is computed unless told otherwise: its time grows with their square.
pub const SILHOUETTE_ROWS: usize = 5_000;

/// Measures of groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Clustering {
    pub rows: u64,
    /// The groups that have rows.
    pub sizes: Vec<Size>,
    /// The share of rows that are in no group.
    pub noise: f64,
    /// The mean over the rows of `(b - a) / max(a, b)`, where `a` is the mean distance to the other rows of the
    /// row's group and `b` that to the rows of the nearest other group (Rousseeuw, 1987): 1 is well apart, 0
    /// between two groups, below 0 in the wrong one. A row alone in its group counts 0; rows in no group are left
    /// out. Not defined for one group, or if every row is its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silhouette: Option<f64>,
    /// Of so many rows the silhouette was computed: if there are more in groups, of a sample by the seed.
    pub silhouette_rows: u64,
    /// The sum of the squared distances of the rows to the centre of their group, where groups have centres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inertia: Option<f64>,
}

/// The rows of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Size {
    pub group: u32,
    pub rows: u64,
}

/// Judges the `groups` of the rows of `x` (`None`: in no group), with the centre of each group if there are any,
/// and the silhouette of at most `most` rows.
///
/// # Errors
/// [`codes::PREDICTOR_DATA`] without rows; a defect if shapes do not fit.
pub fn clustering(
    x: ArrayView2<'_, f64>,
    groups: &[Option<u32>],
    centres: Option<ArrayView2<'_, f64>>,
    most: usize,
    seed: u64,
) -> Result<Clustering> {
    let groups_end = groups.iter().flatten().max().map_or(0, |last| *last as usize + 1);
    let fit = centres.is_none_or(|centres| centres.ncols() == x.ncols() && centres.nrows() >= groups_end);
    if x.nrows() != groups.len() || !fit {
        return Err(Error::bug("the rows, the groups and the centres to judge do not fit together"));
    }
    if groups.is_empty() {
        return Err(Error::new(codes::PREDICTOR_DATA, "there are 0 rows to judge a predictor by"));
    }
    let mut sizes: BTreeMap<u32, u64> = BTreeMap::new();
    groups.iter().flatten().for_each(|group| *sizes.entry(*group).or_default() += 1);
    let in_groups: Vec<usize> = (0..groups.len()).filter(|row| groups[*row].is_some()).collect();
    let chosen: Vec<usize> =
        sample(in_groups.len(), most, seed).into_iter().map(|place| in_groups[place]).collect();
    Ok(Clustering {
        rows: groups.len() as u64,
        noise: (groups.len() - in_groups.len()) as f64 / groups.len() as f64,
        silhouette: silhouette(x, groups, &chosen),
        silhouette_rows: chosen.len() as u64,
        inertia: centres.and_then(|centres| inertia(x, groups, centres)),
        sizes: sizes.into_iter().map(|(group, rows)| Size { group, rows }).collect(),
    })
}

fn silhouette(x: ArrayView2<'_, f64>, groups: &[Option<u32>], chosen: &[usize]) -> Option<f64> {
    let mut places: BTreeMap<u32, usize> = chosen.iter().filter_map(|row| Some((groups[*row]?, 0))).collect();
    places.values_mut().enumerate().for_each(|(at, place)| *place = at);
    if places.len() < 2 || places.len() == chosen.len() {
        return None;
    }
    let own: Vec<usize> = chosen.iter().filter_map(|row| places.get(&groups[*row]?).copied()).collect();
    let mut sizes = vec![0usize; places.len()];
    own.iter().for_each(|group| sizes[*group] += 1);
    // Rows that lie apart in memory take most of the time otherwise.
    let rows: Vec<Vec<f64>> = chosen.iter().map(|row| x.row(*row).to_vec()).collect();
    // From each row to each group.
    let mut sums = vec![vec![0.0; places.len()]; rows.len()];
    for one in 0..rows.len() {
        for other in one + 1..rows.len() {
            let distance = square(&rows[one], &rows[other]).sqrt();
            sums[one][own[other]] += distance;
            sums[other][own[one]] += distance;
        }
    }
    let widths = own.iter().zip(&sums).map(|(own, sums)| {
        if sizes[*own] == 1 {
            return 0.0;
        }
        let within = sums[*own] / (sizes[*own] - 1) as f64;
        let others = (0..sizes.len()).filter(|group| group != own);
        let nearest = others.map(|group| sums[group] / sizes[group] as f64).fold(f64::INFINITY, f64::min);
        let larger = within.max(nearest);
        // All at one place: in between.
        if larger == 0.0 { 0.0 } else { (nearest - within) / larger }
    });
    finite(mean(&widths.collect::<Vec<f64>>()))
}

fn inertia(x: ArrayView2<'_, f64>, groups: &[Option<u32>], centres: ArrayView2<'_, f64>) -> Option<f64> {
    let rows = x.rows().into_iter().zip(groups);
    finite(rows.filter_map(|(row, group)| Some(square(row, centres.row((*group)? as usize)))).sum())
}

fn square<'a>(a: impl IntoIterator<Item = &'a f64>, b: impl IntoIterator<Item = &'a f64>) -> f64 {
    a.into_iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Axis, array};
    use proptest::prelude::*;

    use super::*;

    fn iris_like() -> (Array2<f64>, Vec<Option<u32>>) {
        let x = array![
            [5.1, 3.5],
            [4.9, 3.0],
            [4.7, 3.2],
            [7.0, 3.2],
            [6.4, 3.2],
            [6.9, 3.1],
            [6.3, 3.3],
            [5.8, 2.7],
            [7.1, 3.0],
            [9.0, 9.0]
        ];
        let groups = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3].map(Some).to_vec();
        (x, groups)
    }

    /// `silhouette_score` of scikit-learn 1.9.1, with a row alone in its group; the inertia by numpy around the
    /// means of the groups.
    #[test]
    fn groups_are_judged_as_by_scikit_learn() {
        let (x, groups) = iris_like();
        let centres =
            array![[14.7 / 3.0, 9.7 / 3.0], [20.3 / 3.0, 9.5 / 3.0], [19.2 / 3.0, 9.0 / 3.0], [9.0, 9.0]];
        let judged = clustering(x.view(), &groups, Some(centres.view()), 100, 1).unwrap();
        assert!((judged.silhouette.unwrap() - 0.21342798670579252).abs() < 1e-12);
        assert!((judged.inertia.unwrap() - 1.4599999999999993).abs() < 1e-12);
        assert_eq!((judged.rows, judged.silhouette_rows, judged.noise), (10, 10, 0.0));
        assert_eq!(judged.sizes[3], Size { group: 3, rows: 1 });
    }

    #[test]
    fn rows_in_no_group_are_noise_and_nothing_else() {
        let (x, mut groups) = iris_like();
        groups[9] = None;
        let judged = clustering(x.view(), &groups, None, 100, 1).unwrap();
        let (x, groups) = (x.select(Axis(0), &[0, 1, 2, 3, 4, 5, 6, 7, 8]), &groups[..9]);
        let without = clustering(x.view(), groups, None, 100, 1).unwrap();
        assert_eq!(judged.silhouette, without.silhouette);
        assert_eq!((judged.noise, without.noise, judged.silhouette_rows), (0.1, 0.0, 9));
        assert_eq!(judged.inertia, None);
    }

    #[test]
    fn a_sample_is_reported_and_near_the_whole() {
        let x = Array2::from_shape_fn((900, 2), |(row, column)| {
            let chance = super::super::sample::mixed(column as u64, row as u64) as f64 / u64::MAX as f64;
            chance + (row % 3) as f64 * 1.5
        });
        let groups: Vec<Option<u32>> = (0..900).map(|row| Some(row % 3)).collect();
        let whole = clustering(x.view(), &groups, None, 900, 1).unwrap();
        let part = clustering(x.view(), &groups, None, 300, 1).unwrap();
        assert_eq!((whole.silhouette_rows, part.silhouette_rows), (900, 300));
        assert!((whole.silhouette.unwrap() - part.silhouette.unwrap()).abs() < 0.02);
        assert_eq!(part, clustering(x.view(), &groups, None, 300, 1).unwrap());
    }

    #[test]
    fn without_two_groups_nothing_is_apart() {
        let x = array![[1.0], [2.0], [3.0]];
        for groups in [[Some(0); 3], [None; 3], [Some(0), Some(1), Some(7)]] {
            assert_eq!(clustering(x.view(), &groups, None, 9, 1).unwrap().silhouette, None);
        }
        let same = Array2::ones((4, 2));
        let groups = [Some(0), Some(0), Some(1), Some(1)];
        assert_eq!(clustering(same.view(), &groups, None, 9, 1).unwrap().silhouette, Some(0.0));
        let far = array![[f64::MAX], [-f64::MAX], [1.0], [2.0]];
        assert_eq!(clustering(far.view(), &groups, None, 9, 1).unwrap().silhouette, None);
        assert!(clustering(x.view(), &[Some(1); 3], Some(array![[1.0]].view()), 9, 1).is_err());
    }

    proptest! {
        #[test]
        fn measures_hold_together(
            rows in prop::collection::vec((prop::option::of(0u32..4), -9.0f64..9.0, -9.0f64..9.0), 1..40)
        ) {
            let x = Array2::from_shape_fn((rows.len(), 2), |(row, column)| {
                if column == 0 { rows[row].1 } else { rows[row].2 }
            });
            let groups: Vec<Option<u32>> = rows.iter().map(|row| row.0).collect();
            let judged = clustering(x.view(), &groups, None, 20, 5).unwrap();
            prop_assert!(judged.silhouette.is_none_or(|silhouette| (-1.0..=1.0).contains(&silhouette)));
            let in_groups: u64 = judged.sizes.iter().map(|size| size.rows).sum();
            let noise = (judged.noise * rows.len() as f64).round() as u64;
            prop_assert_eq!(in_groups + noise, rows.len() as u64);
            let by_columns = x.t().as_standard_layout().reversed_axes().to_owned();
            prop_assert_eq!(clustering(by_columns.view(), &groups, None, 20, 5).unwrap(), judged);
        }
    }
}
