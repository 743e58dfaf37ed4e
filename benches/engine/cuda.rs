//! On a GPU: prefill, decoding and hierarchical summarization of a long text, per model shape, against
//! transformers with the same weights; and the cross-encoder. Each row also gives the target.

use std::{
    ops::ControlFlow,
    path::Path,
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use epitome::config::Config;
use epitome_engine::{Class, Decoder, Gpu, Models, Passage, Sampling};

use super::{
    ROUNDS, median, row,
    shapes::{SHAPES, Shape, word},
};

/// Tokens per segment, and segments read in one batch.
const SEGMENT: usize = 1500;
const SEGMENTS: usize = 64;
/// Tokens of a long text, tokens per segment summary, and summaries merged into one.
const LONG: usize = 100_000;
const SUMMARY: usize = 100;
const MERGED: usize = 12;
/// A multiply-add is two operations, where rates are in operations per second.
const OPERATIONS: f64 = 2.0;

pub fn run(config: &Config) {
    let gpu = match epitome_engine::gpu() {
        Ok(gpu) => gpu,
        Err(error) => {
            println!("\n{error}");
            return;
        }
    };
    let Gpu { name, multiply_adds, bytes, .. } = &gpu;
    println!(
        "\n{name}: {:.0} TFLOP/s in bf16, {:.0} GB/s\n\n| what | ours | other | ratio | floor |\n| --- | --- | --- | --- | --- |",
        OPERATIONS * multiply_adds / 1e12,
        bytes / 1e9,
    );
    let python = std::env::var_os("EPITOME_TRANSFORMERS");
    for shape in SHAPES {
        let folder = tempfile::tempdir().unwrap();
        shape.write(folder.path());
        let began = Instant::now();
        let decoder = decoder(config, folder.path());
        eprintln!("{}: loaded in {:.1} s", shape.name, began.elapsed().as_secs_f64());
        ours(&decoder, &shape, &gpu, |what| {
            let python = python.as_ref()?;
            Some(transformers(Path::new(python), folder.path(), what))
        });
    }
    cross_encoder(config);
}

fn decoder(config: &Config, folder: &Path) -> Arc<Decoder> {
    let mut models = config.models.clone();
    models.decoder = folder.display().to_string();
    Models::new(&models).unwrap().decoder().unwrap()
}

/// Prints the rows of one shape. `theirs` gives transformers' rate, for `prefill` or for a decode batch size.
fn ours(decoder: &Arc<Decoder>, shape: &Shape, gpu: &Gpu, theirs: impl Fn(&str) -> Option<f64>) {
    let name = shape.name;
    // The first pass selects the matrix-multiplication algorithms.
    at_once(decoder, &prompts(SEGMENTS, SEGMENT, 999), 1);
    let rates = (0..ROUNDS).map(|round| {
        let prompts = prompts(SEGMENTS, SEGMENT, round);
        let start = Instant::now();
        at_once(decoder, &prompts, 1);
        (SEGMENTS * SEGMENT) as f64 / start.elapsed().as_secs_f64()
    });
    let other = theirs("prefill").map(|rate| ("transformers", rate));
    let floor = gpu.multiply_adds / shape.layer_multiply_adds();
    row(
        &format!("GPU, {name}: prefill, {SEGMENTS} segments of {SEGMENT} tokens"),
        median(rates.collect()),
        other,
        Some(floor),
    );
    for batch in [1, 8, 64] {
        let rates = (0..ROUNDS).map(|round| {
            let prompts = prompts(batch, SEGMENT, 100 + 10 * batch + round);
            // With the prefix cache warm, all but the last block of each prompt is already read.
            let time = |written| {
                let start = Instant::now();
                at_once(decoder, &prompts, written);
                start.elapsed()
            };
            time(1);
            let short = time(1);
            (batch * (SUMMARY - 1)) as f64
                / (time(SUMMARY) - short).max(Duration::from_micros(1)).as_secs_f64()
        });
        let rate = median(rates.collect());
        let other = theirs(&batch.to_string()).map(|rate| ("transformers", rate));
        let weights = 2.0 * (shape.layer_multiply_adds() + shape.head_multiply_adds());
        let floor = gpu.bytes / weights * batch as f64;
        row(
            &format!("GPU, {name}: decode, batch {batch}, {SEGMENT} tokens before"),
            rate,
            other,
            Some(floor),
        );
    }
    let together = tree(decoder, 10, true);
    let in_turn = tree(decoder, 11, false);
    println!(
        "| GPU, {name}: {LONG} tokens summarized in a tree, seconds | {together:.2} | one at a time {in_turn:.2} | {:.1} | |",
        in_turn / together
    );
}

fn cross_encoder(config: &Config) {
    let encoder = Models::new(&config.models).unwrap().built_in_ranker().unwrap();
    let passages = LONG / 200;
    let texts: Vec<Vec<u32>> = (0..passages as u32)
        .map(|text| (0..200).map(|i| 1000 + (text * 7919 + i * 104_729) % 20_000).collect())
        .collect();
    let passages: Vec<Passage<'_>> =
        texts.iter().map(|ids| Passage { title: &[], parts: ids.chunks(40).collect() }).collect();
    let query = [2054, 2003, 2009];
    encoder.score(&query, &passages).unwrap();
    let seconds = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        encoder.score(&query, &passages).unwrap();
        start.elapsed().as_secs_f64()
    });
    let seconds = median(seconds.collect());
    println!("| GPU: cross-encoder over {LONG} tokens, seconds | {seconds:.3} | | | |");
}

