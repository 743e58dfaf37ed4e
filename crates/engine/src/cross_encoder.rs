//! Cross-encoders: read a query and a passage together and score the passage and each of its sentences.

use std::{borrow::Cow, collections::HashMap, io::Cursor};

use candle_core::{
    Device,
    quantized::gguf_file::{Content, Value},
};
use tokenizers::{
    Tokenizer, models::wordpiece::WordPiece, normalizers::BertNormalizer,
    pre_tokenizers::bert::BertPreTokenizer,
};

use super::{
    Located, ModelError, ModelId, Turn,
    bert::{Bert, BertConfig, Sequence},
    built_in::{BuiltIn, RANKER},
    heads::{Head, Heads},
    pruner::{Body, Layout, Pruner},
};
use crate::config::Precision;

/// Maximum number of query tokens read.
pub const QUERY_TOKENS: usize = 48;
/// Maximum number of title tokens read.
pub const TITLE_TOKENS: usize = 32;
/// Length of the longest training window in tokens, including special tokens.
pub const WINDOW_TOKENS: usize = 255;
/// Rows that go through the layers together, on the CPU and on a GPU.
const GROUP_ROWS: usize = 512;
const GPU_GROUP_ROWS: usize = 32_768;

/// A passage to score against the query.
#[derive(Clone, Debug, Default)]
pub struct Passage<'a> {
    /// Title, label or heading: read but not scored.
    pub title: &'a [u32],
    /// Sentences, scored one by one.
    pub parts: Vec<&'a [u32]>,
}

/// Scores, as log-odds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Relevance {
    /// That the passage answers the query.
    pub passage: f32,
    /// That each part is needed for the answer; NaN if a part lies outside the window.
    pub parts: Vec<f32>,
}

/// A cross-encoder with one head for the window and one for each sentence in it: the built-in one, or another
/// checkpoint based on ModernBERT or BERT.
#[derive(Debug)]
pub struct CrossEncoder {
    id: ModelId,
    key: String,
    built_in: bool,
    tokenizer: Tokenizer,
    layout: Layout,
    body: Body,
    heads: Heads,
    /// Maximum number of tokens per window, including special tokens.
    longest: usize,
}

impl Body {
    fn bytes(&self) -> usize {
        match self {
            Body::Bert(body) => body.bytes(),
            Body::ModernBert(body) => body.bytes(),
        }
    }

    fn dim(&self) -> usize {
        match self {
            Body::Bert(body) => body.dim(),
            Body::ModernBert(body) => body.dim(),
        }
    }

    fn group_rows(&self) -> usize {
        let on_gpu = match self {
            Body::Bert(body) => body.on_gpu(),
            Body::ModernBert(body) => body.on_gpu(),
        };
        if on_gpu { GPU_GROUP_ROWS } else { GROUP_ROWS }
    }

    fn forward(&self, windows: &[Sequence], turn: &Turn) -> candle_core::Result<Vec<f32>> {
        match self {
            Body::Bert(body) => body.forward(windows, turn),
            Body::ModernBert(body) => body.forward(windows, turn),
        }
    }

    /// Vectors after the last normalisation.
    fn normalised<'a>(&self, vectors: &'a [f32]) -> Cow<'a, [f32]> {
        match self {
            Body::Bert(_) => Cow::Borrowed(vectors),
            Body::ModernBert(body) => {
                let mut vectors = vectors.to_vec();
                body.last_norm().apply(&mut vectors);
                Cow::Owned(vectors)
            }
        }
    }
}

impl CrossEncoder {
    /// Size of the matrices and embedding tables in bytes, as stored; biases and norms are negligible.
    pub fn weight_bytes(&self) -> usize {
        self.body.bytes()
    }

    /// Loads the built-in model.
    ///
    /// # Errors
    ///
    /// [`ModelError::Invalid`], only if the build is faulty.
    pub fn built_in(precision: Precision) -> Result<Self, ModelError> {
        Self::read(&RANKER, precision)
    }

    /// Loads a checkpoint that ranks and prunes.
    pub(crate) fn load(files: &Located, precision: Precision) -> Result<Self, ModelError> {
        let Pruner { tokenizer, layout, body, heads, longest } = Pruner::read(files, precision)?;
        let key = key(files, precision);
        let longest = longest.min(WINDOW_TOKENS);
        Ok(Self { id: files.id()?, key, built_in: false, tokenizer, layout, body, heads, longest })
    }

