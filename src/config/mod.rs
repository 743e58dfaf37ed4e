//! Configuration: built-in defaults, then a TOML file, then the environment, then flags.
//!
//! Every key has an environment variable, its path in upper case with `EPITOME_` before it:
//! `plan.min_tokens` is `EPITOME_PLAN_MIN_TOKENS`. `epitome config` prints the effective values.
//! An empty string means "not set".
//!
//! A file that was found in the working directory may belong to a stranger's checkout, and sets only
//! what leads to no file, no host and no expense (`found`). A file that was given sets everything.

mod found;
mod layers;
mod models;

use serde::{Deserialize, Serialize};

pub use layers::ConfigError;
pub use models::{DecoderPrecision, Device, Models, Pip, Precision};

use crate::{budget::Budget, measure::cost::PriceTable};

/// Everything that can be set. The defaults are what an empty file gives.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The proxy.
    pub serve: Serve,
    /// What is compacted, and to which size.
    pub plan: Plan,
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
    /// Head and tail.
    pub place: PlaceConfig,
    /// Templates.
    pub render: Render,
    /// Segment cache.
    pub cache: CacheConfig,
    /// Model files.
    pub models: Models,
    /// Evaluation.
    pub eval: Eval,
    /// Shadow requests of the proxy.
    pub shadow: Shadow,
    /// Energy and what follows from it.
    pub measure: Measure,
    /// Logging, to standard error.
    pub log: Log,
}

/// The proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Serve {
    /// Address to listen on.
    pub listen: String,
    /// Base URL of the upstream, such as `https://host/v1`. Empty: the embedded backend on
    /// `models.decoder`.
    pub upstream: String,
    /// The environment variable that holds the keys of clients, separated by commas or line breaks.
    /// Empty: no key is asked for, and only the loopback may be listened on unless `open` is set.
    pub keys_env: String,
    /// Whether anyone who reaches an address beyond the loopback may use the proxy without a key.
    /// Where there are keys they are asked for all the same.
    pub open: bool,
    /// Whether each key has a segment cache of its own, so that no client learns from times or hit
    /// counts of its compactions what another one has sent. Without keys there is one cache.
    pub tenants: bool,
    /// Largest request body that is read for compaction; a larger one streams through untouched.
    pub body_limit_bytes: usize,
    /// Bytes of request bodies that may be held in memory at once; a body for which there is no room
    /// streams through untouched. At least `body_limit_bytes`.
    pub bodies_bytes: usize,
    /// Time that each MiB of a request body, or its rest, may take to come while it is held in memory; a
    /// slower one streams through untouched.
    pub body_wait_ms: u64,
    /// Time that a compaction may take before the original goes upstream.
    pub deadline_ms: u64,
    /// Compactions that may run at once; a request beyond that passes through untouched.
    pub max_concurrent: usize,
    /// How long open requests may go on after the signal to stop.
    pub shutdown_grace_ms: u64,
    /// How long to wait for a connection to the upstream.
    pub connect_timeout_ms: u64,
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".into(),
            upstream: String::new(),
            keys_env: String::new(),
            open: false,
            tenants: true,
            body_limit_bytes: 64 << 20,
            bodies_bytes: 256 << 20,
            body_wait_ms: 30_000,
            deadline_ms: 60_000,
            max_concurrent: 8,
            shutdown_grace_ms: 30_000,
            connect_timeout_ms: 10_000,
        }
    }
}

/// What is compacted, and to which size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plan {
    /// Size of the result: tokens (`1500`) or a share of the input (`"50%"`). In a request it holds
    /// for each long text.
    pub budget: Budget,
    /// A text below this many tokens is left alone by the proxy.
    pub min_tokens: usize,
    /// Roles whose messages the proxy may compact.
    pub roles: Vec<String>,
    /// Most tokens (estimated) of wording around the material of one message; a message with more of it passes
    /// whole.
    pub wording_tokens: usize,
    /// What the proxy does with material of which nothing is asked.
    pub without_query: WithoutQuery,
    /// `keep`: code stays whole, fenced or not. `rank`: fenced blocks are kept or left out whole, by score; other
    /// code by functions, in the order of the source, with the signatures of what is left out.
    pub code: CodePolicy,
    /// Least predicted retention: where less is predicted, the text passes whole. 0 turns it off.
    pub floor: f64,
}

