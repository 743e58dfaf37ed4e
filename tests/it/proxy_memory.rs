//! What a proxy remembers when it has no time, no place or no models: what was sent once is sent again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use epitome::{config::Config, http::state::Readiness, rewrite::pipeline::Compact};
use epitome_compactor::{
    Cache, CompactError, CompactRequest, Compaction, Compactor,
    config::{CacheConfig, DenseKind},
};
use epitome_engine::Models;
use epitome_text::tokens::TokenCounter;
use epitome_work::{Cancel, Stopped};
use serde_json::json;

use crate::support::{Proxy, upstream::Upstream};

/// Ranks lexically, which is fast.
fn compactor(cache: Cache) -> Compactor {
    let mut config = Config { models: Config::load(None, &[]).unwrap().models, ..Config::default() };
    (config.rank.dense, config.rank.cross_tokens) = (DenseKind::None, 0);
    config.plan.floor = 0.0;
    let models = Arc::new(Models::new(&config.models).unwrap());
    epitome::compactor::compactor(&config, models, Arc::new(cache)).unwrap()
}

fn start(upstream: &Upstream, pipeline: impl Compact + 'static, adjust: impl FnOnce(&mut Config)) -> Proxy {
    Proxy::start(&upstream.base, Arc::new(pipeline), |config| {
        config.plan.floor = 0.0;
        config.plan.budget = "30%".parse().unwrap();
        adjust(config);
    })
}

/// A document about one place, and a question about it.
fn body(place: &str) -> String {
    let orders: String =
        (0..90).map(|n| format!("Order {n} was carried to the {place} by cart {}. ", n % 7)).collect();
    let asked = format!("Which cart carried order 31 to the {place}?");
    let part = |text: &str| json!({ "type": "text", "text": text });
    json!({ "model": "claude-opus-4-5", "max_tokens": 9, "messages": [
        { "role": "user", "content": [part(&orders), part(&asked)] },
    ] })
    .to_string()
}

/// Outcome and reason.
async fn send(proxy: &Proxy, path: &str, body: &str) -> (String, String) {
    let request = reqwest::Client::new().post(format!("{}{path}", proxy.url)).body(body.to_owned());
    let response = request.send().await.expect("an answer");
    let get = |name: &str| response.headers().get(name).map_or("", |v| v.to_str().expect("text")).to_owned();
    (get("x-epitome-outcome"), get("x-epitome-reason"))
}

fn said(outcome: &str, reason: &str) -> (String, String) {
    (outcome.to_owned(), reason.to_owned())
}

const MESSAGES: &str = "/v1/messages";

/// A compactor that takes so many milliseconds more to count, or to say what is known.
struct Slow {
    inner: Compactor,
    counting: Arc<AtomicU64>,
    settling: Duration,
}

struct SlowCounter(Arc<dyn TokenCounter>, Arc<AtomicU64>);

impl TokenCounter for SlowCounter {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn token_lengths(&self, text: &str) -> Vec<u32> {
        self.0.token_lengths(text)
    }

    fn count_until(&self, text: &str, cancel: &Cancel) -> Result<usize, Stopped> {
        thread::sleep(Duration::from_millis(self.1.swap(0, Ordering::SeqCst)));
        cancel.check()?;
        self.0.count_until(text, cancel)
    }
}

impl Compact for Slow {
    fn counter(&self, model: Option<&str>) -> Arc<dyn TokenCounter> {
        Arc::new(SlowCounter(self.inner.counter(model), self.counting.clone()))
    }

    fn warm_up(&self) -> Result<(), CompactError> {
        Compactor::warm_up(&self.inner)
    }

    fn compact(&self, request: &CompactRequest, cancel: &Cancel) -> Result<Compaction, CompactError> {
        self.inner.compact_once(request, cancel)
    }

    fn settle(&self, request: &CompactRequest) -> Option<Compaction> {
        thread::sleep(self.settling);
        Some(Compactor::settle(&self.inner, request))
    }
}

#[actix_web::test]
async fn counting_under_load_sends_nothing_whole() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, compactor(Cache::memory_only()), |config| config.serve.max_concurrent = 0);
    let body = body("harbour");
    for path in ["/v1/messages/count_tokens", "/v1/messages/count_tokens"] {
        assert_eq!(send(&proxy, path, &body).await, said("passed", "busy"));
    }
    // The text was never sent: it is compacted as soon as there is a place.
    proxy.state.permits.add_permits(1);
    assert_eq!(send(&proxy, MESSAGES, &body).await, said("compacted", ""));
    let sent = upstream.last().body;
    // What is known is counted as it is sent, with or without a place.
    let place = proxy.state.permits.acquire().await.unwrap();
    assert_eq!(send(&proxy, "/v1/messages/count_tokens", &body).await, said("compacted", ""));
    drop(place);
    assert_eq!(upstream.last().body, sent);
}

