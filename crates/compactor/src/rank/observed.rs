//! What a fit sees of a text: the features by which its spans, or the lines of a tool's result, are ranked.

use std::ops::Range;

use epitome_text::Document;

use super::{
    Ranking,
    links::{Linked, Links},
    relevance::{OWN, counts, own_features},
};

/// The sentences of a text that is ranked for a question.
pub struct Sentences<'a> {
    doc: Document<'a>,
    links: Links<'a>,
    /// The features of each span by itself.
    pub features: Vec<[f32; OWN]>,
    /// Whether each is content, and not what labels it.
    pub counts: Vec<bool>,
}

impl<'a> Sentences<'a> {
    /// Those of a text with its ranking; none where other weights ranked it.
    pub(crate) fn new(doc: Document<'a>, query: &str, ranking: &Ranking) -> Option<Self> {
        if !ranking.fitted || !ranking.probabilities.is_empty() {
            return None;
        }
        let features = own_features(&doc, ranking.scores());
        let counts = (0..doc.spans.len()).map(|span| counts(&doc, span)).collect();
        Some(Self { links: Links::new(&doc, query), doc, features, counts })
    }

    /// The bytes of each span, without surrounding white space.
    pub fn ranges(&self) -> Vec<Range<usize>> {
        (0..self.doc.spans.len()).map(|span| self.doc.trimmed(&(span..span + 1))).collect()
    }

    /// The features of the links of each span, where they go out from those that score best.
    pub fn links(&self, score: &[f32]) -> Vec<Linked> {
        self.links.follow(&self.doc, score, &self.counts)
    }
}
