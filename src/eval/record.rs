//! The results file: a header line, then one record per line. Report and gate use it alone.

use serde::{Deserialize, Serialize};

use super::{
    row::{Scoring, Stratum},
    scoring::rouge::Rouge,
};

/// What produced the records, so that they can be reproduced.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Name of the suite.
    pub suite: String,
    /// Version of epitome.
    pub version: String,
    /// Commit of the source tree; empty if unknown.
    pub commit: String,
    /// The command line.
    pub command: String,
    /// The effective configuration as TOML.
    pub config: String,
    /// The suite as TOML.
    pub suite_toml: String,
    /// `name@hash` of every model.
    pub models: Vec<String>,
    /// What texts and answers depend on besides the rest of the header: hashes of model files, models on
    /// servers, and templates, per arm and reader. Empty in older files.
    #[serde(default)]
    pub files: Vec<String>,
    /// Each task's file, its BLAKE3 hash and the rows used.
    pub data: Vec<DataSource>,
    /// CPU, cores, memory, GPU.
    pub hardware: String,
    /// The run's seed.
    pub seed: u64,
    /// Start of the run, in Unix seconds.
    pub started: u64,
}

/// Origin of a task's rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataSource {
    /// Name of the task.
    pub task: String,
    /// The path, as written in the suite.
    pub path: String,
    /// BLAKE3 of the file.
    pub hash: String,
    /// Rows used.
    pub rows: usize,
}

/// One row through one arm at one budget, and through at most one reader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Task name.
    pub task: String,
    /// Row id.
    pub row: String,
    /// The unit of resampling; tasks of one run that use the same document share it.
    pub document: String,
    /// Stratum of the task.
    pub stratum: Stratum,
    /// How the answer is scored.
    pub scoring: Scoring,
    /// The arm's name.
    pub arm: String,
    /// Budget as written (`25%`, `2000`); empty for an arm without one.
    pub budget: String,
    /// The reader's name; `None` for a reader-free record.
    pub reader: Option<String>,
    /// Centre of the gold span as a share of the text.
    pub position: Option<f64>,
    /// Tokens of the whole context.
    pub tokens_full: usize,
    /// Tokens of the context that the arm gave.
    pub tokens: usize,
    /// `compacted`, `passed`, or `failed` (the original was used, as in the proxy).
    pub outcome: String,
    /// Why it passed or failed.
    pub reason: Option<String>,
    /// Whether the text still contains an answer string (all of them, if all are required); `None` if the
    /// whole context does not contain it either.
    pub answer_kept: Option<bool>,
    /// Share of gold spans of which at least a part survives; `None` if there are no gold spans or the arm
    /// does not report what it kept.
    pub gold_kept: Option<f64>,
    /// The retention that the arm predicted, 0 to 1: the share of similar texts whose compaction still holds
    /// what the query needs. `None` if it predicts none, and in older files.
    #[serde(default)]
    pub predicted_retention: Option<f64>,
    /// What the text shares with the reference summaries. `None` if the row has none, for a reader's record, and in
    /// older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rouge: Option<Rouge>,
    /// Share of the text's tokens that are in sentences with fewer than four content words; `None` as for `rouge`,
    /// and without sentences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filler: Option<f64>,
    /// Share of the references' sentences that the text covers, by the cross-encoder; `None` if the suite does not
    /// ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covered: Option<f64>,
    /// Sentences that were refused from written summaries because the source does not hold a figure or a name of
    /// theirs, or does not support them; `None` for an arm that writes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ungrounded: Option<usize>,
    /// The reader's answer.
    pub answer: Option<String>,
    /// Its score, 0 to 1.
    pub score: Option<f64>,
    /// Wall time of the compaction in milliseconds.
    pub compact_ms: f64,
    /// Segments looked up in the cache.
    pub cache_lookups: usize,
    /// Segments found in the cache.
    pub cache_hits: usize,
    /// The reader's time to its first token, in milliseconds.
    pub first_token_ms: Option<f64>,
    /// The reader's total time, in milliseconds.
    pub reader_ms: Option<f64>,
    /// Tokens of the reader's prompt, by its own count.
    pub prompt_tokens: Option<usize>,
    /// Tokens of the answer.
    pub completion_tokens: Option<usize>,
    /// Peak resident memory of the process so far, bytes.
    pub peak_memory: Option<u64>,
    /// Bytes of the models that took part: those of the compaction, including the peak of the decoder's KV
    /// cache in this process so far, and the weights of a local reader. `None` if no model took part, and in
    /// older files.
    #[serde(default)]
    pub model_memory: Option<u64>,
    /// Peak GPU memory, bytes; `None` without a GPU.
    pub peak_gpu_memory: Option<u64>,
    /// Energy of compaction and reading in joules; `None` if it cannot be measured.
    pub joules: Option<f64>,
    /// Grams of CO2 for that energy; `None` if energy or grid intensity is unknown, and in older files.
    #[serde(default)]
    pub co2_grams: Option<f64>,
    /// Price of the query in the price table's currency; `None` if the model is not listed.
    pub price: Option<f64>,
}
