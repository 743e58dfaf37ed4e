//! Hugging Face folders and adapters, compared with transformers and with the same weights from GGUF.

use std::{collections::HashMap, fs, path::Path};

use candle_core::{Device, Tensor};
use serde::Deserialize;
use serde_json::json;

use super::{
    kv::KvCache,
    names::to_hub,
    shape::Shape,
    step::Step,
    weights::{Checkpoint, Source},
    *,
};
use crate::{
    Models,
    config::{self, Precision},
    gguf::Gguf,
};

const MODEL: &str = "smollm2-135m-instruct";
const TINY: [&str; 3] = ["llama3", "qwen2", "qwen3-yarn"];

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/decoders").join(name)
}

fn models(decoder: &str, lora: &[&Path]) -> Models {
    let config = crate::testing::config();
    let decoder_lora = lora.iter().map(|path| path.display().to_string()).collect();
    let decoder_precision = DecoderPrecision::F32;
    Models::new(&config::Models { decoder: decoder.into(), decoder_lora, decoder_precision, ..config })
        .unwrap()
}

fn tiny(name: &str) -> Weights {
    let dir = fixture(name);
    let weights = dir.join("model.safetensors");
    Weights::plain(Source::Folder(Box::new(Checkpoint::of(&dir.join("config.json"), &[&weights]).unwrap())))
}

fn logits(transformer: &Transformer, ids: &[u32]) -> Vec<f32> {
    let mut cache = KvCache::with_prefix(Vec::new());
    transformer
        .forward(&mut [Step { ids, cache: &mut cache, logits: 1, best_only: false, watch: None }])
        .unwrap()
        .remove(0)
}

/// Distance relative to the length of the second vector.
fn off(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>();
    (square(&mut ours.iter().zip(theirs).map(|(a, b)| a - b)) / square(&mut theirs.iter().copied())).sqrt()
}

#[derive(Deserialize)]
struct Case {
    ids: Vec<u32>,
    logits: Vec<f32>,
}

#[test]
fn logits_match_transformers() {
    for name in TINY {
        let text = fs::read_to_string(fixture(name).join("logits.json")).unwrap();
        let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
        let full = Transformer::load(&mut tiny(name), Some(Precision::F32)).unwrap();
        let eight = Transformer::load(&mut tiny(name), None).unwrap();
        for case in cases {
            let (exact, coarse) =
                (off(&logits(&full, &case.ids), &case.logits), off(&logits(&eight, &case.ids), &case.logits));
            let length = case.ids.len();
            assert!(exact < 1e-4, "{name}, {length} tokens: off by {exact:e}");
            assert!(coarse < 0.1, "{name}, {length} tokens, in 8 bits: off by {coarse:e}");
        }
    }
}

