//! The request to stop, and why.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::steps::Steps;

/// Tells a compaction to stop: its client has left, or its deadline has passed. The way back tells who
/// waits how far it is.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    flag: Arc<AtomicBool>,
    deadline: Option<Instant>,
    steps: Arc<Steps>,
}

/// A compaction was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// The caller has left.
    #[error("the caller left before the compaction was done")]
    Cancelled,
    /// Time is up.
    #[error("the deadline passed before the compaction was done")]
    Deadline,
}

impl Cancel {
    /// Never stops unless `cancel` is called.
    pub fn never() -> Self {
        Self::default()
    }

    /// Stops at `deadline`.
    pub fn at(deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..Self::default() }
    }

    /// The same request with a deadline that is so much later: for what must be done even if it is late.
    pub fn with_grace(&self, grace: Duration) -> Self {
        Self { deadline: self.deadline.and_then(|deadline| deadline.checked_add(grace)), ..self.clone() }
    }

    /// Asks the work to stop at its next check. All clones share the request.
    pub fn cancel(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    /// How far the work is. All clones share it.
    pub fn steps(&self) -> &Steps {
        &self.steps
    }

    /// Whether the deadline has passed, whoever else asked to stop.
    pub fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Between two steps of work: go on, or stop and why.
    pub fn check(&self) -> Result<(), Stopped> {
        if self.flag.load(Ordering::Relaxed) {
            return Err(Stopped::Cancelled);
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Stopped::Deadline),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grace_moves_the_deadline_and_nothing_else() {
        let late = Cancel::at(Instant::now());
        assert_eq!(late.check(), Err(Stopped::Deadline));
        let graced = late.with_grace(Duration::from_secs(60));
        assert_eq!(graced.check(), Ok(()));
        assert!(late.is_late() && !graced.is_late());
        late.cancel();
        assert_eq!(graced.check(), Err(Stopped::Cancelled));
        assert_eq!(Cancel::never().with_grace(Duration::ZERO).check(), Ok(()));
    }
}
