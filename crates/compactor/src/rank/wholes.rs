//! How much a sentence says of its whole text: for a question about the whole, and where nothing is asked.
//!
//! A linear model over what a sentence is made of, where it stands, how often the text uses its words, and which common
//! words are in it: `decided` and `should` tell of results, `actually` and `maybe` of talk. It was fitted to references
//! that sum up meetings and stories, by how many of their words a sentence holds; `eval/ranker/wholes.py` fits it and
//! writes `wholes.json`, and its README holds the figures.

use std::{borrow::Cow, collections::HashMap, ops::Range, sync::LazyLock};

use epitome_text::{
    Content, Document,
    terms::{for_each_word, is_stop_word, term},
};
use rust_stemmers::{Algorithm, Stemmer};
use serde::Deserialize;

use super::relevance::counts;

/// Features of a sentence: those of its own, then how many content words it has, alone and by some of the others.
const FEATURES: usize = 26;
/// Features that are also taken times the number of content words.
const BY_LENGTH: [usize; 9] = [2, 3, 4, 6, 7, 8, 9, 13, 15];
/// Equal parts of a text, over which a word may be spread.
const PARTS: usize = 12;
/// Sentences on each side that count as the surroundings.
const WINDOW: usize = 3;
/// A sentence with fewer content words says nothing by itself.
pub(crate) const CONTENT: usize = 4;
/// Most letters of a mark such as `{laughter}`.
const MARK: usize = 24;

/// Words that people say while they think, and what is left of contractions.
const FILLER: &[&str] = &[
    "uh", "um", "er", "erm", "hm", "hmm", "mm", "mmm", "mhm", "yeah", "yep", "yes", "nah", "okay", "ok",
    "oh", "ah", "huh", "right", "well", "gonna", "wanna", "know", "mean", "like", "sort", "kind", "re", "ve",
    "ll", "don", "didn", "doesn", "isn", "wouldn", "couldn", "shouldn", "aren", "wasn",
];

static BUILT_IN: LazyLock<Model> =
    LazyLock::new(|| serde_json::from_str(include_str!("wholes.json")).unwrap_or_default());

/// The fitted weights.
#[derive(Clone, Debug, Default, Deserialize)]
struct Model {
    intercept: f32,
    /// Of the features.
    features: Vec<f32>,
    /// Of common words, by their stem.
    words: HashMap<String, f32>,
}

/// What the spans of a text say of the whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whole {
    /// How much each says; the least for labels, headings and blanks.
    pub weights: Vec<f32>,
    /// The content words of each, by number, in rising order; fewer than four say nothing.
    pub terms: Vec<Vec<u32>>,
}

impl Whole {
    /// Reads a text.
    pub(crate) fn new(doc: &Document<'_>) -> Self {
        let model = &*BUILT_IN;
        let mut words = Words::new(model);
        let spans: Vec<usize> = (0..doc.spans.len()).filter(|span| counts(doc, *span)).collect();
        let sentences: Vec<Sentence> = spans.iter().map(|span| words.sentence(&doc.plain(*span))).collect();
        let features = features(doc, &spans, &sentences, words.lexicon.len());
        let own: Vec<f32> = features
            .iter()
            .zip(&sentences)
            .map(|(row, sentence)| {
                let said: f32 = sentence.stems.iter().map(|stem| words.lexicon[*stem as usize]).sum();
                let measured: f32 = row.iter().zip(&model.features).map(|(x, weight)| x * weight).sum();
                model.intercept + measured + said
            })
            .collect();
        let least = own.iter().copied().fold(f32::INFINITY, f32::min);
        let least = if least.is_finite() { least } else { 0.0 };
        let mut whole =
            Self { weights: vec![least; doc.spans.len()], terms: vec![Vec::new(); doc.spans.len()] };
        for ((span, weight), sentence) in spans.iter().zip(own).zip(sentences) {
            whole.weights[*span] = weight;
            whole.terms[*span] = sentence.distinct;
        }
        whole
    }
}

