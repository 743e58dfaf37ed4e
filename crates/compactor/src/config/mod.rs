//! What can be set of a compaction, by section as a configuration file has it. The defaults are what an empty file
//! gives.

mod share;

use epitome_engine::Models;
use serde::{Deserialize, Serialize};

pub use share::SummaryShare;

/// All that a [`crate::Compactor`] goes by.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    /// What happens to code.
    pub code: CodePolicy,
    /// Least predicted retention: where less is predicted, the text passes whole. 0 turns it off.
    pub floor: f64,
    /// How long a text goes whole again that went whole because it could not be compacted in time, in seconds: as long as
    /// an upstream keeps a prefix in its cache.
    pub whole_s: u64,
    /// Tokens, spans and segments.
    pub text: Text,
    /// Salience.
    pub rank: Rank,
    /// The summary tree.
    pub summarize: Summarize,
    /// The server behind `summarize.kind = "openai"`.
    pub summarizer: RemoteModel,
    /// The server behind `rank.dense = "openai"`.
    pub embedder: RemoteModel,
    /// How long to wait for a connection to one of these servers.
    pub connect_timeout_ms: u64,
    /// Head and tail.
    pub place: PlaceConfig,
    /// Templates.
    pub render: Render,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            code: CodePolicy::Keep,
            floor: 0.5,
            whole_s: 3600,
            text: Text::default(),
            rank: Rank::default(),
            summarize: Summarize::default(),
            summarizer: RemoteModel::default(),
            embedder: RemoteModel::default(),
            connect_timeout_ms: 3_000,
            place: PlaceConfig::default(),
            render: Render::default(),
        }
    }
}

/// What happens to fenced code blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CodePolicy {
    /// All stay.
    Keep,
    /// Kept or left out whole, by score.
    Rank,
}

/// Tokens, spans and segments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Text {
    /// Tokenizer for a model whose own is not known: a tiktoken encoding.
    pub default_encoding: String,
    /// Fewest tokens of a segment, the last one excepted.
    pub segment_min: usize,
    /// Most tokens of a segment, a single unit that is larger excepted.
    pub segment_max: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self { default_encoding: "cl100k_base".into(), segment_min: 1000, segment_max: 2000 }
    }
}

/// Salience.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rank {
    /// Whose vectors take part: `static` (a table that is compiled in), `encoder`
    /// (`models.embedder`), `openai` (the server in `embedder`), or `none`.
    pub dense: DenseKind,
    /// Most tokens that `encoder` embeds. Of a longer text the segments are whose lexical scores
    /// (without a query: whose criticality) are highest.
    pub dense_tokens: usize,
    /// Most tokens that the cross-encoder reads, those first that the other scores find promising; 0
    /// turns it off.
    pub cross_tokens: usize,
    /// How the scores become one: `fitted` (to the probability that a span is needed, by weights that are
    /// compiled in; with `static` vectors and the cross-encoder), `weighted` (by the weights below, which
    /// also decide what the cross-encoder reads) or `attention` (none of them counts where there is a query,
    /// but what `models.decoder` attends to when it reads text and query; for its default alone). `fitted`
    /// holds for the built-in cross-encoder; with another one in `models.ranker` the scores are `weighted`.
    pub fusion: FusionKind,
    /// A file that `epitome adapt` wrote, whose weights and predictions stand in place of those that are compiled in.
    /// Empty: none. It holds for `fitted`, `static` vectors and the built-in cross-encoder alone.
    pub model: String,
    /// Weight of BM25 over sentences.
    pub lexical: f32,
    /// Weight of BM25 over paragraphs.
    pub lexical_block: f32,
    /// Weight of the cosine of sentences.
    pub dense_span: f32,
    /// Weight of the cosine of paragraphs.
    pub dense_block: f32,
    /// Weight of the cross-encoder's log-odds of sentences.
    pub cross_span: f32,
    /// Weight of the cross-encoder's log-odds of whole windows.
    pub cross_window: f32,
}

