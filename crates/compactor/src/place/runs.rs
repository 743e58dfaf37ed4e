//! What is kept of a tool's result: the runs of spans that hold most of the need for their tokens, where each stretch
//! that is left out costs a mark. For one price of a token that is a best path, found exactly; the price is halved until
//! the budget holds what it buys.

use epitome_text::Document;

use super::{ENTRY, Kept, join, units::Unit};
use crate::{compaction::PieceKind, rank::Ranking};

/// Tokens of a mark that names the numbers of lines.
const LINES: f64 = 12.0;
/// Rounds in which the price is found.
const ROUNDS: usize = 24;
/// The lowest price, in shares of the need for a token.
const LOWEST: f64 = 1e-9;

/// Chooses spans up to `budget` tokens by the share of the need that each holds. What is pinned among the `units` comes
/// first.
pub(crate) fn runs(
    doc: &Document<'_>,
    ranking: &Ranking,
    units: &[Unit],
    budget: usize,
    pin_code: bool,
) -> Vec<Kept> {
    let market = Market::of(doc, ranking, units, pin_code);
    let (mut low, mut high) = market.prices();
    let mut best = market.pinned.clone();
    for _ in 0..ROUNDS {
        let price = (low * high).sqrt();
        let keep = market.path(price);
        if market.size(&keep) <= budget as f64 {
            (best, high) = (keep, price);
        } else {
            low = price;
        }
    }
    market.fill(&mut best, budget as f64);
    let kept = best.iter().zip(&ranking.salience).enumerate().filter(|(_, (keep, _))| **keep);
    let run = |(span, (_, score)): (usize, (&bool, &f32))| Kept {
        spans: span..span + 1,
        kind: PieceKind::Span,
        score: *score,
    };
    join(doc, kept.map(run).collect())
}

/// The fewest tokens whose spans are predicted to hold the share `floor` of the need.
pub(crate) fn least(
    doc: &Document<'_>,
    ranking: &Ranking,
    units: &[Unit],
    pin_code: bool,
    floor: f32,
) -> usize {
    let market = Market::of(doc, ranking, units, pin_code);
    let goal = ranking.held_for(floor);
    let (mut low, mut high) = market.prices();
    let mut best = market.costs.iter().sum::<f64>();
    for _ in 0..ROUNDS {
        let price = (low * high).sqrt();
        let keep = market.path(price);
        if ranking.held(|span| keep.get(span) == Some(&true)) >= goal {
            (best, low) = (market.size(&keep).min(best), price);
        } else {
            high = price;
        }
    }
    best.ceil() as usize
}

/// What each span holds of the need, what it costs, and whether it stays whatever that is.
struct Market {
    gains: Vec<f64>,
    costs: Vec<f64>,
    pinned: Vec<bool>,
    /// What a mark costs.
    mark: f64,
}

impl Market {
    fn of(doc: &Document<'_>, ranking: &Ranking, units: &[Unit], pin_code: bool) -> Self {
        let mut pinned = vec![false; doc.spans.len()];
        for unit in units.iter().filter(|unit| unit.is_pinned(pin_code)) {
            pinned[unit.spans.clone()].fill(true);
        }
        let costs = doc.spans.iter().map(|span| span.tokens as f64).collect();
        let mark = if doc.kind.is_lined() { LINES } else { ENTRY as f64 };
        Self {
            gains: ranking.probability.iter().map(|share| f64::from(*share)).collect(),
            costs,
            pinned,
            mark,
        }
    }

    /// The lowest and the highest price of a token, in shares of the need: at the one all is bought, at the other nothing.
    fn prices(&self) -> (f64, f64) {
        let worth = self.gains.iter().zip(&self.costs).map(|(gain, cost)| gain / cost.max(1.0));
        (LOWEST, (2.0 * worth.fold(0.0, f64::max)).max(LOWEST))
    }