/// Share of the tokens of a text's sentences that are in sentences with fewer than four content words; `None` without
/// sentences. Labels and headings are no sentences.
pub fn filler(doc: &Document<'_>) -> Option<f64> {
    let whole = Whole::new(doc);
    let (mut all, mut idle) = (0, 0);
    for (span, terms) in whole.terms.iter().enumerate().filter(|(span, _)| counts(doc, *span)) {
        let tokens = doc.spans[span].tokens;
        all += tokens;
        idle += if terms.len() < CONTENT { tokens } else { 0 };
    }
    (all > 0).then(|| idle as f64 / all as f64)
}

/// Whether a text is one of which a whole can be told by its sentences: running text or talk, for the most part.
pub(crate) fn is_told(doc: &Document<'_>) -> bool {
    let running = |content: Content| matches!(content, Content::Prose | Content::List | Content::Heading);
    let tokens: usize = doc.spans.iter().filter(|span| running(span.content)).map(|span| span.tokens).sum();
    !doc.kind.is_in_place() && 2 * tokens > doc.tokens.total()
}

/// What a sentence is made of.
struct Sentence {
    /// All words.
    words: usize,
    /// Content words, and which they are.
    content: usize,
    distinct: Vec<u32>,
    /// Distinct stems of all words.
    stems: Vec<u32>,
    /// Words and marks that say nothing.
    filler: usize,
    /// Words between white space; those with a figure, and those behind the first that begin with a capital.
    raw: usize,
    figures: usize,
    names: usize,
    question: bool,
}

/// A word of a text.
#[derive(Clone, Copy)]
struct Word {
    /// The number of its stem.
    stem: u32,
    content: bool,
    filler: bool,
}

/// The words of a text.
struct Words<'m> {
    model: &'m Model,
    stemmer: Stemmer,
    known: HashMap<String, Word>,
    stems: HashMap<String, u32>,
    /// Of each stem, the weight as a common word.
    lexicon: Vec<f32>,
}

impl<'m> Words<'m> {
    fn new(model: &'m Model) -> Self {
        let stemmer = Stemmer::create(Algorithm::English);
        Self { model, stemmer, known: HashMap::new(), stems: HashMap::new(), lexicon: Vec::new() }
    }

    fn word(&mut self, word: &str) -> Word {
        let lower = word.to_lowercase();
        if let Some(word) = self.known.get(&lower) {
            return *word;
        }
        let stem = term(&self.stemmer, &lower);
        let next = self.lexicon.len() as u32;
        let number = *self.stems.entry(stem).or_insert_with_key(|stem| {
            self.lexicon.push(self.model.words.get(stem).copied().unwrap_or(0.0));
            next
        });
        let letter = lower.len() == 1 && lower.bytes().all(|b| b.is_ascii_alphabetic());
        let filler = FILLER.contains(&lower.as_str());
        let word = Word { stem: number, content: !letter && !filler && !is_stop_word(&lower), filler };
        self.known.insert(lower, word);
        word
    }

    fn sentence(&mut self, text: &str) -> Sentence {
        let (said, marks) = without_marks(text);
        let mut words: Vec<Word> = Vec::new();
        // What an apostrophe contracts is two words, whatever its form.
        for_each_word(&said, &mut |word| {
            let parts = word.split(['\'', '\u{2019}']).filter(|part| !part.is_empty());
            words.extend(parts.map(|part| self.word(part)));
        });
        let numbers = |of: &dyn Fn(&&Word) -> bool| {
            let mut numbers: Vec<u32> = words.iter().filter(of).map(|word| word.stem).collect();
            let all = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            (all, numbers)
        };
        let (content, distinct) = numbers(&|word| word.content);
        let (all, stems) = numbers(&|_| true);
        let raw: Vec<&str> = text.split_whitespace().collect();
        let named = |word: &&&str| {
            let mut chars = word.chars();
            chars.next().is_some_and(char::is_uppercase) && chars.next().is_some()
        };
        Sentence {
            words: all,
            content,
            distinct,
            stems,
            filler: marks + words.iter().filter(|word| word.filler).count(),
            figures: raw.iter().filter(|word| word.chars().any(char::is_numeric)).count(),
            names: raw.iter().skip(1).filter(named).count(),
            question: text.contains('?'),
            raw: raw.len(),
        }
    }
}

