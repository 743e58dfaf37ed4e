//! Tests of shared passes with a fake encoder.

use std::sync::{Arc, Mutex, atomic::AtomicUsize, atomic::Ordering::Relaxed};

use epitome_work::Cancel;

use super::*;
use crate::Kind;

const MOST: usize = 4_000;

/// Inverts every byte and records the lengths of every pass. A window of 13 tokens fails, as does a pass with
/// more tokens than there is room for; a window of 17 tokens panics.
struct Fake {
    passes: Arc<Mutex<Vec<Vec<usize>>>>,
    room: Arc<AtomicUsize>,
}

impl WindowEncoder for Fake {
    fn dim(&self) -> usize {
        2
    }

    fn bytes(&self) -> usize {
        7
    }

    fn most_tokens(&self) -> usize {
        MOST
    }

    fn forward(&self, parts: &[(&[u8], &[usize])]) -> Result<Vec<Rows>> {
        let lengths: Vec<usize> = parts.iter().flat_map(|(_, lengths)| *lengths).copied().collect();
        self.passes.lock().unwrap().push(lengths.clone());
        if lengths.contains(&13) || lengths.iter().sum::<usize>() > self.room.load(Relaxed) {
            return Err(CudaError::NoDevice);
        }
        assert!(!lengths.contains(&17), "on purpose");
        for (hidden, lengths) in parts {
            assert_eq!(hidden.len(), 8 * lengths.iter().sum::<usize>());
        }
        Ok(parts.iter().map(|(hidden, _)| hidden.iter().map(|byte| !byte).collect()).collect())
    }
}

struct Bench {
    state: State<Fake>,
    passes: Arc<Mutex<Vec<Vec<usize>>>>,
    room: Arc<AtomicUsize>,
    began: Instant,
    waiting: Vec<(Rows, Receiver<Result<Rows>>)>,
}

impl Bench {
    fn new() -> Self {
        let (passes, room) = (Arc::default(), Arc::new(AtomicUsize::new(usize::MAX)));
        let state = State::new(Fake { passes: Arc::clone(&passes), room: room.clone() });
        Self { state, passes, room, began: Instant::now(), waiting: Vec::new() }
    }

    /// Adds a request that is due after this many milliseconds.
    fn ask(&mut self, due: u64, lengths: &[usize]) -> Cancel {
        let cancel = Cancel::never();
        let due = self.began + Duration::from_millis(due);
        let turn = Turn { due, cancel: cancel.clone(), kind: Kind::Rank };
        let bytes = 8 * lengths.iter().sum::<usize>();
        let hidden: Rows = (0..bytes).map(|at| (at * 7 + lengths.len() + self.waiting.len()) as u8).collect();
        let (answer, result) = channel();
        self.waiting.push((hidden.iter().map(|byte| !byte).collect(), result));
        let lengths = lengths.to_vec();
        self.state.opened(Ask { hidden, lengths, turn, arrived: Instant::now(), answer });
        cancel
    }

    /// Returns whether each request got its own vectors, and the lengths of every pass.
    fn run(mut self) -> (Vec<bool>, Vec<Vec<usize>>) {
        while !self.state.open.is_empty() {
            self.state.step();
            assert!(self.passes.lock().unwrap().len() < 1000, "no end");
        }
        let good = self.waiting.iter().map(|(expected, result)| match result.try_recv().unwrap() {
            Ok(vectors) => vectors == *expected,
            Err(_) => false,
        });
        (good.collect(), self.passes.lock().unwrap().clone())
    }
}

#[test]
fn waiting_requests_share_a_pass_and_each_gets_its_own_vectors() {
    let mut bench = Bench::new();
    for (due, lengths) in [(3, &[3][..]), (1, &[4, 1]), (2, &[]), (1, &[2]), (0, &[0, 5])] {
        bench.ask(due, lengths);
    }
    let (good, passes) = bench.run();
    assert_eq!(good, [true; 5]);
    // Ordered by due time; ties in order of arrival.
    assert_eq!(passes, [[0, 5, 4, 1, 2, 3]]);
}

