//! Cross-encoders that rank and prune, loaded from a checkpoint's folder. The layout is that of OpenProvence
//! (MIT), as implemented in github.com/hotchpotch/open_provence, `open_provence/encoder.py`
//! (`save_pretrained`) and `open_provence/modeling_open_provence_standalone.py` (`OpenProvenceConfig`,
//! `OpenProvencePreTrainedModel`, `OpenProvenceHead`).
//!
//! - `config.json`: `model_type` is `open_provence`, `base_model_config` is the full configuration of the
//!   encoder, and `max_length` is the longest input in training.
//! - `model.safetensors`: the tensors of a sequence classifier of transformers with the prefix
//!   `ranking_model.` (ModernBERT: `model.*`, `head.dense`, `head.norm`, `classifier`; BERT: `bert.*`,
//!   `bert.pooler.dense`, `classifier`), and `pruning_head.classifier` with two outputs per token, drop and
//!   keep. Older files have the classifier's names without a prefix, and the encoder's own `config.json`.
//! - The relevance of a window is the first output of the classifier. The probability that a token is kept is
//!   the softmax of its two outputs, so their difference is the log-odds.
//!
//! The pruning head reads `hidden_states[-1]` of transformers. For ModernBERT this is the state before the
//! final norm up to transformers 5.0, and the state after it from 5.1 on, so the version that wrote
//! `config.json` decides.

use std::{fs, path::Path};

use candle_core::{Result, bail};
use serde::Deserialize;
use serde_json::Value;
use tokenizers::Tokenizer;

use super::{
    Located, ModelError,
    bert::{Bert, BertConfig},
    encoder::read_tokenizer,
    error::at,
    heads::{Head, Heads, Then, Transform},
    modern_bert::{ModernBert, ModernBertConfig, read_norm},
    tensors::Tensors,
};
use crate::config::Precision;

/// The minimum window length that a ranker must support.
const SHORTEST_WINDOW: usize = 128;
/// The first version of transformers in which ModernBERT's last hidden state is normalised.
const NORMALISED_SINCE: (u32, u32) = (5, 1);

/// An encoder of either architecture.
#[derive(Debug)]
pub(crate) enum Body {
    Bert(Bert),
    ModernBert(ModernBert),
}

/// The special tokens around the query and the passage.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) before: Vec<u32>,
    pub(crate) between: Vec<u32>,
    pub(crate) after: Vec<u32>,
}

/// The contents of a checkpoint.
#[derive(Debug)]
pub(crate) struct Pruner {
    pub(crate) tokenizer: Tokenizer,
    pub(crate) layout: Layout,
    pub(crate) body: Body,
    pub(crate) heads: Heads,
    /// Maximum number of tokens per window, including special tokens.
    pub(crate) longest: usize,
}

/// The part of `config.json` that does not belong to the encoder.
#[derive(Debug, Deserialize)]
struct Checkpoint {
    #[serde(default)]
    model_type: String,
    base_model_config: Option<Value>,
    max_length: Option<usize>,
    transformers_version: Option<String>,
}

/// What the heads and the tokenizer need to know about an encoder of either architecture.
#[derive(Debug, Deserialize)]
struct Shape {
    #[serde(default)]
    model_type: String,
    vocab_size: usize,
    max_position_embeddings: usize,
    cls_token_id: Option<Value>,
    bos_token_id: Option<Value>,
    sep_token_id: Option<Value>,
    eos_token_id: Option<Value>,
}

