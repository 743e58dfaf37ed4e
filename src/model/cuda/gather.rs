//! Windows of all callers in common passes: one thread owns an encoder on a GPU.
//!
//! A GPU reads many rows in little more than the time of few, so that those who ask at the same time share a
//! pass. Windows do not see each other, and a row's result does not depend on its company, so nobody's vectors
//! change by that.
//!
//! 1. Whoever would be done first, had it the GPU to itself, goes first (its arrival and its length, by the
//!    speed measured): a question does not wait behind a corpus.
//! 2. A pass takes windows until its budget of tokens is full; who has more goes on in the next one.
//! 3. The budget follows the measured speed, so that a pass takes about [`PASS`], within the memory.

use std::{
    borrow::Cow,
    panic::{self, AssertUnwindSafe},
    sync::mpsc::{Receiver, Sender, TryRecvError, channel},
    thread,
    time::{Duration, Instant},
};

use super::CudaError;
use crate::telemetry;

type Result<T> = std::result::Result<T, CudaError>;

/// Time that a pass should take: how long a short request waits for a long one at most.
const PASS: Duration = Duration::from_millis(50);
/// Tokens of the first pass, and the least that a pass may have.
const FIRST_BUDGET: usize = 16_384;
const LEAST_BUDGET: usize = 2_048;
/// Tokens a second before any were measured.
const FIRST_SPEED: f64 = 300_000.0;

/// What reads windows.
pub(crate) trait Encodes: Send {
    /// Values of a token.
    fn dim(&self) -> usize;

    /// Bytes of the weights.
    fn bytes(&self) -> usize;

    /// Tokens that a pass may have, by the memory that there is.
    fn most_tokens(&self) -> usize;

    /// The last layer's vectors, from the embeddings of all tokens of windows of these lengths.
    fn forward(&self, hidden: &[f32], lengths: &[usize]) -> Result<Vec<f32>>;
}

/// The way to the thread that owns an encoder. The thread ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Gatherer {
    asks: Sender<Ask>,
    bytes: usize,
}

/// Windows that somebody waits for.
#[derive(Debug)]
struct Ask {
    hidden: Vec<f32>,
    lengths: Vec<usize>,
    arrived: Instant,
    answer: Sender<Result<Vec<f32>>>,
}

/// An [`Ask`] of which a part may have been read.
struct Open {
    ask: Ask,
    due: Instant,
    /// Windows that have been read.
    read: usize,
    vectors: Vec<f32>,
}

impl Gatherer {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// [`CudaError::Unsupported`] where the system gives no thread.
    pub(crate) fn start(encoder: impl Encodes + 'static) -> Result<Self> {
        Self::with(encoder, FIRST_SPEED)
    }

    fn with(encoder: impl Encodes + 'static, speed: f64) -> Result<Self> {
        let (asks, receiver) = channel();
        let (budget, bytes) = (FIRST_BUDGET.min(encoder.most_tokens()), encoder.bytes());
        let state = State { encoder, receiver, open: Vec::new(), budget, speed };
        thread::Builder::new()
            .name("encoder".into())
            .spawn(move || state.run())
            .map_err(|error| CudaError::Unsupported(format!("no thread for the encoder: {error}")))?;
        Ok(Self { asks, bytes })
    }

    /// Bytes of the weights.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The last layer's vectors, from the embeddings of all tokens of windows of these lengths.
    ///
    /// # Errors
    ///
    /// What the pass gives.
    pub(crate) fn forward(&self, hidden: Vec<f32>, lengths: Vec<usize>) -> Result<Vec<f32>> {
        let (answer, result) = channel();
        let gone = || CudaError::Unsupported("the encoder's thread has ended".into());
        let ask = Ask { hidden, lengths, arrived: Instant::now(), answer };
        self.asks.send(ask).map_err(|_| gone())?;
        result.recv().map_err(|_| gone())?
    }
}

struct State<E> {
    encoder: E,
    receiver: Receiver<Ask>,
    open: Vec<Open>,
    /// Tokens of a pass.
    budget: usize,
    /// Tokens a second.
    speed: f64,
}

impl<E: Encodes> State<E> {
    fn run(mut self) {
        while self.take_in() {
            let shares = self.shares();
            let began = Instant::now();
            let tokens = self.pass(&shares);
            telemetry::encoder_pass(shares.iter().filter(|share| **share > 0).count());
            self.adapt(tokens, began.elapsed());
            self.answer();
        }
    }

