//! Mixtures of normal distributions, each with its own full covariance, fitted by expectation and maximisation
//! (Dempster, Laird and Rubin, 1977; Bishop: Pattern Recognition and Machine Learning, 9.2).
//!
//! Fitted by own code. linfa-clustering 0.8.1 adds up densities as they are: far from every component they are all
//! 0, and the probabilities of such a row come out infinite. It begins with its own k-means (see `k_means`), and what
//! it adds to variances is a number in the squared units of whatever the columns are.

use lagar_flow::{Error, Result, codes};
use ndarray::ArrayView2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::k_means::{k_means, start, too_few};
use super::shared::checks::as_many;
use super::shared::points::{Points, each_row, larger_first};
use super::shared::scale::constant;
use crate::algorithm::{Algorithm, Explanation, Fitted, Output, Task, Training};
use crate::math::{exp, ln};
use crate::parallel::in_order;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// The number of normal distributions, which is that of the groups.
    components: usize,
    /// The number of random starts, of which the most likely one is kept. A start is by k-means, so columns of
    /// different units should be brought to one with `scale`.
    runs: usize,
    /// After so many steps a run ends.
    max_iterations: usize,
    /// A run ends when the mean log-likelihood of a row grows by less than this.
    tolerance: f64,
    /// To each variance in a component this share of the variance of the whole column is added, so that a
    /// component never becomes thinner.
    regularization: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { components: 3, runs: 5, max_iterations: 200, tolerance: 1e-4, regularization: 1e-6 }
    }
}

/// A row belongs to the component from which it most likely came.
#[derive(Debug, Serialize, Deserialize)]
pub struct Mixture {
    /// The one with the largest weight is the first.
    components: Vec<Component>,
    /// The mean over the rows of the logarithm of their density.
    log_likelihood: f64,
    rows: usize,
    iterations: usize,
    /// Whether the run ended by `tolerance`.
    converged: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Component {
    /// The share of the rows; all weights add up to 1.
    weight: f64,
    mean: Vec<f64>,
    /// The lower triangle `L` of the covariance `L Lᵀ`, row by row, with the diagonal (Cholesky).
    lower: Vec<Vec<f64>>,
}

pub struct GaussianMixture;

impl Algorithm for GaussianMixture {
    const NAME: &'static str = "gaussian_mixture";
    const TASK: Task = Task::Clustering;
    const ABOUT: &'static str = "a given number of groups, each a normal distribution of its own shape";
    type Params = Params;
    type Fitted = Mixture;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        for (name, value) in [
            ("components", params.components),
            ("runs", params.runs),
            ("max_iterations", params.max_iterations),
        ] {
            if value == 0 {
                return Err((name, "must be at least 1".to_owned()));
            }
        }
        for (name, value) in [("tolerance", params.tolerance), ("regularization", params.regularization)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err((name, "must be a number that is not negative".to_owned()));
            }
        }
        Ok(())
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<Mixture> {
        training.at_least(params.components.max(2), Self::NAME)?;
        let points = Points::of(training)?;
        let variances = variances(&points);
        let mut columns = training.features.iter().zip(training.x.columns()).zip(&variances);
        if let Some(((name, values), _)) =
            columns.find(|((_, values), variance)| constant(values.view()) || **variance <= 0.0)
        {
            let rows = points.len();
            let (what, hint) = match constant(values) {
                true => (format!("the same in all {rows} rows"), "leave this column out"),
                // The squares of such differences are no numbers any more.
                false => (
                    format!("nearly the same in all {rows} rows"),
                    "bring it to a unit in which it is nearer to 1",
                ),
            };
            let message = format!("`{name}` is {what}: a normal distribution has a width");
            return Err(Error::new(codes::PREDICTOR_DATA, message).hint(hint));
        }
        let least: Vec<f64> = variances.iter().map(|variance| variance * params.regularization).collect();
        let runs = in_order(params.runs, training.threads, |run| {
            let mut random = start(training.seed, run);
            let Some(groups) = k_means(&points, params.components, 100, 0.0, &mut random) else {
                return Err(too_few(params.components, &points));
            };
            Ok(one_run(params, &points, &groups.groups(&points), &least))
        })?;
        let runs = runs.into_iter().collect::<Result<Vec<Option<Mixture>>>>()?;
        let best = runs.into_iter().flatten().max_by(|a, b| a.log_likelihood.total_cmp(&b.log_likelihood));
        best.ok_or_else(|| {
            let (runs, rows) = (params.runs, points.len());
            Error::new(
                codes::PREDICTOR_DATA,
                format!("in each of {runs} runs over {rows} rows a component lost its rows or became flat"),
            )
            .hint("ask for fewer `components`, raise `regularization`, or leave out columns that follow from others")
        })
    }
}

