//! SmolLM2-135M prefill and decoding, against llama.cpp and candle's stock model with the same file and
//! thread count.

use std::{ops::ControlFlow, path::Path, process::Command, thread, time::Instant};

use epitome::config;
use epitome_engine::{ChatMessage, Class, Decoder, Models, Rates, Sampling, config::DecoderPrecision};
use serde_json::Value;

use super::{ROUNDS, median, row, stock};

const MODEL: &str = "smollm2-135m-instruct";
/// Multiply-adds per token in the layers and in the output head, from the shape in the file.
const LAYERS: f64 = 30.0 * (576.0 * (576.0 + 2.0 * 192.0) + 576.0 * 576.0 + 3.0 * 576.0 * 1536.0);
const HEAD: f64 = 576.0 * 49_152.0;
/// Bytes per weight, including its share of the block's constants: 4 bits plus a scale and a minimum in the
/// layers, 8 bits plus a scale in the head.
const IN_LAYERS: f64 = 0.5 + 8.0 / 32.0;
const IN_HEAD: f64 = 1.0 + 4.0 / 32.0;
/// Tokens generated per run.
const WRITTEN: usize = 48;

pub fn run(models: &Models, rates: &Rates) {
    let decoder = models.decoder().unwrap();
    let file = models.locate(MODEL).unwrap().weights().unwrap().to_owned();
    let llama = std::env::var_os("EPITOME_LLAMA_BENCH");
    for tokens in [256, 1024, 2048] {
        let (mut ours, mut theirs, mut candles) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let prompt = prompt(&decoder, tokens, round);
            let start = Instant::now();
            generate(&decoder, &prompt, 1);
            ours.push(tokens as f64 / start.elapsed().as_secs_f64());
            theirs.extend(llama.as_ref().map(|tool| llama_bench(Path::new(tool), &file, tokens, 0)));
            candles.extend(stock(&["prefill", file.to_str().unwrap(), &tokens.to_string()]));
        }
        let (ours, floor) = (median(ours), Some(rates.multiply_adds / LAYERS));
        for (name, theirs) in [("llama.cpp", theirs), ("candle", candles)] {
            let other = (!theirs.is_empty()).then(|| (name, median(theirs)));
            row(&format!("prefill, {tokens} tokens"), ours, other, floor);
        }
    }
    let (mut theirs, mut candles) = (Vec::new(), Vec::new());
    let mut ours = vec![Vec::new(); 3];
    let sizes = [1, 8, 64];
    for round in 0..ROUNDS {
        for (size, ours) in sizes.iter().zip(&mut ours) {
            ours.push(written_per_second(&decoder, *size, round));
        }
        theirs.extend(llama.as_ref().map(|tool| llama_bench(Path::new(tool), &file, 0, WRITTEN)));
        candles.extend(stock(&["decode", file.to_str().unwrap(), &WRITTEN.to_string()]));
    }
    let others = [("llama.cpp, batch 1", theirs), ("candle, batch 1", candles)]
        .map(|(name, theirs)| (!theirs.is_empty()).then(|| (name, median(theirs))));
    for (size, ours) in sizes.iter().zip(ours) {
        let size = *size as f64;
        let weights = rates.bytes / (LAYERS * IN_LAYERS + HEAD * IN_HEAD) * size;
        let floor = weights.min(rates.multiply_adds / (LAYERS + HEAD));
        let ours = median(ours);
        others.iter().for_each(|other| row(&format!("decode, batch {size}"), ours, *other, Some(floor)));
    }
}

