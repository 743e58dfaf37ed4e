//! Logs, metrics and ids.
//!
//! Logs go to standard error. Every metric, those of the engine and the compactor included:
//!
//! | metric | kind | unit | labels |
//! | --- | --- | --- | --- |
//! | `epitome_requests_total` | counter | requests | `route`, `outcome`, `reason` |
//! | `epitome_queries_total` | counter | requests by where their query was found | `source` |
//! | `epitome_underfilled_total` | counter | texts that passed because a result filled less than half of its budget | |
//! | `epitome_body_bytes` | gauge | bytes of request bodies held in memory | |
//! | `epitome_tokens_in_total` | counter | tokens of the texts that were to be compacted | |
//! | `epitome_tokens_out_total` | counter | tokens of what they became | |
//! | `epitome_tokens_saved_total` | counter | tokens | |
//! | `epitome_compaction_duration_seconds` | histogram | seconds, plan included | `outcome` |
//! | `epitome_stage_duration_seconds` | histogram | seconds | `stage` |
//! | `epitome_upstream_first_byte_seconds` | histogram | seconds until the answer's head | |
//! | `epitome_upstream_errors_total` | counter | requests without an answer | |
//! | `epitome_cache_lookups_total` | counter | parts of the ranking's work | |
//! | `epitome_cache_hits_total` | counter | parts of the ranking's work | |
//! | `epitome_remote_calls_total` | counter | calls of models on other servers | `role`, `result` |
//! | `epitome_remote_call_seconds` | histogram | seconds of a call, its further attempts with it | `role` |
//! | `epitome_engine_queue_seconds` | histogram | seconds that a request to the decoder, or a piece of one to an encoder, waited | `class` |
//! | `epitome_engine_refused_total` | counter | requests that found the queue full | `class` |
//! | `epitome_engine_cancelled_total` | counter | requests that nobody waited for any more | `class` |
//! | `epitome_engine_step_seconds` | histogram | seconds of a step of the decoder, or of a piece of an encoder's work | `class` |
//! | `epitome_engine_batch_sequences` | gauge | sequences in the decoder's last step | |
//! | `epitome_engine_pass_pieces` | gauge | pieces of requests in the last pass of an encoder on a GPU | |
//! | `epitome_engine_encoded_tokens_total` | counter | tokens that encoders read | `class` |
//! | `epitome_engine_prompt_tokens_total` | counter | tokens of prompts that were read | |
//! | `epitome_engine_written_tokens_total` | counter | tokens that were written | |
//! | `epitome_energy_joules_total` | counter | whole joules of compactions; absent where they are unknown | |
//! | `epitome_co2_grams_total` | counter | whole grams of CO2 of compactions; likewise | |
//! | `epitome_model_memory_bytes` | gauge | bytes of the weights as they are kept | `model` |
//! | `epitome_engine_live_sequences` | gauge | sequences that the decoder holds | |
//! | `epitome_engine_kv_bytes` | gauge | bytes of their keys and values, and of those kept for prompts that begin alike | |
//! | `epitome_engine_kv_peak_bytes` | gauge | the most that it was | |
//! | `epitome_requests_in_flight` | gauge | requests | |
//! | `epitome_compactions_in_flight` | gauge | compactions | |
//! | `epitome_shadow_samples_total` | counter | requests drawn for comparison | `route`, `result` |
//! | `epitome_shadow_retention` | gauge | mean agreement of the last samples, 0 to 1 | `route` |
//! | `epitome_shadow_drift` | gauge | that less the mean of the first samples | `route` |
//! | `epitome_shadow_agreement` | gauge | mean of one figure of the last samples | `route`, `figure` |
//! | `epitome_shadow_tokens_saved_total` | counter | tokens that the compared requests saved | `route` |
//! | `epitome_compaction_off` | gauge | 1 while the floor keeps compaction off | `route` |
//! | `epitome_client_disconnects_total` | counter | answers that the client did not wait for | |