    /// Takes what has arrived, and waits where there is nothing to do; false when nobody is left to ask.
    fn take_in(&mut self) -> bool {
        if self.open.is_empty() {
            match self.receiver.recv() {
                Ok(ask) => self.opened(ask),
                Err(_) => return false,
            }
        }
        loop {
            match self.receiver.try_recv() {
                Ok(ask) => self.opened(ask),
                // Those that wait are still served.
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return true,
            }
        }
    }

    fn opened(&mut self, ask: Ask) {
        let tokens: usize = ask.lengths.iter().sum();
        let due = ask.arrived + Duration::from_secs_f64(tokens as f64 / self.speed.max(1.0));
        self.open.push(Open { ask, due, read: 0, vectors: Vec::new() });
    }

    /// How many windows of whom the next pass has: at least one of the first. Sorts those that are open.
    fn shares(&mut self) -> Vec<usize> {
        // Stable: equals in the order of arrival.
        self.open.sort_by_key(|open| open.due);
        let mut left = self.budget;
        let mut shares = Vec::new();
        for open in &self.open {
            let unread = open.ask.lengths.get(open.read..).unwrap_or_default();
            let mut share = 0;
            for length in unread {
                if *length > left && !(shares.is_empty() && share == 0) {
                    break;
                }
                left = left.saturating_sub(*length);
                share += 1;
            }
            shares.push(share);
            if share < unread.len() {
                break;
            }
        }
        shares
    }

    /// Reads so many windows of the first ones and gives the tokens. Where that fails, each has a pass of its
    /// own: nobody fails for another.
    fn pass(&mut self, shares: &[usize]) -> usize {
        let parts: Vec<(&[f32], &[usize])> =
            self.open.iter().zip(shares).map(|(open, share)| open.next(*share, self.encoder.dim())).collect();
        let lengths: Vec<usize> = parts.iter().flat_map(|(_, lengths)| *lengths).copied().collect();
        let hidden: Cow<'_, [f32]> = match parts.as_slice() {
            [(hidden, _)] => Cow::Borrowed(hidden),
            _ => parts.iter().flat_map(|(hidden, _)| *hidden).copied().collect(),
        };
        let results: Vec<Result<Vec<f32>>> = match self.forward(&hidden, &lengths) {
            Ok(vectors) => {
                let mut rest = vectors.as_slice();
                let split = |(hidden, _): &(&[f32], _)| {
                    let (own, after) = rest.split_at(hidden.len().min(rest.len()));
                    rest = after;
                    Ok(own.to_vec())
                };
                parts.iter().map(split).collect()
            }
            Err(error) if parts.len() == 1 => vec![Err(error)],
            Err(_) => parts.iter().map(|(hidden, lengths)| self.forward(hidden, lengths)).collect(),
        };
        for ((open, share), result) in self.open.iter_mut().zip(shares).zip(results) {
            match result {
                Ok(vectors) => {
                    open.vectors.extend(vectors);
                    open.read += share;
                }
                Err(error) => {
                    let _ = open.ask.answer.send(Err(error));
                    // Nothing of it is left to be read, and nobody listens any more.
                    open.read = open.ask.lengths.len();
                }
            }
        }
        lengths.iter().sum()
    }

    fn forward(&self, hidden: &[f32], lengths: &[usize]) -> Result<Vec<f32>> {
        // Should a pass panic, those who are in it get an error and the thread goes on.
        panic::catch_unwind(AssertUnwindSafe(|| self.encoder.forward(hidden, lengths)))
            .unwrap_or_else(|_| Err(CudaError::Unsupported("the pass of an encoder panicked".into())))
    }

    /// Answers those of whom all has been read.
    fn answer(&mut self) {
        self.open.retain_mut(|open| {
            let done = open.read >= open.ask.lengths.len();
            if done {
                // Who has stopped listening misses nothing.
                let _ = open.ask.answer.send(Ok(std::mem::take(&mut open.vectors)));
            }
            !done
        });
    }

    /// Brings the budget to what the last pass's speed makes of [`PASS`], half way at a time.
    fn adapt(&mut self, tokens: usize, time: Duration) {
        // A pass of a few tokens says nothing of how fast many are read.
        if tokens * 2 < self.budget {
            return;
        }
        let speed = tokens as f64 / time.as_secs_f64().max(1e-6);
        self.speed = (self.speed + speed) / 2.0;
        let wanted = (self.budget as f64 + speed * PASS.as_secs_f64()) / 2.0;
        let most = self.encoder.most_tokens();
        self.budget = (wanted as usize).clamp(LEAST_BUDGET.min(most), most);
    }
}

