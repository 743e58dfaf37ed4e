//! Continuous batching: one thread owns the model, and callers send it requests.
//!
//! Every step runs all live sequences through the layers together: generating sequences contribute their next
//! token, the others as much of their prompt as the step's token budget allows. Sequences join and leave
//! between steps. A sequence's output does not depend on the rest of the batch.
//!
//! 1. A request waits in a queue; if too many are open it is refused at once ([`ModelError::Busy`]).
//! 2. It is admitted when its keys and values fit into the reserved memory: interactive requests first, for
//!    which a quarter of all resources is kept free, and each class in order of arrival. Requests cancelled
//!    in the queue are dropped before they cost anything.
//! 3. Blocks of keys and values for a prefix shared with an earlier prompt are reused ([`PrefixCache`]); a
//!    request whose prefix is currently being read waits for it.
//! 4. While few sequences generate, each may add some tokens to a step that its prompt makes likely
//!    ([`Lookup`](super::lookup)).
//! 5. The token budget follows the measured speed, so that a step takes about [`STEP`].

use std::{
    collections::VecDeque,
    ops::Range,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, TryRecvError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    architecture::RunBy,
    backend::Backend,
    generation::{Class, Generated, Sampling},
    kv::KvCache,
    prefix::PrefixCache,
    sequence::Sequence,
    step::{Step, Watch},
};
use crate::{ModelError, decoder::Text, kernels::KV_BLOCK, memory::KeysAndValues, telemetry};

/// Target duration of a step: the longest that a short request waits for a long prompt.
const STEP: Duration = Duration::from_millis(250);
/// Token budget of the first step, and the bounds of later budgets.
const FIRST_BUDGET: usize = 256;
const LEAST_BUDGET: usize = 64;
/// Prompt tokens that every step reads at least, however many sequences generate.
const LEAST_READ: usize = 32;
/// Maximum tokens per step with prompt lookup, proposed ones included: up to about this many, reading the
/// weights takes longer than multiplying with them.
const MAX_LOOKUP_STEP_TOKENS: usize = 8;
/// Divisor of the slots, the memory and the queue: the share kept free for interactive requests.
const RESERVED_DIVISOR: usize = 4;
/// Divisor of the memory for keys and values: the share that cached prefixes may use.
const PREFIX_SHARE: usize = 8;

/// A request to the engine.
pub(super) struct Request {
    pub(super) class: Class,
    pub(super) ids: Vec<u32>,
    pub(super) sampling: Sampling,
    /// Ranges of the prompt whose share of the last token's attention is reported in an [`Event::Attention`].
    pub(super) watched: Option<Vec<Range<usize>>>,
    pub(super) events: Sender<Event>,
    /// Set when nobody wants the result any more.
    pub(super) cancelled: Arc<AtomicBool>,
    pub(super) arrived: Instant,
}

/// An answer to a request.
#[derive(Debug)]
pub(super) enum Event {
    /// A piece of text, and the number of tokens generated so far.
    Piece { text: String, tokens: usize },
    /// How much the prompt's last token attends to each watched range: by layer, head and range.
    Attention(Vec<f32>),
    /// The final result.
    Done(Result<Generated, ModelError>),
}

/// Handle of the thread that owns a model. Dropping it ends the thread.
pub(super) struct Engine {
    requests: Sender<Request>,
    /// Number of requests waiting or live, and its limit.
    open: Arc<AtomicUsize>,
    most: usize,
    context: usize,
    words: usize,
    model: String,
}

/// Limits of an engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Maximum number of requests waiting or being answered.
    pub(super) open: usize,
    /// Bytes for keys and values, if they are in host memory.
    pub(super) kv_bytes: usize,
    /// Whether to use prompt lookup for greedy output; it affects only the speed.
    pub(super) lookup: bool,
}

impl Engine {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// [`ModelError::Forward`] if the system cannot start a thread.
    pub(super) fn start(
        model: &str,
        backend: Backend,
        text: Arc<Text>,
        limits: Limits,
    ) -> Result<Self, ModelError> {
        let (requests, receiver) = channel();
        let open = Arc::new(AtomicUsize::new(0));
        let blocks = backend.blocks(limits.kv_bytes);
        // Candle's models keep their keys and values to themselves.
        let for_prefixes = if backend.run_by() == RunBy::Candle { 0 } else { blocks / PREFIX_SHARE };
        let for_sequences = blocks - for_prefixes;
        let context = backend.context().min(for_sequences * KV_BLOCK);
        let words = backend.words();
        let state = State {
            receiver,
            waiting: VecDeque::new(),
            live: Vec::new(),
            prefixes: PrefixCache::new(for_prefixes),
            blocks: for_sequences,
            context,
            budget: FIRST_BUDGET,
            lookup: limits.lookup && backend.supports_prompt_lookup(),
            open: open.clone(),
            model: model.to_owned(),
            keys_and_values: backend.keys_and_values(),
            backend,
            text,
        };
        thread::Builder::new()
            .name(format!("decoder {model}"))
            .spawn(move || state.run())
            .map_err(|error| ModelError::forward(model, "starting the engine", error))?;
        Ok(Self { requests, open, most: limits.open, context, words, model: model.to_owned() })
    }

