//! Builds the tokenizer that a GGUF file describes; it gives the same ids as llama.cpp.
//!
//! A `gpt2` vocabulary is byte-level byte-pair encoding with a pre-tokenizer that the file only names. A
//! `llama` vocabulary is SentencePiece: the order of its merges follows from the scores.

use std::collections::HashMap;

use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer,
    decoders::{
        byte_fallback::ByteFallback, byte_level::ByteLevel, fuse::Fuse, sequence::Sequence as Decoders,
        strip::Strip,
    },
    models::bpe::{BPE, BpeBuilder, Merges, Vocab},
    normalizers::{prepend::Prepend, replace::Replace, utils::Sequence as Normalizers},
    pre_tokenizers::{
        digits::Digits,
        sequence::Sequence,
        split::{Split, SplitPattern},
    },
};

use crate::{ModelError, gguf::Gguf};

/// The special tokens of Phi-3 behind which white space stays.
const KEEPS_SPACE: [&str; 3] = ["<unk>", "<s>", "<|endoftext|>"];

/// How SentencePiece writes a space.
const SPACE: &str = "\u{2581}";

/// Split patterns of the known pre-tokenizers, with digits split singly or in groups of up to three.
const WORDS_AND_SINGLE_DIGITS: &str = r"'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const WORDS_AND_DIGITS_BY_THREE: &str = r"'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The type of a token, as numbered in GGUF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// Ordinary text.
    Text,
    /// Controls the model; has no text.
    Control,
    /// Matched in the text before anything else.
    UserDefined,
    /// One byte, written `<0x41>`.
    Byte,
}

/// The vocabulary of a file, for decoding ids to bytes.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    tokens: Vec<String>,
    kinds: Vec<TokenKind>,
    sentence_piece: bool,
    bytes: HashMap<char, u8>,
}

impl Vocabulary {
    pub(crate) fn read(gguf: &Gguf) -> Result<Self, ModelError> {
        let sentence_piece = match gguf.string("tokenizer.ggml.model") {
            Some("gpt2") => false,
            Some("llama") => true,
            other => {
                let other = other.unwrap_or("missing");
                let reason = format!("tokenizer.ggml.model is {other}; gpt2 and llama are supported");
                return Err(gguf.invalid(reason));
            }
        };
        let tokens: Vec<String> =
            gguf.strings("tokenizer.ggml.tokens")?.into_iter().map(str::to_owned).collect();
        let kinds = gguf.numbers("tokenizer.ggml.token_type")?;
        if kinds.len() != tokens.len() {
            return Err(gguf.invalid("tokenizer.ggml.token_type and .tokens differ in length"));
        }
        let kinds = kinds
            .into_iter()
            .map(|kind| match kind {
                3 => TokenKind::Control,
                4 => TokenKind::UserDefined,
                6 => TokenKind::Byte,
                _ => TokenKind::Text,
            })
            .collect();
        Ok(Self { tokens, kinds, sentence_piece, bytes: byte_characters() })
    }

    /// `tokens` are in order of their ids, and byte-level unless `sentence_piece` is set.
    pub(super) fn new(tokens: Vec<(String, TokenKind)>, sentence_piece: bool) -> Self {
        let (tokens, kinds) = tokens.into_iter().unzip();
        Self { tokens, kinds, sentence_piece, bytes: byte_characters() }
    }

    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(crate) fn token(&self, id: u32) -> Option<(&str, TokenKind)> {
        let id = id as usize;
        Some((self.tokens.get(id)?, *self.kinds.get(id)?))
    }

    /// The id of a control token.
    pub(crate) fn control(&self, text: &str) -> Option<u32> {
        let mut found = self.tokens.iter().zip(&self.kinds).enumerate();
        let (id, _) = found.find(|(_, (token, kind))| **kind == TokenKind::Control && *token == text)?;
        u32::try_from(id).ok()
    }

    /// Appends the bytes of a token, none for a control token. A token may end inside a character.
    pub(crate) fn append_bytes(&self, id: u32, out: &mut Vec<u8>) {
        match self.token(id) {
            None | Some((_, TokenKind::Control)) => {}
            Some((text, TokenKind::UserDefined)) => out.extend(text.as_bytes()),
            Some((text, TokenKind::Byte)) => out.extend(byte_of(text)),
            Some((text, TokenKind::Text)) if self.sentence_piece => {
                out.extend(text.replace(SPACE, " ").as_bytes());
            }
            Some((text, TokenKind::Text)) => {
                for character in text.chars() {
                    match self.bytes.get(&character) {
                        Some(byte) => out.push(*byte),
                        None => out.extend(character.to_string().as_bytes()),
                    }
                }
            }
        }
    }
}

