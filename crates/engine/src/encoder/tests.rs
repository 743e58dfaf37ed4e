//! The encoder against a plain forward pass, and its independence of batch and threads.

use std::{sync::LazyLock, time::Instant};

use candle_core::{D, DType, Device, Tensor};
use candle_nn::{Module, ops::softmax};
use proptest::prelude::*;
use rayon::ThreadPoolBuilder;

use super::*;
use crate::Models;

const SENTENCES: [&str; 5] = [
    "The quick brown fox jumps over the lazy dog.",
    "Payment is due within 30 days of the invoice date; interest of 4.5 % accrues thereafter.",
    "In 1862 the Monitor met the Merrimack off Hampton Roads.",
    "fn main() { let x = [1, 2, 3]; }",
    "Naïve café: 北京 is the capital of China.",
];

fn files() -> Located {
    Models::new(&crate::testing::config()).unwrap().pull("all-minilm-l6-v2").unwrap()
}

static FULL: LazyLock<Encoder> = LazyLock::new(|| Encoder::load(&files(), Precision::F32).unwrap());
static INT8: LazyLock<Encoder> = LazyLock::new(|| Encoder::load(&files(), Precision::Int8).unwrap());

/// Mean-pooled vector by a textbook implementation, one text at a time.
fn reference(ids: &[u32]) -> candle_core::Result<Vec<f32>> {
    let w = candle_core::safetensors::load(files().path("model.safetensors").unwrap(), &Device::Cpu)?;
    let linear = |x: &Tensor, name: &str| -> candle_core::Result<Tensor> {
        x.matmul(&w[&format!("{name}.weight")].t()?)?.broadcast_add(&w[&format!("{name}.bias")])
    };
    let norm = |x: &Tensor, name: &str| {
        let (weight, bias) = (w[&format!("{name}.weight")].clone(), w[&format!("{name}.bias")].clone());
        candle_nn::LayerNorm::new(weight, bias, 1e-12).forward(x)
    };
    let n = ids.len();
    let words = w["embeddings.word_embeddings.weight"].index_select(&Tensor::new(ids, &Device::Cpu)?, 0)?;
    let positions = w["embeddings.position_embeddings.weight"].narrow(0, 0, n)?;
    let types = w["embeddings.token_type_embeddings.weight"].narrow(0, 0, 1)?;
    let mut h = norm(&(words + positions)?.broadcast_add(&types)?, "embeddings.LayerNorm")?;
    for i in 0..6 {
        let at = |part: &str| format!("encoder.layer.{i}.{part}");
        let heads = |x: Tensor| x.reshape((n, 12, 32))?.transpose(0, 1)?.contiguous();
        let q = heads(linear(&h, &at("attention.self.query"))?)?;
        let k = heads(linear(&h, &at("attention.self.key"))?)?;
        let v = heads(linear(&h, &at("attention.self.value"))?)?;
        let scores = (q.matmul(&k.transpose(1, 2)?.contiguous()?)? / 32f64.sqrt())?;
        let context = softmax(&scores, D::Minus1)?.matmul(&v)?;
        let context = context.transpose(0, 1)?.reshape((n, 384))?;
        h = norm(
            &(h + linear(&context, &at("attention.output.dense"))?)?,
            &at("attention.output.LayerNorm"),
        )?;
        let inner = linear(&h, &at("intermediate.dense"))?.gelu_erf()?;
        h = norm(&(h + linear(&inner, &at("output.dense"))?)?, &at("output.LayerNorm"))?;
    }
    h.to_dtype(DType::F32)?.sum(0)?.to_vec1()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn one<'a>(ids: &'a [u32]) -> Window<'a> {
    Window { context: &[], parts: vec![ids] }
}

#[test]
fn vectors_match_the_reference() {
    let tokens = FULL.tokenize(&SENTENCES).unwrap();
    for (text, ids) in SENTENCES.iter().zip(&tokens) {
        let mut with_special = vec![101];
        with_special.extend(ids);
        with_special.push(102);
        let expected = reference(&with_special).unwrap();
        for (encoder, least) in [(&*FULL, 0.999_99), (&*INT8, 0.995)] {
            let pooled = encoder.encode(&[one(ids)]).unwrap().remove(0).remove(0);
            assert_eq!(pooled.tokens as usize, ids.len() + 2);
            let cosine = cosine(&pooled.sum, &expected);
            assert!(cosine > least, "{text}: {cosine}");
        }
    }
}

