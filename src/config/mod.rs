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
mod results;
mod route;

use std::net::SocketAddr;

use epitome_compactor::config::failed;
use serde::{Deserialize, Serialize};

pub use epitome_compactor::config::{
    CacheConfig, CodePolicy, DenseKind, FusionKind, Order, PlaceConfig, Rank, RemoteModel, Render, Summarize,
    SummarizerKind, SummaryShare, Text,
};
pub use epitome_engine::config::{DecoderPrecision, Device, Models, Pip, Precision};
pub use layers::ConfigError;
pub use results::ResultsBudget;
pub use route::Route;

use epitome_compactor::Budget;

use crate::measure::cost::{Price, PriceTable};

/// The roles that messages have.
const ROLES: [&str; 6] = ["system", "developer", "user", "assistant", "tool", "function"];

/// The path of the tools over HTTP, at the proxy and at `epitome mcp`.
pub const TOOLS_PATH: &str = "/mcp";

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
    /// What requests cost.
    pub bill: Bill,
    /// Energy and what follows from it.
    pub measure: Measure,
    /// Logging, to standard error.
    pub log: Log,
}

impl Config {
    /// The part of it that a compactor goes by.
    pub fn compactor(&self) -> epitome_compactor::config::Config {
        epitome_compactor::config::Config {
            code: self.plan.code,
            floor: self.plan.floor,
            whole_s: self.plan.whole_s,
            text: self.text.clone(),
            rank: self.rank.clone(),
            summarize: self.summarize.clone(),
            summarizer: self.summarizer.clone(),
            embedder: self.embedder.clone(),
            connect_timeout_ms: self.models.connect_timeout_ms,
            place: self.place.clone(),
            render: self.render.clone(),
        }
    }
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
    /// Other upstreams, by the path or the dialect of a request.
    pub routes: Vec<Route>,
    /// The environment variable that holds the keys of clients, separated by commas or line breaks.
    /// Empty: no key is asked for, and only the loopback may be listened on unless `open` is set.
    pub keys_env: String,
    /// Whether anyone who reaches an address beyond the loopback may use the proxy without a key.
    /// Where there are keys they are asked for all the same.
    pub open: bool,
    /// Whether each key has a segment cache of its own, so that no client learns from times or hit
    /// counts of its compactions what another one has sent. Without keys there is one cache.
    pub tenants: bool,
    /// Whether WebSocket connections pass through. What is sent in them is not compacted.
    pub websockets: WebSockets,
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
    /// Who answers `POST /v1/responses/compact`.
    pub responses_compact: ResponsesCompact,
    /// Whether the tools of `epitome mcp` are at `/mcp`, on the cache of the proxy. The path goes upstream otherwise.
    pub mcp: bool,
}

/// Who compacts the window of a Responses conversation when a client asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResponsesCompact {
    /// The upstream, with an opaque item that it alone can read.
    #[default]
    Pass,
    /// The proxy: all items, with long texts made short.
    Local,
}

/// What happens to a request for a WebSocket connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebSockets {
    /// It is passed through in both directions.
    Pass,
    /// It gets the status 426, upon which clients such as Codex send the same over HTTP, where it is compacted.
    Refuse,
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".into(),
            upstream: String::new(),
            routes: Vec::new(),
            keys_env: String::new(),
            open: false,
            tenants: true,
            websockets: WebSockets::Pass,
            body_limit_bytes: 64 << 20,
            bodies_bytes: 256 << 20,
            body_wait_ms: 30_000,
            deadline_ms: 60_000,
            max_concurrent: 8,
            shutdown_grace_ms: 30_000,
            connect_timeout_ms: 10_000,
            responses_compact: ResponsesCompact::Pass,
            mcp: true,
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
    /// The same for results of tools whose call says what they are for. A floor (`{ floor = 0.97 }`) keeps as much as is
    /// predicted to hold this share of what an agent will use. `"budget"`: as other texts.
    pub results: ResultsBudget,
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
    /// Most tokens of what a question gets from earlier texts, where their compactions left out what it needs; 0 turns it
    /// off.
    pub evidence_tokens: usize,
    /// Whether what is compacted is kept whole in the cache, for retrieval. The compacted text then ends with a line that
    /// says how much of it is shown, and names the hash.
    pub originals: bool,
    /// Tokens of the model's window. When a conversation fills half of it, and again at three quarters, the budgets of its
    /// old texts are halved; each time the upstream's cached prefix breaks once. 0: nothing ages.
    pub window_tokens: usize,
    /// How long a text that went whole, because it could not be compacted in time, goes whole again, in seconds: as long
    /// as the upstream keeps a prefix in its cache. 0: it may be compacted the next time.
    pub whole_s: u64,
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