/// A text without what transcripts mark, such as `{laughter}` or `[inaudible]`, and how many marks there were.
pub(crate) fn without_marks(text: &str) -> (Cow<'_, str>, usize) {
    let (mut said, mut marks, mut from, mut at) = (String::new(), 0, 0, 0);
    while let Some(open) = text[at..].find(['{', '[', '<']).map(|found| at + found) {
        at = open + 1;
        let letters = text[at..].bytes().take_while(|b| b.is_ascii_lowercase() || *b == b'_').count();
        let close = at + letters;
        if (1..=MARK).contains(&letters) && text[close..].starts_with(['}', ']', '>']) {
            said.push_str(&text[from..open]);
            said.push(' ');
            marks += 1;
            (from, at) = (close + 1, close + 1);
        }
    }
    if marks == 0 {
        return (Cow::Borrowed(text), 0);
    }
    said.push_str(&text[from..]);
    (Cow::Owned(said), marks)
}

/// The features of each sentence. `stems` is how many there are in the text.
fn features(
    doc: &Document<'_>,
    spans: &[usize],
    sentences: &[Sentence],
    stems: usize,
) -> Vec<[f32; FEATURES]> {
    let positions = positions(doc, spans);
    let (mut count, mut parts) = (vec![0_u32; stems], vec![0_u32; stems]);
    for (sentence, position) in sentences.iter().zip(&positions) {
        for stem in &sentence.distinct {
            count[*stem as usize] += 1;
            parts[*stem as usize] |= 1 << ((position * PARTS as f32) as usize).min(PARTS - 1);
        }
    }
    let most = count.iter().copied().max().filter(|most| *most > 0).map_or(1.0, weight);
    let mut before = vec![0];
    before.extend(sentences.iter().scan(0, |sum, sentence| {
        *sum += sentence.content;
        Some(*sum)
    }));
    let turns = turns(doc, spans);
    let row = |at: usize| {
        let (this, position, turn) = (&sentences[at], positions[at], &turns[at]);
        let (low, high) = (at.saturating_sub(WINDOW), (at + WINDOW + 1).min(sentences.len()));
        let around = (before[high] - before[low]) as f32 / (2 * WINDOW + 1) as f32;
        let mean = |of: &dyn Fn(usize) -> f32| {
            let sum: f32 = this.distinct.iter().map(|stem| of(*stem as usize)).sum();
            sum / this.distinct.len().max(1) as f32
        };
        let share = |count: usize, of: usize| count as f32 / of.max(1) as f32;
        let content = this.content as f32;
        let own = [
            content.ln_1p(),
            share(this.content, this.words),
            (1.0 - position / 0.05).max(0.0),
            (1.0 - position / 0.2).max(0.0),
            ((position - 0.9) / 0.1).max(0.0),
            position,
            mean(&|stem| weight(count[stem]) / most),
            mean(&|stem| parts[stem].count_ones() as f32 / PARTS as f32),
            share(this.figures, this.raw),
            share(this.names, this.raw),
            (turn.tokens as f32).ln_1p(),
            f32::from(u8::from(turn.spans.start == at)),
            f32::from(u8::from(turn.spans.end == at + 1)),
            share(this.filler, this.raw),
            f32::from(u8::from(this.question)),
            around.ln_1p(),
        ];
        let mut row = [0.0; FEATURES];
        let by_length = BY_LENGTH.iter().map(|feature| content * own[*feature]);
        let all = own.iter().copied().chain([content]).chain(by_length);
        row.iter_mut().zip(all).for_each(|(slot, value)| *slot = value);
        row
    };
    (0..sentences.len()).map(row).collect()
}

/// How much a word counts that stands in so many sentences.
fn weight(count: u32) -> f32 {
    (count as f32).ln_1p()
}

/// Where each sentence begins, from 0 to 1.
pub(crate) fn positions(doc: &Document<'_>, spans: &[usize]) -> Vec<f32> {
    let mut before = 0;
    let starts: Vec<usize> = doc
        .spans
        .iter()
        .map(|span| {
            let start = before;
            before += span.tokens;
            start
        })
        .collect();
    spans.iter().map(|span| starts[*span] as f32 / before.max(1) as f32).collect()
}

