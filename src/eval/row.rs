//! One question about one long text, in the same form for every task.

use std::{ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};

/// How an answer is scored. The names are those of `metadata.scoring` in the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scoring {
    /// The chosen option of `choices` is the right one.
    Mcq,
    /// Any answer occurs in the output, both normalised.
    SubspanEm,
    /// Any answer occurs.
    ContainsAny,
    /// Every answer occurs.
    ContainsAll,
    /// Short answers: 1 if an answer is contained, else token F1.
    F1Contains,
    /// Free-form answers: token F1 as an approximation.
    F1OrJudge,
    /// Free-form answers: ROUGE-L as an approximation.
    RougeOrJudge,
    /// Code: edit similarity.
    EditSimilarity,
    /// Exact string match.
    Exact,
}

impl Scoring {
    /// Whether answers are free text, so that the text itself can be compared with them.
    pub fn is_free_text(self) -> bool {
        matches!(self, Scoring::F1OrJudge | Scoring::RougeOrJudge)
    }
}

/// Whether word matching alone solves a task; reported separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stratum {
    /// Needles, key-value retrieval, variable tracking.
    Lexical,
    /// All other tasks.
    Semantic,
}

/// What is measured against a row's answers as reference summaries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SummaryMeasures {
    /// ROUGE and filler.
    pub rouge: bool,
    /// The references' sentences that the text covers, by the cross-encoder.
    pub covered: bool,
}

/// One question over one long text.
#[derive(Clone, Debug)]
pub struct Row {
    /// Unique within its task.
    pub id: String,
    /// Name of the task.
    pub task: String,
    /// The long text. Rows about the same text share it.
    pub context: Arc<str>,
    /// The question.
    pub query: String,
    /// Correct answers; any of them suffices unless `scoring` requires all.
    pub answers: Vec<String>,
    /// The options of a multiple-choice question; empty otherwise.
    pub choices: Vec<String>,
    /// Index of the correct option in `choices`.
    pub answer_index: Option<usize>,
    /// How an answer is scored.
    pub scoring: Scoring,
    /// What is measured against `answers` as summaries, without a reader.
    pub summary: SummaryMeasures,
    /// Byte ranges of `context` that hold the answer (gold documents, turns, needles, evidence sentences).
    /// Empty if unknown.
    pub gold: Vec<Range<usize>>,
    /// Centre of the gold span as a share of the text, 0 to 1; `None` if it is unknown or several spans are
    /// needed.
    pub position: Option<f64>,
    /// The unit of resampling: rows about the same document are not independent. The name starts with the
    /// task's, or is a hash of the text, so that tasks share a document only if it really is the same.
    pub document: String,
    /// Whether word matching alone solves it.
    pub stratum: Stratum,
}
