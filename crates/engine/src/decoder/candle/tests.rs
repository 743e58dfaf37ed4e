//! Tiny random models of each architecture, and a real one if there is one.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::BufWriter,
    ops::ControlFlow,
    path::Path,
    thread,
    time::Duration,
};

use candle_core::{
    DType, Device, Tensor,
    quantized::{
        GgmlDType, QTensor,
        gguf_file::{self, Value},
    },
    safetensors,
};
use tempfile::TempDir;

use super::{sequence::CandleModel, *};
use crate::{
    Class, Finish, Grounds, Models, RunBy, Sampling, config,
    decoder::{Decoder, architecture::ON_CANDLE, kv::KvCache},
};

const DIM: usize = 32;
const HEADS: usize = 4;
const KEY_HEADS: usize = 2;
const HEAD_DIM: usize = 8;
const INNER: usize = 64;
const LAYERS: usize = 6;
const WINDOW: usize = 5;

/// A vocabulary of single letters: begin, end, unknown, a space, and `a` to `z`.
fn words() -> Vec<String> {
    let letters = ('a'..='z').map(String::from);
    ["<s>", "</s>", "<unk>", "\u{2581}"].map(String::from).into_iter().chain(letters).collect()
}

/// A file that is written for a test.
struct Tiny {
    architecture: &'static str,
    metadata: Vec<(String, Value)>,
    tensors: Vec<(String, QTensor)>,
    seed: u64,
}

impl Tiny {
    fn new(architecture: &'static str) -> Self {
        let mut tiny = Self { architecture, metadata: Vec::new(), tensors: Vec::new(), seed: 7 };
        tiny.metadata.push(("general.architecture".into(), Value::String(architecture.into())));
        let key_heads = if architecture == "phi2" { HEADS } else { KEY_HEADS };
        for (key, value) in [
            ("context_length", 600),
            ("embedding_length", DIM),
            ("block_count", LAYERS),
            ("feed_forward_length", INNER),
            ("attention.head_count", HEADS),
            ("attention.head_count_kv", key_heads),
        ] {
            tiny.number(key, value);
        }
        let epsilon = if architecture == "phi2" { "layer_norm_epsilon" } else { "layer_norm_rms_epsilon" };
        tiny.own(&format!("attention.{epsilon}"), Value::F32(1e-6));
        match architecture {
            "gemma3" => {
                tiny.number("attention.key_length", HEAD_DIM);
                tiny.number("attention.value_length", HEAD_DIM);
                tiny.number("attention.sliding_window", WINDOW);
            }
            "glm4" => {
                tiny.number("attention.key_length", HEAD_DIM);
                tiny.number("rope.dimension_count", HEAD_DIM / 2);
                tiny.own("rope.freq_base", Value::F32(10_000.0));
            }
            "phi2" => tiny.number("rope.dimension_count", HEAD_DIM / 2),
            _ => tiny.number("rope.dimension_count", HEAD_DIM),
        }
        tiny.vocabulary();
        tiny.weights(key_heads);
        tiny
    }

    fn own(&mut self, key: &str, value: Value) {
        let key = format!("{}.{key}", self.architecture);
        self.metadata.retain(|(known, _)| *known != key);
        self.metadata.push((key, value));
    }

    fn number(&mut self, key: &str, value: usize) {
        self.own(key, Value::U32(u32::try_from(value).unwrap()));
    }

    fn vocabulary(&mut self) {
        let words = words();
        let scores = vec![Value::F32(-1.0); words.len()];
        let kinds = (0..words.len()).map(|id| Value::I32(if id < 3 { 3 } else { 1 })).collect();
        for (key, value) in [
            ("model", Value::String("llama".into())),
            ("tokens", Value::Array(words.into_iter().map(Value::String).collect())),
            ("scores", Value::Array(scores)),
            ("token_type", Value::Array(kinds)),
            ("bos_token_id", Value::U32(0)),
            ("eos_token_id", Value::U32(1)),
            ("unknown_token_id", Value::U32(2)),
            ("add_bos_token", Value::Bool(true)),
            ("add_space_prefix", Value::Bool(false)),
        ] {
            self.metadata.push((format!("tokenizer.ggml.{key}"), value));
        }
    }

