//! Which language a text is in: by its script, and within a script by its most frequent short words.
//!
//! This tells the languages apart for which it makes a difference (how words are stemmed, and which encoder reads them),
//! not all there are. The same text has the same language whatever is around it.

use std::{collections::HashMap, sync::LazyLock};

use rust_stemmers::Algorithm;

use crate::{Document, Kind};

mod words;

/// Bytes of a text that are looked at.
const LOOKED_AT: usize = 1500;
/// Blocks of a document that are looked at.
const BLOCKS: usize = 400;
/// Of so many words at least one is among the most frequent ones, if they are of a language that is known.
const FREQUENT: f32 = 12.0;
/// Fewest frequent words that say which language it is.
const LEAST: f32 = 2.0;

/// A text of more words than this needs so many different ones of a language: what recurs in code is few words.
const LONG: usize = 30;
const DISTINCT: usize = 3;
/// Different words of a language that are looked at.
const KNOWN: usize = 16;

/// A language, as far as it can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Language {
    Arabic,
    Chinese,
    Danish,
    Dutch,
    English,
    Finnish,
    French,
    German,
    Greek,
    Hindi,
    Hungarian,
    Indonesian,
    Italian,
    Japanese,
    Korean,
    Norwegian,
    Persian,
    Polish,
    Portuguese,
    Romanian,
    Russian,
    Spanish,
    Swedish,
    Thai,
    Turkish,
    Vietnamese,
    /// Another one, in a script that is not Latin.
    Other,
}

impl Language {
    /// The language of most of a text; `None` if too little says which it is, as in code or a list of names.
    pub fn of(text: &str) -> Option<Self> {
        let text = text.get(..text.floor_char_boundary(LOOKED_AT)).unwrap_or(text);
        let letters = Letters::of(text);
        if letters.others > letters.latin {
            return Some(letters.language());
        }
        latin(text)
    }

    /// The stemmer of its words, if there is one. That of Greek fails on some words; others that
    /// are left out were not tried on many.
    pub fn stemmer(self) -> Option<Algorithm> {
        Some(match self {
            Self::Arabic => Algorithm::Arabic,
            Self::English => Algorithm::English,
            Self::French => Algorithm::French,
            Self::German => Algorithm::German,
            Self::Italian => Algorithm::Italian,
            Self::Portuguese => Algorithm::Portuguese,
            Self::Romanian => Algorithm::Romanian,
            Self::Russian => Algorithm::Russian,
            Self::Spanish => Algorithm::Spanish,
            Self::Swedish => Algorithm::Swedish,
            Self::Turkish => Algorithm::Turkish,
            _ => return None,
        })
    }

    /// Whether it is written with spaces between words.
    pub fn has_spaces(self) -> bool {
        !matches!(self, Self::Chinese | Self::Japanese | Self::Thai)
    }
}

/// The languages of a document, by their share of the letters of its blocks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shares {
    /// The language of most letters, of those that are known.
    pub main: Option<Language>,
    /// Its share of the letters that are in a known one, from 0 to 1.
    pub share: f32,
    /// Share of the letters that stand in blocks of another language than English, from 0 to 1.
    pub foreign: f32,
}

impl Shares {
    /// Of a document. Of many blocks some are looked at, at even distances.
    pub fn of(doc: &Document<'_>) -> Self {
        let step = doc.blocks.len().div_ceil(BLOCKS).max(1);
        let mut letters: HashMap<Option<Language>, usize> = HashMap::new();
        for block in doc.blocks.iter().step_by(step) {
            // What names a passage is often in another language than the passage.
            let first = block.spans.start + usize::from(block.labelled && block.spans.len() > 1);
            let range = doc
                .spans
                .get(first..block.spans.end)
                .and_then(|spans| Some(spans.first()?.range.start..spans.last()?.range.end));
            let text = range.and_then(|range| doc.text.get(range)).unwrap_or_default();
            let count = text.chars().filter(|c| c.is_alphabetic()).count();
            let lines = doc.kind.plain() == Kind::Lines;
            let code = doc.spans.get(first).is_some_and(|span| span.code);
            let machine = code || block.content.is_machine() && !lines;
            *letters.entry(if machine { None } else { Language::of(text) }).or_default() += count;
        }
        let total: usize = letters.values().sum();
        let mut known: Vec<(Language, usize)> =
            letters.iter().filter_map(|(language, count)| Some(((*language)?, *count))).collect();
        known.sort_by(|(a, count), (b, more)| more.cmp(count).then(a.cmp(b)));
        let sum = |of: &dyn Fn(Language) -> bool| -> usize {
            known.iter().filter(|(language, _)| of(*language)).map(|(_, count)| count).sum()
        };
        let (all, foreign) = (sum(&|_| true), sum(&|language| language != Language::English));
        let (main, most) = known.first().map_or((None, 0), |(language, count)| (Some(*language), *count));
        let share = |part: usize, whole: usize| part as f32 / whole.max(1) as f32;
        Self { main, share: share(most, all), foreign: share(foreign, total) }
    }
}

