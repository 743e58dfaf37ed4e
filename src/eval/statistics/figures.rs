//! The figures of an analysis: per task, per stratum, along a curve.

use serde::Serialize;

use super::summary::Summary;
use crate::eval::{record::Record, row::Stratum, scoring::rouge::Unit};

/// What is measured for a row, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Score of a reader's answer.
    Score,
    /// Whether the answer string is still in the context.
    AnswerKept,
    /// Share of the gold spans that survive.
    GoldKept,
    /// Recall of ROUGE-1 at equal words.
    Rouge1,
    /// Recall of ROUGE-2 at equal words.
    Rouge2,
    /// Recall of ROUGE-L at equal words.
    RougeL,
    /// Share of a reference's sentences that the text covers.
    Covered,
    /// Share of the text's tokens in sentences that say nothing; less is better.
    Filler,
}

impl Measure {
    /// All.
    pub const ALL: [Self; 8] = [
        Self::Score,
        Self::AnswerKept,
        Self::GoldKept,
        Self::Rouge1,
        Self::Rouge2,
        Self::RougeL,
        Self::Covered,
        Self::Filler,
    ];

    /// Its name in machine output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::AnswerKept => "answer_kept",
            Self::GoldKept => "gold_kept",
            Self::Rouge1 => "rouge1",
            Self::Rouge2 => "rouge2",
            Self::RougeL => "rouge_l",
            Self::Covered => "covered",
            Self::Filler => "filler",
        }
    }

    /// The record's value; `None` if it was not measured or cannot be. Of its text, `words` are compared by ROUGE.
    pub fn value(self, record: &Record, words: usize) -> Option<f64> {
        let recall = |unit| record.rouge.as_ref().map(|rouge| rouge.cut(unit, words).recall);
        match self {
            Self::Score => record.score,
            Self::AnswerKept => record.answer_kept.map(f64::from),
            Self::GoldKept => record.gold_kept,
            Self::Rouge1 => recall(Unit::Words),
            Self::Rouge2 => recall(Unit::Pairs),
            Self::RougeL => recall(Unit::Sequence),
            Self::Covered => record.covered,
            Self::Filler => record.filler,
        }
    }
}

/// Compression and times behind a figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Size {
    /// Mean tokens of the whole context.
    pub tokens_full: f64,
    /// Mean tokens that the arm gave.
    pub tokens: f64,
    /// Mean wall time of the compaction, milliseconds.
    pub compact_ms: f64,
    /// Mean time of the reader, milliseconds.
    pub reader_ms: Option<f64>,
}

impl Size {
    /// Compression ratio: tokens before over tokens after; `None` if nothing is left, as without a context.
    pub fn ratio(&self) -> Option<f64> {
        (self.tokens > 0.0).then(|| self.tokens_full / self.tokens)
    }
}

/// Figures of one task, arm, budget and reader.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// What is measured.
    pub measure: Measure,
    /// Reader; `None` for measures without one.
    pub reader: Option<String>,
    /// Stratum of the task.
    pub stratum: Stratum,
    /// Task.
    pub task: String,
    /// Arm.
    pub arm: String,
    /// Budget as written; empty for an arm without one.
    pub budget: String,
    /// Tokens and time.
    #[serde(flatten)]
    pub size: Size,
    /// The figures.
    #[serde(flatten)]
    pub summary: Summary,
}

/// The macro average over the tasks of a stratum.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StratumSummary {
    /// What is measured.
    pub measure: Measure,
    /// Reader; `None` for measures without one.
    pub reader: Option<String>,
    /// The stratum.
    pub stratum: Stratum,
    /// Arm.
    pub arm: String,
    /// Budget as written; empty for an arm without one.
    pub budget: String,
    /// How many tasks were averaged.
    pub tasks: usize,
    /// Tokens and time, averaged over tasks.
    #[serde(flatten)]
    pub size: Size,
    /// The figures.
    #[serde(flatten)]
    pub summary: Summary,
}

/// The axis of a curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Curve {
    /// Position of the gold span, as a share of the text.
    Position,
    /// Tokens of the whole context.
    Length,
}

/// The rows behind a curve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// One task.
    Task(String),
    /// All rows of a stratum, whatever their task.
    Stratum(Stratum),
}

/// One point of a curve: the rows of one bin.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CurvePoint {
    /// The curve's axis.
    pub curve: Curve,
    /// What is measured.
    pub measure: Measure,
    /// Reader; `None` for measures without one.
    pub reader: Option<String>,
    /// Task or stratum.
    pub scope: Scope,
    /// Arm.
    pub arm: String,
    /// Budget as written; empty for an arm without one.
    pub budget: String,
    /// Index of the bin along the curve.
    pub bin: usize,
    /// Label of the bin.
    pub label: &'static str,
    /// The figures.
    #[serde(flatten)]
    pub summary: Summary,
}

/// The name of a stratum in machine output.
pub fn stratum_name(stratum: Stratum) -> &'static str {
    match stratum {
        Stratum::Lexical => "lexical",
        Stratum::Semantic => "semantic",
    }
}

/// Bins of the position curve.
pub const POSITIONS: [&str; 5] = ["0-20%", "20-40%", "40-60%", "60-80%", "80-100%"];
/// Bins of the length curve: largest number of tokens, and label.
pub const LENGTHS: [(usize, &str); 6] = [
    (2_000, "to 2k"),
    (4_000, "2k-4k"),
    (8_000, "4k-8k"),
    (16_000, "8k-16k"),
    (32_000, "16k-32k"),
    (usize::MAX, "beyond 32k"),
];

impl Curve {
    /// Index and label of the record's bin; `None` if the record has no place on the curve.
    pub fn bin(self, record: &Record) -> Option<(usize, &'static str)> {
        match self {
            Self::Position => {
                let at = ((record.position? * POSITIONS.len() as f64) as usize).min(POSITIONS.len() - 1);
                POSITIONS.get(at).map(|label| (at, *label))
            }
            Self::Length => LENGTHS
                .iter()
                .enumerate()
                .find(|(_, (end, _))| record.tokens_full <= *end)
                .map(|(at, (_, label))| (at, *label)),
        }
    }
}