    /// Random values around `middle`.
    fn tensor(&mut self, name: &str, shape: &[usize], middle: f32) {
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| {
                self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                middle + ((self.seed >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * 0.8
            })
            .collect();
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        self.tensors.push((name.to_owned(), QTensor::quantize(&tensor, GgmlDType::F32).unwrap()));
    }

    fn weights(&mut self, key_heads: usize) {
        let (queries, keys, words) = (HEADS * HEAD_DIM, key_heads * HEAD_DIM, words().len());
        self.tensor("token_embd.weight", &[words, DIM], 0.0);
        self.tensor("output_norm.weight", &[DIM], 1.0);
        if self.architecture.starts_with("phi") {
            self.tensor("output.weight", &[words, DIM], 0.0);
        }
        let stacked = matches!(self.architecture, "glm4" | "phi3");
        for layer in 0..LAYERS {
            let name = |part: &str| format!("blk.{layer}.{part}.weight");
            if self.architecture.starts_with("phi") {
                self.tensor(&name("attn_qkv"), &[queries + 2 * keys, DIM], 0.0);
            } else {
                for (part, outputs) in [("attn_q", queries), ("attn_k", keys), ("attn_v", keys)] {
                    self.tensor(&name(part), &[outputs, DIM], 0.0);
                }
            }
            self.tensor(&name("attn_output"), &[DIM, queries], 0.0);
            self.tensor(&name("attn_norm"), &[DIM], 1.0);
            self.tensor(&name("ffn_up"), &[if stacked { 2 * INNER } else { INNER }, DIM], 0.0);
            self.tensor(&name("ffn_down"), &[DIM, INNER], 0.0);
            if self.architecture != "phi2" {
                self.tensor(&name("ffn_norm"), &[DIM], 1.0);
            }
            if matches!(self.architecture, "gemma3" | "glm4") {
                self.tensor(&name("post_attention_norm"), &[DIM], 1.0);
                self.tensor(&name("post_ffw_norm"), &[DIM], 1.0);
            }
            if self.architecture == "gemma3" {
                self.tensor(&name("attn_q_norm"), &[HEAD_DIM], 1.0);
                self.tensor(&name("attn_k_norm"), &[HEAD_DIM], 1.0);
                self.tensor(&name("ffn_gate"), &[INNER, DIM], 0.0);
            }
        }
        if self.architecture == "phi2" {
            self.biases();
        }
    }

    /// A bias for each matrix and norm.
    fn biases(&mut self) {
        let biased = |(name, tensor): &(String, QTensor)| {
            let outputs = *tensor.shape().dims().first()?;
            (name != "token_embd.weight").then(|| (name.replace(".weight", ".bias"), outputs))
        };
        let biases: Vec<_> = self.tensors.iter().filter_map(biased).collect();
        biases.iter().for_each(|(name, outputs)| self.tensor(name, &[*outputs], 0.0));
    }

    fn write(&self, dir: &TempDir) -> std::path::PathBuf {
        let path = dir.path().join(format!("{}.gguf", self.architecture));
        let metadata: Vec<_> = self.metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
        let tensors: Vec<_> = self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let mut file = BufWriter::new(File::create(&path).unwrap());
        gguf_file::write(&mut file, &metadata, &tensors).unwrap();
        path
    }

    fn load(&self) -> std::result::Result<CandleDecoder, ModelError> {
        let dir = TempDir::new().unwrap();
        CandleDecoder::load(Gguf::open(&self.write(&dir))?, Some(Precision::F32))
    }
}

fn decoder(path: &Path) -> std::result::Result<Arc<Decoder>, ModelError> {
    let decoder = path.display().to_string();
    Models::new(&config::Models { decoder, ..crate::testing::config() })?.decoder()
}

/// The logits after each of `ids`, read in pieces of this many tokens.
fn logits(decoder: &CandleDecoder, ids: &[u32], piece: usize) -> Vec<f32> {
    let mut model = decoder.fresh.clone();
    let mut last = Vec::new();
    for (at, ids) in ids.chunks(piece).enumerate() {
        last = model.forward(ids, at * piece).unwrap();
    }
    last
}

fn off(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn ids(count: usize) -> Vec<u32> {
    (0..count).map(|at| u32::try_from(3 + at * 7 % 26).unwrap()).collect()
}

#[test]
fn every_architecture_generates() {
    let dir = TempDir::new().unwrap();
    for architecture in ON_CANDLE {
        let decoder = decoder(&Tiny::new(architecture).write(&dir)).unwrap();
        assert_eq!(decoder.run_by(), RunBy::Candle);
        assert_eq!(decoder.context_length(), 600);
        let text = |prompt: &str, most: usize| {
            let sampling = Sampling::greedy(most);
            decoder.generate(Class::Chat, prompt, &sampling, &mut |_| ControlFlow::Continue(())).unwrap()
        };
        let (first, prompt) = (text("hello world", 12), "a ship went over the sea ".repeat(20));
        assert_eq!(first.prompt_tokens, 12, "{architecture}");
        assert!(first.completion_tokens > 0);
        // Requests at the same time, one of them read in several pieces, change nothing.
        let alone = text(&prompt, 8);
        let together: Vec<_> = thread::scope(|scope| {
            let running: Vec<_> = (0..6)
                .map(|at| {
                    let (text, prompt) = (&text, &prompt);
                    scope.spawn(move || if at % 2 == 0 { text("hello world", 12) } else { text(prompt, 8) })
                })
                .collect();
            running.into_iter().map(|running| running.join().unwrap()).collect()
        });
        for (at, other) in together.iter().enumerate() {
            assert_eq!(other, if at % 2 == 0 { &first } else { &alone }, "{architecture}");
        }
        let attention = decoder.attention(Class::Rank, "hello", &[], &mut || ControlFlow::Continue(()));
        assert!(matches!(attention, Err(ModelError::NoAttention { .. })), "{attention:?}");
        let left = decoder
            .generate(Class::Chat, &prompt, &Sampling::greedy(90), &mut |_| ControlFlow::Break(()))
            .unwrap();
        assert_eq!(left.finish, Finish::Cancelled);
        // Keys and values are freed with their sequences.
        let is_free = || {
            thread::sleep(Duration::from_millis(10));
            decoder.keys_and_values().bytes().0 == 0
        };
        assert!(decoder.keys_and_values().bytes().1 > 0 && (0..3000).any(|_| is_free()), "{architecture}");
    }
}

#[test]
fn grounded_decoding_keeps_to_the_source() {
    let dir = TempDir::new().unwrap();
    let mut tiny = Tiny::new("gemma3");
    // All letters but one stand for figures.
    for (key, value) in &mut tiny.metadata {
        if key == "tokenizer.ggml.tokens" {
            let words = words().into_iter().enumerate();
            let figure = |(id, word): (usize, String)| match id {
                4..=13 => (id - 4).to_string(),
                _ => word,
            };
            *value = Value::Array(words.map(figure).map(Value::String).collect());
        }
    }
    let decoder = decoder(&tiny.write(&dir)).unwrap();
    let written = |grounds: Option<Arc<Grounds>>| {
        let sampling = Sampling { temperature: 1.0, grounds, ..Sampling::greedy(60) };
        decoder.generate(Class::Summary, "wxyz", &sampling, &mut |_| ControlFlow::Continue(())).unwrap().text
    };
    let figures = |text: &str| text.chars().filter(char::is_ascii_digit).count();
    assert!(figures(&written(None)) > 0);
    let text = written(Some(Arc::new(Grounds::new("no figures here", []))));
    assert!(!text.is_empty() && figures(&text) == 0, "{text}");
}

#[cfg(feature = "more-decoders")]
#[test]
fn phi3_drops_white_space_behind_special_tokens() {
    let dir = TempDir::new().unwrap();
    let ids =
        |architecture| decoder(&Tiny::new(architecture).write(&dir)).unwrap().ids("</s> a<s> b").unwrap();
    assert_eq!(ids("gemma3"), [0, 1, 3, 4, 0, 3, 5]);
    assert_eq!(ids("phi3"), [0, 1, 4, 0, 3, 5]);
}

#[test]
fn pieces_and_single_tokens_give_what_the_whole_gives() {
    for architecture in ON_CANDLE {
        let decoder = Tiny::new(architecture).load().unwrap();
        let ids = ids(40);
        let whole = logits(&decoder, &ids, 40);
        assert!(off(&whole, &logits(&decoder, &ids[1..], 40)) > 1e-3, "{architecture}");
        for piece in [1, 3, 13] {
            let apart = off(&logits(&decoder, &ids, piece), &whole);
            assert!(apart < 1e-3, "{architecture}, {piece} at a time: {apart}");
        }
    }
}

#[test]
fn the_steps_of_a_prompt_do_not_change_a_bit() {
    let decoder = Tiny::new("gemma3").load().unwrap();
    let ids = ids(590);
    let read = |step: usize| {
        let mut cache = KvCache::with_prefix(Vec::new());
        let mut last = Vec::new();
        let steps = ids.len().div_ceil(step);
        for (at, ids) in ids.chunks(step).enumerate() {
            let logits = usize::from(at + 1 == steps);
            let step = Step { ids, cache: &mut cache, logits, best_only: false, watch: None };
            last = decoder.forward(&mut [step]).unwrap();
        }
        last
    };
    let whole = read(590);
    assert!([1, 7, 256, 300].iter().all(|step| read(*step) == whole));
}

#[test]
fn gemma3_sees_the_window_and_all_in_every_sixth_layer() {
    let mut tiny = Tiny::new("gemma3");
    let ids = ids(30);
    let near = logits(&tiny.load().unwrap(), &ids, 30);
    tiny.number("attention.sliding_window", 30);
    let wide = logits(&tiny.load().unwrap(), &ids, 30);
    assert!(off(&near, &wide) > 1e-3);
    // A larger window than the text changes nothing.
    tiny.number("attention.sliding_window", 100);
    assert!(off(&logits(&tiny.load().unwrap(), &ids, 30), &wide) < 1e-6);
    tiny.own("rope.scaling.type", Value::String("linear".into()));
    tiny.own("rope.scaling.factor", Value::F32(8.0));
    assert!(off(&logits(&tiny.load().unwrap(), &ids, 30), &wide) > 1e-3);
}

#[cfg(feature = "more-decoders")]
#[test]
fn what_candle_would_compute_wrongly_is_refused() {
    let refused = |architecture: &'static str, change: &dyn Fn(&mut Tiny)| {
        let mut tiny = Tiny::new(architecture);
        change(&mut tiny);
        match tiny.load() {
            Ok(_) => panic!("{architecture} was loaded"),
            Err(error) => error.to_string(),
        }
    };
    let linear = |tiny: &mut Tiny| tiny.own("rope.scaling.type", Value::String("linear".into()));
    for architecture in ["glm4", "phi2", "phi3"] {
        assert!(refused(architecture, &linear).contains("scales RoPE (linear)"));
    }
    let yarn = |tiny: &mut Tiny| tiny.own("rope.scaling.type", Value::String("yarn".into()));
    assert!(refused("gemma3", &yarn).contains("yarn"));
    let base = |tiny: &mut Tiny| tiny.own("rope.freq_base", Value::F32(250_000.0));
    assert!(refused("phi3", &base).contains("250000"));
    let factors = |tiny: &mut Tiny| tiny.tensor("rope_factors_long.weight", &[HEAD_DIM / 2], 1.0);
    assert!(refused("phi3", &factors).contains("rope_factors_long"));
    let partly = |tiny: &mut Tiny| tiny.number("rope.dimension_count", HEAD_DIM / 2);
    assert!(refused("phi3", &partly).contains("turns 4 of 8"));
    let mut tiny = Tiny::new("phi3");
    tiny.number("attention.sliding_window", 77);
    assert_eq!(tiny.load().unwrap().context(), 77);
}

#[test]
fn damaged_files_are_errors() {
    for architecture in ON_CANDLE {
        for key in ["context_length", "block_count", "attention.head_count", "attention.head_count_kv"] {
            for value in [0, 3, 1_000_000, u32::MAX as usize] {
                let mut tiny = Tiny::new(architecture);
                tiny.number(key, value);
                if value == 3 && !key.starts_with("attention") || key == "context_length" && value > 0 {
                    continue;
                }
                let loaded = tiny.load();
                assert!(matches!(loaded, Err(ModelError::Invalid { .. })), "{architecture}: {key} = {value}");
            }
        }
        for without in 0..Tiny::new(architecture).tensors.len() {
            let mut tiny = Tiny::new(architecture);
            let (name, tensor) = tiny.tensors.remove(without);
            let optional = architecture == "glm4" && name == "output.weight";
            assert_eq!(tiny.load().is_ok(), optional, "{architecture} without {name}");
            // One value per row too few.
            let whole = tensor.dequantize(&Device::Cpu).unwrap();
            let last = whole.rank() - 1;
            let narrow = whole.narrow(last, 0, whole.dim(last).unwrap() - 1).unwrap();
            let values = narrow.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let narrow = Tensor::from_vec(values, narrow.shape(), &Device::Cpu).unwrap();
            tiny.tensors.push((name.clone(), QTensor::quantize(&narrow, GgmlDType::F32).unwrap()));
            assert!(tiny.load().is_err(), "{architecture} with a narrow {name}");
        }
    }
}

#[test]
fn edited_files_load_or_are_refused() {
    let dir = TempDir::new().unwrap();
    let mut seed = 1u64;
    let mut random = |most: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(seed >> 33).unwrap() % most
    };
    for architecture in ON_CANDLE {
        let mut tiny = Tiny::new(architecture);
        tiny.number("block_count", 2);
        tiny.tensors.retain(|(name, _)| !("2345".chars().any(|n| name.starts_with(&format!("blk.{n}")))));
        let path = tiny.write(&dir);
        let sound = fs::read(&path).unwrap();
        let (mut loaded, mut refused) = (0, 0);
        for _ in 0..150 {
            let mut file = sound.clone();
            for _ in 0..=random(3) {
                // Metadata and the list of tensors come first.
                let at = random(sound.len().min(6000) - 8);
                match random(3) {
                    0 => file[at] ^= 1 << random(8),
                    1 => file[at..at + 4].copy_from_slice(&(1u32 << random(32)).to_le_bytes()),
                    _ => file[at] = 0,
                }
            }
            fs::write(&path, &file).unwrap();
            let read = Gguf::open(&path).and_then(|gguf| {
                let decoder = CandleDecoder::load(gguf, None)?;
                decoder.begin().read(&[1, 2, 3], true).map_err(|error| ModelError::invalid(&path, error))
            });
            *if read.is_ok() { &mut loaded } else { &mut refused } += 1;
        }
        assert!(loaded > 10 && refused > 10, "{architecture}: {loaded} loaded, {refused} refused");
    }
}

