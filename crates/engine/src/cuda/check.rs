//! Self-test of a GPU against the CPU: kernels that compile and run may still compute wrong results on a GPU
//! model they were never tried on.

use std::{collections::HashMap, sync::Arc};

use candle_core::{Device, Tensor};

use super::{
    CudaError,
    machine::{Buffer, Machine, Product, Target, narrow, padded, widen},
};
use crate::{
    Turn,
    bert::{Bert, BertConfig, Sequence},
    config::Precision,
};

type Result<T> = std::result::Result<T, CudaError>;

/// Maximum deviation, relative to the greatest value: several times the rounding error of bf16.
const TOLERANCE: f32 = 0.05;
/// Rows, inputs and outputs of the product: not multiples of a tile, except where cuBLASLt requires it.
const SHAPE: (usize, usize, usize) = (37, 192, 96);
/// Width and heads of the encoders: heads of 32 and of 64 values, as in the supported models.
const ENCODERS: [(usize, usize); 2] = [(64, 2), (128, 2)];
/// Window lengths: within a page of keys, at its border, and across several pages.
const WINDOWS: [usize; 4] = [1, 32, 33, 100];
const WORDS: usize = 50;
/// Memory limit for the encoders' activations in bytes.
const ACTIVATIONS: usize = 1 << 20;

/// Computes a product and the windows of small encoders on both the machine and the CPU.
///
/// # Errors
///
/// [`CudaError::Wrong`] says which result differs; other errors say what the machine failed at.
pub(crate) fn check(machine: &Arc<dyn Machine>) -> Result<()> {
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    for into in [Target::Wide, Target::Narrow, Target::Sum] {
        product(machine, &mut numbers, into)?;
    }
    ENCODERS.iter().try_for_each(|(dim, heads)| encoder(machine, &mut numbers, *dim, *heads))
}

/// Pseudo-random numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn values(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.next() * scale).collect()
    }

    /// The next number, between -1 and 1.
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

fn product(machine: &Arc<dyn Machine>, numbers: &mut Numbers, into: Target) -> Result<()> {
    let (rows, inputs, outputs) = SHAPE;
    let rounded = |values: Vec<f32>| values.into_iter().map(|value| widen(narrow(value))).collect::<Vec<_>>();
    let x = rounded(numbers.values(rows * inputs, 1.0));
    let weight = rounded(numbers.values(outputs * inputs, 1.0));
    let start = numbers.values(rows * outputs, 4.0);
    let room = |values: &[f32], width: usize| {
        let mut values = values.to_vec();
        values.resize(padded(rows) * width, 0.0);
        values
    };
    let on = Buffer::of_narrowed(machine, &room(&x, inputs))?;
    let on_weight = Buffer::of_narrowed(machine, &weight)?;
    let out = Buffer::of_floats(machine, &room(&start, outputs))?;
    let (at, weight_at, out_at) = (on.address(), on_weight.address(), out.address());
    machine.product(&Product { x: at, weight: weight_at, out: out_at, rows, inputs, outputs, into })?;
    let ours = match into {
        Target::Wide | Target::Sum => out.floats(rows * outputs)?,
        Target::Narrow => out.narrowed(rows * outputs)?,
    };
    let added = |at: usize| if into == Target::Sum { start[at] } else { 0.0 };
    let exact: Vec<f32> = x
        .chunks(inputs)
        .flat_map(|x| weight.chunks(inputs).map(move |w| w.iter().zip(x).map(|(a, b)| a * b).sum::<f32>()))
        .enumerate()
        .map(|(at, dot)| dot + added(at))
        .collect();
    compare("a product of matrices", &ours, &exact)
}

fn encoder(machine: &Arc<dyn Machine>, numbers: &mut Numbers, dim: usize, heads: usize) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| CudaError::Unsupported(format!("its self-check: {error}"));
    let inner = dim + dim / 2;
    let config = BertConfig {
        hidden_size: dim,
        max_position_embeddings: 128,
        num_hidden_layers: 2,
        num_attention_heads: heads,
        layer_norm_eps: 1e-12,
        hidden_act: "gelu".into(),
        position_embedding_type: "absolute".into(),
    };
    let tensors = weights(numbers, dim, inner).map_err(|error| failed(&error))?;
    let windows = WINDOWS.map(|length| Sequence {
        ids: (0..length).map(|_| (numbers.next().abs() * WORDS as f32) as u32 % WORDS as u32).collect(),
        second: length / 2,
    });
    let turn = Turn::now();
    let exact = Bert::new(tensors.clone(), config.clone(), Precision::F32)
        .and_then(|exact| exact.forward(&windows, &turn))
        .map_err(|error| failed(&error))?;
    let ours = Bert::on(machine, || Ok(ACTIVATIONS), tensors, config)
        .and_then(|ours| ours.forward(&windows, &turn))
        .map_err(|error| failed(&error))?;
    compare("a window of an encoder", &ours, &exact)
}

fn weights(numbers: &mut Numbers, dim: usize, inner: usize) -> candle_core::Result<HashMap<String, Tensor>> {
    let mut tensors = HashMap::new();
    let mut add = |name: String, shape: &[usize], scale: f32, around: f32| {
        let values = numbers.values(shape.iter().product(), scale);
        let values: Vec<f32> = values.into_iter().map(|value| value + around).collect();
        tensors.insert(name, Tensor::from_vec(values, shape, &Device::Cpu)?);
        candle_core::Result::Ok(())
    };
    add("embeddings.word_embeddings.weight".into(), &[WORDS, dim], 1.0, 0.0)?;
    add("embeddings.position_embeddings.weight".into(), &[128, dim], 0.3, 0.0)?;
    add("embeddings.token_type_embeddings.weight".into(), &[2, dim], 0.3, 0.0)?;
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    for layer in 0..2 {
        for (part, outputs, inputs) in [
            ("attention.self.query", dim, dim),
            ("attention.self.key", dim, dim),
            ("attention.self.value", dim, dim),
            ("attention.output.dense", dim, dim),
            ("intermediate.dense", inner, dim),
            ("output.dense", dim, inner),
        ] {
            add(format!("encoder.layer.{layer}.{part}.weight"), &[outputs, inputs], 0.2, 0.0)?;
            add(format!("encoder.layer.{layer}.{part}.bias"), &[outputs], 0.1, 0.0)?;
        }
        norms.push(format!("encoder.layer.{layer}.attention.output.LayerNorm"));
        norms.push(format!("encoder.layer.{layer}.output.LayerNorm"));
    }
    for norm in norms {
        add(format!("{norm}.weight"), &[dim], 0.2, 1.0)?;
        add(format!("{norm}.bias"), &[dim], 0.2, 0.0)?;
    }
    Ok(tensors)
}

fn compare(what: &'static str, ours: &[f32], exact: &[f32]) -> Result<()> {
    let most = exact.iter().fold(1e-20_f32, |most, value| most.max(value.abs()));
    let far = ours.iter().zip(exact).map(|(a, b)| (a - b).abs() / most);
    // NaN counts as an infinite deviation.
    let far = far.fold(0.0_f32, |far, one| if one.is_nan() { f32::INFINITY } else { far.max(one) });
    if ours.len() == exact.len() && far <= TOLERANCE {
        Ok(())
    } else {
        Err(CudaError::Wrong { what, far: f64::from(far) * 100.0 })
    }
}