    /// Maximum sequence length in tokens: the model's limit, or what fits into memory.
    pub(super) fn context(&self) -> usize {
        self.context
    }

    /// Size of the vocabulary.
    pub(super) fn words(&self) -> usize {
        self.words
    }

    /// Puts a request in the queue.
    ///
    /// # Errors
    ///
    /// [`ModelError::Busy`] if the queue is full.
    pub(super) fn submit(&self, request: Request) -> Result<(), ModelError> {
        let open = self.open.fetch_add(1, Ordering::Relaxed);
        if open >= request.class.part_of(self.most) {
            self.open.fetch_sub(1, Ordering::Relaxed);
            telemetry::engine_refused(request.class.name());
            return Err(ModelError::Busy { model: self.model.clone(), waiting: open });
        }
        self.requests.send(request).map_err(|_| {
            self.open.fetch_sub(1, Ordering::Relaxed);
            ModelError::forward(&self.model, "generating", "the engine's thread has ended")
        })
    }
}

impl Class {
    /// The part of a resource that requests of this class may use.
    fn part_of(self, all: usize) -> usize {
        if self == Class::Chat { all } else { all - all / RESERVED_DIVISOR }
    }
}

struct State {
    receiver: Receiver<Request>,
    waiting: VecDeque<Request>,
    live: Vec<Live>,
    prefixes: PrefixCache,
    /// Total blocks available to live sequences.
    blocks: usize,
    /// Maximum sequence length in tokens.
    context: usize,
    /// Token budget of a step.
    budget: usize,
    /// Whether prompt lookup is on.
    lookup: bool,
    open: Arc<AtomicUsize>,
    model: String,
    keys_and_values: KeysAndValues,
    backend: Backend,
    text: Arc<Text>,
}

struct Live {
    sequence: Sequence,
    class: Class,
    watched: Option<Vec<Range<usize>>>,
    cache: KvCache,
    /// Blocks reserved for it.
    reserved: usize,
    events: Sender<Event>,
    cancelled: Arc<AtomicBool>,
}

impl State {
    fn run(mut self) {
        while self.receive() {
            self.drop_cancelled();
            self.admit();
            if self.live.is_empty() {
                continue;
            }
            // If a step panics, its sequences get an error and the thread continues.
            let step = panic::catch_unwind(AssertUnwindSafe(|| self.step()));
            let failed = match step {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => ModelError::forward(&self.model, "generating", error),
                Err(_) => ModelError::forward(&self.model, "generating", "the forward pass panicked"),
            };
            for live in std::mem::take(&mut self.live) {
                self.end(&live.events, Err(failed.clone()));
            }
        }
    }

    /// Receives new requests, and blocks if there is nothing to do; false once all senders are gone.
    fn receive(&mut self) -> bool {
        let (bytes, most) = self.keys_and_values.bytes();
        telemetry::engine_holds(self.live.len(), bytes, most);
        if self.live.is_empty() && self.waiting.is_empty() {
            match self.receiver.recv() {
                Ok(request) => self.waiting.push_back(request),
                Err(_) => return false,
            }
        }
        loop {
            match self.receiver.try_recv() {
                Ok(request) => self.waiting.push_back(request),
                // Waiting and live requests are still served.
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return true,
            }
        }
    }

    fn drop_cancelled(&mut self) {
        let gone = |cancelled: &AtomicBool, class: Class, open: &AtomicUsize| {
            let gone = cancelled.load(Ordering::Relaxed);
            if gone {
                open.fetch_sub(1, Ordering::Relaxed);
                telemetry::engine_cancelled(class.name());
            }
            gone
        };
        self.waiting.retain(|request| !gone(&request.cancelled, request.class, &self.open));
        self.live.retain(|live| !gone(&live.cancelled, live.class, &self.open));
    }

    /// Moves waiting requests that fit to the live ones.
    fn admit(&mut self) {
        // Stable sort: each class stays in order of arrival.
        self.waiting.make_contiguous().sort_by_key(|request| request.class);
        let mut held = VecDeque::new();
        while let Some(request) = self.waiting.pop_front() {
            let tokens = request.ids.len().saturating_add(request.sampling.max_tokens);
            let wanted = tokens.min(self.context).div_ceil(KV_BLOCK);
            let taken: usize = self.live.iter().map(|live| live.reserved).sum();
            let (places, blocks) =
                (request.class.part_of(self.backend.most_live()), request.class.part_of(self.blocks));
            // A single request always fits, because none is longer than the context.
            let fits = self.live.is_empty() || taken + wanted <= blocks;
            if self.live.len() >= places || !fits {
                // A larger request waits for its turn, and those behind it wait too.
                held.push_back(request);
                break;
            }
            let known = self.prefixes.find(&request.ids);
            let being_read = |live: &Live| {
                live.class <= request.class && live.sequence.reads_what(&request.ids, known.len() + 1)
            };
            if known.len() < self.prefixes.most() && self.live.iter().any(being_read) {
                held.push_back(request);
                continue;
            }
            telemetry::engine_admitted(request.class.name(), request.arrived.elapsed());
            let cache = KvCache::with_prefix(known);
            let read = cache.length();
            let Request { class, ids, sampling, watched, events, cancelled, .. } = request;
            self.live.push(Live {
                sequence: Sequence::new(ids, read, sampling, self.context, self.lookup),
                class,
                watched,
                cache,
                reserved: wanted,
                events,
                cancelled,
            });
        }
        held.append(&mut self.waiting);
        self.waiting = held;
    }