/// `None`: a component was left without rows, or its covariance cannot be inverted.
fn one_run(params: &Params, points: &Points, groups: &[usize], least: &[f64]) -> Option<Mixture> {
    let count = params.components;
    let mut shares = vec![0.0; points.len() * count];
    groups.iter().enumerate().for_each(|(row, group)| shares[row * count + group] = 1.0);
    let mut components = maximised(points, &shares, count, least)?;
    let mut log_likelihood = f64::NEG_INFINITY;
    let (mut iterations, mut converged) = (0, false);
    while iterations < params.max_iterations && !converged {
        let before = log_likelihood;
        log_likelihood = expected(points, &components, &mut shares);
        if !log_likelihood.is_finite() {
            return None;
        }
        components = maximised(points, &shares, count, least)?;
        converged = log_likelihood - before < params.tolerance;
        iterations += 1;
    }
    components.sort_by(|a, b| larger_first((a.weight, &a.mean), (b.weight, &b.mean)));
    let log_likelihood = expected(points, &components, &mut shares);
    let rows = points.len();
    log_likelihood.is_finite().then_some(Mixture { components, log_likelihood, rows, iterations, converged })
}

/// Fills in how much each row belongs to each component; the mean log-likelihood.
fn expected(points: &Points, components: &[Component], shares: &mut [f64]) -> f64 {
    let mut densities = Densities::new(components);
    let mut sum = 0.0;
    for (row, shares) in points.rows().zip(shares.chunks_exact_mut(components.len())) {
        shares.copy_from_slice(densities.of(row));
        // Densities may all be too small for a number, what they are of the largest is not.
        let largest = shares.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total = largest + ln(shares.iter().map(|log| exp(log - largest)).sum());
        shares.iter_mut().for_each(|log| *log = exp(*log - total));
        sum += total;
    }
    sum / points.len() as f64
}

/// The components that fit best if each row belongs to them in these shares.
fn maximised(points: &Points, shares: &[f64], count: usize, least: &[f64]) -> Option<Vec<Component>> {
    (0..count)
        .map(|component| {
            let shares = || shares.iter().skip(component).step_by(count);
            let rows: f64 = shares().sum();
            // Less than that is rounding and not a part of a row.
            if rows < 10.0 * f64::EPSILON {
                return None;
            }
            let mut mean = vec![0.0; points.columns()];
            for (row, share) in points.rows().zip(shares()) {
                mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += share / rows * value);
            }
            let mut covariance: Vec<Vec<f64>> = (1..=points.columns()).map(|n| vec![0.0; n]).collect();
            let mut apart = vec![0.0; points.columns()];
            for (row, share) in points.rows().zip(shares()) {
                apart.iter_mut().zip(row).zip(&mean).for_each(|((apart, x), mean)| *apart = x - mean);
                for (line, own) in covariance.iter_mut().zip(&apart) {
                    let own = share / rows * own;
                    line.iter_mut().zip(&apart).for_each(|(sum, other)| *sum += own * other);
                }
            }
            for (at, (line, least)) in covariance.iter_mut().zip(least).enumerate() {
                line[at] += least;
            }
            Some(Component { weight: rows / points.len() as f64, mean, lower: lower(covariance)? })
        })
        .collect()
}

/// Cholesky: `L` of `L Lᵀ`, of which the lower triangle is given. `None`: the matrix is not positive definite.
fn lower(mut matrix: Vec<Vec<f64>>) -> Option<Vec<Vec<f64>>> {
    for i in 0..matrix.len() {
        let (before, rest) = matrix.split_at_mut(i);
        let line = &mut rest[0];
        for (j, other) in before.iter().enumerate() {
            let known: f64 = line[..j].iter().zip(other).map(|(a, b)| a * b).sum();
            line[j] = (line[j] - known) / other[j];
        }
        let known: f64 = line[..i].iter().map(|v| v * v).sum();
        let left = line[i] - known;
        // Of a variance that follows from the columns before nothing but rounding is left.
        if !(left > line[i] * 1e-14 && left.is_finite()) {
            return None;
        }
        line[i] = left.sqrt();
    }
    Some(matrix)
}

