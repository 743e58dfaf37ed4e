//! Compaction as data: what went in, what came out, and the map between the two.

use std::{borrow::Cow, ops::Range};

use epitome_text::Origin;
use serde::{Deserialize, Serialize};

use crate::{budget::Budget, energy::Energy};

/// One text to be made short.
#[derive(Clone, Debug)]
pub struct CompactRequest {
    /// The input, untouched.
    pub text: String,
    /// What will be asked of it. Without one, spans are kept by how critical they are in themselves.
    pub query: Option<String>,
    /// The ceiling of the result.
    pub budget: Budget,
    /// The model that will read the result; it decides which tokenizer counts. `None` takes the
    /// configured default.
    pub model: Option<String>,
    /// Whether to report every score of every span (`Compaction::explain`).
    pub explain: bool,
    /// What is known of where the text comes from; it helps to tell its kind.
    pub origin: Origin,
    /// Byte ranges of the text that stay whatever else does.
    pub pinned: Vec<Range<usize>>,
    /// It is one of several parts of a text, of which another may hold what is needed: `plan.floor` is not asked for
    /// of it alone.
    pub part: bool,
    /// What is asked of it in later turns of a conversation, in their order.
    pub later: Vec<Later>,
    /// What an agent was doing when a tool gave it the text; the call itself is in `origin`. With it, lines are kept by
    /// what an agent is likely to use.
    pub call: Option<Call>,
}

impl CompactRequest {
    /// A text and the ceiling of its compaction; all else as it is for a text of which nothing more is known.
    pub fn new(text: impl Into<String>, budget: Budget) -> Self {
        Self {
            text: text.into(),
            query: None,
            budget,
            model: None,
            explain: false,
            origin: Origin::default(),
            pinned: Vec::new(),
            part: false,
            later: Vec::new(),
            call: None,
        }
    }

    /// The same for a query.
    pub fn query(self, query: impl Into<String>) -> Self {
        Self { query: Some(query.into()), ..self }
    }
}

/// What a conversation was about when a tool was called. All of it stands before the tool's result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Call {
    /// What the model said before the call.
    pub said: String,
    /// What the user wanted last.
    pub task: String,
    /// Identifiers and paths that users and the model wrote before the call, the latest first.
    pub seen: Vec<String>,
    /// Byte ranges of the text, in order, whose lines stand above, in what the model still sees. They are left out first.
    pub stands: Vec<Range<usize>>,
}

/// A question of a later turn about a text that was compacted for an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Later {
    /// What is asked.
    pub query: String,
    /// The most tokens of what is brought for it.
    pub tokens: usize,
}

/// What a later question needs of a text, and does not stand in its compaction: verbatim spans with what names
/// them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The spans, in the order of the source; empty where nothing is needed.
    pub text: String,
    /// Its tokens.
    pub tokens: usize,
    /// How much the best of it is needed, comparable between texts: a probability where that is known, else the
    /// standard score of its salience.
    pub score: f32,
    /// The byte ranges of the input that they are.
    #[serde(with = "pairs")]
    pub sources: Vec<Range<usize>>,
}

impl Cite {
    /// The same of a text that stands so many bytes further behind.
    pub(crate) fn behind(&self, bytes: usize) -> Self {
        let Range { start, end } = self.output;
        Self { output: start + bytes..end + bytes, sources: self.sources.clone() }
    }
}

/// Where a piece stands in the compacted context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Among the first tokens, where models read best.
    Head,
    /// Between head and tail, or all where there are none; in the order of the source.
    Body,
    /// Among the last tokens.
    Tail,
}

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PieceKind {
    /// Spans of the source, verbatim, kept for the query or because they are critical.
    Span,
    /// A heading or a table header, verbatim, brought along because a kept span needs it.
    Heading,
    /// Spans of the source, verbatim, chosen to stand for a stretch that was left out.
    Extract,
    /// A line of the outline at the head, verbatim: the words with which a topic of the text begins.
    Outline,
    /// Generated text that stands for its source range. Every figure and name in it was found there, and every
    /// sentence is supported by what its [`Cite`] names.
    Summary,
}

impl PieceKind {
    /// The word used in machine output and templates.
    pub fn as_str(self) -> &'static str {
        match self {
            PieceKind::Span => "span",
            PieceKind::Heading => "heading",
            PieceKind::Extract => "extract",
            PieceKind::Outline => "outline",
            PieceKind::Summary => "summary",
        }
    }

    /// Whether the piece's text is byte for byte its source range.
    pub fn is_verbatim(self) -> bool {
        !matches!(self, PieceKind::Summary)
    }
}