/// A paragraph, or what someone says at a stretch.
#[derive(Clone)]
struct Turn {
    /// Its sentences.
    spans: Range<usize>,
    tokens: usize,
}

/// The turn of each sentence.
fn turns(doc: &Document<'_>, spans: &[usize]) -> Vec<Turn> {
    let mut turns = Vec::with_capacity(spans.len());
    for run in spans.chunk_by(|a, b| doc.spans[*a].block == doc.spans[*b].block) {
        let tokens = run.iter().map(|span| doc.spans[*span].tokens).sum();
        let turn = Turn { spans: turns.len()..turns.len() + run.len(), tokens };
        turns.extend(std::iter::repeat_n(turn, run.len()));
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;
    use epitome_text::SegmentSize;

    fn whole(text: &str) -> (Document<'_>, Whole) {
        let counter = epitome_text::tokens::tiktoken("gpt-4").expect("known");
        let doc = Document::new(text, counter.as_ref(), SegmentSize { min: 100, max: 200 });
        let whole = Whole::new(&doc);
        (doc, whole)
    }

    #[test]
    fn the_model_is_complete() {
        assert_eq!(BUILT_IN.features.len(), FEATURES);
        assert!(BUILT_IN.words.len() > 100 && BUILT_IN.words.values().all(|weight| weight.is_finite()));
    }

    #[test]
    fn decisions_say_more_than_talk() {
        let text = "Ann: Mm-hmm. Yeah, okay. I mean, I guess something like that, you know, sort of thing.\n\n\
                    Bob: The group decided that the final design should use a rubber case and a simple display.\n\n\
                    Ann: {vocalsound} Right. Well, actually, I'm not sure, maybe we'll see about all of that.\n";
        let (doc, whole) = whole(text);
        let best = (0..doc.spans.len()).max_by(|a, b| whole.weights[*a].total_cmp(&whole.weights[*b]));
        assert!(best.is_some_and(|span| doc.span_text(span).contains("decided")), "{:?}", whole.weights);
        let said = (0..doc.spans.len()).find(|span| doc.span_text(*span).contains("rubber")).expect("there");
        assert!(whole.terms[said].len() >= 8);
        let idle = (0..doc.spans.len()).find(|span| doc.span_text(*span).contains("Yeah")).expect("there");
        assert!(whole.terms[idle].is_empty(), "{:?}", whole.terms);
    }

    #[test]
    fn filler_is_a_share_of_the_tokens() {
        let share = |text| filler(&whole(text).0);
        assert_eq!(share("Ann: Mm-hmm. Yeah, okay.\n\nBob: Right. Well, I mean.\n"), Some(1.0));
        assert_eq!(share("The group decided on a rubber case and a simple display.\n"), Some(0.0));
        let half = share("Yeah, okay, right.\n\nThe group decided on a rubber case and a simple display.\n");
        assert!(half.is_some_and(|half| half > 0.1 && half < 0.5), "{half:?}");
        assert_eq!(share(""), None);
    }

    #[test]
    fn an_apostrophe_makes_no_content() {
        for text in ["I don't know what you're like.\n", "I don\u{2019}t know what you\u{2019}re like.\n"] {
            assert_eq!(whole(text).1.terms, [Vec::<u32>::new()], "{text}");
        }
    }

    #[test]
    fn marks_are_not_said() {
        assert_eq!(without_marks("{vocalsound} Yes [inaudible] so"), ("  Yes   so".into(), 2));
        for text in ["a < b", "[1] says", "{x", "{}", "f{X}", "<", "é{ü}", "{abcdefghijklmnopqrstuvwxyz}"] {
            assert_eq!(without_marks(text), (text.into(), 0));
        }
    }

    #[test]
    fn nothing_and_other_scripts_do_no_harm() {
        for text in [
            "",
            " \n\n",
            "# Title\n",
            "会議では新しい設計について話し合い、期限を決めました。",
            "a\n\nb\n\n\u{301}",
        ] {
            let (doc, whole) = whole(text);
            assert_eq!(whole.weights.len(), doc.spans.len());
            assert!(whole.weights.iter().all(|weight| weight.is_finite()));
        }
    }
}
