//! LoRA adapters (Hu et al., arXiv 2106.09685) in PEFT's format, merged into the weights at load:
//! `W + scale B A`.

use std::{collections::HashMap, path::Path};

use rayon::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::names::from_hub;
use crate::{ModelError, error::at, shards::Shards};

/// The files of an adapter's folder, the weights first.
pub(crate) const ADAPTER_FILES: [&str; 2] = ["adapter_model.safetensors", "adapter_config.json"];

/// The relevant part of an `adapter_config.json`.
#[derive(Debug, Deserialize)]
struct AdapterConfig {
    peft_type: Option<String>,
    r: usize,
    lora_alpha: f32,
    #[serde(default)]
    use_rslora: bool,
    #[serde(flatten)]
    rest: HashMap<String, Value>,
}

/// Options that change the meaning of the weights and are not supported when on.
const SWITCHES: [&str; 13] = [
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "fan_in_fan_out",
    "lora_bias",
    "modules_to_save",
    "rank_pattern",
    "alpha_pattern",
    "trainable_token_indices",
    "target_parameters",
    "layer_replication",
    "alora_invocation_tokens",
    "arrow_config",
];

/// The low-rank products of an adapter, by the name of the weight.
pub(crate) struct Adapter {
    products: HashMap<String, Product>,
}

/// `scale B A`.
struct Product {
    scale: f32,
    /// Rank-many rows of `inputs` values.
    a: Vec<f32>,
    inputs: usize,
    /// Rows with as many values as `a` has rows.
    b: Vec<f32>,
    rank: usize,
}

impl Adapter {
    /// Reads an adapter's weights and configuration.
    pub(super) fn open(weights: &Path, config_path: &Path) -> Result<Self, ModelError> {
        let text = std::fs::read(config_path).map_err(at(config_path))?;
        let config: AdapterConfig =
            serde_json::from_slice(&text).map_err(|error| ModelError::invalid(config_path, error))?;
        if let Some(reason) = config.unsupported() {
            return Err(ModelError::invalid(config_path, reason));
        }
        let root = if config.use_rslora { (config.r as f32).sqrt() } else { config.r as f32 };
        let scale = config.lora_alpha / root;
        let mut shards = Shards::open(&[weights])?;
        let names: Vec<String> = shards.names().into_iter().map(str::to_owned).collect();
        let mut products = HashMap::new();
        for name in &names {
            let own = name.strip_suffix(".lora_A.weight");
            let Some(module) = own.or(name.strip_suffix(".lora_B.weight")) else {
                let what = if name.contains("lora_embedding") { "LoRA of the embedding" } else { "it" };
                return Err(ModelError::invalid(
                    weights,
                    format!(
                        "tensor {name}: {what} is not supported; pairs of lora_A.weight and lora_B.weight are"
                    ),
                ));
            };
            let known = from_hub(module.strip_prefix("base_model.model.").unwrap_or(module));
            let Some(target) = known.filter(|target| target != "token_embd") else {
                return Err(ModelError::invalid(
                    weights,
                    format!("tensor {name} is of no layer that can be adapted"),
                ));
            };
            if own.is_some() {
                let product = Product::read(&mut shards, weights, module, config.r, scale)?;
                if products.insert(target, product).is_some() {
                    return Err(ModelError::invalid(weights, format!("has two products for {module}")));
                }
            } else if !shards.has(&format!("{module}.lora_A.weight")) {
                return Err(ModelError::invalid(weights, format!("{name} has no lora_A.weight beside it")));
            }
        }
        if products.is_empty() {
            return Err(ModelError::invalid(weights, "holds no lora_A.weight"));
        }
        Ok(Self { products })
    }

    /// Whether it changes this weight.
    pub(super) fn changes(&self, name: &str) -> bool {
        self.products.contains_key(name)
    }

    /// The names of the weights it changes, with their number of outputs and inputs.
    pub(super) fn targets(&self) -> impl Iterator<Item = (&str, [usize; 2])> {
        self.products
            .iter()
            .map(|(name, product)| (name.as_str(), [product.b.len() / product.rank.max(1), product.inputs]))
    }

    /// Adds the product to a weight. `row_of` maps a row of the weight to a row of the adapter.
    pub(super) fn merge(
        &self,
        name: &str,
        weight: &mut [f32],
        row_of: impl Fn(usize) -> usize + Sync,
    ) -> Result<(), String> {
        let Some(product) = self.products.get(name) else { return Ok(()) };
        let Product { scale, a, inputs, b, rank } = product;
        let outputs = b.len() / rank;
        if weight.len() != outputs * inputs {
            return Err(format!(
                "the adapter's product of {outputs} rows of {inputs} values does not fit {name} with {} values",
                weight.len()
            ));
        }
        weight.par_chunks_exact_mut(*inputs).enumerate().for_each(|(row, weight)| {
            let from = row_of(row) * rank;
            for (factor, a) in
                b.get(from..from + rank).unwrap_or_default().iter().zip(a.chunks_exact(*inputs))
            {
                let factor = scale * factor;
                weight.iter_mut().zip(a).for_each(|(weight, a)| *weight += factor * a);
            }
        });
        Ok(())
    }
}

impl Product {
    fn read(
        shards: &mut Shards,
        path: &Path,
        module: &str,
        r: usize,
        scale: f32,
    ) -> Result<Self, ModelError> {
        let (a_name, b_name) = (format!("{module}.lora_A.weight"), format!("{module}.lora_B.weight"));
        let shape = |name: &str| match shards.shape(name) {
            Some([rows, columns]) if *rows > 0 && *columns > 0 => Ok((*rows, *columns)),
            Some(other) => Err(ModelError::invalid(path, format!("tensor {name} has the shape {other:?}"))),
            None => Err(ModelError::invalid(path, format!("there is no tensor {name}"))),
        };
        let ((rank, inputs), (_, columns)) = (shape(&a_name)?, shape(&b_name)?);
        if rank != r || columns != r {
            return Err(ModelError::invalid(
                path,
                format!("{module} has the rank {rank} and {columns}, but adapter_config.json says {r}"),
            ));
        }
        Ok(Self { scale, a: shards.values(&a_name)?, inputs, b: shards.values(&b_name)?, rank })
    }
}

impl AdapterConfig {
    fn unsupported(&self) -> Option<String> {
        if let Some(kind) = self.peft_type.as_deref().filter(|kind| !kind.eq_ignore_ascii_case("lora")) {
            return Some(format!("peft_type is {kind}; LORA is supported"));
        }
        if self.r == 0 {
            return Some("r is 0".into());
        }
        if let Some(bias) = self.rest.get("bias").and_then(Value::as_str).filter(|bias| *bias != "none") {
            return Some(format!("bias is {bias:?}; adapters that train biases are not supported"));
        }
        let on = |value: &Value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Array(values) => !values.is_empty(),
            Value::Object(values) => !values.is_empty(),
            _ => true,
        };
        let name = SWITCHES.into_iter().find(|name| self.rest.get(*name).is_some_and(on))?;
        Some(format!("{name} is set, which is not supported; plain LoRA of linear layers is"))
    }
}
