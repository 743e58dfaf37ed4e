//! The second hop: a span that shares a rare name, figure or identifier with one that the query
//! needs is likely needed too, although it shares no word with the query. What a chain of
//! assignments, or a question that goes through one article to the next, asks for.

use std::collections::{HashMap, HashSet};

use epitome_text::{Content, Document, terms::is_stop_word};

/// Spans from which links go out ...
const SOURCES: usize = 6;
/// ... by identifiers: a chain of assignments may be longer.
const CHAIN_SOURCES: usize = 12;
/// An identifier that makes a chain is in no more spans than this.
const CHAIN_MOST: usize = 3;
/// A name in more than this share of the spans links nothing ...
const COMMON_SHARE: f32 = 0.04;
/// ... unless it is in no more than so many.
const COMMON: usize = 6;
/// The most that links of one kind count.
const MOST: f32 = 2.0;
/// Share of the spans with an identifier that recurs: up to the first, identifiers count in full,
/// from the second on not at all. Where every line has some, as in code, one that recurs says little.
const RARE: f32 = 0.1;
const USUAL: f32 = 0.3;
/// Words of names that say too little.
const VAGUE: &[&str] = &["american", "film", "born"];

/// Features of a span by its links: by names and figures in it, by those in the label of its
/// passage, by identifiers in it. Each 0 to 2; 1 is about one name that only two spans share.
pub(crate) type Linked = [f32; 3];

/// The names of a text, by span.
pub(crate) struct Links<'a> {
    /// Of each span, the names in it.
    names: Vec<Vec<usize>>,
    /// Of each name: how much it says where it recurs, 0 where it does not or is common.
    weight: Vec<f32>,
    /// Of each name: whether it can make a chain.
    chains: Vec<bool>,
    text: Vec<&'a str>,
    /// How much identifiers count, 0 to 1.
    identifiers: f32,
}

impl<'a> Links<'a> {
    /// Finds the names: words with a capital letter or a digit in front, and identifiers, which
    /// recur, are rare and are not in the query.
    pub(crate) fn new(doc: &Document<'a>, query: &str) -> Self {
        let asked: HashSet<String> = words(query).map(str::to_lowercase).collect();
        let mut index: HashMap<&'a str, usize> = HashMap::new();
        let mut names = Vec::with_capacity(doc.spans.len());
        let (mut containing, mut text) = (Vec::new(), Vec::new());
        // The span in which each name was found last.
        let mut last: Vec<usize> = Vec::new();
        for span in 0..doc.spans.len() {
            let mut own: Vec<usize> = Vec::new();
            let shouted = doc.words(span).all(is_shouted);
            let named = |word: &&str| is_name(word) && !(shouted && word.chars().all(char::is_alphabetic));
            for word in doc.words(span).flat_map(words).filter(named) {
                let next = index.len();
                let at = *index.entry(word).or_insert(next);
                if at == next {
                    containing.push(0_usize);
                    text.push(word);
                    last.push(usize::MAX);
                }
                if last[at] != span {
                    last[at] = span;
                    own.push(at);
                    containing[at] += 1;
                }
            }
            names.push(own);
        }
        let count = doc.spans.len() as f32;
        let most = COMMON.max((count * COMMON_SHARE) as usize);
        let chains = containing
            .iter()
            .zip(&text)
            .map(|(n, word): (&usize, &&str)| *n <= CHAIN_MOST && is_identifier(word))
            .collect();
        let weight: Vec<f32> = containing
            .iter()
            .zip(&text)
            .map(|(n, word)| {
                let lower = word.to_lowercase();
                let says = (2..=most).contains(n)
                    && !asked.contains(&lower)
                    && !is_stop_word(&lower)
                    && !VAGUE.contains(&lower.as_str());
                if says { (count / *n as f32).ln() / count.ln() } else { 0.0 }
            })
            .collect();
        let recurs = |name: &usize| weight[*name] > 0.0 && is_identifier(text[*name]);
        let full = names.iter().filter(|own| own.iter().any(recurs)).count();
        let share = full as f32 / count.max(1.0);
        let identifiers =
            if full <= COMMON { 1.0 } else { ((USUAL - share) / (USUAL - RARE)).clamp(0.0, 1.0) };
        Self { names, weight, chains, text, identifiers }
    }

    /// The links of every span with those that score best.
    pub(crate) fn follow(&self, doc: &Document<'_>, score: &[f32], counts: &[bool]) -> Vec<Linked> {
        let mut sources: Vec<usize> = Vec::with_capacity(CHAIN_SOURCES + 1);
        for span in (0..score.len()).filter(|span| counts[*span]) {
            let at = sources.partition_point(|other| score[*other] >= score[span]);
            if at < CHAIN_SOURCES {
                sources.insert(at, span);
                sources.truncate(CHAIN_SOURCES);
            }
        }
        let mut out = vec![[0.0; 3]; score.len()];
        let Some(best) = sources.first().map(|span| score[*span]) else { return out };
        let odds = |score: f32| 1.0 / (1.0 + (-score).exp());
        let mut from: HashMap<usize, Vec<(f32, usize)>> = HashMap::new();
        for (rank, source) in sources.iter().enumerate() {
            let share = (odds(score[*source]) / odds(best).max(1e-9)).sqrt();
            let links = |name: &&usize| self.weight[**name] > 0.0 && (rank < SOURCES || self.chains[**name]);
            for name in self.names[*source].iter().filter(links) {
                // A chain must reach its end: its links fade less from one to the next.
                let share = if self.chains[*name] { share.sqrt() } else { share };
                from.entry(*name).or_default().push((self.weight[*name] * share, *source));
            }
        }
        let strongest = |name: &usize, other: &dyn Fn(usize) -> bool| {
            let all = from.get(name).map(Vec::as_slice).unwrap_or_default();
            all.iter().filter(|(_, source)| other(*source)).map(|(v, _)| *v).fold(0.0, f32::max)
        };
        let titles: Vec<f32> = (0..doc.blocks.len())
            .map(|index| {
                let block = &doc.blocks[index];
                let title = block.labelled && block.content != Content::Table;
                let names = if title { self.names[block.spans.start].as_slice() } else { &[] };
                names.iter().map(|name| strongest(name, &|source| doc.spans[source].block != index)).sum()
            })
            .collect();
        for (span, linked) in out.iter_mut().enumerate() {
            for name in &self.names[span] {
                let strength = strongest(name, &|source| source != span);
                linked[if is_identifier(self.text[*name]) { 2 } else { 0 }] += strength;
            }
            linked[1] = titles[doc.spans[span].block];
            for value in &mut *linked {
                *value = value.min(MOST);
            }
            linked[2] *= self.identifiers;
        }
        out
    }
}

