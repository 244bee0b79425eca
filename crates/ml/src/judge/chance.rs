//! How much better than a baseline a predictor may look by chance alone.
//!
//! Both answer the same rows, so it is their difference that has a standard error. The rows are cut into at most
//! 20 blocks of rows that follow each other, and the difference is measured again without each of them: the
//! delete-a-group jackknife (Quenouille, 1956; Tukey, 1958), of blocks that are not all of one size as Busing,
//! Meijer and van der Leeden have it ("Delete-m Jackknife for Unequal m", 1999). That is one rule for every measure
//! that changes little with a few rows, be it a mean (log loss, absolute errors) or not (balanced accuracy, F1,
//! areas, R²), and it takes no random numbers.
//!
//! Blocks and not rows, as rows near each other in time are alike (Künsch, "The Jackknife and the Bootstrap for
//! General Stationary Observations", 1989). What hangs together for longer than a block is not seen: the margin is
//! too small then. That of a quantile (`median_absolute_error`) is rough, and `max_error` hangs on one row, of which
//! it only knows that.

use std::collections::BTreeMap;

use lagar_flow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Metric, metrics};
use crate::{algorithm::Task, math::square, parallel::in_order};

const BLOCKS: usize = 20;
/// Of Student's t with 1, 2, … degrees of freedom: what is exceeded once in 40 times.
const T: [f64; BLOCKS - 1] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093,
];

/// By how much of each metric a predictor has to be better than a baseline, so that one that is as good as the
/// baseline gets there once in 40 times: about two standard errors of their difference. A metric that is not here
/// cannot be told from chance: it is not defined without some of the rows, or all rows are of one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Margins(BTreeMap<String, f64>);

impl Margins {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `None`: nobody knows. Without right answers nothing is claimed that chance could do as well, so there is no
    /// margin.
    pub fn of(&self, metric: &Metric) -> Option<f64> {
        match metric.task().has_target() {
            true => self.0.get(metric.name).copied().filter(|margin| margin.is_finite()),
            false => Some(0.0),
        }
    }
}

/// All metrics of a task, in their order.
pub(crate) type Figures = Vec<Option<f64>>;

/// The margins over each baseline. `keys`: of each row where it lies; those of one key hang together. `measured` is
/// given the places of rows, and says the figures of the predictor and then those of its baselines.
///
/// # Errors
/// Those of `measured`.
pub(crate) fn margins<K: Ord>(
    task: Task,
    keys: &[K],
    threads: usize,
    measured: impl Fn(&[usize]) -> Result<Vec<Figures>> + Sync,
) -> Result<Vec<Margins>> {
    let all: Vec<usize> = (0..keys.len()).collect();
    let (block_of, count) = blocks(keys);
    let without = |block: usize| {
        let kept: Vec<usize> = all.iter().copied().filter(|row| block_of[*row] != block).collect();
        Ok((all.len() - kept.len(), measured(&kept)?))
    };
    let whole = measured(&all)?;
    // Without the only block there is nothing to measure.
    let parts = if count > 1 { in_order(count, threads, without)? } else { Vec::new() };
    let parts = parts.into_iter().collect::<Result<Vec<_>>>()?;
    let over = |baseline: usize| {
        let of_metric = |(at, metric): (usize, &Metric)| {
            let difference = |figures: &[Figures]| Some(figures[0][at]? - figures[baseline][at]?);
            let without = parts.iter().map(|(rows, figures)| Some((*rows, difference(figures)?)));
            let margin = margin(difference(&whole)?, &without.collect::<Option<Vec<_>>>()?)?;
            Some((metric.name.to_owned(), margin))
        };
        Margins(metrics(task).enumerate().filter_map(of_metric).collect())
    };
    Ok((1..whole.len()).map(over).collect())
}

/// The block of each row, and how many there are: about as many rows in each, in the order of the keys, and those of
/// one key in one block.
fn blocks<K: Ord>(keys: &[K]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by(|a, b| keys[*a].cmp(&keys[*b]));
    let mut block_of = vec![0; keys.len()];
    let (mut place, mut count, mut begun) = (0, 0, None);
    for run in order.chunk_by(|a, b| keys[*a] == keys[*b]) {
        let share = Some(place * BLOCKS / keys.len());
        if begun != share {
            (count, begun) = (count + 1, share);
        }
        run.iter().for_each(|row| block_of[*row] = count - 1);
        place += run.len();
    }
    (block_of, count)
}

