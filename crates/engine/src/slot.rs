//! Lazy loading of a configured model.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{Located, ModelError, Role, store::Store};

/// How long after a failure the sources are not tried again: a server that cannot reach the hub must not pay
/// the connect timeout with every request.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// One configured model: located once, loaded once.
pub(super) struct Slot<T> {
    pub(super) name: String,
    role: Role,
    /// Directories of adapters.
    adapters: Vec<String>,
    state: Mutex<State<T>>,
}

struct State<T> {
    located: Option<Located>,
    loaded: Option<Arc<T>>,
    failed: Option<(Instant, ModelError)>,
}

impl<T> Slot<T> {
    pub(super) fn new(name: &str, role: Role, adapters: &[String]) -> Self {
        let state = State { located: None, loaded: None, failed: None };
        Self { name: name.to_owned(), role, adapters: adapters.to_vec(), state: Mutex::new(state) }
    }

    pub(super) fn located(&self, store: &Store) -> Result<Located, ModelError> {
        self.with(|state| self.locate(state, store))
    }

    pub(super) fn loaded(
        &self,
        store: &Store,
        load: impl FnOnce(&Located) -> Result<T, ModelError>,
    ) -> Result<Arc<T>, ModelError> {
        self.with(|state| {
            if let Some(loaded) = &state.loaded {
                return Ok(loaded.clone());
            }
            let loaded = Arc::new(load(&self.locate(state, store)?)?);
            state.loaded = Some(loaded.clone());
            Ok(loaded)
        })
    }

    fn locate(&self, state: &mut State<T>, store: &Store) -> Result<Located, ModelError> {
        if let Some(located) = &state.located {
            return Ok(located.clone());
        }
        let mut located = store.ensure(&self.name, self.role)?;
        for adapter in &self.adapters {
            located.adapters.push(store.adapter(adapter)?);
        }
        state.located = Some(located.clone());
        Ok(located)
    }

    /// Runs `work` exclusively, and caches its failure for [`RETRY_AFTER`].
    fn with<R>(&self, work: impl FnOnce(&mut State<T>) -> Result<R, ModelError>) -> Result<R, ModelError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, error)) = &state.failed
            && when.elapsed() < RETRY_AFTER
        {
            return Err(error.clone());
        }
        let result = work(&mut state);
        state.failed = result.as_ref().err().map(|error| (Instant::now(), error.clone()));
        result
    }
}
