//! Ranking where text or query is in another language than English, which the cross-encoder and the static vectors
//! cannot read: vectors of the built-in multilingual encoder, and BM25 over the words and the character trigrams of the
//! query, weighted by `multilingual.json`. Where query and text are in one language the weights are set by hand, elsewhere they are
//! fitted, and so is the prediction of retention: `eval/ranker/languages.py`. Its README holds the figures.

use std::sync::LazyLock;

use epitome_text::{
    Document,
    language::{Language, Shares, has_english},
    terms::{Terms, query_terms_by},
};
use serde::Deserialize;

use super::{
    RankError, Ranking, Tools,
    criticality::criticality,
    dense::{self, Embedding, SpanVectors, cosine},
    fusion::standardize,
    lexical, most_promising,
    relevance::{calibrated, counts, dot, interpolate, opens_passage},
    trigrams,
};

/// Share of the letters of a text that is in other languages than English from which on it is read as such.
const FOREIGN: f32 = 0.25;
/// A text of which less is in one language is a mixture.
const MIXED: f32 = 0.8;
/// Features of a span.
const FEATURES: usize = 19;
/// Cosines differ by hundredths.
const COSINE: f32 = 10.0;

/// What the prediction was fitted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Query and text in one language, with spaces between words.
    Spaced,
    /// The same without spaces.
    Unspaced,
    /// Query and text in different languages, or a text in several.
    Crossed,
}

/// The languages of a text and a query, where one of them is not English.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Languages {
    /// Of the words of the query.
    query: Option<Language>,
    pub(crate) family: Family,
}

impl Languages {
    /// Those of a document and a query; `None` if English is all that is known of them.
    pub(crate) fn of(doc: &Document<'_>, query: &str) -> Option<Self> {
        let (text, asked) = (Shares::of(doc), Language::of(query));
        let other = |language: Language| language != Language::English;
        // What is quoted in an English question may be in any language.
        if text.foreign < FOREIGN && (!asked.is_some_and(other) || has_english(query)) {
            return None;
        }
        let language = asked.or(text.main);
        let crossed = language != text.main || text.share < MIXED;
        let family = match language {
            _ if crossed => Family::Crossed,
            Some(language) if !language.has_spaces() => Family::Unspaced,
            _ => Family::Spaced,
        };
        Some(Self { query: language, family })
    }
}

static BUILT_IN: LazyLock<Model> =
    LazyLock::new(|| serde_json::from_str(include_str!("multilingual.json")).unwrap_or_default());

/// The fitted weights.
#[derive(Clone, Debug, Default, Deserialize)]
struct Model {
    /// Of the features, where query and text are in one language.
    same: Vec<f32>,
    /// Of the features, where they are not.
    crossed: Vec<f32>,
    /// By family.
    predictions: [Prediction; 3],
}

/// What the scores of a family say.
#[derive(Clone, Debug, Default, Deserialize)]
struct Prediction {
    /// Slope, weight of the logarithm of the sum over all spans, intercept: from score to log-odds.
    calibration: [f32; 3],
    /// Share of the predicted mass that is kept, and of texts that then still hold what is needed; both rise.
    retention: Vec<[f32; 2]>,
}

fn prediction(family: Family) -> &'static Prediction {
    let [spaced, unspaced, crossed] = &BUILT_IN.predictions;
    match family {
        Family::Spaced => spaced,
        Family::Unspaced => unspaced,
        Family::Crossed => crossed,
    }
}

/// The share of texts that still hold what is needed where `kept` of the predicted mass is kept.
pub(crate) fn retention(family: Family, kept: f32) -> f32 {
    interpolate(prediction(family).retention.iter().map(|[x, y]| (*x, *y)), kept)
}

/// The share of the predicted mass to keep for a retention of `floor`.
pub(crate) fn mass(family: Family, floor: f32) -> f32 {
    interpolate(prediction(family).retention.iter().map(|[x, y]| (*y, *x)), floor)
}