/// Words: letters and digits, with `'`, `’`, `.`, `_` and `-` inside.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let joins = |c: char| matches!(c, '\'' | '’' | '.' | '_' | '-');
    text.split(move |c: char| !c.is_alphanumeric() && !joins(c))
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()))
        .filter(|word| !word.is_empty())
}

/// Whether a sentence is set in capitals: its words are no names then.
fn is_shouted(text: &str) -> bool {
    let plain = |word: &&str| word.chars().all(char::is_alphabetic) && word.chars().nth(1).is_some();
    let (mut all, mut loud, mut ordinary) = (0, 0, false);
    for word in words(text).filter(plain) {
        all += 1;
        if word.chars().all(char::is_uppercase) {
            loud += 1;
            ordinary |= is_stop_word(&word.to_lowercase());
        }
    }
    ordinary && 2 * loud > all
}

fn is_name(word: &str) -> bool {
    let mut chars = word.chars();
    let first = chars.next().is_some_and(|c| c.is_uppercase() || c.is_numeric());
    chars.next().is_some() && (first || is_identifier(word))
}

/// Capitals alone, digits behind a letter (`1960s` and `21st` are none), or words joined by `_`.
fn is_identifier(word: &str) -> bool {
    let capitals = word.chars().count() >= 4 && word.chars().all(char::is_uppercase);
    let letter = word.starts_with(char::is_alphabetic);
    capitals || (letter && word.contains(char::is_numeric)) || word.contains('_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use epitome_text::{SegmentSize, tokens};

    #[test]
    fn names_and_identifiers() {
        let all: Vec<&str> = words("VAR EYPHU = 97185. O'Neil's snake_case a.b, (x)").collect();
        assert_eq!(all, ["VAR", "EYPHU", "97185", "O'Neil's", "snake_case", "a.b", "x"]);
        assert!(is_name("Paris") && is_name("97185") && is_name("snake_case") && !is_name("paris"));
        assert!(
            is_identifier("EYPHU") && is_identifier("a1") && !is_identifier("VAR") && !is_identifier("1984")
        );
    }

    #[test]
    fn sentences_in_capitals_have_no_names() {
        assert!(is_shouted("IN NO EVENT SHALL THE HOLDER BE LIABLE for damages."));
        for names in ["VAR EYPHU = VAR ABCDE", "NASA and the ESA did it", "The BBC.", ""] {
            assert!(!is_shouted(names), "{names}");
        }
    }

    #[test]
    fn identifiers_say_little_in_code() {
        let counter = tokens::tiktoken("gpt-4").expect("known");
        let count = |text: &str| {
            let doc = Document::new(text, counter.as_ref(), SegmentSize { min: 100, max: 200 });
            Links::new(&doc, "What is set?").identifiers
        };
        let prose = "It rains. The wind blows. Snow falls. Dogs bark. Cats sleep. Birds sing. ".repeat(4);
        assert_eq!(count(&format!("{prose} Set max_size to 3. Then max_size is used.")), 1.0);
        assert_eq!(count("Set CFG_PATH first. It rains. The wind blows. Now CFG_PATH is read."), 1.0);
        let code: String = (0..40).map(|i| format!("field_{i} is taken. Now field_{i} is given. ")).collect();
        assert_eq!(count(&code), 0.0);
    }

    #[test]
    fn a_link_leads_to_the_second_hop() {
        let text = "The sky is blue. The Lark was flown by Ann Ryder. Dogs bark at night. \
                    Cats sleep. Ryder was raised in Bristow. Rain falls. Wind blows. Snow melts.";
        let counter = tokens::tiktoken("gpt-4").expect("known");
        let doc = Document::new(text, counter.as_ref(), SegmentSize { min: 100, max: 200 });
        let score: Vec<f32> = (0..doc.spans.len())
            .map(|s| if doc.span_text(s).contains("Lark") { 2.0 } else { -3.0 })
            .collect();
        let counts = vec![true; doc.spans.len()];
        let linked =
            Links::new(&doc, "Where was the pilot of the Lark raised?").follow(&doc, &score, &counts);
        let best = (0..linked.len())
            .filter(|s| score[*s] < 0.0)
            .max_by(|a, b| linked[*a][0].total_cmp(&linked[*b][0]));
        assert_eq!(best.map(|s| doc.span_text(s)), Some("Ryder was raised in Bristow."));
    }
}