/// Seconds to summarize the leaves and all levels above them.
fn tree(decoder: &Arc<Decoder>, round: usize, together: bool) -> f64 {
    let start = Instant::now();
    let mut level = prompts(LONG / SEGMENT, SEGMENT, round);
    loop {
        let written = if together {
            at_once(decoder, &level, SUMMARY)
        } else {
            level.iter().map(|prompt| generate(decoder, prompt, SUMMARY)).collect()
        };
        if written.len() == 1 {
            return start.elapsed().as_secs_f64();
        }
        level = written.chunks(MERGED).map(<[String]>::concat).collect();
    }
}

fn at_once(decoder: &Arc<Decoder>, prompts: &[String], written: usize) -> Vec<String> {
    thread::scope(|scope| {
        let running: Vec<_> =
            prompts.iter().map(|prompt| scope.spawn(|| generate(decoder, prompt, written))).collect();
        running.into_iter().map(|running| running.join().unwrap()).collect()
    })
}

fn generate(decoder: &Decoder, prompt: &str, max_tokens: usize) -> String {
    let sampling = Sampling::greedy(max_tokens);
    let mut sink = |_: &str| ControlFlow::Continue(());
    let generated = decoder.generate(Class::Summary, prompt, &sampling, &mut sink).unwrap();
    assert_eq!(generated.completion_tokens, max_tokens);
    generated.text
}

/// `count` prompts of `tokens` tokens each that share no prefix with earlier ones.
fn prompts(count: usize, tokens: usize, round: usize) -> Vec<String> {
    let token =
        |at: usize, place: usize| (at * 7919 + place * 104_729 + round * 1_299_709 + place * at) % 40_000;
    (0..count).map(|at| (0..tokens).map(|place| format!(" {}", word(token(at, place)))).collect()).collect()
}

/// Transformers' tokens per second, measured by the script beside this file.
fn transformers(python: &Path, folder: &Path, what: &str) -> f64 {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/engine/transformers.py");
    let numbers = [SEGMENTS, SEGMENT, SUMMARY].map(|number| number.to_string());
    let done = Command::new(python).arg(script).arg(folder).arg(what).args(numbers).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().parse().unwrap()
}