/// Scores all spans, and gives the log-odds that each is needed; `limit` is the most tokens that are read.
pub(super) fn score(
    doc: &Document<'_>,
    query: &str,
    languages: Languages,
    limit: usize,
    ranking: &mut Ranking,
    tools: Tools<'_>,
) -> Result<Vec<f32>, RankError> {
    let stemmer = languages.query.and_then(Language::stemmer);
    let words = lexical::rank_stemmed(doc, &query_terms_by(query, &Terms::new(stemmer)), stemmer);
    let letters = trigrams::rank(doc, query);
    let of_blocks = |blocks: &[f32]| doc.spans.iter().map(|span| blocks[span.block]).collect();
    (ranking.lexical_block, ranking.trigrams_block) = (of_blocks(&words.blocks), of_blocks(&letters.blocks));
    (ranking.lexical, ranking.trigrams) = (words.spans, letters.spans);
    tools.cancel.check()?;
    let segments = match ranking.trigrams.iter().any(|score| *score > 0.0) {
        true => most_promising(doc, &ranking.trigrams, limit),
        false => spread(doc, limit),
    };
    let by = Embedding::multilingual(tools);
    let (vectors, lookups) = dense::embed(doc, &segments, by)?;
    let wanted = dense::embed_query(query, by)?;
    if !vectors.fits(&wanted) {
        return Err(RankError::Vectors);
    }
    (ranking.lookups.asked, ranking.lookups.found) = (lookups.asked, lookups.found);
    let means: Vec<Vec<f32>> = doc.segments.iter().map(|s| vectors.mean(s.spans.clone())).collect();
    let central = |span: usize| cosine(vectors.span(span), &means[doc.spans[span].segment]);
    let centrality: Vec<f32> = (0..doc.spans.len()).map(central).collect();
    ranking.criticality = criticality(doc, Some(&centrality));
    let counted: Vec<bool> = (0..doc.spans.len()).map(|span| counts(doc, span)).collect();
    (ranking.dense, ranking.dense_block) = cosines(doc, &vectors, &wanted, &counted);
    ranking.vectors = Some(vectors);
    let odds = log_odds(doc, ranking, languages.family, &counted);
    if doc.kind.is_calibrated() && !prediction(languages.family).retention.is_empty() {
        ranking.probability = odds.iter().map(|odds| 1.0 / (1.0 + (-odds).exp())).collect();
        ranking.family = Some(languages.family);
    }
    Ok(odds)
}

/// Segments at even distances, of about `limit` tokens together: nothing says which are better.
fn spread(doc: &Document<'_>, limit: usize) -> Vec<usize> {
    let total = doc.tokens.total().max(1);
    let before = |at: usize| (at as u128 * limit.min(total) as u128 / total as u128) as usize;
    (0..doc.segments.len()).filter(|at| before(at + 1) > before(*at)).collect()
}

/// The cosines of spans and of their blocks with the query; not a number where nothing was read. What names a block
/// is no part of it.
fn cosines(
    doc: &Document<'_>,
    vectors: &SpanVectors,
    wanted: &[f32],
    counted: &[bool],
) -> (Vec<f32>, Vec<f32>) {
    let own: Vec<f32> = (0..doc.spans.len())
        .map(|span| if vectors.has(span) { cosine(vectors.span(span), wanted) } else { f32::NAN })
        .collect();
    let block = |spans: std::ops::Range<usize>| {
        let said: Vec<usize> = spans.clone().filter(|span| counted[*span] && vectors.has(*span)).collect();
        match said.is_empty() {
            true => f32::NAN,
            false => cosine(&vectors.mean_of(said.into_iter()), wanted),
        }
    };
    let blocks: Vec<f32> = doc.blocks.iter().map(|of| block(of.spans.clone())).collect();
    (own, doc.spans.iter().map(|span| blocks[span.block]).collect())
}

fn log_odds(doc: &Document<'_>, ranking: &Ranking, family: Family, counted: &[bool]) -> Vec<f32> {
    let weights = if family == Family::Crossed { &BUILT_IN.crossed } else { &BUILT_IN.same };
    let score: Vec<f32> = features(doc, ranking, counted).iter().map(|row| dot(row, weights)).collect();
    calibrated(&score, counted, prediction(family).calibration)
}

/// The features of all spans; those of spans that do not count mean nothing.
fn features(doc: &Document<'_>, ranking: &Ranking, counted: &[bool]) -> Vec<[f32; FEATURES]> {
    let only = |values: &[f32]| -> Vec<f32> {
        values.iter().zip(counted).map(|(value, counts)| if *counts { *value } else { f32::NAN }).collect()
    };
    let top =
        |values: &[f32]| values.iter().copied().filter(|v| v.is_finite()).fold(f32::NEG_INFINITY, f32::max);
    let cosines = [only(&ranking.dense), only(&ranking.dense_block)];
    let scores = [&ranking.lexical, &ranking.lexical_block, &ranking.trigrams, &ranking.trigrams_block]
        .map(|v| only(v));
    let [own, block] = cosines.each_ref().map(|values| standardize(values));
    let z = scores.each_ref().map(|values| standardize(values));
    let below = cosines.each_ref().map(|values| {
        let (top, least) = (top(values), values.iter().copied().fold(f32::INFINITY, f32::min));
        let below = |value: &f32| COSINE * (if value.is_finite() { *value } else { least } - top);
        values.iter().map(below).map(|v| if v.is_finite() { v } else { 0.0 }).collect::<Vec<f32>>()
    });
    let share = scores.each_ref().map(|values| {
        let top = top(values) + 1e-6;
        values.iter().map(|v| if v.is_finite() { v / top } else { 0.0 }).collect::<Vec<f32>>()
    });
    let ranks = ranks(doc, &block, counted);
    // Neighbours in the same block.
    let beside = |span: usize, other: Option<usize>| {
        let near = other
            .filter(|at| counted.get(*at) == Some(&true) && doc.spans[*at].block == doc.spans[span].block);
        near.map_or(own[span], |at| own[at])
    };
    (0..doc.spans.len())
        .map(|i| {
            let rank = ranks[doc.spans[i].block] as f32;
            [
                own[i],
                block[i],
                below[0][i],
                below[1][i],
                z[0][i],
                z[1][i],
                z[2][i],
                z[3][i],
                share[0][i],
                share[1][i],
                share[2][i],
                share[3][i],
                beside(i, i.checked_sub(1)),
                beside(i, i.checked_add(1)),
                (doc.spans[i].tokens as f32).ln_1p(),
                f32::from(u8::from(opens_passage(doc, i))),
                f32::from(u8::from(rank < 0.5)),
                f32::from(u8::from(rank < 1.5)),
                (1.0 + rank).ln(),
            ]
        })
        .collect()
}

