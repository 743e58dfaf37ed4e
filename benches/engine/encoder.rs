//! all-MiniLM-L6-v2 over a ragged batch of 32 texts: ours, packed and in 8 bits, against the same layers
//! written in candle's operations in 32-bit floats, padded to the longest, as its stock model does it.

use std::{collections::HashMap, time::Instant};

use candle_core::{D, DType, Device, Module, Result, Tensor};
use candle_nn::ops::softmax;
use epitome::model::{Models, Rates, Window};

use super::{ROUNDS, median, row};

const MODEL: &str = "all-minilm-l6-v2";
const LAYERS: usize = 6;
const HEADS: usize = 12;
const DIM: usize = 384;
/// Multiply-adds a token in the linear layers.
const LINEAR: f64 = (LAYERS * 12 * DIM * DIM) as f64;

pub fn run(models: &Models, rates: &Rates) {
    let encoder = models.embedder().unwrap();
    let file = models.locate(MODEL).unwrap().path("model.safetensors").unwrap().to_owned();
    let weights = candle_core::safetensors::load(file, &Device::Cpu).unwrap();
    // Lengths from 20 to 250, as sentences and passages have them.
    let texts: Vec<Vec<u32>> = (0..32u32)
        .map(|text| (0..20 + text * 97 % 231).map(|i| 1000 + (text * 7919 + i * 104_729) % 29_000).collect())
        .collect();
    let tokens: usize = texts.iter().map(|text| text.len() + 2).sum();
    let windows: Vec<Window<'_>> =
        texts.iter().map(|ids| Window { context: &[], parts: vec![ids.as_slice()] }).collect();
    let (mut together, mut alone, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        // A thread a core, each with its share of the windows: as the ranker does.
        let threads = std::thread::available_parallelism().unwrap().get();
        let mut shares: Vec<Vec<Window<'_>>> = vec![Vec::new(); threads];
        for (at, window) in windows.iter().enumerate() {
            shares[at % threads].push(window.clone());
        }
        std::thread::scope(|scope| {
            for share in &shares {
                scope.spawn(|| encoder.encode(share).unwrap());
            }
        });
        together.push(tokens as f64 / start.elapsed().as_secs_f64());

        let start = Instant::now();
        encoder.encode(&windows).unwrap();
        alone.push(tokens as f64 / start.elapsed().as_secs_f64());

        let start = Instant::now();
        padded(&texts, &weights).unwrap();
        theirs.push(tokens as f64 / start.elapsed().as_secs_f64());
    }
    let theirs = median(theirs);
    let floor = rates.multiply_adds / LINEAR;
    row("encoder, ragged batch of 32", median(together), Some(("candle, padded", theirs)), Some(floor));
    row(
        "encoder, the same on one thread",
        median(alone),
        Some(("candle, padded, all threads", theirs)),
        None,
    );
}

/// The last layer's vectors, padded.
fn padded(texts: &[Vec<u32>], w: &HashMap<String, Tensor>) -> Result<Tensor> {
    let device = &Device::Cpu;
    let longest = texts.iter().map(|text| text.len() + 2).max().unwrap_or(0);
    let (mut ids, mut mask) = (Vec::new(), Vec::new());
    for text in texts {
        let whole: Vec<u32> = [101].iter().chain(text).chain(&[102]).copied().collect();
        mask.extend((0..longest).map(|at| if at < whole.len() { 0f32 } else { f32::MIN }));
        ids.extend((0..longest).map(|at| whole.get(at).copied().unwrap_or(0)));
    }
    let b = texts.len();
    let mask = Tensor::from_vec(mask, (b, 1, 1, longest), device)?;
    let linear = |x: &Tensor, name: &str| -> Result<Tensor> {
        x.broadcast_matmul(&w[&format!("{name}.weight")].t()?)?.broadcast_add(&w[&format!("{name}.bias")])
    };
    let norm = |x: &Tensor, name: &str| {
        let (weight, bias) = (w[&format!("{name}.weight")].clone(), w[&format!("{name}.bias")].clone());
        candle_nn::LayerNorm::new(weight, bias, 1e-12).forward(x)
    };
    let words = w["embeddings.word_embeddings.weight"].index_select(&Tensor::new(ids, device)?, 0)?;
    let words = words.reshape((b, longest, DIM))?;
    let positions = w["embeddings.position_embeddings.weight"].narrow(0, 0, longest)?;
    let types = w["embeddings.token_type_embeddings.weight"].narrow(0, 0, 1)?;
    let embedded = words.broadcast_add(&positions)?.broadcast_add(&types)?;
    let mut h = norm(&embedded, "embeddings.LayerNorm")?;
    for layer in 0..LAYERS {
        let at = |part: &str| format!("encoder.layer.{layer}.{part}");
        let heads = |x: Tensor| x.reshape((b, longest, HEADS, DIM / HEADS))?.transpose(1, 2)?.contiguous();
        let q = heads(linear(&h, &at("attention.self.query"))?)?;
        let k = heads(linear(&h, &at("attention.self.key"))?)?;
        let v = heads(linear(&h, &at("attention.self.value"))?)?;
        let scores = (q.matmul(&k.transpose(2, 3)?.contiguous()?)? / ((DIM / HEADS) as f64).sqrt())?;
        let context = softmax(&scores.broadcast_add(&mask)?, D::Minus1)?.matmul(&v)?;
        let context = context.transpose(1, 2)?.contiguous()?.reshape((b, longest, DIM))?;
        let attended = (&h + linear(&context, &at("attention.output.dense"))?)?;
        h = norm(&attended, &at("attention.output.LayerNorm"))?;
        let inner = linear(&h, &at("intermediate.dense"))?.gelu_erf()?;
        h = norm(&(&h + linear(&inner, &at("output.dense"))?)?, &at("output.LayerNorm"))?;
    }
    h.to_dtype(DType::F32)
}