impl Pruner {
    /// # Errors
    ///
    /// [`ModelError::Invalid`], with the file and the problem.
    pub(crate) fn read(files: &Located, precision: Precision) -> std::result::Result<Self, ModelError> {
        let config_path = files.path("config.json")?;
        let invalid = |reason: &dyn ToString| ModelError::invalid(config_path, reason.to_string());
        let bytes = fs::read(config_path).map_err(at(config_path))?;
        let config: Value = serde_json::from_slice(&bytes).map_err(|error| invalid(&error))?;
        let checkpoint: Checkpoint =
            serde_json::from_value(config.clone()).map_err(|error| invalid(&error))?;
        let base = match (checkpoint.model_type.as_str(), checkpoint.base_model_config) {
            ("open_provence", Some(base)) => base,
            ("open_provence", None) => {
                return Err(invalid(&"has no base_model_config; export the checkpoint with it"));
            }
            ("modernbert" | "bert", _) => config,
            (other, _) => return Err(invalid(&unknown(other))),
        };
        let shape: Shape = serde_json::from_value(base.clone()).map_err(|error| invalid(&error))?;
        let longest = shape.max_position_embeddings.min(checkpoint.max_length.unwrap_or(usize::MAX));
        if longest < SHORTEST_WINDOW {
            let reason = format!(
                "the model reads at most {longest} tokens; a ranker must read at least {SHORTEST_WINDOW}"
            );
            return Err(invalid(&reason));
        }

        let tokenizer_path = files.path("tokenizer.json")?;
        let mut tokenizer = read_tokenizer(tokenizer_path)?;
        // Special tokens spelled out in a text are treated as text.
        tokenizer.set_encode_special_tokens(true);
        let tokens = tokenizer.get_vocab_size(true);
        if tokens > shape.vocab_size {
            let reason = format!(
                "has {tokens} tokens, but the weights are for {}; take both files from one checkpoint",
                shape.vocab_size
            );
            return Err(ModelError::invalid(tokenizer_path, reason));
        }
        let layout = Layout::of(&tokenizer, &shape)
            .ok_or_else(|| ModelError::invalid(tokenizer_path, "has no tokens that begin and end a text"))?;

        let weights = files.path("model.safetensors")?;
        let normalised = normalised_since(checkpoint.transformers_version.as_deref());
        let (body, heads) = match shape.model_type.as_str() {
            "modernbert" => {
                let config = serde_json::from_value(base).map_err(|error| invalid(&error))?;
                read_modern_bert(weights, &config, normalised, precision)
            }
            "bert" => {
                let config = serde_json::from_value(base.clone()).map_err(|error| invalid(&error))?;
                let inner = base.get("intermediate_size").and_then(Value::as_u64).unwrap_or(0);
                read_bert(weights, config, &shape, inner as usize, precision)
            }
            other => return Err(invalid(&unknown(other))),
        }
        .map_err(|error| ModelError::invalid(weights, error))?;
        Ok(Self { tokenizer, layout, body, heads, longest })
    }
}

fn unknown(kind: &str) -> String {
    format!(
        "the architecture {kind:?} is not supported; a ranker is an OpenProvence checkpoint whose encoder \
         is \"modernbert\" or \"bert\""
    )
}

/// Whether this version of transformers passes normalised vectors to the pruning head. An unknown version
/// counts as old.
fn normalised_since(version: Option<&str>) -> bool {
    let mut parts = version.unwrap_or("").split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= NORMALISED_SINCE
}

fn read_modern_bert(
    weights: &Path,
    config: &ModernBertConfig,
    normalised: bool,
    precision: Precision,
) -> Result<(Body, Heads)> {
    let tensors = Tensors::read(weights)?;
    let (sentence, tensors) = (sentence_head(&tensors, config.hidden_size)?, tensors.below("ranking_model."));
    if config.classifier_activation != "gelu" {
        bail!(
            "config.json: the activation {:?} is not supported, only \"gelu\"",
            config.classifier_activation
        );
    }
    let mean = match config.classifier_pooling.as_str() {
        "cls" => false,
        "mean" => true,
        other => bail!("config.json: classifier_pooling {other:?} is neither \"cls\" nor \"mean\""),
    };
    let then = Then::GeluNorm(read_norm(&tensors, "head.norm", config)?);
    let dim = config.hidden_size;
    let heads = Heads {
        sentence,
        sentence_reads_normalised: normalised,
        mean,
        transform: Some(Transform::read(&tensors, "head.dense", dim, config.classifier_bias, then)?),
        window: window_head(&tensors, dim)?,
    };
    Ok((Body::ModernBert(ModernBert::new(&tensors, config, precision)?), heads))
}

