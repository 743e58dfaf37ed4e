//! The last stage of the cascade: a cross-encoder reads the query and a window of the text together
//! and gives the log-odds that each sentence of it is needed (the scheme of Provence, Chirkova et
//! al., arXiv 2501.16214). Only the windows that the cheap stages find promising are read.

use std::{
    borrow::Cow,
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
};

use epitome_engine::{CrossEncoder, Kind, Passage, Turn};
use epitome_text::{Content, Document};
use epitome_work::workers;

use super::{RankError, Tools, dense::Lookups};
use crate::cache::{Key, KeyParts, Source};

/// Tokens of the text that a window begins with; what the encoder's own tokenizer makes of them
/// decides whether it is cut again.
const WINDOW: usize = 160;
/// A window this large ends with its block.
const FULL_ENOUGH: usize = 80;
/// A labelled block this large has windows of its own.
const PASSAGE: usize = 24;
/// Bytes of a single span that are read; the rest of a huge unit does not count.
const SPAN_BYTES: usize = 1200;
/// Windows that are read, and cached, as one piece of work.
const BATCH: usize = 4;
/// The same for a GPU, and how many of them wait for it at once: its passes take many.
const GPU_BATCH: usize = 32;
const GPU_AT_ONCE: usize = 32;

/// Log-odds of every span; not a number where a span was not read.
#[derive(Clone, Debug, Default)]
pub(crate) struct CrossScores {
    /// That the span is needed.
    pub span: Vec<f32>,
    /// That its window answers the query.
    pub window: Vec<f32>,
    /// What the cache gave.
    pub lookups: Lookups,
}

/// Reads the most promising windows, by the best of `cheap` in each, up to `limit` tokens.
pub(crate) fn score(
    doc: &Document<'_>,
    query: &str,
    cheap: &[f32],
    limit: usize,
    encoder: &CrossEncoder,
    tools: Tools<'_>,
) -> Result<CrossScores, RankError> {
    let Tools { models, cache, cancel, .. } = tools;
    let windows = promising(doc, windows(doc), cheap, limit);
    let tokens = |windows: &[Range<usize>]| {
        windows.iter().cloned().flatten().map(|span| doc.spans[span].tokens).sum::<usize>()
    };
    let admitted = models.admit(Kind::Rank, tokens(&windows))?;
    let query_ids = encoder.tokenize(&[query])?.pop().unwrap_or_default();
    let model = encoder.key();
    let batches: Vec<&[Range<usize>]> =
        windows.chunks(if encoder.on_gpu() { GPU_BATCH } else { BATCH }).collect();
    let found = AtomicUsize::new(0);
    let work = |index: usize| {
        let batch = batches[index];
        let key = key(doc, batch, query, &model);
        let (bytes, source) = cache.get_or_compute(&key, || {
            admitted.turn(tokens(batch), cancel, |turn| read(doc, batch, &query_ids, encoder, turn))
        })?;
        found.fetch_add(usize::from(source != Source::Computed), Ordering::Relaxed);
        Ok::<_, RankError>(bytes)
    };
    let parts = match encoder.on_gpu() {
        true => workers::with(GPU_AT_ONCE, batches.len(), cancel, work)?,
        false => workers::each(batches.len(), cancel, work)?,
    };
    let unread = vec![f32::NAN; doc.spans.len()];
    let mut scores = CrossScores { span: unread.clone(), window: unread, lookups: Lookups::default() };
    for (batch, bytes) in batches.iter().zip(parts) {
        let mut values =
            bytes.chunks_exact(4).filter_map(|b| b.first_chunk::<4>().map(|b| f32::from_le_bytes(*b)));
        for span in batch.iter().cloned().flatten() {
            let (Some(own), Some(window)) = (values.next(), values.next()) else {
                return Err(RankError::Vectors);
            };
            (scores.span[span], scores.window[span]) = (own, window);
        }
    }
    scores.lookups = Lookups { asked: batches.len(), found: found.into_inner() };
    Ok(scores)
}

/// The bytes of the windows, what is read besides, and where spans end.
fn key(doc: &Document<'_>, batch: &[Range<usize>], query: &str, model: &str) -> Key {
    let mut segment = Vec::new();
    let mut params = (query.len() as u64).to_le_bytes().to_vec();
    params.extend_from_slice(query.as_bytes());
    for window in batch {
        let title = title(doc, window);
        params.extend_from_slice(&(title.len() as u64).to_le_bytes());
        params.extend_from_slice(title.as_bytes());
        params.extend_from_slice(&(window.len() as u64).to_le_bytes());
        for span in window.clone() {
            let text = doc.reading(span);
            let text = cut(&text);
            params.extend_from_slice(&(text.len() as u64).to_le_bytes());
            params.push(u8::from(scored(doc, span)));
            segment.extend_from_slice(text.as_bytes());
        }
    }
    Key::from(&KeyParts { stage: "cross-2", segment: &segment, model, template: "", params: &params })
}

