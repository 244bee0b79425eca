//! The problem behind support vector machines, solved two variables at a time (Fan, Chen and Lin, "Working set
//! selection using second order information for training support vector machines", 2005). By own code, not
//! linfa-svm 0.8.1: that goes on for ten million iterations, which cannot be changed, does not let one ask whether
//! they were enough, and computes all similarities again for each part that is held back to find probabilities.

/// What a pair of rows that are alike is taken to differ by, so that the step is bounded.
const ALIKE: f64 = 1e-12;

/// `½ Σ aₛ aₜ signₛ signₜ K + Σ linear · a` is made small, where `Σ sign · a = 0` and `0 ≤ a ≤ most`.
pub(crate) struct Problem<'a> {
    /// How alike each row is to each other one.
    pub(crate) similar: &'a [Vec<f64>],
    /// Of which row each variable is.
    pub(crate) rows: Vec<usize>,
    /// 1 or -1.
    pub(crate) signs: Vec<f64>,
    pub(crate) linear: Vec<f64>,
    pub(crate) most: f64,
}

pub(crate) struct Solution {
    pub(crate) variables: Vec<f64>,
    pub(crate) bias: f64,
    /// By how much the conditions of the minimum are missed.
    pub(crate) gap: f64,
}

impl Problem<'_> {
    /// Until `gap` is at most `tolerance`, or after `max_iterations`.
    pub(crate) fn solve(&self, max_iterations: usize, tolerance: f64) -> Solution {
        let mut variables = vec![0.0; self.rows.len()];
        let mut gradient = self.linear.clone();
        for _ in 0..max_iterations {
            let Some((up, down, step)) = self.pair(&variables, &gradient, tolerance) else { break };
            let step = step.min(self.room(&variables, up, 1.0)).min(self.room(&variables, down, -1.0));
            self.go(&mut variables, up, step);
            self.go(&mut variables, down, -step);
            let (of_up, of_down) = (&self.similar[self.rows[up]], &self.similar[self.rows[down]]);
            for (part, (sign, row)) in gradient.iter_mut().zip(self.signs.iter().zip(&self.rows)) {
                *part += sign * step * (of_up[*row] - of_down[*row]);
            }
        }
        let (highest, lowest) = self.bounds(&variables, &gradient);
        let bias = self.bias(&variables, &gradient).unwrap_or((highest + lowest) / 2.0);
        Solution { variables, bias, gap: highest - lowest }
    }

    /// How much is gained for a small step of `sign · variable` upwards.
    fn wish(&self, gradient: &[f64], at: usize) -> f64 {
        -self.signs[at] * gradient[at]
    }

    /// How far `sign · variable` can go in this direction (1 or -1).
    fn room(&self, variables: &[f64], at: usize, direction: f64) -> f64 {
        if self.signs[at] * direction > 0.0 { self.most - variables[at] } else { variables[at] }
    }

    fn go(&self, variables: &mut [f64], at: usize, step: f64) {
        variables[at] = (variables[at] + self.signs[at] * step).clamp(0.0, self.most);
    }

    /// The variable that most wants to go up, that which gains most by going down with it, and how far. `None`:
    /// there is nothing to gain.
    fn pair(&self, variables: &[f64], gradient: &[f64], tolerance: f64) -> Option<(usize, usize, f64)> {
        let (mut up, mut highest) = (None, f64::NEG_INFINITY);
        for at in 0..variables.len() {
            let wish = self.wish(gradient, at);
            if wish > highest && self.room(variables, at, 1.0) > 0.0 {
                (up, highest) = (Some(at), wish);
            }
        }
        let up = up?;
        let similar = &self.similar[self.rows[up]];
        let own = similar[self.rows[up]];
        let (mut best, mut most, mut lowest) = (None, 0.0, f64::INFINITY);
        for at in 0..variables.len() {
            if self.room(variables, at, -1.0) <= 0.0 {
                continue;
            }
            let wish = self.wish(gradient, at);
            lowest = f64::min(lowest, wish);
            let difference = highest - wish;
            if difference <= 0.0 {
                continue;
            }
            let row = self.rows[at];
            let bend = (own + self.similar[row][row] - 2.0 * similar[row]).max(ALIKE);
            let gain = difference * difference / bend;
            if gain > most {
                (best, most) = (Some((up, at, difference / bend)), gain);
            }
        }
        best.filter(|_| highest - lowest > tolerance)
    }

    /// The highest wish of those that can go up, and the lowest of those that can go down: at the minimum they
    /// have met.
    fn bounds(&self, variables: &[f64], gradient: &[f64]) -> (f64, f64) {
        let mut bounds = (f64::NEG_INFINITY, f64::INFINITY);
        for at in 0..variables.len() {
            let wish = self.wish(gradient, at);
            if self.room(variables, at, 1.0) > 0.0 {
                bounds.0 = f64::max(bounds.0, wish);
            }
            if self.room(variables, at, -1.0) > 0.0 {
                bounds.1 = f64::min(bounds.1, wish);
            }
        }
        bounds
    }

    /// The mean wish of those between the bounds, if there are any.
    fn bias(&self, variables: &[f64], gradient: &[f64]) -> Option<f64> {
        let free = (0..variables.len()).filter(|at| variables[*at] > 0.0 && variables[*at] < self.most);
        let (sum, count) = free.fold((0.0, 0), |(sum, count), at| (sum + self.wish(gradient, at), count + 1));
        (count > 0).then(|| sum / f64::from(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two points, 0 and 2 on a line: the widest street between them has its middle at 1 and reaches to both, so
    /// that the weight is 1, and both variables are ½.
    #[test]
    fn the_widest_street_between_two_points() {
        let similar = [vec![0.0, 0.0], vec![0.0, 4.0]];
        let problem = Problem {
            similar: &similar,
            rows: vec![0, 1],
            signs: vec![-1.0, 1.0],
            linear: vec![-1.0; 2],
            most: 10.0,
        };
        let solution = problem.solve(100, 1e-9);
        assert_eq!(solution.variables, [0.5, 0.5]);
        assert_eq!(solution.bias, -1.0);
        assert!(solution.gap.abs() < 1e-9);
    }
}
