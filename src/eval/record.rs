//! The results file: a header line, then one record a line. Report and gate read nothing else.

use serde::{Deserialize, Serialize};

use super::row::{Scoring, Stratum};

/// What made the records, so that they can be made again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Name of the suite.
    pub suite: String,
    /// Version of epitome.
    pub version: String,
    /// Commit of the source tree; empty where it cannot be told.
    pub commit: String,
    /// The command line.
    pub command: String,
    /// The effective configuration as TOML.
    pub config: String,
    /// The suite as TOML.
    pub suite_toml: String,
    /// `name@hash` of every model.
    pub models: Vec<String>,
    /// What texts and answers depend on besides the rest of the header: the hashes of model files, the models on
    /// servers, and the templates, by arm and reader. Empty in older files.
    #[serde(default)]
    pub files: Vec<String>,
    /// Each task's file, its BLAKE3 hash and the rows used.
    pub data: Vec<DataSource>,
    /// CPU, cores, memory, GPU.
    pub hardware: String,
    /// Seeds.
    pub seed: u64,
    /// Start of the run, seconds since 1970.
    pub started: u64,
}

/// Where a task's rows came from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataSource {
    /// Name of the task.
    pub task: String,
    /// As the suite names it.
    pub path: String,
    /// BLAKE3 of the file.
    pub hash: String,
    /// Rows used.
    pub rows: usize,
}

/// One row through one arm at one budget, and through one reader where there is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Task.
    pub task: String,
    /// Row.
    pub row: String,
    /// The unit of resampling; tasks of one run that name the same document share it.
    pub document: String,
    /// Stratum of the task.
    pub stratum: Stratum,
    /// How the answer is scored.
    pub scoring: Scoring,
    /// Arm.
    pub arm: String,
    /// Budget as written (`25%`, `2000`); empty for an arm without one.
    pub budget: String,
    /// Reader; none for a reader-free record.
    pub reader: Option<String>,
    /// Gold place as a share of the text.
    pub position: Option<f64>,
    /// Tokens of the whole context.
    pub tokens_full: usize,
    /// Tokens of the context that the arm gave.
    pub tokens: usize,
    /// `compacted`, `passed`, or `failed` (then the original counts, as in the proxy).
    pub outcome: String,
    /// Why it passed or failed.
    pub reason: Option<String>,
    /// Whether an answer string (all of them, where all are asked for) is still there; none where the
    /// whole context does not hold it either.
    pub answer_kept: Option<bool>,
    /// Share of the gold spans of which at least a part survives; none where there is no gold or
    /// where the arm does not say what it kept.
    pub gold_kept: Option<f64>,
    /// The retention that the arm itself predicted, 0 to 1: the share of like texts whose compaction
    /// still holds what the query needs. None where it predicts nothing, and in older files.
    #[serde(default)]
    pub predicted_retention: Option<f64>,
    /// The reader's answer.
    pub answer: Option<String>,
    /// Its score, 0 to 1.
    pub score: Option<f64>,
    /// Wall time of the compaction in milliseconds.
    pub compact_ms: f64,
    /// Segments asked of the cache, and found there.
    pub cache_lookups: usize,
    /// Segments found in the cache.
    pub cache_hits: usize,
    /// Reader's time to its first token in milliseconds.
    pub first_token_ms: Option<f64>,
    /// Reader's whole time in milliseconds.
    pub reader_ms: Option<f64>,
    /// Tokens of the reader's prompt, by its own count.
    pub prompt_tokens: Option<usize>,
    /// Tokens of the answer.
    pub completion_tokens: Option<usize>,
    /// Peak resident memory of the process so far, bytes.
    pub peak_memory: Option<u64>,
    /// Memory of the models that took part, bytes: those of the compaction, a decoder's keys and values with the
    /// most that the process held by then, and the weights of a reader on this machine. None where none did,
    /// and in older files.
    #[serde(default)]
    pub model_memory: Option<u64>,
    /// Peak GPU memory, bytes; none where there is no GPU.
    pub peak_gpu_memory: Option<u64>,
    /// Energy of compaction and reading in joules; none where it cannot be read.
    pub joules: Option<f64>,
    /// Grams of CO2 for that; none where energy or grid is unknown, and in older files.
    #[serde(default)]
    pub co2_grams: Option<f64>,
    /// Price of the query in the price table's currency; none where the model is not in it.
    pub price: Option<f64>,
}