use std::{
    hash::{BuildHasher, RandomState},
    io::{self, IsTerminal},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use epitome_compactor::compaction::Figures;
use epitome_compactor::telemetry::{REMOTE_CALLS, REMOTE_TIME, UNDERFILLED};
use epitome_engine::telemetry::{
    CLASSES, ENCODER_CLASSES, ENGINE_BATCH, ENGINE_CANCELLED, ENGINE_ENCODED, ENGINE_KV, ENGINE_KV_PEAK,
    ENGINE_LIVE, ENGINE_PASS, ENGINE_PROMPT, ENGINE_QUEUE, ENGINE_REFUSED, ENGINE_STEP, ENGINE_WRITTEN,
    MODEL_MEMORY,
};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{bill, config, display::LogWriter};

const REQUESTS: &str = "epitome_requests_total";
const QUERIES: &str = "epitome_queries_total";
const TOKENS_IN: &str = "epitome_tokens_in_total";
const TOKENS_OUT: &str = "epitome_tokens_out_total";
const TOKENS_SAVED: &str = "epitome_tokens_saved_total";
const COMPACTION: &str = "epitome_compaction_duration_seconds";
const STAGE: &str = "epitome_stage_duration_seconds";
const FIRST_BYTE: &str = "epitome_upstream_first_byte_seconds";
const UPSTREAM_ERRORS: &str = "epitome_upstream_errors_total";
const CACHE_LOOKUPS: &str = "epitome_cache_lookups_total";
const CACHE_HITS: &str = "epitome_cache_hits_total";
const JOULES: &str = "epitome_energy_joules_total";
const CO2: &str = "epitome_co2_grams_total";
const IN_FLIGHT: &str = "epitome_requests_in_flight";
const COMPACTIONS: &str = "epitome_compactions_in_flight";
const BODY_BYTES: &str = "epitome_body_bytes";
const SHADOW_SAMPLES: &str = "epitome_shadow_samples_total";
const SHADOW_RETENTION: &str = "epitome_shadow_retention";
const SHADOW_DRIFT: &str = "epitome_shadow_drift";
const SHADOW_AGREEMENT: &str = "epitome_shadow_agreement";
const SHADOW_SAVED: &str = "epitome_shadow_tokens_saved_total";
const COMPACTION_OFF: &str = "epitome_compaction_off";
const DISCONNECTS: &str = "epitome_client_disconnects_total";

/// Upper bucket bounds of every histogram, in seconds: from a pass-through to a long compaction.
const SECONDS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Starts logging to standard error, as configured. Further calls do nothing.
pub fn init(log: &config::Log) {
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("warn"));
    let registry = tracing_subscriber::registry().with(filter);
    // An error means that logging is already set up.
    let _ = if log.json {
        registry.with(fmt::layer().json().with_writer(|| LogWriter)).try_init()
    } else {
        let layer = fmt::layer().with_writer(|| LogWriter).with_target(false);
        registry.with(layer.with_ansi(io::stderr().is_terminal())).try_init()
    };
}

/// Starts recording, once per process, and returns the handle that renders the metrics.
pub fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new();
        let recorder =
            builder.set_buckets(&SECONDS).unwrap_or_else(|_| PrometheusBuilder::new()).build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("metrics are recorded elsewhere in this process; /metrics stays empty");
            return handle;
        }
        describe();
        begin();
        handle
    })
}

