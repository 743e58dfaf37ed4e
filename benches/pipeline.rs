//! Latency of the stages, of the whole pipeline and of the proxy, on texts made of `eval/corpus` with the
//! default models and configuration.
//!
//! `cargo bench` measures everything, `cargo bench -- compact` what has `compact` in its name. Models are
//! fetched if missing and loaded before anything is measured.
//!
//! Criterion produces most figures. Measurements too long to repeat ten times, and pairs that must alternate
//! because the machine is shared, are timed by hand and printed on one line each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod support;

use std::{cell::LazyCell, sync::Arc, time::Duration};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, SamplingMode, Throughput};
use epitome::config::Config;
use epitome_compactor::{
    Budget, Cache, CompactRequest, Compaction,
    compaction::Outcome,
    config::{CacheConfig, DenseKind, Rank},
    internals::{self, Ranking, Tools},
};
use epitome_engine::Models;
use epitome_text::Document;
use epitome_work::Cancel;
use serde_json::json;
use tempfile::TempDir;
use text_splitter::{ChunkConfig, ChunkSizer, TextSplitter};
use tiktoken_rs::CoreBPE;

use support::{
    by_hand::{Asked, compare, median_of},
    corpus::{self, QUERY, SIZE, counter, document},
    servers::{self, Client},
};

/// Token budget of a whole compaction.
const BUDGET: usize = 2000;

/// A text and its length in tokens.
struct Input {
    name: &'static str,
    text: String,
    tokens: usize,
}

impl Input {
    fn new(name: &'static str, tokens: usize) -> Self {
        let text = corpus::text(tokens);
        Self { name, tokens: counter().count(&text), text }
    }
}

/// State shared by all measurements.
struct Bench {
    asked: Asked,
    config: Arc<Config>,
    models: Arc<Models>,
}

fn main() {
    // The environment may override where model files are.
    let models = Config::load(None, &[]).expect("a configuration").models;
    let config = Arc::new(Config { models, ..Config::default() });
    let models = Arc::new(Models::new(&config.models).expect("the manifest"));
    models.embedder().expect("the embedder");
    let bench = Bench { asked: Asked::read(), config, models };

    let mut criterion = Criterion::default().configure_from_args();
    let ten = Input::new("10k", 10_000);
    let hundred = Input::new("100k", 100_000);
    let million = Input::new("1M", 1_000_000);
    segmentation(&bench, &mut criterion, &hundred, &million);
    ranking(&bench, &mut criterion, &ten, &hundred);
    compaction(&bench, &mut criterion, &ten, &hundred);
    proxy(&bench, &hundred);
    criterion.final_summary();
}

/// Segmentation alone, and the splitter that proposes borders without the table of token ends.
fn segmentation(bench: &Bench, criterion: &mut Criterion, hundred: &Input, million: &Input) {
    let one_core = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");

    let mut group = criterion.benchmark_group("segment");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).measurement_time(Duration::from_secs(10));
    for input in [hundred, million] {
        group.throughput(Throughput::Elements(input.tokens as u64));
        group.bench_function(format!("{}/all cores", input.name), |b| b.iter(|| document(&input.text)));
        group.bench_function(format!("{}/one core", input.name), |b| {
            one_core.install(|| b.iter(|| document(&input.text)));
        });
    }
    group.finish();

    let bpe = tiktoken_rs::cl100k_base_singleton();
    compare(
        &bench.asked,
        "segment/100k/document against text-splitter alone, one core",
        5,
        ("document", || one_core.install(|| document(&hundred.text).segments.len())),
        ("text-splitter", || {
            let config = ChunkConfig::new(SIZE.min..=SIZE.max).with_sizer(Sizer(bpe)).with_trim(false);
            TextSplitter::new(config).chunks(&hundred.text).count()
        }),
    );
}

