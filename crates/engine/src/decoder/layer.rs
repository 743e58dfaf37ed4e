//! The weights of a layer, and how they are loaded.

use super::{shape::Shape, weights::Weights};
use crate::{ModelError, config::Precision, kernels::Block4, linear::Linear};

/// Weights of a layer.
pub(super) struct Layer {
    pub(super) attention_norm: Vec<f32>,
    /// Query, key and value matrices, stacked row-wise.
    pub(super) qkv: Linear,
    pub(super) qkv_bias: Option<Vec<f32>>,
    /// Norms of each query and each key (qwen3).
    pub(super) head_norms: Option<(Vec<f32>, Vec<f32>)>,
    pub(super) output: Linear,
    pub(super) output_bias: Option<Vec<f32>>,
    pub(super) feed_norm: Vec<f32>,
    /// Gate and up matrices, stacked row-wise.
    pub(super) gate_up: Linear,
    pub(super) down: Linear,
}

impl Layer {
    pub(super) fn load(
        weights: &mut Weights,
        index: usize,
        shape: &Shape,
        precision: Option<Precision>,
    ) -> std::result::Result<Self, ModelError> {
        let at = |part: &str| format!("blk.{index}.{part}");
        let mut stacked = |parts: &[&str], inputs| {
            let names: Vec<String> = parts.iter().map(|part| at(part)).collect();
            stacked(weights, &names, inputs, precision)
        };
        let (qkv, qkv_bias) = stacked(&["attn_q", "attn_k", "attn_v"], shape.dim)?;
        let (output, output_bias) = stacked(&["attn_output"], shape.query_width())?;
        let (gate_up, gate_bias) = stacked(&["ffn_gate", "ffn_up"], shape.dim)?;
        let (down, down_bias) = stacked(&["ffn_down"], gate_up.outputs() / 2)?;
        if gate_bias.is_some() || down_bias.is_some() {
            return Err(
                weights.invalid(format!("layer {index}: biases in its feed-forward part are not supported"))
            );
        }
        if qkv.outputs() != shape.query_width() + 2 * shape.key_width()
            || output.outputs() != shape.dim
            || down.outputs() != shape.dim
        {
            return Err(
                weights.invalid(format!("layer {index}: the weights do not fit the shape in the metadata"))
            );
        }
        let head_norms = if weights.has_tensor(&at("attn_q_norm.weight")) {
            let mut norm = |part: &str| sized(weights, &at(part), shape.head_dim);
            Some((norm("attn_q_norm.weight")?, norm("attn_k_norm.weight")?))
        } else {
            None
        };
        Ok(Self {
            attention_norm: sized(weights, &at("attn_norm.weight"), shape.dim)?,
            qkv,
            qkv_bias,
            head_norms,
            output,
            output_bias,
            feed_norm: sized(weights, &at("ffn_norm.weight"), shape.dim)?,
            gate_up,
            down,
        })
    }
}

/// The weights of the given names, stacked row-wise, and their biases, if the file has any.
pub(super) fn stacked(
    weights: &mut Weights,
    names: &[String],
    inputs: usize,
    precision: Option<Precision>,
) -> std::result::Result<(Linear, Option<Vec<f32>>), ModelError> {
    let linear = match (precision, four_bits(weights, names)?) {
        (None, Some(blocks)) => Linear::of_blocks(&blocks, inputs),
        (precision, _) => {
            let weight = stacked_weights(weights, names, inputs)?;
            Linear::of(&weight, inputs, precision.unwrap_or_default())
        }
    };
    let linear = linear.map_err(|error| weights.invalid(error))?;
    Ok((linear, stacked_biases(weights, names, inputs)?))
}

/// The values of [`stacked`], in 32-bit floats.
#[cfg(feature = "cuda")]
pub(crate) fn stacked_values(
    weights: &mut Weights,
    names: &[String],
    inputs: usize,
) -> std::result::Result<(Vec<f32>, Option<Vec<f32>>), ModelError> {
    Ok((stacked_weights(weights, names, inputs)?, stacked_biases(weights, names, inputs)?))
}

fn stacked_weights(
    weights: &mut Weights,
    names: &[String],
    inputs: usize,
) -> std::result::Result<Vec<f32>, ModelError> {
    let mut weight = Vec::new();
    for name in names {
        let own = weights.values(&format!("{name}.weight"))?;
        if inputs == 0 || !own.len().is_multiple_of(inputs) {
            return Err(weights.invalid(format!("{name} has {} values, not rows of {inputs}", own.len())));
        }
        weight.extend(own);
    }
    Ok(weight)
}

/// `None` if the file has no bias for any of them.
fn stacked_biases(
    weights: &mut Weights,
    names: &[String],
    inputs: usize,
) -> std::result::Result<Option<Vec<f32>>, ModelError> {
    let biases: Vec<String> = names.iter().map(|name| format!("{name}.bias")).collect();
    if !biases.iter().any(|name| weights.has_tensor(name)) {
        return Ok(None);
    }
    let mut bias = Vec::new();
    for (name, weight) in biases.iter().zip(names) {
        let outputs = weights.count(&format!("{weight}.weight")) / inputs.max(1);
        if weights.has_tensor(name) {
            bias.extend(sized(weights, name, outputs)?);
        } else {
            bias.extend(std::iter::repeat_n(0.0, outputs));
        }
    }
    Ok(Some(bias))
}

/// The blocks of all the weights, if all are in 4 bits.
fn four_bits(
    weights: &mut Weights,
    names: &[String],
) -> std::result::Result<Option<Vec<Block4>>, ModelError> {
    let mut all = Vec::new();
    for name in names {
        match weights.blocks(&format!("{name}.weight"))? {
            Some(blocks) => all.extend(blocks),
            None => return Ok(None),
        }
    }
    Ok(Some(all))
}

/// A tensor, checked to have this many values.
pub(crate) fn sized(
    weights: &mut Weights,
    name: &str,
    count: usize,
) -> std::result::Result<Vec<f32>, ModelError> {
    let values = weights.values(name)?;
    if values.len() == count {
        return Ok(values);
    }
    Err(weights.invalid(format!("tensor {name} has {} values, not {count}", values.len())))
}