/// Writes the weights of a `llama` GGUF file as a folder with two shards, in 32-bit floats.
fn write_folder(gguf_path: &Path, dir: &Path) {
    let mut gguf = Gguf::open(gguf_path).unwrap();
    let shape = Shape::read(&mut gguf).unwrap();
    let parts = [
        "attn_norm",
        "attn_q",
        "attn_k",
        "attn_v",
        "attn_output",
        "ffn_norm",
        "ffn_gate",
        "ffn_up",
        "ffn_down",
    ];
    let inner = (0..shape.layers).flat_map(|at| parts.map(|part| format!("blk.{at}.{part}.weight")));
    let outer = ["token_embd.weight", "output_norm.weight"].map(str::to_owned);
    let mut shards = [HashMap::new(), HashMap::new()];
    let mut map = serde_json::Map::new();
    for (at, name) in outer.into_iter().chain(inner).enumerate() {
        let mut values = gguf.values(&name).unwrap();
        if name.contains("attn_q") || name.contains("attn_k") {
            values = deinterleave(&values, shape.head_dim, shape.dim);
        }
        let theirs = to_hub(&name).unwrap();
        let matrix = !name.contains("norm");
        let width = if name.contains("ffn_down") { values.len() / shape.dim } else { shape.dim };
        let sides = if matrix { vec![values.len() / width, width] } else { vec![values.len()] };
        map.insert(theirs.clone(), json!(format!("model-{}.safetensors", at % 2)));
        shards[at % 2].insert(theirs, Tensor::from_vec(values, sides, &Device::Cpu).unwrap());
    }
    for (at, shard) in shards.iter().enumerate() {
        candle_core::safetensors::save(shard, dir.join(format!("model-{at}.safetensors"))).unwrap();
    }
    let write = |file: &str, value: serde_json::Value| fs::write(dir.join(file), value.to_string()).unwrap();
    write("model.safetensors.index.json", json!({ "weight_map": map }));
    let number = |key: &str| gguf.number(key).unwrap();
    write(
        "config.json",
        json!({
            "model_type": "llama",
            "hidden_size": shape.dim,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.key_heads,
            "max_position_embeddings": shape.context,
            "rms_norm_eps": shape.epsilon,
            "rope_theta": gguf.float("llama.rope.freq_base").unwrap(),
            "tie_word_embeddings": true,
            "eos_token_id": [number("tokenizer.ggml.eos_token_id")],
        }),
    );
    let language = Language::of_gguf(&gguf).unwrap();
    language.tokenizer.save(dir.join("tokenizer.json"), false).unwrap();
    let token = |id: Option<u32>| language.vocabulary.token(id.unwrap()).unwrap().0;
    write(
        "tokenizer_config.json",
        json!({
            "bos_token": token(language.begin),
            "eos_token": { "content": token(language.end) },
            "chat_template": [{ "name": "default", "template": language.template }],
        }),
    );
}

/// Converts interleaved rows, as in `llama` GGUF files, to one half of a head after the other.
fn deinterleave(values: &[f32], head: usize, width: usize) -> Vec<f32> {
    let rows: Vec<&[f32]> = values.chunks_exact(width).collect();
    let order = rows.chunks_exact(head).flat_map(|head| {
        let (even, odd) = (head.iter().step_by(2), head.iter().skip(1).step_by(2));
        even.chain(odd)
    });
    order.copied().flatten().copied().collect()
}

fn greedy(decoder: &Decoder, prompt: &str, tokens: usize) -> String {
    let sink = &mut |_: &str| ControlFlow::Continue(());
    decoder.generate(Class::Chat, prompt, &Sampling::greedy(tokens), sink).unwrap().text
}

#[derive(Deserialize)]
struct Greedy {
    cases: Vec<GreedyCase>,
}

#[derive(Deserialize)]
struct GreedyCase {
    prompt: String,
    tokens: Vec<u32>,
    margins: Vec<f64>,
}

/// Larger than the effect of a different order of summation.
const NEAR_TIE: f64 = 0.01;

fn noise(count: usize, seed: u32) -> Vec<f32> {
    let value =
        |at: u32| ((at.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) % 2001) as f32 / 1000.0 - 1.0;
    (0..count as u32).map(value).collect()
}

/// Writes an adapter of rank 4 for the given modules (name, outputs, inputs); `size` bounds the values of B.
fn write_adapter(dir: &Path, modules: &[(&str, usize, usize)], size: f32, more: serde_json::Value) {
    let mut tensors = HashMap::new();
    for (at, (module, outputs, inputs)) in modules.iter().enumerate() {
        let b: Vec<f32> = noise(outputs * 4, at as u32 * 77 + 1).iter().map(|value| value * size).collect();
        let name = |part: &str| format!("base_model.model.{module}.lora_{part}.weight");
        let tensor = |values: Vec<f32>, rows: usize, columns: usize| {
            Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
        };
        tensors.insert(name("A"), tensor(noise(4 * inputs, at as u32 * 31 + 5), 4, *inputs));
        tensors.insert(name("B"), tensor(b, *outputs, 4));
    }
    candle_core::safetensors::save(&tensors, dir.join("adapter_model.safetensors")).unwrap();
    let mut config =
        json!({ "peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none", "use_dora": false });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    fs::write(dir.join("adapter_config.json"), config.to_string()).unwrap();
}

