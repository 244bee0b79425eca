//! How much of many columns a few components say.

use lagar_flow::{Error, Result, codes};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::math::square;

/// Measures of components.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reduction {
    pub rows: u64,
    /// The columns that were reduced.
    pub columns: u64,
    /// For each component the share of the variance of the columns that it explains and those before it do not:
    /// how much better the best linear function of the components gives the columns back. Of principal
    /// components these are their ratios of explained variance, whether they were brought to one size or not.
    /// Empty if the columns do not vary.
    pub shares: Vec<f64>,
    /// The sum of `shares`. Not defined if the columns do not vary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explained: Option<f64>,
}

/// Judges `components` (a row for each row of `x`) by the columns of `x` from which they came, brought to the size
/// in which they were reduced.
///
/// # Errors
/// [`codes::PREDICTOR_DATA`] without rows or if squares are too large for numbers; a defect if shapes do not fit.
pub fn reduction(x: ArrayView2<'_, f64>, components: ArrayView2<'_, f64>) -> Result<Reduction> {
    if x.nrows() != components.nrows() {
        return Err(Error::bug("the columns and the components to judge do not fit together"));
    }
    let (Some(x), Some(components)) = (centred(x), centred(components)) else {
        return Err(Error::new(codes::PREDICTOR_DATA, "there are 0 rows to judge a predictor by"));
    };
    let mut judged =
        Reduction { rows: x.nrows() as u64, columns: x.ncols() as u64, shares: Vec::new(), explained: None };
    let total = squares(x.iter());
    if !total.is_finite() || !squares(components.iter()).is_finite() {
        return Err(Error::new(
            codes::PREDICTOR_DATA,
            "the squares of the columns add up to more than 1.8e308",
        )
        .hint("scale the columns"));
    }
    if total == 0.0 {
        return Ok(judged);
    }
    let mut directions: Vec<Array1<f64>> = Vec::new();
    for component in components.columns() {
        let direction = new_direction(component.to_owned(), &directions);
        let explained = direction.as_ref().map_or(0.0, |direction| {
            x.columns().into_iter().map(|column| square(product(direction, column))).sum()
        });
        judged.shares.push(explained / total);
        directions.extend(direction);
    }
    judged.explained = Some(judged.shares.iter().sum());
    Ok(judged)
}

/// The part of a component that does not follow from `others` (each of length 1, at right angles), of length 1.
/// `None` if nothing is left. Twice, since the first time rounding leaves a rest (Kahan's "twice is enough").
fn new_direction(mut component: Array1<f64>, others: &[Array1<f64>]) -> Option<Array1<f64>> {
    let whole = squares(component.iter()).sqrt();
    for other in others.iter().chain(others) {
        let along = product(other, component.view());
        component.zip_mut_with(other, |value, other| *value -= along * other);
    }
    let own = squares(component.iter()).sqrt();
    (own > whole * 1e-10).then(|| component / own)
}

fn squares<'a>(values: impl Iterator<Item = &'a f64>) -> f64 {
    values.map(|value| value * value).sum()
}

/// In the order of the rows, whatever the layout in memory.
fn product(a: &Array1<f64>, b: ArrayView1<'_, f64>) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Each column less its mean. `None` without rows.
fn centred(x: ArrayView2<'_, f64>) -> Option<Array2<f64>> {
    let rows = x.nrows() as f64;
    let mut centred = x.to_owned();
    for mut column in centred.axis_iter_mut(Axis(1)) {
        let mean = column.iter().sum::<f64>() / rows;
        column.iter_mut().for_each(|value| *value -= mean);
    }
    (rows > 0.0).then_some(centred)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn table() -> Array2<f64> {
        array![
            [2.5, 2.4, 0.3],
            [0.5, 0.7, -0.2],
            [2.2, 2.9, 0.1],
            [1.9, 2.2, 0.4],
            [3.1, 3.0, -0.5],
            [2.3, 2.7, 0.0],
            [2.0, 1.6, 0.2],
            [1.0, 1.1, -0.1]
        ]
    }

    /// `PCA(2).fit_transform(table)` and its `explained_variance_ratio_`, scikit-learn 1.9.1.
    #[test]
    fn principal_components_explain_their_ratios_also_when_whitened() {
        let components = array![
            [0.6255762610687658, 0.23542985341494893],
            [-1.9884304994086643, -0.20102555281453752],
            [0.7755670972258897, 0.14266295173937577],
            [0.0648697877426172, 0.3894048084216128],
            [1.4715596290873854, -0.5558367182944665],
            [0.7011139967501814, 0.005578905370723274],
            [-0.2972889382070538, 0.10342933288048935],
            [-1.3529673342591206, -0.1196435807181458]
        ];
        let expected = [0.9048428179797087, 0.05716016680811102];
        for size in [1.0, 1e-3] {
            let mut components = components.clone();
            components.column_mut(1).map_inplace(|value| *value *= size);
            let judged = reduction(table().view(), components.view()).unwrap();
            for (share, expected) in judged.shares.iter().zip(expected) {
                assert!((share - expected).abs() < 1e-9, "{share} is not {expected}");
            }
            assert!((judged.explained.unwrap() - expected.iter().sum::<f64>()).abs() < 1e-9);
            assert_eq!((judged.rows, judged.columns), (8, 3));
        }
    }

    #[test]
    fn what_follows_from_others_adds_nothing_and_all_columns_explain_all() {
        let x = table();
        let judged = reduction(x.view(), x.view()).unwrap();
        assert!((judged.explained.unwrap() - 1.0).abs() < 1e-12);
        let twice = ndarray::stack(Axis(1), &[x.column(0), (&x.column(0) * 2.0 + 1.0).view()]).unwrap();
        assert_eq!(reduction(x.view(), twice.view()).unwrap().shares[1], 0.0);
        let constant = Array2::ones((8, 1));
        assert_eq!(reduction(x.view(), constant.view()).unwrap().explained, Some(0.0));
        let judged = reduction(constant.view(), x.view()).unwrap();
        assert_eq!((judged.explained, judged.shares.len()), (None, 0));
        let huge = &x * 1e200;
        assert_eq!(reduction(huge.view(), x.view()).unwrap_err().code(), codes::PREDICTOR_DATA);
        let none = Array2::zeros((0, 2));
        assert_eq!(reduction(none.view(), none.view()).unwrap_err().code(), codes::PREDICTOR_DATA);
    }
}