/// Two values a span: its own log-odds and its window's.
fn read(
    doc: &Document<'_>,
    batch: &[Range<usize>],
    query: &[u32],
    encoder: &CrossEncoder,
    turn: &Turn,
) -> Result<Vec<u8>, RankError> {
    let texts: Vec<Cow<'_, str>> = batch.iter().cloned().flatten().map(|span| doc.reading(span)).collect();
    let spans = batch.iter().cloned().flatten();
    let texts: Vec<&str> =
        spans.zip(&texts).map(|(span, text)| if scored(doc, span) { cut(text) } else { "" }).collect();
    let ids = encoder.tokenize(&texts)?;
    let titles: Vec<String> = batch.iter().map(|window| title(doc, window)).collect();
    let titles = encoder.tokenize(&titles.iter().map(String::as_str).collect::<Vec<_>>())?;
    let mut passages: Vec<Passage<'_>> = Vec::new();
    let mut at = 0;
    for (window, title) in batch.iter().zip(&titles) {
        let room = encoder.room(query, title);
        let mut passage = Passage { title, parts: Vec::new() };
        let mut size = 0;
        for ids in &ids[at..at + window.len()] {
            if size > 0 && size + ids.len() > room {
                passages.push(std::mem::replace(&mut passage, Passage { title, parts: Vec::new() }));
                size = 0;
            }
            size += ids.len();
            passage.parts.push(ids);
        }
        passages.push(passage);
        at += window.len();
    }
    let mut bytes = Vec::with_capacity(8 * at);
    for relevance in encoder.score_in(query, &passages, turn)? {
        for own in relevance.parts {
            bytes.extend_from_slice(&own.to_le_bytes());
            bytes.extend_from_slice(&relevance.passage.to_le_bytes());
        }
    }
    Ok(bytes)
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(SPAN_BYTES)]
}

/// Labels and headings are read as the window's title.
fn scored(doc: &Document<'_>, span: usize) -> bool {
    let block = &doc.blocks[doc.spans[span].block];
    !(block.labelled && block.spans.start == span && block.content != Content::Table)
}

/// What a window is read under: the heading above it, and the label of its passage.
fn title(doc: &Document<'_>, window: &Range<usize>) -> String {
    let index = doc.spans[window.start].block;
    let block = &doc.blocks[index];
    let heading = block.heading.map(|h| doc.headings[h].span).filter(|span| !window.contains(span));
    let first = block.spans.start;
    let label =
        (block.labelled && (!window.contains(&first) || !scored(doc, first))).then_some(block.spans.start);
    let texts = heading.into_iter().chain(label).map(|span| cut(&doc.plain(span)).to_owned());
    texts.collect::<Vec<_>>().join(" ")
}

/// Groups spans into windows: whole spans, a new one with a block where the last is full enough or
/// the block is a passage of its own.
fn windows(doc: &Document<'_>) -> Vec<Range<usize>> {
    let mut windows = Vec::new();
    let (mut start, mut size) = (0, 0);
    for (span, this) in doc.spans.iter().enumerate() {
        let new_block = span > start && doc.spans[span - 1].block != this.block;
        let block = &doc.blocks[this.block];
        let passage = block.labelled && block.tokens >= PASSAGE;
        let heading = block.content == Content::Heading;
        let after_passage = new_block && {
            let before = &doc.blocks[doc.spans[span - 1].block];
            before.labelled && before.tokens >= PASSAGE
        };
        let ends = new_block && (size >= FULL_ENOUGH || passage || heading || after_passage);
        if size > 0 && (size + this.tokens > WINDOW || ends) {
            windows.push(start..span);
            (start, size) = (span, 0);
        }
        size += this.tokens;
    }
    if start < doc.spans.len() {
        windows.push(start..doc.spans.len());
    }
    windows
}

/// The windows with the highest scores of a span, as many as fit `limit` tokens, in order.
fn promising(
    doc: &Document<'_>,
    windows: Vec<Range<usize>>,
    cheap: &[f32],
    limit: usize,
) -> Vec<Range<usize>> {
    if doc.tokens.total() <= limit {
        return windows;
    }
    let mut order: Vec<(f32, Range<usize>)> = windows
        .into_iter()
        .map(|window| (cheap[window.clone()].iter().copied().fold(f32::NEG_INFINITY, f32::max), window))
        .collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.start.cmp(&b.1.start)));
    let mut left = limit;
    // Of a long span only the beginning is read, and only that counts.
    let read = |span: &epitome_text::Span| span.tokens.min(SPAN_BYTES / 4);
    let mut chosen: Vec<Range<usize>> = order
        .into_iter()
        .map(|(_, window)| window)
        .filter(|window| {
            let size: usize = doc.spans[window.clone()].iter().map(read).sum();
            let fits = size <= left;
            left -= if fits { size } else { 0 };
            fits
        })
        .collect();
    chosen.sort_by_key(|window| window.start);
    chosen
}
