//! What is kept stands where it stood, with the line breaks around it, and a mark for each stretch that is left out.

use std::ops::Range;

use epitome_text::Document;

use crate::{
    compaction::{Piece, PieceKind, Place},
    place::{Kept, companions},
};

/// What stands for text that is left out within a line.
pub(crate) const INLINE: &str = "[...]";
/// A stretch of fewer tokens than a mark takes is kept rather than marked. With line numbers, a mark says which are left
/// out.
const CHEAPER: usize = 5;
const CHEAPER_LINES: usize = 16;

/// How each span of a result is held: why, and with which salience.
pub(crate) type Held = Vec<Option<(PieceKind, f32)>>;

/// The spans of `kept` and all that comes along with them, and the stretches between that are cheaper to keep than to
/// mark.
pub fn held(doc: &Document<'_>, kept: &[Kept]) -> Held {
    let mut held = runs(doc, kept);
    for run in kept {
        for span in run.spans.clone().flat_map(|span| companions(doc, &(span..span + 1))) {
            held[span].get_or_insert((PieceKind::Heading, run.score));
        }
    }
    close(doc, &mut held);
    held
}

/// The spans of `kept` alone, and the stretches between that are cheaper to keep than to mark.
pub(crate) fn held_alone(doc: &Document<'_>, kept: &[Kept]) -> Held {
    let mut held = runs(doc, kept);
    close(doc, &mut held);
    held
}

fn runs(doc: &Document<'_>, kept: &[Kept]) -> Held {
    let mut held: Held = vec![None; doc.spans.len()];
    for run in kept {
        held[run.spans.clone()].fill(Some((run.kind, run.score)));
    }
    held
}

/// Holds the stretches that are cheaper to keep than to mark.
fn close(doc: &Document<'_>, held: &mut Held) {
    let cheaper = if doc.kind.is_lined() { CHEAPER_LINES } else { CHEAPER };
    let mut open: Option<usize> = None;
    for span in 0..held.len() {
        if held[span].is_none() {
            continue;
        }
        if let Some(before) = open.replace(span) {
            let between = before + 1..span;
            let tokens: usize = doc.spans[between.clone()].iter().map(|span| span.tokens).sum();
            let score = held[before].map_or(0.0, |(_, score)| score);
            if tokens <= cheaper {
                held[between].fill(Some((PieceKind::Span, score)));
            }
        }
    }
}

/// Writes the held spans in the order of the source. `mark` gives the words for a stretch of whole lines that is
/// left out.
pub fn render(
    doc: &Document<'_>,
    held: &Held,
    mark: &dyn Fn(Range<usize>) -> String,
) -> (String, Vec<Piece>) {
    let mut out = String::new();
    let mut pieces: Vec<Piece> = Vec::new();
    let mut done = 0;
    let mut span = 0;
    while span < held.len() {
        let Some((kind, mut score)) = held[span] else {
            span += 1;
            continue;
        };
        let first = span;
        while span < held.len() && held[span].is_some_and(|(other, _)| other == kind) {
            score = held[span].map_or(score, |(_, own)| score.max(own));
            span += 1;
        }
        // Numbered blank lines at an edge of what is left out are left out.
        let edge = held.get(span).is_some_and(Option::is_none);
        let end = if edge { doc.said_end(&(first..span)) } else { doc.spans[span - 1].range.end };
        let source = doc.spans[first].range.start..end;
        leave_out(doc.text, done..source.start, &mut out, mark);
        let start = out.len();
        out.push_str(&doc.text[source.clone()]);
        done = source.end;
        if doc.text[source.clone()].trim().is_empty() {
            continue;
        }
        let reference = pieces.len() + 1;
        pieces.push(Piece {
            kind,
            place: Place::Body,
            source,
            output: start..out.len(),
            score,
            reference,
            also: vec![],
            cites: vec![],
        });
    }
    if !pieces.is_empty() {
        leave_out(doc.text, done..doc.text.len(), &mut out, mark);
    }
    (out, pieces)
}

/// Writes the mark for a stretch, and the line breaks at its end.
fn leave_out(text: &str, range: Range<usize>, out: &mut String, mark: &dyn Fn(Range<usize>) -> String) {
    let left = &text[range.clone()];
    if left.trim().is_empty() {
        out.push_str(left);
        return;
    }
    let trail = &left[left.trim_end().len()..];
    let breaks = trail.bytes().filter(|b| *b == b'\n').count().min(2);
    let at_line = out.is_empty() || out.ends_with('\n');
    if at_line && (breaks > 0 || range.end == text.len()) {
        out.push_str(mark(range).trim_end());
    } else {
        if !out.ends_with(char::is_whitespace) && !out.is_empty() {
            out.push(' ');
        }
        out.push_str(INLINE);
        if breaks == 0 {
            out.push(' ');
        }
    }
    out.push_str(&"\n\n"[..breaks]);
}
