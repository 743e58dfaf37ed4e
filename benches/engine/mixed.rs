//! A mixed stream of requests, 90 % short and 10 % long, arriving over time. The engine admits requests as
//! they arrive; the baseline uses fixed batches of eight, each of which waits until it is full and then until
//! all of its requests are done. Fixed batches run packed, as in the engine, and padded, as in stock models:
//! every prompt and every answer as long as the longest of its batch.

use std::{
    ops::ControlFlow,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use epitome_engine::{Class, Decoder, Models, Sampling};

const REQUESTS: usize = 60;
const BATCH: usize = 8;
/// Mean interval between arrivals, shorter than either side can keep up with, so that throughput is what
/// counts.
const BETWEEN: Duration = Duration::from_millis(60);

struct Request {
    prompt: String,
    max_tokens: usize,
    long: bool,
    arrives: Duration,
}

/// How the stream is served.
#[derive(Clone, Copy)]
enum Serving {
    AsTheyCome,
    Packed,
    Padded,
}

pub fn run(models: &Models) {
    let decoder = models.decoder().unwrap();
    let measure = |serving: Serving| {
        // Each side has its own prompts, so that the prefix cache cannot help.
        let requests = requests(serving as usize);
        let start = Instant::now();
        let late = match serving {
            Serving::AsTheyCome => as_they_come(&decoder, &requests),
            Serving::Packed => in_batches(&decoder, &requests, false),
            Serving::Padded => in_batches(&decoder, &requests, true),
        };
        let rate = REQUESTS as f64 / start.elapsed().as_secs_f64();
        let of_short = late.iter().zip(&requests).filter(|(_, request)| !request.long);
        let mut short: Vec<f64> = of_short.map(|(late, _)| *late).collect();
        short.sort_by(f64::total_cmp);
        (rate, short[short.len() * 99 / 100], short[short.len() / 2])
    };
    let (rate, slow, middle) = measure(Serving::AsTheyCome);
    for (serving, name) in [(Serving::Packed, "packed"), (Serving::Padded, "padded")] {
        let (fixed_rate, fixed_slow, fixed_middle) = measure(serving);
        println!(
            "| mixed stream, requests/s | {rate:.2} | {name} batches of {BATCH} {fixed_rate:.2} | {:.2} | |",
            rate / fixed_rate
        );
        println!(
            "| its short ones, seconds: 99th percentile, median | {slow:.1}, {middle:.1} | {name} batches of {BATCH} {fixed_slow:.1}, {fixed_middle:.1} | {:.2} | |",
            fixed_slow / slow
        );
    }
}

fn requests(salt: usize) -> Vec<Request> {
    let story: Vec<&str> = include_str!("../../eval/corpus/story.txt").split_whitespace().collect();
    let mut state = 7u64;
    let mut arrives = Duration::ZERO;
    (0..REQUESTS)
        .map(|at| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let uniform = ((state >> 33) as f64 / (1u64 << 31) as f64).clamp(1e-9, 1.0);
            arrives += BETWEEN.mul_f64(-uniform.ln());
            let long = at % 10 == 4;
            let words = if long { 750 } else { 40 };
            let text: Vec<&str> =
                story.iter().cycle().skip(at * 31 + salt * 1009).take(words).copied().collect();
            let prompt = format!("{salt} {at} {}", text.join(" "));
            Request { prompt, max_tokens: if long { 64 } else { 12 }, long, arrives }
        })
        .collect()
}

/// Latency in seconds of each request, from arrival to answer.
fn as_they_come(decoder: &Decoder, requests: &[Request]) -> Vec<f64> {
    let start = Instant::now();
    thread::scope(|scope| {
        let running: Vec<_> = requests
            .iter()
            .map(|request| {
                scope.spawn(move || {
                    thread::sleep(request.arrives.saturating_sub(start.elapsed()));
                    generate(decoder, &request.prompt, request.max_tokens);
                    (start.elapsed() - request.arrives).as_secs_f64()
                })
            })
            .collect();
        running.into_iter().map(|running| running.join().unwrap()).collect()
    })
}

fn in_batches(decoder: &Decoder, requests: &[Request], padded: bool) -> Vec<f64> {
    let start = Instant::now();
    let (done, late) = mpsc::channel();
    for batch in requests.chunks(BATCH) {
        let last = batch.iter().map(|request| request.arrives).max().unwrap();
        thread::sleep(last.saturating_sub(start.elapsed()));
        let longest = batch.iter().max_by_key(|request| request.prompt.len()).unwrap();
        thread::scope(|scope| {
            for (at, request) in batch.iter().enumerate() {
                scope.spawn(move || match padded {
                    // As long as the longest prompt, but no two share a prefix.
                    true => generate(decoder, &format!("{at} {}", longest.prompt), longest.max_tokens),
                    false => generate(decoder, &request.prompt, request.max_tokens),
                });
            }
        });
        // All requests of a fixed batch are answered when the slowest is done.
        for request in batch {
            done.send((start.elapsed() - request.arrives).as_secs_f64()).unwrap();
        }
    }
    drop(done);
    late.iter().collect()
}

fn generate(decoder: &Decoder, prompt: &str, max_tokens: usize) {
    let sampling = Sampling::greedy(max_tokens);
    decoder.generate(Class::Summary, prompt, &sampling, &mut |_| ControlFlow::Continue(())).unwrap();
}
