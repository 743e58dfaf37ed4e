//! Measures of a text against reference summaries, without a reader: ROUGE, filler, and the sentences of the references
//! that it covers.

use epitome_compactor::internals;
use epitome_engine::{CrossEncoder, ModelError, Passage};
use epitome_text::{Document, sentence_ends};

use super::{
    arms::Arm,
    retention::without_references,
    row::Row,
    scoring::rouge::{References, Rouge},
};

/// The mark of epitome's template for what is left out.
const LEFT_OUT: &str = "[...]";
/// Sentences of a reference with fewer words are not asked for.
const WORDS: usize = 4;
/// Log-odds from which on a sentence of the text covers one of a reference.
const COVERS: f32 = 0.0;

/// A row's references, prepared for many texts.
#[derive(Clone, Debug)]
pub struct Summaries {
    references: Option<References>,
    /// The sentences of each reference; empty if they are not asked for.
    sentences: Vec<Vec<String>>,
}

/// What was measured of a text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// What it shares with the references; `None` if the row has none.
    pub rouge: Option<Rouge>,
    /// Share of its tokens in sentences with fewer than four content words; `None` likewise, and without sentences.
    pub filler: Option<f64>,
    /// Share of a reference's sentences that it covers; `None` if they are not asked for.
    pub covered: Option<f64>,
}

impl Summaries {
    /// Prepares what the row asks for.
    pub fn new(row: &Row) -> Self {
        let references =
            row.summary.rouge.then(|| References::new(&row.answers)).filter(|found| !found.is_empty());
        let asked: &[String] = if row.summary.covered { &row.answers } else { &[] };
        let mut sentences: Vec<Vec<String>> = asked.iter().map(|text| sentences_of(text)).collect();
        sentences.retain(|sentences| !sentences.is_empty());
        Self { references, sentences }
    }

    /// Measures a text. Reference numbers such as `[#7]` and marks of what is left out are not part of it.
    ///
    /// # Errors
    ///
    /// [`ModelError`] if the cross-encoder is asked for and cannot be had.
    pub fn measure(&self, text: &str, arm: &Arm) -> Result<Measured, ModelError> {
        if self.references.is_none() && self.sentences.is_empty() {
            return Ok(Measured::default());
        }
        let text = without_references(text).replace(LEFT_OUT, "");
        let measured = self.references.as_ref().map(|references| references.measure(&text));
        let doc = arm.document(&text);
        let filler = measured.as_ref().and_then(|_| internals::filler(&doc));
        let covered =
            if self.sentences.is_empty() { None } else { Some(self.covered(&doc, arm.ranker()?.as_ref())?) };
        Ok(Measured { rouge: measured, filler, covered })
    }

    /// The share of the sentences of a reference for which some sentence of the text is needed, as the cross-encoder has
    /// it; of several references, the highest.
    fn covered(&self, doc: &Document<'_>, encoder: &CrossEncoder) -> Result<f64, ModelError> {
        let texts: Vec<&str> = (0..doc.spans.len())
            .filter(|span| internals::counts(doc, *span))
            .map(|span| doc.span_text(span))
            .collect();
        let parts = encoder.tokenize(&texts)?;
        let mut most = 0.0_f64;
        for sentences in &self.sentences {
            let mut count = 0;
            for query in encoder.tokenize(&sentences.iter().map(String::as_str).collect::<Vec<_>>())? {
                let windows = windows(&parts, encoder.room(&query, &[]));
                let found = encoder.score(&query, &windows)?;
                let best = found.iter().flat_map(|window| &window.parts).copied();
                count += usize::from(best.fold(f32::NEG_INFINITY, f32::max) >= COVERS);
            }
            most = most.max(count as f64 / sentences.len() as f64);
        }
        Ok(most)
    }
}

/// Sentences in windows of at most `room` tokens; a longer sentence has a window of its own, and its end is not read.
fn windows(parts: &[Vec<u32>], room: usize) -> Vec<Passage<'_>> {
    let (mut windows, mut window, mut size) = (Vec::new(), Passage::default(), 0);
    for part in parts {
        if size > 0 && size + part.len() > room {
            windows.push(std::mem::take(&mut window));
            size = 0;
        }
        size += part.len();
        window.parts.push(part.as_slice());
    }
    if !window.parts.is_empty() {
        windows.push(window);
    }
    windows
}

fn sentences_of(text: &str) -> Vec<String> {
    let mut start = 0;
    let mut sentences = Vec::new();
    for end in sentence_ends(text) {
        let sentence = text.get(start..end).unwrap_or_default().trim();
        if sentence.split_whitespace().count() >= WORDS {
            sentences.push(sentence.to_owned());
        }
        start = end;
    }
    sentences
}