/// The logarithms of weight times density.
struct Densities<'a> {
    components: &'a [Component],
    /// What does not depend on the row: `ln weight - ln det L - p/2 ln 2π`.
    levels: Vec<f64>,
    logs: Vec<f64>,
    solved: Vec<f64>,
}

impl<'a> Densities<'a> {
    fn new(components: &'a [Component]) -> Self {
        let levels: Vec<f64> = components
            .iter()
            .map(|component| {
                let determinant: f64 =
                    component.lower.iter().flat_map(|line| line.last()).map(|v| ln(*v)).sum();
                let constant = component.mean.len() as f64 / 2.0 * ln(std::f64::consts::TAU);
                ln(component.weight) - determinant - constant
            })
            .collect();
        Self { components, logs: levels.clone(), levels, solved: Vec::new() }
    }

    fn of(&mut self, row: &[f64]) -> &[f64] {
        for ((log, level), component) in self.logs.iter_mut().zip(&self.levels).zip(self.components) {
            *log = level - 0.5 * component.squared_distance(row, &mut self.solved);
        }
        &self.logs
    }
}

impl Component {
    /// Mahalanobis': `|y|²` with `L y = x - mean`.
    fn squared_distance(&self, row: &[f64], solved: &mut Vec<f64>) -> f64 {
        solved.clear();
        for ((line, x), mean) in self.lower.iter().zip(row).zip(&self.mean) {
            let known: f64 = line.iter().zip(solved.iter()).map(|(a, b)| a * b).sum();
            let own = line.last().copied().unwrap_or(1.0);
            solved.push((x - mean - known) / own);
        }
        solved.iter().map(|v| v * v).sum()
    }
}

fn variances(points: &Points) -> Vec<f64> {
    let rows = points.len() as f64;
    let mut means = vec![0.0; points.columns()];
    for row in points.rows() {
        means.iter_mut().zip(row).for_each(|(mean, value)| *mean += value / rows);
    }
    let mut variances = vec![0.0; points.columns()];
    for row in points.rows() {
        for ((variance, value), mean) in variances.iter_mut().zip(row).zip(&means) {
            *variance += (value - mean) * (value - mean) / rows;
        }
    }
    variances
}

impl Fitted for Mixture {
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Output> {
        let mut densities = Densities::new(&self.components);
        Ok(Output::Groups(each_row(x, |row| {
            let logs = densities.of(row);
            let likeliest = (0..logs.len()).reduce(|best, at| if logs[at] > logs[best] { at } else { best });
            likeliest.map(|group| group as u32)
        })))
    }

    fn check(&self, columns: usize, _: usize) -> Result<(), String> {
        if self.components.is_empty() {
            return Err("there is no component".to_owned());
        }
        self.components.iter().try_for_each(|component| {
            as_many("means", component.mean.len(), "columns", columns)?;
            as_many("lines of a covariance", component.lower.len(), "columns", columns)?;
            let mut lines = component.lower.iter().zip(1..);
            lines.try_for_each(|(line, columns)| as_many("numbers of a line", line.len(), "columns", columns))
        })
    }

