//! From what is predicted to be kept to what is found: a curve that does not fall.

/// A result: the predicted share of the need that it keeps, and what of the need was found in it, each 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Found {
    /// Predicted.
    pub(super) mass: f64,
    /// Found.
    pub(super) found: f64,
}

/// Most bins, and fewest results of one: fewer say too little of the share that is found.
const BINS: usize = 24;
const LEAST: usize = 16;

/// What a bin has besides its results, half found and half not: none says that nothing, or everything, is ever found.
const PRIOR: f64 = 0.2;

/// A stretch of results in which the same share was found, from the mean mass of its first bin to that of its last.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pool {
    from: f64,
    to: f64,
    found: f64,
    weight: f64,
}

/// The nearest pools that rise: pool adjacent violators (Ayer et al., Annals of Mathematical Statistics 26, 1955).
fn rising(pools: impl Iterator<Item = Pool>) -> Vec<Pool> {
    let mut out: Vec<Pool> = Vec::new();
    for mut pool in pools {
        while let Some(last) = out.last().copied().filter(|last| last.found >= pool.found) {
            out.pop();
            let weight = last.weight + pool.weight;
            let found = (last.found * last.weight + pool.found * pool.weight) / weight;
            pool = Pool { from: last.from, found, weight, ..pool };
        }
        out.push(pool);
    }
    out
}

/// The points of the curve, from (0, 0) to (1, 1).
pub(super) fn curve(results: &[Found]) -> Vec<[f32; 2]> {
    let mut sorted = results.to_vec();
    sorted.sort_by(|a, b| a.mass.total_cmp(&b.mass).then(a.found.total_cmp(&b.found)));
    let bins = (sorted.len() / LEAST).clamp(1, BINS);
    let bin = |at: usize| {
        let own = sorted.get(at * sorted.len() / bins..(at + 1) * sorted.len() / bins)?;
        let weight = own.len() as f64;
        let mass = own.iter().map(|one| one.mass).sum::<f64>() / weight;
        let found = own.iter().map(|one| one.found).sum::<f64>();
        let found = (found + PRIOR / 2.0) / (weight + PRIOR);
        (!own.is_empty()).then_some(Pool { from: mass, to: mass, found, weight })
    };
    let rounded = |value: f64| ((value * 1e5).round() / 1e5) as f32;
    let mut points = vec![[0.0, 0.0]];
    for pool in rising((0..bins).filter_map(bin)) {
        for mass in [pool.from, pool.to] {
            let point = [rounded(mass.clamp(0.0, 1.0)), rounded(pool.found)];
            if points.last() != Some(&point) {
                points.push(point);
            }
        }
    }
    points.push([1.0, 1.0]);
    points
}

/// The curve at `mass`: linear between its points.
pub(super) fn at(points: &[[f32; 2]], mass: f64) -> f64 {
    let mut before: Option<(f64, f64)> = None;
    for (x, y) in points.iter().map(|[x, y]| (f64::from(*x), f64::from(*y))) {
        if mass <= x {
            return match before {
                Some((x0, y0)) if x > x0 => y0 + (y - y0) * (mass - x0) / (x - x0),
                _ => y,
            };
        }
        before = Some((x, y));
    }
    before.map_or(mass, |(_, y)| y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violators_are_pooled() {
        let pool = |found: f64, weight: f64| Pool { from: found, to: found, found, weight };
        let found = |pools: Vec<Pool>| -> Vec<(f64, f64)> {
            rising(pools.into_iter()).into_iter().map(|pool| (pool.found, pool.weight)).collect()
        };
        assert_eq!(found(vec![pool(0.1, 1.0), pool(0.5, 1.0)]), [(0.1, 1.0), (0.5, 1.0)]);
        // 0.6 and 0.2 violate; their mean of 0.3 (three to one) violates the 0.4 before them.
        let pools = vec![pool(0.4, 4.0), pool(0.6, 1.0), pool(0.2, 3.0), pool(0.9, 1.0)];
        let found = found(pools);
        assert_eq!(found.len(), 2);
        assert!(
            (found[0].0 - 0.35).abs() < 1e-12 && found[0].1 == 8.0 && found[1] == (0.9, 1.0),
            "{found:?}"
        );
    }

    #[test]
    fn the_curve_is_what_was_found() {
        // Found in half of the results up to 0.5, in all of them above.
        let results: Vec<Found> = (0..400)
            .map(|i| {
                let mass = (f64::from(i) + 0.5) / 400.0;
                Found { mass, found: if mass > 0.5 || i % 2 == 0 { 1.0 } else { 0.0 } }
            })
            .collect();
        let points = curve(&results);
        assert_eq!((points.first(), points.last()), (Some(&[0.0, 0.0]), Some(&[1.0, 1.0])));
        assert!(points.windows(2).all(|w| w[0][0] <= w[1][0] && w[0][1] <= w[1][1]), "{points:?}");
        assert!((at(&points, 0.3) - 0.5).abs() < 0.05 && at(&points, 0.75) > 0.9, "{points:?}");
        assert_eq!(curve(&[]), [[0.0, 0.0], [1.0, 1.0]]);
        assert_eq!((at(&[], 0.3), at(&[[0.0, 0.0], [1.0, 1.0]], 0.3)), (0.3, 0.3));
    }
}