/// One piece of the compacted context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    /// What it is.
    pub kind: PieceKind,
    /// Where it stands.
    pub place: Place,
    /// The byte range of the input that it is, or, for a summary, that it stands for.
    #[serde(with = "pair")]
    pub source: Range<usize>,
    /// The byte range of the compacted text that it fills.
    #[serde(with = "pair")]
    pub output: Range<usize>,
    /// Salience of the best span in it; higher is more needed. Comparable within one compaction.
    pub score: f32,
    /// The number by which a reader can cite it.
    pub reference: usize,
    /// Other places of the input where the same span stands, and is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "pairs")]
    pub also: Vec<Range<usize>>,
    /// Of a summary: what each of its sentences rests on, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cites: Vec<Cite>,
}

/// A sentence of a summary and the sentences of the input that say the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cite {
    /// The byte range of the compacted text that the sentence fills.
    #[serde(with = "pair")]
    pub output: Range<usize>,
    /// The byte ranges of the input that support it, one to three.
    #[serde(with = "pairs")]
    pub sources: Vec<Range<usize>>,
}

/// Why a text came out as it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome", content = "reason")]
pub enum Outcome {
    /// The text was made shorter.
    Compacted,
    /// The text is the input, byte for byte, for the reason given.
    Passed(PassReason),
}

/// Why the input was handed on unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PassReason {
    /// It was within the budget already.
    WithinBudget,
    /// No compaction came out shorter.
    NotShorter,
    /// The budget is a floor of retention, and without a query, or with weights of one's own, none can
    /// be predicted.
    NoPrediction,
    /// The budget is a share of the input, and that holds no piece of it.
    BudgetTooSmall,
    /// It is code, and `plan.code` says that code stays whole.
    Code,
    /// Less retention is predicted than `plan.floor` asks for.
    LowRetention,
    /// What was found to keep fills less than half of the budget although needed spans were left out.
    Underfilled,
    /// It went upstream whole before, because it could not be compacted in time; another form of it now would break the
    /// prefix that the upstream has cached.
    SentWhole,
}

impl PassReason {
    /// The word used in headers, metrics and machine output.
    pub fn as_str(self) -> &'static str {
        match self {
            PassReason::WithinBudget => "within-budget",
            PassReason::NotShorter => "not-shorter",
            PassReason::NoPrediction => "no-prediction",
            PassReason::BudgetTooSmall => "budget-too-small",
            PassReason::Code => "code",
            PassReason::LowRetention => "low-retention",
            PassReason::Underfilled => "underfilled",
            PassReason::SentWhole => "sent-whole",
        }
    }
}

/// Wall time of each stage, in milliseconds, in the order of the flow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageTimes {
    /// Counting tokens, finding spans and segments.
    pub segment: f64,
    /// Scoring spans, embeddings included.
    pub rank: f64,
    /// Building the summary tree.
    pub summarize: f64,
    /// Choosing and ordering pieces.
    pub place: f64,
    /// Filling the template.
    pub render: f64,
    /// All of it.
    pub total: f64,
}