    /// One step of all live sequences.
    fn step(&mut self) -> candle_core::Result<()> {
        let began = Instant::now();
        let writing = self.live.iter().filter(|live| live.sequence.writes()).count();
        let mut left = self.budget.saturating_sub(writing).max(LEAST_READ);
        // Interactive prompts first, then by length; no prompt takes the whole budget while others wait.
        let mut unread: Vec<(Class, usize, usize)> = Vec::new();
        for (at, live) in self.live.iter().enumerate().filter(|(_, live)| !live.sequence.writes()) {
            unread.push((live.class, live.sequence.unread(), at));
        }
        unread.sort_unstable();
        let mut share = vec![1; self.live.len()];
        let prompts = unread.len();
        if prompts == 0 {
            let more = (MAX_LOOKUP_STEP_TOKENS / writing.max(1)).saturating_sub(1);
            for (live, share) in self.live.iter_mut().zip(&mut share) {
                *share = live.sequence.propose(more);
            }
        }
        for (served, (_, tokens, at)) in unread.into_iter().enumerate() {
            let count = tokens.min(left.div_ceil(prompts - served));
            left -= count;
            if let Some(share) = share.get_mut(at) {
                *share = count;
            }
        }
        let mut steps: Vec<Step<'_>> = Vec::new();
        let mut owners = Vec::new();
        let mut masses: Vec<Vec<f32>> = vec![Vec::new(); self.live.len()];
        for (at, ((live, masses), count)) in self.live.iter_mut().zip(&mut masses).zip(&share).enumerate() {
            if *count > 0 {
                let Live { sequence, cache, watched, .. } = live;
                let logits =
                    if sequence.writes() { *count } else { usize::from(*count == sequence.unread()) };
                let ends = !sequence.writes() && logits > 0;
                let watch = watched.as_deref().filter(|_| ends).map(|ranges| Watch { ranges, masses });
                let best_only = sequence.is_unconstrained_greedy();
                steps.push(Step { ids: sequence.next(*count), cache, logits, best_only, watch });
                owners.push((at, *count));
            }
        }
        let tokens: usize = share.iter().sum();
        let follows = self.backend.forward(&mut steps)?;
        drop(steps);
        let time = began.elapsed();
        let read = if prompts == 0 { 0 } else { tokens - writing };

        let (sequences, words) = (owners.len(), self.backend.words());
        let (mut ended, mut written) = (Vec::new(), 0);
        for ((at, count), next) in owners.into_iter().zip(follows) {
            let Some(live) = self.live.get_mut(at) else { continue };
            let writes = live.sequence.writes();
            if !writes {
                self.prefixes.keep(live.sequence.prompt(), live.cache.full_blocks());
            }
            live.sequence.has_read(count);
            if next.is_empty() {
                continue;
            }
            if !writes && live.watched.is_some() {
                let masses = masses.get_mut(at).map(std::mem::take).unwrap_or_default();
                let _ = live.events.send(Event::Attention(masses));
            }
            let (outcome, taken) = live.sequence.take_all(next.each(words), &self.text);
            if writes {
                live.cache.truncate_to(live.cache.length() + taken - count);
            }
            written += taken;
            if !outcome.text.is_empty() {
                let tokens = live.sequence.written();
                // The receiver is only gone if the request was cancelled.
                let _ = live.events.send(Event::Piece { text: outcome.text, tokens });
            }
            if let Some(end) = outcome.end {
                ended.push((at, end));
            }
        }
        telemetry::engine_step(time, sequences, read, written);
        for (at, end) in ended.into_iter().rev() {
            let live = self.live.remove(at);
            let end = end.map_err(|reason| ModelError::forward(&self.model, "generating", reason));
            self.end(&live.events, end);
        }
        self.adapt(tokens, time);
        Ok(())
    }

    /// Moves the budget halfway to what the last step's speed suggests for [`STEP`].
    fn adapt(&mut self, tokens: usize, time: Duration) {
        // A step of single tokens says nothing about the speed of reading prompts.
        if tokens * 2 < self.budget {
            return;
        }
        let possible = tokens as f64 * STEP.as_secs_f64() / time.as_secs_f64().max(1e-6);
        let wanted = (self.budget as f64 + possible) / 2.0;
        self.budget = (wanted as usize).clamp(LEAST_BUDGET, self.backend.most_tokens());
    }

    fn end(&self, events: &Sender<Event>, result: Result<Generated, ModelError>) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        let _ = events.send(Event::Done(result));
    }
}