#[test]
fn parts_sum_to_their_window() {
    let tokens = INT8.tokenize(&SENTENCES).unwrap();
    let whole: Vec<u32> = tokens.concat();
    let parts: Vec<&[u32]> = tokens.iter().map(Vec::as_slice).collect();
    let in_parts = INT8.encode(&[Window { context: &[], parts }]).unwrap().remove(0);
    let as_one = INT8.encode(&[one(&whole)]).unwrap().remove(0).remove(0);
    assert_eq!(in_parts.iter().map(|part| part.tokens).sum::<u32>(), as_one.tokens);
    for (index, sum) in as_one.sum.iter().enumerate() {
        let added: f32 = in_parts.iter().map(|part| part.sum[index]).sum();
        assert!((added - sum).abs() < 1e-3, "{added} {sum}");
    }
}

#[test]
fn context_is_read_but_not_pooled() {
    let tokens = INT8.tokenize(&SENTENCES).unwrap();
    let alone = INT8.encode(&[one(&tokens[0])]).unwrap().remove(0).remove(0);
    let window = Window { context: &tokens[1], parts: vec![&tokens[0]] };
    let told = INT8.encode(&[window]).unwrap().remove(0).remove(0);
    assert_eq!(alone.tokens, told.tokens);
    assert_ne!(alone.sum, told.sum);
}

#[test]
fn input_beyond_the_maximum_length_is_ignored() {
    let long: Vec<u32> = (0..600).map(|i| 2000 + i).collect();
    let parts = vec![&long[..500], &long[500..520], &long[520..]];
    let pooled = INT8.encode(&[Window { context: &[], parts }]).unwrap().remove(0);
    assert_eq!(pooled.iter().map(|part| part.tokens).collect::<Vec<_>>(), [501, 11, 0]);
    assert!(pooled[2].sum.iter().all(|value| *value == 0.0));
    let pooled = INT8.encode(&[Window { context: &long, parts: vec![&long[..3]] }]).unwrap().remove(0);
    assert_eq!(pooled[0].tokens, 5);
}

#[test]
fn empty_input_is_not_an_error() {
    assert!(INT8.encode(&[]).unwrap().is_empty());
    let empty = INT8.encode(&[Window::default(), one(&[])]).unwrap();
    assert!(empty[0].is_empty());
    assert_eq!(empty[1][0].tokens, 2);
    assert_eq!(INT8.tokenize(&["", "a\0b"]).unwrap()[0], Vec::<u32>::new());
}

#[test]
fn an_unknown_id_is_an_error() {
    let error = INT8.encode(&[one(&[u32::MAX])]).unwrap_err().to_string();
    assert!(error.contains("4294967295") && error.contains("all-minilm-l6-v2"), "{error}");
}

#[test]
fn long_texts_are_not_truncated() {
    let text = "word ".repeat(2000);
    assert_eq!(INT8.tokenize(&[&text]).unwrap()[0].len(), 2000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn a_result_depends_only_on_its_window(
        lengths in prop::collection::vec(1usize..200, 1..12),
        seed in 0u32..1000,
        full in any::<bool>(),
    ) {
        let encoder = if full { &*FULL } else { &*INT8 };
        let ids: Vec<Vec<u32>> = lengths
            .iter()
            .enumerate()
            .map(|(w, n)| (0..*n as u32).map(|i| 1000 + (seed + i * 7919 + w as u32 * 104_729) % 29_000).collect())
            .collect();
        let windows: Vec<Window> = ids.iter().map(|ids| one(ids)).collect();
        let alone: Vec<_> = windows.iter().map(|w| encoder.encode(std::slice::from_ref(w)).unwrap().remove(0)).collect();
        for threads in [1, 8] {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let together = pool.install(|| encoder.encode(&windows)).unwrap();
            prop_assert!(together == alone, "with {threads} threads");
        }
    }
}

/// Prints tokens per second: `cargo test --release --lib encoder_speed -- --ignored --nocapture`.
#[test]
#[ignore = "measures"]
#[allow(clippy::print_stderr)]
fn encoder_speed() {
    let ids: Vec<u32> = (0..6_000u32).map(|i| 1000 + i * 7919 % 29_000).collect();
    for length in [254, 126, 62, 30] {
        let windows: Vec<Window> = ids.chunks(length).map(one).collect();
        for (name, encoder) in [("f32", &*FULL), ("int8", &*INT8)] {
            encoder.encode(&windows[..8]).unwrap();
            let mut rates: Vec<f64> = (0..3)
                .map(|_| {
                    let start = Instant::now();
                    encoder.encode(&windows).unwrap();
                    ids.len() as f64 / start.elapsed().as_secs_f64()
                })
                .collect();
            rates.sort_by(f64::total_cmp);
            eprintln!("windows of {}: {name} {:.0} tokens/s", length + 2, rates[1]);
        }
    }
}