impl Default for Rank {
    fn default() -> Self {
        Self {
            dense: DenseKind::Static,
            dense_tokens: 160_000,
            cross_tokens: 16_384,
            fusion: FusionKind::Fitted,
            model: String::new(),
            lexical: 0.3,
            lexical_block: 0.0,
            dense_span: 0.0,
            dense_block: 0.2,
            cross_span: 1.0,
            cross_window: 1.5,
        }
    }
}

/// How the scores of ranking become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FusionKind {
    /// By the weights that are compiled in.
    Fitted,
    /// By the configured ones.
    Weighted,
    /// By a decoder's attention alone.
    Attention,
}

/// Whose vectors take part in ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DenseKind {
    /// The table that is compiled in.
    Static,
    /// `models.embedder`.
    Encoder,
    /// A server's.
    #[serde(rename = "openai")]
    OpenAi,
    /// Nobody's.
    None,
}

/// The summary tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Summarize {
    /// Which summarizer.
    pub kind: SummarizerKind,
    /// Share of the budget for summaries: `auto` by the breadth of the query, or a number from 0 to 1.
    pub share: SummaryShare,
    /// Most tokens of one leaf summary.
    pub leaf_tokens: usize,
    /// Whether the decoder is kept from writing figures and capitalised words that its source does not
    /// hold, token by token, beside the check of what it wrote.
    pub grounded_decoding: bool,
}

impl Default for Summarize {
    fn default() -> Self {
        Self {
            kind: SummarizerKind::Extractive,
            share: SummaryShare::Auto,
            leaf_tokens: 120,
            grounded_decoding: false,
        }
    }
}

/// Fewest parameters of a decoder that `auto` lets write.
const WRITES_WELL: u64 = 1_000_000_000;

/// Which summarizer writes the leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SummarizerKind {
    /// The most central and least redundant sentences, verbatim.
    Extractive,
    /// Generated by `models.decoder`, grounded in the source.
    Abstractive,
    /// Generated by the server in `summarizer`, grounded likewise.
    #[serde(rename = "openai")]
    OpenAi,
    /// Whoever writes well here: the server in `summarizer` if one is named; else `models.decoder` if its files are
    /// here, it has a billion parameters or more, and it runs on a GPU; else `extractive`. A small model's sentences
    /// are mostly refused, and a large one takes minutes a document on a processor.
    Auto,
    /// No summaries.
    None,
}

impl SummarizerKind {
    /// Whether summaries are text that a model writes.
    pub fn writes(self) -> bool {
        matches!(self, Self::Abstractive | Self::OpenAi)
    }

    /// The same, with `auto` decided.
    pub(crate) fn decided(self, summarizer: &RemoteModel, models: &Models) -> Self {
        let writes_well = || {
            models.batches_across_callers()
                && models.decoder_parameters().is_some_and(|count| count >= WRITES_WELL)
        };
        match self {
            Self::Auto if !summarizer.url.is_empty() => Self::OpenAi,
            Self::Auto if writes_well() => Self::Abstractive,
            Self::Auto => Self::Extractive,
            decided => decided,
        }
    }
}

/// A model on a server of the OpenAI dialect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RemoteModel {
    /// Base URL, such as `http://host:8000/v1`.
    pub url: String,
    /// The name that the server knows the model by.
    pub model: String,
    /// The environment variable that holds the key. Empty: no key is sent.
    pub key_env: String,
    /// Calls that may be under way at once.
    pub concurrency: usize,
    /// How long a call may take, its further attempts with it.
    pub deadline_ms: u64,
}

impl Default for RemoteModel {
    fn default() -> Self {
        Self {
            url: String::new(),
            model: String::new(),
            key_env: String::new(),
            concurrency: 8,
            deadline_ms: 30_000,
        }
    }
}

/// Head and tail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlaceConfig {
    /// What stands at the ends.
    pub order: Order,
    /// Tokens of the head; never more than a third of the budget.
    pub head: usize,
    /// Tokens of the tail; never more than two fifteenths of the budget.
    pub tail: usize,
    /// How much less a sentence counts, at most, than the one beside it in its paragraph: in log-odds of
    /// fitted scores, of which it then counts as -4.5 at most; else in standard scores. Small values keep
    /// longer runs, from fewer places.
    pub beside: f32,
}

