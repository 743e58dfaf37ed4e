//! all-MiniLM-L6-v2 over a ragged batch of 32 texts: ours, packed and in 8 bits, against candle's stock BERT in
//! 32-bit floats, padded to the longest.

use std::time::Instant;

use epitome_engine::{Models, Rates, Window};

use super::{ROUNDS, median, row, stock};

const MODEL: &str = "all-minilm-l6-v2";
const LAYERS: usize = 6;
const DIM: usize = 384;
/// Multiply-adds per token in the linear layers.
const LINEAR: f64 = (LAYERS * 12 * DIM * DIM) as f64;

pub fn run(models: &Models, rates: &Rates) {
    let encoder = models.embedder().unwrap();
    let file = models.locate(MODEL).unwrap().path("model.safetensors").unwrap().to_owned();
    let folder = file.parent().unwrap().display().to_string();
    // Lengths from 20 to 250 tokens, typical of sentences and passages.
    let texts: Vec<Vec<u32>> = (0..32u32)
        .map(|text| (0..20 + text * 97 % 231).map(|i| 1000 + (text * 7919 + i * 104_729) % 29_000).collect())
        .collect();
    let tokens: usize = texts.iter().map(|text| text.len() + 2).sum();
    let lengths: Vec<String> = texts.iter().map(|text| (text.len() + 2).to_string()).collect();
    let asked: Vec<&str> =
        ["encoder", &folder].into_iter().chain(lengths.iter().map(String::as_str)).collect();
    let windows: Vec<Window<'_>> =
        texts.iter().map(|ids| Window { context: &[], parts: vec![ids.as_slice()] }).collect();
    let (mut together, mut alone, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        // One thread per core, each with its share of the windows, as in the ranker.
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

        theirs.extend(stock(&asked));
    }
    let theirs = (!theirs.is_empty()).then(|| ("candle, padded, all threads", median(theirs)));
    row("encoder, ragged batch of 32", median(together), theirs, Some(rates.multiply_adds / LINEAR));
    row("encoder, the same on one thread", median(alone), theirs, None);
}