fn read_bert(
    weights: &Path,
    config: BertConfig,
    shape: &Shape,
    inner: usize,
    precision: Precision,
) -> Result<(Body, Heads)> {
    let tensors = Tensors::read(weights)?;
    let dim = config.hidden_size;
    let (sentence, tensors) = (sentence_head(&tensors, dim)?, tensors.below("ranking_model."));
    let heads = Heads {
        sentence,
        sentence_reads_normalised: true,
        mean: false,
        transform: Some(Transform::read(&tensors, "bert.pooler.dense", dim, true, Then::Tanh)?),
        window: window_head(&tensors, dim)?,
    };
    tensors.tensor("bert.embeddings.word_embeddings.weight", &[shape.vocab_size, dim])?;
    for layer in 0..config.num_hidden_layers {
        let shapes = [
            ("attention.self.query", dim, dim),
            ("attention.self.key", dim, dim),
            ("attention.self.value", dim, dim),
            ("attention.output.dense", dim, dim),
            ("intermediate.dense", inner, dim),
            ("output.dense", dim, inner),
        ];
        for (part, outputs, inputs) in shapes {
            let name = format!("bert.encoder.layer.{layer}.{part}");
            tensors.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
            tensors.tensor(&format!("{name}.bias"), &[outputs])?;
        }
    }
    Ok((Body::Bert(Bert::new(tensors.into_inner(), config, precision)?), heads))
}

/// The difference of a token's two outputs: keep minus drop.
fn sentence_head(tensors: &Tensors, dim: usize) -> Result<Head> {
    let name = "pruning_head.classifier";
    if !tensors.has(&format!("{name}.weight")) {
        bail!("there is no tensor {name}.weight: a reranker that does not prune is no ranker");
    }
    let weight = tensors.values(&format!("{name}.weight"), &[2, dim])?;
    let bias = tensors.values(&format!("{name}.bias"), &[2])?;
    let (drop, keep) = weight.split_at(dim);
    let weight = keep.iter().zip(drop).map(|(keep, drop)| keep - drop).collect();
    Ok(Head { weight, bias: bias.iter().rev().copied().reduce(|keep, drop| keep - drop).unwrap_or(0.0) })
}

/// The first output of the classifier.
fn window_head(tensors: &Tensors, dim: usize) -> Result<Head> {
    let labels = tensors.rows("classifier.weight").unwrap_or(1);
    let mut weight = tensors.values("classifier.weight", &[labels, dim])?;
    weight.truncate(dim);
    let bias = tensors.values("classifier.bias", &[labels])?;
    Ok(Head { weight, bias: bias.first().copied().unwrap_or(0.0) })
}

impl Layout {
    /// The tokenizer's template for pairs; if it adds nothing, the ids named in `config.json`.
    fn of(tokenizer: &Tokenizer, shape: &Shape) -> Option<Self> {
        if let Ok(pair) = tokenizer.encode(("a", "b"), true) {
            let mut groups: Vec<(bool, Vec<u32>)> = Vec::new();
            for (id, special) in pair.get_ids().iter().zip(pair.get_special_tokens_mask()) {
                match groups.last_mut() {
                    Some((kind, ids)) if *kind == (*special != 0) => ids.push(*id),
                    _ => groups.push((*special != 0, vec![*id])),
                }
            }
            if let [(true, before), (false, _), (true, between), (false, _), rest @ ..] = groups.as_slice() {
                let after = rest.first().map(|(_, ids)| ids.clone()).unwrap_or_default();
                return Some(Self { before: before.clone(), between: between.clone(), after });
            }
        }
        let named = |ids: [&Option<Value>; 2], tokens: [&str; 2]| {
            let mut ids = ids.into_iter().flatten().filter_map(Value::as_u64);
            let id = ids.find_map(|id| u32::try_from(id).ok()).filter(|id| (*id as usize) < shape.vocab_size);
            id.or_else(|| tokens.iter().find_map(|token| tokenizer.token_to_id(token)))
        };
        let first = named([&shape.cls_token_id, &shape.bos_token_id], ["[CLS]", "<s>"])?;
        let last = named([&shape.sep_token_id, &shape.eos_token_id], ["[SEP]", "</s>"])?;
        Some(Self { before: vec![first], between: vec![last], after: vec![last] })
    }
}

#[cfg(test)]
mod tests;
