//! How large the ends are: the head and the tail, where what matters most stands for a reader who
//! reads the ends best (Liu et al., "Lost in the Middle", TACL 2024).
//!
//! Running text says some of what it means by its order. Short results of it were understood as well or
//! better in that order, by two small readers; in numbered passages, which have nothing to do with each
//! other, they found more with the best at the ends. Neither is more than a weak sign. Longer results and
//! other texts were not measured; they have ends. `eval/ranker/README.md` has the figures.

use epitome_text::{Block, Content, Document};

use crate::config::{Order, PlaceConfig};

/// The head is at most this share of the budget, as a divisor.
const HEAD_SHARE: usize = 3;
/// The tail is at most 2/15 of the budget.
const TAIL_SHARE: (usize, usize) = (2, 15);
/// Tokens of the longest budget at which running text stays in its order; those measured had 350 to 900.
const SHORT: usize = 1000;

/// Sizes of the head and the tail, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// The head.
    pub head: usize,
    /// The tail.
    pub tail: usize,
}

impl Sizes {
    /// No ends: all in the order of the source.
    pub(crate) const NONE: Self = Self { head: 0, tail: 0 };

    /// Those of a result of `budget` tokens.
    pub(crate) fn of(doc: &Document<'_>, budget: usize, config: &PlaceConfig) -> Self {
        let ends = match config.order {
            Order::Ends => true,
            Order::Source => false,
            Order::Auto => budget > SHORT || !is_running_text(doc),
        };
        if !ends {
            return Self::NONE;
        }
        let tail = budget.saturating_mul(TAIL_SHARE.0) / TAIL_SHARE.1;
        Self { head: config.head.min(budget / HEAD_SHARE), tail: config.tail.min(tail) }
    }
}

/// Whether most of the text is paragraphs, and what heads them: not passages or turns with labels, not
/// tables, code, records or lists.
fn is_running_text(doc: &Document<'_>) -> bool {
    let running = |b: &&Block| !b.labelled && matches!(b.content, Content::Prose | Content::Heading);
    let tokens: usize = doc.blocks.iter().filter(running).map(|b| b.tokens).sum();
    2 * tokens > doc.tokens.total()
}

#[cfg(test)]
mod tests {
    use super::*;
    use epitome_text::{SegmentSize, tokens};

    fn sizes(text: &str, budget: usize, order: Order) -> Sizes {
        let counter = tokens::tiktoken("gpt-4").expect("known");
        let doc = Document::new(text, counter.as_ref(), SegmentSize { min: 1000, max: 2000 });
        Sizes::of(&doc, budget, &PlaceConfig { order, ..PlaceConfig::default() })
    }

    #[test]
    fn short_results_of_running_text_have_no_ends() {
        let story = "He went out. It rained.\n\nThen she called him back, and he came.\n\n".repeat(9);
        assert_eq!(sizes(&story, 1000, Order::Auto), Sizes::NONE);
        assert_eq!(sizes(&story, 1001, Order::Auto), Sizes { head: 333, tail: 133 });
        assert_eq!(sizes(&story, 900, Order::Ends), Sizes { head: 300, tail: 120 });
        assert_eq!(sizes(&story, 9000, Order::Auto), Sizes { head: 500, tail: 200 });
        assert_eq!(sizes(&story, 9000, Order::Source), Sizes::NONE);
    }

    #[test]
    fn all_else_has_ends() {
        let many = |line: fn(usize) -> String| (1..20).map(line).collect::<String>();
        for text in [
            many(|i| format!("Document [{i}](Title: Lake {i}) The lake number {i} is {i} km long.\n")),
            many(|i| format!("Ann: I said so {i} times.\nBob: You did not, and it is {i} months now.\n")),
            many(|i| format!("2026-01-{i:02} 10:00:00 INFO the worker number {i} has begun its work\n")),
            many(|i| format!("- the item number {i} of this list\n")),
            format!("[{}0]", many(|i| format!("{{\"id\": {i}, \"text\": \"a result\"}},\n"))),
        ] {
            assert_eq!(sizes(&text, 600, Order::Auto), Sizes { head: 200, tail: 80 }, "{text}");
            assert_eq!(sizes(&text, 600, Order::Source), Sizes::NONE);
        }
    }
}