/// Letters by their script.
#[derive(Default)]
struct Letters {
    latin: usize,
    others: usize,
    han: usize,
    kana: usize,
    hangul: usize,
    thai: usize,
    greek: usize,
    russian: usize,
    cyrillic: usize,
    devanagari: usize,
    arabic: usize,
    persian: usize,
}

impl Letters {
    fn of(text: &str) -> Self {
        let mut letters = Self::default();
        for c in text.chars().filter(|c| c.is_alphabetic()) {
            if is_latin(c) {
                letters.latin += 1;
                continue;
            }
            letters.others += 1;
            match c as u32 {
                0x3400..=0x9fff | 0xf900..=0xfaff | 0x20000..=0x3ffff => letters.han += 1,
                0x3040..=0x30ff | 0xff66..=0xff9f => letters.kana += 1,
                0x1100..=0x11ff | 0x3130..=0x318f | 0xac00..=0xd7af => letters.hangul += 1,
                0xe00..=0xe7f => letters.thai += 1,
                0x370..=0x3ff | 0x1f00..=0x1fff => letters.greek += 1,
                // Letters that Ukrainian, Serbian and others have and Russian has not.
                0x402..=0x40f | 0x452..=0x45f | 0x490..=0x4ff => letters.cyrillic += 1,
                0x400..=0x52f => letters.russian += 1,
                0x900..=0x97f => letters.devanagari += 1,
                // Persian has its own form of two letters, and four more.
                0x67e | 0x686 | 0x698 | 0x6a9 | 0x6af | 0x6cc => {
                    letters.arabic += 1;
                    letters.persian += 1;
                }
                0x600..=0x6ff | 0x750..=0x77f | 0xfb50..=0xfdff | 0xfe70..=0xfefc => letters.arabic += 1,
                _ => {}
            }
        }
        letters
    }

    /// That of most letters that are not Latin.
    fn language(&self) -> Language {
        let cyrillic = self.russian + self.cyrillic;
        let east = self.han + self.kana;
        let scripts = [east, self.hangul, self.thai, self.greek, cyrillic, self.devanagari, self.arabic];
        let most = scripts.into_iter().max().unwrap_or(0);
        if 2 * most < self.others {
            return Language::Other;
        }
        if most == east {
            return if 10 * self.kana > east { Language::Japanese } else { Language::Chinese };
        }
        match scripts.iter().position(|count| *count == most) {
            Some(1) => Language::Korean,
            Some(2) => Language::Thai,
            Some(3) => Language::Greek,
            Some(4) if 50 * self.cyrillic < cyrillic => Language::Russian,
            Some(5) => Language::Hindi,
            Some(6) if 20 * self.persian > self.arabic => Language::Persian,
            Some(6) => Language::Arabic,
            _ => Language::Other,
        }
    }
}

fn is_latin(c: char) -> bool {
    matches!(c as u32, 0x41..=0x5a | 0x61..=0x7a | 0xaa..=0x24f | 0x1e00..=0x1eff | 0x2c60..=0x2c7f | 0xa720..=0xa7ff)
        || matches!(c as u32, 0xff21..=0xff5a)
}

/// In which languages each word is frequent.
static WORDS: LazyLock<HashMap<&'static str, Vec<Language>>> = LazyLock::new(|| {
    let mut languages: HashMap<&'static str, Vec<Language>> = HashMap::new();
    for (language, list) in words::FREQUENT {
        for word in list.split_whitespace() {
            languages.entry(word).or_default().push(*language);
        }
    }
    languages
});

/// That of which most words are frequent. English if that is not behind another, or if the words that others have more
/// of may be names or English as well.
fn latin(text: &str) -> Option<Language> {
    let (mut hits, mut words): (HashMap<Language, Hits>, usize) = (HashMap::new(), 0);
    for word in text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()) {
        words += 1;
        // Single letters are names of variables as well.
        if word.len() == 1 || word.len() > words::LONGEST {
            continue;
        }
        let lower = word.to_lowercase();
        let Some((known, languages)) = WORDS.get_key_value(lower.as_str()) else { continue };
        for language in languages {
            let hits = hits.entry(*language).or_default();
            // Letters that English has not say more.
            hits.count += if lower.is_ascii() { 1.0 } else { 1.5 };
            if !hits.words.contains(known) && hits.words.len() < KNOWN {
                hits.words.push(*known);
                hits.sure += usize::from(!words::AMBIGUOUS.contains(known));
            }
        }
    }
    let distinct = if words > LONG { DISTINCT } else { 1 };
    let english = hits.get(&Language::English).map_or(0.0, |hits| hits.count);
    let mut others: Vec<(Language, f32)> = hits
        .into_iter()
        .filter(|(language, hits)| {
            *language != Language::English && hits.words.len() > 1 && hits.sure >= distinct
        })
        .map(|(language, hits)| (language, hits.count))
        .collect();
    others.sort_by(|(a, hits), (b, more)| more.total_cmp(hits).then(a.cmp(b)));
    let other = others.first().filter(|(_, count)| *count > english);
    let (best, most) = other.copied().unwrap_or((Language::English, english));
    (most >= LEAST.max(words as f32 / FREQUENT)).then_some(best)
}

