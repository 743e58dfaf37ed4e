//! Sentence and paragraph vectors in one pass of the encoder: a window of whole sentences is read
//! together and each sentence is the mean of its own token vectors, so that it knows its
//! neighbours and its heading (late chunking, Günther et al., arXiv 2409.04701).
//!
//! Vectors are kept as 8-bit integers, cold and cached alike, so that a run from the cache gives
//! the same bytes as the run that filled it.

use std::{
    borrow::Cow,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use epitome_engine::{Admitted, Encoder, Kind, Models, Turn, Window};
use epitome_text::{Content, Document};
use epitome_work::{Cancel, workers};

use super::{RankError, Tools};
use crate::{
    cache::{Cache, Key, KeyParts, Source},
    remote::Embeddings,
};

/// Most tokens of a window without its context and special tokens.
const WINDOW: usize = 192;
/// A window this large ends with its block.
const FULL_ENOUGH: usize = 64;
/// A labelled block this large has windows of its own.
const PASSAGE: usize = 24;
/// Most tokens of the heading that a window is read under.
const CONTEXT: usize = 32;
/// Segments that a server is asked about at once.
const AT_ONCE: usize = 32;
/// Bytes of a single span that are read; the rest of a huge unit does not count.
const SPAN_BYTES: usize = 1500;

/// One unit vector a span, and its weight in tokens of the encoder.
#[derive(Clone, Debug, Default)]
pub struct SpanVectors {
    dim: usize,
    /// `spans x dim`, each row of length 1, or 0 where nothing was encoded.
    data: Vec<f32>,
    weights: Vec<f32>,
}

impl SpanVectors {
    /// From the sums of the vectors of each span's tokens, which weigh as much as they are long.
    pub(super) fn from_sums(dim: usize, mut data: Vec<f32>) -> Self {
        let weights = data
            .chunks_exact_mut(dim.max(1))
            .map(|row| {
                let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
                normalize(row);
                length
            })
            .collect();
        Self { dim, data, weights }
    }

    /// The vector of a span; empty where there is none.
    pub fn span(&self, span: usize) -> &[f32] {
        self.data.get(span * self.dim..(span + 1) * self.dim).unwrap_or_default()
    }

    /// Whether a vector is as long as these; anything fits where there are none.
    pub(super) fn fits(&self, vector: &[f32]) -> bool {
        self.dim == 0 || vector.is_empty() || self.dim == vector.len()
    }

    /// The unit vector of a run of spans: their mean by tokens.
    pub fn mean(&self, spans: Range<usize>) -> Vec<f32> {
        self.mean_of(spans)
    }

    /// The same of any spans.
    pub(super) fn mean_of(&self, spans: impl Iterator<Item = usize>) -> Vec<f32> {
        let mut mean = vec![0.0; self.dim];
        for span in spans {
            let weight = self.weights.get(span).copied().unwrap_or(0.0);
            for (slot, value) in mean.iter_mut().zip(self.span(span)) {
                *slot += weight * value;
            }
        }
        normalize(&mut mean);
        mean
    }
}

/// Cosine of the embeddings of the beginnings of two texts, at least 0.
pub(crate) fn similarity(models: &Models, one: &str, other: &str) -> Result<f64, RankError> {
    let encoder = models.embedder()?;
    let ids = encoder.tokenize(&[cut(one), cut(other)])?;
    let ids = ids.iter().map(|ids| ids.get(..WINDOW).unwrap_or(ids));
    let windows: Vec<Window<'_>> = ids.map(|ids| Window { context: &[], parts: vec![ids] }).collect();
    let pooled = encoder.encode(&windows)?;
    let sums: Vec<&[f32]> = pooled.iter().flatten().map(|part| part.sum.as_slice()).collect();
    let [one, other] = sums.as_slice() else { return Ok(0.0) };
    let dot = |a: &[f32], b: &[f32]| f64::from(cosine(a, b));
    let length = (dot(one, one) * dot(other, other)).sqrt();
    Ok(if length > 0.0 { (dot(one, other) / length).clamp(0.0, 1.0) } else { 0.0 })
}

/// Cosine of two unit vectors; 0 where either is missing.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

pub(super) fn normalize(vector: &mut [f32]) {
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if norm > 0.0 {
        vector.iter_mut().for_each(|x| *x /= norm);
    }
}

/// What encoding a document took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// Segments asked of the cache.
    pub asked: usize,
    /// Segments found there.
    pub found: usize,
}

/// An embedder of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// The configured one.
    Configured,
    /// The built-in one for many languages.
    Multilingual,
}

/// Who embeds, and with what.
#[derive(Clone, Copy)]
pub struct Embedding<'a> {
    /// The local embedders.
    pub models: &'a Models,
    /// Which of them.
    pub local: Local,
    /// The server that does it in its place.
    pub server: Option<&'a Embeddings>,
    /// Cache of vectors.
    pub cache: &'a Cache,
    /// Checked between the parts of the work.
    pub cancel: &'a Cancel,
}

