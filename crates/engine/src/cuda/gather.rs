//! Windows of all callers in common passes: one thread owns an encoder on a GPU.
//!
//! A GPU reads many rows in little more than the time of few, so that those who ask at the same time share a
//! pass. Windows do not see each other, and a row's result does not depend on its company, so nobody's vectors
//! change by that.
//!
//! 1. The request goes first that would be done first, had it the GPU to itself ([`Turn`]): a question does not
//!    wait behind a corpus. Who has been cancelled leaves before it costs.
//! 2. A pass takes windows until its budget of tokens is full; who has more goes on in the next one.
//! 3. The budget follows the measured speed, so that a pass takes about [`PASS`], within the memory.
//! 4. A pass that fails is taken again in halves, so that memory that was short may do, and nobody fails for
//!    another.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::mpsc::{Receiver, Sender, TryRecvError, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::CudaError;
use crate::{schedule::Turn, telemetry};

type Result<T> = std::result::Result<T, CudaError>;

/// Time that a pass should take: a short request waits no longer than for the one that is under way.
const PASS: Duration = Duration::from_millis(50);
/// Tokens of the first pass, and the least that the speed may make of it.
const FIRST_BUDGET: usize = 16_384;
const LEAST_BUDGET: usize = 2_048;

/// Embeddings, or the last layer's vectors: 32-bit floats, little-endian, as a GPU takes and gives them.
pub(crate) type Rows = Vec<u8>;

/// What reads windows.
pub(crate) trait Encodes: Send {
    /// Values of a token.
    fn dim(&self) -> usize;

    /// Bytes of the weights.
    fn bytes(&self) -> usize;

    /// Tokens that a pass may have, by the memory that there is.
    fn most_tokens(&self) -> usize;

    /// The last layer's vectors of each part, from the embeddings of all its tokens and its windows' lengths.
    fn forward(&self, parts: &[(&[u8], &[usize])]) -> Result<Vec<Rows>>;
}

/// The way to the thread that owns an encoder. The thread ends, and its memory is free, when this is dropped.
#[derive(Debug)]
pub(crate) struct Gatherer {
    asks: Option<Sender<Ask>>,
    thread: Option<JoinHandle<()>>,
    bytes: usize,
}

/// Windows that somebody waits for.
#[derive(Debug)]
struct Ask {
    hidden: Rows,
    lengths: Vec<usize>,
    turn: Turn,
    arrived: Instant,
    answer: Sender<Result<Rows>>,
}

/// An [`Ask`] of which a part may have been read.
struct Open {
    ask: Ask,
    /// Windows that have been read.
    read: usize,
    vectors: Rows,
    failed: Option<CudaError>,
}

impl Gatherer {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// [`CudaError::Unsupported`] where the system gives no thread.
    pub(crate) fn start(encoder: impl Encodes + 'static) -> Result<Self> {
        let (asks, receiver) = channel();
        let bytes = encoder.bytes();
        let state = State::new(encoder);
        let thread = thread::Builder::new()
            .name("encoder".into())
            .spawn(move || state.run(&receiver))
            .map_err(|error| CudaError::Unsupported(format!("no thread for the encoder: {error}")))?;
        Ok(Self { asks: Some(asks), thread: Some(thread), bytes })
    }

    /// Bytes of the weights.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The last layer's vectors, from the embeddings of all tokens of windows of these lengths.
    ///
    /// # Errors
    ///
    /// What the pass gives; [`CudaError::Cancelled`] where the turn's owner has left.
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
        // Without a sender the thread comes to its end.
        self.asks = None;
        if let Some(thread) = self.thread.take() {
            // It has caught its own panics.
            let _ = thread.join();
        }
    }
}

struct State<E> {
    encoder: E,
    open: Vec<Open>,
    /// Tokens of a pass.
    budget: usize,
    /// Windows of the next pass: all that the budget holds, but after one that failed.
    windows: usize,
}

impl<E: Encodes> State<E> {
    fn new(encoder: E) -> Self {
        let budget = FIRST_BUDGET.min(encoder.most_tokens());
        Self { encoder, open: Vec::new(), budget, windows: usize::MAX }
    }

    fn run(mut self, asks: &Receiver<Ask>) {
        while self.take_in(asks) {
            self.step();
        }
    }

    /// Takes what has arrived, and waits where there is nothing to do; false when nobody is left to ask.
    fn take_in(&mut self, asks: &Receiver<Ask>) -> bool {
        if self.open.is_empty() {
            match asks.recv() {
                Ok(ask) => self.opened(ask),
                Err(_) => return false,
            }
        }
        loop {
            match asks.try_recv() {
                Ok(ask) => self.opened(ask),
                // Those that wait are still served.
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return true,
            }
        }
    }

    fn opened(&mut self, ask: Ask) {
        self.open.push(Open { ask, read: 0, vectors: Vec::new(), failed: None });
    }

    /// One pass, and its answers.
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

    /// How many windows of whom the next pass has: at least one of the first. Sorts those that are open.
    fn shares(&mut self) -> Vec<usize> {
        // Stable: equals in the order of arrival.
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

    /// Reads so many windows of the first ones.
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
        // Should a pass panic, it has failed, and the thread goes on.
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

    /// Answers those who failed, and those of whom all has been read.
    fn answer(&mut self) {
        self.open.retain_mut(|open| {
            let result = match open.failed.take() {
                Some(error) => Err(error),
                None if open.read >= open.ask.lengths.len() => Ok(std::mem::take(&mut open.vectors)),
                None => return true,
            };
            // Who has stopped listening misses nothing.
            let _ = open.ask.answer.send(result);
            false
        });
    }

    /// Brings the budget to what the last pass's speed makes of [`PASS`], half way at a time.
    fn adapt(&mut self, tokens: usize, time: Duration) {
        // A pass of a few tokens says nothing of how fast many are read.
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
        // As many bytes go in as come out.
        let before = self.vectors.len();
        let bytes = lengths.iter().sum::<usize>() * dim * size_of::<f32>();
        (self.ask.hidden.get(before..before + bytes).unwrap_or_default(), lengths)
    }
}

#[cfg(test)]
#[path = "tests/gather.rs"]
mod tests;