/// Some standard errors of a difference that is `whole`, and `without` so many rows of a block each of these values.
/// `None` with less than two blocks.
fn margin(whole: f64, without: &[(usize, f64)]) -> Option<f64> {
    let t = T.get(without.len().checked_sub(2)?)?;
    let blocks = without.len() as f64;
    let rows = without.iter().map(|(rows, _)| *rows as f64).sum::<f64>();
    let kept = without.iter().map(|(left_out, value)| (1.0 - *left_out as f64 / rows) * value);
    let estimate = blocks * whole - kept.sum::<f64>();
    let squares = without.iter().map(|(left_out, value)| {
        let times = rows / *left_out as f64;
        square(times * whole - (times - 1.0) * value - estimate) / (times - 1.0)
    });
    Some(t * (squares.sum::<f64>() / blocks).sqrt()).filter(|margin| margin.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::find;

    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-9, "{value} is not {expected}");
    }

    /// Of a mean the jackknife is the standard error of the textbook, and of blocks of one size that of their means.
    #[test]
    fn of_a_mean_it_is_the_standard_error_times_t() {
        let values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0];
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let error = |values: &[f64]| {
            let (mean, n) = (mean(values), values.len() as f64);
            (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt()
        };
        let without = |size: usize| -> Vec<(usize, f64)> {
            let left = |block: usize| [&values[..block * size], &values[(block + 1) * size..]].concat();
            (0..values.len() / size).map(|block| (size, mean(&left(block)))).collect()
        };
        near(margin(mean(&values), &without(1)).unwrap(), 2.365 * error(&values));
        near(margin(mean(&values), &without(2)).unwrap(), 3.182 * error(&[2.0, 2.5, 7.0, 4.0]));
        assert_eq!(margin(mean(&values), &without(8)), None);
        assert_eq!(margin(1.0, &[]), None);
    }

    #[test]
    fn blocks_are_alike_in_size_and_never_cut_what_has_one_key() {
        let (block_of, count) = blocks(&(0..120).rev().collect::<Vec<i32>>());
        assert_eq!((count, block_of[0], block_of[119]), (20, 19, 0));
        assert!((0..20).all(|block| block_of.iter().filter(|of| **of == block).count() == 6));
        // Seven days of six rows, and one day of all rows.
        let (block_of, count) = blocks(&(0..42).map(|row| row / 6).collect::<Vec<i32>>());
        assert_eq!(count, 7);
        assert!((0..42).all(|row| block_of[row] == row / 6));
        assert_eq!(blocks(&[3; 9]), (vec![0; 9], 1));
        assert_eq!(blocks::<i64>(&[]), (vec![], 0));
    }

    #[test]
    fn what_is_not_defined_without_a_block_has_no_margin() {
        let rmse = find(Task::Regression, "rmse").unwrap();
        let mae = find(Task::Regression, "mae").unwrap();
        // The predictor is better by 1 on average; its `mae` is not known without the third row.
        let measured = |rows: &[usize]| {
            let mean = rows.iter().map(|row| *row as f64).sum::<f64>() / rows.len() as f64;
            let known = rows.contains(&2).then_some(mean);
            let nothing = || vec![None; metrics(Task::Regression).count()];
            let (mut own, mut other) = (nothing(), nothing());
            (own[0], own[1], other[0], other[1]) = (Some(mean), known, Some(0.0), Some(0.0));
            Ok(vec![own, other])
        };
        let over = margins(Task::Regression, &[1, 2, 3, 4], 2, measured).unwrap();
        assert_eq!(over.len(), 1);
        near(over[0].of(rmse).unwrap(), 3.182 * (5.0_f64 / 3.0 / 4.0).sqrt());
        assert_eq!(over[0].of(mae), None);
        assert!(margins(Task::Regression, &[7; 4], 2, measured).unwrap()[0].is_empty());
        let text = serde_json::to_string(&over[0]).unwrap();
        assert!(text.starts_with(r#"{"rmse":"#), "{text}");
        assert_eq!(Margins::default().of(find(Task::Clustering, "silhouette").unwrap()), Some(0.0));
    }
}