/// Whether a text has a frequent word that is English alone, such as `who` or `the`.
pub fn has_english(text: &str) -> bool {
    let words = text.split(|c: char| !c.is_alphabetic()).filter(|word| word.len() <= words::LONGEST);
    words.map(str::to_lowercase).any(|word| {
        let languages = WORDS.get(word.as_str()).map(Vec::as_slice);
        languages == Some(&[Language::English]) && !words::AMBIGUOUS.contains(&word.as_str())
    })
}

/// The frequent words of a language in a text.
#[derive(Default)]
struct Hits {
    count: f32,
    /// Different ones, as many as are looked at.
    words: Vec<&'static str>,
    /// How many of those say which language it is.
    sure: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_and_questions_have_a_language() {
        for (text, language) in [
            ("The ferry leaves at seven and does not wait.", Language::English),
            ("Is door A or door B open?", Language::English),
            ("What does 'der' mean in this sentence?", Language::English),
            ("The war, die hard, and the van of Charles de la Tour", Language::English),
            ("Wer hält die Lizenz der Fähre?", Language::German),
            ("Nennen Sie ein Merkmal, das hinzugefügt wurde.", Language::German),
            ("Quel est le nom de la rivière qui traverse la ville ?", Language::French),
            ("¿Quién construyó el faro de la isla?", Language::Spanish),
            ("Chi ha costruito il faro sull'isola?", Language::Italian),
            ("Quem construiu o farol da ilha e em que ano?", Language::Portuguese),
            ("Cine a construit farul de pe insulă?", Language::Romanian),
            ("Vem byggde fyren på ön och när?", Language::Swedish),
            ("Feneri kim ve ne zaman inşa etti?", Language::Turkish),
            ("Siapa yang membangun mercusuar di pulau itu?", Language::Indonesian),
            ("Ai đã xây ngọn hải đăng trên đảo?", Language::Vietnamese),
            ("Wie heeft de vuurtoren van het eiland gebouwd?", Language::Dutch),
            ("Кто построил маяк на острове?", Language::Russian),
            ("Хто збудував маяк на цьому острові її мрії?", Language::Other),
            ("Ποιος έχτισε τον φάρο;", Language::Greek),
            ("من بنى المنارة؟", Language::Arabic),
            ("چه کسی فانوس دریایی را ساخت؟", Language::Persian),
            ("प्रकाशस्तंभ किसने बनाया?", Language::Hindi),
            ("ใครสร้างประภาคาร", Language::Thai),
            ("등대는 누가 지었습니까?", Language::Korean),
            ("灯台を建てたのは誰ですか。", Language::Japanese),
            ("谁建造了这座灯塔？", Language::Chinese),
        ] {
            assert_eq!(Language::of(text), Some(language), "{text}");
        }
    }

    #[test]
    fn code_and_names_have_none() {
        for text in [
            "",
            "12:30 -> 14",
            "fn main() { let x = vec![1, 2, 3]; println!(\"{x:?}\"); }",
            "Louis de la Cruz",
            "Kim Lee 2019",
            "AI agents vs AI assistants",
            "Victorian era vs Edwardian era fashion",
            "if err != nil { fmt.Fprintf(os.Stderr, \"%d\\n\", n); os.Exit(1) } d := s.d; c, l := s.c, n; e := i",
            "Ada Lovelace, Grace Hopper, Edsger Dijkstra, Barbara Liskov, Donald Knuth, Tony Hoare",
            "2026-03-01T12:00:00Z INFO worker=3 job=491 queue=mail status=200 took=12ms retry=0 host=a1",
        ] {
            assert_eq!(Language::of(text), None, "{text}");
        }
    }

    #[test]
    fn words_that_a_stemmer_fails_on_have_none() {
        assert!(Language::Greek.stemmer().is_none());
        for language in [Language::Arabic, Language::German, Language::Russian, Language::Turkish] {
            let terms = crate::terms::Terms::new(language.stemmer());
            assert!(!terms.of("ισαισα").is_empty() && !terms.of(&"ß".repeat(500)).is_empty());
        }
    }

    #[test]
    fn some_words_are_english_alone() {
        for text in ["Who wrote 'À la recherche du temps perdu'?", "What is 'La vita è bella'?"] {
            assert!(has_english(text), "{text}");
        }
        for text in ["Wer war das?", "die war hat", "谁建造了这座灯塔？", ""] {
            assert!(!has_english(text), "{text}");
        }
    }

    #[test]
    fn every_frequent_word_is_short_enough_to_be_looked_up() {
        assert!(WORDS.keys().all(|word| word.len() <= words::LONGEST && *word == word.to_lowercase()));
    }
}