impl<'a> From<Tools<'a>> for Embedding<'a> {
    fn from(tools: Tools<'a>) -> Self {
        let Tools { models, embedder, cache, cancel, .. } = tools;
        Self { models, local: Local::Configured, server: embedder, cache, cancel }
    }
}

impl<'a> Embedding<'a> {
    /// By the configured embedder.
    pub fn configured(models: &'a Models, cache: &'a Cache, cancel: &'a Cancel) -> Self {
        Self { models, local: Local::Configured, server: None, cache, cancel }
    }

    /// By the built-in encoder for many languages.
    pub(super) fn multilingual(Tools { models, cache, cancel, .. }: Tools<'a>) -> Self {
        Self { models, local: Local::Multilingual, server: None, cache, cancel }
    }

    fn encoder(&self) -> Result<Arc<Encoder>, RankError> {
        Ok(match self.local {
            Local::Configured => self.models.embedder()?,
            Local::Multilingual => self.models.multilingual()?,
        })
    }

    /// Whether several callers at once make its passes larger.
    fn is_batched(&self) -> bool {
        self.local == Local::Configured && self.models.batches_across_callers()
    }

    /// All that vectors depend on besides the text.
    fn key(&self) -> Result<String, RankError> {
        match (self.server, self.local) {
            (Some(server), _) => Ok(format!("server {}", server.identity())),
            (None, Local::Configured) => Ok(self.models.embedder_key()?),
            (None, Local::Multilingual) => Ok(self.models.multilingual_key()?),
        }
    }
}

/// Vectors of the spans of `doc` in the segments that `wanted` names, from the cache where they are
/// there. All other spans have none.
pub fn embed(
    doc: &Document<'_>,
    wanted: &[usize],
    by: Embedding<'_>,
) -> Result<(SpanVectors, Lookups), RankError> {
    let (model, cancel) = (by.key()?, by.cancel);
    let tokens = |index: usize| doc.segments.get(index).map_or(0, |segment| segment.tokens);
    // The local encoders' schedule has no say in a server's work.
    let admitted = match by.server {
        Some(_) => None,
        None => {
            let tokens = wanted.iter().map(|index| tokens(*index)).sum();
            Some(match by.local {
                Local::Configured => by.models.admit(Kind::Embed, tokens)?,
                Local::Multilingual => by.models.admit_on_cpu(Kind::Embed, tokens)?,
            })
        }
    };
    let found = AtomicUsize::new(0);
    let work = |index: usize| {
        let (bytes, source) = segment_bytes(doc, wanted[index], &model, by, admitted.as_ref())?;
        found.fetch_add(usize::from(source != Source::Computed), Ordering::Relaxed);
        Ok::<_, RankError>(bytes)
    };
    let parts = match by.server {
        // The bound on calls is the client's; passes of a GPU take many.
        None if by.is_batched() => workers::with(AT_ONCE, wanted.len(), cancel, work)?,
        Some(_) => workers::with(AT_ONCE, wanted.len(), cancel, work)?,
        None => workers::each(wanted.len(), cancel, work)?,
    };
    let mut encoded: Vec<Option<Arc<[u8]>>> = vec![None; doc.segments.len()];
    for (bytes, segment) in parts.into_iter().zip(wanted) {
        encoded[*segment] = Some(bytes);
    }
    cancel.check()?;
    // A header tells the dimensions, which rows without a vector need too; 0 where nothing was encoded.
    let dim = encoded.iter().flatten().filter_map(|bytes| dim_of(bytes)).find(|dim| *dim > 0).unwrap_or(0);
    let mut vectors = SpanVectors { dim, ..SpanVectors::default() };
    for (segment, bytes) in doc.segments.iter().zip(encoded) {
        match bytes {
            Some(bytes) => vectors.append(&bytes)?,
            None => vectors.skip(segment.spans.len()),
        }
        if vectors.weights.len() != segment.spans.end {
            return Err(RankError::Vectors);
        }
    }
    let lookups = Lookups { asked: wanted.len(), found: found.into_inner() };
    Ok((vectors, lookups))
}

/// The unit vector of a query.
pub fn embed_query(query: &str, by: Embedding<'_>) -> Result<Vec<f32>, RankError> {
    let model = by.key()?;
    let parts = KeyParts {
        stage: "query-vector-2",
        segment: query.as_bytes(),
        model: &model,
        template: "",
        params: &[1],
    };
    let (bytes, _) = by.cache.get_or_compute(&Key::from(&parts), || {
        if let Some(server) = by.server {
            return embed_texts(&[(cut(query), 1)], server, by.cancel);
        }
        let encoder = by.encoder()?;
        let mut packed = header(encoder.dim());
        for ids in encoder.tokenize(&[cut(query)])? {
            let pooled = encoder.encode_query(&ids)?;
            pack(&pooled.sum, pooled.tokens, &mut packed);
        }
        Ok::<_, RankError>(packed)
    })?;
    let mut vectors = SpanVectors::default();
    vectors.append(&bytes)?;
    Ok(vectors.data)
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(SPAN_BYTES)]
}

