//! The minimum of a smooth convex function: the limited-memory BFGS method (Nocedal and Wright, Numerical
//! Optimization, algorithm 7.4) with a step found by bisection (Lewis and Overton, "Nonsmooth optimization via
//! quasi-Newton methods", 2013).

use std::collections::VecDeque;

use lagar_flow::Result;

/// Pairs of steps and changes of the gradient that are remembered.
const MEMORY: usize = 10;
/// Of the decrease that the slope promises, so much must come true.
const DECREASE: f64 = 1e-4;
/// Of the slope, so much may be left.
const SLOPE_LEFT: f64 = 0.9;
/// Halvings and doublings of a step at most: from 1 to what changes nothing any more.
const TRIES: usize = 60;

/// Where the search ended.
pub(crate) struct End {
    pub(crate) at: Vec<f64>,
    pub(crate) iterations: usize,
    /// The largest part of the gradient, without its sign: 0 at the minimum.
    pub(crate) gradient: f64,
}

struct Point {
    at: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

/// From `start` until no part of the gradient is above `tolerance`, `max_iterations` are done, or no step makes
/// the value smaller any more. `function` gives the value and the gradient.
///
/// # Errors
/// Those of `function`.
pub(crate) fn minimise(
    start: Vec<f64>,
    max_iterations: usize,
    tolerance: f64,
    function: impl Fn(&[f64]) -> Result<(f64, Vec<f64>)>,
) -> Result<End> {
    let point = |at: Vec<f64>| -> Result<Point> {
        let (value, gradient) = function(&at)?;
        Ok(Point { at, value, gradient })
    };
    let mut here = point(start)?;
    let mut memory: VecDeque<(Vec<f64>, Vec<f64>)> = VecDeque::new();
    let mut iterations = 0;
    while iterations < max_iterations && largest(&here.gradient) > tolerance {
        iterations += 1;
        let direction = direction(&here.gradient, &memory);
        let Some(next) = step(&here, &direction, point)? else { break };
        let moved = difference(&next.at, &here.at);
        let bent = difference(&next.gradient, &here.gradient);
        here = next;
        if dot(&moved, &bent) > 0.0 {
            memory.push_back((moved, bent));
            if memory.len() > MEMORY {
                memory.pop_front();
            }
        }
    }
    Ok(End { gradient: largest(&here.gradient), at: here.at, iterations })
}

/// The gradient, turned and stretched by what is remembered of the function's curvature, downwards.
fn direction(gradient: &[f64], memory: &VecDeque<(Vec<f64>, Vec<f64>)>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|part| -part).collect();
    let mut taken = Vec::with_capacity(memory.len());
    for (moved, bent) in memory.iter().rev() {
        let part = dot(moved, &direction) / dot(moved, bent);
        add(&mut direction, -part, bent);
        taken.push(part);
    }
    if let Some((moved, bent)) = memory.back() {
        let stretch = dot(moved, bent) / dot(bent, bent);
        direction.iter_mut().for_each(|part| *part *= stretch);
    }
    for ((moved, bent), part) in memory.iter().zip(taken.iter().rev()) {
        let back = dot(bent, &direction) / dot(moved, bent);
        add(&mut direction, part - back, moved);
    }
    direction
}

/// A point in `direction` that is lower enough, and behind which it is not as steep. `None`: there is none that
/// can be told from here.
fn step(here: &Point, direction: &[f64], point: impl Fn(Vec<f64>) -> Result<Point>) -> Result<Option<Point>> {
    let slope = dot(&here.gradient, direction);
    if slope >= 0.0 || slope.is_nan() {
        return Ok(None);
    }
    // Near the minimum values differ by rounding only; the gradient still tells.
    let rounding = 1e-15 * here.value.abs();
    let (mut from, mut to) = (0.0, f64::INFINITY);
    let mut length = 1.0;
    for _ in 0..TRIES {
        let mut at = here.at.clone();
        add(&mut at, length, direction);
        let there = point(at)?;
        if there.value > here.value + DECREASE * length * slope + rounding || there.value.is_nan() {
            to = length;
        } else if dot(&there.gradient, direction) < SLOPE_LEFT * slope {
            from = length;
        } else {
            return Ok(Some(there));
        }
        length = if to.is_finite() { (from + to) / 2.0 } else { 2.0 * length };
    }
    Ok(None)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], times: f64, what: &[f64]) {
    to.iter_mut().zip(what).for_each(|(to, what)| *to += times * what);
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn largest(parts: &[f64]) -> f64 {
    parts.iter().fold(0.0, |largest: f64, part| largest.max(part.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bowl ten thousand times as steep in one direction as in the other, with its lowest point at (3, -2).
    #[test]
    fn the_lowest_point_of_a_long_bowl_is_found() {
        let bowl = |at: &[f64]| {
            let (a, b) = (at[0] - 3.0, at[1] + 2.0);
            Ok((a * a / 2.0 + 1e4 * b * b / 2.0, vec![a, 1e4 * b]))
        };
        let end = minimise(vec![0.0, 0.0], 100, 1e-10, bowl).unwrap();
        assert!(end.gradient <= 1e-10 && end.iterations < 50, "{}", end.iterations);
        assert!((end.at[0] - 3.0).abs() < 1e-9 && (end.at[1] + 2.0).abs() < 1e-9, "{:?}", end.at);
    }

    #[test]
    fn the_iterations_are_bounded() {
        let end = minimise(vec![0.0], 5, 1e-10, |at| Ok(((-at[0]).exp(), vec![-(-at[0]).exp()]))).unwrap();
        assert_eq!(end.iterations, 5);
        assert!(end.gradient > 1e-10);
    }
}
