//! Which features a predictor leans on: how much worse it gets when a feature's values are given to the wrong
//! rows (Breiman, "Random Forests", 2001; as `permutation_importance` of scikit-learn).

use std::ops::Range;

use lagar_flow::{Error, Result, codes};
use ndarray::{Array2, ArrayView2, Axis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    numbers::{mean, root_mean_square},
    sample::{mixed, sample, shuffled},
};

/// A feature as the table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    pub name: String,
    /// The columns of the matrix that come from it, such as those of its categories. They are shuffled together.
    pub columns: Range<usize>,
}

/// How much work is done.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// How often each feature is shuffled.
    pub repeats: usize,
    /// At most so many rows are taken.
    pub rows: usize,
    pub seed: u64,
}

/// The importance of each feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Importances {
    /// So many rows were scored: if there were more, a sample by the seed.
    pub rows: u64,
    /// Of so many.
    pub of: u64,
    pub repeats: u64,
    /// The score of these rows as they are.
    pub score: f64,
    /// The most important first.
    pub features: Vec<Importance>,
}

/// The importance of one feature. About 0 or below says that the predictor does as well without; features that say
/// the same share what they are worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Importance {
    pub feature: String,
    /// By how much the score falls when the feature's values are shuffled, on average.
    pub mean: f64,
    /// The standard deviation of the repeats (divided by their number, as scikit-learn does).
    pub standard_deviation: f64,
}

