//! The numbers that a predictor is judged beside which always answers the same: what is best hangs on the measure.
//!
//! Of squared errors that is the mean, of absolute ones the median. Of a target that is seldom large they are far
//! apart, and whoever knows nothing but where most rows lie seems to know more than the mean.

use crate::judge::Quantiles;

/// The best constants for the measure that promotes (`None`: nothing does), with their names.
pub(super) fn constants(values: &[f64], promotes: Option<&str>) -> Vec<(&'static str, f64)> {
    let count = values.len() as f64;
    let mean = values.iter().map(|value| value / count).sum::<f64>();
    let median = Quantiles::of(values).map(|quantiles| ("median", quantiles.median));
    let own = match promotes {
        Some("mape") => weighted_median(values).map(|value| ("weighted median", value)),
        Some("median_absolute_error") => middle_of_half(values).map(|value| ("shortest half", value)),
        _ => None,
    };
    [("mean", mean)].into_iter().chain(median).chain(own).collect()
}

/// The value up to which half of the weight lies, where a value weighs the less the larger it is: an error counts as a
/// share of it. `None` where all are 0.
fn weighted_median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let weight = |value: &f64| Some(1.0 / value.abs()).filter(|weight| weight.is_finite());
    let total: f64 = sorted.iter().filter_map(weight).sum();
    let mut up_to = 0.0;
    sorted.into_iter().find(|value| {
        let own = weight(value);
        up_to += own.unwrap_or_default();
        own.is_some() && up_to >= total / 2.0
    })
}

/// The middle of the shortest stretch that holds more than half of the values: from nowhere is the distance that half
/// of them exceed smaller (Rousseeuw, "Least Median of Squares Regression", 1984). Of equals the first.
fn middle_of_half(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    // In halves: the distance of two numbers may be larger than any number.
    let ends = sorted.windows(values.len() / 2 + 1).map(|half| (half[0] / 2.0, half[half.len() - 1] / 2.0));
    let shortest = ends.min_by(|a, b| (a.1 - a.0).total_cmp(&(b.1 - b.0)));
    shortest.map(|(from, to)| from + to)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No constant has a smaller error, whatever is tried.
    #[test]
    fn each_constant_is_the_best_for_its_measure() {
        let skewed: Vec<f64> = (0..101).map(|n| (f64::from(n * 37 % 101) / 20.0).exp()).collect();
        let mean = |errors: Vec<f64>| errors.iter().sum::<f64>() / errors.len() as f64;
        let errors = |answer: f64| skewed.iter().map(move |value| (value - answer).abs());
        type Measure<'a> = Box<dyn Fn(f64) -> f64 + 'a>;
        let measures: [(&str, &str, Measure<'_>); 4] = [
            ("rmse", "mean", Box::new(|at| mean(errors(at).map(|error| error * error).collect()))),
            ("mae", "median", Box::new(|at| mean(errors(at).collect()))),
            (
                "mape",
                "weighted median",
                Box::new(|at| mean(errors(at).zip(&skewed).map(|(e, value)| e / value).collect())),
            ),
            (
                "median_absolute_error",
                "shortest half",
                Box::new(|at| Quantiles::of(&errors(at).collect::<Vec<_>>()).unwrap().median),
            ),
        ];
        for (metric, name, error) in measures {
            let constants = constants(&skewed, Some(metric));
            let (_, best) = constants.iter().find(|constant| constant.0 == name).unwrap();
            let least = (0..2000).map(|n| error(f64::from(n) / 10.0)).fold(f64::INFINITY, f64::min);
            assert!(error(*best) <= least + 1e-9, "{metric}: {} at {best}, and {least}", error(*best));
        }
    }

    #[test]
    fn odd_values_have_constants_too() {
        assert_eq!(
            constants(&[7.0], Some("mape")),
            [("mean", 7.0), ("median", 7.0), ("weighted median", 7.0)]
        );
        assert_eq!(weighted_median(&[0.0, 0.0]), None);
        assert_eq!(weighted_median(&[0.0, -4.0, 5e-324, 9.0]), Some(-4.0));
        assert_eq!(middle_of_half(&[f64::MAX, -f64::MAX, f64::MAX]), Some(f64::MAX));
        assert_eq!(middle_of_half(&[1.0, 2.0]), Some(1.5));
        assert_eq!(constants(&[1.0, 2.0], None).len(), 2);
    }
}