    /// The Bayesian information criterion (Schwarz, 1978) is smaller for the better number of components.
    fn explain(&self) -> Explanation {
        let columns = self.components.first().map_or(0, |component| component.mean.len());
        let of_each = columns + columns * (columns + 1) / 2;
        let fitted = self.components.len() * (of_each + 1) - 1;
        let rows = self.rows as f64;
        let mut figures = vec![
            ("mean log-likelihood".to_owned(), self.log_likelihood),
            ("bic".to_owned(), fitted as f64 * ln(rows) - 2.0 * rows * self.log_likelihood),
            ("iterations".to_owned(), self.iterations as f64),
            ("converged".to_owned(), f64::from(u8::from(self.converged))),
        ];
        let weights = self.components.iter().enumerate();
        figures.extend(weights.map(|(group, c)| (format!("weight of group {group}"), c.weight)));
        Explanation { figures, ..Explanation::default() }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::super::shared::iris::{assert_close, iris};
    use super::*;
    use crate::algorithm::Target;

    /// `GaussianMixture(3, n_init=10, tol=1e-9, max_iter=2000, random_state=0)` of scikit-learn 1.9.1: `score`,
    /// `bic`, `weights_`, `means_`. It adds 1e-6 to each variance and not a share, hence the small difference.
    #[test]
    fn iris_is_grouped_as_elsewhere() {
        let iris = iris();
        let params = Params { components: 3, tolerance: 1e-9, max_iterations: 2000, ..Params::default() };
        let fitted = GaussianMixture::fit(&params, &iris.training()).unwrap();
        assert!(fitted.converged);
        assert_close(fitted.log_likelihood, -1.201236517572, 1e-5);
        let figures = fitted.explain().figures;
        assert_close(figures[1].1, 580.838908811968, 1e-5);
        let expected = [
            (0.36746939622, [6.544552274237, 2.948662902706, 5.479561794621, 1.984610192043]),
            (0.333333333333, [5.006, 3.428, 1.462, 0.246]),
            (0.299197270447, [5.914973727136, 2.777843824953, 4.201560397161, 1.296969801068]),
        ];
        for (component, (weight, mean)) in fitted.components.iter().zip(expected) {
            assert_close(component.weight, weight, 1e-4);
            component.mean.iter().zip(mean).for_each(|(v, expected)| assert_close(*v, expected, 1e-4));
        }
        // The top left of its `covariances_[0]`.
        let lower = &fitted.components[0].lower;
        assert_close(lower[0][0] * lower[0][0], 0.38704614851, 1e-4);
        assert_close(lower[1][0] * lower[0][0], 0.092207845453, 1e-4);
        assert_close(lower[1][0].powi(2) + lower[1][1].powi(2), 0.110338727719, 1e-4);
    }

    /// `[[4, 2, -2], [2, 10, 5], [-2, 5, 9]]` is `L Lᵀ` of `[[2], [1, 3], [-1, 2, 2]]`.
    #[test]
    fn cholesky_by_hand() {
        let of = |last| lower(vec![vec![4.0], vec![2.0, 10.0], vec![-2.0, 5.0, last]]);
        assert_eq!(of(9.0).unwrap(), [vec![2.0], vec![1.0, 3.0], vec![-1.0, 2.0, 2.0]]);
        assert_eq!(of(5.0), None);
    }

    /// Densities there are less than the smallest number.
    #[test]
    fn a_row_far_from_all_components_has_the_likeliest_group() {
        let iris = iris();
        let fitted = GaussianMixture::fit(&Params::default(), &iris.training()).unwrap();
        let far = array![[1e6, 1e6, 1e6, 1e6], [-1e6, 1e6, -1e6, -1e6]];
        let mut densities = Densities::new(&fitted.components);
        let logs: Vec<f64> = densities.of(&[1e6; 4]).to_vec();
        assert!(logs.iter().all(|log| log.is_finite() && log.exp() == 0.0), "{logs:?}");
        let Output::Groups(groups) = fitted.predict(far.view()).unwrap() else { panic!() };
        assert!(groups.iter().all(Option::is_some));
    }

    /// Also where the mean of equal values is off by a bit.
    #[test]
    fn a_column_without_width_is_refused_whatever_its_value() {
        for value in [7.0, 0.1, 1.1, 1e9 / 3.0] {
            for rows in [6, 10, 20, 30, 50, 100, 1000] {
                let x = Array2::from_shape_fn((rows, 2), |(row, column)| match column {
                    0 => (row * 7 % 5) as f64,
                    _ => value,
                });
                let features = ["a".to_owned(), "b".to_owned()];
                let training =
                    Training { x: x.view(), target: Target::None, features: &features, seed: 3, threads: 1 };
                let params = Params { components: 2, ..Params::default() };
                let error = GaussianMixture::fit(&params, &training).unwrap_err();
                let says = format!("`b` is the same in all {rows} rows: a normal distribution has a width");
                assert_eq!(error.message(), says, "{value}");
            }
        }
    }

    #[test]
    fn columns_that_follow_from_each_other_are_made_wide_enough() {
        let x = array![[0.0, 0.0], [1.0, 2.0], [2.0, 4.0], [10.0, 20.0], [11.0, 22.0], [12.0, 24.0]];
        let features = ["a".to_owned(), "b".to_owned()];
        let training =
            Training { x: x.view(), target: Target::None, features: &features, seed: 3, threads: 1 };
        let params = Params { components: 2, ..Params::default() };
        let fitted = GaussianMixture::fit(&params, &training).unwrap();
        let Output::Groups(groups) = fitted.predict(x.view()).unwrap() else { panic!() };
        let one = Some(groups[0].unwrap());
        let other = Some(1 - groups[0].unwrap());
        assert_eq!(groups, [one, one, one, other, other, other]);
        let error = GaussianMixture::fit(&Params { regularization: 0.0, ..params }, &training).unwrap_err();
        assert_eq!(error.code(), codes::PREDICTOR_DATA);
        assert!(error.hint_text().unwrap().contains("regularization"));
    }
}
