//! Repaired references: what a kept run needs from its surroundings to make sense alone.

use std::ops::Range;

use epitome_text::{Content, Document, Kind, Role, Span};

/// Most tokens of headings that are brought along for one run.
const HEADINGS: usize = 48;
/// Most pieces of a header.
const HEADER: usize = 16;
/// A neighbour larger than this is not brought along.
const NEIGHBOUR: usize = 60;

/// First words that point back to the sentence before.
const LEANING: &[&str] = &[
    "he",
    "she",
    "it",
    "they",
    "his",
    "her",
    "their",
    "its",
    "this",
    "these",
    "those",
    "that",
    "such",
    "however",
    "but",
    "therefore",
    "thus",
    "then",
    "also",
    "moreover",
    "furthermore",
    "instead",
    "otherwise",
    "both",
    "another",
    "consequently",
    "hence",
    "there",
];

/// The spans that a run needs: headings above it, the labels of its block, what names its passage from behind, in the
/// order of the text. None of them is in the run.
pub(crate) fn companions(doc: &Document<'_>, run: &Range<usize>) -> Vec<usize> {
    let block = doc.spans[run.start].block;
    let mut needed = Vec::new();
    let mut room = HEADINGS;
    for (above, span) in doc.heading_path(block).into_iter().rev().enumerate() {
        let Span { tokens, role, .. } = doc.spans[span];
        // The name of a passage is never too long, nor is the nearest heading of a page: most of it is markup.
        let heading = role == Role::Text;
        let tagged = doc.kind.plain() == Kind::Html && above == 0;
        if run.contains(&span) || heading && !tagged && tokens > room {
            continue;
        }
        room = room.saturating_sub(if heading { tokens } else { 0 });
        needed.push(span);
    }
    needed.extend(doc.page_mark(run.start).filter(|mark| *mark < run.start && !run.contains(mark)));
    needed.reverse();
    let own = &doc.blocks[block];
    let first = own.spans.start;
    // A signature comes along with its body.
    let signature =
        |span: usize| span == first && own.spans.len() > 1 && doc.spans[span].role == Role::Outline;
    let label = |span: &usize| {
        doc.spans[*span].role == Role::Label || own.labelled && *span == first || signature(*span)
    };
    // Labels stand at the ends of a block, which may be long; what is of no use may stand between those of a header.
    let head = own.spans.clone().take(HEADER);
    let head = head.take_while(|span| matches!(doc.spans[*span].role, Role::Label | Role::Noise));
    let head = head.last().unwrap_or(first);
    let last = (head + 1 < own.spans.end).then_some(own.spans.end - 1);
    needed.extend((first..=head).chain(last).filter(label).filter(|span| !run.contains(span)));
    needed.extend(own.closing.filter(|span| !run.contains(span)));
    needed.extend(doc.page_mark(run.start).filter(|mark| *mark >= run.end));
    needed.dedup();
    needed
}

/// The start of the run after it has taken in the sentence that it leans on, if it does: a pronoun
/// at its start, or a list item under a sentence that ends with a colon.
pub(super) fn lean(doc: &Document<'_>, run: &Range<usize>) -> usize {
    let Some(before) = run.start.checked_sub(1) else { return run.start };
    let (first, prior) = (&doc.spans[run.start], &doc.spans[before]);
    if prior.tokens > NEIGHBOUR || prior.content == Content::Heading {
        return run.start;
    }
    let text = doc.plain(run.start);
    let word = text.split(|c: char| !c.is_alphanumeric()).find(|w| !w.is_empty()).unwrap_or("");
    let leans = prior.block == first.block && LEANING.contains(&word.to_lowercase().as_str());
    let item = first.content == Content::List && doc.span_text(before).ends_with(':');
    if leans || item { before } else { run.start }
}

#[cfg(test)]
mod tests {
    use super::*;
    use epitome_text::{SegmentSize, tokens};

    #[test]
    fn a_run_brings_what_it_needs() {
        let text = "# Guide\n\n## Cats\n\nSmoky is a cat. He sleeps all day. Dogs bark.\n\nThey need:\n- food\n- water\n\n| animal | legs |\n|---|---|\n| cat | 4 |\n| bird | 2 |\n";
        let counter = tokens::tiktoken("gpt-4").expect("known");
        let doc = Document::new(text, counter.as_ref(), SegmentSize { min: 100, max: 200 });
        let at =
            |needle: &str| (0..doc.spans.len()).find(|s| doc.span_text(*s).contains(needle)).expect("there");
        assert_eq!(lean(&doc, &(at("He sleeps")..at("He sleeps") + 1)), at("Smoky"));
        assert_eq!(lean(&doc, &(at("Dogs")..at("Dogs") + 1)), at("Dogs"));
        assert_eq!(lean(&doc, &(at("- food")..at("- food") + 1)), at("They need"));
        assert_eq!(companions(&doc, &(at("Dogs")..at("Dogs") + 1)), [at("# Guide"), at("## Cats")]);
        let row = at("| bird");
        assert_eq!(companions(&doc, &(row..row + 1)), [at("# Guide"), at("## Cats"), at("| animal")]);
    }
}
