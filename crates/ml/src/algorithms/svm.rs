//! Support vector classification: a machine for each pair of classes.

use lagar_flow::Result;
use ndarray::ArrayView2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{
    checks::{above_zero, as_many, at_least_one, classes, known_classes},
    minimise::minimise,
    probabilities::{of_rows, to_one},
    scale::Scale,
    smo::Problem,
    support::{Effort, Kernel, Machine, Shape, Vectors},
    weights::named,
};
use crate::algorithm::{Algorithm, Explanation, Fitted, Output, Task, Training};
use crate::math::{exp, ln, ln_1p};
use crate::parallel::in_order;

/// Parts of the rows that are held back, one after the other, to see what a machine's decisions are worth on rows
/// that it was not fitted with.
const PARTS: usize = 5;
/// No pair of classes is decided with less doubt than this.
const DOUBT: f64 = 1e-7;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// How alike two rows are: `gaussian`: by their distance; `linear`: classes are parted by a plane. All columns are
    /// brought to a deviation of 1 first.
    kernel: Shape,
    /// How much a row on the wrong side costs: the larger, the fewer there are. Above 0.
    c: f64,
    /// How fast the gaussian kernel falls with the squared distance. If it is left out: one by the number of columns.
    gamma: Option<f64>,
    /// More rows than this are an error: each is compared with each other one, which takes 8 bytes (200 MB for 5000
    /// rows).
    max_rows: usize,
    /// Steps at most for each machine. If they are not enough, that is an error.
    max_iterations: usize,
    /// How far the conditions of the best machine may be missed.
    tolerance: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            kernel: Shape::Gaussian,
            c: 1.0,
            gamma: None,
            max_rows: 5000,
            max_iterations: 1_000_000,
            tolerance: 1e-3,
        }
    }
}

/// For each pair of classes a decision: above 0 speaks for the second.
#[derive(Debug, Serialize, Deserialize)]
pub struct Decisions {
    /// The columns of the matrix.
    features: Vec<String>,
    classes: usize,
    vectors: Vectors,
    pairs: Vec<Pair>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Pair {
    first: usize,
    second: usize,
    machine: Machine,
    /// The probability of the second class is `1 / (1 + e^-(slope · decision + offset))` (Platt, "Probabilistic
    /// outputs for support vector machines", 1999).
    slope: f64,
    offset: f64,
}

pub struct Svm;

impl Algorithm for Svm {
    const NAME: &'static str = "svm";
    const TASK: Task = Task::Classification;
    const ABOUT: &'static str = "support vector machines: the widest street between each pair of classes";
    type Params = Params;
    type Fitted = Decisions;

    fn check(params: &Params) -> Result<(), (&'static str, String)> {
        above_zero("c", params.c)?;
        params.gamma.map_or(Ok(()), |gamma| above_zero("gamma", gamma))?;
        at_least_one("max_iterations", params.max_iterations)?;
        above_zero("tolerance", params.tolerance)
    }

    fn bytes(params: &Params, rows: usize) -> u64 {
        Kernel::bytes(rows, params.max_rows)
    }

