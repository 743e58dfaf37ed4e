//! A minimum of a smooth function, by L-BFGS: Nocedal, Updating quasi-Newton matrices with limited storage, Mathematics
//! of Computation 35 (1980); the steps are shortened until they decrease enough (Armijo). Serial, so that the same
//! function gives the same bits.

use std::collections::VecDeque;

/// Steps whose change of the gradient is remembered.
const MEMORY: usize = 10;
/// Most steps.
const STEPS: usize = 200;
/// Most halvings of a step.
const HALVINGS: usize = 40;
/// The share of the decrease that the slope promises which a step must reach.
const ENOUGH: f64 = 1e-4;
/// A gradient whose entries are all below this is that of a minimum.
const FLAT: f64 = 1e-7;
/// A decrease below this share of the value is none.
const SAME: f64 = 1e-10;

/// The point near `start` where `function`, which returns value and gradient, is least.
pub(super) fn minimize(start: Vec<f64>, mut function: impl FnMut(&[f64]) -> (f64, Vec<f64>)) -> Vec<f64> {
    let mut at = start;
    let (mut value, mut gradient) = function(&at);
    let mut memory: VecDeque<Step> = VecDeque::with_capacity(MEMORY);
    for _ in 0..STEPS {
        if gradient.iter().all(|entry| entry.abs() < FLAT) {
            break;
        }
        let mut direction = descent(&gradient, &memory);
        let mut slope = dot(&direction, &gradient);
        if slope >= 0.0 || !slope.is_finite() {
            memory.clear();
            direction = gradient.iter().map(|entry| -entry).collect();
            slope = dot(&direction, &gradient);
        }
        // The first step knows nothing of the curvature.
        let first = if memory.is_empty() { 1.0 / (1.0 + dot(&gradient, &gradient).sqrt()) } else { 1.0 };
        let Some((next, new, new_gradient)) = shortened(&at, value, slope, &direction, first, &mut function)
        else {
            break;
        };
        let decrease = value - new;
        if let Some(step) = Step::between(&at, &gradient, &next, &new_gradient) {
            if memory.len() == MEMORY {
                memory.pop_front();
            }
            memory.push_back(step);
        }
        (at, value, gradient) = (next, new, new_gradient);
        if decrease <= SAME * value.abs() {
            break;
        }
    }
    at
}

/// A step and how it changed the gradient.
struct Step {
    moved: Vec<f64>,
    bent: Vec<f64>,
    /// One over their product.
    scale: f64,
}

impl Step {
    /// `None` where the function does not bend upwards between the points.
    fn between(from: &[f64], gradient: &[f64], to: &[f64], new_gradient: &[f64]) -> Option<Self> {
        let difference =
            |new: &[f64], old: &[f64]| new.iter().zip(old).map(|(new, old)| new - old).collect::<Vec<f64>>();
        let (moved, bent) = (difference(to, from), difference(new_gradient, gradient));
        let product = dot(&moved, &bent);
        let upwards = product > 1e-12 * dot(&bent, &bent).max(f64::MIN_POSITIVE);
        upwards.then(|| Self { scale: 1.0 / product, moved, bent })
    }
}

/// The direction against the gradient, corrected by what is known of the curvature (the two loops of the paper).
fn descent(gradient: &[f64], memory: &VecDeque<Step>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|entry| -entry).collect();
    let mut shares = Vec::with_capacity(memory.len());
    for step in memory.iter().rev() {
        let share = step.scale * dot(&step.moved, &direction);
        add(&mut direction, -share, &step.bent);
        shares.push(share);
    }
    if let Some(last) = memory.back() {
        let scale = 1.0 / (last.scale * dot(&last.bent, &last.bent));
        direction.iter_mut().for_each(|entry| *entry *= scale);
    }
    for (step, share) in memory.iter().zip(shares.into_iter().rev()) {
        let back = step.scale * dot(&step.bent, &direction);
        add(&mut direction, share - back, &step.moved);
    }
    direction
}

/// The first point along the direction, from `first` on and then halved, that decreases enough.
fn shortened(
    at: &[f64],
    value: f64,
    slope: f64,
    direction: &[f64],
    first: f64,
    function: &mut impl FnMut(&[f64]) -> (f64, Vec<f64>),
) -> Option<(Vec<f64>, f64, Vec<f64>)> {
    let mut length = first;
    for _ in 0..HALVINGS {
        let mut next = at.to_vec();
        add(&mut next, length, direction);
        let (new, gradient) = function(&next);
        if new <= value + ENOUGH * length * slope {
            return Some((next, new, gradient));
        }
        length /= 2.0;
    }
    None
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], times: f64, what: &[f64]) {
    to.iter_mut().zip(what).for_each(|(to, what)| *to += times * what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quadratic_has_its_known_minimum() {
        // Half of (x - c)' A (x - c), badly scaled and with mixed terms.
        let (c, a) = ([3.0, -2.0, 0.5], [[100.0, 3.0, 0.0], [3.0, 1.0, 0.1], [0.0, 0.1, 0.02]]);
        let found = minimize(vec![0.0; 3], |x| {
            let from: Vec<f64> = x.iter().zip(&c).map(|(x, c)| x - c).collect();
            let gradient: Vec<f64> = a.iter().map(|row| dot(row, &from)).collect();
            (0.5 * dot(&from, &gradient), gradient)
        });
        assert!(found.iter().zip(&c).all(|(x, c)| (x - c).abs() < 1e-3), "{found:?}");
    }

    #[test]
    fn a_curved_valley_is_followed_to_its_end() {
        // Rosenbrock's function, whose minimum is at (1, 1).
        let found = minimize(vec![-1.2, 1.0], |x| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            (a * a + 100.0 * b * b, vec![-2.0 * a - 400.0 * x[0] * b, 200.0 * b])
        });
        assert!(found.iter().all(|x| (x - 1.0).abs() < 1e-4), "{found:?}");
    }

    #[test]
    fn what_cannot_decrease_stays() {
        assert_eq!(minimize(vec![2.0], |_| (1.0, vec![0.0])), [2.0]);
        assert_eq!(minimize(vec![2.0], |_| (f64::NAN, vec![f64::NAN])), [2.0]);
    }
}
