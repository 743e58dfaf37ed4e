//! Where someone says what comes next: "Let's move on to the budget", "I'd like to ask about the impact of ...".

use std::ops::Range;

use epitome_text::terms::is_stop_word;

use super::{
    cues::{BETWEEN, COMES, COPULAS, CUES, LEADS, NOUNS, OPENERS, ORDINALS, VAGUE, VERBS},
    phrase,
};

/// An announcement within a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Announcement {
    /// Where its clause begins.
    pub(super) start: usize,
    /// The words for the topic; `None` if it says only that another one comes.
    pub(super) topic: Option<Range<usize>>,
    /// Where its clause ends.
    pub(super) end: usize,
}

/// The announcements in `text`, in order.
pub(super) fn announcements(text: &str) -> Vec<Announcement> {
    // Offsets stay those of the text.
    let lower = text.to_ascii_lowercase();
    let mut cues: Vec<Range<usize>> = Vec::new();
    for verb in VERBS {
        cues.extend(whole(&lower, verb).filter_map(|at| Some(lead(&lower[..at])?..at + verb.len())));
    }
    for cue in CUES {
        cues.extend(whole(&lower, cue).map(|at| at..at + cue.len()));
    }
    for noun in NOUNS {
        cues.extend(whole(&lower, noun).filter_map(|at| enumerated(&lower, at, noun.len())));
    }
    cues.sort_by_key(|cue| (cue.start, std::cmp::Reverse(cue.end)));
    let mut found: Vec<Announcement> = Vec::new();
    for cue in cues {
        if found.last().is_some_and(|last| cue.start < last.end) {
            continue;
        }
        let end = cue.end + clause_end(&text[cue.end..]);
        let topic = topic(text, &lower, cue.end..end);
        if topic.is_none() && !announces_another(&lower[cue.end..end]) {
            continue;
        }
        found.push(Announcement { start: clause_start(text, cue.start), topic, end });
    }
    found
}

/// Where a phrase stands as whole words.
fn whole<'t>(lower: &'t str, phrase: &'t str) -> impl Iterator<Item = usize> + 't {
    // Scripts without spaces have no words that can be told apart here.
    let spaced = phrase.is_ascii() || phrase.contains(' ');
    lower.match_indices(phrase).map(|(at, _)| at).filter(move |at| {
        let before = lower[..*at].chars().next_back().is_some_and(char::is_alphanumeric);
        let behind = lower[at + phrase.len()..].chars().next().is_some_and(char::is_alphanumeric);
        !spaced || !before && !behind
    })
}

/// Where the lead begins that `before` ends with.
fn lead(before: &str) -> Option<usize> {
    let mut before = before.trim_end();
    for _ in 0..3 {
        let Some(shorter) = BETWEEN.iter().find_map(|word| strip_word(before, word)) else { break };
        before = shorter.trim_end_matches([',', ' ']);
    }
    LEADS.iter().find_map(|lead| strip_word(before, lead)).map(str::len)
}

/// `text` without a word or phrase at its end.
fn strip_word<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    text.strip_suffix(word).filter(|rest| !rest.ends_with(char::is_alphanumeric))
}

/// "the next item is", around the noun at `at`.
fn enumerated(lower: &str, at: usize, length: usize) -> Option<Range<usize>> {
    let before = lower[..at].trim_end();
    let rest = ORDINALS.iter().find_map(|ordinal| strip_word(before, ordinal))?;
    let behind = &lower[at + length..];
    let copula = COPULAS.iter().find(|copula| behind.starts_with(**copula))?;
    Some(rest.len()..at + length + copula.len())
}

/// The topic in the words after a cue.
fn topic(text: &str, lower: &str, said: Range<usize>) -> Option<Range<usize>> {
    let mut start = said.start + (said.len() - lower[said.clone()].trim_start().len());
    let opener = |opener: &&str| {
        let rest = lower[start..said.end].strip_prefix(*opener)?;
        (!rest.starts_with(char::is_alphanumeric)).then_some(opener.len())
    };
    start += OPENERS.iter().find_map(opener).unwrap_or(0);
    let line = phrase::shortened(text, phrase::led(text, start..said.end), phrase::LONGEST)?;
    let mut words = lower[line.clone()].split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.any(|word| !is_stop_word(word) && !VAGUE.contains(&word)).then_some(line)
}

fn announces_another(said: &str) -> bool {
    said.split(|c: char| !c.is_alphanumeric()).any(|word| COMES.contains(&word))
}

/// Where the clause ends that `text` begins with: at the end of a sentence, or at a comma behind a few words.
fn clause_end(text: &str) -> usize {
    let mut words = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, c)| *c);
        match c {
            '?' | '!' | ';' | '\n' | '\u{3002}' | '\u{ff1f}' | '\u{ff01}' | '\u{2014}' => return at,
            // Not within a number or an abbreviation.
            '.' if !next.is_some_and(|c| c.is_numeric() || c.is_lowercase()) => return at,
            ',' | '\u{ff0c}' | '{' if words >= 2 => return at,
            ' ' => words += 1,
            _ => {}
        }
    }
    text.len()
}

/// Where the clause begins that stands at `at`.
fn clause_start(text: &str, at: usize) -> usize {
    let before = &text[..at];
    let ends = |c: char| matches!(c, '.' | '?' | '!' | '\n' | '\u{3002}');
    let start = before.char_indices().rev().find(|(_, c)| ends(*c)).map_or(0, |(at, c)| at + c.len_utf8());
    start + (before[start..].len() - before[start..].trim_start().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(text: &str) -> Vec<Option<&str>> {
        announcements(text).into_iter().map(|said| said.topic.map(|topic| &text[topic])).collect()
    }

    #[test]
    fn topics_are_what_is_announced() {
        for (text, topic) in [
            ("Let's move on to the budget of next year.", "the budget of next year"),
            ("Okay, so I'd like to ask about the impact of tourism, if I may.", "the impact of tourism"),
            (
                "I would like to discuss the topic of the role of art in society.",
                "the role of art in society",
            ),
            ("Let\u{2019}s now discuss the effects of sleep!", "the effects of sleep"),
            ("The next item on the agenda is the lease.", "the lease"),
            ("My second question is about version 2.5 of the driver.", "version 2.5 of the driver"),
            ("Moving on to remote controls", "remote controls"),
            ("Kommen wir nun zu den Kosten.", "den Kosten"),
            ("Parlons de la dette publique.", "la dette publique"),
            ("\u{63a5}\u{4e0b}\u{6765}\u{8ba8}\u{8bba}\u{9884}\u{7b97}\u{3002}", "\u{9884}\u{7b97}"),
        ] {
            assert_eq!(topics(text), [Some(topic)], "{text}");
        }
    }

    #[test]
    fn what_names_nothing_says_at_most_that_something_comes() {
        assert_eq!(topics("Great, let's talk about the next topic."), [None]);
        for text in [
            "Let's discuss it.",
            "He went to the station and looked at the clock.",
            "The outlets discuss prices.",
            "They move on to another house every year.",
            "",
        ] {
            assert_eq!(topics(text), [] as [Option<&str>; 0], "{text}");
        }
    }

    #[test]
    fn one_sentence_may_hold_two() {
        let text =
            "That is all on art, let's talk about the next topic.USER: I want to discuss space tourism.";
        let said = announcements(text);
        assert_eq!(topics(text), [None, Some("space tourism")]);
        assert!(text[said[1].start..].starts_with("USER:"), "{said:?}");
    }
}
