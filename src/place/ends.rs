//! How large the ends are: the head and the tail, where what matters most stands for a reader who
//! reads the ends best (Liu et al., "Lost in the Middle", TACL 2024).
//!
//! In passages that have nothing to do with each other the order carries nothing, and two readers
//! found the answer more often with the best of them at the ends. A text that goes on from sentence
//! to sentence they understood as well or better in its own order, as long as the result was short:
//! then little of it is far from an end anyway. `eval/ranker/README.md` has the figures.

use crate::{
    config::{Order, PlaceConfig},
    text::Document,
};

/// The head is at most this share of the budget, as a divisor.
const HEAD_SHARE: usize = 3;
/// The tail is at most 2/15 of the budget.
const TAIL_SHARE: (usize, usize) = (2, 15);
/// A result is short if it is at most so many times as long as head and tail together.
const SHORT: usize = 2;

/// Sizes of the head and the tail, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The head.
    pub head: usize,
    /// The tail.
    pub tail: usize,
}

impl Sizes {
    /// No ends: all in the order of the source.
    pub const NONE: Self = Self { head: 0, tail: 0 };

    /// Those of a result of `budget` tokens.
    pub fn of(doc: &Document<'_>, budget: usize, config: &PlaceConfig) -> Self {
        let ends = match config.order {
            Order::Ends => true,
            Order::Source => false,
            Order::Auto => {
                budget > SHORT.saturating_mul(config.head.saturating_add(config.tail)) || is_collection(doc)
            }
        };
        if !ends {
            return Self::NONE;
        }
        let tail = budget.saturating_mul(TAIL_SHARE.0) / TAIL_SHARE.1;
        Self { head: config.head.min(budget / HEAD_SHARE), tail: config.tail.min(tail) }
    }
}

/// Whether most of the text is passages with a number of their own, such as search results.
fn is_collection(doc: &Document<'_>) -> bool {
    let numbered: usize = doc.blocks.iter().filter(|b| b.numbered).map(|b| b.tokens).sum();
    2 * numbered > doc.tokens.total()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{SegmentSize, tokens};

    fn sizes(text: &str, budget: usize, order: Order) -> Sizes {
        let counter = tokens::tiktoken("gpt-4").expect("known");
        let doc = Document::new(text, counter.as_ref(), SegmentSize { min: 1000, max: 2000 });
        Sizes::of(&doc, budget, &PlaceConfig { order, ..PlaceConfig::default() })
    }

    #[test]
    fn short_results_of_a_text_that_goes_on_have_no_ends() {
        let story = "He went out. It rained.\n\nThen she called him back, and he came.\n\n".repeat(9);
        assert_eq!(sizes(&story, 1400, Order::Auto), Sizes::NONE);
        assert_eq!(sizes(&story, 1401, Order::Auto), Sizes { head: 467, tail: 186 });
        assert_eq!(sizes(&story, 1400, Order::Ends), Sizes { head: 466, tail: 186 });
        assert_eq!(sizes(&story, 9000, Order::Auto), Sizes { head: 500, tail: 200 });
        assert_eq!(sizes(&story, 9000, Order::Source), Sizes::NONE);
    }

    #[test]
    fn numbered_passages_are_read_from_the_ends() {
        let passages: String = (1..9)
            .map(|i| format!("Document [{i}](Title: Lake {i}) The lake number {i} is {i} km long.\n"))
            .collect();
        assert_eq!(sizes(&passages, 600, Order::Auto), Sizes { head: 200, tail: 80 });
        assert_eq!(sizes(&passages, 600, Order::Source), Sizes::NONE);
    }
}
