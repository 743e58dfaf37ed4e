//! The part of ModernBERT's `config.json` that the forward pass needs.

use std::collections::HashMap;

use candle_core::{Result, bail};
use serde::Deserialize;

/// The part of `config.json` that the forward pass needs, as written by older and newer versions of
/// transformers.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ModernBertConfig {
    pub(crate) hidden_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) vocab_size: usize,
    #[serde(default = "defaults::length")]
    pub(crate) max_position_embeddings: usize,
    #[serde(default = "defaults::epsilon")]
    pub(crate) norm_eps: f64,
    #[serde(default)]
    pub(crate) norm_bias: bool,
    #[serde(default)]
    pub(super) attention_bias: bool,
    #[serde(default)]
    pub(super) mlp_bias: bool,
    #[serde(default)]
    pub(crate) classifier_bias: bool,
    #[serde(default = "defaults::activation")]
    hidden_activation: String,
    #[serde(default = "defaults::activation")]
    pub(crate) classifier_activation: String,
    #[serde(default = "defaults::pooling")]
    pub(crate) classifier_pooling: String,
    #[serde(default = "defaults::local")]
    pub(super) local_attention: usize,
    #[serde(default = "defaults::every")]
    global_attn_every_n_layers: usize,
    #[serde(default = "defaults::global_theta")]
    global_rope_theta: f64,
    #[serde(default = "defaults::local_theta")]
    local_rope_theta: Option<f64>,
    layer_types: Option<Vec<String>>,
    rope_parameters: Option<HashMap<String, Rope>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Rope {
    rope_theta: f64,
    #[serde(default = "defaults::rope")]
    rope_type: String,
}

/// Defaults of missing keys.
mod defaults {
    pub(super) fn length() -> usize {
        8192
    }
    pub(super) fn epsilon() -> f64 {
        1e-5
    }
    pub(super) fn activation() -> String {
        "gelu".into()
    }
    pub(super) fn pooling() -> String {
        "cls".into()
    }
    pub(super) fn local() -> usize {
        128
    }
    pub(super) fn every() -> usize {
        3
    }
    pub(super) fn global_theta() -> f64 {
        160_000.0
    }
    pub(super) fn local_theta() -> Option<f64> {
        Some(10_000.0)
    }
    pub(super) fn rope() -> String {
        "default".into()
    }
}

const GLOBAL: &str = "full_attention";
const LOCAL: &str = "sliding_attention";

impl ModernBertConfig {
    /// For each layer, whether it attends to the whole window.
    pub(super) fn global_layers(&self) -> Result<Vec<bool>> {
        let count = self.num_hidden_layers;
        let Some(types) = &self.layer_types else {
            let every = self.global_attn_every_n_layers.max(1);
            return Ok((0..count).map(|layer| layer.is_multiple_of(every)).collect());
        };
        if types.len() != count {
            bail!("config.json: layer_types names {} layers of {count}", types.len());
        }
        types
            .iter()
            .map(|kind| match kind.as_str() {
                GLOBAL => Ok(true),
                LOCAL => Ok(false),
                other => bail!("config.json: layer_types: {other:?} is neither {GLOBAL:?} nor {LOCAL:?}"),
            })
            .collect()
    }

    /// The base of the rotation frequencies of global or local layers.
    pub(super) fn theta(&self, global: bool) -> Result<f64> {
        let kind = if global { GLOBAL } else { LOCAL };
        let theta = match self.rope_parameters.as_ref().and_then(|rope| rope.get(kind)) {
            Some(rope) if rope.rope_type != "default" => {
                bail!(
                    "config.json: rope_parameters: positions of type {:?} are not supported",
                    rope.rope_type
                )
            }
            Some(rope) => rope.rope_theta,
            None if global => self.global_rope_theta,
            None => self.local_rope_theta.unwrap_or(self.global_rope_theta),
        };
        if theta.is_finite() && theta > 0.0 {
            Ok(theta)
        } else {
            bail!("config.json: {theta} is no base of frequencies")
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        let (dim, heads) = (self.hidden_size, self.num_attention_heads);
        if heads == 0 || dim == 0 || !dim.is_multiple_of(2 * heads) {
            bail!(
                "config.json: {heads} attention heads do not divide a hidden size of {dim} into even parts"
            );
        }
        if self.intermediate_size == 0 {
            bail!("config.json: intermediate_size is 0");
        }
        if self.hidden_activation != "gelu" {
            bail!("config.json: the activation {:?} is not supported, only \"gelu\"", self.hidden_activation);
        }
        Ok(())
    }
}
