//! Transcripts: what answers a question to a meeting is a stretch of turns, most of which say little by
//! themselves. What stands out is taken for itself; all else by how much is said around it.

use epitome_text::{Content, Document};

use super::relevance::counts;

/// Log-odds from which on a span stands for itself.
const STANDS_OUT: f32 = -2.0;
/// Tokens over which the weight of what is said around a span falls to 1/e.
const REACH: f32 = 400.0;
/// A transcript has at least so many turns.
const TURNS: usize = 20;

/// Whether most blocks are turns: prose under a label that recurs or has no number, such as `Ann:`.
pub(crate) fn is_transcript(doc: &Document<'_>) -> bool {
    let turn =
        |block: &&epitome_text::Block| block.labelled && block.content == Content::Prose && !block.numbered;
    let turns = doc.blocks.iter().filter(turn).count();
    turns >= TURNS && 2 * turns > doc.blocks.len()
}

/// Replaces the log-odds of what does not stand out by their mean around it, weighed by tokens and
/// distance. What stands out stays above.
pub(crate) fn spread(doc: &Document<'_>, odds: &mut [f32]) {
    let mut forward = vec![(0.0_f32, 0.0_f32); odds.len()];
    let order: Vec<usize> = (0..odds.len()).filter(|span| counts(doc, *span)).collect();
    let mut pass = |order: &mut dyn Iterator<Item = &usize>, own: bool| {
        let (mut sum, mut weight) = (0.0, 0.0);
        for span in order {
            let tokens = doc.spans[*span].tokens as f32;
            let fade = (-tokens / REACH).exp();
            let slot = &mut forward[*span];
            if own {
                (sum, weight) = (sum * fade + odds[*span] * tokens, weight * fade + tokens);
                (slot.0, slot.1) = (slot.0 + sum, slot.1 + weight);
            } else {
                (slot.0, slot.1) = (slot.0 + sum * fade, slot.1 + weight * fade);
                (sum, weight) = (sum * fade + odds[*span] * tokens, weight * fade + tokens);
            }
        }
    };
    pass(&mut order.iter(), true);
    pass(&mut order.iter().rev(), false);
    for span in order {
        let (sum, weight) = forward[span];
        if odds[span] < STANDS_OUT && weight > 0.0 {
            odds[span] = (sum / weight).min(STANDS_OUT - 1e-3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use epitome_text::{SegmentSize, tokens};

    #[test]
    fn turns_around_a_good_one_rise() {
        let turn =
            |i: usize| format!("{}: The {i}th thing that was said here today.\n", ["Ann", "Bob"][i % 2]);
        let text: String = (0..60).map(turn).collect();
        let counter = tokens::tiktoken("gpt-4").expect("known");
        let doc = Document::new(&text, counter.as_ref(), SegmentSize { min: 100, max: 200 });
        assert!(is_transcript(&doc));
        let at = |i: usize| {
            let needle = format!("The {i}th");
            (0..doc.spans.len()).find(|s| doc.span_text(*s).starts_with(&needle)).expect("there")
        };
        let mut odds = vec![-8.0; doc.spans.len()];
        odds[at(30)] = 1.0;
        odds[at(31)] = -3.0;
        let before = odds.clone();
        spread(&doc, &mut odds);
        assert_eq!(odds[at(30)], 1.0);
        assert!(odds[at(29)] > odds[at(20)] && odds[at(20)] > odds[at(5)] && odds[at(5)] >= before[at(5)]);
        assert!(odds.iter().zip(&before).all(|(after, before)| *after < -2.0 || after == before));
        let article = Document::new("One. Two. Three.", counter.as_ref(), SegmentSize { min: 100, max: 200 });
        assert!(!is_transcript(&article));
    }
}