#[test]
fn adapters_are_refused() {
    let dir = TempDir::new().unwrap();
    let module = "base_model.model.model.layers.0.self_attn.q_proj";
    let zeros = |shape: (usize, usize)| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let tensors = HashMap::from([
        (format!("{module}.lora_A.weight"), zeros((2, DIM))),
        (format!("{module}.lora_B.weight"), zeros((HEADS * HEAD_DIM, 2))),
    ]);
    safetensors::save(&tensors, dir.path().join("adapter_model.safetensors")).unwrap();
    let adapter = r#"{"peft_type": "LORA", "r": 2, "lora_alpha": 2.0}"#;
    fs::write(dir.path().join("adapter_config.json"), adapter).unwrap();
    let config = config::Models {
        decoder: Tiny::new("gemma3").write(&dir).display().to_string(),
        decoder_lora: vec![dir.path().display().to_string()],
        ..crate::testing::config()
    };
    let refused = Models::new(&config).unwrap().decoder().map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("adapters cannot be merged"), "{refused}");
}

/// A prompt, the twenty most likely tokens after it one by one, and the mean logarithm of the probability of
/// each token of a text that is longer than the window: by an implementation in numpy, from the same file in
/// 32-bit floats.
const PROMPT: [u32; 6] = [2, 818, 5279, 529, 7001, 563];
const WRITTEN: [u32; 20] = [
    506, 5279, 529, 506, 2891, 529, 7001, 236761, 1030, 563, 506, 7488, 3207, 528, 7001, 532, 506, 1855,
    7488, 3207,
];
const MEAN: f64 = -3.8857;

