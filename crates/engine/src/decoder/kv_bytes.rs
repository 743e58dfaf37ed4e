//! Accounts for the memory of a decoder's keys and values.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The memory of one decoder's keys and values.
#[derive(Debug, Default)]
pub(crate) struct KvBytes {
    held: AtomicUsize,
    most: AtomicUsize,
}

impl KvBytes {
    /// Bytes currently allocated.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Peak bytes.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }
}

/// A share of a decoder's memory, counted while it exists.
#[derive(Debug)]
pub(super) struct Counted {
    bytes: usize,
    of: Arc<KvBytes>,
}

impl Counted {
    pub(super) fn new(bytes: usize, of: &Arc<KvBytes>) -> Self {
        let mut new = Self { bytes: 0, of: of.clone() };
        new.add(bytes);
        new
    }

    /// Counts `bytes` more.
    pub(super) fn add(&mut self, bytes: usize) {
        let held = self.of.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.of.most.fetch_max(held, Ordering::Relaxed);
        self.bytes += bytes;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.of.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