fn open(models: &Models) -> Weights {
    Weights::open(&models.decoder.located(&models.store).unwrap()).unwrap()
}

#[test]
fn adapter_is_added_to_the_weights() {
    let (dir, base) = (tempfile::tempdir().unwrap(), fixture("qwen2"));
    let modules = [
        ("model.layers.0.self_attn.q_proj", 64, 64),
        ("model.layers.1.mlp.down_proj", 64, 64),
        ("lm_head", 64, 64),
    ];
    for (more, scale) in [(json!({}), 2.0f32), (json!({ "use_rslora": true }), 4.0)] {
        write_adapter(dir.path(), &modules, 0.5, more);
        let copy = folder_of(&base);
        let models = models(&copy.path().display().to_string(), &[dir.path()]);
        let (mut adapted, mut plain) = (open(&models), tiny("qwen2"));
        for (at, name) in
            ["blk.0.attn_q.weight", "blk.1.ffn_down.weight", "output.weight"].into_iter().enumerate()
        {
            let (a, b) = (noise(4 * 64, at as u32 * 31 + 5), noise(64 * 4, at as u32 * 77 + 1));
            let mut expected = plain.values(name).unwrap();
            for (at, value) in expected.iter_mut().enumerate() {
                let (row, column) = (at / 64, at % 64);
                let product: f32 = (0..4).map(|k| b[row * 4 + k] * 0.5 * a[k * 64 + column]).sum();
                *value += scale * product;
            }
            let distance = off(&adapted.values(name).unwrap(), &expected);
            assert!(distance < 1e-6, "{name}: {distance:e}");
        }
        let same = "blk.1.attn_q.weight";
        assert_eq!(adapted.values(same).unwrap(), plain.values(same).unwrap());
    }
}

/// A tiny checkpoint with its own tokenizer, which the tests do not use.
fn folder_of(base: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(base.join(file), dir.path().join(file)).unwrap();
    }
    fs::write(dir.path().join("tokenizer.json"), "{}").unwrap();
    dir
}