/// The fall of `score` for each feature. `score` is given rows and their places in `x`, and says how good the
/// predictor's answers for them are: the higher, the better. The same rows and seed give the same bits, whatever
/// the other features are.
///
/// # Errors
/// Those of `score`; [`codes::PREDICTOR_DATA`] without rows; a defect if columns are not there or a score is not
/// finite.
pub fn importance(
    x: ArrayView2<'_, f64>,
    features: &[Feature],
    effort: Effort,
    score: impl Fn(ArrayView2<'_, f64>, &[usize]) -> Result<f64>,
) -> Result<Importances> {
    if features.iter().any(|feature| feature.columns.end > x.ncols()) || effort.repeats == 0 {
        return Err(Error::bug("a feature to shuffle is not there, or it is to be shuffled 0 times"));
    }
    if x.nrows() == 0 || effort.rows == 0 {
        return Err(Error::new(codes::PREDICTOR_DATA, "there are 0 rows to measure importance by"));
    }
    let of = x.nrows() as u64;
    let rows = sample(x.nrows(), effort.rows, effort.seed);
    let x: Array2<f64> = x.select(Axis(0), &rows);
    let score = |x: &Array2<f64>| match score(x.view(), &rows) {
        Ok(score) if !score.is_finite() => Err(Error::bug("a score to measure importance by is not finite")),
        score => score,
    };
    let whole = score(&x)?;
    let mut changed = x.clone();
    let mut importances = Vec::with_capacity(features.len());
    for feature in features {
        let mut falls = Vec::with_capacity(effort.repeats);
        let own_seed = feature.name.bytes().fold(effort.seed, |seed, byte| mixed(seed, u64::from(byte)));
        for repeat in 0..effort.repeats {
            let order = shuffled(rows.len(), mixed(own_seed, repeat as u64));
            for column in feature.columns.clone() {
                for (row, from) in order.iter().enumerate() {
                    changed[[row, column]] = x[[*from, column]];
                }
            }
            falls.push(whole - score(&changed)?);
        }
        for column in feature.columns.clone() {
            changed.column_mut(column).assign(&x.column(column));
        }
        let mean = mean(&falls);
        let deviations: Vec<f64> = falls.iter().map(|fall| fall - mean).collect();
        let standard_deviation = root_mean_square(&deviations);
        importances.push(Importance { feature: feature.name.clone(), mean, standard_deviation });
    }
    // Stable: of equals the first.
    importances.sort_by(|a, b| b.mean.total_cmp(&a.mean));
    Ok(Importances {
        rows: rows.len() as u64,
        of,
        repeats: effort.repeats as u64,
        score: whole,
        features: importances,
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use ndarray::concatenate;

    use super::*;

    fn feature(name: &str, columns: Range<usize>) -> Feature {
        Feature { name: name.to_owned(), columns }
    }

    /// Three columns that look like chance, between 0 and 1.
    fn rows(n: usize) -> Array2<f64> {
        Array2::from_shape_fn((n, 3), |(row, column)| {
            mixed(column as u64, row as u64) as f64 / u64::MAX as f64
        })
    }

    fn answer(row: ndarray::ArrayView1<'_, f64>) -> f64 {
        3.0 * row[0] + row[1]
    }

    fn negative_mse(x: ArrayView2<'_, f64>, truth: &[f64]) -> f64 {
        let squares = x.rows().into_iter().zip(truth).map(|(row, truth)| (answer(row) - truth).powi(2));
        -squares.sum::<f64>() / truth.len() as f64
    }

    fn measured(x: &Array2<f64>, features: &[Feature], effort: Effort) -> Importances {
        let truth: Vec<f64> = x.rows().into_iter().map(answer).collect();
        importance(x.view(), features, effort, |x, rows| {
            let truth: Vec<f64> = rows.iter().map(|row| truth[*row]).collect();
            Ok(negative_mse(x, &truth))
        })
        .unwrap()
    }

    /// A shuffled value is any of the values alike, so on average `(w·x - w·x')²` is `2 w² · variance`.
    #[test]
    fn a_line_falls_by_twice_its_weight_squared_times_the_variance() {
        let x = rows(200);
        let features = [feature("useless", 2..3), feature("light", 1..2), feature("heavy", 0..1)];
        let effort = Effort { repeats: 100, rows: 1000, seed: 5 };
        let judged = measured(&x, &features, effort);
        let names: Vec<&str> = judged.features.iter().map(|one| one.feature.as_str()).collect();
        assert_eq!(names, ["heavy", "light", "useless"]);
        assert_eq!((judged.score, judged.rows, judged.of, judged.repeats), (0.0, 200, 200, 100));
        for (one, (column, weight)) in judged.features.iter().zip([(0, 3.0), (1, 1.0)]) {
            let expected = 2.0 * weight * weight * x.column(column).var(0.0);
            // Four standard errors of the mean.
            let error = (one.mean - expected).abs();
            assert!(error < 4.0 * one.standard_deviation / 10.0, "{one:?} is not {expected}");
            assert!(one.standard_deviation > 0.0 && one.standard_deviation < expected);
        }
        assert_eq!((judged.features[2].mean, judged.features[2].standard_deviation), (0.0, 0.0));
        assert_eq!(measured(&x, &features, effort), judged);
        let alone = measured(&x, &features[1..2], effort);
        assert_eq!(alone.features[0], judged.features[1], "other features do not matter");
    }

    #[test]
    fn columns_of_one_feature_are_shuffled_together_and_the_others_not_at_all() {
        let x = concatenate(ndarray::Axis(1), &[rows(50).view(), rows(50).view()]).unwrap();
        let seen = RefCell::new(0);
        importance(
            x.view(),
            &[feature("one", 0..1), feature("three", 3..6)],
            Effort { repeats: 2, rows: 50, seed: 1 },
            |changed, _| {
                let call = *seen.borrow();
                *seen.borrow_mut() += 1;
                let same = |column: usize| changed.column(column) == x.column(column);
                let moved: Vec<usize> = (0..6).filter(|column| !same(*column)).collect();
                let expected: &[usize] = [&[][..], &[0], &[0], &[3, 4, 5], &[3, 4, 5]][call];
                assert_eq!(moved, expected);
                if call > 2 {
                    for row in changed.rows() {
                        let whole = |old: ndarray::ArrayView1<'_, f64>| (3..6).all(|c| old[c] == row[c]);
                        assert!(x.rows().into_iter().any(whole));
                    }
                }
                Ok(0.0)
            },
        )
        .unwrap();
        assert_eq!(*seen.borrow(), 5);
    }

    #[test]
    fn a_sample_is_reported() {
        let x = rows(300);
        let judged = measured(&x, &[feature("a", 0..1)], Effort { repeats: 3, rows: 40, seed: 2 });
        assert_eq!((judged.rows, judged.of), (40, 300));
        assert!(judged.features[0].mean > 0.0);
    }

    #[test]
    fn what_cannot_be_measured_is_an_error() {
        let x = rows(5);
        let effort = Effort { repeats: 1, rows: 5, seed: 0 };
        assert!(importance(x.view(), &[feature("a", 2..4)], effort, |_, _| Ok(0.0)).is_err());
        assert!(importance(x.view(), &[], effort, |_, _| Ok(f64::NAN)).is_err());
        let none = Array2::zeros((0, 3));
        let error = importance(none.view(), &[], effort, |_, _| Ok(0.0)).unwrap_err();
        assert_eq!(error.code(), codes::PREDICTOR_DATA);
        let own = || Error::new(codes::PREDICTOR_DATA, "own");
        assert!(importance(x.view(), &[], effort, |_, _| Err(own())).unwrap_err().message().contains("own"));
    }
}