fn describe() {
    describe_counter!(REQUESTS, Unit::Count, "Requests by route, outcome and reason");
    describe_counter!(QUERIES, Unit::Count, "Requests by where the query of their texts was found");
    describe_counter!(
        UNDERFILLED,
        Unit::Count,
        "Texts that passed because a result filled less than half of its budget"
    );
    describe_counter!(TOKENS_IN, Unit::Count, "Tokens of the texts that were to be compacted");
    describe_counter!(TOKENS_OUT, Unit::Count, "Tokens of what those texts became");
    describe_counter!(TOKENS_SAVED, Unit::Count, "Tokens that did not go upstream");
    describe_histogram!(COMPACTION, Unit::Seconds, "Time to plan and compact one request");
    describe_histogram!(STAGE, Unit::Seconds, "Time of one stage of one compaction");
    describe_histogram!(FIRST_BYTE, Unit::Seconds, "Time from sending a request to the head of its answer");
    describe_counter!(UPSTREAM_ERRORS, Unit::Count, "Requests that got no answer from the upstream");
    describe_counter!(CACHE_LOOKUPS, Unit::Count, "Parts of the ranking's work asked of the cache");
    describe_counter!(CACHE_HITS, Unit::Count, "Parts of the ranking's work found in the cache");
    describe_counter!(REMOTE_CALLS, Unit::Count, "Calls of models on other servers, by role and result");
    describe_histogram!(
        REMOTE_TIME,
        Unit::Seconds,
        "Time of a call of a model on another server, its attempts and waits with it"
    );
    describe_histogram!(
        ENGINE_QUEUE,
        Unit::Seconds,
        "Time that a request to the decoder, or a piece of one to an encoder, waited"
    );
    describe_counter!(ENGINE_REFUSED, Unit::Count, "Requests to a model that found its queue full");
    describe_counter!(ENGINE_CANCELLED, Unit::Count, "Requests to a model that were given up");
    describe_histogram!(ENGINE_STEP, Unit::Seconds, "Time of one step of a model");
    describe_gauge!(ENGINE_BATCH, Unit::Count, "Sequences in the decoder's last step");
    describe_gauge!(ENGINE_PASS, Unit::Count, "Pieces of requests in the last pass of an encoder on a GPU");
    describe_counter!(ENGINE_PROMPT, Unit::Count, "Tokens of prompts that the decoder read");
    describe_counter!(ENGINE_ENCODED, Unit::Count, "Tokens that the encoders read");
    describe_counter!(ENGINE_WRITTEN, Unit::Count, "Tokens that the decoder wrote");
    describe_gauge!(MODEL_MEMORY, Unit::Bytes, "Weights of a model that is loaded");
    describe_gauge!(ENGINE_LIVE, Unit::Count, "Sequences that the decoder holds");
    describe_gauge!(ENGINE_KV, Unit::Bytes, "Keys and values that the decoder holds");
    describe_gauge!(ENGINE_KV_PEAK, Unit::Bytes, "Most keys and values that the decoder has held");
    describe_counter!(JOULES, "Energy of compactions, joules");
    describe_counter!(CO2, "CO2 of that energy by measure.grid_gco2_per_kwh, grams");
    describe_gauge!(IN_FLIGHT, Unit::Count, "Requests being answered");
    describe_gauge!(COMPACTIONS, Unit::Count, "Compactions being computed");
    describe_gauge!(BODY_BYTES, Unit::Bytes, "Room taken by request bodies that are held in memory");
    describe_counter!(SHADOW_SAMPLES, Unit::Count, "Compacted requests drawn for comparison, by result");
    describe_gauge!(SHADOW_RETENTION, "Mean agreement of the last samples with the original's answers");
    describe_gauge!(SHADOW_DRIFT, "Mean agreement of the last samples less that of the first ones");
    describe_gauge!(SHADOW_AGREEMENT, "Mean of one figure of the last samples");
    describe_counter!(SHADOW_SAVED, Unit::Count, "Tokens that the compared requests saved");
    describe_gauge!(COMPACTION_OFF, "1 while shadow.floor keeps compaction off");
    describe_counter!(DISCONNECTS, Unit::Count, "Answers that the client did not wait for");
    bill::telemetry::describe();
}

/// Registers metrics at zero, so that rates have a starting point. Metrics whose labels are known only later,
/// and energy, which may be unknown, appear on first use.
fn begin() {
    for name in [
        UNDERFILLED,
        TOKENS_IN,
        TOKENS_OUT,
        TOKENS_SAVED,
        UPSTREAM_ERRORS,
        CACHE_LOOKUPS,
        CACHE_HITS,
        ENGINE_PROMPT,
        ENGINE_WRITTEN,
        DISCONNECTS,
    ] {
        counter!(name).increment(0);
    }
    for class in CLASSES {
        counter!(ENGINE_REFUSED, "class" => class).increment(0);
        counter!(ENGINE_CANCELLED, "class" => class).increment(0);
    }
    for class in ENCODER_CLASSES {
        counter!(ENGINE_ENCODED, "class" => class).increment(0);
    }
    for gauge in [IN_FLIGHT, COMPACTIONS, BODY_BYTES, ENGINE_BATCH, ENGINE_LIVE, ENGINE_KV, ENGINE_KV_PEAK] {
        gauge!(gauge).set(0.0);
    }
}

/// The outcome of a request was decided.
pub fn request(route: &'static str, outcome: &'static str, reason: &'static str) {
    counter!(REQUESTS, "route" => route, "outcome" => outcome, "reason" => reason).increment(1);
}

