//! The built-in encoder for many languages: multilingual-e5-small (Wang et al., arXiv 2402.05672), with the vocabulary
//! of twenty languages. `eval/ranker/multilingual.py` makes the file.

use std::{collections::HashMap, io::Cursor};

use candle_core::{
    Device,
    quantized::{
        GgmlDType,
        gguf_file::{Content, Value},
    },
};

use super::{
    Encoder, ModelError,
    bert::{Bert, BertConfig},
    built_in::MULTILINGUAL,
    gguf::four_bits::q4_0_bytes,
    unigram::{Unigram, Vocabulary},
};
use crate::config::Precision;

/// What the model was trained to find before a query, and before a passage.
const MARKS: (&str, &str) = ("query:", "passage:");
/// The table of which rows are read in place.
const WORDS: &str = "embeddings.word_embeddings.weight";

/// Loads the model, on the CPU.
///
/// # Errors
///
/// [`ModelError::Invalid`], only if the build is faulty.
pub(crate) fn built_in(precision: Precision) -> Result<Encoder, ModelError> {
    let content = Content::read(&mut Cursor::new(MULTILINGUAL.bytes)).map_err(invalid)?;
    let number = |key: &str| {
        let value = content.metadata.get(key).and_then(|value| value.to_u32().ok());
        value.ok_or_else(|| invalid(format!("no {key}")))
    };
    let config = BertConfig {
        hidden_size: number("bert.embedding_length")? as usize,
        max_position_embeddings: number("bert.context_length")? as usize,
        num_hidden_layers: number("bert.block_count")? as usize,
        num_attention_heads: number("bert.attention.head_count")? as usize,
        layer_norm_eps: f64::from(float(&content, "bert.attention.layer_norm_epsilon")?),
        hidden_act: "gelu".into(),
        position_embedding_type: "absolute".into(),
    };
    let longest = config.max_position_embeddings;
    let mut tensors = HashMap::new();
    for name in content.tensor_infos.keys().filter(|name| *name != WORDS) {
        let tensor = content
            .tensor(&mut Cursor::new(MULTILINGUAL.bytes), name, &Device::Cpu)
            .and_then(|tensor| tensor.dequantize(&Device::Cpu))
            .map_err(invalid)?;
        tensors.insert(name.clone(), tensor);
    }
    let words = words(&content)?;
    let ends = (number("tokenizer.first")?, number("tokenizer.last")?);
    let unknown = (number("tokenizer.unknown")?, float(&content, "tokenizer.unknown_score")?);
    let vocabulary = Unigram::new(Vocabulary {
        pieces: strings(&content, "tokenizer.ggml.tokens")?,
        scores: list(&content, "tokenizer.ggml.scores")?
            .iter()
            .map(|value| value.to_f32().map_err(invalid))
            .collect::<Result<_, _>>()?,
        unknown,
        changes: changes(&content)?,
    });
    let bert = Bert::built_in(tensors, words, config, precision).map_err(invalid)?;
    Ok(Encoder::marking(MULTILINGUAL.id(), vocabulary, bert, ends, MARKS, longest))
}

fn invalid(reason: impl std::fmt::Display) -> ModelError {
    ModelError::Invalid { path: MULTILINGUAL.name.into(), reason: reason.to_string() }
}

/// The bytes of the table of words.
fn words(content: &Content) -> Result<&'static [u8], ModelError> {
    let info = content.tensor_infos.get(WORDS).ok_or_else(|| invalid(format!("no {WORDS}")))?;
    let size = match (info.ggml_dtype, info.shape.dims()) {
        (GgmlDType::Q4_0, [rows, width]) => q4_0_bytes(*width).map(|bytes| rows * bytes),
        _ => None,
    };
    let start = usize::try_from(content.tensor_data_offset + info.offset).map_err(invalid)?;
    let bytes = size.and_then(|size| MULTILINGUAL.bytes.get(start..start + size));
    bytes.ok_or_else(|| invalid(format!("{WORDS} is no table of Q4_0")))
}

fn float(content: &Content, key: &str) -> Result<f32, ModelError> {
    let value = content.metadata.get(key).and_then(|value| value.to_f32().ok());
    value.ok_or_else(|| invalid(format!("no {key}")))
}

fn list<'a>(content: &'a Content, key: &str) -> Result<&'a [Value], ModelError> {
    match content.metadata.get(key) {
        Some(Value::Array(values)) => Ok(values),
        _ => Err(invalid(format!("no {key}"))),
    }
}

fn strings(content: &Content, key: &str) -> Result<Vec<String>, ModelError> {
    let values = list(content, key)?.iter();
    values.map(|value| value.to_string().cloned().map_err(invalid)).collect()
}

fn changes(content: &Content) -> Result<Vec<(char, String)>, ModelError> {
    let from = strings(content, "tokenizer.changes.from")?;
    let to = strings(content, "tokenizer.changes.to")?;
    // The reader of the file drops a zero at the end of a string.
    let character = |text: String| text.chars().next().unwrap_or('\0');
    Ok(from.into_iter().map(character).zip(to).collect())
}

#[cfg(test)]
mod tests;