/// One sequence per weight precision, and summaries with and without prompt lookup.
pub fn choices(configured: &config::Models) {
    let of = |precision, prompt_lookup| {
        let changed = config::Models { decoder_precision: precision, prompt_lookup, ..configured.clone() };
        Models::new(&changed).unwrap().decoder().unwrap()
    };
    let file = of(DecoderPrecision::File, false);
    for (at, (precision, name)) in [
        (DecoderPrecision::Int8, "8 bits"),
        (DecoderPrecision::Int4, "all in 4 bits"),
        (DecoderPrecision::Bf16, "bf16"),
        (DecoderPrecision::F32, "32-bit floats"),
    ]
    .into_iter()
    .enumerate()
    {
        let other = of(precision, false);
        let in_turns = |measure: &dyn Fn(&Decoder, usize) -> f64| {
            // Fresh prompts, so that the prefix cache cannot help.
            let rounds = (at + 1) * 100..(at + 1) * 100 + ROUNDS;
            let turns = rounds.map(|round| (measure(&file, round), measure(&other, round)));
            let (ours, theirs): (Vec<f64>, Vec<f64>) = turns.unzip();
            (median(ours), median(theirs))
        };
        let (ours, theirs) = in_turns(&|decoder, round| written_per_second(decoder, 1, round));
        row("decode, batch 1, as the file has it", ours, Some((name, theirs)), None);
        let (ours, theirs) = in_turns(&|decoder, round| {
            let prompt = prompt(decoder, 256, round);
            let start = Instant::now();
            generate(decoder, &prompt, 1);
            256.0 / start.elapsed().as_secs_f64()
        });
        row("prefill, 256 tokens, as the file has it", ours, Some((name, theirs)), None);
    }
    let looked_up = of(DecoderPrecision::File, true);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..3 * ROUNDS {
        ours.push(summary_per_second(&looked_up, round));
        theirs.push(summary_per_second(&file, round));
    }
    row("summaries one at a time, prompt lookup", median(ours), Some(("without", median(theirs))), None);
}

/// Tokens per second while summarizing a text.
fn summary_per_second(decoder: &Decoder, round: usize) -> f64 {
    let paper = include_str!("../../eval/corpus/paper.txt");
    let start = paper.floor_char_boundary(round * 1500 % (paper.len() / 2));
    let part = &paper[start..paper.floor_char_boundary(start + 2500)];
    let content = format!("Summarize the text in three sentences, in its own words.\n\n{part}");
    let prompt = decoder.chat_prompt(&[ChatMessage { role: "user".into(), content }]).unwrap();
    generate(decoder, &prompt, 1);
    // The prompt was read above; only its last block is read again.
    let start = Instant::now();
    let sampling = Sampling::greedy(100);
    let written = decoder
        .generate(Class::Reading, &prompt, &sampling, &mut |_| ControlFlow::Continue(()))
        .unwrap()
        .completion_tokens;
    written as f64 / start.elapsed().as_secs_f64()
}

/// Tokens per second that `size` sequences generate together, prefill time subtracted.
fn written_per_second(decoder: &Decoder, size: usize, round: usize) -> f64 {
    let time = |written: usize| {
        let start = Instant::now();
        thread::scope(|scope| {
            for at in 0..size {
                let prompt = prompt(decoder, 16, round * 1000 + at);
                scope.spawn(move || generate(decoder, &prompt, written));
            }
        });
        start.elapsed().as_secs_f64()
    };
    let short = time(1);
    (size * (WRITTEN - 1)) as f64 / (time(WRITTEN) - short)
}

/// A prompt of about `tokens` tokens that shares no prefix with any other.
fn prompt(decoder: &Decoder, tokens: usize, salt: usize) -> String {
    let mut text = format!("{salt} ");
    let story = include_str!("../../eval/corpus/story.txt");
    let mut words = story.split_whitespace().skip(salt * 17 % 400);
    // A word is about 4/3 tokens: approach the target from below, then add word by word.
    for _ in 0..tokens * 3 / 5 {
        text.extend(words.next().into_iter().flat_map(|word| [word, " "]));
    }
    while decoder.count(text.trim_end()).unwrap() < tokens {
        text.extend(words.next().into_iter().flat_map(|word| [word, " "]));
    }
    text
}

fn generate(decoder: &Decoder, prompt: &str, max_tokens: usize) {
    let sampling = Sampling::greedy(max_tokens);
    decoder.generate(Class::Reading, prompt, &sampling, &mut |_| ControlFlow::Continue(())).unwrap();
}

/// Tokens per second according to llama-bench.
fn llama_bench(tool: &Path, file: &Path, prompt: usize, written: usize) -> f64 {
    let threads = thread::available_parallelism().unwrap().to_string();
    let done = Command::new(tool)
        .args(["-m", file.to_str().unwrap(), "-t", &threads, "-r", "1", "-o", "json"])
        .args(["-p", &prompt.to_string(), "-n", &written.to_string()])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let rows: Value = serde_json::from_slice(&done.stdout).unwrap();
    rows[0]["avg_ts"].as_f64().unwrap()
}
