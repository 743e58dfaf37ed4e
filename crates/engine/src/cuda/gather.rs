//! Batches the windows of all callers into shared passes: one thread owns an encoder on a GPU.
//!
//! A GPU reads many rows in little more time than a few, so concurrent callers share a pass. Windows do not
//! see each other, and a row's result does not depend on the rest of the batch, so sharing does not change
//! anyone's vectors.
//!
//! 1. The request that would finish first if it had the GPU to itself goes first ([`Turn`]), so a question
//!    does not wait behind a corpus. Cancelled requests leave before they cost anything.
//! 2. A pass takes windows until its token budget is full; the remaining windows of a request go into the
//!    next pass.
//! 3. The budget follows the measured speed, so that a pass takes about [`PASS`], within the available
//!    memory.
//! 4. A failed pass is retried in halves: a smaller pass may fit into memory, and a faulty window fails only
//!    its own request.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::mpsc::{Receiver, Sender, TryRecvError, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::CudaError;
use crate::{schedule::Turn, telemetry};

type Result<T> = std::result::Result<T, CudaError>;

/// Target duration of a pass: the longest that a short request waits for the pass under way.
const PASS: Duration = Duration::from_millis(50);
/// Token budget of the first pass, and the lower bound of later budgets.
const FIRST_BUDGET: usize = 16_384;
const LEAST_BUDGET: usize = 2_048;

/// Embeddings, or the last layer's vectors: 32-bit little-endian floats, in the GPU's format.
pub(crate) type Rows = Vec<u8>;

/// An encoder of windows.
pub(crate) trait WindowEncoder: Send {
    /// Number of values per token.
    fn dim(&self) -> usize;

    /// Size of the weights in bytes.
    fn bytes(&self) -> usize;

    /// Maximum number of tokens per pass, given the available memory.
    fn most_tokens(&self) -> usize;

    /// Computes the last layer's vectors of each part, given the embeddings of all its tokens and its
    /// windows' lengths.
    fn forward(&self, parts: &[(&[u8], &[usize])]) -> Result<Vec<Rows>>;
}

/// Handle of the thread that owns an encoder. Dropping it ends the thread and frees the encoder's memory.
#[derive(Debug)]
pub(crate) struct Gatherer {
    asks: Option<Sender<Ask>>,
    thread: Option<JoinHandle<()>>,
    bytes: usize,
}

/// Windows that a caller waits for.
#[derive(Debug)]
struct Ask {
    hidden: Rows,
    lengths: Vec<usize>,
    turn: Turn,
    arrived: Instant,
    answer: Sender<Result<Rows>>,
}

/// An [`Ask`] that may have been read in part.
struct Open {
    ask: Ask,
    /// Number of windows already read.
    read: usize,
    vectors: Rows,
    failed: Option<CudaError>,
}

impl Gatherer {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// [`CudaError::Unsupported`] if the system cannot start a thread.
    pub(crate) fn start(encoder: impl WindowEncoder + 'static) -> Result<Self> {
        let (asks, receiver) = channel();
        let bytes = encoder.bytes();
        let state = State::new(encoder);
        let thread = thread::Builder::new()
            .name("encoder".into())
            .spawn(move || state.run(&receiver))
            .map_err(|error| CudaError::Unsupported(format!("no thread for the encoder: {error}")))?;
        Ok(Self { asks: Some(asks), thread: Some(thread), bytes })
    }

    /// Size of the weights in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The last layer's vectors, given the embeddings of all tokens of windows of these lengths.
    ///
    /// # Errors
    ///
    /// Whatever the pass returns; [`CudaError::Cancelled`] if the request was cancelled.
    pub(crate) fn forward(&self, hidden: &[f32], lengths: Vec<usize>, turn: &Turn) -> Result<Vec<f32>> {
        let gone = || CudaError::Unsupported("the encoder's thread has ended".into());
        let (answer, result) = channel();
        let mut bytes = Vec::with_capacity(size_of_val(hidden));
        hidden.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
        let ask = Ask { hidden: bytes, lengths, turn: turn.clone(), arrived: Instant::now(), answer };
        self.asks.as_ref().ok_or_else(gone)?.send(ask).map_err(|_| gone())?;
        let vectors = result.recv().map_err(|_| gone())??;
        Ok(vectors.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)).collect())
    }
}

impl Drop for Gatherer {
    fn drop(&mut self) {
        // Dropping the sender ends the thread.
        self.asks = None;
        if let Some(thread) = self.thread.take() {
            // The thread catches its own panics.
            let _ = thread.join();
        }
    }
}

struct State<E> {
    encoder: E,
    open: Vec<Open>,
    /// Token budget of a pass.
    budget: usize,
    /// Maximum windows in the next pass: unlimited within the budget, except after a failed pass.
    windows: usize,
}

impl<E: WindowEncoder> State<E> {
    fn new(encoder: E) -> Self {
        let budget = FIRST_BUDGET.min(encoder.most_tokens());
        Self { encoder, open: Vec::new(), budget, windows: usize::MAX }
    }

    fn run(mut self, asks: &Receiver<Ask>) {
        while self.receive(asks) {
            self.step();
        }
    }

