//! How much of the budget summaries get: none where a few spans stand out for the query, half
//! where it asks for a whole or there is none, some where nothing stands out. And which queries ask for nothing but
//! the whole.

use epitome_text::terms::is_stop_word;

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

/// Words that say nothing of a subject, besides stop words, where a text is asked for as a whole.
const GENERAL: &[&str] = &[
    "summarize",
    "summarise",
    "summarized",
    "summarised",
    "summarizing",
    "summarising",
    "summary",
    "summaries",
    "overview",
    "outline",
    "gist",
    "plot",
    "tl",
    "dr",
    "tldr",
    "nutshell",
    "takeaway",
    "takeaways",
    "main",
    "key",
    "central",
    "major",
    "important",
    "point",
    "points",
    "idea",
    "ideas",
    "topic",
    "topics",
    "theme",
    "themes",
    "whole",
    "entire",
    "full",
    "complete",
    "general",
    "overall",
    "describe",
    "explain",
    "brief",
    "briefly",
    "short",
    "shortly",
    "concise",
    "concisely",
    "quick",
    "detailed",
    "please",
    "give",
    "write",
    "make",
    "provide",
    "create",
    "paragraph",
    "paragraphs",
    "sentence",
    "sentences",
    "bullet",
    "bullets",
    "word",
    "words",
    "following",
    "content",
    "contents",
    "two",
    "three",
    "four",
    "five",
    "discuss",
    "discussed",
    "discussion",
    "discussions",
    "talk",
    "talked",
    "happen",
    "happens",
    "happened",
];
/// Words for a text.
const TEXTS: &[&str] = &[
    "text",
    "document",
    "story",
    "meeting",
    "article",
    "paper",
    "report",
    "book",
    "chapter",
    "conversation",
    "transcript",
    "file",
    "page",
    "passage",
    "email",
    "thread",
    "chat",
    "session",
    "lecture",
    "interview",
    "podcast",
    "speech",
    "essay",
    "call",
    "discussion",
    "hearing",
];
/// Words that ask for something in a text, whatever else a question says.
const PARTICULAR: &[&str] = &["who", "whom", "whose", "when", "where", "why", "how", "which"];
/// Words that ask what a text is about.
const ABOUT: &[&str] = &["about", "discuss", "discussed", "discussion", "talked"];

/// Share for a query that asks for a whole: about the least at which summaries reach every part of a long text.
/// By ROUGE-2 recall of the references, 25 and 10 % of the tokens kept, extractive summaries gain nothing over
/// spans: SQuALITY 0.137 and 0.071 without, 0.132 and 0.066 at a share of 0.3, 0.130 and 0.062 at 0.6; QMSum's
/// questions on whole meetings 0.157 and 0.091, 0.158 and 0.088, 0.154 and 0.079; its other questions 0.220 and
/// 0.154, 0.203 and 0.129, 0.192 and 0.101.
const WHOLE_SHARE: f64 = 0.5;
/// Share without a query.
const NO_QUERY_SHARE: f64 = 0.5;
/// Where nothing stands out, and from which on all goes to spans: the highest salience as a standard score.
const STANDARD: (f32, f32) = (0.8, 2.0);
/// The same as the log-odds that the best span is needed.
const LOG_ODDS: (f32, f32) = (-4.5, -3.0);
/// Most that a flat salience alone gives to summaries.
const FLAT_SHARE: f64 = 0.3;

/// A smaller share says nothing.
const LEAST_SHARE: f64 = 0.1;

/// The share for summaries, 0 to 1. `peak` is the highest score of a unit, `odds` whether it is log-odds
/// rather than a standard score.
pub(crate) fn share(query: Option<&str>, peak: f32, odds: bool) -> f64 {
    let Some(query) = query else { return NO_QUERY_SHARE };
    if asks_for_whole(query) {
        return WHOLE_SHARE;
    }
    let (flat, sharp) = if odds { LOG_ODDS } else { STANDARD };
    let share = FLAT_SHARE * f64::from(((sharp - peak) / (sharp - flat)).clamp(0.0, 1.0));
    if share < LEAST_SHARE { 0.0 } else { share }
}

/// Whether a query asks for a whole, by its words.
pub(crate) fn asks_for_whole(query: &str) -> bool {
    let lower = query.to_lowercase();
    let at_word = |phrase: &&str| {
        lower.match_indices(*phrase).any(|(at, _)| !lower[..at].ends_with(char::is_alphanumeric))
    };
    WHOLE.iter().any(at_word)
}

/// Units of an answer's size.
const SIZES: &[&str] =
    &["bullet", "item", "key", "line", "main", "paragraph", "point", "sentence", "token", "word"];

/// Whether a query asks for a whole and for nothing in it: no word of it tells of a subject.
pub(crate) fn is_about_all(query: &str) -> bool {
    let lower = query.to_lowercase();
    let words = || lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let is_number = |word: &str| word.bytes().all(|b| b.is_ascii_digit());
    // "In 3 sentences" sizes the answer; "chapter 3" is one of several.
    let sizes = |word: &str| SIZES.iter().any(|size| word.strip_suffix('s').unwrap_or(word) == *size);
    let pairs = words().zip(words().skip(1).map(Some).chain([None]));
    let particular = |(word, next): (&str, Option<&str>)| is_number(word) && !next.is_some_and(sizes);
    if pairs.into_iter().any(particular) {
        return false;
    }
    let general = |word: &str| {
        is_stop_word(word) || GENERAL.contains(&word) || TEXTS.contains(&word) || is_number(word)
    };
    let about = || words().any(|word| TEXTS.contains(&word)) && words().any(|word| ABOUT.contains(&word));
    words().all(|word| general(word) && !PARTICULAR.contains(&word)) && (asks_for_whole(query) || about())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breadth() {
        assert_eq!(share(Some("Summarize the whole meeting"), 5.0, false), WHOLE_SHARE);
        assert_eq!(share(Some("Who was Ann's brother?"), 3.0, false), 0.0);
        assert_eq!(share(Some("Where was the psychologist registered?"), 3.0, false), 0.0);
        assert!(share(Some("Who was Ann's brother?"), 1.0, false) > 0.0);
        assert_eq!(share(Some("Who was Ann's brother?"), 1.0, true), 0.0);
        assert!(share(Some("Who was Ann's brother?"), -5.0, true) > 0.0);
        assert_eq!(share(None, 3.0, true), NO_QUERY_SHARE);
    }

    #[test]
    fn a_whole_is_told_from_its_parts() {
        for query in [
            "Summarize the whole meeting.",
            "What is the plot of the story?",
            "What was the meeting about?",
            "What was the general discussion of the meeting?",
            "What were the main discussion points of the meeting?",
            "Please give me a brief summary of this document in 3 bullet points.",
            "TL;DR",
            "Summarize this document in 200 words.",
        ] {
            assert!(is_about_all(query), "{query}");
        }
        for query in [
            "Summarize the discussion about the budget.",
            "What happens in chapter 12?",
            "Summarize page 40.",
            "What was discussed in the meeting on 3/14?",
            "Summarize what the Project Manager said.",
            "When was the meeting?",
            "Who discussed what in the meeting?",
            "What is the plot of Dune?",
            "What was said about the remote control?",
            "Wie lang war das Treffen?",
            "",
            "?",
        ] {
            assert!(!is_about_all(query), "{query}");
        }
    }
}
