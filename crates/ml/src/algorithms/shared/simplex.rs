//! The least value of a function without derivatives.

/// The method of Nelder & Mead (The Computer Journal 7, 1965) with the coefficients of Gao & Han (Computational
/// Optimization and Applications 51, 2012), which suit more dimensions. Ends when the values of all corners are
/// within `tolerance`, or after `most` evaluations. Infinite values are corners to leave.
pub(crate) fn minimum(
    start: &[f64],
    steps: &[f64],
    tolerance: f64,
    most: usize,
    mut cost: impl FnMut(&[f64]) -> f64,
) -> (Vec<f64>, f64) {
    let n = start.len() as f64;
    let (expand, contract, shrink) = (1.0 + 2.0 / n, 0.75 - 0.5 / n, 1.0 - 1.0 / n.max(2.0));
    let mut evaluations = 0;
    let mut cost = |at: &[f64]| {
        evaluations += 1;
        let value = cost(at);
        (if value.is_nan() { f64::INFINITY } else { value }, evaluations)
    };
    let mut corners: Vec<(Vec<f64>, f64)> = vec![(start.to_vec(), cost(start).0)];
    for (place, step) in steps.iter().enumerate() {
        let mut corner = start.to_vec();
        corner[place] += step;
        let value = cost(&corner).0;
        corners.push((corner, value));
    }
    let worst = corners.len() - 1;
    loop {
        // Stable, so that equal corners keep their order.
        corners.sort_by(|a, b| a.1.total_cmp(&b.1));
        let spread = corners[worst].1 - corners[0].1;
        if spread <= tolerance || corners[0].1 == f64::INFINITY {
            break;
        }
        let others = &corners[..worst];
        let middle: Vec<f64> = (0..start.len())
            .map(|place| others.iter().map(|(corner, _)| corner[place]).sum::<f64>() / n)
            .collect();
        let from_middle = |times: f64, corners: &[(Vec<f64>, f64)]| -> Vec<f64> {
            middle
                .iter()
                .zip(&corners[worst].0)
                .map(|(middle, worst)| middle + times * (middle - worst))
                .collect()
        };
        let reflected = from_middle(1.0, &corners);
        let (value, so_far) = cost(&reflected);
        if so_far >= most {
            break;
        }
        let better = if value < corners[0].1 {
            let expanded = from_middle(expand, &corners);
            let further = cost(&expanded).0;
            Some(if further < value { (expanded, further) } else { (reflected, value) })
        } else if value < corners[worst - 1].1 {
            Some((reflected, value))
        } else {
            let outside = value < corners[worst].1;
            let contracted = from_middle(if outside { contract } else { -contract }, &corners);
            let nearer = cost(&contracted).0;
            (nearer < value.min(corners[worst].1)).then_some((contracted, nearer))
        };
        match better {
            Some(corner) => corners[worst] = corner,
            None => {
                let best = corners[0].0.clone();
                for (corner, value) in &mut corners[1..] {
                    for (at, best) in corner.iter_mut().zip(&best) {
                        *at = best + shrink * (*at - best);
                    }
                    *value = cost(corner).0;
                }
            }
        }
    }
    corners.swap_remove(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rosenbrock's valley, whose least value is 0 at (1, 1).
    #[test]
    fn finds_the_end_of_a_bent_valley() {
        let valley = |at: &[f64]| (1.0 - at[0]).powi(2) + 100.0 * (at[1] - at[0] * at[0]).powi(2);
        let (at, value) = minimum(&[-1.2, 1.0], &[0.5, 0.5], 1e-14, 2000, valley);
        assert!(value < 1e-10 && (at[0] - 1.0).abs() < 1e-4, "{at:?}");
    }

    #[test]
    fn nowhere_is_a_result_too() {
        let (_, value) = minimum(&[0.0], &[1.0], 1e-9, 100, |_| f64::NAN);
        assert_eq!(value, f64::INFINITY);
    }
}
