//! State shared by all requests.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::Duration,
};

use actix_web::HttpRequest;
use tokio::sync::Semaphore;

use super::{
    billing::Billing,
    keys::{self, Keys},
    shadow::Shadow,
};
use crate::{
    bill::{ledger::Ledger, prices::PriceList},
    config::Config,
    rewrite::pipeline::Compact,
    room::Rooms,
    telemetry,
    upstream::Upstream,
};

/// Delay before loading the models is retried.
const RETRY: Duration = Duration::from_secs(15);

/// Requests beyond `serve.max_concurrent` that may be planned at once. More wait: planning is work of the processor, and
/// is not done sooner by more threads. How many wait is bounded by the room for their bodies.
const RECALLS: usize = 16;

/// Encoded bodies that may be decoded at once.
const DECODES: usize = 8;

/// Whether texts can be compacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Models are being fetched or loaded.
    Loading,
    /// They are loaded.
    Ready,
    /// Loading failed for this reason. It is retried periodically.
    Failed(String),
}

/// Configuration, pipeline and upstream, with the current load and readiness.
pub struct State {
    /// The effective configuration.
    pub config: Arc<Config>,
    /// The pipeline.
    pub pipeline: Arc<dyn Compact>,
    /// The upstream.
    pub upstream: Upstream,
    /// Who may use the proxy.
    pub keys: Keys,
    /// Shadow sampling.
    pub shadow: Shadow,
    /// What answers cost.
    pub(super) billing: Billing,
    /// One permit per concurrent compaction.
    pub permits: Arc<Semaphore>,
    /// One permit per request that is planned although no compaction may run, to send again what was sent before.
    pub(super) recalls: Arc<Semaphore>,
    /// One permit per body that is being decoded.
    pub(super) decodes: Arc<Semaphore>,
    /// Room for buffered bodies.
    pub rooms: Arc<Rooms>,
    /// The pipelines of tenants, in the order of their keys; empty if all share one.
    tenants: Vec<Arc<dyn Compact>>,
    readiness: RwLock<Readiness>,
}

impl State {
    /// The initial state: loading, with the keys of `serve.keys_env`. If those are unusable, all clients are
    /// rejected; [`Keys::read`] gives the reason.
    pub fn new(config: Arc<Config>, pipeline: Arc<dyn Compact>, upstream: Upstream) -> Arc<Self> {
        let keys = Keys::read(&config.serve).unwrap_or_else(|_| Keys::reject_all());
        let ledger = Ledger::new(PriceList::built_in().unwrap_or_default(), None);
        Self::guarded(config, pipeline, upstream, keys, ledger)
    }

    /// [`State::new`] with the given keys and ledger.
    pub fn guarded(
        config: Arc<Config>,
        pipeline: Arc<dyn Compact>,
        upstream: Upstream,
        keys: Keys,
        ledger: Ledger,
    ) -> Arc<Self> {
        telemetry::metrics();
        let tenants = match config.serve.tenants {
            true => keys.salts().map(|salt| pipeline.for_tenant(salt).unwrap_or(pipeline.clone())).collect(),
            false => Vec::new(),
        };
        let permits = Arc::new(Semaphore::new(config.serve.max_concurrent.min(Semaphore::MAX_PERMITS)));
        let recalls = Arc::new(Semaphore::new(RECALLS));
        let decodes = Arc::new(Semaphore::new(DECODES));
        let readiness = RwLock::new(Readiness::Loading);
        let shadow = Shadow::new(&config.shadow);
        let billing = Billing::new(ledger, &config.shadow);
        let rooms = Rooms::new(config.serve.bodies_bytes);
        Arc::new(Self {
            config,
            pipeline,
            upstream,
            keys,
            shadow,
            billing,
            permits,
            recalls,
            decodes,
            rooms,
            tenants,
            readiness,
        })
    }

    /// The pipeline for the sender of the request.
    pub fn pipeline_for(&self, req: &HttpRequest) -> Arc<dyn Compact> {
        let own = keys::client(req).and_then(|client| self.tenants.get(client));
        own.unwrap_or(&self.pipeline).clone()
    }

    /// Whether texts can be compacted.
    pub fn readiness(&self) -> Readiness {
        self.readiness.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Loads the models on a separate thread, with retries, until they are loaded or the state is dropped.
    pub fn load(self: &Arc<Self>) {
        let state = Arc::downgrade(self);
        thread::spawn(move || {
            while let Some(held) = state.upgrade() {
                // A bug in loading must not leave the proxy in `Loading` forever.
                let result = catch_unwind(AssertUnwindSafe(|| held.warm_up()))
                    .unwrap_or_else(|_| Err("loading the models panicked; the log says where".into()));
                match result {
                    Ok(()) => {
                        tracing::info!("ready");
                        held.mark(Readiness::Ready);
                        return;
                    }
                    Err(reason) => {
                        tracing::error!(%reason, "not ready; requests pass through untouched");
                        held.mark(Readiness::Failed(reason));
                    }
                }
                drop(held);
                thread::sleep(RETRY);
            }
        });
    }

    fn warm_up(&self) -> Result<(), String> {
        self.pipeline.warm_up().map_err(|error| error.to_string())?;
        self.upstream.warm_up()
    }

    /// Sets the readiness.
    pub fn mark(&self, readiness: Readiness) {
        *self.readiness.write().unwrap_or_else(PoisonError::into_inner) = readiness;
    }
}
