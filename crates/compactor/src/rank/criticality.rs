//! How critical a span is in itself, for text that comes without a query: figures, dates, names,
//! obligations, definitions, its place in the section, and how central it is.

use epitome_text::{Content, Document};

/// Words of obligation and decision.
const OBLIGATION: &[&str] = &[
    "shall",
    "must",
    "required",
    "requires",
    "agreed",
    "agree",
    "decided",
    "decide",
    "deadline",
    "due",
    "prohibited",
    "liable",
    "warrants",
    "obliged",
    "should",
    "important",
    "warning",
    "conclude",
    "conclusion",
    "therefore",
    "result",
    "results",
    "found",
    "shows",
    "key",
    "critical",
];

/// Turns of phrase that define something.
const DEFINITION: &[&str] = &[
    " means ",
    " is defined as ",
    " refers to ",
    " is called ",
    " known as ",
    " stands for ",
    " is a ",
    " is an ",
    " are the ",
];

/// A score for each span, about 0 to 3; higher is more critical. `centrality` is the cosine of each
/// span to its segment's mean where it is known.
pub(crate) fn criticality(doc: &Document<'_>, centrality: Option<&[f32]>) -> Vec<f32> {
    let mut scores: Vec<f32> = (0..doc.spans.len())
        .map(|span| {
            let central = centrality.and_then(|c| c.get(span)).copied().unwrap_or(0.5);
            surface(&doc.plain(span), doc.spans[span].content) + central
        })
        .collect();
    for block in &doc.blocks {
        // The first sentence of a paragraph says what it is about; the last one often concludes.
        let first = block.spans.start + usize::from(block.labelled && block.spans.len() > 1);
        if block.content == Content::Prose && block.spans.len() > 2 {
            scores[first] += 0.3;
            scores[block.spans.end - 1] += 0.1;
        }
        let after_heading = block.spans.start.checked_sub(1).is_some_and(|before| {
            doc.spans[before].content == Content::Heading && block.content != Content::Heading
        });
        if after_heading {
            scores[first] += 0.3;
        }
    }
    if let (Some(first), true) = (scores.first_mut(), doc.spans.len() > 2) {
        *first += 0.4;
    }
    if let (Some(last), true) = (scores.last_mut(), doc.spans.len() > 2) {
        *last += 0.4;
    }
    scores
}

fn surface(text: &str, content: Content) -> f32 {
    let words: Vec<&str> = text.split_whitespace().collect();
    let count = words.len().max(1) as f32;
    let figures = words.iter().filter(|w| w.bytes().any(|b| b.is_ascii_digit())).count() as f32;
    let names = words
        .iter()
        .skip(1)
        .filter(|w| w.chars().next().is_some_and(char::is_uppercase) && w.len() > 1)
        .count() as f32;
    let lower = text.to_lowercase();
    let obligation = lower.split(|c: char| !c.is_alphanumeric()).any(|w| OBLIGATION.contains(&w));
    let definition = DEFINITION.iter().any(|phrase| lower.contains(phrase));
    let kind = match content {
        Content::Heading => 0.5,
        Content::Prose | Content::List | Content::Code => 0.0,
        Content::Table | Content::Json | Content::Log | Content::Line => -0.2,
    };
    // A sentence of a few words says little; one of sixty costs much.
    let length = if count < 5.0 {
        -0.6
    } else if count > 60.0 {
        -0.2
    } else {
        0.0
    };
    0.5 * (4.0 * figures / count).min(1.0)
        + 0.4 * (3.0 * names / count).min(1.0)
        + if obligation { 0.4 } else { 0.0 }
        + if definition { 0.3 } else { 0.0 }
        + kind
        + length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_and_duties_rank_above_chat() {
        let text = "Well, that is how it goes with these things here. The supplier shall deliver 40 units to Contoso by 3 May 2021. It was nice to see you all again today.";
        let counter = epitome_text::tokens::tiktoken("gpt-4").expect("known");
        let doc = Document::new(text, counter.as_ref(), epitome_text::SegmentSize { min: 10, max: 50 });
        let scores = criticality(&doc, None);
        assert!(scores[1] > scores[0] && scores[1] > scores[2], "{scores:?}");
    }
}