#[test]
fn unsupported_features_are_refused_by_name() {
    let adapter = tempfile::tempdir().unwrap();
    let copy = folder_of(&fixture("qwen2"));
    let base = copy.path().display().to_string();
    let refused = |lora: &[&Path]| {
        let models = models(&base, lora);
        let located = models.decoder.located(&models.store).unwrap();
        Weights::open(&located).err().unwrap().to_string()
    };
    let module = [("model.layers.0.self_attn.q_proj", 64, 64)];
    for (more, part) in [
        (json!({ "use_dora": true }), "use_dora"),
        (json!({ "modules_to_save": ["lm_head"] }), "modules_to_save"),
        (json!({ "bias": "all" }), "bias is \"all\""),
        (json!({ "peft_type": "IA3" }), "IA3"),
        (json!({ "r": 8 }), "says 8"),
    ] {
        write_adapter(adapter.path(), &module, 0.5, more);
        let error = refused(&[adapter.path()]);
        assert!(error.contains(part), "{part}: {error}");
    }
    for (module, part) in [
        (("model.embed_tokens", 64, 64), "no layer that can be adapted"),
        (("model.layers.7.mlp.up_proj", 64, 64), "blk.7.ffn_up"),
    ] {
        write_adapter(adapter.path(), &[module], 0.5, json!({}));
        let error = refused(&[adapter.path()]);
        assert!(error.contains(part), "{part}: {error}");
    }
    let path = copy.path().join("config.json");
    let config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for (more, part) in [
        (json!({ "use_sliding_window": true }), "sliding windows"),
        (json!({ "model_type": "gemma3" }), "gemma3; llama, qwen2, qwen3"),
        (json!({ "rope_parameters": { "rope_type": "longrope", "factor": 2 } }), "longrope"),
        (json!({ "rope_parameters": { "rope_type": "linear" } }), "no factor"),
        (json!({ "quantization_config": { "quant_method": "awq" } }), "quantization_config"),
        (json!({ "hidden_act": "gelu" }), "gelu"),
        (json!({ "model_type": "llama" }), "q_proj.bias is there"),
    ] {
        let mut changed = config.clone();
        changed.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fs::write(&path, changed.to_string()).unwrap();
        let error = {
            let models = models(&base, &[]);
            let located = models.decoder.located(&models.store).unwrap();
            let opened = Weights::open(&located).and_then(|mut weights| weights.shape());
            opened.err().unwrap().to_string()
        };
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn folder_and_gguf_file_generate_the_same_text_as_transformers() {
    let files = models(MODEL, &[]).pull(MODEL).unwrap();
    let dir = tempfile::tempdir().unwrap();
    write_folder(files.weights().unwrap(), dir.path());
    let folder_name = dir.path().display().to_string();
    let (gguf, folder) =
        (models(MODEL, &[]).decoder().unwrap(), models(&folder_name, &[]).decoder().unwrap());
    assert_ne!(gguf.id().hash, folder.id().hash);
    assert_eq!((gguf.begin, gguf.end, gguf.adds_begin), (folder.begin, folder.end, folder.adds_begin));
    let chat = [ChatMessage { role: "user".into(), content: "Hello".into() }];
    assert_eq!(gguf.chat_prompt(&chat).unwrap(), folder.chat_prompt(&chat).unwrap());

    let text = include_str!("../../../../tests/fixtures/greedy_transformers.json");
    let fixture: Greedy = serde_json::from_str(text).unwrap();
    let mut compared = 0;
    for case in &fixture.cases {
        let near_tie = case.margins.iter().position(|margin| *margin < NEAR_TIE);
        let sure = near_tie.unwrap_or(case.tokens.len());
        let theirs = gguf.tokenizer.decode(&case.tokens[..sure], true).unwrap();
        for ours in [&gguf, &folder] {
            assert_eq!(greedy(ours, &case.prompt, sure), theirs, "{:?}", case.prompt);
        }
        compared += sure;
    }
    assert!(compared >= 96, "only {compared} tokens compared");

    // An adapter has the same effect on both; one with only zeros changes just the hash.
    let modules = [
        ("model.layers.3.self_attn.q_proj", 576, 576),
        ("model.layers.3.self_attn.k_proj", 192, 576),
        ("model.layers.20.mlp.gate_proj", 1536, 576),
    ];
    let prompt = &fixture.cases[0].prompt;
    let (adapter, zeros) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_adapter(adapter.path(), &modules, 0.02, json!({}));
    write_adapter(zeros.path(), &modules, 0.0, json!({}));
    let (mut on_gguf, mut on_folder) =
        (open(&models(MODEL, &[adapter.path()])), open(&models(&folder_name, &[adapter.path()])));
    for name in ["blk.3.attn_q.weight", "blk.3.attn_k.weight"] {
        let (ours, theirs) = (on_gguf.values(name).unwrap(), on_folder.values(name).unwrap());
        assert_eq!(deinterleave(&ours, 64, 576), theirs, "{name}");
    }
    let of = |weights: &mut Weights| {
        let transformer = Transformer::load(weights, Some(Precision::F32)).unwrap();
        logits(&transformer, &gguf.ids(prompt).unwrap())
    };
    let (on_gguf, on_folder) = (of(&mut on_gguf), of(&mut on_folder));
    let plain = of(&mut open(&models(MODEL, &[])));
    let distance = off(&on_gguf, &on_folder);
    assert!(distance < 1e-4 && off(&on_gguf, &plain) > 100.0 * distance, "{distance:e}");
    let nothing = models(MODEL, &[zeros.path()]);
    assert_eq!(of(&mut open(&nothing)), plain);
    assert_ne!(nothing.decoder_key().unwrap(), models(MODEL, &[]).decoder_key().unwrap());
}
