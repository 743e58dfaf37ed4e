//! The pieces of a text that are compacted, and the share of its budget that each gets.

use std::ops::Range;

use epitome_compactor::Budget;

use super::material::{Part, Stretch};

/// A stretch of material that is compacted as one, with its pinned ranges.
pub(super) struct Piece {
    pub(super) range: Range<usize>,
    /// Byte ranges relative to the piece.
    pub(super) pinned: Vec<Range<usize>>,
}

/// The pieces of a text, and its margins. Stretches of material with only pinned text between them form one
/// piece.
pub(super) fn pieces(stretches: &[Stretch], text: &str) -> (Vec<Piece>, Vec<Range<usize>>) {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut margins = Vec::new();
    // Pinned ranges after the last piece, while nothing else follows it.
    let mut pinned: Option<Vec<Range<usize>>> = None;
    for stretch in stretches {
        let range = stretch.range.clone();
        match (stretch.part, pieces.last_mut()) {
            (Part::Material, Some(piece)) if pinned.as_ref().is_some_and(|pinned| !pinned.is_empty()) => {
                let start = piece.range.start;
                let pinned = pinned.replace(Vec::new()).unwrap_or_default();
                piece.pinned.extend(pinned.into_iter().map(|range| range.start - start..range.end - start));
                piece.range.end = range.end;
            }
            (Part::Material, _) => {
                pieces.push(Piece { range, pinned: Vec::new() });
                pinned = Some(Vec::new());
            }
            (Part::Pinned, _) => pinned.iter_mut().for_each(|pinned| pinned.push(range.clone())),
            (Part::Margin | Part::Outer, _) => {
                margins.push(range);
                pinned = None;
            }
            (Part::Wording, _) if text.get(range).is_none_or(|said| !said.trim().is_empty()) => pinned = None,
            (Part::Wording, _) => {}
        }
    }
    (pieces, margins)
}

/// The share of a text's `budget` for a piece with `own` of its `all` tokens. The adjacent margin counts as
/// part of the piece; at most half of the budget goes to it.
pub(super) fn share(budget: Budget, own: usize, all: usize, margin: usize) -> Budget {
    match budget {
        Budget::Floor(_) => budget,
        Budget::Share(share) => {
            let (own, margin) = (own.max(1) as f64, margin as f64);
            Budget::Share(((share * (own + margin) - margin) / own).max(share / 2.0))
        }
        Budget::Tokens(total) => {
            let part = (total as u128 * own as u128) / (all.max(1) as u128);
            let part = usize::try_from(part).unwrap_or(total).max(1);
            Budget::Tokens(part.saturating_sub(margin).max(part.div_ceil(2)))
        }
    }
}
