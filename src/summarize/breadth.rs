//! How much of the budget summaries get: little where a few spans stand out for the query, much
//! where the query asks for a whole or nothing stands out.

/// Turns of phrase that ask for a whole.
const WHOLE: &[&str] = &[
    "summar",
    "overview",
    "outline",
    "main point",
    "main idea",
    "main topic",
    "main theme",
    "key point",
    "key takeaway",
    "key idea",
    "takeaways",
    "tl;dr",
    "tldr",
    "in a nutshell",
    "what is the plot",
    "the plot of",
    "the gist",
    "what happens in",
    "what happened in the",
    "what was discussed",
    "what is this document about",
    "what is the document about",
    "what is this text about",
    "what is this about",
    "whole meeting",
    "whole document",
    "whole story",
];
/// Share for a query that asks for a whole.
const WHOLE_SHARE: f64 = 0.6;
/// Share without a query.
const NO_QUERY_SHARE: f64 = 0.5;
/// Peak salience (standard scores) from which on all goes to spans.
const SHARP: f32 = 2.0;
/// Peak salience below which nothing stands out.
const FLAT: f32 = 0.8;
/// Most that a flat salience alone gives to summaries.
const FLAT_SHARE: f64 = 0.3;

/// A smaller share says nothing.
const LEAST_SHARE: f64 = 0.1;

/// The share for summaries, 0 to 1. `peak` is the highest score of a unit.
pub fn share(query: Option<&str>, peak: f32) -> f64 {
    let Some(query) = query else { return NO_QUERY_SHARE };
    if asks_for_whole(query) {
        return WHOLE_SHARE;
    }
    let share = FLAT_SHARE * f64::from(((SHARP - peak) / (SHARP - FLAT)).clamp(0.0, 1.0));
    if share < LEAST_SHARE { 0.0 } else { share }
}

/// Whether a query asks for a whole, by its words.
pub fn asks_for_whole(query: &str) -> bool {
    let lower = query.to_lowercase();
    let at_word = |phrase: &&str| {
        lower.match_indices(*phrase).any(|(at, _)| !lower[..at].ends_with(char::is_alphanumeric))
    };
    WHOLE.iter().any(at_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breadth() {
        assert_eq!(share(Some("Summarize the whole meeting"), 5.0), WHOLE_SHARE);
        assert_eq!(share(Some("Who was Ann's brother?"), 3.0), 0.0);
        assert_eq!(share(Some("Where was the psychologist registered?"), 3.0), 0.0);
        assert!(share(Some("Who was Ann's brother?"), 1.0) > 0.0);
        assert_eq!(share(None, 3.0), NO_QUERY_SHARE);
    }
}
