//! The metrics of the engine, recorded by whichever recorder the program installs.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

/// Seconds that a request to the decoder, or a piece of one to an encoder, waited; by `class`.
pub const ENGINE_QUEUE: &str = "epitome_engine_queue_seconds";
/// Requests that found the queue full; by `class`.
pub const ENGINE_REFUSED: &str = "epitome_engine_refused_total";
/// Requests that nobody waited for any more; by `class`.
pub const ENGINE_CANCELLED: &str = "epitome_engine_cancelled_total";
/// Seconds of a step of the decoder, or of a piece of an encoder's work; by `class`.
pub const ENGINE_STEP: &str = "epitome_engine_step_seconds";
/// Sequences in the decoder's last step.
pub const ENGINE_BATCH: &str = "epitome_engine_batch_sequences";
/// Pieces of requests in the last pass of an encoder on a GPU.
pub const ENGINE_PASS: &str = "epitome_engine_pass_pieces";
/// Tokens of prompts that the decoder read.
pub const ENGINE_PROMPT: &str = "epitome_engine_prompt_tokens_total";
/// Tokens that encoders read; by `class`.
pub const ENGINE_ENCODED: &str = "epitome_engine_encoded_tokens_total";
/// Tokens that the decoder wrote.
pub const ENGINE_WRITTEN: &str = "epitome_engine_written_tokens_total";
/// Bytes of the weights as they are kept; by `model`.
pub const MODEL_MEMORY: &str = "epitome_model_memory_bytes";
/// Sequences that the decoder holds.
pub const ENGINE_LIVE: &str = "epitome_engine_live_sequences";
/// Bytes of their keys and values, and of those kept for prompts that begin alike.
pub const ENGINE_KV: &str = "epitome_engine_kv_bytes";
/// The most that it was.
pub const ENGINE_KV_PEAK: &str = "epitome_engine_kv_peak_bytes";

/// What requests to models are for, by the names of [`epitome_engine::Class`] and of what encoders do.
pub const CLASSES: [&str; 6] = ["chat", "summary", "reading", "rank-attention", "rank", "embed"];
/// Those of encoders.
pub const ENCODER_CLASSES: [&str; 2] = ["rank", "embed"];

/// A request to the decoder begins after it has waited.
pub(crate) fn engine_admitted(class: &'static str, waited: Duration) {
    histogram!(ENGINE_QUEUE, "class" => class).record(waited);
}

/// A request found the decoder's queue full.
pub(crate) fn engine_refused(class: &'static str) {
    counter!(ENGINE_REFUSED, "class" => class).increment(1);
}

/// A request to the decoder was given up.
pub(crate) fn engine_cancelled(class: &'static str) {
    counter!(ENGINE_CANCELLED, "class" => class).increment(1);
}

/// A step of the decoder read and wrote so many tokens.
pub(crate) fn engine_step(time: Duration, sequences: usize, read: usize, written: usize) {
    histogram!(ENGINE_STEP, "class" => "decode").record(time);
    gauge!(ENGINE_BATCH).set(sequences as f64);
    counter!(ENGINE_PROMPT).increment(read as u64);
    counter!(ENGINE_WRITTEN).increment(written as u64);
}

/// A model was loaded, whose weights take so many bytes.
pub(crate) fn model_loaded(model: &str, weight_bytes: usize) {
    gauge!(MODEL_MEMORY, "model" => model.to_owned()).set(weight_bytes as f64);
}

/// The decoder holds so many sequences, and so many bytes of keys and values.
pub(crate) fn engine_holds(sequences: usize, kv_bytes: usize, kv_peak_bytes: usize) {
    gauge!(ENGINE_LIVE).set(sequences as f64);
    gauge!(ENGINE_KV).set(kv_bytes as f64);
    gauge!(ENGINE_KV_PEAK).set(kv_peak_bytes as f64);
}

/// An encoder on a GPU read pieces of so many requests together.
#[cfg(feature = "cuda")]
pub(crate) fn encoder_pass(pieces: usize) {
    gauge!(ENGINE_PASS).set(pieces as f64);
}

/// An encoder read so many tokens in one piece.
pub(crate) fn encoder_step(class: &'static str, time: Duration, tokens: usize) {
    histogram!(ENGINE_STEP, "class" => class).record(time);
    counter!(ENGINE_ENCODED, "class" => class).increment(tokens as u64);
}