#[test]
fn passes_keep_the_budget_and_long_requests_continue_in_the_next_pass() {
    let mut bench = Bench::new();
    bench.ask(9000, &[1_000; 9]);
    bench.state.step();
    // It arrives later but does not wait for the whole long request.
    bench.ask(10, &[500]);
    // Too long to share a pass, so it gets its own.
    bench.ask(9500, &[MOST + 1, 2]);
    let (good, passes) = bench.run();
    assert_eq!(good, [true; 3]);
    assert_eq!(passes[..2], [vec![1_000; 4], vec![500, 1_000, 1_000, 1_000]]);
    let longest = passes.iter().map(|pass| pass.iter().sum::<usize>()).filter(|sum| *sum != MOST + 1).max();
    assert!(longest <= Some(MOST) && passes.contains(&vec![MOST + 1]), "{passes:?}");
}

#[test]
fn failures_and_panics_affect_only_their_own_request() {
    for bad in [13, 17] {
        let mut bench = Bench::new();
        for (due, lengths) in [&[1, 2][..], &[3, bad], &[0, 0, 4], &[bad, 5], &[6]].into_iter().enumerate() {
            bench.ask(due as u64, lengths);
        }
        assert_eq!(bench.run().0, [true, false, true, false, true], "{bad}");
    }
    // Also with zero-length windows.
    let mut bench = Bench::new();
    bench.room.store(0, Relaxed);
    bench.ask(0, &[0, 0, 0, 1]);
    assert_eq!(bench.run().0, [false]);
}

#[test]
fn low_memory_takes_more_passes() {
    let mut bench = Bench::new();
    bench.room.store(700, Relaxed);
    bench.ask(0, &[100; 30]);
    let (good, passes) = bench.run();
    assert_eq!(good, [true]);
    assert!(passes.len() < 20, "{passes:?}");
}

#[test]
fn cancelled_requests_cost_nothing() {
    let mut bench = Bench::new();
    let cancel = bench.ask(0, &[1, 2]);
    bench.ask(1, &[3]);
    cancel.cancel();
    let (good, passes) = bench.run();
    assert_eq!((good, passes), (vec![false, true], vec![vec![3]]));
}

#[test]
fn the_budget_follows_the_speed_within_its_bounds() {
    let mut state = Bench::new().state;
    assert_eq!(state.budget, MOST);
    // 3,000 tokens in half a pass's target time.
    state.budget = 3_000;
    state.adapt(3_000, PASS / 2);
    assert_eq!(state.budget, MOST);
    state.adapt(MOST, PASS * 4);
    assert_eq!(state.budget, (MOST + MOST / 4) / 2);
    state.adapt(MOST, PASS * 400);
    assert_eq!(state.budget, LEAST_BUDGET);
    // A small pass has no influence.
    state.adapt(10, PASS / 1000);
    assert_eq!(state.budget, LEAST_BUDGET);
}

#[test]
fn the_thread_ends_with_its_owner() {
    let passes: Arc<Mutex<Vec<Vec<usize>>>> = Arc::default();
    let fake = Fake { passes: passes.clone(), room: Arc::new(AtomicUsize::new(usize::MAX)) };
    let gatherer = Gatherer::start(fake).unwrap();
    assert_eq!(gatherer.bytes(), 7);
    let hidden = [1.0, f32::from_bits(!2.0f32.to_bits())];
    let vectors = gatherer.forward(&hidden, vec![1], &Turn::now()).unwrap();
    assert_eq!(vectors, [f32::from_bits(!1.0f32.to_bits()), 2.0]);
    drop(gatherer);
    // The thread's reference is gone.
    assert_eq!(Arc::strong_count(&passes), 1);
}
