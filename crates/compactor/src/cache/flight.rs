//! Single flight: of the concurrent callers that want one key, one computes and the others wait.

use std::{
    cell::Cell,
    collections::HashMap,
    collections::hash_map::Entry,
    marker::PhantomData,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::Key;

/// The longest wait of a rayon worker, see [`Flights::join`].
const WORKER_WAIT: Duration = Duration::from_secs(1);

thread_local! {
    /// How many keys this thread is computing.
    static LEADING: Cell<usize> = const { Cell::new(0) };
}

/// The keys that are being computed.
#[derive(Default)]
pub(super) struct Flights {
    running: Mutex<HashMap<Key, Arc<Flight>>>,
}

#[derive(Default)]
struct Flight {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Clone, Default)]
enum State {
    #[default]
    Running,
    Done(Arc<[u8]>),
    Failed,
}

/// The part of a caller.
pub(super) enum Role<'a> {
    /// Compute, then call [`Leader::finish`].
    Leader(Leader<'a>),
    /// Another caller has computed the value.
    Given(Arc<[u8]>),
    /// The other caller failed: try again.
    Retry,
    /// Compute without telling anyone.
    Alone,
}

/// The right to compute a key. Dropped without a value, it sends the waiting callers to try again.
pub(super) struct Leader<'a> {
    flights: &'a Flights,
    key: Key,
    flight: Arc<Flight>,
    result: State,
    // Counts on its thread's own counter.
    not_send: PhantomData<*const ()>,
}

impl Flights {
    /// Takes or awaits the right to compute `key`.
    ///
    /// A wait must not close a circle. A worker of a thread pool that waits inside a computation
    /// runs other work on the same stack, which may ask for a key that is being computed further
    /// down that stack. So a thread that is computing a key never waits, and a pool worker, whose
    /// stack may hold a part of another thread's computation, waits a limited time and then
    /// computes for itself.
    pub(super) fn join(&self, key: &Key) -> Role<'_> {
        let flight = match lock(&self.running).entry(*key) {
            Entry::Occupied(entry) => Arc::clone(entry.get()),
            Entry::Vacant(entry) => {
                let flight = Arc::clone(entry.insert(Arc::default()));
                LEADING.set(LEADING.get() + 1);
                return Role::Leader(Leader {
                    flights: self,
                    key: *key,
                    flight,
                    result: State::Failed,
                    not_send: PhantomData,
                });
            }
        };
        if LEADING.get() > 0 {
            return Role::Alone;
        }
        let limit = rayon::current_thread_index().map(|_| WORKER_WAIT);
        match flight.wait(limit) {
            State::Done(value) => Role::Given(value),
            State::Failed => Role::Retry,
            State::Running => Role::Alone,
        }
    }
}

impl Flight {
    /// Waits for the end, or returns `Running` when the limit has passed.
    fn wait(&self, limit: Option<Duration>) -> State {
        let running = |state: &mut State| matches!(state, State::Running);
        let state = lock(&self.state);
        let state = match limit {
            None => self.ended.wait_while(state, running).unwrap_or_else(PoisonError::into_inner),
            Some(limit) => {
                self.ended.wait_timeout_while(state, limit, running).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.clone()
    }
}

impl Leader<'_> {
    /// Hands the value to the waiting callers.
    pub(super) fn finish(mut self, value: &Arc<[u8]>) {
        self.result = State::Done(Arc::clone(value));
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        LEADING.set(LEADING.get().saturating_sub(1));
        lock(&self.flights.running).remove(&self.key);
        *lock(&self.flight.state) = std::mem::replace(&mut self.result, State::Failed);
        self.flight.ended.notify_all();
    }
}

/// The data behind these locks is whole at every moment, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