/// Of each block, how many are nearer to the query.
fn ranks(doc: &Document<'_>, block: &[f32], counted: &[bool]) -> Vec<usize> {
    let score = |at: usize| {
        let mut spans = doc.blocks[at].spans.clone();
        spans.find(|span| counted[*span]).map_or(f32::NEG_INFINITY, |span| block[span])
    };
    let mut order: Vec<(usize, f32)> = (0..doc.blocks.len()).map(|at| (at, score(at))).collect();
    order.sort_by(|(a, score), (b, other)| other.total_cmp(score).then(a.cmp(b)));
    let mut ranks = vec![0; order.len()];
    for (rank, (at, _)) in order.into_iter().enumerate() {
        ranks[at] = rank;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use epitome_text::{SegmentSize, tokens};

    use super::*;

    fn languages(text: &str, query: &str) -> Option<Family> {
        let counter = tokens::tiktoken("gpt-4").expect("known");
        let doc = Document::new(text, counter.as_ref(), SegmentSize { min: 100, max: 200 });
        Languages::of(&doc, query).map(|languages| languages.family)
    }

    const ENGLISH: &str = "The ferry leaves the harbour at seven and comes back in the evening.\n\nIn winter it does not \
                           run, because of the ice on the river and the fog that lies over it.";
    const GERMAN: &str = "Die Fähre legt um sieben Uhr ab und kommt am Abend zurück in den Hafen.\n\nIm Winter fährt sie \
                          nicht, weil auf dem Fluss Eis liegt und der Nebel zu dicht ist.";
    const THAI: &str = "เรือข้ามฟากออกจากท่าเวลาเจ็ดโมงเช้าและกลับมาในตอนเย็น";

    #[test]
    fn only_another_language_is_read_otherwise() {
        assert_eq!(languages(ENGLISH, "When does the ferry leave?"), None);
        assert_eq!(languages(ENGLISH, "ferry Charles de la Tour"), None);
        assert_eq!(languages(ENGLISH, "Who wrote 'À la recherche du temps perdu'?"), None);
        assert_eq!(languages(ENGLISH, "Is door A or door B open?"), None);
        assert_eq!(languages("a1 b2 c3", "x"), None);
        assert_eq!(languages(ENGLISH, "Wann legt die Fähre ab und wer fährt sie?"), Some(Family::Crossed));
        assert_eq!(languages(GERMAN, "When does the ferry leave?"), Some(Family::Crossed));
        assert_eq!(languages(GERMAN, "Wann legt die Fähre ab?"), Some(Family::Spaced));
        // Nothing tells in which language this is asked.
        assert_eq!(languages(GERMAN, "Fähre Abfahrt"), Some(Family::Spaced));
        assert_eq!(languages(THAI, "เรือออกกี่โมง"), Some(Family::Unspaced));
        assert_eq!(languages(THAI, "When does the ferry leave?"), Some(Family::Crossed));
        let mixed = [ENGLISH, GERMAN, THAI].join("\n\n");
        assert_eq!(languages(&mixed, "When does the ferry leave?"), Some(Family::Crossed));
    }

    #[test]
    fn the_weights_are_whole() {
        assert_eq!((BUILT_IN.same.len(), BUILT_IN.crossed.len()), (FEATURES, FEATURES));
        for family in [Family::Spaced, Family::Unspaced, Family::Crossed] {
            let Prediction { calibration, retention } = prediction(family);
            assert!(calibration[0] > 0.0);
            assert!(retention.windows(2).all(|w| w[0][0] <= w[1][0] && w[0][1] <= w[1][1]), "{family:?}");
        }
    }
}