impl Default for PlaceConfig {
    fn default() -> Self {
        Self { order: Order::Auto, head: 500, tail: 200, beside: 1.5 }
    }
}

/// In which order what is kept stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// `source` for running text (paragraphs, most of them without a label) if the budget is at most 1,000
    /// tokens, else `ends`.
    Auto,
    /// The best first, the next best last, the rest between in the order of the source.
    Ends,
    /// All in the order of the source.
    Source,
}

/// Templates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Render {
    /// A directory whose files replace the built-in templates of the same name.
    pub templates: String,
}

/// Segment cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// Whether segments are cached at all.
    pub enabled: bool,
    /// Directory of the disk layer. Empty: the platform's cache directory.
    pub dir: String,
    /// Ceiling of the memory layer, MiB.
    pub memory_mb: u64,
    /// Ceiling of the disk layer, MiB; 0 turns it off.
    pub disk_mb: u64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { enabled: true, dir: String::new(), memory_mb: 256, disk_mb: 1024 }
    }
}

impl Text {
    /// Values out of range, each with its key.
    pub fn problems(&self) -> Vec<&'static str> {
        failed([
            (self.segment_min > 0, "text.segment_min: must be at least 1"),
            (
                self.segment_max >= 2 * self.segment_min,
                "text.segment_max: must be at least twice text.segment_min",
            ),
            (
                epitome_text::tokens::is_encoding(&self.default_encoding),
                "text.default_encoding: not one of o200k_base, cl100k_base, p50k_base, r50k_base",
            ),
        ])
    }
}

impl Rank {
    /// Values out of range, each with its key.
    pub fn problems(&self) -> Vec<&'static str> {
        let cheap = [self.lexical, self.lexical_block, self.dense_span, self.dense_block];
        let weights = [&cheap[..], &[self.cross_span, self.cross_window]].concat();
        let sound = weights.iter().all(|w| w.is_finite() && *w >= 0.0) && cheap.iter().any(|w| *w > 0.0);
        failed([(
            sound,
            "rank: weights must be finite, not negative, and those of the cheap stages not all 0",
        )])
    }
}

impl Summarize {
    /// Values out of range, each with its key.
    pub fn problems(&self) -> Vec<&'static str> {
        failed([(self.leaf_tokens >= 20, "summarize.leaf_tokens: must be at least 20")])
    }
}

impl PlaceConfig {
    /// Values out of range, each with its key.
    pub fn problems(&self) -> Vec<&'static str> {
        failed([(self.beside >= 0.0, "place.beside: must be 0 or more")])
    }
}

impl RemoteModel {
    /// What is missing or out of range for a server of the section, which is `used` where a setting of the kind
    /// `user` asks for it.
    pub fn problems(&self, section: &str, user: &str, used: bool) -> Vec<String> {
        let is_url = self.url.starts_with("http://") || self.url.starts_with("https://");
        let checks = [
            (
                is_url || (self.url.is_empty() && !used),
                format!("{section}.url: needed for {user} = \"openai\", an http:// or https:// URL"),
            ),
            (!self.model.is_empty() || !used, format!("{section}.model: needed for {user} = \"openai\"")),
            // More are never needed, and a semaphore counts no further than it does.
            (
                (1..=4096).contains(&self.concurrency),
                format!("{section}.concurrency: must be from 1 to 4096"),
            ),
            (self.deadline_ms > 0, format!("{section}.deadline_ms: must be at least 1")),
        ];
        checks.into_iter().filter(|(sound, _)| !sound).map(|(_, problem)| problem).collect()
    }
}

/// The messages of the checks that failed.
pub fn failed<const N: usize>(checks: [(bool, &'static str); N]) -> Vec<&'static str> {
    checks.into_iter().filter(|(sound, _)| !sound).map(|(_, problem)| problem).collect()
}