    fn read(file: &BuiltIn, precision: Precision) -> Result<Self, ModelError> {
        let invalid = |reason: String| ModelError::Invalid { path: file.name.to_owned(), reason };
        let mut reader = Cursor::new(file.bytes);
        let content = Content::read(&mut reader).map_err(|error| invalid(error.to_string()))?;
        let number = |key: &str| {
            let value = content.metadata.get(key);
            let value =
                value.and_then(|value| value.to_u32().ok()).ok_or_else(|| invalid(format!("no {key}")))?;
            Ok::<_, ModelError>(value as usize)
        };
        let config = BertConfig {
            hidden_size: number("bert.embedding_length")?,
            max_position_embeddings: number("bert.context_length")?,
            num_hidden_layers: number("bert.block_count")?,
            num_attention_heads: number("bert.attention.head_count")?,
            layer_norm_eps: 1e-12,
            hidden_act: "gelu".into(),
            position_embedding_type: "absolute".into(),
        };
        let mut tensors = HashMap::new();
        for name in content.tensor_infos.keys() {
            let tensor = content
                .tensor(&mut reader, name, &Device::Cpu)
                .and_then(|tensor| tensor.dequantize(&Device::Cpu))
                .map_err(|error| invalid(error.to_string()))?;
            tensors.insert(name.clone(), tensor);
        }
        let head = |name: &str| {
            let values = |part: &str| {
                let tensor = tensors.get(&format!("{name}.{part}"));
                tensor.and_then(|t| t.flatten_all().and_then(|t| t.to_vec1::<f32>()).ok()).unwrap_or_default()
            };
            let (weight, bias) = (values("weight"), values("bias"));
            match bias.first() {
                Some(bias) if weight.len() == config.hidden_size => Ok(Head { weight, bias: *bias }),
                _ => Err(invalid(format!("no head {name:?} of {} values", config.hidden_size))),
            }
        };
        let heads = Heads {
            sentence: head("sentence")?,
            sentence_reads_normalised: true,
            mean: false,
            transform: None,
            window: head("passage")?,
        };
        let tokenizer = tokenizer(&content).map_err(invalid)?;
        let special =
            |token: &str| tokenizer.token_to_id(token).ok_or_else(|| invalid(format!("no token {token}")));
        let (first, separator) = (special("[CLS]")?, special("[SEP]")?);
        let layout = Layout { before: vec![first], between: vec![separator], after: vec![separator] };
        let bert = Bert::new(tensors, config, precision).map_err(|error| invalid(error.to_string()))?;
        let id = file.id();
        let key = built_in_key(precision);
        let (built_in, body, longest) = (true, Body::Bert(bert), WINDOW_TOKENS);
        Ok(Self { id, key, built_in, tokenizer, layout, body, heads, longest })
    }

    /// The model's identity.
    pub fn id(&self) -> &ModelId {
        &self.id
    }

    /// A key over everything the scores depend on besides the input.
    pub fn key(&self) -> String {
        self.key.clone()
    }

    /// Whether this is the built-in model, for which the fusion was fitted.
    pub fn is_built_in(&self) -> bool {
        self.built_in
    }