    /// The spans to keep where a token has this price.
    fn path(&self, price: f64) -> Vec<bool> {
        let mark = price * self.mark;
        // The best so far if the last span is kept, and if it is left out. For each span: whether one that is left out is
        // the first of its stretch, and whether the span before a kept one is kept.
        let (mut kept, mut left) = (0.0_f64, f64::NEG_INFINITY);
        let mut before: Vec<[bool; 2]> = Vec::with_capacity(self.gains.len());
        for ((gain, cost), pinned) in self.gains.iter().zip(&self.costs).zip(&self.pinned) {
            let may = if *pinned { f64::NEG_INFINITY } else { 0.0 };
            let (opens, stays) = (kept - mark + may, left + may);
            before.push([opens > stays, kept >= left]);
            (kept, left) = (kept.max(left) + gain - price * cost, opens.max(stays));
        }
        let mut keep = vec![false; self.gains.len()];
        let mut state = kept >= left;
        for (keep, [opened, from_kept]) in keep.iter_mut().zip(before).rev() {
            *keep = state;
            state = if state { from_kept } else { opened };
        }
        keep
    }

    /// Adds what fits into the rest of a budget, the most for its tokens first. No price buys it: the next lower one buys
    /// too much at once.
    fn fill(&self, keep: &mut [bool], budget: f64) {
        let mut left = budget - self.size(keep);
        let worth = |span: usize| self.gains[span] / self.costs[span].max(1.0);
        let mut order: Vec<usize> =
            (0..keep.len()).filter(|span| !keep[*span] && self.gains[*span] > 0.0).collect();
        order.sort_by(|a, b| worth(*b).total_cmp(&worth(*a)).then(a.cmp(b)));
        for span in order {
            // One more mark within a stretch, none at its edge, one fewer where it closes.
            let beside = |kept: Option<&bool>| kept.is_none_or(|kept| *kept);
            let edges = u8::from(beside(span.checked_sub(1).and_then(|before| keep.get(before))))
                + u8::from(beside(keep.get(span + 1)));
            let cost = self.costs[span] + (1.0 - f64::from(edges)) * self.mark;
            if cost <= left {
                keep[span] = true;
                left -= cost;
            }
        }
    }

    /// Tokens of what is kept, with a mark for each stretch that is not.
    fn size(&self, keep: &[bool]) -> f64 {
        let (mut tokens, mut before) = (0.0, true);
        for (keep, cost) in keep.iter().zip(&self.costs) {
            tokens += match (*keep, before) {
                (true, _) => *cost,
                (false, true) => self.mark,
                (false, false) => 0.0,
            };
            before = *keep;
        }
        tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_keeps_what_is_worth_its_tokens() {
        let of = |cost: f64, pinned: [bool; 6]| Market {
            gains: vec![0.5, 0.0, 0.3, 0.0, 0.0, 0.2],
            costs: vec![cost; 6],
            pinned: pinned.to_vec(),
            mark: ENTRY as f64,
        };
        let market = of(10.0, [false; 6]);
        assert_eq!(market.path(0.2), [false; 6]);
        // A gap that costs more than its mark is left out; a smaller one is kept.
        assert_eq!(market.path(0.01), [true, false, true, false, false, true]);
        assert_eq!(of(5.0, [false; 6]).path(0.01), [true, true, true, false, false, true]);
        let pinned = [false, false, false, true, false, false];
        assert_eq!(of(10.0, pinned).path(0.2), pinned);
        assert_eq!(market.size(&pinned), 10.0 + 2.0 * ENTRY as f64);
        let mut filled = market.path(0.2);
        market.fill(&mut filled, 19.0);
        assert_eq!(filled, [true, false, false, false, false, false]);
        // The second best has a mark on both sides.
        market.fill(&mut filled, 36.0);
        assert_eq!(filled, [true, false, true, false, false, false]);
        assert_eq!(market.size(&filled), 36.0);
        let (low, high) = market.prices();
        // What holds nothing is not bought at any price.
        assert_eq!(market.path(low), [true, false, true, false, false, true]);
        assert_eq!(market.path(high), [false; 6]);
    }
}
