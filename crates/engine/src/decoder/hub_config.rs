//! Shape and constants of a decoder, read from the `config.json` of a Hugging Face folder.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{
    rope::{Rope, Scaling, YARN_TURNS, yarn_scale},
    shape::Shape,
};
use crate::{ModelError, error::at};

/// The supported values of `model_type`.
const KINDS: [&str; 3] = ["llama", "qwen2", "qwen3"];

/// The relevant part of a `config.json`. Missing keys have the same defaults as in transformers.
#[derive(Debug, Deserialize)]
pub(super) struct HubConfig {
    model_type: String,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: Option<usize>,
    rms_norm_eps: Option<f32>,
    rope_theta: Option<f64>,
    rope_scaling: Option<RopeParameters>,
    rope_parameters: Option<RopeParameters>,
    partial_rotary_factor: Option<f64>,
    hidden_act: Option<String>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    /// Whether input and output share one embedding table.
    pub(super) tie_word_embeddings: Option<bool>,
    use_sliding_window: Option<bool>,
    sliding_window: Option<usize>,
    #[serde(default)]
    layer_types: Option<Vec<String>>,
    quantization_config: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
struct RopeParameters {
    rope_type: Option<String>,
    /// The older name of the same key.
    #[serde(rename = "type")]
    kind: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
    attention_factor: Option<f64>,
    mscale: Option<f64>,
    mscale_all_dim: Option<f64>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    truncate: Option<bool>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    partial_rotary_factor: Option<f64>,
}

impl HubConfig {
    /// Reads the file and rejects unsupported options.
    pub(super) fn read(path: &Path) -> Result<Self, ModelError> {
        let text = std::fs::read(path).map_err(at(path))?;
        let given: Value = serde_json::from_slice(&text).map_err(|error| ModelError::invalid(path, error))?;
        let kind = given.get("model_type").and_then(Value::as_str).unwrap_or("missing");
        if !KINDS.contains(&kind) {
            let reason = format!("model_type is {kind}; {} are supported", KINDS.join(", "));
            return Err(ModelError::invalid(path, reason));
        }
        let config: Self = serde_json::from_value(given).map_err(|error| ModelError::invalid(path, error))?;
        match config.unsupported() {
            Some(reason) => Err(ModelError::invalid(path, reason)),
            None => Ok(config),
        }
    }

    fn unsupported(&self) -> Option<String> {
        if let Some(act) = self.hidden_act.as_deref().filter(|act| !matches!(*act, "silu" | "swish")) {
            return Some(format!("hidden_act is {act}; silu is supported"));
        }
        if self.num_hidden_layers == 0 {
            return Some("num_hidden_layers is 0".into());
        }
        if self.mlp_bias == Some(true) {
            return Some("mlp_bias is true; biases in feed-forward parts are not supported".into());
        }
        // `qwen` configurations name a window that is unused unless this is set.
        let windows = if self.model_type == "llama" { self.sliding_window.is_some() } else { false };
        let layers = self.layer_types.iter().flatten();
        if windows
            || self.use_sliding_window == Some(true)
            || layers.into_iter().any(|kind| kind != "full_attention")
        {
            return Some("sliding windows are turned on; only full attention is supported".into());
        }
        if self.quantization_config.as_ref().is_some_and(|config| !config.is_null()) {
            return Some(
                "quantization_config: quantized checkpoints are not supported; take the original one in f32, \
                 bf16 or f16, or a GGUF file"
                    .into(),
            );
        }
        None
    }

    /// Whether queries, keys and values have biases.
    pub(super) fn has_biases(&self) -> bool {
        self.model_type == "qwen2" || self.attention_bias == Some(true)
    }

    /// Whether queries and keys are normalised.
    pub(super) fn has_head_norms(&self) -> bool {
        self.model_type == "qwen3"
    }