impl Default for Plan {
    fn default() -> Self {
        Self {
            budget: Budget::Share(0.5),
            results: ResultsBudget::AsBudget,
            min_tokens: 1500,
            roles: vec!["user".into(), "tool".into()],
            wording_tokens: 2000,
            without_query: WithoutQuery::Pass,
            code: CodePolicy::Keep,
            evidence_tokens: 400,
            originals: true,
            window_tokens: 0,
            whole_s: 3600,
            floor: 0.5,
        }
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
    /// Share of the compacted requests, 0 to 1; 0 turns it off.
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
    /// Compacted requests of a dialect over which compaction must save money: where their net is negative,
    /// nothing new is compacted for the client's dialect. 0: never. The bill is kept without shadow requests.
    pub net_window: usize,
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
            net_window: 200,
            cooldown_s: 600,
            max_concurrent: 2,
            deadline_ms: 120_000,
        }
    }
}

/// What requests through the proxy cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bill {
    /// The file to which the proxy appends a JSON line for each request, and which `epitome bill` reads.
    /// Empty: none.
    pub log: String,
    /// A price list in TOML whose entries add to the built-in one and win over it. Empty: the built-in one.
    pub prices: String,
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

impl Serve {
    fn problems(&self) -> Vec<&'static str> {
        let routes = self.routes.iter().flat_map(Route::problems);
        self.own_problems().into_iter().chain(routes).collect()
    }

    fn own_problems(&self) -> Vec<&'static str> {
        let is_url = self.upstream.starts_with("http://") || self.upstream.starts_with("https://");
        failed([
            (
                self.listen.parse::<SocketAddr>().is_ok(),
                "serve.listen: not an address such as 127.0.0.1:8080",
            ),
            (self.upstream.is_empty() || is_url, "serve.upstream: not an http:// or https:// URL"),
            (
                self.bodies_bytes >= self.body_limit_bytes,
                "serve.bodies_bytes: must be at least serve.body_limit_bytes, or a body of that size could never be read",
            ),
            (self.body_wait_ms > 0, "serve.body_wait_ms: must be at least 1"),
            (self.max_concurrent > 0, "serve.max_concurrent: must be at least 1"),
            (self.deadline_ms > 0, "serve.deadline_ms: must be at least 1"),
        ])
    }
}

impl Plan {
    fn problems(&self) -> Vec<&'static str> {
        failed([(
            self.roles.iter().all(|role| ROLES.contains(&role.as_str())),
            "plan.roles: may name system, developer, user, assistant, tool, function",
        )])
    }
}

impl Shadow {
    fn problems(&self) -> Vec<&'static str> {
        let is_share = |value: f64| (0.0..=1.0).contains(&value);
        failed([
            (is_share(self.sample), "shadow.sample: must be from 0 to 1"),
            (is_share(self.floor), "shadow.floor: must be from 0 to 1"),
            (
                (1..=self.window).contains(&self.min_samples),
                "shadow.min_samples: must be at least 1 and at most shadow.window",
            ),
            (self.reference > 0, "shadow.reference: must be at least 1"),
            (self.max_concurrent > 0, "shadow.max_concurrent: must be at least 1"),
            (self.deadline_ms > 0, "shadow.deadline_ms: must be at least 1"),
        ])
    }
}

impl Eval {
    fn problems(&self) -> Vec<&'static str> {
        failed([
            (self.timeout_ms > 0, "eval.timeout_ms: must be at least 1"),
            (self.attempts > 0, "eval.attempts: must be at least 1"),
            (
                self.prices.values().all(Price::is_sound),
                "eval.prices: a price must be a number and not negative",
            ),
        ])
    }
}

impl Measure {
    fn problems(&self) -> Vec<&'static str> {
        let grid = self.grid_gco2_per_kwh;
        failed([
            (
                grid.is_finite() && grid >= 0.0,
                "measure.grid_gco2_per_kwh: must be 0 (unknown) or more grams of CO2 for a kilowatt-hour",
            ),
            (!self.powercap.is_empty(), "measure.powercap: must be a folder, as /sys/class/powercap"),
        ])
    }
}
