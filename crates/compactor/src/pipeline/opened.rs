//! A text as what it is: its kind, cut, and the way back from the spans that are kept to a text of that kind.

use std::ops::Range;

use epitome_text::{
    Document, Hint, Kind, Role, SegmentSize,
    cut::CutBlock,
    kinds::{self, fenced, json::Virtual, omission},
    prose,
    tokens::TokenCounter,
};
use epitome_work::{Cancel, Stopped};

use crate::{
    compaction::{Piece, PieceKind, Place},
    render::in_place::{self, Held},
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
    /// Tells the kind of `raw` and cuts it, for as long as `cancel` allows. What is `pinned` stays where it is, and so
    /// does all else then.
    ///
    /// # Errors
    ///
    /// [`Stopped`] when `cancel` says so.
    pub(super) fn new(
        raw: &'a str,
        hint: Hint<'_>,
        pinned: &[Range<usize>],
        cancel: &Cancel,
    ) -> Result<Self, Stopped> {
        let mut opened = Self::told(raw, hint, cancel);
        cancel.check()?;
        if pinned.is_empty() {
            return Ok(opened);
        }
        opened.kind = if opened.kind == Kind::Prose { Kind::Passages } else { opened.kind };
        let pieces: Vec<Range<usize>> =
            opened.blocks.iter().flat_map(|block| &block.pieces).map(|piece| piece.range.clone()).collect();
        let sources = opened.sources(&pieces);
        let pieces = opened.blocks.iter_mut().flat_map(|block| &mut block.pieces);
        for (piece, source) in pieces.zip(sources) {
            let stays = |pinned: &Range<usize>| pinned.start < source.end && source.start < pinned.end;
            if pinned.iter().any(stays) && !source.is_empty() {
                piece.role = Role::Pinned;
            }
        }
        Ok(opened)
    }

    fn told(raw: &'a str, hint: Hint<'_>, cancel: &Cancel) -> Self {
        // Who is told to stop asks for no more.
        let inner = |text: &str| match cancel.check() {
            Ok(()) => kinds::cut(text, Hint::default()),
            Err(_) => (Kind::Prose, Vec::new()),
        };
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

    /// The input.
    pub(super) fn raw(&self) -> &'a str {
        self.raw
    }

    /// Its structure. With `keep_code` what is code is marked, whatever the kind of the text around it.
    ///
    /// # Errors
    ///
    /// [`Stopped`] when `cancel` says so.
    pub(super) fn document(
        &self,
        counter: &dyn TokenCounter,
        size: SegmentSize,
        keep_code: bool,
        cancel: &Cancel,
    ) -> Result<Document<'_>, Stopped> {
        let Some(json) = &self.json else { return self.plain_document(counter, size, keep_code, cancel) };
        let mut doc = Document::cut(&json.text, self.kind, self.blocks.clone(), counter, size, cancel)?;
        if keep_code {
            doc.mark_code(&json.code);
        }
        Ok(doc)
    }

    /// The structure of the input as it stands, which JSON is not ranked by.
    fn plain_document(
        &self,
        counter: &dyn TokenCounter,
        size: SegmentSize,
        keep_code: bool,
        cancel: &Cancel,
    ) -> Result<Document<'a>, Stopped> {
        let mut doc = Document::cut(self.raw, self.kind, self.blocks.clone(), counter, size, cancel)?;
        if keep_code {
            doc.mark_code(&fenced::code(self.kind, self.raw, &self.blocks));
        }
        Ok(doc)
    }

    /// As [`Opened::document`], for longer than this lives; `None` of JSON.
    pub(super) fn into_document(
        self,
        counter: &dyn TokenCounter,
        size: SegmentSize,
        keep_code: bool,
        cancel: &Cancel,
    ) -> Result<Option<Document<'a>>, Stopped> {
        match self.json {
            Some(_) => Ok(None),
            None => self.plain_document(counter, size, keep_code, cancel).map(Some),
        }
    }

    /// Where ranges of what is ranked stand in the input. Sorted ones are found in one walk.
    pub(super) fn sources(&self, ranges: &[Range<usize>]) -> Vec<Range<usize>> {
        self.json.as_ref().map_or_else(|| ranges.to_vec(), |json| json.sources(self.raw, ranges))
    }

    /// A text of its kind with what is held, and the map back to the input. Marks say of what stands `above` that it does.
    pub(super) fn render(
        &self,
        doc: &Document<'_>,
        held: &Held,
        above: &[Range<usize>],
    ) -> (String, Vec<Piece>) {
        let Some(json) = &self.json else {
            return in_place::render(doc, held, &|range| mark(self.kind, doc.text, range, above));
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
        let sources = json.sources(self.raw, &ranges).into_iter();
        let scores: Vec<(Range<usize>, f32)> = sources.zip(kept.iter().map(|(_, score)| *score)).collect();
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
                cites: Vec::new(),
            }
        };
        let text = rendered.text;
        let says =
            |(_, output, _): &(Range<usize>, Range<usize>, bool)| !text[output.clone()].trim().is_empty();
        let pieces = rendered.pieces.into_iter().filter(says).enumerate().map(piece).collect();
        (text, pieces)
    }
}

/// How the marks of all kinds name lines that are left out, and how lines that stand above.
const LEFT_OUT: &str = " left out";
const ABOVE: &str = " stand above";

/// The mark for lines that are left out.
fn mark(kind: Kind, text: &str, range: Range<usize>, above: &[Range<usize>]) -> String {
    let left = text.get(range.clone()).unwrap_or_default();
    let start = range.start + left.len() - left.trim_start().len();
    let stands = |above: &Range<usize>| above.start <= start && start + left.trim().len() <= above.end;
    let known = above.iter().any(stands);
    let mark = omission(kind, text, range);
    match mark.rsplit_once(LEFT_OUT) {
        Some((lines, end)) if known => format!("{lines}{ABOVE}{end}"),
        _ => mark,
    }
}
