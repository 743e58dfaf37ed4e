//! One question over one long text, in one shape for every task.

use std::{ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};

/// How an answer is scored. The names are those of `metadata.scoring` in the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scoring {
    /// The chosen one of `choices` is right.
    Mcq,
    /// Any answer occurs in the output after normalising.
    SubspanEm,
    /// Any answer occurs.
    ContainsAny,
    /// Every answer occurs.
    ContainsAll,
    /// Short answers: token F1, or 1 where an answer is contained.
    F1Contains,
    /// Free answers: token F1 as a rough figure.
    F1OrJudge,
    /// Free answers: ROUGE-L as a rough figure.
    RougeOrJudge,
    /// Code: edit similarity.
    EditSimilarity,
    /// The very string.
    Exact,
}

/// Whether word matching alone solves a task; reported apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stratum {
    /// Needles, key-value retrieval, variable tracking.
    Lexical,
    /// All other tasks.
    Semantic,
}

/// One question over one long text.
#[derive(Clone, Debug)]
pub struct Row {
    /// Unique within its task.
    pub id: String,
    /// Name of the task.
    pub task: String,
    /// The long text. Rows over one text share it.
    pub context: Arc<str>,
    /// What is asked.
    pub query: String,
    /// Right answers, any of which will do unless `scoring` says all.
    pub answers: Vec<String>,
    /// The options of a multiple-choice question; empty otherwise.
    pub choices: Vec<String>,
    /// The right one of `choices`.
    pub answer_index: Option<usize>,
    /// How an answer is scored.
    pub scoring: Scoring,
    /// Where the answer stands: byte ranges of `context` (gold documents, turns, needles, evidence
    /// sentences). Empty where it is not known.
    pub gold: Vec<Range<usize>>,
    /// Middle of the gold place as a share of the text, 0 to 1; none where it is not known or where
    /// several places are needed.
    pub position: Option<f64>,
    /// The unit of resampling: rows of one document are not independent. Its name begins with the task's,
    /// or is a hash of the text, so that tasks share a document only where they do in truth.
    pub document: String,
    /// Whether word matching alone solves it.
    pub stratum: Stratum,
}