    fn fit(params: &Params, training: &Training<'_>) -> Result<Decisions> {
        let (codes, classes) = classes(training, Self::NAME)?;
        training.at_most(params.max_rows, Self::NAME)?;
        let scale = Scale::each(training.x);
        let x = scale.rows(training.x);
        let kernel = Kernel::new(params.kernel, params.gamma, x.ncols());
        let similar = kernel.all(&x, training.threads)?;
        let pairs: Vec<Rows> = (0..classes)
            .flat_map(|first| (first + 1..classes).map(move |second| (first, second)))
            .map(|(first, second)| Rows::of(codes, first, second))
            .collect();
        let jobs: Vec<(&Rows, Option<usize>)> = pairs
            .iter()
            .flat_map(|rows| (0..rows.parts).map(Some).chain([None]).map(move |held_back| (rows, held_back)))
            .collect();
        let effort = Effort { max_iterations: params.max_iterations, tolerance: params.tolerance };
        let machines = in_order(jobs.len(), training.threads, |job| {
            let (rows, held_back) = jobs[job];
            Machine::solve(&rows.problem(&similar, held_back, params.c), effort, Self::NAME)
        })?;
        let mut machines = machines.into_iter().collect::<Result<Vec<Machine>>>()?.into_iter();
        let (mut whole, mut sigmoids) = (Vec::new(), Vec::new());
        for rows in &pairs {
            let of_parts: Vec<Machine> = machines.by_ref().take(rows.parts).collect();
            whole.extend(machines.next());
            let decisions = rows.decisions(&similar, &of_parts, &whole[whole.len() - 1]);
            sigmoids.push(sigmoid(&decisions, &rows.signs)?);
        }
        let vectors = Vectors::of(scale, kernel, &x, &mut whole);
        let pairs = pairs.iter().zip(whole).zip(sigmoids).map(|((rows, machine), (slope, offset))| Pair {
            first: rows.first,
            second: rows.second,
            machine,
            slope,
            offset,
        });
        Ok(Decisions { features: training.features.to_vec(), classes, vectors, pairs: pairs.collect() })
    }
}

/// The rows of a pair of classes.
struct Rows {
    first: usize,
    second: usize,
    rows: Vec<usize>,
    /// 1 of the second class, -1 of the first.
    signs: Vec<f64>,
    /// In which part each row is held back. Each part has rows of both classes.
    part: Vec<usize>,
    /// 0: a class has one row only.
    parts: usize,
}

impl Rows {
    fn of(codes: &[u32], first: usize, second: usize) -> Self {
        let mut seen = [0, 0];
        let (mut rows, mut signs, mut part) = (Vec::new(), Vec::new(), Vec::new());
        for (row, code) in codes.iter().enumerate() {
            let class = *code as usize;
            if class == first || class == second {
                let seen = &mut seen[usize::from(class == second)];
                rows.push(row);
                signs.push(if class == second { 1.0 } else { -1.0 });
                part.push(*seen);
                *seen += 1;
            }
        }
        let parts = PARTS.min(seen[0]).min(seen[1]);
        part.iter_mut().for_each(|place| *place %= parts.max(1));
        Self { first, second, rows, signs, part, parts: if parts > 1 { parts } else { 0 } }
    }

    fn problem<'a>(&self, similar: &'a [Vec<f64>], held_back: Option<usize>, c: f64) -> Problem<'a> {
        let kept = || (0..self.rows.len()).filter(|at| held_back != Some(self.part[*at]));
        Problem {
            similar,
            rows: kept().map(|at| self.rows[at]).collect(),
            signs: kept().map(|at| self.signs[at]).collect(),
            linear: kept().map(|_| -1.0).collect(),
            most: c,
        }
    }

    /// For each row that of the machine which did not know it; if there are no parts, of the `whole`.
    fn decisions(&self, similar: &[Vec<f64>], of_parts: &[Machine], whole: &Machine) -> Vec<f64> {
        let rows = self.rows.iter().zip(&self.part);
        rows.map(|(row, part)| of_parts.get(*part).unwrap_or(whole).decide(&similar[*row])).collect()
    }
}

