//! On a GPU: prompts read, a long text summarized in a tree, and the cross-encoder, each beside what it is to
//! reach.

use std::{ops::ControlFlow, sync::Arc, thread, time::Instant};

use epitome::{
    config::Config,
    model::{Class, Decoder, Models, Passage, Sampling},
};

use super::{ROUNDS, median};

/// Tokens of a segment, and segments that are read at once.
const SEGMENT: usize = 1500;
const SEGMENTS: usize = 64;
/// Tokens of a long text, of the summary of a segment, and summaries that are merged into one.
const LONG: usize = 100_000;
const SUMMARY: usize = 100;
const MERGED: usize = 12;

pub fn run(config: &Config) {
    let models = Models::new(&config.models).unwrap();
    if let Err(error) = models.precision() {
        println!("\n{error}");
        return;
    }
    let decoder = models.decoder().unwrap();
    // The first pass chooses algorithms for the products.
    at_once(&decoder, &prompts(SEGMENTS, SEGMENT, 999), 1);
    let rates = (0..ROUNDS).map(|round| {
        let prompts = prompts(SEGMENTS, SEGMENT, round);
        let tokens: usize = prompts.iter().map(|prompt| decoder.count(prompt).unwrap()).sum();
        let start = Instant::now();
        at_once(&decoder, &prompts, 1);
        tokens as f64 / start.elapsed().as_secs_f64()
    });
    let rate = median(rates.collect());
    println!(
        "| GPU: prefill, {SEGMENTS} segments of {SEGMENT} tokens, tokens/s | {rate:.0} | | | 300000 wanted |"
    );

    let together = tree(&decoder, 10, true);
    let in_turn = tree(&decoder, 11, false);
    println!(
        "| GPU: {LONG} tokens summarized in a tree, seconds | {together:.2} | one at a time {in_turn:.2} | {:.1} | 5 and a ratio of 10 wanted |",
        in_turn / together
    );

    let encoder = models.built_in_ranker().unwrap();
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
    println!("| GPU: cross-encoder over {LONG} tokens, seconds | {seconds:.3} | | | 0.3 wanted |");
}

/// Seconds for leaves and one level above them.
fn tree(decoder: &Arc<Decoder>, round: usize, together: bool) -> f64 {
    let start = Instant::now();
    let mut level = prompts(LONG / SEGMENT, SEGMENT, round);
    for _ in 0..2 {
        let written = if together {
            at_once(decoder, &level, SUMMARY)
        } else {
            level.iter().map(|prompt| generate(decoder, prompt, SUMMARY)).collect()
        };
        level = written.chunks(MERGED).map(<[String]>::concat).collect();
    }
    start.elapsed().as_secs_f64()
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
    decoder.generate(Class::Summary, prompt, &sampling, &mut sink).unwrap().text
}

/// Prompts of about so many tokens that nothing has read before.
fn prompts(count: usize, tokens: usize, round: usize) -> Vec<String> {
    (0..count)
        .map(|at| {
            let words = (0..tokens).map(|word| WORDS[(word * (at + 3) + word / 7 + round) % WORDS.len()]);
            format!("{round} {at} {}", words.collect::<Vec<_>>().join(" "))
        })
        .collect()
}

const WORDS: [&str; 16] = [
    "the", "ship", "went", "over", "a", "long", "sea", "and", "saw", "land", "where", "people", "had",
    "built", "small", "houses",
];
