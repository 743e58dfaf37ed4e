//! Sources of model files.
//!
//! A failed source gives its reason in one line; the store collects these lines into one error.

pub(super) mod hub;
pub(super) mod pip;
