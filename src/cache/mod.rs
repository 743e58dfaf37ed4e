//! Segment cache: memory, then disk.

/// The layered cache.
pub struct Cache;