/// The tokenizer of an open file. Control tokens in a text are parsed as such; with
/// `set_encode_special_tokens(true)` they are treated as plain text.
pub(crate) fn read(gguf: &Gguf, vocabulary: &Vocabulary) -> Result<Tokenizer, ModelError> {
    let mut tokenizer = if vocabulary.sentence_piece {
        sentence_piece(gguf, vocabulary)?
    } else {
        byte_level(gguf, vocabulary)?
    };
    // The file does not say so. A Phi-3 model drops white space behind its special tokens.
    let is_phi3 = vocabulary.sentence_piece && gguf.string("general.architecture") == Some("phi3");
    let of_kind = |wanted: TokenKind| {
        let tokens = vocabulary.tokens.iter().zip(&vocabulary.kinds);
        tokens.filter(move |(_, kind)| **kind == wanted).map(move |(token, _)| {
            AddedToken::from(token.clone(), wanted == TokenKind::Control)
                .normalized(false)
                .rstrip(is_phi3 && !KEEPS_SPACE.contains(&token.as_str()))
        })
    };
    tokenizer
        .add_special_tokens(of_kind(TokenKind::Control))
        .and_then(|_| tokenizer.add_tokens(of_kind(TokenKind::UserDefined)))
        .map_err(|error| gguf.invalid(error))?;
    Ok(tokenizer)
}

fn ids(vocabulary: &Vocabulary) -> Vocab {
    vocabulary.tokens.iter().cloned().zip(0u32..).collect()
}

fn build(gguf: &Gguf, builder: BpeBuilder) -> Result<BPE, ModelError> {
    builder.build().map_err(|error| gguf.invalid(format!("tokenizer: {error}")))
}

fn byte_level(gguf: &Gguf, vocabulary: &Vocabulary) -> Result<Tokenizer, ModelError> {
    let merges = gguf
        .strings("tokenizer.ggml.merges")?
        .into_iter()
        .map(|merge| match merge.split_once(' ') {
            Some((left, right)) => Ok((left.to_owned(), right.to_owned())),
            None => Err(gguf.invalid(format!("{merge:?} is not a merge of two tokens"))),
        })
        .collect::<Result<Merges, _>>()?;
    let pattern = |pattern: &str| -> Result<PreTokenizerWrapper, ModelError> {
        let pattern = SplitPattern::Regex(pattern.to_owned());
        Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
            .map(Into::into)
            .map_err(|error| gguf.invalid(error))
    };
    let bytes = |split: bool| ByteLevel::new(false, true, split);
    let pre: Vec<PreTokenizerWrapper> = match gguf.string("tokenizer.ggml.pre") {
        Some("qwen2" | "deepseek-r1-qwen" | "megrez") => {
            vec![pattern(WORDS_AND_SINGLE_DIGITS)?, bytes(false).into()]
        }
        Some("llama-bpe" | "llama3" | "llama-v3" | "smaug-bpe" | "glm4" | "chatglm-bpe") => {
            vec![pattern(WORDS_AND_DIGITS_BY_THREE)?, bytes(false).into()]
        }
        Some("smollm" | "starcoder" | "refact" | "command-r") => {
            vec![Digits::new(true).into(), bytes(true).into()]
        }
        Some("gpt-2" | "phi-2" | "default") | None => vec![bytes(true).into()],
        Some(other) => {
            return Err(gguf.invalid(format!(
                "the pre-tokenizer {other:?} is not supported; qwen2, smollm, llama-bpe, glm4 and gpt-2 are"
            )));
        }
    };
    // This family of models looks up whole words before it applies merges.
    let whole_words = gguf.string("tokenizer.ggml.pre").is_some_and(|pre| pre.starts_with("llama"));
    let builder = BPE::builder().vocab_and_merges(ids(vocabulary), merges).ignore_merges(whole_words);
    let mut tokenizer = Tokenizer::new(build(gguf, builder)?);
    tokenizer.with_pre_tokenizer(Some(Sequence::new(pre)));
    tokenizer.with_decoder(Some(bytes(false)));
    Ok(tokenizer)
}

