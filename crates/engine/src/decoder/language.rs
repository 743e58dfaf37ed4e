//! Encoding and decoding text for a decoder, and its begin and end tokens, from a GGUF file or a Hugging Face
//! folder.

use serde_json::Value;
use tokenizers::Tokenizer;

use super::{
    gguf_tokenizer::{self, TokenKind, Vocabulary},
    hub_config::ids,
};
use crate::{Located, ModelError, encoder::read_tokenizer, error::at, gguf::Gguf};

/// Control tokens that end a turn, in addition to those that the files name.
const END_TOKENS: [&str; 7] =
    ["<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<end_of_turn>", "<|end|>", "</s>"];

/// A decoder's tokenizer and the data around it.
pub(crate) struct Language {
    pub(crate) tokenizer: Tokenizer,
    pub(super) vocabulary: Vocabulary,
    /// The chat template, in Jinja.
    pub(super) template: Option<String>,
    pub(super) begin: Option<u32>,
    pub(super) end: Option<u32>,
    /// All ids that end a text.
    pub(super) ends: Vec<u32>,
    /// Whether every prompt begins with `begin`.
    pub(super) adds_begin: bool,
}

impl Language {
    pub(crate) fn read(files: &Located) -> Result<Self, ModelError> {
        if files.is_gguf()? { Self::of_gguf(&Gguf::open(files.weights()?)?) } else { Self::of_folder(files) }
    }

    pub(super) fn of_gguf(gguf: &Gguf) -> Result<Self, ModelError> {
        let vocabulary = Vocabulary::read(gguf)?;
        let tokenizer = gguf_tokenizer::read(gguf, &vocabulary)?;
        let id_of = |key: &str| gguf.number(key).and_then(|id| u32::try_from(id).ok());
        let end = id_of("tokenizer.ggml.eos_token_id");
        let mut ends = known_ends(&vocabulary);
        ends.extend(end);
        ends.extend(id_of("tokenizer.ggml.eot_token_id"));
        Ok(Self {
            begin: id_of("tokenizer.ggml.bos_token_id"),
            adds_begin: gguf.flag("tokenizer.ggml.add_bos_token").unwrap_or(false),
            template: gguf.string("tokenizer.chat_template").map(str::to_owned),
            tokenizer,
            vocabulary,
            end,
            ends,
        })
    }

    fn of_folder(files: &Located) -> Result<Self, ModelError> {
        let path = files.path("tokenizer.json")?;
        let tokenizer = read_tokenizer(path)?;
        let vocabulary = vocabulary(&tokenizer).map_err(|reason| ModelError::invalid(path, reason))?;
        let [config, generation, settings] =
            ["config.json", "generation_config.json", "tokenizer_config.json"].map(|file| json(files, file));
        let (config, generation, settings) = (config?, generation?, settings?);
        let token = |key: &str| {
            let token = settings.get(key)?;
            let text = token.as_str().or_else(|| token.get("content")?.as_str())?;
            tokenizer.token_to_id(text)
        };
        let of_config = |key: &str| ids(config.get(key)).first().copied();
        let begin = token("bos_token").or_else(|| of_config("bos_token_id"));
        let end = token("eos_token").or_else(|| of_config("eos_token_id"));
        let mut ends = known_ends(&vocabulary);
        ends.extend(end);
        for given in [&config, &generation] {
            ends.extend(ids(given.get("eos_token_id")));
        }
        ends.sort_unstable();
        ends.dedup();
        let asked = settings.get("add_bos_token").and_then(Value::as_bool).unwrap_or(false);
        let processed = tokenizer.encode_fast("a", true).map_err(|error| ModelError::invalid(path, error))?;
        let adds_begin = begin.is_some() && (asked || processed.get_ids().first().copied() == begin);
        Ok(Self {
            template: template(files, &settings)?,
            tokenizer,
            vocabulary,
            begin,
            end,
            ends,
            adds_begin,
        })
    }
}

fn known_ends(vocabulary: &Vocabulary) -> Vec<u32> {
    END_TOKENS.iter().filter_map(|token| vocabulary.control(token)).collect()
}

/// Parses a file of the folder; null if it does not exist.
fn json(files: &Located, file: &str) -> Result<Value, ModelError> {
    let Ok(path) = files.path(file) else { return Ok(Value::Null) };
    let text = std::fs::read(path).map_err(at(path))?;
    serde_json::from_slice(&text).map_err(|error| ModelError::invalid(path, error))
}

/// A separate template file has priority over the tokenizer's settings; of several templates, `default` is
/// used.
fn template(files: &Located, settings: &Value) -> Result<Option<String>, ModelError> {
    if let Ok(path) = files.path("chat_template.jinja") {
        return std::fs::read_to_string(path).map(Some).map_err(at(path));
    }
    let text = match settings.get("chat_template") {
        Some(Value::Array(named)) => named
            .iter()
            .find(|entry| entry.get("name").and_then(Value::as_str) == Some("default"))
            .and_then(|entry| entry.get("template")),
        other => other,
    };
    Ok(text.and_then(Value::as_str).map(str::to_owned))
}

/// The vocabulary of a `tokenizer.json`, according to its decoder component.
fn vocabulary(tokenizer: &Tokenizer) -> Result<Vocabulary, String> {
    let decoder = serde_json::to_value(tokenizer.get_decoder()).map_err(|error| error.to_string())?;
    let sentence_piece = if names(&decoder, "ByteLevel") {
        false
    } else if names(&decoder, "ByteFallback") || names(&decoder, "Metaspace") {
        true
    } else {
        return Err("its decoder is neither byte-level nor of the SentencePiece kind".into());
    };
    let known = tokenizer.get_vocab(true);
    let size = known.values().max().map_or(0, |id| *id as usize + 1);
    // Each known id takes an entry in the file, so a far larger vocabulary is invalid.
    if size > known.len().saturating_mul(16) {
        return Err(format!("its largest id is {size}, with {} tokens", known.len()));
    }
    let mut tokens = vec![(String::new(), TokenKind::Control); size];
    for (text, id) in known {
        if let Some(place) = tokens.get_mut(id as usize) {
            let byte = sentence_piece && gguf_tokenizer::byte_of(&text).is_some();
            *place = (text, if byte { TokenKind::Byte } else { TokenKind::Text });
        }
    }
    for (id, added) in tokenizer.get_added_tokens_decoder() {
        if let Some(place) = tokens.get_mut(id as usize) {
            let kind = if added.special { TokenKind::Control } else { TokenKind::UserDefined };
            *place = (added.content, kind);
        }
    }
    Ok(Vocabulary::new(tokens, sentence_piece))
}

/// Whether a component of a tokenizer has this type, or contains one that does.
fn names(part: &Value, kind: &str) -> bool {
    match part {
        Value::Object(fields) => {
            fields.get("type").and_then(Value::as_str) == Some(kind)
                || fields.values().any(|value| names(value, kind))
        }
        Value::Array(values) => values.iter().any(|value| names(value, kind)),
        _ => false,
    }
}