#[actix_web::test]
async fn what_went_whole_before_the_models_were_there_goes_whole_again() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, compactor(Cache::memory_only()), |_| {});
    proxy.state.mark(Readiness::Loading);
    let body = body("mill");
    assert_eq!(send(&proxy, MESSAGES, &body).await, said("failed-open", "not-ready"));
    proxy.state.mark(Readiness::Ready);
    assert_eq!(send(&proxy, MESSAGES, &body).await, said("passed", "sent-whole"));
    assert_eq!(upstream.last().body, body.as_bytes());
}

#[actix_web::test]
async fn what_an_earlier_process_sent_is_sent_again_before_the_models_are_there() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().unwrap();
    let open =
        || Cache::open(&CacheConfig { dir: folder.path().display().to_string(), ..CacheConfig::default() });
    let body = body("quay");
    let sent = {
        let pipeline = Arc::new(compactor(open()));
        let proxy = Proxy::start(&upstream.base, pipeline.clone(), |config| {
            config.plan.floor = 0.0;
            config.plan.budget = "30%".parse().unwrap();
        });
        assert_eq!(send(&proxy, MESSAGES, &body).await, said("compacted", ""));
        pipeline.cache().flush();
        upstream.last().body
    };
    // The file is locked until the last handle is gone.
    let mut cache = open();
    for _ in 0..500 {
        if matches!(cache.stats().disk, epitome_compactor::cache::DiskStats::Open { .. }) {
            break;
        }
        actix_web::rt::time::sleep(Duration::from_millis(20)).await;
        cache = open();
    }
    let proxy = start(&upstream, compactor(cache), |_| {});
    proxy.state.mark(Readiness::Loading);
    assert_eq!(send(&proxy, MESSAGES, &body).await, said("compacted", ""));
    assert_eq!(upstream.last().body, sent);
    proxy.state.mark(Readiness::Ready);
    assert_eq!(send(&proxy, MESSAGES, &body).await, said("compacted", ""));
    assert_eq!(upstream.last().body, sent);
}

#[actix_web::test]
async fn what_went_whole_because_planning_was_late_goes_whole_again() {
    let upstream = Upstream::start();
    let counting = Arc::new(AtomicU64::new(1900));
    let slow =
        Slow { inner: compactor(Cache::memory_only()), counting: counting.clone(), settling: Duration::ZERO };
    let proxy = start(&upstream, slow, |config| config.serve.deadline_ms = 1800);
    let body = body("bridge");
    assert_eq!(send(&proxy, MESSAGES, &body).await, said("failed-open", "deadline"));
    assert_eq!(counting.load(Ordering::SeqCst), 0);
    assert_eq!(send(&proxy, MESSAGES, &body).await, said("passed", "sent-whole"));
    assert_eq!(upstream.last().body, body.as_bytes());
}

/// Planning may take no more than as long again as the deadline.
#[actix_web::test]
async fn planning_is_not_waited_for_without_end() {
    let upstream = Upstream::start();
    let slow = Slow {
        inner: compactor(Cache::memory_only()),
        counting: Arc::new(AtomicU64::new(5000)),
        settling: Duration::ZERO,
    };
    let proxy = start(&upstream, slow, |config| config.serve.deadline_ms = 300);
    let start = std::time::Instant::now();
    assert_eq!(send(&proxy, MESSAGES, &body("market")).await, said("failed-open", "deadline"));
    assert!(start.elapsed() < Duration::from_millis(3000), "{:?}", start.elapsed());
}

#[actix_web::test]
async fn under_any_load_what_was_sent_is_sent_again() {
    const AT_ONCE: usize = 40;
    let upstream = Upstream::start();
    let slow = Slow {
        inner: compactor(Cache::memory_only()),
        counting: Arc::default(),
        settling: Duration::from_millis(100),
    };
    let proxy = start(&upstream, slow, |config| config.serve.max_concurrent = 1);
    let body = body("harbour");
    assert_eq!(send(&proxy, MESSAGES, &body).await, said("compacted", ""));
    let sent = upstream.last().body;
    let place = proxy.state.permits.acquire().await.unwrap();
    let all = futures_util::future::join_all((0..AT_ONCE).map(|_| send(&proxy, MESSAGES, &body))).await;
    drop(place);
    assert_eq!(all, vec![said("compacted", ""); AT_ONCE]);
    assert!(upstream.log.seen.lock().unwrap().iter().all(|seen| seen.body == sent));
}