/// The query of a request's texts was found in `source`.
pub fn query_from(source: &'static str) {
    counter!(QUERIES, "source" => source).increment(1);
}

/// Planning and compacting of one request took `time`.
pub fn compaction(outcome: &'static str, time: Duration) {
    histogram!(COMPACTION, "outcome" => outcome).record(time);
}

/// One text was compacted.
pub fn compacted(figures: &Figures) {
    counter!(TOKENS_IN).increment(figures.tokens_before as u64);
    counter!(TOKENS_OUT).increment(figures.tokens_after as u64);
    counter!(TOKENS_SAVED).increment(figures.tokens_before.saturating_sub(figures.tokens_after) as u64);
    counter!(CACHE_LOOKUPS).increment(figures.cache_lookups as u64);
    counter!(CACHE_HITS).increment(figures.cache_hits as u64);
    let millis = &figures.millis;
    for (stage, time) in [
        ("segment", millis.segment),
        ("rank", millis.rank),
        ("summarize", millis.summarize),
        ("place", millis.place),
        ("render", millis.render),
    ] {
        histogram!(STAGE, "stage" => stage).record(time / 1000.0);
    }
}

/// A text used this energy, compacted or not.
pub fn energy(figures: &Figures) {
    static TOTALS: Mutex<(f64, f64)> = Mutex::new((0.0, 0.0));
    // Counters hold whole numbers; fractions are carried over.
    let mut totals = TOTALS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(joules) = figures.joules {
        totals.0 += joules;
        counter!(JOULES).absolute(totals.0 as u64);
    }
    if let Some(grams) = figures.co2_grams {
        totals.1 += grams;
        counter!(CO2).absolute(totals.1 as u64);
    }
}

/// The room held by request bodies changed by this many bytes.
pub fn body_bytes(change: f64) {
    gauge!(BODY_BYTES).increment(change);
}

/// The head of an answer arrived after `time`.
pub fn first_byte(time: Duration) {
    histogram!(FIRST_BYTE).record(time);
}

/// The upstream did not answer.
pub fn upstream_error() {
    counter!(UPSTREAM_ERRORS).increment(1);
}

/// The client disconnected before its answer was complete.
pub fn client_left() {
    counter!(DISCONNECTS).increment(1);
}

/// A request was sampled for comparison, with this result.
pub fn shadow_sample(route: &'static str, result: &'static str) {
    counter!(SHADOW_SAMPLES, "route" => route, "result" => result).increment(1);
}

/// The means over the last samples of a route: the agreement that counts for the floor, its difference from
/// the first samples if known, and each figure by name.
pub fn shadow_means(
    route: &'static str,
    retention: f64,
    drift: Option<f64>,
    figures: &[(&'static str, f64)],
) {
    gauge!(SHADOW_RETENTION, "route" => route).set(retention);
    if let Some(drift) = drift {
        gauge!(SHADOW_DRIFT, "route" => route).set(drift);
    }
    for (figure, value) in figures {
        gauge!(SHADOW_AGREEMENT, "route" => route, "figure" => *figure).set(*value);
    }
}

/// Tokens that compaction saved in a compared request.
pub fn shadow_saved(route: &'static str, tokens: usize) {
    counter!(SHADOW_SAVED, "route" => route).increment(tokens as u64);
}

/// The floor turned compaction off, or the cooldown is over.
pub fn compaction_off(route: &'static str, off: bool) {
    gauge!(COMPACTION_OFF, "route" => route).set(if off { 1.0 } else { 0.0 });
}

/// Increments a gauge for as long as it lives.
#[derive(Debug)]
pub struct InFlight(&'static str);

impl InFlight {
    /// A request.
    pub fn request() -> Self {
        Self::of(IN_FLIGHT)
    }

    /// A compaction.
    pub fn compaction() -> Self {
        Self::of(COMPACTIONS)
    }

    fn of(name: &'static str) -> Self {
        gauge!(name).increment(1.0);
        Self(name)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        gauge!(self.0).decrement(1.0);
    }
}

/// A unique id across processes: 24 hexadecimal digits.
pub fn unique_id() -> String {
    static STATE: OnceLock<RandomState> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let hash = STATE.get_or_init(RandomState::new).hash_one(next);
    format!("{hash:016x}{:08x}", next as u32)
}
