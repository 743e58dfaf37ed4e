//! A text as what it is: its kind, cut, and the way back from the spans that are kept to a text of that kind.

use std::ops::Range;

use crate::{
    compaction::{Cancel, Piece, PieceKind, Place, Stopped},
    render::in_place::{self, Held},
    text::{
        Document, Hint, Kind, Role, SegmentSize,
        cut::CutBlock,
        kinds::{self, json::Virtual, omission},
        prose,
        tokens::TokenCounter,
    },
};

/// A text whose kind is known.
pub(super) struct Opened<'a> {
    raw: &'a str,
    kind: Kind,
    blocks: Vec<CutBlock>,
    /// What of a JSON document may be left out.
    json: Option<Virtual>,
}

impl<'a> Opened<'a> {
    /// Tells the kind of `raw` and cuts it. What is `pinned` stays where it is, and so does all else then.
    pub(super) fn new(raw: &'a str, hint: Hint<'_>, pinned: &[Range<usize>]) -> Self {
        let mut opened = Self::told(raw, hint);
        if !pinned.is_empty() && opened.json.is_none() {
            opened.kind = if opened.kind == Kind::Prose { Kind::Passages } else { opened.kind };
            for piece in opened.blocks.iter_mut().flat_map(|block| &mut block.pieces) {
                if pinned
                    .iter()
                    .any(|pinned| pinned.start < piece.range.end && piece.range.start < pinned.end)
                {
                    piece.role = Role::Pinned;
                }
            }
        }
        opened
    }

    fn told(raw: &'a str, hint: Hint<'_>) -> Self {
        let inner = |text: &str| kinds::cut(text, Hint::default()).1;
        if let Some(json) = kinds::json::open(raw, &inner) {
            return Self { raw, kind: Kind::Json, blocks: json.blocks.clone(), json: Some(json) };
        }
        if kinds::json::detect(raw, &hint) {
            return Self { raw, kind: Kind::Json, blocks: prose(raw), json: None };
        }
        let (kind, blocks) = kinds::cut(raw, hint);
        Self { raw, kind, blocks, json: None }
    }

    /// Whether it is JSON in which nothing can be left out.
    pub(super) fn is_whole(&self) -> bool {
        self.kind == Kind::Json && self.json.is_none()
    }

    /// What is ranked: the text, or of JSON what may be left out of it.
    pub(super) fn text(&self) -> &str {
        self.json.as_ref().map_or(self.raw, |json| &json.text)
    }

    /// Its structure.
    ///
    /// # Errors
    ///
    /// [`Stopped`] when `cancel` says so.
    pub(super) fn document(
        &self,
        counter: &dyn TokenCounter,
        size: SegmentSize,
        cancel: &Cancel,
    ) -> Result<Document<'_>, Stopped> {
        Document::cut(self.text(), self.kind, self.blocks.clone(), counter, size, cancel)
    }

    /// Where a range of what is ranked stands in the input.
    pub(super) fn source(&self, range: &Range<usize>) -> Range<usize> {
        self.json.as_ref().map_or_else(|| range.clone(), |json| json.source(self.raw, range))
    }

    /// A text of its kind with what is held, and the map back to the input.
    pub(super) fn render(&self, doc: &Document<'_>, held: &Held) -> (String, Vec<Piece>) {
        let Some(json) = &self.json else {
            return in_place::render(doc, held, &|range| omission(self.kind, doc.text, range));
        };
        let mut kept: Vec<(Range<usize>, f32)> = Vec::new();
        for (span, held) in doc.spans.iter().zip(held) {
            let Some((_, score)) = held else { continue };
            match kept.last_mut() {
                Some((last, best)) if last.end == span.range.start => {
                    last.end = span.range.end;
                    *best = best.max(*score);
                }
                _ => kept.push((span.range.clone(), *score)),
            }
        }
        let ranges: Vec<Range<usize>> = kept.iter().map(|(range, _)| range.clone()).collect();
        let rendered = json.render(self.raw, &ranges, &|_, _| in_place::INLINE.to_owned());
        let scores: Vec<(Range<usize>, f32)> =
            kept.iter().map(|(range, score)| (json.source(self.raw, range), *score)).collect();
        let piece = |(index, (source, output, chosen)): (usize, (Range<usize>, Range<usize>, bool))| {
            let near = scores.partition_point(|(range, _)| range.end <= source.start);
            let score =
                scores.get(near).filter(|(range, _)| range.start < source.end).map_or(0.0, |(_, s)| *s);
            Piece {
                kind: if chosen { PieceKind::Span } else { PieceKind::Heading },
                place: Place::Body,
                source,
                output,
                score,
                reference: index + 1,
                also: Vec::new(),
            }
        };
        let text = rendered.text;
        let says =
            |(_, output, _): &(Range<usize>, Range<usize>, bool)| !text[output.clone()].trim().is_empty();
        let pieces = rendered.pieces.into_iter().filter(says).enumerate().map(piece).collect();
        (text, pieces)
    }
}
