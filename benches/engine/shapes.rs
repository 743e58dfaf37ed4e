//! Decoders with a real model's shape and noise as weights: speed depends on the shape alone.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use serde_json::{Map, Value, json};

/// The dimensions of a decoder.
#[derive(Clone, Copy)]
pub struct Shape {
    pub name: &'static str,
    kind: &'static str,
    dim: usize,
    layers: usize,
    heads: usize,
    key_heads: usize,
    head_dim: usize,
    inner: usize,
    words: usize,
    theta: f64,
}

/// SmolLM2-135M, Qwen2.5-1.5B and Qwen3-4B, from the publishers' `config.json` files.
pub const SHAPES: [Shape; 3] = [
    Shape {
        name: "135M",
        kind: "llama",
        dim: 576,
        layers: 30,
        heads: 9,
        key_heads: 3,
        head_dim: 64,
        inner: 1536,
        words: 49_152,
        theta: 1e5,
    },
    Shape {
        name: "1.5B",
        kind: "qwen2",
        dim: 1536,
        layers: 28,
        heads: 12,
        key_heads: 2,
        head_dim: 128,
        inner: 8960,
        words: 151_936,
        theta: 1e6,
    },
    Shape {
        name: "4B",
        kind: "qwen3",
        dim: 2560,
        layers: 36,
        heads: 32,
        key_heads: 8,
        head_dim: 128,
        inner: 9728,
        words: 151_936,
        theta: 1e6,
    },
];

/// Number of noise values; every matrix is a slice of them.
const NOISE: usize = 1 << 22;

impl Shape {
    /// Multiply-adds per token in the linear layers.
    pub fn layer_multiply_adds(&self) -> f64 {
        let (queries, keys) = (self.heads * self.head_dim, self.key_heads * self.head_dim);
        let layer = self.dim * (queries + 2 * keys) + queries * self.dim + 3 * self.dim * self.inner;
        (self.layers * layer) as f64
    }

    /// Multiply-adds per token in the output head.
    pub fn head_multiply_adds(&self) -> f64 {
        (self.dim * self.words) as f64
    }

    /// Writes the model as a Hugging Face folder, with weights in bf16.
    pub fn write(&self, folder: &Path) {
        let config = json!({
            "model_type": self.kind,
            "architectures": [match self.kind {
                "qwen2" => "Qwen2ForCausalLM",
                "qwen3" => "Qwen3ForCausalLM",
                _ => "LlamaForCausalLM",
            }],
            "hidden_size": self.dim,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_heads,
            "head_dim": self.head_dim,
            "intermediate_size": self.inner,
            "vocab_size": self.words,
            "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-6,
            "rope_theta": self.theta,
            "hidden_act": "silu",
            "tie_word_embeddings": true,
            "torch_dtype": "bfloat16",
        });
        std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
        std::fs::write(folder.join("tokenizer.json"), tokenizer(self.words).to_string()).unwrap();
        self.write_weights(BufWriter::new(File::create(folder.join("model.safetensors")).unwrap()));
    }

    fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (queries, keys) = (self.heads * self.head_dim, self.key_heads * self.head_dim);
        let mut all = vec![
            ("model.embed_tokens.weight".to_owned(), vec![self.words, self.dim]),
            ("model.norm.weight".to_owned(), vec![self.dim]),
        ];
        for layer in 0..self.layers {
            let mut add = |part: &str, sides: &[usize]| {
                all.push((format!("model.layers.{layer}.{part}"), sides.to_vec()));
            };
            add("input_layernorm.weight", &[self.dim]);
            add("post_attention_layernorm.weight", &[self.dim]);
            for (part, outputs) in [("q", queries), ("k", keys), ("v", keys)] {
                add(&format!("self_attn.{part}_proj.weight"), &[outputs, self.dim]);
                if self.kind == "qwen2" {
                    add(&format!("self_attn.{part}_proj.bias"), &[outputs]);
                }
                if self.kind == "qwen3" && part != "v" {
                    add(&format!("self_attn.{part}_norm.weight"), &[self.head_dim]);
                }
            }
            add("self_attn.o_proj.weight", &[self.dim, queries]);
            add("mlp.gate_proj.weight", &[self.inner, self.dim]);
            add("mlp.up_proj.weight", &[self.inner, self.dim]);
            add("mlp.down_proj.weight", &[self.dim, self.inner]);
        }
        all
    }

    fn write_weights(&self, mut file: impl Write) {
        let (mut header, mut end) = (Map::new(), 0);
        let tensors = self.tensors();
        for (name, sides) in &tensors {
            let start = end;
            end += sides.iter().product::<usize>() * 2;
            header
                .insert(name.clone(), json!({"dtype": "BF16", "shape": sides, "data_offsets": [start, end]}));
        }
        let mut header = Value::Object(header).to_string();
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
        file.write_all(header.as_bytes()).unwrap();
        let noise = noise();
        let mut place = 0;
        for (name, sides) in &tensors {
            let mut left = sides.iter().product::<usize>() * 2;
            if name.ends_with("norm.weight") {
                // 1.0
                file.write_all(&[0x80, 0x3f].repeat(left / 2)).unwrap();
                continue;
            }
            while left > 0 {
                let part = noise.get(place..).unwrap_or_default();
                let part = part.get(..left.min(part.len())).unwrap_or_default();
                file.write_all(part).unwrap();
                left -= part.len();
                place = (place + part.len()) % noise.len();
            }
        }
        file.flush().unwrap();
    }
}

/// bf16 values between -0.03 and 0.03.
fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let value = ((state >> 40) as f32 / (1 << 23) as f32 - 1.0) * 0.03;
        (value.to_bits() >> 16) as u16
    };
    (0..NOISE).flat_map(|_| next().to_le_bytes()).collect()
}

/// A distinct all-letters word for each token.
pub fn word(mut token: usize) -> String {
    let mut word = String::from("q");
    loop {
        word.push(char::from(b'a' + (token % 26) as u8));
        token /= 26;
        if token == 0 {
            return word;
        }
    }
}

/// A tokenizer with one token per word, each preceded by a space.
fn tokenizer(words: usize) -> Value {
    let vocabulary: Map<String, Value> =
        (0..words).map(|token| (format!("Ġ{}", word(token)), token.into())).collect();
    let bytes =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": bytes.clone(),
        "post_processor": null,
        "decoder": bytes,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": format!("Ġ{}", word(0))},
    })
}
