//! Speed of candle's stock models in tokens per second. The bench `engine` runs this alternately with our
//! models.
//!
//!     stock prefill MODEL.gguf TOKENS
//!     stock decode MODEL.gguf TOKENS        # written after a short prompt
//!     stock encoder MODEL_FOLDER LENGTH...  # one padded batch of windows of these lengths

use std::{fs::File, path::Path, time::Instant};

use candle_core::{DType, Device, Result, Tensor, quantized::gguf_file};
use candle_nn::VarBuilder;
use candle_transformers::models::{
    bert::{BertModel, Config},
    quantized_llama::ModelWeights,
};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rate = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["prefill", model, tokens] => decoder(model, number(tokens), 0)?,
        ["decode", model, tokens] => decoder(model, 16, number(tokens))?,
        ["encoder", folder, lengths @ ..] => encoder(folder, lengths)?,
        _ => candle_core::bail!(
            "usage: stock prefill|decode MODEL.gguf TOKENS, stock encoder FOLDER LENGTH..."
        ),
    };
    println!("{rate}");
    Ok(())
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

/// Reads a prompt, or generates after it. The first run is a warm-up.
fn decoder(path: &str, prompt: usize, written: usize) -> Result<f64> {
    let mut file = File::open(path)?;
    let content = gguf_file::Content::read(&mut file)?;
    let device = Device::Cpu;
    let mut model = ModelWeights::from_gguf(content, &mut file, &device)?;
    let mut rate = 0.0;
    for round in 0..2u32 {
        let ids: Vec<u32> = (0..prompt as u32).map(|at| 100 + (at * 7919 + round * 31) % 20_000).collect();
        let start = Instant::now();
        let mut logits = model.forward(&Tensor::new(ids, &device)?.unsqueeze(0)?, 0)?;
        if written == 0 {
            logits.sum_all()?.to_scalar::<f32>()?;
            rate = prompt as f64 / start.elapsed().as_secs_f64();
            continue;
        }
        let start = Instant::now();
        for at in 0..written {
            let next = logits.flatten_all()?.argmax(0)?.to_scalar::<u32>()?;
            logits = model.forward(&Tensor::new(&[next], &device)?.unsqueeze(0)?, prompt + at)?;
        }
        rate = written as f64 / start.elapsed().as_secs_f64();
    }
    Ok(rate)
}

/// Tokens per second, not counting padding.
fn encoder(folder: &str, lengths: &[&str]) -> Result<f64> {
    let device = Device::Cpu;
    let read = |name: &str| std::fs::read(Path::new(folder).join(name));
    let config: Config = serde_json::from_slice(&read("config.json")?).map_err(candle_core::Error::wrap)?;
    let weights = VarBuilder::from_buffered_safetensors(read("model.safetensors")?, DType::F32, &device)?;
    let model = BertModel::load(weights, &config)?;
    let lengths: Vec<usize> = lengths.iter().map(|length| number(length)).collect();
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let (mut ids, mut mask) = (Vec::new(), Vec::new());
    for (text, length) in lengths.iter().enumerate() {
        ids.extend(
            (0..longest).map(|at| {
                if at < *length { (1000 + (text * 7919 + at * 104_729) % 29_000) as u32 } else { 0 }
            }),
        );
        mask.extend((0..longest).map(|at| u32::from(at < *length)));
    }
    let shape = (lengths.len(), longest);
    let (ids, mask) = (Tensor::from_vec(ids, shape, &device)?, Tensor::from_vec(mask, shape, &device)?);
    let types = ids.zeros_like()?;
    let mut rate = 0.0;
    for _ in 0..2 {
        let start = Instant::now();
        model.forward(&ids, &types, Some(&mask))?.sum_all()?.to_scalar::<f32>()?;
        rate = lengths.iter().sum::<usize>() as f64 / start.elapsed().as_secs_f64();
    }
    Ok(rate)
}