    pub(super) fn shape(&self, path: &Path) -> Result<Shape, ModelError> {
        let invalid = |reason: String| ModelError::invalid(path, reason);
        let (dim, heads) = (self.hidden_size, self.num_attention_heads);
        let usual_key_heads = if self.model_type == "llama" { heads } else { 32 };
        let key_heads = self.num_key_value_heads.unwrap_or(usual_key_heads);
        let usual_width = if self.model_type == "qwen3" { 128 } else { dim.checked_div(heads).unwrap_or(0) };
        let head_dim = self.head_dim.unwrap_or(usual_width);
        if dim == 0
            || heads == 0
            || key_heads == 0
            || !heads.is_multiple_of(key_heads)
            || head_dim < 2
            || !head_dim.is_multiple_of(2)
        {
            return Err(invalid(format!(
                "{heads} heads of {head_dim} values over {key_heads} key heads are not supported"
            )));
        }
        let usual_context = if self.model_type == "llama" { 2_048 } else { 32_768 };
        let context = self.max_position_embeddings.unwrap_or(usual_context);
        let (base, scaling) = self.rope(context).map_err(invalid)?;
        let context = match scaling {
            Scaling::Yarn { factor, trained, .. } => context.max((factor * trained) as usize),
            _ => context,
        };
        Ok(Shape {
            context,
            layers: self.num_hidden_layers,
            dim,
            heads,
            key_heads,
            head_dim,
            rope: Rope::new(head_dim, base, &scaling, false),
            epsilon: self.rms_norm_eps.unwrap_or(1e-6),
        })
    }

    /// Base frequency and scaling.
    fn rope(&self, context: usize) -> Result<(f64, Scaling), String> {
        let none = RopeParameters::default();
        let given = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref()).unwrap_or(&none);
        let base = given.rope_theta.or(self.rope_theta).unwrap_or(10_000.0);
        if let Some(part) =
            given.partial_rotary_factor.or(self.partial_rotary_factor).filter(|part| *part != 1.0)
        {
            return Err(format!("partial_rotary_factor is {part}; only whole heads can be turned"));
        }
        let positive = |name: &str, value: Option<f64>| match value {
            Some(value) if value > 0.0 && value.is_finite() => Ok(value),
            Some(value) => Err(format!("the rope's {name} is {value}, not a positive number")),
            None => Err(format!("the rope has no {name}")),
        };
        let base = positive("rope_theta", Some(base))?;
        let trained = given.original_max_position_embeddings;
        let scaling = match given.rope_type.as_deref().or(given.kind.as_deref()).unwrap_or("default") {
            "default" => Scaling::None,
            "linear" => Scaling::Linear { factor: positive("factor", given.factor)? },
            "yarn" => {
                let trained = positive("original_max_position_embeddings", trained.or(Some(context as f64)))?;
                let factor = positive("factor", given.factor.or(Some(context as f64 / trained)))?;
                let weights = given.mscale.zip(given.mscale_all_dim).filter(|(a, b)| *a != 0.0 && *b != 0.0);
                let usual = match weights {
                    Some((own, all)) => yarn_scale(factor, own) / yarn_scale(factor, all),
                    None => yarn_scale(factor, 1.0),
                };
                Scaling::Yarn {
                    factor,
                    trained,
                    fast: positive("beta_fast", given.beta_fast.or(Some(YARN_TURNS.0)))?,
                    slow: positive("beta_slow", given.beta_slow.or(Some(YARN_TURNS.1)))?,
                    truncate: given.truncate.unwrap_or(true),
                    scale: given.attention_factor.unwrap_or(usual),
                }
            }
            "llama3" => {
                let factor = positive("factor", given.factor)?;
                let low = positive("low_freq_factor", given.low_freq_factor)?;
                let high = positive("high_freq_factor", given.high_freq_factor)?;
                if high <= low {
                    return Err(format!(
                        "the rope's high_freq_factor {high} is not above low_freq_factor {low}"
                    ));
                }
                let trained = positive("original_max_position_embeddings", trained.or(Some(context as f64)))?;
                Scaling::Llama3 { factor, trained, low, high }
            }
            other => {
                return Err(format!(
                    "the rope scaling {other:?} is not supported; default, linear, yarn and llama3 are"
                ));
            }
        };
        Ok((base, scaling))
    }
}

/// The ids of an `eos_token_id`, which is a number or a list of numbers.
pub(super) fn ids(value: Option<&Value>) -> Vec<u32> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Some(Value::Array(values)) => values.iter().filter_map(id).collect(),
        Some(value) => id(value).into_iter().collect(),
        None => Vec::new(),
    }
}
