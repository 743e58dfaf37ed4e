//! Model files.

use std::{fs, ops::ControlFlow};

use epitome::config;
use epitome_engine::{
    ChatMessage, Class, Models, Sampling,
    config::{Device, Pip},
};

/// Bytes per edit.
const EDIT: usize = 4;
/// Values written over lengths, counts and sizes.
const NUMBERS: [u64; 8] = [0, 1, 3, 255, 1 << 16, 1 << 32, 1 << 62, u64::MAX];

/// Input that begins like a GGUF file is loaded as it is; any other input is taken as edits to the smallest
/// valid file. Either loads and runs, or is refused.
pub fn gguf(data: &[u8]) {
    let file = if data.starts_with(b"GGUF") { data.to_vec() } else { edited(data) };
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("m.gguf");
    fs::write(&path, &file).expect("it is written");
    let name = path.display().to_string();
    let models = Models::new(&config::Models {
        decoder: name.clone(),
        cache: dir.path().display().to_string(),
        device: Device::Cpu,
        hub: false,
        pip: Pip::Never,
        ..config::Models::default()
    })
    .expect("the manifest is sound");
    if let Some(tokenizer) = models.tokenizer(&name) {
        let _ = tokenizer.encode_fast("ab a<|im_end|>", false);
    }
    let Ok(decoder) = models.decoder() else { return };
    assert!(decoder.weight_bytes() <= 64 * file.len().max(64), "{} bytes", decoder.weight_bytes());
    let chat = [ChatMessage { role: "user".into(), content: "ab".into() }];
    let _ = decoder.chat_prompt(&chat);
    let _ = decoder.generate(Class::Chat, "ab", &Sampling::greedy(2), &mut |_| ControlFlow::Continue(()));
}

/// The smallest file after edits of four bytes each: operation, place, operand.
fn edited(edits: &[u8]) -> Vec<u8> {
    let mut file = smallest_gguf();
    for edit in edits.chunks_exact(EDIT) {
        let at = usize::from(u16::from_le_bytes([edit[1], edit[2]])) % file.len().max(1);
        let with = edit[3];
        match edit[0] % 5 {
            0 => file[at] = with,
            1 => file[at] ^= 1 << (with % 8),
            2 => {
                let number = NUMBERS[usize::from(with) % NUMBERS.len()].to_le_bytes();
                let width = if with < 128 { 8 } else { 4 }.min(file.len() - at);
                file[at..at + width].copy_from_slice(&number[..width]);
            }
            3 => {
                let end = (at + usize::from(with)).min(file.len());
                file.drain(at..end);
            }
            _ => file.truncate(at),
        }
        if file.is_empty() {
            break;
        }
    }
    file
}

/// The smallest decoder, with one layer.
pub fn smallest_gguf() -> Vec<u8> {
    let mut metadata = Vec::new();
    let mut count = 0_u64;
    let mut entry = |key: &str, kind: u32, value: &[u8]| {
        text(&mut metadata, key);
        metadata.extend(kind.to_le_bytes());
        metadata.extend(value);
        count += 1;
    };
    entry("general.architecture", 8, &said("llama"));
    for (key, value) in [
        ("llama.embedding_length", 32_u32),
        ("llama.attention.head_count", 2),
        ("llama.attention.head_count_kv", 1),
        ("llama.context_length", 64),
        ("llama.block_count", 1),
        ("llama.attention.key_length", 16),
        ("llama.attention.value_length", 16),
        ("llama.rope.dimension_count", 16),
        ("tokenizer.ggml.bos_token_id", 3),
        ("tokenizer.ggml.eos_token_id", 4),
        ("general.alignment", 32),
    ] {
        entry(key, 4, &value.to_le_bytes());
    }
    entry("llama.rope.freq_base", 6, &10_000_f32.to_le_bytes());
    entry("llama.rope.scaling.type", 8, &said("yarn"));
    entry("llama.rope.scaling.factor", 6, &2_f32.to_le_bytes());
    entry("tokenizer.ggml.model", 8, &said("gpt2"));
    entry("tokenizer.ggml.pre", 8, &said("smollm"));
    entry("tokenizer.ggml.add_bos_token", 7, &[1]);
    entry("tokenizer.chat_template", 8, &said("{% for m in messages %}{{ m.content }}{% endfor %}"));
    let tokens = ["a", "b", "ab", "<s>", "<|im_end|>"];
    entry("tokenizer.ggml.tokens", 9, &list(8, &tokens.map(said)));
    entry("tokenizer.ggml.token_type", 9, &list(5, &[1_i32, 1, 1, 3, 3].map(|kind| kind.to_le_bytes())));
    entry(
        "tokenizer.ggml.scores",
        9,
        &list(6, &[0_f32, 0.0, -1.0, 0.0, 0.0].map(|score| score.to_le_bytes())),
    );
    entry("tokenizer.ggml.merges", 9, &list(8, &["a b"].map(said)));

    let (mut infos, mut values) = (Vec::new(), Vec::new());
    let tensors = [
        ("token_embd.weight", &[32, 5][..]),
        ("output_norm.weight", &[32]),
        ("blk.0.attn_norm.weight", &[32]),
        ("blk.0.attn_q.weight", &[32, 32]),
        ("blk.0.attn_k.weight", &[32, 16]),
        ("blk.0.attn_v.weight", &[32, 16]),
        ("blk.0.attn_output.weight", &[32, 32]),
        ("blk.0.ffn_norm.weight", &[32]),
        ("blk.0.ffn_gate.weight", &[32, 32]),
        ("blk.0.ffn_up.weight", &[32, 32]),
        ("blk.0.ffn_down.weight", &[32, 32]),
    ];
    for (name, sides) in tensors {
        text(&mut infos, name);
        infos.extend((sides.len() as u32).to_le_bytes());
        sides.iter().for_each(|side: &u64| infos.extend(side.to_le_bytes()));
        // Blocks of 32 4-bit values after a 16-bit scale.
        infos.extend(2_u32.to_le_bytes());
        infos.extend((values.len() as u64).to_le_bytes());
        for block in 0..sides.iter().product::<u64>() / 32 {
            values.extend([0, 0x2c]);
            values.extend((0..16).map(|at: u64| (at * 37 + block * 11) as u8));
        }
        values.resize(values.len().next_multiple_of(32), 0);
    }
    let mut file = b"GGUF".to_vec();
    file.extend(3_u32.to_le_bytes());
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend(count.to_le_bytes());
    file.extend(metadata);
    file.extend(infos);
    file.resize(file.len().next_multiple_of(32), 0);
    file.extend(values);
    file
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn said(said: &str) -> Vec<u8> {
    let mut out = Vec::new();
    text(&mut out, said);
    out
}

fn list<T: AsRef<[u8]>>(kind: u32, items: &[T]) -> Vec<u8> {
    let mut out = kind.to_le_bytes().to_vec();
    out.extend((items.len() as u64).to_le_bytes());
    items.iter().for_each(|item| out.extend(item.as_ref()));
    out
}