/// Slope and offset that make the decisions most probable, for targets that leave a doubt (Lin, Lin and Weng, "A
/// note on Platt's probabilistic outputs for support vector machines", 2007). A slope below 0 would mean that the
/// machine is worse than none: then it is 0.
fn sigmoid(decisions: &[f64], signs: &[f64]) -> Result<(f64, f64)> {
    let rows = signs.len() as f64;
    let second = signs.iter().filter(|sign| **sign > 0.0).count() as f64;
    let first = rows - second;
    let target = |sign: f64| if sign > 0.0 { (second + 1.0) / (second + 2.0) } else { 1.0 / (first + 2.0) };
    let mean = signs.iter().map(|sign| target(*sign)).sum::<f64>() / rows;
    let odds = ln(mean / (1.0 - mean));
    let loss = |at: &[f64]| {
        let (mut loss, mut gradient) = (0.0, vec![0.0; 2]);
        for (decision, sign) in decisions.iter().zip(signs) {
            let score = at[0] * decision + at[1];
            // ln(1 + eˢ), whatever the size of s.
            loss += score.max(0.0) + ln_1p(exp(-score.abs())) - target(*sign) * score;
            let error = logistic(score) - target(*sign);
            gradient[0] += error * decision;
            gradient[1] += error;
        }
        gradient.iter_mut().for_each(|part| *part /= rows);
        Ok((loss / rows, gradient))
    };
    let end = minimise(vec![0.0, odds], 200, 1e-9, loss)?;
    Ok(if end.at[0] > 0.0 { (end.at[0], end.at[1]) } else { (0.0, odds) })
}

fn logistic(score: f64) -> f64 {
    1.0 / (1.0 + exp(-score))
}

impl Pair {
    /// The probabilities of the first and the second, if it is one of them.
    fn probabilities(&self, similar: &[f64]) -> (f64, f64) {
        let second =
            logistic(self.slope * self.machine.decide(similar) + self.offset).clamp(DOUBT, 1.0 - DOUBT);
        (1.0 - second, second)
    }
}

impl Fitted for Decisions {
    /// A class is as probable as the pairs say together: `1 / (Σ 1/p - (classes - 2))` over those that it is in
    /// (Price, Knerr, Personnaz and Dreyfus, "Pairwise neural network classifiers with probabilistic outputs", 1995).
    fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Output> {
        let (mut scaled, mut similar) = (Vec::new(), Vec::new());
        Ok(of_rows(x, self.classes, |row, classes| {
            self.vectors.similar(row, &mut scaled, &mut similar);
            classes.fill(0.0);
            for pair in &self.pairs {
                let (first, second) = pair.probabilities(&similar);
                classes[pair.first] += 1.0 / first;
                classes[pair.second] += 1.0 / second;
            }
            let others = self.classes as f64 - 2.0;
            classes.iter_mut().for_each(|class| *class = 1.0 / (*class - others));
            to_one(classes);
        }))
    }

    fn check(&self, columns: usize, classes: usize) -> Result<(), String> {
        known_classes(self.classes, classes)?;
        as_many("names", self.features.len(), "columns", columns)?;
        let pairs = (classes - 1).saturating_mul(classes) / 2;
        as_many("decisions", self.pairs.len(), "pairs of classes", pairs)?;
        if let Some(pair) = self.pairs.iter().find(|pair| pair.first >= classes || pair.second >= classes) {
            let (first, second) = (pair.first, pair.second);
            return Err(format!("a decision is between the classes {first} and {second} of {classes}"));
        }
        self.vectors.check(columns, self.pairs.iter().map(|pair| &pair.machine))
    }