impl Open {
    /// The embeddings and lengths of the next windows.
    fn next(&self, windows: usize, dim: usize) -> (&[f32], &[usize]) {
        let lengths = self.ask.lengths.get(self.read..self.read + windows).unwrap_or_default();
        let before = self.vectors.len();
        let values = lengths.iter().sum::<usize>() * dim;
        (self.ask.hidden.get(before..before + values).unwrap_or_default(), lengths)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Condvar, Mutex};

    use super::*;

    /// Doubles every value, notes the lengths of every pass, and begins when it may.
    #[derive(Clone, Default)]
    struct Fake {
        passes: Arc<Mutex<Vec<Vec<usize>>>>,
        may: Arc<(Mutex<bool>, Condvar)>,
    }

    impl Fake {
        fn go(&self) {
            *self.may.0.lock().unwrap() = true;
            self.may.1.notify_all();
        }
    }

    impl Encodes for Fake {
        fn dim(&self) -> usize {
            2
        }

        fn bytes(&self) -> usize {
            0
        }

        fn most_tokens(&self) -> usize {
            100
        }

        fn forward(&self, hidden: &[f32], lengths: &[usize]) -> Result<Vec<f32>> {
            self.passes.lock().unwrap().push(lengths.to_vec());
            let waited = self.may.1.wait_while(self.may.0.lock().unwrap(), |may| !*may);
            drop(waited);
            match lengths {
                _ if lengths.contains(&13) => Err(CudaError::NoDevice),
                _ if lengths.contains(&17) => panic!("on purpose"),
                _ => Ok(hidden.iter().map(|value| 2.0 * value).collect()),
            }
        }
    }

    fn asked(lengths: &[usize]) -> (Vec<f32>, Vec<usize>) {
        let values = 2 * lengths.iter().sum::<usize>();
        ((0..values).map(|value| (value + lengths.len()) as f32).collect(), lengths.to_vec())
    }

    /// What each gets, and the lengths of each pass, where the first is being read while the others come.
    fn all(asks: &[&[usize]]) -> (Vec<Result<Vec<f32>>>, Vec<Vec<usize>>) {
        let fake = Fake::default();
        // So slow that what is long is due long after what is short and comes later.
        let gatherer = Gatherer::with(fake.clone(), 100.0).unwrap();
        let results = thread::scope(|scope| {
            let mut waiting = Vec::new();
            for lengths in asks {
                let (hidden, lengths) = asked(lengths);
                let gatherer = &gatherer;
                waiting.push(scope.spawn(move || gatherer.forward(hidden, lengths)));
                while fake.passes.lock().unwrap().is_empty() {
                    thread::yield_now();
                }
                // They come one after the other.
                thread::sleep(Duration::from_millis(20));
            }
            fake.go();
            waiting.into_iter().map(|waiting| waiting.join().unwrap()).collect()
        });
        let passes = fake.passes.lock().unwrap().clone();
        (results, passes)
    }

    #[test]
    fn those_who_wait_share_a_pass_and_each_gets_its_own() {
        let asks: [&[usize]; 4] = [&[3], &[4, 1], &[], &[2]];
        let (results, passes) = all(&asks);
        for (lengths, result) in asks.iter().zip(results) {
            assert_eq!(result.unwrap(), asked(lengths).0.iter().map(|value| 2.0 * value).collect::<Vec<_>>());
        }
        assert_eq!(passes[0], [3]);
        assert_eq!(passes.len(), 2, "{passes:?}");
        let mut together = passes[1].clone();
        together.sort_unstable();
        assert_eq!(together, [1, 2, 4]);
    }

    #[test]
    fn a_budget_is_kept_and_the_long_go_on_in_the_next_pass() {
        let long = [40; 9];
        let (results, passes) = all(&[&[1], &long, &[5]]);
        assert!(results.into_iter().all(|result| result.is_ok()));
        // The short one came later and does not wait for all of the long one.
        let short = passes.iter().position(|pass| pass.contains(&5)).unwrap();
        assert!(short < passes.len() - 1, "{passes:?}");
        assert!(passes.iter().all(|pass| pass.iter().sum::<usize>() <= 100), "{passes:?}");
        // What is longer than any budget goes alone.
        let (results, passes) = all(&[&[1], &[300, 2]]);
        assert_eq!(results[1].as_ref().unwrap().len(), 604);
        assert_eq!(passes, [vec![1], vec![300], vec![2]]);
    }

    #[test]
    fn nobody_fails_for_another_and_a_panic_ends_nothing() {
        let (results, _) = all(&[&[1], &[13], &[2], &[17], &[3]]);
        let good: Vec<bool> = results.iter().map(Result::is_ok).collect();
        assert_eq!(good, [true, false, true, false, true]);
    }
}