/// The heading that a block is read under, as text.
fn heading<'a>(doc: &Document<'a>, block: usize) -> Cow<'a, str> {
    let heading = doc.blocks[block].heading;
    heading.map_or(Cow::Borrowed(""), |heading| doc.plain(doc.headings[heading].span))
}

fn segment_bytes(
    doc: &Document<'_>,
    index: usize,
    model: &str,
    by: Embedding<'_>,
    admitted: Option<&Admitted<'_>>,
) -> Result<(Arc<[u8]>, Source), RankError> {
    let segment = &doc.segments[index];
    let first_block = doc.spans[segment.spans.start].block;
    // The segment's bytes, and what the windows take from outside of it or from its structure.
    let mut params = vec![2_u8];
    // Line numbers are not read.
    params.extend(doc.kind.is_lined().then_some(1));
    params.extend_from_slice(heading(doc, first_block).as_bytes());
    params.push(0);
    for span in &doc.spans[segment.spans.clone()] {
        let end = (span.range.end - segment.range.start) as u32;
        params.extend_from_slice(&end.to_le_bytes());
        params.extend_from_slice(&((span.block - first_block) as u32).to_le_bytes());
        params.push(span.content as u8);
    }
    let key = Key::from(&KeyParts {
        stage: "span-vectors-2",
        segment: doc.text[segment.range.clone()].as_bytes(),
        model,
        template: "",
        params: &params,
    });
    by.cache.get_or_compute(&key, || {
        if let Some(server) = by.server {
            let spans = segment.spans.clone();
            let texts: Vec<(Cow<'_, str>, usize)> =
                spans.map(|span| (doc.plain(span), doc.spans[span].tokens)).collect();
            let texts: Vec<(&str, usize)> = texts.iter().map(|(text, tokens)| (cut(text), *tokens)).collect();
            return embed_texts(&texts, server, by.cancel);
        }
        let encoder = by.encoder()?;
        let encode = |turn: &Turn| encode_segment(doc, segment.spans.clone(), &encoder, turn);
        match admitted {
            Some(admitted) => admitted.turn(segment.tokens, by.cancel, encode),
            None => encode(&Turn::now()),
        }
    })
}

/// A vector a text by a server, each text by itself; none for what is only space. Texts come with their
/// tokens.
fn embed_texts(texts: &[(&str, usize)], server: &Embeddings, cancel: &Cancel) -> Result<Vec<u8>, RankError> {
    let said: Vec<&str> = texts.iter().map(|(text, _)| text.trim()).filter(|text| !text.is_empty()).collect();
    let mut vectors = server.embed(&said, cancel)?.into_iter();
    let dim = vectors.as_slice().first().map_or(0, Vec::len);
    let mut packed = header(dim);
    for (text, tokens) in texts {
        match text.trim().is_empty() {
            true => pack(&vec![0.0; dim], 0, &mut packed),
            false => pack(&vectors.next().ok_or(RankError::Vectors)?, *tokens as u32, &mut packed),
        }
    }
    Ok(packed)
}

fn encode_segment(
    doc: &Document<'_>,
    spans: Range<usize>,
    encoder: &Encoder,
    turn: &Turn,
) -> Result<Vec<u8>, RankError> {
    let texts: Vec<Cow<'_, str>> = spans.clone().map(|span| doc.plain(span)).collect();
    let texts: Vec<&str> = texts.iter().map(|text| cut(text)).collect();
    let ids = encoder.tokenize(&texts)?;
    let windows = windows(doc, spans.clone(), &ids);
    let contexts: Vec<Cow<'_, str>> = windows
        .iter()
        .map(|window| {
            let block = doc.spans[window.start].block;
            let inside = doc.blocks[block].heading.is_some_and(|h| window.contains(&doc.headings[h].span));
            if inside { Cow::Borrowed("") } else { heading(doc, block) }
        })
        .collect();
    let contexts: Vec<&str> = contexts.iter().map(|context| cut(context)).collect();
    let context_ids = encoder.tokenize(&contexts)?;
    let inputs: Vec<Window<'_>> = windows
        .iter()
        .zip(&context_ids)
        .map(|(window, context)| Window {
            context: &context[..context.len().min(CONTEXT)],
            parts: window
                .clone()
                .map(|span| {
                    let ids = &ids[span - spans.start];
                    &ids[..ids.len().min(WINDOW)]
                })
                .collect(),
        })
        .collect();
    let pooled = encoder.encode_in(&inputs, turn)?;
    let mut packed = header(encoder.dim());
    for part in pooled.iter().flatten() {
        pack(&part.sum, part.tokens, &mut packed);
    }
    Ok(packed)
}

/// Groups spans into windows: whole spans, at most [`WINDOW`] tokens, a new one with a block where
/// the last is full enough or the block is a passage of its own.
fn windows(doc: &Document<'_>, spans: Range<usize>, ids: &[Vec<u32>]) -> Vec<Range<usize>> {
    let mut windows = Vec::new();
    let (mut start, mut size) = (spans.start, 0);
    for span in spans.clone() {
        let tokens = ids[span - spans.start].len().min(WINDOW);
        let block = doc.spans[span].block;
        let new_block = span > start && doc.spans[span - 1].block != block;
        // A labelled block of some length is a passage; a turn of a few words is read with its
        // neighbours.
        let here = doc.blocks[block].spans.clone().filter(|s| spans.contains(s));
        let length: usize = if new_block { here.map(|s| ids[s - spans.start].len()).sum() } else { 0 };
        let passage = doc.blocks[block].labelled && length >= PASSAGE;
        let heading = doc.blocks[block].content == Content::Heading;
        if size > 0 && (size + tokens > WINDOW || new_block && (size >= FULL_ENOUGH || passage || heading)) {
            windows.push(start..span);
            (start, size) = (span, 0);
        }
        size += tokens;
    }
    if start < spans.end {
        windows.push(start..spans.end);
    }
    windows
}

fn header(dim: usize) -> Vec<u8> {
    (dim as u32).to_le_bytes().to_vec()
}

/// Appends a vector as its token count, and 8-bit parts of its largest component.
fn pack(sum: &[f32], tokens: u32, packed: &mut Vec<u8>) {
    packed.extend_from_slice(&tokens.to_le_bytes());
    let largest = sum.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
    let scale = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    packed.extend(sum.iter().map(|x| ((x * scale).round() as i8) as u8));
}

fn dim_of(packed: &[u8]) -> Option<usize> {
    packed.first_chunk::<4>().map(|dim| u32::from_le_bytes(*dim) as usize)
}

impl SpanVectors {
    /// Adds rows without a vector.
    fn skip(&mut self, rows: usize) {
        self.data.resize(self.data.len() + rows * self.dim, 0.0);
        self.weights.resize(self.weights.len() + rows, 0.0);
    }

    /// Whether a span was encoded.
    pub fn has(&self, span: usize) -> bool {
        self.weights.get(span).is_some_and(|weight| *weight > 0.0)
    }

    fn append(&mut self, packed: &[u8]) -> Result<(), RankError> {
        let dim = dim_of(packed).ok_or(RankError::Vectors)?;
        let rows = packed.get(4..).unwrap_or_default();
        if dim == 0 {
            self.skip(rows.len() / 4);
            return Ok(());
        }
        if self.dim != 0 && self.dim != dim {
            return Err(RankError::Vectors);
        }
        self.dim = dim;
        let mut rows = rows.chunks_exact(4 + self.dim);
        for row in &mut rows {
            let (tokens, components) = row.split_first_chunk::<4>().ok_or(RankError::Vectors)?;
            let mut vector: Vec<f32> = components.iter().map(|b| f32::from(*b as i8)).collect();
            normalize(&mut vector);
            self.data.extend(vector);
            self.weights.push(u32::from_le_bytes(*tokens) as f32);
        }
        if rows.remainder().is_empty() { Ok(()) } else { Err(RankError::Vectors) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_vectors_come_back() -> Result<(), RankError> {
        let mut packed = header(3);
        pack(&[3.0, 0.0, -4.0], 2, &mut packed);
        pack(&[0.0, 0.0, 0.0], 0, &mut packed);
        let mut vectors = SpanVectors::default();
        vectors.append(&packed)?;
        assert!((vectors.span(0)[0] - 0.6).abs() < 0.01 && (vectors.span(0)[2] + 0.8).abs() < 0.01);
        assert_eq!(vectors.span(1), [0.0; 3]);
        assert!(matches!(vectors.append(&packed[..packed.len() - 1]), Err(RankError::Vectors)));
        let mut vectors = SpanVectors { dim: 3, ..SpanVectors::default() };
        let mut blank = header(0);
        pack(&[], 0, &mut blank);
        pack(&[], 0, &mut blank);
        vectors.append(&blank)?;
        vectors.append(&packed)?;
        assert_eq!((vectors.weights.len(), vectors.has(0), vectors.has(2)), (4, false, true));
        assert_eq!(vectors.span(0), [0.0; 3]);
        Ok(())
    }
}