    /// Coefficients of the decision between two classes by a linear kernel, of the columns as they are.
    fn explain(&self) -> Explanation {
        let line = match self.pairs.as_slice() {
            [pair] => self.vectors.line(&pair.machine, 1.0),
            _ => None,
        };
        let coefficients = line.map(|(weights, constant)| named(&self.features, &weights, constant, None));
        Explanation { coefficients: coefficients.unwrap_or_default(), figures: self.vectors.figures() }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayView1;

    use super::*;
    use crate::{
        algorithm::Target,
        algorithms::shared::samples::{
            CANCER, CANCER_CLASSES, IRIS, iris_classes, matrix, names, near, training,
        },
    };

    fn fit(kernel: Shape, rows: &ndarray::Array2<f64>, codes: &[u32], count: usize) -> Decisions {
        let features = names(4);
        let params = Params { kernel, tolerance: 1e-10, ..Params::default() };
        Svm::fit(&params, &training(rows.view(), Target::Classes { codes, count }, &features)).unwrap()
    }

    fn decide(decisions: &Decisions, row: &[f64; 4]) -> Vec<f64> {
        let (mut scaled, mut similar) = (Vec::new(), Vec::new());
        decisions.vectors.similar(ArrayView1::from(row), &mut scaled, &mut similar);
        decisions.pairs.iter().map(|pair| pair.machine.decide(&similar)).collect()
    }

    /// SVC(C=1, gamma=0.25, tol=1e-10).decision_function of scikit-learn on StandardScaler's columns.
    #[test]
    fn decisions_are_those_of_scikit_learn() {
        for (kernel, expected, support) in [
            (Shape::Gaussian, [-1.0000000006786935, -0.5172468009472975, -0.9999999828655168], 19.0),
            (Shape::Linear, [-2.9220132512673103, -0.4780302719481583, -1.1925133260913627], 10.0),
        ] {
            let decisions = fit(kernel, &matrix(&CANCER), &CANCER_CLASSES, 2);
            let found: Vec<f64> = CANCER[..3].iter().flat_map(|row| decide(&decisions, row)).collect();
            near(&found, &expected, 1e-6);
            assert_eq!(decisions.explain().figures, [("support_vectors".to_owned(), support)]);
        }
    }

    /// The same with `decision_function_shape="ovo"`, where above 0 speaks for the first: rows 0 and 13.
    #[test]
    fn each_pair_of_classes_decides_as_with_scikit_learn() {
        let decisions = fit(Shape::Gaussian, &matrix(&IRIS), &iris_classes(), 3);
        near(
            &decide(&decisions, &IRIS[0]),
            &[-1.1101261560990863, -1.0266969583777776, -0.6801677151757302],
            1e-6,
        );
        near(
            &decide(&decisions, &IRIS[13]),
            &[1.1109264438173936, 0.6223847139114651, -0.9723489722391039],
            1e-6,
        );
    }

    /// Probabilities of rows that were held back differ with how they were parted; they must go with the classes.
    #[test]
    fn the_most_probable_class_is_nearly_always_right() {
        for (rows, codes, count, right) in
            [(matrix(&IRIS), iris_classes(), 3, 29), (matrix(&CANCER), CANCER_CLASSES.to_vec(), 2, 37)]
        {
            let decisions = fit(Shape::Gaussian, &rows, &codes, count);
            let Output::Probabilities(found) = decisions.predict(rows.view()).unwrap() else {
                panic!("no probabilities")
            };
            let best = |row: ArrayView1<'_, f64>| {
                (0..count).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap() as u32
            };
            let hits =
                found.rows().into_iter().zip(&codes).filter(|(row, code)| best(*row) == **code).count();
            assert!(hits >= right, "{hits} of {}", codes.len());
        }
    }

    /// Decisions of ±1 that are right 3 times of 4: with targets of 5/6 and 1/6 the odds are those of
    /// (3·5/6 + 1/6)/4 = 2/3, so that the slope is ln 2.
    #[test]
    fn a_sigmoid_gives_the_share_that_is_right() {
        let decisions = [1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0, 1.0];
        let signs = [1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0];
        let (slope, offset) = sigmoid(&decisions, &signs).unwrap();
        near(&[slope, offset], &[2f64.ln(), 0.0], 1e-7);
        let (slope, offset) = sigmoid(&decisions.map(|decision: f64| -decision), &signs).unwrap();
        assert_eq!((slope, offset.abs() < 1e-12), (0.0, true));
    }

    #[test]
    fn coefficients_between_two_classes_give_the_decision() {
        let decisions = fit(Shape::Linear, &matrix(&CANCER), &CANCER_CLASSES, 2);
        let values: Vec<f64> = decisions.explain().coefficients.iter().map(|c| c.value).collect();
        let line = |row: &[f64; 4]| row.iter().chain([&1.0]).zip(&values).map(|(x, c)| x * c).sum::<f64>();
        near(&[line(&CANCER[0]), line(&CANCER[1])], &[-2.9220132512673103, -0.4780302719481583], 1e-6);
    }
}