fn sentence_piece(gguf: &Gguf, vocabulary: &Vocabulary) -> Result<Tokenizer, ModelError> {
    let scores = gguf.floats("tokenizer.ggml.scores")?;
    if scores.len() != vocabulary.len() {
        return Err(gguf.invalid("tokenizer.ggml.scores and .tokens differ in length"));
    }
    let prefix = gguf.flag("tokenizer.ggml.add_space_prefix").unwrap_or(true);
    let unknown = gguf.number("tokenizer.ggml.unknown_token_id").and_then(|id| vocabulary.tokens.get(id));
    let merges = merges_from_scores(&vocabulary.tokens, &scores);
    let mut builder =
        BPE::builder().vocab_and_merges(ids(vocabulary), merges).byte_fallback(true).fuse_unk(true);
    if let Some(unknown) = unknown {
        builder = builder.unk_token(unknown.clone());
    }
    let mut tokenizer = Tokenizer::new(build(gguf, builder)?);
    let mut normalizers: Vec<NormalizerWrapper> = Vec::new();
    if prefix {
        normalizers.push(Prepend::new(SPACE.to_owned()).into());
    }
    normalizers.push(Replace::new(" ", SPACE).map_err(|error| gguf.invalid(error))?.into());
    let mut decoders: Vec<DecoderWrapper> = vec![
        Replace::new(SPACE, " ").map_err(|error| gguf.invalid(error))?.into(),
        ByteFallback::default().into(),
        Fuse::default().into(),
    ];
    if prefix {
        decoders.push(Strip::new(' ', 1, 0).into());
    }
    tokenizer
        .with_normalizer(Some(Normalizers::new(normalizers)))
        .map_err(|error| gguf.invalid(error))?
        .with_decoder(Some(Decoders::new(decoders)));
    Ok(tokenizer)
}

/// Every split of a token into two tokens, best score first.
fn merges_from_scores(tokens: &[String], scores: &[f32]) -> Merges {
    let ids: HashMap<&str, usize> =
        tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id)).collect();
    let mut merges: Vec<(f32, usize, usize)> = Vec::new();
    for (token, score) in tokens.iter().zip(scores) {
        let own = merges.len();
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if let (Some(left), Some(right)) = (ids.get(left), ids.get(right)) {
                merges.push((*score, *left, *right));
            }
        }
        if let Some(own) = merges.get_mut(own..) {
            own.sort_by_key(|(_, left, right)| (*left, *right));
        }
    }
    merges.sort_by(|(a, ..), (b, ..)| b.total_cmp(a));
    let text = |id: usize| tokens.get(id).cloned().unwrap_or_default();
    merges.into_iter().map(|(_, left, right)| (text(left), text(right))).collect()
}

/// The characters that byte-level vocabularies use for bytes: printable Latin-1 characters stand for
/// themselves, the other bytes map to the characters from U+0100 on.
fn byte_characters() -> HashMap<char, u8> {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut next = 0x100u32;
    (0..=u8::MAX)
        .map(|byte| {
            if printable(byte) {
                return (char::from(byte), byte);
            }
            let character = char::from_u32(next).unwrap_or(char::REPLACEMENT_CHARACTER);
            next += 1;
            (character, byte)
        })
        .collect()
}

/// The byte that a token like `<0x41>` stands for.
pub(super) fn byte_of(token: &str) -> Option<u8> {
    u8::from_str_radix(token.strip_prefix("<0x")?.strip_suffix('>')?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_a_character() {
        let characters = byte_characters();
        assert_eq!(characters.len(), 256);
        assert_eq!(characters.get(&'\u{120}'), Some(&b' '));
        assert_eq!(characters.get(&'\u{10a}'), Some(&b'\n'));
        assert_eq!(characters.get(&'A'), Some(&b'A'));
    }

    #[test]
    fn merges_follow_the_scores() {
        let tokens = ["a", "b", "c", "ab", "bc", "abc"].map(str::to_owned);
        let merges = merges_from_scores(&tokens, &[0.0, 0.0, 0.0, -2.0, -1.0, -3.0]);
        let expected = [("b", "c"), ("a", "b"), ("a", "bc"), ("ab", "c")];
        assert_eq!(merges, expected.map(|(left, right)| (left.to_owned(), right.to_owned())));
    }

    #[test]
    fn byte_tokens_are_parsed() {
        assert_eq!(byte_of("<0x0A>"), Some(10));
        assert_eq!(byte_of("<0xZZ>"), None);
        assert_eq!(byte_of("x"), None);
    }
}
