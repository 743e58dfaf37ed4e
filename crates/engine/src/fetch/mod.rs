//! Sources from which model files are fetched.
//!
//! A source that fails says why in one line; the store gathers these lines into one error.

pub(super) mod hub;
pub(super) mod pip;