    /// Token ids without special tokens, never truncated.
    ///
    /// # Errors
    ///
    /// [`ModelError::Tokenize`].
    pub fn tokenize(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>, ModelError> {
        super::encoder::token_ids(&self.tokenizer, &self.id.name, texts)
    }

    /// Whether it runs on a GPU, which needs many passages at once to be efficient.
    pub fn on_gpu(&self) -> bool {
        self.body.group_rows() == GPU_GROUP_ROWS
    }

    /// Scores passages for a query. A passage's scores depend only on the passage and the query. At most
    /// [`QUERY_TOKENS`] of the query, [`TITLE_TOKENS`] of a title, and [`WINDOW_TOKENS`] in total are read;
    /// the rest is ignored.
    ///
    /// # Errors
    ///
    /// [`ModelError::Forward`], for example for an id outside the vocabulary.
    pub fn score(&self, query: &[u32], passages: &[Passage<'_>]) -> Result<Vec<Relevance>, ModelError> {
        self.score_in(query, passages, &Turn::now())
    }

    /// Like [`score`](Self::score), for a scheduled request.
    ///
    /// # Errors
    ///
    /// As [`score`](Self::score).
    pub fn score_in(
        &self,
        query: &[u32],
        passages: &[Passage<'_>],
        turn: &Turn,
    ) -> Result<Vec<Relevance>, ModelError> {
        let mut results = Vec::with_capacity(passages.len());
        let most = self.body.group_rows();
        let (mut group, mut owners, mut rows) = (Vec::new(), Vec::new(), 0);
        for passage in passages {
            let (sequence, owner) = self.input(query, passage);
            if rows + sequence.ids.len() > most && !group.is_empty() {
                let (group, owners) = (std::mem::take(&mut group), std::mem::take(&mut owners));
                self.score_group(&group, &owners, turn, &mut results)?;
                rows = 0;
            }
            rows += sequence.ids.len();
            group.push(sequence);
            owners.push((passage.parts.len(), owner));
        }
        if !group.is_empty() {
            self.score_group(&group, &owners, turn, &mut results)?;
        }
        Ok(results)
    }

    /// How many passage tokens fit in a window next to this query and title.
    pub fn room(&self, query: &[u32], title: &[u32]) -> usize {
        let special = self.layout.before.len() + self.layout.between.len() + self.layout.after.len();
        let taken = special + query.len().min(QUERY_TOKENS) + title.len().min(TITLE_TOKENS);
        self.longest.saturating_sub(taken)
    }

    /// The ids of a window, and the index of the part each of them belongs to.
    fn input(&self, query: &[u32], passage: &Passage<'_>) -> (Sequence, Vec<Option<usize>>) {
        let mut ids = self.layout.before.clone();
        ids.extend(query.iter().take(QUERY_TOKENS));
        ids.extend(&self.layout.between);
        let second = ids.len();
        ids.extend(passage.title.iter().take(TITLE_TOKENS));
        let mut owners = vec![None; ids.len()];
        let end = self.longest.saturating_sub(self.layout.after.len());
        'parts: for (index, part) in passage.parts.iter().enumerate() {
            for id in *part {
                if ids.len() >= end {
                    break 'parts;
                }
                ids.push(*id);
                owners.push(Some(index));
            }
        }
        ids.extend(&self.layout.after);
        owners.resize(ids.len(), None);
        (Sequence { ids, second }, owners)
    }

    fn score_group(
        &self,
        group: &[Sequence],
        owners: &[(usize, Vec<Option<usize>>)],
        turn: &Turn,
        results: &mut Vec<Relevance>,
    ) -> Result<(), ModelError> {
        let vectors = self
            .body
            .forward(group, turn)
            .map_err(|error| ModelError::forward(&self.id.name, "scoring a passage", error))?;
        let dim = self.body.dim();
        let mut rest = vectors.as_slice();
        for (parts, owners) in owners {
            let Some((window, after)) = rest.split_at_checked(owners.len() * dim) else { break };
            rest = after;
            let normalised = self.body.normalised(window);
            let read = if self.heads.sentence_reads_normalised { &normalised } else { window };
            let mut relevance =
                Relevance { passage: self.heads.window_logit(&normalised, dim), parts: vec![0.0; *parts] };
            let mut counts = vec![0.0_f32; *parts];
            for (owner, vector) in owners.iter().zip(read.chunks_exact(dim)) {
                let Some(owner) = owner else { continue };
                if let (Some(sum), Some(count)) = (relevance.parts.get_mut(*owner), counts.get_mut(*owner)) {
                    *sum += self.heads.sentence.logit(vector);
                    *count += 1.0;
                }
            }
            // 0 / 0 is NaN, which marks parts that were not read.
            relevance.parts.iter_mut().zip(&counts).for_each(|(sum, count)| *sum /= count);
            results.push(relevance);
        }
        Ok(())
    }
}

/// A key over everything that the scores of the built-in model depend on besides the input.
pub(crate) fn built_in_key(precision: Precision) -> String {
    format!("{}/{}", RANKER.sha256, precision.key())
}

/// The same of a checkpoint. Its tokenizer and its configuration determine the scores as much as the weights do.
pub(crate) fn key(files: &Located, precision: Precision) -> String {
    let hashes: Vec<&str> = files.spec.files.iter().map(|file| file.sha256.as_str()).collect();
    format!("{}/{}", hashes.join("/"), precision.key())
}

/// The uncased WordPiece tokenizer built from the vocabulary in the file.
fn tokenizer(content: &Content) -> Result<Tokenizer, String> {
    let Some(Value::Array(tokens)) = content.metadata.get("tokenizer.ggml.tokens") else {
        return Err("no vocabulary".into());
    };
    let mut vocabulary = String::new();
    for token in tokens {
        vocabulary.push_str(token.to_string().map_err(|error| error.to_string())?);
        vocabulary.push('\n');
    }
    let vocabulary = WordPiece::read_bytes(vocabulary.as_bytes()).map_err(|error| error.to_string())?;
    let model = WordPiece::builder().vocab(vocabulary).build().map_err(|error| error.to_string())?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer
        .with_normalizer(Some(BertNormalizer::new(true, true, None, true)))
        .map_err(|error| error.to_string())?
        .with_pre_tokenizer(Some(BertPreTokenizer));
    Ok(tokenizer)
}