/// What happens to material of which nothing is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WithoutQuery {
    /// It passes whole.
    Pass,
    /// What is most critical in itself is kept.
    Condense,
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

impl Default for Plan {
    fn default() -> Self {
        Self {
            budget: Budget::Share(0.5),
            min_tokens: 1500,
            roles: vec!["user".into(), "tool".into()],
            wording_tokens: 2000,
            without_query: WithoutQuery::Pass,
            code: CodePolicy::Keep,
            floor: 0.5,
        }
    }
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

impl Default for Rank {
    fn default() -> Self {
        Self {
            dense: DenseKind::Static,
            dense_tokens: 160_000,
            cross_tokens: 16_384,
            fusion: FusionKind::Fitted,
            lexical: 0.3,
            lexical_block: 0.0,
            dense_span: 0.0,
            dense_block: 0.2,
            cross_span: 1.0,
            cross_window: 1.5,
        }
    }
}

/// The summary tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Summarize {
    /// Which summarizer.
    pub kind: SummarizerKind,
    /// Share of the budget for summaries: `auto` by the breadth of the query, or a number from 0 to 1.
    pub share: String,
    /// Most tokens of one leaf summary.
    pub leaf_tokens: usize,
    /// Whether the decoder is kept from writing figures and capitalised words that its source does not
    /// hold, token by token, beside the check of what it wrote.
    pub grounded_decoding: bool,
}

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
    /// No summaries.
    None,
}

impl Default for Summarize {
    fn default() -> Self {
        Self {
            kind: SummarizerKind::Extractive,
            share: "auto".into(),
            leaf_tokens: 120,
            grounded_decoding: false,
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

/// Evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Eval {
    /// Whether the answers of readers are kept on disk and not asked for again.
    pub keep_answers: bool,
    /// How long an answer of a server may take.
    pub timeout_ms: u64,
    /// How often a server is asked for an answer before the run gives up.
    pub attempts: u32,
    /// Prices by model, for a million tokens: `[eval.prices."gpt-4o"]` with `input`, `output` and,
    /// where there is one, `cached_input`. In one line: `{ gpt-4o = { input = 2.5, output = 10.0 } }`.
    pub prices: PriceTable,
}

impl Default for Eval {
    fn default() -> Self {
        Self { keep_answers: true, timeout_ms: 600_000, attempts: 6, prices: PriceTable::new() }
    }
}

/// Shadow requests of the proxy: a share of the compacted requests is answered a second time from the
/// original, in the background and at the client's expense, and the answers are compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shadow {
    /// Share of the compacted chat requests, 0 to 1; 0 turns it off.
    pub sample: f64,
    /// A model of the same upstream that says whether two answers say the same. Empty: none.
    pub judge: String,
    /// Samples of the sliding window.
    pub window: usize,
    /// The first samples, against which drift is told.
    pub reference: usize,
    /// Mean agreement below which compaction is turned off; 0: never.
    pub floor: f64,
    /// Fewest samples of the window on which that may be decided.
    pub min_samples: usize,
    /// How long it stays off.
    pub cooldown_s: u64,
    /// Samples that may be under way at once; a request beyond that is not sampled.
    pub max_concurrent: usize,
    /// How long the second answer and its comparison may take.
    pub deadline_ms: u64,
}

impl Default for Shadow {
    fn default() -> Self {
        Self {
            sample: 0.0,
            judge: String::new(),
            window: 200,
            reference: 100,
            floor: 0.0,
            min_samples: 30,
            cooldown_s: 600,
            max_concurrent: 2,
            deadline_ms: 120_000,
        }
    }
}

/// Energy and what follows from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Measure {
    /// Grams of CO2 for a kilowatt-hour of the grid that feeds this machine; 0: unknown, and no CO2 is told.
    pub grid_gco2_per_kwh: f64,
    /// Where Linux shows the RAPL counters; elsewhere in a container that mounts them elsewhere.
    pub powercap: String,
}

impl Default for Measure {
    fn default() -> Self {
        Self { grid_gco2_per_kwh: 0.0, powercap: "/sys/class/powercap".into() }
    }
}

/// Logging, to standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// A `tracing` filter, such as `info` or `epitome=debug`.
    pub level: String,
    /// One JSON object a line instead of text.
    pub json: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "warn".into(), json: false }
    }
}
