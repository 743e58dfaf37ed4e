//! Gives back what was shortened: the whole, a range of it, or what a query needs.

use std::ops::Range;

use epitome_compactor::{
    Budget, CompactRequest,
    compaction::{Outcome, PassReason},
};
use epitome_work::Cancel;
use serde::Serialize;
use thiserror::Error;

use super::{Failure, pipeline::Compact};
use crate::originals::{Bytes, Id, Lines, marker};

/// What of a text is wanted.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Some bytes.
    Bytes(Bytes),
    /// Some lines.
    Lines(Lines),
    /// What a query needs most.
    Needed {
        /// The query.
        query: String,
        /// How much of it.
        budget: Budget,
    },
}

/// A text, or a part of one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Retrieved {
    /// The id of the text.
    pub hash: String,
    /// What was asked for of it.
    pub original_content: String,
    /// Tokens of the whole text.
    pub original_tokens: usize,
    /// Bytes of the whole text.
    pub original_bytes: usize,
    /// Lines of the whole text.
    pub original_lines: usize,
    /// Tokens of what is given.
    pub tokens: usize,
    /// The byte ranges of the text that are given.
    pub sources: Vec<[usize; 2]>,
    /// Why the whole is given although a query was asked: a reason of the compaction, or why there was none. Empty
    /// otherwise.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: &'static str,
}

/// The text is not there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no original {0} is kept here for this client: it was never sent, or it has left the cache")]
pub struct Unknown(pub String);

/// The part of a text with this id. A query that cannot be answered gives the whole. Blocks.
///
/// # Errors
///
/// [`Unknown`] if the text is not kept.
pub fn retrieve(
    pipeline: &dyn Compact,
    id: &Id,
    part: Part,
    model: Option<&str>,
    cancel: &Cancel,
) -> Result<Retrieved, Unknown> {
    let text = pipeline.originals().and_then(|all| all.get(id)).ok_or_else(|| Unknown(id.to_string()))?;
    let counter = pipeline.counter(model);
    let whole = Retrieved {
        hash: id.to_string(),
        original_content: String::new(),
        original_tokens: counter.count(&text),
        original_bytes: text.len(),
        original_lines: text.lines().count(),
        tokens: 0,
        sources: Vec::new(),
        reason: "",
    };
    let given = |range: Range<usize>| {
        let cut = text.get(range.clone()).unwrap_or_default();
        let tokens = if cut.len() == text.len() { whole.original_tokens } else { counter.count(cut) };
        let (original_content, sources) = (cut.to_owned(), vec![[range.start, range.end]]);
        Retrieved { original_content, tokens, sources, ..whole.clone() }
    };
    let (query, budget) = match part {
        Part::Whole => return Ok(given(0..text.len())),
        Part::Bytes(bytes) => return Ok(given(bytes.of(&text))),
        Part::Lines(lines) => return Ok(given(lines.of(&text))),
        Part::Needed { query, budget } => (query, budget),
    };
    let fits = match budget {
        Budget::Tokens(_) | Budget::Share(_) => {
            budget.resolve(whole.original_tokens) >= whole.original_tokens
        }
        Budget::Floor(_) => false,
    };
    if fits {
        return Ok(Retrieved { reason: PassReason::WithinBudget.as_str(), ..given(0..text.len()) });
    }
    // The marker has its place in the budget.
    let reserve = marker::reserve_for_query(counter.as_ref());
    let room = |tokens: usize| tokens.saturating_sub(reserve).max(tokens.div_ceil(2));
    let budget = match budget {
        Budget::Tokens(tokens) => Budget::Tokens(room(tokens)),
        Budget::Share(share) => {
            let whole = whole.original_tokens.max(1);
            Budget::Share(room((whole as f64 * share) as usize) as f64 / whole as f64)
        }
        Budget::Floor(floor) => Budget::Floor(floor),
    };
    let request = CompactRequest {
        model: model.map(str::to_owned),
        ..CompactRequest::new(text.as_str(), budget).query(query)
    };
    Ok(match pipeline.compact(&request, cancel) {
        Ok(compaction) if compaction.outcome == Outcome::Compacted => {
            let shown = compaction.figures.tokens_after;
            let mut original_content = compaction.text;
            let mark = marker::of_query(
                &original_content,
                &compaction.figures.kind,
                shown,
                whole.original_tokens,
                id,
            );
            let mark = mark.unwrap_or_default();
            // What the marker takes is paid for as well.
            let tokens = shown + counter.count(&mark);
            if tokens >= whole.original_tokens {
                return Ok(Retrieved { reason: PassReason::NotShorter.as_str(), ..given(0..text.len()) });
            }
            original_content.push_str(&mark);
            let sources =
                compaction.pieces.iter().map(|piece| [piece.source.start, piece.source.end]).collect();
            Retrieved { original_content, tokens, sources, ..whole }
        }
        Ok(compaction) => {
            let reason = match compaction.outcome {
                Outcome::Passed(reason) => reason.as_str(),
                Outcome::Compacted => "",
            };
            Retrieved { reason, ..given(0..text.len()) }
        }
        Err(error) => Retrieved { reason: Failure::of(&error).reason, ..given(0..text.len()) },
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use epitome_compactor::{Cache, CompactError, Compaction, compaction::Figures};
    use epitome_text::tokens::{TokenCounter, tiktoken};

    use super::*;
    use crate::originals::Originals;

    /// A pipeline in which every text becomes the same one.
    pub(crate) struct Fixed {
        result: String,
        cache: Arc<Cache>,
    }

    impl Fixed {
        pub(crate) fn new(result: &str) -> Self {
            Self { result: result.to_owned(), cache: Arc::new(Cache::memory_only()) }
        }
    }

    impl Compact for Fixed {
        fn counter(&self, _: Option<&str>) -> Arc<dyn TokenCounter> {
            tiktoken("gpt-4o").unwrap()
        }

        fn warm_up(&self) -> Result<(), CompactError> {
            Ok(())
        }

        fn compact(&self, request: &CompactRequest, _: &Cancel) -> Result<Compaction, CompactError> {
            let counter = self.counter(None);
            let figures = Figures {
                tokens_before: counter.count(&request.text),
                tokens_after: counter.count(&self.result),
                ..Figures::default()
            };
            let (outcome, text, pieces, evidence) =
                (Outcome::Compacted, self.result.clone(), Vec::new(), Vec::new());
            Ok(Compaction { outcome, text, pieces, figures, evidence, explain: None })
        }

        fn originals(&self) -> Option<Originals> {
            Some(Originals::new(self.cache.clone()))
        }
    }

    #[test]
    fn a_marker_counts_and_never_makes_a_part_longer_than_the_whole() {
        let pipeline = Fixed::new("word");
        let ask = |text: &str| {
            let id = pipeline.originals().unwrap().keep(text).unwrap();
            let part = Part::Needed { query: "word?".into(), budget: Budget::Tokens(10) };
            retrieve(&pipeline, &id, part, None, &Cancel::never()).unwrap()
        };
        let found = ask(&"word ".repeat(200));
        let counted = pipeline.counter(None).count(&found.original_content);
        assert!(found.original_content.contains("hash=") && found.tokens.abs_diff(counted) <= 1);
        let short = "word ".repeat(12);
        let found = ask(&short);
        assert_eq!((found.original_content, found.reason), (short, "not-shorter"));
        assert_eq!(found.tokens, found.original_tokens);
    }
}