#[test]
#[ignore = "needs gemma-3-270m in Q4_K_M as a GGUF file, named by EPITOME_GEMMA3_GGUF"]
fn gemma3_270m_writes_what_an_independent_implementation_writes() {
    let path = std::env::var("EPITOME_GEMMA3_GGUF").unwrap();
    let decoder = decoder(Path::new(&path)).unwrap();
    let prompt = "The capital of France is";
    assert_eq!(decoder.ids(prompt).unwrap(), PROMPT);
    let greedy = Sampling::greedy(20);
    let written = decoder.generate(Class::Chat, prompt, &greedy, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(written.text.starts_with(" the capital of the country of France."), "{}", written.text);
    let load =
        |precision| CandleDecoder::load(Gguf::open(Path::new(&path)).unwrap(), precision).unwrap().fresh;
    let mut model = load(Some(Precision::F32));
    let mut ids = PROMPT.to_vec();
    for read in [0].into_iter().chain(6..25) {
        let logits = model.forward(&ids[read..], read).unwrap();
        let best = (0u32..).zip(&logits).max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
        ids.push(best.0);
    }
    assert_eq!(ids[6..], WRITTEN);
    let story = include_str!("../../../../../eval/corpus/story.txt");
    let ids = decoder.ids(&story[..story.floor_char_boundary(3000)]).unwrap();
    for (precision, most) in [(Some(Precision::F32), 1e-3), (None, 0.03)] {
        let mut model = load(precision);
        let mut sum = 0.0;
        for (at, pair) in ids.windows(2).enumerate() {
            let logits = model.forward(&pair[..1], at).unwrap();
            let top = logits.iter().copied().fold(f32::MIN, f32::max);
            let all: f64 = logits.iter().map(|logit| f64::from(logit - top).exp()).sum();
            sum += f64::from(logits[pair[1] as usize] - top) - all.ln();
        }
        let mean = sum / (ids.len() - 1) as f64;
        assert!((mean - MEAN).abs() < most, "{precision:?}: {mean}, not {MEAN}");
    }
}
