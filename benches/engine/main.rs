//! The engine against other implementations. Each figure is a ratio measured in the same run; the output is a
//! Markdown table.
//!
//!     EPITOME_LLAMA_BENCH=/path/to/llama-bench cargo bench --bench engine [-- decoder|choices|encoder|mixed|cuda]
//!
//! Contenders alternate, because other processes may use the machine too, and the median is reported. If a
//! variable is not set, the corresponding rows show our figures alone:
//!
//! - `EPITOME_LLAMA_BENCH`: llama.cpp's own measuring tool.
//! - `EPITOME_STOCK`: candle's stock models, built by `cargo build --release --manifest-path
//!   benches/stock/Cargo.toml`.
//! - `EPITOME_TRANSFORMERS`: a Python with torch and transformers, for the rows of `cuda`.
//!
//! All rows except those of `cuda` run on the CPU. Models are fetched as usual; `cuda` uses real model shapes
//! with noise as weights.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub
)]

mod cuda;
mod decoder;
mod encoder;
mod mixed;
mod shapes;

use epitome::config::Config;
use epitome_engine::{Models, config::Device};

/// Rounds in which the contenders alternate.
const ROUNDS: usize = 3;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let runs = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    let mut config = Config::load(None, &[]).unwrap();
    config.models.device = Device::Cpu;
    let models = Models::new(&config.models).unwrap();
    let rates = epitome_engine::rates();
    println!(
        "{} threads, {}: {:.1} G multiply-adds/s in 8 bits, {:.1} GB/s\n",
        std::thread::available_parallelism().unwrap(),
        rates.instructions,
        rates.multiply_adds / 1e9,
        rates.bytes / 1e9,
    );
    println!("| what | ours | other | ratio | floor |\n| --- | --- | --- | --- | --- |");
    if runs("encoder") {
        encoder::run(&models, &rates);
    }
    if runs("decoder") {
        decoder::run(&models, &rates);
    }
    if runs("choices") {
        decoder::choices(&config.models);
    }
    if runs("mixed") {
        mixed::run(&models);
    }
    if runs("cuda") {
        config.models.device = Device::Cuda;
        cuda::run(&config);
    }
}

/// A row of the table; rates are in tokens per second.
fn row(what: &str, ours: f64, other: Option<(&str, f64)>, floor: Option<f64>) {
    let (beside, ratio) = match other {
        Some((name, other)) => (format!("{name} {other:.0}"), format!("{:.2}", ours / other)),
        None => ("not measured".into(), String::new()),
    };
    let floor = floor.map(|floor| format!("{floor:.0} ({:.0} %)", 100.0 * ours / floor)).unwrap_or_default();
    println!("| {what} | {ours:.0} | {beside} | {ratio} | {floor} |");
}

/// Tokens per second of candle's stock model, if `EPITOME_STOCK` is set.
fn stock(arguments: &[&str]) -> Option<f64> {
    let tool = std::env::var_os("EPITOME_STOCK")?;
    let done = std::process::Command::new(tool).args(arguments).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Some(String::from_utf8_lossy(&done.stdout).trim().parse().unwrap())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
