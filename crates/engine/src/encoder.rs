//! Text embeddings.

use std::{fs, path::Path};

use tokenizers::Tokenizer;

use super::{
    Located, ModelError, ModelId, Turn,
    bert::{Bert, BertConfig, Sequence},
    error::at,
    unigram::Unigram,
};
use crate::config::Precision;

/// Rows that go through the layers together: enough for the matrix kernels, few enough for the CPU cache.
const GROUP_ROWS: usize = 512;
/// The same, on a GPU.
const GPU_GROUP_ROWS: usize = 32_768;

/// Divisor of a window's length: the maximum share that the context may use.
const CONTEXT_SHARE: usize = 4;

/// Ids that go through the encoder in one pass: read together, pooled separately.
#[derive(Clone, Debug, Default)]
pub struct Window<'a> {
    /// Read before the parts but not pooled (a heading, for example). At most a quarter of the model's
    /// maximum length is read.
    pub context: &'a [u32],
    /// Pooled one by one.
    pub parts: Vec<&'a [u32]>,
}

/// The sum of the token vectors of one part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pooled {
    /// Sum of the last layer's token vectors.
    pub sum: Vec<f32>,
    /// Number of vectors summed; 0 if the part lies beyond the model's maximum length.
    pub tokens: u32,
}

/// A BERT-type text encoder.
///
/// With 8-bit weights, the cosine similarity of a sentence vector to the 32-bit one is above 0.995.
#[derive(Debug)]
pub struct Encoder {
    id: ModelId,
    vocabulary: Vocabulary,
    bert: Bert,
    first: u32,
    last: u32,
    /// What the model wants before a query, and before a passage.
    query: Vec<u32>,
    passage: Vec<u32>,
    max_tokens: usize,
}

/// How a text becomes tokens.
#[derive(Debug)]
enum Vocabulary {
    File(Box<Tokenizer>),
    BuiltIn(Unigram),
}

impl Encoder {
    pub(crate) fn load(files: &Located, precision: Precision) -> Result<Self, ModelError> {
        let config_path = files.path("config.json")?;
        let config = fs::read(config_path).map_err(at(config_path))?;
        let config: BertConfig =
            serde_json::from_slice(&config).map_err(|error| ModelError::invalid(config_path, error))?;
        let tokenizer_path = files.path("tokenizer.json")?;
        let tokenizer = read_tokenizer(tokenizer_path)?;
        let special = |token: &str| {
            tokenizer
                .token_to_id(token)
                .ok_or_else(|| ModelError::invalid(tokenizer_path, format!("has no token {token}")))
        };
        let (first, last) = (special("[CLS]")?, special("[SEP]")?);
        let max_tokens = config.max_position_embeddings;
        if max_tokens < 3 {
            return Err(ModelError::invalid(config_path, "max_position_embeddings is below 3"));
        }
        let weights = files.path("model.safetensors")?;
        let bert =
            Bert::load(weights, config, precision).map_err(|error| ModelError::invalid(weights, error))?;
        let (vocabulary, id) = (Vocabulary::File(Box::new(tokenizer)), files.id()?);
        let (query, passage) = (Vec::new(), Vec::new());
        Ok(Self { id, vocabulary, bert, first, last, query, passage, max_tokens })
    }

    /// One that marks what is a query and what a passage.
    pub(crate) fn marking(
        id: ModelId,
        vocabulary: Unigram,
        bert: Bert,
        (first, last): (u32, u32),
        (query, passage): (&str, &str),
        max_tokens: usize,
    ) -> Self {
        let (query, passage) = (vocabulary.ids(query), vocabulary.ids(passage));
        Self {
            id,
            vocabulary: Vocabulary::BuiltIn(vocabulary),
            bert,
            first,
            last,
            query,
            passage,
            max_tokens,
        }
    }

    /// The model's identity.
    pub fn id(&self) -> &ModelId {
        &self.id
    }

    /// Size of the matrices and embedding tables in bytes, as stored; biases and norms are negligible.
    pub fn weight_bytes(&self) -> usize {
        let words = match &self.vocabulary {
            Vocabulary::File(_) => 0,
            Vocabulary::BuiltIn(vocabulary) => vocabulary.bytes(),
        };
        self.bert.bytes() + words
    }

    /// Dimensions of a vector.
    pub fn dim(&self) -> usize {
        self.bert.dim()
    }

    /// Whether it runs on a GPU, which needs many windows at once to be efficient.
    pub fn on_gpu(&self) -> bool {
        self.bert.on_gpu()
    }

    /// Maximum number of tokens per window, including special tokens.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Token ids without special tokens, never truncated.
    ///
    /// # Errors
    ///
    /// [`ModelError::Tokenize`].
    pub fn tokenize(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>, ModelError> {
        match &self.vocabulary {
            Vocabulary::File(tokenizer) => token_ids(tokenizer, &self.id.name, texts),
            Vocabulary::BuiltIn(vocabulary) => Ok(texts
                .iter()
                .map(|text| if text.trim().is_empty() { Vec::new() } else { vocabulary.ids(text) })
                .collect()),
        }
    }

    /// Encodes a query, which some models tell from a passage.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn encode_query(&self, ids: &[u32]) -> Result<Pooled, ModelError> {
        let input = self.input(&Window { context: &[], parts: vec![ids] }, &self.query);
        let mut results = Vec::with_capacity(1);
        self.encode_group(vec![input], &Turn::now(), &mut results)?;
        Ok(results.into_iter().flatten().next().unwrap_or_default())
    }