/// The account of a compaction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Tokens of the input.
    pub tokens_before: usize,
    /// Tokens of the result, template included.
    pub tokens_after: usize,
    /// `tokens_before / tokens_after`: the compression ratio, 1.0 and up.
    pub ratio: f64,
    /// The ceiling that was in force, in tokens.
    pub budget: usize,
    /// The tokenizer that counted.
    pub counter: String,
    /// What the input is as a whole: `prose`, `json`, `table` and the like.
    pub kind: Cow<'static, str>,
    /// What it was ranked for: each thing that is asked.
    pub queries: Vec<String>,
    /// Where that came from: `header` where the caller named it, else `none`; the proxy tells more in its headers.
    pub query_from: Cow<'static, str>,
    /// Segments of the input.
    pub segments: usize,
    /// Spans of the input.
    pub spans: usize,
    /// Spans that stand verbatim in the result.
    pub spans_kept: usize,
    /// Pieces of work (segments, windows of a query) that came from the cache.
    pub cache_hits: usize,
    /// Pieces of work that were asked of the cache.
    pub cache_lookups: usize,
    /// Whether the whole result came from the cache: no stage ran, and only the total of `millis` is of now.
    #[serde(default)]
    pub recalled: bool,
    /// The predicted share of like texts whose compaction still holds what the query needs; none where
    /// it is not known.
    pub retention: Option<f64>,
    /// Share of the budget given to summaries, 0 to 1.
    pub summary_share: f64,
    /// Summary sentences that were refused because their source does not hold a figure or a name in
    /// them, or no sentences of it support them.
    pub ungrounded: usize,
    /// Leaves and merges of the summary tree that a model wrote, for this text or before.
    #[serde(default)]
    pub summary_nodes: usize,
    /// Those of them that were written anew: all the first time; after a change in one paragraph, its leaf and
    /// the merges above it.
    #[serde(default)]
    pub summary_nodes_new: usize,
    /// Models that took part: `name@hash`.
    pub models: Vec<String>,
    /// Time per stage.
    pub millis: StageTimes,
    /// Its share of the energy that this machine took meanwhile; none where
    /// no counter can be read.
    pub joules: Option<f64>,
    /// That for 1,000 tokens of the input; none for an empty one, too.
    pub joules_per_1000_tokens: Option<f64>,
    /// Grams of CO2; none where the energy or the grid is unknown.
    pub co2_grams: Option<f64>,
}

impl Figures {
    pub(crate) fn record_energy(&mut self, energy: Energy) {
        let tokens = self.tokens_before;
        self.joules = energy.joules;
        self.joules_per_1000_tokens =
            energy.joules.filter(|_| tokens > 0).map(|joules| joules / tokens as f64 * 1e3);
        self.co2_grams = energy.co2_grams;
    }
}

/// Every score of one span, for `explain`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SpanScore {
    /// Byte range of the span in the input.
    #[serde(with = "pair")]
    pub source: Range<usize>,
    /// Kind of content: prose, heading, code, json, table, list, log.
    pub content: &'static str,
    /// Tokens.
    pub tokens: usize,
    /// Segment it belongs to.
    pub segment: usize,
    /// Block (paragraph, passage, table) it belongs to; a label or heading in it counts as `heading`.
    pub block: usize,
    /// BM25 of the sentence.
    pub lexical: f32,
    /// BM25 of its paragraph.
    pub lexical_block: f32,
    /// BM25 of the sentence over trigrams of characters; absent where only English is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigrams: Option<f32>,
    /// The same of its paragraph; likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigrams_block: Option<f32>,
    /// Cosine of sentence and query.
    pub dense: f32,
    /// Cosine of paragraph and query.
    pub dense_block: f32,
    /// The cross-encoder's log-odds that the sentence is needed; none where it was not read.
    pub cross: Option<f32>,
    /// The cross-encoder's log-odds that the window around it answers the query; likewise.
    pub cross_window: Option<f32>,
    /// The log-odds that the sentence is needed by a decoder's attention; absent where that does not rank or
    /// has not read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention: Option<f32>,
    /// How critical the span is without a query.
    pub criticality: f32,
    /// The score by which spans are chosen.
    pub salience: f32,
    /// The probability that the span is needed, where it is known.
    pub probability: Option<f32>,
    /// Where it was placed; none if it was left out.
    pub place: Option<Place>,
}

/// The result of a compaction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compaction {
    /// Compacted or passed.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The compacted context; the input itself where the outcome is `Passed`.
    pub text: String,
    /// Its pieces, in the order in which they stand.
    pub pieces: Vec<Piece>,
    /// The account.
    pub figures: Figures,
    /// For each question of a later turn, what it needs of the text besides; empty where the text passed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// Scores of all spans, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<Vec<SpanScore>>,
}

/// A range as `[start, end]`.
mod pair {
    use std::ops::Range;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(range: &Range<usize>, serializer: S) -> Result<S::Ok, S::Error> {
        [range.start, range.end].serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Range<usize>, D::Error> {
        <[usize; 2]>::deserialize(deserializer).map(|[start, end]| start..end)
    }
}

/// Ranges as a list of `[start, end]`.
mod pairs {
    use std::ops::Range;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        ranges: &[Range<usize>],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        ranges.iter().map(|range| [range.start, range.end]).collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Range<usize>>, D::Error> {
        let pairs = Vec::<[usize; 2]>::deserialize(deserializer)?;
        Ok(pairs.into_iter().map(|[start, end]| start..end).collect())
    }
}
