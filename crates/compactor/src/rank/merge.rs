//! One ranking of several, each for a query of its own.

use super::Ranking;

/// The best span of a query counts at most this much less than the best of all: each gets its share.
const BEHIND: f32 = 1.0;

/// Takes the higher score of each span, after the best span of every query was raised to about the best of all.
pub(super) fn merge(rankings: Vec<Ranking>) -> Ranking {
    let top = |ranking: &Ranking| ranking.salience.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let best = rankings.iter().map(top).fold(f32::NEG_INFINITY, f32::max);
    let family = rankings.first().and_then(|ranking| ranking.family);
    // What was fitted apart does not add up.
    let alike = rankings.iter().all(|ranking| ranking.family == family);
    let known = alike && rankings.iter().all(|ranking| !ranking.probability.is_empty());
    let mut rankings = rankings.into_iter();
    let Some(mut merged) = rankings.next() else { return Ranking::default() };
    let raise = |ranking: &mut Ranking| {
        let lift = (best - BEHIND - top(ranking)).max(0.0);
        if lift.is_finite() {
            ranking.salience.iter_mut().for_each(|salience| *salience += lift);
        }
    };
    raise(&mut merged);
    let mut probabilities = vec![merged.probability.clone()];
    for mut other in rankings {
        raise(&mut other);
        if merged.trigrams.is_empty() {
            (merged.trigrams, merged.trigrams_block) = (other.trigrams.clone(), other.trigrams_block.clone());
        }
        for (all, own) in [
            (&mut merged.lexical, &other.lexical),
            (&mut merged.lexical_block, &other.lexical_block),
            (&mut merged.trigrams, &other.trigrams),
            (&mut merged.trigrams_block, &other.trigrams_block),
            (&mut merged.dense, &other.dense),
            (&mut merged.dense_block, &other.dense_block),
            (&mut merged.cross, &other.cross),
            (&mut merged.cross_window, &other.cross_window),
            (&mut merged.attention, &other.attention),
            (&mut merged.salience, &other.salience),
        ] {
            for (all, own) in all.iter_mut().zip(own) {
                // `max` takes the number where the other is none.
                *all = all.max(*own);
            }
        }
        for (all, own) in merged.named.iter_mut().zip(&other.named) {
            *all |= own;
        }
        for (all, own) in merged.probability.iter_mut().zip(&other.probability) {
            *all = 1.0 - (1.0 - *all) * (1.0 - own);
        }
        probabilities.push(other.probability);
        if merged.adapted.is_none() {
            merged.adapted = other.adapted;
        }
        merged.fitted |= other.fitted;
        merged.lookups.asked += other.lookups.asked;
        merged.lookups.found += other.lookups.found;
    }
    if known {
        merged.probabilities = probabilities;
    } else {
        merged.probability.clear();
        merged.family = None;
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_query_gets_its_share() {
        let one = |salience: &[f32], probability: &[f32]| Ranking {
            salience: salience.to_vec(),
            probability: probability.to_vec(),
            ..Ranking::default()
        };
        let merged =
            merge(vec![one(&[3.0, 1.0, -5.0], &[0.9, 0.5, 0.0]), one(&[-9.0, -9.0, -4.0], &[0.0, 0.0, 0.1])]);
        assert_eq!(merged.salience, [3.0, 1.0, 2.0]);
        assert_eq!(merged.probability.len(), 3);
        assert_eq!(merged.probabilities.len(), 2);
        let unknown = merge(vec![one(&[1.0], &[0.5]), one(&[1.0], &[])]);
        assert!(unknown.probability.is_empty() && unknown.probabilities.is_empty());
    }
}