    /// Encodes windows; the outer result is by window, the inner by part. A window's result depends only on
    /// that window, not on the rest of the call or the number of threads. `[CLS]` is pooled into the first
    /// part and `[SEP]` into the last, so a window with one part gives the sentence embedding of
    /// sentence-transformers (before normalisation). The end of a window that is too long is ignored.
    ///
    /// # Errors
    ///
    /// [`ModelError::Forward`], for example for an id outside the vocabulary.
    pub fn encode(&self, windows: &[Window<'_>]) -> Result<Vec<Vec<Pooled>>, ModelError> {
        self.encode_in(windows, &Turn::now())
    }

    /// Like [`encode`](Self::encode), for a scheduled request.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn encode_in(&self, windows: &[Window<'_>], turn: &Turn) -> Result<Vec<Vec<Pooled>>, ModelError> {
        let mut results = Vec::with_capacity(windows.len());
        let most = if self.bert.on_gpu() { GPU_GROUP_ROWS } else { GROUP_ROWS };
        let mut group: Vec<Input> = Vec::new();
        let mut rows = 0;
        for window in windows {
            let input = self.input(window, &self.passage);
            if rows + input.ids.len() > most && !group.is_empty() {
                self.encode_group(std::mem::take(&mut group), turn, &mut results)?;
                rows = 0;
            }
            rows += input.ids.len();
            group.push(input);
        }
        self.encode_group(group, turn, &mut results)?;
        Ok(results)
    }

    /// The ids of a window, and the part each of them belongs to.
    fn input(&self, window: &Window<'_>, mark: &[u32]) -> Input {
        let mut input = Input { parts: window.parts.len(), ids: Vec::new(), owners: Vec::new() };
        if window.parts.is_empty() {
            return input;
        }
        let filled = |part: &&[u32]| !part.is_empty();
        let first = window.parts.iter().position(filled).unwrap_or(0);
        for id in [self.first].iter().chain(mark) {
            input.push(*id, Some(first));
        }
        for id in window.context.iter().take(self.max_tokens / CONTEXT_SHARE) {
            input.push(*id, None);
        }
        let mut last = first;
        'parts: for (index, part) in window.parts.iter().enumerate() {
            for id in *part {
                if input.ids.len() + 1 >= self.max_tokens {
                    break 'parts;
                }
                input.push(*id, Some(index));
                last = index;
            }
        }
        input.push(self.last, Some(last));
        input
    }

    fn encode_group(
        &self,
        group: Vec<Input>,
        turn: &Turn,
        results: &mut Vec<Vec<Pooled>>,
    ) -> Result<(), ModelError> {
        let dim = self.dim();
        let (ids, owners): (Vec<_>, Vec<_>) = group
            .into_iter()
            .map(|input| (Sequence { second: input.ids.len(), ids: input.ids }, (input.parts, input.owners)))
            .unzip();
        let vectors = self
            .bert
            .forward(&ids, turn)
            .map_err(|error| ModelError::forward(&self.id.name, "encoding a text", error))?;
        let mut vectors = vectors.chunks_exact(dim);
        for (parts, owners) in owners {
            let mut pooled = vec![Pooled { sum: vec![0.0; dim], tokens: 0 }; parts];
            // `owners` comes first: with the arguments swapped, `zip` would consume a vector of the next
            // window.
            for (owner, vector) in owners.into_iter().zip(vectors.by_ref()) {
                if let Some(part) = owner.and_then(|owner| pooled.get_mut(owner)) {
                    part.sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
                    part.tokens += 1;
                }
            }
            results.push(pooled);
        }
        Ok(())
    }
}

struct Input {
    parts: usize,
    ids: Vec<u32>,
    owners: Vec<Option<usize>>,
}

impl Input {
    fn push(&mut self, id: u32, owner: Option<usize>) {
        self.ids.push(id);
        self.owners.push(owner);
    }
}

/// Token ids without special tokens.
pub(crate) fn token_ids(
    tokenizer: &Tokenizer,
    model: &str,
    texts: &[&str],
) -> Result<Vec<Vec<u32>>, ModelError> {
    let encodings = tokenizer
        .encode_batch_fast(texts.to_vec(), false)
        .map_err(|error| ModelError::Tokenize { model: model.to_owned(), reason: error.to_string() })?;
    Ok(encodings.into_iter().map(|encoding| encoding.get_ids().to_vec()).collect())
}

/// Reads a tokenizer and disables the padding and truncation of its file, because windows are built here.
pub(crate) fn read_tokenizer(path: &Path) -> Result<Tokenizer, ModelError> {
    let mut tokenizer = Tokenizer::from_file(path).map_err(|error| ModelError::invalid(path, error))?;
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(|error| ModelError::invalid(path, error))?;
    Ok(tokenizer)
}

#[cfg(test)]
mod tests;