/// Tokenizes every candidate, like the splitter's own support for this tokenizer.
struct Sizer(&'static CoreBPE);

impl ChunkSizer for Sizer {
    fn size(&self, chunk: &str) -> usize {
        self.0.encode_ordinary(chunk).len()
    }
}

/// Scores of all spans of a prepared document, with more and more stages of the cascade; and, for comparison,
/// an encoder's vectors of every sentence.
fn ranking(bench: &Bench, criterion: &mut Criterion, ten: &Input, hundred: &Input) {
    let doc = document(&hundred.text);
    let none = Cache::disabled();
    let whole = bench.config.rank.clone();
    let cheap = Rank { cross_tokens: 0, ..whole.clone() };
    let lexical = Rank { dense: DenseKind::None, ..cheap.clone() };
    let encoder = Rank { dense: DenseKind::Encoder, ..cheap.clone() };

    let mut group = criterion.benchmark_group("rank/100k");
    group.sample_size(10).throughput(Throughput::Elements(hundred.tokens as u64));
    group.bench_function("lexical alone", |b| b.iter(|| rank(bench, &doc, &lexical, &none)));
    group.bench_function("and static vectors", |b| b.iter(|| rank(bench, &doc, &cheap, &none)));
    group.bench_function("and the cross-encoder", |b| b.iter(|| rank(bench, &doc, &whole, &none)));
    group.finish();

    let doc = document(&ten.text);
    compare(
        &bench.asked,
        "rank/10k/the cascade against MiniLM vectors of every sentence",
        5,
        ("cascade", || rank(bench, &doc, &whole, &none)),
        ("MiniLM", || rank(bench, &doc, &encoder, &none)),
    );
}

fn rank(bench: &Bench, doc: &Document<'_>, config: &Rank, cache: &Cache) -> Ranking {
    let cancel = Cancel::never();
    let tools =
        Tools { config, models: &bench.models, embedder: None, adapted: None, cache, cancel: &cancel };
    internals::rank(doc, Some(QUERY), tools).expect("a ranking")
}

/// The whole pipeline, from text to compacted text. "Cold" means an empty cache; the embedder is loaded.
fn compaction(bench: &Bench, criterion: &mut Criterion, ten: &Input, hundred: &Input) {
    let mut group = criterion.benchmark_group("compact");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Elements(ten.tokens as u64));
    group.bench_function("10k/cold", |b| {
        b.iter_batched(Cache::memory_only, |cache| cold(bench, ten, cache), BatchSize::PerIteration);
    });
    for input in [ten, hundred] {
        let filled = LazyCell::new(|| {
            let folder = tempfile::tempdir().expect("a folder");
            cold(bench, input, disk(&folder));
            folder
        });
        group.throughput(Throughput::Elements(input.tokens as u64));
        group.bench_function(format!("{}/disk cache", input.name), |b| {
            // Fill the cache first; that run is not measured.
            let folder = &*filled;
            b.iter(|| {
                let compaction = compact(bench, input, disk(folder));
                assert_eq!(compaction.figures.cache_hits, compaction.figures.cache_lookups);
                compaction
            });
        });
    }
    group.finish();

    median_of(&bench.asked, "compact/100k/cold", 3, hundred.tokens, || {
        cold(bench, hundred, Cache::memory_only())
    });
}

fn disk(folder: &TempDir) -> Cache {
    let dir = folder.path().to_str().expect("a path in UTF-8").to_owned();
    Cache::open(&CacheConfig { dir, ..CacheConfig::default() })
}

fn cold(bench: &Bench, input: &Input, cache: Cache) -> Compaction {
    let compaction = compact(bench, input, cache);
    assert_eq!(compaction.figures.cache_hits, 0, "not cold");
    compaction
}

/// Compacts, then drops the cache so that its contents are on disk.
fn compact(bench: &Bench, input: &Input, cache: Cache) -> Compaction {
    let compactor = epitome::compactor::compactor(&bench.config, bench.models.clone(), Arc::new(cache))
        .expect("a compactor");
    let request = CompactRequest {
        text: input.text.clone(),
        query: Some(QUERY.into()),
        budget: Budget::Tokens(BUDGET),
        model: None,
        explain: false,
        origin: Default::default(),
        pinned: Vec::new(),
        part: false,
        later: Vec::new(),
        call: None,
    };
    let compaction = compactor.compact(&request, &Cancel::never()).expect("a compaction");
    assert_eq!(compaction.outcome, Outcome::Compacted);
    assert!(compaction.figures.tokens_after <= BUDGET);
    compaction
}

/// The overhead of a request that passes through the proxy over a direct one.
fn proxy(bench: &Bench, input: &Input) {
    let upstream = servers::upstream();
    let proxy = servers::proxy(&bench.config, bench.models.clone(), &upstream);
    let client = Client::new();
    let (direct, through) = (upstream.chat(), proxy.chat());

    let body = |text: &str| {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": text}]});
        Bytes::from(body.to_string())
    };
    let long = &input.text[..input.text.floor_char_boundary(20 * 1024)];
    for (name, body, bypass, reason) in [
        ("proxy/short chat request", body("Say hello."), false, "below-threshold"),
        ("proxy/20 KiB with x-epitome-bypass", body(long), true, "bypass"),
    ] {
        compare(
            &bench.asked,
            name,
            3000,
            ("direct", || assert_eq!(client.post(&direct, &body, bypass), None)),
            ("through the proxy", || {
                assert_eq!(client.post(&through, &body, bypass).as_deref(), Some(reason));
            }),
        );
    }
}
