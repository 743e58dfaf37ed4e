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
    /// Draws the sample of rows and the random arms.
    #[serde(default)]
    pub seed: u64,
    /// Sizes that every arm that has a size is run at.
    pub budgets: Vec<Budget>,
    /// Where rows come from.
    pub tasks: Vec<TaskSpec>,
    /// What is compared.
    pub arms: Vec<ArmSpec>,
    /// Who answers. None: reader-free scores alone.
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
    /// The user's own: `context`, `query`, and `answers` or `choices` with `answer_index`.
    Plain,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    /// Shown in reports.
    pub name: String,
    /// A file (`.jsonl`, `.json`, `.gz`, `.zst`), relative to the suite file; or
    /// `hub:OWNER/DATASET/PATH`.
    pub path: String,
    /// Layout of the file.
    #[serde(default)]
    pub format: Format,
    /// The rows to take, by id; all without it.
    #[serde(default)]
    pub rows: Option<Vec<String>>,
    /// How many rows to draw; all without it.
    #[serde(default)]
    pub sample: Option<usize>,
    /// Overrides of the scoring that the rows state or the format implies.
    #[serde(default)]
    pub scoring: Option<super::row::Scoring>,
    /// Overrides of the stratum.
    #[serde(default)]
    pub stratum: Option<super::row::Stratum>,
}

/// What an arm does with a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum ArmKind {
    /// The reader sees no context.
    ClosedBook,
    /// All of it.
    Full,
    /// The gold spans alone.
    Oracle,
    /// The first tokens.
    Head,
    /// The first and the last, half each.
    HeadTail,
    /// Spans drawn at random, in the order of the text.
    Random,
    /// Spans by BM25.
    Bm25,
    /// Spans by embeddings.
    Dense,
    /// The whole pipeline, with overrides of the configuration.
    Epitome {
        /// Keys and values, as after `--set`.
        #[serde(default)]
        set: std::collections::BTreeMap<String, String>,
    },
    /// Any service that takes `{"text", "query", "budget"}` (tokens) and gives `{"text"}`.
    Http {
        /// Where to post.
        url: String,
    },
}

/// An arm of the comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmSpec {
    /// Shown in reports; the kind's own name without it.
    #[serde(default)]
    pub name: Option<String>,
    /// What it does.
    #[serde(flatten)]
    pub kind: ArmKind,
    /// Sizes for this arm instead of the suite's.
    #[serde(default)]
    pub budgets: Option<Vec<Budget>>,
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
    /// How the embedded decoder's weights are kept and multiplied, on the processor; without it, as and where
    /// it is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoder_precision: Option<DecoderPrecision>,
    /// Environment variable that holds the key of the server.
    #[serde(default)]
    pub api_key_env: Option<String>,
    /// Most requests at once.
    #[serde(default = "one")]
    pub concurrency: usize,
    /// Most tokens of an answer.
    #[serde(default = "answer_tokens")]
    pub max_tokens: usize,
}

fn one() -> usize {
    1
}

fn answer_tokens() -> usize {
    64
}