    /// Receives new requests, and blocks if there is nothing to do; false once all senders are gone.
    fn receive(&mut self, asks: &Receiver<Ask>) -> bool {
        if self.open.is_empty() {
            match asks.recv() {
                Ok(ask) => self.opened(ask),
                Err(_) => return false,
            }
        }
        loop {
            match asks.try_recv() {
                Ok(ask) => self.opened(ask),
                // Requests already received are still served.
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return true,
            }
        }
    }

    fn opened(&mut self, ask: Ask) {
        self.open.push(Open { ask, read: 0, vectors: Vec::new(), failed: None });
    }

    /// Runs one pass and answers the requests it completed.
    fn step(&mut self) {
        for open in &mut self.open {
            if open.ask.turn.cancel.check().is_err() {
                telemetry::engine_cancelled(open.ask.turn.class());
                open.failed = Some(CudaError::Cancelled);
            }
        }
        self.answer();
        if self.open.is_empty() {
            return;
        }
        let shares = self.shares();
        self.pass(&shares);
        self.answer();
    }

    /// How many windows of each request go into the next pass, at least one of the first. Sorts the open
    /// requests.
    fn shares(&mut self) -> Vec<usize> {
        // Stable sort: ties stay in order of arrival.
        self.open.sort_by_key(|open| open.ask.turn.due);
        let (mut tokens, mut windows) = (self.budget, self.windows);
        let mut shares = Vec::new();
        for open in &self.open {
            let unread = open.ask.lengths.get(open.read..).unwrap_or_default();
            let mut share = 0;
            for length in unread {
                let first = share == 0 && shares.is_empty();
                if !first && (*length > tokens || windows == 0) {
                    break;
                }
                tokens = tokens.saturating_sub(*length);
                windows = windows.saturating_sub(1);
                share += 1;
            }
            if share == 0 && !unread.is_empty() {
                break;
            }
            shares.push(share);
            if share < unread.len() {
                break;
            }
        }
        shares
    }

    /// Reads the given number of windows of each of the first requests.
    fn pass(&mut self, shares: &[usize]) {
        let dim = self.encoder.dim();
        let parts: Vec<(&[u8], &[usize])> =
            self.open.iter().zip(shares).map(|(open, share)| open.next(*share, dim)).collect();
        let windows: usize = shares.iter().sum();
        let tokens = parts.iter().flat_map(|(_, lengths)| *lengths).sum();
        let began = Instant::now();
        for (open, _) in self.open.iter().zip(shares).filter(|(open, _)| open.read == 0) {
            telemetry::engine_admitted(open.ask.turn.class(), began - open.ask.arrived);
        }
        // A panicking pass counts as failed; the thread continues.
        let result = match windows {
            0 => Ok(vec![Vec::new(); parts.len()]),
            _ => panic::catch_unwind(AssertUnwindSafe(|| self.encoder.forward(&parts)))
                .unwrap_or_else(|_| Err(CudaError::Unsupported("the pass of an encoder panicked".into()))),
        };
        match result {
            Ok(vectors) => {
                telemetry::encoder_pass(shares.len());
                self.windows = usize::MAX;
                for ((open, share), vectors) in self.open.iter_mut().zip(shares).zip(vectors) {
                    open.read += share;
                    match open.vectors.is_empty() {
                        true => open.vectors = vectors,
                        false => open.vectors.extend_from_slice(&vectors),
                    }
                }
                self.adapt(tokens, began.elapsed());
            }
            Err(error) if windows == 1 => {
                let mut owners = self.open.iter_mut().zip(shares).filter(|(_, share)| **share > 0);
                if let Some((open, _)) = owners.next() {
                    open.failed = Some(error);
                }
                self.windows = usize::MAX;
            }
            Err(error) => {
                tracing::debug!(%error, "a pass of {windows} windows, {tokens} tokens, is taken again in halves");
                self.windows = windows / 2;
                self.budget = (tokens / 2).max(1);
            }
        }
    }

    /// Answers the requests that failed or are complete.
    fn answer(&mut self) {
        self.open.retain_mut(|open| {
            let result = match open.failed.take() {
                Some(error) => Err(error),
                None if open.read >= open.ask.lengths.len() => Ok(std::mem::take(&mut open.vectors)),
                None => return true,
            };
            // The receiver may be gone if the caller was cancelled.
            let _ = open.ask.answer.send(result);
            false
        });
    }

    /// Moves the budget halfway to what the last pass's speed suggests for [`PASS`].
    fn adapt(&mut self, tokens: usize, time: Duration) {
        // A small pass says nothing about the speed of a large one.
        if tokens * 2 < self.budget {
            return;
        }
        let possible = tokens as f64 * PASS.as_secs_f64() / time.as_secs_f64().max(1e-6);
        let wanted = (self.budget as f64 + possible) / 2.0;
        let most = self.encoder.most_tokens();
        self.budget = (wanted as usize).clamp(LEAST_BUDGET.min(most), most);
    }
}

impl Open {
    /// The embeddings and lengths of the next windows.
    fn next(&self, windows: usize, dim: usize) -> (&[u8], &[usize]) {
        let lengths = self.ask.lengths.get(self.read..self.read + windows).unwrap_or_default();
        // Output is the same size as input.
        let before = self.vectors.len();
        let bytes = lengths.iter().sum::<usize>() * dim * size_of::<f32>();
        (self.ask.hidden.get(before..before + bytes).unwrap_or_default(), lengths)
    }
}

#[cfg(test)]
#[path = "tests/gather.rs"]
mod tests;
