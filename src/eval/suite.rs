//! A suite: what an evaluation run consists of, as a TOML file.

use epitome_compactor::Budget;
use serde::{Deserialize, Serialize};

use crate::config::DecoderPrecision;

/// A suite file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Shown in reports.
    pub name: String,
    /// Seed for the sample of rows and for the random arm.
    #[serde(default)]
    pub seed: u64,
    /// Budgets at which every sized arm is run.
    pub budgets: Vec<Budget>,
    /// The data sets.
    pub tasks: Vec<TaskSpec>,
    /// The arms to compare.
    pub arms: Vec<ArmSpec>,
    /// The readers. Empty: reader-free scores only.
    #[serde(default)]
    pub readers: Vec<ReaderSpec>,
}

/// Layout of a task's file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// This repository's own rows (`eval/data/README.md`).
    #[default]
    Epitome,
    /// LongBench v1 jsonl.
    Longbench,
    /// LongBench v2 json or jsonl.
    LongbenchV2,
    /// RULER's jsonl.
    Ruler,
    /// lost-in-the-middle's jsonl.gz.
    LostInTheMiddle,
    /// User-supplied rows: `context`, `query`, and `answers` or `choices` with `answer_index`.
    Plain,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    /// Shown in reports.
    pub name: String,
    /// A file (`.jsonl`, `.json`, `.gz`, `.zst`), relative to the suite file; or
    /// `hub:OWNER/DATASET/PATH`. A task without one is left out unless the command line names its file.
    pub path: String,
    /// Layout of the file.
    #[serde(default)]
    pub format: Format,
    /// Ids of the rows to take; all if absent.
    #[serde(default)]
    pub rows: Option<Vec<String>>,
    /// Number of rows to draw; all if absent.
    #[serde(default)]
    pub sample: Option<usize>,
    /// Overrides the scoring that the rows state or the format implies.
    #[serde(default)]
    pub scoring: Option<super::row::Scoring>,
    /// Overrides the stratum.
    #[serde(default)]
    pub stratum: Option<super::row::Stratum>,
    /// Whether the text itself is measured against the answers as summaries; if absent, where answers are free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rouge: Option<bool>,
    /// Whether to measure which sentences of the answers the text covers, by the cross-encoder: a few seconds for a
    /// text of 600 tokens.
    #[serde(default, skip_serializing_if = "is_false")]
    pub covered: bool,
}

/// How an arm transforms a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum ArmKind {
    /// The reader sees no context.
    ClosedBook,
    /// The whole context.
    Full,
    /// The gold spans alone.
    Oracle,
    /// The first tokens.
    Head,
    /// The first and the last tokens, half of the budget each.
    HeadTail,
    /// Spans drawn at random, in the order of the text.
    Random,
    /// Spans ranked by BM25.
    Bm25,
    /// Spans ranked by continuous LexRank, whatever is asked.
    Lexrank,
    /// Spans ranked by embeddings.
    Dense,
    /// The whole pipeline, with overrides of the configuration.
    Epitome {
        /// Configuration keys and values, as with `--set`.
        #[serde(default)]
        set: std::collections::BTreeMap<String, String>,
        /// Whether a result for a question about order, number or the whole begins with the topics.
        #[serde(default = "yes", skip_serializing_if = "is_true")]
        outline: bool,
    },
    /// Any service that takes `{"text", "query", "budget"}` (tokens) and returns `{"text"}`.
    Http {
        /// URL to post to.
        url: String,
    },
}

/// An arm of the comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmSpec {
    /// Shown in reports; defaults to the kind's name.
    #[serde(default)]
    pub name: Option<String>,
    /// What the arm does.
    #[serde(flatten)]
    pub kind: ArmKind,
    /// Budgets for this arm instead of the suite's.
    #[serde(default)]
    pub budgets: Option<Vec<Budget>>,
    /// Whether the run goes on without it if its models cannot be had.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
}

/// A reader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReaderSpec {
    /// Shown in reports.
    pub name: String,
    /// Base URL of an OpenAI-compatible server, such as `http://127.0.0.1:8000/v1`. Without it, the
    /// embedded decoder.
    #[serde(default)]
    pub url: Option<String>,
    /// The model's name: in the manifest for the embedded decoder, else the server's.
    pub model: String,
    /// Weight precision of the embedded decoder, which then runs on the CPU; if absent, the configured
    /// precision and device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoder_precision: Option<DecoderPrecision>,
    /// Environment variable with the server's API key.
    #[serde(default)]
    pub api_key_env: Option<String>,
    /// Most concurrent requests.
    #[serde(default = "one")]
    pub concurrency: usize,
    /// Most tokens of an answer.
    #[serde(default = "answer_tokens")]
    pub max_tokens: usize,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_true(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

fn one() -> usize {
    1
}

fn answer_tokens() -> usize {
    64
}
